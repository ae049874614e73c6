"""The question of whoever controls a system: how much work will there be when a node that is ordered now is ready?"""

import math
from typing import Any

import numpy as np
import pandas as pd

from vdslib.errors import TelemetryError
from vdslib.forecasting.preparation import Prepared, prepare
from vdslib.forecasting.windows import breaks, groups, median_step
from vdslib.telemetry import origin_of, system_series


def smoothed(frame: pd.DataFrame, column: str = "demand", span: str = "5s") -> pd.DataFrame:
    """The table with a column averaged over a span of time up to and with each row, node by node.

    A single second's demand is mostly chance; what has to be served is its mean. The first rows of a stretch without a
    gap, before which the span is not whole, become empty. Raises TelemetryError where the column is missing or no number,
    ValueError where the span is no time or shorter than a row.
    """
    if column not in frame or not pd.api.types.is_numeric_dtype(frame[column]):
        raise TelemetryError(f"{origin_of(frame)}: there is no column '{column}' of numbers to be smoothed.")
    times = pd.to_datetime(frame["timestamp"], utc=True).dt.tz_localize(None).to_numpy()
    places = groups(frame["node"].to_numpy())
    steps = {node: median_step(times[rows]) for node, rows in places.items()}
    values = pd.Series(frame[column].to_numpy(dtype=float))
    stretch = np.cumsum(breaks(times, places, steps))
    result = np.full(len(frame), np.nan)
    for node, rows in places.items():
        count = 1 if steps[node] is None else round(pd.Timedelta(span) / pd.Timedelta(steps[node]))
        if count < 1:
            raise ValueError(f"span {span!r} is shorter than a row of node {node}: state a longer one")
        mean = values.iloc[rows].groupby(stretch[rows]).rolling(count).mean()
        result[mean.index.get_level_values(1)] = mean
    return frame.assign(**{column: result})


def prepare_demand(
    frame: pd.DataFrame,
    *,
    span: str = "5s",
    window: int = 10,
    horizon: int = 30,
    by_node: bool = False,
    **options: Any,
) -> Prepared:
    """``prepare`` with a controller's question: the demand of all nodes together, averaged over ``span``, at every step up
    to ``horizon``, from its own last ``window`` values.

    With ``by_node`` the demand of each node, averaged alike, is a further feature. ``options`` go to ``prepare``. Errors
    are those of ``smoothed`` and ``prepare``.
    """
    system = smoothed(system_series(frame), span=span)
    features = ["demand"]
    if by_node:
        own = smoothed(frame, span=span).pivot(index="timestamp", columns="node", values="demand")
        beside = {f"demand of {node}": system["timestamp"].map(own[node]) for node in own}
        system, features = system.assign(**beside), [*features, *beside]
    return prepare(system, features=features, target="demand", window=window, horizon=horizon, **options)


def horizon_for(boot_delay: str | float, step: str | float) -> int:
    """The first step ahead that a node which is ordered now serves whole: ``boot_delay`` and ``step`` in seconds, or as
    spans such as "90s".

    The forecast is made at the end of a row; step 1 begins there, step h begins h - 1 rows later. ValueError unless the
    delay is 0 or more and the step above 0.
    """
    delay, row = (
        pd.Timedelta(each).total_seconds() if isinstance(each, str) else float(each)
        for each in (boot_delay, step)
    )
    if not (delay >= 0 and row > 0 and math.isfinite(delay)):
        raise ValueError(f"a boot delay of {boot_delay} and a step of {step} give no horizon")
    return math.ceil(round(delay / row, 9)) + 1
