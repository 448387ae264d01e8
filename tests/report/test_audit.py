"""The page of an audit, from hand-made results: what it shows is what was measured, and it opens offline."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from orthoscope.plots.audit import log_figure, pareto_figure, search_figure, twin_figure
from orthoscope.plots.audit_images import image_figure
from orthoscope.plots.letters import label_points, marks
from orthoscope.report.acting import acting, cost_of_strength, left_to_act, outcome
from orthoscope.report.audit import audit_page, audit_sections, cards, schedule_marks, write_report
from orthoscope.report.audit_numbers import cost_section, prompt_section
from orthoscope.report.audit_sections import image_section, recommendation_section, search_section, twin_section
from orthoscope.report.intervals import Interval, entries, interval, summary
from orthoscope.serialize import dumps
from tests.report.audits import CURRENT, ROLES, WINDOW, audited, searched

SMALL = {spec: ROLES[spec] for spec in ("constant:0", "constant:3", WINDOW)}


@dataclass(frozen=True)
class Result:
    """What `run` returns."""

    pipeline: xr.Dataset
    twin: xr.Dataset | None = None
    search: xr.Dataset | None = None


@pytest.fixture(scope="module")
def full() -> Result:
    return Result(audited(roles=SMALL), audited(roles=SMALL, offset=0.02), searched())


@pytest.fixture(scope="module")
def written(full: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(full, tmp_path_factory.mktemp("audit"), command="orthoscope audit --quick")


# The page


def test_the_page_stands_alone_and_shows_every_number_that_decides(full: Result, written: Path) -> None:
    page = written.read_text()
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
    assert len(page) < 3e6
    assert re.findall(r'<section id="([\w-]+)">', page) == [
        "recommendation", "diversity", "images", "acts", "twin", "search", "diversity-numbers", "adherence-numbers",
        "fidelity-numbers", "prompts", "cost",
    ]  # fmt: skip
    for spec in SMALL:
        for name in ("variance_ratio", "mean_shift", "class_posterior", "vendi", "recall"):
            found = interval(full.pipeline, name, spec)
            assert found is not None
            assert found.cell() in page
    assert "recall: too few images" in page
    assert "95 % intervals" in page
    assert "standard errors of the last digits" not in page


def test_pictures_are_told_to_those_who_do_not_see_them(written: Path) -> None:
    told = re.findall(r'<img [^>]*alt="([^"]*)"', written.read_text())
    assert len(set(told)) == 5
    assert "Pipeline (variance, that of strength 0 = 1 against mean shift from strength 0)" in told[0]
    assert "Marked: A" in told[0]


def test_figures_lie_beside_the_page_as_vectors_and_pixels(written: Path) -> None:
    names = {path.name for path in (written.parent / "figures").iterdir()}
    figures = ("audit-pareto", "audit-images", "audit-curves", "audit-twin", "audit-search")
    assert names == {f"{name}.{kind}" for name in figures for kind in ("svg", "png")}


def test_large_images_keep_the_page_small() -> None:
    """As pixels, also where they are noise, which nothing can compress."""
    photographs = audited(roles=SMALL, prompts=[f"prompt {k}" for k in range(6)], side=96, channels=3)
    result = Result(photographs)
    images = image_section(photographs, schedule_marks(photographs, None))
    assert images.pictures == {"audit-images"}
    page = audit_page(result, [images])
    assert "data:image/webp" in page
    assert len(page) < 3e6


def test_texts_of_users_are_escaped() -> None:
    result = Result(audited(roles=SMALL, prompts=("<script>alert(1)</script>",)))
    found = schedule_marks(result.pipeline, None)
    page = audit_page(
        result, [prompt_section(result.pipeline, found), cost_section(result.pipeline, found, "<script>")]
    )
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_a_page_needs_neither_twin_nor_search_nor_logs_nor_reference() -> None:
    bare = audited(roles=SMALL, stopped={"constant:20": "images are not finite"})
    bare = bare.drop_vars([str(n) for n in bare.data_vars if str(n).startswith(("log_", "precision", "recall", "by_"))])
    bare = bare.drop_vars(["image", "density", "coverage", "frechet_distance", "text_similarity"], errors="ignore")
    sections = audit_sections(Result(bare), command="")
    assert [s.name for s in sections] == [
        "recommendation", "diversity", "diversity-numbers", "adherence-numbers", "cost",
    ]  # fmt: skip
    assert "stopped: constant:20: images are not finite" in sections[-1].points


@pytest.mark.slow
def test_what_could_not_be_measured_at_all_leaves_a_page() -> None:
    # Two images of a prompt have no error of their variance.
    bare = audited(roles=SMALL)
    bare = bare.drop_vars([str(name) for name in bare.data_vars if "variance_ratio" in str(name)])
    for result in (Result(bare), Result(bare, audited(roles=SMALL)), Result(audited(roles=SMALL), bare, searched())):
        assert "not measured" in "".join(
            text.get_text()
            for section in audit_sections(result, command="")
            for figure in section.figures.values()
            for ax in figure.axes
            for text in ax.texts
        )


@pytest.mark.parametrize(
    ("least", "leaves", "says"),
    [
        (0.01, False, ("a window gains 3", "Its distance from the class, less theirs: 0.2")),
        (-0.01, False, ("no window is shown to gain", "1 were judged")),
        (0.01, True, ("no window is shown to gain", "C gains by leaving the class")),
    ],
)
def test_a_gain_on_top_is_shown_and_is_none_of_leaving_the_class(
    least: float, leaves: bool, says: tuple[str, str]
) -> None:
    audit = audited(roles=SMALL)
    column = np.where(audit["schedule"] == WINDOW, least, np.nan)
    audit["gain_least"] = ("schedule", column)
    for end, value in (("", 0.2), ("_low", 0.1), ("_high", 0.3)):
        audit[f"distance_gain{end}"] = ("schedule", np.where(np.isfinite(column), value, np.nan))
    advice = json.loads(audit.attrs["recommendation"])
    advice["verdicts"] = [{"schedule": WINDOW, "leaves_class": leaves}]
    audit.attrs["recommendation"] = json.dumps(advice)
    told = cards(audit, schedule_marks(audit, None))[-2]
    assert says[0] in told.value
    assert says[1] in told.text


@pytest.mark.parametrize("recommended", [WINDOW, None])
def test_the_recommendation_comes_first_with_its_evidence(recommended: str | None) -> None:
    result = Result(audited(roles=SMALL, recommended=recommended))
    first = recommendation_section(result.pipeline)
    assert first.points == ["gain 0.03 [0.01, 0.05]"]
    assert first.command == (f'with guided(pipe, "{WINDOW}"):' if recommended else "")
    page = audit_page(result, [first])
    assert ("<b>Use " in page) == bool(recommended)
    assert (WINDOW.replace(",", ",<wbr>") in page) == bool(recommended)
    assert ("<b>Nothing is shown to be better than what you do</b>" in page) == (recommended is None)


# Where guidance can act


def test_what_is_left_to_act_on_is_read_where_the_strength_turns_negative() -> None:
    audit = audited()
    sigma, share = left_to_act(audit, WINDOW)
    levels = np.geomspace(80.0, 0.05, audit.sizes["evaluation"])
    first = audit.sizes["evaluation"] // 2
    assert sigma == pytest.approx(levels[first])
    assert share == pytest.approx((1 + (2 / levels[0]) ** 2) / (1 + (2 / levels[first]) ** 2))
    assert left_to_act(audit, "constant:1") is None


def test_a_difference_that_was_not_computed_is_taken_from_the_schedule_in_use() -> None:
    audit = audited()
    expected = left_to_act(audit, WINDOW)
    audit["log_pair_distance"].loc[{"schedule": WINDOW}] = np.nan
    assert left_to_act(audit, WINDOW) == expected
    audit["log_pair_distance"].loc[{"schedule": CURRENT}] = np.nan
    assert left_to_act(audit, WINDOW) is None
    assert acting(audit, WINDOW, schedule_marks(audit, None)) == ""


@pytest.mark.parametrize(
    ("late", "says"), [(0.01, "less than 5% of that is left"), (1.9, "less than 50%"), (2.1, "there it still acts")]
)
def test_it_says_whether_anything_is_left(late: float, says: str) -> None:
    line = acting(ending(late), WINDOW, schedule_marks(audited(), None))
    assert says in line
    assert "variance is gained over constant:1.72 at equal mean shift: 0.0300" in line
    assert f"{late / 4:.1%}" in line


def ending(late: float) -> xr.Dataset:
    """An audit whose pair differs by 4 until the window turns negative, and by so much from then on."""
    audit = audited(roles=SMALL)
    half = audit.sizes["evaluation"] // 2
    audit["log_pair_distance"].loc[{"schedule": WINDOW}] = np.r_[[4.0] * half, [late] * half]
    return audit


@pytest.mark.parametrize(
    ("network", "exact", "said"), [(1.3, 0.4, True), (0.6, 0.4, False), (4.0, 3.0, False), (0.1, 0.4, False)]
)
def test_what_differs_only_in_the_network_is_called_its_error(network: float, exact: float, said: bool) -> None:
    audit, twin = ending(network), ending(exact)
    (line,) = twin_section(audit, twin, schedule_marks(audit, twin)).points
    assert f"the exact predictions differ by {exact / 4:.1%}" in line
    assert f"those of the network by {network / 4:.1%}" in line
    assert ("comes of the network" in line) == said


def test_a_gain_is_told_by_its_sign_where_its_interval_has_one() -> None:
    audit = audited(roles=SMALL)
    for low, high, says in (
        (0.01, 0.05, "variance is gained"),
        (-0.01, 0.05, "is shown, and none above 0.050 is left possible: 0.030 [-0.010, 0.050]"),
        (-0.05, -0.01, "variance is lost"),
    ):
        audit["gain_low"].loc[WINDOW], audit["gain_high"].loc[WINDOW] = low, high
        assert says in outcome(audit, WINDOW)
    assert outcome(audit, "constant:3") == ""


@pytest.mark.parametrize(("kept", "sure"), [(0.8, True), (1.2, False)])
def test_variance_is_said_to_fall_only_where_it_does(kept: float, sure: bool) -> None:
    audit = audited(roles=SMALL)
    for end, change in (("", 0.0), ("_low", -0.05), ("_high", 0.05)):
        audit["variance_ratio" + end].loc["constant:3"] = kept + change
    (line,) = cost_of_strength({"Pipeline": audit})
    assert ("falls" in line) == sure
    assert f"{kept:.3f} [{kept - 0.05:.3f}, {kept + 0.05:.3f}] at constant:3" in line


def test_what_a_search_chose_is_judged_by_the_audit() -> None:
    audit, search = audited(), searched()
    search["candidate"] = [*search["candidate"].values[:-1], "step:early=6,late=-0.5,switch=40%"]
    audit["gain_least"] = audit["gain_low"] - 0.02
    section = search_section(search, audit, schedule_marks(audit, None))
    unjudged, judged = section.points
    assert "F by 0.0084 at least; of adherence they lose at most" in section.verdict
    assert "not judged" in unjudged
    assert judged.startswith("F, step:early=6")
    assert "gained over constant:1.72 at equal mean shift: 0.0300" in judged
    assert "class posterior changes by" in judged
    audit["gain_least"][:] = -0.01  # the ends of 95 % are above 0 still
    assert search_section(search, audit, schedule_marks(audit, None)).verdict.startswith("None of these")
    search["chosen"][:] = False
    assert search_section(search, audit, schedule_marks(audit, None)).verdict.startswith("None was chosen")


# Numbers


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.85321, 0.81234, 0.89456, "0.853 [0.812, 0.895]"),
        (12.3456, 8.0, 16.0, "12.3 [8.0, 16.0]"),
        (1.0, 1.0, 1.0, "1"),
        (-3.22e-6, -7.19e-6, -1.06e-6, "0.00000 [-0.00001, 0.00000]"),
        (0.9999990, 0.9999985, 0.9999995, "1.00000 [1.00000, 1.00000]"),
        (0.5, float("nan"), float("nan"), "0.5"),
        (float("nan"), 0.0, 1.0, "–"),
    ],
)
def test_two_digits_of_the_error_are_shown(value: float, low: float, high: float, text: str) -> None:
    assert str(Interval(value=value, low=low, high=high)) == text


def test_entries_hold_every_measure_with_its_interval_and_nothing_that_json_cannot() -> None:
    audit = audited()
    audit["gain_least"] = audit["gain"]
    found = json.loads(dumps(summary(audit, None)))
    assert found["twin"] is None
    assert [entry["spec"] for entry in found["schedules"]] == list(ROLES)
    plain, window = found["schedules"][0], found["schedules"][4]
    assert plain["gain"] is None
    assert window["gain"] == {"value": 0.03, "low": pytest.approx(0.0284), "high": pytest.approx(0.0316)}
    assert window["network_calls"] == 14400
    assert not [name for name in window if name.endswith(("_low", "_high", "_stderr", "_least"))]
    assert {"spec", "role", "seconds", "memory", "recall", "mean_shift"} <= window.keys()
    assert not [name for name in window if name.startswith(("log_strength", "log_pair", "by_prompt"))]


def test_an_interval_without_ends_is_null_in_json() -> None:
    audit = audited(roles=SMALL)
    audit["vendi_low"][:] = np.nan
    assert json.loads(dumps(entries(audit)))[0]["vendi"]["low"] is None


# Figures


def points(figure: Figure, panel: int) -> list[tuple[float, float]]:
    """Points with bars, in the order drawn."""
    return [tuple(bars[0].get_xydata()[0]) for bars in figure.axes[panel].containers]


def test_the_pareto_figure_shows_every_schedule_with_its_intervals() -> None:
    audit = audited()
    figure = pareto_figure({"Pipeline": audit}, schedule_marks(audit, None))
    for panel, measure in enumerate(("mean_shift", "class_posterior")):
        expected = list(zip(audit[measure].values, audit["variance_ratio"].values, strict=True))
        np.testing.assert_allclose(points(figure, panel), expected)
        assert [text.get_text() for text in figure.axes[panel].texts] == list("ABCDEFG")
    across, up = (bars.get_segments()[0] for bars in figure.axes[0].containers[1][2])
    one = audit.sel(schedule="constant:1")
    np.testing.assert_allclose(across[:, 0], [one["mean_shift_low"], one["mean_shift_high"]])
    np.testing.assert_allclose(up[:, 1], [one["variance_ratio_low"], one["variance_ratio_high"]])


def test_constants_are_joined_in_the_order_of_their_shift() -> None:
    audit = audited()
    line = pareto_figure({"Pipeline": audit}, schedule_marks(audit, None)).axes[0].lines[0]
    constant = [k for k, role in enumerate(ROLES.values()) if role in ("reference", "constant", "matched")]
    np.testing.assert_array_equal(line.get_xdata(), np.sort(audit["mean_shift"].values[constant]))


def test_what_could_not_be_measured_is_left_out_of_figures() -> None:
    audit = audited()
    audit["class_posterior"][2] = np.nan
    audit["variance_ratio_low"][1] = np.nan
    figure = pareto_figure({"Pipeline": audit}, schedule_marks(audit, None))
    assert [text.get_text() for text in figure.axes[1].texts] == list("ABDEFG")
    figure.draw_without_rendering()


@pytest.mark.parametrize(("missing", "left"), [("mean_shift", "class posterior"), ("class_posterior", "mean shift")])
def test_no_half_of_a_figure_is_without_numbers(missing: str, left: str) -> None:
    audit = audited(roles=SMALL).drop_vars(missing)
    (ax,) = pareto_figure({"Pipeline": audit}, schedule_marks(audit, None)).axes
    assert left in ax.get_xlabel()
    assert [text.get_text() for text in ax.texts] == list("ABC")


def crowd(figure: Figure, close: float) -> np.ndarray:
    """Twelve points so many printer's points apart, labelled; where the labels are, in printer's points."""
    ax = figure.subplots()
    ax.set(xlim=(0, 72 * figure.get_figwidth()), ylim=(0, 72 * figure.get_figheight()))
    ax.set_position((0, 0, 1, 1))
    places = [(150.0 + close * (k % 4), 150.0 + close * (k // 4)) for k in range(12)]
    label_points(ax, places, list("ABCDEFGHJKLM"))
    return np.array([np.add(text.xy, text.xyann) for text in ax.texts]), np.array(places)


@pytest.mark.parametrize("close", [12.0, 30.0])
def test_letters_hide_neither_each_other_nor_a_point(close: float) -> None:
    labels, places = crowd(Figure(figsize=(5, 5)), close)
    between = np.linalg.norm(labels[:, None] - labels, axis=-1)[~np.eye(12, dtype=bool)]
    beside = np.linalg.norm(labels[:, None] - places, axis=-1)
    assert between.min() > 5
    assert beside.min() > 5


def test_schedules_look_different_and_keep_their_letter_on_every_figure() -> None:
    found = marks({f"step:early={k},late=-1,switch=50%": "window" for k in range(30)})
    assert len({mark.letter for mark in found.values()}) == 30
    first = list(found.values())[:18]
    assert len({(mark.marker, str(mark.dash)) for mark in first}) == 18  # without a look at the color
    audit, twin = audited(roles=SMALL), audited()
    both = schedule_marks(audit, twin)
    assert {spec: both[spec] for spec in SMALL} == schedule_marks(audit, None)


def test_every_image_stands_in_the_row_of_its_schedule() -> None:
    audit = audited(prompts=("a", "b"))
    figure = image_figure(audit, schedule_marks(audit, None))
    for k, prompt in enumerate(("a", "b")):
        ax = figure.axes[k]
        assert ax.get_title(loc="left") == prompt
        sheet = ax.images[0].get_array()
        assert [tick.get_text() for tick in ax.get_yticklabels()] == list("ABCDEFG")
        for row, column in ((0, 0), (6, 5), (3, 2)):
            tile = sheet[9 * row : 9 * row + 8, 9 * column : 9 * column + 8, 0]
            np.testing.assert_array_equal(tile, audit["image"][row, k, column, :, :, 0])


def test_curves_run_from_noise_to_image() -> None:
    audit = audited()
    figure = log_figure(audit, schedule_marks(audit, None))
    for ax, name in zip(figure.axes, ("log_strength", "log_pair_distance", "log_pair_cosine"), strict=True):
        left, right = ax.get_xlim()
        assert left > right
        np.testing.assert_array_equal(ax.lines[3].get_ydata(), audit[name][3])


def test_search_and_twin_show_their_numbers() -> None:
    search = searched()
    for ax, across, up in zip(
        search_figure(search, "class_posterior").axes,
        ("mean_shift", "adherence"),
        ("variance_ratio", "gain"),
        strict=True,
    ):
        ringed = next(line for line in ax.lines if line.get_label() == "chosen")
        np.testing.assert_array_equal(ringed.get_xdata(), search[across][-2:])
        np.testing.assert_array_equal(ringed.get_ydata(), search[up][-2:])
    audit, twin = audited(), audited(roles=SMALL, offset=0.05)
    drawn = twin_figure(audit, twin, schedule_marks(audit, twin)).axes[0].containers
    np.testing.assert_array_equal(drawn[0][0].get_ydata(), audit["variance_ratio"].sel(schedule=list(SMALL)))
    np.testing.assert_array_equal(drawn[1][0].get_ydata(), twin["variance_ratio"])
