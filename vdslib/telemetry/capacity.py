"""What a node has: cores and memory that are switched off or change, and usages that are more than them. Steps of
``repairing``, in its order."""

from functools import partial

import numpy as np
import pandas as pd

from vdslib.errors import TelemetryError
from vdslib.telemetry.faults import FAULTS, Work

RESIZED = 0.01  # a capacity that changes by more than this share changes what percentages mean
CAPACITY = {"cpu_cores": "cpu_usage", "memory_mb": "memory_usage"}  # capacity: the percentage of it


def switched_off(work: Work) -> None:
    """Nodes that are switched off: they state no cores (or no memory, where the cores are not stated)."""
    stated = [name for name in CAPACITY if name in work.frame]
    if not stated:
        return
    off, node = work.frame[stated[0]] == 0, work.frame["node"]
    works = (~off).groupby(node)
    late = off & (works.cumsum() == 0) & works.transform("any")
    gone = pd.Series(False, index=off.index)
    for fault, rows in {"late_start": late, "shutdown": off & ~late}.items():
        dropped = work.policy(fault) != "keep"
        work.note(fault, stated[0], rows, rows if dropped else None)
        gone |= rows & dropped
    work.leave_out(gone)


def above_100(work: Work) -> None:
    """Usages above the capacity."""
    for fault, name in {"above_100": "cpu_usage", "memory_over_capacity": "memory_usage"}.items():
        if name in work.frame:
            work.note(fault, name, work.frame[name] > 100)
            if work.policy(fault) == "clip":
                work.frame = work.frame.assign(**{name: work.frame[name].clip(upper=100)})


def resized(work: Work) -> None:
    """Capacities that change: what is a percentage of them is recomputed, or stretches are numbered."""
    node = work.frame["node"]
    for name, usage in CAPACITY.items():
        if name not in work.frame:
            continue
        size = work.frame[name]
        changed, before = _changes(size, node)
        recompute = work.policy("resize") == "recompute" and usage in work.frame
        action = FAULTS["resize"].policies["recompute" if recompute else "mark"]
        work.note("resize", name, changed, action=action, detail=partial(_first_change, before, size))
        if recompute and changed.any():
            rows = changed.groupby(node).transform("any") & (size > 0)
            largest = size.groupby(node).transform("max")
            recomputed = work.frame[usage] * size / largest
            work.frame = work.frame.assign(
                **{usage: work.frame[usage].mask(rows, recomputed), name: size.mask(rows, largest)}
            )
    number_segments(work)


def _first_change(before: pd.Series, size: pd.Series, rows: np.ndarray) -> str:
    return f" (first from {before.iloc[rows[0]]:g} to {size.iloc[rows[0]]:g})"


def _changes(capacity: pd.Series, node: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Rows whose capacity differs from that of the row before, rows without any left aside; and the one before."""
    known = capacity.where(capacity > 0)
    before = known.groupby(node).ffill().groupby(node).shift()
    return (known / before - 1).abs() > RESIZED, before


def number_segments(work: Work) -> None:
    """Number the stretches of equal capacity in the column ``segment``, if a node has more than one.

    Numbers that an earlier repair gave are borders too.
    """
    node = work.frame["node"]
    border = pd.Series(False, index=node.index)
    for name in CAPACITY:
        if name in work.frame:
            border |= _changes(work.frame[name], node)[0]
    if "segment" in work.frame:
        stated_segment = pd.to_numeric(work.frame["segment"], errors="coerce")
        if stated_segment.isna().any():
            raise TelemetryError(f"{work.origin}: column 'segment' must hold whole numbers. Rename it.")
        border |= stated_segment.groupby(node).diff().fillna(0) != 0
    if border.any() or "segment" in work.frame:
        work.frame = work.frame.assign(segment=border.groupby(node).cumsum().astype(float))
