"""What a pipeline's two branches say along recorded runs: states and both denoised means at every noise level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orthoscope import rng
from orthoscope.errors import ConfigError, StoppedError
from orthoscope.forecasts.plan import Forecast
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.rules.own import FunctionRule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.integrations.batches import Batches
from orthoscope.integrations.host import Host
from orthoscope.process import NoiseLevel
from orthoscope.serialize import content_hash
from orthoscope.sweeps.cells import Cells, Finished
from orthoscope.typing import Events

_FORMAT = 1  # to be raised when equal settings record otherwise
_SEEDS = 2**32  # of a seed, torch's generator reads the low 32 bits
_STRIDE = 0x9E3779B1  # odd, so that the seeds of a prompt are distinct
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Runs of some prompts under one schedule; one row per image, rows of a prompt beside each other.

    Attributes:
        times: Variance time of every evaluation, descending.
        states: Unscaled states (evaluations, rows, dim).
        cond: Denoised means given the prompt, likewise.
        uncond: Denoised means without it, likewise.
        final: Final states of the scheduler (rows, dim).
        shape: Of one state.
        calls: Predictions computed.
    """

    times: NDArray[np.float64]
    states: Floats
    cond: Floats
    uncond: Floats
    final: Floats
    shape: tuple[int, ...]
    calls: int

    @classmethod
    def joined(cls, parts: Sequence[Pairs]) -> Pairs:
        """Rows of several runs one after another."""
        rows = {
            name: np.concatenate([getattr(p, name) for p in parts], axis=1) for name in ("states", "cond", "uncond")
        }
        final, calls = np.concatenate([part.final for part in parts]), sum(part.calls for part in parts)
        return cls(times=parts[0].times, shape=parts[0].shape, final=final, calls=calls, **rows)

    @property
    def finished(self) -> Finished:
        """As it is kept."""
        arrays = {name: getattr(self, name) for name in ("times", "states", "cond", "uncond", "final")}
        return Finished(arrays, {"shape": list(self.shape), "calls": self.calls})

    @classmethod
    def kept(cls, found: Finished) -> Pairs:
        """What was kept."""
        return cls(**dict(found.arrays), shape=tuple(found.about["shape"]), calls=int(found.about["calls"]))


@dataclass(slots=True, kw_only=True, eq=False)
class PairRecorder:
    """Records a host, or finds what was recorded of it.

    Attributes:
        host: The pipeline.
        plan: Prompts, images, steps and seed.
        batches: How many images are made at once.
        cells: Where records are kept; None to keep none.
        advance: Called after every prompt of a run.
        may_ask: Whether the pipeline may be asked for what is missing.
    """

    host: Host
    plan: Forecast
    batches: Batches
    cells: Cells | None = None
    advance: Callable[[], None] = lambda: None
    may_ask: bool = True
    asked: int = field(default=0, init=False)

    def seeds(self, prompt: str) -> list[int]:
        """One seed per image of a prompt, other ones than those of audits and calibrations."""
        first = rng.key(self.plan.seed, "forecast", prompt)
        return [(first + image * _STRIDE) % _SEEDS for image in range(self.plan.images_per_prompt)]

    def record(self, schedule: GuidanceSchedule) -> Pairs:
        """All prompts under a schedule.

        Raises:
            ConfigError: if the pipeline cannot be asked for this, or was not asked and may not be.
            StoppedError: if what it says is not finite, or not even one image fits into memory.
        """
        return Pairs.joined([self._prompt(schedule, prompt) for prompt in self.plan.prompts])

    def _prompt(self, schedule: GuidanceSchedule, prompt: str) -> Pairs:
        seeds = self.seeds(prompt)
        about = {"format": _FORMAT, "schedule": format_schedule(schedule), "prompt": prompt, "seeds": seeds}
        key = content_hash(about | {"steps": self.plan.steps} | self.host.identity)
        found = None if self.cells is None else self.cells.find(key)
        if found is None and not self.may_ask:
            raise ConfigError(
                f"nothing is recorded of {self.host.name} for prompt {prompt!r:.40} under {format_schedule(schedule)}: "
                "the forecast is of another model, or its folder is not whole; run `orthoscope forecast` again"
            )
        pairs = (
            Pairs.kept(found) if found else Pairs.joined(self.batches.of(seeds, partial(self._asked, schedule, prompt)))
        )
        if found is None and self.cells is not None:
            self.cells.write(key, pairs.finished)
        self.advance()
        return pairs

    def _asked(self, schedule: GuidanceSchedule, prompt: str, seeds: Sequence[int]) -> Pairs:
        """One batch, overheard by its own rule: linear guidance that keeps what it is given."""
        heard: list[tuple[float, Events, Events, Events]] = []

        def overhear(x: Events, level: NoiseLevel, predictions: Any, w: Any) -> Events:
            cond, uncond = predictions["cond"], predictions["uncond"]
            heard.append((float(level.time), x, cond, uncond))
            guided: Events = cond + w * (cond - uncond)
            return guided

        made = self.host.generate(prompt, seeds, schedule, rule=FunctionRule(call=overhear), steps=self.plan.steps)
        times, *answers = zip(*heard, strict=True)
        states, cond, uncond = (
            np.stack([one.float().flatten(1).numpy(force=True) for one in column]) for column in answers
        )
        if not all(np.isfinite(part).all() for part in (states, cond, uncond, made.latents)):
            raise StoppedError(
                f"{self.host.name} makes NaN or infinity under {format_schedule(schedule)}; try `dtype` float32, or "
                "another `pipeline_scheduler`"
            )
        return Pairs(
            times=np.array(times), states=states, cond=cond, uncond=uncond, final=made.latents.reshape(len(seeds), -1),
            shape=made.latents.shape[1:], calls=made.passes,
        )  # fmt: skip
