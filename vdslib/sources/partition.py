"""One partition of a store: read the files of a node, check them, join them in order of time, write Parquet."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vdslib import files
from vdslib.errors import TelemetryError
from vdslib.telemetry import COLUMNS, check

RECORD = b"vdslib"  # the key, in a partition's metadata, of what it was made from
TIME = pa.timestamp("us", tz="UTC")

Parse = Callable[[Path], "pa.Table | pd.DataFrame"]


@dataclass(frozen=True)
class Task:
    """One node to import: its files, where it goes, and the record to write with it."""

    node: str
    files: list[Path]
    target: Path
    record: dict[str, Any]


@dataclass(frozen=True)
class Done:
    """One node after the attempt; ``problem`` is empty where it went well."""

    node: str
    rows: int
    dropped: int
    problem: str = ""


def import_node(task: Task, parse: Parse) -> Done:
    """Read, check, join and write one node. Problems of its files are returned, problems of the store raised."""
    try:
        table, dropped = _joined(task, parse)
    except TelemetryError as error:
        return Done(task.node, 0, 0, str(error))
    record = json.dumps({**task.record, "dropped": dropped})
    try:
        _write(table.replace_schema_metadata({RECORD: record}), task.target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise TelemetryError(
            f"{task.target}: cannot be written ({reason}). Make room or give permission, and import again: "
            "what is done is kept."
        ) from None
    return Done(task.node, table.num_rows, dropped)


def _joined(task: Task, parse: Parse) -> tuple[pa.Table, int]:
    """The table of a node from all its files, in order of time, and how many rows were dropped."""
    parts, dropped = [], 0
    for path in task.files:
        try:
            table, lost = _checked(parse(path), path)
        except OSError as error:
            raise TelemetryError(
                f"{path}: cannot be read ({error.strerror or error}). Give permission, or copy it again."
            ) from None
        except Exception as error:
            error.add_note(f"while reading {path}")
            raise
        parts.append((table, path))
        dropped += lost
    parts.sort(key=lambda part: part[0].column("timestamp")[0].value)
    for (before, earlier), (after, later) in pairwise(parts):
        if not before.schema.equals(after.schema):
            raise TelemetryError(
                f"{later}: row 0 (the header): its columns are not those of {earlier}, which is of the same "
                "node. Import them into two stores."
            )
        gap = after.column("timestamp")[0].value - before.column("timestamp")[-1].value
        if gap < 0:
            raise TelemetryError(
                f"{later}: column 'timestamp', row 1: it begins before {earlier}, which is of the same node, "
                "ends. Import the folders of different traces into different stores, or delete the rows that "
                "occur in both."
            )
    whole = pa.concat_tables([table for table, _ in parts])
    once = _without_repeated(whole)  # the last row of a month may be the first of the next
    return once, dropped + whole.num_rows - once.num_rows


def _checked(part: pa.Table | pd.DataFrame, path: Path) -> tuple[pa.Table, int]:
    """What ``parse`` gave for a file as a canonical table without ``node``, and the number of rows dropped.

    Holds to the same rules as telemetry.check, which takes ten times as long as reading the file: only where
    the quick look finds anything out of the ordinary it is called, to say what.
    """
    try:
        table = part if isinstance(part, pa.Table) else pa.Table.from_pandas(part, preserve_index=False)
    except pa.ArrowException as error:  # values of several types in one column
        raise TelemetryError(f"{path}: {error}. Correct the file, or what reads it.") from None
    once = _without_repeated(table)
    dropped = table.num_rows - once.num_rows
    if not _sound(once):
        once = _validated(once, path, dropped)
    return once.drop_columns([name for name in ("node",) if name in once.column_names]), dropped


def _validated(table: pa.Table, path: Path, dropped: int) -> pa.Table:
    """The table as telemetry.check returns it; or its message."""
    frame = table.to_pandas(ignore_metadata=True)
    if "node" not in frame:
        frame.insert(0, "node", path.name)
    try:
        checked = check(frame, str(path))
    except TelemetryError as error:
        counted = f" (Rows are counted without {dropped} that repeat a timestamp.)" if dropped else ""
        raise TelemetryError(f"{error}{counted}") from None
    if checked["node"].nunique() > 1:
        raise TelemetryError(
            f"{path}: column 'node', rows 1 to {len(checked)}: the file has several nodes, but a file of "
            "the folder is one node. Split it."
        )
    return pa.Table.from_pandas(checked, preserve_index=False)


def _without_repeated(table: pa.Table) -> pa.Table:
    """Without the rows that have the timestamp of the row before, as a machine that is switched off records."""
    if "timestamp" not in table.column_names or not table.num_rows:
        return table
    times = table.column("timestamp").to_numpy()
    first = np.concatenate([[True], times[1:] != times[:-1]])
    return table if first.all() else table.filter(pa.array(first))


def _sound(table: pa.Table) -> bool:
    """Whether a table has the types and obeys the rules of telemetry for sure; needs microseconds."""
    required = {name for name, column in COLUMNS.items() if column.required} - {"node"}
    if not table.num_rows or not required <= set(table.column_names):
        return False
    types = {"time": TIME, "number": pa.float64()}
    for name, values in zip(table.column_names, table.columns, strict=True):
        column = COLUMNS.get(name)
        if column is None or values.type != types.get(column.kind):
            return False
        if values.null_count and not column.may_be_empty:
            return False
        array = values.to_numpy()
        if column.kind == "time" and not (array[1:] > array[:-1]).all():
            return False
        if column.kind == "number":
            low, high = (np.fmin, np.fmax) if column.may_be_empty else (np.minimum, np.maximum)
            # NaN, which is an empty value, passes fmin and fmax only; elsewhere it makes the comparison false
            if not (low.reduce(array) >= 0 and high.reduce(array) <= column.maximum):
                return False
    return True


def _write(table: pa.Table, target: Path) -> None:
    """Write a partition, whole or not at all."""
    target.parent.mkdir(exist_ok=True)
    few_values = [name for name in ("cpu_cores", "cpu_mhz", "memory_mb") if name in table.column_names]
    with files.atomic(target) as temporary:
        pq.write_table(table, temporary, compression="zstd", use_dictionary=few_values)


def record_of(partition: Path | None) -> tuple[int, dict[str, Any]]:
    """Rows of a partition and what it was made from; nothing where it cannot be read, so that it is made anew."""
    if partition is None:
        return 0, {}
    try:
        metadata = pq.read_metadata(partition)
        return metadata.num_rows, json.loads(metadata.metadata[RECORD])
    except (OSError, ValueError, KeyError, TypeError):  # what pyarrow raises for bad files is a ValueError
        return 0, {}
