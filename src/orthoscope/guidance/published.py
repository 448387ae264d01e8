r"""Guidance schedules that papers propose, as schedules of this package.

Papers speak of the *scale* $s = 1 + w$; every function here takes scales and returns strengths. Shapes are given over
the progress $\tau = $ step index / number of steps, 0 at the noise side (`clock=step`), or over noise levels where the
paper states these. `mean_scale` is the average of the scale over the steps: schedules of equal `mean_scale` spend the
same guidance, which is how papers compare them.

Shapes made of straight lines are exact; curved ones are tabulated at 257 points with straight lines between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.schedules import Clock, Constant, GuidanceSchedule, Interval, Step, Tabulated
from orthoscope.numerics import Array

_POINTS = 257
_TV_INTERVAL = (0.15, 0.78)  # model times, 1 at the noise side, between which the interval variant guides
_TV_SWITCH = 0.25  # progress at which the step variants switch
_EDM_STEPS, _EDM_GUIDED = 32, (17, 22)  # steps of the sampler, first and last that is guided
_DIFFUSION_STEPS, _BETA_FIRST, _BETA_LAST = 1000, 0.00085, 0.012  # noise schedule of Stable Diffusion 1.5
_EVERY = 3  # of these steps is tabulated

Reading = Literal["strength", "scale"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A curve of mean 1 over the progress, unless said otherwise.

    Attributes:
        knots: Progress of the points between which it is straight; None if it is curved.
        curve: Its value at a progress.
    """

    curve: Callable[[Array], Array]
    knots: tuple[float, ...] | None = None


SHAPES: Mapping[str, Shape] = {
    "linear": Shape(curve=lambda p: 2 * p, knots=(0.0, 1.0)),
    "cosine": Shape(curve=lambda p: 1 - np.cos(np.pi * p)),
    "inverse-linear": Shape(curve=lambda p: 2 * (1 - p), knots=(0.0, 1.0)),
    "sine": Shape(curve=lambda p: 1 + np.cos(np.pi * p)),
    "lambda": Shape(curve=lambda p: 2 * (1 - np.abs(1 - 2 * p)), knots=(0.0, 0.5, 1.0)),
    "v": Shape(curve=lambda p: 2 * np.abs(1 - 2 * p), knots=(0.0, 0.5, 1.0)),
}


def from_scales(at: Array, scales: Array, clock: Clock = "step") -> Tabulated:
    """Tabulated scales as a schedule of strengths."""
    return Tabulated(at=tuple(at.tolist()), strengths=tuple((np.asarray(scales) - 1).tolist()), clock=clock)


def shaped(name: str, mean_scale: float, *, least: float = 0.0, reading: Reading = "scale") -> Tabulated:
    r"""A shape over the progress, increasing or decreasing, of given mean scale.

    Args:
        name: One of `SHAPES`.
        mean_scale: Average of the scale before clamping.
        least: Clamp: the scale is nowhere below. Raises the average.
        reading: Whether the shape multiplies the "scale", so that a shape that vanishes is the unconditional model,
            or the "strength", so that it is the plain conditional one. The paper can be read both ways.

    Raises:
        ConfigError: if the shape or the reading is unknown or a number is not finite.
    Source:
        [wang2024analysis], heuristic schedulers of equal area and their clamped versions.
    """
    if name not in SHAPES:
        raise unknown("shape", name, SHAPES)
    shape = SHAPES[name]
    at = np.asarray(shape.knots) if shape.knots is not None else np.linspace(0, 1, _POINTS)
    return _read(at, shape.curve(at), mean_scale, reading, least)


def power_cosine(scale: float, power: float, *, least: float = 0.0, reading: Reading = "scale") -> Tabulated:
    r"""The power-cosine shape $(1 - \cos\pi\tau^\kappa)/2$ up to `scale`: the larger the power, the later it rises.

    Not normalized by area: its mean is half of `scale` at power 1 and falls with the power.

    Raises:
        ConfigError: if the power is not positive, the reading unknown, or a number not finite.
    Source:
        [wang2024analysis], parametrized schedulers.
    """
    if not power > 0:
        raise ConfigError(f"the power of a power-cosine schedule must be > 0, got {power}")
    at = np.linspace(0, 1, _POINTS)
    return _read(at, (1 - np.cos(np.pi * at**power)) / 2, scale, reading, least)


def power_cosine_of_mean(mean_scale: float, power: float = 2.0) -> Tabulated:
    """The power-cosine shape rescaled to a mean scale.

    Source:
        [wang2024analysis], parametrized schedulers.
    """
    shape = np.asarray(power_cosine(1.0, power).strengths) + 1
    return power_cosine(mean_scale / float(np.trapezoid(shape, dx=1 / (_POINTS - 1))), power)


def _read(at: Array, shape: Array, scale: float, reading: Reading, least: float) -> Tabulated:
    if reading not in ("scale", "strength"):
        raise unknown("reading", str(reading), ("scale", "strength"))
    scales = scale * shape if reading == "scale" else 1 + (scale - 1) * shape
    below = np.flatnonzero((scales[:-1] < least) != (scales[1:] < least))
    crossing = at[below] + (least - scales[below]) * (at[below + 1] - at[below]) / (scales[below + 1] - scales[below])
    knots = np.union1d(at, crossing)
    return from_scales(knots, np.maximum(np.interp(knots, at, scales), least))


def tv_triangle(mean_scale: float) -> Tabulated:
    r"""From scale 1 up to $2\bar s - 1$ in mid-run and back, with mean $\bar s$: little guidance early and late.

    Source:
        [jin2025stage], time-varying guidance; times of the steps taken as equally spaced.
    """
    return from_scales(np.array([0.0, 0.5, 1.0]), np.array([1.0, 2 * mean_scale - 1, 1.0]))


def tv_interval(mean_scale: float) -> Interval:
    r"""One scale at model times 0.15 to 0.78 and plain conditional elsewhere, with mean $\bar s$.

    Source:
        [jin2025stage], interval variant; times of the steps taken as equally spaced.
    """
    late, early = _TV_INTERVAL
    return Interval(inside=(mean_scale - 1) / (early - late), low=1 - early, high=1 - late, clock="step")


def tv_step(mean_scale: float, *, up: bool, low: float = 1.0, high: float | None = None) -> Step:
    r"""A low scale for the first quarter of the steps and a high one after (or the reverse), rescaled to mean $\bar s$.

    Args:
        mean_scale: Average of the scale.
        up: Whether the scale rises at the switch.
        low: Lower scale before rescaling.
        high: Higher scale before rescaling; that of the triangle's peak if None.

    Raises:
        ConfigError: if the scales before rescaling have no positive mean.
    Source:
        [jin2025stage], step variants.
    """
    high = 2 * mean_scale - 1 if high is None else high
    first, second = (low, high) if up else (high, low)
    mean = _TV_SWITCH * first + (1 - _TV_SWITCH) * second
    if not mean > 0:
        raise ConfigError(f"scales {low:g} and {high:g} have no positive mean, so they cannot be rescaled")
    return Step(
        early=first * mean_scale / mean - 1, late=second * mean_scale / mean - 1, switch=_TV_SWITCH, clock="step"
    )


def exponential(scale: float, growth: float) -> Tabulated:
    r"""The scale $s\,e^{\lambda\tau}$, which increases towards the data.

    Args:
        scale: Scale at the noise side.
        growth: Exponent over the whole run; log 2 doubles the scale.

    Source:
        [gao2026control], exponential schedule, in a chart whose clock runs evenly over the steps.
    """
    at = np.linspace(0, 1, _POINTS)
    return from_scales(at, scale * np.exp(growth * at))


def exponential_of_mean(mean_scale: float, growth: float = float(np.log(2))) -> Tabulated:
    """The exponential schedule of given mean scale.

    Source:
        [gao2026control], exponential schedule.
    """
    return exponential(mean_scale * growth / np.expm1(growth) if growth else mean_scale, growth)


def steps_of_edm(first: int, last: int, scale: float, *, steps: int) -> Interval:
    """One scale on some steps of the EDM sampler and plain conditional elsewhere, in noise standard deviations.

    Args:
        first: Index of the first step that is guided.
        last: Index of the last.
        scale: Scale on these steps.
        steps: Number of steps of the sampler.

    Raises:
        ConfigError: unless 0 <= first <= last < steps.
    Source:
        [kynkaanniemi2024applying], guidance in a limited interval; noise levels of [karras2022elucidating].
    """
    if not 0 <= first <= last < steps:
        raise ConfigError(f"expected 0 <= first <= last < {steps}, got {first} and {last}")
    sigma = np.append(edm_sigmas(steps), 0.0)
    return Interval(inside=scale - 1, low=float(sigma[last + 1]), high=float(sigma[first]), clock="sigma")


def edm_interval(mean_scale: float) -> Interval:
    """Steps 17 to 22 of 32 at the one scale that gives the whole run the mean scale.

    Source:
        [kynkaanniemi2024applying], the interval of its largest model.
    """
    first, last = _EDM_GUIDED
    return steps_of_edm(first, last, 1 + (mean_scale - 1) * _EDM_STEPS / (last - first + 1), steps=_EDM_STEPS)


def edm_sigmas(steps: int, *, high: float = 80.0, low: float = 0.002, power: float = 7.0) -> Array:
    """Noise standard deviations of the steps of the EDM sampler, descending.

    Source:
        [karras2022elucidating], time step discretization.
    """
    ends = high ** (1 / power), low ** (1 / power)
    return np.linspace(*ends, steps) ** power


def time_rescaled(mean_scale: float) -> Tabulated:
    r"""The strength $\propto (1-\bar\alpha)\sqrt{\bar\alpha}/\beta$ over the variance-preserving steps, of given mean.

    With the noise schedule of Stable Diffusion 1.5, in whose 1000 steps the mean is taken; stated over noise levels.

    Source:
        [jiang2026guidance], time-dependent guidance that keeps the time integral; noise schedule of
        [rombach2022high].
    """
    beta = np.linspace(np.sqrt(_BETA_FIRST), np.sqrt(_BETA_LAST), _DIFFUSION_STEPS) ** 2
    kept = np.cumprod(1 - beta)
    weight = (1 - kept) * np.sqrt(kept) / beta
    shown = np.append(np.arange(0, _DIFFUSION_STEPS - 1, _EVERY), _DIFFUSION_STEPS - 1)
    variance, scales = (1 - kept) / kept, 1 + (mean_scale - 1) * weight / weight.mean()
    return from_scales(variance[shown], scales[shown], clock="variance")


_NAMES = {
    "linear": "increasing-linear",
    "cosine": "increasing-cosine",
    "inverse-linear": "decreasing-linear",
    "sine": "decreasing-cosine",
    "lambda": "lambda",
    "v": "v",
}


def _of_mean(shape: str) -> Callable[[float], GuidanceSchedule]:
    return lambda mean_scale: shaped(shape, mean_scale)


# Published families by name, each a schedule of given mean scale over its own run.
PUBLISHED: Mapping[str, Callable[[float], GuidanceSchedule]] = {
    "constant": lambda mean_scale: Constant(value=mean_scale - 1),
    **{name: _of_mean(shape) for shape, name in _NAMES.items()},
    "power-cosine": power_cosine_of_mean,
    "tv-triangle": tv_triangle,
    "tv-interval": tv_interval,
    "tv-step-up": lambda mean_scale: tv_step(mean_scale, up=True),
    "tv-step-down": lambda mean_scale: tv_step(mean_scale, up=False),
    "exponential": exponential_of_mean,
    "time-rescaled": time_rescaled,
    "edm-interval": edm_interval,
}
