from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.metrics import frechet_distance
from orthoscope.metrics.contributions import blocks_of, influence
from orthoscope.metrics.fidelity import Reference, coverage_of_equals, frechet_between, manifolds
from tests.stat.expect import expect_estimate, expect_mean, expect_rate

seeds = st.integers(0, 2**32)


def by_loops(x: np.ndarray, y: np.ndarray, k: int) -> dict[str, float]:
    """The four measures as their papers define them, one pair at a time."""

    def radius(points: np.ndarray, i: int) -> float:
        return sorted(math.dist(points[i], other) for j, other in enumerate(points) if j != i)[k - 1]

    of_x, of_y = [radius(x, i) for i in range(len(x))], [radius(y, i) for i in range(len(y))]
    in_y = [[math.dist(a, b) <= r for b, r in zip(y, of_y, strict=True)] for a in x]
    in_x = [[math.dist(b, a) <= r for a, r in zip(x, of_x, strict=True)] for b in y]
    return {
        "precision": sum(any(row) for row in in_y) / len(x),
        "recall": sum(any(row) for row in in_x) / len(y),
        "density": sum(sum(row) for row in in_y) / (k * len(x)),
        "coverage": sum(any(row[j] for row in in_y) for j in range(len(y))) / len(y),
    }


# Definitions


@settings(max_examples=10)
@given(seed=seeds, k=st.sampled_from([1, 3]), n=st.sampled_from([13, 30, 41]))
def test_the_four_measures_and_their_errors_are_those_of_loops(seed: int, k: int, n: int) -> None:
    source = np.random.default_rng(seed)
    x, y = 0.7 * source.standard_normal((n, 3)) + 0.3, source.standard_normal((24, 3))
    found, whole = manifolds(x, y, k=k)._asdict(), by_loops(x, y, k)
    blocks = blocks_of(n)
    rest = [by_loops(np.delete(x, block, 0), y, k) for block in (blocks[0], blocks[-1])]
    for name, value in whole.items():
        assert found[name].value == pytest.approx(value, abs=1e-12)
        # What leaving out the first and the last block changes, from the contributions.
        shares = [len(blocks[0]) / n, len(blocks[-1]) / n]
        change = [(1 - share) * (value - part[name]) for share, part in zip(shares, rest, strict=True)]
        apart = (found[name].values[0] - found[name].values[-1]) / len(blocks)
        assert apart == pytest.approx(change[0] - change[1], abs=1e-12)


def test_what_is_known_of_a_reference_serves_all_samples(seed: int) -> None:
    draws = np.random.default_rng(seed)
    x, y = draws.standard_normal((2, 30, 3)), draws.standard_normal((24, 3))
    reference = Reference(rows=y)
    for one in x:
        found, whole = manifolds(one, reference, k=3), manifolds(one, y, k=3)
        for part, same in zip(found, whole, strict=True):
            np.testing.assert_array_equal(part.values, same.values)


def test_tables_in_pieces_are_tables(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    x, y = np.random.default_rng(seed).standard_normal((2, 90, 4))
    whole = manifolds(x, y)
    monkeypatch.setattr("orthoscope.metrics.fidelity._AT_ONCE", 700)
    for one, other in zip(whole, manifolds(x, y), strict=True):
        np.testing.assert_array_equal(one.values, other.values)


@given(seed=seeds, scale=st.floats(0.1, 10))
def test_units_directions_and_origins(seed: int, scale: float) -> None:
    x, y = np.random.default_rng(seed).standard_normal((2, 40, 4))
    turn = stats.ortho_group.rvs(4, random_state=np.random.default_rng(seed))
    for one, other in zip(manifolds(x, y), manifolds(scale * x @ turn + 9, scale * y @ turn + 9), strict=True):
        np.testing.assert_allclose(one.values, other.values, atol=1e-9)
    first, second = frechet_between(x, y), frechet_between(scale * x @ turn + 9, scale * y @ turn + 9)
    assert second.value == pytest.approx(scale**2 * first.value, rel=1e-6, abs=1e-9)


def test_a_copy_is_perfect_and_a_far_set_is_nothing(seed: int) -> None:
    y = np.random.default_rng(seed).standard_normal((60, 4))
    copy = manifolds(y, y)
    assert (copy.precision.value, copy.recall.value, copy.coverage.value) == pytest.approx((1, 1, 1))
    assert np.ptp(copy.precision.values) < 1e-12
    assert [m.value for m in manifolds(y + 100, y)] == pytest.approx([0, 0, 0, 0])
    constant = np.full((30, 3), 0.1)
    assert [m.value for m in manifolds(constant, constant)] == pytest.approx([1, 1, 6, 1])


def test_an_outlier_fools_precision_and_not_density() -> None:
    # A reference on a line with one far point, whose ball reaches everything: a line of samples beside it.
    y = np.array([[float(i), 0.0] for i in range(30)] + [[1000.0, 0.0]])
    x = np.array([[500.0 + i, 0.0] for i in range(30)])
    found = manifolds(x, y)
    assert found.precision.value == pytest.approx(1)
    assert found.density.value == pytest.approx(1 / 5)
    assert found.coverage.value == pytest.approx(1 / 31)


def test_collapsed_samples_keep_precision_and_lose_recall_and_coverage(seed: int) -> None:
    x, y = np.random.default_rng(seed).standard_normal((2, 200, 3))
    found = manifolds(0.05 * x, y)
    assert found.precision.value == pytest.approx(1)
    assert found.recall.value < 0.1
    assert found.coverage.value < 0.5


# One law: values known whatever it is


@pytest.mark.slow
@pytest.mark.parametrize(("n", "references", "k"), [(30, 40, 5), (40, 20, 3)])
def test_density_and_coverage_of_one_law_are_known(n: int, references: int, k: int, seed: int) -> None:
    source = np.random.default_rng(seed)
    found = [
        manifolds(source.standard_cauchy((n, 2)), source.standard_cauchy((references, 2)), k=k) for _ in range(250)
    ]
    for name, exact in (("density", 1.0), ("coverage", coverage_of_equals(n, references, k=k))):
        values = [getattr(m, name).value for m in found]
        sd = float(np.std(values, ddof=1))
        expect_mean(values, exact, sd=sd, detect=0.65 * sd, false_fail=5e-7)


def test_coverage_of_equals_counts_arrangements() -> None:
    # Of 2 other references and 2 samples, the nearest is a reference in half of all orders, both nearest in a sixth.
    assert coverage_of_equals(2, 3, k=1) == pytest.approx(1 / 2)
    assert coverage_of_equals(2, 3, k=2) == pytest.approx(5 / 6)


@pytest.mark.slow
def test_intervals_over_blocks_cover_at_a_given_reference(seed: int) -> None:
    # Leaving out neighbors overstates the errors of recall and coverage: theirs cover more often.
    source = np.random.default_rng(seed)
    reference = source.standard_normal((120, 4))
    found = [manifolds(1.2 * source.standard_normal((120, 4)), reference) for _ in range(400)]
    for name, rate in (("precision", 0.97), ("density", 0.94), ("recall", 0.98), ("coverage", 0.98)):
        parts = [getattr(m, name) for m in found]
        truth = float(np.mean([c.value for c in parts]))
        hits = [c.measure(source, over="images", resamples=200).holds(truth) for c in parts]
        expect_rate(hits, rate, detect=0.2, false_fail=2.5e-7)


# Fréchet distance


@given(seed=seeds, n=st.sampled_from([8, 20, 60]), dim=st.sampled_from([2, 5, 12]))
def test_the_frechet_distance_is_its_formula(seed: int, n: int, dim: int) -> None:
    source = np.random.default_rng(seed)
    x, y = source.standard_normal((n, dim)) + 1, 2 * source.standard_normal((n, dim))

    def plain(rows: np.ndarray) -> float:
        a, b = np.cov(x[rows].T), np.cov(y[rows].T)
        values, vectors = np.linalg.eigh(a)
        root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
        cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ b @ root), 0, None)).sum()
        gap = x[rows].mean(0) - y[rows].mean(0)
        return float(gap @ gap + np.trace(a) + np.trace(b) - 2 * cross) / dim

    rows, blocks = np.arange(n), blocks_of(n)
    rest = np.array([plain(np.delete(rows, block)) for block in blocks])
    share = np.array([len(block) for block in blocks]) / n
    expected = len(blocks) * plain(rows) - (1 - share) @ rest
    if n % len(blocks) == 0:  # both jackknives cut the same blocks
        assert frechet_between(x, y).value == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert influence(plain(rows), rest, share).mean() == pytest.approx(plain(rows), rel=1e-9)


def test_the_frechet_distance_of_known_moments(seed: int) -> None:
    # Two sets whose moments are exactly given, so that the plain distance is the closed form.
    def exactly(mean: float, covariance: np.ndarray) -> np.ndarray:
        raw = np.random.default_rng(seed).permutation(np.random.default_rng(seed + mean).standard_normal((4000, 3)))
        raw = (raw - raw.mean(0)) @ np.linalg.inv(linalg.sqrtm(np.cov(raw.T)))
        return mean + raw @ linalg.sqrtm(covariance)

    a = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.3], [0.0, 0.3, 0.7]])
    b = np.diag([0.5, 3.0, 1.0])
    closed = 3 * 4.0 + np.trace(a + b - 2 * linalg.sqrtm(linalg.sqrtm(b) @ a @ linalg.sqrtm(b)).real)
    assert frechet_between(exactly(1, a), exactly(3, b)).value == pytest.approx(closed / 3, abs=5e-3)
    known = frechet_distance(exactly(1, a), np.full(3, 3.0), b)
    assert known.value == pytest.approx(closed / 3, abs=5e-3)


@pytest.mark.slow
def test_two_sets_of_one_law_are_at_no_distance_on_average(seed: int) -> None:
    # The plain distance, the negative control, is (dim + 5)/(2 n), twice that to a known law.
    source, dim, n = np.random.default_rng(seed), 4, 200
    found, plain = [], []
    for _ in range(150):
        x, y = source.standard_normal((2, n, dim))
        found.append(frechet_between(x, y).value)
        a, b = np.cov(x.T), np.cov(y.T)
        gap = x.mean(0) - y.mean(0)
        plain.append((gap @ gap + np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)) / dim)
    bias = (dim + 5) / (2 * n)
    expect_mean(found, 0.0, sd=float(np.std(found, ddof=1)), detect=bias / 2)
    error = float(np.std(plain, ddof=1) / math.sqrt(150))
    expect_estimate(np.mean(plain), error, bias, bias=0.05 * bias, detect=bias / 2)


def test_fewer_images_than_features_still_have_a_distance(seed: int) -> None:
    x, y = np.random.default_rng(seed).standard_normal((2, 20, 100))
    near, far = frechet_between(x, y).value, frechet_between(x + 1, y).value
    assert near < far


# Mistakes


def test_what_cannot_be_compared_is_refused() -> None:
    x, y = np.random.default_rng(0).standard_normal((2, 20, 3))
    for compare in (manifolds, frechet_between):
        with pytest.raises(ShapeError, match="same features, got 3 and 2 per image"):
            compare(x, y[:, :2])
        with pytest.raises(ConfigError, match="NaN or infinity"):
            compare(x, np.full_like(y, np.nan))
    with pytest.raises(ConfigError, match="20 neighbors need more images: expected 1 <= k < 19 for 20 against 20"):
        manifolds(x, y, k=20)
    with pytest.raises(ConfigError, match="expected equal ones, got 20 and 19; draw as many of the larger set"):
        frechet_between(x, y[:-1])
    with pytest.raises(ConfigError, match="at least 8 rows"):
        frechet_between(x[:7], y[:7])
    with pytest.raises(ConfigError, match="expected 1 <= k < 3 references and a sample, got k = 3, 2 samples"):
        coverage_of_equals(2, 3, k=3)
