"""Runs of an experiment for MLflow: an experiment of the same name, with a run for each of ours.

The package ``mlflow-skinny`` is optional and needed here alone; MLflow keeps its store of files since 3.13 for those
alone who ask for it, so this module does.
"""

import json
import os
import re
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from vdslib.errors import NotebookError
from vdslib.experiments import results, storage

# limits of MLflow: length of a name, of a parameter, of a tag; entries of one request
NAME, PARAMETER, TAG, METRICS, ENTRIES = 250, 6000, 5000, 1000, 100
ID, STARTED = "vds.id", "vds.started"


def export(experiment: str, out: str | Path, target: str) -> tuple[int, int]:
    """Write the runs of an experiment to MLflow; returns how many were written, and how many were there already.

    ``target`` is the folder of a store of files, or the address of a tracking server (``http://...``). A run that was
    repeated since, or whose export was cut off, takes the place of what is there. Raises NotebookError where there
    are no runs, MLflow is not installed, or it refuses.
    """
    place = storage.Place(out, experiment)
    states = {
        **{name: (about, "failed") for name, about in place.read(storage.FAILED).items()},
        **{name: (about, results.state(about)) for name, about in place.read(storage.DONE).items()},
    }
    if not states:
        raise NotebookError(f"there are no runs of {experiment!r} in {out}; vds run or vds sweep makes some")
    client, refusal = _client(target)
    try:
        number = _experiment(client, experiment)
        known = {run.data.tags.get(ID): run for run in _all_runs(client, number)}
        written = 0
        for name, (about, state) in sorted(states.items(), key=lambda item: item[1][0]["started"]):
            if (there := known.get(name)) is not None:
                if there.data.tags.get(STARTED) == about["started"] and there.info.status != "RUNNING":
                    continue
                client.delete_run(there.info.run_id)
            _write(client, number, place, name, about, state)
            written += 1
    except refusal as error:
        raise NotebookError(f"MLflow refuses {target}: {str(error).strip().splitlines()[0]}") from None
    return written, len(states) - written


def _client(target: str) -> tuple[Any, type[Exception]]:
    """A client of the store, and the error that it raises."""
    # a store of files has to be asked for; usage would be reported to MLflow's makers, from the import on
    os.environ.update(MLFLOW_ALLOW_FILE_STORE="true", MLFLOW_DISABLE_TELEMETRY="true")
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise NotebookError(
            "--mlflow needs a package that is not installed: pip install mlflow-skinny"
        ) from None
    address = target if "://" in target else Path(target).resolve().as_uri()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # before 3.13 it says that files are out of fashion
        return MlflowClient(tracking_uri=address, registry_uri=address), MlflowException


def _experiment(client: Any, name: str) -> str:
    """The id of MLflow's experiment of a name, which is made where there is none."""
    there = client.get_experiment_by_name(name)
    return there.experiment_id if there else client.create_experiment(name)


def _all_runs(client: Any, experiment: str) -> Iterator[Any]:
    """All runs of an experiment in MLflow, page by page."""
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _write(
    client: Any, experiment: str, place: storage.Place, name: str, about: Mapping[str, Any], state: str
) -> None:
    """Write one run: what identifies it first, so that a run that was cut off is known and made anew."""
    contents = {}
    for file in ("parameters", "results", "environment"):
        address = f"{place.folder(name)}/{file}.json"
        contents[file] = json.loads(place.files.cat_file(address)) if place.files.exists(address) else {}
    began = datetime.fromisoformat(about["started"]).timestamp()
    recorded = {} if state == "failed" else results.recorded(contents["results"])
    tags = {
        ID: name,
        STARTED: about["started"],
        "vds.state": state,
        "vds.notebook": about["notebook"],
        "vds.folder": place.shown(name),
        "vds.error": about.get("error", ""),
        "vds.uncommitted_changes": contents["environment"].get("uncommitted_changes", ""),
        "mlflow.source.git.commit": contents["environment"].get("commit", ""),
        "mlflow.source.name": about["notebook"],
    }
    run = client.create_run(experiment, int(began * 1000), texts(tags, TAG), run_name=name).info.run_id
    _log(client, run, contents["parameters"], recorded, about)
    with tempfile.TemporaryDirectory(prefix="vds-") as copy:
        # all of it: MLflow shows pictures from there alone, and its store can be given away without ours
        folder = place.folder(name)
        for path in place.files.find(folder):
            target = Path(copy) / path[len(folder) :].lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            place.files.get_file(path, str(target))
        client.log_artifacts(run, copy)
    ended = int((began + about["seconds"]) * 1000)
    client.set_terminated(run, "FINISHED" if state == "done" else "FAILED", ended)


def _log(
    client: Any,
    run: str,
    parameters: Mapping[str, Any],
    recorded: Mapping[str, Any],
    about: Mapping[str, Any],
) -> None:
    """Log parameters, metrics, and results that are words, in portions that MLflow takes."""
    from mlflow.entities import Metric, Param, RunTag

    began = int(datetime.fromisoformat(about["started"]).timestamp() * 1000)
    ended = began + int(about["seconds"] * 1000)
    words = {
        f"result.{name}": value
        for name, value in results.flatten(recorded).items()
        if isinstance(value, (bool, str))
    }
    times = {"vds.seconds": about["seconds"], "vds.cell_seconds": about.get("cell_seconds")}
    # the value that MLflow shows for a list is its last, which says little about repetitions: their means join them
    flat = dict(results.leaves(recorded))
    means = {name: value for name, value in results.flatten(recorded).items() if name not in flat}
    metrics = [
        Metric(name, value, ended, step)
        for name, history in histories(flat | means | times).items()
        for step, value in history
    ]
    for part in _portions([Param(*pair) for pair in texts(parameters, PARAMETER).items()], ENTRIES):
        client.log_batch(run, params=part)
    for part in _portions([RunTag(*pair) for pair in texts(words, TAG).items()], ENTRIES):
        client.log_batch(run, tags=part)
    for part in _portions(metrics, METRICS):
        client.log_batch(run, metrics=part)


def _portions(items: list[Any], size: int) -> Iterable[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def texts(values: Mapping[str, Any], longest: int) -> dict[str, str]:
    """Values as MLflow keeps parameters and tags: text, lists as JSON; a text that is too long ends in ``...``."""
    written: dict[str, str] = {}
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value)
        written[_name(name, written)] = text if len(text) <= longest else f"{text[: longest - 3]}..."
    return written


def histories(recorded: Mapping[str, Any]) -> dict[str, list[tuple[int, float]]]:
    """Results as MLflow keeps metrics: name to pairs of step and value, finite numbers only.

    A single number has step 0. A list of numbers has a step for each, its place: epochs of a curve, or repetitions.
    Lists of lists (a curve for each seed) are numbered by their names.
    """
    steps: dict[str, list[tuple[int, float]]] = {}
    for name, value in results.leaves(recorded):
        history = value if isinstance(value, list) else [value]
        kept = [(step, float(number)) for step, number in enumerate(history) if results.is_number(number)]
        if kept:
            steps[_name(name, steps)] = kept
    return steps


def _name(name: str, taken: Mapping[str, Any]) -> str:
    """A name that MLflow takes and that is not taken: letters, digits, ``_ - .`` and space."""
    valid = re.sub(r"[^\w\-. ]", "_", name, flags=re.ASCII)[: NAME - 10].strip(" .") or "unnamed"
    number, free = 2, valid
    while free in taken:
        free, number = f"{valid}_{number}", number + 1
    return free
