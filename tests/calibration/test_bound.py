"""The bound on the error of an unconditional branch by images of one's own: below the truth, and not for nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

from orthoscope import rng
from orthoscope.calibration.bound import Bound, bound, folded, folds_of
from orthoscope.calibration.own_images import bound_on, chosen
from orthoscope.denoise import ExactDenoiser
from orthoscope.errors import ConfigError
from orthoscope.integrations.common_state import ask_together
from orthoscope.integrations.host import host_of
from orthoscope.process import NoiseLevel
from orthoscope.report.knowledge import bounded
from tests.calibration.test_knowledge import DIM, Half, law
from tests.integrations import pipelines

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
CLASSES, TIMES = 6, np.geomspace(30.0, 0.3, 6)


def found(learned: float, per: int = 24) -> tuple[Bound, float]:
    """The bound for a branch that knows a share of a mixture, and the nats by which it errs."""
    target, stream, labels = law(CLASSES), rng.stream(4, "own"), np.repeat(np.arange(CLASSES), per)
    x0 = target.centroids.numpy()[labels] + target.std * stream.standard_normal((len(labels), DIM))
    folds, branch, exact = folds_of(labels), Half(target, learned), ExactDenoiser(target)
    moments = folded(x0, labels, folds)
    products, errors = np.empty((len(labels), len(TIMES), 3, 3)), np.empty((len(labels), len(TIMES)))
    for k, time in enumerate(TIMES.tolist()):
        x, level = torch.from_numpy(x0 + math.sqrt(time) * stream.standard_normal(x0.shape)), NoiseLevel(time=time)
        none = branch(x, level, None)
        errors[:, k] = (none - exact(x, level, None)).square().sum(1).numpy()
        own = torch.stack([branch(x, level, torch.full((len(x),), c)) for c in range(CLASSES)], dim=1)
        for row, image in enumerate(torch.from_numpy(x0)):
            said = (image[None], x[row : row + 1], time, own[row], none[row : row + 1])
            products[row, k] = moments[folds[row]].products(*said).numpy()
    nats = np.diff(1 / np.append(TIMES, TIMES[-1])) / 2
    return bound(products, folds, TIMES), float((errors @ nats).mean())


@pytest.mark.parametrize("learned", [0.0, 0.5, 1.0])
def test_the_bound_is_below_the_error_and_shows_that_of_one_gaussian(learned: float) -> None:
    one, truth = found(learned)
    assert one.nats.value < truth + 3 * one.nats.stderr
    for excess in one.excess:
        assert math.isfinite(excess.value)
    if learned == 0.0:
        assert one.nats.value > 4 * one.nats.stderr
        assert one.nats.value > 0.5 * truth
    if learned == 1.0:
        assert truth == pytest.approx(0, abs=1e-9)


def test_images_of_ones_own_are_shown_to_a_pipeline_of_texts() -> None:
    host = host_of(pipelines.stable_diffusion(**pipelines.texts_of_letters()), "tiny")
    labels = np.arange(8) % 2
    images = 5.0 + rng.stream(0, "images").standard_normal((8, 4 * 8 * 8))
    told: list[int] = []
    prompts = ("a b c", "d e f")
    times = np.array(ask_together(host, prompts, 0, 3, lambda x, level, means, none: x))
    one = bound_on(host, prompts, images, labels, time=times, steps=3, seed=0, advance=lambda: told.append(1))
    assert len(told) == one.images == 8
    assert one.time.tolist() == times[1:].tolist()
    # Untrained weights find next to no noise: they say the state itself, and one Gaussian knows its way to the mean.
    t = float(times[1])
    assert one.excess[0].value == pytest.approx(256 * (t - t / (1 + t)), rel=0.2)
    numbers = {"nats": one.nats.as_numbers(), "least": one.nats.interval()[0], "images": 8}
    assert "not identifiable" in bounded({"bound": numbers})
    assert "are its error" in bounded({"bound": numbers})
    assert "not identifiable" in bounded({"bound": None})


def test_too_few_images_are_one_clear_line() -> None:
    labels = np.repeat([0, 1, 2], 40)
    rows = chosen(labels, 24, 0)
    assert np.bincount(labels[rows]).tolist() == [8, 8, 8]
    with pytest.raises(ConfigError, match="at least 8 images and 2 of each prompt"):
        folds_of(np.array([0, 1, 2]))
