"""Methods and the values of their knobs: schedules known before the run, and rules that look at what they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from orthoscope.control import shipped
from orthoscope.guidance.rules import Policy, Rule, parse_rule

OPEN = ("constant", "step", "linear", "design", "blind")  # whose strengths are known before the run
FLOORS = (0.65, 0.8, 0.95)  # of the variance ratio, that designs keep
PREFERENCES = (0.02, 0.1, 0.3, 0.7)
SEES = {
    "blind": ("progress", "preference"),
    "sees ratio": ("progress", "slope", "ratio", "preference"),
    "sees odds": ("progress", "log_odds", "preference"),
}
GOALS = ("truth", "effect")  # that policies are trained for
_TRAINED_FOR = {"mean_shift": "effect", "class_posterior": "truth", "frechet": "truth"}


@dataclass(frozen=True, slots=True)
class Plan:
    """One value of a method's knob.

    Attributes:
        method: The method, and what it was trained for.
        knob: The value, as text.
        schedule: Strength, or the most of it, as text; None where nobody knows one.
        rule: How it is combined.
    """

    method: str
    knob: str
    schedule: str | None
    rule: Rule


def _schedules() -> list[Plan]:
    cfg, plans = parse_rule("cfg"), []
    ends = ((5, 0), (5, -1), (2, 0), (2, -1), (0, 5), (0, 2))
    for w in (0.5, 1, 2, 3.5, 5):
        plans.append(Plan("constant", f"{w:g}", f"constant:{w:g}", cfg))
    for (early, late), at in product(ends, (40, 60, 75)):
        plans.append(Plan("step", f"{early}, {late} at {at}%", f"step:early={early},late={late},switch={at}%", cfg))
    for first, last in ends:
        plans.append(Plan("linear", f"{first} to {last}", f"linear:w0={first},slope={last - first},clock=step", cfg))
    return plans


def _feedback() -> list[Plan]:
    named = {
        "set-point": [f"set-point:ratio={ratio}" for ratio in (0.6, 0.7, 0.8, 0.9, 0.95, 1.0)],
        "hold-posterior": [f"hold-posterior:odds={odds},gain={g}" for odds, g in product((2, 6), (0.3, 1))],
        "pmc": [f"pmc:limit={limit}" for limit in (1.02, 1.05, 1.15)],
    }  # fmt: skip
    plans = [
        Plan(name, text.partition(":")[2], "constant:5", parse_rule(text))
        for name, many in named.items()
        for text in many
    ]
    for prior, w in ((0.95, 9), (0.95, 3), (0.75, 3), (0.75, 9)):
        plans.append(Plan("fbg", f"{prior} to {w}", f"constant:{w}", parse_rule(f"fbg:prior={prior}")))
    return plans


def plans_of(designs: Sequence[str | None], trained: Mapping[tuple[str, str], Any]) -> list[Plan]:
    """All values of all knobs; no guidance is the first.

    Args:
        designs: Schedules by floor, as text; None where nobody can design one.
        trained: Layers of policies trained by gradients, by goal and by what they see.
    """
    cfg = parse_rule("cfg")
    plans = [Plan("none", "0", "constant:0", cfg), *_schedules()]
    plans += [Plan("design", f"{floor}", text, cfg) for floor, text in zip(FLOORS, designs, strict=True)]
    policies = {"learned": shipped()}
    for (goal, sees), layers in trained.items():
        policies[f"{sees}, {goal}"] = Policy(observes=SEES[sees], layers=layers)
    for name, policy in policies.items():
        plans += [Plan(name, f"{p:g}", "constant:5", replace(policy, preference=p)) for p in PREFERENCES]
    return [*plans[:1], *_feedback(), *plans[1:]]


def thinned(plans: Sequence[Plan]) -> list[Plan]:
    """Every second value of each knob only, of the others no schedule: for what takes long to run."""
    seen: dict[str, int] = {}
    kept = []
    for plan in plans:
        number = seen[plan.method] = seen.get(plan.method, -1) + 1
        kept.append(plan if number % 2 == 0 else replace(plan, schedule=None))
    return kept


def noiseless(rule: Rule) -> Rule:
    """The rule as a sampler without noise needs it."""
    return replace(rule, lam=0.0) if hasattr(rule, "lam") else rule  # type: ignore[type-var]


def methods_for(names: Sequence[str], aim: str) -> dict[str, list[int]]:
    """Places of the plans of every method that is asked for an aim, from the methods of all plans.

    All that is known before the run stands together, too, and all that looks; unguided samples belong to all.
    """
    goal = _TRAINED_FOR[aim]
    groups: dict[str, list[int]] = {}
    for k, name in enumerate(names):
        method, _, trained_for = name.partition(", ")
        if trained_for in ("", goal) and method != "none":
            groups.setdefault(method, [0]).append(k)
    together: dict[str, set[int]] = {"open loop": {0}, "feedback": {0}}
    for method, places in groups.items():
        together["open loop" if method in OPEN else "feedback"] |= set(places)
    return {**{name: sorted(places) for name, places in together.items()}, **groups}
