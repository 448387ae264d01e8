r"""The other modes, seen from a state: a random-energy model.

A state $x$ in $d$ dimensions faces $M = e^{\beta d}$ modes that it is independent of. Mode $k$ has energy
$|x - m_k|^2/2v$, and the log-sum of their Boltzmann weights per dimension, $\phi$, competes with the weight
of the state's own mode. Only $X = |x|^2/d$ matters. Two ensembles of centroids are known: `GaussianModes`,
$m_k \sim N(0, I)$, and `SphereModes`, $|m_k|^2 = d$.

While exponentially many modes share the weight the sum is self-averaging (*annealed*). Once the number of
those that would matter falls below one, the weight *condenses* on the few lowest energies and the sum
freezes. Both phases are described by one number, the *pull* $h$: the mean of the modes as seen from $x$ is
$h\,x$.

All rates and free energies are in nats per dimension.

Source:
    [derrida1981random] and explanation/theory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from orthoscope.errors import unknown
from orthoscope.numerics import Array

_BELOW_ONE = 1 - float(np.finfo(np.float64).epsneg)


@dataclass(frozen=True, slots=True)
class Modes(ABC):
    """An ensemble of centroids."""

    @abstractmethod
    def free_pull(self, square: Array, variance: Array) -> Array:
        """Pull h of exponentially many modes, from X and v."""

    @abstractmethod
    def frozen_pull(self, square: Array, rate: Array) -> Array:
        """Pull h of the few nearest modes, from X and the rate."""

    @abstractmethod
    def rest(self, pull: Array, variance: Array) -> Array:
        """1 - h to full relative accuracy, also where v is small and the pull that of free modes."""

    @abstractmethod
    def mode_square(self, square: Array, pull: Array) -> Array:
        """|m|^2/d of a mode that dominates at the given pull."""

    @abstractmethod
    def condensation_rate(self, square: Array, variance: Array) -> Array:
        """Rate below which the weight of the modes is condensed."""

    @abstractmethod
    def log_sum(self, square: Array, variance: Array) -> Array:
        """Log of the mean Boltzmann weight of one mode, per dimension."""

    @abstractmethod
    def speciation_rate(self, shift: Array, excess: Array, variance: Array) -> Array:
        """Rate below which the own mode outweighs exponentially many others.

        Args:
            shift: Overlap with the own centroid minus 1.
            excess: Variance per coordinate minus v.
            variance: v, the variance of the noised mode.
        """

    def free_energy(self, square: Array, variance: Array, rate: Array) -> Array:
        """Log-sum over all modes per dimension, frozen where condensed.

        Accuracy:
            Exact as d grows; corrections are O(log(d)/d) when condensed, exponentially small otherwise.

        Source:
            [derrida1981random], with the exact energy distribution instead of its Gaussian approximation;
            derived in explanation/theory.
        """
        annealed = rate + self.log_sum(square, variance)
        pull = self.frozen_pull(square, rate)
        frozen = -(square * (1 - 2 * pull) + self.mode_square(square, pull)) / (2 * variance)
        return np.where(rate < self.condensation_rate(square, variance), frozen, annealed)

    def pull(self, square: Array, variance: Array, rate: Array) -> Array:
        """Pull h in whichever phase holds."""
        return np.minimum(self.free_pull(square, variance), self.frozen_pull(square, rate))

    def margin(self, shift: Array, excess: Array, variance: Array, rate: Array) -> tuple[Array, Array]:
        """Log-weight of the own mode minus that of all others per dimension, and the pull, in whichever phase holds.

        Args:
            shift: Overlap with the own centroid minus 1.
            excess: Variance per coordinate minus v.
            variance: v, the variance of the noised mode.
            rate: Rate of the others.
        """
        square = (1 + shift) ** 2 + variance + excess
        condensed = rate < self.condensation_rate(square, variance)
        pull = np.array(self.free_pull(square, variance))
        margin = self.speciation_rate(shift, excess, variance) - rate
        if condensed.any():
            frozen = self.frozen_pull(np.where(condensed, square, 1.0), rate)
            nearest = (0.5 + shift - frozen * square + self.mode_square(square, frozen) / 2) / variance
            pull, margin = np.where(condensed, frozen, pull), np.where(condensed, nearest, margin)
        return margin, pull


@dataclass(frozen=True, slots=True)
class GaussianModes(Modes):
    """Centroids N(0, I)."""

    def free_pull(self, square: Array, variance: Array) -> Array:
        """1 / (1 + v): posterior mean of a standard normal number."""
        return np.broadcast_to(1 / (1 + variance), np.broadcast_shapes(np.shape(square), np.shape(variance)))

    def frozen_pull(self, square: Array, rate: Array) -> Array:
        """Root of -log(1 - h) - h + X h^2 = 2 rate.

        Accuracy:
            To rounding: Newton's method on a convex increasing function, from above.
        """
        # Each bound keeps one positive term of the equation, and so lies above the root.
        bound = np.minimum(-np.expm1(-2 * rate - 1), np.sqrt(2 * rate / (0.5 + square)))
        h = np.minimum(bound, _BELOW_ONE)
        for _ in range(60):
            slope = h / (1 - h) + 2 * square * h
            step = (-np.log1p(-h) - h + square * h**2 - 2 * rate) / np.where(slope > 0, slope, 1)
            h = np.minimum(h - step, _BELOW_ONE)
            if (np.abs(step) <= 1e-8 * np.minimum(h, 1 - h)).all():
                break  # the next step would be the square of this one; near 1 the steps begin small
        return h

    def rest(self, pull: Array, variance: Array) -> Array:
        """What a free pull leaves, v / (1 + v), and what a frozen one falls short of it."""
        return variance / (1 + variance) + (1 / (1 + variance) - pull)

    def mode_square(self, square: Array, pull: Array) -> Array:
        """h^2 X + 1 - h."""
        return pull**2 * square + 1 - pull

    def condensation_rate(self, square: Array, variance: Array) -> Array:
        """(log(1 + 1/v) - 1/(1+v) + X/(1+v)^2) / 2."""
        total = 1 + variance
        return (np.log1p(1 / variance) + (square - total) / total**2) / 2

    def log_sum(self, square: Array, variance: Array) -> Array:
        """-(log(1 + 1/v) + X/(1+v)) / 2."""
        return -(np.log1p(1 / variance) + square / (1 + variance)) / 2

    def speciation_rate(self, shift: Array, excess: Array, variance: Array) -> Array:
        """(log(1 + 1/v) + 2p/(1+v) - (p^2 + e)/(v (1+v))) / 2."""
        total = 1 + variance
        return (np.log1p(1 / variance) + 2 * shift / total - (shift**2 + excess) / (variance * total)) / 2


@dataclass(frozen=True, slots=True)
class SphereModes(Modes):
    """Centroids uniform on the sphere |m|^2 = d."""

    def free_pull(self, square: Array, variance: Array) -> Array:
        """Ratio rho / sqrt(X) with rho / (1 - rho^2) = sqrt(X) / v."""
        return 2 / (variance + np.sqrt(variance**2 + 4 * square))

    def frozen_pull(self, square: Array, rate: Array) -> Array:
        """sqrt((1 - exp(-2 rate)) / X)."""
        return np.sqrt(-np.expm1(-2 * rate) / square)

    def rest(self, pull: Array, variance: Array) -> Array:
        """1 - h."""
        return 1 - pull

    def mode_square(self, square: Array, pull: Array) -> Array:
        """1."""
        return np.ones(np.broadcast_shapes(np.shape(square), np.shape(pull)))

    def condensation_rate(self, square: Array, variance: Array) -> Array:
        """-log(1 - rho^2) / 2."""
        return -np.log1p(-(self.free_pull(square, variance) ** 2) * square) / 2

    def log_sum(self, square: Array, variance: Array) -> Array:
        """log(1 - rho^2)/2 - (X + 1 - 2 sqrt(X) rho)/(2v)."""
        pull = self.free_pull(square, variance)
        return -self.condensation_rate(square, variance) - (square * (1 - 2 * pull) + 1) / (2 * variance)

    def speciation_rate(self, shift: Array, excess: Array, variance: Array) -> Array:
        """(1 + p - h X)/v - log(1 - rho^2)/2."""
        square = (1 + shift) ** 2 + variance + excess
        gap = 1 + shift - self.free_pull(square, variance) * square
        return gap / variance + self.condensation_rate(square, variance)


def modes(ensemble: str) -> Modes:
    """The ensemble of that name.

    Raises:
        ConfigError: if there is no such ensemble.

    Source:
        derived in explanation/theory.
    """
    known: dict[str, Modes] = {"gaussian": GaussianModes(), "sphere": SphereModes()}
    if ensemble not in known:
        raise unknown("ensemble", ensemble, known)
    return known[ensemble]
