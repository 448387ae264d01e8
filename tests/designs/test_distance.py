from __future__ import annotations

import math

import numpy as np
import pytest

from orthoscope.designs.check import Verification, check_spectrum
from orthoscope.designs.distance import distance_beside, equal_constant
from orthoscope.designs.optimization import SpectrumLaw
from orthoscope.errors import DivergenceError
from orthoscope.guidance.grammar import parse_schedule
from orthoscope.guidance.schedules import Constant
from orthoscope.metrics.away import Away

STEP = parse_schedule("step:early=3,late=-1,switch=0.4")


@pytest.mark.parametrize(
    ("wanted", "strength"), [(0.3, 3.0), (0.0, 0.0), (-0.05, -0.5), (2.0, 20.0), (-0.2, None), (9.0, None)]
)
def test_the_constant_strength_of_a_mean_shift(wanted: float, strength: float | None) -> None:
    found = equal_constant(lambda one: one.value / 10, wanted)
    assert (None if found is None else found.value) == (
        strength if strength is None else pytest.approx(strength, abs=2e-3)
    )


def test_a_shift_that_nothing_knows_has_no_constant() -> None:
    assert equal_constant(lambda one: math.nan, 0.3) is None


def test_distances_between_gaussians_have_closed_forms() -> None:
    law = SpectrumLaw(cond_mean=[1.0], cond_var=[0.5], uncond_mean=[0.0], uncond_var=[2.0], t_max=50.0)
    outcome = law.evaluate(STEP)
    _, told = check_spectrum(law, STEP, outcome, Verification(samples=4000))
    found = told["distance"]
    equal = law.evaluate(parse_schedule(found["constant"]["text"]))
    assert equal.mean_shift == pytest.approx(outcome.mean_shift, abs=1e-3)
    for part, of in ((found, outcome), (found["constant"], equal)):
        expected = math.sqrt(of.variance_ratio + of.mean_shift**2 / 0.5)
        distance = part["class_distance"]
        assert abs(distance["value"] - expected) < 5 * distance["stderr"] + 0.01
    # The same noise: the difference is known better than either.
    assert found["change"]["class_distance"]["value"] == pytest.approx(
        found["class_distance"]["value"] - found["constant"]["class_distance"]["value"], abs=1e-3
    )
    assert found["change"]["class_distance"]["stderr"] < found["class_distance"]["stderr"]
    assert found["far_share"]["value"] > found["constant"]["far_share"]["value"]


def test_a_constant_design_and_one_without_an_equal_stand_alone() -> None:
    own = [Away(squares=np.linspace(0.5, 1.5, 64), far=np.zeros(64))]

    def sampled(schedule: object) -> list[Away]:
        raise DivergenceError("not finite", step=0, time=1.0, last_good=None)

    for schedule, equal in ((Constant(value=1.0), Constant(value=1.0)), (STEP, None), (STEP, Constant(value=50.0))):
        found = distance_beside(schedule, own, sampled, equal)
        assert found["constant"] is None
        assert found["class_distance"]["value"] == pytest.approx(1.0, abs=0.01)
