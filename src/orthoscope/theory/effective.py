r"""The effective law of a network that knows part of the unconditional law, under guidance in finite dimension.

The *learned fraction* of an unconditional branch $D$ at a noise level, $\ell = 1 - E|D - D_u|^2/E|D_g - D_u|^2$, is
what it knows of the exact $D_u$ beyond $D_g$, the denoised mean of one Gaussian with the moments of all data. A network
that is the best of what it can say answers $D_g + \ell\,(D_u - D_g)$ and a rest that does not correlate with $D_u$;
without the rest that is the effective law. Guidance acts on it with the strength $w(1 - \ell p_1)$ where the exact law
has $w(1 - p_1)$, $p_1$ the posterior of the state's own mode: what is not known goes on acting after the class is
decided.

Source:
    derived in explanation/score-errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from orthoscope.checks import real
from orthoscope.errors import ConfigError
from orthoscope.settings import Setting
from orthoscope.theory.finite import FiniteMoments, solve_finite
from orthoscope.theory.predict import problem_of

_LEAST = 1e-300  # time that stands for clean data on a scale of logarithms

Given: TypeAlias = "float | tuple[Sequence[float], Sequence[float]] | LearnedFraction | Callable[[float], float]"


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedFraction:
    """The learned fraction at every variance time, from a table.

    Attributes:
        times: Variance times, ascending and > 0.
        fractions: The fraction at each; beyond [0, 1] it counts as 0 or 1.
    """

    times: tuple[float, ...]
    fractions: tuple[float, ...]

    def __post_init__(self) -> None:
        """Reject tables that are none."""
        times, fractions = (np.asarray(one, dtype=np.float64) for one in (self.times, self.fractions))
        if times.ndim != 1 or not times.size or times.shape != fractions.shape:
            raise ConfigError(
                f"`learned` must have one fraction per time, got {times.size} times and {fractions.size} fractions",
                field="learned",
            )
        if not (np.isfinite(times).all() and (times > 0).all() and (np.diff(times) > 0).all()):
            raise ConfigError("the times of `learned` must be finite, > 0 and ascending; sort them", field="learned")
        if not np.isfinite(fractions).all():
            raise ConfigError(
                "the fractions of `learned` must be finite numbers; drop those that are not", field="learned"
            )

    def __call__(self, time: float) -> float:
        """The fraction at a variance time: linear in its logarithm, constant beyond the table."""
        found = np.interp(np.log(max(time, _LEAST)), np.log(self.times), np.clip(self.fractions, 0, 1))
        return float(found)


def learned_fraction(given: Given) -> Callable[[float], float]:
    """The learned fraction that is meant, as a function of the variance time.

    Args:
        given: A number, a table (times, fractions) in any order, or a function of the variance time.

    Raises:
        ConfigError: if it is none of these.
    """
    if callable(given):
        return given
    if isinstance(given, tuple | list):
        if len(given) != 2 or any(np.ndim(one) != 1 for one in given) or len(given[0]) != len(given[1]):
            raise ConfigError("a table `learned` is a pair (times, fractions) of equal lengths", field="learned")
        order = np.argsort(np.asarray(given[0], dtype=np.float64))
        times, fractions = (np.asarray(one, dtype=np.float64)[order] for one in given)
        return LearnedFraction(times=tuple(times.tolist()), fractions=tuple(fractions.tolist()))
    value = real("learned", given)
    return LearnedFraction(times=(1.0,), fractions=(float(value),))


def predict_effective(setting: Setting, dim: int, learned: Given) -> FiniteMoments:
    """What guidance does to one class of the effective law in `dim` dimensions.

    Args:
        setting: The law, the schedule and the run; its own `dim`, if it has one, is not looked at.
        dim: The dimension.
        learned: Learned fraction of the unconditional branch: a number, a table (times, fractions), interpolated in
            the logarithm of the time, or a function of the variance time. It counts as 0 below 0 and as 1 above 1.

    Accuracy:
        That of `finite.solve_finite` where all is learned, which it then is to the digit; exact where nothing is.

    Raises:
        ConfigError: if no theory knows the setting, or `learned` is no fraction.

    Source:
        derived in explanation/score-errors.
    """
    fraction = learned_fraction(learned)

    def clipped(time: float) -> float:
        found = float(fraction(time))
        if not np.isfinite(found):
            raise ConfigError(f"`learned` must be a number at every time, got {found} at {time:g}", field="learned")
        return min(max(found, 0.0), 1.0)

    return solve_finite(problem_of(replace(setting, dim=dim)), dim, learned=clipped)
