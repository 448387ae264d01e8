"""Real modes with an unguided baseline: the same noise at strength 0, whose exact answer is known, as control variate.

After commitment both runs obey the same equation, so that most of the noise cancels in their difference. What is
left varies from draw to draw of the modes, first of all through the length of the centroid, whose law is known too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from orthoscope import metrics
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant
from orthoscope.numerics import Array
from orthoscope.progress import Progress
from orthoscope.quantities import Estimate, pool
from orthoscope.sampling import Grid
from orthoscope.simulation.draw import draw
from orthoscope.simulation.setting import Simulation

_FEWEST_DRAWS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CoupledResult:
    """Shifts of real modes, pooled over draws.

    Attributes:
        simulation: The setting.
        mean_shift: E[x.m]/E[|m|^2] minus 1.
        variance_shift: Variance per coordinate minus std^2.
        class_posterior: Posterior of the class.
    """

    simulation: Simulation
    mean_shift: Estimate
    variance_shift: Estimate
    class_posterior: Estimate


def coupled(simulation: Simulation, *, progress: Progress | None = None) -> CoupledResult:
    """Simulate a setting and its unguided baseline with the same modes and noise, and pool what differs.

    Args:
        simulation: The setting, with Gaussian centroids and 8 draws or more, over which errors are taken.
        progress: Called with the draws done and their number.

    Raises:
        ConfigError: if there is another rule, there are too few draws, or the centroids lie on a sphere.
    """
    draws, ensemble = simulation.budget.draws, simulation.setting.law.ensemble
    if simulation.setting.rule is not None:
        raise ConfigError("the baseline of coupled runs is that of classifier-free guidance; leave out the `rule`",
                          field="rule")  # fmt: skip
    if draws < _FEWEST_DRAWS or ensemble != "gaussian":
        raise ConfigError(
            f"coupled runs take their errors over draws of Gaussian centroids: expected at least {_FEWEST_DRAWS} "
            f"draws, got {draws} of ensemble {ensemble}"
        )
    unguided = simulation.but(schedule=Constant(value=0.0))
    levels = draw(simulation).levels
    known_shift, known_variance = unguided_law(simulation, levels)
    rows, posteriors = [], []
    for index in range(draws):
        one = draw(simulation, index)
        m = np.asarray(one.centroid, dtype=np.float64)
        guided, baseline = (each.run(levels, recorded=False).x for each in (one, replace(one, simulation=unguided)))
        posteriors.append(metrics.share_of(one.target.class_posterior(guided, 0).cpu().numpy()))
        shift, variance = _difference(guided.double().cpu().numpy(), baseline.double().cpu().numpy(), m)
        square = float(m @ m) / simulation.dim  # of known mean 1: the ratio of means needs no division
        rows.append((square * shift, variance, square - 1))
        if progress is not None:
            progress(index + 1, draws)
    shifts, variances, excess = np.array(rows, dtype=np.float64).T
    controls = np.array([excess, excess**2 - 2 / simulation.dim])
    n = draws * simulation.budget.samples
    return CoupledResult(
        simulation=simulation,
        mean_shift=replace(controlled(shifts, controls).affine(shift=known_shift), n=n),
        variance_shift=replace(
            controlled(variances, controls).affine(shift=known_variance - simulation.setting.law.std**2), n=n
        ),
        class_posterior=pool(posteriors),
    )


def _difference(guided: Array, baseline: Array, m: Array) -> tuple[float, float]:
    """Mean shift and variance of guided samples, less those of their baselines."""
    shift = metrics.mean_shift(guided, m).value - metrics.mean_shift(baseline, m).value
    return shift, metrics.variance(guided).value - metrics.variance(baseline).value


def unguided_law(simulation: Simulation, grid: Grid) -> tuple[float, float]:
    """Mean shift and variance per coordinate of the unguided class at the end of a run, exactly."""
    first, last = float(grid.levels[0].variance), float(grid.levels[-1].variance)
    if simulation.setting.start == "exact":
        return 0.0, last
    keep = (last / first) ** ((1 + simulation.setting.lam**2) / 2)
    return -keep, last + keep**2


def controlled(values: Array, controls: Array) -> Estimate:
    """The mean of values, less what controls of mean zero explain of them by linear regression.

    Args:
        values: One per independent trajectory, pair or draw.
        controls: One row per control, of known mean zero.

    Accuracy:
        The fitted coefficients bias the mean by order 1/n.
    """
    centred = controls - controls.mean(1, keepdims=True)
    weights = np.linalg.lstsq(centred.T, values - values.mean(), rcond=None)[0]
    found = metrics.mean_of(values - weights @ controls)
    lost = len(values) - 1 - len(controls)  # degrees of freedom that are left beside the coefficients
    stderr = found.stderr * float(np.sqrt((len(values) - 1) / lost))
    return replace(found, stderr=stderr, dof=found.dof and lost)
