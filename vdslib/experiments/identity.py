"""What a result depends on, as SHA-256 of contents: one identity for the executed copies of the build and for runs.

The build records what a notebook really opened and compares that alone (``book/tools/inputs.py``). A run has its id
before it starts, so that everything counts that it may open: ``of_project``, ``own_code`` and ``modules_beside``.
"""

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import joblib

from vdslib.registry import KINDS, variable

LOCK = "requirements.lock"
OWN = tuple(variable(kind) for kind in KINDS)  # variables that name Python files of a reader's own
PROJECT = ("vdslib", "data", "book/studies", "book/scales")  # what a notebook may read of the project
RECENT = 2.0  # seconds after a change in which one more may leave the same time of change


def digest(*parts: str | bytes) -> str:
    """SHA-256 of parts of text or bytes, kept apart from each other."""
    total = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        total.update(len(content).to_bytes(8, "big") + content)
    return total.hexdigest()


def of_file(path: Path) -> str:
    """SHA-256 of a file, as ``sha256sum`` prints it; empty where there is none. A file that did not change is read
    once in a process."""
    try:
        status = path.stat()
    except OSError:
        return ""
    if not path.is_file():
        return ""
    if abs(time.time() - status.st_ctime) < RECENT:
        return _sha256(path)
    # the time of change cannot be set by hand, unlike that of modification
    state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return _of_state(path.absolute(), state)


@functools.lru_cache(maxsize=100_000)
def _of_state(path: Path, state: tuple[int, ...]) -> str:
    return _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_files(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of each file by its path, and of all files in each folder; empty where a path leads nowhere."""
    digests = {}
    for path in paths:
        for file in _within(path) if path.is_dir() else [path]:
            digests[file.as_posix()] = of_file(file)
    return digests


def _within(folder: Path) -> Iterator[Path]:
    """Files in a folder and below, but for what Python and editors leave there."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and "__pycache__" not in parts and not any(part.startswith(".") for part in parts):
            yield path


def names_in(folder: Path) -> list[str]:
    """Names in a folder, but for hidden ones and Python's own; none where there is no folder."""
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(name for name in names if name != "__pycache__" and not name.startswith("."))


def of_prose_and_code(path: Path) -> str:
    """Fingerprint of a notebook without its outputs; empty where there is none, of all of it where it is not whole."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        kept = [[cell["cell_type"], cell["metadata"], "".join(cell["source"])] for cell in cells]
    except (OSError, ValueError, KeyError, TypeError):
        return of_file(path)
    return digest(json.dumps(kept))


def code_cells(notebook: dict[str, Any]) -> list[str]:
    """Sources of the code cells of a notebook read as JSON or by nbformat."""
    sources = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [source if isinstance(source, str) else "".join(source) for source in sources]


def read_code(path: Path) -> list[str]:
    """Sources of the code cells of a notebook file."""
    return code_cells(json.loads(path.read_text(encoding="utf-8")))


def environment(root: Path) -> str:
    """Fingerprint of the locked packages, of Python, and of starting weights that are moved (``vdslib.networks.models``)."""
    moved = os.environ.get("VDS_MOVED_WEIGHTS")
    return digest(
        of_file(root / LOCK), "{}.{}.{}".format(*sys.version_info), *([f"moved {moved}"] if moved else [])
    )


def of_project(root: Path) -> dict[str, str]:
    """SHA-256 of everything in the project that a notebook may read, by path in it: package, data, plans, scales."""
    digests = of_files(root / name for name in PROJECT if (root / name).is_dir())
    return {Path(name).relative_to(root).as_posix(): value for name, value in digests.items()}


def own_code() -> dict[str, str]:
    """SHA-256 of the Python files of a reader's own that variables name (``vdslib.registry``), by variable and path."""
    return {
        f"{variable} {file}": of_file(Path(file))
        for variable in OWN
        for file in filter(None, os.environ.get(variable, "").split(os.pathsep))
    }


def modules_beside(*folders: Path) -> list[str]:
    """Name and SHA-256 of the modules and packages that a kernel can import because they are in these folders."""
    digests = []
    for folder in dict.fromkeys(path.resolve() for path in folders):
        # not all that is below: a folder of work may hold much that is no package
        packages = [path.parent for path in folder.glob("*/__init__.py")]
        files = [*folder.glob("*.py"), *(file for package in packages for file in package.rglob("*.py"))]
        digests += [f"{file.relative_to(folder).as_posix()} {of_file(file)}" for file in sorted(files)]
    return digests


@functools.cache
def computer(project: Path) -> dict[str, Any]:
    """What this process runs on, as each run keeps it: versions, platform, processor, cores and commit, none of which changes while a process lives."""
    versions = {package.name: package.version for package in importlib.metadata.distributions()}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": joblib.cpu_count(),
        "commit": _git(project, "rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git(project, "status", "--porcelain", "--untracked-files=no")),
        "packages": dict(sorted(versions.items())),
    }


def _processor() -> str:
    """The name of the processor."""
    information = Path("/proc/cpuinfo")
    if information.is_file() and (match := re.search(r"model name\s*:\s*(.*)", information.read_text())):
        return match[1]
    return platform.processor() or platform.machine()


def _git(project: Path, *arguments: str) -> str:
    """What git says about the project's folder; empty where it is not under git."""
    command = ["git", "-C", str(project), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
