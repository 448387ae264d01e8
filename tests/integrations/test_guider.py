"""The guider inside real modular pipelines, beside loops written by hand and the library's own guiders."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.guiders import (
    AdaptiveProjectedGuidance,
    ClassifierFreeGuidance,
    ClassifierFreeZeroStarGuidance,
)
from diffusers.modular_pipelines.modular_pipeline import BlockState
from torch import Tensor

from orthoscope.errors import ConfigError
from orthoscope.guidance.rules import FunctionRule, Projected
from orthoscope.guidance.schedules import Step
from orthoscope.integrations.guider import OrthoscopeGuidance
from tests.guidance import mine
from tests.integrations.modular import (
    LATENTS,
    STEPS,
    Case,
    Combine,
    flow_by_hand,
    flow_case,
    linear,
    xl_by_hand,
    xl_case,
    xl_pair,
)

# Of diffusers, on the way from torch to numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TABLE = "tabulated:at=0/80%,strengths=1/5"


@pytest.fixture
def flow() -> Case:
    return flow_case()


@pytest.fixture
def xl() -> Case:
    return xl_case()


def expect_equal(found: Tensor, expected: Tensor, tolerance: float = 2e-4) -> None:
    assert found.shape == expected.shape
    assert (found - expected).norm() < tolerance * expected.norm()


def expect_different(found: Tensor, other: Tensor) -> None:
    assert (found - other).norm() > 0.01 * other.norm()


# Schedules


def test_any_strength_at_any_step_of_a_flow(flow: Case) -> None:
    guider = OrthoscopeGuidance("step:early=3,late=-1,switch=60%")
    found = flow.run(guider)
    expect_equal(found, flow_by_hand(flow, linear(3, 3, 3, -1, -1)))
    expect_different(found, flow_by_hand(flow, linear(3, 3, 3, 0, 0)))


def test_any_strength_at_any_step_of_stable_diffusion_xl(xl: Case) -> None:
    found = xl.run(OrthoscopeGuidance("tabulated:at=0/20%/60%/1,strengths=4/-2/0/1"))
    expect_equal(found, xl_by_hand(xl, linear(4, -2, -1, 0, 0.5)))


def test_a_clock_of_noise_reads_the_attached_scheduler(xl: Case, flow: Case) -> None:
    scheduler = diffusers.EulerDiscreteScheduler()
    scheduler.set_timesteps(STEPS)
    sigma = scheduler.sigmas.tolist()
    guider = OrthoscopeGuidance(f"step:early=2,late=-0.5,switch={math.sqrt(sigma[1] * sigma[2])},clock=sigma")
    expect_equal(xl.run(guider.attach(xl.scheduler)), xl_by_hand(xl, linear(2, 2, -0.5, -0.5, -0.5)))
    # In a flow the unscaled noise level is sigma / (1 - sigma).
    window = OrthoscopeGuidance("interval:inside=2,low=1,high=3,clock=sigma").attach(flow.scheduler)

    def inside(k: int, sigma: float, x: Tensor, cond: Tensor, uncond: Tensor) -> Tensor:
        return cond + (2 if 0.5 < sigma <= 0.75 else 0) * (cond - uncond)

    expect_equal(flow.run(window), flow_by_hand(flow, inside))


@pytest.mark.parametrize("scheduler", [diffusers.EulerDiscreteScheduler, diffusers.HeunDiscreteScheduler])
def test_a_run_that_ends_early_counts_the_steps_that_it_makes(scheduler: Any) -> None:
    made = scheduler()
    guider, seen = OrthoscopeGuidance("step:early=3,late=-1,switch=60%").attach(made), []
    made.set_timesteps(20)
    planned = 16 * made.order
    for step in range(planned):
        guider.set_state(step, planned, made.timesteps[step])
        seen.append(guider._strength())
        made.step(torch.zeros(1, 2), made.timesteps[step], torch.zeros(1, 2))
    assert seen == [3.0] * 10 * made.order + [-1.0] * 6 * made.order


def test_a_rule_that_is_linear_here_is_linear_guidance_from_pure_noise_on(flow: Case) -> None:
    wanted = flow.run(OrthoscopeGuidance("constant:3"))
    for rule in ("rescale:phi=0", "power-law:alpha=0", "apg:eta=1,space=score"):
        expect_equal(flow.run(OrthoscopeGuidance("constant:3", rule).attach(flow.scheduler)), wanted, 1e-5)


def test_the_unconditional_pass_is_skipped_where_it_does_not_matter(xl: Case) -> None:
    assert xl.calls(OrthoscopeGuidance("constant:2")) == 2 * STEPS
    assert xl.calls(OrthoscopeGuidance("step:early=0,late=2,switch=60%")) == 2 * STEPS - 3
    assert xl.calls(OrthoscopeGuidance("constant:0")) == STEPS


def test_both_evaluations_of_a_second_order_step_have_its_strength(xl: Case) -> None:
    xl.using(diffusers.HeunDiscreteScheduler())
    seen = []

    class Recorded(OrthoscopeGuidance):
        def _strength(self) -> float:
            seen.append(super()._strength())
            return seen[-1]

    xl.run(Recorded("tabulated:at=0/20%/1,strengths=1/2/3").attach(xl.scheduler))
    once = [1.0, 2.0, 2.25, 2.5, 2.75]
    evaluations = [w for w in once for _ in (0, 1)][:-1]
    assert seen == pytest.approx([w for w in evaluations for _ in (0, 1)])  # asked before and after the network
    with pytest.raises(ConfigError, match="more than once per step"):
        xl.run(OrthoscopeGuidance("step:early=3,late=-1,switch=60%"))


# The library's own guiders


@pytest.mark.slow
def test_a_constant_schedule_is_the_librarys_guidance(xl: Case, flow: Case) -> None:
    for case in (xl, flow):
        for w in (2.5, -0.5, -1.0):
            theirs = case.run(ClassifierFreeGuidance(guidance_scale=1 + w))
            expect_equal(case.run(OrthoscopeGuidance(f"constant:{w}")), theirs, 1e-5)


def test_rescaling_is_the_librarys(xl: Case) -> None:
    theirs = xl.run(ClassifierFreeGuidance(guidance_scale=5.0, guidance_rescale=0.6))
    expect_equal(xl.run(OrthoscopeGuidance("constant:4", "rescale:phi=0.6").attach(xl.scheduler)), theirs)
    expect_different(xl.run(OrthoscopeGuidance("constant:4")), theirs)


def test_cfg_zero_star_is_the_librarys(flow: Case) -> None:
    theirs = flow.run(ClassifierFreeZeroStarGuidance(guidance_scale=4.0, zero_init_steps=2))
    rule = "cfg-zero-star:zero_steps=2"
    expect_equal(flow.run(OrthoscopeGuidance("constant:3", rule).attach(flow.scheduler)), theirs)
    expect_different(flow.run(OrthoscopeGuidance("constant:3")), theirs)


def test_projected_guidance_of_the_raw_output_is_the_librarys(xl: Case) -> None:
    settings = {
        "adaptive_projected_guidance_momentum": -0.5,
        "adaptive_projected_guidance_rescale": 8.0,
        "eta": 0.3,
        "use_original_formulation": True,
    }
    theirs = xl.run(AdaptiveProjectedGuidance(guidance_scale=4.0, **settings))
    ours = OrthoscopeGuidance("constant:4", "apg:eta=0.3,momentum=-0.5,threshold=8,space=noise").attach(xl.scheduler)
    expect_equal(xl.run(ours), theirs)


# Rules that look at the state


def projected(sign: Callable[[float], float], of_mean: Callable[..., Tensor], mean: Callable[..., Tensor]) -> Combine:
    kept: list[Tensor] = []

    def combine(k: int, sigma: float, x: Tensor, cond: Tensor, uncond: Tensor) -> Tensor:
        c, u = mean(sigma, x, cond), mean(sigma, x, uncond)
        kept.append(c - u - (0.5 * kept[-1] if kept else 0))
        d = kept[-1].flatten(1)
        d = d * (9.0 / d.norm(dim=1, keepdim=True)).clamp(max=1)
        flat = c.flatten(1)
        along = (d * flat).sum(1, keepdim=True) / (flat * flat).sum(1, keepdim=True) * flat
        return of_mean(sigma, x, c + sign(k) * (d - 0.8 * along).reshape(c.shape))

    return combine


def test_projected_guidance_acts_on_the_denoised_mean(xl: Case, flow: Case) -> None:
    rule = "apg:eta=0.2,momentum=-0.5,threshold=9"
    expected = xl_by_hand(xl, projected(lambda k: 3.0, lambda s, x, d: (x - d) / s, lambda s, x, noise: x - s * noise))
    guider = OrthoscopeGuidance("constant:3", rule).attach(xl.scheduler)
    expect_equal(xl.run(guider), expected)
    expect_equal(xl.run(guider), expected)  # the memory of a run does not reach the next
    # A flow starts at pure noise, where the mean is the state minus the velocity all the same.
    expected = flow_by_hand(flow, projected(lambda k: 3.0, lambda s, x, d: (x - d) / s, lambda s, x, v: x - s * v))
    expect_equal(flow.run(OrthoscopeGuidance("constant:3", rule).attach(flow.scheduler)), expected)


def test_a_network_that_predicts_the_velocity_of_a_preserving_chart(xl: Case) -> None:
    settings = {"prediction_type": "v_prediction", "clip_sample": False, "set_alpha_to_one": False}
    scheduler = diffusers.DDIMScheduler(**settings)
    scheduler.set_timesteps(STEPS)
    x, kept = LATENTS, [float(scheduler.alphas_cumprod[t]) for t in (*scheduler.timesteps, 0)]
    combine = projected(lambda k: 3.0, lambda s, x, d: d, lambda s, x, d: d)
    for k, t in enumerate(scheduler.timesteps):
        signal, noise = math.sqrt(kept[k]), math.sqrt(1 - kept[k])
        cond, uncond = (signal * x - noise * v for v in xl_pair(xl, x, t))
        clean = combine(k, noise / signal, x, cond, uncond)
        back = (x - signal * clean) / noise
        x = math.sqrt(kept[k + 1]) * clean + math.sqrt(1 - kept[k + 1]) * back
    xl.using(diffusers.DDIMScheduler(**settings))
    rule = "apg:eta=0.2,momentum=-0.5,threshold=9"
    expect_equal(xl.run(OrthoscopeGuidance("constant:3", rule).attach(xl.scheduler)), x)


def test_momentum_counts_steps_and_not_evaluations(xl: Case) -> None:
    xl.using(diffusers.HeunDiscreteScheduler())
    guider = OrthoscopeGuidance("constant:1", "apg:momentum=-0.5").attach(xl.scheduler)
    memories = []

    class Recorded(Projected):
        def __call__(self, *args: Any) -> Any:
            memories.append(args[-1])
            return super().__call__(*args)

    guider._rule = Recorded(momentum=-0.5)
    xl.run(guider)
    assert len(memories) == 2 * STEPS - 1
    first, second = memories[0::2], memories[1::2]
    assert first[0] is None
    assert second[0] is None  # the memory of the first step is there from the second step on
    assert all(a is b for a, b in zip(first, second, strict=False))
    assert all(a is not b for a, b in itertools.pairwise(first))


def test_cfg_plus_plus_adds_the_unconditional_noise_back(xl: Case) -> None:
    lam = 0.6
    expected = xl_by_hand(
        xl,
        lambda k, s, x, cond, uncond: uncond + lam * (cond - uncond),
        renoise=lambda k, s, x, cond, uncond: uncond,
    )
    guider = OrthoscopeGuidance(f"constant:{lam - 1}", "cfg++").attach(xl.scheduler)
    expect_equal(xl.run(guider), expected)
    expect_equal(xl.run(guider), expected)


# State


@pytest.mark.slow
def test_nothing_of_a_run_reaches_the_next(xl: Case) -> None:
    guider = OrthoscopeGuidance("step:early=3,late=0,switch=60%")
    first = xl.run(guider)
    assert guider.num_conditions == 2
    assert torch.equal(xl.run(guider), first)

    def broken(*_: Any) -> None:
        if guider.get_state()["step"] == 2:
            raise RuntimeError("stop here")

    for rule in ("cfg", "apg:momentum=-0.5"):
        guider = OrthoscopeGuidance("step:early=3,late=0,switch=60%", rule).attach(xl.scheduler)
        before = xl.run(guider)
        handle = xl.network.register_forward_pre_hook(broken)
        with pytest.raises(RuntimeError, match="stop here"):
            xl.run(guider)
        handle.remove()
        assert torch.equal(xl.run(guider), before)
    assert not xl.network._forward_pre_hooks


def test_fewer_steps_after_more(xl: Case) -> None:
    guider = OrthoscopeGuidance("step:early=3,late=-1,switch=50%")
    alone = xl.run(guider.new(), num_inference_steps=2)
    xl.run(guider, num_inference_steps=7)
    assert torch.equal(xl.run(guider, num_inference_steps=2), alone)


def test_a_guider_that_joins_a_run_late_counts_its_steps() -> None:
    # Pipelines with two networks have a guider for each.
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    for guider in (OrthoscopeGuidance(TABLE), OrthoscopeGuidance(TABLE).attach(scheduler)):
        for steps, expected in ((5, [4.0, 5.0]), (10, [3.5, 4.0, 4.5, 5.0, 5.0])):
            scheduler.set_timesteps(steps)
            seen = []
            for step in range(steps - len(expected), steps):
                guider.set_state(step, steps, scheduler.timesteps[step])
                seen.append(guider._strength())
                scheduler._step_index = step + 1
            assert seen == pytest.approx(expected)


def test_both_embeddings_are_prepared_even_if_the_first_strength_needs_one() -> None:
    guider = OrthoscopeGuidance("step:early=0,late=2,switch=60%")
    assert guider.num_conditions == 2
    guider.disable()
    assert guider.num_conditions == 1


def test_disabled_is_the_conditional_prediction(flow: Case) -> None:
    guider = OrthoscopeGuidance("constant:3")
    guider.disable()
    expect_equal(flow.run(guider), flow_by_hand(flow, linear(0, 0, 0, 0, 0)))
    guider.enable()
    expect_equal(flow.run(guider), flow_by_hand(flow, linear(3, 3, 3, 3, 3)))


def test_the_other_way_of_handing_over_inputs() -> None:
    guider = OrthoscopeGuidance("step:early=3,late=0,switch=50%")
    data, fields = BlockState(yes=torch.ones(1, 2), no=torch.zeros(1, 2)), {"text": ("yes", "no")}
    network = torch.nn.Identity()
    results = []
    for step in (0, 1):
        guider.set_state(step, 2, torch.tensor(10 - step))
        batches = guider.prepare_inputs_from_block_state(data, fields)
        for batch in batches:
            guider.prepare_models(network)
            assert guider.is_conditional == (batch.text is data.yes)
            batch.noise_pred = 2 * batch.text
            guider.cleanup_models(network)
        results.append((len(batches), guider(batches).pred))
    assert [count for count, _ in results] == [2, 1]
    assert torch.equal(results[0][1], torch.full((1, 2), 8.0))
    assert torch.equal(results[1][1], torch.full((1, 2), 2.0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_half(dtype: torch.dtype) -> None:
    guider = OrthoscopeGuidance("constant:2")
    guider.set_state(0, 1, torch.tensor(1))
    cond, uncond = torch.tensor([[1.5, 2.0]], dtype=dtype), torch.tensor([[1.0, 3.0]], dtype=dtype)
    found = guider.forward(cond, uncond).pred
    assert torch.equal(found, torch.tensor([[2.5, 0.0]], dtype=dtype))


# Config


def test_the_config_is_the_two_texts(tmp_path: Path) -> None:
    guider = OrthoscopeGuidance("step:early=6.5,late=-1,switch=60%", "apg:eta=0.5")
    guider.save_pretrained(tmp_path)
    again = OrthoscopeGuidance.from_pretrained(tmp_path)
    assert again.config["schedule"] == guider.config["schedule"] == "step:early=6.5,late=-1,switch=0.6,clock=step"
    assert again._schedule == Step(early=6.5, late=-1, switch=0.6, clock="step")
    assert again._rule == Projected(eta=0.5)
    assert "step:early=6.5" in (tmp_path / "guider_config.json").read_text()


def test_objects_are_written_as_texts_and_a_copy_keeps_its_scheduler() -> None:
    scheduler = diffusers.EulerDiscreteScheduler()
    guider = OrthoscopeGuidance(Step(early=2, late=0, switch=0.5), Projected(eta=0.5)).attach(scheduler)
    assert dict(guider.config)["schedule"] == "step:early=2,late=0,switch=0.5"
    copy = guider.new(rule="cfg")
    assert (copy.config["schedule"], copy.config["rule"]) == (guider.config["schedule"], "cfg")
    assert copy._scheduler is scheduler
    assert "step:early=2" in repr(copy)


def test_functions_guide_as_what_they_write_out(flow: Case) -> None:
    wanted = flow.run(OrthoscopeGuidance("constant:2").attach(flow.scheduler))
    own = OrthoscopeGuidance(lambda level: 2.0, mine.Plain).attach(flow.scheduler)  # type: ignore[arg-type]
    expect_equal(flow.run(own), wanted)


def test_what_has_no_text_guides_but_is_not_saved(tmp_path: Path) -> None:
    for schedule, rule in (("constant:3", lambda x, level, p, w: p["cond"]), (lambda level: 3.0, "cfg")):
        guider = OrthoscopeGuidance(schedule, rule)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="has no text"):
            guider.save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_config_imports_nothing(tmp_path: Path) -> None:
    OrthoscopeGuidance("constant:3", mine.bent).save_pretrained(tmp_path)  # type: ignore[arg-type]
    again = OrthoscopeGuidance.from_pretrained(tmp_path)
    assert again._rule == FunctionRule(call=mine.bent)
    file = tmp_path / "guider_config.json"
    file.write_text(file.read_text().replace(mine.__name__, "never_imported"))
    with pytest.raises(ConfigError, match="a file may not import: import never_imported first"):
        OrthoscopeGuidance.from_pretrained(tmp_path)


# Refusals


@pytest.mark.parametrize(
    ("schedule", "rule"), [("step:early=3,late=-1,switch=1", "cfg"), ("constant:3", "apg"), ("constant:-0.4", "cfg++")]
)
def test_without_a_scheduler_what_needs_noise_levels_is_refused(schedule: str, rule: str, xl: Case) -> None:
    with pytest.raises(ConfigError, match=r"call guider\.attach"):
        xl.run(OrthoscopeGuidance(schedule, rule))


def test_mistakes_are_explained(xl: Case, flow: Case) -> None:
    with pytest.raises(ConfigError, match="did you mean 'step'"):
        OrthoscopeGuidance("stpe:early=1,late=0,switch=50%")
    with pytest.raises(ConfigError, match="did you mean 'apg'"):
        OrthoscopeGuidance("constant:1", "agp")
    with pytest.raises(ConfigError, match=r"DDIMInverseScheduler .* could not be established"):
        OrthoscopeGuidance().attach(diffusers.DDIMInverseScheduler())
    with pytest.raises(ConfigError, match="no unconditional embeddings"):
        flow.run(OrthoscopeGuidance("constant:1"), negative_prompt_embeds=None, negative_pooled_prompt_embeds=None)
    with pytest.raises(ConfigError, match="before set_state"):
        OrthoscopeGuidance("constant:1").prepare_inputs({"text": (torch.ones(1), torch.zeros(1))})


def test_a_bent_rule_is_refused_where_the_networks_conventions_are_not_known() -> None:
    scheduler = diffusers.EulerDiscreteScheduler()
    scheduler.set_timesteps(2)
    guider = OrthoscopeGuidance("constant:2", "apg").attach(scheduler)
    guider.set_state(0, 2, scheduler.timesteps[0])
    network = torch.nn.Identity()
    guider.prepare_models(network)
    network(torch.ones(1, 2))
    guider.cleanup_models(network)
    with pytest.raises(ConfigError, match="how Identity states its prediction is not established"):
        guider.forward(torch.ones(1, 2), torch.zeros(1, 2))
