"""Ledoit and Wolf's covariance of few rows, for the discriminants of `lda_accuracy`."""

from __future__ import annotations

import numpy as np

from orthoscope.metrics.estimators import FloatArray


class Shrunk:
    """A covariance as scikit-learn's discriminant with `shrinkage="auto"` estimates it, to rounding.

    There it goes through four estimators that check what they are given, which takes twenty times as long as the
    arithmetic of a prompt's few images.

    Attributes:
        covariance_: The covariance, once fitted.

    Source:
        [ledoit2004well].
    """

    covariance_: FloatArray

    def fit(self, x: FloatArray) -> None:
        """Find the covariance of rows: standardized, shrunk to a multiple of one, and in their units again."""
        n, dim = x.shape
        mean, variance = x.mean(0), x.var(0)
        rounding = n * np.finfo(np.float64).eps
        scale = np.where(variance <= rounding * variance + (rounding * mean) ** 2, 1.0, np.sqrt(variance))
        z = (x - mean) / scale
        z -= z.mean(0)
        products, powers = z.T @ z, z**2
        size = float(powers.sum() / (n * dim))  # the variance of a direction, on average
        apart = (products**2).sum() / n**2
        noise = ((powers.T @ powers).sum() / n - apart) / (n * dim)
        distance = (apart - dim * size**2) / dim
        share = min(noise, distance) / distance if dim > 1 and min(noise, distance) != 0 else 0.0
        shrunk = (1 - share) * products / n
        shrunk.flat[:: dim + 1] += share * size
        self.covariance_ = scale[:, None] * shrunk * scale
