"""The command ``vds``: record or import telemetry, list the parameters of a notebook, run one with others."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from vdslib import experiments, runs, sources, telemetry

__all__ = ["main"]

SCALES = experiments.root() / "book" / "scales"  # files of parameters for all notebooks


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

        if options.columns:
            raise telemetry.TelemetryError(
                f"{options.source}: --column is for single files; a folder of trace files has the format's columns."
            )
        store.import_folder_command(options)
        return
    telemetry.check_ending(options.out)
    if not options.out.parent.is_dir():
        raise telemetry.TelemetryError(
            f"{options.out}: there is no folder {options.out.parent}. Make it, or write elsewhere."
        )
    frame = sources.read(options.source, dict(options.columns))
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
    planned = subject.run(given_parameters(options, subject.path.stem))
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


def given_parameters(options: argparse.Namespace, notebook: str) -> dict[str, Any]:
    """Parameters from the scale, the file and the command line, each of which goes before the last."""
    scale = read_parameters(SCALES / f"{options.scale}.yaml").get(notebook) if options.scale else None
    return {**(scale or {}), **read_parameters(options.file), **dict(options.given)}


def check_telemetry(planned: Iterable[runs.Run]) -> None:
    """Read each telemetry that runs ask for once; TelemetryError where it does not fit."""
    for name in sorted({run.parameters["telemetry"] for run in planned if "telemetry" in run.parameters}):
        sources.read(name)


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
