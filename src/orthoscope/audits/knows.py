"""What the unconditional branch of an audited pipeline knows, by `calibration`, where asking is little of the work.

It tells whether what guidance costs is guidance's own or the model's. What was found is kept among the audit's cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orthoscope.audits.plan import Audit
from orthoscope.audits.studio import Studio
from orthoscope.errors import OrthoscopeError
from orthoscope.serialize import content_hash, to_dict
from orthoscope.sweeps.cells import Cells, Finished

if TYPE_CHECKING:
    from orthoscope.calibration import Calibration

_FORMAT = 1  # to be raised when equal settings find something else
_SHARE = 0.25  # of the audit's predictions that this may take
_PROMPTS, _IMAGES = 12, 3  # that say where classes are decided
_STEPS = {True: 16, False: 7}  # of paths, of few classes and of many
_PATHS = 8  # of many


def known(studio: Studio, plan: Audit, calls: float, store: Cells) -> Mapping[str, Any]:
    """What is known, for JSON, with `text`: a sentence on it and one on what it implies, or why it was not asked.

    Empty for pipelines whose classes cannot be asked for.

    Args:
        studio: The pipeline.
        plan: The completed plan.
        calls: Predictions that the audit takes without this.
        store: Where it is kept.
    """
    from orthoscope.calibration import Calibration
    from orthoscope.calibration.host_paths import PATHED, has_paths

    host = studio.host
    if not has_paths(host):
        return {}
    few = (host.classes or 0) <= PATHED
    asked = Calibration(
        prompts=plan.prompts[:_PROMPTS], images_per_prompt=_IMAGES, steps=max(plan.steps, 4),
        path_steps=_STEPS[few], paths=_PATHS, seed=plan.seed,
    )  # fmt: skip
    if (cost := _cost(asked, host.classes or 0, few=few)) > _SHARE * calls:
        more = "" if plan.model is None else f" --model {plan.model}"
        why = f"would take {cost:,} predictions, too many for this audit: `orthoscope calibrate{more}` tells."
        return {"text": [f"What its unconditional branch knows {why}"]}
    key = content_hash({"format": _FORMAT, "knowledge": to_dict(asked), "host": host.identity})
    if (kept := store.find(key)) is None:
        kept = Finished({}, _asked(studio, asked))
        store.write(key, kept)
    return kept.about


def _cost(asked: Calibration, classes: int, *, few: bool) -> int:
    """Predictions that it takes, but for a few."""
    from orthoscope.calibration.host_paths import images_asked

    rounds = asked.path_steps * classes * _IMAGES if few else asked.path_steps * asked.paths // 2
    return rounds * (classes + 1) + images_asked(classes) + 2 * len(asked.prompts) * _IMAGES * asked.steps


def _asked(studio: Studio, asked: Calibration) -> dict[str, Any]:
    """Ask; what cannot be measured is said."""
    from orthoscope.calibration.advice import implied, standing
    from orthoscope.calibration.examine import inquire

    try:
        found = inquire(studio.host, asked.prompts, asked)
    except OrthoscopeError as error:
        return {"text": [f"What its unconditional branch knows could not be measured: {error}"]}
    assert found is not None  # it has paths
    told = found.found
    claims = {"claimed": told.disagreement, "exact": told.left}
    return {
        "learned_fraction": told.learned.as_numbers(),
        "after_decision": {name: one and one.as_numbers() for name, one in claims.items()},
        "by_ignorance": found.steps or None,
        "standing": standing(told.learned),
        "asked": found.asked,
        "text": list(implied(told.learned)),
    }
