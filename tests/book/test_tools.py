"""The tools of the book: each can be imported, also those that no other test runs."""

import importlib

import pytest
import tables

from vdslib import files


@pytest.mark.parametrize("tool", sorted(path.stem for path in (files.root() / "book/tools").glob("*.py")))
def test_every_tool_can_be_imported(tool):
    if tool == "bench_torch":
        pytest.importorskip("torch", reason="only the benchmark sets up an environment with PyTorch")
    importlib.import_module(tool)


def test_every_committed_table_can_be_made_anew(capsys):
    assert tables.main([]) == 0 and tables.main(["nothing"]) == 2
    listed = capsys.readouterr().out
    made = {file for table in tables.TABLES.values() for file in table.files.split(", ")}
    kept = {path.name for path in (files.root() / "data").glob("*.[cj]s*")} - {
        "vds_data.csv",
        "vds_sealed.csv",
    }
    assert made == kept and all(f"\n{name}" in f"\n{listed}" for name in tables.TABLES)
