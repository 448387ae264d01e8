"""What a claim is: a sentence of a paper, a setting, a check that measures it, and a verdict.

Every statistical comparison of a check fails by chance with probability at most `FALSE_FAIL`; one without randomness
states its bound instead. What is tested is our theory against our measurement: a row fails if these two disagree.
Whether a paper's sentence survives is another matter, and a row says so with its verdict.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from orthoscope.quantities import Estimate
from orthoscope.study.compare import as_numbers

Verdict = Literal["holds", "depends", "contradicted", "fails"]
FALSE_FAIL = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much to spend.

    Attributes:
        quick: Fewer samples: the same checks, able to see only larger errors.
        seed: Root seed.
    """

    quick: bool = False
    seed: int = 0

    def pick(self, quick: int, full: int) -> int:
        """A size for either effort."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found.

    Attributes:
        theory: What theory says.
        measured: What was measured; without standard error where nothing was drawn.
        passed: Whether the two agree.
        z: Distance in standard errors from what the check compares with, None without randomness.
        bound: Largest distance that passes, in standard errors or, without randomness, in units of the value.
        note: What else is worth knowing.
    """

    theory: float | None
    measured: Estimate | float
    passed: bool
    z: float | None
    bound: float
    note: str = ""


Check = Callable[[Effort], Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One row.

    Attributes:
        name: Short name, for `--only`.
        statement: What is claimed.
        source: Key of the bibliography (docs: references.bib).
        setting: Where it is checked.
        check: Measures it.
        verdict: What a passed check means for the statement.
    """

    name: str
    statement: str
    source: str
    setting: str
    check: Check
    verdict: Verdict = "holds"


def claim(
    name: str, statement: str, *, source: str, setting: str, verdict: Verdict = "holds"
) -> Callable[[Check], Claim]:
    """Make a row of a check."""

    def make(check: Check) -> Claim:
        return Claim(name=name, statement=statement, source=source, setting=setting, check=check, verdict=verdict)

    return make


def agrees(measured: Estimate, theory: float, *, slack: float = 0.0, note: str = "") -> Finding:
    """Measurement and theory agree, up to chance and a known bias of at most `slack`, which the note states."""
    z, bound = measured.z(theory, slack=slack), measured.limit(FALSE_FAIL)
    note = f"{note} (forgiven: {slack:.2g})".strip() if slack else note
    # Written so that a NaN does not pass.
    return Finding(theory=theory, measured=measured, passed=abs(z) <= bound, z=z, bound=bound, note=note)


def beyond(
    measured: Estimate, limit: float, *, theory: float | None = None, below: bool = False, note: str = ""
) -> Finding:
    """The measurement lies above a limit, or below it, by more than chance: `z` is signed and must exceed `bound`."""
    z, bound = measured.z(limit), measured.limit(2 * FALSE_FAIL)
    passed = -z > bound if below else z > bound
    return Finding(theory=theory, measured=measured, passed=passed, z=z, bound=bound, note=note)


def exactly(value: float, theory: float, *, within: float, note: str = "") -> Finding:
    """A number without randomness is what theory says."""
    return Finding(theory=theory, measured=value, passed=abs(value - theory) <= within, z=None, bound=within, note=note)


def both(first: Finding, *others: Finding) -> Finding:
    """The first finding, passed only if all are; the note says which of the others are not."""
    missed = [_missed(found) for found in others if not found.passed]
    notes = [found.note for found in (first, *others) if found.note]
    return Finding(
        theory=first.theory,
        measured=first.measured,
        passed=all(finding.passed for finding in (first, *others)),
        z=first.z,
        bound=first.bound,
        note="; ".join([*notes, *missed]),
    )


def _missed(found: Finding) -> str:
    z = "" if found.z is None else f"z = {found.z:.4g}, "
    return f"not passed: {found.measured}, {z}bound {found.bound:.4g}"


def examine(row: Claim, effort: Effort) -> dict[str, Any]:
    """Check one claim: its row of the table, as plain values.

    A check that stops with an error fails, and the other rows go on.
    """
    begin = time.perf_counter()
    try:
        found = row.check(effort)
    except Exception as error:
        note = f"{type(error).__name__}: {error}"
        found = Finding(theory=None, measured=math.nan, passed=False, z=None, bound=math.nan, note=note)
    command = f"orthoscope claims --only {row.name}{' --quick' if effort.quick else ''}"
    measured = found.measured
    return {
        "name": row.name,
        "claim": row.statement,
        "source": row.source,
        "setting": row.setting,
        "theory": found.theory,
        "measured": as_numbers(measured) if isinstance(measured, Estimate) else {"value": measured, "stderr": None},
        "z": found.z,
        "bound": found.bound,
        "verdict": row.verdict if found.passed else "fails",
        "note": found.note,
        "seconds": time.perf_counter() - begin,
        "command": f"{command} --seed {effort.seed}" if effort.seed else command,
    }
