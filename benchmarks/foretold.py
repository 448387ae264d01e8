"""What constant strength 3 is foretold to leave, from the run at strength 0 alone, beside what the study measured.

`python -m benchmarks.foretold [MODEL ...]`; the last row is the digits as Gaussian classes against one Gaussian, whose
branches are affine but for their direction.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import orthoscope as osc
from orthoscope.calibration import Calibration
from orthoscope.calibration.examine import foretold_by
from orthoscope.calibration.record import Recorder
from orthoscope.integrations.host import Host
from orthoscope.integrations.shipped import MODELS
from orthoscope.integrations.source import Source
from orthoscope.integrations.twin import twin_of
from orthoscope.quantities import Estimate
from orthoscope.threads import one_thread

RESULTS = Path("docs/results/glyphs")
STRENGTH, PROMPTS, IMAGES, STEPS = 3.0, 12, 4, 30


def foretold(host: Host) -> float:
    """Variance ratio at the strength, as for a pipeline of which no paths are followed."""
    classes = host.classes or 0
    number = min(classes, PROMPTS)
    recorder = Recorder(
        host=host, prompts=[str(k * classes // number) for k in range(number)], images=IMAGES, steps=STEPS, seed=0,
        advance=lambda: None, remark=print,
    )  # fmt: skip
    found = foretold_by(recorder.record(0.0, hear=True), host, Calibration(strengths=(STRENGTH,)))
    assert found is not None  # it was heard
    return found.ratios[0]


def main(models: Sequence[str]) -> None:
    """One line for every model."""
    numbers = osc.read(RESULTS).numbers

    def measured(model: str, source: str) -> Estimate:
        return Estimate(**numbers[model]["sources"][source]["constant 3"]["variance_ratio"])

    with one_thread():
        for model in models:
            print(f"{model:12} {foretold(Source(model=model).host()):.2f}  {measured(model, 'network')}", flush=True)
        twin = twin_of(Source(model="digits").host(), law="gaussian")
        print(f"{'digits, one Gaussian':12} {foretold(twin):.2f}  {measured('digits', 'gaussian')}")


if __name__ == "__main__":
    main(sys.argv[1:] or list(MODELS))
