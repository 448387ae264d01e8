from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthoscope.targets import modes
from orthoscope.targets.modes import log_partition, mode_table, posterior_mean


def instance(seed: int, modes: int, dim: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    stream = np.random.default_rng(seed)
    centroids, x = stream.standard_normal((modes, dim)), 2 * stream.standard_normal((5, dim))
    logs = np.log(stream.dirichlet(np.ones(modes)))
    return torch.from_numpy(centroids).to(dtype), torch.from_numpy(logs).to(dtype), torch.from_numpy(x).to(dtype)


def logits(centroids: torch.Tensor, logs: torch.Tensor, x: torch.Tensor, v: float) -> torch.Tensor:
    """Straight from the definition."""
    squares = (x[:, None, :] - centroids).square().sum(2)
    return logs - squares / (2 * v) + x.square().sum(1, keepdim=True) / (2 * v)


sizes = {
    "seed": st.integers(0, 2**32),
    "count": st.integers(1, 40),
    "dim": st.integers(1, 17),
    "v": st.floats(0.05, 100),
}


@given(**sizes)
def test_posterior_mean_is_the_naive_softmax(seed: int, count: int, dim: int, v: float) -> None:
    centroids, logs, x = instance(seed, count, dim, torch.float64)
    naive = logits(centroids, logs, x, v).softmax(1) @ centroids
    torch.testing.assert_close(posterior_mean(mode_table(centroids, logs), x, v), naive, rtol=1e-10, atol=1e-10)


@given(**sizes)
def test_log_partition_is_the_naive_sum(seed: int, count: int, dim: int, v: float) -> None:
    centroids, logs, x = instance(seed, count, dim, torch.float64)
    table, every = mode_table(centroids, logs), logits(centroids, logs, x, v)
    torch.testing.assert_close(log_partition(table, x, v), every.logsumexp(1), rtol=1e-11, atol=1e-10)
    members = torch.arange(count) % 2 == 0
    some = log_partition(table, x, v, members=members)
    torch.testing.assert_close(some, every[:, members].logsumexp(1), rtol=1e-11, atol=1e-10)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    centroids, logs, x = instance(3, 100, 4, torch.float64)
    table = mode_table(centroids, logs)
    whole = log_partition(table, x, 0.5)
    monkeypatch.setattr(modes, "_BLOCK", 56)  # seven modes at a time
    torch.testing.assert_close(log_partition(table, x, 0.5), whole, rtol=1e-13, atol=1e-13)
    assert torch.equal(mode_table(centroids, logs), table)
    outside = log_partition(table, x, 0.5, members=torch.arange(100) >= 98)
    torch.testing.assert_close(outside, logits(centroids, logs, x, 0.5)[:, 98:].logsumexp(1), rtol=1e-11, atol=1e-11)


def test_no_members_have_no_weight() -> None:
    centroids, logs, x = instance(3, 10, 4, torch.float64)
    empty = log_partition(mode_table(centroids, logs), x, 0.5, members=torch.zeros(10, dtype=torch.bool))
    assert torch.equal(empty, torch.full((5,), -torch.inf, dtype=torch.float64))


@pytest.mark.parametrize("dim", [1, 6, 7, 64])
def test_tables_are_padded_to_whole_vectors(dim: int) -> None:
    centroids, logs, _ = instance(3, 10, dim, torch.float32)
    table = mode_table(centroids, logs)
    assert table.shape[1] % 8 == 0
    assert dim + 2 <= table.shape[1] < dim + 10
    assert torch.equal(table[:, dim + 2 :], torch.zeros_like(table[:, dim + 2 :]))


def test_single_precision_keeps_its_promise() -> None:
    # About eps |m|^2 / v in the logits: 1e-4 at d = 64, v = 0.25.
    stream = np.random.default_rng(5)
    centroids = torch.from_numpy(stream.standard_normal((2000, 64)))
    x = centroids[:50] / 2 + centroids[50:100] / 2 + 0.5 * torch.from_numpy(stream.standard_normal((50, 64)))
    double, single = (
        posterior_mean(mode_table(centroids.to(t), torch.zeros(2000, dtype=t)), x.to(t), 0.25).double()
        for t in (torch.float64, torch.float32)
    )
    assert (double - single).abs().max() < 1e-4


CHILD = """
import torch
from benchmarks.posterior_mean import high_water
from orthoscope import rng
from orthoscope.process import NoiseLevel
from orthoscope.targets import random_mixture
torch.set_num_threads(1)
target = random_mixture(64, rate=0.2, std=0.5, stream=rng.stream(0, "modes"))
assert target.size == 362_217, target.size
x = torch.from_numpy(rng.stream(0, "x").standard_normal((1000, 64))).float()
assert torch.isfinite(target.denoised(x, NoiseLevel(time=1.0))).all()
print(high_water())
"""


def test_many_modes_are_read_without_a_matrix_of_rows_by_modes() -> None:
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", CHILD], cwd=root, capture_output=True, text=True, check=True)
    assert float(run.stdout) < 1.5e9  # the matrix alone would take 1.45 GB, the table takes 0.1
