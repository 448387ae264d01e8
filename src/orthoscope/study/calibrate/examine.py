"""One host examined: its pair at every level, its posterior, its threshold, and the diversity strengths leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orthoscope import metrics
from orthoscope.quantities import Estimate
from orthoscope.study.audit.plan import Remark
from orthoscope.study.calibrate.host_paths import has_paths, host_paths
from orthoscope.study.calibrate.levels import Sampling, levels_to_come, pair_profile, path_profile, prompt_profile
from orthoscope.study.calibrate.plan import Calibration
from orthoscope.study.calibrate.proposals import SHARES
from orthoscope.study.calibrate.record import Record, Recorder
from orthoscope.study.calibrate.threshold import threshold
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
        times: Variance times at which shares of the commitment are still to come.
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
    """Run it at strength 0 and at the user's, and follow paths where its classes are few.

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
    plain = recorder.record(0.0)
    is_draw = host.kind == "text" and len(prompts) >= _MANY_PROMPTS
    sampling = Sampling(over="prompts" if is_draw else "images", seed=calibration.seed)
    variables = {"time": (["level"], plain.time)} | pair_profile(plain, sampling)
    told = class_information(plain.time, plain.squares.mean(0))
    paths = host_paths(host, plain.time, told, calibration, advance)
    if paths is not None:
        variables |= {"path_time": (["path_level"], paths.time)} | path_profile(paths, sampling)
    information = Estimate(
        value=float(variables["class_information"][1][-1]),
        stderr=float(variables["class_information_stderr"][1][-1]),
        n=len(plain.groups),
    )
    times = levels_to_come(
        {name: values for name, (_, values) in variables.items()},
        SHARES | {"high": calibration.high, "low": calibration.low},
    )
    scalars = {"information": information} | threshold(
        plain, information, host.classes if paths is not None else None, sampling
    )
    base, runs = _variance(plain), [recorder.record(strength) for strength in calibration.strengths]
    ratios = [sampling.measured(_variance(run).per(base), "ratio", k) for k, run in enumerate(runs)]
    return Examined(
        variables=variables,
        prompt_information=prompt_profile(plain),
        scalars=scalars,
        times=times,
        ratios=ratios,
        passes=plain.passes + sum(run.passes for run in runs),
        over=sampling.over,
    )


def _variance(record: Record) -> metrics.Contributions:
    return metrics.variance_within(record.states, record.groups)


def parts_of(host: Host, prompts: int, calibration: Calibration) -> int:
    """How often `examine` advances."""
    return prompts * (1 + len(calibration.strengths)) + (calibration.path_steps if has_paths(host) else 0)
