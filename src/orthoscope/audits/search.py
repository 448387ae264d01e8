"""A search over step and linear windows: do any keep more diversity than constant strength of equal mean shift?

Candidates are made from seeds of their own and with few images, and only the best are judged, on other seeds: the best
of many looks good by selection alone. Windows over the steps are searched; on a given grid those over noise levels are
the same ones by other names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import ndtri

from orthoscope import rng
from orthoscope.audits.cells import ImageCells
from orthoscope.audits.compare import Compared, gains
from orthoscope.audits.contribute import Material
from orthoscope.audits.maker import Maker
from orthoscope.audits.measure import labelled
from orthoscope.audits.plan import REFERENCE, constants
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Linear, Step

STAGE = "audit search"
MOST_PROMPTS, MOST_IMAGES = 10, 10
_USUAL = 3.0  # strength around which is searched if no positive one is named
# Positive numbers below are in units of the strongest constant strength, negative ones are strengths.
_STEPS = (  # early, late, share of the steps at which it switches
    *((early, -1.0, switch) for early in (1 / 3, 1.0, 2.0) for switch in (0.5, 0.7)),
    *((1.0, -0.5, switch) for switch in (0.5, 0.7)),
    *((0.0, 1.0, switch) for switch in (0.3, 0.5, 0.7)),
)
_LINES = ((1 / 3, -1.0), (1.0, -1.0), (1.0, 0.0), (2.0, 0.0), (0.0, 1.0), (0.0, 2.0))  # first and last strength
_CHOSEN = ((Step, 2), (Linear, 1))
_CONFIDENCE = 0.95
_MEASURES = ("variance_ratio", "mean_shift", "gain", "adherence")


def candidates(schedules: Sequence[GuidanceSchedule]) -> list[GuidanceSchedule]:
    """The constant strengths that make the line, and the windows to search.

    Args:
        schedules: The schedules of the audit: their constant ones make the line, and set the scale of strengths.
    """
    strongest = max((*constants(schedules), 0.0)) or _USUAL
    named = [schedule for schedule in schedules if isinstance(schedule, Constant)]
    line = (REFERENCE, *named, Constant(value=float(f"{strongest:g}")))

    def strength(number: float) -> float:
        return number * strongest if number > 0 else number

    steps = (
        Step(early=_short(strength(early)), late=_short(strength(late)), switch=switch, clock="step")
        for early, late, switch in _STEPS
    )
    lines = (
        Linear(w0=_short(strength(first)), slope=_short(strength(last) - strength(first)), clock="step")
        for first, last in _LINES
    )
    return list(dict.fromkeys((*line, *steps, *lines)))


def some(prompts: Sequence[str], *, seed: int) -> list[str]:
    """At most ten of the prompts, drawn by their names, so that the order of a list chooses nothing."""
    return sorted(prompts, key=lambda prompt: rng.key(seed, STAGE, prompt))[:MOST_PROMPTS]


def searched(
    maker: Maker, cells: ImageCells, material: Material, schedules: Sequence[GuidanceSchedule]
) -> tuple[xr.Dataset, list[GuidanceSchedule]]:
    """Every candidate beside constant strength, and the windows worth judging.

    Args:
        maker: Makes images from the seeds of the search.
        cells: Where they are kept.
        material: What is read: these cells, and some of the prompts.
        schedules: The schedules of the audit.

    Raises:
        StoppedError: if images without guidance are not finite.
    """
    tried = candidates(schedules)
    stopped = maker.fill(cells, tried, material.prompts)
    found = gains(material, [schedule for schedule in tried if schedule not in stopped])
    chosen = choose(found)
    return _dataset(found, chosen), chosen


def choose(found: Mapping[GuidanceSchedule, Compared]) -> list[GuidanceSchedule]:
    """The windows of largest gain, of each kind, in which no loss of adherence is seen, and no shift beyond the line.

    That shows nothing: it says which are worth judging.
    """
    reference = found[REFERENCE].adherence
    kept: list[tuple[float, GuidanceSchedule]] = []
    for schedule, one in found.items():
        if one.gain is None or one.extended:
            continue
        if reference is not None and one.adherence is not None:
            error = float(np.hypot(one.adherence.stderr, reference.stderr))
            if one.adherence.value < reference.value - ndtri((1 + _CONFIDENCE) / 2) * error:
                continue
        kept.append((one.gain.value, schedule))
    best = [schedule for _, schedule in sorted(kept, key=lambda pair: -pair[0])]
    return [schedule for kind, most in _CHOSEN for schedule in [s for s in best if isinstance(s, kind)][:most]]


def _dataset(found: Mapping[GuidanceSchedule, Compared], chosen: Sequence[GuidanceSchedule]) -> xr.Dataset:
    variables: dict[str, Any] = {
        "kind": ("candidate", [type(schedule).__name__.lower() for schedule in found]),
        "chosen": ("candidate", [schedule in chosen for schedule in found]),
    }
    for name in _MEASURES:
        measures = [getattr(one, name) for one in found.values()]
        for end, part in (("", "value"), ("_stderr", "stderr")):
            values = [np.nan if measure is None else getattr(measure, part) for measure in measures]
            variables[name + end] = ("candidate", values)
    specs = [format_schedule(schedule) for schedule in found]
    return labelled(xr.Dataset(variables, coords={"candidate": specs}).set_coords("kind"))


def _short(number: float) -> float:
    return float(f"{round(number, 3):g}")
