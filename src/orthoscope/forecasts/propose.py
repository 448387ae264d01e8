"""The schedule that is foreseen to guide most while it keeps a given share of the variance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orthoscope.errors import ConfigError
from orthoscope.forecasts.forecaster import Forecaster, Foreseen
from orthoscope.forecasts.plan import Forecast
from orthoscope.forecasts.run import FOLDER
from orthoscope.guidance.rules import RULES
from orthoscope.guidance.schedules import SCHEDULES, Constant, GuidanceSchedule, Linear, Step
from orthoscope.integrations.source import Source
from orthoscope.reading import read_json
from orthoscope.serialize import from_dict
from orthoscope.sweeps.cells import Cells

_PARTS = 8  # of strengths and of the steps
_LATE = (0.0, -0.5, -1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What is proposed, beside the best constant strength.

    Attributes:
        floor: Variance ratio that is to be kept.
        best: The schedule of the largest mean shift whose interval of the variance ratio lies above the floor.
        constant: The best constant strength of these; None if there is none.
        tried: Number of schedules that were looked at.
    """

    floor: float
    best: Foreseen
    constant: Foreseen | None
    tried: int


def candidates(plan: Forecast) -> list[GuidanceSchedule]:
    """Constant, waiting, ending, turning and linear schedules between the strengths that were recorded."""
    assert plan.strength is not None
    w, shares = plan.strength, [part / _PARTS for part in range(1, _PARTS + 1)]
    lows = [late for late in _LATE if late == 0.0 or any(_late(run) <= late for run in plan.recorded)]
    return [
        *(Constant(value=share * w) for share in shares),
        *(Step(early=0, late=w, switch=share, clock="step") for share in shares[:-1]),
        *(Step(early=w, late=late, switch=share, clock="step") for late in lows for share in shares[:-1]),
        *(Linear(w0=0, slope=share * w, clock="step") for share in shares[1::2]),
        *(Linear(w0=w, slope=-share * w, clock="step") for share in shares[1::2]),
    ]


def propose(
    forecaster: Forecaster,
    floor: float,
    *,
    among: Sequence[GuidanceSchedule] = (),
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Proposal:
    """Look among schedules, and ask the pipeline for nothing.

    Args:
        forecaster: What was recorded, and its surrogate.
        floor: Variance ratio that is to be kept.
        among: What is looked at; `candidates` if empty.
        advance: Called with schedules done and in all.

    Raises:
        ConfigError: if the floor is none, or no schedule is foreseen to keep it.
    """
    if not 0 < floor < 2:
        raise ConfigError(
            f"`variance_ratio` is what is to be kept of that at strength 0, between 0 and 2, got {floor:g}"
        )
    asked, found = among or candidates(forecaster.plan), list[Foreseen]()
    for schedule in asked:
        found.append(forecaster.foresee(schedule))
        advance(len(found), len(asked))
    kept = [one for one in found if one.measures and one.measures["variance_ratio"].low >= floor]
    if not kept:
        raise ConfigError(
            f"none of {len(asked)} schedules is foreseen to keep a variance ratio of {floor:g} with its whole "
            "interval; lower `variance_ratio`, or forecast from more `images_per_prompt`"
        )

    def shift(one: Foreseen) -> float:
        return one.measures["mean_shift"].value

    constants = [one for one in kept if isinstance(one.schedule, Constant)]
    return Proposal(
        floor=floor, best=max(kept, key=shift), constant=max(constants, key=shift, default=None), tried=len(asked)
    )


def read_forecaster(folder: Path, *, device: str = "auto") -> Forecaster:
    """The forecaster behind the folder of a forecast, whose pipeline is opened and not run.

    Raises:
        ConfigError: if the folder holds no forecast, not all of it, or one of another model.
    """
    spec = read_json(folder / "spec.json")
    if not isinstance(spec, dict) or spec.get("type") != "Forecast":
        raise ConfigError(f"{folder} holds no forecast; make one with `orthoscope forecast --out {folder}`")
    plan: Forecast = from_dict(spec, {"Forecast": Forecast, **SCHEDULES, **RULES})
    host = Source.of(plan.model, device=device, scheduler=plan.scheduler).host()
    return Forecaster.of(plan, host, cells=Cells(folder / FOLDER), may_ask=False)


def _late(schedule: GuidanceSchedule) -> float:
    return schedule.late if isinstance(schedule, Step) else 0.0
