"""How a file of telemetry is written, where that is not what we take it for: the options of reading.

One table serves all who state them: Python (``read("a.csv", separator=";")``), the command (``--separator ";"``) and
what follows a file's name (``a.csv?separator=;&decimal=,``). Messages name an option as their reader states it.
"""

import argparse
import difflib
import re
import shlex
import zoneinfo
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from vdslib.errors import TelemetryError

SIGNS = {"tab": "\t", "\\t": "\t", "space": " "}  # signs that are awkward to type


@dataclass(frozen=True)
class Option:
    """An option of reading: what it takes, what it says, and the check of a value: what the value stands for, or a
    ValueError with what to write instead."""

    takes: str
    meaning: str
    check: Callable[[str], str]


@dataclass(frozen=True)
class Form:
    """How a file is written, as ``OPTIONS`` describes it."""

    separator: str = ","
    decimal: str = "."
    thousands: str = ""
    zone: str = ""
    encoding: str = "utf-8-sig"
    time_format: str = ""


def _sign(value: str) -> str:
    sign = SIGNS.get(value, value)
    if len(sign) != 1 or sign.isalnum() or sign in '"\n\r':
        raise ValueError("Give one sign such as ; or , or the word tab or space.")
    return sign


def _zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise ValueError("Give the name of a time zone such as Europe/Kyiv.") from None
    return value


def _encoding(value: str) -> str:
    try:
        "".encode(value)
    except (LookupError, ValueError):
        raise ValueError("Give the name of an encoding such as cp1252 or utf-16.") from None
    return "utf-8-sig" if value.lower() in ("utf-8", "utf8") else value


def _time_format(value: str) -> str:
    if not all(re.search(field, value) for field in ("%[Yy]", "%[mbB]", "%d")):
        raise ValueError("Give year, month and day as %Y, %m and %d, such as '%d.%m.%Y %H:%M'.")
    return value


OPTIONS: dict[str, Option] = {
    "separator": Option("SIGN", "what stands between the fields of a text file; comma unless stated", _sign),
    "decimal": Option("SIGN", "what stands before decimals; point unless stated", _sign),
    "thousands": Option("SIGN", "what stands between thousands; nothing unless stated", _sign),
    "zone": Option("ZONE", "time zone of times without an offset; UTC unless stated", _zone),
    "encoding": Option("NAME", "how a text file is encoded; UTF-8 unless stated", _encoding),
    "time_format": Option(
        "FORMAT", "how times are written, such as %d.%m.%Y %H:%M; ISO 8601 unless stated", _time_format
    ),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of a file, for a command; ``options.form`` has those that were stated, by name."""
    parser.set_defaults(form={})

    class Collect(argparse.Action):
        def __call__(self, parser, namespace, value, option_string=None) -> None:  # type: ignore[no-untyped-def]
            namespace.form = {**namespace.form, self.dest: value}

    for name, option in OPTIONS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            action=Collect,
            default=argparse.SUPPRESS,
            metavar=option.takes,
            help=f"of a file: {option.meaning}".replace("%", "%%"),
        )


def parse(stated_options: Mapping[str, str], origin: str) -> Form:
    """The form that options state; TelemetryError for one that is not known, or with a value that it cannot have."""
    values: dict[str, str] = {}
    for name, value in stated_options.items():
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise TelemetryError(
                f"{origin}: option '{name}' is not known.{hint} Files have {', '.join(OPTIONS)}."
            )
        try:
            values[name] = OPTIONS[name].check(str(value))
        except ValueError as reason:
            raise TelemetryError(f"{origin}: {stated(name, str(value))} is not possible. {reason}") from None
    form = Form(**values)
    if form.thousands == form.decimal:
        raise TelemetryError(
            f"{origin}: the sign {form.decimal!r} cannot stand before decimals and between thousands. State the "
            "other of the two as well."
        )
    return form


def address(source: str | Path) -> tuple[Path, dict[str, str]]:
    """The path of a file and the options behind it: ``a.csv?zone=Europe/Berlin&decimal=,``.

    A file that has the whole text as its name is that file.
    """
    if isinstance(source, Path) or "?" not in source or Path(source).exists():
        return Path(source), {}
    path, options = split(source, tuple(OPTIONS), source.partition("?")[0])
    return Path(path), options


def split(rest: str, known: Sequence[str], origin: str) -> tuple[str, dict[str, str]]:
    """``TARGET?name=value&name=value`` as the target and its options; TelemetryError for one that is not known."""
    target, _, query = rest.partition("?")
    options: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        if name not in known or name in options or not value:
            problem = (
                "is not known" if name not in known else "occurs twice" if name in options else "has no value"
            )
            raise TelemetryError(
                f"{origin}: option '{name}' {problem}. "
                f"Write ?name=value, more of them with & between; there are {', '.join(known)}."
            )
        options[name] = unquote(value)
    return target, options


# ------------------------------------------------------------------------------- options in messages

_reader: ContextVar[str] = ContextVar("reader", default="python")


@contextmanager
def speaking(reader: str) -> Iterator[None]:
    """Messages name options as ``reader`` states them: "python", "command", or "address" for what follows the name
    of a file. Who asked first is spoken to: a command that reads an address stays a command."""
    before = _reader.set(reader if _reader.get() == "python" else _reader.get())
    try:
        yield
    finally:
        _reader.reset(before)


def stated(option: str, value: object, key: str = "") -> str:
    """An option with its value, as the reader of the message states it; ``key`` is the column or the fault of an
    option that has one for each."""
    reader = _reader.get()
    if reader == "python":
        plural = {"column": "columns", "unit": "units", "policy": "policies"}.get(option, option)
        return f"{plural}={{{key!r}: {value!r}}}" if key else f"{plural}={value!r}"
    if reader == "address" and option in OPTIONS:
        return f"?{option}={quote(str(value), safe=';,/. ')} after the name of the file"
    typed = {sign: word for word, sign in SIGNS.items() if word.isalpha()}.get(str(value), str(value))
    words = [f"--{option.replace('_', '-')}", *filter(None, (key, typed))]
    return ("vds import with " if reader == "address" else "") + shlex.join(words)
