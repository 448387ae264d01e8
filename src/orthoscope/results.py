"""What a command gives back: labelled numbers, a table, a picture, JSON, and the specification that made them.

A result in a folder (`save`) is read again (`read`), and made again from its specification alone (`rerun`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from orthoscope import datasets
from orthoscope.calls import verb
from orthoscope.errors import ConfigError
from orthoscope.experiments.registry import SINGLE, STUDIES, Entry, Recorded, SpecTypes, find, name_of
from orthoscope.guidance.schedules import SCHEDULES, GuidanceSchedule
from orthoscope.locking import locked
from orthoscope.progress import Tracker
from orthoscope.reading import read_json
from orthoscope.report.bars import shown
from orthoscope.report.findings import Findings, as_path
from orthoscope.report.studies import FILES, write_folder
from orthoscope.report.tables import Table, flat
from orthoscope.serialize import content_hash, from_dict
from orthoscope.sweeps.points import HERE, Points, Study, Summarizes
from orthoscope.threads import threads_for

_SHOWN = 60  # numbers that people read at once
_OTHERS = {
    "an audit": "`orthoscope audit` goes on with it",
    "a calibration": "`orthoscope calibrate` makes it anew",
    "a forecast": "`orthoscope forecast` goes on with it",
}


class Result(Findings):
    """What one study came to.

    Attributes:
        study: What was asked; its fields are the whole specification.
        data: Value, standard error and prediction of every quantity along named dimensions.
    """

    files = FILES

    def __init__(self, study: Study, data: xr.Dataset) -> None:
        """Keep both."""
        super().__init__(data)
        self.study = study

    @property
    def job(self) -> str:
        return job(self.study)

    @property
    def title(self) -> str:
        return name_of(self.study)

    @property
    def _entry(self) -> Entry:
        return (STUDIES | SINGLE)[name_of(self.study)]

    @cached_property
    def numbers(self) -> Mapping[str, Any]:
        """What was found in plain numbers, texts and lists: the JSON object of the command."""
        if "numbers" in self.data.attrs:
            return dict(datasets.attribute(self.data, "numbers"))
        return self.study.summarize(self.data) if isinstance(self.study, Summarizes) else {}

    @property
    def schedule(self) -> GuidanceSchedule:
        """The schedule that was found.

        Raises:
            ConfigError: if this kind of result finds none.
        """
        if not isinstance(self.numbers.get("schedule"), Mapping):
            raise ConfigError(f"a result of {name_of(self.study)} finds no schedule; `design` does")
        found: GuidanceSchedule = from_dict(self.numbers["schedule"], SCHEDULES)
        return found

    def tables(self) -> list[Table]:
        return self._entry.tables(self._shown())

    def _shown(self) -> Mapping[str, Any]:
        if self._entry.table is not None:
            return self.numbers
        rows = flat({name: value for name, value in self.numbers.items() if name != "spec"})
        if not rows:
            sizes = (f"{dim} {size}" for dim, size in self.data.sizes.items())
            return {"dimensions": ", ".join(sizes), "quantities": ", ".join(self)}
        more = {"": f"{len(rows) - _SHOWN} more numbers in JSON"} if len(rows) > _SHOWN else {}
        return dict(list(rows.items())[:_SHOWN]) | more

    def plot(self) -> Figure:
        """The picture.

        Raises:
            ConfigError: if this kind of result has none.
        """
        return self._entry.draw(self.data)

    def write(self, out: Path, *, command: str | None = None) -> None:
        write_folder(self.study, self.data, self.numbers, out, command or f"orthoscope rerun {out}")


def run(study: Study, points: Points = HERE) -> Result:
    """Run a study, on one thread unless it reads much at a time."""
    with threads_for(getattr(study, "numbers_read", 0.0)):
        return Result(study, study.run(points))


@verb
def read(folder: Path | str) -> Result:
    """The result in a run folder.

    Raises:
        ConfigError: if there is none, or it is damaged.
    """
    place = as_path(folder)
    study = read_study(place)
    data = datasets.read(place / "results.nc")
    if data is None:
        raise ConfigError(f"{place} has no results.nc, or a damaged one; `orthoscope rerun {place}` makes it again")
    return Result(study, data)


def read_study(folder: Path) -> Study:
    """The specification in a run folder.

    Raises:
        ConfigError: if there is none, or none that can be run.
    """
    spec = read_json(folder / "spec.json" if folder.is_dir() else folder)
    if isinstance(spec, Mapping) and str(spec.get("kind")) in STUDIES | SINGLE:
        return Recorded(str(spec["kind"]))
    if (kind := other(spec)) is not None:
        raise ConfigError(f"{folder} holds {kind}, which is not rerun: {_OTHERS[kind]}, `orthoscope.read` reads it")
    try:
        study = from_dict(spec, SpecTypes())
    except ConfigError as error:
        raise ConfigError(f"{folder}: {error}") from error
    if not isinstance(study, Study):
        raise ConfigError(f"{folder} holds a {type(study).__name__}, which is no study that can be run")
    return study


def other(spec: Any) -> str | None:
    """What a specification is of that is no study: an audit, a calibration or a forecast; None of anything else."""
    if not isinstance(spec, Mapping):
        return None
    kinds = {"Calibration": "a calibration", "Forecast": "a forecast"}
    return "an audit" if "audit" in spec else kinds.get(str(spec.get("type")))


@verb
def rerun(
    folder: Path | str,
    *,
    out: Path | str | None = None,
    points: Points = HERE,
    progress: Tracker | bool | None = None,
) -> Result:
    """Run the specification of a folder again, and write the result.

    Args:
        folder: A run folder, or a specification file.
        out: Where to write; the same folder if left out.
        points: Where parts of the work are done, and who is told.
        progress: A function of points done, points in all and what is done; True or False for a bar or none.

    Raises:
        ConfigError: if the specification cannot be run, or the folder cannot be written.
    """
    place = as_path(folder)
    study = read_study(place)
    target = as_path(out) if out is not None else place if place.is_dir() else place.parent
    asked = False if points.progress else progress
    with locked(target, job(study), FILES), shown("running", asked) as tell:
        told = replace(points, progress=points.progress or tell)
        result = run(study, told.kept(target, anew=True))
        result.write(target)
    return result


def job(study: Study) -> str:
    """What the lock of a folder says it is for."""
    return f"study {name_of(study)}"


def run_study(
    name: str,
    *,
    out: Path,
    quick: bool = False,
    seed: int = 0,
    resume: bool = False,
    points: Points = HERE,
) -> Result:
    """Run one of the project's studies into a folder.

    Args:
        name: One of `registry.STUDIES`.
        out: The run folder.
        quick: Run the reduced version.
        seed: Root seed.
        resume: Keep results that the folder holds of the same settings, and finished points of them.
        points: Where points are worked on, and who is told; finished ones stay in the folder, whatever happens later.

    Raises:
        ConfigError: if the study is unknown, the folder is in use, belongs to another job, or cannot be written, or the
            workers cannot be had.
        StoppedError: if the cluster is lost, or the folder is.
    """
    words = [*(["--quick"] if quick else []), *([f"--seed {seed}"] if seed else [])]
    command = " ".join(["orthoscope study", name, *words])
    return run_into(find(name).make(quick=quick, seed=seed), out, command=command, resume=resume, points=points)


def run_into(
    study: Study, out: Path, *, command: str | None = None, resume: bool = False, points: Points = HERE
) -> Result:
    """Run any study into a folder.

    Args:
        study: The study.
        out: The run folder.
        command: What makes it again; `orthoscope rerun` if None.
        resume: Keep results that the folder holds of the same settings, and finished points of them.
        points: Where points are worked on, and who is told.

    Raises:
        ConfigError: if the folder is in use, belongs to another job, or cannot be written.
        StoppedError: if the work cannot go on.
    """
    with locked(out, job(study), FILES):
        found = datasets.read(out / "results.nc") if resume else None
        is_same = found is not None and found.attrs.get("spec_hash") == content_hash(study)
        result = (
            Result(study, found) if found is not None and is_same else run(study, points.kept(out, anew=not resume))
        )
        result.write(out, command=command)
    return result
