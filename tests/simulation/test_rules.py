"""Simulations under rules: linear ones on absorbed levels, bent ones on levels that end above clean data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orthoscope import results
from orthoscope.denoise import Counted, ExactDenoiser
from orthoscope.errors import ConfigError
from orthoscope.experiments.registry import _PARTS, SpecTypes
from orthoscope.experiments.single import SimulationStudy
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.renoised import renoised
from orthoscope.guidance.rules import RULE_TYPES, LinearCFG, Renoised, Rescaled
from orthoscope.guidance.schedules import Constant
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.sampling import Exponential
from orthoscope.serialize import from_dict, to_dict
from orthoscope.settings import Setting
from orthoscope.simulation.comparison import theories
from orthoscope.simulation.coupled import coupled
from orthoscope.simulation.draw import BENT_END, draw
from orthoscope.simulation.estimators import choose
from orthoscope.simulation.radial import radial
from orthoscope.simulation.setting import Simulation
from orthoscope.simulation.simulate import simulate
from orthoscope.simulation.together import simulate_together
from orthoscope.targets import mixture
from orthoscope.theory import predict
from tests.guidance import mine

BASE: dict[str, Any] = {
    "dim": 8, "rate": 0.3, "std": 0.5, "schedule": 1.0, "t_max": 20.0, "samples": 64, "draws": 2, "steps": 16,
    "dtype": "float64",
}  # fmt: skip


def by_hand(x: Any, level: Any, predictions: Any, w: Any) -> Any:
    return predictions["cond"] + w * (predictions["cond"] - predictions["uncond"])


@pytest.mark.parametrize("grid", ["refined", "geometric", "equalized"])
@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_linear_guidance_as_a_bent_rule_differs_by_the_noise_that_is_left(grid: str, lam: float) -> None:
    plain = Simulation.of(**BASE, grid=grid, lam=lam)
    bent = plain.but(rule=by_hand)
    one, other = (draw(each).run() for each in (plain, bent))
    assert one.grid.times[:-1] == other.grid.times[:-1]
    assert (one.grid.times[-1], other.grid.times[-1]) == (0.0, (BENT_END * 0.5) ** 2)
    assert one.calls == other.calls
    # The last step falls short of clean data by 1e-4 of the variance of a mode.
    assert float((one.x - other.x).abs().max()) < 0.05 * BENT_END
    left = other.x.var(dim=0).mean() / one.x.var(dim=0).mean() - 1
    assert 0 < abs(float(left)) < 2 * BENT_END**2


def test_a_rule_that_is_linear_guidance_is_none() -> None:
    plain = Simulation.of(**BASE)
    for rule in ("cfg", LinearCFG(), None):
        assert plain.but(rule=rule) == plain
        assert Setting.of(rate=0.2, std=0.5, schedule=1.0, rule=rule).rule is None


def test_a_linear_rule_of_ones_own_runs_as_linear_guidance_bit_for_bit() -> None:
    plain, own = simulate(Simulation.of(**BASE)), simulate(Simulation.of(**BASE, rule=mine.Plain))
    assert own.estimates == plain.estimates
    assert own.times == plain.times


@pytest.mark.parametrize("modes", ["memory", "planted", "regenerated"])
def test_renoising_is_linear_guidance_at_the_strengths_of_its_grid(modes: str) -> None:
    simulation = Simulation.of(**BASE | {"schedule": -0.5}, rule="cfg++", grid="geometric", modes=modes)
    times = draw(simulation).levels.times
    schedule = renoised(0.5, times)
    same = draw(simulation.but(rule=None, schedule=schedule)).run(draw(simulation).levels)
    torch.testing.assert_close(draw(simulation).run().x, same.x, rtol=1e-9, atol=1e-9)


def test_renoising_may_leave_modes_out() -> None:
    simulation = Simulation.of(**BASE | {"schedule": -0.8}, rule="cfg++", grid="geometric")
    whole = simulate(simulation)
    for name, kwargs in (("plain", {}), ("completed", {}), ("plain", {"lam": 0.0})):
        few = simulation.but(tolerance=1e-4, **kwargs)
        found = simulate(few, estimator=choose(name, few))
        every = whole if not kwargs else simulate(simulation.but(**kwargs))
        assert kwargs or found.modes_read < every.modes_read  # the other needs more modes than these to be worth it
        assert found.estimates["mean_shift"].agrees(every.estimates["mean_shift"].value, slack=0.01)


def test_a_built_in_bent_rule_sees_the_denoised_means_of_the_target_itself() -> None:
    seen: list[tuple[NoiseLevel, torch.Tensor, torch.Tensor]] = []

    def spy(x: Any, level: Any, predictions: Any, w: Any) -> Any:
        seen.append((level, x, predictions["cond"]))
        return Rescaled(phi=0.7)(x, level, predictions, w, None)[0]

    one = draw(Simulation.of(**BASE, rule=spy))
    one.run()
    for level, x, cond in seen[::5]:
        assert level.offset == 0
        assert torch.equal(cond, one.target.conditional(0).denoised(x, level))


def test_counting_width_as_noise_moves_no_step() -> None:
    law = mixture(torch.tensor([[1.0, 0.0], [-1.0, 0.5]], dtype=torch.float64), std=0.4)
    narrow, offset = law.absorbed()
    x = torch.tensor([[0.3, -0.2], [1.5, 0.4]], dtype=torch.float64)
    level = VarianceExploding(offset=offset).at(0.3)
    whole = Counted(classifier_free(ExactDenoiser(law), 1.5))
    torch.testing.assert_close(whole(x, level, 0), classifier_free(ExactDenoiser(narrow), 1.5)(x, level, 0))
    with pytest.raises(ConfigError, match="not told by its denoised mean at clean data; end above it"):
        whole(x, VarianceExploding(offset=offset).at(0.0), 0)


def test_schedules_are_compared_under_a_rule() -> None:
    simulation = Simulation.of(**BASE, rule=by_hand, grid="geometric")
    found, plain = (simulate_together(one, [Constant(value=0.0)]) for one in (simulation, simulation.but(rule=None)))
    for name in ("mean_shift", "variance_shift"):
        assert found.differences[0][name].value == pytest.approx(plain.differences[0][name].value, abs=2e-3)


# Theory


@pytest.mark.parametrize("rule", ["cfg++", "apg:eta=0", Rescaled(), by_hand])
def test_theory_refuses_every_rule_but_plain_guidance_in_one_line(rule: Any) -> None:
    setting = Setting.of(rate=0.3, std=0.5, schedule=1.0, rule=rule)
    with pytest.raises(ConfigError, match="theory knows plain classifier-free guidance only, got the `rule` ") as told:
        predict(setting)
    assert told.value.fields == ("rule",)
    assert "\n" not in str(told.value)
    assert theories(Simulation.of(**BASE, rule=rule)) == (None, None)


def test_a_study_says_that_no_theory_knows_the_rule_and_is_read_back() -> None:
    study = SimulationStudy(simulation=Simulation.of(**BASE, rule=mine.bent))
    found = results.run(study)
    assert found.numbers["theory"] == {"mean_field": None, "finite_dim": None}
    assert found.numbers["diagnosis"] == "no theory knows the rule bent: measured only"
    assert "speciation_time" in found.data
    assert np.isnan(found.data["speciation_time"])
    assert from_dict(json.loads(json.dumps(to_dict(study))), SpecTypes()) == study
    assert found.plot() is not None
    assert "mean shift" in repr(found)


def test_what_cannot_be_written_down_runs_is_kept_and_read_and_never_run_again(tmp_path: Path) -> None:
    study = SimulationStudy(simulation=Simulation.of(**BASE, rule=lambda x, level, p, w: p["cond"]))
    found = results.run(study)
    told = found.numbers["spec"]["simulation"]["setting"]["rule"]
    assert told["type"] == "FunctionRule"
    assert told["in_memory"].endswith("<lambda>")
    found.save(tmp_path / "run")
    assert results.read(tmp_path / "run").numbers == found.numbers
    with pytest.raises(ConfigError, match="cannot be run again"):
        results.rerun(tmp_path / "run")
    with pytest.raises(ConfigError):
        from_dict(told, RULE_TYPES)


def test_specifications_know_every_rule() -> None:
    assert {name for name, place in _PARTS.items() if place.startswith("guidance.rules")} == set(RULE_TYPES)


# Refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rule": "apg", "tolerance": 0.01}, "a `tolerance` rests on the odds of a class under linear guidance"),
        ({"rule": mine.Plain, "tolerance": 0.01}, "use 0 with the `rule` Plain"),
        ({"rule": "agp"}, "unknown rule 'agp'; did you mean 'apg'"),
        ({"rule": f"{mine.__name__}:bent:needs=cond/anchor"}, "the `rule` bent also needs anchor"),
    ],
)
def test_what_rests_on_linear_guidance_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Simulation.of(**BASE | changes)


@pytest.mark.parametrize("rule", ["cfg++", "apg", mine.Plain])
def test_control_variates_are_those_of_linear_guidance(rule: Any) -> None:
    simulation = Simulation.of(**BASE, rule=rule)
    with pytest.raises(ConfigError, match="the estimator 'controlled' needs classifier-free guidance"):
        choose("controlled", simulation)
    with pytest.raises(ConfigError, match="reduced coordinates follow linear guidance only"):
        radial(simulation.but(modes="planted"))
    with pytest.raises(ConfigError, match="the baseline of coupled runs is that of classifier-free guidance"):
        coupled(simulation.but(draws=8))


def test_renoising_knows_the_levels_of_its_run() -> None:
    one = draw(Simulation.of(**BASE, rule=Renoised()))
    guided: Any = one.denoiser(one.levels)
    assert guided.rule.times == one.levels.times
    assert one.step == Exponential(lam=1.0, order=2)
