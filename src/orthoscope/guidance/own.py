"""Schedules of one's own: any function of the noise level, and the decorator that gives it a name. No torch here.

@osc.schedule("fading", switches=[1.0])
def fading(level):
return 3 / (1 + level.sigma) if level.time < 1 else 0.0
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from orthoscope import registered
from orthoscope.calls import verb
from orthoscope.errors import ConfigError, OrthoscopeError, in_one_line
from orthoscope.guidance.schedules import SCHEDULES, Clock, GuidanceSchedule, Tabulated
from orthoscope.guidance.specs import Types
from orthoscope.guidance.texts import joined
from orthoscope.process import NoiseLevel
from orthoscope.serialize import VERSION
from orthoscope.sources import code_of

T = TypeVar("T")

registered.SCHEDULES.taken = frozenset(name.lower() for name in SCHEDULES)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSchedule(GuidanceSchedule):
    """The strength that a function of the noise level gives.

    Attributes:
        call: The function, or an object that is called like one. It sees `level.time`, `level.sigma` and the rest of
            a `NoiseLevel`, a number each, or one per row; where it cannot take several, it is asked one by one.
        jumps: Positions on the clock at which it jumps or bends, so that no step straddles them.
        clock: What these are positions on; `step` for a function that reads `level.step` and `level.steps`.
    """

    call: Callable[[NoiseLevel], Any] = field(hash=False)
    jumps: tuple[float, ...] = ()
    OPTIONS: ClassVar[Mapping[str, str]] = {"clock": "Clock", "switches": "tuple[float, ...]"}
    _knots: ClassVar[tuple[str, ...]] = ("jumps", "`switches`")  # what messages call them
    _tables: ClassVar[tuple[str, ...]] = ("jumps", "`switches`")

    @property
    def name(self) -> str:
        """What messages call it."""
        return registered.name_of(self.call)

    @property
    def graded(self) -> bool:
        """True: nothing is known of how it ends."""
        return True

    def strength(self, level: NoiseLevel) -> float | NDArray[np.float64]:
        """The strength at a noise level: a number, or one per row.

        Raises:
            ConfigError: if the function fails, or gives something else than a number.
        """
        time = np.asarray(level.time, dtype=np.float64)
        if time.ndim == 0:
            return self._number(replace(level, time=float(time)))
        found = self._several(level)
        if found is None or found.shape != time.shape or np.isnan(found).any():
            found = np.empty(time.shape)
            for index in np.ndindex(time.shape):
                found[index] = self._number(level.of_rows(index))
        return found

    def _several(self, level: NoiseLevel) -> NDArray[np.float64] | None:
        """What the function makes of an array of times; None if it cannot."""
        try:
            return np.array(self.call(level.copied()), dtype=np.float64)  # it may change the times in place
        except (Exception, SystemExit):
            return None

    def _number(self, level: NoiseLevel) -> float:
        try:
            value = float(self.call(level))
        except OrthoscopeError:
            raise
        except (Exception, SystemExit) as error:
            raise ConfigError(
                f"the schedule {self.name} gives no strength at variance time {level.time:.4g}: {in_one_line(error)}",
                field="schedule",
            ) from error
        if math.isnan(value):
            raise ConfigError(
                f"the schedule {self.name} gives NaN at variance time {level.time:.4g}; a strength is a number",
                field="schedule",
            )
        return value

    def _check(self, name: str, value: Any) -> None:
        if name == "jumps":
            GuidanceSchedule._check(self, "`switches`", value)

    def _numbers(self, name: str, value: Any) -> tuple[Any, ...]:
        return GuidanceSchedule._numbers(self, "`switches`", value) if name == "jumps" else (value,)

    def _strength(self, at: NDArray[np.float64], noisiness: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self.strength(NoiseLevel(time=noisiness)))

    def _jumps(self) -> tuple[float, ...]:
        return self.jumps

    def limit(self) -> float | None:
        """The strength at infinite time, if the function knows one.

        Raises:
            ConfigError: if it gives none at a finite time either.
        """
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                value = float(self.call(NoiseLevel(time=math.inf, alpha=0.0)))
            except (Exception, SystemExit):
                if self.clock != "step":
                    self._number(NoiseLevel(time=1.0))  # what fails anywhere says so itself
                return None
        return value if math.isfinite(value) else None

    def resolved(self, times: Any) -> GuidanceSchedule:
        """Itself, unless it counts steps: then the strengths of those of a run."""
        if self.clock != "step":
            return self
        steps = len(times) - 1
        w = [self._number(NoiseLevel(time=float(times[k]), step=k, steps=steps)) for k in range(steps)]
        knots = [float(t) for k in range(steps) for t in (times[k], times[k + 1])]
        return Tabulated(at=tuple(knots[::-1]), strengths=tuple(np.repeat(w, 2)[::-1].tolist()))

    def to_spec(self) -> dict[str, Any]:
        """What stands in a file: where the function is found again, with its settings."""
        place, settings = spelled_out(self.call, registered.SCHEDULES)
        named: dict[str, Any] = {"type": "FunctionSchedule", "version": VERSION, "place": place}
        if settings:
            named["settings"] = settings
        return named | {"clock": self.clock, "switches": self.jumps}

    def identity(self) -> str | None:
        """A fingerprint of the code of the function."""
        return code_of(self.call)

    @classmethod
    def from_spec(
        cls, place: str, settings: Mapping[str, Any] | None = None, clock: Clock = "variance", switches: Any = ()
    ) -> GuidanceSchedule:
        """The schedule of a file; its module must be imported already."""
        call = found_again(place, settings or {}, registered.SCHEDULES)
        return cls(call=call, clock=clock, jumps=switches)

    def text(self) -> str:
        """The text that is read back as this schedule; what goes without saying is left out.

        Raises:
            ConfigError: if there is none.
        """
        place, settings = spelled_out(self.call, registered.SCHEDULES)
        usual = own_schedule(self.call)
        said = {"clock": (self.clock, usual.clock), "switches": (self.jumps, getattr(usual, "jumps", ()))}
        return ":".join(filter(None, (place, joined(settings | {k: a for k, (a, b) in said.items() if a != b}))))


SCHEDULE_TYPES = Types(
    SCHEDULES | {"FunctionSchedule": FunctionSchedule}, registered.SCHEDULES, GuidanceSchedule
)  # fmt: skip


def own_schedule(thing: Any, **options: Any) -> GuidanceSchedule:
    """A function, a class or an object as a schedule, with what it was registered with; options say otherwise.

    Raises:
        ConfigError: if it cannot be called, or is a schedule already and there are options.
    """
    made = registered.put_together(thing, {}, "schedule")
    if isinstance(made, GuidanceSchedule):
        return made
    if not callable(made):
        raise ConfigError(
            f"a `schedule` is called with a noise level; an object of {type(made).__name__} cannot be called",
            field="schedule",
        )
    known = registered.SCHEDULES.options(thing) or registered.SCHEDULES.options(type(made))
    chosen = {**known, **options}
    jumps = tuple(float(at) for at in chosen.pop("switches", ()))
    code_of(made)  # read now, not when its file may have been edited
    return FunctionSchedule(call=made, jumps=jumps, **chosen)


def spelled_out(call: Any, registry: registered.Registry) -> tuple[str, dict[str, Any]]:
    """Where a function or the class of an object is found again, and the settings of the object.

    Raises:
        ConfigError: if it is not found again.
    """
    if registry.knows(call):
        return registry.text(call), {}
    thing, settings = registered.taken_apart(call)
    return registry.text(thing), settings


def found_again(place: str, settings: Mapping[str, Any], registry: registered.Registry) -> Any:
    """The function or object that `spelled_out` wrote, of what is registered or imported already.

    Raises:
        ConfigError: if it is neither, or settings are given that are not those of a dataclass.
    """
    found = registry.find(place, imports=False)
    if found is None or found[1]:
        raise registry.unknown(place)
    thing = found[0]
    called(thing, registry.kind)
    if settings and not dataclasses.is_dataclass(thing):
        raise ConfigError(f"{place} is no dataclass and has no settings; got {', '.join(settings)}")
    return registered.put_together(thing, settings, registry.kind)


def called(thing: Any, kind: str) -> Callable[..., Any]:
    """What is called with the arguments: a function or an object itself, of a class the method without its object.

    Raises:
        ConfigError: if nothing is.
    """
    if not isinstance(thing, type):
        return cast("Callable[..., Any]", thing)
    if not any("__call__" in vars(base) for base in thing.__mro__):
        raise ConfigError(f"{registered.name_of(thing)} is no {kind}: its objects cannot be called", field=kind)
    return partial(thing.__call__, None)


def _check_takes_a_level(thing: Any) -> None:
    """Reject what cannot be called with a noise level alone."""
    if isinstance(thing, type) and issubclass(thing, GuidanceSchedule):
        return
    try:
        signature = inspect.signature(called(thing, "schedule"))
    except (TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        return  # of a built-in function, which tells none
    try:
        signature.bind(None)
    except TypeError as error:
        raise ConfigError(
            f"a schedule is called with (level); {registered.name_of(thing)} takes {signature}", field="schedule"
        ) from error


@verb
def schedule(name: Any = None, *, clock: Clock = "variance", switches: Iterable[float] = ()) -> Any:
    """Register a function of the noise level, or a class of such, as a schedule that texts may name.

    Args:
        name: Its name in texts; that of the function, with dashes, if left out.
        clock: What `switches` are positions on; `step` for a function that reads `level.step` and `level.steps`.
        switches: Where the function jumps or bends.

    Raises:
        ConfigError: if there is no such clock, the switches are no positions on it, or the function takes no level.
    """
    if isinstance(switches, str) or not isinstance(switches, Iterable):
        raise ConfigError(f"`switches` is a list of positions on the clock, got {switches!r:.40}", field="switches")
    jumps = FunctionSchedule(call=_no_strength, clock=clock, jumps=tuple(switches)).jumps
    return registered.naming(name, registered.SCHEDULES, _check_takes_a_level, clock=clock, switches=jumps)


def _no_strength(level: NoiseLevel) -> float:
    return 0.0
