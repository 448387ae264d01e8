"""Which schedule to use: a decision from an audit's numbers, in plain words with its evidence.

A candidate must be shown to keep adherence but for a loss that does not count, and to gain diversity over the schedule
in use. A window must also be shown to keep more diversity than constant strength at equal mean shift, or a lower
strength would do as well. What is not shown is not recommended; the number of images that would tell is. The lower ends
that decide about diversity are at a level that all candidates share, so that what is said of the one recommended is
wrong in at most 5 % of audits, however many were tried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

from orthoscope.quantities import QUANTITIES
from orthoscope.study.audit.plan import constant_strength
from orthoscope.study.audit.verdict import Change

_FIDELITY = ("precision", "recall", "density", "coverage", "frechet_distance")
_NEAR = 0.02  # constant strengths so close are the same for the purpose
_TOLERANCE = {"text_similarity": 0.002}  # a cosine that guidance moves by hundredths
_TOLERANCE_OF_SHARES = 0.01
_MOST = 1e6  # images or prompts, beyond which no number is named
Decision = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What an audit would have to make more of.

    Attributes:
        what: Images of each prompt, or prompts: whichever is the random draw.
        number: How many of them there were.
    """

    what: str
    number: int

    def needed(self, times: float) -> int | None:
        """So many times as many, to two digits; None where no number would do."""
        if not times * self.number < _MOST:
            return None
        digit = 10 ** max(0, int(math.log10(times * self.number)) - 1)
        return math.ceil(times * self.number / digit - 1e-9) * digit

    def telling(self, times: float) -> str:
        """What would tell, in words."""
        number = self.needed(times)
        return "no number of images would tell" if number is None else f"about {number:,} {self.what} would tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What decides about one schedule.

    Attributes:
        spec: The schedule.
        diversity: Change of the variance ratio from the schedule in use.
        adherence: Change of the adherence from it.
        gain: Variance ratio above that of constant strength at equal mean shift.
        equal_strength: That constant strength.
        tolerance: A loss of adherence that does not count.
        size: What an audit would have to make more of.
        name: The measure of adherence.
    """

    spec: str
    diversity: Change
    adherence: Change
    gain: Change
    equal_strength: float
    tolerance: float
    size: Size
    name: str

    @property
    def keeps(self) -> bool:
        """Whether adherence is shown to be kept but for a loss that does not count."""
        return self.adherence.verdict(-self.tolerance) == "kept"

    @property
    def strength(self) -> float | None:
        """Its strength if that is constant."""
        return constant_strength(self.spec)

    @property
    def gains(self) -> bool:
        """Whether diversity is shown to be above that of the schedule in use."""
        return self.diversity.verdict() == "kept"

    @property
    def is_worth_it(self) -> bool:
        """Whether constant strength is shown to keep less; so by definition for constant strengths."""
        return self.strength is not None or self.gain.verdict() == "kept"

    @property
    def is_open(self) -> bool:
        """Whether all that keeps it from being recommended is that its adherence is not shown to be kept."""
        asked = self.adherence.is_known and self.adherence.verdict(-self.tolerance) == "not shown"
        return asked and self.adherence.value > -self.tolerance and self.gains and self.is_worth_it

    @property
    def equal(self) -> str:
        """The constant strength of equal mean shift, as a schedule."""
        return f"constant:{self.equal_strength:.3g}"

    def equals(self, other: Candidate) -> bool:
        """Whether another candidate is the constant strength of equal mean shift."""
        strength = self.equal_strength
        return other.strength is not None and abs(other.strength - strength) <= _NEAR * max(1.0, abs(strength))

    @property
    def adherence_told(self) -> str:
        """What is shown of its adherence, with the numbers that show it."""
        if not self.adherence.is_known:
            return f"{self.name} could not be compared"
        change = f"{self.adherence}, where a loss of {self.tolerance:g} would not count"
        match self.adherence.verdict(-self.tolerance):
            case "kept":
                return f"keeps {self.name}: {change}"
            case "lost":
                return f"loses of {self.name}: {change}"
        return f"is not shown to keep {self.name}: {change}; {self.size.telling(self.adherence_times)}"

    @property
    def adherence_times(self) -> float:
        """So many times the images would tell whether adherence is kept."""
        return self.adherence.times_needed(-self.tolerance)

    @property
    def diversity_told(self) -> str:
        """What is shown of its diversity."""
        return _told(self.diversity, ("gains diversity", "loses diversity", "is not shown to gain diversity"), self.size)

    @property
    def gain_told(self) -> str:
        """What is shown of it beside constant strength at equal mean shift."""
        beside = f"constant strength at equal mean shift ({self.equal})"
        if not self.gain.is_known:
            return "could not be compared with constant strength at equal mean shift"
        words = (f"keeps more variance than {beside}", f"keeps less variance than {beside}",
                 f"is not shown to keep more variance than {beside}")  # fmt: skip
        return _told(self.gain, words, self.size)

    @property
    def told(self) -> str:
        """All that is shown of it."""
        parts = [self.diversity_told, *([] if self.strength is not None else [self.gain_told]), self.adherence_told]
        return f"{self.spec} {'; '.join(parts)}."

    @property
    def verdicts(self) -> dict[str, Any]:
        """The same for machines."""
        times = [self.adherence_times, self.diversity.times_needed()]
        times += [] if self.strength is not None else [self.gain.times_needed()]
        words = {"kept": "gained", "lost": "lost", "not shown": "not shown"}
        return {
            "schedule": self.spec,
            "adherence": self.adherence.verdict(-self.tolerance) if self.adherence.is_known else None,
            "adherence_change": self.adherence._asdict() if self.adherence.is_known else None,
            "tolerance": self.tolerance,
            "diversity": words[self.diversity.verdict()],
            "gain": words[self.gain.verdict()] if self.gain.is_known else None,
            "would_tell": {self.size.what: self.size.needed(max(times))} if max(times) > 1 else None,
        }


def recommendation(ds: xr.Dataset, *, tolerance: float | None = None) -> Decision:
    """The schedule to use instead of the one in use, or None, with text and evidence; JSON-able.

    Keys: `schedule`, `text`, `evidence` (texts), `current`, `adherence` (the measure that decided), `tolerance`,
    `candidates` (their number), `verdicts` (one object each), `nearest` (what would be recommended were its adherence
    shown), `against` (the constant strength of equal mean shift, for a window) and `apply` (a line of Python).

    Args:
        ds: A compared dataset.
        tolerance: A loss of adherence, in units of its measure, below which it does not count; None for 0.002 of text
            similarity and 0.01 of any other measure. Common seeds make losses visible that nobody would notice.
    """
    used, measure = str(ds.attrs["current"]), str(ds.attrs["adherence"])
    least = _TOLERANCE.get(measure, _TOLERANCE_OF_SHARES) if tolerance is None else tolerance
    name = f"the {QUANTITIES[measure].long_name}" if measure in QUANTITIES else measure
    others = [_candidate(ds, spec, least, name) for spec in map(str, ds.schedule.values) if spec != used]
    found = sorted((c for c in others if c.diversity.is_known), key=lambda c: c.diversity.value, reverse=True)
    if not others:
        decision = _open(f"there is no other schedule to compare {used} with; name more.")
    elif not found:
        decision = _open("diversity could not be measured; the notes say why.")
    elif not any(candidate.adherence.is_known for candidate in found):
        decision = _open(f"{name} could not be measured; the notes say why.")
    elif worthy := [c for c in found if c.keeps and c.gains and c.is_worth_it]:
        decision = _use(ds, worthy[0], found, used)
    else:
        decision = _none(found, used)
    about = {
        "current": used, "adherence": measure, "tolerance": least, "candidates": len(found), "against": None,
        "nearest": None, "apply": None, "verdicts": [candidate.verdicts for candidate in found],
    }  # fmt: skip
    if decision["schedule"] is not None:
        about["apply"] = f'with guided(pipe, "{decision["schedule"]}"):'
    return about | decision


def _open(why: str) -> Decision:
    return {"schedule": None, "text": f"No recommendation: {why}", "evidence": []}


def _use(ds: xr.Dataset, best: Candidate, found: Sequence[Candidate], used: str) -> Decision:
    """A schedule that was run is the one to use."""
    strength = constant_strength(used)
    is_lower = best.strength is not None and strength is not None and best.strength < strength
    what = "a lower constant strength" if is_lower else "it"
    text = (
        f"Use {best.spec} instead of {used}: {what} gains diversity, {best.diversity} of the variance without guidance, "
        f"and {best.adherence_told}."
    )
    if best.strength is None:
        text += f" Constant strength at equal mean shift ({best.equal}) keeps less, by {best.gain}."
    passed = [c.told for c in found if c.diversity.value > best.diversity.value]
    against = best.equal if best.strength is None else None
    return {"schedule": best.spec, "text": text, "evidence": _evidence(ds, best, used) + passed, "against": against}


def _none(found: Sequence[Candidate], used: str) -> Decision:
    """Nothing is shown to keep adherence and to gain."""
    text = f"None is shown to be better than {used}."
    nearest = min((c for c in found if c.is_open), key=lambda c: c.adherence_times, default=None)
    if nearest is not None:
        text += f" {nearest.spec} comes nearest: it {nearest.diversity_told}, but {nearest.adherence_told}."
    elif matched := [c for c in found if c.keeps and c.gains]:
        best = matched[0]
        text += f" {best.spec} {best.diversity_told} and {best.adherence_told}, but it {best.gain_told}."
        if best.gain.is_known and not any(best.equals(candidate) for candidate in found):
            text += f" {best.equal} was not run; whether it does as well, an audit with it tells."
    return {
        "schedule": None, "text": text, "evidence": [candidate.told for candidate in found],
        "nearest": nearest and nearest.spec,
    }  # fmt: skip


def _told(change: Change, words: tuple[str, str, str], size: Size) -> str:
    """A change in the words for more, less, and neither shown, with its numbers."""
    match change.verdict():
        case "kept":
            return f"{words[0]}, {change}"
        case "lost":
            return f"{words[1]}, {change}"
    more = f"; {size.telling(change.times_needed())}" if change.value > 0 else ""
    return f"{words[2]}, {change}{more}"


def _evidence(ds: xr.Dataset, c: Candidate, used: str) -> list[str]:
    """The numbers behind a recommendation."""
    loss = max(0.0, -c.adherence.low)
    lines = [
        f"Diversity, as total variance over that without guidance, changes by {c.diversity} from {used}; at the level "
        f"shared by all candidates by {c.diversity.shown(c.diversity.least)} at least.",
        f"As to adherence, {c.name} changes by {c.adherence}: a loss of at most {c.adherence.shown(loss)[1:]}, and one "
        f"of {c.tolerance:g} would not count.",
    ]
    if c.gain.is_known:
        strengths = [w for spec in map(str, ds.schedule.values) if (w := constant_strength(spec)) is not None]
        beyond = strengths and not min(strengths) <= c.equal_strength <= max(strengths)
        lines.append(
            f"Over constant strength at equal mean shift ({c.equal}) diversity gains {c.gain}; at the shared level "
            f"{c.gain.shown(c.gain.least)} at least" + ("; no constant strength so far out was run." if beyond else ".")
        )
    if fidelity := [name for name in _FIDELITY if name in ds]:
        pairs = [(QUANTITIES[name].long_name, *(_change(ds, name, spec) for spec in (c.spec, used))) for name in fidelity]
        listed = "; ".join(f"{name} {_plain(mine)} (yours {_plain(theirs)})" for name, mine, theirs in pairs)
        lines.append(f"Fidelity: {listed}.")
    if "network_calls" in ds:
        share = _number(ds, "network_calls", c.spec) / _number(ds, "network_calls", used)
        cost = "as many network calls as" if share == 1 else f"{share:.3g} times the network calls of"
        lines.append(f"It takes {cost} {used}.")
    return lines


def _candidate(ds: xr.Dataset, spec: str, tolerance: float, name: str) -> Candidate:
    prompts = ds.attrs.get("over") == "prompts"
    number = ds.sizes["prompt"] if prompts else int(ds.attrs["images_per_prompt"])
    return Candidate(
        spec=spec,
        diversity=_change(ds, "diversity_change", spec),
        adherence=_change(ds, "adherence_change", spec)._replace(grain=float(ds.attrs["adherence_grain"])),
        gain=_change(ds, "gain", spec),
        equal_strength=_number(ds, "equal_strength", spec),
        tolerance=tolerance,
        size=Size(what="prompts" if prompts else "images per prompt", number=number),
        name=name,
    )


def _change(ds: xr.Dataset, name: str, spec: str) -> Change:
    return Change(*(_number(ds, f"{name}{end}", spec) for end in ("", "_low", "_high", "_least", "_stderr")))


def _plain(number: Change) -> str:
    """A number with its interval and no sign before it where it is positive."""
    return str(number).replace("+", "")


def _number(ds: xr.Dataset, name: str, spec: str) -> float:
    return float(ds[name].sel(schedule=spec)) if name in ds else math.nan
