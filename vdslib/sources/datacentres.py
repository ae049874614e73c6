"""Whole systems as one series: averages and sums over data centres (Alibaba, Google, Azure), and the requests to a
web site (WorldCup98).

Times of the data centres are relative: their first sample is put at 1970-01-01. Columns without a counterpart in our
schema keep the name and the unit of their file.
"""

import numpy as np
import pandas as pd

from vdslib.errors import TelemetryError
from vdslib.sources.catalogue import DAY_AND_WEEK, pinned, register
from vdslib.sources.traces import fetch
from vdslib.telemetry import SYSTEM

STEP = 300  # seconds between samples
FOLDER = "datacenter-traces/"
COPY = "A. Fernandez et al.: DataCenter Traces Datasets. Zenodo, doi:10.5281/zenodo.14564847. "
NO_DATES = "the file has no dates: times count from 1970-01-01"


@register(
    "alibaba",
    title="Alibaba 2018, mean over about 4000 machines",
    default_target="cpu_usage",
    citation=COPY + "Original: Alibaba Cluster Trace Program, cluster-trace-v2018.",
    terms="CC BY 4.0; the original may be used for research or study",
    example="alibaba:2018",
    files=pinned,
    rhythms=DAY_AND_WEEK,
)
def alibaba(rest: str) -> pd.DataFrame:
    """Eight days of CPU and memory in percent; ``net_in``, ``net_out`` (normalised, 0 to 100), ``disk_io_percent``.

    Some samples of day 2 are missing at an unknown place. Days 3 to 8 are put at their own times, so that the gap
    shows at the end of day 2; times within day 2 may be early by up to its length.
    """
    table = _table(rest, "2018", "alibaba", "alibaba2018/machine_usage_days_1_to_8_grouped_300_seconds.csv")
    number = np.arange(len(table))
    whole_days = len(table) - 6 * 86400 // STEP  # rows of days 1 and 2
    gap = 2 * 86400 // STEP - whole_days
    frame = _frame(
        STEP * np.where(number < whole_days, number, number + gap),
        cpu_usage=table["cpu_util_percent"],
        memory_usage=table["mem_util_percent"],
        **{name: table[name] for name in ("net_in", "net_out", "disk_io_percent")},
    )
    unknown = f"{gap} samples of day 2 are missing at an unknown place: the gap is put at the end of that day"
    frame.attrs = {"notes": [NO_DATES, unknown]}
    return frame


@register(
    "google",
    title="Google 2019, mean over a cluster",
    default_target="cpu_usage",
    citation=COPY + "Original: J. Wilkes: Google cluster-usage traces v3, 2020.",
    terms="CC BY 4.0",
    example="google:2019",
    files=pinned,
    rhythms=DAY_AND_WEEK,
)
def google(rest: str) -> pd.DataFrame:
    """28 days of CPU and memory, from shares to percent; ``avg_assigned_mem`` (0 to 1) and
    ``avg_cycles_per_instruction`` as they are."""
    table = _table(rest, "2019", "google", "google2019/instance_usage_grouped_300_seconds_month.csv")
    frame = _frame(
        STEP * np.arange(len(table)),
        cpu_usage=100 * table["avg_cpu"],
        memory_usage=100 * table["avg_mem"],
        **{name: table[name] for name in ("avg_assigned_mem", "avg_cycles_per_instruction")},
    )
    frame.attrs = {"notes": [NO_DATES]}
    return frame


@register(
    "azure",
    title="Azure v2, sum over virtual machines",
    default_target="cpu_usage_sum",
    citation=COPY + "Original: E. Cortez et al.: Resource Central. SOSP 2017.",
    terms="CC BY 4.0; Microsoft asks to cite the SOSP 2017 paper",
    example="azure:v2",
    files=pinned,
    rhythms=DAY_AND_WEEK,
)
def azure(rest: str) -> pd.DataFrame:
    """30 days of ``cpu_usage_sum`` (weighted by cores) and ``assigned_mem``, both sums: no percentages, so neither is
    our ``cpu_usage`` or ``memory_usage``."""
    table = _table(rest, "v2", "azure", "azure_v2/vm_cpu_readings_month_aggregated_cpu_mem.csv")
    frame = _frame(
        table["timestamp"].to_numpy(), cpu_usage_sum=table["cpu_usage"], assigned_mem=table["assigned_mem"]
    )
    frame.attrs = {
        "notes": [NO_DATES, "sums over all virtual machines, in units that the file does not name"]
    }
    return frame


@register(
    "worldcup98",
    title="WorldCup98, requests to a web site per minute",
    default_target="jobs_offered",
    citation="M. Arlitt, T. Jin: 1998 World Cup Web Site Access Logs, August 1998. http://www.acm.org/sigcomm/ITA/",
    terms="free use and redistribution with the Hewlett-Packard notice (WorldCup.html beside the file)",
    example="worldcup98",
    files=pinned,
    rhythms=DAY_AND_WEEK,
)
def worldcup(rest: str) -> pd.DataFrame:
    """Requests per minute, 8 to 21 June 1998, as ``jobs_offered``; a workload without any usage of resources."""
    if rest:
        raise TelemetryError(f"worldcup98:{rest}: there is one series only. Give worldcup98 alone.")
    fetch("worldcup98/WorldCup.html")  # the notice must go where the counts go
    table = pd.read_csv(fetch("worldcup98/invocation_count_0608_0621.csv"))
    return pd.DataFrame({"timestamp": table["period"], "node": SYSTEM, "jobs_offered": table["count"]})


def _table(rest: str, version: str, name: str, file: str) -> pd.DataFrame:
    if rest != version:
        raise TelemetryError(f"{name}:{rest}: there is no version '{rest}'. Give {name}:{version}.")
    return pd.read_csv(fetch(FOLDER + file))


def _frame(seconds: np.ndarray, **columns: pd.Series) -> pd.DataFrame:
    return pd.DataFrame({"timestamp": pd.to_datetime(seconds, unit="s", utc=True), "node": SYSTEM, **columns})
