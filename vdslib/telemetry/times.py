"""Times as files have them: with an offset, without one, or counted as numbers; and what they are in UTC."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vdslib.errors import Way
from vdslib.telemetry.forms import stated

YEARS = pd.Timestamp("1990-01-01", tz="UTC"), pd.Timestamp("2100-01-01", tz="UTC")
PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
# Times counted from 1970: unit -> the numbers of these years.
EPOCH = {
    unit: (YEARS[0].timestamp() * factor, YEARS[1].timestamp() * factor)
    for unit, factor in PER_SECOND.items()
}
INSIDE = 0.99  # share of the numbers that a unit must put into these years
LONGEST_STEP = 86_400.0  # seconds between two rows; a unit that makes it longer is not the one
# Numbers in a unit a thousand times smaller, counted from a start, look like numbers since 1970 with steps of
# thousands of seconds. Shorter steps leave no doubt.
CLEAR_STEP = 1000.0
WRITTEN = (
    # a text that is a time: no lone year, no "now", and no minute of one digit, since the other was cut off
    r"\d{4}[-/]\d{1,2}[-/]\d{1,2}(?:[T ](?!.*:\d?(?:\D|$)).*)?|\d{8}(?:T.*)?"
)
OFFSET = r"[T ].*(?:[Zz]|[+-]\d\d(?::?\d\d)?)$"  # how a text ends whose time has an offset
# Other ways in which programs write times, to be tried where times are not in ISO 8601
FORMATS = [
    f"{day} {clock}"
    for day in ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d %b %Y")
    for clock in ("%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p")
] + ["%d/%b/%Y:%H:%M:%S %z"]
# Zones whose clocks are changed, one for each rule in wide use: one of them may explain a clock that goes back.
CHANGING = (
    "Europe/Berlin", "Europe/London", "Europe/Kyiv", "America/New_York", "America/Chicago", "America/Denver",
    "America/Los_Angeles", "America/Santiago", "Australia/Sydney", "Asia/Jerusalem",
)  # fmt: skip


@dataclass(frozen=True)
class Times:
    """Times in UTC (NaT where there is none) and, for each row, whether it had no offset, and whether its time was
    lost because a change of the clock has it ``twice``, or ``never``."""

    utc: pd.Series
    naive: pd.Series
    twice: pd.Series
    never: pd.Series


@dataclass(frozen=True)
class Counted:
    """Numbers in place of times whose unit is not clear: why, which units fit, what to do, and how many there are."""

    reason: str
    fitting: list[str]
    remedy: str
    rows: int


def counted(values: pd.Series) -> pd.Series:
    """The numbers in a column of times, NaN where there is none: large ones, and all of a column that has no texts.

    A date of eight digits is a time.
    """
    typed = pd.api.types.is_numeric_dtype(values)
    if pd.api.types.is_datetime64_any_dtype(values):  # which pandas would count
        return pd.Series(np.nan, index=values.index)
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    if typed or not numbers.notna().any():
        return numbers
    text = values.astype(str).str.strip()
    dates = text.str.fullmatch(r"\d{8}") & pd.to_datetime(text, format="%Y%m%d", errors="coerce").notna()
    empty = values.isna() | text.str.lower().isin(["", "nan"])
    alone = not (numbers.isna() & ~empty).any()
    return numbers.where(~dates & (alone | (numbers.abs() >= 1e8)))


def are_times(values: pd.Series) -> bool:
    """Whether all values of a column are written as times."""
    if pd.api.types.is_datetime64_any_dtype(values):
        return True
    text = values.astype(str).str.strip()
    return bool(len(text)) and bool(
        (
            text.str.fullmatch(WRITTEN)
            & pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True).notna()
        ).all()
    )


def from_format(values: pd.Series, form: str) -> pd.Series:
    """Texts of times written as ``form`` says (that of ``strptime``), in ISO 8601; missing for any others."""
    read = pd.to_datetime(values.astype(str).str.strip(), format=form, errors="coerce", utc="%z" in form)
    return read.map(pd.Timestamp.isoformat, na_action="ignore").astype(object)


def formats(values: pd.Series) -> list[Way]:
    """Ways to read times that are not written in ISO 8601: the formats that all of them have."""
    text = values.astype(str).str.strip()
    if not text.str.fullmatch(r"\d{1,2}[./ -].*\d.*").all():
        return []
    first = text.iloc[:1]
    fitting = [form for form in FORMATS if from_format(first, form).notna().all()]  # most fit no time at all
    fitting = [form for form in fitting if from_format(text, form).notna().all()]
    return [
        Way(
            f"Read the file with {{}} if {first.iloc[0]!r} is {from_format(first, form).iloc[0]}.",
            "time_format",
            form,
        )
        for form in fitting
    ]


def from_numbers(numbers: pd.Series, unit: str) -> pd.Series | Counted:
    """Times counted in ``unit`` since 1970; Counted where none is stated, or it puts them outside 1990 .. 2100."""
    known = numbers[numbers.notna()]
    inside = {name: float(known.between(low, high).mean()) for name, (low, high) in EPOCH.items()}
    fitting = [name for name, share in inside.items() if share >= INSIDE]
    if unit not in fitting:
        fitting = [name for name in fitting if _step(known) / PER_SECOND[name] <= LONGEST_STEP]
        problem = f"are not counted in {unit!r}" if unit else "are counted in a unit that is not stated"
        if not (unit or fitting):
            problem = "are counted from a start that is not stated, or in a unit that is not stated"
        what = f"numbers such as {known.median():.0f}"
        if not fitting:
            what = f"numbers from {known.min():.15g} to {known.max():.15g}"
        return Counted(f"{what} {problem}", fitting, _remedy(known, fitting), len(known))
    return _since_1970(numbers, unit)


def clear_unit(numbers: pd.Series) -> str:
    """The unit in which numbers are counted since 1970, where nothing else is possible; else nothing."""
    known = numbers[numbers.notna()]
    for unit, (low, high) in EPOCH.items():
        if known.between(low, high).all() and _step(known) / PER_SECOND[unit] < CLEAR_STEP:
            return unit
    return ""


def _since_1970(numbers: pd.Series, unit: str) -> pd.Series:
    since = pd.to_datetime(numbers, unit=unit, errors="coerce", utc=True)  # type: ignore[call-overload]
    return since.astype("datetime64[us, UTC]")


def _step(known: pd.Series) -> float:
    """The usual difference of neighbouring numbers; 0 where there is one number."""
    steps = np.diff(np.unique(known.to_numpy()))
    return float(np.median(steps)) if len(steps) else 0.0


def _remedy(known: pd.Series, fitting: list[str]) -> str:
    """What to state, each with the times that come of it."""
    if not fitting:
        return "Convert it to UTC, ISO 8601."
    unit = fitting[0]
    times = _since_1970(pd.Series([known.min(), known.max()]), unit)
    return (
        f"State {stated('unit', unit, 'timestamp')}. That makes the times {times[0]:%Y-%m-%dT%H:%M:%SZ} to "
        f"{times[1]:%Y-%m-%dT%H:%M:%SZ}."
    )


def to_utc(values: pd.Series, nodes: pd.Series, zone: str) -> Times:
    """Times in UTC; those without an offset are of ``zone``, or UTC where it is empty. NaT for anything else."""
    nothing = pd.Series(False, index=values.index)
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return Times(values.dt.tz_convert("UTC").astype("datetime64[us, UTC]"), nothing, nothing, nothing)
    if pd.api.types.is_datetime64_dtype(values):
        return _local(values.astype("datetime64[us]"), values.notna(), nodes, zone)
    text = values.astype(str).str.strip()
    written = text.str.fullmatch(WRITTEN)
    zoned = written & text.str.contains(OFFSET, regex=True)
    utc = pd.to_datetime(text.where(zoned), format="ISO8601", errors="coerce", utc=True)
    utc = utc.astype("datetime64[us, UTC]")
    if zoned.all():
        return Times(utc, nothing, nothing, nothing)
    wall = pd.to_datetime(text.where(written & ~zoned), format="ISO8601", errors="coerce")
    local = _local(wall.astype("datetime64[us]"), wall.notna(), nodes, zone)
    return Times(utc.fillna(local.utc), local.naive, local.twice, local.never)


def _local(wall: pd.Series, naive: pd.Series, nodes: pd.Series, zone: str) -> Times:
    """Wall-clock times of a zone in UTC.

    In the hour that comes twice, rows are of the first pass until the clock of their node steps back (or, where
    there is one row in the hour, stands still), and of the second from there; where it does not do so exactly once,
    nobody can tell.
    """
    nothing = pd.Series(False, index=wall.index)
    if not zone:
        return Times(wall.dt.tz_localize("UTC"), naive, nothing, nothing)
    first, second = (
        wall.dt.tz_localize(zone, ambiguous=np.full(len(wall), summer), nonexistent="NaT")
        for summer in (True, False)
    )
    never = first.isna() & wall.notna()
    both = (first != second) & first.notna()
    unclear, late = nothing.copy(), nothing.copy()
    if both.any():
        hour = wall[both]
        night = [nodes[both], hour.dt.normalize()]
        step = hour.groupby(night).diff()
        back = step < pd.Timedelta(0)
        still = (step == pd.Timedelta(0)) & ~back.groupby(night).transform("any")
        passes = (back | still).groupby(night).cumsum()
        unclear[hour.index] = passes.groupby(night).transform("max") != 1
        late[hour.index] = passes > 0
    utc = first.where(~late, second).mask(unclear).dt.tz_convert("UTC")
    return Times(utc, naive, unclear, never)


def explaining_zone(values: pd.Series, nodes: pd.Series) -> str:
    """A zone in which times without an offset rise, though as they stand they go back: its clocks were put back from
    summer time then. Empty where no zone is tried with success."""

    def not_rising(zone: str) -> tuple[int, int]:
        read = to_utc(values, nodes, zone)
        step = read.utc.groupby(nodes, sort=False).diff()
        zero = pd.Timedelta(0)
        return int((step < zero).sum() + (read.twice | read.never).sum()), int((step == zero).sum())

    before = not_rising("UTC")
    for zone in CHANGING:
        after = not_rising(zone)
        if not after[0] and after[1] <= before[1] and after != before:
            return zone
    return ""
