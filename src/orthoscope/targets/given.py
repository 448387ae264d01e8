"""Where a target is meant, an object, what makes one, or the name or place of either as text will do."""

from __future__ import annotations

import inspect
from typing import Any

from orthoscope import registered
from orthoscope.calls import verb
from orthoscope.errors import ConfigError, OrthoscopeError, in_one_line
from orthoscope.targets.base import Target
from orthoscope.targets.bundled import BUNDLED
from orthoscope.targets.datafiles import FILES

_CONTRACT = ("denoised", "conditional", "sample", "transport", "narrowed", "absorbed", "width", "dim", "dtype")

registered.TARGETS.taken = frozenset(BUNDLED)


def names_target(text: Any) -> bool:
    """Whether a text is the name or place of a target of one's own, not a data set."""
    return isinstance(text, str) and not text.endswith(FILES) and (text in registered.TARGETS or ":" in text)


def as_target(given: Any) -> Target:
    """The target that is meant: one that is made, a class or function without arguments that makes it, or a text.

    Raises:
        ConfigError: if it is none of these, or cannot be made.
    """
    found = registered.TARGETS.thing(given) if isinstance(given, str) else given
    if inspect.isroutine(found) or (isinstance(found, type) and registered.is_own(found)):
        found = _made(found)
    if isinstance(found, type) or not all(hasattr(found, name) for name in _CONTRACT):
        raise ConfigError(
            f"expected a target with an exact score, such as mixture(x, labels=y), got {_type_of(found)}; "
            "a law such as RandomMixture is for `simulate`, and one's own needs what targets.Target has",
            field="target",
        )
    target: Target = found
    return target


def _made(maker: Any) -> Any:
    try:
        return maker()
    except OrthoscopeError:
        raise
    except Exception as error:
        raise ConfigError(
            f"the target {registered.name_of(maker)} cannot be made without arguments: {in_one_line(error)}",
            field="target",
        ) from error


def _type_of(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


@verb
def target(name: Any = None) -> Any:
    """Register a function or class that makes a target, without arguments, as one that texts may name.

    Args:
        name: Its name in texts; that of the function, with dashes, if left out.

    Raises:
        ConfigError: if the name is taken, or what is registered cannot be called.
    """
    return registered.naming(name, registered.TARGETS, lambda thing: None)
