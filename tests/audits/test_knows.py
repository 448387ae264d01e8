"""What an audit says that an unconditional branch knows: that of calibration, once, where it is little work."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("diffusers")

from orthoscope.audits import knows
from orthoscope.audits.plan import Audit
from orthoscope.audits.studio import Recipe, Studio
from orthoscope.calibration import examine
from orthoscope.quantities import Estimate
from orthoscope.sweeps.cells import Cells
from orthoscope.threads import one_thread
from tests.integrations import pipelines

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Recipe(plan=Audit()).studio()


def test_it_is_that_of_calibration_and_is_asked_once(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Audit(steps=12).completed(studio.host)
    with one_thread():
        told = knows.known(studio, plan, 1e6, Cells(tmp_path))
    low, high = Estimate(**told["learned_fraction"]).interval()
    assert low < 0.734 < high  # that of `docs/results/glyphs`, by three times the predictions
    assert told["standing"] == "between"
    assert told["asked"] < 18_000
    assert f"[{low:.2f}, {high:.2f}]" in told["text"][0]

    def refused(*asked: object) -> None:
        raise AssertionError("it was asked again")

    monkeypatch.setattr(examine, "inquire", refused)
    assert knows.known(studio, plan, 1e6, Cells(tmp_path)) == told


def test_what_is_too_much_work_is_said_and_not_done(studio: Studio, tmp_path: Path) -> None:
    plan = Audit(steps=20).completed(studio.host)
    (text,) = knows.known(studio, plan, 4 * 16_000, Cells(tmp_path))["text"]
    assert "too many for this audit: `orthoscope calibrate` tells" in text
    assert not list(tmp_path.iterdir())


def test_a_pipeline_of_texts_has_nothing_to_say(tmp_path: Path) -> None:
    from orthoscope.integrations.features import LatentFeatures
    from orthoscope.integrations.host import host_of

    texts = Studio(host=host_of(pipelines.stable_diffusion(), "tiny"), features=LatentFeatures())
    assert knows.known(texts, Audit(prompts=("a", "b")), 1e9, Cells(tmp_path)) == {}
