"""The picture of the README: `python -m benchmarks.picture` draws it from the study of characters and its network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

import orthoscope as osc
from orthoscope.plots.style import COLORS, INK, styled

RESULTS, OUT = Path("docs/results/glyphs"), Path("docs/figures/guidance.png")
CHARACTERS, IMAGES, STEPS = (120, 417, 733), 6, 30
ROWS = {
    "no guidance": "constant:0",
    "scale 4": "scale:4",
    "scale 4, ended\nhalfway": "step:early=scale:4,late=0,switch=50%",
}
LINES = {
    "network": ("network of\n1,000 characters", "o-", {"xytext": (-8, -4), "ha": "right"}),
    "gaussian": ("unconditional branch\nthat knows no classes", "s--", {"xytext": (-2, 24)}),
    "modes": ("exact score, images as modes", "^-.", {"xytext": (12, 4)}),
    "classes": ("exact score, classes as Gaussians", "D:", {"xytext": (8, 2)}),
}
CONSTANTS = ("constant 0", "constant 1", "constant 3")


def images() -> list[np.ndarray]:
    """A band of characters for every row, on the same noise."""
    pipe, bands = osc.pipeline("glyphs"), []
    for schedule in ROWS.values():
        generators = [torch.Generator().manual_seed(seed) for seed in range(IMAGES) for _ in CHARACTERS]
        with torch.no_grad(), osc.guided(pipe, schedule):
            found = pipe(
                class_labels=list(CHARACTERS) * IMAGES, num_inference_steps=STEPS, generator=generators,
                guidance_scale=4.0, output_type="np",
            ).images  # fmt: skip
        by_class = np.asarray(found)[..., 0].reshape(IMAGES, len(CHARACTERS), *found.shape[1:3])
        half = IMAGES // 2
        rows = [
            [by_class[k, c] for c in range(len(CHARACTERS)) for k in part]
            for part in (range(half), range(half, IMAGES))
        ]
        bands.append(np.block(rows))
    return bands


@styled
def picture() -> Figure:
    """Images under three schedules; beside them variance kept against mean shift, network and exact scores."""
    found = osc.read(RESULTS).data
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    left, ax = figure.subplots(1, 2, width_ratios=(1.25, 1))
    bands = images()
    height, gap = bands[0].shape[0], 4
    shown = np.concatenate([np.pad(band, ((0, gap), (0, 0)), constant_values=np.nan) for band in bands])
    left.imshow(shown, cmap="gray", interpolation="nearest", vmin=0, vmax=1)
    left.set_yticks([(height + gap) * k + height / 2 for k in range(len(ROWS))], list(ROWS), color=INK)
    left.set_xticks([])
    left.grid(visible=False)
    left.spines[:].set_visible(False)
    left.tick_params(length=0)
    left.set_title("Three characters, the same noise in every row")
    for color, (source, (label, style, place)) in zip(COLORS, LINES.items(), strict=False):
        one = found.sel(model="glyphs", source=source, schedule=list(CONSTANTS))
        ax.errorbar(
            one["mean_shift"], one["variance_ratio"], yerr=2 * one["variance_ratio_stderr"], fmt=style, color=color
        )
        at = float(one["mean_shift"][-1]), float(one["variance_ratio"][-1])
        ax.annotate(label, at, textcoords="offset points", color=color, va="center", fontsize=9, **place)
    ended = found.sel(model="glyphs", source="network", schedule="ending")
    ax.plot(ended["mean_shift"], ended["variance_ratio"], "*", color=COLORS[0], markersize=12)
    ax.annotate(
        "ended halfway", (float(ended["mean_shift"]), float(ended["variance_ratio"])), xytext=(8, 0),
        textcoords="offset points", color=COLORS[0], va="center", fontsize=9,
    )  # fmt: skip
    ax.set(xlabel="mean shift", ylabel="variance kept", xlim=(-0.03, 1.15), ylim=(0.25, 1.06))
    ax.set_title("What guidance at scales 1, 2 and 4 costs")
    return figure


if __name__ == "__main__":
    from orthoscope.report.page import save_figure

    save_figure(picture(), OUT)
    OUT.with_suffix(".svg").unlink()
