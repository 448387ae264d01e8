"""Claims about the tilted law: what does sample it, and what guidance samples instead."""

from __future__ import annotations

import itertools
import math

import torch

from orthoscope import metrics, rng
from orthoscope.denoise import ExactDenoiser
from orthoscope.experiments.claims.claim import Claim, Effort, Finding, at_least, at_most, claim, equal, found
from orthoscope.experiments.claims.gaussian_rows import gaussian_pair
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.schedules import Constant
from orthoscope.process import VarianceExploding
from orthoscope.sampling import Grid, IndependentNoise, PredictorCorrector, geometric, sample, start
from orthoscope.sampling.density import entropy_change
from orthoscope.sampling.tilted import sample_tilted
from orthoscope.targets import Pair, mixture
from orthoscope.theory import guided_gaussian


@claim(
    "tilted-by-weights",
    "Feynman-Kac weights along guided paths sample the tilted law.",
    source="skreta2025feynman",
    setting="N(0, 1) against N(0, 2), w = 2, reverse SDE; variance of weighted samples, without Langevin moves",
)
def tilted_by_weights(effort: Effort) -> Finding:
    """The variance of the tilted law, from the same paths that guidance takes."""
    weighted = sample_tilted(
        gaussian_pair(1.0, 2.0, dim=1),
        Constant(value=2.0),
        particles=effort.pick(512, 4096),
        islands=24,
        moves=0,
        t_max=1000.0,
        seed=effort.seed,
    )
    guided = guided_gaussian(0.0, 1.0, 0.0, 2.0, 2.0)
    return found(
        equal("variance", weighted.variance[0], float(guided.tilted_variance)),
        at_least("variance, above that without weights", weighted.variance[0], float(guided.variance)),
        note=f"least effective sample size {float(weighted.ess.min()):.2f}",
    )


@claim(
    "predictor-corrector",
    "Guidance by the SDE at scale g is a conditional ODE predictor with Langevin corrector at scale 2g - 1.",
    source="bradley2024classifier",
    setting="N(0, 1) against N(0, 2), g = 7 (w = 6): variance by predictor and corrector, that of the guided SDE",
)
def predictor_with_corrector(effort: Effort) -> Finding:
    """The example's three variances in closed form, and the one shared by both samplers."""
    strength, variance = 6.0, 1.0
    flow, path = (guided_gaussian(0.0, variance, 0.0, 2.0, strength, lam=lam) for lam in (0.0, 1.0))
    pair = gaussian_pair(variance, 2.0)
    narrow, offset = pair.absorbed()
    levels = geometric(VarianceExploding(offset=offset), 1e4, effort.pick(1000, 4000))
    streams = rng.row_streams(effort.seed, "trajectory", rows=range(effort.pick(500, 2000)))
    x = start("exact", pair.cond, levels.levels[0], streams, prior_variance=1.0)
    exact = ExactDenoiser(narrow)
    corrector = classifier_free(exact, Constant(value=2 * strength))
    noise = IndependentNoise(streams, (pair.dim,), like=x)
    x = sample(exact, x, levels, step=PredictorCorrector(corrector=corrector), noise=noise, label=0).x
    step_bias = abs(_alternating(levels, strength) - float(path.variance))
    return found(
        equal(
            "variance", metrics.variance(x.numpy()), float(path.variance), allowance=step_bias,
            because=f"alternation in {levels.steps} steps, exactly",
        ),
        *(
            equal(f"variance of the {name} by theory", float(value), known, allowance=5e-7, because="digits printed")
            for name, value, known in (
                ("SDE", path.variance, 0.153827),
                ("ODE", flow.variance, 0.015625),
                ("tilted law", path.tilted_variance, 0.25),
            )
        ),
    )  # fmt: skip


def _alternating(levels: Grid, strength: float) -> float:
    """Variance that the alternation ends in for N(0, 1) against N(0, 2): both of its parts are linear in the state."""
    variance = float(levels.levels[0].variance)  # of the exact start; without guidance it stays that of the level
    for level, after in itertools.pairwise(levels.levels):
        high, low = float(level.variance), float(after.variance)
        share, pull = low / high, -2 * strength / (1 + low)
        gain = pull + math.sqrt(share) * (1 - pull)
        variance = gain**2 * share * variance + low * (1 - share)
    return variance


@claim(
    "entropy",
    "Guidance lowers the entropy of a class of a Gaussian mixture.",
    source="wu2024theoretical",
    setting="ODE, w = 2: a class of two modes among four on a line, along exact densities, in nats; "
    "N(0, 1) against N(0, 2) as control",
)
def entropy(effort: Effort) -> Finding:
    """The closed form for Gaussians, and the sign for a mixture."""
    schedule, samples = Constant(value=2.0), effort.pick(256, 2048)
    gaussian = entropy_change(gaussian_pair(1.0, 2.0, dim=1), schedule, samples=samples, seed=effort.seed)
    modes = torch.tensor([[-2.4], [-0.6], [1.0], [3.0]], dtype=torch.float64)
    law = mixture(modes, std=0.6, labels=torch.tensor([1, 0, 0, 1]))
    mixed = entropy_change(Pair(cond=law.conditional(0), uncond=law), schedule, samples=samples, seed=effort.seed)
    ratio = (1 + 1e4) / (2 + 1e4)  # where the run starts both laws are already a little apart
    theory = math.log(1 / 2 / ratio)
    # Every path of a linear flow contracts alike: no chance is left in the Gaussian number.
    return found(
        at_most("change of the entropy of the mixture's class, in nats", mixed, 0.0),
        equal("that of the Gaussian pair", gaussian.value, theory, allowance=1e-6, because="the solver's tolerance"),
    )


ROWS: tuple[Claim, ...] = (tilted_by_weights, predictor_with_corrector, entropy)
