"""The one grammar of guidance rules, for command line, files, pipelines and page.

    cfg                                       linear guidance
    rescale:phi=0.7                           standard deviation pulled to the conditional one's
    power-law:alpha=0.9                       strength grows with the guidance
    apg:eta=0,momentum=-0.5,threshold=15      projected, with momentum and a limit
    cfg-zero-star:zero_steps=1                reference scaled, first steps stand still
    cfg++                                     unconditional noise added back; scale 1 + w is its lambda
    some/file.json                            written by `write_rule`

Rules that are not linear may end in `space=denoised|noise|score|velocity`; without it they act where they were
published.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from orthoscope import serialize, writing
from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.grammar import number, settings, written
from orthoscope.guidance.rules.base import Rule
from orthoscope.guidance.rules.linear import LinearCFG, Renoised
from orthoscope.guidance.rules.magnitude import PowerLaw, Rescaled
from orthoscope.guidance.rules.projected import Projected, ZeroStar

RULES: dict[str, type[Rule]] = {
    cls.__name__: cls for cls in (LinearCFG, Rescaled, PowerLaw, Projected, ZeroStar, Renoised)
}
_NAMES = {cls.name: cls for cls in RULES.values()}


def parse_rule(text: str) -> Rule:
    """The rule that a text describes, or that the JSON file of that name holds.

    Raises:
        ConfigError: if the rule or a key is unknown (with the nearest known), or a value is none.
    Source:
        derived in explanation/rules.
    """
    name, _, body = text.strip().partition(":")
    if name.lower() not in _NAMES:
        if text.endswith(".json"):
            return read_rule(Path(text))
        raise unknown("rule", name, _NAMES)
    cls: Any = _NAMES[name.lower()]
    kinds = {f.name: f.type for f in dataclasses.fields(cls)}
    values: dict[str, Any] = {}
    for key, raw in settings("rule", name.lower(), body, text, list(kinds)).items():
        values[key] = raw if kinds[key] == "Space" else number(raw, key, f"rule {text!r}", kinds[key] != "float")
    rule: Rule = cls(**values)
    return rule


def format_rule(rule: Rule) -> str:
    """The text that `parse_rule` reads back as the same rule; settings at their defaults are left out.

    A rule that is none of `RULES` has no text, and is called by its class.

    Source:
        derived in explanation/rules.
    """
    if type(rule).__name__ not in RULES:
        return type(rule).__name__
    parts = []
    for field in dataclasses.fields(rule):  # type: ignore[arg-type]
        value = getattr(rule, field.name)
        if value != field.default:
            parts.append(f"{field.name}={value if isinstance(value, str) else written(value)}")
    return rule.name + (f":{','.join(parts)}" if parts else "")


def read_rule(path: Path) -> Rule:
    """The rule in a JSON file.

    Raises:
        ConfigError: if the file is missing, malformed, or holds no rule of a supported version.
    Source:
        derived in explanation/rules.
    """
    try:
        rule: Rule = serialize.from_dict(serialize.read_json(path), RULES)
    except ConfigError as error:
        raise ConfigError(f"rule file {path}: {error}") from error
    return rule


def write_rule(rule: Rule, path: Path) -> None:
    """Write a rule as versioned JSON.

    Raises:
        ConfigError: if the file cannot be written.
    Source:
        derived in explanation/rules.
    """
    writing.write(path, serialize.dumps(rule) + "\n")
