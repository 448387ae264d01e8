"""Whatever a command line and its files hold: a result, or one line; never an internal error, a traceback or a wait.

`make fuzz` runs 5,000 examples of all verbs; the tests run a sample of those that need no pipeline.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from orthoscope.cli.main import main

LONGEST, WAITED = 30, 300  # seconds of work, and of waiting where others work too
WORDS = (
    "", " ", "0", "-0", "1", "-1", "0.5", "2", "1e308", "-1e308", "1e-320", "nan", "inf", "-inf", "1e400", "9" * 400,
    "9" * 5000, "1" + "0" * 18, "4.5e15", "1_0", "0x10", "٣", "½", "1,2", "1/2", "50%", "1e2000000%", "x", "\x1b[2J",
    "a\nb", "\udcff", "\u202e", "prior", "cpu", "zzz", "memory", "planted", "0:1:3", "1:0:2", "0:1:1e9", ":", "=",
    "os:system", "os:path", "sys:exit", "json:loads", "nowhere.json", "nowhere:x", "/dev/zero", "/", ".",
    "pipe", "loop", "folder",
)  # fmt: skip
# What may stand where a number is expected: none so large that it is allowed and takes long.
TEXTS = st.sampled_from(WORDS) | st.integers(-9, 30).map(str) | st.floats().map(repr) | st.text(max_size=6)
KEYS = st.sampled_from(
    "value w0 slope early late switch inside low high at strengths clock phi eta".split()
)  # fmt: skip
KINDS = st.sampled_from(
    ["constant", "linear", "step", "interval", "tabulated", "rescale", "power-law", "apg", "cfg++", "no"]
)
SETTINGS = st.lists(st.tuples(KEYS, TEXTS).map("=".join), max_size=4).map(",".join)
VALID = ("3", "linear:w0=-0.25,slope=0.3", "step:early=3,late=-1,switch=1", "interval:inside=3,low=0.2,high=5",
         "step:early=3,late=-1,switch=60%", "tabulated:at=0/1/4,strengths=-1/0/3", "rescale:phi=0.7",
         "given.json")  # fmt: skip
LINES = st.one_of(st.sampled_from(VALID), st.tuples(KINDS, SETTINGS).map(":".join), TEXTS)

# Files
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 9), st.sampled_from([10**400, 10**18, 1e308, -1e308, float("inf")]),
    st.floats(), TEXTS,
)  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | KEYS, inner, max_size=3), max_leaves=6
)
SPECS: tuple[dict[str, Any], ...] = (
    {"type": "Constant", "version": 1, "value": 1.0, "clock": "variance"},
    {"type": "Step", "version": 1, "early": 3, "late": -1, "switch": 1},
    {"type": "Tabulated", "version": 1, "at": [0, 1], "strengths": [1, 2]},
    {"type": "FunctionSchedule", "place": "os:path", "settings": {}, "clock": "step", "switches": []},
    {"type": "Rescaled", "version": 1, "phi": 0.7},
    {"cond": {"mean": [0, 1], "cov": [[1, 0], [0, 1]]}, "uncond": {"mean": [0, 0], "cov": [[2, 0], [0, 2]]}},
    {"cond_var": [0.5], "uncond_var": [2.0], "gap": [1.0]},
    {"kind": "approach", "in_memory": {}},
    {"kind": ["approach"]},
    {"type": "TwoClassStudy", "version": 1, "law": "uniform", "strength": 1.0, "samples": 8, "steps": 4},
    {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"], "vae": [None, None]},
)
STUDY = '[study]\nsource = "theory"\n[axes]\nrate = [0.2, 0.3]\n[fixed]\nstd = 0.5\nstrength = 1\n'
CASES = Path(__file__).with_name("fuzzed")


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """JSON, mostly of something that is read, with one value exchanged."""
    spec = dict(draw(st.sampled_from(SPECS)))
    match draw(st.integers(0, 9)):
        case 0:
            return draw(st.binary(max_size=30))
        case 1:
            return draw(
                st.sampled_from([b"[" * 9999, b'{"a":' * 99 + b"1" + b"}" * 99, b"9" * 4400, b"null", b"[]", b"\xff"])
            )
        case 2:
            spec = draw(VALUES)
        case _:
            spec[draw(st.sampled_from(list(spec)) | TEXTS)] = draw(VALUES)
    return json.dumps(spec).encode()


@st.composite
def studies(draw: st.DrawFn) -> bytes:
    """TOML, mostly of a study, with one value exchanged or a line put in."""
    lines = STUDY.splitlines()
    for _ in range(draw(st.integers(1, 2))):
        key = draw(
            st.sampled_from(["rate", "std", "strength", "schedule", "dim", "samples", "source", "quantities", "x"])
        )
        value = draw(st.one_of(
            VALUES.map(lambda value: json.dumps(value, allow_nan=True)), TEXTS,
            st.sampled_from(["[" * 9999, "[" * 99 + "]" * 99, "9" * 4400, "{ from = 0, to = 1, n = 1000000000 }",
                             "1979-05-27"]),
        ))  # fmt: skip
        lines[draw(st.integers(0, len(lines) - 1))] = draw(
            st.sampled_from([f"{key} = {value}", f"[{key}]", ".".join("a" * 999)])
        )
    return "\n".join(lines).encode(errors="surrogatepass")


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """A data set, cut, exchanged in a byte, or with members of any content."""
    held = io.BytesIO()
    arrays = st.sampled_from(
        [np.eye(4), np.arange(4), np.zeros((0, 2)), np.full((4, 2), np.nan), np.array(["a"] * 4), np.array(1)]
    )
    if draw(st.booleans()):
        np.savez(held, x=draw(arrays), y=draw(arrays))
    else:
        with zipfile.ZipFile(held, "w", draw(st.sampled_from([0, 8, 12, 14]))) as made:
            for name in ("x.npy", "y"):
                made.writestr(name, b"\x93NUMPY\x01\0" + draw(st.binary(max_size=30)))
    content = bytearray(held.getvalue())
    content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.sampled_from([len(content), len(content) // 2]))])


TABLES = st.lists(st.lists(TEXTS, max_size=4).map(",".join), max_size=4).map(
    lambda rows: "\n".join(rows).encode(errors="surrogatepass")
)
FILES = {"given.json": objects(), "spec.json": objects(), "model_index.json": objects(), "given.toml": studies(),
         "given.npz": archives(), "given.npy": archives(), "given.csv": TABLES, "given.txt": TABLES}  # fmt: skip

# Commands with what keeps them short, the options that are exchanged or left out, and those that may be added
COMMANDS: dict[str, tuple[str, str]] = {
    "predict": ("--rate=0.2 --std=0.5 --strength=1 --t-max=5", "--schedule --dim --steps --start --ensemble --classes"),
    "simulate": ("--dim=4 --classes=3 --std=0.5 --strength=1 --samples=8 --draws=1 --steps=3",
                 "--schedule --rule --modes --t-max --order --grid --estimator --tolerance --dtype --device --versus"),
    "gaussian": ("--cond-mean=0 --cond-var=1 --uncond-mean=0 --uncond-var=2 --t-max=5 --strength=1",
                 "--schedule --laws"),
    "gaussian --laws=given.json": ("--strength=1 --t-max=5", "--schedule"),
    "two-class": ("--law=uniform --strength=1 --samples=8 --steps=4", "--sigma-end --t-max --seed --score-error --dim"),
    "phase window": ("--rate=0.9 --std=0.5 --t-max=10 --w0=-1:0:1 --slope=0:1:1", "--workers --start --out"),
    "phase rate-strength": ("--rate=0.5 --std=0.5 --strength=1", "--workers --t-max --out"),
    "design --no-simulate --maximize=mean-shift": ("--spectrum=given.json",
                                                   "--data --label --low --high --margin-switch"),
    "design --label=0 --maximize=mean-shift --no-simulate": ("--data=given.npz", "--low --margin-strength --t-max"),
    "design --label=0 --maximize=separability --no-simulate": ("--data=given.csv", "--high --samples"),
    "sweep --dry-run": ("given.toml", "--workers --scheduler"),
    "rerun --out=again": (".", "--workers --scheduler"),
    "study --workers=0": ("approach --quick", "--seed --scheduler --out"),
    "claims --only=none": ("", "--workers --seed"),
    "demo --workers=0": ("", "--section --seed"),
    "bench": ("no", "--workers"),
    "train mixture --steps=0": ("--classes=3 --dim=2",
                                "--std --width --depth --points --dropout --learning-rate --seed"),
    "data glyphs --fonts=folder": ("", "--characters --held-out --seed"),
}  # fmt: skip
PIPELINES: dict[str, tuple[str, str]] = {
    "audit --model=.": (
        "",
        "--prompts --schedules --steps --size --device --dtype --features --rule --reference --workers",
    ),
    "calibrate --model=.": ("", "--prompts --strengths --steps --paths --device --dtype --data"),
}


@st.composite
def commands(draw: st.DrawFn, known: dict[str, tuple[str, str]]) -> list[str]:
    """A command line, with one to three of its options exchanged, added or left out."""
    verb = draw(st.sampled_from(list(known)))
    usual, more = (text.split() for text in known[verb])
    for _ in range(draw(st.integers(0, 3))):
        option = draw(st.sampled_from([*(one.partition("=")[0] for one in usual), *more] or ["--x"]))
        usual = [one for one in usual if one.partition("=")[0] != option]
        if draw(st.integers(0, 4)):
            usual.append(
                f"{option}={draw(LINES if option in ('--schedule', '--rule', '--versus', '--schedules') else TEXTS)}"
            )
    words = verb.split()
    fixed = [one for one in words if one.startswith("--")]  # last, where it holds
    return [*words[: len(words) - len(fixed)], *usual, *fixed, *draw(st.sampled_from([[], ["--json"]]))]


@st.composite
def examples(draw: st.DrawFn, known: dict[str, tuple[str, str]]) -> tuple[list[str], dict[str, bytes]]:
    """A command line, and the files that it names."""
    argv = draw(commands(known))
    named = {"spec.json"} if "rerun" in argv else {"model_index.json"} if "--model=." in argv else set()
    named |= {name for name in FILES if any(name in one for one in argv)}
    return argv, {name: draw(FILES[name]) for name in sorted(named)}


@contextmanager
def in_time() -> Iterator[None]:
    """End what works or waits too long."""

    def late(signal: int, frame: FrameType | None) -> None:
        raise TimeoutError("it takes too long")

    limits = ((signal.SIGPROF, signal.ITIMER_PROF, LONGEST), (signal.SIGALRM, signal.ITIMER_REAL, WAITED))
    before = [signal.signal(told, late) for told, _, _ in limits]
    for _, timer, seconds in limits:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for (told, timer, _), old in zip(limits, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(told, old)


def told(argv: list[str]) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(
                [one.encode(errors="surrogatepass").decode(errors="surrogateescape").replace("\0", "") for one in argv]
            )
        except SystemExit as stop:
            status = int(stop.code or 0)
    return status, out.getvalue(), err.getvalue()


def expect_no_stumble(folder: Path, argv: list[str], files: dict[str, bytes]) -> int:
    """Run a command in a folder of its own, and look at what it says."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with in_time(), chdir(folder):
        status, out, err = told(argv)
    assert status in (0, 1, 2), err
    assert "Traceback" not in out + err
    assert not any(ord(one) < 32 and one != "\n" for one in out + err)
    if status == 2:
        lines = err.splitlines()
        assert out == ""
        assert lines
        assert max(map(len, lines)) < 400
        assert len(lines) == 1 or argv[0] == "sweep"
    return status


QUIET = hypothesis.settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.large_base_example,
                           HealthCheck.data_too_large],
    database=None,
)  # fmt: skip


IS_LONG = hypothesis.settings().max_examples > 1000
TOLD: Counter[int] = Counter()  # exit statuses


@pytest.mark.filterwarnings("ignore")
@QUIET
@given(example=examples(COMMANDS | PIPELINES if IS_LONG else COMMANDS))
def test_no_command_stumbles(tmp_path: Path, example: tuple[list[str], dict[str, bytes]]) -> None:
    TOLD[expect_no_stumble(tmp_path / "here", *example)] += 1
    if IS_LONG and TOLD.total() % 100 == 0:
        print(f"{TOLD.total()} in {time.process_time():.0f} CPU s, exit statuses {dict(sorted(TOLD.items()))}")
    assert set(TOLD) <= {0, 1, 2}
