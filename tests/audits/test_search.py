"""The search over windows: what is tried, what is chosen, and constant strengths to compare windows with."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orthoscope.audits.compare import Compared
from orthoscope.audits.generate import Order
from orthoscope.audits.maker import Maker
from orthoscope.audits.matching import matching_constants
from orthoscope.audits.plan import Audit, constant_strength
from orthoscope.audits.search import STAGE, candidates, choose, searched, some
from orthoscope.audits.studio import Studio
from orthoscope.guidance.grammar import parse_schedule
from orthoscope.integrations.features import features_of
from orthoscope.integrations.host import host_of
from orthoscope.metrics import Measure
from orthoscope.process import NoiseLevel
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
    kinds = candidates(("constant:0", "constant:6", "constant:1", "step:early=9,late=-1,switch=60%"))
    assert [spec for spec, kind in kinds.items() if kind == "constant"] == ["constant:0", "constant:6", "constant:1"]
    early = NoiseLevel(time=np.float64(100.0), step=0, steps=30)
    strengths = {spec: float(parse_schedule(spec).strength(early)) for spec in kinds}
    assert max(strengths.values()) == 12.0
    assert {kinds[spec] for spec in kinds} == {"constant", "step", "linear"}
    for spec, kind in kinds.items():
        assert spec.startswith(kind)
        assert kind == "constant" or parse_schedule(spec).clock == "step"


def test_late_strengths_reach_the_unconditional_model_and_no_further() -> None:
    late = NoiseLevel(time=np.float64(0.0), step=30, steps=30)
    ends = [float(parse_schedule(spec).strength(late)) for spec in candidates(("constant:3",))]
    assert min(ends) == pytest.approx(-1)
    assert sum(end < 0 for end in ends) > 5


def test_without_a_positive_constant_the_usual_strength_is_searched_around() -> None:
    assert "constant:3" in candidates(("constant:0",))
    assert "constant:3" in candidates(("constant:0", "constant:-1"))


def test_few_of_many_prompts_are_asked_for() -> None:
    assert sorted(some(["a", "b"], seed=0)) == ["a", "b"]
    many = [str(number) for number in range(1000)]
    chosen = some(many, seed=0)
    assert len(set(chosen)) == 10
    assert some(many[::-1], seed=0) == chosen  # by their names, not their places
    assert some(many, seed=1) != chosen


# What is chosen


KINDS: dict[str, Any] = {
    "constant:0": "constant",
    **{f"s{n}": "step" for n in range(5)},
    "l0": "linear",
    "l1": "linear",
}


def test_the_best_two_step_windows_and_the_best_line_are_chosen() -> None:
    gains = {"s0": -0.02, "s1": 0.03, "s2": 0.01, "s3": -0.5, "l0": -0.1, "l1": -0.2}
    everything = {"constant:0": found(None), **{spec: found(gain) for spec, gain in gains.items()}}
    assert choose(everything, KINDS) == ["s1", "s2", "l0"]


def test_windows_that_lose_adherence_or_leave_the_line_are_not() -> None:
    everything = {
        "constant:0": found(None),
        "s0": found(0.5, adherence=0.9 - 0.04),  # 2.8 standard errors of the difference below
        "s1": found(0.4, extended=True),
        "s2": found(None),
        "s3": found(0.1, adherence=0.9 - 0.02),  # 1.4
    }
    assert choose(everything, KINDS) == ["s3"]
    unjudged = {spec: one._replace(adherence=None) for spec, one in everything.items()}
    assert choose(unjudged, KINDS) == ["s0", "s3"]


def test_a_search_measures_every_candidate_on_seeds_of_its_own(tmp_path: Path) -> None:
    plan = Audit(steps=2, schedules=("constant:0", "constant:2"), prompts=("3",), images_per_prompt=4)
    host = host_of(pipelines.digits(), "digits")
    order = Order(rule="cfg", steps=2, size=None, seed=0, images=4, stage=STAGE)
    maker = Maker(studio=Studio(host=host, features=features_of("latent")), order=order)
    result, chosen = searched(maker, tmp_path, plan.schedules, plan.prompts, labels={"3": 3})
    assert list(result.candidate.values) == list(candidates(plan.schedules))
    assert [str(spec) for spec in result.candidate.values[result.chosen.values]] == [
        spec for spec in result.candidate.values if spec in chosen
    ]
    assert float(result.variance_ratio.sel(candidate="constant:0")) == pytest.approx(1)
    is_constant = result.kind.values == "constant"
    assert np.isnan(result.gain.values[is_constant]).all()
    assert np.isfinite(result.variance_ratio).all()
    assert len(list(tmp_path.iterdir())) == result.sizes["candidate"]


# Constant strengths of equal mean shift


def matched(*strengths: float) -> list[float]:
    """Strengths added for windows of given equal strengths, beside 0 and 3."""
    constants = ("constant:0", "constant:3")
    everything = {spec: found(None, equal_strength=float("nan")) for spec in constants}
    windows = {f"linear:w0=0,slope={n}": strength for n, strength in enumerate(strengths)}
    everything |= {spec: found(0.1, equal_strength=strength) for spec, strength in windows.items()}
    roles = dict.fromkeys(constants, "constant") | dict.fromkeys(windows, "window")
    return [w for spec in matching_constants(everything, roles) if (w := constant_strength(spec)) is not None]


def test_every_window_gets_a_constant_unless_one_is_near() -> None:
    assert matched(1.234) == [1.23]
    assert matched(3.2, 0.05, float("nan")) == []
    assert matched(1.0, 1.15, 1.3) == [1.0, 1.3]
    for order in itertools.permutations((1.0, 1.2, 1.4)):  # the one between would serve for both others
        assert matched(*order) == [1.0, 1.4]


def test_matched_constants_stay_within_reach() -> None:
    assert matched(40.0, -7.0) == [6.0]  # strength 0 is there already
