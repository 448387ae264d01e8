"""A calibration: the pipeline beside its exact twin where there are data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orthoscope.calibration.bound import Bound, folds_of
from orthoscope.calibration.examine import Examined, Known, examine, parts_of
from orthoscope.calibration.levels import columns
from orthoscope.calibration.plan import Calibration
from orthoscope.calibration.proposals import proposals
from orthoscope.calibration.threshold import MEASURED, PREDICTED, side
from orthoscope.datasets import dataset, estimates
from orthoscope.errors import ConfigError
from orthoscope.integrations.source import Source
from orthoscope.numerics import Array
from orthoscope.progress import LOG, Progress, Remark
from orthoscope.quantities import Estimate
from orthoscope.targets.datafiles import read_labelled
from orthoscope.threads import one_thread

if TYPE_CHECKING:
    from orthoscope.integrations.host import Host

_FEWEST_ROWS = 8  # images that a covariance needs
NEVER = Estimate(value=math.nan, stderr=math.nan, n=0)  # nats after a decision that never comes


def _numbered(path: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The points of a file, in the scheduler's units, and their classes from 0."""
    found = read_labelled(path)
    found.check_numbered()
    return found.x.astype(np.float32), found.labels


def calibrate(
    calibration: Calibration,
    source: Source,
    *,
    progress: Progress | None = None,
    remark: Remark | None = None,
) -> xr.Dataset:
    """Run it, and label the results.

    Args:
        calibration: What to do.
        source: Where the pipeline comes from.
        progress: Called with parts done and parts in all.
        remark: Called with lines for people.

    Raises:
        ConfigError: if something cannot be used.
        StoppedError: if the pipeline makes numbers that are not finite.
    """
    from orthoscope.integrations.common_state import check_movable
    from orthoscope.integrations.twin import twin_of

    data = None if calibration.data is None else _numbered(calibration.data)
    host = source.host()
    prompts = calibration.prompts or host.default_prompts
    if not prompts:
        raise ConfigError("this model needs prompts; give `prompts` FILE with one in every line")
    host.check_prompts(prompts)
    if len(prompts) < 2 or len(prompts) * calibration.images_per_prompt < _FEWEST_ROWS:
        raise ConfigError(f"expected at least 2 prompts and {_FEWEST_ROWS} images in all; give more")
    if data is not None and host.classes is not None and len(np.unique(data[1])) < host.classes:
        raise ConfigError(f"{calibration.data} must hold every class of {host.name}, 0 to {host.classes - 1}")
    if calibration.exhaustive:
        if host.classes is not None:
            raise ConfigError("`exhaustive` is for texts: classes are counted anyway; leave it out")
        check_movable(host)
    ordered = tuple(sorted(prompts))  # errors follow the names of prompts, not the order in which they were given
    examined = {"pipeline": (host, ordered)}
    if data is not None or host.shipped:
        twin = twin_of(host, data)
        examined["twin"] = (twin, tuple(str(label) for label in np.unique(data[1])) if data else ordered)
    own = _own(calibration, host, prompts, data, remark or LOG.warning)
    parts = sum(parts_of(one, len(asked), calibration) for one, asked in examined.values())
    count = _Count(progress, parts + (0 if own is None else len(own.images)))
    # The small model gains nothing from more threads, and equal thread counts give equal bits.
    with one_thread() if host.is_small else nullcontext():
        found = {
            name: examine(one, asked, calibration, count, remark or LOG.warning)
            for name, (one, asked) in examined.items()
        }
    result = _labelled(calibration, host, ordered, found).sel(prompt=list(prompts))
    return result if own is None else _bounded(result, own.bound(host, calibration, found["pipeline"].levels, count))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Own:
    """Images of one's own.

    Attributes:
        images: One per row, flattened.
        labels: Number of the prompt of each.
        prompts: All prompts.
    """

    images: Array
    labels: NDArray[np.int64]
    prompts: Sequence[str]

    def bound(self, host: Host, calibration: Calibration, time: Array, advance: Callable[[], None]) -> Bound:
        """How much the unconditional branch errs on them at least."""
        from orthoscope.calibration.own_images import bound_on

        return bound_on(
            host, self.prompts, self.images, self.labels, time=time, steps=calibration.steps,
            seed=calibration.seed, advance=advance,
        )  # fmt: skip


def _own(calibration: Calibration, host: Host, prompts: Sequence[str], data: Any, remark: Remark) -> _Own | None:
    """Some of the data, where what the unconditional branch knows cannot be measured otherwise; else None."""
    from orthoscope.calibration.host_paths import PATHED, has_paths
    from orthoscope.calibration.own_images import chosen
    from orthoscope.integrations.common_state import check_movable

    if data is None or has_paths(host):
        return None
    points, labels = data
    count = int(labels.max()) + 1
    try:
        if count > PATHED or (host.kind == "text" and count != len(prompts)):
            raise ConfigError(f"`data` has images of {count} prompts, not of the {len(prompts)} given, or of too many")
        check_movable(host)
        rows = chosen(labels, calibration.paths, calibration.seed)
        folds_of(labels[rows])
    except ConfigError as error:  # the rest is measured all the same
        remark(f"the error of the unconditional branch on `data` is not bounded: {error}")
        return None
    images = points[rows].reshape(len(rows), -1).astype(np.float64)
    named = prompts if host.kind == "text" else [str(k) for k in range(count)]
    return _Own(images=images, labels=labels[rows], prompts=named)


def _bounded(result: xr.Dataset, found: Bound) -> xr.Dataset:
    """The result with how much the unconditional branch errs at least."""
    variables = estimates("excess_bound", ["own_level"], list(found.excess)) | estimates("nats_bound", [], found.nats)
    extra = {name: (tuple(dims), values) for name, (dims, values) in variables.items()}
    return result.assign({"own_time": (("own_level",), found.time), **extra})


@dataclass(slots=True)
class _Count:
    """Parts done of all."""

    progress: Progress | None
    total: int
    done: int = 0

    def __call__(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)


def _labelled(
    calibration: Calibration, host: Host, prompts: Sequence[str], found: Mapping[str, Examined]
) -> xr.Dataset:
    """Everything side by side, the pipeline first."""
    sources = list(found)
    variables: dict[str, tuple[Sequence[str], Any]] = {}
    for name, (dims, _) in found["pipeline"].variables.items():
        rows = [one.variables[name][1] for one in found.values()]
        variables[name] = (["source", *dims], rows)
    for name in (*MEASURED, *PREDICTED):
        variables |= estimates(name, ["source"], [one.scalars[name] for one in found.values()])
    for name in found["pipeline"].times:
        given = {"high": "range_high", "low": "range_low", "half_told": name}
        column = given.get(name, f"time_{name.rstrip('%')}_to_come")
        variables[column] = (["source"], [one.times[name] for one in found.values()])
    variables |= columns("variance_ratio", ["source", "strength"], [one.ratios for one in found.values()])
    first = found["pipeline"]
    variables["prompt_information"] = (["prompt", "level"], first.prompt_information)
    proposed = proposals(first.times, calibration.strengths[-1], first.levels)
    variables["side"] = (["source"], [side(one.scalars["capacity_share"]) for one in found.values()])
    known = {name: one.known for name, one in found.items() if one.known}
    if len(known) == len(found):
        variables |= _known(list(known.values()))
    foretold = [one.foretold for one in found.values() if one.foretold]
    if len(foretold) == len(found):
        variables["affine_share"] = (["source"], [one.affine_share for one in foretold])
        variables["variance_ratio_foretold"] = (["source", "strength"], [list(one.ratios) for one in foretold])
    return dataset(
        variables,
        coords={"source": sources, "strength": list(calibration.strengths), "prompt": list(prompts)},
        spec=calibration,
        model=host.name,
        scheduler=type(host.pipe.scheduler).__name__,
        steps=calibration.steps,
        classes=_classes(host, prompts, calibration) if "path_time" in first.variables else -1,
        profile="posterior" if "asked_information" in first.variables else "pair",
        over=first.over,
        passes=sum(one.passes for one in found.values()),
        proposals=[one.spec for one in proposed],
        proposal_words=[one.words for one in proposed],
        advice=list(first.known.advice) if first.known else [],
        asked=sum(one.asked for one in known.values()),
    )


def _known(found: Sequence[Known]) -> dict[str, tuple[Sequence[str], Any]]:
    """What the unconditional branches know, the pipeline's first."""
    variables: dict[str, tuple[Sequence[str], Any]] = estimates(
        "learned_fraction", ["source"], [one.found.learned for one in found]
    )
    for name, field in {"decided_nats": "disagreement", "decided_nats_exact": "left"}.items():
        variables |= estimates(name, ["source"], [getattr(one.found, field) or NEVER for one in found])
    variables["ignorance_steps"] = (["source"], [one.steps for one in found])
    return variables


def _classes(host: Host, prompts: Sequence[str], calibration: Calibration) -> int:
    return len(prompts) if calibration.exhaustive or host.classes is None else host.classes
