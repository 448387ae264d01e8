r"""How many classes the noise lets through: classes as a code, and the information of a channel.

Modes drawn from a law $p$ are told apart at noise variance $v$ as long as $\log M$ is below the information
$I(x_0; x_0 + \sqrt v\,\varepsilon)$ with $x_0\sim p$, whatever the law: this is Shannon's theorem for a random code.
For Gaussian centroids it is the speciation condition of mean-field theory, $\beta = \tfrac12\log(1 + 1/v)$.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq

from orthoscope.targets.modes import log_partition, mode_table
from orthoscope.targets.structured import Manifold

FloatArray = NDArray[np.float64]
_SLICE = 1 << 13  # codewords read at once
_LOG_VARIANCES = (-30.0, 30.0)  # between which a spectrum's speciation is looked for


def subspace(dim: int, latent_dim: int) -> FloatArray:
    """Covariance eigenvalues of modes that fill a flat subspace evenly, with unit variance per ambient coordinate."""
    return np.where(np.arange(dim) < latent_dim, dim / latent_dim, 0.0)


def flat_rate(variance: float) -> float:
    """The class rate at which Gaussian modes in flat space speciate at this variance v, unguided."""
    return 0.5 * math.log1p(1 / variance)


def spectral_variance(log_classes: float, eigenvalues: FloatArray) -> float:
    """Variance v at which Gaussian point modes of this covariance speciate, unguided."""
    return math.exp(brentq(lambda y: np.log1p(eigenvalues * math.exp(-y)).sum() / 2 - log_classes, *_LOG_VARIANCES))


def information(
    manifold: Manifold, variances: FloatArray, codewords: int, stream: np.random.Generator, *, rows: int = 128
) -> FloatArray:
    """Mutual information of a point of the manifold and its noised version, in nats, at each noise variance.

    Accuracy:
        Standard error about 1/sqrt(rows) times the spread of the information density; too large where it comes near
        log(codewords), beyond which it cannot be measured so.
    """
    sent, book = manifold.sample(rows, stream), manifold.sample(codewords, stream)
    normal = torch.from_numpy(stream.standard_normal(tuple(sent.shape)))
    table = mode_table(book.float(), torch.zeros(codewords))
    found = []
    for v in variances:
        x = sent + math.sqrt(v) * normal
        parts = [log_partition(part, x.float(), float(v)) for part in torch.split(table, _SLICE)]
        log_mean = torch.stack(parts).logsumexp(0) - math.log(codewords)
        own = (x * sent).sum(1) / v - sent.square().sum(1) / (2 * v)
        found.append(float((own - log_mean).mean()))
    return np.array(found)


def crossing(log_v: FloatArray, informations: FloatArray, size: float) -> float:
    """Variance at which a falling information passes log(M)."""
    return math.exp(descent(log_v[::-1], informations[::-1], size))


def descent(log_v: FloatArray, rising: FloatArray, level: float) -> float:
    """Where a curve, given along falling log-variance, first reaches a level; nan if it does not."""
    reached = np.flatnonzero(rising >= level)
    if not len(reached) or reached[0] == 0:
        return math.nan
    k = int(reached[0])
    share = (level - rising[k - 1]) / (rising[k] - rising[k - 1])
    return float(log_v[k - 1] + share * (log_v[k] - log_v[k - 1]))
