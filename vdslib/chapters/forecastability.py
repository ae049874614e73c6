"""Is a recording worth forecasting: can anything be learnt from it, and does its productivity move enough?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vdslib.evaluation import mse, skill
from vdslib.forecasting import USAGES, Forecasts, Persistence, Ridge, TrainingMean, prepare

OVERLOAD = 80.0  # percent of the due work done in time, below which the system counts as overloaded
SERVED = 95.0  # percent from which it counts as well served


def predictability(
    series: pd.DataFrame,
    targets: Sequence[str] = ("system_productivity", "cpu_usage"),
    horizons: Sequence[int] = (1, 10),
    *,
    lags: int = 10,
    test: float = 0.2,
) -> pd.DataFrame:
    """Is there anything to learn? MSE of persistence, mean and ridge on the last share ``test`` of a series.

    Ridge (alpha 1) sees ``lags`` rows of the four usages and the productivity, as far as the series has them (of
    the target, where it has none), and forecasts exactly h steps ahead. Data are scaled to 0 .. 1 on the rows before the test part. One row
    per target and horizon: the three MSEs, ridge's gains (1 - MSE ratio) over persistence and over the mean,
    number of windows.
    """
    features = [name for name in (*USAGES, "system_productivity") if name in series]
    rows = []
    for target in targets:
        for horizon in horizons:
            parts = prepare(
                series,
                features=features or [target],
                target=target,
                window=lags,
                horizon=horizon,
                test=test,
                validation=0,
            )
            known, unseen = parts.train_full.step(horizon), parts.test.step(horizon)
            models: tuple[Forecasts, ...] = (Persistence(), TrainingMean(), Ridge(lags))
            errors = [mse(unseen.y, model.fit(known).forecast(unseen)) for model in models]
            gains = [skill(errors[2], other) for other in errors[:2]]
            rows.append((target, horizon, *errors, *gains, len(unseen)))
    models_and_gains = ["persistence", "mean", "ridge", "gain over persistence", "gain over mean"]
    return pd.DataFrame(rows, columns=["target", "horizon", *models_and_gains, "windows"])


def bounds(series: pd.DataFrame, test: float = 0.2) -> pd.DataFrame:
    """Does a system's productivity move enough to be worth forecasting? Judged on its last share ``test``.

    One row per figure: value, the least that is asked for, whether it is met. Shares are of the seconds in
    which work was due. Overloaded seconds (productivity below 80%) are told apart by the configuration: with
    all nodes active only a peak in demand can be the cause, with fewer the configuration is too small.
    """
    part = series.iloc[len(series) - round(test * len(series)) :]
    part = part[part["system_productivity"].notna()]
    productivity = part["system_productivity"]
    low, high = np.percentile(productivity, [5, 95])
    overload = productivity < OVERLOAD
    full = part["active_nodes"] == series["active_nodes"].max()
    figures = [
        ("points between 5th and 95th percentile", high - low, 30.0),
        ("share of seconds below 80%", overload.mean(), 0.15),
        ("share of seconds at 95% or more", (productivity >= SERVED).mean(), 0.30),
        ("share of seconds overloaded with all nodes active", (overload & full).mean(), 0.01),
        ("share of seconds overloaded with fewer nodes active", (overload & ~full).mean(), 0.01),
    ]
    table = pd.DataFrame(figures, columns=["figure", "value", "at least"])
    return table.assign(met=table["value"] >= table["at least"])
