"""The context that guides a pipeline: listen at the network, speak at the scheduler.

The network's predictions are recorded as they are made. At the scheduler's step, where the state and its noise level
are known, they are combined anew, and what the pipeline itself had combined is dropped. No source and no class is
changed: only these instances are, and leaving the context undoes it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
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
from orthoscope.integrations.diffusers.combine import combined, strength
from orthoscope.integrations.diffusers.evidence import check_run, clock_of
from orthoscope.integrations.diffusers.layout import Call, Layout, layout_of, networks_of, pair, verified
from orthoscope.integrations.diffusers.record import Evaluation, GuidanceLog, measured

_MARK = "_orthoscope_guided"
_PLANNED = "_num_timesteps"  # where pipelines say how many of the scheduler's timesteps a run visits


@verb
@contextmanager
def guided(pipe: Any, schedule: Any, rule: Any = None, *, layout: Layout | None = None) -> Iterator[GuidanceLog]:
    """Guide every call of a diffusers pipeline inside the context by a schedule and a rule.

    The pipeline must still be asked for guidance (`guidance_scale > 1`, mostly its default), so that it makes both
    predictions; the value has no effect any more. Its images at constant strength w are those of its own
    `guidance_scale = 1 + w`, up to rounding.

    Args:
        pipe: A pipeline whose class is listed in `layout.LAYOUTS`, or derives from one that is.
        schedule: Strength over noise level: a number, a text in the grammar of schedules, a JSON file, a schedule, or a
            function of the level; w = 0 is the plain conditional model, -1 the unconditional one.
        rule: How the pair is combined: a text in the grammar of rules, a JSON file, a rule, or a function of the
            predictions; linear if None.
        layout: How the pipeline calls its network, where that is not known here. The run checks it.

    Yields:
        The log; its datasets are complete once the pipeline has returned.

    Raises:
        ConfigError: if pipeline, scheduler, schedule or rule cannot be used, or the pipeline makes no pair.
        StoppedError: if the run contradicts the layout.
    """
    if not (layout is None or isinstance(layout, Layout)):
        raise ConfigError(f"`layout` is a Layout(...), got {type(layout).__name__}", field="layout")
    session = _Session(pipe, as_schedule(schedule), as_rule(rule), layout or layout_of(pipe))
    with ExitStack() as undo:
        session.attach(undo)
        yield session.log
        session.conclude()


class _Session:
    """One pipeline between entering and leaving the context."""

    def __init__(self, pipe: Any, schedule: GuidanceSchedule, rule: Rule, layout: Layout) -> None:
        if missing := set(rule.needs) - {"cond", "uncond"}:
            raise ConfigError(f"{type(rule).__name__} needs {', '.join(sorted(missing))}, which no pipeline makes")
        self._pipe, self._schedule, self._rule, self._layout = pipe, schedule, rule, layout
        self._name = type(pipe).__name__
        self._scheduler = pipe.scheduler
        if any(hasattr(vars(part).get(name), _MARK) for part, name in self._replaced()):
            raise ConfigError(f"this {self._name} is guided already; leave the outer context first")
        self._clock = clock_of(self._scheduler)
        self._calls: list[Call] = []
        self._branch: str | None = None
        self._latest: Any = None  # output of the last call
        self._memory: Memory = None
        self._next_memory: Memory = None  # of the first evaluation of the running step
        self._combining: Rule | None = None  # the rule, once the levels of the run are known
        self._is_verified = False
        self.log = GuidanceLog(
            attrs={
                "pipeline": self._name,
                "scheduler": type(self._scheduler).__name__,
                "schedule": shown_schedule(schedule),
                "clock": schedule.clock,
                "rule": shown_rule(rule),
                "prediction": self._clock.output,
            }
        )

    def _replaced(self) -> list[tuple[Any, str]]:
        """Methods of instances that are replaced inside the context."""
        networks = networks_of(self._pipe, self._layout) if self._layout.calls == "two" else []
        return [
            (self._scheduler, "step"),
            (self._scheduler, "set_timesteps"),
            *((network, name) for network in networks for name in ("cache_context", "forward")),
        ]

    def attach(self, undo: ExitStack) -> None:
        """Listen and speak until `undo` is closed."""
        for network in networks_of(self._pipe, self._layout):
            undo.callback(network.register_forward_hook(self._heard).remove)
        around = {
            "step": self._step,
            "set_timesteps": self._started,
            "cache_context": self._named,
            "forward": self._evaluated,
        }
        for part, name in self._replaced():
            undo.enter_context(_replacing(part, name, around[name]))

    def conclude(self) -> None:
        """Make sure that what was heard was answered.

        Raises:
            StoppedError: if the network was called but the scheduler never stepped, so that nothing was guided.
        """
        if self._calls and not any(self.log.runs):
            raise StoppedError(
                f"{self._name} called its network but never its scheduler's step, so nothing was guided; its layout is "
                "not the assumed one"
            )
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

    def _heard(self, network: torch.nn.Module, args: Any, output: Any) -> None:
        if self._pipe.scheduler is not self._scheduler:
            raise ConfigError("the pipeline got another scheduler inside `guided`; set it before entering the context")
        prediction = output if isinstance(output, torch.Tensor) else output[0]
        self._calls.append(Call(self._branch, prediction, is_stand_in=output is self._latest))
        self._latest = output

    @contextmanager
    def _named(self, cache_context: Callable[..., Any], name: str, *args: Any, **kwargs: Any) -> Iterator[None]:
        self._branch = name
        try:
            with cache_context(name, *args, **kwargs):
                yield
        finally:
            self._branch = None

    def _evaluated(self, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The network's output, or once the layout is verified the last one again where the strength makes it idle."""
        if self._is_verified and self._branch in ("cond", "uncond"):
            position = self._clock.ahead()
            if position is not None and self._branch not in self._rule.needed(strength(self._schedule, position)):
                return self._latest
        return forward(*args, **kwargs)

    def _started(self, set_timesteps: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._finish_run()
        self._clock.restart()
        if hasattr(self._pipe, _PLANNED):
            setattr(self._pipe, _PLANNED, None)  # that of the last run
        self._calls, self._memory, self._next_memory = [], None, None
        self._combining, self._is_verified = None, False
        self.log.runs.append([])
        return set_timesteps(*args, **kwargs)

    def _step(self, step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        bound = inspect.signature(step).bind(*args, **kwargs)
        given = bound.arguments
        given["model_output"] = self._guided(given["model_output"], given["timestep"], given["sample"])
        stepped = step(*bound.args, **bound.kwargs)
        self.log.final = stepped[0][: len(self.log.runs[-1][-1].measured["cond_norm"])]
        return stepped

    def _guided(self, output: torch.Tensor, timestep: Any, sample: torch.Tensor) -> torch.Tensor:
        """The guided prediction in place of the pipeline's own, in its shape and precision."""
        calls, self._calls = self._calls, []
        idle = {call.branch for call in calls if call.is_stand_in}
        cond, uncond = pair(self._layout, calls, sample, self._name)
        channels, rows = sample.shape[1], len(cond)
        if not self._is_verified:
            self._is_verified = verified(self._layout, cond, uncond, output[:rows, :channels], self._name)
        position = self._clock.read(timestep, getattr(self._pipe, _PLANNED, None))
        if self._combining is None:
            check_run(self._clock)
            self._combining = self._rule.resolved(self._clock.times)
        w = strength(self._schedule, position)
        state = sample[:rows]
        if position.is_first:  # all evaluations of a step see what was remembered before it
            self._memory = self._next_memory
        result, memory = combined(
            self._combining, w, (cond, uncond), state, position.level, self._clock.output, self._memory
        )
        if position.is_first:
            self._next_memory = memory
        if not self.log.runs:  # the timesteps were set before the context was entered
            self.log.runs.append([])
        seen = measured(
            None if "cond" in idle else cond,
            None if "uncond" in idle else uncond,
            result,
            position.level,
            self._clock.output,
        )
        self.log.runs[-1].append(Evaluation(level=position.level, strength=w, passes=2 - len(idle), measured=seen))
        result = result.to(output.dtype)
        if self._layout.doubled_state:
            result = torch.cat([result, result])
        return torch.cat([result, output[:, channels:]], dim=1)


@contextmanager
def _replacing(part: Any, name: str, around: Callable[..., Any]) -> Iterator[None]:
    """Replace a method of one instance by `around(method, ...)`, with the method's own signature."""
    method, own = getattr(part, name), vars(part).get(name)

    @functools.wraps(method)
    def replaced(*args: Any, **kwargs: Any) -> Any:
        return around(method, *args, **kwargs)

    setattr(replaced, _MARK, True)
    setattr(part, name, replaced)
    try:
        yield
    finally:
        delattr(part, name)
        if own is not None:
            setattr(part, name, own)
