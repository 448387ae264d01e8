"""The page and the files of a calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from orthoscope import writing
from orthoscope.datasets import write
from orthoscope.plots.calibrate import calibrate_figure
from orthoscope.quantities import Estimate
from orthoscope.report.knowledge import bounded, foretold_rows, knowledge_rows, learned_cards
from orthoscope.report.page import Card, Section, render, save_figure
from orthoscope.report.tables import Table, show

FOOTER = (
    "Numbers in brackets are standard errors of the last digits; bands and bars are 95 % intervals over images, or "
    "over prompts where there are at least ten texts."
)
FILES: tuple[str, ...] = ("results.nc", "spec.json", "report.html", "calibrate.svg", "calibrate.png")  # of its folder
_ROWS = {
    "information": "information by the pair, I(0), nats",
    "capacity": "capacity of Gaussian classes, nats",
    "capacity_share": "share of it that is to be told",
}
_SIDES = {
    "committed": "below the capacity: classes commit before the image is clean, and late guidance has no class "
    "left to decide",
    "dense": "above the capacity: classes overlap in the clean images, and are still being told apart at the end",
    "undecided": "at the capacity within two standard errors: more images would tell on which side",
}


def write_calibration(result: xr.Dataset, found: Mapping[str, Any], out: Path, *, command: str) -> Path:
    """Write results, specification, figure and page into a folder; the page's path.

    Raises:
        ConfigError: if the folder cannot be written.
    """
    section = calibration_section(result, found, command)
    write(result, out / "results.nc")
    for name, figure in section.figures.items():
        save_figure(figure, out / name)
    writing.write(out / "spec.json", result.attrs["spec"] + "\n")
    return writing.write(out / "report.html", page(result, found, section))


def page(result: xr.Dataset, found: Mapping[str, Any], section: Section) -> str:
    """The page as text."""
    first = found["pipeline"]
    return render(
        title=f"Calibration of {found['model']}",
        lead=(
            f"{found['prompts']} prompts at strength 0 with {found['scheduler']}, {found['steps']} steps: how far the "
            "conditional and the unconditional prediction differ at every noise level, what that tells about the "
            "class, what the unconditional prediction knows of the classes, and where a window can act."
        ),
        cards=[
            Card(value=between(first["range"]), text="variance times between which a window can act"),
            Card(value=first["side"], text=_SIDES[first["side"]]),
            Card(
                value=_number(first["to_come"]["50 %"]),
                text=f"variance time at which half of the class is told at strength {first['strength']:g}",
            ),
            *learned_cards(first),
        ],
        sections=[section, proposal_section(found)],
        provenance=f"Orthoscope {result.attrs['orthoscope']}. Settings: spec.json; numbers: results.nc.",
        footer=FOOTER,
    )


def calibration_section(result: xr.Dataset, found: Mapping[str, Any], command: str) -> Section:
    """Figure, table of both sources, and proposals."""
    sources = [str(source) for source in result["source"].values]
    rows = [[text, *(str(_estimate(found[source][name])) for source in sources)] for name, text in _ROWS.items()]
    rows.append(["half told at strength 0", *(_number(found[source]["half_told"]) for source in sources)])
    for name, text in (
        ("half_time", "half told, predicted by the spectra"),
        ("speciation_time", "all told, predicted"),
    ):
        rows.append([text, *(_number(found[source]["predicted"][name]) for source in sources)])
    rows += [
        [
            f"{share} still to come at strength {found['pipeline']['strength']:g}, t",
            *(_number(found[source]["to_come"][share]) for source in sources),
        ]
        for share in found["pipeline"]["to_come"]
    ]
    for strength in found["pipeline"]["variance_ratio"]:
        ratios = (found[source]["variance_ratio"][strength] for source in sources)
        rows.append(
            [f"variance ratio, {strength}", *(f"{r['value']:.3g} [{r['low']:.3g}, {r['high']:.3g}]" for r in ratios)]
        )
    if "paths" in found["pipeline"]:
        texts = {"posterior": "told by the posterior", "pair": "told by the pair", "excess": "excess of the pair"}
        rows += [
            [f"along paths: {text}, nats", *(str(_estimate(found[source]["paths"][name])) for source in sources)]
            for name, text in texts.items()
        ]
    known = [found[source].get("knowledge") for source in sources]
    if all(known):
        rows += knowledge_rows(known)
    foretold = [found[source].get("foretold") for source in sources]
    if all(foretold):
        rows += foretold_rows(foretold)
    return Section(
        name="calibrate",
        title="When the class is told",
        caption=notes(found),
        command=command,
        figures={"calibrate": calibrate_figure(result)},
        head=["", *sources],
        rows=rows,
    )


def proposal_section(found: Mapping[str, Any]) -> Section:
    """The windows, and the line that tests them."""
    return Section(
        name="proposals",
        title="Windows to test",
        caption=(
            "The first waits until half is told without guidance; the next end guidance inside the range; the others "
            "turn negative there, at once or bit by bit. That guidance can act there does not mean that a window beats "
            "a lower constant strength: the audit tells, from new images."
        ),
        points=[*found["advice"], *map(": ".join, zip(found["proposals_in_words"], found["proposals"], strict=True))],
        command=found["audit_command"],
        figures={},
    )


def notes(found: Mapping[str, Any]) -> str:
    """What the numbers say, in words."""
    first = found["pipeline"]
    told = [f"The data are {_SIDES[first['side']]}; what is told in the end measures it."]
    if "paths" in first:
        excess = _estimate(first["paths"]["excess"])
        told.append(
            f"Along reverse paths the pair tells {_estimate(first['paths']['pair'])} nats and the posterior of the "
            f"classes {_estimate(first['paths']['posterior'])}; the excess {excess} is by how much the unconditional "
            "prediction is not the mean of the conditional ones, 0 for exact scores."
        )
    told.append(f"The range of windows is read off the {found['profile']}.")
    if found["profile"] == "pair":
        told.append(
            "Where its two predictions do not fit each other the pair tells more than there is, mostly at low noise: "
            "take the low end as a bound."
        )
    if "paths" not in first:
        told.append(f"The classes cannot be counted. {bounded(found)}.")
    return " ".join(told)


def between(ends: Mapping[str, float]) -> str:
    """A range of variance times."""
    if not math.isfinite(ends["low"]):
        return _number(math.nan) if not math.isfinite(ends["high"]) else f"up to {ends['high']:.3g}"
    if not math.isfinite(ends["high"]):
        return f"from {ends['low']:.3g} up"
    return f"{ends['low']:.3g} to {ends['high']:.3g}"


def shown(found: Mapping[str, Any]) -> dict[str, Any]:
    """What people read on a terminal, pipeline before twin."""
    table: dict[str, Any] = {}
    for source in ("pipeline", "twin"):
        one = found.get(source)
        if one is None:
            continue
        table |= {f"{source}: {name}": one[name] for name in ("capacity", "capacity_share")}
        table |= {
            f"{source}: side": one["side"],
            f"{source}: windows act at variance times, strength {one['strength']:g}": between(one["range"]),
            f"{source}: half told at strength 0": _number(one["half_told"]),
            f"{source}: predicted by the spectra": _number(one["predicted"]["half_time"]),
        }
        table |= {f"{source}: excess of the pair, nats": one["paths"]["excess"]} if "paths" in one else {}
        if "knowledge" in one:
            table |= {f"{source}: {name}": value for name, (value,) in _by_name(knowledge_rows([one["knowledge"]]))}
        if "foretold" in one:
            table |= {f"{source}: {name}": value for name, (value,) in _by_name(foretold_rows([one["foretold"]]))}
        table |= {
            f"{source}: variance ratio, {at}": f"{ratio['value']:.3g} [{ratio['low']:.3g}, {ratio['high']:.3g}]"
            for at, ratio in one["variance_ratio"].items()
        }
    return table


def calibration_table(found: Mapping[str, Any]) -> Table:
    """The same with pipeline and twin beside each other, and the windows to test below."""
    entries = {tuple(name.split(": ", 1)): str(show(value)) for name, value in shown(found).items()}
    sources, names = (list(dict.fromkeys(column)) for column in zip(*entries, strict=True))
    return Table(
        head=["", *sources],
        rows=[[name, *(entries.get((source, name), "") for source in sources)] for name in names],
        notes=notes_of(found),
    )


def _by_name(rows: list[list[str]]) -> list[tuple[str, list[str]]]:
    return [(name, values) for name, *values in rows]


def notes_of(found: Mapping[str, Any]) -> list[str]:
    """What should help, windows to test in words and as texts, and what the numbers took."""
    windows = zip(found["proposals_in_words"], found["proposals"], strict=True)
    told = [f"- {text}" for text in found["advice"]] if found["advice"] else [f"- {bounded(found)}"]
    asked = [f"- {found['asked']:,} predictions were asked for beside those of the images"] if found["asked"] else []
    return ["", "what should help:", *told, *asked, "", "windows to test:", *(f"- {a}: {b}" for a, b in windows)]


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "outside the levels of the run"


def _estimate(value: Mapping[str, Any]) -> Estimate:
    return Estimate(**value)
