"""What a dry run tells: it adds up, grows with the work, and is refused where memory is short."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from orthoscope.errors import ConfigError
from orthoscope.simulation import cost
from orthoscope.simulation.cost import CostModel
from orthoscope.sweeps import budget
from orthoscope.sweeps.budget import check_memory, forecast
from orthoscope.sweeps.file import read_study
from orthoscope.sweeps.plan import Plan
from orthoscope.targets.ensembles import mixture_bytes

Read = Callable[[str], Plan]
SMALL = "[fixed]\nstd = 0.5\nstrength = 1\nsteps = 4\nclasses = 4096\n"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """The plan of a study file with this text."""

    def reader(text: str) -> Plan:
        path = tmp_path / "study.toml"
        path.write_text(text, encoding="utf-8")
        return read_study(path).plan

    return reader


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> CostModel:
    """A machine that takes a second per row and evaluation, and nothing else."""
    model = CostModel(units={"row": 1.0}, error=0.0)
    monkeypatch.setattr(cost, "measure_costs", lambda: model)
    return model


def test_time_and_memory_add_up(read: Read, costs: CostModel) -> None:
    text = "samples = 64\n[axes]\ndim = [8, 64]\n[measure]\ntheory = false\n[precision]\nmean_shift = 0.1\n"
    plan = read(SMALL + text + "min_draws = 8\nmax_draws = 16\n")
    one, two = forecast(plan, 1), forecast(plan, 2)
    small, large = one["cells"]
    assert (small["name"], small["coords"]) == ("dim=8", {"dim": 8})
    draw = 4 * 2 * 64  # steps, order, rows
    assert small["seconds"] == pytest.approx(8 * draw)
    assert small["most_seconds"] == pytest.approx(16 * draw)
    assert one["seconds"] == pytest.approx(2 * 8 * draw)
    assert two["seconds"] == pytest.approx(8 * draw)
    assert one["bytes"] == large["bytes"] == costs.bytes(modes=4096, dim=64, rows=64)
    assert two["bytes"] == small["bytes"] + large["bytes"]
    assert large["bytes"] - small["bytes"] > mixture_bytes(64, math.log(4096)) - mixture_bytes(8, math.log(4096))


def test_the_longest_cell_bounds_the_whole_and_modes_not_kept_take_no_memory(read: Read, costs: CostModel) -> None:
    text = SMALL + "dim = 8\n[axes]\nsamples = [8, 1000]\nplanted = [true]\n[measure]\ntheory = false\n"
    again = read(text.replace("planted = [true]", 'modes = ["regenerated"]'))
    found = forecast(read(text), 100)
    assert forecast(again, 100)["bytes"] == found["bytes"]
    assert found["seconds"] == pytest.approx(4 * 4 * 2 * 1000)
    assert found["cells"][0]["bytes"] == costs.bytes(modes=0.0, dim=8, rows=8)


def test_a_theory_sweep_needs_time_and_no_memory_to_speak_of(read: Read) -> None:
    plan = read('[study]\nsource = "theory"\n[axes]\nrate = [0.1, 0.2]\n[fixed]\nstd = 0.5\nstrength = 1\n')
    found = forecast(plan, 1)
    assert 0 < found["seconds"] == found["most_seconds"]
    assert found["bytes"] == 0


def test_a_cell_that_will_fail_stops_no_forecast(read: Read) -> None:
    text = '[study]\nsource = "theory"\n[axes]\nstrength = [1, 1e4]\n[fixed]\nstd = 0.5\nrate = 0.2\n'
    assert len(forecast(read(text), 1)["cells"]) == 2


def test_cells_that_fit_alone_but_not_together_are_refused(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = read(SMALL + "dim = 8\nsamples = 64\n[axes]\nt_max = [10, 20, 30]\n")
    monkeypatch.setattr(budget, "available_memory", lambda: 1e9)
    check_memory(plan, 1)
    check_memory(plan, 2)
    with pytest.raises(ConfigError, match=r"^3 of the largest cells at once need 1\.1 GiB, .* take fewer `workers`$"):
        check_memory(plan, 3)
