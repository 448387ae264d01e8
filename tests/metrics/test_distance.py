from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi2

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.metrics import ClassImages, Contributions
from tests.stat.expect import expect_estimate, expect_rate

DIM, CENTERS = 8, 3 * np.eye(3, 8)


def drawn(source: np.random.Generator, each: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Images of three Gaussian classes, and their classes."""
    labels = np.repeat(np.arange(3), each)
    return CENTERS[labels] + scale * source.standard_normal((len(labels), DIM)), labels


def plain(x: np.ndarray, labels: np.ndarray, y: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Squared distances per coordinate of y from x, by a covariance that is not shrunk."""
    means = {c: x[labels == c].mean(0) for c in np.unique(labels)}
    e = x - np.array([means[c] for c in labels])
    inverse = np.linalg.inv(e.T @ e / (len(x) - len(means)))
    gaps = y - np.array([means[c] for c in own])
    return np.asarray(((gaps @ inverse) * gaps).sum(1) / x.shape[1])


@pytest.fixture
def unshrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sklearn.covariance.ledoit_wolf_shrinkage", lambda *rows, **how: 0.0)


# Values


@pytest.mark.parametrize(("scale", "moved"), [(1.0, 0.0), (2.0, 0.0), (1.0, 1.5), (0.5, 1.0)])
def test_a_gaussian_class_scaled_and_displaced_has_closed_forms(seed: int, scale: float, moved: float) -> None:
    source = np.random.default_rng(seed)
    real = ClassImages(rows=(made := drawn(source, 3000))[0], labels=made[1])
    x, labels = drawn(source, 3000, scale)
    x[:, 7] += moved  # where no class differs from another
    found = real.distances(x, labels)
    distance = found.class_distance.measure(source, over="images")
    expect_estimate(distance.value, distance.stderr, math.hypot(scale, moved / DIM**0.5), bias=0.015, detect=0.12)
    # The border is that of the chi-square law, up to the error of a quantile of 12,000 images.
    assert real.border * DIM == pytest.approx(chi2.ppf(0.99, DIM), rel=0.03)
    if moved == 0:
        far = found.far_share.measure(source, over="images")
        border = chi2.sf(real.border * DIM / scale**2, DIM)
        expect_estimate(far.value, far.stderr, border, bias=0.01, detect=0.1)


def test_novelty_is_that_of_unseen_images_and_none_for_copies(seed: int) -> None:
    source = np.random.default_rng(seed)
    x, labels = drawn(source, 60)
    unseen = drawn(source, 20)
    real = ClassImages(rows=x, labels=labels, unseen=unseen)
    by_hand = [np.linalg.norm(unseen[0][unseen[1] == c][:, None] - x[labels == c], axis=2).min(1) for c in range(3)]
    assert real.unseen_nearest == pytest.approx({c: near.mean() for c, near in enumerate(by_hand)}, rel=1e-9)
    assert real.distances(x, labels).novelty.value == pytest.approx(0, abs=1e-6)
    assert real.real.novelty.value == pytest.approx(1, rel=1e-12)
    alone = ClassImages(rows=x, labels=labels)
    gaps = np.linalg.norm(x[labels == 1][:, None] - x[labels == 1], axis=2) + np.diag(np.full(60, np.inf))
    assert alone.unseen_nearest[1] == pytest.approx(gaps.min(1).mean(), rel=1e-9)
    assert alone.real.novelty.value == pytest.approx(1, rel=1e-12)
    assert alone.real.far_share.value == pytest.approx(0.01, abs=0.01)


@pytest.mark.usefixtures("unshrunk")
def test_leaving_an_image_out_is_measuring_without_it(seed: int) -> None:
    source = np.random.default_rng(seed)
    x, labels = drawn(source, 15)
    other = x + 0.3 * source.standard_normal(x.shape)  # made of the same noise
    real = ClassImages(rows=x, labels=labels)
    np.testing.assert_allclose(real.squares(other, labels), plain(x, labels, other, labels), rtol=1e-9)
    for rows in (x, other):
        found = real.squares(rows, labels, np.arange(len(x)))
        for k in (0, 17, 44):
            rest = np.arange(len(x)) != k
            expected = plain(x[rest], labels[rest], rows[[k]], labels[[k]])
            assert found[k] == pytest.approx(expected[0], rel=1e-9)


def test_shrinkage_lets_few_images_show_many_directions(seed: int) -> None:
    source = np.random.default_rng(seed)
    labels = np.repeat([0, 1], 12)
    real = ClassImages(rows=source.standard_normal((24, 100)), labels=labels)
    found = real.distances(source.standard_normal((24, 100)), labels).class_distance.value
    assert real.real.class_distance.value == pytest.approx(1, abs=0.1)
    assert found == pytest.approx(1, abs=0.1)


def test_the_distance_between_classes(seed: int) -> None:
    x, labels = drawn(np.random.default_rng(seed), 5000)
    # Three corners at 3 e_k: the squared distance from their mean is 9 x 2/3.
    assert ClassImages(rows=x, labels=labels).between(np.arange(3)) == pytest.approx(6 / DIM, rel=0.05)


# Intervals


@pytest.mark.slow
def test_intervals_of_distances_hold_the_truth_as_often_as_they_say(seed: int) -> None:
    source, hits = np.random.default_rng(seed), []
    real = ClassImages(rows=(made := drawn(source, 3000))[0], labels=made[1])
    for _ in range(300):
        found = real.distances(*drawn(source, 40, 1.3))
        hits.append(found.class_distance.measure(source, over="images", resamples=100).holds(1.3))
    expect_rate(hits, 0.945, detect=0.2)


def test_roots_parts_and_independent_differences(seed: int) -> None:
    source = np.random.default_rng(seed)
    one = Contributions(values=4 + source.random(60), groups=np.repeat([0, 1, 2], 20), grain=0.01)
    other = Contributions(values=1 + source.random(30), groups=np.repeat(["a", "b"], 15))
    assert one.root().value == pytest.approx(math.sqrt(one.value), rel=1e-12)
    assert [part.value for part in one.parts] == pytest.approx([v.mean() for v in one.strata], rel=1e-12)
    assert one.parts[0].grain == pytest.approx(0.03)
    gap = one.apart(other)
    assert gap.value == pytest.approx(one.value - other.value, rel=1e-12)
    errors = [part.measure(source, over="images").stderr for part in (gap, one, other)]
    assert errors[0] == pytest.approx(math.hypot(*errors[1:]), rel=1e-9)
    with pytest.raises(ConfigError, match="cannot take the root of 0"):
        Contributions(values=np.zeros(4), groups=np.zeros(4)).root()


# Bad input


def test_what_shows_no_distance_is_refused() -> None:
    x, labels = drawn(np.random.default_rng(0), 4)
    with pytest.raises(ConfigError, match=r"at least 2 real images of every class, got 1 of class 7; give more"):
        ClassImages(rows=np.vstack([x, x[:1]]), labels=np.append(labels, 7))
    with pytest.raises(ConfigError, match=r"2 images of 1 class.* show no covariance; give more"):
        ClassImages(rows=x[:2], labels=labels[:2])
    real = ClassImages(rows=x, labels=labels)
    with pytest.raises(ShapeError, match="expected 8 features per image as real ones have, got 5"):
        real.distances(x[:, :5], labels)
    with pytest.raises(ShapeError, match="one row of features for each group label"):
        real.distances(x, labels[:-1])
    with pytest.raises(ConfigError, match="there is no real image of class 9; give some, or leave the class out"):
        real.distances(x, labels + 9 * (labels == 0))
    with pytest.raises(ConfigError, match="unseen images of class 1 are missing, or copies"):
        ClassImages(rows=x, labels=labels, unseen=(x[:2] + 1, labels[:2])).distances(x, labels)
    with pytest.raises(ConfigError, match="images of a class do not vary"):
        ClassImages(rows=np.ones((6, 3)), labels=np.repeat([0, 1], 3)).squares(np.ones((1, 3)), np.zeros(1, int))
    with pytest.raises(ConfigError, match="features hold NaN"):
        ClassImages(rows=np.full((4, 2), np.nan), labels=np.zeros(4, int))
