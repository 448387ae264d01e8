"""Forms of networks restated in the space of a rule, against their definitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

pytest.importorskip("diffusers")

from orthoscope.errors import ConfigError
from orthoscope.guidance.rules import LinearCFG, Rule, parse_rule
from orthoscope.integrations.diffusers.combine import combined
from orthoscope.prediction import SPACES, Form, Preconditioned, Space, from_denoised, to_denoised
from orthoscope.process import NoiseLevel
from tests.integrations.pipelines import draw

# alpha and s of a state alpha * data + s * noise, and what a network of each kind puts out for it.
PRESERVING = (0.6, 0.8)
FLOW = (0.3, 0.7)
EXPLODING = (1.0, 3.0)
NOTHING_LEFT = (2.0**-24, 1.0)
OUTPUTS: list[tuple[Form, tuple[float, float]]] = [
    ("noise", PRESERVING),
    ("denoised", PRESERVING),
    ("preserving-velocity", PRESERVING),
    ("preserving-velocity", NOTHING_LEFT),
    ("velocity", FLOW),
    ("velocity", NOTHING_LEFT),
    ("reversed-velocity", FLOW),
    ("reversed-velocity", NOTHING_LEFT),
    (Preconditioned(0.5), EXPLODING),
    (Preconditioned(0.8, sign=-1), EXPLODING),
]


def level(alpha: float, noise: float) -> NoiseLevel:
    return NoiseLevel(time=(noise / alpha) ** 2, alpha=alpha)


def put_out(output: Form, data: Tensor, noise: Tensor, alpha: float, s: float) -> Tensor:
    match output:
        case Preconditioned(spread, sign):
            return sign * (s * data - spread**2 * noise) / (spread * (s**2 + spread**2) ** 0.5)
        case "noise":
            return noise
        case "denoised":
            return data
        case "velocity":
            return noise - data
        case "reversed-velocity":
            return data - noise
    return alpha * noise - s * data


@pytest.mark.parametrize(("output", "chart"), OUTPUTS)
def test_an_output_means_its_data(output: Form, chart: tuple[float, float]) -> None:
    data, noise = draw(3, 4, 2, seed=0).double(), draw(3, 4, 2, seed=1).double()
    alpha, s = chart
    x = (alpha * data + s * noise) / alpha
    prediction = put_out(output, data, noise, alpha, s)
    at = level(alpha, s)
    torch.testing.assert_close(to_denoised(prediction, x, at, output), data, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(from_denoised(data, x, at, output), prediction, rtol=1e-6, atol=1e-6)


@dataclass(frozen=True)
class Elsewhere(Rule):
    """Linear guidance that insists on one space."""

    space: Space = "denoised"
    is_linear: ClassVar[bool] = False

    def __call__(self, x: Any, level: Any, predictions: Any, w: Any, memory: Any) -> tuple[Tensor, Any]:
        return (1 + w) * predictions["cond"] - w * predictions["uncond"], (x, memory)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("output", "chart"), OUTPUTS)
def test_a_linear_rule_is_the_same_in_every_space(output: Form, chart: tuple[float, float], space: Space) -> None:
    alpha, s = chart
    sample, pair = draw(3, 4, 2, seed=0), (draw(3, 4, 2, seed=1), draw(3, 4, 2, seed=2))
    found, (x, memory) = combined(Elsewhere(space), 2.5, pair, sample, level(alpha, s), output, "kept")
    direct, _ = combined(LinearCFG(), 2.5, pair, sample, level(alpha, s), output, None)
    torch.testing.assert_close(found, direct, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close((x * alpha).float(), sample)
    assert found.dtype == torch.float32
    assert memory == "kept"


# At pure noise z = eps, and the velocity is z - D. Predictions of the noise, z + alpha (v - z) to first order, all are
# the same there, and yet what a rule does to them has a limit in terms of the velocities.
def along(a: Tensor, b: Tensor) -> Tensor:
    """The part of a along b, row by row."""
    return (a * b).sum((1, 2), keepdim=True) / (b * b).sum((1, 2), keepdim=True) * b


def centered(a: Tensor) -> Tensor:
    return a - a.mean((1, 2), keepdim=True)


def push_of_rescaling(c: Tensor, g: Tensor, z: Tensor, w: float) -> Tensor:
    share = (centered(g) * centered(z)).sum((1, 2), keepdim=True) / centered(z).square().sum((1, 2), keepdim=True)
    return w * (g - 0.7 * share * z)


PUSHES = {
    "rescale:phi=0": lambda c, g, z, w: w * g,
    "rescale:phi=0.7": push_of_rescaling,
    "power-law:alpha=0": lambda c, g, z, w: w * g,
    "power-law:alpha=0.1": lambda c, g, z, w: 0 * g,
    "power-law:alpha=0.9,space=denoised": lambda c, g, z, w: w * g.norm(dim=(1, 2), keepdim=True) ** 0.9 * g,
    "apg:eta=0.2": lambda c, g, z, w: w * (g - 0.8 * along(g, z - c)),
    "apg:eta=0.2,space=noise": lambda c, g, z, w: w * (g - 0.8 * along(g, z)),
    "apg:eta=0.2,space=score": lambda c, g, z, w: w * (g - 0.8 * along(g, z)),
    "cfg-zero-star:zero_steps=0": lambda c, g, z, w: w * (c - along(c, c - g)),
    "cfg-zero-star:zero_steps=0,space=noise": lambda c, g, z, w: w * (g - along(g, z)),
    "cfg-zero-star:zero_steps=0,space=score": lambda c, g, z, w: w * (g - along(g, z)),
}


@pytest.mark.parametrize("output", ["velocity", "reversed-velocity", "preserving-velocity", "denoised"])
@pytest.mark.parametrize("text", PUSHES)
def test_a_bent_rule_at_pure_noise_is_its_limit(text: str, output: Form) -> None:
    z, c, u = (draw(3, 4, 2, seed=k) for k in range(3))  # the state, and velocities
    chart = level(*NOTHING_LEFT)
    pair = tuple(from_denoised((z - v).double(), z.double() / chart.alpha, chart, output).float() for v in (c, u))
    found, _ = combined(parse_rule(text), 3.0, pair, z, chart, output, None)
    z, c, u = z.double(), c.double(), u.double()
    velocity = c + PUSHES[text](c, c - u, z, 3.0)
    expected = from_denoised(z - velocity, z / chart.alpha, chart, output)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_a_strength_that_is_infinite_at_pure_noise_is_refused() -> None:
    pair = draw(3, 4, 2, seed=1), draw(3, 4, 2, seed=2)
    with pytest.raises(ConfigError, match="no finite strength at pure noise"):
        combined(parse_rule("power-law:alpha=-0.5"), 1.0, pair, pair[0], level(*NOTHING_LEFT), "velocity", None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_strengths_0_and_minus_1_return_their_prediction_bit_for_bit(dtype: torch.dtype) -> None:
    pair = draw(3, 4, seed=1).to(dtype), draw(3, 4, seed=2).to(dtype)
    for w, wanted in ((0.0, pair[0]), (-1.0, pair[1])):
        found, _ = combined(LinearCFG(), w, pair, draw(3, 4, seed=0).to(dtype), level(*PRESERVING), "noise", None)
        assert torch.equal(found.to(dtype), wanted)
