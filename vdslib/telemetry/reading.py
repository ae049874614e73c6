"""A file of telemetry as a table: text or Parquet, with our names for its columns, values as they are."""

import difflib
import re
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from vdslib import files
from vdslib.errors import TelemetryError, Way
from vdslib.telemetry import forms, numerals, times
from vdslib.telemetry.forms import stated
from vdslib.telemetry.lines import Lines
from vdslib.telemetry.schema import COLUMNS, NAMELESS, is_empty, located, named, origin_of

RECORDED = "data/vds_data.csv"  # what ``read("recorded")`` reads, relative to the project
# how names of files end, compressed or not; a number after a point is part of the name
ENDING = r"(?:\.[A-Za-z]\w{0,7})?(?:\.(?:gz|bz2|xz|zip|zst))?$"


def stem(name: str) -> str:
    """The name of a file without its ending, by which a node is named: ``web.1.csv.gz`` is of the node web.1."""
    return re.sub(ENDING, "", name, count=1) or name


def ending(source: str | Path) -> str:
    """How the file of an address ends: its last suffix, in small letters."""
    return forms.address(source)[0].suffix.lower()


def load(source: str | Path, columns: Mapping[str, str] | None = None, **options: str) -> pd.DataFrame:
    """A telemetry file as it is, unchecked: what ``validate`` and ``repair`` take.

    Arguments are those of ``telemetry.read``. In text every value stays text, a byte order mark is removed, blank
    lines are rows. ``attrs`` has "origin", and where there are such "zone", stated for times without an offset,
    "notes" on what was assumed, and "short", the first line that ends before the last column: its row, from 0, and
    the number of its fields. Raises TelemetryError where there is no table.
    """
    return trying(plain, source, columns, options)


def trying(
    reader: Callable[..., pd.DataFrame],
    source: str | Path,
    columns: Mapping[str, str] | None,
    options: Mapping[str, str],
) -> pd.DataFrame:
    """What ``reader`` makes of a file; where it refuses it, options of reading are named that help with this file."""
    try:
        return reader(source, columns, **options)
    except TelemetryError as error:
        helping = [
            way.text.format(stated(way.option, way.value))
            for way in error.ways
            if _helps(way, error, partial(reader, source, columns, **options))
        ]
        if not helping:
            raise
        message = " ".join([str(error).removesuffix(error.remedy).rstrip(), *helping])
        raise TelemetryError(message, blamed=error.blamed) from None


def _helps(way: Way, error: TelemetryError, reader: Callable[..., pd.DataFrame]) -> bool:
    """Whether a file can be read with one option more, or is refused for something else only, or for something that
    one more of them mends."""
    another = partial(reader, **{way.option: way.value})
    try:
        another()
    except TelemetryError as other:
        mended = not other.blamed or any(_helps(each, other, another) for each in other.ways)
        return str(other) != str(error) and mended
    return True


def plain(source: str | Path, columns: Mapping[str, str] | None, **options: str) -> pd.DataFrame:
    """What ``load`` does, without trying other options on a file that is refused."""
    path, behind = forms.address(source)
    origin = str(path)
    if origin == "recorded":
        if behind or options:
            raise TelemetryError("recorded: options of reading are for files. Leave them out.")
        origin, path = RECORDED, files.root() / RECORDED
    if twice := sorted(behind.keys() & options.keys()):
        raise TelemetryError(f"{origin}: option '{twice[0]}' is stated twice. Leave out one of them.")
    form = forms.parse({**behind, **options}, origin)
    _check_file(path, origin)
    notes: list[str] = []
    if path.suffix.lower() == ".parquet":
        frame, twice = _parquet(path), []
    else:
        frame, twice = _text(Lines(path, origin, form.separator, form.encoding), notes)
    frame.attrs["origin"] = origin
    if columns:
        frame = _renamed(frame, columns, path, origin, twice)
    required = [name for name, column in COLUMNS.items() if column.required]
    # else row 0 is no header, which `check` tells
    if twice and set(required) <= set(named(frame)[0]):
        raise TelemetryError(
            f"{origin}: column '{twice[0]}' occurs twice in row 0 (the header). Remove or rename one."
        )
    frame = _with_time(frame, notes)
    if form.time_format and "timestamp" in named(frame)[0]:
        frame = _with_format(frame, form.time_format)
    if form.decimal != "." or form.thousands:
        frame = _with_points(frame, form)
    elif form.separator != ",":
        notes += _grouped(frame)
    if form.zone:
        frame.attrs["zone"] = form.zone
    if notes:
        frame.attrs["notes"] = notes
    return frame


def _check_file(path: Path, origin: str) -> None:
    if not path.is_file():
        raise TelemetryError(
            f"{origin}: there is no such file. Give the path of a telemetry file, or 'recorded'."
        )
    if path.stat().st_size == 0:
        raise TelemetryError(f"{origin}: the file is empty, without even a header. Record or copy it again.")


def _parquet(path: Path) -> pd.DataFrame:
    """A Parquet file; an index that holds something is columns again."""
    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # noqa: BLE001  # what is wrong inside can be anything
        reason = " ".join(str(error).split())
        raise TelemetryError(
            f"{path}: not readable as Parquet ({reason}). Check that the file is complete and is Parquet."
        ) from None
    frame.attrs.clear()
    labels = [name for name in frame.index.names if name is not None and name not in frame]
    unnamed = [level for level, name in enumerate(frame.index.names) if name is None]
    if labels or any(times.are_times(frame.index.get_level_values(level).to_series()) for level in unnamed):
        frame = frame.rename_axis([name or f"Unnamed: {n}" for n, name in enumerate(frame.index.names)])
        frame = frame.reset_index()
    return frame


def _text(lines: Lines, notes: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """A text file, all as text, and the names that its header has twice."""
    form: dict[str, Any] = {
        "sep": lines.separator,
        "dtype": str,
        "keep_default_na": False,
        "skip_blank_lines": False,
        "encoding": lines.encoding,
    }
    try:
        # without a header, as pandas renames what occurs twice
        header = pd.read_csv(lines.path, header=None, nrows=1, **form).iloc[0]
        _check_separator(header, lines.origin, lines.separator)
        # All as text first, so that a wrong value can be located; blank lines stay and are counted.
        with warnings.catch_warnings():  # pandas would only warn of lines that are longer than the header
            warnings.simplefilter("error", pd.errors.ParserWarning)
            text = pd.read_csv(lines.path, index_col=False, **form)
    except TelemetryError:
        raise
    except Exception as error:  # noqa: BLE001  # parser and decompressors share no class of error
        raise lines.fault(error) from None
    if (text.iloc[:, 0] == "").all() and (text == "").all(axis=None):
        text = text.iloc[:0].copy()  # blank lines below a header are no rows
    elif (text.iloc[:, -1] == "").any() and (short := lines.short()):
        row, fields = short[0]
        text.attrs["short"] = row, fields
        count = f"{len(short)} lines end" if len(short) > 1 else "1 line ends"
        notes.append(
            f"{count} before the last column, the first in row {row + 1}; what is missing is taken as empty"
        )
    header = header.str.strip()
    again = header.groupby(header).cumcount()
    twice = header[(again > 0) & (header != "")]
    names = [name + (f".{count}" if count else "") for name, count in zip(header, again, strict=True)]
    text.columns = [name if header[place] else _nameless(place, names) for place, name in enumerate(names)]
    return text, list(twice)


def _nameless(place: int, names: list[str]) -> str:
    """What pandas calls a column without a name, unless another is called so."""
    name = f"Unnamed: {place}"
    return name if name not in names else f"Unnamed: {place + len(names)}"


def _check_separator(header: pd.Series, origin: str, separator: str) -> None:
    """Refuse a header of one field that another sign would separate."""
    alone = str(header.iloc[0])
    signs = [sign for sign in (";", "\t", "|", ",") if sign in alone and sign != separator]
    if len(header) == 1 and signs:
        raise TelemetryError(
            f"{origin}: row 0 (the header) is {alone!r}, separated by {signs[0]!r} and not by {separator!r}.",
            [Way("Read the file with {}.", "separator", signs[0])],
        )


def _renamed(
    frame: pd.DataFrame, columns: Mapping[str, str], path: Path, origin: str, twice: list[str]
) -> pd.DataFrame:
    """The table of a file with our names for its columns; ``twice`` are names that its header repeats."""
    wanted = {name: own if own in frame else own.strip() for name, own in columns.items()}
    for name, own in wanted.items():
        if name not in COLUMNS:
            near = difflib.get_close_matches(name, COLUMNS, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise TelemetryError(
                f"{origin}: column '{name}' of the mapping is none of ours{hint} Choose among {', '.join(COLUMNS)}."
            )
        if own not in frame or own in twice or list(wanted.values()).count(own) > 1:
            fault = "is mapped twice" if own in frame else "is missing from row 0 (the header)"
            fault = "occurs twice in row 0 (the header)" if own in twice else fault
            raise TelemetryError(
                f"{origin}: column '{own}', which the mapping takes as {name}, {fault}. The file has "
                f"{', '.join(map(str, frame.columns))}: correct the mapping."
            )
    frame = frame.rename(columns={own: name for name, own in wanted.items()})
    return frame if "node" in frame else frame.assign(node=stem(path.name))


def _with_time(frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """The table with the time as a column where pandas had it as an index without a name."""
    nameless = [name for name in frame if re.fullmatch(NAMELESS, str(name))]
    if "timestamp" in named(frame)[0] or len(nameless) != 1 or not times.are_times(frame[nameless[0]]):
        return frame
    notes.append("the column without a name has times and is taken as timestamp")
    return frame.rename(columns={nameless[0]: "timestamp"})


def _with_format(frame: pd.DataFrame, form: str) -> pd.DataFrame:
    """The table with times in ISO 8601 that are written as ``form`` says; one that is not is refused, since it would
    else be read in another way than the others."""
    name = next(name for name in frame if _our_name(name) == "timestamp")
    iso = times.from_format(frame[name], form)
    wrong = iso.isna() & ~is_empty(frame[name])
    if wrong.any():
        row = int(wrong.argmax())
        problem = f"{frame[name].iloc[row]!r} is not written as {stated('time_format', form)} says"
        remedy = "Correct the format, or the time."
        raise located(origin_of(frame), "timestamp", row, problem, remedy, lines=True, blamed="time_format")
    return frame.assign(**{str(name): iso.fillna("")})


def _with_points(frame: pd.DataFrame, form: forms.Form) -> pd.DataFrame:
    """Numbers written with other signs, with a point and nothing between thousands.

    One of our columns with a number that does not fit is refused; another column is then left as it is.
    """
    result = frame.copy()
    ours = {name: names for name, names in zip(frame.columns, frame.columns.map(_our_name), strict=True)}
    for name, our in ours.items():
        kind = COLUMNS[our].kind if our in COLUMNS else ""
        if kind in ("time", "text") or not pd.api.types.is_string_dtype(frame[name]):
            continue
        numbers, wrong = numerals.plain(frame[name].astype(str), form.decimal, form.thousands)
        if kind and wrong.any():
            raise _misread(
                frame, str(our), int(wrong.argmax()), str(frame[name].iloc[int(wrong.argmax())]), form
            )
        filled = numbers.str.strip() != ""
        if kind or not (wrong | (pd.to_numeric(numbers, errors="coerce").isna() & filled)).any():
            result[name] = numbers
    return result


def _grouped(frame: pd.DataFrame) -> list[str]:
    """Notes on numbers whose point may stand between thousands, in a file whose fields no comma separates."""
    notes = []
    for name in frame:
        our = _our_name(name)
        if (
            our in COLUMNS
            and COLUMNS[our].kind in ("number", "count")
            and pd.api.types.is_string_dtype(frame[name])
        ):
            text = frame[name].astype(str).str.strip()
            pointed = text[text.str.contains(".", regex=False)]
            if len(pointed) and pointed.str.fullmatch(r"[1-9]\d{0,2}\.\d{3}").all():
                notes.append(
                    f"column {our!r}: {pointed.iloc[0]} is taken as {float(pointed.iloc[0]):g}; if the point stands "
                    f"between thousands, state {stated('thousands', '.')} and {stated('decimal', ',')}"
                )
    return notes


def _our_name(name: object) -> str:
    """The name that a column has in our table."""
    return str(next(iter(named(pd.DataFrame(columns=[name]))[0]), name))


def _misread(frame: pd.DataFrame, name: str, row: int, value: str, form: forms.Form) -> TelemetryError:
    """What is said of a number that the stated signs do not fit."""
    origin = origin_of(frame)
    if form.thousands and form.thousands in value:
        problem = f"{value!r} has {form.thousands!r} elsewhere than between thousands"
        remedy = f"Read the file without {stated('thousands', form.thousands)}, or correct the value."
        return located(origin, name, row, problem, remedy, lines=True, blamed="thousands")
    problem = f"{value!r} has a point, though {stated('decimal', form.decimal)} was stated"
    remedy = "Read the file without it, or remove the points."
    ways = [
        Way(
            "If the point stands between thousands, state {} too. Else read the file without it.",
            "thousands",
            ".",
        )
    ]
    return located(origin, name, row, problem, remedy, lines=True, ways=ways, blamed="decimal")
