"""Scales of 0 to 1 from known rows, and where they do not fit what comes later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from sklearn.preprocessing import MinMaxScaler

Scalers: TypeAlias = "tuple[MinMaxScaler, MinMaxScaler]"  # of the features, of the target

_HELD = 1e-100  # the scale of a constant feature: later values stay 0, and can still be turned back
_FAR = 10.0  # a scaled value from which on a scale is worth a word


def feature_scaler(rows: np.ndarray) -> MinMaxScaler:
    """The min-max scaler of ``rows`` [rows, features]. A feature that is constant there is held at 0 ever after.

    Its weights could not be learnt, so what it does later would be multiplied by numbers drawn at random.
    """
    scaler = target_scaler(rows)
    flat = _flat(rows)
    scaler.scale_[flat] = _HELD
    scaler.min_[flat] = -scaler.data_min_[flat] * _HELD
    return scaler


def target_scaler(values: np.ndarray) -> MinMaxScaler:
    """The min-max scaler of ``values`` [rows, columns]."""
    from sklearn.preprocessing import MinMaxScaler  # takes a second to import, and not all who read need it

    return MinMaxScaler().fit(values)


def _flat(values: np.ndarray) -> np.ndarray:
    """[columns]: True for those without a span, rounding aside."""
    low, high = np.fmin.reduce(values), np.fmax.reduce(values)
    return high - low <= 1e-9 * np.maximum(np.abs(low), np.abs(high))


def misfits(names: Sequence[str], values: np.ndarray, scaled: np.ndarray, test: np.ndarray) -> Iterator[str]:
    """What is worth a word of scales that are known from the rows before the test part, a sentence for each column.

    - ``names``: of the columns, the target last
    - ``values`` [rows, columns] in their units, and ``scaled``
    - ``test`` [rows]: True for rows of the test part
    """
    if not test.any():
        return
    flat = _flat(values[~test])
    most = np.fmax.reduce(np.abs(scaled[test]))
    for name, still, alive, far in zip(names, flat, flat & ~_flat(values), most, strict=True):
        if alive:
            result = "errors are in its unit" if name == names[-1] else "it is held at 0, as if left out"
            yield f"{name} is constant in the rows before the test part and moves in it: {result}"
        elif far > _FAR and not still:
            yield f"{name} reaches {far:.3g} in the test part, on the scale 0 .. 1 of the rows before it"
