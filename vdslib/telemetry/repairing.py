"""Damage in telemetry: found, reported, and repaired by named policies.

``inspect`` says what ``repair`` would do, and ``repair`` does it; both offer the same report. They take a table as
a source or pandas gives it, with texts for numbers, times in any form, rows in any order. What cannot be repaired
without guessing is an error with a remedy. A gap stays a gap: no row is made up, unless the policy "grid" is
chosen for irregular sampling, which interpolates between neighbours at most ``limit`` intervals apart.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from vdslib.errors import TelemetryError
from vdslib.telemetry import numerals
from vdslib.telemetry.capacity import above_100, number_segments, resized, switched_off
from vdslib.telemetry.checking import check
from vdslib.telemetry.faults import Report, Work
from vdslib.telemetry.forms import stated
from vdslib.telemetry.schema import (
    COLUMNS,
    MEASURED,
    Column,
    check_header,
    is_empty,
    named,
    rules,
    with_notes,
)
from vdslib.telemetry.times import YEARS, Counted, counted, explaining_zone, formats, from_numbers, to_utc
from vdslib.telemetry.units import FACTORS, PLAUSIBLE, Doubt, doubts

GAP = 1.5  # a step longer than this many usual intervals is a gap
JITTER = 0.01  # share of the usual interval by which clocks of pollers are early or late; not worth a word
MARKS = ("\ufeff", "ï»¿")  # a byte order mark as it is, and decoded as Latin-1
MANY = 0.5  # share of a node's rows that are not left out for their order unless that is chosen
EMPTY = ["", "nan", "na", "null", "none", "nat"]  # texts that stand for no number and no time


def inspect(
    frame: pd.DataFrame,
    policies: Mapping[str, str] | None = None,
    *,
    units: Mapping[str, str] | None = None,
    zone: str = "",
    interval: float | None = None,
    limit: float = GAP,
) -> Report:
    """Report what ``repair`` would do to ``frame`` with the same arguments.

    Damage to be refused is listed as such and then passed over, so that the report tells the rest as well.
    Raises TelemetryError only where there is no table to look at, or for a wrong argument.
    """
    return _run(Work(frame, policies or {}, units or {}, zone, interval, limit, dry=True))[1]


def repair(
    frame: pd.DataFrame,
    policies: Mapping[str, str] | None = None,
    *,
    units: Mapping[str, str] | None = None,
    zone: str = "",
    interval: float | None = None,
    limit: float = GAP,
) -> tuple[pd.DataFrame, Report]:
    """Telemetry that the schema accepts, sorted by node and time, and the report of what was done.

    ``policies`` says by fault what is done (``faults()`` lists them with their defaults; "refuse" is possible
    for each). ``units`` states units that differ from the schema's, or confirms one in doubt, such as
    {"memory_mb": "KB", "cpu_usage": "fraction", "timestamp": "s"}; ``attrs["units"]`` of the result remembers
    them, so that nothing is converted twice. ``zone`` is that of times without an offset. ``interval``, in
    seconds, is what the policy "grid" needs: rows are then interpolated to its multiples, numbers linearly,
    counts and texts from the nearer row, between neighbours at most ``limit`` intervals apart. Repairing twice
    changes nothing. Raises TelemetryError for damage to be refused, and where no row is left.
    """
    return _run(Work(frame, policies or {}, units or {}, zone, interval, limit, dry=False))


def _run(work: Work) -> tuple[pd.DataFrame, Report]:
    """All steps in the order in which they depend on each other."""
    for step in (
        _header,
        _times,
        _values,
        _duplicates,
        _clock,
        _repeated_times,
        switched_off,
        above_100,
        resized,
        _grid,
        _steps,
    ):
        step(work)
        if work.frame.empty:
            break
    table = pd.DataFrame(
        work.findings, columns=["fault", "column", "node", "where", "rows", "lost", "action"]
    )
    report = Report(work.origin, table, work.rows, work.lost, work.replaced, work.interpolated)
    if work.dry:
        return work.frame, report
    if work.frame.empty:
        raise TelemetryError(
            f"{work.origin}: no row is left of {work.rows}: {report.reasons()}. "
            "Correct these rows, or choose other policies."
        )
    result = check(work.frame, work.origin)
    nothing = [
        f"column '{name}' has no value in any row"
        for name in MEASURED
        if name in result and result[name].isna().all()
    ]
    work.attrs.update(with_notes(work.attrs, [*result.attrs.get("notes", []), *nothing]))
    converted = {name: unit for name, unit in work.units.items() if name in result}
    result.attrs = {**work.attrs, "origin": work.origin}
    if converted:
        result.attrs["units"] = {**work.done_units, **converted}
    return result, report


def _header(work: Work) -> None:
    """Names of the columns."""
    for name in work.frame.columns:
        if str(name).startswith(MARKS):
            work.note_column("byte_order_mark", str(name).lstrip("\ufeff").removeprefix(MARKS[1]), work.rows)
    plain = {n: str(n).lstrip("\ufeff").removeprefix(MARKS[1]) for n in work.frame.columns}
    work.frame, notes = named(work.frame.rename(columns=plain))
    work.attrs.update(with_notes(work.attrs, notes))
    check_header(work.frame, work.origin)


def _times(work: Work) -> None:
    """Nodes as texts, times in UTC; rows without one of them are left out."""
    texts = work.frame
    nodes, raw = texts["node"], texts["timestamp"]
    nameless = is_empty(nodes)
    nodes = nodes.astype(str).str.strip().mask(nameless, "")
    times, since = to_utc(raw, nodes, work.zone), _since_1970(work, raw)
    if since is not None:
        times = replace(times, utc=times.utc.fillna(since))
    unclear = times.twice | times.never
    work.frame = work.frame.assign(node=nodes, timestamp=times.utc)
    if times.naive.any():
        work.note_column("time_zone", "timestamp", int(times.naive.sum()), f"taken as {work.zone or 'UTC'}")
        work.wall = work.wall if work.zone else raw
    timeless = times.utc.isna()
    timeless &= _plain(raw.where(timeless)).isin(EMPTY)
    wrong = ~timeless & ~unclear & ~times.utc.between(*YEARS)
    # where some times are in ISO 8601, a format would refuse these
    if wrong.any() and (wrong | timeless).all() and (fitting := formats(raw[wrong])):
        ways = [way.text.format(stated(way.option, way.value)) for way in fitting]
        work.note("invalid", "timestamp", wrong, refused=" ".join(ways))
    _drop_values(
        work,
        [
            ("empty", "node", nameless),
            ("empty", "timestamp", timeless),
            ("invalid", "timestamp", wrong),
            ("time_zone", "timestamp", unclear),
        ],
        texts,
    )


def _since_1970(work: Work, raw: pd.Series) -> pd.Series | None:
    """Times that are numbers, in UTC; None where there are none. A unit that is not clear is refused."""
    numbers = counted(raw)
    if not numbers.notna().any():
        return None
    since = from_numbers(numbers, work.units.get("timestamp", ""))
    if not isinstance(since, Counted):
        return since
    work.doubt(Doubt("timestamp", "", since.reason, since.remedy, since.rows))
    # only a report goes on, with the unit that fits, if there is one
    again = from_numbers(numbers, since.fitting[0]) if since.fitting else since
    return None if isinstance(again, Counted) else again


def _shown(raw: pd.Series, rows: np.ndarray) -> str:
    return f": {raw.iloc[rows[0]]}"


def _drop_values(work: Work, findings: list[tuple[str, str, pd.Series]], raw: pd.DataFrame) -> None:
    """Report findings of (fault, column, rows) and leave out all these rows, each counted as lost once; ``raw`` is
    the table with the values as they were written."""
    gone = pd.Series(False, index=work.frame.index)
    for fault, column, wrong in findings:
        why = ": the zone has this time twice or never" if fault == "time_zone" else ""
        detail = partial(_shown, raw[column]) if fault == "invalid" else lambda rows: ""
        work.note(fault, column, wrong, wrong & ~gone, action=f"the row is left out{why}", detail=detail)
        gone |= wrong
    work.leave_out(gone)


def _values(work: Work) -> None:
    """The values of all declared columns: typed, in the schema's units, and such that the schema accepts them."""
    findings, texts = [], work.frame
    for name in [
        each for each in work.frame.columns if each in COLUMNS and each not in ("node", "timestamp")
    ]:
        column, values = COLUMNS[name], work.frame[name]
        if column.kind == "text":
            empty, wrong = is_empty(values), pd.Series(False, index=values.index)
            values = values.astype(str)
        else:
            values, empty = _numbers(work, values, texts)
            wrong = ~empty & _refused(values, column)
        if empty.all() and not column.required and not column.may_be_empty:
            work.note_column("absent", name, len(values))
            work.frame = work.frame.drop(columns=name)
            continue
        if column.may_be_empty:
            work.note(
                "invalid", name, wrong, action="the value is left out", detail=partial(_shown, texts[name])
            )
            values = values.mask(wrong)
        else:
            findings += [("empty", name, empty), ("invalid", name, wrong)]
        work.frame = work.frame.assign(**{name: values})
    _drop_values(work, findings, texts)


def _plain(values: pd.Series) -> pd.Series:
    """Values as texts without space around, in small letters."""
    return values.astype(str).str.strip().str.lower().fillna("")


def _numbers(work: Work, values: pd.Series, texts: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """A column as floats in the schema's unit, NaN where there is no number; and where nothing was written.

    ``texts`` is the whole table as it was given.
    """
    name = str(values.name)
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    empty = numbers.isna()
    signed = pd.Series(False, index=values.index)
    if empty.any() and not pd.api.types.is_numeric_dtype(values):
        text = _plain(values.where(empty))
        signed = text.str.fullmatch(r".*\d\s*%") & (COLUMNS[name].unit == "percent")
        if signed.any():
            work.note("percent_sign", name, signed)
            text = text.mask(signed, text.str.rstrip("% "))
            numbers = numbers.fillna(pd.to_numeric(text.where(signed), errors="coerce"))
        comma = empty & numerals.have_commas(text)
        if comma.any():
            numbers = numbers.fillna(_with_comma(work, text.rename(name), comma, texts))
        empty &= text.isin(EMPTY)
    unit = COLUMNS[name].unit
    stated = unit if name in work.done_units else work.units.get(name, "")
    if stated and stated != unit:
        numbers = numbers.where(signed, numbers * FACTORS[unit][stated])  # a sign says percent already
    for doubt in doubts(numbers, work.frame["node"], stated):
        work.doubt(doubt)
    return numbers, empty


def _with_comma(work: Work, text: pd.Series, comma: pd.Series, texts: pd.DataFrame) -> pd.Series:
    """The numbers with a comma, taken as a decimal point; refused where it may stand between thousands."""
    name = str(text.name)
    means = _comma_means(text[comma])
    numeric = [each for each in texts if each in COLUMNS and COLUMNS[each].kind not in ("time", "text")]
    if not means:  # the commas of other columns tell
        others = [_comma_means(column) for each in numeric if len(column := _commas(texts[each]))]
        means = "decimal" if "decimal" in others and not {"thousands", "both"} & set(others) else ""
    decimal = not means and not numerals.have_points(texts[numeric])
    signs = ["thousands", *(["decimal"] if decimal else [])]
    remedy = f"Read the file with {' or '.join(stated(sign, ',') for sign in signs)}."
    if means == "both" or (means == "decimal" and numerals.have_points(texts[[name]])):
        remedy = "Correct the column: some of its numbers have the comma before decimals, others have a point there."
        means = "both"
    work.note("decimal_comma", name, comma, refused="" if means == "decimal" else remedy)
    sign = "" if means == "thousands" else "."
    return pd.to_numeric(text.where(comma).str.replace(",", sign, regex=False), errors="coerce")


def _commas(values: pd.Series) -> pd.Series:
    """The numbers of a column that have a comma, as texts with their column's name."""
    text = _plain(values) if pd.api.types.is_string_dtype(values) else pd.Series(dtype=str)
    return text[numerals.have_commas(text)].rename(str(values.name))


def _comma_means(text: pd.Series) -> str:
    return numerals.comma_means(text, PLAUSIBLE.get(COLUMNS[str(text.name)].unit, (0, np.inf))[1])


def _refused(values: pd.Series, column: Column) -> pd.Series:
    """Which values the schema would refuse; none is missing."""
    broken = [wrong(values) for wrong in rules(column).values()]
    return values.isna() | np.logical_or.reduce(broken)


def _duplicates(work: Work) -> None:
    """Rows that are there twice, equal in all columns."""
    again = work.frame.duplicated(["node", "timestamp"], keep=False)
    if again.any():
        equal = work.frame[again].duplicated().reindex(work.frame.index, fill_value=False)
        work.drop("duplicate", "", equal)


def _clock(work: Work) -> None:
    """Times that do not rise from row to row of a node; afterwards rows are sorted by node and time.

    Without the rows that are earlier than one before them, times rise; so they do without those that are later
    than one after them. The smaller of the two sets is left out.
    """
    time, node = work.frame["timestamp"].astype("int64"), work.frame["node"]
    early = time < time.groupby(node).cummax()
    if early.any():
        late = time > time[::-1].groupby(node[::-1]).cummin()[::-1]
        counts = early.groupby(node).transform("sum"), late.groupby(node).transform("sum")
        wrong = early.where(counts[0] <= counts[1], late)
        gone = wrong & (work.policy("clock_back") != "sort")
        many = (gone.groupby(node).mean() >= MANY).any() and "clock_back" not in work.policies
        zone = explaining_zone(work.wall.reindex(time.index), node) if len(work.wall) else ""
        put_back = f"; if clocks were put back from summer time then, state {stated('zone', zone)}"
        choice = " or ".join(stated("policy", each, "clock_back") for each in ("sort", "drop"))
        work.note(
            "clock_back",
            "timestamp",
            wrong,
            gone,
            detail=lambda rows: put_back if zone else "",
            refused=f"{int(gone.sum())} of {len(gone)} rows would be left out: state {choice}."
            if many
            else "",
        )
        work.leave_out(gone)
    work.frame = work.frame.sort_values(["node", "timestamp"], kind="stable")


def _repeated_times(work: Work) -> None:
    """Times that come twice in the sorted rows of a node: the first row is kept, unless told otherwise."""
    keep = {"last": "last", "drop": False}.get(work.policy("repeated_time"), "first")
    work.drop("repeated_time", "timestamp", work.frame.duplicated(["node", "timestamp"], keep=keep))  # type: ignore[arg-type]


def _grid(work: Work) -> None:
    """Move rows to multiples of the interval, by interpolation between neighbours that are near enough."""
    if work.policy("irregular") != "grid" or work.interval is None:
        return
    frame, interval = work.frame, round(work.interval * 1e6)
    time = frame["timestamp"].astype("int64").to_numpy()
    step = np.diff(time)
    near = (frame["node"].to_numpy()[1:] == frame["node"].to_numpy()[:-1]) & (step <= work.limit * interval)
    if "segment" in frame:
        near &= np.diff(frame["segment"].to_numpy()) == 0
    first, last = time[:-1] // interval + 1, (time[1:] - 1) // interval  # multiples between two rows
    count = np.where(near, np.maximum(0, last - first + 1), 0)
    left = np.repeat(np.arange(len(step)), count)
    new_time = (first[left] + np.arange(len(left)) - np.repeat(np.cumsum(count) - count, count)) * interval
    new = _between(frame, left, (new_time - time[left]) / step[left])
    new["timestamp"] = pd.to_datetime(new_time, unit="us", utc=True).astype("datetime64[us, UTC]")
    off = time % interval != 0
    used = np.append(count > 0, False) | np.append(False, count > 0)
    touched = pd.Series(off | np.append(False, count > 0), index=frame.index)
    work.note("irregular", "timestamp", touched, pd.Series(off & ~used, index=frame.index))
    work.lost += int((off & ~used).sum())
    work.replaced += int((off & used).sum())
    work.interpolated += len(left)
    work.frame = pd.concat([frame[~off], new]).sort_values(["node", "timestamp"], kind="stable")
    if "segment" in frame:
        number_segments(work)


def _between(frame: pd.DataFrame, left: np.ndarray, weight: np.ndarray) -> pd.DataFrame:
    """Rows between the rows ``left`` and those after them: numbers linearly, everything else of the nearer row."""
    new = frame.iloc[np.where(weight <= 0.5, left, left + 1)].copy()
    for name in frame.columns:
        kind = COLUMNS[name].kind if name in COLUMNS else "number"
        if kind != "number" or name == "segment" or not pd.api.types.is_float_dtype(frame[name]):
            continue
        values = frame[name].to_numpy()
        start, stop = values[left], values[left + 1]
        # rounding must not lead out of the range of the two, such as above 100
        new[name] = np.clip(start + weight * (stop - start), np.minimum(start, stop), np.maximum(start, stop))
    return new


def _steps(work: Work) -> None:
    """Gaps, and steps that are uneven; reported, and left as they are."""
    node = work.frame["node"]
    step = work.frame["timestamp"].astype("int64").groupby(node).diff()
    usual = work.interval * 1e6 if work.interval else step.groupby(node).transform("median")
    gap = step > GAP * usual
    work.note("outage", "timestamp", gap, detail=partial(_longest, step))
    if work.policy("irregular") != "grid":
        work.note("irregular", "timestamp", step.notna() & ~gap & (step != usual))


def _longest(step: pd.Series, rows: np.ndarray) -> str:
    return f" (the longest of {pd.Timedelta(step.iloc[rows].max(), unit='us')})"
