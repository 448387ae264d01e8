"""Reverse paths of a pipeline of texts, where the prompts given are all that is ever asked for.

The pipeline is run with all prompts in a batch, one path at a time, at the levels of its own scheduler: every step
asks for all of them at the state of the path, and the path moves on by the reverse SDE of its own prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from orthoscope import rng
from orthoscope.calibration.host_paths import Followed
from orthoscope.calibration.path import Paths, paths_of
from orthoscope.calibration.plan import FEWEST, Calibration
from orthoscope.calibration.record import Record
from orthoscope.calibration.weighing import Answers, Choice, Weighing
from orthoscope.errors import StoppedError
from orthoscope.process import NoiseLevel
from orthoscope.sampling import State
from orthoscope.typing import Events

if TYPE_CHECKING:
    from orthoscope.integrations.host import Host


def runs_of(prompts: int, calibration: Calibration) -> int:
    """Paths that are followed: as many per prompt as there are images, but no more than `paths` or one of each."""
    return max(FEWEST, prompts, min(calibration.paths, prompts * calibration.images_per_prompt))


def follow_prompts(
    host: Host, prompts: Sequence[str], plain: Record, calibration: Calibration, advance: Callable[[], None]
) -> Followed:
    """Paths at strength 0, with the images of the run at strength 0.

    Args:
        host: The pipeline.
        prompts: All prompts.
        plain: The run at strength 0.
        calibration: Number of paths and of steps, and the root seed.
        advance: Called after every path.

    Raises:
        ConfigError: if the pipeline cannot be asked for all prompts at a common state.
        StoppedError: if a state is not finite.
    """
    labels = np.sort(np.arange(runs_of(len(prompts), calibration)) % len(prompts))
    walks = []
    for row, label in enumerate(labels.tolist()):
        walk = _Walk(label=label, times=plain.time.tolist(), seed=calibration.seed, row=row)
        walk.follow(host, prompts, calibration.steps)
        walks.append(walk)
        advance()
    order = rng.stream(calibration.seed, "calibrate", "order").permutation(len(plain.states))
    return Followed(
        paths=[_together(walks, plain)],
        images=plain.states.astype(np.float64)[order],
        labels=plain.groups[order],
        means=np.mean([walk.means for walk in walks], axis=0),
        calls=0,
    )


@dataclass(slots=True, kw_only=True, eq=False)
class _Walk:
    """One path.

    Attributes:
        label: Number of its prompt.
        times: Variance times of the levels.
        seed: Root seed.
        row: Number of the path.
        states: States so far, with the log-densities of all prompts.
        answers: What was said.
        means: Mean of every prompt, as said at the first level.
    """

    label: int
    times: Sequence[float]
    seed: int
    row: int
    states: list[State] = field(default_factory=list)
    answers: list[Answers] = field(default_factory=list)
    means: Any = None

    def follow(self, host: Host, prompts: Sequence[str], steps: int) -> None:
        """Walk it."""
        from orthoscope.integrations.common_state import ask_together

        noise = rng.stream(self.seed, "calibrate", "walk", self.row)

        def move(x: Events, level: NoiseLevel, means: Events, none: Events) -> Events:
            return self._moved(x, level, (means, none), noise)

        ask_together(host, prompts, rng.key(self.seed, "calibrate", "start", self.row) % 2**63, steps, move)

    def _moved(self, x: Events, level: NoiseLevel, means: tuple[Events, Events], noise: np.random.Generator) -> Events:
        classes, at = len(means[0]), len(self.answers)
        if not self.states:
            self.means = means[0].double().flatten(1).numpy(force=True)
            none = torch.zeros(1, classes + 1, dtype=torch.float64, device=x.device)
            self.states.append(State(x=x, level=level, label=torch.tensor([self.label], device=x.device), carried=none))
        if at + 1 >= len(self.times):  # the last level: nothing is weighed any more
            return means[0][self.label : self.label + 1]
        state, below = self.states[-1], NoiseLevel(time=float(self.times[at + 1]))
        z = torch.from_numpy(noise.standard_normal(x.shape)).to(x)
        step = Weighing(hear=self.answers.append)
        x, carried = step.weigh(state, below, Choice.of(state.carried), means, z)
        if not bool(torch.isfinite(x).all()):
            raise StoppedError(f"the state is not finite at variance time {below.time:.4g}; use more `steps`")
        self.states.append(State(x=x, level=below, label=state.label, carried=carried))
        return x


def _together(walks: Sequence[_Walk], plain: Record) -> Paths:
    """All walks as paths, a row each."""
    names = [one.name for one in fields(Answers) if one.name not in ("time", "calls")]
    answers = []
    for said in zip(*(walk.answers for walk in walks), strict=True):
        parts = {name: torch.cat([getattr(one, name) for one in said]) for name in names}
        answers.append(Answers(time=said[0].time, calls=sum(one.calls for one in said), **parts))
    states = []
    for level in zip(*(walk.states for walk in walks), strict=True):
        x, carried, label = (torch.cat([getattr(one, name) for one in level]) for name in ("x", "carried", "label"))
        states.append(State(x=x, level=level[0].level, label=label, carried=carried))
    return paths_of(states, plain.time.tolist(), answers)
