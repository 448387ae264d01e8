"""What is read of folders of images to be measured: features by condition and group, and those of real images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from orthoscope import metrics, rng
from orthoscope.audits.contribute import Matrix, projected
from orthoscope.errors import ConfigError
from orthoscope.integrations.features import Features, features_of
from orthoscope.integrations.hub import local
from orthoscope.integrations.image_files import common_side, image_files, squares
from orthoscope.integrations.image_groups import SUBFOLDER, Placed, placed
from orthoscope.integrations.images import image_size
from orthoscope.progress import Progress, Remark

if TYPE_CHECKING:
    from orthoscope.audits.images import ImageStudy

FEWEST_REAL = 8  # images that fidelity needs, on either side
_MOST = 2048  # images of a group, or of the reference
_NARROWEST = 0.02  # of a kernel, per pixel: what counts as near


class Set(NamedTuple):
    """The images of one condition.

    Attributes:
        condition: Its name.
        rows: Features, one image per row, group after group.
        labels: Number of the group of each.
    """

    condition: str
    rows: Matrix
    labels: NDArray[np.intp]


class ImageSets(NamedTuple):
    """All images that are measured.

    Attributes:
        sets: By condition.
        groups: Names of the groups of all.
        real: Features of real images; None without.
        side: Side of the squares in pixels.
        width: Of the kernel of a Vendi score, in feature units.
    """

    sets: tuple[Set, ...]
    groups: tuple[str, ...]
    real: Matrix | None
    side: int
    width: float


def read_sets(study: ImageStudy, progress: Progress | None, remark: Remark) -> ImageSets:
    """Features of the images of a study.

    Args:
        study: What is asked for.
        progress: Told of images read, and of all.
        remark: Told what is left out, and what is done to images of several sizes.

    Raises:
        ConfigError: if there are no images, or too few, or one cannot be read.
    """
    folder, reference = local(study.folder), None if study.reference is None else local(study.reference)
    listed = image_files(folder, remark, once=False)
    table = study.group_by if study.group_by in (None, SUBFOLDER) else str(local(study.group_by or ""))
    here = placed(folder, listed, table)
    if len(here) < len(listed):
        remark(f"{len(listed) - len(here)} images that {study.group_by} does not name are left out")
    here = _some(here, study.seed, remark)
    if len(here) < 2:
        raise ConfigError(f"{folder} holds one image, which cannot differ from others; give more")
    there = [] if reference is None else _real(reference, folder, study.seed, remark)
    files = [*(one.file for one in here), *there]
    side = common_side(files)
    _tell_sizes(files, side, remark)
    rows = _features(
        files, side, features_of(study.features, model=study.features_model, device=study.device), progress
    )
    rows, real = rows[: len(here)], rows[len(here) :] if there else None
    groups = tuple(sorted({one.group for one in here}))
    number = {group: k for k, group in enumerate(groups)}
    labels = np.array([number[one.group] for one in here], np.intp)
    of = np.array([one.condition for one in here], dtype=object)
    sets = tuple(Set(name, rows[of == name], labels[of == name]) for name in dict.fromkeys(of))
    return ImageSets(sets, groups, real, side, _width(sets, real, study.seed))


def _real(reference: Path, folder: Path, seed: int, remark: Remark) -> list[Path]:
    """The real images, at most 2048 of them."""
    here, there = os.path.realpath(folder), os.path.realpath(reference)
    if os.path.commonpath([here, there]) in (here, there):
        raise ConfigError(f"`reference` {reference} and {folder} hold the same images; name separate folders")
    files = image_files(reference, remark)
    if len(files) < FEWEST_REAL:
        raise ConfigError(
            f"`reference` needs at least {FEWEST_REAL} images, got {len(files)} in {reference}; give more",
            field="reference",
        )
    return [one.file for one in _some([Placed(file) for file in files], seed, remark)]


def _some(images: Sequence[Placed], seed: int, remark: Remark) -> list[Placed]:
    """At most 2048 images of every group, in their order."""
    by: dict[tuple[str, str], list[Placed]] = {}
    for one in images:
        by.setdefault((one.condition, one.group), []).append(one)
    kept = []
    for members in by.values():
        if len(members) > _MOST:
            remark(f"{_MOST} of {len(members)} images of a group are measured, drawn at random")
            order = np.sort(rng.stream(seed, "images", "some").permutation(len(members))[:_MOST])
            kept += [members[k] for k in order]
        else:
            kept += members
    return kept


def _tell_sizes(files: Sequence[Path], side: int, remark: Remark) -> None:
    sizes = {image_size(file) for file in files}
    if len(sizes) > 1 or any(width != height for width, height in sizes):
        smallest, largest = (" x ".join(map(str, size)) for size in (min(sizes), max(sizes)))
        found = f"of {len(sizes)} sizes, {smallest} to {largest}" if len(sizes) > 1 else f"of {smallest} pixels"
        remark(f"images {found}: each is cut to its middle square and averaged to {side} x {side}")


def _features(files: Sequence[Path], side: int, features: Features, progress: Progress | None) -> Matrix:
    """One row per image; where all images are gray, one of three equal channels."""
    parts: list[Matrix] = []
    for images in squares(files, side):
        parts.append(features.of_images(images))
        if progress is not None:
            progress(sum(map(len, parts)), len(files))
    rows = np.concatenate(parts)
    if features.name != "pixel":
        return rows
    channels = rows.reshape(len(rows), -1, 3)
    return channels[..., 0] if (channels == channels[..., :1]).all() else rows


def _width(sets: Sequence[Set], real: Matrix | None, seed: int) -> float:
    """Median distance of two real images, or else of two images of a group; no less than what counts as near."""
    least = float(_NARROWEST * sets[0].rows.shape[1] ** 0.5)
    if real is not None:
        return max(least, metrics.median_distance(projected(real, seed), np.zeros(len(real), np.intp)))
    found = []
    for one in sets:
        rows = np.bincount(one.labels)[one.labels] > 1
        if rows.any():
            found.append(metrics.median_distance(projected(one.rows[rows], seed), one.labels[rows]))
    return max(least, float(np.median(found))) if found else least
