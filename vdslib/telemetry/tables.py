"""Telemetry: reading, checking, repairing, aggregating and writing it.

The schema is declared in ``schema``, a file becomes a table in ``reading``, what is done about damage is in
``repair``; all are offered here too.
"""

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vdslib import files
from vdslib.errors import TelemetryError, notice
from vdslib.telemetry.checking import check
from vdslib.telemetry.reading import ending, plain, trying
from vdslib.telemetry.schema import COLUMNS, MEASURED, SYSTEM, located, origin_of, with_notes
from vdslib.telemetry.units import SIDE, doubts

NAMED = 5  # as many nodes are named in a warning


def read(source: str | Path, columns: Mapping[str, str] | None = None, **options: str) -> pd.DataFrame:
    """Read and check a telemetry file: CSV, compressed CSV, or Parquet where the name ends in .parquet.

    ``source`` is a path, or "recorded" for the telemetry that comes with the book; options may stand behind a path:
    ``a.csv?separator=;&decimal=,``. ``columns`` says under which names the file has our columns, such as
    {"cpu_usage": "CPU %"}; columns not named there keep their names, and a file without nodes is then of one node,
    named like the file. ``options`` say how the file is written (``vdslib.telemetry.forms.OPTIONS``): ``separator``,
    ``decimal``, ``thousands``, and ``zone`` of times without an offset, which are else taken as UTC. Returns the
    table sorted by node and time, with the types of ``SCHEMA``; columns that are not declared are kept, as numbers
    where they are numbers. ``attrs["origin"]`` carries the file's name into later messages, ``attrs["notes"]`` says
    what was assumed. Raises TelemetryError naming file, column, row and remedy; a remedy that is an option of
    reading is named only if it helps with this file.
    """
    return trying(_read, source, columns, options)


def _read(source: str | Path, columns: Mapping[str, str] | None, **options: str) -> pd.DataFrame:
    lines = ending(source) != ".parquet"
    frame = plain(source, columns, **options)
    origin = origin_of(frame)
    _check_lines(frame, origin)
    checked = check(frame, origin, lines=lines)
    notes = [
        f"column '{doubt.column}'{f', node {doubt.node}' * bool(doubt.node)}: {doubt.reason}. {doubt.remedy}"
        for name in checked.columns.intersection(list(COLUMNS))
        for doubt in doubts(checked[name], checked["node"], "")
        if doubt.rows >= SIDE
    ]
    checked.attrs.update(with_notes(checked.attrs, notes))
    return checked


def _check_lines(text: pd.DataFrame, origin: str) -> None:
    """Refuse lines that end before the last column, as those of a recording that was cut off do."""
    if short := text.attrs.pop("short", None):
        row, filled = short
        last = "last " * (row == len(text) - 1)
        remedy = "Delete the line if the file was cut off there, or complete it."
        problem = f"the {last}line ends before this column"
        raise located(origin, str(text.columns[filled]), row, problem, remedy, lines=True)


def system_series(frame: pd.DataFrame, together: str = "alive") -> pd.DataFrame:
    """The whole system's series: one row per timestamp, node ``system``, aggregated as ``COLUMNS`` declares.

    ``together`` says which timestamps have such a row:

    - ``alive``: those at which every node has a row that has begun and not ended, from its first row to its
      last. So an autoscaled system is what its nodes are together at each time, and a hole in one node's
      recording is left out, since a sum over the others would be too low
    - ``all``: those at which every node of the table has a row
    - ``present``: every one; missing nodes are taken to be gone

    A warning says how many timestamps were left out or have fewer nodes than others, and for which nodes. A
    weighted mean is empty where all weights are zero. Undeclared columns are left out, but for ``segment``, which counts
    on where a node's capacity changed; with one node only its series is the system's. Raises TelemetryError if no
    timestamp remains, ValueError for another ``together``.
    """
    if together not in ("alive", "all", "present"):
        raise ValueError(f"together must be 'alive', 'all' or 'present', not {together!r}")
    if frame["node"].nunique() == 1:
        return frame.assign(node=SYSTEM)
    chosen = _together(frame, together)
    rows = frame[frame["timestamp"].isin(chosen)]
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
    if "segment" in frame:
        border = frame.groupby("node")["segment"].diff().fillna(0) != 0
        parts["segment"] = border.groupby(frame["timestamp"]).any().cumsum().astype(float).loc[chosen]
    result = pd.DataFrame(parts).reset_index()
    result.insert(1, "node", SYSTEM)
    if "system_productivity" in result:  # rounding may carry a weighted mean of 100s a hair above 100
        result["system_productivity"] = result["system_productivity"].clip(upper=100)
    result.attrs = {"origin": origin_of(frame)} | {k: v for k, v in frame.attrs.items() if k == "rhythms"}
    return result


def _together(frame: pd.DataFrame, together: str) -> pd.Index:
    """The timestamps of the system's series; a warning says what they lack."""
    moment, times = pd.factorize(frame["timestamp"], sort=True)
    node, names = pd.factorize(frame["node"], use_na_sentinel=False)
    rows, count = np.bincount(moment), len(times)
    first, last = (pd.Series(moment).groupby(node).agg(end).to_numpy() for end in ("min", "max"))
    alive = np.cumsum(np.bincount(first, minlength=count) - np.bincount(last + 1, minlength=count + 1)[:-1])
    needed = {"alive": alive, "all": np.full(count, len(names)), "present": rows}
    complete = rows >= needed[together]
    if not complete.any() or alive.max() > 1 >= rows[complete].max():
        raise TelemetryError(
            f"{origin_of(frame)}: column 'timestamp', rows 1 to {len(frame)}: no timestamp has a row of "
            "every node, so there is no series of the system. Select single nodes, or align their times."
        )
    kept = np.bincount(node[complete[moment]], minlength=len(names))
    parts = []
    if left := count - int(complete.sum()):
        until = np.append(0, np.cumsum(~complete))  # incomplete times before each
        lived = until[last + 1] - until[first] if together == "alive" else left
        lacking = _named(pd.Series(lived - (np.bincount(node) - kept), names), count)
        parts.append(f"{left} of {count} times are left out of the system's series, without {lacking}")
    if fewer := int((rows[complete] < len(names)).sum()):
        lacking = _named(pd.Series(complete.sum() - kept, names), int(complete.sum()))
        parts.append(f"at {fewer} of {complete.sum()} times the system is fewer nodes, without {lacking}")
    if parts:
        others = " or ".join(repr(each) for each in ("alive", "all", "present") if each != together)
        notice(f"{origin_of(frame)}: {'; '.join(parts)}. To choose otherwise, say together={others}.")
    return times[complete]


def _named(missing: pd.Series, count: int) -> str:
    """Nodes by name and the share of ``count`` times that they miss, those that miss most first; a few of many."""
    missing = missing[missing > 0].sort_values(ascending=False, kind="stable")
    few = ", ".join(f"{node} ({number / count:.0%})" for node, number in missing.head(NAMED).items())
    return few + f" and {len(missing) - NAMED} more" * (len(missing) > NAMED)


def select(frame: pd.DataFrame, nodes: str | Sequence[str], together: str = "alive") -> pd.DataFrame:
    """The rows of ``nodes``: "system" (the series over all nodes), "all", a node's name, or a list of names.

    ``together`` says at which times nodes make up the system (see ``system_series``). Raises TelemetryError for an
    unknown name.
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
        parts.append(system_series(frame, together))
    result = pd.concat([part for part in parts if len(part)], ignore_index=True)
    result.attrs["origin"] = origin_of(frame)
    return result


def default_target(frame: pd.DataFrame) -> str:
    """What to forecast unless told: productivity where the source measures it, else CPU usage, else whatever
    column with numbers comes first, those that only count on or never change after all others."""
    numbers = [str(name) for name in frame.select_dtypes("number") if frame[name].notna().any()]
    for name in ("system_productivity", *MEASURED):
        if name in numbers:
            return name
    return next((name for name in numbers if not _even(frame, name)), (*numbers, "cpu_usage")[0])


def _even(frame: pd.DataFrame, name: str) -> bool:
    """Whether the values of a column change by the same amount in all rows of a node: row numbers, clocks,
    constants."""
    steps = frame[name].astype(float).groupby(frame["node"], sort=False).diff()
    return bool((steps.groupby(frame["node"], sort=False).nunique() <= 1).all())


def write(frame: pd.DataFrame, path: str | Path) -> None:
    """Check ``frame`` and write it as the ending says: .csv, .csv.gz or .parquet; either whole or not at all.

    Each form holds the same numbers to the last digit; times are in UTC. Raises TelemetryError for another ending.
    """
    path = Path(path)
    check_ending(path)
    checked = check(frame, origin=path.name)
    with files.atomic(path) as temporary:
        if path.suffix == ".parquet":
            checked.attrs = {}  # pandas would store them
            checked.to_parquet(temporary, index=False)
        else:
            content = _csv(checked)
            # without time and name inside: the same telemetry gives the same bytes
            temporary.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def check_ending(path: Path) -> None:
    """Raise TelemetryError where a file's ending is none that ``write`` knows."""
    if not path.name.endswith((".csv", ".csv.gz", ".parquet")):
        raise TelemetryError(f"{path}: the ending says the form: name the file .csv, .csv.gz or .parquet.")


def _csv(checked: pd.DataFrame) -> bytes:
    whole = (checked["timestamp"].dt.microsecond == 0).all()
    times = checked["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ" if whole else "%Y-%m-%dT%H:%M:%S.%fZ")
    table = checked.assign(timestamp=times)
    return table.to_csv(index=False, lineterminator="\n").encode()


def checksum(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
