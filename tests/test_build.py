"""The build: which notebooks run again after which change, what a failure looks like, what a page is made from."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import build
import executed_copies
import execution
import inputs
import nbformat
import pytest

VDSLIB = {
    "__init__": "",
    "scaling": "FACTOR = 2\n",
    "series": "from . import scaling\n\nVALUES = [scaling.FACTOR * i for i in range(3)]\n",
    "alone": "VALUE = 7\n",
    "experiments": (
        "import json, os, pathlib\n\n\n"
        "def record(name, values):\n"
        "    pathlib.Path(os.environ['VDS_RESULTS'], name + '.json').write_text(json.dumps(values))\n\n\n"
        "def load():\n"
        "    folder = pathlib.Path(os.environ['VDS_RESULTS'])\n"
        "    return {path.stem: json.loads(path.read_text()) for path in folder.glob('*.json')}\n"
    ),
}
CHAPTERS = {
    # the name would run first: a chapter that reads results must come after all others
    "0-verdicts": ["from vdslib import experiments", "print(sorted(experiments.load().items()))"],
    "1-series": ["from vdslib.series import VALUES", "print(VALUES)"],
    "2-data": [
        'telemetry: str = "recorded"  # source',
        "from pathlib import Path\n\nprint(Path('../data/vds_data.csv').read_text())",
    ],
    "3-record": [
        "import vdslib.alone",
        "from vdslib import experiments",
        "experiments.record('3-record', {'a': 1})",
    ],
}


def write_notebook(path: Path, cells: list[str], title: str = "A title") -> None:
    """A notebook with a title and code cells."""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_markdown_cell(f"# {title}")]
    notebook.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project of four chapters, with a vdslib of its own that kernels import in place of the real one."""
    for name, text in VDSLIB.items():
        path = tmp_path / "vdslib" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    for name, cells in CHAPTERS.items():
        write_notebook(tmp_path / "notebooks" / f"{name}.ipynb", cells)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "vds_data.csv").write_text("cpu_usage\n1\n")
    (tmp_path / "data" / "other.csv").write_text("cpu_usage\n2\n")
    (tmp_path / "requirements.lock").write_text("numpy==2.4.0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def printed(project: Path, name: str) -> str:
    """What a chapter's executed copy shows on standard output."""
    notebook = nbformat.read(project / "_build" / "executed" / f"{name}.ipynb", as_version=4)
    return "".join(output.get("text", "") for cell in build.code(notebook) for output in cell.outputs)


def test_each_kind_of_input_reruns_what_depends_on_it_and_nothing_else(project: Path) -> None:
    everything = ["1-series", "2-data", "3-record", "0-verdicts"]
    assert build.run_notebooks(project) == everything
    assert build.run_notebooks(project) == []
    assert printed(project, "0-verdicts") == "[('3-record', {'a': 1})]\n"

    # prose of one notebook: nothing runs
    write_notebook(project / "notebooks" / "1-series.ipynb", CHAPTERS["1-series"], title="Another title")
    assert build.run_notebooks(project) == []

    # code of one notebook
    write_notebook(project / "notebooks" / "1-series.ipynb", [*CHAPTERS["1-series"], "print('more')"])
    assert build.run_notebooks(project) == ["1-series"]

    # a module that one notebook imports through another module
    (project / "vdslib" / "scaling.py").write_text("FACTOR = 3\n")
    assert build.run_notebooks(project) == ["1-series"]
    assert "[0, 3, 6]" in printed(project, "1-series")

    # a module that two notebooks import
    path = project / "vdslib" / "experiments.py"
    path.write_text(path.read_text() + "# changed\n")
    assert build.run_notebooks(project) == ["3-record", "0-verdicts"]

    # the recorded data, and a file beside it that no notebook reads
    (project / "data" / "vds_data.csv").write_text("cpu_usage\n5\n")
    (project / "data" / "other.csv").write_text("cpu_usage\n6\n")
    assert build.run_notebooks(project) == ["2-data"]

    # a recorded result: the chapter that makes it runs, and the one that reads it
    write_notebook(
        project / "notebooks" / "3-record.ipynb",
        [*CHAPTERS["3-record"][:2], "experiments.record('3-record', {'a': 2})"],
    )
    assert build.run_notebooks(project) == ["3-record", "0-verdicts"]
    assert printed(project, "0-verdicts") == "[('3-record', {'a': 2})]\n"

    # results that somebody removed
    (project / "_build" / "results" / "3-record.json").unlink()
    assert build.run_notebooks(project) == ["3-record"]

    # the lock
    (project / "requirements.lock").write_text("numpy==2.5.0\n")
    assert build.run_notebooks(project) == everything


def test_notebook_that_is_gone_leaves_no_results_behind(project: Path) -> None:
    build.run_notebooks(project)
    (project / "notebooks" / "3-record.ipynb").unlink()
    assert build.run_notebooks(project) == ["0-verdicts"]
    assert printed(project, "0-verdicts") == "[]\n"


def test_failing_cell_ends_the_build_with_traceback_and_name(project: Path) -> None:
    write_notebook(project / "notebooks" / "1-series.ipynb", ["x = 1", "x / 0"])
    with pytest.raises(build.BuildError, match=r"(?s)ZeroDivisionError.*1-series: cell 3 failed"):
        build.run_notebooks(project)
    assert list((project / "_build" / "executed").glob("*")) == []


def test_command_returns_an_error_code(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(project / "notebooks" / "1-series.ipynb", ["x / 0"])
    monkeypatch.setattr(build, "ROOT", project)
    assert build.main(["book"]) == 1
    assert "1-series: cell 2 failed" in capsys.readouterr().err
    assert build.main(["notebooks", "9-nothing"]) == 1
    assert "no such notebook: 9-nothing" in capsys.readouterr().err


def test_saving_tells_which_numbers_and_words_moved(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = project / "notebooks" / "5-result.ipynb"
    write_notebook(source, ["print('error', 0.5)", "print('claim: holds')"])
    build.save_notebooks(project, ["5-result"])
    assert "became" not in capsys.readouterr().out
    source.write_text(
        source.read_text().replace("error 0.5", "error 0.4").replace("claim: holds\\n", "claim: undecided\\n")
    )
    build.save_notebooks(project, ["5-result"])
    told = capsys.readouterr().out
    assert "5-result, code cell 1: stdout: 'error 0.4': 0.4 became 0.5 (tolerance 1e-06)" in told
    assert "5-result, code cell 2: stdout: words: 'claim: undecided' became 'claim: holds'" in told


def test_saving_twice_gives_the_same_files(project: Path) -> None:
    for name in ("0-verdicts", "2-data"):
        (project / "notebooks" / f"{name}.ipynb").unlink()
    build.save_notebooks(project, [])
    folder = project / "notebooks"
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    build.save_notebooks(project, ["1-series"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    notebook = json.loads(first["1-series.ipynb"])
    assert sorted(notebook["metadata"]) == ["kernelspec", "language_info"]
    assert [cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code"] == [1, 2]
    assert not any(cell["metadata"] for cell in notebook["cells"])


def test_kernel_is_this_python_whatever_a_user_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    false = {"argv": ["/bin/false", "{connection_file}"], "display_name": "Mine", "language": "python"}
    kernel = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps(false))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    path = tmp_path / "notebooks" / "a.ipynb"
    write_notebook(path, ["import os, sys", "print(sys.executable)", "print(os.getcwd())"])
    cells = build.code(execution.execute(path, "a", tmp_path))
    assert cells[1].outputs[0].text.strip() == sys.executable
    assert cells[2].outputs[0].text.strip() == str(path.parent)


def test_modules_named_in_strings_and_imported_in_functions_count(tmp_path: Path) -> None:
    for name, text in {
        "__init__": "",
        "a": "def f():\n    from vdslib.sub import b\n    return b\n",
        "sub/__init__": "from .c import x\n",
        "sub/b": 'COMMAND = ["python", "-m", "vdslib.d"]\n',
        "sub/c": "from .. import e\nx = 1\n",
        "d": "",
        "e": "",
        "unused": "",
    }.items():
        path = tmp_path / "vdslib" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = inputs.closure(
        inputs.syntax(["%matplotlib inline\nfrom vdslib import a"]), inputs.modules(tmp_path)
    )
    names = ["a", "sub", "sub.b", "sub.c", "d", "e"]
    assert found == {"vdslib", *(f"vdslib.{name}" for name in names)}


def page(source: str, outputs: list[dict], metadata: dict | None = None) -> dict:
    """A notebook of one code cell, as JSON."""
    cell = {"cell_type": "code", "source": source, "outputs": outputs, "execution_count": 1}
    return {"cells": [cell | {"metadata": metadata or {}}], "metadata": {"language_info": {"name": "python"}}}


def image(alt: str | None) -> dict:
    """An output with an image."""
    return {
        "output_type": "display_data",
        "data": {"image/png": "iVBORw0KGgo="},
        "metadata": {"image/png": {"alt": alt}} if alt else {},
    }


def test_page_takes_outputs_from_the_copy_and_refuses_a_stale_one() -> None:
    source, copy = page("1 + 1", []), page("1 + 1", [image("a rising line")])
    assert executed_copies.take_outputs(source, copy) == []
    assert source["cells"][0]["outputs"] == copy["cells"][0]["outputs"]
    assert executed_copies.describe_images(source) == []
    assert source["cells"][0]["metadata"]["mystnb"]["image"]["alt"] == "a rising line"
    assert "stale" in executed_copies.take_outputs(page("1 + 2", []), copy)[0]


def test_page_refuses_errors_and_images_without_alternative_text() -> None:
    assert "without alternative text" in executed_copies.describe_images(page("f()", [image(None)]))[0]
    own = {"mystnb": {"image": {"alt": "told in the cell"}}}
    assert executed_copies.describe_images(page("f()", [image(None)], own)) == []
    error = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
    assert executed_copies.describe_images(page("f()", [error])) == ["code cell 1 ended in ValueError: no"]


def test_strict_build_fails_on_an_error_output(tmp_path: Path, root: Path) -> None:
    """The real configuration, one page, one notebook whose committed output is an error."""
    (tmp_path / "book").mkdir()
    shutil.copy(root / "_config.yml", tmp_path)
    shutil.copytree(root / "book" / "tools", tmp_path / "book" / "tools")
    (tmp_path / "book" / "references.bib").write_text("")
    (tmp_path / "book" / "front.md").write_text("# Front\n")
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/front\nchapters:\n  - file: notebooks/one\n"
    )
    write_notebook(tmp_path / "notebooks" / "one.ipynb", ["1 / 0"])
    path = tmp_path / "notebooks" / "one.ipynb"
    notebook = execution.normalise(nbformat.read(path, as_version=4))
    notebook.cells[1].execution_count = 1
    notebook.cells[1].outputs = [
        nbformat.v4.new_output("error", ename="ZeroDivisionError", evalue="division by zero", traceback=[])
    ]
    execution.write(notebook, path)
    command = [
        Path(sys.executable).with_name("jupyter-book"),
        "build",
        tmp_path,
        "-W",
        "-n",
        "--keep-going",
        "-q",
    ]
    environment = os.environ | {"VDS_EXECUTED": ""}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode != 0
    assert "ended in ZeroDivisionError" in finished.stderr
    assert finished.stderr.count("WARNING") == 1
