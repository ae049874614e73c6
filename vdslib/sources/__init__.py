"""Where telemetry comes from: every origin is a source with a name, and all yield the canonical table.

`read` takes what a notebook's parameter ``telemetry`` or the command line may hold: "recorded", the path of a file,
the name of a source with what it shall read (``bitbrains:2013-8/332``), or the address of a Prometheus server.
A source joins by `register`; columns that it cannot measure are absent, never filled with zeros.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vdslib import telemetry as _telemetry
from vdslib.telemetry import TelemetryError

__all__ = ["Source", "default_target", "import_own", "read", "register", "sources"]

# The modules that register a source each. They are imported when one is asked for, since they import from here.
ADAPTERS = tuple(
    f"vdslib.sources.{name}"
    for name in ("bitbrains", "cloudwatch", "datacentres", "events", "host", "prometheus")
)
# one letter before a colon is a drive of Windows
NAMED = re.compile(r"([A-Za-z][\w.-]+)(?::(.*))?", re.DOTALL)

OWN = "VDS_SOURCES"  # this variable names Python files with sources of a user's own

_registered: dict[str, Source] = {}
_cited: set[str] = set()


@dataclass(frozen=True)
class Source:
    """One origin of telemetry.

    ``read`` gets what follows ``name:`` and returns canonical telemetry, sorted by node and time. ``default_target``
    is the column to forecast unless told; empty where it differs from table to table. ``citation`` is what whoever
    uses the data must cite, ``terms`` what they allow; ``example`` is a value for the parameter ``telemetry``.
    """

    name: str
    title: str
    read: Callable[[str], pd.DataFrame]
    default_target: str
    citation: str = ""
    terms: str = ""
    example: str = ""


def register(
    name: str, *, title: str, default_target: str = "", citation: str = "", terms: str = "", example: str = ""
) -> Callable[[Callable[[str], pd.DataFrame]], Callable[[str], pd.DataFrame]]:
    """Decorator: make a function ``read(rest: str) -> DataFrame`` the source ``name``, as `Source` describes it.

    A name that another module holds already is a ValueError; the same module may register again, as a notebook's
    cell that runs twice does.
    """
    if not NAMED.fullmatch(name) or ":" in name or name == "recorded":
        raise ValueError(f"{name!r} cannot name a source: take letters, digits, dot, dash and underscore")

    def add(function: Callable[[str], pd.DataFrame]) -> Callable[[str], pd.DataFrame]:
        holder = _registered[name].read.__module__ if name in _registered else function.__module__
        if holder != function.__module__:
            raise ValueError(f"the source {name!r} is registered by {holder} already: take another name")
        _registered[name] = Source(
            name, title, function, default_target, citation, terms, example or f"{name}:"
        )
        return function

    return add


def sources() -> list[Source]:
    """All registered sources, by name: ours, those of this program, and those in the files that the variable
    VDS_SOURCES names (separated like the folders of PATH)."""
    for module in ADAPTERS:
        importlib.import_module(module)
    import_own(OWN)
    return [_registered[name] for name in sorted(_registered)]


def import_own(variable: str) -> None:
    """Import the Python files that an environment variable names, each once. TelemetryError if one is not there."""
    for file in filter(None, os.environ.get(variable, "").split(os.pathsep)):
        _import_file(Path(file).resolve(), variable)


def _import_file(path: Path, variable: str) -> None:
    name = f"vds_own {path}"  # two files in different folders may share their last name
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise TelemetryError(
            f"{path}: no Python file, though {variable} names it. Correct the variable or unset it."
        )
    sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(sys.modules[name])
    except BaseException:
        del sys.modules[name]
        raise


def read(telemetry: str | Path, columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Read and check telemetry: "recorded", a file (.csv, .csv.gz, .parquet), ``NAME:REST`` of a registered source,
    or an http(s) address (Prometheus).

    ``columns`` is for files: our names, each with the column of the file (see `vdslib.telemetry.read`). Returns the
    canonical table sorted by node and time, checked and typed. ``attrs`` has "origin" (for messages), "source" (its
    name), "citation", and "notes", a list of what the source had to leave out or assume. A required citation is
    printed on the first use. Raises TelemetryError: for an unknown source with the nearest name and the list.
    """
    text = str(telemetry)
    found = None if isinstance(telemetry, Path) else _find(text)
    if found is None:
        frame = _telemetry.read(telemetry, columns)
        frame.attrs.update(source="recorded" if text == "recorded" else "file", citation="", notes=[])
        return frame
    source, rest = found
    if columns:
        raise TelemetryError(
            f"{text}: a mapping of columns is for files; the source {source.name} has our names."
        )
    raw = source.read(rest)
    frame = _telemetry.check(raw, origin=text)
    frame.attrs.update(
        origin=text, source=source.name, citation=source.citation, notes=list(raw.attrs.get("notes", []))
    )
    if source.citation and source.name not in _cited:
        _cited.add(source.name)
        print(f"{source.title}. Please cite: {source.citation}")
    return frame


def _find(text: str) -> tuple[Source, str] | None:
    """The source that ``text`` names, and what follows its name; None for a file."""
    if text == "recorded" or Path(text).exists():
        return None
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


def default_target(telemetry: str | Path | pd.DataFrame) -> str:
    """The column to forecast unless told: of a table that `read` returned, or of what `read` takes."""
    frame = telemetry if isinstance(telemetry, pd.DataFrame) else read(telemetry)
    known = {source.name: source.default_target for source in sources()}
    declared = known.get(str(frame.attrs.get("source")), "")
    return declared if declared in frame else _telemetry.default_target(frame)
