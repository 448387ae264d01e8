"""Diagrams are predictions, point by point."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant, Linear
from orthoscope.settings import Setting
from orthoscope.theory import REGIMES, REGIONS, predict, rate_strength_diagram, window_diagram
from orthoscope.theory.diagrams import region
from orthoscope.theory.moments import Moments
from orthoscope.theory.stages import Stage

PLANES = ("mean_shift", "variance_shift", "variance_ratio", "speciation_time", "condensation_time", "capture_time")


def setting(*, rate: float = 1.0, std: float = 0.5, **run: Any) -> Setting:
    """A setting whose schedule plays no part."""
    return Setting.of(rate=rate, std=std, schedule=Constant(value=0.0), **run)


def expect_same(found: object, expected: float | None) -> None:
    if expected is None:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("t_max", [np.inf, 50.0])
@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_rate_strength_planes(lam: float, t_max: float) -> None:
    rates, strengths = np.array([0.05, 0.4, 1.0, 1.5]), np.array([-0.7, 0.0, 2.0])
    diagram = rate_strength_diagram(setting(t_max=t_max, lam=lam), rates, strengths)
    assert diagram["regime"].shape == (4, 3)
    assert set(diagram["regime"].ravel()) == set(REGIMES)
    for i, rate in enumerate(rates):
        for j, w in enumerate(strengths):
            one = predict(
                Setting.of(rate=float(rate), std=0.5, schedule=Constant(value=float(w)), t_max=t_max, lam=lam)
            )
            assert diagram["regime"][i, j] == one.regime
            for name in PLANES:
                expect_same(diagram[name][i, j], getattr(one, name))


def test_window_planes() -> None:
    offsets, slopes = np.array([-1.0, -0.4, -0.25, 0.2]), np.array([0.0, 0.1, 0.3, 0.6])
    diagram = window_diagram(setting(rate=0.9, t_max=50.0), offsets, slopes)
    assert set(diagram["region"].ravel()) == set(REGIONS)
    for i, w0 in enumerate(offsets):
        for j, slope in enumerate(slopes):
            one = predict(Setting.of(rate=0.9, std=0.5, schedule=Linear(w0=float(w0), slope=float(slope)), t_max=50.0))
            expect_same(diagram["mean_shift"][i, j], one.mean_shift)
            expect_same(diagram["variance_shift"][i, j], one.variance_shift)
            expected = (
                "lost"
                if one.lost
                else "reversed"
                if one.mean_shift < 0
                else "distorted"
                if one.variance_shift < 0
                else "restored"
            )
            assert diagram["region"][i, j] == expected


def test_a_shift_of_none_counts_by_its_variance() -> None:
    # An exact start without guidance stays as it is, up to rounding.
    diagram = window_diagram(setting(rate=0.9, t_max=50.0, start="exact"), [0.0], [0.0])
    assert diagram["region"].item() == "restored"
    count = 6
    solved = Moments(
        mean_shift=np.array([0, 1e-13, -1e-13, 0, -1e-11, -1]),
        variance_shift=np.array([0, 1, -1e-13, -1e-11, 1, 1]),
        variance_ratio=np.full(count, np.nan),
        stage=np.array([Stage.FREE] * (count - 1) + [Stage.CAPTURED], dtype=np.int8),
        speciation_time=np.full(count, np.nan),
        condensation_time=np.full(count, np.nan),
        capture_time=np.full(count, np.nan),
        overlap=np.empty((count, 0)),
        variance=np.empty((count, 0)),
    )
    assert region(solved, 1.0).tolist() == ["restored", "restored", "restored", "distorted", "reversed", "lost"]
    # What is none for a wide class is not for a narrow one.
    assert region(solved, 0.1).tolist() == ["restored", "restored", "reversed", "distorted", "reversed", "lost"]


def test_strength_costs_variance_and_buys_mean() -> None:
    diagram = rate_strength_diagram(setting(), [0.9], np.linspace(0, 20, 30))
    assert (np.diff(diagram["mean_shift"][0]) > 0).all()
    assert (diagram["variance_shift"][0, 1:] < 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rate_strength_diagram(setting(), [], [1.0]), "rates must be a list"),
        (lambda: rate_strength_diagram(setting(), [0.0], [1.0]), "rate = log"),
        (lambda: rate_strength_diagram(setting(), [0.1], [np.nan]), "strengths must be"),
        (lambda: rate_strength_diagram(setting(std=-0.5), [0.1], [1.0]), "std is"),
        (lambda: rate_strength_diagram(setting(std=1e-9), [0.1], [1.0]), "std must lie"),
        (lambda: window_diagram(setting(rate=0.9, t_max=1e13), [0.0], [0.1]), "`t_max` must be at most"),
        (lambda: window_diagram(setting(rate=0.0, t_max=50.0), [0.0], [0.1]), "rate = log"),
        (lambda: window_diagram(setting(rate=0.9, t_max=np.inf), [0.0], [0.1]), "finite time"),
    ],
)
def test_unusable_axes_say_so(call: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()
