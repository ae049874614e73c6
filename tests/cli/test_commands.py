"""The commands of the pages on runs and studies, run as they are printed (chapters at the scale ``smoke``)."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from prose import BOOK, blocks

from vdslib import files, telemetry
from vdslib.cli import main
from vdslib.experiments import results

pytestmark = pytest.mark.slow


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder with what the pages say is there: the project's notebooks, and files of a reader's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VDS_RESULTS", raising=False)
    for name in ("notebooks", "vdslib"):
        Path(name).symlink_to(files.root() / name)
    recording = telemetry.read("recorded")
    telemetry.write(recording, "my-recording.csv")
    first = recording[recording["node"] == recording["node"].iloc[0]]
    telemetry.write(first.assign(node="web-1"), "my-telemetry.csv")
    Path("small.yaml").write_text(blocks(BOOK / "rerun.md", "yaml")[0])
    Path("plan.yaml").write_text(blocks(BOOK / "study.md", "yaml")[0])


def lines(page):
    """The commands of a page, one a line."""
    return [line for block in blocks(BOOK / page, "bash") for line in block.splitlines() if line.strip()]


def test_the_commands_about_studies_do_what_the_page_says(elsewhere, scheduler, capsys):
    typed = [line.replace("tcp://127.0.0.1:8786", scheduler[0]) for line in lines("study.md")]
    for line in typed:
        program, *arguments = shlex.split(line)
        if program == "papermill":
            subprocess.run([str(Path(sys.executable).with_name(program)), *arguments], check=True)
            continue
        assert program == "vds"
        scale = ["--scale", "smoke"] if arguments[0] == "sweep" else []
        assert main([*arguments, *scale]) == 0, (line, capsys.readouterr().err)
    frame = results.table("windows")
    assert len(frame) == 8 and set(frame["state"]) == {"done"}
    assert "8 found" in capsys.readouterr().out
    assert all(Path(f"windows.{ending}").is_file() for ending in ("csv", "parquet", "html"))


# set up the environment, need a browser, or take the time that they say
NOT_RUN = ("source", "make", "vds record")


@pytest.mark.parametrize("line", [line for line in lines("rerun.md") if not line.startswith(NOT_RUN)])
def test_each_command_about_rerunning_runs(line, elsewhere):
    program, *arguments = shlex.split(line)
    if program == "vds":
        scale = ["--scale", "smoke"] if arguments[0] == "run" and "--scale" not in arguments else []
        assert main([*arguments, *scale]) == 0
        return
    if program == "jupyter":
        Path("experiment.ipynb").symlink_to(files.root() / "notebooks" / "3-3-experiment.ipynb")
    small = ["-p", "epochs", "1", "-p", "folds", "2", "-p", "n_seeds", "2"] if program == "papermill" else []
    command = [str(Path(sys.executable).with_name(program)), *arguments, *small]
    subprocess.run(command, check=True, env=os.environ, capture_output=True)
