from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr

from orthoscope.audits.beside import PLAIN, REAL, Origin
from orthoscope.audits.compare import compared
from orthoscope.audits.contribute import Material, Notes
from orthoscope.audits.measure import measured
from orthoscope.audits.plan import REFERENCE
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant
from orthoscope.metrics import ClassImages
from orthoscope.rng import stream
from tests.audits.cells import GaussianCells, parsed
from tests.stat.expect import expect_estimate

STEP = "step:early=2,late=-1,switch=0.5,clock=step"
TOY = {"constant:0": (0.0, 1.0), "constant:2": (0.4, 0.8), STEP: (0.2, 1.1)}
CELLS = GaussianCells(toy=TOY, images=100)
ROLES = dict(zip(parsed(TOY), ("reference", "constant", "window"), strict=True))
LABELS = {prompt: number for number, prompt in enumerate(CELLS.prompts)}
CENTERS = np.stack([CELLS.center(prompt) for prompt in CELLS.prompts])
APART = float(((CENTERS - CENTERS.mean(0)) ** 2).sum(1).mean() / CELLS.dim)


def real(each: int = 500) -> ClassImages:
    """Real images of the toy's classes, every tenth held out."""
    classes = np.repeat(np.arange(4), each)
    rows = CENTERS[classes] + stream(1, "real").standard_normal((len(classes), CELLS.dim))
    out = np.arange(len(classes)) % 10 == 0
    return ClassImages(rows=rows[~out], labels=classes[~out], unseen=(rows[out], classes[out]))


def audited(images: ClassImages | None) -> xr.Dataset:
    material = Material(cells=CELLS, prompts=CELLS.prompts, labels=LABELS, real=images)
    ds = measured(material, ROLES, CELLS.prompts)
    return compared(material, ds, list(ROLES), current=Constant(value=2))


@pytest.fixture(scope="module")
def by_class() -> xr.Dataset:
    return audited(real())


@pytest.fixture(scope="module")
def by_prompt() -> xr.Dataset:
    return audited(None)


@pytest.mark.parametrize("spec", list(TOY))
def test_spread_and_shift_both_count_as_distance(by_class: xr.Dataset, spec: str) -> None:
    shift, spread = TOY[spec]
    at = by_class.sel(schedule=spec)
    # The toy moves images by the shift of the whole center, not of what is apart from the others'.
    moved = shift**2 * float((CENTERS**2).sum(1).mean() / CELLS.dim)
    error = float(at.class_distance_stderr)
    expect_estimate(at.class_distance, error, math.sqrt(spread**2 + moved), bias=0.02, detect=0.4)
    assert at.class_distance_low <= at.class_distance <= at.class_distance_high
    assert float(at.by_prompt_class_distance.mean()) == pytest.approx(float(at.class_distance), rel=0.2)


def test_the_excess_is_what_is_beyond_real_images_moved_alike(by_class: xr.Dataset) -> None:
    at = by_class.sel(schedule=STEP)
    expected = float(at.class_distance) - math.sqrt(
        float(by_class.real_class_distance) ** 2 + float(at.mean_shift) ** 2 * APART
    )
    assert float(at.distance_excess) == pytest.approx(expected, abs=0.01)
    plain = by_class.sel(schedule="constant:0")
    assert abs(float(plain.distance_excess)) < 5 * float(plain.distance_excess_stderr)
    # Images held out are independent of those made: their errors add up.
    assert float(plain.distance_excess_stderr) == pytest.approx(
        math.hypot(float(plain.class_distance_stderr), float(by_class.real_class_distance_stderr)), rel=0.02
    )


def test_at_equal_mean_shift_more_spread_is_more_distance(by_class: xr.Dataset) -> None:
    at = by_class.sel(schedule=STEP)
    places = {spec: by_class.sel(schedule=spec) for spec in ("constant:0", "constant:2")}
    share = float(at.mean_shift / places["constant:2"].mean_shift)
    line = (1 - share) * float(places["constant:0"].class_distance) + share * float(places["constant:2"].class_distance)
    assert float(at.distance_gain) == pytest.approx(float(at.class_distance) - line, abs=1e-9)
    assert at.distance_gain_low > 0
    assert np.isnan(by_class.distance_gain.sel(schedule="constant:2"))


def test_without_real_images_those_at_strength_0_are_measured_from(by_class: xr.Dataset, by_prompt: xr.Dataset) -> None:
    assert (by_class.distances_from, by_prompt.distances_from) == (REAL, PLAIN)
    for ds in (by_class, by_prompt):
        assert ds.attrs["distances_from"] in ds.class_distance.long_name
        assert ds.attrs["distances_from"] in ds.distance_gain.long_name
    assert "real_class_distance" not in by_prompt
    plain = by_prompt.sel(schedule="constant:0")
    for end in ("", "_low", "_high"):
        assert float(plain[f"distance_excess{end}"]) == pytest.approx(0, abs=1e-12)
    assert float(plain.novelty) == pytest.approx(1, rel=1e-12)
    assert float(plain.class_distance) == pytest.approx(1, abs=0.05)
    # An image is measured without the one of its own noise: a schedule that is hardly another is not nearer for it.
    toy = TOY | {"constant:2": (0.0, 1.0)}
    cells = GaussianCells(toy=toy, images=100, own=1e-6)
    material = Material(cells=cells, prompts=cells.prompts)
    alike = measured(material, ROLES, cells.prompts)
    for name in ("class_distance", "novelty", "far_share"):
        assert float(alike[name].sel(schedule="constant:2")) == pytest.approx(
            float(alike[name].sel(schedule="constant:0")), rel=0.01, abs=0.003
        )


def test_classes_of_prompts_must_be_known() -> None:
    material = Material(cells=CELLS, prompts=CELLS.prompts, real=real(10))
    run = material.read(REFERENCE, Notes())
    with pytest.raises(ConfigError, match="the class of '0' is not known; name it"):
        Origin.of(material, run)
    noted = measured(material, ROLES, CELLS.prompts)
    assert "class_distance" not in noted
    assert "the class of '0' is not known" in noted.notes
