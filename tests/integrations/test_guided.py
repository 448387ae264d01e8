"""What `guided` promises beside its arithmetic, on Stable Diffusion: schedulers, batches, callbacks, refusals."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import xarray as xr

pytest.importorskip("diffusers")

import diffusers

from orthoscope.errors import ConfigError, StoppedError
from orthoscope.guidance.rules import Rule
from orthoscope.guidance.schedules import Constant
from orthoscope.integrations.diffusers import guided
from orthoscope.integrations.diffusers.network import listening
from tests.guidance import mine
from tests.integrations import pipelines
from tests.integrations.families import FAMILIES, ROWS, STEPS, is_same, reference, run, states, watched

pytestmark = [  # diffusers' own
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The `scale_model_input` function:UserWarning"),
    pytest.mark.filterwarnings("ignore:Should have t[ab][<>]=t[01]:UserWarning"),  # torchsde's own
]

FAMILY = FAMILIES["stable-diffusion"]
MIXED = "step:early=2,late=-1.5,switch=50%"


@pytest.fixture(scope="module")
def shared() -> Any:
    return FAMILY.build()


@pytest.fixture
def pipe(shared: Any) -> Any:
    """The pipeline with its own scheduler back."""
    shared.scheduler = diffusers.EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_end=0.012, steps_offset=1)
    return shared


# Schedulers

OFFSET = {"steps_offset": 1}


@pytest.mark.parametrize(
    ("name", "prediction", "evaluations", "settings"),
    [
        ("DDIMScheduler", "sample", STEPS, OFFSET),
        ("DEISMultistepScheduler", "v_prediction", STEPS, OFFSET),
        ("DPMSolverMultistepScheduler", "v_prediction", STEPS, OFFSET),
        ("DPMSolverSDEScheduler", "epsilon", 2 * STEPS - 1, {"noise_sampler_seed": 3}),
        ("EDMDPMSolverMultistepScheduler", "epsilon", STEPS, {}),
        ("EDMEulerScheduler", "epsilon", STEPS, {"sigma_data": 0.7}),
        ("EDMEulerScheduler", "v_prediction", STEPS, {"final_sigmas_type": "sigma_min"}),
        ("HeunDiscreteScheduler", "v_prediction", 2 * STEPS - 1, OFFSET),
        ("KDPM2DiscreteScheduler", "epsilon", 2 * STEPS - 1, OFFSET),
        ("LMSDiscreteScheduler", "epsilon", STEPS, OFFSET),
        ("PNDMScheduler", "v_prediction", STEPS + 1, OFFSET | {"skip_prk_steps": True}),
        ("UniPCMultistepScheduler", "epsilon", STEPS, OFFSET),
    ],
)
def test_every_kind_of_scheduler_steps_by_the_guided_prediction(
    pipe: Any, name: str, prediction: str, evaluations: int, settings: dict[str, Any]
) -> None:
    pipe.scheduler = getattr(diffusers, name)(prediction_type=prediction, **settings)
    with watched(FAMILY, pipe) as seen, guided(pipe, MIXED) as log:
        final = run(pipe, FAMILY)
    found = log.dataset
    early = int((found["step"] < STEPS / 2).sum())
    strengths = found["strength"].values.tolist()
    assert strengths == [2.0] * early + [-1.5] * (evaluations - early)
    expected = reference(FAMILY, pipe, strengths, seen[0])
    for state, wanted in zip(states(FAMILY, seen), expected, strict=False):
        assert is_same(state, wanted)
    assert is_same(final, expected[-1])


def test_a_scheduler_that_adds_noise_draws_the_same_noise(pipe: Any) -> None:
    pipe.scheduler = diffusers.EulerAncestralDiscreteScheduler(beta_schedule="scaled_linear")

    def images(**changes: Any) -> Any:
        return run(pipe, FAMILY, generator=torch.Generator().manual_seed(3), **changes)

    with guided(pipe, "constant:2"):
        found = images()
    assert is_same(found, images(guidance_scale=3.0))
    assert not is_same(found, run(pipe, FAMILY, generator=torch.Generator().manual_seed(4), guidance_scale=3.0))


def test_a_rule_that_is_linear_here_is_linear_guidance_without_signal_at_the_start(pipe: Any) -> None:
    settings = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    pipe.scheduler = diffusers.DDIMScheduler(**settings, clip_sample=False)
    with guided(pipe, MIXED):
        wanted = run(pipe, FAMILY)
    for rule in ("rescale:phi=0", "power-law:alpha=0"):
        with guided(pipe, MIXED, rule) as log:
            assert is_same(run(pipe, FAMILY), wanted)
        assert log.dataset["sigma"][0] > 1e7


# Parts of runs

XL, XL_IMAGE = FAMILIES["xl"], FAMILIES["xl-image-to-image"]
LATER = "step:early=2,late=-1,switch=60%"


@pytest.mark.parametrize(("end", "early", "late"), [(0.8, 10, 6), (0.5, 6, 4), (1.0, 12, 8)])
def test_a_run_that_ends_early_counts_the_steps_that_it_makes(end: float, early: int, late: int) -> None:
    xl = XL.build()
    with guided(xl, LATER) as log:
        run(xl, XL, num_inference_steps=20, denoising_end=end)
    assert log.dataset["strength"].values.tolist() == [2.0] * early + [-1.0] * late
    assert log.dataset.attrs["steps"] == early + late


def test_a_refiner_takes_over_at_the_level_where_the_base_stops() -> None:
    """One schedule over noise levels spans both: the strengths are those of one run."""
    base, refiner = XL.build(), XL_IMAGE.build()
    refiner.scheduler = type(base.scheduler).from_config(base.scheduler.config)
    sigma = "step:early=2,late=-1,switch=0.7,clock=sigma"
    with guided(base, sigma) as whole:
        run(base, XL, num_inference_steps=20)
    with guided(base, sigma) as first:
        latents = run(base, XL, num_inference_steps=20, denoising_end=0.7)
    with guided(refiner, sigma) as second:
        run(refiner, XL_IMAGE, image=latents, num_inference_steps=20, denoising_start=0.7)
    for name in ("strength", "sigma"):
        joined = np.concatenate([first.dataset[name], second.dataset[name]])
        np.testing.assert_allclose(joined, whole.dataset[name])
    assert set(second.dataset["strength"].values) == {2.0, -1.0}
    with guided(refiner, LATER) as log:
        run(refiner, XL_IMAGE, image=latents, num_inference_steps=20, denoising_start=0.5, denoising_end=0.9)
    assert log.dataset["strength"].values.tolist() == [2.0] * 5 + [-1.0] * 3


def test_cfg_plus_plus_of_a_run_that_ends_early_is_that_of_the_whole_one() -> None:
    xl = XL.build()
    scales = []
    for end in (1.0, 0.5):
        with guided(xl, "constant:-0.4", "cfg++") as log:
            run(xl, XL, num_inference_steps=8, denoising_end=end)
        scales.append(log.dataset["effective_scale"].values)
    np.testing.assert_allclose(scales[1], scales[0][:4], rtol=1e-4)


def test_an_interrupted_run_keeps_its_plan_and_leaves_none(pipe: Any) -> None:
    def interrupt(pipeline: Any, step: int, t: Any, given: dict[str, Any]) -> dict[str, Any]:
        pipeline._interrupt = step == 1
        return given

    with guided(pipe, MIXED) as log:
        run(pipe, FAMILY, callback_on_step_end=interrupt)
        run(pipe, FAMILY)
    assert [dataset["strength"].values.tolist() for dataset in log.datasets] == [[2.0, 2.0], [2.0, 2.0, -1.5, -1.5]]


def test_a_pipeline_that_ends_early_and_does_not_say_so_is_stopped_where_steps_are_counted(pipe: Any) -> None:
    call = FAMILY.call()

    class Own(diffusers.StableDiffusionPipeline):
        """A loop of its own over the first half of the timesteps."""

        def __call__(self) -> None:
            self.scheduler.set_timesteps(STEPS)
            x = call["latents"]
            text = torch.cat([call["negative_prompt_embeds"], call["prompt_embeds"]])
            for t in self.scheduler.timesteps[: STEPS // 2]:
                u, c = self.unet(self.scheduler.scale_model_input(torch.cat([x] * 2), t), t, text).sample.chunk(2)
                x = self.scheduler.step(u + 2 * (c - u), t, x, return_dict=False)[0]

    own = Own(**pipe.components, requires_safety_checker=False)
    with torch.no_grad(), guided(own, "step:early=2,late=-1.5,switch=1,clock=sigma"):
        own()
    with (
        torch.no_grad(),
        pytest.raises(StoppedError, match="2 evaluations before its scheduler's timesteps"),
        guided(own, MIXED),
    ):
        own()


# Calls


def test_several_images_per_prompt_and_single_prompts_are_rows(pipe: Any) -> None:
    call = FAMILY.call()
    latents = pipelines.draw(2 * ROWS, 4, 8, 8, seed=9)
    with guided(pipe, MIXED) as log:
        together = run(pipe, FAMILY, num_images_per_prompt=2, latents=latents)
        alone = [
            run(
                pipe,
                FAMILY,
                prompt_embeds=call["prompt_embeds"][row // 2 : row // 2 + 1],
                negative_prompt_embeds=call["negative_prompt_embeds"][row // 2 : row // 2 + 1],
                latents=latents[row : row + 1],
            )
            for row in range(2 * ROWS)
        ]
    assert is_same(together, torch.cat(alone))
    assert [len(dataset["row"]) for dataset in log.datasets] == [2 * ROWS, 1, 1, 1, 1]
    np.testing.assert_allclose(log.datasets[0]["cond_norm"][:, :1], log.datasets[1]["cond_norm"], rtol=1e-5)


def test_prompts_are_guided_as_their_embeddings_are() -> None:
    prompts, negative = ["a cat", "two dogs"], ["", "bad"]
    whole = pipelines.stable_diffusion(**pipelines.texts_of_letters())
    latents = pipelines.draw(2 * ROWS, 4, 8, 8, seed=9)
    names = ("prompt_embeds", "negative_prompt_embeds")
    with torch.no_grad():
        embeds = whole.encode_prompt(prompts, "cpu", 2, True, negative_prompt=negative)
    known = dict.fromkeys(names)
    with guided(whole, MIXED):
        found = run(
            whole, FAMILY, prompt=prompts, negative_prompt=negative, num_images_per_prompt=2, latents=latents, **known
        )
        wanted = run(whole, FAMILY, latents=latents, **dict(zip(names, embeds, strict=True)))
    assert is_same(found, wanted)


def test_callbacks_see_and_change_guided_states(pipe: Any) -> None:
    seen = []

    def shift(pipeline: Any, step: int, t: Any, given: dict[str, Any]) -> dict[str, Any]:
        seen.append(given["latents"].clone())
        return {"latents": given["latents"] + 1}

    with guided(pipe, MIXED):
        plain = run(
            pipe, FAMILY, callback_on_step_end=lambda p, i, t, given: seen.append(given["latents"].clone()) or {}
        )
        unchanged = seen.copy()
        seen.clear()
        changed = run(pipe, FAMILY, callback_on_step_end=shift)
    assert torch.equal(plain, unchanged[-1])
    assert torch.equal(changed, seen[-1] + 1)
    assert torch.equal(seen[0], unchanged[0])
    assert not torch.equal(seen[1], unchanged[1])


def test_the_pipelines_scale_and_rescale_do_not_matter(pipe: Any) -> None:
    with guided(pipe, MIXED):
        first = run(pipe, FAMILY, guidance_scale=7.5)
        assert torch.equal(first, run(pipe, FAMILY, guidance_scale=1.5))
        assert torch.equal(first, run(pipe, FAMILY, guidance_rescale=0.7))


def test_half_precision_stays_and_agrees(pipe: Any) -> None:
    half = FAMILY.build().to(dtype=torch.bfloat16)
    call = {name: value.to(torch.bfloat16) for name, value in FAMILY.call().items() if isinstance(value, torch.Tensor)}
    with guided(half, "constant:1.5"):
        found = run(half, FAMILY, **call)
    own = run(half, FAMILY, **call, guidance_scale=2.5)
    assert found.dtype == torch.bfloat16
    assert is_same(found, own, tolerance=0.02)
    with guided(pipe, "constant:1.5"):
        precise = run(pipe, FAMILY)
    assert is_same(found, precise, tolerance=0.05)


# Rules


@dataclass(frozen=True)
class Witness(Rule):
    """Linear guidance that remembers how often it was asked, and what it saw."""

    seen: list[Any] = field(default_factory=list)
    is_linear: ClassVar[bool] = False

    def __call__(self, x: Any, level: Any, predictions: Any, w: Any, memory: Any) -> tuple[Any, Any]:
        self.seen.append((x, level, memory))
        return (1 + w) * predictions["cond"] - w * predictions["uncond"], (memory or 0) + 1


def test_a_rule_sees_the_unscaled_state_its_level_and_its_memory(pipe: Any) -> None:
    pipe.scheduler = diffusers.HeunDiscreteScheduler()
    rule = Witness()
    with watched(FAMILY, pipe) as seen, guided(pipe, MIXED, rule) as log:
        final = run(pipe, FAMILY)
        run(pipe, FAMILY)
    for (x, level, _), scaled in zip(rule.seen, states(FAMILY, seen), strict=True):
        assert is_same(x / np.sqrt(1 + level.variance), scaled)
    once = [0, 0, 1, 1, 2, 2, 3]  # steps before this one, in both evaluations of a step
    assert [memory or 0 for _, _, memory in rule.seen] == once * 2
    with guided(pipe, MIXED):
        assert is_same(final, run(pipe, FAMILY))
    np.testing.assert_allclose(log.dataset["sigma"], [level.sigma for _, level, _ in rule.seen[:7]], rtol=1e-12)


def test_functions_are_rules_and_schedules_of_a_pipeline(pipe: Any) -> None:
    with guided(pipe, "constant:1.5"):
        wanted = run(pipe, FAMILY)
    with guided(pipe, lambda level: 1.5, mine.Plain) as log:
        assert is_same(run(pipe, FAMILY), wanted)
    assert log.dataset.attrs["rule"] == f"{mine.__name__}:Plain"
    assert "<lambda>" in log.dataset.attrs["schedule"]
    with (
        pytest.raises(ConfigError, match="the rule bad returns what is no prediction"),
        guided(pipe, "constant:1", bad),
    ):
        run(pipe, FAMILY)


def bad(x: Any, level: Any, predictions: Any, w: Any) -> Any:
    return None


@pytest.mark.parametrize(
    "text",
    ["cfg", "rescale:phi=0.7", "apg:eta=0,momentum=-0.5,threshold=15", "cfg++", "set-point:ratio=0.5,lam=0", "fbg"],
)
def test_published_rules_run_by_name_and_differ(pipe: Any, text: str) -> None:
    with guided(pipe, Constant(value=0.5), text) as log:
        found = run(pipe, FAMILY)
    assert log.dataset.attrs["rule"].startswith(text.partition(":")[0])
    assert bool(torch.isfinite(found).all())
    assert is_same(found, run(pipe, FAMILY, guidance_scale=1.5)) is (text == "cfg")


@pytest.mark.parametrize(("prediction", "is_noise"), [("epsilon", True), ("v_prediction", False)])
def test_rescaling_in_the_networks_own_output_is_that_of_the_pipeline(
    pipe: Any, prediction: str, is_noise: bool
) -> None:
    pipe.scheduler = diffusers.DDIMScheduler(steps_offset=1, prediction_type=prediction, clip_sample=False)
    own = run(pipe, FAMILY, guidance_scale=2.5, guidance_rescale=0.7)

    def by(rule: str) -> Any:
        with guided(pipe, 1.5, rule):
            return run(pipe, FAMILY)

    assert is_same(by("rescale:phi=0.7,space=output"), own)
    assert is_same(by("rescale:phi=0.7"), own) is is_noise


@torch.no_grad()
@pytest.mark.parametrize("spacing", ["linspace", "trailing", "leading"])
def test_cfg_plus_plus_is_its_loop_written_by_hand_wherever_steps_end(pipe: Any, spacing: str) -> None:
    """With some spacings a step ends elsewhere than where the next one begins."""
    steps, lam = 7, 0.6
    pipe.scheduler = diffusers.DDIMScheduler(timestep_spacing=spacing, clip_sample=False)
    with guided(pipe, lam - 1, "cfg++"):
        found = run(pipe, FAMILY, num_inference_steps=steps)
    call, kept = FAMILY.call(), pipe.scheduler.alphas_cumprod
    x = call["latents"]
    for t in pipe.scheduler.timesteps:
        c, u = (FAMILY.predict(pipe, x, t, call, cond, x[:, 4:]) for cond in (True, False))
        after = t - 1000 // steps
        now, then = kept[t], kept[after] if after >= 0 else torch.tensor(1.0)
        denoised = (x - (1 - now).sqrt() * (u + lam * (c - u))) / now.sqrt()
        x = then.sqrt() * denoised + (1 - then).sqrt() * u
    assert is_same(found, x, tolerance=2e-6)


# What is done to networks, and who runs them


def test_compiled_networks_are_heard_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `compile` puts in place of a network's call traces its hooks and its forward, so these stay as they are."""
    monkeypatch.setattr(torch, "compile", lambda call, **how: lambda *args: (traced(), call(*args))[1])
    network, heard = torch.nn.ReLU(), []
    network.compile(fullgraph=True)
    compiled = vars(network)["_compiled_call_impl"]

    def traced() -> None:
        assert not network._forward_hooks
        assert "forward" not in vars(network)
        heard.append("compiled")

    def around(part: Any, call: Any, x: torch.Tensor) -> torch.Tensor:
        assert part is network
        return 2 * call(x)

    with listening(network, around):
        twice = network(torch.ones(2, 3))
    assert torch.equal(twice, 2 * network(torch.ones(2, 3)))
    assert heard == ["compiled"] * 2
    assert vars(network)["_compiled_call_impl"] is compiled


def test_networks_that_are_moved_to_and_fro_stay_idle_call_after_call() -> None:
    family = FAMILIES["flux"]
    moved = family.build()
    moved.enable_model_cpu_offload(device="cpu")
    with guided(moved, 0.0) as log:
        for _ in range(3):
            run(moved, family)
    assert [dataset["passes"].values.tolist() for dataset in log.datasets] == [[2, 2, 1, 1]] * 3


def test_networks_that_remember_calls_make_all_of_them() -> None:
    family, found = FAMILIES["flux"], []
    for late in (0.0, 1e-7):
        caching = family.build()
        caching.transformer.enable_cache(
            diffusers.PyramidAttentionBroadcastConfig(
                spatial_attention_block_skip_range=2,
                spatial_attention_timestep_skip_range=(0, 1000),
                current_timestep_callback=lambda: 500,
            )
        )
        with guided(caching, f"step:early=2,late={late},switch=50%") as log:
            found.append(run(caching, family))
        assert log.dataset["passes"].values.tolist() == [2] * STEPS
    assert is_same(*found)


def test_another_pipeline_with_the_same_parts_is_left_alone(pipe: Any) -> None:
    other, family = diffusers.StableDiffusionImg2ImgPipeline.from_pipe(pipe), FAMILIES["image-to-image"]
    before = run(other, family)
    with guided(pipe, MIXED) as log:
        assert torch.equal(run(other, family), before)
        wanted = run(pipe, FAMILY)
        assert torch.equal(run(other, family), before)
        assert torch.equal(run(pipe, FAMILY), wanted)
    assert len(log.datasets) == 2
    with guided(other, MIXED):
        assert not is_same(run(other, family), before)


def test_a_copy_of_the_scheduler_steps_by_itself(pipe: Any) -> None:
    with guided(pipe, MIXED) as log:
        copied = copy.deepcopy(copy.deepcopy(pipe.scheduler))
        copied.set_timesteps(2)
        x = torch.ones(1, 4, 8, 8)
        stepped = copied.step(x, copied.timesteps[0], x, return_dict=False)[0]
    assert not log.runs
    assert is_same(stepped, x * (1 + float(copied.sigmas[1] - copied.sigmas[0])))


def test_a_pipeline_that_steps_a_copy_of_its_scheduler_is_refused(pipe: Any) -> None:
    class Own(diffusers.StableDiffusionPipeline):
        """A second state beside the first, as sound beside a film."""

        def __call__(self) -> None:
            self.scheduler.set_timesteps(2)
            x = torch.ones(1, 4, 8, 8)
            copy.deepcopy(self.scheduler).step(x, self.scheduler.timesteps[0], x)

    own = Own(**pipe.components)
    with pytest.raises(ConfigError, match="Own steps a copy of its scheduler"), guided(own, MIXED):
        own()


def test_a_run_that_stops_making_pairs_is_told_why(pipe: Any) -> None:
    def cut(pipeline: Any, step: int, t: Any, given: dict[str, Any]) -> dict[str, Any]:
        if step != 1:
            return {}
        pipeline._guidance_scale = 0.0
        return {"prompt_embeds": given["prompt_embeds"].chunk(2)[-1]}

    how = {"callback_on_step_end": cut, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
    with guided(pipe, MIXED), pytest.raises(ConfigError, match=r"no pair .* in step 2 after it had made them"):
        run(pipe, FAMILY, **how)


# The log


def test_the_log_says_what_was_done(pipe: Any, tmp_path: Path) -> None:
    with guided(pipe, MIXED) as log:
        with pytest.raises(ConfigError, match="nothing to show"):
            _ = log.dataset
        run(pipe, FAMILY)
        run(pipe, FAMILY, num_inference_steps=2)
    assert [len(dataset["evaluation"]) for dataset in log.datasets] == [STEPS, 2]
    found = log.datasets[0]
    np.testing.assert_allclose(
        found["effective_scale"], 1 + found["strength"].values[:, None] * np.ones(ROWS), rtol=1e-4
    )
    np.testing.assert_allclose(found["sigma"], np.sqrt(found["time"]))
    np.testing.assert_allclose(found["sigma"], pipe_sigmas(), rtol=1e-6)
    assert found.attrs["schedule"] == "step:early=2,late=-1.5,switch=0.5,clock=step"
    assert found.attrs["steps"] == STEPS
    found.to_netcdf(tmp_path / "log.nc", engine="h5netcdf")
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "log.nc", engine="h5netcdf"), found)


def pipe_sigmas() -> Any:
    scheduler = diffusers.EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_end=0.012, steps_offset=1)
    scheduler.set_timesteps(STEPS)
    return scheduler.sigmas[:-1].numpy()


@pytest.mark.parametrize(
    ("name", "prediction"),
    [
        ("DDIMScheduler", "epsilon"),
        ("DDIMScheduler", "sample"),
        ("DDIMScheduler", "v_prediction"),
        ("EulerDiscreteScheduler", "epsilon"),
        ("EulerDiscreteScheduler", "v_prediction"),
    ],
)
def test_the_distance_of_the_pair_is_that_of_the_schedulers_own_denoised_means(
    pipe: Any, name: str, prediction: str
) -> None:
    options = {"clip_sample": False} if name == "DDIMScheduler" else {}
    pipe.scheduler = getattr(diffusers, name)(steps_offset=1, prediction_type=prediction, **options)
    with watched(FAMILY, pipe) as seen, guided(pipe, MIXED) as log:
        final = run(pipe, FAMILY)
    assert torch.equal(log.final, final)
    own = getattr(diffusers, name).from_config(pipe.scheduler.config)
    own.set_timesteps(STEPS)

    def mean(x: torch.Tensor, t: torch.Tensor, cond: bool) -> torch.Tensor:
        own._step_index = None  # a scheduler that counts its steps looks the time up again
        shrink = own.scale_model_input(torch.ones(1), t)
        own._step_index = None
        output = FAMILY.predict(pipe, x, t, FAMILY.call(), cond, x[:, :0])
        return own.step(output, t, x / shrink).pred_original_sample

    for x, t, found in zip(states(FAMILY, seen), own.timesteps, log.dataset["pair_distance"].values, strict=True):
        with torch.no_grad():
            cond, uncond = (mean(x, t, side).flatten(1) for side in (True, False))
        rounding = 1e-6 * float(cond.norm())  # of the means, whose difference is small
        np.testing.assert_allclose(found, (cond - uncond).norm(dim=1), rtol=2e-3, atol=rounding)


def test_the_distance_of_a_flow_pair_is_that_of_the_ends_of_its_lines() -> None:
    family = FAMILIES["stable-diffusion-3"]
    flow = family.build()
    with watched(family, flow) as seen, guided(flow, MIXED) as log:
        final = run(flow, family)
    assert torch.equal(log.final, final)
    expected = []
    for x, t in zip(states(family, seen), flow.scheduler.timesteps, strict=True):
        with torch.no_grad():
            cond, uncond = (family.predict(flow, x, t, family.call(), side, None) for side in (True, False))
        expected.append((t / 1000 * (cond - uncond)).flatten(1).norm(dim=1).tolist())
    np.testing.assert_allclose(log.dataset["pair_distance"], expected, rtol=2e-3)


def test_a_schedule_over_noise_levels_is_read_at_them(pipe: Any) -> None:
    with guided(pipe, "linear:w0=-0.25,slope=0.3,clock=sigma") as log:
        run(pipe, FAMILY)
    np.testing.assert_allclose(log.dataset["strength"], -0.25 + 0.3 * pipe_sigmas(), rtol=1e-6)


# Saving


@pytest.mark.parametrize("name", ["flux", "wan-2.2", "qwen"])
@pytest.mark.parametrize(("late", "idle"), [(0, "uncond_norm"), (-1, "cond_norm")])
def test_two_call_pipelines_skip_what_the_strength_makes_idle(
    name: str, late: int, idle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = FAMILIES[name]
    two, calls = family.build(), []
    network = type(two.transformer)
    monkeypatch.setattr(network, "forward", counting(network.forward, calls))
    with guided(two, f"step:early=2,late={late + 1e-9},switch=50%"):
        full = run(two, family)
    whole = len(calls)
    calls.clear()
    with guided(two, f"step:early=2,late={late},switch=50%") as log:
        found = run(two, family)
    assert (whole, len(calls)) == (2 * STEPS, 2 * STEPS - STEPS // 2)
    assert is_same(found, full)
    early = STEPS // 2
    assert log.dataset["passes"].values.tolist() == [2] * early + [1] * early
    for missing in (idle, "pair_distance"):
        assert np.isnan(log.dataset[missing].values).any(axis=1).tolist() == [False] * early + [True] * early


def counting(forward: Any, calls: list[None]) -> Any:
    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        return forward(*args, **kwargs)

    return counted


# Refusals and restoration


def test_an_exception_inside_restores_the_pipeline(pipe: Any) -> None:
    before = run(pipe, FAMILY)

    def fail(*_: Any) -> dict[str, Any]:
        raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"), guided(pipe, MIXED):
        run(pipe, FAMILY, callback_on_step_end=fail)
    assert torch.equal(run(pipe, FAMILY), before)
    assert not {"step", "set_timesteps"} & set(vars(pipe.scheduler))
    assert not pipe.unet._forward_hooks


def test_after_an_interrupted_run_the_next_one_starts_afresh(pipe: Any) -> None:
    def fail(*_: Any) -> dict[str, Any]:
        raise KeyError("stop")

    with guided(pipe, MIXED) as log:
        wanted = run(pipe, FAMILY)
        with pytest.raises(KeyError):
            run(pipe, FAMILY, callback_on_step_end=fail)
        assert torch.equal(run(pipe, FAMILY), wanted)
    assert [len(dataset["evaluation"]) for dataset in log.datasets] == [STEPS, 1, STEPS]


def test_nested_contexts_are_refused_and_the_outer_one_goes_on(pipe: Any) -> None:
    with guided(pipe, MIXED):
        wanted = run(pipe, FAMILY)
        with pytest.raises(ConfigError, match="guided already"), guided(pipe, "constant:1"):
            pass
        assert torch.equal(run(pipe, FAMILY), wanted)


def test_another_scheduler_inside_is_refused(pipe: Any) -> None:
    with guided(pipe, MIXED):
        pipe.scheduler = diffusers.DDIMScheduler()
        with pytest.raises(ConfigError, match="another scheduler"):
            run(pipe, FAMILY)


def test_distilled_networks_are_refused() -> None:
    distilled = pipelines.stable_diffusion(unet=pipelines.unet(time_cond_proj_dim=8))
    with pytest.raises(ConfigError, match="distilled"), guided(distilled, MIXED):
        pass


def test_unknown_pipelines_and_rules_without_predictions_are_refused(pipe: Any) -> None:
    unknown = diffusers.DDPMPipeline(unet=None, scheduler=diffusers.DDPMScheduler())
    with pytest.raises(ConfigError, match=r"DDPMPipeline holds no network"), guided(unknown, MIXED):
        pass

    class Third(Witness):
        needs: ClassVar[tuple[str, ...]] = ("cond", "uncond", "weak")

    with pytest.raises(ConfigError, match="Third needs weak"), guided(pipe, MIXED, Third()):
        pass


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("schedule", [None, [3], True])
def test_what_is_no_schedule_is_refused(pipe: Any, schedule: Any) -> None:
    with pytest.raises(ConfigError, match="a `schedule` is a number"), guided(pipe, schedule):
        pass


def test_skip_layer_guidance_is_refused() -> None:
    family = FAMILIES["stable-diffusion-3"]
    other = family.build()
    with guided(other, MIXED), pytest.raises(ConfigError, match="skip-layer"):
        run(other, family, skip_guidance_layers=[0], skip_layer_guidance_start=0.0, skip_layer_guidance_stop=1.0)


def test_equal_prompts_give_no_evidence_and_need_none(pipe: Any) -> None:
    call = FAMILY.call()
    with guided(pipe, MIXED) as log:
        found = run(pipe, FAMILY, negative_prompt_embeds=call["prompt_embeds"])
    assert is_same(found, run(pipe, FAMILY, guidance_scale=1.0))
    assert bool((log.dataset["pair_cosine"] > 1 - 1e-5).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_order_of_the_halves_is_what_the_pipeline_makes_of_them(dtype: torch.dtype) -> None:
    exchanged = FAMILY.build().to(dtype=dtype)
    forward = exchanged.unet.forward
    call = {name: value.to(dtype) for name, value in FAMILY.call().items() if isinstance(value, torch.Tensor)}
    exchanged.unet.forward = lambda *args, **kwargs: (forward(*args, **kwargs)[0].roll(ROWS, 0),)
    with guided(exchanged, "constant:1.5"):
        found = run(exchanged, FAMILY, **call)
    assert is_same(
        found, run(exchanged, FAMILY, **call, guidance_scale=2.5), tolerance=1e-5 if dtype.itemsize > 2 else 0.02
    )


def test_what_is_no_guidance_of_the_pair_is_refused(pipe: Any) -> None:
    with guided(pipe, MIXED):
        step = pipe.scheduler.step
        pipe.scheduler.step = lambda output, *args, **kwargs: step(output.flip(2), *args, **kwargs)
        with pytest.raises(StoppedError, match="not its guidance of any two of the 2"):
            run(pipe, FAMILY)


def test_a_network_that_is_called_but_never_stepped_is_noticed(pipe: Any) -> None:
    call = FAMILY.call()
    with pytest.raises(StoppedError, match="never its scheduler's step"), guided(pipe, MIXED):
        pipe.unet(call["latents"], 1, call["prompt_embeds"])
