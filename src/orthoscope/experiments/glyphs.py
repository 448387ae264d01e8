"""Is it my model or is it guidance? Networks of few and many real classes beside what their data imply.

Every network is audited beside three exact counterparts, on the same seeds: its data as modes, as Gaussian classes, and
as Gaussian classes against one Gaussian, an unconditional branch that does not know its classes. Schedules are compared
at equal mean shift, and with the distance from the class beside the variance: what strays far is no diversity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr

from orthoscope.audits.plan import Audit
from orthoscope.audits.run import Session
from orthoscope.audits.studio import Studio
from orthoscope.audits.yardstick import Yardstick
from orthoscope.checks import whole
from orthoscope.datasets import dataset, grid
from orthoscope.errors import unknown
from orthoscope.guidance.grammar import format_schedule, parse_schedule
from orthoscope.integrations.features import LatentFeatures
from orthoscope.integrations.judge import ShippedJudge
from orthoscope.integrations.shipped import MODELS
from orthoscope.integrations.source import Source
from orthoscope.integrations.twin import LAWS, twin_of
from orthoscope.sweeps.points import HERE, Points

NETWORK = "network"
SOURCES = (NETWORK, *LAWS)
SCHEDULES = tuple(
    parse_schedule(text)
    for text in (
        "0", "1", "3", "step:early=0,late=3,switch=50%", "step:early=3,late=0,switch=50%",
        "step:early=3,late=-1,switch=60%", "step:early=3,late=-1,switch=80%",
    )
)  # fmt: skip
MEASURES = (
    "variance_ratio", "mean_shift", "gain", "class_posterior", "class_distance", "distance_gain", "novelty", "far_share",
)  # fmt: skip
_ENDS = ("", "_stderr", "_low", "_high")


@dataclass(frozen=True, slots=True, kw_only=True)
class GlyphStudy:
    """Audits of the models that ship, beside their exact counterparts.

    Attributes:
        models: Which of them.
        classes: Classes of each that are asked for at most, spread evenly.
        images: Images of each class under every schedule.
        steps: Steps of the scheduler.
        seed: Root seed.
    """

    name: str = field(default="glyphs", init=False)
    models: tuple[str, ...] = tuple(MODELS)
    classes: int = 20
    images: int = 16
    steps: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject studies of nothing."""
        for model in self.models:
            if model not in MODELS:
                raise unknown("model", model, MODELS, field="models")
        for name, least in {"classes": 2, "images": 4, "steps": 4}.items():
            whole(name, getattr(self, name), least)

    @classmethod
    def quick(cls) -> GlyphStudy:
        """The digits and the thousand characters, few images."""
        return cls(models=("digits", "glyphs"), classes=8, images=6, steps=20)

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Audit every model and its counterparts; images stay in the run folder, and are not made again."""
        axes = {"model": self.models, "source": SOURCES}
        rows = points.each(self._audit, list(product(*axes.values())), beside="audits")
        coords = {**axes, "schedule": [format_schedule(schedule) for schedule in SCHEDULES]}
        return dataset(grid(rows, axes), coords=coords, spec=self)

    def _audit(self, model: str, source: str, folder: Path | None) -> dict[str, Any]:
        """One network, or one of its counterparts."""
        shipped = MODELS[model]
        host = Source(model=model, device="cpu", dtype="float32").host()
        if source != NETWORK:
            host = twin_of(host, law=source)  # type: ignore[arg-type]
        number = min(shipped.classes, self.classes)
        plan = Audit(
            prompts=tuple(str(k * shipped.classes // number) for k in range(number)), schedules=SCHEDULES,
            images_per_prompt=self.images, steps=self.steps, search=False, seed=self.seed,
        ).completed(host)  # fmt: skip
        studio = Studio(host=host, features=LatentFeatures(), judge=ShippedJudge.fitted(model))
        with TemporaryDirectory() as nowhere:
            out = Path(nowhere) if folder is None else folder / model / source
            session = Session(
                plan=plan, studio=studio, yardstick=Yardstick.of(plan, studio), out=out, is_alone=True
            )  # fmt: skip
            found = session.run().pipeline.sel(schedule=[format_schedule(schedule) for schedule in SCHEDULES])
        names = [f"{name}{end}" for name in (*MEASURES, "equal_strength") for end in _ENDS]
        return {name: (["schedule"], np.asarray(found[name])) for name in names if name in found}
