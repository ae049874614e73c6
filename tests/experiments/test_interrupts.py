"""Commands that are interrupted, terminated or killed: how they end, and that nothing is left of what they started."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil
import pytest
import stub_runs
from waiting import HANG, until, until_ended

from vdslib import _temporary
from vdslib.experiments import results, sweeps

PLAN = "grid: {number: [0, 1, 2, 3, 4, 5]}"
FOREVER = "3600"  # seconds that a cell sleeps: who waits for its end hangs


class Command:
    """A command in a process group of its own, as a terminal starts it, with a folder of its own for what is temporary."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vdslib.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"TMPDIR": str(Path("temporary").resolve())},
        )
        self.started: list[psutil.Process] = []

    def wait_for(self, condition):
        until(lambda: condition(self) or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.stderr.read()
        return self

    def all(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def hit(self, number):
        """Send a signal to the group, wait for the end; returns the exit code and what was said but for the bar."""
        self.started = self.all()
        os.killpg(self.process.pid, number)
        _, said = self.process.communicate(timeout=HANG)
        return self.process.returncode, [
            line for line in said.splitlines() if line.strip() and "run/s" not in line and "s/run" not in line
        ]

    def nothing_left(self):
        until_ended(self.started)
        assert list(Path("runs").glob("*/.*")) + list(Path("temporary").glob("vds-*")) == []


def kernel(command):
    """Whether a kernel has been started."""
    return any("ipykernel_launcher" in " ".join(cmdline(process)) for process in command.all())


def cmdline(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def in_a_cell(command):
    """Whether a notebook is executed: its cells sleep until the test is over."""
    return any(Path().glob("runs/*/.*/notebook.ipynb"))


def worker(command):
    return len(command.all()) > 1


def one_done(command):
    return any(Path("runs").glob("*/[!.]*/run.json"))


@pytest.fixture(autouse=True)
def notebook(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VDS_RESULTS", raising=False)
    Path("plan.yaml").write_text(PLAN)
    # the path of a socket must be short, which that of a test is not
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as short:
        Path("temporary").symlink_to(short)
        # a program that ignores Ctrl-C, as nohup and shells in the background let it, lets those ignore it that it starts
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        yield stub_runs.write_notebook(tmp_path / "stub.ipynb")
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("moment", [kernel, in_a_cell])
def test_an_interrupted_run_ends_soon_with_one_line_and_leaves_nothing(moment):
    command = Command("run", "stub.ipynb", "-p", "pause", FOREVER).wait_for(moment)
    assert command.hit(signal.SIGINT) == (130, ["vds run: interrupted"])
    command.nothing_left()
    assert list(Path("runs").glob("*/*")) == []


@pytest.mark.parametrize(
    ("moment", "pause", "number", "end"),
    [
        (worker, FOREVER, signal.SIGINT, (130, ["vds sweep: interrupted"])),
        (in_a_cell, FOREVER, signal.SIGINT, (130, ["vds sweep: interrupted"])),
        (one_done, "0.3", signal.SIGTERM, (143, ["vds sweep: terminated"])),
    ],
)
def test_an_interrupted_sweep_ends_soon_with_one_line_and_goes_on_when_called_again(
    moment, pause, number, end
):
    sweep = ["sweep", "stub.ipynb", "--grid", "plan.yaml", "--workers", "2", "-p", "pause", pause]
    command = Command(*sweep).wait_for(moment)
    assert command.hit(number) == end
    command.nothing_left()
    before = {path: path.read_text() for path in Path("runs").glob("*/[!.]*/run.json")}
    assert len(before) < 6 and list(Path("runs").glob("*/[!.]*/failed.json")) == []
    if moment is not one_done:
        return
    again = Command(*sweep)
    said, _ = again.process.communicate(timeout=HANG)
    assert again.process.returncode == 0
    assert f"{len(before)} found, {6 - len(before)} done, 0 failed" in said
    assert all(path.read_text() == text for path, text in before.items())
    assert sorted(results.table("stub")["number"]) == list(range(6))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_workers_start_is_heard_once_they_have(number):
    """Another thread takes the signal that the main one blocks, and has Python raise the interrupt in that one."""
    begin, over = threading.Event(), threading.Event()

    def take():
        begin.wait(HANG)
        signal.pthread_kill(threading.get_ident(), number)
        over.set()

    def interrupted(*_):
        raise KeyboardInterrupt(number)

    before = signal.signal(number, interrupted)
    thread, whole = threading.Thread(target=take), False
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt), sweeps._deaf():
            begin.set()
            over.wait(HANG)
            thread.join()
            whole = True
        assert whole and signal.getsignal(number) is interrupted
    finally:
        signal.signal(number, before)


def test_a_sweep_that_is_interrupted_between_tries_keeps_the_failure_it_has():
    Path("plan.yaml").write_text("grid: {number: [1], fault: [error]}")
    command = Command("sweep", "stub.ipynb", "--grid", "plan.yaml", "--workers", "1", "--retries", "50")
    command.wait_for(lambda _: any(Path("runs").glob("*/[!.]*/failed.json")))
    assert command.hit(signal.SIGINT) == (130, ["vds sweep: interrupted"])
    command.nothing_left()
    (kept,) = Path("runs").glob("*/[!.]*/failed.json")
    assert "number 1 does not work" in json.loads(kept.read_text())["error"]


@pytest.mark.parametrize("arguments", [["run", "stub.ipynb"], ["sweep", "stub.ipynb", "--grid", "plan.yaml"]])
def test_what_a_killed_command_leaves_ends_by_itself_or_goes_with_the_next(arguments):
    command = Command(*arguments, "-p", "pause", FOREVER).wait_for(in_a_cell)
    assert command.hit(signal.SIGKILL)[0] == -signal.SIGKILL
    until_ended(command.started)  # kernels and workers see that they are alone
    assert list(Path("runs").glob("*/.*")) and list(Path("temporary").glob("vds-*"))
    following = Command("run", "stub.ipynb")
    following.process.communicate(timeout=HANG)
    assert following.process.returncode == 0
    command.nothing_left()


def test_only_folders_of_processes_of_this_computer_that_are_gone_are_removed(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    zombie = _temporary.name("vds-a").replace(f"~{os.getpid()}~", f"~{gone.pid}~")
    mine = _temporary.name("vds-a")
    other, foreign = mine.replace(str(os.getpid()), "none"), f"vds-a~elsewhere~{gone.pid}~00000000"
    names = {mine, other, foreign, "vds-a", "else" + zombie}
    for name in names | {zombie}:
        (tmp_path / name).mkdir()
    until_ended([psutil.Process(gone.pid)])
    _temporary.tidy(tmp_path, "vds-")
    assert names <= {path.name for path in tmp_path.iterdir()} and not (tmp_path / zombie).exists()
    gone.wait()


def test_a_process_is_ended_with_all_that_it_started():
    code = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)']); "
        "time.sleep(3600)"
    )
    process = psutil.Process(subprocess.Popen([sys.executable, "-c", code]).pid)
    both = [process, *until(process.children)]
    _temporary.end([process])
    assert len(both) == 2
    until_ended(both)


def test_an_interrupt_while_processes_are_ended_leaves_none_of_them_stopped(monkeypatch):
    process = psutil.Process(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"]).pid)
    monkeypatch.setattr(_temporary, "_children", lambda _: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        _temporary.end([process])
    until_ended([process])
