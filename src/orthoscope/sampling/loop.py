"""The loop, written once: a generator that yields one state per level, and `sample`, which exhausts it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from orthoscope.denoise import Denoiser, Label
from orthoscope.errors import DivergenceError
from orthoscope.sampling.given import advanced, as_step
from orthoscope.sampling.grid import Grid
from orthoscope.sampling.noise import Noise, silence
from orthoscope.sampling.state import State
from orthoscope.sampling.steps import Exponential, Step
from orthoscope.typing import Events


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Run:
    """A finished run.

    Attributes:
        x: Samples.
        grid: The levels visited.
        observed: What `observe` returned at each level, the first included.
        calls: Denoisers evaluated.
        modes_read: Rows times modes read.
        seconds: Wall time.
    """

    x: Tensor
    grid: Grid
    observed: tuple[Any, ...]
    calls: int
    modes_read: int
    seconds: float


def trajectory(
    denoiser: Denoiser,
    x: Events,
    grid: Grid,
    *,
    step: Step | Any,
    noise: Noise | None,
    label: Label = None,
    carried: Any = None,
) -> Iterator[State]:
    """Yield the state at every level of the grid, the given one first.

    Args:
        denoiser: Guided or plain.
        x: State at the first level.
        grid: Levels to visit.
        step: What leads from one level to the next; also what `as_step` takes: a text, a class, a function.
        noise: Source of noise; None only for steps that need none.
        label: Class asked for.
        carried: What the step finds in the first state, for steps that start with something.

    Raises:
        ConfigError: if the step asks for noise and there is none, returns no state at the next level, or something
            changes the state in place.
        DivergenceError: if the state stops being finite; it carries the step, its time and the last good state.
    """
    step = as_step(step)
    state = State(x=x, level=grid.levels[0], label=label, carried=carried)
    yield state
    noise = silence if noise is None else noise
    for next_level in grid.levels[1:]:
        last, state = state, advanced(step, state, next_level, denoiser, noise)
        if not bool(torch.isfinite(state.x).all()):
            raise DivergenceError(
                f"the state is not finite after step {last.level.step} (variance time {last.level.time:.4g} to "
                f"{next_level.time:.4g}); use more steps or a smaller strength, and check the denoiser",
                step=int(last.level.step or 0),
                time=float(last.level.time),
                last_good=last.x,
            )
        yield state


def sample(
    denoiser: Denoiser,
    x: Events,
    grid: Grid,
    *,
    step: Step | Any = None,
    noise: Noise | None = None,
    label: Label = None,
    observe: Callable[[State], Any] | None = None,
) -> Run:
    r"""Run the reverse process from x to clean data.

    Reverse SDE: `sample(denoiser, x, grid, step=Exponential(lam=1), noise=noise, label=0)`;
    probability-flow ODE: `sample(denoiser, x, grid, step=Exponential(lam=0), label=0)`.

    Args:
        denoiser: Guided or plain.
        x: State at the first level.
        grid: Levels to visit.
        step: What leads from one level to the next; second-order reverse SDE if None. Also a text or a class.
        noise: Source of noise; None only for steps that need none.
        label: Class asked for.
        observe: Called with the state at every level; its results are kept, the states are not.

    Raises:
        ConfigError: if there is no such step, it asks for noise and there is none, or it makes no step.
        DivergenceError: if the state stops being finite.
    """
    begin = time.perf_counter()
    observed = []
    for state in trajectory(denoiser, x, grid, step=Exponential() if step is None else step, noise=noise, label=label):
        if observe is not None:
            observed.append(observe(state))
    return Run(
        x=state.x,
        grid=grid,
        observed=tuple(observed),
        calls=state.calls,
        modes_read=state.modes_read,
        seconds=time.perf_counter() - begin,
    )
