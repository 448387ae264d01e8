"""Options that take all the values that follow them: `--schedules A B C`, which typer alone knows only repeated."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextvars import ContextVar
from typing import Any

from typer.core import TyperCommand

from orthoscope.errors import ConfigError

_WRITTEN: ContextVar[tuple[str, ...]] = ContextVar("written", default=())


def spread(args: list[str], options: Collection[str]) -> Iterator[str]:
    """The arguments with the option repeated before every further value: `-o A B` becomes `-o A -o B`.

    Raises:
        ConfigError: if such an option has no value at all.
    """
    current, values = None, 0
    for arg in args:
        if arg.startswith("-") and not arg[1:2].isdigit():
            _check(current, values)
            name, equals, _ = arg.partition("=")
            current, values = (name if name in options else None), int(bool(equals))
        elif current is not None:
            values += 1
            if values > 1:
                yield current
        yield arg
    _check(current, values)


def _check(option: str | None, values: int) -> None:
    if option is not None and not values:
        raise ConfigError(f"{option} needs one or more values after it")


class SeveralValues(TyperCommand):
    """A command whose list options take one or more values, and which knows how it was written."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the list options before each of their values, then parse as ever."""
        _WRITTEN.set(tuple(args))
        lists = {name for param in self.params if getattr(param, "multiple", False) for name in param.opts}
        return super().parse_args(ctx, list(spread(args, lists)))


def written() -> tuple[str, ...]:
    """The arguments of the command that runs, as they were written."""
    return _WRITTEN.get()
