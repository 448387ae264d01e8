"""Claims about feedback: guidance that looks at the state against guidance that does not."""

from __future__ import annotations

import numpy as np

from orthoscope import metrics, rng
from orthoscope.control import Case, Family
from orthoscope.experiments.claims.claim import Claim, Effort, Finding, at_least, at_most, claim, found
from orthoscope.guidance.rules import Rule, parse_rule

_CONSTANTS = (0.25, 0.5, 1.0, 2.0, 4.0)
_IGNORANT = Family(dims=(16,), classes=(128,), stds=(0.5,), modes=(1,), learned=(0.0,))


def _outcome(case: Case, rule: Rule, most: float, seed: int) -> tuple[float, float]:
    """Mean shift and variance ratio of one batch."""
    worth = case.worth(case.run(rule, most=most, samples=64, steps=20, seed=seed).run().x)
    return float(worth["mean_shift"]), float(worth["variance_ratio"])


@claim(
    "feedback",
    "Guidance that is set by the state keeps more diversity than constant guidance of equal effect.",
    source="koulischer2025feedback",
    setting="128 classes, d = 16, s = 0.5, exact classes, one Gaussian as unconditional branch: variance ratio above "
    "that of the constant strength of equal mean shift, on common noise",
    verdict="depends",
)
def feedback(effort: Effort) -> Finding:
    """A set-point on the variance does, feedback on the posterior of the class does not."""
    rules = {"set-point": ("set-point:ratio=0.8", 5.0), "fbg": ("fbg:prior=0.95", 3.0)}
    gains: dict[str, list[float]] = {name: [] for name in rules}
    for index in range(effort.pick(10, 48)):
        case = _IGNORANT.draw(rng.stream(effort.seed, "feedback", index))
        seed = rng.key(effort.seed, "feedback noise", index) % 2**32
        line = sorted(_outcome(case, parse_rule("cfg"), w, seed) for w in _CONSTANTS)
        shifts, ratios = np.array(line).T
        for name, (text, most) in rules.items():
            shift, ratio = _outcome(case, parse_rule(text), most, seed)
            gains[name].append(ratio - float(np.interp(shift, shifts, ratios)))
    held, published = (metrics.mean_of(gains[name]) for name in rules)
    return found(
        at_least("of a set-point on the variance ratio, at 0.8", held, 0.0),
        at_most("of feedback guidance, at its published trust", published, 0.0),
    )


ROWS: tuple[Claim, ...] = (feedback,)
