"""Whole paths in one pass against the theory that goes panel by panel."""

from __future__ import annotations

import numpy as np
import pytest

from orthoscope.designs.optimization.flights import Flights, fly
from orthoscope.designs.optimization.goals import QUANTITIES, Goal
from orthoscope.designs.optimization.mixture import MixtureLaw
from orthoscope.designs.optimization.parametrization import Pieces
from orthoscope.designs.optimization.search import Task
from orthoscope.theory.moments import Moments

LAWS = {
    "near the edge": MixtureLaw(rate=0.7, std=0.5, t_max=10.0),
    "committed": MixtureLaw(rate=0.5, std=0.5, t_max=20.0),
    "ode": MixtureLaw(rate=0.2, std=0.3, t_max=30.0, lam=0.0, start="exact"),
    "dense": MixtureLaw(rate=2.0, std=0.5, t_max=10.0),
    "narrow": MixtureLaw(rate=0.3, std=0.1, t_max=50.0, lam=0.5),
}
SHAPES = {"constant": (1, False), "line": (1, True), "pieces": (3, False), "lines": (4, True)}
COUNT = 60


def schedules(law: MixtureLaw, count: int, lines: bool, stream: np.random.Generator) -> list[Pieces]:
    family = Task.of(law, Goal(high=8.0)).family.resized(count, lines=lines)
    edges = -np.sort(-stream.random((COUNT, family.positions)))
    strengths = stream.random((COUNT, family.size - family.positions)) ** 2
    return [family.pieces(point) for point in np.hstack([edges, strengths])]


def flown(law: MixtureLaw, many: list[Pieces]) -> Flights:
    begin = (0.0, 0.0) if law.start == "exact" else (-1.0, 1.0)
    return fly(many, rate=law.rate, factor=law.factor, begin=begin, follow=True)


def one_by_one(law: MixtureLaw, many: list[Pieces]) -> list[Moments]:
    return [law.solved(pieces.schedule()) for pieces in many]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("law", LAWS)
def test_a_flight_is_the_path_of_the_theory(law: str, shape: str, seed: int) -> None:
    many = schedules(LAWS[law], *SHAPES[shape], np.random.default_rng(seed))
    flights, solved = flown(LAWS[law], many), one_by_one(LAWS[law], many)
    regimes = [
        "captured" if np.isfinite(one.capture_time[0]) else ["dense", "dense", "captured", "committed"][one.stage[0]]
        for one in solved
    ]
    assert [flights.regime(row) for row in range(COUNT)] == regimes
    for name in ("shift", "excess"):
        moments = "mean_shift" if name == "shift" else "variance_shift"
        expected = np.array([getattr(one, moments)[0] for one in solved])
        np.testing.assert_allclose(getattr(flights, name), expected, rtol=1e-10, atol=1e-11)
    events = [np.fmax.reduce([one.condensation_time[0], one.speciation_time[0], 0.0]) for one in solved]
    np.testing.assert_allclose(np.exp(flights.first) - LAWS[law].base, events, rtol=1e-9, atol=1e-11)
    effort = [LAWS[law].evaluate(pieces.schedule()).effort for pieces in many]
    np.testing.assert_allclose(flights.effort, effort, rtol=1e-10)


def test_company_does_not_change_a_flight(seed: int) -> None:
    law = LAWS["near the edge"]
    many = schedules(law, 3, False, np.random.default_rng(seed))
    together, alone = flown(law, many), [flown(law, [pieces]) for pieces in many]
    assert together.condensed.any()
    assert not together.condensed.all()
    for name in ("shift", "excess", "first", "margin"):
        expected = np.concatenate([getattr(one, name) for one in alone])
        np.testing.assert_allclose(getattr(together, name), expected, rtol=1e-12, atol=1e-13)


def test_sketches_are_outcomes(seed: int) -> None:
    law = LAWS["committed"]
    many = schedules(law, 3, False, np.random.default_rng(seed))
    sketches, outcomes = law.sketches(many), law.outcomes(many)
    assert sketches.regimes == outcomes.regimes
    known = [QUANTITIES.index(name) for name in QUANTITIES if name not in law.missing]
    np.testing.assert_allclose(sketches.values[:, known], outcomes.values[:, known], rtol=1e-9, atol=1e-10)
    rough = law.sketches(many, rough=True)
    assert rough.regimes == outcomes.regimes
    np.testing.assert_allclose(rough.values[:, known], outcomes.values[:, known], rtol=1e-4, atol=1e-4)
