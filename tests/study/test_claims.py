from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from orthoscope.errors import ConfigError
from orthoscope.quantities import Estimate
from orthoscope.study.claims import CLAIMS, Effort, examine
from orthoscope.study.claims.claim import FALSE_FAIL, Claim, Finding, agrees, beyond, both, claim, exactly
from orthoscope.study.threads import one_thread

BIBLIOGRAPHY = Path(__file__).parents[2] / "docs" / "references.bib"


def estimate(value: float, stderr: float = 0.1, dof: int | None = None) -> Estimate:
    return Estimate(value=value, stderr=stderr, n=100, dof=dof)


def test_agreement_is_judged_in_standard_errors_beyond_the_slack() -> None:
    assert agrees(estimate(1.48), 1.0).passed
    assert not agrees(estimate(1.5), 1.0).passed  # 5 errors, 4.89 pass
    assert agrees(estimate(1.5), 1.0, slack=0.02).passed
    assert agrees(estimate(1.5), 1.0, slack=0.02, note="why").note == "why (forgiven: 0.02)"
    assert not agrees(estimate(0.5), 1.0).passed
    assert not agrees(estimate(math.nan), 1.0).passed
    assert not agrees(estimate(1.0, stderr=0.0), 1.0).passed


def test_few_draws_widen_the_bound() -> None:
    assert agrees(estimate(1.5, dof=5), 1.0).passed
    assert agrees(estimate(1.5, dof=5), 1.0).bound > agrees(estimate(1.5), 1.0).bound


def test_a_limit_is_exceeded_on_the_side_that_is_asked_for() -> None:
    assert beyond(estimate(1.0), 0.0).passed
    assert not beyond(estimate(1.0), 0.0, below=True).passed
    assert beyond(estimate(-1.0), 0.0, below=True).passed
    assert not beyond(estimate(0.4), 0.0).passed


def test_exact_numbers_are_judged_by_their_bound() -> None:
    assert exactly(1.0, 1.0, within=0.0).passed
    assert not exactly(1.0 + 1e-9, 1.0, within=1e-10).passed
    assert not exactly(math.nan, 1.0, within=1.0).passed


def test_one_failure_fails_the_whole() -> None:
    good, bad = exactly(1.0, 1.0, within=0.0, note="good"), exactly(2.0, 1.0, within=0.0, note="bad")
    assert not both(good, bad).passed
    assert both(good, good).passed
    assert (both(good, good).measured, both(good, good).note) == (1.0, "good; good")


def test_what_fails_beside_the_number_shown_is_in_the_note() -> None:
    found = both(agrees(estimate(1.0), 1.0, note="shown"), agrees(estimate(2.0), 1.0))
    assert (found.z, found.note) == (0.0, "shown; not passed: 2.00(10), z = 10, bound 4.892")


def toy(finding: Finding | Exception, **fields: str) -> Claim:
    def check(effort: Effort) -> Finding:
        if isinstance(finding, Exception):
            raise finding
        return finding

    return claim("toy", "A statement.", source="ho2022classifier", setting="none", **fields)(check)


def test_a_row_carries_everything_and_its_own_command() -> None:
    row = examine(toy(agrees(estimate(1.0), 1.0, note="more")), Effort(quick=True, seed=3))
    assert row["verdict"] == "holds"
    assert row["command"] == "orthoscope claims --only toy --quick --seed 3"
    assert (row["measured"]["stderr"], row["z"], row["note"]) == (0.1, 0.0, "more")
    assert row["seconds"] >= 0


def test_verdicts() -> None:
    good, bad = exactly(1.0, 1.0, within=0.0), exactly(2.0, 1.0, within=0.0)
    assert examine(toy(good, verdict="contradicted"), Effort())["verdict"] == "contradicted"
    assert examine(toy(bad, verdict="contradicted"), Effort())["verdict"] == "fails"


def test_a_check_that_stops_fails_its_row_and_says_why() -> None:
    row = examine(toy(ConfigError("expected this, got that")), Effort())
    assert (row["verdict"], row["note"]) == ("fails", "ConfigError: expected this, got that")


def test_rows_have_names_and_sources_of_their_own() -> None:
    names = [row.name for row in CLAIMS]
    assert len(set(names)) == len(names)
    keys = set(re.findall(r"^@\w+\{(\w+),", BIBLIOGRAPHY.read_text(encoding="utf-8"), re.MULTILINE))
    assert {row.source for row in CLAIMS} <= keys


@pytest.mark.slow
@pytest.mark.parametrize("row", CLAIMS, ids=lambda row: row.name)
def test_no_claim_fails(row: Claim) -> None:
    """A row fails by chance with a probability of a few times 1e-6, on account of its one to four assertions."""
    with one_thread():
        found = examine(row, Effort(quick=True))
    assert found["verdict"] != "fails", f"{row.name}: {found}"
    assert FALSE_FAIL == 1e-6
