"""Whether waiting, ending or turning guidance should help, and where it acts by ignorance alone."""

from __future__ import annotations

import numpy as np

from orthoscope.calibration.knowledge import Knowledge
from orthoscope.numerics import Array

IGNORANT, KNOWING = 0.5, 0.9  # learned fractions below and above which the study of networks calls a branch so
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
    """One sentence each for waiting, ending and turning.

    Args:
        known: What the unconditional branch knows.
        after: The steps in which guidance acts by ignorance alone, as `steps_between` says it.
    """
    learned = known.learned.value
    waiting = (
        "Waiting is not expected to help: what is lost is lost where the branch is ignorant, mostly after the class is "
        "decided, and waiting guides there all the same."
    )
    where = f" (most of it in {after})" if after else ""
    claimed = ""
    if known.disagreement is not None and known.left is not None:
        claimed = (
            f", and after the decision the pair still claims {known.disagreement.value:.2g} nats, exact scores "
            f"{max(known.left.value, 0.0):.2g}"
        )
    said = f"the unconditional branch has learned {learned:.2f} of what it could{claimed}"
    if learned < IGNORANT:
        return (
            waiting,
            f"Ending is expected to help{where}: {said}, so late guidance moves images along its ignorance.",
            "Turning negative late should give back more variance than ending, turning the same ignorance round; it "
            "asks the ignorant branch alone, so look at how many images end far from every class.",
        )
    if learned < KNOWING:
        return (
            waiting,
            f"Ending is not expected to help: {said}, and networks between ignorant and knowing gained nothing by it.",
            "Turning negative is not expected to help, for the same reason: such networks gained nothing by it.",
        )
    return (
        waiting,
        f"Ending is not expected to help: {said}, so guidance stops by itself once the class is decided.",
        "Turning negative is not expected to help, for the same reason: knowing networks gained nothing by it.",
    )
