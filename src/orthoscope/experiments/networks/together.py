"""What all networks of a study say together: which branch, which sampler, how linear the bias is, and the remedy.

Medians over networks, since a few whose samples leave the data would decide every mean.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import spearmanr

from orthoscope.experiments.networks.foretold import MOMENTS

DECENT = 0.02  # excess of a conditional branch from which its samples are compared
_FEWEST = 3  # networks that can be ranked
_KERNELS = ("bare", "gaussian")


def branches(some: xr.Dataset) -> dict[str, float]:
    """What the network, and each of its branches beside an exact one, adds to the variance ratio."""
    return {pair: float(some[f"extra_variance_ratio_{pair}"].median()) for pair in ("network", "uncond", "cond")}


def samplers(some: xr.Dataset) -> dict[str, dict[str, float | int]]:
    """Size of what networks add to exact samples of the same sampler, and how often it is smaller by the other one."""
    found: dict[str, dict[str, float | int]] = {}
    for name in MOMENTS:
        own, other = (np.abs(some[f"extra_{name}_{pair}"].values) for pair in ("network", "other"))
        found[name] = {
            "own": float(np.median(own)),
            "other": float(np.median(other)),
            "smaller_by_other": int((other < own).sum()),
            "networks": len(own),
        }
    return found


def mismatch(some: xr.Dataset) -> dict[str, dict[str, float | None]]:
    """The mean shift that networks add over its first order, all networks as one, by what first order feels."""
    added = some["extra_mean_shift_network"].values
    return {kernel: _proportion(some[f"linear_mean_shift_{kernel}"].values, added) for kernel in _KERNELS}


def _proportion(told: NDArray[np.float64], added: NDArray[np.float64]) -> dict[str, float | None]:
    ranks = float(spearmanr(told, added).statistic) if len(told) >= _FEWEST else None
    return {"slope": float(told @ added / (told @ told)), "rank_correlation": ranks}


def remedy(some: xr.Dataset) -> dict[str, float | int]:
    """The posterior mixture of conditional predictions, in networks whose conditional branch is decent."""
    kept = some.isel(network=np.flatnonzero(some["excess_cond_mean"].values < DECENT))
    if not kept.sizes["network"]:
        return {"networks": 0}
    ratios = kept["variance_ratio_posterior"]
    return {
        "networks": kept.sizes["network"],
        "least_variance_ratio": float(ratios.min()),
        "most_variance_ratio": float(ratios.max()),
        "least_without": float(kept["variance_ratio_network"].min()),
        "mean_shift_over_exact": float((kept["mean_shift_posterior"] / kept["mean_shift_exact"]).median()),
        "most_far": float(kept["far_posterior"].max()),
    }
