"""Images that exist already, from any tool: how diverse they are within groups, and how near to real ones.

Diversity is measured within groups (prompts, classes), as in an audit, and conditions with the same groups are compared
group by group. More variance is not more diversity: distances from real images stand beside it, where there are any.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orthoscope import metrics, rng
from orthoscope.audits.beside import drawn
from orthoscope.audits.contribute import FEWEST_PROMPTS, Matrix, Notes, projected
from orthoscope.audits.image_sets import FEWEST_REAL, ImageSets, Set, read_sets
from orthoscope.audits.measure import Found, columns, frechet_at_equal_numbers, in_measure, labelled
from orthoscope.checks import settle
from orthoscope.datasets import dataset
from orthoscope.errors import ConfigError, unknown
from orthoscope.metrics import ClassImages, Contributions, Distances
from orthoscope.metrics.contributions import Over
from orthoscope.metrics.fidelity import Reference
from orthoscope.quantities import Estimate
from orthoscope.serialize import dumps, to_dict
from orthoscope.sweeps.points import HERE, Points

FEATURES = ("pixel", "clip", "dinov2")
WITHIN = {"variance": 3, "pairwise_distance": 3, "participation_ratio": 4, "vendi": 3, "near_duplicates": 3}
_PIXELS_NEAR, _COSINE_NEAR = 0.02, 0.95  # near-duplicates: root mean square of gray levels, cosine of embeddings
_PAIRED = 2048  # images whose pairs are compared at a time
_RESAMPLES = 1000
_UNTOLD = 0.5  # relative error of an inverse, from which on it says nothing
_NAMED = 3  # groups of a note that are named
Parts = dict[str, Contributions]
# How a measure is read off what is averaged over groups.
_READ = {"participation_ratio": Contributions.inverse, "class_distance": Contributions.root}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStudy:
    """Diversity within every group of images, and, beside real images, how near they are to these.

    Attributes:
        folder: Folder of image files.
        reference: Folder of real ones; None without.
        group_by: `subfolder`, or a CSV file with columns file, group and perhaps condition; None for one group.
        features: What images are compared by: pixel, clip or dinov2.
        features_model: Path or hub id of the network behind clip or dinov2.
        baseline: The condition that others are compared with; None for the first by name.
        device: Where a network runs.
        seed: Root seed of the resampling, and of what is drawn of too many images.
    """

    name: str = field(default="images", init=False)
    folder: str
    reference: str | None = None
    group_by: str | None = None
    features: str = "pixel"
    features_model: str | None = None
    baseline: str | None = None
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be asked for.

        Raises:
            ConfigError: if a setting cannot be used.
        """
        settle(self)
        if self.features not in FEATURES:
            raise unknown("features", self.features, FEATURES, field="features")

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Read the images and measure them."""
        notes = Notes()
        sets = read_sets(self, points.progress, lambda text: notes.add(text, ""))
        return _Measuring(self, sets, notes).dataset()


@dataclass(frozen=True, slots=True, eq=False)
class _Measuring:
    """Measuring: what was asked, what was read, and what there is to remark."""

    study: ImageStudy
    sets: ImageSets
    notes: Notes

    def dataset(self) -> xr.Dataset:
        """Everything that was measured, labelled."""
        sets, classes = self.sets, None
        if sets.real is not None:
            short = drawn(projected(sets.real, self.study.seed), self.study.seed)
            classes = ClassImages(rows=short, labels=np.zeros(len(short), np.intp))
        parts = {one.condition: self._within(one) | self._distances(one, classes) for one in sets.sets}
        baseline = self._baseline(list(parts))
        means: list[Found] = [
            {name: self._read(name, part, self._told(one)) for name, part in parts[one.condition].items()}
            | ({} if classes is None else self._fidelity(one, classes.rows))
            for one in sets.sets
        ]
        changes = [self._changes(name, parts, baseline) for name in parts]
        groups = [self._by_group(parts[one.condition]) for one in sets.sets] if len(sets.groups) > 1 else []
        dims = ("condition", "group")
        variables = columns("", means, dims=dims) | columns("by_group_", _filled(groups), dims=dims)
        variables |= columns("change_", changes, dims=dims)
        variables |= {name: ((), values) for name, values in self._real(classes).items()}
        counts = [np.bincount(one.labels, minlength=len(sets.groups)) for one in sets.sets]
        found = dataset(
            variables | {"images": (dims, counts)},
            coords={"condition": list(parts), "group": list(sets.groups)},
            spec=self.study,
            distances_from="" if classes is None else "the reference",
            baseline=baseline,
        )
        found.attrs["numbers"] = dumps(self._numbers(found), indent=None)
        return _labelled(found if len(parts) > 1 else found.squeeze("condition", drop=True))

    def _baseline(self, conditions: Sequence[str]) -> str:
        if self.study.baseline is None:
            return conditions[0]
        if self.study.baseline not in conditions:
            raise unknown("condition", self.study.baseline, conditions, field="baseline")
        return self.study.baseline

    def _over(self, part: Contributions) -> Over:
        """What is a random draw: groups if there are ten or more, else the images of these groups."""
        return "prompts" if len(np.unique(part.groups)) >= FEWEST_PROMPTS else "images"

    def _measure(self, name: str, part: Contributions, told: str, over: Over | None = None) -> metrics.Measure | None:
        """A measure, or a change of one, with its interval."""
        stream, how = rng.stream(self.study.seed, "images", name), over or self._over(part)
        return self.notes.tried(name, told, lambda: part.measure(stream, over=how, resamples=_RESAMPLES))

    def _read(self, name: str, part: Contributions, told: str, over: Over | None = None) -> metrics.Measure | None:
        """A measure with its interval, from what is averaged over groups."""
        read = self.notes.tried(name, told, lambda: _as_read(name, part))
        found = None if read is None else self._measure(name, read, told, over)
        if name == "participation_ratio" and found is not None and found.stderr > _UNTOLD * found.value:
            self.notes.add("too few images to tell participation ratio, whose error is more than half of it", told)
            return None
        return found

    def _told(self, one: Set) -> str:
        """A condition in notes."""
        return one.condition if len(self.sets.sets) > 1 else ""

    def _within(self, one: Set) -> Parts:
        """What the images of a condition contribute to every measure within groups that are large enough for it."""
        found = {}
        sizes = np.bincount(one.labels, minlength=len(self.sets.groups))
        for name, least in WITHIN.items():
            few = [self.sets.groups[k] for k in np.flatnonzero((sizes > 0) & (sizes < least))]
            if few:
                named = ", ".join(few[:_NAMED]) + (f" and {len(few) - _NAMED} more" if len(few) > _NAMED else "")
                what = f"too few images for {name.replace('_', ' ')}, which needs {least} in a group"
                self.notes.add(what, f"{one.condition}/{named}" if len(self.sets.sets) > 1 else named)
            rows = sizes[one.labels] >= least
            if rows.any():
                call = partial(self._contributions, name, one.rows[rows], one.labels[rows])
                if (part := self.notes.tried(name, self._told(one), call)) is not None:
                    found[name] = part
        return found

    def _contributions(self, name: str, x: Matrix, labels: NDArray[np.intp]) -> Contributions:
        match name:
            case "variance":
                found = metrics.variance_within(x, labels)
                return replace(found, values=found.values / x.shape[1])
            case "participation_ratio":
                return metrics.concentration_within(x, labels)
        short = projected(x, self.study.seed)
        match name:
            case "pairwise_distance":
                return metrics.distance_within(short, labels)
            case "vendi" if self.study.features == "pixel":
                return metrics.vendi(short, labels, kernel="rbf", width=self.sets.width)
            case "vendi":
                return metrics.vendi(short, labels)
        if self.study.features == "pixel":
            return metrics.near_duplicates(short, labels, within=_PIXELS_NEAR * math.sqrt(x.shape[1]))
        unit = short / np.maximum(np.linalg.norm(short, axis=1), np.finfo(np.float32).tiny)[:, None]
        return metrics.near_duplicates(unit, labels, within=math.sqrt(2 - 2 * _COSINE_NEAR))

    def _distances(self, one: Set, classes: ClassImages | None) -> Parts:
        """How far the images of a condition are from the reference, taken as one class."""
        if classes is None:
            return {}
        x = projected(one.rows, self.study.seed)
        ours = np.zeros(len(x), np.intp)
        far = self.notes.tried(
            "distance from the reference", self._told(one), lambda: classes.distances(x, ours, groups=one.labels)
        )
        return {} if far is None else _named(far)

    def _fidelity(self, one: Set, real: NDArray[Any]) -> Found:
        """What compares the images of a condition, all together, with the reference."""
        seed, told, tried = self.study.seed, self._told(one), self.notes.tried
        x = projected(one.rows, seed)
        ratio = tried("variance_ratio", told, lambda: _variance_ratio(x, one.labels, real))
        found: Found = {"variance_ratio": None if ratio is None else self._measure("variance_ratio", ratio, told)}
        if len(x) < FEWEST_REAL:
            self.notes.add(f"too few images for measures of fidelity, which need {FEWEST_REAL}", told)
            return found
        balls = tried("precision and recall", told, lambda: metrics.manifolds(drawn(x, seed), Reference(rows=real)))
        for name, part in ({} if balls is None else balls._asdict()).items():
            found[name] = self._measure(name, part, told, "images")
        found["energy_distance"] = tried("energy_distance", told, lambda: in_measure(_energy(x, real, seed)))
        enough = 2 * x.shape[1]
        if (fewer := min(len(x), len(real))) < enough:
            self.notes.add(
                f"too few images for a Frechet distance: {fewer} of each for {x.shape[1]} features, {enough} are "
                "needed; the energy distance needs no more than there are",
                told,
            )
        else:
            call = partial(frechet_at_equal_numbers, x, real, seed=seed)
            found["frechet_distance"] = tried("frechet_distance", told, call)
        return found

    def _changes(self, condition: str, parts: Mapping[str, Parts], baseline: str) -> Found:
        """What changes from the baseline to a condition, group by group."""
        found: Found = {}
        ours, theirs = parts[condition], parts[baseline]
        for name in () if condition == baseline else ours.keys() & theirs.keys():
            pair = self.notes.tried(f"change of {name}", condition, partial(_paired, ours[name], theirs[name]))
            if pair is None:
                continue
            told = "variance_kept" if name == "variance" else name
            part = self.notes.tried(f"change of {name}", condition, partial(_change, name, *pair))
            if part is not None:
                single = len(part.values) == len(np.unique(part.groups))
                found[told] = self._measure(told, part, condition, "prompts" if single else None)
        return found

    def _by_group(self, parts: Parts) -> dict[str, list[metrics.Measure | None]]:
        """Every measure of every group by itself, whose images are the random draw."""
        found: dict[str, list[metrics.Measure | None]] = {}
        for name, part in parts.items():
            column: list[metrics.Measure | None] = [None] * len(self.sets.groups)
            for one in part.parts:
                column[int(one.groups[0])] = self._read(name, one, self.sets.groups[int(one.groups[0])], "images")
            found[name] = column
        return found

    def _real(self, classes: ClassImages | None) -> dict[str, float]:
        """The same of the reference itself, each image measured without itself."""
        if classes is None:
            return {}
        parts = self.notes.tried("distances", "the reference", lambda: _named(classes.real)) or {}
        fewest = min([len(one.rows) for one in self.sets.sets])
        sure = {"density": 1.0, "coverage": metrics.coverage_of_equals(fewest, len(classes.rows))}
        found = {f"real_{name}{end}": value for name, value in sure.items() for end in ("", "_low", "_high")}
        found |= {f"real_{name}_stderr": 0.0 for name in sure}
        for name, part in parts.items():
            if (measure := self._read(name, part, "the reference", "images")) is not None:
                found |= {f"real_{name}": measure.value, f"real_{name}_stderr": measure.stderr}
                found |= {f"real_{name}_low": measure.low, f"real_{name}_high": measure.high}
        return found

    def _numbers(self, found: xr.Dataset) -> dict[str, Any]:
        """The same in plain numbers."""
        about, sets = to_dict(self.study), self.sets
        asked = {name: about[name] for name in ("folder", "reference", "group_by", "features")}
        conditions = [str(name) for name in found["condition"].values]
        by = {name: found.sel(condition=name) for name in conditions}
        over = "groups" if len(sets.groups) >= FEWEST_PROMPTS else "images"
        return asked | {
            "images": int(found["images"].sum()),
            "reference_images": 0 if sets.real is None else len(sets.real),
            "side": sets.side,
            "dimension": sets.sets[0].rows.shape[1],
            "over": over,
            "baseline": found.attrs["baseline"] if len(conditions) > 1 else None,
            "conditions": {name: dict(_entries(one, "")) for name, one in by.items()},
            "changes": {name: made for name, one in by.items() if (made := dict(_entries(one, "change_")))},
            "real": dict(_entries(found, "real_")),
            "groups": {
                name: {str(group): dict(_entries(one.sel(group=group), "by_group_")) for group in one["group"].values}
                for name, one in by.items()
                if len(sets.groups) > 1
            },
            "notes": self.notes.texts,
        }


def _as_read(name: str, part: Contributions) -> Contributions:
    return _READ[name](part) if name in _READ else part


def _change(name: str, ours: Contributions, theirs: Contributions) -> Contributions:
    """The variance relative to the baseline's, or the difference of anything else."""
    first, second = _as_read(name, ours), _as_read(name, theirs)
    return first.per(second) if name == "variance" else first.minus(second)


def _filled(rows: list[dict[str, list[metrics.Measure | None]]]) -> list[dict[str, Any]]:
    """The same with every measure in every row."""
    names = dict.fromkeys(name for row in rows for name in row)
    size = max((len(column) for row in rows for column in row.values()), default=0)
    return [{name: row.get(name, [None] * size) for name in names} for row in rows]


def _named(far: Distances) -> Parts:
    return {"class_distance": far.squares, "novelty": far.novelty, "far_share": far.far_share}


def _paired(ours: Contributions, theirs: Contributions) -> tuple[Contributions, Contributions]:
    """Two conditions in the groups that both have: image by image at equal numbers, else group by group.

    Raises:
        ConfigError: if they have no group in common.
    """
    common = np.intersect1d(ours.groups, theirs.groups)
    if not len(common):
        raise ConfigError("no group of the baseline is in it")
    kept = [np.isin(part.groups, common) for part in (ours, theirs)]
    pair = [
        replace(part, values=part.values[rows], groups=part.groups[rows])
        for part, rows in zip((ours, theirs), kept, strict=True)
    ]
    if not np.array_equal(pair[0].groups, pair[1].groups):
        pair = [
            replace(part, values=np.array([one.mean() for one in part.strata]), groups=common, resolved=True)
            for part in pair
        ]
    return pair[0], pair[1]


def _variance_ratio(x: NDArray[Any], labels: NDArray[np.intp], real: NDArray[Any]) -> Contributions:
    """Variance of all images together over that of the reference, which was drawn by itself."""
    ours, theirs = (metrics.variance_within(rows, np.zeros(len(rows), np.intp)) for rows in (x, real))
    if len(groups := np.unique(labels)) >= FEWEST_PROMPTS:
        means = np.array([ours.values[labels == group].mean() for group in groups])
        ours = Contributions(values=means, groups=np.zeros(len(groups), np.intp))
    if not theirs.value > 0:
        raise ConfigError("the reference images do not vary")
    ratio = ours.value / theirs.value
    spread = replace(ours, values=ours.values / theirs.value).apart(
        replace(theirs, values=theirs.values * ratio / theirs.value)
    )
    return replace(spread, values=spread.values + ratio)


def _energy(x: NDArray[Any], real: NDArray[Any], seed: int) -> Estimate:
    """Energy distance between as many of either set."""
    fewer, stream = min(len(x), len(real), _PAIRED), rng.stream(seed, "images", "energy")
    return metrics.energy_distance(*(rows[stream.permutation(len(rows))[:fewer]] for rows in (x, real)))


def _entries(found: xr.Dataset, prefix: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Measures whose names begin like this, for JSON."""
    for name in map(str, found.data_vars):
        if f"{name}_stderr" in found and name.startswith(prefix) and (prefix or _is_plain(name)):
            one = {end: float(found[name + of]) for end, of in _ENDS.items()}
            if math.isfinite(one["value"]):
                yield name.removeprefix(prefix), one


_ENDS = {"value": "", "stderr": "_stderr", "low": "_low", "high": "_high"}


def _is_plain(name: str) -> bool:
    return not name.startswith(("by_group_", "change_", "real_"))


def _labelled(found: xr.Dataset) -> xr.Dataset:
    labelled(found)
    if "energy_distance" in found:
        found["energy_distance"].attrs["long_name"] = "energy distance from the reference"
    return found
