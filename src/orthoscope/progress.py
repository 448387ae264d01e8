"""How long work tells about itself: types of the functions that it calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]  # told of parts done and parts in all
Remark: TypeAlias = Callable[[str], None]  # told a line for people
