"""What an audit found, in memory and on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import xarray as xr

from orthoscope import __version__, writing
from orthoscope.audits.plan import Audit
from orthoscope.audits.studio import Studio
from orthoscope.datasets import attribute, groups, write_all
from orthoscope.datasets import read as read_group
from orthoscope.errors import ConfigError
from orthoscope.reading import read_json
from orthoscope.serialize import content_hash, dumps

RESULTS: Final = "results.nc"
SPEC: Final = "spec.json"
_LONGEST_SPEC = 30_000  # characters; NetCDF attributes hold 64 KB, so prompts beyond that stand in spec.json only


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AuditResult:
    """What an audit found.

    Attributes:
        pipeline: Measures, logs, costs and thumbnails of the pipeline, by schedule.
        twin: The same of its twin with the exact score; None without one.
        search: Candidates beside constant strength; None without a search.
        spec: Everything that is needed to do it again.
    """

    pipeline: xr.Dataset
    twin: xr.Dataset | None = None
    search: xr.Dataset | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)

    @property
    def recommendation(self) -> dict[str, Any]:
        """The recommended schedule, why, and its evidence."""
        return dict(attribute(self.pipeline, "recommendation"))

    @property
    def stopped(self) -> dict[str, str]:
        """Why schedules were stopped, by schedule."""
        return dict(attribute(self.pipeline, "stopped"))

    def write(self, out: Path) -> None:
        """Write the specification, and every dataset as a group of one NetCDF file, into a folder.

        Raises:
            ConfigError: if they cannot be written.
        """
        writing.write(out / SPEC, dumps(self.spec) + "\n")
        found = {"pipeline": self.pipeline, "twin": self.twin, "search": self.search}
        write_all({name: result for name, result in found.items() if result is not None}, out / RESULTS)


def read(out: Path) -> AuditResult:
    """What a folder holds of a finished audit.

    Raises:
        ConfigError: if there is none, or it is damaged.
    """
    names = groups(out / RESULTS)
    found = {name: one for name in names if (one := read_group(out / RESULTS, group=name)) is not None}
    if "pipeline" not in names or len(found) < len(names):
        raise ConfigError(
            f"{out} has no {RESULTS} of a finished audit, or a damaged one; the same `orthoscope audit` finishes it"
        )
    return AuditResult(spec=read_json(out / SPEC), **found)


def about(plan: Audit, studio: Studio) -> dict[str, Any]:
    """What a dataset says of where it comes from."""
    spec, host, judge = dumps(plan.texts, indent=None), studio.host, studio.judge
    if len(spec) > _LONGEST_SPEC:
        spec = dumps({**json.loads(spec), "prompts": f"{len(plan.prompts)} prompts, see {SPEC}"}, indent=None)
    told = {
        "spec": spec,
        "spec_hash": content_hash(plan.texts),
        "orthoscope": __version__,
        "model": host.name,
        "family": type(host.pipe).__name__,
        "scheduler": type(host.pipe.scheduler).__name__,
        "steps": plan.steps,
        "rule": plan.texts["rule"],
        "features": plan.features,
        "images_per_prompt": plan.images_per_prompt,
    }
    if host.law is not None:
        told["law"] = host.law
    if judge is not None:
        told["judge"] = judge.name
        if hasattr(judge, "accuracy"):
            told["judge_accuracy"] = judge.accuracy
    return told
