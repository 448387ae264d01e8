"""A trained policy: a small network from what is observed to a strength, which is a rule like any other.

Its file is a few kB of safetensors: the layers, and in the head what it observes, its limits and the version. It needs
nothing that trained it. The same policy as JSON is a rule's JSON.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from orthoscope import writing
from orthoscope.denoise import Memory
from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.events import row_dot, row_norm
from orthoscope.guidance.rules.base import Rule
from orthoscope.guidance.rules.feedback import Controller, Outlook, Past, Seen, followed, outlook
from orthoscope.reading import opened, read_tensors
from orthoscope.serialize import VERSION, dumps, from_dict
from orthoscope.typing import PerRow, Rows

Layer = tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]  # weights, one row per unit, and biases
Layers = Sequence[tuple[Tensor, Tensor]]

OBSERVED = 1  # version of what the names below mean: a policy of another one saw something else
_KEY = "orthoscope"
_LARGEST = 2**20  # bytes of a file
_TINY = 1e-30
_WIDEST = 3.0  # up to which an observation is told


class Watched(NamedTuple):
    """What observations are taken of."""

    seen: Seen
    outlook: Outlook | None
    past: Past
    preference: float


def _progress(at: Watched) -> Any:
    level = at.seen.level
    if level.step is None or not level.steps:
        raise ConfigError("this policy observes the progress of a run, and was asked outside one")
    return level.step / level.steps


def _ahead(at: Watched) -> Outlook:
    assert at.outlook is not None  # it was asked for, where the batch is looked at
    return at.outlook


def _pair(at: Watched) -> Tensor:
    """Squared difference of the pair over the noise, in nats per e-fold: its logarithm."""
    gap = at.seen.gap
    return torch.log1p(row_dot(gap, gap).flatten() / float(np.max(at.seen.level.time))) / 2


def _length(at: Watched) -> Tensor:
    lengths = (row_norm(part).flatten().clamp_min(_TINY) for part in (at.seen.cond, at.seen.uncond))
    return torch.log(next(lengths) / next(lengths))


OBSERVATIONS: dict[str, Callable[[Watched], Any]] = {
    "progress": _progress,  # share of the steps that are done
    "level": lambda at: math.log(max(float(np.max(at.seen.level.time)), _TINY)) / 5,
    "preference": lambda at: at.preference,
    "pair": _pair,
    "length": _length,  # of the conditional prediction over the unconditional one: its logarithm
    "log_odds": lambda at: at.past.odds / 5,
    "mean_pair": lambda at: _pair(at).mean(),
    "mean_log_odds": lambda at: at.past.odds.mean() / 5,
    "slope": lambda at: _ahead(at).slope,
    "ratio": lambda at: 4 * (_ahead(at).ratio - 1),
}
OF_BATCH = ("mean_pair", "mean_log_odds", "slope", "ratio")


def observed(names: Sequence[str], seen: Seen, *, preference: float, lam: float) -> tuple[Rows, Past]:
    """Observations by name, one row for every row of the batch, and what to keep for the next step."""
    past = followed(seen)
    look = outlook(seen, lam) if any(name in OF_BATCH for name in names) else None
    at = Watched(seen, look, past, preference)
    like = past.odds
    columns = [torch.as_tensor(OBSERVATIONS[name](at), dtype=like.dtype).expand_as(like) for name in names]
    return torch.stack(columns, 1).clamp(-_WIDEST, _WIDEST), past


def answer(layers: Layers, x: Rows) -> PerRow:
    """What a network of hyperbolic tangents says, cut to [-1, 1]."""
    for weight, bias in layers[:-1]:
        x = torch.tanh(x @ weight.T + bias)
    weight, bias = layers[-1]
    return (x @ weight.T + bias)[:, 0].clamp(-1, 1)


def within(action: Tensor, least: float, most: Tensor) -> Tensor:
    """The strength of an action: -1 is the least, 1 the most."""
    return least + (action + 1) / 2 * (most - least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy(Controller):
    """A controller that was trained.

    Attributes:
        observes: Names of what it sees, in `OBSERVATIONS`.
        layers: Weights and biases; tangents between them.
        least: Smallest strength.
        preference: What it is to prefer, if it observes that: 0 the class, 1 the truth of its spread and place.
        lam: Noise content of the sampler that it was trained for.
        sees: Version of the observations.
    """

    observes: tuple[str, ...]
    layers: tuple[Layer, ...]
    least: float = -1.0
    preference: float = 0.5
    lam: float = 1.0
    sees: int = OBSERVED
    name: ClassVar[str] = "policy"

    def __post_init__(self) -> None:
        """Reject what it cannot see, and layers that do not fit."""
        Rule.__post_init__(self)
        if self.sees != OBSERVED:
            raise ConfigError(
                f"this policy was trained on observations of version {self.sees}; this release makes version "
                f"{OBSERVED}: train it again",
                field="sees",
            )
        for name in self.observes:
            if name not in OBSERVATIONS:
                raise unknown("observation", str(name), OBSERVATIONS, field="observes")
        if not 0 <= self.preference <= 1:
            raise ConfigError(f"`preference` must lie in [0, 1], got {self.preference:g}", field="preference")
        _check_layers(self.layers, len(self.observes))

    def chosen(self, seen: Seen) -> tuple[PerRow, Memory]:
        """What the network says of what it sees."""
        rows, past = observed(self.observes, seen, preference=self.preference, lam=self.lam)
        action = answer(_tensors(self.layers, rows.dtype, str(rows.device)), rows)
        return within(action, self.least, seen.most), past


def _check_layers(layers: Any, width: int) -> None:
    """Reject layers that do not follow each other, from `width` numbers to one.

    Raises:
        ConfigError: naming the layer.
    """
    for k, layer in enumerate(layers):
        try:
            weight, bias = (np.asarray(part, dtype=np.float64) for part in layer)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"layer {k} of this policy is no pair of weights and biases", field="layers") from error
        if weight.ndim != 2 or bias.ndim != 1 or weight.shape != (len(bias), width):
            raise ConfigError(
                f"layer {k} of this policy must take {width} numbers, one weight each, and add a bias to every unit; "
                f"got weights {weight.shape} and biases {bias.shape}",
                field="layers",
            )
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise ConfigError(f"layer {k} of this policy holds NaN or infinity; train it again", field="layers")
        width = len(bias)
    if not layers or width != 1:
        raise ConfigError("the last layer of a policy must have one unit, the strength", field="layers")


@lru_cache(maxsize=16)
def _tensors(layers: tuple[Layer, ...], dtype: torch.dtype, device: str) -> Layers:
    return [tuple(torch.tensor(part, dtype=dtype, device=device) for part in layer) for layer in layers]  # type: ignore[misc]


def as_layers(layers: Layers) -> tuple[Layer, ...]:
    """Layers of tensors as they stand in a policy."""
    return tuple(
        (tuple(tuple(row) for row in weight.detach().double().tolist()), tuple(bias.detach().double().tolist()))
        for weight, bias in layers
    )


def write_policy(policy: Policy, path: Path | str) -> None:
    """Write a policy as safetensors, in single precision.

    Raises:
        ConfigError: if the file cannot be written.
    """
    tensors = {
        f"{k}.{name}": torch.tensor(part, dtype=torch.float32)
        for k, layer in enumerate(policy.layers)
        for name, part in zip(("weight", "bias"), layer, strict=True)
    }
    about = {key: value for key, value in policy.to_spec().items() if key != "layers"}
    writing.write(Path(path), save(tensors, metadata={_KEY: dumps(about, indent=None)}))


def read_policy(path: Path | str) -> Policy:
    """The policy in a file.

    Raises:
        ConfigError: if there is none, it is too large or damaged, or it is of another version or sees something else.
    """
    file = Path(path)
    with opened(file, "a policy") as stream:
        if (size := stream.seek(0, 2)) > _LARGEST:
            raise ConfigError(f"{file} is no policy: {size:,} bytes, where a policy has a few thousand")
    about, _, tensors = read_tensors(file, _KEY, framework="pt")
    try:
        layers = [(tensors.pop(f"{k}.weight"), tensors.pop(f"{k}.bias")) for k in range(len(tensors) // 2)]
    except KeyError as error:
        raise ConfigError(f"{file} is no readable policy; train it again") from error
    try:
        if about.get("type") != "Policy" or "layers" in about:
            raise ConfigError(f"its head must describe a Policy of version {VERSION}")
        found: Policy = from_dict(dict(about) | {"layers": as_layers(layers)}, {"Policy": Policy})
    except ConfigError as error:
        raise ConfigError(f"policy file {file}: {error}") from error
    return found
