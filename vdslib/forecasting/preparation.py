"""From telemetry to training data: chronological split, normalisation, windows (paper, section 2).

The past and the future never mix: the split is by time, the scalers see no row of the test part, and a window
belongs to a part only if all its rows do. What would leak is refused unless it is named (``vdslib.forecasting.leak_checks``).
Windows are strides over one scaled table, not copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from vdslib.errors import TelemetryError, notice
from vdslib.forecasting import leak_checks
from vdslib.forecasting.scaling import Scalers, feature_scaler, misfits, target_scaler
from vdslib.forecasting.windows import Windows, aligned, as_slice, breaks, groups, median_step
from vdslib.telemetry import NAMED, origin_of

if TYPE_CHECKING:
    from sklearn.preprocessing import MinMaxScaler

USAGES = ["cpu_usage", "memory_usage", "disc_usage", "network_usage"]


@dataclass(frozen=True)
class Prepared:
    """Windows of all parts, and what made them. ``train_full`` is train and validation without a border."""

    train: Windows
    validation: Windows
    train_full: Windows
    test: Windows
    x_scaler: MinMaxScaler
    y_scaler: MinMaxScaler
    features: list[str]
    target: str
    window: int
    horizon: int

    def to_units(self, y: np.ndarray) -> np.ndarray:
        """Scaled targets or forecasts [samples, horizon], or of any other shape, in the target's own unit."""
        y = np.asarray(y, dtype=float)
        return self.y_scaler.inverse_transform(y.reshape(-1, 1)).reshape(y.shape)


def prepare(
    frame: pd.DataFrame,
    *,
    features: Sequence[str],
    target: str,
    window: int = 10,
    horizon: int = 1,
    test: float = 0.2,
    validation: float = 0.2,
    split: str = "time",
    scalers: Scalers | None = None,
    test_scalers: Scalers | None = None,
    leak: str | None = None,
) -> Prepared:
    """Split, scale and cut ``frame`` (telemetry sorted by node and time) into windows.

    The last share ``test`` of the timestamps is the test part; the last share ``validation`` of those before
    it is the validation part. With ``split`` "node" the shares are those of each node's own rows: nodes that end early
    are judged too, but on times at which the models have learnt from other nodes already. Both scalers map the range
    over all rows before the test part, validation included, to 0 .. 1, so later values may lie outside; a feature that
    is constant there is held at 0 ever after. A window of ``window`` input rows and ``horizon``
    target rows is left out if it touches two parts, two nodes or two segments, spans a gap (a time step other
    than the node's median), or holds an empty value.

    ``scalers`` are your own, fitted, of features and target; ``test_scalers`` those of the test part, if they differ.
    ``leak`` names the one leak of ``LEAKS`` that is wanted. A warning says which nodes are not learnt from or
    not judged, and which columns are constant before the test part or lie far outside their range in it.

    Raises TelemetryError if a column is missing or no number, if ``features`` is empty or names a column twice, or
    if a part has too few rows for one window; LeakError if a feature comes from later rows, or a scaler from the
    test part, and ``leak`` does not name it; ValueError for impossible settings.
    """
    features = list(features)
    _check_settings(window, horizon, test, validation, split)
    leak_checks.check_name(leak, "prepare")
    rows = _rows(frame, features, target, (test, validation), split)
    if not (
        np.isfinite(rows.inputs[rows.known]).any(axis=0).all() and np.isfinite(rows.goal[rows.known]).any()
    ):
        raise _too_few(frame, features, target, window, horizon, "training")
    _refuse_future(frame, features, target, leak)
    own = scalers or (feature_scaler(rows.inputs[rows.known]), target_scaler(rows.goal[rows.known]))
    if scalers or test_scalers:
        leak_checks.check_scalers([rows.inputs, rows.goal], rows.part == 2, own, test_scalers or own, leak)
    scaled, y = _scaled(rows.inputs, rows.goal, rows.part == 2, own, test_scalers or own)
    kinds = [f"feature '{name}'" for name in features] + [f"target '{target}'"]
    unscaled = np.hstack([rows.inputs, rows.goal])
    for misfit in misfits(kinds, unscaled, np.column_stack([scaled, y]), rows.part == 2):
        notice(f"{origin_of(frame)}: {misfit}.")

    windows, starts = _cut(rows, scaled, y, window, horizon)
    shares = {"training": 1, "validation": validation, "test": test}
    for name, share in shares.items():
        if share and not len(windows[name]):
            raise _too_few(frame, features, target, window, horizon, name)
    _tell_of_nodes(frame, rows.names, rows.number, starts, rows.part, test)
    parts = windows["training"], windows["validation"], windows["full"], windows["test"]
    return Prepared(*parts, *own, features, target, window, horizon)


@dataclass(frozen=True)
class _Rows:
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


def _rows(
    frame: pd.DataFrame, features: list[str], target: str, shares: tuple[float, float], split: str
) -> _Rows:
    table = _numbers(frame, columns(frame, features, target))
    times = pd.to_datetime(frame["timestamp"], utc=True).dt.tz_localize(None).to_numpy()
    number, names = pd.factorize(frame["node"], use_na_sentinel=False)
    places = groups(number)
    steps = {node: median_step(times[rows]) for node, rows in places.items()}
    part = _parts(times, places, steps, shares, split)
    border = np.zeros(len(frame), dtype=bool)
    if "segment" in frame:  # numbered by telemetry.repair: at each border a capacity changed
        border[1:] = np.diff(frame["segment"].to_numpy()) != 0
    inputs, goal = table[features].to_numpy(), table[[target]].to_numpy()
    return _Rows(inputs, goal, times, number, names, places, steps, part, border)


def _cut(
    rows: _Rows, scaled: np.ndarray, y: np.ndarray, window: int, horizon: int
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


def default_features(frame: pd.DataFrame, target: str, *, past: bool) -> list[str]:
    """Columns to forecast from unless told: the usages that ``frame`` measures, with ``past`` the target's own past
    too; the target alone where there is no usage."""
    measured = [name for name in USAGES if name in frame and frame[name].notna().any()]
    return list(dict.fromkeys([*measured, target] if past or not measured else measured))


def _check_settings(window: int, horizon: int, test: float, validation: float, split: str) -> None:
    if window < 1 or horizon < 1:
        raise ValueError(f"window and horizon must be 1 or more, not {window} and {horizon}")
    if not (0 <= test < 1 and 0 <= validation < 1):
        raise ValueError(f"test and validation must be shares from 0 to below 1, not {test} and {validation}")
    if split not in ("time", "node"):
        raise ValueError(f"split must be 'time' or 'node', not {split!r}")


def _refuse_future(frame: pd.DataFrame, features: list[str], target: str, leak: str | None) -> None:
    """LeakError if a feature is made of later rows."""
    for name, (origin, is_target) in leak_checks.future_of(frame, features, target).items():
        what = f"{origin_of(frame)}: feature '{name}' follows exactly from later rows of '{origin}'"
        leak_checks.refuse(
            "target among the features" if is_target else "future rolling features", what, leak
        )


def _numbers(frame: pd.DataFrame, needed: list[str]) -> pd.DataFrame:
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


def _scaled(
    rows: np.ndarray, goal: np.ndarray, test: np.ndarray, own: Scalers, of_test: Scalers
) -> tuple[np.ndarray, np.ndarray]:
    """Features [rows, features] and target [rows], scaled; those of the test part by scalers of their own, if any."""
    scaled, y = own[0].transform(rows), own[1].transform(goal)[:, 0]
    if of_test is not own and test.any():
        scaled[test] = of_test[0].transform(rows[test])
        y[test] = of_test[1].transform(goal[test])[:, 0]
    return scaled, y


def _tell_of_nodes(
    frame: pd.DataFrame,
    names: pd.Index,
    number: np.ndarray,
    starts: np.ndarray,
    part: np.ndarray,
    test: float,
) -> None:
    """Warn of nodes without a window (they begin at ``starts``) before the test part, or in it."""
    learnt, judged = (
        np.bincount(number[starts[chosen]], minlength=len(names)) > 0
        for chosen in (part[starts] < 2, part[starts] == 2)
    )
    lost = {"before the test part: they are not learnt from": ~learnt}
    if test:
        lost["in the test part: they are not judged"] = ~judged
    for what, missing in lost.items():
        if count := int(missing.sum()):
            few = ", ".join(map(str, names[missing][:NAMED])) + ", .." * (count > NAMED)
            notice(
                f"{origin_of(frame)}: {count} of {len(names)} nodes ({few}) have no window {what}. "
                "With split='node' each node is tested on its own last rows."
            )


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


def _too_few(
    frame: pd.DataFrame, features: list[str], target: str, window: int, horizon: int, part: str
) -> TelemetryError:
    columns = ", ".join(f"'{name}'" for name in dict.fromkeys([*features, target]))
    return TelemetryError(
        f"{origin_of(frame)}: columns {columns}, rows 1 to {len(frame)}: too few rows for one window in the "
        f"{part} part. A window needs {window} + {horizon} consecutive rows without gap or empty value: "
        "use longer telemetry, a smaller window or horizon, or other shares of the parts; or, where times are "
        "uneven, repair them by the policy 'grid'."
    )
