"""Many runs of one notebook: the plan that a file describes, and its execution on Dask.

A plan is a mapping with any of these parts, whose combinations are the runs::

    grid:   {window: [5, 10], seed: [1, 2, 3]}                  # every value with every other
    zip:    {units: [[64, 32], [32]], dropout: [0.2, 0.1]}      # first with first, second with second
    list:   [{network: figure}, {network: textbook, dropout: 0}]
    random: {n: 20, seed: 1, over: {learning_rate: {low: 0.0001, high: 0.1, log: true}, batch_size: [16, 32]}}
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
import random
import signal
import statistics
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from tqdm import tqdm

from vdslib import _temporary
from vdslib.errors import NotebookError, ParameterError
from vdslib.experiments import handing, runs, storage

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

PARTS = ("grid", "zip", "list", "random")
LOST = 30  # seconds without the scheduler after which a sweep gives up
GONE = "the Dask scheduler is lost. What is finished is kept: start one and call again"


@dataclass
class Summary:
    """What became of a sweep: runs that were there already, that were made, and that failed with their errors."""

    there: int = 0
    done: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def combinations(content: Mapping[str, Any], kinds: Mapping[str, str]) -> list[dict[str, Any]]:
    """Parameters of each run that a plan (see the module) describes, in its order.

    ``kinds`` has the type of each parameter, as a whole number is drawn for an ``int``. Raises ParameterError that
    names the part of the plan at fault.
    """
    if unknown := sorted(set(map(str, content)) - set(PARTS)):
        raise ParameterError(f"a plan has the parts {', '.join(PARTS)}, not {', '.join(unknown)}")
    if not content:
        raise ParameterError(f"the plan is empty; it has at least one of the parts {', '.join(PARTS)}")
    readers: dict[str, Callable[[Any], list[dict[str, Any]]]] = {
        "list": _listed,
        "zip": _zipped,
        "random": lambda part: _drawn(part, kinds),
        "grid": _crossed,
    }
    parts = [(name, reader(content[name])) for name, reader in readers.items() if name in content]
    holders: dict[str, str] = {}
    for part, choices in parts:
        for name in {name for choice in choices for name in choice}:
            if name in holders:
                raise ParameterError(
                    f"the plan sets {name} in {holders[name]} and in {part}: keep one of them"
                )
            holders[name] = part
    products = itertools.product(*(choices for _, choices in parts))
    return [{name: value for choice in product for name, value in choice.items()} for product in products]


def _listed(part: Any) -> list[dict[str, Any]]:
    if not isinstance(part, list) or not part or not all(isinstance(item, dict) for item in part):
        raise ParameterError("list: give a list of 'name: value' mappings")
    return part


def _values(part: Any, name: str) -> dict[str, list[Any]]:
    """A part that maps names to lists of values."""
    if not isinstance(part, dict) or not part:
        raise ParameterError(f"{name}: give lines of the form 'name: [value, value]'")
    for key, values in part.items():
        if not isinstance(values, list) or not values:
            raise ParameterError(f"{name}: {key} must be a list of values, not {values!r}")
    return part


def _crossed(part: Any) -> list[dict[str, Any]]:
    values = _values(part, "grid")
    return [dict(zip(values, choice, strict=True)) for choice in itertools.product(*values.values())]


def _zipped(part: Any) -> list[dict[str, Any]]:
    values = _values(part, "zip")
    lengths = {name: len(items) for name, items in values.items()}
    if len(set(lengths.values())) > 1:
        raise ParameterError(
            f"zip: lists must have one length; they have {', '.join(f'{k} {v}' for k, v in lengths.items())}"
        )
    return [dict(zip(values, choice, strict=True)) for choice in zip(*values.values(), strict=True)]


def _drawn(part: Any, kinds: Mapping[str, str]) -> list[dict[str, Any]]:
    if not isinstance(part, dict) or set(part) != {"n", "seed", "over"} or not isinstance(part["over"], dict):
        raise ParameterError("random: give n, seed and over, which maps names to choices or to low and high")
    if any(type(part[name]) is not int or part[name] < 0 for name in ("n", "seed")) or not part["n"]:
        raise ParameterError("random: n and seed must be whole numbers, n at least 1")
    # numbers of each parameter are its own: one more parameter leaves the draws of the others as they were
    generators = {name: random.Random(f"{part['seed']} {name}") for name in part["over"]}
    return [
        {
            name: _draw(generators[name], name, kinds.get(name, ""), space)
            for name, space in part["over"].items()
        }
        for _ in range(part["n"])
    ]


def _draw(generator: random.Random, name: str, kind: str, space: Any) -> Any:
    """A random value of a parameter: one of a list, or between ``low`` and ``high``, evenly or by its logarithm."""
    if isinstance(space, list) and space:
        return generator.choice(space)
    if not isinstance(space, dict) or not {"low", "high"} <= set(space) <= {"low", "high", "log"}:
        raise ParameterError(
            f"random: {name} must be a list of choices, or have low and high (and log: true)"
        )
    low, high, log = space["low"], space["high"], space.get("log", False)
    numbers = all(type(side) in (int, float) and math.isfinite(side) for side in (low, high))
    if not numbers or not low <= high or (log and low <= 0):
        raise ParameterError(
            f"random: {name} needs numbers low <= high, above 0 for log (1e-4 is text in YAML: write 0.0001 or 1.0e-4)"
        )
    if kind.startswith("int") and not all(float(side).is_integer() for side in (low, high)):
        raise ParameterError(f"random: {name} is a whole number, and so must low and high be")
    value = (
        math.exp(generator.uniform(math.log(low), math.log(high))) if log else generator.uniform(low, high)
    )
    if kind.startswith("int"):
        return min(max(round(value), low), high) if log else generator.randint(int(low), int(high))
    return float(f"{min(max(value, low), high):.6g}")


def plan(
    subject: runs.Subject,
    content: Mapping[str, Any],
    fixed: Mapping[str, Any],
    scale: Mapping[str, Any] | None = None,
) -> tuple[list[runs.Run], list[str]]:
    """Runs of a plan, each once, and the names of the parameters that it sets; ``fixed`` holds for all of them,
    and so does ``scale`` where neither says otherwise.

    Raises ParameterError before anything starts, where any value is refused.
    """
    chosen = combinations(content, {parameter.name: parameter.type for parameter in subject.declared})
    varied = list(dict.fromkeys(name for choice in chosen for name in choice))
    if both := [name for name in varied if name in fixed]:
        raise ParameterError(f"{', '.join(both)}: set by the plan and beside it; keep one of them")
    settings = [{**(scale or {}), **fixed, **choice} for choice in chosen]
    for folder in {str(values.get("results_dir") or "") for values in settings} - {""}:
        if not handing.load(folder):
            raise ParameterError(
                f"results_dir: a sweep keeps the results of each run in its folder, and {folder!r} has none to read; "
                "leave it out"
            )
    planned = {run.id: run for run in map(subject.run, settings)}
    return list(planned.values()), varied


def show(
    planned: Sequence[runs.Run], varied: Sequence[str], done: Mapping[str, Mapping[str, Any]], workers: int
) -> None:
    """Print the runs of a plan and an estimate of their time; ``done`` has what is known of the finished ones."""
    for run in planned:
        values = " ".join(f"{name}={run.parameters[name]}" for name in varied if name in run.parameters)
        print(f"{run.id}  {'done' if run.id in done else 'to do'}  {values}")
    left = sum(run.id not in done for run in planned)
    estimate = "no estimate of time before the first run is finished"
    if done:
        seconds = statistics.median(about["seconds"] for about in done.values())
        rounds = math.ceil(left / workers)
        estimate = (
            f"about {rounds * seconds / 60:.1f} min with {workers} workers, by {seconds:.1f} s for a run"
        )
    print(f"{len(planned)} runs, {left} to do; {estimate}")


@contextmanager
def _cluster(scheduler: str, workers: int) -> Iterator[Client]:
    """A client of the scheduler at an address, or of a cluster of processes that lives as long as this does."""
    # takes half a second to import, and a sweep with nothing to do needs it not
    import dask
    from distributed import Client, LocalCluster

    # what Dask would say of a worker or a scheduler that is gone, the sweep says itself
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if scheduler:
        try:
            client = Client(scheduler, timeout=LOST)
        except (OSError, ValueError) as error:
            raise NotebookError(f"no Dask scheduler answers at {scheduler}: {error}") from None
        with client:
            yield client
        return
    with (
        ExitStack() as stack,
        # workers would look at their own stack a hundred times a second, which costs as much as a run's files
        dask.config.set({"distributed.worker.profile.enabled": False}),
    ):
        with _deaf():
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    # a kernel's memory is not that of the worker, which Dask would count
                    memory_limit=0,
                    silence_logs=50,
                )
            )
            stack.push(functools.partial(_given_up, cluster))
        yield stack.enter_context(Client(cluster))


@contextmanager
def _deaf() -> Iterator[None]:
    """What is started within does not hear Ctrl-C, which a terminal sends to all processes; this one hears it after.

    Threads and processes inherit the signals that are blocked where they start, later workers those of their thread.
    """
    # Dask's first worker would start it, and it unblocks the signals of the thread that does
    resource_tracker.ensure_running()
    heard: list[int] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    handlers = {}
    # another thread that was there before, such as one of NumPy's, hears for this one
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handlers[number] = signal.signal(number, lambda number, _: heard.append(number))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if heard:
        signal.raise_signal(heard[0])


def _given_up(cluster: LocalCluster, kind: type[BaseException] | None, *_: object) -> None:
    """Where an error ends a sweep, do not wait for the runs in flight: kill the workers with their kernels."""
    if kind is None:
        return
    for nanny in cluster.workers.values():
        nanny.auto_restart = False
    _temporary.end([psutil.Process(nanny.pid) for nanny in cluster.workers.values() if nanny.pid])


def sweep(
    planned: Sequence[runs.Run],
    place: storage.Place,
    *,
    workers: int = 1,
    threads: int = 1,
    scheduler: str = "",
    retries: int = 0,
    finished: set[str] | None = None,
    executor: runs.Executor | None = None,
) -> Summary:
    """Make all runs that are not finished; failures are kept while the others go on.

    Workers write their runs to ``place`` themselves, whole or not at all, so what is done is safe whatever happens to
    this process: after a kill, the same call goes on where it stopped, and removes what half-made runs left.
    ``workers`` processes with ``threads`` threads for each kernel, or the workers of ``scheduler``. A run that fails
    is tried again ``retries`` times. ``finished`` are the ids not to make again, by default of all that are done in
    ``place``. Raises NotebookError where the scheduler is lost.
    """
    finished = place.ids() if finished is None else finished
    waiting = [(run, 0) for run in reversed(planned) if run.id not in finished]
    summary = Summary(there=len(planned) - len(waiting))
    if not waiting:
        return summary
    terminal = sys.stderr.isatty()
    place.tidy()  # what killed runs left behind, from before and, once the cluster is gone, from within
    after = ExitStack()
    after.callback(place.tidy)
    with (
        # a place that cannot be written is told before any worker starts, one that workers cannot see by them
        place.workshop("sweep") as sign,
        after,
        _cluster(scheduler, min(workers, len(waiting))) as client,
        tqdm(
            total=len(waiting),
            unit="run",
            mininterval=0.5 if terminal else 30,
            file=sys.stderr,
            smoothing=0.05,
        ) as bar,
    ):
        origin = runs.Origin(
            str(Path.cwd()), str(sign) if place.local else "", place.address, place.experiment
        )
        for run, attempt, error in _made(client, waiting, place, origin, threads, executor):
            if error and attempt < retries:
                waiting.append((run, attempt + 1))
                continue
            if error:
                summary.failed[run.id] = error
                bar.set_postfix(failed=len(summary.failed), refresh=False)
            else:
                summary.done += 1
            bar.update()
    return summary


def _made(
    client: Client,
    waiting: list[tuple[runs.Run, int]],
    place: storage.Place,
    origin: runs.Origin,
    threads: int,
    executor: runs.Executor | None,
) -> Iterator[tuple[runs.Run, int, str]]:
    """Make the runs in ``waiting``, which may grow meanwhile: yields each with its attempt and its error, or empty."""
    from distributed.comm.core import CommClosedError

    flying: dict[Future[Any], tuple[runs.Run, int]] = {}
    room, looked = 0, -math.inf
    try:
        while waiting or flying:
            if time.monotonic() - looked > 5:  # workers come and go
                # a run that waits at a busy worker would not go to one that becomes free
                room, looked = max(1, sum(client.nthreads().values())), time.monotonic()
            while waiting and len(flying) < room:
                run, attempt = waiting.pop()
                key = f"{run.id}-{attempt}-{time.time_ns()}"
                future = client.submit(
                    runs.perform_away, run, origin, runs.near(run), threads, executor, key=key, pure=False
                )
                flying[future] = run, attempt
            for future in _landed(client, flying):
                run, attempt = flying.pop(future)
                yield run, attempt, _error(future, run, place)
    except CommClosedError:
        raise NotebookError(GONE) from None


def _landed(client: Client, flying: Mapping[Future[Any], Any]) -> list[Future[Any]]:
    """Futures that are over, at least one; NotebookError where the scheduler is lost before."""
    from distributed import CancelledError, wait

    since = time.monotonic()
    while True:
        if client.status == "running":
            since = time.monotonic()
        if client.status == "closed" or time.monotonic() - since > LOST:
            raise NotebookError(GONE)
        try:
            wait(list(flying), timeout=1, return_when="FIRST_COMPLETED")
        except TimeoutError:
            continue
        except CancelledError:
            raise NotebookError(GONE) from None
        if any(future.status in ("cancelled", "lost") for future in flying):
            raise NotebookError(GONE)
        return [future for future in flying if future.done()]


def _error(future: Future[Any], run: runs.Run, place: storage.Place) -> str:
    """The error of a run that is over, kept where its worker could not; empty for one that is done."""
    if future.status == "finished":
        return future.result().error
    raised = future.exception()
    error = "".join(traceback.format_exception_only(raised)).strip()
    if isinstance(raised, NotebookError):
        error = str(raised)
    with suppress(OSError):  # no room for it either; the summary tells it anyway
        runs.keep_failure(run, place, error)
    return error
