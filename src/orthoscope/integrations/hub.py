"""Pipelines read from a folder or from the hub: only from safetensors, and without running code of the repository."""

from __future__ import annotations

import inspect
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import SchedulerMixin
from diffusers.configuration_utils import ConfigMixin
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled, RepositoryNotFoundError
from huggingface_hub.utils import logging as hub_logging
from transformers import CLIPTokenizer, PreTrainedTokenizerBase

from orthoscope.errors import ConfigError, OrthoscopeError, unknown
from orthoscope.integrations.class_pipeline import ClassPipeline
from orthoscope.integrations.diffusers.evidence import SCHEDULERS, prediction_type
from orthoscope.integrations.families import family_of
from orthoscope.integrations.host import is_out_of_memory
from orthoscope.integrations.shipped import MODELS, read_class_pipeline
from orthoscope.integrations.weights import check_finite, no_pickles, pickled, read_network
from orthoscope.numerics import dtype_name
from orthoscope.reading import check_folder

_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_NO_SAFETENSORS = re.compile(r"no file named \S*safetensors|necessary .?safetensors")  # as the libraries say it
_INDEX = "model_index.json"
_PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
_VARIANT = re.compile(r"model\.(\w+)(-\d+-of-\d+)?\.safetensors")
_FEWEST_WORDS = 2  # an absent vocabulary is read as special tokens, and perhaps a blank
_LONGEST = 10**6  # tokens of a text; what has no limit is given a larger number
_MOST_COUNTED = 100_000  # by a scheduler, such as its steps in training
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def read_pipeline(model: str, *, device: str = "auto", dtype: Any = "auto", allow_pickle: bool = False) -> Any:
    """A pipeline, on its device.

    Args:
        model: Folder of a pipeline, weights that `orthoscope train` wrote or their folder, or a repository of the hub.
        device: "auto" takes the accelerator if there is one.
        dtype: "float32", "float16" or "bfloat16", as text or as torch or numpy has it; "auto" is half precision on a
            CUDA device and single elsewhere.
        allow_pickle: Whether weights that are not safetensors may be read.

    Raises:
        ConfigError: if it cannot be had, is not known here, lacks weights, settings or a vocabulary, or would need code
            or pickles of the repository.
    """
    place = device_of(device)
    dtype = dtype_name(dtype)
    if dtype not in ("auto", *_DTYPES):
        raise ConfigError(f"dtype must be auto, {', '.join(_DTYPES)}, got {dtype!r:.40}", field="dtype")
    path = local(model)
    is_folder = os.path.isdir(path)
    own = [path / f"{name}.safetensors" for name in MODELS] if is_folder else []
    file = next(filter(os.path.isfile, own), path)
    if file.suffix == ".safetensors":
        with quiet():
            return read_class_pipeline(file).to(place, _DTYPES.get(dtype, torch.float32))
    source = str(path) if is_folder else model
    if not is_folder and not _REPOSITORY.fullmatch(model):
        raise ConfigError(
            f"no such folder: {model}; expected the folder of a pipeline, a file of weights that ships or that "
            "`orthoscope train` wrote, or a repository of the hub "
            "such as org/name"
        )
    with reading(model):
        if is_folder:
            check_folder(path)
        index = diffusers.DiffusionPipeline.load_config(source)
    kind = _class_of(index, model)
    family = family_of([kind])
    precision = (family.half if place.type == "cuda" else "float32") if dtype == "auto" else dtype
    loader: Any = ClassPipeline if kind == ClassPipeline.__name__ else getattr(diffusers, kind)
    with reading(model, allow_pickle=allow_pickle):
        if not is_folder:
            source = loader.download(source, use_safetensors=None if allow_pickle else True, trust_remote_code=False)
        parts = _networks(loader, index, Path(source), dtype=_DTYPES[precision], allow_pickle=allow_pickle)
        pipe = loader.from_pretrained(source, trust_remote_code=False, **parts).to(place)
        for name, part in parts.items():
            check_finite(part, f"{model}/{name}")
        for name, part in pipe.components.items():
            if isinstance(part, PreTrainedTokenizerBase):
                check_tokenizer(part, f"{model}/{name}")
        return pipe


def local(name: str) -> Path:
    """A path as users write it; a home that nobody has stays as it is written, and nothing is found there.

    Ask `os.path` about it, which says no of names that no file can have, where `Path` raises.
    """
    return Path(os.path.expanduser(name))


def check_tokenizer(tokenizer: Any, source: str) -> None:
    """Make sure that texts differ for a tokenizer, and that it knows how long they may be.

    Raises:
        ConfigError: if it has no vocabulary, or is one of CLIP, whose texts are filled up to its length, without one.
    """
    words = tokenizer.get_vocab().keys() - tokenizer.get_added_vocab().keys() - set(tokenizer.all_special_tokens)
    if len(words) < _FEWEST_WORDS:
        raise ConfigError(f"{source} has no vocabulary for its texts; get the tokenizer's files again")
    if isinstance(tokenizer, CLIPTokenizer) and tokenizer.model_max_length > _LONGEST:
        raise ConfigError(f"{source} does not say how long a text may be; get its tokenizer_config.json again")


def _networks(loader: Any, index: Mapping[str, Any], folder: Path, **how: Any) -> dict[str, Any]:
    """Every network that a pipeline's class takes and its index names, by name; the pipeline reads none by itself.

    A config that names no class is damaged, for diffusers always writes it: with defaults in place of its settings
    weights may still fit. Which class it names does not matter, for classes were renamed, and schedulers are exchanged.
    """
    found, homes = {}, {"diffusers": diffusers, "transformers": transformers}
    for name in inspect.signature(loader.__init__).parameters:
        match index.get(name):
            case [str(library), str(kind)]:
                make = getattr(homes.get(library) or getattr(diffusers.pipelines, library), kind)
            case _:
                continue
        place = folder / name if (folder / name).is_dir() else folder
        if issubclass(make, ConfigMixin):
            config = make.load_config(str(place))
            if "_class_name" not in config:
                raise ConfigError(f"{place / make.config_name} names no class, so it is damaged; get its files again")
            if issubclass(make, SchedulerMixin):
                _check_counts(config, place / make.config_name)
        if issubclass(make, torch.nn.Module):
            found[name] = read_network(make, str(place), **how)
    return found


def _check_counts(config: Mapping[str, Any], where: Path) -> None:
    """Refuse a scheduler that would make tables of its steps that fill the memory."""
    for name, value in config.items():
        if isinstance(value, int) and value > _MOST_COUNTED:
            raise ConfigError(f"{where}: {name} is {value:.3g}, which no scheduler counts to; get its files again")


def rescheduled(own: Any, name: str) -> Any:
    """Another scheduler with the settings of a pipeline's own.

    Raises:
        ConfigError: if there is no such scheduler, or it takes the network's output for something else.
    """
    if name not in SCHEDULERS:
        raise unknown("scheduler", name, SCHEDULERS)
    with quiet():
        # Others do not know this setting; with its warm-up PNDM could not be followed.
        found = getattr(diffusers, name).from_config(own.config, skip_prk_steps=True)
    before, after = prediction_type(own), prediction_type(found)
    if before != after:
        raise ConfigError(
            f"{name} takes a network's output for {after}, but this pipeline's is {before}; use a scheduler of the "
            f"kind of {type(own).__name__}"
        )
    return found


def device_of(name: str) -> torch.device:
    """The device of a name; "auto" takes the accelerator if there is one.

    Raises:
        ConfigError: if there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"no device {name!r} here ({_one_line(error):.60}); use `device` cpu or auto") from error
    return device


@contextmanager
def reading(model: str, *, allow_pickle: bool = False) -> Iterator[None]:
    """Read something from a folder or from the hub without chatter, and with every failure in one line.

    Raises:
        ConfigError: if it fails, or would unpickle without leave; a missing package is left to the caller.
    """
    try:
        with nullcontext() if allow_pickle else no_pickles(model), quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (OrthoscopeError, ModuleNotFoundError):
        raise
    except Exception as error:  # whatever a foreign repository may hold
        raise ConfigError(_explained(model, error)) from error


def _explained(model: str, error: Exception) -> str:
    """What went wrong, and what to do."""
    causes, cause = [], error.__cause__ or error.__context__
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    text, folder = _one_line(error), local(model)
    is_local = os.path.exists(folder)
    if own := next((cause for cause in causes if isinstance(cause, OrthoscopeError)), None):
        return str(own)  # a library took it for a damaged file
    if "trust_remote_code" in str(error):  # whole: transformers mentions it at the end of a long text
        return _of_own_code(model)
    if any(isinstance(cause, RepositoryNotFoundError) for cause in (error, *causes)):
        return (
            f"{model} is no folder here, and the hub has no such repository that you may read; check the name, or "
            "accept its terms and log in with: hf auth login"
        )
    offline = (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError, TimeoutError)
    if not is_local and any(isinstance(cause, offline) for cause in (error, *causes)):
        return (
            f"{model} is no folder here, and the hub cannot be reached; download it once on a machine with network "
            f"(hf download {model} --local-dir FOLDER) and pass the folder instead"
        )
    if any(map(is_out_of_memory, (error, *causes))):
        return f"{model} describes more than memory can hold ({text}); get its configs again, or use a smaller model"
    if _NO_SAFETENSORS.search(text):
        if not is_local or any(file.suffix in _PICKLES for file in folder.rglob("*")):
            return str(pickled(model))
        if variant := next((file for file in folder.rglob("*") if _VARIANT.search(file.name)), None):
            return f"{text}; there is {variant.name}, but variants are not read: save the model without one"
    return f"cannot read {model}: {text}"


def _class_of(index: Any, model: str) -> str:
    """The pipeline's class by its index; everything that it names must be part of diffusers or transformers."""
    kind = index.get("_class_name") if isinstance(index, Mapping) else None
    if kind is None:
        raise ConfigError(f"{model} names no pipeline in its {_INDEX}; it is a part of one, or something else")
    libraries = set()
    for name, value in index.items():
        match value:
            case [str(library), str()]:
                libraries.add(library)
            case str() | [*_] if not name.startswith("_") and value != [None, None]:
                raise ConfigError(
                    f"{model}: {name} in its {_INDEX} must be a library and a class, got {value!r:.80}; get it again"
                )
    foreign = [name for name in libraries - {"diffusers", "transformers"} if not hasattr(diffusers.pipelines, name)]
    if not isinstance(kind, str) or foreign:
        raise ConfigError(_of_own_code(model))
    return kind


def _of_own_code(model: str) -> str:
    return f"{model} needs code of its own, which is never run here; use a model made of diffusers' own classes"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no log lines of the libraries."""
    logs: list[Any] = [diffusers.utils.logging, transformers.utils.logging]
    before, of_hub = [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs], hub_logging.get_verbosity()
    try:
        hub_logging.set_verbosity(logging.CRITICAL)
        for log in logs:
            log.set_verbosity(log.CRITICAL)
            log.disable_progress_bar()
        yield
    finally:
        hub_logging.set_verbosity(of_hub)
        for log, (verbosity, has_bar) in zip(logs, before, strict=True):
            log.set_verbosity(verbosity)
            (log.enable_progress_bar if has_bar else log.disable_progress_bar)()
