"""`compare`: a simulation beside its theories, or guidance rules beside each other at equal effect on common noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import brentq

from orthoscope import metrics
from orthoscope.calls import verb
from orthoscope.checks import flag, real, whole
from orthoscope.datasets import dataset, stored, table
from orthoscope.errors import ConfigError, DivergenceError, unknown
from orthoscope.face.samples import FEWEST, as_denoiser, away_of, class_run, measures
from orthoscope.guidance.rules import Rule, shown_rule
from orthoscope.guidance.rules.given import as_rule
from orthoscope.guidance.schedules import Constant
from orthoscope.metrics.energy import energy_difference
from orthoscope.metrics.estimators import as_samples
from orthoscope.progress import Tracker
from orthoscope.quantities import Estimate
from orthoscope.report.bars import shown
from orthoscope.results import Result
from orthoscope.serialize import dumps
from orthoscope.simulation.classes import ClassMoments, ClassRun, moments_of
from orthoscope.simulation.comparison import FINITE_DIM_SLACK, finite_dim_slack
from orthoscope.sweeps.points import HERE, Points

Rows = NDArray[np.float64]
MATCHED = ("mean_shift", "variance_ratio", "class_posterior")
_COMPARED = ("mean_shift", "variance_ratio", "class_distance", "far_share", "class_posterior", "energy_distance")
_STRONGEST = 60.0  # strength up to which an equal effect is sought
_CLOSE = 1e-3  # of strength
_MISSED = 0.02  # of what is to be equal, by which a match may be off on the noise that it was sought on


@verb
def compare(
    what: Any,
    rules: Any = None,
    *,
    label: Any = 0,
    match: str | None = "mean_shift",
    strength: float = 3.0,
    n: int = 512,
    seed: int = 0,
    steps: int = 48,
    t_max: float | None = None,
    start: str = "exact",
    ode: bool = False,
    step: Any = None,
    denoiser: Any = None,
    progress: Tracker | bool | None = None,
) -> Result:
    """A simulation beside its theories; or rules beside each other, each at the strength of equal effect.

    Rules are searched on one seed and judged on another, all on the same noise. Differences to the first are paired.

    Args:
        what: What `simulate` returned; or a target such as `mixture(x, labels=y)`.
        rules: Rules to compare: texts, functions, objects; the first at `strength`, every other where it does as much.
        label: The class.
        match: What must be equal: `mean_shift`, `variance_ratio` or `class_posterior`; None for equal strength.
        strength: Strength of the first rule.
        n: Samples, at least 8.
        seed: Root seed.
        steps: As in `sample`, like the following.
        t_max: Variance time of the start.
        start: `exact` or `prior`.
        ode: Probability-flow ODE instead of the reverse SDE.
        step: What leads from one level to the next.
        denoiser: What is sampled in place of the exact score.
        progress: A function of parts done, parts in all and what is done; True or False for a bar or none.

    Raises:
        ConfigError: with one clear line, if there is nothing to compare.
    """
    if isinstance(what, Result):
        if rules is not None:
            raise ConfigError("`rules` are compared on a target; leave them out beside a result", field="rules")
        return _beside_theory(what)
    several = isinstance(rules, Iterable) and not isinstance(rules, str | Rule)
    given = [] if rules is None else list(rules) if several else [rules]
    if not given:
        raise ConfigError("expected `rules` to compare, such as ['cfg', 'rescale:phi=0.7']", field="rules")
    if match is not None and match not in MATCHED:
        raise unknown("quantity to match", match, MATCHED, field="match")
    schedule, count = Constant(value=real("strength", strength, finite=True)), whole("n", n, FEWEST)
    base = class_run(
        what, label, schedule, as_rule(None), samples=count, seed=seed,
        steps=steps, t_max=t_max, start=start, lam=0.0 if flag("ode", ode) else 1.0, step=step,
        network=as_denoiser(denoiser),
    )  # fmt: skip
    study = RuleComparison(base=base, rules=tuple(map(as_rule, given)), match=match)
    with shown("comparing", progress) as tell:
        return Result(study, study.run(Points(progress=tell)))


@dataclass(frozen=True, eq=False, kw_only=True)
class RuleComparison:
    """Rules at the strength of equal effect, on common noise.

    Attributes:
        base: The run of the first rule, but for its rule.
        rules: The rules.
        match: What must be equal; None for equal strength.
    """

    base: ClassRun
    rules: tuple[Rule, ...]
    match: str | None

    @property
    def name(self) -> str:
        """Name of its figures."""
        return "comparison"

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Find every strength, then judge on fresh noise; a rule that fails leaves the others as they are."""
        tell, moments = points.progress or (lambda done, total: None), moments_of(self.base.target, self.base.label)
        judged = self.base.but(seed=self.base.seed + 1)
        reference = judged.reference().double().numpy(force=True)
        goal, first = None, None
        rows: list[dict[str, Any]] = []
        for k, (rule, name) in enumerate(zip(self.rules, _names(self.rules), strict=True)):
            tell(k, len(self.rules))
            try:
                if self.match is None or k == 0:
                    strength = float(self.base.schedule.at_time(1.0))
                    goal = None if self.match is None else self._value(rule, strength, moments)
                else:
                    strength = self._strength(rule, float(goal or 0.0), moments)
                x = _sample(judged.but(rule=rule, schedule=Constant(value=strength)))
            except (ConfigError, DivergenceError) as error:
                if k == 0:
                    raise
                rows.append({"rule": name, "strength": np.nan, "failed": str(error), **_nothing()})
                continue
            first = x if first is None else first
            found: Mapping[str, Estimate] = measures(x, judged)
            gaps = _differences(x, first, reference, judged, moments)
            rows.append(
                {"rule": name, "strength": strength, "failed": ""}
                | {name: found[name] for name in _COMPARED if name in found}
                | {f"{name}_change": gap for name, gap in gaps.items()}
            )
        tell(len(self.rules), len(self.rules))
        told = {"label": self.base.label, "match": self.match or "strength", "samples": self.base.samples}
        described = {"kind": "rules", "compared": [row["rule"] for row in rows], **told}
        data = dataset(table(rows, "rank"), coords={}, spec=described, **told)
        data.attrs["numbers"] = dumps(_summary(data), indent=None)
        return data

    def _value(self, rule: Rule, strength: float, moments: ClassMoments) -> float:
        x = _sample(self.base.but(rule=rule, schedule=Constant(value=strength)))
        return _statistics(self.base, moments)[str(self.match)](x)

    def _strength(self, rule: Rule, goal: float, moments: ClassMoments) -> float:
        """Where a rule does as much as the first on the noise of the search.

        Raises:
            ConfigError: if it does nowhere, or jumps over it.
        """

        def gap(w: float) -> float:
            try:
                return self._value(rule, w, moments) - goal
            except DivergenceError:
                return np.nan

        first = float(self.base.schedule.at_time(1.0)) or 1.0
        low, high = 0.0, first
        at_low, at_high = gap(low), gap(high)
        while np.isfinite(at_high) and at_low * at_high > 0 and abs(high) < _STRONGEST:
            low, at_low = high, at_high
            high *= 2
            at_high = gap(high)
        what = f"this {str(self.match).replace('_', ' ')}"
        if not np.isfinite(at_high) or at_low * at_high > 0:
            raise ConfigError(f"does not reach {what} at any strength from 0 to {high:g}")
        found = float(brentq(gap, low, high, xtol=_CLOSE, rtol=_CLOSE))
        if abs(missed := gap(found)) > _MISSED * max(abs(goal), _MISSED):
            raise ConfigError(f"jumps over {what} near strength {found:.4g}, where it is {missed:+.3g} off")
        return found


def _names(rules: Sequence[Rule]) -> list[str]:
    """Texts of rules, numbered where several are the same."""
    texts = [shown_rule(rule) for rule in rules]
    return [
        text if texts.count(text) == 1 else f"{text} ({texts[: k + 1].count(text)})" for k, text in enumerate(texts)
    ]


def _summary(result: xr.Dataset) -> dict[str, Any]:
    """Every rule with its strength, what it does, and by how much more than the first."""
    columns = {name: stored(result, name) for name in (*_COMPARED, *(f"{n}_change" for n in _COMPARED))
               if name in result}  # fmt: skip
    rules = [
        {
            "rule": str(result["rule"].values[k]),
            "strength": float(result["strength"].values[k]),
            "failed": str(result["failed"].values[k]) or None,
            **{name: column[k].as_numbers() for name, column in columns.items()},
        }
        for k in range(result.sizes["rank"])
    ]
    return {"match": result.attrs["match"], "label": int(result.attrs["label"]), "rules": rules}


def _sample(run: ClassRun) -> Rows:
    return run.run().x.double().numpy(force=True)


def _statistics(run: ClassRun, moments: ClassMoments) -> dict[str, Callable[[Rows], float]]:
    """What can be matched, of all rows."""
    import torch

    axis = moments.mean - moments.center
    found: dict[str, Callable[[Rows], float]] = {
        "mean_shift": lambda x: float(((x - moments.mean) @ axis).mean() / (axis @ axis)),
        "variance_ratio": lambda x: float(x.var(0, ddof=1).sum() / np.trace(moments.covariance)),
    }
    if hasattr(run.target, "class_posterior"):
        as_target = run.target.dtype
        found["class_posterior"] = lambda x: float(
            run.target.class_posterior(torch.from_numpy(x).to(as_target), run.label).mean()
        )
    return found


def _differences(x: Rows, first: Rows, reference: Rows, run: ClassRun, moments: ClassMoments) -> dict[str, Estimate]:
    """By how much more samples do than others on the same noise; errors are those of pairs."""
    dim = x.shape[1]
    both = as_samples(np.hstack([x, first]), least=8)
    found = {
        name: metrics.jackknife(lambda rows, one=one: one(rows[:, :dim]) - one(rows[:, dim:]), both)  # type: ignore[misc]
        for name, one in _statistics(run, moments).items()
    }
    if "class_posterior" in found:  # one class that was lost in one of the two may not have come
        found["class_posterior"] = found["class_posterior"].plus(Estimate(value=0.0, stderr=1 / (len(x) + 4), n=len(x)))
    mine, theirs = (away_of(rows, run.target, moments) for rows in (x, first))
    return found | mine.less(theirs) | {"energy_distance": energy_difference(x, first, reference)}


def _nothing() -> dict[str, Estimate]:
    """Numbers of a rule that never does as much."""
    nan = Estimate(value=np.nan, stderr=np.nan, n=0)
    return dict.fromkeys((*_COMPARED, *(f"{name}_change" for name in _COMPARED)), nan)


@dataclass(frozen=True, eq=False, kw_only=True)
class TheoryComparison:
    """A simulation beside its theories.

    Attributes:
        of: The simulation's result.
    """

    of: Result

    @property
    def name(self) -> str:
        """Name of its figures."""
        return "theory"

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Every measured quantity with both theories, and how far it is from that of its dimension, in standard errors.

        Distances are beyond the theory's stated accuracy.
        """
        theories = self.of.numbers["theory"]
        rows = []
        for name, told in self.of.numbers.items():
            if not (isinstance(told, Mapping) and "stderr" in told):
                continue
            measured = self.of[name]
            known = {kind: (found or {}).get(name) for kind, found in theories.items()}
            rows.append({"quantity": name, "measured": measured, **known, "z": self._distance(name, measured, known)})
        told = {"diagnosis": self.of.numbers["diagnosis"]}
        numbers = {"quantities": [row | {"measured": row["measured"].as_numbers()} for row in rows], **told}
        spec = {"kind": "theory", "of": self.of.numbers["spec"]}
        return dataset(table(rows, "rank"), coords={}, spec=spec, numbers=dumps(numbers, indent=None), **told)

    def _distance(self, name: str, measured: Estimate, known: Mapping[str, float | None]) -> float | None:
        here, limit = known["finite_dim"], known["mean_field"]
        if here is None:
            return None if limit is None else measured.z(limit)
        slack = finite_dim_slack(name, int(self.of.data.attrs["dim"])) * abs(here) if name in FINITE_DIM_SLACK else 0.0
        return measured.z(here, slack=slack)


def _beside_theory(simulated: Result) -> Result:
    if not isinstance(simulated.numbers.get("theory"), Mapping):
        raise ConfigError(f"expected what `simulate` returns, or a target with `rules`, got {simulated.study.name}")
    study = TheoryComparison(of=simulated)
    return Result(study, study.run())
