"""One draw of the modes, with all that a run of it needs: target, class, centroid, levels, start, noise and denoiser.

The class that is sampled is label 0. Every random stream is named by the root seed, what it is for, and the index of
the draw, so that a draw is the same whoever asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from orthoscope import metrics, rng
from orthoscope.denoise import Active, Committed, Counted, Denoiser, ExactDenoiser, FixedLabel
from orthoscope.errors import ConfigError
from orthoscope.guidance.by_row import Strength
from orthoscope.guidance.guided import Guided, classifier_free
from orthoscope.guidance.rules import LinearCFG, Renoised, Rule
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.quantities import Estimate
from orthoscope.sampling import (
    Exponential,
    Grid,
    IndependentNoise,
    Run,
    State,
    equalized,
    geometric,
    grid,
    posterior_variance,
    refined,
    sample,
    start,
    through,
)
from orthoscope.simulation.setting import Simulation
from orthoscope.targets import Mixture, Planted, Target, class_count, random_mixture, random_planted
from orthoscope.targets.streamed import OnFile, Regenerated, Streamed, streamed
from orthoscope.theory.odds import stopping_odds
from orthoscope.theory.predict import predict
from orthoscope.typing import Events

Modes: TypeAlias = Mixture | Planted | Streamed
BENT_END = 0.01  # standard deviations of a mode down to which runs of bent rules go: 1e-4 of its variance is left
REFINED_WIDTH = 8.0  # in units of dim**-0.5; measured by benchmarks/grids.py
_FRECHET_ROWS_PER_DIM = 2  # below, the covariance is too ill-determined for a distance to mean anything


@dataclass(frozen=True, eq=False, kw_only=True)
class Draw:
    """One draw of the modes of a simulation.

    Attributes:
        simulation: What is simulated.
        index: Which draw it is.
        target: Its modes.
    """

    simulation: Simulation
    index: int
    target: Modes

    @cached_property
    def narrow(self) -> Target:
        """The target without the width that is absorbed into the noise."""
        return self.target.absorbed()[0]

    @cached_property
    def process(self) -> VarianceExploding:
        """The process that carries that width."""
        return VarianceExploding(offset=self.target.absorbed()[1])

    @cached_property
    def law(self) -> Target:
        """The law of the class."""
        return self.target.conditional(0)

    @cached_property
    def centroid(self) -> NDArray[Any]:
        """Centroid of the class, in the number type of the modes."""
        target = self.target
        found = target.centroid if isinstance(target, Planted) else target.conditional(0).centroids[0]
        return np.asarray(found.cpu().numpy())

    @cached_property
    def levels(self) -> Grid:
        """The levels to visit: as asked for, with the schedule's jumps inserted.

        A schedule with clock=step means something only on a given grid: it always gets the geometric one. Where levels
        are refined is told by the theory of classifier-free guidance, whatever the rule.
        """
        setting, numerics = self.simulation.setting, self.simulation.numerics
        process, run = self.process, (setting.t_max, numerics.steps)
        if setting.schedule.clock == "step":
            return self._above(geometric(process, *run))
        match numerics.grid:
            case "equalized":
                spread = posterior_variance(self.narrow, seed=self.simulation.budget.seed)
                base = equalized(process, *run, posterior_variance=spread)
            case "refined" if (center := decision_time(self.simulation)) is not None:
                base = refined(process, *run, center=center, width=REFINED_WIDTH / math.sqrt(self.simulation.dim))
            case _:
                base = geometric(process, *run)
        return through(self._above(base), process, setting.schedule.switches())

    def _above(self, base: Grid) -> Grid:
        """The same levels; under a rule that bends the last is above clean data, where denoised means say nothing."""
        if not self.simulation.bends:
            return base
        end = (BENT_END * self.simulation.setting.law.std) ** 2
        return grid(self.process, [*(time for time in base.times if time > end), end])

    def streams(self) -> list[np.random.Generator]:
        """Random streams of the trajectories, one each."""
        budget = self.simulation.budget
        return rng.row_streams(budget.seed, "trajectory", self.index, rows=range(budget.samples))

    def start(self, streams: Sequence[np.random.Generator], levels: Grid) -> Events:
        """States at the first of the levels, one per stream."""
        setting, numerics = self.simulation.setting, self.simulation.numerics
        width = 1 + setting.law.std**2
        x = start(setting.start, self.law, levels.levels[0], streams, prior_variance=width)
        return x.to(numerics.device, numerics.torch_dtype)

    @property
    def step(self) -> Exponential:
        """The sampler's step."""
        return Exponential(lam=self.simulation.setting.lam, order=self.simulation.numerics.order)

    def denoiser(self, levels: Grid, schedule: Strength | None = None) -> Denoiser:
        """The guided denoiser of a run over these levels; under another schedule, or several by row, if given.

        A rule that bends sees the denoised means of the target itself, and not of its absorbed form.
        """
        schedule = self.simulation.setting.schedule if schedule is None else schedule
        rule = self._rule(levels)
        if self.simulation.bends:
            return Counted(classifier_free(ExactDenoiser(self.target), schedule, rule))
        reference = self._reference(levels, schedule)
        return Guided(main=ExactDenoiser(self.narrow), reference=reference, schedule=schedule, rule=rule)

    def _rule(self, levels: Grid) -> Rule:
        """The rule on the levels of a run."""
        rule: Rule = self.simulation.setting.rule or LinearCFG()
        return rule.resolved(levels.times)

    def _reference(self, levels: Grid, schedule: Strength) -> Denoiser:
        """The unconditional denoiser; with a tolerance, one that reads fewer modes once no row needs them."""
        law, tolerance = self.narrow, self.simulation.numerics.tolerance
        if tolerance == 0 or not isinstance(law, Mixture | Streamed):
            return FixedLabel(ExactDenoiser(law))
        if self.simulation.setting.lam < 1:
            if not isinstance(law, Mixture):
                raise ConfigError(
                    "only modes in memory can be left out of an ODE's scans: use a `tolerance` of 0", field="tolerance"
                )
            return FixedLabel(Active(law, tolerance=tolerance * math.sqrt(law.dim)))
        by_level = np.atleast_2d(np.array([self._strength(levels, schedule, level) for level in levels.levels[:-1]]).T)
        return Committed(law, 0, odds=min(stopping_odds(tolerance, one) for one in np.unique(by_level, axis=0)))

    def _strength(self, levels: Grid, schedule: Strength, level: NoiseLevel) -> Any:
        """Strength that linear guidance has at a level; that of the rule, if it is linear guidance of another one."""
        rule, w = self._rule(levels), schedule.strength(level)
        return rule.strength(level, w) if isinstance(rule, Renoised) else w

    def run(
        self, levels: Grid | None = None, *, watchers: Sequence[Callable[[State], None]] = (), recorded: bool = True
    ) -> Run:
        """Sample the class once, over its own or other levels, recording overlap and variance at every level.

        Args:
            levels: Levels to visit; the draw's own if None.
            watchers: Told of each state.
            recorded: Whether anything is recorded; False where only the end is wanted.
        """
        streams, grid = self.streams(), levels or self.levels
        x = self.start(streams, grid)

        def observe(state: State) -> tuple[Estimate, Estimate] | None:
            for watch in watchers:
                watch(state)
            if not recorded:
                return None
            rows = state.x.cpu().numpy()
            return metrics.overlap(rows, self.centroid), metrics.variance(rows)

        return sample(
            self.denoiser(grid),
            x,
            grid,
            step=self.step,
            noise=IndependentNoise(streams, (self.simulation.dim,), like=x),
            label=0,
            observe=observe,
        )

    def planted(self) -> Draw:
        """The same centroid, start and noise with all other modes averaged."""
        planted = Planted(
            centroid=self.target.conditional(0).centroids[0],  # type: ignore[union-attr] # a mixture has one
            std=self.simulation.setting.law.std,
            log_classes=self.simulation.log_classes,
        )
        return replace(self, target=planted)

    def estimates(self, run: Run) -> dict[str, Estimate]:
        """Every estimate at the end of a run, by quantity name."""
        rows, m, std = run.x.cpu().numpy(), self.centroid, self.simulation.setting.law.std
        estimates = {
            "mean_shift": metrics.mean_shift(rows, m),
            "variance_shift": metrics.variance_shift(rows, std),
            "variance_shift_along": metrics.variance_shift(rows, std, m, part="along"),
            "variance_ratio": metrics.variance_ratio(rows, std),
            "class_posterior": metrics.share_of(self.target.class_posterior(run.x, 0).cpu().numpy()),
            "participation_ratio": metrics.participation_ratio(rows),
        }
        if self.simulation.dim > 1:
            estimates["variance_shift_across"] = metrics.variance_shift(rows, std, m, part="across")
        if len(rows) >= _FRECHET_ROWS_PER_DIM * self.simulation.dim:
            covariance = torch.eye(self.law.dim, dtype=torch.float64) * std**2  # one isotropic mode per class
            estimates["frechet_distance"] = metrics.frechet_distance(rows, m, covariance.numpy())
        return estimates


def draw(simulation: Simulation, index: int = 0) -> Draw:
    """One draw of the modes of a simulation, its target made now."""
    return Draw(simulation=simulation, index=index, target=_target(simulation, index))


def decision_time(simulation: Simulation) -> float | None:
    """Variance time at which the path is committed or captured, by theory of plain guidance; None if neither."""
    found = predict(simulation.mean_field.but(rule=None))
    times = [t for t in (found.speciation_time, found.capture_time) if t is not None]
    return max(times) if times else None


def _target(simulation: Simulation, index: int) -> Modes:
    law, numerics, seed = simulation.setting.law, simulation.numerics, simulation.budget.seed
    if simulation.modes not in ("memory", "planted"):
        return _streamed(simulation, index)
    stream = rng.stream(seed, "modes", index)
    if simulation.planted:
        planted = random_planted(
            simulation.dim, std=law.std, log_classes=simulation.log_classes, stream=stream, dtype=numerics.torch_dtype
        )
        return replace(planted, centroid=planted.centroid.to(numerics.device))
    drawn = random_mixture(
        simulation.dim,
        std=law.std,
        stream=stream,
        rate=law.rate,
        classes=law.classes,
        ensemble=law.ensemble,
        dtype=numerics.torch_dtype,
    )
    return drawn.to(numerics.device)


def _streamed(simulation: Simulation, index: int) -> Streamed:
    """The modes of one draw, left where they come from."""
    law, numerics = simulation.setting.law, simulation.numerics
    source = (
        Regenerated(
            dim=simulation.dim,
            modes=class_count(simulation.dim, rate=law.rate, classes=law.classes),
            stream=partial(rng.stream, simulation.budget.seed, "modes", index),
            ensemble=law.ensemble,
        )
        if simulation.modes == "regenerated"
        else OnFile(path=Path(simulation.modes))
    )
    return streamed(source, std=law.std, dtype=numerics.torch_dtype, device=numerics.device)
