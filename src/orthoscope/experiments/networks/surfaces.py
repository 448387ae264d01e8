"""Does guidance that turns round leave a manifold, or a support? Exact scores and networks on laws that are no balls.

Networks learn a curved surface with patches as classes, and overlapping cubes (`supports`). One is small, and its
unconditional branch knows little; the other is wider and was trained on that branch half of the time. Both are sampled
beside the exact score on the same noise, and beside the exact conditional branch against one Gaussian.

Schedules switch where a law decides its classes. With $p(t)$ the mean posterior of the own class, they open, end or
turn *early* where $p$ has come half of its way from chance to its value at clean data, and turn *late* where it has
come three quarters. Classes that overlap are never decided wholly: no fixed posterior marks one place in both laws.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from orthoscope import rng
from orthoscope.datasets import dataset, grid, stored
from orthoscope.denoise import Denoiser, ExactDenoiser
from orthoscope.errors import ConfigError
from orthoscope.experiments.networks.guided import Pair
from orthoscope.experiments.networks.learner import finish
from orthoscope.experiments.networks.strays import MEASURES, Levels, Strays
from orthoscope.experiments.networks.supports import CLASSES, LAWS, Support
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Step
from orthoscope.learned import Labelled, Learned, Perceptron, Trainer, Training
from orthoscope.learned.perceptron import Shape
from orthoscope.quantities import pool
from orthoscope.serialize import content_hash, plain
from orthoscope.sweeps.points import HERE, Points

SMALL = Training(steps=2000, batch=256, learning_rate=5e-3, null_share=0.1, every=500)
BETTER = Training(steps=3000, batch=256, learning_rate=5e-3, null_share=0.5, every=1000)
NETWORKS = ("small", "better")
PAIRS = ("exact", "half the steps", "gaussian", *NETWORKS)
SCHEDULES = ("constant 0", "constant 1", "constant 3", "waiting", "ending", "turning late", "turning early")
_STRONG, _BACK = 3.0, -1.0
_DECIDED = {"early": 0.5, "late": 0.75}  # share of the way of the mean posterior
_FEWER = 2  # times fewer steps by which those of the runs are judged
_LEAST = 1e-3  # lowest level of exams


def schedules(early: float, late: float) -> tuple[GuidanceSchedule, ...]:
    """Those of `SCHEDULES`, from the times at which a law decides its classes."""
    return (
        *(Constant(value=w) for w in (0.0, 1.0, _STRONG)),
        Step(early=0.0, late=_STRONG, switch=early),
        Step(early=_STRONG, late=0.0, switch=early),
        Step(early=_STRONG, late=_BACK, switch=late),
        Step(early=_STRONG, late=_BACK, switch=early),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfacesStudy:
    """Networks beside exact scores on a curved surface and on cubes.

    Attributes:
        laws: Names of the laws, see `supports`.
        small: Training of the network whose unconditional branch knows little.
        better: That of the other one.
        widths: Units per layer of the two.
        points: Points of each class to train on.
        samples: Guided samples of each class.
        steps: Steps, to which the jumps of the schedules are added.
        t_max: Variance time of the start, from the exact noised class.
        levels: Levels at which branches and posteriors are judged.
        seeds: Draws of law, points, weights and noise.
        seed: Root seed.
    """

    name: str = field(default="surfaces", init=False)
    laws: tuple[str, ...] = tuple(LAWS)
    small: Training = SMALL
    better: Training = BETTER
    widths: tuple[int, int] = (32, 96)
    points: int = 4096
    samples: int = 64
    steps: int = 96
    t_max: float = 50.0
    levels: int = 24
    seeds: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject studies of nothing."""
        if unknown := set(self.laws) - LAWS.keys():
            raise ConfigError(f"`laws` are {', '.join(LAWS)}; got {', '.join(sorted(unknown))}", field="laws")
        for name, least in {"points": 1, "samples": 2, "steps": 2, "levels": 2, "seeds": 1}.items():
            if getattr(self, name) < least:
                raise ConfigError(f"`{name}` must be at least {least}, got {getattr(self, name)}", field=name)

    @classmethod
    def quick(cls) -> SurfacesStudy:
        """One draw, networks trained for less, fewer samples."""
        return cls(
            small=replace(SMALL, steps=500), better=replace(BETTER, steps=1000), points=512, samples=16, steps=32,
            levels=12, seeds=1,
        )  # fmt: skip

    @property
    def times(self) -> tuple[float, ...]:
        """Variance times at which branches and posteriors are judged, ascending."""
        return tuple(np.geomspace(_LEAST, self.t_max, self.levels).tolist())

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Train and sample for every law and seed; weights stay in the run folder, and are not trained again."""
        axes = {"seed": range(self.seed, self.seed + self.seeds), "law": self.laws}
        rows = points.each(self._draw, list(product(*axes.values())), beside="networks")
        coords = {**axes, "pair": PAIRS, "network": NETWORKS, "schedule": SCHEDULES, "level": self.times}
        return dataset(grid(rows, axes), coords=coords, spec=self)

    def _draw(self, seed: int, law: str, folder: Path | None) -> dict[str, Any]:
        """One law with its networks."""
        support = LAWS[law](seed)
        scholars = [Scholar(law, one, width, self.points) for one, width in self._networks(seed)]
        trainers = [one.trained(support, folder) for one in scholars]
        networks: list[Denoiser] = [one.denoiser(support, it) for one, it in zip(scholars, trainers, strict=True)]
        exam = Levels(support=support, times=self.times, samples=self.samples, seed=seed)
        switches = {name: exam.decided(share) for name, share in _DECIDED.items()}
        strays = Strays(
            support=support, schedules=schedules(**switches), samples=self.samples, steps=self.steps,
            t_max=self.t_max, seed=seed,
        )  # fmt: skip
        exact, gaussian = support.exact, ExactDenoiser(support.gaussian)
        pairs: list[Pair] = [(exact, exact), (exact, gaussian), *((one, one) for one in networks)]
        table = [strays.measure(pair) for pair in pairs]
        table.insert(1, strays.measure(pairs[0], _FEWER))
        return {name: (["pair", "schedule"], [one[name] for one in table]) for name in MEASURES} | {
            "posterior": (["level"], exam.posterior.tolist()),
            **{f"switch_{name}": time for name, time in switches.items()},
            "learned_fraction": (["network"], [exam.learned(one) for one in networks]),
            "loss": (["network"], [one.log[-1].held_out_loss for one in trainers]),
            "cpu_seconds": (["network"], [one.seconds for one in trainers]),
        }

    def _networks(self, seed: int) -> list[tuple[Training, int]]:
        trainings = [replace(one, seed=seed) for one in (self.small, self.better)]
        return list(zip(trainings, self.widths, strict=True))

    def summarize(self, result: xr.Dataset) -> dict[str, Any]:
        """What was found for every law, pooled over draws; with several, errors are those between them."""
        return {str(law): _summary(result.sel(law=law)) for law in result["law"].values}


def _summary(one: xr.Dataset) -> dict[str, Any]:
    def number(name: str, **at: str) -> dict[str, float | int | None]:
        return pool(stored(one.sel(at), name), parts=CLASSES).as_numbers()

    return {
        "learned_fraction": {name: number("learned_fraction", network=name) for name in NETWORKS},
        "switch": {name: float(one[f"switch_{name}"].mean()) for name in _DECIDED},
        "schedules": {
            text: {pair: {name: number(name, pair=pair, schedule=text) for name in MEASURES} for pair in PAIRS}
            for text in SCHEDULES
        },
    }


@dataclass(frozen=True, slots=True)
class Scholar:
    """One network and what it learns from: points of a law that are drawn once.

    Attributes:
        law: Name of the law.
        training: How it is trained; its seed is that of everything.
        width: Units per layer.
        points: Points of each class.
    """

    law: str
    training: Training
    width: int
    points: int

    def trained(self, support: Support, folder: Path | None) -> Trainer:
        """The network after its training, kept in a folder."""
        seed = self.training.seed
        shape = Shape(dim=support.law.dim, classes=CLASSES, width=self.width)
        trainer = Trainer(Perceptron(shape, seed=rng.key(seed, "weights") % 2**63), self.training)
        supply, held_out = (
            Labelled(x=x / support.scale, labels=labels, classes=CLASSES)
            for x, labels in (
                support.sample(count, rng.stream(seed, name))
                for name, count in (("points", self.points), ("held out", 64))
            )
        )
        file = None if folder is None else folder / f"{content_hash(plain(self))}.safetensors"
        return finish(trainer, supply, held_out, file, of=self)

    def denoiser(self, support: Support, trainer: Trainer) -> Learned:
        """The trained network as a denoiser of the law."""
        return Learned(network=trainer.average, null=CLASSES, scale=support.scale)
