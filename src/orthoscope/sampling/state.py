"""Where a run stands: what a step is given and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from orthoscope.denoise import Denoiser, Evaluation, Label, Memory
from orthoscope.process import NoiseLevel


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class State:
    """Where a run stands. It is never changed: a step returns another one.

    Attributes:
        x: The state in unscaled coordinates; the chart's own state is `level.alpha * x`.
        level: Its noise level, with the index of the step that starts here.
        label: Class asked for.
        memory: What the guidance rule carries to the next step.
        carried: What the step itself carries to the next one; None before the first.
        calls: Denoisers evaluated so far.
        modes_read: Rows times modes read so far.
    """

    x: Tensor
    level: NoiseLevel
    label: Label = None
    memory: Memory = None
    carried: Any = None
    calls: int = 0
    modes_read: int = 0

    def evaluate(self, denoiser: Denoiser) -> Evaluation:
        """What a denoiser says here, in the class asked for and with the rule's memory."""
        return denoiser.evaluate(self.x, self.level, self.label, self.memory)

    def moved(self, x: Tensor, level: NoiseLevel, *paid: Evaluation, carried: Any = None) -> State:
        """The state after a step.

        Args:
            x: Where it ended.
            level: Its level.
            paid: The evaluations that the step made. The first, at the step's start, commits the rule's memory, so
                that a rule sees every step once.
            carried: What the step wants carried to the next one.
        """
        return State(
            x=x,
            level=level,
            label=self.label,
            memory=paid[0].memory,
            carried=carried,
            calls=self.calls + sum(one.calls for one in paid),
            modes_read=self.modes_read + sum(one.modes_read for one in paid),
        )
