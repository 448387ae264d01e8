"""Environments and training of policies; what they learn is a rule that gives the same numbers without them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3")

from gymnasium.utils.env_checker import check_env

from orthoscope.control import Case, Descent, Family
from orthoscope.control.environment import GuidanceEnv
from orthoscope.control.folder import train_into
from orthoscope.control.training import Reinforcement
from orthoscope.errors import ConfigError, DivergenceError
from orthoscope.guidance.rules import LinearCFG, Policy, read_policy
from orthoscope.guidance.rules.policy import answer
from orthoscope.targets import mixture

SMALL = Family(dims=(3,), classes=(4,), stds=(0.6,), modes=(2,), learned=(0.5, 1.0))
TINY = Reinforcement(family=SMALL, episodes=2, parts=2, samples=8, steps=4, width=4)


def case(seed: int) -> Case:
    return SMALL.draw(np.random.default_rng(seed))


def test_gymnasium_finds_nothing_wrong() -> None:
    environment = GuidanceEnv(SMALL, samples=8, steps=3)
    check_env(environment, skip_render_check=True)
    first, again = (environment.reset(seed=5)[0] for _ in range(2))
    assert np.array_equal(first, again)


@pytest.mark.parametrize("seed", [3, 4])
def test_an_episode_is_the_run_of_the_policy_without_the_environment(seed: int) -> None:
    names = ("progress", "slope", "ratio", "mean_pair", "mean_log_odds", "preference")
    layer = (tuple(np.linspace(-0.7, 0.9, len(names)).tolist()),), (0.1,)
    policy = Policy(observes=names, layers=(layer,), preference=0.3)
    here = case(seed)
    environment = GuidanceEnv(here, samples=16, steps=6, observes=names)
    seen, _ = environment.reset(seed=seed, options={"preference": 0.3})
    weights = [(torch.tensor(layer[0]), torch.tensor(layer[1]))]
    over, told = False, {}
    while not over:
        action = answer(weights, torch.from_numpy(seen)[None]).numpy()
        seen, reward, over, _, told = environment.step(action)
    stream = np.random.default_rng(np.random.PCG64(np.random.SeedSequence(seed)))
    stream.random()
    run = here.run(policy, most=5.0, samples=16, steps=6, seed=int(stream.integers(2**31)))
    for name, value in here.worth(run.run().x).items():
        assert told[name] == pytest.approx(float(value), rel=2e-4)
    assert reward == pytest.approx(0.7 * told["adherence"] - 0.3 * told["distortion"])
    linear = here.worth(run.but(rule=LinearCFG()).run().x)
    assert abs(float(linear["variance_ratio"]) - told["variance_ratio"]) > 0.01  # the policy does something


def test_a_class_that_cannot_be_reached_is_refused() -> None:
    twice = mixture(torch.zeros(2, 2), std=0.5, labels=torch.tensor([0, 1]))
    with pytest.raises(ConfigError, match="class 0 cannot be reached: the posterior of its own exact samples"):
        Case(target=twice)
    with pytest.raises(ConfigError, match="cannot be reached"):
        Case(target=mixture(torch.zeros(2, 2), std=0.5, labels=torch.tensor([0, 0])))


@pytest.mark.usefixtures("unchecked")
def test_environments_and_families_explain_themselves() -> None:
    with pytest.raises(ConfigError, match=r"sees its batch by progress, .* got log_odds"):
        GuidanceEnv(SMALL, observes=("progress", "log_odds"))
    with pytest.raises(ConfigError, match="`least` < `most`"):
        GuidanceEnv(SMALL, most=-2.0)
    with pytest.raises(ConfigError, match="`classes` must be at least 2"):
        Family(classes=(1,))
    environment = GuidanceEnv(SMALL, samples=8, steps=3)
    environment.reset(seed=0)
    with pytest.raises(DivergenceError, match="not finite at step 0"):
        environment.step(np.array([np.nan], dtype=np.float32))


def test_training_goes_on_where_it_was_stopped_and_the_file_says_the_same(tmp_path: Path) -> None:
    whole, curve = TINY.train()
    file = tmp_path / "checkpoint.safetensors"
    replace(TINY, parts=1).train(file)
    resumed, again = TINY.train(file, resume=True)
    assert resumed == whole
    assert [one["reward"] for one in again] == [one["reward"] for one in curve]
    with pytest.raises(ConfigError, match="another training: seed changed"):
        replace(TINY, seed=1).train(file, resume=True)
    file.write_bytes(b"no")
    with pytest.raises(ConfigError, match=r"cannot read .*expected safetensors"):
        TINY.train(file, resume=True)
    fields = {"parts": 1, "episodes": 1, "samples": 8, "steps": 3}
    told = train_into(tmp_path / "run", fields)
    assert told["bytes"] < 4096
    assert read_policy(told["policy"]).observes == TINY.observes
    assert len(json.loads((tmp_path / "run" / "curve.json").read_text())["curve"]) == 1


def test_gradients_reach_the_policy_through_the_sampler() -> None:
    here = Case(target=mixture(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), std=1.0, labels=torch.tensor([0, 1])))
    settings = {"updates": 15, "samples": 32, "steps": 5, "observes": ("progress",), "learning_rate": 0.1}
    _, rewards = Descent(family=here, preference=1.0, **settings).train()
    # Only the truth counts, and it starts at strengths in the middle: the less guidance the better.
    assert rewards[0] < -0.05
    assert np.mean(rewards[-3:]) > np.mean(rewards[:3]) / 2
