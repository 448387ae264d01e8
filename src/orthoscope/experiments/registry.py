"""The studies by name: the question that each answers, what it costs, and where its code is. Loads nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from orthoscope.errors import unknown

if TYPE_CHECKING:
    import xarray as xr

    from orthoscope.sweeps.points import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One study.

    Attributes:
        question: What it answers.
        cls: Module under `experiments` and name of its class, whose fields are its whole specification.
        figure: Module under `plots` and name of the function that draws its dataset.
        minutes: What it took on one core of a cloud machine; None where nobody timed it.
        quick_minutes: The same of its reduced version; None if there is none.
    """

    question: str
    cls: str
    figure: str
    minutes: float | None = None
    quick_minutes: float | None = None

    def make(self, *, quick: bool = False, seed: int = 0) -> Study:
        """The study, in full or reduced; what has no reduced version runs in full."""
        cls = _load("experiments", self.cls)
        study: Any = cls.quick() if quick and self.quick_minutes is not None else cls()
        return replace(study, seed=seed)

    def findings(self, result: xr.Dataset) -> Mapping[str, Any]:
        """What it found in a few numbers; nothing where the dataset says it all."""
        module = import_module(f"orthoscope.experiments.{self.cls.partition(':')[0]}")
        found: Callable[[xr.Dataset], Mapping[str, Any]] | None = getattr(module, "findings", None)
        return {} if found is None else found(result)


def _load(floor: str, place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"orthoscope.{floor}.{module}"), name)


STUDIES: dict[str, Entry] = {
    "paths": Entry(
        question="Does theory follow overlap and variance along the reverse path?",
        cls="paths:PathStudy", figure="paths:path_figure", minutes=0.1,
    ),
    "rates": Entry(
        question="How do mean and variance shift with the number of classes per dimension?",
        cls="shifts:RateStudy", figure="shifts:rate_figure", minutes=0.3,
    ),
    "dims": Entry(
        question="Does high dimension cure guidance, with few classes and with exponentially many?",
        cls="shifts:DimStudy", figure="shifts:dim_figure", minutes=0.3,
    ),
    "windows": Entry(
        question="Which windows of negative strength give the variance back?",
        cls="windows:WindowStudy", figure="diagrams:window_figure", minutes=0.2,
    ),
    "digits": Entry(
        question="What does a window gain on real digits at equal mean shift?",
        cls="digits:DigitsStudy", figure="digits:digits_figure", minutes=0.6,
    ),
    "approach": Entry(
        question="How fast does finite dimension approach mean field?",
        cls="approach:ApproachStudy", figure="approach:approach_figure", minutes=9, quick_minutes=0.3,
    ),
    "captured": Entry(
        question="What becomes of paths that another mode captures?",
        cls="captured:CapturedStudy", figure="captured:captured_figure", minutes=2.2, quick_minutes=0.2,
    ),
    "correlations": Entry(
        question="How do coordinates of guided samples correlate?",
        cls="correlations:CorrelationStudy", figure="correlations:correlations_figure", quick_minutes=0.3,
    ),
    "design-grid": Entry(
        question="Are designed schedules ever worse than the best simple windows?",
        cls="design_grid:DesignGridStudy", figure="design_grid:design_grid_figure", quick_minutes=0.2,
    ),
    "manifold": Entry(
        question="On a curved manifold of classes, which dimension does the rate count?",
        cls="manifold:ManifoldStudy", figure="manifold:manifold_figure", quick_minutes=0.1,
    ),
    "stages": Entry(
        question="What does guidance do in each stage to classes of several modes?",
        cls="stages:StagesStudy", figure="stages:stages_figure", minutes=2.4, quick_minutes=0.2,
    ),
    "tilted": Entry(
        question="How far is the guided law from the tilted law it is taken for?",
        cls="tilted:TiltedStudy", figure="tilted:tilted_figure", minutes=0.5, quick_minutes=0.2,
    ),
}  # fmt: skip


def find(name: str) -> Entry:
    """The study of a name.

    Raises:
        ConfigError: if there is none, naming the nearest.
    """
    if name not in STUDIES:
        raise unknown("study", name, STUDIES, field="name")
    return STUDIES[name]
