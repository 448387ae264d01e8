"""Images of a folder: numbers known in closed form, groups by folder and table, and what cannot be used."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from PIL import Image

import orthoscope as osc
from orthoscope import rng
from orthoscope.errors import ConfigError
from orthoscope.integrations.image_files import image_files
from orthoscope.results import run
from tests.stat.expect import expect_estimate

SIDE, STD = 4, 0.1
ROUNDING = 1 / (12 * 255**2)  # variance that levels of 8 bits add


def write(file: Path, image: NDArray[np.floating]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)).save(file)
    return file


def gaussian(folder: Path, number: int, std: float = STD, *, mean: float = 0.5, name: str = "") -> None:
    """Gray images whose pixels are independent Gaussians."""
    stream = rng.stream(0, "images", str(std), name or folder.name, str(mean))
    for k in range(number):
        write(folder / f"{k:03d}.png", mean + std * stream.standard_normal((SIDE, SIDE)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two conditions, of which the second has half the spread, with three groups each; and real images of the first."""
    home = tmp_path_factory.mktemp("images")
    for group, mean in (("a", 0.4), ("b", 0.5), ("c", 0.6)):
        gaussian(home / "made" / "wide" / group, 24, mean=mean)
        gaussian(home / "made" / "narrow" / group, 24, STD / 2, mean=mean)
    stream = rng.stream(0, "images", "real")
    for k in range(72):
        write(home / "real" / f"{k:03d}.png", 0.4 + 0.1 * (k % 3) + STD * stream.standard_normal((SIDE, SIDE)))
    return home


@pytest.fixture(scope="module")
def compared(made: Path) -> osc.Result:
    return osc.measure(made / "made", group_by="subfolder", reference=made / "real", baseline="wide")


def test_variances_are_those_of_the_law(compared: osc.Result) -> None:
    for condition, std in (("wide", STD), ("narrow", STD / 2)):
        one = compared.data.sel(condition=condition)
        for name in ("variance", "by_group_variance"):
            for value, error in zip(np.ravel(one[name]), np.ravel(one[f"{name}_stderr"]), strict=True):
                expect_estimate(float(value), float(error), std**2 + ROUNDING, detect=std**2)
        directions, error = (float(one[f"participation_ratio{end}"]) for end in ("", "_stderr"))
        assert abs(directions - SIDE**2) < 5 * error < SIDE**2
    kept = compared.data.sel(condition="narrow")
    expected = (STD**2 / 4 + ROUNDING) / (STD**2 + ROUNDING)
    value, error = (float(kept[f"change_variance_kept{end}"]) for end in ("", "_stderr"))
    expect_estimate(value, error, expected, detect=0.15)
    assert np.isnan(compared.data.sel(condition="wide")["change_variance_kept"])


def test_images_of_the_law_of_the_reference_are_as_near_as_real_ones(compared: osc.Result) -> None:
    same, narrow = (compared.data.sel(condition=name) for name in ("wide", "narrow"))
    between = np.var([0.4, 0.5, 0.6])  # which the variance of all together has, too
    expected = {"frechet_distance": 0.0, "energy_distance": 0.0, "variance_ratio": 1.0, "density": 1.0}
    for name, of_same in expected.items():
        expect_estimate(float(same[name]), float(same[f"{name}_stderr"]), of_same, bias=2e-4, detect=1.0)
    real = compared.data["real_class_distance"]
    error = np.hypot(same["class_distance_stderr"], compared.data["real_class_distance_stderr"])
    assert abs(float(same["class_distance"] - real)) < 4 * float(error)
    assert float(narrow["class_distance_high"]) < float(real)
    expect_estimate(
        float(narrow["variance_ratio"]), float(narrow["variance_ratio_stderr"]),
        (STD**2 / 4 + between) / (STD**2 + between), bias=0.01, detect=0.5,
    )  # fmt: skip
    assert float(narrow["frechet_distance_low"]) > 0


def test_a_result_is_told_saved_read_and_made_again(compared: osc.Result, tmp_path: Path) -> None:
    shown = repr(compared)
    for text in ("wide", "narrow", "near-duplicates", "Frechet distance", "Group by group beside wide"):
        assert text in shown
    assert json.loads(compared.to_json())["changes"]["narrow"]["variance_kept"]["stderr"] > 0
    compared.save(tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert "of the variance of “wide”" in page
    assert repr(osc.read(tmp_path / "run")) == shown
    xr.testing.assert_identical(run(osc.read(tmp_path / "run").study).data, compared.data)


def test_copies_have_no_diversity(tmp_path: Path) -> None:
    for k in range(5):
        write(tmp_path / "copies" / f"{k}.png", np.linspace(0, 1, 16).reshape(4, 4))
    found = osc.measure(tmp_path / "copies")
    assert {name: found[name].value for name in ("variance", "pairwise_distance", "vendi", "near_duplicates")} == {
        "variance": 0.0, "pairwise_distance": 0.0, "vendi": pytest.approx(1.0), "near_duplicates": 1.0,
    }  # fmt: skip
    assert found.data["near_duplicates_low"] < 1  # five images show no more


def test_a_table_groups_as_folders_do(made: Path, compared: osc.Result, tmp_path: Path) -> None:
    files = sorted((made / "made").rglob("*.png"))[::-1]
    rows = [",".join((file.relative_to(made / "made").as_posix(), *file.parts[-2:-4:-1])) for file in files]
    table = tmp_path / "groups.csv"
    table.write_text("\n".join(["file,group,condition", *rows]))
    found = osc.measure(made / "made", group_by=table, reference=made / "real", baseline="wide")
    assert found.numbers["conditions"] == compared.numbers["conditions"]
    table.write_text("\n".join(["file,group", *(row.rpartition(",")[0] for row in rows if "wide" in row)]))
    found = osc.measure(made / "made", group_by=table)
    assert "72 images that" in found.numbers["notes"][0]
    assert found["variance"].value == pytest.approx(float(compared.data["variance"].sel(condition="wide")))


def test_few_images_and_sizes_are_told_and_links_followed(tmp_path: Path) -> None:
    for group, number in (("one", 1), ("three", 3), ("many", 9)):
        gaussian(tmp_path / "in" / group, number)
    write(tmp_path / "in" / "many" / "large.png", np.zeros((6, 8)))
    (tmp_path / "in" / "three" / "linked.png").symlink_to(tmp_path / "in" / "many" / "large.png")
    (tmp_path / "in" / "three" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "in" / "many")
    (tmp_path / "in" / "three" / ".hidden.png").write_bytes(b"")
    found = osc.measure(tmp_path / "in", group_by="subfolder")
    notes = "\n".join(found.numbers["notes"])
    assert found.numbers["images"] == 15
    assert "too few images for participation ratio, which needs 4 in a group (one)" in notes
    assert "2 sizes, 4 x 4 to 8 x 6: each is cut to its middle square and averaged to 4 x 4" in notes
    assert "is a link to a folder, which is not followed" in notes
    assert np.isnan(found.data["by_group_variance"].sel(group="one"))
    assert found.data["by_group_variance"].sel(group=["many", "three"]).notnull().all()


def mistake(home: Path, text: str) -> Path:
    table = home / "groups.csv"
    table.write_text(text)
    return table


MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (lambda home: osc.measure(home / "nowhere"), "no such folder"),
    "no images": (lambda home: osc.measure(home / "empty"), "holds no images"),
    "one image": (lambda home: osc.measure(home / "in" / "b"), "holds one image, which cannot differ"),
    "damaged": (lambda home: osc.measure(home / "bad"), r"cannot read the image .*bad\.png"),
    "depths": (lambda home: osc.measure(home, group_by="subfolder"), "expects GROUP/image everywhere"),
    "no table": (lambda home: osc.measure(home / "in", group_by="subfolders"), "there is no file .*subfolders"),
    "columns": (lambda home: osc.measure(home / "in", group_by=mistake(home, "name,group\n")), "has no column file"),
    "missing": (
        lambda home: osc.measure(home / "in", group_by=mistake(home, "file,group\nx.png,a\na/000.png,a\n")),
        r"names 1 files that are no images in .*: x\.png",
    ),
    "twice": (
        lambda home: osc.measure(home / "in", group_by=mistake(home, "file,group\na/000.png,a\n./a/000.png,b\n")),
        "line 3: ./a/000.png is there a second time",
    ),
    "no group": (
        lambda home: osc.measure(home / "in", group_by=mistake(home, "file,group\na/000.png,\n")), "line 2: expected"
    ),
    "no reference": (lambda home: osc.measure(home / "in", reference=home / "nowhere"), "no such folder"),
    "few references": (lambda home: osc.measure(home / "in" / "a", reference=home / "few"), "at least 8 images, got 2"),
    "reference inside": (lambda home: osc.measure(home / "in", reference=home / "in" / "a"), "hold the same images"),
    "features": (lambda home: osc.measure(home / "in", features="latent"), "unknown features 'latent'"),
    "baseline": (lambda home: osc.measure(home / "in", baseline="x"), "unknown condition 'x'"),
    "no samples": (lambda home: osc.measure(3), "or a folder of images, got int"),
}  # fmt: skip


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("wrong")
    for folder, number in (("in/a", 3), ("in/b", 1), ("few", 2)):
        gaussian(home / folder, number)
    (home / "empty").mkdir()
    gaussian(home / "bad", 1)
    (home / "bad" / "bad.png").write_bytes(b"\x89PNG nothing")
    return home


@pytest.mark.parametrize("name", MISTAKES)
def test_what_cannot_be_used_is_told_in_one_line(name: str, wrong: Path) -> None:
    call, message = MISTAKES[name]
    with pytest.raises(ConfigError, match=message) as told:
        call(wrong)
    assert "\n" not in str(told.value)


def test_a_folder_that_cannot_be_read_is_named(wrong: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(path: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(ConfigError, match=r"cannot read the folder .*Permission denied; make it readable"):
        image_files(wrong, lambda text: None)
