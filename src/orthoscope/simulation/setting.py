"""What to simulate: a setting, how it is computed and how much of it, checked before anything is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from orthoscope.checks import MEMORY_SHARE, MOST_COUNT, MOST_STEPS, available_memory, check_memory, gib, real, whole
from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.rules import Renoised
from orthoscope.guidance.rules.given import as_rule
from orthoscope.records import Record
from orthoscope.settings import Setting, rule_name
from orthoscope.targets.ensembles import class_count, mixture_bytes
from orthoscope.targets.streamed import OnFile

PLACES = ("memory", "planted", "regenerated", "FILE.npy")  # of modes
GRIDS = ("refined", "geometric", "equalized")
_DTYPES = {"float32": torch.float32, "float64": torch.float64}
_STATES = 4  # arrays of the size of all states that a step holds
_PATIENCE = 100  # times the free memory up to which modes can be drawn again at every step within days


@dataclass(frozen=True, slots=True, kw_only=True)
class Numerics(Record):
    """How a run is computed.

    Attributes:
        steps: Steps of the grid.
        grid: `refined`, `geometric` or `equalized`.
        order: Order of the steps, 1 or 2.
        tolerance: What may be spent on reading fewer modes; 0 reads them all. Reverse SDE: total variation distance
            from the law of samples. Otherwise: error of a posterior mean, in units of sqrt(dim).
        dtype: `float32` or `float64`, also as torch or numpy name it.
        device: Torch device.
    """

    steps: int = 30
    grid: str = "refined"
    order: int = 2
    tolerance: float = 0.0
    dtype: str | Any = "float32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Reject what cannot be run."""
        object.__setattr__(self, "steps", whole("steps", self.steps, 1, MOST_STEPS))
        object.__setattr__(self, "dtype", str(getattr(self.dtype, "__name__", self.dtype)).removeprefix("torch."))
        if self.grid not in GRIDS:
            raise unknown("grid", self.grid, GRIDS, field="grid")
        if self.order not in (1, 2):
            raise ConfigError(f"`order` must be 1 or 2, got {self.order}", field="order")
        if self.dtype not in _DTYPES:
            raise unknown("dtype", self.dtype, _DTYPES, field="dtype")
        if not 0 <= real("tolerance", self.tolerance) < 1:
            raise ConfigError(f"the `tolerance` must lie in [0, 1), got {self.tolerance}", field="tolerance")
        try:
            torch.zeros(1, device=self.device).item()
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            reason = str(error).splitlines()[0].partition(":")[0]
            raise ConfigError(f"device {self.device!r} cannot be used: {reason}", field="device") from error

    @property
    def torch_dtype(self) -> torch.dtype:
        """The floating-point type as torch knows it."""
        return _DTYPES[self.dtype]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget(Record):
    """How much is sampled.

    Attributes:
        samples: Trajectories per draw.
        draws: Draws of the modes.
        seed: Root seed.
    """

    samples: int = 512
    draws: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject what has no standard error."""
        for name, bounds in (("samples", (8,)), ("draws", (1, MOST_COUNT)), ("seed", ())):
            object.__setattr__(self, name, whole(name, getattr(self, name), *bounds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation(Record):
    """One setting to simulate; equal fields give equal numbers.

    Attributes:
        setting: What is sampled, in a dimension and from a finite time on.
        modes: Where modes are kept: `memory`; `planted`, which averages all but the own and stores none; `regenerated`,
            which draws them anew for every evaluation; or a .npy file of centroids, one per row and class.
        numerics: How it is computed.
        budget: How much is sampled.
    """

    setting: Setting
    modes: str = "memory"
    numerics: Numerics = field(default_factory=Numerics)
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        """Reject what cannot be run, before anything is computed."""
        if self.setting.rule is not None:
            object.__setattr__(self, "setting", replace(self.setting, rule=as_rule(self.setting.rule)))
            self._check_rule()
        setting = self.setting
        if setting.dim is None:
            raise ConfigError("`dim` is needed to simulate", field="dim")
        if not math.isfinite(setting.t_max):
            raise ConfigError(f"`t_max` must be finite to simulate, got {setting.t_max}", field="t_max")
        if self.planted and setting.law.ensemble != "gaussian":
            raise ConfigError(
                "the planted ensemble averages Gaussian centroids; use it with `ensemble` gaussian",
                field=("planted", "modes", "ensemble"),
            )
        if self.modes == "memory":
            self._check_memory()
        self.log_classes  # noqa: B018 - validates the number of classes
        if self.modes not in ("memory", "planted", "regenerated"):
            self._check_file()
        check_states(self.budget.samples, self.dim, self.numerics.torch_dtype, "samples")

    @property
    def dim(self) -> int:
        """Dimension."""
        assert self.setting.dim is not None
        return self.setting.dim

    @property
    def planted(self) -> bool:
        """Whether the other modes are averaged."""
        return self.modes == "planted"

    @property
    def bends(self) -> bool:
        """Whether the rule is not linear, so that the width of the modes cannot be counted as noise."""
        return self.setting.rule is not None and not self.setting.rule.is_linear

    @property
    def log_classes(self) -> float:
        """log(M): exact for the planted ensemble, of a whole number of classes otherwise."""
        law = self.setting.law
        if self.planted and law.rate is not None:
            return law.rate * self.dim
        return math.log(class_count(self.dim, rate=law.rate, classes=law.classes))

    @property
    def numbers_read(self) -> float:
        """Numbers that one evaluation reads: rows times modes times dimension; the planted ensemble has one mode."""
        modes = 0.0 if self.planted else min(self.log_classes, 700.0)
        return self.budget.samples * self.dim * math.exp(modes)

    @property
    def finite_dim(self) -> Setting:
        """What theory is asked for in the same dimension."""
        return self.setting.timed(self.numerics.steps)

    @property
    def mean_field(self) -> Setting:
        """What theory is asked for at the same rate in infinite dimension."""
        return self.finite_dim.limit()

    def planted_version(self) -> Simulation:
        """The same with all modes but the own averaged, at the rate that its whole number of classes has."""
        law = replace(self.setting.law, ensemble="gaussian", rate=self.log_classes / self.dim, classes=None)
        return replace(self, modes="planted", setting=replace(self.setting, law=law))

    def _check_rule(self) -> None:
        """Reject a rule that needs more than a simulation has, and what rests on a linear one."""
        rule, name = self.setting.rule, rule_name(self.setting.rule)
        if rule is None:
            return
        if further := sorted(set(rule.needs) - {"cond", "uncond"}):
            raise ConfigError(
                f"a simulation predicts cond and uncond; the `rule` {name} also needs {', '.join(further)}",
                field="rule",
            )
        if self.numerics.tolerance and not isinstance(rule, Renoised):
            raise ConfigError(
                f"a `tolerance` rests on the odds of a class under linear guidance; use 0 with the `rule` {name}",
                field=("tolerance", "rule"),
            )

    def _check_file(self) -> None:
        if not (isinstance(self.modes, str) and self.modes.endswith(".npy")):
            raise unknown(
                "place for modes", self.modes, ("memory", "planted", "regenerated", "FILE.npy"), field="modes"
            )
        if self.budget.draws != 1:
            raise ConfigError(
                f"modes on file are not drawn anew: use `draws` 1, got {self.budget.draws}", field="draws"
            )
        source, wanted = OnFile(path=Path(self.modes)), round(math.exp(self.log_classes))
        if (source.modes, source.dim) != (wanted, self.dim):
            raise ConfigError(
                f"{self.modes} holds {source.modes} modes of dimension {source.dim}, got {wanted} classes and dim "
                f"{self.dim}; give `classes` {source.modes} and `dim` {source.dim}",
                field="classes",
            )

    def _check_memory(self) -> None:
        rate, fields = self.setting.rate, ("classes",) if self.setting.law.classes else ("rate", "dim")
        need, have = mixture_bytes(self.dim, rate * self.dim, self.numerics.torch_dtype), available_memory()
        if need > MEMORY_SHARE * have:
            slow = "`modes` regenerated, which draws them again at every step, or " if need < _PATIENCE * have else ""
            raise ConfigError(
                f"exp(rate * dim) = exp({rate * self.dim:.1f}) modes need {gib(need)}, and {gib(have)} are free; "
                f"lower {' or '.join(f'`{name}`' for name in fields)}, or use {slow}`modes` planted, which stores none",
                field=fields,
            )


def check_states(samples: int, dim: int, dtype: torch.dtype, name: str) -> None:
    """Refuse states that do not fit into memory.

    Raises:
        ConfigError: naming the number of samples as the caller calls it.
    """
    states = f"{float(samples):.3g} samples in {float(dim):.3g} dimensions"
    check_memory(states, float(samples) * dim * dtype.itemsize * _STATES, name, "dim")
