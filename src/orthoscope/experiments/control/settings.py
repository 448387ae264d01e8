"""What is steered: laws, and the networks of images that ship; every setting has cases, which are classes of it."""

from __future__ import annotations

from dataclasses import dataclass

from orthoscope import rng
from orthoscope.control import Case
from orthoscope.experiments.control.laws import FAMILIES, WIDTHS, law_case, law_subject
from orthoscope.experiments.control.truth import Subject

IMAGES = ("digits", "glyphs")
THINNED = ("glyphs",)  # where a run takes a second, so that only every second value of a knob is run
SETTINGS = (*FAMILIES, *WIDTHS, *IMAGES)


@dataclass(frozen=True, slots=True)
class Size:
    """Rows and steps of a run."""

    samples: int
    steps: int


def case_of(setting: str, index: int, seed: int) -> Case:
    """One case; of images their counterpart with exact scores, by which policies are trained."""
    if setting not in IMAGES:
        return law_case(setting, index, seed)
    from orthoscope.experiments.control.images import image_case

    return image_case(setting, index)


def subject_of(setting: str, index: int, size: Size, seed: int) -> Subject:
    """The same to be steered, on noise of its own."""
    noise = rng.key(seed, "noise", setting, index) % 2**32
    if setting not in IMAGES:
        return law_subject(case_of(setting, index, seed), samples=size.samples, steps=size.steps, seed=noise)
    from orthoscope.experiments.control.images import image_subject

    return image_subject(setting, index, images=size.samples, steps=size.steps, seed=noise)
