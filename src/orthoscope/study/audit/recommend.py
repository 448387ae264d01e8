"""Which schedule to use: a decision from an audit's numbers, in plain words with its evidence.

A candidate must keep adherence within error of the schedule in use, or lose less of it than counts, and gain diversity
beyond error. A window must also keep more diversity than constant strength at equal mean shift, or a lower strength
would do as well. The lower ends that decide are at a level that all candidates share, so that what is said of the one
recommended is wrong in at most 5 % of audits, however many were tried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import xarray as xr

from orthoscope.quantities import QUANTITIES, decimals
from orthoscope.study.audit.plan import constant_strength

_FIDELITY = ("precision", "recall", "density", "coverage", "frechet_distance")
_NEAR = 0.02  # constant strengths so close are the same for the purpose
_TOLERANCE = {"text_similarity": 0.002}  # a cosine that guidance moves by hundredths
_TOLERANCE_OF_SHARES = 0.01
Decision = dict[str, Any]


class Change(NamedTuple):
    """A difference with its interval; NaN where it could not be measured.

    Attributes:
        value: The difference.
        low: Lower end of the interval.
        high: Upper end of the interval.
        least: Lower end at the level that all candidates share.
    """

    value: float
    low: float
    high: float
    least: float

    @property
    def is_known(self) -> bool:
        """Whether it could be measured."""
        return math.isfinite(self.value)

    def shown(self, number: float) -> str:
        """A number with its sign, to two digits of the error."""
        places = decimals((self.high - self.low) / 2) if self.high > self.low else 3
        return f"{number:+z.{places}f}"

    def __str__(self) -> str:
        """The difference with its interval, e.g. +0.030 [+0.010, +0.050]."""
        return f"{self.shown(self.value)} [{self.shown(self.low)}, {self.shown(self.high)}]"


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
    """

    spec: str
    diversity: Change
    adherence: Change
    gain: Change
    equal_strength: float
    tolerance: float

    @property
    def keeps(self) -> bool:
        """Whether adherence is within error of that of the schedule in use or above, or surely lost by too little."""
        return self.adherence.high >= 0 or self.adherence.low >= -self.tolerance

    @property
    def strength(self) -> float | None:
        """Its strength if that is constant."""
        return constant_strength(self.spec)

    def keeping(self, name: str) -> str:
        """In which sense adherence is kept."""
        if self.adherence.high >= 0:
            return f"keeps {name} within error"
        return f"changes {name} by {self.adherence}, less than the {self.tolerance:g} that would count,"

    @property
    def gains(self) -> bool:
        """Whether diversity is above that of the schedule in use beyond error."""
        return self.diversity.least > 0

    @property
    def is_worth_it(self) -> bool:
        """Whether no constant strength does as well; so by definition for constant strengths."""
        return self.strength is not None or self.gain.least > 0

    @property
    def equal(self) -> str:
        """The constant strength of equal mean shift, as a schedule."""
        return f"constant:{self.equal_strength:.3g}"

    def equals(self, other: Candidate) -> bool:
        """Whether another candidate is the constant strength of equal mean shift."""
        strength = self.equal_strength
        return other.strength is not None and abs(other.strength - strength) <= _NEAR * max(1.0, abs(strength))


def recommendation(ds: xr.Dataset, *, tolerance: float | None = None) -> Decision:
    """The schedule to use instead of the one in use, or None, with text and evidence; JSON-able.

    Keys: `schedule`, `text`, `evidence` (texts), `current`, `adherence` (the measure that decided), `candidates` (their
    number), `against` (the constant strength of equal mean shift, for a window) and `apply` (a line of Python).

    Args:
        ds: A compared dataset.
        tolerance: A loss of adherence, in units of its measure, below which it does not count; None for 0.002 of text
            similarity and 0.01 of any other measure. Common seeds make losses visible that nobody would notice.
    """
    used, measure = str(ds.attrs["current"]), str(ds.attrs["adherence"])
    least = _TOLERANCE.get(measure, _TOLERANCE_OF_SHARES) if tolerance is None else tolerance
    found = [_candidate(ds, spec, least) for spec in map(str, ds.schedule.values) if spec != used]
    others, found = len(found), [candidate for candidate in found if candidate.diversity.is_known]
    able = sorted((c for c in found if c.keeps and c.gains), key=lambda c: c.diversity.value, reverse=True)
    name = f"the {QUANTITIES[measure].long_name}" if measure in QUANTITIES else measure
    if not others:
        decision = _open(f"there is no other schedule to compare {used} with; name more.")
    elif not found:
        decision = _open("diversity could not be measured; the notes say why.")
    elif not any(candidate.adherence.is_known for candidate in found):
        decision = _open(f"{name} could not be measured; the notes say why.")
    elif worthy := [candidate for candidate in able if candidate.is_worth_it]:
        decision = _use(ds, worthy[0], able, used, name)
    elif able:
        decision = _as_well(ds, able[0], found, used, name)
    else:
        decision = _none(found, used, name)
    about = {"current": used, "adherence": measure, "candidates": len(found), "against": None, "apply": None}
    if decision["schedule"] is not None:
        about["apply"] = f'with guided(pipe, "{decision["schedule"]}"):'
    return about | decision


def _open(why: str) -> Decision:
    return {"schedule": None, "text": f"No recommendation: {why}", "evidence": []}


def _use(ds: xr.Dataset, best: Candidate, able: Sequence[Candidate], used: str, name: str) -> Decision:
    """A schedule that was run is the one to use."""
    strength = constant_strength(used)
    is_lower = best.strength is not None and strength is not None and best.strength < strength
    what = "a lower constant strength" if is_lower else "it"
    text = (
        f"Use {best.spec} instead of {used}: {what} {best.keeping(name)} and gains diversity, "
        f"{best.diversity} of the variance without guidance."
    )
    if best.strength is None:
        text += f" Constant strength at equal mean shift ({best.equal}) keeps less, by {best.gain}."
    passed = [c for c in able if not c.is_worth_it and c.diversity.value > best.diversity.value]
    evidence = _evidence(ds, best, used, name)
    evidence += [f"{c.spec} gains {c.diversity}, but {_as_constant(c)}." for c in passed]
    against = best.equal if best.strength is None else None
    return {"schedule": best.spec, "text": text, "evidence": evidence, "against": against}


def _as_well(ds: xr.Dataset, best: Candidate, found: Sequence[Candidate], used: str, name: str) -> Decision:
    """Windows gain diversity, but not beyond constant strength at equal mean shift."""
    evidence = _evidence(ds, best, used, name)
    if not best.gain.is_known:
        why = f"{best.spec} keeps {name} and gains diversity, {best.diversity}, but {_as_constant(best)}."
        return _open(why) | {"evidence": evidence}
    if run := [candidate for candidate in found if best.equals(candidate)]:
        evidence.append(_shortcoming(run[0], name))
        text = f"None does beyond error: {best.spec} gains diversity, {best.diversity}, but {_as_constant(best)}."
        return {"schedule": None, "text": text, "evidence": evidence}
    evidence.append(f"{best.equal} lies on the line between constant strengths that were run; it was not run itself.")
    text = (
        f"A lower constant strength does as well as any window: {best.equal} has the mean shift of {best.spec}, which "
        f"{best.keeping(name)} and gains diversity, {best.diversity}, but {_as_constant(best)}."
    )
    return {"schedule": best.equal, "text": text, "evidence": evidence}


def _none(found: Sequence[Candidate], used: str, name: str) -> Decision:
    """Nothing keeps adherence and gains diversity."""
    kept = f"within error of {used}, or a loss below {found[0].tolerance:g},"
    text = f"None does: no schedule tried keeps {name} {kept} and gains diversity beyond error."
    ordered = sorted(found, key=lambda candidate: candidate.diversity.value, reverse=True)
    return {"schedule": None, "text": text, "evidence": [_shortcoming(candidate, name) for candidate in ordered]}


def _shortcoming(c: Candidate, name: str) -> str:
    """What speaks against a candidate, and for it."""
    if c.gains:
        return f"{c.spec} gains diversity, {c.diversity}, but changes {name} by {c.adherence}."
    why = f"{c.spec} changes diversity by {c.diversity}, not above 0 beyond error"
    return f"{why}." if c.keeps else f"{why}, and {name} by {c.adherence}."


def _as_constant(c: Candidate) -> str:
    """Why a window is not worth it."""
    if not c.gain.is_known:
        return "could not be compared with constant strength at equal mean shift"
    return f"its gain over constant strength at equal mean shift is {c.gain}, not above 0 beyond error"


def _evidence(ds: xr.Dataset, c: Candidate, used: str, name: str) -> list[str]:
    """The numbers behind a recommendation."""
    loss = max(0.0, -c.adherence.low)
    lines = [
        f"Diversity, as total variance over that without guidance, changes by {c.diversity} from {used}; at the level "
        f"shared by all candidates by {c.diversity.shown(c.diversity.least)} at least.",
        f"As to adherence, {name} changes by {c.adherence}; a loss of {c.adherence.shown(loss)[1:]} remains possible."
        if loss
        else f"As to adherence, {name} changes by {c.adherence}.",
    ]
    if c.gain.is_known:
        strengths = [w for spec in map(str, ds.schedule.values) if (w := constant_strength(spec)) is not None]
        beyond = strengths and not min(strengths) <= c.equal_strength <= max(strengths)
        lines.append(
            f"Over constant strength at equal mean shift ({c.equal}) diversity gains {c.gain}; at the shared level "
            f"{c.gain.shown(c.gain.least)} at least" + ("; no constant strength so far out was run." if beyond else ".")
        )
    if fidelity := [name for name in _FIDELITY if name in ds]:
        pairs = [
            (QUANTITIES[name].long_name, *(_number(ds, name, spec) for spec in (c.spec, used))) for name in fidelity
        ]
        listed = ", ".join(f"{name} {mine:.3g} ({theirs:.3g})" for name, mine, theirs in pairs)
        lines.append(f"Fidelity, in brackets that of {used}: {listed}.")
    if "network_calls" in ds:
        share = _number(ds, "network_calls", c.spec) / _number(ds, "network_calls", used)
        cost = "as many network calls as" if share == 1 else f"{share:.3g} times the network calls of"
        lines.append(f"It takes {cost} {used}.")
    return lines


def _candidate(ds: xr.Dataset, spec: str, tolerance: float) -> Candidate:
    def change(name: str) -> Change:
        return Change(*(_number(ds, f"{name}{end}", spec) for end in ("", "_low", "_high", "_least")))

    return Candidate(
        spec=spec,
        diversity=change("diversity_change"),
        adherence=change("adherence_change"),
        gain=change("gain"),
        equal_strength=_number(ds, "equal_strength", spec),
        tolerance=tolerance,
    )


def _number(ds: xr.Dataset, name: str, spec: str) -> float:
    return float(ds[name].sel(schedule=spec)) if name in ds else math.nan
