"""Targets of somebody's own, which stand in a module."""

from __future__ import annotations

import numpy as np
import torch

import orthoscope as osc

_STREAM = np.random.default_rng(5)
LABELS = np.repeat([0, 1], 20)
POINTS = 3.0 + _STREAM.normal(size=(40, 2)) * np.array([0.4, 0.8]) + np.repeat([[-1.0, 0.3], [1.0, 0.0]], 20, axis=0)
MADE = osc.mixture(POINTS, labels=LABELS)


def clouds() -> osc.Mixture:
    return osc.mixture(POINTS, labels=LABELS)


def broken() -> osc.Mixture:
    raise RuntimeError("no\ndata today")


def flat() -> osc.Ball:
    return osc.Ball(center=torch.zeros(2), radius=1.0)
