"""Tangents of denoisers' errors: against samples on the same noise, and against the kernel of theory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from orthoscope.denoise import Blended, Denoiser, Evaluation, ExactDenoiser, FixedLabel, OwnMode
from orthoscope.errors import ConfigError
from orthoscope.guidance.guided import Guided
from orthoscope.guidance.schedules import GuidanceSchedule, Step
from orthoscope.metrics import variance
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.sampling import Exponential, Grid, geometric, sample, through
from orthoscope.simulation.response import Response, respond, tangent
from orthoscope.targets import covariant, random_mixture
from orthoscope.theory import error_kernel

DIM, CLASSES, PATHS, STD, T_MAX = 3, 4, 5, 0.5, 20.0
TARGET = random_mixture(DIM, classes=CLASSES, std=STD, stream=np.random.default_rng(3), dtype=torch.float64)
NARROW, OFFSET = TARGET.narrowed(TARGET.width), TARGET.width
LABELS = torch.arange(CLASSES).repeat_interleave(PATHS)
GAUSSIAN = ExactDenoiser(TARGET.gaussian().narrowed(OFFSET))
START = TARGET.centroids[LABELS] + T_MAX**0.5 * torch.from_numpy(
    np.random.default_rng(4).standard_normal((len(LABELS), DIM))
)
TURNING = Step(early=3.0, late=-1.0, switch=0.3)


class Off(Denoiser):
    """A denoiser plus a constant."""

    def __init__(self, denoiser: Denoiser, by: Tensor) -> None:
        self.denoiser, self.by = denoiser, by

    def evaluate(self, x: Tensor, level: NoiseLevel, label: object = None, memory: object = None) -> Evaluation:
        found = self.denoiser.evaluate(x, level, label, memory)
        return replace(found, denoised=found.denoised + self.by)


class Kept:
    """The same noise whoever asks."""

    def __init__(self) -> None:
        self.normals = np.random.default_rng(5)

    def __call__(self, level: NoiseLevel, lower: NoiseLevel) -> Tensor:
        return torch.from_numpy(self.normals.standard_normal(START.shape))


def guided(schedule: GuidanceSchedule | float, size: float = 0.0) -> Guided:
    """Exact guidance with a share of the Gaussian in both branches."""
    own, narrow = OwnMode(NARROW), ExactDenoiser(NARROW)
    return Guided(
        main=Blended(own, FixedLabel(GAUSSIAN), 1 - size / 4),
        reference=FixedLabel(Blended(narrow, GAUSSIAN, 1 - size)),
        schedule=schedule,
    )


def levels(steps: int = 12) -> Grid:
    process = VarianceExploding(offset=OFFSET)
    return through(geometric(process, T_MAX, steps), process, TURNING.switches())


def ends(denoiser: Denoiser, lam: float) -> Tensor:
    return sample(denoiser, START, levels(), step=Exponential(lam=lam), noise=Kept(), label=LABELS).x


def followed(exact: Guided, wrong: Guided, lam: float, steps: int = 12) -> Response:
    both = tangent(exact, wrong, FixedLabel(GAUSSIAN))
    return respond(both, START, levels(steps), LABELS, noise=Kept(), step=Exponential(lam=lam))


@pytest.mark.parametrize("lam", [1.0, 0.0], ids=["SDE", "ODE"])
def test_the_exact_tangent_is_the_derivative_of_the_samples(lam: float) -> None:
    small = 1e-5
    response = followed(guided(TURNING), guided(TURNING, 1.0), lam)
    up, down = (ends(guided(TURNING, size), lam) for size in (small, -small))
    assert torch.equal(response.x, ends(guided(TURNING), lam))
    torch.testing.assert_close(response.tangents["exact"], (up - down) / (2 * small), rtol=1e-6, atol=1e-7)
    spread = [
        np.mean([variance(rows.numpy()).value for rows in end.reshape(CLASSES, PATHS, DIM)]) for end in (up, down)
    ]
    assert response.variance("exact").value == pytest.approx((spread[0] - spread[1]) / (2 * small), rel=1e-5)
    m = TARGET.centroids
    along = ((up - down).reshape(CLASSES, PATHS, DIM).mean(1) * m).sum(1) / m.square().sum(1) / (2 * small)
    assert response.mean_shift("exact", m).value == pytest.approx(float(along.mean()), rel=1e-5)


@pytest.mark.parametrize("lam", [1.0, 0.0], ids=["SDE", "ODE"])
def test_guidance_against_one_gaussian_is_told_as_a_whole(lam: float) -> None:
    """It is affine, so that the tangent with its Jacobian is all that it adds to the exact law, however much."""
    blind = Guided(main=OwnMode(NARROW), reference=FixedLabel(GAUSSIAN), schedule=3.0)
    exact = guided(3.0)
    response = followed(exact, blind, lam)
    moved = ends(blind, lam) - ends(exact, lam)
    torch.testing.assert_close(response.tangents["whole"], moved, rtol=1e-10, atol=1e-11)
    assert torch.equal(response.tangents["whole"], response.tangents["gaussian"])
    spread = [rows.reshape(CLASSES, PATHS, DIM).var(1).mean() for rows in (ends(blind, lam), response.x)]
    assert response.variance("whole", squared=True).value == pytest.approx(float(spread[0] - spread[1]), rel=1e-9)
    assert float((response.tangents["bare"] - moved).norm() / moved.norm()) > 0.2


def test_without_guidance_the_bare_kernel_is_exact() -> None:
    off = Off(OwnMode(NARROW), torch.ones(DIM, dtype=torch.float64))
    unguided = [Guided(main=main, reference=off, schedule=0.0) for main in (OwnMode(NARROW), off)]
    response = followed(*unguided, 1.0)
    torch.testing.assert_close(response.tangents["bare"], ends(unguided[1], 1.0) - response.x, rtol=1e-10, atol=1e-12)
    assert torch.equal(response.tangents["bare"], response.tangents["exact"])
    assert response.variance("bare").value == pytest.approx(0, abs=1e-12)  # all paths move alike


@pytest.mark.parametrize(("strength", "lam"), [(3.0, 0.0), (TURNING, 1.0)], ids=["constant ODE", "turning SDE"])
def test_tangents_follow_the_kernel_of_theory(strength: GuidanceSchedule | float, lam: float) -> None:
    """A constant error of the centroid estimate is one of (t/v) of the denoised mean."""
    unit = covariant(torch.zeros(DIM).double(), cov=(1 + OFFSET) * torch.eye(DIM).double()).narrowed(OFFSET)
    by = torch.tensor([1.0, 0.0, -2.0], dtype=torch.float64)
    exact = Guided(main=OwnMode(NARROW), reference=FixedLabel(ExactDenoiser(unit)), schedule=strength)
    response = followed(exact, replace(exact, main=Off(OwnMode(NARROW), by)), lam, 48)
    y = np.linspace(np.log(OFFSET), np.log(OFFSET + T_MAX), 20001)
    t = np.maximum(np.exp(y) - OFFSET, 0)
    acting = 1 + (3.0 if strength == 3.0 else np.where(t > 0.3, 3.0, -1.0))
    for name, w in (("exact", strength), ("bare", 0.0)):
        expected = np.trapezoid(acting * error_kernel(t, STD, w, lam), y)
        torch.testing.assert_close(response.tangents[name], (expected * by).expand(START.shape), rtol=1e-3, atol=0)


@pytest.mark.parametrize("labels", [LABELS[:-1], LABELS.flip(0)[1:], torch.arange(20)], ids=["few", "uneven", "single"])
def test_rows_come_class_by_class(labels: Tensor) -> None:
    with pytest.raises(ConfigError, match="`label` must hold one class per row"):
        respond(tangent(guided(1.0), guided(1.0, 0.5)), START, levels(2), labels, noise=Kept())
