"""The studies by name: the question that each answers, what it costs, and where its code is. Loads nothing heavy.

`STUDIES` are the project's own; `SINGLE` are the same for one setting that a user gives. Both are found again from a
specification, whose classes `SpecTypes` knows by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from orthoscope.errors import ConfigError, unknown

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from orthoscope.report.tables import Table
    from orthoscope.sweeps.points import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One study.

    Attributes:
        question: What it answers.
        cls: Module and name of its class, whose fields are its whole specification.
        figure: Module under `plots` and name of the function that draws its dataset; None if nothing does.
        table: Function in `report.tables`, or module under `report` and its function, that shows its numbers; None for
            the plain one.
        minutes: What it took on one core of a cloud machine; None where nobody timed it.
        quick_minutes: The same of its reduced version; None if there is none.
    """

    question: str
    cls: str
    figure: str | None = None
    table: str | None = None
    minutes: float | None = None
    quick_minutes: float | None = None

    def make(self, *, quick: bool = False, seed: int = 0) -> Study:
        """The study, in full or reduced; what has no reduced version runs in full."""
        cls = _load(self.cls)
        study: Any = cls.quick() if quick and self.quick_minutes is not None else cls()
        return replace(study, seed=seed)

    def draw(self, result: xr.Dataset) -> Figure:
        """The figure of its dataset.

        Raises:
            ConfigError: if there is none.
        """
        if self.figure is None:
            raise ConfigError("this kind of result has no picture; its numbers are all there is")
        figure: Figure = _load(f"plots.{self.figure}")(result)
        return figure

    def tables(self, numbers: Mapping[str, Any]) -> list[Table]:
        """Its numbers for people."""
        place = self.table or "plain_tables"
        tables: list[Table] = _load(f"report.{place}" if ":" in place else f"report.tables:{place}")(numbers)
        return tables


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"orthoscope.{module}"), name)


STUDIES: dict[str, Entry] = {
    "paths": Entry(
        question="Does theory follow overlap and variance along the reverse path?",
        cls="experiments.paths:PathStudy", figure="paths:path_figure", minutes=0.1,
    ),
    "rates": Entry(
        question="How do mean and variance shift with the number of classes per dimension?",
        cls="experiments.shifts:RateStudy", figure="shifts:rate_figure", minutes=0.3,
    ),
    "dims": Entry(
        question="Does high dimension cure guidance, with few classes and with exponentially many?",
        cls="experiments.shifts:DimStudy", figure="shifts:dim_figure", minutes=0.3,
    ),
    "windows": Entry(
        question="Which windows of negative strength give the variance back?",
        cls="experiments.windows:WindowStudy", figure="diagrams:window_figure", minutes=0.2,
    ),
    "digits": Entry(
        question="What does a window gain on real digits at equal mean shift?",
        cls="experiments.digits:DigitsStudy", figure="digits:digits_figure", minutes=0.6,
    ),
    "approach": Entry(
        question="How fast does finite dimension approach mean field?",
        cls="experiments.approach:ApproachStudy", figure="approach:approach_figure", minutes=9, quick_minutes=0.3,
    ),
    "captured": Entry(
        question="What becomes of paths that another mode captures?",
        cls="experiments.captured:CapturedStudy", figure="captured:captured_figure", minutes=2.2, quick_minutes=0.2,
    ),
    "control": Entry(
        question="Does guidance that looks at what it does beat the best schedule?",
        cls="experiments.control.study:ControlStudy", figure="control:control_figure", table="control_tables",
        minutes=16, quick_minutes=0.3,
    ),
    "correlations": Entry(
        question="How do coordinates of guided samples correlate?",
        cls="experiments.correlations:CorrelationStudy", figure="correlations:correlations_figure", quick_minutes=0.3,
    ),
    "design-grid": Entry(
        question="Are designed schedules ever worse than the best simple windows?",
        cls="experiments.design_grid:DesignGridStudy", figure="design_grid:design_grid_figure", quick_minutes=0.2,
    ),
    "forecast": Entry(
        question="Can a few recorded runs of a pipeline foretell what any schedule would do to its images?",
        cls="experiments.forecasts:ForecastStudy", figure="forecast:forecast_study_figure", minutes=0.9,
        quick_minutes=0.3,
    ),
    "reweighting": Entry(
        question="Do recorded paths, weighted, foretell what a fit to them gets wrong?",
        cls="experiments.reweighting:ReweightingStudy", figure="forecast:reweighting_figure",
        table="forecast:reweighting_tables", minutes=4, quick_minutes=0.2,
    ),
    "glyphs": Entry(
        question="Do networks of a thousand real classes lose diversity by guidance, or by ignorance?",
        cls="experiments.glyphs:GlyphStudy", figure="glyphs:glyphs_figure", table="glyphs_tables", minutes=25,
        quick_minutes=2,
    ),
    "learned": Entry(
        question="What does a network add to guidance's distortion, and by which branch?",
        cls="experiments.networks.study:LearnedStudy", figure="learned:learned_figure", table="learned_tables",
        minutes=75, quick_minutes=2,
    ),
    "manifold": Entry(
        question="On a curved manifold of classes, which dimension does the rate count?",
        cls="experiments.manifold:ManifoldStudy", figure="manifold:manifold_figure", quick_minutes=0.1,
    ),
    "stages": Entry(
        question="What does guidance do in each stage to classes of several modes?",
        cls="experiments.stages:StagesStudy", figure="stages:stages_figure", minutes=2.4, quick_minutes=0.2,
    ),
    "surfaces": Entry(
        question="Does guidance that turns round leave a curved manifold, or a compact support?",
        cls="experiments.networks.surfaces:SurfacesStudy", figure="surfaces:surfaces_figure", table="surfaces_tables",
        minutes=4, quick_minutes=0.5,
    ),
    "tilted": Entry(
        question="How far is the guided law from the tilted law it is taken for?",
        cls="experiments.tilted:TiltedStudy", figure="tilted:tilted_figure", minutes=0.5, quick_minutes=0.2,
    ),
}  # fmt: skip


SINGLE: dict[str, Entry] = {
    "prediction": Entry(
        question="What does theory say of one setting?", cls="experiments.single:PredictionStudy",
        figure="paths:path_figure",
    ),
    "simulation": Entry(
        question="What does exact sampling of one setting come to, and does theory explain it?",
        cls="experiments.single:SimulationStudy", figure="paths:path_figure", table="simulation_tables",
    ),
    "gaussian": Entry(
        question="What does guidance between two Gaussians do?", cls="experiments.gaussians:GaussianStudy",
    ),
    "two-class": Entry(
        question="Where does guidance take one of two classes?", cls="experiments.two_class:TwoClass",
        figure="two_class:two_class_figure",
    ),
    "design": Entry(
        question="Which schedule meets the goal best?", cls="designs.study:DesignStudy",
        figure="design:design_figure", table="design_tables",
    ),
    "rate-strength": Entry(
        question="What does guidance do at every class rate and strength?",
        cls="experiments.planes:RateStrengthDiagram", figure="diagrams:phase_figure",
    ),
    "window": Entry(
        question="What does every linear window do?", cls="experiments.planes:WindowDiagram",
        figure="diagrams:phase_figure",
    ),
    "samples": Entry(
        question="What does guidance make of one class?", cls="face.samples:SampleStudy",
        figure="samples:samples_figure",
    ),
    "measures": Entry(
        question="What did guidance do to samples of one class?", cls="face.samples:MeasureStudy",
    ),
    "images": Entry(
        question="How diverse are these images, and how near to real ones?", cls="audits.images:ImageStudy",
        figure="images:images_figure", table="images:image_tables",
    ),
    "rules": Entry(
        question="Which rule does best at equal effect?", cls="face.compare:RuleComparison", table="rule_tables",
        figure="samples:rules_figure",
    ),
    "theory": Entry(
        question="Does theory explain what was sampled?", cls="face.compare:TheoryComparison", table="theory_tables",
    ),
}  # fmt: skip
# Classes that stand inside a specification.
_PARTS = {
    "Setting": "settings:Setting",
    "RandomMixture": "laws:RandomMixture",
    "Simulation": "simulation.setting:Simulation",
    "Numerics": "simulation.setting:Numerics",
    "Budget": "simulation.setting:Budget",
    "Learner": "experiments.networks.learner:Learner",
    "Training": "learned:Training",
    "Examination": "experiments.networks.examination:Examination",
    "Verification": "designs.check:Verification",
    "DesignProblem": "designs.run:DesignProblem",
    "DataProblem": "designs.data_design:DataProblem",
    "DataLaw": "designs.data:DataLaw",
    "MixtureLaw": "designs.optimization:MixtureLaw",
    "SpectrumLaw": "designs.optimization:SpectrumLaw",
    "Goal": "designs.optimization:Goal",
    "Margin": "designs.optimization:Margin",
    **{
        name: f"guidance.rules:{name}"
        for name in (
            "LinearCFG",
            "Rescaled",
            "PowerLaw",
            "Projected",
            "ZeroStar",
            "Renoised",
            "FunctionRule",
            "Bounded",
            "Feedback",
            "SetPoint",
            "PosteriorPoint",
            "Policy",
        )
    },
}


def find(name: str) -> Entry:
    """The study of a name.

    Raises:
        ConfigError: if there is none, naming the nearest.
    """
    if name not in STUDIES:
        raise unknown("study", name, STUDIES, field="name")
    return STUDIES[name]


def name_of(study: Study) -> str:
    """The name under which a study is known."""
    if isinstance(study, Recorded):
        return study.name
    cls = type(study)
    place = f"{cls.__module__.removeprefix('orthoscope.')}:{cls.__name__}"
    return next(name for name, entry in (STUDIES | SINGLE).items() if entry.cls == place)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A study of which a folder keeps the result and a description: what it was made of was in memory.

    Attributes:
        name: Under which its kind is known.
    """

    name: str

    def run(self, points: Any = None) -> xr.Dataset:
        """There is nothing to run.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("this was made of what was in memory: it can be read, and cannot be run again")


class SpecTypes(Mapping[str, type]):
    """Every class that a specification can be made of, by name, loaded when it is asked for."""

    def __init__(self) -> None:
        """Know the studies, their parts, the schedules and, once one is asked for, the rules."""
        from orthoscope.guidance.own import SCHEDULE_TYPES

        places = [entry.cls for entry in (STUDIES | SINGLE).values()]
        self._places = {place.partition(":")[2]: place for place in places} | _PARTS
        self._schedules: Mapping[str, type] = SCHEDULE_TYPES

    def __getitem__(self, name: str) -> type:
        if name in self._places:
            return cast(type, _load(self._places[name]))
        if name in self._schedules:
            return self._schedules[name]
        return cast(type, _load("guidance.rules:RULE_TYPES")[name])

    def __iter__(self) -> Iterator[str]:
        return iter([*self._places, *self._schedules])

    def __len__(self) -> int:
        return len(self._places) + len(self._schedules)
