"""The environment: a batch of one class, guided step by step through the sampler's own loop.

The state is the batch, of which the agent sees statistics; an action is one strength for all of it. The reward comes at
the end: (1 - preference) * adherence - preference * distortion. The preference is drawn with the law and is observed,
so that one policy serves a whole front. A variance is of a batch: no reward of single trajectories can hold it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orthoscope.checks import real, whole
from orthoscope.control.family import Draws, Family
from orthoscope.denoise import Counted, Denoiser, Evaluation, ExactDenoiser, Label, Memory
from orthoscope.errors import ConfigError
from orthoscope.guidance.guided import GuidedMemory, classifier_free
from orthoscope.guidance.rules.feedback import Controller, Seen, followed
from orthoscope.guidance.rules.policy import OBSERVATIONS, observed, within
from orthoscope.sampling import trajectory
from orthoscope.sampling.state import State
from orthoscope.simulation.classes import ClassRun
from orthoscope.typing import Events, PerRow

OBSERVES = ("progress", "slope", "ratio", "mean_pair", "mean_log_odds", "preference")
_OF_ROWS = ("pair", "length", "log_odds")
_SEEDS = 2**31

Observation = NDArray[np.float32]


@dataclass(eq=False)
class Commanded(Controller):
    """A controller that does as it is told.

    Attributes:
        least: Smallest strength.
        action: From -1, the least, to 1, the most.
    """

    least: float = -1.0
    action: float = 0.0

    def chosen(self, seen: Seen) -> tuple[PerRow, Memory]:
        """The strength of the action; it remembers what policies do."""
        return within(torch.full_like(seen.most, self.action), self.least, seen.most), followed(seen)


@dataclass(eq=False)
class Once(Denoiser):
    """A denoiser that is asked once by the observer and by the sampler.

    Attributes:
        denoiser: What is asked.
    """

    denoiser: Denoiser
    _known: dict[Any, tuple[Tensor, Evaluation]] = field(default_factory=dict, repr=False)

    def evaluate(self, x: Events, level: Any, label: Label = None, memory: Memory = None) -> Evaluation:
        """What was said of this very state, or what is said now."""
        state, found = self._known.get(label, (None, None))
        if state is not x or found is None:
            found = self.denoiser.evaluate(x, level, label)
            self._known[label] = x, found
        return found


class GuidanceEnv(gym.Env[Observation, Observation]):
    """Guide one class of a law from noise to samples, by one strength a step.

    Args:
        family: Where laws are drawn from; or one case, which is then always the same.
        samples: Rows of the batch.
        steps: Steps of a run.
        most: Strength of the action 1.
        least: That of the action -1.
        observes: What is observed: names of `OBSERVATIONS` that are of the batch.
        preference: Preference of all episodes; drawn evenly from [0, 1] if None.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - gymnasium has it so

    def __init__(
        self, family: Draws | None = None, *, samples: int = 64, steps: int = 16, most: float = 5.0,
        least: float = -1.0, observes: Sequence[str] = OBSERVES, preference: float | None = None,
    ) -> None:  # fmt: skip
        """Reject what cannot be run.

        Raises:
            ConfigError: if something is out of range, or an observation is of single rows.
        """
        if family is not None and not hasattr(family, "draw"):
            raise ConfigError(f"`family` is a Family(...) or a Case(...), got {type(family).__name__}", field="family")
        self.family: Draws = Family() if family is None else family
        self.samples, self.steps = whole("samples", samples, 2), whole("steps", steps, 1)
        self.most, self.least = real("most", most, finite=True), real("least", least, finite=True)
        if not self.least < self.most or self.most <= 0:
            raise ConfigError(f"expected `least` < `most` and `most` > 0, got {least} and {most}", field="most")
        if odd := [name for name in observes if name not in OBSERVATIONS or name in _OF_ROWS]:
            known = ", ".join(name for name in OBSERVATIONS if name not in _OF_ROWS)
            raise ConfigError(f"an environment sees its batch by {known}, got {', '.join(odd)}", field="observes")
        self.observes, self.preference = tuple(observes), preference
        self.observation_space = gym.spaces.Box(-3, 3, (len(self.observes),), np.float32)
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Draw a law, a preference and a start.

        Args:
            seed: Of all that is drawn from now on.
            options: `preference`, in place of a drawn one.
        """
        super().reset(seed=seed)
        told = (options or {}).get("preference", self.preference)
        drawn = float(self.np_random.random())
        self._prefers = drawn if told is None else real("preference", told)
        self._case = self.family.draw(self.np_random)
        self._rule = Commanded(self.least)
        run = self._case.run(
            self._rule, most=self.most, samples=self.samples, steps=self.steps,
            seed=int(self.np_random.integers(_SEEDS)),
        )  # fmt: skip
        self._once = Once(run.network or ExactDenoiser(run.target))
        self._states = self._loop(run)
        self._state = next(self._states)
        return self._observed(), {}

    def _loop(self, run: ClassRun) -> Iterator[State]:
        """The loop of a run, its denoiser shared with the observer."""
        levels = run.levels
        guided = Counted(classifier_free(self._once, run.schedule, self._rule.resolved(levels.times)))
        x, noise = run.begin()
        return trajectory(guided, x, levels, step=run.step, noise=noise, label=run.label)

    def _observed(self) -> Observation:
        state = self._state
        level = replace(state.level, offset=0.0)  # as the rule sees it
        cond, uncond = (self._once.evaluate(state.x, level, label).denoised for label in (self._case.label, None))
        memory = state.memory.rule if isinstance(state.memory, GuidedMemory) else None
        most = torch.full((len(state.x),), self.most, dtype=state.x.dtype)
        seen = Seen(x=state.x, level=level, cond=cond, uncond=uncond, most=most, memory=memory)
        rows, _ = observed(self.observes, seen, preference=self._prefers, lam=1.0)
        return rows[0].numpy(force=True).astype(np.float32)

    def step(self, action: Observation) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One step of the sampler.

        Raises:
            DivergenceError: if the state stops being finite.
        """
        self._rule.action = float(np.clip(action[0], -1, 1)) if np.isfinite(action[0]) else float(action[0])
        self._state = next(self._states)
        over = self._state.level.step == self._state.level.steps
        if not over:
            return self._observed(), 0.0, False, False, {}
        found = {name: float(value) for name, value in self._case.worth(self._state.x).items()}
        return self._observed(), float(self._case.reward(self._state.x, self._prefers)), True, False, found
