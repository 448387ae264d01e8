"""The loop, written once: a generator that yields one state per level, and `sample`, which exhausts it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from orthoscope.denoise import Denoiser, Label, Memory
from orthoscope.errors import DivergenceError
from orthoscope.process import NoiseLevel
from orthoscope.sampling.grid import Grid
from orthoscope.sampling.noise import Noise
from orthoscope.sampling.steps import Exponential
from orthoscope.typing import Events


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class State:
    """Where a run stands.

    Attributes:
        x: The state in unscaled coordinates; the chart's own state is `level.alpha * x`.
        level: Its noise level, with the index of the step that starts here.
        memory: What the guidance rule carries to the next step.
        calls: Denoisers evaluated so far.
        modes_read: Rows times modes read so far.
    """

    x: Tensor
    level: NoiseLevel
    memory: Memory = None
    calls: int = 0
    modes_read: int = 0


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
    denoiser: Denoiser, x: Events, grid: Grid, *, step: Exponential, noise: Noise | None, label: Label = None
) -> Iterator[State]:
    """Yield the state at every level of the grid, the given one first.

    A second-order step evaluates twice; only the first evaluation commits the rule's memory, so a rule sees each step
    once.

    Args:
        denoiser: Guided or plain.
        x: State at the first level.
        grid: Levels to visit.
        step: One-step kernel.
        noise: Source of noise; None only for the probability-flow ODE.
        label: Class asked for.

    Raises:
        DivergenceError: if the state stops being finite; it carries the step, its time and the last good state.
    """
    state = State(x=x, level=grid.levels[0])
    yield state
    for level, next_level in itertools.pairwise(grid.levels):
        first = denoiser.evaluate(state.x, level, label, state.memory)
        z = noise(level, next_level) if noise is not None and step.lam > 0 else None
        x = step(state.x, level, next_level, first.denoised, z)
        calls, read = state.calls + first.calls, state.modes_read + first.modes_read
        if step.order == 2 and next_level.variance > 0:
            end = denoiser.evaluate(x, next_level.from_noise_side(level.step), label, state.memory)
            x = step(state.x, level, next_level, (first.denoised + end.denoised) / 2, z)
            calls, read = calls + end.calls, read + end.modes_read
        if not bool(torch.isfinite(x).all()):
            raise DivergenceError(
                f"the state is not finite after step {level.step} (variance time {level.time:.4g} to "
                f"{next_level.time:.4g}); use more steps or a smaller strength",
                step=int(level.step or 0),
                time=float(level.time),
                last_good=state.x,
            )
        state = State(x=x, level=next_level, memory=first.memory, calls=calls, modes_read=read)
        yield state


def sample(
    denoiser: Denoiser,
    x: Events,
    grid: Grid,
    *,
    step: Exponential | None = None,
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
        step: One-step kernel; second-order reverse SDE if None.
        noise: Source of noise; None only for the probability-flow ODE.
        label: Class asked for.
        observe: Called with the state at every level; its results are kept, the states are not.

    Raises:
        DivergenceError: if the state stops being finite.
    """
    begin = time.perf_counter()
    observed = []
    for state in trajectory(denoiser, x, grid, step=step or Exponential(), noise=noise, label=label):
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
