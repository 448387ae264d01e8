r"""Classes on a curved manifold: does speciation survive, and which dimension does the class rate count?

Modes lie at $f(z)$ with $z$ in $k$ dimensions and $f$ a fixed random network into $d$. Several $d$, $k/d$ and numbers
of classes are sampled with exact scores; with $k = d$ the modes are plain Gaussian, the case that theory covers. The
speciation time of a draw is where the mean posterior of the own class, along exact paths, crosses one half. Candidate
rates are then judged by how well they collapse what was measured:

- `ambient`, $\log(M)/d$, and `intrinsic`, $\log(M)/k$;
- `subspace`: as if the modes filled a flat $k$-dimensional subspace evenly;
- `spectrum`: as if they were Gaussian with the covariance that they have;
- `capacity`: no approximation at all; classes are a code, told apart once $\log M$ fits the information
  $I(x_0; x_t)$ that a point of the manifold keeps through the noise, which is measured.

The last three are made comparable with a rate by $\tfrac12\log(1 + 1/v)$, what flat space would have at the variance
$v$ at which they predict unguided speciation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from orthoscope import rng
from orthoscope.datasets import dataset, estimates
from orthoscope.denoise import OwnMode
from orthoscope.errors import ConfigError
from orthoscope.experiments.capacity import crossing, descent, flat_rate, information, spectral_variance, subspace
from orthoscope.experiments.collapse import Collapse, collapses, theory_errors
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.schedules import Constant
from orthoscope.metrics import mean_of
from orthoscope.metrics.modes import own_posterior
from orthoscope.process import VarianceExploding
from orthoscope.quantities import Estimate, pool
from orthoscope.sampling import IndependentNoise, Run, State, geometric, sample
from orthoscope.sweeps.points import HERE, Points
from orthoscope.targets import Mixture, random_mixture
from orthoscope.targets.structured import manifold_mixture, random_manifold
from orthoscope.theory.constant import distortion
from orthoscope.theory.spectrum import SpectralPrediction, predict_spectrum

FloatArray = NDArray[np.float64]
POINT = ("dim", "latent_dim", "fraction", "log_classes")
CANDIDATES = ("ambient", "intrinsic", "subspace", "spectrum", "capacity")
THEORIES = ("flat_ambient", "flat_intrinsic", "subspace", "spectrum")
_CAPACITY_LEVELS = 12
_FEWEST = 3  # points that a parabola goes through
_LEAST_VARIANCE = 1e-3  # at which the capacity is measured

Record = dict[str, Any]
_CURVE = (0.05, 2.5, 60)  # lowest and highest rate of the flat curves, and how many


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifoldStudy:
    """Speciation and distortion of classes on a random manifold.

    Attributes:
        dims: Ambient dimensions d.
        fractions: k/d; 1 is the control, Gaussian modes in flat space.
        log_classes: log(M), the same for every dimension.
        strengths: Constant strengths, ascending: 0, a very weak one for the linear response, others.
        std: Within-class standard deviation, in the ambient space.
        gain: Curvature of the network; 0 makes flat subspaces.
        t_max: Variance time of the start, from the exact noised class.
        classes: Classes sampled per draw.
        replicates: Trajectories per class; the variance is that between them.
        draws: Draws of the network and of the modes.
        steps: Steps.
        codewords: Points of the manifold from which its capacity is measured.
        seed: Root seed.
    """

    name: str = field(default="manifold", init=False)
    dims: tuple[int, ...] = (16, 32, 64)
    fractions: tuple[float, ...] = (0.25, 0.5, 1.0)
    log_classes: tuple[float, ...] = (4.5, 6.0, 7.5, 9.0)
    strengths: tuple[float, ...] = (0.0, 0.01, 1.0, 3.0)
    std: float = 0.3
    gain: float = 3.0
    t_max: float = 500.0
    classes: int = 48
    replicates: int = 2
    draws: int = 8
    steps: int = 40
    codewords: int = 1 << 16
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject settings of which nothing can be learned."""
        if len(self.strengths) < 2 or self.strengths[0] != 0 or list(self.strengths) != sorted(set(self.strengths)):
            raise ConfigError(f"expected at least 2 ascending strengths of which the first is 0, got {self.strengths}")
        if self.draws < 2 or self.replicates < 2 or self.classes < 2:
            raise ConfigError("draws, replicates and classes must each be at least 2 to have errors and variances")
        if not all(0 < fraction <= 1 for fraction in self.fractions):
            raise ConfigError(f"fractions k/d must lie in (0, 1], got {self.fractions}")

    @classmethod
    def quick(cls) -> ManifoldStudy:
        """A reduced version."""
        return cls(dims=(16, 32), log_classes=(4.0, 6.0), strengths=(0.0, 0.01, 2.0), draws=3, classes=24, steps=24,
                   codewords=1 << 13)  # fmt: skip

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Sample every point and draw, and lay the theories beside them."""
        cells = [(dim, max(1, round(fraction * dim))) for dim in self.dims for fraction in self.fractions]
        drawn = points.each(self._draw, [(*cell, draw) for cell, draw in product(cells, range(self.draws))])
        places = [(dim, latent_dim, latent_dim / dim, size) for dim, latent_dim in cells for size in self.log_classes]
        variables: dict[str, Any] = {
            f"point_{name}": (["point"], column) for name, column in zip(POINT, zip(*places, strict=True), strict=True)
        }
        for name, value in drawn[0][0].items():
            stacked = np.array([[record[name] for record in one] for one in drawn])  # cell and draw, size, strength
            stacked = np.moveaxis(stacked.reshape(len(cells), self.draws, *stacked.shape[1:]), 1, -1)
            stacked = stacked.reshape(len(places), -1, self.draws)  # point, strength, draw
            if isinstance(value, float):
                variables |= self._summary(name, ["point", "draw"], stacked[:, 0])
            else:
                variables |= self._summary(name, ["point", "strength", "draw"], stacked)
        rates = np.geomspace(*_CURVE)
        flat = distortion(rates[:, None], self.std, np.array(self.strengths))
        variables["flat_variance"] = (["rate"], 1 / np.expm1(2 * rates))
        variables["flat_mean_shift"] = (["rate", "strength"], flat.mean_shift)
        coords = {"strength": self.strengths, "draw": range(self.draws), "rate": rates}
        return dataset(variables, coords=coords, spec=self, std=self.std, gain=self.gain)

    def _draw(self, dim: int, latent_dim: int, draw: int) -> list[Record]:
        """One network and, for each number of classes, one set of modes: a number, or one per strength, by name."""
        named = ("manifold", dim, latent_dim, draw)
        stream = rng.stream(self.seed, *named)
        manifold = None if latent_dim == dim else random_manifold(dim, latent_dim, gain=self.gain, stream=stream)
        spectrum = np.ones(dim) if manifold is None else manifold.spectrum(stream).numpy()
        variances = np.geomspace(_LEAST_VARIANCE, dim, _CAPACITY_LEVELS)
        told = None if manifold is None else information(manifold, variances, self.codewords, stream)
        records: list[Record] = []
        for size in self.log_classes:
            classes = round(math.exp(size))
            if manifold is None:
                target = random_mixture(dim, std=self.std, stream=stream, classes=classes)
            else:
                target = manifold_mixture(manifold, std=self.std, stream=stream, classes=classes)
            gaussian = spectral_variance(size, spectrum)
            record: Record = {
                "rate_ambient": size / dim,
                "rate_intrinsic": size / latent_dim,
                "rate_subspace": flat_rate(spectral_variance(size, subspace(dim, latent_dim))),
                "rate_spectrum": flat_rate(gaussian),
                "rate_capacity": flat_rate(gaussian if told is None else crossing(np.log(variances), told, size)),
            }
            runs = self._runs(target, (*named, str(size)))
            theories = [self._theories(w, size, spectrum, latent_dim) for w in self.strengths]
            for rows in (runs, theories):
                record |= {name: [row[name] for row in rows] for name in rows[0]}
            records.append(record)
        return records

    def _runs(self, target: Mixture, named: tuple[Any, ...]) -> list[dict[str, float]]:
        """Guided paths of many classes at once, all from the exact noised law of their class, at each strength.

        All strengths see the same noise, so that distortions are differences to the unguided path, which has none.
        """
        narrow, offset = target.narrowed(target.width), target.width
        levels = geometric(VarianceExploding(offset=offset), self.t_max, self.steps)
        rows = self.classes * self.replicates
        labels = torch.arange(rows) // self.replicates % target.size
        own = target.centroids[labels]

        def observe(state: State) -> tuple[float, float]:
            posterior = own_posterior(narrow, state.x, labels, state.level)
            return float(posterior.mean()), float(posterior.log().mean())

        runs: list[Run] = []
        for w in self.strengths:
            streams = rng.row_streams(self.seed, "trajectory", *named, rows=range(rows))
            normal = torch.from_numpy(np.stack([stream.standard_normal(target.dim) for stream in streams])).to(own)
            runs.append(
                sample(
                    classifier_free(OwnMode(narrow), Constant(value=w)),
                    own + math.sqrt(self.t_max + offset) * normal,
                    levels,
                    noise=IndependentNoise(streams, (target.dim,), like=own),
                    label=labels,
                    observe=observe,
                )
            )
        return [self._measure(run, runs[0], own.double().numpy()) for run in runs]

    def _measure(self, run: Run, unguided: Run, own: FloatArray) -> dict[str, float]:
        x, free = run.x.double().numpy(), unguided.x.double().numpy()
        variances = [y.reshape(-1, self.replicates, y.shape[1]).var(1, ddof=1).mean() for y in (x, free)]
        log_v, (posterior, log_posterior) = np.log(np.array(run.grid.times) + self.std**2), np.array(run.observed).T
        early, half, late = (descent(log_v, posterior, share) for share in (0.25, 0.5, 0.75))
        return {
            "speciation_time": math.exp(half) - self.std**2,
            "transition_width": early - late,
            "mean_shift": float(((x - free) * own).sum() / (own**2).sum()),
            "variance_shift": float(variances[0] - variances[1]),
            "class_posterior": float(posterior[-1]),
            "class_information": float(log_posterior[-1] - log_posterior[0]),
            "centroid_square": float((own**2).sum(1).mean()),
        }

    def _summary(self, name: str, dims: Sequence[str], values: FloatArray) -> dict[str, tuple[Sequence[str], Any]]:
        """Every draw, their mean and its standard error."""
        n, spread = self.classes * self.replicates, 0.0 if name == "class_posterior" else None
        pooled = np.empty(values.shape[:-1], dtype=object)
        for cell in np.ndindex(pooled.shape):
            pooled[cell] = pool([Estimate(value=float(v), stderr=0.0, n=n, spread=spread) for v in values[cell]])
        return {f"{name}_draw": (dims, values)} | estimates(name, dims[:-1], pooled)

    def _theories(self, w: float, size: float, spectrum: FloatArray, latent_dim: int) -> dict[str, float]:
        dim = len(spectrum)
        spectra = {
            "flat_ambient": np.ones(dim),
            "flat_intrinsic": np.ones(latent_dim),
            "subspace": subspace(dim, latent_dim),
            "spectrum": spectrum,
        }
        found: dict[str, float] = {}
        for name, values in spectra.items():
            theory = _predicted(size, tuple(values.tolist()), self.std, w)
            time = theory.speciation_time
            found[f"speciation_time_{name}"] = math.nan if time is None else time
            found[f"mean_shift_{name}"] = theory.mean_shift
        return found

    def summarize(self, result: xr.Dataset) -> dict[str, Any]:
        """Whether speciation survives, and which rate collapses what was measured.

        What is collapsed is the logarithm of the speciation variance v = t_s + std^2, or of the mean shift.
        """
        collapse: dict[str, Any] = {}
        theory: dict[str, Any] = {}
        floor: dict[str, Any] = {}  # of finite size alone: the flat control by itself
        control = result["point_fraction"].values == 1
        times, shifts = ("speciation_time", result.attrs["std"] ** 2), ("mean_shift", 0.0)
        rates = {name: result[f"rate_{name}"].values for name in CANDIDATES}
        rates["information"] = (result["class_information"].sel(strength=0.0) / result["point_dim"]).values
        for k, w in enumerate(result["strength"].values):  # the second strength is too weak to move a speciation time
            for name, offset in {0: [times], 1: [shifts]}.get(k, [times, shifts]):
                one, key = result.sel(strength=w), f"{name} at w = {w:g}"
                values = _logs(one[f"{name}_draw"].values + offset)
                collapse[key] = _plain(collapses(values, rates))
                if control.sum() > _FEWEST:
                    floor[key] = _plain(collapses(values[control], {"ambient": rates["ambient"][control]}))["ambient"]
                theories = {t: _logs(one[f"{name}_{t}_draw"].values + offset) for t in THEORIES}
                theory[key] = _plain(theory_errors(values, theories))
        fractions = np.unique(result["point_fraction"])
        return {
            "transition": [_transition(result, fraction) for fraction in fractions],
            "effective_dimension": [_dimension(result, fraction) for fraction in fractions],
            "weak_response": [_response(result, fraction) for fraction in fractions],
            "collapse": collapse,
            "best": {
                key: min(found, key=lambda name: found[name]["spread"]["value"]) for key, found in collapse.items()
            },
            "control_alone": floor,
            "theory_errors": theory,
        }


@lru_cache(maxsize=256)
def _predicted(size: float, eigenvalues: tuple[float, ...], std: float, w: float) -> SpectralPrediction:
    return predict_spectrum(size, eigenvalues, std, w)  # the same for every draw, unless it is the draw's spectrum


def _at(result: xr.Dataset, fraction: float) -> xr.Dataset:
    return result.isel(point=np.flatnonzero(result["point_fraction"].values == fraction))


def _response(result: xr.Dataset, fraction: float) -> dict[str, Any]:
    """Mean shift at the weakest guidance over 2 w std^2 I / |m|^2, with I what the sample tells about its class."""
    free, weak = _at(result, fraction).sel(strength=0.0), _at(result, fraction).isel(strength=1)
    expected = 2 * float(weak["strength"]) * result.attrs["std"] ** 2 * free["class_information_draw"]
    ratio = (weak["mean_shift_draw"] * free["centroid_square_draw"]).mean("point") / expected.mean("point")
    found = mean_of(ratio.values).as_numbers()
    return {"fraction": float(fraction), "strength": float(weak["strength"]), "ratio": found}


def _transition(result: xr.Dataset, fraction: float) -> dict[str, Any]:
    """Share of unguided draws that commit, and the width of that transition in log v times sqrt(log M), by log(M)."""
    one = _at(result, fraction).sel(strength=0.0)
    widths = (one["transition_width_draw"] * np.sqrt(one["point_log_classes"])).values
    sizes = one["point_log_classes"].values
    return {"fraction": float(fraction), "committed": float((one["speciation_time_draw"] > 0).mean())} | {
        f"width, log M = {size:g}": mean_of(np.nanmean(widths[sizes == size], axis=0)).as_numbers()
        for size in np.unique(sizes)
        if np.isfinite(widths[sizes == size]).any(0).all()
    }


def _dimension(result: xr.Dataset, fraction: float) -> dict[str, Any]:
    """Dimension, in units of d, of the flat space in which as many classes would speciate as they do, unguided."""
    one = _at(result, fraction).sel(strength=0.0)
    rates = 0.5 * np.log1p(1 / (one["speciation_time_draw"] + result.attrs["std"] ** 2))
    shares = (one["point_log_classes"] / rates / one["point_dim"]).transpose("point", "draw").values
    return {"fraction": float(fraction)} | {
        f"d = {dim:g}, log M = {size:g}": mean_of(draws).as_numbers()
        for dim, size, draws in zip(one["point_dim"].values, one["point_log_classes"].values, shares, strict=True)
        if np.isfinite(draws).all()
    }


def _logs(values: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(values > 0, np.log(values), np.nan)


def _plain(found: Mapping[str, Collapse]) -> dict[str, Any]:
    return {name: {"spread": c.spread.as_numbers(), "chi2": c.chi2, "points": c.points} for name, c in found.items()}
