"""Targets of one's own data, samples of their classes, and rules beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import orthoscope as osc
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.metrics import energy_distance
from orthoscope.metrics.energy import energy_difference
from orthoscope.simulation.classes import moments_of
from tests.stat.expect import expect_estimate

rows = np.random.default_rng(5)
POINTS = np.concatenate([rows.normal(size=(60, 3)) * 0.4 + center for center in (0.0, 1.5, -1.5)])
LABELS = np.repeat([0, 1, 2], 60)


@pytest.fixture(scope="module")
def data() -> Any:
    return osc.mixture(POINTS, labels=LABELS)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, lambda a: a.tolist()])
def test_points_of_any_kind_make_the_same_mixture(kind: Any, data: Any) -> None:
    found = osc.mixture(kind(POINTS), labels=kind(LABELS))
    assert found.std == pytest.approx(data.std, rel=1e-3)
    assert found.size == 180


def test_a_data_set_is_a_mixture_by_name() -> None:
    digits = osc.mixture("digits")
    assert (digits.size, digits.dim) == (1797, 64)


def test_without_guidance_samples_are_the_class(data: Any) -> None:
    found = osc.measure(osc.sample(data, 0.0, label=1, n=2000, steps=24))
    expected = (
        ("mean_shift", 0.0, 0.15),
        ("variance_ratio", 1.0, 0.25),
        ("energy_distance", 0.0, 0.03),
    )
    for name, ideal, detect in expected:
        measured = found[name]
        expect_estimate(measured.value, measured.stderr, ideal, bias=1e-3, detect=detect)


def test_guidance_moves_the_mean_and_takes_variance(data: Any) -> None:
    plain, guided = (osc.measure(osc.sample(data, w, label=1, n=800, steps=24)) for w in (0.0, 4.0))
    assert guided["mean_shift"].minus(plain["mean_shift"]).value > 4 * guided["mean_shift"].stderr
    assert guided["variance_ratio"].value < plain["variance_ratio"].value
    assert guided["energy_distance"].value > 4 * guided["energy_distance"].stderr
    assert "energy distance" in repr(guided)


def test_seeds_share_noise_and_samplers_agree(data: Any) -> None:
    one, same, other = (osc.sample(data, 1.0, label=2, n=64, steps=12, seed=seed).x for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert osc.sample(data, 1.0, label=2, n=64, steps=12, ode=True).x.shape == (64, 3)
    stepped = osc.sample(data, 1.0, label=2, n=64, steps=12, seed=1, step=osc.Exponential(lam=1.0))
    np.testing.assert_array_equal(stepped.x, one)


def test_a_rule_that_bends_gets_the_targets_own_mean(data: Any) -> None:
    """At strength 0 it samples the class, up to what levels that end above 0 leave out."""
    found = osc.measure(osc.sample(data, 0.0, label=1, n=2000, steps=40, rule="rescale:phi=0.7"))
    measured = found["variance_ratio"]
    expect_estimate(measured.value, measured.stderr, 1.0, bias=0.01, detect=0.25)


@pytest.mark.usefixtures("unchecked")
def test_a_network_of_ones_own_takes_the_place_of_the_exact_score(data: Any) -> None:
    def exact(x: torch.Tensor, sigma: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
        law = data if label is None else data.conditional(int(label[0]))
        return law.denoised(x, osc.NoiseLevel(time=float(sigma[0]) ** 2))

    def biased(x: torch.Tensor, sigma: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
        return exact(x, sigma, label) + 0.3

    plain, own, off = (
        osc.measure(osc.sample(data, 2.0, label=1, n=400, steps=24, denoiser=one)) for one in (None, exact, biased)
    )
    for name in ("mean_shift", "variance_ratio", "energy_distance"):  # levels differ, and noise with them
        assert abs(own[name].value - plain[name].value) < 5 * np.hypot(own[name].stderr, plain[name].stderr)
    assert off["energy_distance"].value > 10 * plain["energy_distance"].stderr
    compared = osc.compare(data, ["cfg", "rescale:phi=0.5"], label=1, n=64, steps=8, denoiser=exact)
    assert all(row["failed"] is None for row in compared.numbers["rules"])
    with pytest.raises(ConfigError, match="must be a function or a network"):
        osc.sample(data, 1.0, denoiser=5)


def test_errors_of_a_network_count_as_they_should() -> None:
    """Denoised means off by a sqrt(t) along m move the mean by the integral of a s^2 / (s^2 + t) dt/sqrt(t)."""
    target = osc.mixture(np.array([[1.0, 2.0], [-2.0, 1.0]]), labels=[0, 1], std=0.3)
    own = torch.as_tensor([1.0, 2.0], dtype=target.dtype)

    def shifted(by: float) -> Any:
        def answer(x: Any, sigma: Any, label: Any) -> Any:
            time = sigma[:, None] ** 2
            return (0.09 * x + time * own) / (0.09 + time) + by * time.sqrt() * own

        return osc.measure(osc.sample(target, 0.0, n=64, t_max=20.0, denoiser=answer))

    right, wrong = shifted(0.0), shifted(0.1)
    expected = 2 * 0.1 * 0.3 * np.arctan(20**0.5 / 0.3)
    assert wrong["mean_shift"].value - right["mean_shift"].value == pytest.approx(expected, rel=0.01)
    assert wrong["variance_ratio"].value == pytest.approx(right["variance_ratio"].value, rel=1e-6)


def test_rules_are_compared_at_equal_effect(data: Any) -> None:
    found = osc.compare(data, ["cfg", "rescale:phi=0.5", "cfg"], label=1, n=200, steps=12, strength=2.0)
    first, rescaled, again = found.numbers["rules"]
    assert first["strength"] == 2.0
    assert again["strength"] == pytest.approx(2.0, abs=0.02)  # what does as much as it does is itself
    assert again["mean_shift_change"]["value"] == pytest.approx(0.0, abs=0.01)
    assert rescaled["strength"] == pytest.approx(2.0, abs=0.5)
    assert abs(rescaled["mean_shift_change"]["value"]) < 4 * rescaled["mean_shift_change"]["stderr"] + 0.02
    assert rescaled["class_posterior_change"]["stderr"] > 0
    assert "rescale:phi=0.5 minus cfg" in repr(found)
    assert found.plot().axes


def jumping(x: Any, level: Any, predictions: Any, w: float) -> Any:
    """Weak up to strength 2, then all at once strong."""
    return predictions["cond"] + (5.0 if w > 2 else 0.5) * (predictions["cond"] - predictions["uncond"])


def idle(x: Any, level: Any, predictions: Any, w: float) -> Any:
    """No guidance at any strength."""
    return predictions["cond"]


def broken(x: Any, level: Any, predictions: Any, w: float) -> Any:
    """Nothing that a sampler could use."""
    return predictions["cond"] * float("nan")


def test_distance_and_far_share_stand_beside_every_variance(data: Any) -> None:
    plain = osc.measure(osc.sample(data, 0.0, label=1, n=2000, steps=24)).numbers
    assert abs(plain["class_distance"]["value"] - 1) < 5 * plain["class_distance"]["stderr"]
    assert plain["far_share"]["value"] < 0.03
    found = osc.compare(data, ["cfg", "rescale:phi=0.5"], label=1, n=64, steps=8)
    first, second = found.numbers["rules"]
    for name in ("class_distance", "far_share"):
        assert first[f"{name}_change"]["value"] == pytest.approx(0, abs=1e-9)
        gap = second[name]["value"] - first[name]["value"]
        assert second[f"{name}_change"]["value"] == pytest.approx(gap, abs=1e-3)


@pytest.mark.parametrize("strength", [2.5, -0.5])
def test_a_rule_that_cannot_do_as_much_leaves_the_others_as_they_are(data: Any, strength: float) -> None:
    rules = ["cfg", jumping, idle, broken, "cfg"]
    found = osc.compare(data, rules, label=1, n=64, steps=8, strength=strength).numbers["rules"]
    assert found[0]["rule"] == "cfg (1)"
    assert [row["failed"] is None for row in found] == [True, False, False, False, True]
    assert "jumps over" in found[1]["failed"] or "does not reach" in found[1]["failed"]
    assert "does not reach this mean shift" in found[2]["failed"]
    assert found[4]["strength"] == pytest.approx(strength, abs=0.02)


def test_labels_and_seeds_of_any_library_name_the_same_noise(data: Any) -> None:
    first = osc.sample(data, 1.0, label=1, n=16, steps=4).x
    for label, seed in ((np.int64(1), 0), (torch.tensor(1), np.int32(0)), (1, torch.tensor(0))):
        np.testing.assert_array_equal(osc.sample(data, 1.0, label=label, n=16, steps=4, seed=seed).x, first)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda data: osc.sample(data, 1.0, label="1"), "`label` must be a whole number, got '1'"),
        (lambda data: osc.sample(data, 1.0, label=True), "`label` must be a whole number"),
        (lambda data: osc.sample(data, 1.0, label=1.0), "`label` must be a whole number"),
        (lambda data: osc.sample(data, 1.0, label=[0, 1]), "`label` must be a whole number"),
        (lambda data: osc.sample(data, 1.0, seed=1.5), "`seed` must be a whole number, got 1.5"),
        (lambda data: osc.sample(data, 1.0, n="3"), "`n` must be a whole number"),
        (lambda data: osc.sample(data, 1.0, steps=2.5), "`steps` must be a whole number"),
        (lambda data: osc.sample(data, 1.0, t_max="x"), "`t_max` must be a number"),
        (lambda data: osc.sample(data, 1.0, ode="no"), "`ode` is True or False"),
        (lambda data: osc.sample(osc.Mixture, 1.0), "got the class Mixture"),
        (lambda data: osc.measure(osc.sample(data, 1.0, n=4)), "`n` must be at least 8"),
        (lambda data: osc.mixture(POINTS, labels=np.eye(3)[LABELS]), "one class per row"),
        (lambda data: osc.mixture(POINTS, labels=["a"] * 180), "must be real numbers"),
        (lambda data: osc.mixture(POINTS + 1j, labels=LABELS), "must be real numbers, got complex128"),
        (lambda data: osc.mixture(POINTS, labels=LABELS, std=0), "`std` is the width of a mode and must be > 0"),
        (lambda data: osc.mixture(POINTS, labels=LABELS, std="a"), "`std` must be a number"),
        (lambda data: osc.compare(data, ["cfg"], n=4), "`n` must be at least 8"),
        (lambda data: osc.compare(data, ["cfg"], strength="x"), "`strength` must be a number"),
        (lambda data: osc.compare(data, ["cfg"], progress=5), "`progress` is True, False or a function"),
        (lambda data: osc.sample(data, 1.0, n=16, steps=4).save(None), "expected a folder"),
        (lambda data: osc.read(5), "expected a folder"),
        (lambda data: osc.measure(osc.sample(data, 1.0, n=16, steps=4)).plot(), "has no picture"),
    ],
)
def test_values_of_a_wrong_kind_are_said_in_one_line(call: Any, match: str, data: Any) -> None:
    with pytest.raises((ConfigError, ShapeError), match=match) as caught:
        call(data)
    assert len(str(caught.value).splitlines()) == 1


def test_one_column_of_labels_is_one_label_per_row(data: Any) -> None:
    assert osc.mixture(POINTS, labels=LABELS[:, None]).std == pytest.approx(data.std)


def test_samples_are_drawn_kept_and_described(data: Any, tmp_path: Path) -> None:
    found = osc.sample(data, 1.0, label=0, n=32, steps=8)
    assert found.x.shape == (32, 3)
    assert found.plot().axes
    found.save(tmp_path / "run")
    assert (tmp_path / "run" / "report.html").exists()
    assert osc.read(tmp_path / "run").to_json() == found.to_json()
    with pytest.raises(ConfigError, match="cannot be run again"):
        osc.rerun(tmp_path / "run")


def test_moments_of_targets_without_closed_ones_come_from_samples(data: Any) -> None:
    class Plain:
        def __init__(self, law: Any) -> None:
            self.sample, self.conditional = law.sample, lambda label: Plain(law.conditional(label))

    exact, drawn = moments_of(data, 1), moments_of(Plain(data), 1)
    np.testing.assert_allclose(drawn.mean, exact.mean, atol=0.02)
    np.testing.assert_allclose(drawn.covariance, exact.covariance, atol=0.02)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda data: osc.mixture(POINTS, labels=LABELS[:-1]), "one label per row"),
        (lambda data: osc.mixture(POINTS[:, 0], labels=LABELS), "one point per row"),
        (lambda data: osc.mixture([[1.0, 2.0], [1.0]], labels=[0, 1]), "`x` must be numbers in rows of equal length"),
        (lambda data: osc.mixture(POINTS, labels=LABELS + 0.5), "`labels` must be whole numbers"),
        (lambda data: osc.mixture(np.full((4, 2), np.nan), labels=[0, 0, 1, 1]), "NaN or infinity"),
        (lambda data: osc.mixture(POINTS, labels=np.zeros(180)), "at least 2 classes"),
        (lambda data: osc.sample(data, 1.0, label=7), "7"),
        (lambda data: osc.sample(osc.RandomMixture(rate=1.0, std=0.5), 1.0), "is for `simulate`"),
        (lambda data: osc.sample(data, 1.0, n=1), "`n` must be at least 2"),
        (lambda data: osc.sample(data, 1.0, start="middle"), "a `start` is one of"),
        (lambda data: osc.sample(data, 1.0, rule="resclae"), "did you mean 'rescale'"),
        (lambda data: osc.measure(POINTS), "expected what `sample` returns"),
        (lambda data: osc.compare(data), "expected `rules` to compare"),
        (lambda data: osc.compare(data, ["cfg"], match="mean"), "did you mean 'mean_shift'"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_in_one_line(call: Any, match: str, data: Any) -> None:
    with pytest.raises((ConfigError, ShapeError), match=match) as caught:
        call(data)
    assert len(str(caught.value).splitlines()) == 1


# The energy distance


def test_energy_distance_is_its_brute_force() -> None:
    stream = np.random.default_rng(0)
    x, y = stream.normal(size=(9, 2)), stream.normal(size=(9, 2)) + 0.3
    pairs = [(i, j) for i in range(9) for j in range(9) if i != j]
    cross, ours, its = (np.mean([np.linalg.norm(a[i] - b[j]) for i, j in pairs]) for a, b in ((x, y), (x, x), (y, y)))
    assert energy_distance(x, y).value == pytest.approx((2 * cross - ours - its) / its, rel=1e-12)


def test_errors_of_the_energy_distance_are_its_spread(seed: int) -> None:
    stream = np.random.default_rng(seed)
    found = [energy_distance(stream.normal(size=(60, 3)) + 0.5, stream.normal(size=(60, 3))) for _ in range(200)]
    spread, told = np.std([one.value for one in found]), np.mean([one.stderr for one in found])
    assert 0.7 < told / spread < 1.4


def test_paired_differences_of_equal_samples_vanish() -> None:
    x = np.random.default_rng(1).normal(size=(20, 2))
    gap = energy_difference(x, x, x[::-1] + 0.1)
    assert (gap.value, gap.stderr) == (0.0, 0.0)


def test_energy_distance_refuses_sets_that_do_not_match() -> None:
    with pytest.raises(ConfigError, match="as many reference samples"):
        energy_distance(np.zeros((9, 2)), np.zeros((8, 2)))
    with pytest.raises(ShapeError, match="2 coordinates"):
        energy_distance(np.zeros((9, 3)), np.zeros((9, 2)))
