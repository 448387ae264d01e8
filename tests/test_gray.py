"""Every figure that any test draws must survive a print without colors, by a fixture; here, whether that finds it."""

from __future__ import annotations

import pytest

from orthoscope.plots.style import COLORS, DASHES, HATCHES, MARKERS, label_ends, panels
from tests.gray import alike


@pytest.mark.parametrize("color", COLORS[1:3])
def test_color_alone_is_found(color: str) -> None:
    figure, (ax,) = panels(1, 1, size=(3, 3))
    first, second = ax.plot([0, 1], [0, 1], color=COLORS[0]) + ax.plot([0, 1], [1, 0], color=color)
    assert len(alike(figure)) == 1
    second.set_linestyle(DASHES[1])
    assert alike(figure) == []
    first.set(linestyle="", marker=MARKERS[0])
    second.set(linestyle="", marker=MARKERS[0])
    assert len(alike(figure)) == 1
    second.set_marker(MARKERS[1])
    assert alike(figure) == []
    bars = [ax.bar([0], [1], color=one)[0] for one in COLORS[3:5]]
    assert len(alike(figure)) == 1
    bars[1].set_hatch(HATCHES[1])
    assert alike(figure) == []


def test_names_at_the_ends_of_curves_keep_apart() -> None:
    _, (ax,) = panels(1, 1, size=(4, 3))
    lines = [
        ax.plot([0, 1, 2], [0, 1, end], linestyle=DASHES[k], label=f"{k}")[0] for k, end in enumerate((5, 5, 5.01))
    ]
    ax.set_ylim(0, 10)
    label_ends(ax, lines)
    height = 72 * 3 * ax.get_position().height
    at = [height * text.xy[1] / 10 + text.xyann[1] for text in ax.texts]
    assert [text.get_text() for text in ax.texts] == ["0", "1", "2"]
    assert at[1] - at[0] > 8
    assert at[2] - at[1] > 8
    assert at[0] == pytest.approx(height / 2)
