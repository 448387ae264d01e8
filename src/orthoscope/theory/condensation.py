r"""How far the weight of independent modes has condensed: the mean of $\sum_k p_k^2$.

A state with $|x|^2 = X d$ faces $M = e^{\beta d}$ modes $m_k \sim N(0, I)$ that it is independent of, of energies
$E_k = |x - m_k|^2/2v$ and weights $p_k \propto e^{-E_k}$. Below the condensation rate these are a random-energy model
below its transition, and

$$ E\sum_k p_k^2 \to 1 - n^*, \qquad \beta + \psi(n^*) - n^*\psi'(n^*) = 0 $$

as $d \to \infty$ with the log-sum $\psi$ of the energies. In finite dimension, from
$1/Z^2 = \int_0^\infty t\,e^{-tZ}dt$ and the independence of the modes,

$$ E\sum_k p_k^2 = M \int_0^\infty t\,E\bigl[e^{-2E - t e^{-E}}\bigr]\,E\bigl[e^{-t e^{-E}}\bigr]^{M-1} dt, $$

where $2vE$ has a noncentral chi-square law: exact, whatever the number of modes.

Source:
    [derrida1981random]; derived in explanation/finite-dimension.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import logsumexp
from scipy.stats import ncx2

from orthoscope.errors import ConfigError
from orthoscope.theory.energy import GaussianModes

_TAIL = 40.0  # log of what is left out at either end
_SPACING = 0.1
_MOST = 6000  # energies: their matrices take some GB


def frozen_power(rate: float, square: float, variance: float) -> float:
    """n*, the power of the weights at which they condense: below 1 where they are condensed.

    Args:
        rate: log(modes)/dim.
        square: |x|^2/dim.
        variance: v, the variance of a noised mode.

    Accuracy:
        To rounding.

    Source:
        [derrida1981random]; derived in explanation/finite-dimension.
    """
    pull = float(GaussianModes().frozen_pull(np.array([square]), np.array([rate]))[0])
    return variance * pull / (1 - pull)


def weight_square(rate: float, square: float, variance: float, dim: int) -> float:
    """Mean of the sum of squared weights of exp(rate * dim) modes.

    Accuracy:
        Relative 1e-6, up to dimensions of some thousand.

    Raises:
        ConfigError: if the weights are not condensed in infinite dimension, or sums over energies grow too long.

    Source:
        derived in explanation/finite-dimension.
    """
    power, many = frozen_power(rate, square, variance), rate * dim
    if not power < 1:
        raise ConfigError(f"expected a rate below that of condensation, got n* = {power:.3g}: no weight is condensed")
    pull = power / (variance + power)
    lowest = dim * (square * (1 - 2 * pull) + pull**2 * square + 1 - pull) / (2 * variance)  # as `energy.GaussianModes`
    # About the lowest energy the density of modes grows like exp(n* E): so far down, and up, nothing is missed.
    energy = np.arange(max(lowest - _TAIL / power, _SPACING / 2), lowest + _TAIL / (1 - power), _SPACING)
    if energy.size > _MOST:
        raise ConfigError(
            f"expected energies of modes within {_MOST * _SPACING:g}, got {energy.size * _SPACING:.3g}: choose a "
            "larger variance, or a rate farther from condensation"
        )
    log_density = ncx2.logpdf(2 * variance * energy, dim, dim * square) + math.log(2 * variance * _SPACING)
    log_t = np.arange(energy[0] - _TAIL, lowest + _TAIL, _SPACING)
    z = np.minimum(log_t[:, None] - energy, _TAIL)
    falls = np.exp(z)
    with np.errstate(divide="ignore"):  # far below the lowest energy a weight is none
        rises = np.log(-np.expm1(-falls))
    log_missing = logsumexp(rises + log_density, axis=1)  # 1 - E exp(-t exp(-E))
    missing = np.exp(np.minimum(log_missing, 0.0))
    with np.errstate(divide="ignore"):  # nothing is kept where it rounds to 1
        log_rate = np.where(log_missing < -_TAIL, log_missing, np.log(-np.log1p(-missing)))
    log_kept = -np.exp(np.minimum(log_rate + many + math.log1p(-math.exp(-many)), 700.0))
    pairs = logsumexp(2 * z - falls + log_density, axis=1) + many
    return float(np.exp(pairs + log_kept).sum() * _SPACING)
