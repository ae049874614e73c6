"""The badge of a run that was not made with the book's own parameters, and the report, which is no run."""

import json

import nbformat
import pytest
import stub_runs

from vdslib import files
from vdslib.errors import NotebookError
from vdslib.experiments import runs, scales

USUAL = {"epochs": 30, "units": [64, 32], "results_dir": ""}


def test_default_parameters_have_no_badge():
    assert scales.badge("stub", USUAL, USUAL | {"results_dir": "elsewhere"}) == ""


def test_the_badge_names_a_scale_or_lists_what_differs(tmp_path, monkeypatch):
    monkeypatch.setattr(scales, "FOLDER", tmp_path)
    (tmp_path / "smoke.yaml").write_text("stub: {epochs: 1, units: [4]}\nother: {}")
    assert ">Scale: smoke, not the default." in scales.badge("stub", USUAL, {"epochs": 1, "units": [4]})
    for chapter, given in (("stub", {"epochs": 1}), ("other", {"epochs": 1, "units": [4]})):
        text = scales.badge(chapter, USUAL, USUAL | given)
        assert "Scale" not in text and "epochs 1 (default 30)" in text
    assert "<b>" not in scales.badge("stub", {"name": "a"}, {"name": "<b>"})


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VDS_RESULTS", raising=False)
    path = stub_runs.write_notebook(tmp_path / "stub.ipynb")
    content = nbformat.read(path, 4)
    content.cells.insert(0, nbformat.v4.new_markdown_cell("# A title"))
    nbformat.write(content, path)
    return path


@pytest.mark.parametrize(("given", "badges"), [({}, 0), ({"number": 5}, 1), ({"fault": "error"}, 1)])
def test_an_executed_copy_has_the_badge_below_its_title_and_is_a_notebook_still(notebook, given, badges):
    run = runs.subject(notebook).run(given)
    runs.perform(run, "runs", "stub")
    copy = nbformat.read(f"runs/stub/{run.id}/notebook.ipynb", 4)
    nbformat.validate(copy)
    marked = [place for place, cell in enumerate(copy.cells) if "scale" in cell.metadata.get("tags", [])]
    assert len(marked) == badges
    if badges:
        (name,) = given
        assert "A title" in copy.cells[marked[0] - 1].source and f"{name} " in copy.cells[marked[0]].source
        page = exported(copy)
        assert page.index("A title") < page.index("alert alert-warning") < page.index("results_dir")


def exported(copy):
    from nbconvert import HTMLExporter

    return HTMLExporter().from_notebook_node(copy)[0].partition("<body")[2]


def test_the_committed_pages_have_no_badge():
    for path in (files.root() / "notebooks").glob("*.ipynb"):
        content = json.loads(path.read_text())
        assert scales.badge(path.stem, scales.defaults(content), scales.defaults(content)) == ""
        assert all("scale" not in cell["metadata"].get("tags", []) for cell in content["cells"])


def test_the_report_is_refused_as_a_run_since_its_id_would_not_follow_what_it_reads():
    with pytest.raises(NotebookError, match="reads other runs"):
        runs.subject(files.root() / "vdslib" / "experiments" / "report.ipynb")
