"""Glyphs rendered from fonts that are always there, and the ones that ship."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from orthoscope.errors import ConfigError
from orthoscope.experiments import glyph_data
from orthoscope.experiments.glyph_data import GlyphData, separation
from orthoscope.integrations.fonts import PACKAGES, Face, installed_faces, shared_characters
from orthoscope.targets.bundled import GLYPHS, bundled_glyphs, packed, unpacked
from orthoscope.targets.datafiles import read_labelled
from tests.conftest import Finished

FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"
FACES = [
    Face(file=FONTS / f"{name}.ttf")
    for name in ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSans", "DejaVuSansMono-Oblique", "STIXGeneral")
]
LETTERS = [chr(code) for code in (*range(ord("A"), ord("Z") + 1), *range(ord("a"), ord("z") + 1))]


@pytest.fixture
def latin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters in matplotlib's own fonts."""
    monkeypatch.setattr(glyph_data, "installed_faces", lambda folder: FACES)
    monkeypatch.setattr(glyph_data, "shared_characters", lambda: [*LETTERS, "永"])


def test_characters_are_centered_and_fill_fourteen_pixels() -> None:
    bar, ell = FACES[0].draw(["|", "L"])
    assert bar.shape == (16, 16)
    rows, columns = (np.flatnonzero(bar.sum(axis)) for axis in (1, 0))
    assert rows[-1] == 14
    assert bar[0].max() < bar[1].max() / 4  # whole pixels of what is drawn do not fall on those of the image
    assert columns[0] + columns[-1] == 15
    assert bar.max() <= 15
    assert ell[14].sum() > 3 * ell[2].sum()  # its foot is below


def test_standards_share_what_they_share() -> None:
    found = shared_characters()
    assert len(found) == len(set(found)) == 1759
    assert {"一", "永", "山"} - set(found) == set()
    assert "の" not in found


@pytest.mark.usefixtures("latin")
def test_near_copies_are_dropped_and_faces_held_out(tmp_path: Path) -> None:
    made = GlyphData(characters=26, held_out=2).rendered()
    assert [face.file.stem for face in made.faces].count("DejaVuSans") == 1
    assert made.characters == LETTERS[::2]
    assert made.levels.shape == (26, len(made.faces), 16, 16)
    assert made.held_out.sum() == 2
    made.write(tmp_path / "glyphs.npz")
    with np.load(tmp_path / "glyphs.npz") as stored:
        assert np.array_equal(unpacked(stored["ink"]), made.levels)
        assert stored["characters"].tolist() == made.characters
    assert "STIXGeneral.ttf: " in (tmp_path / "glyphs.txt").read_text()
    with pytest.raises(ConfigError, match="`characters` must be at most 52, which all faces share, got 53"):
        GlyphData(characters=53).rendered()
    with pytest.raises(ConfigError, match="`held_out` must leave at least 2 of 5 faces to train on, got 4"):
        GlyphData(characters=20, held_out=4).rendered()


@pytest.mark.usefixtures("latin")
def test_the_command_says_how_far_apart_classes_are(run_cli: Callable[..., Finished], tmp_path: Path) -> None:
    run = run_cli("data", "glyphs", "--characters", 20, "--held-out", 1, "--out", tmp_path, "--quiet", "--json")
    assert run.status == 0, run.err
    found = json.loads(run.out)
    assert (found["characters"], found["faces"], found["faces_found"]) == (20, 5, 6)
    ten = found["10 classes"]
    assert ten["load"] == pytest.approx(np.log(10) / ten["capacity"], rel=1e-12)
    assert {path.name for path in tmp_path.iterdir()} == {"lock", "glyphs.npz", "glyphs.txt", "sheet.svg", "sheet.png"}


def test_missing_fonts_are_named_by_their_packages(tmp_path: Path, run_cli: Callable[..., Finished]) -> None:
    (tmp_path / "setofont.ttf").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"lacks fonts of 9 of 10 packages; .*apt-get install fonts-noto-cjk") as told:
        installed_faces(tmp_path)
    assert "fonts-seto" not in str(told.value)
    run = run_cli("data", "glyphs", "--fonts", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert run.status == 2
    assert all(package in run.err for package in PACKAGES)
    for package, like in PACKAGES.items():
        (tmp_path / f"{package}-{like.replace('*', 'x').replace('[BR]', 'B')}").write_bytes(b"none")


def test_a_file_that_is_no_font_is_told(tmp_path: Path) -> None:
    for name in (
        "NotoSansCJK-Bold.ttc", "LXGWWenKai-Bold.ttf", "Mplus1-Bold.otf", "setofont.ttf", "SmileySans-Oblique.ttf",
        "ReggaeOne-Regular.ttf", "sawarabi-mincho-medium.ttf", "HanaMinA.ttf", "YOzBAF.ttf",
    ):  # fmt: skip
        (tmp_path / name).write_bytes(b"none")
    with pytest.raises(ConfigError, match=r"cannot read the font .*NotoSansCJK-Bold\.ttc"):
        installed_faces(tmp_path)


# What ships


def test_the_glyphs_ship() -> None:
    data = read_labelled("glyphs")
    assert data.x.shape == (63_000, 16, 16)
    assert (data.x.min(), data.x.max()) == (0.0, 15.0)
    assert len(set(data.names)) == 1000 == data.labels.max() + 1
    assert data.held_out is not None
    assert data.held_out.sum() == 5 * 1000
    assert GLYPHS.stat().st_size < 6e6
    assert "SIL Open" in GLYPHS.with_suffix(".txt").read_text()
    assert "SIL OPEN FONT LICENSE" in (GLYPHS.parent / "OFL-1.1.txt").read_text()


def test_fewer_are_spread_evenly_over_all() -> None:
    ten, hundred = bundled_glyphs(10), bundled_glyphs(100)
    assert hundred.names[::10] == ten.names
    rows = hundred.labels % 10 == 0
    assert np.array_equal(hundred.x[rows], ten.x)
    for number in (1, 1001):
        with pytest.raises(ConfigError, match=f"`classes` must be 2 to 1000, got {number}"):
            bundled_glyphs(number)


def test_two_gray_levels_fit_into_a_byte() -> None:
    levels = np.arange(256).reshape(1, 16, 16) % 16
    assert packed(levels).shape == (1, 128)
    assert np.array_equal(unpacked(packed(levels)), levels)


def test_classes_of_characters_are_far_below_capacity() -> None:
    data = bundled_glyphs(100)
    levels = data.x.reshape(100, 63, 16, 16).astype(np.uint8)
    found = separation(levels, data.held_out[:63], 10)
    assert found["lda_accuracy"] > 0.98
    assert 0.4 < found["within_share"] < 0.6
    assert found["load"] < 0.2
    assert found["load_by_directions"] > 3 * found["load"]  # the measure that misleads
