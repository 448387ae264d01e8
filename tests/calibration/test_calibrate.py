"""Calibration: paths against densities, records against pipelines, thresholds against the theory's own ensemble."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

pytest.importorskip("diffusers")

from orthoscope import rng
from orthoscope.calibration import Calibration, audit_command, calibrate, summarize
from orthoscope.calibration import record as records
from orthoscope.calibration.examine import examine
from orthoscope.calibration.host_paths import follow
from orthoscope.calibration.levels import Sampling, commitment, levels_to_come, pair_profile
from orthoscope.calibration.moments import shrunk_gaussian, variance_of
from orthoscope.calibration.path import Paths, reverse_paths
from orthoscope.calibration.proposals import proposals
from orthoscope.calibration.record import Record, Recorder
from orthoscope.calibration.threshold import Spectra, side, threshold
from orthoscope.denoise import Denoiser, ExactDenoiser
from orthoscope.denoise.base import Evaluation, Label, Memory
from orthoscope.errors import ConfigError, StoppedError
from orthoscope.guidance.grammar import parse_schedule
from orthoscope.guidance.rules import LinearCFG
from orthoscope.guidance.schedules import Constant
from orthoscope.integrations.host import Host, host_of
from orthoscope.integrations.shipped import DIGITS, read_class_pipeline
from orthoscope.integrations.source import Source
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.quantities import Estimate
from orthoscope.sampling import IndependentNoise, geometric
from orthoscope.targets import Mixture, mixture
from orthoscope.targets.covariant import covariant
from orthoscope.theory import critical_rate, speciation_time
from tests.integrations import pipelines
from tests.integrations.test_host import with_shift, with_texts
from tests.stat.expect import expect_estimate

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
Array = NDArray[np.float64]
IMAGES = Sampling(over="images", seed=0)


# Reverse paths


@dataclass(frozen=True, eq=False)
class Watched(Denoiser):
    """A denoiser that remembers which states it saw, and may be wrong without a class."""

    truth: Denoiser
    seen: list[tuple[float, torch.Tensor]] = field(default_factory=list)
    uncond: Label = None

    def evaluate(self, x: torch.Tensor, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        if label is None:  # asked once at every level
            self.seen.append((level.variance, x))
        return self.truth.evaluate(x, level, self.uncond if label is None else label, memory)


def three_classes(std: float = 0.5) -> Mixture:
    """Two modes in each of three equally frequent classes."""
    centroids = 2 * rng.stream(7, "modes").standard_normal((6, 2))
    return mixture(torch.from_numpy(centroids), std=std, labels=torch.arange(6) % 3)


def followed(denoiser: Denoiser, rows: int, steps: int, seed: int, strength: float = 0.0) -> Paths:
    t_max = 2e4
    streams = rng.row_streams(seed, "paths", rows=range(rows))
    levels = geometric(VarianceExploding(), t_max, steps, end=1e-3)
    x = math.sqrt(t_max) * torch.from_numpy(np.stack([stream.standard_normal(2) for stream in streams]))
    noise = IndependentNoise(streams, (2,), like=x)
    return reverse_paths(denoiser, x, levels, noise, torch.arange(rows) % 3, 3, strength=strength)


@pytest.mark.parametrize("strength", [0.0, 2.5])
def test_odds_are_those_of_the_gaussian_steps_one_by_one(strength: float) -> None:
    watched = Watched(ExactDenoiser(three_classes()))
    paths = followed(watched, 6, 9, 0, strength)
    rows, logs = torch.arange(6), torch.zeros(6, 4, dtype=torch.float64)
    seen = watched.seen[:]
    for at, ((v, x), (below, after)) in enumerate(pairwise(seen), 1):
        r = below / v
        for column, label in enumerate((0, 1, 2, None)):
            mean = (1 - r) * watched.truth(x, NoiseLevel(time=v), label) + r * x
            law = torch.distributions.Normal(mean, math.sqrt(below * (1 - r)))
            logs[:, column] += law.log_prob(after).sum(1)
        assert paths.log_posterior[:, at] == pytest.approx(logs[:, :3].log_softmax(1).numpy(), abs=1e-9)
        assert paths.log_ratio[:, at] == pytest.approx((logs[rows, rows % 3] - logs[:, 3]).numpy(), abs=1e-9)
        mixed = logs[:, :3].logsumexp(1) - math.log(3) - logs[:, 3]
        assert paths.log_excess[:, at] == pytest.approx(mixed.numpy(), abs=1e-9)
        own = logs[rows, rows % 3] - logs[:, :3].logsumexp(1) + math.log(3)
        assert paths.asked[:, at] == pytest.approx(own.numpy(), abs=1e-9)
    assert len(seen) == 9


def test_the_posterior_of_a_path_becomes_that_of_its_state() -> None:
    target = three_classes()
    gaps = []
    for steps in (20, 160):
        watched = Watched(ExactDenoiser(target))
        paths = followed(watched, 40, steps, 3)
        rows = np.arange(40)
        off = []
        for at, (v, x) in enumerate(watched.seen):
            if 0.3 < v < 30:  # where the class is decided
                exact = torch.stack([target.class_posterior(x, label, NoiseLevel(time=v)) for label in range(3)], 1)
                off.append(np.abs(np.exp(paths.log_posterior[rows, at]) - exact.numpy()).mean())
        gaps.append(np.mean(off))
    assert gaps[1] < 0.03
    assert gaps[1] < 0.6 * gaps[0]  # of eight times the steps: the error of a single path goes with their root


def test_paths_are_calibrated_and_the_pair_of_exact_scores_tells_what_the_posterior_tells(seed: int) -> None:
    rows = 600
    paths = followed(ExactDenoiser(three_classes(0.2)), rows, 120, seed)
    own = paths.log_posterior[np.arange(rows), :, paths.labels]
    at = int(np.searchsorted(-paths.time, -2.0))  # in the middle of the decision
    surprise = -own[:, at] - paths.entropy[:, at]
    expect_estimate(surprise.mean(), surprise.std() / math.sqrt(rows), 0.0, detect=0.3, false_fail=5e-7)
    assert 0.2 < math.log(3) - paths.entropy[:, at].mean() < 0.9
    excess = paths.log_excess[:, -1]
    expect_estimate(
        excess.mean(), excess.std() / math.sqrt(rows), 0.0, bias=0.03, detect=0.3, false_fail=5e-7
    )  # the bias: one Gaussian per step for a mixture of three
    assert paths.entropy[:, -1].max() < 0.7


def test_guided_paths_are_told_their_class_as_much_as_their_pair_differs_and_earlier(seed: int) -> None:
    strength, rows, target = 3.0, 300, three_classes(0.2)
    watched = Watched(ExactDenoiser(target))
    paths = followed(watched, rows, 60, seed, strength)
    labels, gained = torch.arange(rows) % 3, np.zeros(rows)
    for (v, x), below in zip(watched.seen, paths.time[1:], strict=True):
        level = NoiseLevel(time=v)
        square = (
            (ExactDenoiser(target)(x, level, labels) - ExactDenoiser(target)(x, level, None)).square().sum(1).numpy()
        )
        gained += (0.5 + strength) * square * (1 / below - 1 / v)
    off = paths.log_ratio[:, -1] - gained  # a martingale, whatever the steps
    expect_estimate(off.mean(), off.std() / math.sqrt(rows), 0.0, detect=0.8, false_fail=5e-7)
    half = np.log(3) / 2
    plain = followed(ExactDenoiser(target), rows, 60, seed)
    told = [float(one.time[int(np.argmax(one.asked.mean(0) > half))]) for one in (plain, paths)]
    assert told[1] > 2 * told[0]  # so a window for strength 3 is not where strength 0 would have it


def test_an_unconditional_prediction_that_is_no_mean_of_the_others_shows_as_excess() -> None:
    paths = followed(Watched(ExactDenoiser(three_classes(0.2)), uncond=0), 150, 60, 1)
    found = [paths.log_excess[paths.labels == label, -1].mean() for label in range(3)]
    assert found[0] == pytest.approx(-math.log(3), abs=0.05)  # a third of the mixture, taken for all of it
    assert min(found[1:]) > 5
    assert paths.log_excess[:, -1].mean() > 3


def test_a_path_that_is_not_finite_is_stopped() -> None:
    @dataclass(frozen=True, eq=False)
    class Broken(Denoiser):
        def evaluate(
            self, x: torch.Tensor, level: NoiseLevel, label: Label = None, memory: Memory = None
        ) -> Evaluation:
            return Evaluation(denoised=x * math.nan)

    with pytest.raises(StoppedError, match="not finite"):
        followed(Broken(), 3, 5, 0)


def test_paths_run_in_single_precision_whatever_the_pipelines() -> None:
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        host = Source(dtype=str(dtype).removeprefix("torch.")).host()
        time, told = np.array([300.0, 30.0, 3.0, 0.3]), {0.0: np.array([0.0, 0.1, 1.0, 3.0])}
        followed = follow(host, time, told, Calibration(images_per_prompt=3, path_steps=5), lambda: None)
        assert followed is not None
        found.extend(followed.paths)
        assert next(host.pipe.unet.parameters()).dtype == dtype  # the pipeline keeps its own
    single, half = found
    assert single.time[[0, -1]] == pytest.approx([300.0, 0.3])
    assert single.labels.tolist() == np.repeat(range(10), 3).tolist()
    early = slice(0, 4)  # later, rounded weights may lead another way
    assert half.log_posterior[:, early] == pytest.approx(single.log_posterior[:, early], abs=0.3)


# Records


@pytest.fixture(scope="module")
def digits() -> Host:
    return host_of(read_class_pipeline(DIGITS.file), "digits")


class Tight:
    """A host that has memory for two images at once."""

    def __init__(self, host: Host) -> None:
        self.host, self.name = host, host.name
        self.sizes: list[int] = []

    def generate(self, prompt: str, seeds: Sequence[int], *args: Any, **kwargs: Any) -> Any:
        self.sizes.append(len(seeds))
        if len(seeds) > 2:
            raise MemoryError
        return self.host.generate(prompt, seeds, *args, **kwargs)


def recorder(host: Any, **changes: Any) -> Recorder:
    given: dict[str, Any] = {
        "host": host, "prompts": ("3", "8"), "images": 5, "steps": 4, "seed": 0,
        "advance": lambda: None, "remark": lambda text: None,
    }  # fmt: skip
    return Recorder(**given | changes)


def test_a_record_is_what_the_pipeline_did(digits: Host) -> None:
    advanced: list[int] = []
    found = recorder(digits, advance=lambda: advanced.append(1)).record(1.0)
    assert len(advanced) == 2
    seeds = [rng.key(0, "calibrate", "8", row) % 2**63 for row in range(5)]
    own = digits.generate("8", seeds, Constant(value=1.0), rule=LinearCFG(), steps=4)
    assert np.array_equal(found.time, own.log["time"].values)
    assert np.array_equal(found.squares[5:], own.log["pair_distance"].values.T.astype(float) ** 2)
    assert np.array_equal(found.states[5:], own.latents.reshape(5, -1))
    assert found.groups.tolist() == [0] * 5 + [1] * 5
    assert found.passes == 2 * 5 * 4 * 2  # prompts, images, steps, both predictions
    plain = digits.generate("8", seeds, Constant(value=0.0), rule=LinearCFG(), steps=4)
    none = recorder(digits).record(0.0)
    assert none.states[5:] == pytest.approx(plain.latents.reshape(5, -1), abs=1e-5)
    assert np.abs(none.states - found.states).max() > 1e-2
    heard = recorder(digits).record(0.0, hear=True)
    assert heard.states == pytest.approx(none.states, abs=1e-4)
    assert heard.products is not None
    apart = np.array([0, 0, 0, 1, -1])
    assert heard.products @ apart @ apart == pytest.approx(none.squares.sum(0), rel=1e-3, abs=1e-6)


def test_a_batch_that_does_not_fit_is_halved_and_says_so(digits: Host) -> None:
    told: list[str] = []
    tight = Tight(digits)
    found = recorder(tight, remark=told.append).record(0.0)
    assert tight.sizes == [5, 2, 2, 1, 2, 2, 1]
    assert told == ["out of memory: going on with 2 images at once"]
    assert found.states == pytest.approx(recorder(digits).record(0.0).states, abs=1e-4)
    assert found.squares == pytest.approx(recorder(digits).record(0.0).squares, rel=1e-3)


def test_not_even_one_image_in_memory_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, digits: Host) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(digits, "generate", full)
    with pytest.raises(StoppedError, match="out of memory with one image"):
        recorder(digits).record(0.0)


def test_a_pipeline_that_asks_twice_makes_both_predictions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = host_of(with_texts(with_shift(pipelines.flux())), "flux")
    monkeypatch.setattr(host, "generate", partial(host.generate, size=16))
    found = recorder(host, prompts=("a", "b"), images=3, steps=6).record(0.0)
    assert found.squares.shape == (6, 6)
    assert (found.squares > 0).all()
    plain = host.generate("a", [0], Constant(value=0.0), rule=LinearCFG(), steps=6)
    assert np.isnan(plain.log["pair_distance"].values[2:]).all()  # what strength 0 itself leaves out, once confirmed


def test_numbers_that_are_not_finite_are_refused() -> None:
    pipe = read_class_pipeline(DIGITS.file)
    next(pipe.unet.parameters()).fill_(torch.nan)
    with pytest.raises(StoppedError, match="NaN or infinity at strength 0"):
        recorder(host_of(pipe, "digits")).record(0.0)


def test_solvers_that_come_back_to_a_level_are_read_once() -> None:
    times = np.array([np.inf, 9.0, 4.0, 4.0 * (1 - 1e-12), 1.0, 1.0, 0.2, 0.0])
    assert records._descending(times).tolist() == [1, 2, 4, 6]
    with pytest.raises(ConfigError, match="at least 4 noise levels"):
        records._descending(times[:5])


# Profiles, thresholds and proposals


def made_up(time: Sequence[float], squares: Array, groups: Sequence[int]) -> Record:
    return Record(
        time=np.array(time), squares=squares, states=np.zeros((len(groups), 2), np.float32), groups=np.array(groups),
        passes=0,
    )  # fmt: skip


def test_a_profile_has_the_mean_and_the_error_of_its_images() -> None:
    q = np.array([1.0, 3.0, 2.0, 6.0])
    time = [8.0, 4.0, 2.0, 1.0]
    record = made_up(time, q[:, None] * np.ones(4), [0, 0, 1, 1])
    profile = pair_profile(record, IMAGES) | commitment(record, IMAGES)
    found = {name: values for name, (_, values) in profile.items()}
    error = math.hypot(1.0, 2.0) / 2  # of two prompts with two images each
    assert found["pair_square"] == pytest.approx(np.full(4, 3.0))
    assert found["pair_square_stderr"] == pytest.approx(np.full(4, error))
    assert found["score_difference"] == pytest.approx(3 / np.square(time))
    assert found["class_information"] == pytest.approx(1.5 / np.array(time))
    assert found["class_information_stderr"] == pytest.approx(error / 2 / np.array(time))
    assert found["class_information_quadrature"] == pytest.approx(np.zeros(4), abs=1e-12)
    assert found["commitment_left"] == pytest.approx([7 / 8, 3 / 4, 1 / 2, 0])
    assert found["commitment_left_stderr"] == pytest.approx(np.zeros(4), abs=1e-12)  # all images agree on it


def test_predictions_that_never_differ_are_refused() -> None:
    with pytest.raises(ConfigError, match="never differ"):
        commitment(made_up([4.0, 3.0, 2.0, 1.0], np.zeros((4, 4)), [0, 0, 1, 1]), IMAGES)


def test_levels_are_read_off_what_was_told_so_far() -> None:
    time = np.array([8.0, 4.0, 2.0, 1.0, 0.0])
    told = np.array([-0.1, 0.5, 2.0, 1.9, 2.0])  # as measured, neither positive nor monotone
    assert levels_to_come(time, told, {"half": 0.5}) == {"half": pytest.approx(8**0.5)}


def test_windows_are_sought_where_the_users_own_strength_leaves_the_pair_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    squares = {0.0: [1.0, 1.0, 1.0, 1.0], 1.0: [0.0, 0.0, 1.0, 1.0], 4.0: [4.0, 4.0, 0.0, 0.0]}

    def record(self: Recorder, strength: float, *, hear: bool = False) -> Record:
        made = made_up([8.0, 4.0, 2.0, 1.0], np.tile(squares[strength], (10, 1)), [0] * 5 + [1] * 5)
        states = rng.stream(0, "states").standard_normal((10, 3)).astype(np.float32) + made.groups[:, None]
        return replace(made, states=states.astype(np.float32))

    monkeypatch.setattr(Recorder, "record", record)
    host: Any = type("Texts", (), {"kind": "text", "classes": None, "pipe": None, "name": "texts"})()
    found = examine(host, ("a", "b"), Calibration(strengths=(1.0, 4.0)), lambda: None, lambda text: None)
    assert found.times["half_told"] == pytest.approx(2.0)  # of 1 / 2t at strength 0
    assert found.variables["commitment_left"][1][1:] == pytest.approx([0.285, 0, 0], abs=0.1)
    assert 4 < found.times["50%"] < 8


def test_the_theorys_own_ensemble_is_found_where_it_is(seed: int) -> None:
    dim, classes, rows, std = 12, 150, 12, 0.7
    stream = rng.stream(seed, "ensemble")
    centers = np.repeat(stream.standard_normal((classes, dim)), rows, axis=0)
    states = centers + std * stream.standard_normal(centers.shape)
    groups = np.repeat(np.arange(classes), rows)
    told = Estimate(value=1.0, stderr=0.1, n=9)
    capacity = dim * float(critical_rate(std, 0.0))  # that of the ensemble; these centers have their own
    for means in (None, centers[::rows]):  # from the images alone, and with means that are known
        found = threshold(states, groups, means, told, classes)
        assert found["capacity"].value == pytest.approx(capacity, rel=0.08)
        assert found["capacity_share"].value == pytest.approx(math.log(classes) / found["capacity"].value)
        assert found["information_share"].value == pytest.approx(1 / found["capacity"].value)
        rate = math.log(classes) / dim
        assert found["speciation_time"].value == pytest.approx(float(speciation_time(rate, std, 0.0)), abs=0.3)
        assert found["half_time"].value > found["speciation_time"].value
        doubled = threshold(2 * states, groups, None if means is None else 2 * means, told, classes)
        assert doubled["half_time"].value == pytest.approx(4 * found["half_time"].value, rel=1e-5)  # in data units
        assert doubled["capacity"].value == pytest.approx(found["capacity"].value, rel=1e-5)


def test_the_capacity_is_that_of_gaussian_channels_one_per_direction() -> None:
    within, between = np.array([4.0, 1.0, 0.25, 0.25]), np.array([2.0, 3.0, 0.0, 1.0])
    spectra = Spectra(
        within=covariant(torch.zeros(4, dtype=torch.float64), cov=torch.diag(torch.from_numpy(within))),
        means=np.sqrt(4.0) * np.diag(np.sqrt(between)),  # a class for every direction
    )
    for time in (0.0, 0.3, 20.0):
        expected = np.log1p(between / (within + time)).sum() / 2
        assert spectra.information(time) == pytest.approx(expected, rel=1e-7)
    assert spectra.information(spectra.time(0.4)) == pytest.approx(0.4)
    assert spectra.time(1e3) == 0.0


def test_without_separation_there_is_no_threshold() -> None:
    states = np.tile(rng.stream(0, "states").standard_normal((5, 3)), (2, 1))
    found = threshold(states, np.repeat([0, 1], 5), None, Estimate(value=1.0, stderr=0.1, n=10), None)
    assert found["capacity"].value == pytest.approx(0.0, abs=0.05)
    assert found["half_time"].value >= 0


def test_the_digits_are_far_below_their_capacity() -> None:
    x, labels = DIGITS.images()
    found = threshold(x.reshape(len(x), -1).astype(float), labels, None, Estimate(value=2.3, stderr=0.1, n=9), 10)
    assert side(found["capacity_share"]) == "committed"
    assert 0.3 < found["capacity_share"].value < 0.6


def test_a_side_is_taken_beyond_two_standard_errors() -> None:
    sides = [side(Estimate(value=value, stderr=0.04, n=9)) for value in (0.8, 0.95, 1.05, 1.2)]
    assert sides == ["committed", "undecided", "undecided", "dense"]


def test_a_gaussian_of_few_images_is_that_of_ledoit_and_wolf() -> None:
    stream = rng.stream(0, "few")
    for n, dim in ((30, 8), (12, 40)):
        images = stream.standard_normal((n, dim)) * np.linspace(0.2, 3, dim)
        found = shrunk_gaussian(images)
        cov = found.basis * found.variances @ found.basis.T
        cov = cov + found.rest * (torch.eye(dim, dtype=torch.float64) - found.basis @ found.basis.T)
        assert cov.numpy() == pytest.approx(LedoitWolf().fit(images).covariance_, abs=1e-9)
        assert variance_of(found) == pytest.approx(images.var(0).mean())


def test_proposals_are_windows_of_the_grammar() -> None:
    times = {"75%": 9.8765, "50%": 3.0, "25%": math.nan, "low": 0.2, "high": 40.0, "half_told": 1.234}
    found = proposals(times, 6.5, np.array([50.0, 20.0, 5.0, 2.0, 0.1]))
    assert [(one.spec, one.words) for one in found] == [
        ("step:early=0,late=6.5,switch=1.23", "begin guidance (scale 7.5) after step 4 of 5"),
        ("step:early=6.5,late=0,switch=9.88", "end guidance (scale 7.5) after step 2 of 5"),
        ("step:early=6.5,late=0,switch=3", "end guidance (scale 7.5) after step 3 of 5"),
        ("step:early=6.5,late=-0.5,switch=9.88", "guide (scale 7.5) and turn to scale 0.5 after step 2 of 5"),
        ("step:early=6.5,late=-0.5,switch=3", "guide (scale 7.5) and turn to scale 0.5 after step 3 of 5"),
        ("step:early=6.5,late=-1,switch=9.88", "guide (scale 7.5) and turn to scale 0 after step 2 of 5"),
        ("step:early=6.5,late=-1,switch=3", "guide (scale 7.5) and turn to scale 0 after step 3 of 5"),
        (
            "tabulated:at=0.2/40,strengths=-0.5/6.5",
            "lower the scale from 7.5 after step 1 of 5 to 0.5 after step 4 of 5",
        ),
    ]
    ramp = parse_schedule(found[-1].spec)
    strengths = [float(ramp.strength(NoiseLevel(time=t))) for t in (0.1, 0.2, 20.1, 40.0, 1e4)]
    assert strengths == pytest.approx([-0.5, -0.5, 3.0, 6.5, 6.5])
    assert proposals(dict.fromkeys(times, math.nan), 1.0, np.ones(3)) == ()
    settings = {"model": "some where", "prompts": None}
    assert audit_command(settings, 6.5, ["constant:1"]) == (
        "orthoscope audit --model 'some where' --schedules constant:0 --schedules constant:6.5 --schedules constant:1"
    )


# The whole


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images_per_prompt": 2}, "at least 3"),
        ({"steps": 3}, "at least 4"),
        ({"strengths": ()}, "different numbers"),
        ({"strengths": (1.0, 1.0)}, "different numbers"),
        ({"strengths": (0.0,)}, "above 0"),
        ({"high": 0.1, "low": 0.2}, "low < high"),
        ({"paths": 4}, "`paths` must be at least 8"),
        ({"exhaustive": True}, "two or more different `prompts`"),
        ({"exhaustive": True, "prompts": ("a", "a")}, "two or more different `prompts`"),
        ({"exhaustive": True, "prompts": ("a", "b"), "data": "x.npz"}, "leave out one"),
    ],
)
def test_unusable_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Calibration(**changes)


@pytest.mark.slow
def test_the_digits_model_is_laid_beside_its_exact_twin() -> None:
    asked, told = Calibration(images_per_prompt=3, steps=6, path_steps=8, strengths=(1.0,)), list[tuple[int, int]]()
    small = calibrate(asked, Source(), progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 72) for done in range(1, 73)]  # of both: ten prompts, and eight steps, at two strengths
    assert small["source"].values.tolist() == ["pipeline", "twin"]
    pipeline, twin = (small.sel(source=name) for name in ("pipeline", "twin"))
    for one in (pipeline, twin):  # ten classes, equally frequent: all is told in the end, however rough the steps
        assert float(one["posterior_information"][-1]) == pytest.approx(math.log(10), abs=0.05)
        assert float(one["posterior_information"][0]) == pytest.approx(0.0, abs=1e-12)
        assert 0 < float(one["range_low"]) < float(one["time_50_to_come"]) < float(one["range_high"])
        assert float(one["asked_information"][-1]) == pytest.approx(math.log(10), abs=0.05)
        assert 0 < float(one["half_told"]) < float(one["range_high"])
        assert float(one["capacity_share"]) == pytest.approx(math.log(10) / float(one["capacity"]))
    early = slice(0, 3)  # far above the data both know the classes' means
    ratio = pipeline["pair_square"][early] / twin["pair_square"][early]
    assert ratio.values == pytest.approx(np.ones(3), abs=0.15)
    # With all told, exact scores agree and the network's do not: that is the excess.
    assert float(twin["pair_square"][-1]) < 0.05 * float(pipeline["pair_square"][-1])
    found = summarize(small)
    pipeline_excess, twin_excess = (found[name]["paths"]["excess"]["value"] for name in ("pipeline", "twin"))
    assert pipeline_excess > twin_excess + 1 > 1  # the twin's is that of eight rough steps
    assert found["profile"] == "posterior"
    assert [parse_schedule(spec) for spec in found["proposals"]]
    knows, exact = (found[name]["knowledge"]["learned_fraction"]["value"] for name in ("pipeline", "twin"))
    assert 0.4 < knows < exact - 0.1  # of eight rough steps
    assert 0.8 < exact < 1.05
    assert len(found["advice"]) == 3
    assert found["asked"] > 2 * 30 * 11 * 8
    assert "nan" not in json.dumps([found["advice"], found["proposals_in_words"]])


@pytest.mark.slow
def test_of_many_classes_some_are_drawn_and_equal_settings_give_equal_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orthoscope.calibration.host_paths.PATHED", 9)
    points = rng.stream(0, "points").uniform(-1, 1, (60, 8, 8))
    path = saved(tmp_path, x=points, labels=np.arange(60) % 10)
    tiny = Calibration(prompts=("0", "1"), images_per_prompt=4, steps=4, path_steps=4, strengths=(1.0,), data=str(path))
    told: list[tuple[int, int]] = []
    first = calibrate(tiny, Source(), progress=lambda done, total: told.append((done, total)))
    # The pipeline: two prompts at two strengths; the twin: all ten classes of the data.
    assert told[-1][0] == told[-1][1]  # each follows paths at strength 0 only
    assert summarize(first)["profile"] == "pair"  # what the range under guidance is read off
    assert "asked_information" not in first
    assert first.attrs["classes"] == 10
    xr.testing.assert_identical(calibrate(tiny, Source()), first)


def test_too_little_to_measure_is_one_clear_line(tmp_path: Path) -> None:
    path = saved(tmp_path, x=np.eye(64).reshape(-1, 8, 8), labels=np.arange(64) % 3)
    with pytest.raises(ConfigError, match="every class of digits, 0 to 9"):
        calibrate(Calibration(data=str(path)), Source())
    with pytest.raises(ConfigError, match="at least 2 prompts and 8 images"):
        calibrate(Calibration(prompts=("0", "1"), images_per_prompt=3, steps=4), Source())
