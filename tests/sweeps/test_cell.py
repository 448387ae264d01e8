"""One cell: the numbers of `simulate`, keyed by what the cell is and not by where it stands, until errors are met."""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orthoscope import theory
from orthoscope.guidance.schedules import Constant, Step
from orthoscope.quantities import Estimate, pool
from orthoscope.settings import Setting
from orthoscope.simulation.comparison import theories
from orthoscope.simulation.setting import Simulation
from orthoscope.simulation.simulate import simulate
from orthoscope.sweeps.cell import cell_seed
from orthoscope.sweeps.compute import run_cell
from orthoscope.sweeps.file import read_study
from orthoscope.sweeps.plan import Cell, Plan
from orthoscope.sweeps.simulated import looks
from tests.stat.expect import expect_estimate

Read = Callable[[str], Plan]
SMALL = "[fixed]\nstd = 0.5\ndim = 8\nrate = 0.3\nsamples = 16\nsteps = 4\n"
SETTING = {"std": 0.5, "dim": 8, "rate": 0.3, "t_max": 50.0, "samples": 16, "steps": 4}
COMMON = '[study]\nseed = 7\nstreams = "common"\n'


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """The plan of a study file with this text."""

    def reader(text: str) -> Plan:
        path = tmp_path / "study.toml"
        path.write_text(text, encoding="utf-8")
        return read_study(path).plan

    return reader


def cell_at(plan: Plan, **coords: object) -> Cell:
    return next(cell for cell in plan.cells() if coords.items() <= cell.coords.items())


def same(one: dict[str, Estimate | float], other: dict[str, Estimate | float]) -> bool:
    """Equal to the last bit, a NaN being equal to a NaN."""
    return one.keys() == other.keys() and all(repr(one[name]) == repr(other[name]) for name in one)


def test_a_cell_is_a_simulation_bit_for_bit(read: Read) -> None:
    plan = read(COMMON + SMALL + "draws = 3\n[axes]\nstrength = [0, 2]\node = [true]\n")
    found = run_cell(plan, cell_at(plan, strength=2.0))
    assert tuple(found) == plan.quantities or set(found) == set(plan.quantities)
    simulation = Simulation.of(**SETTING, schedule=Constant(value=2.0), lam=0.0, draws=3, seed=7)
    measured = simulate(simulation).estimates
    assert {name: found[name] for name in plan.estimated} == {name: measured[name] for name in plan.estimated}
    assert found["draws_used"] == 3
    beside = theories(simulation)
    assert found["mean_shift_mean_field"] == beside.mean_field.mean_shift
    assert beside.finite_dim is not None
    assert found["variance_shift_finite_dim"] == beside.finite_dim.variance_shift


def test_a_planted_cell_on_a_schedule_is_one_too(read: Read) -> None:
    text = COMMON + SMALL + 'planted = true\n[axes]\nschedule = ["step:early=2,late=0,switch=50%"]\n'
    plan = read(text + '[measure]\nquantities = ["class_posterior"]\ntheory = false\n')
    schedule = Step(early=2, late=0, switch=0.5, clock="step")
    measured = simulate(Simulation.of(**SETTING, schedule=schedule, modes="planted", seed=7)).estimates
    assert run_cell(plan, plan.cells()[0]) == {"class_posterior": measured["class_posterior"], "draws_used": 4.0}


def test_theory_cells_are_predict(read: Read) -> None:
    text = '[study]\nsource = "theory"\n[axes]\nrate = [0.2, 2]\nstrength = [1]\n[fixed]\nstd = 0.5\n'
    plan = read(text + '[measure]\nquantities = ["mean_shift", "speciation_time", "lost"]\n')
    found = run_cell(plan, cell_at(plan, rate=0.2))
    expected = theory.predict(Setting.of(rate=0.2, std=0.5, schedule=Constant(value=1.0)))
    assert found == {"mean_shift": expected.mean_shift, "speciation_time": expected.speciation_time, "lost": 0.0}
    assert math.isnan(run_cell(plan, cell_at(plan, rate=2.0))["speciation_time"])


@pytest.mark.slow
def test_numbers_belong_to_the_setting_and_not_to_the_place_or_the_file(read: Read) -> None:
    small = SMALL + "draws = 2\n"
    first = read(small + "[axes]\nstrength = [0, 1, 2]\nt_max = [10, 20]\n")
    other = read(small + "t_max = 20\n[axes]\nstrength = [5, 2]\n")
    cells = [(plan, cell_at(plan, strength=2.0)) for plan in (first, other)]
    cells[0] = (first, cell_at(first, strength=2.0, t_max=20.0))
    assert same(*(run_cell(plan, cell) for plan, cell in cells))


def test_cells_are_independent_unless_draws_are_common(read: Read) -> None:
    axes = SMALL + "[axes]\nstrength = [0, 1, 2]\n"
    plan, common = read(axes), read('[study]\nstreams = "common"\nseed = 3\n' + axes)
    assert len({cell_seed(plan, cell) for cell in plan.cells()}) == plan.size
    assert {cell_seed(common, cell) for cell in common.cells()} == {3}
    reseeded = replace(plan, fixed={**plan.fixed, "seed": 1})
    assert cell_seed(reseeded, plan.cells()[0]) != cell_seed(plan, plan.cells()[0])


def test_more_draws_go_on_from_fewer(read: Read) -> None:
    plan = read(SMALL + "strength = 1\n[axes]\ndraws = [2, 3]\n")
    assert len({cell_seed(plan, cell) for cell in plan.cells()}) == 1


@pytest.mark.slow
def test_plan_cell_and_result_travel_to_workers(read: Read) -> None:
    plan = read(SMALL + "draws = 2\n[axes]\nstrength = [1]\n")
    there = pickle.loads(pickle.dumps((plan, plan.cells()[0])))
    assert there == (plan, plan.cells()[0])
    assert same(pickle.loads(pickle.dumps(run_cell(*there))), run_cell(plan, plan.cells()[0]))


# Precision


@pytest.mark.parametrize(("least", "most"), [(4, 4), (4, 5), (8, 100), (5, 6)])
def test_looks_rise_from_the_least_to_the_most(least: int, most: int) -> None:
    found = list(looks(least, most))
    assert found[0] == least
    assert found[-1] == most
    assert all(now < then <= max(now + 1, 1.25 * now) or then == most for now, then in itertools.pairwise(found))
    assert found == sorted(set(found))


def test_draws_are_added_until_every_error_is_met(read: Read) -> None:
    axes = "[axes]\nstrength = [1]\n[measure]\ntheory = false\n[precision]\nmin_draws = 4\n"
    wanted = {"mean_shift": 0.02, "variance_shift": 0.01}
    text = "".join(f"{name} = {error}\n" for name, error in wanted.items())
    plan = read(COMMON + SMALL + axes + text)
    found = run_cell(plan, plan.cells()[0])
    used = int(found["draws_used"])
    assert found["precision_met"] == 1
    assert all(found[name].stderr <= error for name, error in wanted.items())
    assert used > 4, "the case must have to go on, or it shows nothing"
    before = max(count for count in looks(4, 256) if count < used)
    earlier = simulate(Simulation.of(**SETTING, schedule=Constant(value=1.0), draws=before, seed=7)).estimates
    assert any(earlier[name].stderr > error for name, error in wanted.items()), "it stops at the first chance"
    now = simulate(Simulation.of(**SETTING, schedule=Constant(value=1.0), draws=used, seed=7)).estimates
    assert found["mean_shift"] == now["mean_shift"]


def test_an_error_not_met_is_said(read: Read) -> None:
    plan = read(SMALL + "strength = 1\n[precision]\nmean_shift = 1e-6\nmin_draws = 4\nmax_draws = 5\n")
    found = run_cell(plan, plan.cells()[0])
    assert (found["draws_used"], found["precision_met"]) == (5, 0)


def stopped(stream: np.random.Generator, least: int, wanted: float, runs: int) -> list[Estimate]:
    """Means of standard normal draws, stopped as a cell is."""
    finals = []
    for _ in range(runs):
        draws: list[Estimate] = []
        for count in looks(least, 256):
            more = stream.standard_normal(count - len(draws))
            draws += [Estimate(value=float(x), stderr=0.01, n=1) for x in more]
            if (found := pool(draws)).stderr <= wanted:
                break
        finals.append(found)
    return finals


def optimism(finals: list[Estimate]) -> float:
    """True spread over the root mean square of the reported errors."""
    values, errors = (np.array([getattr(found, part) for found in finals]) for part in ("value", "stderr"))
    return float(values.std(ddof=1) / math.sqrt(np.mean(errors**2)))


@pytest.mark.slow
def test_stopping_on_a_met_error_biases_no_value_and_errors_a_little(seed: int) -> None:
    """By less than a third at the worst choice of the error, where too few draws would mislead."""
    stream = np.random.Generator(np.random.Philox(seed))
    for wanted in (0.35, 0.25, 0.15):
        finals = stopped(stream, 8, wanted, 1000)
        values = np.array([found.value for found in finals])
        expect_estimate(values.mean(), values.std(ddof=1) / math.sqrt(len(values)), 0.0, detect=0.15)
        assert 0.85 < optimism(finals) < 1.35
    assert optimism(stopped(stream, 2, 0.25, 1000)) > 1.35
