"""How much guidance itself bends the response to a branch that knows part of the law: tangents beside samples.

`python -m benchmarks.response` prints, per sampler, strength and learned fraction, what the errors of the unconditional
branch add to the mean shift and the variance ratio of the exact law: by the tangents of `simulation.response` without
a Jacobian (bare), with that of one Gaussian, of the exact law and of the wrong branch (whole), and by samples.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import torch

from benchmarks.effective import DIM, STD, T_MAX
from orthoscope.denoise import Blended, ExactDenoiser, FixedLabel, OwnMode
from orthoscope.guidance.guided import Guided
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.sampling import Exponential, geometric, sample
from orthoscope.simulation.response import respond, tangent
from orthoscope.targets import covariant, random_mixture

MODES, DRAWS, PATHS, STEPS = 32, 8, 16, 48
NAMES = ("bare", "gaussian", "exact", "whole")


def draw(index: int, w: float, learned: float, lam: float) -> np.ndarray:
    """Extra mean shift, then extra variance ratio without and with Var(e): of tangents and of samples, for one draw."""
    stream = np.random.default_rng((index, MODES))
    target = random_mixture(DIM, classes=MODES, std=STD, stream=stream, dtype=torch.float64)
    narrow, offset = target.narrowed(target.width), target.width
    unit = covariant(torch.zeros(DIM).double(), cov=(1 + offset) * torch.eye(DIM).double()).narrowed(offset)
    gaussian, own = FixedLabel(ExactDenoiser(unit)), OwnMode(narrow)
    exact, wrong = (
        Guided(main=own, reference=FixedLabel(Blended(OwnMode(narrow), gaussian, share)), schedule=w)
        for share in (1.0, learned)
    )
    labels = torch.arange(MODES).repeat_interleave(PATHS)
    levels = geometric(VarianceExploding(offset=offset), T_MAX, STEPS)
    x = target.centroids[labels]
    x = x + math.sqrt(T_MAX + offset) * torch.from_numpy(stream.standard_normal(x.shape))

    def kept() -> object:
        normals = np.random.default_rng((index, 1))

        def noise(level: NoiseLevel, lower: NoiseLevel) -> torch.Tensor:
            return torch.from_numpy(normals.standard_normal(x.shape))

        return noise

    step = Exponential(lam=lam)
    found = respond(tangent(exact, wrong, gaussian), x, levels, labels, noise=kept(), step=step)
    end = sample(wrong, x, levels, step=step, noise=kept(), label=labels).x
    m, whole = target.centroids, end - found.x
    moved = ((whole.reshape(-1, PATHS, DIM).mean(1) * m).sum(1) / m.square().sum(1)).mean()
    wrong, right = (rows.reshape(-1, PATHS, DIM).var(1).mean() for rows in (end, found.x))
    rows = [[found.mean_shift(name, m).value for name in NAMES] + [float(moved)]]
    for squared in (False, True):
        extra = [found.variance(name, squared=squared).value for name in NAMES]
        rows.append([value / STD**2 for value in (*extra, float(wrong - right))])
    return np.array(rows)


def main() -> None:
    """Print the table."""
    print(f"{MODES} modes, d = {DIM}, s = {STD:g}, exact start at t = {T_MAX:g}; standard errors over {DRAWS} draws")
    print(f"{'':24}" + "".join(f"{name:>17}" for name in (*NAMES, "sampled")))
    for lam, w, learned in product((1.0, 0.0), (1.0, 3.0), (0.9, 0.5, 0.0)):
        draws = np.array([draw(index, w, learned, lam) for index in range(DRAWS)])
        mean, error = draws.mean(0), draws.std(0, ddof=1) / math.sqrt(DRAWS)
        for what, values, errors in zip(("mean", "variance", "... + Var(e)"), mean, error, strict=True):
            numbers = "".join(f"{value:9.4f}({one:.4f})" for value, one in zip(values, errors, strict=True))
            print(f"{'SDE' if lam else 'ODE'} w={w:g} l={learned:g} {what:<12}  {numbers}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
