"""What guidance will do to a network's samples, foretold from what its branches know, by three kinds of knowledge.

- `effective`: the learned fraction by level, that is, losses alone: the exact conditional branch beside an
  unconditional one that is partly one Gaussian (`theory.effective`).
- `affine`: regressions of both branches on labelled points, no exact score: exact where answers are affine
  (`theory.linearized`).
- `displaced`: errors of both branches along exact guided paths, which move every sample by its tangent
  (`simulation.response`), with the Jacobian of guidance against one Gaussian or one of its rivals. The displaced
  samples have moments of their own, beyond the linear response that is told beside them.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from orthoscope.denoise import Denoiser, ExactDenoiser, OwnMode
from orthoscope.experiments.networks.branches import Marks
from orthoscope.experiments.networks.guided import MEASURES, Track
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.quantities import Estimate
from orthoscope.settings import Setting
from orthoscope.theory.effective import predict_effective
from orthoscope.theory.linearized import predict_linearized

MOMENTS = MEASURES[:2]
JACOBIANS = ("bare", "gaussian", "exact", "whole")

Told = dict[str, list[float]]


def foretell(marks: Marks, settings: Iterable[Setting], dim: int) -> dict[str, Told]:
    """Mean shifts and variance ratios by `effective` and `affine`, for every setting.

    Args:
        marks: What the branches know.
        settings: A law, a schedule and a run each.
        dim: Dimension.
    """
    known = marks.times.tolist(), [one.value for one in marks.learned()[0]]
    told: dict[str, list[tuple[float, float]]] = {"effective": [], "affine": []}
    for one in settings:
        moments = predict_effective(one, dim, known)
        told["effective"].append((moments.mean_shift, moments.variance_ratio))
        schedule: GuidanceSchedule = one.schedule
        told["affine"].append(
            predict_linearized(marks.branches, schedule, std=one.law.std, t_max=one.t_max, lam=one.lam)
        )
    return {by: dict(zip(MOMENTS, map(list, zip(*rows, strict=True)), strict=True)) for by, rows in told.items()}


def displace(track: Track, network: Denoiser) -> dict[str, list[Estimate]]:
    """What a network's errors add along exact paths, by quantity and Jacobian, for every schedule of the track.

    Returns:
        `linear_*`: to first order; `displaced_*`: of the samples that are moved.
    """
    exact, gaussian = OwnMode(track.law), ExactDenoiser(track.law.gaussian())
    centroids = track.law.centroids[torch.unique(track.labels)]
    found: dict[str, list[Estimate]] = {}
    for schedule in track.schedules:
        response = track.respond((exact, exact), (network, network), gaussian, schedule)
        before = track.outcome(response.x)
        for name in JACOBIANS:
            row = {
                "linear_mean_shift": response.mean_shift(name, centroids),
                "linear_variance_ratio": response.variance(name).affine(1 / track.law.width, 0.0),
            }
            moved = track.outcome(response.x + response.tangents[name]).estimates(before)
            for quantity, value in (row | {f"displaced_{key}": one for key, one in moved.items()}).items():
                found.setdefault(f"{quantity}_{name}", []).append(value)
    return found
