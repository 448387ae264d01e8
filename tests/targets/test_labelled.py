"""Labelled data from files: read without unpickling, checked, and the same mixture from either format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orthoscope.errors import ConfigError
from orthoscope.targets.bundled import bundled_digits
from orthoscope.targets.datafiles import read_labelled


def test_the_digits_are_bundled() -> None:
    data = read_labelled("digits")
    assert data.x.shape == (1797, 8, 8)
    assert np.array_equal(data.labels, bundled_digits().labels)
    assert (data.x.min(), data.x.max()) == (0.0, 16.0)
    again = data.standardized()
    assert again.scale == pytest.approx(1.0, rel=1e-12)
    np.testing.assert_allclose(again.x * data.scale + data.center, data.x, atol=1e-12)


def test_csv_and_npz_give_the_same_mixture(tmp_path: Path) -> None:
    stream = np.random.default_rng(1)
    points, labels = stream.standard_normal((40, 3)), np.repeat([2, 7], 20)
    np.savez(tmp_path / "a.npz", x=points, y=labels)
    head = "a,b,c,label\n"
    rows = "\n".join(",".join(map(repr, [*map(float, p), int(k)])) for p, k in zip(points, labels, strict=True))
    (tmp_path / "a.csv").write_text(head + rows + "\n")
    one, other = (read_labelled(tmp_path / name).standardized().mixture() for name in ("a.npz", "a.csv"))
    assert torch.equal(one.table, other.table)
    assert one.std == other.std
    assert float(one.centroids.var(0, correction=0).mean()) == pytest.approx(1.0, rel=1e-5)


def test_points_keep_their_shape_and_type(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((4, 1, 2, 2), dtype=np.uint8), labels=np.array([0, 1, 0, 1], dtype=np.uint8))
    data = read_labelled(tmp_path / "a.npz")
    assert data.x.shape == (4, 1, 2, 2)
    assert data.labels.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"y": np.zeros(2)}, "expected arrays x"),
        ({"x": np.zeros((4, 2))}, r"and labels \(or y\), .* got x"),
        ({"x": np.ones((4, 2)), "y": np.arange(3)}, r"got float64 \(4, 2\) and int64 \(3,\)"),
        ({"x": np.array([["a"], ["b"]]), "y": np.arange(2)}, "got <U1"),
        ({"x": np.full((4, 2), np.inf), "y": np.arange(4) % 2}, "4 of 4 points hold NaN or infinity"),
        ({"x": np.eye(4), "y": np.full(4, 1e30)}, "whole numbers below"),
        ({"x": np.eye(4), "y": np.arange(4) / 3}, "whole numbers"),
        ({"x": np.eye(4), "y": np.array(["a", "b", "a", "b"])}, "one whole number per row, got <U1"),
        ({"x": np.array([[{}], [{}]]), "labels": np.array([0, 1])}, "got object"),
    ],
)
def test_unusable_data_are_refused_in_one_line(content: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", **content)
    with pytest.raises(ConfigError, match=message) as refused:
        read_labelled(tmp_path / "bad.npz")
    assert "\n" not in str(refused.value)


def test_points_that_are_all_the_same_cannot_be_scaled(tmp_path: Path) -> None:
    np.savez(tmp_path / "same.npz", x=np.ones((4, 2)), y=np.arange(4) % 2)
    with pytest.raises(ConfigError, match="all points are the same"):
        read_labelled(tmp_path / "same.npz").standardized()


@pytest.mark.parametrize(
    ("labels", "message"),
    [([0, 0, 2, 2], "without a gap"), ([0, 0, 0, 0], "at least two"), ([0, 0, 1], "single point")],
)
def test_classes_must_be_numbered_where_that_is_asked(tmp_path: Path, labels: list[int], message: str) -> None:
    np.savez(tmp_path / "gap.npz", x=np.eye(len(labels)), labels=np.array(labels))
    with pytest.raises(ConfigError, match=message):
        read_labelled(tmp_path / "gap.npz").check_numbered()


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_labelled(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="digits, glyphs, FILE"):
        read_labelled("cifar10")
    (tmp_path / "bad.csv").write_text("1,2,3\n4,x,6\n")
    with pytest.raises(ConfigError, match="label in the last column"):
        read_labelled(tmp_path / "bad.csv")
    (tmp_path / "bad.npz").write_text("no archive")
    with pytest.raises(ConfigError, match=r"cannot read .* expected arrays x"):
        read_labelled(tmp_path / "bad.npz")
