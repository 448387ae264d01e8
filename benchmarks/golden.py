"""Every command at a small setting, recorded so that two versions of the package can be laid side by side.

`record` runs the commands of this checkout into a folder; `compare` tells every number that differs between two such
folders. Numbers are equal to the last digit only on one machine: record both there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import xarray as xr

_MIXTURE = "--rate 0.2 --std 0.5"
_SMALL = f"{_MIXTURE} --dim 12 --t-max 10 --draws 4 --samples 64 --steps 12"
_WINDOW = "step:early=3,late=-1,switch=1"
_SWEEP = """
[study]
name = "golden"
seed = 3
source = "%s"

[axes]
rate = [0.2, 0.6]
strength = { from = 0, to = 2, n = 3 }

[fixed]
std = 0.5
%s

[measure]
quantities = ["mean_shift", "variance_shift", "class_posterior"]
"""
FILES = {
    "theory.toml": _SWEEP % ("theory", "t_max = 20"),
    "simulated.toml": _SWEEP % ("simulation", "dim = 8\nsamples = 32\nsteps = 6\ndraws = 3"),
    "precise.toml": _SWEEP % ("simulation", "dim = 8\nsamples = 32\nsteps = 6")
    + "\n[precision]\nmean_shift = 0.02\nmax_draws = 32\n",
    "laws.json": json.dumps(
        {
            "cond": {"mean": [1.0, 0.0], "cov": [[0.5, 0.1], [0.1, 0.4]]},
            "uncond": {"mean": [0.0, 0.0], "cov": [[2.0, 0.3], [0.3, 1.0]]},
        }
    ),
    "schedule.json": json.dumps(
        {"type": "Interval", "version": 1, "clock": "sigma", "inside": 3.0, "low": 0.2, "high": 2.0}
    ),
}
COMMANDS = {
    "predict-committed": f"predict {_MIXTURE} --strength 3 --t-max 50",
    "predict-dense": "predict --rate 2 --std 0.5 --strength 1",
    "predict-captured": f"predict --rate 0.7 --std 0.5 --schedule {_WINDOW} --t-max 10",
    "predict-frozen": "predict --rate 0.2 --std 0.3 --strength 4 --t-max 0.3",
    "predict-dim": f"predict {_MIXTURE} --strength 3 --t-max 50 --dim 32",
    "predict-frozen-dim": "predict --rate 0.2 --std 0.3 --strength 4 --t-max 0.3 --dim 28",
    "predict-sphere": f"predict {_MIXTURE} --strength 1 --ensemble sphere --start exact --t-max 20 --ode",
    "predict-steps": f"predict {_MIXTURE} --schedule step:early=3,late=-1,switch=60% --steps 20 --t-max 50",
    "predict-file": "predict --classes 64 --dim 16 --std 0.4 --schedule schedule.json --t-max 30",
    "gaussian": "gaussian --cond-mean 1 --cond-var 0.5 --uncond-mean 0.2 --uncond-var 2 --strength 2",
    "gaussian-ode": "gaussian --cond-mean 0 --cond-var 1e-6 --uncond-mean 0 --uncond-var 1 --strength 3 --ode",
    "gaussian-laws": "gaussian --laws laws.json --strength 2 --t-max 30",
    "two-class": "two-class --law uniform --strength 3 --recommend --samples 500 --steps 60",
    "two-class-sde": "two-class --law gaussian --strength 4 --sde --dim 4 --t-max 4000 --samples 500 --steps 60",
    "two-class-error": "two-class --law uniform --strength 3 --score-error 0.05 --samples 300 --steps 60",
    "simulate": f"simulate {_SMALL} --strength 1",
    "simulate-ode": f"simulate {_SMALL} --strength 1 --ode --dtype float64 --start exact --grid equalized --order 1",
    "simulate-planted": "simulate --dim 256 --rate 0.2 --std 0.5 --strength 3 --planted --samples 64 --draws 2",
    "simulate-controlled": f"simulate {_SMALL} --strength 3 --estimator controlled",
    "simulate-completed": f"simulate {_SMALL} --strength 1 --estimator completed --tolerance 0.001",
    "simulate-regenerated": f"simulate {_SMALL} --strength 1 --modes regenerated",
    "simulate-active": f"simulate {_SMALL} --strength 1 --ode --tolerance 0.001",
    "simulate-sphere": f"simulate {_SMALL} --strength 1 --ensemble sphere",
    "simulate-versus": f"simulate {_SMALL} --schedule linear:w0=-0.25,slope=0.3 "
    f"--versus constant:0.5 --versus {_WINDOW}",
    "simulate-steps": f"simulate {_SMALL} --schedule step:early=3,late=-1,switch=50%",
    "simulate-captured": "simulate --rate 0.7 --std 0.5 --dim 8 --t-max 10 --draws 4 --samples 64 --strength -0.7",
    "simulate-classes": "simulate --classes 16 --std 0.5 --dim 3 --strength 2 --draws 8 --samples 64 --steps 12",
    "design-dense": "design --rate 2 --std 0.5 --maximize mean-shift --variance-ratio 1 --high 5 --samples 64",
    "design-committed": "design --rate 0.5 --std 0.5 --t-max 20 --maximize mean-shift --variance-ratio 1 --high 5 "
    "--no-simulate --margin-strength 0 --margin-switch 0",
    "design-spectrum": "design --cond-var 0.5 --uncond-var 2 --maximize mean-shift --variance-ratio 0.9 --high 3 "
    "--front",
    "design-spectra": "design --cond-var 0.5 --cond-var 0.2 --uncond-var 2 --uncond-var 1 --gap 1 --gap 0.5 "
    "--mean-shift 0.2 --high 4",
    "phase-rates": "phase rate-strength --rate 0.05:1.4:9 --strength 0:5:8 --std 0.5 --out rates.nc",
    "phase-windows": "phase window --rate 0.7 --std 0.5 --t-max 10 --w0=-1:0.5:9 --slope 0:1.2:8 --out windows.nc",
    "sweep-theory": "sweep theory.toml --out sweep-theory",
    "sweep-simulated": "sweep simulated.toml --out sweep-simulated --workers 2",
    "sweep-precise": "sweep precise.toml --out sweep-precise",
    "claims": "claims --quick",
    "study-approach": "study approach --quick --out approach",
    "study-captured": "study captured --quick --out captured",
    "study-correlations": "study correlations --quick --out correlations",
    "study-design-grid": "study design-grid --quick --out design-grid",
    "study-manifold": "study manifold --quick --out manifold",
    "study-stages": "study stages --quick --out stages",
    "study-tilted": "study tilted --quick --out tilted",
    "demo": "demo --out demo",
    "audit": "audit --quick --out audit",
    "audit-rule": "audit --out audit-rule --steps 8 --images-per-prompt 4 --no-search --rule rescale:phi=0.7 "
    "--schedules constant:0 --schedules constant:1 --schedules constant:3 --schedules step:early=0,late=3,switch=50%",
    "calibrate": "calibrate --out calibrate --images-per-prompt 3 --steps 12 --strengths 3",
    "train-digits": "train digits --out digits --steps 4",
}
# What may differ between two runs of the same numbers: times, places, versions, and how a setting is written down.
VOLATILE = frozenset(
    {
        "seconds",
        "memory",
        "spec",
        "spec_hash",
        "orthoscope",
        "folder",
        "file",
        "figure",
        "report",
        "results",
        "out",
        "schema",
    }
)


def record(folder: Path, only: list[str], jobs: int) -> None:
    """Run the commands into a folder, one JSON file each."""
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(jobs) as pool:
        for name, state in pool.map(lambda name: (name, _record(folder, name)), only or COMMANDS):
            print(f"{name}: {state}", flush=True)


def _record(folder: Path, name: str) -> str:
    with tempfile.TemporaryDirectory() as place:
        for file, text in FILES.items():
            (Path(place) / file).write_text(text)
        done = subprocess.run(
            [Path(sys.executable).with_name("orthoscope"), *COMMANDS[name].split(), "--json"],
            cwd=place,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
            capture_output=True,
            text=True,
            check=False,
        )
        found: dict[str, Any] = {"exit": done.returncode}
        try:
            found["output"] = json.loads(done.stdout)
        except ValueError:
            found["output"] = (done.stdout + done.stderr)[-2000:]
        for path in sorted([*Path(place).rglob("*.nc"), *Path(place).rglob("results.zarr")]):
            found[str(path.relative_to(place))] = dict(_datasets(path))
        (folder / f"{name}.json").write_text(json.dumps(found))
    return "done" if done.returncode == 0 else f"exit {done.returncode}"


def _datasets(path: Path) -> Iterator[tuple[str, Any]]:
    is_file = path.suffix == ".nc"
    tree = xr.open_datatree(path, engine="h5netcdf") if is_file else xr.open_datatree(path, consolidated=False)
    for group in tree.subtree:
        data = group.to_dataset()
        yield group.path, {str(name): data[name].values.tolist() for name in (*data.data_vars, *data.coords)}


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Every place where two recorded values differ, one line each."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in old:
            if key in VOLATILE:
                continue
            if key not in new:
                yield f"{where}/{key}: lost"
            else:
                yield from differences(old[key], new[key], f"{where}/{key}")
        for key in new.keys() - old.keys() - VOLATILE:
            yield f"{where}/{key}: new"
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for k, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"{where}/{k}")
    elif not (old == new or (_is_nan(old) and _is_nan(new))):
        yield f"{where}: {str(old)[:60]} -> {str(new)[:60]}"


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def compare(old: Path, new: Path) -> int:
    """Print what differs; the number of commands that do."""
    changed = 0
    for path in sorted(old.glob("*.json")):
        if not (new / path.name).exists():
            continue
        found = list(differences(json.loads(path.read_text()), json.loads((new / path.name).read_text())))
        changed += bool(found)
        print(f"{path.stem}: {f'{len(found)} differences' if found else 'equal'}")
        for line in found[:10]:
            print(f"  {line}")
    return changed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.golden", description=__doc__)
    does = parser.add_subparsers(dest="does", required=True)
    one = does.add_parser("record")
    one.add_argument("folder", type=Path)
    one.add_argument("--only", nargs="*", default=[], choices=list(COMMANDS))
    one.add_argument("--jobs", type=int, default=2, help="commands at once")
    two = does.add_parser("compare")
    two.add_argument("old", type=Path)
    two.add_argument("new", type=Path)
    asked = parser.parse_args()
    if asked.does == "record":
        record(asked.folder, asked.only, asked.jobs)
    else:
        sys.exit(compare(asked.old, asked.new) > 0)


if __name__ == "__main__":
    main()
