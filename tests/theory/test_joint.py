from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import solve_ivp

from orthoscope.denoise import ExactDenoiser
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Linear, Step
from orthoscope.numerics import singular_values
from orthoscope.process import VarianceExploding
from orthoscope.sampling import Exponential, geometric, sample
from orthoscope.simulation.pairs import sample_pair
from orthoscope.targets import Pair
from orthoscope.targets.covariant import covariant
from orthoscope.theory.gaussian import guided_gaussian
from orthoscope.theory.joint import CLOSED_FORM, MATRIX_EQUATIONS, GaussianLaw, gaussian_law, guided_joint
from orthoscope.theory.matrix_flow import matrix_moments
from tests.stat.expect import expect_mean, expect_variance

MU_C, MU_U = np.array([1.0, -0.5, 0.3]), np.array([0.2, 0.4, -1.0])
C = np.array([[1.0, 0.4, -0.2], [0.4, 0.7, 0.1], [-0.2, 0.1, 0.4]])
U = np.array([[2.0, -0.5, 0.3], [-0.5, 1.5, 0.6], [0.3, 0.6, 2.5]])  # does not commute with C
COND, UNCOND = gaussian_law(MU_C, cov=C), gaussian_law(MU_U, cov=U)
SCHEDULES = {
    "constant": Constant(value=2.0),
    "window": Linear(w0=-0.3, slope=0.2),
    "step": Step(early=2.0, late=-0.8, switch=1.0),
    "sigma": Linear(w0=0.5, slope=1.0, clock="sigma"),
    "logsnr": Linear(w0=0.5, slope=0.3, clock="logsnr"),
}


def plain_moments(schedule: GuidanceSchedule, lam: float, t_max: float, exact: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of x themselves, in plain time, as the reverse process states them."""
    eye, k = np.eye(3), (1 + lam**2) / 2

    def rates(t: float, flat: np.ndarray) -> np.ndarray:
        mean, cov = flat[:3], flat[3:].reshape(3, 3)
        w = float(schedule.at_time(t))
        c, u = np.linalg.inv(C + t * eye), np.linalg.inv(U + t * eye)
        pull = (1 + w) * c - w * u
        score = -pull @ mean + (1 + w) * c @ MU_C - w * u @ MU_U
        return np.concatenate([-k * score, (k * (pull @ cov + cov @ pull) - lam**2 * eye).ravel()])

    state = np.concatenate([MU_C if exact else MU_U, ((C if exact else U) + t_max * eye).ravel()])
    marks = [t_max, *(t for t in schedule.switches() if t < t_max), 0.0]
    for high, low in pairwise(marks):
        inside = (high - 1e-14 * high, low + 1e-14 * high)
        state = solve_ivp(rates, inside, state, method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
    return state[:3], state[3:].reshape(3, 3)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize(("lam", "start"), [(1.0, "prior"), (0.0, "exact"), (0.6, "prior")])
def test_matrix_equations_are_the_reverse_process(schedule: GuidanceSchedule, lam: float, start: str) -> None:
    found = guided_joint(COND, UNCOND, schedule, lam=lam, t_max=10.0, start=start)
    mean, cov = plain_moments(schedule, lam, 10.0, start == "exact")
    assert found.method == MATRIX_EQUATIONS
    np.testing.assert_allclose(found.guided.mean, mean, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.guided.covariance, cov, rtol=0, atol=1e-10)


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("w", [-0.7, 0.5, 5.0])
def test_matrix_equations_of_commuting_covariances_are_the_closed_form(lam: float, w: float) -> None:
    turn = stats.ortho_group(3, seed=1).rvs()
    c, u = np.array([0.5, 1.0, 0.1]), np.array([2.0, 1.5, 7.0])
    response, root = matrix_moments((turn * c) @ turn.T, (turn * u) @ turn.T, Constant(value=w), lam=lam)
    expected = guided_gaussian(1.0, c, 0.0, u, w, lam=lam)
    np.testing.assert_allclose(np.diag(turn.T @ response @ turn), expected.mean_shift, rtol=1e-11)
    np.testing.assert_allclose(turn.T @ response @ turn, np.diag(expected.mean_shift), rtol=0, atol=1e-11)
    np.testing.assert_allclose(turn.T @ root @ root.T @ turn, np.diag(expected.variance), rtol=0, atol=1e-11)
    np.testing.assert_allclose(singular_values(root) ** 2, np.sort(expected.variance)[::-1], rtol=1e-11)


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_from_infinity_it_does_not_matter_where_the_series_ends(lam: float) -> None:
    near = guided_joint(COND, UNCOND, 2.0, lam=lam)
    far = guided_joint(COND, UNCOND, Step(early=2.0, late=2.0, switch=3e4), lam=lam)
    np.testing.assert_allclose(near.guided.mean, far.guided.mean, rtol=0, atol=1e-11)
    np.testing.assert_allclose(near.guided.covariance, far.guided.covariance, rtol=0, atol=1e-11)
    # And it is where ever longer runs go, with an error that falls like 1/t_max.
    runs = [guided_joint(COND, UNCOND, 2.0, lam=lam, t_max=t, start="exact").guided.mean for t in (1e6, 1e12)]
    gaps = [np.abs(run - near.guided.mean).max() for run in runs]
    assert gaps[0] < (1e-4 if lam == 1 else 1e-2)
    assert gaps[1] < gaps[0] * 2e-3


def test_no_guidance_is_the_conditional_and_minus_one_the_unconditional_law() -> None:
    for w, law in ((0.0, COND), (-1.0, UNCOND)):
        found = guided_joint(COND, UNCOND, w).guided
        np.testing.assert_allclose(found.mean, law.mean, rtol=0, atol=1e-11)
        np.testing.assert_allclose(found.covariance, law.covariance, rtol=0, atol=1e-11)


def test_commuting_covariances_take_the_closed_form() -> None:
    c = C @ C + 0.2 * np.eye(3)  # functions of one matrix commute
    found = guided_joint(gaussian_law(MU_C, cov=C), gaussian_law(MU_U, cov=c + C), 2.0)
    assert found.method == CLOSED_FORM
    values, turn = np.linalg.eigh(C)
    expected = guided_gaussian(turn.T @ MU_C, values, turn.T @ MU_U, values**2 + values + 0.2, 2.0)
    np.testing.assert_allclose(found.guided.mean, turn @ expected.mean, rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.guided.covariance, (turn * expected.variance) @ turn.T, rtol=0, atol=1e-13)
    assert found.entropy_change == pytest.approx(np.log(expected.variance / values).sum() / 2, rel=1e-12)
    assert found.fisher == pytest.approx(expected.fisher.sum(), rel=1e-12)


@pytest.mark.parametrize("w", [-0.6, 3.0])
def test_covariances_that_do_not_commute_keep_small_variances(w: float) -> None:
    """Under the ODE, log det W obeys one linear equation, whatever the directions do: W ends at (det C / det U)^w."""
    c = np.array([[1.0, 1e-6], [1e-6, 2e-6]])
    u = np.array([[2.0, 0.3], [0.3, 1.0]])
    found = guided_joint(gaussian_law([1.0, 0.0], cov=c), gaussian_law([0.0, 0.0], cov=u), w, lam=0.0)
    assert found.method == MATRIX_EQUATIONS
    change = w / 2 * (np.linalg.slogdet(c)[1] - np.linalg.slogdet(u)[1])
    assert found.entropy_change == pytest.approx(change, rel=1e-11)
    assert np.log(found.guided.eigenvalues).sum() / 2 == pytest.approx(change + np.linalg.slogdet(c)[1] / 2, rel=1e-11)


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_narrow_directions_are_as_accurate_as_wide_ones(lam: float) -> None:
    c, u = np.array([1e-7, 1.0, 1e-3]), np.array([1.0, 3.0, 1e-6])
    expected = guided_gaussian(1.0, c, 0.0, u, 3.0, lam=lam)
    response, root = matrix_moments(np.diag(c), np.diag(u), Constant(value=3.0), lam=lam)
    np.testing.assert_allclose(np.diag(response), expected.mean_shift, rtol=1e-10)
    np.testing.assert_allclose(np.sort(singular_values(root) ** 2), np.sort(expected.variance), rtol=1e-10)
    laws = (gaussian_law([mean] * 3, cov=np.diag(v)) for mean, v in ((1.0, c), (0.0, u)))
    found = guided_joint(*laws, 3.0, lam=lam)
    np.testing.assert_allclose(found.mean_shift, expected.mean_shift, rtol=1e-11)
    np.testing.assert_allclose(found.guided.eigenvalues, np.sort(expected.variance)[::-1], rtol=1e-11)


def test_tilted_laws_keep_small_variances() -> None:
    c, u, w = np.array([1e-9, 1.0]), np.array([1e3, 2.0]), 4.0
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    laws = (gaussian_law([1.0, 0.0], factor=turn * np.sqrt(v - 1e-10), diag=1e-10) for v in (c, u))
    tilted = guided_joint(*laws, w).tilted
    np.testing.assert_allclose(tilted.eigenvalues[::-1], c * u / ((1 + w) * u - w * c), rtol=1e-6)


def test_a_law_beyond_floating_point_is_refused() -> None:
    wide, narrow = (gaussian_law([1.0, 0.0], cov=np.diag(v)) for v in ([1e12, 0.5], [1e-12, 1.0]))
    with pytest.raises(ConfigError, match="range of floating point"):
        guided_joint(wide, narrow, 50.0, lam=0.0)


def low_rank_pair(dim: int) -> tuple[tuple[GaussianLaw, GaussianLaw], tuple[GaussianLaw, GaussianLaw]]:
    """The same two laws, by factors and by full matrices; the unconditional one contains the conditional."""
    stream = np.random.default_rng(3)
    own, more = stream.standard_normal((dim, 3)) / 4, stream.standard_normal((dim, 2))
    mean, eye = stream.standard_normal(dim), np.eye(dim)
    wide = np.hstack([own, more])
    thin = gaussian_law(mean, factor=own, diag=0.3), gaussian_law(0 * mean, factor=wide, diag=1.0)
    full = (
        gaussian_law(mean, cov=own @ own.T + 0.3 * eye),
        gaussian_law(0 * mean, cov=wide @ wide.T + eye),
    )
    return thin, full


@pytest.mark.parametrize(
    ("schedule", "options"),
    [(2.0, {}), (2.0, {"lam": 0.0}), (Linear(w0=-0.2, slope=0.1), {"t_max": 10.0, "start": "prior"})],
)
def test_low_rank_laws_are_solved_in_their_span(schedule: object, options: dict[str, object]) -> None:
    thin, full = (guided_joint(*pair, schedule, **options) for pair in low_rank_pair(16))
    assert thin.guided.core.shape == (5, 5)
    assert full.guided.core.shape == (16, 16)
    np.testing.assert_allclose(thin.guided.mean, full.guided.mean, rtol=0, atol=1e-10)
    np.testing.assert_allclose(thin.guided.covariance, full.guided.covariance, rtol=0, atol=1e-10)
    assert thin.fisher == pytest.approx(full.fisher, rel=1e-6)
    assert thin.entropy_change == pytest.approx(full.entropy_change, rel=1e-8)
    for name in ("total_variance", "participation_ratio", "log_det"):
        assert getattr(thin.guided, name) == pytest.approx(getattr(full.guided, name), rel=1e-8)
    assert (thin.tilted is None) == (full.tilted is None) == isinstance(schedule, Linear)
    if thin.tilted is not None:
        np.testing.assert_allclose(thin.tilted.mean, full.tilted.mean, rtol=0, atol=1e-11)
        np.testing.assert_allclose(thin.tilted.covariance, full.tilted.covariance, rtol=0, atol=1e-11)


def test_isotropic_directions_add_up_in_a_thousand_dimensions() -> None:
    (cond, uncond), _ = low_rank_pair(1000)
    found = guided_joint(cond, uncond, 2.0)
    alone = guided_gaussian(0.0, 0.3, 0.0, 1.0, 2.0)
    assert found.guided.outside == 995
    assert found.guided.rest == pytest.approx(alone.variance, rel=1e-13)
    inside = np.linalg.slogdet(found.guided.core)[1] - np.linalg.slogdet(found.cond.core)[1]
    expected = inside / 2 + 995 / 2 * np.log(alone.variance / 0.3)
    assert found.entropy_change == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("w", [-0.5, 2.0])
def test_the_tilted_law_is_the_product_of_powers(w: float) -> None:
    tilted = guided_joint(COND, UNCOND, w).tilted
    x = np.random.default_rng(0).standard_normal((6, 3))
    powers = sum(
        power * stats.multivariate_normal(law.mean, law.covariance).logpdf(x)
        for power, law in ((1 + w, COND), (-w, UNCOND))
    )
    constant = powers - stats.multivariate_normal(tilted.mean, tilted.covariance).logpdf(x)
    np.testing.assert_allclose(constant, constant[0], rtol=0, atol=1e-11)


def test_there_is_no_tilted_law_where_the_unconditional_one_is_too_narrow() -> None:
    assert guided_joint(UNCOND, COND, 2.0).tilted is None
    assert guided_joint(COND, UNCOND, Linear(w0=0.0, slope=0.1), t_max=5.0).tilted is None


def test_participation_ratio_stays_or_goes_either_way() -> None:
    def ratios(c: list[float], u: list[float]) -> tuple[float, float, float]:
        found = guided_joint(gaussian_law([0.0, 0.0], cov=np.diag(c)), gaussian_law([0.0, 0.0], cov=np.diag(u)), 2.0)
        return tuple(law.participation_ratio for law in (found.cond, found.guided, found.tilted))

    cond, guided, _ = ratios([1.0, 1.0], [3.0, 3.0])
    assert guided == pytest.approx(cond, rel=1e-13)
    cond, guided, tilted = ratios([1.0, 1.0], [2.0, 1.01])  # one of two equal directions shrinks
    assert guided < tilted < cond == pytest.approx(2)
    cond, guided, tilted = ratios([4.0, 1.0], [16.0, 1.01])  # the wider one shrinks
    assert guided > tilted > cond


@settings(max_examples=6)
@given(seed=st.integers(0, 2**32 - 1), w=st.floats(-0.9, 3.0), lam=st.sampled_from([0.0, 1.0]))
def test_a_rotated_and_shifted_problem_has_a_rotated_and_shifted_answer(seed: int, w: float, lam: float) -> None:
    turn, move = stats.ortho_group(3, seed=seed % 2**31).rvs(), np.array([3.0, -1.0, 2.0])
    plain = guided_joint(COND, UNCOND, w, lam=lam)
    laws = (gaussian_law(turn @ law.mean + move, cov=turn @ law.covariance @ turn.T) for law in (COND, UNCOND))
    turned = guided_joint(*laws, w, lam=lam)
    np.testing.assert_allclose(turned.guided.mean, turn @ plain.guided.mean + move, rtol=0, atol=1e-10)
    np.testing.assert_allclose(turned.guided.covariance, turn @ plain.guided.covariance @ turn.T, rtol=0, atol=1e-10)


# Against simulation

PAIR = Pair(
    cond=covariant(torch.from_numpy(MU_C), cov=torch.from_numpy(C)),
    uncond=covariant(torch.from_numpy(MU_U), cov=torch.from_numpy(U)),
)


def test_the_flow_of_a_sampler_is_the_theory_s() -> None:
    # The ODE is affine: four trajectories are the whole map, and its error is the sampler's, of second order.
    narrow, offset = PAIR.absorbed()
    process, t_max = VarianceExploding(offset=offset), 20.0
    theory = guided_joint(COND, UNCOND, 2.0, lam=0.0, t_max=t_max, start="exact").guided
    errors = []
    for steps in (100, 200):
        x = torch.cat([torch.zeros(1, 3), torch.eye(3)]).double()
        grid = geometric(process, t_max, steps)
        end = sample(
            classifier_free(ExactDenoiser(narrow), Constant(value=2.0)), x, grid, step=Exponential(lam=0), label=0
        )
        shift, gain = end.x[0].numpy(), (end.x[1:] - end.x[0]).T.numpy()
        cov = gain @ (C + t_max * np.eye(3)) @ gain.T
        errors.append([np.abs(gain @ MU_C + shift - theory.mean).max(), np.abs(cov - theory.covariance).max()])
    assert max(errors[1]) < 1e-3
    np.testing.assert_allclose(np.log2(np.divide(*errors)), 2, atol=0.2)


def test_brute_force_agrees_in_every_direction(seed: int) -> None:
    theory = guided_joint(COND, UNCOND, 2.0, t_max=100.0, start="exact").guided
    x = sample_pair(PAIR, Constant(value=2.0), samples=10_000, steps=60, seed=seed, t_max=100.0)
    root = np.linalg.cholesky(theory.covariance)
    white = np.linalg.solve(root, (x - theory.mean).T)  # discretization is below 1e-3, a fifth of what is detected
    for k in range(3):
        expect_mean(white[k], 0, sd=1, detect=0.12, false_fail=1e-6 / 9)
        expect_variance(white[k], 1, detect=0.17, false_fail=1e-6 / 9)
        expect_mean(white[k] * white[(k + 1) % 3], 0, sd=1, detect=0.12, false_fail=1e-6 / 9)


# Bad input


@pytest.mark.parametrize(
    ("mean", "description", "error", "message"),
    [
        ([0.0, 0.0], {}, ConfigError, "needs either cov, or factor with diag"),
        ([0.0, 0.0], {"cov": [[1.0, 2.0], [2.0, 1.0]]}, ConfigError, "positive definite, got the eigenvalue -1"),
        ([0.0, 0.0], {"cov": [[1.0, 0.0], [0.0, 0.0]]}, ConfigError, "positive definite, got the eigenvalue 0"),
        ([0.0, 0.0], {"cov": [[1.0, 0.5], [0.2, 1.0]]}, ConfigError, "symmetric"),
        ([0.0, 0.0], {"cov": [[1.0]]}, ShapeError, r"2 x 2 like its mean, got \(1, 1\)"),
        ([0.0, 0.0], {"cov": [[1.0, 0.0], [0.0]]}, ConfigError, "rows of equal length"),
        ([0.0, float("nan")], {"cov": [[1.0, 0.0], [0.0, 1.0]]}, ConfigError, "mean must be finite"),
        ([0.0, 0.0], {"cov": [[1.0, 0.0], [0.0, 1e15]]}, ConfigError, "rescale"),
        ([0.0, 0.0], {"factor": [[1.0], [0.0]], "diag": 0.0}, ConfigError, "positive definite"),
        ([0.0, 0.0], {"factor": [[1.0]], "diag": 1.0}, ShapeError, "one row per coordinate"),
        ([0.0, 0.0], {"factor": [[1.0], [0.0]], "diag": [1.0, 2.0]}, ShapeError, "one number"),
        ([[0.0]], {"cov": [[1.0]]}, ShapeError, "list of numbers"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_unusable_laws_are_refused(
    mean: list[float], description: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        gaussian_law(mean, **description)


def test_unusable_runs_are_refused() -> None:
    with pytest.raises(ShapeError, match="one dimension, got 3 and 1"):
        guided_joint(COND, gaussian_law([0.0], cov=[[1.0]]), 1.0)
    with pytest.raises(ConfigError, match="give the finite time"):
        guided_joint(COND, UNCOND, Linear(w0=0.0, slope=1.0))
    with pytest.raises(ConfigError, match="t_max"):
        guided_joint(COND, UNCOND, 1.0, t_max=-1.0)
