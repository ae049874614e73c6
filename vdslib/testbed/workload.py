"""The demand that the testbed replays and the plan by which its configuration changes.

Both are synthetic and drawn from a seed; everything that happens afterwards is measured. A "week" is compressed to
18 minutes, so that five of them fit a recording of 90 minutes; a "day" is a seventh of it, about 154 seconds.
"""

from dataclasses import dataclass

import numpy as np

WEEK = 1080.0  # seconds
DAY = WEEK / 7

STRATEGIES = ("round_robin", "shortest_queue", "random")


@dataclass(frozen=True)
class JobClass:
    """One kind of job: mean work, its spread, resources, and the time within which it must be done."""

    name: str
    cpu_ms: float  # mean CPU time
    sigma: float  # of the logarithm of the CPU time
    memory_kb: int  # working set, held while the job waits and runs
    disc_kb: int  # written, synced and read back
    request_kb: int  # received with the job
    reply_kb: int  # sent with the result
    deadline_s: float  # after arrival


CLASSES = (
    JobClass("request", 9.0, 0.5, 4_096, 0, 12, 24, 0.4),
    JobClass("report", 42.0, 0.6, 8_192, 96, 24, 96, 0.8),
    JobClass("batch", 60.0, 0.3, 12_288, 256, 128, 16, 2.0),
)


@dataclass(frozen=True)
class Jobs:
    """Arrivals in order of time; arrays of equal length: arrival and CPU time in seconds, index into ``CLASSES``."""

    arrival: np.ndarray
    cpu: np.ndarray
    kind: np.ndarray


@dataclass(frozen=True)
class Configuration:
    """The management strategy of the system from ``start`` (seconds) on."""

    start: float
    active_nodes: int
    strategy: str
    slots: int


def demand(seconds: int, seed: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Mean arrivals per second of interactive jobs and of batch jobs, ``[seconds]`` each.

    A day has a low night and two peaks, the last two days of a week are quiet, bursts come at random, and a slow
    multiplicative noise (autoregressive, about 8 seconds of memory) lies on top. Batch jobs arrive for 12 seconds at
    a tenth of every day.
    """
    rng = np.random.default_rng([seed, 1])
    t = np.arange(seconds, dtype=float)
    day = (t % DAY) / DAY
    bump = np.exp(-(((day - 0.42) / 0.11) ** 2)) + 0.8 * np.exp(-(((day - 0.76) / 0.09) ** 2))
    weekday = np.where((t % WEEK) < 5 * DAY, 1.0, 0.5)
    rate = (20.0 + 70.0 * bump) * weekday
    for start in np.flatnonzero(rng.random(seconds) < 1 / 110):
        rate[start : start + rng.integers(5, 16)] *= 1.6
    noise = np.zeros(seconds)
    shocks = rng.normal(0, 0.09, seconds)
    for i in range(1, seconds):
        noise[i] = 0.88 * noise[i - 1] + shocks[i]
    batch = np.where((day >= 0.10) & (day < 0.10 + 12 / DAY), 9.0, 0.0)
    return scale * rate * np.exp(noise), scale * batch


def jobs(seconds: int, seed: int, scale: float = 1.0) -> Jobs:
    """Every job of ``seconds`` seconds: Poisson arrivals with the rates of ``demand``, sizes lognormal by class."""
    rng = np.random.default_rng([seed, 2])
    interactive, batch = demand(seconds, seed, scale)
    arrival, kind = [], []
    for rate, share in ((interactive, 0.15), (batch, None)):
        second = np.repeat(np.arange(seconds), rng.poisson(rate))
        arrival.append(second + rng.random(len(second)))
        kind.append(
            (rng.random(len(second)) < share).astype(int) if share is not None else np.full(len(second), 2)
        )
    order = np.argsort(np.concatenate(arrival), kind="stable")
    kinds = np.concatenate(kind)[order]
    sigma = np.array([c.sigma for c in CLASSES])[kinds]
    mean = np.array([c.cpu_ms for c in CLASSES])[kinds] / 1000
    cpu = mean * np.exp(rng.normal(0, 1, len(kinds)) * sigma - sigma**2 / 2)
    return Jobs(np.concatenate(arrival)[order], cpu, kinds)


def exploration_plan(seconds: int, seed: int, nodes: int = 4) -> list[Configuration]:
    """Configurations drawn at random and independently of the demand, each kept for 30 to 75 seconds.

    The whole system is used 40% of the time, one node less 30%, two less 20%, a single node 10% (with fewer than
    four nodes the shares of the missing choices fall to the rest). Strategy and slots are drawn uniformly. Since the
    choice never looks at the load, the effect of a configuration can be read from the recording without confounding.
    """
    rng = np.random.default_rng([seed, 3])
    choices = np.arange(nodes, max(nodes - 4, 0), -1)
    weights = np.array([0.4, 0.3, 0.2, 0.1])[: len(choices)]
    plan, start = [], 0.0
    while start < seconds:
        active = int(rng.choice(choices, p=weights / weights.sum()))
        plan.append(Configuration(start, active, str(rng.choice(STRATEGIES)), int(rng.choice([1, 2, 4, 8]))))
        start += float(rng.integers(30, 76))
    return plan
