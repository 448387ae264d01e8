"""What a loaded component is, short enough to compare: it does not matter where it was read from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from orthoscope.serialize import content_hash, plain

_SAMPLED = 64  # values per tensor that go into its fingerprint
_UNUSED = ("decoder", "padding", "truncation")  # of a tokenizer: the last two are those of its last call
_MANY = 100  # entries of a part of a config, from which on a hash stands for them
_BOOKKEEPING = ("architectures", "dtype", "torch_dtype", "transformers_version")  # of how a model was saved


def settings(config: Mapping[Any, Any]) -> dict[str, Any]:
    """A config without what libraries keep there for themselves; of what has many entries, such as names, a hash."""
    return {
        key: _settled(value) if isinstance(value, Mapping) else plain(value)
        for key, value in sorted((str(key), value) for key, value in config.items())
        if not key.startswith("_") and key not in _BOOKKEEPING
    }


def _settled(value: Mapping[Any, Any]) -> dict[str, Any] | str:
    found = settings(value)
    return found if len(found) <= _MANY else content_hash(found)


def fingerprint(part: Any) -> dict[str, Any]:
    """Class and settings of a component, and a hash of how it reads texts or over some values of all its tensors."""
    about: dict[str, Any] = {"class": type(part).__name__}
    if isinstance(part, ConfigMixin):
        about["settings"] = settings(part.config)
    if isinstance(part, PreTrainedModel):
        about["settings"] = settings(part.config.to_dict())
    if isinstance(part, PreTrainedTokenizerBase):
        about["reads"] = content_hash(_reading(part))
    if isinstance(part, torch.nn.Module):
        found = hashlib.blake2b(digest_size=16)
        for name, tensor in (*part.named_parameters(), *part.named_buffers()):
            values = tensor.detach().flatten()
            chosen = torch.arange(0, len(values), max(len(values) // _SAMPLED, 1))
            found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            found.update(values[chosen.to(values.device)].double().cpu().numpy().tobytes())
        about["weights"] = found.hexdigest()
    return about


def _reading(tokenizer: Any) -> dict[str, Any]:
    """All that determines the tokens of a text."""
    backend = getattr(tokenizer, "backend_tokenizer", None)  # which those in plain Python have not
    steps = {"model": tokenizer.get_vocab()} if backend is None else json.loads(backend.to_str())
    filled = {name: getattr(tokenizer, name) for name in ("model_max_length", "padding_side", "pad_token")}
    return {name: value for name, value in steps.items() if name not in _UNUSED} | filled
