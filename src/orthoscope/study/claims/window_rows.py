"""Claims about windows of negative strength."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq

from orthoscope import metrics
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Linear, Step, Tabulated
from orthoscope.quantities import Estimate
from orthoscope.study.claims.claim import FALSE_FAIL, Claim, Effort, Finding, agrees, beyond, both, claim, exactly
from orthoscope.study.claims.mixture_rows import DENSE_RATE, dense, measured
from orthoscope.study.simulate import draw_target, final_estimates, make_grid, run_draw
from orthoscope.study.simulation import Simulation
from orthoscope.theory import predict, window_diagram
from orthoscope.theory.design import Goal, MixtureLaw, design

_REGIONS = {(-0.45, 0.65): "restored", (0.25, 0.5): "distorted", (-0.15, 0.05): "reversed"}
_LOST = (-0.9, 0.3)


@claim(
    "negative-window",
    "A window of negative strength late restores the variance and keeps a positive mean shift.",
    source="ventura2026emergence",
    setting="planted ensemble: rate 2, std 0.5, d = 32, T = 10, w(t) = -0.45 + 0.65 t; shown is the variance shift",
)
def negative_window(effort: Effort) -> Finding:
    """Both shifts positive, as theory says."""
    simulation = dense(Linear(w0=-0.45, slope=0.65), effort)
    variance, mean = measured(simulation, "variance_shift", "mean_shift")
    theory = predict(simulation.setting)
    return both(
        beyond(variance, 0.0, theory=theory.variance_shift, note=f"mean shift {mean}"),
        agrees(variance, theory.variance_shift, slack=2e-3),
        beyond(mean, 0.0),
        agrees(mean, theory.mean_shift, slack=2e-3),
    )


def _committed_window(schedule: GuidanceSchedule, effort: Effort) -> Simulation:
    return Simulation(
        dim=40, rate=0.2, std=math.sqrt(0.5), schedule=schedule, samples=64, draws=effort.pick(16, 100), steps=30,
        seed=effort.seed,
    )  # fmt: skip


@claim(
    "class-lost",
    "Too negative a strength before the class has committed loses the class.",
    source="ventura2026emergence",
    setting="brute force: rate 0.2, std 0.707, d = 40, T = 50, 3 for t > 15, then -1; shown is the class posterior",
)
def class_lost(effort: Effort) -> Finding:
    """Another mode captures the path."""
    simulation = _committed_window(Step(early=3.0, late=-1.0, switch=15.0), effort)
    (posterior,) = measured(simulation, "class_posterior")
    found = predict(simulation.setting)
    captured = exactly(float(found.lost), 1.0, within=0.0, note=f"theory: captured at t = {found.capture_time:.3g}")
    return both(beyond(posterior, 0.5, theory=0.0, below=True), captured)


@claim(
    "late-window-idle",
    "A window that opens after the class has committed changes nothing.",
    source="ventura2026emergence",
    setting="brute force: rate 0.2, std 0.707, d = 40, T = 50; 3 for t > 1, then -1, against 3 throughout, same noise",
)
def late_window_idle(effort: Effort) -> Finding:
    """The difference of the two, draw by draw on one grid."""
    window = _committed_window(Step(early=3.0, late=-1.0, switch=1.0), effort)
    plain = _committed_window(Constant(value=3.0), effort)
    targets = [draw_target(window, draw) for draw in range(window.draws)]
    levels = make_grid(window, targets[0])
    shifts = np.array(
        [
            [final_estimates(s, target, run_draw(s, target, levels, draw))["mean_shift"].value for s in (window, plain)]
            for draw, target in enumerate(targets)
        ]
    )
    difference = metrics.mean_of(shifts[:, 0] - shifts[:, 1])
    theory = round(predict(window.setting).mean_shift - predict(plain.setting).mean_shift, 12)
    return agrees(difference, theory, slack=1e-3, note=f"mean shift {shifts[:, 1].mean():.3g} without the window")


def _confirms(region: str, mean: Estimate, variance: Estimate) -> bool:
    """Whether both shifts have the signs of a region by more than chance."""
    up = {name: found.z(0.0) > found.limit(2 * FALSE_FAIL) for name, found in (("mean", mean), ("variance", variance))}
    down = {
        name: -found.z(0.0) > found.limit(2 * FALSE_FAIL) for name, found in (("mean", mean), ("variance", variance))
    }
    match region:
        case "restored":
            return up["mean"] and up["variance"]
        case "distorted":
            return up["mean"] and down["variance"]
        case _:
            return down["mean"]


@claim(
    "window-regions",
    "The plane of windows w0 + omega t has regions: distorted, restored, reversed, lost.",
    source="ventura2026emergence",
    setting="planted ensemble at rate 2 for one window of each of the first three, brute force at rate 0.7, d = 12 "
    "for the last; std 0.5, T = 10; shown is the number of regions confirmed by the signs of both shifts",
)
def window_regions(effort: Effort) -> Finding:
    """One window of each, predicted and sampled."""
    confirmed, notes = 0, []
    for (w0, slope), region in _REGIONS.items():
        mean, variance = measured(dense(Linear(w0=w0, slope=slope), effort), "mean_shift", "variance_shift")
        predicted = window_diagram(DENSE_RATE, 0.5, [w0], [slope], t_max=10.0)["region"].item()
        confirmed += predicted == region and _confirms(region, mean, variance)
        notes.append(f"{region}: {mean}, {variance}")
    w0, slope = _LOST
    simulation = Simulation(
        dim=12, rate=0.7, std=0.5, schedule=Linear(w0=w0, slope=slope), t_max=10.0, samples=64,
        draws=effort.pick(16, 100), steps=20, seed=effort.seed,
    )  # fmt: skip
    (posterior,) = measured(simulation, "class_posterior")
    confirmed += predict(simulation.setting).lost and beyond(posterior, 0.5, below=True).passed
    return exactly(float(confirmed), 4.0, within=0.0, note="; ".join([*notes, f"lost: class posterior {posterior}"]))


def _three_phases(switch: float, last: float) -> Tabulated:
    """5 down to `switch`, then -1, and 5 again below `last`."""
    return Tabulated(at=(last, last, switch, switch), strengths=(5.0, -1.0, -1.0, 5.0))


@claim(
    "finishing-positive",
    "It does not help to finish positive: (positive, negative) beats (positive, negative, positive).",
    source="ventura2026emergence",
    setting="planted ensemble: rate 2, std 0.5, d = 32, T = 10, strengths from -1 to 5, variance kept: the designed "
    "schedule, and 5 again for t < 0.03 with the first switch set anew; shown is what the mean shift loses",
)
def finishing_positive(effort: Effort) -> Finding:
    """The best three phases are two, and a third phase costs mean shift at equal variance."""
    law = MixtureLaw(rate=DENSE_RATE, std=0.5, t_max=10.0)
    found = design(law, Goal(objective="mean_shift", variance_ratio=1.0, high=5.0))
    phases = next(candidate for candidate in found.candidates if candidate.name == "three_phase")
    gain = phases.outcome.mean_shift - next(c for c in found.candidates if c.name == "step").outcome.mean_shift
    switch = brentq(lambda t: law.evaluate(_three_phases(t, 0.03)).variance_ratio - 1, 0.04, 9.0, xtol=1e-12)
    two, three = (dense(schedule, effort) for schedule in (found.schedule, _three_phases(switch, 0.03)))
    shifts = [measured(simulation, "mean_shift")[0] for simulation in (two, three)]
    theory = predict(three.setting).mean_shift - predict(two.setting).mean_shift
    loss = Estimate(
        value=shifts[1].value - shifts[0].value, stderr=math.hypot(*(shift.stderr for shift in shifts)), n=shifts[0].n
    )
    return both(
        agrees(loss, theory, slack=4e-3),
        beyond(loss, 0.0, below=True),
        exactly(gain, 0.0, within=1e-6, note=f"best three phases gain {gain:.1e} on the best two"),
    )


ROWS: tuple[Claim, ...] = (negative_window, class_lost, late_window_idle, window_regions, finishing_positive)
