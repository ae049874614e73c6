"""The target's known past, rebuilt from windows: for forecasters of whole series, and for scales of errors.

A window brings the value in its last row, and its earlier values too where the target is among the features;
training windows bring their targets as well. On a grid of equal steps they make one series for each node, with NaN
where nothing is known. What windows say of the time after their last row (their ``y``) is taken from training
windows only.
"""

from __future__ import annotations

import numpy as np
from statsmodels.tsa.stattools import acf

from vdslib.preparation import Windows

__all__ = ["History", "find_period", "runs", "seasonal_error"]


class History:
    """What is known of the target after training, by node, on a grid of equal time steps.

    ``values``: node to array [rows], scaled, NaN where unknown; row 0 is the earliest row known of any node.
    ``step`` is the median time between targets.
    """

    def __init__(self, windows: Windows) -> None:
        if not len(windows):
            raise ValueError("there are no training windows")
        moments = np.unique(windows.times)
        # with a single moment any step does, since nothing lies beside it
        self.step = np.median(np.diff(moments)) if len(moments) > 1 else np.timedelta64(1, "s")
        self.start = moments[0] - windows.x.shape[1] * self.step
        self.values: dict[str, np.ndarray] = {}
        self.values = self._filled(windows, answers=True)

    def rows(self, windows: Windows) -> np.ndarray:
        """[samples]: the row on the grid of the last known value of each window. ValueError for windows that
        lie before those of the training."""
        result = np.rint((windows.times - self.start) / self.step).astype(int) - 1
        if len(result) and result.min() < 0:
            raise ValueError("windows to forecast lie before the training windows: fit on earlier ones")
        return result

    def known_to(self, windows: Windows) -> dict[str, np.ndarray]:
        """The series of the training, continued by what ``windows`` know at their last rows; ``y`` is not read.

        A forecast for a window may use the rows up to its own last one, and no later ones.
        """
        return self._filled(windows, answers=False)

    def _filled(self, windows: Windows, answers: bool) -> dict[str, np.ndarray]:
        last = self.rows(windows)
        own = _target_column(windows)
        before = windows.last[:, None] if own is None else windows.x[:, :, own]
        after = windows.y.shape[1] if answers else 0
        result = dict(self.values)
        for node in dict.fromkeys(windows.node):
            chosen = np.flatnonzero(windows.node == node)
            old = result.get(node, np.empty(0))
            series = np.full(max(len(old), last[chosen].max() + 1 + after), np.nan)
            series[: len(old)] = old
            for back in reversed(range(before.shape[1])):
                series[last[chosen] - back] = before[chosen, -1 - back]
            for ahead in range(after):
                series[last[chosen] + 1 + ahead] = windows.y[chosen, ahead]
            result[node] = series
        return result


def _target_column(windows: Windows) -> int | None:
    """The feature that is the target itself: scaled alike, it equals ``last`` in every window's last row."""
    same = (windows.x[:, -1, :] == windows.last[:, None]).all(axis=0)
    return int(same.argmax()) if same.any() else None


def runs(windows: Windows) -> list[np.ndarray]:
    """Index arrays of the samples that follow one another in time, of one node each, without a gap."""
    order = np.lexsort((windows.times, windows.node.astype(str)))
    times, node = windows.times[order], windows.node[order]
    steps = np.diff(times)
    moments = np.unique(times)
    usual = np.median(np.diff(moments)) if len(moments) > 1 else None
    broken = (steps != usual) | (node[1:] != node[:-1])
    return np.split(order, np.flatnonzero(broken) + 1)


def find_period(windows: Windows, least: float = 0.1) -> int:
    """The season of training windows in rows: by the peaks of its autocorrelation; 1 where there is none.

    The autocorrelation (mean over the nodes, gaps bridged by straight lines) is taken up to a third of the series.
    A peak is the highest value within a quarter of its lag, above ``least``, after the autocorrelation's first fall
    below 0. Of the peaks at least half as high as the highest the earliest counts, since two seasons are not one.
    Noise moves a peak, so of the periods within 2% of it the one is taken whose sine and cosine fit the series best.
    """
    nodes = [_bridged(series) for series in History(windows).values.values()]
    nodes = [values for values in nodes if len(values) >= 12 and values.std() > 0]
    if not nodes:
        return 1
    curves = [acf(values, nlags=len(values) // 3, fft=True) for values in nodes]
    curve = np.mean([each[: min(map(len, curves))] for each in curves], axis=0)
    below = np.flatnonzero(curve < 0)
    if not len(below):
        return 1
    lags = range(max(2, int(below[0])), int(len(curve) / 1.25))
    peaks = [lag for lag in lags if curve[lag] == curve[lag - lag // 4 : lag + lag // 4 + 1].max() > least]
    if not peaks:
        return 1
    highest = max(curve[peaks])
    peak = next(lag for lag in peaks if curve[lag] >= highest / 2)
    reach = max(1, round(0.02 * peak))
    near = range(max(2, peak - reach), peak + reach + 1)
    return max(near, key=lambda period: sum(map(_wave, nodes, [period] * len(nodes))))


def _wave(values: np.ndarray, period: int) -> float:
    """The share of a series' variance that one wave of this period explains."""
    turns = np.exp(-2j * np.pi * np.arange(len(values)) / period)
    centred = values - values.mean()
    return float(2 * np.abs(turns @ centred) ** 2 / (len(values) * (centred @ centred)))


def _bridged(series: np.ndarray) -> np.ndarray:
    known = np.flatnonzero(np.isfinite(series))
    return np.interp(np.arange(known[0], known[-1] + 1), known, series[known])


def seasonal_error(windows: Windows, period: int = 1) -> dict[str, float]:
    """Mean absolute error of the seasonal naive forecast one season ahead, in the training windows, by node.

    The scale of MASE (Hyndman and Koehler 2006); NaN where no two known values lie a season apart.
    """
    result = {}
    for node, series in History(windows).values.items():
        differences = np.abs(series[period:] - series[:-period])
        known = differences[np.isfinite(differences)]
        result[node] = float(known.mean()) if len(known) else float("nan")
    return result
