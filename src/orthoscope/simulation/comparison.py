"""A simulation beside both theories for the same time and start, and the diagnosis of what they do not explain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from orthoscope.quantities import Estimate
from orthoscope.settings import rule_name
from orthoscope.simulation.setting import Simulation
from orthoscope.theory import Prediction, predict

FALSE_ALARM = 1e-4  # of one comparison with a theory that is right
# Relative accuracy of the finite-dimension theory, frozen paths included (docs: explanation/theory).
FINITE_DIM_SLACK = {"mean_shift": 0.1, "variance_shift": 0.5}
_ACCURATE_FROM = {"mean_shift": 24, "variance_shift": 16}  # dimension
_LOOSEST = 1.5  # of that accuracy in fewer dimensions, beyond which the theory explains nothing


class Theories(NamedTuple):
    """What both theories say about a simulation.

    Attributes:
        mean_field: In infinite dimension; None for a rule that no theory knows.
        finite_dim: In the simulation's own; None where there is no such theory (sphere, captured paths).
    """

    mean_field: Prediction | None
    finite_dim: Prediction | None


def theories(simulation: Simulation) -> Theories:
    """Both theories for the time and start of a simulation; neither where the rule is not classifier-free guidance."""
    if simulation.setting.rule is not None:
        return Theories(None, None)
    mean_field, finite = predict(simulation.mean_field), None
    if simulation.setting.law.ensemble == "gaussian":
        found = predict(simulation.finite_dim)
        finite = found if found.theory == "finite_dim" else None
    return Theories(mean_field, finite)


SHIFTS = ("mean_shift", "variance_shift")


def finite_dim_slack(name: str, dim: int) -> float:
    """Relative accuracy of the finite-dimension theory, which real modes in fewer dimensions miss like 1/d."""
    return FINITE_DIM_SLACK[name] * min(max(1.0, _ACCURATE_FROM[name] / dim), _LOOSEST)


def _explains(name: str, measured: Estimate, predictions: Theories, dim: int) -> bool:
    """Whether a shift is that of the finite-dimension theory, to its accuracy, and nearer to it than to mean field."""
    here, there = (getattr(theory, name) for theory in (predictions.finite_dim, predictions.mean_field))
    nearer = abs(measured.value - here) <= abs(measured.value - there)
    return nearer and measured.agrees(here, slack=finite_dim_slack(name, dim) * abs(here), false_alarm=FALSE_ALARM)


def unexplained(measured: Mapping[str, Estimate], predictions: Theories, simulation: Simulation) -> list[str]:
    """The shifts that no theory accounts for where one should."""
    finite = predictions.finite_dim
    if finite is None or (simulation.planted and finite.condensation_time is not None):
        return []
    return [
        name
        for name in SHIFTS
        if not measured[name].agrees(getattr(predictions.mean_field, name), false_alarm=FALSE_ALARM)
        and not _explains(name, measured[name], predictions, simulation.dim)
    ]


def diagnose(
    measured: Mapping[str, Estimate],
    predictions: Theories,
    simulation: Simulation,
    halved: Mapping[str, Estimate] | None = None,
) -> str:
    """Why the measurement differs from the infinite-dimension theory and what it may not be used for, or `none`.

    Args:
        measured: What was measured.
        predictions: What both theories say.
        simulation: The setting.
        halved: The same with half the steps, where a shift is unexplained.
    """
    mean_field = predictions.mean_field
    remarks = []
    if mean_field is None:
        remarks.append(f"no theory knows the rule {rule_name(simulation.setting.rule)}: measured only")
    else:
        remarks += _stages(mean_field, simulation)
    open_ones = unexplained(measured, predictions, simulation)
    for name in SHIFTS if mean_field is not None else ():
        if not measured[name].agrees(getattr(mean_field, name), false_alarm=FALSE_ALARM):
            text = _gap(name, measured[name], predictions, simulation)
            remarks.append(text + _steps(name, measured, predictions, halved) if name in open_ones else text)
    if simulation.budget.draws == 1:
        remarks.append("a single draw of the modes: errors cover trajectories only, use more --draws")
    return "; ".join(remarks) or "none"


def _stages(mean_field: Prediction, simulation: Simulation) -> list[str]:
    """What the stages of the path say of the measurement."""
    condensed, remarks = mean_field.condensation_time, []
    if mean_field.regime != "committed" or mean_field.capture_time is not None:
        remarks.append(mean_field.diagnosis().rstrip("."))
    elif condensed is not None and not simulation.planted:
        remarks.append(
            f"frozen path: the other classes condense at t = {condensed:.3g}, before this one is decided; "
            "theory is of leading order there"
        )
    if simulation.planted and condensed is not None:
        remarks.append(
            f"the planted ensemble is not valid below t = {condensed:.3g}, where the other classes condense: "
            "what it gives is not that of real modes; leave out --planted"
        )
    return remarks


def _gap(name: str, measured: Estimate, predictions: Theories, simulation: Simulation) -> str:
    """A measured shift that is not that of infinite dimension, and the cause where one is known."""
    mean_field, finite = predictions
    there = f"{getattr(mean_field, name):.4g} in infinite dimension"
    title = f"{name.replace('_', ' ')} {measured} measured"
    if finite is None:
        captured = mean_field is not None and mean_field.capture_time is not None
        known = "on the sphere is" if not captured else "of captured paths is of leading order,"
        return f"theory {known} for infinite dimension only: {title}, {there}"
    here = getattr(finite, name)
    text = f"{title}, {here:.4g} in this dimension, {there}"
    if simulation.planted and finite.condensation_time is not None:
        return f"not to be compared: {text}"
    if _explains(name, measured, predictions, simulation.dim):
        return f"dimension too small, explained by the finite-dimension theory: {text}"
    if simulation.dim < _ACCURATE_FROM[name]:
        return f"unexplained, no theory is accurate in so few dimensions: {text}"
    return f"unexplained: {text}"


def _steps(
    name: str, measured: Mapping[str, Estimate], predictions: Theories, halved: Mapping[str, Estimate] | None
) -> str:
    """What a run with half the steps says about an unexplained shift."""
    if halved is None:
        return ", and no run with other --steps to judge them by"
    whole, half = measured[name], halved[name]
    change = whole.minus(half)
    text = f", {half} with half the steps"
    if change.differs(0.0, false_alarm=FALSE_ALARM):
        return f"{text}: use more --steps"
    gap = abs(whole.value - getattr(predictions.finite_dim, name))
    if change.limit(FALSE_ALARM) * change.stderr < gap:
        return f"{text}: it is not the --steps"
    return f"{text}: too noisy to judge the --steps by"
