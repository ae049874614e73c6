"""What one more machine costs: processor seconds and memory of one shared network over the number of nodes.

    python -m vdslib.chapters.growing NODES

prints both as JSON. Each number of nodes is measured in a process of its own, since the peak of memory never falls again.
"""

import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vdslib.chapters.generalisation import HORIZON, WINDOW, rows

SIZES = (10, 30, 100, 200, 300, 500, 1000)
FITTED_TO = 300  # the straight line is fitted to these and smaller sizes, and checked on the larger ones
DAYS = 2  # of telemetry for each node, a row every five minutes
BATCH = 256
QUANTITIES = {
    "windows": "processor seconds: cutting windows",
    "epoch": "processor seconds: one epoch",
    "forecasts": "processor seconds: one forecast each",
    "peak": "MB of memory at most",
}


def telemetry(nodes: int) -> pd.DataFrame:
    """Made-up telemetry: a daily rhythm of its own and noise for each node; only its size matters here."""
    count = DAYS * 288
    random, at = np.random.default_rng(0), np.arange(count)
    turns = 2 * np.pi * (at[None, :] / 288 + random.random((nodes, 1)))
    usage = 50 + 30 * np.sin(turns) + random.normal(0, 5, (nodes, count))
    times = pd.date_range("2026-01-01", periods=count, freq="5min", tz="UTC")
    names = np.repeat([f"node-{number:04d}" for number in range(nodes)], count)
    return pd.DataFrame({"timestamp": np.tile(times, nodes), "node": names, "cpu_usage": usage.ravel()})


def measure(nodes: int) -> dict[str, float]:
    """Processor seconds of all threads and the peak of this process's memory in MB, for one shared network of the book's kind."""
    from vdslib.forecasting import prepare
    from vdslib.networks import Job, Settings, models, predict, training

    frame = telemetry(nodes)
    began = time.process_time()
    data = prepare(
        frame, features=["cpu_usage"], target="cpu_usage", window=WINDOW, horizon=HORIZON, rhythms=["1d"]
    )
    cut = time.process_time()
    design = models.design(data.train)

    def build(seed: int) -> Any:
        return models.build("anchored", **design, units=[32], dropout=0.0, seed=seed)

    job = Job(
        build, data.train, None, Settings(epochs=1, batch_size=BATCH, patience=0, restore_best=False), 1
    )
    network = training.train([job])[0].model
    trained = time.process_time()
    latest = data.test.take(np.sort([chosen[-1] for chosen in data.test.by_node().values()]))
    predict(network, latest)
    done = time.process_time()
    return {
        "windows": cut - began,
        "epoch": trained - cut,
        "forecasts": done - trained,
        "peak": peak_memory(),
    }


def peak_memory() -> float:
    """The most memory in MB that this process ever had."""
    status = Path("/proc/self/status")
    if (
        status.is_file()
    ):  # what getrusage says on Linux begins with the peak of the process that started this one
        return int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1]) / 1024  # type: ignore[index]
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1024 / (1024 if sys.platform == "darwin" else 1)


def measured(nodes: int) -> pd.DataFrame:
    """Rows of the table for one number of nodes, measured in a fresh process."""
    command = [sys.executable, "-m", "vdslib.chapters.growing", str(nodes)]
    # programs compiled before are not used: each process pays for its own
    own = {name: value for name, value in os.environ.items() if name != "TF_XLA_FLAGS"}
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=own).stdout
    values = json.loads(printed.splitlines()[-1])
    return pd.concat(rows("growth", {("", "", 0, nodes): value}, name) for name, value in values.items())


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
