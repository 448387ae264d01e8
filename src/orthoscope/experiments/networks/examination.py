"""One network from training to the last number: what it knows, what guidance makes of it, and what was foreseen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from orthoscope.denoise import Blended, Denoiser, ExactDenoiser, OwnMode
from orthoscope.errors import ConfigError
from orthoscope.experiments.networks.branches import ERRORS, Exam, Marks
from orthoscope.experiments.networks.foretold import displace, foretell
from orthoscope.experiments.networks.guided import MEASURES, Outcome, Pair, PosteriorMixture, Track, gain, run_all
from orthoscope.experiments.networks.learner import Learner
from orthoscope.guidance.grammar import parse_schedule
from orthoscope.guidance.schedules import Constant, GuidanceSchedule
from orthoscope.laws import RandomMixture
from orthoscope.learned import Trainer
from orthoscope.progress import Progress
from orthoscope.quantities import Estimate
from orthoscope.records import Record
from orthoscope.settings import Setting
from orthoscope.theory.effective import learned_fraction
from orthoscope.typing import Labels

PAIRS = ("exact", "network", "uncond", "cond", "gaussian", "effective", "posterior")
OTHER_SAMPLER = ("exact", "network")  # pairs that are run with the other sampler too, under the schedules of `swapped`
_SELDOM = ("uncond", "cond", "posterior")  # pairs that are run under the schedules of `swapped` only
_FEWEST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination(Record):
    """What is asked of every network.

    Attributes:
        schedules: Guidance schedules; the constants among them, ascending, are what the others are compared with.
        swapped: Those of them under which single branches are exchanged.
        classes: Most classes that are looked at.
        samples: Guided samples in all, spread over these classes.
        paths: Exact paths in all along which errors are followed.
        rows: Points of the law at every level, spread over them.
        levels: Lowest variance time, highest and number of the levels at which branches are judged.
        steps: Steps of the sampler.
        t_max: Variance time of its start.
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE.
    """

    schedules: tuple[str, ...] = (
        "constant:0", "constant:0.5", "constant:1", "constant:2", "constant:3", "constant:5",
        "step:early=0,late=3,switch=1", "step:early=3,late=0,switch=1",
        "step:early=3,late=-1,switch=1", "step:early=3,late=-1,switch=0.3",
    )  # fmt: skip
    swapped: tuple[str, ...] = ("constant:0", "constant:1", "constant:3", "step:early=3,late=-1,switch=0.3")
    classes: int = 64
    samples: int = 2048
    paths: int = 512
    rows: int = 4096
    levels: tuple[float, float, int] = (0.02, 50.0, 16)
    steps: int = 24
    t_max: float = 50.0
    lam: float = 1.0

    def __post_init__(self) -> None:
        """Reject what says nothing."""
        if missing := set(self.swapped) - set(self.schedules):
            raise ConfigError(f"`swapped` must be among the `schedules`, {', '.join(sorted(missing))} is not")
        if len(self.constants) < _FEWEST:
            raise ConfigError(f"expected at least {_FEWEST} constant `schedules` to compare with", field="schedules")
        if min(self.samples, self.paths, self.rows) < _FEWEST * self.classes or self.classes < _FEWEST:
            raise ConfigError(
                f"`samples`, `paths` and `rows` must be at least {_FEWEST} of each of {self.classes} `classes`"
            )

    @property
    def plans(self) -> list[GuidanceSchedule]:
        """The schedules."""
        return [parse_schedule(text) for text in self.schedules]

    @property
    def constants(self) -> list[int]:
        """Positions of the constants."""
        return [k for k, plan in enumerate(self.plans) if isinstance(plan, Constant)]

    @property
    def times(self) -> tuple[float, ...]:
        """Variance times at which branches are judged, ascending."""
        return tuple(np.geomspace(*self.levels).tolist())


@dataclass(frozen=True, eq=False)
class Examined:
    """A network that is examined.

    Attributes:
        learner: The network.
        asked: What is asked of it.
        trainer: Its training, finished.
    """

    learner: Learner
    asked: Examination
    trainer: Trainer

    @cached_property
    def marks(self) -> Marks:
        """What its branches know."""
        exam = Exam(law=self._law, labels=self._labels(self.asked.rows), times=self.asked.times, seed=self.learner.seed)
        return exam.mark(self.network)

    @cached_property
    def _law(self) -> Any:
        return self.learner.law()

    @cached_property
    def network(self) -> Denoiser:
        """Both branches."""
        return self.learner.denoiser(self.trainer)

    def _labels(self, rows: int) -> Labels:
        """The first classes, in equal shares; centroids are drawn at random, so any are as good."""
        classes = min(self.asked.classes, self.learner.classes)
        return torch.arange(classes).repeat_interleave(rows // classes)

    def outcomes(self) -> dict[str, list[Outcome | None]]:
        """What guidance comes to, by pair of branches and schedule; `other_` with the other sampler."""
        exact, network, asked = OwnMode(self._law), self.network, self.asked
        gaussian = ExactDenoiser(self._law.gaussian())
        fraction = learned_fraction((asked.times, [one.value for one in self.marks.learned()[0]]))
        pairs: dict[str, Pair] = {
            "exact": (exact, exact),
            "network": (network, network),
            "uncond": (exact, network),
            "cond": (network, exact),
            "gaussian": (exact, gaussian),
            "effective": (exact, Blended(exact, gaussian, lambda level: fraction(float(level.time)))),
            "posterior": (network, PosteriorMixture(self._law, network)),
        }
        few = [asked.schedules.index(text) for text in asked.swapped]
        found = run_all(self.track(asked.samples), pairs, dict.fromkeys(_SELDOM, few))
        other = replace(self.track(asked.samples), lam=1 - asked.lam)
        both = {name: pairs[name] for name in OTHER_SAMPLER}
        return found | {f"other_{name}": one for name, one in run_all(other, both, dict.fromkeys(both, few)).items()}

    def track(self, rows: int) -> Track:
        """Where samples run."""
        asked = self.asked
        return Track(
            law=self._law, labels=self._labels(rows), schedules=asked.plans, steps=asked.steps, t_max=asked.t_max,
            lam=asked.lam, seed=self.learner.seed,
        )  # fmt: skip

    def settings(self) -> list[Setting]:
        """What theory is asked: one setting for every schedule."""
        law, asked = RandomMixture(classes=self.learner.classes, std=self.learner.std), self.asked
        return [
            Setting(law=law, dim=self.learner.dim, schedule=plan, t_max=asked.t_max, start="exact", lam=asked.lam)
            for plan in asked.plans
        ]

    def row(self) -> dict[str, Any]:
        """All of it, by quantity."""
        marks, outcomes = self.marks, self.outcomes()
        row: dict[str, Any] = {}
        for name in ERRORS:
            by_level, row[f"excess_{name}_mean"] = marks.excess(name)
            row[f"excess_{name}"] = (["level"], by_level)
        for name, (by_level, mean) in {"learned_fraction": marks.learned(), "slope": marks.slope()}.items():
            row[f"{name}_level"], row[name] = (["level"], by_level), mean
        for name in ("disagreement", "disagreement_exact", "ignorance"):
            row[name] = (["level"], marks.excess(name)[0])
        row["posterior"] = (["level"], marks.posterior.mean(1))
        for name, source in {"information": "disagreement", "information_exact": "disagreement_exact"}.items():
            row[name], row[f"{name}_decided"] = marks.information(source)
        row["affine_share"] = (["level"], marks.affine_share)
        for pair in PAIRS:
            row |= _measured(pair, outcomes[pair], outcomes["exact"], self.asked.constants)
        other = {pair: outcomes[f"other_{pair}"] for pair in OTHER_SAMPLER}
        row |= _extra("other", other["network"], other["exact"])
        for by, told in foretell(marks, self.settings(), self.learner.dim).items():
            row |= {f"{name}_by_{by}": (["schedule"], column) for name, column in told.items()}
        displaced = displace(self.track(self.asked.paths), self.network)
        row |= {name: (["schedule"], column) for name, column in displaced.items()}
        return row | {"loss": self.trainer.log[-1].held_out_loss, "seconds": self.trainer.seconds}


def _measured(
    pair: str, found: Sequence[Outcome | None], exact: Sequence[Outcome | None], constants: Sequence[int]
) -> dict[str, Any]:
    """Measures of one pair, what it adds to the exact pair, and its gain over constants; NaN where it was not asked."""
    own = [_blank() if one is None else one.estimates() for one in found]
    row: dict[str, Any] = {f"{name}_{pair}": (["schedule"], [one[name] for one in own]) for name in MEASURES}
    row |= _extra(pair, found, exact)
    rivals = [one for k in constants if (one := found[k]) is not None]
    gains = [_NOTHING if one is None or len(rivals) < len(constants) else gain(one, rivals) for one in found]
    row[f"gain_{pair}"] = (["schedule"], gains)
    return row


def _extra(pair: str, found: Sequence[Outcome | None], exact: Sequence[Outcome | None]) -> dict[str, Any]:
    """What one pair adds to the exact one on the same noise."""
    runs = zip(found, exact, strict=True)
    more = [_blank() if one is None or less is None else one.estimates(less) for one, less in runs]
    return {f"extra_{name}_{pair}": (["schedule"], [one[name] for one in more]) for name in MEASURES}


_NOTHING = Estimate(value=float("nan"), stderr=float("nan"), n=0)


def _blank() -> dict[str, Estimate]:
    return dict.fromkeys(MEASURES, _NOTHING)


def examine(
    learner: Learner, asked: Examination, folder: Path | None, progress: Progress | None = None
) -> dict[str, Any]:
    """Train a network, or read it where its file is, and say all that is asked."""
    file = None if folder is None else folder / f"{learner.key}.safetensors"
    return Examined(learner, asked, learner.trained(file, progress=progress)).row()
