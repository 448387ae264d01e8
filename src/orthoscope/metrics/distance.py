r"""How far images are from their class, as real images of it show it: whether diversity was gained by leaving it.

With $m_c$ the mean of class $c$ and $\Sigma$ the covariance within classes, pooled, shrunk by Ledoit and Wolf's rule,
in the $d$ directions that hold 99 % of it:

- `class_distance`: root mean square of the Mahalanobis distance $|\Sigma^{-1/2}(x - m_c)|/\sqrt d$;
- `novelty`: distance to the nearest real image of the class, over the mean of that of unseen real images: near 0 for
  copies, 1 for images as new as unseen ones;
- `far_share`: share of images whose Mahalanobis distance only 1 % of real images exceed.

A real image that is among those measured from is left out of mean, covariance and neighbors, and so are images made
from the noise of one that is: without that, what was fitted to an image looks near.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.metrics.contributions import Contributions, Index, as_features, rows_of
from orthoscope.metrics.estimators import FloatArray

_RARE = 0.01  # share of real images that are as far as what counts as far
_FEWEST = 2  # real images of a class, of which one is left out
_AT_ONCE = 1 << 22  # distances held at a time
_HELD = 0.99  # of the variance within classes, in whose directions distances are measured
_LEFT = 2  # degrees of freedom of the covariance, of which one is left out


class Distances(NamedTuple):
    """How far images are from their classes.

    Attributes:
        squares: Squared Mahalanobis distance per coordinate; its root is `class_distance`.
        novelty: Distance to the nearest real image, over that of unseen real ones.
        far_share: Share of images beyond the Mahalanobis distance that 1 % of real images exceed.
    """

    squares: Contributions
    novelty: Contributions
    far_share: Contributions

    @property
    def class_distance(self) -> Contributions:
        """Root mean square of the Mahalanobis distance per coordinate; about 1 for images of the class."""
        return self.squares.root()

    @property
    def by_name(self) -> dict[str, Contributions]:
        """Every measure by its name in `quantities`."""
        return {"class_distance": self.class_distance, "novelty": self.novelty, "far_share": self.far_share}

    @property
    def by_group(self) -> dict[str, list[Contributions]]:
        """The same of every group by itself."""
        return {
            "class_distance": [part.root() for part in self.squares.parts],
            "novelty": self.novelty.parts,
            "far_share": self.far_share.parts,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassImages:
    """Images of known classes, from which the distances of others are measured; what concerns them is found once.

    Attributes:
        rows: One image per row.
        labels: The class of each.
        unseen: Images of the same classes that were held out; without them, images are left out one at a time.

    Accuracy:
        Leaving an image out is exact, but for the amount of shrinkage, which is kept.

    Source:
        Shrinkage [ledoit2004well]; derived in explanation/metrics.
    """

    rows: NDArray[Any]
    labels: NDArray[Any]
    unseen: tuple[NDArray[Any], NDArray[Any]] | None = None

    def __post_init__(self) -> None:
        """Refuse classes from which nothing can be measured.

        Raises:
            ShapeError: if there is not one label per image, or images held out have other features.
            ConfigError: if a row is not finite, a class has one image, or too few images are left of all.
        """
        x, labels = as_features(self.rows, self.labels, least=1)
        names, counts = np.unique(labels, return_counts=True)
        if counts.min() < _FEWEST:
            raise ConfigError(
                f"expected at least {_FEWEST} real images of every class, got {counts.min()} of class "
                f"{names[np.argmin(counts)]}; give more, or leave the class out"
            )
        if len(x) - len(names) < _LEFT:
            raise ConfigError(f"{len(x)} images of {len(names)} class(es) show no covariance; give more")
        object.__setattr__(self, "rows", x.astype(np.float64))
        object.__setattr__(self, "labels", labels)
        if self.unseen is not None:
            object.__setattr__(self, "unseen", self.checked(*self.unseen))

    def checked(self, x: ArrayLike, labels: ArrayLike) -> tuple[FloatArray, NDArray[Any]]:
        """Images that can be measured from these.

        Raises:
            ShapeError: if features have another length, or labels another number.
            ConfigError: if a row is not finite, or there is no image of a class.
        """
        rows, own = as_features(x, labels, least=1)
        if rows.shape[1] != self.rows.shape[1]:
            raise ShapeError(f"expected {self.rows.shape[1]} features per image as real ones have, got {rows.shape[1]}")
        if len(missing := np.setdiff1d(own, self.labels)):
            shown = ", ".join(map(str, missing[:3])) + (", ..." if len(missing) > 3 else "")
            raise ConfigError(f"there is no real image of class {shown}; give some, or leave the class out")
        return rows.astype(np.float64), own

    @cached_property
    def members(self) -> dict[Any, Index]:
        """The rows of every class."""
        return {self.labels[rows[0]]: rows for rows in rows_of(self.labels)}

    @cached_property
    def _means(self) -> dict[Any, FloatArray]:
        return {name: np.asarray(self.rows[rows].mean(0)) for name, rows in self.members.items()}

    def _places(self, labels: NDArray[Any]) -> FloatArray:
        """The mean of the class of each."""
        return np.stack([self._means[label] for label in labels.tolist()])

    @cached_property
    def _residuals(self) -> FloatArray:
        """The images about the means of their classes."""
        return np.asarray(self.rows - self._places(self.labels))

    @cached_property
    def _freedom(self) -> int:
        """Degrees of freedom of the pooled covariance."""
        return len(self.rows) - len(self.members)

    @cached_property
    def _root(self) -> tuple[FloatArray, float]:
        """A matrix whose columns are whitened directions, and how much of the covariance is the images' own."""
        from sklearn.covariance import ledoit_wolf_shrinkage  # a second to import

        shrunk = float(ledoit_wolf_shrinkage(self._residuals, assume_centered=True))
        covariance = (1 - shrunk) * self._residuals.T @ self._residuals / self._freedom
        covariance.flat[:: len(covariance) + 1] += (
            shrunk * (self._residuals**2).sum() / (self._freedom * len(covariance))
        )
        return whitening(covariance), 1 - shrunk

    def squares(self, x: FloatArray, labels: NDArray[Any], without: Index | None = None) -> FloatArray:
        """Squared Mahalanobis distance per coordinate of images from their classes, one of these left out for each."""
        root, own = self._root
        y = (x - self._places(labels)) @ root
        if without is None:
            return np.asarray((y**2).mean(1))
        n = np.array([len(self.members[label]) for label in labels.tolist()])
        e = self._residuals[without] @ root
        y += e / (n - 1)[:, None]
        # The covariance without an image is this one scaled, less its square: Sherman and Morrison's formula.
        scale = self._freedom / (self._freedom - 1)
        taken = own * n / ((n - 1) * (self._freedom - 1) * scale)
        return np.asarray(
            ((y**2).sum(1) + taken * (y * e).sum(1) ** 2 / (1 - taken * (e**2).sum(1))) / (scale * root.shape[1])
        )

    def between(self, labels: NDArray[Any]) -> float:
        """Squared Mahalanobis distance per coordinate of some classes' means from the mean of these, on average."""
        places = self._places(labels)
        return float((((places - places.mean(0)) @ self._root[0]) ** 2).sum(1).mean() / places.shape[1])

    def nearest(self, x: FloatArray, labels: NDArray[Any], without: Index | None = None) -> FloatArray:
        """Distance of every image to the nearest of its class, one of these left out for each."""
        found = np.empty(len(x))
        for label, members in self.members.items():
            points, mine = self.rows[members], np.flatnonzero(labels == label)
            some = max(1, _AT_ONCE // len(points))
            for rows in (mine[start : start + some] for start in range(0, len(mine), some)):
                squares = (x[rows] ** 2).sum(1)[:, None] + (points**2).sum(1) - 2 * x[rows] @ points.T
                if without is not None:
                    squares[without[rows][:, None] == members] = np.inf
                found[rows] = np.sqrt(np.clip(squares, 0, None)).min(1)
        return found

    @cached_property
    def unseen_nearest(self) -> dict[Any, float]:
        """Mean distance of an unseen image of every class from the nearest of these."""
        x, labels, without = self._own
        near = self.nearest(x, labels, without)
        means = {label: float(near[labels == label].mean()) for label in self.members if (labels == label).any()}
        if missing := [label for label in self.members if not means.get(label, 0) > 0]:
            raise ConfigError(f"unseen images of class {missing[0]} are missing, or copies of others; give other ones")
        return means

    @cached_property
    def border(self) -> float:
        """The squared distance that 1 % of these images exceed, each left out of what it is measured from."""
        return float(np.quantile(self.squares(self.rows, self.labels, np.arange(len(self.rows))), 1 - _RARE))

    @cached_property
    def real(self) -> Distances:
        """Distances of real images: those held out, or these, one left out at a time."""
        x, labels, without = self._own
        return self.distances(x, labels, without=without)

    @property
    def _own(self) -> tuple[FloatArray, NDArray[Any], Index | None]:
        if self.unseen is None:
            return self.rows, self.labels, np.arange(len(self.rows))
        return (*self.unseen, None)

    def distances(
        self, x: ArrayLike, labels: ArrayLike, *, groups: ArrayLike | None = None, without: Index | None = None
    ) -> Distances:
        """How far images are from their classes.

        Args:
            x: One image per row.
            labels: The class of each.
            groups: The prompt of each; the class if None.
            without: Which of these images each is measured without, such as the one made from its noise.

        Raises:
            ShapeError: if features have another length, or labels another number.
            ConfigError: if a row is not finite, a class is unknown, or real images do not vary.
        """
        rows, own = self.checked(x, labels)
        by = own if groups is None else np.asarray(groups)
        units = np.array([self.unseen_nearest[label] for label in own.tolist()])
        squares = self.squares(rows, own, without)
        return Distances(
            squares=Contributions(values=squares, groups=by),
            novelty=Contributions(values=self.nearest(rows, own, without) / units, groups=by),
            far_share=Contributions(
                values=(squares > self.border).astype(np.float64), groups=by, bounds=(0.0, 1.0), grain=1 / len(rows)
            ),
        )


def whitening(covariance: FloatArray) -> FloatArray:
    """A matrix whose columns are directions in units of their standard deviation: the widest, that hold 99 % of it all.

    In what hardly ever changes, such as the corners of images, any trace of noise would be infinitely far.

    Raises:
        ConfigError: if nothing varies.
    """
    values, vectors = np.linalg.eigh(covariance)
    total = float(values.sum())
    if not total > 0:
        raise ConfigError("images of a class do not vary; nothing can be measured in units of that")
    kept = total - np.cumsum(values) < _HELD * total  # those of which wider ones hold less than that
    return np.asarray(vectors[:, kept] / np.sqrt(values[kept]))
