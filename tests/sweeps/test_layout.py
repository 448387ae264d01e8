"""A study file that changes on an existing store: only new cells run, nothing is lost, contradictions are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthoscope.errors import ConfigError
from orthoscope.sweeps import layout
from orthoscope.sweeps.layout import contradictions
from orthoscope.sweeps.plan import Plan
from orthoscope.sweeps.run import run_sweep
from orthoscope.sweeps.store import read
from tests.sweeps.dummy import AXES, QUANTITIES, bits, make_plan, work

FOLDER = ["lock", "log.jsonl", "results.zarr"]


def alone(tmp_path: Path, plan: Plan) -> bytes:
    """The numbers of a plan computed in a folder of its own."""
    out = tmp_path / "alone"
    for k in range(100):
        if not (out / str(k)).exists():
            run_sweep(plan, out / str(k), work=work)
            return bits(out / str(k))
    raise AssertionError("too many folders")


def names(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir())


def test_longer_and_reordered_axes_compute_new_cells_only(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_sweep(make_plan(), out, work=work)
    changed = make_plan({"dim": (64, 8, 128, 16, 32), "schedule": AXES["schedule"], "rate": (0.4, 0.3, 0.2, 0.1)})
    result = run_sweep(changed, out, work=work)
    assert (result.cells, result.reused, result.computed, result.set_aside) == (40, 24, 16, None)
    assert bits(out) == alone(tmp_path, changed)
    assert names(out) == FOLDER
    assert read(out)["mean_shift"].dims == ("dim", "schedule", "rate")


def test_cells_no_longer_asked_for_are_set_aside_and_come_back(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_sweep(make_plan(), out, work=work)
    before = bits(out)
    shorter = make_plan(AXES | {"rate": (0.2,)})
    result = run_sweep(shorter, out, work=work)
    assert (result.cells, result.reused, result.computed) == (8, 8, 0)
    assert result.set_aside == out / "results-1.zarr"
    assert bits(out) == alone(tmp_path, shorter)
    result = run_sweep(make_plan(), out, work=work)
    assert (result.reused, result.computed, result.set_aside) == (24, 0, None)
    assert bits(out) == before
    assert names(out) == FOLDER  # all of it is back


def test_a_fixed_setting_becomes_an_axis_and_back(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_sweep(make_plan(), out, work=work)
    before = bits(out)
    wider = make_plan(AXES | {"std": (0.25, 0.5)})
    wider = replace(wider, fixed={name: value for name, value in wider.fixed.items() if name != "std"})
    result = run_sweep(wider, out, work=work)
    assert (result.reused, result.computed) == (24, 24)
    assert bits(out) == alone(tmp_path, wider)
    result = run_sweep(make_plan(), out, work=work)
    assert (result.reused, result.computed, result.set_aside) == (24, 0, out / "results-1.zarr")
    assert bits(out) == before


def test_fewer_quantities_keep_the_cells_and_new_ones_compute_them(tmp_path: Path) -> None:
    out, plan = tmp_path / "out", make_plan()
    fewer = replace(plan, quantities=QUANTITIES[:2])
    run_sweep(fewer, out, work=work)
    assert run_sweep(plan, out, work=work).computed == 24
    assert bits(out) == alone(tmp_path, plan)
    other_order = replace(plan, quantities=QUANTITIES[::-1])
    assert run_sweep(other_order, out, work=work).reused == 24
    assert bits(out) == alone(tmp_path, other_order)
    result = run_sweep(fewer, out, work=work)
    assert (result.reused, result.set_aside is None) == (24, False)
    assert bits(out) == alone(tmp_path, fewer)


def test_contradictions_are_all_named_and_nothing_is_touched(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_sweep(make_plan(steps=20), out, work=work)
    before = bits(out)
    other = make_plan(AXES | {"classes": (2, 3)}, t_max=50.0)
    other = replace(other, fixed={**other.fixed, "seed": 8})
    with pytest.raises(ConfigError) as refused:
        run_sweep(other, out, work=work)
    text = str(refused.value)
    assert "\n" not in text
    for part in ("seed was 7, now 8", "steps was 20, now it is not set", "t_max was not set, now 50.0",
                 "classes was not set, now an axis of 2 values", "choose another `out`"):  # fmt: skip
        assert part in text
    assert "std" not in text
    assert (bits(out), names(out)) == (before, FOLDER)


def test_values_are_compared_as_they_are_read_back() -> None:
    plan = make_plan(precision={"mean_shift": 0.01}, t_max=np.inf, points=(1, 2))
    assert contradictions(plan, plan) == []
    finer = replace(plan, fixed={**plan.fixed, "precision": {"mean_shift": 0.001}})
    assert contradictions(plan, finer) == ['precision was {"mean_shift": 0.01}, now {"mean_shift": 0.001}']


@pytest.mark.slow
@given(
    first=st.lists(st.sampled_from((8, 16, 32, 64)), min_size=1, unique=True),
    then=st.lists(st.sampled_from((8, 16, 32, 64)), min_size=1, unique=True),
)
def test_any_change_of_an_axis_computes_what_is_new(
    tmp_path_factory: pytest.TempPathFactory, first: list[int], then: list[int]
) -> None:
    tmp_path = tmp_path_factory.mktemp("change")
    plans = [make_plan({"dim": tuple(values), "rate": (0.1, 0.2)}) for values in (first, then)]
    run_sweep(plans[0], tmp_path / "out", work=work)
    result = run_sweep(plans[1], tmp_path / "out", work=work)
    assert result.computed == 2 * len(set(then) - set(first))
    assert bool(result.set_aside) == bool(set(first) - set(then))
    assert bits(tmp_path / "out") == alone(tmp_path, plans[1])


class KilledError(BaseException):
    """Stands for kill -9 between two changes of the folder."""


@pytest.mark.parametrize("longer", [False, True], ids=["shorter", "longer"])
@pytest.mark.parametrize("moment", range(6))
def test_killed_while_the_layout_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int, longer: bool
) -> None:
    """Killed before any of the steps of a change, it goes on from the old store or the new one, never from neither."""
    out = tmp_path / "out"
    plan, changed = make_plan(), make_plan(AXES | {"rate": (0.1, 0.2, 0.4, 0.8) if longer else (0.1, 0.4)})
    run_sweep(plan, out, work=work)
    steps = iter(range(100))

    def killed_at(wrapped: object) -> object:
        def step(*args: object, **kwargs: object) -> object:
            if next(steps) == moment:
                raise KilledError
            return wrapped(*args, **kwargs)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(layout.Store, "create", killed_at(layout.Store.create))
        patch.setattr(Path, "rename", killed_at(Path.rename))
        patch.setattr(layout.shutil, "rmtree", killed_at(layout.shutil.rmtree))
        reached = True
        try:
            run_sweep(changed, out, work=work)
            reached = False
        except KilledError:
            pass
    assert reached == (moment < (6 if longer else 4))
    result = run_sweep(changed, out, work=work)
    new = 8 if longer else 0
    assert result.reused >= result.cells - new
    assert bits(out) == alone(tmp_path, changed)
    assert run_sweep(plan, out, work=work).computed == 0
    assert bits(out) == alone(tmp_path, plan)
    assert not [name for name in names(out) if "partial" in name or "ready" in name]
