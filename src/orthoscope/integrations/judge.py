"""Who says which class an image shows, and the real images that generated ones are compared with.

A judge never saw the model that it judges. That of a model that ships is one support vector machine per class against
all others, or a linear discriminant where classes are many; its margins are turned into probabilities by one
temperature, fitted on images that it had not seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from transformers import AutoModelForImageClassification

from orthoscope.errors import ConfigError
from orthoscope.integrations.features import Features
from orthoscope.integrations.hub import local
from orthoscope.integrations.image_files import SIDE, common_side, image_files, squares
from orthoscope.integrations.real import real_images
from orthoscope.integrations.vision import Vision, open_vision
from orthoscope.progress import LOG, Remark

if TYPE_CHECKING:
    from orthoscope.integrations.host import Generated, Host

FloatArray = NDArray[np.float64]
Images = NDArray[np.float32]
_SOFTNESS, _GAMMA = 10.0, 0.05  # of the machines
_FEW = 20  # classes up to which machines tell them apart in a few seconds
_GRAY = (0.299, 0.587, 0.114)  # of red, green and blue


@runtime_checkable
class Judge(Protocol):
    """A classifier of what a host generates."""

    @property
    def name(self) -> str:
        """What it is."""
        ...

    @property
    def identity(self) -> dict[str, Any]:
        """What determines its answers, for JSON."""
        ...

    def probabilities(self, generated: Generated) -> FloatArray:
        """Posterior probability of every class (n, classes)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ShippedJudge:
    """A classifier of the images that a model that ships was trained on; it reads latents as they are, unclipped.

    Attributes:
        name: What it is.
        classifier: The fitted classifier.
        sharpness: Factor of its margins.
        accuracy: Share of held-out images that it gets right.
        log_loss: Mean of -log probability of the right class of held-out images, in nats.
        settings: What determines the fit.
    """

    name: str
    classifier: Any
    sharpness: float
    accuracy: float
    log_loss: float
    settings: Mapping[str, Any]

    @classmethod
    @cache
    def fitted(cls, name: str) -> ShippedJudge:
        """Fit to the images that a model was trained on; those held out from it measure the fit."""
        from orthoscope.integrations.shipped import MODELS

        model = MODELS[name]
        x, labels = model.images()
        x = x.reshape(len(x), -1).astype(np.float64)
        seen, other = model.split()
        kind, settings, classifier = _classifier(model.classes)
        if model.classes <= _FEW:
            from sklearn.model_selection import cross_val_predict

            unseen = cross_val_predict(classifier, x[seen], labels[seen], method="decision_function")
            classifier.fit(x[seen], labels[seen])
            sharpness = _sharpness(unseen, labels[seen])
            margins = classifier.decision_function(x[other])
        else:  # one number is fitted to thousands of images
            margins = classifier.fit(x[seen], labels[seen]).decision_function(x[other])
            sharpness = _sharpness(margins, labels[other])
        accuracy = float((margins.argmax(1) == labels[other]).mean())
        loss = _log_loss(sharpness * margins, labels[other])
        return cls(f"{kind} on the bundled {model.data().source}", classifier, sharpness, accuracy, loss, settings)

    @property
    def identity(self) -> dict[str, Any]:
        """Its name and settings."""
        return {"name": self.name, **self.settings}

    def classes(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        """The likeliest class of each image (n, pixels)."""
        return np.asarray(self.classifier.decision_function(rows).argmax(1))

    def probabilities(self, generated: Generated) -> FloatArray:
        """Posterior probability of every class (n, classes)."""
        return self.of_rows(generated.latents.reshape(len(generated.latents), -1).astype(np.float64))

    def of_rows(self, rows: NDArray[Any]) -> FloatArray:
        """The same of images as rows (n, pixels)."""
        return softmax(self.sharpness * self.classifier.decision_function(rows), axis=1)


def _classifier(classes: int) -> tuple[str, dict[str, Any], Any]:
    """What it is, its settings, and itself, to be fitted."""
    if classes > _FEW:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        return "linear discriminants", {"solver": "svd"}, LinearDiscriminantAnalysis()
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.svm import SVC

    machine = SVC(C=_SOFTNESS, gamma=_GAMMA, random_state=0)
    return "support vector machines", {"C": _SOFTNESS, "gamma": _GAMMA}, OneVsRestClassifier(machine)


def _sharpness(margins: FloatArray, labels: NDArray[np.int64]) -> float:
    """The factor that makes the margins of unseen images likeliest."""
    best = minimize_scalar(lambda log: _log_loss(np.exp(log) * margins, labels), bounds=(-5, 5))
    return float(np.exp(best.x))


@dataclass(frozen=True)
class NetworkJudge:
    """A transformers classifier of images; its columns are its own class numbers."""

    vision: Vision
    name: str

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Its name, and what determines the network's outputs."""
        return {"name": self.name, **self.vision.identity}

    def probabilities(self, generated: Generated) -> FloatArray:
        """Posterior probability of every class of the network."""
        logits = self.vision.of(generated.images, lambda pixels: self.vision.model(pixels).logits)
        return softmax(logits.astype(np.float64), axis=1)


def judge_of(
    host: Host, *, classifier: str | None = None, device: str = "auto", allow_pickle: bool = False
) -> Judge | None:
    """The judge of a host: a classifier that is given, that of a model that ships, or none.

    Args:
        host: What generates.
        classifier: Folder of a transformers image classifier whose class numbers are the host's, or repository of the
            hub.
        device: Where a network runs; "auto" takes the accelerator if there is one.
        allow_pickle: Whether weights that are not safetensors may be read.

    Raises:
        ConfigError: if the classifier cannot be opened or has another number of classes than the host.
    """
    if classifier is None:
        return None if host.shipped is None else ShippedJudge.fitted(host.shipped.name)
    vision = open_vision(AutoModelForImageClassification, classifier, device=device, allow_pickle=allow_pickle)
    known = int(vision.model.config.num_labels)
    if host.classes is not None and known != host.classes:
        raise ConfigError(f"{classifier} tells {known} classes apart, {host.name} makes {host.classes}; use another")
    return NetworkJudge(vision, f"{vision.model.config.model_type} classifier")


# Reference images


def reference_images(path: str | None, host: Host, remark: Remark = LOG.warning) -> Images | None:
    """Real images to compare with (n, height, width, channels) in [0, 1]; None if there are none.

    Args:
        path: Folder of image files, as `image_files` has them, 256 pixels a side at most. For a host like a model that
            ships they become gray and of its size; if None, they are the data of that model.
        host: What generates.
        remark: Told of images of other kinds.

    Raises:
        ConfigError: if the folder is missing or holds no such file, or one cannot be read or is far smaller than most.
    """
    parts = list(_batches(path, host, remark))
    return np.concatenate(parts) if parts else None


def reference_features(
    features: Features, path: str | None, host: Host, remark: Remark = LOG.warning
) -> NDArray[np.float32] | None:
    """Features of the reference images, a few read at a time; arguments and errors as `reference_images`.

    Latents of a model that ships are its pixels in [-1, 1], so that there references have latents, too.
    """
    if path is None:
        real = real_images(host)
        return None if real is None else real.rows(features)
    parts = [features.of_images(images) for images in _batches(path, host, remark)]
    return np.concatenate(parts) if parts else None


def _batches(path: str | None, host: Host, remark: Remark) -> Iterator[Images]:
    if path is None:
        if (real := real_images(host)) is not None:
            yield real.pixels
        return
    files = image_files(local(path), remark)
    for images in squares(files, common_side(files, host.shipped.side if host.shipped else SIDE)):
        yield (images @ np.array(_GRAY, np.float32))[..., None] if host.shipped else images


def _log_loss(logits: FloatArray, labels: NDArray[np.int64]) -> float:
    return float(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())
