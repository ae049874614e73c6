"""A study of hyperparameters (1.2, reference 3): its trials as a committed table, and what they say.

``make tables ONLY=hyperparameters`` makes the table: two sweeps over the notebook ``3-6-trial``, by the plans in
``book/studies``; then, in this process, the random settings once more and a search by Optuna. Finished runs are found
again.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pandas as pd
import yaml
from tqdm import TqdmWarning, tqdm

from vdslib import files, sources
from vdslib.errors import TelemetryError
from vdslib.experiments.effects import compared
from vdslib.forecasting import Prepared, default_features, prepare
from vdslib.networks import Job, Settings, models, training
from vdslib.telemetry import select

if TYPE_CHECKING:
    import optuna

NAMES = ("units", "epochs", "learning_rate", "momentum", "dropout", "window")
"""The hyperparameters: the five of the paper's reference 3, hidden nodes being ``units``, and the window length."""

TRIAL = "3-6-trial"  # notebook of one trial
EXPERIMENT = "hyperparameters"  # name that its runs are kept under
DIVERGED = 1.0  # what Optuna is told where the error is no number: worse than any constant on this scale
OPTUNA = {"trials": 40, "at_once": 4, "seed": 1}  # the search that the table has
TABLE, PROVENANCE = "hyperparameters.csv", "hyperparameters.json"
PLANS = ("one-at-a-time", "random")
_KEPT = (*NAMES, "seed", "validation_mse", "train_mse", "seconds", "cell_seconds")


def plan(name: str) -> dict[str, Any]:
    """The plan of a sweep in ``book/studies``, as ``vdslib.experiments.sweeps`` reads it."""
    path = files.root() / "book" / "studies" / f"{name}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def space() -> dict[str, Any]:
    """Choices and intervals of the random plan, with the size of its one layer as a number."""
    over = plan("random")["random"]["over"]
    return over | {"units": [units[0] for units in over["units"]]}


def read_table(file: Path, telemetry: str = "recorded") -> pd.DataFrame:
    """The trials: ``plan``, the hyperparameters, ``seed``, ``validation_mse`` and ``train_mse`` (missing where the
    training diverged), wall ``seconds`` of the run and of its cells (``cell_seconds``).

    TelemetryError where there is no such table, or its trials were made with other telemetry.
    """
    if not file.is_file():
        raise TelemetryError(
            f"study: there is no {file}; python -m vdslib.chapters.hyperparameters {file.parent} makes it"
        )
    table = pd.read_csv(file)
    missing = {"plan", "telemetry", *_KEPT} - set(table)
    if missing:
        raise TelemetryError(f"study: {file} is no table of a study, it has no {', '.join(sorted(missing))}")
    made = ", ".join(sorted(set(table["telemetry"])))
    if made != telemetry:
        raise TelemetryError(
            f"telemetry: the trials in {file} were made with {made}, not with {telemetry}. Make a table of your own: "
            f"python -m vdslib.chapters.hyperparameters FOLDER --telemetry {telemetry}, then give FOLDER as study."
        )
    return table


def one_at_a_time(table: pd.DataFrame) -> pd.DataFrame:
    """Trials in which one hyperparameter took each of its values, the others their defaults, tidy.

    Columns: name, value, seed, mse. The trials at the defaults come once for each name.
    """
    rows = table[table["plan"] == "one-at-a-time"]
    parts = [
        pd.DataFrame({"name": name, "value": alone[name].astype(float), "seed": alone["seed"]}).assign(
            mse=alone["validation_mse"]
        )
        for name in NAMES
        for alone in [compared(rows, NAMES, name).sort_values([name, "seed"])]
    ]
    return pd.concat(parts, ignore_index=True)


def effects(trials: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """How far each hyperparameter moves the error, and how far seeds do, from the trials of ``one_at_a_time``.

    A row for each name: best and worst value by the mean error over seeds, and ``effect``, the difference of these
    two means. A setting with a diverged seed has no mean and counts as neither. For seeds: the largest error less the
    smallest among the seeds of one setting, the median over all settings.
    """
    groups = trials.groupby(["name", "value"], sort=False)["mse"]
    means = groups.agg(lambda errors: errors.mean(skipna=False)).unstack(0)
    spread = float(np.nanmedian(groups.max() - groups.min()))
    rows = {
        name: {
            "best value": means[name].idxmin(),
            "worst value": means[name].idxmax(),
            "effect": means[name].max() - means[name].min(),
        }
        for name in NAMES
    }
    return pd.DataFrame.from_dict(rows, orient="index"), spread


def by_seed(trials: pd.DataFrame, effects: pd.DataFrame) -> tuple[dict[str, list[float]], list[float]]:
    """What the two results of ``effects`` are means and a median of: for each name the difference between its worst and
    its best value, one for each seed; and what seeds do to each setting."""
    wide = trials.pivot_table(index=["name", "value"], columns="seed", values="mse", dropna=False)
    rows = effects[["worst value", "best value"]].astype(float)
    differences = {
        name: (wide.loc[name, worst] - wide.loc[name, best]).tolist()
        for name, worst, best in rows.itertuples()
    }
    groups = trials.groupby(["name", "value"], sort=False)["mse"]
    return differences, (groups.max() - groups.min()).dropna().tolist()


def leads(
    trials: pd.DataFrame, single: Sequence[str], joint: str, repetitions: int = 400, seed: int = 0
) -> np.ndarray:
    """By how much ``joint`` tells more than the best of ``single``, in each of many bootstrap samples of the trials.

    What a column tells is the size of its rank correlation with ``validation_mse``. [repetitions]; trials that
    diverged are left out.
    """
    known = trials[[*single, joint, "validation_mse"]].dropna()
    random = np.random.default_rng(seed)
    sizes = [
        known.iloc[random.integers(len(known), size=len(known))].corr("spearman")["validation_mse"].abs()
        for _ in range(repetitions)
    ]
    return np.array([each[joint] - each[list(single)].max() for each in sizes])


def fresh_seeds(table: pd.DataFrame, values: Mapping[str, Any], first: int, count: int) -> list[int]:
    """The ``count`` lowest seeds from ``first`` on from which no trial of the table was trained with these values.

    A setting that was chosen for its error is judged by seeds that had no part in the choice.
    """
    alike = (table[list(NAMES)] == pd.Series(values)[list(NAMES)]).all(axis=1)
    used = set(table.loc[alike, "seed"])
    return [seed for seed in range(first, first + count + len(used)) if seed not in used][:count]


def suggest(trial: optuna.Trial, space: Mapping[str, Any]) -> dict[str, Any]:
    """Values for a trial of Optuna from the space of a random plan: a list is a choice, low and high are an interval."""
    values: dict[str, Any] = {}
    for name, part in space.items():
        if isinstance(part, list):
            values[name] = trial.suggest_categorical(name, part)
        elif isinstance(part["low"], int):
            values[name] = trial.suggest_int(name, part["low"], part["high"], log=part.get("log", False))
        else:
            values[name] = trial.suggest_float(name, part["low"], part["high"], log=part.get("log", False))
    return values


def job(data: Prepared, values: Mapping[str, Any], seed: int) -> Job:
    """The training of one trial, as the notebook of a trial does it; ``data`` has windows of the right length."""

    def build(seed: int) -> Any:
        size = {
            "window": data.train.x.shape[1],
            "features": data.train.x.shape[2],
            "outputs": data.train.y.shape[1],
        }
        return models.build("textbook", **size, units=[values["units"]], dropout=values["dropout"], seed=seed)

    fitting = Settings(
        "sgd",
        values["learning_rate"],
        values["momentum"],
        values["epochs"],
        32,
        patience=0,
        restore_best=False,
    )
    return Job(build, data.train, data.validation, fitting, seed)


def prepared(telemetry: str, windows: Sequence[int]) -> dict[int, Prepared]:
    """The data of a trial for each length of window: target and features are the defaults of the telemetry."""
    frame = sources.read(telemetry)
    target = sources.default_target(frame)
    features = default_features(frame, target, past=True)
    series = select(frame, "system")
    return {window: prepare(series, features=features, target=target, window=window) for window in windows}


def errors(jobs: Sequence[Job]) -> list[float]:
    """Validation MSE of each training; NaN where it diverged."""
    losses = []
    for job, done in zip(jobs, training.train(jobs), strict=True):
        assert job.validation is not None  # `job` gives each its own
        losses += training.losses(done.model, job.validation)
    return losses


def search(
    data: Mapping[int, Prepared], space: Mapping[str, Any], trials: int, at_once: int, seed: int
) -> list[dict[str, Any]]:
    """A search by Optuna: the values of each trial and its ``validation_mse``, in the order of the trials."""
    with warnings.catch_warnings():  # its own progress bars look for widgets when they are imported
        warnings.simplefilter("ignore", TqdmWarning)
        import optuna
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tried: list[dict[str, Any]] = []
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    with tqdm(total=trials, desc="Optuna", leave=False, ascii=True, disable=None) as bar:
        while len(tried) < trials:
            asked = [study.ask() for _ in range(min(at_once, trials - len(tried)))]
            settings = [suggest(trial, space) for trial in asked]
            reached = errors([job(data[values["window"]], values, seed) for values in settings])
            for trial, values, error in zip(asked, settings, reached, strict=True):
                study.tell(trial, error if np.isfinite(error) else DIVERGED)
                tried.append({**values, "seed": seed, "validation_mse": error})
            bar.update(len(asked))
    return tried


def best_so_far(errors: Sequence[float]) -> np.ndarray:
    """[trials]: the least error of the first trial, the first two, and so on; NaN before there is any."""
    return np.fmin.accumulate(np.asarray(errors, float))


def orders_at_random(errors: Sequence[float], orders: int = 1000, seed: int = 0) -> np.ndarray:
    """``best_so_far`` of the same trials in random orders, ``[orders, trials]``: random search has no order of its own."""
    generator = np.random.default_rng(seed)
    shuffled = generator.permuted(np.tile(np.asarray(errors, float), (orders, 1)), axis=1)
    return np.fmin.accumulate(shuffled, axis=1)


def main(folder: Path, telemetry: str = "recorded", out: str = "runs") -> None:
    """Make the runs of the study that are not there yet and write its table, and where it comes from, to ``folder``."""
    table, environment = _swept(telemetry, out)
    data = prepared(telemetry, space()["window"])
    drawn = table[table["plan"] == "random"]
    rows: list[dict[str, Any]] = drawn.to_dict("records")  # type: ignore[assignment]
    start = time.monotonic()
    again = errors([job(data[row["window"]], row, row["seed"]) for row in rows])
    spent = time.monotonic() - start
    provenance = {
        **{key: environment[key] for key in ("commit", "python", "processor", "cores", "threads", "data")},
        "packages": {name: environment["packages"][name] for name in ("tensorflow", "keras", "numpy")},
        "seconds_per_trial_in_process": round(spent / len(drawn), 2),
        "largest_relative_difference": float(np.nanmax(np.abs(again / drawn["validation_mse"] - 1))),
    }
    searched = pd.DataFrame(search(data, space(), **OPTUNA)).assign(plan="optuna", telemetry=telemetry)
    columns = pd.concat([table, searched])[["plan", "telemetry", *_KEPT]]
    folder.mkdir(parents=True, exist_ok=True)
    files.save(folder / TABLE, columns.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    files.save(folder / PROVENANCE, json.dumps(provenance, indent=1) + "\n")


def _swept(telemetry: str, out: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The finished runs of both plans, and the environment of the first."""
    from vdslib.experiments import (  # a chapter that reads the table needs none of them
        results,
        runs,
        storage,
        sweeps,
    )

    subject, place = runs.subject(TRIAL), storage.Place(out, EXPERIMENT)
    parts = []
    for name in PLANS:
        planned, _ = sweeps.plan(subject, plan(name), {"telemetry": telemetry})
        summary = sweeps.sweep(planned, place, workers=joblib.cpu_count())
        if summary.failed:
            raise SystemExit(f"{len(summary.failed)} runs failed: vds results {EXPERIMENT} shows why")
        rows = results.table(EXPERIMENT, out).set_index("id").loc[[run.id for run in planned]]
        units = [run.parameters["units"][0] for run in planned]
        parts.append(rows.assign(plan=name, units=units))
    return pd.concat(parts), place.read("environment.json")[planned[0].id]


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="Make the table of the study of hyperparameters.")
    options.add_argument("folder", type=Path, help="folder for the table, data for the committed one")
    options.add_argument(
        "--telemetry", default="recorded", help="telemetry of all trials (default: recorded)"
    )
    options.add_argument("--out", default="runs", help="folder of the runs (default runs)")
    main(**vars(options.parse_args()))
