"""The shared vocabulary of results: what is measured, in which symbol and unit, and with what error.

`theory` and `metrics` both name their results from this table although neither imports the other, so a study can lay
one beside the other, and figures and files take their labels from here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri, stdtrit

from orthoscope.errors import ConfigError

_MANY = 100  # degrees of freedom beyond which Student's t is the normal law
_PARTS = 8  # of a draw of the modes, whose trajectories stay in their class or leave it together
_CERTAIN = 1e-12  # distance from 0 or 1 that is none
_VARIED = 3.0  # spread over distance from 0 or 1, inverted, from which on anything may be missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One named result.

    Attributes:
        name: Key in results, files and JSON.
        symbol: Mathematical symbol, as TeX.
        unit: Unit, "1" if dimensionless.
        long_name: Label for axes and tables.
    """

    name: str
    symbol: str
    unit: str
    long_name: str


QUANTITIES: dict[str, Quantity] = {
    name: Quantity(name=name, symbol=symbol, unit=unit, long_name=long_name)
    for name, symbol, unit, long_name in [
        ("rate", r"\beta", "nats per dimension", "class rate log(M)/d"),
        ("dim", "d", "1", "dimension"),
        ("strength", "w", "1", "guidance strength"),
        ("std", "s", "data units", "within-class standard deviation"),
        ("time", "t", "data units squared", "variance time"),
        ("sigma", r"\sigma", "data units", "noise standard deviation"),
        ("overlap", "q", "1", "overlap with the class centroid"),
        ("variance", "V", "data units squared", "variance per coordinate"),
        ("mean_shift", r"\delta\mu", "1", "mean shift"),
        ("variance_shift", r"\delta V", "data units squared", "variance shift"),
        ("variance_shift_along", r"\delta V_\parallel", "data units squared", "variance shift along the centroid"),
        ("variance_shift_across", r"\delta V_\perp", "data units squared", "variance shift across the centroid"),
        ("along_excess", r"\Delta_\parallel", "data units squared", "variance along the centroid minus that across"),
        ("mean_square_correlation", r"\overline{\rho^2}", "1", "mean square correlation of two coordinates"),
        ("variance_ratio", r"V/s^2", "1", "variance ratio"),
        ("total_variance", r"\mathrm{tr}\,C", "data units squared", "total variance"),
        ("participation_ratio", r"\mathrm{PR}", "1", "participation ratio"),
        ("energy_distance", r"E/\overline{|y - y'|}", "1", "energy distance from exact samples of the class"),
        ("frechet_distance", r"d_F^2/d", "data units squared", "squared Fréchet distance per dimension"),
        ("log_volume_ratio", r"\log(\det C/\det C_0)/k", "nats", "log-volume ratio per direction"),
        ("vendi", r"\mathrm{VS}", "1", "Vendi score"),
        ("pairwise_distance", r"\overline{|x - y|}", "data units", "mean distance of two images"),
        ("near_duplicates", r"p_{\mathrm{near}}", "1", "share of images that have a near-duplicate"),
        ("variance_kept", r"V/V_0", "1", "variance relative to the baseline"),
        ("fisher_ratio", r"\mathrm{tr}\,B/\mathrm{tr}\,C", "1", "Fisher ratio"),
        ("lda_accuracy", "1", "1", "accuracy of a linear discriminant"),
        ("text_similarity", r"\cos(x, y)", "1", "cosine of image and text features"),
        ("displacement", r"|\delta m|^2/\mathrm{tr}\,C", "1", "squared displacement of means"),
        ("precision", "1", "1", "precision"),
        ("recall", "1", "1", "recall"),
        ("density", "1", "1", "density"),
        ("coverage", "1", "1", "coverage"),
        ("class_share", "1", "1", "share of samples in their class"),
        ("class_posterior", r"p(c\,|\,x)", "1", "posterior of the class"),
        ("mode_entropy", r"H(\hat\pi)", "nats", "entropy of the shares of the modes"),
        ("weak_weight", r"\hat\pi_{\min}", "1", "share of the weakest mode"),
        ("mode_distance", r"\|\hat\pi - \pi\|", "1", "total-variation distance of the shares of the modes"),
        ("mode_spread", r"V_k/s^2", "1", "variance ratio within modes"),
        ("class_information", r"I(c; x)", "nats", "information of a sample about its class"),
        ("speciation_time", r"t_s", "data units squared", "speciation time"),
        ("condensation_time", "t_c", "data units squared", "condensation time"),
        ("capture_time", r"t_k", "data units squared", "capture time"),
        ("draws_used", "n", "1", "draws of the modes"),
        ("precision_met", "1", "1", "whether the errors wanted are met"),
        ("critical_rate", r"\beta_c", "nats per dimension", "critical rate"),
        ("cond_norm", r"\|c\|", "1", "norm of the conditional prediction"),
        ("uncond_norm", r"\|u\|", "1", "norm of the unconditional prediction"),
        ("guided_norm", r"\|g\|", "1", "norm of the guided prediction"),
        ("pair_cosine", r"\cos(c, u)", "1", "cosine of conditional and unconditional prediction"),
        ("pair_distance", r"|D_c - D_u|", "data units", "distance of conditional and unconditional denoised mean"),
        ("effective_scale", r"s_\mathrm{eff}", "1", "effective guidance scale"),
        ("passes", "n_p", "1", "predictions computed"),
        ("gain", r"\Delta V/V_0", "1", "variance ratio above constant strength at equal mean shift"),
        ("equal_strength", "w_=", "1", "constant strength of equal mean shift"),
        ("adherence_change", r"\Delta a", "1", "change of adherence from the schedule in use"),
        ("diversity_change", r"\Delta V/V_0", "1", "change of the variance ratio from the schedule in use"),
        ("network_calls", "n_c", "1", "network calls"),
        ("seconds", "T", "s", "wall time"),
        ("memory", "M", "bytes", "peak memory"),
        ("pair_square", r"\overline{|D_c - D_u|^2}", "data units squared", "squared difference of the denoised means"),
        ("score_difference", r"\overline{|s_c - s_u|^2}", "1 / data units squared", "squared difference of the scores"),
        ("commitment_left", r"1 - I(t)/I(0)", "1", "share of the commitment still to come"),
        ("posterior_information", r"\log M - H", "nats", "information by the posterior of the classes"),
        ("path_information", r"I_p", "nats", "information by the pair, along reverse paths"),
        ("asked_information", r"\log M P_c", "nats", "log-posterior of the class above chance, along guided paths"),
        ("half_told", r"t_{1/2}", "data units squared", "time at which half of the class is told at strength 0"),
        ("excess_information", r"I_p - \log M + H", "nats", "information by the pair that the classes do not hold"),
        ("prompt_information", r"I_c(t)", "nats", "information about one prompt by the pair"),
        ("information", r"I(0)", "nats", "information of clean images by the pair"),
        ("information_share", r"I(0)/C", "1", "information by the pair over the Gaussian capacity"),
        ("capacity", "C", "nats", "information that Gaussian classes of these spectra could hold"),
        ("capacity_share", r"\log K/C", "1", "information about the class over the Gaussian capacity"),
        ("half_time", r"t_{1/2}", "data units squared", "time at which half of the class is told, by the spectra"),
        ("learned_fraction", r"\ell", "1", "learned fraction of the unconditional branch"),
        ("branch_excess", r"E|D_u - \bar D|^2", "1", "excess of the unconditional branch"),
        ("ignorance", r"E|D_G - \bar D|^2", "1", "excess of one Gaussian in place of the unconditional branch"),
        ("doubt", r"E|D_c - \bar D|^2", "1", "distance of the exact unconditional branch from the conditional one"),
        ("loss", "L", "1", "training loss"),
        ("held_out_loss", r"L_\mathrm{out}", "1", "loss on data held out"),
        ("learning_rate", r"\eta", "1", "learning rate"),
        ("novelty", r"\nu", "1", "distance from the nearest image measured from, in that of unseen ones"),
        ("class_distance", r"|\Sigma^{-1/2}(x - m)|/\sqrt{d}", "1", "distance from the class per coordinate"),
        ("far_share", r"p_\mathrm{far}", "1", "share of samples far from their class"),
        ("distance_gain", r"\Delta r", "1", "distance from the class above constant strength at equal mean shift"),
        ("distance_excess", r"r - r_0", "1", "distance from the class beyond that of real images"),
    ]
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number measured from samples, with its standard error.

    Attributes:
        value: The estimate.
        stderr: Its standard error: everything that was drawn at random, modes included.
        n: Number of independent trajectories behind it.
        stderr_within: Standard error from trajectories alone, the modes held fixed.
        dof: Degrees of freedom behind `stderr`, where they are few; None if they are many.
        weight: What it counts for among other draws of the modes: the denominator of a ratio whose denominator is
            drawn with the modes, so that draws pool to a ratio of sums.
        spread: Standard deviation of one trajectory, if the value is a share or a mean probability of one draw: its
            error, and that of the pooled value, allow for what did not happen to come (`allowing_unseen`).
    """

    value: float
    stderr: float
    n: int
    stderr_within: float | None = None
    dof: int | None = None
    weight: float = 1.0
    spread: float | None = None

    def z(self, expected: float, *, slack: float = 0.0) -> float:
        """Distance from an expected value in standard errors, after forgiving `slack`; NaN without an error > 0."""
        gap = self.value - expected
        return math.copysign(max(abs(gap) - slack, 0.0), gap) / self.stderr if self.stderr > 0 else math.nan

    def differs(self, expected: float, *, slack: float = 0.0, false_alarm: float = 1e-4) -> bool:
        """Whether the gap to an expected value is too large for chance; by Student's t where draws are few.

        An estimate without an error > 0 neither differs from anything nor agrees with it.
        """
        return bool(abs(self.z(expected, slack=slack)) > self.limit(false_alarm))

    def agrees(self, expected: float, *, slack: float = 0.0, false_alarm: float = 1e-4) -> bool:
        """Whether chance explains the gap to an expected value: what is not known to differ need not agree."""
        return bool(abs(self.z(expected, slack=slack)) <= self.limit(false_alarm))

    def limit(self, false_alarm: float) -> float:
        """Standard errors that chance exceeds on either side with this probability; by Student's t if `dof` is set."""
        return float(-stdtrit(self.dof, false_alarm / 2) if self.dof else -ndtri(false_alarm / 2))

    def interval(self, share: float = 0.95) -> tuple[float, float]:
        """Ends between which the true value lies with this probability; by Student's t where draws are few."""
        reach = self.limit(1 - share) * self.stderr
        return self.value - reach, self.value + reach

    def bracketed(self) -> str:
        """The value and its 95 % interval, to two places."""
        low, high = self.interval()
        return f"{self.value:.2f} [{low:.2f}, {high:.2f}]"

    def as_numbers(self) -> dict[str, float | int | None]:
        """The estimate as a JSON object."""
        return {name: getattr(self, name) for name in ("value", "stderr", "stderr_within", "n", "dof")}

    def times(self, other: float | Estimate) -> Estimate:
        """The product with a number, or with an independent estimate; rows are counted of this one.

        Accuracy:
            That of first order in the two errors; degrees of freedom are Welch's.
        """
        if not isinstance(other, Estimate):
            return self.affine(other)
        return replace(self.affine(other.value).plus(other.affine(self.value)), value=self.value * other.value)

    def affine(self, scale: float = 1.0, shift: float = 0.0) -> Estimate:
        """The estimate of scale * value + shift."""
        within, spread = (None if e is None else abs(scale) * e for e in (self.stderr_within, self.spread))
        value, stderr = scale * self.value + shift, abs(scale) * self.stderr
        is_share = (scale, shift) in ((1.0, 0.0), (-1.0, 1.0))
        return replace(self, value=value, stderr=stderr, stderr_within=within, spread=spread if is_share else None)

    def plus(self, other: Estimate) -> Estimate:
        """The sum with an independent estimate; rows are counted of this one, the scarcer.

        Accuracy:
            Degrees of freedom are Welch's.
        """
        first, second = (e.stderr if e.stderr_within is None else e.stderr_within for e in (self, other))
        return replace(
            self,
            value=self.value + other.value,
            stderr=math.hypot(self.stderr, other.stderr),
            stderr_within=None if self.stderr_within is None else math.hypot(first, second),
            dof=_joint_dof([self.stderr, other.stderr], [self.dof, other.dof]),
            spread=None,
        )

    def minus(self, other: Estimate) -> Estimate:
        """The difference from an independent estimate."""
        return self.plus(other.affine(-1.0))

    def __str__(self) -> str:
        """The value with its error in the last two digits' notation, e.g. 0.1234(56)."""
        if not (math.isfinite(self.stderr) and self.stderr > 0 and math.isfinite(self.value)):
            return f"{self.value:.4g}"
        digits = min(max(0, 1 - math.floor(math.log10(self.stderr))), 6)
        if round(self.stderr * 10**digits) == 0:
            return f"{self.value:.4g}"
        return f"{self.value:.{digits}f}({round(self.stderr * 10**digits)})"


def pool(draws: Sequence[Estimate], *, parts: int | None = _PARTS) -> Estimate:
    """The mean over independent draws of the modes, by their weights, with standard errors on both levels.

    Ratios pool to the ratio of sums: the mean of ratios has no moments where denominators come near zero.

    The spread between draws already contains the spread of trajectories; with few draws it can come out too small by
    chance, so the error is never reported below the one from trajectories alone. A single draw has no spread
    between draws: its error covers trajectories only.

    Args:
        draws: One estimate per draw.
        parts: Parts of a draw, at least, that succeed or fail on their own, if the values are shares; None if all
            trajectories do, because nothing but noise is drawn anew.

    Raises:
        ConfigError: if there is nothing to pool.
    Accuracy:
        The error between draws is a jackknife's, that of the mean itself where all weights are equal. A ratio of sums
        over n draws has a bias of O(1/n).
    """
    if not draws:
        raise ConfigError("expected at least one draw to pool, got none")
    values, weights = (np.array([getattr(d, part) for d in draws]) for part in ("value", "weight"))
    spreads = [d.spread for d in draws if d.spread is not None]
    errors = [d.stderr if d.spread is None else d.spread / math.sqrt(d.n) for d in draws]
    count, shares = len(draws), weights / weights.sum()
    # Rounding must not carry a mean off values that are all the same.
    value = float(np.clip(shares @ values, values.min(), values.max()))
    within = float(np.linalg.norm(shares * errors))
    moves = shares * (values - value) / (1 - shares) if count > 1 else np.zeros(1)  # of the mean without each draw
    between = math.sqrt((count - 1) / count * float(moves @ moves))
    found = Estimate(
        value=value,
        stderr=max(between, within),
        n=sum(d.n for d in draws),
        stderr_within=within,
        dof=count - 1 if between > within else _joint_dof((shares * errors).tolist(), [_dof(d) for d in draws]),
    )
    if len(spreads) < count:
        return found
    units = min(found.n, parts * count) if parts is not None and count > 1 else found.n
    return allowing_unseen(found, spread=math.sqrt(float(np.mean(np.square(spreads)) + values.var())), units=units)


def _dof(draw: Estimate) -> int | None:
    """Degrees of freedom of the error from trajectories alone."""
    if draw.spread is None:
        return draw.dof
    return draw.n - 1 if draw.n - 1 < _MANY else None


def _joint_dof(errors: Sequence[float], dofs: Sequence[int | None]) -> int | None:
    """Welch's degrees of freedom of independent errors added in squares; None if they are many."""
    total = math.hypot(*errors) or 1.0
    scarce = sum((error / total) ** 4 / dof for error, dof in zip(errors, dofs, strict=True) if dof)
    return max(1, int(1 / scarce + 1e-9)) if scarce > 1 / _MANY else None


def allowing_unseen(found: Estimate, *, spread: float, units: int) -> Estimate:
    """A share or mean probability, its error widened for failures and successes that did not happen to come.

    Two of each are added to as many yes-or-no units as the error speaks for, and the error of two among `units` on top,
    whatever was seen. Where probabilities hardly vary, that shows how little may be missing, and less is added.

    Args:
        found: The estimate, in [0, 1].
        spread: Standard deviation of one trajectory.
        units: Most independent units that there can be.

    Accuracy:
        Covers its level where no more than an eighth of a draw succeeds or fails together; measured in
        explanation/numerics.
    Source:
        Agresti and Coull's two successes and two failures [agresti1998approximate], here among an effective number of
        units; derived in explanation/numerics.
    """
    p = min(max(found.value, 0.0), 1.0)
    edge, square = min(p, 1 - p), found.stderr**2
    seen = _added_two(p, p * (1 - p) / square) if edge > 0 and square > 0 else 0.0
    share = min(1.0, _VARIED * spread / edge) if edge > _CERTAIN else 1.0
    unseen = Estimate(value=0.0, stderr=share * _added_two(1.0, units), n=0, dof=4)  # twice the failures added
    wider = replace(found, stderr=max(found.stderr, seen)).plus(unseen)
    return replace(wider, stderr_within=found.stderr_within)


def _added_two(p: float, units: float) -> float:
    """Standard error of a share p of units, with two successes and two failures added."""
    near = (units * p + 2) / (units + 4)
    return math.sqrt(near * (1 - near) / (units + 4))


def decimals(error: float, most: int = 5) -> int:
    """Decimal places that show two digits of an error > 0."""
    return min(max(0, 1 - math.floor(math.log10(error))), most)
