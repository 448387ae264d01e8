"""Two classes sampled: on the flow of theory, at the edge of the support, and off it with imperfect scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from orthoscope.errors import ConfigError
from orthoscope.experiments.two_class import TwoClass, two_class_law
from orthoscope.experiments.two_class_measures import (
    EDGE,
    TOLERANCE,
    is_monotone,
    largest_monotone_strength,
    measured,
    plain,
    spread,
)
from orthoscope.plots.two_class import two_class_figure
from orthoscope.theory.two_class import Law, guided_ends, guided_share
from orthoscope.theory.two_class import largest_monotone_strength as turning_strength
from tests.stat.expect import expect_estimate

SMALL = TwoClass(law="uniform", strength=3.0, samples=400, steps=100)


@pytest.mark.slow
@pytest.mark.parametrize(("law", "bound"), [("gaussian", 4e-3), ("uniform", 1.5e-3)])
def test_paths_end_where_the_flow_of_theory_ends(law: Law, bound: float) -> None:
    # Written twice: absorbed mixtures and cut Gaussians here, cdfs and an adaptive integrator there. The bound is
    # that of 100 steps, see the order below.
    for strength in (0.0, 3.0, 10.0):
        found = replace(SMALL, law=law, strength=strength, samples=3).run()
        expected = guided_ends(found["start"].values, law, strength, sigma_end=SMALL.sigma_end)
        np.testing.assert_allclose(found["path_end"].values, expected, atol=bound)


@pytest.mark.slow
def test_the_end_converges_at_second_order() -> None:
    expected = guided_ends([0.0], "gaussian", 3.0)[0]
    errors = []
    for steps in (50, 100, 200):
        found = replace(SMALL, law="gaussian", steps=steps, samples=3).run()
        errors.append(abs(float(found["path_end"].values[4]) - expected))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(orders - 2) < 0.3)


def test_samples_have_the_moments_of_the_flow(seed: int) -> None:
    found = measured(replace(SMALL, law="gaussian", strength=2.0, samples=4000, seed=seed).run())
    for name in ("mean", "std"):
        estimate = found[name]
        expect_estimate(estimate.value, estimate.stderr, found[f"flow_{name}"], bias=1e-3, detect=0.15, false_fail=5e-7)


@pytest.mark.slow
def test_the_sde_samples_the_class_at_strength_0_and_another_law_beyond(seed: int) -> None:
    plain = measured(replace(SMALL, strength=0.0, lam=1.0, samples=1000, seed=seed).run())
    expect_estimate(plain["mean"].value, plain["mean"].stderr, 1.5, bias=1e-3, detect=0.12, false_fail=3e-7)
    expect_estimate(plain["std"].value, plain["std"].stderr, 12**-0.5, bias=1e-3, detect=0.05, false_fail=3e-7)
    assert plain["flow_mean"] is None
    # Noise after the decision spreads samples over the support again: the crowd at the edge is that of the flow.
    guided = measured(replace(SMALL, strength=10.0, lam=1.0, samples=1000, seed=seed).run())
    assert guided["mean"].z(1.5) > 5
    assert guided["boundary_fraction"].value < 0.5


def test_equal_seeds_give_equal_samples_and_others_do_not() -> None:
    first, again, other = (replace(SMALL, law="gaussian", seed=seed).run()["sample"].values for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.slow
def test_guidance_crowds_the_edge_of_the_support(seed: int) -> None:
    crowd = measured(replace(SMALL, strength=5.0, samples=800, seed=seed).run())["boundary_fraction"]
    edge, last = (
        guided_share("uniform", 5.0, end, sigma_end=SMALL.sigma_end) for end in (EDGE, 2 + TOLERANCE * SMALL.sigma_end)
    )
    expect_estimate(crowd.value, crowd.stderr, edge - last, detect=0.2)
    assert crowd.z(0.05) > 20  # the class itself


def distance(setting: TwoClass) -> float:
    return measured(setting.run())["off_support_distance"].value


def test_a_bounded_error_does_no_harm_once_the_noise_is_gone() -> None:
    wrong = replace(SMALL, strength=10.0, score_error=0.1, samples=8)
    early, late = (distance(replace(wrong, sigma_end=sigma)) for sigma in (1e-2, 1e-4))
    assert early < 0.2
    assert late / early == pytest.approx(1e-2, rel=0.3)


@pytest.mark.slow
def test_a_missing_pullback_of_that_size_drives_samples_off_the_support() -> None:
    wrong = replace(SMALL, strength=30.0, score_error=0.1, error_kind="missing-pullback", samples=8)
    early, late = (distance(replace(wrong, sigma_end=sigma)) for sigma in (1e-2, 1e-4))
    assert min(early, late) > 10  # ten supports away, whatever noise is left
    assert distance(replace(wrong, strength=0.0)) < 0.01  # without guidance nothing gets that far


def test_exact_scores_end_on_the_support() -> None:
    found = measured(replace(SMALL, strength=10.0).run())
    assert found["off_support_fraction"].value <= 0.01
    assert found["off_support_distance"].value < SMALL.sigma_end
    assert found["boundary_fraction"].value > 0.98


@pytest.mark.slow
def test_the_strength_to_recommend_is_that_of_theory() -> None:
    assert largest_monotone_strength(SMALL) == pytest.approx(turning_strength("uniform", sigma_end=0.0045), abs=6e-3)
    assert largest_monotone_strength(replace(SMALL, law="gaussian")) is None
    assert measured(replace(SMALL, strength=1.0, samples=3).run())["monotone"]
    assert not measured(replace(SMALL, strength=3.0, samples=3).run())["monotone"]


def test_paths_leave_the_support_in_mid_run_from_strength_3() -> None:
    for strength, leaves in ((2.0, False), (3.0, True)):
        path = replace(SMALL, strength=strength, samples=3).run()["path"].values[:, 4]
        assert (path.max() > 2) == leaves
        assert path[-1] < 2


def test_measures_on_paper() -> None:
    assert is_monotone(np.array([0.0, 1.0, 1.0, 2.0]))
    assert not is_monotone(np.array([0.0, 1.0, 0.999, 2.0]))
    found = spread(np.array([1.0, 2.0, 3.0, 4.0]))
    assert (found.value, found.dof) == (pytest.approx(np.std([1, 2, 3, 4], ddof=1)), 3)


def test_findings_are_plain_and_null_where_there_is_no_support() -> None:
    found = plain(replace(SMALL, law="gaussian", samples=8, steps=100).run())
    assert found["boundary_fraction"] is None
    assert found["off_support_fraction"] is None
    assert found["mean"].keys() >= {"value", "stderr", "n"}
    assert isinstance(found["monotone"], bool)


def test_the_figure_shows_what_the_dataset_holds() -> None:
    found = replace(SMALL, samples=200).run()
    paths, ends = two_class_figure(found).axes
    middle = max(paths.lines, key=lambda line: line.get_linewidth())
    np.testing.assert_array_equal(middle.get_ydata(), found["path"].values[:, 4])
    assert len(paths.collections) == 2  # the two noised supports
    assert sum(bar.get_height() * bar.get_width() for bar in ends.patches) == pytest.approx(1)
    assert isinstance(found, xr.Dataset)
    endless = two_class_figure(replace(SMALL, law="gaussian", samples=8, steps=100).run())
    assert len(endless.axes[0].collections) == 0


def test_labels_are_right_and_left() -> None:
    for law in ("gaussian", "uniform"):
        x = two_class_law(law).conditional(0).sample(200, np.random.default_rng(0))
        assert float(x.mean()) > 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"law": "unifrom"}, "did you mean 'uniform'"),
        ({"strength": -2.0}, "strength must be finite and >= -1"),
        ({"score_error": 0.0}, "size of a score error"),
        ({"error_kind": "missing"}, "kind of score error 'missing'"),
        ({"law": "gaussian", "score_error": 0.1, "error_kind": "missing-pullback"}, "use the uniform law"),
        ({"samples": 1}, "`samples` must be at least 2"),
        ({"sigma_end": 0.0}, "sigma_end must lie between 1e-08 and 1"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_unusable_settings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **changes)
