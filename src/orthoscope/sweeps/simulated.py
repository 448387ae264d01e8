"""A cell by exact simulation: draws of the modes are added until every error wanted is met."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from orthoscope.errors import ConfigError
from orthoscope.quantities import Estimate
from orthoscope.simulation.comparison import theories
from orthoscope.simulation.estimators import choose
from orthoscope.simulation.predictions import make_schedule
from orthoscope.simulation.setting import Simulation
from orthoscope.simulation.simulate import Estimator, pooled, sampled_draws
from orthoscope.sweeps.cell import as_float, cell_seed, cell_settings
from orthoscope.sweeps.plan import Cell, Plan
from orthoscope.threads import one_thread

_GROWTH = (
    1.25  # draws between two looks at the errors: fewer looks, fewer chances to stop on an error that is luckily small
)


def cell_simulation(plan: Plan, cell: Cell) -> Simulation:
    """What `simulate` would be asked for.

    Raises:
        ConfigError: if the settings contradict each other, or modes do not fit into memory.
    """
    given = cell_settings(plan, cell)
    given.pop("estimator")  # which is no part of what is simulated
    planted, modes = given.pop("planted"), str(given.pop("modes"))
    if planted and modes != "memory":
        raise ConfigError(f"the planted ensemble keeps no modes: leave out `modes` {modes}", field="modes")
    strength, text = given.pop("strength", None), given.pop("schedule", None)
    return Simulation.of(
        schedule=make_schedule(strength, text),  # type: ignore[arg-type]
        lam=0.0 if given.pop("ode") else 1.0,
        modes="planted" if planted else modes,
        seed=cell_seed(plan, cell),
        **given,
    )


def looks(least: int, most: int) -> Iterator[int]:
    """Numbers of draws after which errors are looked at: the least, then a quarter more each time, up to the most."""
    count = least
    while count < most:
        yield count
        count = max(count + 1, math.floor(count * _GROWTH))
    yield most


def cell_estimator(plan: Plan, cell: Cell, simulation: Simulation) -> Callable[[], Estimator] | None:
    """What makes a better estimator for each draw; None for the plain one.

    Raises:
        ConfigError: if the settings do not allow it.
    """
    return choose(str(cell_settings(plan, cell)["estimator"]), simulation)


def simulated(plan: Plan, cell: Cell) -> dict[str, Estimate | float]:
    """The measured quantities of a cell, what theories say of them, and what it took."""
    simulation = cell_simulation(plan, cell)
    estimator = cell_estimator(plan, cell, simulation)
    precision: Mapping[str, float] = plan.fixed["precision"]
    counts = looks(plan.fixed["min_draws"], plan.fixed["max_draws"]) if precision else [simulation.budget.draws]
    with one_thread():
        every = sampled_draws(simulation, estimator=estimator)
        finals: list[Mapping[str, Estimate]] = []
        for count in counts:
            finals += [next(every).estimates for _ in range(count - len(finals))]
            found = pooled(simulation, finals, estimator)
            met = all(found[name].stderr <= wanted for name, wanted in precision.items())
            if met:
                break
    told = {"draws_used": float(len(finals)), "precision_met": float(met)}
    measured = {name: found[name] for name in plan.estimated}
    return measured | {name: told[name] for name in plan.quantities if name in told} | predicted(plan, simulation)


def predicted(plan: Plan, simulation: Simulation) -> dict[str, Estimate | float]:
    """What both theories say of the quantities of a plan, if it asks for that."""
    wanted = [name for name in plan.quantities if name.endswith(("_mean_field", "_finite_dim"))]
    if not wanted:
        return {}
    found = theories(simulation)._asdict()
    return {
        f"{name}_{kind}": as_float(getattr(found[kind], name, None))
        for kind in found
        for name in plan.estimated
        if f"{name}_{kind}" in wanted
    }
