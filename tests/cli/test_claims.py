from __future__ import annotations

import json

import pytest

from orthoscope.cli.main import main
from orthoscope.experiments import claims
from orthoscope.experiments.claims.claim import Effort, Finding, at_most, claim, equal, found


def wrong(effort: Effort) -> Finding:
    return found(at_most("one", 1.0, 1.5), equal("two", 2.0, 1.0), note="two is not one")


WRONG = claim("wrong", "One is two.", source="ho2022classifier", setting="arithmetic")(wrong)


@pytest.mark.slow
def test_claims_give_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "--quick", "--only", "unconditional", "--only", "rectified-coefficients", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["claims"]
    assert [row["name"] for row in rows] == ["unconditional", "rectified-coefficients"]
    keys = {
        "claim",
        "setting",
        "relation",
        "theory",
        "bound",
        "measured",
        "comparisons",
        "verdict",
        "seconds",
        "command",
    }
    assert all(keys <= set(row) for row in rows)


@pytest.mark.slow
def test_claims_are_shown_with_verdict_and_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "--quick", "--only", "unconditional"]) == 0
    out = capsys.readouterr().out
    assert "holds        unconditional" in out
    assert "orthoscope claims --only unconditional --quick" in out
    assert "1 claims: 1 holds" in out


def test_a_failed_claim_gives_exit_status_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "CLAIMS", (WRONG,))
    assert main(["claims"]) == 1
    captured = capsys.readouterr()
    assert "one: 1 <= 1.5" in captured.out
    assert "two: 2 = 1: not so" in captured.out
    assert "two is not one" in captured.out
    assert "failed: wrong" in captured.err


def test_an_unknown_claim_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "--only", "uncondition"]) == 2
    assert "unconditional" in capsys.readouterr().err
