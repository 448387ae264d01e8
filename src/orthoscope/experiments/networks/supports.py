r"""Two laws whose classes are no balls, with exact scores, and how far from where they live a point is.

- `manifold`: a curved surface in more dimensions, $f(z)$ with $z\sim N(0, I_2)$. A class is a patch of it: many modes
  of one thin width round a latent center of the class. Off the surface is where no point $f(z)$ is near.
- `boxes`: every class is uniform on a cube of its own, of half side 1; cubes overlap. Off the support is outside.

Every law tells three things of a point: its `distance` from the surface, in that which data have, or from the own cube,
in half sides; whether it has `left` them; and whether it is `lost`, far from everything that any class has.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from orthoscope import rng
from orthoscope.denoise import Denoiser, Evaluation, ExactDenoiser, Label, Memory
from orthoscope.metrics.modes import far_from_modes
from orthoscope.prediction import per_row
from orthoscope.process import NoiseLevel
from orthoscope.targets import Blend, Covariant, Manifold, Mixture, blend, box, covariant, mixture
from orthoscope.targets.structured import random_manifold
from orthoscope.typing import Labels, PerRow, Rows, Vector

CLASSES = 16
TELLS = ("distance", "left", "lost")
_LATENT, _AMBIENT, _CURVED, _MODES, _PATCH, _THIN = 2, 16, 1.5, 64, 0.2, 0.1
_BOXED, _APART = 8, 0.7  # coordinates of a cube, and standard deviation of the centers in each
_TOLERATED = 0.05  # half sides
_RARE = 1e-3  # share of the data that counts as having left the surface
_SEEN = 1 << 14  # points from which distances of data are known
_FLAT = 1e-12  # squared slope of the surface below which it is none
_REACH, _REFINED = 5.0, 8  # of latent grids, and steps by which their nearest point is refined


class Support(ABC):
    """A law with classes that live somewhere.

    Attributes:
        law: The law.
        exact: Its exact denoiser, for any labels.
        end: Variance time at which runs end: noise that does not show beside what the law has itself.
    """

    law: Blend | Mixture
    exact: Denoiser
    end: float

    @abstractmethod
    def tell(self, x: Rows, labels: Labels) -> Mapping[str, PerRow]:
        """`TELLS` of points that are meant for these classes."""

    @property
    @abstractmethod
    def moments(self) -> list[tuple[Vector, Tensor]]:
        """Mean and covariance of every class, in float64."""

    @cached_property
    def gaussian(self) -> Covariant:
        """One Gaussian with mean and covariance of all classes together."""
        means = self.means
        cov = torch.stack([cov for _, cov in self.moments]).mean(0) + torch.cov(means.T, correction=0)
        return covariant(means.mean(0).float(), cov=cov)

    @property
    def means(self) -> Rows:
        """Mean of every class."""
        return torch.stack([mean for mean, _ in self.moments])

    @property
    def variances(self) -> Vector:
        """Variance of every class per coordinate."""
        return torch.stack([cov.diagonal().mean() for _, cov in self.moments])

    @property
    def scale(self) -> float:
        """Size of the data per coordinate."""
        return float((self.variances.mean() + self.means.square().mean()).sqrt())

    def sample(self, count: int, stream: np.random.Generator) -> tuple[Rows, Labels]:
        """Points of every class; rows of a class stand together."""
        drawn = [self.law.conditional(label).sample(count, stream) for label in range(CLASSES)]
        return torch.cat(drawn), torch.arange(CLASSES).repeat_interleave(count)


@dataclass(frozen=True, eq=False, kw_only=True)
class Patches(Support):
    """Patches of a curved surface; made by `patches`.

    Attributes:
        surface: The map from latent points.
        law: Modes on it, those of a class together.
        side: Points along each side of the latent grid on which the nearest one is looked for.
    """

    surface: Manifold
    law: Mixture
    side: int = 40

    @property
    def end(self) -> float:  # type: ignore[override]
        """A thousandth of the width of the modes."""
        return 1e-3 * self.law.width

    @cached_property
    def exact(self) -> Denoiser:  # type: ignore[override]
        """Its modes, class by class."""
        return ExactDenoiser(self.law)

    @cached_property
    def moments(self) -> list[tuple[Vector, Tensor]]:
        """Those of the modes of each class."""
        return [self.law.conditional(label).moments() for label in range(CLASSES)]

    @cached_property
    def usual(self) -> tuple[float, float]:
        """Root mean square distance of data from the surface, and the one that few of them exceed."""
        found = self.distance(self.law.sample(_SEEN, rng.stream(0, "usual distances")))
        return float(found.square().mean().sqrt()), float(found.quantile(1 - _RARE))

    def tell(self, x: Rows, labels: Labels) -> Mapping[str, PerRow]:
        """How far from the surface, and from the nearest mode of all; own and other classes count alike."""
        found, (mean, most) = self.distance(x), self.usual
        far = far_from_modes(self.law, x)
        return {"distance": found / mean, "left": (found > most).double(), "lost": far.double()}

    def distance(self, x: Rows) -> PerRow:
        """Distance from the nearest point of the surface: that of a latent grid, refined by Gauss and Newton.

        Accuracy:
            Rounding of the squares, unless another fold of the surface is nearer by less than the grid resolves.
        """
        x = x.double()
        line = torch.linspace(-_REACH, _REACH, self.side, dtype=torch.float64)
        latents = torch.cartesian_prod(line, line)
        best = torch.cdist(x, self.surface(latents)).min(1)
        z, nearest = latents[best.indices], best.values
        for _ in range(_REFINED):
            slope = self._slope(z)
            gap = (x - self.surface(z))[:, :, None]
            # Far out the surface is flat in every direction; a step of no size is then better than none.
            steep = slope.mT @ slope + _FLAT * torch.eye(_LATENT, dtype=torch.float64)
            moved = z + torch.linalg.solve(steep, slope.mT @ gap)[:, :, 0]
            found = (x - self.surface(moved)).norm(dim=1)
            nearer = found < nearest
            z, nearest = torch.where(nearer[:, None], moved, z), torch.where(nearer, found, nearest)
        return nearest

    def _slope(self, z: Tensor) -> Tensor:
        """Derivative of the map."""
        units = torch.tanh(self.surface.gain * z @ self.surface.inner.T)
        return torch.einsum("dh,nh,hk->ndk", self.surface.outer, 1 - units.square(), self.surface.inner)


def patches(seed: int) -> Patches:
    """A random surface with a patch for every class."""
    stream = rng.stream(seed, "patches")
    surface = random_manifold(_AMBIENT, _LATENT, gain=_CURVED, stream=stream)
    centers, about = (torch.from_numpy(stream.standard_normal((CLASSES, n, _LATENT))) for n in (1, _MODES))
    latents = math.sqrt(1 - _PATCH**2) * centers + _PATCH * about
    labels = torch.arange(CLASSES).repeat_interleave(_MODES)
    return Patches(surface=surface, law=mixture(surface(latents.flatten(0, 1)).float(), std=_THIN, labels=labels))


@dataclass(frozen=True, eq=False, kw_only=True)
class Cubes(Support):
    """Cubes of half side 1, each the uniform law of a class; made by `cubes`.

    Attributes:
        centers: Center of each.
    """

    centers: Rows
    end: float = 1e-4  # noise of a hundredth of the half side, which never counts as having left

    @cached_property
    def law(self) -> Blend:  # type: ignore[override]
        """The cubes."""
        return blend([box(center - 1, center + 1) for center in self.centers])

    @cached_property
    def exact(self) -> Denoiser:  # type: ignore[override]
        """All cubes at once."""
        return CubesDenoiser(self.centers)

    @cached_property
    def moments(self) -> list[tuple[Vector, Tensor]]:
        """Those of uniform laws."""
        cov = torch.eye(self.centers.shape[1], dtype=torch.float64) / 3
        return [(center.double(), cov) for center in self.centers]

    def tell(self, x: Rows, labels: Labels) -> Mapping[str, PerRow]:
        """How far outside the own cube, and whether outside that one and outside all."""
        beyond = ((x[:, None] - self.centers).abs() - 1).clamp_min(0)
        outside = beyond.amax(2) > _TOLERATED
        rows = torch.arange(len(x))
        left, lost = outside[rows, labels], outside.all(1)
        return {"distance": beyond[rows, labels].norm(dim=1), "left": left.double(), "lost": lost.double()}


def cubes(seed: int) -> Cubes:
    """Cubes at random places."""
    normal = rng.stream(seed, "cubes").standard_normal((CLASSES, _BOXED))
    return Cubes(centers=torch.from_numpy(_APART * normal).float())


@dataclass(frozen=True, eq=False)
class CubesDenoiser(Denoiser):
    """The exact denoiser of equally likely cubes of half side 1, by closed forms: as `Blend`, an order faster.

    Attributes:
        centers: Center of each; class k is cube k.

    Accuracy:
        Rounding in float64 of numbers of the size of x, magnified by the distance from the cube in noise.
    """

    centers: Rows

    def evaluate(self, x: Rows, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        """The mean of the own cube, or of all of them, weighted by their posterior."""
        sigma = torch.as_tensor(per_row(level.sigma, x), dtype=torch.float64)
        if label is not None:
            own = self.centers[label].expand_as(x).double()
            return Evaluation(denoised=(own + _uniform(x.double() - own, sigma)[0]).to(x), memory=memory)
        means, logs = _uniform(x.double()[:, None] - self.centers, sigma[..., None] if sigma.ndim else sigma)
        posterior = logs.sum(2).softmax(1)[..., None]
        return Evaluation(denoised=(posterior * (self.centers + means)).sum(1).to(x), memory=memory)


def _uniform(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of a Gaussian round x that is cut to [-1, 1], and the log of the mass there, in float64."""
    side = torch.where(x < 0, -1.0, 1.0).to(x)  # mirrored, the nearer end is at 1
    near, far = (x.abs() - 1) / sigma, (-x.abs() - 1) / sigma
    log_near, log_far = torch.special.log_ndtr(-near), torch.special.log_ndtr(far)
    log_mass = log_near + torch.log1p(-torch.exp(log_far - log_near))
    falls = [torch.exp(-end.square() / 2 - log_mass) for end in (near, far)]
    return x - side * sigma * (falls[0] - falls[1]) / math.sqrt(2 * math.pi), log_mass


LAWS: Mapping[str, Callable[[int], Support]] = {"manifold": patches, "boxes": cubes}
