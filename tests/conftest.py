"""Fixtures of several rooms' tests: a notebook whose runs cost next to nothing, a scheduler started by hand."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import stub_runs
from waiting import HANG, until


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """The notebook, in a folder of its own, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VDS_RESULTS", raising=False)
    return stub_runs.write_notebook(tmp_path / "stub.ipynb")


@pytest.fixture
def registries(monkeypatch):
    """Registries of this test's own, with all that is registered already, so that what a test adds does not stay."""
    from vdslib.forecasting import FORECASTERS
    from vdslib.sources import SOURCES

    for registry in (SOURCES, FORECASTERS):
        registry.names()
        monkeypatch.setattr(registry, "_kept", dict(registry._kept))


@pytest.fixture
def scheduler(tmp_path):
    """A scheduler and two workers as a user would start them by hand; yields its address and its process."""
    yield from started_by_hand(tmp_path, tmp_path)


@pytest.fixture
def scheduler_elsewhere(tmp_path):
    """The same with workers that were started in another folder."""
    (tmp_path / "elsewhere").mkdir()
    yield from started_by_hand(tmp_path, tmp_path / "elsewhere")


def started_by_hand(tmp_path, folder):
    file, module = tmp_path / "scheduler.json", [sys.executable, "-m"]
    paths = os.pathsep.join([str(Path(stub_runs.__file__).parent), os.environ.get("PYTHONPATH", "")])
    quiet: dict = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    quiet["env"] = os.environ | {"PYTHONPATH": paths}
    started = [
        subprocess.Popen(
            [*module, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
            + ["--no-dashboard", "--scheduler-file", str(file)],
            **quiet,
        )
    ]
    worker = [
        *module,
        "distributed.cli.dask_worker",
        "--scheduler-file",
        str(file),
        "--nthreads",
        "1",
        "--no-dashboard",
    ]
    started += [subprocess.Popen([*worker, "--host", "127.0.0.1"], cwd=folder, **quiet) for _ in range(2)]

    def address():
        with suppress(ValueError):  # not yet whole
            return file.exists() and json.loads(file.read_text())["address"]

    yield until(address), started[0]
    for process in started:
        process.kill()
    for process in started:
        process.wait(HANG)
