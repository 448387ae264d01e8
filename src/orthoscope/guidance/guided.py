"""The guided denoiser: a denoiser made of denoisers, so that no sampler knows about guidance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from orthoscope.denoise import Denoiser, Evaluation, FixedLabel, Label, Memory
from orthoscope.denoise.base import check_asked, check_denoiser
from orthoscope.errors import ConfigError
from orthoscope.guidance.by_row import Strength
from orthoscope.guidance.given import as_schedule
from orthoscope.guidance.rules import FunctionRule, LinearCFG, Rule, apply
from orthoscope.guidance.rules.given import as_rule
from orthoscope.process import NoiseLevel
from orthoscope.typing import Events


@dataclass(frozen=True, eq=False, slots=True)
class GuidedMemory:
    """What a guided denoiser carries from step to step: its rule's memory, and those of the denoisers underneath."""

    rule: Memory = None
    parts: Mapping[str, Memory] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Guided(Denoiser):
    """Classifier-free guidance, autoguidance and negative prompts are one class with different references.

    Attributes:
        main: The denoiser that is asked with the label (`cond`).
        reference: The denoiser that is guided away from (`uncond`).
        schedule: Strength over noise level; also what `as_schedule` takes: a number, a text, a function.
        rule: How the two are combined; also what `as_rule` takes: a text, a function.
        extra: Further denoisers by name, for rules that need more than two predictions.
    """

    main: Denoiser
    reference: Denoiser
    schedule: Strength | Any
    rule: Rule | Any = field(default_factory=LinearCFG)
    extra: Mapping[str, Denoiser] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reject what is no denoiser, and a rule whose predictions nobody makes."""
        for name, made in {"main": self.main, "reference": self.reference, **self.extra}.items():
            check_denoiser(made, name)
        object.__setattr__(self, "rule", as_rule(self.rule))
        if not isinstance(self.schedule, Strength):
            object.__setattr__(self, "schedule", as_schedule(self.schedule))
        missing = set(self.rule.needs) - {"cond", "uncond", *self.extra}
        if missing:
            raise ConfigError(f"{self._rule_name} needs {', '.join(sorted(missing))}; pass it in `extra`")

    @property
    def _rule_name(self) -> str:
        return self.rule.name if isinstance(self.rule, FunctionRule) else type(self.rule).__name__

    def evaluate(self, x: Events, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        """The guided denoised mean; predictions that the strength makes irrelevant are not computed.

        Raises:
            ConfigError: if the strength is infinite, or a rule that is not linear meets an absorbed target.
        """
        check_asked(x, level)
        if level.offset > 0 and not self.rule.is_linear:
            raise ConfigError(
                f"{self._rule_name} is not linear: it needs the target's own denoised mean, not that of its "
                "absorbed form; use a process without offset"
            )
        w = self.schedule.strength(level)
        if not np.isfinite(w).all():
            schedule = f"{type(self.schedule).__name__} with clock={self.schedule.clock}"
            raise ConfigError(
                f"{schedule} has no finite strength at clean data; use a table, which is constant beyond its points, "
                "or steps of first order, which end before it"
            )
        denoisers = {"cond": self.main, "uncond": self.reference, **self.extra}
        kept = memory or GuidedMemory()
        parts = {name: denoisers[name].evaluate(x, level, label, kept.parts.get(name)) for name in self.rule.needed(w)}
        means = {name: part.denoised for name, part in parts.items()}
        guided, rule_memory = apply(self.rule, x, level, means, w, kept.rule, "denoised")
        return Evaluation(
            denoised=guided,
            memory=GuidedMemory(rule_memory, {**kept.parts, **{name: part.memory for name, part in parts.items()}}),
            calls=sum(part.calls for part in parts.values()),
            modes_read=sum(part.modes_read for part in parts.values()),
        )


def classifier_free(denoiser: Denoiser, schedule: Any, rule: Any = None) -> Guided:
    """Classifier-free guidance of one denoiser: its conditional prediction against its own unconditional one.

    Args:
        denoiser: What is guided.
        schedule: Strength over noise level: a schedule, a number, a text, or a function of the level.
        rule: How the two are combined: a rule, a text, or a function of the predictions; linear if None.
    """
    check_denoiser(denoiser)
    return Guided(main=denoiser, reference=FixedLabel(denoiser), schedule=schedule, rule=as_rule(rule))
