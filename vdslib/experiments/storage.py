"""Where runs are kept: a folder, or an address that fsspec knows, in which a run is there whole or not at all."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from vdslib import _temporary
from vdslib.errors import NotebookError, ParameterError

DONE, FAILED = "run.json", "failed.json"  # either one, written last, makes a folder a run


class Place:
    """Where the runs of one experiment are kept: a folder, or an address that fsspec knows (``s3://...``)."""

    def __init__(self, out: str | Path, experiment: str) -> None:
        if not re.fullmatch(r"[\w][\w.-]*", experiment):
            raise ParameterError(
                f"{experiment!r} cannot name an experiment: take letters, digits, dot, dash and underscore"
            )
        self.out, self.experiment = str(out), experiment
        if not self.out.strip():
            raise ParameterError("runs need a folder or an address to be kept in; for this folder it is .")
        try:
            self.files, root = fsspec.core.url_to_fs(self.out)
        except (ValueError, ImportError) as error:  # an unknown protocol, or its package is missing
            raise ParameterError(f"cannot keep runs in {out}: {error}") from None
        self.local = isinstance(self.files, LocalFileSystem)
        self.path = f"{root.rstrip('/')}/{experiment}"
        # means the same in any folder
        self.address = root if self.local else self.out

    def folder(self, name: str) -> str:
        """The folder of a run."""
        return f"{self.path}/{name}"

    def shown(self, name: str) -> str:
        """The folder of a run as its user would write it."""
        return f"{self.out.rstrip('/')}/{self.experiment}/{name}"

    def ids(self, marker: str = DONE) -> set[str]:
        """Runs that are done (or that failed, by the other marker)."""
        return set(self.read(marker))

    def has(self, name: str) -> bool:
        """Whether a run is done."""
        return bool(self.read(DONE, name))

    def read(self, file: str, name: str = "[!.]*") -> dict[str, Any]:
        """Content of one JSON file of every run (or of one) that has it, by id; a file that is not whole counts as
        absent."""
        contents = {}
        for run, text in self._texts(f"{name}/{file}"):
            # what a computer wrote just before it lost its power may be cut off
            with suppress(ValueError):
                contents[run] = json.loads(text)
        return contents

    def _texts(self, pattern: str) -> Iterator[tuple[str, bytes]]:
        """The id and the text of the files of a pattern; folders in the making begin with a dot."""
        if self.local:
            for path in sorted(Path(self.path).glob(pattern)):
                yield path.parent.name, path.read_bytes()
            return
        self.files.invalidate_cache()
        paths = self.files.glob(f"{self.path}/{pattern}")
        for path, text in sorted(self.files.cat(paths).items() if paths else ()):
            yield path.split("/")[-2], text

    @contextmanager
    def workshop(self, name: str) -> Iterator[Path]:
        """A folder to prepare a run in, gone afterwards unless it was published."""
        if self.local:
            # beside its last place, so that one renaming publishes it
            folder = Path(self.path) / _temporary.name(f".{name}")
        else:
            folder = Path(tempfile.gettempdir()) / _temporary.name("vds-run")
        try:
            folder.mkdir(parents=True, mode=0o700)
        except OSError as error:
            raise NotebookError(f"cannot keep runs in {self.out}: {error.strerror}") from None
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, folder: Path, name: str) -> None:
        """Put a prepared folder in its place, whole or not at all; what was there before is replaced."""
        target = self.folder(name)
        if self.local:
            for path in folder.rglob("*"):
                _onto_disc(path)
            _replace(Path(target), folder, aside=Path(self.path) / _temporary.name(f".{name}"))
            return
        if self.files.exists(target):
            self.files.rm(target, recursive=True)
        files = sorted(
            (path for path in folder.rglob("*") if path.is_file()),
            key=lambda path: path.name in (DONE, FAILED),  # last: only then it counts
        )
        for path in files:
            address = f"{target}/{path.relative_to(folder).as_posix()}"
            self.files.makedirs(address.rpartition("/")[0], exist_ok=True)
            self.files.put_file(str(path), address)

    def tidy(self) -> None:
        """Remove what killed runs of this computer left behind."""
        if self.local:
            _temporary.tidy(Path(self.path), ".")
        for temporary in {Path(tempfile.gettempdir()), _temporary.short_folder()}:
            _temporary.tidy(temporary, "vds-")


def _onto_disc(path: Path) -> None:
    """Have what was written outlast a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(target: Path, folder: Path, aside: Path) -> None:
    """Move a folder to ``target``; what is there, or what another sweep puts there meanwhile, is removed."""
    while True:
        try:
            os.rename(folder, target)
            break
        except OSError:
            if not target.exists():
                raise
        with suppress(FileNotFoundError):
            os.rename(target, aside)
            shutil.rmtree(aside)
