"""Bitbrains GWA-T-12 "Rnd": CPU, memory, disc and network of business-critical virtual machines, every 300 s.

The files separate by semicolon and tab. Their header promises milliseconds, their timestamps are epoch seconds. CPU
usage may exceed 100%, memory usage the capacity; a machine that is shut down reports no cores and no memory, so that
its memory usage and its clock are empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from vdslib.errors import TelemetryError
from vdslib.sources._pins import PINS
from vdslib.sources.catalogue import pinned, register
from vdslib.sources.gwa import bitbrains
from vdslib.sources.traces import fetch

__all__ = ["load", "raw", "read"]

CITATION = (
    "S. Shen, V. van Beek, A. Iosup: Statistical Characterization of Business-Critical Workloads Hosted in Cloud "
    "Datacenters. CCGrid 2015. Data: Bitbrains IT Services, Grid Workloads Archive GWA-T-12; A. Iosup et al.: The "
    "Grid Workloads Archive. FGCS 24(7), 672-686, 2008."
)
TERMS = (
    "acknowledge the source in whatever is published, cite the CCGrid 2015 paper, consider citing the archive; "
    "redistribution is not addressed"
)


def load(rest: str) -> pd.DataFrame:
    """The files that ``read`` reads, as they are: repeated timestamps stay in."""
    return pd.concat([raw(path) for path in _paths(rest)], ignore_index=True)


@register(
    "bitbrains",
    title="Bitbrains GWA-T-12 Rnd, virtual machines of a data centre",
    default_target="cpu_usage",
    citation=CITATION,
    terms=TERMS,
    example="bitbrains:2013-8/332",
    files=pinned,
    load=load,
    header="Timestamp [ms];",
)
def read(rest: str) -> pd.DataFrame:
    """Virtual machines by month and number: "2013-8/332", several by comma, "2013-8/*" for all complete pinned
    ones; or the path of a file of this format, ending in .csv.

    Nodes are named by their numbers. Of rows of one node with the same timestamp the first is kept; how many were
    left out is in ``attrs["notes"]``.
    """
    frames, notes = [], []
    for path in _paths(rest):
        frame = raw(path)
        repeated = frame.duplicated("timestamp")
        if repeated.any():
            notes.append(
                f"VM {path.stem}: {int(repeated.sum())} of {len(frame)} rows left out, whose timestamps repeat; "
                "the first of each was kept"
            )
        frames.append(frame[~repeated])
    result = pd.concat(frames, ignore_index=True).sort_values("node", kind="stable", ignore_index=True)
    result.attrs = {"notes": notes}
    return result


def _paths(rest: str) -> Iterator[Path]:
    """The files that ``rest`` asks for, each fetched when its turn comes."""
    files = [rest] if rest.endswith(".csv") else _pinned(rest)
    for file in tqdm(files, desc="machines", disable=True if len(files) == 1 else None):
        yield Path(file) if file == rest else fetch(file)


def _pinned(rest: str) -> list[str]:
    """Names of the pinned files that ``rest`` asks for."""
    whole, windows = (
        {name.removeprefix(folder).removesuffix(".csv"): name for name in PINS if name.startswith(folder)}
        for folder in ("bitbrains-rnd/", "bitbrains-rnd-dirty/")
    )
    month, names = "", []
    for part in rest.split(","):
        given, _, machine = part.strip().rpartition("/")
        month = given or month
        key = f"{month}/{machine}"
        asked = [whole[each] for each in whole if each.startswith(f"{month}/")] if machine == "*" else []
        asked = asked or [name for name in ((whole | windows).get(key),) if name]
        if not asked:
            raise TelemetryError(
                f"bitbrains:{rest}: no virtual machine '{key}' is pinned. Choose among {', '.join(whole)}; windows "
                f"with faults are {', '.join(windows)}; or give the path of a .csv file."
            )
        names += [name for name in asked if name not in names]
    return names


def raw(path: str | Path) -> pd.DataFrame:
    """A file as it is, row by row, in our columns and units (``vdslib.sources.gwa``); repeated times and usages above 100%
    stay in.

    Raises TelemetryError where the file is not of this format or a value is no number from 0.
    """
    path = Path(path)
    try:
        frame = bitbrains(path).to_pandas()
    except OSError as error:
        raise TelemetryError(f"{path}: cannot be read ({error.strerror or error}). Check the path.") from None
    frame.insert(1, "node", path.stem)
    return frame
