"""Estimates in files: what is written is read back."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from orthoscope.datasets import dataset, estimates, groups, read, stored, write
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
