"""What `calibrate` says that unconditional branches know, beside what exact scores say: networks of `study learned`.

`python -m benchmarks.knowledge FOLDER` reads the networks of a run folder of the study and follows paths of each; only
the networks, never the law, are asked. Known fractions are those of the study, over the levels before the decision at
which one Gaussian errs by a fair share, as `calibrate` pools them.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from orthoscope import rng
from orthoscope.calibration.host_paths import PATHED
from orthoscope.calibration.knowledge import Knowledge, know
from orthoscope.calibration.path import reverse_paths
from orthoscope.datasets import read
from orthoscope.experiments.networks.learner import Learner
from orthoscope.experiments.networks.study import LearnedStudy
from orthoscope.process import VarianceExploding
from orthoscope.quantities import Estimate
from orthoscope.sampling import IndependentNoise, Multistep, geometric, grid, sample
from orthoscope.threads import one_thread

T_MAX, END, IMAGES = 2000.0, 0.02, 512
KINDS = ("base", "classes=8", "classes=32", "classes=512", "classes=1000", "null_share=0.5", "width=256", "std=0.3")


def examined(learner: Learner, file: Path, paths: int, dropped: float) -> tuple[Knowledge, int]:
    """What is found of one network, and how many predictions along paths it took."""
    network, seed = learner.denoiser(learner.trained(file)), learner.seed
    labels = rng.stream(seed, "knowledge", "classes").integers(0, learner.classes, paths)
    if learner.classes <= PATHED:
        labels = np.arange(paths) % learner.classes
    times = [T_MAX, *np.geomspace(23.0, END, 14)] if dropped else np.geomspace(T_MAX, END, 41).tolist()
    levels = grid(VarianceExploding(), times)
    streams = rng.row_streams(seed, "knowledge", "paths", rows=range(paths))
    x = math.sqrt(T_MAX) * torch.from_numpy(
        np.stack([s.standard_normal(learner.dim, dtype=np.float32) for s in streams])
    )
    noise = IndependentNoise(streams, (learner.dim,), like=x)
    found = reverse_paths(
        network, x, levels, noise, torch.from_numpy(np.sort(labels)), learner.classes, dropped=dropped
    )
    stream = rng.stream(seed, "knowledge", "images")
    asked = torch.from_numpy(stream.integers(0, learner.classes, IMAGES))
    start = math.sqrt(T_MAX) * torch.from_numpy(stream.standard_normal((IMAGES, learner.dim), dtype=np.float32))
    run = geometric(VarianceExploding(), T_MAX, 20, end=END)
    images = sample(network, start, run, step=Multistep(lam=0.0), label=asked).x.double().numpy()
    return know(found.answers, END, images), sum(said.calls for said in found.answers)


def known(one: xr.Dataset) -> Estimate:
    """The fraction by exact scores, over the levels that `calibrate` would take; its error is the study's."""
    ignorance = one["ignorance"].values * (one["posterior"].values <= 0.9)
    kept = ignorance >= 0.1 * ignorance.max()
    value = 1 - one["excess_uncond"].values[kept].sum() / ignorance[kept].sum()
    return Estimate(value=float(value), stderr=float(one["learned_fraction_stderr"]), n=int(kept.sum()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.knowledge", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--paths", type=int, default=96, help="where classes are at most 32; else a quarter of them")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    asked = parser.parse_args()
    data = read(asked.folder / "results.nc")
    learners = dict(zip((str(name) for name in data["network"].values), LearnedStudy().learners(), strict=True))
    print("| network | known | found | 95 % | predictions | holds |\n|---|---|---|---|---|---|")
    held = []
    for name, learner in learners.items():
        if name.rpartition(", seed ")[0] not in asked.kinds:
            continue
        many = learner.classes > PATHED
        with one_thread():
            file = asked.folder / "networks" / f"{learner.key}.safetensors"
            found, calls = examined(learner, file, asked.paths // 4 if many else asked.paths, 3e-3 if many else 0.0)
        truth, (low, high) = known(data.sel(network=name)), found.learned.interval()
        slack = 2 * truth.stderr
        held.append(low - slack <= truth.value <= high + slack)
        print(f"| {name} | {truth} | {found.learned} | {low:.3f} to {high:.3f} | {calls:,} | {held[-1]} |", flush=True)
    print(json.dumps({"networks": len(held), "hold": sum(held)}))


if __name__ == "__main__":
    main()
