r"""Three stages of guidance made visible: direction shift, mode separation, concentration.

Classes of several modes are sampled with exact scores by the probability-flow ODE, with guidance switched on in one
stage only. Stages are cut where an unguided path knows 10 % and 90 % of what is to be decided: with $I(t)$ the
information that the noised sample carries about its mode within the class (about its class, if a class has one mode),

- *early*: $I$ below 10 %, a path only knows the direction of its class;
- *middle*: modes separate;
- *late*: $I$ above 90 %, the mode is settled and paths contract within it.

Three problems are sampled: `gaussian`, two modes beside one Gaussian as unconditional law, for which
`theory.separation` predicts everything; `modes`, many classes of several unequal modes; `classes`, as many classes of
one mode each. The last two have opposite interests in early guidance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from orthoscope import metrics, rng
from orthoscope.datasets import dataset, estimates, stored
from orthoscope.denoise import ExactDenoiser
from orthoscope.errors import ConfigError
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.published import tv_triangle
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Interval, Step
from orthoscope.metrics.modes import entropy, mode_distance, mode_entropy, mode_posteriors, mode_spread, mode_weights
from orthoscope.process import NoiseLevel, RectifiedFlow, VarianceExploding
from orthoscope.quantities import Estimate, pool
from orthoscope.sampling import Exponential, Run, State, geometric, sample, start, through
from orthoscope.sweeps.points import HERE, Points
from orthoscope.targets import Gaussian, Mixture, Pair, Target, mixture
from orthoscope.targets.structured import multimodal_mixture
from orthoscope.theory.separation import separate

FloatArray = NDArray[np.float64]
PROBLEMS = ("gaussian", "modes", "classes")
WINDOWS = ("unguided", "constant", "early", "middle", "late", "triangle", "early, then negative")
MEASURES = ("direction", "mean_shift", "mode_entropy", "weak_weight", "mode_distance", "mode_spread", "class_posterior")
THEORY = ("mean_shift", "mode_entropy", "weak_weight", "mode_spread")
_KNOWN = (0.1, 0.9)  # shares of the information at which stages are cut
_LEVELS = 49
_FLOW_STEPS = 24  # equal steps of flow time on which the published triangle is laid


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """What is sampled, and what a path has to decide.

    Attributes:
        target: Conditional law, label 0, beside an unconditional one.
        law: The class.
        decided: The modes among which a path decides: those of its class, or all of them.
    """

    target: Target
    law: Mixture
    decided: Mixture


@dataclass(frozen=True, slots=True, kw_only=True)
class StagesStudy:
    """Guidance in one stage at a time.

    Attributes:
        dim: Dimension.
        classes: Number of classes.
        weights: Weights of the modes of a class, in `modes`.
        pair: Weights of the two modes, in `gaussian`.
        spread: Standard deviation per coordinate of modes about the center of their class.
        std: Within-mode standard deviation.
        strengths: Strengths while guidance is on.
        negative: Strength after the early stage, in the window that turns negative.
        t_max: Variance time of the start, from the exact noised class.
        samples: Trajectories per draw.
        draws: Draws of the modes.
        steps: Steps, to which the jumps of schedules are added.
        seed: Root seed.
    """

    name: str = field(default="stages", init=False)
    dim: int = 16
    classes: int = 256
    weights: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1)
    pair: tuple[float, float] = (0.75, 0.25)
    spread: float = 0.5
    std: float = 0.4
    strengths: tuple[float, ...] = (0.5, 1.0, 3.0)
    negative: float = -0.5
    t_max: float = 400.0
    samples: int = 512
    draws: int = 24
    steps: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject settings of which nothing can be learned."""
        if len(self.weights) < 2 or min(self.strengths, default=0.0) <= 0:
            raise ConfigError("a class needs at least 2 modes, and guidance strengths > 0")
        if self.draws < 2 or self.samples < 32 or self.classes < 2:
            raise ConfigError("expected at least 2 draws, 32 samples and 2 classes")

    @classmethod
    def quick(cls) -> StagesStudy:
        """A reduced version."""
        return cls(dim=8, classes=32, strengths=(1.0, 3.0), samples=128, draws=3, steps=24)

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Sample every problem under every window and strength."""
        rows = points.each(self._draw, product(PROBLEMS, range(self.draws)))
        shape = (len(PROBLEMS), self.draws, len(WINDOWS), len(self.strengths))
        drawn = {
            name: np.moveaxis(np.array([row[name] for row in rows], dtype=object).reshape(shape), 1, -1)
            for name in MEASURES
        }
        return self._label(drawn, np.array([row["cuts"] for row in rows]).reshape(*shape[:2], 2))

    def _draw(self, name: str, draw: int) -> dict[str, Any]:
        """Where the stages of one draw are cut, and what is measured in it by window and strength."""
        problem = self.problem(name, draw)
        seen = draw if name != "gaussian" else 0  # whose modes are not random
        cuts = stage_times(problem, self.t_max, rng.stream(self.seed, "stages", name, seen))

        def measured(window: str) -> list[dict[str, Estimate]]:
            strengths = self.strengths[:1] if window == "unguided" else self.strengths
            found = [self._measure(problem, self.schedule(window, w, *cuts), name, draw, cuts[0]) for w in strengths]
            return found * (len(self.strengths) // len(found))

        windows = [measured(window) for window in WINDOWS]
        return {"cuts": cuts} | {key: [[one[key] for one in row] for row in windows] for key in MEASURES}

    def problem(self, name: str, draw: int) -> Problem:
        """The modes of one draw; the class that is sampled is label 0."""
        if name == "gaussian":
            return self._two_modes()
        several = name == "modes"
        many = multimodal_mixture(
            self.dim,
            classes=self.classes,
            std=self.std,
            spread=self.spread if several else 0.0,
            stream=rng.stream(self.seed, "modes", name, draw),
            weights=self.weights if several else (1.0,),
            dtype=torch.float64,
        )
        law = many.conditional(0)
        return Problem(target=many, law=law, decided=law if several else many)

    def _two_modes(self) -> Problem:
        """Two modes at typical distances, equally far from the unconditional mean: only their weights differ."""
        centroids = torch.zeros(2, self.dim, dtype=torch.float64)
        centroids[:, 0] = np.sqrt((1 - self.spread**2) * self.dim)
        centroids[:, 1] = torch.tensor([1.0, -1.0]) * self.spread * np.sqrt(self.dim)
        law = mixture(centroids, std=self.std, labels=torch.zeros(2, dtype=torch.long), weights=torch.tensor(self.pair))
        every = Gaussian(
            mean=torch.zeros(self.dim, dtype=torch.float64),
            variance=torch.full((self.dim,), 1 + self.std**2, dtype=torch.float64),
        )
        return Problem(target=Pair(cond=law, uncond=every), law=law, decided=law)

    def schedule(self, window: str, w: float, early: float, late: float) -> GuidanceSchedule:
        """Strength w in one stage only, given the times at which the early one ends and the late one begins."""
        return {
            "unguided": Constant(value=0.0),
            "constant": Constant(value=w),
            "early": Step(early=w, late=0.0, switch=early),
            "middle": Interval(inside=w, low=late, high=early),
            "late": Step(early=0.0, late=w, switch=late),
            "triangle": tv_triangle(1 + w).resolved(flow_times(self.t_max)),
            "early, then negative": Step(early=w, late=self.negative, switch=early),
        }[window]

    def _measure(
        self, problem: Problem, schedule: GuidanceSchedule, name: str, draw: int, early: float
    ) -> dict[str, Estimate]:
        law, mean = problem.law, class_mean(problem.law)
        run = self._sample(problem, schedule, name, draw, observe=lambda state: cosines(state, mean))
        rows, log_v = run.x.numpy(), np.log(np.array(run.grid.times) + self.std**2)
        target, several = problem.target, law.size > 1
        nothing = Estimate(value=np.nan, stderr=np.nan, n=len(rows))
        return {
            "direction": metrics.mean_of(at_level(log_v, np.array(run.observed), np.log(early + self.std**2))),
            "mean_shift": metrics.mean_shift(rows, mean),
            "mode_entropy": mode_entropy(rows, law) if several else nothing,
            "weak_weight": mode_weights(rows, law)[int(law.log_weights.argmin())] if several else nothing,
            "mode_distance": mode_distance(rows, law) if several else nothing,
            "mode_spread": mode_spread(rows, law, about="mean"),
            "class_posterior": metrics.share_of(target.class_posterior(run.x, 0).numpy())
            if isinstance(target, Mixture)
            else nothing,
        }

    def _sample(
        self, problem: Problem, schedule: GuidanceSchedule, name: str, draw: int, observe: Callable[[State], Any]
    ) -> Run:
        """The probability-flow ODE from the exact noised class, from the same states for every schedule."""
        narrow, offset = problem.target.absorbed()
        process = VarianceExploding(offset=offset)
        levels = through(geometric(process, self.t_max, self.steps), process, schedule.switches())
        streams = rng.row_streams(self.seed, "trajectory", name, draw, rows=range(self.samples))
        x = start("exact", problem.law, levels.levels[0], streams, prior_variance=1 + self.std**2)
        guided = classifier_free(ExactDenoiser(narrow), schedule)
        return sample(guided, x, levels, step=Exponential(lam=0), label=0, observe=observe)

    def _theory(self, cuts: FloatArray) -> dict[str, FloatArray]:
        """What `separate` predicts for two modes beside a Gaussian, in the terms that are measured."""
        problem = self._two_modes()
        mean, weights = class_mean(problem.law), problem.law.log_weights.exp().numpy()
        positions, center = problem.law.centroids.numpy()[:, 1], problem.law.centroids.numpy()[0, 0]
        found = {name: np.empty((len(WINDOWS), len(self.strengths))) for name in THEORY}
        for cell in np.ndindex(len(WINDOWS), len(self.strengths)):
            schedule = self.schedule(WINDOWS[cell[0]], self.strengths[cell[1]], *cuts)
            law = separate(positions, weights, self.std, schedule, total=1 + self.std**2, t_max=self.t_max)
            shift = law.mean * mean[1] + (1 + law.shift_across) * center * mean[0]
            found["mean_shift"][cell] = shift / (mean @ mean) - 1
            found["weak_weight"][cell] = law.shares[weights.argmin()]
            found["mode_entropy"][cell] = entropy(law.shares)
            found["mode_spread"][cell] = (law.spread_along + (self.dim - 1) * law.spread_across) / self.dim
        return found

    def _label(self, drawn: Mapping[str, Any], cuts: FloatArray) -> xr.Dataset:
        dims = ["problem", "window", "strength"]
        variables: dict[str, Any] = {}
        theory = self._theory(cuts[PROBLEMS.index("gaussian"), 0])
        for name, values in drawn.items():
            # Every window starts from the same states, so that differences to the unguided one are known best.
            changes = np.vectorize(_minus, otypes=[object])(values, values[:, [WINDOWS.index("unguided")]])
            for title, drawn_here in ((name, values), (f"{name}_change", changes)):
                cells = [[[pool(list(cell)) for cell in row] for row in block] for block in drawn_here]
                variables |= estimates(title, dims, cells)
            if name in theory:
                variables[f"{name}_theory"] = (dims[1:], theory[name])
        laws = [self.problem(name, 0).law.log_weights.exp().numpy() for name in PROBLEMS]
        variables |= {
            "stage_time": (["problem", "cut"], cuts.mean(1)),
            "true_mode_entropy": (["problem"], [entropy(weights) for weights in laws]),
            "true_weak_weight": (["problem"], [weights.min() for weights in laws]),
        }
        coords = {
            "problem": PROBLEMS,
            "window": WINDOWS,
            "strength": self.strengths,
            "cut": ["early ends", "late begins"],
        }
        return dataset(variables, coords=coords, spec=self, dim=self.dim, trajectories=self.samples * self.draws)

    def summarize(self, result: xr.Dataset) -> dict[str, Any]:
        """What guidance in each stage does, what a mean shift costs there, and how far theory is off."""
        return {
            "stage_times": {
                str(problem): dict(zip(result["cut"].values.tolist(), row.tolist(), strict=True))
                for problem, row in zip(result["problem"].values, result["stage_time"].values, strict=True)
            },
            "changes": {
                f"{problem}, w = {w:g}": {
                    str(window): _changes(result.sel(problem=problem, strength=w, window=window))
                    for window in WINDOWS
                    if window != "unguided"
                }
                for problem in PROBLEMS
                for w in result["strength"].values
            },
            "prices": {
                f"{problem}, w = {w:g}": {
                    stage: _price(result.sel(problem=problem, strength=w, window=stage))
                    for stage in ("early", "middle", "late")
                }
                for problem in PROBLEMS
                for w in result["strength"].values
            },
            "theory": {name: _worst(result, name) for name in THEORY},
        }


def _minus(one: Estimate, other: Estimate) -> Estimate:
    """The difference in one draw; its error is left to the spread over draws, which knows what the two share."""
    return replace(one, value=one.value - other.value, stderr=0.0, spread=None)


def class_mean(law: Mixture) -> FloatArray:
    """Mean of a class."""
    return np.asarray((law.log_weights.exp() @ law.centroids.double()).numpy())


def cosines(state: State, mean: FloatArray) -> FloatArray:
    """Cosine of each row with the mean of the class."""
    rows = state.x.numpy()
    return np.asarray(rows @ mean / np.linalg.norm(rows, axis=1) / np.linalg.norm(mean))


def at_level(log_v: FloatArray, values: FloatArray, wanted: float) -> FloatArray:
    """Values per row between the levels of a run, linear in log-variance."""
    right = int(np.clip(np.searchsorted(-log_v, -wanted), 1, len(log_v) - 1))
    share = (log_v[right - 1] - wanted) / (log_v[right - 1] - log_v[right])
    return np.asarray(values[right - 1] + share * (values[right] - values[right - 1]))


def flow_times(t_max: float) -> list[float]:
    """Variance times at equal steps of flow time, from t_max to 0."""
    flow = RectifiedFlow()
    return [float(flow.variance(t)) for t in np.linspace(float(flow.chart_time(t_max)), 0.0, _FLOW_STEPS + 1)]


def stage_times(problem: Problem, t_max: float, stream: np.random.Generator, *, rows: int = 512) -> FloatArray:
    """Variance times at which an unguided path knows 10 % and 90 % of what it decides.

    Accuracy:
        Over `rows` exact samples of the noised class, the same at every level; linear between levels.
    """
    law, decided = problem.law, problem.decided
    clean = law.sample(rows, stream)
    normal = torch.from_numpy(stream.standard_normal(tuple(clean.shape)))
    log_v = np.linspace(np.log(law.width), np.log(law.width + t_max), _LEVELS)
    whole = entropy(decided.log_weights.exp().numpy())
    known = []
    for y in log_v:
        time = max(float(np.exp(y)) - law.width, 0.0)
        posterior = mode_posteriors(decided, (clean + np.sqrt(time) * normal).numpy(), NoiseLevel(time=time))
        known.append(1 - np.mean([entropy(row) for row in posterior]) / whole)
    falling = np.minimum.accumulate(known)  # measured, so not exactly monotone
    cuts = np.interp([-share for share in _KNOWN], -falling, log_v)
    return np.maximum(np.exp(cuts) - law.width, 1e-6)


def _changes(one: xr.Dataset) -> dict[str, Any]:
    """Changes to the unguided class."""
    return {
        name: stored(one, f"{name}_change")[0].as_numbers() for name in MEASURES if np.isfinite(one[f"{name}_change"])
    }


def _price(one: xr.Dataset) -> dict[str, float]:
    """What is lost per unit of mean shift: within modes, and between them; errors to first order."""
    shift, error = float(one["mean_shift_change"]), float(one["mean_shift_change_stderr"])
    found: dict[str, float] = {}
    for name in ("mode_spread", "mode_entropy"):
        lost = -float(one[f"{name}_change"])
        if np.isfinite(lost):
            relative = np.hypot(float(one[f"{name}_change_stderr"]) / lost, error / shift) if lost else np.nan
            found |= {name: lost / shift, f"{name}_stderr": abs(lost / shift) * float(relative)}
    return found


def _worst(result: xr.Dataset, name: str) -> dict[str, Any]:
    """The largest distance of a change from theory among windows and strengths, in standard errors."""
    here = result.sel(problem="gaussian")
    theory = here[f"{name}_theory"] - here[f"{name}_theory"].sel(window="unguided")
    gaps = (here[f"{name}_change"] - theory).values
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.abs(np.where(here[f"{name}_change_stderr"] > 0, gaps / here[f"{name}_change_stderr"], 0.0))
    k = np.unravel_index(flat := int(z.argmax()), z.shape)
    return {
        "window": str(result["window"].values[k[0]]),
        "strength": float(result["strength"].values[k[1]]),
        "gap": stored(here, f"{name}_change")[flat].affine(shift=-float(theory.values.ravel()[flat])).as_numbers(),
        "z": float(z[k]),
    }
