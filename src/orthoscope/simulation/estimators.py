"""Estimators of a simulation by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orthoscope.errors import ConfigError, unknown
from orthoscope.simulation.completion import Completion
from orthoscope.simulation.control import FEWEST_DIM, PlantedControl
from orthoscope.simulation.setting import Simulation
from orthoscope.simulation.simulate import Estimator

ESTIMATORS: dict[str, Callable[[], Estimator] | None] = {
    "plain": None,
    "completed": Completion,
    "controlled": PlantedControl,
}


def choose(name: str, simulation: Simulation) -> Callable[[], Estimator] | None:
    """The estimator of a name, if the setting allows it.

    Raises:
        ConfigError: with one clear line, if the name is unknown or the setting does not.
    """
    if name not in ESTIMATORS:
        raise unknown("estimator", name, ESTIMATORS, field="estimator")
    for field, need in _missing(name, simulation):
        raise ConfigError(f"the estimator {name!r} needs {need}", field=field)
    return ESTIMATORS[name]


def _missing(name: str, simulation: Simulation) -> Iterator[tuple[str, str]]:
    """What an estimator needs and a simulation lacks: the field to change, and how."""
    if name != "plain" and simulation.modes != "memory":
        yield "modes", "modes held in memory; use `estimator` plain"
    if name == "completed" and simulation.setting.lam != 1:
        yield "lam", "the reverse SDE, which alone ends in a Gaussian; use `estimator` controlled"
    if name == "completed" and not simulation.numerics.tolerance > 0:
        yield "tolerance", "a `tolerance` > 0: trajectories are completed once they are decided"
    if name == "controlled" and simulation.setting.rule is not None:
        yield "rule", "classifier-free guidance: the law of its control is known for that alone; use `estimator` plain"
    if name == "controlled" and simulation.dim < FEWEST_DIM:
        yield "dim", f"at least {FEWEST_DIM} dimensions, got {simulation.dim}"
