from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from orthoscope import datasets, metrics
from orthoscope.audits import contribute
from orthoscope.audits.account import LOGGED
from orthoscope.audits.contribute import PROJECTED, Material
from orthoscope.audits.measure import ENDS, frechet_at_equal_numbers, measured
from tests.audits.cells import GaussianCells, named, parsed
from tests.stat.expect import expect_estimate

TOY = {"constant:0": (0.0, 1.0), "constant:2": (0.2, 0.8), "step:early=2,late=-1,switch=0.5,clock=step": (0.1, 1.1)}
PAIR = {spec: TOY[spec] for spec in ("constant:0", "constant:2")}
ROLES = dict(zip(TOY, ("reference", "constant", "window"), strict=True))
CELLS = GaussianCells(toy=TOY, confidence=dict.fromkeys(TOY, 0.8))
LABELS = (0, 1, 2, 3)
CLASSES = dict(zip(CELLS.prompts, LABELS, strict=True))
REFERENCES = np.random.default_rng(0).standard_normal((96, 6))
FIDELITY = ("precision", "recall", "density", "coverage", "frechet_distance")


def measure(cells: GaussianCells = CELLS, **settings: Any) -> xr.Dataset:
    roles = {schedule: ROLES.get(named(schedule), "constant") for schedule in parsed(cells.toy)}
    references = settings.pop("references", None)
    return measured(Material(cells=cells, prompts=cells.prompts, **settings), roles, cells.prompts, references)


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return measure(labels=CLASSES, references=REFERENCES)


@pytest.fixture(scope="module")
def texts() -> xr.Dataset:
    """Eleven prompts of text, four images each."""
    return measure(GaussianCells(toy=PAIR, prompts=tuple(map(str, range(11))), images=4))


def stacked(schedule: str) -> tuple[np.ndarray, np.ndarray]:
    rows = np.concatenate([CELLS.features(schedule, prompt) for prompt in CELLS.prompts])
    return rows, np.repeat(LABELS, CELLS.images)


# Exact parts


def test_pooled_measures_are_those_of_all_images_at_once(ds: xr.Dataset) -> None:
    references = stacked("constant:0")[0]
    for schedule in TOY:
        x, groups = stacked(schedule)
        at = ds.sel(schedule=schedule)
        variances = [x[groups == g].astype(float).var(0, ddof=1).sum() for g in LABELS]
        first = [references[groups == g].astype(float).var(0, ddof=1).sum() for g in LABELS]
        width = metrics.median_distance(references, groups)
        expected = {
            "total_variance": np.mean(variances),
            "variance_ratio": np.mean(variances) / np.mean(first),
            "participation_ratio": metrics.participation_within(x, groups).value,
            "vendi": metrics.vendi(x, groups, kernel="rbf", width=width).value,
            "pairwise_distance": metrics.distance_within(x, groups).value,
            "fisher_ratio": metrics.fisher_ratio(x, groups).value,
            "lda_accuracy": metrics.lda_accuracy(x, groups).value,
            "mean_shift": metrics.mean_shift_from(x, references, groups).value,
            "displacement": metrics.displacement_from(x, references, groups).value,
            "log_volume_ratio": metrics.log_volume_ratio(x, references, groups).value,
            "class_posterior": np.mean([CELLS.probabilities(schedule, p)[:, g].mean() for g, p in enumerate("0123")]),
            **{name: part.value for name, part in metrics.manifolds(x, REFERENCES)._asdict().items()},
        }
        for name, value in expected.items():
            assert float(at[name]) == pytest.approx(value, rel=1e-9, abs=1e-12), name
            assert at[f"{name}_low"] <= at[name] <= at[f"{name}_high"]
        assert np.mean(at["by_prompt_total_variance"]) == pytest.approx(np.mean(variances), rel=1e-9)
        np.testing.assert_allclose(at["by_prompt_variance_ratio"], np.divide(variances, first), rtol=1e-6)


def test_the_reference_is_itself_without_error(ds: xr.Dataset) -> None:
    at = ds.sel(schedule="constant:0")
    for name, value in (("variance_ratio", 1), ("mean_shift", 0), ("displacement", 0), ("log_volume_ratio", 0)):
        for end in ("", "_low", "_high"):
            assert float(at[f"{name}{end}"]) == pytest.approx(value, abs=1e-12)


def test_what_guidance_did_is_found(ds: xr.Dataset) -> None:
    for schedule, (shift, spread) in list(TOY.items())[1:]:
        at = ds.sel(schedule=schedule)
        for name, expected in (("mean_shift", shift), ("variance_ratio", spread**2), ("total_variance", 6 * spread**2)):
            error = float(at[f"{name}_stderr"])
            expect_estimate(at[name], error, expected, detect=11 * error, false_fail=1e-7)


def test_the_frechet_distance_takes_equal_numbers(ds: xr.Dataset) -> None:
    x, _ = stacked("constant:2")
    found, plain = ds.sel(schedule="constant:2"), metrics.frechet_between(x, REFERENCES)
    assert float(found.frechet_distance) == pytest.approx(plain.value, abs=2 * plain.stderr)  # other blocks
    fewer = frechet_at_equal_numbers(x, REFERENCES[:60], seed=0)
    assert fewer.n == 60
    assert fewer.low < fewer.value < fewer.high


def test_the_frechet_distance_of_one_law_is_nothing_though_rows_come_by_prompt(seed: int) -> None:
    stream, means = np.random.default_rng(seed), 6 * np.eye(8)
    x, y = (means[labels] for labels in (np.repeat(np.arange(8), 40), stream.integers(0, 8, 320)))
    x, y = x + stream.standard_normal(x.shape), y + stream.standard_normal(y.shape)
    found = frechet_at_equal_numbers(x, y, seed=0)
    assert abs(found.value) < 8 * found.stderr
    assert metrics.frechet_between(x, y).value < -8 * found.stderr  # leaving out a prompt is no small change


def test_costs_add_up_and_memory_is_the_largest(ds: xr.Dataset) -> None:
    np.testing.assert_allclose(ds.network_calls, 60.0 * 24 * 4)
    np.testing.assert_allclose(ds.seconds, 2.0)
    np.testing.assert_allclose(ds.memory, 4e6)


def test_logs_are_means_over_prompts_padded_where_there_was_no_evaluation(ds: xr.Dataset) -> None:
    assert ds.log_strength.dims == ("schedule", "evaluation")
    assert np.isfinite(ds.log_strength).sum("evaluation").values.tolist() == [3, 4, 5]
    np.testing.assert_allclose(ds.log_strength.values[np.isfinite(ds.log_strength.values)], 1.5)
    assert all(np.isnan(ds[f"log_{name}"]).all() for name in LOGGED if name != "strength")


def test_thumbnails_are_of_evenly_chosen_prompts(ds: xr.Dataset, texts: xr.Dataset) -> None:
    assert ds.image.shape == (3, 4, 6, 2, 3, 1)
    assert ds.image.dtype == np.uint8
    assert ds.image[2, 3, 0, 0, 0, 0] == 32
    assert texts.shown_prompt.values.tolist() == ["0", "2", "4", "6", "8", "10"]


# What is random


def test_classes_are_given_and_many_texts_are_drawn(ds: xr.Dataset, texts: xr.Dataset) -> None:
    assert ds.over == "images"
    assert texts.over == "prompts"
    means = texts.by_prompt_total_variance.sel(schedule="constant:2").values
    error = means.std(ddof=1) / np.sqrt(len(means))
    assert float(texts.total_variance_stderr.sel(schedule="constant:2")) == pytest.approx(error, rel=1e-9)
    few = GaussianCells(toy=TOY, prompts=tuple(map(str, range(9))), images=4)
    assert Material(cells=few, prompts=few.prompts).over == "images"


def test_the_most_direct_measure_of_adherence_decides(ds: xr.Dataset) -> None:
    plain = GaussianCells(toy=PAIR)
    texts = {prompt: plain.center(prompt) for prompt in plain.prompts}
    assert ds.adherence == "class_posterior"
    assert Material(cells=plain, prompts=plain.prompts).primary == "lda_accuracy"
    assert Material(cells=plain, prompts=plain.prompts, text_features=texts).primary == "text_similarity"
    found = measure(plain, text_features=texts, kernel="cosine")
    x, groups = stacked("constant:2")
    repeated = np.repeat([texts[p] for p in plain.prompts], plain.images, axis=0)
    at = found.sel(schedule="constant:2")
    assert float(at.text_similarity) == pytest.approx(metrics.text_similarity(x, repeated, groups).value, rel=1e-6)
    assert float(at.vendi) == pytest.approx(metrics.vendi(x, groups).value, rel=1e-9)
    assert "by_prompt_text_similarity_high" in found


# Long features


def test_long_features_are_projected_where_prompts_are_compared() -> None:
    long = GaussianCells(toy=TOY, images=8, dim=PROJECTED + 500)
    material = Material(cells=long, prompts=long.prompts)
    x = long.features("constant:0", "1")
    short = material.projected(x)
    assert short.shape == (8, PROJECTED)
    # Each squared distance has a relative error of sqrt(2/1024): six of them.
    gaps, near = ([((a[0] - b) ** 2).sum() for b in a[1:]] for a in (x, short))
    np.testing.assert_allclose(near, gaps, rtol=6 * np.sqrt(2 / PROJECTED))
    assert material.projected(x[:, :PROJECTED]).base is x


def test_measures_within_prompts_see_features_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contribute, "PROJECTED", 40)
    long = GaussianCells(toy=PAIR, images=16, dim=80)
    found = measure(long)
    assert found.features_compared == 40
    variances = [long.features("constant:2", p).astype(float).var(0, ddof=1).sum() for p in long.prompts]
    assert float(found.total_variance.sel(schedule="constant:2")) == pytest.approx(np.mean(variances), rel=1e-6)
    expect_estimate(found.mean_shift[1], float(found.mean_shift_stderr[1]), 0.2, detect=0.15)


# What cannot be measured


def test_a_collapse_is_noted_and_the_rest_is_measured() -> None:
    toy = {**PAIR, "constant:9": (0.9, 0.0)}
    found = measure(GaussianCells(toy=toy, images=8))
    at = found.sel(schedule="constant:9")
    assert bool(np.isnan(at.fisher_ratio))
    assert float(at.variance_ratio) == 0
    assert float(at.mean_shift) == pytest.approx(0.9, abs=0.2)
    notes = json.loads(found.notes)
    assert any(note.startswith("fisher_ratio: cannot form a ratio to 0") and "constant:9" in note for note in notes)
    assert not any("constant:2" in note for note in notes)
    assert np.isfinite(found.fisher_ratio[:2]).all()


def test_two_images_measure_what_two_images_can() -> None:
    found = measure(GaussianCells(toy=PAIR, images=2))
    assert "mean_shift" not in found
    assert any(note.startswith("mean_shift: ") and "make more images" in note for note in json.loads(found.notes))
    pairs = GaussianCells(toy=PAIR, images=2, prompts=tuple(map(str, range(10))))
    assert bool(np.isfinite(measure(pairs).total_variance_stderr).all())


def test_what_applies_to_no_schedule_is_left_out(ds: xr.Dataset) -> None:
    bare = measure(GaussianCells(toy=PAIR, images=4))
    for name in (*FIDELITY, "class_posterior", "text_similarity", "by_prompt_class_posterior"):
        assert name not in bare
    assert all(f"{name}{end}" in ds for name in FIDELITY for end in ENDS)
    assert "by_prompt_vendi_stderr" not in ds


# The dataset


def test_the_dataset_is_labelled_and_comes_back_from_disk(ds: xr.Dataset, tmp_path: Path) -> None:
    assert ds.role.values.tolist() == ["reference", "constant", "window"]
    assert ds.by_prompt_vendi_low.attrs == ds.vendi.attrs == {"units": "1", "long_name": "Vendi score"}
    some = ds[["vendi", "by_prompt_vendi_low", "log_sigma", "image", "memory"]]
    datasets.write(some, tmp_path / "results.nc", group="pipeline")
    xr.testing.assert_identical(datasets.read(tmp_path / "results.nc", group="pipeline"), some)


def test_the_seed_decides_intervals_and_not_values() -> None:
    few = GaussianCells(toy=PAIR, images=5, prompts=("0", "1"))
    one, again, other = (measure(few, seed=seed) for seed in (0, 0, 1))
    xr.testing.assert_identical(one, again)
    xr.testing.assert_equal(other.total_variance, one.total_variance)
    assert (other.total_variance_low != one.total_variance_low).all()
