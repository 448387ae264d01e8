"""Texts that are all there is: their predictions at a common state, and the paths made of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import DDIMScheduler, HeunDiscreteScheduler

from orthoscope.calibration import Calibration, calibrate, summarize
from orthoscope.errors import ConfigError
from orthoscope.integrations.common_state import ask_together, check_movable
from orthoscope.integrations.host import Host, host_of
from orthoscope.integrations.source import Source
from orthoscope.process import NoiseLevel
from tests.integrations import pipelines

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
PROMPTS = ("a b c", "d e f", "c c c")


@pytest.fixture(scope="module")
def host() -> Host:
    pipe = pipelines.stable_diffusion(**pipelines.texts_of_letters())
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    return host_of(pipe, "tiny")


def test_all_prompts_are_asked_at_the_state_that_is_given(host: Host) -> None:
    seen: list[tuple[torch.Tensor, float, torch.Tensor]] = []

    def move(x: torch.Tensor, level: NoiseLevel, means: torch.Tensor, none: torch.Tensor) -> torch.Tensor:
        assert x.shape == none.shape
        assert means.shape == (3, *x.shape[1:])
        seen.append((x, level.time, means))
        return torch.full_like(x, 0.25 * len(seen))

    times = ask_together(host, PROMPTS, 3, 5, move)
    assert times == sorted(times, reverse=True)
    assert len(seen) == len(times) == 5
    for number, (x, _, _) in enumerate(seen[1:], 1):  # what was said last is where the next step stands
        assert x.numpy(force=True) == pytest.approx(np.full(x.shape, 0.25 * number), rel=1e-3)
    assert (seen[0][2][0] - seen[0][2][1]).abs().max() > 1e-6  # different prompts, different predictions
    plain = host.pipe.scheduler.step
    assert not hasattr(plain, "__wrapped__")  # left as it was


def test_a_scheduler_that_asks_twice_in_a_step_is_one_true_sentence(host: Host) -> None:
    pipe = pipelines.stable_diffusion(**pipelines.texts_of_letters())
    pipe.scheduler = HeunDiscreteScheduler.from_config(pipe.scheduler.config)
    with pytest.raises(ConfigError, match="asks the network twice in a step"):
        check_movable(host_of(pipe, "twice"))
    check_movable(host)


@pytest.mark.slow
def test_exhaustive_prompts_have_a_posterior_and_a_learned_fraction(host: Host) -> None:
    asked = Calibration(prompts=PROMPTS, images_per_prompt=3, steps=6, strengths=(3.0,), exhaustive=True, paths=8)
    result = calibrate(asked, Source.of(host.pipe))
    found = summarize(result)
    assert found["profile"] == "pair"  # guided paths are not followed, and the range is that of guidance
    assert result.attrs["classes"] == 3
    assert found["asked"] == 8 * 5 * 4  # paths, levels but the last, prompts and none
    first = found["pipeline"]
    assert 0 <= first["paths"]["posterior"]["value"] <= math.log(3) + 1e-9
    assert math.isfinite(first["knowledge"]["learned_fraction"]["value"])
    with pytest.raises(ConfigError, match="classes are counted anyway"):
        calibrate(Calibration(prompts=("0", "1"), exhaustive=True), Source())
