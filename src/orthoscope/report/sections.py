"""The sections of the demonstration: each study's figure, what to see in it, and the command that makes it.

Captions quote numbers from the datasets, never from memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from orthoscope.datasets import stored
from orthoscope.plots.diagrams import window_figure
from orthoscope.plots.digits import digits_figure, digits_images
from orthoscope.plots.glyphs import glyphs_figure
from orthoscope.plots.paths import path_figure
from orthoscope.plots.shifts import dim_figure, rate_figure
from orthoscope.quantities import Estimate
from orthoscope.report.page import Section

FALSE_ALARM = 1e-3  # of the verdict on all windows together


def estimate(data: xr.Dataset, name: str) -> Estimate:
    """The one estimate of this name."""
    return stored(data, name)[0]


def paths_section(paths: xr.Dataset, command: str) -> Section:
    """Overlap and variance along the path."""
    dim, strongest = paths.attrs["dim"], float(paths["strength"].max())
    end = paths.sel(strength=strongest).isel(time=-1)
    return Section(
        name="paths",
        title="The path from noise to data: theory is right about guidance",
        caption=(
            f"Read from left (noise) to right (data). Points are exact simulations with {dim} coordinates and "
            f"exp({paths.attrs['rate']:g} d) classes; lines are theory for this dimension (solid) and for infinitely "
            "many (dotted). Without guidance the overlap rises to 1 and the variance to the class's own. With "
            "guidance the path overshoots its class while its variance falls below, until the moment of commitment "
            "(dashed): from there on conditional and unconditional model agree, guidance does nothing more, and the "
            f"damage heals, but not fully: at w = {strongest:g} the samples end {_percent(end['overlap'] - 1)} "
            "beyond their class's mean."
        ),
        command=command,
        figures={"paths": path_figure(paths)},
    )


def rates_section(rates: xr.Dataset, command: str) -> Section:
    """Distortion against rate."""
    critical = float(rates["critical_rate"].sel(critical_strength=0.0))
    return Section(
        name="rates",
        title="More classes, more distortion, and a point beyond which nothing heals it",
        caption=(
            "The more classes there are per dimension, the later a path commits and the longer guidance distorts "
            f"it. Upright: the critical rate of each strength (without guidance it is {critical:.2f}); beyond it "
            "classes overlap so much that no path commits before the end, and the distortion no longer depends on "
            "the number of classes: it is unavoidable. Points: exact simulations in the highest dimension whose "
            "modes can be listed, and the planted ensemble in a high dimension, where they cannot. Low-dimensional "
            "points lie off the curves by what the finite-dimension theory (bars) predicts."
        ),
        command=command,
        figures={"rates": rate_figure(rates)},
    )


def dims_section(dims: xr.Dataset, command: str) -> Section:
    """Distortion against dimension."""
    classes, rate = dims.attrs["classes"], dims.attrs["rate"]
    last = {
        family: largest(dims.isel(point=np.flatnonzero(dims["point_family"].values == family)))
        for family in ("exponential", "fixed")
    }
    shift = {family: estimate(point, "mean_shift") for family, point in last.items()}
    return Section(
        name="dims",
        title="High dimension cures guidance only if classes are few",
        caption=(
            f"Two ways to grow: with M = exp({rate:g} d) classes the mean shift settles at a finite value, with M = "
            f"{classes} classes it dies out. In the highest dimension simulated, d = "
            f"{int(last['fixed']['point_dim'])}, the shift is {shift['exponential']} in the first family and "
            f"{shift['fixed']} in the second. The lines are theory for infinite dimension at the same rate, the bars "
            "theory for the same dimension."
        ),
        command=command,
        figures={"dims": dim_figure(dims)},
    )


def windows_section(windows: xr.Dataset, command: str) -> Section:
    """The plane of windows."""
    restored, baseline = _restored(windows), _constant(windows)
    rows = []
    for name in windows["point"].values:
        one = windows.sel(point=name)
        theory = {shift: f"{float(one[f'{shift}_mean_field']):.3f}" for shift in ("mean_shift", "variance_shift")}
        rows.append(
            [
                str(name),
                str(one["spec"].values),
                str(estimate(one, "mean_shift")),
                theory["mean_shift"],
                str(estimate(one, "variance_shift")),
                theory["variance_shift"],
                str(estimate(one, "class_posterior")),
            ]
        )
    return Section(
        name="windows",
        title="A window of negative strength gives the variance back",
        caption=(
            "Every point of the plane is a schedule w(t) = w0 + slope · t: strong early, and, below zero on the "
            "vertical axis, negative late. Non-negative schedules always shrink the variance (“distorted”). In the "
            "region “restored” the mean is still pushed towards the class while the variance is at least the "
            "class's own; too negative and the push is gone (“reversed”) or another class captures the sample "
            f"(“lost”). Letters mark exact simulations. At {restored}; at constant strength {baseline}."
        ),
        command=command,
        figures={"windows": window_figure(windows)},
        head=["point", "schedule", "mean shift", "theory", "variance shift", "theory", "class posterior"],
        rows=rows,
    )


def digits_section(digits: xr.Dataset, command: str) -> Section:
    """Real data."""
    constants, windows = list(digits.attrs["constants"]), list(digits["window"].values)
    rows = []
    for schedule in (*constants, *windows):
        for label in digits["label"].values:
            one = digits.sel(schedule=schedule, label=label)
            gain = str(estimate(one.sel(window=schedule), "gain")) if schedule in windows else "–"
            measured = ("mean_shift", "total_variance", "variance_ratio", "participation_ratio", "class_share")
            rows.append([schedule, str(label), *(str(estimate(one, name)) for name in measured), gain])
    shown = [c for c in constants if c in ("constant:0", "constant:1", "constant:3")] + windows[:2]
    gains = {window: estimate(digits.sel(window=window), "mean_gain") for window in windows}
    return Section(
        name="digits",
        title="Real data: what a window gains at equal mean shift",
        caption=(
            "The bundled handwritten digits as an exact mixture, one mode per image. Constant guidance (gray line) "
            "trades variance for mean shift. A window is worth having only if it lies above that line: more "
            "variance at the same shift. Step windows were searched on one seed among those that keep at least "
            f"{float(digits.attrs['least_share']):.0%} of the samples in their class, linear windows come from the "
            "Gaussian theory; all are judged here on fresh seeds. Samples that end in another class are counted "
            "(share in class) and left out of the moments: the variance they add is no diversity."
        ),
        command=command,
        figures={"digits": digits_figure(digits), "digits-images": digits_images(digits, shown)},
        head=[
            "schedule",
            "digit",
            "mean shift",
            "total variance",
            "variance ratio",
            "participation ratio",
            "share in class",
            "gain",
        ],
        rows=rows,
        verdict=digits_verdict(gains, digits),
    )


def digits_verdict(gains: Mapping[str, Estimate], digits: xr.Dataset) -> str:
    """What the windows gained, said plainly."""
    share = {window: float(digits["class_share"].sel(schedule=window).mean()) for window in gains}
    listed = "; ".join(
        f"{window}: {gain} ({share[window]:.1%} of samples in their class)" for window, gain in gains.items()
    )
    useful = useful_windows(gains)
    conclusion = (
        f"{', '.join(useful)} keeps more variance than constant strength does at equal mean shift, for the share of "
        "samples that stay in their class."
        if useful
        else "No window gains variance beyond chance over constant strength at equal mean shift."
    )
    return f"{conclusion} Variance ratio gained over the gray line, mean over digits: {listed}."


def useful_windows(gains: Mapping[str, Estimate]) -> list[str]:
    """Windows whose gain chance would not make in 1 of 1,000 looks at all of them."""
    return [
        window
        for window, gain in gains.items()
        if gain.value > 0 and gain.differs(0.0, false_alarm=FALSE_ALARM / len(gains))
    ]


def glyphs_section(glyphs: xr.Dataset, command: str) -> Section:
    """Networks beside what their data imply."""
    measures = ("mean_shift", "variance_ratio", "gain", "class_distance", "distance_gain", "far_share")
    rows = [
        [str(model), str(schedule), str(source), *(_number(one, name) for name in measures)]
        for model in glyphs["model"].values
        for schedule in glyphs["schedule"].values
        for source in glyphs["source"].values
        for one in [glyphs.sel(model=model, schedule=schedule, source=source)]
    ]
    return Section(
        name="glyphs",
        title="Networks: what is guidance's own, and what is ignorance",
        caption=(
            "Real diffusers pipelines of ten handwritten digits and of a thousand characters, beside exact scores of "
            "Gaussian classes with the means and the covariance of the same data, on the same seeds; and beside the "
            "same classes against one Gaussian, which does not know that there are classes, as unconditional branch. "
            "Bars are what a schedule keeps of the variance beyond constant strength of equal mean shift, and how much "
            "farther from their class its images are. A schedule that gains by distance alone has gained nothing."
        ),
        command=command,
        figures={"glyphs": glyphs_figure(glyphs)},
        head=[
            "model",
            "schedule",
            "source",
            "mean shift",
            "variance ratio",
            "gain",
            "distance",
            "more distance",
            "far",
        ],
        rows=rows,
        verdict=_ignorance(glyphs),
    )


def _number(one: xr.Dataset, name: str) -> str:
    return str(estimate(one, name)) if np.isfinite(float(one[name])) else "–"


_SOURCES = {
    "network": "the network", "modes": "its images as modes", "classes": "Gaussian classes",
    "gaussian": "Gaussian classes against one Gaussian",
}  # fmt: skip


def kept_by_source(glyphs: xr.Dataset, model: str) -> dict[str, Estimate]:
    """What strength 3 keeps of the variance of a class, by source."""
    one = glyphs.sel(model=model, schedule="constant 3")
    return {str(source): estimate(one.sel(source=source), "variance_ratio") for source in glyphs["source"].values}


def _ignorance(glyphs: xr.Dataset) -> str:
    """What constant strength keeps by source, for every model, in words."""
    told = [
        f"{model}: " + ", ".join(f"{_SOURCES[source]} {kept}" for source, kept in kept_by_source(glyphs, model).items())
        for model in map(str, glyphs["model"].values)
    ]
    return f"At strength 3 of the variance of a class is kept by {'; by '.join(told)}."


SECTIONS: dict[str, Callable[[xr.Dataset, str], Section]] = {
    "paths": paths_section,
    "rates": rates_section,
    "dims": dims_section,
    "windows": windows_section,
    "digits": digits_section,
    "glyphs": glyphs_section,
}


def restoring_window(windows: xr.Dataset) -> xr.Dataset:
    """The simulated window that keeps a mean shift and gives most variance back."""
    shift, variance = windows["mean_shift"].values, windows["variance_shift"].values
    return windows.isel(point=int(np.argmax(np.where(shift > 0, variance, -np.inf))))


def _restored(windows: xr.Dataset) -> str:
    """The restoring window in words."""
    one = restoring_window(windows)
    return (
        f"{one['spec'].values} the mean shift is {estimate(one, 'mean_shift')} and the variance shift "
        f"{estimate(one, 'variance_shift')} (class variance {windows.attrs['std'] ** 2:g})"
    )


def _constant(windows: xr.Dataset) -> str:
    """The strongest simulated constant strength beside the restoring window, in words."""
    constant = windows.isel(point=np.flatnonzero(windows["point_slope"].values == 0))
    one = constant.isel(point=int(constant["point_w0"].values.argmax()))
    none = constant.isel(point=int(np.abs(constant["point_w0"].values).argmin()))
    return (
        f"{float(one['point_w0']):g} they are {estimate(one, 'mean_shift')} and {estimate(one, 'variance_shift')}. "
        f"The price is adherence: the class posterior is {estimate(restoring_window(windows), 'class_posterior')} in "
        f"the window, {estimate(one, 'class_posterior')} at constant strength and "
        f"{estimate(none, 'class_posterior')} without guidance"
    )


def largest(points: xr.Dataset) -> xr.Dataset:
    """The point of the highest dimension."""
    return points.isel(point=int(points["point_dim"].values.argmax()))


def _percent(value: object) -> str:
    return f"{100 * float(value):.1f} %"  # type: ignore[arg-type]
