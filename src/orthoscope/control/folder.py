"""A training in a folder: its policy, its curve, its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orthoscope import writing
from orthoscope.errors import ConfigError
from orthoscope.guidance.rules.policy import Policy, read_policy, write_policy
from orthoscope.progress import Progress
from orthoscope.serialize import dumps

POLICY, CURVE, CHECKPOINT = "policy.safetensors", "curve.json", "checkpoint.safetensors"
FILES = (POLICY, CURVE, CHECKPOINT)
_SHIPPED = Path(__file__).with_name("controller.safetensors")


def train_into(
    out: Path, fields: Mapping[str, Any], *, resume: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Train a policy and write it down; what became of it.

    Args:
        out: The folder.
        fields: Those of a `Reinforcement`.
        resume: Go on from the checkpoint there.
        progress: Called with parts done and parts in all.

    Raises:
        ConfigError: if a setting or the checkpoint is unusable, or the extra `control` is not installed.
    """
    try:
        from orthoscope.control.training import Reinforcement
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"training needs {error.name}: install orthoscope[control]; a trained policy runs without"
        ) from error
    training = Reinforcement(**fields)
    policy, curve = training.train(out / CHECKPOINT, resume=resume, progress=progress)
    write_policy(policy, out / POLICY)
    writing.write(out / CURVE, dumps({"training": training, "curve": curve}) + "\n")
    last = {name: curve[-1][name] for name in ("episodes", "reward", "stderr")}
    seconds = sum(one["seconds"] for one in curve)
    return {
        **last, "reward_at_first": curve[0]["reward"], "seconds": seconds, "policy": str(out / POLICY),
        "bytes": (out / POLICY).stat().st_size, "folder": str(out),
    }  # fmt: skip


def shipped() -> Policy:
    """The policy that `orthoscope train controller` made and that ships with the package."""
    return read_policy(_SHIPPED)
