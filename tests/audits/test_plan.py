"""Plans of audits: what is filled in, what is refused, and prompts from files."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from orthoscope.audits.plan import Audit, role_of
from orthoscope.errors import ConfigError
from orthoscope.guidance.grammar import parse_schedule
from orthoscope.guidance.rules import LinearCFG, Rescaled
from orthoscope.guidance.schedules import Constant, Step
from orthoscope.integrations.host import Host, host_of
from orthoscope.integrations.prompts import read_prompts
from orthoscope.serialize import content_hash, dumps
from tests.integrations import pipelines

DIGITS = tuple(map(str, range(10)))
WINDOW = Step(early=3, late=-1, switch=0.6, clock="step")


def digits() -> Host:
    return host_of(pipelines.digits(), "digits")


def other() -> Host:
    return host_of(pipelines.stable_diffusion(), "other")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"schedules": (Constant(value=3), Constant(value=3.0))}, "schedule 'constant:3' is given twice"),
        ({"schedules": (WINDOW, Step(early=3, late=-1, switch=0.6, clock="step"))}, "is given twice"),
        ({"prompts": ("a cat", " a cat ")}, "prompt 'a cat' is given twice"),
        ({"prompts": ("a cat", " ")}, "a prompt is empty"),
        ({"images_per_prompt": 1}, "`images_per_prompt` must be at least 2, or nothing can vary; got 1"),
        ({"tolerance": float("inf")}, "tolerance .* must be finite and >= 0, got inf"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"size": 0}, "must be at least 1, got 0"),
        ({"features": "latents"}, "did you mean 'latent'"),
        ({"features_model": "some/folder"}, "use no network"),
    ],
)
def test_what_says_nothing_is_refused_in_one_line(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Audit(**given)
    assert "\n" not in str(caught.value)


def test_equal_plans_written_differently_are_one() -> None:
    one = Audit(schedules=(Constant(value=3.0), WINDOW), rule=LinearCFG(), prompts=(" a cat",))
    two = Audit(schedules=(Constant(value=3), parse_schedule("step:early=3,late=-1,switch=0.6,clock=step")),
                prompts=("a cat",))  # fmt: skip
    assert one == two
    assert content_hash(one.texts) == content_hash(two.texts)


def test_settings_are_written_as_texts() -> None:
    plan = Audit(schedules=(WINDOW,), current=Constant(value=1), rule=Rescaled(phi=0.5))
    assert plan.texts["schedules"] == ["step:early=3,late=-1,switch=0.6,clock=step"]
    assert (plan.texts["current"], plan.texts["rule"]) == ("constant:1", "rescale:phi=0.5")
    assert Audit().texts["current"] is None
    assert json.loads(dumps(plan.texts)).keys() == {field.name for field in fields(plan)} | {"type", "version"}


def test_the_digits_model_needs_nothing_said() -> None:
    remarks: list[str] = []
    plan = Audit().completed(digits(), remarks.append)
    assert plan.prompts == DIGITS
    assert plan.images_per_prompt == 40
    assert plan.search
    assert plan.schedules[0] == Constant(value=0)
    assert plan.current == Constant(value=3)
    assert {role_of(schedule) for schedule in plan.schedules} == {"reference", "constant", "window"}
    assert remarks == []
    assert plan.completed(digits()) == plan


def test_another_model_needs_prompts() -> None:
    audit = Audit(model="some/folder")
    with pytest.raises(ConfigError, match="give `prompts` FILE"):
        audit.completed(other())
    plan = Audit(model="some/folder", prompts=("a cat",)).completed(other())
    assert plan.images_per_prompt == 20
    assert plan.search is False
    assert plan.schedules[0] == Constant(value=0)


def test_the_reference_comes_first_and_the_schedule_in_use_is_added() -> None:
    remarks: list[str] = []
    audit = Audit(schedules=(WINDOW, Constant(value=2)), current=Constant(value=7), images_per_prompt=2)
    plan = audit.completed(digits(), remarks.append)
    assert plan.schedules == (Constant(value=0), *audit.schedules, Constant(value=7))
    assert plan.current == Constant(value=7)
    assert [text.split()[0] for text in remarks] == ["2", "constant:0", "constant:7,"]


def test_the_schedule_in_use_is_the_strongest_constant_one() -> None:
    audit = Audit(schedules=(WINDOW, Constant(value=1), Constant(value=-1)))
    assert audit.completed(digits()).current == Constant(value=1)
    assert Audit(schedules=(WINDOW,)).completed(digits()).current == Constant(value=0)


def test_quick_is_off_on_waiting_ending_and_turning_and_nothing_more_unless_said() -> None:
    quick = Audit.quick().completed(digits())
    waiting = Step(early=0, late=3, switch=0.5, clock="step")
    ending = replace(waiting, early=3, late=0)
    assert quick.schedules == (Constant(value=0), Constant(value=3), waiting, ending, WINDOW)
    assert not quick.search
    assert not quick.match
    assert Audit.quick(images_per_prompt=5, seed=3) == Audit.quick(seed=3, images_per_prompt=5)
    assert Audit.quick(search=True).search


def test_prompts_come_one_per_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes("\ufeff# mine\r\na cat\r\n\r\n  ein schöner Hund \n#a bird\n".encode())
    assert read_prompts(path) == ("a cat", "ein schöner Hund")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"\n# nothing\n  \n", "holds no prompts"),
        (b"\xff\xfe\x00a", "not text in UTF-8"),
        (b"a cat\n" + b"x" * 5000, "line 2: a prompt of more than 4000 characters"),
        (b"a cat\na dog\na cat\n", "'a cat' is given twice"),
    ],
)
def test_files_that_hold_no_prompts(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "prompts.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        read_prompts(path)
    assert "\n" not in str(caught.value)


def test_a_folder_holds_no_prompts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder; expected prompts"):
        read_prompts(tmp_path)
