"""The context that guides a pipeline: listen at the network, speak at the scheduler.

The network's predictions are recorded as they are made. At the scheduler's step, where the state and its noise level
are known, they are combined anew, and what the pipeline itself had combined shows which they are, and is dropped. No
source and no class is changed: only these instances are, and leaving the context undoes it.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from orthoscope.calls import verb
from orthoscope.denoise import Memory
from orthoscope.errors import ConfigError, StoppedError
from orthoscope.guidance.given import as_schedule
from orthoscope.guidance.grammar import shown_schedule
from orthoscope.guidance.rules import Rule, shown_rule
from orthoscope.guidance.rules.given import as_rule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.integrations.diffusers.combine import combined, for_run, strength
from orthoscope.integrations.diffusers.discover import Layout, discover
from orthoscope.integrations.diffusers.evidence import clock_of
from orthoscope.integrations.diffusers.network import (
    Call,
    blocks,
    is_caching,
    listening,
    networks_of,
    predicting,
    prediction_in,
    takes_guidance,
)
from orthoscope.integrations.diffusers.record import Evaluation, GuidanceLog, measured
from orthoscope.prediction import Form

_PLANNED = "_num_timesteps"  # where pipelines say how many of the scheduler's timesteps a run visits
_MEAN = "pred_original_sample"  # what a scheduler's step takes where its pipeline has made the denoised mean itself
_ENOUGH = 2  # steps that show a layout, after which it is taken for granted


@verb
@contextmanager
def guided(pipe: Any, schedule: Any, rule: Any = None) -> Iterator[GuidanceLog]:
    """Guide every call of a diffusers pipeline inside the context by a schedule and a rule.

    The pipeline must still be asked for guidance (`guidance_scale > 1`, mostly its default), so that it makes both
    predictions; the value has no effect any more. Which predictions they are is found in the first step that shows it,
    and confirmed at the next. Its images at constant strength w are those of its own `guidance_scale = 1 + w`, up to
    rounding. Calls of other pipelines that share its parts are left alone.

    Args:
        pipe: A pipeline that hands its guided prediction to the `step` of its `scheduler`.
        schedule: Strength over noise level: a number, a text in the grammar of schedules, a JSON file, a schedule, or a
            function of the level; w = 0 is the plain conditional model, -1 the unconditional one.
        rule: How the pair is combined: a text in the grammar of rules, a JSON file, a rule, or a function of the
            predictions; linear if None.

    Yields:
        The log; its datasets are complete once the pipeline has returned.

    Raises:
        ConfigError: if pipeline, scheduler, schedule or rule cannot be used, or the pipeline makes no pair.
        StoppedError: if what the pipeline hands to its scheduler is its guidance of no pair.
    """
    session = _Session(pipe, as_schedule(schedule), as_rule(rule))
    with ExitStack() as undo:
        session.attach(undo)
        yield session.log
        session.conclude()


class _Session:
    """One pipeline between entering and leaving the context."""

    def __init__(self, pipe: Any, schedule: GuidanceSchedule, rule: Rule) -> None:
        if missing := set(rule.needs) - {"cond", "uncond"}:
            raise ConfigError(f"{type(rule).__name__} needs {', '.join(sorted(missing))}, which no pipeline makes")
        self._pipe, self._schedule, self._rule = pipe, schedule, rule
        self._name = type(pipe).__name__
        self._networks = networks_of(pipe)
        self._scheduler = pipe.scheduler
        if isinstance(vars(self._scheduler).get("step"), _Replaced):
            raise ConfigError(f"this {self._name} is guided already; leave the outer context first")
        self._clock = clock_of(self._scheduler)
        self._calls: list[Call] = []
        self._latest: Any = None  # output of the last call
        self._layout: Layout | None = None
        self._kind: type[torch.nn.Module] | None = None  # of the network that makes the predictions
        self._is_open = False  # whether this is inside the context
        self._order: Sequence[str] = ()  # which prediction each call of a step makes, where they are calls of their own
        self._restart()
        self.log = GuidanceLog(
            attrs={
                "pipeline": self._name,
                "scheduler": type(self._scheduler).__name__,
                "schedule": shown_schedule(schedule),
                "clock": schedule.clock,
                "rule": shown_rule(rule),
                "prediction": str(self._clock.output),
            }
        )

    def _restart(self) -> None:
        """Expect the first step of a run."""
        self._clock.restart()
        self._memory: Memory = None
        self._next_memory: Memory = None  # of the first evaluation of the running step
        self._combining: Rule | None = None  # the rule, once the levels of the run are known
        self._shown = 0  # steps in which the layout was seen

    def attach(self, undo: ExitStack) -> None:
        """Listen and speak until `undo` is closed."""
        for network in self._networks:
            undo.enter_context(listening(network, self._evaluated))
        undo.enter_context(_replacing(self._scheduler, "set_timesteps", self._started))
        undo.enter_context(_replacing(self._scheduler, "step", self._step, self._copy_stepped))
        self._is_open = True
        undo.callback(setattr, self, "_is_open", False)

    def conclude(self) -> None:
        """Make sure that what was heard was answered.

        Raises:
            StoppedError: if a network was called but the scheduler never stepped, so that nothing was guided.
        """
        if self._calls and not any(self.log.runs):
            raise StoppedError(f"{self._name} called its network but never its scheduler's step, so nothing was guided")
        self._finish_run()

    def _finish_run(self) -> None:
        """Make sure that a run whose length its pipeline did not tell went as far as its timesteps, if it matters.

        Raises:
            StoppedError: if it ended early, so that shares of its steps meant shares of others.
        """
        counts = self._schedule.clock == "step" or self._combining is not self._rule
        told = self._combining is None or getattr(self._pipe, _PLANNED, None) is not None
        if counts and not told and self._clock.left > 0:
            raise StoppedError(
                f"{self._name} ended its run {self._clock.left} evaluations before its scheduler's timesteps did, and "
                "said nothing of it, so steps were counted wrong; let the scheduler have the timesteps that are run, "
                "or use a schedule over noise levels"
            )

    def _is_asked(self) -> bool:
        """Whether it is this pipeline that runs, and not another one that has the same network or scheduler."""
        return _running() in (None, self._pipe)

    def _evaluated(self, network: torch.nn.Module, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A network's output, or once the layout is confirmed the last one again where the strength makes it idle."""
        if not self._is_asked():
            return call(*args, **kwargs)
        if self._pipe.scheduler is not self._scheduler:
            raise ConfigError("the pipeline got another scheduler inside `guided`; set it before entering the context")
        idle = self._is_idle(network)
        output = self._latest if idle else call(*args, **kwargs)
        self._calls.append(Call(network, prediction_in(output), is_stand_in=idle))
        self._latest = output
        return output

    def _is_idle(self, network: torch.nn.Module) -> bool:
        """Whether nothing depends on the prediction that a network is asked for."""
        made = [call for call in self._calls if type(call.network) is type(network)]
        if self._shown < _ENOUGH or type(network) is not self._kind or len(made) >= len(self._order):
            return False
        position = self._clock.ahead()
        return position is not None and self._order[len(made)] not in self._rule.needed(
            strength(self._schedule, position)
        )

    def _started(self, set_timesteps: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._is_asked():
            self._finish_run()
            self._restart()
            if hasattr(self._pipe, _PLANNED):
                setattr(self._pipe, _PLANNED, None)  # that of the last run
            self._calls = []
            self.log.runs.append([])
        return set_timesteps(*args, **kwargs)

    def _step(self, step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not self._is_asked():
            return step(*args, **kwargs)
        bound = inspect.signature(step).bind(*args, **kwargs)
        given = bound.arguments
        if self._is_all_predictions(given["model_output"]):  # some ask first what each means as a denoised mean
            return step(*args, **kwargs)
        is_mean = given.get(_MEAN) is not None
        form = "denoised" if is_mean else self._clock.output
        given["model_output"] = self._guided(given["model_output"], given["timestep"], given["sample"], form)
        if is_mean:
            given[_MEAN] = given["model_output"]
        stepped = step(*bound.args, **bound.kwargs)
        self.log.final = stepped[0][: len(self.log.runs[-1][-1].measured["cond_norm"])]
        return stepped

    def _copy_stepped(self, step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A step of a copy of the scheduler, which is no concern of this one unless the pipeline itself makes it."""
        if self._is_open and _running() is self._pipe:
            raise ConfigError(
                f"{self._name} steps a copy of its scheduler (for sound, or frame by frame), which no schedule "
                "reaches, so it cannot be guided as a whole"
            )
        return step(*args, **kwargs)

    def _is_all_predictions(self, output: torch.Tensor) -> bool:
        """Whether the predictions of a step, one from each call, stand below each other as they were made."""
        made = [call.prediction for call in self._calls if call.prediction is not None]
        fits = len(made) > 1 and all(part.shape[1:] == output.shape[1:] for part in made)
        return fits and any(
            len(output) == sum(map(len, order)) and torch.equal(torch.cat(order), output)
            for order in (made, made[::-1])
        )

    def _pair(
        self, calls: Sequence[Call], output: torch.Tensor, sample: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The conditional and the unconditional prediction of a step, with a row for every state.

        Raises:
            ConfigError: if the pipeline made one only.
            StoppedError: if its output contradicts every layout, or that of an earlier step.
        """
        rows = len(sample)
        made = predicting(calls, rows)
        found = blocks(made, rows)
        if len(found) == 1 and _has_equal_halves(sample) and _has_equal_halves(output[:, : sample.shape[1]]):
            rows //= 2  # the scheduler steps both halves
            found = blocks(made, rows)
        if len(found) < 2:
            raise ConfigError(self._no_pair(made, len(sample)))
        state, known = sample[:rows], self._layout
        if self._shown < _ENOUGH or known is None or known.adds_state or known.blocks != len(found):
            output = output[:rows, : state.shape[1]]
            seen = discover(found, state, output, self._name, is_confirmed=self._shown >= _ENOUGH)
            if seen.is_evident and seen.adds_state and getattr(self._pipe, "guidance_rescale", False):
                raise ConfigError(
                    f"{self._name} rescales what it makes of a prediction and the state, which cannot be told apart; "
                    "pass guidance_rescale=0 (rule rescale:phi=...,space=denoised is the same)"
                )
            if self._shown and known is not None and seen.is_evident and not _agree(seen, known):
                raise StoppedError(f"{self._name} changed the pair that it guides in its run, so it cannot be guided")
            if seen.is_evident or known is None or known.adds_state or self._shown == 0:
                self._layout = known = seen
            self._shown += seen.is_evident
            self._remember(made, rows, known)
        return known.pair(found, state)

    def _remember(self, made: Sequence[Call], rows: int, layout: Layout) -> None:
        """Which call of a step makes which prediction, where each makes one and nothing in them counts calls."""
        self._kind = type(made[-1].network)
        alone = len(made) == 2 and all(call.prediction is not None and len(call.prediction) == rows for call in made)
        counts = any(map(is_caching, self._networks))
        roles = ("cond", "uncond") if layout.cond == 0 else ("uncond", "cond")
        self._order = roles if alone and not counts and not layout.adds_state else ()

    def _no_pair(self, made: Sequence[Call], rows: int) -> str:
        """What to do about a step without a pair."""
        if not made:
            return (
                f"{self._name} stepped its scheduler, and none of its networks was heard to predict anything for the "
                f"{rows} states, so it cannot be guided"
            )
        if self._layout is not None and self.log.runs and self.log.runs[-1]:
            return (
                f"{self._name} made no pair of predictions to combine in step {len(self.log.runs[-1])} after it had "
                "made them: leave its guidance on until the end, without callbacks or settings that end it; strength "
                "0 is the same, as in step:early=6.5,late=0,switch=60%"
            )
        known = inspect.signature(type(self._pipe).__call__).parameters if callable(self._pipe) else {}
        none = f"{self._name} made no pair of predictions to combine: "
        embedded = takes_guidance(made[-1].network)
        if "true_cfg_scale" in known:
            other = ", which is not its guidance_scale, an input of the network" if embedded else ""
            return f"{none}pass true_cfg_scale > 1 and a negative_prompt{other}; the scale's value will not matter"
        if embedded:
            return f"{none}its network is distilled, with guidance an input of its one evaluation; use one that is not"
        return f"{none}pass guidance_scale > 1; the scale's value will not matter"

    def _guided(self, output: torch.Tensor, timestep: Any, sample: torch.Tensor, form: Form) -> torch.Tensor:
        """The guided prediction in place of the pipeline's own, in its shape and precision."""
        calls, self._calls = self._calls, []
        cond, uncond = self._pair(calls, output, sample)
        made = (call for call in calls if type(call.network) is self._kind)
        idle = {name for name, call in zip(self._order, made, strict=False) if call.is_stand_in}
        channels, rows = sample.shape[1], len(cond)
        position = self._clock.read(timestep, getattr(self._pipe, _PLANNED, None))
        if self._combining is None:
            self._combining = for_run(self._rule, self._clock)
        w = strength(self._schedule, position)
        if position.is_first:  # all evaluations of a step see what was remembered before it
            self._memory = self._next_memory
        result, memory = combined(self._combining, w, (cond, uncond), sample[:rows], position.level, form, self._memory)
        if position.is_first:
            self._next_memory = memory
        if not self.log.runs:  # the timesteps were set before the context was entered
            self.log.runs.append([])
        seen = measured(
            None if "cond" in idle else cond,
            None if "uncond" in idle else uncond,
            result,
            position.level,
            form,
        )
        self.log.attrs["prediction"] = str(form)
        self.log.runs[-1].append(Evaluation(level=position.level, strength=w, passes=2 - len(idle), measured=seen))
        result = result.to(output.dtype)
        if rows < len(sample):
            result = torch.cat([result, result])
        return torch.cat([result, output[:, channels:]], dim=1)


def _agree(a: Layout, b: Layout) -> bool:
    return (a.blocks, a.cond, a.uncond, a.adds_state) == (b.blocks, b.cond, b.uncond, b.adds_state)


def _has_equal_halves(part: torch.Tensor) -> bool:
    return len(part) % 2 == 0 and torch.equal(*part.tensor_split(2))


def _running() -> Any:
    """The innermost pipeline that is running; None in a loop written by hand."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "__call__" and hasattr(own := frame.f_locals.get("self"), "register_modules"):
            return own
        frame = frame.f_back
    return None


class _Replaced:
    """A method of one instance inside the context; a copy of the instance has its own again, or one for copies."""

    def __init__(
        self, part: Any, name: str, around: Callable[..., Any], copied: Callable[..., Any] | None = None
    ) -> None:
        self._part, self._name, self._method, self._around = part, name, getattr(part, name), around
        self._copied = copied
        functools.update_wrapper(self, self._method)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._around(self._method, *args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copy = memo.get(id(self._part))
        if copy is None:
            return self
        if self._copied is not None:
            return _Replaced(copy, self._name, self._copied, self._copied)
        return types.MethodType(getattr(type(copy), self._name), copy)


@contextmanager
def _replacing(
    part: Any, name: str, around: Callable[..., Any], copied: Callable[..., Any] | None = None
) -> Iterator[None]:
    """Replace a method of one instance by `around(method, ...)`, with the method's own signature."""
    own = vars(part).get(name)
    setattr(part, name, _Replaced(part, name, around, copied))
    try:
        yield
    finally:
        delattr(part, name)
        if own is not None:
            setattr(part, name, own)
