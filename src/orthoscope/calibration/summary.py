"""What a calibration found, in a few numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from orthoscope.calibration.threshold import MEASURED, PREDICTED
from orthoscope.datasets import stored

_TOO_MANY = 50.0  # nats: of so many classes no data set has ever been made


def summarize(result: xr.Dataset) -> dict[str, Any]:
    """What a calibration found, in a few numbers, for JSON."""
    return {
        "model": result.attrs["model"],
        "scheduler": result.attrs["scheduler"],
        "steps": int(result.attrs["steps"]),
        "prompts": result.sizes["prompt"],
        "profile": result.attrs["profile"],
        **dict.fromkeys(("pipeline", "twin")),
        **{str(source): _source(result.sel(source=source)) for source in result["source"].values},
        "bound": _bound(result),
        "advice": _texts(result, "advice"),
        "asked": int(result.attrs.get("asked", 0)),
        "proposals": _texts(result, "proposals"),
        "proposals_in_words": _texts(result, "proposal_words"),
    }


def _texts(result: xr.Dataset, name: str) -> list[str]:
    return [str(text) for text in np.atleast_1d(result.attrs.get(name, []))]


def _bound(result: xr.Dataset) -> dict[str, Any] | None:
    """How much the unconditional branch errs at least on images of one's own; None without."""
    if "nats_bound" not in result:
        return None
    nats = stored(result, "nats_bound")[0]
    low, _ = nats.interval()
    levels = zip(result["own_time"].values, stored(result, "excess_bound"), strict=True)
    at = [{"time": float(time), **found.as_numbers()} for time, found in levels]
    return {"nats": nats.as_numbers(), "least": low, "images": nats.n, "levels": at}


def _knowledge(one: xr.Dataset) -> dict[str, Any]:
    """What the unconditional branch knows; null where a class is never decided, or no step is its own doing."""
    nats = {"claimed": "decided_nats", "exact": "decided_nats_exact"}
    compete = one.sel(answer_level=one["competing"].values.astype(bool))
    levels = zip(compete["answer_time"].values, stored(compete, "learned_level"), strict=True)
    return {
        "learned_fraction": stored(one, "learned_fraction")[0].as_numbers(),
        "levels": [{"time": float(time), **found.as_numbers()} for time, found in levels],
        "after_decision": {
            short: stored(one, name)[0].as_numbers() if np.isfinite(one[name]) else None for short, name in nats.items()
        },
        "by_ignorance": str(one["ignorance_steps"].values) or None,
    }


def _source(one: xr.Dataset) -> dict[str, Any]:
    shown: dict[str, Any] = {name: stored(one, name)[0].as_numbers() for name in MEASURED}
    told = float(one["information"])
    shown["effective_classes"] = math.exp(told) if told < _TOO_MANY else None
    if "posterior_information" in one:
        last = one.isel(path_level=-1)
        names = {"posterior": "posterior_information", "pair": "path_information", "excess": "excess_information"}
        shown["paths"] = {short: stored(last, name)[0].as_numbers() for short, name in names.items()}
    if "learned_fraction" in one:
        shown["knowledge"] = _knowledge(one)
    if "affine_share" in one:
        strengths = zip(one["strength"].values, one["variance_ratio_foretold"].values, strict=True)
        ratios = {f"strength {strength:g}": float(ratio) for strength, ratio in strengths}
        shown["foretold"] = {"variance_ratio": ratios, "affine_share": float(one["affine_share"])}
    shown["side"] = str(one["side"].values)
    shown["predicted"] = {name: float(one[name]) for name in PREDICTED}
    shown["half_told"] = float(one["half_told"])
    shown["strength"] = float(one["strength"][-1])
    shown["range"] = {"high": float(one["range_high"]), "low": float(one["range_low"])}
    shown["to_come"] = {f"{share} %": float(one[f"time_{share}_to_come"]) for share in (75, 50, 25)}
    shown["variance_ratio"] = {
        f"strength {strength:g}": {
            "value": float(row["variance_ratio"]),
            "low": float(row["variance_ratio_low"]),
            "high": float(row["variance_ratio_high"]),
        }
        for strength in one["strength"].values
        for row in [one.sel(strength=strength)]
    }
    return shown
