"""The contract of a denoiser, and the exact ones.

A denoiser maps a state in unscaled coordinates, a noise level and a label to the denoised mean. Truth and network are
interchangeable. The label is an integer, one per row, or None for the unconditional law.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.process import NoiseLevel
from orthoscope.registered import name_of
from orthoscope.targets import Target
from orthoscope.typing import Events, Rows

Label: TypeAlias = int | Tensor | None
_ROUNDED = 1 + 1e-5  # what may be lost where a width was kept in float32
Memory: TypeAlias = Any  # whatever a rule carries from step to step; None before the first


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Evaluation:
    """What one evaluation of a denoiser gives.

    Attributes:
        denoised: The denoised mean.
        memory: What a rule with memory wants to see at the next step.
        calls: Number of denoisers evaluated underneath.
        modes_read: Rows times modes read by exact mixtures.
    """

    denoised: Tensor
    memory: Memory = None
    calls: int = 1
    modes_read: int = 0


def check_asked(x: Any, level: Any, dim: int | None = None) -> None:
    """Reject what no denoiser can be asked about.

    Raises:
        ConfigError: if the state is no tensor, or the level no `NoiseLevel`.
        ShapeError: if there are other than `dim` columns.
    """
    if not isinstance(x, Tensor):
        raise ConfigError(f"`x` must be a torch tensor, one event per row, got {type(x).__name__}", field="x")
    if not isinstance(level, NoiseLevel):
        raise ConfigError(
            f"`level` must be a NoiseLevel, such as NoiseLevel(time=sigma**2), got {type(level).__name__}",
            field="level",
        )
    if dim is not None and x.shape[1:] != (dim,):
        raise ShapeError(f"`x` must have one event per row in {dim} columns, got shape {tuple(x.shape)}")


def check_denoiser(made: Any, name: str = "denoiser") -> None:
    """Reject what is no denoiser.

    Raises:
        ConfigError: if it cannot be evaluated.
    """
    if isinstance(made, type) or not hasattr(made, "evaluate"):
        raise ConfigError(
            f"`{name}` must be a denoiser, such as ExactDenoiser(target) or osc.denoiser(network), got "
            f"{name_of(made) if isinstance(made, type) else type(made).__name__}",
            field=name,
        )


class Denoiser(ABC):
    """Anything that estimates the clean state from a noisy one."""

    @abstractmethod
    def evaluate(self, x: Events, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        """The denoised mean, with what it cost and what it wants remembered."""

    def __call__(self, x: Events, level: NoiseLevel, label: Label = None) -> Events:
        """The denoised mean."""
        return self.evaluate(x, level, label).denoised


def _size(law: Any) -> int:
    """Modes read by one evaluation of one row; one where a law does not tell."""
    return getattr(law, "size", 1)


@dataclass(frozen=True, eq=False)
class ExactDenoiser(Denoiser):
    """The exact denoiser of a target, conditional on the label or unconditional.

    Attributes:
        target: The law, or any object with what a `Target` has.
        taken: Variance that its width lacks because it is counted as noise, where it does not tell itself.
    """

    target: Target
    taken: float | None = field(default=None, kw_only=True)
    _classes: dict[int, Target] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Reject what is no target."""
        if isinstance(self.target, type) or not hasattr(self.target, "denoised"):
            raise ConfigError(
                "`target` must be a law with an exact score, such as mixture(x, labels=y), got "
                f"{type(self.target).__name__}",
                field="target",
            )

    def law(self, label: int | None) -> Target:
        """The law that a label selects; classes are cut out of the target once."""
        if label is None:
            return self.target
        if label not in self._classes:
            self._classes[label] = self.target.conditional(label)
        return self._classes[label]

    def check(self, level: NoiseLevel) -> None:
        """Refuse to count width as noise that the target still has: it would be there twice.

        Raises:
            ConfigError: if the offset is more than what was taken from the target, and there is width left.
        """
        taken = getattr(self.target, "taken", None) if self.taken is None else self.taken
        if not level.offset or taken is None or level.offset <= taken * _ROUNDED:
            return
        if (width := self.target.width) > (_ROUNDED - 1) * level.offset:
            raise ConfigError(
                f"the process counts {level.offset:g} as noise, which the target, of width {width:g}, still has: "
                "use `narrow, offset = target.absorbed()`, or a process without offset; of a target that was narrowed "
                "otherwise say `taken`",
                field="target",
            )

    def evaluate(self, x: Rows, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        """The exact denoised mean; rows with different labels are read class by class.

        Raises:
            ConfigError: if the level counts width as noise that the target still has, or is none.
            ShapeError: if the state has other columns than the target.
        """
        check_asked(x, level, getattr(self.target, "dim", None))
        self.check(level)
        if not isinstance(label, Tensor):
            law = self.law(label)
            return Evaluation(denoised=law.denoised(x, level), memory=memory, modes_read=x.shape[0] * _size(law))
        denoised, read = torch.empty_like(x), 0
        for one in torch.unique(label).tolist():
            rows = label == one
            law = self.law(one)
            denoised[rows] = law.denoised(x[rows], level.of_rows(rows.numpy(force=True)))
            read += int(rows.sum()) * _size(law)
        return Evaluation(denoised=denoised, memory=memory, modes_read=read)


@dataclass(frozen=True, eq=False)
class FixedLabel(Denoiser):
    """A denoiser held at one label whatever it is asked for: None makes the unconditional reference."""

    denoiser: Denoiser
    label: Label = None

    def __post_init__(self) -> None:
        """Reject what is no denoiser."""
        check_denoiser(self.denoiser)

    def evaluate(self, x: Events, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        """The denoised mean at the fixed label."""
        return self.denoiser.evaluate(x, level, self.label, memory)
