"""Training: it finds the truth, and the same run has the same bits, interrupted or not."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from orthoscope.denoise import ExactDenoiser
from orthoscope.errors import ConfigError, StoppedError
from orthoscope.learned import Learned, Trainer, Training, train
from orthoscope.learned.checkpoint import read_checkpoint, write_checkpoint
from orthoscope.process import NoiseLevel
from tests.learned.cases import CLASSES, Perceptron, law, points, short


def finished(training: Training, *, data_seed: int = 1) -> Trainer:
    trainer = Trainer(Perceptron(training.seed), training)
    list(train(trainer, points(64, data_seed), points(16, data_seed + 1)))
    return trainer


def assert_same_bits(one: Trainer, other: Trainer) -> None:
    first, second = one.state(), other.state()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert one.log == other.log


@pytest.fixture(scope="module")
def learned() -> tuple[Trainer, Learned]:
    """The law of two Gaussians, learned."""
    training = Training(steps=800, batch=256, learning_rate=5e-3, warmup=50, memory=50, every=100, null_share=0.3)
    trainer = Trainer(Perceptron(), training)
    list(train(trainer, points(20_000, 1), points(500, 2)))
    return trainer, Learned(network=trainer.average, null=CLASSES)


def error(learned: Learned, level: NoiseLevel, label: int | None, truth: int | None) -> float:
    """Root mean square distance of a learned denoiser from an exact one, over the noised law."""
    data = points(4000, 3)
    x = data.x if label is None else data.x[data.labels == label]
    generator = torch.Generator().manual_seed(4)
    x = x + float(level.sigma) * torch.randn(x.shape, generator=generator)
    return float((learned(x, level, label) - ExactDenoiser(law())(x, level, truth)).square().mean().sqrt())


@pytest.mark.parametrize("sigma", [0.2, 0.5, 1.0, 2.0, 10.0])
def test_a_trained_network_is_the_exact_denoiser(learned: tuple[Trainer, Learned], sigma: float) -> None:
    """The classes are 2 apart: whoever takes one label for another is wrong by several times the bound."""
    level = NoiseLevel(time=sigma**2)
    for label in (0, 1, None):
        assert error(learned[1], level, label, label) < 0.15
    if sigma >= 1:
        assert error(learned[1], level, 0, 1) > 0.6
        assert error(learned[1], level, None, 0) > 0.3


def test_the_loss_falls_and_is_the_same_on_data_held_out(learned: tuple[Trainer, Learned]) -> None:
    first, last = learned[0].log[0], learned[0].log[-1]
    assert last.loss < first.loss
    assert last.held_out_loss == pytest.approx(last.loss, rel=0.1)  # 20,000 points cannot be learned by heart
    assert last.step == 800


def test_labels_may_differ_by_row(learned: tuple[Trainer, Learned]) -> None:
    x, level = torch.randn((6, 2), generator=torch.Generator().manual_seed(5)), NoiseLevel(time=1.0)
    mixed = learned[1](x, level, torch.tensor([0, 1, 2, 0, 1, 2]))
    for label in (0, 1, None):
        rows = slice(CLASSES if label is None else label, None, 3)
        torch.testing.assert_close(mixed[rows], learned[1](x, level, label)[rows])


def test_equal_seeds_give_equal_bits_and_others_do_not() -> None:
    one = finished(short())
    assert_same_bits(one, finished(short()))
    other = finished(short(seed=1))
    assert not torch.equal(one.average.label.weight, other.average.label.weight)


@pytest.mark.parametrize("stop", [0, 1])
def test_a_resumed_training_has_the_bits_of_an_uninterrupted_one(tmp_path: Path, stop: int) -> None:
    stopped = Trainer(Perceptron(0), short(steps=10))
    for index, _ in enumerate(train(stopped, points(64, 1), points(16, 2))):
        if index == stop:
            break
    write_checkpoint(stopped, tmp_path / "c.safetensors")
    resumed = Trainer(Perceptron(9), short(steps=10))
    read_checkpoint(resumed, tmp_path / "c.safetensors")
    assert resumed.done == 4 * (stop + 1)
    list(train(resumed, points(64, 1), points(16, 2)))
    assert_same_bits(resumed, finished(short(steps=10)))


def test_weights_averaged_over_one_update_are_the_last_ones() -> None:
    one = finished(short(memory=1))
    torch.testing.assert_close(one.average.state_dict(), one.network.state_dict(), rtol=0, atol=0)
    many = finished(short(memory=4))
    assert not torch.equal(many.average.label.weight, many.network.label.weight)


def test_the_rate_rises_and_falls() -> None:
    plan = short(steps=1000, warmup=10, learning_rate=1.0)
    rates = [plan.rate_at(step) for step in range(plan.steps)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0, abs=1e-3)
    assert rates.index(max(rates)) == 9
    assert rates[-1] < 1e-5
    assert all(a > b for a, b in itertools.pairwise(rates[9:]))


def test_divergence_is_told() -> None:
    with pytest.raises(StoppedError, match=r"diverged at update \d+.*lower the learning rate"):
        finished(short(learning_rate=1e30, warmup=0, steps=20))


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"batch": 0}, {"learning_rate": 0.0}, {"null_share": 1.0}, {"memory": 0}, {"every": 0}]
)
def test_unusable_trainings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        short(**wrong)


def test_unusable_checkpoints_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    trainer = finished(short())

    def refused(match: str, other: Trainer) -> None:
        with pytest.raises(ConfigError, match=match) as raised:
            read_checkpoint(other, path)
        assert len(str(raised.value).splitlines()) == 1

    refused("nothing to resume", trainer)
    write_checkpoint(trainer, path)
    refused("seed was 0, now 3", Trainer(Perceptron(), replace(trainer.training, seed=3)))
    refused("another network", Trainer(Perceptron(width=32), trainer.training))
    with safe_open(path, framework="pt") as opened:
        about, tensors = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}
    for part in ("network.", "average.", "adam."):
        lost = next(name for name in tensors if name.startswith(part))
        save_file({name: value for name, value in tensors.items() if name != lost}, path, metadata=about)
        refused(f"lacks {lost} of its tensors", trainer)
    path.write_bytes(path.read_bytes()[:-100])
    refused("not a readable checkpoint", trainer)
