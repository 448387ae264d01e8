"""One schedule that might be used instead, and what is shown of it, in words and for machines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from orthoscope.audits.verdict import Change
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.schedules import Constant, GuidanceSchedule

_NEAR = 0.02  # constant strengths so close are the same for the purpose
_MOST = 1e6  # images or prompts, beyond which no number is named


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
        schedule: The schedule.
        diversity: Change of the variance ratio from the schedule in use.
        adherence: Change of the adherence from it.
        gain: Variance ratio above that of constant strength at equal mean shift.
        distance_gain: Distance from the class above that of constant strength at equal mean shift.
        distance_excess: Distance from the class beyond that of real images under the same mean shift.
        equal_strength: That constant strength.
        tolerance: A loss of adherence that does not count.
        size: What an audit would have to make more of.
        name: The measure of adherence.
        origin: What distances from the class are measured from, in words.
    """

    schedule: GuidanceSchedule
    diversity: Change
    adherence: Change
    gain: Change
    distance_gain: Change
    distance_excess: Change
    equal_strength: float
    tolerance: float
    size: Size
    name: str
    origin: str

    @property
    def keeps(self) -> bool:
        """Whether adherence is shown to be kept but for a loss that does not count."""
        return self.adherence.verdict(-self.tolerance) == "kept"

    @property
    def spec(self) -> str:
        """Its text."""
        return format_schedule(self.schedule)

    @property
    def is_constant(self) -> bool:
        """Whether its strength is."""
        return isinstance(self.schedule, Constant)

    @property
    def gains(self) -> bool:
        """Whether diversity is shown to be above that of the schedule in use."""
        return self.diversity.verdict() == "kept"

    @property
    def is_worth_it(self) -> bool:
        """Whether constant strength is shown to keep less; so by definition for constant strengths."""
        return self.is_constant or self.gain.verdict() == "kept"

    @property
    def is_farther(self) -> bool:
        """Whether it is shown to be farther from the class than constant strength at equal mean shift."""
        return self.distance_gain.is_known and self.distance_gain.verdict() == "kept"

    @property
    def leaves(self) -> bool:
        """Whether it is shown to be farther from the class than that, and than real images: it varies by leaving it."""
        return self.is_farther and self.distance_excess.is_known and self.distance_excess.verdict() == "kept"

    @property
    def is_open(self) -> bool:
        """Whether all that keeps it from being recommended is that its adherence is not shown to be kept."""
        asked = self.adherence.is_known and self.adherence.verdict(-self.tolerance) == "not shown"
        is_good = self.gains and self.is_worth_it and not self.leaves
        return asked and self.adherence.value > -self.tolerance and is_good

    @property
    def equal(self) -> str:
        """The constant strength of equal mean shift, as a schedule."""
        return f"constant:{self.equal_strength:.3g}"

    def equals(self, other: Candidate) -> bool:
        """Whether another candidate is the constant strength of equal mean shift."""
        match other.schedule:
            case Constant(value=w):
                return abs(w - self.equal_strength) <= _NEAR * max(1.0, abs(self.equal_strength))
        return False

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
        return _told(
            self.diversity, ("gains diversity", "loses diversity", "is not shown to gain diversity"), self.size
        )

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
    def distance_told(self) -> str:
        """What is shown of its distance from the class; empty where it is not shown to be farther."""
        if not self.is_farther:
            return ""
        farther = f"is farther from its class than {self.equal}, by {self.distance_gain}"
        if not self.distance_excess.is_known:
            return farther
        if self.leaves:
            beyond = f"and than {self.origin} under its mean shift, by {self.distance_excess}"
            return f"{farther}, {beyond}: it varies by leaving the class"
        return f"{farther}, but not shown to be farther than {self.origin}, {self.distance_excess}"

    @property
    def told(self) -> str:
        """All that is shown of it."""
        gain = [] if self.is_constant else [self.gain_told]
        parts = [self.diversity_told, *gain, *filter(None, [self.distance_told]), self.adherence_told]
        return f"{self.spec} {'; '.join(parts)}."

    @property
    def verdicts(self) -> dict[str, Any]:
        """The same for machines."""
        times = [self.adherence_times, self.diversity.times_needed()]
        times += [] if self.is_constant else [self.gain.times_needed()]
        words = {"kept": "gained", "lost": "lost", "not shown": "not shown"}
        farther = {"kept": "farther", "lost": "nearer", "not shown": "not shown"}
        return {
            "schedule": self.spec,
            "adherence": self.adherence.verdict(-self.tolerance) if self.adherence.is_known else None,
            "adherence_change": self.adherence.ends if self.adherence.is_known else None,
            "tolerance": self.tolerance,
            "diversity": words[self.diversity.verdict()],
            "gain": words[self.gain.verdict()] if self.gain.is_known else None,
            "distance": farther[self.distance_gain.verdict()] if self.distance_gain.is_known else None,
            "distance_gain": self.distance_gain.ends if self.distance_gain.is_known else None,
            "distance_excess": self.distance_excess.ends if self.distance_excess.is_known else None,
            "leaves_class": self.leaves if self.distance_gain.is_known else None,
            "would_tell": {self.size.what: self.size.needed(max(times))} if max(times) > 1 else None,
        }


def _told(change: Change, words: tuple[str, str, str], size: Size) -> str:
    """A change in the words for more, less, and neither shown, with its numbers."""
    match change.verdict():
        case "kept":
            return f"{words[0]}, {change}"
        case "lost":
            return f"{words[1]}, {change}"
    more = f"; {size.telling(change.times_needed())}" if change.value > 0 else ""
    return f"{words[2]}, {change}{more}"
