"""The digits pipeline: arithmetic against a loop written by hand, the shipped weights, files that are refused."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from orthoscope.errors import ConfigError
from orthoscope.experiments.train import Judge, ModelTraining
from orthoscope.integrations.class_pipeline import AtSigma, ClassPipeline, build_network, pipeline_of
from orthoscope.integrations.shipped import DIGITS, read_class_pipeline, write_weights
from orthoscope.learned import Learned, Training
from orthoscope.metrics import mean_of
from orthoscope.process import NoiseLevel
from orthoscope.serialize import plain
from tests.stat.expect import expect_rate

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
MEGABYTES = 2**20
LABELS = [0, 3, 3, 7]


@pytest.fixture(scope="module")
def shipped() -> ClassPipeline:
    return read_class_pipeline(DIGITS.file)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def generated(pipeline: ClassPipeline, **options: Any) -> Tensor:
    settings = {"num_inference_steps": 6, "output_type": "latent", "generator": seeded()} | options
    return pipeline(settings.pop("class_labels", LABELS), **settings).images


# The arithmetic


def with_scheduler(pipeline: ClassPipeline, kind: str) -> ClassPipeline:
    scheduler = getattr(diffusers, kind).from_config(pipeline.scheduler.config)
    other = ClassPipeline(unet=pipeline.unet, scheduler=scheduler)
    other.set_progress_bar_config(disable=True)
    return other


def euler_by_hand(pipeline: ClassPipeline, scale: float, steps: int) -> Tensor:
    """Euler steps of the probability-flow ODE in unscaled coordinates, with the network as a denoiser."""
    denoiser = Learned(network=AtSigma(pipeline.unet), null=10)
    pipeline.scheduler.set_timesteps(steps)
    sigmas = pipeline.scheduler.sigmas.tolist()
    x = torch.randn((len(LABELS), 1, 8, 8), generator=seeded()) * float(pipeline.scheduler.init_noise_sigma)
    for sigma, after in itertools.pairwise(sigmas):
        level = NoiseLevel(time=sigma**2)
        uncond, cond = denoiser(x, level), denoiser(x, level, torch.tensor(LABELS))
        guided = uncond + scale * (cond - uncond)
        x = x + (after - sigma) * (x - guided) / sigma
    return x


@pytest.mark.parametrize("scale", [-0.5, 0.0, 1.0, 3.0])
def test_the_pipeline_is_euler_s_method_on_the_learned_denoiser(shipped: ClassPipeline, scale: float) -> None:
    """Ties the labels, the order of the halves, v-prediction, time steps and scales together."""
    pipeline = with_scheduler(shipped, "EulerDiscreteScheduler")
    expected = euler_by_hand(pipeline, scale, 6)
    torch.testing.assert_close(generated(pipeline, guidance_scale=scale), expected, rtol=1e-3, atol=1e-3)


def test_scales_0_and_1_are_the_unconditional_and_the_conditional_network(shipped: ClassPipeline) -> None:
    none = generated(shipped, class_labels=[DIGITS.classes] * len(LABELS))
    torch.testing.assert_close(generated(shipped, guidance_scale=0.0), none, rtol=1e-4, atol=1e-4)
    almost = generated(shipped, guidance_scale=1.0 + 1e-9)
    torch.testing.assert_close(generated(shipped, guidance_scale=1.0), almost, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(none, almost, atol=0.1)


def test_every_call_shows_both_halves_the_unconditional_one_first(shipped: ClassPipeline) -> None:
    seen: list[tuple[int, list[int]]] = []
    hook = shipped.unet.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append((len(args[0]), kwargs["class_labels"].tolist())), with_kwargs=True
    )
    generated(shipped, guidance_scale=2.0)
    generated(shipped, guidance_scale=1.0)
    hook.remove()
    assert seen == [(8, [DIGITS.classes] * 4 + LABELS)] * 6 + [(4, LABELS)] * 6


def test_an_image_with_its_own_generator_does_not_depend_on_the_batch(shipped: ClassPipeline) -> None:
    together = generated(shipped, generator=[seeded(k) for k in range(len(LABELS))])
    alone = generated(shipped, class_labels=[LABELS[2]], generator=[seeded(2)])
    torch.testing.assert_close(together[2:3], alone, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["DDIMScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler"])
def test_other_schedulers_run_from_its_config_and_do_not_clip(shipped: ClassPipeline, kind: str) -> None:
    other = with_scheduler(shipped, kind)
    assert other.scheduler.config.get("clip_sample", False) is False
    judge = Judge.of(ModelTraining())
    labels = list(range(DIGITS.classes)) * 2
    images = generated(other, class_labels=labels, num_inference_steps=20).flatten(1).numpy()
    assert (judge.classifier.classes(images) == labels).sum() >= 14


def test_forms_of_the_output(shipped: ClassPipeline) -> None:
    latent = generated(shipped)
    pixels = (latent / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(generated(shipped, output_type="pt"), pixels)
    np.testing.assert_allclose(generated(shipped, output_type="np")[..., 0], pixels[:, 0].numpy(), rtol=1e-6)
    assert generated(shipped, output_type="pil")[0].size == (8, 8)
    assert len(shipped(3, num_inference_steps=1, generator=seeded(), return_dict=False)[0]) == 1


def test_a_callback_may_change_the_state(shipped: ClassPipeline) -> None:
    steps = []

    def callback(pipe: Any, index: int, t: Tensor, given: dict[str, Tensor]) -> dict[str, Tensor]:
        steps.append(index)
        return {"latents": torch.zeros_like(given["latents"])} if index == 5 else {}

    assert not generated(shipped, callback_on_step_end=callback).any()
    assert steps == list(range(6))


def test_it_is_saved_and_loaded_like_any_pipeline(shipped: ClassPipeline, tmp_path: Path) -> None:
    shipped.save_pretrained(tmp_path, safe_serialization=True)
    again = ClassPipeline.from_pretrained(tmp_path, local_files_only=True)
    again.set_progress_bar_config(disable=True)
    assert torch.equal(generated(again), generated(shipped))


# The shipped weights


def test_the_shipped_file_is_small_and_made_by_the_defaults() -> None:
    assert DIGITS.file.stat().st_size < 4 * MEGABYTES
    with safe_open(DIGITS.file, framework="pt") as opened:
        made_by = json.loads(opened.metadata()["orthoscope"])["made_by"]
    assert made_by["training"] == plain(Training())


STUDY = ModelTraining(samples=60, sampler_steps=15)


@pytest.fixture(scope="module")
def drawn(shipped: ClassPipeline) -> np.ndarray:
    return STUDY.generate(shipped, 0.0)


def test_samples_of_the_shipped_weights_are_of_their_class(drawn: np.ndarray) -> None:
    judge = Judge.of(STUDY)
    found = judge.classifier.classes(drawn.reshape(600, -1)).reshape(DIGITS.classes, -1)
    right = found == np.arange(DIGITS.classes)[:, None]
    expect_rate(right, 0.98, detect=0.12)
    assert (found == np.roll(np.arange(DIGITS.classes), 1)[:, None]).mean() < 0.1  # labels off by one would be noticed


@pytest.mark.slow
def test_euler_s_steps_lose_more_variance_than_the_network(shipped: ClassPipeline, drawn: np.ndarray) -> None:
    """From the same noise, class by class; what the page on training says."""
    by_euler = STUDY.generate(with_scheduler(shipped, "EulerDiscreteScheduler"), 0.0)
    judged = Judge.of(STUDY).real
    real = np.array([judged.rows[judged.members[k]].var(0, ddof=1).sum() for k in range(DIGITS.classes)])
    first, second = (rows.var(1, ddof=1).sum(1) / real for rows in (by_euler, drawn))
    of_network, of_euler = mean_of(1 - second), mean_of(second - first)
    assert of_euler.value - of_network.value > 0
    assert of_euler.value > 5 * of_euler.stderr


# Files


def test_equal_seeds_give_equal_networks() -> None:
    one, same, other = (build_network(DIGITS.network, seed).conv_in.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_weights_survive_the_file_bit_for_bit(tmp_path: Path) -> None:
    unet = build_network(DIGITS.network, 3)
    write_weights(DIGITS, unet, tmp_path / "d.safetensors", made_by={})
    again = read_class_pipeline(tmp_path / "d.safetensors")
    torch.testing.assert_close(again.unet.state_dict(), unet.state_dict(), rtol=0, atol=0)
    assert torch.equal(generated(again), generated(pipeline_of(unet)))


def damaged(path: Path, how: str) -> None:
    """Write a copy of the shipped file with one thing wrong."""
    weights = load_file(DIGITS.file)
    with safe_open(DIGITS.file, framework="pt") as opened:
        about = json.loads(opened.metadata()["orthoscope"])
    match how:
        case "truncated":
            path.write_bytes(DIGITS.file.read_bytes()[:-1000])
            return
        case "text":
            path.write_text("not weights")
            return
        case "no metadata":
            save_file(weights, path)
            return
        case "another model":
            about["model"] = "faces"
        case "another width":
            about["network"]["block_out_channels"] = [16, 24]
        case "unknown setting":
            about["network"]["blocks"] = 3
        case "no network":
            del about["network"]
        case "missing weight":
            del weights["conv_in.bias"]
        case "surplus weight":
            weights["conv_in.scale"] = torch.zeros(1)
        case "no group" | "no head" | "no side":
            setting = {"group": "norm_num_groups", "head": "attention_head_dim", "side": "sample_size"}[how[3:]]
            about["network"][setting] = -8 if how == "no side" else 0
        case "deep":
            save_file(weights, path, metadata={"orthoscope": "[" * 100_000})
            return
        case "integers":
            weights = {name: (100 * value).to(torch.int8) for name, value in weights.items()}
        case "no number":
            weights["conv_in.bias"][0] = torch.nan
    save_file(weights, path, metadata={"orthoscope": json.dumps(about)})


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated", "cannot read .*expected safetensors"),
        ("text", "cannot read .*expected safetensors"),
        ("no metadata", "does not hold a model of format 1"),
        ("another model", "does not hold a model of format 1"),
        ("another width", "do not fit"),
        ("unknown setting", "do not fit"),
        ("no network", "do not fit"),
        ("missing weight", r"lacks weights of UNet2DModel: conv_in\.bias"),
        ("surplus weight", r"no place for: conv_in\.scale"),
        ("no group", "do not fit"),
        ("no head", "do not fit"),
        ("no side", "do not fit"),
        ("deep", "nested more than 64 levels deep"),
        ("integers", r"holds integers where UNet2DModel has .*: class_embedding\.weight, conv_in\.bias"),
        ("no number", r"conv_in\.bias holds NaN"),
    ],
)
def test_wrong_files_are_refused_in_one_line(tmp_path: Path, how: str, message: str) -> None:
    path = tmp_path / "d.safetensors"
    damaged(path, how)
    with pytest.raises(ConfigError, match=message) as raised:
        read_class_pipeline(path)
    assert len(str(raised.value).splitlines()) == 1


def test_other_mistakes_are_told(shipped: ClassPipeline, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_class_pipeline(tmp_path / "nowhere.safetensors")
    with pytest.raises(ConfigError, match="must be 0 to 9"):
        generated(shipped, class_labels=[11])
    with pytest.raises(ConfigError, match="list of classes"):
        generated(shipped, class_labels=[])
    with pytest.raises(ConfigError, match="output_type"):
        generated(shipped, output_type="jpeg")
