"""Names and what they stand for: sources, forecasters and networks, ours and a reader's own, register alike."""

import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from vdslib.errors import RegistryError

__all__ = ["KINDS", "Registry", "variable"]

KINDS = ("source", "forecaster", "network")

Kept = TypeVar("Kept")


def variable(kind: str) -> str:
    """The environment variable that names Python files with a reader's own: ``VDS_SOURCES`` for kind "source".

    The files are separated like the folders of PATH; each is imported once, when a name is first asked for.
    """
    return f"VDS_{kind.upper()}S"


class Registry(Generic[Kept]):
    """What is registered of one kind, by name.

    ``modules`` of vdslib register when they are imported; that is done when somebody first asks, since they import the
    registry themselves.
    """

    def __init__(self, kind: str, modules: Sequence[str] = ()) -> None:
        self.kind, self.modules = kind, modules
        self._kept: dict[str, tuple[str, Kept]] = {}  # the module that registered it, and it

    def add(self, name: str, what: Kept, holder: str) -> None:
        """Register ``what`` of the module ``holder``. The same module may do so again, as a notebook's cell that runs
        twice does; a name that another module holds is a RegistryError."""
        held, _ = self._kept.get(name, (holder, what))
        if held != holder:
            raise RegistryError(
                f"the {self.kind} {name!r} is registered by {held} already: take another name"
            )
        self._kept[name] = holder, what

    def register(self, name: str) -> Callable[[Kept], Kept]:
        """Decorator: a function or class joins under ``name``."""

        def keep(what: Kept) -> Kept:
            self.add(name, what, what.__module__)
            return what

        return keep

    def get(self, name: str) -> Kept:
        """What is registered under ``name``; RegistryError, with the nearest name and all of them, where nothing is."""
        names = self.names()
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise RegistryError(f"there is no {self.kind} {name!r}.{hint} Known are {', '.join(names)}.")
        return self._kept[name][1]

    def names(self) -> list[str]:
        """All names, ours first, each group in the order in which it was registered."""
        for module in self.modules:
            importlib.import_module(module)
        for file in filter(None, os.environ.get(variable(self.kind), "").split(os.pathsep)):
            _import_file(Path(file).resolve(), variable(self.kind))
        return sorted(self._kept, key=lambda name: not self._kept[name][0].startswith("vdslib."))


def _import_file(path: Path, named_by: str) -> None:
    name = f"vds_own {path}"  # two files in different folders may share their last name
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise RegistryError(
            f"{path}: no Python file, though {named_by} names it. Correct the variable or unset it."
        )
    sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(sys.modules[name])
    except BaseException:
        del sys.modules[name]
        raise
