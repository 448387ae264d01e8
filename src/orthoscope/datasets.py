"""Results as labelled datasets: names, units and errors by one convention (docs: schema).

A measured variable `X` has its standard error beside it as `X_stderr`, the number of trajectories as `X_n` and its
degrees of freedom, NaN if they are many, as `X_dof`; where modes are drawn at random, `X_stderr_within` is the error
with the modes held fixed. Its predictions are `X_mean_field` (infinite dimension) and `X_finite_dim`. Units and long
names come from `quantities`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from orthoscope import __version__, writing
from orthoscope.errors import ConfigError
from orthoscope.quantities import QUANTITIES, Estimate
from orthoscope.reading import opened, parse_json
from orthoscope.serialize import content_hash, dumps, to_dict

SUFFIXES = {
    "_stderr_within": "standard error from trajectories alone of ",
    "_stderr": "standard error of ",
    "_n": "trajectories behind ",
    "_dof": "degrees of freedom of ",
    "_mean_field": "mean-field ",
    "_finite_dim": "finite-dimension ",
}
_MOST_BYTES = 4 << 30  # of a result
_PARTS = ("stderr", "stderr_within", "n", "dof")


def dataset(
    variables: Mapping[str, tuple[Sequence[str], Any]], *, coords: Mapping[str, Any], spec: Any, **attrs: Any
) -> xr.Dataset:
    """A dataset with units, long names, version and the specification that made it.

    Args:
        variables: Dimension names and values by quantity name, perhaps with one of `SUFFIXES`.
        coords: Values by dimension name.
        spec: The study; stored as JSON.
        **attrs: Further attributes.
    """
    result = xr.Dataset(
        {name: (tuple(dims), np.asarray(values)) for name, (dims, values) in variables.items()},
        coords={name: ([name], np.asarray(values)) for name, values in coords.items()},
    )
    for name in (*result.data_vars, *result.coords):
        result[name].attrs.update(_labels(str(name)))
    written = to_dict(spec, strict=False)
    result.attrs |= {
        "orthoscope": __version__,
        "spec": dumps(written, indent=None),
        "spec_hash": content_hash(written),
        **attrs,
    }
    return result


def _labels(name: str) -> dict[str, str]:
    suffix = next((end for end in SUFFIXES if name.endswith(end)), "")
    quantity = QUANTITIES.get(name.removesuffix(suffix))
    if quantity is None:
        return {}
    unit = "1" if suffix in ("_n", "_dof") else quantity.unit
    return {"units": unit, "long_name": SUFFIXES.get(suffix, "") + quantity.long_name}


def estimates(name: str, dims: Sequence[str], values: Any) -> dict[str, tuple[Sequence[str], Any]]:
    """A variable, its standard error and what stands behind it, from an array (nested lists) of estimates."""
    array = np.asarray(values, dtype=object)
    pick = np.vectorize(lambda estimate, part: np.nan if (found := getattr(estimate, part)) is None else found, [float])
    parts = {part: pick(array, part) for part in _PARTS}
    if np.isnan(parts["stderr_within"]).all():
        del parts["stderr_within"]
    return {name: (dims, pick(array, "value"))} | {f"{name}_{part}": (dims, found) for part, found in parts.items()}


def stored(data: xr.Dataset, name: str) -> list[Estimate]:
    """The estimates of one variable, in order of its elements; of files without them, n is 0 and dof None."""
    nothing = np.full(data[name].shape, np.nan)
    keys = (name, *(f"{name}_{part}" for part in _PARTS))
    columns = [np.ravel(data[key].values if key in data else nothing) for key in keys]
    return [
        Estimate(
            value=float(value),
            stderr=float(stderr),
            stderr_within=None if np.isnan(within) else float(within),
            n=0 if np.isnan(n) else int(n),
            dof=None if np.isnan(dof) else int(dof),
        )
        for value, stderr, within, n, dof in zip(*columns, strict=True)
    ]


def table(rows: Iterable[Mapping[str, Any]], dim: str) -> dict[str, tuple[Sequence[str], Any]]:
    """Variables along one dimension from rows, as `grid` takes them."""
    listed = list(rows)
    return grid(listed, {dim: listed})


def grid(rows: Iterable[Mapping[str, Any]], axes: Mapping[str, Sequence[Any]]) -> dict[str, tuple[Sequence[str], Any]]:
    """Variables over all axes from rows in the order of their product, the last axis running fastest; none of no rows.

    Rows hold numbers, texts, None for NaN, estimates, or a pair of further dimensions and values over them.
    """
    listed, shape = list(rows), [len(values) for values in axes.values()]
    variables: dict[str, tuple[Sequence[str], Any]] = {}
    for name, first in (listed or [{}])[0].items():
        within, _ = first if isinstance(first, tuple) else ((), first)
        column = [row[name][1] if within else row[name] for row in listed]
        values = np.asarray([np.nan if value is None else value for value in column])
        values = values.reshape(*shape, *values.shape[1:])
        dims = [*axes, *within]
        variables |= estimates(name, dims, values) if values.dtype == object else {name: (dims, values)}
    return variables


def labelled(
    numbers: Mapping[str, Any],
    *,
    spec: Any,
    variables: Mapping[str, tuple[Sequence[str], Any]] | None = None,
    coords: Mapping[str, Any] | None = None,
    **attrs: Any,
) -> xr.Dataset:
    """A dataset of the numbers that a command tells, which also keeps them whole, as JSON, in the attribute `numbers`.

    Args:
        numbers: By name. Numbers and estimates become variables, texts attributes.
        spec: What made them.
        variables: Further variables, as in `dataset`.
        coords: Values by dimension name.
        **attrs: Further attributes.
    """
    found: dict[str, tuple[Sequence[str], Any]] = {}
    for name, value in numbers.items():
        match value:
            case {"value": _, "stderr": _}:
                found |= estimates(name, (), Estimate(**{part: value.get(part) for part in ("value", *_PARTS)}))
            case bool() | int() | float():
                found[name] = ((), value)
            case None if name in QUANTITIES:
                found[name] = ((), np.nan)
    texts = {name: value for name, value in numbers.items() if isinstance(value, str)}
    told = {"numbers": dumps(numbers, indent=None)} | texts | attrs
    return dataset(found | dict(variables or {}), coords=coords or {}, spec=spec, **told)


def write(result: xr.Dataset, path: Path, *, group: str | None = None) -> None:
    """Write a dataset to a NetCDF file, or into one group of it; other groups keep what they hold.

    Raises:
        ConfigError: if the file cannot be written, or is there and its groups cannot be kept; then it is as it was.
    """
    kept: dict[str | None, xr.Dataset] = {}
    if group is not None and path.exists():
        if not (names := groups(path)):
            raise ConfigError(f"{path} is there already and has no groups, or is damaged; choose another `out`")
        for name in sorted(set(names) - {group}):
            if (one := read(path, group=name)) is None:
                raise ConfigError(f"{path}: {name} cannot be read and would be lost; choose another `out`")
            kept[name] = one
    write_all(kept | {group: result}, path)


def write_all(results: Mapping[str | None, xr.Dataset], path: Path) -> None:
    """Write datasets as the groups of one NetCDF file, None for its root.

    The file is put together in memory: HDF5 does not survive a full disk.

    Raises:
        ConfigError: if the file cannot be written.
    """
    buffer = io.BytesIO()
    for group, result in results.items():
        # Axes first: every variable on an axis that is written later would have to be tied to it anew.
        ordered = result.coords.to_dataset().assign(result.data_vars).assign_attrs(result.attrs)
        ordered.to_netcdf(buffer, mode="a" if buffer.getbuffer() else "w", group=group, engine="h5netcdf")
    writing.write(path, buffer.getbuffer())


def attribute(data: xr.Dataset, name: str, empty: str = "{}") -> Any:
    """What an attribute holds as JSON; of one that is not there, what the empty text holds.

    Raises:
        ConfigError: if it holds something else.
    """
    return parse_json(str(data.attrs.get(name) or empty), f"the attribute {name} of results")


def groups(path: Path) -> list[str]:
    """Names of the groups in a file; none if it is not there or unreadable."""
    try:
        with opened(path) as stream, h5py.File(stream, "r") as store:
            return [name for name, item in store.items() if isinstance(item, h5py.Group)]
    except ConfigError:
        return []


def read(path: Path, *, group: str | None = None) -> xr.Dataset | None:
    """A dataset from a file or group, in memory; None if it is not there, unreadable, or larger than any result."""
    try:
        with opened(path) as stream, xr.open_dataset(stream, group=group, engine="h5netcdf") as stored:
            return stored.load() if stored.nbytes <= _MOST_BYTES else None
    except ConfigError:
        return None
