"""What a guided pipeline did, evaluation by evaluation, as a labelled dataset."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from orthoscope import __version__
from orthoscope.errors import ConfigError
from orthoscope.prediction import Form, to_denoised
from orthoscope.process import NoiseLevel
from orthoscope.quantities import QUANTITIES
from orthoscope.typing import Events

_HEAD = ("run", "steps", "mean strength", "mean |D_c - D_u| in the first half", "in the second", "passes")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """One guided prediction.

    Attributes:
        level: Noise level of the state.
        strength: Strength w.
        passes: Number of predictions computed for it.
        measured: Numbers per row by quantity name, still on the pipeline's device.
    """

    level: NoiseLevel
    strength: float
    passes: int
    measured: Mapping[str, Tensor]


def measured(
    cond: Events | None, uncond: Events | None, guided: Events, level: NoiseLevel, output: Form
) -> dict[str, Tensor]:
    """Norms, cosine and distance of the pair, and effective scale of the guided prediction, one number per row.

    The distance is that of the two denoised means, in data units. The effective scale is that of plain guidance with
    the same component along cond - uncond. What is undefined is NaN: where the two agree, or one of them is None
    because it was not computed.
    """
    missing = torch.full_like(guided, torch.nan)
    c, u, g = ((missing if part is None else part).detach().float().flatten(1) for part in (cond, uncond, guided))
    along = c - u
    # Denoised means are affine in the predictions, with the same term in the state: it drops out here, not by rounding.
    apart = to_denoised(along, torch.zeros_like(along), level, output)
    return {
        "cond_norm": c.norm(dim=1),
        "uncond_norm": u.norm(dim=1),
        "guided_norm": g.norm(dim=1),
        "pair_cosine": (c * u).sum(1) / (c.norm(dim=1) * u.norm(dim=1)),
        "pair_distance": apart.norm(dim=1),
        "effective_scale": ((g - u) * along).sum(1) / (along * along).sum(1),
    }


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class GuidanceLog:
    """The record of one `guided` context.

    Attributes:
        attrs: What was guided by what, stored with every dataset.
        runs: Evaluations of each call of the pipeline.
        final: State after the last step of the last call, in the scheduler's scale; None before the first step.
    """

    attrs: dict[str, str]
    runs: list[list[Evaluation]] = field(default_factory=list)
    final: Tensor | None = None

    @property
    def dataset(self) -> xr.Dataset:
        """The last run; see `datasets`.

        Raises:
            ConfigError: if nothing ran yet.
        """
        datasets = self.datasets
        if not datasets:
            raise ConfigError("nothing to show: call the pipeline inside `with guided(...)` first")
        return datasets[-1]

    @property
    def datasets(self) -> list[xr.Dataset]:
        """One dataset per run over `evaluation` (and `row`: an image, in the pipeline's order).

        Numbers per row are of the predictions in the form named by the attribute `prediction`.
        """
        return [self._labelled(run) for run in self.runs if run]

    def __repr__(self) -> str:
        """What was guided by what, and a line for every run."""
        told = self.attrs
        title = f"{told['schedule']} with rule {told['rule']}: {told['pipeline']}, {told['scheduler']}"
        rows = [_brief(number, run) for number, run in enumerate(filter(None, self.runs), 1)]
        if not rows:
            return f"{title}; nothing ran yet"
        table = [_HEAD, *rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in table)
        return "\n".join((title, *map(str.rstrip, lines)))

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"

    def _labelled(self, run: list[Evaluation]) -> xr.Dataset:
        levels = [evaluation.level for evaluation in run]
        per_row = {
            name: (("evaluation", "row"), torch.stack([e.measured[name] for e in run]).cpu().numpy())
            for name in run[0].measured
        }
        result = xr.Dataset(
            {
                "strength": ("evaluation", np.array([e.strength for e in run])),
                "passes": ("evaluation", np.array([e.passes for e in run])),
                **per_row,
            },
            coords={
                "evaluation": np.arange(len(run)),
                "row": np.arange(len(run[0].measured["cond_norm"])),
                "step": ("evaluation", np.array([level.step for level in levels])),
                "timestep": ("evaluation", np.array([level.t for level in levels])),
                "time": ("evaluation", np.array([level.time for level in levels])),
                "sigma": ("evaluation", np.array([level.sigma for level in levels])),
            },
            attrs={"orthoscope": __version__, "steps": levels[0].steps, **self.attrs},
        )
        for name in {*result.data_vars, *result.coords} & set(QUANTITIES):
            quantity = QUANTITIES[str(name)]
            result[name].attrs |= {"units": quantity.unit, "long_name": quantity.long_name}
        return result


def _brief(number: int, run: list[Evaluation]) -> tuple[str, ...]:
    """One run in few numbers, as the head says."""
    strength = np.mean([evaluation.strength for evaluation in run])
    apart = torch.stack([evaluation.measured["pair_distance"] for evaluation in run]).nanmean(1)
    halves = (
        part.nanmean().item() if len(part) else math.nan for part in (apart[: len(run) // 2], apart[len(run) // 2 :])
    )
    steps = {evaluation.level.step for evaluation in run}
    passes = sum(evaluation.passes for evaluation in run)
    shown = (f"{mean:.3g}" if math.isfinite(mean) else "–" for mean in halves)
    return (str(number), str(len(steps)), f"{strength:.3g}", *shown, str(passes))
