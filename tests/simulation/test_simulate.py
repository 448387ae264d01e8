"""The simulation's own promises: reproducible, honest about memory, errors on two levels, steps that suffice."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from orthoscope.denoise import ExactDenoiser
from orthoscope.errors import ConfigError
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.schedules import Constant, Step
from orthoscope.metrics import mean_of
from orthoscope.process import VarianceExploding
from orthoscope.sampling import BrownianPath, Grid, geometric, sample
from orthoscope.settings import Setting
from orthoscope.simulation import setting as spec
from orthoscope.simulation.draw import REFINED_WIDTH, decision_time, draw
from orthoscope.simulation.setting import Simulation
from orthoscope.simulation.simulate import sampled_draws, simulate
from orthoscope.targets import Mixture, Planted
from orthoscope.theory import predict

BASE = {
    "dim": 8, "rate": 0.3, "std": 0.5, "schedule": Constant(value=1.0), "t_max": 50.0,
    "samples": 24, "draws": 3, "steps": 6,
}  # fmt: skip


def test_more_draws_leave_earlier_draws_as_they_are() -> None:
    few = simulate(Simulation.of(**BASE | {"draws": 1}))
    many = simulate(Simulation.of(**BASE))
    assert few.estimates["mean_shift"].value != many.estimates["mean_shift"].value
    assert simulate(Simulation.of(**BASE)).estimates == many.estimates
    assert many.estimates["mean_shift"].n == 72


def test_draws_have_modes_of_their_own() -> None:
    simulation = Simulation.of(**BASE)
    first, again, second = (draw(simulation, k).target for k in (0, 0, 1))
    assert isinstance(first, Mixture)
    assert torch.equal(first.table, again.table)
    assert not torch.isclose(first.centroids, second.centroids).any()


def test_progress_counts_the_levels_of_all_draws() -> None:
    seen: list[tuple[int, int]] = []
    simulate(Simulation.of(**BASE), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k, 21) for k in range(1, 22)]


def test_errors_have_two_levels() -> None:
    estimate = simulate(Simulation.of(**BASE)).estimates["mean_shift"]
    assert estimate.stderr_within is not None
    assert estimate.stderr >= estimate.stderr_within > 0


def test_the_mean_shift_of_several_centroids_is_a_ratio_of_sums() -> None:
    simulation = Simulation.of(**BASE | {"dim": 1, "rate": None, "classes": 5, "draws": 6})
    tops, bottoms = [], []
    for index, sampled in enumerate(itertools.islice(sampled_draws(simulation), 6)):
        m = draw(simulation, index).centroid.astype(float)
        tops.append(sampled.run.x.double().numpy().mean(0) @ m)
        bottoms.append(m @ m)
    found = simulate(simulation)
    assert found.estimates["mean_shift"].value == pytest.approx(sum(tops) / sum(bottoms) - 1, abs=1e-12)
    assert found.overlap[-1].value == pytest.approx(sum(tops) / sum(bottoms), abs=1e-12)


def test_on_the_sphere_draws_count_the_same() -> None:
    simulation = Simulation.of(**BASE | {"ensemble": "sphere", "dtype": "float64"})
    alone = [one.estimates["mean_shift"] for one in itertools.islice(sampled_draws(simulation), 3)]
    found, plain = simulate(simulation).estimates["mean_shift"], mean_of([one.value for one in alone])
    assert found.value == pytest.approx(plain.value, abs=1e-12)
    assert found.stderr == pytest.approx(max(plain.stderr, found.stderr_within), rel=1e-9)


def test_a_posterior_near_one_is_not_certain() -> None:
    """All trajectories of 3 draws stay in their class, far from the others: 24 units, none failed."""
    simulation = Simulation.of(**BASE | {"dim": 40, "rate": 0.05})
    numbers = simulate(simulation).estimates["class_posterior"].as_numbers()
    assert numbers["value"] > 1 - 1e-6
    assert numbers["stderr"] == pytest.approx(np.sqrt(26 * 2) / 28**1.5, rel=1e-6)
    assert (numbers["n"], numbers["dof"]) == (72, 4)


def test_the_path_starts_at_the_prior_and_ends_with_the_estimates() -> None:
    result = simulate(Simulation.of(**BASE))
    assert result.times[0] == 50.0
    assert result.times[-1] == 0.0
    assert len(result.overlap) == len(result.variance) == len(result.times)
    assert result.overlap[-1].value == pytest.approx(1 + result.estimates["mean_shift"].value, rel=1e-12)
    assert result.variance[-1].value == pytest.approx(0.25 + result.estimates["variance_shift"].value, rel=1e-12)


def test_a_jump_of_the_schedule_becomes_a_level() -> None:
    simulation = Simulation.of(**BASE | {"schedule": Step(early=3.0, late=0.0, switch=4.25)})
    assert 4.25 in draw(simulation).levels.times


def test_memory_is_checked_against_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec, "available_memory", lambda: 1e6)
    with pytest.raises(ConfigError, match=r"need 0\.\d+ GiB|need .* GiB, and 0\.0 GiB are free.*`modes` planted"):
        Simulation.of(**BASE | {"dim": 40})
    assert Simulation.of(**BASE | {"dim": 40, "modes": "planted"}).log_classes == pytest.approx(12.0)


@pytest.mark.parametrize("strength", [1.0, 3.0])
@pytest.mark.parametrize(("dim", "steps", "grid"), [(64, 15, "geometric"), (64, 12, "refined"), (256, 20, "refined")])
def test_bias_is_below_the_error_of_2000_trajectories(strength: float, dim: int, steps: int, grid: str) -> None:
    """One Brownian path for coarse and fine steps, so that 400 runs resolve the bias; centroid of typical norm."""
    rows = 400
    simulation = Simulation.of(
        dim=dim,
        rate=0.2,
        std=0.5,
        schedule=Constant(value=strength),
        modes="planted",
        grid=grid,
        steps=steps,
        dtype="float64",
        t_max=50.0,
    )
    drawn = draw(simulation)
    assert isinstance(drawn.target, Planted)
    centroid = drawn.target.centroid
    target = replace(drawn.target, centroid=centroid * (dim**0.5 / centroid.norm()))
    narrow, offset = target.absorbed()
    coarse = replace(drawn, target=target).levels
    fine = geometric(VarianceExploding(offset=offset), 50.0, 240)
    variances = np.unique([level.variance for grid_ in (coarse, fine) for level in grid_.levels])[::-1]
    variances = variances[np.append(True, -np.diff(np.log(variances)) > 1e-9)]
    noise = BrownianPath(5, rows, dim, variances.tolist())
    start = torch.from_numpy(np.random.Generator(np.random.Philox(key=dim)).standard_normal((rows, dim))) * 51.25**0.5

    def overlaps(levels: Grid) -> np.ndarray:
        run = sample(
            classifier_free(ExactDenoiser(narrow), simulation.setting.schedule), start, levels, noise=noise, label=0
        )
        return (run.x @ target.centroid / target.centroid.square().sum()).numpy()

    exact = overlaps(fine)
    gap = overlaps(coarse) - exact
    allowed = exact.std(ddof=1) / np.sqrt(2000)
    error = gap.std(ddof=1) / np.sqrt(rows)
    assert abs(gap.mean()) + 3 * error < allowed


def test_the_refined_grid_is_centered_where_the_class_is_decided() -> None:
    simulation = Simulation.of(**BASE | {"dim": 400, "modes": "planted", "rate": 0.2, "steps": 40})
    time = decision_time(simulation)
    expected = predict(Setting.of(rate=0.2, std=0.5, schedule=Constant(value=1.0), t_max=50.0)).speciation_time
    assert time == expected
    log_v = np.log(np.array(draw(simulation).levels.times) + 0.25)
    finest = np.argmin(-np.diff(log_v))
    assert (
        log_v[finest + 1] < np.log(time + 0.25) < log_v[finest]
        or abs(log_v[finest] - np.log(time + 0.25)) < REFINED_WIDTH / 20
    )
