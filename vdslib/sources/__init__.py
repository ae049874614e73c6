"""Sources of telemetry: one adapter per origin, each registered under a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

__all__ = ["Source", "register", "sources"]

Reader = Callable[[str], pd.DataFrame]


@dataclass(frozen=True)
class Source:
    """An origin of telemetry: its name, what it is, the function that reads it, and what to cite."""

    name: str
    title: str
    read: Reader
    default_target: str
    citation: str
    terms: str


_SOURCES: dict[str, Source] = {}


def register(
    name: str, *, title: str, default_target: str, citation: str = "", terms: str = ""
) -> Callable[[Reader], Reader]:
    """Decorator: registers a function that reads what follows ``name:`` into canonical telemetry."""

    def add(read: Reader) -> Reader:
        _SOURCES[name] = Source(name, title, read, default_target, citation, terms)
        return read

    return add


def sources() -> list[Source]:
    """All registered sources, by name."""
    return [_SOURCES[name] for name in sorted(_SOURCES)]


from vdslib.sources import events, host, prometheus  # noqa: F401  # they register themselves
