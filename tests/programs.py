"""Programs that run one after another, each in a fork of one interpreter that has loaded the slow libraries.

These take seconds, the same for every program, and so does the package. That it can be imported in an interpreter of
its own is tested elsewhere.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

LIBRARIES = (
    *("dask", "matplotlib.pyplot", "sklearn.decomposition", "torch", "xarray"),
    *(f"scipy.{name}" for name in ("integrate", "interpolate", "optimize", "spatial.distance", "stats")),
    "diffusers.guiders.guider_utils:BaseGuidance",
    *(f"diffusers:{name}" for name in ("DiffusionPipeline", "ModelMixin", "SchedulerMixin", "UNet2DModel")),
    "diffusers:DPMSolverMultistepScheduler",
    *("transformers:PreTrainedModel", "transformers:PreTrainedTokenizerBase"),
    *(f"orthoscope.face.{name}" for name in ("compare", "exact", "folders", "pipelines", "samples")),
    *("orthoscope.integrations.host", "orthoscope.results", "orthoscope.simulation.simulate"),
)  # names, where a library loads them on first use


@dataclass(frozen=True)
class Finished:
    """What a program left behind."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Programs:
    """The process to fork, and the way to have it run a script."""

    process: subprocess.Popen[str]

    @classmethod
    def start(cls) -> Programs:
        command = [sys.executable, "-P", __file__]  # tests/stat and its like are no libraries
        one = os.environ | {"OMP_NUM_THREADS": "1"}  # where others want the cores, threads wait for one another
        return cls(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=one))

    def run(self, script: Path, *arguments: object, folder: Path) -> Finished:
        """Run a script in a folder, which keeps nothing of it but what the script writes there."""
        out, err = (folder.with_name(name) for name in ("out.txt", "err.txt"))
        asked = [str(folder), str(out), str(err), str(script), *map(str, arguments)]
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        status = int(self.process.stdout.readline())
        return Finished(status, out.read_text(), err.read_text())


def serve() -> None:
    """Run what is asked for, line by line, and answer with exit statuses."""
    for line in sys.stdin:
        folder, out, err, *command = json.loads(line)
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            for stream, path in ((0, os.devnull), (1, out), (2, err)):
                os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), stream)
            return become(*command)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def become(script: str, *arguments: str) -> None:
    """Go on as `python SCRIPT ARGUMENTS...` does."""
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    for name in LIBRARIES:
        resolve_name(name)
    serve()
