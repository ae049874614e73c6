"""The schema of telemetry: what the columns mean, and the strict check that every table passes.

Telemetry is a table with one row per timestamp and node. The paper (section 2) collects CPU, memory, disc and
network usage together with the productivity and the configuration of the system; ``COLUMNS`` is the one
declaration of all of it, from which the schema, the aggregation over nodes and the data dictionary follow. A
source that cannot measure an optional column leaves the column out; nothing is filled with zeros.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pandera.pandas as pa

__all__ = [
    "COLUMNS",
    "MEASURED",
    "SCHEMA",
    "SYSTEM",
    "Column",
    "TelemetryError",
    "check",
    "data_dictionary",
    "located",
    "origin_of",
]

SYSTEM = "system"  # the name that the series over all nodes has in the column ``node``
MISSPELT = {"system_prodactivity": "system_productivity"}  # accepted on reading, never written
DECIMAL_COMMA = r"[+-]?\d*,\d+"


class TelemetryError(ValueError):
    """Telemetry that cannot be used. The message names file, column, row and what to do about it."""


@dataclass(frozen=True)
class Column:
    """One column of telemetry.

    ``kind`` is "time", "text", "number", "count" (whole number) or "flag" (0 or 1). ``over_nodes`` says how
    the value of the whole system follows from the nodes: "mean", "sum", "same" (one setting for all, the
    first is taken), the name of a column that weights a mean, or "" where the system has no such value.
    """

    name: str
    unit: str
    meaning: str
    kind: str = "number"
    required: bool = False
    may_be_empty: bool = False
    maximum: float = np.inf
    over_nodes: str = ""


# fmt: off
_DECLARED = [
    Column("timestamp", "UTC, ISO 8601", "start of the second measured", "time", required=True),
    Column("node", "", "name of the node; `system` for the series over all nodes", "text", required=True),
    Column("cpu_usage", "percent", "CPU time used, of the node's capped share", over_nodes="mean"),
    Column("memory_usage", "percent", "memory held, of the node's allowance; empty while it has none",
           may_be_empty=True, over_nodes="mean"),
    Column("disc_usage", "KB/s", "read from and written to disc", over_nodes="sum"),
    Column("network_usage", "KB/s", "received and sent over the network", over_nodes="sum"),
    Column("demand", "CPU s/s", "CPU seconds of work offered in this second", over_nodes="sum"),
    Column("jobs_offered", "count", "jobs that arrived", "count", over_nodes="sum"),
    Column("jobs_completed", "count", "jobs that were completed", "count", over_nodes="sum"),
    Column("jobs_dropped", "count", "jobs given up: no longer in time", "count", over_nodes="sum"),
    Column("latency_mean", "ms", "mean time from arrival to completion of jobs completed; empty without any",
           may_be_empty=True, over_nodes="jobs_completed"),
    Column("latency_p95", "ms", "95th percentile of that time; for the system the mean over the nodes",
           may_be_empty=True, over_nodes="jobs_completed"),
    Column("queue_length", "count", "jobs waiting or running at the second's end", "count", over_nodes="sum"),
    Column("work_due", "CPU s", "work whose deadline fell in this second", over_nodes="sum"),
    Column("system_productivity", "percent", "share of the work due done in time; empty where none was due",
           may_be_empty=True, maximum=100, over_nodes="work_due"),
    Column("active", "0 or 1", "whether the node took new jobs", "flag"),
    Column("active_nodes", "count", "nodes that took new jobs", "count", over_nodes="same"),
    Column("strategy", "", "how jobs were dispatched: round_robin, shortest_queue or random", "text",
           over_nodes="same"),
    Column("slots", "count", "jobs that a node runs at once", "count", over_nodes="same"),
    Column("cpu_cores", "cores", "the node's capped share of the processor", over_nodes="mean"),
    Column("cpu_mhz", "MHz", "clock of the processor; empty while the node has none",
           may_be_empty=True, over_nodes="mean"),
    Column("memory_mb", "MB", "the node's memory allowance", over_nodes="mean"),
    Column("temperature_c", "degrees C", "temperature of the processor; empty without a sensor",
           may_be_empty=True, over_nodes="mean"),
    Column("hypervisor", "", "hypervisor below the operating system, as detected", "text", over_nodes="same"),
]
# fmt: on
COLUMNS: dict[str, Column] = {column.name: column for column in _DECLARED}
# What can be measured, in the order in which it is taken as a target; the rest are settings and equipment. No
# single one is required, since a web log knows no processor; one of them is.
MEASURED = tuple(COLUMNS)[2 : list(COLUMNS).index("active")]


def _pandera(column: Column) -> pa.Column:
    """The pandera form of a declared column. The ``error`` of each check is the wording that users read."""
    dtypes = {"time": "datetime64[us, UTC]", "text": None, "number": float, "count": "int64", "flag": "int64"}
    checks = []
    if column.kind in ("number", "count"):
        checks.append(pa.Check(lambda s: ~(s < 0), error="is negative"))
        checks.append(pa.Check(lambda s: ~np.isinf(s), error="is infinite"))
    if np.isfinite(column.maximum):
        checks.append(pa.Check(lambda s: ~(s > column.maximum), error=f"is above {column.maximum:g}"))
    if column.kind == "flag":
        checks.append(pa.Check(lambda s: s.isin([0, 1]), error="is neither 0 nor 1"))
    return pa.Column(
        dtypes[column.kind],
        checks,
        nullable=column.may_be_empty,
        required=column.required,
        title=column.meaning,
    )


SCHEMA = pa.DataFrameSchema({name: _pandera(column) for name, column in COLUMNS.items()}, name="telemetry")


def data_dictionary() -> pd.DataFrame:
    """The declaration as a table, one row per column of telemetry."""
    no_yes = ("no", "yes")
    return pd.DataFrame(
        {
            "column": name,
            "unit": column.unit,
            "required": no_yes[column.required],
            "may be empty": no_yes[column.may_be_empty],
            "over all nodes": ("weighted by " if column.over_nodes in COLUMNS else "") + column.over_nodes,
            "meaning": column.meaning,
        }
        for name, column in COLUMNS.items()
    )


def check(frame: pd.DataFrame, origin: str = "", *, lines: bool = False) -> pd.DataFrame:
    """Check a table strictly, and return it with the types of ``SCHEMA``, sorted by node and time.

    The first fault is an error; ``telemetry.validate`` finds them all and ``telemetry.repair`` mends them.
    ``origin`` names the table in messages; ``lines`` says that it is a text file whose lines they may count.
    Columns that are not declared are kept, as numbers where they are numbers. Times without an offset are
    taken as UTC. ``attrs`` are kept. Raises TelemetryError naming file, column, row and remedy.
    """
    origin, attrs = origin or origin_of(frame), frame.attrs
    frame = frame.rename(columns=MISSPELT).reset_index(drop=True)
    check_header(frame, origin)
    typed = pd.DataFrame({name: _typed(frame[name], origin, lines) for name in frame.columns})
    try:
        SCHEMA.validate(typed, lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        case = cases.loc[cases["index"].astype(float).idxmin()]  # the first row that fails
        value = "is empty" if case["check"] == "not_nullable" else f"{case['failure_case']} {case['check']}"
        remedy = "Correct the value, or leave out the row."
        raise located(origin, case["column"], int(case["index"]), value, remedy, lines) from None
    settings = [name for name in COLUMNS if name not in MEASURED]
    if typed.select_dtypes("number").columns.difference(settings).empty:
        raise TelemetryError(
            f"{origin}: no column of row 0 (the header) is a measurement; it has "
            f"{', '.join(map(str, frame.columns))}. Add or rename at least one, as {', '.join(MEASURED)}."
        )
    _check_order(typed, origin, lines)
    typed = typed.sort_values(["node", "timestamp"], ignore_index=True)
    typed.attrs = {**attrs, "origin": origin}
    return typed


def origin_of(frame: pd.DataFrame) -> str:
    """The name of the file that ``frame`` was read from, for messages; "telemetry" if unknown."""
    return str(frame.attrs.get("origin", "telemetry"))


def located(
    origin: str, column: str, row: int, problem: str, remedy: str, lines: bool = False
) -> TelemetryError:
    """The one form of all messages about a value; ``row`` is a 0-based position in the table."""
    line = f" (line {row + 2} of the file)" if lines else ""  # the header is line 1
    return TelemetryError(f"{origin}: column '{column}', row {row + 1}{line}: {problem}. {remedy}")


def check_header(frame: pd.DataFrame, origin: str) -> None:
    """Refuse a table with a column twice, without a required column, or without rows."""
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise TelemetryError(
            f"{origin}: column '{twice[0]}' occurs twice in the header. Remove or rename one."
        )
    for column in COLUMNS.values():
        described = "; ".join(filter(None, (column.meaning, column.unit)))
        if column.required and column.name not in frame:
            raise TelemetryError(
                f"{origin}: column '{column.name}' is missing from row 0 (the header), which has "
                f"{', '.join(map(str, frame.columns))}. Add or rename it ({described})."
            )
    if frame.empty:
        raise TelemetryError(f"{origin}: there is no row 1, only the header. Record the telemetry again.")


def _typed(values: pd.Series, origin: str, lines: bool) -> pd.Series:
    """A column converted to its declared type; the first value that cannot be converted is reported."""
    name = str(values.name)
    column = COLUMNS.get(name)
    empty = values.isna()
    kinds = pd.api.types
    if not (kinds.is_numeric_dtype(values) or kinds.is_datetime64_any_dtype(values)):  # as text takes long
        empty |= values.astype(str).str.strip().str.lower().isin(["", "nan"])
    if column is not None and not column.may_be_empty and empty.any():
        problem, remedy = "the value is empty or NaN", "Fill it in, or leave out the row."
        raise located(origin, name, int(empty.argmax()), problem, remedy, lines)
    if column is None:
        numbers = pd.to_numeric(values.mask(empty), errors="coerce")
        return values if (numbers.isna() & ~empty).any() else numbers.astype(float)
    if column.kind == "text":
        return values.astype(str)
    result: pd.Series
    if column.kind == "time":
        times = pd.to_datetime(values, format="ISO8601", utc=True, errors="coerce")
        result, what = times.astype("datetime64[us, UTC]"), "a time. Write it like 2026-01-31T05:00:00Z"
    else:
        result = pd.to_numeric(values.mask(empty), errors="coerce").astype(float)
        what = "a number. Write it with digits and a decimal point"
    wrong = result.isna() & ~empty
    if column.kind in ("count", "flag"):
        wrong |= ~(np.isfinite(result) & (result % 1 == 0))
        what = "a whole number. Write it with digits only"
    if wrong.any():
        row = int(wrong.argmax())
        value, remedy = values.iloc[row], "Or leave out the row."
        if re.fullmatch(DECIMAL_COMMA, str(value).strip()):
            remedy = "If the comma is a decimal comma, read the file with decimal=','."
        raise located(origin, name, row, f"{value!r} is not {what}", remedy, lines)
    return result.astype("int64") if column.kind in ("count", "flag") else result


def _check_order(frame: pd.DataFrame, origin: str, lines: bool) -> None:
    """Every node's timestamps must rise from row to row; rows of different nodes may alternate."""
    step = frame.groupby("node", sort=False)["timestamp"].diff()
    zero = pd.Timedelta(0)
    repeated = frame.duplicated(["node", "timestamp"]) | (step == zero)
    wrong = repeated | (step < zero)
    if not wrong.any():
        return
    row = int(wrong.argmax())
    node, time = frame["node"].iloc[row], f"{frame['timestamp'].iloc[row]:%Y-%m-%dT%H:%M:%SZ}"
    if repeated.iloc[row]:
        problem = f"{time} is a duplicate: node {node} has a row for this time already"
        remedy = "Keep one of the rows."
    else:
        problem = f"{time} goes backwards: it is before the previous row of node {node}"
        remedy = "Sort the rows by time, if the clock was right."
    raise located(origin, "timestamp", row, problem, remedy, lines)
