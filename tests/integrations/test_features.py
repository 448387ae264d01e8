"""Features of images: against direct calls of the networks, area averages by hand, folders that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray

from orthoscope.errors import ConfigError
from orthoscope.integrations.features import Features, area_weights, features_of
from orthoscope.integrations.vision import as_bytes
from orthoscope.rng import stream
from tests.integrations import networks

Images = NDArray[np.float32]
KINDS = ("clip", "dinov2")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("networks")
    return {kind: getattr(networks, kind)(root / kind) for kind in KINDS}


@pytest.fixture(scope="module")
def extractors(folders: dict[str, str]) -> dict[str, Features]:
    return {kind: features_of(kind, model=folders[kind]) for kind in KINDS}


def pictures(n: int, height: int, width: int, channels: int = 3, seed: int = 0) -> Images:
    return stream(seed, "pictures").random((n, height, width, channels)).astype(np.float32)


def generated(images: Images, **parts: Any) -> Any:
    return SimpleNamespace(images=images, **parts)


# Networks


def by_hand(images: Images) -> torch.Tensor:
    """What the processor of `networks` does to squares of the network's own size: no resizing, no crop."""
    levels = np.rint(images * 255) / 255
    return torch.from_numpy((levels - 0.4) / 0.3).float().permute(0, 3, 1, 2)


def test_clip_is_the_network_s_own_embedding(extractors: dict[str, Features], folders: dict[str, str]) -> None:
    images = pictures(3, networks.SIDE, networks.SIDE)
    model = transformers.CLIPModel.from_pretrained(folders["clip"])
    seen = model.visual_projection(model.vision_model(by_hand(images)).pooler_output)
    found = extractors["clip"].of(generated(images))
    assert found.shape == (3, 6)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, seen.detach(), rtol=1e-4, atol=1e-5)


def test_dinov2_is_the_normalized_class_token(extractors: dict[str, Features], folders: dict[str, str]) -> None:
    images = pictures(3, networks.SIDE, networks.SIDE)
    model = transformers.Dinov2Model.from_pretrained(folders["dinov2"])
    seen = model(by_hand(images)).last_hidden_state[:, 0]
    np.testing.assert_allclose(extractors["dinov2"].of(generated(images)), seen.detach(), rtol=1e-4, atol=1e-5)


def test_texts_lie_in_the_space_of_clip_s_images(extractors: dict[str, Features], folders: dict[str, str]) -> None:
    model = transformers.CLIPModel.from_pretrained(folders["clip"])
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folders["clip"])
    tokens = torch.tensor([[0, *tokenizer.convert_tokens_to_ids(["c", "a", "t</w>"]), 1]])
    said = model.text_projection(model.text_model(tokens).pooler_output)[0]
    found = extractors["clip"].of_text("cat")
    assert found is not None
    np.testing.assert_allclose(found, said.detach(), rtol=1e-4, atol=1e-5)
    assert extractors["dinov2"].of_text("cat") is None


def test_a_long_text_is_cut_where_the_network_ends(extractors: dict[str, Features]) -> None:
    clip = extractors["clip"]
    np.testing.assert_array_equal(clip.of_text("a" * 15), clip.of_text("a" * 200))
    assert not np.allclose(clip.of_text("a" * 5), clip.of_text("a" * 200))


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_s_features_do_not_depend_on_its_batch(extractors: dict[str, Features], kind: str) -> None:
    images = pictures(35, 20, 24)  # more than are shown at once
    together = extractors[kind].of_images(images)
    alone = np.concatenate([extractors[kind].of_images(images[k : k + 1]) for k in (0, 31, 32, 34)])
    np.testing.assert_allclose(together[[0, 31, 32, 34]], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gray_images_are_shown_in_three_equal_channels(extractors: dict[str, Features], kind: str) -> None:
    gray = pictures(2, 8, 8, channels=1)
    np.testing.assert_array_equal(extractors[kind].of_images(gray), extractors[kind].of_images(np.tile(gray, 3)))


def test_images_are_shown_as_a_file_of_8_bits_holds_them() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    np.testing.assert_array_equal(as_bytes((levels / 255).astype(np.float32))[..., :1], levels)
    with pytest.raises(ConfigError, match="1 or 3 channels"):
        as_bytes(pictures(1, 4, 4, channels=4))


def test_what_is_known_of_a_network_is_its_weights_and_preprocessing(
    extractors: dict[str, Features], folders: dict[str, str], tmp_path: Path
) -> None:
    again = features_of("clip", model=folders["clip"])
    assert json.dumps(again.identity) == json.dumps(extractors["clip"].identity)
    model = transformers.CLIPModel.from_pretrained(folders["clip"])
    with torch.no_grad():
        model.visual_projection.weight[0, 0] += 1e-3
    networks.saved(tmp_path, model, transformers.CLIPTokenizer.from_pretrained(folders["clip"]), networks.processor())
    assert features_of("clip", model=str(tmp_path)).identity["network"] != again.identity["network"]


# Pixels and latents


@pytest.mark.parametrize("size", [1, 7, 64, 65, 100, 128])
def test_pixels_are_averaged_over_equal_areas(size: int) -> None:
    kept = min(size, 64)
    weights = area_weights(size, kept)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-14)
    np.testing.assert_allclose(weights.sum(0), kept / size, rtol=1e-14)
    fine = np.repeat(np.eye(size), kept, axis=0).reshape(kept, size, size).mean(1)  # every pixel cut into `kept` parts
    np.testing.assert_allclose(weights, fine, rtol=1e-12, atol=1e-15)


def test_pixel_features_keep_small_images_and_the_mean_of_large_ones() -> None:
    pixel = features_of("pixel")
    small = pictures(2, 8, 8, channels=1)
    np.testing.assert_array_equal(pixel.of(generated(small)), small.reshape(2, 64))
    large = pictures(2, 96, 130)
    found = pixel.of_images(large).reshape(2, 64, 64, 3)
    np.testing.assert_allclose(found.mean((1, 2), dtype=np.float64), large.mean((1, 2), dtype=np.float64), rtol=1e-6)
    doubled = small.repeat(16, 1).repeat(16, 2)  # 128 x 128: its cells are its pixels' blocks of 8
    np.testing.assert_allclose(pixel.of_images(doubled), small.repeat(8, 1).repeat(8, 2).reshape(2, -1), rtol=1e-6)


def test_latents_are_taken_as_they_are() -> None:
    latents = stream(0, "latents").standard_normal((3, 4, 2, 2)).astype(np.float32)
    found = features_of("latent").of(generated(pictures(3, 8, 8), latents=latents))
    np.testing.assert_array_equal(found, latents.reshape(3, 16))
    with pytest.raises(ConfigError, match="no latents"):
        features_of("latent").of_images(pictures(1, 8, 8))


# Refusals


def damaged(folder: Path, how: str) -> str:
    """A folder of CLIP with one thing wrong."""
    networks.clip(folder)
    weights = folder / "model.safetensors"
    match how:
        case "no weights":
            weights.unlink()
        case "pickled":
            weights.rename(folder / "pytorch_model.bin")
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:-100])
        case "other weights":
            networks.dinov2(folder / "other")
            (folder / "other" / "model.safetensors").rename(weights)
        case "no preprocessing":
            (folder / "preprocessor_config.json").unlink()
        case "empty preprocessing":
            (folder / "preprocessor_config.json").write_text("{}")
        case "no contrast":
            networks.saved(folder, networks.processor(image_std=[0.0] * 3))
        case "no vocabulary":
            for file in folder.glob("*token*"):
                file.unlink()
        case "no config":
            (folder / "config.json").unlink()
        case "code":
            config = json.loads((folder / "config.json").read_text())
            config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}
            (folder / "own.py").write_text("raise SystemExit('code of a repository ran')")
            (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no weights", "no file named model.safetensors"),
        ("pickled", "`allow_pickle`"),
        ("truncated", "cannot read"),
        ("other weights", "lacks weights of CLIPModel: .* and [0-9]+ more"),
        ("no preprocessing", "load image processor"),
        ("empty preprocessing", r"cannot read \S+clip with its preprocessing: .*16\*16"),
        ("no contrast", "clip with its preprocessing makes NaN or infinity of a gray image; get its files again"),
        ("no vocabulary", "no vocabulary"),
        ("no config", "config.json"),
        ("code", "code of its own"),
    ],
)
def test_wrong_folders_are_refused_in_one_line(tmp_path: Path, how: str, message: str) -> None:
    folder = damaged(tmp_path / "clip", how)
    with pytest.raises(ConfigError, match=message) as raised:
        features_of("clip", model=folder)
    assert len(str(raised.value).splitlines()) == 1
    assert len(str(raised.value)) < 400


def test_other_mistakes_are_told(folders: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="did you mean 'pixel'"):
        features_of("pixels")
    with pytest.raises(ConfigError, match="need no network"):
        features_of("pixel", model="openai/clip-vit-base-patch32")
    with pytest.raises(ConfigError, match="type clip; expected dinov2"):
        features_of("dinov2", model=folders["clip"])
    for nowhere in ("/nowhere/clip", "~nobody-of-this-name/x", "a" * 300):
        with pytest.raises(ConfigError, match="no such folder"):
            features_of("clip", model=nowhere)
    with pytest.raises(ConfigError, match="hf download nobody/nothing"):
        features_of("clip", model="nobody/nothing")
