from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from orthoscope import rng
from orthoscope.errors import ConfigError
from orthoscope.process import VarianceExploding
from orthoscope.sampling import start
from orthoscope.targets import mixture
from tests.stat.expect import expect_cdf

LAW = mixture(torch.tensor([[-1.0], [3.0]], dtype=torch.float64), std=0.5)


def test_the_exact_start_is_the_noised_law_whatever_the_offset(seed: int) -> None:
    level = VarianceExploding(offset=1.5).at(2.0)
    streams = rng.row_streams(seed, "start", rows=range(20_000))
    x = start("exact", LAW, level, streams, prior_variance=np.nan)
    sd = np.sqrt(2.0 + 0.25)
    expect_cdf(x[:, 0], lambda y: (stats.norm.cdf(y, -1, sd) + stats.norm.cdf(y, 3, sd)) / 2, detect=0.04)


def test_the_prior_start_is_a_centered_gaussian_blind_to_the_class(seed: int) -> None:
    level = VarianceExploding(offset=0.25).at(2.0)
    streams = rng.row_streams(seed, "start", rows=range(20_000))
    x = start("prior", LAW, level, streams, prior_variance=1.25)
    expect_cdf(x[:, 0], lambda y: stats.norm.cdf(y, 0, np.sqrt(3.25)), detect=0.04)


@pytest.mark.parametrize("kind", ["prior", "exact"])
def test_a_row_starts_at_the_same_place_in_every_batch(kind: str, seed: int) -> None:
    level = VarianceExploding().at(2.0)
    whole = start(kind, LAW, level, rng.row_streams(seed, rows=range(5)), prior_variance=1)
    part = start(kind, LAW, level, rng.row_streams(seed, rows=[3, 4]), prior_variance=1)
    assert torch.equal(whole[3:], part)


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_start_is_named_with_the_nearest(seed: int) -> None:
    with pytest.raises(ConfigError, match="unknown start 'exakt'; did you mean 'exact'"):
        start("exakt", LAW, VarianceExploding().at(1.0), rng.row_streams(seed, rows=[0]), prior_variance=1)
