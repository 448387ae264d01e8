"""An author of a guidance method: is my rule better than others at equal effect, where the truth is known?

    python examples/method_author.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orthoscope as osc


def softened(x: Any, level: Any, predictions: Any, w: Any) -> Any:
    """Guidance that holds back where the two predictions differ much: a rule in three lines."""
    gap = predictions["cond"] - predictions["uncond"]
    size = gap.norm(dim=1, keepdim=True)
    return predictions["cond"] + w * gap / (1 + size / 2)


def main(folder: Path) -> None:
    digits = osc.mixture("digits")  # or any labelled points: osc.mixture(x, labels=y)
    compared = osc.compare(digits, ["cfg", "rescale:phi=0.7", softened], label=3, strength=2.0, n=96, steps=12)
    print(compared)  # equal mean shift, paired errors, and the distance from the class beside the variance
    compared.save(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/method"))
