"""What the commands `predict` and `gaussian` return, and the schedule that options ask for. No torch here."""

from __future__ import annotations

import math
from typing import Any

from orthoscope import __version__
from orthoscope.errors import ConfigError
from orthoscope.guidance.grammar import parse_schedule
from orthoscope.guidance.schedules import Constant, GuidanceSchedule
from orthoscope.laws import Start
from orthoscope.serialize import to_dict
from orthoscope.theory import Prediction, guided_gaussian


def make_schedule(strength: float | None, schedule: str | None) -> GuidanceSchedule:
    """The schedule that a constant strength or a text asks for.

    Raises:
        ConfigError: unless exactly one is given, or if it cannot be read.
    """
    if (strength is None) == (schedule is None):
        raise ConfigError("give either `strength` or `schedule`, not both or neither", field="schedule")
    return parse_schedule(schedule) if schedule is not None else Constant(value=float(strength or 0.0))


def prediction_result(prediction: Prediction) -> dict[str, Any]:
    """The JSON object of `orthoscope predict`."""
    return {
        "regime": prediction.regime,
        "speciation_time": prediction.speciation_time,
        "condensation_time": prediction.condensation_time,
        "capture_time": prediction.capture_time,
        "mean_shift": prediction.mean_shift,
        "variance_shift": prediction.variance_shift,
        "variance_ratio": prediction.variance_ratio,
        "critical_rate": prediction.critical_rate,
        "class_posterior": prediction.class_posterior,
        "lost": prediction.lost,
        "theory": prediction.theory,
        "diagnosis": prediction.diagnosis(),
        "orthoscope": __version__,
        "spec": to_dict(prediction.setting),
    }


def gaussian_result(
    *,
    cond_mean: float,
    cond_var: float,
    uncond_mean: float,
    uncond_var: float,
    strength: float | None,
    schedule: str | None,
    ode: bool,
    t_max: float | None,
    start: Start,
) -> dict[str, Any]:
    """The JSON object of `orthoscope gaussian`.

    Raises:
        ConfigError: with one clear line, if the options describe no pair and schedule.
    """
    chosen = make_schedule(strength, schedule)
    if chosen.clock == "step":
        raise ConfigError("two Gaussians have no steps: give the schedule in clock=variance, sigma or logsnr")
    pair = (cond_mean, cond_var, uncond_mean, uncond_var)
    horizon = math.inf if t_max is None else t_max
    found = guided_gaussian(*pair, chosen, lam=0.0 if ode else 1.0, t_max=horizon, start=start)
    names = ("mean", "mean_shift", "variance", "log_variance", "tilted_mean", "tilted_variance", "fisher")
    numbers = {name: float(getattr(found, name)) for name in names}
    spec = {
        **dict(zip(("cond_mean", "cond_var", "uncond_mean", "uncond_var"), pair, strict=True)),
        "schedule": to_dict(chosen),
        "ode": ode,
        "t_max": t_max,
        "start": start,
    }
    finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    return {**finite, "diagnosis": _beyond_range(numbers), "spec": spec}


def _beyond_range(numbers: dict[str, float]) -> str:
    """Which numbers floating point cannot hold, or `none`."""
    lost = [name for name in ("mean", "variance", "fisher") if math.isinf(numbers[name])]
    remarks = []
    if lost:
        remarks.append(f"beyond the range of floating point: the guided {' and '.join(lost)}")
    if numbers["variance"] == 0:
        remarks.append("below the range of floating point: the guided variance, of which there is log_variance")
    return "; ".join(remarks) or "none"
