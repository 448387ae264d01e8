"""Two Gaussians under guidance, by four numbers or by a file of two laws with any covariances. No torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orthoscope import __version__
from orthoscope.errors import ConfigError, OrthoscopeError, unknown
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.laws import Start
from orthoscope.reading import read_json
from orthoscope.serialize import to_dict
from orthoscope.theory import guided_gaussian
from orthoscope.theory.joint import GaussianLaw, JointPrediction, gaussian_law, guided_joint

if TYPE_CHECKING:
    import xarray as xr

    from orthoscope.sweeps.points import Points

_KEYS = ("mean", "cov", "factor", "diag")
_MOMENTS = ("cond_mean", "cond_var", "uncond_mean", "uncond_var")
_PREDICTED = ("mean", "mean_shift", "variance", "log_variance", "tilted_mean", "tilted_variance", "fisher")


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianStudy:
    """A pair of Gaussians under guidance, beside the tilted law that guidance does not sample.

    Attributes:
        schedule: Guidance strength.
        cond_mean: Mean of the conditional law.
        cond_var: Its variance.
        uncond_mean: Mean of the unconditional law.
        uncond_var: Its variance.
        laws: JSON file of two laws with any covariances, instead of the four numbers.
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE.
        t_max: Variance time of the start.
        start: `prior` or `exact`.
    """

    name: str = field(default="gaussian", init=False)
    schedule: GuidanceSchedule
    cond_mean: float | None = None
    cond_var: float | None = None
    uncond_mean: float | None = None
    uncond_var: float | None = None
    laws: str | None = None
    lam: float = 1.0
    t_max: float = math.inf
    start: Start = "prior"

    def __post_init__(self) -> None:
        """Reject what describes no pair, or two, and schedules without noise levels."""
        missing = [name for name in _MOMENTS if getattr(self, name) is None]
        if self.laws is not None and len(missing) < len(_MOMENTS):
            raise ConfigError("give either `laws`, or means and variances as numbers, not both")
        if self.laws is None and missing:
            named = ", ".join(f"`{name}`" for name in missing)
            raise ConfigError(f"missing {named}; give all four numbers, or `laws` with a JSON file of two laws")
        if self.schedule.clock == "step":
            raise ConfigError("two Gaussians have no steps: give the schedule in clock=variance, sigma or logsnr")

    def numbers(self) -> dict[str, Any]:
        """The JSON object of `orthoscope gaussian`."""
        run: dict[str, Any] = {"lam": self.lam, "t_max": self.t_max, "start": self.start}
        told = {"orthoscope": __version__, "spec": to_dict(self)}
        if self.laws is not None:
            cond, uncond = read_laws(Path(self.laws))
            joint = guided_joint(cond, uncond, self.schedule, **run)
            return {"dim": cond.dim, **_joint_numbers(joint), "method": joint.method, **told}
        pair: dict[str, Any] = {name: getattr(self, name) for name in _MOMENTS}
        found = guided_gaussian(**pair, strength=self.schedule, **run)
        numbers = {name: float(getattr(found, name)) for name in _PREDICTED}
        finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        return {**finite, "diagnosis": _beyond_range(numbers), **told}

    def run(self, points: Points | None = None) -> xr.Dataset:
        """The numbers as a dataset."""
        from orthoscope.datasets import labelled

        return labelled(self.numbers(), spec=self)


def _beyond_range(numbers: dict[str, float]) -> str:
    """Which numbers floating point cannot hold, or `none`."""
    lost = [name for name in ("mean", "variance", "fisher") if math.isinf(numbers[name])]
    remarks = []
    if lost:
        remarks.append(f"beyond the range of floating point: the guided {' and '.join(lost)}")
    if numbers["variance"] == 0:
        remarks.append("below the range of floating point: the guided variance, of which there is log_variance")
    return "; ".join(remarks) or "none"


def _joint_numbers(found: JointPrediction) -> dict[str, Any]:
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
