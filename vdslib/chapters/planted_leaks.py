"""For each leak a short series on which it must flatter, beyond the spread of the seeds.

A leak that does no harm on one recording may ruin the next. Each series here is made so that the clean pipeline can
gain nothing by what the leak gives away, and the leaky one much.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from vdslib.chapters.leaks import JUDGES, Case

Planted = tuple[np.ndarray, dict[str, Any]]  # the values, and settings of the case that differ


def case(leak: str, seed: int) -> Case:
    """A short series on which ``leak`` must flatter, with the reason in its builder; each seed draws another."""
    random = np.random.default_rng([list(JUDGES).index(leak), seed])
    values, changes = _PLANTED[leak](random)
    times = pd.Timestamp("2026-01-05T08:00:00Z") + pd.to_timedelta(np.arange(len(values)), unit="s")
    frame = pd.DataFrame({"timestamp": times, "node": "system", "cpu_usage": values})
    return replace(Case(frame, ["cpu_usage"], "cpu_usage"), **changes)


def _wave(random: np.random.Generator, rows: int, memory: float) -> np.ndarray:
    """Noise that keeps the share ``memory`` of its last value."""
    noise, result = random.standard_normal(rows), np.zeros(rows)
    for row in range(1, rows):
        result[row] = memory * result[row - 1] + noise[row]
    return result


def _drifting(random: np.random.Generator) -> Planted:
    """A walk that drifts: its future is like nothing before, but each window like the one a second earlier or later."""
    return np.cumsum(0.5 + random.standard_normal(400)), {}


def _step_at_border(random: np.random.Generator) -> Planted:
    """Ten times the noise higher from the test part on: only windows across the border have seen it."""
    values = random.standard_normal(300)
    values[240:] += 10
    return values, {}


def _rare_noise(random: np.random.Generator) -> Planted:
    """White noise: its rare state cannot be forecast, but an invented sample lies beside those it is made of."""
    return random.standard_normal(600), {}


def _rising(random: np.random.Generator) -> Planted:
    """A rise in the test part: who knows it has the longer ruler."""
    values = _wave(random, 400, 0.8)
    values[320:] += np.linspace(0, 30, 80)
    return values, {}


def _louder(random: np.random.Generator) -> Planted:
    """A test part that moves four times as much: its own range hides that."""
    values = _wave(random, 400, 0.8)
    values[320:] *= 4
    return values, {}


def _noise(random: np.random.Generator) -> Planted:
    """White noise: all skill over the mean is borrowed from the future."""
    return random.standard_normal(400), {}


def _turning(random: np.random.Generator) -> Planted:
    """What follows on a value turns round in the test part: there, the less was learnt the better."""
    values = _wave(random, 1000, 0.8)
    values[800:] = _wave(random, 200, -0.8)
    return values, {"horizon": 1}


_PLANTED: dict[str, Callable[[np.random.Generator], Planted]] = {
    "random split": _drifting,
    "windows across the split": _step_at_border,
    "SMOTE before the split": _rare_noise,
    "scaler on all rows": _rising,
    "scaler per split": _louder,
    "target among the features": _noise,
    "future rolling features": _noise,
    "early stopping on the test set": _turning,
    "best test epoch reported": _turning,
}
