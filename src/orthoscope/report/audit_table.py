"""An audit on one screen: its schedules with what decides between them, and the advice."""

from __future__ import annotations

from textwrap import wrap

import xarray as xr

from orthoscope.report.audit_sections import specs
from orthoscope.report.intervals import attribute, cells, measured
from orthoscope.report.tables import Table, short

WIDTH = 100  # characters
_ROWS, _LINES, _STOPPED = 12, 6, 2  # schedules, lines of advice and schedules that were stopped, at most
_GAP = 2  # characters between columns


def audit_tables(audit: xr.Dataset) -> list[Table]:
    """Every schedule's variance ratio, adherence and gain with their intervals, and its distance; then what to use."""
    names = measured(audit, ["variance_ratio", "class_distance", str(audit.attrs["adherence"]), "gain"])
    listed = _chosen(audit)
    numbers = [
        [text.partition(" ")[0] if name == "class_distance" else text for name, text in zip(names, row, strict=True)]
        for row in (cells(audit, names, spec, between=" ") for spec in listed)
    ]
    heads = [name.replace("_", " ") for name in names]
    taken = sum(_GAP + max(map(len, column)) for column in zip(heads, *numbers, strict=True))
    rows = [[short(spec, WIDTH - taken), *row] for spec, row in zip(listed, numbers, strict=True)]
    more = len(specs(audit)) - len(listed)
    return [
        Table(
            head=["schedule", *heads],
            rows=rows,
            notes=[
                *([f"and {more} more schedules"] if more else []),
                "",
                *_advice(audit),
                *_stopped(audit),
            ],
        )
    ]


def _chosen(audit: xr.Dataset) -> list[str]:
    """The schedules that are shown, in their order: those that the advice names, and the first of the others."""
    found, advice = specs(audit), attribute(audit, "recommendation")
    named = [str(audit.attrs["current"]), *(advice.get(name) for name in ("schedule", "nearest", "against"))]
    kept = sorted(found, key=lambda spec: spec not in named)[:_ROWS]
    return [spec for spec in found if spec in kept]


def _advice(audit: xr.Dataset) -> list[str]:
    """What to use, and below it what the unconditional branch knows and what that implies."""
    known = [line for text in attribute(audit, "knowledge").get("text", ()) for line in wrap(text, WIDTH)]
    lines = wrap(str(attribute(audit, "recommendation").get("text", "")), WIDTH, break_on_hyphens=False)
    most = max(_LINES - len(known), 1)
    shown = lines if len(lines) <= most else [*lines[: most - 1], short(" ".join(lines[most - 1 :]), WIDTH)]
    return [*shown, *known]


def _stopped(audit: xr.Dataset) -> list[str]:
    told = [f"stopped: {spec}: {reason}" for spec, reason in attribute(audit, "stopped").items()]
    more = [f"and {len(told) - _STOPPED} more were stopped"] if len(told) > _STOPPED else []
    return [short(line, WIDTH) for line in (*told[:_STOPPED], *more)]
