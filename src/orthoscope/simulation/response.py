r"""What small errors of denoisers do to guided samples: the first-order response along exact guided paths.

In the logarithm of the variance $v$, the width counted as noise, a guided path obeys $dx = k\,(x - D)\,d\log v$ and
noise, with $k = (1 + \lambda^2)/2$. If $D$ is off by $\varepsilon\,\delta$, the path moves by $\varepsilon e$, and

$$ \frac{de}{d\log v} = k\,(e - J e - \delta) $$

with the Jacobian $J$ of the guided denoiser along the path. Steps that are linear in the state, the denoised mean and
the noise carry $e$ as they carry $x$, and $e$ sees no noise: `Tangent` puts it below $x$, once for every Jacobian.
Which one makes the difference:

- `bare`: none, the kernel of unguided paths;
- `gaussian`: that of guidance against one Gaussian;
- `exact`: that of the exact guided denoiser: the derivative of the samples themselves, to rounding;
- `whole`: that of the wrong denoiser: where its guidance is affine, all that it does, and not to first order alone.

Source:
    derived in explanation/score-errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import torch
from torch import Tensor

from orthoscope.denoise import Denoiser, Evaluation, Label, Memory
from orthoscope.errors import ConfigError
from orthoscope.guidance.guided import Guided
from orthoscope.metrics import mean_of
from orthoscope.process import NoiseLevel
from orthoscope.quantities import Estimate
from orthoscope.sampling import Exponential, Grid, sample
from orthoscope.sampling.noise import Noise
from orthoscope.sampling.steps import Step
from orthoscope.typing import Labels, Rows


@dataclass(frozen=True, eq=False, kw_only=True)
class Tangent(Denoiser):
    """Carries exact paths, and below them one tangent for every Jacobian: rows are x, then e by e.

    Attributes:
        exact: The guided denoiser that paths follow.
        wrong: The guided denoiser of which the errors are.
        jacobians: By name, the denoisers whose Jacobians tangents feel; None for none.
    """

    exact: Denoiser
    wrong: Denoiser
    jacobians: Mapping[str, Denoiser | None]

    def evaluate(self, x: Rows, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        """The exact denoised mean, then for every tangent the error and the Jacobian times the tangent."""
        state, *tangents = x.chunk(1 + len(self.jacobians))
        found = self.exact.evaluate(state, level, label, memory)
        error = self.wrong(state, level, label) - found.denoised
        pushed = [
            error if denoiser is None else error + _product(denoiser, state, level, label, tangent)
            for denoiser, tangent in zip(self.jacobians.values(), tangents, strict=True)
        ]
        return replace(found, denoised=torch.cat([found.denoised, *pushed]))


def _product(denoiser: Denoiser, x: Rows, level: NoiseLevel, label: Label, direction: Rows) -> Rows:
    """The Jacobian of a denoiser times a direction, row by row."""
    # Forward mode stops at operations that write into given tensors; two backward passes do not.
    found: Rows = torch.autograd.functional.jvp(  # type: ignore[no-untyped-call]
        lambda at: denoiser(at, level, label), x, direction
    )[1]
    return found


def tangent(exact: Guided, wrong: Guided, gaussian: Denoiser | None = None) -> Tangent:
    """The tangents of an error with the Jacobians `bare`, `exact`, `whole` and, if it is given, `gaussian`.

    Args:
        exact: Guidance of exact denoisers.
        wrong: The same with denoisers that are off.
        gaussian: The denoiser of one Gaussian with the moments of all data.
    """
    against = {} if gaussian is None else {"gaussian": replace(exact, reference=gaussian)}
    return Tangent(exact=exact, wrong=wrong, jacobians={"bare": None, **against, "exact": exact, "whole": wrong})


@dataclass(frozen=True, eq=False, kw_only=True)
class Response:
    """Exact guided samples, and how they move.

    Attributes:
        x: The samples, class by class.
        tangents: By name, the displacement of every sample for the whole error.
        paths: Samples per class, one after the other.
    """

    x: Rows
    tangents: Mapping[str, Rows] = field(repr=False)
    paths: int

    def mean_shift(self, name: str, centroids: Rows) -> Estimate:
        """What the error adds to the overlap with the own centroid, with its error over classes.

        Args:
            name: Of the tangent.
            centroids: That of each class, in the order of the samples.
        """
        moved, m = self._by_class(self.tangents[name]).mean(1), centroids.double()
        return mean_of(((moved * m).sum(1) / m.square().sum(1)).numpy(force=True))

    def variance(self, name: str, *, squared: bool = False) -> Estimate:
        """What it adds to the variance per coordinate, 2 Cov(x, e), with its error over classes.

        Args:
            name: Of the tangent.
            squared: Whether Var(e) counts too, which is of second order: all that moving x by e does.
        """
        x, e = (self._by_class(rows) for rows in (self.x, self.tangents[name]))
        x, e = x - x.mean(1, keepdim=True), e - e.mean(1, keepdim=True)
        products = ((2 * x + e if squared else 2 * x) * e).sum(1) / (self.paths - 1)
        return mean_of(products.mean(1).numpy(force=True))

    def _by_class(self, rows: Rows) -> Tensor:
        return rows.double().reshape(-1, self.paths, rows.shape[1])


def respond(
    tangent: Tangent, x: Rows, levels: Grid, label: Labels, *, noise: Noise | None = None, step: Step | None = None
) -> Response:
    """Follow exact guided paths with the tangents of an error.

    Args:
        tangent: The denoisers.
        x: Starts, class by class, equally many of each.
        levels: Levels to visit; for networks, they end above clean data.
        label: Class of each row.
        noise: Of one step, for the rows of x; None only for steps that need none.
        step: One that is linear in state, mean and noise; second-order reverse SDE if None.

    Raises:
        ConfigError: if rows do not come in classes of equally many paths, at least two.

    Source:
        derived in explanation/score-errors.
    """
    sizes = torch.unique_consecutive(label, return_counts=True)[1]
    paths = int(sizes[0]) if len(sizes) else 0
    if len(label) != len(x) or paths < 2 or bool((sizes != paths).any()):
        raise ConfigError(
            f"`label` must hold one class per row of `x`, class by class, each as often and at least twice, got "
            f"{len(label)} labels for {len(x)} rows, in runs of {sorted(set(sizes.tolist()))}",
            field="label",
        )
    below = x.new_zeros(len(tangent.jacobians) * len(x), *x.shape[1:])

    def above(level: NoiseLevel, lower: NoiseLevel) -> Rows:
        assert noise is not None
        return torch.cat([noise(level, lower), below])

    run = sample(
        tangent,
        torch.cat([x, below]),
        levels,
        step=Exponential() if step is None else step,
        noise=None if noise is None else above,
        label=label,
    )
    end, *moved = run.x.chunk(1 + len(tangent.jacobians))
    return Response(x=end, tangents=MappingProxyType(dict(zip(tangent.jacobians, moved, strict=True))), paths=paths)
