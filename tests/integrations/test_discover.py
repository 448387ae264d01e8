"""Which predictions are guided is found in what a pipeline hands to its scheduler, in every way in which it may."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("diffusers")

from orthoscope.errors import ConfigError, StoppedError
from orthoscope.integrations.diffusers import guided
from orthoscope.integrations.diffusers.discover import discover
from orthoscope.integrations.randomness import stepping_by
from tests.integrations import wider
from tests.integrations.pipelines import draw
from tests.integrations.wider import WIDER

STATE = draw(2, 4, 3, 8, 8, seed=0)
UNCOND, COND = draw(2, 4, 3, 8, 8, seed=1), draw(2, 4, 3, 8, 8, seed=2)
SCALE = 7.5


def plain(u: Tensor, c: Tensor) -> Tensor:
    return u + SCALE * (c - u)


def by_frame(u: Tensor, c: Tensor) -> Tensor:
    return u + torch.tensor([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1, 1) * (c - u)


def renormalized(u: Tensor, c: Tensor) -> Tensor:
    m = plain(u, c)
    return m * (c.std(dim=(1, 2, 3, 4), keepdim=True) / m.std(dim=(1, 2, 3, 4), keepdim=True))


def packed(x: Tensor, channels_last: bool = False) -> Tensor:
    """Tokens of patches of 2 by 2 pixels."""
    patches = x.reshape(2, 4, 3, 4, 2, 4, 2).permute(0, 2, 3, 5, *((4, 6, 1) if channels_last else (1, 4, 6)))
    return patches.reshape(2, 48, 16)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("combine", [plain, by_frame, renormalized, lambda u, c: -plain(u, c)])
def test_the_order_the_sign_and_the_kind_of_scale_are_found(combine: Callable[..., Tensor], swapped: bool) -> None:
    blocks = [COND, UNCOND] if swapped else [UNCOND, COND]
    sign = float(combine(COND, COND).mul(COND).sum().sign())
    found = discover(blocks, STATE, combine(UNCOND, COND), "It")
    assert found.is_evident
    cond, uncond = found.pair(blocks, STATE)
    assert torch.equal(cond, sign * COND)
    assert torch.equal(uncond, sign * UNCOND)


@pytest.mark.parametrize(
    ("returned", "handed"),
    [
        (lambda x: torch.cat([x, x**2], 1), lambda x: x),  # with a variance
        (lambda x: torch.cat([x**2, x], 3), lambda x: x),  # after what belongs to a reference
        (lambda x: x.flatten(2).mT, lambda x: x),
        (packed, lambda x: x),
        (lambda x: packed(x, channels_last=True), lambda x: x),
        (packed, lambda x: x[:, :, 1:]),  # the first frame is given
        (lambda x: x[:, :, None], lambda x: x),
    ],
)
def test_predictions_are_laid_out_as_the_state_is(
    returned: Callable[[Tensor], Tensor], handed: Callable[[Tensor], Tensor]
) -> None:
    blocks = [returned(COND), returned(UNCOND)]
    found = discover(blocks, handed(STATE), handed(plain(UNCOND, COND)), "It")
    for part, wanted in zip(found.pair(blocks, handed(STATE)), (COND, UNCOND), strict=True):
        assert torch.equal(part, handed(wanted))


def test_what_is_made_of_a_prediction_and_the_state_is_made_of_the_pair() -> None:
    def made(x: Tensor) -> Tensor:
        return 0.3 * STATE - 0.8 * x

    blocks = [UNCOND, COND]
    found = discover(blocks, STATE, made(plain(UNCOND, COND)), "It")
    for part, wanted in zip(found.pair(blocks, STATE), (COND, UNCOND), strict=True):
        torch.testing.assert_close(part, made(wanted))


def test_a_renormalization_that_holds_the_state_is_refused_for_what_it_is() -> None:
    """It cannot be left out: what was made of the state is renormalized with it."""
    mean = STATE - 0.5 * plain(UNCOND, COND)
    rescaled = (STATE - mean * torch.tensor([0.8, 0.9]).reshape(2, 1, 1, 1, 1)) / 0.5
    with pytest.raises(StoppedError, match="is renormalized row by row together with the state"):
        discover([UNCOND, COND], STATE, rescaled, "It")


def test_a_pair_is_found_among_three_and_three_at_once_are_refused() -> None:
    third = draw(2, 4, 3, 8, 8, seed=3)
    found = discover([UNCOND, third, COND], STATE, plain(UNCOND, COND), "It")
    assert (found.uncond, found.cond) == (0, 2)
    with pytest.raises(ConfigError, match=r"sums 3 predictions \(weights -6.5, 7.9, -0.4\)"):
        discover([UNCOND, COND, third], STATE, plain(UNCOND, COND) + 0.4 * (COND - third), "It")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_predictions_are_no_evidence(dtype: torch.dtype) -> None:
    blocks = [UNCOND.to(dtype)] * 2
    found = discover(blocks, STATE, -blocks[0], "It")
    assert not found.is_evident
    assert torch.equal(found.pair(blocks, STATE)[0], -blocks[0])


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (STATE.flip(3), "is not its guidance of any two of the 2"),
        (plain(UNCOND, COND) + 1e-4 * STATE.flip(3), "is not its guidance of any two of the 2"),
        (UNCOND + 1.0 * (COND - UNCOND), "lies at scale 1 between"),
    ],
)
def test_what_is_no_guidance_is_refused(output: Tensor, message: str) -> None:
    with pytest.raises(StoppedError, match=message):
        discover([UNCOND, COND], STATE, output, "It")
    with pytest.raises(StoppedError, match="how the one becomes the other was not found"):
        discover([UNCOND[..., :5], COND[..., :5]], STATE, output, "It")


# Pipelines that no list names, one for every way in which a prediction becomes what is stepped


@pytest.mark.filterwarnings("ignore")  # diffusers' own, of many makes
@pytest.mark.parametrize(
    "name",
    [
        "FLUX Kontext",
        "Z-Image",
        "HunyuanImage 2.1",
        "LTX-Video image to video",
        "Lumina 2",
        "CogVideoX (DPM)",
        "Cosmos 1",
        "Cosmos 2",
        "Kandinsky 5",
        "Stable Video Diffusion",
        "Stable Audio",
        "Stable Diffusion latent upscaler",
    ],
)
def test_constant_and_changing_strengths_are_the_pipelines_own(name: str) -> None:
    error, effect = wider.agreement(WIDER[name])
    assert error < 1e-5 < 1e-3 < effect


def test_a_scale_of_some_channels_becomes_that_of_all() -> None:
    """Lumina-Next guides three of its four channels."""
    pipe, stepped, said = wider.lumina(), [], []
    network, step = pipe.transformer, pipe.scheduler.step

    @functools.wraps(step)
    def overheard(output: Tensor, *args: Any, **kwargs: Any) -> Any:
        stepped.append(output)
        return step(output, *args, **kwargs)

    handle = network.register_forward_hook(lambda module, given, output: said.append(output[0]))
    with stepping_by(pipe.scheduler, overheard), guided(pipe, "step:early=1.5,late=4,switch=50%"):
        pipe(**wider.masked(clean_caption=False), num_inference_steps=2)
    handle.remove()
    for output, both, w in zip(stepped, said, (1.5, 4.0), strict=True):
        cond, uncond = both[:, :4].chunk(2)
        torch.testing.assert_close(output, -(cond + w * (cond - uncond)))


@pytest.mark.filterwarnings("ignore")
def test_frames_that_are_given_are_no_guidance() -> None:
    pipe = wider.cosmos("Cosmos2VideoToWorldPipeline", wider.flow(use_karras_sigmas=True), 5)
    call = {name: value[:1] for name, value in wider.texts().items()} | {
        "latents": draw(1, 4, 2, 4, 4, seed=5),
        "video": draw(1, 5, 3, 32, 32, seed=6).sigmoid(),
        "output_type": "latent",
    }
    with pytest.raises(StoppedError, match="is not its guidance of any two of the 2"), guided(pipe, 2.0):
        pipe(**call | wider.seeded(), height=32, width=32, num_frames=5, num_inference_steps=2)


@pytest.mark.parametrize(
    ("name", "third"), [("InstructPix2Pix", "image_guidance_scale"), ("Perturbed attention", "pag_scale")]
)
def test_a_third_prediction_is_refused_for_what_it_is(name: str, third: str) -> None:
    family = WIDER[name]
    pipe = family.build()
    with pytest.raises(ConfigError, match=f"sums 3 predictions .*{third}"), guided(pipe, 2.0):
        pipe(**family.call() | {third: 1.5}, guidance_scale=7.5, num_inference_steps=2)
