"""`mixture`, `sample` and `measure`: data with an exact score, samples of one class, what guidance did to them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from orthoscope import metrics
from orthoscope.calls import verb
from orthoscope.checks import LARGEST, flag, real, whole
from orthoscope.datasets import dataset, labelled
from orthoscope.denoise import Denoiser
from orthoscope.denoise.own import denoiser as own_denoiser
from orthoscope.errors import ConfigError, ShapeError, in_one_line
from orthoscope.guidance.given import as_schedule
from orthoscope.guidance.grammar import shown_schedule
from orthoscope.guidance.rules import shown_rule
from orthoscope.guidance.rules.given import as_rule
from orthoscope.metrics.away import Away, squared_distance
from orthoscope.metrics.modes import far_from_modes
from orthoscope.progress import Tracker
from orthoscope.quantities import Estimate
from orthoscope.report.bars import shown
from orthoscope.report.findings import as_path
from orthoscope.results import Result, run
from orthoscope.serialize import dumps
from orthoscope.simulation.classes import ClassMoments, ClassRun, moments_of
from orthoscope.sweeps.points import HERE, Points
from orthoscope.targets import Mixture, empirical_mixture
from orthoscope.targets.datafiles import read_labelled
from orthoscope.targets.given import as_target, names_target
from orthoscope.targets.mixture import mixture as modes_as_mixture

if TYPE_CHECKING:
    from orthoscope.audits.images import ImageStudy

FEWEST = 8  # samples that a standard error of every measure needs
_LEAST_FOR_FRECHET = 2  # rows per dimension


@verb
def mixture(
    x: ArrayLike | torch.Tensor | str | Path,
    *,
    labels: ArrayLike | torch.Tensor | None = None,
    std: float | None = None,
    weights: ArrayLike | torch.Tensor | None = None,
) -> Mixture:
    """Labelled points as a distribution whose score is known exactly: every point a mode of one width.

    Args:
        x: Points, one per row: numpy, torch or lists; or a data set: digits, FILE.npz, FILE.csv.
        labels: Class of each point; every point its own class if None.
        std: Width of the modes; the one of the largest leave-one-out likelihood unless given.
        weights: Weights of the modes; equal unless given.

    Raises:
        ConfigError: if the points hold NaN, are all alike, or have a single class.
        ShapeError: if there is not one label per point.
    """
    if isinstance(x, str | Path):
        data = read_labelled(x)
        x, labels = data.x.reshape(len(data.x), -1), data.labels if labels is None else labels
    points = _tensor(x, "x")
    if points.ndim != 2:
        raise ShapeError(f"expected `x` with one point per row, got shape {tuple(points.shape)}")
    if not points.numel():
        raise ConfigError(f"`x` holds no points, got shape {tuple(points.shape)}", field="x")
    classes = torch.arange(len(points)) if labels is None else _whole(_tensor(labels, "labels"))
    if std is not None and not real("std", std) > 0:
        raise ConfigError(f"`std` is the width of a mode and must be > 0, got {std}", field="std")
    if std is None or labels is not None:
        found = empirical_mixture(points, classes, std=std)
        if weights is None:
            return found
        std = found.std
    share = None if weights is None else _tensor(weights, "weights")
    return modes_as_mixture(points, std=std, labels=classes, weights=share)


def _tensor(values: Any, name: str) -> torch.Tensor:
    """Real numbers as a tensor of their own, in single precision unless they are floating-point already.

    Raises:
        ConfigError: if they are none, or rows differ in length.
    """
    try:
        if isinstance(values, torch.Tensor):
            values = values.detach().cpu()
            values = (values.float() if values.is_floating_point() and values.itemsize < 4 else values).numpy()
        array = np.array(values)
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        raise ConfigError(
            f"`{name}` must be numbers in rows of equal length: {in_one_line(error)}", field=name
        ) from error
    if array.dtype.kind not in "biuf":
        raise ConfigError(f"`{name}` must be real numbers, got {array.dtype}", field=name)
    return torch.from_numpy(array if array.dtype.kind == "f" and array.itemsize > 2 else array.astype(np.float32))


def _whole(labels: torch.Tensor) -> torch.Tensor:
    """Classes, one per row.

    Raises:
        ConfigError: if they are not whole.
        ShapeError: if there are several per row.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ShapeError(f"expected `labels` with one class per row, got shape {tuple(labels.shape)}")
    if not torch.equal(labels, labels.round()):
        raise ConfigError("`labels` must be whole numbers; number the classes 0, 1, ...", field="labels")
    if len(labels) and float(labels.abs().max()) > LARGEST:
        raise ConfigError(f"`labels` must be at most {LARGEST:,}; number the classes 0, 1, ...", field="labels")
    return labels.long()


class Samples(Result):
    """Samples of one class of a target, made under guidance."""

    study: SampleStudy

    @property
    def x(self) -> NDArray[Any]:
        """The samples, one per row."""
        return np.asarray(self.data["x"].values)


class SampleStudy:
    """Samples of one class; what they are made of is held in memory, so they cannot be made again from a file.

    Attributes:
        of: The run.
    """

    name = "samples"

    def __init__(self, of: ClassRun) -> None:
        """Keep the run."""
        self.of = of

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Sample."""
        found = self.of.run()
        return dataset(
            {
                "x": (["row", "coordinate"], found.x.numpy(force=True)),
                "reference": (["row", "coordinate"], self.of.reference().numpy(force=True)),
            },
            coords={},
            spec={"kind": "samples", **_about(self.of)},
            model_calls=found.calls,
            numbers=dumps({**_about(self.of), "rows": self.of.samples, "dimension": self.of.target.dim,
                           "model_calls": found.calls}, indent=None),
        )  # fmt: skip


def _about(run: ClassRun) -> dict[str, Any]:
    """A run in words."""
    return {
        "target": f"{type(run.target).__name__} of {getattr(run.target, 'size', 1)} modes",
        "label": run.label,
        "schedule": shown_schedule(run.schedule),
        "rule": shown_rule(run.rule),
        "denoiser": "exact" if run.network is None else type(run.network).__name__,
        "start": run.start,
        "sampler": "ODE" if run.lam == 0 else "SDE",
        "steps": run.levels.steps,
        "seed": run.seed,
    }


@verb
def sample(
    target: Any,
    schedule: Any = 0.0,
    *,
    label: Any = 0,
    n: Any = 256,
    seed: Any = 0,
    rule: Any = None,
    denoiser: Any = None,
    step: Any = None,
    steps: int = 48,
    t_max: float | None = None,
    start: str = "exact",
    ode: bool = False,
) -> Samples:
    """Samples of one class of a target under guidance, with the target's exact score.

    Args:
        target: A target such as `mixture(x, labels=y)`; or a data set, or the name or place of a target, as text.
        schedule: Guidance strength: a number, a text, a file, a schedule, or a function of the noise level.
        label: The class.
        n: Samples.
        seed: Root seed: equal seeds share their noise whatever the schedule and the rule.
        rule: How predictions are combined; linear guidance if None.
        denoiser: What is sampled in place of the exact score: `denoiser(network, predicts=...)`, or a function
            (x, sigma, label) of the denoised mean; label None asks for all data.
        step: What leads from one level to the next; second-order steps if None.
        steps: Steps, to which the jumps of the schedule are added.
        t_max: Variance time of the start; 200 variances of the data unless given.
        start: `exact`, the noised class, or `prior`, noise of the data's variance.
        ode: Probability-flow ODE instead of the reverse SDE.

    Raises:
        ConfigError: with one clear line, if the target has no such class, or something cannot be used.
        DivergenceError: if a state stops being finite.
    """
    run = class_run(
        target, label, as_schedule(schedule), as_rule(rule), samples=n, seed=seed, network=as_denoiser(denoiser),
        step=step, steps=steps, t_max=t_max, start=start, lam=0.0 if flag("ode", ode) else 1.0,
    )  # fmt: skip
    return sampled(run)


def as_denoiser(given: Any) -> Denoiser | None:
    """The denoiser that is meant: one that is made already, or a function of state, sigma and label; None for none.

    Raises:
        ConfigError: if it is none of these.
    """
    return given if given is None or isinstance(given, Denoiser) else own_denoiser(given)


def class_run(target: Any, label: Any, schedule: Any, rule: Any, **how: Any) -> ClassRun:
    """One class of whatever stands for a target.

    Raises:
        ConfigError: if it is no target.
    """
    is_data = isinstance(target, str | Path) and not names_target(target)
    law = as_target(mixture(target) if is_data else target)
    return ClassRun(target=law, label=label, schedule=schedule, rule=rule, **how)


def sampled(run: ClassRun) -> Samples:
    """The samples of a run."""
    study = SampleStudy(run)
    return Samples(study, study.run())


class MeasureStudy:
    """What guidance did to samples of a class.

    Attributes:
        samples: The samples.
    """

    name = "measures"

    def __init__(self, samples: Samples) -> None:
        """Keep the samples."""
        self.samples = samples

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Measure them."""
        of = self.samples.study.of
        numbers = {name: found.as_numbers() for name, found in measures(self.samples.x, of).items()}
        told = {"schedule": shown_schedule(of.schedule), "rule": shown_rule(of.rule), "label": of.label}
        return labelled(numbers | told, spec={"kind": "measures", **_about(of)})


@verb
def measure(
    samples: Any,
    *,
    reference: str | Path | None = None,
    group_by: str | Path | None = None,
    features: str = "pixel",
    features_model: str | None = None,
    baseline: str | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: Tracker | bool | None = None,
) -> Result:
    """What guidance did to samples, or how diverse the images in a folder are and how near to real ones.

    Of samples of a class: shift of the mean, variance and directions left, class kept, distance to the class. More
    variance is not more diversity: the distance from the class, the share of samples far from every mode, and the
    energy distance from exact samples of the class stand beside it; for images, distances from a reference.

    Args:
        samples: What `sample` returned, or a folder of image files of any tool, to which all else belongs.
        reference: Folder of real images.
        group_by: `subfolder`, or a CSV file with columns file, group and perhaps condition: what diversity is measured
            within; all images together unless given.
        features: What images are compared by: pixel, clip or dinov2.
        features_model: Folder or hub id of the network behind clip or dinov2.
        baseline: The condition that others are compared with; the first by name unless given.
        device: Where a network runs.
        seed: Root seed of the resampling.
        progress: A function of images read, images in all and what is done; True or False for a bar or none.

    Raises:
        ConfigError: if these are neither samples nor a folder of images that can be read.
    """
    if isinstance(samples, str | Path):
        study = image_study(
            samples, reference, group_by, features=features, features_model=features_model, baseline=baseline,
            device=device, seed=seed,
        )  # fmt: skip
        with shown("reading", progress) as tell:
            return run(study, Points(progress=tell))
    if not isinstance(samples, Samples):
        raise ConfigError(
            f"expected what `sample` returns, or a folder of images, got {type(samples).__name__}", field="samples"
        )
    if reference is not None or group_by is not None:
        raise ConfigError("`reference` and `group_by` are for folders of images; samples know their class")
    measuring = MeasureStudy(samples)
    return Result(measuring, measuring.run())


def image_study(folder: str | Path, reference: Any, group_by: Any, **how: Any) -> ImageStudy:
    """The measuring of a folder, with places as they are found from anywhere.

    Raises:
        ConfigError: if something cannot be used.
    """
    from orthoscope.audits.images import ImageStudy  # which needs what pipelines need
    from orthoscope.integrations.image_groups import SUBFOLDER

    places = [None if place is None else os.path.abspath(as_path(place).expanduser()) for place in (folder, reference)]
    groups = group_by if group_by in (None, SUBFOLDER) else os.path.abspath(as_path(group_by).expanduser())
    return ImageStudy(folder=str(places[0]), reference=places[1], group_by=groups, **how)


def away_of(x: NDArray[Any], target: Any, moments: ClassMoments) -> Away:
    """How far samples are from their class, and from every mode where the target has modes."""
    far = None
    if isinstance(target, Mixture) and target.width > 0:
        far = far_from_modes(target, torch.from_numpy(x).to(target.centroids)).double().numpy(force=True)
    try:
        return Away(squares=squared_distance(x, moments.mean, moments.covariance), far=far)
    except ConfigError:  # a class that does not vary
        return Away(far=far)


def measures(x: NDArray[Any], run: ClassRun) -> dict[str, Estimate]:
    """Every measure of samples of a class, by quantity name."""
    whole("n", len(x), FEWEST)
    moments, rows = moments_of(run.target, run.label), np.asarray(x, dtype=np.float64)
    axis = moments.mean - moments.center
    reference = run.reference(len(rows)).double().numpy(force=True)
    total = float(np.trace(moments.covariance))
    found = {
        "mean_shift": metrics.mean_shift(rows - moments.center, axis),
        "variance_ratio": metrics.total_variance(rows).times(1 / total),
        "participation_ratio": metrics.participation_ratio(rows),
        **away_of(rows, run.target, moments).estimates(),
        "energy_distance": metrics.energy_distance(rows, reference),
    }
    if hasattr(run.target, "class_posterior"):
        posterior = run.target.class_posterior(torch.from_numpy(np.asarray(x)), run.label)
        found["class_posterior"] = metrics.share_of(posterior.numpy(force=True))
    if len(rows) >= _LEAST_FOR_FRECHET * rows.shape[1]:
        found["frechet_distance"] = metrics.frechet_distance(rows, moments.mean, moments.covariance)
    return found
