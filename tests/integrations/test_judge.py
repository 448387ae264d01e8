"""Judges and reference images: posteriors by hand, held-out digits, folders of files, mistakes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from orthoscope import rng
from orthoscope.errors import ConfigError
from orthoscope.experiments.train import ModelTraining
from orthoscope.integrations.features import features_of
from orthoscope.integrations.host import Host, host_of
from orthoscope.integrations.judge import (
    ShippedJudge,
    judge_of,
    reference_features,
    reference_images,
)
from orthoscope.integrations.shipped import DIGITS, read_class_pipeline
from tests.integrations import networks, pipelines
from tests.stat.expect import expect_rate

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
CLASSES = 10


@pytest.fixture(scope="module")
def host() -> Host:
    return host_of(read_class_pipeline(DIGITS.file), "digits")


@pytest.fixture(scope="module")
def model() -> Host:
    return host_of(pipelines.stable_diffusion(), "model")


@pytest.fixture(scope="module")
def judge(host: Host) -> ShippedJudge:
    found = judge_of(host)
    assert isinstance(found, ShippedJudge)
    return found


def generated(latents: Any = None, images: Any = None) -> Any:
    return SimpleNamespace(latents=latents, images=images)


# Digits


def test_it_is_judged_by_the_images_that_the_shipped_model_has_not_seen(judge: ShippedJudge) -> None:
    _, held_out = ModelTraining().split()
    labels = held_out.labels.numpy()
    found = judge.probabilities(generated(held_out.x.numpy()))
    assert (found.argmax(1) == labels).mean() == judge.accuracy
    assert -np.log(found[np.arange(len(labels)), labels]).mean() == pytest.approx(judge.log_loss, rel=1e-12)


def test_it_knows_digits_and_how_sure_it_may_be(judge: ShippedJudge) -> None:
    """What it says to be sure of, it gets right as often as it says; machines without temperature are not as good."""
    _, held_out = ModelTraining().split()
    x, labels = held_out.x.numpy(), held_out.labels.numpy()
    found = judge.probabilities(generated(x))
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-12)
    right = found.argmax(1) == labels
    expect_rate(right, 0.98, detect=0.25)
    expect_rate(right, float(found.max(1).mean()), detect=0.25)
    untempered = torch.from_numpy(judge.classifier.decision_function(x.reshape(len(x), -1).astype(np.float64)))
    plain = torch.nn.functional.cross_entropy(untempered, torch.from_numpy(labels))
    assert judge.log_loss < 0.5 * float(plain)


def test_it_doubts_what_lies_between_two_digits(judge: ShippedJudge) -> None:
    x, labels = DIGITS.images()
    pairs = [(x[labels == a][:40] + x[labels == b][:40]) / 2 for a, b in ((1, 7), (3, 5), (4, 9))]
    surest = judge.probabilities(generated(np.concatenate(pairs))).max(1).mean()
    assert surest < judge.probabilities(generated(x[:120])).max(1).mean() - 0.1


# Networks


def test_a_classifier_s_posterior_is_the_softmax_of_its_logits(model: Host, tmp_path: Path) -> None:
    folder = networks.classifier(tmp_path, 4)
    judge = judge_of(model, classifier=folder)
    images = rng.stream(0, "pictures").random((3, networks.SIDE, networks.SIDE, 3)).astype(np.float32)
    pixels = torch.from_numpy((np.rint(images * 255) / 255 - 0.4) / 0.3).float().permute(0, 3, 1, 2)
    expected = transformers.ViTForImageClassification.from_pretrained(folder)(pixels).logits.softmax(1)
    assert judge is not None
    assert judge.name == "vit classifier"
    np.testing.assert_allclose(judge.probabilities(generated(images=images)), expected.detach(), rtol=1e-4, atol=1e-6)


def test_a_classifier_must_tell_the_host_s_classes_apart(host: Host, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tells 4 classes apart, digits makes 10"):
        judge_of(host, classifier=networks.classifier(tmp_path / "few", 4))
    with pytest.raises(ConfigError, match="no such folder"):
        judge_of(host, classifier=str(tmp_path / "a" / "b"))


def test_there_is_no_judge_where_there_is_no_class(model: Host) -> None:
    assert judge_of(model) is None


# References


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_digits_are_compared_with_the_bundled_ones(host: Host) -> None:
    x, _ = DIGITS.images()
    images = reference_images(None, host)
    assert images is not None
    assert images.shape == (1797, 8, 8, 1)
    np.testing.assert_array_equal(images[..., 0] * 2 - 1, x[:, 0])
    for name, expected in (("latent", x), ("pixel", images)):
        found = reference_features(features_of(name), None, host)
        np.testing.assert_array_equal(found, expected.reshape(1797, 64))


def test_files_are_cut_to_squares_of_the_smallest_side(model: Host, tmp_path: Path) -> None:
    source = rng.stream(0, "files")
    tall, small = (source.integers(0, 256, shape, dtype=np.uint8) for shape in ((20, 12, 3), (6, 6)))
    write(tmp_path / "b" / "tall.PNG", tall)
    write(tmp_path / "a.png", small)
    (tmp_path / "notes.txt").write_text("no image")
    found = reference_images(str(tmp_path), model)
    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], np.repeat(small[..., None], 3, axis=2) / 255, rtol=1e-6)
    blocks = tall[4:16].reshape(6, 2, 6, 2, 3).mean((1, 3)) / 255
    np.testing.assert_allclose(found[1], blocks, rtol=1e-6)


def test_files_of_any_size_keep_their_mean(model: Host, tmp_path: Path) -> None:
    deep = rng.stream(0, "deep").integers(0, 65536, (300, 300), dtype=np.uint16)
    write(tmp_path / "deep.png", deep)
    write(tmp_path / "._deep.png", np.zeros((4, 4), np.uint8))  # hidden, as some systems leave them
    (tmp_path / "folder.png").mkdir()
    found = reference_images(str(tmp_path), model)
    assert found is not None
    assert found.shape == (1, 256, 256, 3)
    np.testing.assert_allclose(found.mean(dtype=np.float64), deep.mean() / 65535, rtol=1e-6)


def test_references_of_digits_become_gray_and_as_small(host: Host, tmp_path: Path) -> None:
    blocks = rng.stream(0, "colors").integers(0, 256, (8, 8, 3), dtype=np.uint8)
    write(tmp_path / "digit.png", blocks.repeat(4, axis=0).repeat(4, axis=1))
    found = reference_features(features_of("pixel"), str(tmp_path), host)
    expected = (blocks @ np.array([0.299, 0.587, 0.114])) / 255
    np.testing.assert_allclose(found, expected.reshape(1, 64), rtol=1e-5)


def test_features_of_files_are_read_a_few_at_a_time(model: Host, tmp_path: Path) -> None:
    source = rng.stream(0, "files")
    for k in range(70):
        write(tmp_path / f"{k:02d}.png", source.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    pixel = features_of("pixel")
    images = reference_images(str(tmp_path), model)
    assert images is not None
    np.testing.assert_array_equal(reference_features(pixel, str(tmp_path), model), pixel.of_images(images))


def test_without_a_folder_there_is_nothing_to_compare_with(model: Host) -> None:
    assert reference_images(None, model) is None
    assert reference_features(features_of("pixel"), None, model) is None


def test_every_file_counts_once_and_what_is_not_read_is_told(model: Host, tmp_path: Path) -> None:
    pixels = rng.stream(0, "files").integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    for levels, name in zip(pixels, ("a.png", "b.jfif", "c.jpe"), strict=True):
        Image.fromarray(levels).save(tmp_path / name, format="PNG" if name == "a.png" else "JPEG")
    (tmp_path / "0.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "d.HEIC").touch()
    said: list[str] = []
    found = reference_images(str(tmp_path), model, said.append)
    assert found is not None
    assert found.shape == (3, 8, 8, 3)
    np.testing.assert_allclose(found[0], pixels[0] / 255, rtol=1e-6)
    assert said == [f"{tmp_path} holds images of kinds that are not read (1); convert them to PNG"]


def test_one_small_image_does_not_make_all_others_small(model: Host, tmp_path: Path) -> None:
    for k in range(3):
        write(tmp_path / f"{k}.png", np.zeros((40, 30, 3), np.uint8))
    write(tmp_path / "half.png", np.zeros((60, 15, 3), np.uint8))
    found = reference_images(str(tmp_path), model)
    assert found is not None
    assert found.shape == (4, 15, 15, 3)
    write(tmp_path / "line.png", np.zeros((1, 300, 3), np.uint8))
    with pytest.raises(ConfigError, match=r"line\.png has a side of 1 pixels where most have 30 or more"):
        reference_images(str(tmp_path), model)


def test_wrong_folders_are_refused_in_one_line(model: Host, tmp_path: Path) -> None:
    for nowhere in (str(tmp_path / "nowhere"), "~nobody-of-this-name/x", "a" * 300):
        with pytest.raises(ConfigError, match="no such folder"):
            reference_images(nowhere, model)
    with pytest.raises(ConfigError, match="holds no images"):
        reference_images(str(tmp_path), model)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(ConfigError, match=r"cannot read the image .*broken\.png"):
        reference_images(str(tmp_path), model)
    write(tmp_path / "whole.png", np.zeros((40, 40, 3), dtype=np.uint8))
    (tmp_path / "broken.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    with pytest.raises(ConfigError, match=r"cannot read the image .*broken\.png"):
        reference_images(str(tmp_path), model)
