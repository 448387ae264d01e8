"""Laws that are steered: with exact scores, with half of them, and as small networks learned them."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from orthoscope import rng
from orthoscope.control import Case, Family
from orthoscope.designs.optimization import Goal, MixtureLaw, SpectrumLaw, design
from orthoscope.experiments.control.truth import FloatArray, Subject, Truth
from orthoscope.experiments.networks.learner import TRAINING, Learner
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.rules import Rule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.metrics.away import Away, squared_distance
from orthoscope.metrics.modes import far_from_modes
from orthoscope.simulation.classes import moments_of

FAMILIES = {
    "committed": Family(dims=(16,), classes=(32,), stds=(0.5,), modes=(1,), learned=(1.0,)),
    "dense": Family(dims=(4,), classes=(128,), stds=(0.5,), modes=(1,), learned=(1.0,)),
    "many modes": Family(dims=(8,), classes=(16,), stds=(0.5,), modes=(8,), learned=(1.0,)),
    "half learned": Family(dims=(16,), classes=(128,), stds=(0.5,), modes=(1,), learned=(0.5,)),
    "one Gaussian": Family(dims=(16,), classes=(128,), stds=(0.5,), modes=(1,), learned=(0.0,)),
}
WIDTHS = {"network 64": 64, "network 128": 128}
DESIGNED = {  # whose law `design` knows, by the family that it is
    "committed": "committed", "dense": "dense", "one Gaussian": "one Gaussian",
    "network 64": "committed", "network 128": "committed",
}  # fmt: skip
_BATCHES = 4
_FAR = 200.0  # variances of the data at which a run starts, as in `simulation.classes`


@lru_cache(maxsize=4)
def _network(width: int, seed: int) -> Any:
    """A network of this width, and the law that it learned."""
    learner = Learner(classes=32, width=width, training=TRAINING.but(seed=seed))
    return learner.law(), learner.denoiser(learner.trained())


def law_case(setting: str, index: int, seed: int) -> Case:
    """One case of a setting: a class of a law of its own, or one of the law that a network learned."""
    if setting in FAMILIES:
        return FAMILIES[setting].draw(rng.stream(seed, "control", setting, index))
    law, network = _network(WIDTHS[setting], seed)
    return Case(target=law, network=network, label=index)


def law_subject(case: Case, *, samples: int, steps: int, seed: int) -> Subject:
    """A case to be steered."""
    moments, law = moments_of(case.target, case.label), case.target.conditional(case.label)

    def rows(x: FloatArray) -> Any:
        return torch.from_numpy(x).to(case.target.dtype)

    def run(schedule: GuidanceSchedule, rule: Rule) -> FloatArray:
        with torch.no_grad():
            found = case.run(rule, most=schedule, samples=samples, steps=steps, seed=seed).run().x
        return np.asarray(found.double().numpy())

    def away(x: FloatArray) -> Away:
        squares = squared_distance(x, moments.mean, moments.covariance)
        return Away(squares=squares, far=far_from_modes(case.target, rows(x)).double().numpy())

    draws = [law.sample(samples, rng.stream(seed, "truth", k)).double().numpy() for k in range(_BATCHES)]
    truth = Truth(
        moments=moments, batches=np.stack(draws), away=away,
        posterior=lambda x: float(case.posterior(rows(x)).double().mean()),
    )  # fmt: skip
    return Subject(truth, run)


def designed(family: str, floor: float) -> str:
    """The schedule of the largest mean shift that keeps the variance ratio above a floor, as text."""
    one = FAMILIES[family]
    variance = one.stds[0] ** 2
    run: dict[str, Any] = {"t_max": _FAR * (1 + variance), "start": "exact"}
    if one.learned[0] == 0:
        law: MixtureLaw | SpectrumLaw = SpectrumLaw(
            cond_mean=[1.0], cond_var=[variance], uncond_mean=[0.0], uncond_var=[1 + variance], **run
        )
    else:
        dim = one.dims[0]
        law = MixtureLaw(rate=math.log(one.classes[0]) / dim, std=one.stds[0], dim=dim, **run)
    goal = Goal(objective="mean_shift", variance_ratio=floor, low=-1.0, high=5.0)
    return format_schedule(design(law, goal).schedule)
