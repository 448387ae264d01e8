"""What many networks say together: every one by itself, kinds pooled over seeds, and how well it was foreseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orthoscope.datasets import stored
from orthoscope.experiments.networks.branches import ERRORS
from orthoscope.experiments.networks.guided import MEASURES
from orthoscope.quantities import Estimate, pool

FloatArray = NDArray[np.float64]
FORESEEN = ("exact", "gaussian", "effective", "predicted")
IGNORANT, KNOWING = 0.5, 0.9  # learned fractions below and above which a branch is called so


def summarize(result: xr.Dataset) -> dict[str, Any]:
    """The JSON object of the study."""
    names = [str(name) for name in result["network"].values]
    return {
        "networks": {name: _network(result.sel(network=name)) for name in names},
        "kinds": kinds(result),
        "foreseen": {name: {of: foreseen(result, name, of) for of in FORESEEN} for name in MEASURES[:2]},
        "windows": windows(result),
    }


def _network(one: xr.Dataset) -> dict[str, Any]:
    schedules = [str(text) for text in one["schedule"].values]
    return {
        "learned_fraction": _number(one, "learned_fraction"),
        "slope": _number(one, "slope"),
        "excess": {
            name: {"mean": _number(one, f"excess_{name}_mean"), "level": one[f"excess_{name}"].values.tolist()}
            for name in ERRORS
        },
        "information": {
            name: _number(one, name)
            for name in ("information", "information_exact", "information_decided", "information_exact_decided")
        },
        "schedules": {
            text: _pair(one.sel(schedule=text), "network") | {"exact": _pair(one.sel(schedule=text), "exact")}
            for text in schedules
        },
        "predicted": {
            text: {name: float(one[f"{name}_predicted"].sel(schedule=text)) for name in MEASURES[:2]}
            for text in schedules
        },
    }


def _pair(one: xr.Dataset, pair: str) -> dict[str, Any]:
    return {name: _number(one, f"{name}_{pair}") for name in (*MEASURES, "gain")}


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
    schedules = [str(text) for text in result["schedule"].values]
    found: dict[str, dict[str, Any]] = {}
    for kind, rows in by_kind.items():
        some = result.isel(network=rows)
        own: dict[str, Any] = {
            name: pooled(some, name).as_numbers()
            for name in ("learned_fraction", "slope", "excess_cond_mean", "excess_uncond_mean")
        }
        own |= {name: float(some[name].mean()) for name in ("seconds", "loss") if name in some}
        for text in schedules:
            at = some.sel(schedule=text)
            own[text] = {
                f"{name}_{pair}": pooled(at, f"{name}_{pair}").as_numbers()
                for pair in ("network", "exact", "effective", "uncond", "cond", "posterior")
                for name in (*MEASURES, "gain")
                if np.isfinite(at[f"{name}_{pair}"]).all()
            }
        found[kind] = own
    return found


def pooled(some: xr.Dataset, name: str) -> Estimate:
    """One quantity over networks, with the larger of the errors between and within them."""
    return pool(stored(some, name))


def foreseen(result: xr.Dataset, name: str, by: str) -> dict[str, float]:
    """How far measured values of networks are from what was foreseen, over all networks and schedules.

    Args:
        result: The dataset of the study.
        name: The quantity.
        by: The exact score, one Gaussian as unconditional branch, the effective law sampled, or its moment equations.
    """
    measured = result[f"{name}_network"].values.ravel()
    told = result[f"{name}_{by}"].values.ravel()
    kept = np.isfinite(measured) & np.isfinite(told)
    measured, told = measured[kept], told[kept]
    spread = float(measured.var())
    return {
        "rms": float(np.sqrt(np.mean((measured - told) ** 2))),
        "explained": 1 - float(np.mean((measured - told) ** 2)) / spread,
        "rank_correlation": _rank_correlation(measured, told),
        "count": len(measured),
    }


def windows(result: xr.Dataset) -> dict[str, Any]:
    """Where schedules that end or turn gain on constants: among networks that are ignorant, and that know their classes.

    A gain or a loss counts where its 95 % interval has one sign.
    """
    learned = result["learned_fraction"].values
    groups = {"ignorant": learned < IGNORANT, "between": (learned >= IGNORANT) & (learned < KNOWING),
              "knowing": learned >= KNOWING}  # fmt: skip
    found: dict[str, Any] = {}
    for text in (str(text) for text in result["schedule"].values if str(text).startswith("step")):
        at = result.sel(schedule=text)
        found[text] = {
            group: _signs([one for one, is_in in zip(stored(at, "gain_network"), rows, strict=True) if is_in])
            for group, rows in groups.items()
        }
    return found


def _signs(gains: Sequence[Estimate]) -> Mapping[str, float | int | None]:
    ends = [one.interval() for one in gains]
    return {
        "networks": len(gains),
        "gain": sum(low > 0 for low, _ in ends),
        "lose": sum(high < 0 for _, high in ends),
        "mean": float(np.mean([one.value for one in gains])) if gains else None,
    }


def _rank_correlation(first: FloatArray, second: FloatArray) -> float:
    ranks = [np.argsort(np.argsort(values)) for values in (first, second)]
    return float(np.corrcoef(ranks)[0, 1])
