"""The clocks of schedulers, against the noise that the schedulers themselves add."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

import diffusers

from orthoscope.errors import ConfigError
from orthoscope.guidance.grammar import parse_schedule
from orthoscope.guidance.schedules import Linear
from orthoscope.integrations.diffusers.clock import Position
from orthoscope.integrations.diffusers.combine import strength
from orthoscope.integrations.diffusers.evidence import SCHEDULERS, check_run, clock_of, ends_of
from tests.integrations.families import shrunken

pytestmark = [  # diffusers' own
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have t[ab][<>]=t[01]:UserWarning"),  # torchsde's own
]

STEPS = 6
CHARTS = {
    "CogVideoXDDIMScheduler": "timestep",
    "CogVideoXDPMScheduler": "timestep",
    "CosineDPMSolverMultistepScheduler": "exploding",
    "DDIMParallelScheduler": "timestep",
    "DDIMScheduler": "timestep",
    "DDPMParallelScheduler": "timestep",
    "DDPMScheduler": "timestep",
    "DEISMultistepScheduler": "preserving",
    "DPMSolverMultistepScheduler": "preserving",
    "DPMSolverSDEScheduler": "exploding",
    "DPMSolverSinglestepScheduler": "preserving",
    "EDMDPMSolverMultistepScheduler": "exploding",
    "EDMEulerScheduler": "exploding",
    "EulerAncestralDiscreteScheduler": "exploding",
    "EulerDiscreteScheduler": "exploding",
    "FlowMapEulerDiscreteScheduler": "flow",
    "FlowMatchEulerDiscreteScheduler": "flow",
    "FlowMatchHeunDiscreteScheduler": "flow",
    "FlowMatchLCMScheduler": "flow",
    "HeunDiscreteScheduler": "exploding",
    "KDPM2AncestralDiscreteScheduler": "exploding",
    "KDPM2DiscreteScheduler": "exploding",
    "LCMScheduler": "timestep",
    "LMSDiscreteScheduler": "exploding",
    "PNDMScheduler": "timestep",
    "SASolverScheduler": "preserving",
    "TCDScheduler": "timestep",
    "UniPCMultistepScheduler": "preserving",
}


def scheduler(name: str, **changes: Any) -> Any:
    cls = getattr(diffusers, name)
    known = {
        "PNDMScheduler": {"skip_prk_steps": True, "steps_offset": 1},
        "DPMSolverSDEScheduler": {"noise_sampler_seed": 0},  # else its noise is of the seed of all
    }.get(name, {})
    return cls(**{"num_train_timesteps": 100} | known | changes)  # some construct a level for every one of them


def stepped(made: Any, output: torch.Tensor, t: Any, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    told = {"generator": generator, "old_pred_original_sample": None, "timestep_back": None}
    extra = {name: value for name, value in told.items() if name in made.step.__code__.co_varnames}
    return made.step(model_output=output, timestep=t, sample=x, **extra, return_dict=False)[0]


def walk(made: Any, *, steps: int = STEPS, skip: int = 0) -> list[Position]:
    """The positions at every evaluation of a run from pure noise, or from later on."""
    made.set_timesteps(steps)
    if skip and hasattr(made, "set_begin_index"):
        made.set_begin_index(skip)
    clock, x, found = clock_of(made), torch.ones(1, 1, 2, 2), []
    generator = torch.Generator().manual_seed(0)
    for t in made.timesteps[skip:]:
        ahead = clock.ahead()
        found.append(clock.read(t))
        assert ahead is None or repr(ahead) == repr(found[-1])
        shrunken(made, x, t)  # some insist
        x = stepped(made, 0.1 * x, t, x, generator)
    return found


@pytest.fixture(params=SCHEDULERS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_the_chart_is_the_one_that_a_schedulers_steps_follow(name: str) -> None:
    assert set(SCHEDULERS) == set(CHARTS)
    assert clock_of(scheduler(name)).chart == CHARTS[name]


def test_settings_that_turn_the_clock_round_are_seen() -> None:
    """A state of 0.2 noise and 0.8 data stands at sigma 0.8 of a reversed flow, and ends at 1."""
    made = scheduler("FlowMatchEulerDiscreteScheduler", invert_sigmas=True)
    made.set_timesteps(STEPS)
    clock = clock_of(made)
    levels = [position.level for position in walk(made)]
    sigmas = made.sigmas.tolist()
    assert (clock.chart, clock.output) == ("reversed-flow", "reversed-velocity")
    assert [level.alpha for level in levels[1:]] == pytest.approx(sigmas[1:-1])
    assert [level.sigma for level in levels[1:]] == pytest.approx([(1 - s) / s for s in sigmas[1:-1]])
    assert levels[0].is_pure_noise
    late = parse_schedule("step:early=3,late=-1,switch=1")
    assert [strength(late, Position(level=level, is_first=True)) for level in levels] == [3.0] * 3 + [-1.0] * 3


def test_levels_are_those_of_the_noise_a_scheduler_adds(name: str) -> None:
    """Only first evaluations: in between, schedulers add noise at no level of their own."""
    made = scheduler(name)
    found = [position for position in walk(made) if position.is_first]
    one, none = torch.ones(1, 1), torch.zeros(1, 1)
    add = made.scale_noise if not hasattr(made, "add_noise") else made.add_noise
    for position in found:
        made.set_timesteps(STEPS)
        t = torch.tensor([position.level.t], dtype=made.timesteps.dtype)
        if add.__name__ == "scale_noise":
            signal, noise = add(one, t, none), add(none, t, one)
        else:
            signal, noise = add(one, none, t), add(none, one, t)
        if not position.level.is_pure_noise:
            assert float(position.level.alpha) == pytest.approx(float(signal), rel=1e-5)
            assert float(position.level.sigma) == pytest.approx(float(noise / signal), rel=1e-4)
        else:
            assert float(signal) == 0
            assert position.level.time > 1e14


@pytest.mark.parametrize("name", [name for name, chart in CHARTS.items() if chart == "exploding"])
def test_every_evaluation_is_at_the_level_by_which_its_input_is_scaled(name: str) -> None:
    """Also the second one of a step."""
    made = scheduler(name)
    made.set_timesteps(STEPS)
    clock, x = clock_of(made), torch.ones(1, 1, 2, 2)
    generator = torch.Generator().manual_seed(0)
    for t in made.timesteps:
        scale = float(made.scale_model_input(torch.ones(1), t))
        assert clock.shown(clock.read(t).level) == pytest.approx(scale, rel=1e-5)
        x = stepped(made, 0.1 * x, t, x, generator)


def test_steps_are_counted_and_held(name: str) -> None:
    found = walk(scheduler(name))
    assert [p.level.step for p in found if p.is_first] == list(range(STEPS))
    assert {p.level.steps for p in found} == {STEPS}
    for before, after in itertools.pairwise(found):
        assert after.level.step == before.level.step + after.is_first
        if after.is_first is before.is_first or not after.is_first:  # ancestral steps go back up between
            assert after.level.time < before.level.time


def test_times_of_the_run_are_those_of_its_steps(name: str) -> None:
    made = scheduler(name)
    made.set_timesteps(STEPS)
    clock = clock_of(made)
    first = clock.read(made.timesteps[0])
    times = clock.times
    assert len(times) == STEPS + 1
    assert times[0] == pytest.approx(first.level.time)
    assert all(a > b >= 0 for a, b in itertools.pairwise(times))
    steps = [p.level.time for p in walk(scheduler(name)) if p.is_first]
    np.testing.assert_allclose(times[:-1], steps, rtol=1e-6)


@pytest.mark.parametrize(
    "name", ["EulerDiscreteScheduler", "HeunDiscreteScheduler", "DDIMScheduler", "DEISMultistepScheduler"]
)
def test_a_run_that_starts_midway_counts_its_own_steps(name: str) -> None:
    made = scheduler(name)
    whole = [p for p in walk(made) if p.is_first]
    late = [p for p in walk(scheduler(name), skip=2 * made.order) if p.is_first]
    assert [p.level.step for p in late] == list(range(STEPS - 2))
    assert {p.level.steps for p in late} == {STEPS - 2}
    assert [p.level.time for p in late] == pytest.approx([p.level.time for p in whole[2:]])


@pytest.mark.parametrize(("name", "last"), [("EulerDiscreteScheduler", 4), ("DDIMScheduler", 4), ("PNDMScheduler", 5)])
def test_a_run_that_ends_early_counts_its_own_steps_and_ends_at_its_own_level(name: str, last: int) -> None:
    made = scheduler(name)
    whole = [p.level for p in walk(scheduler(name)) if p.is_first]
    made.set_timesteps(STEPS)
    clock = clock_of(made)
    level = clock.read(made.timesteps[0], last).level
    assert level.steps == 4
    assert clock.times == pytest.approx([level.time for level in whole[:5]])
    assert clock.left == last - 1


@pytest.mark.parametrize(
    ("name", "is_by_table"), [("DDIMScheduler", False), ("PNDMScheduler", False), ("DDPMScheduler", True)]
)
def test_a_step_ends_where_the_scheduler_itself_ends_it(name: str, is_by_table: bool) -> None:
    """By its own arithmetic: some go a share of the training on, others to the next of their timesteps."""
    made = scheduler(name, num_train_timesteps=1000, timestep_spacing="linspace")
    made.set_timesteps(STEPS)
    clock = clock_of(made)
    clock.read(made.timesteps[0])
    after = [int(t) - 1000 // STEPS for t in dict.fromkeys(made.timesteps.tolist())]
    kept = [
        float(made.alphas_cumprod[max(t, 0)] if t >= 0 else made.final_alpha_cumprod) for t in after if not is_by_table
    ]
    ends = [1 / a - 1 for a in kept] or clock.times[1:]
    assert ends_of(clock) == pytest.approx(ends, rel=1e-9, abs=1e-9)
    assert (ends == pytest.approx(clock.times[1:], rel=1e-2)) is is_by_table


def test_a_step_of_two_evaluations_that_is_cut_in_half_is_a_step() -> None:
    made = scheduler("HeunDiscreteScheduler")
    made.set_timesteps(STEPS)
    clock = clock_of(made)
    assert [clock.read(made.timesteps[0], n).level.steps for n in (5, 6, 7) if clock.restart() is None] == [3, 3, 4]
    assert clock.times == pytest.approx([float(s) ** 2 for s in made.sigmas[0:9:2]])


def test_levels_that_rise_within_a_run_are_refused() -> None:
    made = scheduler("FlowMatchEulerDiscreteScheduler")
    made.set_timesteps(sigmas=[0.9, 0.3, 0.6])
    clock = clock_of(made)
    clock.read(made.timesteps[0])
    with pytest.raises(ConfigError, match="does not fall"):
        check_run(clock)


def test_establishing_a_chart_draws_no_noise_and_leaves_the_scheduler_as_it_was() -> None:
    made = scheduler("EulerAncestralDiscreteScheduler", beta_end=0.0123)  # none that was established before
    made.set_timesteps(STEPS)
    before, state = repr(vars(made)), torch.get_rng_state()
    clock_of(made)
    assert repr(vars(made)) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_a_table_that_ends_without_signal_starts_at_pure_noise() -> None:
    made = scheduler(
        "DDIMScheduler", prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"
    )
    found = walk(made)
    assert [p.level.is_pure_noise for p in found] == [True] + [False] * (STEPS - 1)
    assert np.isfinite(found[0].level.time)


def test_both_evaluations_of_a_step_have_one_strength() -> None:
    """The second one lies exactly on the next level, where the schedule jumps."""
    found = walk(scheduler("HeunDiscreteScheduler"))
    third = [p for p in found if p.is_first][3]
    for text in (f"step:early=2,late=-1,switch={third.level.time!r}", "step:early=2,late=-1,switch=50%"):
        schedule = parse_schedule(text)
        strengths = [strength(schedule, p) for p in found]
        assert strengths == [2.0] * 6 + [-1.0] * 5
    assert [p.is_first for p in found] == [True, False] * 5 + [True]


def test_pure_noise_has_the_limit_of_the_schedule_or_none() -> None:
    start = walk(scheduler("FlowMatchEulerDiscreteScheduler"))[0]
    assert start.level.is_pure_noise
    assert strength(parse_schedule("step:early=2,late=-1,switch=1"), start) == 2
    assert strength(parse_schedule("tabulated:at=0/4,strengths=-1/3"), start) == 3
    assert strength(parse_schedule("linear:w0=-1,slope=2,clock=step"), start) == -1
    for clock in ("variance", "sigma", "logsnr"):
        with pytest.raises(ConfigError, match="no finite strength at pure noise"):
            strength(Linear(w0=0, slope=1, clock=clock), start)


@pytest.mark.parametrize(
    ("name", "prediction", "output"),
    [
        ("DPMSolverMultistepScheduler", "flow_prediction", "velocity"),
        ("UniPCMultistepScheduler", "flow_prediction", "velocity"),
        ("UniPCMultistepScheduler", "epsilon", "noise"),
    ],
)
def test_solvers_on_straight_paths_are_read_as_flows(name: str, prediction: str, output: str) -> None:
    made = scheduler(name, use_flow_sigmas=True, prediction_type=prediction)
    made.set_timesteps(STEPS)
    clock = clock_of(made)
    level = clock.read(made.timesteps[0]).level
    sigma = float(made.sigmas[0])
    assert clock.output == output
    assert level.alpha == pytest.approx(1 - sigma)
    assert level.sigma == pytest.approx(sigma / (1 - sigma), rel=1e-4)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("EDMEulerScheduler", {"prediction_type": "sample"}, "no known chart"),
        ("DDIMInverseScheduler", {}, "does not fall"),
        ("DPMSolverMultistepInverseScheduler", {}, "does not fall"),
        ("FlowMatchEulerDiscreteScheduler", {"invert_sigmas": True, "stochastic_sampling": True}, "share"),
        ("PNDMScheduler", {"skip_prk_steps": False}, "skip_prk_steps=True"),
        ("EulerDiscreteScheduler", {"prediction_type": "flow_prediction"}, "could not be established"),
    ],
)
def test_what_cannot_be_read_is_refused(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        clock_of(scheduler(name, **changes))
    assert f" {name}," not in str(raised.value)  # among those advised


def test_the_form_of_a_prediction_is_not_taken_on_trust() -> None:
    class Reversed(diffusers.EDMEulerScheduler):
        def precondition_outputs(self, sample: Any, model_output: Any, sigma: Any) -> Any:
            return super().precondition_outputs(sample, -model_output, sigma)

    with pytest.raises(ConfigError, match="its steps leave"):
        clock_of(Reversed())
