"""Rules as texts and files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthoscope import serialize
from orthoscope.errors import ConfigError
from orthoscope.guidance.rules import (
    RULES,
    Bounded,
    Feedback,
    LinearCFG,
    PosteriorPoint,
    PowerLaw,
    Projected,
    Renoised,
    Rescaled,
    Rule,
    SetPoint,
    ZeroStar,
    format_rule,
    parse_rule,
    read_rule,
    shown_rule,
    write_rule,
)

numbers = st.floats(-0.9, 20).map(lambda x: round(x, 3))
rules: st.SearchStrategy[Rule] = st.one_of(
    st.just(LinearCFG()),
    st.builds(Rescaled, phi=numbers, space=st.sampled_from(["noise", "velocity"])),
    st.builds(PowerLaw, alpha=numbers),
    st.builds(Projected, eta=numbers, momentum=numbers, threshold=numbers.map(abs)),
    st.builds(ZeroStar, zero_steps=st.integers(0, 5).map(float)),
    st.just(Renoised()),
    st.builds(Renoised, times=st.just((4.0, 1.0, 0.0))),
    st.builds(Bounded, limit=numbers.map(lambda x: 1 + abs(x))),
    st.builds(Feedback, prior=st.sampled_from([0.75, 0.95]), times=st.just((4.0, 1.0, 0.0))),
    st.builds(SetPoint, ratio=numbers, lam=st.sampled_from([0.0, 1.0])),
    st.builds(PosteriorPoint, odds=numbers, gain=numbers),
)


@given(rule=rules)
def test_what_is_written_is_read_back_as_the_same_rule(rule: Rule, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert parse_rule(format_rule(rule)) == rule
    assert serialize.from_dict(serialize.to_dict(rule), RULES) == rule
    path = tmp_path_factory.mktemp("rules") / "mine.json"
    write_rule(rule, path)
    assert read_rule(path) == parse_rule(str(path)) == rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("cfg", LinearCFG()),
        ("CFG:", LinearCFG()),
        ("rescale", Rescaled()),
        ("rescale: phi = 70% , space = velocity", Rescaled(phi=0.7, space="velocity")),
        ("power-law:alpha=0.5", PowerLaw(alpha=0.5)),
        ("apg:eta=0,momentum=-0.5,threshold=10", Projected(eta=0, momentum=-0.5, threshold=10)),
        ("cfg-zero-star:zero_steps=2", ZeroStar(zero_steps=2)),
        ("cfg++", Renoised()),
        ("cfg++:times=4/1/0", Renoised(times=(4.0, 1.0, 0.0))),
    ],
)
def test_the_grammar(text: str, rule: Rule) -> None:
    assert parse_rule(text) == rule


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("agp:eta=0", "unknown rule 'agp'; did you mean 'apg'?"),
        ("apg:eat=0", "unknown key of rule 'apg' 'eat'; did you mean 'eta'?"),
        ("apg:eta=0,eta=1", "eta is given twice"),
        ("apg:0.5", "expected key=value, got '0.5'"),
        ("apg:eta=much", "eta must be a number, got 'much'"),
        ("apg:eta=nan", "eta must be a finite number, got nan"),
        ("apg:eta=1/2", "eta must be a finite number"),
        ("apg:threshold=-1", "threshold is a norm and must be >= 0"),
        ("apg:space=pixels", "unknown prediction space 'pixels'"),
        ("power-law:alpha=-1", "alpha must be > -1"),
        ("cfg-zero-star:zero_steps=1.5", "must be a whole number"),
        ("cfg:phi=1", "unknown key of rule 'cfg' 'phi'"),
        ("mine.json", "rule file mine.json: no such file"),
        ("mine.safetensors", "no such file: mine.safetensors"),
        ("set-point:rate=0", "rate must be > 0"),
        ("pmc:limit=0.9", "limit must be >= 1"),
        ("fbg:prior=1", "prior must lie between 0 and 1"),
    ],
)
def test_mistakes_are_explained_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rule(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_are_strict(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"type": "Projected", "etta": 1}')
    with pytest.raises(ConfigError, match=r"mine\.json: unknown key of Projected 'etta'; did you mean 'eta'"):
        parse_rule(str(path))


def test_a_rule_that_cannot_be_found_again_has_no_text() -> None:
    class Mine(LinearCFG):
        pass

    with pytest.raises(ConfigError, match=r"Mine has no text: .* put it in a module, or register it"):
        format_rule(Mine())
    assert shown_rule(Mine()) == "Mine"


def test_every_rule_declares_itself() -> None:
    named: Mapping[str, type[Rule]] = {cls.name: cls for cls in RULES.values()}
    assert set(named) == {
        "cfg",
        "rescale",
        "power-law",
        "apg",
        "cfg-zero-star",
        "cfg++",
        "pmc",
        "fbg",
        "set-point",
        "hold-posterior",
    }
    assert {name for name, cls in named.items() if cls.is_linear} == {"cfg", "cfg++"}
    assert {name: cls().space for name, cls in named.items()} == {
        "cfg": "denoised",
        "rescale": "noise",
        "power-law": "score",
        "apg": "denoised",
        "cfg-zero-star": "velocity",
        "cfg++": "denoised",
        **dict.fromkeys(("pmc", "fbg", "set-point", "hold-posterior"), "denoised"),
    }
