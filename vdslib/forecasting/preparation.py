"""From telemetry to training data: chronological split, normalisation, windows (paper, section 2).

The past and the future never mix: the split is by time, the scalers see no row of the test part, and a window
belongs to a part only if all its rows do. What would leak is refused unless it is named (``vdslib.forecasting.leak_checks``).
Windows are strides over one scaled table, not copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vdslib.errors import TelemetryError, notice
from vdslib.forecasting import leak_checks
from vdslib.forecasting.cutting import cut, rows_of
from vdslib.forecasting.in_advance import in_advance, periods_of
from vdslib.forecasting.scaling import Scalers, feature_scaler, misfits, target_scaler
from vdslib.forecasting.windows import Windows
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
    rhythms: str | Sequence[int | float | str] = (),
    ahead: Sequence[str] = (),
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

    ``rhythms`` give each window the phases of the time that is forecast, as further features for every model alike:
    periods in rows or as spans of time ("1d"); "auto" takes those that the source is known to have, else the one found in
    the rows before the test part (``find_period``). ``ahead`` names columns that are known in advance, such as a planned
    job or a holiday: each window gets their values in the rows to forecast.

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
    rows = rows_of(frame, features, target, (test, validation), split)
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

    periods = periods_of(frame, rows, rhythms, lambda: cut(rows, scaled, y, window, horizon)[0]["full"])
    later = in_advance(frame, rows, periods, list(ahead), target, horizon, leak)
    inputs = np.hstack([scaled, later]) if later.shape[1] else scaled
    windows, starts = cut(rows, inputs, y, window, horizon)
    windows = {name: replace(each, ahead=later.shape[1], rhythms=periods) for name, each in windows.items()}
    shares = {"training": 1, "validation": validation, "test": test}
    for name, share in shares.items():
        if share and not len(windows[name]):
            raise _too_few(frame, features, target, window, horizon, name)
    _tell_of_nodes(frame, rows.names, rows.number, starts, rows.part, test)
    parts = windows["training"], windows["validation"], windows["full"], windows["test"]
    return Prepared(*parts, *own, features, target, window, horizon)


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
