"""One node of the testbed: a process that runs jobs within a capped share of a core.

Started as ``python -m vdslib.testbed.node CORES``; prints its port, takes jobs over one TCP connection on loopback, and
ends when its standard input closes, so that no node outlives the process that started it.

The cap works as the bandwidth control of container hosts does: an allowance of CPU time grows at the node's share and
is spent by whatever the process does, so capacity adds up over nodes although all of them share the machine's cores.
"""

import contextlib
import hashlib
import mmap
import os
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import deque

# job: kind of message (0 job, 1 counters wanted, 2 set slots), number, cpu seconds, deadline (monotonic seconds),
# memory, disc, reply and payload in KB; for kind 2 the number is the new count of slots
JOB = struct.Struct("<BIddIIII")
# reply: kind (0 done, 1 dropped, 2 counters), number, bytes of body
REPLY = struct.Struct("<BII")
# counters: monotonic time, cpu seconds, disc bytes, network bytes, jobs waiting or running
COUNTERS = struct.Struct("<ddQQI")

SLICE = 0.002  # seconds of CPU between two looks at the allowance
BURST = 0.020  # seconds of CPU that an idle node may save up
MAX_SLOTS = 8
MARGIN = 1.6  # time that work takes against its bare CPU time: handling of messages and memory comes on top
SYNC = 0.02  # seconds that disc and network may take
PAGE = 4096
BLOCK = 64 * 1024


def receive_exactly(connection: socket.socket, size: int) -> bytes:
    """Read ``size`` bytes; raises ConnectionError where the other side closed before."""
    data = bytearray()
    while len(data) < size:
        part = connection.recv(min(size - len(data), 1 << 20))
        if not part:
            raise ConnectionError("the dispatcher closed the connection")
        data += part
    return bytes(data)


class Share:
    """An allowance of CPU time that grows at ``cores`` seconds per second; ``wait`` sleeps while it is overdrawn."""

    def __init__(self, cores: float) -> None:
        self.cores = cores
        self.lock = threading.Lock()
        self.allowance = BURST
        self.time, self.cpu = time.monotonic(), time.process_time()

    def wait(self) -> None:
        """Take what was spent since the last call off the allowance, and sleep until it is positive again."""
        with self.lock:
            now, cpu = time.monotonic(), time.process_time()
            self.allowance = min(BURST, self.allowance + self.cores * (now - self.time)) - (cpu - self.cpu)
            self.time, self.cpu = now, cpu
            delay = -self.allowance / self.cores
        if delay > 0:
            time.sleep(delay)


def working_set(size: int) -> mmap.mmap:
    """``size`` bytes of memory that are really there: every page is written once.

    An anonymous mapping goes back to the system when closed, where the heap would keep it. Large pages, where the
    system has them, make the first touch ten times cheaper, so that a job's CPU time is spent on the job.
    """
    if hasattr(mmap, "MAP_PRIVATE"):
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    else:
        memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # the kernel may have been built without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    memory[::PAGE] = b"\1" * len(range(0, size, PAGE))
    return memory


class Work:
    """A job as received; its working set is touched at once and held until the job is done or dropped."""

    def __init__(self, fields: tuple[int, int, float, float, int, int, int, int]) -> None:
        _, self.number, self.cpu, self.deadline, memory_kb, self.disc_kb, self.reply_kb, _ = fields
        self.memory = working_set(max(memory_kb * 1024, BLOCK))

    def burn(self, share: Share) -> bool:
        """Spend the job's CPU time on hashing its working set; False where the deadline passes meanwhile."""
        view = memoryview(self.memory)
        start, position = time.thread_time(), 0
        try:
            while (spent := time.thread_time() - start) < self.cpu:
                share.wait()
                if time.monotonic() > self.deadline:
                    return False
                end = min(spent + SLICE, self.cpu)
                while time.thread_time() - start < end:
                    hashlib.blake2b(view[position : position + BLOCK]).digest()
                    position = (position + BLOCK) % (len(view) - BLOCK + 1)
        finally:
            view.release()
        return True

    def use_disc(self) -> int:
        """Write, sync and read back a file; returns the bytes moved."""
        if not self.disc_kb:
            return 0
        size = self.disc_kb * 1024
        with tempfile.TemporaryFile(buffering=0) as file:
            file.write(memoryview(self.memory)[:size])
            os.fsync(file.fileno())
            file.seek(0)
            return size + len(file.read(size))


class Node:
    """Workers, a queue in order of arrival, and counters of what they used."""

    def __init__(self, connection: socket.socket, cores: float) -> None:
        self.connection = connection
        self.share = Share(cores)
        self.slots = 1
        self.running = 0
        self.queue: deque[Work] = deque()
        self.queued_work = 0.0  # CPU seconds
        self.changed = threading.Condition()
        self.sending = threading.Lock()
        self.disc = self.network = 0
        self.body = os.urandom(256 * 1024)
        for _ in range(MAX_SLOTS):
            threading.Thread(target=self.work, daemon=True).start()

    def serve(self) -> None:
        """Take messages until the connection closes."""
        while True:
            fields = JOB.unpack(receive_exactly(self.connection, JOB.size))
            kind, number, *_, payload_kb = fields
            receive_exactly(self.connection, payload_kb * 1024)
            with self.sending:
                self.network += JOB.size + payload_kb * 1024
            if kind == 0:
                self.accept(fields)
            elif kind == 1:
                waiting = len(self.queue) + self.running
                counters = (time.monotonic(), time.process_time(), self.disc, self.network, waiting)
                self.send(2, number, COUNTERS.pack(*counters))
            else:
                with self.changed:
                    self.slots = number
                    self.changed.notify_all()

    def accept(self, fields: tuple[int, int, float, float, int, int, int, int]) -> None:
        """Queue a job, or drop it at once where the work before it alone takes longer than its deadline allows.

        Without this, an overload would spend a node's share, and memory, on jobs that never run.
        """
        _, number, cpu, deadline, *_ = fields
        if time.monotonic() + self.queued_work / self.share.cores > deadline:
            self.send(1, number, b"")
            return
        job = Work(fields)
        with self.changed:
            self.queue.append(job)
            self.queued_work += cpu
            self.changed.notify()

    def send(self, kind: int, number: int, body: bytes) -> None:
        """Send one reply, whole, and count its bytes."""
        with self.sending:
            self.connection.sendall(REPLY.pack(kind, number, len(body)) + body)
            self.network += REPLY.size + len(body)

    def work(self) -> None:
        """One worker: the oldest job whose slot is free, again and again."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.queue and self.running < self.slots)
                job = self.queue.popleft()
                self.queued_work -= job.cpu
                self.running += 1
                running = self.running
            # Work that can no longer be done in time is dropped before it takes the share of work that can: without
            # this, one overload keeps every later job late as well. The estimate is generous, since a job that is
            # started and then missed costs more than one that is dropped.
            needed = MARGIN * job.cpu * running / self.share.cores + SYNC
            done = time.monotonic() + needed <= job.deadline and job.burn(self.share)
            moved = job.use_disc() if done else 0
            job.memory.close()
            with self.changed:
                self.disc += moved
                self.running -= 1
                self.changed.notify()
            self.send(0 if done else 1, job.number, self.body[: job.reply_kb * 1024] if done else b"")


def main() -> None:
    """Listen on a free port of loopback, print it, and serve the one dispatcher that connects."""

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        connection, _ = server.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        Node(connection, float(sys.argv[1])).serve()
    except OSError:  # the dispatcher closed the connection
        os._exit(0)


if __name__ == "__main__":
    main()
