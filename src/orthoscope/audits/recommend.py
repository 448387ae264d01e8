"""Which schedule to use: a decision from an audit's numbers, in plain words with its evidence.

A candidate must be shown to keep adherence but for a loss that does not count, and to gain diversity over the schedule
in use. A window must also be shown to keep more diversity than constant strength at equal mean shift, or a lower
strength would do as well; and it must not be shown to be farther from the class than that and than real images, or it
varies by leaving the class. What is not shown is not recommended; the number of images that would tell is. The lower
ends that decide about diversity are at a level that all candidates share, so that what is said of it is wrong in at
most 5 % of audits, however many were tried and whichever was picked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from orthoscope.audits.candidate import Candidate, Size
from orthoscope.audits.plan import constants
from orthoscope.audits.verdict import Change
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.schedules import GuidanceSchedule, Step
from orthoscope.quantities import QUANTITIES

_FIDELITY = ("precision", "recall", "density", "coverage", "frechet_distance")
_DISTANCES = ("class_distance", "novelty", "far_share")
_TOLERANCE = {"text_similarity": 0.002}  # a cosine that guidance moves by hundredths
_TOLERANCE_OF_SHARES = 0.01
_PAIR = 2
Decision = dict[str, Any]


def recommendation(
    ds: xr.Dataset, schedules: Sequence[GuidanceSchedule], *, tolerance: float | None = None
) -> Decision:
    """The schedule to use instead of the one in use, or None, with text and evidence; JSON-able.

    Keys: `schedule`, `text`, `evidence` (texts), `current`, `adherence` (the measure that decided), `tolerance`,
    `candidates` (their number), `verdicts` (one object each), `nearest` (what would be recommended were its adherence
    shown), `against` (the constant strength of equal mean shift, for a window) and `apply` (a line of Python).

    Args:
        ds: A compared dataset.
        schedules: Its schedules.
        tolerance: A loss of adherence, in units of its measure, below which it does not count; None for 0.002 of text
            similarity and 0.01 of any other measure. Common seeds make losses visible that nobody would notice.
    """
    used, measure = str(ds.attrs["current"]), str(ds.attrs["adherence"])
    least = _TOLERANCE.get(measure, _TOLERANCE_OF_SHARES) if tolerance is None else tolerance
    name = f"the {QUANTITIES[measure].long_name}" if measure in QUANTITIES else measure
    others = [_candidate(ds, one, least, name) for one in schedules if format_schedule(one) != used]
    found = sorted((c for c in others if c.diversity.is_known), key=lambda c: c.diversity.value, reverse=True)
    if not others:
        decision = _open(f"there is no other schedule to compare {used} with; name more.")
    elif not found:
        decision = _open("diversity could not be measured; the notes say why.")
    elif not any(candidate.adherence.is_known for candidate in found):
        decision = _open(f"{name} could not be measured; the notes say why.")
    elif worthy := [c for c in found if c.keeps and c.gains and c.is_worth_it and not c.leaves]:
        decision = _use(ds, worthy[0], found, schedules)
    else:
        decision = _none(found, used)
    about = {
        "current": used, "adherence": measure, "tolerance": least, "candidates": len(found), "against": None,
        "nearest": None, "apply": None, "verdicts": [candidate.verdicts for candidate in found],
    }  # fmt: skip
    if (known := json.loads(ds.attrs.get("knowledge") or "{}")) and others:
        decision = _with_knowledge(decision, known, schedules, used)
    if decision["schedule"] is not None:
        about["apply"] = f'with guided(pipe, "{decision["schedule"]}"):'
    return about | decision


def _with_knowledge(
    decision: Decision, known: Mapping[str, Any], schedules: Sequence[GuidanceSchedule], used: str
) -> Decision:
    """The same with what the unconditional branch knows; where that is little, guidance that ends is asked for."""
    ends = any(isinstance(one, Step) and one.late < one.early for one in schedules)
    text, strength = (
        decision["text"],
        max(constants(one for one in schedules if format_schedule(one) == used), default=0),
    )
    if known.get("standing") == "ignorant" and not ends and strength > 0:
        text += f" Guidance that ends should help and was not run: try step:early={strength:g},late=0,switch=50%."
    return decision | {"text": text, "evidence": [*decision["evidence"], *known["text"]]}


def _open(why: str) -> Decision:
    return {"schedule": None, "text": f"No recommendation: {why}", "evidence": []}


def _use(
    ds: xr.Dataset, best: Candidate, found: Sequence[Candidate], schedules: Sequence[GuidanceSchedule]
) -> Decision:
    """A schedule that was run is the one to use."""
    used = str(ds.attrs["current"])
    both = constants([best.schedule, *(one for one in schedules if format_schedule(one) == used)])
    is_lower = len(both) == _PAIR and both[0] < both[1]
    what = "a lower constant strength" if is_lower else "it"
    text = (
        f"Use {best.spec} instead of {used}: {what} gains diversity, {best.diversity} of the variance without "
        f"guidance, and {best.adherence_told}."
    )
    if not best.is_constant:
        text += f" Constant strength at equal mean shift ({best.equal}) keeps less, by {best.gain}."
    if best.is_farther:
        text += f" It {best.distance_told}."
    passed = [c.told for c in found if c.diversity.value > best.diversity.value]
    against = None if best.is_constant else best.equal
    evidence = _evidence(ds, best, constants(schedules)) + passed
    return {"schedule": best.spec, "text": text, "evidence": evidence, "against": against}


def _none(found: Sequence[Candidate], used: str) -> Decision:
    """Nothing is shown to keep adherence and to gain."""
    text = f"None is shown to be better than {used}."
    nearest = min((c for c in found if c.is_open), key=lambda c: c.adherence_times, default=None)
    if nearest is not None:
        text += f" {nearest.spec} comes nearest: it {nearest.diversity_told}, but {nearest.adherence_told}."
    elif matched := [c for c in found if c.keeps and c.gains]:
        best = matched[0]
        but = best.distance_told if best.leaves and best.is_worth_it else best.gain_told
        text += f" {best.spec} {best.diversity_told} and {best.adherence_told}, but it {but}."
        if best.gain.is_known and not best.leaves and not any(best.equals(candidate) for candidate in found):
            text += f" {best.equal} was not run; whether it does as well, an audit with it tells."
    return {
        "schedule": None, "text": text, "evidence": [candidate.told for candidate in found],
        "nearest": nearest and nearest.spec,
    }  # fmt: skip


def _evidence(ds: xr.Dataset, c: Candidate, strengths: Sequence[float]) -> list[str]:
    """The numbers behind a recommendation, beside the constant strengths that were run."""
    used, loss = str(ds.attrs["current"]), max(0.0, -c.adherence.low)
    lines = [
        f"Diversity, as total variance over that without guidance, changes by {c.diversity} from {used}; at the level "
        f"shared by all candidates by {c.diversity.shown(c.diversity.least)} at least.",
        f"As to adherence, {c.name} changes by {c.adherence}: a loss of at most {c.adherence.shown(loss)[1:]}, and one "
        f"of {c.tolerance:g} would not count.",
    ]
    if c.gain.is_known:
        beyond = strengths and not min(strengths) <= c.equal_strength <= max(strengths)
        lines.append(
            f"Over constant strength at equal mean shift ({c.equal}) diversity gains {c.gain}; at the shared level "
            f"{c.gain.shown(c.gain.least)} at least" + ("; no constant strength so far out was run." if beyond else ".")
        )
    for what, names in ((f"Measured from {c.origin}", _DISTANCES), ("Fidelity", _FIDELITY)):
        if listed := [_beside(ds, name, c.spec, used) for name in names if name in ds]:
            lines.append(f"{what}: {'; '.join(listed)}.")
    if "network_calls" in ds:
        share = _number(ds, "network_calls", c.spec) / _number(ds, "network_calls", used)
        cost = "as many network calls as" if share == 1 else f"{share:.3g} times the network calls of"
        lines.append(f"It takes {cost} {used}.")
    return lines


def _beside(ds: xr.Dataset, name: str, spec: str, used: str) -> str:
    """A measure of one schedule, of the one in use, and of real images where that is known."""
    mine, theirs = (_plain(_change(ds, name, one)) for one in (spec, used))
    real = f", real images {float(ds[f'real_{name}']):.3g}" if f"real_{name}" in ds else ""
    return f"{QUANTITIES[name].long_name} {mine} (yours {theirs}{real})"


def _candidate(ds: xr.Dataset, schedule: GuidanceSchedule, tolerance: float, name: str) -> Candidate:
    spec = format_schedule(schedule)
    prompts = ds.attrs.get("over") == "prompts"
    number = ds.sizes["prompt"] if prompts else int(ds.attrs["images_per_prompt"])
    return Candidate(
        schedule=schedule,
        diversity=_change(ds, "diversity_change", spec),
        adherence=_change(ds, "adherence_change", spec)._replace(grain=float(ds.attrs["adherence_grain"])),
        gain=_change(ds, "gain", spec),
        distance_gain=_change(ds, "distance_gain", spec),
        distance_excess=_change(ds, "distance_excess", spec),
        equal_strength=_number(ds, "equal_strength", spec),
        tolerance=tolerance,
        size=Size(what="prompts" if prompts else "images per prompt", number=number),
        name=name,
        origin=str(ds.attrs.get("distances_from") or "real images"),
    )


def _change(ds: xr.Dataset, name: str, spec: str) -> Change:
    return Change(*(_number(ds, f"{name}{end}", spec) for end in ("", "_low", "_high", "_least", "_stderr")))


def _plain(number: Change) -> str:
    """A number with its interval and no sign before it where it is positive."""
    return str(number).replace("+", "")


def _number(ds: xr.Dataset, name: str, spec: str) -> float:
    return float(ds[name].sel(schedule=spec)) if name in ds else math.nan
