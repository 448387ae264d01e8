"""A pipeline that is open, with what its images are measured by; every process opens its own, once.

Workers are told how to open it, and check that they got the same one: a cell is named by what was opened where the
audit was started.
"""

from __future__ import annotations

import platform
import threading
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from orthoscope.audits.plan import Audit
from orthoscope.errors import ConfigError
from orthoscope.integrations.source import Source
from orthoscope.serialize import content_hash
from orthoscope.sweeps.cluster import turn

if TYPE_CHECKING:
    from orthoscope.integrations.features import Features
    from orthoscope.integrations.host import Host
    from orthoscope.integrations.judge import Judge

_BATCH, _BATCH_SMALL = 4, 64
_MEASURES = ("features", "features_model", "classifier")
_OPENING = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that a process needs to open a pipeline and what measures its images.

    Attributes:
        plan: An audit, of which only counts what measures images.
        source: Where the pipeline comes from; with the device "auto" workers take turns over several.
        batch: Images per call of the pipeline, 0 for what suits it.
        threads: Threads of torch; None to leave them as they are.
    """

    plan: Audit
    source: Source = field(default_factory=Source)
    batch: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        """Forget prompts and schedules, of which there may be many."""
        object.__setattr__(self, "plan", Audit(**{name: getattr(self.plan, name) for name in _MEASURES}))

    @property
    def here(self) -> Source:
        """The source with the device of this process."""
        several = torch.cuda.device_count()
        if self.source.device == "auto" and several > 1:
            return replace(self.source, device=f"cuda:{turn() % several}")
        return self.source

    def studio(self, host: Host | None = None) -> Studio:
        """The pipeline, opened unless it is already, and what measures its images, opened too.

        Raises:
            ConfigError: if the pipeline or a network cannot be had, or one does not fit the other.
        """
        from orthoscope.integrations.features import features_of
        from orthoscope.integrations.judge import judge_of

        plan, here = self.plan, self.here
        host = host or here.host()
        if plan.classifier is not None and host.kind == "text":
            raise ConfigError(f"a classifier judges classes, but {host.name} is asked by text; use `features` clip")
        how: dict[str, Any] = {"device": here.device, "allow_pickle": here.allow_pickle}
        features = features_of(plan.features, model=plan.features_model, **how)
        judge = judge_of(host, classifier=plan.classifier, **how)
        return Studio(host=host, features=features, judge=judge, batch=self.batch)


@dataclass(kw_only=True, eq=False)
class Studio:
    """A pipeline that is open, with what its images are measured by.

    Attributes:
        host: The pipeline.
        features: What images are measured by.
        judge: Who says which class an image is of, if anybody can.
        batch: Images per call of the pipeline, 0 for what suits it; halved when memory runs out.
        lock: Held while images are made: a pipeline makes one batch at a time.
        remarks: What a user should know, and has not been told yet.
    """

    host: Host
    features: Features
    judge: Judge | None = None
    batch: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    remarks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Take as many images at a time as suits the pipeline, where nothing else is said."""
        self.batch = self.batch or (_BATCH_SMALL if self.host.is_small else _BATCH)

    @property
    def identity(self) -> dict[str, Any]:
        """What determines what it makes, and how that is measured."""
        judge = None if self.judge is None else self.judge.identity
        return {"host": self.host.identity, "features": self.features.identity, "judge": judge}

    @cached_property
    def fingerprint(self) -> str:
        """The same in short, with the versions of what runs it."""
        return content_hash(self.identity | {name: version(name) for name in ("diffusers", "transformers")})

    @cached_property
    def twin(self) -> Studio:
        """The pipeline's twin with the exact score, measured by the same."""
        from orthoscope.integrations.twin import twin_of

        return Studio(host=twin_of(self.host), features=self.features, judge=self.judge)

    def make_room(self) -> None:
        """Leave the accelerator to workers, who have pipelines of their own."""
        for part in self.host.pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.to("cpu")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A studio that a worker opens, keeps, and finds again.

    Attributes:
        recipe: How it is opened.
        fingerprint: Of the studio that it must equal.
        is_twin: Whether its twin is meant.
    """

    recipe: Recipe
    fingerprint: str
    is_twin: bool = False

    def studio(self) -> Studio:
        """The one of this process.

        Raises:
            ConfigError: if a network cannot be had here, or is another one.
        """
        with _OPENING:
            studio = _opened(self.recipe)
            studio = studio.twin if self.is_twin else studio
        if studio.fingerprint != self.fingerprint:
            raise ConfigError(
                f"the worker on {platform.node()} opened another pipeline than the one here, or in another precision; "
                "give it the same files and versions, and `dtype` where one of the two has no accelerator"
            )
        return studio


@lru_cache(maxsize=1)
def _opened(recipe: Recipe) -> Studio:
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    return recipe.studio()
