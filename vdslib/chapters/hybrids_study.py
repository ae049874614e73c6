"""The study of chapter 4.1: its trials as a committed table, and what they say.

``make tables ONLY=hybrids`` makes the table: sweeps over the notebook ``4-1-trial`` by the plans in ``book/studies``,
then, in this process, one network for five targets against five. Finished runs are found again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from vdslib import files
from vdslib.chapters import hybrids
from vdslib.chapters.hyperparameters import plan
from vdslib.errors import TelemetryError
from vdslib.evaluation import equal_budget, significance, skill
from vdslib.networks import Settings

TRIAL = "4-1-trial"  # notebook of one trial
EXPERIMENT = "hybrids"  # name that its runs are kept under
TABLE = "hybrids.csv"
PLANS = (
    "hybrids",
    "hybrids-architectures",
    "hybrids-level-free",
    "hybrids-nodes",
)
SETTING = [
    "telemetry",
    "target",
    "network",
    "units",
    "time",
    "level",
    "nodes",
    "tasks",
]  # what tells trials apart
SEEDS = [f"seed_{n}" for n in range(1, 6)]
MEASURED = ["mse", *SEEDS, "persistence", "mean", "validation", "p", "skill", "low", "high"]
BUDGET = ["trials", "windows", "epochs"]
SPENT = [*BUDGET, "parameters", "seconds"]
FIVE = Settings(learning_rate=0.003, epochs=60, batch_size=64, patience=8)  # of the trials' rates the second
SIZE = 0.1  # a model whose p-value is above it is in the confidence set at 90%


def read_table(file: Path) -> pd.DataFrame:
    """The trials, a row for each and each step ahead.

    ``mse`` of the mean forecast over the seeds, ``seed_1`` .. of single seeds; ``persistence`` and ``mean`` on the
    same rows; ``p`` of the model confidence set among all trials of the same telemetry, target and step; ``skill`` over
    boosting with the same inputs and its interval; ``validation`` over all steps,
    before the test part; settings, and what was spent. TelemetryError where there is no such table.
    """
    if not file.is_file():
        raise TelemetryError(f"study: there is no {file}; make tables ONLY=hybrids makes it")
    table = pd.read_csv(file, keep_default_na=False, na_values={name: [""] for name in MEASURED})
    if missing := {*SETTING, "step", *MEASURED, *SPENT} - set(table):
        raise TelemetryError(f"study: {file} has no column {', '.join(sorted(missing))}: make it anew")
    return table


def rows_of(parameters: Mapping[str, Any], results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of one trial, from its parameters and what it recorded (``hybrids.judged``)."""
    setting = {name: parameters[name] for name in ("telemetry", "network", "time", "level")}
    setting["nodes"] = parameters["by_node"]
    setting |= {"target": results["target"], "units": "-".join(map(str, parameters["units"])), "tasks": 1}
    spent = {"trials": results["trials"], "epochs": parameters["epochs"]}
    spent |= {name: results[name] for name in ("windows", "parameters", "seconds")}
    return [
        {
            **setting,
            "step": step,
            "mse": results["mse"][place],
            **{f"seed_{n}": errors[place] for n, errors in enumerate(results["seeds"], start=1)},
            "validation": results["validation"],
            "persistence": results["persistence"][place],
            "mean": results["mean"][place],
            **spent,
        }
        for place, step in enumerate(parameters["steps"])
    ]


def compared(table: pd.DataFrame, losses: Sequence[Sequence[float]]) -> pd.DataFrame:
    """The table with the p-value of each row in the confidence set of its telemetry, target and step; and with its
    ``skill`` over boosting with the same inputs, the ends ``low`` and ``high`` of its interval at 95%.

    ``losses``: for each row of the table those of its test windows, in time.
    """
    table = table.assign(p=np.nan, skill=np.nan, low=np.nan, high=np.nan)
    for _, rows in table.groupby(["telemetry", "target", "step"]):
        together = pd.DataFrame({row: losses[row] for row in rows.index})
        step = int(rows["step"].iloc[0])
        table.loc[rows.index, "p"] = significance.model_confidence_set(together, step, size=SIZE)
        for _, alike in rows.groupby(["time", "nodes"]):
            rivals = alike.index[(alike["network"] == "boosting") & (alike["level"] == "")]
            for row in alike.index.difference(rivals) if len(rivals) else ():
                pair = together[row], together[rivals[0]]
                ends = significance.skill_interval(*pair, step)
                table.loc[row, ["skill", "low", "high"]] = skill(pair[0].mean(), pair[1].mean()), *ends
    return table


def gains(rows: pd.DataFrame, plain: tuple[str, str], hybrid: tuple[str, str]) -> np.ndarray:
    """[seeds]: by which share of its error ``hybrid`` is better than ``plain`` (network and units), mean over the steps."""
    own, other = (rows.loc[[name]].set_index("step")[SEEDS].sort_index() for name in (hybrid, plain))
    return np.asarray((1 - own / other).mean(axis=0), dtype=float)


def alone_and_together(table: pd.DataFrame, step: int) -> pd.DataFrame:
    """The errors at one step of five networks with one target each, and of one with all five; a row for each target."""
    rows = table[(table["step"] == step) & (table["network"] == "lstm") & (table["validation"].isna())]
    wide = rows.pivot(index="target", columns="tasks", values="mse")
    return wide.rename(columns={1: "alone", 5: "together"}).rename_axis(columns=None)


def main(folder: Path, plans: Sequence[str] = PLANS, out: str = "runs") -> None:
    """Make the runs of the study that are not there yet, and write its table to ``folder``."""
    from vdslib.experiments import results, runs, storage, sweeps

    subject, place = runs.subject(TRIAL), storage.Place(out, EXPERIMENT)
    rows: list[dict[str, Any]] = []
    losses: list[list[float]] = []
    for name in plans:
        planned, _ = sweeps.plan(subject, plan(name), {})
        summary = sweeps.sweep(planned, place, workers=joblib.cpu_count())
        if summary.failed:
            raise SystemExit(f"{len(summary.failed)} runs failed: vds results {EXPERIMENT} shows why")
        kept = place.read("results.json")
        for run in planned:
            recorded = results.recorded(kept[run.id])
            rows += rows_of(run.parameters, recorded)
            losses += recorded["losses"]
    table = compared(pd.DataFrame(rows), losses)
    for _, own in table.groupby("telemetry"):
        equal_budget(own.set_index("network"), BUDGET)
    several = pd.DataFrame(hybrids.five_targets(FIVE))
    table = pd.concat([table, several], ignore_index=True)[[*SETTING, "step", *MEASURED, *SPENT]]
    files.save(folder / TABLE, table.to_csv(index=False, float_format="%.5g", lineterminator="\n"))


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="Make the table of the study of chapter 4.1.")
    options.add_argument("folder", type=Path, help="folder for the table, data for the committed one")
    options.add_argument("--plans", nargs="+", default=PLANS, help="plans in book/studies (default: all)")
    options.add_argument("--out", default="runs", help="folder of the runs (default runs)")
    main(**vars(options.parse_args()))
