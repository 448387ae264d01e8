"""Cells of an audit: what is kept of images, by schedule and prompt, named by what determines it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orthoscope.audits.cells import ImageCells
from orthoscope.guidance.schedules import Constant
from orthoscope.sweeps.cells import Cells, Finished

SPEC, PROMPT = Constant(value=3), "a cat"
SETTING: dict[str, Any] = {"host": {"weights": "ab"}, "seed": 0, "steps": 30, "images": 4}
COST = {"network_calls": 16, "seconds": 0.1, "memory": 2.0**33}


@pytest.fixture
def cells(tmp_path: Path) -> ImageCells:
    return ImageCells(store=Cells(tmp_path / "cells"), setting=SETTING)


def test_every_part_of_a_cell_is_found_by_schedule_and_prompt(cells: ImageCells, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(4, 5)).astype(np.float32)
    thumbnails = rng.integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)
    probabilities = rng.dirichlet(np.ones(3), 4)
    log = {"sigma": np.array([2.0, 1.0]), "pair_cosine": np.array([np.nan, 1.0])}
    arrays = {"features": features, "thumbnails": thumbnails, "probabilities": probabilities}
    arrays |= {f"log.{name}": values for name, values in log.items()}
    assert not cells.has(SPEC, PROMPT)
    cells.store.write(cells.key(SPEC, PROMPT), Finished(arrays, {"cost": COST}))
    assert cells.has(SPEC, PROMPT)
    assert not cells.has(SPEC, "a dog")
    np.testing.assert_array_equal(cells.features(SPEC, PROMPT), features)
    np.testing.assert_array_equal(cells.thumbnails(SPEC, PROMPT), thumbnails)
    np.testing.assert_array_equal(cells.probabilities(SPEC, PROMPT), probabilities)
    assert cells.cost(SPEC, PROMPT) == COST
    found = cells.log(SPEC, PROMPT)
    assert found.keys() == log.keys()
    for name, values in log.items():
        np.testing.assert_array_equal(found[name], values)


def test_without_a_judge_there_are_no_probabilities(cells: ImageCells) -> None:
    arrays: dict[str, Any] = {"features": np.ones((4, 5)), "thumbnails": np.ones((4, 8, 8, 1), np.uint8)}
    cells.store.write(cells.key(SPEC, PROMPT), Finished(arrays, {"cost": {}}))
    assert cells.probabilities(SPEC, PROMPT) is None
    assert cells.log(SPEC, PROMPT) == {}


def test_everything_that_determines_a_cell_is_in_its_name(cells: ImageCells) -> None:
    changes: list[dict[str, Any]] = [{"host": {"weights": "ac"}}, {"seed": 1}, {"steps": 31}, {"images": 5}]
    keys = [ImageCells(store=cells.store, setting=SETTING | change).key(SPEC, PROMPT) for change in changes]
    keys += [cells.key(SPEC, PROMPT), cells.key(Constant(value=4), PROMPT), cells.key(SPEC, "a dog")]
    assert len(set(keys)) == len(keys)
    reordered = dict(reversed(SETTING.items()))
    assert ImageCells(store=cells.store, setting=reordered).key(SPEC, PROMPT) == cells.key(SPEC, PROMPT)


def test_the_name_is_the_same_in_every_process_and_release(cells: ImageCells) -> None:
    assert cells.key(SPEC, PROMPT) == "8c0c0c3512a99ac9"
