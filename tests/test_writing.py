"""Files are whole: through kills, on full disks, beside other writers; and nobody else writes any."""

from __future__ import annotations

import ast
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import orthoscope
from orthoscope import datasets, rng
from orthoscope.errors import ConfigError
from orthoscope.writing import is_stream, write

KILLS = 20
PACKAGE = Path(orthoscope.__file__).parent
WRITER = """
import sys
from pathlib import Path
from orthoscope.writing import write
print("ready", flush=True)
while True:
    for letter in sys.argv[2]:
        write(Path(sys.argv[1]), letter * 300_000)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own of 320 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", str(disk)], capture_output=True)
    if mount.returncode:
        pytest.skip(f"no file system can be mounted here: {mount.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path: Path, seed: int) -> None:
    """Two writers to one file, each killed at random moments."""
    path, moments = tmp_path / "file", rng.stream(seed, "kills")
    write(path, "a" * 300_000)
    seen = set()
    for _ in range(KILLS // 2):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(path), letters], stdout=subprocess.PIPE)
            for letters in ("ab", "cd")
        ]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
        time.sleep(moments.uniform(0, 0.05))
        for writer in writers:
            writer.kill()
            writer.communicate()
        text = path.read_text()
        assert text == text[0] * 300_000
        seen.add(text[0])
    assert len(seen) > 1  # they did write
    others = [one.name for one in tmp_path.iterdir() if one != path]
    assert len(others) <= KILLS
    assert all(name.startswith(".") and name.endswith(".unfinished") for name in others)


def test_a_full_disk_keeps_the_old_file_and_leaves_no_litter(small_disk: Path) -> None:
    path = small_disk / "deep" / "file.nc"
    small = xr.Dataset({"x": ("n", np.arange(10.0))})
    datasets.write(small, path, group="old")
    before = path.read_bytes()
    for attempt in (
        lambda: write(path, b"x" * 400_000),
        lambda: datasets.write(xr.Dataset({"x": ("n", np.arange(100_000.0))}), path),
        lambda: datasets.write(xr.Dataset({"x": ("n", np.arange(100_000.0))}), path, group="new"),
    ):
        with pytest.raises(ConfigError, match=r"^cannot write .*file.nc: No space left on device; make room, or"):
            attempt()
        assert path.read_bytes() == before
        assert os.listdir(path.parent) == ["file.nc"]
    xr.testing.assert_identical(datasets.read(path, group="old"), small)


def test_groups_stay_and_a_file_without_groups_is_never_replaced_by_one(tmp_path: Path) -> None:
    path = tmp_path / "file.nc"
    first, second = (xr.Dataset({"x": ("n", [k, k + 0.1])}, coords={"n": ["a", "b"]}) for k in (1.0, 2.0))
    for name, result in (("one", second), ("two", second), ("one", first)):
        datasets.write(result, path, group=name)
    assert sorted(datasets.groups(path)) == ["one", "two"]
    xr.testing.assert_identical(datasets.read(path, group="one"), first)
    xr.testing.assert_identical(datasets.read(path, group="two"), second)
    size = path.stat().st_size
    datasets.write(first, path, group="one")
    assert path.stat().st_size == size  # nothing piles up
    datasets.write(first, path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="has no groups, or is damaged"):
        datasets.write(first, path, group="one")
    assert path.read_bytes() == before


def test_permissions_are_those_of_the_old_file_or_of_any_new_one(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write(tmp_path / "new", "1")
    finally:
        os.umask(mask)
    old = tmp_path / "old"
    old.touch()
    old.chmod(0o604)
    write(old, "2")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new", old)] == [0o640, 0o604]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    file, link, dangling = tmp_path / "elsewhere" / "file", tmp_path / "link", tmp_path / "dangling"
    file.write_text("old")
    link.symlink_to(file)
    dangling.symlink_to("elsewhere/other")
    write(link, "new")
    write(dangling, "other")
    assert link.is_symlink()
    assert dangling.is_symlink()
    assert (file.read_text(), (tmp_path / "elsewhere" / "other").read_text()) == ("new", "other")


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # before anybody writes
    assert is_stream(pipe)
    write(pipe, "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_standard_output_by_name_goes_where_it_goes(tmp_path: Path) -> None:
    """Also into a file, after what was printed and before what will be."""
    program = "from pathlib import Path; from orthoscope.writing import write; "
    program += "print('first'); write(Path('/dev/stdout'), 'second\\n'); print('third')"
    with (tmp_path / "output").open("wb") as output:
        subprocess.run([sys.executable, "-c", program], stdout=output, check=True)
    assert (tmp_path / "output").read_text() == "first\nsecond\nthird\n"


def test_a_folder_is_no_file_and_missing_folders_are_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^cannot write .*: Is a directory; choose another `out`$"):
        write(tmp_path, "")
    with pytest.raises(ConfigError, match=r"^cannot write .*; choose another `out`$"):
        write(write(tmp_path / "a" / "b" / "file", "") / "below", "")
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "b", "file"]


# Nobody else

FORBIDDEN = {"write_text", "write_bytes", "save_file", "save_model", "to_zarr", "to_csv", "tofile", "mkstemp", "dump",
             "save_pretrained", "savez", "savetxt", "copyfile", "copy2", "copytree"}  # fmt: skip
INTO_MEMORY = {"savefig", "to_netcdf", "save", "savez_compressed"}  # with a buffer; a result saves to `out`


def writes(tree: ast.AST) -> Iterator[int]:
    """Lines of calls that write a file."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        first = getattr(call.args[0], "id", "") if call.args else ""
        modes = {one.value for one in ast.walk(call) if isinstance(one, ast.Constant) and isinstance(one.value, str)}
        opens = name in ("open", "File", "NamedTemporaryFile") and any(
            set(mode) <= set("rwxab+t") and set(mode) & set("wxa+") for mode in modes
        )
        if name in FORBIDDEN or opens or (name in INTO_MEMORY and first not in ("buffer", "tensors", "weights", "out")):
            yield call.lineno


def test_nothing_else_writes_files() -> None:
    found = {
        str(path.relative_to(PACKAGE)): lines
        for path in sorted(PACKAGE.rglob("*.py"))
        if (lines := list(writes(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert set(found) == {"sweeps/run.py"}  # its log, which grows line by line and is never read back


def test_the_check_of_writers_notices_what_it_should() -> None:
    bad = ["path.write_text('')", "open(p, 'w')", "p.open('a+b')", "np.save(p, x)", "torch.save(x, p)", "dump(x, f)",
           "figure.savefig(path)", "ds.to_netcdf(p)", "h5py.File(p, 'a')", "image.save(p, format='PNG')"]  # fmt: skip
    assert all(list(writes(ast.parse(line))) for line in bad)
    good = ["open(p)", "p.open('rb')", "figure.savefig(buffer)", "save(tensors)", "h5py.File(p, 'r')", "json.dumps(x)"]
    assert not any(list(writes(ast.parse(line))) for line in good)
