"""Pytest plugin: how the committed notebooks are compared with a new run.

What counts as equal stands in book/tools/comparison.py. nbval runs each notebook in a kernel of its own, unless `make
book` has just run it: then the outputs of its executed copy are compared, provided that nothing the notebook depends on
has changed since. Nothing is left out: a cell that was never run, or that asks nbval to look away, fails.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import build
import comparison
import execution
import inputs
import nbformat
import nbval.kernel
import pytest
from jupyter_client.manager import KernelManager
from nbval.plugin import IPyNbCell, IPyNbFile, coalesce_streams

pytest_plugins = ["pytester"]
FORBIDDEN_TAGS = {"nbval-skip", "nbval-ignore-output", "raises-exception", "nbval-raises-exception"}
FORBIDDEN_COMMENTS = re.compile(r"#\s*(?:PYTEST_VALIDATE|NBVAL)_(?!CHECK_OUTPUT)\w+")
socket_numbers = itertools.count()
tolerances_key = pytest.StashKey[dict[tuple[str, str], comparison.Tolerances]]()


def prepare(cell: IPyNbCell) -> IPyNbCell:
    """Let a cell compare its outputs as `comparison` does."""
    measured = cell.config.stash[tolerances_key]
    tolerances = measured.get((cell.parent.path.stem, cell.cell.get("id", "")), {})

    def compare(new: list[Any], old: list[Any], skip_compare: object = None) -> bool:
        changes = comparison.differences(coalesce_streams(old), coalesce_streams(new), tolerances)
        cell.comparison_traceback = [str(change) for change in changes]
        return not changes

    cell.compare_outputs = compare
    return cell


def refusal(cell: Any) -> str:
    """Why a committed code cell cannot be compared; empty where it can."""
    tags = set(cell.metadata.get("tags", []))
    if tags & FORBIDDEN_TAGS or FORBIDDEN_COMMENTS.search(cell.source):
        return "the cell asks not to be compared"
    if cell.execution_count is None:
        return "the cell was never run, or its outputs were cleared: run make notebooks"
    return ""


class CopiedCell(IPyNbCell):
    """A cell that has just been run by the build: compared with its executed copy, in no kernel."""

    def setup(self) -> None:
        """There is no kernel to wait for."""

    def runtest(self) -> None:
        """Compare the outputs of the copy with the committed ones."""
        if not self.compare_outputs(self.parent.copied[self.cell_num], self.cell.outputs):
            self.raise_cell_error("Cell outputs differ", "\n".join(self.comparison_traceback))


class CopiedNotebook(IPyNbFile):
    """A notebook whose executed copy is up to date."""

    def setup(self) -> None:
        """No kernel is needed."""

    def collect(self) -> Any:
        """One item for each code cell."""
        copy = nbformat.read(build.executed_copy(execution.ROOT, self.path), as_version=4)
        self.copied = [cell.outputs for cell in build.code(copy)]
        for cell in super().collect():
            yield CopiedCell.from_parent(
                self, name=cell.name, cell_num=cell.cell_num, cell=cell.cell, options=cell.options
            )


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Any:
    """A notebook that the build has just run is not run again."""
    collectors = yield
    ours = file_path.parent == execution.ROOT / "notebooks" and file_path.suffix == ".ipynb"
    if ours and not build.reasons(execution.ROOT, file_path):
        return [CopiedNotebook.from_parent(parent, path=file_path)]
    return collectors


class IpcKernelManager(KernelManager):
    """nbval's kernels talk over IPC sockets as those of the build do."""

    def __init__(self, **settings: Any) -> None:
        folder = os.environ["VDS_SOCKETS"]
        super().__init__(transport="ipc", ip=f"{folder}/kernel{next(socket_numbers)}", **settings)


for_the_session = contextlib.ExitStack()


def pytest_sessionstart() -> None:
    """Results of the notebooks of this run go into a folder of their own, empty at the start."""
    results = for_the_session.enter_context(tempfile.TemporaryDirectory(prefix="vds-"))
    os.environ["VDS_SOCKETS"] = str(for_the_session.enter_context(execution.kernel_folder(Path(results))))


def pytest_sessionfinish() -> None:
    """Remove that folder, and the one of the sockets."""
    for_the_session.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Notebooks last and in the order of the build: those that read results after those that record them."""
    order = {path: place for place, path in enumerate(inputs.notebooks(execution.ROOT), start=1)}
    items.sort(key=lambda item: order.get(item.path, 1) if isinstance(item, IPyNbCell) else 0)
    for item in items:
        if isinstance(item, IPyNbCell):
            prepare(item)


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the project."""
    return execution.ROOT


def pytest_configure(config: pytest.Config) -> None:
    """Our kernels in place of nbval's, and the tolerances of the project that is tested."""
    config.stash[tolerances_key] = comparison.read_tolerances(config.rootpath)
    nbval.kernel.KernelManager = IpcKernelManager


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail, where nbval would pass without a word."""
    if isinstance(item, IPyNbCell) and (why := refusal(item.cell)):
        item.raise_cell_error(why)
