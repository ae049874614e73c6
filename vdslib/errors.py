"""Errors that a reader can act on: each message says what is wrong and what to do. The command shows no traceback.
And notices, of what does not stop anything but should be known."""

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "LeakError",
    "NotebookError",
    "Notice",
    "ParameterError",
    "RecordError",
    "RegistryError",
    "TelemetryError",
    "TestbedError",
    "VDSError",
    "Way",
    "family",
    "notice",
]


class VDSError(Exception):
    """The family: whatever stops with one of these shows its message and nothing else."""


@dataclass(frozen=True)
class Way:
    """A way out that is only told once it was tried on the file: ``text`` with {} for the ``option`` as it is
    stated, and the option's ``value``."""

    text: str
    option: str
    value: str


class TelemetryError(VDSError, ValueError):
    """Telemetry that cannot be used. The message names file, column, row and what to do about it.

    ``ways`` are remedies that whoever reads the file may try and then tell in place of ``remedy``, with which the
    message ends; ``blamed`` is the option of reading that the fault comes from, where it comes from one.
    """

    def __init__(self, message: str, ways: Sequence[Way] = (), blamed: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.ways, self.blamed, self.remedy = tuple(ways), blamed, remedy


class LeakError(VDSError, ValueError):
    """Something was asked for that would leak, without naming the leak."""


class ParameterError(VDSError, ValueError):
    """A parameter that the notebook does not have, or a value that it cannot take."""


class NotebookError(VDSError, RuntimeError):
    """A notebook that cannot be found, has no parameters cell, or failed while it ran."""


class RecordError(VDSError, OSError):
    """A recording that cannot be made, or not written where it should be."""


class RegistryError(VDSError, ValueError):
    """A name that nothing is registered under, that is taken, or a file of a reader's own that is not there."""


class TestbedError(VDSError, RuntimeError):
    """A node of the testbed did not start or stopped answering; the message says which, and what to do."""

    __test__ = False  # its name does not make it a test


def family(parent: type[VDSError] = VDSError) -> set[str]:
    """Names of the family, by which an error of a notebook's kernel is known."""
    return {parent.__name__}.union(*(family(child) for child in parent.__subclasses__()))


class Notice(UserWarning):
    """What a reader should know of data or results, though nothing stops for it."""


def notice(text: str) -> None:
    """Warn whoever called into ``vdslib``, at the line of the call."""
    level, frame = 1, sys._getframe(0)
    while frame.f_back and frame.f_globals["__name__"].partition(".")[0] == __package__:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, Notice, stacklevel=level)
