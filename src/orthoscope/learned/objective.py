r"""What a network learns: the velocity of the state round a circle.

Put the noise standard deviation as an angle, $\sigma = \tan\varphi$. The state divided by $\sqrt{1+\sigma^2}$ is then
$z = \cos\varphi\,x_0 + \sin\varphi\,\varepsilon$, of unit size if the data are, and the network predicts

$$v = \frac{dz}{d\varphi} = \cos\varphi\,\varepsilon - \sin\varphi\,x_0, \qquad
D = \cos\varphi\,z - \sin\varphi\,v .$$

The target is of unit size at every level, and $D$ comes out right at both ends whatever the network says: at small
noise it is the state, at large noise the network is asked for the data's mean. Angles are drawn evenly, so noise of the
size of the data is drawn most often. This is not the `velocity` of `prediction`, which belongs to the straight path.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.typing import Events, Labels, PerRow


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """Data with a class each, of about unit size per coordinate.

    Attributes:
        x: The points, any event shape.
        labels: Class of each point, counted from 0.
        classes: Number of classes; also the label that stands for none of them.
    """

    x: Tensor
    labels: Tensor
    classes: int

    def __post_init__(self) -> None:
        """Reject data without points, and labels that do not fit them."""
        if self.x.ndim < 2 or len(self.x) == 0 or self.labels.shape != self.x.shape[:1]:
            raise ShapeError(
                f"expected points (n, ...) and one label each, got {tuple(self.x.shape)} and {tuple(self.labels.shape)}"
            )
        if int(self.labels.min()) < 0 or int(self.labels.max()) >= self.classes:
            raise ConfigError(
                f"labels must be 0 to {self.classes - 1}, got {int(self.labels.min())} to {int(self.labels.max())}"
            )

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: np.ndarray) -> Labelled:
        """Some of the points."""
        picked = torch.from_numpy(rows).to(self.x.device)
        return Labelled(x=self.x[picked], labels=self.labels[picked], classes=self.classes)

    def batch(self, size: int, generator: np.random.Generator) -> Labelled:
        """Points of one update, each at most once."""
        return self.take(generator.choice(len(self), size=min(size, len(self)), replace=False))

    def part(self, size: int, generator: np.random.Generator) -> Labelled:
        """Points by which what was learned is judged, each at most once."""
        return self.take(generator.permutation(len(self))[:size])

    def to(self, device: str) -> Labelled:
        """The same data on another device."""
        return Labelled(x=self.x.to(device), labels=self.labels.to(device), classes=self.classes)


@runtime_checkable
class Supply(Protocol):
    """Where the points of an update come from: data that are given, or a law that makes new ones every time."""

    def batch(self, size: int, generator: np.random.Generator) -> Labelled:
        """Points of one update."""
        ...

    def part(self, size: int, generator: np.random.Generator) -> Labelled:
        """Points by which what was learned is judged."""
        ...

    def to(self, device: str) -> Supply:
        """The same on another device."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """One batch as the network sees it.

    Attributes:
        state: What it is shown, z.
        sigma: Noise standard deviation of each row.
        labels: Class of each row, or the label of none.
        target: What it should say, v.
    """

    state: Events
    sigma: PerRow
    labels: Labels
    target: Events


def lesson(data: Labelled, generator: np.random.Generator, *, null_share: float = 0.0) -> Lesson:
    """Noise every point once, at angles spread evenly over the quarter circle, and forget some labels.

    Args:
        data: The points.
        generator: Where angles, noise and forgotten labels come from.
        null_share: Share of labels replaced by the label of none.

    Source:
        v-prediction [salimans2022progressive], Appendix D, here at angles drawn evenly; forgotten labels
        [ho2022classifier], Algorithm 1.
    """
    n = len(data)
    strata = (generator.permutation(n) + generator.random(n)) / n
    is_null = torch.from_numpy(generator.random(n) < null_share).to(data.x.device)
    noise = torch.from_numpy(generator.standard_normal(data.x.shape, dtype=np.float32)).to(data.x)
    angle = torch.from_numpy(strata * (math.pi / 2))  # double precision: its tangent must not wrap round
    cos, sin = (part.to(data.x).reshape(-1, *[1] * (data.x.ndim - 1)) for part in (angle.cos(), angle.sin()))
    return Lesson(
        state=cos * data.x + sin * noise,
        sigma=angle.tan().to(data.x),
        labels=torch.where(is_null, data.classes, data.labels),
        target=cos * noise - sin * data.x,
    )


def denoised(state: Events, velocity: Events, sigma: Tensor) -> Events:
    """The denoised mean behind the velocity that was predicted for the state z.

    Source:
        [salimans2022progressive], Appendix D.
    """
    angle = sigma.to(state).atan().reshape(-1, *[1] * (state.ndim - 1))
    return angle.cos() * state - angle.sin() * velocity
