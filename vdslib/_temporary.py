"""Temporary folders of a process: short enough for sockets, whose paths are limited to about a hundred bytes, and told by
their names, so that what a killed process left is found and removed."""

import hashlib
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

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


def _computer() -> str:
    """This computer in eight letters, as its full name would not fit into the path of a socket."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def name(start: str) -> str:
    """A name for a folder of this process, which no other has."""
    return f"{start}~{_computer()}~{os.getpid()}~{uuid.uuid4().hex[:8]}"


def tidy(place: Path, start: str) -> None:
    """Remove the folders whose names begin so and whose processes, on this computer, are gone."""
    for folder in place.glob(f"{start}*~{_computer()}~*~*"):
        process = folder.name.split("~")[-2]
        if process.isdecimal() and not _lives(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _lives(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end(processes: list[psutil.Process]) -> None:
    """Kill processes with all that they started; one that is stopped first cannot start more meanwhile."""
    stopped: list[psutil.Process] = []
    try:
        while processes:
            stopped += processes
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.suspend()
            processes = [child for process in processes for child in _children(process)]
    finally:  # what is stopped must not stay so, even where a Ctrl-C comes just now
        for process in stopped:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children()
    except psutil.NoSuchProcess:
        return []
