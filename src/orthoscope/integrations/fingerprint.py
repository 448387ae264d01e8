"""What a loaded component is, short enough to compare: it does not matter where it was read from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from orthoscope.serialize import content_hash, plain

_SAMPLED = 64  # values per tensor that go into its fingerprint
_BOOKKEEPING = ("architectures", "dtype", "torch_dtype", "transformers_version")  # of how a model was saved


def settings(config: Mapping[Any, Any]) -> dict[str, Any]:
    """A config without what libraries keep there for themselves."""
    return {
        key: settings(value) if isinstance(value, Mapping) else plain(value)
        for key, value in sorted((str(key), value) for key, value in config.items())
        if not key.startswith("_") and key not in _BOOKKEEPING
    }


def fingerprint(part: Any) -> dict[str, Any]:
    """Class and settings of a component, and a hash of its vocabulary or over some values of all its tensors."""
    about: dict[str, Any] = {"class": type(part).__name__}
    if isinstance(part, ConfigMixin):
        about["settings"] = settings(part.config)
    if isinstance(part, PreTrainedModel):
        about["settings"] = settings(part.config.to_dict())
    if isinstance(part, PreTrainedTokenizerBase):
        about["vocabulary"] = content_hash(part.get_vocab())
    if isinstance(part, torch.nn.Module):
        found = hashlib.blake2b(digest_size=16)
        for name, tensor in (*part.named_parameters(), *part.named_buffers()):
            values = tensor.detach().flatten()
            chosen = torch.arange(0, len(values), max(len(values) // _SAMPLED, 1))
            found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            found.update(values[chosen.to(values.device)].double().cpu().numpy().tobytes())
        about["weights"] = found.hexdigest()
    return about
