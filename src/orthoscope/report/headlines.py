"""What the demonstration found, a sentence for each section, with intervals of 95 %."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from orthoscope.quantities import Estimate
from orthoscope.report.intervals import Interval
from orthoscope.report.page import Card
from orthoscope.report.sections import FALSE_ALARM, estimate, kept_by_source, largest, restoring_window, useful_windows


def headlines(results: Mapping[str, xr.Dataset]) -> list[Card]:
    """The findings, those about networks first, as far as their sections were run."""
    return [card for name, told in _TOLD.items() if name in results for card in told(results[name])]


def _of_networks(glyphs: xr.Dataset) -> list[Card]:
    if "glyphs" not in glyphs["model"]:
        return []
    kept = kept_by_source(glyphs, "glyphs")
    if not {"network", "classes", "gaussian"} <= kept.keys():
        return []
    network, law, ignorant = (kept[source] for source in ("network", "classes", "gaussian"))
    cards = [
        Card(
            value=f"Guidance at scale 4 leaves a network of 1,000 characters {percent(network)} of their variance",
            text=f"Exact scores of Gaussian classes with the same moments leave {percent(law)}, and "
            f"{percent(ignorant)} if the unconditional branch knows no classes.",
        )
    ]
    one = glyphs.sel(model="glyphs", source="network", schedule="ending")
    gain, more = estimate(one, "gain"), estimate(one, "distance_gain")
    if gain.value > 0 and gain.differs(0.0, false_alarm=FALSE_ALARM):
        text = (
            f"Guided as strongly early and not at all late, at the mean shift of a weaker constant. Images are {more} "
            "farther from their class than that constant's, in standard deviations of real ones."
        )
        cards.append(Card(value=f"Ending guidance early gives {_points(gain)} of it back at equal push", text=text))
    return cards


def _of_digits(digits: xr.Dataset) -> list[Card]:
    gains = {str(window): estimate(digits.sel(window=window), "mean_gain") for window in digits["window"].values}
    best = max(gains, key=lambda window: gains[window].value)
    useful = useful_windows(gains)
    value = (
        f"With exact scores of digits {len(useful)} of {len(gains)} windows beat constant strength"
        if useful
        else "With exact scores of digits no late window gains beyond chance"
    )
    text = f"The best of {len(gains)}, {best}, gains {gains[best]} of variance ratio at equal mean shift."
    return [Card(value=value, text=text)]


def _of_windows(windows: xr.Dataset) -> list[Card]:
    one = restoring_window(windows)
    own = windows.attrs["std"] ** 2
    text = (
        f"{one['spec'].values} shifts the mean by {estimate(one, 'mean_shift')} and the variance by "
        f"{estimate(one, 'variance_shift')}; a class has {own:g}. Non-negative schedules always shrink it."
    )
    return [Card(value="Where classes overlap, a window of negative strength gives variance back", text=text)]


def _of_paths(paths: xr.Dataset) -> list[Card]:
    last = paths.sel(strength=float(paths["strength"].max())).isel(time=-1)
    shift = estimate(last, "overlap").affine(shift=-1.0)
    text = (
        f"Exact scores of exp({paths.attrs['rate']:g} d) classes in d = {paths.attrs['dim']} at w = "
        f"{float(last['strength']):g}: the mean ends {percent(shift)} off; theory says "
        f"{float(last['overlap_finite_dim']) - 1:.1%}."
    )
    return [Card(value="Guided paths overshoot, and heal once their class is decided", text=text)]


def _of_dims(dims: xr.Dataset) -> list[Card]:
    fixed = largest(dims.isel(point=np.flatnonzero(dims["point_family"].values == "fixed")))
    text = (
        f"With {dims.attrs['classes']} classes in d = {int(fixed['point_dim'])} the mean shift is "
        f"{estimate(fixed, 'mean_shift')} at w = {dims.attrs['strength']:g}."
    )
    return [Card(value="Where classes are few, high dimension cures guidance", text=text)]


_TOLD: dict[str, Callable[[xr.Dataset], list[Card]]] = {
    "glyphs": _of_networks,
    "digits": _of_digits,
    "windows": _of_windows,
    "paths": _of_paths,
    "dims": _of_dims,
}


def percent(share: Estimate) -> str:
    """A share with its interval."""
    low, high = share.interval()
    return Interval(value=share.value, low=low, high=high).percent()


def _points(gain: Estimate) -> str:
    low, high = gain.interval()
    return f"{100 * gain.value:.0f} points ({100 * low:.0f} to {100 * high:.0f})"
