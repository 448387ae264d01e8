"""Where a rule is meant, a text, a file, a function or an object will do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orthoscope.errors import ConfigError
from orthoscope.guidance.rules.base import Rule
from orthoscope.guidance.rules.grammar import parse_rule, read_rule
from orthoscope.guidance.rules.linear import LinearCFG
from orthoscope.guidance.rules.own import own_rule


def as_rule(given: Any = None) -> Rule:
    """The rule that is meant: a text in the grammar, a JSON file, any function of the predictions, a class or an
    object of such, or a rule itself; linear guidance if None.

    Raises:
        ConfigError: if it is none of these.
    """
    if given is None:
        return LinearCFG()
    if isinstance(given, Rule):
        return given
    if isinstance(given, str):
        return parse_rule(given)
    if isinstance(given, Path):
        return parse_rule(str(given)) if given.suffix == ".safetensors" else read_rule(given)
    if callable(given):
        return own_rule(given)
    raise ConfigError(
        f"a `rule` is a text such as 'rescale:phi=0.7', a JSON file, a function of the predictions or a rule, got "
        f"{type(given).__name__}",
        field="rule",
    )
