from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthoscope.guidance.rules import LinearCFG
from orthoscope.prediction import SPACES, Space, from_denoised
from orthoscope.process import NoiseLevel

X, COND, UNCOND = torch.tensor(
    [[[1.0, -2.0], [0.3, 4.0]], [[0.7, 1.5], [-0.2, 0.1]], [[-1.1, 0.4], [2.0, -3.0]]], dtype=torch.float64
)
PREDICTIONS = {"cond": COND, "uncond": UNCOND}
LEVEL = NoiseLevel(time=1.7, offset=0.2)


def guided(w: object, predictions: dict[str, torch.Tensor] = PREDICTIONS) -> torch.Tensor:
    return LinearCFG()(X, LEVEL, predictions, w, None)[0]


def test_the_ends_are_the_predictions_themselves() -> None:
    assert guided(0.0) is COND
    assert guided(-1.0) is UNCOND
    rows = guided(np.array([0.0, -1.0]))
    assert torch.equal(rows[0], COND[0])
    assert torch.equal(rows[1], UNCOND[1])


@given(w=st.floats(-5, 50))
def test_strength_extrapolates_from_the_unconditional_prediction(w: float) -> None:
    torch.testing.assert_close(guided(w), COND + w * (COND - UNCOND), rtol=1e-12, atol=1e-12)


@given(w=st.floats(-5, 50))
def test_equal_predictions_are_left_alone(w: float) -> None:
    same = guided(w, {"cond": COND, "uncond": COND.clone()})
    torch.testing.assert_close(same, COND, rtol=1e-12 * (1 + abs(w)), atol=0)


@given(w=st.floats(-5, 50), space=st.sampled_from(SPACES))
def test_a_linear_rule_is_the_same_in_every_space(w: float, space: Space) -> None:
    moved = {name: from_denoised(d, X, LEVEL, space) for name, d in PREDICTIONS.items()}
    expected = from_denoised(guided(w), X, LEVEL, space)
    torch.testing.assert_close(guided(w, moved), expected, rtol=1e-10, atol=1e-10)
    assert LinearCFG.is_linear


def test_a_rule_that_bends_is_not_the_same_in_every_space() -> None:
    # Negative control: rescaling to the conditional prediction's norm depends on where it is done.
    def rescaled(predictions: dict[str, torch.Tensor]) -> torch.Tensor:
        plain = guided(2.0, predictions)
        return plain * predictions["cond"].norm(dim=1, keepdim=True) / plain.norm(dim=1, keepdim=True)

    there = {name: from_denoised(d, X, LEVEL, "noise") for name, d in PREDICTIONS.items()}
    assert (from_denoised(rescaled(PREDICTIONS), X, LEVEL, "noise") - rescaled(there)).abs().max() > 0.1


@pytest.mark.parametrize(("w", "names"), [(0.0, ("cond",)), (-1, ("uncond",)), (0.5, ("cond", "uncond"))])
def test_only_predictions_that_matter_are_asked_for(w: float, names: tuple[str, ...]) -> None:
    assert LinearCFG().needed(w) == names
    assert LinearCFG().needed(np.array([w, w])) == ("cond", "uncond")


def test_one_strength_per_row() -> None:
    w = np.array([2.0, -0.5])
    rows = guided(w)
    for k in (0, 1):
        torch.testing.assert_close(rows[k], guided(float(w[k]))[k], rtol=1e-14, atol=1e-14)
