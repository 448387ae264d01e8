"""A pipeline opened, guided, audited, calibrated and forecast from Python; what ships stands in for any.

pipe = pipeline("digits")
report = audit(pipe, ["3", "5"], schedules=[3, "step:early=3,late=-1,switch=60%"])
with guided(pipe, report.advice["schedule"] or 3) as log:
pipe([3, 5], guidance_scale=2)
"""

from __future__ import annotations

import weakref
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from orthoscope.calls import verb
from orthoscope.errors import ConfigError
from orthoscope.integrations.diffusers import guided as guided
from orthoscope.integrations.source import Source
from orthoscope.progress import LOG, Remark, Tracker
from orthoscope.report.bars import shown

if TYPE_CHECKING:
    from orthoscope.face.reports import AuditReport, CalibrationReport, ForecastReport


@verb
def pipeline(model: Any = None, **how: Any) -> Any:
    """A pipeline of diffusers.

    Args:
        model: Folder of a pipeline, or the name of a repository of the hub; None or "digits" for the small model of
            handwritten digits that ships with the package.
        **how: `scheduler`, `device`, `dtype` and `allow_pickle`, as fields of `Source`.

    Raises:
        ConfigError: if it cannot be had, is not known here, or would need code or pickles of the repository.
    """
    return Source.of(model, **how).pipe()


def _listener(settings: dict[str, Any]) -> Remark | None:
    """Who is told what a user should know, taken out of the settings; None for the log.

    Raises:
        ConfigError: if it cannot be called.
    """
    remark = settings.pop("remark", None)
    if not (remark is None or callable(remark)):
        raise ConfigError(f"`remark` is a function that is told a text, got {type(remark).__name__}", field="remark")
    return remark


@verb
def audit(
    pipe: Any = None,
    prompts: Any = None,
    *,
    schedules: Any = None,
    out: Path | str | None = None,
    progress: Tracker | bool | None = None,
    **settings: Any,
) -> AuditReport:
    """Diversity and adherence of a pipeline's images under guidance schedules, and which schedule to use.

    Args:
        pipe: A pipeline that is loaded, a folder or hub id, or None or "digits" for the model that ships.
        prompts: Texts, or numbers of classes; None for all classes, where they are few.
        schedules: Numbers (constant strengths), texts, files or schedules; None for the usual ones.
        out: Folder where finished images are kept, so that the same call goes on where it was stopped; None for one
            that lasts as long as the report.
        progress: A function of images done, images in all as far as known, and "images"; True or False for a bar or
            none.
        **settings: The options of `orthoscope audit` by name, such as `images_per_prompt`, `rule`, `current`, `steps`,
            `features`, `search`, `quick`, `seed` or `workers`; and `remark`, told what a user should know as it comes.

    Raises:
        ConfigError: if something cannot be used, or does not fit the pipeline.
        StoppedError: if images without guidance are not finite, not one fits into memory, or the cluster is lost.
    """
    from orthoscope.face.asked import audit_job
    from orthoscope.face.reports import AuditReport

    remarks: list[str] = []

    def noted(text: str) -> None:
        remarks.append(text)
        LOG.warning(text)

    remark = _listener(settings) or noted
    job = audit_job(pipe, prompts, settings | {"schedules": schedules})
    if out is not None:
        with shown("images", progress) as tell:
            return AuditReport(job.run(Path(out), progress=tell, remark=remark), Path(out), remarks)
    folder = TemporaryDirectory(prefix="orthoscope-", ignore_cleanup_errors=True)
    try:
        made = Path(folder.name)
        with shown("images", progress) as tell:
            report = AuditReport(job.run(made, progress=tell, remark=remark), made, remarks)
    except BaseException:
        folder.cleanup()
        raise
    weakref.finalize(report, folder.cleanup)
    return report


@verb
def calibrate(
    pipe: Any = None, prompts: Any = None, *, progress: Tracker | bool | None = None, **settings: Any
) -> CalibrationReport:
    """At which noise levels a pipeline tells its classes apart, and windows of guidance worth an audit.

    Args:
        pipe: A pipeline that is loaded, a folder or hub id, or None or "digits" for the model that ships.
        prompts: Texts, or numbers of classes; None for all classes, where they are few.
        progress: A function of parts done, parts in all and what is done; True or False for a bar or none.
        **settings: The options of `orthoscope calibrate` by name, such as `strengths`, `images_per_prompt`, `steps`,
            `data` or `seed`; and `remark`, told what a user should know.

    Raises:
        ConfigError: if something cannot be used, or does not fit the pipeline.
        StoppedError: if the pipeline makes numbers that are not finite.
    """
    from orthoscope.calibration import calibrate as run
    from orthoscope.face.asked import calibration_asked
    from orthoscope.face.reports import CalibrationReport

    remark = _listener(settings)
    plan, source = calibration_asked(pipe, prompts, settings)
    with shown("calibrating", progress) as tell:
        return CalibrationReport(run(plan, source, progress=tell, remark=remark))


@verb
def forecast(
    pipe: Any = None,
    prompts: Any = None,
    *,
    schedules: Any = None,
    out: Path | str | None = None,
    progress: Tracker | bool | None = None,
    **settings: Any,
) -> ForecastReport:
    """Diversity and mean shift that any guidance schedule would give a pipeline, from three recorded runs of it.

    Args:
        pipe: A pipeline that is loaded, a folder or hub id, or None or "digits" for the model that ships.
        prompts: Texts, or numbers of classes; None for all classes, where they are few.
        schedules: Numbers (constant strengths), texts, files or schedules; None for thirty usual ones.
        out: Folder where recorded predictions are kept, so that other schedules need no further run.
        progress: A function of parts done, parts in all and what is done; True or False for a bar or none.
        **settings: The options of `orthoscope forecast` by name, such as `strength`, `images_per_prompt`, `rule`,
            `steps` or `seed`; and `remark`, told what a user should know.

    Raises:
        ConfigError: if something cannot be used, or does not fit the pipeline.
        StoppedError: if what the pipeline says is not finite, or not one image fits into memory.
    """
    from orthoscope.face.asked import forecast_asked
    from orthoscope.face.reports import ForecastReport
    from orthoscope.forecasts import forecast as run

    remark = _listener(settings)
    plan, source = forecast_asked(pipe, prompts, settings | {"schedules": schedules})
    with shown("forecasting", progress) as tell:
        return ForecastReport(run(plan, source, out=None if out is None else Path(out), progress=tell, remark=remark))
