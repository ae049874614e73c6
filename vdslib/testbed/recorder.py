"""Recording: run the testbed and write one row of telemetry per second and node while it runs.

Nothing in the file is simulated. The demand is synthetic (``workload``), and what it does to the nodes is measured: CPU
time, disc and network bytes by each node's own counters, memory and sensors by psutil, latencies by the dispatcher.
"""

from __future__ import annotations

import asyncio
import csv
import io
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from tqdm import tqdm

from vdslib.telemetry import COLUMNS
from vdslib.testbed.dispatcher import Counters, Dispatcher, Tally, system
from vdslib.testbed.workload import Configuration, Jobs, exploration_plan, jobs

NODES = 4
CORES = 0.3  # of one core, per node: four nodes and the dispatcher fit two cores with room to spare
MEMORY_MB = 256  # allowance per node, the scale of memory_usage

FIELDS = tuple(COLUMNS)


@dataclass(frozen=True)
class Hardware:
    """What the machine tells of itself: clock in MHz, temperature in degrees Celsius (None: no sensor), hypervisor."""

    cpu_mhz: float | None
    temperature_c: float | None
    hypervisor: str


def hardware(hypervisor: str | None = None) -> Hardware:
    """Read the sensors; ``hypervisor`` spares detecting it again."""
    frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    readings = [reading.current for chip in sensors.values() for reading in chip]
    temperature = max(readings) if readings else None
    return Hardware(frequency.current if frequency else None, temperature, hypervisor or detect_hypervisor())


def detect_hypervisor() -> str:
    """Name of the hypervisor below this machine, ``none``, or ``unknown`` where nothing tells."""
    if program := shutil.which("systemd-detect-virt"):
        answer = subprocess.run([program, "--vm"], capture_output=True, text=True, check=False).stdout.strip()
        if answer:
            return answer
    try:
        processor = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "unknown"
    # processors of the x86 family have the flag below a hypervisor; others list no flags of this kind
    return "none" if "\nflags" in processor and " hypervisor" not in processor else "unknown"


def _rounded(value: float | None, digits: int) -> float | int | str:
    if value is None or not np.isfinite(value):
        return ""
    return round(value, digits) if digits else round(value)


def _row(
    node: int, tally: Tally, before: Counters, after: Counters, rss: int, facts: dict[str, Any]
) -> dict[str, Any]:
    seconds = after.time - before.time
    latencies = np.array(tally.latencies)
    productivity = 100 * tally.work_in_time / tally.work_due if tally.work_due else None
    return facts | {
        "node": f"node-{node + 1}",
        "cpu_usage": _rounded(100 * (after.cpu - before.cpu) / seconds / CORES, 2),
        "memory_usage": _rounded(100 * rss / (MEMORY_MB * 2**20), 2),
        "disc_usage": _rounded((after.disc - before.disc) / 1024 / seconds, 1),
        "network_usage": _rounded((after.network - before.network) / 1024 / seconds, 1),
        "demand": _rounded(tally.work_offered, 4),
        "jobs_offered": tally.offered,
        "jobs_completed": len(latencies),
        "jobs_dropped": tally.dropped,
        "latency_mean": _rounded(latencies.mean(), 1) if len(latencies) else "",
        "latency_p95": _rounded(np.percentile(latencies, 95), 1) if len(latencies) else "",
        "queue_length": after.waiting,
        "work_due": _rounded(tally.work_due, 4),
        "system_productivity": _rounded(productivity, 2),
        "active": int(node < facts["active_nodes"]),
    }


def _lines(rows: list[dict[str, Any]], header: bool = False) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class Recording:
    """The rows of one run, written to ``out`` as they come."""

    def __init__(self, dispatcher: Dispatcher, out: Path) -> None:
        self.dispatcher = dispatcher
        self.out = out
        self.processes = [psutil.Process(node.process.pid) for node in dispatcher.nodes]
        self.hypervisor = detect_hypervisor()

    def rows(
        self, second: int, began: datetime, before: list[Counters], after: list[Counters]
    ) -> list[dict[str, Any]]:
        """One row for each node: what the dispatcher tallied in a second, and what the counters moved by."""
        sensed = hardware(self.hypervisor)
        used = self.dispatcher.configuration
        facts = {
            "timestamp": datetime.fromtimestamp(began.timestamp() + second, UTC).strftime(
                "%Y-%m-%dT%H:%M:%SZ"
            ),
            "active_nodes": used.active_nodes,
            "strategy": used.strategy,
            "slots": used.slots,
            "cpu_cores": CORES,
            "cpu_mhz": _rounded(sensed.cpu_mhz, 0),
            "memory_mb": MEMORY_MB,
            "temperature_c": _rounded(sensed.temperature_c, 1),
            "hypervisor": sensed.hypervisor,
        }
        resident = [process.memory_info().rss for process in self.processes]
        return [
            _row(i, node.tallies.pop(second, Tally()), before[i], after[i], resident[i], facts)
            for i, node in enumerate(self.dispatcher.nodes)
        ]

    async def run(self, load: Jobs, plan: list[Configuration], seconds: int, bar: tqdm[Any]) -> None:
        """Offer the load, follow the plan, and append the rows of every second; a change takes effect between rows."""
        offering = asyncio.create_task(self.dispatcher.offer(load))
        await asyncio.sleep(0)
        began = datetime.now(UTC).replace(microsecond=0)
        before = await self.dispatcher.read_counters()
        pending = list(plan)
        try:
            with self.out.open("a", encoding="utf-8", newline="") as file:
                for second in range(seconds):
                    while pending and pending[0].start <= second:
                        self.dispatcher.configure(pending.pop(0))
                    await asyncio.sleep(max(0.0, self.dispatcher.start + second + 1 - time.monotonic()))
                    after = await self.dispatcher.read_counters()
                    if offering.done():
                        offering.result()  # raises what ended the load early, if anything did
                    # one write per second, of whole lines: what a killed recording leaves is a valid file
                    file.write(_lines(self.rows(second, began, before, after)))
                    file.flush()
                    before = after
                    bar.update()
        finally:
            offering.cancel()


async def record_async(
    out: Path | str,
    seconds: int,
    seed: int = 0,
    *,
    plan: list[Configuration] | None = None,
    load: Jobs | None = None,
    progress: bool = True,
) -> Path:
    """As ``record``, for callers that already run an event loop (a notebook); ``plan`` and ``load`` in place of drawn ones."""
    out = Path(out)
    if seconds < 1:
        raise ValueError(f"a recording lasts at least one second, not {seconds}")
    if out.exists():
        raise FileExistsError(f"{out} exists already; name another file or remove it first")
    plan = exploration_plan(seconds, seed, NODES) if plan is None else plan
    load = jobs(seconds, seed) if load is None else load
    async with system(NODES, CORES, seed) as dispatcher:
        recording = Recording(dispatcher, out)
        out.write_text(_lines([], header=True), encoding="utf-8")
        shown = progress and sys.stderr.isatty()
        with tqdm(total=seconds, unit="s", desc="recording", disable=not shown, ascii=True) as bar:
            await recording.run(load, plan, seconds, bar)
    return out


def record(out: Path | str, minutes: float, seed: int = 0, *, progress: bool = True) -> Path:
    """Run the testbed for ``minutes`` and write its telemetry to ``out`` (section 2 of the paper, data collection).

    One row per second and node in the columns of ``vdslib.telemetry``. The file grows while the testbed runs, and every
    process started ends with it. Raises FileExistsError rather than overwrite a recording, ValueError for less than a
    second, TestbedError where a node does not start or stops answering.
    """
    return asyncio.run(record_async(out, round(minutes * 60), seed, progress=progress))
