"""The claims of the source papers as checks that anyone can run: theory, measurement, verdict."""

from __future__ import annotations

from orthoscope.experiments.claims import (
    condensation_rows,
    control_rows,
    gaussian_rows,
    limit_rows,
    mixture_rows,
    network_rows,
    overshoot_rows,
    support_rows,
    tilted_rows,
    window_rows,
)
from orthoscope.experiments.claims.claim import Claim as Claim
from orthoscope.experiments.claims.claim import Effort as Effort
from orthoscope.experiments.claims.claim import examine as examine

CLAIMS: tuple[Claim, ...] = (
    *mixture_rows.ROWS,
    *limit_rows.ROWS,
    *condensation_rows.ROWS,
    *window_rows.ROWS,
    *gaussian_rows.ROWS,
    *tilted_rows.ROWS,
    *support_rows.ROWS,
    *overshoot_rows.ROWS,
    *network_rows.ROWS,
    *control_rows.ROWS,
)
