"""Frozen dataclasses made of frozen dataclasses, built and changed by the names of their innermost fields.

A setting is a law, a schedule and numbers about the run; a simulation is a setting, numerics and a budget. People name
a field, not the part that holds it: `Simulation.of(dim=32, rate=0.2, ...)`, `simulation.but(steps=60)`. No two parts of
one record share a field's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from typing import Any, TypeVar, get_type_hints

from orthoscope.calls import check_names

R = TypeVar("R", bound="Record")


class Record:
    """Base of such dataclasses; their fields that are records again are their parts."""

    __slots__ = ()

    def __new__(cls: type[R], *args: Any, **given: Any) -> R:
        """Refuse what is no field, with the nearest that is; what is missing is told by Python."""
        check_names(cls.__name__, given, {f.name for f in fields(cls)})  # type: ignore[arg-type]
        return object.__new__(cls)

    @classmethod
    def of(cls: type[R], **given: Any) -> R:
        """The record with these fields, each put into the part that has it.

        Raises:
            CallError: if no part has one of them, with the nearest name.
            TypeError: if one without a default is missing.
            ConfigError: if their values cannot be used.
        """
        check_names(cls.__name__, given, _names(cls))  # type: ignore[arg-type]
        parts: dict[str, Any] = {}
        for name, kind in _parts(cls).items():  # type: ignore[arg-type]
            held = {key: given.pop(key) for key in _names(kind) if key in given}
            if held or name not in given:
                parts[name] = kind.of(**held)
        return cls(**parts, **given)

    def but(self: R, **given: Any) -> R:
        """The same record with some fields changed, wherever they stand.

        Raises:
            CallError: if no part has one of them, with the nearest name.
            ConfigError: if their values cannot be used.
        """
        check_names(type(self).__name__, given, _names(type(self)))  # type: ignore[arg-type]
        parts: dict[str, Any] = {}
        for name, kind in _parts(type(self)).items():  # type: ignore[arg-type]
            if held := {key: given.pop(key) for key in _names(kind) if key in given}:
                parts[name] = given.pop(name, getattr(self, name)).but(**held)
        return replace(self, **parts, **given)  # type: ignore[type-var]


@cache
def _parts(kind: Any) -> Mapping[str, Any]:
    """The fields of a record that are records themselves, by name."""
    hints = get_type_hints(kind)
    kinds = ((f.name, hints[f.name]) for f in fields(kind))
    return {name: hint for name, hint in kinds if isinstance(hint, type) and issubclass(hint, Record)}


@cache
def _names(kind: Any) -> frozenset[str]:
    """The names of all fields of a record, those of its parts included."""
    inner = (_names(part) for part in _parts(kind).values())
    return frozenset({f.name for f in fields(kind)}.union(*inner))
