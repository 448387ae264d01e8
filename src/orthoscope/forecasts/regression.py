r"""A branch's answers as a function of state and prompt, from recorded ones, at one noise level.

The answer is a Gaussian process: a constant, one that is the prompt's own, a linear map common to all prompts and one
of each prompt, and a smooth rest, common and of each prompt, whose kernel is $\exp(-|x - x'|^2/2\ell^2)$ with $\ell^2$
a share of the mean squared distance of states from their mean. The variances of these parts are those of the largest
marginal likelihood.

Recorded answers are met almost exactly: they are without noise. What is not smooth at this scale is the image's own
then, and remains with its seed, for states of one seed under two schedules are nearer to each other than to any other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import minimize

from orthoscope.numerics import Array

_PARTS = 5
_SHARE = 0.3  # of the squared spread of states: the squared length of the smooth rest
_LOG_VARIANCES = (-12.0, 6.0)  # of the parts, in units of the variance of answers
_JITTER = 1e-6  # in the same: answers have no noise, and a matrix needs some
_START = (-1.2,) * _PARTS
_ROUNDS = 15  # of the search for variances
_ROWS = 150  # that the search looks at
Weights = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kernels:
    """How alike states are to those recorded, part by part.

    Attributes:
        x: Recorded states (rows, dim).
        prompts: Prompt of every row.
        center: Mean of the states.
        spread: Their mean squared distance from it.
    """

    x: Array
    prompts: NDArray[np.int64]
    center: Array
    spread: float

    @classmethod
    def of(cls, x: Array, prompts: NDArray[np.int64]) -> Kernels:
        """Of recorded states."""
        center = x.mean(0)
        centred = x - center
        spread = float(np.square(centred).sum(1).mean())
        return cls(x=centred, prompts=prompts, center=center, spread=spread or 1.0)

    def to(self, x: Array, prompts: NDArray[np.int64]) -> list[Array]:
        """One matrix (states, recorded states) for every part."""
        return self._between(x - self.center, prompts)

    def among(self, rows: slice | NDArray[np.intp] = slice(None)) -> list[Array]:
        """Of recorded states with each other."""
        part = Kernels(x=self.x[rows], prompts=self.prompts[rows], center=self.center, spread=self.spread)
        return part._between(part.x, part.prompts)

    def _between(self, centred: Array, prompts: NDArray[np.int64]) -> list[Array]:
        same = (prompts[:, None] == self.prompts).astype(np.float64)
        linear = centred @ self.x.T / self.spread
        sizes = [np.square(one).sum(1) / self.spread for one in (centred, self.x)]
        smooth = np.exp(-np.maximum(np.add.outer(*sizes) - 2 * linear, 0) / (2 * _SHARE))
        return [same, linear, same * linear, smooth, same * smooth]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Regression:
    """One branch at one level.

    Attributes:
        mean: Mean of the recorded answers.
        variances: Of the parts of the process, in units of the variance of answers.
        coefficients: What every recorded state adds (rows, dim).
        searched: Logarithms of the variances, from which a neighboring level may start.
    """

    mean: Array
    variances: Array
    coefficients: Array
    searched: Weights

    @classmethod
    def fitted(cls, kernels: Kernels, y: Array, *, runs: int = 1, start: Weights = _START) -> Regression:
        """The fit to recorded answers (rows, dim).

        Args:
            kernels: Of the states at which they were given.
            y: The answers.
            runs: Runs of the same images, one after another, that the rows are.
            start: Where the search for variances begins.
        """
        mean = y.mean(0)
        centred = y - mean
        unit = math.sqrt(float(np.square(centred).mean())) or 1.0
        searched = _search(kernels, centred / unit, runs, start)
        variances = np.exp(searched)
        whole = _sum(variances, kernels.among()) + _JITTER * np.eye(len(y))
        coefficients = cho_solve(cho_factor(whole, lower=True), centred)
        return cls(mean=mean, variances=variances, coefficients=coefficients, searched=searched)

    def __call__(self, kernels: Sequence[Array]) -> Array:
        """Answers at states with these kernels to the recorded ones."""
        return self.mean + _sum(self.variances, kernels) @ self.coefficients


def _sum(variances: Sequence[float] | Array, kernels: Sequence[Array]) -> Array:
    return np.asarray(sum(variance * kernel for variance, kernel in zip(variances, kernels, strict=True)))


def _search(kernels: Kernels, y: Array, runs: int, start: Weights) -> Weights:
    """Variances of the largest marginal likelihood, of images spread evenly where there are many.

    All runs of an image are looked at: how answers change from one to another is what the smooth rest is there for.
    """
    images = len(y) // runs
    some = np.unique(np.linspace(0, images - 1, min(images, _ROWS // runs)).astype(np.intp))
    rows = np.add.outer(images * np.arange(runs), some).ravel()
    parts, products, dim = kernels.among(rows), y[rows] @ y[rows].T, y.shape[1]

    def surprise(logs: Array) -> tuple[float, Array]:
        """Minus the log-likelihood of a row, and its gradient."""
        variances = np.exp(logs)
        try:
            factor = cho_factor(_sum(variances, parts) + _JITTER * np.eye(len(rows)), lower=True)
        except LinAlgError:
            return math.inf, np.zeros(len(logs))
        inverse = cho_solve(factor, np.eye(len(rows)))
        slope = dim * inverse - inverse @ products @ inverse
        gradient = [v * np.vdot(slope, kernel) / 2 for v, kernel in zip(variances, parts, strict=True)]
        value = dim * np.log(np.diag(factor[0])).sum() + np.vdot(inverse, products) / 2
        return float(value / len(rows)), np.array(gradient) / len(rows)

    bounds = [_LOG_VARIANCES] * _PARTS
    # A variance that vanished at the level before would not be found again.
    first = np.clip(start, -7.0, 4.0)
    found = minimize(surprise, first, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _ROUNDS})
    return tuple(found.x.tolist())
