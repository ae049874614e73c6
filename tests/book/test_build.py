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
    "experiments/__init__": "from vdslib.experiments.handing import load, record\n",
}
CHAPTERS = {
    # a chapter that reads results must come after all others, though its name comes first
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
    (tmp_path / "vdslib" / "experiments").mkdir(parents=True)
    for name, text in VDSLIB.items():
        (tmp_path / "vdslib" / f"{name}.py").write_text(text)
    for name in ("errors", "files", "registry", "experiments/handing", "experiments/identity"):
        shutil.copy(execution.ROOT / "vdslib" / f"{name}.py", tmp_path / "vdslib" / f"{name}.py")
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
    # it runs again, once the results are there that it looked for; from then on its place is known
    assert build.run_notebooks(project) == ["0-verdicts", *everything]
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
    path = project / "vdslib" / "experiments" / "__init__.py"
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
    assert not build.executed_copy(project, project / "notebooks" / "1-series.ipynb").exists()


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


USES = {
    "vdslib/lazy.py": "def f():\n    from vdslib import lazier\n    return lazier\n",
    "vdslib/lazier.py": "",
    "vdslib/started.py": "open('../data/in_process.csv').close()\n",
    "data/in_process.csv": "",
    "data/outcomes.csv": "a\n1\n",
    "data/arrow.csv": "a\n1\n",
    "book/studies/plan.yaml": "",
    "notebooks/beside.py": "",
    "own.txt": "",
}
USING = """\
import os, subprocess, sys
from multiprocessing import get_context
from pathlib import Path
import pandas as pd, pyarrow.csv
import beside
import vdslib.lazy
vdslib.lazy.f()
subprocess.run([sys.executable, "-m", "vdslib." + "started"], check=True)
pd.read_csv("../data/" + "out" + "comes.csv")
for path in Path("../book/studies").glob("*.yaml"):
    path.read_text()
process = get_context("fork").Process(target=lambda: Path("../own.txt").read_text())
process.start(); process.join()
sys.audit("open", "../data/arrow.csv", "rb", os.O_RDONLY)
pyarrow.csv.read_csv("../data/arrow.csv")
Path("made.txt").write_text("its own")
Path("made.txt").read_text()
Path("../later.txt").read_text() if Path("../later.txt").exists() else None
try:
    open("../missing.txt")
except FileNotFoundError:
    pass
"""


def test_what_a_kernel_and_its_processes_open_counts_however_they_come_to_it(project: Path) -> None:
    for name in CHAPTERS:
        (project / "notebooks" / f"{name}.ipynb").unlink()
    for name, text in USES.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    path = project / "notebooks" / "uses.ipynb"
    write_notebook(path, [USING])
    assert build.run_notebooks(project) == ["uses"]
    before = build.executed_copy(project, path).read_text()
    assert inputs.read_stamp(project, path).files.keys() == {
        *USES,
        "vdslib/__init__.py",
        "book/studies",
        "missing.txt",
    }
    for name, text in USES.items():
        assert build.reasons(project, path) == []
        with (project / name).open("a") as file:
            file.write("# more")
        assert build.reasons(project, path) == [name]
        (project / name).unlink()
        assert name in build.reasons(project, path)
        (project / name).write_text(text)
    for name in ("missing.txt", "book/studies/another.yaml"):
        (project / name).write_text("")
        assert build.reasons(project, path) == [name.removesuffix("/another.yaml")]
        (project / name).unlink()
    for name in ("notebooks/made.txt", "data/other.csv", "vdslib/alone.py"):
        (project / name).write_text("changed")
    assert build.reasons(project, path) == [] and build.run_notebooks(project) == []
    assert build.executed_copy(project, path).read_text() == before


def test_a_readers_own_sources_and_forecasters_count(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.run_notebooks(project)
    own = tmp_path / "elsewhere" / "own.py"
    own.parent.mkdir()
    path = project / "notebooks" / "1-series.ipynb"
    for content in ("first", "second"):
        own.write_text(content)
        monkeypatch.setenv("VDS_SOURCES", str(own))
        assert build.reasons(project, path) == [f"VDS_SOURCES {own}"]
        build.run_one(project, path, "")
        assert build.reasons(project, path) == []


def test_a_site_customisation_of_the_readers_own_stays_at_work(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "sitecustomize.py").write_text("import os\nos.environ['CUSTOMISED'] = 'yes'\n")
    monkeypatch.setenv("PYTHONPATH", str(project))
    write_notebook(project / "notebooks" / "1-series.ipynb", ["import os", "print(os.environ['CUSTOMISED'])"])
    build.run_one(project, project / "notebooks" / "1-series.ipynb", "")
    assert printed(project, "1-series") == "yes\n"


def test_what_changes_while_a_notebook_runs_counts_as_changed(project: Path) -> None:
    for name in ("0-verdicts", "1-series", "3-record"):
        (project / "notebooks" / f"{name}.ipynb").unlink()
    path, data = project / "notebooks" / "2-data.ipynb", project / "data" / "vds_data.csv"
    edit = "path = Path('../data/vds_data.csv')\n{}path.write_text(path.read_text() + '2\\n')"
    write_notebook(path, [*CHAPTERS["2-data"], edit.format("if path.read_text().count('2') < 1:\n    ")])
    assert build.run_notebooks(project).count("2-data") == 2 and "2" in printed(project, "2-data")
    write_notebook(path, [*CHAPTERS["2-data"], edit.format("")])
    with pytest.raises(
        build.BuildError, match=r"2-data changes what it depends on itself.*data/vds_data\.csv"
    ):
        build.run_notebooks(project)
    assert data.read_text().count("2") > 2


def chain(project: Path, sources: dict[str, str]) -> None:
    """Chapters that record what they read of another one's results, and one more."""
    for name in CHAPTERS:
        (project / "notebooks" / f"{name}.ipynb").unlink()
    for name, source in sources.items():
        cell = f"value = experiments.load().get('{source}', {{'n': 0}})['n'] + 1"
        more = f"experiments.record('{name}', {{'n': value}})\nprint(value)"
        write_notebook(
            project / "notebooks" / f"{name}.ipynb", ["from vdslib import experiments", cell, more]
        )


def test_results_are_read_after_they_are_recorded_whatever_the_names(project: Path) -> None:
    chain(project, {"0-last": "1-middle", "1-middle": "2-first", "2-first": "", "3-alone": "3-alone"})
    ran = build.run_notebooks(project)
    assert [printed(project, name) for name in ("0-last", "1-middle", "2-first")] == ["3\n", "2\n", "1\n"]
    # what it recorded itself is not there to be read, and not waited for
    assert ran.count("3-alone") == 1 and printed(project, "3-alone") == "1\n"
    assert build.run_notebooks(project) == []
    write_notebook(
        project / "notebooks" / "2-first.ipynb",
        ["from vdslib import experiments", "experiments.record('2-first', {'n': 5})"],
    )
    assert build.run_notebooks(project) == ["2-first", "1-middle", "0-last"]
    assert printed(project, "0-last") == "7\n"
    assert [path.stem for path in inputs.notebooks(project)] == ["2-first", "1-middle", "0-last", "3-alone"]


def test_the_order_of_a_first_build_is_that_of_the_book(project: Path) -> None:
    chain(project, {"0-last": "1-middle", "1-middle": "2-first", "2-first": ""})
    names = ["2-first", "1-middle", "0-last"]
    lines = "".join(f"  - file: notebooks/{name}\n" for name in names)
    (project / "_toc.yml").write_text(f"format: jb-book\nroot: book/front\nchapters:\n{lines}")
    assert build.run_notebooks(project) == names


def test_notebooks_that_read_each_others_results_are_named(project: Path) -> None:
    chain(project, {"0-reader": "1-a", "1-a": "2-b", "2-b": "1-a", "3-first": ""})
    circle = r"read each other's results in a circle: 1-a, 2-b$"
    for _ in range(2):
        with pytest.raises(build.BuildError, match=circle):
            build.run_notebooks(project)
    # mended, it is no circle any more
    write_notebook(project / "notebooks" / "2-b.ipynb", ["1"])
    assert "2-b" in build.run_notebooks(project) and printed(project, "0-reader") == "2\n"


def test_results_go_by_the_names_that_were_recorded(project: Path) -> None:
    """Another name than the notebook's is as good, and is kept."""
    write_notebook(
        project / "notebooks" / "3-record.ipynb",
        ["from vdslib import experiments", "experiments.record('other', {'a': 1})"],
    )
    build.run_notebooks(project)
    assert printed(project, "0-verdicts") == "[('other', {'a': 1})]\n" and build.run_notebooks(project) == []


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
