"""Claims about learned scores, on a network that is trained for it: what guidance makes of it, beside the exact score.

The network learns 128 classes in 16 dimensions with a label dropout of 0.15. Its samples and the exact ones are made on
the same noise; errors are over classes.
"""

from __future__ import annotations

from functools import lru_cache

from orthoscope.experiments.claims.claim import Claim, Effort, Finding, at_least, at_most, claim, equal, found
from orthoscope.experiments.networks.branches import Marks
from orthoscope.experiments.networks.examination import Examination, Examined
from orthoscope.experiments.networks.guided import Outcome, gain
from orthoscope.experiments.networks.learner import TRAINING, Learner

_CONSTANTS = ("constant:0", "constant:0.5", "constant:1", "constant:3")
_TURNING = "step:early=3,late=-1,switch=0.3"
_ONE, _LAST = 2, 4  # positions of strength 1 and of the turning schedule
_SETTING = "128 classes in d = 16, std 0.5; perceptron of 2 blocks of 64 units, reverse SDE from t = 50"


@lru_cache(maxsize=2)
def _examined(effort: Effort) -> tuple[Marks, dict[str, list[Outcome | None]]]:
    """One network for all rows."""
    schedules = (*_CONSTANTS, _TURNING)
    asked = Examination(
        schedules=schedules, swapped=("constant:1",), classes=64, samples=effort.pick(1280, 4096), rows=2048
    )
    learner = Learner(training=TRAINING.but(steps=effort.pick(1000, 4000), seed=effort.seed))
    network = Examined(learner, asked, learner.trained())
    return network.marks, network.outcomes()


def _run(effort: Effort, pair: str, schedule: int) -> Outcome:
    outcome = _examined(effort)[1][pair][schedule]
    assert outcome is not None
    return outcome


@claim(
    "network-ignorance",
    "An unconditional branch that does not know its classes behaves as one Gaussian.",
    source="ventura2026emergence",
    setting=f"{_SETTING}, w = 1",
)
def network_ignorance(effort: Effort) -> Finding:
    """What it knows, and its variance ratio beside that of a Gaussian; what it knows is allowed for linearly."""
    marks, _ = _examined(effort)
    learned = marks.learned()[1]
    pairs = {pair: _run(effort, pair, _ONE) for pair in ("exact", "network", "gaussian", "uncond")}
    apart = pairs["network"].estimates(pairs["gaussian"])["variance_ratio"]
    most = pairs["exact"].estimates(pairs["gaussian"])["variance_ratio"].value
    return found(
        at_most("learned fraction of the unconditional branch", learned, 0.3),
        equal(
            "variance ratio less that with one Gaussian", apart, 0.0,
            allowance=max(0.0, learned.value) * most + 0.02, because="the learned fraction, and errors at strength 0",
        ),
        at_most(
            "variance ratio with the exact conditional branch and this unconditional one",
            pairs["uncond"].estimates()["variance_ratio"], 0.6,
        ),
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
    gains = {
        pair: gain(_run(effort, pair, _LAST), [_run(effort, pair, k) for k in range(len(_CONSTANTS))])
        for pair in ("network", "exact")
    }
    network = _run(effort, "network", _LAST).estimates()
    return found(
        at_least("variance ratio gained, network", gains["network"], 0.5),
        at_most("variance ratio gained, exact score", gains["exact"], 0.1),
        at_least("variance ratio of the network under the window", network["variance_ratio"], 0.95),
        note=f"far from every mode {network['far']}; networks that know their classes lose by it (study learned)",
    )


ROWS: tuple[Claim, ...] = (network_ignorance, imperfect_scores, learned_window)
