from __future__ import annotations

import json
from pathlib import Path

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


def test_rows_are_kept_but_for_those_that_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def right(effort: Effort) -> Finding:
        measured.append("right")
        return found(equal("one", 1.0, 1.0))

    def failing(effort: Effort) -> Finding:
        measured.append("wrong")
        return wrong(effort)

    about = {"source": "ho2022classifier", "setting": "arithmetic"}
    rows = (claim("right", "One is one.", **about)(right), claim("wrong", "One is two.", **about)(failing))
    monkeypatch.setattr(claims, "CLAIMS", rows)
    told = []
    for _ in range(2):
        assert main(["claims", "--out", str(tmp_path), "--json", "--quiet"]) == 1
        told.append(json.loads(capsys.readouterr().out)["claims"])
    assert measured == ["right", "wrong", "wrong"]
    assert told[0][0] == told[1][0]
    assert main(["claims", "--out", str(tmp_path), "--quick", "--only", "right", "--json", "--quiet"]) == 0
    assert measured[3:] == ["right"]  # another effort
    for path in (tmp_path / "cells").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    assert main(["claims", "--out", str(tmp_path), "--only", "right", "--json", "--quiet"]) == 0
    assert measured[4:] == ["right"]  # it was damaged


def test_an_unknown_claim_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "--only", "uncondition"]) == 2
    assert "unconditional" in capsys.readouterr().err
