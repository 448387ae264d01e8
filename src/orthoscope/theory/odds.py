r"""How the odds of leaving a class move along the guided reverse SDE, and when they may be forgotten.

With $p$ the posterior probability of the class asked for, $O = (1-p)/p$ and $g = |\nabla\log O|$, the guided reverse
SDE of strength $w$ moves $d\log O = -(\tfrac12 + w(1-p))\,g^2d\tau + g\,dB$: whatever the mixture, $\log O$ is one
diffusion run by the clock $\int g^2d\tau$. Its scale function

$$ S_w(O) = \frac{(1+O)^{1+2w} - 1}{1+2w} $$

is a martingale at constant strength $w$ and a supermartingale under every schedule that stays $\ge w$. Nothing here
knows of a dimension, a noise level, or where the modes are. All derived in explanation/stopping.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from orthoscope.errors import ConfigError
from orthoscope.numerics import Array

_MOST = 0.5  # odds above which no row is called decided, however wide the tolerance


def scale(odds: ArrayLike, strength: float) -> Array:
    """The scale function of the odds: a martingale along the guided reverse SDE of constant strength.

    Args:
        odds: Odds of leaving the class, >= 0; may be infinite.
        strength: Guidance strength.

    Source:
        derived in explanation/stopping.
    """
    power = 1 + 2 * strength
    log = np.log1p(np.asarray(odds, dtype=np.float64))
    if power == 0:
        return np.asarray(log)
    with np.errstate(over="ignore"):
        return np.asarray(np.expm1(power * log) / power)


def leaving(odds: ArrayLike, limit: ArrayLike, strength: float) -> Array:
    """Largest probability that the odds ever exceed a limit again, for strengths that stay at or above the given one.

    Args:
        odds: Odds now.
        limit: Odds that must not be exceeded; infinite asks whether the class is lost in the end.
        strength: The smallest strength still ahead.

    Accuracy:
        An equality for modes without width and a constant strength, down to zero noise: there the odds end at 0 or at
        infinity. In particular no class is ever lost at strengths of -1/2 and above, and at those below it is kept with
        probability p**(-1 - 2 strength).

    Source:
        derived in explanation/stopping.
    """
    now, then = scale(odds, strength), scale(limit, strength)
    with np.errstate(invalid="ignore"):  # both infinite: the limit is already exceeded
        return np.where(now < then, now / np.maximum(then, np.finfo(np.float64).tiny), 1.0)


def mean_displacement(odds: ArrayLike, strengths: ArrayLike, *, radius: float) -> Array:
    """Bound on the mean distance, in data units, that guidance still moves a state of a class of one mode.

    Args:
        odds: Odds now.
        strengths: Strengths still ahead.
        radius: Largest distance of another mode from the class's own; divided by the length of the own centroid, the
            bound is one on the overlap.

    Source:
        derived in explanation/stopping.
    """
    odds = np.asarray(odds, dtype=np.float64)
    return np.asarray(_push(strengths) * radius * odds / (1 + odds))


def stopping_odds(tolerance: float, strengths: ArrayLike, *, radius: float | None = None) -> float:
    """Odds of leaving at which a row may be called decided, for a wanted tolerance.

    Args:
        tolerance: On the total variation distance between the law of samples and that of full scans; with a radius,
            on the mean displacement of a sample, in the radius's units.
        strengths: All strengths of the run, in the order in which they come; a number if constant.
        radius: See `mean_displacement`; only for classes of one mode.

    Raises:
        ConfigError: if the tolerance or the radius is not positive.

    Source:
        derived in explanation/stopping.
    """
    if not tolerance > 0:
        raise ConfigError(f"the tolerance must be > 0, got {tolerance:g}; odds of 0 never stop a scan")
    if radius is None:
        return float(min(np.expm1(min(tolerance / max(_turns(strengths), tolerance), 1.0)), _MOST))
    if not radius > 0:
        raise ConfigError(f"the radius must be > 0, got {radius:g}")
    share = tolerance / max(_push(strengths) * radius, tolerance)
    return float(min(share, _MOST))


def _turns(strengths: ArrayLike) -> float:
    """Factor of the total variation distance: signs and falls of the strength, and its square where it counts."""
    w = np.atleast_1d(np.asarray(strengths, dtype=np.float64))
    falls = np.maximum(-np.diff(w), 0).sum()
    return float(max(w[-1], 0) + np.maximum(-w, 0).max() + falls + np.maximum(w * (1 + w), 0).max())


def _push(strengths: ArrayLike) -> float:
    """Factor of the displacement: largest strength, and by how much the odds of leaving may grow in the mean."""
    w = np.atleast_1d(np.asarray(strengths, dtype=np.float64))
    return float(np.abs(w).max() * max(1.0, -1 - 2 * w.min()))
