"""Weights of networks: read completely and from safetensors, or refused.

Left to themselves, the libraries draw at random what a file lacks, pass over what the network has no place for, and
follow an index to whatever file it names. Every network is therefore read by `read_network`.

A network may do without tensors that its class says are not needed, that are tied to others, or that it computes by
itself, and without counts and tables of indices. Files of transformers may hold more: heads and halves that the class
asked for has not. They may not hold another tensor of a module that it has, or another layer of a stack; then config
and weights belong to different models.
"""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from diffusers import ModelMixin
from safetensors import safe_open
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook as on_module
from torch.nn.modules.module import register_module_parameter_registration_hook as on_parameter

from orthoscope.errors import ConfigError, one_line
from orthoscope.reading import check_file, check_folder, read_json

_NAMED = 5  # tensors that a message names
_COMPUTED = ("num_batches_tracked", "position_ids", "relative_position_index")
_OWN = re.compile(r"(diffusion_pytorch_)?model(-\d+-of-\d+)?\.safetensors")
_INTEGERS = ("BOOL", "I", "U")  # how their types begin in safetensors
_ELSEWHERE = {"adapter_config.json": "an adapter", "shard-*-model-*.safetensors": "pieces of distributed training"}
_MOST_PARTS = 50_000  # modules and parameters of a network
_FEW, _PER_BYTE = 1_000_000, 100  # numbers that a network may have in any case, and for each byte of its weights
_TABLES, _TIMES = 2 << 30, 8  # bytes that building it may take in any case, and for each byte of its weights
_LOADING = threading.RLock()


def read_network(make: Any, source: str, *, allow_pickle: bool = False, **options: Any) -> Any:
    """What `make.from_pretrained` reads, on the processor; global random state is left alone.

    Args:
        make: Class of diffusers or transformers.
        source: Folder, or repository of the hub.
        allow_pickle: Whether weights that are not safetensors may be read.
        options: Further arguments of `from_pretrained`.

    Raises:
        ConfigError: if weights are missing, do not fit, or would be unpickled.
    """
    if os.path.isdir(source):
        check_folder(Path(source))
    if not allow_pickle:
        _check_indices(Path(source))
    if not (isinstance(make, type) and issubclass(make, ModelMixin)):
        options["trust_remote_code"] = False
        _check_kind(Path(source))
    with torch.random.fork_rng(devices=[]), no_larger(source):  # what is missing is drawn, and then refused
        network, found = make.from_pretrained(
            source,
            use_safetensors=None if allow_pickle else True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are told below
            **options,
        )
    check_complete(
        network, source, missing=found["missing_keys"], unexpected=found["unexpected_keys"],
        misshapen=found["mismatched_keys"],
    )  # fmt: skip
    files = (file for file in Path(source).glob("*.safetensors") if _OWN.fullmatch(file.name))
    types = (pair for file in files for pair in _types(file).items())
    check_floating(network, source, integers=(name for name, kind in types if kind.startswith(_INTEGERS)))
    return network


@contextmanager
def no_larger(source: str | Path) -> Iterator[None]:
    """Let no network be built meanwhile that is far larger than the weights there are for it: a folder, or a file.

    Neither may it come with tables of its own, of positions for one, that need far more memory.

    Raises:
        ConfigError: if one is.
    """
    place = Path(source)
    files = place.rglob("*") if place.is_dir() else [place]
    held = sum(file.stat().st_size for file in files if file.is_file())
    most = _FEW + _PER_BYTE * held
    sizes = [0, 0]

    def count(module: nn.Module, name: str, value: Any) -> None:
        sizes[0] += 1
        sizes[1] += value.numel() if isinstance(value, torch.Tensor) else 0
        if place.exists() and (sizes[0] > _MOST_PARTS or sizes[1] > most):
            raise ConfigError(
                f"{source} describes a network far larger than its weights; its config belongs to another model"
            )

    hooks = [hook(count) for hook in (on_parameter, on_module)]
    try:
        with _memory(_TABLES + _TIMES * held) if place.exists() else nullcontext():
            yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _memory(most: int) -> Iterator[None]:
    """Let this process take no more than so many bytes meanwhile, where the system can: more is an error of its own."""
    try:
        from resource import RLIM_INFINITY, RLIMIT_AS, getpagesize, getrlimit, setrlimit

        now = int(Path("/proc/self/statm").read_text().split()[0]) * getpagesize()
    except (ImportError, OSError):
        yield
        return
    soft, hard = getrlimit(RLIMIT_AS)
    ends = [limit for limit in (soft, hard, now + most) if limit != RLIM_INFINITY]
    setrlimit(RLIMIT_AS, (min(ends), hard))
    try:
        yield
    finally:
        setrlimit(RLIMIT_AS, (soft, hard))


def check_complete(
    network: nn.Module,
    source: str | Path,
    *,
    missing: Iterable[str],
    unexpected: Iterable[str],
    misshapen: Iterable[Sequence[Any]] = (),
) -> None:
    """Make sure that every weight came from the files.

    Args:
        network: What was read.
        source: Where it was read from.
        missing: Tensors that the files lack.
        unexpected: Tensors of the files that the network has no place for.
        misshapen: Names of tensors with their shapes in the files and in the network.

    Raises:
        ConfigError: if not; the message names the tensors.
    """
    kind = type(network).__name__
    if shapes := sorted((name, tuple(there), tuple(here)) for name, there, here in misshapen):
        told = _listed([f"{name} has shape {there} for {here}" for name, there, here in shapes])
        raise ConfigError(f"weights in {source} do not fit {kind}: {told}; its config belongs to another model")
    unread = {name for name, value in (*network.named_parameters(), *network.named_buffers()) if value.is_meta}
    if lacking := sorted(name for name in {*missing, *unread} if not name.endswith(_COMPUTED)):
        raise ConfigError(
            f"{source} lacks weights of {kind}: {_listed(lacking)}; get its files again, or save it whole"
        )
    if surplus := sorted(_misplaced(network, unexpected)):
        raise ConfigError(
            f"{source} holds weights that {kind} by its config has no place for: {_listed(surplus)}; its config "
            "belongs to another model"
        )


def check_floating(network: nn.Module, source: str | Path, *, integers: Iterable[str]) -> None:
    """Make sure that weights are not read from integers, whose scale is elsewhere.

    Args:
        network: What was read.
        source: Where it was read from.
        integers: Tensors of the files that hold integers; those that the network has as such are as they should be.

    Raises:
        ConfigError: if they are.
    """
    tensors = (*network.named_parameters(), *network.named_buffers())
    # By their last names: before them files may have others than the network.
    counts = {name.rpartition(".")[2] for name, value in tensors if not value.is_floating_point()}
    if wrong := sorted(name for name in integers if name.rpartition(".")[2] not in {*counts, *_COMPUTED}):
        raise ConfigError(
            f"{source} holds integers where {type(network).__name__} has numbers with fractions: {_listed(wrong)}; get "
            "weights that are not quantized"
        )


def check_finite(network: nn.Module, source: str | Path) -> None:
    """Make sure that weights are numbers.

    Raises:
        ConfigError: if one is NaN or infinite in the precision it was read in.
    """
    for name, value in network.state_dict().items():
        # A sum needs no memory, and one value that is no number makes it none. 8 bits are scaled by what reads them.
        if value.is_floating_point() and value.itemsize > 1 and not value.sum(dtype=torch.float32).isfinite():
            raise ConfigError(
                f"{source}: {name} holds NaN or infinity as {str(value.dtype).removeprefix('torch.')}; get its file "
                "again, or use `dtype` float32 if that is not its precision"
            )


@contextmanager
def no_pickles(source: str) -> Iterator[None]:
    """Let torch unpickle nothing meanwhile: whatever leads to a pickle, there it ends.

    Raises:
        ConfigError: if something tries.
    """

    def refused(file: Any, *args: Any, **options: Any) -> None:
        raise pickled(source, file if isinstance(file, str | Path) else "a stream")

    with _LOADING, patch.object(torch, "load", refused):  # one at a time: each puts back what it found
        yield


def pickled(source: str | Path, which: str | Path | None = None) -> ConfigError:
    """The error for weights that could run code."""
    named = "" if which is None else f" ({which})"
    return ConfigError(
        f"{source} holds weights that are not safetensors{named}, and reading pickles can run code; convert them, or "
        "pass `allow_pickle` if you trust whoever made them"
    )


def _misplaced(network: nn.Module, unexpected: Iterable[str]) -> list[str]:
    """Those that another config would have read: of diffusers all, of transformers those of modules there are."""
    computed = {name for name, _ in network.named_buffers()}
    surplus = [name for name in unexpected if name not in computed and not name.endswith(_COMPUTED)]
    if isinstance(network, ModelMixin):
        return surplus
    modules, prefix = dict(network.named_modules()), f"{getattr(network, 'base_model_prefix', '')}."

    def belongs(name: str) -> bool:
        parent = nearest = name.rpartition(".")[0]
        while nearest not in modules:
            nearest = nearest.rpartition(".")[0]
        return nearest != "" and (nearest == parent or isinstance(modules[nearest], nn.ModuleList | nn.Sequential))

    return [name for name in surplus if belongs(name) or belongs(name.removeprefix(prefix))]


def _check_indices(folder: Path) -> None:
    """An index may name safetensors beside it, and nothing else."""
    for index in sorted(folder.glob("*.safetensors.index*.json")):
        try:
            shards = set(map(str, read_json(index)["weight_map"].values()))
            if not shards:
                raise ValueError("it is empty")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(f"{index} is no index of weights; get the folder's files again") from error
        for shard in sorted(shards):
            if not shard.endswith(".safetensors"):
                raise pickled(folder, f"{index.name} names {one_line(shard)}")
            if Path(shard).name != shard or "\\" in shard:
                raise ConfigError(
                    f"{index} names {one_line(shard)}, which is not beside it; get the folder's files again"
                )
        there = (folder / shard for shard in shards if (folder / shard).is_file())
        held = Counter(name for file in there for name in _types(file))
        if twice := sorted(name for name, files in held.items() if files > 1):
            raise ConfigError(f"{index} names files that hold the same: {_listed(twice)}; get the folder's files again")


def _types(file: Path) -> dict[str, str]:
    """Types of the tensors in a file of safetensors, in its own words."""
    check_file(file)
    with safe_open(file, framework="pt") as opened:
        return {name: opened.get_slice(name).get_dtype() for name in opened.keys()}


def _check_kind(folder: Path) -> None:
    """Beside some files transformers reads weights from elsewhere."""
    for name, what in _ELSEWHERE.items():
        if any(folder.glob(name)):
            raise ConfigError(f"{folder} holds {what}, which is not read; merge it into one network and save that")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return one_line(", ".join(names[:_NAMED])) + more
