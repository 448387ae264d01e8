"""A search over step and linear windows: do any keep more diversity than constant strength of equal mean shift?

Candidates are made from seeds of their own and with few images, and only the best are judged, on other seeds: the best
of many looks good by selection alone. Windows over the steps are searched; on a given grid those over noise levels are
the same ones by other names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from scipy.special import ndtri

from orthoscope import rng
from orthoscope.audits.compare import Compared, gains
from orthoscope.audits.maker import Maker
from orthoscope.audits.measure import labelled
from orthoscope.audits.plan import REFERENCE, canonical, constant_strength
from orthoscope.errors import StoppedError

Kind = Literal["step", "linear", "constant"]
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
_CHOSEN: Mapping[Kind, int] = {"step": 2, "linear": 1}
_CONFIDENCE = 0.95
_MEASURES = ("variance_ratio", "mean_shift", "gain", "adherence")


def candidates(schedules: Sequence[str]) -> dict[str, Kind]:
    """The windows to search and the constant strengths they are compared with, by kind.

    Args:
        schedules: The schedules of the audit: their constant ones make the line, and set the scale of strengths.
    """
    constants = {spec: w for spec in schedules if (w := constant_strength(spec)) is not None}
    strongest = max((*constants.values(), 0.0)) or _USUAL
    line = dict.fromkeys((REFERENCE, *constants, f"constant:{strongest:g}"))
    found: dict[str, Kind] = {canonical(spec): "constant" for spec in line}

    def strength(number: float) -> float:
        return number * strongest if number > 0 else number

    for first, last, switch in _STEPS:
        early, late = _short(strength(first)), _short(strength(last))
        found[canonical(f"step:early={early},late={late},switch={switch:.0%}")] = "step"
    for first, last in _LINES:
        start, slope = _short(strength(first)), _short(strength(last) - strength(first))
        found[canonical(f"linear:w0={start},slope={slope},clock=step")] = "linear"
    return found


def some(prompts: Sequence[str], *, seed: int) -> list[str]:
    """At most ten of the prompts, drawn by their names, so that the order of a list chooses nothing."""
    return sorted(prompts, key=lambda prompt: rng.key(seed, STAGE, prompt))[:MOST_PROMPTS]


def searched(
    maker: Maker,
    folder: Path,
    schedules: Sequence[str],
    prompts: Sequence[str],
    *,
    text_features: Mapping[str, Any] | None = None,
    labels: Mapping[str, int] | None = None,
) -> tuple[xr.Dataset, list[str]]:
    """Every candidate beside constant strength, and the windows worth judging.

    Args:
        maker: Makes images from the seeds of the search.
        folder: Where its cells are kept.
        schedules: The schedules of the audit.
        prompts: The prompts of the audit, of which a few are used.
        text_features: Features of each prompt's text.
        labels: Class of each prompt.

    Raises:
        StoppedError: if images without guidance are not finite.
    """
    kinds, asked = candidates(schedules), some(prompts, seed=maker.order.seed)
    cells = maker.cells(folder)
    stopped = maker.fill(cells, list(kinds), asked)
    if REFERENCE in stopped:
        raise StoppedError(f"{REFERENCE}, which everything is relative to: {stopped[REFERENCE]}")
    found = gains(
        cells,
        [spec for spec in kinds if spec not in stopped],
        asked,
        text_features=text_features,
        labels=labels,
        seed=maker.order.seed,
    )
    chosen = choose(found, kinds)
    return _dataset(found, kinds, chosen), chosen


def choose(found: Mapping[str, Compared], kinds: Mapping[str, Kind]) -> list[str]:
    """The windows of largest gain, of each kind, in which no loss of adherence is seen, and no shift beyond the line.

    That shows nothing: it says which are worth judging.
    """
    reference = found[REFERENCE].adherence
    kept = []
    for spec, one in found.items():
        if kinds[spec] == "constant" or one.gain is None or one.extended:
            continue
        if reference is not None and one.adherence is not None:
            error = float(np.hypot(one.adherence.stderr, reference.stderr))
            if one.adherence.value < reference.value - ndtri((1 + _CONFIDENCE) / 2) * error:
                continue
        kept.append((one.gain.value, spec))
    best = [spec for _, spec in sorted(kept, key=lambda pair: -pair[0])]
    return [spec for kind, most in _CHOSEN.items() for spec in [s for s in best if kinds[s] == kind][:most]]


def _dataset(found: Mapping[str, Compared], kinds: Mapping[str, Kind], chosen: Sequence[str]) -> xr.Dataset:
    variables: dict[str, Any] = {
        "kind": ("candidate", [kinds[spec] for spec in found]),
        "chosen": ("candidate", [spec in chosen for spec in found]),
    }
    for name in _MEASURES:
        measures = [getattr(one, name) for one in found.values()]
        for end, part in (("", "value"), ("_stderr", "stderr")):
            values = [np.nan if measure is None else getattr(measure, part) for measure in measures]
            variables[name + end] = ("candidate", values)
    return labelled(xr.Dataset(variables, coords={"candidate": list(found)}).set_coords("kind"))


def _short(number: float) -> str:
    return f"{round(number, 3):g}"
