"""Code of one's own that was edited is noticed wherever finished work is kept."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import orthoscope as osc
from orthoscope.audits.cells import ImageCells
from orthoscope.audits.generate import Order
from orthoscope.errors import ConfigError
from orthoscope.guidance.given import as_schedule
from orthoscope.guidance.rules.given import as_rule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.serialize import content_hash, to_dict
from orthoscope.sources import code_of
from orthoscope.sweeps.cells import Cells
from orthoscope.sweeps.file import read_study
from orthoscope.sweeps.points import Points
from orthoscope.sweeps.run import run_sweep
from orthoscope.sweeps.store import read
from tests.guidance import mine

Edit = Callable[[str], ModuleType]
SCHEDULE = "def fading(level):\n    return {} / (1 + level.time)\n"
RULE = "def pulled(x, level, predictions, w):\n    return predictions['cond'] * {}\n"


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Edit]:
    """Write the source of the module `edited`, and import it anew."""
    folder = tmp_path / "code"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def written(source: str) -> ModuleType:
        (folder / "edited.py").write_text(source, encoding="utf-8")
        importlib.invalidate_caches()
        sys.modules.pop("edited", None)
        return importlib.import_module("edited")

    yield written
    sys.modules.pop("edited", None)


def test_what_is_edited_has_another_identity_and_the_same_text(edit: Edit) -> None:
    hashes, written = [], []
    for number in (1, 1, 22):
        one = as_schedule(edit(SCHEDULE.format(number)).fading)
        hashes.append(content_hash(one))
        written.append(to_dict(one))
    assert hashes[0] == hashes[1] != hashes[2]
    assert written[0] == written[2]
    first, other = (content_hash(as_rule(edit(RULE.format(number)).pulled)) for number in (1, 22))
    assert first != other


def test_a_file_edited_after_its_import_changes_nothing(edit: Edit) -> None:
    module = edit(SCHEDULE.format(1))
    first = as_schedule(module.fading)
    Path(str(module.__file__)).write_text(SCHEDULE.format(22), encoding="utf-8")
    assert first.identity() == as_schedule(edit(SCHEDULE.format(1)).fading).identity()


def test_what_is_the_packages_has_none() -> None:
    assert as_schedule(3.0).identity() is as_rule("rescale:phi=0.7").identity() is None
    assert "identity" not in to_dict(as_schedule(3.0), identified=True)


def test_classes_objects_and_partial_functions_have_that_of_their_code() -> None:
    assert code_of(mine.Decay(rate=2.0)) == code_of(mine.Decay)
    assert code_of(partial(mine.fading)) == code_of(mine.fading)
    assert len({code_of(one) for one in (mine.Decay, mine.fading, mine.stepped, mine.Sloped, mine.Proper)}) == 5

    class Heir(mine.Decay):
        pass

    assert code_of(Heir) != code_of(mine.Decay)


def test_without_source_the_compiled_code_counts() -> None:
    def made(source: str) -> Any:
        space: dict[str, Any] = {"__name__": "nowhere"}
        exec(source, space)
        return space["fading"]

    first, same, other = (made(SCHEDULE.format(number)) for number in (1, 1, 22))
    assert code_of(first) == code_of(same) != code_of(other)
    first, other = (made(f"class fading:\n    def __call__(self, level): return {number}") for number in (1, 22))
    assert code_of(first) != code_of(other)


STUDY = """
[study]
source = "theory"
[axes]
schedule = ["edited:fading", "constant:1"]
rate = [{}]
[fixed]
std = 0.5
t_max = 20.0
[measure]
quantities = ["mean_shift"]
"""


def test_a_sweep_of_a_schedule_that_was_edited_is_refused(tmp_path: Path, edit: Edit) -> None:
    def swept(rates: str) -> Any:
        path = tmp_path / "study.toml"
        path.write_text(STUDY.format(rates), encoding="utf-8")
        return run_sweep(read_study(path).plan, tmp_path / "out")

    edit(SCHEDULE.format(1))
    assert swept("2.0").computed == 2
    before = read(tmp_path / "out")["mean_shift"].values
    edit("# elsewhere\n\n" + SCHEDULE.format(1))
    assert swept("2.0").reused == 2
    edit(SCHEDULE.format(22))
    for rates in ("2.0", "2.0, 3.0"):
        with pytest.raises(
            ConfigError, match=r"holds results of an earlier edited:fading, whose code was edited since"
        ):
            swept(rates)
    assert (read(tmp_path / "out")["mean_shift"].values == before).all()
    edit(SCHEDULE.format(1))
    assert swept("2.0, 3.0").reused == 2


def test_cells_of_an_audit_are_those_of_the_code(tmp_path: Path, edit: Edit) -> None:
    cells = ImageCells(store=Cells(tmp_path), setting={})
    keys = [cells.key(as_schedule(edit(SCHEDULE.format(number)).fading), "a cat") for number in (1, 1, 22)]
    assert keys[0] == keys[1] != keys[2]
    rules = (as_rule(edit(RULE.format(number)).pulled) for number in (1, 1, 22))
    orders = [Order(rule=rule, steps=3, size=None, seed=0, images=2).setting for rule in rules]
    assert orders[0] == orders[1] != orders[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strengths:
    """A study of one schedule."""

    schedule: GuidanceSchedule

    def strength(self, time: float) -> float:
        """One point."""
        return float(self.schedule.strength(osc.NoiseLevel(time=time)))


def test_points_of_a_study_are_those_of_the_code(tmp_path: Path, edit: Edit) -> None:
    points = Points().kept(tmp_path, anew=False)
    for number in (1, 22):
        study = Strengths(schedule=as_schedule(edit(SCHEDULE.format(number)).fading))
        assert points.each(study.strength, [(1.0,)]) == [number / 2]
