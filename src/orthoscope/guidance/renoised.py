r"""CFG++ as a schedule: linear guidance of another strength at every step.

CFG++ interpolates, $\varepsilon_\lambda = u + \lambda(c - u)$ with $\lambda$ usually in [0, 1], denoises with that and
adds the *unconditional* noise back. In unscaled coordinates its DDIM step from $\sigma$ to $\sigma'$ is

$$ x' = x - \sigma\varepsilon_\lambda + \sigma' u = x - (\sigma - \sigma')\,u - \lambda\sigma\,(c - u), $$

and that of linear guidance of scale $s$ is $x - (\sigma - \sigma')[u + s(c - u)]$. They are one and the same step at
$s = \lambda\,\sigma/(\sigma - \sigma')$: the scale depends on how far the step goes. Derived in explanation/rules.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Tabulated
from orthoscope.numerics import Array


def renoising_factors(times: Sequence[float], ends: Sequence[float] = ()) -> Array:
    r"""Scale of linear guidance over that of CFG++ at each step, $\sigma/(\sigma - \sigma')$.

    Args:
        times: Variance times of the run, strictly descending, one more than there are steps.
        ends: Those at which its steps end, where that is not where the next ones begin.

    Raises:
        ConfigError: if the times are not strictly descending from a finite one, negative, or fewer than two, or the
            ends are not below the starts of their steps.
    Source:
        [chung2025cfg], DDIM step; derived in explanation/rules.
    """
    at = np.asarray(times, dtype=np.float64)
    if at.ndim != 1 or len(at) < 2 or not (np.isfinite(at).all() and (np.diff(at) < 0).all() and at[-1] >= 0):
        raise ConfigError(
            "CFG++ needs the levels of its run: at least two finite variance times, strictly descending to >= 0"
        )
    start, end = at[:-1], np.asarray(ends, dtype=np.float64) if len(ends) else at[1:]
    if end.shape != start.shape or not ((end >= 0) & (end < start)).all():
        raise ConfigError("CFG++ needs an end for each step of its run, at a variance time below that of its start")
    return np.asarray(np.sqrt(start) / (np.sqrt(start) - np.sqrt(end)))


def renoised(lam: float, times: Sequence[float]) -> Tabulated:
    r"""The strengths with which linear guidance takes the DDIM steps of CFG++ at $\lambda$ = `lam`.

    Each step holds its own, so the schedule jumps at every level; it belongs to this grid and to no other.

    Args:
        lam: Interpolation of CFG++: 0 is the unconditional prediction, 1 the conditional one.
        times: Variance times of the run, strictly descending, one more than there are steps.

    Raises:
        ConfigError: if the times are no grid or `lam` is not finite.
    Source:
        [chung2025cfg], DDIM step; derived in explanation/rules.
    """
    w = lam * renoising_factors(times) - 1
    knots = [float(t) for pair in itertools.pairwise(times) for t in pair]
    return Tabulated(at=tuple(knots[::-1]), strengths=tuple(np.repeat(w, 2)[::-1].tolist()))
