r"""Exact density of what the guided probability-flow ODE makes, along its trajectories.

With $v = \sigma^2$ the guided ODE is $dx/d\log v = (x - D_w)/2$, and the log-density carried by a trajectory changes by
minus the divergence of its velocity,

$$ \frac{d\log\rho}{d\log v} = \tfrac12(\nabla\cdot D_w - d), \qquad
   \nabla\cdot D_w = \frac{(1+w)\,\mathrm{tr\,Cov}_c[x_0|x] - w\,\mathrm{tr\,Cov}_u[x_0|x]}{v} , $$

so the exact posterior variance of the two laws is all it takes. A second route needs no divergence: against the tilted
density $p_c^{1+w}p_u^{-w}$ of its level a trajectory loses the *strain* $\tfrac12w(1+w)\int|s_c - s_u|^2dv$, and with a
schedule the changes of $w\log p_c/p_u$. Derived in explanation/tilted.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch

from orthoscope import rng
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant, GuidanceSchedule
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.quantities import Estimate
from orthoscope.sampling.grid import geometric, through
from orthoscope.targets import Pair
from orthoscope.typing import PerRow, Rows


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class FlowState:
    """Where trajectories are, and what they carry.

    Attributes:
        x: States.
        change: Log-density here minus log-density at the noise side's end, in nats.
        strain: Integral of w (1 + w) |s_c - s_u|^2 / 2 over the variance from here to the noise side's end, in nats.
    """

    x: Rows
    change: PerRow
    strain: PerRow


class GuidedFlow:
    """The guided probability-flow ODE of a pair between clean data and a finite time, with its exact density."""

    def __init__(
        self, pair: Pair, schedule: GuidanceSchedule, *, t_max: float = 1e4, steps: int = 100, end: float = 0.0
    ) -> None:
        """Set up the levels.

        Args:
            pair: The two laws; float64 is advised.
            schedule: Guidance strength; no clock=step, which has no strength inside a step.
            t_max: Variance time of the noise side's end.
            steps: Steps of the geometric grid, to which the schedule's jumps are added.
            end: Variance time of the data side's end; above 0 for laws without width.

        Raises:
            ConfigError: if a number is out of range or the schedule reads clock=step.
        """
        if schedule.clock == "step":
            raise ConfigError("a flow has no steps: give the schedule in clock=variance, sigma or logsnr")
        narrow, offset = pair.absorbed()
        assert isinstance(narrow, Pair)
        self.pair, self.schedule, self.process = narrow, schedule, VarianceExploding(offset=offset)
        switches = [time for time in schedule.switches() if time > end]
        self.grid = through(geometric(self.process, t_max, steps, end=end), self.process, switches)
        if not math.isfinite(float(schedule.strength(self.grid.levels[-1]))):
            raise ConfigError("the schedule has no finite strength at clean data; use a table or end at a time > 0")

    @property
    def top(self) -> NoiseLevel:
        """The noise side's end."""
        return self.grid.levels[0]

    def down(self, x: Rows) -> FlowState:
        """Carry states from the noise side's end to the data side's.

        Accuracy:
            Fourth order in the step.

        Source:
            [chen2018neural], instantaneous change of variables; derived in explanation/tilted.
        """
        return self._follow(x, list(itertools.pairwise(self.grid.levels)), downward=True)

    def up(self, x: Rows) -> FlowState:
        """Carry states from the data side's end back to the noise side's; `change` and `strain` are those of `down`.

        Accuracy:
            Fourth order in the step.

        Source:
            [chen2018neural], instantaneous change of variables; derived in explanation/tilted.
        """
        return self._follow(x, list(itertools.pairwise(self.grid.levels))[::-1], downward=False)

    def log_prob(self, x: Rows) -> PerRow:
        """Log-density of guided samples at the data side's end, started from the exact noised conditional law.

        Accuracy:
            Fourth order in the step.

        Source:
            [chen2018neural], instantaneous change of variables; derived in explanation/tilted.
        """
        start = self.up(x)
        return self.pair.cond.log_prob(start.x, self.top) + start.change

    def log_prob_by_strain(self, x: Rows) -> PerRow:
        """The same log-density without a divergence, for a constant strength.

        Accuracy:
            Fourth order in the step.

        Raises:
            ConfigError: if the strength is not constant.

        Source:
            [jiang2026guidance], the density along characteristics; derived in explanation/tilted.
        """
        if not isinstance(self.schedule, Constant):
            raise ConfigError("the strain is all that separates guided and tilted law only at constant strength")
        start, w = self.up(x), self.schedule.value
        cond, uncond = self.pair.cond, self.pair.uncond
        bottom = self.grid.levels[-1]
        here = cond.log_prob(x, bottom) - uncond.log_prob(x, bottom)
        there = cond.log_prob(start.x, self.top) - uncond.log_prob(start.x, self.top)
        return cond.log_prob(x, bottom) + w * (here - there) - start.strain

    def _follow(self, x: Rows, intervals: list[tuple[NoiseLevel, NoiseLevel]], *, downward: bool) -> FlowState:
        change = strain = torch.zeros(len(x), dtype=torch.float64)
        for high, low in intervals:
            h = math.log(low.variance / high.variance) * (1 if downward else -1)
            first, last = (high, low.from_noise_side(high.step))[:: 1 if downward else -1]
            middle = self.process.at(math.sqrt(high.variance * low.variance) - self.process.offset)
            k1 = self._rates(x, first)
            k2 = self._rates(x + h / 2 * k1[0], middle)
            k3 = self._rates(x + h / 2 * k2[0], middle)
            k4 = self._rates(x + h * k3[0], last)
            steps = [h / 6 * (a + 2 * b + 2 * c + d) for a, b, c, d in zip(k1, k2, k3, k4, strict=True)]
            x, change, strain = x + steps[0], change + steps[1], strain - steps[2]
        sign = 1 if downward else -1
        return FlowState(x=x, change=sign * change, strain=sign * strain)

    def _rates(self, x: Rows, level: NoiseLevel) -> tuple[Rows, PerRow, PerRow]:
        """Rates of state, log-density and strain per unit of log-variance."""
        w, v = float(self.schedule.strength(level)), float(level.variance)
        cond, uncond = self.pair.cond, self.pair.uncond
        d_cond, d_uncond = cond.denoised(x, level), uncond.denoised(x, level)
        spread = (1 + w) * cond.posterior_variance(x, level) - w * uncond.posterior_variance(x, level)
        gap = (d_cond - d_uncond).double().square().sum(1)
        velocity = (x - (1 + w) * d_cond + w * d_uncond) / 2
        return velocity, (spread / v - x.shape[1]) / 2, w * (1 + w) * gap / (2 * v)


def entropy_change(
    pair: Pair,
    schedule: GuidanceSchedule,
    *,
    samples: int = 1024,
    steps: int = 60,
    t_max: float = 1e4,
    end: float = 0.0,
    seed: int = 0,
) -> Estimate:
    """Differential entropy of guided samples minus that of plain conditional ones, in nats.

    Both flows start from the same exact noised conditional states, so that each pair of trajectories gives one value
    and the entropy of the start drops out.

    Args:
        pair: The two laws; float64 is advised.
        schedule: Guidance strength of the probability-flow ODE.
        samples: Pairs of trajectories.
        steps: Steps of the geometric grid.
        t_max: Variance time of the start.
        end: Variance time of the last level; above 0 for laws without width.
        seed: Root seed.

    Accuracy:
        Fourth order in the step.

    Raises:
        ConfigError: if a number is out of range or the schedule reads clock=step.

    Source:
        [wu2024theoretical] for its sign; derived in explanation/tilted.
    """
    if samples < 2:
        raise ConfigError(f"expected at least 2 samples for an error, got {samples}")
    guided = GuidedFlow(pair, schedule, t_max=t_max, steps=steps, end=end)
    plain = GuidedFlow(pair, Constant(value=0.0), t_max=t_max, steps=steps, end=end)
    stream = rng.stream(seed, "entropy")
    x = pair.cond.sample(samples, stream)
    x = x + math.sqrt(t_max) * torch.from_numpy(stream.standard_normal(tuple(x.shape))).to(x)
    gained = plain.down(x).change - guided.down(x).change
    stderr = float(gained.std()) / math.sqrt(samples)
    return Estimate(value=float(gained.mean()), stderr=stderr, n=samples)
