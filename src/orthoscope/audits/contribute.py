"""What the images of a schedule contribute to each measure, read from the cells of an audit one prompt at a time.

Measures within prompts see features as they are. Those that compare prompts need the features of all images at once;
where these are long, one fixed random projection shortens them, the same for every schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from orthoscope import metrics, rng
from orthoscope.audits.plan import REFERENCE
from orthoscope.errors import ConfigError
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.metrics import ClassImages, Contributions
from orthoscope.metrics.contributions import Over
from orthoscope.metrics.diversity import Kernel

PROJECTED = 1024  # longer features are projected to so many, where prompts are compared
FEWEST_PROMPTS = 10  # from so many on, prompts of text are a draw of prompts
_FOLDS = 5
Matrix = NDArray[np.float32]
Calls = Mapping[str, Callable[[], Contributions]]
T = TypeVar("T")


@runtime_checkable
class AuditCells(Protocol):
    """What an audit keeps of every schedule and prompt: one cell each."""

    def features(self, schedule: GuidanceSchedule, prompt: str) -> Matrix:
        """Features of the cell's images, one image per row."""
        ...

    def probabilities(self, schedule: GuidanceSchedule, prompt: str) -> NDArray[Any] | None:
        """Probabilities of classes, one image per row; None without a classifier."""
        ...

    def thumbnails(self, schedule: GuidanceSchedule, prompt: str) -> NDArray[np.uint8]:
        """Small images, (image, row, column, channel)."""
        ...

    def log(self, schedule: GuidanceSchedule, prompt: str) -> Mapping[str, NDArray[Any]]:
        """What the guidance log says of every evaluation, mean over images."""
        ...

    def cost(self, schedule: GuidanceSchedule, prompt: str) -> Mapping[str, float]:
        """Network calls, seconds and bytes of memory."""
        ...


@dataclass(frozen=True, slots=True)
class Notes:
    """Why something could not be measured: each reason once, with the schedules it concerns."""

    reasons: dict[str, list[str]] = field(default_factory=dict)

    def tried(self, name: str, schedule: GuidanceSchedule | str, call: Callable[[], T]) -> T | None:
        """What a call returns, or None and a note where the images do not allow it."""
        try:
            return call()
        except ConfigError as error:
            self.add(f"{name}: {error}", schedule)
            return None

    def add(self, reason: str, schedule: GuidanceSchedule | str) -> None:
        """Note a reason for a schedule, or for what else has a name."""
        concerned = self.reasons.setdefault(reason, [])
        spec = schedule if isinstance(schedule, str) else format_schedule(schedule)
        if spec not in concerned:
            concerned.append(spec)

    @property
    def texts(self) -> list[str]:
        """One line per reason."""
        told = ((reason, ", ".join(filter(None, concerned))) for reason, concerned in self.reasons.items())
        return [f"{reason} ({names})" if names else reason for reason, names in told]


class Run(NamedTuple):
    """The images of one schedule.

    Attributes:
        within: Contributions to each measure within prompts, by prompt; None where it could not be measured.
        rows: Features of all images, perhaps projected, prompt after prompt.
        groups: Number of the prompt of every row.
    """

    within: dict[str, list[Contributions | None]]
    rows: Matrix
    groups: NDArray[np.intp]

    def joined(self, name: str) -> Contributions | None:
        """Contributions of all prompts to a measure within them; None if a prompt lacks it."""
        parts = [part for part in self.within.get(name, [None]) if part is not None]
        return metrics.joined(parts) if len(parts) == len(self.within.get(name, [None])) else None


class Traits(NamedTuple):
    """What is compared of one schedule, as contributions of the same images; None where it cannot be measured."""

    variance_ratio: Contributions | None
    mean_shift: Contributions | None
    adherence: Contributions | None
    class_distance: Contributions | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """Everything that measuring reads.

    Attributes:
        cells: The cells of all schedules and prompts.
        prompts: The prompts, whose order says nothing: rows, sums, blocks and resamples follow their names.
        labels: Class of each prompt as a column of probabilities; None for prompts of text.
        text_features: Features of each prompt's text; None without.
        real: Real images by class, from which distances are measured; None for the images at strength 0.
        kernel: Kernel of the Vendi score: `cosine` for embeddings, `rbf` for pixels and latents.
        seed: Root seed of projection and resampling.
    """

    cells: AuditCells
    prompts: tuple[str, ...]
    labels: Mapping[str, int] | None = None
    text_features: Mapping[str, NDArray[Any]] | None = None
    real: ClassImages | None = None
    kernel: Kernel = "rbf"
    seed: int = 0

    def __post_init__(self) -> None:
        """Put the prompts in the order of their names."""
        object.__setattr__(self, "prompts", tuple(sorted(self.prompts)))

    @property
    def over(self) -> Over:
        """What is a random draw: prompts of text if there are ten or more, else the images of these prompts."""
        return "prompts" if self.labels is None and len(self.prompts) >= FEWEST_PROMPTS else "images"

    @property
    def primary(self) -> str:
        """The measure of adherence that decides: the most direct one at hand."""
        if self.labels is not None and self.cells.probabilities(REFERENCE, self.prompts[0]) is not None:
            return "class_posterior"
        return "text_similarity" if self.text_features is not None else "lda_accuracy"

    @cached_property
    def width(self) -> float | None:
        """Width of the kernel, in feature units: the median over prompts of the reference's median distance."""
        if self.kernel == "cosine":
            return None
        cells = (self.cells.features(REFERENCE, prompt) for prompt in self.prompts)
        return float(np.median([metrics.median_distance(x, np.zeros(len(x))) for x in cells]))

    @cached_property
    def traits(self) -> dict[GuidanceSchedule, Traits]:
        """What is compared, of the schedules that were measured already."""
        return {}

    def projected(self, features: NDArray[Any]) -> NDArray[Any]:
        """Features as they are, or at most 1024 random projections of them; by the seed, the same for all schedules."""
        return projected(features, self.seed)

    def read(self, schedule: GuidanceSchedule, notes: Notes, *, names: tuple[str, ...] | None = None) -> Run:
        """The images of a schedule, one prompt at a time; only some measures within prompts if names are given."""
        within: dict[str, list[Contributions | None]] = {}
        rows, groups = [], []
        for number, prompt in enumerate(self.prompts):
            features = self.cells.features(schedule, prompt)
            group = np.full(len(features), number, dtype=np.intp)
            for name, call in self._within(schedule, number, features, group).items():
                if names is None or name in names:
                    within.setdefault(name, []).append(notes.tried(name, schedule, call))
            rows.append(self.projected(features))
            groups.append(group)
        return Run(within, np.concatenate(rows), np.concatenate(groups))

    def _within(self, schedule: GuidanceSchedule, number: int, x: Matrix, group: NDArray[np.intp]) -> Calls:
        prompt = self.prompts[number]
        calls: dict[str, Callable[[], Contributions]] = {
            "total_variance": lambda: metrics.variance_within(x, group),
            "participation_ratio": lambda: metrics.concentration_within(x, group),  # inverted once joined
            "vendi": lambda: metrics.vendi(x, group, kernel=self.kernel, width=self.width),
            "pairwise_distance": lambda: metrics.distance_within(x, group),
        }
        if self.labels is not None and (p := self.cells.probabilities(schedule, prompt)) is not None:
            own = np.full(len(p), self.labels[prompt])
            calls["class_posterior"] = lambda: replace(metrics.class_posterior(p, own), groups=group)
        if self.text_features is not None:
            text = np.broadcast_to(self.text_features[prompt], x.shape)
            calls["text_similarity"] = lambda: metrics.text_similarity(x, text, group)
        return calls


def projected(features: NDArray[Any], seed: int) -> NDArray[Any]:
    """Features as they are, or at most 1024 random projections of them.

    Accuracy:
        Squared distances are kept on average, each with a relative error of sqrt(2/1024), common to all of one seed.
    """
    dim = features.shape[1]
    return features if dim <= PROJECTED else features @ _projection(dim, seed)


@lru_cache(maxsize=1)
def _projection(dim: int, seed: int) -> Matrix:
    draw = rng.stream(seed, "audit", "projection").standard_normal((dim, PROJECTED), dtype=np.float32)
    return np.asarray(draw / np.float32(PROJECTED**0.5))


def between(run: Run, reference: Run) -> Calls:
    """How to measure what compares prompts, or a run with the reference."""
    x, y, groups = run.rows, reference.rows, run.groups
    folds = max(2, min(_FOLDS, np.bincount(groups).min()))
    return {
        "log_volume_ratio": lambda: metrics.log_volume_ratio(x, y, groups),
        "mean_shift": lambda: metrics.mean_shift_from(x, y, groups),
        "displacement": lambda: metrics.displacement_from(x, y, groups),
        "fisher_ratio": lambda: metrics.fisher_ratio(x, groups),
        "lda_accuracy": lambda: metrics.lda_accuracy(x, groups, folds=int(folds)),
    }


def given(part: Contributions) -> Callable[[], Contributions]:
    """What is known already, to be measured like the rest."""
    return lambda: part


def ratio(part: Contributions | None, reference: Contributions | None) -> Callable[[], Contributions]:
    """How to form the ratio to the reference's measure.

    Raises:
        ConfigError: when called, if either could not be measured.
    """

    def call() -> Contributions:
        if part is None or reference is None:
            raise ConfigError("this run or the one without guidance could not be measured")
        return part.per(reference)

    return call
