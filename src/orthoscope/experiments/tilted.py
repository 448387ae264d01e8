"""Three laws side by side: the conditional one, the tilted one that guidance is taken for, and the guided one.

Two small problems with several modes per class, on a line and in a plane, where the tilted law is known by quadrature,
and two Gaussians, where everything is known in closed form. Tilted samples are weighted paths; guided ones come from
the reverse SDE, and the density of the probability-flow ODE beside them is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from orthoscope import metrics
from orthoscope.datasets import dataset, estimates, stored
from orthoscope.guidance.schedules import Constant
from orthoscope.process import NoiseLevel
from orthoscope.quantities import Estimate
from orthoscope.sampling.density import GuidedFlow, entropy_change
from orthoscope.sampling.tilted import TiltedSample, sample_tilted
from orthoscope.simulation.pairs import sample_pair
from orthoscope.sweeps.points import HERE, Points
from orthoscope.targets import Gaussian, Pair, mixture
from orthoscope.theory import guided_gaussian

LAWS = ("conditional", "tilted", "guided")
_LINE = {"centroids": [[-2.4], [-0.6], [1.0], [3.0]], "labels": [1, 0, 0, 1], "weights": [0.3, 0.25, 0.25, 0.2]}
_PLANE = {
    "centroids": [[-1.2, 0.0], [0.8, 1.0], [1.0, -1.0], [-3.0, 0.4], [2.8, 1.6], [2.2, -2.6], [0.2, 0.0]],
    "labels": [0, 0, 0, 1, 1, 1, 1],
    "weights": [0.2, 0.1, 0.1, 0.2, 0.15, 0.15, 0.1],
}
_MODES = {"line": _LINE, "plane": _PLANE}
_SPREAD = 6.0  # half-width of the grids of densities
_BINS = 60


def _pair(modes: dict[str, Any], std: float) -> Pair:
    law = mixture(
        torch.tensor(modes["centroids"], dtype=torch.float64),
        std=std,
        labels=torch.tensor(modes["labels"]),
        weights=torch.tensor(modes["weights"], dtype=torch.float64),
    )
    return Pair(cond=law.conditional(0), uncond=law)


def _gaussians() -> Pair:
    one = torch.ones(1, dtype=torch.float64)
    return Pair(cond=Gaussian(mean=0 * one, variance=one), uncond=Gaussian(mean=0 * one, variance=2 * one))


@dataclass(frozen=True, slots=True, kw_only=True)
class TiltedStudy:
    """What guidance samples, and what it does not.

    Attributes:
        strength: Guidance strength of the mixtures.
        std: Within-mode standard deviation.
        gaussian_strength: Strength between N(0, 1) and N(0, 2).
        t_max: Variance time of the start.
        samples: Guided samples.
        particles: Weighted paths per island.
        islands: Independent repetitions of the weighted paths.
        steps: Steps of every run.
        line_points: Points of the grid of densities on the line.
        plane_points: Points per side of the grid in the plane.
        shown: Samples per law kept for the figure.
        seed: Root seed.
    """

    name: str = field(default="tilted", init=False)
    strength: float = 3.0
    std: float = 0.6
    gaussian_strength: float = 2.0
    t_max: float = 1000.0
    samples: int = 40000
    particles: int = 2048
    islands: int = 24
    steps: int = 80
    line_points: int = 601
    plane_points: int = 121
    shown: int = 400
    seed: int = 0

    @classmethod
    def quick(cls) -> TiltedStudy:
        """A reduced version of a few seconds."""
        return cls(samples=4000, particles=512, islands=16, steps=50, line_points=241, plane_points=49)

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Sample and integrate all three problems."""
        parts = points.each(self._part, product((*_MODES, "gaussian")))
        variables = {name: value for part in parts for name, value in part.items()}
        coords = {
            "law": LAWS,
            "x": self._axis(self.line_points),
            "a": self._axis(self.plane_points),
            "b": self._axis(self.plane_points),
            "bin": np.linspace(-_SPREAD, _SPREAD, _BINS + 1)[:-1] + _SPREAD / _BINS,
        }
        return dataset(variables, coords=coords, spec=self, strength=self.strength)

    def _axis(self, points: int) -> NDArray[np.float64]:
        return np.linspace(-_SPREAD, _SPREAD, points)

    def _tilted(self, pair: Pair, strength: float) -> TiltedSample:
        return sample_tilted(
            pair,
            Constant(value=strength),
            particles=self.particles,
            islands=self.islands,
            steps=self.steps,
            t_max=self.t_max,
            seed=self.seed,
        )

    def _guided(self, pair: Pair, strength: float) -> NDArray[np.float64]:
        schedule = Constant(value=strength)
        return sample_pair(pair, schedule, samples=self.samples, steps=self.steps, seed=self.seed, t_max=self.t_max)

    def _part(self, name: str) -> dict[str, Any]:
        return self._gaussian() if name == "gaussian" else self._problem(name)

    def _problem(self, name: str) -> dict[str, Any]:
        """Densities, moments and samples of one mixture."""
        pair, on_line = _pair(_MODES[name], self.std), name == "line"
        axis = self._axis(self.line_points if on_line else self.plane_points)
        mesh = np.stack(np.meshgrid(*[axis] * pair.dim, indexing="ij"), -1)
        grid = torch.from_numpy(mesh.reshape(-1, pair.dim))
        densities = self._densities(pair, grid, float(axis[1] - axis[0]) ** pair.dim)
        tilted, guided = self._tilted(pair, self.strength), self._guided(pair, self.strength)
        sampled = {"tilted": (tilted.mean, tilted.variance), "guided": _moments(guided)}
        result: dict[str, Any] = {
            f"{name}_density": (["law", *(["x"] if on_line else ["a", "b"])], densities.reshape(3, *mesh.shape[:-1])),
            f"{name}_ess": ([f"{name}_time"], tilted.ess),
            f"{name}_time": ([f"{name}_time"], tilted.times),
        }
        for k, quantity in enumerate(("mean", "variance")):
            exact = np.array([_by_quadrature(mesh.reshape(-1, pair.dim), density)[k] for density in densities])
            result[f"{name}_{quantity}_quadrature"] = (["law", f"{name}_axis"], exact)
            measured = [[Estimate(value=v, stderr=0.0, n=0) for v in exact[0]], *(part[k] for part in sampled.values())]
            result |= estimates(f"{name}_{quantity}", ["law", f"{name}_axis"], measured)
        schedule = Constant(value=self.strength)
        change = entropy_change(pair, schedule, samples=min(self.samples, 4096), t_max=self.t_max, seed=self.seed)
        result |= estimates(f"{name}_entropy_change", [], change)
        result |= estimates(f"{name}_log_normalizer", [], tilted.log_normalizer)
        result[f"{name}_shown"] = (["law", "row", f"{name}_axis"], self._shown(pair, tilted, guided))
        if on_line:
            result["line_histogram"] = (["sampled", "bin"], _histograms(tilted, guided))
        return result

    def _densities(self, pair: Pair, x: torch.Tensor, cell: float) -> NDArray[np.float64]:
        """Exact densities of the three laws at points of a grid; the guided one is that of the ODE."""
        clean = NoiseLevel(time=0.0)
        cond, uncond = pair.cond.log_prob(x, clean), pair.uncond.log_prob(x, clean)
        tilted = (1 + self.strength) * cond - self.strength * uncond
        flow = GuidedFlow(pair, Constant(value=self.strength), t_max=self.t_max, steps=self.steps)
        logs = np.stack([cond, tilted - tilted.logsumexp(0) - np.log(cell), flow.log_prob(x)])
        return np.exp(logs)

    def _shown(self, pair: Pair, tilted: TiltedSample, guided: NDArray[np.float64]) -> NDArray[np.float64]:
        """A few samples of each law; tilted ones picked by their weights."""
        stream = np.random.default_rng(self.seed)
        weights = tilted.weights.numpy().ravel()
        rows = stream.choice(len(weights), self.shown, p=weights / weights.sum())
        return np.stack([pair.cond.sample(self.shown, stream).numpy(), tilted.x.numpy()[rows], guided[: self.shown]])

    def _gaussian(self) -> dict[str, Any]:
        """Variances between N(0, 1) and N(0, 2), measured and in closed form."""
        w = self.gaussian_strength
        exact = guided_gaussian(0.0, 1.0, 0.0, 2.0, w)
        pair = _gaussians()
        measured = [Estimate(value=1.0, stderr=0.0, n=0), self._tilted(pair, w).variance[0]]
        measured.append(metrics.variance(self._guided(pair, w)))
        expected = [1.0, float(exact.tilted_variance), float(exact.variance)]
        return estimates("gaussian_variance", ["law"], measured) | {"gaussian_variance_theory": (["law"], expected)}

    def summarize(self, result: xr.Dataset) -> dict[str, Any]:
        """What the study found: tilted samples meet the tilted law, guided ones meet another."""
        found: dict[str, Any] = {}
        for law in ("tilted", "guided"):
            for name in ("gaussian_variance", "line_mean", "line_variance"):
                found[f"{name}_{law}"] = stored(result.sel(law=law), name)[0].as_numbers()
        for law in ("tilted", "guided"):
            found[f"gaussian_variance_{law}_theory"] = float(result["gaussian_variance_theory"].sel(law=law))
        for name in ("line_mean", "line_variance"):
            found[f"{name}_tilted_quadrature"] = float(result[f"{name}_quadrature"].sel(law="tilted")[0])
        for name in ("line", "plane"):
            gaps = [
                (result[f"{name}_{part}"] - result[f"{name}_{part}_quadrature"]).sel(law="tilted")
                / result[f"{name}_{part}_stderr"].sel(law="tilted")
                for part in ("mean", "variance")
            ]
            found[f"{name}_tilted_largest_z"] = float(max(np.abs(gap).max() for gap in gaps))
            found[f"{name}_smallest_ess"] = float(result[f"{name}_ess"].min())
            found[f"{name}_entropy_change"] = stored(result, f"{name}_entropy_change")[0].as_numbers()
        return found


def _moments(x: NDArray[np.float64]) -> tuple[list[Estimate], list[Estimate]]:
    """Mean and variance of each coordinate."""
    columns = [column[:, None] for column in x.T]
    return [metrics.mean_of(column[:, 0]) for column in columns], [metrics.variance(column) for column in columns]


def _by_quadrature(x: NDArray[np.float64], density: NDArray[np.float64]) -> tuple[Any, Any]:
    """Mean and variance of each coordinate under a density on a grid."""
    weights = density / density.sum()
    mean = weights @ x
    return mean, weights @ (x - mean) ** 2


def _histograms(tilted: TiltedSample, guided: NDArray[np.float64]) -> NDArray[np.float64]:
    """Densities of tilted and guided samples in the bins of the line."""
    edges = np.linspace(-_SPREAD, _SPREAD, _BINS + 1)
    weights = tilted.weights.numpy().ravel()
    return np.stack(
        [
            np.histogram(tilted.x.numpy()[:, 0], edges, weights=weights, density=True)[0],
            np.histogram(guided[:, 0], edges, density=True)[0],
        ]
    )
