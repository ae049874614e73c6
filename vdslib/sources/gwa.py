"""The file format of the Bitbrains trace: Grid Workloads Archive, GWA-T-12, one file per machine and month."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from vdslib.errors import TelemetryError

__all__ = ["bitbrains"]

_BITBRAINS = [
    "Timestamp [ms]",
    "CPU cores",
    "CPU capacity provisioned [MHZ]",
    "CPU usage [MHZ]",
    "CPU usage [%]",
    "Memory capacity provisioned [KB]",
    "Memory usage [KB]",
    "Disk read throughput [KB/s]",
    "Disk write throughput [KB/s]",
    "Network received throughput [KB/s]",
    "Network transmitted throughput [KB/s]",
]
_TYPES = {name: pa.float64() for name in _BITBRAINS} | {_BITBRAINS[0]: pa.int64()}
_PLAUSIBLE = (946_684_800, 4_102_444_800)  # the years 2000 to 2099, in seconds since 1970


def bitbrains(path: Path) -> pa.Table:
    """One file of the Bitbrains trace (Grid Workloads Archive, GWA-T-12) as telemetry without the column ``node``.

    The file is separated by semicolon and tab. Its timestamps are seconds since 1970, though its header says ms.
    Memory in percent is memory used of memory provisioned; disc and network are the sums of both directions, in
    KB/s; MHz are per core; memory in MB is 1024 KB. A machine that is switched off has 0 cores and no memory: its
    memory usage and its clock are then empty. Rows that repeat a timestamp stay in. The trace measures neither
    latency nor productivity: such columns are absent.

    Raises TelemetryError naming file, column, row and remedy.
    """
    data = path.read_bytes()
    header = data[:4096].split(b"\n", 1)[0].decode("utf-8-sig", errors="replace")
    found = [name.strip() for name in header.split(";")]
    if [name.casefold() for name in found] != [name.casefold() for name in _BITBRAINS]:
        raise TelemetryError(
            f"{path}: row 0 (the header) is not that of a Bitbrains GWA-T-12 file: {header.strip()[:80]!r}. "
            f"Expected {'; '.join(_BITBRAINS[:2])}; and so on. Take the file out of the folder, or copy it again."
        )
    try:
        raw = pa.csv.read_csv(
            pa.BufferReader(data),
            # parallel by files, not within one; one block, as columns in one piece cost nothing to convert
            pa.csv.ReadOptions(use_threads=False, block_size=len(data), column_names=_BITBRAINS, skip_rows=1),
            pa.csv.ParseOptions(delimiter=";", quote_char=False, ignore_empty_lines=False),
            pa.csv.ConvertOptions(column_types=_TYPES),
        )
    except pa.ArrowInvalid as error:
        raise _unreadable(path, data, str(error)) from None
    if not raw.num_rows:
        raise TelemetryError(f"{path}: there is no row 1, only the header. Copy the file again.")
    return _canonical(path, {name: _numbers(path, raw, name) for name in _BITBRAINS})


def _canonical(path: Path, raw: dict[str, np.ndarray]) -> pa.Table:
    """The columns of a Bitbrains file in our units."""
    seconds, cores, mhz, _, cpu, provisioned, memory, read, write, received, sent = raw.values()
    wrong = (seconds < _PLAUSIBLE[0]) | (seconds > _PLAUSIBLE[1])
    if wrong.any():
        row = int(wrong.argmax())
        problem = f"{seconds[row]} is no time from 2000 to 2099 in seconds since 1970"
        raise _bad(path, _BITBRAINS[0], row, problem, "Convert it, if it is in another unit.")
    return pa.table(
        {
            "timestamp": pa.array(seconds * 1_000_000).cast(pa.timestamp("us", tz="UTC")),
            "cpu_usage": cpu,
            "memory_usage": _quotient(100 * memory, provisioned),
            "disc_usage": read + write,
            "network_usage": received + sent,
            "cpu_cores": cores,
            "cpu_mhz": _quotient(mhz, cores),
            "memory_mb": provisioned / 1024,
        }
    )


def _quotient(values: np.ndarray, of: np.ndarray) -> pa.Array:
    """Values divided by what there is of something; empty where there is none of it."""
    none = np.full(len(values), np.nan)
    return pa.array(np.divide(values, of, out=none, where=of > 0), from_pandas=True)


def _numbers(path: Path, raw: pa.Table, name: str) -> np.ndarray:
    """One column of the file, of which every value must be a number from 0."""
    values = raw.column(name).to_numpy()
    low, high = (values.min(), values.max()) if not raw.column(name).null_count else (-1, 0)
    if low >= 0 and high < np.inf:
        return values
    wrong = ~((values >= 0) & (values < np.inf))  # so is a missing value, which is NaN here
    row = int(wrong.argmax())
    problem = "the value is empty or NaN" if np.isnan(values[row]) else f"{values[row]:g} is negative"
    problem = f"{values[row]:g} is infinite" if np.isinf(values[row]) else problem
    raise _bad(path, name, row, problem, "Correct the value, or leave out the row.")


def _bad(path: Path, column: str, row: int, problem: str, remedy: str) -> TelemetryError:
    """The message about one value; ``row`` counts from 0, line 1 of the file is the header."""
    where = f"{path}: column '{column}', row {row + 1} (line {row + 2} of the file)"
    return TelemetryError(f"{where}: {problem}. {remedy}")


def _unreadable(path: Path, data: bytes, reason: str) -> TelemetryError:
    """The message about the first line that the fast parser refused; found slowly, as this is rare."""
    for row, line in enumerate(data.decode(errors="replace").splitlines()[1:]):
        fields = [field.strip() for field in line.split(";")]
        if len(fields) != len(_BITBRAINS):
            column = _BITBRAINS[min(len(fields), len(_BITBRAINS) - 1)]
            problem = f"the line has {len(fields)} values, not {len(_BITBRAINS)}"
            return _bad(
                path, column, row, problem, "Complete it, or delete it if the file was cut off there."
            )
        for name, field in zip(_BITBRAINS, fields, strict=True):
            whole = name == _BITBRAINS[0]
            try:
                (int if whole else float)(field)
            except ValueError:
                kind = "whole number" if whole else "number"
                problem = f"{field!r} is not a {kind}" if field else "the value is empty or NaN"
                remedy = f"Write it with digits {'only' if whole else 'and a decimal point'}"
                return _bad(path, name, row, problem, f"{remedy}, or leave out the row.")
    return TelemetryError(f"{path}: not readable ({' '.join(reason.split())}). Copy the file again.")
