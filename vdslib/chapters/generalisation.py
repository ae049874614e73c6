"""Ten machines of a data centre: which they are, and the committed table of the study of chapter 4.2.

``vdslib.chapters.generalisation_study`` makes the table. A row is one number: which ``part`` of the study, of which
``machine``, by which ``model`` and ``seed`` (0: the mean forecast of all seeds, or no seed at all), ``at`` which step ahead,
day, machine or number of machines, and what ``quantity`` it is. Errors are mean squared errors on the machine's own scale,
0 to 1 over its past; "relative" ones are divided by that of persistence.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from vdslib import files
from vdslib.errors import TelemetryError

COLUMNS = ["part", "machine", "model", "seed", "at", "quantity", "value"]
MONTH, WINDOW, HORIZON = "2013-8", 24, 12  # of the committed table
MACHINES = {
    "332": "daily peaks, a plateau during the week",
    "411": "a clean daily rhythm",
    "338": "a job at the same time each day",
    "386": "a slow trend, much disc traffic",
    "41": "batch: long blocks, off or full",
    "187": "batch: on or off, the disc busy with it",
    "407": "nearly saturated, a rhythm of an hour",
    "270": "a level that changes for good",
    "16": "idle, with rare peaks",
    "306": "constant, with noise",
}
"""The machines and their kinds: picked by how their month looks, one of each kind, before any network was trained."""
OTHERS = ("9", "13", "18", "19", "21", "25", "44", "85", "100", "114", "116", "123")
"""Machines that no network learns from. (Of those pinned only 427 is missing: its usage never moves.)"""
MODELS = ("persistence", "mean", "ridge", "boosting", "boosting, level out", "textbook", "anchored")
STEPS = (1, HORIZON)
NEGLIGIBLE = (
    0.1  # points of usage: where persistence errs by less, errors are compared as they are, not as a ratio
)
LIMIT = 1.1  # times the error of persistence that a forecaster should never exceed


def rows(part: str, values: Mapping[Any, float], quantity: str = "mse") -> pd.DataFrame:
    """Rows of the table from numbers by (machine, model, seed, at)."""
    table = pd.DataFrame([(part, *key, quantity, value) for key, value in values.items()], columns=COLUMNS)
    return table.astype({"machine": str, "at": str, "seed": int, "value": float})


def save_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write the results as CSV, at once or not at all."""
    files.save(path, table[COLUMNS].to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def read_table(path: str | Path | None = None) -> pd.DataFrame:
    """The results as ``save_table`` wrote them; those committed unless there is a ``path``."""
    path = files.root() / "data" / "generalisation.csv" if path is None else path
    texts = {name: str for name in ("part", "machine", "model", "at", "quantity")}
    return pd.read_csv(path, dtype=texts, keep_default_na=False, na_values={"value": ["", "inf"]})


def committed(table: pd.DataFrame, machines: Sequence[str], **asked: object) -> pd.DataFrame:
    """The rows of the committed table for these machines, with those that belong to no machine.

    ``asked``: month, window and horizon of the run. TelemetryError, naming the parameter, for what the table has not.
    """
    made = {"month": MONTH, "window": WINDOW, "horizon": HORIZON}
    there = list(dict.fromkeys(table.loc[table["part"] == "own", "machine"]))
    wrong: list[tuple[str, object, list[object]]] = [
        ("machines", name, [*there]) for name in machines if name not in there
    ]
    wrong += [(name, value, [made[name]]) for name, value in asked.items() if value != made[name]]
    for name, value, held in wrong:
        raise TelemetryError(
            f"{name}: {value} is not in the committed table generalisation.csv, which holds "
            f"{', '.join(map(str, held))}. Take what it holds, or set recompute, with the network or a folder of "
            "traces that VDS_TRACES names."
        )
    chosen = table["machine"].isin([*machines, ""]) | table["part"].isin(["left out", "drift"])
    of_matrix = (table["part"] == "matrix") & ~table["at"].isin(list(machines))
    return table[chosen & ~of_matrix]


def pick(table: pd.DataFrame, part: str, quantity: str = "mse", **wanted: object) -> pd.DataFrame:
    """The rows of one part and quantity, and of these values in other columns."""
    chosen = (table["part"] == part) & (table["quantity"] == quantity)
    for name, value in wanted.items():
        chosen &= table[name] == (str(value) if name == "at" else value)
    return table[chosen]


def wide(
    table: pd.DataFrame, part: str, columns: str = "model", quantity: str = "mse", **wanted: object
) -> pd.DataFrame:
    """A row for each machine and a column for each value of ``columns``, both in the order of the table.

    Several values of one cell, of several seeds, are averaged; no number among them leaves none.
    """
    found = pick(table, part, quantity, **wanted)
    means = (
        found.groupby(["machine", columns], sort=False)["value"]
        .agg(lambda each: each.mean(skipna=False))
        .unstack()
    )
    order = [list(dict.fromkeys(found[name])) for name in ("machine", columns)]
    return means.reindex(index=order[0], columns=order[1]).rename_axis(columns=None)


def compared(table: pd.DataFrame, model: str, rival: str, step: int) -> pd.DataFrame:
    """One forecaster (its seeds averaged) against another on each machine, so many steps ahead.

    Columns: ``ratio`` of the mean squared errors with its 99% interval over time (``low``, ``high``); ``points``, by which
    root mean squared error of the model lies above the rival's (``rival points``), in points of usage; ``verdict``: "better" or "worse" where the
    interval lies on one side of 1, else "level". Where the rival errs by less than ``NEGLIGIBLE`` points, a ratio says little:
    the verdict is that of the points, "level" within ``NEGLIGIBLE``.
    """
    parts = {
        name: wide(table, "own", quantity=f"{name} against {rival}", at=step, model=model)[model]
        for name in ("ratio", "low", "high")
    }
    errors = wide(table, "own", at=step, seed=0)[[model, rival]] ** 0.5
    points = errors.mul(wide(table, "own", quantity="span")[""], axis=0)
    result = pd.DataFrame(parts).assign(points=points[model] - points[rival])
    apart = np.select([result["high"] < 1, result["low"] > 1], ["better", "worse"], "level")
    further = np.select(
        [result["points"] < -NEGLIGIBLE, result["points"] > NEGLIGIBLE], ["better", "worse"], "level"
    )
    result["rival points"] = points[rival]
    result["verdict"] = np.where(points[rival] < NEGLIGIBLE, further, apart)
    return result


def last_step(table: pd.DataFrame) -> int:
    """The furthest step ahead at which single machines were judged."""
    return int(pick(table, "own")["at"].astype(int).max())


def matrix(table: pd.DataFrame, model: str) -> pd.DataFrame:
    """Error over persistence, ``HORIZON`` steps ahead: a row for each machine learnt from, a column for each tested, in the
    same order."""
    found = wide(table, "matrix", "at", "relative", model=model).T
    return found.reindex(columns=found.index).rename_axis("learnt from").rename_axis(columns="tested on")


def by_number(table: pd.DataFrame) -> pd.DataFrame:
    """Error over persistence on machines never learnt from, over the number of machines learnt from.

    The median over the machines, for each draw; then mean, lowest and highest over the draws. Columns by model.
    """
    found = pick(table, "left out", "relative")
    medians = found.groupby(["model", "at", "seed"], sort=False)["value"].median()
    return medians.groupby(["model", "at"], sort=False).agg(["mean", "min", "max"])


def line(sizes: ArrayLike, values: ArrayLike, up_to: float) -> tuple[float, float]:
    """Intercept and slope of the straight line through the values at sizes up to ``up_to``, by least squares."""
    known = np.asarray(sizes, float) <= up_to
    slope, intercept = np.polyfit(np.asarray(sizes, float)[known], np.asarray(values, float)[known], 1)
    return float(intercept), float(slope)


def within_limit(found: pd.DataFrame) -> pd.Series:
    """For each machine of a table of ``compared`` with persistence: is the error at most ``LIMIT`` times its error? Where
    that is near 0: at most ``NEGLIGIBLE`` points above it."""
    near_nothing = found["rival points"] < NEGLIGIBLE
    return (found["ratio"] <= LIMIT) | (near_nothing & (found["points"] <= NEGLIGIBLE))


def borrowed(ratios: pd.DataFrame) -> dict[str, float | str]:
    """What a matrix of errors over persistence says: the medians at home and abroad, the share of pairs abroad that are
    below 1, the machine that is the best teacher for the others and the worst, with their medians. NaN for one machine alone."""
    values = ratios.to_numpy(float)
    home = pd.Series(np.diag(values), ratios.index)
    abroad = ratios.where(~np.eye(len(values), dtype=bool))
    taught = abroad.median(axis=1)
    some = taught.notna().any()
    pairs = abroad.to_numpy()[~np.eye(len(values), dtype=bool)]
    return {
        "home": float(home.median()),
        "abroad": float(np.median(pairs)) if some else np.nan,
        "below": float(np.mean(pairs < 1)) if some else np.nan,
        "teacher": str(taught.idxmin()) if some else "none",
        "teacher_ratio": float(taught.min()),
        "worst": str(taught.idxmax()) if some else "none",
        "worst_ratio": float(taught.max()),
    }
