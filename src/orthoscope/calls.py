"""Calls of what people type: an argument that does not exist is told in one line, with the nearest that does."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from orthoscope.errors import CallError, nearest

P = ParamSpec("P")
R = TypeVar("R")


def verb(call: Callable[P, R]) -> Callable[P, R]:
    """A function whose arguments are looked at before it is called."""
    signature = inspect.signature(call)

    @wraps(call)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise _misfit(call.__name__, signature.parameters, args, kwargs) or CallError(
                f"{call.__name__}: {error}"
            ) from None
        return call(*args, **kwargs)

    return asked


def check_names(call: str, given: Mapping[str, Any], known: Any) -> None:
    """Refuse an argument of a name that nothing has.

    Raises:
        CallError: naming the first, and the nearest that there is.
    """
    if odd := [name for name in given if name not in known]:
        raise CallError(f"{call} has no argument `{odd[0]}`; {nearest(odd[0], known)}", field=odd[0])


def _misfit(
    call: str, known: Mapping[str, inspect.Parameter], args: tuple[Any, ...], given: Mapping[str, Any]
) -> CallError | None:
    """What is wrong with a call: an argument that does not exist, one too many in a row, or one that is missing."""
    first = [name for name, one in known.items() if one.kind is one.POSITIONAL_OR_KEYWORD]
    if not any(one.kind is one.VAR_KEYWORD for one in known.values()):
        if odd := [name for name in given if name not in known]:
            return CallError(f"{call} has no argument `{odd[0]}`; {nearest(odd[0], known)}", field=odd[0])
    if len(args) > len(first):
        in_a_row = " and ".join(f"`{name}`" for name in first)
        return CallError(f"{call} takes {in_a_row} in a row, and all else by name, got {len(args)} in a row")
    if twice := [name for name in first[: len(args)] if name in given]:
        return CallError(f"{call} is given `{twice[0]}` twice, in a row and by name", field=twice[0])
    missing = [name for name in first[len(args) :] if known[name].default is known[name].empty and name not in given]
    return CallError(f"{call} needs `{missing[0]}`", field=missing[0]) if missing else None
