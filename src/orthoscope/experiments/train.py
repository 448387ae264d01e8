"""Training of the digits model that ships with the package, and what became of it.

What a sample is worth is said by a judge that never saw the model: a support vector machine trained on the same images,
tested on those held out. Beside class and variance stands `novelty`: how far samples are from the images trained on,
in units of how far unseen images are. Near 0 the model has learned its data by heart; near 1 it makes new digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from orthoscope import __version__, metrics, rng
from orthoscope.datasets import dataset, estimates, stored
from orthoscope.errors import ConfigError
from orthoscope.learned import Labelled, Trainer, Training, train
from orthoscope.locking import locked
from orthoscope.progress import Progress
from orthoscope.quantities import Estimate
from orthoscope.serialize import plain
from orthoscope.threads import one_thread

if TYPE_CHECKING:
    from orthoscope.integrations.digits import DigitsPipeline

FloatArray = NDArray[np.float64]
JOB, WEIGHTS, CHECKPOINT, RESULTS = "train digits", "digits.safetensors", "checkpoint.safetensors", "training.nc"
FILES = (WEIGHTS, CHECKPOINT, RESULTS, "loss.svg", "loss.png", "sheet.svg", "sheet.png")  # of its folder
_SHOWN = 12  # samples per class that are kept as images
_FEWEST = 8  # of which a variance and its error can be taken


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitsTraining:
    """One training of the digits model and its examination.

    Attributes:
        training: How the network is trained.
        held_out: Share of the images that it never sees.
        strengths: Guidance strengths at which it is examined.
        samples: Images per class and strength.
        sampler_steps: Steps of the sampler.
    """

    name: str = field(default="digits-training", init=False)
    training: Training = field(default_factory=Training)
    held_out: float = 0.1
    strengths: tuple[float, ...] = (0.0, 1.0, 3.0)
    samples: int = 50
    sampler_steps: int = 30

    def __post_init__(self) -> None:
        """Reject examinations that say nothing."""
        if not 0 < self.held_out < 1:
            raise ConfigError(f"held_out is a share of the images, 0 < held_out < 1, got {self.held_out}")
        if self.samples < _FEWEST:
            raise ConfigError(f"samples must be at least {_FEWEST} per class, got {self.samples}")

    def split(self) -> tuple[Labelled, Labelled]:
        """The images to train on, and those held out."""
        from orthoscope.integrations.digits import digit_images, training_split

        images, labels = digit_images()
        data = Labelled(x=torch.from_numpy(images), labels=torch.from_numpy(labels), classes=10)
        seen, other = training_split(len(data), held_out=self.held_out, seed=self.training.seed)
        return data.take(seen), data.take(other)

    def train(
        self, out: Path, *, resume: bool = False, device: str = "cpu", progress: Progress | None = None
    ) -> tuple[Trainer, DigitsPipeline]:
        """Train on one thread, keeping a checkpoint, and write the weights.

        Raises:
            ConfigError: if the folder is in use or cannot be written, or there is nothing to resume.
            StoppedError: if training diverges.
        """
        from orthoscope.integrations.digits import AtSigma, build_network, pipeline_of, save_digits
        from orthoscope.learned.checkpoint import read_checkpoint, write_checkpoint

        seen, held_out = self.split()
        trainer = Trainer(AtSigma(build_network(self.training.seed)), self.training, device=device)
        made_by = {"orthoscope": __version__, "torch": torch.__version__, "training": plain(self.training)}
        with locked(out, JOB, FILES), one_thread():
            if resume:
                read_checkpoint(trainer, out / CHECKPOINT)
            for _ in train(trainer, seen, held_out, progress=progress):
                write_checkpoint(trainer, out / CHECKPOINT)
            unet: Any = trainer.average.unet
            save_digits(unet, out / WEIGHTS, made_by=made_by)
        return trainer, pipeline_of(unet)

    def examine(self, trainer: Trainer, pipeline: DigitsPipeline, progress: Progress | None = None) -> xr.Dataset:
        """The log, images, and what the judge says of them, per strength and class."""
        seen, held_out = self.split()
        judge = Judge.of(seen, held_out)
        images, measured = [], []
        with one_thread():
            for done, strength in enumerate(self.strengths, 1):
                x = self.generate(pipeline, strength)
                images.append(x[:, :_SHOWN].reshape(len(x), -1, 8, 8))
                measured.append([judge.measure(rows, label) for label, rows in enumerate(x)])
                if progress is not None:
                    progress(done, len(self.strengths))
        log = trainer.log
        variables: dict[str, tuple[Sequence[str], Any]] = {
            name: (["update"], [getattr(entry, name) for entry in log])
            for name in ("loss", "held_out_loss", "learning_rate")
        }
        for name in ("class_share", "variance_ratio", "novelty"):
            variables |= estimates(name, ["strength", "label"], [[one[name] for one in row] for row in measured])
        variables["image"] = (["strength", "label", "sample", "row", "column"], images)
        return dataset(
            variables,
            coords={
                "update": [entry.step for entry in log],
                "strength": list(self.strengths),
                "label": list(range(seen.classes)),
            },
            spec=self,
            judge_accuracy=judge.accuracy,
            parameters=sum(p.numel() for p in pipeline.unet.parameters()),
        )

    def generate(self, pipeline: DigitsPipeline, strength: float) -> FloatArray:
        """Samples (classes, samples, 64), in [-1, 1] up to overshoot; the noise is common to all strengths."""
        classes = pipeline.null_label
        seed = rng.key(self.training.seed, "examine") % 2**63
        found = pipeline(
            np.repeat(np.arange(classes), self.samples).tolist(),
            num_inference_steps=self.sampler_steps,
            guidance_scale=1 + strength,
            generator=torch.Generator().manual_seed(seed),
            output_type="latent",
            return_dict=False,
        )[0]
        return found.reshape(classes, self.samples, -1).double().numpy(force=True)


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """A classifier of real digits, and the real digits themselves; both are taken as given, without errors.

    Attributes:
        classifier: Anything with `predict`.
        accuracy: Share of held-out images that it gets right.
        real: The images trained on, and those held out.
    """

    classifier: Any
    accuracy: float
    real: metrics.ClassImages

    @classmethod
    def of(cls, seen: Labelled, held_out: Labelled) -> Judge:
        """Fit to the images trained on."""
        from sklearn.svm import SVC

        (x, y), (other, labels) = _flat(seen), _flat(held_out)
        classifier = SVC(C=10.0, gamma=0.05, random_state=0).fit(x, y)
        real = metrics.ClassImages(rows=x, labels=y, unseen=(other, labels))
        return cls(classifier, float(classifier.score(other, labels)), real)

    def measure(self, rows: FloatArray, label: int) -> dict[str, Estimate]:
        """Share in its class, total variance and novelty of samples of one class."""
        real, labels = self.real, np.full(len(rows), label)
        variance = metrics.total_variance(real.rows[real.members[label]]).value
        return {
            "class_share": metrics.share_of(self.classifier.predict(rows) == label),
            "variance_ratio": metrics.total_variance(rows).times(1 / variance),
            "novelty": metrics.mean_of(real.nearest(rows, labels)).affine(1 / real.unseen_nearest[label]),
        }


def summarize(result: xr.Dataset) -> dict[str, Any]:
    """The numbers of an examination, by strength, pooled over classes."""
    last = result.isel(update=-1)
    by_strength = {}
    for strength in result["strength"].values:
        one = result.sel(strength=strength)
        by_strength[f"strength {strength:g}"] = {
            name: reduce(Estimate.plus, stored(one, name)).affine(1 / result.sizes["label"]).as_numbers()
            for name in ("class_share", "variance_ratio", "novelty")
        }
    return {
        "updates": int(last["update"]),
        "parameters": int(result.attrs["parameters"]),
        "loss": float(last["loss"]),
        "held_out_loss": float(last["held_out_loss"]),
        "judge_accuracy": float(result.attrs["judge_accuracy"]),
        **by_strength,
    }


def _flat(data: Labelled) -> tuple[FloatArray, NDArray[np.int64]]:
    return data.x.flatten(1).double().numpy(force=True), data.labels.numpy(force=True)
