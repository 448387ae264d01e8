"""Estimators of a simulation by name."""

from __future__ import annotations

from collections.abc import Callable

from orthoscope.errors import ConfigError, unknown
from orthoscope.simulation.completion import Completion
from orthoscope.simulation.setting import Simulation
from orthoscope.simulation.simulate import Estimator
from orthoscope.simulation.twin import FEWEST_DIM, Twin

ESTIMATORS: dict[str, Callable[[], Estimator] | None] = {"plain": None, "completed": Completion, "twin": Twin}


def choose(name: str, simulation: Simulation) -> Callable[[], Estimator] | None:
    """The estimator of a name, if the setting allows it.

    Raises:
        ConfigError: with one clear line, if the name is unknown or the setting does not.
    """
    if name not in ESTIMATORS:
        raise unknown("estimator", name, ESTIMATORS)
    if name != "plain" and (simulation.planted or simulation.modes != "memory"):
        raise ConfigError(f"the estimator {name!r} needs modes held in memory; use --estimator plain")
    if name == "completed" and simulation.lam != 1:
        raise ConfigError("only the reverse SDE ends in a Gaussian that can be completed; use --estimator twin")
    if name == "completed" and not simulation.tolerance > 0:
        raise ConfigError("trajectories are completed once they are decided: the estimator needs a --tolerance > 0")
    if name == "twin" and simulation.dim < FEWEST_DIM:
        raise ConfigError(f"the planted twin needs at least {FEWEST_DIM} dimensions, got {simulation.dim}")
    return ESTIMATORS[name]
