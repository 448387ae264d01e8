r"""One class among exponentially many, as a law to design for.

Without `dim` the theory is mean-field. A path that commits at $v_s$ keeps $p = p_s(s^2/v_s)^k$, and $v_s$ moves with
the schedule: it is the root of $F = \beta_s(p, e, v) - \beta$, so that $dy_s = -dF|_{y}/\partial_yF$. A path of the
dense regime has no event and is smooth. With `dim` commitment is gradual, everything is smooth, and the class
posterior is known.

Source:
    derived in explanation/design.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache

import numpy as np
from scipy.special import expit

from orthoscope.designs.optimization.adjoint import linear_moments, linear_panels
from orthoscope.designs.optimization.finite_adjoint import (
    NODES_XI,
    FiniteFlow,
    condensation_slopes,
    finite_gradient,
    finite_panels,
    finite_paths,
    rate_slopes,
)
from orthoscope.designs.optimization.flights import Flights, fly
from orthoscope.designs.optimization.goals import QUANTITIES, Outcome, Quantity
from orthoscope.designs.optimization.laws import (
    Law,
    Outcomes,
    Response,
    check_start,
    composed,
    effort,
    sketched_gradients,
    stacked,
)
from orthoscope.designs.optimization.parametrization import PieceGradient, Pieces
from orthoscope.designs.optimization.rows import PieceRows
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant, GuidanceSchedule
from orthoscope.laws import Start
from orthoscope.numerics import Array, normal_grid
from orthoscope.theory.energy import GaussianModes
from orthoscope.theory.finite import contest, solve_finite
from orthoscope.theory.flow import drift_factor
from orthoscope.theory.moments import Moments, solve
from orthoscope.theory.problem import OneSchedule, Problem, Strengths
from orthoscope.theory.stages import Stage

_AT_START = 1e-12  # distance of a commitment from the start, in log v, below which no schedule can move it
_FEWEST = 2 - 1e-9
_BLOCK = 128  # schedules followed together: their panels then stay in the processor's cache
_ROUGH, _ROUGH_BLOCK = 3.0, 384  # wider panels, and more schedules together, where three digits are enough
_Differentiate = Callable[[], tuple[PieceGradient, ...]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Path:
    differentiate: _Differentiate
    margin: float
    margin_gradient: PieceGradient


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Free:
    """A path that nothing has happened to, at some y.

    Attributes:
        state: Shift and excess.
        gradient: Their derivatives by the pieces, and
        along: by y.
        lead: By how much the own mode outweighs the others, nats per dimension.
        condensed: By how much the others are condensed.
        rates: Derivatives of both by shift, excess and y.
    """

    state: Array
    gradient: PieceGradient
    along: Array
    lead: float
    condensed: float
    rates: tuple[Array, Array]


@dataclass(frozen=True, kw_only=True)
class MixtureLaw(Law):
    """One class among exp(rate * d) with Gaussian centroids.

    A path that another mode ever captures in mean-field theory counts as lost, also if it may return: there the
    theory is only of leading order.

    Attributes:
        rate: Class rate, in nats per dimension.
        std: Within-class standard deviation; centroids have unit variance per coordinate.
        t_max: Variance time of the start, finite.
        start: "prior" or "exact".
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE.
        dim: Dimension; None for mean-field theory, exact as the dimension grows.
    """

    rate: float
    std: float
    t_max: float
    start: Start = "prior"
    lam: float = 1.0
    dim: int | None = None

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_start(self.t_max, self.start, self.lam)
        self._problem(OneSchedule(Constant(value=0.0)))
        if self.dim is not None and (self.dim < 1 or self.rate * self.dim < math.log(_FEWEST)):
            raise ConfigError(
                f"expected dim >= 1 and at least 2 classes, got dim={self.dim} and rate={self.rate:g}: "
                "raise the rate or dim"
            )

    @property
    def base(self) -> float:
        """s^2."""
        return self.std**2

    @property
    def missing(self) -> Mapping[Quantity, str]:
        """The class posterior, unless there is a dimension."""
        return (
            {}
            if self.dim
            else {"class_posterior": "mean-field theory has no class posterior; give the dimension (`dim`)"}
        )

    @cached_property
    def jumps(self) -> bool:
        """In mean-field theory, where a class can commit or be captured."""
        return self.dim is None and self._regime(self.solved(Constant(value=0.0))) != "dense"

    @property
    def factor(self) -> float:
        """Drift factor k."""
        return drift_factor(self.lam)

    def solved(self, schedule: GuidanceSchedule) -> Moments:
        """Mean-field moments and events."""
        return solve(self._problem(OneSchedule(schedule)))

    def evaluate(self, schedule: GuidanceSchedule) -> Outcome:
        """What a schedule does, by `moments.solve` and `finite.solve_finite`."""
        return _evaluated(self, schedule)

    def _evaluate(self, schedule: GuidanceSchedule) -> Outcome:
        if schedule.clock == "step":
            raise ConfigError("theory needs a schedule in time, got clock=step; resolve it on the grid of a run first")
        events = self.solved(schedule)
        shift, ratio, posterior = float(events.mean_shift[0]), float(events.variance_ratio[0]), None
        if self.dim is not None:
            finite = solve_finite(self._problem(OneSchedule(schedule)), self.dim)
            shift, ratio, posterior = finite.mean_shift, finite.variance_ratio, finite.class_posterior
        values, _ = self._measures(shift, self.base * ratio)
        return Outcome(
            mean_shift=values[0],
            variance_ratio=values[1],
            class_posterior=posterior,
            separability=values[2],
            frechet=values[3],
            effort=self._effort(self.pieces(schedule))[0],
            regime=self._regime(events),
            speciation_time=None if np.isnan(time := events.speciation_time[0]) else float(time),
        )

    def respond(self, pieces: Pieces) -> Response:
        """The same for a piecewise schedule, with gradients.

        Accuracy:
            Gradients are exact for the numbers computed, but central differences on paths that freeze
            (mean-field theory only).
        """
        return self.responses([pieces])[0]

    def responses(self, many: Sequence[Pieces]) -> list[Response]:
        """The same for many, whose mean-field paths are followed together."""
        if self.dim is None:
            flights = self._flights(many)
            kept = np.flatnonzero(flights.condensed & ~flights.lost).tolist()
            frozen = cache(lambda: dict(zip(kept, sketched_gradients(self, [many[row] for row in kept]), strict=True)))
            return [self._response(pieces, flights, row, frozen) for row, pieces in enumerate(many)]
        events = solve(self._problem(PieceRows.of(many), len(many)))
        return [self._finite_response(pieces, events, row) for row, pieces in enumerate(many)]

    def _response(
        self, pieces: Pieces, flights: Flights, row: int, frozen: Callable[[], dict[int, PieceGradient]]
    ) -> Response:
        """One of many responses; gradients of paths that freeze are found together, once one of them is asked for."""
        regime, condensed, lost = flights.regime(row), bool(flights.condensed[row]), bool(flights.lost[row])
        values, jacobian = self._flown(flights, row)
        if condensed and not lost:
            # The weight has condensed already, and nothing more is known: a margin that never binds.
            return Response(values=values, differentiate=lambda: frozen()[row], margin=1.0, regime=regime)

        def differentiate() -> PieceGradient:
            path = self._mean_field(pieces, math.exp(flights.first[row]) - self.base, condensed)
            return self._composed(jacobian, path.differentiate(), pieces, path.margin_gradient)

        return Response(
            values=values, differentiate=differentiate, lost=lost, margin=float(flights.margin[row]), regime=regime
        )

    def _finite_response(self, pieces: Pieces, events: Moments, row: int) -> Response:
        regime, condensed = self._regime(events, row), bool(np.isfinite(events.condensation_time[row]))
        speciation = float(events.speciation_time[row])
        path = self._mean_field(pieces, float(np.nanmax([speciation, events.condensation_time[row], 0.0])), condensed)
        # Log-odds against frozen others move like w/v, until commitment.
        until = self.base + float(np.nan_to_num(speciation)) if condensed else math.inf
        moments, differentiate = self._finite(pieces, until)
        values, jacobian = self._measures(moments[0], self.base + moments[1])
        cost = self._effort(pieces)[0]
        return Response(
            values=np.array([values[0], values[1], moments[2], values[2], values[3], cost]),
            differentiate=lambda: self._composed(jacobian, differentiate(), pieces, path.margin_gradient),
            lost=regime == "captured",
            margin=path.margin,
            regime=regime,
        )

    def _composed(
        self, jacobian: Array, moments: tuple[PieceGradient, ...], pieces: Pieces, margin: PieceGradient
    ) -> PieceGradient:
        """Gradient of shift, variance, posterior, separability, frechet, effort; and the margin."""
        rows = np.zeros((7, 5))
        rows[[0, 1, 3, 4], :2] = jacobian
        rows[2, 2] = rows[5, 3] = rows[6, 4] = 1.0
        return composed(rows, stacked(*moments, self._effort(pieces)[1], margin))

    def outcomes(self, many: Sequence[Pieces], names: Collection[Quantity] = QUANTITIES) -> Outcomes:
        """What many schedules do: in mean-field theory followed together."""
        if self.dim is not None:
            return Law.outcomes(self, many, names)
        events = solve(self._problem(PieceRows.of(many), len(many)))
        values = [self._values(pieces, events, row, effort="effort" in names) for row, pieces in enumerate(many)]
        return Outcomes(values=np.array(values), regimes=tuple(self._regime(events, row) for row in range(len(many))))

    def _values(self, pieces: Pieces, events: Moments, row: int, effort: bool = True) -> Array:
        (shift, ratio, separability, frechet), _ = self._measures(
            float(events.mean_shift[row]), self.base * float(events.variance_ratio[row])
        )
        cost = self._effort(pieces)[0] if effort else np.nan
        return np.array([shift, ratio, np.nan, separability, frechet, cost])

    def _regime(self, events: Moments, row: int = 0) -> str:
        if np.isfinite(events.capture_time[row]):
            return "captured"
        return "committed" if events.stage[row] == Stage.COMMITTED else "dense"

    def sketches(
        self, many: Sequence[Pieces], names: Collection[Quantity] = QUANTITIES, *, rough: bool = False
    ) -> Outcomes:
        """As `outcomes`, to 1e-10; rough ones to 1e-4, which ranks."""
        if self.dim is not None:
            return self.outcomes(many, names)
        size, wider = (_ROUGH_BLOCK, _ROUGH) if rough else (_BLOCK, 1.0)
        blocks = [self._flights(many[i : i + size], follow=True, wider=wider) for i in range(0, len(many), size)]
        flown = [(flights, row) for flights in blocks for row in range(flights.first.size)]
        return Outcomes(
            values=np.array([self._flown(*one)[0] for one in flown]),
            regimes=tuple(flights.regime(row) for flights, row in flown),
        )

    def _flights(self, many: Sequence[Pieces], follow: bool = False, wider: float = 1.0) -> Flights:
        begin = (0.0, 0.0) if self.start == "exact" else (-1.0, 1.0)
        return fly(many, rate=self.rate, factor=self.factor, begin=begin, follow=follow, wider=wider)

    def _flown(self, flights: Flights, row: int) -> tuple[Array, Array]:
        """Values of a path, and the derivatives of four of them by shift and variance."""
        (shift, ratio, separability, frechet), jacobian = self._measures(
            float(flights.shift[row]), self.base + float(flights.excess[row])
        )
        return np.array([shift, ratio, np.nan, separability, frechet, flights.effort[row]]), jacobian

    def _problem(self, strengths: Strengths, count: int = 1) -> Problem:
        return Problem(
            rate=np.full(count, float(self.rate)),
            std=self.std,
            strengths=strengths,
            t_max=self.t_max,
            start=self.start,
            lam=self.lam,
        )

    def _effort(self, pieces: Pieces) -> tuple[float, PieceGradient]:
        return effort(pieces, np.array([self.base]), np.ones(1), self.factor)

    def _measures(self, shift: float, variance: float) -> tuple[tuple[float, float, float, float], Array]:
        # Mean shift, variance ratio, separability and frechet, and their derivatives by shift and variance.
        variance = max(variance, 1e-300)
        overlap, std = 1 + shift, math.sqrt(variance)
        values = (shift, variance / self.base, overlap**2 / variance, shift**2 + (std - self.std) ** 2)
        jacobian = np.array(
            [
                [1.0, 0.0],
                [0.0, 1 / self.base],
                [2 * overlap / variance, -((overlap / variance) ** 2)],
                [2 * shift, (std - self.std) / std],
            ]
        )
        return values, jacobian

    def lead(self, pieces: Pieces, y: float) -> tuple[float, PieceGradient, float]:
        """By how much the own mode outweighs the others at y, if nothing happens before, and its derivatives.

        Returns:
            Nats per dimension; the derivatives by the pieces, and by y.
        """
        free = self._free(pieces, y)
        by_state = free.rates[0]
        gradient = composed(by_state[None, :2], free.gradient).row(0)
        return free.lead, gradient, float(by_state[:2] @ free.along + by_state[2])

    def _free(self, pieces: Pieces, y: float) -> _Free:
        kept = pieces.cut(y) if y > pieces.edges[-1] else pieces
        shift, excess = (0.0, 0.0) if self.start == "exact" else (-1.0, 1.0)
        grid = linear_panels(kept, 2 * self.factor)
        law = (np.array([self.base]), np.ones(1), self.factor)
        p, e, *by = linear_moments(grid, *law, np.array([shift]), np.array([excess]))
        ends = grid.pullback(*(np.stack([getattr(z, n)[0] for z in by]) for n in ("strength", "position", "width")))
        cut = kept is not pieces
        moved, along = pieces.uncut(y, ends) if cut else (ends, np.zeros(2))
        at, modes = (p, e, np.array([math.exp(y)])), GaussianModes()
        condensed = float(modes.condensation_rate((1 + p) ** 2 + at[2] + e, at[2])[0])
        return _Free(
            state=np.array([p[0], e[0]]),
            gradient=moved,
            along=along,
            lead=float(modes.speciation_rate(*at)[0]) - self.rate,
            condensed=condensed - self.rate,
            rates=(np.array(rate_slopes(*at))[:, 0], np.array(condensation_slopes(*at))[:, 0]),
        )

    def _mean_field(self, pieces: Pieces, first: float, condensed: bool) -> _Path:
        """The free path down to its first event, or to clean data, and from there on as if committed."""
        y = math.log(self.base + first)
        free, v = self._free(pieces, y), self.base + first
        own, others = free.rates
        event, slopes = others if condensed else own, own - others
        if first > 0 and pieces.edges[0] - y > _AT_START:
            # The event is where a rate meets that of the law, and moves with the schedule.
            moves = -event[:2] / (event[:2] @ free.along + event[2])
        else:
            moves = np.zeros(2)
        orders = self.factor * np.array([1, 2])
        decay = (self.base / v) ** orders
        after = decay[:, None] * (np.eye(2) + np.outer(free.along - orders * free.state, moves))
        at_event = np.eye(2) + np.outer(free.along, moves)
        margin_row = slopes[:2] @ at_event + slopes[2] * moves
        both = composed(np.vstack([after, np.zeros(2), margin_row]), free.gradient)
        return _Path(
            differentiate=lambda: (both.row(0), both.row(1), both.row(2)),
            margin=(free.lead if condensed or first > 0 else 0.0) - free.condensed,
            margin_gradient=both.row(3) if first > 0 else composed(-np.array([others[:2]]), free.gradient).row(0),
        )

    def _finite(self, pieces: Pieces, until: float) -> tuple[Array, _Differentiate]:
        """Moments and class posterior in finite dimension; steps resolve strengths over variances down to `until`."""
        assert self.dim is not None
        finer = min(1.0, 2 * until / (1 + float(np.max(np.abs([pieces.high, pieces.low])))))
        flow = FiniteFlow(contest=contest(self.rate, self.dim), factor=self.factor)
        grid = finite_panels(pieces, self.factor, self.dim, finer)
        paths = finite_paths(flow, grid, *((0.0, 0.0) if self.start == "exact" else (-1.0, 1.0)))
        (shift, excess), weights = paths.end, normal_grid(NODES_XI)[1]
        log_odds, _, slopes, _ = flow.log_odds_slopes(shift, excess, np.array([self.base]))
        own = expit(log_odds)
        mean = float(weights @ shift)
        steep = weights * own * expit(-log_odds)
        ends = np.array(
            [
                [weights, 0 * weights],
                [2 * weights * (shift - mean), weights],
                [steep * slopes[0], steep * slopes[1]],
            ]
        )
        moments = np.array([mean, weights @ (excess + (shift - mean) ** 2), weights @ own])

        def differentiate() -> tuple[PieceGradient, ...]:
            by = finite_gradient(flow, grid, paths, ends)
            total = grid.pullback(by.strength, by.position, by.width)
            return tuple(total.row(i) for i in range(3))

        return moments, differentiate


@lru_cache(maxsize=256)
def _evaluated(law: MixtureLaw, schedule: GuidanceSchedule) -> Outcome:
    # One schedule is judged by several goals, with a margin and without.
    return law._evaluate(schedule)
