"""The study of networks of real classes: what is compared with what, and how it is shown."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from orthoscope.errors import ConfigError
from orthoscope.experiments.glyphs import MEASURES, SCHEDULES, SOURCES, GlyphStudy
from orthoscope.plots.glyphs import glyphs_figure
from orthoscope.report.headlines import headlines
from orthoscope.report.sections import glyphs_section
from orthoscope.report.tables import glyphs_tables
from orthoscope.results import run_into
from orthoscope.sweeps.points import Points

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
SMALL = GlyphStudy(models=("digits",), classes=3, images=8, steps=6, knows=False)


@pytest.fixture(scope="module")
def found() -> xr.Dataset:
    return SMALL.run()


@pytest.mark.slow
def test_every_source_is_measured_beside_its_own_images_without_guidance(found: xr.Dataset) -> None:
    assert found["source"].values.tolist() == list(SOURCES)
    assert found["schedule"].values.tolist() == list(SCHEDULES)
    plain = found.sel(model="digits", schedule="constant 0")
    assert (plain["variance_ratio"] == 1).all()
    assert (plain["mean_shift"] == 0).all()
    strong = found.sel(model="digits", schedule="constant 3")["variance_ratio"]
    assert float(strong.sel(source="gaussian")) < float(strong.sel(source="classes")) - 0.1  # ignorance costs variance
    assert str(found["text"].sel(schedule="ending").values) == "step:early=3,late=0,switch=0.5,clock=step"


@pytest.mark.slow
def test_numbers_table_page_and_figure_agree(found: xr.Dataset) -> None:
    numbers = SMALL.summarize(found)
    (table,) = glyphs_tables(numbers)
    assert len(table.rows) == len(SOURCES) * len(SCHEDULES)
    strong = numbers["digits"]["sources"]["network"]["constant 3"]
    assert set(strong) == set(MEASURES)
    row = next(row for row in table.rows if row[:2] == ["constant 3", "network"])
    assert row[3].startswith(f"{strong['variance_ratio']['value']:.2f}(")
    section = glyphs_section(found, "orthoscope study glyphs")
    assert "digits: the network " in section.verdict
    assert headlines({"glyphs": found}) == []  # of the thousand characters, which are not there
    first, *_ = headlines({"glyphs": found.assign_coords(model=["glyphs"])})
    told, low, high = map(int, re.findall(r"(\d+)\s% \((\d+) to (\d+)\s%\)", first.value)[0])
    assert told == round(100 * strong["variance_ratio"]["value"])
    assert low < told < high
    assert len(glyphs_figure(found).axes) == 2


@pytest.mark.slow
def test_a_run_goes_on_with_what_it_has(tmp_path: Path) -> None:
    study = replace(SMALL, sources=("classes",), images=8)
    first = run_into(study, tmp_path, resume=False)
    told: list[tuple[int, int]] = []
    again = run_into(
        study, tmp_path, resume=True, points=Points(progress=lambda done, total: told.append((done, total)))
    )
    assert np.array_equal(first.data["variance_ratio"], again.data["variance_ratio"])
    assert (tmp_path / "audits" / "digits" / "classes" / "results.nc").is_file()
    assert json.loads((tmp_path / "spec.json").read_text())
    assert told == []


def test_what_is_not_there_is_named() -> None:
    for settings, message in (
        ({"models": ("letters",)}, "unknown model 'letters'"),
        ({"sources": ("exact",)}, "unknown source 'exact'"),
        ({"images": 4}, "`images` must be at least 8, got 4"),
        ({"classes": 1}, "`classes` must be at least 2, got 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            GlyphStudy(**settings)
