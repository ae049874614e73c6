"""Kernels and workers start wherever a user keeps temporary files, home and project: paths of sockets are short."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest
import stub_runs
from synthetic import trace_folder

from vdslib import _temporary

TOOLS = Path(__file__).resolve().parent.parent / "book" / "tools"

BUILD = "import execution, pathlib as p; execution.execute(p.Path('stub.ipynb').resolve(), '', p.Path('r').resolve())"
IMPORT = "from vdslib.sources import store; print(store.import_folder('trace', 'store', jobs=2))"
TEST = ["-p", "no:cacheprovider", "-p", "notebook_comparison", "--nbval", "--nbval-current-env", "stub.ipynb"]
COMMANDS = {
    "make book": ["-c", BUILD],
    "make test": ["-m", "pytest", *TEST],
    "vds sweep": ["-m", "vdslib.cli", "sweep", "stub.ipynb", "--grid", "plan.yaml"],
    "vds import": ["-c", IMPORT],
}


@pytest.fixture
def far(tmp_path):
    """A project in a folder with a path too long for a socket in it, and the environment of a user with such folders."""
    folder = tmp_path / ("p" * 110)
    for name in ("temporary", "home", "r"):
        (folder / name).mkdir(parents=True)
    notebook = nbformat.read(stub_runs.write_notebook(folder / "stub.ipynb"), as_version=4)
    for number, cell in enumerate(notebook.cells, start=1):
        cell.execution_count = number
    nbformat.write(notebook, folder / "stub.ipynb")
    (folder / "plan.yaml").write_text("grid: {number: [1, 2]}")
    trace_folder(folder / "trace", nodes=8, rows=4)
    paths = os.pathsep.join([str(TOOLS), str(TOOLS.parents[1] / "tests"), os.environ.get("PYTHONPATH", "")])
    known = {
        name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER_", "XDG_", "VDS_"))
    }
    return folder, known | {
        "TMPDIR": str(folder / "temporary"),
        "HOME": str(folder / "home"),
        "PYTHONPATH": paths,
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_long_paths_of_a_user_s_folders_keep_no_command_from_its_work(command, far):
    folder, environment = far
    done = subprocess.run(
        [sys.executable, *COMMANDS[command]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("folder", "short"), [("/tmp/x", True), ("/" + "é" * 26, False), ("/" + "x" * 110, False)]
)
def test_a_folder_of_temporary_files_is_used_where_a_socket_s_path_has_room(folder, short, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", folder)
    assert str(_temporary.short_folder()) == (folder if short else "/tmp")
    with _temporary.in_short_folder():
        assert tempfile.gettempdir() == str(_temporary.short_folder())
    assert tempfile.gettempdir() == folder
