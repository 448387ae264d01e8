r"""What a scheduler does between two evaluations, told by recorded runs themselves.

In unscaled coordinates the usual schedulers step by

$$ x_{k+1} = x_k + b_k (D_k - x_k) + g_k (D_k - D_{k-1}) + z_k $$

with $D_k$ the guided denoised mean and noise $z_k$, which is one for all runs of a seed, whatever guides them. Between
two such runs the noise cancels, so that their differences tell $b_k$ and $g_k$ exactly, and what is left is the noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orthoscope.errors import ConfigError
from orthoscope.forecasts.pairs import Floats, Pairs
from orthoscope.numerics import Array

_MISFIT = 1e-3  # of the difference between two runs, root mean square, that a step may leave unexplained
_SILENT = 1e-6  # of a state: noise below is rounding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Transition:
    """One step of a scheduler: kept * state + now * guided mean + before * the last guided mean + noise.

    Attributes:
        kept: Factor of the state.
        now: Factor of the guided denoised mean.
        before: Factor of that of the step before; 0 in the first.
        noise: Noise of every image (rows, dim).
        variance: Of the noise, per entry; 0 for a step without.
    """

    kept: float
    now: float
    before: float
    noise: Floats
    variance: float

    def __call__(self, x: Array, guided: Array, last: Array) -> Array:
        """The next states of the same images, run by run (runs, rows, dim)."""
        return np.asarray(self.kept * x + self.now * guided + self.before * last + self.noise)


def guided_means(run: Pairs, strengths: Array, level: int) -> Array:
    """Guided denoised means (rows, dim) that the scheduler was given, in double precision."""
    cond = run.cond[level].astype(np.float64)
    return np.asarray(cond + strengths[level] * (cond - run.uncond[level]))


def transitions(runs: Sequence[Pairs], strengths: Sequence[Array]) -> list[Transition]:
    """Every step of the scheduler.

    Args:
        runs: Of the same seeds, linearly guided.
        strengths: Of every run, at every level.

    Raises:
        ConfigError: if a step is not linear in its state and its last two predictions, or runs differ in their noise.
    """
    found, last = list[Transition](), None
    for k in range(len(runs[0].times)):
        ends = [run.states[k + 1] if k + 1 < len(run.times) else run.final for run in runs]
        x, after = (np.stack(part).astype(np.float64) for part in ([run.states[k] for run in runs], ends))
        means = np.stack([guided_means(run, w, k) for run, w in zip(runs, strengths, strict=True)])
        found.append(_fitted(x, means, means if last is None else last, after, is_last=k + 1 == len(runs[0].times)))
        last = means
    return found


def _fitted(x: Array, means: Array, last: Array, after: Array, *, is_last: bool) -> Transition:
    """One step from its states, means, means of the step before, and next states (runs, rows, dim)."""
    # The state that a scheduler ends with may be scaled, so that factors need not add up to 1 there; nor need they be
    # told apart from the state's, as a last step has no noise.
    terms = [x, means, last] if is_last else [means - x, means - last]
    base = 0.0 if is_last else x
    columns = np.stack([(term[1:] - term[:1]).ravel() for term in terms], 1)
    change = after - base
    wanted = (change[1:] - change[:1]).ravel()
    factors = np.linalg.lstsq(columns, wanted, rcond=None)[0]
    if np.linalg.norm(wanted - columns @ factors) > _MISFIT * np.linalg.norm(wanted):
        raise ConfigError("a step of the scheduler is not linear in its state and its last two predictions")
    noise = (change - sum(factor * term for factor, term in zip(factors, terms, strict=True))).mean(0)
    variance = float(np.square(noise).mean())
    loud = variance > np.square(_SILENT * after).mean()
    kept, now, before = factors if is_last else (1 - factors[0], factors[0] + factors[1], -factors[1])
    return Transition(
        kept=float(kept), now=float(now), before=float(before), noise=noise.astype(np.float32),
        variance=variance if loud else 0.0,
    )  # fmt: skip
