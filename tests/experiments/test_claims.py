from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from orthoscope.errors import ConfigError
from orthoscope.experiments.claims import CLAIMS, Effort, examine
from orthoscope.experiments.claims.claim import (
    FALSE_FAIL,
    Claim,
    Comparison,
    Finding,
    at_least,
    at_most,
    claim,
    equal,
    found,
    passes,
    verdict,
)
from orthoscope.quantities import Estimate
from orthoscope.threads import one_thread

BIBLIOGRAPHY = Path(__file__).parents[2] / "docs" / "references.bib"


def estimate(value: float, stderr: float = 0.1, dof: int | None = None) -> Estimate:
    return Estimate(value=value, stderr=stderr, n=100, dof=dof)


def passed(comparison: Comparison) -> bool:
    return bool(comparison.as_numbers()["passed"])


def test_equality_is_judged_by_the_interval_widened_by_the_allowance() -> None:
    assert passed(equal("x", estimate(1.48), 1.0))
    assert not passed(equal("x", estimate(1.5), 1.0))  # 5 errors, 4.89 pass
    assert passed(equal("x", estimate(1.5), 1.0, allowance=0.02, because="steps"))
    assert not passed(equal("x", estimate(0.5), 1.0))


def test_a_bound_has_all_of_the_interval_on_its_side() -> None:
    assert passed(at_least("x", estimate(1.0), 0.5))
    assert not passed(at_least("x", estimate(0.9), 0.5))  # 4 errors beyond, and the interval reaches back
    assert not passed(at_most("x", estimate(1.0), 0.0))
    assert passed(at_most("x", estimate(-1.0), 0.0))


def test_what_has_no_error_has_not_been_measured() -> None:
    for wrong in (estimate(math.nan), estimate(1.0, stderr=0.0), estimate(1.0, stderr=math.nan)):
        for comparison in (equal("x", wrong, 1.0), at_least("x", wrong, 0.0), at_most("x", wrong, 2.0)):
            assert not passed(comparison)
    assert not passed(equal("x", math.nan, 1.0, allowance=1.0, because="steps"))


def test_few_draws_widen_the_interval() -> None:
    assert passed(equal("x", estimate(1.5, dof=5), 1.0))
    assert not passed(at_least("x", estimate(1.5, dof=5), 1.0))


def test_exact_numbers_are_their_own_interval() -> None:
    assert passed(equal("x", 1.0, 1.0))
    assert not passed(equal("x", 1.0 + 1e-9, 1.0, allowance=1e-10, because="rounding"))
    assert passed(at_most("x", 1.0, 1.0))


GOOD, BAD = equal("good", 1.0, 1.0), equal("bad", 2.0, 1.0)


def toy(finding: Finding | Exception, **fields: str) -> Claim:
    def check(effort: Effort) -> Finding:
        if isinstance(finding, Exception):
            raise finding
        return finding

    return claim("toy", "A statement.", source="ho2022classifier", setting="none", **fields)(check)


def test_a_row_carries_everything_and_its_own_command() -> None:
    row = examine(
        toy(found(equal("x", estimate(1.0), 1.2), at_most("y", 2.0, 3.0), note="more")), Effort(quick=True, seed=3)
    )
    assert row["verdict"] == "holds"
    assert row["command"] == "orthoscope claims --only toy --quick --seed 3"
    assert (row["measured"]["stderr"], row["relation"], row["theory"], row["bound"]) == (0.1, "=", 1.2, None)
    assert (row["note"], [c["what"] for c in row["comparisons"]]) == ("more", ["x", "y"])
    assert row["comparisons"][0]["interval"] == pytest.approx([1 - 0.4891638, 1 + 0.4891638])
    assert row["seconds"] >= 0
    bounded = examine(toy(found(at_most("y", 2.0, 3.0))), Effort())
    assert (bounded["theory"], bounded["bound"], bounded["relation"]) == (None, 3.0, "<=")


def test_one_comparison_that_does_not_pass_fails_the_row() -> None:
    assert examine(toy(found(GOOD), verdict="contradicted"), Effort())["verdict"] == "contradicted"
    assert examine(toy(found(GOOD, BAD), verdict="contradicted"), Effort())["verdict"] == "fails"
    assert examine(toy(found()), Effort())["verdict"] == "fails"  # nothing compared


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
def test_no_claim_fails_and_every_comparison_of_it_could(row: Claim) -> None:
    """A row fails by chance with a probability of a few times 1e-6, on account of its comparisons.

    The verdict is that of the printed numbers, and each of them moved against its relation turns it.
    """
    with one_thread():
        plain = json.loads(json.dumps(examine(row, Effort(quick=True))))
    assert plain["verdict"] != "fails", f"{row.name}: {plain}"
    assert plain["verdict"] == verdict(row.verdict, plain["comparisons"]) == row.verdict
    assert FALSE_FAIL == 1e-6
    for k, comparison in enumerate(plain["comparisons"]):
        assert comparison["passed"] == passes(comparison)
        assert bool(comparison["allowance"]) == bool(comparison["because"])  # none is hidden
        wrong = [*plain["comparisons"]]
        wrong[k] = moved(comparison)
        assert verdict(row.verdict, wrong) == "fails", comparison


def moved(comparison: dict[str, Any]) -> dict[str, Any]:
    """The same measurement so far on the wrong side that chance and allowance do not explain it."""
    low, high = comparison["interval"]
    # Of an estimate by two of its own half widths; of an exact number by what would be seen in it.
    width = (high - low) / 2 or 1e-9 + abs(comparison["number"]) * 1e-9
    target = comparison["number"] + (-1 if comparison["relation"] == ">=" else 1) * (
        2 * width + comparison["allowance"]
    )
    shift = target - (high + low) / 2
    return comparison | {"interval": [low + shift, high + shift]}
