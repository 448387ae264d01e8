r"""Laws of data whose guided sampling is followed exactly: the physics alone, without torch.

`RandomMixture` is one class among many: every class a Gaussian of width $s$ round a centroid, the centroids drawn at
random with unit variance per coordinate. There are $M = e^{\beta d}$ classes; the law says either the rate $\beta$,
with which it has a limit of infinite dimension, or their number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from orthoscope.checks import real, whole
from orthoscope.errors import ConfigError, unknown
from orthoscope.records import Record

Ensemble = Literal["gaussian", "sphere"]
ENSEMBLES: tuple[Ensemble, ...] = ("gaussian", "sphere")
Start = Literal["prior", "exact"]  # of a reverse run: pure noise, or the noised law itself
STARTS: tuple[Start, ...] = ("prior", "exact")
_NARROWEST, _WIDEST = 1e-6, 1e6  # widths of a class: squares and ratios stay far from the ends of float64


def check_std(std: float) -> None:
    """Reject widths of a class that no theory can follow.

    Raises:
        ConfigError: if the width is not finite and positive, or extreme.
    """
    if not (math.isfinite(std) and std > 0):
        raise ConfigError(f"std is the width of a class and must be finite and > 0, got {std}", field="std")
    if not _NARROWEST <= std <= _WIDEST:
        raise ConfigError(
            f"std must lie between {_NARROWEST:g} and {_WIDEST:g}, got {std:g}; rescale the data", field="std"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomMixture(Record):
    """One mode per class, their centroids drawn at random.

    Attributes:
        std: Within-class standard deviation; centroids have unit variance per coordinate.
        rate: Class rate log(M)/d, in nats per dimension; give this or `classes`.
        classes: Number of classes M, which is a rate only together with a dimension.
        ensemble: Centroids "gaussian", N(0, 1) per coordinate, or on the "sphere" of the same radius.
    """

    std: float
    rate: float | None = None
    classes: int | None = None
    ensemble: Ensemble = "gaussian"

    def __post_init__(self) -> None:
        """Reject numbers out of range and names that do not exist."""
        check_std(real("std", self.std))
        if (self.rate is None) == (self.classes is None):
            raise ConfigError("give either `rate`, or `classes` with `dim`", field="rate")
        if self.classes is not None:
            object.__setattr__(self, "classes", whole("classes", self.classes))
        if self.rate is not None and not (real("rate", self.rate) and math.isfinite(self.rate) and self.rate > 0):
            raise ConfigError(f"rate = log(classes)/dim must be finite and > 0, got {self.rate}", field="rate")
        if self.classes is not None and self.classes < 2:
            raise ConfigError(f"expected at least 2 classes, got {self.classes}", field="classes")
        if self.ensemble not in ENSEMBLES:
            raise unknown("ensemble", self.ensemble, ENSEMBLES, field="ensemble")

    def rate_in(self, dim: float | None) -> float:
        """The class rate in a dimension, nats per dimension; None for the limit of infinitely many.

        Raises:
            ConfigError: if a number of classes is given without a dimension.
        """
        if self.rate is not None:
            return self.rate
        assert self.classes is not None
        if dim is None:
            raise ConfigError("`classes` needs `dim`: the rate is log(classes)/dim", field="dim")
        return math.log(self.classes) / dim
