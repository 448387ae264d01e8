"""Hand-made results of an audit, in the shape that the real one has."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import xarray as xr

from orthoscope.rng import stream

ROLES = {
    "constant:0": "reference",
    "constant:1": "constant",
    "constant:3": "constant",
    "constant:1.72": "matched",
    "step:early=3,late=-1,switch=60%": "window",
    "step:early=6,late=-0.5,switch=40%": "searched",
    "linear:w0=-0.25,slope=0.05": "searched",
}
CURRENT, WINDOW = "constant:3", "step:early=3,late=-1,switch=60%"
POOLED = {
    "total_variance": 1.4, "variance_ratio": 0.9, "log_volume_ratio": -0.1, "participation_ratio": 14.0, "vendi": 9.0,
    "pairwise_distance": 1.6, "mean_shift": 0.1, "displacement": 0.02, "fisher_ratio": 1.3, "lda_accuracy": 0.97,
    "class_posterior": 0.98, "precision": 0.9, "recall": 0.7, "density": 1.1, "coverage": 0.8, "frechet_distance": 0.3,
}  # fmt: skip
COMPARED = ("gain", "equal_strength", "adherence_change", "diversity_change")
BY_PROMPT = ("total_variance", "variance_ratio", "participation_ratio", "vendi", "pairwise_distance", "class_posterior")
EVALUATIONS = 12


def audited(
    *,
    roles: dict[str, str] = ROLES,
    prompts: Sequence[str] = ("0", "1", "2"),
    side: int = 8,
    channels: int = 1,
    offset: float = 0.0,
    stopped: dict[str, str] | None = None,
    recommended: str | None = None,
) -> xr.Dataset:
    """One group of results: the same numbers every time, a little different for every schedule."""
    noise = stream(0, "audited", side, channels)
    count = len(roles)
    constant = np.array([not role.startswith(("window", "searched")) for role in roles.values()])
    step = np.linspace(0.0, 1.0, count)
    values = {name: center * (1 + 0.1 * noise.standard_normal(count)) for name, center in POOLED.items()}
    values["mean_shift"] = 0.15 * step + offset
    values["variance_ratio"] = 1.0 - 0.2 * step + 0.03 * ~constant + offset
    values["gain"] = np.where(constant, np.nan, 0.03)
    values["equal_strength"] = np.where(constant, np.nan, 1.72)
    values["adherence_change"], values["diversity_change"] = 0.002 * step, 0.05 * step
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    for name, value in values.items():
        error = 0.02 * np.abs(value) + 1e-3
        for suffix, shown in (("", value), ("_low", value - error), ("_high", value + error), ("_stderr", error / 2)):
            variables[name + suffix] = (("schedule",), shown)
    for name in BY_PROMPT:
        value = POOLED[name] * (1 + 0.05 * noise.standard_normal((count, len(prompts))))
        for suffix, shown in (("", value), ("_low", 0.9 * value), ("_high", 1.1 * value)):
            variables[f"by_prompt_{name}{suffix}"] = (("schedule", "prompt"), shown)
    variables |= _cost_and_log(roles)
    shown = min(len(prompts), 6)
    variables["image"] = (
        ("schedule", "shown_prompt", "shown", "row", "column", "channel"),
        noise.integers(0, 255, (count, shown, 6, side, side, channels), dtype=np.uint8),
    )
    text = "Use it: it keeps more variance." if recommended else "None does."
    return xr.Dataset(
        variables,
        coords={
            "schedule": list(roles), "role": ("schedule", list(roles.values())), "prompt": list(prompts),
            "evaluation": np.arange(EVALUATIONS), "shown_prompt": list(prompts[:shown]), "shown": np.arange(6),
        },
        attrs={
            "spec": "{}", "spec_hash": "0", "orthoscope": "0", "model": "digits", "family": "ClassPipeline",
            "scheduler": "DPMSolverMultistepScheduler", "steps": 12, "features": "latent", "images_per_prompt": 20,
            "current": CURRENT, "adherence": "class_posterior", "stopped": json.dumps(stopped or {}),
            "recommendation": json.dumps(
                {
                    "schedule": recommended, "text": text, "evidence": ["gain 0.03 [0.01, 0.05]"],
                    "apply": f'with guided(pipe, "{recommended}"):' if recommended else None,
                }
            ),
            "notes": json.dumps(["recall: too few images"]),
        },
    )  # fmt: skip


def _cost_and_log(roles: dict[str, str]) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Costs, and curves of windows that turn negative where the pair has long agreed."""
    count = len(roles)
    sigma = np.geomspace(80.0, 0.05, EVALUATIONS)
    strength = np.full((count, EVALUATIONS), 1.0)
    strength[[role in ("window", "searched") for role in roles.values()], EVALUATIONS // 2 :] = -1.0
    distance = np.tile(4.0 / (1.0 + (2.0 / sigma) ** 2), (count, 1))
    distance[[spec == "constant:0" for spec in roles]] = np.nan
    curves = {
        "strength": strength, "sigma": np.tile(sigma, (count, 1)), "time": np.tile(sigma**2, (count, 1)),
        "pair_distance": distance, "pair_cosine": 1 - distance / 8, "guided_norm": distance,
        "effective_scale": strength,
    }  # fmt: skip
    return {
        "network_calls": (("schedule",), np.full(count, 14400)),
        "seconds": (("schedule",), np.linspace(3.0, 6.0, count)),
        "memory": (("schedule",), np.full(count, 4e8)),
        **{f"log_{name}": (("schedule", "evaluation"), values) for name, values in curves.items()},
    }


def searched() -> xr.Dataset:
    """What a search leaves: candidates of three kinds, two of them chosen."""
    specs = [f"constant:{w}" for w in (0, 1, 3)] + [f"step:early={w},late=-1,switch=60%" for w in (2, 3, 4, 5)]
    kinds, count = ["constant"] * 3 + ["step"] * 4, len(specs)
    ramp = np.linspace(0, 1, count)
    return xr.Dataset(
        {
            "variance_ratio": ("candidate", 1 - 0.2 * ramp), "mean_shift": ("candidate", 0.2 * ramp),
            **{f"{name}_stderr": ("candidate", np.full(count, 0.01)) for name in ("variance_ratio", "mean_shift")},
            "gain": ("candidate", np.r_[[np.nan] * 3, 0.02 * ramp[3:]]), "adherence": ("candidate", 0.9 + 0.1 * ramp),
            "chosen": ("candidate", np.array([False] * 5 + [True] * 2)),
        },
        coords={"candidate": specs, "kind": ("candidate", kinds)},
    )  # fmt: skip
