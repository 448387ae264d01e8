"""Adam, the same to the last bit as `torch.optim.Adam`, which loads torch's compiler to do it: a second or more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from orthoscope.errors import ConfigError

_BETA, _SQUARE_BETA = 0.9, 0.99  # memory of the mean gradient and of its square
_LEAST = 1e-8


class Adam:
    """Moments of the gradients of some parameters, and the steps that they give.

    Attributes:
        parameters: What is trained. Those without a gradient stay as they are.
        means: Mean gradient of each.
        squares: Mean square of it.
        done: Steps taken.

    Source:
        [kingma2015adam], Algorithm 1.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        """Begin without memory."""
        self.parameters = list(parameters)
        self.means = [torch.zeros_like(one) for one in self.parameters]
        self.squares = [torch.zeros_like(one) for one in self.parameters]
        self.done = 0

    def forget(self) -> None:
        """Drop the gradients, before those of another batch."""
        for one in self.parameters:
            one.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move every parameter that has a gradient."""
        moving = [k for k, one in enumerate(self.parameters) if one.grad is not None]
        parameters, means, squares = (
            [every[k] for k in moving] for every in (self.parameters, self.means, self.squares)
        )
        gradients = [grad for one in parameters if (grad := one.grad) is not None]
        if not gradients:
            return
        self.done += 1
        torch._foreach_lerp_(means, gradients, 1 - _BETA)
        torch._foreach_mul_(squares, _SQUARE_BETA)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - _SQUARE_BETA)
        sizes = torch._foreach_sqrt(squares)
        torch._foreach_div_(sizes, (1 - _SQUARE_BETA**self.done) ** 0.5)
        torch._foreach_add_(sizes, _LEAST)
        torch._foreach_addcdiv_(parameters, means, sizes, -rate / (1 - _BETA**self.done))

    def state(self) -> dict[str, Tensor]:
        """All that going on needs, by number of the parameter and name of the moment, as torch names it."""
        found: dict[str, Tensor] = {}
        for k, (mean, square) in enumerate(zip(self.means, self.squares, strict=True)):
            found |= {f"{k}.step": torch.tensor(float(self.done)), f"{k}.exp_avg": mean, f"{k}.exp_avg_sq": square}
        return found if self.done else {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state that `state` gave.

        Raises:
            ConfigError: if it is that of other parameters.
        """
        for k, one in enumerate(self.parameters):
            for moments, name in ((self.means, "exp_avg"), (self.squares, "exp_avg_sq")):
                found = state.get(f"{k}.{name}", torch.zeros_like(one))
                if found.shape != one.shape:
                    raise ConfigError("the checkpoint belongs to another network; start again without it")
                moments[k] = found.to(one).clone()
        self.done = max((int(value) for name, value in state.items() if name.endswith(".step")), default=0)
