"""Chapter 2.1 on real machines: counted anew where the traces can be had, the committed table where not."""

import runpy

import execution
import nbformat
import pandas as pd
import pooch
import pytest
from traces_at_hand import need_traces

from vdslib import files
from vdslib.chapters import damaged_files
from vdslib.errors import TelemetryError
from vdslib.figures import plots
from vdslib.sources import PINS, Pin, traces

COMMITTED = execution.ROOT / "data" / damaged_files.TABLE


def cells(word):
    """The chapter's code cells that have ``word`` in them."""
    notebook = nbformat.read(execution.ROOT / "notebooks" / "2-1-data-collection.ipynb", as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code" and word in cell.source]


def run(monkeypatch, tmp_path):
    """What the chapter shows, by its own cell: the badge's argument and the table."""
    badges = []
    monkeypatch.setattr(plots, "badge", badges.append)
    names = {"traces": traces, "plots": plots, "damaged_files": damaged_files, "pd": pd, "files": files}
    (cell,) = cells("damaged_files.outcomes()")
    (tmp_path / "cell.py").write_text(cell.source)
    return badges, runpy.run_path(str(tmp_path / "cell.py"), names)["counts"].reset_index()


def test_the_committed_table_is_what_the_traces_give():
    need_traces()
    pd.testing.assert_frame_equal(damaged_files.outcomes(), pd.read_csv(COMMITTED))


def test_the_committed_table_adds_up():
    table = pd.read_csv(COMMITTED)
    assert table["rows"].groupby(table["file"], sort=False).first().to_dict() == {
        "2013-7/400": 1937,
        "2013-9/41": 1951,
        "2013-8/54": 1438,
        "2013-8/204": 1724,
    }
    kept = table["rows"] - table["lost"] - table["replaced"] + table["interpolated"]
    assert (kept == table["remaining"]).all() and (table["crossing"] == 0).all()
    assert (table["windows"] < table["remaining"]).all()


def test_with_traces_the_chapter_counts(monkeypatch, tmp_path):
    need_traces()
    monkeypatch.setattr(pd, "read_csv", lambda *_: pytest.fail("the committed table was read"))
    badges, shown = run(monkeypatch, tmp_path)
    assert badges == [True] and len(shown) == len(damaged_files.FILES) * len(damaged_files.WAYS)


def test_without_traces_the_chapter_shows_the_committed_table_and_says_so(monkeypatch, tmp_path):
    monkeypatch.delenv("VDS_TRACES", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path)
    for name in damaged_files.FILES:
        monkeypatch.setitem(PINS, name, Pin("http://127.0.0.1:9/a.csv", "0" * 64))
    badges, shown = run(monkeypatch, tmp_path)
    assert badges == [False]
    pd.testing.assert_frame_equal(shown, pd.read_csv(COMMITTED))


def test_a_mirror_without_the_files_is_an_error_of_the_chapter(monkeypatch, tmp_path):
    monkeypatch.setenv("VDS_TRACES", str(tmp_path))
    with pytest.raises(TelemetryError, match=r"400\.csv: there is no such file in the mirror"):
        run(monkeypatch, tmp_path)


def test_the_committed_outputs_are_those_of_the_committed_table():
    (cell,) = cells("counts[measures]")
    table = pd.read_csv(COMMITTED).set_index(["file", "way"])
    shown = table.loc[:, "rows":"crossing"]
    assert cell.outputs[0].data["text/html"] == shown._repr_html_()


def test_traces_that_cannot_be_had_leave_nothing_on_stderr_of_a_kernel(monkeypatch, tmp_path):
    """A warning there would be an output that the committed chapter does not have."""
    monkeypatch.delenv("VDS_TRACES", raising=False)
    source = f"""from vdslib.sources import traces
from vdslib.sources import PINS, Pin
traces.cache = lambda: __import__("pathlib").Path({str(tmp_path)!r})
PINS["a"] = Pin("http://127.0.0.1:9/a.csv", "0" * 64)
print(traces.available("a"))"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbformat.write(notebook, tmp_path / "a.ipynb")
    (cell,) = execution.execute(tmp_path / "a.ipynb", "a", tmp_path).cells
    assert [(output.name, output.text) for output in cell.outputs] == [("stdout", "False\n")]
