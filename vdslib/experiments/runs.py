"""One run of a notebook: its identity, and a folder with everything that it gave, kept whole or not at all.

A run is identified by a hash of what determines its result, so that the same run is found again instead of repeated.
Its folder ``RUNS/EXPERIMENT/ID`` holds ``notebook.ipynb`` (executed), ``parameters.json``, ``results.json``,
``environment.json``, ``figures/``, ``log.txt`` and, written last, ``run.json``; a run that failed has
``failed.json`` in its place.
"""

import base64
import functools
import json
import os
import re
import shutil
import socket
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib

from vdslib import files
from vdslib.errors import NotebookError
from vdslib.experiments import handing, identity, logs, lost, notebooks, scales
from vdslib.experiments.storage import DONE, FAILED, Place

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
    """A run to make: ``parameters`` are complete but for ``results_dir``; ``handed`` is that folder, or empty.

    ``files`` has the SHA-256 of the files that parameters name, by path.
    """

    id: str
    notebook: str
    parameters: Mapping[str, Any]
    inputs: str
    files: Mapping[str, str]
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
    declared: tuple[notebooks.Parameter, ...]
    inputs: str

    def run(self, settings: Mapping[str, Any]) -> Run:
        """The run with these parameters, the others at their defaults; ParameterError where one is refused.

        Each run on telemetry that is measured anew has an id of its own. TelemetryError for an unknown source.
        """
        checked = notebooks.check_against(self.declared, settings, self.path.stem)
        values = {parameter.name: parameter.default for parameter in self.declared} | checked
        # where results go does not change them
        handed = values.pop("results_dir", "") or os.environ.get("VDS_RESULTS", "")
        handed = str(Path(handed).absolute()) if handed else ""
        files, live = self.files(values)
        parts = [self.inputs, json.dumps(values, sort_keys=True), *files.values()]
        parts += [f"{name} {value}" for name, value in earlier_results(self.path, handed).items()]
        parts += [uuid.uuid4().hex] if live else []
        name = identity.digest(*parts)[:16]
        return Run(name, str(self.path.resolve()), values, self.inputs, files, handed)

    def files(self, values: Mapping[str, Any]) -> tuple[dict[str, str], bool]:
        """SHA-256 of the files that parameters name, telemetry and those declared as files, and whether the
        telemetry is measured anew each time."""
        named = [values[p.name] for p in self.declared if p.file and values[p.name] not in ("", None)]
        behind = _behind(str(values["telemetry"])) if values.get("telemetry") else []
        return identity.of_files(Path(path) for path in [*(behind or []), *named]), behind is None


def _behind(telemetry: str) -> list[Path] | None:
    """Files that telemetry comes from; None where it is measured anew. "recorded" is among the project's own."""
    if telemetry == "recorded":
        return []
    if os.path.isfile(telemetry):  # false, not an error, for what cannot be a path
        return [Path(telemetry)]
    from vdslib import sources  # takes a second to import

    return sources.files(telemetry)


def earlier_results(notebook: Path, handed: str | Path) -> dict[str, str]:
    """SHA-256 of the results in a folder that a notebook may read, by chapter: neither its own nor those of chapters
    that come after it."""
    if not handed:
        return {}
    makers, later = handing.makers(handed), notebooks.from_on(notebook)
    return {
        path.stem: identity.of_file(path)
        for path in sorted(Path(handed).glob("[!.]*.json"))
        if makers.get(path.stem, path.stem) not in later
    }


def subject(notebook: str | Path) -> Subject:
    """A notebook as the subject of runs; NotebookError where it cannot be one."""
    path = notebooks.find(notebook)
    if path.resolve() == Path(__file__).with_name("report.ipynb"):
        raise NotebookError(
            f"{notebook} reads other runs, which its own id would not follow: vds results EXPERIMENT --report FILE"
        )
    root, content = files.root(), notebooks.read(path)
    # parameters count by their values, so that a comment may be bettered
    rest = [cell for cell in content["cells"] if "parameters" not in cell["metadata"].get("tags", [])]
    inputs = identity.digest(
        *identity.code_cells({"cells": rest}),
        json.dumps(identity.of_project(root)),
        identity.environment(root),
        *identity.own_code().values(),
        *identity.modules_beside(path.parent, Path.cwd()),
    )
    return Subject(path, tuple(notebooks.parameters(path)), inputs)


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
        except NotebookError as failure:
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
            raise NotebookError(f"cannot keep the run {place.shown(run.id)}: {reason}") from None
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

    Raises NotebookError where a cell fails, or where what the run depends on is not, here and now, what it was
    planned with.
    """
    _check_plan(run)
    results, earlier, notebook = folder / "results", folder / "earlier", folder / "notebook.ipynb"
    results.mkdir()
    earlier.mkdir()
    for chapter in earlier_results(Path(run.notebook), run.handed):
        shutil.copy(Path(run.handed, f"{chapter}.json"), earlier)
    with logs.kept(folder / "log.txt") as log:
        try:
            notebooks.run(
                run.notebook,
                run.parameters,
                notebook,
                progress=progress and None,
                environment={**variables, "VDS_RESULTS": str(results), "VDS_EARLIER_RESULTS": str(earlier)},
            )
        except Exception as error:
            log.error("%s", _plain(str(error)))
            raise
        finally:
            shutil.rmtree(earlier)
            scales.mark(notebook, Path(run.notebook).stem, run.parameters)
            _keep_figures(notebook, folder / "figures")
    _write(folder / "results.json", dict(handing.load(results)))
    shutil.rmtree(results)


def _check_plan(run: Run) -> None:
    """NotebookError where this computer does not have what a run was planned with."""
    if subject(run.notebook).inputs != run.inputs:
        raise NotebookError(
            f"{run.notebook}: the notebook, modules beside it, vdslib, data or lock on {socket.gethostname()} are not "
            "those that the run was planned with. Bring them to the same state and start again."
        )
    if changed := [name for name, value in run.files.items() if identity.of_file(Path(name)) != value]:
        raise NotebookError(
            f"{changed[0]}: the file on {socket.gethostname()} is not what it was when the run was planned. "
            "Start again."
        )


def hand_on(place: Place, run: Run) -> None:
    """Put the results of a finished run into the folder that other chapters read, where one was given."""
    if run.handed:
        made = json.loads(place.files.cat_file(f"{place.folder(run.id)}/results.json"))
        handing.hand_on(made, run.handed, Path(run.notebook).stem)


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
        return list(notebooks.read(notebook)["cells"])
    except (OSError, NotebookError):
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
    root = files.root()
    data = {path.name: identity.of_file(path) for path in sorted((root / "data").glob("*"))}
    return identity.computer(root) | {
        "threads": threads or joblib.cpu_count(),
        "data": data | {path: value for path, value in run.files.items() if value},
        "seeds": seeds,
    }


# ------------------------------------------------------------------------------- on a worker of a sweep


@dataclass(frozen=True)
class Origin:
    """Where a sweep was called, and where its runs go: ``sign`` is a folder there while it lasts, empty for an address."""

    folder: str
    sign: str
    out: str
    experiment: str


def near(run: Run) -> list[str]:
    """Files that parameters of a run name by a path from the current folder on."""
    named, _ = subject(run.notebook).files(run.parameters)
    return [name for name, there in named.items() if there and not Path(name).is_absolute()]


def perform_away(
    run: Run, origin: Origin, relative: list[str], threads: int, executor: Executor | None
) -> Outcome:
    """Make a run on a worker; NotebookError where it works on another computer or folder, in which names mean else."""
    here = f"the worker on {socket.gethostname()} in {Path.cwd()}"
    if origin.sign and not Path(origin.sign).is_dir():
        raise NotebookError(
            f"{here} does not see {origin.out}: name a folder that it sees, or an address (--out s3://...)"
        )
    if relative and Path.cwd() != Path(origin.folder):
        raise NotebookError(
            f"{here} would not find what the sweep found in {origin.folder}: give {', '.join(relative)} with its whole path, "
            "or start the worker there"
        )
    return perform(run, origin.out, origin.experiment, threads, executor)
