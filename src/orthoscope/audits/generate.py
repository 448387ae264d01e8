"""Making cells: the same seeds under every schedule, in batches that fit, one cell in memory at a time."""

from __future__ import annotations

import copy
import gc
import time
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from orthoscope import rng
from orthoscope.audits import memory
from orthoscope.audits.account import LOGGED
from orthoscope.audits.cells import Cell, Cells
from orthoscope.audits.pictures import are_there, save_pictures, thumbnails
from orthoscope.audits.plan import Audit
from orthoscope.audits.tally import Tally
from orthoscope.errors import StoppedError
from orthoscope.guidance.grammar import parse_schedule
from orthoscope.guidance.rules import parse_rule
from orthoscope.progress import Remark

if TYPE_CHECKING:
    from orthoscope.integrations.features import Features
    from orthoscope.integrations.host import Generated, Host
    from orthoscope.integrations.judge import Judge

_LOGGED = (*LOGGED, "cond_norm", "uncond_norm")
_BATCH, _BATCH_TINY = 4, 64
_SEEDS = 2**32  # of a seed, torch's generator reads the low 32 bits
_STRIDE = 0x9E3779B1  # odd, so that the seeds of a prompt are distinct


class _NotFiniteError(Exception):
    """A schedule that left the finite numbers."""


@dataclass(slots=True, kw_only=True, eq=False)
class Maker:
    """Makes cells of one pipeline.

    Attributes:
        host: The pipeline.
        features: What images are measured by.
        judge: Who says which class an image is of, if anybody can.
        audit: The completed plan: rule, steps, size, seed.
        images: Images per prompt.
        stage: Name of the random streams, so that images for choosing and for judging are not the same.
        batch: Images per call of the pipeline; None for what suits it. Halved when memory runs out.
        workers: Prompts worked on at once, each by a copy of the pipeline on a thread of its own.
        pictures: Folder for the images themselves, if they are wanted.
        tally: Told of every image.
        remark: Told of batches that were halved, and of whatever else a user should know.
    """

    host: Host
    features: Features
    judge: Judge | None
    audit: Audit
    images: int
    stage: str = "audit"
    batch: int | None = None
    workers: int = 1
    pictures: Path | None = None
    tally: Tally = field(default_factory=Tally)
    remark: Remark = field(default=lambda text: None)
    _hosts: list[Host] = field(default_factory=list, init=False)
    _blanked: Counter[str] = field(default_factory=Counter, init=False)

    def cells(self, folder: Path) -> Cells:
        """The cells of this maker in a folder."""
        audit = self.audit
        setting = {
            "host": self.host.identity,
            "features": self.features.identity,
            "judge": None if self.judge is None else self.judge.identity,
            "rule": audit.rule,
            "steps": audit.steps,
            "size": audit.size,
            "seed": audit.seed,
            "stage": self.stage,
            "images": self.images,
        }
        return Cells(folder=folder, setting=setting)

    def seeds(self, prompt: str) -> list[int]:
        """One seed per image of a prompt, whatever the schedule and the other prompts; no two are the same."""
        # That two of 1,000 prompts have a seed in common happens in one audit of 200, and then does no harm.
        first = rng.key(self.audit.seed, self.stage, prompt)
        return [(first + image * _STRIDE) % _SEEDS for image in range(self.images)]

    def fill(self, cells: Cells, schedules: Sequence[str], prompts: Sequence[str]) -> dict[str, str]:
        """Make the cells that are missing, and say which schedules were stopped and why.

        Raises:
            StoppedError: if not even one image fits into memory.
        """
        missing = {spec: [p for p in prompts if not self._is_done(cells, spec, p)] for spec in schedules}
        self.tally.expect(self.images * sum(map(len, missing.values())))
        stopped = {}
        for spec, left in missing.items():
            made = 0
            try:
                with closing(self._made(cells, spec, left)) as found:
                    for prompt, cell in found:
                        cells.write(spec, prompt, cell)
                        made += 1
                        self.tally.advance(self.images)
            except _NotFiniteError as error:
                stopped[spec] = str(error)
                self.remark(f"{spec} is stopped: {error}")
                self.tally.expect(self.images * (made - len(left)))
            if black := self._blanked.pop(spec, 0):
                self.remark(f"{spec}: the pipeline's safety checker made {black} images black; they count as they are")
        return stopped

    def _is_done(self, cells: Cells, spec: str, prompt: str) -> bool:
        return cells.has(spec, prompt) and (
            self.pictures is None or are_there(self.pictures, spec, prompt, self.images, cells.key(spec, prompt))
        )

    def _made(self, cells: Cells, spec: str, prompts: Sequence[str]) -> Generator[tuple[str, Cell], None, None]:
        """The cells of a schedule, in order; what is not begun when the iteration is left is never made."""
        from orthoscope.integrations.host import host_of

        workers = min(self.workers, len(prompts))
        if workers <= 1:
            yield from ((prompt, self._cell(self.host, cells, spec, prompt)) for prompt in prompts)
            return
        while len(self._hosts) < workers:
            self._hosts.append(host_of(copy.deepcopy(self.host.pipe), self.host.name))
        free: SimpleQueue[Host] = SimpleQueue()
        for host in self._hosts[:workers]:
            free.put(host)

        def make(prompt: str) -> Cell:
            host = free.get()
            try:
                return self._cell(host, cells, spec, prompt)
            finally:
                free.put(host)

        # Each worker saves and restores the global random state, which only together they leave as it was.
        with torch.random.fork_rng(devices=[]), ThreadPoolExecutor(workers, initializer=_on_one_thread) as pool:
            pending = deque((prompt, pool.submit(make, prompt)) for prompt in prompts)
            try:
                while pending:
                    prompt, future = pending.popleft()
                    yield prompt, future.result()
            finally:
                for _, future in pending:
                    future.cancel()

    def _cell(self, host: Host, cells: Cells, spec: str, prompt: str) -> Cell:
        """One cell, made batch by batch."""
        seeds = self.seeds(prompt)
        features, probabilities, logs, shown, calls = [], [], [], [], 0
        started, done = time.perf_counter(), 0
        memory.forget(host)
        for made, rows, judged in self._batches(host, spec, prompt, seeds):
            features.append(rows)
            probabilities.append(judged)
            logs.append((len(rows), _means(made)))
            shown.append(thumbnails(made.images, already=done))
            calls += made.passes
            if self.pictures is not None:
                key = cells.key(spec, prompt)
                save_pictures(self.pictures, spec, prompt, made.images, seeds[done : done + len(rows)], done, key)
            done += len(rows)
        share = np.array([n for n, _ in logs]) / done
        return Cell(
            features=np.concatenate(features),
            thumbnails=np.concatenate(shown),
            log={name: np.tensordot(share, [log[name] for _, log in logs], 1) for name in logs[0][1]},
            cost={
                "network_calls": calls,
                "seconds": time.perf_counter() - started,
                "memory": memory.most(host),
            },
            probabilities=None if self.judge is None else np.concatenate(probabilities),
        )

    def _batches(
        self, host: Host, spec: str, prompt: str, seeds: Sequence[int]
    ) -> Iterator[tuple[Generated, NDArray[np.float32], Any]]:
        """Generated images with their features and what the judge says; smaller batches once memory has run out."""
        from orthoscope.integrations.host import is_out_of_memory

        if self.batch is None:
            self.batch = _BATCH_TINY if is_tiny(host) else _BATCH
        done = 0
        while done < len(seeds):
            try:
                found = self._batch(host, spec, prompt, seeds[done : done + self.batch])
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                found = None
            if found is None:  # here, where the error no longer keeps what it failed with in memory
                self._halve(min(self.batch, len(seeds) - done))
                continue
            done += len(found[1])
            yield found

    def _batch(
        self, host: Host, spec: str, prompt: str, seeds: Sequence[int]
    ) -> tuple[Generated, NDArray[np.float32], Any]:
        audit = self.audit
        made = host.generate(
            prompt, seeds, parse_schedule(spec), rule=parse_rule(audit.rule), steps=audit.steps, size=audit.size
        )
        if not (np.isfinite(made.latents).all() and np.isfinite(made.images).all()):
            raise _NotFiniteError(_where(made, prompt))
        self._blanked[spec] += made.blanked
        rows = np.asarray(self.features.of(made), dtype=np.float32)
        if not np.isfinite(rows).all():
            raise _NotFiniteError(f"its {self.features.name} features of prompt {prompt!r:.60} are not finite")
        return made, rows, None if self.judge is None else self.judge.probabilities(made)

    def _halve(self, tried: int) -> None:
        if tried == 1:
            raise StoppedError(
                "out of memory with one image at a time; choose a smaller --size, or --device cpu (what is finished "
                "stays, and the same command goes on from there)"
            )
        self.batch = tried // 2
        self.remark(f"out of memory with {tried} images at a time; going on with {self.batch}")
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def is_tiny(host: Host) -> bool:
    """Whether a pipeline's network is so small that images are best made many at a time, on one thread."""
    return any(cls.__name__ == "DigitsPipeline" for cls in type(host.pipe).__mro__)


def _on_one_thread() -> None:
    torch.set_num_threads(1)


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
    return f"{text}; try less strength, or --dtype float32"
