"""Leaks by name, and the checks that find them (Kapoor & Narayanan 2023, a taxonomy of leakage).

A leak is information that would not be at hand when forecasting. Functions in ``preparation`` and ``training``
refuse what would leak with a ``LeakError``, unless their argument ``leak`` names it: then it is on purpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from vdslib.errors import LeakError
from vdslib.forecasting.scaling import Scalers
from vdslib.telemetry import COLUMNS, MEASURED

if TYPE_CHECKING:
    from sklearn.preprocessing import MinMaxScaler


class Leak(NamedTuple):
    """What happens, the right way, and the functions that refuse it."""

    meaning: str
    remedy: str
    places: tuple[str, ...]


LEAKS = {
    "random split": Leak(
        "test windows have training windows on both sides in time",
        "let all test windows come after the training windows",
        ("divide",),
    ),
    "windows across the split": Leak(
        "training windows hold rows of the test part",
        "leave out the last window + horizon - 1 training windows before the test part",
        ("divide",),
    ),
    "SMOTE before the split": Leak(
        "test windows are made from training windows, or the other way round",
        "split first, then resample the training windows only",
        ("divide", "resample", "fit", "train"),
    ),
    "scaler on all rows": Leak(
        "the scaler has seen rows of the test part",
        "fit it on the rows before the test part, or give none",
        ("prepare",),
    ),
    "scaler per split": Leak(
        "the test part is scaled by its own range",
        "use one scaler for all parts, fitted on the rows before the test part",
        ("prepare",),
    ),
    "target among the features": Leak(
        "a feature holds the value that is to be forecast",
        "leave the column out, or shift it into the past",
        ("prepare",),
    ),
    "future rolling features": Leak(
        "a feature is computed from later rows",
        "compute it from the row itself and earlier ones, without center=True or negative shifts",
        ("prepare",),
    ),
    "early stopping on the test set": Leak(
        "the test part decides when training stops or which weights are kept",
        "watch a validation part",
        ("fit", "train"),
    ),
    "best test epoch reported": Leak(
        "the test error is measured after every epoch, to report the lowest",
        "choose the epoch by a validation part and measure the test error once",
        ("fit", "train"),
    ),
}
"""The closed set of leaks by name."""

_REACH = 30  # rows to either side in which a feature's origin is looked for
_ROWS = 1000  # consecutive rows that are looked at: a formula holds in all of them
_EXACT = 1e-5  # share of a feature's variance that may be left unexplained, for rounding
_DISTINCT = 20  # columns with fewer values coincide by chance


def check_name(leak: str | None, place: str) -> None:
    """ValueError unless ``leak`` is None or names a leak that the function ``place`` can commit."""
    valid = [name for name, each in LEAKS.items() if place in each.places]
    if leak is not None and leak not in valid:
        raise ValueError(f"leak={leak!r}: {place} knows {', '.join(map(repr, valid))}")


def refuse(leak: str, seen: str, named: str | None) -> None:
    """Raise LeakError for ``leak``, of which ``found`` is the sign, unless it is the one that was ``named``."""
    if leak != named:
        each = LEAKS[leak]
        raise LeakError(
            f"{seen}: {each.meaning}. Instead, {each.remedy}. To leak on purpose, say leak={leak!r}."
        )


def check_scalers(
    columns: list[np.ndarray], test: np.ndarray, scalers: Scalers, test_scalers: Scalers, leak: str | None
) -> None:
    """LeakError if given scalers know test rows, or if the test part has others.

    - ``columns``: features [rows, features] and target [rows, 1], unscaled
    - ``test`` [rows]: True for rows of the test part
    """
    for name, values, scaler, other in zip(
        ("features", "target"), columns, scalers, test_scalers, strict=True
    ):
        if not hasattr(scaler, "data_min_") or scaler.data_min_.shape != values.shape[1:]:
            raise ValueError(f"the scaler of the {name} must be fitted on {values.shape[1]} columns")
        if not (_same(scaler.data_min_, other.data_min_) and _same(scaler.data_max_, other.data_max_)):
            refuse("scaler per split", f"the {name} of the test part have a scaler of their own", leak)
        elif test.any() and _knows(scaler, values, test):
            refuse("scaler on all rows", f"the scaler of the {name} was fitted on test rows", leak)


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-12, atol=0, equal_nan=True)


def _knows(scaler: MinMaxScaler, values: np.ndarray, test: np.ndarray) -> bool:
    """Was the scaler fitted on rows of the test part? Its extremes and its number of rows tell."""
    seen = int(np.max(scaler.n_samples_seen_))
    for rows in (values, values[test]):
        low, high = np.fmin.reduce(rows), np.fmax.reduce(rows)
        if seen == len(rows) and _same(scaler.data_min_, low) and _same(scaler.data_max_, high):
            return True
    known, later = values[~test], values[test]
    beyond = (scaler.data_max_ > np.fmax.reduce(known)) & (later == scaler.data_max_).any(axis=0)
    beyond |= (scaler.data_min_ < np.fmin.reduce(known)) & (later == scaler.data_min_).any(axis=0)
    return bool(beyond.any()) and seen > len(known)


def future_of(frame: pd.DataFrame, features: list[str], target: str) -> dict[str, tuple[str, bool]]:
    """Features that follow exactly from later rows of a measured column, and not from its earlier ones.

    feature -> (the column, whether the feature is one later value of the target and nothing else). Measured are the
    target and the columns of the schema. What is looked for are linear formulas: shifts, differences, centred means
    and the like, over up to 30 rows ahead, in a stretch of up to 1,000 rows of one node. Noise on top, or a formula
    of several columns, hides a feature.
    """
    middle = len(frame) // 2
    block = frame.iloc[max(0, middle - _ROWS // 2) : middle + _ROWS // 2]
    block = block[block["node"].to_numpy() == frame["node"].iloc[middle]] if len(block) else block
    reach = min(_REACH, len(block) // 8)
    others = [name for name in features if name != target]
    # Of two columns one of which is the other, later, only the derived one can be at fault; a measured one is not derived.
    derived = [name for name in others if name not in COLUMNS]
    measured = [name for name in block.select_dtypes("number") if name in MEASURED and name != target]
    origins: dict[str, tuple[str, bool]] = {}
    for origin, names in {target: others, **dict.fromkeys(measured, derived)}.items():
        series = block[origin].to_numpy(dtype=float)
        suspects = [name for name in names if name not in origins]
        if not (reach and suspects and len(np.unique(series[np.isfinite(series)])) >= _DISTINCT):
            continue
        values = block[suspects].to_numpy(dtype=float)
        for name, single in _explained(series, values, suspects, reach).items():
            origins[name] = (origin, single and origin == target)
    return origins


def _explained(series: np.ndarray, values: np.ndarray, names: list[str], reach: int) -> dict[str, bool]:
    """Which of ``values`` [rows, names] are a formula of later values of ``series``; and of one only?"""
    lags = np.lib.stride_tricks.sliding_window_view(series, 2 * reach + 1)
    aligned = values[reach : reach + len(lags)]
    whole = np.isfinite(lags).all(axis=1) & np.isfinite(aligned).all(axis=1)
    lags, aligned = lags[whole], aligned[whole]
    if len(lags) < 3 * reach:
        return {}
    lags, aligned = lags - lags.mean(axis=0), aligned - aligned.mean(axis=0)
    total = (aligned**2).sum(axis=0)
    # The normal equations are quick and rough: only what they leave little of is worth the exact answer. A lag that
    # stands still, of a machine that was idle, explains nothing and would make them singular.
    size = (lags**2).sum(axis=0)
    moves = lags[:, size > 1e-12 * size.max()]
    gram = moves.T @ moves
    gram[np.diag_indices_from(gram)] *= 1 + 1e-10
    rough = aligned - moves @ np.linalg.solve(gram, moves.T @ aligned)
    varies = total > 1e-12 * (values[np.isfinite(values).all(axis=1)] ** 2).sum(axis=0)
    if not (varies & ((rough**2).sum(axis=0) < 1e-3 * total)).any():
        return {}
    both, left = _left(lags, aligned)
    exact = varies & (left < _EXACT * total)
    if not exact.any():
        return {}
    _, past = _left(lags[:, : reach + 1], aligned)
    weights = np.abs(both) / np.abs(both).max(axis=0)
    single = (weights > 1e-6).sum(axis=0) == 1
    return {names[k]: bool(single[k]) for k in np.flatnonzero(exact & (past > 100 * _EXACT * total))}


def _left(inputs: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least squares: weights, and the sum of squares that they leave in each output."""
    weights = np.linalg.lstsq(inputs, outputs, rcond=None)[0]
    return weights, ((outputs - inputs @ weights) ** 2).sum(axis=0)
