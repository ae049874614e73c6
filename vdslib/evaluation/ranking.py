"""The table of models: every registered forecaster, and networks beside them, fitted, judged and compared."""

import inspect
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vdslib.errors import notice
from vdslib.evaluation.measures import evaluate, members, summary
from vdslib.evaluation.significance import losses, versus
from vdslib.forecasting import (
    FORECASTERS,
    AdaptiveConformal,
    Conformal,
    Forecasts,
    Prepared,
    coverage_interval,
    covered,
    winkler,
)

Models = Mapping[str, Forecasts | Sequence[Forecasts]]


def fitted(data: Prepared, period: int = 0) -> tuple[dict[str, Forecasts], dict[str, float]]:
    """Every registered forecaster fitted on ``data.train_full``, by name, and the seconds that each took.

    ``period`` is the season in rows of those that are made with one; with 0 each finds it in training.
    """
    models, seconds = {}, {}
    for name in FORECASTERS.names():
        make = FORECASTERS.get(name)
        start = time.perf_counter()
        seasonal = "period" in inspect.signature(make).parameters
        model: Any = make(period=period or None) if seasonal else make()  # type: ignore[call-arg]
        models[name] = model.fit(data.train_full)
        seconds[name] = time.perf_counter() - start
    return models, seconds


def standings(
    models: Models,
    data: Prepared,
    *,
    reference: str = "persistence",
    period: int = 0,
    repetitions: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Fitted forecasters on the test part, the best first: a row for each model.

    Columns: mse and its spread over seeds, mse, mae, rmse and bias in the target's unit, mase, and what
    ``vdslib.evaluation.significance.versus`` says of the skill over ``reference``. All steps of the horizon together. ``period``
    is the season of mase in rows; with 0 it is found in training. A model with a forecast that is not finite has an
    empty row at the end, and a notice names it.
    """
    tidy = evaluate(models, data.test, data.train_full, to_units=data.to_units, period=period)
    for line in diverged(models, tidy):
        notice(line)
    measures = summary(tidy)[["mse", "mse spread", "mse_unit", "mae_unit", "rmse_unit", "bias_unit", "mase"]]
    against = versus(losses(models, data.test), reference, data.horizon, repetitions=repetitions, seed=seed)
    return measures.join(against.drop(columns="loss")).sort_values("mse", kind="stable")


def diverged(models: Models, tidy: pd.DataFrame) -> list[str]:
    """A line for each of ``models`` whose errors in the table of ``evaluate`` are not finite: name, seed, learning rate."""
    infinite = tidy[(tidy["metric"] == "mse") & ~np.isfinite(tidy["value"])]
    known = {(name, seed): model for name, seed, model in members(models)}
    lines = []
    for name, seed in infinite[["model", "seed"]].drop_duplicates().itertuples(index=False):
        rate = getattr(known[name, seed], "learning_rate", None)
        trained = "" if rate is None else f", learning rate {rate:.6g}"
        lines.append(f"{name} has no error: forecasts of seed {seed}{trained} are not finite, or too large")
    return lines


def coverages(
    models: Models, data: Prepared, levels: Sequence[float] = (0.8, 0.95), *, repetitions: int = 1000
) -> pd.DataFrame:
    """What intervals around forecasters hold on the test part: a row for each model, kind and nominal coverage.

    ``models`` must be fitted on ``data.train``; their errors on ``data.validation`` make conformal intervals, split
    and adaptive. A model with intervals of its own has a row of kind "own" too. Columns: coverage over
    all steps, that at the last step with its 95% interval (low, high; by blocks in time), and the mean Winkler score
    in the target's unit; NaN where forecasts are not finite. Of several seeds the first counts.
    """
    first = {name: model for name, _, model in reversed(list(members(models)))}
    unit = float(np.diff(data.to_units(np.array([0.0, 1.0])))[0])
    rows = []
    for name in models:
        kinds = {
            "split": Conformal(first[name]).calibrate(data.validation),
            "adaptive": AdaptiveConformal(first[name]).calibrate(data.validation),
        }
        if hasattr(first[name], "interval"):
            kinds["own"] = first[name]
        for kind, model in kinds.items():
            for level in levels:
                lower, upper = model.interval(data.test, level)
                inside = covered(data.test.y, lower, upper)
                # nodes miss together: one share for each moment, or four nodes would count as four times the evidence
                moments = pd.Series(inside[:, -1]).groupby(data.test.moments()).mean(skipna=False)
                low, high = coverage_interval(moments, repetitions=repetitions)
                score = winkler(data.test.y, lower, upper, level).mean() * unit
                rows.append((name, kind, level, inside.mean(), inside[:, -1].mean(), low, high, score))
    columns = ["model", "kind", "nominal", "coverage", "at the last step", "low", "high", "winkler_unit"]
    return pd.DataFrame(rows, columns=columns)
