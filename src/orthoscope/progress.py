"""How long work tells about itself: what it calls, and the log that hears the rest.

Lines for people go to the logger `orthoscope`, warnings of what they should know and information on what is done; the
command line shows both, and with `--quiet` errors alone. A library says nothing by itself: there it is up to whoever
sets up `logging`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]  # told of parts done and parts in all
Tracker: TypeAlias = Callable[[int, int, str], object]  # the same with what is done, from people's own code
Remark: TypeAlias = Callable[[str], None]  # told a line for people

LOG = logging.getLogger("orthoscope")
LOG.addHandler(logging.NullHandler())
