"""Where a step is meant, a text, a class, an object or a function will do; and what it returns is looked at."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from orthoscope import registered
from orthoscope.denoise import Denoiser
from orthoscope.errors import ConfigError, OrthoscopeError, in_one_line
from orthoscope.process import NoiseLevel
from orthoscope.sampling.noise import Noise
from orthoscope.sampling.state import State
from orthoscope.sampling.steps import Step


def as_step(given: Any) -> Any:
    """The step that is meant: a registered name, a place `module:name`, a class, an object or a function.

    Raises:
        ConfigError: if it is none of these.
    """
    found = registered.STEPS.thing(given) if isinstance(given, str) else given
    found = registered.put_together(found, {}, "step")
    if not callable(found):
        raise ConfigError(
            "a `step` is called with (state, next_level, denoiser, noise): an object such as Exponential(), a "
            f"function, or the name or place of one as text; got {type(found).__name__}",
            field="step",
        )
    made: Step = found
    return made


def advanced(step: Any, state: State, next_level: NoiseLevel, denoiser: Denoiser, noise: Noise) -> State:
    """The state at the next level, once it was seen to be there.

    Raises:
        ConfigError: if a step of one's own fails, the step returns no such state, or something changes the state that
            it was given in place.
    """
    version = _version(state.x)
    try:
        found = step(state, next_level, denoiser, noise)
    except Exception as error:
        if isinstance(error, OrthoscopeError) or not registered.is_own(type(step)):
            raise
        raise ConfigError(f"the step {registered.name_of(step)} failed: {in_one_line(error)}", field="step") from error
    if _version(state.x) != version:
        raise ConfigError(
            f"the step {registered.name_of(step)}, or the denoiser or target that it asks, changes the state it is "
            "given in place; make a new tensor, such as x + 1 for x.add_(1)",
            field="step",
        )
    if told := _unlike(found, state, next_level):
        raise ConfigError(
            f"the step {registered.name_of(step)} must return the state at the next level, "
            f"state.moved(x, next_level, ...), {told}",
            field="step",
        )
    return found


def _version(x: Tensor) -> int:
    """Counts the changes in place; 0 for a tensor that does not."""
    return 0 if x.is_inference() else x._version


def _unlike(found: Any, state: State, next_level: NoiseLevel) -> str:
    """What came instead of the state at the next level; nothing for that state."""
    if not isinstance(found, State):
        return f"got {type(found).__name__}"
    if found.level.time != next_level.time or found.level.step != next_level.step:
        there, wanted = (f"step {level.step}, variance time {level.time:.4g}" for level in (found.level, next_level))
        return f"at {wanted}; got one at {there}"
    if not isinstance(found.x, Tensor) or not found.x.is_floating_point():
        return f"with a floating-point tensor, got {getattr(found.x, 'dtype', type(found.x).__name__)}"
    if found.x.shape != state.x.shape:
        return f"of shape {tuple(state.x.shape)}, got {tuple(found.x.shape)}"
    return ""
