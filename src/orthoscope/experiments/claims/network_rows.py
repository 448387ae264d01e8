"""Claims about learned scores, on a network that is trained for it: what guidance makes of it, beside the exact score.

The network learns 128 classes in 16 dimensions with a label dropout of 0.15. Its samples and the exact ones are made on
the same noise; errors are over classes.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from orthoscope import rng
from orthoscope.denoise import Blended, Denoiser, Evaluation, ExactDenoiser, Label, Memory, OwnMode
from orthoscope.experiments.claims.claim import Claim, Effort, Finding, at_least, at_most, claim, equal, found
from orthoscope.experiments.networks.examination import Examination, Examined
from orthoscope.experiments.networks.guided import Outcome, Track, gain
from orthoscope.experiments.networks.learner import TRAINING, Learner
from orthoscope.guidance.schedules import Constant
from orthoscope.metrics.estimators import jackknife
from orthoscope.process import NoiseLevel
from orthoscope.quantities import Estimate
from orthoscope.targets import random_mixture
from orthoscope.theory import error_kernel
from orthoscope.typing import Rows

FloatArray = NDArray[np.float64]

_CONSTANTS = ("constant:0", "constant:0.5", "constant:1", "constant:3")
_TURNING = "step:early=3,late=-1,switch=0.3"
_LATE, _EARLY, _STD = 0.02, 10.0, 0.5  # times of errors, and the width of the class that they move
_ONE, _LAST = 2, 4  # positions of strength 1 and of the turning schedule
_SETTING = "128 classes in d = 16, std 0.5; perceptron of 2 blocks of 64 units, reverse SDE from t = 50"


@lru_cache(maxsize=4)
def _network(effort: Effort, classes: int = 128) -> Examined:
    """One network for all rows, and one of fewer classes."""
    schedules = (*_CONSTANTS, _TURNING)
    asked = Examination(
        schedules=schedules,
        swapped=("constant:1",),
        classes=64,
        samples=effort.pick(640, 4096),
        rows=effort.pick(1024, 2048),
    )
    learner = Learner(classes=classes, training=TRAINING.but(steps=effort.pick(1000, 4000), seed=effort.seed))
    return Examined(learner, asked, learner.trained())


@lru_cache(maxsize=4)
def _outcomes(effort: Effort, classes: int = 128) -> dict[str, list[Outcome | None]]:
    return _network(effort, classes).outcomes()


def _run(effort: Effort, pair: str, schedule: int, classes: int = 128) -> Outcome:
    outcome = _outcomes(effort, classes)[pair][schedule]
    assert outcome is not None
    return outcome


def _gain(effort: Effort, pair: str, classes: int = 128) -> Estimate:
    """Of the turning schedule over the constant strength of equal mean shift."""
    constants = [_run(effort, pair, k, classes) for k in range(len(_CONSTANTS))]
    return gain(_run(effort, pair, _LAST, classes), constants)


@claim(
    "network-ignorance",
    "An unconditional branch that does not know its classes behaves as one Gaussian.",
    source="ventura2026emergence",
    setting=f"{_SETTING}, w = 1",
)
def network_ignorance(effort: Effort) -> Finding:
    """What it knows, and what it does beside the exact conditional branch; what it knows is allowed for linearly."""
    marks = _network(effort).marks
    learned = marks.learned()[1]
    exact, gaussian, uncond = (_run(effort, pair, _ONE) for pair in ("exact", "gaussian", "uncond"))
    apart = uncond.estimates(gaussian)["variance_ratio"]
    lost = exact.estimates(gaussian)["variance_ratio"].value
    return found(
        at_most("learned fraction of the unconditional branch", learned, 0.3),
        equal(
            "variance ratio beside the exact conditional branch, less that with one Gaussian", apart, 0.0,
            allowance=(abs(learned.value) + 0.05) * lost,
            because="the learned fraction and 0.05 of what a Gaussian costs",
        ),
        at_most("the variance ratio itself", uncond.estimates()["variance_ratio"], 0.6),
        note=f"excess of the conditional branch {marks.excess('cond')[1]}, of the other {marks.excess('uncond')[1]}",
    )  # fmt: skip


@claim(
    "imperfect-scores",
    "Imperfect scores add to the distortion by guidance.",
    source="ventura2026emergence",
    setting=f"{_SETTING}, w = 1; branches exchanged one by one with exact ones",
)
def imperfect_scores(effort: Effort) -> Finding:
    """Variance that the network loses beyond the exact score, and by which branch."""
    exact = _run(effort, "exact", _ONE)
    more = {pair: _run(effort, pair, _ONE).estimates(exact) for pair in ("network", "uncond", "cond")}
    return found(
        at_most("variance ratio added by the network", more["network"]["variance_ratio"], -0.25),
        at_most("by its unconditional branch alone", more["uncond"]["variance_ratio"], -0.25),
        at_least("by its conditional branch alone", more["cond"]["variance_ratio"], -0.05),
        at_least("mean shift added by the network", more["network"]["mean_shift"], 0.02),
    )


@claim(
    "learned-window",
    "A window of negative strength gives back the variance that guidance takes, with learned scores.",
    source="ventura2026emergence",
    setting=f"{_SETTING}; strength 3, from t = 0.3 on -1, against the constant of equal mean shift",
    verdict="depends",
)
def learned_window(effort: Effort) -> Finding:
    """The gain of the window where the branch is ignorant, and where it is exact; samples far off beside it."""
    gains = {pair: _gain(effort, pair) for pair in ("network", "exact")}
    network = _run(effort, "network", _LAST).estimates()
    return found(
        at_least("variance ratio gained, network", gains["network"], 0.5),
        at_most("variance ratio gained, exact score", gains["exact"], 0.1),
        at_least("variance ratio of the network under the window", network["variance_ratio"], 0.95),
        note=f"far from every mode {network['far']}; networks that know their classes gain nothing (study learned)",
    )


@claim(
    "many-classes",
    "More classes make windows of negative strength useful.",
    source="ventura2026emergence",
    setting=f"8 and {_SETTING}; strength 3, from t = 0.3 on -1, against the constant of equal mean shift",
    verdict="depends",
)
def many_classes(effort: Effort) -> Finding:
    """What the window gains with 128 classes beyond what it gains with 8: by the network, and by the law."""
    network, law = ([_gain(effort, pair, classes) for classes in (128, 8)] for pair in ("network", "exact"))
    known = _network(effort, 8).marks.learned()[1]
    return found(
        at_least("variance ratio gained with 128 classes less that with 8, network", network[0].minus(network[1]), 0.3),
        equal(
            "the same, exact score", law[0].minus(law[1]), 0.0, allowance=0.05, because="what little a window does"
        ),
        note=f"the network of 8 classes knows {known} of them; with characters as classes see study glyphs",
    )  # fmt: skip


@claim(
    "late-errors",
    "Score errors at the end of the path hurt the probability-flow ODE less than the reverse SDE, early ones more.",
    source="cao2023exploring",
    setting="unguided, d = 4, std 0.5; denoised means off along the centroid by 0.1 exp(-log(t/t0)^2), mean shift",
)
def late_errors(effort: Effort) -> Finding:
    """What an error at one level does, by the kernel of theory and by samples on the same noise."""
    moved = {(when, lam): _moved(when, lam, effort.pick(80, 240)) for when, lam in product((_LATE, _EARLY), (1.0, 0.0))}
    compared = [
        equal(
            f"mean shift by an error at t = {when:g}, {'SDE' if lam else 'ODE'}", shift, _told(when, lam),
            allowance=0.02 * shift, because="steps",
        )
        for (when, lam), shift in moved.items()
    ]  # fmt: skip
    late, early = (moved[when, 0.0] / moved[when, 1.0] for when in (_LATE, _EARLY))
    return found(
        at_most(f"ODE over SDE, errors at t = {_LATE:g}", late, 0.6),
        at_least(f"ODE over SDE, errors at t = {_EARLY:g}", early, 1.5),
        *compared,
    )


def _off(time: float, when: float) -> float:
    return 0.1 * math.exp(-(math.log(time / when) ** 2))


def _moved(when: float, lam: float, steps: int) -> float:
    law = random_mixture(4, std=_STD, stream=rng.stream(0, "late errors"), classes=2, dtype=torch.float64)
    exact = OwnMode(law)

    class Off(Denoiser):
        def evaluate(self, x: Rows, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
            right = exact.evaluate(x, level, label, memory)
            return replace(right, denoised=right.denoised + _off(float(level.time), when) * law.centroids[label])

    labels = torch.arange(2).repeat_interleave(8)
    plain = Constant(value=0.0)
    track = Track(law=law, labels=labels, schedules=[plain], steps=steps, t_max=50.0, lam=lam)
    before, after = (track.run((one, exact), plain) for one in (exact, Off()))
    return float((after.moved - before.moved).sum() / before.size.sum())


def _told(when: float, lam: float) -> float:
    nodes = np.linspace(math.log(when) - 8, math.log(when) + 8, 4001)
    weights = error_kernel(np.exp(nodes), _STD, 0.0, lam) * [_off(time, when) for time in np.exp(nodes)]
    return float(np.trapezoid(weights, nodes))


@claim(
    "accumulated-mismatch",
    "The bias of samples is proportional to the accumulated mismatch of the score.",
    source="liang2024theory",
    setting=f"{_SETTING}, w = 1; a share of the errors of the network, mean shift",
    verdict="depends",
)
def accumulated_mismatch(effort: Effort) -> Finding:
    """A tenth of the errors against their linear response, and all of them against ten times a tenth."""
    network = _network(effort)
    plan = Constant(value=1.0)
    track = replace(network.track(effort.pick(1280, 4096)), schedules=[plan])
    exact = OwnMode(track.law)
    tenth = Blended(network.network, exact, 0.1)
    runs = [track.run((one, one), plan) for one in (exact, tenth, network.network)]
    columns = np.stack([runs[1].moved - runs[0].moved, runs[2].moved - runs[0].moved], axis=1)
    gaussian = ExactDenoiser(track.law.gaussian())
    response = track.respond((exact, exact), (tenth, tenth), gaussian, plan)
    linear = response.mean_shift("exact", track.law.centroids[torch.unique(track.labels)])
    small = runs[1].estimates(runs[0])["mean_shift"]
    return found(
        equal(
            "mean shift by a tenth of the errors", small, linear.value, allowance=0.15 * linear.value,
            because="second order of a tenth",
        ),
        at_most(
            "mean shift by all of them over ten times that", jackknife(_tenfold, columns), 0.8
        ),
    )  # fmt: skip


def _tenfold(columns: FloatArray) -> float:
    return float(columns[:, 1].sum() / (10 * columns[:, 0].sum()))


ROWS: tuple[Claim, ...] = (
    network_ignorance, imperfect_scores, learned_window, many_classes, late_errors, accumulated_mismatch,
)  # fmt: skip
