"""What the adapters share: options behind a ``?``, and rows in which something was not measured."""

import math
import warnings
from collections.abc import Mapping

import pandas as pd

from vdslib.errors import TelemetryError
from vdslib.telemetry import COLUMNS


def number(given: Mapping[str, str], name: str, default: float, minimum: float, origin: str) -> float:
    """An option as a finite number from ``minimum``; ``default`` where it is not given."""
    try:
        value = float(given.get(name, default))
    except ValueError:
        value = math.nan
    if not minimum <= value < math.inf:
        raise TelemetryError(
            f"{origin}: option '{name}' is {given[name]!r}. Give a number of at least {minimum:g}."
        )
    return value


def complete(frame: pd.DataFrame, origin: str) -> pd.DataFrame:
    """The columns that every node has, and the rows in which nothing is missing; a warning says what went.

    A column that no node has is left out without a word: the source does not measure it. A row in which a value
    is missing that may not be empty becomes a gap, since a value put there would be invented.
    """
    frame = frame.dropna(axis="columns", how="all")
    needed = [name for name in frame if name not in COLUMNS or not COLUMNS[name].may_be_empty]
    has = frame[needed].notna().groupby(frame["node"]).any()
    partial = [name for name in needed if not has[name].all()]
    if partial:
        lacking = {name: ", ".join(has.index[~has[name]].astype(str)) for name in partial}
        told = "; ".join(f"'{name}' (not measured at {nodes})" for name, nodes in lacking.items())
        warnings.warn(f"{origin}: columns that not every node has are left out: {told}.", stacklevel=3)
        frame = frame.drop(columns=partial)
    kept = frame.dropna(subset=[name for name in needed if name not in partial])
    if len(kept) < len(frame):
        warnings.warn(
            f"{origin}: {len(frame) - len(kept)} of {len(frame)} rows are left out, because a column had no "
            "value in them; they are gaps.",
            stacklevel=3,
        )
    return kept.sort_values(["node", "timestamp"], ignore_index=True)
