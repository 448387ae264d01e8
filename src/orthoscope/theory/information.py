r"""How much a noisy state tells about its class, from the difference of the two denoised means.

With $x_t = x_0 + \sqrt t\,\varepsilon$ both $p_t(x|c)$ and $p_t(x)$ obey the heat equation, so the divergence of one
from the other falls at the rate

$$ \frac{d}{dt}\,\mathrm{KL}\bigl(p_t(\cdot|c)\,\|\,p_t\bigr)
   = -\tfrac12\,\mathbb E_c|\nabla\log p_t(x|c) - \nabla\log p_t(x)|^2 = -\frac{\mathbb E_c|D_c - D_u|^2}{2t^2}, $$

and its mean over classes is the information $I(c; x_t)$ in nats. States of a run at strength 0 are draws from
$p_t(\cdot|c)$, so what a pipeline computes anyway integrates to what its noisy images tell.

The mean-field counterpart, for $e^{\beta d}$ classes at random in $d$ directions, is
$\min(\beta, \tfrac12\log(1 + 1/(s^2 + t)))$ per direction: the capacity of a Gaussian channel, until all is told.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.numerics import Array

_FEWEST = 4  # levels: two for each of two estimates


def class_information(time: ArrayLike, squares: ArrayLike) -> Array:
    r"""Information about the class that states hold at every level, in nats, one trajectory per row.

    Between levels the square is a line in $\log t$, integrated exactly against $t^{-2}$; above the first level it is
    constant, as it is far above the size of the data: $\tfrac12\int_t^\infty q\,du/u^2$.

    Args:
        time: Variance times of the levels, strictly descending.
        squares: $|D_c - D_u|^2$ at the levels, in squared data units, levels last.

    Accuracy:
        See `quadrature_error`; never negative, and never falling towards the data.

    Raises:
        ShapeError: if there is not one square for each level.
        ConfigError: if times are not positive and strictly descending, or a square is negative or not finite.
    Source:
        [guo2005mutual]; derived in explanation/calibrate.
    """
    t, q = _checked(time, squares)
    tail = q[..., :1] / (2 * t[0])
    high, low = q[..., :-1], q[..., 1:]
    h = np.log(t[:-1] / t[1:])
    # Integrals over [0, h] of exp(y) times the lines that fall from 1 to 0 and rise from 0 to 1.
    falling = np.expm1(h) / h - 1
    gained = (falling * high + (np.expm1(h) - falling) * low) / (2 * t[:-1])
    return np.concatenate([tail, tail + np.cumsum(gained, axis=-1)], axis=-1)


def quadrature_error(time: ArrayLike, squares: ArrayLike) -> Array:
    """How far the information at every level moves when half of the levels are left out, the first among them; nats.

    Accuracy:
        A bound rather than an error: four times the true one where the rule converges as its order, 2.

    Raises:
        ShapeError: if there is not one square for each level.
        ConfigError: if times or squares do not fit, or there are fewer than four levels.
    Source:
        Step doubling; derived in explanation/calibrate.
    """
    t, q = _checked(time, squares)
    if len(t) < _FEWEST:
        raise ConfigError(f"expected at least {_FEWEST} noise levels to judge an integral by, got {len(t)}; use more")
    kept = np.arange(len(t))[1::2]
    moved = np.abs(class_information(t, q)[..., kept] - class_information(t[kept], q[..., kept]))
    at = -np.log(t)
    flat = [np.interp(at, at[kept], row) for row in moved.reshape(-1, len(kept))]
    return np.asarray(flat).reshape(q.shape)


def time_to_come(time: ArrayLike, information: ArrayLike, share: ArrayLike) -> Array:
    """Variance time at which a share of all information is still to come, nan where that is outside the levels.

    Between levels the information is a power of the time, as it is far above the size of the data.

    Args:
        time: Variance times of the levels, strictly descending.
        information: Information at the levels, never falling towards the data.
        share: Shares of the information at the last level.

    Raises:
        ShapeError: if there is not one number for each level.
        ConfigError: if times are not positive and strictly descending, or no information is held at the end.
    """
    t, held = _checked(time, information)
    if not held[-1] > 0:
        raise ConfigError("the two predictions never differ, so nothing is ever told about the class")
    told = held > 0
    wanted = (1 - np.asarray(share, dtype=np.float64)) * held[-1]
    with np.errstate(divide="ignore"):  # all of it is to come only at infinite noise
        at = np.exp(np.interp(np.log(wanted), np.log(held[told]), np.log(t[told])))
    return np.where((wanted >= held[told][0]) & (wanted <= held[-1]), at, np.nan)


def mean_field_information(time: ArrayLike, rate: ArrayLike, std: ArrayLike) -> Array:
    """Information per direction of random classes in many directions, nats per dimension.

    Args:
        time: Variance time, in units of the centroids' variance per direction.
        rate: log(classes) per direction.
        std: Within-class standard deviation, in units of the centroids'.

    Source:
        [ventura2026emergence] at w = 0; derived in explanation/calibrate.
    """
    variance = np.square(std) + np.asarray(time, dtype=np.float64)
    return np.asarray(np.minimum(rate, np.log1p(1 / variance) / 2))


def mean_field_time(share: ArrayLike, rate: ArrayLike, std: ArrayLike) -> Array:
    """Variance time at which a share of all information is still to come; at share 0 the speciation time.

    Above the critical rate, where no class is ever told, all information is that of clean data.

    Source:
        `mean_field_information` solved for the time; derived in explanation/calibrate.
    """
    held = (1 - np.asarray(share)) * mean_field_information(0.0, rate, std)
    return np.asarray(np.maximum(1 / np.expm1(2 * held) - np.square(std), 0.0))


def _checked(time: ArrayLike, values: ArrayLike) -> tuple[Array, Array]:
    t, q = np.asarray(time, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if t.ndim != 1 or not len(t) or q.shape[-1:] != t.shape:
        raise ShapeError(f"expected one value for each noise level, got shapes {t.shape} and {q.shape}")
    if not (t[-1] > 0 and np.isfinite(t[0]) and (np.diff(t) < 0).all()):
        raise ConfigError(f"expected positive, strictly descending variance times, got {t[0]:.3g} to {t[-1]:.3g}")
    if not (np.isfinite(q).all() and (q >= 0).all()):
        raise ConfigError("expected finite values >= 0 at every level; the pipeline made NaN, or skipped a prediction")
    return t, q
