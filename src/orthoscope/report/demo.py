"""The demonstration: some of the studies, their figures, and one page, in one run folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from orthoscope import __version__, writing
from orthoscope.datasets import attribute, groups, read, write
from orthoscope.errors import ConfigError
from orthoscope.experiments import registry
from orthoscope.report.headlines import headlines
from orthoscope.report.page import render, save_figure
from orthoscope.report.sections import SECTIONS
from orthoscope.serialize import content_hash, dumps
from orthoscope.sweeps.points import HERE, Points, Study
from orthoscope.threads import one_thread

STUDIES = {name: partial(registry.STUDIES[name].make, quick=True) for name in SECTIONS}
TITLE = "What classifier-free guidance does to a distribution, and what can be done about it"
LEAD = (
    "Every distribution here is known exactly, so its score is exact too and every distortion is guidance's own; at "
    "the end stand networks beside what their data imply, and what they add. "
    "Strength w = 0 is the plain conditional model; pipelines call 1 + w the guidance scale."
)


@dataclass(kw_only=True)
class Demo:
    """A run folder being filled, section by section; what is written stays, whatever happens later.

    A section that is run again replaces itself alone; the report always shows every section in the folder.

    Attributes:
        out: The run folder.
        names: Sections to make.
        seed: Root seed.
        resume: Keep sections already computed with the same settings, and finished points of them.
    """

    out: Path
    names: tuple[str, ...] = tuple(STUDIES)
    seed: int = 0
    resume: bool = False
    _seconds: dict[str, float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Refuse results that are not the demonstration's, before computing any."""
        stored = groups(self._store)
        is_whole = stored and all(name in STUDIES and read(self._store, group=name) is not None for name in stored)
        if self._store.exists() and not is_whole:
            raise ConfigError(f"{self._store} is damaged or not of a demo; choose another --out, or move it away")

    @property
    def _store(self) -> Path:
        return self.out / "results.nc"

    def studies(self) -> list[Study]:
        """The studies to run, in order."""
        return [STUDIES[name](seed=self.seed) for name in self.names]

    def run(self, study: Study, points: Points = HERE) -> float | None:
        """Run one study and store it; seconds taken, or None if it was kept from an earlier run."""
        begin = time.perf_counter()
        stored = read(self._store, group=study.name) if self.resume else None
        if stored is not None and stored.attrs.get("spec_hash") == content_hash(study):
            return None
        with one_thread():
            result = study.run(points.kept(self.out, anew=not self.resume))
        write(result, self._store, group=study.name)
        self._seconds[study.name] = time.perf_counter() - begin
        return self._seconds[study.name]

    def finish(self) -> Mapping[str, Any]:
        """Write figures, specification and report of every section in the folder; say where they are."""
        stored = {name: read(self._store, group=name) for name in STUDIES if name in groups(self._store)}
        results = {name: result for name, result in stored.items() if result is not None}
        sections = [
            SECTIONS[name](result, f"orthoscope demo --section {name} --out {self.out}")
            for name, result in results.items()
        ]
        for section in sections:
            for name, figure in section.figures.items():
                save_figure(figure, self.out / "figures" / name)
        page = render(
            title=TITLE,
            lead=LEAD,
            cards=headlines(results),
            sections=sections,
            provenance=f"Orthoscope {__version__}. Settings: spec.json; numbers: results.nc.",
        )
        report = writing.write(self.out / "report.html", page)
        studies = {name: attribute(result, "spec") for name, result in results.items()}
        spec = {"orthoscope": __version__, "command": "demo", "studies": studies}
        writing.write(self.out / "spec.json", dumps(spec) + "\n")
        return {"report": str(report), "results": str(self._store), "seconds": sum(self._seconds.values())}
