"""The demonstration: every study, its figures, and one page, in one run folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import xarray as xr

from orthoscope import __version__
from orthoscope.errors import ConfigError
from orthoscope.report.page import render, save_figure
from orthoscope.report.sections import SECTIONS, headline
from orthoscope.serialize import content_hash, dumps, to_dict
from orthoscope.study.datasets import Progress, Study, read, write
from orthoscope.study.digits import DigitsStudy
from orthoscope.study.paths import PathStudy
from orthoscope.study.shifts import DimStudy, RateStudy
from orthoscope.study.threads import one_thread
from orthoscope.study.windows import WindowStudy

STUDIES = {"paths": PathStudy, "rates": RateStudy, "dims": DimStudy, "windows": WindowStudy, "digits": DigitsStudy}
TITLE = "What classifier-free guidance does to a distribution, and what can be done about it"
LEAD = (
    "Every distribution here is known exactly, so its score is exact too and every distortion is guidance's own. "
    "Strength w = 0 is the plain conditional model; pipelines call 1 + w the guidance scale."
)


@dataclass(kw_only=True)
class Demo:
    """A run folder being filled, section by section; what is written stays, whatever happens later.

    Attributes:
        out: The run folder.
        names: Sections to make.
        seed: Root seed.
        resume: Keep sections already computed with the same settings.
    """

    out: Path
    names: tuple[str, ...] = tuple(STUDIES)
    seed: int = 0
    resume: bool = False
    _results: dict[str, xr.Dataset] = field(default_factory=dict, init=False)
    _seconds: dict[str, float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Make sure that results can be written before computing any."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            self._write_spec()
            if not self.resume:
                self._store.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot write to {self.out}: {error}; choose another --out") from error

    @property
    def _store(self) -> Path:
        return self.out / "results.nc"

    def studies(self) -> list[Study]:
        """The studies to run, in order."""
        return [replace(STUDIES[name](), seed=self.seed) for name in self.names]

    def run(self, study: Study, progress: Progress | None = None) -> float | None:
        """Run one study and store it; seconds taken, or None if it was kept from an earlier run."""
        begin = time.perf_counter()
        stored = read(self._store, group=study.name) if self.resume else None
        if stored is not None and stored.attrs.get("spec_hash") == content_hash(study):
            self._results[study.name] = stored
            return None
        with one_thread():
            result = study.run(progress)
        write(result, self._store, group=study.name)
        self._results[study.name] = result
        self._seconds[study.name] = time.perf_counter() - begin
        return self._seconds[study.name]

    def finish(self) -> Mapping[str, Any]:
        """Write figures and report; say where they are."""
        sections = [SECTIONS[name](result, self.out) for name, result in self._results.items()]
        for section in sections:
            for name, figure in section.figures.items():
                save_figure(figure, self.out / "figures" / name)
        page = render(
            title=TITLE, lead=LEAD, cards=headline(self._results), sections=sections,
            provenance=f"Orthoscope {__version__}, seed {self.seed}. Settings: spec.json; numbers: results.nc.",
        )  # fmt: skip
        report = self.out / "report.html"
        report.write_text(page, encoding="utf-8")
        return {"report": str(report), "results": str(self._store), "seconds": sum(self._seconds.values())}

    def _write_spec(self) -> None:
        studies = {study.name: to_dict(study) for study in self.studies()}
        spec = {"orthoscope": __version__, "command": "demo", "seed": self.seed, "studies": studies}
        (self.out / "spec.json").write_text(dumps(spec) + "\n", encoding="utf-8")
