"""The one grammar of guidance rules, for command line, files, pipelines and page.

    cfg                                       linear guidance
    rescale:phi=0.7                           standard deviation pulled to the conditional one's
    power-law:alpha=0.9                       strength grows with the guidance
    apg:eta=0,momentum=-0.5,threshold=15      projected, with momentum and a limit
    cfg-zero-star:zero_steps=1                reference scaled, first steps stand still
    cfg++                                     unconditional noise added back; scale 1 + w is its lambda
    pmc:limit=1.05                            strength limited by the length of the guided prediction
    fbg:prior=0.95                            feedback guidance: strong where the path does not tell the class
    set-point:ratio=0.9                       holds the variance ratio that the batch is heading for
    hold-posterior:odds=3                     holds the class, by what the path tells of it
    some/file.safetensors                     a trained policy; its strength, too, is at most that of the schedule
    some/file.json                            written by `write_rule`
    my-rule, module:name                      one's own: registered, or a function or class in a module

Rules that are not linear may end in `space=denoised|noise|score|velocity`; without it they act where they were
published.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from orthoscope import reading, registered, serialize, writing
from orthoscope.errors import ConfigError
from orthoscope.guidance.rules.base import Rule
from orthoscope.guidance.rules.feedback import Bounded, Feedback, PosteriorPoint, SetPoint
from orthoscope.guidance.rules.linear import LinearCFG, Renoised
from orthoscope.guidance.rules.magnitude import PowerLaw, Rescaled
from orthoscope.guidance.rules.own import FunctionRule, own_rule
from orthoscope.guidance.rules.policy import Policy, read_policy
from orthoscope.guidance.rules.projected import Projected, ZeroStar
from orthoscope.guidance.specs import Types
from orthoscope.guidance.texts import joined, number, own_settings, settings

RULES: dict[str, type[Rule]] = {
    cls.__name__: cls
    for cls in (
        LinearCFG,
        Rescaled,
        PowerLaw,
        Projected,
        ZeroStar,
        Renoised,
        Bounded,
        Feedback,
        SetPoint,
        PosteriorPoint,
    )
}
_NAMES = {cls.name: cls for cls in RULES.values()}
RULE_TYPES = Types(RULES | {"FunctionRule": FunctionRule, "Policy": Policy}, registered.RULES, Rule)
registered.RULES.taken = frozenset(_NAMES)


def parse_rule(text: str) -> Rule:
    """The rule that a text describes, or that the JSON file of that name holds.

    Raises:
        ConfigError: if the rule or a key is unknown (with the nearest known), or a value is none.
    Source:
        derived in explanation/rules.
    """
    return rule_of(text, imports=True)


def rule_of(text: str, *, imports: bool) -> Rule:
    """The same; a text out of a file may not import the module that it names.

    Args:
        text: A name with its settings, a place of one's own, or a file.
        imports: Whether the module of a place may be imported.

    Raises:
        ConfigError: if the rule or a key is unknown (with the nearest known), or a value is none.
    Source:
        derived in explanation/rules.
    """
    if not isinstance(text, str):
        raise ConfigError(f"a rule as text is expected, such as 'rescale:phi=0.7', got {type(text).__name__}")
    name, _, body = text.strip().partition(":")
    if name.lower() not in _NAMES:
        if text.endswith(".json"):
            return read_rule(Path(text))
        if text.endswith(".safetensors"):
            return read_policy(text)
        if found := registered.RULES.find(text, imports=imports):
            return _parse_own(*found, text)
        raise registered.RULES.unknown(name)
    cls: Any = _NAMES[name.lower()]
    kinds = {f.name: f.type for f in dataclasses.fields(cls)}
    values: dict[str, Any] = {}
    for key, raw in settings("rule", name.lower(), body, text, list(kinds)).items():
        values[key] = raw if kinds[key] == "Space" else number(raw, key, f"rule {text!r}", kinds[key] != "float")
    rule: Rule = cls(**values)
    return rule


def _parse_own(thing: Any, body: str, text: str) -> Rule:
    is_rule = isinstance(thing, type) and issubclass(thing, Rule)
    values, options = own_settings(thing, body, "rule", text, {} if is_rule else FunctionRule.OPTIONS)
    return own_rule(registered.put_together(thing, values, "rule"), **options)


def format_rule(rule: Rule) -> str:
    """The text that `parse_rule` reads back as the same rule; settings at their defaults are left out.

    Raises:
        ConfigError: if a rule of one's own has none.
    Source:
        derived in explanation/rules.
    """
    if isinstance(rule, FunctionRule):
        return rule.text()
    if isinstance(rule, Policy):
        raise ConfigError("a policy has no text but the name of its file; write it by `write_rule`", field="rule")
    cls, values = registered.taken_apart(rule)
    name = rule.name if cls in RULES.values() else registered.RULES.text(cls)
    usual = {field.name: field.default for field in dataclasses.fields(cls)} if values else {}
    body = joined({key: value for key, value in values.items() if value != usual[key]})
    return name + (f":{body}" if body else "")


def shown_rule(rule: Rule) -> str:
    """The text of a rule for messages and records; of one that has none, the name of its class or function."""
    try:
        return format_rule(rule)
    except ConfigError:
        return rule.name if isinstance(rule, FunctionRule) else type(rule).__name__


def read_rule(path: Path | str) -> Rule:
    """The rule in a JSON file.

    Raises:
        ConfigError: if the file is missing, malformed, or holds no rule of a supported version.
    Source:
        derived in explanation/rules.
    """
    try:
        rule: Rule = serialize.from_dict(reading.read_json(Path(path)), RULE_TYPES)
    except ConfigError as error:
        raise ConfigError(f"rule file {path}: {error}") from error
    return rule


def write_rule(rule: Any, path: Path | str) -> None:
    """Write whatever `as_rule` takes as versioned JSON, once that was seen to be read back.

    Raises:
        ConfigError: if it is no rule, cannot be read back, or the file cannot be written.
    Source:
        derived in explanation/rules.
    """
    from orthoscope.guidance.rules.given import as_rule  # which reads texts by this grammar

    try:
        text = serialize.dumps(as_rule(rule))
        serialize.from_dict(reading.parse_json(text, "it"), RULE_TYPES)
    except (TypeError, ConfigError) as error:
        raise ConfigError(f"this rule cannot be written down: {error}", field="rule") from error
    writing.write(Path(path), text + "\n")
