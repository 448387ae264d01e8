"""What stands in a file for a schedule or a rule, and the classes that a file may name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orthoscope.registered import Registry, is_own, taken_apart
from orthoscope.serialize import VERSION


def spec_of(thing: Any, registry: Registry) -> dict[str, Any]:
    """An object by its class and its settings; a class of one's own by where it is found again.

    Raises:
        ConfigError: if it is not found again.
    """
    cls, settings = taken_apart(thing)
    name = registry.text(cls) if is_own(cls) else cls.__name__
    return {"type": name, "version": VERSION, **settings}


class Types(Mapping[str, type]):
    """The package's own classes by name; besides, registered ones and those of modules that are imported already."""

    def __init__(self, known: Mapping[str, type], registry: Registry, base: type) -> None:
        """Know some classes; others are found by name or place if they derive from the base."""
        self._known, self._registry, self._base = known, registry, base

    def __getitem__(self, name: str) -> type:
        """The class of a name.

        Raises:
            KeyError: if there is none.
            ConfigError: if it is in a module that a file may not import.
        """
        if name in self._known:
            return self._known[name]
        thing, settings = self._registry.find(name, imports=False) or (None, "")
        if settings or not (isinstance(thing, type) and issubclass(thing, self._base)):
            raise KeyError(name)
        return thing

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)
