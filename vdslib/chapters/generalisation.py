"""One forecaster's design on many machines: what is measured for each, and the table that keeps it.

The paper (section 4) asks whether such models generalise to other systems. Here the same network is trained anew
on each machine's own past and compared with the simple forecasters on its future.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vdslib import files
from vdslib.errors import TelemetryError
from vdslib.evaluation import mse
from vdslib.forecasting import Forecasts, Persistence, Prepared, Ridge, TrainingMean
from vdslib.networks import Job, Settings, training

NAMES = ["machine", "window", "model", "seed", "quantity", "value"]


def measure(
    parts: Mapping[str, Prepared], build: Callable[[int], Any], settings: Settings, seeds: Sequence[int]
) -> pd.DataFrame:
    """Test MSE of the network and of persistence, mean and ridge on each machine, tidy.

    ``parts`` by name of the machine, all with windows of one shape; ``build`` makes the network for a seed. All
    networks are trained together; each watches its machine's validation part. Ridge sees the whole window.
    Columns: machine, window (time steps), model, seed, quantity ("mse"), value. On the scale 0 .. 1 of the rows
    before each machine's test part.
    """
    jobs = [
        Job(build, data.train, data.validation, settings, seed, name)
        for name, data in parts.items()
        for seed in seeds
    ]
    rows = []
    for job, trained in zip(jobs, training.train(jobs), strict=True):
        test = parts[job.name].test
        rows.append((job.name, test.x.shape[1], "lstm", job.seed, training.losses(trained.model, test)[0]))
    for name, data in parts.items():
        window = data.test.x.shape[1]
        models: dict[str, Forecasts] = {
            "persistence": Persistence(),
            "mean": TrainingMean(),
            "ridge": Ridge(lags=window),
        }
        for model, forecaster in models.items():
            forecast = forecaster.fit(data.train_full).forecast(data.test)
            rows.append((name, window, model, 0, mse(data.test.y, forecast)))
    table = pd.DataFrame(rows, columns=["machine", "window", "model", "seed", "value"])
    return table.assign(quantity="mse")[NAMES]


def describe(parts: Mapping[str, Prepared]) -> pd.DataFrame:
    """What the parts of each machine are like, as rows of the same table: windows, mean and standard deviation of the
    target before and in the test part."""
    rows = []
    for name, data in parts.items():
        for part, windows in (("training", data.train_full), ("test", data.test)):
            values = {"windows": len(windows), "mean": windows.y.mean(), "sd": windows.y.std()}
            rows += [
                (name, data.test.x.shape[1], part, 0, quantity, float(v)) for quantity, v in values.items()
            ]
    return pd.DataFrame(rows, columns=NAMES)


def by_model(table: pd.DataFrame, window: int) -> pd.DataFrame:
    """Mean MSE over seeds, a row per machine and a column per model, for windows of one length; with the network's
    spread over the seeds (sample standard deviation, "lstm spread"). NaN where a seed diverged."""
    rows = table[(table["quantity"] == "mse") & (table["window"] == window)]
    groups = rows.groupby(["machine", "model"], sort=False)["value"]
    means = groups.mean(skipna=False).unstack()
    spread = groups.std(skipna=False).unstack()["lstm"]
    order = list(dict.fromkeys(rows["machine"]))
    return means.assign(**{"lstm spread": spread}).loc[order].rename_axis(columns=None)


def save_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write the results as CSV, at once or not at all."""
    files.save(path, table.to_csv(index=False, float_format="%.10g", lineterminator="\n"))


def read_table(path: str | Path) -> pd.DataFrame:
    """The results as ``save_table`` wrote them."""
    return pd.read_csv(path, dtype={"machine": str})


def committed(
    path: str | Path, machines: Sequence[str], *, month: str, window: int, horizon: int
) -> pd.DataFrame:
    """The rows of the committed table for these machines, for a run that has no traces.

    The table holds one month and one horizon, and one length of window for all machines. TelemetryError, naming the
    parameter, for anything else.
    """
    table = read_table(path)
    described = table[table["model"] == "test"]
    held = {
        "machines": (machines, sorted(set(described["machine"]))),
        "month": ([month], ["2013-8"]),
        "window": ([window], sorted(set(described["window"]))),
        "horizon": ([horizon], [1]),
    }
    for name, (asked, there) in held.items():
        for value in asked:
            if value not in there:
                raise TelemetryError(
                    f"{name}: {value} is not in the committed table {Path(path).name}, which holds "
                    f"{', '.join(map(str, there))}. Take what it holds, or compute the rest from the traces: connect "
                    "to the network, or set VDS_TRACES to a folder that holds them."
                )
    return table[table["machine"].isin(machines)]
