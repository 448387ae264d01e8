"""Numbers as tables for people: in a terminal, in a notebook, on a page."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from orthoscope.errors import clean
from orthoscope.quantities import Estimate

_DIMENSION = {"finite_dim": "this d", "mean_field": "d = ∞"}
_BESIDE = ("theory", "z", "verdict")  # what a measured number may bring with it
_LONGEST = 600  # text of a schedule that people still read
_NEGLIGIBLE = 1e-6  # of the objective: what the search does not tell apart
_STRONG = "constant:3"  # the guidance at which networks are told, where they were asked for it
_STEPS_HALVED = "half the steps"  # the pair by which the steps of `surfaces` are judged
_OUTCOMES = ("mean_shift", "variance_ratio", "class_posterior", "separability", "frechet", "effort")
Show = Callable[[Any], str | None]


def show(value: Any) -> str | None:
    """A plain entry as text; None for what belongs into JSON only."""
    match value:
        case None:
            return "none"
        case bool() | int() | str():
            return clean(value)
        case float():
            return f"{value:.6g}"
        case {"value": float() as number, "stderr": float() as error}:
            if math.isnan(number):
                return "not known"
            return f"{number:.4g} ± {error:.2g}" if math.isfinite(error) else f"{number:.4g}"
        case Mapping() | list():
            return None  # for JSON only
    raise TypeError(f"nothing shows {type(value).__name__}")


def show_briefly(value: Any) -> str | None:
    """The same in the notation of pages: errors in brackets, of the last digits."""
    match value:
        case None:
            return "–"
        case float():
            return f"{value:.5g}"
        case {"value": float() as number, "stderr": float() as error}:
            return str(Estimate(value=number, stderr=error, n=0))
    return show(value)


def flat(numbers: Mapping[str, Any], within: str = "", *, shown: Show = show) -> dict[str, Any]:
    """Entries within entries as one table for people: `approach: mean shift: exponent`."""
    found: dict[str, Any] = {}
    for name, value in numbers.items():
        key = f"{within}: {name}" if within else name
        match value:
            case {"value": float(), "stderr": float()}:
                rest = (f"{part} {shown(value[part])}" for part in _BESIDE if value.get(part) is not None)
                found[key] = ", ".join([str(shown(value)), *rest])
            case Mapping():
                found |= flat(value, key, shown=shown)
            case [*entries] if any(isinstance(entry, Mapping) for entry in entries):
                numbered = {f"{key} {k}": entry for k, entry in enumerate(entries, 1)}
                found |= flat(numbered, shown=shown)
            case [*entries]:
                found[key] = ", ".join(str(shown(entry)) for entry in entries)
            case _:
                found[key] = value
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Numbers for people, as texts.

    Attributes:
        rows: One per quantity or schedule, its name first.
        head: Heads of the columns; none where two columns speak for themselves.
        lead: Lines before.
        notes: Lines after.
    """

    rows: Sequence[Sequence[str]]
    head: Sequence[str] = ()
    lead: Sequence[str] = ()
    notes: Sequence[str] = ()

    def render(self, title: str = "", width: int | None = None) -> Iterator[RenderableType]:
        """What a terminal shows; where two columns speak for themselves, they share the width."""
        drawn = RichTable(
            title=clean(title) or None, title_justify="left", show_header=bool(self.head), header_style="bold",
            box=None, pad_edge=False, width=None if self.head else width,
        )  # fmt: skip
        for head in self.head:
            drawn.add_column(head, no_wrap=True)
        if not self.head:
            for k in range(max(map(len, self.rows), default=0)):
                drawn.add_column(style="" if k else "bold")
        for row in self.rows:
            drawn.add_row(*map(_shown, row))
        yield from map(_shown, self.lead)
        yield drawn
        yield from map(_shown, self.notes)


def _shown(text: str) -> Text:
    """A text as a terminal may have it: its line breaks, and nothing else that moves the cursor."""
    return Text("\n".join(map(clean, text.split("\n"))))


def plain_tables(numbers: Mapping[str, Any]) -> list[Table]:
    """The plain entries, one per line."""
    shown = ((name, show(value)) for name, value in numbers.items())
    return [Table(rows=[(_title(name), text) for name, text in shown if text is not None])]


def simulation_tables(numbers: Mapping[str, Any]) -> list[Table]:
    """Measured numbers with what each theory says about them, and the diagnosis."""
    theories = {name: found for name, found in reversed(numbers["theory"].items()) if found is not None}
    rows = []
    for name, value in numbers.items():
        if isinstance(value, Mapping) and "stderr" in value:
            predicted = (found.get(name) for found in theories.values())
            rows.append([_title(name), _text(value), *("" if one is None else _text(one) for one in predicted)])
    versus = []
    for other in numbers["versus"]:
        gaps = (f"{_title(name)} {show(gap)}" for name, gap in other["difference"].items())
        versus.append(f"\nversus {_schedule(other['schedule'])}: {', '.join(gaps)}")
    cost = f"{numbers['model_calls']} model calls, {numbers['seconds']:.1f} s"
    head = ("", "measured", *(f"theory, {_DIMENSION[name]}" for name in theories))
    return [Table(head=head, rows=rows, notes=[*versus, f"\ndiagnosis: {numbers['diagnosis']}", cost])]


def design_tables(numbers: Mapping[str, Any]) -> list[Table]:
    """The design, then every schedule beside it, then what there is to say."""
    checks = numbers["simulation"]
    sampled = {name: f"sampled {show(checks[name])}" if checks.get(name) else "" for name in _OUTCOMES}
    outcome = [(_title(name), _text(numbers[name]), sampled[name]) for name in _OUTCOMES if numbers[name] is not None]
    extra = [numbers["objective"]] if numbers["objective"] not in ("mean_shift", "variance_ratio") else []
    head = ("schedule", "kept", "mean shift", "variance ratio", "class posterior", *map(_title, extra), "behind by")
    rows = [
        [
            _title(row["name"]),
            "yes" if row["feasible"] else "no",
            f"{row['mean_shift']:.4g}",
            f"{row['variance_ratio']:.4g}",
            "" if row["class_posterior"] is None else _text(row["class_posterior"]),
            *(f"{row[name]:.4g}" for name in extra),
            _behind(row["behind"]),
        ]
        for row in numbers["baselines"]
    ]
    text = numbers["text"]
    schedule = f"schedule: {text if len(text) <= _LONGEST else 'a table; --json or --out has it'}"
    notes = [f"- {note}" for note in numbers["notes"]]
    distance = _distance_tables(checks["distance"]) if checks.get("distance") else []
    return [Table(lead=[schedule], rows=outcome), *distance, Table(head=head, rows=rows, notes=notes)]


def _distance_tables(distance: Mapping[str, Any]) -> list[Table]:
    """How far samples are from their class, beside those of the constant strength of equal mean shift."""
    beside, names = distance["constant"], [name for name in distance if name not in ("constant", "change")]
    if beside is None:
        rows = [(_title(name), _text(distance[name])) for name in names]
        return [Table(head=("sampled", "design"), rows=rows)]
    rows3 = [(_title(name), *(_text(one[name]) for one in (distance, beside, distance["change"]))) for name in names]
    return [Table(head=("sampled", "design", f"{beside['text']}, equal mean shift", "difference"), rows=rows3)]


def theory_tables(numbers: Mapping[str, Any]) -> list[Table]:
    """Measured quantities beside both theories, with the distance from the nearer one in standard errors."""
    rows = [
        [
            _title(row["quantity"]),
            _text(row["measured"]),
            *(_or_blank(row[name]) for name in _DIMENSION),
            "" if row["z"] is None else f"{row['z']:.1f}",
        ]
        for row in numbers["quantities"]
    ]
    head = ("", "measured", *(f"theory, {_DIMENSION[name]}" for name in _DIMENSION), "z")
    return [Table(head=head, rows=rows, notes=[f"\ndiagnosis: {numbers['diagnosis']}"])]


def rule_tables(numbers: Mapping[str, Any]) -> list[Table]:
    """What every rule does at the strength of equal effect, and by how much more than the first."""
    first, *others = numbers["rules"]
    known = [name for name in first if name not in ("rule", "strength", "failed") and not name.endswith("_change")]
    rows = [
        [row["rule"], _or_blank(row["strength"]), *(_or_blank(row[name]) for name in known)] for row in numbers["rules"]
    ]
    lines = []
    for row in others:
        gaps = (f"{_title(name)} {_text(row[f'{name}_change'])}" for name in known if f"{name}_change" in row)
        lines.append(
            f"{row['rule']}: {row['failed']}" if row["failed"] else
            f"{row['rule']} minus {first['rule']}: {', '.join(gaps)}"
        )  # fmt: skip
    head = ("rule", "strength", *map(_title, known))
    return [Table(head=head, rows=rows, notes=lines)]


def learned_tables(numbers: Mapping[str, Any]) -> list[Table]:
    """Every kind of network; what those that know as much have in common; how well networks were foreseen."""
    return [_kinds_table(numbers["kinds"]), _gains_table(numbers["groups"]), _foreseen_table(numbers)]


def _kinds_table(kinds: Mapping[str, Any]) -> Table:
    constants = [text for text in next(iter(kinds.values())) if text.startswith("constant")]
    strong = _STRONG if _STRONG in constants else constants[-1]
    rows = [
        [
            kind, f"{one['seconds']:.0f}", show_briefly(one["learned_fraction"]) or "",
            *(show_briefly(one[strong][name]) or "" for name in ("mean_shift_network", "variance_ratio_network")),
            f"{one[strong]['far_network']['value']:.2f}", show_briefly(one[strong]["variance_ratio_exact"]) or "",
        ]
        for kind, one in kinds.items()
    ]  # fmt: skip
    head = ("network", "CPU s", "learned", "mean shift", "variance", "far", "exact")
    lead = [f"At {strong}: mean shift, variance ratio, share far off, and the variance ratio of the exact score"]
    return Table(head=head, rows=rows, lead=lead)


def _gains_table(groups: Mapping[str, Any]) -> Table:
    texts = [text for text in next(iter(groups.values())) if text.startswith("step")]
    rows = [
        [
            text.removeprefix("step:"), name, f"{one['gain']['gaining']}/{one['gain']['losing']}",
            f"{one['gain']['mean']:.2f}", show_briefly(one["gain_exact"]) or "", f"{one['gain']['far']:.2f}",
        ]
        for text in texts
        for name, one in ((name, group[text]) for name, group in groups.items())
    ]  # fmt: skip
    lead = ["Variance ratio gained on the constant of equal mean shift, by what the unconditional branch knows"]
    return Table(head=("schedule", "branch", "gain/lose", "gain", "exact", "far"), rows=rows, lead=lead)


def _foreseen_table(numbers: Mapping[str, Any]) -> Table:
    found = numbers["foreseen"]
    whose = next(iter(found.values()))
    rows = [
        [_title(name), by, *(f"{one[by]['median']:.3f}" for one in groups.values()), f"{groups['all'][by]['rms']:.2g}"]
        for name, groups in found.items()
        for by in groups["all"]
    ]
    blank = [""] * (len(whose) - 1)
    rows += [["gain", by, f"{one['median']:.3f}", *blank, ""] for by, one in numbers["windows_foreseen"].items()]
    lead = ["Median errors of what was foretold, and over all networks the root mean square"]
    return Table(head=("quantity", "foreseen by", *whose, "rms"), rows=rows, lead=lead)


def surfaces_tables(numbers: Mapping[str, Any]) -> list[Table]:
    """For every law, what each pair of branches makes of each schedule, and what the networks know."""
    tables = []
    for law, found in numbers.items():
        halved = _STEPS_HALVED
        rows = [
            [
                text, pair, *(show_briefly(told[name]) or "" for name in ("mean_shift", "variance_ratio")),
                *(f"{told[name]['value']:.3f}" for name in ("left", "lost")), show_briefly(told["gain"]) or "",
            ]
            for text, pairs in found["schedules"].items()
            for pair, told in pairs.items()
            if pair != halved
        ]  # fmt: skip
        known = ", ".join(f"{name} {show_briefly(value)}" for name, value in found["learned_fraction"].items())
        switched = ", ".join(f"{name} {time:.2g}" for name, time in found["switch"].items())
        moved = max(
            abs(pairs[halved]["variance_ratio"]["value"] - pairs["exact"]["variance_ratio"]["value"])
            for pairs in found["schedules"].values()
        )
        lead = [
            f"{law}: learned fractions {known}; switches at variance times {switched}",
            f"half the steps change variance ratios of exact samples by at most {moved:.2g}",
        ]
        head = ("schedule", "branches", "mean shift", "variance", "left", "lost", "gain")
        tables.append(Table(head=head, rows=rows, lead=lead))
    return tables


def control_tables(numbers: Mapping[str, Any]) -> list[Table]:
    """Areas under the fronts of every method in every setting, and by how much all feedback is ahead, by objective."""
    head = ("method", "area", "above open loop", "far, at most", "distance, at most")
    return [
        *(
            Table(
                head=head,
                rows=[
                    [method, *(show_briefly(told[name]) or "" for name in ("area", "ahead", "far", "distance"))]
                    for method, told in found["mean_shift"]["variance_ratio"].items()
                ],
                lead=[f"{setting}: mean shift against variance"],
            )
            for setting, found in numbers.items()
        ),
        *(_feedback_table(numbers, aim) for aim in next(iter(numbers.values()))),
    ]


def _feedback_table(numbers: Mapping[str, Any], aim: str) -> Table:
    """By how much all feedback together is ahead of open loop, by setting and measure of diversity."""
    head = ("setting", *map(_title, next(iter(numbers.values()))[aim]))
    rows = [
        [setting, *(show_briefly(one["feedback"]["ahead"]) or "" for one in found[aim].values())]
        for setting, found in numbers.items()
    ]
    return Table(head=head, rows=rows, lead=[f"{_title(aim)}: area of all feedback above open loop, by diversity"])


def glyphs_tables(numbers: Mapping[str, Any]) -> list[Table]:
    """For every network, what it and its exact counterparts make of each schedule."""
    columns = {
        "mean_shift": "mean", "variance_ratio": "variance", "gain": "gain", "class_distance": "distance",
        "distance_gain": "more", "far_share": "far",
    }  # fmt: skip
    tables = []
    for model, found in numbers.items():
        sources = found["sources"]
        schedules = next(iter(sources.values()))
        rows = [
            [schedule, source, *(_rounded(told[schedule][name]) for name in columns)]
            for schedule in schedules
            for source, told in sources.items()
        ]
        lead = [f"{model}: gain and more distance are above constant strength of equal mean shift"]
        if "learned_fraction" in found:
            knows, nats = (show_briefly(found[name]) for name in ("learned_fraction", "decided_nats"))
            lead.append(f"the unconditional branch has learned {knows}; claimed after the decision: {nats} nats")
        tables.append(Table(head=("schedule", "source", *columns.values()), rows=rows, lead=lead))
    return tables


def _rounded(value: Mapping[str, float] | None) -> str:
    """A number with its error to two places, so that many fit beside each other; nothing where there is none."""
    return "" if value is None else f"{value['value']:.2f}({round(100 * value['stderr'])})"


def _or_blank(value: Any) -> str:
    missing = value is None or (isinstance(value, Mapping) and value.get("value") is None)
    return "" if missing else _text(value)


def _behind(value: Any) -> str:
    """By how much the design is better; nothing where a constraint is missed."""
    if value is None:
        return ""
    return "0" if isinstance(value, float) and abs(value) < _NEGLIGIBLE else _text(value)


def _title(name: str) -> str:
    return name.replace("_", " ")


def _text(value: Any) -> str:
    return str(show(value))


def _schedule(schedule: Mapping[str, Any]) -> str:
    """A schedule's dictionary on one line."""
    values = (f"{name}={value}" for name, value in schedule.items() if name not in ("type", "version", "clock"))
    return f"{schedule['type']}({', '.join(values)})"


def as_text(tables: Iterable[Table], title: str = "", *, width: int = 80) -> str:
    """Tables as plain text: lines beside them are wrapped, their own columns are never cut."""
    plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False, "color_system": None}
    console = Console(width=200, soft_wrap=True, force_jupyter=False, **plain)
    with console.capture() as captured:
        for k, table in enumerate(tables):
            lead, notes = ([fill(line, width) for line in lines] for lines in (table.lead, table.notes))
            for part in replace(table, lead=lead, notes=notes).render("" if k else title, width):
                console.print(part)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def short(text: str, width: int) -> str:
    """A text, cut where it is longer."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def fill(text: str, width: int) -> str:
    """A text in lines of this width, words whole; line breaks of its own stay."""
    return "\n".join(wrap for line in text.split("\n") for wrap in textwrap.wrap(line, width) or [""])
