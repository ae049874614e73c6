"""Notebooks as experiments: parameters, results handed on, runs, sweeps, tables, reports."""

from vdslib.experiments.handing import hand_on, load, makers, record
from vdslib.experiments.identity import digest, names_in, of_file, of_prose_and_code, own_code, read_code
from vdslib.experiments.notebooks import Parameter, chapters, check, parameters

__all__ = [
    "Parameter", "chapters", "check", "digest", "effects", "hand_on", "identity", "kernel", "load",
    "lost", "makers", "mlflow_export", "names_in", "notebooks", "of_file", "of_prose_and_code",
    "overview", "own_code", "parameters", "read_code", "record", "results", "runs", "scales", "storage",
    "sweeps",
]  # fmt: skip
