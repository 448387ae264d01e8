"""How the options of the command `design` become a problem."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orthoscope.designs.check import Budget
from orthoscope.designs.data import DataLaw
from orthoscope.designs.data_design import DataProblem, run_data_design
from orthoscope.designs.optimization import Goal, Margin, MixtureLaw, SpectrumLaw
from orthoscope.designs.run import DesignProblem, Report, run_design
from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.grammar import number
from orthoscope.laws import Start
from orthoscope.progress import Remark
from orthoscope.serialize import read_json

T_MAX, DATA_T_MAX = 50.0, 200.0
STANDARD = Margin(strength=0.01, switch=0.01)  # numbers rounded to two decimals
_SPECTRUM_KEYS = ("cond_mean", "cond_var", "uncond_mean", "uncond_var")
_COVARIANCE_KEYS = ("cond_mean", "cond_cov", "uncond_mean", "uncond_cov")
_LAWS = "`rate` with `std`, `spectrum` (or `cond_var` with `uncond_var`), or `data` with `label`"


def make_goal(
    *, maximize: str | None, least_frechet: bool, mean_shift: float | None, separability: float | None, **kept: Any
) -> Goal:
    """The goal that the options describe.

    Raises:
        ConfigError: unless exactly one objective is asked for.
    """
    asked = [maximize is not None, least_frechet, mean_shift is not None and not least_frechet and not maximize]
    if sum(asked) != 1:
        raise ConfigError(
            "ask for one thing: `maximize` mean-shift|separability, `mean_shift` X (with least effort), "
            "or `least_frechet` `separability` X"
        )
    if least_frechet and separability is None:
        raise ConfigError("`least_frechet` needs `separability` X: no guidance at all has the least distance")
    objective: Any = maximize.replace("-", "_") if maximize else "frechet" if least_frechet else "effort"
    return Goal(objective=objective, mean_shift=mean_shift, separability=separability, **kept)


def make_margin(strength: float | None, switch: str | None, data: bool) -> Margin:
    """The margin that the options describe: a number, and a share that may be given in %.

    Raises:
        ConfigError: if one is no number, or given for a data set.
    """
    if data:
        if strength is not None or switch is not None:
            raise ConfigError(
                "a margin needs a theory; a data set has none: leave out `margin_strength` and `margin_switch`"
            )
        return Margin()
    share = STANDARD.switch if switch is None else number(switch, "the share", "`margin_switch`")
    if not isinstance(share, float):
        raise ConfigError(f"`margin_switch` is one share, such as 1% or 0.01, got {switch!r}")
    return Margin(strength=STANDARD.strength if strength is None else strength, switch=share)


def make_problem(
    goal: Goal,
    *,
    rate: float | None,
    std: float | None,
    dim: int | None,
    spectrum: Path | None,
    cond_var: Sequence[float] | None,
    uncond_var: Sequence[float] | None,
    gap: Sequence[float] | None,
    data: str | None,
    label: int | None,
    t_max: float | None,
    start: str | None,
    ode: bool,
    simulate: bool,
    samples: int | None,
    front: bool,
    seed: int,
    out: Path | None,
) -> DesignProblem | DataProblem:
    """The problem that the options describe.

    Raises:
        ConfigError: with one clear line, if they describe none.
    """
    if out is not None and out.suffix != ".json":
        raise ConfigError(f"`out` names the schedule's file and must end in .json, got {out}")
    listed = bool(cond_var or uncond_var or gap)
    if sum((rate is not None or std is not None, spectrum is not None or listed, data is not None)) != 1:
        raise ConfigError(f"give one law: {_LAWS}")
    for name, value, owner, fits in (
        ("`label`", label, "`data`", data is not None),
        ("`dim`", dim, "`rate` and `std`", rate is not None or std is not None),
    ):
        if value is not None and not fits:
            raise ConfigError(f"{name} belongs to the law of {owner}; leave it out")
    run: dict[str, Any] = {"lam": 0.0 if ode else 1.0}
    if data is not None:
        if not simulate or front:
            raise ConfigError("a data set has no theory: leave out `no_simulate` and `front`")
        if label is None:
            raise ConfigError("`data` needs `label`, the class to design for")
        run |= {"t_max": DATA_T_MAX if t_max is None else t_max, "start": _start(start, "exact")}
        counts = {} if samples is None else {"samples": samples}
        return DataProblem(law=DataLaw(source=data, label=label, **run), goal=goal, seed=seed, **counts)
    run |= {"t_max": T_MAX if t_max is None else t_max, "start": _start(start, "prior")}
    law = (
        _mixture(rate, std, dim, run)
        if spectrum is None and not listed
        else _spectrum(spectrum, cond_var, uncond_var, gap, run)
    )
    counts = {} if samples is None else {"samples": samples}
    budget = Budget(seed=seed, **counts) if simulate else None
    return DesignProblem(law=law, goal=goal, budget=budget, front=front)


def design_report(problem: DesignProblem | DataProblem, say: Remark) -> Report:
    """Solve either kind of problem."""
    return run_design(problem, say) if isinstance(problem, DesignProblem) else run_data_design(problem, say)


def _start(start: str | None, default: Start) -> Start:
    return default if start is None else start  # type: ignore[return-value]  # the law checks it


def _mixture(rate: float | None, std: float | None, dim: int | None, run: dict[str, Any]) -> MixtureLaw:
    if rate is None or std is None:
        raise ConfigError("a random mixture needs both `rate` and `std`")
    return MixtureLaw(rate=rate, std=std, dim=dim, **run)


def _spectrum(
    file: Path | None,
    cond_var: Sequence[float] | None,
    uncond_var: Sequence[float] | None,
    gap: Sequence[float] | None,
    run: dict[str, Any],
) -> SpectrumLaw:
    if file is not None:
        if cond_var or uncond_var or gap:
            raise ConfigError("give either `spectrum` or `cond_var`, `uncond_var` and `gap`, not both")
        return read_spectrum(file, run)
    if not cond_var or not uncond_var:
        raise ConfigError("two Gaussians need both `cond_var` and `uncond_var`, once per direction")
    distance = list(gap) if gap else [1.0] * len(cond_var)
    if not len(cond_var) == len(uncond_var) == len(distance):
        raise ConfigError(
            f"expected as many `cond_var` as `uncond_var` and `gap`, got {len(cond_var)}, {len(uncond_var)} and "
            f"{len(distance)}"
        )
    return SpectrumLaw(
        cond_mean=distance,
        cond_var=list(cond_var),
        uncond_mean=[0.0] * len(distance),
        uncond_var=list(uncond_var),
        **run,
    )


def read_spectrum(path: Path, run: dict[str, Any]) -> SpectrumLaw:
    """Two Gaussians from a JSON file with variances per shared direction, or with covariance matrices that commute.

    Raises:
        ConfigError: if the file is missing, malformed, or has other keys.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected a JSON object with {', '.join(_SPECTRUM_KEYS)}")
    known = {*_SPECTRUM_KEYS, *_COVARIANCE_KEYS}
    for key in found:
        if key not in known:
            raise unknown(f"key of {path}", str(key), known)
    keys = _COVARIANCE_KEYS if "cond_cov" in found or "uncond_cov" in found else _SPECTRUM_KEYS
    if missing := [key for key in keys if key not in found]:
        raise ConfigError(f"{path}: missing {', '.join(missing)}")
    try:
        arrays: dict[str, Any] = {key: np.asarray(found[key], dtype=np.float64) for key in keys}
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: expected lists of numbers: {error}") from error
    if keys == _SPECTRUM_KEYS and len(lengths := {arrays[key].size for key in keys}) > 1:
        raise ConfigError(f"{path}: expected one number per direction in every list, got lengths {sorted(lengths)}")
    try:
        if keys == _COVARIANCE_KEYS:
            return SpectrumLaw.from_covariances(**arrays, **run)
        return SpectrumLaw(**arrays, **run)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
