"""Whether waiting, ending or turning guidance should help, and where it acts by ignorance alone."""

from __future__ import annotations

import numpy as np

from orthoscope.calibration.knowledge import Knowledge
from orthoscope.numerics import Array

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


def advice(known: Knowledge, after: str | None) -> tuple[str, ...]:
    """One sentence each for waiting, ending and turning, by the interval of the learned fraction.

    Args:
        known: What the unconditional branch knows.
        after: The steps in which guidance acts by ignorance alone, as `steps_between` says it.
    """
    low, high = known.learned.interval()
    said = f"the unconditional branch has learned {known.learned.value:.2f} [{low:.2f}, {high:.2f}] of what it could"
    if known.disagreement is not None and known.left is not None:
        said += (
            f", and after the decision the pair still claims {known.disagreement.value:.2g} nats, exact scores "
            f"{max(known.left.value, 0.0):.2g}"
        )
    if high < IGNORANT:
        where = f" (most of it in {after})" if after else ""
        return (
            "Waiting is not expected to help: the branch is ignorant mostly after the class is decided, and waiting "
            "guides there all the same.",
            f"Ending is expected to help{where}: {said}, so late guidance moves images along its ignorance.",
            "Turning negative late should give back more variance than ending, turning the same ignorance round; it "
            "asks the ignorant branch alone, so look at the distance from the class.",
        )
    if low > KNOWING:
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
