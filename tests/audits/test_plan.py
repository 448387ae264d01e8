"""Plans of audits: what is filled in, what is refused, and prompts from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orthoscope.audits.plan import Audit, role_of
from orthoscope.errors import ConfigError
from orthoscope.integrations.prompts import read_prompts
from orthoscope.serialize import content_hash

DIGITS = tuple(map(str, range(10)))
WINDOW = "step:early=3,late=-1,switch=60%"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"schedules": ("constant:3", "constant:3.0")}, "schedule 'constant:3' is given twice"),
        ({"schedules": (WINDOW, "step:early=3,late=-1,switch=0.6,clock=step")}, "is given twice"),
        ({"schedules": ("constnat:3",)}, "did you mean 'constant'"),
        ({"prompts": ("a cat", " a cat ")}, "prompt 'a cat' is given twice"),
        ({"prompts": ("a cat", " ")}, "a prompt is empty"),
        ({"images_per_prompt": 1}, "images-per-prompt must be at least 2, or nothing can vary; got 1"),
        ({"tolerance": float("inf")}, "tolerance .* must be finite and >= 0, got inf"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"size": 0}, "must be at least 1, got 0"),
        ({"rule": "cgf"}, "did you mean 'cfg'"),
        ({"features": "latents"}, "did you mean 'latent'"),
        ({"features_model": "some/folder"}, "use no network"),
        ({"current": "constant:x"}, "must be a number"),
    ],
)
def test_what_says_nothing_is_refused_in_one_line(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Audit(**given)
    assert "\n" not in str(caught.value)


def test_equal_plans_written_differently_are_one() -> None:
    one = Audit(schedules=("constant:3.0", WINDOW), rule="cfg", prompts=(" a cat",))
    two = Audit(schedules=("constant:3", "step:early=3,late=-1,switch=0.6,clock=step"), prompts=("a cat",))
    assert one == two
    assert content_hash(one) == content_hash(two)


def test_the_embedded_model_needs_nothing_said() -> None:
    remarks: list[str] = []
    plan = Audit().completed(DIGITS, remarks.append)
    assert plan.prompts == DIGITS
    assert plan.images_per_prompt == 40
    assert plan.search
    assert plan.schedules[0] == "constant:0"
    assert plan.current == "constant:3"
    assert {role_of(spec) for spec in plan.schedules} == {"reference", "constant", "window"}
    assert remarks == []
    assert plan.completed(None) == plan


def test_a_model_of_ones_own_needs_prompts() -> None:
    audit = Audit(model="some/folder")
    with pytest.raises(ConfigError, match="give --prompts FILE"):
        audit.completed(None)
    plan = Audit(model="some/folder", prompts=("a cat",)).completed(None)
    assert plan.images_per_prompt == 20
    assert plan.search is False
    assert plan.schedules[0] == "constant:0"


def test_the_reference_comes_first_and_the_schedule_in_use_is_added() -> None:
    remarks: list[str] = []
    audit = Audit(schedules=(WINDOW, "constant:2"), current="constant:7.0", images_per_prompt=2)
    plan = audit.completed(DIGITS, remarks.append)
    assert plan.schedules == ("constant:0", *audit.schedules, "constant:7")
    assert plan.current == "constant:7"
    assert [text.split()[0] for text in remarks] == ["2", "constant:0", "constant:7,"]


def test_the_schedule_in_use_is_the_strongest_constant_one() -> None:
    assert Audit(schedules=(WINDOW, "constant:1", "constant:-1")).completed(DIGITS).current == "constant:1"
    assert Audit(schedules=(WINDOW,)).completed(DIGITS).current == "constant:0"


def test_quick_is_off_on_waiting_and_turning_and_nothing_more_unless_said() -> None:
    quick = Audit.quick().completed(DIGITS)
    waiting, turning = "step:early=0,late=3,switch=0.5,clock=step", "step:early=3,late=-1,switch=0.6,clock=step"
    assert quick.schedules == ("constant:0", "constant:3", waiting, turning)
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
    with pytest.raises(ConfigError, match="cannot read"):
        read_prompts(tmp_path)
