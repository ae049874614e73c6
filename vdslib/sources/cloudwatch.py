"""AWS CloudWatch series of the Numenta Anomaly Benchmark (NAB), with its anomaly windows.

One metric of one instance per series, mostly every 300 s. The benchmark names no units: they follow from the names of
the files where these leave no doubt. Bytes stay bytes in columns of their own, since nothing says over which time they
were counted.
"""

import json

import pandas as pd

from vdslib.errors import TelemetryError
from vdslib.sources._pins import PINS
from vdslib.sources.catalogue import pinned, register
from vdslib.sources.traces import fetch

FOLDER = "nab-aws/data/"
LABELS = "nab-aws/labels/combined_windows.json"
UNSURE = "the benchmark does not say what is measured, so the column is called value"
BYTES = "bytes per sample as published; over which time they were counted is not documented"
# part of a file's name: its column, and what has to be said about it
METRICS = {
    "cpu_utilization": ("cpu_usage", ""),
    "elb_request_count": ("jobs_offered", ""),
    "disk_write_bytes": ("disk_write_bytes", BYTES),
    "network_in": ("network_in_bytes", BYTES),
    "NetworkIn": ("network_in_bytes", BYTES),
    "grok_asg_anomaly": ("value", UNSURE),
    "ec2_request_latency": ("value", "named latency, but described as CPU usage by the benchmark"),
}


@register(
    "nab",
    title="Numenta Anomaly Benchmark, AWS CloudWatch series",
    citation=(
        "S. Ahmad, A. Lavin, S. Purdy, Z. Agha: Unsupervised real-time anomaly detection for streaming data. "
        "Neurocomputing 262, 2017. doi:10.1016/j.neucom.2017.04.070"
    ),
    terms="MIT, (c) 2014-2024 Numenta Inc.",
    example="nab:ec2_cpu_utilization_24ae8d",
    files=pinned,
)
def read(rest: str) -> pd.DataFrame:
    """One series by the name of its file, with or without folder and ending.

    The node has the series' name. Of rows with the same timestamp (a change to summer time) the first is kept; how
    many were left out is in ``attrs["notes"]``. Times are taken as UTC, since the files name no time zone.
    """
    name = _series(rest)
    table = pd.read_csv(fetch(name))
    column, remark = next(value for part, value in METRICS.items() if part in name)
    node = name.rpartition("/")[2].removesuffix(".csv")
    frame = pd.DataFrame({"timestamp": table["timestamp"], "node": node, column: table["value"]})
    repeated = frame.duplicated("timestamp")
    notes = [f"{node}: {remark}"] if remark else []
    if repeated.any():
        notes.append(
            f"{node}: {int(repeated.sum())} of {len(frame)} rows left out, whose timestamps repeat; the first of "
            "each was kept"
        )
    frame = frame[~repeated].reset_index(drop=True)
    frame.attrs = {"notes": notes}
    return frame


def windows(rest: str) -> pd.DataFrame:
    """Anomaly windows of a series: a table of ``start`` and ``end`` (UTC, the first and the last time), one row each."""
    labels = json.loads(fetch(LABELS).read_text(encoding="utf-8"))
    labelled = labels[_series(rest).removeprefix(FOLDER)]
    table = pd.DataFrame(labelled, columns=["start", "end"])
    return table.assign(
        start=pd.to_datetime(table["start"], utc=True), end=pd.to_datetime(table["end"], utc=True)
    )


def _series(rest: str) -> str:
    """The pinned name of a series."""
    known = {name.rpartition("/")[2].removesuffix(".csv"): name for name in PINS if name.startswith(FOLDER)}
    short = rest.rpartition("/")[2].removesuffix(".csv")
    if short not in known or rest.removesuffix(".csv") not in (short, known[short].removeprefix(FOLDER)[:-4]):
        raise TelemetryError(f"nab:{rest}: there is no series '{rest}'. Choose among {', '.join(known)}.")
    return known[short]
