"""The time as an input: at which phase of the day, the week or another rhythm lies the row that is forecast?

The calendar is known in advance, so nothing leaks. A rhythm stands in the inputs as sines and cosines of its harmonics,
which every model can read: a line, a tree, a network.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

FEW, FINE = (
    3,
    4,
)  # harmonics that draw the shape of a rhythm; FINE for the shortest, whose shape is seen most often
_CYCLES = 2  # times that a source's rhythm has to be seen before the test part


class Rhythm(NamedTuple):
    """A period, and how many of its harmonics stand for its shape."""

    seconds: float
    harmonics: int

    @property
    def name(self) -> str:
        """Such as 1d or 154.286s, for columns and messages."""
        days = self.seconds / 86_400
        return f"{days:g}d" if days >= 1 else f"{self.seconds:g}s"


def stated(rhythms: Sequence[int | float | str], step: float) -> tuple[Rhythm, ...]:
    """Rhythms from periods, the shortest first: whole numbers are rows of ``step`` seconds, texts spans such as "1d" or "90s".

    Raises ValueError for a period that is no span of time, or shorter than four rows.
    """
    periods = []
    for period in rhythms:
        try:
            span = pd.Timedelta(period).total_seconds() if isinstance(period, str) else period * step
        except (TypeError, ValueError):
            span = float("nan")
        if isinstance(period, bool) or not span >= 4 * step:
            raise ValueError(
                f"rhythms: {period!r} is no period of at least four rows of {step:g} s. Give rows such as 288, "
                'or a span of time such as "1d"'
            )
        periods.append(span)
    shortest = min(periods, default=0)
    return tuple(
        Rhythm(span, min(FINE if span == shortest else FEW, int((span / step - 1) // 2)))
        for span in sorted(set(periods))
    )


def seen(rhythms: Sequence[float], times: np.ndarray) -> list[float]:
    """Of the periods in seconds those that lie at least twice within ``times`` [rows]; others have no shape to learn."""
    covered = (times.max() - times.min()) / np.timedelta64(1, "s") if len(times) else 0.0
    return [period for period in rhythms if _CYCLES * period <= covered]


def phases(times: np.ndarray, rhythms: Sequence[Rhythm]) -> np.ndarray:
    """[rows, 2 x harmonics]: sine and cosine of each harmonic of each rhythm at ``times`` [rows] (UTC, datetime64)."""
    seconds = (times - np.datetime64("1970-01-01", "ns")) / np.timedelta64(1, "s")
    waves: list[Any] = []
    for rhythm in rhythms:
        turn = (
            2 * np.pi * ((seconds / rhythm.seconds) % 1.0)
        )  # small first, or the digits of the phase are lost
        for harmonic in range(1, rhythm.harmonics + 1):
            waves += [np.sin(harmonic * turn), np.cos(harmonic * turn)]
    return np.column_stack(waves) if waves else np.empty((len(times), 0))


def names(rhythms: Sequence[Rhythm]) -> list[str]:
    """The names of the columns of ``phases``."""
    return [
        f"{wave} {harmonic} of {rhythm.name}"
        for rhythm in rhythms
        for harmonic in range(1, rhythm.harmonics + 1)
        for wave in ("sine", "cosine")
    ]
