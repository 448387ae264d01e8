"""Training of a policy by PPO (stable-baselines3): in parts, each of which is the same wherever it is gone on from.

Every part seeds what it draws from by its number, and ends with its episodes. What is kept between them is weights and
the optimizer's state as safetensors, never a pickle.
"""

from __future__ import annotations

import random  # noqa: TID251 - stable-baselines3 draws from it: it is seeded and put back
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from stable_baselines3 import PPO
from torch import Tensor, nn

from orthoscope import rng, writing
from orthoscope.checks import real, whole
from orthoscope.control.environment import OBSERVES, GuidanceEnv
from orthoscope.control.family import Family
from orthoscope.errors import ConfigError
from orthoscope.guidance.rules.policy import Policy, as_layers
from orthoscope.progress import Progress
from orthoscope.reading import read_tensors
from orthoscope.serialize import dumps, plain
from orthoscope.threads import one_thread

_KEY = "orthoscope"
_SEEDS = 2**31
_PASSES, _BATCH = 8, 128  # over the data of a part, and its pieces
_DISCOUNT, _BLEND, _SPREAD = 1.0, 0.95, -0.5  # rewards come at the end; how wide actions are tried at first


@dataclass(frozen=True, slots=True, kw_only=True)
class Reinforcement:
    """Training by reinforcement.

    Attributes:
        family: Where laws are drawn from.
        observes: What the policy sees.
        width: Units of its hidden layer.
        samples: Rows of a batch.
        steps: Steps of a run.
        most: Largest strength.
        least: Smallest strength.
        episodes: Runs in a part, which is one update by PPO.
        parts: Parts.
        learning_rate: Of Adam.
        seed: Root seed.
    """

    family: Family = field(default_factory=Family)
    observes: tuple[str, ...] = OBSERVES
    width: int = 16
    samples: int = 64
    steps: int = 16
    most: float = 5.0
    least: float = -1.0
    episodes: int = 64
    parts: int = 60
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject what cannot be trained."""
        for name in ("width", "episodes", "parts"):
            object.__setattr__(self, name, whole(name, getattr(self, name), 1))
        if not real("learning_rate", self.learning_rate, finite=True) > 0:
            raise ConfigError(f"`learning_rate` must be > 0, got {self.learning_rate}", field="learning_rate")

    def environment(self) -> GuidanceEnv:
        """Where it is trained."""
        return GuidanceEnv(
            self.family, samples=self.samples, steps=self.steps, most=self.most, least=self.least,
            observes=self.observes,
        )  # fmt: skip

    def train(
        self, file: Path | None = None, *, resume: bool = False, progress: Progress | None = None
    ) -> tuple[Policy, list[dict[str, float]]]:
        """The policy and its curve: mean reward of the episodes of every part.

        Args:
            file: Checkpoint, written after every part.
            resume: Go on from it.
            progress: Called with parts done and parts in all.

        Raises:
            ConfigError: if the checkpoint is missing, damaged, or of another training.
        """
        with one_thread(), _seeded(rng.key(self.seed, "policy")):
            model = self._model()
            curve = _restore(model, self, file) if resume and file is not None else []
            for part in range(len(curve), self.parts):
                begin = time.perf_counter()
                with _seeded(rng.key(self.seed, "part", part)):
                    rewards = self._part(model, rng.key(self.seed, "episodes", part) % _SEEDS)
                curve.append(
                    {
                        "part": part + 1,
                        "episodes": (part + 1) * self.episodes,
                        "reward": float(rewards.mean()),
                        "stderr": float(rewards.std() / np.sqrt(len(rewards))),
                        "seconds": time.perf_counter() - begin,
                    }
                )
                if file is not None:
                    _keep(model, self, curve, file)
                if progress is not None:
                    progress(part + 1, self.parts)
        return self._policy(model), curve

    def _model(self) -> PPO:
        taken = self.episodes * self.steps
        return PPO(
            "MlpPolicy", self.environment(), n_steps=taken, batch_size=min(_BATCH, taken), n_epochs=_PASSES,
            gamma=_DISCOUNT, gae_lambda=_BLEND, learning_rate=self.learning_rate, device="cpu",
            policy_kwargs={
                "net_arch": {"pi": [self.width], "vf": [2 * self.width]},
                "activation_fn": nn.Tanh,
                "log_std_init": _SPREAD,
            },
        )  # fmt: skip

    def _part(self, model: PPO, seed: int) -> np.ndarray:
        """One update; the rewards of its episodes."""
        model._last_obs = None  # a part begins with a new episode
        assert model.env is not None
        model.env.seed(seed)
        model.learn(self.episodes * self.steps, reset_num_timesteps=False)
        return np.asarray(model.rollout_buffer.rewards).reshape(self.episodes, self.steps).sum(1)

    def _policy(self, model: PPO) -> Policy:
        network = [*model.policy.mlp_extractor.policy_net, model.policy.action_net]
        layers = [(layer.weight, layer.bias) for layer in network if isinstance(layer, nn.Linear)]
        return Policy(observes=self.observes, layers=as_layers(layers), least=self.least)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators, from which the library draws, and put their states back afterwards."""
    before, drawn = np.random.get_state(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed % 2**63)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002
            random.setstate(drawn)


def _tensors(model: PPO) -> dict[str, Tensor]:
    """Weights, and what the optimizer remembers of each."""
    found = {f"policy.{name}": value.detach().contiguous() for name, value in model.policy.state_dict().items()}
    for k, kept in model.policy.optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{k}.{name}": torch.as_tensor(value).contiguous() for name, value in kept.items()}
    return found


def _keep(model: PPO, training: Reinforcement, curve: list[dict[str, float]], file: Path) -> None:
    about = {"training": plain(training), "curve": curve}
    tensors = _tensors(model)
    writing.write(file, save(tensors, metadata={_KEY: dumps(about, indent=None)}))


def _restore(model: PPO, training: Reinforcement, file: Path) -> list[dict[str, float]]:
    """Go on from a checkpoint; its curve.

    Raises:
        ConfigError: if it is missing, damaged, or of another training.
    """
    if not file.is_file():
        raise ConfigError(f"no checkpoint {file}: nothing to resume; train without `resume`")
    about, _, tensors = read_tensors(file, _KEY, framework="pt")
    try:
        before, curve = dict(about["training"]), [dict(one) for one in about["curve"]]
        now = dict(plain(training))
        if changed := [name for name in now if name != "parts" and before.get(name) != now[name]]:
            raise ConfigError(
                f"{file} belongs to another training: {', '.join(changed)} changed; change back, or leave out `resume`"
            )
        own = {name[len("policy.") :]: value for name, value in tensors.items() if name.startswith("policy.")}
        model.policy.load_state_dict(own)
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, k, key = name.split(".")
                state.setdefault(int(k), {})[key] = value
        groups = model.policy.optimizer.state_dict()["param_groups"]
        model.policy.optimizer.load_state_dict({"state": state, "param_groups": groups})
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{file} is not a readable checkpoint; train again without `resume`") from error
    return curve
