"""What audits, calibrations and forecasts give back: numbers, tables, a figure, and the folder of their commands."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from orthoscope import writing
from orthoscope.audits.result import AuditResult
from orthoscope.audits.run import FILES, MADE
from orthoscope.calibration import summarize
from orthoscope.plots.audit import pareto_figure
from orthoscope.plots.calibrate import calibrate_figure
from orthoscope.plots.forecast import forecast_figure
from orthoscope.report import audit as page
from orthoscope.report import calibrate as calibration_page
from orthoscope.report import forecast as forecast_page
from orthoscope.report.audit_sections import sources
from orthoscope.report.audit_table import WIDTH, audit_tables
from orthoscope.report.findings import Findings
from orthoscope.report.intervals import summary
from orthoscope.report.tables import Table


class AuditReport(Findings):
    """What an audit came to.

    Attributes:
        data: Measures, logs, costs and thumbnails of the pipeline, by schedule.
        twin: The same of its twin with the exact score; None without one.
        search: Candidates beside constant strength; None without a search.
        remarks: What a user should know.
    """

    width = WIDTH
    files = FILES

    def __init__(self, result: AuditResult, made: Path | None = None, remarks: Sequence[str] = ()) -> None:
        """Keep what was found, and where what was made for it is kept."""
        super().__init__(result.pipeline)
        self.twin, self.search, self.remarks = result.twin, result.search, tuple(remarks)
        self._result, self._made = result, made

    @property
    def job(self) -> str:
        return "audit"

    @property
    def title(self) -> str:
        return f"audit of {self.data.attrs['model']}"

    @property
    def advice(self) -> Mapping[str, Any]:
        """Which schedule to use instead of the one in use, if any, why, and the evidence."""
        return self._result.recommendation

    @cached_property
    def numbers(self) -> Mapping[str, Any]:
        return summary(self.data, self.twin)

    def tables(self) -> list[Table]:
        return audit_tables(self.data)

    def plot(self) -> Figure:
        """Variance kept against mean shift and adherence, by schedule; the twin below."""
        return pareto_figure(sources(self.data, self.twin), page.schedule_marks(self.data, self.twin))

    def write(self, out: Path, *, command: str | None = None) -> None:
        self._copy(out)
        self._result.write(out)
        self.write_page(out, command=command)

    def write_page(self, out: Path, *, command: str | None = None) -> None:
        """Write the page and its figures alone, into the folder in which the audit was just run.

        Raises:
            ConfigError: if they cannot be written.
        """
        page.write_report(self._result, out, command=command or self._call)

    def _copy(self, out: Path) -> None:
        """Take along what was made elsewhere, so that a later run finds it."""
        if self._made is None or os.path.realpath(self._made) == os.path.realpath(out):
            return
        for file in (file for name in MADE for file in sorted((self._made / name).rglob("*")) if file.is_file()):
            writing.write(out / file.relative_to(self._made), file.read_bytes())

    @property
    def _call(self) -> str:
        asked, at = self._result.spec.get("audit", {}), self.data.attrs
        count = f"images_per_prompt={at['images_per_prompt']}, steps={at['steps']}"
        return f"orthoscope.audit({at['model']!r}, prompts, schedules={asked.get('schedules', [])}, {count})"


class CalibrationReport(Findings):
    """What a calibration came to.

    Attributes:
        data: The pair of predictions and what it tells at every noise level, of the pipeline and of its twin.
    """

    files = calibration_page.FILES

    def __init__(self, data: xr.Dataset, audit: Callable[[float, Sequence[str]], str] | None = None) -> None:
        """Keep the data, and how an audit of the windows would be asked for, given the strength in use."""
        super().__init__(data)
        self._audit = audit or _audit_call

    @property
    def job(self) -> str:
        return "calibrate"

    @property
    def title(self) -> str:
        return f"calibration of {self.data.attrs['model']}"

    @property
    def proposals(self) -> tuple[str, ...]:
        """Windows worth an audit, as texts."""
        return tuple(self.numbers["proposals"])

    @cached_property
    def numbers(self) -> Mapping[str, Any]:
        found = summarize(self.data)
        return found | {"audit_command": self._audit(float(self.data["strength"][-1]), found["proposals"])}

    def tables(self) -> list[Table]:
        return [calibration_page.calibration_table(self.numbers)]

    def plot(self) -> Figure:
        """What the noisy images tell of their class, by noise level."""
        return calibrate_figure(self.data)

    def write(self, out: Path, *, command: str | None = None) -> None:
        calibration_page.write_calibration(self.data, self.numbers, out, command=command or self._call)

    @property
    def _call(self) -> str:
        at, strengths = self.data.attrs, [float(strength) for strength in self.data["strength"]]
        return f"orthoscope.calibrate({at['model']!r}, prompts, strengths={strengths}, steps={at['steps']})"


class ForecastReport(Findings):
    """What a forecast came to.

    Attributes:
        data: Variance ratio and mean shift of every schedule, with intervals.
    """

    width = WIDTH
    files = forecast_page.FILES

    @property
    def job(self) -> str:
        return "forecast"

    @property
    def title(self) -> str:
        return f"forecast of {self.data.attrs['model']}"

    @cached_property
    def numbers(self) -> Mapping[str, Any]:
        return forecast_page.summary(self.data)

    def tables(self) -> list[Table]:
        return [forecast_page.forecast_table(self.numbers)]

    def plot(self) -> Figure:
        """Variance ratio against mean shift, by schedule."""
        return forecast_figure(self.data)

    def write(self, out: Path, *, command: str | None = None) -> None:
        forecast_page.write_forecast(self.data, self.numbers, out, command=command or self._call)

    @property
    def _call(self) -> str:
        at, schedules = self.data.attrs, [str(text) for text in self.data["schedule"].values]
        count = f"strength={at['strength']:g}, images_per_prompt={at['images_per_prompt']}, steps={at['steps']}"
        return f"orthoscope.forecast({at['model']!r}, prompts, schedules={schedules}, {count})"


def _audit_call(strength: float, windows: Sequence[str]) -> str:
    """The line of Python that puts windows to the test."""
    return f"orthoscope.audit(pipe, prompts, schedules={[0, strength, *windows]})"
