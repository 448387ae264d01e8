"""What a simulation says about itself: causes that are known, and no cure that is not."""

from __future__ import annotations

import pytest

from orthoscope.experiments.single import SimulationStudy
from orthoscope.guidance.schedules import Constant
from orthoscope.quantities import Estimate
from orthoscope.results import run
from orthoscope.simulation.comparison import diagnose, theories, unexplained
from orthoscope.simulation.setting import Simulation

COMMITTED = Simulation.of(dim=16, rate=0.2, std=0.5, schedule=Constant(value=3.0), draws=4, t_max=50.0)
FROZEN = Simulation.of(dim=28, rate=0.2, std=0.3, schedule=Constant(value=4.0), t_max=0.3, draws=4)


def measured(mean: float, variance: float, stderr: float = 1e-3) -> dict[str, Estimate]:
    return {
        "mean_shift": Estimate(value=mean, stderr=stderr, n=1000),
        "variance_shift": Estimate(value=variance, stderr=stderr, n=1000),
    }


def test_a_frozen_path_is_named_before_its_dimension_is_blamed() -> None:
    found = measured(-0.1265, 0.0317)  # all modes sampled
    predictions = theories(FROZEN)
    assert unexplained(found, predictions, FROZEN) == []
    said = diagnose(found, predictions, FROZEN)
    assert said.startswith("frozen path: the other classes condense at t = 0.3")
    assert said.count("dimension too small, explained by the finite-dimension theory") == 2
    assert "--steps" not in said


def test_a_planted_ensemble_in_the_condensed_phase_is_called_invalid_and_not_compared() -> None:
    planted = FROZEN.but(modes="planted")
    said = diagnose(measured(-0.09, 0.003), theories(planted), planted)
    assert said.startswith("the planted ensemble is not valid below t = 0.3")
    assert said.count("not to be compared") == 2
    assert "--steps" not in said
    assert "explained" not in said


@pytest.mark.parametrize("simulation", [COMMITTED.but(schedule=Constant(value=-0.7)), COMMITTED.but(ensemble="sphere")])
def test_where_no_theory_knows_the_dimension_no_steps_are_blamed(simulation: Simulation) -> None:
    said = diagnose(measured(-0.2, 0.2), theories(simulation), simulation)
    assert "for infinite dimension only" in said
    assert "--steps" not in said


@pytest.mark.parametrize(
    ("half", "stderr", "said"),
    [(0.4, 1e-3, "use more --steps"), (0.2, 1e-3, "it is not the --steps"), (0.22, 0.04, "too noisy to judge")],
)
def test_steps_are_blamed_only_if_fewer_of_them_change_the_result(half: float, stderr: float, said: str) -> None:
    found, predictions = measured(0.2, -0.0036), theories(COMMITTED)
    assert unexplained(found, predictions, COMMITTED) == ["mean_shift"]
    text = diagnose(found, predictions, COMMITTED, measured(half, 0.0, stderr))
    assert text.startswith("unexplained")
    assert text.endswith(said) or f"{said} the --steps by" in text


def test_nothing_is_explained_by_a_theory_that_is_farther_off_than_mean_field_or_not_meant_for_the_dimension() -> None:
    tiny = Simulation.of(dim=2, rate=2.0, std=0.5, schedule=Constant(value=3.0), draws=4, t_max=50.0)
    predictions = theories(tiny)
    assert predictions.finite_dim is not None
    for mean in (0.312, predictions.finite_dim.mean_shift * 1.5):
        found = measured(mean, predictions.mean_field.variance_shift)
        assert "mean_shift" in unexplained(found, predictions, tiny)
        assert "no theory is accurate in so few dimensions" in diagnose(found, predictions, tiny)


@pytest.mark.slow
def test_a_run_with_too_few_steps_is_told_from_one_with_half_of_them() -> None:
    coarse = COMMITTED.but(steps=2, samples=64, draws=24)
    said = run(SimulationStudy(simulation=coarse))["diagnosis"]
    assert "with half the steps: use more --steps" in said
