"""The command line: `orthoscope VERB`. Parsing and wiring only."""

from __future__ import annotations

import errno
import os
import shlex
import sys
import warnings
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import Annotated, Any

import typer

from orthoscope import __version__
from orthoscope.cli.help import NAMES, Verb, Verbs
from orthoscope.cli.output import logged
from orthoscope.errors import NO_ROOM, ConfigError, OrthoscopeError, StoppedError, in_one_line, one_line
from orthoscope.progress import LOG
from orthoscope.registered import import_named

UNUSABLE_INPUT, FAILED, INTERRUPTED, UNREAD, BUG = 2, 1, 130, 141, 70
_OUTPUT_CURES = dict.fromkeys(NO_ROOM, "make room") | {
    errno.EBADF: "it is closed: send it to a file, or to /dev/null",
    errno.EIO: "send it to a file",
    errno.EAGAIN: "it takes only so much at once: send it to a file",
}
# Packages that not every installation has, and the extra that brings each.
_EXTRAS = {
    "accelerate": "diffusers",
    "diffusers": "diffusers",
    "distributed": "scale",
    "transformers": "diffusers",
    "zarr": "scale",
}
# Variables of the environment that libraries read, and raise something of their own about.
_OF_LIBRARIES = ("DASK_", "HF_", "MPL", "PYTORCH", "TORCH")
_DATE = "SOURCE_DATE_EPOCH"
_COMPLETION = "_ORTHOSCOPE_COMPLETE"
_STOPPED = "interrupted; what was already written stays"

_HEADINGS = {
    "Start here": ("demo",),
    "Your pipeline": ("audit", "calibrate", "forecast", "measure"),
    "Exact truth": ("predict", "simulate", "design", "phase", "sweep"),
    "Special laws": ("gaussian", "two-class"),
    "Check and repeat": ("claims", "study", "rerun"),
    "Models, data, machine": ("train", "data", "bench"),
}
_VERBS = {verb: heading for heading, verbs in _HEADINGS.items() for verb in verbs}


def _version(wanted: bool | None) -> None:
    if wanted:
        typer.echo(f"orthoscope {__version__}")
        raise typer.Exit


def _importable(modules: list[str] | None) -> None:
    """Let commands find modules of the current folder, after all others, and import those that are named."""
    if "" not in sys.path:
        sys.path.append("")
    import_named(modules or [])


def _root(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    modules: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            callback=_importable,
            metavar="MODULE",
            help="Import a module first, with the rules and schedules that it registers; may be repeated.",
        ),
    ] = None,
) -> None:
    """Measure, explain and remove the distortions of classifier-free guidance."""


def _app(argv: Collection[str]) -> typer.Typer:
    """The verbs that these arguments name, or all of them."""
    app = typer.Typer(
        name="orthoscope", cls=Verbs, context_settings=NAMES, pretty_exceptions_enable=False, rich_markup_mode=None
    )
    app.callback()(_root)
    for name in [name for name in _VERBS if name in argv] or _VERBS:  # only those that are named are loaded
        word = name.replace("-", "_")
        verb = getattr(import_module(f"orthoscope.cli.{word}"), word)
        if isinstance(verb, typer.Typer):
            app.add_typer(verb, name=name, cls=Verbs, rich_help_panel=_VERBS[name])
        else:
            app.command(name, cls=Verb, rich_help_panel=_VERBS[name])(verb)
    return app


def _message(error: typer.TyperException) -> str:
    """The parser's message without its line breaks and without the class of the error it caught."""
    return one_line(" ".join(error.format_message().split()).replace(": Value error, ", ": "))


def _hint(error: typer.TyperException, argv: list[str]) -> str:
    """What to do about a value too many: an option that may have several is repeated."""
    context = getattr(error, "ctx", None)
    lists = [option for param in context.command.params if param.multiple for option in param.opts] if context else []
    option = next((name for word in reversed(argv) if (name := word.partition("=")[0]) in lists), None)
    extra = "unexpected extra argument" in error.format_message()
    return f"; for several values repeat the option: {option} A {option} B" if option and extra else ""


class _Unheard(FileIO):
    """Standard error, where a reader that quit or a full disk is no reason to stop."""

    def write(self, content: Any) -> int:
        with suppress(OSError):
            super().write(content)
        return len(content)


def _open_streams() -> None:
    """Standard streams that take any text; no file that is opened takes the place of one that is closed.

    What is told on a closed standard error goes nowhere; what is written to a closed standard output fails, as it did.
    """
    for name, mode, letter in (("stdin", os.O_RDONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, mode), letter, encoding="utf-8"))
        elif letter == "w" and isinstance(stream := getattr(sys, name), TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.stderr is sys.__stderr__ or sys.__stderr__ is None:
        heard = BufferedWriter(_Unheard(sys.stderr.fileno(), "w", closefd=False))
        sys.stderr = TextIOWrapper(heard, sys.stderr.encoding, sys.stderr.errors, line_buffering=True)


def _forget_output() -> None:
    """Send what is left of the standard output nowhere, or Python would try again at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status: 0 success, 1 a failed result, 2 unusable input.

    A signal that ended it has 128 more than its number: 130 for Ctrl-C, 141 where nobody reads standard output.

    Args:
        argv: Arguments without the program name; those of the process if None.
    """
    argv = sys.argv[1:] if argv is None else argv
    _open_streams()
    try:
        with warnings.catch_warnings(), logged():
            if not os.environ.get("ORTHOSCOPE_DEBUG"):
                warnings.showwarning = _say_nothing
            return _run(argv)
    finally:
        _forget_output()


def _say_nothing(*args: object, **kwargs: object) -> None:
    """In place of warnings: lines of code are nothing to people, and what matters is told."""


def _check_place() -> None:
    """Refuse to work where the current folder is gone: libraries end the process there in ways of their own."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise ConfigError("the current folder was removed; change to one that is there") from error


def _is_date(seconds: str) -> bool:
    try:
        return bool(datetime.fromtimestamp(int(seconds), UTC))
    except (ValueError, OverflowError, OSError):
        return False


def _odd_variable(error: Exception) -> str | None:
    """A variable of the environment that a library beneath read and complains of, by its name or by its value."""
    if sys.flags.optimize > 1 and "docstring" in str(error):
        return "PYTHONOPTIMIZE"
    if _COMPLETION in os.environ:
        return _COMPLETION
    if isinstance(error, OSError | OverflowError | ValueError) and not _is_date(os.environ.get(_DATE, "0")):
        return _DATE  # which figures bear
    told = [(name, value) for name, value in os.environ.items() if name.startswith(_OF_LIBRARIES) and len(value) > 1]
    return next((name for name, value in told if name in str(error) or value in str(error)), None)


def _run(argv: list[str]) -> int:
    try:
        _check_place()
        status = _app(argv)(argv, standalone_mode=False, obj=shlex.join(["orthoscope", *argv]))
        sys.stdout.flush()  # here, where a full disk or a closed pipe can still be told
        if status == INTERRUPTED:  # the parser has caught Ctrl-C itself, without a word
            LOG.error(_STOPPED)
        return status if isinstance(status, int) else 0
    except typer.TyperException as error:
        LOG.error(f"error: {_message(error)}{_hint(error, argv)}")
        return UNUSABLE_INPUT
    except StoppedError as error:
        LOG.error(f"error: {error}")
        return FAILED
    except OrthoscopeError as error:
        LOG.error(f"error: {error}")
        return UNUSABLE_INPUT
    except (KeyboardInterrupt, typer.Abort):
        LOG.error(_STOPPED)
        return INTERRUPTED
    except (BrokenPipeError, SystemExit) as error:
        if not any(isinstance(one, BrokenPipeError) for one in (error, error.__context__)):
            raise
        return UNREAD  # which the parser and what draws tables would call a failure
    except MemoryError as error:
        LOG.error(f"error: not enough memory ({in_one_line(error)}); ask for fewer samples, dimensions or steps")
        return UNUSABLE_INPUT
    except Exception as error:
        if isinstance(error, OSError) and (cure := _OUTPUT_CURES.get(error.errno or 0)):
            LOG.error(f"error: cannot write {error.filename or 'standard output'}: {error.strerror}; {cure}")
            return UNUSABLE_INPUT
        if isinstance(error, ModuleNotFoundError) and (package := str(error.name).partition(".")[0]) in _EXTRAS:
            LOG.error(f"error: this needs {package}: pip install 'orthoscope[{_EXTRAS[package]}]'")
            return UNUSABLE_INPUT
        if os.environ.get("ORTHOSCOPE_DEBUG"):
            raise
        if isinstance(error, OSError) and error.filename is not None:
            LOG.error(f"error: cannot use {error.filename}: {error.strerror}")
            return UNUSABLE_INPUT
        if name := _odd_variable(error):
            LOG.error(f"error: {name} in the environment is of no use ({in_one_line(error)}); unset it")
            return UNUSABLE_INPUT
        LOG.error(f"internal error: {in_one_line(error)}; set ORTHOSCOPE_DEBUG=1 to see where, and report it")
        return BUG
