"""Curved surfaces and cubes: exact denoisers and distances, controls that stay, a control that leaves, the study."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orthoscope import rng
from orthoscope.denoise import Denoiser, Evaluation, ExactDenoiser, Label, Memory
from orthoscope.errors import ConfigError
from orthoscope.experiments.networks.strays import Levels, Strays
from orthoscope.experiments.networks.supports import CLASSES, Cubes, Support, cubes, patches
from orthoscope.experiments.networks.surfaces import MEASURES, PAIRS, SCHEDULES, SurfacesStudy
from orthoscope.guidance.schedules import Constant
from orthoscope.learned import Training
from orthoscope.plots.surfaces import surfaces_figure
from orthoscope.process import NoiseLevel
from orthoscope.report.tables import surfaces_tables
from orthoscope.sweeps.points import HERE
from orthoscope.typing import Rows
from tests.stat.expect import expect_estimate

UNGUIDED = (Constant(value=0.0),)


def unguided(support: Support, seed: int, samples: int = 32) -> Strays:
    return Strays(support=support, schedules=UNGUIDED, samples=samples, steps=40, t_max=50.0, seed=seed)


@dataclass(frozen=True, eq=False)
class Shifted(Denoiser):
    """The exact denoiser of a law that is moved."""

    denoiser: Denoiser
    by: torch.Tensor

    def evaluate(self, x: Rows, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        found = self.denoiser.evaluate(x - self.by, level, label, memory)
        return replace(found, denoised=found.denoised + self.by)


@pytest.mark.parametrize("time", [1e-4, 0.03, 1.0, 40.0])
def test_closed_forms_of_cubes_are_those_of_their_blend(time: float, seed: int) -> None:
    law = Cubes(centers=cubes(seed).centers.double())
    x, labels = law.sample(2, rng.stream(seed))
    x = x + time**0.5 * torch.from_numpy(rng.stream(seed, "noise").standard_normal(tuple(x.shape)))
    level, slow = NoiseLevel(time=time), ExactDenoiser(law.law)
    for label in (None, labels):
        torch.testing.assert_close(law.exact(x, level, label), slow(x, level, label), rtol=0, atol=1e-10)


def test_distance_from_the_surface_is_that_along_its_normal_whatever_the_grid(seed: int) -> None:
    law = patches(seed)
    z = torch.from_numpy(rng.stream(seed, "z").standard_normal((64, 2)))
    away = torch.from_numpy(rng.stream(seed, "away").standard_normal((64, 16)))
    slope = law._slope(z)
    normal = away - (slope @ torch.linalg.lstsq(slope, away[:, :, None]).solution)[:, :, 0]
    x = law.surface(z) + 0.2 * normal / normal.norm(dim=1, keepdim=True)
    expected = torch.full((64,), 0.2, dtype=torch.float64)
    for side in (32, 57):
        torch.testing.assert_close(replace(law, side=side).distance(x), expected, rtol=0, atol=1e-9)
    far = law.surface(torch.tensor([[3e3, -4e3], [1e4, 2e4]]))  # where the surface has no slope any more
    assert bool(law.distance(far).isfinite().all())


def test_moments_of_classes_and_of_all_are_those_of_their_samples(seed: int) -> None:
    for law in (patches(seed), cubes(seed)):
        x, labels = law.sample(400, rng.stream(seed))
        torch.testing.assert_close(law.means[3].float(), x[labels == 3].mean(0), rtol=0, atol=0.15)
        assert float(x.square().mean()) ** 0.5 == pytest.approx(law.scale, rel=0.03)
        cov = law.gaussian.basis @ torch.diag(law.gaussian.variances) @ law.gaussian.basis.T
        torch.testing.assert_close(cov, torch.cov(x.T), rtol=0, atol=0.15)


def test_exact_scores_unguided_stay_in_their_cubes(seed: int) -> None:
    found = {name: one[0] for name, one in unguided(cubes(seed), seed, 64).measure((cubes(seed).exact,) * 2).items()}
    assert found["left"].value == found["lost"].value == 0
    assert found["distance"].value < 0.01
    expect_estimate(found["variance_ratio"].value, found["variance_ratio"].stderr, 1.0, bias=0.02, detect=0.2)
    expect_estimate(found["mean_shift"].value, found["mean_shift"].stderr, 0.0, detect=0.1)


def test_exact_scores_unguided_stay_as_near_the_surface_as_data(seed: int) -> None:
    law = patches(seed)
    x = unguided(law, seed, 16).run((law.exact, law.exact), UNGUIDED[0])
    data, _ = law.sample(16, rng.stream(seed, "data"))
    assert float(law.distance(x).square().mean() / law.distance(data).square().mean()) == pytest.approx(1, abs=0.15)


def test_a_denoiser_that_is_off_by_a_step_leaves_by_the_share_of_that_step(seed: int) -> None:
    """Of samples that are uniform in [-1 + b, 1 + b], a share (b - 0.05) / 2 is beyond 1.05; mean square b^3 / 6."""
    law, step = cubes(seed), 0.45
    wrong = Shifted(law.exact, step * torch.eye(8)[0])
    found = unguided(law, seed, 64).measure((wrong, wrong))
    left, distance = found["left"][0], found["distance"][0]
    expect_estimate(left.value, left.stderr, (step - 0.05) / 2, bias=0.005, detect=0.2)
    expect_estimate(distance.value, distance.stderr, (step**3 / 6) ** 0.5, bias=0.002, detect=0.08)


def test_learned_fractions_and_times_of_decision(seed: int) -> None:
    law = cubes(seed)
    exam = Levels(support=law, times=(1e-3, 0.1, 1.0, 50.0), samples=4, seed=seed)
    assert exam.learned(law.exact).value == pytest.approx(1)
    assert exam.learned(ExactDenoiser(law.gaussian)).value == pytest.approx(0)
    assert exam.decided(1.0) == pytest.approx(1e-3)
    way = (exam.posterior - 1 / CLASSES) / (exam.posterior[0] - 1 / CLASSES)
    assert exam.decided(float(way[2])) == pytest.approx(1.0)


def test_the_study_tells_all_measures_and_keeps_its_networks(tmp_path: Path) -> None:
    training = Training(steps=2, batch=8, every=2)
    study = SurfacesStudy(
        laws=("boxes",), small=training, better=training, widths=(2, 3), points=4, samples=4, steps=4, levels=3, seeds=1
    )
    result = study.run(HERE.kept(tmp_path, anew=False))
    assert len(list((tmp_path / "networks").iterdir())) == 2
    numbers: dict[str, Any] = json.loads(json.dumps(study.summarize(result)))
    told = numbers["boxes"]["schedules"]
    assert list(told) == list(SCHEDULES)
    assert all(list(told[text]) == list(PAIRS) and list(told[text]["exact"]) == list(MEASURES) for text in told)
    assert np.isfinite(result["gain"]).all()
    assert len(surfaces_tables(numbers)[0].rows) == len(SCHEDULES) * (len(PAIRS) - 1)  # half the steps stand above
    assert len(surfaces_figure(result).axes) == 3


def test_studies_of_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="`laws` are manifold, boxes; got balls"):
        SurfacesStudy(laws=("balls",))
    with pytest.raises(ConfigError, match="`samples` must be at least 2, got 1"):
        SurfacesStudy(samples=1)
