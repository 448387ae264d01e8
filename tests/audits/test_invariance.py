"""Numbers of an audit follow names: neither the order of prompts or schedules nor a batch's rounding moves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from orthoscope.audits.compare import compared
from orthoscope.audits.contribute import Material
from orthoscope.audits.measure import measured
from orthoscope.guidance.schedules import Constant, GuidanceSchedule
from orthoscope.rng import stream
from tests.audits.cells import GaussianCells, named, parsed

TOY = {
    "constant:0": (0.0, 1.0),
    "constant:3": (0.3, 0.8),
    "step:early=3,late=-1,switch=0.5,clock=step": (0.2, 1.0),
}
ROLES = dict(zip(TOY, ("reference", "constant", "window"), strict=True))
CONFIDENCE = {spec: 0.9 - 0.1 * (spec == "constant:3") for spec in TOY}
REFERENCES = np.random.default_rng(0).standard_normal((40, 6))


@dataclass(frozen=True, kw_only=True, eq=False)
class RoundedCells(GaussianCells):
    """As in batches of another size: other roundings."""

    def features(self, schedule: GuidanceSchedule | str, prompt: str) -> NDArray[np.float32]:
        exact = super().features(schedule, prompt)
        other = stream(1, "rounding", named(schedule), prompt).standard_normal(exact.shape)
        return (exact * (1 + 1e-7 * other)).astype(np.float32)


def numbers(cells: GaussianCells, schedules: Sequence[str], prompts: Sequence[str]) -> xr.Dataset:
    labels = {prompt: number for number, prompt in enumerate(cells.prompts)} if cells.confidence else None
    material = Material(cells=cells, prompts=tuple(prompts), labels=labels)
    roles = dict(zip(parsed(schedules), (ROLES[spec] for spec in schedules), strict=True))
    plain = measured(material, roles, list(prompts), REFERENCES)
    return compared(material, plain, list(roles), current=Constant(value=3)).drop_vars("image")


@pytest.mark.slow
@pytest.mark.parametrize(("count", "images", "confidence"), [(4, 4, CONFIDENCE), (10, 4, {})])
def test_the_order_of_prompts_and_schedules_changes_no_bit(
    count: int, images: int, confidence: dict[str, float]
) -> None:
    names = tuple(f"prompt {k}" for k in range(count))
    cells = GaussianCells(toy=TOY, images=images, apart=4.0, prompts=names, confidence=confidence)
    first = numbers(cells, list(TOY), names)
    assert first.prompt.values.tolist() == list(names)
    shuffled = [str(name) for name in np.random.default_rng(2).permutation(names)]
    other = numbers(cells, [*list(TOY)[:1], *list(TOY)[:0:-1]], shuffled)
    assert other.prompt.values.tolist() == shuffled
    again = other.sel(schedule=list(TOY), prompt=list(names))
    for name in first.data_vars:
        np.testing.assert_array_equal(again[name], first[name], err_msg=str(name))


def test_another_schedule_changes_no_other() -> None:
    cells = GaussianCells(toy=TOY, images=4, apart=4.0, confidence=CONFIDENCE)
    first, fewer = (numbers(cells, specs, cells.prompts) for specs in (list(TOY), list(TOY)[:2]))
    for name in fewer.data_vars:
        if not str(name).endswith("_least") and "log_" not in str(name):  # at a level, or of a length, that all share
            np.testing.assert_array_equal(first[name].sel(schedule=list(TOY)[:2]), fewer[name], err_msg=str(name))


def test_the_rounding_of_a_batch_moves_no_end() -> None:
    # Four images of a prompt: where resamples tie, as counts do, which side of 0 they round to moved ends by half.
    settings = {"toy": TOY, "images": 4, "apart": 4.0, "confidence": CONFIDENCE}
    first, other = (
        numbers(make(**settings), list(TOY), ("0", "1", "2", "3")) for make in (GaussianCells, RoundedCells)
    )
    for name in first.data_vars:
        scale = np.nanmax(np.abs(first[name])) if np.isfinite(first[name]).any() else 1.0
        np.testing.assert_allclose(other[name], first[name], atol=1e-5 * max(scale, 1.0), err_msg=str(name))
