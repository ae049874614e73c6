"""Telemetry made up for tests: the same columns as a recording, none of its numbers measured."""

import numpy as np
import pandas as pd


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
