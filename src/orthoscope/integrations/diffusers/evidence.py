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
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from orthoscope.errors import ConfigError
from orthoscope.integrations.diffusers.clock import Chart, SchedulerClock
from orthoscope.prediction import Form, Preconditioned, from_denoised
from orthoscope.process import LEAST_ALPHA, NoiseLevel

# Schedulers known to pass as they come; others may, too.
SCHEDULERS = (
    "CogVideoXDDIMScheduler",
    "CogVideoXDPMScheduler",
    "CosineDPMSolverMultistepScheduler",
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
    "FlowMapEulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "FlowMatchLCMScheduler",
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
_STRAY = 0.25  # of a step, by which its end may miss the start of the next
_OVER = 1.01  # a sigma that is not 1, rounded
_ROUNDING = 1e-5  # of variances in single precision
_POINT = 0.5  # inside every range to which schedulers clip
_FEW = 8  # entries of a state of which only the mean is asked
_TOLD = ("old_pred_original_sample", "timestep_back")  # what a step before made, and where it was, for some
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
    has_levels = hasattr(scheduler, "sigmas") or hasattr(scheduler, "alphas_cumprod")
    why = "no known chart has such a prediction" if has_levels else "it keeps neither sigmas nor a table of levels"
    trial = _detached(scheduler)
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
    told = f" with prediction_type={prediction_type(scheduler)!r}" if _has_choice(scheduler) else ""
    raise ConfigError(
        f"the noise level of {name}{told} could not be established ({why}), so no schedule can be followed; change its "
        f"settings, or use one of {others}"
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
    kind = str(scheduler.config["prediction_type"]) if _has_choice(scheduler) else "flow_prediction"
    return f"preconditioned {kind}" if hasattr(scheduler, "precondition_outputs") else kind


def _has_choice(scheduler: Any) -> bool:
    # Configs keep settings of schedulers that they were made from, which may have no meaning here.
    return "prediction_type" in inspect.signature(type(scheduler).__init__).parameters


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
    gaps = zip(itertools.pairwise(clock.times), ends_of(clock), strict=True)
    if any(abs(end - after) > _STRAY * (before - after) + _ROUNDING * before for (before, after), end in gaps):
        return "its steps do not end where the next ones begin"
    states = (_led(clock, point) for point in (_POINT, 0.0))
    for (alpha, s, with_data), (_, _, without) in zip(*states, strict=True):
        off = float((with_data - without).mean()) / _POINT - alpha
        if not abs(off) < _SIGNAL + 1e-5 * s:  # beside rounding in single precision
            return f"where the data should have a share of {alpha:.3g}, its steps leave {alpha + off:.3g}"
        spread = float(without.square().mean().sqrt())
        if not abs(spread - s) < _NOISE * s:
            return f"where the noise should be {s:.3g}, its steps leave {spread:.3g}"
    return None


def ends_of(clock: SchedulerClock) -> list[float]:
    """Variance times at which the steps of a run end that a clock has begun to read, from the scheduler's own steps.

    With a table of levels a step may end elsewhere than where the next one begins.
    """
    if clock.chart != "timestep":
        return clock.times[1:]
    found = []
    for t in dict.fromkeys(torch.as_tensor(t).item() for t in clock.visited):
        with_data, without = (_ended(clock, t, point) for point in (_POINT, 0.0))
        alpha = float((with_data - without).mean()) / _POINT
        found.append(max(1 / max(alpha, LEAST_ALPHA) ** 2 - 1, 0.0))
    return found


def _ended(clock: SchedulerClock, t: Any, point: float) -> Tensor:
    """The state after one step from a timestep, led by the prediction exact for data at a point."""
    trial = SchedulerClock(_detached(clock.scheduler, torch.float64), clock.chart, clock.output)
    if hasattr(trial.scheduler, "step_index"):  # whatever the run has come to
        trial.scheduler._step_index = trial.scheduler._begin_index = None
    level = trial.read(t).level
    x = level.alpha * (point + level.sigma * torch.ones(1, 1, 1, _FEW, dtype=torch.float64))
    return _stepped(trial, level, t, x, point, torch.Generator().manual_seed(0))[0]


def _led(clock: SchedulerClock, point: float) -> Iterator[tuple[float, float, Tensor]]:
    """Signal scale, noise scale and state at every first evaluation, led by predictions exact for data at a point."""
    trial = SchedulerClock(_detached(clock.scheduler), clock.chart, clock.output)
    randomness, told = torch.Generator().manual_seed(0), dict.fromkeys(_TOLD)
    times, ends = clock.times, ends_of(clock)
    x = torch.randn(1, 1, 1, _ENTRIES, generator=randomness, dtype=torch.float64)
    for number, t in enumerate(clock.visited):
        position = trial.read(t, len(clock.visited))
        alpha, s = float(position.level.alpha), float(position.level.alpha * position.level.sigma)
        if number == 0:
            x = alpha * point + s * x
        if position.is_first:
            yield alpha, s, x
        made = _stepped(trial, position.level, t, x, point, randomness, **told)
        told = dict(zip(_TOLD, (made[-1], t), strict=True))
        x = made[0].double()
        step = int(position.level.step or 0)
        if clock.chart == "timestep" and ends[step] > 0:
            x = _carried(x, point, ends[step], times[step + 1])


def _carried(x: Tensor, point: float, end: float, time: float) -> Tensor:
    """The state on a table of levels with its noise at another variance time, where the next step begins."""
    noise = (x * math.sqrt(1 + end) - point) / math.sqrt(end)
    return (point + math.sqrt(time) * noise) / math.sqrt(1 + time)


def _stepped(
    clock: SchedulerClock, level: NoiseLevel, t: Any, x: Tensor, point: float, randomness: torch.Generator, **told: Any
) -> Any:
    """What the scheduler's own step makes of a state, led by the prediction exact for data at a point."""
    scheduler, step = clock.scheduler, type(clock.scheduler).step
    if hasattr(scheduler, "scale_model_input"):
        scheduler.scale_model_input(x, t)  # some insist
    exact = from_denoised(torch.full_like(x, point), x / level.alpha, level, clock.output)
    if str(scheduler.config.get("variance_type", "")).startswith("learned"):  # the least of those that it may learn
        exact = torch.cat([exact, torch.full_like(exact, -1.0)], dim=1)
    known = inspect.signature(step).parameters
    how = {
        name: value
        for name, value in (dict.fromkeys(_TOLD) | told | {"generator": randomness}).items()
        if name in known
    }
    with torch.random.fork_rng(devices=[]):
        return step(scheduler, model_output=exact, timestep=t, sample=x, **how, return_dict=False)


def _detached(scheduler: Any, dtype: torch.dtype | None = None) -> Any:
    """A copy on the CPU; what a context has replaced on the instance is not called through its class."""
    made = copy.deepcopy(scheduler)
    for name, value in vars(made).items():
        if isinstance(value, Tensor):
            setattr(made, name, value.to("cpu", dtype if value.is_floating_point() else None))
    return made
