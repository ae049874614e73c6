"""Where the sockets of kernels and workers can be, as their paths are limited to about a hundred bytes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOM = 50  # bytes that a folder's path leaves for what is in it: a socket's path has 103 on some systems


def short_folder() -> Path:
    """The folder for what is temporary, or ``/tmp`` where the path of that one is too long for sockets in it."""
    usual = Path(tempfile.gettempdir())
    return usual if len(os.fsencode(usual)) <= ROOM else Path("/tmp")


@contextmanager
def in_short_folder() -> Iterator[None]:
    """What makes a temporary file or folder within, as multiprocessing does for its sockets, makes it where they can be."""
    before = tempfile.tempdir
    tempfile.tempdir = str(short_folder())
    try:
        yield
    finally:
        tempfile.tempdir = before
