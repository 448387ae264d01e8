"""What every pipeline promises once it is a host: images by seed, whatever their batch, under any schedule."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

import diffusers
import transformers
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors.torch import load_file

from orthoscope.errors import ConfigError
from orthoscope.guidance.grammar import parse_schedule
from orthoscope.guidance.rules import LinearCFG
from orthoscope.integrations.diffusers import guided
from orthoscope.integrations.diffusers.evidence import clock_of
from orthoscope.integrations.families import FAMILIES
from orthoscope.integrations.fingerprint import fingerprint
from orthoscope.integrations.host import Generated, Host, host_of, is_out_of_memory
from orthoscope.integrations.hub import check_tokenizer, reading, rescheduled
from orthoscope.integrations.source import Source
from orthoscope.serialize import content_hash, dumps
from tests.integrations import pipelines
from tests.integrations.pipelines import TOKENS, WIDTH

pytestmark = [  # diffusers' own
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The `scale_model_input` function:UserWarning"),
]

WINDOW = "step:early=2,late=-0.5,switch=50%"
SEEDS = (11, 12, 13)
STEPS = 4


def with_texts(pipe: Any, *, tokens: int = TOKENS) -> Any:
    """A pipeline without text encoders that makes something of each text's characters instead."""

    def embed(text: str | list[str], *shape: int) -> torch.Tensor:
        key = sum(map(ord, text if isinstance(text, str) else text[0]))
        return pipelines.draw(1, *shape, seed=key)

    def encode(prompt: Any, *args: Any, negative_prompt: Any = "", **kwargs: Any) -> tuple[Any, ...]:
        n = kwargs.get("num_images_per_prompt", kwargs.get("num_videos_per_prompt", 1))
        both = [prompt, negative_prompt or ""]
        hidden = [embed(text, tokens, WIDTH).repeat(n, 1, 1) for text in both]
        pooled = [embed(text, WIDTH).repeat(n, 1) for text in both]
        mask = torch.ones(n, tokens, dtype=torch.long)
        match type(pipe).__name__:
            case "WanPipeline":
                return tuple(hidden)
            case "PixArtAlphaPipeline":
                return hidden[0], mask, hidden[1], mask
            case "FluxPipeline":
                return hidden[0], pooled[0], torch.zeros(tokens, 3)
            case "QwenImagePipeline":
                return hidden[0], mask
        return *hidden, *pooled

    pipe.encode_prompt = encode
    return pipe


def ancestral(pipe: Any) -> Any:
    pipe.scheduler = diffusers.EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)
    return pipe


def with_shift(pipe: Any) -> Any:
    pipe.vae = pipelines.vae(shift_factor=0.1)
    return pipe


BUILT: dict[str, tuple[Callable[[], Any], str, int | None]] = {
    "stable-diffusion": (
        lambda: ancestral(pipelines.stable_diffusion(**pipelines.texts_of_letters())),
        "a cat",
        None,
    ),
    "xl": (lambda: with_texts(pipelines.stable_diffusion_xl()), "a cat", 16),
    "stable-diffusion-3": (lambda: with_texts(pipelines.stable_diffusion_3()), "a cat", None),
    "pixart": (lambda: with_texts(pipelines.pixart()), "a cat", None),
    "flux": (lambda: with_texts(with_shift(pipelines.flux())), "a cat", 16),
    "wan": (lambda: with_texts(pipelines.wan()), "a cat", 32),
    "qwen": (lambda: with_texts(pipelines.qwen()), "a cat", 16),
    "dit": (lambda: pipelines.dit(diffusers.DDPMScheduler()), "3", None),
    "digits": (lambda: ancestral(pipelines.digits()), "3", None),
}


@dataclass(frozen=True)
class Asked:
    """A host, what it is asked for in which size, and its images of all seeds."""

    host: Host
    prompt: str
    size: int | None
    found: Generated

    def by(self, *seeds: int, prompt: str | None = None, schedule: str = WINDOW) -> Generated:
        return generated(self.host, prompt or self.prompt, *seeds, schedule=schedule, size=self.size)


@pytest.fixture(scope="module")
def hosts() -> dict[str, Host]:
    return {name: host_of(build()) for name, (build, _, _) in BUILT.items()}


@pytest.fixture(scope="module", params=list(BUILT))
def asked(request: pytest.FixtureRequest, hosts: dict[str, Host]) -> Asked:
    host, (_, prompt, size) = hosts[request.param], BUILT[request.param]
    return Asked(host, prompt, size, generated(host, prompt, *SEEDS, size=size))


def generated(host: Host, prompt: str, *seeds: int, schedule: str = WINDOW, size: int | None = None) -> Generated:
    return host.generate(prompt, seeds, parse_schedule(schedule), rule=LinearCFG(), steps=STEPS, size=size)


def same(found: Any, wanted: Any, tolerance: float = 1e-4) -> bool:
    """Whether two results differ by rounding only: kernels sum in another order in another batch."""
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max()) <= tolerance * float(np.abs(wanted).max())


# Every family


def test_an_image_does_not_depend_on_its_batch(asked: Asked) -> None:
    together = asked.found
    for row in (0, len(SEEDS) - 1):
        alone = asked.by(SEEDS[row])
        assert same(together.latents[row], alone.latents[0])
        assert same(together.images[row], alone.images[0])
        assert same(together.log["pair_distance"].values[:, row], alone.log["pair_distance"].values[:, 0], 1e-3)
    assert not same(together.latents[0], together.latents[1], 0.1)


def test_images_are_pixels_and_the_log_has_a_row_for_each(asked: Asked) -> None:
    found = asked.found
    n, height, width, channels = found.images.shape
    assert (n, height, channels) == (len(SEEDS), width, 3 if hasattr(asked.host.pipe, "vae") else 1)
    assert asked.size in (None, height)
    assert found.images.dtype == found.latents.dtype == np.float32
    assert 0 <= found.images.min() < found.images.max() <= 1
    assert len(found.latents) == found.log.sizes["row"] == len(SEEDS)
    assert found.latents.ndim < 5 or found.latents.shape[2] == 1  # a video has one frame
    assert found.log["strength"].values.tolist() == [2.0] * (STEPS // 2) + [-0.5] * (STEPS // 2)
    assert found.passes == 2 * STEPS * len(SEEDS)
    assert found.blanked == 0
    assert bool((found.log["pair_distance"] > 0).all())


def test_the_prompt_matters_unless_guidance_removes_it(asked: Asked) -> None:
    other = "5" if asked.host.kind == "class" else "two dogs"
    assert not same(asked.found.latents[:1], asked.by(SEEDS[0], prompt=other).latents)
    uncond = [asked.by(SEEDS[0], prompt=prompt, schedule="constant:-1").latents for prompt in (asked.prompt, other)]
    assert same(*uncond)


def test_every_family_is_proven(hosts: dict[str, Host]) -> None:
    proven = {type(host.pipe).__name__ for host in hosts.values()}
    assert set(FAMILIES) == proven | {"PixArtSigmaPipeline"}  # which is called as its elder


# The pipeline itself


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in SEEDS]


@pytest.mark.parametrize("name", ["stable-diffusion", "digits"])
def test_a_host_does_what_a_guided_call_of_its_pipeline_does(name: str, hosts: dict[str, Host]) -> None:
    pipe, prompt = hosts[name].pipe, BUILT[name][1]
    found = generated(hosts[name], prompt, *SEEDS)
    call: dict[str, Any] = (
        {"prompt": [prompt] * 3} if name == "stable-diffusion" else {"class_labels": [int(prompt)] * 3}
    )
    with guided(pipe, WINDOW) as log:
        images, latents = (
            pipe(
                **call,
                guidance_scale=2.0,
                num_inference_steps=STEPS,
                generator=generators(),
                output_type=kind,
                return_dict=False,
            )[0]
            for kind in ("np", "latent")
        )
    assert np.array_equal(found.images, images)
    assert np.array_equal(found.latents, latents.numpy())
    assert np.array_equal(log.final.numpy(), latents.numpy())
    assert np.array_equal(found.log["pair_distance"], log.dataset["pair_distance"])


def test_a_scheduler_that_the_pipeline_gives_no_generator_gets_those_of_the_images() -> None:
    pipe = pipelines.dit(diffusers.DDPMScheduler())
    host = host_of(pipe)
    first = generated(host, "3", *SEEDS)
    assert np.array_equal(first.latents, generated(host, "3", *SEEDS).latents)
    assert "step" not in vars(pipe.scheduler)
    with guided(pipe, WINDOW) as log, torch.random.fork_rng():  # without them it draws from the global one
        pipe([3] * 3, num_inference_steps=STEPS, generator=generators())
    assert not same(first.latents, log.final.numpy())


def test_a_checker_that_blanks_images_is_told_of() -> None:
    pipe = pipelines.stable_diffusion(**pipelines.texts_of_letters())
    pipe.run_safety_checker = lambda image, *args: (torch.zeros_like(image), [True, False, True])
    assert generated(host_of(pipe), "a cat", *SEEDS).blanked == 2


# What is asked for


def test_classes_are_asked_by_number_or_by_word() -> None:
    host = Source().host()
    assert (host.name, host.kind, host.classes) == ("digits", "class", 10)
    assert host.default_prompts == tuple("0123456789")
    host.check_prompts(host.default_prompts)
    dit = host_of(pipelines.dit())
    assert (dit.classes, dit.default_prompts) == (1000, None)
    dit.pipe.labels = {"umbrella": 879, "white shark": 2}
    assert [dit.label(text) for text in ("umbrella", " white shark ", "7")] == [879, 2, 7]
    with pytest.raises(ConfigError, match="did you mean 'umbrella'"):
        dit.label("umbrela")
    text = host_of(pipelines.stable_diffusion())
    assert (text.kind, text.classes, text.default_prompts) == ("text", None, None)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "no prompts"),
        (["3", " "], "a prompt is empty"),
        (["10"], "classes 0 to 9, got '10'"),
        (["cat"], "classes 0 to 9, got 'cat'"),
        (["-1"], "classes 0 to 9, got '-1'"),
    ],
)
def test_prompts_that_name_no_class_are_refused(prompts: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Source().host().check_prompts(prompts)


def test_what_a_pipeline_cannot_do_is_told_in_one_line(hosts: dict[str, Host]) -> None:
    host = hosts["stable-diffusion"]
    with pytest.raises(ConfigError, match=r"^StableDiffusionPipeline refuses: .*divisible by 8.*$"):
        generated(host, "a cat", 1, size=13)
    with pytest.raises(ConfigError, match="one size only"):
        generated(Source().host(), "3", 1, size=16)
    with pytest.raises(ConfigError, match="no seeds"):
        generated(host, "a cat")


def test_pipelines_that_need_more_than_a_prompt_are_refused() -> None:
    with pytest.raises(
        ConfigError,
        match="Img2ImgPipeline is not known here; expected one of ClassPipeline, DiTPipeline",
    ):
        host_of(pipelines.stable_diffusion("StableDiffusionImg2ImgPipeline"))
    with pytest.raises(ConfigError, match="ExoticPipeline is not known here"):
        host_of(type("ExoticPipeline", (), {})())


# Schedulers


def test_another_scheduler_keeps_the_settings_of_the_pipelines_own() -> None:
    own, other = Source().host(), Source(scheduler="EulerAncestralDiscreteScheduler").host()
    config = other.pipe.scheduler.config
    assert type(other.pipe.scheduler) is diffusers.EulerAncestralDiscreteScheduler
    assert (config.beta_schedule, config.prediction_type) == ("linear", "v_prediction")
    assert content_hash(own.identity) != content_hash(other.identity)


def test_a_scheduler_with_a_warm_up_is_taken_without_it() -> None:
    own = pipelines.stable_diffusion().scheduler
    made = rescheduled(own, "PNDMScheduler")
    assert (type(made), made.config.skip_prk_steps) == (diffusers.PNDMScheduler, True)
    assert clock_of(made).chart == "timestep"
    assert "skip_prk_steps" not in rescheduled(own, "DDIMScheduler").config


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("EulerAncestral", "unknown scheduler 'EulerAncestral'; did you mean"),
        ("EDMEulerScheduler", "takes a network's output for preconditioned v_prediction, but this pipeline's is v"),
        ("FlowMatchEulerDiscreteScheduler", "output for flow_prediction, but this pipeline's is v_prediction"),
    ],
)
def test_schedulers_that_do_not_fit_are_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Source(scheduler=name).host()


def test_a_pipeline_that_starts_at_unit_noise_needs_a_scheduler_that_does() -> None:
    with pytest.raises(ConfigError, match="DiTPipeline starts at unit noise, but EulerDiscreteScheduler at more"):
        host_of(pipelines.dit(diffusers.EulerDiscreteScheduler()))


# Opening


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion, and a copy of it in pickles."""
    folder = tmp_path_factory.mktemp("models")
    pipe = pipelines.stable_diffusion(**pipelines.texts_of_letters())
    pipe.save_pretrained(folder / "whole")
    pipe.save_pretrained(folder / "pickled", safe_serialization=False)
    pipelines.digits().save_pretrained(folder / "digits")
    return folder


@pytest.fixture(scope="module")
def whole(saved: Path) -> Host:
    return Source(model=str(saved / "whole")).host()


@pytest.mark.parametrize("name", ["whole", "digits"])
def test_a_saved_pipeline_makes_the_same_images(name: str, saved: Path) -> None:
    builds: Mapping[str, Callable[[], Any]] = {
        "whole": lambda: pipelines.stable_diffusion(**pipelines.texts_of_letters()),
        "digits": pipelines.digits,
    }
    built, opened = host_of(builds[name]()), Source(model=str(saved / name)).host()
    prompt = "3" if name == "digits" else "a cat"
    assert same(generated(opened, prompt, *SEEDS).images, generated(built, prompt, *SEEDS).images)
    assert content_hash(json.loads(dumps(opened.identity))) == content_hash(json.loads(dumps(built.identity)))
    with torch.no_grad():
        next(opened.pipe.unet.parameters()).view(-1)[0] += 1
    assert content_hash(host_of(opened.pipe).identity) != content_hash(built.identity)


def test_what_a_text_encoder_makes_of_a_prompt_is_in_its_identity() -> None:
    def identity(pipe: Any) -> str:
        return content_hash(host_of(pipe).identity)

    pipe = pipelines.stable_diffusion(**pipelines.texts_of_letters())
    before = identity(pipe)
    pipe.text_encoder.config.hidden_act = "relu"
    changed = identity(pipe)
    pipe.tokenizer.add_tokens(["zebra"])
    assert len({before, changed, identity(pipe)}) == 3


def test_how_a_tokenizer_reads_is_in_its_fingerprint(saved: Path, tmp_path: Path) -> None:
    """Also what leaves its vocabulary alone; but not what it was last called with."""
    steps = json.loads((saved / "whole" / "tokenizer" / "tokenizer.json").read_text())

    def read(length: int = 12, **changes: Any) -> Any:
        (tmp_path / "tokenizer.json").write_text(json.dumps(steps | changes))
        return transformers.CLIPTokenizer(tokenizer_file=str(tmp_path / "tokenizer.json"), model_max_length=length)

    plain = read()
    before = fingerprint(plain)
    plain("cat", padding="max_length", truncation=True, max_length=5)
    assert fingerprint(plain) == before == fingerprint(read())
    merged = steps["model"] | {"merges": [["a", "t</w>"]], "vocab": steps["model"]["vocab"] | {"at</w>": 54}}
    others = [read(normalizer=None), read(pre_tokenizer={"type": "Whitespace"}), read(length=9), read(model=merged)]
    others.append(read())
    others[-1].padding_side = "left"
    assert all(other != before for other in map(fingerprint, others))


def test_a_digits_file_or_its_folder_is_opened(tmp_path: Path) -> None:
    from orthoscope.integrations.shipped import DIGITS

    shutil.copy(DIGITS.file, tmp_path / "digits.safetensors")
    shipped = Source().host().identity
    assert (
        Source(model=str(tmp_path)).host().identity
        == Source(model=str(tmp_path / "digits.safetensors")).host().identity
        == shipped
    )


def test_pickles_are_read_only_if_allowed(saved: Path, whole: Host) -> None:
    with pytest.raises(ConfigError, match=r"^\S+ holds weights that are not safetensors.*`allow_pickle`.*$"):
        Source(model=str(saved / "pickled")).host()
    allowed = Source(model=str(saved / "pickled"), allow_pickle=True).host()
    assert allowed.identity == whole.identity


def test_a_text_encoder_in_pickles_is_no_exception(saved: Path, whole: Host, tmp_path: Path) -> None:
    shutil.copytree(saved / "whole", tmp_path / "mixed")
    encoder = tmp_path / "mixed" / "text_encoder"
    torch.save(load_file(encoder / "model.safetensors"), encoder / "pytorch_model.bin")
    (encoder / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"not safetensors.*`allow_pickle`"):
        Source(model=str(tmp_path / "mixed")).host()
    allowed = Source(model=str(tmp_path / "mixed"), allow_pickle=True).host()
    assert allowed.identity == whole.identity


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unet": ["os", "system"]}, "needs code of its own"),
        ({"unet": ["network", "Network"]}, "needs code of its own"),
        ({"_class_name": ["pipeline", "Own"]}, "needs code of its own"),
        ({"_class_name": None}, "names no pipeline"),
        ({"_class_name": "ExoticPipeline"}, "ExoticPipeline is not known here"),
        ({"vae": ["diffusers"]}, r"vae in its model_index.json must be a library and a class, got \['diffusers'\]"),
        ({"vae": "diffusers"}, "vae in its model_index.json must be a library and a class, got 'diffusers'"),
    ],
)
def test_what_needs_foreign_code_or_is_unknown_is_refused(
    change: dict[str, Any], message: str, saved: Path, tmp_path: Path
) -> None:
    (tmp_path / "network.py").write_text("raise SystemError('run')")
    index = json.loads((saved / "whole" / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps(index | change))
    with pytest.raises(ConfigError, match=message):
        Source(model=str(tmp_path)).host()


def test_damaged_folders_are_told_in_one_line(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^cannot read \S+: .*model_index\.json.*$"):
        Source(model=str(tmp_path)).host()
    folder = tmp_path / "copy"
    shutil.copytree(saved / "whole", folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ConfigError, match=r"^cannot read \S+: .*unet.*$"):
        Source(model=str(folder)).host()
    weights.unlink()
    with pytest.raises(ConfigError, match=r"^cannot read \S+: .*no file named.*unet.*$"):
        Source(model=str(folder)).host()


@pytest.mark.parametrize(
    ("part", "files", "content", "message"),
    [
        ("", ["model_index.json"], "[]", "names no pipeline in its model_index.json"),
        ("scheduler", ["scheduler_config.json"], "{}", r"scheduler_config\.json names no class, so it is damaged"),
        ("vae", ["config.json"], "{}", r"vae/config\.json names no class, so it is damaged"),
        ("tokenizer", ["tokenizer.json"], None, "tokenizer has no vocabulary for its texts"),
        ("tokenizer", ["tokenizer.json", "tokenizer_config.json"], None, "tokenizer has no vocabulary for its texts"),
        ("tokenizer", ["tokenizer_config.json"], "{}", "tokenizer does not say how long a text may be"),
    ],
)
def test_a_part_whose_files_are_empty_or_gone_is_not_replaced_by_defaults(
    part: str, files: list[str], content: str | None, message: str, saved: Path, tmp_path: Path
) -> None:
    shutil.copytree(saved / "whole", tmp_path / "copy")
    for name in files:
        file = tmp_path / "copy" / part / name
        file.unlink()
        if content is not None:
            file.write_text(content)
    with pytest.raises(ConfigError, match=message) as raised:
        Source(model=str(tmp_path / "copy")).host()
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("kind", ["T5Tokenizer", "Qwen2Tokenizer", "CLIPTokenizer"])
def test_no_tokenizer_s_defaults_are_a_vocabulary(kind: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text("{}")
    tokenizer = getattr(transformers, kind).from_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="here has no vocabulary"):
        check_tokenizer(tokenizer, "here")


@pytest.mark.parametrize(
    "model", ["nothing", "a/b/c", "/nowhere/at/all", "./here", "~nobody-of-this-name/x", "a" * 300]
)
def test_a_missing_folder_is_told(model: str) -> None:
    with pytest.raises(ConfigError, match=rf"^no such folder: {re.escape(model[:100])}.* org/name$"):
        Source(model=model).host()


def test_a_hub_out_of_reach_is_told_with_the_cure() -> None:
    with pytest.raises(ConfigError, match=r"^org/name is no folder here.*cannot be reached.*hf download org/name.*$"):
        Source(model="org/name").host()
    with pytest.raises(ConfigError, match="needs code of its own"), reading("org/name"):
        raise ValueError(f"The repository holds custom code. {'Read it. ' * 50}Pass `trust_remote_code=True`.")
    with pytest.raises(ConfigError, match="cannot be reached"), reading("org/name"):
        raise OSError("no") from LocalEntryNotFoundError("not here")


def test_an_unknown_repository_is_told() -> None:
    class Gone(RepositoryNotFoundError):
        def __init__(self) -> None:
            Exception.__init__(self, "404")

    with pytest.raises(ConfigError, match="no such repository that you may read"), reading("org/name"):
        raise OSError("not a valid model identifier") from Gone()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "toaster"}, "no device 'toaster' here"),
        ({"dtype": "float8"}, "dtype must be auto, float32, float16, bfloat16, got 'float8'"),
    ],
)
def test_devices_and_precisions_that_are_not_there_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Source(**options).host()


def test_half_precision_is_half_precision(saved: Path, whole: Host) -> None:
    host = Source(model=str(saved / "whole"), dtype="bfloat16", device="cpu").host()
    assert host.pipe.unet.dtype == torch.bfloat16
    assert host.identity["dtype"] == "torch.bfloat16"
    found = generated(host, "a cat", *SEEDS)
    assert found.latents.dtype == found.images.dtype == np.float32
    assert same(found.images, generated(whole, "a cat", *SEEDS).images, 0.1)


# Memory


def test_running_out_of_memory_is_recognized() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(10**15)
    assert is_out_of_memory(raised.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    assert not is_out_of_memory(ValueError("out of memory"))
