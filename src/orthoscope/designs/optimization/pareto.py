"""The front of what can be had: the best objective at each level of one floor.

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from orthoscope.designs.optimization.goals import FLOORS, Design, Goal, Quantity
from orthoscope.designs.optimization.laws import Law
from orthoscope.designs.optimization.optimize import design
from orthoscope.designs.optimization.parametrization import Pieces
from orthoscope.errors import ConfigError, unknown


def front(law: Law, goal: Goal, levels: Sequence[float], floor: Quantity = "variance_ratio") -> tuple[Design, ...]:
    """Designs at each level of a floor, from the highest down, each also searched from the answer above it.

    Args:
        law: What the schedules are for.
        goal: Objective, bounds and the other floors.
        levels: Least values of the floor, in any order; designs come back in ascending order.
        floor: The floor that is swept.

    Accuracy:
        As `design`. Along feasible levels the objective never improves as the floor rises: where a search ends worse
        than the answer to a higher floor, it takes that answer.

    Raises:
        ConfigError: if there is no level, or the floor is none.

    Source:
        derived in explanation/design.
    """
    if floor not in FLOORS:
        raise unknown("floor", floor, FLOORS)
    if not len(levels):
        raise ConfigError("a front needs at least one level of the floor")
    designs: list[Design] = []
    before: tuple[Pieces, ...] = ()
    for level in sorted(levels, reverse=True):
        asked = replace(goal, **cast(Any, {floor: float(level)}))
        found = design(law, asked, extra=before)
        if designs and designs[-1].feasible and found.outcome.gain(asked) < designs[-1].outcome.gain(asked):
            found = replace(designs[-1], goal=asked)  # what keeps the higher floor keeps the lower one
        designs.append(found)
        before = (law.pieces(found.schedule),)
    return tuple(designs[::-1])
