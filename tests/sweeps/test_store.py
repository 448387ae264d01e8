"""The store: what goes in comes out, labelled, at any moment, whoever computed it in whatever order."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from orthoscope.errors import ConfigError
from orthoscope.quantities import Estimate
from orthoscope.sweeps.plan import Plan
from orthoscope.sweeps.run import run_sweep
from orthoscope.sweeps.store import STATISTICS, Store, finished, read
from tests.sweeps.dummy import AXES, bits, make_plan, many, running, work


@pytest.mark.parametrize("axes", [AXES, {}], ids=["axes", "no axes"])
def test_what_goes_in_comes_out(tmp_path: Path, axes: dict[str, tuple[object, ...]]) -> None:
    plan = make_plan(axes)
    few = Estimate(value=1.0, stderr=0.5, n=3)  # neither an error within nor degrees of freedom
    given = {
        cell.index: work(plan, cell) | ({"mean_shift": few} if sum(cell.index) == 0 else {}) for cell in plan.cells()
    }
    run_sweep(plan, tmp_path, work=lambda _, cell: given[cell.index])
    assert Store(tmp_path / "results.zarr").plan == plan
    found = read(tmp_path)
    for index, results in given.items():
        estimate = results["mean_shift"]
        for name in STATISTICS:
            variable = "mean_shift" if name == "value" else f"mean_shift_{name}"
            expected = getattr(estimate, name)
            np.testing.assert_equal(found[variable].values[index], np.nan if expected is None else expected)
        for name in ("mean_shift_mean_field", "speciation_time"):
            np.testing.assert_equal(found[name].values[index], results[name])


def test_xarray_reads_the_store_itself(tmp_path: Path) -> None:
    plan = make_plan()
    run_sweep(plan, tmp_path, work=work)
    for options in ({}, {"consolidated": False}):
        with xr.open_zarr(tmp_path / "results.zarr", **options) as opened:
            estimates = opened["estimates"]
            assert estimates.dims == ("rate", "schedule", "dim", "quantity", "statistic")
            chosen = estimates.sel(rate=0.2, schedule="constant:1", dim=16, quantity="mean_shift", statistic="value")
            cell = next(c for c in plan.cells() if list(c.coords.values()) == [0.2, "constant:1", 16])
            assert float(chosen) == work(plan, cell)["mean_shift"].value
            assert opened["rate"].attrs["units"] == "nats per dimension"
            assert opened.attrs["schema"] == 2


def test_the_dataset_has_names_units_and_errors_and_can_be_saved(tmp_path: Path) -> None:
    run_sweep(make_plan(), tmp_path, work=work)
    result = read(tmp_path)
    sampled = {"mean_shift", "mean_shift_stderr", "mean_shift_n", "mean_shift_stderr_within", "mean_shift_dof"}
    assert set(result.data_vars) == {"finished", *sampled, "mean_shift_mean_field", "speciation_time"}
    assert bool(result["finished"].all())
    assert result["mean_shift_stderr"].attrs["long_name"] == "standard error of mean shift"
    assert (result["mean_shift_n"] == 100).all()
    result.to_netcdf(tmp_path / "saved.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "saved.nc", engine="h5netcdf") as saved:
        xr.testing.assert_equal(saved, result)


@pytest.mark.slow
def test_readers_see_whole_cells_while_the_study_runs(tmp_path: Path) -> None:
    plan, seen = make_plan(many()), []
    expected = {cell.index: work(plan, cell)["mean_shift"].value for cell in plan.cells()}
    out = tmp_path / "out"
    with running(plan, out, nap=0.02) as process:
        while process.is_alive():
            if not (out / "results.zarr").exists():
                time.sleep(0.01)
                continue
            result = read(out)
            with xr.open_zarr(out / "results.zarr") as opened:
                opened.load()
            done = result["finished"].values
            seen.append(int(done.sum()))
            for index in zip(*np.nonzero(done), strict=True):
                assert result["mean_shift"].values[index] == expected[tuple(map(int, index))]
    assert seen == sorted(seen)
    assert len({count for count in seen if 0 < count < plan.size}) >= 3


def test_the_same_bits_with_more_workers(tmp_path: Path) -> None:
    run_sweep(make_plan(), tmp_path / "one", work=work)
    run_sweep(make_plan(), tmp_path / "more", workers=3, work=work)
    assert bits(tmp_path / "one") == bits(tmp_path / "more")


def test_the_same_numbers_in_any_order(tmp_path: Path) -> None:
    run_sweep(make_plan(), tmp_path / "one", work=work)
    turned = {name: values[::-1] for name, values in reversed(AXES.items())}
    run_sweep(make_plan(turned), tmp_path / "turned", work=work)
    one, other = read(tmp_path / "one"), read(tmp_path / "turned")
    xr.testing.assert_identical(
        one.drop_attrs(), other.transpose(*AXES).sel({name: list(values) for name, values in AXES.items()}).drop_attrs()
    )


def test_progress_counts_what_was_there(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    run_sweep(make_plan({"dim": (1, 2)}), tmp_path, work=work)
    run_sweep(make_plan({"dim": (1, 2, 3)}), tmp_path, work=work, progress=lambda *call: calls.append(call))
    assert calls == [(2, 3), (3, 3)]


def test_unusable_folders(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is no store of a sweep"):
        read(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write .*file: .*choose another `out`"):
        run_sweep(make_plan(), tmp_path / "file", work=work)
    (tmp_path / "results.zarr").mkdir()
    with pytest.raises(ConfigError, match=r"holds results.zarr already, .*choose another `out`"):
        run_sweep(make_plan(), tmp_path, work=work)
    (tmp_path / "lock").touch()  # says that the folder is a sweep's
    with pytest.raises(ConfigError, match=r"is no store of a sweep .*choose another `out`"):
        run_sweep(make_plan(), tmp_path, work=work)


def meta(out: Path, name: str, change: Callable[[Any], object]) -> None:
    """Change metadata of the store, or put something else in their place."""
    path = out / "results.zarr" / name / "zarr.json"
    held = json.loads(path.read_text())
    put = change(held)
    path.write_text(put if isinstance(put, str) else json.dumps(held))


ARRAY, GROUP = "estimates", ""
FOREIGN: dict[str, tuple[str, Callable[[Any], object]]] = {
    "no JSON": (ARRAY, lambda held: "{"),
    "deep": (GROUP, lambda held: "[" * 99_999),
    "nothing": (GROUP, lambda held: "null"),
    "a group": (ARRAY, lambda held: json.dumps({"zarr_format": 3, "node_type": "group"})),
    "huge": (ARRAY, lambda held: held.update(shape=[10**12, *held["shape"][1:]])),
    "fewer cells": (ARRAY, lambda held: held.update(shape=[1, *held["shape"][1:]])),
    "huge pieces": (ARRAY, lambda held: held["chunk_grid"]["configuration"].update(chunk_shape=[10**9] * 5)),
    "no pieces": (ARRAY, lambda held: held["chunk_grid"]["configuration"].update(chunk_shape=[0] * 5)),
    "single precision": (ARRAY, lambda held: held.update(data_type="float32")),
    "no gaps": (ARRAY, lambda held: held.update(fill_value=0.0)),
    "unknown codec": (ARRAY, lambda held: held.update(codecs=[{"name": "zip"}])),
    "nested axis": (GROUP, lambda held: held["attributes"]["plan"]["axes"].update(dim=[[1], [2], [3], [4]])),
    "quantities of none": (GROUP, lambda held: held["attributes"]["plan"].update(quantities=[{}])),
    "fixed nothing": (GROUP, lambda held: held["attributes"]["plan"].update(fixed=None)),
}


@pytest.mark.parametrize("how", FOREIGN)
def test_foreign_metadata_is_one_line_and_changes_nothing(how: str, tmp_path: Path) -> None:
    run_sweep(make_plan({"dim": (1, 2)}), tmp_path, work=work)
    meta(tmp_path, *FOREIGN[how])
    before = {path: path.read_bytes() for path in (tmp_path / "results.zarr").rglob("*") if path.is_file()}
    for open_it in (lambda: read(tmp_path), lambda: run_sweep(make_plan({"dim": (1, 2)}), tmp_path, work=work)):
        with pytest.raises(ConfigError, match=r"results\.zarr") as told:
            open_it()
        assert len(str(told.value).splitlines()) == 1
    assert before == {path: path.read_bytes() for path in before}


def test_what_is_no_file_is_missing_or_refused(tmp_path: Path) -> None:
    plan = make_plan({"dim": (1, 2)})
    run_sweep(plan, tmp_path, work=work)
    (cell, other) = sorted(
        path for path in (tmp_path / "results.zarr" / "estimates" / "c").rglob("*") if path.is_file()
    )
    cell.unlink()
    cell.symlink_to(cell.name)
    assert read(tmp_path)["finished"].values.tolist() == [False, True]
    other.unlink()
    os.mkfifo(other)
    with pytest.raises(ConfigError, match="is a pipe; expected a cell"):
        run_sweep(plan, tmp_path, work=work)
    shutil.rmtree(tmp_path / "results.zarr")
    (tmp_path / "results.zarr").symlink_to("results.zarr")
    with pytest.raises(ConfigError, match="is no store of a sweep"):
        run_sweep(plan, tmp_path, work=work)


def test_an_unfinished_cell_is_nan(tmp_path: Path) -> None:
    def half(plan: Plan, cell: object) -> object:
        if cell.coords["dim"] > 16:
            raise ValueError("not today")
        return work(plan, cell)

    run_sweep(make_plan(), tmp_path, work=half)
    result = read(tmp_path)
    assert result["finished"].sel(dim=[8, 16]).all()
    assert not result["finished"].sel(dim=[32, 64]).any()
    assert result["mean_shift"].sel(dim=[32, 64]).isnull().all()
    assert not finished(np.full((2, 3, len(STATISTICS)), np.nan)).any()
