"""What raw values mean: numbers in other units, and times without an offset or counted from 1970.

A unit is converted where it is stated and doubted where the numbers do not fit it; it is never guessed. What
numbers alone cannot tell stays unseen: a quiet machine measured in bytes looks like a busy one in KB.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vdslib.schema import COLUMNS, TelemetryError

__all__ = ["EPOCH", "FACTORS", "Doubt", "Times", "check_stated", "doubts", "to_utc"]

# Canonical unit (as in COLUMNS) -> unit that may be stated -> factor from the one stated to the canonical one.
FACTORS: dict[str, dict[str, float]] = {
    "percent": {"percent": 1, "fraction": 100},
    "KB/s": {"KB/s": 1, "bytes/s": 1 / 1024, "MB/s": 1024},
    "MB": {"MB": 1, "bytes": 1 / 1024**2, "KB": 1 / 1024, "GB": 1024},
    "MHz": {"MHz": 1, "Hz": 1e-6, "kHz": 1e-3, "GHz": 1000},
    "ms": {"ms": 1, "us": 1e-3, "s": 1000},
}
YEARS = pd.Timestamp("1990-01-01", tz="UTC"), pd.Timestamp("2100-01-01", tz="UTC")
# Times counted from 1970: unit -> the numbers of these years.
EPOCH = {
    unit: (YEARS[0].timestamp() * factor, YEARS[1].timestamp() * factor)
    for unit, factor in {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}.items()
}
# A node's largest value outside (low, high] is doubted: percentages that never pass 1, memory of a machine below
# 16 MB or above 4 TB, a clock below 10 MHz or above 1 THz (all cores together), over 20 GB/s of traffic.
PLAUSIBLE = {"percent": (1.0, 1e4), "KB/s": (0.0, 2e7), "MB": (16.0, 4e6), "MHz": (10.0, 1e6)}
SCALES = (1000.0, 1024.0, 1000.0**2, 1024.0**2)  # a capacity that changes by one of these changed its unit
OFFSET = r"[T ].*(?:[Zz]|[+-]\d\d(?::?\d\d)?)$"  # how a text ends whose time has an offset


@dataclass(frozen=True)
class Doubt:
    """Numbers of a column that do not fit its unit: of which node ("" for all), why, which units would fit."""

    column: str
    node: str
    reason: str
    fitting: list[str]
    rows: int

    def remedy(self) -> str:
        """What to do, with what to state as it is written in Python."""
        ways = [f"State units={{'{self.column}': '{unit}'}}" for unit in self.fitting]
        unit = COLUMNS[self.column].unit
        ways = ways or [f"Convert it to {unit}"]
        if unit in FACTORS:
            ways.append(f"units={{'{self.column}': '{unit}'}} if it is {unit} all the same")
        return ", or ".join(ways).replace("or State", "or") + "."


@dataclass(frozen=True)
class Times:
    """Times in UTC (NaT where there is none) and, for each row, whether it had no offset, and whether its time
    was lost because a change of the clock has it twice or never."""

    utc: pd.Series
    naive: pd.Series
    unclear: pd.Series


def check_stated(units: Mapping[str, str], zone: str, origin: str) -> None:
    """Raise TelemetryError for a unit of a column that has none, and for a unit or zone that nobody knows."""
    try:
        zoneinfo.ZoneInfo(zone or "UTC")
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise TelemetryError(
            f"{origin}: zone={zone!r} is no time zone. Write it like zone='Europe/Kyiv'."
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


def doubts(values: pd.Series, nodes: pd.Series, stated: str) -> Iterator[Doubt]:
    """Where the numbers of a column, in its canonical unit, do not fit it: one doubt for each node.

    Nothing is doubted where the canonical unit was stated; where another was, only a mixture is.
    """
    name = str(values.name)
    unit = COLUMNS[name].unit
    if unit not in PLAUSIBLE or stated == unit:
        return
    low, high = PLAUSIBLE[unit]
    positive = values.where((values > 0) & np.isfinite(values))
    limits = positive.groupby(nodes, sort=False).agg(["min", "max", "size"])
    odd = ((limits["max"] <= low) | (limits["max"] > high)) & (not stated)
    ratio = (limits["max"] / limits["min"]).to_numpy()
    mixed = (np.abs(ratio[:, None] / np.array(SCALES) - 1) < 0.02).any(axis=1) & (unit in ("MB", "MHz"))
    for node, (smallest, largest, rows) in limits[odd | mixed].iterrows():
        fitting = [other for other, factor in FACTORS[unit].items() if low < largest * factor <= high]
        reason = f"numbers between {smallest:g} and {largest:g} do not look like {unit}"
        if mixed[limits.index.get_loc(node)]:
            reason, fitting = f"numbers between {smallest:g} and {largest:g} look like two units mixed", []
        yield Doubt(name, str(node), reason, fitting, int(rows))


def to_utc(values: pd.Series, nodes: pd.Series, zone: str, unit: str) -> Times | Doubt:
    """Times of any form as UTC. Times without an offset are those of ``zone``, or UTC where it is empty.

    Numbers are taken as seconds (or ``unit``) since 1970, and doubted where no unit is stated or where it puts
    them outside 1990 .. 2100.
    """
    nothing = pd.Series(False, index=values.index)
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return Times(values.dt.tz_convert("UTC").astype("datetime64[us, UTC]"), nothing, nothing)
    if pd.api.types.is_datetime64_dtype(values):
        return _local(values.astype("datetime64[us]"), values.notna(), nodes, zone)
    numbers = pd.to_numeric(values, errors="coerce")
    counted = numbers.notna() & ((numbers.abs() >= 1e8) | pd.api.types.is_numeric_dtype(values))
    if counted.any():
        since = pd.to_datetime(numbers.where(counted), unit=unit or "s", errors="coerce", utc=True)  # type: ignore[call-overload]
        middle = float(numbers[counted].median())
        fitting = [name for name, (low, high) in EPOCH.items() if low <= middle < high]
        if unit not in (*fitting, "any"):
            problem = f"are not counted in {unit!r}" if unit else "are counted in a unit that is not stated"
            reason = f"numbers such as {middle:.0f} {problem}"
            return Doubt("timestamp", "", reason, fitting, int(counted.sum()))
    text = values.astype(str).str.strip()
    zoned = text.str.contains(OFFSET, regex=True)
    utc = pd.to_datetime(text.where(zoned & ~counted), format="ISO8601", errors="coerce", utc=True)
    wall = pd.to_datetime(text.where(~zoned & ~counted), format="ISO8601", errors="coerce")
    local = _local(wall.astype("datetime64[us]"), wall.notna(), nodes, zone)
    utc = utc.astype("datetime64[us, UTC]").fillna(local.utc)
    if counted.any():
        utc = utc.fillna(since.astype("datetime64[us, UTC]"))
    return Times(utc, local.naive, local.unclear)


def _local(wall: pd.Series, naive: pd.Series, nodes: pd.Series, zone: str) -> Times:
    """Wall-clock times of a zone in UTC.

    In the hour that comes twice, rows are of the first pass until the clock of their node steps back, and of
    the second from there; where it does not step back exactly once, nobody can tell.
    """
    if not zone:
        return Times(wall.dt.tz_localize("UTC"), naive, pd.Series(False, index=wall.index))
    as_winter = np.zeros(len(wall), dtype=bool)
    local = wall.dt.tz_localize(zone, ambiguous=as_winter, nonexistent="NaT")
    never = local.isna() & wall.notna()
    twice = wall.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").isna() & wall.notna() & ~never
    unclear = never.copy()
    if twice.any():
        hour = wall[twice]
        night = [nodes[twice], hour.dt.normalize()]
        back = hour.groupby(night).diff() < pd.Timedelta(0)
        passes = back.groupby(night).cumsum()
        clear = passes.groupby(night).transform("max") == 1
        unclear[hour.index[~clear]] = True
        summer = pd.Series(False, index=wall.index)
        summer[hour.index[passes == 0]] = True
        local = wall.dt.tz_localize(zone, ambiguous=summer.to_numpy(), nonexistent="NaT")
    return Times(local.mask(unclear).dt.tz_convert("UTC"), naive, unclear)
