"""Reverse paths of a pipeline whose network can be asked at any noise level for any of a few classes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from orthoscope import rng
from orthoscope.denoise import Denoiser
from orthoscope.denoise.base import Evaluation, Label, Memory
from orthoscope.learned.denoiser import Learned
from orthoscope.numerics import Array
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.sample import Independent, geometric
from orthoscope.study.calibrate.path import Paths, reverse_paths
from orthoscope.study.calibrate.plan import Calibration
from orthoscope.typing import Events

if TYPE_CHECKING:
    from orthoscope.integrations.host import Host

PATHED = 32  # classes that are followed at most: every step asks for all of them
_NOTHING = 0.005  # nats about the class in states from which paths start
_BEYOND = 0.02  # paths end at this part of the time at which the pair says that all is told


def host_paths(
    host: Host, time: Array, told: Array, calibration: Calibration, advance: Callable[[], None]
) -> Paths | None:
    """As many paths per class as there are images per prompt; None where it cannot be done.

    Args:
        host: Whose network is asked.
        time: Variance times of the pipeline's levels, descending.
        told: What the pair of predictions says that images at these levels tell, nats; no less than they do tell.
        calibration: Number of paths and of steps, and the root seed.
        advance: Called after every step.

    Raises:
        StoppedError: if a path stops being finite.
    """
    if host.classes is None or not has_paths(host):
        return None
    denoiser = _denoiser(host)
    labels = np.repeat(np.arange(host.classes), calibration.images_per_prompt)
    channels, side = host.pipe.unet.config["in_channels"], host.pipe.unet.config["sample_size"]
    shape = (int(channels), *(side if isinstance(side, tuple | list) else (side, side)))
    streams = rng.row_streams(calibration.seed, "calibrate", "paths", rows=range(len(labels)))
    first = time[max(int(np.searchsorted(told, _NOTHING)) - 1, 0)]
    settled = time[min(int(np.searchsorted(told, math.log(host.classes))), len(time) - 1)]
    end = max(_BEYOND * float(settled), float(time[-1]))
    levels = geometric(VarianceExploding(), float(first), calibration.path_steps, end=end)
    normal = np.stack([stream.standard_normal(shape, dtype=np.float32) for stream in streams])
    x = math.sqrt(levels.times[0]) * torch.from_numpy(normal).to(host.pipe.device)
    noise = Independent(streams, shape, like=x)
    rows = torch.from_numpy(labels).to(x.device)
    return reverse_paths(denoiser, x, levels, noise, rows, host.classes, advance)


def has_paths(host: Host) -> bool:
    """Whether it can be done."""
    from orthoscope.integrations.digits import DigitsPipeline

    return isinstance(host.pipe, DigitsPipeline) and host.classes is not None and host.classes <= PATHED


def _denoiser(host: Host) -> Denoiser:
    """The network of a host as a denoiser of clean data in unscaled coordinates."""
    from orthoscope.integrations.digits import AtSigma
    from orthoscope.integrations.twin import ExactNetwork

    if isinstance(host.pipe.unet, ExactNetwork):
        return _Twin(network=host.pipe.unet, null=host.pipe.null_label)
    single = copy.deepcopy(host.pipe.unet).float()  # odds add up over many steps, so half precision would not do
    return Learned(network=AtSigma(single), null=host.pipe.null_label)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Twin(Denoiser):
    """The exact denoiser inside a twin, asked without its scheduler."""

    network: Any
    null: int

    def evaluate(self, x: Events, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        """The exact denoised mean."""
        labels = torch.as_tensor(self.null if label is None else label, device=x.device).expand(len(x))
        return Evaluation(denoised=self.network.denoised(x.flatten(1), level, labels).reshape(x.shape), memory=memory)
