"""The shrunk covariance is scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from orthoscope.metrics.shrinkage import Shrunk


@pytest.mark.parametrize(("n", "dim"), [(4, 9), (30, 5), (7, 1), (6, 64)])
def test_a_discriminant_has_the_covariance_of_scikit_learn(n: int, dim: int, seed: int) -> None:
    draws = np.random.default_rng(seed)
    x = 10 * draws.standard_normal(dim) + draws.standard_normal((2 * n, dim)) * np.exp(draws.standard_normal(dim))
    x[:, dim // 2 + 1 :] = 0.1  # does not vary, but for rounding
    y = np.repeat([0, 1], n)
    ours = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=Shrunk()).fit(x, y)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(x, y)
    np.testing.assert_allclose(ours.covariance_, theirs.covariance_, rtol=1e-12, atol=1e-12)
