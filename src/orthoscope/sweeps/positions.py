"""On which line of a TOML text every key and every element of an array stands, which the parser does not tell."""

from __future__ import annotations

import re
from bisect import bisect_right

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*(?:"((?:[^"\\\n]|\\.)*)"|'([^'\n]*)'|([A-Za-z0-9_-]+))[ \t]*""")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'
    + r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    + r'|"(?:[^"\\\n]|\\.)*"'
    + r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}\n#]*")


def positions(text: str) -> dict[Path, int]:
    """Line of each table, key and array element by its path, the first line being 1; the text must be valid TOML."""
    return _Scanner(text).document()


class _Scanner:
    """Reads structure only: what a value is, the parser knows better."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.breaks = [m.start() for m in re.finditer("\n", text)]
        self.lines: dict[Path, int] = {}

    def document(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip(_BLANK) or self.at < len(self.text):
            if self.at >= len(self.text):
                break
            if self.text[self.at] == "[":
                start = self.at
                self.at += 2 if self.text.startswith("[[", self.at) else 1
                table = self._key()
                self._note(table, start)
                self.at = self.text.index("]", self.at) + 1 + (self.text[start : start + 2] == "[[")
            else:
                self._pair(table)
        return self.lines

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        """Move over what the pattern matches here; whether that was anything."""
        match = pattern.match(self.text, self.at)
        if match is None:
            return False
        self.at = match.end()
        return bool(match.group())

    def _take(self, mark: str) -> bool:
        """Move over blanks and this mark, if it follows."""
        self._skip(_BLANK)
        if not self.text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        return True

    def _note(self, path: Path, at: int) -> None:
        for length in range(1, len(path) + 1):  # the tables of a dotted key begin here too
            self.lines.setdefault(path[:length], bisect_right(self.breaks, at - 1) + 1)

    def _key(self) -> Path:
        parts: list[str] = []
        while not parts or self._take("."):
            match = _KEY.match(self.text, self.at)
            assert match is not None, "the text is valid TOML"
            parts.append(next(group for group in match.groups() if group is not None))
            self.at = match.end()
        return tuple(parts)

    def _pair(self, table: Path) -> None:
        start = self.at
        path = table + self._key()
        self._note(path, start)
        self._take("=")
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip(_BLANK)
        self._note(path, self.at)
        if self._take("["):
            element = 0
            while not self._take("]"):
                self._value((*path, element))
                self._take(",")
                element += 1
        elif self._take("{"):
            while not self._take("}"):
                self._pair(path)
                self._take(",")
        elif not self._skip(_STRING):
            self._skip(_SCALAR)
