"""The dispatcher of the testbed: starts the nodes, hands jobs to them, and accounts for every job.

The load is open-loop: a job is sent when its time has come, whether earlier ones are done or not.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from subprocess import PIPE

import numpy as np

from vdslib.errors import TestbedError
from vdslib.testbed.node import COUNTERS, JOB, REPLY
from vdslib.testbed.workload import CLASSES, STRATEGIES, Configuration, Jobs

PATIENCE = 30.0  # seconds; a node that answers later than that is taken for dead


@dataclass(frozen=True)
class Counters:
    """What a node has used since it started: seconds (monotonic, CPU), bytes, and jobs it holds now."""

    time: float
    cpu: float
    disc: int
    network: int
    waiting: int


@dataclass
class Tally:
    """What happened at one node in one second; work in CPU seconds, latencies in milliseconds."""

    offered: int = 0
    work_offered: float = 0.0
    dropped: int = 0
    work_due: float = 0.0
    work_in_time: float = 0.0
    latencies: list[float] = field(default_factory=list)


class NodeHandle:
    """The dispatcher's side of one node: its process, its connection, the jobs it still holds."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        # number: (arrival, deadline, cpu), all in seconds
        self.outstanding: dict[int, tuple[float, float, float]] = {}
        self.tallies: dict[int, Tally] = {}
        self.counters: asyncio.Queue[Counters] = asyncio.Queue()

    async def connect(self) -> None:
        """Wait for the node's port and connect to it; raises TestbedError where the node ended before."""
        assert self.process.stdout is not None
        port = await asyncio.to_thread(self.process.stdout.readline)
        if not port:
            raise TestbedError("a node could not start (its own message stands above); record again")
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", int(port))

    def tally(self, second: int) -> Tally:
        """What happened in a second after the start, to be added to."""
        return self.tallies.setdefault(second, Tally())


class Dispatcher:
    """Nodes, the configuration in force, and the tallies of every second; use it through ``system``."""

    def __init__(self, nodes: list[NodeHandle], seed: int) -> None:
        self.nodes = nodes
        self.rng = np.random.default_rng([seed, 4])
        self.turn = 0
        self.start = time.monotonic()
        self.payload = os.urandom(max(c.request_kb for c in CLASSES) * 1024)
        self.configuration = Configuration(0.0, len(nodes), STRATEGIES[0], 1)
        self.configure(self.configuration)

    def configure(self, configuration: Configuration) -> None:
        """Put a configuration in force; nodes taken out of use still finish what they hold."""
        self.configuration = configuration
        for node in self.nodes:
            node.writer.write(JOB.pack(2, configuration.slots, 0, 0, 0, 0, 0, 0))

    def choose(self) -> NodeHandle:
        """The node for the next job, by the strategy in force."""
        active = self.nodes[: self.configuration.active_nodes]
        if self.configuration.strategy == "shortest_queue":
            return min(active, key=lambda node: len(node.outstanding))
        if self.configuration.strategy == "random":
            return active[int(self.rng.integers(len(active)))]
        self.turn += 1
        return active[self.turn % len(active)]

    def send(self, number: int, arrival: float, cpu: float, kind: int) -> None:
        """Choose a node for a job, account for it and send it; times in seconds after the start."""
        job_class = CLASSES[kind]
        deadline = arrival + job_class.deadline_s
        node = self.choose()
        node.outstanding[number] = (arrival, deadline, cpu)
        tally = node.tally(int(arrival))
        tally.offered += 1
        tally.work_offered += cpu
        node.tally(int(deadline)).work_due += cpu
        sizes = (job_class.memory_kb, job_class.disc_kb, job_class.reply_kb, job_class.request_kb)
        node.writer.write(JOB.pack(0, number, cpu, self.start + deadline, *sizes))
        node.writer.write(self.payload[: job_class.request_kb * 1024])

    async def offer(self, jobs: Jobs) -> None:
        """Send every job at its time after the start, in seconds; late only where this process got no CPU."""
        self.start = time.monotonic()
        for number, (arrival, cpu, kind) in enumerate(zip(jobs.arrival, jobs.cpu, jobs.kind, strict=True)):
            delay = self.start + arrival - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)
            self.send(number, float(arrival), float(cpu), int(kind))

    async def collect(self, node: NodeHandle) -> None:
        """Account for the replies of one node until its connection closes."""
        while True:
            try:
                kind, number, size = REPLY.unpack(await node.reader.readexactly(REPLY.size))
                body = await node.reader.readexactly(size)
            except (asyncio.IncompleteReadError, ConnectionError):
                return  # `read_counters` finds out and says which node it was
            if kind == 2:
                node.counters.put_nowait(Counters(*COUNTERS.unpack(body)))
                continue
            now = time.monotonic() - self.start
            arrival, deadline, cpu = node.outstanding.pop(number)
            if kind == 1:
                node.tally(int(now)).dropped += 1
                continue
            node.tally(int(now)).latencies.append(1000 * (now - arrival))
            if now <= deadline:
                node.tally(int(deadline)).work_in_time += cpu

    async def read_counters(self) -> list[Counters]:
        """Counters of all nodes, asked for together; raises TestbedError where one does not answer."""
        for node in self.nodes:
            node.writer.write(JOB.pack(1, 0, 0, 0, 0, 0, 0, 0))
        answers = []
        for name, node in enumerate(self.nodes, start=1):
            ended = node.process.poll()
            patience = PATIENCE if ended is None else 0.1
            try:
                answers.append(await asyncio.wait_for(node.counters.get(), patience))
            except TimeoutError:
                raise TestbedError(
                    f"node-{name} stopped answering (exit code {ended}); record again"
                ) from None
        return answers


@contextlib.asynccontextmanager
async def system(nodes: int, cores: float, seed: int) -> AsyncIterator[Dispatcher]:
    """Start ``nodes`` processes of ``cores`` each, yield their dispatcher, and end all of them however it goes."""
    command = [sys.executable, "-m", "vdslib.testbed.node", str(cores)]
    # a session of their own: an interrupt at the keyboard reaches the dispatcher alone, which then ends them
    handles = [
        NodeHandle(subprocess.Popen(command, stdin=PIPE, stdout=PIPE, start_new_session=True))  # noqa: ASYNC220
        for _ in range(nodes)
    ]
    collectors: Iterable[asyncio.Task[None]] = ()
    try:
        await asyncio.gather(*(handle.connect() for handle in handles))
        dispatcher = Dispatcher(handles, seed)
        collectors = [asyncio.create_task(dispatcher.collect(handle)) for handle in handles]
        yield dispatcher
    finally:
        for collector in collectors:
            collector.cancel()
        for handle in handles:
            handle.process.kill()
        for handle in handles:
            if hasattr(handle, "writer"):
                handle.writer.close()
            handle.process.wait()
            for pipe in (handle.process.stdin, handle.process.stdout):
                if pipe is not None:
                    pipe.close()
