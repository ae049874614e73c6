"""What was measured: its schema, reading and writing, faults and their repair, units."""

from vdslib.telemetry.checking import check
from vdslib.telemetry.faults import FAULTS, faults
from vdslib.telemetry.forms import address, speaking, split
from vdslib.telemetry.reading import load, stem
from vdslib.telemetry.repairing import GAP, JITTER, repair
from vdslib.telemetry.repairing import inspect as validate
from vdslib.telemetry.schema import COLUMNS, MEASURED, SCHEMA, SYSTEM, Column, data_dictionary, origin_of
from vdslib.telemetry.tables import (
    NAMED, check_ending, checksum, default_target, read, select, system_series, write,
)  # fmt: skip

__all__ = [
    "COLUMNS", "FAULTS", "GAP", "JITTER", "MEASURED", "NAMED", "SCHEMA", "SYSTEM", "Column", "address",
    "check", "check_ending", "checksum", "data_dictionary", "default_target", "faults", "forms", "load",
    "origin_of", "read", "repair", "select", "speaking", "split", "stem", "system_series", "tables",
    "validate", "write",
]  # fmt: skip
