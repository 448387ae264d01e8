"""Training of the models that ship with the package, and what became of them.

What a sample is worth is said by a judge that never saw the model: a classifier trained on the same images, tested on
those held out. Beside class and variance stands `novelty`: how far samples are from the images trained on, in units of
how far unseen images are. Near 0 the model has learned its data by heart; near 1 it makes new images.
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
from orthoscope.errors import ConfigError, unknown
from orthoscope.learned import Labelled, Trainer, Training, train
from orthoscope.locking import locked
from orthoscope.progress import Progress
from orthoscope.quantities import Estimate
from orthoscope.serialize import plain
from orthoscope.threads import one_thread

if TYPE_CHECKING:
    from orthoscope.integrations.class_pipeline import ClassPipeline
    from orthoscope.integrations.judge import ShippedJudge
    from orthoscope.integrations.shipped import Model

FloatArray = NDArray[np.float64]
CHECKPOINT, RESULTS = "checkpoint.safetensors", "training.nc"
FILES = (CHECKPOINT, RESULTS, "loss.svg", "loss.png", "sheet.svg", "sheet.png")  # of its folder, beside the weights
TRAININGS = {
    "digits": Training(),
    "glyphs": Training(steps=12000, learning_rate=4e-3, null_share=0.3, every=500),
    "glyphs-10": Training(steps=2000, learning_rate=4e-3, null_share=0.3, every=500),
    "glyphs-100": Training(steps=4000, learning_rate=4e-3, null_share=0.3, every=500),
    "glyphs-weak": Training(steps=4000, learning_rate=4e-3, null_share=0.1, every=500),
}
_EXAMINED = 20  # classes at most, spread evenly
_SHOWN = 12  # samples per class that are kept as images
_LOGGED = 1000  # images held out that an entry of the log is taken of, at most
_FEWEST = 8  # of which a variance and its error can be taken


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTraining:
    """One training of a model that ships, and its examination.

    Attributes:
        model: Which one.
        training: How the network is trained; as the one that ships if None.
        strengths: Guidance strengths at which it is examined.
        samples: Images per class and strength.
        sampler_steps: Steps of the sampler.
    """

    name: str = field(default="model-training", init=False)
    model: str = "digits"
    training: Training | None = None
    strengths: tuple[float, ...] = (0.0, 1.0, 3.0)
    samples: int = 50
    sampler_steps: int = 30

    def __post_init__(self) -> None:
        """Reject models that there are not, and examinations that say nothing."""
        if self.model not in TRAININGS:
            raise unknown("model", self.model, TRAININGS)
        if self.training is None:
            object.__setattr__(self, "training", TRAININGS[self.model])
        if self.samples < _FEWEST:
            raise ConfigError(f"samples must be at least {_FEWEST} per class, got {self.samples}")

    @property
    def plan(self) -> Training:
        """How the network is trained."""
        assert self.training is not None  # once it is made
        return self.training

    @property
    def shipped(self) -> Model:
        """The model."""
        from orthoscope.integrations.shipped import MODELS

        return MODELS[self.model]

    @property
    def weights(self) -> str:
        """Name of the file of weights."""
        return f"{self.model}.safetensors"

    @property
    def examined(self) -> NDArray[np.int64]:
        """The classes that are examined."""
        number = min(self.shipped.classes, _EXAMINED)
        return np.arange(number) * self.shipped.classes // number

    def split(self) -> tuple[Labelled, Labelled]:
        """The images to train on, in the order of the seed, and those held out."""
        images, labels = self.shipped.images()
        data = Labelled(x=torch.from_numpy(images), labels=torch.from_numpy(labels), classes=self.shipped.classes)
        seen, held_out = self.shipped.split(self.plan.seed)
        return data.take(seen), data.take(held_out)

    def train(
        self, out: Path, *, resume: bool = False, device: str = "cpu", progress: Progress | None = None
    ) -> tuple[Trainer, ClassPipeline]:
        """Train on one thread, keeping a checkpoint, and write the weights.

        Raises:
            ConfigError: if the folder is in use or cannot be written, or there is nothing to resume.
            StoppedError: if training diverges.
        """
        from orthoscope.integrations.class_pipeline import AtSigma, build_network, pipeline_of
        from orthoscope.integrations.shipped import write_weights
        from orthoscope.learned.checkpoint import read_checkpoint, write_checkpoint

        seen, held_out = self.split()
        network = AtSigma(build_network(self.shipped.network, self.plan.seed))
        trainer = Trainer(network, self.plan, device=device)
        made_by = {"orthoscope": __version__, "torch": torch.__version__, "training": plain(self.plan)}
        with locked(out, job(self.model), (self.weights, *FILES)), one_thread():
            if resume:
                read_checkpoint(trainer, out / CHECKPOINT)
            for _ in train(trainer, seen, self._part(held_out), progress=progress):
                write_checkpoint(trainer, out / CHECKPOINT)
            unet: Any = trainer.average.unet
            write_weights(self.shipped, unet, out / self.weights, made_by=made_by)
        return trainer, pipeline_of(unet, self.shipped.names() if self.shipped.names else None)

    def _part(self, held_out: Labelled) -> Labelled:
        """So many images as an entry of the log is worth."""
        return held_out.take(np.arange(min(len(held_out), _LOGGED)))

    def examine(self, trainer: Trainer, pipeline: ClassPipeline, progress: Progress | None = None) -> xr.Dataset:
        """The log, images, and what the judge says of them, per strength and class."""
        judge = Judge.of(self)
        images, measured = [], []
        with one_thread():
            for done, strength in enumerate(self.strengths, 1):
                x = self.generate(pipeline, strength)
                images.append(x[:, :_SHOWN].reshape(len(x), -1, *[self.shipped.side] * 2))
                measured.append([judge.measure(rows, label) for label, rows in zip(self.examined, x, strict=True)])
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
                "label": self.examined,
            },
            spec=self,
            judge_accuracy=judge.classifier.accuracy,
            parameters=sum(p.numel() for p in pipeline.unet.parameters()),
        )

    def generate(self, pipeline: ClassPipeline, strength: float) -> FloatArray:
        """Samples (classes, samples, pixels), in [-1, 1] up to overshoot; the noise is common to all strengths."""
        seed = rng.key(self.plan.seed, "examine") % 2**63
        found = pipeline(
            np.repeat(self.examined, self.samples).tolist(),
            num_inference_steps=self.sampler_steps,
            guidance_scale=1 + strength,
            generator=torch.Generator().manual_seed(seed),
            output_type="latent",
            return_dict=False,
        )[0]
        return found.reshape(len(self.examined), self.samples, -1).double().numpy(force=True)


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """A classifier of real images, and the real images themselves; both are taken as given, without errors.

    Attributes:
        classifier: The judge of audits.
        real: The images trained on, and those held out.
    """

    classifier: ShippedJudge
    real: metrics.ClassImages

    @classmethod
    def of(cls, study: ModelTraining) -> Judge:
        """Fit to the images trained on."""
        from orthoscope.integrations.judge import ShippedJudge

        (x, y), unseen = map(_flat, study.split())
        return cls(ShippedJudge.fitted(study.model), metrics.ClassImages(rows=x, labels=y, unseen=unseen))

    def measure(self, rows: FloatArray, label: int) -> dict[str, Estimate]:
        """Share in its class, total variance and novelty of samples of one class."""
        real, labels = self.real, np.full(len(rows), label)
        variance = metrics.total_variance(real.rows[real.members[label]]).value
        return {
            "class_share": metrics.share_of(self.classifier.classes(rows) == label),
            "variance_ratio": metrics.total_variance(rows).times(1 / variance),
            "novelty": metrics.mean_of(real.nearest(rows, labels)).affine(1 / real.unseen_nearest[label]),
        }


def job(model: str) -> str:
    """What a folder is locked for."""
    return f"train {model}"


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
