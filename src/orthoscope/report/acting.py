"""What guidance costs, and what a window has left to act on and brings, in words, from the numbers of an audit."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import xarray as xr

from orthoscope.plots.letters import Mark
from orthoscope.report.intervals import Interval, interval

NO_MORE, HALF = 0.05, 0.5  # shares of a pair's largest difference, by which what is left to act on is told


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
    came = outcome(audit, spec)
    return (
        f"{marks[spec].letter}, {spec}, turns negative at σ = {sigma:.3g}, where the two predictions differ by "
        f"{share:.1%} of their largest difference: {_left(share)}{came and '; '}{came}."
    )


def _left(share: float) -> str:
    """How much a share of the largest difference leaves to act on."""
    if share > HALF:
        return "there it still acts"
    return f"less than {NO_MORE if share < NO_MORE else HALF:.0%} of that is left for it to act on"


def outcome(audit: xr.Dataset, spec: str) -> str:
    """What a schedule brings over constant strength; empty if that could not be measured."""
    gain = interval(audit, "gain", spec)
    if gain is None:
        return ""
    equal = interval(audit, "equal_strength", spec)
    constant = f"constant:{equal.value:.3g} at equal mean shift" if equal else "constant strength at equal mean shift"
    if gain.low > 0 or gain.high < 0:
        return f"variance is {'gained over' if gain.low > 0 else 'lost against'} {constant}: {gain}"
    bound = Interval(value=max(-gain.low, gain.high), low=gain.low, high=gain.high).shown
    return f"no difference from the variance of {constant} is shown, and none above {bound} is left possible: {gain}"


def beside(audit: xr.Dataset, twin: xr.Dataset, spec: str, marks: Mapping[str, Mark]) -> str:
    """A schedule in the pipeline and with the exact score, and what is the network's own; empty if nothing is known."""
    if spec not in twin["schedule"].values:
        return ""
    here, exact = outcome(audit, spec), outcome(twin, spec)
    lines = []
    if here and exact:
        lines.append(f"{marks[spec].letter}, {spec}: in the pipeline {here}; with the exact score {exact}.")
    network, true = left_to_act(audit, spec), left_to_act(twin, spec)
    if network and true:
        lines.append(
            f"Where {marks[spec].letter} turns negative, at σ = {true[0]:.3g}, the exact predictions differ by "
            f"{true[1]:.1%} of their largest difference, those of the network by {network[1]:.1%}: {_left(true[1])}."
        )
        if true[1] < HALF and network[1] > 2 * true[1]:
            lines.append("What the network's differ by beyond that comes of the network, not of guidance.")
    return " ".join(lines)


def cost_of_strength(audits: Mapping[str, xr.Dataset]) -> list[str]:
    """How much variance constant strengths keep, for each of the audits by name; whether that falls is said if sure."""
    lines = []
    for name, audit in audits.items():
        specs = [str(spec) for spec in audit["schedule"].values[audit["role"].values == "constant"]]
        kept = {spec: ratio for spec in specs if (ratio := interval(audit, "variance_ratio", spec)) and ratio.bounded}
        if kept:
            falls = "variance falls" if all(ratio.high < 1 for ratio in kept.values()) else "variance comes"
            each = ", ".join(f"{ratio} at {spec}" for spec, ratio in kept.items())
            lines.append(f"{name}: under constant guidance {falls} to {each}.")
    return lines
