"""Reverse paths of a pipeline whose network can be asked at any noise level for any of a few classes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from orthoscope import rng
from orthoscope.calibration.path import Paths, reverse_paths
from orthoscope.calibration.plan import Calibration
from orthoscope.denoise import Denoiser
from orthoscope.denoise.base import Evaluation, Label, Memory
from orthoscope.learned.denoiser import Learned
from orthoscope.numerics import Array
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.sampling import IndependentNoise, geometric
from orthoscope.typing import Events

if TYPE_CHECKING:
    from orthoscope.integrations.host import Host

PATHED = 32  # classes that are followed at most: every step asks for all of them
_NOTHING = 0.005  # nats about the class in states from which paths start
_ALL = 0.95  # of what the pair tells, or can tell
_BEYOND = 0.02  # paths end at this part of the time at which the pair has told that


def host_paths(
    host: Host, time: Array, told: Mapping[float, Array], calibration: Calibration, advance: Callable[[], None]
) -> list[Paths]:
    """As many paths per class as there are images per prompt, at every strength; none where it cannot be done.

    Args:
        host: Whose network is asked.
        time: Variance times of the pipeline's levels, descending.
        told: What the pair of predictions says that images at these levels tell, nats, at every strength to follow.
        calibration: Number of paths and of steps, and the root seed.
        advance: Called after every step.

    Raises:
        DivergenceError: if a path stops being finite.
    """
    if host.classes is None or not has_paths(host):
        return []
    denoiser = _denoiser(host)
    labels = np.repeat(np.arange(host.classes), calibration.images_per_prompt)
    channels, side = host.pipe.unet.config["in_channels"], host.pipe.unet.config["sample_size"]
    shape = (int(channels), *(side if isinstance(side, tuple | list) else (side, side)))
    first = min(int(np.searchsorted(one, _NOTHING)) for one in told.values()) - 1
    settled = max(int(np.searchsorted(one, _ALL * min(one[-1], math.log(host.classes)))) for one in told.values())
    end = max(_BEYOND * float(time[settled]), float(time[-1]))
    levels = geometric(VarianceExploding(), float(time[max(first, 0)]), calibration.path_steps, end=end)
    rows = torch.from_numpy(labels).to(host.pipe.device)
    found = []
    for strength in told:  # with the same noise
        streams = rng.row_streams(calibration.seed, "calibrate", "paths", rows=range(len(labels)))
        normal = np.stack([stream.standard_normal(shape, dtype=np.float32) for stream in streams])
        x = math.sqrt(levels.times[0]) * torch.from_numpy(normal).to(rows.device)
        noise = IndependentNoise(streams, shape, like=x)
        found.append(reverse_paths(denoiser, x, levels, noise, rows, host.classes, strength=strength, advance=advance))
    return found


def has_paths(host: Host) -> bool:
    """Whether it can be done."""
    return host.is_small and host.classes is not None and host.classes <= PATHED


def _denoiser(host: Host) -> Denoiser:
    """The network of a host as a denoiser of clean data in unscaled coordinates."""
    from orthoscope.integrations.class_pipeline import AtSigma
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
