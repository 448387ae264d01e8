"""What the unconditional prediction knows of the classes, as rows and cards of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orthoscope.quantities import Estimate
from orthoscope.report.page import Card

NOT_IDENTIFIABLE = (
    "What the unconditional prediction knows is not identifiable from prompts that are not all there is: only that the "
    "pair claims no less than they tell"
)


def bounded(found: Mapping[str, Any]) -> str:
    """How much the unconditional branch errs at least on images of one's own; what else is said without."""
    bound = found.get("bound")
    if bound is None:
        return f"{NOT_IDENTIFIABLE}; images of these prompts, given as data, would bound its error"
    shown = f"{Estimate(**bound['nats'])} nats"
    what = (
        f"at least {bound['least']:.2g} nats of what the pair claims are its error" if bound["least"] > 0 else
        "no error of it is shown"
    )  # fmt: skip
    return (
        f"{NOT_IDENTIFIABLE}. On the {bound['images']} images of your own the bound is {shown}: {what}, if they are a "
        "fair sample of all that is asked for"
    )


def learned_fraction(known: Mapping[str, Any]) -> str:
    """The learned fraction with its interval."""
    return Estimate(**known["learned_fraction"]).bracketed()


def learned_cards(source: Mapping[str, Any]) -> list[Card]:
    """The learned fraction, where it is known."""
    if "knowledge" not in source:
        return []
    text = "learned fraction of the unconditional prediction: 1 if it knows the classes, 0 if it is one Gaussian"
    return [Card(value=learned_fraction(source["knowledge"]), text=text)]


def knowledge_rows(known: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The same and what follows from it, a column for every source."""
    rows = [["learned fraction of the unconditional branch", *map(learned_fraction, known)]]
    rows.append(["claimed after the decision, and by exact scores, nats", *map(_decided, known)])
    rows.append(["guidance acts by ignorance alone in", *(one["by_ignorance"] or "no step" for one in known)])
    return rows


def foretold_rows(foretold: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """What constant strengths are expected to cost, a column for every source."""
    rows = [
        [f"variance ratio foretold, {strength}", *(f"{one['variance_ratio'][strength]:.3g}" for one in foretold)]
        for strength in foretold[0]["variance_ratio"]
    ]
    share = "share of the branches' difference that this explains"
    return [*rows, [share, *(f"{one['affine_share']:.2f}" for one in foretold)]]


def _decided(known: Mapping[str, Any]) -> str:
    claimed, exact = known["after_decision"]["claimed"], known["after_decision"]["exact"]
    if claimed is None or exact is None:
        return "no class is ever decided"
    return f"{Estimate(**claimed)}, {Estimate(**exact)}"
