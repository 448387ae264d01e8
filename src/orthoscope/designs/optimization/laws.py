r"""What every law answers to a schedule: the quantities of `goals`, and their gradients.

`MixtureLaw` (`mixture`) and `SpectrumLaw` (`spectrum`) give exact gradients. Any other law only has to `evaluate` a
schedule; its gradients are then central differences.

Per direction, with p the shift in units of the distance of the means $\delta$, $V$ the guided and c the true
variance:

- mean shift: p, averaged over directions with weight $\delta^2$;
- variance ratio: sum of $V$ over sum of c, the ratio of traces;
- separability: $\delta^2(1+p)^2/V$, summed over directions: the squared distance of the guided class mean from the
  unconditional mean in units of the guided standard deviation. For the mixture it is taken per coordinate, where
  $\delta^2 = 1$;
- Frechet: $\delta^2p^2 + (\sqrt V - \sqrt c)^2$, summed likewise: the squared distance of the Gaussian laws with
  these moments;
- effort: $\int (K_V/c)\,w^2\,dt$ with $K_V = \frac{2k|\Delta|}{u+t}\bigl(\frac{c}{c+t}\bigr)^{2k}$, the first-order
  response of the variance (`gaussian.kernels`), summed over directions above and below the line. It counts strength
  where strength matters, and it is the cost for which the cheapest weak guidance is a straight line in t
  (`linear_quadratic`).

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from orthoscope.designs.optimization.adjoint import linear_panels, weighted_square
from orthoscope.designs.optimization.goals import QUANTITIES, Outcome, Quantity
from orthoscope.designs.optimization.parametrization import PieceGradient, Pieces, from_schedule
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.numerics import Array
from orthoscope.settings import check_run

_STEP = 1e-5  # of central differences


@dataclass(frozen=True, kw_only=True, eq=False)
class Response:
    """The quantities of `goals.QUANTITIES`, in that order, and their gradients.

    Attributes:
        values: The quantities; nan where the law does not know one.
        differentiate: Computes the gradient; called at most once.
        lost: Whether another mode captures the path. Values then continue those of paths that are just not captured,
            for a search to find its way back.
        margin: How far the path is from capture, negative once it is lost; None for a law without capture. Its
            derivatives are the last row of the gradient.
        regime: As in `goals.Outcome`.
    """

    values: Array
    differentiate: Callable[[], PieceGradient]
    lost: bool = False
    margin: float | None = None
    regime: str | None = None

    @cached_property
    def gradient(self) -> PieceGradient:
        """Derivatives of the quantities by the numbers of the pieces, one row each."""
        return self.differentiate()

    def value(self, name: Quantity) -> float:
        """One quantity."""
        return float(self.values[QUANTITIES.index(name)])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcomes:
    """What many schedules do.

    Attributes:
        values: The quantities of `goals.QUANTITIES`, one row per schedule; nan where the law does not know one.
        regimes: As in `goals.Outcome`, one per schedule.
    """

    values: Array
    regimes: tuple[str | None, ...]


class Law(ABC):
    """A class and its surroundings, with a start and a sampler.

    Attributes:
        t_max: Variance time of the start, finite.
    """

    t_max: float

    @property
    @abstractmethod
    def base(self) -> float:
        """Smallest variance of the law: breakpoints are placed in log(base + t)."""

    @property
    def missing(self) -> Mapping[Quantity, str]:
        """Quantities that the law cannot answer, and why."""
        return {}

    @property
    def jumps(self) -> bool:
        """Whether outcomes jump with the schedule, so that slopes alone can mislead a search."""
        return False

    @abstractmethod
    def evaluate(self, schedule: GuidanceSchedule) -> Outcome:
        """What a schedule does."""

    def respond(self, pieces: Pieces) -> Response:
        """The same for a piecewise schedule, with gradients.

        Accuracy:
            Gradients by central differences, unless the law overrides this: errors of about 1e-9.
        """
        return differences(self, pieces)

    def responses(self, many: Sequence[Pieces]) -> list[Response]:
        """The same for many."""
        return [self.respond(pieces) for pieces in many]

    def outcomes(self, many: Sequence[Pieces], names: Collection[Quantity] = QUANTITIES) -> Outcomes:
        """What many schedules do, without gradients; quantities that are not named may be nan."""
        found = self.responses(many)
        regimes = tuple("captured" if one.lost else one.regime for one in found)
        return Outcomes(values=np.array([one.values for one in found]), regimes=regimes)

    def sketches(
        self, many: Sequence[Pieces], names: Collection[Quantity] = QUANTITIES, *, rough: bool = False
    ) -> Outcomes:
        """As `outcomes`, as closely as a search needs to know it; rough ones only rank schedules."""
        return self.outcomes(many, names)

    def pieces(self, schedule: GuidanceSchedule) -> Pieces:
        """A schedule as pieces over the run."""
        return from_schedule(schedule, self.t_max, self.base)


def answers(outcome: Outcome) -> Array:
    """An outcome as the values of a `Response`.

    Source:
        derived in explanation/design.
    """
    values = (getattr(outcome, name) for name in QUANTITIES)
    return np.array([np.nan if value is None else value for value in values])


def differences(law: Law, pieces: Pieces) -> Response:
    """A response with gradients by central differences of `evaluate`.

    Accuracy:
        About 1e-9 in the gradients.

    Source:
        derived in explanation/design.
    """
    centre = law.evaluate(pieces.schedule())

    def differentiate() -> PieceGradient:
        sides = displaced(pieces)
        return sides.gradient(np.array([answers(law.evaluate(moved.schedule())) for moved in sides.moved]))

    return Response(values=answers(centre), differentiate=differentiate, lost=centre.lost, regime=centre.regime)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Displaced:
    """Pieces with one number moved up or down at a time.

    Attributes:
        pieces: The pieces.
        moved: Two for each number that can move: up, then down.
        numbers: Which number that is, and by how much it moves in all.
    """

    pieces: Pieces
    moved: tuple[Pieces, ...]
    numbers: tuple[tuple[str, int, float], ...]

    def gradient(self, values: Array) -> PieceGradient:
        """Central differences, from values at all the moved pieces, one row each."""
        parts = {
            name: np.zeros((values.shape[1], getattr(self.pieces, name).size)) for name in ("edges", "high", "low")
        }
        for i, (name, index, width) in enumerate(self.numbers):
            parts[name][:, index] = (values[2 * i] - values[2 * i + 1]) / width
        return PieceGradient(**parts)


def displaced(pieces: Pieces) -> Displaced:
    """The pieces that central differences need.

    Source:
        derived in explanation/design.
    """
    moved: list[Pieces] = []
    numbers: list[tuple[str, int, float]] = []
    for name in ("edges", "high", "low"):
        size = getattr(pieces, name).size
        for index in range(1, size - 1) if name == "edges" else range(size):
            up, down = (_moved(pieces, name, index, sign * _STEP) for sign in (1, -1))
            width = float(getattr(up, name)[index] - getattr(down, name)[index])
            if width > 0:
                moved += [up, down]
                numbers.append((name, index, width))
    return Displaced(pieces=pieces, moved=tuple(moved), numbers=tuple(numbers))


def sketched_gradients(law: Law, many: Sequence[Pieces]) -> list[PieceGradient]:
    """Gradients of what a law sketches for many schedules, by central differences that are asked for together.

    The margin of capture counts as a last quantity that nothing moves.

    Source:
        derived in explanation/design.
    """
    every = [displaced(pieces) for pieces in many]
    moved = [one for sides in every for one in sides.moved]
    values = np.column_stack([law.sketches(moved).values, np.zeros(len(moved))])
    ends = np.cumsum([len(sides.moved) for sides in every])
    return [sides.gradient(part) for sides, part in zip(every, np.split(values, ends[:-1]), strict=True)]


def _moved(pieces: Pieces, name: str, index: int, by: float) -> Pieces:
    numbers = {key: getattr(pieces, key).copy() for key in ("edges", "high", "low")}
    numbers[name][index] += by
    if name == "edges":  # edges stay in order
        numbers[name][index] = np.clip(numbers[name][index], pieces.edges[index + 1], pieces.edges[index - 1])
    return Pieces(base=pieces.base, **numbers)


def check_start(t_max: float, start: str, lam: float) -> None:
    """Reject a run that cannot be designed for.

    Raises:
        ConfigError: if t_max is infinite, or as `flow.check_run`.

    Source:
        derived in explanation/design.
    """
    check_run(t_max, start, lam)
    if not np.isfinite(t_max):
        raise ConfigError(
            "a design needs the finite variance time at which the run starts (`t_max`): mean shift and effort of "
            "guidance early in the run grow without end like the logarithm of it"
        )


def effort(pieces: Pieces, cond_var: Array, gap: Array, factor: float) -> tuple[float, PieceGradient]:
    """Cost of control of a schedule, dimensionless, and its gradient.

    Args:
        pieces: The schedule.
        cond_var: Variance of the conditional law, one per direction.
        gap: Variance of the unconditional law minus that.
        factor: The drift factor k.

    Accuracy:
        About 1e-12: Gauss quadrature.

    Source:
        derived in explanation/design.
    """
    grid = linear_panels(pieces, 2 * factor)
    above = grid.time_above[None]
    c, gap = cond_var[:, None, None], gap[:, None, None]
    v = above - pieces.base + c
    weight = effort_weight(v, c, gap, factor) * above / cond_var.sum()
    slope = weight * (1 - above / (v + gap) - 2 * factor * above / v)
    value, by = weighted_square(grid, weight.sum(axis=0), slope.sum(axis=0))
    return value, grid.pullback(by.strength, by.position, by.width)


def effort_weight(v: Array, cond_var: Array | float, gap: Array | float, factor: float) -> Array:
    """Variance per unit of time that a unit of strength takes away, to first order (K_V of the module's head).

    Source:
        derived in explanation/design.
    """
    return np.asarray(2 * factor * np.abs(gap) / (v + gap) * (cond_var / v) ** (2 * factor))


def composed(jacobian: Array, gradients: PieceGradient) -> PieceGradient:
    """Chain rule: gradients of functions of numbers whose own gradients are given.

    Source:
        derived in explanation/design.
    """
    return PieceGradient(edges=jacobian @ gradients.edges, high=jacobian @ gradients.high, low=jacobian @ gradients.low)


def stacked(*gradients: PieceGradient) -> PieceGradient:
    """Gradients of single numbers as rows of one.

    Source:
        derived in explanation/design.
    """
    return PieceGradient(
        edges=np.stack([g.edges for g in gradients]),
        high=np.stack([g.high for g in gradients]),
        low=np.stack([g.low for g in gradients]),
    )
