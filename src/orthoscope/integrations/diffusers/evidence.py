r"""Which chart a scheduler follows, from its own arithmetic and not from its name.

A copy of the scheduler is led through a run by predictions that are exact for data of a single point $x_0$. Under the
right chart its state then stays at $\alpha x_0 + s\,\varepsilon$: the part of the data is exactly $\alpha$ at every
evaluation, and with the data at 0 the root mean square is $s$, whether the scheduler adds noise or not. Under a wrong
one it does not, or the noise grows along the run. Settings that change what sigma means, or the way that it runs, show
themselves so; a scheduler under which no chart passes is refused.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from orthoscope.errors import ConfigError
from orthoscope.integrations.diffusers.clock import Chart, SchedulerClock
from orthoscope.prediction import Form, Preconditioned, from_denoised

# Schedulers known to pass as they come; others may, too.
SCHEDULERS = (
    "CogVideoXDDIMScheduler",
    "CogVideoXDPMScheduler",
    "DDIMParallelScheduler",
    "DDIMScheduler",
    "DDPMParallelScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EDMDPMSolverMultistepScheduler",
    "EDMEulerScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
)
_OUTPUTS: dict[str, Form] = {"epsilon": "noise", "sample": "denoised", "v_prediction": "preserving-velocity"}
_SIGNS = {"preconditioned epsilon": 1, "preconditioned v_prediction": -1}
_STRAIGHT: tuple[tuple[Chart, Form], ...] = (("flow", "velocity"), ("reversed-flow", "reversed-velocity"))
_BY_SIGMA: tuple[Chart, ...] = ("exploding", "preserving", "flow")
_followed: dict[tuple[type, str], tuple[Chart, Form]] = {}  # by scheduler and settings
_TRIAL_STEPS = 20
_OVER = 1.01  # a sigma that is not 1, rounded
_ROUNDING = 1e-5  # of variances in single precision
_POINT = 0.5  # inside every range to which schedulers clip
_ENTRIES = 2048  # of a state, so that its root mean square is known to 2 %
_SIGNAL, _NOISE = (
    0.03,
    0.15,
)  # how far the part of the data and the share of the noise may be off; wrong charts are by O(1)


def clock_of(scheduler: Any) -> SchedulerClock:
    """The clock of a scheduler, on the chart that its steps follow.

    Raises:
        ConfigError: if none of the known charts is established.
    """
    key = type(scheduler), repr(scheduler.config)
    if key not in _followed:
        _followed[key] = _established(scheduler)
    return SchedulerClock(scheduler, *_followed[key])


def _established(scheduler: Any) -> tuple[Chart, Form]:
    name = type(scheduler).__name__
    if "skip_prk_steps" in scheduler.config and not scheduler.config.skip_prk_steps:
        raise ConfigError(f"{name} with its Runge-Kutta warm-up is not supported; set skip_prk_steps=True")
    trial, why = _detached(scheduler), "no known chart has such a prediction"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            how = {"mu": 1.0} if scheduler.config.get("use_dynamic_shifting") else {}
            type(trial).set_timesteps(trial, _TRIAL_STEPS, **how)
            for chart, output in _candidates(trial):
                clock = SchedulerClock(_detached(trial), chart, output)
                clock.read(trial.timesteps[0])
                if (found := _contradiction(clock)) is None:
                    return chart, output
                why = found
    except Exception as error:  # whatever a scheduler of another make may do
        why = f"{type(error).__name__}: {error}".splitlines()[0]
    others = ", ".join(other for other in SCHEDULERS if other != name)
    raise ConfigError(
        f"the noise level of {name} with prediction_type={prediction_type(scheduler)!r} could not be established "
        f"({why}), so no schedule can be followed; change its settings, or use one of {others}"
    )


def check_run(clock: SchedulerClock) -> None:
    """Make sure that the noise falls along the run that a clock has begun to read, whoever chose its levels.

    Raises:
        ConfigError: if it does not.
    """
    if not _falls(clock.times):
        raise ConfigError(
            f"the noise of this run of {type(clock.scheduler).__name__} does not fall from step to step, so no "
            "schedule can be followed; use other timesteps or sigmas"
        )


def prediction_type(scheduler: Any) -> str:
    """What a scheduler is set to take a network's output for, nearly in the words of diffusers."""
    # Configs keep settings of schedulers that they were made from, which may have no meaning here.
    has_choice = "prediction_type" in inspect.signature(type(scheduler).__init__).parameters
    kind = str(scheduler.config["prediction_type"]) if has_choice else "flow_prediction"
    return f"preconditioned {kind}" if hasattr(scheduler, "precondition_outputs") else kind


def _candidates(scheduler: Any) -> Iterator[tuple[Chart, Form]]:
    """Charts that a scheduler may follow, with what it would take the network's output for."""
    kind = prediction_type(scheduler)
    if hasattr(scheduler, "sigmas"):
        if kind == "flow_prediction":
            # Sigmas above 1 are on no straight path; what steps along them takes is the noise.
            yield from _STRAIGHT if float(scheduler.sigmas.max()) < _OVER else (("exploding", "noise"),)
        elif kind in _OUTPUTS:
            yield from ((chart, _OUTPUTS[kind]) for chart in _BY_SIGMA)
        elif kind in _SIGNS:
            yield "exploding", Preconditioned(scheduler.config["sigma_data"], _SIGNS[kind])
    elif hasattr(scheduler, "alphas_cumprod") and kind in _OUTPUTS:
        yield "timestep", _OUTPUTS[kind]


def _falls(times: Sequence[float]) -> bool:
    # Tables may end with a step that stands still, up to rounding.
    return times[0] > times[-1] and all(a >= b * (1 - _ROUNDING) for a, b in itertools.pairwise(times))


def _contradiction(clock: SchedulerClock) -> str | None:
    """What speaks against a clock's chart along the run that it has begun to read; None if nothing does."""
    if not _falls(clock.times):
        return "its noise does not fall from step to step"
    states = (_led(clock, point) for point in (_POINT, 0.0))
    for (alpha, s, with_data), (_, _, without) in zip(*states, strict=True):
        off = float((with_data - without).mean()) / _POINT - alpha
        if not abs(off) < _SIGNAL + 1e-5 * s:  # beside rounding in single precision
            return f"where the data should have a share of {alpha:.3g}, its steps leave {alpha + off:.3g}"
        spread = float(without.square().mean().sqrt())
        if not abs(spread - s) < _NOISE * s:
            return f"where the noise should be {s:.3g}, its steps leave {spread:.3g}"
    return None


def _led(clock: SchedulerClock, point: float) -> Iterator[tuple[float, float, Tensor]]:
    """Signal scale, noise scale and state at every first evaluation, led by predictions exact for data at a point."""
    trial = SchedulerClock(_detached(clock.scheduler), clock.chart, clock.output)
    scheduler, step = trial.scheduler, type(trial.scheduler).step
    randomness = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, 1, _ENTRIES, generator=randomness, dtype=torch.float64)
    known = inspect.signature(step).parameters
    has_variance = str(scheduler.config.get("variance_type", "")).startswith("learned")
    # Some are told what they made of the step before, and where it was.
    told = {"generator": randomness, "old_pred_original_sample": None, "timestep_back": None}
    for number, t in enumerate(clock.visited):
        position = trial.read(t, len(clock.visited))
        level = position.level
        alpha, s = float(level.alpha), float(level.alpha * level.sigma)
        if number == 0:
            x = alpha * point + s * x
        if position.is_first:
            yield alpha, s, x
        if hasattr(scheduler, "scale_model_input"):
            scheduler.scale_model_input(x, t)  # some insist
        exact = from_denoised(torch.full_like(x, point), x / alpha, level, trial.output)
        if has_variance:  # the least of those that it may learn
            exact = torch.cat([exact, torch.full_like(exact, -1.0)], dim=1)
        how = {name: value for name, value in told.items() if name in known}
        with torch.random.fork_rng(devices=[]):
            made = step(scheduler, model_output=exact, timestep=t, sample=x, **how, return_dict=False)
        told |= {"old_pred_original_sample": made[-1], "timestep_back": t}
        x = made[0].double()


def _detached(scheduler: Any) -> Any:
    """A copy on the CPU; what a context has replaced on the instance is not called through its class."""
    made = copy.deepcopy(scheduler)
    for name, value in vars(made).items():
        if isinstance(value, Tensor):
            setattr(made, name, value.cpu())
    return made
