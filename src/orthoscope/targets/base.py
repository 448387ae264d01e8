r"""The contract of a target: a distribution of which everything is known exactly, at every noise level.

A target lives in unscaled coordinates: at level `level` it is the law of $x_0 + \sigma\varepsilon$.

**Absorbing the width.** If the target is itself some narrower law plus independent Gaussian noise of variance $s^2$,
that part can be counted as noise: sampling the narrower law down to the level $\sigma^2 = s^2$ gives exactly samples
of the target, and a sampler's steps become exact where they were approximate (docs: explanation/numerics). `absorbed`
returns the narrower law with the offset $s^2$ for the process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

import numpy as np
import torch

from orthoscope.errors import ConfigError
from orthoscope.prediction import from_denoised
from orthoscope.process import NoiseLevel
from orthoscope.typing import PerRow, Rows

CLEAN = NoiseLevel(time=0.0)


def _remembering(make: Callable[..., Any], *, narrows: bool) -> Callable[..., Any]:
    """A method that makes another target, which knows what was taken from it."""

    @wraps(make)
    def made(self: Target, *args: Any, **kwargs: Any) -> Target:
        found: Target = make(self, *args, **kwargs)
        taken = self.taken + (args[0] if args else kwargs["offset"]) if narrows else self.taken
        if found is not self and getattr(found, "taken", taken) < taken:
            with suppress(AttributeError):  # targets made of targets know it from these
                object.__setattr__(found, "taken", taken)
        return found

    return made


class Target(ABC):
    """A distribution with exact score, density and samples at every noise level.

    Attributes:
        taken: Variance that `narrowed` took from it, which is to be counted as noise.
    """

    taken: float = 0.0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let what a class makes of itself know how much was taken."""
        super().__init_subclass__(**kwargs)
        for name in {"narrowed", "conditional", "to"} & vars(cls).keys():
            setattr(cls, name, _remembering(vars(cls)[name], narrows=name == "narrowed"))

    @property
    @abstractmethod
    def dim(self) -> int:
        """Number of coordinates."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Floating-point type of samples and scores."""

    @property
    @abstractmethod
    def width(self) -> float:
        """Largest variance that can be counted as noise."""

    @property
    def size(self) -> int:
        """Number of modes read by one evaluation of one row."""
        return 1

    @abstractmethod
    def denoised(self, x: Rows, level: NoiseLevel) -> Rows:
        """E[x0 | x] at a noise level."""

    @abstractmethod
    def posterior_variance(self, x: Rows, level: NoiseLevel) -> PerRow:
        r"""Total variance of the clean state given each row, tr Cov[x0 | x], in float64.

        The divergence of the denoised mean is made of it: $\nabla\cdot D = \mathrm{tr\,Cov}[x_0|x]/\sigma^2$.
        """

    @abstractmethod
    def log_prob(self, x: Rows, level: NoiseLevel = CLEAN) -> PerRow:
        """Log-density of the noised law, in nats."""

    @abstractmethod
    def transport(self, uniform: PerRow, normal: Rows) -> Rows:
        """Samples as a function of base noise: one uniform number and one standard normal vector per row."""

    def conditional(self, label: int) -> Target:
        """The law of one class; a law without classes is one itself, label 0.

        Raises:
            ConfigError: if there is no such class.
        """
        self._check_only_class(label)
        return self

    @staticmethod
    def _check_only_class(label: int) -> None:
        if label != 0:
            raise ConfigError(f"label {label} is not present; this law has the single class 0")

    @abstractmethod
    def narrowed(self, offset: float) -> Target:
        """The law that becomes this one when Gaussian noise of variance `offset` is added.

        Raises:
            ConfigError: if the offset is negative or exceeds the width.
        """

    def _checked(self, offset: float) -> float:
        if not 0 <= offset <= self.width * (1 + 1e-6):  # a width may have been rounded to float32
            raise ConfigError(f"expected an offset from 0 to the width {self.width:g}, got {offset:g}")
        return offset

    def absorbed(self) -> tuple[Target, float]:
        """The narrowest law behind this one, and the noise variance that restores it."""
        return self.narrowed(self.width), self.width

    def score(self, x: Rows, level: NoiseLevel) -> Rows:
        """Gradient of the log-density of the noised law."""
        return from_denoised(self.denoised(x, level), x, level, "score")

    def sample(self, n: int, stream: np.random.Generator) -> Rows:
        """Exact samples of the clean law."""
        uniform, normal = stream.random(n), stream.standard_normal((n, self.dim))
        return self.transport(torch.from_numpy(uniform), torch.from_numpy(normal))
