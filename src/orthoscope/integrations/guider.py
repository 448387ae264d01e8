"""A guider for the modular pipelines of diffusers, with the schedules and rules of this package.

    guider = OrthoscopeGuidance(schedule="step:early=6.5,late=-1,switch=60%")
    pipe.update_components(guider=guider)

A modular pipeline tells its guider the step, the number of steps and the timestep. That is enough for a schedule over
the steps with linear guidance. Noise levels, and the state that bent rules look at, need the pipeline's scheduler:
`guider.attach(pipe.scheduler)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.guiders.guider_utils import BaseGuidance, GuiderOutput

from orthoscope.denoise import Memory
from orthoscope.errors import ConfigError
from orthoscope.guidance.given import as_schedule
from orthoscope.guidance.grammar import format_schedule, schedule_of, shown_schedule
from orthoscope.guidance.rules import LinearCFG, Rule, format_rule, shown_rule
from orthoscope.guidance.rules.given import as_rule
from orthoscope.guidance.rules.grammar import rule_of
from orthoscope.guidance.schedules import Constant
from orthoscope.integrations.diffusers.clock import Position, SchedulerClock
from orthoscope.integrations.diffusers.combine import combined, for_run, strength
from orthoscope.integrations.diffusers.evidence import clock_of
from orthoscope.process import NoiseLevel

# Networks whose output is what the scheduler takes it for, and whose input is the scheduler's state.
_KNOWN_NETWORKS = ("SD3Transformer2DModel", "UNet2DConditionModel")


class OrthoscopeGuidance(BaseGuidance):
    """Guidance whose strength follows a schedule; its config is the two texts.

    A run always prepares both embeddings, whatever the strength, and evaluates the unconditional prediction only where
    the rule needs it. What one run leaves behind plays no part in the next.

    Args:
        schedule: Strength over noise level, 0 for plain conditional: the scale of pipelines is 1 + w.
        rule: How the predictions are combined.
    """

    _input_predictions: Any = ["pred_cond", "pred_uncond"]  # noqa: RUF012 - diffusers asks for a list

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, schedule: Any = "constant:6.5", rule: Any = "cfg") -> None:
        """Read the schedule and the rule.

        Raises:
            ConfigError: if one of them cannot be read.
        """
        super().__init__()
        # A text may come from the config of a saved pipeline, which imports nothing.
        self._schedule = schedule_of(schedule, imports=False) if isinstance(schedule, str) else as_schedule(schedule)
        self._rule = rule_of(rule, imports=False) if isinstance(rule, str) else as_rule(rule)
        # Texts, and none of them a default: diffusers takes arguments without a keyword for such, and drops them later.
        texts = {"schedule": shown_schedule(self._schedule), "rule": shown_rule(self._rule)}
        self.register_to_config(**texts, _use_default_values=[])  # type: ignore[no-untyped-call]
        self._scheduler: Any = None
        self._clock: SchedulerClock | None = None
        self._undo: Callable[[], None] | None = None
        self._reset()

    def attach(self, scheduler: Any) -> OrthoscopeGuidance:
        """The same guider, reading noise levels from the pipeline's scheduler.

        Raises:
            ConfigError: if the scheduler's noise levels are not known.
        """
        self._scheduler, self._clock = scheduler, clock_of(scheduler)
        return self

    def save_config(self, save_directory: Any, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Write the two texts.

        Raises:
            ConfigError: if the schedule or the rule has none that could be read back.
        """
        format_schedule(self._schedule), format_rule(self._rule)  # refused here, where they are written
        super().save_config(save_directory, push_to_hub, **kwargs)

    def new(self, **kwargs: Any) -> OrthoscopeGuidance:
        """A copy with another config and the same scheduler."""
        made: OrthoscopeGuidance = super().new(**kwargs)  # type: ignore[no-untyped-call]
        return made if self._scheduler is None else made.attach(self._scheduler)

    @property
    def num_conditions(self) -> int:
        """Embeddings that a pipeline must prepare. Asked before a run knows its steps, so it cannot depend on them."""
        return 2 if self._enabled else 1

    @property
    def is_conditional(self) -> bool:
        """Whether the prediction being made is the conditional one, which always comes first."""
        return self._count_prepared == 1

    def _reset(self) -> None:
        self._memory: Memory = None  # what the rule knew when the step began
        self._remembered: Memory = None  # what its first evaluation adds, for the next step
        self._combining: Rule | None = None  # the rule, once the levels of the run are known
        self._position: Position | None = None
        self._state: torch.Tensor | None = None
        self._network: str = ""
        self._first_step = 0
        if self._clock is not None:
            self._clock.restart()

    def set_state(self, step: int, num_inference_steps: int, timestep: Any) -> None:
        """Begin an evaluation; one that does not follow the last one begins a run.

        Raises:
            ConfigError: if the schedule or the rule needs noise levels and no scheduler is attached.
        """
        if self._step is None or (step, num_inference_steps) != (self._step + 1, self._num_inference_steps):
            self._reset()
            self._first_step = step
        super().set_state(step, num_inference_steps, timestep)
        self._position = self._read(step, num_inference_steps, timestep)
        if self._position.is_first:
            self._memory = self._remembered

    def _read(self, step: int, steps: int, timestep: Any) -> Position:
        if self._clock is not None:
            first = self._first_step
            # Pipelines count the steps of a run that goes to the end, and the evaluations of one that is cut short.
            whole = self._clock.count(self._clock.remaining(timestep)) == steps - first
            position = self._clock.read(timestep, None if whole else steps - first)
            level = position.level
            level = replace(level, step=(level.step or 0) + first, steps=(level.steps or 0) + first)
            if self._combining is None:
                self._combining = for_run(self._rule, self._clock)
            return replace(position, level=level)
        if self._rule != LinearCFG() or not (self._schedule.clock == "step" or isinstance(self._schedule, Constant)):
            raise ConfigError(
                f"schedule {shown_schedule(self._schedule)} with rule {shown_rule(self._rule)} needs noise levels, "
                "which modular pipelines do not tell; call guider.attach(pipe.scheduler), or use clock=step and cfg"
            )
        if step >= steps:
            raise ConfigError(
                f"evaluation {step} of a run of {steps} steps: this scheduler evaluates more than once "
                "per step; call guider.attach(pipe.scheduler), so that steps can be told from evaluations"
            )
        self._combining = self._rule
        level = NoiseLevel(time=float("nan"), step=step, steps=steps)
        return Position(level=level, is_first=True)

    def _strength(self) -> float:
        if self._position is None:
            raise ConfigError("OrthoscopeGuidance is asked for a prediction before set_state told it the step")
        return strength(self._schedule, self._position)

    def _batches(self, make: Callable[[int, str], Any]) -> list[Any]:
        """The batches to evaluate, conditional first; never the conditional one alone where the rule needs both."""
        cond = make(0, "pred_cond")
        if not self._enabled or (self._combining or self._rule).needed(self._strength()) == ("cond",):
            return [cond]
        uncond = make(1, "pred_uncond")
        _check_pair(cond.as_dict(), uncond.as_dict(), self._identifier_key)
        return [cond, uncond]

    def prepare_inputs(self, data: Any) -> list[Any]:
        """The batches to evaluate, from pairs of conditional and unconditional inputs."""
        return self._batches(lambda index, name: self._prepare_batch(data, index, name))

    def prepare_inputs_from_block_state(self, data: Any, input_fields: dict[str, Any]) -> list[Any]:
        """The batches to evaluate, from names of conditional and unconditional inputs."""
        return self._batches(lambda index, name: self._prepare_batch_from_block_state(input_fields, data, index, name))

    def prepare_models(self, denoiser: torch.nn.Module) -> None:
        """Look at the state that the network gets, where the rule needs it."""
        super().prepare_models(denoiser)
        self.cleanup_models(denoiser)
        if self._enabled and not self._rule.is_linear:
            self._network = type(denoiser).__name__
            self._undo = denoiser.register_forward_pre_hook(self._seen, with_kwargs=True).remove

    def cleanup_models(self, denoiser: torch.nn.Module) -> None:
        """Look away."""
        if self._undo is not None:
            self._undo()
            self._undo = None

    def _seen(self, network: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._state = args[0] if args else kwargs.get("sample", kwargs.get("hidden_states"))

    def __call__(self, data: list[Any]) -> GuiderOutput:
        """The guided prediction of evaluated batches."""
        return self.forward(**{getattr(batch, self._identifier_key): batch.noise_pred for batch in data})

    def forward(self, pred_cond: torch.Tensor, pred_uncond: torch.Tensor | None = None) -> GuiderOutput:
        """The guided prediction in the precision of the conditional one.

        Raises:
            ConfigError: if the rule needs the state of a network whose conventions are not known.
        """
        pred = pred_cond
        if self._enabled and self._combining is not None and self._position is not None:
            pair = (pred_cond, pred_cond if pred_uncond is None else pred_uncond)
            level, output = self._position.level, "noise" if self._clock is None else self._clock.output
            state = pred_cond if self._rule.is_linear else self._seen_state(pred_cond)
            guided, memory = combined(self._combining, self._strength(), pair, state, level, output, self._memory)
            if self._position.is_first:
                self._remembered = memory
            pred = guided.to(pred_cond.dtype)
        return GuiderOutput(pred=pred, pred_cond=pred_cond, pred_uncond=pred_uncond)

    def _seen_state(self, prediction: torch.Tensor) -> torch.Tensor:
        """The state in the scheduler's scale."""
        if self._network not in _KNOWN_NETWORKS:
            raise ConfigError(
                f"how {self._network or 'this network'} states its prediction is not established here, which rule "
                f"{shown_rule(self._rule)} must know; use a linear rule, or one of {', '.join(_KNOWN_NETWORKS)}"
            )
        if self._state is None or self._state.shape != prediction.shape:
            raise ConfigError(
                f"the input of {self._network} is not the state alone (its shape is not that of the prediction), so "
                f"rule {shown_rule(self._rule)} cannot be applied; use a linear rule"
            )
        if self._clock is None or self._position is None:
            return self._state
        level = self._position.level
        return self._state * (float(level.alpha) / self._clock.shown(level))  # undo scale_model_input


def _check_pair(cond: Mapping[str, Any], uncond: Mapping[str, Any], identifier: str) -> None:
    """Refuse a pair whose second half is missing or the same as the first."""
    names = cond.keys() - {identifier}
    lacking = [name for name in names if cond[name] is not None and uncond.get(name) is None]
    if lacking or all(cond[name] is uncond.get(name) for name in names):
        raise ConfigError(
            "there are no unconditional embeddings to guide away from"
            + (f" ({', '.join(sorted(lacking))} missing)" if lacking else "")
            + "; give the pipeline a negative prompt or negative embeddings"
        )
