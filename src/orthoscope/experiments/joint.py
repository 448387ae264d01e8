"""What `orthoscope gaussian --laws` returns: two Gaussians from a file, with any covariances. No torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orthoscope import __version__
from orthoscope.errors import ConfigError, OrthoscopeError, unknown
from orthoscope.laws import Start
from orthoscope.serialize import read_json, to_dict
from orthoscope.simulation.predictions import gaussian_result, make_schedule
from orthoscope.theory.joint import GaussianLaw, JointPrediction, gaussian_law, guided_joint

_KEYS = ("mean", "cov", "factor", "diag")
_SCALARS = ("cond_mean", "cond_var", "uncond_mean", "uncond_var")


def read_laws(path: Path) -> tuple[GaussianLaw, GaussianLaw]:
    """The conditional and the unconditional law of a JSON file.

    The file is `{"cond": LAW, "uncond": LAW}` with LAW either `{"mean": [...], "cov": [[...], ...]}` or
    `{"mean": [...], "factor": [[...], ...], "diag": x}` for the covariance factor factor' + x.

    Raises:
        ConfigError: if the file cannot be read, or holds anything else.
    """
    data = read_json(path)
    if not isinstance(data, Mapping) or set(data) != {"cond", "uncond"}:
        raise ConfigError(f"{path}: expected a JSON object with the two keys cond and uncond")
    return _law(data["cond"], "conditional", path), _law(data["uncond"], "unconditional", path)


def _law(data: Any, name: str, path: Path) -> GaussianLaw:
    if not isinstance(data, Mapping) or "mean" not in data:
        raise ConfigError(f"{path}: the {name} law must be an object with mean, and cov or factor with diag")
    for key in data:
        if key not in _KEYS:
            raise unknown(f"key of the {name} law in {path}", str(key), _KEYS)
    try:
        return gaussian_law(**{str(key): value for key, value in data.items()}, name=name)
    except OrthoscopeError as error:
        raise ConfigError(f"{path}: {error}") from error


def pair_result(
    *,
    laws: Path | None,
    cond_mean: float | None,
    cond_var: float | None,
    uncond_mean: float | None,
    uncond_var: float | None,
    strength: float | None,
    schedule: str | None,
    ode: bool,
    t_max: float | None,
    start: Start,
) -> dict[str, Any]:
    """The JSON object of `orthoscope gaussian`, for two variances or for a file of two laws.

    Raises:
        ConfigError: with one clear line, if the options describe no pair, or two.
    """
    scalars = dict(zip(_SCALARS, (cond_mean, cond_var, uncond_mean, uncond_var), strict=True))
    given = {name: value for name, value in scalars.items() if value is not None}
    if laws is not None:
        if given:
            raise ConfigError("give either `laws`, or means and variances as numbers, not both")
        return joint_result(laws, strength=strength, schedule=schedule, ode=ode, t_max=t_max, start=start)
    if len(given) < len(_SCALARS):
        missing = ", ".join(f"`{name}`" for name in _SCALARS if name not in given)
        raise ConfigError(f"missing {missing}; give all four numbers, or `laws` with a JSON file of two laws")
    return gaussian_result(**given, strength=strength, schedule=schedule, ode=ode, t_max=t_max, start=start)


def joint_result(
    laws: Path, *, strength: float | None, schedule: str | None, ode: bool, t_max: float | None, start: Start
) -> dict[str, Any]:
    """The JSON object of `orthoscope gaussian --laws`: moments of the guided law beside the other two.

    Raises:
        ConfigError: with one clear line, if the options describe no pair and schedule.
    """
    chosen = make_schedule(strength, schedule)
    if chosen.clock == "step":
        raise ConfigError("two Gaussians have no steps: give the schedule in clock=variance, sigma or logsnr")
    cond, uncond = read_laws(laws)
    horizon = math.inf if t_max is None else t_max
    found = guided_joint(cond, uncond, chosen, lam=0.0 if ode else 1.0, t_max=horizon, start=start)
    spec = {"laws": str(laws), "schedule": to_dict(chosen), "ode": ode, "t_max": t_max, "start": start}
    return {"dim": cond.dim, **_numbers(found), "method": found.method, "orthoscope": __version__, "spec": spec}


def _numbers(found: JointPrediction) -> dict[str, Any]:
    """Plain numbers and lists; what is not finite becomes None."""
    shift = found.mean_shift
    numbers: dict[str, Any] = {"mean_shift_norm": float((shift @ shift) ** 0.5)}
    laws = {"cond": found.cond, "guided": found.guided, "tilted": found.tilted}
    for quantity in ("total_variance", "participation_ratio"):
        for name, law in laws.items():
            numbers[f"{quantity}_{name}"] = getattr(law, quantity) if law is not None else None
    numbers |= {"entropy_change": found.entropy_change, "fisher": found.fisher}
    numbers = {name: value if value is not None and math.isfinite(value) else None for name, value in numbers.items()}
    lists = {"mean": found.guided.mean.tolist(), "mean_shift": shift.tolist()}
    for name, law in laws.items():
        lists[f"eigenvalues_{name}"] = law.eigenvalues.tolist() if law is not None else None
    return numbers | lists
