"""A network's place in a pipeline taken by whatever knows denoised means: an exact law, or a fit to recorded answers.

A network is told a time step, which schedulers round. What stands in reads the noise level of the state itself from
the scheduler, so that rounding is no error of its own.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin
from torch import Tensor, nn

from orthoscope.integrations.diffusers.evidence import clock_of
from orthoscope.prediction import from_denoised
from orthoscope.process import NoiseLevel


class StandIn(nn.Module, ConfigMixin):
    """Denoised means with the interface of a class-conditional U-Net; the label after the last class asks for none."""

    config_name = "config.json"  # type: ignore[assignment]

    def __init__(self, scheduler: Any, like: Tensor, classes: int, **about: Any) -> None:
        """Stand in a pipeline.

        Args:
            scheduler: The scheduler of the pipeline: what it takes predictions for, and where it stands.
            like: States (n, channels, height, width), of the type and in the place of those to come.
            classes: Number of classes.
            **about: What else determines predictions, for the configuration.
        """
        super().__init__()
        self._clock = clock_of(scheduler)
        self._like = like.new_empty(0)  # a module without parameters has neither place nor type
        self.register_to_config(  # type: ignore[no-untyped-call]
            in_channels=like.shape[1],
            sample_size=like.shape[2] if like.shape[2] == like.shape[3] else tuple(like.shape[2:]),
            num_class_embeds=classes + 1,
            **about,
        )

    @property
    def device(self) -> torch.device:
        """Where states are."""
        return self._like.device

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of states."""
        return self._like.dtype

    def forward(
        self, sample: Tensor, timestep: Any, class_labels: Tensor, return_dict: bool = False
    ) -> tuple[Tensor, ...]:
        """The prediction at the noise level at which the scheduler stands.

        Args:
            sample: States as the scheduler shows them to a network.
            timestep: The time step of the run.
            class_labels: Class of each row.
            return_dict: Has no effect: the prediction comes in a tuple.

        Raises:
            ConfigError: if the time step is none of the run's, or a class has no data.
        """
        clock = self._clock
        clock.restart()  # steps do not matter here
        level = clock.read(timestep).level
        x = sample.flatten(1) / clock.shown(level)
        prediction = from_denoised(self.denoised(x, level, class_labels), x, level, clock.output)
        return (prediction.to(sample.dtype).reshape(sample.shape),)

    @abstractmethod
    def denoised(self, x: Tensor, level: NoiseLevel, labels: Tensor) -> Tensor:
        """The denoised mean of each row (n, dim), in unscaled coordinates."""
