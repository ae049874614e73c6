"""What raw values mean: numbers in other units than ours.

A unit is converted where it is stated and doubted where the numbers do not fit it; it is never guessed. What
numbers alone cannot tell stays unseen: a quiet machine measured in bytes looks like a busy one in KB.
"""

import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vdslib.errors import TelemetryError
from vdslib.telemetry.forms import stated
from vdslib.telemetry.schema import COLUMNS
from vdslib.telemetry.times import EPOCH

# Canonical unit (as in COLUMNS) -> unit that may be stated -> factor from the one stated to the canonical one.
FACTORS: dict[str, dict[str, float]] = {
    "percent": {"percent": 1, "fraction": 100},
    "KB/s": {"KB/s": 1, "bytes/s": 1 / 1024, "MB/s": 1024},
    "MB": {"MB": 1, "bytes": 1 / 1024**2, "KB": 1 / 1024, "GB": 1024},
    "MHz": {"MHz": 1, "Hz": 1e-6, "kHz": 1e-3, "GHz": 1000},
    "ms": {"ms": 1, "us": 1e-3, "s": 1000},
}
# A node's largest value outside (low, high] is doubted: percentages that never pass 1, memory of a machine below
# 16 MB or above 4 TB, a clock below 10 MHz or above 1 THz (all cores together), over 20 GB/s of traffic.
PLAUSIBLE = {"percent": (1.0, 1e4), "KB/s": (0.0, 2e7), "MB": (16.0, 4e6), "MHz": (10.0, 1e6)}
SCALES = (1000.0, 1024.0, 1000.0**2, 1024.0**2)  # a capacity that changes by one of these changed its unit
SIDE = 3  # rows on either side of a change of units, which fewer could be by chance


@dataclass(frozen=True)
class Doubt:
    """Numbers of a column that do not fit its unit: of which node ("" for all), why, what to do, in how many rows."""

    column: str
    node: str
    reason: str
    remedy: str
    rows: int


def _remedy(name: str, fitting: list[str]) -> str:
    """What to state about the unit of a column, if any of ``fitting`` is it, or ours."""
    unit = COLUMNS[name].unit
    ways = [stated("unit", each, name) for each in fitting]
    own = f"{stated('unit', unit, name)} if it is {unit} all the same"
    first = f"State {', or '.join(ways)}" if ways else f"Convert it to {unit}"
    return f"{first}, or {own}."


def check_stated(units: Mapping[str, str], zone: str, origin: str) -> None:
    """Raise TelemetryError for a unit of a column that has none, and for a unit or zone that nobody knows."""
    try:
        zoneinfo.ZoneInfo(zone or "UTC")
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise TelemetryError(
            f"{origin}: {stated('zone', zone)} is no time zone. Write it like {stated('zone', 'Europe/Kyiv')}."
        ) from None
    for name, unit in units.items():
        column = COLUMNS.get(name)
        known = EPOCH if name == "timestamp" else FACTORS.get(column.unit if column else "", {})
        if unit not in known:
            having = [c.name for c in COLUMNS.values() if c.unit in FACTORS]
            remedy = (
                f"Choose among {', '.join(known)}." if known else f"Columns with units: {', '.join(having)}."
            )
            raise TelemetryError(f"{origin}: column '{name}' cannot be in {unit!r}. {remedy}")


def _changed_over(values: pd.Series) -> bool:
    """Whether values change once from fractions to percentages or back: all on one side are at most 1, all on the
    other above it, and a hundred times larger or so."""
    known = values.dropna().to_numpy()
    small = known <= 1
    turns = np.flatnonzero(np.diff(small))
    if len(turns) != 1 or not SIDE <= turns[0] + 1 <= len(known) - SIDE:
        return False
    ratio = np.median(known[~small]) / np.median(known[small])
    return bool(30 <= ratio <= 300)


def doubts(values: pd.Series, nodes: pd.Series, unit_stated: str) -> Iterator[Doubt]:
    """Where the numbers of a column, in its canonical unit, do not fit it: one doubt for each node.

    Nothing is doubted where the canonical unit was stated; where another was, only a mixture is.
    """
    name = str(values.name)
    unit = COLUMNS[name].unit
    if unit not in PLAUSIBLE or unit_stated == unit:
        return
    low, high = PLAUSIBLE[unit]
    positive = values.where((values > 0) & np.isfinite(values))
    limits = positive.groupby(nodes, sort=False).agg(["min", "max", "size"])
    odd = ((limits["max"] <= low) | (limits["max"] > high)) & (not unit_stated)
    ratio = (limits["max"] / limits["min"]).to_numpy()
    mixed = (np.abs(ratio[:, None] / np.array(SCALES) - 1) < 0.02).any(axis=1) & (unit in ("MB", "MHz"))
    if unit == "percent":
        mixed = positive.groupby(nodes, sort=False).agg(_changed_over).to_numpy(dtype=bool)
    # a unit is stated for the whole column: it must be right for every node
    whole = odd[limits["size"] > 0].all()
    for node, (smallest, largest, rows) in limits[odd | mixed].iterrows():
        fitting = [
            other
            for other, factor in FACTORS[unit].items()
            if whole and (limits["max"].dropna() * factor).between(low, high, inclusive="right").all()
        ]
        reason = f"numbers between {smallest:g} and {largest:g} do not look like {unit}"
        if mixed[limits.index.get_loc(node)]:
            reason, fitting = f"numbers between {smallest:g} and {largest:g} look like two units mixed", []
        yield Doubt(name, str(node), reason, _remedy(name, fitting), int(rows))
