"""How well networks were foreseen: their mean shifts, their variance ratios, and which schedules gain on constants."""

from __future__ import annotations

import numpy as np
import xarray as xr

from orthoscope.datasets import stored
from orthoscope.experiments.networks.foretold import JACOBIANS

# The exact score and one Gaussian as unconditional branch are what foresight has to beat.
PREDICTORS = ("exact", "gaussian", "effective", "affine", *(f"displaced_{name}" for name in JACOBIANS))


def told(result: xr.Dataset, name: str, by: str) -> xr.DataArray:
    """A mean shift or a variance ratio as it was foretold.

    Args:
        result: The dataset of the study, or a part.
        name: The quantity.
        by: One of `PREDICTORS`; `displaced_*` is said of what the network adds, and laid on the exact samples.
    """
    kind, _, jacobian = by.partition("_")
    if kind == "displaced":
        return result[f"{name}_exact"] + result[f"displaced_{name}_{jacobian}"]
    return result[f"{name}_{by}"] if by in ("exact", "gaussian") else result[f"{name}_by_{by}"]


def foreseen(result: xr.Dataset, name: str, by: str) -> dict[str, float]:
    """How far networks are from what was foretold, over all of them and all schedules."""
    measured, said = result[f"{name}_network"].values.ravel(), told(result, name, by).values.ravel()
    return {
        "rms": float(np.sqrt(np.mean((measured - said) ** 2))),
        "median": float(np.median(np.abs(measured - said))),
        "count": len(measured),
    }


def gains_foreseen(result: xr.Dataset, by: str) -> dict[str, float | int]:
    """How well the gains of schedules on constants were foretold, and how often their signs.

    Signs are counted where the measured 95 % interval has one.
    """
    texts = [str(text) for text in result["schedule"].values]
    constants = [k for k, text in enumerate(texts) if text.startswith("constant")]
    gains = stored(result, "gain_network")  # network by network
    all_shifts, all_variances = (told(result, name, by).values for name in ("mean_shift", "variance_ratio"))
    misses, right = [], []
    for row, (shifts, variances) in enumerate(zip(all_shifts, all_variances, strict=True)):
        order = sorted(constants, key=lambda k: shifts[k])
        for k in sorted(set(range(len(texts))) - set(constants)):
            gain = gains[row * len(texts) + k]
            beyond = variances[k] - np.interp(shifts[k], shifts[order], variances[order])
            misses.append(abs(beyond - gain.value))
            if gain.interval()[0] > 0 or gain.interval()[1] < 0:
                right.append(bool((beyond > 0) == (gain.value > 0)))
    return {"median": float(np.median(misses)), "count": len(right), "right": sum(right)}
