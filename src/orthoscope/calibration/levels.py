"""Per noise level: how far the two predictions differ, and what the noisy images have told about their class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orthoscope import rng
from orthoscope.calibration.knowledge import Knowledge
from orthoscope.calibration.path import Paths
from orthoscope.calibration.record import Record
from orthoscope.datasets import estimates
from orthoscope.errors import ConfigError
from orthoscope.metrics import Contributions, Measure
from orthoscope.metrics.contributions import Over
from orthoscope.numerics import Array
from orthoscope.theory.information import class_information, quadrature_error, time_to_come

_RESAMPLES = 1000
_PER_CLASS = 2  # paths that every class must have to be a group
Variables = dict[str, tuple[Sequence[str], Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sampling:
    """What is a random draw, and from which streams intervals are resampled.

    Attributes:
        over: Prompts, or only the images of these prompts.
        seed: Root seed.
    """

    over: Over
    seed: int

    def measured(self, contributions: Contributions, *name: str | int) -> Measure:
        """A measure with its interval."""
        stream = rng.stream(self.seed, "calibrate", *name)
        return contributions.measure(stream, over=self.over, resamples=_RESAMPLES)

    def along(self, values: Array, groups: Any, *name: str) -> list[Measure]:
        """The measure of every column of values, one image per row."""
        columns = (Contributions(values=column, groups=groups) for column in values.T)
        return [self.measured(column, *name, k) for k, column in enumerate(columns)]


def columns(name: str, dims: Sequence[str], measures: Any, scale: Any = 1.0) -> Variables:
    """A variable with its error and the ends of its interval, from an array (nested lists) of measures."""
    array = np.asarray(measures, dtype=object)
    fields = {"": "value", "_stderr": "stderr", "_low": "low", "_high": "high"}
    pick = np.vectorize(lambda measure, field: getattr(measure, field), otypes=[float])
    return {f"{name}{end}": (dims, pick(array, field) * scale) for end, field in fields.items()}


def pair_profile(record: Record, sampling: Sampling) -> Variables:
    """What the pair of predictions shows at every level of runs at strength 0."""
    dims = ["level"]
    told = class_information(record.time, record.squares)
    squares = sampling.along(record.squares, record.groups, "squares")
    return (
        columns("pair_square", dims, squares)
        | columns("score_difference", dims, squares, record.time**-2)
        | columns("class_information", dims, sampling.along(told, record.groups, "told"))
        | {"class_information_quadrature": (dims, quadrature_error(record.time, record.squares.mean(0)))}
    )


def commitment(record: Record, sampling: Sampling) -> Variables:
    """Share of what the pair tells along these runs that is still to come at every level.

    Raises:
        ConfigError: if the two predictions never differ.
    """
    told = class_information(record.time, record.squares)
    whole = Contributions(values=told[:, -1], groups=record.groups)
    if not whole.value > 0:
        raise ConfigError("the two predictions never differ, so nothing is ever told about the prompt")
    left = [
        sampling.measured(whole.minus(Contributions(values=column, groups=record.groups)).per(whole), "left", k)
        for k, column in enumerate(told.T)
    ]
    return columns("commitment_left", ["level"], left)


def prompt_profile(record: Record) -> Array:
    """Information at every level about each prompt: the divergence of its law from that of all, nats."""
    told = class_information(record.time, record.squares)
    return np.array([told[record.groups == number].mean(0) for number in range(record.prompts)])


def path_profile(paths: Sequence[Paths], sampling: Sampling) -> Variables:
    """What the posterior of the classes shows along reverse paths, at strength 0 and, if followed, at the user's."""
    plain, *guided = paths
    dims, groups = ["path_level"], plain.labels
    if np.unique(groups, return_counts=True)[1].min() < _PER_CLASS:  # classes are drawn: they are no groups
        groups = np.zeros_like(groups)
    told = np.log(plain.log_posterior.shape[-1]) - plain.entropy
    found: Variables = (
        {"path_time": (dims, plain.time)}
        | columns("posterior_information", dims, sampling.along(told, groups, "posterior"))
        | columns("path_information", dims, sampling.along(plain.log_ratio, groups, "path"))
        | columns("excess_information", dims, sampling.along(plain.log_excess, groups, "excess"))
    )
    for one in guided:
        found |= columns("asked_information", dims, sampling.along(one.asked, groups, "asked"))
    return found


def knowledge_profile(known: Knowledge) -> Variables:
    """What the unconditional branch knows at every level of the paths but the last."""
    dims = ["answer_level"]
    found: Variables = {
        "answer_time": (dims, known.time),
        "own_posterior": (dims, known.posterior),
        "competing": (dims, known.competing),
    }
    names = {"branch_excess": "excess", "ignorance": "ignorance", "doubt": "doubt", "disagreement": "pair"}
    for name, field in (names | {"learned_level": "fraction"}).items():
        found |= estimates(name, dims, getattr(known, field))
    return found


def levels_to_come(time: Array, told: Array, shares: Mapping[str, float]) -> dict[str, float]:
    """Variance times at which shares of what is told in the end are still to come."""
    rising = np.maximum.accumulate(np.maximum(told, 0.0))  # measured, so not exactly monotone
    positive = time > 0
    return {name: float(time_to_come(time[positive], rising[positive], share)) for name, share in shares.items()}
