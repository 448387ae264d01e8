"""Pages as a real browser shows them: Chromium without a window, from disk."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_WORDS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files",
    "--virtual-time-budget=600000", "--enable-logging=stderr",
)  # fmt: skip
_PROBE = Path(__file__).with_name("probe.html")


def run(address: str, folder: Path, *words: str, dark: bool = False) -> tuple[str, list[str]]:
    """What Chromium prints of a page, and what the page complains of on its console."""
    assert PROGRAM is not None
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    command = [PROGRAM, *_WORDS, scheme, f"--user-data-dir={folder / 'profile'}", *words, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


def seen(
    pages: Sequence[Path], folder: Path, *, width: int, dark: bool = False, printed: bool = False
) -> tuple[list[dict[str, Any]], list[str]]:
    """What a frame so many pixels wide shows of each page, and what they complain of on the console."""
    probe = folder / "probe.html"
    setting = {"pages": [page.resolve().as_uri() for page in pages], "width": width, "printed": printed}
    probe.write_text(_PROBE.read_text().replace("SETTING", json.dumps(setting)))
    shown, complaints = run(probe.as_uri(), folder, "--window-size=1400,1000", "--dump-dom", dark=dark)
    found = re.search(r'<pre id="found">(.*?)</pre>', shown, re.DOTALL)
    assert found, shown[:2000]
    return json.loads(html.unescape(found.group(1))), complaints
