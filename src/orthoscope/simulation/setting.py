"""What to simulate: one setting, checked before anything is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.sampling.start import Start
from orthoscope.simulation.predictions import make_rate, on_geometric_steps
from orthoscope.targets.ensembles import Ensemble, class_count, mixture_bytes
from orthoscope.targets.streamed import OnFile
from orthoscope.theory import Setting

GRIDS = ("refined", "geometric", "equalized")
_MEMORY_SHARE = 0.8  # of the free memory that modes may take
_PATIENCE = 100  # times the free memory up to which modes can be drawn again at every step within days


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """One setting to simulate; equal fields give equal numbers.

    Attributes:
        dim: Dimension.
        std: Within-class standard deviation.
        schedule: Guidance strength over noise.
        rate: log(classes)/dim; give this or `classes`.
        classes: Number of classes.
        lam: Noise content, 1 (reverse SDE) to 0 (probability-flow ODE).
        t_max: Variance time at which runs start.
        start: `prior` or `exact`.
        ensemble: `gaussian` or `sphere`.
        planted: Use the planted ensemble, which stores no modes.
        modes: Where modes are kept: `memory`; `regenerated`, which draws them anew for every evaluation; or a .npy
            file of centroids, one per row and class.
        samples: Trajectories per draw.
        draws: Draws of the modes.
        steps: Steps of the grid.
        grid: `refined`, `geometric` or `equalized`.
        order: 1 or 2.
        seed: Root seed.
        device: Torch device.
        dtype: `float32` or `float64`.
        tolerance: What may be spent on reading fewer modes; 0 reads them all. Reverse SDE: total variation distance
            from the law of samples. Otherwise: error of a posterior mean, in units of sqrt(dim).
    """

    dim: int
    std: float
    schedule: GuidanceSchedule
    rate: float | None = None
    classes: int | None = None
    lam: float = 1.0
    t_max: float = 50.0
    start: Start = "prior"
    ensemble: Ensemble = "gaussian"
    planted: bool = False
    modes: str = "memory"
    samples: int = 512
    draws: int = 4
    steps: int = 30
    grid: str = "refined"
    order: int = 2
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        """Reject what cannot be run, before anything is computed."""
        for name, least in (("dim", 1), ("samples", 8), ("draws", 1), ("steps", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not (math.isfinite(self.t_max) and self.t_max > 0):
            raise ConfigError(f"t_max must be finite and > 0 to simulate, got {self.t_max}")
        if self.grid not in GRIDS:
            raise unknown("grid", self.grid, GRIDS)
        if self.dtype not in ("float32", "float64"):
            raise unknown("dtype", self.dtype, ("float32", "float64"))
        if not 0 <= self.tolerance < 1:
            raise ConfigError(f"the tolerance must lie in [0, 1), got {self.tolerance}")
        if self.planted and self.ensemble != "gaussian":
            raise ConfigError("the planted ensemble averages Gaussian centroids; use it without --ensemble sphere")
        self.setting  # noqa: B018 - validates what theory and simulation share
        self._check_modes()
        self.log_classes  # noqa: B018 - validates the number of classes
        try:
            torch.zeros(1, device=self.device).item()
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ConfigError(f"device {self.device!r} cannot be used: {str(error).splitlines()[0]}") from error

    @property
    def torch_dtype(self) -> torch.dtype:
        """The floating-point type as torch knows it."""
        return torch.float64 if self.dtype == "float64" else torch.float32

    @property
    def log_classes(self) -> float:
        """log(M): exact for the planted ensemble, of a whole number of classes otherwise."""
        if self.planted and self.rate is not None:
            return self.rate * self.dim
        return math.log(class_count(self.dim, rate=self.rate, classes=self.classes))

    @property
    def setting(self) -> Setting:
        """What the theory needs to know, for the same time and start, in infinite dimension."""
        schedule = self.schedule
        if schedule.clock == "step":
            schedule = on_geometric_steps(schedule, self.std, self.t_max, self.steps)
        return Setting(
            rate=make_rate(self.rate, self.classes, self.dim),
            std=self.std,
            schedule=schedule,
            t_max=self.t_max,
            start=self.start,
            lam=self.lam,
            ensemble=self.ensemble,
        )

    def _check_modes(self) -> None:
        if self.planted and self.modes != "memory":
            raise ConfigError(f"the planted ensemble keeps no modes; use it without --modes {self.modes}")
        if not self.planted and self.modes == "memory":
            self._check_memory()
        if self.modes in ("memory", "regenerated"):
            return
        if not self.modes.endswith(".npy"):
            raise unknown("place for modes", self.modes, ("memory", "regenerated", "FILE.npy"))
        if self.draws != 1:
            raise ConfigError(f"modes on file are not drawn anew: use --draws 1, got {self.draws}")
        source, wanted = OnFile(path=Path(self.modes)), round(math.exp(self.log_classes))
        if (source.modes, source.dim) != (wanted, self.dim):
            raise ConfigError(
                f"{self.modes} holds {source.modes} modes of dimension {source.dim}, got {wanted} classes and dim "
                f"{self.dim}; give --classes {source.modes} --dim {source.dim}"
            )

    def _check_memory(self) -> None:
        rate = self.setting.rate
        need, have = mixture_bytes(self.dim, rate * self.dim, self.torch_dtype), available_memory()
        if need > _MEMORY_SHARE * have:
            slow = "--modes regenerated, which draws them again at every step, or " if need < _PATIENCE * have else ""
            raise ConfigError(
                f"exp(rate * dim) = exp({rate * self.dim:.1f}) modes need {_gib(need)}, and {_gib(have)} are free; "
                f"lower {'--classes' if self.classes else '--rate or --dim'}, or use {slow}--planted, which stores none"
            )


def _gib(amount: float) -> str:
    if amount < 2**70:
        return f"{amount / 2**30:,.1f} GiB"
    return f"10^{math.log10(amount / 2**30):.0f} GiB" if math.isfinite(amount) else "more memory than floats can count"


def available_memory() -> float:
    """Memory in bytes that can be used without swapping; infinite where the system does not tell."""
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return float(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return math.inf
