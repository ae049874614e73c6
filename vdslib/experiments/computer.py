"""What this process runs on, as each run keeps it."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import joblib


@functools.cache
def describe(project: Path) -> dict[str, Any]:
    """Versions, platform, processor, cores and commit, none of which changes while a process lives."""
    versions = {found.name: found.version for found in importlib.metadata.distributions()}
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
    if information.is_file() and (found := re.search(r"model name\s*:\s*(.*)", information.read_text())):
        return found[1]
    return platform.processor() or platform.machine()


def _git(project: Path, *arguments: str) -> str:
    """What git says about the project's folder; empty where it is not under git."""
    command = ["git", "-C", str(project), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
