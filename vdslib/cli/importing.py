"""The command ``vds import``: telemetry from any source, repaired where that is asked for, in our form."""

import argparse
from pathlib import Path

from vdslib.errors import TelemetryError
from vdslib.telemetry import forms

# options of two words each, which may be repeated: where they are kept, the words, and what they say
PAIRS = {
    "--column": ("columns", ("OURS", "THEIRS"), "a column of a file that has another name"),
    "--policy": ("policies", ("FAULT", "POLICY"), "repair, this fault by another policy than its default"),
    "--unit": ("units", ("COLUMN", "UNIT"), "repair, this column being in another unit than ours"),
}


def add_options(importing: argparse.ArgumentParser) -> None:
    """The options of the command."""
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
    forms.add_options(importing)
    importing.add_argument(
        "--repair", action="store_true", help="repair damage by the default policies, and report it"
    )
    for option, (kept, pair, meaning) in PAIRS.items():
        importing.add_argument(
            option, nargs=2, action="append", default=[], metavar=pair, dest=kept, help=meaning
        )
    importing.add_argument(
        "--interval",
        type=float,
        metavar="SECONDS",
        help="repair, this being the interval of the rows (--policy irregular grid needs it)",
    )


@forms.speaking("command")
def perform(options: argparse.Namespace) -> None:
    """Read telemetry from any source, write it in our form, and say what is in it; a folder becomes a store."""
    from vdslib import sources, telemetry  # they take a second to import
    from vdslib.sources import store

    repairs = options.repair or options.policies or options.units or options.interval is not None
    if Path(options.source).is_dir():
        if options.columns or options.form or repairs:
            stated = "".join(f"--{name}, " for name in options.form)
            raise TelemetryError(
                f"{options.source}: {stated}--column and repair are for single sources; a folder of trace files has the "
                "format's columns, and its report says what was left out. Repair what you read from the store."
            )
        store.import_folder_command(options)
        return
    telemetry.check_ending(options.out)
    if not options.out.parent.is_dir():
        raise TelemetryError(
            f"{options.out}: there is no folder {options.out.parent}. Make it, or write elsewhere."
        )
    if repairs:
        raw = sources.load(options.source, dict(options.columns), **options.form)
        policies, units = dict(options.policies), dict(options.units)
        frame, report = telemetry.repair(raw, policies, units=units, interval=options.interval)
        print(report)
    else:
        frame = sources.read(options.source, dict(options.columns), **options.form)
    try:
        telemetry.write(frame, options.out)
    except OSError as error:
        raise TelemetryError(f"cannot write {options.out}: {error.strerror or error}") from error
    nodes = frame["node"].nunique()
    for note in frame.attrs["notes"]:
        print(f"note: {note}")
    print(
        f"imported {options.out}: {len(frame)} row{'s'[: len(frame) > 1]} of {nodes} node{'s'[: nodes > 1]}; "
        f"target {sources.default_target(frame)}"
    )
