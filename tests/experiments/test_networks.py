"""Networks on random mixtures: what exact branches and one Gaussian are found to be, and a small study of real ones."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from orthoscope.datasets import dataset, read
from orthoscope.denoise import Denoiser, Evaluation, ExactDenoiser, Label, Memory, OwnMode
from orthoscope.errors import ConfigError, StoppedError
from orthoscope.experiments.networks.accuracy import foreseen, gains_foreseen, told
from orthoscope.experiments.networks.branches import Exam, Marks
from orthoscope.experiments.networks.examination import Examination
from orthoscope.experiments.networks.foretold import displace
from orthoscope.experiments.networks.guided import Outcome, PosteriorMixture, Track, gain
from orthoscope.experiments.networks.learner import Learner
from orthoscope.experiments.networks.study import LearnedStudy
from orthoscope.guidance.schedules import Constant, Step
from orthoscope.learned import Training
from orthoscope.process import NoiseLevel

pytestmark = pytest.mark.usefixtures("unchecked")
LEARNER = Learner(classes=4, dim=3, width=8, depth=1, training=Training(steps=30, batch=32, every=10))
LAW = LEARNER.law()
EXACT = OwnMode(LAW)
SCHEDULES = (Constant(value=0.0), Constant(value=2.0), Step(early=2.0, late=-1.0, switch=0.3))
TRACK = Track(law=LAW, labels=torch.arange(4).repeat_interleave(50), schedules=SCHEDULES, steps=10, t_max=20.0)
SMALL = Examination(
    schedules=("constant:0", "constant:2", "step:early=2,late=0,switch=1"), swapped=("constant:2",), classes=4,
    samples=64, paths=32, rows=128, levels=(0.05, 20.0, 5), steps=6, t_max=20.0,
)  # fmt: skip


class Ignorant(Denoiser):
    """The exact conditional branch beside one Gaussian."""

    gaussian = ExactDenoiser(LAW.gaussian())

    def evaluate(self, x: torch.Tensor, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        one = self.gaussian if label is None else EXACT
        return one.evaluate(x, level, label, memory)


def marked(network: Denoiser) -> Marks:
    exam = Exam(law=LAW, labels=torch.arange(4).repeat_interleave(100), times=(0.1, 1.0, 10.0), seed=3)
    return exam.mark(network)


def test_the_exact_branches_have_nothing_to_learn() -> None:
    marks = marked(EXACT)
    assert marks.excess("difference")[1].value == 0
    assert [one.value for one in marks.learned()[0]] == [1, 1, 1]
    assert marks.slope()[1].value == pytest.approx(1)
    assert marks.information("disagreement") == marks.information("disagreement_exact")
    np.testing.assert_allclose(marks.branches.cond_pull, 0, atol=1e-6)
    np.testing.assert_allclose(marks.branches.cond_slope, 0, atol=1e-6)


def test_one_gaussian_has_learned_nothing() -> None:
    marks = marked(Ignorant())
    assert marks.excess("cond")[1].value == 0
    assert [one.value for one in marks.learned()[0]] == [0, 0, 0]
    assert marks.slope()[1].value == pytest.approx(0, abs=1e-6)


def test_affine_answers_are_found_as_they_are() -> None:
    class Shrinking(Ignorant):
        def evaluate(
            self, x: torch.Tensor, level: NoiseLevel, label: Label = None, memory: Memory = None
        ) -> Evaluation:
            own = EXACT.evaluate(x, level, label, memory)
            return own if label is not None else replace(own, denoised=0.5 * x)

    marks = marked(Shrinking())
    times, v = marks.times, marks.times + LAW.width
    np.testing.assert_allclose(marks.affine_share, 1, rtol=1e-5)
    np.testing.assert_allclose(marks.branches.pull, v / times * 0.5, rtol=1e-4)
    np.testing.assert_allclose(marks.branches.slope, v / times * (LAW.width / v - 0.5), rtol=1e-4)


def test_a_wrong_conditional_branch_is_seen_in_both() -> None:
    class Off(Ignorant):
        def evaluate(
            self, x: torch.Tensor, level: NoiseLevel, label: Label = None, memory: Memory = None
        ) -> Evaluation:
            found = EXACT.evaluate(x, level, label, memory)
            return found if label is None else replace(found, denoised=found.denoised + 0.1)

    marks = marked(Off())
    unit = 0.1**2 * LAW.dim / marks.unit
    np.testing.assert_allclose([one.value for one in marks.excess("cond")[0]], unit, rtol=1e-5)
    np.testing.assert_allclose([one.value for one in marks.excess("difference")[0]], unit, rtol=1e-5)
    assert marks.excess("uncond")[1].value == 0


def test_outcomes_of_samples_that_are_known() -> None:
    own = LAW.centroids[TRACK.labels]
    normal = torch.from_numpy(np.random.default_rng(1).standard_normal((4, 25, LAW.dim)))
    spread = LAW.std * torch.cat([normal, -normal], dim=1).reshape(own.shape).to(own)
    before, after = TRACK.outcome(own + spread), TRACK.outcome(1.2 * own + 2 * spread)
    found = after.estimates(before)
    assert found["mean_shift"].value == pytest.approx(0.2, rel=1e-4)
    assert after.estimates()["variance_ratio"].value == pytest.approx(4 * before.estimates()["variance_ratio"].value)
    assert TRACK.outcome(own + 100).estimates()["far"].value == 1
    assert before.estimates()["far"].value < 0.05


def test_the_gain_is_over_the_constant_of_equal_mean_shift() -> None:
    one = np.ones(3)

    def outcome(shift: float, variance: float) -> Outcome:
        return Outcome(moved=shift * one, size=one, variance=variance * one, far=0 * one)

    constants = [outcome(0.0, 1.0), outcome(0.2, 0.6), outcome(0.1, 0.9)]
    assert gain(outcome(0.15, 1.0), constants).value == pytest.approx(0.25)
    assert gain(outcome(0.5, 0.5), constants).value == pytest.approx(-0.1)


def test_exact_conditional_predictions_weighted_by_the_posterior_are_the_unconditional_branch() -> None:
    x, level = TRACK.start[:20], NoiseLevel(time=1.5)
    torch.testing.assert_close(PosteriorMixture(LAW, EXACT)(x, level), EXACT(x, level))
    assert not torch.allclose(PosteriorMixture(LAW, EXACT, leading=1)(x, level), EXACT(x, level), atol=1e-3)


def test_errors_along_exact_paths_foretell_what_affine_answers_do() -> None:
    """With an affine difference of the branches the tangent that feels it is all that happens, at any size."""
    found = displace(TRACK, Ignorant())
    exact, wrong = (EXACT, EXACT), (EXACT, Ignorant())
    for k, schedule in enumerate(SCHEDULES):
        more = TRACK.run(wrong, schedule).estimates(TRACK.run(exact, schedule))
        for name in ("mean_shift", "variance_ratio"):
            assert found[f"displaced_{name}_gaussian"][k].value == pytest.approx(more[name].value, abs=2e-5)
    bare, felt = (found[f"displaced_variance_ratio_{name}"][1].value for name in ("bare", "gaussian"))
    assert bare - felt > 0.02
    assert all(one.value == 0 for one in displace(TRACK, EXACT)["displaced_variance_ratio_whole"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


def test_training_goes_on_from_its_file_and_refuses_another_law(folder: Path) -> None:
    file = folder / "weights.safetensors"
    whole = LEARNER.trained(file)
    assert whole.done == 30
    assert whole.seconds > 0
    again = LEARNER.trained(file)
    state = again.state()
    assert all(torch.equal(value, state[name]) for name, value in whole.state().items())
    with pytest.raises(ConfigError, match=r"std was 0\.5, now 0\.4"):
        LEARNER.but(std=0.4).trained(file)
    with pytest.raises(ConfigError, match="label"):
        LEARNER.denoiser(whole)(TRACK.start[:2], NoiseLevel(time=1.0), torch.tensor([0, 5]))


def test_training_that_diverges_keeps_the_last_good_state(tmp_path: Path) -> None:
    wild = LEARNER.but(training=Training(steps=200, batch=32, every=1, learning_rate=1e12, warmup=0))
    file = tmp_path / "weights.safetensors"
    with pytest.raises(StoppedError, match="keeps the state after"):
        wild.trained(file)
    assert file.is_file()


def test_a_study_trains_examines_and_says_what_it_found(tmp_path: Path) -> None:
    study = LearnedStudy(base=LEARNER, factors=(("null_share", (0.5,)),), seeds=1, examination=SMALL)
    result = study.run()
    numbers = study.summarize(result)
    assert list(numbers["networks"]) == ["base, seed 0", "null_share=0.5, seed 0"]
    one = numbers["networks"]["base, seed 0"]
    assert set(one["excess"]) == {"cond", "uncond", "difference"}
    assert len(one["excess"]["cond"]["level"]) == 5
    assert set(one["schedules"]["constant:2"]) == {"mean_shift", "variance_ratio", "far", "gain", "exact"}
    assert one["predicted"]["constant:2"]["affine"]["variance_ratio"] > 0
    assert numbers["foreseen"]["variance_ratio"]["all"]["exact"]["count"] == 6
    assert np.isnan(result["variance_ratio_posterior"].sel(schedule="constant:0")).all()


@pytest.mark.parametrize("factors", [(("hight", (1,)),), (("width", (0,)),)], ids=["unknown", "out of range"])
def test_factors_must_be_fields_of_the_network(factors: tuple[tuple[str, tuple[int, ...]], ...]) -> None:
    with pytest.raises(ConfigError, match=r"`factors`|width"):
        LearnedStudy(factors=factors)


def invented(gain: float) -> xr.Dataset:
    """Two networks whose variance falls with the mean shift, and a schedule that gains; `affine` is right."""
    texts = ["constant:0", "constant:1", "step:early=1,late=-1,switch=1"]
    shifts = np.array([[0.0, 0.2, 0.1], [0.0, 0.4, 0.2]])
    variances = 1 - shifts + np.array([0, 0, gain])
    some = {name: (["network", "schedule"], values) for name, values in (
        ("mean_shift_network", shifts), ("mean_shift_by_affine", shifts), ("mean_shift_exact", 0 * shifts),
        ("variance_ratio_network", variances), ("variance_ratio_by_affine", variances),
        ("variance_ratio_exact", 1 + 0 * shifts), ("displaced_variance_ratio_gaussian", variances - 1),
        ("gain_network", np.array([[0, 0, gain]] * 2)), ("gain_network_stderr", np.full((2, 3), 1e-3)),
        ("gain_network_n", np.full((2, 3), 100)),
    )}  # fmt: skip
    return dataset(some, coords={"schedule": texts, "network": ["a", "b"]}, spec=None)


def test_foresight_is_judged_against_what_was_measured() -> None:
    one = invented(0.3)
    assert foreseen(one, "variance_ratio", "affine")["rms"] == 0
    assert foreseen(one, "variance_ratio", "displaced_gaussian")["median"] == pytest.approx(0)
    assert foreseen(one, "mean_shift", "exact")["rms"] == pytest.approx(np.sqrt((0.04 + 0.01 + 0.16 + 0.04) / 6))
    assert gains_foreseen(one, "affine") == {"median": pytest.approx(0), "count": 2, "right": 2}
    lost = one.assign(gain_network=-one["gain_network"])
    assert gains_foreseen(lost, "affine") == {"median": pytest.approx(0.6), "count": 2, "right": 0}
    assert told(one, "variance_ratio", "displaced_gaussian").equals(one["variance_ratio_network"])


def test_the_page_quotes_what_the_data_say() -> None:
    """Of the results that are kept, to the digits that the page shows."""
    root = Path(__file__).parents[2] / "docs"
    page = " ".join((root / "explanation" / "learned.md").read_text(encoding="utf-8").split())
    result = read(root / "results" / "learned" / "results.nc")
    assert result is not None
    numbers = LearnedStudy().summarize(result)
    base, foreseen = numbers["kinds"]["base"], numbers["foreseen"]["variance_ratio"]["all"]
    for pair in ("exact", "network", "uncond", "cond", "gaussian"):
        one = base["constant:3"][f"variance_ratio_{pair}"]
        assert re.search(rf"\b{one['value']:.3f}\({1000 * one['stderr']:.0f}\)", page), pair
    for by in ("exact", "gaussian", "effective", "affine", "displaced_gaussian", "displaced_whole"):
        assert f"| {foreseen[by]['median']:.3f} |" in page
    ending = numbers["groups"]["ignorant"]["step:early=3,late=0,switch=1"]["gain"]
    assert f"| 3, ends at $t = 1$ | {ending['gaining']}, {ending['losing']} | {ending['mean']:.2f} |" in page
    one, three = (numbers["together"][f"constant:{w}"] for w in (1, 3))
    assert f"in {one['samplers']['mean_shift']['smaller_by_other']} of 75 at strength 1" in page
    assert f"is {one['mismatch']['bare']['slope']:.2f} of what the bare kernel says" in page
    least, most = (three["remedy"][f"{end}_variance_ratio"] for end in ("least", "most"))
    assert f"all {three['remedy']['networks']} networks" in page
    assert f"keep {least:.2f} to {most:.2f} of the variance at strength 3" in page
    assert f"strength 1 takes {-one['branches']['ignorant']['network']:.2f} of the variance" in page
