"""Telemetry of this host: measured now through psutil, or out of the archives that sar keeps.

``host:60`` measures for sixty seconds, a row a second; ``host:600?step=10`` for ten minutes, a row every ten
seconds. ``sar:/var/log/sysstat/sa24`` reads the archive of the 24th (``/var/log/sa/`` on some systems).

Both mean the same by the same columns. cpu_usage: share of all cores' time that was neither idle, nor waiting for
discs, nor taken by other virtual machines. memory_usage: what is not available to programs, so without caches.
disc_usage: discs proper, not those made of others. network_usage: network cards proper, without the loopback, and
without bonds, bridges, tunnels and the cards of containers, whose bytes pass through others; a note names those left
out. The node is called node-1; no name of host or user is kept.
"""

import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from tqdm import tqdm

from vdslib.errors import TelemetryError, notice
from vdslib.sources._shared import MADE_OF_OTHERS, SYSFS, cards_to_count, complete, left_out, number
from vdslib.sources.catalogue import register
from vdslib.telemetry import split

NODE = "node-1"
SADF_SECONDS = 120  # longest that reading an archive may take


@dataclass(frozen=True)
class Counters:
    """What the host has counted since it started: seconds of time and CPU, bytes; NaN where it does not count."""

    time: float
    cpu_total: float
    cpu_used: float
    disc: float
    network: float


def _asked(rest: str) -> tuple[int, float]:
    """Rows and seconds from row to row that ``rest`` asks for; TelemetryError where that cannot be."""
    origin = f"host:{rest}"
    seconds, options = split(rest, ("step",), origin)
    if not seconds.isdecimal() and seconds:
        raise TelemetryError(
            f"{origin}: {seconds!r} is not a whole number of seconds. Write it like host:60."
        )
    step = number(options, "step", 1, 1, origin)
    rows = int(int(seconds or 60) / step)
    if not rows:
        raise TelemetryError(f"{origin}: shorter than one step of {step:g} s. Measure for longer.")
    return rows, step


@register(
    "host",
    title="this host, measured through psutil",
    default_target="cpu_usage",
    example="host:60",
    files=lambda rest: None,
    check=_asked,
)
def read_host(rest: str) -> pd.DataFrame:
    """Measure this host for the seconds at the begin of ``rest`` (60 where it is empty)."""
    return complete(measure(*_asked(rest)), f"host:{rest}")


def measure(rows: int, step: float = 1) -> pd.DataFrame:
    """Measure this host, one row every ``step`` seconds; a value that it does not tell is NaN.

    Timestamps count from the second in which it began, so that they are regular.
    """
    start, began = time.monotonic(), datetime.now(UTC).replace(microsecond=0)
    before, measured = _counters(), []
    for row in tqdm(range(rows), desc="measuring this host", unit="row", disable=None, delay=2):
        time.sleep(max(0.0, start + (row + 1) * step - time.monotonic()))
        after = _counters()
        measured.append(_rates(before, after) | _state())
        before = after
    times = pd.Timestamp(began) + pd.to_timedelta(np.arange(rows) * step, unit="s")
    frame = pd.DataFrame(measured)
    frame.insert(0, "timestamp", times)
    frame.insert(1, "node", NODE)
    frame.attrs["notes"] = left_out(cards_to_count(_outer_cards(), SYSFS)[1])
    return frame


def _outer_cards() -> dict[str, Any]:
    """Counters of each network card but the loopback."""
    loopback = {name for name, card in psutil.net_if_stats().items() if "loopback" in card.flags}
    cards = psutil.net_io_counters(pernic=True)
    return {name: counted for name, counted in cards.items() if name not in loopback}


def _counters() -> Counters:
    cpu = psutil.cpu_times()._asdict()
    total = (
        sum(cpu.values()) - cpu.get("guest", 0) - cpu.get("guest_nice", 0)
    )  # they are within user and nice
    unused = sum(cpu.get(name, 0) for name in ("idle", "iowait", "steal"))
    discs = psutil.disk_io_counters()  # whole discs, none of their parts
    disc = np.nan
    if discs is not None:
        twice = psutil.disk_io_counters(perdisk=True).items()
        made = [counted for name, counted in twice if re.fullmatch(MADE_OF_OTHERS, name)]
        disc = _bytes([discs], "read_bytes", "write_bytes") - _bytes(made, "read_bytes", "write_bytes")
    cards = _outer_cards()
    counted = [cards[name] for name in cards_to_count(cards, SYSFS)[0]]
    network = _bytes(counted, "bytes_recv", "bytes_sent") if counted else np.nan
    return Counters(time.monotonic(), total, total - unused, disc, network)


def _bytes(counted: list[Any], *names: str) -> float:
    return float(sum(getattr(one, name) for one in counted for name in names))


def _rates(before: Counters, after: Counters) -> dict[str, float]:
    seconds = after.time - before.time
    cpu = after.cpu_total - before.cpu_total
    used = 100 * (after.cpu_used - before.cpu_used) / cpu if cpu > 0 else np.nan
    moved = {"disc_usage": after.disc - before.disc, "network_usage": after.network - before.network}
    # Linux may take back some of the time that it counted as waiting; a disc or card that is removed takes its
    # bytes with it, and that second tells nothing
    rates = {name: count / 1024 / seconds if count >= 0 else np.nan for name, count in moved.items()}
    return {"cpu_usage": float(np.clip(used, 0, 100))} | rates


def _state() -> dict[str, float]:
    memory = psutil.virtual_memory()
    frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None  # not on every system
    return {
        "memory_usage": 100 * (1 - memory.available / memory.total),
        "cpu_cores": psutil.cpu_count() or np.nan,
        "cpu_mhz": frequency.current if frequency and frequency.current else np.nan,
        "memory_mb": memory.total / 2**20,
    }


@register(
    "sar", title="archive of sar (sysstat)", default_target="cpu_usage", example="sar:/var/log/sysstat/sa01"
)
def read_archive(rest: str) -> pd.DataFrame:
    """The rows of an archive of sar, as sadf of the package sysstat prints them.

    A row's timestamp is the start of its interval, where sar gives the end. An archive tells no clock of the
    processor and only nearly the size of the memory, so cpu_mhz and memory_mb are absent.
    """
    path, origin = Path(rest), f"sar:{rest}"
    if not rest or not path.is_file():
        raise TelemetryError(
            f"{origin}: there is no such file. Give an archive, as in /var/log/sysstat/sa24."
        )
    program = shutil.which("sadf")
    if program is None:
        raise TelemetryError(f"{origin}: the program sadf is missing. Install the package sysstat.")
    # an absolute path is never taken for an option; times are asked for in UTC, numbers with a point
    command = [program, "-j", str(path.resolve()), "--", "-u", "-r", "-b", "-n", "DEV"]
    environment = os.environ | {"LC_ALL": "C", "TZ": "UTC"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SADF_SECONDS, env=environment, check=False
        )
        content = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise TelemetryError(f"{origin}: sadf took over {SADF_SECONDS} s. Check the file.") from None
    except ValueError:
        reason = " ".join(done.stderr.split()) or "it printed nothing"
        raise TelemetryError(
            f"{origin}: sadf cannot read it ({reason}). Check that it is an archive of sar; one of another "
            "version is converted by sadf -c."
        ) from None
    frame = complete(_from_sadf(content, origin), origin)
    if done.stderr.strip():  # the archive is cut off, or damaged from some place on
        words = " ".join(done.stderr.split())
        notice(f"{origin}: sadf ended with '{words}'; the {len(frame)} rows before that are used.")
    return frame


def _from_sadf(content: dict[str, Any], origin: str) -> pd.DataFrame:
    """The table in what ``sadf -j`` printed; NaN where an interval lacks a part."""
    host = content["sysstat"]["hosts"][0]
    intervals = [one for one in host["statistics"] if one and "timestamp" in one]
    if not intervals:
        raise TelemetryError(
            f"{origin}: the archive has no interval yet. Wait until sar has written two samples."
        )
    names = {card["iface"]: None for one in intervals for card in _cards(one)}
    counted, virtual = cards_to_count(names)
    frame = pd.DataFrame(
        [_sar_row(one, counted) | {"cpu_cores": host["number-of-cpus"]} for one in intervals]
    )
    frame.attrs["notes"] = left_out(virtual)
    if any("memused" in one.get("memory", {}) and "avail" not in one["memory"] for one in intervals):
        frame.attrs["notes"].append(
            "memory_usage counts free memory, buffers and cache as available, since this version of sar does not "
            "write what is; memory shared by programs is part of the cache, so that the usage may be too low"
        )
    return frame


def _cards(one: dict[str, Any]) -> list[dict[str, Any]]:
    return list(one.get("network", {}).get("net-dev", []))


def _sar_row(one: dict[str, Any], counted: list[str]) -> dict[str, Any]:
    when = one["timestamp"]
    end = pd.Timestamp(f"{when['date']}T{when['time']}", tz="UTC")
    row = {"timestamp": end - pd.Timedelta(seconds=when["interval"]), "node": NODE}
    for cpu in one.get("cpu-load", []):
        if cpu["cpu"] == "all":
            row["cpu_usage"] = min(max(100 - cpu["idle"] - cpu["iowait"] - cpu["steal"], 0), 100)
    if "memory" in one:
        row["memory_usage"] = _sar_memory(one["memory"])
    if "io" in one:  # in sectors of 512 bytes
        row["disc_usage"] = (one["io"]["io-reads"]["bread"] + one["io"]["io-writes"]["bwrtn"]) / 2
    cards = [card for card in _cards(one) if card["iface"] in counted]
    if cards:
        row["network_usage"] = sum(card["rxkB"] + card["txkB"] for card in cards)
    return row


def _sar_memory(memory: dict[str, float]) -> float:
    """Share of the memory that is not available, in percent; NaN where the archive does not tell."""
    if not memory.get("memused-percent"):
        return np.nan
    if "avail" in memory:
        # versions of sysstat differ in what they call used, so that the size follows from used and its share
        total = memory["memused"] / (memory["memused-percent"] / 100)
        return 100 * (1 - memory["avail"] / total)
    # versions without it call used all that is not free
    free, buffers, cached = (memory.get(name, np.nan) for name in ("memfree", "buffers", "cached"))
    return float(100 * (1 - (free + buffers + cached) / (free + memory["memused"])))
