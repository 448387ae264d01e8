r"""The contract of a step, and the steps that hold a denoised mean fixed.

A step is given the state with its level, the next level, a denoiser and a source of noise. It returns the state at the
next level with what it cost. It counts its own evaluations, and what it wants to know again at the next step it leaves
in the state: `Exponential` is one step of first or second order, `Multistep` uses the evaluation of the step before.
Steps made of others stand beside them: `corrector`, `restart`, `renoising`, `weighted`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from orthoscope.denoise import Denoiser
from orthoscope.errors import ConfigError
from orthoscope.process import NoiseLevel
from orthoscope.sampling.noise import Noise
from orthoscope.sampling.state import State
from orthoscope.sampling.transition import check_noise_content, transition
from orthoscope.typing import Events


@runtime_checkable
class Step(Protocol):
    """One step of a run, from one level to the next."""

    @property
    def needs_noise(self) -> bool:
        """Whether it asks for noise."""

    def __call__(self, state: State, next_level: NoiseLevel, denoiser: Denoiser, noise: Noise) -> State:
        """The state at the next level, made by `state.moved` from the evaluations that it took.

        Args:
            state: Where the run stands; `state.carried` is what this step left there, or None.
            next_level: Where the step ends, less noisy.
            denoiser: Guided or plain.
            noise: Source of noise, asked for (level, next level).
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponential:
    """The exact step for a frozen denoised mean, first or second order.

    Attributes:
        lam: Noise content in [0, 1]: 1 is the reverse SDE, 0 the probability-flow ODE.
        order: 1 freezes the mean at the start of the step; 2 averages it with the mean at the predicted end, with the
            same noise: Heun's method, and with noise a stochastic Runge-Kutta method of two stages.

    Accuracy:
        In law, and for the ODE, of the stated order; along one Brownian path of first order. One evaluation per order;
        the step to clean data without offset takes one and is of first order.

    Source:
        derived in explanation/numerics.
    """

    lam: float = 1.0
    order: int = 2

    def __post_init__(self) -> None:
        """Reject noise contents and orders that do not exist."""
        check_noise_content(self.lam)
        if self.order not in (1, 2):
            raise ConfigError(f"order must be 1 or 2, got {self.order}")

    @property
    def needs_noise(self) -> bool:
        """Unless it follows the ODE."""
        return self.lam > 0

    def __call__(self, state: State, next_level: NoiseLevel, denoiser: Denoiser, noise: Noise) -> State:
        """The state at the next level."""
        x, level = state.x, state.level
        first = state.evaluate(denoiser)
        z = noise(level, next_level) if self.needs_noise else None
        end = transition(x, level, next_level, first.denoised, z, lam=self.lam)
        if self.order == 1 or next_level.variance == 0:
            return state.moved(end, next_level, first)
        second = denoiser.evaluate(end, next_level.from_noise_side(level.step), state.label, state.memory)
        end = transition(x, level, next_level, (first.denoised + second.denoised) / 2, z, lam=self.lam)
        return state.moved(end, next_level, first, second)


class _Past(NamedTuple):
    """What a multistep carries: the denoised mean of the step before, and the variance where it was."""

    denoised: Events
    variance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Multistep:
    r"""The exponential step with the mean extrapolated to the step's middle: DPM-Solver++(2M), with noise its SDE form.

    The mean is taken to be linear in $\log v$ through the last two evaluations (Adams and Bashforth): with
    $h = \log v/v'$ and $h_-$ that of the step before,

    $$ D + \frac{h}{2h_-}\,(D - D_-) . $$

    Attributes:
        lam: Noise content in [0, 1]: 1 is the reverse SDE, 0 the probability-flow ODE.

    Accuracy:
        Second order in law, and for the ODE, at one evaluation per step; the first step, and one to clean data
        without offset, are of first order. A strength that jumps costs an order.

    Source:
        [lu2025dpm], second-order multistep; derived in explanation/numerics.
    """

    lam: float = 1.0

    def __post_init__(self) -> None:
        """Reject noise contents that do not exist."""
        check_noise_content(self.lam)

    @property
    def needs_noise(self) -> bool:
        """Unless it follows the ODE."""
        return self.lam > 0

    def __call__(self, state: State, next_level: NoiseLevel, denoiser: Denoiser, noise: Noise) -> State:
        """The state at the next level; it carries the mean found here."""
        level, past = state.level, state.carried
        first = state.evaluate(denoiser)
        mean = first.denoised
        if past is not None and next_level.variance > 0:
            reach = math.log(next_level.variance / level.variance) / math.log(level.variance / past.variance)
            mean = mean + reach / 2 * (mean - past.denoised)
        z = noise(level, next_level) if self.needs_noise else None
        x = transition(state.x, level, next_level, mean, z, lam=self.lam)
        return state.moved(x, next_level, first, carried=_Past(first.denoised, level.variance))
