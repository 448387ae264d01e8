"""What the command `simulate` returns: measurement, both theories for the same time and start, and a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from orthoscope import __version__
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.quantities import Estimate
from orthoscope.serialize import to_dict
from orthoscope.study.datasets import Progress
from orthoscope.study.engine.estimators import choose
from orthoscope.study.engine.together import check_comparable, simulate_together
from orthoscope.study.predictions import make_schedule, prediction_result
from orthoscope.study.simulate import simulate
from orthoscope.study.simulation import Simulation
from orthoscope.theory import Prediction, predict

FALSE_ALARM = 1e-4  # of one comparison with a theory that is right
# Relative accuracy of the finite-dimension theory, reverse SDE and ODE (docs: explanation/theory).
FINITE_DIM_SLACK = {"mean_shift": 0.1, "variance_shift": 0.5}
_ACCURATE_FROM = {"mean_shift": 32, "variance_shift": 16}  # dimension


def make_simulation(*, strength: float | None, schedule: str | None, ode: bool, **fields: Any) -> Simulation:
    """The simulation that the options of `simulate` describe.

    Raises:
        ConfigError: with one clear line, if they describe none.
    """
    found = Simulation(schedule=make_schedule(strength, schedule), lam=0.0 if ode else 1.0, **fields)
    if found.planted and found.tolerance:
        raise ConfigError("the planted ensemble reads no modes that a --tolerance could leave out; use one of the two")
    return found


class Theories(NamedTuple):
    """What both theories say about a simulation.

    Attributes:
        mean_field: In infinite dimension.
        finite_dim: In the simulation's own; None where there is no such theory (sphere, condensed paths).
    """

    mean_field: Prediction
    finite_dim: Prediction | None


def theories(simulation: Simulation) -> Theories:
    """Both theories for the time and start of a simulation."""
    mean_field, finite = predict(simulation.setting), None
    if simulation.ensemble == "gaussian":
        found = predict(replace(simulation.setting, dim=simulation.dim))
        finite = found if found.theory == "finite_dim" else None
    return Theories(mean_field, finite)


def simulation_result(
    simulation: Simulation,
    *,
    estimator: str = "plain",
    versus: Sequence[GuidanceSchedule] = (),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The JSON object of `orthoscope simulate`.

    Args:
        simulation: The setting.
        estimator: `plain`, `completed` or `twin`.
        versus: Further schedules to compare with on common random numbers.
        progress: Called with levels visited and levels in all, over all draws; then with draws compared and their
            number.

    Raises:
        ConfigError: if the setting does not allow the estimator, or schedules cannot be compared.
    """
    check_comparable((simulation.schedule, *versus))  # before anything is computed
    result = simulate(simulation, estimator=choose(estimator, simulation), progress=progress)
    predictions = theories(simulation)
    named: dict[str, dict[str, Any] | None] = {name: as_numbers(found) for name, found in result.estimates.items()}
    for name in ("variance_shift_across", "frechet_distance"):  # not in one dimension, not from too few samples
        named.setdefault(name, None)
    return {
        **named,
        "theory": {name: found and prediction_result(found) for name, found in predictions._asdict().items()},
        "diagnosis": diagnose(result.estimates, predictions, simulation),
        "path": {
            "time": list(result.times),
            "overlap": [as_numbers(q) for q in result.overlap],
            "variance": [as_numbers(v) for v in result.variance],
        },
        "versus": _versus(simulation, versus, progress),
        "estimator": estimator,
        "log_classes": simulation.log_classes,
        "seconds": result.seconds,
        "model_calls": result.model_calls,
        "modes_read": result.modes_read,
        "orthoscope": __version__,
        "threads": torch.get_num_threads(),
        "spec": to_dict(simulation),
    }


def _versus(
    simulation: Simulation, schedules: Sequence[GuidanceSchedule], progress: Progress | None
) -> list[dict[str, Any]]:
    """Further schedules on the same modes, starts and noise, and how they differ from the simulation's own."""
    if not schedules:
        return []
    found = simulate_together(simulation, schedules, progress=progress)
    return [
        {
            "schedule": to_dict(schedule),
            "estimates": {name: as_numbers(estimate) for name, estimate in estimates.items()},
            "difference": {name: as_numbers(estimate) for name, estimate in difference.items()},
        }
        for schedule, estimates, difference in zip(schedules, found.estimates[1:], found.differences, strict=True)
    ]


def as_numbers(estimate: Estimate) -> dict[str, Any]:
    """An estimate as a JSON object."""
    return {
        "value": estimate.value,
        "stderr": estimate.stderr,
        "stderr_within": estimate.stderr_within,
        "n": estimate.n,
        "dof": estimate.dof,
    }


def diagnose(measured: Mapping[str, Estimate], predictions: Theories, simulation: Simulation) -> str:
    """Why the measurement differs from the infinite-dimension theory and what it may not be used for, or `none`."""
    mean_field = predictions.mean_field
    remarks = []
    if mean_field.regime != "committed" or mean_field.capture_time is not None:
        remarks.append(mean_field.diagnosis().rstrip("."))
    if simulation.planted and mean_field.condensation_time is not None:
        remarks.append(
            f"the planted ensemble is not valid below t = {mean_field.condensation_time:.3g}, "
            "where the other classes condense"
        )
    for name in ("mean_shift", "variance_shift"):
        remarks += _gap(name, measured[name], mean_field, predictions.finite_dim, simulation.dim)
    if simulation.draws == 1:
        remarks.append("a single draw of the modes: errors cover trajectories only, use more --draws")
    return "; ".join(remarks) or "none"


def finite_dim_slack(name: str, dim: int) -> float:
    """Relative accuracy of the finite-dimension theory, which real modes in fewer dimensions miss like 1/d."""
    return FINITE_DIM_SLACK[name] * max(1.0, _ACCURATE_FROM[name] / dim)


def _gap(name: str, measured: Estimate, mean_field: Prediction, finite: Prediction | None, dim: int) -> list[str]:
    """What there is to say about one measured shift."""
    limit = getattr(mean_field, name)
    if measured.agrees(limit, false_alarm=FALSE_ALARM):
        return []
    title, there = name.replace("_", " "), f"{limit:.4g} in infinite dimension"
    if finite is None:
        return [f"dimension too small, or too few --steps: {title} {measured} measured, {there}"]
    here = getattr(finite, name)
    text = f"{title} {measured} measured, {here:.4g} in this dimension, {there}"
    if measured.agrees(here, slack=finite_dim_slack(name, dim) * abs(here), false_alarm=FALSE_ALARM):
        return [f"dimension too small, explained by the finite-dimension theory: {text}"]
    return [f"unexplained: {text}; try more --steps"]
