"""Telemetry counted out of a log of jobs or of web requests, a line each.

``events:/path/log.jsonl?interval=60&deadline=0.5``. A log of jobs has one JSON object in each line, such as
``{"start": "2026-01-31T05:00:00.25Z", "end": "2026-01-31T05:00:00.9Z", "node": "web-1", "status": "completed"}``:

- ``start``, ``end``: ISO 8601 (UTC unless it has an offset) or seconds since 1970; end and status are null while a
  job runs
- ``node``: its node; left out of all lines, the node is ``system``
- ``status``: completed, ok or success; dropped, failed, error or timeout; or a status of HTTP. Dropped are those from
  500 on and those that say that a request was given up without an answer to it: 000, 408, 429, 444, 460, 499.
  ``completed=WORD,WORD`` names other words for completed, and every word but those is dropped
- ``cpu``: its work in CPU seconds, optional

A web log is in the common or the combined format. A duration is in it only if the server was told to write one as the
last field; ``duration=s``, ``ms`` or ``us`` says so and its unit. Without it, requests are counted by the time of
their line, and nothing is said of latency, queue and productivity. The time of a line is that of the request's begin
(Apache) or that of its end (nginx), from which the duration is subtracted. ``stamp=start`` or ``stamp=end`` says which.
Unless told, it is the end where durations have decimals, as those of nginx do and those of Apache do not.

The definitions are those of the testbed, for intervals of ``interval`` seconds (60), aligned to multiples of it since
1970, that hold their begin and not their end:

- ``jobs_offered``: jobs that started
- ``demand``: CPU seconds of them, for each second; only where ``cpu`` is in the log, or an option (``cpu=0.02``)
- ``jobs_completed``, ``jobs_dropped``: jobs that ended, as completed or otherwise
- ``latency_mean``, ``latency_p95``: from start to end of the jobs completed, in ms; empty without any
- ``queue_length``: jobs started and not ended at the interval's end
- ``work_due``: CPU seconds of the jobs whose deadline, ``deadline`` seconds after the start, fell into the interval
- ``system_productivity``: share of the work due that was completed by its deadline, in percent; empty where none was
  due. Where the work is not known every job weighs the same, and the series of the system is the plain mean of the
  nodes. Only where ``deadline`` is given

An interval without a line has zero jobs, since a log is complete; the first and the last may be covered in part, the
last as far back as requests take, since those that run when a log ends are not in it.
"""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from vdslib.errors import TelemetryError
from vdslib.sources._shared import number
from vdslib.sources.catalogue import register
from vdslib.telemetry import SYSTEM, split

COMPLETED = ("completed", "ok", "success")
DROPPED = ("dropped", "failed", "error", "timeout")
UNITS = {"s": 1e6, "ms": 1e3, "us": 1.0}  # in microseconds
STAMPS = ("start", "end")
LATEST = 1e11  # seconds since 1970, in the year 5138: larger numbers are milliseconds
# of HTTP below 500: no answer was sent (nginx, 000 and 444), the request did not come in time (408) or was refused for
# the load (429), the client left before the answer (460 of AWS, 499 of nginx)
GIVEN_UP = (0, 408, 429, 444, 460, 499)
MOST_ROWS = 20_000_000  # a table longer than that comes from a wrong time
PARSED = 10_000  # lines
RUNS = -1  # the end of a job that has none yet

# host, identity, user, [time], "request", status, bytes; then whatever the server adds, the last field apart
WEB = r'^\S+ \S+ .*?\[([^\]]+)\] "(?:[^"\\]|\\.)*" (\d{3}) (?:\d+|-)(?: (?:.* )?(\S+))?$'


@register(
    "events",
    title="log of jobs or of web requests",
    default_target="jobs_offered",
    example="events:access.log?interval=60",
)
def read(rest: str) -> pd.DataFrame:
    """Telemetry counted out of the log at ``rest``, a path with options (see the module)."""
    origin = f"events:{rest}"
    path, options = split(rest, ("interval", "deadline", "cpu", "completed", "duration", "stamp"), origin)
    for name, values in (("duration", tuple(UNITS)), ("stamp", STAMPS)):
        if options.get(name, values[0]) not in values:
            choice = f"{', '.join(values[:-1])} or {values[-1]}"
            raise TelemetryError(f"{origin}: option '{name}' is {options[name]!r}. Give {choice}.")
    if options.get("stamp") == "end" and "duration" not in options:
        raise TelemetryError(
            f"{origin}: option 'stamp' needs durations, to go back from the end of a request to its begin. "
            "Give the unit of the last field as duration=s, ms or us, or leave out the stamp."
        )
    interval = number(options, "interval", 60, 0.001, origin)
    deadline = number(options, "deadline", 0, 0, origin) if "deadline" in options else None
    cpu = number(options, "cpu", 0, 0, origin) if "cpu" in options else None
    words = tuple(options["completed"].split(",")) if "completed" in options else ()
    jobs = read_log(path, words, options.get("duration"), options.get("stamp", ""))
    frame = aggregate(jobs if cpu is None else jobs.assign(cpu=cpu), interval, deadline, origin)
    frame.attrs["notes"] = jobs.attrs.get("notes", []) + _cut_off(jobs, interval)
    return frame


def _cut_off(jobs: pd.DataFrame, interval: float) -> list[str]:
    """A note where requests take so long that a log, which has them when they end, lacks some of its first and last."""
    if "end" not in jobs or (jobs["end"] == RUNS).any():  # a log that names running jobs has all of them
        return []
    longest = (jobs["end"] - jobs["start"]).max() / 1e6
    note = (
        f"the longest took {longest:g} s; what ended before the log begins or ran when it ended is not in it, so that "
        "the first and the last intervals may count too few as offered, for as long as requests take"
    )
    return [note] if longest > interval else []


@dataclass(frozen=True)
class _Grid:
    """Nodes times intervals; ``code`` [jobs] is the place of each job's node, ``step`` is in microseconds."""

    nodes: np.ndarray
    code: np.ndarray
    first: int
    count: int
    step: int

    def cells(self, where: np.ndarray, when: np.ndarray) -> np.ndarray:
        """[jobs chosen]: the cell into which each job of ``where`` falls by its time in ``when`` [jobs], node by node."""
        return self.code[where] * self.count + when[where] // self.step - self.first

    def total(self, where: np.ndarray, when: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
        """How many of the jobs ``where`` there are, or their weight, [nodes * intervals]."""
        chosen = None if weight is None else weight[where]
        return np.bincount(self.cells(where, when), chosen, minlength=self.count * len(self.nodes))


def aggregate(
    jobs: pd.DataFrame, interval: float = 60, deadline: float | None = None, origin: str = "events"
) -> pd.DataFrame:
    """Count jobs as ``read_log`` gives them, one row per node and interval of ``interval`` seconds.

    ``deadline`` is in seconds after a job's start. Columns and definitions: see the module.
    """
    timed = "end" in jobs
    if deadline is not None and not timed:
        raise TelemetryError(
            f"{origin}: option 'deadline' needs durations, and the log is read without. "
            "Give the unit of its last field as duration=s, ms or us, or leave out the deadline."
        )
    if not timed:  # a request counts as completed in the interval in which it started
        jobs = jobs.assign(end=jobs["start"])
    grid = _grid(jobs, round(interval * 1e6), origin)
    start, end = jobs["start"].to_numpy(), jobs["end"].to_numpy()
    every, ended, completed = np.full(len(jobs), True), end != RUNS, jobs["completed"].to_numpy(dtype=bool)
    work = jobs["cpu"].to_numpy(dtype=float) if "cpu" in jobs else None
    columns: dict[str, np.ndarray] = {}
    if work is not None:
        columns["demand"] = grid.total(every, start, work) / interval
    offered = columns["jobs_offered"] = grid.total(every, start)
    done = columns["jobs_completed"] = grid.total(ended & completed, end)
    dropped = columns["jobs_dropped"] = grid.total(ended & ~completed, end)
    if timed:
        cells = grid.cells(ended & completed, end)
        latencies = pd.Series((end - start)[ended & completed] / 1000).groupby(cells)
        columns["latency_mean"] = latencies.mean().reindex(range(len(offered))).to_numpy()
        columns["latency_p95"] = latencies.quantile(0.95).reindex(range(len(offered))).to_numpy()
        held = (offered - done - dropped).reshape(-1, grid.count)
        columns["queue_length"] = held.cumsum(axis=1).reshape(-1)
    if deadline is not None:
        due = start + round(deadline * 1e6)
        within = due // grid.step - grid.first < grid.count
        work_due = grid.total(within, due, work)
        if work is not None:
            columns["work_due"] = work_due
        in_time = grid.total(within & ended & completed & (end <= due), due, work)
        share = in_time / np.where(work_due > 0, work_due, np.nan)
        columns["system_productivity"] = np.minimum(100 * share, 100)  # rounding may carry it a hair higher
    times = pd.to_datetime((grid.first + np.arange(grid.count)) * grid.step, unit="us", utc=True)
    index = pd.MultiIndex.from_product([grid.nodes, times], names=["node", "timestamp"])
    frame = pd.DataFrame(columns, index=index).reset_index()
    return frame[["timestamp", "node", *columns]]


def _grid(jobs: pd.DataFrame, step: int, origin: str) -> _Grid:
    """The nodes and intervals from the first start to the last time."""
    first = int(jobs["start"].min()) // step
    last = jobs[["start", "end"]].max(axis=1)
    count = int(last.max()) // step - first + 1
    code, nodes = pd.factorize(jobs["node"], sort=True)
    if count * len(nodes) > MOST_ROWS:
        raise TelemetryError(
            f"{origin}: {count:,} intervals lie between the earliest time (line {jobs['start'].idxmin()}) and the "
            f"latest (line {last.idxmax()}). Correct a wrong time, or give a longer interval."
        )
    return _Grid(np.asarray(nodes, dtype=object), code, first, count, step)


def read_log(
    path: str | Path, completed: tuple[str, ...] = (), duration: str | None = None, stamp: str = ""
) -> pd.DataFrame:
    """One row per job, by number of the line: start, end (microseconds since 1970), node, completed, cpu.

    The end of a job that still runs is -1. ``end`` is absent where the log has no durations, ``cpu`` where it has
    none. ``duration`` and ``stamp`` are the options for web logs; what was assumed of one is in ``attrs["notes"]``.
    Raises TelemetryError with the number of the first line that is wrong.
    """
    path, origin = Path(path), f"events:{path}"
    if not path.is_file():
        raise TelemetryError(f"{origin}: there is no such file. Give the path of a log.")
    try:
        # text that is no UTF-8 may stand in addresses and names of browsers, which are not read
        with (gzip.open if path.suffix == ".gz" else open)(
            path, "rt", encoding="utf-8-sig", errors="replace"
        ) as file:
            lines = {n: line.strip() for n, line in enumerate(file, start=1) if line.strip()}
    except (OSError, EOFError) as error:
        raise TelemetryError(f"{origin}: cannot be read ({error}). Check that it is complete.") from None
    if not lines:
        raise TelemetryError(f"{origin}: line 1: the log is empty. Give one with at least one job.")
    text = pd.Series(lines)
    if text.iloc[0].startswith("{"):
        return _jobs(text, completed, origin)
    return _requests(text, duration, stamp, origin)


def _refuse(wrong: pd.Series, values: pd.Series, column: str, problem: str, origin: str) -> None:
    """Raise for the first line in which ``wrong`` is true; ``problem`` says what and how to correct it."""
    if wrong.any():
        row = int(wrong.argmax())
        value = "an empty value" if values.isna().iloc[row] else repr(values.astype(object).iloc[row])
        raise TelemetryError(
            f"{origin}: line {values.index[row]}, '{column}': {value} {problem}, or leave out the line."
        )


def _jobs(text: pd.Series, words: tuple[str, ...], origin: str) -> pd.DataFrame:
    """The jobs of a log of JSON lines."""
    lines, parsed = text.tolist(), []
    for i in tqdm(range(0, len(lines), PARSED), desc="log", unit="part", disable=None, delay=2):
        part = lines[i : i + PARSED]
        try:  # many at once are read several times as fast as one by one
            jobs = json.loads(f"[{','.join(part)}]")
        except ValueError:
            jobs = []
        if len(jobs) != len(part) or not all(isinstance(job, dict) for job in jobs):
            row = i + next(k for k, one in enumerate(part) if not _is_object(one))
            raise TelemetryError(
                f"{origin}: line {text.index[row]}: is not one JSON object ({lines[row][:60]}). "
                "Complete it, or leave out the line."
            )
        parsed += jobs
    fields = pd.DataFrame(parsed, index=text.index)
    for name in ("start", "end", "status"):
        if name not in fields:
            raise TelemetryError(
                f"{origin}: line {text.index[0]}, '{name}': no line has it. Add it to every job."
            )
    runs = fields["end"].isna()
    table = pd.DataFrame({"start": _microseconds(fields["start"], origin)})
    table["end"] = _microseconds(fields["end"].where(~runs, fields["start"]), origin)
    _refuse(
        table["end"] < table["start"],
        fields["end"],
        "end",
        "is before the start. Correct one of them",
        origin,
    )
    table.loc[runs, "end"] = RUNS
    table["node"] = fields["node"].astype(str) if "node" in fields else SYSTEM
    if "node" in fields:
        empty = fields["node"].isna() | (fields["node"] == "")
        _refuse(empty, fields["node"], "node", "is no name, though other lines have one. Add it", origin)
    status = fields["status"].astype("string").str.lower().str.removesuffix(".0")
    problem = "belongs to a job without an end. Add its end"
    _refuse(runs & status.notna(), fields["status"], "status", problem, origin)
    table["completed"] = _completed(status, words, fields["status"], ~runs, origin)
    if "cpu" in fields:
        cpu = pd.to_numeric(fields["cpu"], errors="coerce").astype(float)
        problem = "is not a number of CPU seconds from 0. Correct it"
        _refuse(~((cpu >= 0) & np.isfinite(cpu)), fields["cpu"], "cpu", problem, origin)
        table["cpu"] = cpu
    return table


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _completed(
    status: pd.Series, words: tuple[str, ...], stated: pd.Series, needed: pd.Series, origin: str
) -> pd.Series:
    """Whether a status says that the job was completed; false where it is not ``needed``."""
    if words:
        problem = "is empty. Add it"
        _refuse(needed & status.isna(), stated, "status", problem, origin)
        return status.isin([word.lower() for word in words])
    code = pd.to_numeric(status, errors="coerce").astype(float)
    http = code.between(100, 599) | (status == "000").fillna(False)
    known = status.isin(COMPLETED + DROPPED) | http
    problem = (
        f"is neither {', '.join(COMPLETED + DROPPED)} nor a status of HTTP. "
        "Name the words for completed as completed=WORD,WORD, correct it"
    )
    _refuse(needed & ~known, stated, "status", problem, origin)
    return status.isin(COMPLETED) | (http & _answered(code))


def _answered(code: pd.Series) -> pd.Series:
    """Whether a status of HTTP says that the request got an answer, if only that it was a wrong one."""
    return (code < 500) & ~code.isin(GIVEN_UP)


def _microseconds(values: pd.Series, origin: str) -> pd.Series:
    """Times in ISO 8601 or in seconds since 1970, as whole microseconds since 1970."""
    name = str(values.name)
    seconds = pd.to_numeric(values, errors="coerce").astype(float)
    problem = "is too large for seconds since 1970. Divide by 1000 if these are milliseconds"
    _refuse(seconds.abs() > LATEST, values, name, problem, origin)
    texts = pd.to_datetime(values.where(seconds.isna()), format="ISO8601", utc=True, errors="coerce")
    problem = "is not a time. Write it like 2026-01-31T05:00:00.25Z or in seconds since 1970"
    _refuse(seconds.isna() & texts.isna(), values, name, problem, origin)
    whole = texts.astype("datetime64[us, UTC]").astype("int64")
    return whole.where(seconds.isna(), (seconds.fillna(0) * 1e6).round().astype("int64"))


def _requests(text: pd.Series, duration: str | None, stamp: str, origin: str) -> pd.DataFrame:
    """The requests of a web log in the common or combined format."""
    parts = text.str.extract(WEB)
    wrong = parts[0].isna()
    if wrong.any():
        line = text.index[int(wrong.argmax())]
        raise TelemetryError(
            f"{origin}: line {line}: is neither JSON nor of the common or combined format of web logs "
            f"({text.loc[line][:60]}). Correct it, or leave out the line."
        )
    times = pd.to_datetime(parts[0], format="%d/%b/%Y:%H:%M:%S %z", utc=True, errors="coerce")
    _refuse(
        times.isna(), parts[0], "time", "is not a time like 31/Jan/2026:05:00:00 +0000. Correct it", origin
    )
    jobs = pd.DataFrame({"start": times.astype("datetime64[us, UTC]").astype("int64"), "node": SYSTEM})
    jobs["completed"] = _answered(parts[1].astype(int))
    if duration is None:
        note = "requests are counted by the time of their line, that of their begin (Apache) or of their end (nginx)"
        if parts[2].str.fullmatch(r"\d+\.\d+", na=False).all():
            note += "; the last field looks like a duration in seconds: duration=s would use it"
        jobs.attrs["notes"] = [note]
        return jobs
    taken = pd.to_numeric(parts[2], errors="coerce").astype(float)
    problem = "is no duration. Let the server write it as the last field, leave out the option 'duration'"
    _refuse(~((taken >= 0) & np.isfinite(taken)), parts[2], "last field", problem, origin)
    spans = (taken * UNITS[duration]).round().astype("int64")
    supposed = stamp or ("end" if parts[2].str.contains(".", regex=False).any() else "start")
    if supposed == "end":
        jobs["start"] -= spans
    jobs["end"] = jobs["start"] + spans
    if not stamp:
        begins = (
            "a request begins its duration before the time"
            if supposed == "end"
            else "a request begins at the time"
        )
        decimals = "decimals, as of nginx" if supposed == "end" else "no decimals, as of Apache"
        jobs.attrs["notes"] = [
            f"{begins} of its line, since durations have {decimals}; stamp=start or end says otherwise"
        ]
    return jobs
