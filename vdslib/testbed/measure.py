"""What the testbed can do: capacity over nodes, and latency over strategy and slots.

The tables committed beside the recording come from here: ``make tables ONLY=testbed``.
"""

import asyncio
import csv
import itertools
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vdslib.testbed.dispatcher import Dispatcher, system
from vdslib.testbed.recorder import CORES, NODES
from vdslib.testbed.workload import STRATEGIES, Configuration, Jobs


def _load(
    rng: np.random.Generator, seconds: float, work: float, cpu_ms: Sequence[float], shares: Sequence[float]
) -> Jobs:
    """Poisson arrivals of ``work`` CPU seconds per second, of the first classes with the given mean sizes and shares."""
    rate = work / (np.dot(cpu_ms, shares) / 1000)
    arrival = np.sort(rng.random(rng.poisson(rate * seconds)) * seconds)
    kind = rng.choice(len(shares), size=len(arrival), p=shares)
    return Jobs(arrival, rng.exponential(np.array(cpu_ms)[kind] / 1000), kind)


async def _latencies(dispatcher: Dispatcher, load: Jobs, seconds: float) -> tuple[np.ndarray, float]:
    """Offer the load for ``seconds``; latencies in ms and jobs completed per second, the first fifth left out."""
    await dispatcher.offer(load)
    await asyncio.sleep(max(0.0, dispatcher.start + seconds - time.monotonic()))
    warm = int(seconds / 5)
    done = [node.tally(s).latencies for node in dispatcher.nodes for s in range(warm, int(seconds))]
    latencies = np.concatenate([np.array(d) for d in done])
    return latencies, len(latencies) / (int(seconds) - warm)


def capacity(max_nodes: int = NODES, seconds: float = 12, seed: int = 0) -> list[dict[str, Any]]:
    """Jobs of 12 ms completed per second by 1 to ``max_nodes`` active nodes under 1.5 times the work they can do."""

    async def one(nodes: int) -> float:
        load = _load(np.random.default_rng([seed, 5, nodes]), seconds, 1.5 * nodes * CORES, [12.0], [1.0])
        load = Jobs(load.arrival, np.full(len(load.cpu), 0.012), load.kind)
        async with system(nodes, CORES, seed) as dispatcher:
            dispatcher.configure(Configuration(0, nodes, "shortest_queue", 2))
            return (await _latencies(dispatcher, load, seconds))[1]

    rates = [asyncio.run(one(nodes)) for nodes in tqdm(range(1, max_nodes + 1), desc="capacity", ascii=True)]
    return [
        {"nodes": n, "jobs_per_second": round(rate, 2), "relative_to_linear": round(rate / (n * rates[0]), 4)}
        for n, rate in enumerate(rates, start=1)
    ]


def latency(
    seeds: Iterable[int] = (0, 1, 2), slots: Iterable[int] = (1, 8), seconds: float = 60, load: float = 0.6
) -> list[dict[str, Any]]:
    """95th percentile of latency (ms) by strategy, slots and seed at ``load`` times the capacity of all nodes."""

    async def one(strategy: str, slots: int, seed: int) -> float:
        work = _load(
            np.random.default_rng([seed, 6]), seconds, load * NODES * CORES, [9.0, 42.0], [0.85, 0.15]
        )
        async with system(NODES, CORES, seed) as dispatcher:
            dispatcher.configure(Configuration(0, NODES, strategy, slots))
            return float(np.percentile((await _latencies(dispatcher, work, seconds))[0], 95))

    runs = list(itertools.product(STRATEGIES, slots, seeds))
    return [
        {
            "strategy": strategy,
            "slots": s,
            "seed": seed,
            "latency_p95": round(asyncio.run(one(strategy, s, seed)), 1),
        }
        for strategy, s, seed in tqdm(runs, desc="latency", ascii=True)
    ]


def main(folder: Path) -> None:
    """Measure both and write ``capacity.csv`` and ``latency_by_configuration.csv`` into ``folder``."""
    for name, rows in (("capacity", capacity()), ("latency_by_configuration", latency())):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
