"""Help in groups: verbs and options under headings, in whole sentences, at any width.

The heading of an option or a verb is its `rich_help_panel`, as everywhere in Typer; here it is printed as plain text,
which needs no rich and leaves the width to the words.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from typer.core import TyperCommand, TyperGroup

NAMES = {"help_option_names": ["-h", "--help"]}  # context settings of the root, which all verbs inherit
MACHINE, OUTPUT = "Machine", "Output"  # headings that many verbs share
_LAST = ("Options", MACHINE, OUTPUT)


@runtime_checkable
class _Formatter(Protocol):
    def section(self, name: str) -> Any: ...
    def write_dl(self, rows: list[tuple[str, str]]) -> None: ...


class Verb(TyperCommand):
    """A command whose options stand under their headings."""

    def format_options(self, ctx: Any, formatter: _Formatter) -> None:
        """Arguments, options of the verb's own, then those that many verbs share."""
        rows = [
            ("Arguments" if param.param_type_name == "argument" else _heading(param, ctx), record)
            for param in self.get_params(ctx)
            if (record := param.get_help_record(ctx)) is not None
        ]
        _write(rows, formatter, last=_LAST)


class Verbs(TyperGroup):
    """A group that says what its verbs do in whole sentences, under their headings."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Nothing asked for is help asked for."""
        return super().parse_args(ctx, args or ["--help"])

    def format_commands(self, ctx: Any, formatter: _Formatter) -> None:
        """Every verb with the first sentence of its help."""
        found = [(name, self.commands[name]) for name in self.list_commands(ctx)]
        rows = [
            (str(getattr(verb, "rich_help_panel", None) or "Commands"), (name, verb.get_short_help_str(1000)))
            for name, verb in found
        ]
        _write(rows, formatter, last=())


def _heading(param: Any, ctx: Any) -> str:
    return OUTPUT if param.name == "help" else str(getattr(param, "rich_help_panel", None) or "Options")


def _write(rows: Iterable[tuple[str, tuple[str, str]]], formatter: _Formatter, *, last: tuple[str, ...]) -> None:
    groups: dict[str, list[tuple[str, str]]] = {}
    for heading, row in rows:
        groups.setdefault(heading, []).append(row)
    for heading in sorted(groups, key=lambda one: last.index(one) if one in last else -1):
        with formatter.section(heading):
            formatter.write_dl(groups[heading])
