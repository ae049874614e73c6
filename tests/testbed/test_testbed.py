"""The testbed: what it offers is what the seed says, what it records adds up, and nothing is left behind."""

import asyncio
import csv
import itertools
import os
import shutil
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from waiting import HANG, until, until_ended

from vdslib.errors import TestbedError
from vdslib.telemetry import COLUMNS
from vdslib.testbed import measure, node, recorder, workload
from vdslib.testbed.dispatcher import system
from vdslib.testbed.workload import Configuration, Jobs

SECONDS = 9


def nodes_running() -> set[int]:
    me = psutil.Process()
    return {p.pid for p in me.children(recursive=True) if "vdslib.testbed.node" in " ".join(p.cmdline())}


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Nine real seconds: four nodes, then one node with more work than it can do, at last no work at all."""
    out = tmp_path_factory.mktemp("recording") / "vds.csv"
    plan = [Configuration(0, 4, "shortest_queue", 2), Configuration(3, 1, "round_robin", 1)]
    load = workload.jobs(6, seed=3, scale=2.0)
    asyncio.run(recorder.record_async(out, SECONDS, 3, plan=plan, load=load, progress=False))
    with out.open() as file:
        return load, list(csv.DictReader(file))


def test_jobs_come_from_the_seed_alone():
    one, same, other = workload.jobs(300, 5), workload.jobs(300, 5), workload.jobs(300, 6)
    np.testing.assert_array_equal(one.cpu, same.cpu)
    np.testing.assert_array_equal(one.arrival, same.arrival)
    assert len(one.arrival) != len(other.arrival)
    assert np.all(np.diff(one.arrival) >= 0)


def test_job_sizes_have_the_documented_means():
    load = workload.jobs(int(workload.WEEK), 1)
    for kind, job_class in enumerate(workload.CLASSES):
        assert 1000 * load.cpu[load.kind == kind].mean() == pytest.approx(job_class.cpu_ms, rel=0.05)


def test_demand_has_a_daily_and_a_weekly_rhythm():
    rate, batch = workload.demand(int(4 * workload.WEEK), 1)
    week = int(workload.WEEK)
    days = rate[: 7 * int(workload.DAY)].reshape(7, -1).mean(axis=1)
    assert days[5:].max() < 0.75 * days[:5].min()
    lagged = np.corrcoef(rate[:-week], rate[week:])[0, 1]
    assert lagged > 0.6
    assert 0.05 < np.mean(batch > 0) < 0.11


def test_plan_visits_every_choice_and_ignores_the_load():
    plan = workload.exploration_plan(20_000, 2)
    assert {c.active_nodes for c in plan} == {1, 2, 3, 4}
    assert {c.strategy for c in plan} == set(workload.STRATEGIES)
    assert {c.slots for c in plan} == {1, 2, 4, 8}
    assert all(30 <= b.start - a.start <= 75 for a, b in itertools.pairwise(plan))


def test_one_row_per_second_and_node(recording):
    _, rows = recording
    assert tuple(rows[0]) == tuple(recorder.FIELDS)
    assert len(rows) == SECONDS * 4
    seconds = sorted({r["timestamp"] for r in rows})
    assert len(seconds) == SECONDS
    assert [r["node"] for r in rows[:4]] == ["node-1", "node-2", "node-3", "node-4"]


def test_offered_work_is_the_work_of_the_load(recording):
    load, rows = recording
    assert sum(int(r["jobs_offered"]) for r in rows) == len(load.arrival)
    assert sum(float(r["demand"]) for r in rows) == pytest.approx(load.cpu.sum(), rel=0.01)
    assert sum(float(r["work_due"]) for r in rows) == pytest.approx(load.cpu.sum(), rel=0.01)


def test_jobs_are_conserved(recording):
    _, rows = recording
    total = {k: sum(int(r[k]) for r in rows) for k in ("jobs_offered", "jobs_completed", "jobs_dropped")}
    # the deadlines of all jobs have passed when the recording ends, so each was either done or dropped
    assert total["jobs_offered"] == total["jobs_completed"] + total["jobs_dropped"]
    assert sum(int(r["queue_length"]) for r in rows[-4:]) == 0
    assert total["jobs_completed"] > 0
    assert total["jobs_dropped"] > 0, "one node under four nodes' work must drop jobs"


def test_configuration_decides_who_works(recording):
    _, rows = recording
    for r in rows:
        late = r["timestamp"] > rows[3 * 4 - 1]["timestamp"]
        assert r["active_nodes"] == ("1" if late else "4")
        assert r["active"] == str(int(r["node"] == "node-1" or not late))
    # in the last second with work, the second node and those after it have long finished what they held
    idle = [r for r in rows[5 * 4 : 6 * 4] if r["active"] == "0"]
    assert len(idle) == 3
    assert all(int(r["jobs_offered"]) == 0 and float(r["cpu_usage"]) < 20 for r in idle)


def test_productivity_is_a_share_and_empty_without_work(recording):
    _, rows = recording
    for r in rows:
        if float(r["work_due"]) == 0:
            assert r["system_productivity"] == ""
        else:
            assert 0 <= float(r["system_productivity"]) <= 100
    assert any(float(r["system_productivity"] or 100) < 80 for r in rows[3 * 4 :])


def test_usages_are_measured(recording):
    _, rows = recording
    assert sum(float(r["disc_usage"]) for r in rows) > 0
    assert all(float(r["memory_usage"]) > 1 for r in rows)
    busy = [r for r in rows if int(r["jobs_offered"]) > 2]
    assert busy and all(float(r["network_usage"]) > 0 for r in busy)
    assert sum(float(r["cpu_usage"]) for r in busy) > 0


def test_no_name_of_host_or_user_is_stored(recording):
    known = {
        "node": {f"node-{number}" for number in (1, 2, 3, 4)},
        "strategy": set(workload.STRATEGIES),
        "hypervisor": {recorder.detect_hypervisor()},
    }
    assert set(recording[1][0]) <= {*COLUMNS}
    for name, column in COLUMNS.items():
        values = {row[name] for row in recording[1]} - {""}
        assert values or column.may_be_empty, name
        if column.kind == "text":
            assert values <= known[name]
        elif column.kind == "time":
            assert all(time.strptime(value, "%Y-%m-%dT%H:%M:%SZ") for value in values)
        else:
            assert all(np.isfinite(float(value)) for value in values)


def test_recording_never_overwrites(tmp_path):
    (tmp_path / "a.csv").write_text("kept")
    with pytest.raises(FileExistsError, match="exists already"):
        recorder.record(tmp_path / "a.csv", 0.1)
    assert (tmp_path / "a.csv").read_text() == "kept"


def test_no_process_survives_a_recording(recording):
    async def during() -> int:
        async with system(2, 0.3, 0):
            return len(nodes_running())

    assert not nodes_running()
    assert asyncio.run(during()) == 2  # they would be seen
    assert not nodes_running()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_killed_recording_leaves_whole_rows_and_no_process(tmp_path):
    out = tmp_path / "killed.csv"
    code = f"from vdslib.testbed.recorder import record; record({str(out)!r}, 5, 1)"
    process = subprocess.Popen([sys.executable, "-c", code])
    until(lambda: process.poll() is not None or (out.exists() and out.read_text().count("\n") >= 9))
    children = psutil.Process(process.pid).children()
    assert len(children) == 4
    process.send_signal(signal.SIGKILL)
    process.wait()
    until_ended(children)
    text = out.read_text()
    assert text.endswith("\n")
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 8 and all(None not in row.values() for row in rows)


def test_a_dead_node_ends_the_recording_with_its_name():
    async def lose_one() -> None:
        async with system(2, 0.3, 0) as dispatcher:
            dispatcher.nodes[1].process.kill()
            dispatcher.nodes[1].process.wait()
            await dispatcher.read_counters()

    with pytest.raises(TestbedError, match="node-2 stopped answering"):
        asyncio.run(lose_one())
    assert not nodes_running()


def test_strategies_choose_as_they_are_named():
    async def choices(strategy: str) -> list[int]:
        async with system(3, 0.3, 0) as dispatcher:
            dispatcher.configure(Configuration(0, 3, strategy, 1))
            dispatcher.nodes[0].outstanding = {1: (0, 0, 0), 2: (0, 0, 0)}
            dispatcher.nodes[2].outstanding = {3: (0, 0, 0)}
            chosen = [dispatcher.nodes.index(dispatcher.choose()) for _ in range(60)]
            for node in dispatcher.nodes:
                node.outstanding.clear()
            return chosen

    turn = asyncio.run(choices("round_robin"))
    assert turn[:3] != turn[1:4] and turn == turn[:3] * 20
    assert set(asyncio.run(choices("shortest_queue"))) == {1}
    chance = asyncio.run(choices("random"))
    assert set(chance) == {0, 1, 2} and chance != turn


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_arrivals_never_wait_for_completions():
    """All jobs are sent to a node that is stopped and can finish none of them."""

    async def unfinished() -> int:
        async with system(1, 0.3, 0) as dispatcher:
            dispatcher.nodes[0].process.send_signal(signal.SIGSTOP)
            load = Jobs(np.linspace(0, 0.5, 50), np.full(50, 0.02), np.zeros(50, dtype=int))
            await asyncio.wait_for(dispatcher.offer(load), HANG)
            return len(dispatcher.nodes[0].outstanding)

    assert asyncio.run(unfinished()) == 50


def test_a_node_refuses_on_arrival_what_its_queue_makes_late():
    """Half a core and 600 CPU seconds queued: a job due in 1,000 seconds never gets memory."""
    kept, sent = [], []

    class Connection:
        def sendall(self, data: bytes) -> None:
            sent.append(struct.unpack_from("<BII", data))

    one = node.Node.__new__(node.Node)  # without its workers, so that nothing is taken from the queue
    one.connection, one.share, one.queue, one.queued_work = Connection(), node.Share(0.5), kept, 0.0
    one.changed, one.sending, one.network = node.threading.Condition(), node.threading.Lock(), 0
    deadline = time.monotonic() + 1000
    for number, cpu in enumerate((400.0, 200.0, 1.0)):
        one.accept((0, number, cpu, deadline, 64, 0, 1, 1))
    assert [job.number for job in kept] == [0, 1]
    assert sent == [(1, 2, 0)]


@pytest.mark.skipif(os.name != "posix", reason="a command of POSIX")
def test_a_node_that_cannot_start_is_told_in_words(monkeypatch):
    async def start() -> None:
        async with system(1, 0.3, 0):
            pytest.fail("the node started")

    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(TestbedError, match="could not start"):
        asyncio.run(start())
    assert not nodes_running()


def test_capacity_is_measured_under_overload():
    rows = measure.capacity(max_nodes=2, seconds=2)
    assert [row["nodes"] for row in rows] == [1, 2]
    assert rows[0]["relative_to_linear"] == 1
    for row in rows:
        # 0.3 of a core cannot do more jobs of 12 ms than that, but for what an idle node has saved up; how many it does
        # is for a quiet machine to say
        assert 0 < row["jobs_per_second"] < 1.2 * row["nodes"] * recorder.CORES / 0.012


def test_capacity_is_asked_of_every_number_of_nodes_with_more_than_they_can_do(monkeypatch):
    async def all_of_it(dispatcher, load, seconds):
        assert load.cpu.sum() / seconds > 1.2 * len(dispatcher.nodes) * recorder.CORES
        return np.array([]), float(len(dispatcher.nodes)) ** 0.5

    monkeypatch.setattr(measure, "_latencies", all_of_it)
    rows = measure.capacity(max_nodes=3, seconds=20)
    assert [(row["nodes"], row["jobs_per_second"], row["relative_to_linear"]) for row in rows] == [
        (1, 1.0, 1.0), (2, 1.41, 0.7071), (3, 1.73, 0.5774),
    ]  # fmt: skip


def test_tables_of_measurements_are_written_as_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "STRATEGIES", ("random",))
    rows = measure.latency(seeds=[0], slots=[2], seconds=2)
    assert [(row["strategy"], row["slots"], row["seed"]) for row in rows] == [("random", 2, 0)]
    assert rows[0]["latency_p95"] > 9
    monkeypatch.setattr(measure, "latency", lambda: rows)
    monkeypatch.setattr(measure, "capacity", lambda: [{"nodes": 1, "jobs_per_second": 25.0}])
    measure.main(tmp_path)
    assert (tmp_path / "capacity.csv").read_text() == "nodes,jobs_per_second\n1,25.0\n"
    with (tmp_path / "latency_by_configuration.csv").open() as file:
        assert next(csv.DictReader(file)) == {name: str(value) for name, value in rows[0].items()}
