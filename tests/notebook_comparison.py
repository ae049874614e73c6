"""Pytest plugin: how nbval compares the committed notebooks with a new run.

Text is compared exactly, numbers within it by value: integers exactly, all others to a relative tolerance of 1%. A
cell that needs more says so by a tag, and below 20% always: ``rtol=0.05`` for its floating-point numbers (errors of
trained models), ``counts=0.15`` for integers that come out of training. Nothing else is tolerated: a cell that was
never run, or that asks nbval to look away, fails.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import execution
import inputs
import nbval.kernel
import pytest
from jupyter_client.manager import KernelManager
from nbval.plugin import IPyNbCell

pytest_plugins = ["pytester"]
DEFAULT_TOLERANCE = 0.01
HIGHEST_TOLERANCE = 0.2  # a result that is 20% off has changed, whatever a tag says
# Digits inside of names (lstm_1, T05Z) are text. Thousands may have commas; a full stop belongs to the number where
# digits follow or, as numpy prints "[1. 0.]", a further number or a bracket.
NUMBER = re.compile(
    r"(?<![\w.])(?:(?<![\w)\]])[-+])?"
    r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+|\.(?=\s*[-\d\]]))?|\.\d+)"
    r"(?:[eE][-+]?\d+)?"
)
FORBIDDEN_TAGS = {"nbval-skip", "nbval-ignore-output", "raises-exception", "nbval-raises-exception"}
FORBIDDEN_COMMENTS = re.compile(r"#\s*(?:PYTEST_VALIDATE|NBVAL)_(?!CHECK_OUTPUT)\w+")
PICTURES = (
    "application/papermill.record/image/png",
    "image/svg+xml",
    "application/papermill.record/image/svg+xml",
)
socket_numbers = itertools.count()


class Output(str):
    """Text of one output that equals another where the words are the same and the numbers are close."""

    rtol = DEFAULT_TOLERANCE
    counts = 0.0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str):
            return NotImplemented
        words, numbers = split(self)
        other_words, other_numbers = split(other)
        return words == other_words and all(map(self._close, numbers, other_numbers))

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def _close(self, one: str, two: str) -> bool:
        whole = _is_whole(one) and _is_whole(two)
        return math.isclose(
            _value(one), _value(two), rel_tol=self.counts if whole else self.rtol, abs_tol=1e-12
        )


def _is_whole(number: str) -> bool:
    return not re.search(r"[.eE]", number)


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def split(text: str) -> tuple[str, list[str]]:
    """A text with its numbers masked and the padding that depends on their width taken out, and the numbers."""
    masked = re.sub(r"[ \t]+|(?<=-)-+", "", NUMBER.sub("\0", text))
    return masked, NUMBER.findall(text)


def tolerance(tags: list[str], name: str, otherwise: float) -> float:
    """What a cell's tag ``name=value`` allows."""
    for tag in tags:
        if tag.startswith(f"{name}="):
            value = float(tag.removeprefix(f"{name}="))
            if not 0 <= value < HIGHEST_TOLERANCE:
                raise ValueError(f"tag {tag}: a tolerance must be below {HIGHEST_TOLERANCE}")
            return value
    return otherwise


def comparable(value: Any, tags: list[str]) -> Output:
    """One output's content in the form that compares with tolerance; JSON becomes text first."""
    output = Output(value if isinstance(value, str) else json.dumps(value, sort_keys=True))
    output.rtol = tolerance(tags, "rtol", DEFAULT_TOLERANCE)
    output.counts = tolerance(tags, "counts", 0.0)
    return output


def prepare(cell: IPyNbCell) -> IPyNbCell:
    """Let a cell compare with tolerance; pictures are compared by the data printed with them."""
    cell.parent.skip_compare = tuple({*cell.parent.skip_compare, *PICTURES})
    cell.sanitize = lambda value: comparable(value, cell.cell.metadata.get("tags", []))
    return cell


def refusal(cell: Any) -> str:
    """Why a committed code cell cannot be compared; empty where it can."""
    tags = set(cell.metadata.get("tags", []))
    if tags & FORBIDDEN_TAGS or FORBIDDEN_COMMENTS.search(cell.source):
        return "the cell asks not to be compared"
    if cell.execution_count is None:
        return "the cell was never run, or its outputs were cleared: run make notebooks"
    return ""


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


def pytest_configure() -> None:
    nbval.kernel.KernelManager = IpcKernelManager


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail, where nbval would pass without a word."""
    if isinstance(item, IPyNbCell) and (why := refusal(item.cell)):
        item.raise_cell_error(why)
