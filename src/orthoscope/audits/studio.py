"""A pipeline that is open, with what its images are measured by; every process opens its own, once.

Workers are told how to open it, and check that they got the same one: a cell is named by what was opened where the
audit was started.
"""

from __future__ import annotations

import platform
import threading
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from orthoscope.audits.plan import Audit
from orthoscope.errors import ConfigError
from orthoscope.serialize import content_hash
from orthoscope.sweeps.cluster import turn

if TYPE_CHECKING:
    from orthoscope.integrations.features import Features
    from orthoscope.integrations.host import Host
    from orthoscope.integrations.judge import Judge

_BATCH, _BATCH_SMALL = 4, 64
_NETWORKS = ("model", "scheduler", "features", "features_model", "classifier")
_OPENING = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """All that a process needs to open a pipeline and what measures its images.

    Attributes:
        plan: An audit, of which only counts what names networks.
        device: Where they run; "auto" is an accelerator if there is one, and workers take turns over several.
        dtype: Precision of the pipeline.
        allow_pickle: Whether weights that are not safetensors may be read.
        batch: Images per call of the pipeline, 0 for what suits it.
        threads: Threads of torch; None to leave them as they are.
    """

    plan: Audit
    device: str = "auto"
    dtype: str = "auto"
    allow_pickle: bool = False
    batch: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        """Forget prompts and schedules, of which there may be many."""
        object.__setattr__(self, "plan", Audit(**{name: getattr(self.plan, name) for name in _NETWORKS}))

    def host(self) -> Host:
        """The pipeline, opened.

        Raises:
            ConfigError: if it cannot be had.
        """
        from orthoscope.integrations.host import open_host

        return open_host(self.plan.model, scheduler=self.plan.scheduler, dtype=self.dtype, **self._how)

    def studio(self, host: Host) -> Studio:
        """The pipeline, and what measures its images, opened too.

        Raises:
            ConfigError: if a network cannot be had, or does not fit the pipeline.
        """
        from orthoscope.integrations.features import features_of
        from orthoscope.integrations.judge import judge_of

        plan = self.plan
        if plan.classifier is not None and host.kind == "text":
            raise ConfigError(f"a classifier judges classes, but {host.name} is asked by text; use `features` clip")
        features = features_of(plan.features, model=plan.features_model, **self._how)
        judge = judge_of(host, classifier=plan.classifier, **self._how)
        return Studio(host=host, features=features, judge=judge, batch=self.batch)

    @property
    def _how(self) -> dict[str, Any]:
        several = torch.cuda.device_count()
        own = f"cuda:{turn() % several}" if self.device == "auto" and several > 1 else self.device
        return {"device": own, "allow_pickle": self.allow_pickle}


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
        source: How it is opened.
        fingerprint: Of the studio that it must equal.
        is_twin: Whether its twin is meant.
    """

    source: Source
    fingerprint: str
    is_twin: bool = False

    def studio(self) -> Studio:
        """The one of this process.

        Raises:
            ConfigError: if a network cannot be had here, or is another one.
        """
        with _OPENING:
            studio = _opened(self.source)
            studio = studio.twin if self.is_twin else studio
        if studio.fingerprint != self.fingerprint:
            raise ConfigError(
                f"the worker on {platform.node()} opened another pipeline than the one here, or in another precision; "
                "give it the same files and versions, and `dtype` where one of the two has no accelerator"
            )
        return studio


@lru_cache(maxsize=1)
def _opened(source: Source) -> Studio:
    if source.threads is not None:
        torch.set_num_threads(source.threads)
    return source.studio(source.host())
