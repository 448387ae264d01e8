"""A network or function of one's own as a denoiser, whatever it predicts and whatever it sees of the noise."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from orthoscope import rng
from orthoscope.calls import verb
from orthoscope.denoise.base import Denoiser, Evaluation, Label, Memory, check_asked
from orthoscope.errors import ConfigError, ShapeError, unknown
from orthoscope.prediction import Preconditioned, per_row, to_denoised
from orthoscope.process import NoiseLevel
from orthoscope.registered import name_of
from orthoscope.targets import Target
from orthoscope.typing import Events

Predicts = Literal["denoised", "noise", "velocity", "score", "edm"]
Sees = Literal["sigma", "level", "t"]
_PREDICTS: tuple[Predicts, ...] = get_args(Predicts)
_SEES: tuple[Sees, ...] = get_args(Sees)
_PLACES = {"high": 10.0, "low": 0.1}  # of a check: noise in standard deviations of the data
_ROWS = 64
_WRONG, _RIGHT = 0.25, 0.1  # squared error that no network has, and the share of it that another reading must reach
_NONSENSE = 10.0  # squared error that only what knows nothing of the law has, however it is read


@dataclass(frozen=True, eq=False, kw_only=True)
class OwnDenoiser(Denoiser):
    """What `denoiser` makes.

    Attributes:
        f: The function or network.
        predicts: What it returns.
        sees: What it is given.
        sigma_data: Standard deviation of the data that an EDM network was scaled for.
        classes: Number of classes of a network that takes one-hot labels; None for one that takes their numbers.
    """

    f: Callable[..., Any]
    predicts: Predicts = "denoised"
    sees: Sees = "sigma"
    sigma_data: float = 0.5
    classes: int | None = None

    def __post_init__(self) -> None:
        """Reject what cannot be called, and ways to predict and to see that do not exist."""
        if not callable(self.f):
            raise ConfigError(f"`denoiser` must be a function or a network, got {self.f!r:.80}", field="denoiser")
        if self.predicts not in _PREDICTS:
            raise unknown("prediction", str(self.predicts), _PREDICTS, field="predicts")
        if self.sees not in _SEES:
            raise unknown("argument of a denoiser", str(self.sees), _SEES, field="sees")
        if self.predicts == "edm" and self.sees != "sigma":
            raise ConfigError(f"an EDM network is given sigma; leave out `sees` {self.sees}", field="sees")
        data, classes = self.sigma_data, self.classes
        if not (isinstance(data, numbers.Real) and 0 < float(data) < math.inf):
            raise ConfigError(f"`sigma_data` must be a number > 0, got {data!r:.40}", field="sigma_data")
        if classes is not None and not (isinstance(classes, numbers.Integral) and classes > 0):
            raise ConfigError(f"`classes` must be a whole number > 0, got {classes!r:.40}", field="classes")

    def evaluate(self, x: Events, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        """The denoised mean behind what the function returns.

        Raises:
            ConfigError: if the level counts some of the data's width as noise, which only a function that sees the
                whole level can know of; if the function fails, or returns no floating-point tensor of finite numbers.
            ShapeError: if it returns another shape than that of the state.
        """
        check_asked(x, level)
        if level.offset > 0 and self.sees != "level":
            raise ConfigError(
                f"`denoiser` ({name_of(self.f)}) knows the whole law, and this process counts some width as noise: "
                "use a process without offset, or denoise.Counted",
                field="denoiser",
            )
        labels = _labels(label, x, self.classes)
        if self.predicts == "edm":
            return Evaluation(denoised=self._preconditioned(x, level, labels), memory=memory)
        alpha = per_row(level.alpha, x) if self.sees == "t" else 1.0
        found = self._asked(x * alpha if self.sees == "t" else x, self._noise(x, level), labels)
        if self.predicts == "score":
            found = found * alpha  # the score of alpha * x becomes that of x
        return Evaluation(denoised=to_denoised(found, x, level, self.predicts), memory=memory)

    def _noise(self, x: Events, level: NoiseLevel) -> Any:
        """What the function sees of the noise."""
        if self.sees == "level":
            return level.copied()
        if self.sees == "t" and level.t is None:
            raise ConfigError("`sees` t needs levels of a process, made by `process.at` or on its grid", field="sees")
        value = level.sigma if self.sees == "sigma" else level.t
        return torch.as_tensor(value, dtype=x.dtype, device=x.device).expand(len(x)).clone()

    def _preconditioned(self, x: Events, level: NoiseLevel, labels: Tensor | None) -> Tensor:
        """c_skip x + c_out F(c_in x, log(sigma) / 4), the network of [karras2022elucidating], Eq. (7)."""
        sigma, data = per_row(level.sigma, x), self.sigma_data
        inner = self._asked(x / (sigma**2 + data**2) ** 0.5, self._noise(x, level).log() / 4, labels)
        return to_denoised(inner, x, level, Preconditioned(data))

    def _asked(self, x: Events, noise: Any, labels: Tensor | None) -> Tensor:
        """What the function returns, once it was seen to be a prediction."""
        # Networks keep what gradients of their weights need, which nobody asks for here.
        quiet = isinstance(self.f, torch.nn.Module) and not x.requires_grad
        name = f"`denoiser` ({name_of(self.f)})"
        try:
            with torch.no_grad() if quiet else nullcontext():
                found = self.f(x.clone(), noise, labels)  # a copy, which it may change in place
        except Exception as error:
            raise ConfigError(
                f"{name} failed on a state of shape {tuple(x.shape)} and {x.dtype}: "
                f"{type(error).__name__}: {' '.join(str(error).split()):.200}",
                field="denoiser",
            ) from error
        if not isinstance(found, Tensor) or not found.is_floating_point():
            got = f"a tensor of {found.dtype}" if isinstance(found, Tensor) else type(found).__name__
            raise ConfigError(f"{name} must return a floating-point tensor, got {got}", field="denoiser")
        if found.shape != x.shape:
            shapes = f"{tuple(x.shape)}, got {tuple(found.shape)}"
            raise ShapeError(f"{name} must return the shape of the state, {shapes}")
        if not bool(found.isfinite().all()) and bool(x.isfinite().all()):
            raise ConfigError(f"{name} returns NaN or infinity for a finite state", field="denoiser")
        return found.to(x)


@verb
def denoiser(
    f: Callable[..., Any],
    *,
    predicts: Predicts = "denoised",
    sees: Sees = "sigma",
    sigma_data: float = 0.5,
    classes: int | None = None,
    check: Target | None = None,
) -> OwnDenoiser:
    r"""A function or network `f(x, noise, label)` as a denoiser.

    It gets the unscaled state $x = x_0 + \sigma\varepsilon$, the noise standard deviation of each row, and the class
    of each row or None; a network of EDM, called `net(x, sigma, class_labels)`, is taken as it is.

    Args:
        f: What is asked.
        predicts: `denoised` mean, `noise`, `score`, `velocity` (noise minus denoised), or `edm`: the raw network
            $F(c_{in} x, \log(\sigma)/4, label)$ inside the preconditioning of EDM.
        sees: `sigma`; `level`, the whole `NoiseLevel`; or `t`, the clock of the process, and then the scaled state
            $\alpha x$ of its chart, as networks of flows and of variance-preserving processes do.
        sigma_data: Standard deviation of the data, for `edm`.
        classes: Number of classes, if labels are to be one-hot, as EDM networks want them.
        check: The law that the network is meant to know: what is clearly another reading, or none, is refused.

    Raises:
        ConfigError: if there is no such reading, or `check` shows that it is another one, or none.
    """
    made = OwnDenoiser(f=f, predicts=predicts, sees=sees, sigma_data=sigma_data, classes=classes)
    if check is not None and sees == "t":
        raise ConfigError("a `check` knows no clock of a process; use it with `sees` sigma or level", field="check")
    if check is not None:
        _check(made, check)
    return made


def _labels(label: Label, x: Events, classes: int | None) -> Tensor | None:
    if label is None:
        return None
    try:
        found = torch.as_tensor(label, device=x.device).long().expand(len(x)).clone()
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"`label` must be a whole number, or one for each of {len(x)} rows, got {label!r:.40}", field="label"
        ) from error
    if classes is None:
        return found
    if len(found) and not (0 <= int(found.min()) and int(found.max()) < classes):
        wrong = next(one for one in found.tolist() if not 0 <= one < classes)
        raise ConfigError(f"`label` {wrong} is none of the {classes} `classes`, 0 to {classes - 1}", field="classes")
    return torch.nn.functional.one_hot(found, classes).to(x)


def _check(made: OwnDenoiser, law: Target) -> None:
    """Refuse a reading that is far off where another one is right.

    Raises:
        ConfigError: with the reading that fits, or that none does, or that there is no law to compare with.
    """
    if isinstance(law, type) or not (hasattr(law, "denoised") and hasattr(law, "sample")):
        raise ConfigError(
            f"`check` must be a law with an exact score, such as mixture(x, labels=y), got {type(law).__name__}",
            field="check",
        )
    readings = [one for one in _PREDICTS if one != "edm" or made.sees == "sigma"]
    errors = {one: _error(replace(made, predicts=one), law) for one in readings}
    best = min(errors, key=lambda one: errors[one])
    if errors[made.predicts] > _WRONG and errors[best] < _RIGHT * errors[made.predicts] and errors[best] < _WRONG:
        raise ConfigError(
            f"`denoiser` ({name_of(made.f)}) does not predict what `predicts` {made.predicts} says: read as {best} it "
            f"agrees with `check`; use predicts={best!r}",
            field="predicts",
        )
    if errors[best] > _NONSENSE:
        raise ConfigError(
            f"`denoiser` ({name_of(made.f)}) agrees with `check` read as none of {', '.join(readings)}: look at what "
            "it is given and what it returns, or leave out `check`",
            field="predicts",
        )


def _dtype(f: Any) -> torch.dtype | None:
    """The floating-point type of a network's weights."""
    weights = f.parameters() if isinstance(f, torch.nn.Module) else ()
    return next((one.dtype for one in weights if one.is_floating_point()), None)


def _error(made: OwnDenoiser, law: Target) -> float:
    """The largest mean square error over a high and a low level, in units of what is open there."""
    stream = rng.stream(0, "check of a denoiser")
    clean = law.sample(_ROWS, stream)
    normal = torch.from_numpy(stream.standard_normal(tuple(clean.shape))).to(clean)
    spread = float(clean.double().var(dim=0).mean() ** 0.5)
    worst = 0.0
    for sigma in (place * spread for place in _PLACES.values()):
        level = NoiseLevel(time=sigma**2)
        x = clean + sigma * normal
        seen = x.to(_dtype(made.f) or x.dtype)
        off = (made(seen, level).to(x) - law.denoised(x, level)).double().square().mean()
        worst = max(worst, float(off) / (sigma**2 * spread**2 / (sigma**2 + spread**2)))
    return worst
