"""One host examined: its pair at every level, its posterior, its threshold, and the diversity strengths leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from orthoscope import metrics
from orthoscope.calibration.advice import advice, ignorance_range, steps_between
from orthoscope.calibration.foretold import Foretold, Pairs, foretell, noise_content
from orthoscope.calibration.host_paths import Followed, follow, has_paths, steps_of
from orthoscope.calibration.knowledge import Knowledge, know
from orthoscope.calibration.levels import (
    Sampling,
    commitment,
    knowledge_profile,
    levels_to_come,
    pair_profile,
    path_profile,
    prompt_profile,
)
from orthoscope.calibration.moments import variance_of
from orthoscope.calibration.plan import Calibration
from orthoscope.calibration.prompt_paths import follow_prompts, runs_of
from orthoscope.calibration.proposals import SHARES
from orthoscope.calibration.record import Record, Recorder
from orthoscope.calibration.threshold import Spectra, threshold
from orthoscope.numerics import Array
from orthoscope.progress import Remark
from orthoscope.quantities import Estimate
from orthoscope.theory.information import class_information

if TYPE_CHECKING:
    from orthoscope.integrations.host import Host

_MANY_PROMPTS = 10  # from here on texts count as a draw from all texts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examined:
    """What was found at one host.

    Attributes:
        variables: Dimensions and values by name, over levels.
        prompt_information: Information about every prompt at every level, nats.
        scalars: Estimates by name.
        times: Variance times at which shares of the commitment are still to come: half at strength 0 as "half_told",
            the others at the user's.
        ratios: Variance ratio at every strength.
        passes: Predictions computed by the pipeline.
        over: What counts as a random draw.
        levels: Variance times of the steps, descending.
        known: What the unconditional branch knows; None where the classes cannot be asked for.
        foretold: What constant strengths are expected to cost, where both predictions could be heard.
    """

    variables: Mapping[str, tuple[Sequence[str], Any]]
    prompt_information: Any
    scalars: Mapping[str, Estimate]
    times: Mapping[str, float]
    ratios: Sequence[metrics.Measure]
    passes: int
    over: str
    levels: Array
    known: Known | None
    foretold: Foretold | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the unconditional branch knows, and what follows for a user.

    Attributes:
        found: Measured.
        foretold: What constant strengths are expected to cost.
        steps: In which steps guidance acts by ignorance alone, in words; "" if in none.
        advice: Whether waiting, ending and turning should help.
        asked: Predictions asked for along paths and for images.
    """

    found: Knowledge
    foretold: Foretold
    steps: str
    advice: tuple[str, ...]
    asked: int


def examine(
    host: Host, prompts: Sequence[str], calibration: Calibration, advance: Callable[[], None], remark: Remark
) -> Examined:
    """Run it at strength 0 and at the user's, and follow paths of both where its classes are few.

    Raises:
        ConfigError: if the host cannot be asked for this.
        StoppedError: if numbers are not finite.
    """
    recorder = Recorder(
        host=host,
        prompts=prompts,
        images=calibration.images_per_prompt,
        steps=calibration.steps,
        seed=calibration.seed,
        advance=advance,
        remark=remark,
    )
    plain = recorder.record(0.0, hear=not (calibration.exhaustive or has_paths(host)))
    runs = [recorder.record(strength) for strength in calibration.strengths]
    is_draw = host.kind == "text" and len(prompts) >= _MANY_PROMPTS
    sampling = Sampling(over="prompts" if is_draw else "images", seed=calibration.seed)
    variables = {"time": (["level"], plain.time)} | pair_profile(plain, sampling) | commitment(runs[-1], sampling)
    told = {
        strength: (1 + 2 * strength) * class_information(run.time, run.squares.mean(0))
        for strength, run in ((0.0, plain), (calibration.strengths[-1], runs[-1]))
    }
    if calibration.exhaustive:
        followed: Followed | None = follow_prompts(host, prompts, plain, calibration, advance)
    else:
        followed = follow(host, plain.time, told, calibration, advance)
    information = Estimate(
        value=float(variables["class_information"][1][-1]),
        stderr=float(variables["class_information_stderr"][1][-1]),
        n=len(plain.groups),
    )
    images, labels, means, known = plain.states.astype(np.float64), plain.groups, None, None
    if followed:
        known = _known(followed, host, plain, calibration)
        variables |= path_profile(followed.paths, sampling) | knowledge_profile(known.found)
        images, labels, means = followed.images, followed.labels, followed.means
    base = _variance(plain)
    foretold = known.foretold if known else foretold_by(plain, host, calibration)
    return Examined(
        variables=variables,
        prompt_information=prompt_profile(plain),
        scalars={"information": information}
        | threshold(images, labels, means, information, len(means) if means is not None else None),
        times=_times({name: values for name, (_, values) in variables.items()}, list(told.values()), calibration),
        ratios=[sampling.measured(_variance(run).per(base), "ratio", k) for k, run in enumerate(runs)],
        passes=plain.passes + sum(run.passes for run in runs),
        over=sampling.over,
        levels=plain.time,
        known=known,
        foretold=foretold,
    )


def _known(followed: Followed, host: Host, plain: Record, calibration: Calibration) -> Known:
    """What is read off the paths of strength 0."""
    paths = followed.paths[0]
    found = know(paths.answers, float(paths.time[-1]), followed.images)
    within = variance_of(Spectra.of(followed.images, followed.labels, followed.means).within)
    lam = noise_content(host.pipe.scheduler)
    means = followed.means
    pairs = Pairs.of(paths.answers, means[paths.labels], means.mean(0))
    foretold = foretell(pairs, within, calibration.strengths, lam)
    ends = ignorance_range(found)
    steps = steps_between(plain.time, *ends) if ends else None
    told = advice(found.learned, found.disagreement, found.left, steps)
    return Known(found=found, foretold=foretold, steps=steps or "", advice=told, asked=followed.asked)


def foretold_by(plain: Record, host: Host, calibration: Calibration) -> Foretold | None:
    """What is read off the run at strength 0 itself, where no paths are followed."""
    if plain.products is None:
        return None
    pairs = Pairs(time=plain.time, products=plain.products)
    within = _variance(plain).value / plain.states.shape[1]
    return foretell(pairs, within, calibration.strengths, noise_content(host.pipe.scheduler))


def inquire(host: Host, prompts: Sequence[str], calibration: Calibration) -> Known | None:
    """What the unconditional branch knows and nothing else, asked at strength 0; None where it cannot be asked.

    Args:
        host: The pipeline.
        prompts: Those whose predictions say at which levels classes are decided.
        calibration: Images of each, number of paths and of steps, and the root seed.

    Raises:
        ConfigError: if classes compete nowhere, or the host cannot be asked for this.
        StoppedError: if numbers are not finite.
    """
    plain = Recorder(
        host=host, prompts=prompts, images=calibration.images_per_prompt, steps=calibration.steps,
        seed=calibration.seed, advance=lambda: None, remark=lambda text: None,
    ).record(0.0)  # fmt: skip
    told = {0.0: class_information(plain.time, plain.squares.mean(0))}
    followed = follow(host, plain.time, told, calibration, lambda: None)
    if followed is None:
        return None
    known = _known(followed, host, plain, calibration)
    return replace(known, asked=known.asked + plain.passes)


def _times(one: Mapping[str, Any], told: Sequence[Any], calibration: Calibration) -> dict[str, float]:
    """When shares are to come, by the posterior where classes are enumerable: it cannot tell more than there is."""
    plain = guided = one["time"]
    if "posterior_information" in one:
        plain, told = one["path_time"], [one["posterior_information"], told[1]]
    if "asked_information" in one:
        guided, told = one["path_time"], [told[0], one["asked_information"]]
    shares = SHARES | {"high": calibration.high, "low": calibration.low}
    return levels_to_come(plain, told[0], {"half_told": 0.5}) | levels_to_come(guided, told[1], shares)


def _variance(record: Record) -> metrics.Contributions:
    return metrics.variance_within(record.states, record.groups)


def parts_of(host: Host, prompts: int, calibration: Calibration) -> int:
    """How often `examine` advances."""
    along = runs_of(prompts, calibration) if calibration.exhaustive else steps_of(host, calibration)
    return prompts * (1 + len(calibration.strengths)) + along
