r"""Random mixtures with structure: classes of several modes, and classes on a curved manifold.

- `multimodal_mixture`: class $c$ has a center $M_c\sim N(0, (1 - \rho^2) I)$ and modes $M_c + \rho\,\varepsilon_k$,
  $\varepsilon_k\sim N(0, I)$, with weights of their own. Centroids have unit variance per coordinate whatever the
  spread $\rho$ of the modes in their class: 0 puts them on one point, 1 makes them ignore their class.
- `manifold_mixture`: one mode per class at $f(z_k)$, $z_k\sim N(0, I_k)$, with $f$ a fixed random network into more
  dimensions and $M = e^{\beta k}$ classes, exponentially many in the *intrinsic* dimension.

Both keep the isotropic width of every mixture. On a manifold that is a width in the ambient space: a class is a ball
and not a patch of the manifold, which it leaves by $s\sqrt{d - k}$; in return every score stays exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.targets.ensembles import class_count, random_centroids
from orthoscope.targets.mixture import Mixture, mixture
from orthoscope.typing import Centroids, PerRow

_CALIBRATION = 1 << 14  # latent points from which the network's output scale is measured
_HIDDEN = 4  # hidden units per output coordinate

Latents = Float[Tensor, "modes latent"]


def random_weights(classes: int, modes: int, stream: np.random.Generator, *, concentration: float) -> PerRow:
    """Dirichlet weights of the modes of each class, largest first; every class has weight 1/classes.

    Args:
        classes: Number of classes.
        modes: Modes per class.
        stream: Source of randomness.
        concentration: Of the symmetric Dirichlet law: large is equal weights, below 1 few modes dominate.

    Raises:
        ConfigError: if the concentration is not positive.
    """
    if not (math.isfinite(concentration) and concentration > 0):
        raise ConfigError(f"concentration must be finite and > 0, got {concentration}")
    drawn = np.sort(stream.dirichlet(np.full(modes, concentration), size=classes), axis=1)[:, ::-1]
    return torch.from_numpy(drawn.copy().ravel()) / classes


def multimodal_mixture(
    dim: int,
    *,
    classes: int,
    std: float,
    spread: float,
    stream: np.random.Generator,
    modes: int | None = None,
    weights: Sequence[float] | None = None,
    concentration: float | None = None,
    dtype: torch.dtype = torch.float32,
) -> Mixture:
    """Classes of several modes round a center of their own; classes are equally likely.

    Args:
        dim: Number of coordinates.
        classes: Number of classes; class c is label c.
        std: Common within-mode standard deviation.
        spread: Standard deviation per coordinate of modes about their class's center, from 0 to 1.
        stream: Source of randomness.
        modes: Modes per class; as many as there are weights if None.
        weights: Relative weights of the modes of every class; equal, or by `concentration`, if None.
        concentration: Draw weights from this Dirichlet law, see `random_weights`.
        dtype: Floating-point type.

    Raises:
        ConfigError: if a number is out of range, or weights are both given and drawn.
        ShapeError: if there are not as many weights as modes.
    """
    if weights is not None and concentration is not None:
        raise ConfigError("give either the weights of the modes or their concentration, not both")
    modes = modes if modes is not None else len(weights or ())
    if classes < 1 or modes < 1 or dim < 1:
        raise ConfigError(
            f"dim, classes and modes must be at least 1, got {dim}, {classes} and {modes}; give modes or weights"
        )
    if weights is not None and len(weights) != modes:
        raise ShapeError(f"expected one weight per mode, got {len(weights)} weights for {modes} modes")
    if not 0 <= spread <= 1:
        raise ConfigError(f"spread must lie in [0, 1], because centroids have unit variance in all, got {spread}")
    centers = random_centroids(dim, classes, stream, dtype=dtype)
    about = random_centroids(dim, classes * modes, stream, dtype=dtype)
    centroids = math.sqrt(1 - spread**2) * centers.repeat_interleave(modes, 0) + spread * about
    if concentration is not None:
        shares = random_weights(classes, modes, stream, concentration=concentration)
    else:
        shares = torch.tensor(weights or [1.0] * modes, dtype=torch.float64).repeat(classes)
    labels = torch.arange(classes).repeat_interleave(modes)
    return mixture(centroids, std=std, labels=labels, weights=shares)


@dataclass(frozen=True, eq=False, kw_only=True)
class Manifold:
    r"""A fixed random network from latent to ambient space, $f(z) = B\tanh(g A z)/g$ with unit rows of A.

    Odd, so that its mean is zero; coordinates are scaled to unit variance under $z\sim N(0, I_k)$.

    Attributes:
        inner: A, hidden units by latent dimensions.
        outer: B, ambient dimensions by hidden units, output scale included.
        gain: g, how far into their curved range the units are driven; 0 is the linear map, a flat subspace.
    """

    inner: Float[Tensor, "hidden latent"] = field(repr=False)
    outer: Float[Tensor, "dim hidden"] = field(repr=False)
    gain: float

    @property
    def dim(self) -> int:
        """Ambient dimension d."""
        return len(self.outer)

    @property
    def latent_dim(self) -> int:
        """Intrinsic dimension k."""
        return self.inner.shape[1]

    def __call__(self, latents: Latents) -> Centroids:
        """The ambient points of latent ones."""
        units = latents.to(self.inner) @ self.inner.T
        return (torch.tanh(self.gain * units) / self.gain if self.gain else units) @ self.outer.T

    def sample(self, count: int, stream: np.random.Generator) -> Centroids:
        """Ambient points of standard normal latent ones."""
        return self(torch.from_numpy(stream.standard_normal((count, self.latent_dim))))

    def spectrum(self, stream: np.random.Generator, *, count: int = _CALIBRATION) -> Float[Tensor, "dim"]:
        """Eigenvalues of the ambient covariance, descending; they add up to the dimension.

        Accuracy:
            From `count` points: relative errors of about sqrt(2 / count), upwards for the largest.
        """
        points = self.sample(count, stream)
        return torch.linalg.eigvalsh(points.T @ points / count).flip(0).clamp_min(0)


def random_manifold(dim: int, latent_dim: int, *, gain: float, stream: np.random.Generator) -> Manifold:
    """A random network from `latent_dim` to `dim` dimensions, in float64.

    Raises:
        ConfigError: unless 1 <= latent_dim <= dim and the gain is finite and >= 0.

    Accuracy:
        Coordinates have unit variance to about 1 % each.
    """
    if not 1 <= latent_dim <= dim:
        raise ConfigError(f"the intrinsic dimension must lie between 1 and dim = {dim}, got {latent_dim}")
    if not (math.isfinite(gain) and gain >= 0):
        raise ConfigError(f"gain must be finite and >= 0, got {gain}")
    hidden = _HIDDEN * dim
    inner = torch.from_numpy(stream.standard_normal((hidden, latent_dim)))
    outer = torch.from_numpy(stream.standard_normal((dim, hidden)))
    raw = Manifold(inner=inner / inner.norm(dim=1, keepdim=True), outer=outer, gain=gain)
    scale = raw.sample(_CALIBRATION, stream).square().mean(0).sqrt()
    return Manifold(inner=raw.inner, outer=outer / scale[:, None], gain=gain)


def manifold_mixture(
    manifold: Manifold,
    *,
    std: float,
    stream: np.random.Generator,
    rate: float | None = None,
    classes: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Mixture:
    """One mode per class on a manifold, at standard normal latent points; class k is label k.

    Args:
        manifold: The map.
        std: Within-class standard deviation in the ambient space, in every direction.
        stream: Source of randomness.
        rate: log(classes) per *intrinsic* dimension; give this or `classes`.
        classes: Number of classes.
        dtype: Floating-point type.

    Raises:
        ConfigError: if the setting is unusable (see `class_count`, `mixture`).
    """
    count = class_count(manifold.latent_dim, classes=classes, rate=rate)
    return mixture(manifold.sample(count, stream).to(dtype), std=std)
