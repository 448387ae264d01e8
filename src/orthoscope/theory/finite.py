r"""Overlap and variance of guided paths in finite dimension.

In $d$ dimensions commitment is no moment but a crossover: guidance acts with strength $w(1 - p_1)$, where
$p_1$ is the posterior of the state's own mode. Its log-odds are $d\,g + \sqrt d\,\sigma_g\,\xi$: $g$ is the
mean-field margin of `Modes.margin`, frozen where the other modes condense, and the standard normal number $\xi$, kept
along a path, stands for what differs between trajectories,

$$ \sigma_g^2 = \tfrac12 A^2 + B^2 + \tfrac12 C^2,\quad
   A = \frac{q^2}{u} - \frac{(q-1)^2}{v},\quad B = \sqrt V\Bigl(\frac qu - \frac{q-1}{v}\Bigr),\quad
   C = V\Bigl(\frac1u - \frac1v\Bigr), \qquad u = 1 + v . $$

Others in finite number condense earlier than mean field has it: the largest of $M - 1$ normal numbers has the median
$z < \sqrt{2\log(M-1)}$. Condensation, frozen sum and frozen pull are those of the *edge rate* $z^2/2d$.

The moment equations are integrated on a grid of values of $\xi$ and averaged.

A network may know only a *learned fraction* $\ell$ of what the unconditional law adds to one Gaussian with its moments.
Its unconditional branch is $\ell$ times the exact one and $1 - \ell$ times that Gaussian's, against which guidance acts
with the strength $w(1-\ell)$ on every path, whether its class is decided or not (explanation/score-errors).

Source:
    derived in explanation/theory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count, pairwise
from typing import TypeAlias

import numpy as np
from scipy.special import expit, ndtri_exp

from orthoscope.errors import ConfigError
from orthoscope.numerics import Array, normal_grid
from orthoscope.theory.energy import GaussianModes
from orthoscope.theory.problem import Problem

Learned: TypeAlias = Callable[[float], float]  # the learned fraction at a variance time
MODES = GaussianModes()
_NODES = 129  # of the average over xi: spacing 0.1
_INSIDE = 1e-12
_FAR = 1e6  # a run from infinity is taken up at this many dimensions: it is forgotten as 1/v
_TOLERANCE = 1e-8
_MOST_ASKED = 200_000  # rates of a path: thousands are usual
_LEAST = 1e-5  # shifts below which the tolerance is no longer relative
_MANY = 30.0  # log of a number beyond which 1 does not count beside it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FiniteMoments:
    """Where guided paths go in finite dimension.

    Attributes:
        mean_shift: Overlap with the own centroid minus 1, at t = 0.
        variance_shift: Mean variance per coordinate minus s^2, at t = 0.
        variance_ratio: Mean variance per coordinate over s^2, at t = 0.
        class_posterior: Mean posterior of the own mode, at t = 0.
        stretches: The path between jumps of the strength, noise side first, each from a variance time down to another.
    """

    mean_shift: float
    variance_shift: float
    variance_ratio: float
    class_posterior: float
    stretches: tuple[Stretch, ...] = field(repr=False)

    def path(self, times: Sequence[float]) -> tuple[Array, Array]:
        """Overlap and mean variance per coordinate at variance times of the run."""
        found = [next(one for one in reversed(self.stretches) if t <= one.high).at(t) for t in times]
        return np.array([1 + shift for shift, _, _ in found]), np.array([variance for _, variance, _ in found])


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """A path where the strength does not jump.

    Attributes:
        high: Variance time of its noise side.
        at: Mean shift, mean variance and its excess at a variance time within.
    """

    high: float
    at: Callable[[float], tuple[float, float, float]]


def log_others(rate: float, dim: int) -> float:
    """Log of the number of other modes, log(exp(rate * dim) - 1), without overflow.

    Source:
        derived in explanation/theory.
    """
    return rate * dim + float(np.log(-np.expm1(-rate * dim)))


def edge_rate(others: float, dim: int) -> float:
    """Rate at which so many others in `dim` dimensions condense: z^2/2d, where z is the median of their largest number.

    It tends to their rate from below, like log(dim)/dim; a single other mode is condensed always.

    Args:
        others: Log of the number of other modes.
        dim: The dimension.

    Source:
        [derrida1981random], the lowest of finitely many energies; derived in explanation/theory.
    """
    # The largest stays below z with probability 1/2. Of very many, each exceeds z with probability log(2)/number.
    few = others < _MANY
    log_tail = math.log(-math.expm1(-math.log(2) * math.exp(-others))) if few else math.log(math.log(2)) - others
    return max(-float(ndtri_exp(log_tail)), 0.0) ** 2 / (2 * dim)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """The own mode against all others in `dim` dimensions.

    Attributes:
        dim: The dimension.
        others: Log of the number of other modes.
        edge: Their `edge_rate`.
    """

    dim: int
    others: float
    edge: float

    def log_odds(self, shift: Array, excess: Array, variance: Array, xi: Array) -> tuple[Array, Array]:
        """Log-odds of the own mode for trajectories with deviation xi, and the pull of the others.

        Accuracy:
            The log-odds are Gaussian by assumption, with the spread that they have to leading order in 1/dim while the
            others are free. The sum over the others is its typical value.
        """
        margin, pull = MODES.margin(shift, excess, variance, np.asarray(self.edge))
        mean = self.dim * margin - (self.others - self.dim * self.edge)
        return mean + np.sqrt(self.dim) * spread(shift, excess, variance) * xi, pull


def contest(rate: float, dim: int) -> Contest:
    """The contest of one of exp(rate * dim) modes.

    Source:
        derived in explanation/theory.
    """
    others = log_others(rate, dim)
    return Contest(dim=dim, others=others, edge=edge_rate(others, dim))


def spread(shift: Array, excess: Array, variance: Array) -> Array:
    """sigma_g: standard deviation of the log-odds against free others, in units of sqrt(dim).

    Against frozen others it would grow like 1/v, margin and all, so that a path behind would stay behind; but strengths
    that are not negative push such a path away from the few modes ahead of it. The free spread stays bounded.

    Source:
        derived in explanation/theory.
    """
    total = 1 + variance
    overlap, width = 1 + shift, np.maximum(variance + excess, 0)
    centroid = overlap**2 / total - shift**2 / variance
    cross = np.sqrt(width) * (overlap / total - shift / variance)
    noise = width * (1 / total - 1 / variance)
    return np.sqrt(centroid**2 / 2 + cross**2 + noise**2 / 2)


def solve_finite(problem: Problem, dim: int, *, learned: Learned | None = None) -> FiniteMoments:
    """Follow the paths of the first parameter set of a problem to t = 0 in `dim` dimensions.

    Args:
        problem: The parameter set.
        dim: The dimension.
        learned: Learned fraction of the unconditional branch at a variance time; None where all of it is known.

    Accuracy:
        Numerically 1e-7. As a theory: 15 % of mean shifts at dim = 16, 9 % on frozen paths, 5 % from 24 on; 10 to 40 %
        of variance shifts from 16 on (see explanation/theory). The class posterior is that of Gaussian log-odds:
        good where the class is mostly kept, and too large where it is mostly lost, at w = -1 in the dense regime by
        orders of magnitude. Not for paths that are captured in mean-field theory.

    Raises:
        ConfigError: if a run from infinite noise has no strength there, or the path cannot be followed.

    Source:
        derived in explanation/theory.
    """
    against = contest(float(problem.rate[0]), dim)
    xi, weights = normal_grid(_NODES)
    marks = [t for t in (*problem.strengths.knots, 0.0) if 0 <= t]
    top = problem.t_max if np.isfinite(problem.t_max) else max(_FAR * dim, *marks)
    edges = [top, *sorted({t for t in marks if t < top}, reverse=True)]
    # At infinite noise the own mode has its prior weight 1/M: of what is known, guidance acts with the rest.
    known = 1.0 if learned is None else learned(top)
    shift, excess = problem.begin(top, share=(1 - known) + known * float(expit(against.others)))
    path = _Scaled(problem, against, xi, learned)
    state = np.repeat(path.scaled(shift[0], excess[0], problem.base + top), xi.size)
    stretches = []
    for high, low in pairwise(edges):
        state, between = path.follow(state, high, low)
        stretches.append(Stretch(high, partial(_averaged, path, between, weights)))
    p, log_ratio = path.plain(state, problem.base)
    own = expit(against.log_odds(p, problem.base * np.expm1(log_ratio), np.asarray(problem.base), xi)[0])
    mean_shift, variance, variance_shift = _mixed(p, log_ratio, problem.base, weights)
    return FiniteMoments(
        mean_shift=mean_shift,
        variance_shift=variance_shift,
        variance_ratio=variance / problem.base,
        class_posterior=float(weights @ own),
        stretches=tuple(stretches),
    )


def _averaged(
    path: _Scaled, between: Callable[[float], Array], weights: Array, time: float
) -> tuple[float, float, float]:
    v = path.problem.base + time
    return _mixed(*path.plain(np.asarray(between(float(np.log(v)))), v), v, weights)


def _mixed(shift: Array, log_ratio: Array, v: float, weights: Array) -> tuple[float, float, float]:
    # Law of total variance: the spread of the conditional means lies along the centroid, whose square is dim, and so
    # counts in full per coordinate.
    mean = float(weights @ shift)
    spread = float(weights @ (shift - mean) ** 2)
    return mean, spread + v * float(weights @ np.exp(log_ratio)), spread + v * float(weights @ np.expm1(log_ratio))


@dataclass(frozen=True, slots=True)
class _Scaled:
    """Paths for every xi, by p and log(V/v) over their sizes near clean data: small ones keep their digits."""

    problem: Problem
    against: Contest
    xi: Array
    learned: Learned | None = None

    def _sizes(self, v: float) -> tuple[float, float]:
        stretch = v / (1 + v)
        return stretch**self.problem.factor, stretch**self.problem.lam**2

    def scaled(self, shift: float, excess: float, v: float) -> Array:
        """The state from shift and excess."""
        sizes = self._sizes(v)
        return np.array([shift / sizes[0], np.log1p(excess / v) / sizes[1]])

    def plain(self, state: Array, v: float) -> tuple[Array, Array]:
        """Shift and log(V/v)."""
        sizes, many = self._sizes(v), self.xi.size
        return state[:many] * sizes[0], state[many:] * sizes[1]

    def _moved(self, acting: Array | float, pull: Array, shift: Array, v: float) -> tuple[Array, Array]:
        """What guidance adds to the rates of shift and log(V/v), acting with some strength against some pull."""
        k = self.problem.factor
        return k * acting * (pull * shift - MODES.rest(pull, np.asarray(v))), 2 * k * acting * pull

    def follow(self, state: Array, high: float, low: float) -> tuple[Array, Callable[[float], Array]]:
        """The state at the time `low` from that at `high`, with no jump in between, and at any log v between them."""
        # Loaded on first use: the solver is slow to import, and mean-field theory does without it.
        from scipy.integrate import solve_ivp

        k, base, relaxing = self.problem.factor, self.problem.base, self.problem.lam**2
        y_high, y_low = np.log(base + high), np.log(base + low)
        inside = _INSIDE * (y_high - y_low)
        rows, asked = np.zeros(1, dtype=np.intp), count()

        def slope(y: float, state: Array) -> Array:
            if next(asked) > _MOST_ASKED:
                raise ConfigError(f"the finite-dimension theory needs more than {_MOST_ASKED:,} steps; leave out `dim`")
            v = float(np.exp(y))
            shift, log_ratio = self.plain(state, v)
            time = np.exp(np.clip(y, y_low + inside, y_high - inside)) - base
            log_odds, pull = self.against.log_odds(shift, v * np.expm1(log_ratio), np.asarray(v), self.xi)
            strength = self.problem.strengths.at(np.array([[max(time, 0.0)]]), rows)[0, 0]
            known = 1.0 if self.learned is None else self.learned(max(float(time), 0.0))
            rates = state[: self.xi.size], state[self.xi.size :]
            moved = self._moved(strength * known * expit(-log_odds), pull, shift, v)
            if known != 1:
                free = MODES.free_pull(pull, np.asarray(v))
                blind = self._moved(strength * (1 - known), free, shift, v)
                moved = moved[0] + blind[0], moved[1] + blind[1]
            if relaxing:
                moved = moved[0], moved[1] - relaxing * (np.expm1(-log_ratio) + log_ratio)
            sizes = self._sizes(v)
            orders = k, relaxing
            return np.concatenate(
                [o * v / (1 + v) * z + m / s for o, z, m, s in zip(orders, rates, moved, sizes, strict=True)]
            )

        with np.errstate(over="ignore", invalid="ignore"):  # of trial steps, which are taken back
            run = solve_ivp(
                slope, (y_high, y_low), state, method="DOP853", rtol=_TOLERANCE, atol=_LEAST * _TOLERANCE,
                dense_output=True,
            )  # fmt: skip
        if not (run.success and np.isfinite(run.y[:, -1]).all()):
            raise ConfigError(f"the finite-dimension theory cannot follow this path ({run.message}); leave out dim")
        return np.asarray(run.y[:, -1]), run.sol
