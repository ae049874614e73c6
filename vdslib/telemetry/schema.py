"""The schema of telemetry: what the columns mean, and by which names they go.

Telemetry is a table with one row per timestamp and node. The paper (section 2) collects CPU, memory, disc and
network usage together with the productivity and the configuration of the system; ``COLUMNS`` is the one
declaration of all of it, from which the schema, the aggregation over nodes and the data dictionary follow. A
source that cannot measure an optional column leaves the column out; nothing is filled with zeros.
"""

import difflib
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from vdslib.errors import TelemetryError, Way
from vdslib.telemetry import times
from vdslib.telemetry.forms import stated

SYSTEM = "system"  # the name that the series over all nodes has in the column ``node``
MISSPELT = {"system_prodactivity": "system_productivity"}  # accepted on reading, never written
# Columns that pandas makes out of its row labels: without a name, and with one of its own.
NAMELESS = r"Unnamed: \d+(?:_level_\d+)?(?:\.\d+)?|__index_level_\d+__|"
LABELS = r"index|level_\d+"
# no measurement is larger; whole numbers are exact up to here, sums and squares stay finite
LARGEST = 1e15


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
    maximum: float = LARGEST
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


def rules(column: Column) -> dict[str, Callable[[pd.Series], pd.Series]]:
    """What the numbers of a column must not be: the words for it, and which values are so; NaN breaks no rule."""
    if column.kind == "flag":
        return {"is neither 0 nor 1": lambda s: s.notna() & ~s.isin([0, 1])}
    if column.kind not in ("number", "count"):
        return {}
    broken: dict[str, Callable[[pd.Series], pd.Series]] = {
        "is negative": lambda s: s < 0,
        "is infinite": np.isinf,
        f"is above {column.maximum:.15g}": lambda s: (s > column.maximum) & np.isfinite(s),
    }
    if column.kind == "count":
        broken["is not a whole number"] = lambda s: np.isfinite(s) & (s % 1 != 0)
    return broken


def _pandera(column: Column) -> pa.Column:
    """The pandera form of a declared column. The ``error`` of each check is the wording that users read."""
    dtypes = {"time": "datetime64[us, UTC]", "text": None, "number": float, "count": "int64", "flag": "int64"}
    return pa.Column(
        dtypes[column.kind],
        [pa.Check(lambda s, wrong=wrong: ~wrong(s), error=words) for words, wrong in rules(column).items()],
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


def with_notes(attrs: Mapping[Any, Any], notes: Sequence[str]) -> dict[Hashable, Any]:
    """The notes of a table with more of them, as ``attrs`` has them; nothing where there are none."""
    every = list(dict.fromkeys([*attrs.get("notes", []), *notes]))
    return {"notes": every} if every or "notes" in attrs else {}


# ------------------------------------------------------------------------------------ names of columns


def named(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The table with our names, and notes on what was taken for what.

    Space around a name, capitals, and spaces or dashes for underscores make no other column. Columns without a
    name are left out, and so are row numbers called index: both are labels that pandas gave to rows.
    """
    notes, names = [], {}
    for column in frame.columns:
        plain = str(column).strip()
        ours = re.sub(r"[\s-]+", "_", plain.lower())
        ours = MISSPELT.get(ours, ours)
        names[column] = ours if ours in COLUMNS else plain
        if ours in COLUMNS and plain not in (ours, *MISSPELT):
            notes.append(f"column {plain!r} is taken as {ours}")
    left_out = []
    for column, plain in names.items() if frame.columns.is_unique else ():
        nameless = re.fullmatch(NAMELESS, plain) is not None
        if nameless or (re.fullmatch(LABELS, plain) and _are_row_numbers(frame[column])):
            left_out.append(column)
            what = "column without a name" if nameless else f"column {plain!r}, which numbers the rows,"
            if not is_empty(frame[column]).all():
                notes.append(f"the {what} is left out; give it another name if it was measured")
    notes += [note for plain in names.values() if (note := _near(plain, set(names.values())))]
    return frame.drop(columns=left_out).rename(columns=names), notes


def _near(plain: str, there: set[str]) -> str:
    """A note on a column whose name is nearly one of ours that is not there; else nothing."""
    absent = [name for name in COLUMNS if name not in there]
    near = difflib.get_close_matches(plain.lower(), absent, n=1, cutoff=0.8)
    if plain in COLUMNS or not near:
        return ""
    column = COLUMNS[near[0]]
    unit = f" in {column.unit}" if column.unit else ""
    return f"column {plain!r} is not taken as {near[0]}{unit}; if it is that, state {stated('column', plain, near[0])}"


def _are_row_numbers(values: pd.Series) -> bool:
    """Whether values rise by whole numbers from row to row, or begin again at 0 or 1 as joined tables do."""
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    step = numbers.diff().iloc[1:]
    again = numbers.iloc[1:].isin([0, 1])
    return bool((numbers % 1 == 0).all() and ((step >= 1) | again).all())


def origin_of(frame: pd.DataFrame) -> str:
    """The name of the file that ``frame`` was read from, for messages; "telemetry" if unknown."""
    return str(frame.attrs.get("origin", "telemetry"))


def located(
    origin: str,
    column: str,
    row: int,
    problem: str,
    remedy: str,
    lines: bool = False,
    *,
    ways: Sequence[Way] = (),
    blamed: str = "",
) -> TelemetryError:
    """The one form of all messages about a value; ``row`` is a 0-based position in the table.

    ``ways`` and ``blamed`` are those of TelemetryError.
    """
    line = f" (line {row + 2} of the file)" if lines else ""  # the header is line 1
    message = f"{origin}: column '{column}', row {row + 1}{line}: {problem}. {remedy}"
    return TelemetryError(message, ways, blamed, remedy)


def is_empty(values: pd.Series) -> pd.Series:
    """Which values are empty or NaN."""
    empty = values.isna()
    kinds = pd.api.types
    if not (kinds.is_numeric_dtype(values) or kinds.is_datetime64_any_dtype(values)):  # as text takes long
        empty |= values.astype(str).str.strip().str.lower().isin(["", "nan"])
    return empty


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
                f"{', '.join(map(str, frame.columns))}. Add or rename it ({described}).{_stand_in(frame, column)}"
            )
    if frame.empty:
        raise TelemetryError(f"{origin}: there is no row 1, only the header. Record the telemetry again.")


def _stand_in(frame: pd.DataFrame, column: Column) -> str:
    """What to state where another column holds the times that are missing."""
    if column.kind != "time" or frame.empty:
        return ""
    other = next((str(name) for name in frame if name not in COLUMNS and times.are_times(frame[name])), "")
    return f" Column '{other}' has times: state {stated('column', other, column.name)}." if other else ""
