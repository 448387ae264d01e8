"""What users bring along, by name: rules, schedules, targets and steps of their own.

A thing of one's own is registered in Python, or by an entry point of an installed package (group `orthoscope.rules`,
`orthoscope.schedules`, `orthoscope.targets` or `orthoscope.steps`); whatever stands in a module also has a place,
`module:name`. Both are texts that are read back. A text that a person typed may import the module that it names; a
file may not, unless an entry point names it too.
"""

from __future__ import annotations

import dataclasses
import inspect
import operator
import re
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import import_module
from typing import Any, TypeVar

from orthoscope.errors import ConfigError, in_one_line, unknown

T = TypeVar("T")
_NAME = re.compile(r"[a-z0-9][a-z0-9+_.-]*")
_PLACE = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_][\w.]*)(?::(.*))?")


class Registry:
    """Things of one kind by name.

    Attributes:
        kind: What they are, one of them: `rule`.
        taken: Names that the package has itself.
    """

    def __init__(self, kind: str) -> None:
        """Begin with nothing but what entry points name."""
        self.kind, self.taken = kind, frozenset[str]()
        self._things: dict[str, Any] = {}
        self._options: dict[int, Mapping[str, Any]] = {}

    @cached_property
    def _entries(self) -> dict[str, Any]:
        from importlib.metadata import entry_points  # slow to import

        return {entry.name.lower(): entry for entry in entry_points(group=f"orthoscope.{self.kind}s")}

    def add(self, name: str, thing: Any, **options: Any) -> None:
        """Register a thing; a name may be given anew to what was defined again in the same place.

        Raises:
            ConfigError: if the name cannot stand in a text, or is another's.
        """
        name = name.lower()
        if not _NAME.fullmatch(name) or name.endswith(".json"):
            raise ConfigError(f"the name of a {self.kind} is made of letters, digits and +-_., got {name!r}")
        old = self._things.get(name, thing)
        if name in self.taken or (old is not thing and _address(old) != _address(thing)):
            raise ConfigError(f"the {self.kind} {name!r} exists already; choose another name")
        self._options.pop(id(old), None)
        self._things[name] = thing
        self._options[id(thing)] = options

    def names(self) -> list[str]:
        """Every name, those of the package included."""
        return sorted({*self.taken, *self._things, *self._entries})

    def knows(self, thing: Any) -> bool:
        """Whether this very thing was registered."""
        return any(one is thing for one in self._things.values())

    def unknown(self, name: str) -> ConfigError:
        """The error for a name that nothing has, with the nearest that something has."""
        return unknown(self.kind, name, self.names(), field=self.kind)

    def options(self, thing: Any) -> Mapping[str, Any]:
        """What a thing was registered with."""
        return self._options.get(id(thing), {})

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._things or name.lower() in self._entries

    def __getitem__(self, name: str) -> Any:
        """The thing of a name.

        Raises:
            ConfigError: if there is none, with the nearest, or its package cannot be loaded.
        """
        name = name.lower()
        if name in self._things:
            return self._things[name]
        if name not in self._entries:
            raise self.unknown(name)
        try:
            return located(self._entries[name].value, self.kind, imports=True)
        except ModuleNotFoundError as error:
            raise ConfigError(f"the package that brings the {self.kind} {name!r} is broken: {error}") from error

    def find(self, text: str, *, imports: bool = True) -> tuple[Any, str] | None:
        """The thing that a text names and the settings after it; None if it is neither a known name nor a place.

        Args:
            text: A name or a place, perhaps with a colon and settings.
            imports: Whether the module of a place may be imported.

        Raises:
            ConfigError: if there is nothing in that place.
        """
        name, _, body = text.strip().partition(":")
        if name in self:
            return self[name], body
        if found := _PLACE.fullmatch(text.strip()):
            place = f"{found[1]}:{found[2]}"
            try:
                return self.at(place, imports=imports), found[3] or ""
            except ModuleNotFoundError as error:
                raise ConfigError(f"{self.unknown(name)}; nor is there a module {name!r}", field=self.kind) from error
        return None

    def thing(self, text: str) -> Any:
        """The class or function that a name or a place means, for what has no settings in texts: targets and steps.

        Raises:
            ConfigError: if it means none.
        """
        found = self.find(text)
        if found is None or found[1]:
            raise self.unknown(text)
        return found[0]

    def at(self, place: str, *, imports: bool) -> Any:
        """The thing in a place.

        Raises:
            ConfigError: if there is none, or its module may not be imported.
            ModuleNotFoundError: if there is no such module.
        """
        known = any(entry.value == place for entry in self._entries.values())
        return located(place, self.kind, imports=imports or known)

    def text(self, thing: Any) -> str:
        """The place of a thing, else its name, by which it is found again.

        Raises:
            ConfigError: if it has neither.
        """
        place = place_of(thing)
        name = next((name for name, one in self._things.items() if one is thing), None)
        if found := place or name:
            return found
        raise ConfigError(
            f"the {self.kind} {name_of(thing)} has no text: a function or class defined in __main__ or inside another, "
            "or a lambda, cannot be found again; put it in a module, or register it",
            field=self.kind,
        )


class InMemory:
    """A thing that may have no text, where a specification would have one.

    Attributes:
        name: What messages and folders call it.
    """

    def __init__(self, thing: Any, registry: Registry) -> None:
        """Keep it, and where it may be registered."""
        self.name, self._thing, self._registry = name_of(thing), thing, registry

    def spec(self) -> Any:
        """Its text if it has one, else itself."""
        try:
            return self._registry.text(self._thing)
        except ConfigError:
            return self

    def to_spec(self) -> dict[str, Any]:
        """Nothing that is read back.

        Raises:
            ConfigError: always, saying why there is no text.
        """
        return {"text": self._registry.text(self._thing)}


RULES, SCHEDULES, TARGETS, STEPS = (Registry(kind) for kind in ("rule", "schedule", "target", "step"))


def located(place: str, kind: str, *, imports: bool) -> Any:
    """What stands at `module:name`.

    Raises:
        ConfigError: if there is nothing, or the module is not imported yet and may not be.
        ModuleNotFoundError: if there is no such module.
    """
    module, _, name = place.partition(":")
    if module not in sys.modules:
        if not imports:
            raise ConfigError(
                f"the {kind} {place} is in a module that a file may not import: import {module} first, in Python or by "
                f"`orthoscope --import {module} ...`"
            )
        _import(module)
    try:
        return operator.attrgetter(name)(sys.modules[module])
    except AttributeError as error:
        raise ConfigError(f"there is no {kind} {name!r} in the module {module}", field=kind) from error


def _import(module: str) -> None:
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise
        raise ConfigError(f"the module {module} cannot be imported: {error}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"the module {module} cannot be imported: {in_one_line(error)}") from error


def import_named(modules: list[str]) -> None:
    """Import modules that somebody named.

    Raises:
        ConfigError: if one cannot be imported.
    """
    for module in modules:
        try:
            _import(module)
        except ModuleNotFoundError as error:
            raise ConfigError(f"there is no module {module!r}", field="import") from error


def place_of(thing: Any) -> str | None:
    """`module:name` of a function or class, if it is found there again."""
    place = _address(thing)
    module, _, name = place.partition(":")
    if not name or module == "__main__" or module not in sys.modules:
        return None
    try:
        return place if operator.attrgetter(name)(sys.modules[module]) is thing else None
    except AttributeError:
        return None


def check_placed(made: Any, registry: Registry) -> None:
    """Refuse a rule or schedule that other processes would not find, though it may have a name in this one.

    Raises:
        ConfigError: if its function or class stands in no module.
    """
    call = getattr(made, "call", made)
    thing = call if inspect.isroutine(call) or isinstance(call, type) else type(call)
    if is_own(thing) and made is not None and place_of(thing) is None:
        raise ConfigError(
            f"other processes do not find the {registry.kind} {name_of(thing)}, which stands in no module: put it in "
            "one, or leave out `workers` and `scheduler`",
            field=(registry.kind, "workers"),
        )


def _address(thing: Any) -> str:
    """Where a function or class says that it was defined; nothing after the colon for anything else."""
    return f"{getattr(thing, '__module__', None)}:{getattr(thing, '__qualname__', '')}"


def name_of(thing: Any) -> str:
    """What a message calls a function, a class or an object."""
    return str(getattr(thing, "__qualname__", None) or type(thing).__qualname__)


def is_own(thing: Any) -> bool:
    """Whether a class or a function is not the package's."""
    return not str(thing.__module__).startswith("orthoscope.")


def taken_apart(thing: Any) -> tuple[Any, dict[str, Any]]:
    """The class of an object with the settings that make it again; a function or class as it is.

    Raises:
        ConfigError: if its settings are not told, because it is no dataclass.
    """
    if inspect.isroutine(thing) or isinstance(thing, type):
        return thing, {}
    fields = dataclasses.fields(thing) if dataclasses.is_dataclass(thing) else ()
    if not dataclasses.is_dataclass(thing) and getattr(thing, "__dict__", None):
        raise ConfigError(
            f"an object of class {type(thing).__qualname__} has no text: make the class a dataclass, whose settings "
            "can be written down, or register the object"
        )
    return type(thing), {field.name: getattr(thing, field.name) for field in fields if field.init}


def put_together(thing: Any, settings: Mapping[str, Any], kind: str) -> Any:
    """A function as it is; of a class the object with these settings.

    Raises:
        ConfigError: if it is no class and there are settings, or they do not fit.
    """
    if not isinstance(thing, type):
        if settings:
            raise ConfigError(f"the {kind} {name_of(thing)} is a function, which has no settings {', '.join(settings)}")
        return thing
    try:
        return thing(**settings)
    except TypeError as error:
        raise ConfigError(f"{kind} {thing.__qualname__}: {error}", field=kind) from error


def naming(name: Any, registry: Registry, check: Callable[[Any], None], **options: Any) -> Any:
    """A decorator that registers what it is put on, and gives it back as it is; with or without brackets.

    Args:
        name: Its name, or the thing itself.
        registry: Where.
        check: Rejects what is nothing of the kind.
        options: What it is registered with.
    """

    def register(thing: T, name: str | None = None) -> T:
        if not callable(thing):
            raise ConfigError(f"a {registry.kind} can be called, got {type(thing).__name__}", field=registry.kind)
        check(thing)
        called = name if name is not None else name_of(thing).rpartition(".")[2].replace("_", "-")
        registry.add(called, thing, **options)
        return thing

    if not (name is None or callable(name) or isinstance(name, str)):
        raise ConfigError(f"the name of a {registry.kind} is a text, got {name!r:.40}", field="name")
    return register(name) if callable(name) else lambda thing: register(thing, name)
