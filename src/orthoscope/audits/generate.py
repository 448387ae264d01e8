"""Making a cell: the same seeds under every schedule, in batches that fit, measured as they come."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from orthoscope import rng
from orthoscope.audits import memory
from orthoscope.audits.account import LOGGED
from orthoscope.audits.cells import LOG
from orthoscope.audits.pictures import gray_levels, thumbnails
from orthoscope.audits.studio import Elsewhere, Studio
from orthoscope.errors import StoppedError
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.rules import Rule, format_rule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.sweeps.cells import Finished

if TYPE_CHECKING:
    from orthoscope.integrations.host import Generated

_Batch: TypeAlias = "tuple[Generated, NDArray[np.float32], NDArray[np.float64] | None]"
_LOGGED = (*LOGGED, "cond_norm", "uncond_norm")
_SEEDS = 2**32  # of a seed, torch's generator reads the low 32 bits
_STRIDE = 0x9E3779B1  # odd, so that the seeds of a prompt are distinct


class NotFiniteError(Exception):
    """A schedule that left the finite numbers."""


class Task(NamedTuple):
    """One cell to be made."""

    schedule: GuidanceSchedule
    prompt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is made of every task.

    Attributes:
        rule: How predictions are combined.
        steps: Steps of the scheduler.
        size: Height and width of the images in pixels.
        seed: Root seed.
        images: Images per prompt.
        stage: Name of the random streams, so that images for choosing and for judging are not the same.
    """

    rule: Rule
    steps: int
    size: int | None
    seed: int
    images: int
    stage: str = "audit"

    @property
    def setting(self) -> dict[str, Any]:
        """All of it, as it goes into the names of cells."""
        code = self.rule.identity()
        return asdict(self) | {"rule": format_rule(self.rule)} | ({"rule_code": code} if code else {})

    def seeds(self, prompt: str) -> list[int]:
        """One seed per image of a prompt, whatever the schedule and the other prompts; no two are the same."""
        # That two of 1,000 prompts have a seed in common happens in one audit of 200, and then does no harm.
        first = rng.key(self.seed, self.stage, prompt)
        return [(first + image * _STRIDE) % _SEEDS for image in range(self.images)]


class Beside(NamedTuple):
    """What comes with a cell.

    Attributes:
        pictures: The images as gray levels 0 to 255, if they are wanted.
        blanked: Number of images that the pipeline's safety checker replaced by black.
        remarks: What a user should know.
    """

    pictures: NDArray[np.uint8] | None
    blanked: int
    remarks: list[str]


def make(place: Studio | Elsewhere, order: Order, with_pictures: bool, task: Task) -> Finished:
    """One cell, made batch by batch in a studio: the one given, or that of the worker.

    Raises:
        ConfigError: if the worker cannot open the pipeline, or it cannot be asked for this.
        NotFiniteError: if the images are no numbers.
        StoppedError: if not even one image fits into memory.
    """
    studio = place if isinstance(place, Studio) else place.studio()
    with studio.lock:
        return _made(studio, order, with_pictures, task)


def _made(studio: Studio, order: Order, with_pictures: bool, task: Task) -> Finished:
    started, done, calls, blanked = time.perf_counter(), 0, 0, 0
    features, probabilities, logs, shown, pictures = [], [], [], [], []
    memory.forget(studio.host)
    for made, rows, judged in _batches(studio, order, task):
        features.append(rows)
        probabilities += [] if judged is None else [judged]
        logs.append((len(rows), _means(made)))
        shown.append(thumbnails(made.images, already=done))
        pictures += [gray_levels(made.images)] if with_pictures else []
        calls, blanked, done = calls + made.passes, blanked + made.blanked, done + len(rows)
    share = np.array([n for n, _ in logs]) / done
    arrays: dict[str, NDArray[Any]] = {"features": np.concatenate(features), "thumbnails": np.concatenate(shown)}
    arrays |= {LOG + name: np.tensordot(share, [log[name] for _, log in logs], 1) for name in logs[0][1]}
    if probabilities:
        arrays["probabilities"] = np.concatenate(probabilities)
    seconds = time.perf_counter() - started
    cost = {"network_calls": calls, "seconds": seconds, "memory": memory.most(studio.host)}
    remarks, studio.remarks = studio.remarks, []
    return Finished(
        arrays=arrays,
        about={"schedule": format_schedule(task.schedule), "prompt": task.prompt, "cost": cost},
        beside=Beside(np.concatenate(pictures) if pictures else None, blanked, remarks),
    )


def _batches(studio: Studio, order: Order, task: Task) -> Iterator[_Batch]:
    """Generated images with their features and what the judge says; smaller batches once memory has run out."""
    from orthoscope.integrations.host import is_out_of_memory

    seeds, done = order.seeds(task.prompt), 0
    while done < len(seeds):
        try:
            found = _batch(studio, order, task, seeds[done : done + studio.batch])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            found = None
        if found is None:  # here, where the error no longer keeps what it failed with in memory
            _halve(studio, min(studio.batch, len(seeds) - done))
            continue
        done += len(found[1])
        yield found


def _batch(studio: Studio, order: Order, task: Task, seeds: Sequence[int]) -> _Batch:
    made = studio.host.generate(
        task.prompt, seeds, task.schedule, rule=order.rule, steps=order.steps, size=order.size
    )  # fmt: skip
    if not (np.isfinite(made.latents).all() and np.isfinite(made.images).all()):
        raise NotFiniteError(_where(made, task.prompt))
    rows = np.asarray(studio.features.of(made), dtype=np.float32)
    if not np.isfinite(rows).all():
        raise NotFiniteError(f"its {studio.features.name} features of prompt {task.prompt!r:.60} are not finite")
    return made, rows, None if studio.judge is None else studio.judge.probabilities(made)


def _halve(studio: Studio, tried: int) -> None:
    if tried == 1:
        raise StoppedError(
            "out of memory with one image at a time; choose a smaller `size`, or `device` cpu (what is finished "
            "stays, and the same command goes on from there)"
        )
    studio.batch = tried // 2
    studio.remarks.append(f"out of memory with {tried} images at a time; going on with {studio.batch}")
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _means(made: Generated) -> dict[str, NDArray[np.float64]]:
    """The log of a batch averaged over its rows; NaN stays where nothing was computed."""
    log = {name: np.asarray(made.log[name], dtype=np.float64) for name in _LOGGED if name in made.log.variables}
    return {name: values if values.ndim == 1 else values.mean(1) for name, values in log.items()}


def _where(made: Generated, prompt: str) -> str:
    """What to say of images that are not finite."""
    text = f"NaN or infinity in the images of prompt {prompt!r:.60}"
    lost = ~np.isfinite(np.asarray(made.log["guided_norm"])).all(1) if "guided_norm" in made.log else np.array([False])
    if lost.any():
        first = int(np.asarray(made.log["step"])[int(lost.argmax())]) + 1
        text += f", from step {first} of {made.log.attrs['steps']} on"
    return f"{text}; try less strength, or `dtype` float32"
