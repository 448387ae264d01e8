"""Records of records: built and changed by the names of their innermost fields."""

from __future__ import annotations

import math
from typing import Any

import pytest

from orthoscope.errors import ConfigError, named
from orthoscope.guidance.schedules import Constant
from orthoscope.laws import RandomMixture
from orthoscope.settings import Setting
from orthoscope.simulation.setting import Budget, Numerics, Simulation

GIVEN: dict[str, Any] = {"dim": 8, "rate": 0.3, "std": 0.5, "schedule": Constant(value=1.0), "t_max": 20.0}


def test_fields_go_into_the_parts_that_have_them() -> None:
    law = RandomMixture(rate=0.3, std=0.5)
    setting = Setting(law=law, schedule=Constant(value=1.0), dim=8, t_max=20.0)
    whole = Simulation(setting=setting, numerics=Numerics(steps=12), budget=Budget(draws=2, seed=5))
    assert Simulation.of(**GIVEN, steps=12, draws=2, seed=5) == whole
    assert Simulation.of(setting=setting, steps=12, budget=Budget(draws=2, seed=5)) == whole
    assert Setting.of(law=law, schedule=Constant(value=1.0), dim=8, t_max=20.0) == setting
    assert setting.t_max != Setting.of(law=law, schedule=Constant(value=1.0)).t_max == math.inf


def test_a_change_reaches_its_part_and_nothing_else() -> None:
    simulation = Simulation.of(**GIVEN)
    changed = simulation.but(std=0.7, steps=5, modes="planted")
    assert changed == Simulation.of(**GIVEN | {"std": 0.7}, steps=5, modes="planted")
    assert changed.but(std=0.5, steps=30, modes="memory") == simulation
    other = RandomMixture(classes=9, std=0.1)
    assert simulation.but(law=other, std=0.2).setting.law == RandomMixture(classes=9, std=0.2)


@pytest.mark.parametrize("wrong", [{"stepz": 3}, {"strength": 1.0}])
def test_fields_that_no_part_has_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(wrong))):
        Simulation.of(**GIVEN, **wrong)
    with pytest.raises(TypeError, match=next(iter(wrong))):
        Simulation.of(**GIVEN).but(**wrong)


def test_mistakes_carry_their_field_and_show_its_name_as_the_reader_has_it() -> None:
    with pytest.raises(ConfigError) as caught:
        Simulation.of(**GIVEN | {"t_max": math.inf})
    assert caught.value.fields == ("t_max",)
    assert named(str(caught.value), lambda name: f"<{name}>") == "<t_max> must be finite to simulate, got inf"
    assert (
        named("`orthoscope demo` and `VarianceExploding` stay", str.upper)
        == "`orthoscope demo` and `VarianceExploding` stay"
    )
