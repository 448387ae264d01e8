"""Every family of pipelines, against its loop written by hand and against its own guidance."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("diffusers")

from orthoscope.errors import ConfigError
from orthoscope.integrations.diffusers import guided
from tests.integrations.families import FAMILIES, STEPS, Family, is_same, reference, run, states, watched

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own

EARLY, LATE = 2.0, -1.5
MIXED = f"step:early={EARLY},late={LATE},switch=50%"

Case = tuple[Family, Any]


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest) -> Case:
    family = FAMILIES[request.param]
    return family, family.build()


def test_any_strength_at_any_step_is_the_loop_written_by_hand(case: Case) -> None:
    family, pipe = case
    with watched(family, pipe) as seen, guided(pipe, MIXED) as log:
        final = run(pipe, family)
    steps = STEPS - family.begin
    strengths = log.dataset["strength"].values.tolist()
    assert strengths == [EARLY] * (steps // 2) + [LATE] * (steps - steps // 2)
    found, expected = states(family, seen), reference(family, pipe, strengths, seen[0])
    assert len(found) == steps
    for state, wanted in zip(found, expected, strict=False):
        assert is_same(state, wanted)
    assert is_same(final, family.finish(pipe, expected[-1]))


def test_a_wrong_strength_is_not_the_loop_written_by_hand(case: Case) -> None:
    family, pipe = case
    with watched(family, pipe) as seen, guided(pipe, MIXED):
        run(pipe, family)
    steps = STEPS - family.begin
    wrong = reference(family, pipe, [EARLY + 1] * (steps // 2) + [LATE] * (steps - steps // 2), seen[0])
    assert not is_same(states(family, seen)[-1], wrong[-2])


def test_constant_strength_is_the_pipelines_own_guidance(case: Case) -> None:
    family, pipe = case
    with guided(pipe, "constant:1.5"):
        found = run(pipe, family)
    if family.own is None:  # its own guidance is renormalized
        assert not is_same(found, run(pipe, family))
    else:
        assert is_same(found, run(pipe, family, **family.own(2.5)))


def test_strength_zero_is_no_guidance(case: Case) -> None:
    family, pipe = case
    with guided(pipe, "constant:0"):
        found = run(pipe, family)
    assert is_same(found, run(pipe, family, **family.off))


@pytest.mark.parametrize("rule", ["rescale:phi=0", "power-law:alpha=0", "apg:eta=1,space=score"])
def test_a_rule_that_is_linear_here_is_linear_guidance_from_pure_noise_on(case: Case, rule: str) -> None:
    family, pipe = case
    with guided(pipe, MIXED) as linear:
        wanted = run(pipe, family)
    with guided(pipe, MIXED, rule) as bent:
        found = run(pipe, family)
    torch.testing.assert_close(*(torch.as_tensor(log.dataset["guided_norm"].values) for log in (bent, linear)))
    assert is_same(found, wanted)


def test_the_pipeline_is_as_before_afterwards(case: Case) -> None:
    family, pipe = case
    parts = [pipe.scheduler, *(getattr(pipe, name) for name in family.networks)]
    before = run(pipe, family)
    with guided(pipe, "constant:3"):
        assert not torch.equal(run(pipe, family), before)
    assert torch.equal(run(pipe, family), before)
    assert not any({"step", "set_timesteps", "cache_context", "forward"} & set(vars(part)) for part in parts)
    assert not any(part._forward_hooks for part in parts[1:])


def test_a_pipeline_that_makes_no_pair_is_told_how_to(case: Case) -> None:
    family, pipe = case
    remedy = next(iter(family.off))
    with guided(pipe, MIXED), pytest.raises(ConfigError, match=rf"made no pair .*{remedy} > 1"):
        run(pipe, family, **family.off)
