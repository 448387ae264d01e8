"""How families of pipelines call their network, and the evidence that they do.

A layout says where the conditional and the unconditional prediction of a step are found. It is never taken on trust:
what the pipeline hands to its scheduler must be its own guidance of exactly this pair, at a scale above 1, or the run
is refused. Swapped halves would show as a scale below 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from orthoscope.errors import ConfigError, StoppedError

_NOISE = 16  # roundings of the working precision that the evidence may be off
_CLEAR = 64  # roundings by which two predictions must differ to be evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a pipeline's pair of predictions is found.

    Attributes:
        networks: Attributes of the pipeline that hold its networks; those that are None are ignored.
        calls: "one" call with both halves in one batch, or "two" calls named by the network's `cache_context`.
        first: Which half comes first in one batch.
        doubled_state: Whether the scheduler steps both halves.
        renormalized: Whether the pipeline rescales its guided prediction token by token.
        remedy: What to pass so that the pipeline makes the pair.
    """

    networks: tuple[str, ...]
    calls: Literal["one", "two"] = "one"
    first: Literal["uncond", "cond"] = "uncond"
    doubled_state: bool = False
    renormalized: bool = False
    remedy: str = "guidance_scale > 1"


_UNET = Layout(networks=("unet",))
_TRANSFORMER = Layout(networks=("transformer",))
_TRUE = "true_cfg_scale > 1 and a negative_prompt"
_FLUX = Layout(networks=("transformer",), calls="two", remedy=_TRUE)
_QWEN = Layout(networks=("transformer",), calls="two", renormalized=True, remedy=_TRUE)
_WAN = Layout(networks=("transformer", "transformer_2"), calls="two")

LAYOUTS: dict[str, Layout] = {
    "StableDiffusionPipeline": _UNET,
    "StableDiffusionImg2ImgPipeline": _UNET,
    "StableDiffusionInpaintPipeline": _UNET,
    "StableDiffusionControlNetPipeline": _UNET,
    "StableDiffusionControlNetImg2ImgPipeline": _UNET,
    "StableDiffusionControlNetInpaintPipeline": _UNET,
    "StableDiffusionXLPipeline": _UNET,
    "StableDiffusionXLImg2ImgPipeline": _UNET,
    "StableDiffusionXLInpaintPipeline": _UNET,
    "StableDiffusion3Pipeline": _TRANSFORMER,
    "StableDiffusion3Img2ImgPipeline": _TRANSFORMER,
    "PixArtAlphaPipeline": _TRANSFORMER,
    "PixArtSigmaPipeline": _TRANSFORMER,
    "DiTPipeline": Layout(networks=("transformer",), first="cond", doubled_state=True),
    "FluxPipeline": _FLUX,
    "WanPipeline": _WAN,
    "QwenImagePipeline": _QWEN,
    "ClassPipeline": _UNET,
}


@dataclass(frozen=True, slots=True)
class Call:
    """One evaluation of a network.

    Attributes:
        branch: The name under which it was asked, if any.
        prediction: What it returned; a stand-in's is that of another call.
        is_stand_in: Whether the evaluation was skipped, because nothing depended on it.
    """

    branch: str | None
    prediction: Tensor
    is_stand_in: bool = False


def layout_of(pipe: Any) -> Layout:
    """The layout of a pipeline, by its class or the nearest it derives from.

    Raises:
        ConfigError: if there is none, or the network is distilled and makes no pair.
    """
    found = next((LAYOUTS[cls.__name__] for cls in type(pipe).__mro__ if cls.__name__ in LAYOUTS), None)
    if found is None:
        raise ConfigError(
            f"how {type(pipe).__name__} calls its network is not known here; if you know, pass layout=Layout(...), "
            "which the run will check"
        )
    for network in networks_of(pipe, found):
        if getattr(network.config, "time_cond_proj_dim", None) is not None:
            raise ConfigError(
                f"the network of {type(pipe).__name__} is distilled (time_cond_proj_dim is set): its guidance is an "
                "input of one evaluation, so there is no pair of predictions to combine; use a model that is not"
            )
    return found


def networks_of(pipe: Any, layout: Layout) -> list[torch.nn.Module]:
    """The networks of a pipeline.

    Raises:
        ConfigError: if it has none where the layout says, or they do not name their calls where that is needed.
    """
    found = [network for name in layout.networks if (network := getattr(pipe, name, None)) is not None]
    if not found:
        raise ConfigError(f"{type(pipe).__name__} has no network in {' or '.join(layout.networks)}; pass its layout")
    if layout.calls == "two" and not all(hasattr(network, "cache_context") for network in found):
        raise ConfigError(f"the network of {type(pipe).__name__} does not name its calls, so two cannot be told apart")
    return found


def pair(layout: Layout, calls: Sequence[Call], sample: Tensor, pipe: str) -> tuple[Tensor, Tensor]:
    """The conditional and the unconditional prediction of one step, with the channels of the state.

    Raises:
        ConfigError: if the calls of the step hold no such pair.
    """
    none = f"{pipe} made no pair of predictions to combine: pass {layout.remedy}; the scale's value will not matter"
    if layout.calls == "two":
        by_name = {call.branch: call.prediction for call in calls}
        if set(by_name) == {"cond"} and len(calls) == 1:
            raise ConfigError(none)
        if set(by_name) != {"cond", "uncond"} or len(calls) != 2:
            names = ", ".join(str(call.branch) for call in calls) or "none"
            raise ConfigError(f"{pipe}: expected the calls cond and uncond in each step, got {names}; pass its layout")
        cond, uncond = by_name["cond"], by_name["uncond"]
    else:
        rows = len(sample) // 2 if layout.doubled_state else len(sample)
        if len(calls) != 1:
            raise ConfigError(
                f"{pipe}: expected one call of the network in each step, got {len(calls)}; switch off what adds calls, "
                "such as skip-layer guidance, or pass its layout"
            )
        prediction = calls[0].prediction
        repeats = not layout.doubled_state or torch.equal(*sample.tensor_split(2))
        if len(prediction) == len(sample) and not (layout.doubled_state and repeats):
            raise ConfigError(none)
        if len(prediction) != 2 * rows:
            raise ConfigError(
                f"{pipe}: expected two predictions for each of {rows} states, got {len(prediction)}; pass its layout"
            )
        first, second = prediction.chunk(2)
        cond, uncond = (first, second) if layout.first == "cond" else (second, first)
    return cond[:, : sample.shape[1]], uncond[:, : sample.shape[1]]


def verified(layout: Layout, cond: Tensor, uncond: Tensor, output: Tensor, pipe: str) -> bool:
    r"""Whether the pipeline's own guided prediction is evidence for the layout; False if there is none this step.

    The least-squares fit `output` $= k\,[u + s\,(c - u)]$ with one $k, s$ per row (per token where the pipeline
    renormalizes) must leave nothing but rounding, at $k > 0$ and a scale $s > 1$. Where the two predictions differ by
    less than rounding can resolve there is nothing to be seen.

    Raises:
        StoppedError: if it contradicts the layout.
    """
    precision = torch.finfo(output.dtype).eps
    shape = (-1, output.shape[-1]) if layout.renormalized else (len(output), -1)
    wide = torch.float32 if output.device.type == "mps" else torch.float64
    c, u, m = (part.to(wide).reshape(shape) for part in (cond, uncond, output))
    d = c - u
    across = d - u * (_dot(d, u) / _dot(u, u).clamp_min(torch.finfo(wide).tiny))
    clear = across.norm(dim=1) * across.shape[1] ** 0.5 > _CLEAR * precision * (c.norm(dim=1) + u.norm(dim=1))
    if not bool(clear.any()):
        return False
    d, across, u, m = d[clear], across[clear], u[clear], m[clear]
    ks = _dot(m, across) / _dot(across, across)
    k = _dot(m - ks * d, u) / _dot(u, u)
    rest, scale = float((m - k * u - ks * d).norm() / m.norm()), float((ks / k).median())
    if not (rest <= _NOISE * precision and float(k.median()) > 0 and scale > 0.5):
        raise StoppedError(
            f"{pipe}: what the pipeline hands to its scheduler is not its guidance of the recorded pair (rest "
            f"{rest:.1g}, scale {scale:.3g}), so its layout is not the assumed one; pass its layout"
        )
    return True


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=1, keepdim=True)
