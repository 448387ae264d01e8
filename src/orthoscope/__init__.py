"""Orthoscope: measure, explain and remove the distortions of classifier-free guidance.

Public names are loaded on first use, so that importing the package, or asking the theory, does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orthoscope.denoise import Denoiser, Exact, Fixed
    from orthoscope.guidance.grammar import format_schedule, parse_schedule, read_schedule, write_schedule
    from orthoscope.guidance.guided import Guided, classifier_free
    from orthoscope.guidance.rules import LinearCFG, Rule
    from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Interval, Linear, Step, Tabulated
    from orthoscope.process import EDM, NoiseLevel, OrnsteinUhlenbeck, Process, RectifiedFlow, VarianceExploding
    from orthoscope.quantities import Estimate
    from orthoscope.sample import BrownianPath, Exponential, Independent, trajectory
    from orthoscope.study.simulate import Simulation, simulate
    from orthoscope.targets import Gaussian, Mixture, Pair, Planted, Target, empirical_mixture, mixture, random_mixture
    from orthoscope.theory import Prediction, Setting, predict

__version__ = "0.1.0"

_HOMES = {
    "denoise": ["Denoiser", "Exact", "Fixed"],
    "guidance.grammar": ["format_schedule", "parse_schedule", "read_schedule", "write_schedule"],
    "guidance.guided": ["Guided", "classifier_free"],
    "guidance.rules": ["LinearCFG", "Rule"],
    "guidance.schedules": ["Constant", "GuidanceSchedule", "Interval", "Linear", "Step", "Tabulated"],
    "process": ["EDM", "NoiseLevel", "OrnsteinUhlenbeck", "Process", "RectifiedFlow", "VarianceExploding"],
    "quantities": ["Estimate"],
    "sample": ["BrownianPath", "Exponential", "Independent", "trajectory"],
    "study.simulate": ["Simulation", "simulate"],
    "targets": [
        "Gaussian",
        "Mixture",
        "Pair",
        "Planted",
        "Target",
        "empirical_mixture",
        "mixture",
        "random_mixture",
    ],
    "theory": ["Prediction", "Setting", "predict"],
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
