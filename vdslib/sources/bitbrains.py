"""Bitbrains GWA-T-12 "Rnd": CPU, memory, disc and network of business-critical virtual machines, every 300 s.

The files separate by semicolon and tab. Their header promises milliseconds, their timestamps are epoch seconds. CPU
usage may exceed 100%, memory usage the capacity; a machine that is shut down reports no cores and no memory, so that
its memory usage and its clock are empty.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
from tqdm import tqdm

from vdslib.errors import TelemetryError
from vdslib.sources._pins import PINS
from vdslib.sources.catalogue import DAY_AND_WEEK, pinned, register
from vdslib.sources.traces import fetch

COLUMNS = [
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
TYPES = {name: pa.float64() for name in COLUMNS} | {COLUMNS[0]: pa.int64()}
PLAUSIBLE = (946_684_800, 4_102_444_800)  # the years 2000 to 2099, in seconds since 1970

CITATION = (
    "S. Shen, V. van Beek, A. Iosup: Statistical Characterization of Business-Critical Workloads Hosted in Cloud "
    "Datacenters. CCGrid 2015. Data: Bitbrains IT Services, Grid Workloads Archive GWA-T-12; A. Iosup et al.: The "
    "Grid Workloads Archive. FGCS 24(7), 672-686, 2008."
)
TERMS = (
    "acknowledge the source in whatever is published, cite the CCGrid 2015 paper, consider citing the archive; "
    "redistribution is not addressed"
)


def load(rest: str) -> pd.DataFrame:
    """The files that ``read`` reads, as they are: repeated timestamps stay in."""
    return pd.concat([raw(path) for path in _paths(rest)], ignore_index=True)


@register(
    "bitbrains",
    title="Bitbrains GWA-T-12 Rnd, virtual machines of a data centre",
    default_target="cpu_usage",
    citation=CITATION,
    terms=TERMS,
    example="bitbrains:2013-8/332",
    files=pinned,
    rhythms=DAY_AND_WEEK,
    load=load,
    header="Timestamp [ms];",
)
def read(rest: str) -> pd.DataFrame:
    """Virtual machines by month and number: "2013-8/332", several by comma, "2013-8/*" for all complete pinned
    ones; or the path of a file of this format, ending in .csv.

    Nodes are named by their numbers. Of rows of one node with the same timestamp the first is kept; how many were
    left out is in ``attrs["notes"]``.
    """
    frames, notes = [], []
    for path in _paths(rest):
        frame = raw(path)
        repeated = frame.duplicated("timestamp")
        if repeated.any():
            notes.append(
                f"VM {path.stem}: {int(repeated.sum())} of {len(frame)} rows left out, whose timestamps repeat; "
                "the first of each was kept"
            )
        frames.append(frame[~repeated])
    result = pd.concat(frames, ignore_index=True).sort_values("node", kind="stable", ignore_index=True)
    result.attrs = {"notes": notes}
    return result


def _paths(rest: str) -> Iterator[Path]:
    """The files that ``rest`` asks for, each fetched when its turn comes."""
    files = [rest] if rest.endswith(".csv") else _pinned(rest)
    for file in tqdm(files, desc="machines", disable=True if len(files) == 1 else None):
        yield Path(file) if file == rest else fetch(file)


def _pinned(rest: str) -> list[str]:
    """Names of the pinned files that ``rest`` asks for."""
    whole, windows = (
        {name.removeprefix(folder).removesuffix(".csv"): name for name in PINS if name.startswith(folder)}
        for folder in ("bitbrains-rnd/", "bitbrains-rnd-dirty/")
    )
    month, names = "", []
    for part in rest.split(","):
        month_of_part, _, machine = part.strip().rpartition("/")
        month = month_of_part or month
        key = f"{month}/{machine}"
        asked = [whole[each] for each in whole if each.startswith(f"{month}/")] if machine == "*" else []
        asked = asked or [name for name in ((whole | windows).get(key),) if name]
        if not asked:
            raise TelemetryError(
                f"bitbrains:{rest}: no virtual machine '{key}' is pinned. Choose among {', '.join(whole)}; windows "
                f"with faults are {', '.join(windows)}; or give the path of a .csv file."
            )
        names += [name for name in asked if name not in names]
    return names


def raw(path: str | Path) -> pd.DataFrame:
    """A file as it is, row by row, in our columns and units (``table``); repeated times and usages above 100%
    stay in.

    Raises TelemetryError where the file is not of this format or a value is no number from 0.
    """
    path = Path(path)
    try:
        frame = table(path).to_pandas()
    except OSError as error:
        raise TelemetryError(f"{path}: cannot be read ({error.strerror or error}). Check the path.") from None
    frame.insert(1, "node", path.stem)
    return frame


def table(path: Path) -> pa.Table:
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
    stated = [name.strip() for name in header.split(";")]
    if [name.casefold() for name in stated] != [name.casefold() for name in COLUMNS]:
        raise TelemetryError(
            f"{path}: row 0 (the header) is not that of a Bitbrains GWA-T-12 file: {header.strip()[:80]!r}. "
            f"Expected {'; '.join(COLUMNS[:2])}; and so on. Take the file out of the folder, or copy it again."
        )
    try:
        raw = pa.csv.read_csv(
            pa.BufferReader(data),
            # parallel by files, not within one; one block, as columns in one piece cost nothing to convert
            pa.csv.ReadOptions(use_threads=False, block_size=len(data), column_names=COLUMNS, skip_rows=1),
            pa.csv.ParseOptions(delimiter=";", quote_char=False, ignore_empty_lines=False),
            pa.csv.ConvertOptions(column_types=TYPES),
        )
    except pa.ArrowInvalid as error:
        raise _unreadable(path, data, str(error)) from None
    if not raw.num_rows:
        raise TelemetryError(f"{path}: there is no row 1, only the header. Copy the file again.")
    return _canonical(path, {name: _numbers(path, raw, name) for name in COLUMNS})


def _canonical(path: Path, raw: dict[str, np.ndarray]) -> pa.Table:
    """The columns of a Bitbrains file in our units."""
    seconds, cores, mhz, _, cpu, provisioned, memory, read, write, received, sent = raw.values()
    wrong = (seconds < PLAUSIBLE[0]) | (seconds > PLAUSIBLE[1])
    if wrong.any():
        row = int(wrong.argmax())
        problem = f"{seconds[row]} is no time from 2000 to 2099 in seconds since 1970"
        raise _bad(path, COLUMNS[0], row, problem, "Convert it, if it is in another unit.")
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
        if len(fields) != len(COLUMNS):
            column = COLUMNS[min(len(fields), len(COLUMNS) - 1)]
            problem = f"the line has {len(fields)} values, not {len(COLUMNS)}"
            return _bad(
                path, column, row, problem, "Complete it, or delete it if the file was cut off there."
            )
        for name, field in zip(COLUMNS, fields, strict=True):
            whole = name == COLUMNS[0]
            try:
                (int if whole else float)(field)
            except ValueError:
                kind = "whole number" if whole else "number"
                problem = f"{field!r} is not a {kind}" if field else "the value is empty or NaN"
                remedy = f"Write it with digits {'only' if whole else 'and a decimal point'}"
                return _bad(path, name, row, problem, f"{remedy}, or leave out the row.")
    return TelemetryError(f"{path}: not readable ({' '.join(reason.split())}). Copy the file again.")
