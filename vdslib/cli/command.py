"""The command ``vds``: record or import telemetry, list the parameters of a notebook, run one with others."""

from __future__ import annotations

import argparse
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from vdslib.cli import importing

# other modules take a second to import: each command does so itself, when Ctrl-C ends in a line already
from vdslib.errors import NotebookError, ParameterError, RecordError, TestbedError, VDSError
from vdslib.experiments import notebooks, scales

if TYPE_CHECKING:
    from vdslib.experiments import runs, storage


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 when done, 2 after an error of ours, 130 when interrupted (Ctrl-C),
    143 when terminated.

    Errors of ours end in one message on stderr. Anything else is a fault of the program and keeps its traceback.
    """
    options = parser().parse_args(arguments)
    try:
        with _terminable():
            options.command(options)
    except KeyboardInterrupt as error:
        terminated = error.args == (signal.SIGTERM,)
        print(f"vds {options.name}: {'terminated' if terminated else 'interrupted'}", file=sys.stderr)
        return 128 + (signal.SIGTERM if terminated else signal.SIGINT)
    except VDSError as error:
        print(f"vds {options.name}: {error}", file=sys.stderr)
        return 2
    return 0


@contextmanager
def _terminable() -> Iterator[None]:
    """What is done within cleans up when the process is asked to end, as after Ctrl-C."""
    # elsewhere than in the main thread nobody hears signals
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(*_: object) -> NoReturn:
    raise KeyboardInterrupt(signal.SIGTERM)


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    # fmt: off
    top = argparse.ArgumentParser(
        prog="vds", description="Record, forecast and study a virtual distributed system."
    )
    commands = top.add_subparsers(title="commands", dest="name", required=True, metavar="COMMAND")
    recording = commands.add_parser("record", help="run the testbed and record its telemetry")
    recording.add_argument("--minutes", type=_minutes, default=20.0, help="length of the recording (default 20)")
    recording.add_argument("--out", type=Path, required=True, help="file to write, CSV")
    recording.add_argument("--seed", type=_whole(0), default=0, help="seed of the demand and the exploration plan (default 0)")
    recording.set_defaults(command=record)

    importer = commands.add_parser("import", help="turn telemetry from any source into our form")
    importing.add_options(importer)
    importer.set_defaults(command=importing.perform)

    origins = commands.add_parser("sources", help="list the sources of telemetry")
    origins.set_defaults(command=list_sources)

    listing = commands.add_parser("params", help="list the parameters of a notebook")
    listing.add_argument("notebook", help="chapter (3-3-experiment) or path")
    listing.set_defaults(command=params)

    running = commands.add_parser("run", help="run one notebook with parameters, checked before anything starts")
    _add_what_to_run(running)
    running.add_argument("--force", action="store_true", help="repeat a run that is there already")
    running.set_defaults(command=run)

    sweeping = commands.add_parser("sweep", help="run one notebook with many parameters, in parallel, resumable")
    _add_what_to_run(sweeping)
    sweeping.add_argument("--grid", type=Path, required=True, metavar="FILE", help="YAML file: the plan of the runs")
    sweeping.add_argument("--dry-run", action="store_true", help="list the runs and estimate their time")
    sweeping.add_argument("--force", action="store_true", help="repeat runs that are there already")
    sweeping.add_argument("--workers", type=_whole(1), help="processes (default: one for each core)")
    sweeping.add_argument(
        "--threads", type=_whole(1), help="threads of each run (default: cores by workers; 1 with --scheduler)"
    )
    sweeping.add_argument("--scheduler", default="", metavar="tcp://...", help="address of a Dask scheduler")
    sweeping.add_argument("--retries", type=_whole(0), default=0, help="further tries of a run that fails (default 0)")
    sweeping.set_defaults(command=sweep_)

    showing = commands.add_parser("results", help="all runs of an experiment as one table")
    showing.add_argument("experiment", help="name of the experiment, by default that of its notebook")
    showing.add_argument("--out", default="runs", help="folder or address of experiments (default runs)")
    showing.add_argument("--csv", type=Path, metavar="FILE", help="write the table as CSV")
    showing.add_argument("--parquet", type=Path, metavar="FILE", help="write the table as Parquet")
    showing.add_argument("--report", type=Path, metavar="FILE", help="write a page about the runs, HTML")
    showing.add_argument("--metric", default="", help="result that the page ranks by (default: the first error)")
    showing.add_argument("--largest", action="store_true", help="the largest value of it is the best")
    showing.add_argument(
        "--mlflow", metavar="FOLDER", help="write the runs to MLflow: a store of files, or a server's address"
    )
    showing.set_defaults(command=results_)
    # fmt: on
    return top


def _add_what_to_run(command: argparse.ArgumentParser) -> None:
    """The options that ``run`` and ``sweep`` share."""
    # fmt: off
    command.add_argument("notebook", help="chapter (3-3-experiment) or path")
    command.add_argument(
        "-p",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        dest="parameters",
        help="one parameter",
    )
    command.add_argument("-f", type=Path, metavar="FILE", dest="file", help="YAML file of parameters; -p goes before it")
    command.add_argument(
        "--scale",
        choices=sorted(path.stem for path in scales.FOLDER.glob("*.yaml")),
        help="parameters of a scale; -f and -p go before them",
    )
    command.add_argument("--experiment", help="name that runs are kept under (default: the notebook's)")
    command.add_argument(
        "--out", default="runs", help="folder of experiments, or an address such as s3://... (default runs)"
    )
    # fmt: on


def _minutes(text: str) -> float:
    """A length in minutes; what argparse shows as an error where it is less than a second."""
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 1 / 60 <= minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes (at least a second, 0.017)")
    return minutes


def _whole(least: int) -> Callable[[str], int]:
    """What reads a whole number from ``least`` on; argparse shows its error."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}")
        return int(text)

    return read


def record(options: argparse.Namespace) -> None:
    """Run the testbed and record it."""
    from vdslib.testbed import recorder

    try:
        written = recorder.record(options.out, options.minutes, options.seed, progress=True)
    except TestbedError as error:
        kept = f" (what was recorded until then is in {options.out})" if options.out.exists() else ""
        raise RecordError(f"{error}{kept}") from error
    except OSError as error:
        raise RecordError(f"cannot record to {options.out}: {error.strerror or error}") from error
    print(f"recorded {written}")


def list_sources(options: argparse.Namespace) -> None:
    """List the registered sources with their terms and citations."""
    from vdslib import sources

    for source in sources.sources():
        target = source.default_target or "depends on the table"
        print(f"{source.name}: {source.title}\n  for example {source.example}; target: {target}")
        for label, text in (("terms", source.terms), ("please cite", source.citation)):
            if text:
                print(f"  {label}: {text}")


def params(options: argparse.Namespace) -> None:
    """List a notebook's parameters."""
    for line in notebooks.describe(notebooks.parameters(options.notebook)):
        print(line)


def run(options: argparse.Namespace) -> None:
    """Run a notebook with the given parameters, or find that run, and say where its folder is."""
    from vdslib.experiments import runs, storage
    from vdslib.experiments.lost import in_words

    subject = runs.subject(options.notebook)
    planned = subject.run({**scale_parameters(options, subject.path.stem), **named_parameters(options)})
    place = place_of(options, subject)
    place.tidy()
    if options.force or not place.has(planned.id):
        check_telemetry([planned])  # a bad file is told in a second, before a kernel starts
        outcome = runs.perform(planned, place.out, place.experiment, progress=True)
        if outcome.error:
            print(f"what there is of it: {place.shown(planned.id)}")
            raise NotebookError(outcome.error)
    else:
        print("this run is there already; --force repeats it")
    runs.hand_on(place, planned)
    print(f"run: {place.shown(planned.id)}")
    if names := place.read(storage.DONE, planned.id).get(planned.id, {}).get("lost"):
        raise NotebookError(f"the run diverged, {in_words(names)}")


def sweep_(options: argparse.Namespace) -> None:
    """Make all runs of a plan that are not finished yet, and say what became of them."""
    import joblib

    from vdslib.experiments import runs, storage, sweeps

    subject = runs.subject(options.notebook)
    planned, varied = sweeps.plan(
        subject,
        read_parameters(options.grid),
        named_parameters(options),
        scale_parameters(options, subject.path.stem),
    )
    place = place_of(options, subject)
    cores = joblib.cpu_count()
    workers = options.workers or cores
    done = place.read(storage.DONE)
    others = sum(about.get("inputs") != subject.inputs[:16] for about in done.values())
    if others:
        print(
            f"note: {others} runs there are of another state of the notebook, vdslib, data or lock; a name of "
            "their own (--experiment) keeps these apart"
        )
    if options.dry_run:
        sweeps.show(planned, varied, done, workers)
        return
    finished = set() if options.force else set(done)
    check_telemetry(run for run in planned if run.id not in finished)
    threads = options.threads or (1 if options.scheduler else max(1, cores // workers))
    summary = sweeps.sweep(
        planned,
        place,
        workers=workers,
        threads=threads,
        scheduler=options.scheduler,
        retries=options.retries,
        finished=finished,
    )
    print(f"{summary.there} found, {summary.done} done, {len(summary.failed)} failed: {place.shown('')}")
    there = place.read(storage.DONE)
    if diverged := [run.id for run in planned if there.get(run.id, {}).get("lost")]:
        print(f"{len(diverged)} of these diverged, so that errors are no numbers: {', '.join(diverged[:10])}")
    if summary.failed:
        lines = [f"  {name}: {error.strip().splitlines()[-1]}" for name, error in summary.failed.items()]
        raise NotebookError(
            "\n".join([f"{len(lines)} runs failed; failed.json of each has all of it", *lines[:10]])
        )


def results_(options: argparse.Namespace) -> None:
    """Show, write or render the runs of an experiment."""
    from vdslib.experiments import results  # no other command needs it

    frame = results.table(options.experiment, options.out)
    for path in filter(None, (options.csv, options.parquet)):
        results.write(frame, path)
        print(f"wrote {path}: {len(frame)} runs")
    if options.report:
        results.report(options.experiment, options.out, options.report, options.metric, options.largest)
        print(f"wrote {options.report}")
    if options.mlflow:
        from vdslib.experiments import mlflow_export

        written, there = mlflow_export.export(options.experiment, options.out, options.mlflow)
        print(f"wrote {written} runs to {options.mlflow}; {there} were there already")
    if not (options.csv or options.parquet or options.report or options.mlflow):
        print(results.shown(frame))


def place_of(options: argparse.Namespace, subject: runs.Subject) -> storage.Place:
    """Where runs are kept; ParameterError where they would be gone with the processes that make them."""
    from vdslib.experiments import storage

    # any file may be a notebook, but not each name is good in addresses
    usual = re.sub(r"[^\w.-]+|^[^\w]+", "-", subject.path.stem).strip("-.") or "notebook"
    place = storage.Place(options.out, options.experiment or usual)
    if options.out.startswith("memory:"):
        raise ParameterError(f"{options.out} would be gone when the command ends: name a folder")
    return place


def scale_parameters(options: argparse.Namespace, notebook: str) -> dict[str, Any]:
    """Parameters of the scale asked for; none without one."""
    return (
        read_parameters(scales.FOLDER / f"{options.scale}.yaml").get(notebook) if options.scale else None
    ) or {}


def named_parameters(options: argparse.Namespace) -> dict[str, Any]:
    """Parameters from the file and the command line, which goes before it."""
    names = [name for name, _ in options.parameters]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ParameterError(f"-p {twice[0]} is given more than once")
    return {**read_parameters(options.file), **dict(options.parameters)}


def check_telemetry(planned: Iterable[runs.Run]) -> None:
    """Look at each telemetry that runs ask for once, without measuring; TelemetryError where it does not fit."""
    from vdslib import sources

    for name in sorted({run.parameters["telemetry"] for run in planned if "telemetry" in run.parameters}):
        for note in sources.examine(name):
            print(f"note: {note}")


class _Once(yaml.SafeLoader):
    """Reads YAML whose mappings have each name once: of two, plain YAML drops the first without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [name for name in names if names.count(name) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} comes twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_parameters(file: Path | None) -> dict[str, Any]:
    """Parameters in a YAML file of ``name: value`` lines; ParameterError where it is not one."""
    if file is None:
        return {}
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_Once)
    except OSError as error:
        raise ParameterError(f"cannot read {file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"{file} is not YAML: {error}") from error
    if not isinstance(content or {}, dict):
        raise ParameterError(f"{file} must hold lines of the form 'name: value'")
    return content or {}
