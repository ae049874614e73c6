"""One run of a notebook: its identity, and a folder with everything that it gave, kept whole or not at all.

A run is identified by a hash of what determines its result, so that the same run is found again instead of repeated.
Its folder ``RUNS/EXPERIMENT/ID`` holds ``notebook.ipynb`` (executed), ``parameters.json``, ``results.json``,
``environment.json``, ``figures/``, ``log.txt`` and, written last, ``run.json``; a run that failed has
``failed.json`` in its place.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
import os
import re
import shutil
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib

from vdslib import _computer, experiments, fingerprints, lost, scales
from vdslib.places import DONE, FAILED, Place

__all__ = [
    "DONE",
    "FAILED",
    "Outcome",
    "Place",
    "Run",
    "Subject",
    "environment",
    "hand_on",
    "keep_failure",
    "perform",
    "subject",
]

THREADS = (
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)


@dataclass(frozen=True)
class Run:
    """A run to make: ``parameters`` are complete but for ``results_dir``; ``handed`` is that folder, or empty."""

    id: str
    notebook: str
    parameters: Mapping[str, Any]
    inputs: str
    handed: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a run: its wall time in seconds, and the error of one that failed, else empty."""

    id: str
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class Subject:
    """A notebook to run: what it declares, and the fingerprint of all its inputs but the parameters."""

    path: Path
    declared: tuple[experiments.Parameter, ...]
    inputs: str
    data: Mapping[str, str]
    loads: bool

    def run(self, given: Mapping[str, Any]) -> Run:
        """The run with these parameters, the others at their defaults; ParameterError where one is refused."""
        checked = experiments.check_against(self.declared, given, self.path.stem)
        values = {parameter.name: parameter.default for parameter in self.declared} | checked
        # where results go does not change them
        handed = values.pop("results_dir", "") or os.environ.get("VDS_RESULTS", "")
        parts = [self.inputs, json.dumps(values, sort_keys=True), *self.files(values).values()]
        if self.loads and handed:
            parts += [
                f"{path.name} {fingerprints.of_file(path)}" for path in sorted(Path(handed).glob("*.json"))
            ]
        name = fingerprints.digest(*parts)[:16]
        return Run(name, str(self.path.resolve()), values, self.inputs, str(handed))

    def files(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Fingerprints of the files that parameters name: telemetry, and those declared as files."""
        found = {values["telemetry"]: _of_telemetry(values["telemetry"])} if "telemetry" in values else {}
        for parameter in self.declared:
            if parameter.file and values[parameter.name]:
                found[values[parameter.name]] = _of_file(Path(values[parameter.name]))
        return found


def subject(notebook: str | Path) -> Subject:
    """A notebook as the subject of runs; NotebookError where it cannot be one."""
    path = experiments.find(notebook)
    if path.resolve() == Path(__file__).with_name("report.ipynb"):
        raise experiments.NotebookError(
            f"{notebook} reads other runs, which its own id would not follow: vds results EXPERIMENT --report FILE"
        )
    root = experiments.root()
    files = [path, root / "requirements.lock", *(root / "vdslib").rglob("*.py"), *(root / "data").glob("*")]
    return _subject(path, max(file.stat().st_mtime_ns for file in files))


@functools.lru_cache(maxsize=8)
def _subject(path: Path, changed: int) -> Subject:
    """A notebook; ``changed``, when it or what it may need last was, keeps an older state out of the cache."""
    declared = tuple(experiments.parameters(path))
    content = experiments.read(path)
    rest = [cell for cell in content["cells"] if "parameters" not in cell["metadata"].get("tags", [])]
    # parameters count by their values, so that a comment may be bettered
    cells, tree = (
        fingerprints.code_cells({"cells": rest}),
        fingerprints.syntax(fingerprints.code_cells(content)),
    )
    root, known = experiments.root(), fingerprints.modules(experiments.root())
    needed = {name: fingerprints.of_file(known[name]) for name in sorted(fingerprints.closure(tree, known))}
    data = {file.name: fingerprints.of_file(file) for file in fingerprints.data_files(root, tree)}
    base = fingerprints.digest(
        *cells,
        json.dumps([needed, data]),
        fingerprints.of_file(root / "requirements.lock"),
        "{}.{}".format(*sys.version_info),
    )
    return Subject(path, declared, base, data, fingerprints.reads_results(tree))


def _of_telemetry(text: str) -> str:
    """Fingerprint of the files that a telemetry parameter names; a source elsewhere counts by its address alone."""
    for candidate in (Path(text), Path(text.partition(":")[2])):
        if candidate.name and candidate.is_file():
            return _of_file(candidate)
        if candidate.name and candidate.is_dir():  # a store may be too large to read
            files = sorted(path for path in candidate.rglob("*") if path.is_file())
            return fingerprints.digest(*(f"{p} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in files))
    return ""


def _of_file(path: Path) -> str:
    """Fingerprint of a file, read once for all runs of a plan; empty where there is none."""
    if not path.is_file():
        return ""
    status = path.stat()
    return _of_state(path.absolute(), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _of_state(path: Path, size: int, changed: int) -> str:
    return fingerprints.of_file(path)


Executor = Callable[[Run, Path, Mapping[str, str]], None]


def perform(
    run: Run,
    out: str,
    experiment: str,
    threads: int = 0,
    executor: Executor | None = None,
    progress: bool = False,
) -> Outcome:
    """Make a run and keep its folder; a failure is kept, too, and returned, not raised.

    ``threads`` limits what TensorFlow, BLAS and joblib use; 0 does not. ``executor`` takes the run, the folder to
    fill and the variables of the environment; unless given, it executes the notebook.
    """
    start, started = time.monotonic(), _now()
    place, error = Place(out, experiment), ""
    with place.workshop(run.id) as folder:
        variables = dict.fromkeys(THREADS, str(threads)) if threads else {}
        try:
            (executor or functools.partial(execute, progress=progress))(run, folder, variables)
        except experiments.NotebookError as failure:
            error = _plain(str(failure))
        except Exception:  # noqa: BLE001  # whatever it was, the others go on
            error = traceback.format_exc()
        seconds = round(time.monotonic() - start, 3)
        try:
            _describe(run, folder, experiment, started, seconds, error)
            _write(folder / "environment.json", environment(run, threads))
            place.publish(folder, run.id)
        except OSError as failure:  # a full disc, say
            reason = error.strip() or failure.strerror or failure
            raise experiments.NotebookError(f"cannot keep the run {place.shown(run.id)}: {reason}") from None
    return Outcome(run.id, seconds, error)


def keep_failure(run: Run, place: Place, error: str) -> None:
    """Keep a run that failed in a way that its worker could not tell, as when it was killed."""
    if place.has(run.id):
        return
    with place.workshop(run.id) as folder:
        _describe(run, folder, place.experiment, _now(), 0.0, error)
        place.publish(folder, run.id)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _describe(run: Run, folder: Path, experiment: str, started: str, seconds: float, error: str) -> None:
    """Write the parameters of a run, and what became of it; ``lost`` names its errors that are no numbers."""
    about = {
        "id": run.id,
        "experiment": experiment,
        "notebook": Path(run.notebook).stem,
        "inputs": run.inputs[:16],
        "started": started,
        "seconds": seconds,
        "cell_seconds": _cell_seconds(folder / "notebook.ipynb"),
    }
    if not error and (names := _errors_lost(folder / "results.json")):
        about["lost"] = names
    _write(folder / "parameters.json", run.parameters)
    _write(folder / (FAILED if error else DONE), about | ({"error": error} if error else {}))


def _errors_lost(path: Path) -> list[str]:
    """Errors that a run recorded as no numbers; none where it recorded nothing."""
    return lost.errors_lost(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else []


def execute(run: Run, folder: Path, variables: Mapping[str, str], progress: bool = False) -> None:
    """Execute the notebook of a run into ``folder``: notebook, results, figures, log.

    Raises NotebookError where a cell fails, or where this computer's notebook, vdslib, data or lock are not those
    that the run was planned with.
    """
    if subject(run.notebook).inputs != run.inputs:
        raise experiments.NotebookError(
            f"{run.notebook}: the notebook, vdslib, data or lock on {socket.gethostname()} are not those that the run "
            "was planned with. Bring them to the same state and start again."
        )
    results, notebook = folder / "results", folder / "notebook.ipynb"
    results.mkdir()
    before = {}
    if run.handed and subject(run.notebook).loads:
        before = experiments.load(run.handed)
        for chapter, values in before.items():
            experiments.record(chapter, values, results)
    with _log(folder / "log.txt"):
        try:
            experiments.run(
                run.notebook,
                run.parameters,
                notebook,
                progress=progress and None,
                environment={**variables, "VDS_RESULTS": str(results)},
            )
        finally:
            scales.mark(notebook, Path(run.notebook).stem, run.parameters)
            _keep_figures(notebook, folder / "figures")
    found = {name: values for name, values in experiments.load(results).items() if before.get(name) != values}
    _write(folder / "results.json", found)
    shutil.rmtree(results)


def hand_on(place: Place, run: Run) -> None:
    """Put the results of a finished run into the folder that other chapters read, where one was given."""
    if run.handed:
        for chapter, values in json.loads(
            place.files.cat_file(f"{place.folder(run.id)}/results.json")
        ).items():
            experiments.record(chapter, values, run.handed)


@contextmanager
def _log(path: Path) -> Iterator[None]:
    """Keep what papermill reports, with times."""
    logger, handler = logging.getLogger("papermill"), logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    except Exception as error:
        logger.error("%s", _plain(str(error)))
        raise
    finally:
        logger.removeHandler(handler)
        handler.close()
        logger.level, logger.propagate = before


def _plain(text: str) -> str:
    """A traceback without the colours of terminals."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _keep_figures(notebook: Path, folder: Path) -> None:
    """Pictures of an executed notebook as files, named as its figures are, else by their number."""
    folder.mkdir()
    number = 0
    for cell in _cells(notebook):
        name = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name", "")
        for picture in [output.get("data", {}).get("image/png") for output in cell.get("outputs", [])]:
            if picture:
                number += 1
                label = re.sub(r"[^\w-]", "-", f"{number:02}-{name or 'figure'}")
                (folder / f"{label}.png").write_bytes(base64.b64decode("".join(picture)))


def _cells(notebook: Path) -> list[dict[str, Any]]:
    """Cells of an executed notebook; none where it is not there, or not whole for want of room on the disc."""
    try:
        return list(experiments.read(notebook)["cells"])
    except (OSError, experiments.NotebookError):
        return []


def _cell_seconds(notebook: Path) -> float | None:
    """Time that the cells of an executed notebook took, in seconds; None where there is none."""
    cells = _cells(notebook)
    times = [cell["metadata"].get("papermill", {}).get("duration") or 0 for cell in cells]
    return round(sum(times), 3) if cells else None


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def environment(run: Run, threads: int = 0) -> dict[str, Any]:
    """What a run ran on: versions, processor, commit, checksums of its data, seeds."""
    seeds = {name: value for name, value in run.parameters.items() if "seed" in name}
    data: dict[str, str] = {}
    if Path(run.notebook).is_file():
        about = subject(run.notebook)
        data = {**about.data, **{name: value for name, value in about.files(run.parameters).items() if value}}
    return _computer.describe(experiments.root()) | {
        "threads": threads or joblib.cpu_count(),
        "data": data,
        "seeds": seeds,
    }
