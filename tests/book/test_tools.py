"""The tools of the book: each can be imported, also those that no other test runs."""

import importlib

import pytest

from vdslib import files


@pytest.mark.parametrize("tool", sorted(path.stem for path in (files.root() / "book/tools").glob("*.py")))
def test_every_tool_can_be_imported(tool):
    if tool == "bench_torch":
        pytest.importorskip("torch", reason="only the benchmark sets up an environment with PyTorch")
    importlib.import_module(tool)
