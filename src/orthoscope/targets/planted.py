r"""The planted ensemble: one class held exactly, all others replaced by their average.

$$p(x) = \tfrac1M N(m, s^2 I) + (1 - \tfrac1M) N(0, (s^2 + 1) I),\qquad p(x\mid\text{class}) = N(m, s^2 I).$$

Averaging the other centroids $N(0, I_d)$ is exact for the first moment of their likelihood, so the ensemble follows
the real mixture as long as the path stays out of the condensed phase. No modes are stored: any dimension, and M
beyond the float range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from orthoscope.errors import ConfigError
from orthoscope.prediction import per_row
from orthoscope.process import NoiseLevel
from orthoscope.targets.base import CLEAN, Target
from orthoscope.targets.gaussian import Gaussian
from orthoscope.typing import PerRow, Rows, Vector


@dataclass(frozen=True, eq=False, kw_only=True)
class Planted(Target):
    """One class of a random exponential mixture, the others averaged; the class is label 0.

    Attributes:
        centroid: Centroid m of the class.
        std: Within-class standard deviation s.
        log_classes: log(M) in nats, at least log(2).
        spread: Variance of the averaged centroids per coordinate.
    """

    centroid: Vector
    std: float
    log_classes: float
    spread: float = 1.0

    def __post_init__(self) -> None:
        """Reject fewer than two classes and impossible widths."""
        if not self.log_classes >= math.log(2) - 1e-12:
            raise ConfigError(f"expected at least 2 classes, got {math.exp(self.log_classes):.3g}")
        if not (math.isfinite(self.std) and self.std >= 0):
            raise ConfigError(f"std must be finite and >= 0, got {self.std}")

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.centroid.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of samples and scores."""
        return self.centroid.dtype

    @property
    def width(self) -> float:
        """The within-class variance."""
        return self.std**2

    def _components(self) -> tuple[Gaussian, Gaussian]:
        own = torch.full_like(self.centroid, self.width)
        return (
            Gaussian(mean=self.centroid, variance=own),
            Gaussian(mean=torch.zeros_like(self.centroid), variance=own + self.spread),
        )

    def log_odds(self, x: Rows, level: NoiseLevel = CLEAN) -> PerRow:
        """Log of p(class | x) / p(others | x), in float64."""
        x, m = x.double(), self.centroid.double()
        own = torch.as_tensor(per_row(level.variance, x) + self.width, dtype=torch.float64)
        others = own + self.spread
        square, away = (torch.linalg.vector_norm(part, dim=1, keepdim=True).square() for part in (x, x - m))
        gap = square / others - away / own
        prior = -self.log_classes - math.log(-math.expm1(-self.log_classes))
        return (prior + (gap + self.dim * (others / own).log()) / 2).squeeze(1)

    def class_posterior(self, x: Rows, label: int = 0, level: NoiseLevel = CLEAN) -> PerRow:
        """Posterior probability of the class given each row."""
        self.conditional(label)
        return torch.sigmoid(self.log_odds(x, level))

    def denoised(self, x: Rows, level: NoiseLevel) -> Rows:
        """E[x0 | x]: the two components' means, weighted by the class posterior; in state and centroid it is linear."""
        noise = torch.as_tensor(per_row(level.variance, x), dtype=torch.float64, device=x.device)
        own = noise + self.width
        others = own + self.spread
        p = torch.sigmoid(self.log_odds(x, level))[:, None]
        of_state = p * self.width / own + (1 - p) * (self.width + self.spread) / others
        return torch.addcmul(of_state.to(x.dtype) * x, (p * noise / own).to(x.dtype), self.centroid)

    def posterior_variance(self, x: Rows, level: NoiseLevel) -> PerRow:
        """Tr Cov[x0 | x]: within the two components, and between their means."""
        p = torch.sigmoid(self.log_odds(x, level))
        own, others = self._components()
        within = p * own.posterior_variance(x, level) + (1 - p) * others.posterior_variance(x, level)
        gap = own.denoised(x.double(), level) - others.denoised(x.double(), level)
        return within + p * (1 - p) * gap.square().sum(1)

    def log_prob(self, x: Rows, level: NoiseLevel = CLEAN) -> PerRow:
        """Log-density of the noised law, in nats and float64."""
        own, others = self._components()
        log_rest = math.log(-math.expm1(-self.log_classes))
        return torch.logaddexp(own.log_prob(x, level) - self.log_classes, others.log_prob(x, level) + log_rest)

    def transport(self, uniform: PerRow, normal: Rows) -> Rows:
        """Pick the class with probability 1/M, else the rest."""
        own, others = (component.transport(uniform, normal) for component in self._components())
        is_own = uniform.double() < math.exp(-self.log_classes)
        return torch.where(is_own.to(own.device)[:, None], own, others)

    def conditional(self, label: int) -> Gaussian:
        """The class, label 0."""
        self._check_only_class(label)
        return self._components()[0]

    def narrowed(self, offset: float) -> Planted:
        """The same law with variance `offset` taken from both components."""
        return replace(self, std=math.sqrt(max(self.width - self._checked(offset), 0.0)))
