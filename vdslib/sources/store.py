"""A store of many nodes: a folder of trace files becomes Parquet, one partition per node.

A trace of 1,500 files is read once, in parallel, and checked; afterwards one node is read in milliseconds. The
layout is ``STORE/node=NAME/data.parquet``, which Dask, Spark, DuckDB and pyarrow know as partitioned by ``node``.
Each partition is written under a temporary name and then renamed, and holds in its own metadata what it was made
from (names, sizes and times of change). So the partitions themselves tell what is done: an import that was killed
goes on where it stopped, and files that changed since are read again. Nothing is ever removed from a store but
temporary files.
"""

from __future__ import annotations

import argparse
import difflib
import fcntl
import fnmatch
import functools
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import forkserver
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import joblib
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from vdslib import _temporary, files
from vdslib.errors import TelemetryError
from vdslib.sources import bitbrains
from vdslib.sources.partition import Done, Parse, Task, import_node, record_of
from vdslib.telemetry import stem

if TYPE_CHECKING:
    import dask.dataframe as dd

MARKER = "_store.json"  # makes a folder a store; Parquet readers skip names that begin with _ or .
DATA = "data.parquet"
FORMAT = 1  # raised when partitions are to be made anew, by a change of units or layout
POOL_FROM = 100  # nodes; fewer are imported sooner than worker processes start
SHOWN = 20  # bad files named in one message


@dataclass(frozen=True)
class Imported:
    """What an import did. ``nodes`` and ``rows`` count all that the import found good; ``kept`` of these nodes
    were in the store already, unchanged. ``dropped`` counts rows left out because they repeated a timestamp.
    ``failed`` has the message for each node that could not be imported."""

    nodes: int
    rows: int
    kept: int
    dropped: int
    failed: dict[str, str]


def import_folder(
    folder: str | Path,
    out: str | Path,
    *,
    parse: Parse | None = None,
    pattern: str = "*.csv",
    jobs: int | None = None,
) -> Imported:
    """Read all trace files in ``folder`` and below, check them, and write them to the store ``out``.

    A file's name without its ending is the node (``vm_1.csv.gz`` is of vm_1); files of the same node in several
    folders (months) are joined in order of time, and two of them in one folder are refused. ``parse`` turns one path into a table or frame with the columns of telemetry.COLUMNS (``node``
    may be left out), one node, sorted by time; the default is ``bitbrains.table``. It must be importable, since worker
    processes call it; use ``jobs=1`` for a function that lives in a notebook. Of rows with the same timestamp the
    first is kept, and the others are counted. ``jobs`` is the number of processes, by default the cores that this
    process may use.

    A file that is not good leaves out its node, with a message in ``failed``; the other nodes are imported. Called
    again, only what is missing or has changed is done. Scripts that call it need the usual guard
    ``if __name__ == "__main__":``, as workers import the script.

    Raises TelemetryError where there is nothing to read, nowhere to write, or another import at work.
    """
    folder, out, parse = Path(folder), Path(out), parse or bitbrains.table
    groups = _by_node(folder, pattern)
    described = {"format": FORMAT, "parse": _name(parse)}
    with _opened(out, folder):
        done, tasks = _outstanding(out, folder, groups, described)
        kept = sum(not each.problem for each in done)
        work = functools.partial(import_node, parse=parse)
        jobs = jobs or (joblib.cpu_count() if len(tasks) >= POOL_FROM else 1)
        results = _in_processes(work, tasks, jobs) if jobs > 1 and tasks else map(work, tasks)
        progress = tqdm(results, total=len(tasks), unit="node", desc="import", delay=2, disable=None)
        done += progress
        failed = {each.node: each.problem for each in sorted(done, key=_in_order_of_node) if each.problem}
        _mark(out, folder, complete=True, failed=list(failed))
    good = [each for each in done if not each.problem]
    rows, dropped = sum(each.rows for each in good), sum(each.dropped for each in good)
    return Imported(len(good), rows, kept, dropped, failed)


def import_folder_command(options: argparse.Namespace) -> None:
    """``vds import FOLDER --out STORE``: import, and say what was done.

    Uses ``source`` and ``out`` of ``options``. Raises TelemetryError that names the bad files after the good ones
    were imported.
    """
    result = import_folder(options.source, options.out)
    print(
        f"{options.out}: {result.nodes} nodes, {result.rows} rows ({result.kept} nodes were there already, "
        f"{result.dropped} rows with a repeated timestamp left out)"
    )
    if result.failed:
        sys.stdout.flush()
        shown = list(result.failed.values())[:SHOWN]
        more = [f"and {len(result.failed) - SHOWN} more"] if len(result.failed) > SHOWN else []
        raise TelemetryError("\n".join([f"{len(result.failed)} nodes could not be imported:", *shown, *more]))


def nodes(store: str | Path) -> list[str]:
    """The names of all nodes in ``store``, shorter ones first, so that numbers come in order.

    Raises TelemetryError if it is no store or its import was not finished.
    """
    store = Path(store)
    state = _state(store)
    if state is None:
        raise TelemetryError(f"{store}: this is no store. Make one with `vds import FOLDER --out {store}`.")
    if not state["complete"]:
        raise TelemetryError(
            f"{store}: its import was not finished. Run `vds import {state['folder']} --out {store}` again: "
            "it goes on where it stopped."
        )
    names = (unquote(path.parent.name.removeprefix("node=")) for path in store.glob(f"node=*/{DATA}"))
    return sorted(names, key=lambda name: (len(name), name))


def read_node(store: str | Path, node: str | int) -> pd.DataFrame:
    """The telemetry of one node, sorted by time, with the types of telemetry.SCHEMA; checked at the import.

    ``attrs["origin"]`` is the partition's path. Raises TelemetryError for an unknown node.
    """
    node, path = str(node), _partition(Path(store), str(node))
    try:
        # opened by Python, so that whoever records what a process opens sees it
        table = pq.ParquetFile(pa.BufferReader(path.read_bytes())).read()
    except FileNotFoundError:
        known = nodes(store)
        near = difflib.get_close_matches(node, known, cutoff=0) or known[:3]
        raise TelemetryError(
            f"{store}: there is no node {node!r} among its {len(known)} nodes. Perhaps {', '.join(near)}?"
        ) from None
    except (OSError, pa.ArrowException) as error:
        raise TelemetryError(
            f"{path}: not readable ({error}). Remove this file and import the folder again."
        ) from None
    frame = table.to_pandas(ignore_metadata=True)
    frame.insert(1, "node", pd.Series(node, index=frame.index, dtype=str))
    frame.attrs["origin"] = str(path)
    return frame


def to_dask(store: str | Path) -> dd.DataFrame:
    """The whole store as a Dask DataFrame, one partition per node, columns read as they are needed.

    It is computed by the cluster whose ``dask.distributed.Client`` is open, else by this process. The workers must
    see the store under the same path.  Raises TelemetryError as ``nodes`` does.
    """
    import dask.dataframe as dd

    if not nodes(store):
        raise TelemetryError(
            f"{store}: the store has no nodes. Correct the files and import the folder again."
        )
    by_node = {"flavor": "hive", "schema": pa.schema([("node", pa.string())])}  # "332" is a name, no number
    frame = dd.read_parquet(str(store), dataset={"partitioning": by_node})
    return frame[["timestamp", "node", *frame.columns.drop(["timestamp", "node"])]]


# --------------------------------------------------------------------------- the folder and the store


def _by_node(folder: Path, pattern: str) -> dict[str, list[Path]]:
    """All trace files of a folder and the folders below, by node."""
    if not folder.is_dir():
        raise TelemetryError(f"{folder}: there is no such folder. Give the folder that has the trace files.")
    by_node: dict[str, list[Path]] = {}

    def refuse(error: OSError) -> None:  # os.walk would pass over a folder that it cannot read
        raise TelemetryError(
            f"{error.filename}: cannot be read ({error.strerror}). Give permission to read it."
        )

    for where, _, names in os.walk(folder, onerror=refuse):
        for name in fnmatch.filter(names, pattern):
            if not name.startswith("."):
                by_node.setdefault(stem(name), []).append(Path(where, name))
    if not by_node:
        raise TelemetryError(
            f"{folder}: there is no file {pattern} in it or in the folders below. Give the folder that has "
            "the trace files."
        )
    return {node: sorted(by_node[node]) for node in sorted(by_node, key=lambda name: (len(name), name))}


def _outstanding(
    out: Path, folder: Path, groups: dict[str, list[Path]], described: dict[str, Any]
) -> tuple[list[Done], list[Task]]:
    """What the store has already, and what is to do."""
    done, tasks = [], []
    before = {unquote(path.parent.name.removeprefix("node=")): path for path in out.glob(f"node=*/{DATA}")}
    for node in [*groups, *(before.keys() - groups.keys())]:
        paths, rows, record = groups.get(node, []), *record_of(before.get(node))
        sources = [_source(file, folder) for file in paths]
        beside = next((one for one, two in pairwise(paths) if one.parent == two.parent), None)
        gone = {name for name, *_ in record.get("sources", [])} - {name for name, *_ in sources}
        task = Task(node, paths, _partition(out, node), {**described, "sources": sources})
        if beside is not None:
            names = " and ".join(file.name for file in paths if file.parent == beside.parent)
            problem = f"{beside.parent}: {names} are of the same node, {node}. Rename or remove one of them."
            done.append(Done(node, 0, 0, problem))
        elif gone:  # the store may be the only copy that is left
            problem = (
                f"{folder / min(gone)}: the store has rows of this file, but it is no longer there. Put it "
                f"back, or remove {task.target.parent} to import node {node} without it."
            )
            done.append(Done(node, 0, 0, problem))
        elif {**task.record, "dropped": record.get("dropped")} == record:
            done.append(Done(node, rows, record["dropped"]))
        else:
            tasks.append(task)
    return done, tasks


def _source(file: Path, folder: Path) -> list[Any]:
    """What tells a file from a later version of it. Taken before it is read: a change meanwhile shows next time."""
    name = file.relative_to(folder).as_posix()
    try:
        status = file.stat()
    except OSError:  # a link to nowhere; reading it will say so
        return [name, 0, 0]
    return [name, status.st_size, status.st_mtime_ns]


def _partition(store: Path, node: str) -> Path:
    return store / f"node={quote(node, safe='')}" / DATA


def _state(store: Path) -> dict[str, Any] | None:
    """What the store's marker says; None where it is no store."""
    try:
        state = json.loads((store / MARKER).read_text(encoding="utf-8"))
        return state if {"folder", "complete"} <= state.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _mark(store: Path, folder: Path, *, complete: bool, failed: list[str]) -> None:
    """Write the store's marker."""
    state = {"format": FORMAT, "folder": str(folder.resolve()), "complete": complete, "failed": failed}
    files.save(store / MARKER, json.dumps(state, indent=1) + "\n")


def _check_output(out: Path, folder: Path) -> None:
    """Refuse to write where something else is: another kind of file or folder, or another folder's store."""
    if out.exists() and not out.is_dir():
        raise TelemetryError(f"{out}: this is a file, but a store is a folder. Choose another name.")
    state = _state(out)
    if state and Path(state["folder"]) != folder.resolve():
        raise TelemetryError(
            f"{out}: this store was imported from {state['folder']}. Choose another name for {folder}, or "
            f"remove {out} first."
        )
    # an import that was killed in its first moment leaves no marker yet
    if state is None and out.is_dir() and any(not path.name.startswith(".") for path in out.iterdir()):
        raise TelemetryError(
            f"{out}: the folder has something else in it, and is no store. Choose a new folder."
        )


@contextmanager
def _opened(out: Path, folder: Path) -> Iterator[None]:
    """A store that only this process writes to, made if need be; what a killed import left behind is removed."""
    try:
        _check_output(out, folder)
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / ".lock").open("w")
    except OSError as error:
        raise TelemetryError(
            f"{out}: cannot be written ({error.strerror}). Choose another place, or give permission to write."
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, however that ends
        except BlockingIOError:
            raise TelemetryError(
                f"{out}: another import writes to this store. Wait until it is done."
            ) from None
        for left in [*out.glob(f".{MARKER}.*"), *out.glob(f"node=*/.{DATA}.*")]:
            left.unlink()
        _mark(out, folder, complete=False, failed=[])
        yield


# --------------------------------------------------------------------------- processes


def _in_processes(work: Callable[[Task], Done], tasks: Sequence[Task], jobs: int) -> Iterator[Done]:
    """The results of ``work`` for all tasks, in their order, by ``jobs`` processes."""
    # Not forked from this process: a notebook's may have threads (TensorFlow), which a fork does not survive. From
    # a server of their own, since that imports pandas and pyarrow once for all of them.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vdslib.sources.partition", "vdslib.sources.bitbrains"])
    with _temporary.in_short_folder():
        forkserver.ensure_running()
    pool = ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=context, initializer=_end_with_parent)
    try:
        yield from pool.map(work, tasks, chunksize=4)
    except BrokenProcessPool:
        raise TelemetryError(
            "a worker process was ended from outside, perhaps for want of memory. Import again, with fewer "
            "processes (jobs): what is done is kept."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Let a worker end when the importing process does: killed, it cannot tell its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the importing process's to handle
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _in_order_of_node(done: Done) -> tuple[int, str]:
    return len(done.node), done.node


def _name(parse: Parse) -> str:
    """A name of ``parse`` that is the same in every process."""
    if isinstance(parse, functools.partial):
        return f"{_name(parse.func)} {parse.args} {sorted(parse.keywords.items())}"
    return f"{parse.__module__}.{getattr(parse, '__qualname__', type(parse).__qualname__)}"
