"""`orthoscope claims`: what the papers say, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding

from orthoscope.cli import options
from orthoscope.cli.output import emit, remark, show
from orthoscope.errors import unknown

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
    """Check every claim of the source papers: theory, measurement with its error, and a verdict.

    A row fails if theory and measurement disagree; the exit status is then 1. `contradicted` means that both agree
    with each other and not with the claim. Rows kept with --out are used again as long as the code is the same.

    Example: orthoscope claims --quick
    """
    from orthoscope.study.claims import CLAIMS, Effort
    from orthoscope.study.claims.run import run_claims

    names = [row.name for row in CLAIMS]
    for name in only or []:
        if name not in names:
            raise unknown("claim", name, names)
    chosen = [name for name in names if not only or name in only]
    rows: list[dict[str, Any]] = []
    effort = Effort(quick=quick, seed=seed)
    for row in run_claims(chosen, effort, kept=out, workers=workers, scheduler=scheduler):
        rows.append(row)
        if json and not quiet:
            remark(f"{len(rows)}/{len(chosen)} {row['name']}")
        if not json:
            _show(row)
    rows.sort(key=lambda row: names.index(row["name"]))
    failed = [row["name"] for row in rows if row["verdict"] == "fails"]
    if json:
        emit({"claims": rows}, as_json=True, title="claims")
    else:
        counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in _COLORS}
        total = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
        Console(highlight=False).print(f"\n{len(rows)} claims: {total}; {sum(row['seconds'] for row in rows):.0f} s")
    if failed:
        remark(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def _distance(row: Mapping[str, Any]) -> str:
    """How far the measurement lies from what it is compared with: near enough to theory, or clear of a limit."""
    z, bound = row["z"], row["bound"]
    if z is None:
        return ""
    if row["verdict"] == "fails":
        return f", z = {z + 0.0:+.1f} (bound {bound:.1f})"
    if abs(z) > bound:  # only a one-sided check passes there
        return f", clear of the limit by {abs(z):.1f} standard errors ({bound:.1f} needed)"
    return f", {abs(z):.1f} standard errors off ({bound:.1f} allowed)"


def _show(row: Mapping[str, Any]) -> None:
    """One claim as it is done: verdict and numbers, then the words."""
    console = Console(highlight=False)
    measured = row["measured"] if row["measured"]["stderr"] is not None else row["measured"]["value"]
    color = _COLORS[row["verdict"]]
    console.print(f"[{color}]{row['verdict']:<12}[/] [bold]{row['name']}[/]")
    seconds = f"{row['seconds']:.1f}\N{NO-BREAK SPACE}s"
    lines = [row["claim"], f"theory {show(row['theory'])}, measured {show(measured)}{_distance(row)}; {seconds}"]
    lines += [f"in: {row['setting']}", *([row["note"]] if row["note"] else []), f"again: {row['command']}"]
    for line in lines:
        console.print(Padding(line, (0, 0, 0, 13)), markup=False)
