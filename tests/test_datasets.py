"""Estimates in files: what is written is read back."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from orthoscope.datasets import dataset, estimates, grid, groups, read, stored, table, write
from orthoscope.errors import ConfigError
from orthoscope.quantities import Estimate


def test_estimates_come_back_from_a_file_with_what_stands_behind_them(tmp_path: Path) -> None:
    few = Estimate(value=0.5, stderr=0.1, n=12, dof=3)
    many = Estimate(value=0.25, stderr=0.2, n=4000)
    write(dataset(estimates("mean_shift", ["dim"], [few, many]), coords={"dim": [2, 4]}, spec="x"), tmp_path / "a.nc")
    found = read(tmp_path / "a.nc")
    assert found is not None
    assert stored(found, "mean_shift") == [few, many]
    assert stored(found.sel(dim=4), "mean_shift") == [many]
    assert found["mean_shift_dof"].attrs == {"units": "1", "long_name": "degrees of freedom of mean shift"}


def test_files_without_degrees_of_freedom_are_read() -> None:
    variables = {"overlap": (["dim"], [1.0]), "overlap_stderr": (["dim"], [np.float32(0.5)])}
    (found,) = stored(dataset(variables, coords={}, spec="x"), "overlap")
    assert (found.value, found.stderr, found.n, found.dof) == (1.0, pytest.approx(0.5), 0, None)


def test_a_group_that_cannot_be_read_is_not_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    data = xr.Dataset({"x": ("i", np.arange(3.0))})
    for group in ("good", "torn"):
        write(data, path, group=group)
    with h5py.File(path, "r+") as store:
        del store["torn"]["i"]  # which `x` still refers to
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"a\.nc: torn cannot be read and would be lost; choose another `out`"):
        write(data, path, group="good")
    assert path.read_bytes() == before
    write(data, path, group="torn")
    assert groups(path) == ["good", "torn"]
    xr.testing.assert_identical(read(path, group="torn"), data)


def test_rows_are_laid_out_over_the_product_of_their_axes() -> None:
    axes = {"rate": (0.1, 0.2), "dim": (8, 16, 32)}
    made = [
        {
            "index": k,
            "time": None if k == 1 else 0.5 * k,
            "regime": f"regime {k}",
            "shift": Estimate(value=float(k), stderr=0.1, n=k, dof=None if k == 2 else k),
            "path": (["level"], [k, k + 0.5]),
            "shares": (["label"], [Estimate(value=10.0 * k + j, stderr=0.2, n=3) for j in range(2)]),
        }
        for k in range(6)
    ]
    found = dataset(grid(made, axes), coords=axes, spec={})
    assert found.sel(rate=0.2, dim=16)["index"].item() == 4
    assert found["index"].dtype == int
    assert found["regime"].values.tolist() == [[f"regime {3 * i + j}" for j in range(3)] for i in range(2)]
    assert np.isnan(found["time"].values).tolist() == [[False, True, False], [False] * 3]
    assert found["shift"].dims == found["shift_dof"].dims == ("rate", "dim")
    assert stored(found, "shift") == [row["shift"] for row in made]
    assert found["path"].dims == ("rate", "dim", "level")
    assert found["path"].sel(rate=0.2, dim=8).values.tolist() == [3.0, 3.5]
    assert found["shares"].dims == ("rate", "dim", "label")
    assert found["shares"].sel(rate=0.1, dim=32).values.tolist() == [20.0, 21.0]


def test_a_table_is_a_grid_of_one_axis_and_may_be_empty() -> None:
    rows = [{"name": "a", "value": 1.0}, {"name": "b", "value": None}]
    found = table(rows, "point")
    assert found["name"][0] == ["point"]
    assert found["name"][1].tolist() == ["a", "b"]
    assert found["value"][1][0] == 1.0
    assert np.isnan(found["value"][1][1])
    assert table([], "point") == {}
