"""Parameters of notebooks, checked runs, and results handed from chapter to chapter."""

import math
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from vdslib import experiments, files
from vdslib.errors import NotebookError, ParameterError
from vdslib.experiments import Parameter, handing, notebooks

CELL = """\
telemetry: str = "recorded"  # telemetry: "recorded" or a file
rows: int = 10  # rows to use [1 ..]
share: float = 0.2  # share kept for the test [0.05 .. 0.5]
units: list = [64, 32]  # hidden units of each layer [1 .. 512]
features: list[str] = [
    "cpu_usage",
    "memory_usage",
]  # columns to learn from
network: str = "figure"  # network to build [printed | figure | textbook]  # fmt: skip
momentum: float | None = None  # momentum; None for the optimiser's own [0 .. 1]
quick: bool = False  # leave out the long parts
"""


def write_notebook(path, *sources, cell=CELL):
    """A notebook with a parameters cell and the given code cells."""
    first = nbformat.v4.new_code_cell(cell, metadata={"tags": ["parameters"]})
    cells = [first, *(nbformat.v4.new_code_cell(source) for source in sources)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.fixture
def notebook(tmp_path):
    return write_notebook(tmp_path / "sample.ipynb")


def test_parameters_are_read_with_type_default_meaning_and_limits(notebook):
    declared = {parameter.name: parameter for parameter in notebooks.parameters(notebook)}
    assert list(declared) == [
        "telemetry",
        "rows",
        "share",
        "units",
        "features",
        "network",
        "momentum",
        "quick",
    ]
    assert declared["share"] == Parameter("share", "float", 0.2, "share kept for the test", (), 0.05, 0.5)
    assert declared["rows"].low == 1 and declared["rows"].high is None
    assert declared["network"].choices == ("printed", "figure", "textbook")
    assert declared["features"].default == ["cpu_usage", "memory_usage"]
    assert declared["features"].meaning == "columns to learn from"


@pytest.mark.parametrize(
    "form",
    [
        "sections 2..3",
        "2 .. 3 .. 4",
        "..",
        " .. ",
        "a .. b",
        "3 .. 2",
        "nan ..",
        "|",
        "a |",
        "| b",
        "",
        "a file",
    ],
)
def test_a_comment_that_ends_in_no_agreed_form_is_a_comment(form):
    (found,) = notebooks.parse(f"number: int = 1  # of the paper [{form}]\n")
    assert found == Parameter("number", "int", 1, f"of the paper [{form}]")
    assert notebooks.coerce(found, "7") == 7
    assert f"of the paper [{form}]; default 1" in notebooks.describe([found])[0]


@pytest.mark.parametrize(
    ("form", "low", "high"),
    [("2 .. 3", 2, 3), ("2..3", 2, 3), ("2 ..", 2, None), (".. -1e-3", None, -0.001), ("1 .. 1", 1, 1)],
)
def test_a_range_may_be_written_close_and_left_open(form, low, high):
    (found,) = notebooks.parse(f"number: int = 1  # of the paper [{form}]\n")
    assert (found.meaning, found.low, found.high) == ("of the paper", low, high)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("a: int = 2 * 5", "line 1: the default of a is computed"),
        ("b: int = 1\na: float = b", "line 2: the default of a is computed"),
        ("%matplotlib inline", "line 1 is not Python"),
        ("a: int = (1", "line 1 is not Python: '\\(' was never closed"),
        ("a = 1", "line 1 is not of the form 'name: type = default'"),
    ],
)
def test_a_cell_that_declares_no_parameters_is_told_with_its_line(cell, message):
    with pytest.raises(NotebookError, match=f"^n.ipynb: {message}"):
        notebooks.parse(cell, "n.ipynb")


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("rows", "12", 12),
        ("rows", 12.0, 12),
        ("share", "0.1", 0.1),
        ("share", "5e-2", 0.05),
        ("units", "[8, 4]", [8, 4]),
        ("units", "8,4", [8, 4]),
        ("units", ["8"], [8]),
        ("units", [], []),
        ("features", "disc_usage", ["disc_usage"]),
        ("network", "printed", "printed"),
        ("momentum", "none", None),
        ("momentum", None, None),
        ("momentum", "0.9", 0.9),
        ("quick", "yes", True),
        ("quick", "False", False),
        ("telemetry", "12", "12"),
    ],
)
def test_values_become_the_type_of_their_parameter(notebook, name, given, expected):
    result = notebooks.check(notebook, {name: given})[name]
    assert result == expected and type(result) is type(expected)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("rows", "twelve"),
        ("rows", 12.5),
        ("rows", True),
        ("rows", None),
        ("rows", 0),
        ("rows", [1]),
        ("share", "0.9"),
        ("share", "nan"),
        ("share", math.inf),
        ("units", "[8, x]"),
        ("units", "[8, 0]"),
        ("units", 8),
        ("units", "[8"),
        ("features", None),
        ("network", "Printed"),
        ("momentum", "1.5"),
        ("quick", "maybe"),
        ("quick", 1),
    ],
)
def test_values_of_another_type_or_outside_the_limits_are_refused(notebook, name, given):
    with pytest.raises(ParameterError, match=f"parameter {name}: .* is not valid"):
        notebooks.check(notebook, {name: given})


def test_a_file_must_be_there_unless_it_is_the_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cell = 'plan: str = ""  # plan of the study [file]\ntable: str | None = "recorded"  # a table [file]\n'
    plan, table = notebooks.parse(cell)
    assert plan == Parameter("plan", "str", "", "plan of the study", file=True)
    assert notebooks.describe([plan]) == ["plan  str  plan of the study (an existing file); default ''"]
    (tmp_path / "there.yaml").write_text("")
    (tmp_path / "folder").mkdir()
    assert notebooks.coerce(plan, "there.yaml") == "there.yaml" and notebooks.coerce(plan, "") == ""
    assert notebooks.coerce(table, "recorded") == "recorded" and notebooks.coerce(table, "none") is None
    for parameter, value in ((plan, "none.yaml"), (plan, "folder"), (plan, "recorded"), (table, "")):
        with pytest.raises(ParameterError) as refused:
            notebooks.coerce(parameter, value)
        looked = f"{value!r} is not valid; there is no file {tmp_path / value}: {parameter.meaning}"
        assert str(refused.value) == f"parameter {parameter.name}: {looked}"


def test_an_unknown_parameter_is_refused_with_the_nearest_and_all_valid_ones(notebook):
    with pytest.raises(ParameterError, match="no parameter 'unit'; did you mean units") as refused:
        notebooks.check(notebook, {"unit": 3})
    for parameter in notebooks.parameters(notebook):
        assert f"\n  {parameter.name} " in str(refused.value)


def test_a_line_that_declares_nothing_is_named():
    with pytest.raises(NotebookError, match="line 2 is not of the form"):
        notebooks.parse("a: int = 1  # one\nb = 2\n")


def test_a_notebook_that_is_missing_or_has_no_parameters_is_named(tmp_path):
    with pytest.raises(NotebookError, match="no notebook 'nowhere'"):
        notebooks.parameters("nowhere")
    empty = tmp_path / "empty.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), empty)
    with pytest.raises(NotebookError, match="no cell tagged 'parameters'"):
        notebooks.parameters(empty)
    empty.write_text("not a notebook")
    with pytest.raises(NotebookError, match="is not a notebook"):
        notebooks.parameters(empty)


def test_a_run_injects_checked_values_and_saves_the_executed_copy(tmp_path):
    source = write_notebook(tmp_path / "sample.ipynb", "print(rows + 1, units, quick)")
    output = notebooks.run(source, {"rows": "41", "units": "1,2"}, tmp_path / "out" / "copy.ipynb")
    executed = nbformat.read(output, as_version=4)
    assert executed.cells[-1].outputs[0].text == "42 [1, 2] False\n"


def test_a_refused_parameter_starts_nothing(tmp_path):
    source = write_notebook(tmp_path / "sample.ipynb", "1")
    with pytest.raises(ParameterError):
        notebooks.run(source, {"row": 1}, tmp_path / "copy.ipynb")
    assert not (tmp_path / "copy.ipynb").exists()


def test_an_error_of_ours_inside_a_notebook_is_told_without_its_traceback(tmp_path):
    raising = "class TelemetryError(ValueError): ...\nraise TelemetryError('x.csv: row 3, column demand: not a number')"
    source = write_notebook(tmp_path / "sample.ipynb", raising)
    with pytest.raises(NotebookError) as failed:
        notebooks.run(source, {}, tmp_path / "copy.ipynb")
    assert str(failed.value) == "x.csv: row 3, column demand: not a number"


def test_any_other_error_inside_a_notebook_keeps_its_traceback_and_names_the_notebook(tmp_path):
    source = write_notebook(tmp_path / "sample.ipynb", "rows / 0")
    with pytest.raises(NotebookError, match="(?s)^sample: .*rows / 0.*ZeroDivisionError"):
        notebooks.run(source, {}, tmp_path / "copy.ipynb")


def test_a_kernel_that_is_slow_to_come_to_rest_ends_without_a_word(tmp_path, capfd):
    slow = """\
import time
kernel = get_ipython().kernel
answer = kernel.shell_handlers["kernel_info_request"]  # what papermill asks last
async def answer_and_linger(*given):
    await answer(*given)
    time.sleep(0.5)
kernel.shell_handlers["kernel_info_request"] = answer_and_linger
"""
    notebooks.run(write_notebook(tmp_path / "sample.ipynb", slow), {}, tmp_path / "copy.ipynb")
    assert capfd.readouterr().err == ""


def test_a_kernel_that_dies_and_a_folder_that_cannot_be_are_told_in_words(tmp_path):
    source = write_notebook(tmp_path / "sample.ipynb", "import os\nos._exit(1)")
    with pytest.raises(NotebookError, match=r"^sample: .*[Kk]ernel died"):
        notebooks.run(source, {}, tmp_path / "copy.ipynb")
    with pytest.raises(NotebookError, match="cannot save the executed copy as"):
        notebooks.run(source, {}, source / "copy.ipynb")


def test_results_come_back_as_they_were_recorded(tmp_path):
    values = {
        "mse": np.float64(0.25),
        "n": np.int64(3),
        "curve": np.arange(3.0),
        "missing": math.nan,
        "table": pd.DataFrame({"model": ["ridge"], "value": [1.5]}),
        "by_node": pd.Series({"node-1": 2}),
        "works": np.bool_(True),
        "word": "lower",
        "none": None,
    }
    experiments.record("a-chapter", values, tmp_path / "results")
    assert experiments.load(tmp_path / "results") == {
        "a-chapter": {
            "mse": 0.25,
            "n": 3,
            "curve": [0.0, 1.0, 2.0],
            "missing": None,
            "table": [{"model": "ridge", "value": 1.5}],
            "by_node": {"node-1": 2},
            "works": True,
            "word": "lower",
            "none": None,
        }
    }


def test_recording_anew_replaces_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("VDS_RESULTS", str(tmp_path))
    experiments.record("a-chapter", {"value": 1})
    experiments.record("a-chapter", {"value": 2})
    assert experiments.load() == {"a-chapter": {"value": 2}}

    def full(path, text, **_):
        path.write_bytes(text[: len(text) // 2].encode())
        raise OSError("disc full")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="disc full"):
        experiments.record("a-chapter", {"value": 3})
    assert [path.name for path in tmp_path.iterdir()] == ["a-chapter.json"]
    assert experiments.load() == {"a-chapter": {"value": 2}}


def test_without_results_nothing_is_loaded(tmp_path):
    assert experiments.load(tmp_path / "never") == {}


def test_a_chapter_run_by_hand_leaves_what_the_build_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(handing, "BUILD", tmp_path)
    for variable in ("VDS_RESULTS", "VDS_EARLIER_RESULTS"):
        monkeypatch.delenv(variable, raising=False)
    # before any build what was run by hand is there to be read
    assert experiments.record("3-3-experiment", {"mse": 9}).parent == tmp_path / "by-hand"
    assert experiments.load() == {"3-3-experiment": {"mse": 9}}
    monkeypatch.setenv("VDS_RESULTS", str(tmp_path / "results"))
    assert experiments.load() == {}
    experiments.record("3-3-experiment", {"mse": 1})
    monkeypatch.delenv("VDS_RESULTS")
    experiments.record("3-3-experiment", {"mse": 9})
    experiments.record("own-chapter", {"mse": 8})
    assert experiments.load() == {"3-3-experiment": {"mse": 1}, "own-chapter": {"mse": 8}}
    assert experiments.load(tmp_path / "results") == {"3-3-experiment": {"mse": 1}}


def test_results_are_read_one_by_one(tmp_path):
    experiments.record("good", {"n": 1}, tmp_path)
    (tmp_path / "other.json").write_text("not JSON")
    results = experiments.load(tmp_path)
    assert "good" in results and results["good"] == {"n": 1} and results.get("none", 0) == 0
    assert (
        list(results) == ["good", "other"] and len(results) == 2 and repr(results) == "Results(good, other)"
    )


def test_chapters_are_in_the_order_of_the_book(tmp_path):
    (tmp_path / "notebooks").mkdir()
    for name in ("a", "b", "c", "d"):
        write_notebook(tmp_path / "notebooks" / f"{name}.ipynb")
    (tmp_path / "_toc.yml").write_text(
        "chapters:\n  - file: notebooks/c\n  - file: notebooks/a\n  - file: book/b\n"
    )
    assert notebooks.chapters(tmp_path) == ["c", "a", "b", "d"]
    assert notebooks.chapters()[0] == "1-introduction" and notebooks.chapters()[-1] == "5-conclusions"


CHAPTERS = sorted((files.root() / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_every_parameter_of_every_chapter_is_explained_and_takes_its_own_default(chapter):
    declared = notebooks.parameters(chapter)
    assert all(parameter.meaning for parameter in declared)
    assert "results_dir" in {parameter.name for parameter in declared}
    defaults = {parameter.name: parameter.default for parameter in declared}
    assert notebooks.check(chapter, defaults) == defaults


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_one_name_means_one_thing_in_all_chapters(chapter):
    kinds = {p.name: p.type for other in CHAPTERS for p in notebooks.parameters(other)}
    assert {p.name: p.type for p in notebooks.parameters(chapter)}.items() <= kinds.items()
