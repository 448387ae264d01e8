"""One setting as a study: what theory says of it, or exact sampling with theory beside it. Torch only where sampled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from orthoscope import __version__
from orthoscope.checks import MOST_STEPS, whole
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.numerics import Array
from orthoscope.serialize import to_dict
from orthoscope.settings import Setting
from orthoscope.simulation.predictions import prediction_result
from orthoscope.theory import Prediction, predict

if TYPE_CHECKING:
    import xarray as xr

    from orthoscope.progress import Progress
    from orthoscope.simulation.comparison import Theories
    from orthoscope.simulation.setting import Simulation
    from orthoscope.simulation.simulate import SimulationResult
    from orthoscope.sweeps.points import Points

_SEEN = 100.0  # variances of all data from which on the path of a start at infinite noise is shown
_TIMES = 121
_PATH = ("overlap", "variance")
# One dimension has no directions across, and too few samples no distance: their places in the JSON stay.
_SOMETIMES = ("variance_shift_across", "frechet_distance")


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionStudy:
    """What theory says of one setting.

    Attributes:
        setting: The setting.
        steps: Steps of a geometric grid, for schedules with clock=step.
    """

    name: str = field(default="prediction", init=False)
    setting: Setting
    steps: int | None = None

    def __post_init__(self) -> None:
        """Reject what is no number of steps."""
        if self.steps is not None:
            object.__setattr__(self, "steps", whole("steps", self.steps, 1, MOST_STEPS))

    def numbers(self) -> dict[str, Any]:
        """The JSON object of `orthoscope predict`."""
        return self._result(predict(self.setting.timed(self.steps)))

    def run(self, points: Points | None = None) -> xr.Dataset:
        """The numbers, and the path that leads to them."""
        from orthoscope.datasets import labelled

        found = predict(self.setting.timed(self.steps))
        time = self._times()
        path = {
            f"{name}_{found.theory}": (["time"], values)
            for name, values in zip(_PATH, found.path(time), strict=True)
        }  # fmt: skip
        return labelled(self._result(found), spec=self, variables=path, coords={"time": time}, **_attrs(self.setting))

    def _result(self, found: Prediction) -> dict[str, Any]:
        return prediction_result(found) | {"spec": to_dict(self, strict=False)}

    def _times(self) -> Array:
        """Variance times from the start to clean data, even in the logarithm of the noised variance."""
        clean, t_max = self.setting.law.std**2, self.setting.t_max
        first = t_max if math.isfinite(t_max) else _SEEN * (1 + clean)
        return np.clip(np.geomspace(clean + first, clean, _TIMES) - clean, 0.0, first)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationStudy:
    """Exact sampling of one setting, with both theories and further schedules beside it.

    Attributes:
        simulation: What to simulate.
        estimator: `plain`, `completed` or `controlled`.
        versus: Further schedules, compared on common random numbers.
    """

    name: str = field(default="simulation", init=False)
    simulation: Simulation
    estimator: str = "plain"
    versus: tuple[GuidanceSchedule, ...] = ()

    @property
    def numbers_read(self) -> float:
        """Numbers that one evaluation reads, which decide how many threads pay."""
        return self.simulation.numbers_read

    def run(self, points: Points | None = None) -> xr.Dataset:
        """Simulate, and say what theory makes of it.

        Args:
            points: Told of levels visited and levels in all, over all draws; again for a run with half the steps where
                theory does not explain the first; then of draws compared and their number.

        Raises:
            ConfigError: if the setting does not allow the estimator, or schedules cannot be compared.
        """
        from orthoscope.datasets import labelled
        from orthoscope.simulation.comparison import diagnose, theories, unexplained
        from orthoscope.simulation.estimators import choose
        from orthoscope.simulation.simulate import simulate
        from orthoscope.simulation.together import check_comparable

        simulation, progress = self.simulation, points.progress if points else None
        check_comparable((simulation.setting.schedule, *self.versus))  # before anything is computed
        result = simulate(simulation, estimator=choose(self.estimator, simulation), progress=progress)
        predictions = theories(simulation)
        halved, steps = None, simulation.numerics.steps
        can_halve = steps > 1 and simulation.modes in ("memory", "planted")
        if can_halve and unexplained(result.estimates, predictions, simulation):
            coarse = simulation.but(steps=steps // 2)
            halved = simulate(coarse, estimator=choose(self.estimator, coarse), progress=progress).estimates
        numbers = self._numbers(result, predictions, diagnose(result.estimates, predictions, simulation, halved))
        numbers["versus"] = self._versus(progress)
        return labelled(
            numbers | {"spec": to_dict(self, strict=False)},
            spec=self,
            variables=_beside(result, predictions),
            coords={"time": list(result.times)},
            **_attrs(simulation.setting),
        )

    def _numbers(self, result: SimulationResult, predictions: Theories, diagnosis: str) -> dict[str, Any]:
        import torch

        nothing = dict.fromkeys(_SOMETIMES)
        named = {name: found.as_numbers() for name, found in result.estimates.items()}
        return {
            **named,
            **{name: None for name in nothing if name not in named},
            "theory": {name: found and prediction_result(found) for name, found in predictions._asdict().items()},
            "diagnosis": diagnosis,
            "path": {
                "time": list(result.times),
                **{name: [at.as_numbers() for at in getattr(result, name)] for name in _PATH},
            },
            "estimator": self.estimator,
            "log_classes": self.simulation.log_classes,
            "seconds": result.seconds,
            "model_calls": result.model_calls,
            "modes_read": result.modes_read,
            "orthoscope": __version__,
            "threads": torch.get_num_threads(),
        }

    def _versus(self, progress: Progress | None) -> list[dict[str, Any]]:
        """Further schedules on the same modes, starts and noise, and how they differ from the simulation's own."""
        from orthoscope.simulation.together import simulate_together

        if not self.versus:
            return []
        found = simulate_together(self.simulation, self.versus, progress=progress)
        return [
            {
                "schedule": to_dict(schedule, strict=False),
                "estimates": {name: estimate.as_numbers() for name, estimate in estimates.items()},
                "difference": {name: estimate.as_numbers() for name, estimate in difference.items()},
            }
            for schedule, estimates, difference in zip(
                self.versus, found.estimates[1:], found.differences, strict=True
            )
        ]  # fmt: skip


def _beside(result: SimulationResult, predictions: Theories) -> Mapping[str, tuple[Sequence[str], Any]]:
    """Overlap and variance over time, measured and by both theories; and final numbers by both."""
    from orthoscope.datasets import estimates

    time = predictions.mean_field and predictions.mean_field.speciation_time
    variables: dict[str, tuple[Sequence[str], Any]] = {"speciation_time": ((), math.nan if time is None else time)}
    for name in _PATH:
        variables |= estimates(name, ["time"], getattr(result, name))
    for theory, found in predictions._asdict().items():
        if found is None:
            continue
        for name, values in zip(_PATH, found.path(result.times), strict=True):
            variables[f"{name}_{theory}"] = (["time"], values)
        for name in ("mean_shift", "variance_shift", "variance_ratio"):
            variables[f"{name}_{theory}"] = ((), getattr(found, name))
    return variables


def _attrs(setting: Setting) -> dict[str, float]:
    """What a figure needs to know of a setting."""
    return {"std": setting.law.std} | ({} if setting.dim is None else {"dim": setting.dim})
