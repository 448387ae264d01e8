"""Models that ship: weights of several sizes, data and names of each, and what is like them and what is not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from orthoscope.errors import ConfigError
from orthoscope.integrations.class_pipeline import build_network, network_config, pipeline_of
from orthoscope.integrations.host import host_of
from orthoscope.integrations.hub import read_pipeline
from orthoscope.integrations.judge import ShippedJudge
from orthoscope.integrations.shipped import MODELS, model_like, read_class_pipeline, write_weights
from orthoscope.integrations.source import Source
from orthoscope.integrations.twin import LAWS, twin_of
from orthoscope.process import NoiseLevel
from orthoscope.targets import gaussian_classes
from orthoscope.targets.empirical import leave_one_out

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
each = pytest.mark.parametrize("name", MODELS)


@each
def test_weights_ship_in_a_small_file_and_make_images_of_the_size_of_the_data(name: str) -> None:
    model = MODELS[name]
    assert model.file.stat().st_size < 6e6
    host = Source.of(name).host()
    assert host.name == name
    assert host.shipped is model
    assert host.classes == model.classes
    images = host.pipe(
        [0, 1], num_inference_steps=2, output_type="latent", generator=torch.Generator().manual_seed(0)
    ).images
    assert images.shape[1:] == model.images()[0].shape[1:]
    assert torch.isfinite(images).all()


@each
def test_data_are_split_once_whatever_the_order(name: str) -> None:
    model = MODELS[name]
    x, labels = model.images()
    assert (x.min(), x.max()) == (-1.0, 1.0)
    seen, held_out = model.split()
    assert Counter([*seen, *held_out]) == Counter(range(len(x)))
    assert set(labels[held_out]) == set(range(model.classes))
    others = model.split(seed=3)
    assert set(others[1]) == set(held_out)
    assert others[1].tolist() != held_out.tolist()


def test_what_only_looks_like_a_model_is_none() -> None:
    config = network_config(side=16, classes=1000, channels=(16, 32))
    glyphs = MODELS["glyphs"]
    assert glyphs.names is not None
    names = glyphs.names()
    assert model_like(config, names) is model_like(config, names, "digits") is glyphs
    assert model_like(config, names, "glyphs-weak") is MODELS["glyphs-weak"]
    for others in ((), names[::-1], tuple(map(str, range(1000)))):
        assert model_like(config, others) is None
    assert host_of(pipeline_of(build_network(config))).shipped is None
    assert model_like(network_config(side=8, classes=10, channels=(16, 32)), ()) is MODELS["digits"]


def test_names_survive_the_file_and_the_folder(tmp_path: Path) -> None:
    model = MODELS["glyphs-10"]
    assert model.names is not None
    network = build_network(model.network, 4)
    write_weights(model, network, tmp_path / "w.safetensors", made_by={})
    again = read_class_pipeline(tmp_path / "w.safetensors")
    assert tuple(again.labels) == model.names()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(again.unet.state_dict()[name], value.half().float(), rtol=0, atol=0)
    again.save_pretrained(tmp_path / "folder")
    host = host_of(read_pipeline(str(tmp_path / "folder")))
    assert host.shipped is model
    assert host.label(model.names()[3]) == host.label("3") == 3


def test_a_thousand_classes_are_asked_for_in_part() -> None:
    host = Source.of("glyphs").host()
    assert host.default_prompts == tuple(str(k * 1000 // 12) for k in range(12))
    assert not host.is_enumerable


@pytest.mark.parametrize("law", LAWS)
def test_a_twin_is_the_law_that_it_is_said_to_be(law: str) -> None:
    model = MODELS["glyphs-10"]
    host = Source.of(model.name).host()
    twin = twin_of(host, law=law)  # type: ignore[arg-type]
    assert twin.shipped is model
    x, labels = (torch.from_numpy(part) for part in model.images())
    rows = x[:3].flatten(1) + 0.7
    level = NoiseLevel(time=0.8)
    network = twin.pipe.unet
    own, none = (network.denoised(rows, level, torch.full((3,), label)) for label in (2, 10))
    gaussians = gaussian_classes(x.flatten(1), labels)
    if law == "modes":
        assert not np.allclose(own, gaussians.conditional(2).denoised(rows, level), atol=1e-2)
        return
    torch.testing.assert_close(own, gaussians.conditional(2).denoised(rows, level))
    whole = gaussians if law == "classes" else gaussians.gaussian()
    torch.testing.assert_close(none, whole.denoised(rows, level))


def test_a_judge_of_many_classes_knows_faces_that_it_has_not_seen() -> None:
    judge = ShippedJudge.fitted("glyphs-100")
    assert judge.name == "linear discriminants on the bundled glyphs"
    assert judge.accuracy > 0.97
    assert judge.log_loss < 0.2


@pytest.mark.slow
def test_the_width_of_the_modes_is_that_of_the_largest_leave_one_out_likelihood() -> None:
    glyphs = MODELS["glyphs"]
    assert glyphs.std is not None
    points = torch.from_numpy(glyphs.images()[0]).flatten(1)
    less, best, more = (leave_one_out(points, share * glyphs.std) for share in (0.97, 1.0, 1.03))
    assert best > max(less, more)


def test_a_folder_does_not_take_the_place_of_a_model_that_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert Source().host().shipped is Source.of("digits").host().shipped is MODELS["digits"]
    with pytest.raises(ConfigError, match="digits"):
        Source.of("./digits").pipe()
