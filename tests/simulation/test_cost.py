"""The cost of simulations: what the model must satisfy, and what it must foretell."""

from __future__ import annotations

import time

import numpy as np
import pytest

from orthoscope.bench.growth import SIZES, GrowthStudy, summarize, typical
from orthoscope.guidance.schedules import Constant
from orthoscope.quantities import Estimate
from orthoscope.simulation.cost import TERMS, CostModel, measure_costs
from orthoscope.simulation.setting import Simulation
from orthoscope.simulation.simulate import simulate
from orthoscope.threads import one_thread

UNIT = CostModel(units=dict.fromkeys(TERMS, 1e-9), error=0.0)


@pytest.fixture(scope="module")
def costs() -> CostModel:
    """Costs in the time of this process, whatever runs beside."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "perf_counter", time.process_time)
        return measure_costs.__wrapped__()


@pytest.mark.slow
def test_costs_are_measured_once_and_never_negative() -> None:
    begin = time.process_time()
    costs = measure_costs()
    first = time.process_time() - begin
    assert measure_costs() is costs
    assert time.process_time() - begin - first < 0.01
    assert set(costs.units) == set(TERMS)
    assert min(costs.units.values()) >= 0
    assert costs.units["product"] + costs.units["logit"] + costs.units["key"] > 0


def test_what_is_stored_counts_and_what_is_planted_does_not() -> None:
    size = {"dim": 16, "rows": 100, "evaluations": 20}
    assert UNIT.seconds(modes=1e6, planted=True, **size) == UNIT.seconds(modes=2.0, planted=True, **size)
    assert UNIT.seconds(modes=1e6, planted=False, **size) > 1e3 * UNIT.seconds(modes=1e6, planted=True, **size)
    one, two, four = (UNIT.seconds(modes=m * 1e6, planted=False, **size) for m in (1, 2, 4))
    assert four - two == pytest.approx(2 * (two - one), rel=1e-12)  # linear in the modes
    million = UNIT.bytes(modes=1e6, dim=16, rows=100) - UNIT.bytes(modes=0, dim=16, rows=100)
    assert million == pytest.approx(1e6 * (24 * 4 + 8))


@pytest.mark.parametrize(
    "setting",
    [
        {"dim": 48, "classes": 20_000, "samples": 200, "steps": 5},
        {"dim": 400, "rate": 0.2, "modes": "planted", "samples": 100, "steps": 12},
    ],
    ids=["stored", "planted"],
)
def test_the_time_of_another_simulation_is_foretold(setting: dict, costs: CostModel) -> None:
    # Within a factor of 5, as caches are shared with other programs; a term left out shows by more.
    simulation = Simulation.of(std=0.5, schedule=Constant(value=1.0), t_max=50.0, draws=1, **setting)
    times = []
    for _ in range(3):
        begin = time.process_time()
        with one_thread():  # others would wait for work, and their time is counted
            simulate(simulation)
        times.append(time.process_time() - begin)
    foretold = costs.seconds(
        modes=setting.get("classes", 0), dim=simulation.dim, rows=simulation.budget.samples,
        evaluations=2 * simulation.numerics.steps, planted=simulation.planted,
    )  # fmt: skip
    assert 0.2 < foretold / min(times) < 5


def test_a_typical_time_is_not_moved_by_one_disturbance() -> None:
    calm, disturbed = typical([1.0, 1.01, 0.99, 1.0, 1.02]), typical([1.0, 1.01, 0.99, 1.0, 50.0])
    assert calm.value == disturbed.value == 1.0
    assert disturbed.stderr < 0.05
    assert typical([2.0, 2.0, 2.0]).stderr == pytest.approx(0.04)


@pytest.mark.slow
def test_growth_is_fitted_to_the_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """With times that follow a power law in every size, the exponents are its own."""
    powers = {"modes": 1.0, "dim": 0.8, "rows": 1.1, "steps": 0.9}

    def timed(study: GrowthStudy, size: dict[str, int]) -> Estimate:
        value = 1e-6 * float(np.prod([size[name] ** power for name, power in powers.items()]))
        return Estimate(value=value, stderr=0.02 * value, n=3)

    monkeypatch.setattr(GrowthStudy, "_timed", timed)
    result = GrowthStudy.quick().run()
    found = summarize(result)
    for name in SIZES:
        assert found[name]["exponent"]["value"] == pytest.approx(powers[name], abs=1e-3)
        assert 0 < found[name]["exponent"]["stderr"] < 0.1
        assert len(found[name]["seconds"]) == 4
    assert result["seconds"].sizes == {"point": 16}
    assert found["largest_error_of_the_cost_model"] > 0
