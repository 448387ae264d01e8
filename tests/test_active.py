from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from orthoscope import rng
from orthoscope.denoise import ExactDenoiser, FixedLabel
from orthoscope.denoise.active import Active, ActiveSet
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.schedules import Constant
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.sampling import BrownianPath, Exponential, geometric, sample
from orthoscope.sampling.transition import transition
from orthoscope.targets import Mixture, mixture
from orthoscope.targets.ensembles import random_mixture
from orthoscope.targets.modes import read
from tests.targets.cases import random_mixture_of

F64 = torch.float64
TARGET = random_mixture_of(0)
X = torch.tensor([[0.1, 1.0, -2.0], [2.0, 0.3, 0.5], [-1.0, -1.0, 0.2], [0.4, 0.1, 0.0]], dtype=F64)
LABELS = torch.tensor([2, 0, 2, 1])


def errors_along(
    target: Mixture, tolerance: float, path: list[tuple[torch.Tensor, float | np.ndarray]]
) -> tuple[torch.Tensor, list[int]]:
    """Error of every row at every stop of a path against full scans, and the modes read at each stop."""
    active, memory, errors, reads = Active(target, tolerance=tolerance), None, [], []
    for x, variance in path:
        level = NoiseLevel(time=variance)
        found = active.evaluate(x, level, None, memory)
        errors.append((found.denoised - target.denoised(x, level)).norm(dim=1))
        reads.append(found.modes_read)
        memory = found.memory
    return torch.stack(errors), reads


# The bound


def scanned(target: Mixture, x: torch.Tensor, variance: float, tolerance: float) -> ActiveSet:
    memory: ActiveSet = Active(target, tolerance=tolerance).evaluate(x, NoiseLevel(time=variance)).memory
    return memory


def left_out(target: Mixture, kept: ActiveSet, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Log-sum over the modes of each group that are not active, by brute force."""
    m = target.centroids - target.center
    logits = (x @ m.T - m.square().sum(1) / 2) / v + target.table[:, target.dim + 1]
    logits[:, kept.members] = -math.inf
    groups = m.norm(dim=1).argsort().tensor_split(kept.log_left.shape[1])
    return torch.stack([logits[:, group].logsumexp(1) for group in groups], 1)


@example(939545, 51, 3, 0.125, 0.0)
@given(st.integers(0, 10**6), st.integers(2, 60), st.integers(1, 6), st.floats(0.05, 20), st.floats(-3, 3))
def test_no_group_ever_exceeds_its_bound(seed: int, modes: int, dim: int, variance: float, log_ratio: float) -> None:
    stream = np.random.default_rng(seed)
    target = random_mixture_of(seed, modes=modes, dim=dim, std=0.0)
    x0 = torch.from_numpy(4 * stream.standard_normal((5, dim)))
    kept = scanned(target, x0, variance, 0.01)
    if not len(kept.table):
        return
    there = x0 - target.center
    parts = torch.from_numpy(stream.standard_normal((3, 5, 1)))
    x = parts[0] * there + parts[1] * kept.mean + parts[2].abs() * torch.from_numpy(stream.standard_normal((5, dim)))
    v = torch.full((5, 1), variance * math.exp(log_ratio), dtype=F64)
    for state in (x, there, there + 0.1 * x):
        true, bound = left_out(target, kept, state, v), kept.log_left_now(state, v)
        slack = 1e-9 * (1 + bound.where(bound.isfinite(), 0).abs())  # minus infinity where nothing is left out
        assert bool((true <= bound + slack).all())


def test_the_bound_is_the_sum_itself_where_it_was_taken() -> None:
    target = random_mixture(12, std=0.0, classes=300, stream=rng.stream(0, "modes"), dtype=F64)
    x = target.centroids[:6] + 0.1
    kept = scanned(target, x, 0.2, 0.01)
    assert 0 < len(kept.table) < 100
    v = torch.full((6, 1), 0.2, dtype=F64)
    there = x - target.center
    true = left_out(target, kept, there, v)
    torch.testing.assert_close(kept.log_left_now(there, v), true, rtol=1e-9, atol=1e-9)
    assert bool((kept.log_left_now(there + 0.01, v) > left_out(target, kept, there + 0.01, v)).all())


def test_a_path_that_only_shrinks_towards_its_mean_costs_little() -> None:
    # The probability-flow ODE of a decided row; a bound by distance alone would lose |x' - x| |m| / v.
    target = random_mixture(12, std=0.0, classes=300, stream=rng.stream(0, "modes"), dtype=F64)
    own = target.centroids[:6]
    noise = torch.from_numpy(rng.stream(0, "noise").standard_normal((6, 12)))
    path = [(own + math.sqrt(v) * noise, v) for v in np.geomspace(0.2, 0.002, 12)]
    errors, reads = errors_along(target, 1e-3, path)
    assert float(errors.max()) <= 1e-3
    assert sum(reads[1:]) < 0.2 * 11 * 6 * 300


def test_what_is_left_out_counts_with_its_distance() -> None:
    # The active modes have mean 0; what pulls the true mean away is only far.
    far = [[100.0, 50.0 + k] for k in range(10)]
    modes = [[0.0, 100.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 12.0], [0.0, -6.0], [0.0, -6.0], [0.0, -100.0]]
    modes += far + [[-a, -b] for a, b in far]
    target = mixture(torch.tensor(modes, dtype=F64), std=0.0)
    kept = scanned(target, torch.zeros(1, 2, dtype=F64), 1.0, 1e-3)
    assert kept.members.nonzero().flatten().tolist() == [1, 2]
    x, v = torch.tensor([[0.0, -0.2]], dtype=F64), torch.ones(1, 1, dtype=F64)
    active = read((kept.table,), x, v)
    error = float((active.mean - read(target.tables(), x, v).mean).norm())
    assert 1e-8 < error <= float(kept.error(x, v, active)) < 3 * error


# Never off by more than the tolerance


@given(st.integers(0, 10**6), st.integers(2, 80), st.integers(1, 5), st.floats(-8, 0), st.booleans())
def test_no_row_is_ever_off_by_more_than_the_tolerance(
    seed: int, modes: int, dim: int, log_tolerance: float, by_row: bool
) -> None:
    stream = np.random.default_rng(seed)
    target = random_mixture_of(seed, modes=modes, dim=dim, std=float(stream.choice([0.0, 0.3])))
    x, v, path = torch.from_numpy(3 * stream.standard_normal((6, dim))), np.full(6, 2.0), []
    for _ in range(8):
        step = float(stream.choice([0.0, 0.01, 0.3, 8.0]))
        x = x + step * torch.from_numpy(stream.standard_normal((6, dim)))
        v = v * (stream.choice([0.3, 0.9, 2.0], 6) if by_row else stream.choice([0.3, 0.9, 2.0]))
        path.append((x, v if by_row else float(v[0])))
    errors, _ = errors_along(target, 10**log_tolerance, path)
    assert float(errors.max()) <= 10**log_tolerance + 1e-9


def cluster_and_a_far_mode(weight: float) -> Mixture:
    """Modes near the origin, many to the left of it, and a last one far to the right."""
    scatter = 0.3 * torch.from_numpy(rng.stream(0, "cluster").standard_normal((70, 2)))
    scatter[10:, 0] -= 8
    weights = torch.cat([torch.ones(70, dtype=F64), torch.tensor([weight], dtype=F64)])
    return mixture(torch.cat([scatter, torch.tensor([[9.0, 0.0]], dtype=F64)]), std=0.0, weights=weights)


def towards_the_far_mode(steps: int) -> list[tuple[torch.Tensor, float]]:
    ends = np.linspace(0.0, 9.0, steps)
    return [(torch.tensor([[end, 0.0], [0.0, end / 9]], dtype=F64), 1.0) for end in ends]


@pytest.mark.parametrize("weight", [1.0, 1e-6, 1e6])
@pytest.mark.parametrize("steps", [2, 7, 60])
def test_a_mode_outside_the_set_in_the_direction_of_motion_is_seen_in_time(weight: float, steps: int) -> None:
    errors, reads = errors_along(cluster_and_a_far_mode(weight), 1e-3, towards_the_far_mode(steps))
    assert float(errors.max()) <= 1e-3
    assert steps < 60 or sum(reads) < 60 * 2 * 71  # and it was outside for a while


def test_without_the_bound_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ActiveSet, "error", lambda self, x, variance, active: torch.zeros(len(x), dtype=F64))
    errors, _ = errors_along(cluster_and_a_far_mode(1e-6), 1e-3, towards_the_far_mode(7))
    assert float(errors.max()) > 1.0


def test_coinciding_modes_count_twice() -> None:
    stream = rng.stream(0, "twins")
    modes = torch.from_numpy(3 * stream.standard_normal((40, 4)))
    target = mixture(torch.cat([modes, modes[:20]]), std=0.0)
    path = [(modes[:5] + 0.3, v) for v in (1.0, 0.5, 0.2, 0.1, 0.02)]
    errors, _ = errors_along(target, 1e-6, path)
    assert float(errors.max()) <= 1e-6


def test_modes_that_all_coincide_are_any_one_of_them() -> None:
    errors, _ = errors_along(mixture(torch.ones(9, 3, dtype=F64), std=0.0), 1e-6, [(X, 1.0), (X + 5, 0.1)])
    assert float(errors.max()) <= 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_a_row_between_two_modes_as_noise_vanishes(dtype: torch.dtype) -> None:
    # The row sits on the border of two modes, one of which is chosen at last by a tiny step; the rest are far.
    least = 1e-7 if dtype == F64 else 0.05  # below, log-weights of 800 / v are rounded by more than the tolerance
    modes = torch.cat([torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), 20 + torch.randn(50, 2, generator=torch.Generator())])
    target = mixture(modes.to(dtype), std=0.0)
    path = [
        (torch.tensor([[side * v, 0.0], [0.9, 0.0]], dtype=dtype), np.array([v, v / 10]))
        for v, side in zip(np.geomspace(1, least, 20), itertools.cycle([0.5, -0.5, 0.0]), strict=False)
    ]
    errors, reads = errors_along(target, 1e-3, path)
    assert float(errors.max()) <= 1e-3 + 1e-3 * (dtype == torch.float32)
    assert sum(reads) < 20 * 2 * 52


# In the place of Exact


def test_with_a_label_it_is_exact() -> None:
    level = NoiseLevel(time=0.7)
    active = Active(TARGET, tolerance=0.1)
    assert torch.equal(active(X, level, 1), ExactDenoiser(TARGET)(X, level, 1))
    assert torch.equal(active(X, level, LABELS), ExactDenoiser(TARGET)(X, level, LABELS))
    assert active.evaluate(X, level, 1, memory="kept").memory == "kept"


def test_the_first_evaluation_is_a_full_scan() -> None:
    level = NoiseLevel(time=0.7)
    found = Active(TARGET, tolerance=0.1).evaluate(X, level)
    assert torch.equal(found.denoised, TARGET.denoised(X, level))
    assert found.modes_read >= 4 * 7


def test_a_tolerance_is_positive_and_memory_belongs_to_its_rows() -> None:
    with pytest.raises(ConfigError, match="must be > 0, got 0"):
        Active(TARGET, tolerance=0.0)
    level, active = NoiseLevel(time=0.7), Active(TARGET, tolerance=0.1)
    memory = active.evaluate(X, level).memory
    for wrong in ("kept", active.evaluate(X[:2], level).memory, scanned(random_mixture_of(0, modes=8), X, 0.7, 0.1)):
        with pytest.raises(ShapeError, match="active set of 4 rows"):
            active.evaluate(X, level, None, wrong)
    assert active.evaluate(X, level, None, memory).memory is not None


MODES = random_mixture(32, std=0.5, classes=2000, stream=rng.stream(0, "modes"))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("lam", "w"), [(0.0, 1.0), (0.0, 3.0), (0.0, -0.7), (1.0, 1.0)])
@pytest.mark.parametrize("labels", [0, torch.arange(24) % 3], ids=["one class", "three classes"])
def test_guided_runs_stay_beside_full_scans(lam: float, w: float, order: int, labels: int | torch.Tensor) -> None:
    target, offset = MODES.absorbed()
    levels = geometric(VarianceExploding(offset=offset), 50.0, 24)
    x = 7 * torch.from_numpy(rng.stream(0, "start").standard_normal((24, 32))).float()
    noise = BrownianPath(0, 24, 32, [level.variance for level in levels.levels], dtype=torch.float32)
    step, schedule = Exponential(lam=lam, order=order), Constant(value=w)
    runs = [
        sample(classifier_free(denoiser, schedule), x, levels, step=step, noise=noise, label=labels)
        for denoiser in (ExactDenoiser(target), Active(target, tolerance=1e-4))
    ]
    assert float((runs[0].x - runs[1].x).norm(dim=1).max()) < 1e-3
    # One set lasts to the end of a deterministic path; noise shows the bound more than it can use.
    assert runs[1].modes_read < (1.0 if lam == 0 and w > 0 else 1.3) * runs[0].modes_read


def test_a_data_set_in_which_everything_is_close() -> None:
    digits = load_digits()
    target = mixture(torch.from_numpy(digits.data / 4), std=0.0, labels=torch.from_numpy(digits.target))
    exact, active = FixedLabel(ExactDenoiser(target)), FixedLabel(Active(target, tolerance=1e-3))
    levels = geometric(VarianceExploding(), 50.0, 30, end=0.05)
    x = target.center + 7.5 * torch.from_numpy(rng.stream(0, "start").standard_normal((20, 64)))
    runs = [sample(one, x, levels, step=Exponential(lam=0.0, order=1)) for one in (exact, active)]
    assert float((runs[0].x - runs[1].x).norm(dim=1).max()) < 1e-2
    memory, state = None, x
    for level, next_level in itertools.pairwise(levels.levels):  # row by row, at the states of the run itself
        found = active.evaluate(state, level, None, memory)
        full = exact(state, level)
        assert float((found.denoised - full).norm(dim=1).max()) <= 1e-3
        memory, state = found.memory, transition(state, level, next_level, found.denoised, None, lam=0.0)
