"""Real data: the handwritten digits that come with scikit-learn, as an exact mixture.

Every image is a mode, so the score of the data set is known exactly and whatever guidance does to it is
guidance's own doing. Classes are generated at constant strengths and under windows; a window is worth having
only if it keeps more variance than the constant strength of *equal mean shift*, so that is what is compared.
Samples that end in another class are counted, and left out of the moments: their variance is no diversity.
Windows are chosen on one seed and judged on another, or selection alone would make the best of many look
good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice, product
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from orthoscope import metrics, rng
from orthoscope.datasets import dataset, estimates
from orthoscope.denoise import ExactDenoiser
from orthoscope.errors import ConfigError
from orthoscope.guidance.grammar import parse_schedule
from orthoscope.guidance.guided import classifier_free
from orthoscope.process import VarianceExploding
from orthoscope.quantities import Estimate, pool
from orthoscope.sampling import IndependentNoise, geometric, sample, start, through
from orthoscope.sweeps.points import HERE, Points
from orthoscope.targets import Mixture
from orthoscope.targets.bundled import bundled_digits
from orthoscope.theory.gaussian import variance_neutral_start

FloatArray = NDArray[np.float64]
_FEWEST = 8  # samples of which moments can be taken
MEASURES = ("mean_shift", "total_variance", "variance_ratio", "participation_ratio", "class_share", "class_posterior")


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitsStudy:
    """Three digits under constant strengths and windows.

    Attributes:
        labels: Digits to generate.
        strengths: Constant strengths; 0 must be among them.
        search_early: Early strengths of the step windows searched.
        search_late: Late strengths of the step windows searched.
        search_switch: Switch times of the step windows searched.
        slopes: Slopes of the linear windows; their w0 is the variance-neutral one of the Gaussian theory.
        least_share: Share of samples that a window must keep in their class to be considered.
        samples: Trajectories per class and seed when judging.
        search_samples: The same when searching.
        repeats: Independent seeds when judging.
        steps: Steps of the sampler.
        t_max: Variance time at which runs start, from the exact noised class.
        seed: Root seed.
    """

    name: str = field(default="digits", init=False)
    labels: tuple[int, ...] = (3, 5, 8)
    strengths: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0)
    search_early: tuple[float, ...] = (1.0, 3.0, 6.0)
    search_late: tuple[float, ...] = (-1.0, -0.5)
    search_switch: tuple[float, ...] = (1.0, 2.0, 4.0, 6.0, 8.0)
    slopes: tuple[float, ...] = (0.03, 0.1, 0.3)
    least_share: float = 0.95
    samples: int = 150
    search_samples: int = 100
    repeats: int = 8
    steps: int = 30
    t_max: float = 200.0
    seed: int = 0

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Search windows on one seed, judge them on others."""
        constants = [f"constant:{w:g}" for w in self.strengths]
        windows = self._windows()
        search = product((*constants, *windows), (self.search_samples,), ("search",), (0,))
        found = points.each(self._measure, search, ahead=(len(constants) + 4) * self.repeats)
        chosen = self._choose(dict(zip((*constants, *windows), found, strict=True)), constants, windows)
        judge = product((*constants, *chosen), (self.samples,), ("judge",), range(self.repeats))
        rows = iter(points.each(self._measure, judge))
        judged = {spec: list(islice(rows, self.repeats)) for spec in (*constants, *chosen)}
        return self._label(constants, chosen, judged)

    def _windows(self) -> list[str]:
        inside = float(np.mean([class_law(label).variance for label in self.labels]))
        linear = [
            f"linear:w0={max(-1.0, float(variance_neutral_start(inside, 1.0, slope))):.3g},slope={slope:g}"
            for slope in self.slopes
        ]
        steps = [
            f"step:early={early:g},late={late:g},switch={switch:g}"
            for early in self.search_early
            for late in self.search_late
            for switch in self.search_switch
        ]
        return linear + steps

    def _choose(self, searched: Mapping[str, Any], constants: Sequence[str], windows: Sequence[str]) -> list[str]:
        """The best windows of each kind that keep the class and shift the mean no more than some constant strength."""
        gains: dict[str, tuple[bool, float]] = {}
        for spec in windows:
            share = min(m["class_share"].value for m in searched[spec].values())
            strongest = [max(searched[c][label]["mean_shift"].value for c in constants) for label in self.labels]
            compares = all(
                searched[spec][lb]["mean_shift"].value <= s for lb, s in zip(self.labels, strongest, strict=True)
            )
            gain = np.mean([self._gain(searched, constants, spec, label) for label in self.labels])
            gains[spec] = (compares and share >= self.least_share, float(gain))
        best = sorted(windows, key=lambda spec: gains[spec], reverse=True)
        steps = [spec for spec in best if spec.startswith("step")]
        return [*steps[:2], *(spec for spec in best if spec.startswith("linear"))][:4]

    def _gain(self, measured: Mapping[str, Any], constants: Sequence[str], spec: str, label: int) -> float:
        """Variance ratio of a window above that of the constant strength of equal mean shift."""
        line = sorted(
            (measured[c][label]["mean_shift"].value, measured[c][label]["variance_ratio"].value) for c in constants
        )
        shift, ratio = (np.array(column) for column in zip(*line, strict=True))
        at = measured[spec][label]
        return at["variance_ratio"].value - _line(at["mean_shift"].value, shift, ratio)

    def _measure(self, spec: str, samples: int, stage: str, repeat: int) -> dict[int, dict[str, Estimate]]:
        """What one schedule does to every class on one seed."""
        result = {}
        for label in self.labels:
            law = class_law(label)
            x = self.generate(label, spec, samples, (stage, repeat))
            posterior = digits().class_posterior(x, label).numpy()
            is_kept = posterior > 0.5
            if is_kept.sum() < _FEWEST:
                raise ConfigError(
                    f"{spec} keeps {is_kept.sum()} of {samples} samples in class {label}; search milder windows"
                )
            rows = x.numpy()[is_kept]
            total = metrics.total_variance(rows)
            result[label] = {
                "mean_shift": metrics.mean_shift(rows, law.mean),
                "total_variance": total,
                "variance_ratio": total.times(1 / law.total),
                "participation_ratio": metrics.participation_ratio(rows),
                "class_share": metrics.share_of(is_kept),
                "class_posterior": metrics.share_of(posterior),
            }
        return result

    def generate(self, label: int, spec: str, samples: int, stage: tuple[str, int]) -> torch.Tensor:
        """Samples of one class under a schedule; the noise is common to all schedules."""
        data, schedule = digits(), parse_schedule(spec)
        narrow, offset = data.absorbed()
        process = VarianceExploding(offset=offset)
        levels = through(geometric(process, self.t_max, self.steps), process, schedule.switches())
        streams = rng.row_streams(self.seed, *stage, label, rows=range(samples))
        x = start("exact", data.conditional(label), levels.levels[0], streams, prior_variance=1.0)
        noise = IndependentNoise(streams, (data.dim,), like=x)
        return sample(classifier_free(ExactDenoiser(narrow), schedule), x, levels, noise=noise, label=label).x

    def _label(self, constants: list[str], chosen: list[str], judged: Mapping[str, Any]) -> xr.Dataset:
        specs = [*constants, *chosen]
        dims = ["schedule", "label"]
        variables: dict[str, tuple[Sequence[str], Any]] = {}
        for name in MEASURES:
            pooled = [
                [pool([repeat[label][name] for repeat in judged[s]], parts=None) for label in self.labels]
                for s in specs
            ]
            variables |= estimates(name, dims, pooled)
        by_repeat = [{spec: judged[spec][repeat] for spec in specs} for repeat in range(self.repeats)]
        gains = {
            spec: [[self._gain(one, constants, spec, label) for label in self.labels] for one in by_repeat]
            for spec in chosen
        }
        variables |= estimates(
            "gain",
            ["window", "label"],
            [[metrics.mean_of(column) for column in zip(*gains[s], strict=True)] for s in chosen],
        )
        variables |= estimates("mean_gain", ["window"], [metrics.mean_of(np.mean(gains[s], axis=1)) for s in chosen])
        shown = [[self.generate(label, s, 8, ("show", 0)).numpy() for label in self.labels] for s in specs]
        data = bundled_digits()
        samples = np.asarray(shown, dtype=np.float64).reshape(len(specs), len(self.labels), 8, 8, 8)
        images = np.clip(samples * data.scale + data.center, 0.0, 16.0)
        variables["image"] = (["schedule", "label", "sample", "row", "column"], images)
        variables["true_total_variance"] = (["label"], [class_law(label).total for label in self.labels])
        return dataset(
            variables,
            coords={"schedule": specs, "window": chosen, "label": self.labels},
            spec=self,
            bandwidth=digits().std,
            least_share=self.least_share,
            repeats=self.repeats,
            constants=constants,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Law:
    """What a class should look like: its mean and its total and mean variance."""

    mean: FloatArray
    total: float
    variance: float


@cache
def digits() -> Mixture:
    """The images as a mixture."""
    return bundled_digits().standardized().mixture()


@cache
def class_law(label: int) -> Law:
    """Exact moments of one class."""
    data = digits()
    mean, covariance = data.conditional(label).moments()
    total = float(covariance.trace())
    return Law(mean=mean.numpy(), total=total, variance=total / data.dim)


def _line(at: float, x: FloatArray, y: FloatArray) -> float:
    """Linear interpolation that extends its last segments beyond the ends."""
    k = int(np.clip(np.searchsorted(x, at) - 1, 0, len(x) - 2))
    return float(y[k] + (y[k + 1] - y[k]) * (at - x[k]) / (x[k + 1] - x[k]))
