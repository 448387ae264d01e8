"""Listening at the networks of a pipeline, from outside whatever else is done to them.

A network is heard where torch calls it, before hooks, compiled code and what moves weights between devices: none of
these sees the listener, and none can undo it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from orthoscope.errors import ConfigError

_SEAM = "_compiled_call_impl"  # what torch calls in place of a module's hooks and forward


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One evaluation of a network.

    Attributes:
        network: The network.
        prediction: What it returned first; None if that is no prediction.
        is_stand_in: Whether the evaluation was skipped, because nothing depended on it, and this is another call's.
    """

    network: torch.nn.Module
    prediction: Tensor | None
    is_stand_in: bool = False


@contextmanager
def listening(network: torch.nn.Module, around: Callable[..., Any]) -> Iterator[None]:
    """Replace every call of a network by `around(network, call, *args, **kwargs)`."""
    own = vars(network).get(_SEAM)
    call = own or network._call_impl

    def heard(*args: Any, **kwargs: Any) -> Any:
        return around(network, call, *args, **kwargs)

    # Not by setattr, which the wrapper of a compiled network passes on to what it wraps.
    vars(network)[_SEAM] = heard
    try:
        yield
    finally:
        vars(network).pop(_SEAM, None)
        if own is not None:
            vars(network)[_SEAM] = own


def networks_of(pipe: Any) -> list[torch.nn.Module]:
    """What may be a pipeline's network: every module that it holds.

    Raises:
        ConfigError: if there is none, or one is distilled and makes no pair.
    """
    found = {id(part): part for part in vars(pipe).values() if isinstance(part, torch.nn.Module)}
    if not found:
        raise ConfigError(f"{type(pipe).__name__} holds no network (torch module), so there is nothing to guide")
    for network in found.values():
        # Others use the same input for what is no guidance.
        if _setting(network, "time_cond_proj_dim") is not None and hasattr(pipe, "get_guidance_scale_embedding"):
            raise ConfigError(
                f"the network of {type(pipe).__name__} is distilled (time_cond_proj_dim is set): its guidance is an "
                "input of one evaluation, so there is no pair of predictions to combine; use a model that is not"
            )
    return list(found.values())


def takes_guidance(network: torch.nn.Module) -> bool:
    """Whether a scale of guidance is an input of the network."""
    return bool(_setting(network, "guidance_embeds"))


def is_caching(network: torch.nn.Module) -> bool:
    """Whether anything in a network remembers earlier calls, so that none may be left out."""
    registries = (getattr(part, "_diffusers_hook", None) for part in network.modules())
    hooks = (hook for registry in registries if registry is not None for hook in registry.hooks.values())
    return any(getattr(hook, "_is_stateful", False) for hook in hooks)


def prediction_in(output: Any) -> Tensor | None:
    """The prediction among what a network returned: a tensor, the first of several parts, or a list with its rows."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, list):
        same = bool(output) and all(isinstance(row, Tensor) and row.shape == output[0].shape for row in output)
        return torch.stack(output) if same else None
    parts = output.to_tuple() if hasattr(output, "to_tuple") else output
    return prediction_in(parts[0]) if isinstance(parts, tuple) and parts else None


def predicting(calls: Sequence[Call], rows: int) -> list[Call]:
    """The calls that made a step's predictions, of so many rows each: those of the network called last before it."""
    found = [call for call in calls if _divides(call, rows)]
    return [call for call in found if type(call.network) is type(found[-1].network)]


def blocks(calls: Sequence[Call], rows: int) -> list[Tensor]:
    """The predictions of a step, with so many rows each."""
    return [block for call in calls if call.prediction is not None for block in torch.split(call.prediction, rows)]


def _divides(call: Call, rows: int) -> bool:
    prediction = call.prediction
    return prediction is not None and prediction.ndim > 1 and len(prediction) > 0 and len(prediction) % rows == 0


def _setting(network: Any, name: str) -> Any:
    return getattr(getattr(network, "config", None), name, None)
