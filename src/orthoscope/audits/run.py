"""An audit from beginning to end: search, images, constant strengths to compare with, the twin, measures, advice.

Whatever is finished stays on disk and is found again: the same command goes on where it was stopped.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import xarray as xr

from orthoscope import __version__, writing
from orthoscope.audits import search
from orthoscope.audits.cells import ImageCells
from orthoscope.audits.compare import compared, gains
from orthoscope.audits.contribute import Material
from orthoscope.audits.generate import Order
from orthoscope.audits.knows import known
from orthoscope.audits.maker import Maker
from orthoscope.audits.matching import matching_constants
from orthoscope.audits.measure import measured
from orthoscope.audits.plan import Audit, Role, role_of, strongest
from orthoscope.audits.recommend import recommendation
from orthoscope.audits.result import RESULTS, SPEC, AuditResult, about
from orthoscope.audits.studio import Elsewhere, Recipe, Studio
from orthoscope.audits.tally import Tally
from orthoscope.audits.yardstick import Yardstick
from orthoscope.checks import settle
from orthoscope.datasets import attribute, estimates
from orthoscope.errors import ConfigError
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.integrations.source import Source
from orthoscope.locking import locked
from orthoscope.progress import LOG, Progress, Remark
from orthoscope.quantities import Estimate
from orthoscope.registered import RULES, SCHEDULES, check_placed
from orthoscope.serialize import dumps
from orthoscope.sweeps.cells import Cells
from orthoscope.sweeps.execute import PRELOADED, Executor
from orthoscope.threads import one_thread

Roles = Mapping[GuidanceSchedule, Role]
MADE: tuple[str, ...] = ("cells", "search", "twin", "images")  # folders of images and what is kept of them
FILES: tuple[str, ...] = (RESULTS, SPEC, "report.html", "figures", *MADE)  # of its folder
_PRELOADED = ("orthoscope.integrations.features", "orthoscope.integrations.host")  # by workers, all together


def executor_of(workers: int = 1, scheduler: str | None = None) -> Executor:
    """Where images are made; workers on this machine import what that needs once, all together.

    Args:
        workers: 1 for this process, more for as many processes, each with a pipeline of its own.
        scheduler: Address of a running Dask scheduler, whose workers are used instead.

    Raises:
        ConfigError: if there are fewer workers than one, or more beside a scheduler.
    """
    # A process that was forked from one that has asked for an accelerator has none, and imports may ask.
    preload = PRELOADED if torch.cuda.is_available() else _PRELOADED
    return Executor(workers=workers, scheduler=scheduler, preload=preload)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An audit that can be run.

    Attributes:
        plan: What is generated and measured.
        source: Where the pipeline comes from.
        executor: Where images are made.
        batch: Images per call of the pipeline; None for what suits it.
        images: Whether images are kept as PNG files, in the folder `images`.
    """

    plan: Audit
    source: Source = field(default_factory=Source)
    executor: Executor = field(default_factory=executor_of)
    batch: int | None = None
    images: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be done.

        Raises:
            ConfigError: if batches are empty, or workers would need what only this process has.
        """
        settle(self)
        if self.batch is not None and self.batch < 1:
            raise ConfigError(f"batch is the number of images per call and must be at least 1, got {self.batch}")
        if self.executor.is_elsewhere:
            for own in (*self.plan.schedules, self.plan.current):
                check_placed(own, SCHEDULES)
            check_placed(self.plan.rule, RULES)
        if self.source.loaded is not None and self.executor.is_elsewhere:
            raise ConfigError(
                "other processes cannot open a pipeline that is loaded here; leave out `workers` and `scheduler`, or "
                "give the pipeline's folder or hub id",
                field=("workers", "scheduler"),
            )

    def run(self, out: Path, *, progress: Progress | None = None, remark: Remark | None = None) -> AuditResult:
        """Audit the pipeline.

        Args:
            out: Folder of results.nc, spec.json, and the cells that a later run takes over.
            progress: Told the number of images done and, as far as known, of all.
            remark: Told what a user should know.

        Raises:
            ConfigError: if the plan does not fit the pipeline, something it names cannot be had, or the folder is in
                use.
            StoppedError: if images without guidance are not finite, not one fits into memory, or the cluster is lost.
        """
        say = remark or LOG.warning
        recipe = Recipe(plan=self.plan, source=self.source, batch=self.batch or 0)
        with locked(out, "audit", FILES), self.executor:
            host = recipe.here.host()
            plan = self.plan.completed(host, say)
            host.check_prompts(plan.prompts)
            studio = recipe.studio(host)
            session = Session(
                plan=plan,
                studio=studio,
                yardstick=Yardstick.of(plan, studio, say),
                out=out,
                executor=self.executor,
                elsewhere=_elsewhere(recipe, studio, self.executor),
                pictures=out / "images" if self.images else None,
                tally=Tally(progress),
                remark=say,
            )
            return session.run()


def _elsewhere(recipe: Recipe, studio: Studio, executor: Executor) -> Elsewhere | None:
    """How workers open what is open here, which makes room for them; None where there are none."""
    if not executor.is_elsewhere:
        return None
    shared = None if executor.scheduler else max(1, (os.cpu_count() or 1) // executor.workers)
    studio.make_room()
    recipe = replace(recipe, threads=1 if studio.host.is_small else shared)
    return Elsewhere(recipe=recipe, fingerprint=studio.fingerprint)


@dataclass(slots=True, kw_only=True, eq=False)
class Session:
    """One audit of a pipeline that is open.

    Attributes:
        plan: The completed plan.
        studio: The pipeline, and what measures its images.
        yardstick: What is known of prompts and references.
        out: Folder of everything written.
        executor: Where images are made.
        elsewhere: How workers open the pipeline, if there are any.
        pictures: Folder of the images themselves, if they are wanted.
        tally: Told of every image.
        remark: Told what a user should know.
        is_alone: Whether its twin is left out.
    """

    plan: Audit
    studio: Studio
    yardstick: Yardstick
    out: Path
    executor: Executor = field(default_factory=Executor)
    elsewhere: Elsewhere | None = None
    pictures: Path | None = None
    tally: Tally = field(default_factory=Tally)
    remark: Remark = LOG.warning
    is_alone: bool = False

    def run(self) -> AuditResult:
        """Everything, in order."""
        # Tiny networks gain little from more threads, and lose much when something else wants the cores.
        with one_thread() if self.studio.host.is_small else nullcontext():
            return self._run()

    def _run(self) -> AuditResult:
        plan, twin = self.plan, self._twin()
        writing.write(self.out / SPEC, dumps(self._spec) + "\n")
        self._foresee(len(plan.schedules) * (2 if twin else 1))
        found, chosen = self._searched() if plan.search else (None, [])
        roles: dict[GuidanceSchedule, Role] = {schedule: role_of(schedule) for schedule in plan.schedules}
        roles = roles | {schedule: "searched" for schedule in chosen if schedule not in roles}
        maker = self._maker(self.studio, pictures=self.pictures)
        cells = maker.cells(self.out / "cells")
        self._foresee(len(roles) if twin else 0)
        stopped = maker.fill(cells, roles, plan.prompts)
        if plan.match:
            kept = {schedule: role for schedule, role in roles.items() if schedule not in stopped}
            matched = matching_constants(gains(self._material(cells), list(kept)), kept)
            roles |= dict.fromkeys(matched, "matched")
            stopped |= maker.fill(cells, matched, plan.prompts)
        self._foresee(0)
        pipeline = self._measured(self.studio, cells, roles, stopped)
        return self._finished(pipeline, self._twin_measured(twin, roles) if twin else None, found)

    def _twin(self) -> Studio | None:
        """The pipeline's twin with the exact score, where its data are at hand."""
        return self.studio.twin if self.studio.host.shipped and not self.is_alone else None

    def _foresee(self, schedules: int) -> None:
        self.tally.foreseen = schedules * len(self.plan.prompts) * (self.plan.images_per_prompt or 0)

    def _maker(self, studio: Studio, *, pictures: Path | None = None, **order: Any) -> Maker:
        plan, elsewhere = self.plan, self.elsewhere
        settings = {name: getattr(plan, name) for name in ("rule", "steps", "size", "seed")}
        if elsewhere is not None and studio is not self.studio:
            elsewhere = replace(elsewhere, is_twin=True, fingerprint=studio.fingerprint)
        return Maker(
            studio=studio,
            order=Order(**settings | {"images": plan.images_per_prompt} | order),
            executor=self.executor,
            elsewhere=elsewhere,
            pictures=pictures,
            tally=self.tally,
            remark=self.remark,
        )

    def _searched(self) -> tuple[xr.Dataset, list[GuidanceSchedule]]:
        plan = self.plan
        images = min(search.MOST_IMAGES, plan.images_per_prompt or search.MOST_IMAGES)
        maker = self._maker(self.studio, images=images, stage=search.STAGE)
        cells = maker.cells(self.out / "search" / "cells")
        material = self._material(cells, search.some(plan.prompts, seed=plan.seed))
        return search.searched(maker, cells, material, plan.schedules)

    def _material(self, cells: ImageCells, prompts: Sequence[str] | None = None) -> Material:
        """What is measured: all prompts, or some."""
        known = self.yardstick
        return Material(
            cells=cells,
            prompts=tuple(self.plan.prompts if prompts is None else prompts),
            labels=known.labels,
            text_features=known.texts,
            real=known.real,
            kernel=known.kernel,
            seed=self.plan.seed,
        )

    def _measured(
        self, studio: Studio, cells: ImageCells, roles: Roles, stopped: Mapping[GuidanceSchedule, str]
    ) -> xr.Dataset:
        """Measures of every schedule that was not stopped, the comparison, and the advice."""
        plan, material = self.plan, self._material(cells)
        if studio is not self.studio:  # the twin's law is wider than real images: its own at strength 0 are its class
            material = replace(material, real=None)
        kept = {schedule: role for schedule, role in roles.items() if schedule not in stopped}
        current = plan.current if plan.current in kept else strongest(s for s in plan.schedules if s in kept)
        assert current is not None  # the plan is complete
        result = measured(material, kept, plan.prompts, self.yardstick.references)
        if plan.current is not None and current != plan.current:
            is_now, was = map(format_schedule, (current, plan.current))
            notes = [*attribute(result, "notes", "[]"), f"{is_now} is compared with: {was} was stopped"]
            result.attrs["notes"] = dumps(notes, indent=None)
        result = compared(material, result, list(kept), current=current)
        told = {format_schedule(schedule): reason for schedule, reason in stopped.items()}
        result.attrs |= about(plan, studio) | {"stopped": dumps(told, indent=None)}
        if studio is self.studio and not self.is_alone:
            result = self._with_knowledge(result)
        advice = recommendation(result, list(kept), tolerance=plan.tolerance)
        result.attrs["recommendation"] = dumps(advice, indent=None)
        return result

    def _with_knowledge(self, result: xr.Dataset) -> xr.Dataset:
        """The same with what the unconditional branch knows, where its classes can be asked for."""
        calls = float(result["network_calls"].sum()) * (2 if self.studio.host.shipped else 1)
        found = known(self.studio, self.plan, calls, Cells(self.out / "cells"))
        result.attrs["knowledge"] = dumps(found, indent=None)
        if "learned_fraction" in found:
            learned = estimates("learned_fraction", (), Estimate(**found["learned_fraction"]))
            result = result.assign({name: ((), value) for name, (_, value) in learned.items()})
        return result

    def _twin_measured(self, twin: Studio, roles: Roles) -> xr.Dataset:
        maker = self._maker(twin)
        cells = maker.cells(self.out / "twin" / "cells")
        return self._measured(twin, cells, roles, maker.fill(cells, roles, self.plan.prompts))

    @property
    def _spec(self) -> dict[str, Any]:
        """Everything that is needed to do it again."""
        return {"audit": self.plan.texts, "orthoscope": __version__, "host": self.studio.host.identity}

    def _finished(self, pipeline: xr.Dataset, twin: xr.Dataset | None, found: xr.Dataset | None) -> AuditResult:
        if found is not None:
            found.attrs |= about(self.plan, self.studio)
        result = AuditResult(pipeline=pipeline, twin=twin, search=found, spec=self._spec)
        result.write(self.out)
        return result
