r"""Least effort for a mean shift, in closed form: weak guidance between two Gaussians.

To first order in the strength the shift is $\int K_\mu w\,dt$ and the relative variance loss $\int (K_V/c)\,w\,dt$
(`gaussian.kernels`). Under the cost $\int (K_V/c)\,w^2dt$ the best strength is a combination of $K_\mu c/K_V$ and 1.
For the SDE $K_\mu c/K_V = (c+t)/2\Delta$: the cheapest schedule is *exactly* a linear window, whatever mean shift and
variance are asked for,

$$ w(t) = \alpha\,\frac{c+t}{2\Delta} + \gamma, \qquad
   \begin{pmatrix} M_2 & M_1 \\ M_1 & M_0 \end{pmatrix}\begin{pmatrix} \alpha \\ \gamma \end{pmatrix}
   = \begin{pmatrix} \text{mean shift} \\ \text{variance loss} \end{pmatrix} , $$

with $\ell = \log\frac{(c+T)\,u}{c\,(u+T)}$ and

$$ M_0 = \int \frac{K_V}{c} = 2c\Bigl(\frac1c - \frac1{c+T}\Bigr) - \frac{2c\,\ell}{\Delta}, \qquad M_1 = \int K_\mu =
\frac{c\,\ell}{\Delta},
   \qquad M_2 = \int \frac{c K_\mu^2}{K_V} = \frac{c}{2\Delta}\log\frac{u+T}{u} . $$

Runs start from the exact conditional law: with another start the response has a part that no strength causes.

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Linear

_ALIKE = 1e-6  # relative difference of the variances below which the kernels of mean and variance cannot be told apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Quadratic:
    """The cheapest weak guidance between two Gaussians, for the SDE.

    Attributes:
        schedule: The linear window.
        mean_shift: Mean shift to first order.
        variance_ratio: Variance ratio to first order.
        effort: Its cost.
    """

    schedule: Linear
    mean_shift: float
    variance_ratio: float
    effort: float


def moments_of_kernels(cond_var: float, uncond_var: float, t_max: float) -> tuple[float, float, float]:
    """M_0, M_1 and M_2 of the module's head: integrals over t from 0 to t_max.

    Accuracy:
        To rounding, amplified by c/(u - c) squared.

    Raises:
        ConfigError: if the conditional variance is not below the unconditional one.

    Source:
        derived in explanation/design.
    """
    c, u = float(cond_var), float(uncond_var)
    if not 0 < c < u * (1 - _ALIKE):
        raise ConfigError(
            "least effort in closed form needs 0 < conditional variance < unconditional variance, "
            f"got {c:g} and {u:g}: "
            "guidance narrows only a class that is narrower than its surroundings"
        )
    if not 0 < t_max < np.inf:
        raise ConfigError(f"t_max must be finite and > 0, got {t_max:g}: effort and mean shift grow like its logarithm")
    gap = u - c
    log_clock = float(np.log1p(t_max / c) - np.log1p(t_max / u))
    m0 = 2 * t_max / (c + t_max) - 2 * c * log_clock / gap
    return m0, c * log_clock / gap, c * float(np.log1p(t_max / u)) / (2 * gap)


def least_effort(
    cond_var: float, uncond_var: float, t_max: float, mean_shift: float, variance_ratio: float | None = 1.0
) -> Quadratic:
    """The linear window that reaches a mean shift, and a variance ratio if one is asked for, with least effort.

    Args:
        cond_var: Variance of the conditional law.
        uncond_var: Variance of the unconditional law, larger.
        t_max: Variance time of the start.
        mean_shift: In units of the distance of the means; small.
        variance_ratio: Guided over true variance; None if it may be anything.

    Accuracy:
        First order in the strength.

    Raises:
        ConfigError: as `moments_of_kernels`.

    Source:
        derived in explanation/design.
    """
    m0, m1, m2 = moments_of_kernels(cond_var, uncond_var, t_max)
    if variance_ratio is None:
        alpha, gamma = mean_shift / m2, 0.0
    else:
        alpha, gamma = np.linalg.solve([[m2, m1], [m1, m0]], [mean_shift, 1 - variance_ratio])
    slope = float(alpha) / (2 * (uncond_var - cond_var))
    return Quadratic(
        schedule=Linear(w0=slope * cond_var + float(gamma), slope=slope),
        mean_shift=float(alpha * m2 + gamma * m1),
        variance_ratio=float(1 - alpha * m1 - gamma * m0),
        effort=float(alpha**2 * m2 + 2 * alpha * gamma * m1 + gamma**2 * m0),
    )
