"""Judging fronts: knobs are chosen on some cases, areas are taken on others, differences are paired."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from orthoscope.experiments.control.fronts import front_of, hypervolume, nondominated
from orthoscope.experiments.control.methods import methods_for
from orthoscope.experiments.control.truth import MEASURES, FloatArray
from orthoscope.metrics import jackknife
from orthoscope.quantities import Estimate

MOST_FAR = 0.1  # of the samples, that a value of a knob may throw off to be chosen
OUTCOMES = ("area", "ahead", "over_blind", "ahead_freely", "far", "distance")
_FAR, _DISTANCE = MEASURES.index("far_share"), MEASURES.index("class_distance")
_UNKNOWN = Estimate(value=np.nan, stderr=np.nan, n=0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contest:
    """All methods under one objective in one setting.

    Attributes:
        search: Measures by case, plan and measure, by which knobs are chosen.
        judge: Those by which fronts are judged.
        groups: Places of the plans of every method, that of no guidance first.
        sense: Diversity and gain of every plan.
    """

    search: FloatArray
    judge: FloatArray
    groups: Mapping[str, Sequence[int]]
    sense: Callable[[FloatArray], FloatArray]

    def outcomes(self) -> dict[str, dict[str, Estimate]]:
        """For every method the area, how far it is ahead of others, and how far its samples are at most.

        `ahead` is of open loop and `over_blind` of the blind policy; `ahead_freely` is of open loop once more where
        both may throw off what they like.
        """
        chosen, freely = self._chosen(MOST_FAR), self._chosen(np.inf)
        found = {}
        for method, plans in self.groups.items():
            if not np.isfinite(self.search[:, plans[1:]]).any():  # nobody has such a method here
                found[method] = dict.fromkeys(OUTCOMES, _UNKNOWN)
                continue
            found[method] = {
                "area": self._area(chosen[method]),
                "ahead": self._area(chosen[method], chosen["open loop"]),
                "over_blind": self._area(chosen[method], chosen["blind"]),
                "ahead_freely": self._area(freely[method], freely["open loop"]),
                "far": self._most(chosen[method], _FAR),
                "distance": self._most(chosen[method], _DISTANCE),
            }
        return found

    def _chosen(self, most_far: float) -> dict[str, list[int]]:
        """The plans that make each front; no guidance is always allowed."""
        seen, far = self.sense(self.search), self.search[:, :, _FAR].mean(0)
        allowed = {
            method: [k for k in plans if k == plans[0] or far[k] <= most_far] for method, plans in self.groups.items()
        }
        return {method: nondominated(seen[plans], plans) for method, plans in allowed.items()}

    def _area(self, plans: Sequence[int], others: Sequence[int] = ()) -> Estimate:
        """Area under a front, less that under another."""
        shape = self.judge.shape[1:]

        def statistic(rows: FloatArray) -> float:
            points = self.sense(rows.reshape(-1, *shape))
            return hypervolume(points[list(plans)]) - hypervolume(points[list(others)])

        return _over_cases(statistic, self.judge.reshape(len(self.judge), -1))

    def _most(self, plans: Sequence[int], measure: int) -> Estimate:
        """The largest value of a measure on a front."""
        return _over_cases(lambda rows: float(rows.mean()), self.judge[:, plans, measure].max(1, keepdims=True))


def contest(search: FloatArray, judge: FloatArray, names: Sequence[str], aim: str, diversity: str) -> Contest:
    """All methods under an objective, from the methods of all plans."""
    return Contest(search=search, judge=judge, groups=methods_for(names, aim), sense=front_of(aim, diversity))


def _over_cases(statistic: Callable[[FloatArray], float], cases: FloatArray) -> Estimate:
    """A statistic of all cases, with the error that leaving out one at a time tells; a front's area is not smooth."""
    return replace(jackknife(statistic, cases), value=statistic(cases))
