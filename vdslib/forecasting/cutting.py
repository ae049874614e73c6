"""A table cut into windows: its rows as arrays, the part each belongs to, and the stretches without a break."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from vdslib.errors import TelemetryError
from vdslib.forecasting.windows import Windows, aligned, as_slice, breaks, groups, median_step
from vdslib.telemetry import origin_of


@dataclass(frozen=True)
class Rows:
    """A table as arrays: ``inputs`` [rows, features] and ``goal`` [rows, 1] in their units; ``times``, the ``number`` of
    the node among ``names``, and the ``part`` (0 training, 1 validation, 2 test), each [rows]; ``places`` and ``steps`` by
    number of the node; ``border`` [rows]: True where a segment begins."""

    inputs: np.ndarray
    goal: np.ndarray
    times: np.ndarray
    number: np.ndarray
    names: Any
    places: dict[Any, np.ndarray]
    steps: dict[Any, Any]
    part: np.ndarray
    border: np.ndarray

    @property
    def known(self) -> np.ndarray | slice:
        """[known]: the rows before the test part."""
        return as_slice(np.flatnonzero(self.part < 2))


def rows_of(
    frame: pd.DataFrame, features: list[str], target: str, shares: tuple[float, float], split: str
) -> Rows:
    """The table as arrays, with the part of each row. TelemetryError for a column that is missing, no number or infinite."""
    table = numbers(frame, columns(frame, features, target))
    times = pd.to_datetime(frame["timestamp"], utc=True).dt.tz_localize(None).to_numpy()
    number, names = pd.factorize(frame["node"], use_na_sentinel=False)
    places = groups(number)
    steps = {node: median_step(times[rows]) for node, rows in places.items()}
    part = _parts(times, places, steps, shares, split)
    border = np.zeros(len(frame), dtype=bool)
    if "segment" in frame:  # numbered by telemetry.repair: at each border a capacity changed
        border[1:] = np.diff(frame["segment"].to_numpy()) != 0
    inputs, goal = table[features].to_numpy(), table[[target]].to_numpy()
    return Rows(inputs, goal, times, number, names, places, steps, part, border)


def numbers(frame: pd.DataFrame, needed: list[str]) -> pd.DataFrame:
    """The columns as floats; an infinite value is an error."""
    table = frame[needed].astype(float)
    infinite = np.isinf(table.to_numpy())
    if infinite.any():
        row, number = np.argwhere(infinite)[0]
        raise TelemetryError(
            f"{origin_of(frame)}: column '{needed[number]}', row {row + 1}: the value is infinite. "
            "Correct it or leave it empty."
        )
    return table


def _parts(
    times: np.ndarray,
    places: Mapping[Any, np.ndarray],
    steps: Mapping[Any, Any],
    shares: tuple[float, float],
    split: str,
) -> np.ndarray:
    """[rows]: 0 to train on, 1 for validation, 2 for test; by time, so that it holds over several nodes, or by node."""
    if split == "node" and len(places) > 1:
        result = np.empty(len(times), dtype=int)
        for node, rows in places.items():
            result[rows] = _parts(times[rows], {node: rows}, steps, shares, split)
        return result
    if (times[1:] > times[:-1]).all():  # one node; sorting takes longer
        count, position = len(times), np.arange(len(times))
    else:
        unique, position = np.unique(aligned(times, places, steps), return_inverse=True)
        count = len(unique)
    known = count - round(shares[0] * count)
    fitted = known - round(shares[1] * known)
    return (position >= fitted).astype(int) + (position >= known)


def cut(
    rows: Rows, scaled: np.ndarray, y: np.ndarray, window: int, horizon: int
) -> tuple[dict[str, Windows], np.ndarray]:
    """Windows of scaled rows by part, "full" for those before the test part; and the first rows of all windows that
    lie on one side of the test part's beginning."""
    gap, usable = (
        breaks(rows.times, rows.places, rows.steps) | rows.border,
        _usable(scaled, y, window, horizon),
    )
    starts = _starts(rows.part, gap, usable, window + horizon)
    either = _starts(rows.part == 2, gap, usable, window + horizon)
    nodes = np.asarray(rows.names, dtype=object)[rows.number]  # one object for each name, not for each row
    spacing = {rows.names[node]: step for node, step in rows.steps.items() if step is not None}

    def cut(chosen: np.ndarray, name: str) -> Windows:
        result = _windows(scaled, y, rows.times, nodes, chosen, window, horizon)
        return replace(result, part=name, spacing=spacing)

    train, watched, unseen = (
        cut(starts[rows.part[starts] == k], name) for k, name in enumerate(("training", "validation", "test"))
    )
    full = cut(either[rows.part[either] < 2], "training")
    return {"training": train, "validation": watched, "full": full, "test": unseen}, either


def _usable(scaled: np.ndarray, y: np.ndarray, window: int, horizon: int) -> np.ndarray:
    """For each row: has a window starting here all inputs, the last known target and the targets?"""
    count = max(0, len(y) - window - horizon + 1)
    gone, lost = np.isnan(scaled.sum(axis=1)), np.isnan(y)
    if not (gone.any() or lost.any()):
        return np.ones(count, dtype=bool)
    holes, missing = (np.concatenate([[0], np.cumsum(each)]) for each in (gone, lost))
    first = np.arange(count)
    no_hole = holes[first + window] == holes[first]
    return no_hole & (missing[first + window + horizon] == missing[first + window - 1])


def _starts(labels: np.ndarray, gap: np.ndarray, usable: np.ndarray, span: int) -> np.ndarray:
    """First rows of the windows whose ``span`` rows all carry one label, without a break among them."""
    change = gap.copy()
    change[1:] |= labels[1:] != labels[:-1]
    row = np.flatnonzero(change)  # a window that begins up to span - 1 rows before a break reaches over it
    reach = np.zeros(len(gap) + 1, dtype=np.int32)
    np.add.at(reach, np.maximum(0, row - span + 1), 1)
    np.add.at(reach, row, -1)
    return np.flatnonzero(usable & (np.cumsum(reach)[: len(usable)] == 0))


def _windows(
    scaled: np.ndarray,
    y: np.ndarray,
    times: np.ndarray,
    nodes: np.ndarray,
    starts: np.ndarray,
    window: int,
    horizon: int,
) -> Windows:
    if not len(starts):
        empty = np.empty((0, window, scaled.shape[1]))
        return Windows(empty, np.empty((0, horizon)), times[:0], nodes[:0], y[:0])
    chosen = as_slice(starts)
    ahead = as_slice(starts + window)
    x = sliding_window_view(scaled, window, axis=0).transpose(0, 2, 1)[chosen]
    targets = sliding_window_view(y, horizon)[ahead]
    return Windows(x, targets, times[ahead], nodes[chosen], y[as_slice(starts + window - 1)])


def columns(frame: pd.DataFrame, features: Sequence[str], target: str) -> list[str]:
    """The columns of ``frame`` that a forecast of ``target`` from ``features`` needs, each once.

    Raises TelemetryError if ``features`` is empty or names a column twice, or if a column is missing or no number.
    """
    needed = list(dict.fromkeys([*features, target]))
    numeric = list(frame.select_dtypes("number").columns)
    choice = f"Choose features and target among {', '.join(numeric)}."
    if not features or len(set(features)) < len(features):
        raise TelemetryError(
            f"{origin_of(frame)}: features must be a list of different columns, not {list(features)}. {choice}"
        )
    for column in needed:
        if column not in numeric:
            problem = "holds text" if column in frame else "is missing from row 0 (the header)"
            raise TelemetryError(f"{origin_of(frame)}: column '{column}' {problem}. {choice}")
    return needed
