"""Making cells with a tiny real pipeline: batches, seeds, resuming, memory that runs out, numbers that are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from numpy.typing import NDArray
from PIL import Image

from orthoscope.audits.cells import ImageCells
from orthoscope.audits.generate import NotFiniteError, Order
from orthoscope.audits.maker import Maker, _stopped
from orthoscope.audits.pictures import picture_path, slug, thumbnails
from orthoscope.audits.studio import Studio
from orthoscope.audits.tally import Tally
from orthoscope.errors import StoppedError
from orthoscope.guidance.rules import LinearCFG, Renoised
from orthoscope.guidance.schedules import Constant, GuidanceSchedule
from orthoscope.integrations.features import features_of
from orthoscope.integrations.host import Generated, Host, host_of
from tests.integrations import pipelines

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
STEPS, IMAGES = 2, 5
PROMPTS = ("3", "7")
PLAIN, GUIDED, OVERFLOW = Constant(value=0), Constant(value=2), Constant(value=1e38)
SPECS = (PLAIN, GUIDED)


class Observed(Host):
    """A host that counts its calls, and whose memory holds so many images."""

    def __init__(self, pipe: Any, holds: int = 1000) -> None:
        super().__init__(pipe, "observed")
        self.holds = holds
        self.calls: list[tuple[str, int]] = []

    def generate(self, prompt: str, seeds: Sequence[int], *args: Any, **kwargs: Any) -> Any:
        self.calls.append((prompt, len(seeds)))
        if len(seeds) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().generate(prompt, seeds, *args, **kwargs)


@pytest.fixture(scope="module")
def pipe() -> Any:
    return pipelines.digits()


class Mean:
    """A judge of two classes: bright and dark."""

    name = "mean"
    identity: ClassVar[dict[str, Any]] = {"name": "mean"}

    def probabilities(self, generated: Generated) -> NDArray[np.float64]:
        bright = generated.images.mean((1, 2, 3), dtype=np.float64)
        return np.stack([bright, 1 - bright], 1)


@pytest.fixture
def host(pipe: Any) -> Observed:
    return Observed(pipe)


def maker(host: Host, *, judge: Any = None, batch: int = 0, features: str = "latent", **settings: Any) -> Maker:
    """A maker of a host; what is no field of it belongs to its order."""
    fields = {name: settings.pop(name) for name in ("pictures", "tally", "remark") if name in settings}
    order = {"rule": LinearCFG(), "steps": STEPS, "size": None, "seed": 0, "images": IMAGES} | settings
    studio = Studio(host=host, features=features_of(features), judge=judge, batch=batch)
    return Maker(studio=studio, order=Order(**order), **fields)


def filled(
    made: Maker, folder: Path, specs: Sequence[GuidanceSchedule] = SPECS, prompts: Sequence[str] = PROMPTS
) -> ImageCells:
    cells = made.cells(folder)
    assert made.fill(cells, specs, prompts) == {}
    return cells


def test_a_cell_is_what_the_host_makes(host: Observed, tmp_path: Path) -> None:
    judge = Mean()
    made = maker(host, judge=judge)
    cells = filled(made, tmp_path)
    expected = host.generate("3", made.order.seeds("3"), GUIDED, rule=LinearCFG(), steps=STEPS)
    np.testing.assert_array_equal(cells.features(GUIDED, "3"), expected.latents.reshape(IMAGES, -1))
    np.testing.assert_array_equal(cells.probabilities(GUIDED, "3"), judge.probabilities(expected))
    assert cells.thumbnails(GUIDED, "3").shape == (IMAGES, 8, 8, 1)
    np.testing.assert_array_equal(
        cells.thumbnails(GUIDED, "3"), np.round(np.clip(expected.images, 0, 1) * 255).astype(np.uint8)
    )
    log = cells.log(GUIDED, "3")
    np.testing.assert_allclose(log["pair_distance"], expected.log["pair_distance"].mean("row"), rtol=1e-6)
    np.testing.assert_array_equal(log["strength"], np.full(STEPS, 2.0))
    np.testing.assert_array_equal(log["time"], expected.log["time"])
    cost = cells.cost(GUIDED, "3")
    assert cost["network_calls"] == 2 * STEPS * IMAGES
    assert cost["seconds"] > 0
    assert cost["memory"] > 2**20


def test_batches_do_not_change_a_cell(host: Observed, tmp_path: Path) -> None:
    whole = filled(maker(host), tmp_path / "whole", prompts=("3",))
    for batch in (1, 2):
        parts = filled(maker(host, batch=batch), tmp_path / str(batch), prompts=("3",))
        for spec in SPECS:
            np.testing.assert_allclose(parts.features(spec, "3"), whole.features(spec, "3"), rtol=2e-3, atol=2e-4)
            assert parts.cost(spec, "3")["network_calls"] == whole.cost(spec, "3")["network_calls"]
            np.testing.assert_allclose(
                parts.log(spec, "3")["guided_norm"], whole.log(spec, "3")["guided_norm"], rtol=1e-4
            )


def test_seeds_are_common_to_schedules_and_belong_to_prompt_and_stage(host: Observed) -> None:
    one, other = maker(host), maker(host, stage="search")
    assert one.order.seeds("3") == maker(host).order.seeds("3")
    assert maker(host, images=2).order.seeds("3") == one.order.seeds("3")[:2]
    several = [*one.order.seeds("3"), *one.order.seeds("7"), *other.order.seeds("3")]
    noise = {float(torch.randn((), generator=torch.Generator().manual_seed(seed))) for seed in several}
    assert len(noise) == len(several)
    many = np.array(maker(host, images=100_000).order.seeds("3"))
    assert len(np.unique(many % 2**32)) == len(many)  # a generator reads 32 bits


def test_whatever_changes_a_cell_changes_its_name(host: Observed, pipe: Any, tmp_path: Path) -> None:
    def key(host: Host = host, **given: Any) -> str:
        return maker(host, **given).cells(tmp_path).key(SPECS[1], "3")

    changes: list[dict[str, Any]] = [{"steps": 3}, {"size": 16}, {"seed": 1}, {"rule": Renoised()}]
    changes += [{}, {"features": "pixel"}, {"judge": Mean()}, {"images": 4}, {"stage": "search"}]
    keys = [key(**change) for change in changes]
    keys += [key(host_of(type(pipe)(pipe.unet, DDIMScheduler.from_config(pipe.scheduler.config))))]
    assert len(set(keys)) == len(keys)
    assert key(batch=2) == key()


def test_only_what_is_missing_is_made(host: Observed, tmp_path: Path) -> None:
    filled(maker(host), tmp_path, specs=SPECS[:1], prompts=PROMPTS[:1])
    told: list[tuple[int, int]] = []
    tally = Tally(lambda done, total: told.append((done, total)))
    host.calls.clear()
    cells = filled(maker(host, tally=tally), tmp_path)
    assert host.calls == [("7", IMAGES), ("3", IMAGES), ("7", IMAGES)]
    assert told == [(IMAGES, 3 * IMAGES), (2 * IMAGES, 3 * IMAGES), (3 * IMAGES, 3 * IMAGES)]
    (tmp_path / f"{cells.key(SPECS[1], '7')}.safetensors").write_bytes(b"damaged")
    host.calls.clear()
    filled(maker(host), tmp_path)
    assert host.calls == [("7", IMAGES)]


def test_a_run_that_is_interrupted_goes_on_to_the_same_end(host: Observed, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2 * IMAGES:
            raise KeyboardInterrupt

    stopped = maker(host, tally=Tally(stop))
    cells = stopped.cells(tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        stopped.fill(cells, SPECS, PROMPTS)
    assert [cells.has(spec, prompt) for spec in SPECS for prompt in PROMPTS] == [True, True, False, False]
    filled(maker(host), tmp_path / "stopped")
    straight = filled(maker(host), tmp_path / "straight")
    for spec in SPECS:
        for prompt in PROMPTS:
            np.testing.assert_array_equal(cells.features(spec, prompt), straight.features(spec, prompt))


# Memory and numbers


def test_batches_are_halved_until_they_fit(pipe: Any, tmp_path: Path) -> None:
    tight, remarks = Observed(pipe, holds=2), []
    cells = filled(maker(tight, remark=remarks.append), tmp_path, specs=SPECS[:1], prompts=("3",))
    assert [n for _, n in tight.calls] == [5, 2, 2, 1]
    assert remarks == ["out of memory with 5 images at a time; going on with 2"]
    assert cells.features(PLAIN, "3").shape == (IMAGES, 64)


def test_one_image_that_does_not_fit_stops_the_run(pipe: Any, tmp_path: Path) -> None:
    made = maker(Observed(pipe, holds=0), batch=1)
    with pytest.raises(StoppedError, match="smaller `size`, or `device` cpu"):
        made.fill(made.cells(tmp_path), SPECS, PROMPTS)


def test_images_made_black_are_told_of_once(host: Observed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, remarks = host.generate, []
    monkeypatch.setattr(host, "generate", lambda *args, **how: replace(made(*args, **how), blanked=1))
    filled(maker(host, batch=3, remark=remarks.append), tmp_path, specs=SPECS[:1])
    assert remarks == ["constant:0: the pipeline's safety checker made 4 images black; they count as they are"]


def test_other_errors_are_no_lack_of_memory(host: Observed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(host, "generate", broken)
    made = maker(host)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        made.fill(made.cells(tmp_path), SPECS, PROMPTS)


def test_numbers_that_are_none_stop_their_schedule_only(host: Observed, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    made = maker(host, tally=Tally(lambda done, total: told.append((done, total))))
    cells = made.cells(tmp_path)
    stopped = made.fill(cells, (SPECS[0], OVERFLOW, SPECS[1]), PROMPTS)
    assert stopped.keys() == {OVERFLOW}
    assert "NaN or infinity in the images of prompt '3', from step" in stopped[OVERFLOW]
    assert f"of {STEPS} on" in stopped[OVERFLOW]
    assert not cells.has(OVERFLOW, "3")
    assert all(cells.has(spec, prompt) for spec in SPECS for prompt in PROMPTS)
    assert told[-1] == (4 * IMAGES, 4 * IMAGES)


def test_the_reason_is_that_of_the_first_prompt_whichever_comes_first() -> None:
    late, early, other = NotFiniteError("of 7"), NotFiniteError("of 3"), NotFiniteError("of 3, too")
    assert _stopped([(GUIDED, early), (GUIDED, late), (OVERFLOW, other)]) == {GUIDED: "of 3", OVERFLOW: "of 3, too"}
    with pytest.raises(ZeroDivisionError):
        _stopped([(GUIDED, early), (OVERFLOW, ZeroDivisionError())])
    with pytest.raises(StoppedError, match="constant:0, which everything is relative to: of 3"):
        _stopped([(PLAIN, early)])


# Pictures


@pytest.mark.slow
def test_pictures_are_the_images_and_are_made_again_where_they_lack(host: Observed, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    cells = filled(maker(host, pictures=folder, batch=2), tmp_path / "cells")
    shown = cells.thumbnails(GUIDED, "7")
    for image in range(IMAGES):
        with Image.open(picture_path(folder, "constant:2", "7", image)) as opened:
            np.testing.assert_array_equal(np.asarray(opened), shown[image, :, :, 0])
    host.calls.clear()
    filled(maker(host, pictures=folder), tmp_path / "cells")
    assert host.calls == []
    picture = picture_path(folder, "constant:2", "7", 4)
    whole = picture.read_bytes()
    torn = [None, b"", whole[:60], whole[:-40], whole[:-1], whole[:-60] + bytes(60), whole[:-30] + b"?" + whole[-29:]]
    for content in torn:
        picture.unlink() if content is None else picture.write_bytes(content)
        filled(maker(host, pictures=folder), tmp_path / "cells")
        assert host.calls == [("7", IMAGES)]
        assert picture.read_bytes() == whole
        host.calls.clear()
    filled(maker(host, pictures=folder, images=4), tmp_path / "cells", specs=SPECS[:1], prompts=("3",))
    assert host.calls == [("3", 4)]  # what lay there was another cell's


def test_a_cell_that_fails_takes_no_other_with_it(
    host: Observed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(prompt: str, seeds: Sequence[int], schedule: Any, **how: Any) -> Any:
        if schedule == PLAIN and prompt == PROMPTS[1]:
            raise RuntimeError("shapes do not fit")
        return whole(prompt, seeds, schedule, **how)

    whole, remarks = host.generate, []
    monkeypatch.setattr(host, "generate", broken)
    made = maker(host, remark=remarks.append)
    cells = made.cells(tmp_path)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        made.fill(cells, SPECS, PROMPTS)
    assert remarks == ["constant:0 is stopped: shapes do not fit"]
    assert [cells.has(spec, prompt) for spec in SPECS for prompt in PROMPTS] == [True, False, True, True]


def test_names_of_files_tell_texts_apart() -> None:
    texts = ["constant:1", "constant:-1", "a/b", "a:b", "a b", "..", "", "x" * 300, "x" * 299, "Katze", "猫", "犬"]
    names = [slug(text) for text in texts]
    assert len(set(names)) == len(names)
    assert all("/" not in name and len(name) < 80 and name.strip(".") for name in names)
    assert slug("constant:3") == "constant_3"


def test_thumbnails_are_area_means_and_never_larger() -> None:
    images = np.random.default_rng(0).random((10, 256, 128, 3), dtype=np.float32)
    small = thumbnails(images)
    assert small.shape == (8, 128, 64, 3)
    means = images[:8].reshape(8, 128, 2, 64, 2, 3).mean((2, 4))
    np.testing.assert_allclose(small / 255, means, atol=0.5 / 255 + 1e-6)
    assert thumbnails(images[:, :6, :6]).shape == (8, 6, 6, 3)
    assert thumbnails(images, already=6).shape == (2, 128, 64, 3)
    assert thumbnails(images, already=20).shape == (0, 128, 64, 3)


def test_a_host_of_text_makes_cells_too(tmp_path: Path) -> None:
    host = host_of(pipelines.stable_diffusion(**pipelines.texts_of_letters()), "tiny")
    cells = filled(maker(host, images=2), tmp_path, specs=SPECS[:1], prompts=("a cat",))
    assert cells.features(PLAIN, "a cat").shape[0] == 2
    assert cells.thumbnails(PLAIN, "a cat").shape[-1] == 3
