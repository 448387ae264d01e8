"""What a claim is: a sentence of a paper, a setting, comparisons that measure it, and a verdict.

Every comparison sets a measurement beside a number in one of three relations, and passes by one rule. The measurement
is an interval: the estimate plus and minus as many standard errors as chance exceeds with probability `FALSE_FAIL`, by
Student's t where they rest on few degrees of freedom; a number without randomness is its own interval. A known bias, of
finite steps or of a theory that is an expansion, is computed where the comparison is made and printed as its allowance.

- `=`: the interval, widened by the allowance, holds what theory says;
- `<=`, `>=`: all of the interval, and of the allowance, lies on that side of the bound.

What is tested is theory against measurement: a row fails if one comparison does. Whether a paper's sentence survives is
another matter, and a row says so with its verdict.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from orthoscope.quantities import Estimate

Verdict = Literal["holds", "depends", "contradicted", "fails"]
Relation = Literal["=", "<=", ">="]
FALSE_FAIL = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much to spend.

    Attributes:
        quick: Fewer samples: the same comparisons, able to see only larger errors.
        seed: Root seed.
    """

    quick: bool = False
    seed: int = 0

    def pick(self, quick: int, full: int) -> int:
        """A size for either effort."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A measurement beside a number.

    Attributes:
        what: What was measured.
        measured: The measurement; a plain number where nothing was drawn.
        relation: `=`, `<=` or `>=`.
        number: What theory says, or the bound.
        allowance: Size of a known bias.
        because: Where the bias comes from.
    """

    what: str
    measured: Estimate | float
    relation: Relation
    number: float
    allowance: float = 0.0
    because: str = ""

    def as_numbers(self) -> dict[str, Any]:
        """The comparison as plain values: all that the rule needs, and what the rule finds."""
        measured: dict[str, Any] = {"value": self.measured, "stderr": None}
        reach, away = 0.0, None
        if isinstance(self.measured, Estimate):
            measured, away = self.measured.as_numbers(), self.measured.z(self.number)
            # An estimate without an error > 0 has not been measured, and nothing passes.
            reach = self.measured.limit(FALSE_FAIL) * self.measured.stderr if self.measured.stderr > 0 else math.nan
        plain = {
            "what": self.what,
            "measured": measured,
            "interval": [measured["value"] - reach, measured["value"] + reach],
            "relation": self.relation,
            "number": self.number,
            "allowance": self.allowance,
            "because": self.because,
            "z": away,
        }
        return plain | {"passed": passes(plain)}


def passes(plain: Mapping[str, Any]) -> bool:
    """The rule, from the numbers that are printed; not passed where one of them is not a number."""
    low, high = plain["interval"]
    number, allowance = plain["number"], plain["allowance"]
    match plain["relation"]:
        case "=":
            return bool(low - allowance <= number <= high + allowance)
        case "<=":
            return bool(high + allowance <= number)
        case _:
            return bool(low - allowance >= number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a row found.

    Attributes:
        comparisons: All of them have to pass; the first is the one that a table shows.
        note: What else is worth knowing.
    """

    comparisons: tuple[Comparison, ...]
    note: str = ""


def found(*comparisons: Comparison, note: str = "") -> Finding:
    """The comparisons of a row."""
    return Finding(comparisons=comparisons, note=note)


def equal(
    what: str, measured: Estimate | float, theory: float, *, allowance: float = 0.0, because: str = ""
) -> Comparison:
    """The measurement is what theory says, up to chance and a bias that is known."""
    return Comparison(what=what, measured=measured, relation="=", number=theory, allowance=allowance, because=because)


def at_most(what: str, measured: Estimate | float, bound: float) -> Comparison:
    """The measurement lies below a bound by more than chance."""
    return Comparison(what=what, measured=measured, relation="<=", number=bound)


def at_least(what: str, measured: Estimate | float, bound: float) -> Comparison:
    """The measurement lies above a bound by more than chance."""
    return Comparison(what=what, measured=measured, relation=">=", number=bound)


Measure = Callable[[Effort], Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One row.

    Attributes:
        name: Short name, for `--only`.
        statement: What is claimed.
        source: Key of the bibliography (docs: references.bib).
        setting: Where it is checked.
        measure: Measures it.
        verdict: What it means for the statement if all comparisons pass.
    """

    name: str
    statement: str
    source: str
    setting: str
    measure: Measure
    verdict: Verdict = "holds"


def claim(
    name: str, statement: str, *, source: str, setting: str, verdict: Verdict = "holds"
) -> Callable[[Measure], Claim]:
    """Make a row of what measures it."""

    def make(measure: Measure) -> Claim:
        return Claim(name=name, statement=statement, source=source, setting=setting, measure=measure, verdict=verdict)

    return make


def examine(row: Claim, effort: Effort) -> dict[str, Any]:
    """Measure one claim: its row of the table, as plain values, the first comparison on top.

    A row that stops with an error fails, and the other rows go on.
    """
    begin = time.perf_counter()
    comparisons: list[dict[str, Any]] = []
    try:
        finding = row.measure(effort)
        note, comparisons = finding.note, [comparison.as_numbers() for comparison in finding.comparisons]
    except Exception as error:
        note = f"{type(error).__name__}: {error}"
    first = comparisons[0] if comparisons else None
    command = f"orthoscope claims --only {row.name}{' --quick' if effort.quick else ''}"
    return {
        "name": row.name,
        "claim": row.statement,
        "source": row.source,
        "setting": row.setting,
        "measured": first["measured"] if first else {"value": math.nan, "stderr": None},
        "relation": first and first["relation"],
        "theory": first["number"] if first and first["relation"] == "=" else None,
        "bound": first["number"] if first and first["relation"] != "=" else None,
        "z": first and first["z"],
        "comparisons": comparisons,
        "verdict": verdict(row.verdict, comparisons),
        "note": note,
        "seconds": time.perf_counter() - begin,
        "command": f"{command} --seed {effort.seed}" if effort.seed else command,
    }


def verdict(stated: Verdict, comparisons: list[dict[str, Any]]) -> Verdict:
    """The verdict that the printed comparisons give: the row's own if there are any and all pass."""
    return stated if comparisons and all(passes(plain) for plain in comparisons) else "fails"
