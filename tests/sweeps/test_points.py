"""Points of a study: in order, kept, found again, and the same wherever they are worked on."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from orthoscope.sweeps.execute import Executor
from orthoscope.sweeps.points import FOLDER, PRELOADED, Points

WORKED: list[tuple[int, ...]] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Squares:
    """A study of numbers."""

    offset: int = 0
    bad: int | None = None

    def square(self, number: int) -> dict[str, Any]:
        """One point."""
        WORKED.append((number,))
        if number == self.bad:
            raise ValueError(f"{number} is bad")
        return {"square": number**2 + self.offset, "threads": torch.get_num_threads(), "process": os.getpid()}

    def product(self, one: int, other: int) -> int:
        """One point of another kind."""
        WORKED.append((one, other))
        return one * other


@pytest.fixture(autouse=True)
def nothing_worked() -> None:
    WORKED.clear()


def squares(points: Points, *numbers: int, study: Squares = Squares()) -> list[int]:  # it is frozen
    return [row["square"] for row in points.each(study.square, [(number,) for number in numbers])]


def test_rows_come_in_the_order_of_items() -> None:
    assert squares(Points(), 3, 1, 2, 3) == [9, 1, 4, 9]
    assert WORKED == [(3,), (1,), (2,)]  # what is asked twice is worked on once
    assert Points().each(Squares().product, [(2, 3), (4, 5)]) == [6, 20]
    assert Points().each(Squares().square, []) == []


def test_points_are_kept_and_found_again(tmp_path: Path) -> None:
    kept = Points().kept(tmp_path, anew=False)
    assert squares(kept, 1, 2) == [1, 4]
    assert len(list((tmp_path / FOLDER).iterdir())) == 2
    assert squares(replace(kept), 2, 3, 1) == [4, 9, 1]
    assert WORKED == [(1,), (2,), (3,)]


def test_other_settings_other_work_and_other_code_are_other_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Points().kept(tmp_path, anew=False)
    squares(kept, 1)
    assert squares(kept, 1, study=Squares(offset=5)) == [6]
    assert kept.each(Squares().product, [(1, 1)]) == [1]
    monkeypatch.setattr("orthoscope.sweeps.points.fingerprint", lambda: "another release")
    assert squares(kept, 1) == [1]
    assert WORKED == [(1,), (1,), (1, 1), (1,)]


def test_all_can_be_made_anew(tmp_path: Path) -> None:
    squares(Points().kept(tmp_path, anew=False), 1, 2)
    squares(Points().kept(tmp_path, anew=True), 1, 2)
    assert WORKED == [(1,), (2,), (1,), (2,)]
    assert len(list((tmp_path / FOLDER).iterdir())) == 2


def test_what_the_work_raises_is_raised_and_what_was_finished_stays(tmp_path: Path) -> None:
    kept, study = Points().kept(tmp_path, anew=False), Squares(bad=2)
    with pytest.raises(ValueError, match="2 is bad"):
        squares(kept, 1, 2, 3, study=study)
    with pytest.raises(ValueError, match="2 is bad"):
        squares(kept, 1, 2, 3, study=study)
    assert WORKED == [(1,), (2,), (2,)]


def test_progress_counts_over_all_that_a_study_asks_for(tmp_path: Path) -> None:
    squares(Points().kept(tmp_path, anew=False), 1)
    told: list[tuple[int, int]] = []
    points = Points(progress=lambda done, total: told.append((done, total))).kept(tmp_path, anew=False)
    points.each(Squares().square, [(1,), (2,)], ahead=2)
    points.each(Squares().product, [(1, 2), (3, 4)])
    assert told == [(1, 4), (2, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.slow
def test_workers_find_the_same_on_one_thread_each(tmp_path: Path) -> None:
    with Executor(workers=2, preload=PRELOADED) as executor:
        points = Points(executor=executor).kept(tmp_path, anew=False)
        rows = points.each(Squares().square, [(number,) for number in range(8)])
        with pytest.raises(ValueError, match="2 is bad"):
            squares(points, 1, 2, study=Squares(bad=2))
    assert [row["square"] for row in rows] == squares(Points(), *range(8))
    assert {row["threads"] for row in rows} == {1}
    assert os.getpid() not in {row["process"] for row in rows}
    assert len(list((tmp_path / FOLDER).iterdir())) >= 8
