"""Fingerprints of code that is not the package's: what is kept of a rule of one's own is of no use once it was edited.

Seen is the source of the function, or of the class with those it derives from; not that of functions which it calls.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from functools import partial
from types import CodeType
from typing import Any
from weakref import WeakKeyDictionary

from orthoscope.registered import is_own

_READ: WeakKeyDictionary[Any, str | None] = WeakKeyDictionary()  # once: a file may be edited after it was imported


def code_of(thing: Any) -> str | None:
    """A fingerprint of a function, a class or the class of an object; None if it is the package's."""
    while isinstance(thing, partial):
        thing = thing.func
    thing = getattr(thing, "__func__", thing)
    kind = thing if inspect.isroutine(thing) or isinstance(thing, type) else type(thing)
    if kind not in _READ:
        _READ[kind] = _fingerprint(kind)
    return _READ[kind]


def _fingerprint(thing: Any) -> str | None:
    parts = thing.__mro__ if isinstance(thing, type) else (thing,)
    texts = [_source(part) for part in parts if is_own(part) and _library(part) not in sys.stdlib_module_names]
    return hashlib.blake2b("\n".join(texts).encode(), digest_size=8).hexdigest() if texts else None


def _library(thing: Any) -> str:
    return str(thing.__module__).partition(".")[0]


def _source(thing: Any) -> str:
    """The source of a function or a class, or its compiled code where there is none, as in a console."""
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        parts = vars(thing) if isinstance(thing, type) else {"": thing}
        return repr([(name, _compiled(part.__code__)) for name, part in parts.items() if hasattr(part, "__code__")])


def _compiled(code: CodeType) -> tuple[Any, ...]:
    inner = [_compiled(part) if isinstance(part, CodeType) else repr(part) for part in code.co_consts]
    return code.co_code.hex(), code.co_names, inner
