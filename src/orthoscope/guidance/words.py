"""A run's strengths in words, in guidance scales and steps, as people set pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

_MOST = 3  # pieces that are told one by one


def in_words(strengths: Sequence[float]) -> str:
    """What guidance does in a run, e.g. scale 4 in steps 1 to 8 of 15, then none.

    Args:
        strengths: Strength at every step.
    """
    if not strengths:
        return "no step"
    pieces, begin = [], 0
    for strength, steps in groupby(strengths):
        end = begin + len(list(steps))
        pieces.append((strength, begin + 1, end))
        begin = end
    total = len(strengths)
    if len(pieces) == 1:
        return "no guidance" if strengths[0] == 0 else f"{_scale(strengths[0])} throughout"
    if len(pieces) > _MOST:
        low, high = min(strengths), max(strengths)
        return f"scale {1 + strengths[0]:.3g} at first, {1 + strengths[-1]:.3g} at last" + (
            "" if {low, high} == {strengths[0], strengths[-1]} else f", from {1 + low:.3g} to {1 + high:.3g}"
        )
    (first, _, until), *rest = pieces
    told = [f"{'no guidance' if first == 0 else _scale(first)} in steps 1 to {until} of {total}"]
    for number, (strength, start, end) in enumerate(rest, 1):
        last = number == len(rest)
        told.append(f"then {_scale(strength)}" + ("" if last else f" in steps {start} to {end}"))
    return ", ".join(told)


def _scale(strength: float) -> str:
    return "none" if strength == 0 else f"scale {1 + strength:.4g}"
