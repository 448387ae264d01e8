"""The most memory that making a cell took."""

from __future__ import annotations

import resource
import sys
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from orthoscope.integrations.host import Host


def forget(host: Host) -> None:
    """Begin anew, where that can be done."""
    if (device := _device(host)).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def most(host: Host) -> float:
    """Most memory in use, in bytes: of the accelerator during the cell, else of this process since it began."""
    if (device := _device(host)).type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)


def _device(host: Host) -> torch.device:
    return torch.device(getattr(host.pipe, "device", "cpu"))
