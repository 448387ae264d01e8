"""Targets of one's own: objects, what makes them, and texts that name either; written down and read back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import orthoscope as osc
from orthoscope import registered, serialize
from orthoscope.designs.data import DataLaw
from orthoscope.errors import ConfigError
from orthoscope.experiments.registry import SpecTypes
from orthoscope.targets.given import as_target
from tests.targets import clouds

HERE = "tests.targets.clouds"
FEW = {"n": 8, "steps": 2, "label": 1}


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of this test only."""
    monkeypatch.setattr(registered.TARGETS, "_things", {})
    monkeypatch.setattr(registered.TARGETS, "_options", {})


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("data") / "clouds.npz"
    np.savez(path, x=clouds.POINTS, y=clouds.LABELS)
    return str(path)


def test_objects_makers_places_and_names_are_the_same_target(file: str) -> None:
    assert osc.target("two-clouds")(clouds.clouds) is clouds.clouds
    expected = osc.sample(clouds.MADE, 1.0, **FEW).x
    for given in (clouds.clouds, f"{HERE}:clouds", f"{HERE}:MADE", "two-clouds", file, Path(file)):
        np.testing.assert_array_equal(osc.sample(given, 1.0, **FEW).x, expected)


def test_a_design_takes_data_as_samples_do(file: str) -> None:
    law, same = DataLaw(source=file, label=1), DataLaw(source=clouds.MADE, label=np.int64(1))
    assert torch.equal(same.data.table, law.data.table)
    assert torch.equal(same.data.labels, law.data.labels)
    assert same.data.std == pytest.approx(law.data.std, rel=1e-4)  # its width was sought in single precision
    assert type(same.label) is int


def test_weights_of_modes_survive_being_standardized() -> None:
    weights = torch.arange(1.0, 41.0)
    given = osc.mixture(clouds.POINTS, labels=clouds.LABELS, std=0.3, weights=weights)
    data = DataLaw(source=given, label=0).data
    torch.testing.assert_close(data.log_weights, given.log_weights)
    mean = data.log_weights.exp() @ data.centroids.double()
    torch.testing.assert_close(mean, torch.zeros(2, dtype=torch.float64), atol=1e-6, rtol=0)
    spread = data.log_weights.exp() @ data.centroids.double().square()
    assert float(spread.mean()) == pytest.approx(1.0, rel=1e-6)


def test_what_a_file_says_of_data_is_read_back_or_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    for source in (clouds.clouds, f"{HERE}:clouds"):
        written = serialize.to_dict(DataLaw(source=source, label=1))
        assert written["source"] == f"{HERE}:clouds"
        assert serialize.to_dict(serialize.from_dict(written, SpecTypes())) == written
    monkeypatch.delitem(sys.modules, HERE)
    with pytest.raises(ConfigError, match=f"import {HERE} first"):
        serialize.from_dict(written, SpecTypes())
    law = DataLaw(source=clouds.MADE, label=1)
    with pytest.raises(ConfigError, match="has no text"):
        serialize.to_dict(law)
    assert serialize.to_dict(law, strict=False)["source"] == {"type": "InMemory", "in_memory": "Mixture"}


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: osc.sample(f"{HERE}:nothing", 1.0), "no target 'nothing' in the module"),
        (lambda: osc.sample("no_such_module_here:x", 1.0), "nor is there a module"),
        (lambda: as_target("two-cluods"), "unknown target 'two-cluods'; did you mean 'two-clouds'"),
        (lambda: as_target(clouds.broken), "the target broken cannot be made without arguments: RuntimeError: no data"),
        (lambda: as_target(lambda: 3), "expected a target with an exact score"),
        (lambda: DataLaw(source=f"{HERE}:flat", label=0), "expected labelled points"),
        (lambda: osc.design(clouds.MADE, maximize="mean_shift"), "needs `label`"),
        (lambda: osc.design(clouds.MADE, maximize="mean_shift", label=7), "label 7 is not present"),
        (lambda: osc.target("digits")(clouds.clouds), "exists already"),
    ],
)
def test_what_is_no_target_is_refused_in_one_line(call: Any, told: str, unchecked: None) -> None:
    osc.target("two-clouds")(clouds.clouds)
    with pytest.raises(ConfigError, match=told) as found:
        call()
    assert "\n" not in str(found.value)
