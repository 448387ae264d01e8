"""What people ask for, in whatever form they have it, as plans, with the pipelines they are for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

from orthoscope.audits.plan import Audit
from orthoscope.audits.presets import planned
from orthoscope.audits.run import Job, executor_of
from orthoscope.calibration import Calibration
from orthoscope.errors import ConfigError, unknown
from orthoscope.forecasts.plan import Forecast
from orthoscope.guidance.given import as_schedule
from orthoscope.guidance.rules.given import as_rule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.integrations.prompts import as_prompts
from orthoscope.integrations.source import Source

_OPENING = ("device", "dtype", "allow_pickle")
_PLANNING = ("preset", "quick")
_PLACE = ("workers", "scheduler")
_MAKING = ("batch", "images")
_OWN = {"name", "model", "prompts", "scheduler"}  # fields of plans that are asked for in other words


def audit_job(pipe: Any, prompts: Any, settings: Mapping[str, Any]) -> Job:
    """The audit that is asked for.

    Args:
        pipe: A pipeline, as `Source.of` takes it.
        prompts: What it is asked for, as `as_prompts` takes it; None for its classes, where they are few.
        settings: The options of `orthoscope audit` by name.

    Raises:
        ConfigError: if a setting is not known, or cannot be used.
    """
    rest = {name: value for name, value in settings.items() if value is not None}
    opening, planning, place, making = (_taken(rest, names) for names in (_OPENING, _PLANNING, _PLACE, _MAKING))
    address = place.get("scheduler")
    if address is not None and ":" not in str(address):
        raise ConfigError(
            f"`scheduler` is the address of a Dask cluster, such as tcp://host:8786, got {address!r}; the scheduler of "
            "the pipeline is `pipeline_scheduler`"
        )
    source = Source.of(pipe, **opening)
    plan = planned(_fields(Audit, rest, (*_OPENING, *_PLANNING, *_PLACE, *_MAKING), source, prompts), **planning)
    return Job(plan=plan, source=replace(source, scheduler=plan.scheduler), executor=executor_of(**place), **making)


def calibration_asked(pipe: Any, prompts: Any, settings: Mapping[str, Any]) -> tuple[Calibration, Source]:
    """The calibration that is asked for, and where its pipeline comes from.

    Args:
        pipe: A pipeline, as `Source.of` takes it.
        prompts: What it is asked for, as `as_prompts` takes it; None for its classes, where they are few.
        settings: The options of `orthoscope calibrate` by name.

    Raises:
        ConfigError: if a setting is not known, or cannot be used.
    """
    given, source = _asked(Calibration, pipe, prompts, settings, {"data": str, "strengths": _listed})
    return Calibration(**given), source


def forecast_asked(pipe: Any, prompts: Any, settings: Mapping[str, Any]) -> tuple[Forecast, Source]:
    """The forecast that is asked for, likewise, with the options of `orthoscope forecast`.

    Raises:
        ConfigError: if a setting is not known, or cannot be used.
    """
    given, source = _asked(Forecast, pipe, prompts, settings, {"schedules": _schedules, "rule": as_rule})
    return Forecast(**given), source


def _asked(
    kind: type[Calibration | Forecast],
    pipe: Any,
    prompts: Any,
    settings: Mapping[str, Any],
    read: Mapping[str, Callable[[Any], Any]],
) -> tuple[dict[str, Any], Source]:
    """The fields of a plan, those named in `read` as it reads them, and where its pipeline comes from."""
    rest = {name: value for name, value in settings.items() if value is not None}
    source = Source.of(pipe, **_taken(rest, _OPENING))
    given = _fields(kind, rest, _OPENING, source, prompts)
    readers: dict[str, Callable[[Any], Any]] = {"prompts": as_prompts, **read}
    for name in given.keys() & readers.keys():
        given[name] = readers[name](given[name])
    return given, replace(source, scheduler=given.get("scheduler"))


def _listed(given: Any) -> tuple[Any, ...]:
    return tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)


def _schedules(given: Any) -> tuple[GuidanceSchedule, ...]:
    return tuple(dict.fromkeys(as_schedule(schedule) for schedule in _listed(given)))


def _taken(settings: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The settings of these names, taken out."""
    return {name: settings.pop(name) for name in names if name in settings}


def _fields(
    kind: type[Audit | Calibration | Forecast],
    settings: Mapping[str, Any],
    others: Iterable[str],
    source: Source,
    prompts: Any,
) -> dict[str, Any]:
    """The fields of a plan that are set.

    Raises:
        ConfigError: if there is none of a name, naming the nearest; `others` would have been understood, too.
    """
    known = ({field.name for field in fields(kind)} - _OWN) | {"pipeline_scheduler"}
    for name in settings:
        if name not in known:
            raise unknown("setting", name, {*known, *others}, field=name)
    own = {"model": source.model, "prompts": prompts, "scheduler": settings.get("pipeline_scheduler")}
    given = {name: value for name, value in settings.items() if name != "pipeline_scheduler"}
    return given | {name: value for name, value in own.items() if value is not None}
