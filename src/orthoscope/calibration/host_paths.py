"""Reverse paths of a pipeline whose network can be asked at any noise level for any class."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from orthoscope import rng
from orthoscope.calibration.path import Paths, reverse_paths
from orthoscope.calibration.plan import Calibration
from orthoscope.denoise import Denoiser
from orthoscope.denoise.base import Evaluation, Label, Memory
from orthoscope.learned.denoiser import Learned
from orthoscope.numerics import Array
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.sampling import Grid, IndependentNoise, Multistep, geometric, grid, sample
from orthoscope.typing import Events

if TYPE_CHECKING:
    from orthoscope.integrations.host import Host

PATHED = 32  # classes that are all followed; of more some are drawn, and unlikely ones are not asked for
_NOTHING = 0.005  # nats about the class in states from which paths start
_ALL = 0.95  # of what the pair tells, or can tell
_BEYOND = 0.02  # paths end at this part of the time at which the pair has told that
_SOME = 0.05  # of what is to be told: below it one step does where classes are many
_MANY_STEPS = 14  # where they are
_DROPPED = 3e-3  # posterior that a step may drop where they are
_IMAGES = {True: 512, False: 256}  # behind the moments of all classes, where these are few and where many
_IMAGE_STEPS = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Followed:
    """Paths of a host and clean images of its classes.

    Attributes:
        paths: At every strength; only at the first where classes are many.
        images: Clean images of classes drawn uniformly, one per row, in random order.
        labels: Their classes.
        means: Mean of every class, as the network says it of states that are nearly noise alone.
        calls: Predictions that the images took.
    """

    paths: Sequence[Paths]
    images: Array
    labels: NDArray[np.int64]
    means: Array
    calls: int

    @property
    def asked(self) -> int:
        """Predictions that all took."""
        return self.calls + sum(said.calls for one in self.paths for said in one.answers)


def follow(
    host: Host, time: Array, told: Mapping[float, Array], calibration: Calibration, advance: Callable[[], None]
) -> Followed | None:
    """Paths at every strength, as many per class as there are images per prompt; None where it cannot be done.

    Where classes are many, some are drawn, each followed once and at the first strength only.

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
        return None
    few, seed, denoiser = host.classes <= PATHED, calibration.seed, _denoiser(host)
    labels = np.repeat(np.arange(host.classes), calibration.images_per_prompt)
    if not few:
        labels = np.sort(rng.stream(seed, "calibrate", "classes").integers(0, host.classes, calibration.paths))
    levels = _levels(host.classes, time, told, calibration.path_steps)
    rows, shape = torch.from_numpy(labels).to(host.pipe.device), _shape(host)
    found = []
    for strength in told if few else [0.0]:  # with the same noise
        streams = rng.row_streams(seed, "calibrate", "paths", rows=range(len(labels)))
        normal = np.stack([stream.standard_normal(shape, dtype=np.float32) for stream in streams])
        x = math.sqrt(levels.times[0]) * torch.from_numpy(normal).to(rows.device)
        walk = partial(reverse_paths, denoiser, x, levels, IndependentNoise(streams, shape, like=x), rows)
        found.append(walk(host.classes, strength=strength, dropped=0.0 if few else _DROPPED, advance=advance))
    return _with_images(found, denoiser, host, levels, seed)


def _with_images(paths: Sequence[Paths], denoiser: Denoiser, host: Host, levels: Grid, seed: int) -> Followed:
    """Paths with clean images, made by a solver of second order without noise, and the means of all classes."""
    classes, shape, device = int(host.classes or 0), _shape(host), host.pipe.device
    labels = rng.stream(seed, "calibrate", "moments").integers(0, classes, _IMAGES[classes <= PATHED])
    run = geometric(VarianceExploding(), levels.times[0], _IMAGE_STEPS, end=levels.times[-1])

    def noise(name: str, rows: int) -> Events:
        drawn = rng.stream(seed, "calibrate", name).standard_normal((rows, *shape), dtype=np.float32)
        return math.sqrt(levels.times[0]) * torch.from_numpy(drawn).to(device)

    asked = torch.from_numpy(labels).to(device)
    made = sample(denoiser, noise("start", len(labels)), run, step=Multistep(lam=0.0), label=asked).x
    means = denoiser(noise("means", classes), levels.levels[0], torch.arange(classes, device=device))
    images, centers = (one.double().flatten(1).numpy(force=True) for one in (made, means))
    return Followed(paths=paths, images=images, labels=labels, means=centers, calls=images_asked(classes))


def images_asked(classes: int) -> int:
    """Predictions that images and means take."""
    return _IMAGES[classes <= PATHED] * _IMAGE_STEPS + classes


def steps_of(host: Host, calibration: Calibration) -> int:
    """How often `follow` advances."""
    if not has_paths(host):
        return 0
    few = host.classes is not None and host.classes <= PATHED
    return 2 * calibration.path_steps if few else min(calibration.path_steps, _MANY_STEPS)


def _levels(classes: int, time: Array, told: Mapping[float, Array], steps: int) -> Grid:
    """From where nothing is told to well beyond where all is; one step at first where classes are many."""
    first = max(min(int(np.searchsorted(one, _NOTHING)) for one in told.values()) - 1, 0)
    whole = [min(one[-1], math.log(classes)) for one in told.values()]
    settled = max(
        int(np.searchsorted(one, _ALL * all_of_it)) for one, all_of_it in zip(told.values(), whole, strict=True)
    )
    end = max(_BEYOND * float(time[settled]), float(time[-1]))
    if classes <= PATHED:
        return geometric(VarianceExploding(), float(time[first]), steps, end=end)
    begun = min(int(np.searchsorted(told[0.0], _SOME * whole[0])), settled)
    later = np.geomspace(time[max(begun, first + 1)], end, min(steps, _MANY_STEPS))
    return grid(VarianceExploding(), [float(time[first]), *later.tolist()])


def _shape(host: Host) -> tuple[int, ...]:
    """Shape of one state."""
    channels, side = host.pipe.unet.config["in_channels"], host.pipe.unet.config["sample_size"]
    return (int(channels), *(side if isinstance(side, tuple | list) else (side, side)))


def has_paths(host: Host) -> bool:
    """Whether it can be done."""
    return host.classes is not None and host.is_small


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
