"""What a worker of a sweep does, which may be on another computer or in another folder than the sweep."""

import socket
from dataclasses import dataclass
from pathlib import Path

from vdslib.errors import NotebookError
from vdslib.experiments import runs


@dataclass(frozen=True)
class Origin:
    """Where a sweep was called, and where its runs go: ``sign`` is a folder there while it lasts, empty for an address."""

    folder: str
    sign: str
    out: str
    experiment: str


def near(run: runs.Run) -> list[str]:
    """Files that parameters of a run name by a path from the current folder on."""
    named, _ = runs.subject(run.notebook).files(run.parameters)
    return [name for name, there in named.items() if there and not Path(name).is_absolute()]


def perform(
    run: runs.Run, origin: Origin, relative: list[str], threads: int, executor: runs.Executor | None
) -> runs.Outcome:
    """Make a run on a worker; NotebookError where it works on another computer or folder, in which names mean else."""
    here = f"the worker on {socket.gethostname()} in {Path.cwd()}"
    if origin.sign and not Path(origin.sign).is_dir():
        raise NotebookError(
            f"{here} does not see {origin.out}: name a folder that it sees, or an address (--out s3://...)"
        )
    if relative and Path.cwd() != Path(origin.folder):
        raise NotebookError(
            f"{here} would not find what the sweep found in {origin.folder}: give {', '.join(relative)} with its whole path, "
            "or start the worker there"
        )
    return runs.perform(run, origin.out, origin.experiment, threads, executor)
