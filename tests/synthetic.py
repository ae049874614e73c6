"""Telemetry made up for tests: the same columns as a recording, none of its numbers measured."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv


def recording(seconds: int = 600, nodes: int = 4, seed: int = 0) -> pd.DataFrame:
    """Telemetry of ``nodes`` nodes, one row per second and node, sorted by node and time.

    Demand is a sine with noise; every 45 s the number of active nodes changes; work beyond the capacity of
    the active nodes is late, so that productivity falls below 100.
    """
    random = np.random.default_rng(seed)
    second = np.arange(seconds)
    demand = 0.5 + 0.4 * np.sin(2 * np.pi * second / 154) + 0.05 * random.standard_normal(seconds)
    demand = np.clip(demand, 0.05, None)
    active_nodes = random.integers(1, nodes + 1, seconds // 45 + 1)[second // 45]
    frames = [_node(n + 1, second, demand, active_nodes, random) for n in range(nodes)]
    return pd.concat(frames, ignore_index=True)


def _node(number, second, demand, active_nodes, random):
    count = len(second)
    active = (active_nodes >= number).astype(int)
    share = np.where(active == 1, demand / active_nodes, 0.0)
    load = np.clip(share / 0.3 + 0.03 * random.standard_normal(count), 0, None)
    completed = np.round(25 * np.minimum(load, 1)).astype(int)
    latency = np.where(completed > 0, 40 + 300 * np.clip(load - 0.7, 0, 1), np.nan)
    return pd.DataFrame(
        {
            "timestamp": pd.Timestamp("2026-01-05T08:00:00Z") + pd.to_timedelta(second, unit="s"),
            "node": f"node-{number}",
            "cpu_usage": np.round(100 * np.minimum(load, 1), 2),
            "memory_usage": np.round(20 + 40 * np.minimum(load, 1.5) + random.random(count), 2),
            "disc_usage": np.round(400 * np.minimum(load, 1) * random.uniform(0.8, 1.2, count), 1),
            "network_usage": np.round(900 * np.minimum(load, 1) * random.uniform(0.9, 1.1, count), 1),
            "demand": np.round(share, 4),
            "jobs_offered": np.round(25 * load).astype(int),
            "jobs_completed": completed,
            "jobs_dropped": np.round(25 * np.clip(load - 1, 0, None)).astype(int),
            "latency_mean": np.round(latency, 2),
            "latency_p95": np.round(2 * latency, 2),
            "queue_length": np.round(10 * np.clip(load - 0.8, 0, None)).astype(int),
            "work_due": np.round(share, 4),
            "system_productivity": np.where(share > 0, np.round(100 / np.clip(load, 1, None), 2), np.nan),
            "active": active,
            "active_nodes": active_nodes,
            "strategy": np.where(second // 90 % 2, "shortest_queue", "round_robin"),
            "slots": 2 + second // 120 % 2,
            "cpu_cores": 0.3,
            "cpu_mhz": 2500.0,
            "memory_mb": 256.0,
            "temperature_c": np.nan,
            "hypervisor": "kvm",
        }
    )


def planted(values: np.ndarray, node: str = "system") -> pd.DataFrame:
    """Telemetry of one node whose CPU usage is ``values``, one a second."""
    start = pd.Timestamp("2026-01-05T08:00:00Z")
    return pd.DataFrame(
        {
            "timestamp": start + pd.to_timedelta(np.arange(len(values)), unit="s"),
            "node": node,
            "cpu_usage": values,
        }
    )


def autoregression(n: int, weight: float = 0.9, seed: int = 0) -> np.ndarray:
    """A series whose next value is ``weight`` times the last plus a standard normal shock."""
    shocks = np.random.default_rng(seed).standard_normal(n)
    values = np.zeros(n)
    for t in range(1, n):
        values[t] = weight * values[t - 1] + shocks[t]
    return values


TRACE_HEADER = (
    "Timestamp [ms];\tCPU cores;\tCPU capacity provisioned [MHZ];\tCPU usage [MHZ];\tCPU usage [%];\t"
    "Memory capacity provisioned [KB];\tMemory usage [KB];\tDisk read throughput [KB/s];\t"
    "Disk write throughput [KB/s];\tNetwork received throughput [KB/s];\tNetwork transmitted throughput [KB/s]\n"
)


def trace_file(path: Path, rows: int, seed: int = 0, start: int = 1_375_308_176) -> None:
    """A file in the format of the Bitbrains trace: made up, with as many digits as there, a row every 300 s."""
    random = np.random.default_rng(seed)
    cores = int(random.choice([1, 2, 4, 8]))
    mhz, memory = cores * 2925.999428, float(random.integers(1, 32)) * 1_048_576

    def mean_of_15(scale: float) -> np.ndarray:  # the trace has means of 15 samples
        return np.round(random.gamma(0.5, scale, rows) * 15) / 15

    percent = np.clip(20 + 15 * np.sin(2 * np.pi * np.arange(rows) / 288) + mean_of_15(8), 0, 104)
    table = pa.table(
        [
            pa.array(start + 300 * np.arange(rows)),
            pa.array(np.full(rows, cores)),
            np.full(rows, mhz),
            percent / 100 * mhz,
            percent,
            np.full(rows, memory),
            np.round(random.uniform(0, memory, rows) * 15) / 15,
            *(mean_of_15(scale) for scale in (50, 400, 100, 80)),
        ],
        names=list("abcdefghijk"),
    )
    buffer = pa.BufferOutputStream()
    pa.csv.write_csv(table, buffer, pa.csv.WriteOptions(include_header=False, delimiter=";"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(TRACE_HEADER.encode() + buffer.getvalue().to_pybytes().replace(b";", b";\t"))


def trace_folder(folder: Path, nodes: int, rows: int, months: int = 1) -> None:
    """Files of ``nodes`` machines, ``rows`` in each, in a folder for each month."""
    for month in range(months):
        for node in range(nodes):
            start = 1_375_308_176 + month * 300 * rows
            trace_file(folder / f"2013-{month + 8}" / f"{node + 1}.csv", rows, node * 12 + month, start)


START = pd.Timestamp("2026-03-02T08:00:00Z")


def machine(rows=40, node="a", step=60, seed=0):
    """Telemetry of one machine as a source gives it, every row another."""
    rng = np.random.default_rng([seed, len(node), ord(node[-1])])
    frame = pd.DataFrame(
        {
            "timestamp": START + pd.to_timedelta(np.arange(rows) * step, unit="s"),
            "node": node,
            "cpu_usage": rng.uniform(5, 95, rows),
            "memory_usage": rng.uniform(20, 90, rows),
            "disc_usage": rng.uniform(1, 900, rows),
            "jobs_completed": rng.integers(0, 9, rows),
            "latency_mean": rng.uniform(1, 50, rows),
            "strategy": "random",
            "cpu_cores": 2.0,
            "memory_mb": 4096.0,
            "number": np.arange(rows, dtype=float),  # of the row, to find it again
        }
    )
    frame.attrs["origin"] = "a.csv"
    return frame


def what_was_found(report):
    """What a report says: fault -> (rows, rows lost)."""
    by_fault = report.table.groupby("fault", sort=False)[["rows", "lost"]].sum()
    return {fault: (int(row["rows"]), int(row["lost"])) for fault, row in by_fault.iterrows()}
