r"""What an interval shows about a change, and how many images would show what it does not.

A change with interval $[l, h]$ is *kept* above a border $b$ if $l > b$, *lost* if $h < b$, and *not shown* otherwise:
that no loss was seen shows nothing, for few images see nothing. Half-widths fall as $1/\sqrt n$ with the number of
images, but for the part that allows for failures that did not happen to come, which falls as $1/n$. Where half-width
and distance from the border are in the ratio 1.96 : 1.96 + 0.84, four of five audits tell.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from orthoscope.metrics.bootstrap import reach
from orthoscope.quantities import decimals

Shown = Literal["kept", "lost", "not shown"]
_TELLING = (1.96 + 0.84) / 1.96  # distance from the border over the half-width with which four of five audits tell
_HALF_WIDTH = 2.0  # of an interval, in standard errors


class Change(NamedTuple):
    """A difference with its interval; NaN where it could not be measured.

    Attributes:
        value: The difference.
        low: Lower end of the interval.
        high: Upper end of the interval.
        least: Lower end at the level that all candidates share.
        stderr: Standard error.
        grain: What one image changes in a share of images.
    """

    value: float
    low: float
    high: float
    least: float = math.nan
    stderr: float = 0.0
    grain: float = 0.0

    @property
    def is_known(self) -> bool:
        """Whether it could be measured."""
        return math.isfinite(self.value)

    @property
    def ends(self) -> dict[str, float]:
        """Value and interval, for JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def verdict(self, border: float = 0.0) -> Shown:
        """Whether the whole interval is above a border, below it, or neither; at the shared level if there is one."""
        if (self.least if math.isfinite(self.least) else self.low) > border:
            return "kept"
        return "lost" if self.high < border else "not shown"

    def times_needed(self, border: float = 0.0) -> float:
        """So many times the images would tell on which side of a border it is, if it is what was measured.

        Accuracy:
            Four of five audits of that size tell. A distance from the border below its own error is taken as that.
        """
        if not self.is_known or self.verdict(border) != "not shown":
            return 1.0
        low = self.least if math.isfinite(self.least) else self.low
        side = self.value - low if self.value > border else self.high - self.value
        distance, unseen = max(abs(self.value - border), self.stderr), reach(self.grain)
        drawn = side if side > unseen else min(side, _HALF_WIDTH * self.stderr)
        if not distance > 0:
            return math.inf
        return max(1.0, (_TELLING * drawn / distance) ** 2, _TELLING * unseen / distance)

    def shown(self, number: float) -> str:
        """A number with its sign, to two digits of the error."""
        places = decimals((self.high - self.low) / 2) if self.high > self.low else 3
        return f"{number:+z.{places}f}"

    def __str__(self) -> str:
        """The difference with its interval, e.g. +0.030 [+0.010, +0.050]."""
        return f"{self.shown(self.value)} [{self.shown(self.low)}, {self.shown(self.high)}]"
