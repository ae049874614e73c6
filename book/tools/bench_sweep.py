"""How fast a sweep goes: several workers beside one, what a run takes beyond its cells, and a sweep with nothing to do.

All sweeps run as their users type them, each in a process of its own, with one thread for every run. The trial of
chapter 3.6 is the notebook, with another seed in each run. Alone on the machine:

    python book/tools/bench_sweep.py [runs [rounds]]
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import joblib
from build import ROOT

NOTEBOOK = "3-6-trial"


def swept(folder: Path, runs: int, workers: int, experiment: str, *more: str) -> float:
    """Wall seconds of a sweep over seeds."""
    (folder / "plan.yaml").write_text(f"grid: {{seed: {list(range(runs))}}}\n")
    command = [sys.executable, "-m", "vdslib.cli", "sweep", NOTEBOOK, "--grid", "plan.yaml", *more]
    command += ["--workers", str(workers), "--threads", "1", "--experiment", experiment]
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def parts(run: Path) -> dict[str, float]:
    """Seconds of a run by what they went to."""
    about = json.loads((run / "run.json").read_text())
    cells = [
        cell
        for cell in json.loads((run / "notebook.ipynb").read_text())["cells"]
        if cell["cell_type"] == "code" and cell["metadata"]["papermill"].get("start_time")
    ]
    spent = [cell["metadata"]["papermill"]["duration"] for cell in cells]
    imports = next(
        n for n, cell in enumerate(cells) if "".join(cell["source"]).startswith(("import", "from"))
    )
    began, first, last = (
        datetime.fromisoformat(text).timestamp()
        for text in (
            about["started"],
            cells[0]["metadata"]["papermill"]["start_time"],
            cells[-1]["metadata"]["papermill"]["end_time"],
        )
    )
    return {
        "start of the kernel": first - began,
        "imports": spent[imports],
        "between cells": last - first - sum(spent),
        "end of the kernel, files": about["seconds"] - (last - began),
        "together": about["seconds"] - sum(spent) + spent[imports],
        "other cells": sum(spent) - spent[imports],
    }


def main(runs: int = 16, rounds: int = 1) -> None:
    """Measure everything."""
    (ROOT / "_build").mkdir(exist_ok=True)
    many = joblib.cpu_count()
    with tempfile.TemporaryDirectory(dir=ROOT / "_build") as name:
        folder = Path(name)
        swept(folder, 1, 1, "warm")  # files into the page cache
        for number in range(rounds):
            seconds = {
                w: swept(folder, runs, w, f"w{w}-{number}") for w in ((1, many), (many, 1))[number % 2]
            }
            print(
                f"{runs} runs: {seconds[1]:.0f} s with 1 worker, {seconds[many]:.0f} s with {many}: "
                f"{seconds[1] / seconds[many]:.2f} times as fast",
                flush=True,
            )
        for experiment in ("w1-0", f"w{many}-0"):
            found = [parts(path.parent) for path in folder.glob(f"runs/{experiment}/*/run.json")]
            print(f"median seconds of a run, {experiment[1:-2]} at a time:")
            for part in found[0]:
                print(f"  {part:25} {statistics.median(each[part] for each in found):5.2f}")
        swept(folder, 100, many, "hundred", "-p", "epochs", "1")
        warm = [swept(folder, 100, many, "hundred", "-p", "epochs", "1") for _ in range(5)]
        print(
            f"100 runs that are there: {statistics.median(warm):.1f} s ({min(warm):.1f} to {max(warm):.1f})"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
