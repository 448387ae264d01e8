"""The search over windows: what is tried, what is chosen, and constant strengths to compare windows with."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orthoscope.audits.compare import Compared
from orthoscope.audits.contribute import Material
from orthoscope.audits.generate import Order
from orthoscope.audits.maker import Maker
from orthoscope.audits.matching import matching_constants
from orthoscope.audits.plan import constants
from orthoscope.audits.search import STAGE, candidates, choose, searched, some
from orthoscope.audits.studio import Studio
from orthoscope.guidance.rules import LinearCFG
from orthoscope.guidance.schedules import Constant, Linear, Step
from orthoscope.integrations.features import features_of
from orthoscope.integrations.host import host_of
from orthoscope.metrics import Measure
from orthoscope.process import NoiseLevel
from tests.audits.cells import named, parsed
from tests.integrations import pipelines

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own


def measure(value: float, stderr: float = 0.01) -> Measure:
    return Measure(value=value, low=value - 2 * stderr, high=value + 2 * stderr, stderr=stderr, n=40, dof=30.0)


def found(gain: float | None, adherence: float | None = 0.9, **changes: Any) -> Compared:
    given = {
        "variance_ratio": measure(0.9),
        "mean_shift": measure(0.2),
        "adherence": None if adherence is None else measure(adherence),
        "gain": None if gain is None else measure(gain),
        "equal_strength": 1.5,
        "extended": False,
    }
    return Compared(**given | changes)


# What is tried


def test_candidates_scale_with_the_strongest_constant() -> None:
    tried = candidates(parsed(("constant:0", "constant:6", "constant:1", "step:early=9,late=-1,switch=60%")))
    assert constants(tried) == [0, 6, 1]
    early = NoiseLevel(time=np.float64(100.0), step=0, steps=30)
    assert max(float(schedule.strength(early)) for schedule in tried) == 12.0
    assert {type(schedule) for schedule in tried} == {Constant, Step, Linear}
    assert all(isinstance(schedule, Constant) or schedule.clock == "step" for schedule in tried)


def test_late_strengths_reach_the_unconditional_model_and_no_further() -> None:
    late = NoiseLevel(time=np.float64(0.0), step=30, steps=30)
    ends = [float(schedule.strength(late)) for schedule in candidates([Constant(value=3)])]
    assert min(ends) == pytest.approx(-1)
    assert sum(end < 0 for end in ends) > 5


def test_without_a_positive_constant_the_usual_strength_is_searched_around() -> None:
    assert Constant(value=3) in candidates([Constant(value=0)])
    assert Constant(value=3) in candidates([Constant(value=0), Constant(value=-1)])


def test_few_of_many_prompts_are_asked_for() -> None:
    assert sorted(some(["a", "b"], seed=0)) == ["a", "b"]
    many = [str(number) for number in range(1000)]
    chosen = some(many, seed=0)
    assert len(set(chosen)) == 10
    assert some(many[::-1], seed=0) == chosen  # by their names, not their places
    assert some(many, seed=1) != chosen


# What is chosen


S = [Step(early=n, late=-1, switch=0.5, clock="step") for n in range(5)]
L = [Linear(w0=n, slope=1, clock="step") for n in range(2)]
REFERENCE = Constant(value=0)


def test_the_best_two_step_windows_and_the_best_line_are_chosen() -> None:
    gains = {S[0]: -0.02, S[1]: 0.03, S[2]: 0.01, S[3]: -0.5, L[0]: -0.1, L[1]: -0.2}
    everything = {REFERENCE: found(None), **{schedule: found(gain) for schedule, gain in gains.items()}}
    assert choose(everything) == [S[1], S[2], L[0]]


def test_windows_that_lose_adherence_or_leave_the_line_are_not() -> None:
    everything = {
        REFERENCE: found(None),
        S[0]: found(0.5, adherence=0.9 - 0.04),  # 2.8 standard errors of the difference below
        S[1]: found(0.4, extended=True),
        S[2]: found(None),
        S[3]: found(0.1, adherence=0.9 - 0.02),  # 1.4
    }
    assert choose(everything) == [S[3]]
    unjudged = {schedule: one._replace(adherence=None) for schedule, one in everything.items()}
    assert choose(unjudged) == [S[0], S[3]]


def test_a_search_measures_every_candidate_on_seeds_of_its_own(tmp_path: Path) -> None:
    schedules = [Constant(value=0), Constant(value=2)]
    order = Order(rule=LinearCFG(), steps=2, size=None, seed=0, images=4, stage=STAGE)
    host = host_of(pipelines.digits(), "digits")
    maker = Maker(studio=Studio(host=host, features=features_of("latent")), order=order)
    cells = maker.cells(tmp_path)
    material = Material(cells=cells, prompts=("3",), labels={"3": 3})
    result, chosen = searched(maker, cells, material, schedules)
    tried = candidates(schedules)
    assert list(result.candidate.values) == [named(schedule) for schedule in tried]
    assert [schedule in chosen for schedule in tried] == result.chosen.values.tolist()
    assert float(result.variance_ratio.sel(candidate="constant:0")) == pytest.approx(1)
    is_constant = result.kind.values == "constant"
    assert np.isnan(result.gain.values[is_constant]).all()
    assert np.isfinite(result.variance_ratio).all()
    assert len(list(tmp_path.iterdir())) == result.sizes["candidate"]


# Constant strengths of equal mean shift


def matched(*strengths: float) -> list[float]:
    """Strengths added for windows of given equal strengths, beside 0 and 3."""
    known = [Constant(value=0), Constant(value=3)]
    everything = {schedule: found(None, equal_strength=float("nan")) for schedule in known}
    windows = {Linear(w0=0, slope=n): strength for n, strength in enumerate(strengths)}
    everything |= {schedule: found(0.1, equal_strength=strength) for schedule, strength in windows.items()}
    roles = dict.fromkeys(known, "constant") | dict.fromkeys(windows, "window")
    return constants(matching_constants(everything, roles))


def test_every_window_gets_a_constant_unless_one_is_near() -> None:
    assert matched(1.234) == [1.23]
    assert matched(3.2, 0.05, float("nan")) == []
    assert matched(1.0, 1.15, 1.3) == [1.0, 1.3]
    for order in itertools.permutations((1.0, 1.2, 1.4)):  # the one between would serve for both others
        assert matched(*order) == [1.0, 1.4]


def test_matched_constants_stay_within_reach() -> None:
    assert matched(40.0, -7.0) == [6.0]  # strength 0 is there already
