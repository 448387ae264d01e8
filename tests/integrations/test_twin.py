"""The twin of a host: its network against sums by hand over all images, its runs against our own sampler."""

from __future__ import annotations

import math
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from torch import Tensor

from orthoscope.denoise import ExactDenoiser
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.guidance.grammar import parse_schedule
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.rules import LinearCFG
from orthoscope.integrations.host import Host, host_of
from orthoscope.integrations.shipped import DIGITS, read_class_pipeline
from orthoscope.integrations.twin import ExactNetwork, twin_of
from orthoscope.process import VarianceExploding
from orthoscope.sampling import Exponential, Multistep, grid, sample
from orthoscope.targets import empirical_mixture
from tests.integrations import pipelines
from tests.stat.expect import expect_estimate

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
STD = 0.3
CLASSES = 10
Array = np.ndarray


@pytest.fixture(scope="module")
def host() -> Host:
    return host_of(read_class_pipeline(DIGITS.file), "digits")


@pytest.fixture(scope="module")
def data() -> tuple[Array, Array]:
    return DIGITS.images()


def driven(host: Host, kind: str, **settings: Any) -> Host:
    """The host with another scheduler."""
    scheduler = getattr(diffusers, kind)(**settings)
    return host_of(type(host.pipe)(unet=host.pipe.unet, scheduler=scheduler), "digits")


# The network


def by_hand(x: Array, sigma: float, labels: list[int], data: tuple[Array, Array]) -> Array:
    """Denoised means from a softmax over all images, one row at a time."""
    points, classes = data[0].reshape(len(data[0]), -1).astype(np.float64), data[1]
    v = sigma**2 + STD**2
    means = []
    for row, label in zip(x, labels, strict=True):
        members = points if label == CLASSES else points[classes == label]
        logits = -((row - members) ** 2).sum(1) / (2 * v)
        weights = np.exp(logits - logits.max())
        means.append((STD**2 * row + sigma**2 * (weights / weights.sum()) @ members) / v)
    return np.array(means)


DATA = 0.7  # spread for which EDM scales
PRESERVING = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
SCHEDULERS = [
    ("DDIMScheduler", PRESERVING | {"prediction_type": "epsilon"}),
    ("DDIMScheduler", PRESERVING | {"prediction_type": "sample"}),
    ("DDIMScheduler", PRESERVING | {"prediction_type": "v_prediction"}),
    ("EulerDiscreteScheduler", PRESERVING | {"prediction_type": "v_prediction"}),
    ("EulerAncestralDiscreteScheduler", PRESERVING | {"prediction_type": "epsilon"}),
    ("DPMSolverMultistepScheduler", PRESERVING | {"prediction_type": "v_prediction", "use_karras_sigmas": True}),
    ("UniPCMultistepScheduler", {"prediction_type": "flow_prediction", "use_flow_sigmas": True}),
    ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
    ("EDMEulerScheduler", {"prediction_type": "epsilon", "sigma_data": DATA}),
]


@pytest.mark.parametrize(("kind", "settings"), SCHEDULERS, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("step", [1, 12, 28])
def test_the_network_states_the_exact_mean_as_its_scheduler_wants_it(
    host: Host, data: tuple[Array, Array], seed: int, kind: str, settings: dict[str, Any], step: int
) -> None:
    twin = twin_of(driven(host, kind, **settings), std=STD)
    scheduler, labels = twin.pipe.scheduler, [3, CLASSES, 8, 3]
    scheduler.set_timesteps(30)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(step)
    is_flow = "Flow" in kind or settings.get("use_flow_sigmas")
    if is_flow:
        s = float(scheduler.sigmas[step])
        alpha = 1 - s
    elif "EDM" in kind:
        sigma = float(scheduler.sigmas[step])
        alpha, s = 1 / math.hypot(DATA, sigma), sigma / math.hypot(DATA, sigma)
    else:
        kept = scheduler.alphas_cumprod[scheduler.timesteps[step].long()]
        sigma = float(scheduler.sigmas[step] if hasattr(scheduler, "sigmas") else ((1 - kept) / kept).sqrt())
        alpha, s = 1 / math.hypot(1, sigma), sigma / math.hypot(1, sigma)
    z = np.random.default_rng(seed).standard_normal((4, 64))
    shown = alpha * data[0][:4].reshape(4, 64) + s * z  # what a network sees of every chart
    x, sigma = shown / alpha, s / alpha
    mean = by_hand(x, sigma, labels, data)
    noise = (x - mean) / sigma
    output = {
        "epsilon": noise,
        "sample": mean,
        "v_prediction": alpha * noise - s * mean,
        "flow_prediction": noise - mean,
    }
    expected = output[settings.get("prediction_type", "flow_prediction")]
    if "EDM" in kind:
        expected = alpha * (sigma * mean / DATA - DATA * noise)
    found = twin.pipe.unet(
        torch.from_numpy(shown).float().reshape(4, 1, 8, 8),
        scheduler.timesteps[step],
        class_labels=torch.tensor(labels),
        return_dict=False,
    )[0]
    error = np.abs(found.reshape(4, 64).numpy() - expected).max()
    assert error < 1e-4 / min(sigma, 1.0)  # rounding of the state, which the noise inherits divided by sigma


def test_a_state_without_data_gets_the_mean_of_the_data(host: Host, data: tuple[Array, Array]) -> None:
    scheduler = diffusers.DDIMScheduler(
        **PRESERVING, prediction_type="sample", rescale_betas_zero_snr=True, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(10)
    points, labels = map(torch.from_numpy, data)
    network = ExactNetwork(points, labels, scheduler, std=STD)
    found = network(torch.randn(2, 1, 8, 8, generator=seeded()), scheduler.timesteps[0], torch.tensor([CLASSES, 4]))[0]
    expected = torch.stack([points.mean(0), points[labels == 4].mean(0)])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


# Whole runs


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Drawn:
    """The noise that a pipeline draws: of one generator per image, in the order of the steps."""

    def __init__(self, seeds: range) -> None:
        self.generators = [seeded(seed) for seed in seeds]

    def __call__(self, *_: Any) -> Tensor:
        return torch.cat([torch.randn((1, 1, 8, 8), generator=one) for one in self.generators]).flatten(1)


@pytest.mark.parametrize(("kind", "lam"), [("EulerDiscreteScheduler", 0.0), ("EulerAncestralDiscreteScheduler", 1.0)])
@pytest.mark.parametrize("spec", ["constant:0", "constant:2", "step:early=3,late=-1,switch=60%"])
def test_a_guided_twin_is_our_own_sampler(
    host: Host, data: tuple[Array, Array], kind: str, lam: float, spec: str
) -> None:
    """Step by step the same arithmetic, and the same noise: ties schedules, labels, halves and levels together."""
    twin, seeds = twin_of(driven(host, kind, **PRESERVING, prediction_type="v_prediction"), std=STD), range(5)
    found = twin.generate("3", seeds, parse_schedule(spec), rule=LinearCFG(), steps=8)
    scheduler, drawn = twin.pipe.scheduler, Drawn(seeds)
    levels = grid(VarianceExploding(), [float(sigma) ** 2 for sigma in scheduler.sigmas])
    mixture = empirical_mixture(*(torch.from_numpy(part) for part in (data[0].reshape(-1, 64), data[1])), std=STD)
    start = drawn() * float(scheduler.init_noise_sigma)
    denoiser = classifier_free(ExactDenoiser(mixture), parse_schedule(spec))
    expected = sample(denoiser, start, levels, step=Exponential(lam=lam, order=1), noise=drawn, label=3).x
    np.testing.assert_allclose(found.latents.reshape(5, 64), expected, rtol=1e-3, atol=2e-3)
    np.testing.assert_allclose(found.log["sigma"], scheduler.sigmas[:-1], rtol=1e-6)


@pytest.mark.parametrize(("algorithm", "lam"), [("dpmsolver++", 0.0), ("sde-dpmsolver++", 1.0)])
def test_our_multistep_is_the_multistep_of_diffusers(
    host: Host, data: tuple[Array, Array], algorithm: str, lam: float
) -> None:
    """A second implementation of the same method, on its own levels and with its own noise."""
    settings = PRESERVING | {
        "prediction_type": "v_prediction",
        "algorithm_type": algorithm,
        "final_sigmas_type": "zero",
    }
    twin, seeds = twin_of(driven(host, "DPMSolverMultistepScheduler", **settings), std=STD), range(5)
    found = twin.generate("3", seeds, parse_schedule("constant:2"), rule=LinearCFG(), steps=8)
    scheduler, drawn = twin.pipe.scheduler, Drawn(seeds)
    levels = grid(VarianceExploding(), [float(sigma) ** 2 for sigma in scheduler.sigmas])
    mixture = empirical_mixture(*(torch.from_numpy(part) for part in (data[0].reshape(-1, 64), data[1])), std=STD)
    sigma = float(scheduler.sigmas[0])
    start = drawn() * float(scheduler.init_noise_sigma) * math.sqrt(1 + sigma**2)
    denoiser = classifier_free(ExactDenoiser(mixture), parse_schedule("constant:2"))
    expected = sample(denoiser, start, levels, step=Multistep(lam=lam), noise=drawn, label=3).x
    np.testing.assert_allclose(found.latents.reshape(5, 64), expected, rtol=1e-3, atol=2e-3)


def test_without_guidance_its_samples_follow_the_data(host: Host, data: tuple[Array, Array]) -> None:
    """Total variance of a class, with the modes' width, and its mean along the direction from the others."""
    twin = twin_of(host, std=STD)
    made = twin.generate("8", range(250), parse_schedule("constant:0"), rule=LinearCFG(), steps=40).latents
    rows, real = made.reshape(len(made), -1), data[0].reshape(len(data[0]), -1)[data[1] == 8]
    squares = ((rows - real.mean(0)) ** 2).sum(1)
    total = real.var(0).sum() + 64 * STD**2
    error = squares.std(ddof=1) / math.sqrt(len(squares))
    expect_estimate(squares.mean(), error, total, bias=0.02 * total, detect=0.3 * total, false_fail=5e-7)
    away = real.mean(0) - data[0].reshape(len(data[0]), -1).mean(0)
    along = (rows - real.mean(0)) @ away / (away @ away)
    error = along.std(ddof=1) / math.sqrt(len(along))
    expect_estimate(along.mean(), error, 0.0, bias=0.02, detect=0.5, false_fail=5e-7)


# The host


def test_a_twin_is_a_host_of_its_own(host: Host) -> None:
    twin = twin_of(host)
    assert (twin.name, twin.kind, twin.classes) == ("twin of digits", "class", CLASSES)
    assert twin.default_prompts == tuple("0123456789")
    assert twin.pipe.scheduler is not host.pipe.scheduler
    assert twin.pipe.scheduler.config == host.pipe.scheduler.config
    assert 0.2 < twin.pipe.unet.std < 0.3  # of the largest leave-one-out likelihood


def test_what_is_known_of_it_is_its_data_and_width(host: Host, data: tuple[Array, Array]) -> None:
    same, again = twin_of(host, std=STD).identity, twin_of(host, data, std=STD).identity
    assert same == again
    moved, swapped = data[0].copy(), data[1].copy()
    moved[1000, 0, 3, 3] += 1e-3
    swapped[1000] = (swapped[1000] + 1) % CLASSES
    others = [twin_of(host, (moved, data[1]), std=STD), twin_of(host, (data[0], swapped), std=STD)]
    others.append(twin_of(host, std=STD + 1e-3))
    assert all(other.identity != same for other in others)


LATENTS: dict[str, tuple[int, ...]] = {"latents": (4, 8, 6), "gray images": (8, 8), "vectors": (12,)}


def unclipped() -> Any:
    return pipelines.dit(diffusers.DDIMScheduler(clip_sample=False))


@pytest.mark.parametrize("shape", LATENTS.values(), ids=LATENTS)
@pytest.mark.parametrize("make", [pipelines.stable_diffusion, pipelines.stable_diffusion_3, unclipped])
def test_data_of_any_shape_get_the_scheduler_of_any_host(seed: int, make: Any, shape: tuple[int, ...]) -> None:
    """With narrow modes far apart a run ends at one of the data, of its class unless guidance takes that back."""
    source, labels = np.random.default_rng(seed), np.arange(20) % 3
    points = source.standard_normal((20, *shape))
    model = host_of(make(), "model")
    twin = twin_of(model, (points, labels), std=0.05)
    assert twin.classes == (model.classes or 3)
    for spec, allowed in (("constant:0", labels == 2), ("constant:-1", labels >= 0)):
        found = twin.generate("2", range(6), parse_schedule(spec), rule=LinearCFG(), steps=12).latents
        assert found.shape == (6, *[1] * (3 - len(shape)), *shape)
        distances = ((found.reshape(6, 1, -1) - points[allowed].reshape(1, allowed.sum(), -1)) ** 2).mean(2) ** 0.5
        assert distances.min(1).max() < 0.2  # others are 1.4 away


def test_mistakes_are_told(host: Host, data: tuple[Array, Array]) -> None:
    text = host_of(pipelines.stable_diffusion(), "model")
    points, labels = np.zeros((6, 4, 8, 8)), np.arange(6) % 2
    with pytest.raises(ConfigError, match="model has no data of its own"):
        twin_of(text)
    with pytest.raises(ShapeError, match="got 5 labels for 6 points"):
        twin_of(text, (points, labels[:5]))
    with pytest.raises(ConfigError, match="whole number per point"):
        twin_of(text, (points, labels / 2))
    with pytest.raises(ConfigError, match="expected points"):
        twin_of(text, (points[:, 0, 0, 0], labels))
    with pytest.raises(ConfigError, match="at least 2 classes"):
        twin_of(text, (points, 0 * labels))
    with pytest.raises(ConfigError, match="NaN or infinity"):
        twin_of(text, (points + np.nan, labels))
    with pytest.raises(ConfigError, match="must be 0 to 9, got 3 to 12"):
        twin_of(host, (data[0], data[1] + 3))
    some = data[1] < 5
    few = twin_of(host, (data[0][some], data[1][some]), std=STD)
    with pytest.raises(ConfigError, match="label 7 is not present"):
        few.generate("7", [0], parse_schedule("constant:0"), rule=LinearCFG(), steps=1)
    shifting = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    with pytest.raises(ConfigError, match="use_dynamic_shifting"):
        twin_of(host_of(type(host.pipe)(host.pipe.unet, shifting), "digits"))
