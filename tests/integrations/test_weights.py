"""Weights: whatever is missing, surplus, misshapen or no number is refused by name, and nothing is unpickled."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from orthoscope.errors import ConfigError
from orthoscope.integrations.features import features_of
from orthoscope.integrations.host import host_of
from orthoscope.integrations.hub import read_pipeline, reading
from orthoscope.integrations.judge import judge_of
from orthoscope.integrations.source import Source
from orthoscope.integrations.weights import check_finite, read_network
from tests.integrations import networks, pipelines

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own


def weights_in(folder: Path) -> Path:
    (found,) = folder.glob("*.safetensors")
    return found


def changed(file: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})


def middle(file: Path) -> str:
    """A tensor from among the others."""
    names = sorted(load_file(file))
    return names[len(names) // 2]


def assert_refused(open_it: Callable[[], object], match: str) -> None:
    before = torch.load, torch.get_rng_state()
    with pytest.raises(ConfigError, match=match) as raised:
        open_it()
    assert len(str(raised.value).splitlines()) == 1
    assert torch.load is before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


# Parts of pipelines


def t5() -> Any:
    config = transformers.T5Config(vocab_size=20, d_model=16, d_kv=4, d_ff=8, num_layers=2, num_heads=2)
    return pipelines.built(transformers.T5EncoderModel, config=config)


def umt5() -> Any:
    config = transformers.UMT5Config(vocab_size=20, d_model=16, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    return pipelines.built(transformers.UMT5EncoderModel, config=config)


def projected() -> Any:
    config = pipelines.texts_of_letters()["text_encoder"].config
    return pipelines.built(transformers.CLIPTextModelWithProjection, config=config)


def eyes() -> Any:
    config = transformers.CLIPVisionConfig(**networks.EYES, projection_dim=16)
    return pipelines.built(transformers.CLIPVisionModelWithProjection, config=config)


def full_sd3() -> Any:
    pipe = pipelines.stable_diffusion_3()
    texts = pipelines.texts_of_letters()
    pipe.register_modules(
        text_encoder=projected(), tokenizer=texts["tokenizer"], text_encoder_2=projected(),
        tokenizer_2=texts["tokenizer"], text_encoder_3=t5(), tokenizer_3=texts["tokenizer"],
    )  # fmt: skip
    return pipe


def full_wan() -> Any:
    pipe = pipelines.wan(0.5)
    pipe.register_modules(tokenizer=pipelines.texts_of_letters()["tokenizer"], text_encoder=umt5())
    return pipe


PIPELINES: dict[str, Callable[[], Any]] = {
    "sd": lambda: pipelines.stable_diffusion(image_encoder=eyes(), **pipelines.texts_of_letters()),
    "sd3": full_sd3,
    "wan": full_wan,
    "digits": pipelines.digits,
}
PARTS = {
    "sd": ("unet", "vae", "text_encoder", "image_encoder"),
    "sd3": ("transformer", "text_encoder", "text_encoder_2", "text_encoder_3"),
    "wan": ("transformer", "transformer_2", "vae", "text_encoder"),
    "digits": ("unet",),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipelines")
    for name, build in PIPELINES.items():
        build().save_pretrained(folder / name)
    return folder


@pytest.mark.parametrize("name", ["sd3", "wan"])
def test_a_whole_pipeline_is_read_as_it_was_saved(name: str, saved: Path) -> None:
    built, found = PIPELINES[name](), Source(model=str(saved / name)).host()
    assert host_of(built).identity == found.identity


@pytest.mark.parametrize(("name", "part"), [(name, part) for name in PARTS for part in PARTS[name]])
def test_every_part_must_be_whole(name: str, part: str, saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved / name, tmp_path / name)
    file = weights_in(tmp_path / name / part)
    lost = middle(file)
    changed(file, lambda weights: weights.pop(lost))
    assert_refused(lambda: Source(model=str(tmp_path / name)).host(), rf"{name}/{part} lacks weights of \w+: .*{lost}")


# Networks of either library


def text() -> Any:
    return pipelines.texts_of_letters()["text_encoder"]


NETWORKS: dict[str, Callable[[], Any]] = {"diffusers": pipelines.vae, "transformers": text}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("how", "match"),
    [
        ("missing", r"lacks weights of \w+: {0}; get its files again"),
        ("misshapen", r"do not fit \w+: {0} has shape \(3, 5\) for "),
        ("another layer", "has no place for: .*999"),
        ("a bias", "has no place for: {0}.added"),
        ("a name of two lines", r"has no place for: {0}.a b"),
        ("another model", r"lacks weights of \w+: .* and \d+ more"),
        ("in shards", r"lacks weights of \w+: {0}"),
        ("in shards and index", r"lacks weights of \w+: {0}"),
    ],
)
def test_weights_must_be_those_of_the_config(name: str, how: str, match: str, tmp_path: Path) -> None:
    network = NETWORKS[name]()
    network.save_pretrained(tmp_path, max_shard_size="4KB" if "shards" in how else "1GB")
    file = next(file for file in sorted(tmp_path.glob("*.safetensors")) if len(load_file(file)) > 1)
    lost = middle(file)
    layered = next(name for name in network.state_dict() if ".0." in name)
    changes: dict[str, Callable[[dict[str, Tensor]], object]] = {
        "missing": lambda weights: weights.pop(lost),
        "misshapen": lambda weights: weights.update({lost: torch.zeros(3, 5)}),
        "another layer": lambda weights: weights.update({layered.replace(".0.", ".999."): torch.zeros(1)}),
        "a bias": lambda weights: weights.update({f"{lost.rpartition('.')[0]}.added": torch.zeros(1)}),
        "a name of two lines": lambda weights: weights.update({f"{lost.rpartition('.')[0]}.a\nb": torch.zeros(1)}),
        "another model": lambda weights: [weights.update({f"x.{name}": weights.pop(name)}) for name in list(weights)],
        "in shards": lambda weights: weights.pop(lost),
        "in shards and index": lambda weights: weights.pop(lost),
    }
    changed(file, changes[how])
    if how == "in shards and index":
        (index,) = tmp_path.glob("*.index.json")
        told = json.loads(index.read_text())
        del told["weight_map"][lost]
        index.write_text(json.dumps(told))
    named = lost.rpartition(".")[0] if how.startswith("a ") else lost
    assert_refused(lambda: read_network(type(network), str(tmp_path)), match.format(named.replace(".", r"\.")))


@pytest.mark.parametrize("name", NETWORKS)
def test_shards_are_read_whole(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]()
    network.save_pretrained(tmp_path, max_shard_size="4KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    found = read_network(type(network), str(tmp_path))
    torch.testing.assert_close(found.state_dict(), network.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_tensor_in_two_shards_is_refused(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]()
    network.save_pretrained(tmp_path, max_shard_size="4KB")
    first, *_, last = sorted(tmp_path.glob("*.safetensors"))
    twice = middle(first)
    changed(last, lambda weights: weights.update({twice: 7 * load_file(first)[twice]}))
    assert_refused(
        lambda: read_network(type(network), str(tmp_path)), f"index.json names files that hold the same: {twice};"
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_integers_are_no_weights(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]()
    network.save_pretrained(tmp_path)
    file = weights_in(tmp_path)
    wrong = middle(file)
    changed(file, lambda weights: weights.update({wrong: (100 * weights[wrong]).to(torch.int8)}))
    assert_refused(lambda: read_network(type(network), str(tmp_path)), rf"holds integers where \w+ has .*: {wrong};")


def test_a_variant_is_not_taken_for_the_network(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved / "sd", tmp_path / "sd")
    file = weights_in(tmp_path / "sd" / "unet")
    file.rename(file.with_suffix(".fp16.safetensors"))
    assert_refused(
        lambda: Source(model=str(tmp_path / "sd")).host(), r"model\.fp16\.safetensors, but variants are not read"
    )


def test_weights_must_be_numbers(saved: Path, tmp_path: Path) -> None:
    network = pipelines.built(torch.nn.Linear, in_features=3, out_features=4)
    check_finite(network, "here")
    for value in (float("nan"), float("inf"), -float("inf")):
        with torch.no_grad():
            network.bias[2] = value
        assert_refused(lambda: check_finite(network, "here"), "here: bias holds NaN or infinity as float32")
    shutil.copytree(saved / "digits", tmp_path / "digits")
    changed(weights_in(tmp_path / "digits" / "unet"), lambda weights: weights["conv_in.bias"].fill_(float("nan")))
    assert_refused(lambda: Source(model=str(tmp_path / "digits")).host(), r"digits/unet: conv_in\.bias holds NaN")


def test_weights_may_be_too_large_for_half_precision(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved / "digits", tmp_path / "digits")
    changed(weights_in(tmp_path / "digits" / "unet"), lambda weights: weights["conv_in.weight"].fill_(1e6))
    assert Source(model=str(tmp_path / "digits")).host().identity
    assert_refused(
        lambda: Source(model=str(tmp_path / "digits"), dtype="float16").host(), "conv_in.weight .* as float16.*float32"
    )


# What may be absent or left over


def test_tied_weights_may_have_either_name_but_one(tmp_path: Path) -> None:
    network = t5()
    network.save_pretrained(tmp_path)
    file = weights_in(tmp_path)
    changed(file, lambda weights: weights.update({"encoder.embed_tokens.weight": weights.pop("shared.weight")}))
    assert torch.equal(read_network(type(network), str(tmp_path)).shared.weight, network.shared.weight)
    changed(file, lambda weights: weights.pop("encoder.embed_tokens.weight"))
    assert_refused(lambda: read_network(type(network), str(tmp_path)), "shared.weight")


def test_positions_that_a_network_counts_itself_may_be_left_over(tmp_path: Path) -> None:
    network = text()
    network.save_pretrained(tmp_path)
    positions = {"text_model.embeddings.position_ids": torch.arange(12)[None]}
    changed(weights_in(tmp_path), lambda weights: weights.update(positions))
    found = read_network(type(network), str(tmp_path))
    torch.testing.assert_close(found.state_dict(), network.state_dict(), rtol=0, atol=0)


def test_half_a_model_may_be_read_from_all_of_it(tmp_path: Path) -> None:
    networks.clip(tmp_path)
    whole = transformers.CLIPModel.from_pretrained(tmp_path)
    found = read_network(transformers.CLIPTextModel, str(tmp_path))
    own = {name.removeprefix("text_model."): value for name, value in found.state_dict().items()}
    for name, value in whole.text_model.state_dict().items():
        assert torch.equal(own[name], value)


@pytest.mark.parametrize("prefix", ["", "dinov2."])
def test_a_network_is_not_cut_short(prefix: str, tmp_path: Path) -> None:
    networks.dinov2(tmp_path)
    network = transformers.Dinov2Model.from_pretrained(tmp_path)

    def change(weights: dict[str, Tensor]) -> None:
        kept = {f"{prefix}{name}": value for name, value in weights.items()}
        weights.clear()
        weights.update(kept | {"classifier.weight": torch.zeros(2, 8)})

    changed(weights_in(tmp_path), change)
    found = read_network(type(network), str(tmp_path))
    torch.testing.assert_close(found.state_dict(), network.state_dict(), rtol=0, atol=0)
    config = json.loads((tmp_path / "config.json").read_text())
    short = {"num_hidden_layers": 0, "out_features": ["stem"], "out_indices": [0]}
    (tmp_path / "config.json").write_text(json.dumps(config | short))
    assert_refused(lambda: read_network(type(network), str(tmp_path)), rf"no place for: {prefix}encoder\.layer\.0\.")


def test_batches_need_not_have_been_counted(tmp_path: Path) -> None:
    config = transformers.ResNetConfig(embedding_size=4, hidden_sizes=[4, 4], depths=[1, 1])
    network = pipelines.built(transformers.ResNetModel, config=config)
    network.save_pretrained(tmp_path)
    counts = [name for name in load_file(weights_in(tmp_path)) if name.endswith("num_batches_tracked")]
    changed(weights_in(tmp_path), lambda weights: [weights.pop(name) for name in counts])
    assert len(counts) > 1
    assert read_network(type(network), str(tmp_path))
    changed(weights_in(tmp_path), lambda weights: weights.pop(counts[0].replace("num_batches_tracked", "running_var")))
    assert_refused(lambda: read_network(type(network), str(tmp_path)), "running_var")


# Pickles


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def unpickled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of files that torch was asked to unpickle."""
    asked: list[str] = []

    def load(file: Any, *args: Any, **options: Any) -> Any:
        asked.append(Path(file).name)
        raise pickle.UnpicklingError

    monkeypatch.setattr(torch, "load", load)
    return asked


def replaced(folder: Path, how: str, marker: Path) -> None:
    """Put a pickle in the place of a folder's weights."""
    file = weights_in(folder)
    names, evil = list(load_file(file)), folder / "evil.bin"
    evil.write_bytes(pickle.dumps(Evil(marker)))

    def name_it(name: str, index: str = "index") -> None:
        about = {"metadata": {}, "weight_map": dict.fromkeys(names, name)}
        file.with_name(f"{file.name}.{index}.json").write_text(json.dumps(about))

    file.unlink()
    match how:
        case "named by an index":
            name_it("evil.bin")
        case "named by a variant's index":
            name_it("evil.bin", "index.fp16")
        case "elsewhere":
            name_it(str(evil.rename(folder.parent / "evil.safetensors")))
        case "above":
            evil.rename(folder.parent / "evil.safetensors")
            name_it("../evil.safetensors")
        case "misnamed":
            evil.rename(file)
        case "misnamed shard":
            name_it(evil.rename(folder / "evil.safetensors").name)
        case "linked":
            file.symlink_to(evil)
        case "named by the config":
            evil.rename(folder / "adapter_model.bin")
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps(config | {"transformers_weights": "adapter_model.bin"}))


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "classifier", "clip", "dinov2"])
def test_no_route_follows_an_index_to_a_pickle(part: str, saved: Path, tmp_path: Path, unpickled: list[str]) -> None:
    folder, model = tmp_path / part, str(tmp_path / part)
    read: Callable[[], object]
    if part == "classifier":
        networks.classifier(folder, 4)
        host = host_of(pipelines.stable_diffusion())
        read = partial(judge_of, host, classifier=model)
    elif part in ("clip", "dinov2"):
        getattr(networks, part)(folder)
        read = partial(features_of, part, model=model)
    else:
        shutil.copytree(saved / "sd", tmp_path / "sd")
        folder, read = tmp_path / "sd" / part, Source(model=str(tmp_path / "sd")).host
    replaced(folder, "named by an index", tmp_path / "ran")
    assert_refused(read, r"not safetensors \(\S+index\.json names evil\.bin\)")
    assert unpickled == []
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "how",
    [
        "named by a variant's index", "elsewhere", "above", "misnamed", "misnamed shard", "linked", "no safetensors",
        "named by the config",
    ],
)  # fmt: skip
def test_no_other_way_leads_to_a_pickle(name: str, how: str, tmp_path: Path, unpickled: list[str]) -> None:
    folder, network = tmp_path / "network", NETWORKS[name]()
    network.save_pretrained(folder)
    replaced(folder, how, tmp_path / "ran")

    def read() -> None:
        with reading(str(folder)):
            read_network(type(network), str(folder))

    assert_refused(read, "not safetensors|is not beside it|^cannot read")
    assert unpickled == []
    assert not (tmp_path / "ran").exists()


def test_whatever_leads_to_a_pickle_ends_there(unpickled: list[str]) -> None:
    def wrapped() -> None:
        """As diffusers does."""
        try:
            torch.load("a.bin")
        except Exception as error:
            raise OSError("Unable to load weights") from error

    with pytest.raises(ConfigError, match=r"^org/name .* \(a.bin\).*`allow_pickle`"), reading("org/name"):
        wrapped()
    with reading("outer"), pytest.raises(ConfigError, match="inner"), reading("inner"):
        torch.load("a.bin")
    assert unpickled == []
    with pytest.raises(ConfigError, match="cannot read"), reading("org/name", allow_pickle=True):
        torch.load("a.bin")
    assert unpickled == ["a.bin"]


def test_an_index_of_pickles_is_read_with_leave(tmp_path: Path) -> None:
    network = text()
    network.save_pretrained(tmp_path)
    file = weights_in(tmp_path)
    torch.save(load_file(file), tmp_path / "weights.bin")
    weight_map = dict.fromkeys(load_file(file), "weights.bin")
    file.with_name(f"{file.name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    file.unlink()
    found = read_network(type(network), str(tmp_path), allow_pickle=True)
    torch.testing.assert_close(found.state_dict(), network.state_dict(), rtol=0, atol=0)
    assert_refused(lambda: read_network(type(network), str(tmp_path)), r"index\.json names weights\.bin")
    for nonsense in ("[]", "{}", "no json", '{"weight_map": []}', '{"weight_map": {}}'):
        file.with_name(f"{file.name}.index.json").write_text(nonsense)
        assert_refused(lambda: read_network(type(network), str(tmp_path)), "is no index of weights")


@pytest.mark.parametrize(
    ("name", "what"),
    [("adapter_config.json", "an adapter"), ("shard-00000-model-00001-of-00001.safetensors", "pieces of distributed")],
)
def test_weights_from_elsewhere_are_not_passed_over(name: str, what: str, tmp_path: Path) -> None:
    network = text()
    network.save_pretrained(tmp_path)
    (tmp_path / name).write_text("{}")
    assert_refused(lambda: read_network(type(network), str(tmp_path)), f"holds {what}.*, which is not read")


@pytest.mark.parametrize(
    ("key", "value"), [("num_hidden_layers", 10**9), ("vocab_size", 10**12), ("intermediate_size", 10**9)]
)
def test_a_config_of_a_network_far_larger_than_its_weights_is_refused(key: str, value: int, tmp_path: Path) -> None:
    network = text()
    network.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {key: value}))
    assert_refused(lambda: read_network(type(network), str(tmp_path)), "far larger than its weights")


@pytest.mark.parametrize(
    ("part", "key", "value", "match"),
    [
        ("scheduler/scheduler_config.json", "num_train_timesteps", 10**9, "is 1e.09, which no scheduler counts to"),
        ("transformer/config.json", "sample_size", 20_000, "more than memory can hold"),  # positions of 10^8 patches
        ("vae/config.json", "layers_per_block", 10**9, "far larger than its weights"),
    ],
)
def test_a_pipeline_that_counts_beyond_reason_is_refused_before_it_fills_the_memory(
    part: str, key: str, value: int, match: str, tmp_path: Path
) -> None:
    pipelines.dit().save_pretrained(tmp_path)
    config = json.loads((tmp_path / part).read_text())
    (tmp_path / part).write_text(json.dumps(config | {key: value}))
    limit = resource.getrlimit(resource.RLIMIT_AS)
    assert_refused(lambda: read_pipeline(str(tmp_path), device="cpu"), match)
    assert resource.getrlimit(resource.RLIMIT_AS) == limit


def test_a_network_of_states_beyond_reason_is_no_host() -> None:
    pipe = pipelines.dit()
    pipe.transformer.register_to_config(sample_size=10**9)
    assert_refused(lambda: host_of(pipe), "states of 1000000000 a side, larger than 2048")


@pytest.mark.parametrize("content", [None, b"[" * 9999, b"[" + b"9" * 4400 + b"]"], ids=["a pipe", "deep", "digits"])
def test_a_folder_that_libraries_would_stumble_over_is_refused(content: bytes | None, tmp_path: Path) -> None:
    network = text()
    network.save_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    os.mkfifo(tmp_path / "config.json") if content is None else (tmp_path / "config.json").write_bytes(content)
    assert_refused(
        lambda: read_network(type(network), str(tmp_path)), r"config\.json (is a pipe|is nested|holds a whole)"
    )
