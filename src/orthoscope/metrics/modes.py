r"""Classes of several modes: how samples share them out, and how they scatter within.

Two distortions that one variance mixes up are reported apart. For a class with modes $m_k$ of weight $\pi_k$ and width
$s$, and the exact posterior $p_k(x)$ of its modes at a clean sample $x$:

- *between* modes: the weights $\hat\pi_k = \overline{p_k(x)}$, their entropy, their distance from $\pi_k$;
- *within* modes: $\overline{\sum_k p_k(x)\,|x - c_k|^2}/(d s^2)$ with $c_k$ the centroid, or the samples' own mean.

Both are what they should be, $\hat\pi_k = \pi_k$ and 1, in expectation for a perfect sampler, however much the modes
overlap. Samples far from every mode (`far_from_modes`) belong to none: of a perfect sampler at most 0.13 % in 64
dimensions, 1.5 % in one.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from orthoscope.errors import ConfigError, ShapeError, unknown
from orthoscope.metrics.estimators import FloatArray, Samples, as_samples, jackknife, mean_of, share_of
from orthoscope.process import NoiseLevel
from orthoscope.quantities import Estimate
from orthoscope.targets import CLEAN, Mixture
from orthoscope.targets.modes import log_partition
from orthoscope.typing import Labels, PerRow, Rows

ABOUT = ("centroid", "mean")
_FAR = 3.5  # standard deviations of the squared distance from a mode


def mode_posteriors(law: Mixture, x: ArrayLike, level: NoiseLevel = CLEAN) -> FloatArray:
    """Exact posterior of every mode of a law given each row, one column per mode, in float64.

    Raises:
        ShapeError: if the rows do not have the law's dimension.
    Source:
        Bayes' rule; derived in explanation/multimodal.
    """
    rows = as_samples(x, least=1)
    if rows.shape[1] != law.dim:
        raise ShapeError(f"expected rows with {law.dim} coordinates, got {rows.shape[1]}")
    centroids = law.centroids.double().numpy(force=True)
    v = np.reshape(level.variance, (-1, 1)) + law.width
    if not (v > 0).all():
        raise ConfigError("modes without width have no posterior at clean data; give a noisier level")
    gaps = (rows**2).sum(1)[:, None] - 2 * rows @ centroids.T + (centroids**2).sum(1)
    logits = law.log_weights.numpy(force=True) - gaps / (2 * v)
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(weights / weights.sum(1, keepdims=True))


def own_posterior(law: Mixture, x: Rows, modes: Labels, level: NoiseLevel = CLEAN) -> PerRow:
    """Exact posterior of one given mode per row, for laws of any number of modes, in float64.

    Source:
        Bayes' rule; derived in explanation/multimodal.
    """
    x, v = x.double() - law.center, float(level.variance) + law.width
    own = law.table[modes].double()
    logit = ((x * own[:, : law.dim]).sum(1) + own[:, law.dim]) / v + own[:, law.dim + 1]
    return torch.exp(logit - log_partition(law.table, x, v))


def is_far(squares: Any, dim: int) -> Any:
    """Whether squared distances from a mode, in units of its variance, are 3.5 of their standard deviations too large.

    Source:
        Mean and variance of the chi-square law; derived in explanation/metrics.
    """
    return (squares - dim) / (2 * dim) ** 0.5 > _FAR


def far_from_modes(law: Mixture, x: Rows) -> torch.Tensor:
    """Whether each row is far from every mode of a law.

    Source:
        derived in explanation/metrics.
    """
    return is_far(torch.cdist(x, law.centroids).min(1).values.square() / law.width, law.dim)


def mode_weights(samples: ArrayLike, law: Mixture) -> list[Estimate]:
    """Share of samples in each mode of their class, by the exact posterior.

    Source:
        derived in explanation/multimodal.
    """
    return [share_of(column) for column in mode_posteriors(law, as_samples(samples)).T]


def mode_entropy(samples: ArrayLike, law: Mixture) -> Estimate:
    """Entropy of the shares of the modes, in nats; that of the true weights for a perfect sampler.

    Accuracy:
        Bias O(1/n^2) after the jackknife.
    Source:
        Shannon's entropy; derived in explanation/multimodal.
    """
    return jackknife(lambda p: entropy(p.mean(0)), mode_posteriors(law, as_samples(samples)))


def entropy(weights: ArrayLike) -> float:
    """Shannon entropy of weights that add up to 1, in nats."""
    shares = np.asarray(weights, dtype=np.float64)
    return float(-np.sum(shares * np.log(np.where(shares > 0, shares, 1.0))))


def mode_distance(samples: ArrayLike, law: Mixture) -> Estimate:
    """Total-variation distance of the shares of the modes from their true weights, in [0, 1]; 0 is perfect.

    Accuracy:
        A distance cannot be negative: for a perfect sampler the plain estimate is of the size of its error, of which
        the jackknife removes only a part.
    """
    truth = law.log_weights.exp().numpy(force=True)
    distance = jackknife(
        lambda p: 0.5 * float(np.abs(p.mean(0) - truth).sum()), mode_posteriors(law, as_samples(samples))
    )
    return distance


def mode_spread(samples: ArrayLike, law: Mixture, *, about: Literal["centroid", "mean"] = "centroid") -> Estimate:
    """Variance per coordinate within modes in units of the modes' own; 1 for a perfect sampler.

    Args:
        samples: One row per trajectory.
        law: The class.
        about: The modes' `centroid`, which counts displacement too, or the samples' own `mean` in each mode.

    Raises:
        ConfigError: if the modes have no width, or `about` is unknown.
    Accuracy:
        Bias O(1/n^2) about the mean, after the jackknife; none about the centroid.
    Source:
        derived in explanation/multimodal.
    """
    if about not in ABOUT:
        raise unknown("about", about, ABOUT)
    if not law.width > 0:
        raise ConfigError("the modes have no width, so nothing can be measured in units of it")
    x = as_samples(samples, least=8)
    p = mode_posteriors(law, x)
    centroids = law.centroids.double().numpy(force=True)
    unit = law.dim * law.width
    if about == "centroid":
        gaps = (x**2).sum(1)[:, None] - 2 * x @ centroids.T + (centroids**2).sum(1)
        return mean_of((p * gaps).sum(1) / unit)

    def ratio(rows: Samples) -> float:
        part, share = rows[:, : law.dim], rows[:, law.dim :]
        total = np.maximum(share.sum(0), np.finfo(np.float64).tiny)
        means = share.T @ part / total[:, None]
        return float((part**2).sum() - (total[:, None] * means**2).sum()) / (len(rows) * unit)

    return jackknife(ratio, np.hstack([x, p]))
