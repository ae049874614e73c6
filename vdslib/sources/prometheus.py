"""Telemetry out of a Prometheus server that scrapes node exporters, by range queries of its HTTP API.

``prometheus:http://127.0.0.1:9090?minutes=60&step=60``, or the address alone. Each column is one PromQL query
(``QUERIES``), which a YAML file of ``column: query`` lines can replace. Options:

- ``minutes``: how far back, 60
- ``end``: end of the time read, ISO 8601, else now; give it to get the same rows again
- ``step``: seconds from row to row, 60
- ``window``: seconds over which rates are taken, 60 or the step if that is longer; at least twice the interval of
  scraping. A window longer than the step makes successive rows overlap, which flatters forecasts.
- ``queries``: YAML file of queries; a column with an empty query is left out
- ``label``: label whose value names the node, ``instance``
- ``select``: which series are read, as in ``select=job="node"``, where several describe one node
- ``token_file``: file with the token of a server that wants one; or the variable VDS_PROMETHEUS_TOKEN holds it
- ``anonymise``: ``yes`` calls the nodes node-1, node-2 and so on, in the order of their names

Unless anonymised, nodes keep the names that the server gives them, often host and port. A value that is infinite or no
number is a gap. What the server says of its answer, such as that it is partial, becomes a note.

Reference: [HTTP API](https://prometheus.io/docs/prometheus/latest/querying/api/) of Prometheus.
"""

import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import yaml
from tqdm import tqdm

from vdslib.errors import TelemetryError, notice
from vdslib.sources._shared import (
    LOOPBACK,
    MADE_OF_OTHERS,
    PARTITIONS,
    VIRTUAL_CARDS,
    complete,
    left_out,
    number,
)
from vdslib.sources.catalogue import register
from vdslib.telemetry import COLUMNS, split

POINTS = 10_000  # times in one request; the server refuses more than 11,000
TIMEOUT = (5.0, 60.0)  # seconds to connect, and to wait for an answer

# An exporter that two jobs scrape is there twice. The queries add up within one target and keep all its labels, so
# that a node that occurs twice shows, where a sum over the node's name would count it twice.
_DISCS = f'device!~"({MADE_OF_OTHERS}).*|{PARTITIONS}",$select'
_CARDS = f'device!~"{LOOPBACK}|{VIRTUAL_CARDS}",$select'
QUERIES: dict[str, str] = {
    "cpu_usage": "100 * sum without (cpu, mode) "
    '(rate(node_cpu_seconds_total{mode!~"idle|iowait|steal",$select}[$window])) '
    "/ sum without (cpu, mode) (rate(node_cpu_seconds_total{$select}[$window]))",
    "memory_usage": "100 * (1 - node_memory_MemAvailable_bytes{$select} / node_memory_MemTotal_bytes{$select})",
    "disc_usage": f"sum without (device) (rate(node_disk_read_bytes_total{{{_DISCS}}}[$window]) "
    f"+ rate(node_disk_written_bytes_total{{{_DISCS}}}[$window])) / 1024",
    "network_usage": f"sum without (device) (rate(node_network_receive_bytes_total{{{_CARDS}}}[$window]) "
    f"+ rate(node_network_transmit_bytes_total{{{_CARDS}}}[$window])) / 1024",
    "cpu_cores": 'count without (cpu, mode) (node_cpu_seconds_total{mode="idle",$select})',
    "cpu_mhz": "avg without (cpu) (node_cpu_scaling_frequency_hertz{$select}) / 1e6",
    "memory_mb": "node_memory_MemTotal_bytes{$select} / 1048576",
    "temperature_c": "max without (chip, sensor) (node_hwmon_temp_celsius{$select})",
}
# the cards that the query of network_usage leaves out, for a note
LEFT_OUT = f'count by (device) (node_network_receive_bytes_total{{device=~"{VIRTUAL_CARDS}",$select}})'
TOKEN = "VDS_PROMETHEUS_TOKEN"  # this variable holds a token, which belongs into no address
NO_DATA = (
    "See on the server's page of targets that a node exporter is scraped, ask for other minutes or end, or take a "
    "window longer than %g s (rates need two scrapes in it)."
)
LASTS = 300.0  # seconds for which Prometheus keeps the last value of a series


def _asked(rest: str) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Address, queries and further arguments of ``collect`` that ``rest`` asks for; TelemetryError where that cannot
    be."""
    names = ("minutes", "step", "window", "end", "queries", "label", "select", "token_file", "anonymise")
    origin = f"prometheus:{_checked(rest.partition('?')[0])}"  # before anything else could repeat a password
    address, options = split(rest, names, origin)
    step = number(options, "step", 60, 1, origin)
    hide = options.get("anonymise", "no")
    if hide not in ("yes", "no"):
        raise TelemetryError(f"{origin}: option 'anonymise' is {hide!r}. Give yes or no.")
    further = {
        "seconds": 60 * number(options, "minutes", 60, step / 60, origin),
        "step": step,
        "window": number(options, "window", max(step, 60), 1, origin),
        "end": _time(options["end"], origin) if "end" in options else None,
        "label": options.get("label", "instance"),
        "select": options.get("select", ""),
        "token": _token(options.get("token_file"), origin),
        "anonymise": hide == "yes",
    }
    return address, queries(options.get("queries")), further


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
    """``QUERIES``, with those of a YAML file of ``column: query`` lines in their place.

    In a query, ``$window`` stands for the window of rates, ``$label`` for the label that names the node, and
    ``$select`` for the series selected, to be written within braces. An empty query takes its column out; a column that telemetry does not declare becomes one more feature.
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
    select: str = "",
    token: str = "",
    anonymise: bool = False,
) -> pd.DataFrame:
    """Ask the server at ``address`` for each column, and put the answers together, one row per node and step.

    ``asked`` maps columns to PromQL; ``end`` is in seconds since 1970 (None: now); ``select`` are matchers for all
    series, ``token`` is sent to the server. A timestamp is the start of its step, as everywhere in telemetry:
    Prometheus evaluates at the end of it and looks back. What the server or we left out is in ``attrs["notes"]``.
    Raises TelemetryError where there is no server, no data, no label that names the node, or a node twice.
    """
    import requests  # a tenth of a second that only this source needs

    origin, address = f"prometheus:{address}", _checked(address)
    last = np.floor((time.time() if end is None else end) / step) * step
    count = int(seconds / step)
    ends = last - step * np.arange(count)[::-1]
    parts = [(column, ends[i : i + POINTS]) for column in asked for i in range(0, count, POINTS)]
    samples: dict[str, list[pd.Series]] = {}
    notes: list[str] = []
    fill = {"window": f"{window * 1000:.0f}ms", "label": label, "select": select}
    changes = step + max(window, LASTS)
    with requests.Session() as session:
        session.auth = _bearer(token) if token else None
        for column, times in tqdm(parts, desc="Prometheus", unit="query", disable=None, delay=2):
            query = Template(asked[column]).safe_substitute(fill)
            answer = _ask(session, address, _inquiry(query, times, step), column, notes)
            samples.setdefault(column, []).append(_series(answer, column, label, changes, origin, notes))
        if asked.get("network_usage") == QUERIES["network_usage"]:
            query = Template(LEFT_OUT).safe_substitute(fill)
            cards = _ask(session, address, _inquiry(query, ends[-1:], step), "network_usage", [])
            notes += left_out(one["metric"].get("device", "") for one in cards)
    frame = pd.DataFrame({column: pd.concat(pieces) for column, pieces in samples.items()})
    frame = frame.rename_axis(["node", "timestamp"]).reset_index().dropna(how="all", subset=list(asked))
    if frame.empty:
        raise TelemetryError(
            f"{origin}: columns {', '.join(asked)}: no query found data in {count} steps up to "
            f"{pd.Timestamp(last, unit='s')} UTC. {NO_DATA % window}"
        )
    frame["timestamp"] = pd.to_datetime((frame["timestamp"] - step) * 1000, unit="ms", utc=True)
    if anonymise:
        frame["node"] = [f"node-{code + 1}" for code in pd.factorize(frame["node"], sort=True)[0]]
    frame.attrs["notes"] = list(dict.fromkeys(notes))
    return complete(frame[["timestamp", "node", *asked]], origin)


def _inquiry(query: str, times: np.ndarray, step: float) -> dict[str, Any]:
    """The parameters of one range query."""
    return {"query": query, "start": times[0], "end": times[-1], "step": step}


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
            f"Put it into ~/.netrc, from where it is read, or a token into {TOKEN} or a file (token_file)."
        )
    return address.rstrip("/")


def _token(file: str | None, origin: str) -> str:
    """The token in a file, else that in the variable, else none; no message repeats it."""
    if file is None:
        place, token = f"the variable {TOKEN}", os.environ.get(TOKEN, "").strip()
    else:
        place = f"the file {file}"
        try:
            token = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise TelemetryError(
                f"{origin}: {place} cannot be read ({reason}). Give a file with the token alone."
            ) from None
    if (file is not None and not token) or not re.fullmatch("[!-~]*", token):
        raise TelemetryError(
            f"{origin}: {place} holds no token. Write the token into it and nothing else, on one line."
        )
    return token


def _bearer(token: str) -> Callable[[Any], Any]:
    """What makes a request carry the token; ~/.netrc is not read then."""

    def sign(request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    return sign


def _ask(
    session: Any, address: str, parameters: dict[str, Any], column: str, notes: list[str]
) -> list[dict[str, Any]]:
    """The series that answer one range query; what the server says of them is added to ``notes``.

    TelemetryError with the server's own words if it refuses.
    """
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
            f"{origin}: the server wants a user and password. Put them into ~/.netrc, from where they are read; or "
            f"a token, if it wants one, into the variable {TOKEN} or a file (token_file=PATH)."
        )
    content, samples = _content(answer, origin)
    if content["status"] == "error":
        raise TelemetryError(
            f"{origin}: column '{column}': the server refused the query ({content['error']}). "
            f"It was: {parameters['query']}. Correct it in the file of queries."
        )
    doubts = list(content.get("warnings") or [])
    if content.get("isPartial"):  # as VictoriaMetrics says it
        doubts.append("the answer is partial")
    said = [f"column '{column}': the server says: {text}" for text in doubts]
    for text in said:
        notice(f"{origin}: {text}")
    notes += said + [f"column '{column}': the server says: {text}" for text in content.get("infos") or []]
    return samples


def _content(answer: Any, origin: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What an answer holds, and the series in it; TelemetryError where it is not one of Prometheus."""
    try:
        content = answer.json()
        refused = content["error"] if content["status"] == "error" else ""
        return content, [] if refused else list(content["data"]["result"])
    except (ValueError, KeyError, TypeError):
        raise TelemetryError(
            f"{origin}: this is no Prometheus server (status {answer.status_code}, not the answer of its API). "
            "Correct the address; a path before /api belongs to it."
        ) from None


def _series(
    answer: list[dict[str, Any]], column: str, label: str, changes: float, origin: str, notes: list[str]
) -> pd.Series:
    """Values by node and time (seconds since 1970), without infinite ones; empty where the answer is.

    A node may go over from one series to another that outlasts it, as when its exporter gets a new name: the times
    that both have, up to ``changes`` seconds, are left out. Both are added to ``notes``.
    """
    nodes: dict[str, tuple[dict[str, str], dict[float, float]]] = {}
    infinite = 0
    for one in answer:
        labels = one["metric"]
        node = labels.get(label)
        if node is None:
            raise TelemetryError(
                f"{origin}: column '{column}': a series has no label '{label}' "
                f"(it has: {', '.join(sorted(labels)) or 'none'}). "
                f"Let the query keep it, as in 'sum by ({label}) (...)', or name another label."
            )
        values = {float(when): float(value) for when, value in one.get("values", [])}
        infinite += int(np.isinf(list(values.values())).sum())
        if node in nodes:
            others, before = nodes[node]
            both = before.keys() & values.keys()
            if both and (max(both) - min(both) > changes or max(before) == max(values)):
                raise TelemetryError(f"{origin}: column '{column}': {_twice(node, others, labels, label)}")
            if both:
                notes.append(f"column '{column}': {len(both)} times that two series of a node have are gaps")
            values = {when: value for when, value in {**before, **values}.items() if when not in both}
        nodes[node] = labels, values
    if infinite:
        notes.append(f"column '{column}': {infinite} infinite values are gaps")
    samples = {(node, when): value for node, (_, values) in nodes.items() for when, value in values.items()}
    index = pd.MultiIndex.from_tuples(samples) if samples else pd.MultiIndex.from_arrays([[], []])
    return pd.Series(list(samples.values()), index=index, dtype=float).replace([np.inf, -np.inf], np.nan)


def _twice(node: str, one: dict[str, str], two: dict[str, str], label: str) -> str:
    """That a node has more than one series at a time, by which labels they differ, and what to do."""
    differ = {name: (one.get(name, ""), two.get(name, "")) for name in sorted({*one, *two}) if name != label}
    parts = [f"{name} {a!r} and {b!r}" for name, (a, b) in differ.items() if a != b]
    first = next((name for name, (a, b) in differ.items() if a != b), label)
    return (
        f"more than one series of node {node}. Let the query add them up, as in 'sum by ({label}) (...)', if each is a "
        f"part of the node. If they are the same twice (they differ by {', '.join(parts)}), choose one by the option "
        f'select={first}="{differ[first][0]}", which a query of your own takes as {{$select}}.'
    )


def _time(text: str, origin: str) -> float:
    """A time in ISO 8601 (UTC unless it has an offset) as seconds since 1970."""
    when = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
    if pd.isna(when):
        raise TelemetryError(f"{origin}: option 'end' is {text!r}. Write it like 2026-01-31T05:00:00Z.")
    return float(when.timestamp())
