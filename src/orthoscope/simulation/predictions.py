"""What theory tells as plain values, and the schedule that options ask for. No torch here."""

from __future__ import annotations

from typing import Any

from orthoscope import __version__
from orthoscope.errors import ConfigError
from orthoscope.guidance.grammar import parse_schedule
from orthoscope.guidance.schedules import Constant, GuidanceSchedule
from orthoscope.serialize import to_dict
from orthoscope.theory import Prediction


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
        "spec": to_dict(prediction.setting, strict=False),
    }
