"""`orthoscope measure` through `main(argv)`: a table or JSON, a folder, and one line for what cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orthoscope import rng
from tests.conftest import Finished


def test_a_folder_is_measured_and_told(run_cli: Callable[..., Finished], tmp_path: Path) -> None:
    images = rng.stream(0, "images").integers(0, 256, (5, 4, 4), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    for k, pixels in enumerate(images):
        Image.fromarray(pixels).save(tmp_path / "in" / f"{k}.png")
    out = tmp_path / "run"
    found = run_cli("measure", tmp_path / "in", "--out", out, "--quiet", "--json")
    assert found.status == 0, found.err
    told = json.loads(found.out)
    assert told["images"] == 5
    variance = told["conditions"]["all"]["variance"]
    assert variance["value"] == pytest.approx((images / 255).var(0, ddof=1).mean(), rel=1e-5)
    assert variance["low"] < variance["value"] < variance["high"]
    assert f"measure {tmp_path / 'in'}" in (out / "report.html").read_text()
    wrong = run_cli("measure", tmp_path / "in", "--out", out, "--group-by", "subfolder")
    assert (wrong.status, wrong.out, wrong.err.count("\n")) == (2, "", 1)
    assert "--group-by subfolder expects GROUP/image everywhere" in wrong.err
