"""Schedules of every class on every clock, for hypothesis."""

from __future__ import annotations

import dataclasses
import itertools

from hypothesis import strategies as st

from orthoscope.guidance.schedules import CLOCKS, Clock, Constant, GuidanceSchedule, Interval, Linear, Step, Tabulated

strengths = st.floats(-3, 20)
clocks = st.sampled_from(CLOCKS)


def positions(clock: Clock) -> st.SearchStrategy[float]:
    return {"step": st.floats(0, 1), "logsnr": st.floats(-9, 9)}.get(clock, st.floats(1e-4, 60))


def knots(clock: Clock, most: int) -> st.SearchStrategy[list[float]]:
    """Two positions or more in order, so far apart that probes a billionth beside one tell nothing of the next."""

    def are_apart(at: list[float]) -> bool:
        return all(high - low > (0.01 if clock == "logsnr" else 0.01 * high) for low, high in itertools.pairwise(at))

    return st.lists(positions(clock), min_size=2, max_size=most).map(sorted).filter(are_apart)


@st.composite
def schedules(draw: st.DrawFn, clock: Clock | None = None) -> GuidanceSchedule:
    clock = clock or draw(clocks)
    at = draw(knots(clock, 5))
    w = [draw(strengths) for _ in at]
    match draw(st.sampled_from(["constant", "linear", "step", "interval", "tabulated"])):
        case "constant":
            return Constant(value=w[0], clock=clock)
        case "linear":
            return Linear(w0=w[0], slope=w[1], clock=clock)
        case "step":
            return Step(early=w[0], late=w[1], switch=at[0], clock=clock)
        case "interval":
            return Interval(inside=w[0], outside=w[1], low=at[0], high=at[1], clock=clock)
        case _:
            return Tabulated(at=tuple(at), strengths=tuple(w), clock=clock)


def without_clock(schedule: GuidanceSchedule) -> dict[str, object]:
    return {f.name: getattr(schedule, f.name) for f in dataclasses.fields(schedule) if f.name != "clock"}
