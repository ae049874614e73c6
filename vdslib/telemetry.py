"""Telemetry: reading, checking, repairing, aggregating and writing it.

The schema is declared in ``schema``, what is done about damage in ``repair``; both are offered here too.
"""

from __future__ import annotations

import difflib
import gzip
import hashlib
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vdslib.damage import Report, faults
from vdslib.repair import inspect as validate
from vdslib.repair import repair
from vdslib.schema import (
    COLUMNS,
    MEASURED,
    SCHEMA,
    SYSTEM,
    Column,
    TelemetryError,
    check,
    data_dictionary,
    located,
    origin_of,
)

__all__ = [
    "COLUMNS",
    "MEASURED",
    "SCHEMA",
    "SYSTEM",
    "Column",
    "Report",
    "TelemetryError",
    "check",
    "check_ending",
    "checksum",
    "data_dictionary",
    "default_target",
    "faults",
    "load",
    "origin_of",
    "read",
    "repair",
    "select",
    "system_series",
    "validate",
    "write",
]

RECORDED = "data/vds_data.csv"  # what ``read("recorded")`` reads, relative to the project
NAMED = 5  # as many nodes are named in a warning
FLOAT_FORMAT = "%.6g"  # more digits than any sensor gives


def read(
    source: str | Path,
    columns: Mapping[str, str] | None = None,
    *,
    separator: str = ",",
    decimal: str = ".",
) -> pd.DataFrame:
    """Read and check a telemetry file: CSV, compressed CSV, or Parquet where the name ends in .parquet.

    ``source`` is a path, or "recorded" for the telemetry that comes with the book. ``columns`` says under which
    names the file has our columns, such as {"cpu_usage": "CPU %"}; columns not named there keep their names, and
    a file without nodes is of one node, named like the file. ``separator`` and ``decimal`` are the characters
    between fields and before decimals in text. Returns the table sorted by node and time, with the types of
    ``SCHEMA``; columns that are not declared are kept, as numbers where they are numbers. Timestamps without an
    offset are taken as UTC. ``attrs["origin"]`` carries the file's name into later messages. Raises
    TelemetryError naming file, column, row and remedy.
    """
    lines = Path(source).suffix.lower() != ".parquet"
    frame = load(source, columns, separator=separator, decimal=decimal)
    origin = origin_of(frame)
    if lines:
        _check_end(frame, origin)
    return check(frame, origin, lines=lines)


def _parquet(path: Path) -> pd.DataFrame:
    _check_file(path, str(path))
    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # noqa: BLE001  # what is wrong inside can be anything
        reason = " ".join(str(error).split())
        raise TelemetryError(
            f"{path}: not readable as Parquet ({reason}). Check that the file is complete and is Parquet."
        ) from None
    frame.attrs["origin"] = str(path)
    return frame


def _renamed(frame: pd.DataFrame, columns: Mapping[str, str], path: Path, origin: str) -> pd.DataFrame:
    """The table of a file with our names for its columns."""
    for name, own in columns.items():
        if name not in COLUMNS:
            near = difflib.get_close_matches(name, COLUMNS, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise TelemetryError(
                f"{origin}: column '{name}' of the mapping is none of ours{hint} Choose among {', '.join(COLUMNS)}."
            )
        if own not in frame or list(columns.values()).count(own) > 1:
            fault = "is missing from row 0 (the header)" if own not in frame else "is mapped twice"
            raise TelemetryError(
                f"{origin}: column '{own}', which the mapping takes as {name}, {fault}. The file has "
                f"{', '.join(map(str, frame.columns))}: correct the mapping."
            )
    frame = frame.rename(columns={own: name for name, own in columns.items()})
    return frame if "node" in frame else frame.assign(node=path.name.split(".")[0])


def _check_file(path: Path, origin: str) -> None:
    if not path.is_file():
        raise TelemetryError(
            f"{origin}: there is no such file. Give the path of a telemetry file, or 'recorded'."
        )
    if path.stat().st_size == 0:
        raise TelemetryError(f"{origin}: the file is empty, without even a header. Record or copy it again.")


def load(
    source: str | Path,
    columns: Mapping[str, str] | None = None,
    *,
    separator: str = ",",
    decimal: str = ".",
) -> pd.DataFrame:
    """A telemetry file as it is, unchecked: what ``validate`` and ``repair`` take.

    Arguments are those of ``read``. In text every value stays text, a byte order mark is removed, blank lines are
    rows. Raises TelemetryError where there is no table.
    """
    path = Path(source)
    text = path.suffix.lower() != ".parquet"
    frame = _text(source, separator, decimal) if text else _parquet(path)
    return _renamed(frame, columns, path, origin_of(frame)) if columns else frame


def _text(source: str | Path, separator: str, decimal: str) -> pd.DataFrame:
    origin, path = str(source), Path(source)
    if origin == "recorded":
        origin, path = RECORDED, Path(__file__).resolve().parent.parent / RECORDED
    _check_file(path, origin)
    form: dict[str, Any] = {
        "sep": separator,
        "dtype": str,
        "keep_default_na": False,
        "skip_blank_lines": False,
        "encoding": "utf-8-sig",
    }
    try:
        # All as text first, so that a wrong value can be located; blank lines stay and are counted.
        with warnings.catch_warnings():  # pandas would only warn of lines that are longer than the header
            warnings.simplefilter("error", pd.errors.ParserWarning)
            text = pd.read_csv(path, index_col=False, **form)
        header = pd.read_csv(path, header=None, nrows=1, **form).iloc[0]  # pandas renames what occurs twice
    except Exception as error:  # noqa: BLE001  # parser and decompressors share no class of error
        reason = " ".join(str(error).split())
        raise TelemetryError(
            f"{origin}: not readable as comma-separated text ({reason}). "
            "Check that the file is complete and is CSV in UTF-8."
        ) from None
    text.attrs["origin"] = origin
    twice = header[header.duplicated() & (header != "")]
    required = [name for name, column in COLUMNS.items() if column.required]
    if len(twice) and set(required) <= set(header):  # else row 0 is no header, which `check` tells
        raise TelemetryError(
            f"{origin}: column '{twice.iloc[0]}' occurs twice in row 0 (the header). Remove or rename one."
        )
    alone = str(text.columns[0])
    other = next((sign for sign in (";", "\t", ",") if sign in alone and sign != separator), None)
    if len(text.columns) == 1 and other:
        raise TelemetryError(
            f"{origin}: row 0 (the header) is {alone!r}, separated by {other!r} and not by {separator!r}. "
            f"Read the file with separator={other!r}."
        )
    return text if decimal == "." else _with_points(text, decimal)


def _with_points(text: pd.DataFrame, decimal: str) -> pd.DataFrame:
    """Numbers written with another decimal sign, with a point; one that has a point already is refused."""
    result = text.copy()
    for name in text.columns:
        if name not in COLUMNS or COLUMNS[name].kind in ("time", "text"):
            continue
        pointed = text[name].str.contains(".", regex=False)
        if pointed.any():
            row = int(pointed.argmax())
            problem = f"{text[name].iloc[row]!r} has a point, though decimal={decimal!r} was stated"
            raise located(
                origin_of(text), name, row, problem, "Read the file without it, or remove the points.", True
            )
        result[name] = text[name].str.replace(decimal, ".", regex=False)
    return result


def _check_end(text: pd.DataFrame, origin: str) -> None:
    """A recording that was cut off may end within a line; pandas reads the missing fields as empty."""
    if text.empty:
        return
    filled = np.flatnonzero((text.iloc[-1] != "").to_numpy())
    rest = text.columns[filled[-1] + 1 if len(filled) else 0 :]
    if any(name in COLUMNS and not COLUMNS[name].may_be_empty for name in rest):
        remedy = "Delete the line if the file was cut off there, or complete it."
        problem = "the last line ends before this column"
        raise located(origin, rest[0], len(text) - 1, problem, remedy, lines=True)


def system_series(frame: pd.DataFrame, together: str = "alive") -> pd.DataFrame:
    """The whole system's series: one row per timestamp, node ``system``, aggregated as ``COLUMNS`` declares.

    ``together`` says which timestamps have such a row:

    alive    those at which every node has a row that has begun and not ended, from its first row to its last. So an
             autoscaled system is what its nodes are together at each time, and a hole in one node's recording
             is left out, since a sum over the others would be too low
    all      those at which every node of the table has a row
    present  every one; missing nodes are taken to be gone

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
    result.attrs["origin"] = origin_of(frame)
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
    told = []
    if left := count - int(complete.sum()):
        until = np.append(0, np.cumsum(~complete))  # incomplete times before each
        lived = until[last + 1] - until[first] if together == "alive" else left
        lacking = _named(pd.Series(lived - (np.bincount(node) - kept), names), count)
        told.append(f"{left} of {count} times are left out of the system's series, without {lacking}")
    if fewer := int((rows[complete] < len(names)).sum()):
        lacking = _named(pd.Series(complete.sum() - kept, names), int(complete.sum()))
        told.append(f"at {fewer} of {complete.sum()} times the system is fewer nodes, without {lacking}")
    if told:
        others = " or ".join(repr(each) for each in ("alive", "all", "present") if each != together)
        warnings.warn(
            f"{origin_of(frame)}: {'; '.join(told)}. To choose otherwise, say together={others}.",
            stacklevel=3,
        )
    return times[complete]


def _named(missing: pd.Series, count: int) -> str:
    """Nodes by name and the share of ``count`` times that they miss, those that miss most first; a few of many."""
    missing = missing[missing > 0].sort_values(ascending=False, kind="stable")
    few = ", ".join(f"{node} ({number / count:.0%})" for node, number in missing.head(NAMED).items())
    return few + f" and {len(missing) - NAMED} more" * (len(missing) > NAMED)


def select(frame: pd.DataFrame, nodes: str | Sequence[str], together: str = "alive") -> pd.DataFrame:
    """The rows of ``nodes``: "system" (the series over all nodes), "all", a node's name, or a list of names.

    ``together`` says at which times nodes make up the system (see `system_series`). Raises TelemetryError for an
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
    column with numbers comes first."""
    numbers = [str(name) for name in frame.select_dtypes("number") if frame[name].notna().any()]
    choices = ("system_productivity", *MEASURED, *numbers)
    return next((name for name in choices if name in numbers), "cpu_usage")


def write(frame: pd.DataFrame, path: str | Path) -> None:
    """Check ``frame`` and write it as the ending says: .csv, .csv.gz or .parquet; either whole or not at all.

    In CSV, numbers have six significant digits, times are in UTC. Raises TelemetryError for another ending.
    """
    path = Path(path)
    check_ending(path)
    checked = check(frame, origin=path.name)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.suffix == ".parquet":
            checked.attrs = {}  # pandas would store them
            checked.to_parquet(temporary, index=False)
        else:
            content = _csv(checked)
            # without time and name inside: the same telemetry gives the same bytes
            temporary.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_ending(path: Path) -> None:
    """Raise TelemetryError where a file's ending is none that ``write`` knows."""
    if not path.name.endswith((".csv", ".csv.gz", ".parquet")):
        raise TelemetryError(f"{path}: the ending says the form: name the file .csv, .csv.gz or .parquet.")


def _csv(checked: pd.DataFrame) -> bytes:
    whole = (checked["timestamp"].dt.microsecond == 0).all()
    times = checked["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ" if whole else "%Y-%m-%dT%H:%M:%S.%fZ")
    table = checked.assign(timestamp=times)
    return table.to_csv(index=False, float_format=FLOAT_FORMAT, lineterminator="\n").encode()


def checksum(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
