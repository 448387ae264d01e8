"""A design as a study: the problem is its specification, the report its dataset."""

from __future__ import annotations

from dataclasses import dataclass, field

import xarray as xr

from orthoscope.designs.data_design import DataProblem
from orthoscope.designs.dataset import design_dataset
from orthoscope.designs.options import design_report
from orthoscope.designs.run import DesignProblem, Report
from orthoscope.progress import LOG, Remark
from orthoscope.sweeps.points import HERE, Points


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignStudy:
    """The schedule that meets a goal best, beside simple and published ones.

    Attributes:
        problem: A law, a goal, and how much to verify.
    """

    name: str = field(default="design", init=False)
    problem: DesignProblem | DataProblem

    def report(self, say: Remark = LOG.info) -> Report:
        """Design, compare and verify, telling what goes on."""
        return design_report(self.problem, say)

    def label(self, report: Report) -> xr.Dataset:
        """A report as a dataset."""
        return design_dataset(report, self)

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Both."""
        return self.label(self.report())
