"""The command ``vds``: record or import telemetry, list the parameters of a notebook, run one with others."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import yaml

from vdslib import experiments, runs, scales, sources, telemetry

__all__ = ["main"]

SCALES = scales.FOLDER


class RecordError(OSError):
    """A recording that cannot be made, or not written where it should be."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 when done, 2 after an error of ours, 130 when interrupted.

    Errors of ours end in one message on stderr. Anything else is a fault of the program and keeps its traceback.
    """
    options = parser().parse_args(arguments)
    try:
        options.command(options)
    except (
        experiments.ParameterError,
        experiments.NotebookError,
        telemetry.TelemetryError,
        RecordError,
    ) as error:
        print(f"vds {options.name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"vds {options.name}: interrupted", file=sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="vds", description="Record, forecast and study a virtual distributed system."
    )
    commands = top.add_subparsers(title="commands", dest="name", required=True, metavar="COMMAND")
    recording = commands.add_parser("record", help="run the testbed and record its telemetry")
    recording.add_argument(
        "--minutes", type=_minutes, default=20.0, help="length of the recording (default 20)"
    )
    recording.add_argument("--out", type=Path, required=True, help="file to write, CSV")
    recording.add_argument(
        "--seed", type=_seed, default=0, help="seed of the demand and the exploration plan (default 0)"
    )
    recording.set_defaults(command=record)

    importing = commands.add_parser("import", help="turn telemetry from any source into our form")
    _import_options(importing)
    importing.set_defaults(command=import_)

    origins = commands.add_parser("sources", help="list the sources of telemetry")
    origins.set_defaults(command=list_sources)

    listing = commands.add_parser("params", help="list the parameters of a notebook")
    listing.add_argument("notebook", help="chapter (3-3-experiment) or path")
    listing.set_defaults(command=params)

    running = commands.add_parser(
        "run", help="run one notebook with parameters, checked before anything starts"
    )
    _add_what_to_run(running)
    running.add_argument("--force", action="store_true", help="repeat a run that is there already")
    running.set_defaults(command=run)

    sweeping = commands.add_parser(
        "sweep", help="run one notebook with many parameters, in parallel, resumable"
    )
    _add_what_to_run(sweeping)
    sweeping.add_argument(
        "--grid", type=Path, required=True, metavar="FILE", help="YAML file: the plan of the runs"
    )
    sweeping.add_argument("--dry-run", action="store_true", help="list the runs and estimate their time")
    sweeping.add_argument("--force", action="store_true", help="repeat runs that are there already")
    sweeping.add_argument("--workers", type=_count, help="processes (default: one for each core)")
    sweeping.add_argument(
        "--threads", type=_count, help="threads of each run (default: cores by workers; 1 with --scheduler)"
    )
    sweeping.add_argument("--scheduler", default="", metavar="tcp://...", help="address of a Dask scheduler")
    sweeping.add_argument(
        "--retries", type=_seed, default=0, help="further tries of a run that fails (default 0)"
    )
    sweeping.set_defaults(command=sweep_)

    showing = commands.add_parser("results", help="all runs of an experiment as one table")
    showing.add_argument("experiment", help="name of the experiment, by default that of its notebook")
    showing.add_argument("--out", default="runs", help="folder or address of experiments (default runs)")
    showing.add_argument("--csv", type=Path, metavar="FILE", help="write the table as CSV")
    showing.add_argument("--parquet", type=Path, metavar="FILE", help="write the table as Parquet")
    showing.add_argument("--report", type=Path, metavar="FILE", help="write a page about the runs, HTML")
    showing.add_argument(
        "--metric", default="", help="result that the page ranks by (default: the first error)"
    )
    showing.add_argument("--largest", action="store_true", help="the largest value of it is the best")
    showing.add_argument(
        "--mlflow", metavar="FOLDER", help="write the runs to MLflow: a store of files, or a server's address"
    )
    showing.set_defaults(command=results_)
    return top


def _add_what_to_run(command: argparse.ArgumentParser) -> None:
    """The options that ``run`` and ``sweep`` share."""
    command.add_argument("notebook", help="chapter (3-3-experiment) or path")
    command.add_argument(
        "-p",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        dest="given",
        help="one parameter",
    )
    command.add_argument(
        "-f", type=Path, metavar="FILE", dest="file", help="YAML file of parameters; -p goes before it"
    )
    command.add_argument(
        "--scale",
        choices=sorted(path.stem for path in SCALES.glob("*.yaml")),
        help="parameters of a scale; -f and -p go before them",
    )
    command.add_argument("--experiment", help="name that runs are kept under (default: the notebook's)")
    command.add_argument(
        "--out", default="runs", help="folder of experiments, or an address such as s3://... (default runs)"
    )


def _import_options(importing: argparse.ArgumentParser) -> None:
    importing.add_argument(
        "source",
        help="file, NAME:REST of a source (see vds sources), address of Prometheus, or a folder of trace files",
    )
    importing.add_argument(
        "--out",
        type=Path,
        required=True,
        help="file to write: .csv, .csv.gz or .parquet; for a folder, the store",
    )
    importing.add_argument(
        "--column",
        nargs=2,
        action="append",
        default=[],
        metavar=("OURS", "THEIRS"),
        dest="columns",
        help="a column of a file that has another name",
    )
    importing.add_argument(
        "--repair", action="store_true", help="repair damage by the default policies, and report it"
    )
    importing.add_argument(
        "--policy",
        nargs=2,
        action="append",
        default=[],
        metavar=("FAULT", "POLICY"),
        dest="policies",
        help="repair, this fault by another policy than its default",
    )
    importing.add_argument(
        "--unit",
        nargs=2,
        action="append",
        default=[],
        metavar=("COLUMN", "UNIT"),
        dest="units",
        help="repair, this column being in another unit than ours",
    )
    importing.add_argument(
        "--interval",
        type=float,
        metavar="SECONDS",
        help="repair, this being the interval of the rows (--policy irregular grid needs it)",
    )


def _minutes(text: str) -> float:
    """A length in minutes; what argparse shows as an error where it is less than a second."""
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 1 / 60 <= minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes (at least a second, 0.017)")
    return minutes


def _seed(text: str) -> int:
    """A seed; what argparse shows as an error where it is no whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def _count(text: str) -> int:
    """A number of things; what argparse shows as an error where it is no whole number from 1."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def record(options: argparse.Namespace) -> None:
    """Run the testbed and record it."""
    from vdslib.testbed import dispatcher, recorder  # no other command needs the testbed

    try:
        written = recorder.record(options.out, options.minutes, options.seed, progress=True)
    except dispatcher.TestbedError as error:
        kept = f" (what was recorded until then is in {options.out})" if options.out.exists() else ""
        raise RecordError(f"{error}{kept}") from error
    except OSError as error:
        raise RecordError(f"cannot record to {options.out}: {error.strerror or error}") from error
    print(f"recorded {written}")


def import_(options: argparse.Namespace) -> None:
    """Read telemetry from any source, write it in our form, and say what is in it; a folder becomes a store."""
    if Path(options.source).is_dir():
        from vdslib import store  # no other command needs it

        if options.columns or _repairs(options):
            raise telemetry.TelemetryError(
                f"{options.source}: --column and repair are for single sources; a folder of trace files has the "
                "format's columns, and its report says what was left out. Repair what you read from the store."
            )
        store.import_folder_command(options)
        return
    telemetry.check_ending(options.out)
    if not options.out.parent.is_dir():
        raise telemetry.TelemetryError(
            f"{options.out}: there is no folder {options.out.parent}. Make it, or write elsewhere."
        )
    frame = _repaired(options) if _repairs(options) else sources.read(options.source, dict(options.columns))
    try:
        telemetry.write(frame, options.out)
    except OSError as error:
        raise RecordError(f"cannot write {options.out}: {error.strerror or error}") from error
    nodes = frame["node"].nunique()
    for note in frame.attrs["notes"]:
        print(f"note: {note}")
    print(
        f"imported {options.out}: {len(frame)} row{'s'[: len(frame) > 1]} of {nodes} node{'s'[: nodes > 1]}; "
        f"target {sources.default_target(frame)}"
    )


def _repairs(options: argparse.Namespace) -> bool:
    """Whether an import shall repair: any of its options says so."""
    return bool(options.repair or options.policies or options.units or options.interval is not None)


def _repaired(options: argparse.Namespace) -> pd.DataFrame:
    """The repaired telemetry of a source, whose report is printed."""
    frame, report = telemetry.repair(
        sources.load(options.source, dict(options.columns)),
        dict(options.policies),
        units=dict(options.units),
        interval=options.interval,
    )
    print(report)
    return frame


def list_sources(options: argparse.Namespace) -> None:
    """List the registered sources with their terms and citations."""
    for source in sources.sources():
        target = source.default_target or "depends on the table"
        print(f"{source.name}: {source.title}\n  for example {source.example}; target: {target}")
        for label, text in (("terms", source.terms), ("please cite", source.citation)):
            if text:
                print(f"  {label}: {text}")


def params(options: argparse.Namespace) -> None:
    """List a notebook's parameters."""
    for line in experiments.describe(experiments.parameters(options.notebook)):
        print(line)


def run(options: argparse.Namespace) -> None:
    """Run a notebook with the given parameters, or find that run, and say where its folder is."""
    subject = runs.subject(options.notebook)
    planned = subject.run({**scale_parameters(options, subject.path.stem), **given_parameters(options)})
    place = runs.Place(options.out, options.experiment or subject.path.stem)
    place.tidy()
    if options.force or planned.id not in place.ids():
        check_telemetry([planned])  # a bad file is told in a second, before a kernel starts
        outcome = runs.perform(planned, place.out, place.experiment, progress=True)
        if outcome.error:
            print(f"what there is of it: {place.shown(planned.id)}")
            raise experiments.NotebookError(outcome.error)
    else:
        print("this run is there already; --force repeats it")
    runs.hand_on(place, planned)
    print(f"run: {place.shown(planned.id)}")


def sweep_(options: argparse.Namespace) -> None:
    """Make all runs of a plan that are not finished yet, and say what became of them."""
    from vdslib import sweep  # no other command needs it

    subject = runs.subject(options.notebook)
    planned, varied = sweep.plan(
        subject,
        read_parameters(options.grid),
        given_parameters(options),
        scale_parameters(options, subject.path.stem),
    )
    place = runs.Place(options.out, options.experiment or subject.path.stem)
    cores = joblib.cpu_count()
    workers = options.workers or cores
    if options.dry_run:
        _show_plan(planned, varied, place, workers)
        return
    finished = set() if options.force else place.ids()
    check_telemetry(run for run in planned if run.id not in finished)
    threads = options.threads or (1 if options.scheduler else max(1, cores // workers))
    summary = sweep.sweep(
        planned,
        place,
        workers=workers,
        threads=threads,
        scheduler=options.scheduler,
        retries=options.retries,
        force=options.force,
    )
    print(f"{summary.found} found, {summary.done} done, {len(summary.failed)} failed: {place.shown('')}")
    if summary.failed:
        lines = [f"  {name}: {error.strip().splitlines()[-1]}" for name, error in summary.failed.items()]
        raise experiments.NotebookError(
            "\n".join([f"{len(lines)} runs failed; failed.json of each has all of it", *lines[:10]])
        )


def _show_plan(planned: Sequence[runs.Run], varied: Sequence[str], place: runs.Place, workers: int) -> None:
    """Print the runs of a plan and an estimate of their time."""
    from vdslib import sweep

    finished = place.ids()
    for run in planned:
        values = " ".join(f"{name}={run.parameters[name]}" for name in varied if name in run.parameters)
        print(f"{run.id}  {'done' if run.id in finished else 'to do'}  {values}")
    left, seconds = sum(run.id not in finished for run in planned), sweep.typical_seconds(place)
    estimate = "no estimate of time before the first run is finished"
    if seconds is not None:
        rounds = math.ceil(left / workers)
        estimate = (
            f"about {rounds * seconds / 60:.1f} min with {workers} workers, by {seconds:.1f} s for a run"
        )
    print(f"{len(planned)} runs, {left} to do; {estimate}")


def results_(options: argparse.Namespace) -> None:
    """Show, write or render the runs of an experiment."""
    from vdslib import results  # no other command needs it

    frame = results.table(options.experiment, options.out)
    for path in filter(None, (options.csv, options.parquet)):
        results.write(frame, path)
        print(f"wrote {path}: {len(frame)} runs")
    if options.report:
        results.report(options.experiment, options.out, options.report, options.metric, options.largest)
        print(f"wrote {options.report}")
    if options.mlflow:
        from vdslib import mlflow_export

        written, there = mlflow_export.export(options.experiment, options.out, options.mlflow)
        print(f"wrote {written} runs to {options.mlflow}; {there} were there already")
    if not (options.csv or options.parquet or options.report or options.mlflow):
        print(results.shown(frame))


def scale_parameters(options: argparse.Namespace, notebook: str) -> dict[str, Any]:
    """Parameters of the scale asked for; none without one."""
    return (read_parameters(SCALES / f"{options.scale}.yaml").get(notebook) if options.scale else None) or {}


def given_parameters(options: argparse.Namespace) -> dict[str, Any]:
    """Parameters from the file and the command line, which goes before it."""
    return {**read_parameters(options.file), **dict(options.given)}


def check_telemetry(planned: Iterable[runs.Run]) -> None:
    """Read each telemetry that runs ask for once; TelemetryError where it does not fit."""
    for name in sorted({run.parameters["telemetry"] for run in planned if "telemetry" in run.parameters}):
        for note in sources.read(name).attrs["notes"]:
            print(f"note: {note}")


def read_parameters(file: Path | None) -> dict[str, Any]:
    """Parameters in a YAML file of ``name: value`` lines; ParameterError where it is not one."""
    if file is None:
        return {}
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise experiments.ParameterError(f"cannot read {file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise experiments.ParameterError(f"{file} is not YAML: {error}") from error
    if not isinstance(content or {}, dict):
        raise experiments.ParameterError(f"{file} must hold lines of the form 'name: value'")
    return content or {}


if __name__ == "__main__":
    sys.exit(main())
