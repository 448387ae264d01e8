"""Networks and functions of one's own as denoisers, and what an offset may count as noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import orthoscope as osc
from orthoscope.denoise import ExactDenoiser, OwnDenoiser
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.guidance.guided import Guided, classifier_free
from orthoscope.prediction import from_denoised
from orthoscope.process import EDM, NoiseLevel, OrnsteinUhlenbeck, RectifiedFlow, VarianceExploding
from orthoscope.sampling import Exponential, State, geometric, sample
from orthoscope.targets import Gaussian, Pair, blend, mixture

LAW = mixture(torch.tensor([[1.0, 0.0], [-1.0, 0.5], [0.2, -1.4]], dtype=torch.float64), std=0.4)
EXACT = ExactDenoiser(LAW)
X = torch.tensor([[0.3, -0.2], [1.5, 0.4], [-2.0, 0.9], [0.1, 0.1]], dtype=torch.float64)
LABELS = torch.tensor([0, 2, 1, 0])
LEVELS = [VarianceExploding().at(0.7), NoiseLevel(time=np.array([0.1, 1.0, 5.0, 0.4]))]


def states(form: Any) -> Any:
    """The exact law as a network of unscaled states and noise standard deviations."""

    def network(x: torch.Tensor, sigma: torch.Tensor, label: Any) -> torch.Tensor:
        assert sigma.shape == (len(x),)
        level = NoiseLevel(time=sigma.numpy() ** 2)
        return from_denoised(EXACT(x, level, label), x, level, form)

    return network


# What it predicts and what it sees


@pytest.mark.parametrize("predicts", ["denoised", "noise", "velocity", "score"])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("label", [None, 1, LABELS])
def test_the_exact_law_as_a_network_is_the_exact_denoiser(predicts: Any, level: NoiseLevel, label: Any) -> None:
    made = osc.denoiser(states(predicts), predicts=predicts, check=LAW)
    torch.testing.assert_close(made(X, level, label), EXACT(X, level, label), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("process", [VarianceExploding(), OrnsteinUhlenbeck(), EDM(), RectifiedFlow()])
@pytest.mark.parametrize("predicts", ["denoised", "noise", "velocity", "score"])
def test_networks_of_a_chart_see_its_clock_and_its_state(process: osc.Process, predicts: Any) -> None:
    def network(y: torch.Tensor, t: torch.Tensor, label: Any) -> torch.Tensor:
        level = process.level(t.numpy())
        alpha = torch.as_tensor(level.alpha)[:, None]
        found = from_denoised(EXACT(y / alpha, level, label), y / alpha, level, predicts)
        return found / alpha if predicts == "score" else found  # the score of the chart's own state

    made = osc.denoiser(network, predicts=predicts, sees="t")
    level = process.at(0.7)
    torch.testing.assert_close(made(X, level, 1), EXACT(X, level, 1), rtol=1e-9, atol=1e-9)
    with pytest.raises(ConfigError, match="`sees` t needs levels of a process"):
        made(X, NoiseLevel(time=0.7), 1)
    with pytest.raises(ConfigError, match="a `check` knows no clock of a process"):
        osc.denoiser(network, predicts=predicts, sees="t", check=LAW)


def test_a_function_may_see_the_whole_level() -> None:
    seen = []

    def network(x: torch.Tensor, level: NoiseLevel, label: Any) -> torch.Tensor:
        seen.append((level, label))
        return EXACT(x, level, label)

    assert torch.equal(osc.denoiser(network, sees="level")(X, LEVELS[0], LABELS), EXACT(X, LEVELS[0], LABELS))
    assert seen[0][0] is LEVELS[0]
    assert torch.equal(seen[0][1], LABELS)


def test_the_inside_of_an_edm_network_is_preconditioned() -> None:
    data = 0.8

    def inside(scaled: torch.Tensor, noise: torch.Tensor, label: Any) -> torch.Tensor:
        sigma = (4 * noise).exp()[:, None]
        total = sigma**2 + data**2
        x = scaled * total.sqrt()
        mean = EXACT(x, NoiseLevel(time=sigma[:, 0].numpy() ** 2), label)
        return (mean - data**2 / total * x) * total.sqrt() / (sigma * data)

    made = osc.denoiser(inside, predicts="edm", sigma_data=data, check=LAW)
    for level in LEVELS:
        torch.testing.assert_close(made(X, level, 1), EXACT(X, level, 1), rtol=1e-9, atol=1e-9)


class Precond(torch.nn.Module):
    """A network called as those of EDM: in single precision, with labels one-hot or None."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor, sigma: torch.Tensor, class_labels: torch.Tensor | None = None) -> torch.Tensor:
        x, sigma = x.to(torch.float32), sigma.to(torch.float32).reshape(-1, *[1] * (x.ndim - 1))
        labels = None if class_labels is None else class_labels.to(torch.float32).reshape(-1, 3).argmax(1)
        level = NoiseLevel(time=sigma.flatten().double().numpy() ** 2)
        return self.scale * EXACT(x.double(), level, labels).to(torch.float32)


def test_a_network_of_edm_is_taken_as_it_is() -> None:
    made = osc.denoiser(Precond(), classes=3, check=LAW)
    for label in (None, 2, LABELS):
        found = made(X, LEVELS[0], label)
        torch.testing.assert_close(found, EXACT(X, LEVELS[0], label), rtol=1e-5, atol=1e-6)
        assert found.dtype == torch.float64
        assert not found.requires_grad
    grid = geometric(VarianceExploding(), 50.0, 12, end=1e-3)
    runs = [
        sample(classifier_free(one, 1.5), X, grid, step=Exponential(lam=0), label=1).x for one in (made, EXACT)
    ]  # fmt: skip
    torch.testing.assert_close(runs[0], runs[1], rtol=1e-3, atol=1e-3)


def test_gradients_with_respect_to_the_state_are_there_if_asked_for() -> None:
    made = osc.denoiser(lambda x, sigma, label: x * 0.5)
    x = X.clone().requires_grad_()
    made(x, LEVELS[0]).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.full_like(X, 0.5))


@pytest.mark.parametrize("right", ["denoised", "noise", "velocity", "score"])
@pytest.mark.parametrize("said", ["denoised", "noise", "velocity", "score", "edm"])
def test_a_reading_that_is_clearly_another_one_is_refused(right: str, said: Any) -> None:
    if right == said:
        osc.denoiser(states(right), predicts=said, check=LAW)
        return
    with pytest.raises(ConfigError, match=f"read as {right} it agrees with `check`; use predicts='{right}'") as told:
        osc.denoiser(states(right), predicts=said, check=LAW)
    assert told.value.fields == ("predicts",)
    assert "\n" not in str(told.value)


def test_a_rough_network_passes_the_check() -> None:
    exact = states("denoised")
    assert osc.denoiser(lambda x, *rest: 0.9 * exact(x, *rest), check=LAW).predicts == "denoised"


def test_a_network_that_fits_in_no_reading_is_refused() -> None:
    told = r"agrees with `check` read as none of denoised, noise, velocity, score, edm: look at"
    with pytest.raises(ConfigError, match=told) as found:
        osc.denoiser(lambda x, *rest: 5 + 0 * x, check=LAW)
    assert "\n" not in str(found.value)


def test_a_network_in_single_precision_is_compared_in_it() -> None:
    class Single(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.eye(2))

        def forward(self, x: torch.Tensor, sigma: torch.Tensor, label: Any) -> torch.Tensor:
            assert x.dtype == sigma.dtype == torch.float32
            level = NoiseLevel(time=sigma.double().numpy() ** 2)
            return EXACT(x.double(), level, label).float() @ self.weight

    assert osc.denoiser(Single(), check=LAW).predicts == "denoised"
    with pytest.raises(ConfigError, match="read as denoised it agrees"):
        osc.denoiser(Single(), predicts="noise", check=LAW)


# Refused


def failing(x: Any, sigma: Any, label: Any) -> Any:
    raise KeyError("weights\nare missing")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda x, s, c: x[:, :1], ShapeError, r"must return the shape of the state, \(4, 2\), got \(4, 1\)"),
        (lambda x, s, c: x * np.nan, ConfigError, "returns NaN or infinity for a finite state"),
        (lambda x, s, c: x.long(), ConfigError, r"must return a floating-point tensor, got a tensor of torch\.int64"),
        (lambda x, s, c: (x,), ConfigError, "must return a floating-point tensor, got tuple"),
        (lambda x, s: x, ConfigError, r"failed on a state of shape \(4, 2\) and torch\.float64: TypeError"),
        (failing, ConfigError, "KeyError: "),
    ],
)
def test_what_is_no_prediction_is_refused_in_one_line_that_names_the_argument(f: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as told:
        osc.denoiser(f)(X, LEVELS[0], 0)
    assert str(told.value).startswith("`denoiser` (")
    assert "\n" not in str(told.value)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"f": 3}, "`denoiser` must be a function or a network, got 3"),
        ({"predicts": "nose"}, "unknown prediction 'nose'; did you mean 'noise'"),
        ({"sees": "stigma"}, "unknown argument of a denoiser 'stigma'; did you mean 'sigma'"),
        ({"predicts": "edm", "sees": "t"}, "an EDM network is given sigma; leave out `sees` t"),
    ],
)
def test_what_makes_no_denoiser_is_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        osc.denoiser(**{"f": lambda x, s, c: x} | kwargs)


# Width counted as noise

OFFSET = VarianceExploding(offset=0.16)


def test_width_that_the_target_still_has_is_not_counted_as_noise() -> None:
    levels = geometric(OFFSET, 10.0, 20)
    for law in (LAW, LAW.narrowed(0.1), LAW.conditional(0)):
        with pytest.raises(ConfigError, match=r"counts 0\.16 as noise, which the target, of width .*, still has"):
            sample(ExactDenoiser(law), X, levels, step=Exponential(lam=0))
    with pytest.raises(ConfigError, match="knows the whole law, and this process counts some width as noise"):
        sample(OwnDenoiser(f=states("denoised")), X, levels, step=Exponential(lam=0))


def test_targets_know_what_was_taken_from_them() -> None:
    pair = Pair(cond=LAW, uncond=Gaussian(mean=X[0], variance=torch.ones(2, dtype=torch.float64)))
    mixed = blend([LAW, Gaussian(mean=X[0], variance=torch.ones(2, dtype=torch.float64))])
    for law in (LAW, pair, mixed):
        narrow, offset = law.absorbed()
        halves = law.narrowed(offset / 2).narrowed(offset / 2)
        for one in (narrow, halves, law.narrowed(offset / 2)):
            assert one.taken in (offset, offset / 2)
            assert ExactDenoiser(one)(X, NoiseLevel(time=1.0, offset=one.taken)).isfinite().all()
            own = one.conditional(0)  # may have width left, which nobody counted
            assert ExactDenoiser(own)(X, NoiseLevel(time=1.0, offset=one.taken)).isfinite().all()
    half = LAW.narrowed(0.08).to(dtype=torch.float32)
    assert ExactDenoiser(half)(X.float(), NoiseLevel(time=1.0, offset=0.08)).isfinite().all()


def test_points_may_be_widened_and_other_targets_vouched_for() -> None:
    points = mixture(LAW.centroids, std=0.0)
    level = NoiseLevel(time=1.0, offset=0.16)
    torch.testing.assert_close(ExactDenoiser(points)(X, level), ExactDenoiser(LAW.absorbed()[0])(X, level))
    assert ExactDenoiser(LAW, taken=0.16)(X, level).isfinite().all()


# Duck types


class Known:
    """A standard normal law with nothing but what an exact denoiser asks of it."""

    def denoised(self, x: torch.Tensor, level: NoiseLevel) -> torch.Tensor:
        return x / (1 + level.variance)

    def conditional(self, label: int) -> Known:
        return self


class Half:
    """Euler's method for the ODE in sigma."""

    needs_noise = False

    def __call__(self, state: State, next_level: NoiseLevel, denoiser: Any, noise: Any) -> State:
        first = state.evaluate(denoiser)
        slope = (state.x - first.denoised) / state.level.sigma
        return state.moved(state.x + (next_level.sigma - state.level.sigma) * slope, next_level, first)


@pytest.mark.usefixtures("unchecked")
def test_targets_and_steps_need_no_base_class() -> None:
    levels = geometric(VarianceExploding(), 100.0, 400, end=1e-6)
    run = sample(ExactDenoiser(Known()), X, levels, step=Half(), label=0)  # type: ignore[arg-type]
    torch.testing.assert_close(run.x, X / 101**0.5, rtol=0.03, atol=0.0)
    like = sample(ExactDenoiser(Known()), X, levels, step=Exponential(lam=0, order=1), label=0)  # type: ignore[arg-type]
    torch.testing.assert_close(run.x, like.x, rtol=1e-9, atol=1e-12)
    assert run.modes_read == 400 * 4


# Changes in place


@pytest.mark.parametrize("sees", ["sigma", "level"])
def test_a_function_that_changes_its_inputs_in_place_changes_nothing_of_the_run(sees: Any) -> None:
    def network(x: torch.Tensor, noise: Any, label: Any) -> torch.Tensor:
        level = noise if sees == "level" else NoiseLevel(time=noise.numpy() ** 2)
        found = EXACT(x, level, label)
        x.zero_()
        label.zero_()
        if sees == "level":
            noise.time[:] = 0
        else:
            noise.zero_()
        return found

    x, labels, level = X.clone(), LABELS.clone(), NoiseLevel(time=np.array([0.1, 1.0, 5.0, 0.4]))
    made = osc.denoiser(network, sees=sees)
    torch.testing.assert_close(made(x, level, labels), EXACT(X, LEVELS[1], LABELS))
    assert torch.equal(x, X)
    assert torch.equal(labels, LABELS)
    np.testing.assert_array_equal(level.time, LEVELS[1].time)


# What is asked and what it is asked about


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"sigma_data": 0}, r"^`sigma_data` must be a number > 0, got 0$"),
        ({"sigma_data": -1.0}, r"^`sigma_data` must be a number > 0, got -1\.0$"),
        ({"sigma_data": np.nan}, r"^`sigma_data` must be a number > 0, got nan$"),
        ({"sigma_data": "x"}, r"^`sigma_data` must be a number > 0, got 'x'$"),
        ({"classes": 0}, r"^`classes` must be a whole number > 0, got 0$"),
        ({"classes": 2.5}, r"^`classes` must be a whole number > 0, got 2\.5$"),
        ({"check": 5}, r"^`check` must be a law with an exact score, .*, got int$"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        osc.denoiser(states("denoised"), **kwargs)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("label", "message"),
    [
        (3, r"^`label` 3 is none of the 3 `classes`, 0 to 2$"),
        (torch.tensor([0, 1, -1, 2]), r"^`label` -1 is none of the 3 `classes`, 0 to 2$"),
        ("cat", r"^`label` must be a whole number, or one for each of 4 rows, got 'cat'$"),
        (torch.tensor([0, 1]), r"^`label` must be a whole number, or one for each of 4 rows, got tensor"),
    ],
)
def test_labels_that_are_no_classes_are_refused_in_one_line(label: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        osc.denoiser(states("denoised"), classes=3)(X, LEVELS[0], label)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("made", [EXACT, osc.denoiser(states("denoised")), classifier_free(EXACT, 1.0)])
@pytest.mark.parametrize(
    ("x", "level", "message"),
    [
        (X.numpy(), LEVELS[0], r"^`x` must be a torch tensor, one event per row, got ndarray$"),
        (X, 0.7, r"^`level` must be a NoiseLevel, such as .*, got float$"),
    ],
)
def test_states_and_levels_that_are_none_are_refused_in_one_line(made: Any, x: Any, level: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        made(x, level)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("x", [X[:, :1], X[0], X[:, None]])
def test_other_columns_than_those_of_the_target_are_refused(x: Any) -> None:
    for made in (EXACT, classifier_free(EXACT, 1.0)):
        with pytest.raises(ShapeError, match=r"^`x` must have one event per row in 2 columns, got shape \("):
            made(x, LEVELS[0])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("wrong", [5, "cat", LAW, ExactDenoiser, lambda x, sigma, label: x])
def test_guidance_of_what_is_no_denoiser_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"^`denoiser` must be a denoiser, such as .*, got \w+$"):
        classifier_free(wrong, 1.0)
    with pytest.raises(ConfigError, match=r"^`reference` must be a denoiser, such as .*, got \w+$"):
        Guided(main=EXACT, reference=wrong, schedule=1.0)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("wrong", [5, "cat", EXACT, type(LAW), X])
def test_an_exact_denoiser_of_what_is_no_target_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"^`target` must be a law with an exact score, .*, got \w+$"):
        ExactDenoiser(wrong)
