"""One host examined: its pair at every level, its posterior, its threshold, and the diversity strengths leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orthoscope import metrics
from orthoscope.calibration.host_paths import has_paths, host_paths
from orthoscope.calibration.levels import (
    Sampling,
    commitment,
    levels_to_come,
    pair_profile,
    path_profile,
    prompt_profile,
)
from orthoscope.calibration.plan import Calibration
from orthoscope.calibration.proposals import SHARES
from orthoscope.calibration.record import Record, Recorder
from orthoscope.calibration.threshold import threshold
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
    """

    variables: Mapping[str, tuple[Sequence[str], Any]]
    prompt_information: Any
    scalars: Mapping[str, Estimate]
    times: Mapping[str, float]
    ratios: Sequence[metrics.Measure]
    passes: int
    over: str


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
    plain, *runs = (recorder.record(strength) for strength in (0.0, *calibration.strengths))
    is_draw = host.kind == "text" and len(prompts) >= _MANY_PROMPTS
    sampling = Sampling(over="prompts" if is_draw else "images", seed=calibration.seed)
    variables = {"time": (["level"], plain.time)} | pair_profile(plain, sampling) | commitment(runs[-1], sampling)
    told = {
        strength: (1 + 2 * strength) * class_information(run.time, run.squares.mean(0))
        for strength, run in ((0.0, plain), (calibration.strengths[-1], runs[-1]))
    }
    paths = host_paths(host, plain.time, told, calibration, advance)
    if paths:
        variables |= path_profile(paths[0], paths[1], sampling)
    information = Estimate(
        value=float(variables["class_information"][1][-1]),
        stderr=float(variables["class_information_stderr"][1][-1]),
        n=len(plain.groups),
    )
    base = _variance(plain)
    return Examined(
        variables=variables,
        prompt_information=prompt_profile(plain),
        scalars={"information": information} | threshold(plain, information, host.classes if paths else None, sampling),
        times=_times({name: values for name, (_, values) in variables.items()}, list(told.values()), calibration),
        ratios=[sampling.measured(_variance(run).per(base), "ratio", k) for k, run in enumerate(runs)],
        passes=plain.passes + sum(run.passes for run in runs),
        over=sampling.over,
    )


def _times(one: Mapping[str, Any], told: Sequence[Any], calibration: Calibration) -> dict[str, float]:
    """When shares are to come, by the posterior where classes are enumerable: it cannot tell more than there is."""
    if "path_time" in one:
        time, told = one["path_time"], [one["posterior_information"], one["asked_information"]]
    else:
        time = one["time"]
    shares = SHARES | {"high": calibration.high, "low": calibration.low}
    return levels_to_come(time, told[0], {"half_told": 0.5}) | levels_to_come(time, told[1], shares)


def _variance(record: Record) -> metrics.Contributions:
    return metrics.variance_within(record.states, record.groups)


def parts_of(host: Host, prompts: int, calibration: Calibration) -> int:
    """How often `examine` advances."""
    return prompts * (1 + len(calibration.strengths)) + (2 * calibration.path_steps if has_paths(host) else 0)
