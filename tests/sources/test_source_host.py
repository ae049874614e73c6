"""Telemetry of this host: rates by hand, a real measurement, and real archives of sar."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pytest
from waiting import HANG

from vdslib import sources, telemetry
from vdslib.errors import TelemetryError
from vdslib.sources import host, prometheus
from vdslib.sources._shared import cards_to_count

USAGES = ["cpu_usage", "memory_usage", "disc_usage", "network_usage"]
SADC = next(
    (path for path in map(Path, ("/usr/lib/sysstat/sadc", "/usr/lib64/sa/sadc")) if path.exists()), None
)
with_sysstat = pytest.mark.skipif(
    SADC is None or shutil.which("sadf") is None, reason="not installed: sysstat (apt-get install sysstat)"
)


def failure(read, rest):
    with pytest.raises(TelemetryError) as caught:
        read(str(rest))
    assert str(rest) in str(caught.value) and caught.value.__cause__ is None
    return str(caught.value)


# ------------------------------------------------------------------------------------------------- psutil


def test_rates_by_hand():
    before = host.Counters(time=100.0, cpu_total=1000.0, cpu_used=400.0, disc=10_240.0, network=0.0)
    after = host.Counters(time=102.0, cpu_total=1008.0, cpu_used=402.0, disc=20_480.0, network=4_096.0)
    # 2 of 8 CPU seconds; 10 KB and 4 KB in 2 s
    assert host._rates(before, after) == {"cpu_usage": 25, "disc_usage": 5, "network_usage": 2}


def test_a_counter_that_falls_tells_nothing():
    before = host.Counters(0.0, 10.0, 5.0, 2_048.0, 4_096.0)
    rates = host._rates(before, host.Counters(1.0, 12.0, 4.5, 1_024.0, 8_192.0))
    assert rates["cpu_usage"] == 0 and np.isnan(rates["disc_usage"]) and rates["network_usage"] == 4


def sent(n):
    """What a card has counted: n bytes received and 2 n sent."""
    return SimpleNamespace(bytes_recv=n, bytes_sent=2 * n)


@pytest.fixture
def cards(monkeypatch, tmp_path):
    """Lets psutil tell of these cards and bytes; a folder of sysfs that names those with a device."""

    def these(devices=(), **counted):
        flags = {name: SimpleNamespace(flags="up,loopback" if name == "lo" else "up") for name in counted}
        monkeypatch.setattr(
            psutil, "net_io_counters", lambda pernic: {n: sent(b) for n, b in counted.items()}
        )
        monkeypatch.setattr(psutil, "net_if_stats", lambda: flags)
        monkeypatch.setattr(host, "SYSFS", tmp_path)
        for name in devices:
            (tmp_path / name / "device").mkdir(parents=True)
        return tmp_path

    return these


def test_counters_leave_out_what_would_count_twice(monkeypatch, cards):
    times = dict(
        user=5.0, nice=1.0, system=2.0, idle=80.0, iowait=7.0, irq=0.5, softirq=0.5, steal=4.0, guest=3.0
    )
    cpu = SimpleNamespace(_asdict=lambda: times)
    moved = lambda read, write: SimpleNamespace(read_bytes=read, write_bytes=write)
    discs = {"vda": moved(100, 10), "vda1": moved(90, 9), "dm-0": moved(80, 8), "loop3": moved(7, 0)}
    discs["loop3p1"] = moved(6, 0)  # as a part of a disc it is not in psutil's sum
    monkeypatch.setattr(psutil, "cpu_times", lambda: cpu)
    # of all discs psutil gives the whole ones: vda, dm-0 and loop3
    monkeypatch.setattr(
        psutil, "disk_io_counters", lambda perdisk=False: discs if perdisk else moved(187, 18)
    )
    cards(lo=1000, eth0=20, wlan0=3)
    counted = host._counters()
    assert counted.cpu_total == 100 and counted.cpu_used == 9  # guest is within user
    assert counted.disc == 110 and counted.network == 69


VIRTUAL = ["bond0", "team0", "br0", "br-1f2e", "docker0", "veth12ab", "virbr0", "vnet3", "tun0", "tap1", "eth0.100",
           "vlan7", "cali5", "flannel.1", "cni0", "wg0", "ppp0", "dummy0", "tailscale0", "bridge0", "vmbr0"]  # fmt: skip
PHYSICAL = [
    "eth0",
    "eth1",
    "eno1",
    "enp3s0f1",
    "ens5",
    "enx001122",
    "wlan0",
    "wlp2s0",
    "ib0",
    "en0",
    "wwan0",
    "em1",
]


def test_bytes_that_pass_through_two_cards_count_once():
    assert cards_to_count(["lo", *PHYSICAL, *VIRTUAL]) == (PHYSICAL, VIRTUAL)
    # a container may have a single card, whatever its name; of several no one tells which lie upon others
    assert cards_to_count(["lo", "tap0"]) == (["tap0"], [])
    assert cards_to_count(["lo", "tap0", "br0"]) == ([], ["tap0", "br0"])


@pytest.mark.parametrize(
    ("counted", "names"),
    [
        (
            True,
            ["sda", "vda", "xvda", "xvda1", "nvme0n1", "nvme10n2", "mmcblk0", "mmcblk0boot0", "nbd0", "rbd0"],
        ),
        (False, ["dm-0", "md127", "md0p1", "loop3", "zram0", "ram1", "sr0", "zd16", "bcache0", "drbd1"]),
        (False, ["sda1", "sdaa12", "vda2", "hda1", "nvme0n1p2", "mmcblk0p1", "nvme0c0n1"]),
    ],
)
def test_discs_that_prometheus_counts(counted, names):
    pattern = re.search(r'device!~"(.*?)"', prometheus.QUERIES["disc_usage"])[1]
    assert [name for name in names if (re.fullmatch(pattern, name) is None) != counted] == []


def test_the_machine_itself_tells_which_cards_are_physical(cards):
    folder = cards(devices=["outside", "virtual", "fast"], lo=1000, outside=20, inside=20, virtual=7, fast=7)
    (folder / "fast" / "master").symlink_to(
        folder / "virtual"
    )  # as the fast path of a virtual machine's card
    assert host._counters().network == 3 * (20 + 7)
    (note,) = host.measure(1, 0.01).attrs["notes"]
    assert note.startswith("network_usage is without fast, inside, because")


def test_the_halves_of_a_bond_are_counted_and_not_the_bond(cards):
    folder = cards(devices=["eth0", "eth1"], lo=1000, eth0=20, eth1=20, bond0=40)
    (folder / "bond0").mkdir()
    for half in ("eth0", "eth1"):
        (folder / half / "master").symlink_to(folder / "bond0")
    assert host._counters().network == 3 * 40


def test_a_host_without_discs_or_network_has_no_such_column(monkeypatch):
    monkeypatch.setattr(psutil, "disk_io_counters", lambda perdisk=False: None)
    monkeypatch.setattr(psutil, "net_io_counters", lambda pernic: {})
    frame = host.read_host("1")
    assert "disc_usage" not in frame and "network_usage" not in frame and len(frame) == 1


def test_this_host_is_measured():
    busy = threading.Event()

    def work():
        with tempfile.TemporaryFile() as file:
            while not busy.is_set():
                file.write(os.urandom(2**20))
                os.fsync(file.fileno())

    thread = threading.Thread(target=work)
    thread.start()
    begin, started = pd.Timestamp.now("UTC"), time.monotonic()
    frame = telemetry.check(host.read_host("3"))
    seconds = time.monotonic() - started
    busy.set()
    thread.join()
    assert seconds > 2.9 and len(frame) == 3
    first = frame["timestamp"].iloc[0]
    assert begin.floor("s") <= first <= begin + pd.Timedelta(f"{seconds}s") - pd.Timedelta("2s")
    assert (frame["timestamp"].diff().dropna() == pd.Timedelta("1s")).all()
    assert {*USAGES, "cpu_cores", "memory_mb"} <= {*frame} <= {*telemetry.COLUMNS}
    assert frame["cpu_usage"].between(0, 100).all() and frame["cpu_usage"].mean() > 5
    assert frame["disc_usage"].sum() > 1024  # the thread wrote more than a megabyte
    memory = psutil.virtual_memory()
    assert frame["memory_usage"].iloc[-1] == pytest.approx(
        100 * (1 - memory.available / memory.total), abs=10
    )
    assert frame["memory_mb"].unique() == [memory.total / 2**20]


def test_steps_may_be_longer_than_a_second():
    frame = host.read_host("4?step=2")
    assert len(frame) == 2 and frame["timestamp"].diff().iloc[1] == pd.Timedelta("2s")


def test_no_name_of_host_or_user_is_kept():
    frame = host.read_host("1")
    assert set(frame["node"]) == {"node-1"}
    assert [*frame.select_dtypes(exclude=["number", "datetimetz"])] == ["node"] and {*frame.attrs} == {
        "notes"
    }


@pytest.mark.parametrize(
    ("rest", "problem"),
    [
        ("soon", "'soon' is not a whole number of seconds. Write it like host:60"),
        ("-5", "'-5' is not a whole number"),
        ("1.5", "'1.5' is not a whole number"),
        ("5?step=10", "shorter than one step of 10 s"),
        ("0", "shorter than one step of 1 s"),
        ("5?step=0", "option 'step' is '0'. Give a number of at least 1"),
        ("5?pace=1", "option 'pace' is not known. Write ?name=value"),
    ],
)
def test_a_wrong_length_is_told_before_measuring(rest, problem):
    assert problem in failure(host.read_host, rest)


# ---------------------------------------------------------------------------------------------------- sar


def statistic(when, **parts):
    """One interval of five minutes as sadf prints it."""
    return {"timestamp": {"date": "2026-01-31", "time": when, "utc": 1, "interval": 300}} | parts


CPU = {
    "cpu-load": [
        {"cpu": "all", "user": 10.0, "nice": 1.0, "system": 4.0, "iowait": 5.0, "steal": 2.0, "idle": 78.0}
    ]
}
MEMORY = {
    "memory": {"memfree": 100, "avail": 600, "memused": 500, "memused-percent": 25.0, "buffers": 7}
}  # of 2,000
DISC = {"io": {"tps": 1.0, "io-reads": {"rtps": 1, "bread": 300.0}, "io-writes": {"wtps": 1, "bwrtn": 20.0}}}
NETWORK = {"network": {"net-dev": [
    {"iface": "lo", "rxkB": 1000.0, "txkB": 1000.0},
    {"iface": "eth0", "rxkB": 3.0, "txkB": 0.5},
    {"iface": "eth1", "rxkB": 1.0, "txkB": 0.25},
]}}  # fmt: skip


def printed(*statistics):
    return {
        "sysstat": {"hosts": [{"nodename": "secret", "number-of-cpus": 8, "statistics": list(statistics)}]}
    }


def test_an_archive_by_hand():
    every = CPU | MEMORY | DISC | NETWORK
    frame = host._from_sadf(printed(statistic("00:05:01", **every), statistic("00:10:01", **every)), "sar:x")
    assert [f"{time:%Y-%m-%d %H:%M:%S}" for time in frame["timestamp"]] == [
        "2026-01-31 00:00:01",
        "2026-01-31 00:05:01",
    ]
    row = frame.drop(columns="timestamp").iloc[1].to_dict()
    assert row == {
        "node": "node-1",
        "cpu_usage": 15,  # 100 - 78 - 5 - 2
        "memory_usage": 70,  # 600 of 2,000 are available
        "disc_usage": 160,  # 320 sectors of half a KB
        "network_usage": 4.75,
        "cpu_cores": 8,
    }


def test_an_archive_counts_the_bytes_of_a_bond_once():
    names = {"lo": 900.0, "eth0": 100.0, "eth1": 100.0, "bond0": 200.0, "eth0.100": 50.0, "docker0": 10.0}
    cards = [{"iface": name, "rxkB": kb, "txkB": kb / 2} for name, kb in names.items()]
    frame = host._from_sadf(printed(statistic("00:05:01", **CPU, network={"net-dev": cards})), "sar:x")
    assert list(frame["network_usage"]) == [300]
    (note,) = frame.attrs["notes"]
    assert note.startswith(
        "network_usage is without bond0, docker0, eth0.100, because their bytes pass through"
    )


def test_an_archive_of_an_older_version_has_no_available_memory():
    older = {"memfree": 800, "memused": 3200, "memused-percent": 80.0, "buffers": 120, "cached": 1500}
    both = statistic("00:05:01", memory=older), statistic("00:10:01", memory=older | {"avail": 2400})
    frame = host._from_sadf(printed(*both), "sar:x")
    # 2,420 of 4,000 are free, buffers or cache; 2,400 are available
    assert list(frame["memory_usage"]) == pytest.approx([39.5, 40])
    assert "memory_usage counts free memory, buffers and cache as available" in frame.attrs["notes"][0]
    assert host._from_sadf(printed(both[1]), "sar:x").attrs["notes"] == []
    bare = {"memused": 3200, "memused-percent": 80.0}
    assert host._from_sadf(printed(statistic("00:05:01", memory=bare)), "sar:x")["memory_usage"].isna().all()


def test_notes_of_an_archive_reach_whoever_reads_it(tmp_path, monkeypatch):
    old = {"memfree": 800, "memused": 3200, "memused-percent": 80.0, "buffers": 120, "cached": 1500}
    program, archive = tmp_path / "sadf", tmp_path / "sa01"
    content = json.dumps(printed(*(statistic(when, **CPU, memory=old) for when in ("00:05:01", "00:10:01"))))
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{content}\nEND\n")
    program.chmod(0o755)
    archive.write_bytes(b"x")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    notes = sources.read(f"sar:{archive}").attrs["notes"]
    assert len(notes) == 1 and "buffers and cache" in notes[0]


def test_an_archive_without_an_interval_is_told():
    with pytest.raises(TelemetryError, match=r"sar:x: the archive has no interval yet\. Wait until"):
        host._from_sadf(printed(), "sar:x")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A real archive of three seconds, written by sadc."""
    path = tmp_path_factory.mktemp("sar") / "-sa 31"  # a name that an option or a shell would stumble over
    subprocess.run([SADC, "-S", "DISK", "1", "4", path.resolve()], check=True, timeout=HANG)
    return path


@with_sysstat
def test_a_real_archive_is_read(archive):
    frame = telemetry.check(host.read_archive(str(archive)))
    assert {*USAGES, "cpu_cores"} <= {*frame} and len(frame) == 3
    assert set(frame["node"]) == {"node-1"} and (frame["cpu_cores"] == psutil.cpu_count()).all()
    # the same archive as text: hostname;interval;timestamp;...;%idle
    text = subprocess.run(
        ["sadf", "-d", archive, "--", "-u"], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(";") for line in text.splitlines() if not line.startswith("#")]
    idle = [sum(float(row[place]) for place in (-1, -2, -3)) for row in rows]  # idle, steal, iowait
    assert list(frame["cpu_usage"]) == pytest.approx([100 - one for one in idle])
    ends = pd.to_datetime([row[2] for row in rows])
    assert list(frame["timestamp"]) == list(ends - pd.Timedelta("1s"))
    memory = psutil.virtual_memory()
    assert frame["memory_usage"].iloc[-1] == pytest.approx(
        100 * (1 - memory.available / memory.total), abs=10
    )


@with_sysstat
def test_an_archive_of_the_processor_alone_has_no_other_column(archive, monkeypatch):
    content = json.loads(
        subprocess.run(["sadf", "-j", archive, "--", "-u"], capture_output=True, check=True).stdout
    )
    frame = telemetry.check(host._from_sadf(content, "sar:x"))
    assert list(frame) == ["timestamp", "node", "cpu_usage", "cpu_cores"]


@with_sysstat
@pytest.mark.parametrize("content", [b"", b"not an archive", bytes(range(256)) * 40])
def test_what_is_no_archive_is_told(tmp_path, content):
    (tmp_path / "sa01").write_bytes(content)
    assert "sadf cannot read it (" in failure(host.read_archive, tmp_path / "sa01")


@with_sysstat
def test_an_archive_cut_off_is_read_as_far_as_it_goes(archive, tmp_path):
    whole, cut = archive.read_bytes(), tmp_path / "sa01"
    cut.write_bytes(whole[:-100])
    with pytest.warns(UserWarning, match="unexpected'; the 2 rows before that are used"):
        assert len(host.read_archive(str(cut))) == 2
    cut.write_bytes(whole[: len(whole) // 10])
    assert "sadf cannot read it (End of system activity file unexpected)" in failure(host.read_archive, cut)


def test_a_missing_archive_or_program_is_told(tmp_path, monkeypatch):
    for rest in ("", "/none/sa01", tmp_path):
        assert "there is no such file. Give an archive, as in /var/log/sysstat/sa24" in failure(
            host.read_archive, rest
        )
    (tmp_path / "sa01").write_bytes(b"x")
    monkeypatch.setattr(host.shutil, "which", lambda name: None)
    text = failure(host.read_archive, tmp_path / "sa01")
    assert "the program sadf is missing. Install the package sysstat" in text
