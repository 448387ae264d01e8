r"""A scheduler's clock as a noise level: the one place where it is converted.

Every supported scheduler holds a state $z = \alpha x_0 + s\,\varepsilon$, so its variance time is $(s/\alpha)^2$ and
the unscaled state is $z/\alpha$. Five charts occur:

- by timestep: $\alpha^2 = \bar\alpha_t$ and $s^2 = 1 - \bar\alpha_t$ from a table,
- exploding: $\alpha = 1$, $s = \sigma$,
- preserving: $\alpha = 1/\sqrt{1 + \sigma^2}$, $s = \sigma\alpha$,
- flow: $\alpha = 1 - \sigma$, $s = \sigma$,
- reversed flow: $\alpha = \sigma$, $s = 1 - \sigma$.

Which of them a scheduler follows is established by `evidence`. A step that evaluates its network twice holds its
strength in both evaluations, as a second-order step of this package.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch

from orthoscope.errors import ConfigError
from orthoscope.prediction import Form, Preconditioned
from orthoscope.process import LEAST_ALPHA, NoiseLevel

Chart = Literal["timestep", "exploding", "preserving", "flow", "reversed-flow"]

_LAST = "final_alpha_cumprod"  # where tables keep the level at which a run ends, if not at clean data


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where in its run a scheduler stands.

    Attributes:
        level: Noise level of the state, with its step.
        is_first: Whether this is the first evaluation of the step.
    """

    level: NoiseLevel
    is_first: bool


class SchedulerClock:
    """Reads a diffusers scheduler.

    Attributes:
        scheduler: The scheduler.
        chart: How its state depends on the noise.
        output: What it takes the network's output for.
    """

    def __init__(self, scheduler: Any, chart: Chart, output: Form) -> None:
        """Read a scheduler by a chart; `evidence.clock_of` finds the one that it follows."""
        self.scheduler, self.chart, self.output = scheduler, chart, output
        self._repeats_first = hasattr(scheduler, "cur_model_output")  # PNDM evaluates its first step twice
        self._per_step = 2 if hasattr(scheduler, "state_in_first_order") else 1
        self.restart()

    def restart(self) -> None:
        """Expect the first evaluation of a run."""
        self._evaluation, self._evaluations, self._step, self._steps, self._begin = 0, 0, -1, 0, 0

    def read(self, timestep: Any, evaluations: int | None = None) -> Position:
        """The position at an evaluation, given the timestep that the scheduler's step gets; counts steps on the way.

        Args:
            timestep: The timestep.
            evaluations: How many evaluations the run makes, where it ends before the scheduler's timesteps do; told at
                the first one.

        Raises:
            ConfigError: if the timestep is none of the run's.
        """
        index = self._index(timestep)
        if self._evaluation == 0:
            remaining = self.remaining(timestep)
            self._begin, self._evaluations = index, min(remaining, evaluations or remaining)
            self._steps = self.count(self._evaluations)
        position = self._at(index, timestep)
        self._evaluation += 1
        self._step = int(position.level.step or 0)
        return position

    def remaining(self, timestep: Any) -> int:
        """Evaluations from a timestep to the end of the scheduler's timesteps."""
        return len(self.scheduler.timesteps) - self._index(timestep)

    def ahead(self) -> Position | None:
        """The position of the evaluation that comes next; None at the start of a run, or if only its step will tell."""
        index = getattr(self.scheduler, "step_index", None)
        if self._evaluation == 0 or index is None:
            return None
        return self._at(int(index), self.scheduler.timesteps[index])

    def _at(self, index: int, timestep: Any) -> Position:
        is_first = self._is_first()
        step = min(self._step + is_first, self._steps - 1)
        alpha, noise = self._scales(timestep, index)
        kept = max(alpha, LEAST_ALPHA)
        level = NoiseLevel(time=(noise / kept) ** 2, t=float(timestep), alpha=kept, step=step, steps=self._steps)
        return Position(level=level if is_first else level.from_noise_side(step), is_first=is_first)

    @property
    def visited(self) -> list[Any]:
        """Timesteps of the run that `read` has begun, evaluation by evaluation."""
        return list(self.scheduler.timesteps[self._begin : self._begin + self._evaluations])

    @property
    def left(self) -> int:
        """Evaluations of the run that are still to come."""
        return self._evaluations - self._evaluation

    @property
    def times(self) -> list[float]:
        """Variance times of the run that `read` has begun: one per step, descending, and that of the end."""
        scheduler = self.scheduler
        if self.chart == "timestep":
            until = self._begin + self._evaluations
            at = dict.fromkeys(scheduler.timesteps.tolist()[self._begin : until + 1])
            kept = [float(scheduler.alphas_cumprod[int(t)]) for t in at]
            if until == len(scheduler.timesteps):
                kept.append(float(getattr(scheduler, _LAST, 1.0)))
            scales = [(math.sqrt(a), math.sqrt(1 - a)) for a in kept]
        else:
            sigmas = [float(sigma) for sigma in scheduler.sigmas[self._begin :]]
            starts = (min(self._per_step * step, len(sigmas) - 1) for step in range(self._steps + 1))
            scales = [self._of_sigma(sigmas[k]) for k in starts]
        return [(noise / max(alpha, LEAST_ALPHA)) ** 2 for alpha, noise in scales]

    def shown(self, level: NoiseLevel) -> float:
        """Scale of the data in what the scheduler shows a network of a state at a level."""
        if self.chart != "exploding" or not hasattr(self.scheduler, "scale_model_input"):
            return float(level.alpha)
        spread = self.output.spread if isinstance(self.output, Preconditioned) else 1.0
        return 1 / math.sqrt(spread**2 + level.variance)

    def _index(self, timestep: Any) -> int:
        if getattr(self.scheduler, "step_index", 0) is None and hasattr(self.scheduler, "_init_step_index"):
            self.scheduler._init_step_index(timestep)  # what its own step would do first
        if (index := getattr(self.scheduler, "step_index", None)) is not None:
            return int(index)
        found = torch.nonzero(torch.as_tensor(self.scheduler.timesteps).cpu() == torch.as_tensor(timestep).cpu())
        if not len(found):
            raise ConfigError(f"timestep {float(timestep):g} is none of the scheduler's; call set_timesteps first")
        return int(found[0])

    def _is_first(self) -> bool:
        if self._repeats_first:
            return self._evaluation != 1
        return bool(getattr(self.scheduler, "state_in_first_order", True))

    def count(self, evaluations: int) -> int:
        """Steps that so many evaluations make."""
        return max(evaluations - 1, 1) if self._repeats_first else -(-evaluations // self._per_step)

    def _scales(self, timestep: Any, index: int) -> tuple[float, float]:
        if self.chart == "timestep":
            kept = float(self.scheduler.alphas_cumprod[int(timestep)])
            return math.sqrt(kept), math.sqrt(1 - kept)
        return self._of_sigma(float(self._sigma(index)))

    def _of_sigma(self, sigma: float) -> tuple[float, float]:
        match self.chart:
            case "exploding":
                return 1.0, sigma
            case "preserving":
                return 1 / math.sqrt(1 + sigma**2), sigma / math.sqrt(1 + sigma**2)
            case "reversed-flow":
                return sigma, 1 - sigma
        return 1 - sigma, sigma

    def _sigma(self, index: int) -> Any:
        if self._is_first():
            return self.scheduler.sigmas[index]
        if hasattr(self.scheduler, "mid_point_sigma"):
            return self.scheduler.mid_point_sigma
        if not hasattr(self.scheduler, "sigmas_interpol"):
            return self.scheduler.sigmas[index]
        return self.scheduler.sigmas_interpol[index - 1 if hasattr(self.scheduler, "sigmas_down") else index]
