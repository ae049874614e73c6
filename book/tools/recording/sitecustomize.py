"""Note what a kernel of the build, and every Python process that it starts, opens and lists in the project.

Python imports this module by itself where its folder is on PYTHONPATH, before anything of the project. It appends to
the file VDS_USED_LOG, in the form of `entry`. What C++ opens is not seen, unless whoever has it opened says so by
``sys.audit("open", path, "rb", os.O_RDONLY)``.
"""

from __future__ import annotations

import os
import sys
from importlib.util import source_from_cache
from typing import Any

WRITES = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
# these list the folders of sys.path to find modules, which the files they open tell better
FINDERS = ("importlib", "pkgutil", "pkg_resources", "zipimport")


def noted(event: str, arguments: tuple[Any, ...]) -> tuple[str, str] | None:
    """Kind and path of an event: ``r`` for a file read, ``w`` for one written, ``l`` for a folder listed; None for
    any other event."""
    if event == "open" and not isinstance(arguments[0], int):
        return ("w" if arguments[2] & WRITES else "r"), os.fsdecode(arguments[0])
    if event == "os.rename":
        return "w", os.fsdecode(arguments[1])
    if event in ("os.listdir", "os.scandir") and not isinstance(arguments[0], int):
        caller = sys._getframe(2).f_globals.get("__name__", "")
        return None if caller.startswith(FINDERS) else ("l", os.fsdecode(arguments[0] or "."))
    return None


def entry(kind: str, path: str, root: str) -> bytes:
    """``KIND TIME NAME`` and a zero byte: the time in ns when what is there last changed, 0 for nothing, and the path
    in the project; empty for what does not count: outside, hidden, or made by Python itself.

    A compiled module counts as its source.
    """
    if os.path.basename(os.path.dirname(path)) == "__pycache__":
        try:
            path = source_from_cache(path)
        except ValueError:  # a file in the making
            return b""
    bases = (os.path.abspath(root), os.path.realpath(root))
    for whole in (os.path.abspath(path), os.path.realpath(path)):
        for base in bases:
            if f"{whole}{os.sep}".startswith(f"{base.rstrip(os.sep)}{os.sep}"):
                name = os.path.relpath(whole, base)
                if name != os.curdir and any(part.startswith(".") for part in name.split(os.sep)):
                    return b""
                changed = os.stat(whole).st_ctime_ns if os.path.exists(whole) else 0
                return f"{kind} {changed} {name}\0".encode(errors="surrogateescape")
    return b""


def watch(root: str, log: str) -> None:
    """Note from now on, each once, what happens in the folder ``root``."""
    events = {"open", "os.rename", "os.listdir", "os.scandir"}
    seen = {("w", log)}

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in events:
            return
        try:
            what = noted(event, arguments)
            if what is None or (what in seen and os.path.isabs(what[1])):
                return
            seen.add(what)
            if text := entry(*what, root):
                with open(log, "ab") as file:
                    file.write(text)
        except Exception:  # noqa: BLE001  # an error in a hook would make the opening itself fail
            return

    sys.addaudithook(hook)


def make_way() -> None:
    """Import the module of this name that there would be without this one."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
    this = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # noqa: F401  # another one
    except ImportError:
        pass
    finally:
        sys.modules.setdefault("sitecustomize", this)


if "VDS_USED_LOG" in os.environ:
    watch(os.environ["VDS_USED_ROOT"], os.environ["VDS_USED_LOG"])
    make_way()
