"""Does steering help? Fronts of adherence against diversity, of schedules and of rules that look at what they do.

For every setting there are cases, draws of a law or classes of one. Every method has a knob; which of its values make a
front is found on some cases and judged on others, on common noise, so that no method gains by having many. Errors are
over the cases that judge, and differences are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import product
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from orthoscope import rng
from orthoscope.control import Case, Descent, Family, shipped
from orthoscope.control.family import Goal
from orthoscope.datasets import dataset, estimates
from orthoscope.errors import DivergenceError
from orthoscope.experiments.networks.learner import TRAINING, Learner
from orthoscope.guidance.grammar import parse_schedule
from orthoscope.guidance.rules import Policy, Rule, parse_rule
from orthoscope.metrics import jackknife, modes
from orthoscope.metrics.away import squared_distance
from orthoscope.quantities import Estimate
from orthoscope.simulation.classes import moments_of
from orthoscope.sweeps.points import HERE, Points
from orthoscope.targets import GaussianClasses, Mixture, gaussian_classes
from orthoscope.targets.bundled import bundled_digits

FloatArray = NDArray[np.float64]
MEASURES = ("variance_ratio", "class_posterior", "mean_shift", "far_share", "class_distance")
OUTCOMES = ("volume", "gain", "far", "distance")
FRONTS = {"class": "class_posterior", "effect": "mean_shift"}
OPEN = ("constant", "step", "linear", "blind")  # whose strengths are known before the run
LEAST_DIVERSITY = 0.5  # below which a front counts for nothing
_DIRECTIONS = 16  # of the digits
_FAMILIES = {
    "committed": Family(dims=(16,), classes=(32,), stds=(0.5,), modes=(1,), learned=(1.0,)),
    "dense": Family(dims=(4,), classes=(128,), stds=(0.5,), modes=(1,), learned=(1.0,)),
    "many modes": Family(dims=(8,), classes=(16,), stds=(0.5,), modes=(8,), learned=(1.0,)),
    "half learned": Family(dims=(16,), classes=(128,), stds=(0.5,), modes=(1,), learned=(0.5,)),
    "one Gaussian": Family(dims=(16,), classes=(128,), stds=(0.5,), modes=(1,), learned=(0.0,)),
}
_WIDTHS = {"network 64": 64, "network 128": 128}
SETTINGS = (*_FAMILIES, *_WIDTHS, "digits")
_PREFERENCES = (0.02, 0.1, 0.3, 0.7)
SEES = {
    "blind": ("progress", "preference"),
    "sees ratio": ("progress", "slope", "ratio", "preference"),
    "sees odds": ("progress", "log_odds", "preference"),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """One value of a method's knob.

    Attributes:
        method: The method.
        knob: The value, as text.
        schedule: Strength, or the most of it.
        rule: How it is combined.
    """

    method: str
    knob: str
    schedule: str
    rule: Rule


def by_hand() -> list[Plan]:
    """Schedules, set-points and published feedback."""
    cfg, plans = parse_rule("cfg"), []
    for w in (0.5, 1, 2, 3.5, 5):
        plans.append(Plan("constant", f"{w:g}", f"constant:{w:g}", cfg))
    for (early, late), at in product(((5, 0), (5, -1), (2, 0), (2, -1), (0, 5), (0, 2)), (40, 60, 75)):
        plans.append(Plan("step", f"{early}, {late} at {at}%", f"step:early={early},late={late},switch={at}%", cfg))
    for first, last in ((5, 0), (5, -1), (2, 0), (2, -1), (0, 5), (0, 2)):
        plans.append(Plan("linear", f"{first} to {last}", f"linear:w0={first},slope={last - first},clock=step", cfg))
    named = {
        "set-point": [f"set-point:ratio={ratio}" for ratio in (0.6, 0.7, 0.8, 0.9, 0.95, 1.0)],
        "hold-posterior": [f"hold-posterior:odds={odds},gain={g}" for odds, g in product((2, 6), (0.3, 1))],
        "pmc": [f"pmc:limit={limit}" for limit in (1.02, 1.05, 1.15)],
    }  # fmt: skip
    plans += [
        Plan(name, text.partition(":")[2], "constant:5", parse_rule(text))
        for name, many in named.items()
        for text in many
    ]
    for w, prior in product((3, 9), (0.75, 0.95)):
        plans.append(Plan("fbg", f"{prior} to {w}", f"constant:{w}", parse_rule(f"fbg:prior={prior}")))
    return plans


@dataclass(frozen=True)
class _Drawn:
    """Cases of a setting, for training."""

    cases: Sequence[Case]

    def draw(self, stream: np.random.Generator) -> Case:
        """One of them."""
        return self.cases[int(stream.integers(len(self.cases)))]


@lru_cache(maxsize=4)
def _network(width: int, seed: int) -> Any:
    """A network of this width, and the law that it learned."""
    learner = Learner(classes=32, width=width, training=TRAINING.but(seed=seed))
    return learner.law(), learner.denoiser(learner.trained())


@lru_cache(maxsize=1)
def _digits() -> GaussianClasses:
    """The images that ship in their main directions, every class a Gaussian."""
    data = bundled_digits().standardized()
    x = data.x.reshape(len(data.x), -1)
    _, _, directions = np.linalg.svd(x, full_matrices=False)
    points = torch.from_numpy(x @ directions[:_DIRECTIONS].T)
    return gaussian_classes(points, torch.from_numpy(data.labels))


def _case(setting: str, index: int, seed: int) -> Case:
    """One case of a setting."""
    if setting in _FAMILIES:
        return _FAMILIES[setting].draw(rng.stream(seed, "control", setting, index))
    if setting == "digits":
        return Case(target=_digits(), label=index % 10)
    law, network = _network(_WIDTHS[setting], seed)
    return Case(target=law, network=network, label=index)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlStudy:
    """Methods, settings, and sizes of their runs.

    Attributes:
        settings: Names in `SETTINGS`.
        searched: Cases by which knobs are chosen and policies trained.
        judged: Cases by which fronts are judged.
        samples: Samples of a run.
        steps: Steps of a run.
        updates: Updates of a policy that is trained by gradients.
        seed: Root seed.
    """

    name: str = field(default="control", init=False)
    settings: tuple[str, ...] = SETTINGS
    searched: int = 4
    judged: int = 8
    samples: int = 128
    steps: int = 24
    updates: int = 150
    seed: int = 0

    @classmethod
    def quick(cls) -> ControlStudy:
        """A reduced version of some minutes."""
        return cls(settings=("dense", "one Gaussian"), searched=2, judged=4, samples=48, steps=12, updates=20)

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Train, run everything in every case, and judge."""
        items = list(product(self.settings, FRONTS, SEES))
        found = points.each(self._trained, items, ahead=len(self.settings) * (self.searched + self.judged))
        trained = {item: layers for item, layers in zip(items, found, strict=True)}
        cases = [
            (setting, index, tuple(trained[setting, front, sees] for front, sees in product(FRONTS, SEES)))
            for setting, index in product(self.settings, range(self.searched + self.judged))
        ]
        measured = points.each(self._measured, cases)
        plans = self._plans(cases[0][2])
        shape = (len(self.settings), self.searched + self.judged, len(plans), len(MEASURES))
        values = np.stack(measured).reshape(shape)
        return self._labelled(values, plans)

    def _trained(self, setting: str, front: str, sees: str) -> Any:
        """Layers of a policy that was trained by gradients on the cases that search."""
        goal: Goal = "truth" if front == "class" else "effect"
        cases = [_case(setting, index, self.seed) for index in range(self.searched)]
        policy, _ = Descent(
            family=_Drawn(cases), observes=SEES[sees], goal=goal, samples=min(self.samples, 64),
            steps=self.steps // 2, updates=self.updates, learning_rate=0.05, seed=self.seed,
        ).train()  # fmt: skip
        return policy.layers

    def _plans(self, trained: Sequence[Any]) -> list[Plan]:
        plans = [Plan("none", "0", "constant:0", parse_rule("cfg")), *by_hand()]
        policies = {"learned": shipped()}
        for (front, sees), layers in zip(product(FRONTS, SEES), trained, strict=True):
            policies[f"{sees}, {front}"] = Policy(observes=SEES[sees], layers=layers)
        for name, policy in policies.items():
            plans += [Plan(name, f"{p:g}", "constant:5", replace(policy, preference=p)) for p in _PREFERENCES]
        return plans

    def _measured(self, setting: str, index: int, trained: Sequence[Any]) -> FloatArray:
        """Every measure of every plan in one case, on common noise."""
        case = _case(setting, index, self.seed)
        moments = moments_of(case.target, case.label)
        rows = []
        for plan in self._plans(trained):
            schedule = parse_schedule(plan.schedule)
            run = case.run(
                plan.rule, most=schedule, samples=self.samples, steps=self.steps,
                seed=rng.key(self.seed, "noise", setting, index) % 2**32,
            )  # fmt: skip
            try:
                with torch.no_grad():
                    x = run.run().x
                    worth = {name: float(value) for name, value in case.worth(x).items()}
            except DivergenceError:
                rows.append([np.nan] * len(MEASURES))
                continue
            squares = squared_distance(x.double().numpy(), moments.mean, moments.covariance)
            is_far = modes.is_far(squares * x.shape[1], x.shape[1])
            if isinstance(case.target, Mixture):
                is_far = modes.far_from_modes(case.target, x).double()
            rows.append(
                [
                    worth["variance_ratio"], worth["adherence"], worth["mean_shift"],
                    float(is_far.mean()),
                    float(np.sqrt(squares.mean())),
                ]
            )  # fmt: skip
        return np.array(rows)

    def _labelled(self, values: FloatArray, plans: Sequence[Plan]) -> xr.Dataset:
        variables: dict[str, tuple[Sequence[str], Any]] = {
            name: (["setting", "case", "plan"], values[..., k]) for k, name in enumerate(MEASURES)
        }
        variables["method"] = (["plan"], [plan.method for plan in plans])
        variables["knob"] = (["plan"], [plan.knob for plan in plans])
        for front in FRONTS:
            groups = methods_of(plans, front)
            found = [self._judged(values[k], groups, front) for k in range(len(self.settings))]
            for name in OUTCOMES:
                column = [[one[method][name] for method in groups] for one in found]
                variables |= estimates(f"{front}_{name}", ["setting", f"{front}_method"], column)
        coords = {"setting": self.settings, **{f"{front}_method": list(methods_of(plans, front)) for front in FRONTS}}
        return dataset(variables, coords=coords, spec=self)

    def _judged(
        self, values: FloatArray, groups: Mapping[str, list[int]], front: str
    ) -> dict[str, dict[str, Estimate]]:
        """Volume of every method's front, by how much more than open loop's, and how far its samples are at most."""
        search, judge = values[: self.searched], values[self.searched :]
        sense = front_of(front)
        chosen = {method: _nondominated(sense(search)[plans], plans) for method, plans in groups.items()}
        cases, shape = judge.reshape(len(judge), -1), judge.shape[1:]

        def volume(method: str, rows: FloatArray) -> float:
            return hypervolume(sense(rows.reshape(-1, *shape))[chosen[method]])

        def gain(method: str, rows: FloatArray) -> float:
            return volume(method, rows) - volume("open loop", rows)

        found = {}
        for method in groups:
            away = judge[:, chosen[method], -2:].max(1)
            found[method] = {
                "volume": _over_cases(partial(volume, method), cases),
                "gain": _over_cases(partial(gain, method), cases),
                "far": _over_cases(lambda rows: float(rows[:, 0].mean()), away),
                "distance": _over_cases(lambda rows: float(rows[:, 1].mean()), away),
            }
        return found

    def summarize(self, result: xr.Dataset) -> dict[str, Any]:
        """For every setting and front: volumes, gains over open loop, and the share of samples far off beside them."""
        return {
            setting: {
                front: {
                    str(method): {
                        name: {
                            "value": float(one[f"{front}_{name}"]), "stderr": float(one[f"{front}_{name}_stderr"]),
                        }
                        for name in OUTCOMES
                    }
                    for method in result[f"{front}_method"].values
                    if (one := result.sel({"setting": setting, f"{front}_method": method})) is not None
                }
                for front in FRONTS
            }
            for setting in self.settings
        }  # fmt: skip


def _over_cases(statistic: Callable[[FloatArray], float], cases: FloatArray) -> Estimate:
    """A statistic of all cases, with the error that leaving out one at a time tells; a front's area is not smooth."""
    return replace(jackknife(statistic, cases), value=statistic(cases))


def methods_of(plans: Sequence[Plan], front: str) -> dict[str, list[int]]:
    """Places of the plans of every method that is asked for on a front; unguided samples belong to all."""
    groups: dict[str, list[int]] = {}
    for k, plan in enumerate(plans):
        method, _, trained_for = plan.method.partition(", ")
        if trained_for in ("", front) and method != "none":
            groups.setdefault(method, [0]).append(k)
    together = sorted({k for method in OPEN for k in groups[method]})
    return {"open loop": together, **groups}


def front_of(front: str) -> Callable[[FloatArray], FloatArray]:
    """Diversity and gain of every plan, from measures by case, plan and measure: means over cases.

    Diversity is the variance ratio or its inverse, whichever is below 1: samples thrown off are not diverse. Gain is
    that of the front's measure over unguided samples on the same noise.
    """
    k = MEASURES.index(FRONTS[front])

    def found(values: FloatArray) -> FloatArray:
        mean = values.mean(0)
        ratio = np.clip(mean[:, 0], 1e-9, None)
        return np.stack([np.minimum(ratio, 1 / ratio), mean[:, k] - mean[0, k]], 1)

    return found


def _nondominated(points: FloatArray, plans: Sequence[int]) -> list[int]:
    """Those plans of which none other is better in both."""
    kept = []
    for k, one in enumerate(points):
        better = (points >= one).all(1) & (points > one).any(1)
        if np.isfinite(one).all() and not better.any():
            kept.append(plans[k])
    return kept


def hypervolume(points: FloatArray) -> float:
    """Area that points dominate, between the least diversity that counts and 1, above a gain of 0."""
    area, height = 0.0, 0.0
    usable = points[np.isfinite(points).all(1) & (points[:, 0] > LEAST_DIVERSITY)]
    for diversity, gain in usable[np.argsort(-usable[:, 0])]:
        area += max(gain - height, 0.0) * (diversity - LEAST_DIVERSITY)
        height = max(height, gain)
    return area
