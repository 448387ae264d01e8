"""Designs beside simple and published schedules, their verification by sampling, and designs for data sets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from orthoscope.designs.check import (
    Check,
    Verification,
    check_mixture,
    check_spectrum,
    mixture_simulation,
    sample_spectrum,
    spectrum_measures,
)
from orthoscope.designs.data import Batch, DataLaw, judge, paired
from orthoscope.designs.data_design import _notes as data_notes
from orthoscope.designs.data_search import Search, scaled
from orthoscope.designs.notes import notes
from orthoscope.designs.optimization import (
    Goal,
    Margin,
    MixtureLaw,
    Outcome,
    SpectrumLaw,
    design,
    extremes,
    without_negative,
)
from orthoscope.designs.published import held, published_schedules
from orthoscope.designs.run import DesignProblem, design_result, gap, require_feasible, run_design
from orthoscope.errors import ConfigError
from orthoscope.guidance.published import PUBLISHED
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Interval, Linear, Step, Tabulated
from orthoscope.quantities import Estimate
from orthoscope.simulation.comparison import FINITE_DIM_SLACK
from tests.stat.expect import expect_estimate

MIXTURE = MixtureLaw(rate=0.7, std=0.5, t_max=10.0)
SPECTRUM = SpectrumLaw(
    cond_mean=[1.0, 0.5], cond_var=[0.5, 0.3], uncond_mean=[0.0, 0.0], uncond_var=[2.0, 1.0], t_max=50.0
)
WINDOW = Step(early=3.0, late=-0.2, switch=2.0)
SMALL = Verification(samples=512, draws=8, steps=16)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataLaw:
    """Two overlapping clouds of 200 points in four dimensions."""
    stream = np.random.default_rng(5)
    labels = np.repeat([0, 1], 200)
    points = stream.standard_normal((400, 4)) * [1.0, 0.7, 0.5, 0.5] + 2.0 * labels[:, None] * [1, 0, 0, 0]
    path = tmp_path_factory.mktemp("data") / "clouds.npz"
    np.savez(path, x=points, y=labels)
    return DataLaw(source=str(path), label=1, t_max=40.0)


def batch(law: DataLaw, rows: int = 64, steps: int = 16, name: str = "test") -> Batch:
    return Batch(law=law, rows=rows, steps=steps, seed=3, name=name)


# Published schedules


def test_holding_a_schedule_during_steps_keeps_its_strength_at_their_starts() -> None:
    base, t_max = 0.25, 10.0
    for name, family in PUBLISHED.items():
        found = held(family(2.0), base, t_max, steps=8)
        assert found.clock == "variance"
        if family(2.0).clock == "step":
            times = [(base + t_max) * (base / (base + t_max)) ** (k / 8) - base for k in range(9)]
            run = family(2.0).resolved(times)
            inside = [(a + b) / 2 for a, b in itertools.pairwise(times)]
            np.testing.assert_allclose(found.at_time(inside), run.at_time(inside), atol=1e-12, err_msg=name)


def test_extremes_see_both_sides_of_a_jump() -> None:
    assert extremes(WINDOW, 10.0) == (-0.2, 3.0)
    assert extremes(Interval(inside=2.0, low=0.5, high=4.0, outside=-1.0), 10.0) == (-1.0, 2.0)
    assert extremes(Tabulated(at=(0, 1, 1, 4), strengths=(-1, 0.5, 2, 3)), 10.0) == (-1.0, 3.0)


def test_extremes_of_a_line_are_those_of_the_run() -> None:
    assert extremes(Linear(w0=1.0, slope=-0.1), 50.0) == pytest.approx((-4.0, 1.0))
    assert extremes(Linear(w0=-1.0, slope=1.0, clock="sigma"), 9.0) == pytest.approx((-1.0, 2.0))
    assert extremes(WINDOW, 1.0) == (-0.2, -0.2)  # the run starts below the switch


@pytest.mark.slow
def test_published_schedules_stay_in_bounds_and_keep_what_they_can() -> None:
    goal = Goal(objective="mean_shift", variance_ratio=0.9, low=0.0, high=4.0)

    def trial(schedules: Sequence[GuidanceSchedule]) -> list[Outcome]:
        return [SPECTRUM.evaluate(schedule) for schedule in schedules]

    found = published_schedules(trial, goal, base=SPECTRUM.base, t_max=SPECTRUM.t_max)
    assert "tv-triangle" in found
    assert "increasing-linear" not in found  # starts from the unconditional model, below the bound
    for schedule in found.values():
        low, high = extremes(schedule, SPECTRUM.t_max)
        assert low >= -1e-6
        assert high <= 4.0 + 1e-6
        assert SPECTRUM.evaluate(schedule).variance_ratio >= 0.9  # no guidance, which keeps it, is in every family


# Verification


def test_a_check_forgives_its_slack_and_no_more() -> None:
    measured = Estimate(value=1.0, stderr=0.01, n=100)
    assert Check(measured=measured, theory=1.02).agrees
    assert not Check(measured=measured, theory=1.2).agrees
    assert Check(measured=measured, theory=1.2, slack=0.19).agrees
    assert Check(measured=measured, theory=1.2, slack=0.1).z == pytest.approx(-10.0)
    assert Check(measured=measured).agrees
    assert Check(measured=measured).z is None


@pytest.mark.parametrize(("value", "stderr"), [(math.nan, 0.1), (1.0, math.nan), (math.inf, 0.1), (1.1, 0.0)])
def test_what_was_not_measured_agrees_with_no_theory(value: float, stderr: float) -> None:
    assert not Check(measured=Estimate(value=value, stderr=stderr, n=100), theory=1.0).agrees
    assert Check(measured=Estimate(value=1.0, stderr=0.0, n=100), theory=1.0).agrees


def test_a_verification_without_samples_draws_or_steps_is_refused() -> None:
    for nothing in ({"samples": 1}, {"draws": 0}, {"steps": 0}):
        with pytest.raises(ConfigError, match="verification needs"):
            Verification(**nothing)


def test_a_verification_takes_fewer_samples_where_the_draws_make_the_error() -> None:
    held, averaged = (
        mixture_simulation(MixtureLaw(rate=rate, std=0.5, t_max=10.0, dim=8), Constant(value=0.0), Verification())
        for rate in (0.5, 2.0)
    )
    assert (held.planted, averaged.planted) == (False, True)
    assert (held.budget.samples, averaged.budget.samples) == (128, 256)
    assert Verification(samples=512).trajectories(held=True) == Verification(samples=512).trajectories() == 512


@pytest.mark.slow
@pytest.mark.parametrize("schedule", [WINDOW, Constant(value=3.0), Linear(w0=-0.2, slope=0.1)])
@pytest.mark.parametrize("lam", [1.0, 0.0])
def test_two_gaussians_are_sampled_as_theory_says(schedule: Step, lam: float) -> None:
    law = replace(SPECTRUM, lam=lam)
    checks, _ = check_spectrum(law, schedule, law.evaluate(schedule), Verification(samples=8192))
    assert checks.keys() == {"mean_shift", "variance_ratio", "separability", "frechet"}
    for name, check in checks.items():
        # 24 comparisons; the sampler's own error is far below.
        detect = {"separability": 0.12 * check.theory, "frechet": 0.05}.get(name, 0.1)
        expect_estimate(
            check.measured.value, check.measured.stderr, check.theory, detect=max(detect, 12 * check.measured.stderr),
            false_fail=1e-6 / 24,
        )  # fmt: skip


@pytest.mark.slow
def test_the_check_of_two_gaussians_notices_another_schedule() -> None:
    law = SPECTRUM.evaluate(replace(WINDOW, early=2.0))
    wrong, _ = check_spectrum(SPECTRUM, WINDOW, law, Verification(samples=8192))
    assert not all(check.agrees for check in wrong.values())


def test_measures_of_samples_agree_with_the_law_s_own_definitions() -> None:
    rows = sample_spectrum(SPECTRUM, Constant(value=0.0), Verification(samples=64))
    # Rows rescaled to the exact moments under a schedule must give the law's outcome exactly.
    from orthoscope.theory.gaussian import scheduled_gaussian

    shift, variance = scheduled_gaussian(SPECTRUM.cond_var, SPECTRUM.uncond_var, WINDOW, t_max=SPECTRUM.t_max)
    mean = SPECTRUM.cond_mean + shift * (SPECTRUM.cond_mean - SPECTRUM.uncond_mean)
    rows = (rows - rows.mean(0)) / rows.std(0, ddof=1) * np.sqrt(variance) + mean
    expected = SPECTRUM.evaluate(WINDOW)
    for name, value in spectrum_measures(SPECTRUM, rows).items():
        assert value == pytest.approx(getattr(expected, name), rel=1e-10)


def test_a_mixture_is_simulated_in_its_own_dimension_or_in_a_large_one() -> None:
    assert mixture_simulation(replace(MIXTURE, dim=9), WINDOW, SMALL).dim == 9
    large = mixture_simulation(MIXTURE, Constant(value=1.0), SMALL)
    assert (large.dim, large.planted) == (128, True)
    condensing = mixture_simulation(MIXTURE, Step(early=2, late=-0.5, switch=1), SMALL)
    assert not condensing.planted  # an average over modes does not condense


@pytest.mark.slow
def test_a_mixture_s_check_agrees_with_theory_and_says_what_was_sampled() -> None:
    checks, simulated = check_mixture(MixtureLaw(rate=0.9, std=0.5, t_max=10.0), Constant(value=1.0), SMALL)
    assert all(check.agrees for check in checks.values())
    assert checks["mean_shift"].theory is not None
    assert simulated["dim"] == 128
    assert simulated["samples"] == 512


@pytest.mark.parametrize("schedule", [WINDOW, Linear(w0=-0.2, slope=0.1), Linear(w0=1.0, slope=-0.3)])
def test_without_negative_keeps_positive_strengths_and_drops_the_others(schedule: Step | Linear) -> None:
    time = np.array([0.0, 0.5, 1.9, 2.0, 2.1, 9.0])
    positive = without_negative(MIXTURE, schedule)
    np.testing.assert_allclose(positive.at_time(time), np.maximum(schedule.at_time(time), 0.0), atol=1e-12)
    assert extremes(positive, MIXTURE.t_max)[0] == 0.0


@pytest.mark.slow
def test_what_theory_may_be_wrong_by_counts_the_strength_of_a_line() -> None:
    law, window = MixtureLaw(rate=0.9, std=0.5, t_max=10.0), Linear(w0=-0.45, slope=0.65)
    checks, _ = check_mixture(law, window, SMALL)
    net, alone = (law.evaluate(schedule).mean_shift for schedule in (window, without_negative(law, window)))
    assert alone > 1.3 * net  # the window pays back a part of what the rest causes
    assert checks["mean_shift"].slack == pytest.approx(FINITE_DIM_SLACK["mean_shift"] * alone, rel=1e-3)


# The whole


@pytest.mark.slow
def test_a_design_is_nowhere_behind_and_its_json_says_so() -> None:
    goal = Goal(objective="mean_shift", variance_ratio=0.9, high=4.0)
    report = run_design(DesignProblem(law=SPECTRUM, goal=goal, budget=Verification(samples=2048), front=False))
    gaps = [gap(report.design, candidate) for candidate in report.candidates]
    assert sum(value is not None for value in gaps) >= 5
    assert all(value is None or value >= -1e-6 for value in gaps)
    found = design_result(report)
    assert found.keys() >= {"schedule", "mean_shift", "variance_ratio", "class_posterior", "baselines"}
    assert found["agrees"]
    assert found["variance_ratio"] == pytest.approx(0.9, abs=1e-6)
    assert {"constant", "interval", "linear", "step", "three_phase", "tv-triangle", "exponential"} <= {
        row["name"] for row in found["baselines"]
    }
    assert any("negative strength is worth" in note for note in found["notes"])


@pytest.mark.slow
def test_where_no_negative_strength_is_needed_it_is_said() -> None:
    goal = Goal(objective="mean_shift", high=4.0)  # no floor: nothing to repay
    report = run_design(DesignProblem(law=SPECTRUM, goal=goal, budget=None))
    assert report.design.outcome.mean_shift == pytest.approx(
        SPECTRUM.evaluate(Constant(value=4.0)).mean_shift, abs=1e-6
    )
    assert any("no negative window helps" in note for note in report.notes)


@pytest.mark.slow
def test_what_cannot_be_kept_is_named_with_the_best_value() -> None:
    with pytest.raises(ConfigError, match=r"variance_ratio at least 1\.2 cannot be kept: the best attainable is 1\.0*"):
        run_design(DesignProblem(law=SPECTRUM, goal=Goal(variance_ratio=1.2, low=0.0), budget=None))


def test_what_only_the_margin_forbids_is_said_to_be_possible_without() -> None:
    margin = Margin(strength=0.05, switch=0.01)
    one = design(SPECTRUM, Goal(low=0.0, high=0.1))
    lost = replace(one, feasible=False, goal=replace(one.goal, variance_ratio=1.0, margin=margin), bound=one)
    with pytest.raises(ConfigError, match=rf"smaller margin .* the best mean_shift is {one.outcome.mean_shift:.6g}"):
        require_feasible(lost)


@pytest.mark.slow
def test_the_closed_form_of_least_effort_ignores_a_floor_that_is_kept_anyway() -> None:
    law = SpectrumLaw(cond_mean=[1.0], cond_var=[1.0], uncond_mean=[0.0], uncond_var=[2.0], t_max=50.0, start="exact")
    said = []
    for floor in (None, 0.5, 1.0):
        found = design(law, Goal(objective="effort", mean_shift=0.05, variance_ratio=floor))
        said.append(next(note for note in notes(law, found, None, {}) if note.startswith("the closed form")))
    assert said[0] == said[1] != said[2]
    assert "variance ratio 1," in said[2]


# Data sets


def test_plain_conditional_runs_are_the_origin_of_every_measure(data: DataLaw) -> None:
    found = batch(data).values(Constant(value=0.0))
    for name, value in data.exact.items():
        assert found[name] == pytest.approx(value, abs=1e-9)


def test_gradients_through_the_sampler_are_those_of_finite_differences(data: DataLaw) -> None:
    paths = batch(data)
    strengths = torch.full((16,), 1.0, dtype=torch.float64, requires_grad=True)
    measured = paths.measure(strengths)
    for name in ("mean_shift", "variance_ratio", "separability"):
        (slope,) = torch.autograd.grad(measured[name], strengths, retain_graph=True)
        for k in (4, 8):
            ends = []
            for step in (0.02, -0.02):
                moved = strengths.detach().clone()
                moved[k] += step
                ends.append(paths.values(moved)[name])
            # Single precision: differences of float32 paths.
            assert float(slope[k]) == pytest.approx((ends[0] - ends[1]) / 0.04, rel=0.02, abs=2e-4)


def test_one_strength_per_step_is_the_same_run_as_its_schedule(data: DataLaw) -> None:
    paths = batch(data)
    strengths = np.linspace(3, -0.5, 16)
    schedule = paths.schedule(strengths)
    np.testing.assert_allclose(paths.strengths(schedule), strengths)
    by_steps, by_schedule = paths.values(torch.from_numpy(strengths)), paths.values(schedule)
    for name, value in by_steps.items():
        assert by_schedule[name] == pytest.approx(value, rel=1e-4)


def test_paired_gains_are_those_of_the_means_with_a_smaller_error(data: DataLaw) -> None:
    paths = batch(data, rows=256)
    one, other = Constant(value=1.0), Constant(value=1.2)
    judged = judge(paths, {"one": one, "other": other})
    both = paired(paths, "mean_shift", other, one)
    apart = judged["other"]["mean_shift"], judged["one"]["mean_shift"]
    assert both.value == pytest.approx(apart[0].value - apart[1].value, abs=1e-9)
    assert both.stderr < 0.5 * math.hypot(apart[0].stderr, apart[1].stderr)


def test_fresh_paths_differ_from_the_search_s(data: DataLaw) -> None:
    one = Constant(value=1.0)
    assert batch(data).values(one) == batch(data).values(one)
    assert batch(data, name="search").values(one) != batch(data, name="judge").values(one)


def test_scaling_multiplies_strengths_within_the_bounds() -> None:
    goal = Goal(low=-0.25, high=4.0)
    assert scaled(WINDOW, 2.0, goal) == Step(early=4.0, late=-0.25, switch=2.0)
    assert scaled(Linear(w0=-0.1, slope=0.3), 2.0, goal) == Linear(w0=-0.2, slope=0.6)
    table = Tabulated(at=(0, 1), strengths=(-1, 1))
    assert scaled(table, 0.5, goal) == Tabulated(at=(0, 1), strengths=(-0.25, 0.5))


def test_calibration_brings_a_floor_to_equality(data: DataLaw) -> None:
    goal = Goal(objective="mean_shift", variance_ratio=0.96)
    search = Search(batch=batch(data), check=batch(data, rows=256, name="check"), goal=goal)
    found = search.calibrated(Constant(value=4.0))
    assert search.check.values(found)["variance_ratio"] == pytest.approx(0.96, abs=0.005)
    assert search.check.values(Constant(value=4.0))["variance_ratio"] < 0.95


def test_calibration_leaves_alone_what_floors_do_not_limit(data: DataLaw) -> None:
    goal = Goal(objective="frechet", variance_ratio=0.3)  # least without guidance, where the floor holds
    search = Search(batch=batch(data), check=batch(data, rows=256, name="check"), goal=goal)
    assert search.calibrated(Constant(value=0.5)) == Constant(value=0.5)


def test_notes_of_a_data_set_claim_no_more_than_was_measured() -> None:
    constant, goal = Constant(value=1.0), Goal(objective="effort", mean_shift=0.1)
    judged = {"mean_shift": Estimate(value=0.1, stderr=0.01, n=100)}
    idle = "no window helps here beyond chance"
    assert idle not in data_notes(goal, WINDOW, {"constant": constant}, {}, judged, 10.0)
    assert idle in data_notes(goal, constant, {"constant": constant}, {}, judged, 10.0)


@pytest.mark.slow
def test_gradients_improve_on_where_they_start(data: DataLaw) -> None:
    goal = Goal(objective="mean_shift", variance_ratio=0.9)
    search = Search(batch=batch(data), check=batch(data, name="check"), goal=goal)
    start = Constant(value=0.1)
    found = search.values(search.pieces(start))
    assert found["mean_shift"] > search.values(start)["mean_shift"] + 0.01
    assert found["variance_ratio"] > 0.9 - 5e-3


def test_the_law_of_a_missing_or_tiny_class_is_refused(data: DataLaw) -> None:
    with pytest.raises(ConfigError, match="label 9 is not present"):
        DataLaw(source=data.source, label=9)


@pytest.mark.parametrize("wrong", [{"lam": -2.0}, {"lam": math.nan}, {"t_max": math.inf}])
def test_a_run_of_data_that_cannot_be_is_refused(data: DataLaw, wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        replace(data, **wrong)


# The grid


@pytest.mark.slow
def test_the_design_of_a_cell_leads_its_windows() -> None:
    from orthoscope.experiments.design_grid import DesignGridStudy

    study = replace(DesignGridStudy.quick(), rates=(0.9,), stds=(0.5,), samples=512, draws=4, steps=12)
    result = study.run()
    found = DesignGridStudy().summarize(result)
    assert found["cells"] == found["feasible"] == 1
    assert found["never_worse_in_theory"]
    assert found["never_worse_when_sampled"]
    predicted, sampled = float(result["mean_shift_theory"][0, 0]), result["mean_shift"].sel(sampled="design")
    assert float(sampled[0, 0]) == pytest.approx(predicted, abs=0.05)  # in 128 dimensions, with 512 trajectories
    assert found["least_margin"]["constant"] > 0.1
