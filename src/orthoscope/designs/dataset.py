"""A design as a labelled dataset, for figures and files."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from orthoscope.datasets import dataset, estimates
from orthoscope.designs.run import SIMPLE, Report, design_result
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.numerics import Array
from orthoscope.serialize import dumps, to_dict

_TIMES = 400
_NEAREST = 1e-3  # first variance time shown above 0, in units of the start


def design_dataset(report: Report, spec: Any) -> xr.Dataset:
    """Strengths over noise and outcomes of the design, the simple and the published schedules, and the front."""
    schedules = {"design": report.design.schedule, **{c.name: c.schedule for c in report.candidates}}
    outcomes = [report.design.outcome, *(c.outcome for c in report.candidates)]
    kinds = ["design", *("simple" if c.name in SIMPLE else "published" for c in report.candidates)]
    time = _times(float(report.law["t_max"]), schedules["design"])
    traced = [d for d in report.front if d.feasible]
    names = ("mean_shift", "variance_ratio", "separability", "frechet", "effort")
    variables: dict[str, Any] = {
        "strength": (["schedule", "time"], [s.at_time(time) for s in schedules.values()]),
        "kind": (["schedule"], kinds),
        "feasible": (["schedule"], [report.design.feasible, *(c.feasible for c in report.candidates)]),
    }
    for name in names:
        variables[name] = (["schedule"], [getattr(o, name) for o in outcomes])
        variables[f"front_{name}"] = (["front"], [getattr(d.outcome, name) for d in traced])
    for name in ("mean_shift", "variance_ratio"):
        check = report.checks.get(name)
        if check is not None:
            variables |= estimates(f"sampled_{name}", [], check.measured)
    commitment = report.design.outcome.speciation_time
    return dataset(
        variables,
        coords={"schedule": list(schedules), "time": time, "front": np.arange(len(traced))},
        spec=spec,
        numbers=dumps(design_result(report) | {"spec": to_dict(spec, strict=False)}, indent=None),
        speciation_time=np.nan if commitment is None else commitment,
        objective=report.goal.objective,
        low=report.goal.low,
        high=report.goal.high,
        floors=", ".join(f"{name} >= {floor:g}" for name, floor in report.goal.floors.items()),
    )


def _times(t_max: float, schedule: GuidanceSchedule) -> Array:
    """Times even in their logarithm, with both sides of every jump of the schedule."""
    switches = np.array([t for t in schedule.switches() if 0 < t < t_max])
    even = np.geomspace(_NEAREST * t_max, t_max, _TIMES)
    return np.unique(np.concatenate([even, switches, np.nextafter(switches, np.inf)]))
