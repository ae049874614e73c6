"""The error of telemetry, and the ways out that it may offer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["TelemetryError", "Way"]


@dataclass(frozen=True)
class Way:
    """A way out that is only told once it was tried on the file: ``text`` with {} for the ``option`` as it is
    stated, and the option's ``value``."""

    text: str
    option: str
    value: str


class TelemetryError(ValueError):
    """Telemetry that cannot be used. The message names file, column, row and what to do about it.

    ``ways`` are remedies that whoever reads the file may try and then tell in place of ``remedy``, with which the
    message ends; ``blamed`` is the option of reading that the fault comes from, where it comes from one.
    """

    def __init__(self, message: str, ways: Sequence[Way] = (), blamed: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.ways, self.blamed, self.remedy = tuple(ways), blamed, remedy
