"""A forecast: a few runs of a pipeline recorded, and what any schedule would do to its images foreseen from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from orthoscope.datasets import dataset
from orthoscope.forecasts.forecaster import LEVEL, QUANTITIES, Forecaster, Foreseen, told
from orthoscope.forecasts.plan import Forecast
from orthoscope.integrations.source import Source
from orthoscope.progress import LOG, Progress, Remark
from orthoscope.sweeps.cells import Cells

FOLDER = "pairs"  # of recorded predictions, in a run folder
_ENDS = {"": "value", "_low": "low", "_high": "high", "_stderr": "stderr"}


def forecast(
    plan: Forecast,
    source: Source,
    *,
    out: Path | None = None,
    progress: Progress | None = None,
    remark: Remark | None = None,
) -> xr.Dataset:
    """Record, fit and foresee, and label the results.

    Args:
        plan: What to do.
        source: Where the pipeline comes from.
        out: Folder where recorded predictions are kept and found again; None to keep none.
        progress: Called with parts done and parts in all.
        remark: Called with lines for people.

    Raises:
        ConfigError: if something cannot be used.
        StoppedError: if the pipeline makes numbers that are not finite.
    """
    host = source.host()
    whole = plan.completed(host)
    done, total = 0, len(whole.recorded) * len(whole.prompts) + len(whole.schedules)

    def advance() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    cells = None if out is None else Cells(out / FOLDER)
    forecaster = Forecaster.of(whole, host, cells=cells, advance=advance, remark=remark or LOG.warning)
    found = []
    for schedule in whole.schedules:
        found.append(forecaster.foresee(schedule))
        advance()
    return labelled(forecaster, found)


def labelled(forecaster: Forecaster, found: list[Foreseen]) -> xr.Dataset:
    """What was foreseen, along schedules."""
    plan, at = forecaster.plan, ["schedule"]
    variables: dict[str, tuple[list[str], Any]] = {
        f"{name}{end}": (at, [getattr(one.measures.get(name), part, np.nan) for one in found])
        for name in QUANTITIES
        for end, part in _ENDS.items()
    }
    for name in QUANTITIES:
        variables[f"{name}_by"] = (at, [one.trusted.get(name, "") for one in found])
        for method, each in (
            ("surrogate", [one.surrogate.get(name) for one in found]),
            ("reweighted", [one.reweighted.get(name) for one in found]),
        ):
            for end, part in (("", "value"), ("_stderr", "stderr")):
                variables[f"{name}_{method}{end}"] = (at, [getattr(one, part, np.nan) for one in each])
    variables |= {
        "effective": (at, [one.effective for one in found]),
        "reached": (at, [one.reached for one in found]),
        "distance": (at, [one.distance for one in found]),
        "outside": (at, [one.outside for one in found]),
        "stopped": (at, [one.stopped for one in found]),
        "replay_error": (["recorded"], list(forecaster.unfaithful.values())),
    }
    return dataset(
        variables,
        coords={"schedule": told([one.schedule for one in found]), "recorded": told(plan.recorded)},
        spec=plan,
        model=forecaster.host.name,
        scheduler=type(forecaster.host.pipe.scheduler).__name__,
        prompts=len(plan.prompts),
        images_per_prompt=plan.images_per_prompt,
        steps=plan.steps,
        strength=plan.strength,
        over=forecaster.over,
        unweighted=forecaster.unweighted,
        level=LEVEL,
        calls=forecaster.calls,
        audit_calls=forecaster.calls // len(plan.recorded) * len({*plan.schedules, *plan.recorded[:1]}),
    )
