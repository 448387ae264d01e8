"""Claims about windows of negative strength."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy.optimize import brentq

from orthoscope import metrics
from orthoscope.designs.optimization import Goal, MixtureLaw, design
from orthoscope.experiments.claims.claim import (
    Claim,
    Comparison,
    Effort,
    Finding,
    at_least,
    at_most,
    claim,
    equal,
    found,
)
from orthoscope.experiments.claims.mixture_rows import DENSE_RATE, dense, measured
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Linear, Step, Tabulated
from orthoscope.quantities import Estimate
from orthoscope.sampling import Grid
from orthoscope.settings import Setting
from orthoscope.simulation.control import PlantedControl
from orthoscope.simulation.draw import Draw, draw
from orthoscope.simulation.setting import Simulation
from orthoscope.simulation.simulate import simulate
from orthoscope.theory import predict, window_diagram
from orthoscope.theory.diagrams import Diagram

_REGIONS = {(-0.45, 0.65): "restored", (0.25, 0.5): "distorted", (-0.15, 0.05): "reversed"}
_LOST = (-0.9, 0.3)


@claim(
    "negative-window",
    "A window of negative strength late restores the variance and keeps a positive mean shift.",
    source="ventura2026emergence",
    setting="planted ensemble: rate 2, std 0.5, d = 32, T = 10, w(t) = -0.45 + 0.65 t",
)
def negative_window(effort: Effort) -> Finding:
    """Both shifts positive, as theory says."""
    simulation = dense(Linear(w0=-0.45, slope=0.65), effort)
    variance, mean = measured(simulation, "variance_shift", "mean_shift")
    theory = predict(simulation.mean_field)
    return found(
        equal("variance shift", variance, theory.variance_shift),
        at_least("variance shift", variance, 0.0),
        equal("mean shift", mean, theory.mean_shift),
        at_least("mean shift", mean, 0.0),
    )


_SLOPES = (0.2, 0.65)
_ASIDE = 0.02


@claim(
    "variance-neutral-line",
    "A line in the plane of windows w0 + omega t separates lost from restored variance.",
    source="ventura2026emergence",
    setting="brute force beside planted paths: 4000 modes in d = 4, std 0.5, T = 10; w0 of zero variance shift, "
    f"from runs {_ASIDE:g} to either side of the diagram's line, at omega = {_SLOPES[0]:g} and {_SLOPES[1]:g}",
)
def variance_neutral_line(effort: Effort) -> Finding:
    """Two points of the border, measured by bisection of what is sampled and by the diagram."""
    comparisons = []
    for slope in _SLOPES:
        border = brentq(lambda w0, slope=slope: _neutral(w0, slope), -0.6, 0.5, xtol=1e-10)
        high, low = (_window(border + side, slope, effort) for side in (-_ASIDE, _ASIDE))
        # The shift falls with w0; its curvature between the two moves the root by what it does to theory's.
        steepness = (high.value - low.value) / (2 * _ASIDE)
        middle = (high.value + low.value) / 2
        stderr = math.hypot(high.stderr, low.stderr) / 2**0.5 / steepness  # they share modes and noise
        root = Estimate(value=border + middle / steepness, stderr=stderr, n=high.n, dof=high.dof)
        sides = [_neutral(border + side, slope) for side in (-_ASIDE, _ASIDE)]
        bent = abs(sum(sides) / (sides[0] - sides[1]) * _ASIDE)
        comparisons += [
            equal(
                f"border at omega = {slope:g}", root, border, allowance=bent, because="the chord of theory's own curve"
            ),
            at_least(f"variance shift {_ASIDE:g} to its left, above that to its right", high.minus(low), 0.0),
        ]
    return found(*comparisons)


def _window(w0: float, slope: float, effort: Effort) -> Estimate:
    """Variance shift of real modes under a window."""
    simulation = Simulation.of(
        dim=4, classes=4000, std=0.5, schedule=Linear(w0=w0, slope=slope), t_max=10.0, samples=effort.pick(32, 64),
        draws=effort.pick(10, 64), steps=effort.pick(20, 30), seed=effort.seed,
    )  # fmt: skip
    return simulate(simulation, estimator=PlantedControl).estimates["variance_shift"]


def _neutral(w0: float, slope: float) -> float:
    """Variance shift by the window diagram."""
    return float(_diagram(math.log(4000) / 4, w0, slope)["variance_shift"].item())


def _diagram(rate: float, w0: float, slope: float) -> Diagram:
    """One point of the window diagram."""
    setting = Setting.of(rate=rate, std=0.5, schedule=Constant(value=0.0), t_max=10.0)
    return window_diagram(setting, [w0], [slope])


def _committed_window(schedule: GuidanceSchedule, effort: Effort) -> Simulation:
    return Simulation.of(
        dim=40, rate=0.2, std=math.sqrt(0.5), schedule=schedule, t_max=50.0, samples=effort.pick(32, 64),
        draws=effort.pick(16, 100), steps=30, seed=effort.seed,
    )  # fmt: skip


@claim(
    "class-lost",
    "Too negative a strength before the class has committed loses the class.",
    source="ventura2026emergence",
    setting="brute force: rate 0.2, std 0.707, d = 40, T = 50, 3 for t > 15, then -1",
)
def class_lost(effort: Effort) -> Finding:
    """Another mode captures the path: mostly in this dimension, always in infinite dimension."""
    simulation = _committed_window(Step(early=3.0, late=-1.0, switch=15.0), effort)
    (posterior,) = measured(simulation, "class_posterior")
    limit = predict(simulation.mean_field)
    return found(
        at_most("class posterior", posterior, 0.5),
        equal("lost in infinite dimension", float(limit.lost), 1.0),
        note=f"theory: captured at t = {limit.capture_time:.3g}, where the posterior tends to 0",
    )


_IDLE = 0.02


@claim(
    "late-window-idle",
    f"A window that opens after the class has committed changes the mean shift by less than {_IDLE:.0%}.",
    source="ventura2026emergence",
    setting="brute force: rate 0.2, std 0.707, d = 40, T = 50; 3 for t > 1, then -1, against 3 throughout, same noise",
)
def late_window_idle(effort: Effort) -> Finding:
    """The difference of the two, draw by draw on one grid: zero in infinite dimension only, and small in this one."""
    window = _committed_window(Step(early=3.0, late=-1.0, switch=1.0), effort)
    plain = _committed_window(Constant(value=3.0), effort)
    draws = [draw(window, index) for index in range(window.budget.draws)]
    pairs = [(one, replace(one, simulation=plain)) for one in draws]
    levels = draws[0].levels
    shifts = np.array([[_shift(each, levels) for each in pair] for pair in pairs])
    ratio = float(shifts[:, 0].mean() / shifts[:, 1].mean())
    rest = metrics.mean_of(shifts[:, 0] - ratio * shifts[:, 1])
    change = replace(rest, value=ratio - 1, stderr=rest.stderr / float(shifts[:, 1].mean()))
    limit = predict(window.mean_field).mean_shift / predict(plain.mean_field).mean_shift - 1
    return found(
        at_least("relative change of the mean shift", change, -_IDLE),
        at_most("relative change of the mean shift", change, _IDLE),
        equal("the same in infinite dimension", limit, 0.0, allowance=1e-12, because="rounding of the theory"),
        note=f"mean shift {shifts[:, 1].mean():.3g} without the window",
    )


def _shift(one: Draw, levels: Grid) -> float:
    """Mean shift of one run."""
    return metrics.mean_shift(one.run(levels, recorded=False).x.cpu().numpy(), one.centroid).value


@claim(
    "window-regions",
    "The plane of windows w0 + omega t has regions: distorted, restored, reversed, lost.",
    source="ventura2026emergence",
    setting="planted ensemble at rate 2 for one window of each of the first three, brute force at rate 0.7, d = 12 "
    "for the last; std 0.5, T = 10; signs of both shifts, and the region by the diagram",
)
def window_regions(effort: Effort) -> Finding:
    """One window of each, predicted and sampled."""
    comparisons = []
    for (w0, slope), region in _REGIONS.items():
        mean, variance = measured(dense(Linear(w0=w0, slope=slope), effort), "mean_shift", "variance_shift")
        predicted = _diagram(DENSE_RATE, w0, slope)["region"].item()
        comparisons += [
            equal(f"{region} by the diagram, as 1", float(predicted == region), 1.0),
            _signed(f"mean shift, {region}", mean, up=region != "reversed"),
        ]
        if region != "reversed":
            comparisons.append(_signed(f"variance shift, {region}", variance, up=region == "restored"))
    w0, slope = _LOST
    simulation = Simulation.of(
        dim=12, rate=0.7, std=0.5, schedule=Linear(w0=w0, slope=slope), t_max=10.0, samples=64,
        draws=effort.pick(16, 100), steps=20, seed=effort.seed,
    )  # fmt: skip
    (posterior,) = measured(simulation, "class_posterior")
    return found(
        *comparisons,
        equal("lost by theory, as 1", float(predict(simulation.mean_field).lost), 1.0),
        at_most("class posterior, lost", posterior, 0.5),
    )


def _signed(what: str, shift: Estimate, *, up: bool) -> Comparison:
    return at_least(what, shift, 0.0) if up else at_most(what, shift, 0.0)


def _three_phases(switch: float, last: float) -> Tabulated:
    """5 down to `switch`, then -1, and 5 again below `last`."""
    return Tabulated(at=(last, last, switch, switch), strengths=(5.0, -1.0, -1.0, 5.0))


@claim(
    "finishing-positive",
    "It does not help to finish positive: (positive, negative) beats (positive, negative, positive).",
    source="ventura2026emergence",
    setting="planted ensemble: rate 2, std 0.5, d = 32, T = 10, strengths from -1 to 5, variance kept: the designed "
    "schedule, and 5 again for t < 0.03 with the first switch set anew",
)
def finishing_positive(effort: Effort) -> Finding:
    """The best three phases are two, and a third phase costs mean shift at equal variance."""
    law = MixtureLaw(rate=DENSE_RATE, std=0.5, t_max=10.0)
    best = design(law, Goal(objective="mean_shift", variance_ratio=1.0, high=5.0))
    phases = next(candidate for candidate in best.candidates if candidate.name == "three_phase")
    gain = phases.outcome.mean_shift - next(c for c in best.candidates if c.name == "step").outcome.mean_shift
    switch = brentq(lambda t: law.evaluate(_three_phases(t, 0.03)).variance_ratio - 1, 0.04, 9.0, xtol=1e-12)
    two, three = (dense(schedule, effort) for schedule in (best.schedule, _three_phases(switch, 0.03)))
    shifts = [measured(simulation, "mean_shift")[0] for simulation in (two, three)]
    theory = predict(three.mean_field).mean_shift - predict(two.mean_field).mean_shift
    loss = shifts[1].minus(shifts[0])
    return found(
        equal("change of the mean shift by a third phase", loss, theory),
        at_most("change of the mean shift by a third phase", loss, 0.0),
        at_most("what the best three phases gain on the best two", gain, 1e-6),
    )


ROWS: tuple[Claim, ...] = (
    negative_window,
    variance_neutral_line,
    class_lost,
    late_window_idle,
    window_regions,
    finishing_positive,
)
