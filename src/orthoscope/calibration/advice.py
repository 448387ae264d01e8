"""Whether waiting, ending or turning guidance should help, and where it acts by ignorance alone."""

from __future__ import annotations

from typing import Literal

import numpy as np

from orthoscope.calibration.knowledge import Knowledge
from orthoscope.numerics import Array
from orthoscope.quantities import Estimate

Standing = Literal["ignorant", "between", "knowing"]
IGNORANT, KNOWING = 0.5, 0.9  # learned fractions below and above which the studies of networks call a branch so
_SEEN = 0.01  # of the largest difference of the pair: less than that moves nobody


def ignorance_range(known: Knowledge) -> tuple[float, float] | None:
    """Variance times between which the branch's error is the larger part of the pair's difference; None if nowhere.

    It reaches from the last change to that, downward in noise, to where the error is too small to move anything.
    """
    excess, doubt, pair = (np.array([one.value for one in getattr(known, n)]) for n in ("excess", "doubt", "pair"))
    seen = excess > _SEEN * pair.max()
    over = seen & (excess > doubt)
    if not over.any():
        return None
    last = int(np.flatnonzero(over)[-1])
    breaks = np.flatnonzero(~over[: last + 1])
    first = int(breaks[-1]) + 1 if len(breaks) else 0
    return float(known.time[first]), float(known.time[last])


def steps_between(levels: Array, high: float, low: float) -> str | None:
    """The steps of a run that begin between two variance times; None if none does."""
    inside = [number for number, level in enumerate(levels, 1) if low <= level <= high]
    return f"steps {inside[0]} to {inside[-1]} of {len(levels)}" if inside else None


def standing(learned: Estimate) -> Standing:
    """On which side of the borders the whole interval of a learned fraction is; between where it is on none."""
    low, high = learned.interval()
    return "ignorant" if high < IGNORANT else "knowing" if low > KNOWING else "between"


def advice(
    learned: Estimate, disagreement: Estimate | None, left: Estimate | None, after: str | None
) -> tuple[str, ...]:
    """One sentence each for waiting, ending and turning, by the interval of the learned fraction.

    Args:
        learned: Learned fraction of the unconditional branch.
        disagreement: Nats that the pair claims after the decision; None if there is none.
        left: What exact scores would leave there.
        after: The steps in which guidance acts by ignorance alone, as `steps_between` says it.
    """
    said = f"the unconditional branch has learned {learned.bracketed()} of what it could"
    if disagreement is not None and left is not None:
        said += (
            f", and after the decision the pair still claims {disagreement.value:.2g} nats, exact scores "
            f"{max(left.value, 0.0):.2g}"
        )
    match standing(learned):
        case "ignorant":
            where = f" (most of it in {after})" if after else ""
            return (
                "Waiting is not expected to help: the branch is ignorant mostly after the class is decided, and "
                "waiting guides there all the same.",
                f"Ending is expected to help{where}: {said}, so late guidance moves images along its ignorance.",
                "Turning negative late should give back more variance than ending, turning the same ignorance round; "
                "it asks the ignorant branch alone, so look at the distance from the class.",
            )
        case "knowing":
            return (
                "Waiting is not expected to help: networks that know their classes gained nothing by it.",
                f"Ending is not expected to help: {said}, so guidance stops by itself once the class is decided.",
                "Turning negative is not expected to help, for the same reason.",
            )
    return (
        "Whether waiting helps an audit must tell: such networks gained a little by it or nothing, farther from the "
        "class.",
        f"Whether ending helps an audit must tell: {said}. Most networks below {IGNORANT:g} gained by it, none above.",
        "Whether turning negative helps an audit must tell, for the same reason.",
    )


_IMPLIED: dict[Standing, str] = {
    "ignorant": "Part of what guidance costs here is the model's own: ending it once the class is decided should help.",
    "between": "How much of what guidance costs is the model's own the schedules that end or wait must tell.",
    "knowing": "What guidance costs here is its own: no window is expected to beat a lower constant strength.",
}


def implied(learned: Estimate) -> tuple[str, str]:
    """What a branch knows, and what that implies for an audit: a sentence each."""
    known = f"The unconditional branch has learned {learned.bracketed()} of what it could: 1 knows the classes, 0 none."
    return known, _IMPLIED[standing(learned)]
