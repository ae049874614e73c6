"""Where telemetry comes from: every origin is a source with a name, and all yield the canonical table.

``read`` takes what a notebook's parameter ``telemetry`` or the command line may hold: "recorded", the path of a file,
the name of a source with what it shall read (``bitbrains:2013-8/332``), or the address of a Prometheus server.
A source joins by ``register``; columns that it cannot measure are absent, never filled with zeros.
"""

import difflib
import glob
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vdslib import telemetry as _telemetry
from vdslib.errors import TelemetryError
from vdslib.registry import Registry
from vdslib.telemetry import GAP, JITTER, address, speaking

# one letter before a colon is a drive of Windows
NAMED = re.compile(r"([A-Za-z][\w.-]+)(?::(.*))?", re.DOTALL)

_cited: set[str] = set()


def named_files(rest: str) -> list[Path] | None:
    """Files and folders that are named, by path or pattern, before, between or behind the signs ``?&=,`` of what
    follows a source's name; None where there is none."""
    parts = filter(None, [rest, *re.split("[?&=,]", rest)])
    paths = [
        path
        for part in parts
        for path in ([part] if os.path.exists(part) else glob.glob(part, recursive=True))
    ]
    return [Path(path) for path in dict.fromkeys(sorted(paths))] or None


def pinned(rest: str) -> list[Path]:
    """The ``files`` of a source whose tables never change, or of a path to a file in its format."""
    return [Path(rest)] if os.path.isfile(rest) else []


@dataclass(frozen=True)
class Source:
    """One origin of telemetry.

    ``read`` gets what follows ``name:`` and returns canonical telemetry, sorted by node and time. ``default_target``
    is the column to forecast unless told; empty where it differs from table to table. ``citation`` is what whoever
    uses the data must cite, ``terms`` what they allow; ``example`` is a value for the parameter ``telemetry``.
    ``load``, where there is one, gets the same and returns the rows as they are, before anything was left out.
    ``header`` is how files of the format begin: the plain path of such a .csv file leads to the source too.
    ``files`` gets the same and returns the files and folders that telemetry comes from, by which a run that was made
    before is known again; None where it is measured anew each time; an empty list where it never changes.
    ``rhythms`` are the periods in seconds that such telemetry is known to have, such as a day and a week.
    ``check``, for a source that takes its time to measure, gets the same and refuses what cannot be measured, without
    measuring; where there is none, the telemetry of a run is read once before its kernel starts, to see that it fits.
    """

    name: str
    title: str
    read: Callable[[str], pd.DataFrame]
    default_target: str = ""
    citation: str = ""
    terms: str = ""
    example: str = ""
    load: Callable[[str], pd.DataFrame] | None = None
    header: str = ""
    files: Callable[[str], list[Path] | None] = named_files
    check: Callable[[str], object] | None = None
    rhythms: tuple[float, ...] = ()


DAY_AND_WEEK = (86_400.0, 604_800.0)  # seconds
RECORDED = (1080 / 7, 1080.0)  # seconds of a day and a week of the testbed, whose time passes faster

# the modules that register ours
ADAPTERS = ("bitbrains", "cloudwatch", "datacentres", "events", "host", "prometheus")
SOURCES: Registry[Source] = Registry("source", [f"vdslib.sources.{name}" for name in ADAPTERS])


def register(
    name: str, **described: Any
) -> Callable[[Callable[[str], pd.DataFrame]], Callable[[str], pd.DataFrame]]:
    """Decorator: make a function ``read(rest: str) -> DataFrame`` the source ``name``; ``described`` has the other
    fields of ``Source``, of which ``title`` is needed.

    A name that another module holds already is a RegistryError; the same module may register again, as a notebook's
    cell that runs twice does. A reader's own sources are in the files that the variable VDS_SOURCES names.
    """
    if not NAMED.fullmatch(name) or ":" in name or name == "recorded":
        raise ValueError(f"{name!r} cannot name a source: take letters, digits, dot, dash and underscore")

    def add(function: Callable[[str], pd.DataFrame]) -> Callable[[str], pd.DataFrame]:
        SOURCES.add(
            name, Source(name, read=function, **{"example": f"{name}:", **described}), function.__module__
        )
        return function

    return add


def sources() -> list[Source]:
    """All registered sources, by name."""
    return [SOURCES.get(name) for name in sorted(SOURCES.names())]


def read(telemetry: str | Path, columns: Mapping[str, str] | None = None, **options: str) -> pd.DataFrame:
    """Read and check telemetry: "recorded", a file (.csv, .csv.gz, .parquet), ``NAME:REST`` of a registered source,
    or an http(s) address (Prometheus).

    ``columns`` and ``options`` are for files: our names, each with the column of the file, and how the file is
    written, which may stand behind its name too (see ``vdslib.telemetry.read``). Returns the
    canonical table sorted by node and time, checked and typed. ``attrs`` has "origin" (for messages), "source" (its
    name), "citation", "rhythms" (periods in seconds that it is known to have), and "notes", a list of what the source had to leave out or assume. A required citation is
    printed on the first use. Raises TelemetryError: for an unknown source with the nearest name and the list.
    """
    with speaking("address"):
        source, rest = _open(telemetry, columns, options)
        if source is None:
            frame = _telemetry.read(telemetry, columns, **options)
        else:
            frame = _telemetry.check(source.read(rest), origin=str(telemetry))
    return _described(frame, telemetry, source, _uneven(frame))


def load(telemetry: str | Path, columns: Mapping[str, str] | None = None, **options: str) -> pd.DataFrame:
    """Telemetry as it is, row by row and unchecked: what ``vdslib.telemetry.validate`` and ``repair`` take.

    Arguments, ``attrs`` and errors are those of ``read``. A source that offers nothing rawer gives what it reads.
    """
    with speaking("address"):
        source, rest = _open(telemetry, columns, options)
        if source is None:
            frame = _telemetry.load(telemetry, columns, **options)
        else:
            frame = (source.load or source.read)(rest)
    return _described(frame, telemetry, source, [])


def files(telemetry: str | Path) -> list[Path] | None:
    """Files and folders that telemetry comes from; None where it is measured anew each time that it is read.

    A source that does not say otherwise reads the files that its address names, and measures where it names none.
    TelemetryError for an unknown source.
    """
    source, rest = _open(telemetry, None)
    return [Path(address(telemetry)[0])] if source is None else source.files(rest)


def examine(telemetry: str | Path) -> list[str]:
    """The notes on telemetry; TelemetryError where it does not fit. It is read for that, but for what takes its time to
    be measured: there the address alone is checked."""
    source, rest = _open(telemetry, None)
    notes = [] if source and source.check else list(read(telemetry).attrs["notes"])
    if source and source.check:
        source.check(rest)
    if source and source.files(rest) is None:
        notes.append(f"{telemetry} is measured anew by each run")
    return notes


def _open(
    telemetry: str | Path, columns: Mapping[str, str] | None, options: Mapping[str, str] | None = None
) -> tuple[Source | None, str]:
    """The source that ``telemetry`` names and what follows its name; None for a file."""
    match = _by_header(telemetry) if isinstance(telemetry, Path) else _find(telemetry)
    source, rest = match or (None, "")
    if source is not None and columns:
        raise TelemetryError(
            f"{telemetry}: a mapping of columns is for files; the source {source.name} has our names."
        )
    if source is not None and options:
        raise TelemetryError(
            f"{telemetry}: the option '{next(iter(options))}' is for files; the source {source.name} knows how its "
            "files are written. Leave it out."
        )
    return source, rest


def _described(
    frame: pd.DataFrame, telemetry: str | Path, source: Source | None, notes: list[str]
) -> pd.DataFrame:
    """The table with its ``attrs``, among them ``notes``; a required citation is printed on the first use."""
    notes = [*frame.attrs.get("notes", []), *notes]
    if source is None:
        kind = "recorded" if str(telemetry) == "recorded" else "file"
        frame.attrs.update(source=kind, citation="", notes=notes)
        if kind == "recorded":
            frame.attrs["rhythms"] = RECORDED
        return frame
    frame.attrs.update(origin=str(telemetry), source=source.name, citation=source.citation, notes=notes)
    frame.attrs["rhythms"] = source.rhythms
    cite(source.name)
    return frame


def cite(name: str) -> None:
    """Print what a source asks to be cited, if it does and this process has not yet."""
    source = SOURCES.get(name)
    if source.citation and name not in _cited:
        _cited.add(name)
        print(f"{source.title}. Please cite: {source.citation}")


def _uneven(frame: pd.DataFrame) -> list[str]:
    """A note where the times of a node jitter, since no window is laid across a step that differs clearly."""
    step = frame.groupby("node", sort=False)["timestamp"].diff()
    usual = step.groupby(frame["node"], sort=False).transform("median")
    uneven = int((((step - usual).abs() > JITTER * usual) & (step < GAP * usual)).sum())
    if uneven <= len(frame) / 1000:  # a few change nothing
        return []
    jitter = f"{uneven} of {int(step.notna().sum())} steps in time are uneven, and no window crosses them"
    return [
        f"{jitter}; vds import with --policy irregular grid --interval SECONDS moves the rows to even ones (each then knows a little of the next)"
    ]


def _find(text: str) -> tuple[Source, str] | None:
    """The source that ``text`` names, and what follows its name; None for a file."""
    if text == "recorded" or Path(text).exists():
        return _by_header(Path(text))
    known = {source.name: source for source in sources()}
    if text.startswith(("http://", "https://")):
        name, rest = "prometheus", text
    elif match := NAMED.fullmatch(text):
        name, rest = match[1], match[2]
    else:
        return None
    if name in known:
        return known[name], rest or ""
    near = difflib.get_close_matches(name.lower(), known, n=1)
    if rest is None and not near:  # a single word, more likely a file that is not there
        return None
    hint = f" Did you mean {known[near[0]].example}?" if near else ""
    raise TelemetryError(
        f"{text}: there is no source '{name}'.{hint} Sources are {', '.join(known)}; or give the path of a file, "
        "or 'recorded'."
    )


def _by_header(path: Path) -> tuple[Source, str] | None:
    """The source of whose format a .csv file is, if its first line says so."""
    if path.suffix != ".csv" or not path.is_file():
        return None
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = file.readline(1000)
    own = (source for source in sources() if source.header and first.startswith(source.header))
    return next(((source, str(path)) for source in own), None)


def default_target(telemetry: str | Path | pd.DataFrame) -> str:
    """The column to forecast unless told: of a table that ``read`` returned, or of what ``read`` takes."""
    frame = telemetry if isinstance(telemetry, pd.DataFrame) else read(telemetry)
    known = {source.name: source.default_target for source in sources()}
    declared = known.get(str(frame.attrs.get("source")), "")
    return declared if declared in frame else _telemetry.default_target(frame)
