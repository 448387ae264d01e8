"""Phase diagrams in strips: the same plane, whatever the cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orthoscope import theory
from orthoscope.errors import ConfigError
from orthoscope.experiments import planes
from orthoscope.experiments.planes import RateStrengthDiagram, WindowDiagram, axis, in_strips
from orthoscope.guidance.schedules import Constant
from orthoscope.settings import Setting
from orthoscope.sweeps.points import Points

W0, SLOPE = tuple(np.linspace(-0.4, 0.4, 7).tolist()), tuple(np.linspace(0, 0.5, 5).tolist())
NUMBERS = ("mean_shift", "variance_shift", "variance_ratio", "speciation_time")


def setting(*, rate: float = 1.0, std: float = 0.5, **run: Any) -> Setting:
    """A setting whose schedule plays no part."""
    return Setting.of(rate=rate, std=std, schedule=Constant(value=0.0), **run)


@pytest.mark.parametrize("strip", [1, 10, 17, 100])
def test_a_cut_plane_of_windows_is_the_whole(strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "_STRIP", strip)
    seen: list[tuple[int, int]] = []
    found = WindowDiagram(setting=setting(rate=0.7, t_max=10.0), w0=W0, slope=SLOPE).run(
        Points(progress=lambda *done: seen.append(done))
    )
    whole = theory.window_diagram(setting(rate=0.7, t_max=10.0), W0, SLOPE)
    assert found["mean_shift"].dims == ("w0", "slope")
    for name in NUMBERS:
        np.testing.assert_allclose(found[name], whole[name], rtol=1e-8, atol=1e-10)
    assert (found["region"].values == whole["region"]).all()
    strips = -(-len(W0) // max(1, strip // len(SLOPE)))
    assert seen == [(k, strips) for k in range(1, strips + 1)]


@pytest.mark.parametrize("strip", [1, 8, 100])
def test_a_cut_plane_of_rates_and_strengths_is_the_whole(strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "_STRIP", strip)
    rates, strengths = (0.1, 0.4, 0.9), (0.0, 0.5, 1.0, 3.0, 5.0)
    found = RateStrengthDiagram(setting=setting(t_max=50.0), rate=rates, strength=strengths).run()
    whole = theory.rate_strength_diagram(setting(t_max=50.0), rates, strengths)
    assert found["mean_shift"].dims == ("rate", "strength")
    for name in NUMBERS:
        np.testing.assert_allclose(found[name], whole[name], rtol=1e-8, atol=1e-10)
    assert (found["regime"].values == whole["regime"]).all()


def test_strips_come_together_in_their_order_along_their_axis() -> None:
    values = tuple(float(k) for k in range(10_000))

    def strip(part: tuple[float, ...]) -> dict[str, np.ndarray]:
        return {"axis": np.array(part), "plane": np.array(part) + np.zeros((3, 1))}

    found = in_strips(strip, values, 3, axis=1)
    assert list(found) == ["plane"]
    assert (found["plane"] == np.array(values)).all()


@pytest.mark.parametrize(
    "text", ["nan", "inf", "x", "0:nan:3", "1:0:3", "0:1", "0:1:0", "0:1:2:3", "0:1:1.5", "0:1:4096"]
)
def test_what_is_no_axis_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"got {text!r}"):
        axis(text)


def test_an_axis_is_a_range_or_one_number() -> None:
    assert axis("0.3").tolist() == [0.3]
    assert axis("0:1:3").tolist() == [0, 0.5, 1]
    assert axis("2:1:1").tolist() == [2]


def test_what_a_strip_raises_is_raised() -> None:
    with pytest.raises(ConfigError, match="rate = log"):
        WindowDiagram(setting=setting(rate=-1.0, t_max=10.0), w0=W0, slope=SLOPE).run()
