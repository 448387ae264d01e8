from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthoscope.errors import ConfigError
from orthoscope.prediction import SPACES, Space, from_denoised, to_denoised
from orthoscope.process import NoiseLevel, RectifiedFlow
from tests.targets.cases import random_mixture_of

spaces = st.sampled_from(SPACES)
X, D = torch.tensor([[[1.0, -2.0], [0.5, 3.0]], [[0.2, 0.7], [-1.0, 0.4]]], dtype=torch.float64)


@given(space=spaces, time=st.floats(1e-3, 1e3), offset=st.floats(0, 1))
def test_every_space_leads_back(space: Space, time: float, offset: float) -> None:
    level = NoiseLevel(time=time, offset=offset)
    there = from_denoised(D, X, level, space)
    torch.testing.assert_close(to_denoised(there, X, level, space), D, rtol=1e-11, atol=1e-11)


@given(space=spaces)
def test_one_level_per_row_and_any_event_shape(space: Space) -> None:
    x, d = torch.stack([X, X + 1, X - 1]), torch.stack([D, -D, 2 * D])
    times = np.array([0.1, 2.0, 30.0])
    rows = from_denoised(d, x, NoiseLevel(time=times), space)
    for k in range(3):
        alone = from_denoised(d[k : k + 1], x[k : k + 1], NoiseLevel(time=float(times[k])), space)
        torch.testing.assert_close(rows[k : k + 1], alone, rtol=1e-13, atol=1e-13)


def test_the_four_spaces_of_one_state() -> None:
    # x = x0 + sigma e with sigma = 2.
    x0, noise = D, (X - D) / 2
    level = NoiseLevel(time=3.5, offset=0.5)
    torch.testing.assert_close(from_denoised(x0, X, level, "noise"), noise)
    torch.testing.assert_close(from_denoised(x0, X, level, "score"), -noise / 2)
    torch.testing.assert_close(from_denoised(x0, X, level, "velocity"), noise - x0)


def test_score_is_tweedie() -> None:
    target, level = random_mixture_of(0), NoiseLevel(time=0.7)
    x = torch.tensor([[0.1, 1.0, -2.0]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(target.log_prob(x, level).sum(), x)
    denoised = to_denoised(gradient, x.detach(), level, "score")
    torch.testing.assert_close(denoised, target.denoised(x.detach(), level), rtol=1e-10, atol=1e-11)


def test_velocity_is_the_derivative_of_the_straight_path() -> None:
    # y = (1 - t) x0 + t e moves at e - x0; the state handed over is y / (1 - t).
    t, x0, noise = 0.3, D, X
    level = RectifiedFlow().level(t)
    y = (1 - t) * x0 + t * noise
    torch.testing.assert_close(from_denoised(x0, y / level.alpha, level, "velocity"), noise - x0)


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_space_is_named_with_the_nearest() -> None:
    for convert in (to_denoised, from_denoised):
        with pytest.raises(ConfigError, match="unknown prediction space 'noize'; did you mean 'noise'"):
            convert(D, X, NoiseLevel(time=1.0), "noize")
