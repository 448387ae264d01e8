"""A theorist: what does guidance do to one class among exp(0.7 d), and does theory explain exact sampling?

    python examples/theorist.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import orthoscope as osc


def main(folder: Path) -> None:
    law = osc.RandomMixture(rate=0.7, std=0.5)
    for strength in (0.0, 1.0, 3.0):
        found = osc.predict(law, strength, t_max=10)
        print(f"w = {strength:g}: {found['regime']}, mean shift {found['mean_shift']:+.3f}, "
              f"variance ratio {found['variance_ratio']:.3f}")  # fmt: skip

    run = osc.simulate(law, 3.0, dim=10, t_max=10, draws=8, samples=128, steps=16)
    print(osc.compare(run))
    print("95 % interval of the mean shift:", run["mean_shift"].interval())
    run.save(folder / "simulation")  # report.html, results.nc, spec.json, figures

    window = osc.simulate(law, "linear:w0=-0.45,slope=0.65", dim=10, t_max=10, draws=8, samples=128, steps=16)
    print("a window instead:", window["mean_shift"], window["variance_ratio"])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/theorist"))
