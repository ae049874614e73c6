"""Runs that cost next to nothing: a notebook without TensorFlow, and a way to make its runs without a kernel.

    python tests/stub_runs.py NOTEBOOK OUT NUMBER

sweeps over that many runs without kernels; its last line is the peak memory of the process in megabytes.
"""

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

import nbformat

from vdslib.experiments import runs, storage, sweeps

CELL = """\
number: int = 1  # a number, which the result is made of [0 .. 1000000]
fault: str = "none"  # what goes wrong [none | error | once | kill]
pause: float = 0.0  # seconds that the run takes [0 .. 3600]
seed: int = 0  # start of random numbers [0 ..]
results_dir: str = ""  # folder of results; empty for the usual one
"""
CODE = """\
import random
import time
from pathlib import Path
from vdslib import experiments

time.sleep(pause)
if fault == "error" or (fault == "once" and not Path("tried").exists()):
    Path("tried").touch()
    raise ValueError(f"number {number} does not work")
"""
RECORD = """\
value = random.Random(f"{number} {seed}").random() + number
_ = experiments.record("stub", {"value": value, "of": {"half": number / 2}, "curve": [1, 2]}, results_dir)
"""


def write_notebook(path: Path, *more: str) -> Path:
    """The notebook of these runs, with further cells."""
    first = nbformat.v4.new_code_cell(CELL, metadata={"tags": ["parameters"]})
    cells = [first, *(nbformat.v4.new_code_cell(source) for source in (CODE, RECORD, *more))]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def keeping_nothing(run: runs.Run, folder: Path, variables: dict[str, str]) -> None:
    """Make a run that records nothing."""
    (folder / "results.json").write_text("{}")


def planned(notebook, **given):
    """The run of a notebook with some parameters, not yet made."""
    return runs.subject(notebook).run(given)


def without_kernel(run: runs.Run, folder: Path, variables: dict[str, str]) -> None:
    """Make a run of the notebook without executing it; ``kill`` ends the worker once, ``error`` fails."""
    time.sleep(run.parameters["pause"])
    if run.parameters["fault"] == "error":
        raise ValueError(f"number {run.parameters['number']} does not work")
    flag = folder.parent / "killed"
    if run.parameters["fault"] == "kill" and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / "results.json").write_text(json.dumps({"stub": {"value": run.parameters["number"] * 2}}))


def many(notebook: Path, out: Path, number: int, pause: float = 0.0) -> sweeps.Summary:
    """A sweep over ``number`` runs without kernels."""
    planned, _ = sweeps.plan(
        runs.subject(notebook), {"grid": {"number": list(range(number))}}, {"pause": pause}
    )
    return sweeps.sweep(planned, storage.Place(out, "stub"), workers=2, executor=without_kernel)


if __name__ == "__main__":
    many(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]) if sys.argv[4:] else 0.0)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
