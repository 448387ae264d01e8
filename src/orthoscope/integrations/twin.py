r"""The twin of a host: the same pipeline, scheduler, seeds and schedules, with an exact score in the network's place.

The data are taken as a law whose denoised mean is known at every noise level, for each class and for all of them:

- `modes`: every point is a mode, all of one width;
- `classes`: every class is a Gaussian, all of one covariance;
- `gaussian`: the same against one Gaussian with the moments of all data: an unconditional branch without its classes.

Stated as the scheduler wants it, that is a network without error, or with that of the last one alone: what guidance
does to the twin is guidance's own doing, the solver's, and ignorance's.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from orthoscope.denoise import ExactDenoiser
from orthoscope.errors import ConfigError, ShapeError, unknown
from orthoscope.integrations.class_pipeline import ClassPipeline
from orthoscope.integrations.host import Host, host_of
from orthoscope.integrations.stand_in import StandIn
from orthoscope.process import NoiseLevel
from orthoscope.targets import GaussianClasses, empirical_mixture, gaussian_classes

Law = Literal["modes", "classes", "gaussian"]
LAWS: tuple[Law, ...] = get_args(Law)
_FEW = 32  # classes
_DIMS = 4  # of a batch of states: rows, channels, height, width


class ExactNetwork(StandIn):
    """The exact prediction of a labelled data set, with the interface of a class-conditional U-Net.

    The label after the last class asks for the mixture of all.
    """

    def __init__(
        self, data: Tensor, labels: Tensor, scheduler: Any, *, law: Law = "modes", classes: int | None = None,
        std: float | None = None,
    ) -> None:  # fmt: skip
        """Make a law of the points.

        Args:
            data: Points (n, channels, height, width) in the units of the clean state.
            labels: Class of each, from 0.
            scheduler: The scheduler of the pipeline: what it takes predictions for, and where it stands.
            law: What the data are taken as.
            classes: Number of classes; one more than the largest label if None.
            std: Width of a mode in the units of the data; that of the largest leave-one-out likelihood if None.

        Raises:
            ConfigError: if labels are out of range or of one class, data are not finite, or no width fits.
            ShapeError: if there is not one label per point.
        """
        known = int(labels.max()) + 1 if classes is None else classes
        if not 0 <= int(labels.min()) <= int(labels.max()) < known:
            raise ConfigError(
                f"labels must be 0 to {known - 1}, got {int(labels.min())} to {int(labels.max())}; number classes so"
            )
        rows, width = data.flatten(1), {}
        if law == "modes":
            modes = empirical_mixture(rows, labels, std=std)
            exact = none = ExactDenoiser(modes)
            width = {"std": modes.std}
        else:
            gaussians = gaussian_classes(rows, labels)
            exact = ExactDenoiser(gaussians)
            none = ExactDenoiser(gaussians.gaussian()) if law == "gaussian" else exact
        points = hashlib.blake2b(data.cpu().numpy().tobytes() + labels.cpu().numpy().tobytes()).hexdigest()[:16]
        super().__init__(scheduler, data, known, law=law, **width, data=points)
        self._exact, self._none = exact, none

    @property
    def std(self) -> float | None:
        """Width of a mode, in the units of the data; None where there are none."""
        return self.config.get("std")

    def denoised(self, x: Tensor, level: NoiseLevel, labels: Tensor) -> Tensor:
        """The exact denoised mean of each row (n, dim), in unscaled coordinates."""
        means = torch.empty_like(x)
        is_none = labels == self.config["num_class_embeds"] - 1
        if bool(is_none.any()):
            means[is_none] = self._none(x[is_none], level)
        if bool((some := ~is_none).any()):
            means[some] = self._in_classes(x[some], level, labels[some])
        return means

    def _in_classes(self, x: Tensor, level: NoiseLevel, labels: Tensor) -> Tensor:
        if isinstance(law := self._exact.target, GaussianClasses):
            return law.denoised_in(x, level, labels)
        means = torch.empty_like(x)
        for label in torch.unique(labels).tolist():
            means[labels == label] = self._exact(x[labels == label], level, label)
        return means


def twin_of(
    host: Host, data: tuple[ArrayLike, ArrayLike] | None = None, *, law: Law | None = None, std: float | None = None,
    name: str | None = None,
) -> Host:  # fmt: skip
    """The twin of a host, itself a host that is asked for classes.

    Args:
        host: Whose scheduler it takes over, and for a model that ships the data.
        data: Points and their classes from 0; points are final states of the scheduler (n, channels, height, width), or
            (n, height, width), or vectors (n, dim). For a host that is asked by text, number the prompts.
        law: What the data are taken as: "modes", "classes" or "gaussian"; if None, modes up to 32 classes, and then
            classes, of which all are asked at once.
        std: Width of a mode in the units of the data; that of the largest leave-one-out likelihood if None.
        name: What it is called in results.

    Raises:
        ConfigError: if there are no data, or they or the scheduler cannot be used.
        ShapeError: if there is not one label per point.
    """
    if law is not None and law not in LAWS:
        raise unknown("law", law, LAWS)
    if data is None:
        if host.shipped is None:
            raise ConfigError(f"{host.name} has no data of its own; give labelled data for its twin")
        data, std = host.shipped.images(), std or host.shipped.std
    if host.pipe.scheduler.config.get("use_dynamic_shifting"):
        raise ConfigError(
            f"the noise levels of {host.name} depend on the size of its images (use_dynamic_shifting), which its twin "
            "does not know; choose another `pipeline_scheduler`"
        )
    points, labels = _points(data[0]), _labels(data[1])
    if len(points) != len(labels):
        raise ShapeError(f"expected one label per point, got {len(labels)} labels for {len(points)} points")
    scheduler = type(host.pipe.scheduler).from_config(host.pipe.scheduler.config)
    device = getattr(host.pipe, "device", torch.device("cpu"))
    law = law or ("modes" if len(torch.unique(labels)) <= _FEW else "classes")
    network = ExactNetwork(points.to(device), labels.to(device), scheduler, law=law, classes=host.classes, std=std)
    words: dict[str, int] = getattr(host.pipe, "labels", None) or {}
    names = {number: word for word, number in words.items()} or None
    return host_of(ClassPipeline(network, scheduler, names), name or f"twin of {host.name}")


def _points(given: ArrayLike) -> Tensor:
    points = np.asarray(given)
    if points.dtype.kind not in "fiu" or not 2 <= points.ndim <= _DIMS or len(points) == 0:
        raise ConfigError(
            f"expected points (n, dim), (n, height, width) or (n, channels, height, width), got shape {points.shape} "
            f"of {points.dtype}"
        )
    shape = (len(points), *[1] * (_DIMS - points.ndim), *points.shape[1:])
    return torch.from_numpy(np.array(points, dtype=np.float32).reshape(shape))


def _labels(given: ArrayLike) -> Tensor:
    labels: NDArray[Any] = np.asarray(given)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ConfigError(
            f"expected one whole number per point as its class, got shape {labels.shape} of {labels.dtype}"
        )
    return torch.from_numpy(labels.astype(np.int64))
