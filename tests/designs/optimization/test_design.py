"""Designs: against closed forms, against exhaustive scans, and where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orthoscope.designs.optimization import (
    Goal,
    MixtureLaw,
    SpectrumLaw,
    design,
    front,
    switching_function,
    window_notes,
)
from orthoscope.designs.optimization.search import Task
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant, Linear, Step
from tests.designs.optimization.scan import scanned

GAUSSIAN = SpectrumLaw(cond_mean=1.0, cond_var=1.0, uncond_mean=0.0, uncond_var=3.0, t_max=30.0, start="exact")
DENSE = MixtureLaw(rate=1.2, std=0.5, t_max=10.0)
KEEP = Goal(variance_ratio=1.0)


def spectrum(cond_var, uncond_var) -> SpectrumLaw:  # noqa: ANN001
    return SpectrumLaw(cond_mean=1.0, cond_var=cond_var, uncond_mean=0.0, uncond_var=uncond_var, t_max=10.0)


@pytest.fixture(scope="module")
def gaussian_design() -> object:
    return design(GAUSSIAN, KEEP)


# Bang-bang


@pytest.mark.slow
def test_a_bounded_problem_without_effort_is_bang_bang(gaussian_design) -> None:  # noqa: ANN001
    found = gaussian_design
    assert found.feasible
    assert found.is_bang_bang
    assert isinstance(found.schedule, Step)
    assert found.schedule.early == pytest.approx(KEEP.high, abs=1e-6)
    assert found.schedule.late == pytest.approx(KEEP.low, abs=1e-6)
    assert set(found.binding) == {"variance_ratio", "low", "high"}
    assert any("bang-bang" in note for note in found.notes)


@pytest.mark.slow
def test_no_step_window_of_an_exhaustive_scan_is_better(gaussian_design) -> None:  # noqa: ANN001
    gains = [
        outcome.mean_shift
        for early in (1.0, 3.0, 6.0, 10.0)
        for late in (-1.0, -0.7, -0.3)
        for switch in np.geomspace(0.3, 12, 40)
        if (outcome := GAUSSIAN.evaluate(Step(early=early, late=late, switch=switch))).variance_ratio >= 1
    ]
    assert gains
    assert max(gains) <= gaussian_design.outcome.mean_shift + 1e-9
    assert max(gains) > 0.95 * gaussian_design.outcome.mean_shift  # the scan reaches its neighborhood


@pytest.mark.slow
def test_the_switching_function_has_the_sign_of_the_strength(gaussian_design) -> None:  # noqa: ANN001
    found = gaussian_design
    switching = switching_function(GAUSSIAN, KEEP, found.schedule, found.multipliers)
    assert switching.gap < 1e-6 * found.outcome.mean_shift
    away = np.abs(np.log(switching.time / found.schedule.switch)) > 0.2
    assert np.array_equal(switching.value[away] > 0, switching.strength[away] > 0)
    wrong = switching_function(GAUSSIAN, KEEP, Step(early=5.0, late=-1.0, switch=3.0), found.multipliers)
    assert wrong.gap > 1e-3


@pytest.mark.slow
def test_the_multiplier_is_what_a_lower_floor_is_worth(gaussian_design) -> None:  # noqa: ANN001
    lower = design(GAUSSIAN, replace(KEEP, variance_ratio=0.999))
    gained = lower.outcome.mean_shift - gaussian_design.outcome.mean_shift
    middle = (lower.multipliers["variance_ratio"] + gaussian_design.multipliers["variance_ratio"]) / 2
    assert gained == pytest.approx(1e-3 * middle, rel=1e-3)


# Never worse


@pytest.fixture(scope="module")
def dense() -> object:
    return design(DENSE, KEEP)


@pytest.fixture(scope="module")
def scans() -> dict[str, float]:
    """The gain of the best window of either family, found without gradients."""
    return {name: scanned(Task.of(DENSE, KEEP), name, points=5)[0] for name in ("linear", "step")}


@pytest.mark.slow
def test_never_worse_than_windows_found_by_scans(dense, scans: dict[str, float]) -> None:  # noqa: ANN001
    assert dense.feasible
    assert np.isfinite(list(scans.values())).all()
    assert dense.outcome.mean_shift >= max(scans.values()) - 1e-6


@pytest.mark.slow
def test_candidates_are_members_of_their_families_and_judged_alike(dense, scans: dict[str, float]) -> None:  # noqa: ANN001
    found = {c.name: c for c in dense.candidates}
    assert set(found) == {"constant", "interval", "linear", "step", "three_phase"}
    assert found["three_phase"].outcome.mean_shift >= found["step"].outcome.mean_shift - 1e-9
    assert found["step"].outcome.mean_shift >= found["constant"].outcome.mean_shift - 1e-9
    for one in found.values():
        assert one.outcome == DENSE.evaluate(one.schedule)
        assert one.feasible == (one.outcome.variance_ratio >= 1 - 1e-6)
    # A scan without gradients finds the same windows.
    assert scans["linear"] == pytest.approx(found["linear"].outcome.mean_shift, abs=1e-6)


# Front


@pytest.mark.slow
def test_a_front_falls() -> None:
    designs = front(GAUSSIAN, Goal(), [1.0, 0.5, 0.8])
    assert [d.goal.variance_ratio for d in designs] == [0.5, 0.8, 1.0]
    shifts = [d.outcome.mean_shift for d in designs]
    assert shifts == sorted(shifts, reverse=True)


# Infeasible, degenerate


@pytest.mark.slow
def test_an_infeasible_floor_is_named_with_what_can_be_had() -> None:
    found = design(GAUSSIAN, Goal(mean_shift=0.9, variance_ratio=1.0))
    assert not found.feasible
    assert found.binding == ("mean_shift",)
    best = found.attainable["mean_shift"]
    assert GAUSSIAN.evaluate(Constant(value=10.0)).mean_shift <= best < 0.9
    assert f"the best attainable is {best:.6g}" in found.notes[0]


@pytest.mark.slow
def test_floors_that_exclude_each_other_are_named_together() -> None:
    found = design(GAUSSIAN, Goal(mean_shift=0.4, variance_ratio=2.2))
    assert not found.feasible
    assert set(found.binding) == {"mean_shift", "variance_ratio"}
    assert all("beside" in note for note in found.notes[:2])
    alone = design(GAUSSIAN, Goal(variance_ratio=2.2))
    assert alone.feasible
    assert found.attainable["mean_shift"] == pytest.approx(alone.outcome.mean_shift, abs=1e-6)


def test_equal_variances_move_the_mean_alone() -> None:
    law = SpectrumLaw(cond_mean=1.0, cond_var=2.0, uncond_mean=0.0, uncond_var=2.0, t_max=30.0)
    found = design(law, KEEP)
    assert found.feasible
    assert found.outcome.variance_ratio == pytest.approx(1.0, abs=1e-9)
    assert found.schedule == Constant(value=10.0)
    with pytest.raises(ConfigError, match="effort cannot be asked for: the two variances agree"):
        design(law, Goal(objective="effort", mean_shift=0.1))


def test_a_class_wider_than_its_surroundings_gains_variance() -> None:
    law = SpectrumLaw(cond_mean=1.0, cond_var=2.0, uncond_mean=0.0, uncond_var=1.0, t_max=10.0, start="exact")
    found = design(law, replace(KEEP, high=2.0))
    assert found.feasible
    assert found.schedule == Constant(value=2.0)
    assert found.outcome.variance_ratio > 1


@pytest.mark.parametrize("w", [-0.5, -1.0])
def test_removable_strengths_are_allowed(w: float) -> None:
    assert np.isfinite(GAUSSIAN.respond(GAUSSIAN.pieces(Constant(value=w))).gradient.high[:2]).all()
    found = design(GAUSSIAN, Goal(low=w, high=w + 1e-3))
    assert found.schedule.at_time(1.0) == pytest.approx(w + 1e-3)


def test_an_empty_floor_asks_for_the_bound() -> None:
    assert design(GAUSSIAN, Goal(high=3.0)).schedule == Constant(value=3.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Goal(low=2.0, high=1.0), "low < high"),
        (lambda: Goal(class_posterior=1.5), "probability"),
        (lambda: Goal(variance_ratio=-1.0), ">= 0"),
        (lambda: Goal(mean_shift=float("nan")), "finite"),
        (lambda: MixtureLaw(rate=0.2, std=0.5, t_max=np.inf), "finite variance time"),
        (lambda: MixtureLaw(rate=0.2, std=0.5, t_max=9.0, dim=2), "at least 2 classes"),
        (lambda: design(DENSE, Goal(class_posterior=0.9)), "give the dimension"),
        (lambda: design(DENSE, Goal(objective="effort")), "no guidance at all"),
        (lambda: design(GAUSSIAN, Goal(class_posterior=0.9)), "no classes"),
        (lambda: front(DENSE, Goal(), []), "at least one level"),
        (lambda: spectrum([1.0, 2.0], [1.0, 2.0, 3.0]), "one number per direction"),
        (lambda: spectrum(-1.0, 1.0), "must be finite and > 0"),
        (lambda: design(replace(GAUSSIAN, cond_mean=0.0), Goal()), "means coincide"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(make, message: str) -> None:  # noqa: ANN001
    with pytest.raises(ConfigError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


# Covariances


def test_commuting_covariances_become_a_spectrum() -> None:
    basis = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    cond, uncond = (basis @ np.diag(values) @ basis.T for values in ([1.0, 1.0, 2.0], [3.0, 4.0, 2.5]))
    law = SpectrumLaw.from_covariances(np.ones(3), cond, np.zeros(3), uncond, t_max=5.0)
    pairs = sorted(zip(law.cond_var, law.uncond_var, strict=True))
    np.testing.assert_allclose(pairs, [(1, 3), (1, 4), (2, 2.5)], atol=1e-10)
    assert np.sum((law.cond_mean - law.uncond_mean) ** 2) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("cond", "message"),
    [
        (np.diag([1.0, 0.0]), "positive definite"),
        (np.diag([1.0, -1.0]), "positive definite"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), "symmetric"),
        (np.array([[2.0, 1.0], [1.0, 2.0]]), "commute"),
        (np.ones((2, 3)), "square"),
    ],
)
def test_other_covariances_are_refused(cond: np.ndarray, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SpectrumLaw.from_covariances(np.zeros(2), cond, np.ones(2), np.diag([3.0, 4.0]), t_max=5.0)


# What is said about windows


def said(law: MixtureLaw, schedule: Step | Linear) -> str:
    return " ".join(window_notes(law, schedule, law.evaluate(schedule)))


def test_a_window_after_commitment_is_said_to_do_nothing() -> None:
    law = MixtureLaw(rate=0.2, std=0.7, t_max=50.0)
    assert "it has no effect" in said(law, Step(early=3.0, late=-1.0, switch=1.0))


def test_a_window_before_commitment_is_said_to_lose_the_class() -> None:
    law = MixtureLaw(rate=0.2, std=0.7, t_max=50.0)
    assert "the class is lost" in said(law, Step(early=3.0, late=-1.0, switch=30.0))


def test_the_class_posterior_is_watched_in_finite_dimension() -> None:
    law = MixtureLaw(rate=0.2, std=0.7, t_max=50.0, dim=40)
    assert "no effect" in said(law, Step(early=3.0, late=-1.0, switch=0.3))


def test_without_negative_strengths_there_is_nothing_to_say() -> None:
    assert said(DENSE, Step(early=3.0, late=0.0, switch=1.0)) == ""


def test_directions_and_means_must_fit() -> None:
    with pytest.raises(ConfigError, match="at least one direction"):
        SpectrumLaw(cond_mean=[], cond_var=[], uncond_mean=[], uncond_var=[], t_max=5.0)
    eye = np.eye(2)
    with pytest.raises(ConfigError, match=r"the unconditional mean must have 2 numbers, got shape \(3,\)"):
        SpectrumLaw.from_covariances([1.0, 0.0], eye, [0.0, 0.0, 0.0], 2 * eye, t_max=5.0)
