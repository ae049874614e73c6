"""The target's known past, rebuilt from windows: for forecasters of whole series, and for scales of errors.

A window brings the value in its last row, and its earlier values too where the target is among the features;
training windows bring their targets as well. On a grid of the node's equal steps they make one series for each node;
where nothing is known there is no entry, so that long gaps cost nothing. What windows say of the time after their last
row (their ``y``) is taken from training windows only.
"""

from typing import Any, NamedTuple

import numpy as np

from vdslib.forecasting.windows import Windows, breaks, groups, rounds


class Series(NamedTuple):
    """What is known of one node: ``rows`` [known], rising places on its grid, and the scaled ``values`` there."""

    rows: np.ndarray
    values: np.ndarray

    def at(self, rows: np.ndarray) -> np.ndarray:
        """The values at these rows [any shape]; NaN where nothing is known."""
        place = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return np.where(self.rows[place] == rows, self.values[place], np.nan)

    def latest(self, rows: np.ndarray, period: int) -> np.ndarray:
        """[rows]: the latest value known at one of r, r - period, r - 2 period ..; NaN where none is."""
        seasons = int(max(self.rows.max(), rows.max(initial=0))) // period + 2
        # sorted by their place in the season first, the row wanted stands behind the latest known one
        known = self.rows % period * seasons + self.rows // period
        order = np.argsort(known)
        place = np.searchsorted(known[order], rows % period * seasons + rows // period, side="right") - 1
        latest = order[np.maximum(place, 0)]
        same = (place >= 0) & (self.rows[latest] % period == rows % period)
        return np.where(same, self.values[latest], np.nan)

    def condensed(self, longest: int) -> tuple[np.ndarray, np.ndarray]:
        """All rows from the first known one on, gaps shortened to ``longest`` rows: the values [rows], NaN where
        unknown; and the place [known] of each known row among them."""
        places = np.concatenate([[0], np.cumsum(np.minimum(np.diff(self.rows), longest + 1))])
        values = np.full(places[-1] + 1, np.nan)
        values[places] = self.values
        return values, places


class Past:
    """What is known of the target after training, by node: ``values``, node to ``Series``.

    ``spacing``: node to the time from row to row. Row 0 is about the earliest moment known of any node.
    """

    def __init__(self, windows: Windows) -> None:
        if not len(windows):
            raise ValueError("there are no training windows")
        self.spacing, self.window = windows.steps(), windows.x.shape[1]
        self.first = {node: windows.times[chosen].min() for node, chosen in windows.by_node().items()}
        self.start = min(self.first.values())
        self.values: dict[Any, Series] = {}
        self.values = self._joined(windows, answers=True)

    def rows(self, windows: Windows) -> np.ndarray:
        """[samples]: the row on its node's grid of the last known value of each window. ValueError for windows that
        lie before those of the training."""
        result, steps = np.empty(len(windows), dtype=int), windows.steps()
        for node, chosen in windows.by_node().items():
            times = windows.times[chosen]
            step, first = self.spacing.get(node, steps[node]), self.first.get(node, times.min())
            # by the node's own first time, so that its rows are whole steps apart whenever it is polled
            before = self.window - 1 + rounds(first - self.start, step)
            result[chosen] = before + np.rint((times - first) / step).astype(int)
        if len(result) and result.min() < 0:
            raise ValueError("windows to forecast lie before the training windows: fit on earlier ones")
        return result

    def known_to(self, windows: Windows) -> dict[Any, Series]:
        """The series of the training, continued by what ``windows`` know at their last rows; ``y`` is not read.

        A forecast for a window may use the rows up to its own last one, and no later ones.
        """
        return self._joined(windows, answers=False)

    def _joined(self, windows: Windows, answers: bool) -> dict[Any, Series]:
        last = self.rows(windows)
        own = target_column(windows)
        before = windows.last[:, None] if own is None else windows.x[:, :, own]
        result = dict(self.values)
        for node, chosen in windows.by_node().items():
            chosen = chosen[np.argsort(last[chosen], kind="stable")]
            parts = _told(last[chosen], before[chosen], windows.y[chosen, : windows.y.shape[1] * answers])
            if node in result:
                parts.insert(0, result[node])
            rows = np.concatenate([part.rows for part in parts])
            # of several that tell a row the last one counts
            rows, place = np.unique(rows[::-1], return_index=True)
            result[node] = Series(rows, np.concatenate([part.values for part in parts])[::-1][place])
        return result


def _told(last: np.ndarray, before: np.ndarray, after: np.ndarray) -> list[Series]:
    """What windows of one node, sorted by their ``last`` rows, tell of them, of rows before and of rows ``after``.

    A row is told by the window that ends there, if there is one, so that each is taken about once.
    """
    between = np.diff(last)
    reach, left = before.shape[1] - 1, np.concatenate([[before.shape[1]], between])
    parts = []
    for back in range(reach, 0, -1):
        chosen = np.flatnonzero(left > back)
        parts.append(Series(last[chosen] - back, before[chosen, reach - back]))
    parts.append(Series(last, before[:, reach]))
    for ahead in range(after.shape[1]):
        chosen = np.flatnonzero(np.append(between > ahead + 1, True))
        parts.append(Series(last[chosen] + 1 + ahead, after[chosen, ahead]))
    return parts


def target_column(windows: Windows) -> int | None:
    """The feature that is the target itself: scaled alike, it equals ``last`` in every window's last row."""
    same = (windows.x[:, -1, :] == windows.last[:, None]).all(axis=0)
    return int(same.argmax()) if same.any() else None


def runs(windows: Windows) -> list[np.ndarray]:
    """Index arrays [samples of a run] of the samples that follow one another in time, of one node each, without a gap."""
    order = np.concatenate([each[np.argsort(windows.times[each])] for each in windows.by_node().values()])
    begins = breaks(windows.times[order], groups(windows.node[order]), windows.steps())
    return np.split(order, np.flatnonzero(begins)[1:])


def seasonal_error(windows: Windows, period: int = 1) -> dict[Any, float]:
    """Mean absolute error of the seasonal naive forecast one season ahead, in the training windows, by node.

    The scale of MASE (Hyndman and Koehler 2006); NaN where no two known values lie a season apart.
    """
    result = {}
    for node, series in Past(windows).values.items():
        errors = np.abs(series.values - series.at(series.rows - period))
        known = errors[np.isfinite(errors)]
        result[node] = float(known.mean()) if len(known) else float("nan")
    return result
