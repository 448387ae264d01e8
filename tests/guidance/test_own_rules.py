"""Rules of one's own: wrapped, checked, named, written down and read back."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import orthoscope as osc
from orthoscope import registered, serialize
from orthoscope.denoise import ExactDenoiser, FixedLabel
from orthoscope.errors import ConfigError
from orthoscope.guidance.by_row import ByRow
from orthoscope.guidance.guided import Guided, classifier_free
from orthoscope.guidance.rules import (
    RULE_TYPES,
    FunctionRule,
    LinearCFG,
    Rescaled,
    format_rule,
    parse_rule,
    read_rule,
    write_rule,
)
from orthoscope.guidance.rules.given import as_rule
from orthoscope.guidance.rules.grammar import rule_of
from orthoscope.guidance.rules.promise import check_linear
from orthoscope.guidance.schedules import Constant
from orthoscope.prediction import per_row
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.sampling import Exponential, geometric, sample
from orthoscope.targets import mixture
from tests.guidance import mine

HERE = "tests.guidance.mine"
EXACT = ExactDenoiser(
    mixture(torch.tensor([[1.0, 0.0], [-1.0, 0.5], [0.2, -1.4]], dtype=torch.float64), std=0.4)
)  # fmt: skip
X = torch.tensor([[0.3, -0.2], [1.5, 0.4], [-2.0, 0.9], [0.1, 0.1]], dtype=torch.float64)
LEVEL = VarianceExploding().at(0.7)


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Names of this test only."""
    monkeypatch.setattr(registered.RULES, "_things", {})
    monkeypatch.setattr(registered.RULES, "_options", {})
    return


def guided(rule: Any, w: Any = 1.5, **kwargs: Any) -> torch.Tensor:
    return classifier_free(EXACT, w, rule)(X, LEVEL, 0, **kwargs)


# Wrapped


@pytest.mark.parametrize("w", [0.7, 1.5, -0.4, 3.0])
def test_linear_guidance_written_by_hand_is_linear_guidance_bit_for_bit(w: float) -> None:
    assert torch.equal(guided(mine.straight, w), guided(None, w))
    assert torch.equal(guided(mine.Plain, w), guided("cfg", w))
    assert torch.equal(guided(mine.Plain(), w), guided(LinearCFG(), w))


def test_a_built_in_rule_that_is_called_by_hand_is_itself_in_its_own_space() -> None:
    def by_hand(x: Any, level: Any, predictions: Any, w: Any) -> Any:
        return Rescaled(phi=0.7)(x, level, predictions, w, None)[0]

    assert torch.equal(guided(FunctionRule(call=by_hand, space="noise")), guided(Rescaled(phi=0.7)))
    assert not torch.allclose(guided(by_hand), guided(Rescaled(phi=0.7)))  # denoised means unless told otherwise


def test_rows_of_different_strength_are_rows() -> None:
    schedules = ByRow((Constant(value=0.5), Constant(value=2.0)), rows=2)
    found = Guided(main=EXACT, reference=FixedLabel(EXACT), schedule=schedules, rule=mine.straight)(X, LEVEL, 0)
    assert torch.equal(found[:2], guided(None, 0.5)[:2])
    assert torch.equal(found[2:], guided(None, 2.0)[2:])


def test_a_memory_is_kept_from_step_to_step() -> None:
    levels = geometric(VarianceExploding(), 10.0, 5, end=0.01)
    run = [
        sample(classifier_free(EXACT, 0.8, rule), X, levels, step=Exponential(lam=0.0), label=0).x
        for rule in (FunctionRule(call=mine.Inert(eta=-0.5)), "apg:momentum=-0.5,eta=1,space=denoised")
    ]
    torch.testing.assert_close(run[0], run[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "remembers"),
    [
        (lambda x, level, p, w: p["cond"], False),
        (lambda x, level, p, w, scale=2.0: p["cond"], False),
        (lambda x, level, p, w, memory=None: (p["cond"], 7), True),
        (lambda x, level, p, w, kept: (p["cond"], 7), True),
        (lambda *given: given[2]["cond"], False),
    ],
)
def test_a_fifth_parameter_is_a_memory_if_it_must_be_given_or_is_called_so(call: Any, remembers: bool) -> None:
    means = {"cond": X, "uncond": 0 * X}
    found, memory = as_rule(call)(X, LEVEL, means, 1.0, None)
    assert torch.equal(found, X)
    assert memory == (7 if remembers else None)


def test_objects_and_options_say_what_a_rule_is() -> None:
    usual = as_rule(mine.bent)
    assert (usual.space, usual.is_linear, usual.needs) == ("denoised", False, ("cond", "uncond"))
    assert as_rule(mine.Inert()).space == "noise"
    assert as_rule(mine.Plain).is_linear
    assert as_rule(mine.Proper) == mine.Proper()
    osc.rule("mine", space="score", linear=True, needs=["cond", "anchor"])(mine.bent)
    told = as_rule(mine.bent)
    assert (told.space, told.is_linear, told.needs) == ("score", True, ("cond", "anchor"))


def test_further_predictions_are_asked_of_further_denoisers() -> None:
    rule = FunctionRule(call=lambda x, level, p, w: p["cond"] + w * p["anchor"], needs=("cond", "anchor"))
    found = Guided(main=EXACT, reference=EXACT, schedule=2.0, rule=rule, extra={"anchor": FixedLabel(EXACT, 2)})
    assert torch.equal(found(X, LEVEL, 0), EXACT(X, LEVEL, 0) + 2.0 * EXACT(X, LEVEL, 2))
    with pytest.raises(ConfigError, match="needs anchor; pass it in `extra`"):
        guided(rule)


def test_rules_survive_copies_and_workers() -> None:
    for rule in (as_rule(mine.bent), as_rule(mine.Inert(eta=0.25)), mine.Proper(eta=2.0)):
        assert pickle.loads(pickle.dumps(rule)) == copy.deepcopy(rule) == rule
        assert hash(rule) == hash(copy.copy(rule))


# Checked


def wrong_shape(x: Any, level: Any, predictions: Any, w: Any) -> Any:
    return predictions["cond"][:, :1]


def not_a_number(x: Any, level: Any, predictions: Any, w: Any) -> Any:
    return predictions["cond"] * np.nan


def integers(x: Any, level: Any, predictions: Any, w: Any) -> Any:
    return predictions["cond"].long()


def nothing(x: Any, level: Any, predictions: Any, w: Any) -> Any:
    return None


def undeclared(x: Any, level: Any, predictions: Any, w: Any) -> Any:
    return predictions["anchor"]


def forgetful(x: Any, level: Any, predictions: Any, w: Any, memory: Any) -> Any:
    return predictions["cond"]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (wrong_shape, r"expected a prediction of shape \(4, 2\), got \(4, 1\)"),
        (not_a_number, "at variance time 0.7 what is no prediction: expected finite numbers, got NaN"),
        (integers, "expected a floating-point tensor, got a tensor of torch.int64"),
        (nothing, "expected a floating-point tensor, got NoneType"),
        (undeclared, "failed: KeyError: 'anchor'"),
        (forgetful, "expected a pair: the prediction and the memory"),
    ],
)
def test_what_is_no_prediction_is_refused_in_one_line_that_names_the_rule(rule: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        guided(rule)
    assert f"the rule {rule.__name__} " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda x, w: x, r"a rule is called with \(x, level, predictions, w\)"),
        (3, "a `rule` is a text such as"),
        (object, "a `rule` is called with predictions"),
    ],
)
def test_what_is_no_rule_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        as_rule(given)


def test_a_bent_rule_does_not_meet_an_absorbed_target() -> None:
    narrow = classifier_free(ExactDenoiser(EXACT.target.absorbed()[0]), 1.0, mine.bent)
    with pytest.raises(ConfigError, match="bent is not linear: it needs the target's own denoised mean"):
        narrow(X, NoiseLevel(time=0.7, offset=0.16), 0)


# Named, written down and read back


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (f"{HERE}:straight", f"{HERE}:straight"),
        (f"{HERE}:straight:linear=true", f"{HERE}:straight:linear=true"),
        (f"{HERE}:straight:space=denoised,linear=false", f"{HERE}:straight"),
        (f"{HERE}:bent:space=score,needs=cond/anchor", f"{HERE}:bent:space=score,needs=cond/anchor"),
        (f"{HERE}:Inert", f"{HERE}:Inert:eta=0.5,turns=2,space=noise"),
        (f"{HERE}:Inert:eta=25%,turns=3,space=score", f"{HERE}:Inert:eta=0.25,turns=3,space=score"),
        (f"{HERE}:Plain", f"{HERE}:Plain"),
        (f"{HERE}:Proper", f"{HERE}:Proper"),
        (f"{HERE}:Proper:eta=2", f"{HERE}:Proper:eta=2"),
    ],
)
def test_places_are_texts(text: str, written: str, tmp_path: Path) -> None:
    rule = parse_rule(text)
    assert format_rule(rule) == written
    again = [parse_rule(written), serialize.from_dict(serialize.to_dict(rule), RULE_TYPES)]
    write_rule(rule, tmp_path / "mine.json")
    again.append(read_rule(tmp_path / "mine.json"))
    if "Plain" in text:  # an object without settings is equal to itself only
        assert all(type(one.call) is mine.Plain and one.is_linear for one in again)
    else:
        assert again == [rule] * 3


def test_what_stands_in_a_file() -> None:
    assert serialize.to_dict(as_rule(mine.Inert(eta=0.25))) == {
        "type": "FunctionRule", "version": 1, "place": f"{HERE}:Inert",
        "settings": {"eta": 0.25, "turns": 2, "space": "noise"},
        "space": "noise", "linear": False, "needs": ["cond", "uncond"],
    }  # fmt: skip
    assert serialize.to_dict(mine.Proper(eta=2.0)) == {"type": f"{HERE}:Proper", "version": 1, "eta": 2.0}


def test_registered_names_are_texts_with_settings() -> None:
    assert osc.rule("halved", space="noise")(mine.bent) is mine.bent
    assert osc.rule(mine.Inert) is mine.Inert
    osc.rule("quick")(scale := lambda x, level, p, w: p["cond"])
    assert parse_rule("Halved") == FunctionRule(call=mine.bent, space="noise")
    assert parse_rule("halved:space=score").space == "score"
    assert parse_rule("inert:eta=0.1") == as_rule(mine.Inert(eta=0.1))
    assert format_rule(parse_rule("quick")) == "quick"  # a lambda has no place, but a name
    assert serialize.from_dict(serialize.to_dict(as_rule(scale)), RULE_TYPES) == as_rule(scale)
    with pytest.raises(ConfigError, match="unknown rule 'halve'; did you mean 'halved'"):
        parse_rule("halve")
    with pytest.raises(ConfigError, match="unknown key of rule 'Inert' 'eat'; did you mean 'eta'"):
        parse_rule("inert:eat=1")
    with pytest.raises(ConfigError, match=r"turns must be a whole number, got '1\.5'"):
        parse_rule("inert:turns=1.5")


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_found_again_is_refused_where_it_is_written(tmp_path: Path) -> None:
    class Kept:
        def __init__(self) -> None:
            self.scale = 2.0

        def __call__(self, x: Any, level: Any, predictions: Any, w: Any) -> Any:
            return predictions["cond"]

    for given in (lambda x, level, p, w: p["cond"], Kept(), mine.Plain().__call__):
        for write in (format_rule, serialize.dumps, lambda rule: write_rule(rule, tmp_path / "no.json")):
            with pytest.raises(ConfigError, match="has no text") as caught:
                write(as_rule(given))
            assert "\n" not in str(caught.value)
    assert not (tmp_path / "no.json").exists()


def test_a_file_imports_no_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "unseen_rules.py").write_text("def calm(x, level, p, w):\n    return p['cond']\n")
    file = tmp_path / "calm.json"
    file.write_text('{"type": "FunctionRule", "place": "unseen_rules:calm"}')
    for read in (lambda: read_rule(file), lambda: rule_of("unseen_rules:calm", imports=False)):
        with pytest.raises(ConfigError, match=r"import unseen_rules first, in Python or by `orthoscope --imp"):
            read()
    assert parse_rule("unseen_rules:calm") == read_rule(file)  # a text may, and then it is there


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type": "subprocess:Popen", "args": "ls"}', "unknown type 'subprocess:Popen'"),
        ('{"type": "FunctionRule", "place": "subprocess:Popen", "settings": {"args": "ls"}}', "cannot be called"),
        ('{"type": "FunctionRule", "place": "functools:partial", "settings": {"func": "ls"}}', "is no dataclass"),
        ('{"type": "FunctionRule", "place": "tests.guidance.mine:gone"}', "there is no rule 'gone' in the module"),
        ('{"type": "FunctionRule", "place": "gone"}', "unknown rule 'gone'"),
        ('{"type": "FunctionRule", "plaice": "gone"}', "unknown key of FunctionRule 'plaice'; did you mean 'place'"),
    ],
)
def test_a_file_makes_nothing_but_rules(text: str, message: str, tmp_path: Path) -> None:
    import subprocess  # noqa: F401 - imported, so that only its kind speaks against it

    (tmp_path / "odd.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_rule(tmp_path / "odd.json")


# Changes in place


def spoiling(x: Any, level: Any, predictions: Any, w: Any) -> Any:
    guided = (1 + w) * predictions["cond"] - w * predictions["uncond"]
    for tensor in (x, *predictions.values()):
        tensor.zero_()
    if np.ndim(level.time):
        level.time[:] = 0
    return guided


class Spoiling(mine.Proper):
    """The same as a rule of the package's own kind."""

    def __call__(self, x: Any, level: Any, predictions: Any, w: Any, memory: Any) -> tuple[Any, Any]:
        return spoiling(x, level, predictions, per_row(w, x)), memory


@pytest.mark.parametrize("rule", [spoiling, Spoiling()])
def test_a_rule_that_changes_its_inputs_in_place_changes_nothing_of_the_run(rule: Any) -> None:
    x, level = X.clone(), NoiseLevel(time=np.full(4, 0.7))
    found = classifier_free(EXACT, 1.5, rule)(x, level, 0)
    torch.testing.assert_close(found, classifier_free(EXACT, 1.5)(X, NoiseLevel(time=np.full(4, 0.7)), 0))
    assert torch.equal(x, X)
    assert (level.time == 0.7).all()


def test_a_run_is_the_same_with_a_rule_that_changes_its_inputs_in_place() -> None:
    grid = geometric(VarianceExploding(), 5.0, 6, end=0.01)
    first, second = (
        sample(classifier_free(EXACT, 1.5, rule), X, grid, step=Exponential(lam=0.0), label=0).x
        for rule in (spoiling, mine.straight)
    )
    torch.testing.assert_close(first, second)


# Files


@pytest.mark.parametrize(
    "given", [None, "rescale:phi=0.7", mine.straight, mine.Inert, mine.Inert(eta=0.1), mine.Proper(eta=2)]
)
def test_whatever_is_a_rule_is_written_and_read_back(given: Any, tmp_path: Path, unchecked: None) -> None:
    path = str(tmp_path / "mine.json")
    write_rule(given, path)
    assert read_rule(path) == as_rule(path) == as_rule(given)


@pytest.mark.parametrize("given", [lambda x, level, predictions, w: x, object(), 3, "nothing"])
def test_what_cannot_be_read_back_is_not_written(given: Any, tmp_path: Path, unchecked: None) -> None:
    with pytest.raises(ConfigError, match=r"^this rule cannot be written down: ") as told:
        write_rule(given, tmp_path / "mine.json")
    assert "\n" not in str(told.value)
    assert not (tmp_path / "mine.json").exists()


@pytest.mark.parametrize("given", [5, None, LinearCFG()])
def test_what_is_no_text_is_told_in_one_line(given: Any, unchecked: None) -> None:
    with pytest.raises(ConfigError, match=rf"^a rule as text is expected.* got {type(given).__name__}$"):
        parse_rule(given)


# What decorators refuse where they are written


class Uncallable:
    """Its objects cannot be called."""


class Short:
    """Its objects take too little."""

    def __call__(self, x: Any, level: Any) -> Any:
        return x


@pytest.mark.parametrize(
    ("thing", "told"),
    [
        (lambda x, level: x, r"^a rule is called with .*; .*<lambda> takes \(x, level\)$"),
        (Short, r"; Short takes \(x: 'Any', level: 'Any'\) -> 'Any'$"),
        (Short(), r"; Short takes \(x: 'Any', level: 'Any'\) -> 'Any'$"),
        (Uncallable, r"^Uncallable is no rule: its objects cannot be called$"),
    ],
)
def test_what_takes_no_predictions_is_refused_by_the_decorator(thing: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        osc.rule("mine")(thing)
    assert "mine" not in registered.RULES


@pytest.mark.parametrize(
    "thing", [mine.straight, mine.Plain, mine.Plain(), mine.Inert, mine.Proper, lambda *all: all[0]]
)
def test_what_takes_predictions_is_registered(thing: Any) -> None:
    assert osc.rule("mine")(thing) is thing
    assert "mine" in registered.RULES


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"space": "nois"}, r"^unknown prediction space 'nois'; did you mean 'noise'\?$"),
        ({"linear": "yes"}, r"^`linear` must be True or False, got 'yes'$"),
        ({"needs": "cond"}, r"^`needs` is a list of names of predictions, got 'cond'$"),
        ({"needs": [1]}, r"^`needs` is a list of names of predictions, got \[1\]$"),
    ],
)
def test_options_that_cannot_be_are_refused_by_the_decorator(options: Any, told: str, unchecked: None) -> None:
    with pytest.raises(ConfigError, match=told):
        osc.rule("mine", **options)


# One line


def test_an_error_of_several_lines_is_told_in_one() -> None:
    def failing(x: Any, level: Any, predictions: Any, w: Any) -> Any:
        raise RuntimeError("one\ntwo\n  three")

    with pytest.raises(ConfigError, match=r"failing failed: RuntimeError: one two three$"):
        guided(failing)


def test_objects_are_told_by_their_type(unchecked: None) -> None:
    with pytest.raises(ConfigError, match=r"or a rule, got ndarray$"):
        as_rule(np.ones((40, 40)))


# The promise to be linear


@pytest.mark.parametrize("w", [0.0, 1.5, -1.0, 1000.0, np.array([0.0, 1.0, 30.0, -1.0])])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_a_rule_that_is_linear_keeps_its_promise(w: Any, dtype: Any) -> None:
    parts = {name: EXACT(X, LEVEL, label).to(dtype) for name, label in (("cond", 0), ("uncond", None))}
    calls = []

    def counted(x: Any, level: Any, predictions: Any, w: Any) -> Any:
        calls.append(1)
        return mine.straight(x, level, predictions, w)

    made = FunctionRule(call=counted, is_linear=True)
    for _ in range(3):
        found, _ = made(X.to(dtype), LEVEL, parts, w, None)
        assert torch.equal(found, mine.straight(X, LEVEL, parts, per_row(w, X.to(dtype))))
    assert len(calls) == 3 + 4  # tried once


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda x, level, p, w: p["cond"] + w * p["uncond"], "the weights must add up to 1; leave out `linear`"),
        (lambda x, level, p, w: p["cond"] + 0.5 * x, None),
        (lambda x, level, p, w: p["cond"] + w * (p["cond"] - p["uncond"]) ** 3, "it is not linear in the predictions"),
        (lambda x, level, p, w: p["cond"] + w * (p["cond"] - p["uncond"]).abs(), "it is not linear in the predictions"),
        (lambda x, level, p, w: p["cond"] + 1.0, "it is not linear in the predictions"),
    ],
)
def test_a_rule_that_is_not_linear_is_refused_in_one_line(call: Any, told: str | None) -> None:
    rule = FunctionRule(call=call, is_linear=True)
    with pytest.raises(ConfigError, match=told or "not linear") as found:
        guided(rule)
    assert str(found.value).startswith("the rule ")
    assert "\n" not in str(found.value)
    guided(FunctionRule(call=call))  # as a rule that bends it is one


class Declared(osc.Rule):
    """A rule of a class of its own that says that it is linear, and bends by `bend` or remembers by `keep`."""

    is_linear = True

    def __init__(self, bend: float = 0.0, keep: float = 0.0) -> None:
        self.bend, self.keep = bend, keep

    def __call__(self, x: Any, level: Any, predictions: Any, w: Any, memory: Any) -> Any:
        gap = predictions["cond"] - predictions["uncond"]
        past = 0.0 if memory is None else memory
        return predictions["cond"] + per_row(w, x) * (gap + self.bend * gap.abs()) + self.keep * past, gap


def test_a_class_that_says_it_is_linear_is_tried_once_and_refused_where_it_is_not() -> None:
    straight = Declared()
    torch.testing.assert_close(guided(straight), guided("cfg"))
    for wrong, told in ((Declared(bend=0.1), "not linear in the predictions"), (Declared(keep=0.1), "remembers")):
        with pytest.raises(ConfigError, match=told) as found:
            guided(wrong)
        assert str(found.value).startswith("the rule Declared was said to be linear")


@pytest.mark.parametrize(
    "name", ["cfg", "rescale:phi=0.7", "power-law", "cfg-zero-star:zero_steps=0", "apg:eta=0", "cfg++"]
)
def test_rules_of_the_package_are_what_they_say(name: str) -> None:
    rule = parse_rule(name).resolved([0.7, 0.3])
    asked = [key for key in rule.needs if key in ("cond", "uncond")]

    def ask(parts: Any, memory: Any) -> Any:
        return rule(X, LEVEL, parts, 1.5, memory)

    parts = {key: EXACT(X, LEVEL, label) for key, label in (("cond", 0), ("uncond", None)) if key in asked}
    if rule.is_linear:
        check_linear(name, ask, parts, 1.5)
    else:
        with pytest.raises(ConfigError, match="was said to be linear"):
            check_linear(name, ask, parts, 1.5)
