"""Names and places of what users bring along."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from orthoscope.errors import ConfigError
from orthoscope.registered import RULES, SCHEDULES, STEPS, TARGETS, Registry, import_named, place_of
from orthoscope.sampling.steps import Multistep


def thing() -> None:
    pass


def other() -> None:
    pass


@pytest.fixture
def registry() -> Registry:
    made = Registry("rule")
    made.taken = frozenset({"cfg"})
    return made


def test_a_name_is_given_once(registry: Registry) -> None:
    registry.add("Mine", thing, space="noise")
    assert registry["mine"] is registry["MINE"] is thing
    assert registry.options(thing) == {"space": "noise"}
    registry.add("mine", thing)
    assert registry.options(thing) == {}
    for name in ("mine", "cfg"):
        with pytest.raises(ConfigError, match=f"the rule '{name}' exists already; choose another name"):
            registry.add(name, other)
    for name in ("a:b", "", "mine.json", "a,b", "a/b", "a=b"):
        with pytest.raises(ConfigError, match="the name of a rule is made of letters"):
            registry.add(name, other)
    with pytest.raises(ConfigError, match="unknown rule 'mime'; did you mean 'mine'"):
        registry["mime"]


def test_a_cell_of_a_notebook_may_run_again(registry: Registry) -> None:
    def define(answer: int) -> Any:
        def again() -> int:
            return answer

        return again

    first, second = define(1), define(2)
    registry.add("again", first, space="noise")
    registry.add("again", second)
    assert registry["again"] is second
    assert registry.options(first) == registry.options(second) == {}


def entered(registry: Registry, name: str, value: str) -> None:
    registry.__dict__["_entries"] = {name: EntryPoint(name=name, value=value, group="orthoscope.rules")}


def test_an_entry_point_is_loaded_when_it_is_asked_for(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "from_a_package.py").write_text("class Brought:\n    pass\n")
    entered(registry, "brought", "from_a_package:Brought")
    assert "brought" in registry.names()
    assert "from_a_package" not in sys.modules
    # A file may name it, by name or by place, and then its module is imported.
    assert registry.at("from_a_package:Brought", imports=False) is registry["brought"]
    assert registry.text(registry["brought"]) == "from_a_package:Brought"
    entered(registry, "gone", "no_such_package:Gone")
    with pytest.raises(ConfigError, match="the package that brings the rule 'gone' is broken"):
        registry["gone"]


def test_every_kind_has_its_group() -> None:
    assert [one.kind for one in (RULES, SCHEDULES, TARGETS, STEPS)] == ["rule", "schedule", "target", "step"]
    assert STEPS.thing("orthoscope.sampling.steps:Multistep") is Multistep
    with pytest.raises(ConfigError, match="unknown target 'gaussian'"):
        TARGETS.thing("gaussian")
    with pytest.raises(ConfigError, match=r"there is no step 'Leap' in the module orthoscope\.sampling\.steps"):
        STEPS.thing("orthoscope.sampling.steps:Leap")


def test_a_place_is_where_a_thing_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place_of(thing) == f"{__name__}:thing"
    assert place_of(lambda: None) is None
    assert place_of(Multistep(lam=0.0)) is None
    assert place_of(Multistep.__call__) == "orthoscope.sampling.steps:Multistep.__call__"
    monkeypatch.setattr(thing, "__module__", "__main__")
    assert place_of(thing) is None


def test_modules_that_cannot_be_imported_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_one.py").write_text("1 / 0\n")
    (tmp_path / "lacking_one.py").write_text("import no_such_module_at_all\n")
    (tmp_path / "good_one.py").write_text("answer = 42\n")
    import_named(["good_one"])
    assert sys.modules["good_one"].answer == 42
    for module, message in (
        ("broken_one", "the module broken_one cannot be imported: ZeroDivisionError: division by zero"),
        ("lacking_one", "the module lacking_one cannot be imported: No module named 'no_such_module_at_all'"),
        ("absent_one", "there is no module 'absent_one'"),
    ):
        with pytest.raises(ConfigError, match=message):
            import_named([module])


@pytest.mark.parametrize("text", ["absent_one:rule", "absent_one.inner:rule:eta=1"])
def test_a_text_that_is_neither_name_nor_place_says_so(registry: Registry, text: str) -> None:
    with pytest.raises(ConfigError, match=r"unknown rule 'absent_one.*'; known: cfg; nor is there a module 'abs"):
        registry.find(text)
    assert registry.find("absent_one:eta=1") is None
