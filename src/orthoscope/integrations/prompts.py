"""What a pipeline is asked for: the prompts in a file, each of them once."""

from __future__ import annotations

import numbers
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from orthoscope.errors import ConfigError
from orthoscope.reading import read_text

_LONGEST = 4000  # characters of a prompt: beyond, the file is no list of prompts


def read_prompts(path: Path) -> tuple[str, ...]:
    """The prompts in a text file (UTF-8): one per line; blank lines and lines that start with # are skipped.

    Raises:
        ConfigError: if the file cannot be read, or holds no prompts.
    """
    lines = read_text(path, "prompts, one per line").splitlines()
    prompts = tuple(text for line in lines if (text := line.strip()) and not text.startswith("#"))
    if not prompts:
        raise ConfigError(f"{path} holds no prompts; write one per line (lines that start with # are skipped)")
    if longest := [n for n, line in enumerate(lines, 1) if len(line) > _LONGEST]:
        raise ConfigError(f"{path}, line {longest[0]}: a prompt of more than {_LONGEST} characters; write one per line")
    each_once("prompt", prompts, f"{path}: ")
    return prompts


def as_prompts(given: Any = None) -> tuple[str, ...]:
    """The prompts that are meant: texts or numbers of classes, one or several, or a file as above; none if None.

    Raises:
        ConfigError: if they are none of these.
    """
    if given is None:
        return ()
    if isinstance(given, Path):
        return read_prompts(given)
    listed = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    for prompt in listed:
        if not isinstance(prompt, str | numbers.Integral) or isinstance(prompt, bool):
            raise ConfigError(f"a prompt is a text, or the number of a class, got {prompt!r:.80}", field="prompts")
    if not listed:
        raise ConfigError("`prompts` is empty; give at least one, or leave it out for all classes", field="prompts")
    return tuple(map(str, listed))


def each_once(what: str, names: Sequence[str], where: str = "") -> None:
    """Refuse names that are given twice.

    Raises:
        ConfigError: naming the first.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConfigError(f"{where}{what} {twice[0]!r:.80} is given twice; name every {what} once")
