"""What many networks say together: each by itself, kinds pooled over seeds, which branch did it, who gained by what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orthoscope.datasets import stored
from orthoscope.experiments.networks.accuracy import PREDICTORS, foreseen, gains_foreseen, told
from orthoscope.experiments.networks.branches import ERRORS
from orthoscope.experiments.networks.foretold import MOMENTS
from orthoscope.experiments.networks.guided import MEASURES
from orthoscope.experiments.networks.together import branches, mismatch, remedy, samplers
from orthoscope.quantities import Estimate, pool

FloatArray = NDArray[np.float64]
IGNORANT, KNOWING = 0.5, 0.9  # learned fractions below and above which a branch is called so
GROUPS: dict[str, Callable[[float], bool]] = {
    "ignorant": lambda learned: learned < IGNORANT,
    "between": lambda learned: IGNORANT <= learned < KNOWING,
    "knowing": lambda learned: learned >= KNOWING,
}
_INFORMATION = ("information", "information_exact", "information_decided", "information_exact_decided")
_OF_KINDS = ("learned_fraction", "slope", *(f"excess_{name}_mean" for name in ERRORS), *_INFORMATION)


def summarize(result: xr.Dataset) -> dict[str, Any]:
    """The JSON object of the study."""
    groups = {name: _chosen(result, is_in) for name, is_in in GROUPS.items()}
    groups = {name: some for name, some in groups.items() if some.sizes["network"]}
    everyone = {"all": result, **groups}
    return {
        "networks": networks(result),
        "kinds": kinds(result),
        "groups": {name: _group(some) for name, some in groups.items()},
        "foreseen": {
            name: {who: {by: foreseen(some, name, by) for by in PREDICTORS} for who, some in everyone.items()}
            for name in MOMENTS
        },
        "windows_foreseen": {by: gains_foreseen(result, by) for by in PREDICTORS},
        "together": {
            text: {
                "branches": {who: branches(some.sel(schedule=text)) for who, some in everyone.items()},
                "samplers": samplers(at),
                "mismatch": mismatch(at),
                "remedy": remedy(at),
            }
            for text, at in ((str(text), result.sel(schedule=text)) for text in result["schedule"].values)
            if np.isfinite(at["extra_variance_ratio_uncond"]).all()
        },
    }


def networks(result: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Every network by itself."""
    foretold = {by: {name: told(result, name, by).values for name in MOMENTS} for by in PREDICTORS}
    return {
        str(name): _network(
            result.isel(network=k), {by: {q: rows[k] for q, rows in found.items()} for by, found in foretold.items()}
        )
        for k, name in enumerate(result["network"].values)
    }


def _network(one: xr.Dataset, predicted: Mapping[str, Mapping[str, FloatArray]]) -> dict[str, Any]:
    """One network; what was foretold of it by predictor and quantity, one number per schedule."""
    schedules = [str(text) for text in one["schedule"].values]
    measured = {
        pair: {name: [value.as_numbers() for value in stored(one, f"{name}_{pair}")] for name in (*MEASURES, "gain")}
        for pair in ("network", "exact")
    }

    def at(k: int, pair: str) -> dict[str, Any]:
        return {name: values[k] for name, values in measured[pair].items()}

    return {
        "learned_fraction": _number(one, "learned_fraction"),
        "slope": _number(one, "slope"),
        "seconds": float(one["seconds"]),
        "excess": {
            name: {
                "mean": _number(one, f"excess_{name}_mean"),
                "level": [value.as_numbers() for value in stored(one, f"excess_{name}")],
            }
            for name in ERRORS
        },
        "level": one["level"].values.tolist(),
        "affine_share": one["affine_share"].values.tolist(),
        "information": {name: _number(one, name) for name in _INFORMATION},
        "schedules": {text: at(k, "network") | {"exact": at(k, "exact")} for k, text in enumerate(schedules)},
        "predicted": {
            text: {by: {name: float(values[k]) for name, values in found.items()} for by, found in predicted.items()}
            for k, text in enumerate(schedules)
        },
    }


def _number(one: xr.Dataset, name: str) -> dict[str, float | int | None]:
    return stored(one, name)[0].as_numbers()


def kind_of(name: str) -> str:
    """The kind of a network: its name without the seed."""
    return name.rpartition(", seed ")[0]


def kinds(result: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Every kind pooled over its seeds; with several, errors are those between networks."""
    by_kind: dict[str, list[int]] = {}
    for index, name in enumerate(result["network"].values):
        by_kind.setdefault(kind_of(str(name)), []).append(index)
    return {kind: _kind(result.isel(network=rows)) for kind, rows in by_kind.items()}


def _kind(some: xr.Dataset) -> dict[str, Any]:
    own: dict[str, Any] = {name: pooled(some, name).as_numbers() for name in _OF_KINDS}
    own |= {name: float(some[name].mean()) for name in ("seconds", "loss", "affine_share")}
    schedules = [str(text) for text in some["schedule"].values]
    measured = {
        f"{name}_{pair}": stored(some, f"{name}_{pair}")
        for pair in ("network", "exact", "uncond", "cond", "gaussian", "posterior")
        for name in (*MEASURES, "gain")
    }
    for k, text in enumerate(schedules):
        found = {name: values[k :: len(schedules)] for name, values in measured.items()}
        own[text] = {
            name: pool(values).as_numbers()
            for name, values in found.items()
            if all(np.isfinite(one.value) for one in values)
        }
    return own


def pooled(some: xr.Dataset, name: str) -> Estimate:
    """One quantity over networks, with the larger of the errors between and within them."""
    return pool(stored(some, name))


def _chosen(result: xr.Dataset, is_in: Callable[[float], bool]) -> xr.Dataset:
    return result.isel(network=[k for k, value in enumerate(result["learned_fraction"].values) if is_in(float(value))])


def _group(some: xr.Dataset) -> dict[str, Any]:
    """What networks that know about as much have in common, by schedule.

    A gain or a loss counts where its 95 % interval has one sign.
    """
    found: dict[str, Any] = {"networks": some.sizes["network"]}
    for text in some["schedule"].values:
        at = some.sel(schedule=text)
        row: dict[str, Any] = {f"extra_{name}": pooled(at, f"extra_{name}_network").as_numbers() for name in MEASURES}
        row |= {
            f"extra_{name}_by_{pair}": pooled(at, f"extra_{name}_{pair}").as_numbers()
            for pair in ("uncond", "cond", "posterior", "other")
            for name in MOMENTS
            if np.isfinite(at[f"extra_{name}_{pair}"]).all()
        }
        if str(text).startswith("step"):
            row["gain"] = _signs(stored(at, "gain_network")) | {"far": float(at["far_network"].mean())}
            row["gain_exact"] = pooled(at, "gain_exact").as_numbers()
        found[str(text)] = row
    return found


def _signs(gains: Sequence[Estimate]) -> dict[str, float | int]:
    ends = [one.interval() for one in gains]
    return {
        "gaining": sum(low > 0 for low, _ in ends),
        "losing": sum(high < 0 for _, high in ends),
        "mean": float(np.mean([one.value for one in gains])),
    }
