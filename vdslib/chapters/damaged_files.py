"""Four files of real machines with damage, and what is left of them: the table that chapter 2.1 shows.

``make tables ONLY=damage`` writes it to data/dirty_outcomes.csv.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from vdslib import telemetry
from vdslib.forecasting import prepare
from vdslib.sources import bitbrains, traces

FILES = tuple(
    f"bitbrains-rnd-dirty/{name}.csv" for name in ("2013-7/400", "2013-9/41", "2013-8/54", "2013-8/204")
)
WAYS = {"defaults": {}, "grid, recomputed": {"irregular": "grid", "resize": "recompute"}}
TABLE = "dirty_outcomes.csv"
INTERVAL = 300.0  # seconds between two rows of this trace
WINDOW = 10  # input rows of the windows counted, each with one target row


def outcomes() -> pd.DataFrame:
    """What ``vdslib.telemetry.repair`` finds and leaves: a row for each file and each of ``WAYS``.

    Columns: file, way; rows given, lost, replaced, interpolated, remaining; windows that can be laid, and how many of
    them cross a gap; then each kind of damage with the number of places (for gaps) or rows that have it.
    Raises TelemetryError where the traces cannot be had.
    """
    table = pd.DataFrame([_outcome(name, way) for name in FILES for way in WAYS])
    kinds = [fault for fault in telemetry.faults()["fault"] if fault in table]
    counts = table.drop(columns=["file", "way", *kinds]).join(table[kinds].fillna(0).astype(int))
    return table[["file", "way"]].join(counts)


def _outcome(name: str, way: str) -> dict[str, str | int]:
    repaired, report = telemetry.repair(bitbrains.raw(traces.fetch(name)), WAYS[way], interval=INTERVAL)
    windows, crossing = _windows(repaired)
    counts = report.table.groupby("fault")["rows"].sum()
    return {
        "file": name.partition("/")[2].removesuffix(".csv"),
        "way": way,
        "rows": report.rows,
        "lost": report.lost,
        "replaced": report.replaced,
        "interpolated": report.interpolated,
        "remaining": len(repaired),
        "windows": windows,
        "crossing": crossing,
        **counts,
    }


def _windows(repaired: pd.DataFrame) -> tuple[int, int]:
    """Windows of CPU usage in one machine's telemetry, and those among them that are longer than their steps."""
    laid = prepare(
        repaired, features=["cpu_usage"], target="cpu_usage", window=WINDOW, test=0, validation=0
    ).train
    times = repaired["timestamp"].dt.tz_localize(None).to_numpy()
    span = laid.times - times[np.searchsorted(times, laid.times) - WINDOW]
    return len(laid), int((span > (WINDOW + 0.5) * np.timedelta64(int(INTERVAL), "s")).sum())


if __name__ == "__main__":
    outcomes().to_csv(Path(sys.argv[1]) / TABLE, index=False)
