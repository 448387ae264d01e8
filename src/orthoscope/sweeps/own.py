"""Rules and schedules of one's own in a sweep: results of a code that was edited since are not those of the plan."""

from __future__ import annotations

from collections.abc import Mapping

from orthoscope import registered
from orthoscope.sources import code_of
from orthoscope.sweeps.plan import Plan

_REGISTRIES = {"rule": registered.RULES, "schedule": registered.SCHEDULES}


def own_code(plan: Plan) -> dict[str, str]:
    """Fingerprints of the code of one's own that a plan names, by the texts that name it."""
    texts = {
        text: registry
        for name, registry in _REGISTRIES.items()
        for text in plan.axes.get(name, (plan.fixed.get(name),))
        if isinstance(text, str)
    }
    found = {text: thing for text, registry in texts.items() if (thing := registry.find(text))}
    return {text: code for text, (thing, _) in found.items() if (code := code_of(thing))}


def edited(before: Mapping[str, str], plan: Plan) -> list[str]:
    """What the plan names and was another code before."""
    return [text for text, code in own_code(plan).items() if before.get(text, code) != code]
