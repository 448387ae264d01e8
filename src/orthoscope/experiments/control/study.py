"""Does steering help? Fronts of adherence against diversity, of schedules and of rules that look at what they do.

For every setting there are cases, draws of a law or classes of one. Every method has a knob; which of its values make a
front is found on some cases and judged on others, on common noise, so that no method gains by having many. Errors are
over the cases that judge, and differences are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from orthoscope.control import Case, Descent
from orthoscope.control.family import Goal
from orthoscope.datasets import dataset, estimates
from orthoscope.errors import DivergenceError
from orthoscope.experiments.control.fronts import AIMS, OBJECTIVES
from orthoscope.experiments.control.judging import OUTCOMES, contest
from orthoscope.experiments.control.laws import DESIGNED, designed
from orthoscope.experiments.control.methods import FLOORS, GOALS, SEES, Plan, plans_of, thinned
from orthoscope.experiments.control.settings import IMAGES, SETTINGS, THINNED, Size, case_of, subject_of
from orthoscope.experiments.control.truth import DIVERSITIES, MEASURES, FloatArray
from orthoscope.guidance.grammar import parse_schedule
from orthoscope.sweeps.points import HERE, Points

_POLICIES = tuple(product(GOALS, SEES))


@dataclass(frozen=True)
class _Drawn:
    """Cases of a setting, for training."""

    cases: Sequence[Case]

    def draw(self, stream: np.random.Generator) -> Case:
        """One of them."""
        return self.cases[int(stream.integers(len(self.cases)))]


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlStudy:
    """Methods, settings, and sizes of their runs.

    Attributes:
        settings: Names in `SETTINGS`.
        searched: Cases by which knobs are chosen and policies trained.
        judged: Cases by which fronts are judged.
        samples: Samples of a run.
        steps: Steps of a run.
        images: Images of a run of a network that ships.
        image_steps: Steps of its scheduler.
        updates: Updates of a policy that is trained by gradients.
        seed: Root seed.
    """

    name: str = field(default="control", init=False)
    settings: tuple[str, ...] = SETTINGS
    searched: int = 4
    judged: int = 8
    samples: int = 128
    steps: int = 24
    images: int = 24
    image_steps: int = 16
    updates: int = 150
    seed: int = 0

    @classmethod
    def quick(cls) -> ControlStudy:
        """A reduced version of half a minute."""
        return cls(settings=("half learned", "one Gaussian"), searched=2, judged=4, samples=48, steps=12, updates=20)

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Design, train, run everything in every case, and judge."""
        indices = range(self.searched + self.judged)
        trainings = [(setting, *policy) for setting, policy in product(self.settings, _POLICIES)]
        families = dict.fromkeys(DESIGNED[one] for one in self.settings if one in DESIGNED)
        asked = list(product(families, FLOORS))
        ahead = len(self.settings) * len(indices)
        texts = points.each(self._designed, asked, ahead=len(trainings) + ahead)
        layers = points.each(self._trained, trainings, ahead=ahead)
        designs, trained = dict(zip(asked, texts, strict=True)), dict(zip(trainings, layers, strict=True))
        cases = [
            (
                setting, index, tuple(designs.get((DESIGNED.get(setting), floor)) for floor in FLOORS),
                tuple(trained[setting, *policy] for policy in _POLICIES),
            )
            for setting, index in product(self.settings, indices)
        ]  # fmt: skip
        measured = np.stack(points.each(self._measured, cases))
        plans = self._plans(*cases[0])
        return self._labelled(measured.reshape(len(self.settings), len(indices), len(plans), len(MEASURES)), plans)

    def _designed(self, family: str, floor: float) -> str:
        """A schedule for the law of a family."""
        return designed(family, floor)

    def _trained(self, setting: str, goal: Goal, sees: str) -> Any:
        """Layers of a policy that was trained by gradients on the cases that search."""
        cases = [case_of(setting, index, self.seed) for index in range(self.searched)]
        policy, _ = Descent(
            family=_Drawn(cases), observes=SEES[sees], goal=goal, samples=min(self.samples, 64),
            steps=self.steps // 2, updates=self.updates, learning_rate=0.05, seed=self.seed,
        ).train()  # fmt: skip
        return policy.layers

    def _plans(self, setting: str, index: int, designs: Sequence[str | None], trained: Sequence[Any]) -> list[Plan]:
        """What is run in a case."""
        plans = plans_of(designs, dict(zip(_POLICIES, trained, strict=True)))
        return thinned(plans) if setting in THINNED else plans

    def _measured(self, setting: str, index: int, designs: Sequence[str | None], trained: Sequence[Any]) -> FloatArray:
        """Every measure of every plan in one case, on common noise; NaN of what is not run, or diverges."""
        is_law = setting not in IMAGES
        size = Size(self.samples, self.steps) if is_law else Size(self.images, self.image_steps)
        subject = subject_of(setting, index, size, self.seed)
        rows = []
        for plan in self._plans(setting, index, designs, trained):
            row = [np.nan] * len(MEASURES)
            if plan.schedule is not None:
                try:
                    row = subject.truth.measured(subject.run(parse_schedule(plan.schedule), plan.rule))
                except DivergenceError:
                    pass
            rows.append(row)
        return np.array(rows)

    def _labelled(self, values: FloatArray, plans: Sequence[Plan]) -> xr.Dataset:
        variables: dict[str, tuple[Sequence[str], Any]] = {
            name: (["setting", "case", "plan"], values[..., k]) for k, name in enumerate(MEASURES)
        }
        names = [plan.method for plan in plans]
        variables["plan_method"] = (["plan"], names)
        variables["knob"] = (["plan"], [plan.knob for plan in plans])
        parts = [(one[: self.searched], one[self.searched :]) for one in values]
        found = [[contest(*part, names, *objective).outcomes() for objective in OBJECTIVES] for part in parts]
        methods = list(found[0][0])
        for outcome in OUTCOMES:
            told = [[one[method][outcome] for method in methods] for fronts in found for one in fronts]
            shape = (len(self.settings), len(AIMS), len(DIVERSITIES), len(methods))
            table = np.array([estimate for row in told for estimate in row], dtype=object).reshape(shape)
            variables |= estimates(outcome, ["setting", "aim", "diversity", "method"], table)
        coords = {"setting": self.settings, "aim": list(AIMS), "diversity": list(DIVERSITIES), "method": methods}
        return dataset(variables, coords=coords, spec=self)

    def summarize(self, result: xr.Dataset) -> dict[str, Any]:
        """For every setting, aim and diversity: areas, how far ahead they are, and how far samples are at most."""
        return {
            setting: {
                aim: {diversity: _methods(result.sel(setting=setting, aim=aim, diversity=diversity))
                      for diversity in DIVERSITIES}
                for aim in AIMS
            }
            for setting in self.settings
        }  # fmt: skip


def _methods(one: xr.Dataset) -> dict[str, dict[str, dict[str, float]]]:
    """What every method that is known there has come to."""
    return {
        str(method): {name: {"value": float(told[name]), "stderr": float(told[f"{name}_stderr"])} for name in OUTCOMES}
        for method in one["method"].values
        if np.isfinite(float((told := one.sel({"method": method}))["area"]))
    }
