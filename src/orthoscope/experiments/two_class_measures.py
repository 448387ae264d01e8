r"""Where guided samples of two classes end, what they do at edges of a support, and which strength goes straight.

Every measure is taken from the dataset of one run, and comes with its standard error.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr

from orthoscope import metrics
from orthoscope.experiments.two_class import PATHS, TwoClass, counter
from orthoscope.guidance.by_row import ByRow
from orthoscope.guidance.schedules import Constant
from orthoscope.numerics import Array
from orthoscope.progress import Progress
from orthoscope.quantities import Estimate
from orthoscope.theory.two_class import SUPPORT, Law, Moments, check_law, guided_moments, tilted_moments
from orthoscope.theory.two_class_sde import sde_moments
from orthoscope.threads import one_thread

EDGE = SUPPORT[1] - 0.05 * (SUPPORT[1] - SUPPORT[0])  # beyond it lie the outer 5 % of the support
TOLERANCE = 3.0  # final noise standard deviations that a sample may lie outside
_STRONGEST, _FAN, _ROUNDS, _FINE = 32.0, 129, 2, 200


def is_monotone(path: Array) -> bool:
    """Whether a path never turns back; first axis is time."""
    return bool(np.all(np.diff(path, axis=0) >= -1e-12))


def off_support(samples: Array) -> Array:
    """Distance of each sample from the support of the uniform class."""
    return np.maximum(np.maximum(SUPPORT[0] - samples, samples - SUPPORT[1]), 0.0)


def spread(samples: Array) -> Estimate:
    """Standard deviation of numbers, from their variance by the delta method."""
    found = metrics.variance(samples[:, None])
    root = math.sqrt(found.value)
    return replace(found, value=root, stderr=found.stderr / (2 * root) if root > 0 else 0.0)


def measured(found: xr.Dataset) -> dict[str, Any]:
    """What a run found: estimates, theory where scores are exact, the tilted law, and how the middle path behaves."""
    x, law, w = found["sample"].values, check_law(found.attrs["law"]), float(found.attrs["strength"])
    dim, sigma_end = int(found.attrs["dim"]), float(found.attrs["sigma_end"])
    tilted = tilted_moments(law, w, dim=dim)
    flow, sde = _theory(law, found)
    bounded = law == "uniform"
    outside = off_support(x)
    is_off = outside > TOLERANCE * sigma_end
    return {
        "mean": metrics.mean_of(x),
        "std": spread(x),
        "overshoot": metrics.mean_of(x).affine(shift=-tilted_moments(law, 0.0, dim=dim).mean),
        "flow_mean": flow and flow.mean,
        "flow_std": flow and flow.std,
        "sde_mean": sde and sde.mean,
        "sde_std": sde and sde.std,
        "tilted_mean": tilted.mean,
        "tilted_std": tilted.std,
        "boundary_fraction": metrics.share_of((x >= EDGE) & ~is_off) if bounded else None,
        "off_support_fraction": metrics.share_of(is_off) if bounded else None,
        "off_support_distance": metrics.mean_of(outside) if bounded else None,
        "monotone": is_monotone(found["path"].values[:, PATHS // 2]),
    }


def _theory(law: Law, found: xr.Dataset) -> tuple[Moments | None, Moments | None]:
    """What theory says of the sampler in use, the flow or the SDE, from the same start; None of the other."""
    w, lam = float(found.attrs["strength"]), float(found.attrs["lam"])
    begin: dict[str, Any] = {name: found.attrs[name] for name in ("t_max", "start", "dim")}
    if found.attrs["score_error"]:
        return None, None
    flow = guided_moments(law, w, sigma_end=float(found.attrs["sigma_end"]), **begin) if lam == 0 else None
    return flow, sde_moments(w, **begin) if law == "gaussian" and lam == 1 else None


def plain(found: xr.Dataset) -> dict[str, Any]:
    """What a run found, as plain values."""
    return {
        name: value.as_numbers() if isinstance(value, Estimate) else value for name, value in measured(found).items()
    }


# The largest strength whose path is monotone


def largest_monotone_strength(setting: TwoClass, progress: Progress | None = None) -> float | None:
    """The largest strength up to which the middle path, from state 0, never turns back on its way to the class.

    Returns:
        The strength; None if there is none to recommend: every path up to strength 32 is monotone, or none is.

    Accuracy:
        About 5e-3; the search itself is resolved to 2e-3.
    """
    setting = replace(setting, strength=0.0, steps=max(setting.steps, _FINE))
    low, high = 0.0, _STRONGEST
    tick = counter(progress, _ROUNDS * (setting.steps + 1))
    guided = setting.guided()
    for _ in range(_ROUNDS):
        strengths = np.linspace(low, high, _FAN)
        with one_thread():
            zeros = torch.zeros(_FAN, setting.dim, dtype=torch.float64)
            fan = ByRow(tuple(Constant(value=float(w)) for w in strengths))
            _, paths = setting.follow(replace(guided, schedule=fan), zeros, tick=tick)
        turns = [k for k in range(_FAN) if not is_monotone(paths[:, k])]
        if not turns or turns[0] == 0:
            return None
        low, high = float(strengths[turns[0] - 1]), float(strengths[turns[0]])
    return low
