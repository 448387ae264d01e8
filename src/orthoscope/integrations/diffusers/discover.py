r"""Which predictions a pipeline guides, found in what it hands to its scheduler.

The predictions of a step are blocks of rows, one for every state, in the order in which the network returned them: two
halves of one batch or two calls are the same. For one pair of blocks, laid out as the state is, the pipeline's own
guided prediction must be

$$ m = k\,[u + s\,(c - u)] + b\,x, \qquad s > 1/2, $$

with nothing but rounding left in a least-squares fit. That fixes the pair, its order (exchanged, the scale is
$1 - s$), the layout and the sign. One $k$ and $s$ hold for a row, or for every frame, channel or token of it; then
the factor is a renormalization of the pipeline's own, which is left out. The state $x$ enters where a pipeline turns
what its network says into what its scheduler takes. Where two predictions differ by less than rounding can resolve,
nothing is seen, and nothing depends on it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from orthoscope.errors import ConfigError, OrthoscopeError, StoppedError

View = Callable[[Tensor], Tensor]

_NOISE = 16  # roundings of the working precision that the evidence may be off
_CLEAR = 64  # roundings by which two predictions must differ to be evidence
_FEW = 4  # times as many entries as there are unknowns, below which a fit is no evidence
_ALIKE = 1e-2  # share by which numbers of two rows may differ that are one
_ONE = 1e-3  # a scale that is no closer to 1 is guidance


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """Where a pair of predictions is found, and what the pipeline makes of it.

    Attributes:
        blocks: Number of predictions among which it is.
        cond: Number of the block that is the conditional prediction.
        uncond: Number of the block that is the unconditional one.
        view: What lays a block out as the state is.
        factor: What the pipeline multiplies a prediction by, beside its guidance; -1 or 1 unless it adds the state.
        shift: How much of the state it adds.
        scale: Its own scale, in the middle; NaN if nothing was seen.
        rest: What the fit leaves, relative to what is summed.
    """

    blocks: int
    cond: int
    uncond: int
    view: View
    factor: Any = 1.0
    shift: Any = 0.0
    scale: float = math.nan
    rest: float = math.nan

    @property
    def is_evident(self) -> bool:
        """Whether what the pipeline handed over shows this layout and no other."""
        return not math.isnan(self.scale)

    @property
    def adds_state(self) -> bool:
        """Whether the state enters, so that every step has numbers of its own."""
        return isinstance(self.shift, Tensor)

    def pair(self, blocks: Sequence[Tensor], state: Tensor) -> tuple[Tensor, Tensor]:
        """The conditional and the unconditional prediction as the scheduler takes them."""
        cond, uncond = (self.view(blocks[number]) for number in (self.cond, self.uncond))
        if self.adds_state:
            cond, uncond = (self.factor * part + self.shift * state for part in (cond, uncond))
        elif self.factor < 0:
            cond, uncond = -cond, -uncond
        return cond, uncond


def discover(
    blocks: Sequence[Tensor], state: Tensor, output: Tensor, pipe: str, *, is_confirmed: bool = False
) -> Layout:
    """The layout of a step.

    Args:
        blocks: Its predictions, two at least, with a row for every state.
        state: What the scheduler steps.
        output: What the pipeline hands to its scheduler.
        pipe: What the pipeline is called.
        is_confirmed: Whether earlier steps showed it, and this one has to have it no more than nearly: little noise is
            left in differences of large numbers.

    Raises:
        ConfigError: if the pipeline guides three predictions at once.
        StoppedError: if no layout is that of its output.
    """
    views = list(_views(blocks[0].shape[1:], state.shape[1:]))
    if not views:
        raise StoppedError(
            f"{pipe}: the network returns {_shape(blocks[0])} for each state, and the scheduler steps "
            f"{_shape(state)}; how the one becomes the other was not found, so this pipeline cannot be guided"
        )
    if math.prod(state.shape[1:]) < 2 * _FEW:
        raise ConfigError(
            f"{pipe} steps states of {math.prod(state.shape[1:])} numbers, too few to see how two predictions are "
            "guided; ask for larger images"
        )
    fits, silent = [], True
    for view, pair in itertools.product(views, itertools.combinations(range(len(blocks)), 2)):
        uncond, cond = (view(blocks[number]) for number in pair)
        for axis, adds_state in _ways(state):
            fit = _fitted(uncond, cond, output, state if adds_state else None, axis)
            if fit is None:
                continue
            silent = False
            if is_confirmed:
                fit = replace(fit, bound=fit.bound * _CLEAR)
            if (found := fit.layout(pair, view, len(blocks))) is not None:
                return found
            fits.append(fit)
    if silent:
        return _unseen(blocks, state, output, views)
    raise _refusal(blocks, output, views, fits, pipe)


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """A pair's least-squares fit, with one number per group of entries."""

    factor: Tensor
    scale: Tensor
    shift: Tensor | None
    rest: float
    bound: float

    @property
    def is_even(self) -> bool:
        """Whether the state is added to all rows alike, as what depends on the noise alone is."""
        parts = () if self.shift is None else (self.factor, self.shift)
        return all(bool((part - part[:1]).abs().max() <= _ALIKE * part.abs().max()) for part in parts)

    def layout(self, pair: tuple[int, int], view: View, blocks: int) -> Layout | None:
        """The layout that it is evidence for, if it is."""
        middle = float(self.scale.median())
        scale = 1 - self.scale if middle < 0.5 else self.scale
        signs = self.factor.sign()
        is_guidance = bool((scale > 0.5).all()) and bool(((scale - 1).abs() > _ONE).any())
        if not (self.rest <= self.bound and is_guidance and self.is_even and bool((signs == signs[0]).all())):
            return None
        uncond, cond = pair[::-1] if middle < 0.5 else pair
        found = Layout(
            blocks=blocks,
            cond=cond,
            uncond=uncond,
            view=view,
            factor=float(signs[0]),
            scale=float(scale.median()),
            rest=self.rest,
        )
        return found if self.shift is None else replace(found, factor=self.factor, shift=self.shift)


def _ways(state: Tensor) -> Iterator[tuple[int | None, bool]]:
    """What may share a scale: a row, an entry of one axis in it; and a row to which the state is added."""
    yield None, False
    yield None, True
    for axis in range(1, state.ndim):
        yield axis, False


def _fitted(uncond: Tensor, cond: Tensor, output: Tensor, state: Tensor | None, axis: int | None) -> _Fit | None:
    """The fit of one pair; None if nothing can be seen in it."""
    u, c, m, *others = (_grouped(part, axis) for part in (uncond, cond, output, *([] if state is None else [state])))
    if u.shape[1] < _FEW * (2 + len(others)):
        return None
    precision = max(torch.finfo(part.dtype).eps for part in (uncond, output))
    basis = torch.stack([*others, u, c - u], dim=2)
    apart = torch.linalg.qr(basis, mode="r").R[:, -1, -1].abs() * u.shape[1] ** 0.5
    clear = apart > _CLEAR * precision * (c.norm(dim=1) + u.norm(dim=1))
    if not bool(clear.any()) or (state is not None and not bool(clear.all())):
        return None
    weights, rest = _solved(basis[clear], m[clear])
    rows = (-1, *[1] * (uncond.ndim - 1))
    factor, along = weights[:, -2], weights[:, -1]
    added = weights[:, 0].reshape(rows).to(uncond) if others else None
    return _Fit(factor.reshape(rows).to(uncond) if others else factor, along / factor, added, rest, _NOISE * precision)


def _solved(basis: Tensor, m: Tensor) -> tuple[Tensor, float]:
    """Weights of a basis that make most of m, and the rest relative to what is summed."""
    across, triangle = torch.linalg.qr(basis)
    inside = across.mT @ m[:, :, None]
    weights = torch.linalg.solve_triangular(triangle, inside, upper=True)[:, :, 0]
    summed = (weights.abs() * triangle.norm(dim=1)).sum(1).norm()
    return weights, float((m - (across @ inside)[:, :, 0]).norm() / summed)


def _grouped(part: Tensor, axis: int | None) -> Tensor:
    """Entries that share a scale, in rows of double precision, where a device has it."""
    moved = part.flatten(1) if axis is None else part.movedim(axis, 1).flatten(0, 1).flatten(1)
    return moved.cpu().double() if part.device.type == "mps" else moved.double()


def _unseen(blocks: Sequence[Tensor], state: Tensor, output: Tensor, views: Sequence[View]) -> Layout:
    """The layout of a step whose last two predictions are the same to rounding, so that their order is nothing."""
    precision = max(torch.finfo(part.dtype).eps for part in (blocks[0], output))
    found: list[Layout] = []
    uncond, cond = len(blocks) - 2, len(blocks) - 1
    for view, adds_state in itertools.product(views, (False, True)):
        bases = [_grouped(part, None) for part in ([state] if adds_state else []) + [view(blocks[-1])]]
        weights, rest = _solved(torch.stack(bases, dim=2), _grouped(output, None))
        layout = Layout(
            blocks=len(blocks),
            cond=cond,
            uncond=uncond,
            view=view,
            rest=rest,
            factor=float(weights[:, -1].median().sign()),
        )
        if adds_state:
            rows = (-1, *[1] * (state.ndim - 1))
            shift, factor = (weights[:, number].reshape(rows).to(state) for number in (0, 1))
            layout = replace(layout, factor=factor, shift=shift)
        if rest <= _NOISE * _CLEAR * precision:
            return layout
        found.append(layout)
    return min(found, key=lambda layout: layout.rest)


def _refusal(
    blocks: Sequence[Tensor], output: Tensor, views: Sequence[View], fits: Sequence[_Fit], pipe: str
) -> OrthoscopeError:
    """What was seen instead of the guidance of a pair."""
    best = min(fits, key=lambda fit: fit.rest)
    for view in views if len(blocks) > 2 else ():
        basis = torch.stack([_grouped(view(block), None) for block in blocks], dim=2)
        weights, rest = _solved(basis, _grouped(output, None))
        if rest <= best.bound:
            shown = ", ".join(f"{weight:.3g}" for weight in weights.median(0).values.tolist())
            return ConfigError(
                f"{pipe} sums {len(blocks)} predictions (weights {shown}), of which no two alone are guided; switch "
                "off what adds the third: skip-layer guidance, pag_scale=0, image_guidance_scale=1"
            )
    if best.rest <= best.bound and not best.is_even:
        seen = "is renormalized row by row together with the state (guidance_rescale=0 leaves that out)"
    elif best.rest <= best.bound:
        seen = f"lies at scale {float(best.scale.median()):.3g} between its two predictions, which is no guidance"
    else:
        seen = (
            f"is not its guidance of any two of the {len(blocks)} predictions that its network made (it leaves "
            f"{best.rest:.1g} of it unexplained, where rounding is {best.bound:.1g})"
        )
    return StoppedError(f"{pipe}: what it hands to its scheduler {seen}, so it cannot be guided")


def _views(shape: Sequence[int], state: Sequence[int]) -> Iterator[View]:
    """Ways in which a prediction may become what the scheduler steps: as it is, cut, or unpacked from tokens."""
    if len(shape) == len(state) and all(have >= want for have, want in zip(shape, state, strict=True)):
        yield partial(_cut, state=state, last=False)
        if tuple(shape) != tuple(state):
            yield partial(_cut, state=state, last=True)
    elif [n for n in shape if n > 1] == [n for n in state if n > 1]:
        yield partial(_reshaped, state=state)
    if len(shape) == 2 and len(state) in (3, 4):
        yield from _unpackings(shape, state)


def _cut(block: Tensor, *, state: Sequence[int], last: bool) -> Tensor:
    """The first entries of every axis, or the last ones."""
    return block[(slice(None), *(slice(-n, None) if last else slice(n) for n in state))]


def _reshaped(block: Tensor, *, state: Sequence[int]) -> Tensor:
    return block.reshape(len(block), *state)


def _unpackings(shape: Sequence[int], state: Sequence[int]) -> Iterator[View]:
    """Tokens laid out in space, each a patch with its channels; frames of the state may be cut off at either end."""
    (tokens, width), (channels, *space) = shape, state
    entries, left = divmod(width, channels)
    for side in range(1, math.isqrt(entries) + 1) if not left else ():
        patch = [entries // side**2, side, side][-len(space) :]
        plane = [n // side for n in space[-2:]]
        grid = [tokens // max(math.prod(plane), 1), *plane][-len(space) :]
        sizes = [n * p for n, p in zip(grid, patch, strict=True)]
        is_whole = math.prod(patch) == entries and math.prod(grid) == tokens and sizes[-2:] == space[-2:]
        if not is_whole or sizes[0] < space[0]:
            continue
        for channels_first, last in itertools.product((True, False), (False, True)):
            yield partial(_unpacked, grid=grid, patch=patch, state=state, channels_first=channels_first, last=last)


def _unpacked(
    block: Tensor, *, grid: Sequence[int], patch: Sequence[int], state: Sequence[int], channels_first: bool, last: bool
) -> Tensor:
    """Tokens on a grid, each of channels with a patch or a patch with channels, as frames and pixels of channels."""
    axes, channels = len(grid), state[0]
    inner = [channels, *patch] if channels_first else [*patch, channels]
    channel, first = (axes + 1, axes + 2) if channels_first else (2 * axes + 1, axes + 1)
    order = [0, channel, *itertools.chain.from_iterable((1 + k, first + k) for k in range(axes))]
    whole = block.reshape(len(block), *grid, *inner).permute(order)
    sizes = [n * p for n, p in zip(grid, patch, strict=True)]
    return _cut(whole.reshape(len(block), channels, *sizes), state=state, last=last)


def _shape(block: Tensor) -> str:
    return "x".join(map(str, block.shape[1:]))
