"""Moments along pieces and their gradients: against the other solvers, and against differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthoscope.designs.optimization.adjoint import linear_moments, linear_panels
from orthoscope.designs.optimization.goals import QUANTITIES
from orthoscope.designs.optimization.laws import Law, Response, answers, differences
from orthoscope.designs.optimization.mixture import MixtureLaw
from orthoscope.designs.optimization.parametrization import Pieces, from_schedule, line_share
from orthoscope.designs.optimization.spectrum import SpectrumLaw
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Interval, Linear, Step, Tabulated
from orthoscope.theory.gaussian import scheduled_gaussian

SCHEDULES = [
    Constant(value=2.0),
    Linear(w0=-0.1, slope=0.1),
    Step(early=6.0, late=-0.2, switch=0.3),
    Interval(inside=3.0, low=0.2, high=5.0),
    Tabulated(at=(0.0, 0.2, 0.2, 4.0, 30.0), strengths=(-0.3, -0.4, 2.0, 3.0, 1.0)),
]
SPECTRUM = SpectrumLaw(
    cond_mean=[1.0, 2.0, 0.5, 0.3],
    cond_var=[0.25, 1, 2, 0.7],
    uncond_mean=0.0,
    uncond_var=[1.25, 3, 1, 0.7],
    t_max=30.0,
)
LAWS = {
    "committed": MixtureLaw(rate=0.2, std=0.5, t_max=30.0),
    "ode": MixtureLaw(rate=0.7, std=0.5, t_max=30.0, lam=0.0),
    "dense": MixtureLaw(rate=1.2, std=0.5, t_max=30.0, start="exact"),
    "finite": MixtureLaw(rate=0.7, std=0.5, t_max=30.0, dim=40),
    "spectrum": SPECTRUM,
}


def known(law: Law) -> np.ndarray:
    return np.array([i for i, name in enumerate(QUANTITIES) if name not in law.missing])


def fourth_order(law: Law, pieces: Pieces, name: str, index: int, step: float = 3e-4) -> np.ndarray:
    """Derivatives of everything a law responds by one number of the pieces, by differences of fourth order."""

    def at(by: float) -> np.ndarray:
        numbers = {key: getattr(pieces, key).copy() for key in ("edges", "high", "low")}
        numbers[name][index] += by
        response = law.respond(Pieces(base=pieces.base, **numbers))
        return np.append(response.values, [] if response.margin is None else [response.margin])

    return (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)


def worst(law: Law, pieces: Pieces, response: Response, step: float = 3e-4) -> float:
    """Largest error of a gradient relative to its size, or to 1 where it is smaller."""
    rows, error = known(law), 0.0
    if response.margin is not None:
        rows = np.append(rows, len(QUANTITIES))
    for name in ("edges", "high", "low"):
        gradient = getattr(response.gradient, name)
        inner = range(1, gradient.shape[1] - 1) if name == "edges" else range(gradient.shape[1])
        for index in inner:
            found = gradient[rows, index]
            expected = fourth_order(law, pieces, name, index, step)[rows]
            error = max(error, float(np.max(np.abs(found - expected) / np.maximum(np.abs(expected), 1.0))))
    return error


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", LAWS)
def test_values_are_those_of_the_other_solvers(name: str, schedule: GuidanceSchedule) -> None:
    law = LAWS[name]
    outcome, response = law.evaluate(schedule), law.respond(law.pieces(schedule))
    assert response.lost == outcome.lost
    if not outcome.lost or name == "finite":
        rows = known(law)
        rough = 1e-5 if name == "finite" else 1e-8  # the pull bends where others condense
        np.testing.assert_allclose(response.values[rows], answers(outcome)[rows], rtol=rough, atol=rough)


@pytest.mark.parametrize("index", [0, 1, 3])
@pytest.mark.parametrize("name", ["committed", "dense", "spectrum"])
def test_gradients_are_derivatives(name: str, index: int) -> None:
    law = LAWS[name]
    pieces = law.pieces(SCHEDULES[index])
    assert worst(law, pieces, law.respond(pieces)) < 1e-8


def test_gradients_are_derivatives_with_jumps() -> None:
    pieces = SPECTRUM.pieces(SCHEDULES[4])
    apart = Pieces(base=pieces.base, edges=pieces.edges, high=pieces.high, low=pieces.low)
    assert worst(SPECTRUM, apart, SPECTRUM.respond(apart)) < 1e-8


FROZEN = MixtureLaw(rate=0.2, std=0.3, t_max=0.5, dim=16)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("law", "schedule"),
    [
        (MixtureLaw(rate=0.5, std=0.5, t_max=10.0, dim=16), Step(early=2.0, late=-0.3, switch=1.0)),
        (FROZEN, Step(early=3.0, late=1.0, switch=0.3)),
    ],
    ids=["committed", "frozen"],
)
def test_gradients_are_derivatives_in_finite_dimension(law: MixtureLaw, schedule: Step) -> None:
    assert np.isfinite(law.solved(schedule).condensation_time[0]) == (law is FROZEN)
    pieces, rows = law.pieces(schedule), known(law)
    response = law.respond(pieces)
    np.testing.assert_allclose(response.values[rows], answers(law.evaluate(schedule))[rows], rtol=1e-5, atol=1e-5)
    # A short step: no path passes from free to frozen others on it, in any panel.
    assert worst(law, pieces, response, 3e-5) < 1e-8


def test_a_captured_path_has_gradients_of_its_continuation() -> None:
    law = LAWS["committed"]
    pieces = law.pieces(Step(early=1.0, late=-0.8, switch=6.3))
    response = law.respond(pieces)
    assert response.lost
    assert response.margin is not None
    assert response.margin < 0
    assert worst(law, pieces, response) < 1e-8


def test_a_frozen_path_is_differentiated_by_differences_of_its_values() -> None:
    law = MixtureLaw(rate=0.2, std=0.5, t_max=10.0)
    schedule = Step(early=1.0, late=0.0, switch=6.0)
    assert np.isfinite(law.solved(schedule).condensation_time[0])
    pieces = law.pieces(schedule)
    rows = known(law)
    response, plain = law.respond(pieces), differences(law, pieces)
    np.testing.assert_allclose(response.values[rows], plain.values[rows], rtol=1e-12)
    for name in ("edges", "high", "low"):
        found, expected = getattr(response.gradient, name)[rows], getattr(plain.gradient, name)[rows]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_wrong_gradient_would_be_noticed() -> None:
    law, pieces = SPECTRUM, SPECTRUM.pieces(SCHEDULES[1])
    response = law.respond(pieces)
    response.gradient.high[0, 0] *= 1 + 1e-6
    assert worst(law, pieces, response) > 1e-8


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
@given(c=st.floats(0.05, 5), u=st.floats(0.05, 5), w=st.tuples(*[st.floats(-1, 8)] * 3), cut=st.floats(0.1, 9.0))
def test_any_two_gaussians(lam: float, c: float, u: float, w: tuple[float, float, float], cut: float) -> None:
    schedule = Tabulated(at=(0.0, cut, cut, 20.0), strengths=(w[0], w[1], w[1], w[2]))
    pieces = from_schedule(schedule, 20.0, min(c, u))
    k = (1 + lam**2) / 2
    shift, excess, *_ = linear_moments(
        linear_panels(pieces, 2 * k), np.array([c]), np.array([u - c]), k, -np.ones(1), np.array([u - c])
    )
    expected = scheduled_gaussian(c, u, schedule, lam=lam, t_max=20.0)
    np.testing.assert_allclose(shift, expected[0], rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(np.maximum(c + excess, 0), expected[1], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_pieces_stand_for_their_schedule(schedule: GuidanceSchedule) -> None:
    pieces = from_schedule(schedule, 30.0, 0.25)
    times = np.random.default_rng(1).uniform(0, 30, 200)
    np.testing.assert_allclose(pieces.schedule().at_time(times), schedule.at_time(times), atol=1e-12)


def test_a_cut_changes_nothing_above_it() -> None:
    pieces = from_schedule(SCHEDULES[4], 30.0, 0.25)
    kept = pieces.cut(math.log(0.25 + 2.0))
    times = np.linspace(2.0001, 29.9, 50)
    np.testing.assert_allclose(kept.schedule().at_time(times), pieces.schedule().at_time(times), atol=1e-12)


def test_the_share_of_a_line_is_smooth_where_it_is_expanded() -> None:
    fraction = np.array([0.0, 0.3, 1.0])
    below, above = line_share(0.99999e-4, fraction), line_share(1.00001e-4, fraction)
    np.testing.assert_allclose(below[0], above[0], atol=1e-9)
    np.testing.assert_allclose(below[1], above[1], atol=1e-8)
    np.testing.assert_allclose(above[0][[0, 2]], [1, 0])
