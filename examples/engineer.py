"""An engineer with a pipeline: what does guidance cost here, and which schedule gives diversity back?

    python examples/engineer.py [FOLDER]

The pipeline is the small one that ships with the package; any loaded diffusers pipeline takes its place.
"""

from __future__ import annotations

import sys
from pathlib import Path

import orthoscope as osc

WINDOW = "step:early=3,late=-1,switch=60%"


def main(folder: Path) -> None:
    pipe = osc.pipeline("digits")
    with osc.guided(pipe, WINDOW) as log:
        pipe(class_labels=[3, 5], num_inference_steps=12, guidance_scale=2.0)
    print(log)

    report = osc.audit(pipe, [3, 5], schedules=[0.0, 3.0, WINDOW], images_per_prompt=4, steps=12, search=False)
    print(report)
    print("schedule advised:", report.advice["schedule"])
    report.save(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/engineer"))
