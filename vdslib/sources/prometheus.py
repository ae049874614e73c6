"""Telemetry out of a Prometheus server that scrapes node exporters, by range queries of its HTTP API.

``prometheus:http://127.0.0.1:9090?minutes=60&step=60``, or the address alone. Each column is one PromQL query
(`QUERIES`), which a YAML file of ``column: query`` lines can replace. Options:

- ``minutes``: how far back, 60
- ``end``: end of the time read, ISO 8601, else now; give it to get the same rows again
- ``step``: seconds from row to row, 60
- ``window``: seconds over which rates are taken, 60 or the step if that is longer; at least twice the interval of
  scraping. A window longer than the step makes successive rows overlap, which flatters forecasts.
- ``queries``: YAML file of queries; a column with an empty query is left out
- ``label``: label whose value names the node, ``instance``
- ``anonymise``: ``yes`` calls the nodes node-1, node-2 and so on, in the order of their names

Unless anonymised, nodes keep the names that the server gives them, often host and port.

Reference: [HTTP API](https://prometheus.io/docs/prometheus/latest/querying/api/) of Prometheus.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import yaml
from tqdm import tqdm

from vdslib.sources import register
from vdslib.sources._options import complete, number, split
from vdslib.telemetry import COLUMNS, TelemetryError

__all__ = ["QUERIES", "collect", "queries", "read"]

POINTS = 10_000  # times in one request; the server refuses more than 11,000
TIMEOUT = (5.0, 60.0)  # seconds to connect, and to wait for an answer

# Discs that are made of others, or of memory, would count the same bytes twice.
_DISCS = 'device!~"(dm-|md|loop|ram|zram|sr|fd).*"'
QUERIES: dict[str, str] = {
    "cpu_usage": '100 * sum by ($label) (rate(node_cpu_seconds_total{mode!~"idle|iowait|steal"}[$window])) '
    "/ sum by ($label) (rate(node_cpu_seconds_total[$window]))",
    "memory_usage": "100 * (1 - sum by ($label) (node_memory_MemAvailable_bytes) "
    "/ sum by ($label) (node_memory_MemTotal_bytes))",
    "disc_usage": f"sum by ($label) (rate(node_disk_read_bytes_total{{{_DISCS}}}[$window]) "
    f"+ rate(node_disk_written_bytes_total{{{_DISCS}}}[$window])) / 1024",
    "network_usage": 'sum by ($label) (rate(node_network_receive_bytes_total{device!="lo"}[$window]) '
    '+ rate(node_network_transmit_bytes_total{device!="lo"}[$window])) / 1024',
    "cpu_cores": 'count by ($label) (node_cpu_seconds_total{mode="idle"})',
    "cpu_mhz": "avg by ($label) (node_cpu_scaling_frequency_hertz) / 1e6",
    "memory_mb": "sum by ($label) (node_memory_MemTotal_bytes) / 1048576",
    "temperature_c": "max by ($label) (node_hwmon_temp_celsius)",
}


def _asked(rest: str) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Address, queries and further arguments of `collect` that ``rest`` asks for; TelemetryError where that cannot
    be."""
    names = ("minutes", "step", "window", "end", "queries", "label", "anonymise")
    origin = f"prometheus:{_checked(rest.partition('?')[0])}"  # before anything else could repeat a password
    address, given = split(rest, names, origin)
    step = number(given, "step", 60, 1, origin)
    hide = given.get("anonymise", "no")
    if hide not in ("yes", "no"):
        raise TelemetryError(f"{origin}: option 'anonymise' is {hide!r}. Give yes or no.")
    further = {
        "seconds": 60 * number(given, "minutes", 60, step / 60, origin),
        "step": step,
        "window": number(given, "window", max(step, 60), 1, origin),
        "end": _time(given["end"], origin) if "end" in given else None,
        "label": given.get("label", "instance"),
        "anonymise": hide == "yes",
    }
    return address, queries(given.get("queries")), further


@register(
    "prometheus",
    title="Prometheus server with node exporters",
    default_target="cpu_usage",
    example="prometheus:http://127.0.0.1:9090?minutes=60",
    files=lambda rest: None,
    check=_asked,
)
def read(rest: str) -> pd.DataFrame:
    """Telemetry of the server at ``rest``, an http or https address with options (see the module)."""
    address, asked, further = _asked(rest)
    return collect(address, asked, **further)


def queries(file: str | Path | None = None) -> dict[str, str]:
    """`QUERIES`, with those of a YAML file of ``column: query`` lines in their place.

    In a query, ``$window`` stands for the window of rates and ``$label`` for the label that names the node. An
    empty query takes its column out; a column that telemetry does not declare becomes one more feature.
    """
    if file is None:
        return dict(QUERIES)
    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise TelemetryError(f"{file}: cannot be read ({error.strerror}). Give a YAML file.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TelemetryError(f"{file}: is not YAML ({error}). Quote queries with colons or braces.") from None
    if not isinstance(content, dict):
        raise TelemetryError(f"{file}: must hold lines of the form 'column: query'. Correct it.")
    for name, query in content.items():
        if not isinstance(query, str | None) or not isinstance(name, str):
            raise TelemetryError(f"{file}: the query of column '{name}' is not text. Put it into quotes.")
        if name in COLUMNS and COLUMNS[name].kind in ("time", "text"):
            raise TelemetryError(f"{file}: column '{name}' is no number. Leave it out of the queries.")
    return {name: query for name, query in {**QUERIES, **content}.items() if query}


def collect(
    address: str,
    asked: Mapping[str, str],
    *,
    seconds: float,
    step: float = 60,
    window: float = 60,
    end: float | None = None,
    label: str = "instance",
    anonymise: bool = False,
) -> pd.DataFrame:
    """Ask the server at ``address`` for each column, and put the answers together, one row per node and step.

    ``asked`` maps columns to PromQL; ``end`` is in seconds since 1970 (None: now). A timestamp is the start of
    its step, as everywhere in telemetry: Prometheus evaluates at the end of it and looks back. Raises
    TelemetryError where there is no server, no data, or no label that names the node.
    """
    import requests  # a tenth of a second that only this source needs

    origin, address = f"prometheus:{address}", _checked(address)
    last = np.floor((time.time() if end is None else end) / step) * step
    count = int(seconds / step)
    ends = last - step * np.arange(count)[::-1]
    parts = [(column, ends[i : i + POINTS]) for column in asked for i in range(0, count, POINTS)]
    found: dict[str, list[pd.Series]] = {}
    with requests.Session() as session:
        for column, times in tqdm(parts, desc="Prometheus", unit="query", disable=None, delay=2):
            query = Template(asked[column]).safe_substitute(window=f"{window * 1000:.0f}ms", label=label)
            answer = _ask(
                session, address, {"query": query, "start": times[0], "end": times[-1], "step": step}, column
            )
            found.setdefault(column, []).append(_series(answer, column, label, origin))
    frame = pd.DataFrame({column: pd.concat(pieces) for column, pieces in found.items()})
    frame = frame.rename_axis(["node", "timestamp"]).reset_index().dropna(how="all", subset=list(asked))
    if frame.empty:
        raise TelemetryError(
            f"{origin}: columns {', '.join(asked)}: no query found data in {count} steps up to "
            f"{pd.Timestamp(last, unit='s')} UTC. See on the server's page of targets that a node exporter is "
            f"scraped, ask for other minutes or end, or take a window longer than {window:g} s (rates need two "
            "scrapes in it)."
        )
    frame["timestamp"] = pd.to_datetime((frame["timestamp"] - step) * 1000, unit="ms", utc=True)
    if anonymise:
        frame["node"] = [f"node-{number + 1}" for number in pd.factorize(frame["node"], sort=True)[0]]
    return complete(frame[["timestamp", "node", *asked]], origin)


def _checked(address: str) -> str:
    """The address without a slash at its end; only http and https, and no password."""
    try:
        parts = urlsplit(address)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 0) >= 0
    except ValueError:  # a port that is no number, a bracket left open
        valid = False
    shown = re.sub(r"[^/@]*@", "", address)  # what a message repeats is kept in notebooks and logs
    if not valid or parts.fragment:
        raise TelemetryError(
            f"prometheus:{shown}: not an http or https address. Write it like http://127.0.0.1:9090."
        )
    if "@" in parts.netloc:
        raise TelemetryError(
            f"prometheus:{shown}: a user or password stands in the address, and would be kept in notebooks. "
            "Put it into ~/.netrc, from where it is read."
        )
    return address.rstrip("/")


def _ask(session: Any, address: str, parameters: dict[str, Any], column: str) -> list[dict[str, Any]]:
    """The series that answer one range query; TelemetryError with the server's own words if it refuses."""
    import requests

    origin = f"prometheus:{address}"
    try:
        answer = session.get(f"{address}/api/v1/query_range", params=parameters, timeout=TIMEOUT)
    except requests.exceptions.Timeout:
        problem = (
            f"no answer within {TIMEOUT[1]:g} s. Ask for fewer minutes or a longer step, or try again later"
        )
        raise TelemetryError(f"{origin}: column '{column}': {problem}.") from None
    except requests.exceptions.SSLError as error:
        raise TelemetryError(
            f"{origin}: the certificate is not trusted ({error}). "
            "Give the authority's file in REQUESTS_CA_BUNDLE."
        ) from None
    except requests.exceptions.RequestException as error:
        raise TelemetryError(
            f"{origin}: no server answers ({type(error).__name__}). Start Prometheus, or correct the address."
        ) from None
    if answer.status_code in (401, 403):
        raise TelemetryError(
            f"{origin}: the server wants a user and password. Put them into ~/.netrc, from where they are read."
        )
    try:
        content = answer.json()
        refused = content["error"] if content["status"] == "error" else ""
        found = [] if refused else list(content["data"]["result"])
    except (ValueError, KeyError, TypeError):
        raise TelemetryError(
            f"{origin}: this is no Prometheus server (status {answer.status_code}, not the answer of its API). "
            "Correct the address; a path before /api belongs to it."
        ) from None
    if refused:
        raise TelemetryError(
            f"{origin}: column '{column}': the server refused the query ({refused}). "
            f"It was: {parameters['query']}. Correct it in the file of queries."
        )
    return found


def _series(answer: list[dict[str, Any]], column: str, label: str, origin: str) -> pd.Series:
    """Values by node and time (seconds since 1970); empty where the answer is."""
    values: dict[tuple[str, float], float] = {}
    for one in answer:
        node = one["metric"].get(label)
        if node is None:
            labels = ", ".join(sorted(one["metric"])) or "none"
            raise TelemetryError(
                f"{origin}: column '{column}': a series has no label '{label}' (it has: {labels}). "
                f"Let the query keep it, as in 'sum by ({label}) (...)', or name another label."
            )
        pairs = {(node, float(when)): float(value) for when, value in one.get("values", [])}
        if pairs.keys() & values.keys():
            raise TelemetryError(
                f"{origin}: column '{column}': more than one series of node {node}. "
                f"Let the query add them up, as in 'sum by ({label}) (...)'."
            )
        values |= pairs
    index = pd.MultiIndex.from_tuples(values) if values else pd.MultiIndex.from_arrays([[], []])
    return pd.Series(list(values.values()), index=index, dtype=float)


def _time(text: str, origin: str) -> float:
    """A time in ISO 8601 (UTC unless it has an offset) as seconds since 1970."""
    when = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
    if pd.isna(when):
        raise TelemetryError(f"{origin}: option 'end' is {text!r}. Write it like 2026-01-31T05:00:00Z.")
    return float(when.timestamp())
