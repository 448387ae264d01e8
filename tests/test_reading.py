"""Files from elsewhere: whatever they hold, one line says what is wrong, soon and in little memory."""

from __future__ import annotations

import os
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from orthoscope import reading
from orthoscope.errors import ConfigError, clean, one_line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{\n"a": }', "not valid JSON: line 2, column 6"),
        (b"\xff\xfe", "not text in UTF-8"),
        (b"[" * 100_000, "more than 64 levels"),
        (b"[" * 65 + b"]" * 65, "more than 64 levels"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "more than 64 levels"),
        (b"[" + b"9" * 4400 + b"]", "more than 300 digits"),
        (b"\0", "not valid JSON"),
        (b"", "not valid JSON"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_json_that_is_none_or_too_much(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as refused:
        reading.read_json(path)
    assert "spec.json" in str(refused.value)
    assert len(str(refused.value)) < 300


def test_json_within_the_limits(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_bytes(b"\xef\xbb\xbf" + b"[" * 64 + b"]" * 64)
    assert isinstance(reading.read_json(path), list)
    assert reading.parse_json("9" * 300, "it") == int("9" * 300)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 5000, "more than 64 levels"),
        ("a = " + "[" * 65 + "]" * 65, "more than 64 levels"),
        (".".join("a" * 100_000) + " = 1", "more than 64 levels"),
        (". ".join(['"a b"'] * 20_000) + " = 1", "more than 64 levels"),
        ("a = " + "9" * 4400, "more than 300 digits"),
    ],
    ids=["cut", "deep", "dotted", "dotted texts", "digits"],
)
def test_toml_that_is_too_much(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        reading.parse_toml(text, "study.toml")


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder", "no such file", "cannot read", "larger than"])
def test_only_files_are_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    match kind:
        case "a pipe":
            os.mkfifo(path)
        case "a device":
            path.symlink_to("/dev/zero")
        case "a folder":
            path.mkdir()
        case "cannot read":
            path.symlink_to(path)
        case "larger than":
            path.write_bytes(b" " * 100)
    with pytest.raises(ConfigError, match=kind):
        reading.read_text(path, most=99)


def npy(head: str, data: bytes = b"", version: int = 1) -> bytes:
    """An array in NumPy's format, whatever its head says."""
    text = head.encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + data


def head(shape: str, descr: str = "'<f8'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"


POINTS, LABELS = npy(head("(3, 2)"), bytes(48)), npy(head("(3,)", "'<i8'"), bytes(24))
ARRAYS: dict[str, tuple[bytes, str]] = {
    "foreign": (b"hello", "cannot read"),
    "nothing": (b"", "cannot read"),
    "objects": (npy(head("(3, 2)", "'|O'")), "got object"),
    "huge": (npy(head("(1000000000000, 2)")), "holds 2e.12 numbers"),
    "negative": (npy(head("(-3, 2)")), "cannot read"),
    "beyond": (npy(head("(9223372036854775807, 9223372036854775807)")), "cannot read"),
    "deep": (npy("(" * 3000, version=2), "cannot read"),
    "digits": (npy(head("(" + "9" * 5000 + ",)"), version=2), "cannot read"),
    "long": (npy(" " * 200_000, version=2), "cannot read"),
    "cut": (npy(head("(300, 2)")), "cannot read"),
    "records": (npy(head("(3,)", "[('a', '<f8')]")), "expected points"),
    "unknown version": (npy(head("(3, 2)"))[:6] + b"\x09" + npy(head("(3, 2)"))[7:], "cannot read"),
}


def archive(path: Path, points: bytes, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as made:
        made.writestr("x.npy", points)
        made.writestr("y.npy", LABELS)
    return path


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_are_none(name: str, tmp_path: Path) -> None:
    content, message = ARRAYS[name]
    with pytest.raises(ConfigError, match=message) as refused:
        reading.read_arrays(archive(tmp_path / "a.npz", content), ["x"], ["y"], expected="points")
    assert "a.npz" in str(refused.value)
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ConfigError, match=r"a\.npy"):
        reading.map_array(tmp_path / "a.npy", "centroids")


@pytest.mark.parametrize("method", [0, 1, 8, 9, 12, 14, 93, 99])
def test_other_ways_to_compress_are_refused(method: int, tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", POINTS, method if method in (8, 12, 14) else 0)
    content = bytearray(path.read_bytes())
    if method not in (8, 12, 14):
        for at in (8, content.index(b"PK\x01\x02") + 10):
            content[at : at + 2] = struct.pack("<H", method)
        path.write_bytes(content)
    if method in (0, 8):
        assert reading.read_arrays(path, ["x"], ["y"], expected="points")[0].shape == (3, 2)
        return
    with pytest.raises(ConfigError, match="compressed in an unusual way"):
        reading.read_arrays(path, ["x"], ["y"], expected="points")


def test_an_archive_is_not_unpacked_before_its_head_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as made, made.open("x.npy", "w") as stream:
        stream.write(npy(head("(200000000, 2)")))
        for _ in range(16):
            stream.write(bytes(1 << 24))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError, match=r"holds 4e.08 numbers"):
        reading.read_arrays(tmp_path / "a.npz", ["x"], expected="points")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # of 256 MiB that it would unpack


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("1,2,0\n3,4,1\n", 2),
        ("a,b,label\n1,2,0\n", 1),
        ("\ufeff1,2,0\r\n\r\n3,4,1\r\n", 2),
        ('"1","2","0"\n', 1),
        ("1," + "0" * 140_000 + "1,0\n", 1),
    ],
)
def test_tables_of_numbers(text: str, rows: int, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(text.encode())
    assert reading.read_table(tmp_path / "a.csv", "numbers").shape == (rows, 3)


@pytest.mark.parametrize("content", [b"1,2,0\n1,x,0\n", b"1,2\0,0\n", b"1,2,0\n1,0\n", b"\x80", b'"' + b"a" * 300_000])
def test_tables_of_something_else(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ConfigError, match=r"a\.csv.*expected numbers"):
        reading.read_table(tmp_path / "a.csv", "numbers")


@pytest.mark.parametrize("damage", [lambda b: b[:20], lambda b: b"\xff" * 8 + b[8:], lambda b: b""])
def test_damaged_tensors(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    from safetensors.numpy import save

    (tmp_path / "a.safetensors").write_bytes(damage(save({"x": np.zeros(3)}, {"about": "{}"})))
    with pytest.raises(ConfigError, match=r"a\.safetensors"):
        reading.read_tensors(tmp_path / "a.safetensors", "about")


@pytest.mark.parametrize("about", ["[" * 1000, "[]", "9" * 4400, "\0"])
def test_tensors_of_which_nonsense_is_said(about: str, tmp_path: Path) -> None:
    from safetensors.numpy import save

    (tmp_path / "a.safetensors").write_bytes(save({"x": np.zeros(3)}, {"about": about}))
    with pytest.raises(ConfigError, match=r"a\.safetensors"):
        reading.read_tensors(tmp_path / "a.safetensors", "about")


def test_what_is_shown_moves_no_cursor() -> None:
    assert clean("a\nb\x1b[2J\x07\udcff\u202e\u00a0±∞") == r"a b\x1b[2J\x07\udcff\u202e ±∞"
    assert str(ConfigError("no such file: \x1b]0;x\x07\n.json")) == r"no such file: \x1b]0;x\x07 .json"
    long = one_line("begin " + "x" * 10_000 + " the cure")
    assert long.startswith("begin")
    assert long.endswith("the cure")
    assert len(long) < 410
