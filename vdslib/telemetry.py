"""Telemetry: what the columns mean, and reading, checking, aggregating and writing them.

Telemetry is a table with one row per timestamp and node. The paper (section 2) collects CPU, memory, disc and
network usage together with the productivity and the configuration of the system; ``COLUMNS`` is the one
declaration of all of it, from which the schema, the aggregation over nodes and the data dictionary follow. A
source that cannot measure an optional column leaves the column out; nothing is filled with zeros.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

__all__ = [
    "COLUMNS",
    "SCHEMA",
    "SYSTEM",
    "Column",
    "TelemetryError",
    "checksum",
    "data_dictionary",
    "default_target",
    "origin_of",
    "read",
    "select",
    "system_series",
    "validate",
    "write",
]

SYSTEM = "system"  # the name that the series over all nodes has in the column ``node``
RECORDED = "data/vds_data.csv"  # what ``read("recorded")`` reads, relative to the project
MISSPELT = {"system_prodactivity": "system_productivity"}  # accepted on reading, never written
FLOAT_FORMAT = "%.6g"  # more digits than any sensor gives


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
    Column("cpu_usage", "percent", "CPU time used, of the node's capped share",
           required=True, over_nodes="mean"),
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


def read(source: str | Path) -> pd.DataFrame:
    """Read and check a telemetry file, CSV or compressed CSV.

    ``source`` is a path, or "recorded" for the telemetry that comes with the book. Returns the table sorted
    by node and time, with the types of ``SCHEMA``; columns that are not declared are kept, as numbers where
    they are numbers. Timestamps without an offset are taken as UTC. ``attrs["origin"]`` carries the file's
    name into later messages. Raises TelemetryError naming file, column, row and remedy.
    """
    origin, path = str(source), Path(source)
    if origin == "recorded":
        origin, path = RECORDED, Path(__file__).resolve().parent.parent / RECORDED
    if not path.is_file():
        raise TelemetryError(
            f"{origin}: there is no such file. Give the path of a telemetry file, or 'recorded'."
        )
    if path.stat().st_size == 0:
        raise TelemetryError(f"{origin}: the file is empty, without even a header. Record or copy it again.")
    try:
        # All as text first, so that a wrong value can be located; blank lines stay and are counted.
        text = pd.read_csv(
            path,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            index_col=False,
            encoding="utf-8-sig",
        )
    except Exception as error:  # noqa: BLE001  # parser and decompressors share no class of error
        reason = " ".join(str(error).split())
        raise TelemetryError(
            f"{origin}: not readable as comma-separated text ({reason}). "
            "Check that the file is complete and is CSV."
        ) from None
    _check_end(text, origin)
    return _checked(text, origin, lines=True)


def validate(frame: pd.DataFrame, origin: str = "") -> pd.DataFrame:
    """Check a table that did not come from a file, and return it typed and sorted as ``read`` does.

    ``origin`` names it in messages. Raises TelemetryError.
    """
    return _checked(frame, origin or origin_of(frame), lines=False)


def origin_of(frame: pd.DataFrame) -> str:
    """The name of the file that ``frame`` was read from, for messages; "telemetry" if unknown."""
    return str(frame.attrs.get("origin", "telemetry"))


def _error(origin: str, column: str, row: int, lines: bool, problem: str, remedy: str) -> TelemetryError:
    """The one form of all messages about a value; ``row`` is a 0-based position in the table."""
    line = f" (line {row + 2} of the file)" if lines else ""  # the header is line 1
    return TelemetryError(f"{origin}: column '{column}', row {row + 1}{line}: {problem}. {remedy}")


def _checked(frame: pd.DataFrame, origin: str, lines: bool) -> pd.DataFrame:
    frame = frame.rename(columns=MISSPELT).reset_index(drop=True)
    _check_header(frame, origin)
    typed = pd.DataFrame({name: _typed(frame[name], origin, lines) for name in frame.columns})
    try:
        SCHEMA.validate(typed, lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        case = cases.loc[cases["index"].astype(float).idxmin()]  # the first row that fails
        value = "is empty" if case["check"] == "not_nullable" else f"{case['failure_case']} {case['check']}"
        remedy = "Correct the value, or leave out the row."
        raise _error(origin, case["column"], int(case["index"]), lines, value, remedy) from None
    _check_order(typed, origin, lines)
    typed = typed.sort_values(["node", "timestamp"], ignore_index=True)
    typed.attrs["origin"] = origin
    return typed


def _check_header(frame: pd.DataFrame, origin: str) -> None:
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
    empty = values.isna() | (values.astype(str).str.strip().str.lower().isin(["", "nan"]))
    if column is not None and not column.may_be_empty and empty.any():
        problem, remedy = "the value is empty or NaN", "Fill it in, or leave out the row."
        raise _error(origin, name, int(empty.argmax()), lines, problem, remedy)
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
        raise _error(origin, name, row, lines, f"{values.iloc[row]!r} is not {what}", "Or leave out the row.")
    return result.astype("int64") if column.kind in ("count", "flag") else result


def _check_end(text: pd.DataFrame, origin: str) -> None:
    """A recording that was cut off may end within a line; pandas reads the missing fields as empty."""
    if text.empty:
        return
    filled = np.flatnonzero((text.iloc[-1] != "").to_numpy())
    rest = text.columns[filled[-1] + 1 if len(filled) else 0 :]
    if any(name in COLUMNS and not COLUMNS[name].may_be_empty for name in rest):
        remedy = "Delete the line if the file was cut off there, or complete it."
        raise _error(origin, rest[0], len(text) - 1, True, "the last line ends before this column", remedy)


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
    raise _error(origin, "timestamp", row, lines, problem, remedy)


def system_series(frame: pd.DataFrame) -> pd.DataFrame:
    """The whole system's series: one row per timestamp, node ``system``, aggregated as ``COLUMNS`` declares.

    Timestamps at which a node is missing are left out, since a sum over the others would be too low. A
    weighted mean is empty where all weights are zero. Undeclared columns are left out.
    """
    if (frame["node"] == SYSTEM).all():
        return frame
    size = frame.groupby("timestamp")["node"].size()
    complete = size.index[size == frame["node"].nunique()]
    if complete.empty:
        raise TelemetryError(
            f"{origin_of(frame)}: column 'timestamp', rows 1 to {len(frame)}: no timestamp has a row of "
            "every node, so there is no series of the system. Select single nodes, or align their times."
        )
    rows = frame[frame["timestamp"].isin(complete)]
    groups = rows.groupby("timestamp")
    parts: dict[str, pd.Series] = {}
    for name, column in COLUMNS.items():
        if name not in frame or not column.over_nodes:
            continue
        if column.over_nodes == "sum":
            parts[name] = groups[name].sum()
        elif column.over_nodes == "same":
            parts[name] = groups[name].first()
        elif column.over_nodes in frame:
            weight = rows[column.over_nodes].where(rows[name].notna(), 0)
            total = (rows[name].fillna(0) * weight).groupby(rows["timestamp"]).sum()
            parts[name] = total / weight.groupby(rows["timestamp"]).sum().replace(0, np.nan)
        else:  # a plain mean, declared, or for want of the column with the weights
            parts[name] = groups[name].mean()
    result = pd.DataFrame(parts).reset_index()
    result.insert(1, "node", SYSTEM)
    if "system_productivity" in result:  # rounding may carry a weighted mean of 100s a hair above 100
        result["system_productivity"] = result["system_productivity"].clip(upper=100)
    result.attrs["origin"] = origin_of(frame)
    return result


def select(frame: pd.DataFrame, nodes: str | Sequence[str]) -> pd.DataFrame:
    """The rows of ``nodes``: "system" (the series over all nodes), "all", a node's name, or a list of names.

    Raises TelemetryError for an unknown name.
    """
    if nodes == "all":
        return frame
    names = [nodes] if isinstance(nodes, str) else list(nodes)
    known = list(dict.fromkeys(frame["node"]))
    for name in names or [""]:
        if name not in (*known, SYSTEM):
            raise TelemetryError(
                f"{origin_of(frame)}: column 'node', rows 1 to {len(frame)}: there is no node {name!r}. "
                f"Choose '{SYSTEM}', 'all', or among {', '.join(known)}."
            )
    parts = [frame[frame["node"].isin(names)]]
    if SYSTEM in names and SYSTEM not in known:
        parts.append(system_series(frame))
    result = pd.concat([part for part in parts if len(part)], ignore_index=True)
    result.attrs["origin"] = origin_of(frame)
    return result


def default_target(frame: pd.DataFrame) -> str:
    """What to forecast unless told: the productivity where the source measures it, else the CPU usage."""
    measured = "system_productivity" in frame and frame["system_productivity"].notna().any()
    return "system_productivity" if measured else "cpu_usage"


def write(frame: pd.DataFrame, path: str | Path) -> None:
    """Check ``frame`` and write it as CSV (compressed if the name ends in .gz); either whole or not at all.

    Numbers are written with six significant digits, times in UTC.
    """
    path = Path(path)
    checked = validate(frame, origin=path.name)
    form = (
        "%Y-%m-%dT%H:%M:%SZ" if (checked["timestamp"].dt.microsecond == 0).all() else "%Y-%m-%dT%H:%M:%S.%fZ"
    )
    checked["timestamp"] = checked["timestamp"].dt.strftime(form)
    content = checked.to_csv(index=False, float_format=FLOAT_FORMAT, lineterminator="\n").encode()
    if path.suffix == ".gz":  # without time and name inside: the same telemetry gives the same bytes
        content = gzip.compress(content, mtime=0)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def checksum(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
