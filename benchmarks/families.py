"""Families of pipelines: what each makes under a schedule, against its own arithmetic or a loop written by hand.

    python -m benchmarks.families

Every one is a tiny real pipeline of diffusers with seeded weights, in single precision. The difference is relative, at
strengths that change in the middle of the run; effect is how much the results at two scales differ, relative again, so
that what is measured is the guidance.
"""

from __future__ import annotations

import argparse
import warnings

import torch
from tests.integrations import families, wider

from orthoscope.integrations.diffusers import guided

SCHEDULE = f"step:early={wider.EARLY},late={wider.LATE},switch=50%"


@torch.no_grad()
def by_hand(family: families.Family) -> tuple[str, float, float]:
    """A listed family against its loop with one call per prediction."""
    pipe = family.build()
    with families.watched(family, pipe) as seen, guided(pipe, SCHEDULE) as log:
        found = families.run(pipe, family)
    strengths = log.dataset["strength"].values.tolist()
    wanted = family.finish(pipe, families.reference(family, pipe, strengths, seen[0])[-1])
    with guided(pipe, wider.EARLY):
        other = families.run(pipe, family)
    error, effect = (float((a - found).norm() / found.norm()) for a in (wanted, other))
    return type(pipe).__name__, error, effect


@torch.no_grad()
def by_itself(family: wider.Wider) -> tuple[str, float, float]:
    """Another family against what it makes at scales of its own."""
    return type(family.build()).__name__, *wider.agreement(family)


def main() -> None:
    """Print a row for every family, or for those asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="families; all if none is given")
    names = parser.parse_args().names
    warnings.simplefilter("ignore")  # diffusers' own, of many makes
    print("| family | pipeline | against | difference | effect |\n|---|---|---|---|---|")
    for name in names or [*families.FAMILIES, *wider.WIDER]:
        if name in wider.WIDER:
            shown, (kind, error, effect) = "own", by_itself(wider.WIDER[name])
        else:
            shown, (kind, error, effect) = "by hand", by_hand(families.FAMILIES[name])
        print(f"| {name} | `{kind}` | {shown} | {error:.0e} | {effect:.1g} |", flush=True)


if __name__ == "__main__":
    main()
