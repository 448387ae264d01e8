"""Rules of one's own: any function of the predictions, and the decorator that gives it a name.

@osc.rule("halved", space="noise")
def halved(x, level, predictions, w):
return predictions["cond"] + w / 2 * (predictions["cond"] - predictions["uncond"])
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from orthoscope import registered
from orthoscope.calls import verb
from orthoscope.denoise import Memory
from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.own import called, found_again, spelled_out
from orthoscope.guidance.rules.base import Predictions, Rule
from orthoscope.guidance.rules.checked import asked
from orthoscope.guidance.rules.promise import check_linear
from orthoscope.guidance.texts import joined
from orthoscope.prediction import RULE_SPACES, Space, per_row
from orthoscope.process import NoiseLevel, Scalar
from orthoscope.serialize import VERSION
from orthoscope.sources import code_of
from orthoscope.typing import Events

_PAIR = ("cond", "uncond")


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRule(Rule):
    """The prediction that a function makes of others.

    Attributes:
        call: The function, or an object that is called like one, with the state, its `NoiseLevel`, the predictions by
            name, and the strength: a number, or a column that multiplies rows. With a fifth parameter `memory`, None
            at first, it returns the prediction and what it wants to see at the next step.
        space: Prediction space in which predictions come and go.
        is_linear: Whether it is linear in the predictions, as its author says; tried once, when it is used first.
        needs: Names of the predictions.
    """

    call: Callable[..., Any] = field(hash=False)
    space: Space = "denoised"
    is_linear: bool = False  # type: ignore[misc]
    needs: tuple[str, ...] = _PAIR  # type: ignore[misc]
    _remembers: bool = field(init=False, repr=False, compare=False)
    _tried: bool = field(init=False, repr=False, compare=False, default=False)  # whether it is linear
    OPTIONS: ClassVar[Mapping[str, str]] = {"space": "Space", "linear": "bool", "needs": "tuple[str, ...]"}

    def __post_init__(self) -> None:
        """Reject spaces that do not exist; look whether the function wants a memory."""
        if self.space not in RULE_SPACES:
            raise unknown("prediction space", str(self.space), RULE_SPACES)
        object.__setattr__(self, "needs", tuple(self.needs))
        object.__setattr__(self, "_remembers", _has_memory(self.call))

    @property
    def name(self) -> str:  # type: ignore[override]
        """What messages call it."""
        return registered.name_of(self.call)

    def __call__(
        self, x: Events, level: NoiseLevel, predictions: Predictions, w: Scalar, memory: Memory
    ) -> tuple[Events, Memory]:
        """What the function returns, once it was seen to be a prediction.

        Raises:
            ConfigError: if the function fails, returns something else, or is not linear where it was said to be.
        """
        if self.is_linear and not self._tried and len(x):
            check_linear(
                self.name,
                lambda parts, kept: self._asked(x, level, parts, w, kept),
                predictions,
                float(np.abs(w).max()),
            )
            object.__setattr__(self, "_tried", True)
        return self._asked(x, level, predictions, w, memory)

    def _asked(
        self, x: Events, level: NoiseLevel, predictions: Predictions, w: Scalar, memory: Memory
    ) -> tuple[Events, Memory]:
        # Copies: a function that changes them in place changes nothing of the run.
        parts = {name: part.clone() for name, part in predictions.items()}
        given = (x.clone(), level.copied(), parts, per_row(w, x), *([memory] if self._remembers else []))
        return asked(self.name, lambda: self.call(*given), predictions, level, remembers=self._remembers)

    def to_spec(self) -> dict[str, Any]:
        """What stands in a file: where the function is found again, with its settings."""
        place, settings = spelled_out(self.call, registered.RULES)
        named: dict[str, Any] = {"type": "FunctionRule", "version": VERSION, "place": place}
        if settings:
            named["settings"] = settings
        return named | {"space": self.space, "linear": self.is_linear, "needs": self.needs}

    def identity(self) -> str | None:
        """A fingerprint of the code of the function."""
        return code_of(self.call)

    @classmethod
    def from_spec(
        cls,
        place: str,
        settings: Mapping[str, Any] | None = None,
        space: Space = "denoised",
        linear: bool = False,
        needs: Sequence[str] = _PAIR,
    ) -> Rule:
        """The rule of a file; its module must be imported already."""
        call = found_again(place, settings or {}, registered.RULES)
        return cls(call=call, space=space, is_linear=linear, needs=tuple(needs))

    def text(self) -> str:
        """The text that is read back as this rule; what goes without saying is left out.

        Raises:
            ConfigError: if there is none.
        """
        place, settings = spelled_out(self.call, registered.RULES)
        usual = own_rule(self.call)
        named = {"space": "space", "linear": "is_linear", "needs": "needs"}
        said = {key: getattr(self, name) for key, name in named.items() if getattr(self, name) != getattr(usual, name)}
        return ":".join(filter(None, (place, joined(settings | said))))


def _check_takes_predictions(thing: Any) -> None:
    """Reject what cannot be called like a rule."""
    if not (isinstance(thing, type) and issubclass(thing, Rule)):
        _has_memory(called(thing, "rule"), registered.name_of(thing))


def _has_memory(call: Callable[..., Any], name: str = "") -> bool:
    """Whether a function takes a memory: a parameter of that name, or a fifth that must be given.

    Raises:
        ConfigError: if it cannot take the four arguments of a rule.
    """
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):
        return False
    remembers = "memory" in signature.parameters
    for count in (5,) if remembers else (4, 5):
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        return count == 5
    raise ConfigError(
        "a rule is called with (x, level, predictions, w), or these and memory; "
        f"{name or registered.name_of(call)} takes {signature}",
        field="rule",
    )


def own_rule(thing: Any, **options: Any) -> Rule:
    """A function, a class or an object as a rule, with what it was registered with; options say otherwise.

    An object may have `space`, `is_linear` and `needs` itself.

    Args:
        thing: What it is.
        options: `space`, `linear` and `needs`.

    Raises:
        ConfigError: if it cannot be called like a rule.
    """
    made = registered.put_together(thing, {}, "rule")
    if isinstance(made, Rule):
        return made
    if not callable(made):
        raise ConfigError(
            f"a `rule` is called with predictions; an object of {type(made).__name__} cannot be called", field="rule"
        )
    known = registered.RULES.options(thing) or registered.RULES.options(type(made))
    own = {"space": "space", "linear": "is_linear", "needs": "needs"}
    told = {key: getattr(made, name) for key, name in own.items() if hasattr(made, name)}
    chosen = {**told, **known, **options}
    linear = {"is_linear": chosen.pop("linear")} if "linear" in chosen else {}
    code_of(made)  # read now, not when its file may have been edited
    return FunctionRule(call=made, **linear, **chosen)


@verb
def rule(
    name: Any = None,
    *,
    space: Space | None = None,
    linear: bool | None = None,
    needs: Sequence[str] | None = None,
) -> Any:
    """Register a function of the predictions, or a class of such, as a rule that texts may name.

    Args:
        name: Its name in texts; that of the function, with dashes, if left out.
        space: Prediction space in which it acts; that of denoised means if nothing is said.
        linear: Whether it is linear in the predictions; it is taken to bend if nothing is said.
        needs: Names of the predictions; the conditional and the unconditional one if nothing is said.

    Raises:
        ConfigError: if there is no such space, or what is registered cannot be called like a rule.
    """
    if space is not None and space not in RULE_SPACES:
        raise unknown("prediction space", str(space), RULE_SPACES, field="space")
    if linear is not None and not isinstance(linear, bool):
        raise ConfigError(f"`linear` must be True or False, got {linear!r:.40}", field="linear")
    if needs is not None and (isinstance(needs, str) or not all(isinstance(one, str) for one in needs)):
        raise ConfigError(f"`needs` is a list of names of predictions, got {needs!r:.60}", field="needs")
    options = {"space": space, "linear": linear, "needs": None if needs is None else tuple(needs)}
    return registered.naming(
        name,
        registered.RULES,
        _check_takes_predictions,
        **{key: value for key, value in options.items() if value is not None},
    )
