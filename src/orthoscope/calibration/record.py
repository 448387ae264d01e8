"""Runs of a pipeline that is guided by nothing, or by a constant strength, and what is kept of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from orthoscope import rng
from orthoscope.calibration.foretold import products_of
from orthoscope.errors import ConfigError, StoppedError
from orthoscope.guidance.rules import LinearCFG, Rule
from orthoscope.guidance.rules.own import FunctionRule
from orthoscope.guidance.schedules import Constant
from orthoscope.numerics import Array
from orthoscope.process import NoiseLevel, Scalar
from orthoscope.progress import Remark
from orthoscope.typing import Events

if TYPE_CHECKING:
    from orthoscope.integrations.batches import Batches
    from orthoscope.integrations.host import Host

# Strength 0 to every precision; at 0 itself, pipelines that ask twice leave out the unconditional prediction.
_NONE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record:
    """Runs of some prompts, one row per image, rows of a prompt beside each other.

    Attributes:
        time: Variance times of the evaluations, strictly descending.
        squares: |D_c - D_u|^2 of every image at every time, in squared data units.
        states: Final states of the scheduler, flattened.
        groups: Number of the prompt of every row.
        passes: Predictions computed.
        products: Products of what was said, as `foretold.Pairs` has them; None where they were not asked for.
    """

    time: Array
    squares: Array
    states: NDArray[np.float32]
    groups: NDArray[np.int64]
    passes: int
    products: Array | None = None

    @property
    def prompts(self) -> int:
        """Number of prompts."""
        return int(self.groups[-1]) + 1


@dataclass(slots=True, kw_only=True, eq=False)
class Recorder:
    """Asks a host for images of prompts, in batches that fit.

    Attributes:
        host: The pipeline.
        prompts: What is asked for.
        images: Images per prompt.
        steps: Steps of the scheduler.
        seed: Root seed; every image has one seed under all strengths.
        advance: Called after every prompt.
        remark: Called with a line where the batch had to shrink.
    """

    host: Host
    prompts: Sequence[str]
    images: int
    steps: int
    seed: int
    advance: Callable[[], None]
    remark: Remark
    _fitting: Batches = field(init=False)
    _heard: _Heard | None = None

    def __post_init__(self) -> None:
        """Begin with all images of a prompt at once."""
        from orthoscope.integrations.batches import Batches

        self._fitting = Batches(remark=self.remark)

    def record(self, strength: float, *, hear: bool = False) -> Record:
        """All prompts at one constant strength.

        Args:
            strength: The strength.
            hear: Whether products of what both branches say are kept.

        Raises:
            ConfigError: if the pipeline cannot be asked for this.
            StoppedError: if images or predictions are not finite, or not even one image fits into memory.
        """
        parts, groups = [], []
        heard = self._heard = _Heard() if hear else None
        for number, prompt in enumerate(self.prompts):
            seeds = [rng.key(self.seed, "calibrate", prompt, row) % 2**63 for row in range(self.images)]
            parts += self._batches(prompt, seeds, strength or _NONE)
            groups += [number] * self.images
            self.advance()
        times = np.asarray(parts[0].log["time"].values, dtype=np.float64)
        distances = np.concatenate([part.log["pair_distance"].values.T for part in parts]).astype(np.float64)
        states = np.concatenate([part.latents.reshape(len(part.latents), -1) for part in parts])
        kept = _descending(times)
        if not (np.isfinite(states).all() and np.isfinite(distances[:, kept]).all()):
            raise StoppedError(
                f"{self.host.name} makes NaN or infinity at strength {strength:g}; try `dtype` float32, or another "
                "`pipeline_scheduler`"
            )
        return Record(
            time=times[kept],
            squares=distances[:, kept] ** 2,
            states=states,
            groups=np.array(groups),
            passes=sum(part.passes for part in parts),
            products=None if heard is None else heard.products(kept, len(times)),
        )

    def _rule(self) -> Rule:
        """Plain guidance, heard or not."""
        if self._heard is None:
            return LinearCFG()
        self._heard.begin()
        return FunctionRule(call=self._heard)

    def _batches(self, prompt: str, seeds: Sequence[int], strength: float) -> list[Any]:
        """Images of one prompt, in batches that fit."""
        schedule = Constant(value=strength)
        return self._fitting.of(
            seeds,
            lambda part: self.host.generate(prompt, part, schedule, rule=self._rule(), steps=self.steps),
        )


class _Heard:
    """A rule of plain guidance that keeps products of what was said, summed over the rows of every run.

    The first of both predictions, of nearly pure noise, are the mean of the prompt and that of all.
    """

    def __init__(self) -> None:
        self._runs: list[list[torch.Tensor]] = []
        self._means: tuple[Events, Events] | None = None

    def begin(self) -> None:
        """A run begins; what it hears takes the place of a run that memory did not suffice for."""
        if self._runs and not self._runs[-1]:
            self._runs.pop()
        self._runs.append([])
        self._means = None

    def __call__(self, x: Events, level: NoiseLevel, predictions: Mapping[str, Events], w: Scalar) -> Events:
        """The guided prediction."""
        own, none = predictions["cond"], predictions["uncond"]
        if self._means is None:
            self._means = own.mean(0, keepdim=True).expand_as(own), (own - none).mean(0, keepdim=True).expand_as(own)
        mean, apart = self._means
        self._runs[-1].append(products_of(apart, mean, x, own, none).sum(0).cpu())
        return own + w * (own - none)

    def products(self, kept: NDArray[np.intp], evaluations: int) -> Array | None:
        """Those of all runs that were not broken off, at the evaluations kept (kept, 5, 5); None without."""
        whole = [torch.stack(run) for run in self._runs if len(run) == evaluations]
        return torch.stack(whole).sum(0).numpy()[kept] if whole else None


def _descending(times: Array) -> NDArray[np.intp]:
    """Evaluations at a noise level not seen before: solvers of second order come back to one."""
    kept: list[int] = []
    for at, time in enumerate(times):
        if np.isfinite(time) and 0 < time < (times[kept[-1]] if kept else np.inf) * (1 - 1e-9):
            kept.append(at)
    if len(kept) < 4:
        raise ConfigError(f"expected at least 4 noise levels, got {len(kept)}; use more `steps`")
    return np.array(kept)
