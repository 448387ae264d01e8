"""`orthoscope claims`: what the papers say, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.padding import Padding

from orthoscope.cli import options
from orthoscope.cli.output import console, emit
from orthoscope.errors import unknown
from orthoscope.progress import LOG
from orthoscope.report.tables import show

_COLORS = {"holds": "green", "depends": "yellow", "contradicted": "magenta", "fails": "bold red"}


def claims(
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer samples: the same checks, seeing larger errors.")
    ] = False,
    only: Annotated[list[str] | None, typer.Option(help="Only this claim, by name; may be repeated.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Keep finished rows in this folder, and go on from those it holds.")
    ] = None,
    workers: options.Workers = 1,
    scheduler: options.Scheduler = None,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> int:
    """Check every claim of the source papers: theory or a bound, measurement with its interval, and a verdict.

    Each comparison is printed as measurement [interval] relation number, and passes if the whole interval lies on
    that side of a bound, or holds what theory says. A row fails if one of its comparisons does; the exit status is
    then 1. `contradicted` means that theory and measurement agree with each other and not with the claim. Rows kept
    with --out are used again as long as the code is the same.

    Example: orthoscope claims --quick
    """
    from orthoscope.experiments.claims import CLAIMS, Effort
    from orthoscope.experiments.claims.run import run_claims

    names = [row.name for row in CLAIMS]
    for name in only or []:
        if name not in names:
            raise unknown("claim", name, names)
    chosen = [name for name in names if not only or name in only]
    rows: list[dict[str, Any]] = []
    effort = Effort(quick=quick, seed=seed)
    for row in run_claims(chosen, effort, kept=out, workers=workers, scheduler=scheduler):
        rows.append(row)
        if json:
            LOG.info(f"{len(rows)}/{len(chosen)} {row['name']}")
        if not json:
            _show(row)
    rows.sort(key=lambda row: names.index(row["name"]))
    failed = [row["name"] for row in rows if row["verdict"] == "fails"]
    if json:
        emit({"claims": rows}, as_json=True, title="claims")
    else:
        counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in _COLORS}
        total = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
        console().print(f"\n{len(rows)} claims: {total}; {sum(row['seconds'] for row in rows):.0f} s")
    if failed:
        LOG.error(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def _compared(comparison: Mapping[str, Any]) -> str:
    """One comparison on one line: measurement, interval, relation, number."""
    measured = comparison["measured"]
    low, high = comparison["interval"]
    value = show(measured if measured["stderr"] is not None else measured["value"])
    interval = f" [{low:.6g}, {high:.6g}]" if measured["stderr"] is not None else ""
    allowance = f" \N{PLUS-MINUS SIGN} {comparison['allowance']:.2g} ({comparison['because']})"
    return (
        f"{comparison['what']}: {value}{interval} {comparison['relation']} {show(comparison['number'])}"
        f"{allowance if comparison['allowance'] else ''}{'' if comparison['passed'] else ': not so'}"
    )


def _show(row: Mapping[str, Any]) -> None:
    """One claim as it is done: verdict and words, then every comparison with its numbers."""
    shown = console()
    shown.print(f"[{_COLORS[row['verdict']]}]{row['verdict']:<12}[/] [bold]{row['name']}[/]")
    lines = [row["claim"], f"in: {row['setting']}", *(_compared(comparison) for comparison in row["comparisons"])]
    lines += [*([row["note"]] if row["note"] else []), f"again: {row['command']}"]
    lines[-1] += f" ({row['seconds']:.1f}\N{NO-BREAK SPACE}s)"
    for line in lines:
        shown.print(Padding(line, (0, 0, 0, 13)), markup=False)
