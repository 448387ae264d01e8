"""How the options of the command `design` become a problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthoscope.checks import real
from orthoscope.designs.check import Verification
from orthoscope.designs.data import DataLaw
from orthoscope.designs.data_design import DataProblem, run_data_design
from orthoscope.designs.optimization import Goal, Margin, MixtureLaw, SpectrumLaw
from orthoscope.designs.run import DesignProblem, Report, run_design
from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.texts import number
from orthoscope.laws import Start
from orthoscope.progress import Remark
from orthoscope.reading import read_json

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
    return Margin(strength=STANDARD.strength if strength is None else real("margin_strength", strength), switch=share)


@dataclass(frozen=True, slots=True, kw_only=True)
class LawOptions:
    """A law in the words of the options, of which those of one law are given.

    Attributes:
        rate: Class rate of a random mixture.
        std: Its within-class standard deviation.
        dim: Its dimension; None for the limit of infinitely many.
        spectrum: File of two Gaussians.
        cond_var: Variances of the conditional Gaussian by direction.
        uncond_var: Variances of the unconditional Gaussian by direction.
        gap: Distances of their means by direction.
        data: A data set: its name, a file, labelled modes, or what `DataLaw` takes beside these.
        label: The class of it to design for.
    """

    rate: float | None = None
    std: float | None = None
    dim: int | None = None
    spectrum: Path | None = None
    cond_var: Sequence[float] | None = None
    uncond_var: Sequence[float] | None = None
    gap: Sequence[float] | None = None
    data: Any = None
    label: int | None = None

    def law(self, *, t_max: float | None, start: Start | None, lam: float) -> MixtureLaw | SpectrumLaw | DataLaw:
        """The law, run from its usual start unless told otherwise.

        Raises:
            ConfigError: with one clear line, if the options describe none, or more than one.
        """
        is_mixture = self.rate is not None or self.std is not None
        is_spectrum = self.spectrum is not None or bool(self.cond_var or self.uncond_var or self.gap)
        if sum((is_mixture, is_spectrum, self.data is not None)) != 1:
            raise ConfigError(f"give one law: {_LAWS}")
        if self.label is not None and self.data is None:
            raise ConfigError("`label` belongs to the law of `data`; leave it out", field="label")
        if self.dim is not None and not is_mixture:
            raise ConfigError("`dim` belongs to the law of `rate` and `std`; leave it out", field="dim")
        usual = (T_MAX, "prior") if self.data is None else (DATA_T_MAX, "exact")
        begin = {"t_max": usual[0] if t_max is None else t_max, "start": usual[1] if start is None else start}
        run: dict[str, Any] = {**begin, "lam": lam}
        if self.data is not None:
            if self.label is None:
                raise ConfigError("`data` needs `label`, the class to design for", field="label")
            return DataLaw(source=self.data, label=self.label, **run)
        return self._mixture(run) if is_mixture else self._spectrum(run)

    def _mixture(self, run: dict[str, Any]) -> MixtureLaw:
        if self.rate is None or self.std is None:
            raise ConfigError("a random mixture needs both `rate` and `std`", field=("rate", "std"))
        return MixtureLaw(rate=self.rate, std=self.std, dim=self.dim, **run)

    def _spectrum(self, run: dict[str, Any]) -> SpectrumLaw:
        if self.spectrum is not None:
            if self.cond_var or self.uncond_var or self.gap:
                raise ConfigError("give either `spectrum` or `cond_var`, `uncond_var` and `gap`, not both")
            return read_spectrum(self.spectrum, run)
        if not self.cond_var or not self.uncond_var:
            raise ConfigError("two Gaussians need both `cond_var` and `uncond_var`, once per direction")
        distance = list(self.gap) if self.gap else [1.0] * len(self.cond_var)
        if not len(self.cond_var) == len(self.uncond_var) == len(distance):
            raise ConfigError(
                f"expected as many `cond_var` as `uncond_var` and `gap`, got {len(self.cond_var)}, "
                f"{len(self.uncond_var)} and {len(distance)}"
            )
        return SpectrumLaw(
            cond_mean=distance,
            cond_var=list(self.cond_var),
            uncond_mean=[0.0] * len(distance),
            uncond_var=list(self.uncond_var),
            **run,
        )


def make_problem(
    law: MixtureLaw | SpectrumLaw | DataLaw, goal: Goal, *, simulate: bool, samples: int | None, seed: int, front: bool
) -> DesignProblem | DataProblem:
    """What to design, and how to verify it.

    Raises:
        ConfigError: if a data set, which has no theory, is to do without samples or show a front.
    """
    counts = {} if samples is None else {"samples": samples}
    if isinstance(law, DataLaw):
        if not simulate or front:
            raise ConfigError("a data set has no theory: leave out `no_simulate` and `front`")
        return DataProblem(law=law, goal=goal, seed=seed, **counts)
    budget = Verification(seed=seed, **counts) if simulate else None
    return DesignProblem(law=law, goal=goal, budget=budget, front=front)


def design_report(problem: DesignProblem | DataProblem, say: Remark) -> Report:
    """Solve either kind of problem."""
    return run_design(problem, say) if isinstance(problem, DesignProblem) else run_data_design(problem, say)


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
