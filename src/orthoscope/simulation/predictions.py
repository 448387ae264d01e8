"""What the commands `predict` and `gaussian` return, and how their options become a setting. No torch here."""

from __future__ import annotations

import math
from typing import Any

from orthoscope import __version__
from orthoscope.errors import ConfigError
from orthoscope.guidance.grammar import parse_schedule
from orthoscope.guidance.schedules import Constant, GuidanceSchedule
from orthoscope.serialize import to_dict
from orthoscope.theory import Prediction, Setting, guided_gaussian
from orthoscope.theory.flow import Start


def make_schedule(strength: float | None, schedule: str | None) -> GuidanceSchedule:
    """The schedule that `--strength` or `--schedule` asks for.

    Raises:
        ConfigError: unless exactly one is given, or if it cannot be read.
    """
    if (strength is None) == (schedule is None):
        raise ConfigError("give either --strength or --schedule, not both or neither")
    return parse_schedule(schedule) if schedule is not None else Constant(value=float(strength or 0.0))


def make_rate(rate: float | None, classes: int | None, dim: int | None) -> float:
    """The class rate, given directly or as a number of classes in a dimension.

    Raises:
        ConfigError: if both or neither are given, or there are fewer than two classes.
    """
    if (rate is None) == (classes is None):
        raise ConfigError("give either --rate, or --classes with --dim")
    if rate is not None:
        return rate
    assert classes is not None
    if dim is None:
        raise ConfigError("--classes needs --dim: the rate is log(classes)/dim")
    if classes < 2 or dim < 1:
        raise ConfigError(f"expected at least 2 classes and dim >= 1, got {classes} classes and dim {dim}")
    return math.log(classes) / dim


def make_setting(
    *,
    rate: float | None,
    std: float,
    strength: float | None,
    schedule: str | None,
    ode: bool,
    t_max: float | None,
    start: str,
    dim: int | None,
    classes: int | None,
    ensemble: str,
    steps: int | None,
) -> Setting:
    """The setting that the options of `predict` describe.

    Raises:
        ConfigError: with one clear line, if they describe none.
    """
    chosen = make_schedule(strength, schedule)
    if chosen.clock == "step":
        chosen = on_geometric_steps(chosen, std, t_max, steps)
    return Setting(
        rate=make_rate(rate, classes, dim),
        std=std,
        schedule=chosen,
        t_max=math.inf if t_max is None else t_max,
        start=start,  # type: ignore[arg-type]  # Setting checks it
        lam=0.0 if ode else 1.0,
        ensemble=ensemble,  # type: ignore[arg-type]
        dim=dim,
    )


def on_geometric_steps(
    schedule: GuidanceSchedule, std: float, t_max: float | None, steps: int | None
) -> GuidanceSchedule:
    """A schedule of steps on the geometric grid of a run, which gives its steps a noise level.

    Raises:
        ConfigError: if the number of steps or the time of the start is not given.
    """
    if steps is None or t_max is None:
        raise ConfigError("a schedule with clock=step (or a value in %) needs --steps and --t-max to have noise levels")
    if steps < 1 or not (math.isfinite(t_max) and t_max > 0):
        raise ConfigError(f"expected steps >= 1 and a finite t_max > 0, got {steps} and {t_max}")
    low = std**2
    times = [(low + t_max) * (low / (low + t_max)) ** (k / steps) - low for k in range(steps)]
    return schedule.resolved([*times, 0.0])


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
