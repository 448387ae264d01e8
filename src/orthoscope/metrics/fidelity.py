r"""How close images are to reference images, as sets and as moments.

With balls round every image that reach its $k$-th neighbor in its own set:

- precision: share of samples inside a ball of the reference; recall: share of references inside a ball of the samples;
- density: balls of the reference that hold a sample, per sample and k; coverage: share of those balls that hold any.

If both sets follow one law, density has mean 1 and coverage $1 - \prod_{j<k}\frac{N-1-j}{N+M-1-j}$ exactly, whatever
the law (`coverage_of_equals`); precision and recall have no such value and depend on dimension and numbers.

- `frechet_between`: squared Fréchet distance of two sets of equal size, with the 1/n part of its bias taken off.

These need all features at once, and nothing here can be streamed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.metrics.contributions import Contributions, Index, blocks_of, influence
from orthoscope.metrics.estimators import FloatArray, Samples, as_samples, jackknife
from orthoscope.quantities import Estimate

_NEIGHBORS = 5
_AT_ONCE = 1 << 22  # distances held at a time
_ROUNDING = 1e-6  # of products of vectors, relative to their length, in the distance of equal ones


class Manifolds(NamedTuple):
    """Comparison of two sets of images by balls round each.

    Attributes:
        precision: Share of samples that could be references, in [0, 1].
        recall: Share of references that could be samples, in [0, 1].
        density: Like precision, counting balls; 1 on average for one law, not bounded by it.
        coverage: Share of references with a sample near, in [0, 1].
    """

    precision: Contributions
    recall: Contributions
    density: Contributions
    coverage: Contributions


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """Reference images that several sets of samples are compared with: what concerns them alone is found once.

    Attributes:
        rows: One image per row.
    """

    rows: FloatArray

    @cached_property
    def _radii(self) -> dict[int, FloatArray]:
        return {}

    @cached_property
    def center(self) -> FloatArray:
        """The mean image."""
        return np.asarray(self.rows.mean(0))

    def radii(self, k: int) -> FloatArray:
        """Distance of every image to its k-th neighbor."""
        if k not in self._radii:
            self._radii[k] = _radii(self.rows - self.center, k, [])[:, 0]
        return self._radii[k]


def manifolds(samples: ArrayLike, reference: ArrayLike | Reference, *, k: int = _NEIGHBORS) -> Manifolds:
    """Precision, recall, density and coverage of samples against a reference, each without units.

    Units are 20 blocks of samples, each left out in turn from everything, balls included: sort samples by prompt, so
    that blocks are prompts, and resample over images. The reference is taken as given, the same for all runs.

    Args:
        samples: One generated image per row.
        reference: One reference image per row, or these with what is known of them.
        k: Neighbors that a ball reaches.

    Accuracy:
        Exact for the sets given, up to distances of 1e-6 of their typical length, which count as none. All four depend
        on both numbers and on k: compare at equal ones only. The errors of recall and coverage are on the safe side,
        since the balls that a block leaves behind grow.

    Raises:
        ShapeError: if the two sets have different features.
        ConfigError: if a row is not finite, or there are too few for k neighbors.
    Source:
        Precision and recall [kynkaanniemi2019improved], density and coverage [naeem2020reliable]; derived in
        explanation/metrics.
    """
    given = reference if isinstance(reference, Reference) else Reference(rows=as_samples(reference))
    x, y = _two_sets(samples, given.rows)
    blocks = blocks_of(len(x))
    fewest = min(len(x) - len(blocks[0]), len(y))
    if not 1 <= k < fewest:
        raise ConfigError(f"{k} neighbors need more images: expected 1 <= k < {fewest} for {len(x)} against {len(y)}")
    x, y = x - given.center, y - given.center
    slack = _ROUNDING * math.sqrt(max((x**2).sum(1).mean(), (y**2).sum(1).mean()))
    radii, radii0 = _radii(x, k, blocks) + slack, given.radii(k) + slack
    inside, hits = np.zeros(len(x)), np.zeros((len(y), len(blocks)))
    recalled = np.zeros(len(blocks) + 1)
    holds = np.zeros(len(x), dtype=bool)
    for rows, distances in _tables(y, x):
        within = distances <= radii0[rows, None]
        inside += within.sum(0)
        holds |= within.any(0)
        hits[rows] = np.stack([within[:, block].sum(1) for block in blocks], 1)
        recalled[0] += (distances <= radii[:, 0]).any(1).sum()
        for b, block in enumerate(blocks, 1):
            reached = distances <= radii[:, b]
            reached[:, block] = False
            recalled[b] += reached.any(1).sum()
    share = np.array([len(block) for block in blocks]) / len(x)
    total = hits.sum(1)
    return Manifolds(
        precision=_share(*_means(holds.astype(float), blocks), share, len(x)),
        recall=_share(recalled[0] / len(y), recalled[1:] / len(y), share, len(y)),
        density=_of_blocks(*_means(inside / k, blocks), share),
        coverage=_share((total > 0).mean(), (total[:, None] > hits).mean(0), share, len(y)),
    )


def coverage_of_equals(samples: int, reference: int, *, k: int = _NEIGHBORS) -> float:
    """Mean coverage of a reference by so many samples of its own law, whatever the law.

    Raises:
        ConfigError: if there are too few for k neighbors.
    Source:
        [naeem2020reliable]; derived in explanation/metrics.
    """
    if not (1 <= k < reference and samples >= 1):
        raise ConfigError(f"expected 1 <= k < {reference} references and a sample, got k = {k}, {samples} samples")
    j = np.arange(k)
    return 1 - float(np.prod((reference - 1 - j) / (reference + samples - 1 - j)))


def frechet_between(samples: ArrayLike, reference: ArrayLike) -> Estimate:
    r"""Squared Fréchet distance between two sets of equal size, per dimension, in squared data units.

    Accuracy:
        The plain estimate for two sets of n from one isotropic law is too large by std^2 (dim + 5)/(2 n), twice the
        amount for one set and a known law; the jackknife, which leaves out the same rows of both, removes the 1/n part.
        With n not well above the dimension what remains is large: compare runs at equal n only.

    Raises:
        ShapeError: if the two sets have different features.
        ConfigError: if they differ in number, there are fewer than eight, or a row is not finite.
    Source:
        Fréchet distance of Gaussians (Dowson and Landau 1982); derived in explanation/metrics.
    """
    x, y = _two_sets(samples, reference)
    if len(x) != len(y):
        raise ConfigError(
            f"the bias of a Fréchet distance depends on numbers: expected equal ones, got {len(x)} and {len(y)}; "
            "draw as many of the larger set"
        )
    dim = x.shape[1]

    def distance(rows: Samples) -> float:
        a, b = rows[:, :dim], rows[:, dim:]
        gap = a.mean(0) - b.mean(0)
        first, second = _root(a), _root(b)
        cross = np.linalg.svd(first @ second.T, compute_uv=False).sum()
        return float(gap @ gap + (first**2).sum() + (second**2).sum() - 2 * cross) / dim

    return jackknife(distance, as_samples(np.hstack([x, y]), least=8))


def _root(x: FloatArray) -> FloatArray:
    """A matrix R with R^T R the covariance, of the fewest rows."""
    centred = (x - x.mean(0)) / math.sqrt(len(x) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r")) if len(x) > x.shape[1] else centred


def _two_sets(samples: ArrayLike, reference: ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, y = as_samples(samples), as_samples(reference)
    if x.shape[1] != y.shape[1]:
        raise ShapeError(f"expected two sets with the same features, got {x.shape[1]} and {y.shape[1]} per image")
    return x, y


def _tables(x: FloatArray, y: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
    """Distances between two sets, some rows at a time."""
    from sklearn.metrics.pairwise import euclidean_distances  # a second to import

    rows = max(1, _AT_ONCE // len(y))
    for start in range(0, len(x), rows):
        part = slice(start, start + rows)
        yield part, euclidean_distances(x[part], y)


def _radii(x: FloatArray, k: int, blocks: list[Index]) -> FloatArray:
    """Distance of every row to its k-th neighbor, among all in the first column, then without each block."""
    radii = np.empty((len(x), len(blocks) + 1))
    near = min(len(x) - 1, k + max((len(block) for block in blocks), default=0))
    block_of = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks]) if blocks else np.zeros(len(x))
    for rows, distances in _tables(x, x):
        own = np.arange(len(distances))
        distances[own, own + rows.start] = np.inf
        closest = np.argpartition(distances, near - 1, axis=1)[:, :near]
        distances, member = np.take_along_axis(distances, closest, 1), block_of[closest]
        radii[rows, 0] = np.partition(distances, k - 1, axis=1)[:, k - 1]
        for b in range(len(blocks)):
            radii[rows, b + 1] = np.partition(np.where(member == b, np.inf, distances), k - 1, axis=1)[:, k - 1]
    return radii


def _means(values: FloatArray, blocks: list[Index]) -> tuple[float, FloatArray]:
    """The mean of all values, and without each block."""
    sums, counts = np.array([values[block].sum() for block in blocks]), np.array([len(block) for block in blocks])
    return float(values.mean()), (values.sum() - sums) / (len(values) - counts)


def _of_blocks(whole: float, rest: FloatArray, share: FloatArray) -> Contributions:
    return Contributions(values=influence(float(whole), rest, share), groups=np.zeros(len(share), dtype=np.intp))


def _share(whole: float, rest: FloatArray, share: FloatArray, images: int) -> Contributions:
    return replace(_of_blocks(whole, rest, share), bounds=(0.0, 1.0), grain=1 / images)
