r"""Two classes, sampled under guidance: where samples end, with exact and with imperfect scores.

The class that is asked for is the right one of two: N(+-1, 1), or uniform on [1, 2] and [-2, -1]. In d dimensions the
Gaussian classes are N(+-m, I) with m = (1, ..., 1), so that |m| = sqrt(d); what is recorded of a state is its component
along m. A run starts from N(0, I) in the variance-preserving state, or from the noised class, and stops at the noise
`sigma_end`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from scipy.special import ndtri
from torch import Tensor

from orthoscope import rng
from orthoscope.checks import MOST_STEPS, whole
from orthoscope.datasets import dataset
from orthoscope.denoise import (
    Biased,
    Denoiser,
    ExactDenoiser,
    FixedLabel,
    MissingPullback,
    Pullback,
)
from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.guided import Guided
from orthoscope.guidance.schedules import Constant
from orthoscope.laws import STARTS, Start
from orthoscope.numerics import Array
from orthoscope.process import OrnsteinUhlenbeck
from orthoscope.progress import Progress
from orthoscope.sampling import Exponential, Grid, IndependentNoise, State, geometric, sample, start
from orthoscope.sweeps.points import HERE, Points
from orthoscope.targets import Target, mixture
from orthoscope.targets.blend import blend
from orthoscope.targets.intervals import box
from orthoscope.theory.two_class import (
    CENTER,
    SUPPORT,
    Law,
    check_law,
    check_strength,
    tilted_density,
)
from orthoscope.threads import one_thread
from orthoscope.typing import Rows, Vector

ErrorKind = Literal["bounded", "missing-pullback"]
ERROR_KINDS: tuple[ErrorKind, ...] = ("bounded", "missing-pullback")
PATHS = 9  # starts whose paths are kept, at even quantiles; the middle one is 0
_STRONGEST, _LEAST_NOISE, _LATEST = 1e6, 1e-8, 1e12  # beyond them rounding decides where paths end
_MOST_NUMBERS = 50_000_000
_RIGHT = 0  # label of the class that is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoClass:
    """One setting.

    Attributes:
        law: `gaussian` or `uniform`.
        strength: Guidance strength, from -1 to 1e6.
        lam: 0 for the probability-flow ODE, 1 for the reverse SDE.
        score_error: Size of an error of the score of the variance-preserving state; None for exact scores.
        error_kind: `bounded`: the conditional score is off by a constant. `missing-pullback`: both scores are 0 far
            outside the support, so far out that the root mean square over the noised law is the size.
        samples: Trajectories.
        steps: Steps of the sampler.
        sigma_end: Noise standard deviation at which the uniform law's runs stop; the Gaussian ones run to 0.
        t_max: Variance time of the start.
        start: `prior`, the standard normal law, or `exact`, the noised class.
        dim: Dimension; of Gaussian classes only.
        seed: Root seed.
    """

    name: str = field(default="two-class", init=False)
    law: Law
    strength: float
    lam: float = 0.0
    score_error: float | None = None
    error_kind: ErrorKind = "bounded"
    samples: int = 2000
    steps: int = 200
    sigma_end: float = 0.0045
    t_max: float = 1e10
    start: Start = "prior"
    dim: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject what cannot be run."""
        check_law(self.law)
        check_strength(self.strength)
        if self.strength > _STRONGEST:
            raise ConfigError(
                f"strength must be at most {_STRONGEST:g} for paths to be followed, got {self.strength:g}"
            )
        if self.error_kind not in ERROR_KINDS:
            raise unknown("kind of score error", self.error_kind, ERROR_KINDS)
        if self.score_error is not None and not (math.isfinite(self.score_error) and self.score_error > 0):
            raise ConfigError(f"the size of a score error must be finite and > 0, got {self.score_error:g}")
        if self.score_error is not None and self.error_kind == "missing-pullback" and self.law == "gaussian":
            raise ConfigError("a missing pull-back needs a law with a support that ends: use the uniform law")
        whole("samples", self.samples, 2)  # to have a standard error
        whole("steps", self.steps, 1, MOST_STEPS)
        whole("seed", self.seed)
        if not _LEAST_NOISE <= self.sigma_end < 1:
            raise ConfigError(f"sigma_end must lie between {_LEAST_NOISE:g} and 1, got {self.sigma_end:g}")
        least = self.sigma_end**2 if self.law == "uniform" else 0.0
        if not least < self.t_max <= _LATEST:
            raise ConfigError(f"t_max must be above {least:g} and at most {_LATEST:g}, got {self.t_max:g}")
        if self.start not in STARTS:
            raise unknown("start", self.start, STARTS)
        if self.dim < 1 or (self.dim > 1 and self.law == "uniform"):
            raise ConfigError(
                f"expected a dimension of 1 or more, and of 1 for the uniform law, whose classes are intervals on a "
                f"line; got {self.dim} for the {self.law} law"
            )
        if self.samples * self.dim > _MOST_NUMBERS:
            raise ConfigError(
                f"samples * dim must be at most {_MOST_NUMBERS:,} to be held in memory, got "
                f"{self.samples} * {self.dim}; lower `samples` or `dim`"
            )

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Samples of the guided class, and paths of the probability flow from even quantiles of the start."""
        tick = counter(points.progress, (self.steps + 1) * (2 if self.lam > 0 else 1))
        starts = torch.from_numpy(ndtri((np.arange(PATHS) + 0.5) / PATHS))[:, None]
        along = starts * self._axis()
        with one_thread():
            # The flow carries samples and paths at once; the reverse SDE does not draw the paths.
            first = along if self.lam > 0 else torch.cat([along, self._starts()])
            ends, states = self.follow(self.guided(), first, tick=tick)
            samples = ends[PATHS:]
            if self.lam > 0:
                samples = self.sampled(tick)
        paths, ends = states[:, :PATHS], ends[:PATHS]
        times = self.grid().times
        variables: dict[str, tuple[list[str], Any]] = {
            "sample": (["row"], samples),
            "path": (["time", "start"], paths),
            "path_end": (["start"], ends),
        }
        line = np.linspace(min(samples.min(), -0.5), max(samples.max(), math.sqrt(self.dim) + 1.5), 801)
        variables["conditional"] = (["x"], tilted_density(line, self.law, 0.0, dim=self.dim))
        variables["tilted"] = (["x"], tilted_density(line, self.law, self.strength, dim=self.dim))
        coords = {"time": list(times), "start": starts[:, 0].numpy(), "x": line}
        low, high = SUPPORT
        attrs = {
            "law": self.law,
            "strength": self.strength,
            "lam": self.lam,
            "sigma_end": self.sigma_end,
            "t_max": self.t_max,
            "start": self.start,
            "dim": self.dim,
            "score_error": self.score_error or 0.0,
            "supports": [low, high, -high, -low] if self.law == "uniform" else [],
        }
        return dataset(variables, coords=coords, spec=self, **attrs)

    def sampled(self, tick: Callable[[], None] | None = None) -> Array:
        """Where the samples end, without the paths of the probability flow."""
        return self.follow(self.guided(), self._starts(), lam=self.lam, tick=tick)[0]

    def summarize(self, found: xr.Dataset) -> Mapping[str, Any]:
        """What a run found, as plain values."""
        from orthoscope.experiments.two_class_measures import plain

        return plain(found)

    def grid(self) -> Grid:
        """Even in the log of the noise that the denoiser sees."""
        _, offset = two_class_law(self.law).absorbed()
        end = self.sigma_end**2 if self.law == "uniform" else 0.0
        return geometric(OrnsteinUhlenbeck(offset=offset), self.t_max, self.steps, end=end)

    def guided(self) -> Guided:
        """The guided denoiser, as imperfect as asked for."""
        narrow, _ = two_class_law(self.law, self.dim).absorbed()
        cond: Denoiser = ExactDenoiser(narrow)
        uncond = cond
        if self.score_error is not None and self.error_kind == "bounded":
            cond = Biased(denoiser=cond, error=self.score_error * self._axis())
        elif self.score_error is not None:
            edge = SUPPORT[1]
            reach = Pullback(law=narrow, lower=-edge, upper=edge, size=self.score_error)
            cond = uncond = MissingPullback(denoiser=cond, lower=_line(-edge), upper=_line(edge), reach=reach)
        return Guided(main=cond, reference=FixedLabel(uncond), schedule=Constant(value=self.strength))

    def _starts(self) -> Rows:
        law = two_class_law(self.law, self.dim).conditional(_RIGHT)
        x = start(self.start, law, self.grid().levels[0], self._streams("start"), prior_variance=1.0)
        return x / math.sqrt(1 + self.t_max)

    def _axis(self) -> Vector:
        """Unit vector from one class mean to the other."""
        return torch.full((self.dim,), self.dim**-0.5, dtype=torch.float64)

    def _streams(self, name: str) -> list[np.random.Generator]:
        return rng.row_streams(self.seed, "two-class", name, rows=range(self.samples))

    def follow(
        self, denoiser: Denoiser, starts: Rows, *, lam: float = 0.0, tick: Callable[[], None] | None = None
    ) -> tuple[Array, Array]:
        """Ends of paths from given variance-preserving states, and the states at every level, along the axis."""
        x, axis = math.sqrt(1 + self.t_max) * starts, self._axis()

        def observe(state: State) -> Array:
            if tick is not None:
                tick()
            return float(state.level.alpha) * (state.x @ axis).numpy(force=True)

        run = sample(
            denoiser,
            x,
            self.grid(),
            step=Exponential(lam=lam),
            noise=IndependentNoise(self._streams("trajectory"), (self.dim,), like=x) if lam > 0 else None,
            label=_RIGHT,
            observe=observe,
        )
        return (run.x @ axis).numpy(force=True), np.stack(run.observed)


def _line(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


def counter(progress: Progress | None, total: int) -> Callable[[], None]:
    """A function that counts how often it is called, and tells."""
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return tick


def two_class_law(law: Law, dim: int = 1) -> Target:
    """The target of that name in float64, label 0 on the right and 1 on the left."""
    if law == "gaussian":
        center = torch.full((dim,), CENTER, dtype=torch.float64)
        return mixture(torch.stack([center, -center]), std=1.0)
    low, high = SUPPORT
    return blend([box(_line(low), _line(high)), box(_line(-high), _line(-low))])
