"""Outputs of networks restated in the space of a rule, against their definitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

pytest.importorskip("diffusers")

from orthoscope.guidance.rules import LinearCFG, Rule
from orthoscope.integrations.diffusers.clock import Output
from orthoscope.integrations.diffusers.combine import combined, denoised, restated
from orthoscope.prediction import SPACES, Space
from orthoscope.process import NoiseLevel
from tests.integrations.pipelines import draw

# alpha and s of a state alpha * data + s * noise, and what a network of each kind puts out for it.
PRESERVING = (0.6, 0.8)
FLOW = (0.3, 0.7)
NOTHING_LEFT = (2.0**-24, 1.0)
OUTPUTS: list[tuple[Output, tuple[float, float]]] = [
    ("noise", PRESERVING),
    ("denoised", PRESERVING),
    ("preserving-velocity", PRESERVING),
    ("preserving-velocity", NOTHING_LEFT),
    ("velocity", FLOW),
    ("velocity", NOTHING_LEFT),
]


def level(alpha: float, noise: float) -> NoiseLevel:
    return NoiseLevel(time=(noise / alpha) ** 2, alpha=alpha)


def put_out(output: Output, data: Tensor, noise: Tensor, alpha: float, s: float) -> Tensor:
    match output:
        case "noise":
            return noise
        case "denoised":
            return data
        case "velocity":
            return noise - data
    return alpha * noise - s * data


@pytest.mark.parametrize(("output", "chart"), OUTPUTS)
def test_an_output_means_its_data(output: Output, chart: tuple[float, float]) -> None:
    data, noise = draw(3, 4, 2, seed=0).double(), draw(3, 4, 2, seed=1).double()
    alpha, s = chart
    x = (alpha * data + s * noise) / alpha
    prediction = put_out(output, data, noise, alpha, s)
    at = level(alpha, s)
    torch.testing.assert_close(denoised(prediction, x, at, output), data, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(restated(data, x, at, output), prediction, rtol=1e-6, atol=1e-6)


@dataclass(frozen=True)
class Elsewhere(Rule):
    """Linear guidance that insists on one space."""

    space: Space = "denoised"
    is_linear: ClassVar[bool] = False

    def __call__(self, x: Any, level: Any, predictions: Any, w: Any, memory: Any) -> tuple[Tensor, Any]:
        return (1 + w) * predictions["cond"] - w * predictions["uncond"], (x, memory)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("output", "chart"), OUTPUTS)
def test_a_linear_rule_is_the_same_in_every_space(output: Output, chart: tuple[float, float], space: Space) -> None:
    alpha, s = chart
    sample = draw(3, 4, 2, seed=0).double()
    pair = draw(3, 4, 2, seed=1).double(), draw(3, 4, 2, seed=2).double()
    found, (x, memory) = combined(Elsewhere(space), 2.5, pair, sample, level(alpha, s), output, "kept")
    direct, _ = combined(LinearCFG(), 2.5, pair, sample, level(alpha, s), output, None)
    torch.testing.assert_close(found, direct, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(x * alpha, sample)
    assert memory == "kept"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_strengths_0_and_minus_1_return_their_prediction_bit_for_bit(dtype: torch.dtype) -> None:
    pair = draw(3, 4, seed=1).to(dtype), draw(3, 4, seed=2).to(dtype)
    for w, wanted in ((0.0, pair[0]), (-1.0, pair[1])):
        found, _ = combined(LinearCFG(), w, pair, draw(3, 4, seed=0).to(dtype), level(*PRESERVING), "noise", None)
        assert torch.equal(found.to(dtype), wanted)
