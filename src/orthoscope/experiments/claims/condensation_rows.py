"""Claims about condensation: on how few modes the weight of a state lies."""

from __future__ import annotations

import math

import numpy as np
import torch

from orthoscope import metrics, rng
from orthoscope.experiments.claims.claim import Claim, Effort, Finding, at_least, claim, equal, found
from orthoscope.numerics import Array
from orthoscope.quantities import Estimate
from orthoscope.targets.ensembles import class_count, random_mixture
from orthoscope.theory.condensation import frozen_power, weight_square

_RATE, _VARIANCE = 0.2, 1.0
_SQUARE = 1 + _VARIANCE  # |x|^2/d of a noised sample
_STATES = 16  # per draw of the modes
_LARGE = (500, 1000, 2000, 4000)


@claim(
    "condensation",
    "Below the condensation rate few modes carry the weight: the mean sum of squared weights tends to 1 - n*.",
    source="biroli2024dynamical",
    setting=f"real modes at rate {_RATE:g} seen from independent states, |x|^2/d = {_SQUARE:g}, v = {_VARIANCE:g}: "
    "d = 30 and 45, against the exact finite-dimension integral, and its limit of infinite dimension",
)
def condensation(effort: Effort) -> Finding:
    """Sampled, by quadrature in the same dimension, and the limit that quadrature reaches."""
    sums = {dim: _sum_of_squares(dim, effort) for dim in (30, 45)}
    limit = 1 - frozen_power(_RATE, _SQUARE, _VARIANCE)
    exact = [weight_square(_RATE, _SQUARE, _VARIANCE, dim) for dim in _LARGE]
    coarse, fine = _accelerated(exact[:3]), _accelerated(exact[1:])
    return found(
        *(
            equal(
                f"sum of squared weights, d = {dim}", measured,
                weight_square(math.log(class_count(dim, rate=_RATE)) / dim, _SQUARE, _VARIANCE, dim),
            )
            for dim, measured in sums.items()
        ),
        at_least("sum of squared weights, d = 45, above its limit", sums[45], limit),
        equal(
            "exact integral, extrapolated to infinite d", fine, limit, allowance=abs(fine - coarse),
            because="the change with the last doubling of d",
        ),
        note=f"exact integral {exact[-1]:.4f} in d = {_LARGE[-1]}",
    )  # fmt: skip


def _sum_of_squares(dim: int, effort: Effort) -> Estimate:
    """Mean over draws of real modes and over directions of the state."""
    means = []
    for draw in range(effort.pick(100, 600)):
        stream = rng.stream(effort.seed, "condensation", dim, draw)
        modes = random_mixture(dim, std=1.0, rate=_RATE, stream=stream).centroids.double().numpy()
        x = stream.standard_normal((_STATES, dim))
        x *= math.sqrt(_SQUARE * dim) / np.linalg.norm(x, axis=1, keepdims=True)
        means.append(float((_weights(x, modes) ** 2).sum(1).mean()))
    return metrics.mean_of(means)


def _weights(x: Array, modes: Array) -> Array:
    energies = torch.from_numpy((x @ modes.T - (modes**2).sum(1) / 2) / _VARIANCE)
    return np.asarray(torch.softmax(energies, 1).numpy())


def _accelerated(values: list[float]) -> float:
    """Limit of a sequence over doubled dimensions whose differences shrink geometrically (Aitken)."""
    first, second, third = values
    return third - (third - second) ** 2 / ((third - second) - (second - first))


ROWS: tuple[Claim, ...] = (condensation,)
