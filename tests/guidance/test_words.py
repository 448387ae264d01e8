"""Strengths in words."""

from __future__ import annotations

import pytest

from orthoscope.guidance.words import in_words


@pytest.mark.parametrize(
    ("strengths", "words"),
    [
        ([0.0] * 4, "no guidance"),
        ([6.5] * 4, "scale 7.5 throughout"),
        ([3.0] * 8 + [0.0] * 7, "scale 4 in steps 1 to 8 of 15, then none"),
        ([0.0] * 2 + [3.0], "no guidance in steps 1 to 2 of 3, then scale 4"),
        ([3.0, 3.0, -1.0], "scale 4 in steps 1 to 2 of 3, then scale 0"),
        ([0.0, 2.0, 2.0, 0.0], "no guidance in steps 1 to 1 of 4, then scale 3 in steps 2 to 3, then none"),
        ([4.0, 3.0, 2.0, 1.0], "scale 5 at first, 2 at last"),
        ([1.0, 3.0, 4.0, 2.0, 0.5], "scale 2 at first, 1.5 at last, from 1.5 to 5"),
        ([], "no step"),
    ],
)
def test_what_a_run_does_is_told_in_scales_and_steps(strengths: list[float], words: str) -> None:
    assert in_words(strengths) == words
