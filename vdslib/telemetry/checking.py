"""The strict check that every table of telemetry passes."""

import numpy as np
import pandas as pd
import pandera.pandas as pa

from vdslib.errors import TelemetryError
from vdslib.telemetry import numerals, times
from vdslib.telemetry.forms import stated
from vdslib.telemetry.schema import (
    COLUMNS,
    LARGEST,
    MEASURED,
    SCHEMA,
    check_header,
    is_empty,
    located,
    named,
    origin_of,
    with_notes,
)


def check(frame: pd.DataFrame, origin: str = "", *, lines: bool = False) -> pd.DataFrame:
    """Check a table strictly, and return it with the types of ``SCHEMA``, sorted by node and time.

    The first fault is an error; ``telemetry.validate`` finds them all and ``telemetry.repair`` mends them.
    ``origin`` names the table in messages; ``lines`` says that it is a text file whose lines they may count.
    Columns that are not declared are kept, as numbers where they are numbers, but for row numbers. Times without
    an offset are those of the zone in ``attrs["zone"]``, else UTC. Other ``attrs`` are kept; what was assumed is
    added to ``attrs["notes"]``. Raises TelemetryError naming file, column, row and remedy.
    """
    origin, attrs = origin or origin_of(frame), dict(frame.attrs)
    zone = attrs.pop("zone", "")
    frame, notes = named(frame.reset_index(drop=True))
    check_header(frame, origin)
    stamps, naive = _timed(frame, origin, lines, zone, notes)
    typed = pd.DataFrame(
        {
            name: stamps if name == "timestamp" else _typed(frame[name], origin, lines, notes)
            for name in frame.columns
        }
    )
    _obey(typed, origin, lines)
    if not _measurements(typed):
        raise TelemetryError(
            f"{origin}: no column of row 0 (the header) is a measurement; it has "
            f"{', '.join(map(str, frame.columns))}. Add or rename at least one, as {', '.join(MEASURED)}."
        )
    _check_order(typed, origin, lines, wall=frame["timestamp"] if naive and not zone else None)
    typed = typed.sort_values(["node", "timestamp"], ignore_index=True)
    notes += _alike(typed["node"])
    typed.attrs = {**attrs, "origin": origin, **with_notes(attrs, notes)}
    return typed


def _alike(nodes: pd.Series) -> list[str]:
    """Notes on names that may mean one node: they differ in capitals, or in zeros before a number."""
    names = pd.Series(nodes.unique())
    plain = names.str.lower().str.replace(r"(?<!\d)0+(?=\d)", "", regex=True)
    return [
        f"nodes {' and '.join(map(repr, group))} are taken as different ones, though their names are nearly the same"
        for _, group in names.groupby(plain)
        if len(group) > 1
    ]


def _obey(typed: pd.DataFrame, origin: str, lines: bool) -> None:
    """Refuse the first value that breaks a rule of the schema."""
    try:
        SCHEMA.validate(typed, lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        case = cases.loc[cases["index"].astype(float).idxmin()]  # the first row that fails
        value = "is empty" if case["check"] == "not_nullable" else f"{case['failure_case']} {case['check']}"
        remedy = "Correct the value, or leave out the row."
        raise located(origin, case["column"], int(case["index"]), value, remedy, lines) from None


def _measurements(typed: pd.DataFrame) -> list[str]:
    """The columns that were measured: ours, and others with numbers."""
    settings = [name for name in COLUMNS if name not in MEASURED]
    return list(typed.select_dtypes("number").columns.difference(settings))


def _timed(
    frame: pd.DataFrame, origin: str, lines: bool, zone: str, notes: list[str]
) -> tuple[pd.Series, bool]:
    """The times in UTC, and whether any had no offset; the first that cannot be told is reported."""
    values, name = frame["timestamp"], "timestamp"
    refuse_empty(values, origin, lines)
    numbers = times.counted(values)
    if numbers.notna().all():
        unit = times.clear_unit(numbers)
        result = times.from_numbers(numbers, unit)
        if isinstance(result, times.Counted):
            raise located(origin, name, 0, result.reason, result.remedy, lines)
        notes.append(
            f"column 'timestamp' has numbers, which are taken as {unit} since 1970 (UTC): from "
            f"{result.min():%Y-%m-%dT%H:%M:%SZ} to {result.max():%Y-%m-%dT%H:%M:%SZ}"
        )
        return result, False
    read = times.to_utc(values, frame["node"].astype(str), zone)
    if zone and (read.never | read.twice).any():
        row = int((read.never | read.twice).argmax())
        problem = (
            f"{values.iloc[row]!r} comes twice in {zone}, and the order of rows does not say which it is"
        )
        if read.never.iloc[row]:
            problem = f"{values.iloc[row]!r} does not exist in {zone}, where clocks were put forward then"
        raise located(
            origin,
            name,
            row,
            problem,
            "Write it with its offset, or state the right zone.",
            lines,
            blamed="zone",
        )
    if read.utc.isna().any():
        row = int(read.utc.isna().argmax())
        problem = f"{values.iloc[row]!r} is not a time. Write it like 2026-01-31T05:00:00Z"
        ways = times.formats(values[read.utc.isna()]) if lines else []
        raise located(origin, name, row, problem, "Or leave out the row.", lines, ways=ways)
    if lines and not read.utc.between(*times.YEARS).all():
        notes.append(
            f"column 'timestamp': times from {read.utc.min():%Y-%m-%d} to {read.utc.max():%Y-%m-%d} are not all between "
            f"{times.YEARS[0]:%Y} and {times.YEARS[1]:%Y}"
        )
    if read.naive.any() and not zone:
        which = "times have" if read.naive.all() else f"{int(read.naive.sum())} of {len(values)} times have"
        notes.append(
            f"column 'timestamp': {which} no offset and are taken as UTC; {stated('zone', 'Europe/Berlin')} "
            "would state another zone"
        )
    return read.utc, bool(read.naive.any())


def refuse_empty(values: pd.Series, origin: str, lines: bool) -> pd.Series:
    """Which values are empty; TelemetryError for the first, where the column may have none."""
    name = str(values.name)
    empty = is_empty(values)
    if name in COLUMNS and not COLUMNS[name].may_be_empty and empty.any():
        problem, remedy = "the value is empty or NaN", "Fill it in, or leave out the row."
        if empty.all() and not COLUMNS[name].required:
            problem, remedy = "the column has no value in any row", "Remove the column."
        raise located(origin, name, int(empty.argmax()), problem, remedy, lines)
    return empty


def _typed(values: pd.Series, origin: str, lines: bool, notes: list[str]) -> pd.Series:
    """A column converted to its declared type; the first value that cannot be converted is reported."""
    name = str(values.name)
    column = COLUMNS.get(name)
    if column is None:
        return _undeclared(values, notes)
    empty = refuse_empty(values, origin, lines)
    if column.kind == "text":
        return values.astype(str).str.strip()
    result = pd.to_numeric(values.mask(empty), errors="coerce").astype(float)
    what = "a number. Write it with digits and a decimal point"
    wrong = result.isna() & ~empty
    if column.kind in ("count", "flag"):
        wrong |= ~(np.isfinite(result) & (result % 1 == 0) & (result.abs() <= LARGEST))
        what = "a whole number. Write it with digits only"
    if wrong.any():
        row = int(wrong.argmax())
        problem = f"{values.iloc[row]!r} is not {what}"
        if LARGEST < abs(result.iloc[row]) < np.inf:
            problem = f"{values.iloc[row]!r} is above {LARGEST:.0f}. Correct the value"
        ways = numerals.ways(str(values.iloc[row]))
        remedy = "Or leave out the row."
        if str(values.iloc[row]).strip().endswith("%") and column.unit == "percent":
            remedy = "Remove the sign %, as vds import --repair does."
        raise located(origin, name, row, problem, remedy, lines, ways=ways)
    return result.astype("int64") if column.kind in ("count", "flag") else result


def _undeclared(values: pd.Series, notes: list[str]) -> pd.Series:
    """A column that is not ours: as numbers where all values are numbers, else as it is."""
    kinds = pd.api.types
    if kinds.is_datetime64_any_dtype(values) or kinds.is_timedelta64_dtype(values):
        return values  # which pandas would count
    empty = is_empty(values)
    numbers = pd.to_numeric(values.mask(empty), errors="coerce")
    wrong = numbers.isna() & ~empty
    if wrong.any():
        if numbers.notna().any() or numerals.have_commas(values[wrong]).all():
            row = int(wrong.argmax())
            notes.append(
                f"column '{values.name}' stays text, since the value of row {row + 1}, {values.iloc[row]!r}, is no number"
            )
        return values
    exact = kinds.is_integer_dtype(numbers) and (numbers.abs() > 2**53).any()  # more digits than a float has
    return numbers if exact else numbers.astype(float)


def _check_order(frame: pd.DataFrame, origin: str, lines: bool, wall: pd.Series | None) -> None:
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
        remedy = (
            "Sort the rows by time, if the clock was right. To repair it, state "
            f"{stated('policy', 'sort', 'clock_back')}."
        )
    zone = times.explaining_zone(wall, frame["node"]) if wall is not None else ""
    if zone:
        remedy = (
            f"If clocks were put back from summer time then, state the zone of these times, such as "
            f"{stated('zone', zone)}. Else: {remedy}"
        )
    raise located(origin, "timestamp", row, problem, remedy, lines)
