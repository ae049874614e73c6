"""The committed tables that a chapter does not make itself, each made anew by ``make tables ONLY=name``.

    python book/tools/tables.py [NAME ...]

Without a name it lists them, with the time that each takes, and makes none.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

from vdslib import files

ROOT = files.root()


@dataclass(frozen=True)
class Table:
    """Files in ``data``, how long they take, and the command that makes them, run at the top of the project."""

    files: str
    takes: str
    command: tuple[str, ...]


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return sys.executable, "-m", name, *arguments


COMPILED = "--tf_xla_persistent_cache_directory=runs/generalisation/compiled --tf_xla_persistent_cache_read_only=false"
TABLES = {
    "testbed": Table(
        "capacity.csv, latency_by_configuration.csv",
        "20 minutes, alone on the machine",
        _module("vdslib.testbed.measure", "data"),
    ),
    "damage": Table("dirty_outcomes.csv", "seconds", _module("vdslib.chapters.damaged_files", "data")),
    "generalisation": Table(
        "generalisation.csv",
        "about 20 minutes",
        # networks of one form are compiled once, whatever they learn from
        # one thread of OpenMP: several wait for each other where the machine is busy
        (
            "env",
            f"TF_XLA_FLAGS={COMPILED}",
            "OMP_NUM_THREADS=1",
            *_module("vdslib.chapters.generalisation_study", "data"),
        ),
    ),
    "hyperparameters": Table(
        "hyperparameters.csv, hyperparameters.json",
        "half an hour",
        _module("vdslib.chapters.hyperparameters", "data"),
    ),
    "hybrids": Table("hybrids.csv", "two hours", _module("vdslib.chapters.hybrids_study", "data")),
    "speed": Table(
        "engine_benchmark.csv, engine_growth.csv", "half an hour, alone on the machine", ("make", "bench")
    ),
    "numerics": Table("numerics.csv", "an hour", ("make", "numerics", "SAVE=1")),
}


def main(names: list[str]) -> int:
    """Make the tables of these names; 2, with the list, for none or an unknown one."""
    if not names or set(names) - TABLES.keys():
        for name in set(names) - TABLES.keys():
            print(f"there is no table {name!r}", file=sys.stderr)
        for name, table in TABLES.items():
            print(f"{name:16} {table.files} ({table.takes})")
        return 2 if names else 0
    return max(subprocess.run(TABLES[name].command, cwd=ROOT, check=False).returncode for name in names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
