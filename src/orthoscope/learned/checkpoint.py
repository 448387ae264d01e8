"""Training that stopped, on disk: one safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save

from orthoscope import writing
from orthoscope.errors import ConfigError
from orthoscope.learned.training import Log, Trainer
from orthoscope.reading import read_tensors
from orthoscope.serialize import dumps, from_dict, plain

_KEY = "orthoscope"


def write_checkpoint(trainer: Trainer, path: Path, *, of: Any = None) -> None:
    """Write where training stands.

    Args:
        trainer: The training.
        path: The file.
        of: What is trained, network and data, so that nothing else goes on from the file.

    Raises:
        ConfigError: if the file cannot be written.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in trainer.state().items()}
    about = {
        "training": trainer.training,
        "of": of,
        "done": trainer.done,
        "log": trainer.log,
        "seconds": trainer.seconds,
        "tensors": sorted(tensors),
    }
    writing.write(path, save(tensors, metadata={_KEY: dumps(about, indent=None)}))


def read_checkpoint(trainer: Trainer, path: Path, *, of: Any = None) -> None:
    """Go on from a checkpoint.

    Args:
        trainer: The training, at its start.
        path: The file.
        of: What is trained; not compared where it was not told when the file was written.

    Raises:
        ConfigError: if there is none, it is damaged, or it belongs to another training, network or law.
    """
    if not path.is_file():
        raise ConfigError(f"no checkpoint {path}: nothing to resume; train without `resume`")
    try:
        about, _, tensors = read_tensors(path, _KEY, framework="pt")
        log = [from_dict(entry, {"Log": Log}) for entry in about["log"]]
        before, done, named = dict(about["training"]), int(about["done"]), set(about["tensors"])
        was_of = dict(about.get("of") or {})
        seconds = float(about.get("seconds", 0.0))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ConfigError(f"{path} is not a readable checkpoint; train again without `resume`") from error
    _refuse_another(before, plain(trainer.training), path)
    if of is not None and was_of:
        _refuse_another(was_of, plain(of), path)
    if lost := sorted(named - tensors.keys()):
        raise ConfigError(f"{path} lacks {', '.join(lost[:6])} of its tensors; train again without `resume`")
    trainer.restore(tensors, done=done, log=log, seconds=seconds)


def _refuse_another(before: dict[str, Any], now: dict[str, Any], path: Path) -> None:
    changed = [
        f"{name} was {before.get(name)}, now {value}" for name, value in now.items() if before.get(name) != value
    ]
    if changed:
        raise ConfigError(
            f"{path} belongs to another training: {'; '.join(changed)}; change back, or leave out `resume`"
        )
