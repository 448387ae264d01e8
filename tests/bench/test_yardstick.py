"""The comparison with the textbook: what it says is what it measured."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from orthoscope.bench.levers import compare_with_textbook
from orthoscope.bench.textbook import mixture_score, textbook_sample, textbook_times
from orthoscope.bench.yardstick import Yardstick
from orthoscope.errors import ConfigError
from orthoscope.process import NoiseLevel
from orthoscope.serialize import dumps
from orthoscope.targets import mixture


def test_the_textbook_score_is_the_exact_score(seed: int) -> None:
    stream = np.random.default_rng(seed)
    centroids = torch.from_numpy(stream.standard_normal((7, 3)))
    weights = torch.from_numpy(stream.random(7) + 0.1)
    x = torch.from_numpy(stream.standard_normal((5, 3)))
    law = mixture(centroids, std=0.5, weights=weights)
    expected = law.score(x, NoiseLevel(time=0.7))
    torch.testing.assert_close(mixture_score(x, centroids, weights.log(), 0.95), expected)


def test_textbook_steps_are_euler_maruyama() -> None:
    """One step with a linear score and given noise, by hand."""
    x = torch.tensor([[2.0]])
    end = textbook_sample(
        x,
        lambda x, t: -x,
        lambda x, t: -2 * x,
        strength=0.5,
        times=[1.0, 0.75],
        normal=lambda t, t_next: torch.tensor([[3.0]]),
    )
    assert float(end) == pytest.approx(2 + 0.25 * (-2 + 0.5 * (-2 + 4)) + 0.5 * 3)
    assert textbook_times(50.0, 4) == pytest.approx(np.geomspace(50, 1e-3, 5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stderr": 0.0}, "standard error > 0, got 0"),
        ({"stderr": math.nan}, "standard error > 0, got nan"),
        ({"strength": 0.0}, "strength other than 0"),
        ({"dim": 3}, "at least 4 dimensions, got 3"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_timed(change: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Yardstick(**change)


@pytest.mark.slow
def test_the_report_adds_up() -> None:
    """Small enough to be quick; ratios of times are not judged here."""
    found = compare_with_textbook(Yardstick(dim=16, stderr=4e-3))
    json.loads(dumps(found))
    textbook = found["textbook"]
    assert found["textbook_seconds"] == pytest.approx(textbook["per_step"] * 500 * textbook["trajectories"])
    assert textbook["trajectories"] == int(np.ceil((textbook["spread"] / 4e-3) ** 2))
    assert found["speedup"] == pytest.approx(found["textbook_seconds"] / found["seconds"])
    assert found["bias_over_stderr"] == pytest.approx(abs(found["bias"]["value"]) / found["stderr"])
    assert found["stderr"] <= 4e-3
    # A squared distance is the variance kept and the shift, in units of the class's own; none is off all modes.
    kept = {name: found[name]["value"] for name in ("variance_ratio", "class_distance", "far_share")}
    shift = found["mean_shift"]["value"] * 2  # centroids have unit variance, in units of std = 0.5
    expected = math.hypot(math.sqrt(kept["variance_ratio"]), shift)
    assert kept["class_distance"] == pytest.approx(expected, rel=0.08)
    assert kept["far_share"] < 0.1
    assert found["bias_over_stderr"] < 1
    value = found["law"]["value"] + sum(level["value"] for level in found["levels"])
    assert found["mean_shift"]["value"] == pytest.approx(value)
    factors = {lever["name"]: lever["factor"] for lever in found["levers"]}
    assert factors["second-order steps on a refined grid"] == pytest.approx(500 / 32)
    assert factors["stopping the scan"] > 1
    assert factors["planted control variate"] > 10
    assert factors["common random numbers"] > 10
