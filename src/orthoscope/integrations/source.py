"""Where a pipeline comes from: a name by which every process can open it, or a pipeline that is loaded already."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orthoscope.errors import ConfigError

if TYPE_CHECKING:
    from orthoscope.integrations.host import Host

DEFAULT = "digits"  # the model that is meant where none is named


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """All that is needed to have a pipeline.

    Attributes:
        model: Name of a model that ships, folder of a pipeline, file of weights that `orthoscope train` wrote, or
            repository of the hub; None for the digits.
        scheduler: Class of diffusers to use instead of the pipeline's own, with its settings.
        device: Where networks run; "auto" takes the accelerator if there is one.
        dtype: "float32", "float16", "bfloat16"; "auto" is half precision on an accelerator and single otherwise.
        allow_pickle: Whether weights that are not safetensors may be read.
        loaded: A pipeline that is loaded already, which is then taken as it is; other processes cannot have it.
    """

    model: str | None = None
    scheduler: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    allow_pickle: bool = False
    loaded: Any = field(default=None, repr=False)

    @classmethod
    def of(cls, given: Any = None, **how: Any) -> Source:
        """The source that is meant: a loaded pipeline, a folder, a hub id, the name of a model that ships, or None.

        Args:
            given: One of these; a folder that is called as a model that ships is ./NAME.
            **how: Fields of a source.

        Raises:
            ConfigError: if it is none of these, or a loaded pipeline is to be loaded otherwise.
        """
        if given is None or (isinstance(given, str) and given == DEFAULT):
            return cls(**how)
        if isinstance(given, str | Path):
            return cls(model=str(given), **how)
        from diffusers.pipelines.pipeline_utils import DiffusionPipeline

        if not isinstance(given, DiffusionPipeline):
            raise ConfigError(
                "a pipeline is one of diffusers that is loaded, a folder, a hub id, or the name of a model that "
                f"ships such as 'digits', got {type(given).__name__}"
            )
        if set_already := [name for name in ("device", "dtype") if how.pop(name, "auto") != "auto"]:
            raise ConfigError(
                f"a pipeline that is loaded has its own {set_already[0]}; leave out `{set_already[0]}`, or move the "
                "pipeline with its method `to`"
            )
        device = str(given._execution_device)
        return cls(model=_name_of(given), device=device, loaded=given, **how)

    @property
    def name(self) -> str:
        """What the pipeline is called in results."""
        return self.model or DEFAULT

    def pipe(self) -> Any:
        """The pipeline. Of one that is loaded it is a shallow copy, so that its owner keeps scheduler and settings.

        Raises:
            ConfigError: if it cannot be had, is not known here, or would need code or pickles of the repository.
        """
        from orthoscope.integrations.hub import read_pipeline, rescheduled
        from orthoscope.integrations.shipped import MODELS

        if self.loaded is None:
            model = str(MODELS[self.name].file) if self.name in MODELS else self.name
            pipe = read_pipeline(model, device=self.device, dtype=self.dtype, allow_pickle=self.allow_pickle)
        else:
            pipe = copy.copy(self.loaded)
        if self.scheduler is not None:
            pipe.scheduler = rescheduled(pipe.scheduler, self.scheduler)
        return pipe

    def host(self) -> Host:
        """The pipeline as one that is asked for images.

        Raises:
            ConfigError: if it cannot be had, or is none of the known families.
        """
        from orthoscope.integrations.host import host_of

        return host_of(self.pipe(), self.name)


def _name_of(pipe: Any) -> str | None:
    """Where a loaded pipeline was read from, as far as it knows; None for the default."""
    name = pipe.config.get("_name_or_path") or type(pipe).__name__
    return None if name == DEFAULT else str(name)
