r"""A scheduler's clock as a noise level: the one place where it is converted.

Every supported scheduler holds a state $z = \alpha x_0 + s\,\varepsilon$, so its variance time is $(s/\alpha)^2$ and
the unscaled state is $z/\alpha$. Four charts occur:

- by timestep: $\alpha^2 = \bar\alpha_t$ and $s^2 = 1 - \bar\alpha_t$ from a table,
- exploding: $\alpha = 1$, $s = \sigma$,
- preserving: $\alpha = 1/\sqrt{1 + \sigma^2}$, $s = \sigma\alpha$,
- flow: $\alpha = 1 - \sigma$, $s = \sigma$.

A step that evaluates its network twice holds its strength in both evaluations, as a second-order step of this package.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch

from orthoscope.errors import ConfigError
from orthoscope.process import NoiseLevel

Chart = Literal["timestep", "exploding", "preserving", "flow"]
Output = Literal["noise", "denoised", "velocity", "preserving-velocity"]

CHARTS: dict[str, Chart] = {
    "DDIMScheduler": "timestep",
    "DDPMScheduler": "timestep",
    "LCMScheduler": "timestep",
    "PNDMScheduler": "timestep",
    "TCDScheduler": "timestep",
    "EulerAncestralDiscreteScheduler": "exploding",
    "EulerDiscreteScheduler": "exploding",
    "HeunDiscreteScheduler": "exploding",
    "KDPM2AncestralDiscreteScheduler": "exploding",
    "KDPM2DiscreteScheduler": "exploding",
    "LMSDiscreteScheduler": "exploding",
    "DEISMultistepScheduler": "preserving",
    "DPMSolverMultistepScheduler": "preserving",
    "DPMSolverSinglestepScheduler": "preserving",
    "UniPCMultistepScheduler": "preserving",
    "FlowMatchEulerDiscreteScheduler": "flow",
    "FlowMatchHeunDiscreteScheduler": "flow",
}
_OUTPUTS: dict[str, Output] = {
    "epsilon": "noise",
    "sample": "denoised",
    "v_prediction": "preserving-velocity",
    "flow_prediction": "velocity",
}
_LAST = "final_alpha_cumprod"  # where tables keep the level at which a run ends, if not at clean data
_LEAST_ALPHA = 2.0**-24  # signal that single precision cannot tell from none


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where in its run a scheduler stands.

    Attributes:
        level: Noise level of the state, with its step.
        is_first: Whether this is the first evaluation of the step.
        is_pure_noise: Whether no data is left in the state; the level then has a finite stand-in.
    """

    level: NoiseLevel
    is_first: bool
    is_pure_noise: bool


class SchedulerClock:
    """Reads a diffusers scheduler.

    Attributes:
        chart: How its state depends on the noise.
        output: What it takes the network's output for.
    """

    def __init__(self, scheduler: Any) -> None:
        """Find the chart.

        Raises:
            ConfigError: if the scheduler, its prediction type or its warm-up is none of the supported ones.
        """
        name = type(scheduler).__name__
        if name not in CHARTS:
            raise ConfigError(
                f"the noise level of {name} is not known here, so no schedule can be followed; use one of "
                f"{', '.join(sorted(CHARTS))}"
            )
        config = scheduler.config
        if name == "PNDMScheduler" and not config.skip_prk_steps:
            raise ConfigError("PNDMScheduler with its Runge-Kutta warm-up is not supported; set skip_prk_steps=True")
        self._scheduler = scheduler
        self.chart: Chart = CHARTS[name]
        if self.chart == "preserving" and config.get("use_flow_sigmas"):
            self.chart = "flow"
        kind = config.get("prediction_type", "flow_prediction")
        if kind not in _OUTPUTS or (kind == "flow_prediction") != (self.chart == "flow"):
            raise ConfigError(f"{name} with prediction_type={kind!r} is not supported: known are {', '.join(_OUTPUTS)}")
        self.output: Output = _OUTPUTS[kind]
        self.restart()

    def restart(self) -> None:
        """Expect the first evaluation of a run."""
        self._evaluation, self._step, self._steps, self._begin = 0, -1, 0, 0

    def read(self, timestep: Any) -> Position:
        """The position at an evaluation, given the timestep that the scheduler's step gets; counts steps on the way.

        Raises:
            ConfigError: if the timestep is none of the run's.
        """
        index = self._index(timestep)
        if self._evaluation == 0:
            self._begin = index
            self._steps = self._count(len(self._scheduler.timesteps) - index)
        position = self._at(index, timestep)
        self._evaluation += 1
        self._step = int(position.level.step or 0)
        return position

    def ahead(self) -> Position | None:
        """The position of the evaluation that comes next; None at the start of a run, or if only its step will tell."""
        index = getattr(self._scheduler, "step_index", None)
        if self._evaluation == 0 or index is None:
            return None
        return self._at(int(index), self._scheduler.timesteps[index])

    def _at(self, index: int, timestep: Any) -> Position:
        is_first = self._is_first()
        step = min(self._step + is_first, self._steps - 1)
        alpha, noise = self._scales(timestep, index)
        kept = max(alpha, _LEAST_ALPHA)
        level = NoiseLevel(time=(noise / kept) ** 2, t=float(timestep), alpha=kept, step=step, steps=self._steps)
        return Position(
            level=level if is_first else level.from_noise_side(step),
            is_first=is_first,
            is_pure_noise=alpha <= _LEAST_ALPHA,
        )

    @property
    def times(self) -> list[float]:
        """Variance times of the run that `read` has begun: one per step, descending, and that of the end."""
        scheduler, stride = self._scheduler, 2 if hasattr(self._scheduler, "state_in_first_order") else 1
        if self.chart == "timestep":
            visited = scheduler.timesteps.tolist()[self._begin :]
            kept = [float(scheduler.alphas_cumprod[int(t)]) for t in dict.fromkeys(visited)]
            scales = [(math.sqrt(a), math.sqrt(1 - a)) for a in (*kept, float(getattr(scheduler, _LAST, 1.0)))]
        else:
            sigmas = [float(sigma) for sigma in scheduler.sigmas]
            starts = sigmas[self._begin : -1 : stride][: self._steps]
            scales = [self._of_sigma(sigma) for sigma in (*starts, sigmas[-1])]
        return [(noise / max(alpha, _LEAST_ALPHA)) ** 2 for alpha, noise in scales]

    def _index(self, timestep: Any) -> int:
        if hasattr(self._scheduler, "step_index"):
            if self._scheduler.step_index is None:
                self._scheduler._init_step_index(timestep)  # what its own step would do first
            return int(self._scheduler.step_index)
        found = torch.nonzero(torch.as_tensor(self._scheduler.timesteps).cpu() == torch.as_tensor(timestep).cpu())
        if not len(found):
            raise ConfigError(f"timestep {float(timestep):g} is none of the scheduler's; call set_timesteps first")
        return int(found[0])

    def _is_first(self) -> bool:
        if type(self._scheduler).__name__ == "PNDMScheduler":  # evaluates its first step twice
            return self._evaluation != 1
        return bool(getattr(self._scheduler, "state_in_first_order", True))

    def _count(self, evaluations: int) -> int:
        if type(self._scheduler).__name__ == "PNDMScheduler":
            return max(evaluations - 1, 1)
        return (evaluations + 1) // 2 if hasattr(self._scheduler, "state_in_first_order") else evaluations

    def _scales(self, timestep: Any, index: int) -> tuple[float, float]:
        if self.chart == "timestep":
            kept = float(self._scheduler.alphas_cumprod[int(timestep)])
            return math.sqrt(kept), math.sqrt(1 - kept)
        return self._of_sigma(float(self._sigma(index)))

    def _of_sigma(self, sigma: float) -> tuple[float, float]:
        match self.chart:
            case "exploding":
                return 1.0, sigma
            case "preserving":
                return 1 / math.sqrt(1 + sigma**2), sigma / math.sqrt(1 + sigma**2)
        return 1 - sigma, sigma

    def _sigma(self, index: int) -> Any:
        name = type(self._scheduler).__name__
        if self._is_first() or not name.startswith("KDPM2"):
            return self._scheduler.sigmas[index]
        return self._scheduler.sigmas_interpol[index - 1 if "Ancestral" in name else index]
