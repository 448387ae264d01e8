"""Run folders read again: of studies, audits, calibrations and forecasts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orthoscope import datasets, results
from orthoscope.calls import verb
from orthoscope.errors import ConfigError
from orthoscope.reading import read_json
from orthoscope.report.findings import as_path

if TYPE_CHECKING:
    from orthoscope.face.reports import AuditReport, CalibrationReport, ForecastReport


@verb
def read(folder: Path | str) -> results.Result | AuditReport | CalibrationReport | ForecastReport:
    """What a run folder holds, as the verb that made it gave it back.

    Raises:
        ConfigError: if it holds nothing that can be read.
    """
    place = as_path(folder)
    match results.other(read_json(place / "spec.json")) if place.is_dir() else None:
        case "an audit":
            return _audit(place)
        case "a calibration":
            return _calibration(place)
        case "a forecast":
            return _forecast(place)
    return results.read(place)


def _audit(place: Path) -> AuditReport:
    """The report of an audit, whose images stay where they are."""
    from orthoscope.audits.result import read as read_audit
    from orthoscope.face.reports import AuditReport

    return AuditReport(read_audit(place), place)


def _calibration(place: Path) -> CalibrationReport:
    from orthoscope.face.reports import CalibrationReport

    data = datasets.read(place / "results.nc")
    if data is None:
        raise ConfigError(f"{place} has no results.nc, or a damaged one; `orthoscope calibrate` makes it anew")
    return CalibrationReport(data)


def _forecast(place: Path) -> ForecastReport:
    from orthoscope.face.reports import ForecastReport

    data = datasets.read(place / "results.nc")
    if data is None:
        raise ConfigError(f"{place} has no results.nc, or a damaged one; `orthoscope forecast` makes it anew")
    return ForecastReport(data)
