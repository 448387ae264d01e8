"""What the negative part of a window has left to act on, in words, from the recorded differences of the pair."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import xarray as xr

from orthoscope.plots.letters import Mark
from orthoscope.report.intervals import Interval, interval

NO_MORE = 0.05  # of the largest difference of a pair, below which next to nothing is left to act on


def left_to_act(audit: xr.Dataset, spec: str) -> tuple[float, float] | None:
    """Noise level at which a schedule turns negative, and the difference of the pair there over its largest.

    The difference is the schedule's own where it was computed, else that of the user's schedule at the same evaluation.
    None if the schedule never turns negative or no difference is known.
    """
    if "log_pair_distance" not in audit:
        return None
    one = audit.sel(schedule=spec)
    negative = np.flatnonzero(one["log_strength"].values < 0)
    if not negative.size:
        return None
    first = int(negative[0])
    for other in (spec, str(audit.attrs["current"])):
        if other in audit["schedule"].values:
            distance = audit["log_pair_distance"].sel(schedule=other).values
            if first < distance.size and math.isfinite(distance[first]):
                return float(one["log_sigma"].values[first]), float(distance[first] / np.nanmax(distance))
    return None


def acting(audit: xr.Dataset, spec: str, marks: Mapping[str, Mark]) -> str:
    """What a window's negative part still has to act on, and what came of it; empty if that is not known."""
    found = left_to_act(audit, spec)
    if found is None:
        return ""
    sigma, share = found
    left = "next to nothing is left for it to act on" if share < NO_MORE else "there it still acts"
    gain = interval(audit, "gain", spec)
    came = f", and variance {_outcome(gain)} at equal mean shift: {gain}" if gain else ""
    return (
        f"{marks[spec].letter}, {spec}, turns negative at σ = {sigma:.3g}, where the two predictions differ by "
        f"{share:.1%} of their largest difference: {left}{came}."
    )


def _outcome(gain: Interval) -> str:
    """What a gain says, where its interval says anything."""
    if gain.low > 0:
        return "is gained"
    return "is lost" if gain.high < 0 else "differs within error"


def own_errors(audit: xr.Dataset, twin: xr.Dataset, spec: str, marks: Mapping[str, Mark]) -> str:
    """A window that acts in the pipeline where exact predictions agree; empty if it is not one."""
    here = left_to_act(audit, spec)
    exact = left_to_act(twin, spec) if spec in twin["schedule"].values else None
    if here is None or exact is None or not exact[1] < NO_MORE <= here[1]:
        return ""
    return (
        f"At the negative part of {marks[spec].letter} the exact predictions have come to agree, those of the network "
        f"still differ ({here[1]:.1%}): what it does in the pipeline is made of the network's own errors, not of "
        "guidance."
    )
