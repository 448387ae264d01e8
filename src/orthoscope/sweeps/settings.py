"""What a study file may set: the settings of `simulate` by name, how each is read, and what it is if left out."""

from __future__ import annotations

from pathlib import Path

from orthoscope.sweeps.kinds import Key, Number, beside, one_of, rule, schedule, text, truth

_POSITIVE = Number(above=0)
_COUNT = Number(kind=int, least=1)


def theory_settings(folder: Path) -> dict[str, Key]:
    """The settings that theory knows; it starts at infinite noise, and has steps only if told how many."""
    return {
        "rate": Key(read=_POSITIVE),
        "classes": Key(read=Number(kind=int, least=2)),
        "dim": Key(read=_COUNT),
        "std": Key(read=_POSITIVE),
        "strength": Key(read=Number()),
        "schedule": Key(read=schedule(folder)),
        "ode": Key(read=truth, default=0),
        "t_max": Key(read=_POSITIVE),
        "start": Key(read=one_of("prior", "exact"), default="prior"),
        "ensemble": Key(read=one_of("gaussian", "sphere"), default="gaussian"),
        "steps": Key(read=_COUNT),
    }


def settings(folder: Path) -> dict[str, Key]:
    """All settings, as a simulation has them, for a study file in this folder."""
    return theory_settings(folder) | {
        "t_max": Key(read=_POSITIVE, default=50.0),
        "planted": Key(read=truth, default=0),
        "modes": Key(read=beside(folder, ".npy"), default="memory"),
        "rule": Key(read=rule(folder)),
        "samples": Key(read=Number(kind=int, least=8), default=512),
        "draws": Key(read=_COUNT, default=4),
        "steps": Key(read=_COUNT, default=30),
        "grid": Key(read=one_of("refined", "geometric", "equalized"), default="refined"),
        "order": Key(read=Number(kind=int, least=1, most=2), default=2),
        "estimator": Key(read=one_of("plain", "completed", "controlled"), default="plain"),
        "tolerance": Key(read=Number(least=0), default=0.0),
        "dtype": Key(read=one_of("float32", "float64"), default="float32"),
        "device": Key(read=text, default="cpu"),
    }
