"""What the command `simulate` returns: measurement, both theories for the same time and start, and a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orthoscope.quantities import Estimate
from orthoscope.serialize import to_dict
from orthoscope.study.datasets import Progress
from orthoscope.study.predictions import make_schedule, prediction_result
from orthoscope.study.simulate import SimulationResult, simulate
from orthoscope.study.simulation import Simulation
from orthoscope.theory import Prediction, predict

AGREE = 4.0  # standard errors; a false alarm once in 16,000 comparisons
FINITE_DIM_SLACK = 0.12  # relative accuracy of the finite-dimension theory's mean shift (docs: explanation/theory)


def make_simulation(*, strength: float | None, schedule: str | None, ode: bool, **fields: Any) -> Simulation:
    """The simulation that the options of `simulate` describe.

    Raises:
        ConfigError: with one clear line, if they describe none.
    """
    return Simulation(schedule=make_schedule(strength, schedule), lam=0.0 if ode else 1.0, **fields)


def theories(result: SimulationResult) -> dict[str, Prediction]:
    """Every theory there is for a simulation: mean-field, and finite-dimension off the sphere."""
    simulation = result.simulation
    found = {"mean_field": predict(simulation.setting)}
    if simulation.ensemble == "gaussian":
        found["finite_dim"] = predict(replace(simulation.setting, dim=simulation.dim))
    return found


def simulation_result(simulation: Simulation, *, progress: Progress | None = None) -> dict[str, Any]:
    """The JSON object of `orthoscope simulate`."""
    result = simulate(simulation, progress=progress)
    predictions = theories(result)
    return {
        "frechet_distance": None,  # where there are too few samples for one
        **{name: as_numbers(estimate) for name, estimate in result.estimates.items()},
        "theory": {"finite_dim": None} | {name: prediction_result(found) for name, found in predictions.items()},
        "diagnosis": diagnose(result.estimates, predictions, planted=simulation.planted),
        "path": {
            "time": list(result.times),
            "overlap": [as_numbers(q) for q in result.overlap],
            "variance": [as_numbers(v) for v in result.variance],
        },
        "log_classes": simulation.log_classes,
        "seconds": result.seconds,
        "model_calls": result.model_calls,
        "modes_read": result.modes_read,
        "spec": to_dict(simulation),
    }


def as_numbers(estimate: Estimate) -> dict[str, Any]:
    """An estimate as a JSON object."""
    return {
        "value": estimate.value,
        "stderr": estimate.stderr,
        "stderr_within": estimate.stderr_within,
        "n": estimate.n,
    }


def diagnose(measured: Mapping[str, Estimate], predictions: Mapping[str, Prediction], *, planted: bool) -> str:
    """One sentence on why the measurement differs from the infinite-dimension theory, or that it does not."""
    mean_field, finite = predictions["mean_field"], predictions.get("finite_dim")
    if mean_field.regime == "captured":
        return mean_field.diagnosis() + (
            f"; the planted ensemble is not valid below t = {mean_field.capture_time:.3g}, where other classes condense"
            if planted
            else ""
        )
    if mean_field.regime == "dense":
        return mean_field.diagnosis()
    shift = measured["mean_shift"]
    if abs(shift.z(mean_field.mean_shift)) <= AGREE:
        return "none"
    if finite is None:
        return f"dimension too small: {shift} measured against {mean_field.mean_shift:.4g} in infinite dimension"
    slack = FINITE_DIM_SLACK * abs(finite.mean_shift)
    text = f"{finite.mean_shift:.4g} against {mean_field.mean_shift:.4g} in infinite dimension; measured {shift}"
    if abs(shift.z(finite.mean_shift, slack=slack)) <= AGREE:
        return f"dimension too small: the finite-dimension theory explains the mean shift, {text}"
    return f"unexplained: neither theory gives the mean shift, {text}"
