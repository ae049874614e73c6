"""The command ``vds`` as its users meet it: what it prints, what it refuses, how it ends."""

import json
import os
import subprocess
import sys

import nbformat
import pytest

from vdslib.cli import main
from vdslib.errors import TestbedError
from vdslib.experiments import notebooks

CELL = """\
telemetry: str = "recorded"  # telemetry to read, or "recorded"
window: int = 10  # seconds that a forecast looks back [1 ..]
results_dir: str = ""  # folder of results; empty for the usual one
"""


@pytest.fixture
def notebook(tmp_path):
    def write(*sources):
        first = nbformat.v4.new_code_cell(CELL, metadata={"tags": ["parameters"]})
        cells = [first, *(nbformat.v4.new_code_cell(source) for source in sources)]
        path = tmp_path / "sample.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return path

    return write


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every command runs in a folder of its own, as a reader's would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VDS_RESULTS", raising=False)


def test_params_lists_every_parameter_with_type_default_meaning_and_limits(notebook, capsys):
    assert main(["params", str(notebook())]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["telemetry", "str"],
        ["window", "int"],
        ["results_dir", "str"],
    ]
    assert "seconds that a forecast looks back (at least 1); default 10" in lines[1]


@pytest.mark.parametrize("given", [["-p", "windw", "3"], ["-p", "window", "0"], ["-p", "window", "ten"]])
def test_run_refuses_a_wrong_parameter_before_a_kernel_starts(notebook, capsys, given, monkeypatch):
    monkeypatch.setattr(notebooks, "run", lambda *_, **__: pytest.fail("a kernel was started"))
    assert main(["run", str(notebook()), *given]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("vds run: ") and "window" in captured.err


def test_run_takes_parameters_from_a_file_and_the_command_line_goes_before_it(notebook, tmp_path, capsys):
    source = notebook(
        "from vdslib import experiments\n_ = experiments.record('sample', {'w': window}, results_dir)"
    )
    (tmp_path / "given.yaml").write_text("window: 4\n")
    assert main(["run", str(source), "-f", "given.yaml", "-p", "window", "7"]) == 0
    folder = tmp_path / capsys.readouterr().out.removeprefix("run: ").strip()
    assert folder.parent == tmp_path / "runs" / "sample"
    assert json.loads((folder / "results.json").read_text()) == {"sample": {"w": 7}}


@pytest.mark.parametrize(
    ("text", "message"),
    [("window: [", "is not YAML"), ("- window", "must hold lines of the form"), (None, "cannot read")],
)
def test_run_refuses_a_file_that_holds_no_parameters(notebook, tmp_path, capsys, text, message):
    if text is not None:
        (tmp_path / "given.yaml").write_text(text)
    assert main(["run", str(notebook()), "-f", "given.yaml"]) == 2
    assert message in capsys.readouterr().err


def test_run_of_an_unknown_chapter_names_the_chapters(capsys):
    assert main(["run", "3-3-experimnt"]) == 2
    assert "there is no notebook '3-3-experimnt'" in capsys.readouterr().err


def test_a_bad_telemetry_file_is_one_error_before_a_kernel_starts(notebook, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(notebooks, "run", lambda *_, **__: pytest.fail("a kernel was started"))
    (tmp_path / "empty.csv").write_text("")
    assert main(["run", str(notebook()), "-p", "telemetry", "empty.csv"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("vds run: ") and "empty.csv" in error


def test_a_telemetry_error_inside_a_notebook_is_the_last_and_only_thing_said(notebook):
    source = notebook(
        "from vdslib.errors import TelemetryError\nraise TelemetryError('few.csv: 3 rows: record more')"
    )
    command = [sys.executable, "-m", "vdslib.cli", "run", str(source)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": ""}, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "vds run: few.csv: 3 rows: record more\n"


@pytest.mark.parametrize("minutes", ["0", "-1", "0.001", "soon", "nan", "inf"])
def test_record_refuses_a_length_that_is_none(minutes, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["record", "--minutes", minutes, "--out", "x.csv"])
    assert ended.value.code == 2
    assert "is not a number of minutes (at least a second" in capsys.readouterr().err


@pytest.mark.parametrize("seed", ["-1", "1.5", "none"])
def test_record_refuses_a_seed_that_is_none(seed, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["record", "--seed", seed, "--out", "x.csv"])
    assert ended.value.code == 2
    assert "is not a whole number from 0" in capsys.readouterr().err


def test_a_lost_node_is_one_message(monkeypatch, capsys):
    from vdslib.testbed import recorder

    def lose(*_, **__):
        raise TestbedError("node-2 stopped answering (exit code -9); record again")

    monkeypatch.setattr(recorder, "record", lose)
    assert main(["record", "--minutes", "1", "--out", "x.csv"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("vds record: node-2 stopped answering") and error.count("\n") == 1


def test_record_hands_its_options_to_the_recorder(monkeypatch, capsys, tmp_path):
    from vdslib.testbed import recorder

    seen = []
    monkeypatch.setattr(recorder, "record", lambda *given, **named: seen.append((given, named)) or given[0])
    assert main(["record", "--minutes", "0.5", "--out", "x.csv", "--seed", "7"]) == 0
    assert seen[0][0][1:] == (0.5, 7) and str(seen[0][0][0]) == "x.csv"
    assert capsys.readouterr().out == "recorded x.csv\n"


def test_record_never_overwrites_and_names_a_folder_that_is_not_there(tmp_path, capsys):
    (tmp_path / "there.csv").write_text("a recording")
    assert main(["record", "--minutes", "1", "--out", "there.csv"]) == 2
    assert "cannot record to there.csv: there.csv exists already" in capsys.readouterr().err
    assert (tmp_path / "there.csv").read_text() == "a recording"
    assert main(["record", "--minutes", "1", "--out", "nowhere/x.csv"]) == 2
    assert "cannot record to nowhere/x.csv: No such file or directory" in capsys.readouterr().err


def test_an_interrupted_command_ends_with_one_line(monkeypatch, capsys):
    monkeypatch.setattr(notebooks, "parameters", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    assert main(["params", "anything"]) == 130
    assert capsys.readouterr().err == "vds params: interrupted\n"
