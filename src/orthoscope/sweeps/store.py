"""One Zarr array holds a sweep, one chunk and so one file a cell: whole and with its checksum, or not there.

Dimensions are the axes, `quantity` and `statistic`. A cell is finished if its number of trajectories `n` is not NaN; a
result without sampling error has n = 0. `open_sweep` lays a store out for a plan, and carries finished cells over by
their settings when the plan has changed (docs: explanation/sweep).
"""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, Crc32cCodec

from orthoscope import __version__
from orthoscope.datasets import dataset
from orthoscope.errors import ConfigError, in_one_line
from orthoscope.quantities import QUANTITIES, Estimate
from orthoscope.reading import check_file, read_json
from orthoscope.serialize import plain
from orthoscope.sweeps.own import own_code
from orthoscope.sweeps.plan import Cell, Plan

SCHEMA = 2
READABLE = (1, 2)  # schema 1 is the same without checksums
STATISTICS = ("value", "stderr", "n", "stderr_within", "dof")
ARRAY = "estimates"
Block = NDArray[np.float64]
_N = STATISTICS.index("n")


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of the log is not of tasks that Ctrl-C cut short: what they were to write is not there."""
    return "zarr" not in record.getMessage()


class Store:
    """The array of one sweep on disk.

    Attributes:
        path: Folder of the Zarr store.
        plan: The plan it was laid out for.
        schema: Version of its layout.
        code: Fingerprints of what is one's own in the plan, by its text.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        """Open a store that is there.

        Raises:
            ConfigError: if it is not, or is of a schema this release cannot read.
        """
        self.path = path
        try:
            _check_files(path)
            group = zarr.open_group(path, mode="r+" if writable else "r", use_consolidated=False)
            self.schema = group.attrs.get("schema")
            if self.schema not in READABLE:
                raise ConfigError(_unreadable(path, group.attrs))
            self.plan = _stored_plan(group)
            self.code: dict[str, str] = group.attrs.get("code", {})  # type: ignore[assignment] # as it was written
            self._array: Any = group[ARRAY]
            _check_array(self._array, self.plan)
        except ConfigError:
            raise
        except Exception as error:  # whatever a damaged store makes its parser raise
            raise ConfigError(f"{path} is no store of a sweep ({in_one_line(error)}); choose another `out`") from error

    @classmethod
    def create(cls, path: Path, plan: Plan, block: Block | None = None) -> Store:
        """Lay out a store, and fill in cells that are known already."""
        group = zarr.create_group(path, attributes=_attributes(plan))
        shape = (len(plan.quantities), len(STATISTICS))
        array: Any = group.create_array(
            ARRAY,
            shape=(*plan.shape, *shape),
            chunks=(*(1,) * len(plan.shape), *shape),
            dtype="float64",
            fill_value=np.nan,
            serializer=BytesCodec(),
            compressors=[Crc32cCodec()],
            dimension_names=[*plan.axes, "quantity", "statistic"],
        )
        labels: dict[str, tuple[Any, ...]] = {**plan.axes, "quantity": plan.quantities, "statistic": STATISTICS}
        for name, values in labels.items():
            column = np.array(values)
            text = column.dtype.kind == "U"
            coordinate = group.create_array(
                name, shape=column.shape, dtype=str if text else column.dtype, dimension_names=[name],
                attributes=_label(name),
            )  # fmt: skip
            coordinate[:] = column.astype(object) if text else column
        if block is not None:
            array[...] = block
        with warnings.catch_warnings():  # one read instead of many, for those who can use it
            warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
            zarr.consolidate_metadata(group.store)
        return cls(path, writable=True)

    def write(self, cell: Cell, results: Mapping[str, Estimate | float]) -> None:
        """Store a finished cell.

        Raises:
            OSError: if it cannot be written; then nothing of it is there.
        """
        try:
            self._array[cell.index] = np.array([_row(results[name]) for name in self.plan.quantities])
        except KeyboardInterrupt:
            logging.getLogger("asyncio").addFilter(_is_news)
            raise

    @property
    def layout(self) -> tuple[Path, ...]:
        """What must stay in place while cells are written: a missing file of it would be made again, but empty."""
        return self.path, self.path / "zarr.json", self.path / ARRAY / "zarr.json"

    def lost(self, expected: int) -> int:
        """How many of the cells that should be finished are not, or cannot be read."""
        return expected - int(finished(self.load()[0]).sum())

    def load(self) -> tuple[Block, set[tuple[int, ...]]]:
        """All numbers, NaN where a cell is not finished, and the places of cells whose files are damaged."""
        try:
            return np.asarray(self._array[...]), set()
        except (ValueError, OSError):
            return self._load_one_by_one()

    def _load_one_by_one(self) -> tuple[Block, set[tuple[int, ...]]]:
        block = np.full(self._array.shape, np.nan)
        damaged = set()
        for index in np.ndindex(self.plan.shape):
            try:
                block[index] = self._array[index]
            except (ValueError, OSError):
                damaged.add(index)
        return block, damaged


def finished(block: Block) -> NDArray[np.bool_]:
    """Which cells of a block are finished."""
    done: NDArray[np.bool_] = np.asarray(np.isfinite(block[..., _N]).all(axis=-1))
    return done


def read(folder: Path) -> xr.Dataset:
    """The results of a sweep so far: one variable per quantity, and for what was sampled `X_stderr`, `X_n` and so on.

    Cells that are not finished, or damaged, are NaN; `finished` tells which are there.

    Args:
        folder: The folder given to the sweep as its output.

    Raises:
        ConfigError: if there is no readable store.
    """
    store = Store(folder / "results.zarr")
    plan = store.plan
    block, _ = store.load()
    dims = tuple(plan.axes)
    variables: dict[str, tuple[Any, Any]] = {"finished": (dims, finished(block))}
    for q, name in enumerate(plan.quantities):
        variables[name] = (dims, block[..., q, 0])
        if name in plan.estimated:
            variables |= {f"{name}_{STATISTICS[k]}": (dims, block[..., q, k]) for k in range(1, len(STATISTICS))}
    coords = {name: np.array(values) for name, values in plan.axes.items()}
    return dataset(variables, coords=coords, spec=plan)


def _row(result: Estimate | float) -> list[float]:
    if not isinstance(result, Estimate):
        return [float(result), np.nan, 0.0, np.nan, np.nan]
    return [np.nan if part is None else float(part) for part in (getattr(result, name) for name in STATISTICS)]


def _label(name: str) -> dict[str, Any]:
    quantity = QUANTITIES.get(name)
    return {"units": quantity.unit, "long_name": quantity.long_name} if quantity else {}


def _attributes(plan: Plan) -> dict[str, Any]:
    about = {"schema": SCHEMA, "orthoscope": __version__, "plan": plain(dataclasses.asdict(plan))}
    code = own_code(plan)
    return about | ({"code": code} if code else {})


def _check_files(path: Path) -> None:
    """Refuse metadata with no end or no bottom, and pipes, which never end; another process may write meanwhile."""
    for file in path.rglob("*"):
        with suppress(FileNotFoundError):
            if file.name == "zarr.json":
                read_json(file)
            elif file.exists() and not file.is_dir():
                check_file(file, "a cell")


def _check_array(array: Any, plan: Plan) -> None:
    """Refuse an array that is not the one of the plan: of other cells, of another type, or one without gaps.

    Raises:
        TypeError: saying what it is.
    """
    shape = (*plan.shape, len(plan.quantities), len(STATISTICS))
    chunks = (*(1,) * len(plan.shape), *shape[-2:])
    if (array.shape, array.chunks, array.dtype) != (shape, chunks, np.float64) or not np.isnan(array.fill_value):
        raise TypeError(f"an array of {array.dtype} {array.shape} in pieces of {array.chunks}, not the one of its plan")


def _stored_plan(group: Any) -> Plan:
    stored = group.attrs["plan"]
    order = group[ARRAY].metadata.dimension_names[:-2]  # JSON objects have none
    texts = [stored["name"], *stored["quantities"], *stored["estimated"]]
    values = [value for name in order for value in stored["axes"][name]]
    lists = [stored["quantities"], stored["estimated"], *stored["axes"].values()]
    is_typed = all(isinstance(one, str) for one in texts) and all(isinstance(one, int | float | str) for one in values)
    if not (is_typed and all(isinstance(one, list) for one in lists) and isinstance(stored["fixed"], dict)):
        raise TypeError("its plan is none")
    return Plan(
        name=stored["name"],
        axes={name: tuple(stored["axes"][name]) for name in order},
        quantities=tuple(stored["quantities"]),
        estimated=tuple(stored["estimated"]),
        fixed=stored["fixed"],
    )


def _unreadable(path: Path, attributes: Any) -> str:
    schema, writer = attributes.get("schema"), attributes.get("orthoscope", "unknown")
    return (
        f"{path} has schema {schema!r}, written by orthoscope {writer}; this release reads schemas "
        f"{' and '.join(map(str, READABLE))}. Nothing was changed: go on with that release, or choose another `out`"
    )
