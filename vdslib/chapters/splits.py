"""What a random split is worth: the same windows forecast with and without their neighbours in time."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.neighbors import NearestNeighbors

from vdslib.evaluation import mse
from vdslib.forecasting import Prepared, Windows

MOST = 5000  # windows of either side that are used at most, those nearest to the border
NEIGHBOURS = 5


def _forecasts(learnt: list[Windows], asked: Windows) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Forecasts by model, each [asked], and for each asked window the place of the nearest learnt one."""
    x, y = np.concatenate([part.flat for part in learnt]), np.concatenate([part.y[:, 0] for part in learnt])
    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(x)), algorithm="brute").fit(x)
    places = search.kneighbors(asked.flat, return_distance=False)
    forecasts = {
        "ridge": Ridge(alpha=1.0).fit(x, y).predict(asked.flat),
        "nearest neighbour": y[places[:, 0]],
        "five nearest": y[places].mean(axis=1),
    }
    return forecasts, places[:, 0]


def _overlap(learnt: list[Windows], places: np.ndarray, asked: Windows, span: np.timedelta64) -> float:
    """Share of the asked windows that lie within ``span`` of the learnt one at their place, on the same node."""
    times = np.concatenate([part.times for part in learnt])[places]
    nodes = np.concatenate([part.node for part in learnt])[places]
    return float(np.mean((np.abs(times - asked.times) < span) & (nodes == asked.node)))


def _fall(judged: Windows, before: np.ndarray, after: np.ndarray) -> float:
    """The share by which the error falls; NaN where there was none to fall."""
    error = mse(judged.y[:, 0], before)
    return 1 - mse(judged.y[:, 0], after) / error if error else np.nan


def flattery(data: Prepared, ahead: int, draws: int, seed: int) -> pd.DataFrame:
    """By how much the error falls, for each draw (rows) and model: 1 - MSE at random / MSE in time.

    In each draw a fifth of the windows of the test part is forecast, ``ahead`` steps ahead. In time, the models have
    learnt from windows before the test part; at random, as many of these give way to the other four fifths, which
    lie around the windows that are forecast. The column "overlap" is the share of forecast windows whose nearest
    learnt window, at random, overlaps with them in time.
    """
    known, last = (
        data.train_full.step(ahead).take(slice(-MOST, None)),
        data.test.step(ahead).take(slice(MOST)),
    )
    step = np.median(np.diff(np.unique(last.times)))
    in_time, _ = _forecasts([known], last)
    rows = []
    for draw in range(draws):
        order = np.random.default_rng([seed, draw]).permutation(len(last))
        between, asked = np.sort(order[len(order) // 5 :]), np.sort(order[: len(order) // 5])
        learnt = [known.take(slice(min(len(between), len(known)), None)), last.take(between)]
        judged = last.take(asked)
        at_random, nearest = _forecasts(learnt, judged)
        changes = {
            name: _fall(judged, in_time[name][asked], forecast) for name, forecast in at_random.items()
        }
        rows.append(changes | {"overlap": _overlap(learnt, nearest, judged, (data.window + ahead) * step)})
    return pd.DataFrame(rows).rename_axis("draw")


def middle(values: pd.DataFrame | pd.Series) -> tuple[Any, ...]:
    """The ends of the range that holds the middle 90% of the draws."""
    return values.quantile(0.05), values.quantile(0.95)
