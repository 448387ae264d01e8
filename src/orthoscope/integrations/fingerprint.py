"""What a loaded component is, short enough to compare: it does not matter where it was read from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin

from orthoscope.serialize import plain

_SAMPLED = 64  # values per tensor that go into its fingerprint


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without what diffusers keeps there for itself."""
    return {key: plain(value) for key, value in sorted(config.items()) if not key.startswith("_")}


def fingerprint(part: Any) -> dict[str, Any]:
    """Class and settings of a component and, of a module, a hash over names, shapes and some values of its tensors."""
    about: dict[str, Any] = {"class": type(part).__name__}
    if isinstance(part, ConfigMixin):
        about["settings"] = settings(part.config)
    if isinstance(part, torch.nn.Module):
        found = hashlib.blake2b(digest_size=16)
        for name, tensor in (*part.named_parameters(), *part.named_buffers()):
            values = tensor.detach().flatten()
            chosen = torch.arange(0, len(values), max(len(values) // _SAMPLED, 1))
            found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            found.update(values[chosen.to(values.device)].double().cpu().numpy().tobytes())
        about["weights"] = found.hexdigest()
    return about
