r"""Feedback: rules that choose their strength from what they see at a step, and combine linearly with it.

A schedule says how far a controller may go: its strength $w$ is the most that is used, and where it is 0 guidance is
off. Below 0 a controller goes to a limit of its own. So a window of a schedule is a window of the controller, and two
controllers can be compared at equal effect by what they are allowed.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from orthoscope.denoise import Memory
from orthoscope.errors import ConfigError, DivergenceError
from orthoscope.guidance.events import is_zero, row_dot
from orthoscope.guidance.rules.base import Predictions, Rule
from orthoscope.guidance.rules.linear import LinearCFG
from orthoscope.prediction import per_row
from orthoscope.process import NoiseLevel, Scalar
from orthoscope.typing import Events, PerRow

_DRIFTED = 3.0  # scale that drift alone reaches in feedback guidance
_MOST_ODDS = 3.0  # in nats, beyond which it stops to count
_NO_PULL = 1e-300  # below which guidance has no say


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Seen:
    """What a controller sees at one evaluation.

    Attributes:
        x: State in unscaled coordinates, one event per row: the batch.
        level: Its noise level, with the step and the number of steps.
        cond: Conditional denoised mean.
        uncond: Unconditional one.
        most: Largest strength allowed, one per row.
        memory: What it kept of the step before; None at the first.
    """

    x: Events
    level: NoiseLevel
    cond: Events
    uncond: Events
    most: PerRow
    memory: Memory = None

    @property
    def gap(self) -> Events:
        """What guidance adds per unit of strength."""
        return self.cond - self.uncond


class Controller(Rule):
    """A rule that sees the step, the state and the pair, and answers with a strength for every row."""

    def needed(self, w: Scalar) -> tuple[str, ...]:
        """Only the conditional prediction where guidance is off."""
        return ("cond",) if is_zero(w) else self.needs

    @abstractmethod
    def chosen(self, seen: Seen) -> tuple[PerRow, Memory]:
        """The strength of every row, and what it wants to remember; what is above `seen.most` is cut."""

    def __call__(
        self, x: Events, level: NoiseLevel, predictions: Predictions, w: Scalar, memory: Memory
    ) -> tuple[Events, Memory]:
        """The guided denoised mean; where guidance is off the controller forgets.

        Raises:
            DivergenceError: if a strength is not finite; it carries the state, which is the last good one.
        """
        if is_zero(w):
            return predictions["cond"], None
        most = torch.as_tensor(w, dtype=x.dtype, device=x.device).expand(len(x))
        seen = Seen(x=x, level=level, memory=memory, most=most, cond=predictions["cond"], uncond=predictions["uncond"])
        chosen, kept = self.chosen(seen)
        if not bool(chosen.isfinite().all()):
            at = f"step {level.step} (variance time {float(np.max(level.time)):.4g})"
            raise DivergenceError(
                f"the controller {self.name or type(self).__name__} chose a strength that is not finite at {at}; check "
                "its weights, and the predictions that it sees",
                step=int(level.step or 0),
                time=float(np.max(level.time)),
                last_good=x,
            )
        strength = torch.where(most > 0, torch.minimum(chosen.to(most), most), most)
        return LinearCFG()(x, level, predictions, strength, None)[0], kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded(Controller):
    r"""Predicted-magnitude control: the largest $\beta \le w$ with $\lVert c + \beta g\rVert \le \Gamma\lVert c\rVert$.

    Attributes:
        limit: $\Gamma$, by how much guidance may lengthen the conditional denoised mean.

    Source:
        [peng2026predicted]; the root in closed form.
    """

    limit: float = 1.05
    name: ClassVar[str] = "pmc"

    def __post_init__(self) -> None:
        """Reject a limit that the conditional prediction itself does not keep."""
        Rule.__post_init__(self)
        if self.limit < 1:
            raise ConfigError(f"rule pmc: limit must be >= 1, got {self.limit:g}")

    def chosen(self, seen: Seen) -> tuple[PerRow, Memory]:
        """The positive root of a quadratic, without cancellation; no memory."""
        gap = seen.gap
        square, along, room = (
            row_dot(a, b).flatten() for a, b in ((gap, gap), (seen.cond, gap), (seen.cond, seen.cond))
        )
        room = (self.limit**2 - 1) * room
        root = (along**2 + square * room).sqrt()
        tiny = torch.finfo(root.dtype).tiny
        beta = torch.where(along > 0, room / (along + root).clamp_min(tiny), (root - along) / square.clamp_min(tiny))
        return torch.where(square > 0, beta, seen.most.to(beta)), None


class Past(NamedTuple):
    """What is kept of the step before: where it stood, what was predicted, and log-odds of the class along the path."""

    x: Tensor
    time: float
    cond: Tensor
    uncond: Tensor
    odds: Tensor


def path_odds(seen: Seen) -> PerRow:
    r"""By how much the last step tells the class: $\log q(x'|x, c) - \log q(x'|x, u)$, one number per row.

    The two chains step to $\mu_k = r x + (1 - r) D_k$, $r = t'/t$, with variance $s^2 = r(t - t')$. Forward noise is
    Markov, so that summed over a path this is the log-posterior of the class over its prior, in the limit of many
    steps, whatever drove the path. What is seen must have a `Past` in its memory.
    """
    past: Past = seen.memory
    ratio = float(np.max(seen.level.time)) / past.time
    if not 0 < ratio < 1:
        return torch.zeros_like(past.odds)
    away = seen.x - ratio * past.x - (1 - ratio) * (past.cond + past.uncond) / 2
    return row_dot(past.cond - past.uncond, away).flatten() / (ratio * past.time)


def followed(seen: Seen, odds: PerRow | None = None) -> Past:
    """What to keep for the next step: log-odds so far, those of the path unless others are given."""
    if odds is None:
        first = torch.zeros(len(seen.x), dtype=torch.promote_types(seen.x.dtype, torch.float32), device=seen.x.device)
        odds = first if seen.memory is None else seen.memory.odds + path_odds(seen)
    return Past(seen.x, float(np.max(seen.level.time)), seen.cond, seen.uncond, odds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback(Controller):
    r"""Feedback guidance: strong where the path does not tell the class, $1 + w = e^L/(e^L - (1 - \pi))$.

    $L$ follows the path's log-odds of the class, at a temperature and with a drift that its three times set, between
    the value at which the strength allowed is reached and 3. The largest scale is 1 plus the strength allowed: 9 for
    the published 10. The norms in it grow with the dimension, for which its temperature was not made.

    Attributes:
        prior: $\pi$, the trust in the conditional model.
        start: $t_0$, share of the run left when drift alone would have reached scale 3.
        balance: $t_1$, share left where evidence is weighed as a tenth of the drift.
        times: Variance times of the run; empty until resolved.

    Source:
        [koulischer2025feedback], the authors' released law.
    """

    prior: float = 0.95
    start: float = 0.5
    balance: float = 0.4
    times: tuple[float, ...] = ()
    name: ClassVar[str] = "fbg"

    def __post_init__(self) -> None:
        """Reject shares that are none."""
        Rule.__post_init__(self)
        for key in ("prior", "start", "balance"):
            if not 0 < getattr(self, key) < 1:
                raise ConfigError(f"rule fbg: {key} must lie between 0 and 1, got {getattr(self, key):g}")
        object.__setattr__(self, "times", tuple(float(time) for time in self.times))

    def resolved(self, times: Sequence[float]) -> Feedback:
        """The rule for a run through these variance times."""
        return replace(self, times=tuple(times))

    @property
    def _drift(self) -> float:
        return math.log((1 - self.prior) * _DRIFTED / (_DRIFTED - 1)) / ((1 - self.start) * (len(self.times) - 1))

    @property
    def _temperature(self) -> float:
        """Weight of what a step tells."""
        steps = len(self.times) - 1
        k = min(round((1 - self.balance) * steps), steps - 1)
        now, then = self.times[k], max(self.times[k + 1], 1e-12 * self.times[k])
        return abs(2 * (now - then) * then / now * self._drift / 10)

    def chosen(self, seen: Seen) -> tuple[PerRow, Memory]:
        """The strength that the log-odds say; they are the memory.

        Raises:
            ConfigError: if the rule does not know the levels of its run.
        """
        if len(self.times) < 2:
            raise ConfigError("FBG needs the levels of its run; use `rule.resolved(grid.times)`")
        most = seen.most.clamp_min(torch.finfo(seen.most.dtype).eps)
        least = ((1 - self.prior) * (1 + most) / most).log()
        if seen.memory is None:
            odds = torch.zeros_like(least)
        else:
            odds = (seen.memory.odds + self._temperature * path_odds(seen) + self._drift).to(least)
        odds = odds.clamp_max(_MOST_ODDS).maximum(least)
        scale = odds.exp() / (odds.exp() - (1 - self.prior))
        return scale - 1, followed(seen, odds)


@dataclass(frozen=True, slots=True, kw_only=True)
class PosteriorPoint(Controller):
    r"""Hold the class: guidance in proportion to what the path's log-odds lack, $w = \kappa\,(L^* - L)$, two-sided.

    Attributes:
        odds: $L^*$, log-odds of the class over its prior to be held, in nats.
        gain: $\kappa$, strength per nat.
        least: Smallest strength.
    """

    odds: float = 3.0
    gain: float = 1.0
    least: float = -1.0
    name: ClassVar[str] = "hold-posterior"

    def chosen(self, seen: Seen) -> tuple[PerRow, Memory]:
        """The strength; the memory is the path's log-odds."""
        kept = followed(seen)
        return (self.gain * (self.odds - kept.odds)).clamp_min(self.least), kept


class Outlook(NamedTuple):
    """What a batch says of the variance to come; tensors of no dimension.

    Attributes:
        slope: Of the conditional denoised mean over the state.
        ratio: Variance ratio of the samples if guidance stopped here.
        pull: Change of that ratio per e-fold of the noise and unit of strength.
    """

    slope: Tensor
    ratio: Tensor
    pull: Tensor


def outlook(seen: Seen, lam: float = 1.0) -> Outlook:
    r"""The variance ratio that the batch is heading for without further guidance.

    For a class of variance $s^2$ the conditional mean has slope $r = s^2/(s^2 + t)$, whatever the units: the regression
    over the batch tells it. The share by which the batch's variance $V$ misses $s^2 + t$ falls as $r^{\lambda^2}$, so
    that $\rho = 1 + r^{\lambda^2}[(1 - r)V/t - 1]$; guidance changes it by
    $(1 + \lambda^2)\,r^{\lambda^2}(1 - r)\,\mathrm{Cov}(x, g)/t$.

    Args:
        seen: What is seen.
        lam: Noise content of the sampler.

    Raises:
        ConfigError: if there are fewer than two rows, or rows that may go differently far: a batch is one class.
    Accuracy:
        Exact for an isotropic Gaussian class; of other classes one slope stands for all directions.
    Source:
        derived in explanation/control.
    """
    if len(seen.x) < 2:
        raise ConfigError("a controller that looks at the batch's variance needs two samples of a class or more")
    if bool((seen.most != seen.most[0]).any()):
        raise ConfigError("a controller that looks at the batch needs one schedule for all of it; run them one by one")
    x, cond, gap = (part.flatten(1).double() for part in (seen.x, seen.cond, seen.gap))
    x, noise, gap = (part - part.mean(0) for part in (x, x - cond, gap))
    square, time = (x**2).sum(), per_row(np.max(seen.level.time), x)
    missing = ((x * noise).sum() / square.clamp_min(_NO_PULL)).clamp(0, 1)  # 1 - slope, without cancellation
    slope, numbers = 1 - missing, (len(x) - 1) * x.shape[1]
    decay = slope ** (lam**2)
    ratio = 1 + decay * (missing * square / numbers / time - 1)
    pull = (1 + lam**2) * decay * missing * (x * gap).sum() / numbers / time
    return Outlook(slope, ratio, pull)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPoint(Controller):
    r"""Hold the predicted variance ratio: the strength under which it relaxes to a target, two-sided.

    While the strength is not cut, $\rho$ falls to the target as $e^{-\kappa\tau}$, $\tau$ the e-folds of the noise;
    where guidance has no say it is all that is allowed as long as the ratio is above the target, and the least below.

    Attributes:
        ratio: Target of the variance ratio.
        rate: $\kappa$, per e-fold of the variance time; with fewer than $\kappa/2$ steps per e-fold it rings.
        least: Smallest strength.
        lam: Noise content of the sampler: 1 for the reverse SDE, 0 for an ODE.
    """

    ratio: float = 0.9
    rate: float = 1.0
    least: float = -1.0
    lam: float = 1.0
    name: ClassVar[str] = "set-point"

    def __post_init__(self) -> None:
        """Reject a rate that does not hold, and noise contents that do not exist."""
        Rule.__post_init__(self)
        if self.rate <= 0:
            raise ConfigError(f"rule set-point: rate must be > 0, got {self.rate:g}")
        if not 0 <= self.lam <= 1:
            raise ConfigError(f"rule set-point: lam must lie in [0, 1], got {self.lam:g}")

    def chosen(self, seen: Seen) -> tuple[PerRow, Memory]:
        """One strength for the batch; no memory."""
        found = outlook(seen, self.lam)
        strength = self.rate * (found.ratio - self.ratio) / (-found.pull).clamp_min(_NO_PULL)
        return strength.clamp(self.least, float(seen.most[0])).to(seen.most).expand_as(seen.most), None
