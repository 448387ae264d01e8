"""The cells of a pipeline that are missing, made wherever work is done, and what becomes of those that fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from orthoscope.audits.cells import ImageCells
from orthoscope.audits.generate import Beside, NotFiniteError, Order, Task, make
from orthoscope.audits.pictures import are_there, save_pictures
from orthoscope.audits.plan import REFERENCE
from orthoscope.audits.studio import Elsewhere, Studio
from orthoscope.audits.tally import Tally
from orthoscope.errors import ConfigError, StoppedError
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.progress import LOG, Remark
from orthoscope.sweeps.cells import Cells, Finished, complete
from orthoscope.sweeps.execute import Executor


@dataclass(slots=True, kw_only=True, eq=False)
class Maker:
    """Makes cells of one pipeline.

    Attributes:
        studio: The pipeline, and what measures its images.
        order: What is made.
        executor: Where the work is done.
        elsewhere: How workers open the same studio, if there are any.
        pictures: Folder for the images themselves, if they are wanted.
        tally: Told of every image.
        remark: Told of batches that were halved, and of whatever else a user should know.
    """

    studio: Studio
    order: Order
    executor: Executor = field(default_factory=Executor)
    elsewhere: Elsewhere | None = None
    pictures: Path | None = None
    tally: Tally = field(default_factory=Tally)
    remark: Remark = LOG.warning

    def cells(self, folder: Path) -> ImageCells:
        """The cells of this maker in a folder."""
        return ImageCells(store=Cells(folder), setting=self.studio.identity | self.order.setting)

    def fill(
        self, cells: ImageCells, schedules: Iterable[GuidanceSchedule], prompts: Sequence[str]
    ) -> dict[GuidanceSchedule, str]:
        """Make the cells that are missing, and say which schedules were stopped and why.

        Where a cell fails, no other of its schedule is begun, and those of other schedules are made all the same.

        Raises:
            ConfigError: if the pipeline cannot be asked for this, or a worker cannot open it.
            StoppedError: if not even one image fits into memory, or those without guidance are not finite.
        """
        errors: dict[Task, Exception] = {}
        lost: set[GuidanceSchedule] = set()
        black: Counter[GuidanceSchedule] = Counter()
        tasks = [Task(schedule, prompt) for schedule in schedules for prompt in prompts]
        missing = {cells.key(*task): task for task in tasks if not self._is_done(cells, task)}
        outcomes = complete(
            cells.store,
            missing,
            partial(make, self.elsewhere or self.studio, self.order, self.pictures is not None),
            self.executor,
            skip=lambda task: task.schedule in lost,
            progress=self.tally.stage(self.order.images),
        )
        with closing(outcomes):
            for task, outcome in outcomes:
                match outcome:
                    case ConfigError() | StoppedError():
                        raise outcome
                    case Exception():
                        if task.schedule not in lost:
                            self.remark(f"{format_schedule(task.schedule)} is stopped: {outcome}")
                        errors[task] = outcome
                        lost.add(task.schedule)
                    case Finished(beside=Beside() as beside):
                        black[task.schedule] += beside.blanked
                        self._receive(cells, task, beside)
        for schedule, count in (+black).items():
            made = f"{format_schedule(schedule)}: the pipeline's safety checker made {count} images black"
            self.remark(f"{made}; they count as they are")
        return _stopped([(task.schedule, errors[task]) for task in tasks if task in errors])

    def _is_done(self, cells: ImageCells, task: Task) -> bool:
        folder, spec = self.pictures, format_schedule(task.schedule)
        return cells.has(*task) and (
            folder is None or are_there(folder, spec, task.prompt, self.order.images, cells.key(*task))
        )

    def _receive(self, cells: ImageCells, task: Task, beside: Beside) -> None:
        for text in beside.remarks:
            self.remark(text)
        if self.pictures is not None and beside.pictures is not None:
            named = format_schedule(task.schedule), task.prompt
            save_pictures(self.pictures, named, beside.pictures, self.order.seeds(task.prompt), cells.key(*task))


def _stopped(errors: Sequence[tuple[GuidanceSchedule, Exception]]) -> dict[GuidanceSchedule, str]:
    """Why schedules were stopped: the first error of each in the order of prompts, whichever came first.

    Raises:
        StoppedError: if there are no images without guidance.
    """
    first: dict[GuidanceSchedule, Exception] = {}
    for schedule, error in errors:
        first.setdefault(schedule, error)
    for error in first.values():
        if not isinstance(error, NotFiniteError):
            raise error
    if REFERENCE in first:
        what = f"{format_schedule(REFERENCE)}, which everything is relative to"
        raise StoppedError(f"{what}: {first[REFERENCE]}")
    return {schedule: str(error) for schedule, error in first.items()}
