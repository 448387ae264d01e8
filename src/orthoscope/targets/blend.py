r"""Mixtures of any targets: the posterior of the component weighs what the components know.

With component posteriors $p_k(x)$, denoised means $D_k$ and posterior variances $V_k$,

$$D = \sum_k p_k D_k,\qquad \mathrm{tr\,Cov}[x_0\mid x] = \sum_k p_k \bigl(V_k + |D_k - D|^2\bigr).$$

A class is the set of components with one label. For many isotropic Gaussian modes `mixture` does the same faster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.process import NoiseLevel
from orthoscope.targets.base import CLEAN, Target
from orthoscope.targets.intervals import Intervals
from orthoscope.typing import PerRow, Rows


@dataclass(frozen=True, eq=False, kw_only=True)
class Blend(Target):
    """A weighted, labeled mixture of targets; made by `blend`.

    Attributes:
        components: The targets, all in one space.
        weights: Positive weight of each, summing to 1.
        labels: Class of each.
    """

    components: tuple[Target, ...]
    weights: tuple[float, ...]
    labels: tuple[int, ...]

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.components[0].dim

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of samples and scores."""
        return self.components[0].dtype

    @property
    def taken(self) -> float:  # type: ignore[override]
        """What was taken from every component, as far as they tell."""
        return min(getattr(component, "taken", math.inf) for component in self.components)

    @property
    def width(self) -> float:
        """What every component can give."""
        return min(component.width for component in self.components)

    @property
    def size(self) -> int:
        """Number of modes read over all components."""
        return sum(component.size for component in self.components)

    @cached_property
    def _log_weights(self) -> Tensor:
        return torch.tensor(self.weights, dtype=torch.float64).log()

    def _joint(self, x: Rows, level: NoiseLevel) -> Tensor:
        """Log of weight times noised density, one column per component."""
        return self._weighted([component.log_prob(x, level) for component in self.components])

    def _weighted(self, log_probs: Sequence[PerRow]) -> Tensor:
        logs = torch.stack(list(log_probs), 1)
        return logs + self._log_weights.to(logs)

    def denoised(self, x: Rows, level: NoiseLevel) -> Rows:
        """E[x0 | x]: the components' means, weighted by their posterior."""
        log_probs, each = zip(*(_known(component, x, level) for component in self.components), strict=True)
        p, means = self._weighted(log_probs).softmax(1), torch.stack(each, 1)
        return (p[..., None] * means).sum(1).to(x.dtype)

    def posterior_variance(self, x: Rows, level: NoiseLevel) -> PerRow:
        """Tr Cov[x0 | x], in float64: within the components, and between their means."""
        p = self._joint(x, level).softmax(1)
        within = torch.stack([component.posterior_variance(x, level) for component in self.components], 1)
        means = torch.stack([component.denoised(x.double(), level) for component in self.components], 1)
        between = (means - (p[..., None] * means).sum(1, keepdim=True)).square().sum(2)
        return (p * (within + between)).sum(1)

    def log_prob(self, x: Rows, level: NoiseLevel = CLEAN) -> PerRow:
        """Log-density of the noised law, in nats and float64."""
        return self._joint(x, level).logsumexp(1)

    def log_odds(self, x: Rows, label: int, level: NoiseLevel = CLEAN) -> PerRow:
        """Log of p(label | x) / p(any other label | x), in float64."""
        members = self._members(label)
        others = [k for k in range(len(self.components)) if k not in members]
        joint = self._joint(x, level)
        return joint[:, members].logsumexp(1) - joint[:, others].logsumexp(1)

    def class_posterior(self, x: Rows, label: int, level: NoiseLevel = CLEAN) -> PerRow:
        """Exact posterior probability of a class given each row."""
        return torch.sigmoid(self.log_odds(x, label, level))

    def transport(self, uniform: PerRow, normal: Rows) -> Rows:
        """Pick a component by the uniform number, and hand it what is left of it."""
        edges = torch.tensor([0.0, *self.weights], dtype=torch.float64).cumsum(0)
        uniform = uniform.double().cpu()
        pick = (torch.searchsorted(edges, uniform, right=True) - 1).clamp(0, len(self.components) - 1)
        rest = ((uniform - edges[pick]) / edges.diff()[pick]).clamp(0, 1)
        each = torch.stack([component.transport(rest, normal) for component in self.components])
        return each[pick.to(each.device), torch.arange(len(pick), device=each.device)]

    def conditional(self, label: int) -> Target:
        """The components of one label: a blend of its own, or the only component itself."""
        members = self._members(label)
        if len(members) == 1:
            return self.components[members[0]]
        return blend(
            [self.components[k] for k in members],
            weights=[self.weights[k] for k in members],
            labels=[label] * len(members),
        )

    def narrowed(self, offset: float) -> Blend:
        """Every component narrowed by the same variance."""
        offset = self._checked(offset)
        narrow = tuple(component.narrowed(min(offset, component.width)) for component in self.components)
        return Blend(components=narrow, weights=self.weights, labels=self.labels)

    def _members(self, label: int) -> list[int]:
        members = [k for k, one in enumerate(self.labels) if one == label]
        if not members:
            known = sorted(set(self.labels))
            raise ConfigError(f"label {label} is not present; this blend has the classes {', '.join(map(str, known))}")
        return members


def _known(component: Target, x: Rows, level: NoiseLevel) -> tuple[PerRow, Rows]:
    """Log-density and denoised mean, which intervals have from one integral."""
    if isinstance(component, Intervals):
        return component.known(x, level)
    return component.log_prob(x, level), component.denoised(x, level)


def blend(
    components: Sequence[Target], *, weights: Sequence[float] | None = None, labels: Sequence[int] | None = None
) -> Blend:
    """A mixture of targets.

    Args:
        components: At least one target, all of one dimension and floating-point type.
        weights: Positive weights, normalized here; equal if None.
        labels: Class of each component; each its own class if None.

    Raises:
        ConfigError: if there are no components, a weight is not positive, or floating-point types differ.
        ShapeError: if dimensions differ, or weights or labels do not have one entry per component.
    """
    count = len(components)
    if count < 1:
        raise ConfigError("a blend needs at least one component, got none")
    if len(dims := sorted({component.dim for component in components})) > 1:
        raise ShapeError(f"all components of a blend must have one dimension, got {dims}")
    if len(types := {str(component.dtype) for component in components}) > 1:
        raise ConfigError(f"all components of a blend must have one floating-point type, got {sorted(types)}")
    weights = [1.0] * count if weights is None else [float(weight) for weight in weights]
    labels = range(count) if labels is None else labels
    if not len(weights) == len(labels) == count:
        raise ShapeError(f"expected {count} weights and labels, got {len(weights)} and {len(labels)}")
    if not all(math.isfinite(weight) and weight > 0 for weight in weights):
        raise ConfigError("weights must be finite and positive; drop components of weight 0")
    total = math.fsum(weights)
    return Blend(
        components=tuple(components),
        weights=tuple(weight / total for weight in weights),
        labels=tuple(int(label) for label in labels),
    )
