"""The effective law of a network, sampled, beside its theory: mean shifts and variance ratios of every class at once.

`python -m benchmarks.effective [MODES ...]` prints one row per number of modes, learned fraction, schedule and sampler.
The unconditional branch is a share of the exact law and a share of one Gaussian: that with the modes' own moments, or
(`--ensemble`) that with the moments of the ensemble they are drawn from, which is what theory knows.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from orthoscope.denoise import Blended, ExactDenoiser, FixedLabel, OwnMode
from orthoscope.guidance.grammar import parse_schedule
from orthoscope.guidance.guided import Guided
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.sampling import Exponential, geometric, sample, through
from orthoscope.settings import Setting
from orthoscope.targets import Covariant, Mixture, covariant, random_mixture
from orthoscope.theory import predict_effective
from orthoscope.theory.gaussian import scheduled_gaussian

DIM, STD, T_MAX = 16, 0.5, 50.0
SCHEDULES = {
    "w=1": "constant:1",
    "w=3": "constant:3",
    "3,-1<.3": "step:early=3,late=-1,switch=0.3",
    "3,0<1": "step:early=3,late=0,switch=1",
}


def smooth(time: float) -> float:
    """A network that knows much of what there is to know at late times, and little at early ones."""
    return 0.9 / (1 + time**0.5)


LEARNED: Mapping[str, Callable[[float], float]] = {
    **{f"{share:g}": (lambda time, share=share: share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)},
    "smooth": smooth,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Estimates over independent draws of the modes, each with its standard error.

    Attributes:
        mean_shift: E[x.m]/E|m|^2 - 1.
        variance_ratio: Within-class variance over s^2.
        posterior: Posterior of the own mode at the end.
    """

    mean_shift: tuple[float, float]
    variance_ratio: tuple[float, float]
    posterior: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the effective law of random modes is sampled, in 8 independent draws of the modes or more.

    Attributes:
        modes: Number of modes, each a class.
        classes: Classes sampled, in all.
        paths: Trajectories per class.
        steps: Steps.
        ensemble: Whether the Gaussian is that of the ensemble.
        dim: The dimension.
    """

    modes: int
    classes: int = 256
    paths: int = 8
    steps: int = 32
    ensemble: bool = False
    dim: int = DIM

    def measure(self, schedule: str, learned: Callable[[float], float], lam: float) -> Measured:
        """Guided paths beside unguided ones with the same noise, whose law is that of the class."""
        each = min(self.modes, self.classes // 8)
        draws = [self._draw(index, each, schedule, learned, lam) for index in range(self.classes // each)]
        along, square, variance, posterior = np.array(draws).mean(axis=2).T
        shift = along.mean() / square.mean()
        return Measured(
            mean_shift=(float(shift), _error((along - shift * square) / square.mean())),
            variance_ratio=(float(variance.mean()) / STD**2, _error(variance) / STD**2),
            posterior=(float(posterior.mean()), _error(posterior)),
        )

    def blind(self, schedule: str, lam: float) -> tuple[float, float]:
        """Mean shift and variance ratio where nothing is learned, in closed form from the modes' own moments."""
        found = []
        for index in range(self.classes // min(self.modes, self.classes // 8)):
            mean, cov = self._target(index).moments()
            squares = np.maximum(torch.linalg.eigvalsh(cov).numpy() - STD**2, 0.0)  # of centroids, by direction
            law = {"lam": lam, "t_max": T_MAX, "start": "exact"}
            shift, variance = scheduled_gaussian(STD**2, STD**2 + squares, parse_schedule(schedule), **law)
            found.append((shift @ squares, squares.sum() + float(mean.square().sum()), variance.mean()))
        along, square, variance = np.mean(found, axis=0)
        return float(along / square), float(variance) / STD**2

    def _target(self, index: int) -> Mixture:
        stream = np.random.default_rng((index, self.modes))
        return random_mixture(self.dim, classes=self.modes, std=STD, stream=stream)

    def _draw(self, index: int, each: int, text: str, learned: Callable[[float], float], lam: float) -> np.ndarray:
        target, stream = self._target(index), np.random.default_rng((index, self.modes, 2))
        narrow, offset = target.narrowed(target.width), target.width
        schedule, process = parse_schedule(text), VarianceExploding(offset=offset)
        levels = through(geometric(process, T_MAX, self.steps), process, schedule.switches())
        blended = Blended(
            ExactDenoiser(narrow), ExactDenoiser(self._gaussian(target).narrowed(offset)), lambda at: learned(at.time)
        )
        guided = Guided(main=OwnMode(narrow), reference=FixedLabel(blended), schedule=schedule)
        labels = torch.arange(each).repeat_interleave(self.paths)
        own = target.centroids[labels]
        x = own + math.sqrt(T_MAX + offset) * torch.from_numpy(stream.standard_normal(own.shape)).to(own)
        ends = []
        for denoiser in (guided, OwnMode(narrow)):
            normals = np.random.default_rng((index, self.modes, 1))

            def noise(level: NoiseLevel, lower: NoiseLevel, normals: np.random.Generator = normals) -> torch.Tensor:
                return torch.from_numpy(normals.standard_normal(own.shape, dtype=np.float32))

            ends.append(sample(denoiser, x, levels, step=Exponential(lam=lam), noise=noise, label=labels).x.double())
        return _statistics(target, labels, ends, self.paths)

    def _gaussian(self, target: Mixture) -> Covariant:
        if not self.ensemble:
            return target.gaussian()
        return covariant(torch.zeros(self.dim), cov=(1 + STD**2) * torch.eye(self.dim))


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def _statistics(target: Mixture, labels: torch.Tensor, ends: list[torch.Tensor], paths: int) -> np.ndarray:
    """Overlap, square, variance and posterior of every class; differences to unguided paths, the law added."""
    m = target.centroids.double()
    own = m[labels[::paths]]
    guided, free = (end.reshape(-1, paths, m.shape[1]) for end in ends)
    along, square = ((guided - free).mean(1) * own).sum(1), own.square().sum(1)
    variance = guided.var(1).mean(1) - free.var(1).mean(1) + target.width
    distance = torch.cdist(ends[0], m).square() / (-2 * target.width)
    posterior = torch.softmax(distance, 1).gather(1, labels[:, None]).reshape(-1, paths).mean(1)
    return np.array([one.numpy() for one in (along, square, variance, posterior)])


def row(sampling: Sampling, learned: str, schedule: str, lam: float) -> str:
    """One line of the table."""
    text, fraction = SCHEDULES[schedule], LEARNED[learned]
    one = sampling.measure(text, fraction, lam)
    setting = Setting.of(classes=sampling.modes, dim=DIM, std=STD, schedule=text, t_max=T_MAX, start="exact", lam=lam)
    theory = predict_effective(setting, DIM, fraction)
    line = (
        f"{sampling.modes:5} {learned:>7} {schedule:>8} {'SDE' if lam else 'ODE'} | "
        f"{one.mean_shift[0]:7.4f}({one.mean_shift[1]:.4f}) {theory.mean_shift:7.4f} "
        f"{one.mean_shift[0] / theory.mean_shift:5.2f} | "
        f"{one.variance_ratio[0]:6.4f}({one.variance_ratio[1]:.4f}) {theory.variance_ratio:6.4f} "
        f"{(1 - one.variance_ratio[0]) / (1 - theory.variance_ratio):5.2f} | "
        f"{one.posterior[0]:.3f}({one.posterior[1]:.3f}) {theory.class_posterior:.3f}"
    )
    if learned == "0" and not sampling.ensemble:
        line += " | {:7.4f} {:6.4f}".format(*sampling.blind(text, lam))
    return line


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modes", type=int, nargs="*", default=[8, 32, 128, 512])
    parser.add_argument("--ensemble", action="store_true")
    arguments = parser.parse_args()
    print(
        "modes learned schedule lam | mean shift     theory  ratio | variance ratio theory ratio | posterior theory"
        " | own moments"
    )
    for modes in arguments.modes:
        sampling = Sampling(modes=modes, ensemble=arguments.ensemble)
        for lam, learned, schedule in product((1.0, 0.0), LEARNED, SCHEDULES):
            print(row(sampling, learned, schedule, lam), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
