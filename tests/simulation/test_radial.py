"""Reduced coordinates of the planted ensemble against the ensemble itself: step by step exactly, and in law."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from orthoscope.denoise import ExactDenoiser
from orthoscope.errors import ConfigError
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.schedules import Constant, Linear
from orthoscope.process import VarianceExploding
from orthoscope.sampling import Exponential, geometric, trajectory
from orthoscope.simulation.coupled import controlled, coupled, unguided_law
from orthoscope.simulation.draw import draw
from orthoscope.simulation.radial import Paths, follow, log_odds, radial
from orthoscope.simulation.setting import Simulation
from orthoscope.targets import Planted
from tests.stat.expect import expect_estimate

DIM = 24
SETTING = Simulation.of(
    dim=DIM, rate=0.2, std=0.5, schedule=Constant(value=1.0), modes="planted", start="exact", samples=64, draws=40,
    steps=12, dtype="float64", t_max=50.0,
)  # fmt: skip


def rows(seed: int) -> tuple[torch.Tensor, Planted]:
    """States near the class, where its posterior is neither 0 nor 1."""
    stream = np.random.default_rng(seed)
    m = torch.from_numpy(stream.standard_normal(DIM))
    x = 0.8 * m + torch.from_numpy(2.0 * stream.standard_normal((6, DIM)))
    return x, Planted(centroid=m, std=0.0, log_classes=0.2 * DIM)


def reduced(x: np.ndarray, m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Component along m and length across it."""
    along = x @ m / np.linalg.norm(m)
    return along, np.sqrt((x**2).sum(1) - along**2)


def test_log_odds_are_those_of_the_planted_ensemble(seed: int) -> None:
    x, planted = rows(seed)
    m = planted.centroid.numpy()
    level = VarianceExploding(offset=0.25).at(3.0)
    expected = planted.log_odds(x, level).numpy()
    length = np.full(len(x), np.linalg.norm(m))
    np.testing.assert_allclose(log_odds(SETTING, *reduced(x.numpy(), m), length, level.variance), expected, rtol=1e-10)


class Scripted(np.random.Generator):
    """Hands out prepared numbers in place of random ones."""

    def __init__(self, normals: list[np.ndarray], squares: list[np.ndarray]) -> None:
        super().__init__(np.random.PCG64(0))
        self.normals, self.squares = normals, squares

    def standard_normal(self, *args: object, **kwargs: object) -> np.ndarray:
        return self.normals.pop(0)

    def chisquare(self, *args: object, **kwargs: object) -> np.ndarray:
        return self.squares.pop(0)


@pytest.mark.parametrize("lam", [1.0, 0.6, 0.0])
@pytest.mark.parametrize("order", [1, 2])
def test_a_step_in_reduced_coordinates_is_the_full_step(lam: float, order: int, seed: int) -> None:
    """The same noise, expressed in the frame of centroid, state and twin, gives the same state and the same twin."""
    full, planted = rows(seed)
    m, x = planted.centroid.numpy(), full.numpy()
    length, e1 = np.linalg.norm(m), m / np.linalg.norm(m)
    schedule = Linear(w0=0.5, slope=0.4)
    setting = SETTING.but(schedule=schedule, lam=lam, order=order)
    grid = geometric(VarianceExploding(offset=0.25), 3.0, 1)
    stream = np.random.default_rng(seed + 1)
    y, z = (stream.standard_normal(x.shape) for _ in range(2))
    twin = m + 1.3 * y

    def outside(rows: np.ndarray, *frame: np.ndarray) -> np.ndarray:
        for e in frame:
            rows = rows - (rows * e).sum(-1, keepdims=True) * e
        return rows

    def unit(rows: np.ndarray) -> np.ndarray:
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)

    e2 = unit(outside(x, e1))
    e3 = unit(outside(twin - m, e1, e2))
    frame = (e1, e2, e3)
    parts = np.array([(z * e).sum(-1) for e in frame])
    rest = (outside(z, *frame) ** 2).sum(-1)
    begin = Paths(
        length=np.full(len(x), length),
        along=(x * e1).sum(-1),
        across=(x * e2).sum(-1),
        free_along=((twin - m) * e1).sum(-1),
        free_inside=((twin - m) * e2).sum(-1),
        free_outside=((twin - m) * e3).sum(-1),
    )
    found = _one_step(setting, begin, grid, Scripted([parts], [rest]))
    step = Exponential(lam=lam, order=order)

    def noise(level: object, next_level: object) -> torch.Tensor:
        return torch.from_numpy(z)

    def ends(denoiser_schedule: object, start: np.ndarray) -> np.ndarray:
        guided = classifier_free(ExactDenoiser(planted), denoiser_schedule)
        *_, last = trajectory(guided, torch.from_numpy(start), grid, step=step, noise=noise, label=0)
        return last.x.numpy()

    after, twin_after = ends(schedule, x), ends(Constant(value=0.0), twin)
    along, across = reduced(after, m)
    np.testing.assert_allclose(found.along, along, rtol=1e-9)
    np.testing.assert_allclose(found.across, across, rtol=1e-9)
    direction = unit(outside(after, e1))
    np.testing.assert_allclose(found.free_along, ((twin_after - m) * e1).sum(-1), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(found.free_inside, ((twin_after - m) * direction).sum(-1), rtol=1e-8, atol=1e-9)
    left = np.linalg.norm(outside(twin_after - m, e1, direction), axis=1)
    np.testing.assert_allclose(found.free_outside, left, rtol=1e-7)


def _one_step(setting: Simulation, begin: Paths, grid: object, stream: np.random.Generator) -> Paths:
    from orthoscope.simulation import radial as module

    level, next_level = grid.levels
    strengths = (float(setting.setting.schedule.strength(at)) for at in (level, next_level.from_noise_side(level.step)))
    return module._step(setting, begin, level.variance, next_level.variance, *strengths, stream=stream)


@pytest.mark.parametrize("start", ["exact", "prior"])
def test_without_guidance_the_twin_leaves_no_error(start: str, seed: int) -> None:
    setting = SETTING.but(schedule=Constant(value=0.0), start=start, seed=seed, samples=2000, draws=1)
    shift, variance = unguided_law(setting, draw(setting).levels)
    found = radial(setting)
    assert found.mean_shift.value == pytest.approx(shift, abs=1e-10)
    assert found.variance_shift.value == pytest.approx(variance - 0.25, abs=1e-9)
    assert found.mean_shift.stderr < 1e-9


@pytest.mark.parametrize(("lam", "start"), [(1.0, "exact"), (0.0, "prior")])
def test_reduced_and_full_simulations_agree(lam: float, start: str, seed: int) -> None:
    """Two samplers of the planted ensemble that share nothing but its definition."""
    setting = SETTING.but(lam=lam, start=start, seed=seed)
    full, small = coupled(setting), radial(setting.but(samples=40_000, draws=1))
    for name, detect in (("mean_shift", 0.01), ("variance_shift", 0.006)):
        a, b = getattr(full, name), getattr(small, name)
        expect_estimate(a.value, math.hypot(a.stderr, b.stderr), b.value, detect=detect)
    stronger = radial(setting.but(schedule=Constant(value=2.0), samples=40_000, draws=1))
    assert abs(stronger.mean_shift.value - small.mean_shift.value) > 0.01  # another strength would be caught


def test_parts_of_the_variance_add_up(seed: int) -> None:
    found = radial(SETTING.but(samples=4000, draws=1, seed=seed))
    along, across = found.variance_shift_along.value, found.variance_shift_across.value
    whole = found.variance_shift
    assert whole.value == pytest.approx((along + (DIM - 1) * across) / DIM, abs=whole.stderr)


def test_paths_begin_in_the_law_of_the_start(seed: int) -> None:
    setting = SETTING.but(start="prior")
    grid = draw(setting).levels
    first = next(follow(setting, grid, 20_000, np.random.default_rng(seed)))
    square = (first.along**2 + first.across**2) / DIM
    n, variance = square.size, 50 + 0.25 + 1
    expect_estimate(square.mean(), variance * math.sqrt(2 / DIM / n), variance, detect=0.06 * variance)
    np.testing.assert_array_equal(first.length[: n // 2], first.length[n // 2 :])


def test_controls_leave_the_mean_alone_and_take_the_noise_they_explain(seed: int) -> None:
    stream = np.random.default_rng(seed)
    control, rest = stream.standard_normal((2, 50_000))
    found = controlled(3 + 2 * control + 0.1 * rest, control[None])
    assert found.stderr == pytest.approx(0.1 / math.sqrt(50_000), rel=0.03)
    expect_estimate(found.value, found.stderr, 3.0, detect=0.01)


def test_settings_without_reduced_coordinates_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"modes=memory"):
        radial(SETTING.but(modes="memory"))
    with pytest.raises(ConfigError, match=r"dim=3"):
        radial(SETTING.but(dim=3, rate=1.0))


def test_coupled_runs_are_refused_where_they_have_no_errors() -> None:
    with pytest.raises(ConfigError, match="at least 8 draws, got 2"):
        coupled(SETTING.but(draws=2))
