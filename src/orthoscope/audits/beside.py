"""What the images of every schedule are read beside: those at strength 0, and real images, with classes or without."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from orthoscope import rng
from orthoscope.audits.contribute import Material, Notes, Run
from orthoscope.audits.plan import REFERENCE
from orthoscope.errors import ConfigError
from orthoscope.metrics import ClassImages, Contributions, Distances
from orthoscope.metrics.contributions import combination
from orthoscope.metrics.fidelity import Reference

_MOST_COMPARED = 4096  # images compared with references, whose tables of distances are quadratic
REAL, PLAIN = "real images of the class", "images of the same prompt at strength 0"


@dataclass(frozen=True, kw_only=True, eq=False)
class Origin:
    """What distances from the class are measured from.

    Attributes:
        classes: Images by class.
        labels: Class of each prompt, by the prompt's number.
        is_real: Whether they are real; else they are those at strength 0, of which an image is measured without the one
            made from its own noise.
    """

    classes: ClassImages
    labels: NDArray[Any]
    is_real: bool

    @classmethod
    def of(cls, material: Material, plain: Run) -> Origin:
        """Real images where they are at hand, else those at strength 0.

        Args:
            material: What is read.
            plain: The images at strength 0.

        Raises:
            ShapeError: if real images have other features.
            ConfigError: if there are too few of them, or the class of a prompt is not known.
        """
        real = material.real
        if real is None:
            classes = ClassImages(rows=plain.rows, labels=plain.groups)
            return cls(classes=classes, labels=np.arange(len(material.prompts)), is_real=False)
        known = material.labels or {}
        if missing := [prompt for prompt in material.prompts if prompt not in known]:
            raise ConfigError(
                f"real images are there by class, but the class of {missing[0]!r:.80} is not known; name it"
            )
        rows, unseen = material.projected(real.rows), real.unseen
        if unseen is not None:
            unseen = (material.projected(unseen[0]), unseen[1])
        labels = np.array([known[prompt] for prompt in material.prompts])
        return cls(classes=ClassImages(rows=rows, labels=real.labels, unseen=unseen), labels=labels, is_real=True)

    @property
    def name(self) -> str:
        """What it is, in words."""
        return REAL if self.is_real else PLAIN

    def distances(self, run: Run) -> Distances:
        """How far the images of a schedule are."""
        without = None if self.is_real else np.arange(len(run.rows))
        return self.classes.distances(run.rows, self.labels[run.groups], groups=run.groups, without=without)

    def excess(self, far: Distances, shift: Contributions) -> Contributions:
        r"""The distance from the class beyond that of real images that are moved by the same mean shift.

        Real images at squared distance $r^2$ and moved by $\delta$ have $r^2 + \delta^2 a^2$, with $a$ the distance of
        the class's mean from the mean of all. Images at strength 0 stand for real ones where there are none.
        """
        real, moved = self.classes.real.squares, self._apart * shift.value
        expected = math.sqrt(real.value + moved * shift.value)
        mine = combination([1, -moved / expected], [far.class_distance, shift])
        mine = replace(mine, values=mine.values + moved * shift.value / expected)
        theirs = replace(real, values=expected + (real.values - real.value) / (2 * expected))
        return mine.apart(theirs) if self.is_real else mine.minus(theirs)

    @cached_property
    def _apart(self) -> float:
        return self.classes.between(self.labels)


class Beside(NamedTuple):
    """What the images of every schedule are read beside.

    Attributes:
        plain: Those at strength 0.
        references: Real images without classes; None without.
        origin: What distances from the class are measured from; None where they cannot be.
    """

    plain: Run
    references: Reference | None
    origin: Origin | None

    @classmethod
    def of(cls, material: Material, references: NDArray[Any] | None, notes: Notes) -> Beside:
        """Images at strength 0, at most 4096 real ones in the features that are compared, and real ones by class."""
        plain, real = material.read(REFERENCE, notes), None
        if references is not None:
            y = material.projected(references.reshape(len(references), -1).astype(np.float32))
            real = Reference(rows=drawn(y, material.seed).astype(np.float64))
        return cls(plain, real, notes.tried("distance from the class", REFERENCE, lambda: Origin.of(material, plain)))


def drawn(rows: NDArray[Any], seed: int) -> NDArray[Any]:
    """At most 4096 of the rows, in their order."""
    if len(rows) <= _MOST_COMPARED:
        return rows
    return rows[np.sort(rng.stream(seed, "audit", "compared").permutation(len(rows))[:_MOST_COMPARED])]
