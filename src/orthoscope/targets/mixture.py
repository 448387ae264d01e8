r"""Mixtures of isotropic modes, exactly, for any number of modes that fits in memory.

Modes $k = 1..M$ have centroid $m_k\in\mathbb R^d$, weight $\pi_k$, a common within-mode standard deviation $s$ and a
label; a class is the set of modes with one label. With $v = s^2 + \sigma^2$ and $\mu(x)$ the posterior mean of the
centroid,

$$D(x) = (s^2 x + \sigma^2\mu(x))/v,\qquad \nabla\log p(x) = (\mu(x) - x)/v.$$
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.prediction import per_row
from orthoscope.process import NoiseLevel
from orthoscope.targets.base import CLEAN, Target
from orthoscope.targets.covariant import Covariant, covariant
from orthoscope.targets.modes import Table, blank_table, blocks, completed, log_sum, read
from orthoscope.typing import Centroids, Labels, PerRow, Rows, Vector

M = TypeVar("M", bound="IsotropicModes")

_COPIED = 1 << 14  # modes copied at once where those of a class are left out


@dataclass(frozen=True, eq=False, kw_only=True)
class IsotropicModes(Target):
    """What follows from reading modes of one common width, wherever they are kept.

    Attributes:
        center: The point from which centroids in tables are measured.
        std: Common within-mode standard deviation, in data units.
    """

    center: Vector = field(repr=False)
    std: float

    @abstractmethod
    def tables(self, *, without: int | None = None) -> Iterator[Table]:
        """Tables that hold every mode once, or every mode outside one class."""

    @property
    @abstractmethod
    def log_total(self) -> float:
        """Log of the sum of the modes' weights as the tables state them."""

    @abstractmethod
    def conditional(self, label: int) -> Mixture:
        """The modes of one class, as a mixture of its own."""

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.center)

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of samples and scores; float32 if the modes are stored in less."""
        return self.center.dtype

    @property
    def width(self) -> float:
        """The within-mode variance: all of it can be counted as noise."""
        return self.std**2

    def denoised(self, x: Rows, level: NoiseLevel) -> Rows:
        """E[x0 | x]: a mean of the state and the posterior mean of the centroid, weighted by their precisions."""
        noise = per_row(level.variance, x)
        mu = read(self.tables(), x - self.center, noise + self.width).mean + self.center
        return (self.width * x + noise * mu) / (noise + self.width) if self.width else mu

    def posterior_variance(self, x: Rows, level: NoiseLevel) -> PerRow:
        """Tr Cov[x0 | x]: within the modes, and between their centroids.

        Accuracy:
            Rounding of a difference of squares in the mixture's own type, about eps * |m|^2.
        """
        noise = per_row(level.variance, x)
        v = noise + self.width
        between = read(self.tables(), x - self.center, v).spread
        noise, v = (torch.as_tensor(part, dtype=torch.float64, device=x.device).reshape(-1) for part in (noise, v))
        return self.dim * self.width * noise / v + (noise / v).square() * between

    def log_prob(self, x: Rows, level: NoiseLevel = CLEAN) -> PerRow:
        """Log-density of the noised mixture, in nats and float64."""
        x = x.double() - self.center
        v = per_row(level.variance, x) + self.width
        log_v = torch.as_tensor(v, dtype=torch.float64).log().reshape(-1)
        quadratic = (x.square() / (2 * v)).sum(1)
        return (
            log_sum(self.tables(), x, v) - quadratic - self.log_total - self.dim / 2 * (log_v + math.log(2 * math.pi))
        )

    def log_odds(self, x: Rows, label: int, level: NoiseLevel = CLEAN) -> PerRow:
        """Log of p(label | x) / p(any other label | x), in float64: never a difference of near-equal probabilities."""
        x = x.double() - self.center
        v = per_row(level.variance, x) + self.width
        return log_sum(self.conditional(label).tables(), x, v) - log_sum(self.tables(without=label), x, v)

    def class_posterior(self, x: Rows, label: int, level: NoiseLevel = CLEAN) -> PerRow:
        """Exact posterior probability of a class given each row."""
        return torch.sigmoid(self.log_odds(x, label, level))

    def narrowed(self: M, offset: float) -> M:
        """The same modes with variance `offset` taken from their width."""
        return replace(self, std=math.sqrt(max(self.width - self._checked(offset), 0.0)))


@dataclass(frozen=True, eq=False, kw_only=True)
class Mixture(IsotropicModes):
    """Isotropic modes in memory, of common width, with weights and labels; made by `mixture`.

    Attributes:
        table: Extended centroids, see `modes`; the only large array.
        labels: Class of each mode.
        center: Mean of the centroids, from which the table is measured.
        std: Common within-mode standard deviation, in data units.
    """

    table: Table = field(repr=False)
    labels: Labels = field(repr=False)

    @property
    def size(self) -> int:
        """Number of modes."""
        return len(self.table)

    @property
    def centroids(self) -> Centroids:
        """Mode centroids (a copy)."""
        return self.table[:, : self.dim] + self.center

    @cached_property
    def log_weights(self) -> PerRow:
        """Log of the mode weights, normalized, in float64."""
        return self.table[:, self.dim + 1].double() - self.log_total

    @cached_property
    def log_total(self) -> float:
        """Log of the sum of the modes' weights as the table states them."""
        return float(self.table[:, self.dim + 1].double().logsumexp(0))

    def tables(self, *, without: int | None = None) -> Iterator[Table]:
        """The table; without a class it comes in blocks, each copied only if it holds modes of the class."""
        if without is None:
            yield self.table
            return
        others = self.labels != without
        for block in blocks(self.size, _COPIED):
            kept = others[block]
            yield self.table[block] if bool(kept.all()) else self.table[block][kept]

    def transport(self, uniform: PerRow, normal: Rows) -> Rows:
        """Pick a mode by the uniform number, then add its Gaussian."""
        edges = self.log_weights.exp().cumsum(0)
        mode = torch.searchsorted(edges, uniform.double().to(edges.device)).clamp_max(self.size - 1)
        return self.table[mode, : self.dim] + self.center + self.std * normal.to(self.center)

    def conditional(self, label: int) -> Mixture:
        """The modes of one class, as a mixture of its own."""
        members = self._members(label)
        return replace(self, table=self.table[members], labels=self.labels[members])

    def moments(self) -> tuple[Vector, Centroids]:
        """Exact mean and covariance matrix of the clean law, in float64."""
        weights, m = self.log_weights.exp(), self.centroids.double()
        mean = weights @ m
        centred = m - mean
        eye = torch.eye(self.dim, dtype=torch.float64, device=m.device)
        return mean, (centred * weights[:, None]).T @ centred + self.width * eye

    def gaussian(self) -> Covariant:
        """The Gaussian with its mean and covariance: what is left of the mixture to those who know no modes.

        All of the mixture's width can be counted as noise in both.
        """
        mean, cov = self.moments()
        found = covariant(mean, cov=cov)
        # Rounding must not leave an eigenvalue below the width that every direction has.
        variances = found.variances.clamp_min(self.width)
        return replace(
            found, mean=mean.to(self.center), basis=found.basis.to(self.center), variances=variances.to(self.center)
        )

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Mixture:
        """The same mixture on another device or in another floating-point type.

        In bfloat16 modes are stored and read in less, while states and means stay in float32.

        Accuracy:
            bfloat16: see `modes.read`; log-weights are rounded to 2^-9 of their size.
        """
        table = self.table.to(device=device, dtype=dtype)
        if table.dtype != self.table.dtype:
            completed(table, self.dim, table[:, self.dim + 1].clone())
        exact = torch.promote_types(table.dtype, torch.float32)
        center = self.center.to(device=device, dtype=exact)
        return replace(self, table=table, center=center, labels=self.labels.to(device=device))

    def _members(self, label: int) -> Tensor:
        members = self.labels == label
        if not bool(members.any()):
            known = torch.unique(self.labels)
            shown = ", ".join(map(str, known[:8].tolist())) + (", ..." if len(known) > 8 else "")
            raise ConfigError(f"label {label} is not present; this mixture has {len(known)} classes: {shown}")
        return members


def mixture(
    centroids: Centroids,
    *,
    std: float,
    labels: Labels | None = None,
    weights: PerRow | None = None,
    dtype: torch.dtype | None = None,
) -> Mixture:
    """A mixture from arrays.

    Args:
        centroids: One row per mode.
        std: Common within-mode standard deviation, >= 0; 0 means points.
        labels: Class of each mode; each mode its own class if None.
        weights: Positive mode weights, normalized here; equal if None.
        dtype: Floating-point type; that of the centroids if None.

    Raises:
        ConfigError: if std is negative, a number is not finite, a weight is not positive, the type is not
            floating-point, or there are no modes.
        ShapeError: if labels or weights do not have one entry per mode.
    """
    modes = len(centroids)
    check_std(std)
    if modes < 1:
        raise ConfigError("a mixture needs at least one mode, got none")
    if not (dtype or centroids.dtype).is_floating_point:
        raise ConfigError(
            f"expected floating-point centroids, got {dtype or centroids.dtype}; convert them or give dtype"
        )
    if bad := sum(int((~torch.isfinite(centroids[block]).all(1)).sum()) for block in blocks(modes, _COPIED)):
        raise ConfigError(f"{bad} of {modes} rows hold NaN or infinity; clean or drop them first")
    if labels is not None and len(labels) != modes:
        raise ShapeError(f"expected one label per row, got {len(labels)} labels for {modes} rows")
    if weights is not None:
        if len(weights) != modes:
            raise ShapeError(f"expected one weight per row, got {len(weights)} weights for {modes} rows")
        if not bool((weights > 0).all() and torch.isfinite(weights).all()):
            raise ConfigError("weights must be finite and positive; drop modes of weight 0")
    log_weights = 0.0 if weights is None else (weights.double() / weights.double().sum()).log()
    table = blank_table(modes, centroids.shape[1], like=centroids.new_empty(0, dtype=dtype))
    table[:, : centroids.shape[1]] = centroids
    return from_table(table, centroids.shape[1], std=std, labels=labels, log_weights=log_weights)


def check_std(std: float) -> None:
    """Refuse a width that no mode can have."""
    if not (math.isfinite(std) and std >= 0):
        raise ConfigError(f"std must be finite and >= 0, got {std}")


def from_table(
    table: Table, dim: int, *, std: float, labels: Labels | None = None, log_weights: PerRow | float = 0.0
) -> Mixture:
    """A mixture of the centroids that a `blank_table` was filled with, which becomes its own; nothing is checked."""
    total = torch.zeros(dim, dtype=torch.float64, device=table.device)
    for block in blocks(len(table), _COPIED):
        total += table[block, :dim].double().sum(0)
    center = (total / len(table)).to(table.dtype)
    return Mixture(
        table=completed(table, dim, log_weights, center),
        labels=torch.arange(len(table), device=table.device) if labels is None else labels.to(table.device).long(),
        center=center,
        std=float(std),
    )
