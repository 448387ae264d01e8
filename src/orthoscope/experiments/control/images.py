"""Networks of images that ship, steered in their pipelines and measured from real images of the class.

Moments, Vendi score and recall are of the final states, Frechet distances of these in the main directions of all
images, the posterior is the judge's. Policies are trained on the counterpart, Gaussian classes in those directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from orthoscope import rng
from orthoscope.control import Case
from orthoscope.errors import DivergenceError
from orthoscope.experiments.control.methods import noiseless
from orthoscope.experiments.control.truth import FloatArray, Subject, Truth
from orthoscope.guidance.rules import Rule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.integrations.features import LatentFeatures
from orthoscope.integrations.host import Host
from orthoscope.integrations.judge import ShippedJudge
from orthoscope.integrations.real import RealImages, real_images
from orthoscope.integrations.source import Source
from orthoscope.metrics import ClassImages
from orthoscope.metrics.away import Away
from orthoscope.simulation.classes import ClassMoments
from orthoscope.targets import gaussian_classes

_DIRECTIONS = 16
_SPREAD = 12  # classes over which cases are spread evenly
_BATCHES = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class _Model:
    """A network that ships, with all that its images are measured by."""

    host: Host
    judge: ShippedJudge
    rows: FloatArray
    labels: Any
    known: ClassImages
    main: FloatArray

    def label(self, index: int) -> int:
        """The class of a case."""
        classes = int(self.labels.max()) + 1
        return index * max(classes // _SPREAD, 1) % classes


@lru_cache(maxsize=2)
def _model(name: str) -> _Model:
    host = Source(model=name, device="cpu", dtype="float32").host()
    real = real_images(host)
    assert isinstance(real, RealImages)  # of all that ship
    features = LatentFeatures()
    rows = real.rows(features).astype(np.float64)
    _, directions = np.linalg.eigh(np.cov(rows.T))
    return _Model(
        host=host, judge=ShippedJudge.fitted(name), rows=rows, labels=real.labels,
        known=real.by_class(features), main=np.ascontiguousarray(directions[:, -_DIRECTIONS:]),
    )  # fmt: skip


def image_case(name: str, index: int) -> Case:
    """A class as a Gaussian among others in the main directions, with exact scores."""
    return Case(target=_counterpart(name), label=_model(name).label(index))


@lru_cache(maxsize=2)
def _counterpart(name: str) -> Any:
    model = _model(name)
    return gaussian_classes(torch.from_numpy(model.rows @ model.main).float(), torch.from_numpy(model.labels))


def image_subject(name: str, index: int, *, images: int, steps: int, seed: int) -> Subject:
    """A class of a network that ships, steered in its pipeline."""
    model = _model(name)
    label = model.label(index)
    own = model.rows[model.labels == label]
    order = rng.stream(seed, "truth").permutation(len(own))
    batches = min(_BATCHES, len(own) // images)

    def run(schedule: GuidanceSchedule, rule: Rule) -> FloatArray:
        seeds = range(seed, seed + images)
        made = model.host.generate(str(label), seeds, schedule, rule=noiseless(rule), steps=steps)
        x = made.latents.reshape(images, -1).astype(np.float64)
        if not np.isfinite(x).all():
            raise DivergenceError("the images are not finite", step=steps, time=0.0, last_good=None)
        return x

    def away(x: FloatArray) -> Away:
        squares = model.known.squares(x, np.full(len(x), label))
        return Away(squares=squares, far=(squares > model.known.border).astype(np.float64))

    truth = Truth(
        moments=ClassMoments(mean=own.mean(0), covariance=np.cov(own.T), center=model.rows.mean(0)),
        batches=own[order[: batches * images]].reshape(batches, images, -1),
        posterior=lambda x: float(model.judge.of_rows(x)[:, label].mean()), away=away, main=model.main,
    )  # fmt: skip
    return Subject(truth, run)
