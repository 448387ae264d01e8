"""`predict`, `simulate` and `design`: a law first, then a schedule, then keywords."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orthoscope.calls import check_names, verb
from orthoscope.checks import flag, real
from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.given import as_schedule
from orthoscope.laws import RandomMixture, Start
from orthoscope.settings import Setting

_MAXIMIZED = ("mean_shift", "separability")
_KEPT = ("variance_ratio", "class_posterior", "separability")
_SAMPLED = ("samples", "draws", "seed", "steps", "grid", "order", "tolerance", "dtype", "device", "modes", "rule")
_UNSAID: dict[str, Any] = {"dim": None, "t_max": math.inf, "start": "prior", "lam": 1.0}  # of a run

if TYPE_CHECKING:
    from orthoscope.progress import Tracker
    from orthoscope.results import Result


@verb
def predict(
    law: Any,
    schedule: Any = None,
    *,
    dim: int | None = None,
    t_max: float = math.inf,
    start: Start = "prior",
    ode: bool = False,
    steps: int | None = None,
) -> Result:
    """Theory for one setting: regime, event times, distortions, and the path that leads to them.

    Args:
        law: A random mixture of classes; or a whole setting, which needs no schedule.
        schedule: Guidance strength: a number, a text, a file, a schedule, or a function of the noise level.
        dim: Dimension; None for the limit of infinitely many.
        t_max: Variance time at which the run starts.
        start: `prior` or `exact`.
        ode: Probability-flow ODE instead of the reverse SDE.
        steps: Steps, for schedules with clock=step.

    Raises:
        ConfigError: with one clear line, if the setting cannot be predicted.
    """
    from orthoscope.experiments.single import PredictionStudy
    from orthoscope.results import Result

    run_of = {"dim": dim, "t_max": t_max, "start": start, "lam": 0.0 if flag("ode", ode) else 1.0}
    study = PredictionStudy(setting=_setting(law, schedule, run_of, usual={}), steps=steps)
    return Result(study, study.run())  # on any threads: theory loads no torch that could have some


@verb
def simulate(
    law: Any,
    schedule: Any = None,
    *,
    dim: int | None = None,
    t_max: float = 50.0,
    start: Start = "prior",
    ode: bool = False,
    versus: Any = (),
    estimator: str = "plain",
    progress: Tracker | bool | None = None,
    **how: Any,
) -> Result:
    """Exact sampling of one class of a law, draw by draw of its modes, with theory beside it.

    Args:
        law: A random mixture of classes; or a whole `Simulation`, which needs nothing more.
        schedule: Guidance strength: a number, a text, a file, a schedule, or a function of the noise level.
        dim: Dimension.
        t_max: Variance time at which runs start.
        start: `prior` or `exact`.
        ode: Probability-flow ODE instead of the reverse SDE.
        versus: Further schedules, compared on the same noise.
        estimator: `plain`, `completed` or `controlled`.
        progress: A function of parts done, parts in all and what is done; True or False for a bar or none.
        **how: Fields of `Simulation`: samples, draws, seed, steps, grid, order, tolerance, dtype, device, modes, rule.

    Raises:
        ConfigError: with one clear line, if the setting cannot be simulated.
        DivergenceError: if a state stops being finite.
    """
    from orthoscope.experiments.single import SimulationStudy
    from orthoscope.report.bars import shown
    from orthoscope.results import run
    from orthoscope.simulation.setting import Simulation
    from orthoscope.sweeps.points import Points

    check_names("simulate", how, (*_SAMPLED, *inspect.signature(simulate).parameters))
    run_of = {"dim": dim, "t_max": t_max, "start": start, "lam": 0.0 if flag("ode", ode) else 1.0}
    if isinstance(law, Simulation):
        _check_complete("simulation", schedule, run_of | how, usual={"t_max": 50.0})
    else:
        rule = {"rule": how.pop("rule")} if "rule" in how else {}
        law = Simulation.of(setting=_setting(law, schedule, run_of | rule, usual={"t_max": 50.0}), **how)
    others = versus if isinstance(versus, list | tuple) else (versus,)
    study = SimulationStudy(simulation=law, estimator=estimator, versus=tuple(map(as_schedule, others)))
    with shown("sampling", progress) as tell:
        return run(study, Points(progress=tell))


@verb
def design(
    law: Any,
    *,
    maximize: str | None = None,
    keep: Mapping[str, float] | None = None,
    mean_shift: float | None = None,
    least_frechet: bool = False,
    low: float = -1.0,
    high: float = 10.0,
    margin_strength: float | None = None,
    margin_switch: str | float | None = None,
    dim: int | None = None,
    t_max: float | None = None,
    start: Start | None = None,
    ode: bool = False,
    label: Any = None,
    simulate: bool = True,
    samples: int | None = None,
    front: bool = False,
    seed: int = 0,
) -> Result:
    """The best guidance schedule for a law under constraints, beside simple and published ones, checked by sampling.

    Args:
        law: A random mixture; a law of `designs` (two Gaussians, a mixture with its run); or a data set: a text, as in
            `mixture`, or what `mixture(x, labels=y)` returns, in units in which it has mean 0 and variance 1.
        maximize: `mean_shift` or `separability`.
        keep: Least values: of `variance_ratio`, `class_posterior`, `separability`.
        mean_shift: Meet this mean shift with least effort, instead of `maximize`.
        least_frechet: Least Frechet distance at the separability kept, instead.
        low: Smallest strength allowed.
        high: Largest strength allowed.
        margin_strength: Strengths may be off by this much (0.01 unless said; 0 for none).
        margin_switch: Switch times may be off by this share (1% unless said; 0 for none).
        dim: Dimension of a random mixture; None for the limit of infinitely many.
        t_max: Variance time of the start.
        start: `prior`, or `exact`.
        ode: Probability-flow ODE instead of the reverse SDE.
        label: The class of a data set.
        simulate: Whether to check by sampling.
        samples: Trajectories of the check.
        front: Whether to trace the Pareto front.
        seed: Root seed.

    Raises:
        ConfigError: with one clear line, if the goal cannot be met, naming the best that can.
    """
    from orthoscope.designs.options import make_goal, make_margin, make_problem
    from orthoscope.designs.study import DesignStudy
    from orthoscope.results import run

    for name, value in (("least_frechet", least_frechet), ("ode", ode), ("simulate", simulate), ("front", front)):
        flag(name, value)
    if maximize is not None and str(maximize).replace("-", "_") not in _MAXIMIZED:
        raise unknown("quantity to maximize", str(maximize), _MAXIMIZED, field="maximize")
    floors = dict(keep) if isinstance(keep, Mapping) else {"": keep} if keep is not None else {}
    if odd := [str(name) or repr(keep) for name in floors if name not in _KEPT]:
        raise ConfigError(
            f"`keep` holds least values by name, of {', '.join(_KEPT)}, got {', '.join(odd)}", field="keep"
        )
    floors = {name: real(name, value) for name, value in floors.items()}
    goal = make_goal(
        maximize=maximize, least_frechet=least_frechet, mean_shift=mean_shift,
        separability=floors.pop("separability", None), low=low, high=high,
        margin=make_margin(
            margin_strength, None if margin_switch is None else str(margin_switch), _is_data(law)
        ),
        **{name: floors.get(name) for name in ("variance_ratio", "class_posterior")},
    )  # fmt: skip
    wanted = _law_to_design(law, dim=dim, t_max=t_max, start=start, lam=0.0 if flag("ode", ode) else 1.0, label=label)
    problem = make_problem(wanted, goal, simulate=simulate, samples=samples, seed=seed, front=front)
    return run(DesignStudy(problem=problem))


def _setting(law: Any, schedule: Any, fields: dict[str, Any], *, usual: Mapping[str, Any]) -> Setting:
    """A law with a schedule and a run; a setting that is one already needs nothing more."""
    if isinstance(law, Setting):
        _check_complete("setting", schedule, fields, usual=usual)
        return law
    if not isinstance(law, RandomMixture):
        raise ConfigError(
            f"expected a law such as RandomMixture(rate=0.7, std=0.5), got a {type(law).__name__}; data sets are for "
            "`sample`",
            field="law",
        )
    if schedule is None:
        raise ConfigError(
            "expected a `schedule` after the law: a number such as 3.0, or step:early=3,late=-1,switch=1",
            field="schedule",
        )
    return Setting(law=law, schedule=as_schedule(schedule), **fields)


def _check_complete(what: str, schedule: Any, said: Mapping[str, Any], *, usual: Mapping[str, Any]) -> None:
    """Refuse what is said beside a setting or a simulation, which has all of it already.

    Raises:
        ConfigError: naming the first, unless it is what is meant where nothing is said.
    """
    if schedule is not None:
        raise ConfigError(
            f"a {what} has a schedule already: leave out `schedule`, or give the law alone", field="schedule"
        )
    known = _UNSAID | {**usual}
    if odd := [name for name, value in said.items() if name not in known or value != known[name]]:
        name = "ode" if odd[0] == "lam" else odd[0]
        raise ConfigError(
            f"a {what} has everything already: leave out `{name}`, or change it there, such as by {what}.but(...)",
            field=name,
        )


def _is_data(law: Any) -> bool:
    """Whether a design is for data, which has no theory."""
    return isinstance(law, str | Path) or inspect.isroutine(law) or hasattr(law, "conditional")


def _law_to_design(law: Any, *, label: Any, **run: Any) -> Any:
    """The law of a design, run from its usual start unless told otherwise.

    Raises:
        ConfigError: if there is no designing for it.
    """
    from orthoscope.designs.data import DataLaw
    from orthoscope.designs.optimization import MixtureLaw, SpectrumLaw
    from orthoscope.designs.options import LawOptions

    dim = run.pop("dim")
    if isinstance(law, MixtureLaw | SpectrumLaw | DataLaw):
        return law
    if _is_data(law):
        return LawOptions(data=law, label=label).law(**run)
    if not isinstance(law, RandomMixture):
        raise ConfigError(
            "expected a RandomMixture, a law of designs.optimization, or data such as 'digits' or mixture(x, labels=y) "
            f"with its `label`, got a {type(law).__name__}",
            field="law",
        )
    if law.ensemble != "gaussian":
        raise ConfigError("designs know Gaussian centroids only; use ensemble='gaussian'")
    return LawOptions(rate=law.rate_in(dim), std=law.std, dim=dim, label=label).law(**run)
