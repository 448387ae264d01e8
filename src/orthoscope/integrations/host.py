"""One face for every pipeline that can be audited: images of one prompt, by seed, under a schedule and a rule.

Every image has a random generator of its own, seeded by its seed, for the noise it starts from and for that of its
scheduler. So equal seeds give equal noise under every schedule, and an image never depends on the others of its batch,
but for the roundings of a network that sums in another order when the batch is larger.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from orthoscope.errors import ConfigError, OrthoscopeError, unknown
from orthoscope.guidance.rules import Rule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.integrations.diffusers import guided
from orthoscope.integrations.diffusers.evidence import clock_of
from orthoscope.integrations.diffusers.network import networks_of
from orthoscope.integrations.families import Kind, family_of
from orthoscope.integrations.fingerprint import fingerprint, settings
from orthoscope.integrations.randomness import own_randomness, restored_randomness
from orthoscope.integrations.shipped import Model, model_like

_FEW_CLASSES, _SOME_CLASSES = 10, 12  # that are all asked for, and that are asked for of more
_NO_MEMORY = (
    "can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED", "size calculation overflowed",
    "integer multiplication overflow",
)  # fmt: skip
_LARGEST = 2048  # height or width of a network's own states
_SEEDS = 2**64  # what a torch generator takes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Generated:
    """Images of one prompt under one schedule, a row each.

    Attributes:
        latents: Final state of the scheduler in the pipeline's own scale, unclipped (n, ...).
        images: Pixels in [0, 1] (n, height, width, channels).
        log: What guidance did, of `GuidanceLog.dataset`, with one row per image.
        passes: Predictions computed, summed over images; a pair counts 2 per image and evaluation.
        blanked: Number of images that the pipeline's safety checker replaced by black.
    """

    latents: NDArray[np.float32]
    images: NDArray[np.float32]
    log: xr.Dataset
    passes: int
    blanked: int = 0


class Host:
    """A pipeline that is asked for images.

    Attributes:
        name: What it is called in results.
        kind: Whether it is asked by text or by class label.
        pipe: The pipeline.
    """

    name: str
    kind: Kind
    pipe: Any

    def __init__(self, pipe: Any, name: str) -> None:
        """Take a pipeline as it is; its progress bars are switched off.

        Raises:
            ConfigError: if how it is asked, how it calls its network, or its scheduler is not known here.
        """
        self._family = family_of([cls.__name__ for cls in type(pipe).__mro__])
        self.name, self.kind, self.pipe = name, self._family.kind, pipe
        networks_of(pipe)  # refuses those that are distilled
        chart = clock_of(pipe.scheduler).chart
        if self._family.starts_at_unit_noise and chart == "exploding":
            raise ConfigError(
                f"{type(pipe).__name__} starts at unit noise, but {type(pipe.scheduler).__name__} at more; use a "
                "scheduler such as DPMSolverMultistepScheduler or DDIMScheduler"
            )
        pipe.set_progress_bar_config(disable=True)
        side = getattr(self._network, "config", {}).get("sample_size") or 0
        sides = side if isinstance(side, list | tuple) else [side]
        if any(isinstance(one, int | float) and one > _LARGEST for one in sides):
            raise ConfigError(
                f"the config of {name} asks for states of {side} a side, larger than {_LARGEST}; get it again"
            )

    @property
    def _network(self) -> Any:
        return getattr(self.pipe, "unet", None) or self.pipe.transformer

    @property
    def default_prompts(self) -> tuple[str, ...] | None:
        """Every class, where there are few enough to enumerate; some of them, spread evenly, of a model that ships."""
        if self.classes is None or not (self.is_enumerable or self.shipped):
            return None
        number = self.classes if self.is_enumerable else _SOME_CLASSES
        return tuple(str(k * self.classes // number) for k in range(number))

    @property
    def is_enumerable(self) -> bool:
        """Whether its classes are so few that all are asked for where nothing else is said."""
        return self.classes is not None and self.classes <= _FEW_CLASSES

    @property
    def classes(self) -> int | None:
        """Number of classes; None if it is asked by text."""
        if self.kind == "text":
            return None
        config: Any = self._network.config
        return int(self.pipe.null_label if hasattr(self.pipe, "null_label") else config["num_embeds_ada_norm"])

    @property
    def is_small(self) -> bool:
        """Whether its network is so small that images are best made many at a time, on one thread."""
        return self._family.is_small

    @property
    def shipped(self) -> Model | None:
        """The model that ships and makes the same in its own pixels: data and a judge are at hand; None without."""
        config: Any = self._network.config
        return model_like(config, getattr(self.pipe, "labels", ()), self.name) if self.is_small else None

    @property
    def law(self) -> str | None:
        """What its data are taken as, of a twin: modes, classes or gaussian; None of a network."""
        config: Any = getattr(self._network, "config", {})
        return config.get("law")

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Make sure that each prompt can be asked for.

        Raises:
            ConfigError: if there is none, one is empty, or one names no class.
        """
        if not prompts:
            raise ConfigError("no prompts; give at least one")
        for prompt in prompts:
            if not prompt.strip():
                raise ConfigError("a prompt is empty; write one per line")
            if self.kind == "class":
                self.label(prompt)

    def label(self, prompt: str) -> int:
        """The class that a prompt names: its number, or its word where the pipeline has words.

        Raises:
            ConfigError: if there is no such class.
        """
        classes, words = self.classes or 0, getattr(self.pipe, "labels", None) or {}
        text = prompt.strip()
        if text in words:
            return int(words[text])
        if text.isdecimal() and int(text) < classes:
            return int(text)
        if words and not text.isdecimal():
            raise unknown("class", text, words)
        raise ConfigError(f"{self.name} knows the classes 0 to {classes - 1}, got {prompt!r:.80}")

    def generate(
        self,
        prompt: str,
        seeds: Sequence[int],
        schedule: GuidanceSchedule,
        *,
        rule: Rule,
        steps: int,
        size: int | None = None,
    ) -> Generated:
        """One image per seed; no global random state is left changed.

        Args:
            prompt: Text, or class.
            seeds: Seeds, taken modulo 2^64; torch's generator reads the low 32 bits.
            schedule: Strength over noise level.
            rule: How the pair is combined.
            steps: Steps of the scheduler.
            size: Height and width in pixels; the pipeline's own if None.

        Raises:
            ConfigError: if the pipeline cannot be asked for this.
            StoppedError: if it does not call its network as assumed.
        """
        generators = [torch.Generator().manual_seed(int(seed) % _SEEDS) for seed in seeds]
        call = self._call(prompt, len(generators), size)
        with (
            own_randomness(self.pipe.scheduler, generators),
            restored_randomness(int(seeds[0]) % _SEEDS),
            torch.no_grad(),
            guided(self.pipe, schedule, rule) as log,
        ):
            try:
                result = self.pipe(**call, num_inference_steps=steps, generator=generators, output_type="np")
            except ValueError as error:
                if isinstance(error, OrthoscopeError):
                    raise
                raise ConfigError(f"{type(self.pipe).__name__} refuses: {' '.join(str(error).split())}") from error
        images = np.asarray(getattr(result, self._family.images), dtype=np.float32)
        dataset, final = log.dataset, log.final
        assert final is not None  # there is a dataset only once the scheduler has stepped
        return Generated(
            latents=final.float().numpy(force=True),
            images=images[:, 0] if images.ndim == 5 else images,
            log=dataset,
            passes=int(dataset["passes"].sum()) * len(generators),
            blanked=sum(map(bool, getattr(result, "nsfw_content_detected", None) or ())),
        )

    def run_together(self, prompts: Sequence[str], generators: Sequence[torch.Generator], steps: int) -> None:
        """Run it once with a row for every prompt; what it makes is dropped.

        Raises:
            ConfigError: if the pipeline refuses a batch of different prompts.
        """
        call = self._call(prompts[0], 1, None)
        if self.kind == "class":
            call["class_labels"] = [self.label(prompt) for prompt in prompts]
        else:
            self.check_prompts(prompts)
            call["prompt"] = list(prompts)
            if isinstance(call.get("negative_prompt"), str):
                call["negative_prompt"] = [call["negative_prompt"]] * len(prompts)
        try:
            self.pipe(**call, num_inference_steps=steps, generator=list(generators), output_type="latent")
        except ValueError as error:
            if isinstance(error, OrthoscopeError):
                raise
            raise ConfigError(f"{type(self.pipe).__name__} refuses: {' '.join(str(error).split())}") from error

    def _call(self, prompt: str, images: int, size: int | None) -> dict[str, Any]:
        """Arguments of the pipeline beside those that every pipeline has."""
        if images == 0:
            raise ConfigError("no seeds; give one per image")
        self.check_prompts([prompt])
        family = self._family
        call = dict(family.pair) | dict(family.extra)
        if size is not None:
            if not family.has_size:
                raise ConfigError(f"{self.name} has one size only; leave out `size`")
            call |= {"height": size, "width": size}
        if family.kind == "class":
            return call | {"class_labels": [self.label(prompt)] * images}
        return call | {"prompt": prompt, family.copies: images}

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """What determines its images: classes and settings, scheduler, precision, and a fingerprint of the weights."""
        scheduler = self.pipe.scheduler
        parts = {name: part for name, part in self.pipe.components.items() if part is not None and name != "scheduler"}
        return {
            "pipeline": type(self.pipe).__name__,
            "settings": settings(self.pipe.config),
            "scheduler": type(scheduler).__name__,
            "scheduler_settings": settings(scheduler.config),
            "dtype": str(getattr(self._network, "dtype", None)),
            "parts": {name: fingerprint(part) for name, part in sorted(parts.items())},
        }


def host_of(pipe: Any, name: str | None = None) -> Host:
    """The host of a pipeline that is loaded already.

    Raises:
        ConfigError: if it is not one of the known families, or its scheduler is not known.
    """
    return Host(pipe, name or type(pipe).__name__)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch may cure it: the accelerator's or the processor's memory did not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _NO_MEMORY)
