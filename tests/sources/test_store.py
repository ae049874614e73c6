"""Importing a folder of trace files into a store: units, order, checks, and what is left after a kill."""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from synthetic import TRACE_HEADER, trace_file, trace_folder
from waiting import until

from vdslib import files, telemetry
from vdslib.cli import main
from vdslib.errors import TelemetryError
from vdslib.sources import bitbrains, store

ROOT = files.root()
START = 1_375_308_176  # 2013-07-31T22:02:56Z
RUNNING = (0, 4, 8000, 2000.5, 25.0, 4096, 1024, 1.5, 2.5, 10, 20)
OFF = (300, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
AGAIN = (600, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
CPU, MEMORY, READ = 4, 6, 7  # places of columns in a row


def lines(*rows):
    """Rows as the trace writes them; the time is in seconds after START."""
    return [";\t".join(map(str, (START + row[0], *row[1:]))) for row in rows]


def write(path, text):
    """A trace file of lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TRACE_HEADER + "".join(f"{line}\n" for line in text))
    return path


def changed(row, place, value):
    """The row with another value in one place."""
    return (*row[:place], value, *row[place + 1 :])


def content(folder):
    """Everything in a store: bytes by name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two months of 12 machines."""
    folder = tmp_path_factory.mktemp("trace")
    trace_folder(folder, nodes=12, rows=300, months=2)
    return folder


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """The store of an import that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "store"
    store.import_folder(folder, out)
    return out


# ------------------------------------------------------------------------------------ values and units


def test_units_are_converted_as_computed_by_hand(tmp_path):
    write(tmp_path / "in" / "2013-8" / "7.csv", lines(RUNNING, OFF, changed(RUNNING, 0, 600)))
    store.import_folder(tmp_path / "in", tmp_path / "out")
    frame = store.read_node(tmp_path / "out", 7)
    expected = pd.DataFrame(
        {
            "timestamp": pd.to_datetime(
                ["2013-07-31T22:02:56Z", "2013-07-31T22:07:56Z", "2013-07-31T22:12:56Z"]
            ).as_unit("us"),
            "node": ["7"] * 3,
            "cpu_usage": [25.0, 0.0, 25.0],
            "memory_usage": [25.0, np.nan, 25.0],
            "disc_usage": [4.0, 0.0, 4.0],
            "network_usage": [30.0, 0.0, 30.0],
            "cpu_cores": [4.0, 0.0, 4.0],
            "cpu_mhz": [2000.0, np.nan, 2000.0],
            "memory_mb": [4.0, 0.0, 4.0],
        }
    )
    pd.testing.assert_frame_equal(frame, expected)
    pd.testing.assert_frame_equal(telemetry.check(frame), frame)


def test_every_value_survives_the_way_through_the_store(folder, whole):
    text = pd.concat(
        pd.read_csv(folder / month / "3.csv", sep=r";\t", engine="python") for month in ("2013-8", "2013-9")
    ).reset_index(drop=True)
    frame = store.read_node(whole, "3")
    assert len(frame) == 600
    assert (frame["timestamp"].astype("int64") == text["Timestamp [ms]"] * 1_000_000).all()
    np.testing.assert_array_equal(frame["cpu_usage"], text["CPU usage [%]"])
    np.testing.assert_array_equal(
        frame["disc_usage"], text["Disk read throughput [KB/s]"] + text["Disk write throughput [KB/s]"]
    )
    np.testing.assert_allclose(
        frame["memory_usage"] / 100 * frame["memory_mb"] * 1024, text["Memory usage [KB]"], rtol=1e-12
    )


def test_percentages_above_100_stay(tmp_path):
    write(tmp_path / "in" / "1.csv", lines(changed(changed(RUNNING, CPU, 104.5), MEMORY, 8192)))
    store.import_folder(tmp_path / "in", tmp_path / "out")
    frame = store.read_node(tmp_path / "out", "1")
    assert (frame["cpu_usage"].item(), frame["memory_usage"].item()) == (104.5, 200.0)


def test_repeated_timestamps_are_left_out_and_counted(tmp_path):
    """Within a file, and where the last row of a month is the first of the next."""
    again = changed(AGAIN, CPU, 7.0)
    write(tmp_path / "in" / "2013-8" / "1.csv", lines(RUNNING, OFF, AGAIN, again, again))
    write(tmp_path / "in" / "2013-9" / "1.csv", lines(again, changed(RUNNING, 0, 900)))
    result = store.import_folder(tmp_path / "in", tmp_path / "out")
    assert (result.rows, result.dropped, result.failed) == (4, 3, {})
    assert store.read_node(tmp_path / "out", "1")["cpu_usage"].tolist() == [25.0, 0.0, 0.0, 25.0]
    kept = store.import_folder(tmp_path / "in", tmp_path / "out")
    assert (kept.rows, kept.dropped, kept.kept) == (4, 3, 1)


def test_months_are_joined_in_order_of_time_not_of_name(tmp_path):
    """By name, October comes before September."""
    for month, after in (("2013-10", 900), ("2013-9", 0)):
        write(tmp_path / "in" / month / "1.csv", lines(changed(changed(RUNNING, 0, after), CPU, after)))
    store.import_folder(tmp_path / "in", tmp_path / "out")
    assert store.read_node(tmp_path / "out", "1")["cpu_usage"].tolist() == [0, 900]


def test_another_format_is_read_by_another_parser(tmp_path):
    """A frame with a column of text, one of counts and one that is not declared."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a b%2F.log").write_text("1.5 8\n2.5 9\n")

    def parse(path):
        pairs = [line.split() for line in path.read_text().splitlines()]
        time = pd.date_range("2026-01-05", periods=len(pairs), freq="s", tz="UTC")
        numbers = {"cpu_usage": [cpu for cpu, _ in pairs], "queue_length": [jobs for _, jobs in pairs]}
        return pd.DataFrame({"timestamp": time, "strategy": "random", **numbers, "power": 1})

    store.import_folder(tmp_path / "in", tmp_path / "out", parse=parse, pattern="*.log", jobs=1)
    assert store.nodes(tmp_path / "out") == ["a b%2F"]
    frame = store.read_node(tmp_path / "out", "a b%2F")
    assert frame["cpu_usage"].tolist() == [1.5, 2.5] and frame["queue_length"].tolist() == [8, 9]
    pd.testing.assert_frame_equal(telemetry.check(frame), frame)


def test_the_quick_check_and_the_strict_one_agree(tmp_path):
    """What the one lets pass the other must let pass; a frame that only the strict one may judge is judged by it."""
    good = bitbrains.table(write(tmp_path / "1.csv", lines(RUNNING, OFF))).to_pandas().assign(node="1")
    later = good["timestamp"].iloc[::-1].to_numpy()
    spoiled = {
        "none": good,
        "negative": good.assign(disc_usage=-1.0),
        "infinite": good.assign(cpu_usage=np.inf),
        "missing": good.assign(cpu_cores=np.nan),
        "percent": good.assign(system_productivity=101.0),
        "allowed": good.assign(system_productivity=[np.nan, 99.0]),
        "backwards": good.assign(timestamp=pd.to_datetime(later, utc=True)),
        "text": good.assign(cpu_usage="much"),
    }

    def refused(frame, check):
        try:
            check(frame)
        except TelemetryError as error:
            return str(error)
        return ""

    def imported(frame):
        path = tmp_path / "in" / "1.csv"
        write(path, [])
        result = store.import_folder(path.parent, tmp_path / "out", parse=lambda _: frame, jobs=1)
        shutil.rmtree(tmp_path / "out")
        if result.failed:
            raise TelemetryError(result.failed["1"])

    origin = str(tmp_path / "in" / "1.csv")
    for name, frame in spoiled.items():
        expected = refused(frame, lambda frame: telemetry.check(frame, origin))
        assert refused(frame, imported) == expected
        assert bool(expected) == (name not in ("none", "allowed"))


# ------------------------------------------------------------------------------------ reading the store


def test_nodes_come_in_order_of_their_numbers(whole):
    assert store.nodes(whole) == [str(number) for number in range(1, 13)]


def test_an_unknown_node_is_told_with_the_nearest(whole):
    with pytest.raises(TelemetryError, match="there is no node '122' among its 12 nodes. Perhaps 12, "):
        store.read_node(whole, 122)


def test_what_is_no_store_is_told(tmp_path, whole):
    for read in (store.nodes, store.to_dask, lambda path: store.read_node(path, 1)):
        with pytest.raises(TelemetryError, match=r"this is no store. Make one with `vds import FOLDER --out"):
            read(tmp_path)


def test_a_damaged_partition_is_told(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "store")
    (tmp_path / "store" / "node=3" / "data.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(TelemetryError, match=r"node=3/data.parquet: not readable .*import the folder again"):
        store.read_node(tmp_path / "store", 3)


def test_dask_reads_the_same_store(whole):
    frame = store.to_dask(whole)
    assert list(frame.columns) == list(store.read_node(whole, 1).columns)
    assert frame.npartitions == 12
    means = frame.groupby("node")["cpu_usage"].mean().compute()
    assert set(means.index) == set(store.nodes(whole))
    for node in ("1", "12"):
        assert means[node] == pytest.approx(store.read_node(whole, node)["cpu_usage"].mean(), rel=1e-12)
    one = frame[frame["node"] == "7"].compute().reset_index(drop=True)
    assert one["cpu_usage"].equals(store.read_node(whole, 7)["cpu_usage"])


@pytest.mark.slow
def test_dask_reads_the_store_by_the_address_of_a_cluster(whole):
    """A cluster of two processes stands for a real one: it is reached by its address alone."""
    import distributed  # takes a second

    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster.scheduler_address),
    ):
        highest = store.to_dask(whole).groupby("node")["cpu_usage"].max().compute()
    expected = {node: store.read_node(whole, node)["cpu_usage"].max() for node in store.nodes(whole)}
    assert highest.to_dict() == expected


# ------------------------------------------------------------------------------------ bad files


def damage(name, value):
    place = [part.strip() for part in TRACE_HEADER.split(";\t")].index(name)
    return lines(RUNNING, changed(changed(RUNNING, 0, 300), place, value), changed(RUNNING, 0, 600))


BAD = {
    "text": (damage("CPU usage [%]", "much"), r"column 'CPU usage \[%\]', row 2 .*'much' is not a number"),
    "comma": (
        damage("Memory usage [KB]", "1,5"),
        r"column 'Memory usage .*row 2 .*'1,5' is not a number. .*point",
    ),
    "empty": (damage("CPU cores", ""), r"column 'CPU cores', row 2 .*empty or NaN. Write it with"),
    "nan": (damage("CPU usage [MHZ]", "NaN"), r"column 'CPU usage \[MHZ\]', row 2 .*empty or NaN"),
    "negative": (damage("Disk read throughput [KB/s]", -3), r"column 'Disk read.*row 2 .*-3 is negative"),
    "infinite": (damage("CPU usage [%]", "inf"), r"column 'CPU usage \[%\]', row 2 .*inf is infinite"),
    "milliseconds": (
        [line.replace(";", "000;", 1) for line in lines(RUNNING)],
        r"column 'Timestamp \[ms\]', row 1 .*1375308176000 is no time from 2000 to 2099",
    ),
    "fraction of a second": (
        [line.replace(";", ".5;", 1) for line in lines(RUNNING)],
        r"column 'Timestamp \[ms\]', row 1 .*'1375308176.5' is not a whole number",
    ),
    "blank line": (["", *lines(RUNNING)], r"column 'Timestamp \[ms\]', row 1 .*empty or NaN. Correct"),
    "cut off": (
        [*lines(RUNNING), "1375308476;\t4;\t8000;\t20"],
        r"column 'CPU usage \[%\]', row 2 \(line 3 of the file\): the line has 4 values, not 11. Complete",
    ),
    "too long": (
        [*lines(RUNNING), lines(RUNNING)[0] + ";\t1"],
        r"row 2 .*the line has 12 values, not 11",
    ),
    "backwards": (lines(changed(RUNNING, 0, 300), RUNNING), r"column 'timestamp', row 2: .*goes backwards"),
    "no rows": ([], r"there is no row 1, only the header"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_and_the_others_go_on(tmp_path, name):
    text, message = BAD[name]
    write(tmp_path / "in" / "1.csv", lines(RUNNING))
    bad = write(tmp_path / "in" / "2.csv", text)
    write(tmp_path / "in" / "3.csv", lines(RUNNING))
    result = store.import_folder(tmp_path / "in", tmp_path / "out")
    assert result.nodes == 2 and store.nodes(tmp_path / "out") == ["1", "3"]
    assert list(result.failed) == ["2"] and result.failed["2"].startswith(f"{bad}: ")
    assert re.search(message, result.failed["2"]), result.failed["2"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "row 0 .the header. is not that of a Bitbrains GWA-T-12 file: ''"),
        (b"timestamp,node,cpu_usage\n", "row 0 .the header. is not that .*'timestamp,node,cpu_usage'"),
        (b"\x00\xff\xfe" * 99, "row 0 .the header. is not that"),
        (TRACE_HEADER.encode() + b"13753\xff8176;\t1\n", "'13753.8176' is not a|the line has 2 values"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, data, message):
    path = tmp_path / "1.csv"
    path.write_bytes(data)
    with pytest.raises(TelemetryError, match=message):
        bitbrains.table(path)


def test_a_byte_order_mark_and_other_line_ends_are_read(tmp_path):
    text = TRACE_HEADER + "\n".join(lines(RUNNING, OFF)) + "\n"
    (tmp_path / "a.csv").write_text(text, newline="")
    (tmp_path / "b.csv").write_text("\ufeff" + text.replace("\n", "\r\n"), newline="")
    assert bitbrains.table(tmp_path / "a.csv").equals(bitbrains.table(tmp_path / "b.csv"))


def test_the_command_makes_a_store_of_a_folder(tmp_path, capsys):
    write(tmp_path / "in" / "1.csv", lines(RUNNING, OFF))
    arguments = ["import", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--column", "cpu_usage", "CPU"]) == 2
    assert (
        "--column and repair are for single sources" in capsys.readouterr().err
        and not (tmp_path / "out").exists()
    )
    assert main(arguments) == 0
    assert ": 1 nodes, 2 rows (0 nodes were there already" in capsys.readouterr().out
    assert store.nodes(tmp_path / "out") == ["1"]
    write(tmp_path / "in" / "2.csv", "no trace")
    assert main(arguments) == 2
    assert "1 nodes could not be imported" in capsys.readouterr().err and store.nodes(tmp_path / "out") == [
        "1"
    ]


def test_files_of_one_node_that_overlap_are_refused(tmp_path):
    write(tmp_path / "in" / "rnd" / "1.csv", lines(RUNNING, changed(RUNNING, 0, 600)))
    later = write(tmp_path / "in" / "storage" / "1.csv", lines(changed(RUNNING, 0, 300)))
    result = store.import_folder(tmp_path / "in", tmp_path / "out")
    assert result.failed["1"].startswith(f"{later}: column 'timestamp', row 1: it begins before ")


def test_files_of_one_node_must_have_the_same_columns(tmp_path):
    trace_folder(tmp_path / "in", nodes=1, rows=3, months=2)

    def parse(path):
        table = bitbrains.table(path)
        return table.drop_columns(["cpu_mhz"]) if path.parent.name == "2013-9" else table

    result = store.import_folder(tmp_path / "in", tmp_path / "out", parse=parse, jobs=1)
    assert "2013-9/1.csv: row 0 (the header): its columns are not those of" in result.failed["1"]


def test_a_fault_of_the_parser_keeps_its_traceback(tmp_path):
    write(tmp_path / "in" / "1.csv", lines(RUNNING))

    def parse(path):
        raise KeyError("my mistake")

    with pytest.raises(KeyError, match="my mistake") as caught:
        store.import_folder(tmp_path / "in", tmp_path / "out", parse=parse, jobs=1)
    assert caught.value.__notes__ == [f"while reading {tmp_path / 'in' / '1.csv'}"]


def test_the_command_tells_what_it_did_and_what_it_could_not(tmp_path, capsys):
    write(tmp_path / "in" / "0.csv", lines(RUNNING, OFF))
    options = argparse.Namespace(source=str(tmp_path / "in"), out=tmp_path / "out")
    store.import_folder_command(options)
    assert "out: 1 nodes, 2 rows (0 nodes were there already, 0 rows with" in capsys.readouterr().out
    for number in range(1, 26):
        write(tmp_path / "in" / f"{number}.csv", ["no number"])
    with pytest.raises(TelemetryError) as caught:
        store.import_folder_command(options)
    assert "1 nodes, 2 rows (1 nodes were there already" in capsys.readouterr().out
    told = str(caught.value).splitlines()
    assert told[0] == "25 nodes could not be imported:" and told[-1] == "and 5 more" and len(told) == 22


# ------------------------------------------------------------------------------------ folder and output


def refusal(folder, out):
    with pytest.raises(TelemetryError) as caught:
        store.import_folder(folder, out)
    return str(caught.value)


def test_a_folder_without_trace_files_is_refused(tmp_path):
    (tmp_path / "in" / "empty").mkdir(parents=True)
    (tmp_path / "in" / "notes.txt").write_text("none")
    assert "in: there is no file *.csv in it or in the folders" in refusal(tmp_path / "in", tmp_path / "out")
    assert "away: there is no such folder" in refusal(tmp_path / "away", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_something_else_is_left_alone(folder, whole, tmp_path):
    file, other = tmp_path / "file", tmp_path / "other"
    file.write_text("mine")
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    assert "file: this is a file, but a store is a folder" in refusal(folder, file)
    assert "other: the folder has something else in it" in refusal(folder, other)
    assert file.read_text() == "mine" and [path.name for path in other.iterdir()] == ["thesis.txt"]
    assert "the folder has something else in it" in refusal(folder, folder)
    trace_folder(tmp_path / "in", nodes=1, rows=3)
    assert f"this store was imported from {folder}" in refusal(tmp_path / "in", whole)
    assert len(store.nodes(whole)) == 12


@pytest.fixture
def shared():
    """A folder that others may look into, which pytest's own are not; and only their rights, while it is used."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    trace_folder(path / "in", nodes=3, rows=3)
    (path / "free").mkdir()
    (path / "free").chmod(0o777)
    (path / "closed").mkdir(mode=0o555)
    (path / "in" / "2013-8" / "2.csv").chmod(0)
    root = os.geteuid() == 0  # root may do everything
    if root:
        os.seteuid(65534)
    yield path
    if root:
        os.seteuid(0)
    (path / "closed").chmod(0o755)
    shutil.rmtree(path)


def test_without_permission_to_write_nothing_begins(shared):
    assert "closed/out: cannot be written (Permission denied). Choose another place" in refusal(
        shared / "in", shared / "closed" / "out"
    )
    assert "closed: cannot be written (Permission denied)" in refusal(shared / "in", shared / "closed")


def test_without_permission_to_read_a_file_the_others_go_on(shared):
    result = store.import_folder(shared / "in", shared / "free" / "out")
    assert store.nodes(shared / "free" / "out") == ["1", "3"]
    assert "2013-8/2.csv: cannot be read (Permission denied). Give permission" in result.failed["2"]


def test_a_full_disc_is_told_and_what_is_done_is_kept(folder, tmp_path, monkeypatch):
    replace, calls = os.replace, []

    def full(source, target):
        if Path(target).name == "data.parquet":
            calls.append(target)
            if len(calls) > 5:
                raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    assert "cannot be written (No space left on device). Make room" in refusal(folder, tmp_path / "out")
    monkeypatch.undo()
    assert not list((tmp_path / "out").rglob(".data*"))
    with pytest.raises(TelemetryError, match="its import was not finished. Run `vds import .*again"):
        store.nodes(tmp_path / "out")
    assert store.import_folder(folder, tmp_path / "out").kept == 5


def test_two_imports_into_one_store_at_once_are_refused(folder, tmp_path):
    def parse(path):
        assert "another import writes to this store" in refusal(folder, tmp_path / "out")
        return bitbrains.table(path)

    assert store.import_folder(folder, tmp_path / "out", parse=parse, jobs=1).nodes == 12


# ------------------------------------------------------------------------------------ going on


def test_only_what_changed_is_done_again(tmp_path):
    folder, out, read = tmp_path / "in", tmp_path / "out", []
    trace_folder(folder, nodes=4, rows=5)

    def parse(path):
        read.append(path.name)
        return bitbrains.table(path)

    def run():
        read.clear()
        return store.import_folder(folder, out, parse=parse, jobs=1)

    assert run().kept == 0 and sorted(read) == ["1.csv", "2.csv", "3.csv", "4.csv"]
    assert run().kept == 4 and read == []
    trace_file(folder / "2013-8" / "2.csv", 6, seed=99)  # longer
    one = folder / "2013-8" / "1.csv"
    one.write_bytes(one.read_bytes())  # as long as before, but written anew
    trace_file(folder / "2013-9" / "3.csv", 5, start=START + 5 * 300)  # another month
    result = run()
    assert (result.kept, result.nodes) == (1, 4)
    assert sorted(read) == ["1.csv", "2.csv", "3.csv", "3.csv"]
    assert [len(store.read_node(out, node)) for node in "1234"] == [5, 6, 10, 5]
    store.import_folder(folder, out)  # another parser
    assert store.import_folder(folder, out).kept == 4


def test_rows_whose_file_is_gone_are_kept_and_told(tmp_path):
    """The store may be the only copy; a month less must not pass for the whole."""
    folder, out = tmp_path / "in", tmp_path / "out"
    trace_folder(folder, nodes=2, rows=5, months=2)
    store.import_folder(folder, out)
    for name in ("2013-8/1.csv", "2013-8/2.csv", "2013-9/2.csv"):
        (folder / name).unlink()
    result = store.import_folder(folder, out)
    assert set(result.failed) == {"1", "2"}
    assert "2013-8/1.csv: the store has rows of this file" in result.failed["1"]
    assert [len(store.read_node(out, node)) for node in "12"] == [10, 10]


def test_the_number_of_processes_changes_nothing(folder, whole, tmp_path):
    result = store.import_folder(folder, tmp_path / "out", jobs=2)
    assert result.nodes == 12
    assert content(tmp_path / "out") == content(whole)


def importing(folder, out, jobs, before=""):
    """An import in a group of processes of its own."""
    code = f"{before}\nfrom vdslib.sources import store\nif __name__ == '__main__': store.import_folder({str(folder)!r}, {str(out)!r}, jobs={jobs})"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    return subprocess.Popen([sys.executable, "-c", code], start_new_session=True, env=environment)


def killed_at_random(folder, out, jobs, nodes, chance):
    """Kill an import with all its processes at some moment of its work; how many nodes were done then."""
    done, process = len(list(out.glob("node=*/data.parquet"))), importing(folder, out, jobs)
    until = chance.randint(done, done + (nodes - done) // 4)
    while process.poll() is None and len(list(out.glob("node=*/data.parquet"))) < until:
        time.sleep(0.0005)
    time.sleep(chance.uniform(0, 0.004))
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return len(list(out.glob("node=*/data.parquet")))


def check_kills(folder, nodes, times, tmp_path):
    chance, out, counts = random.Random(5), tmp_path / "killed", []
    for number in range(times):
        counts.append(killed_at_random(folder, out, 1 + number % 2, nodes, chance))
        for path in out.glob("node=*/data.parquet"):  # whatever is there is whole
            assert len(store.read_node(out, path.parent.name.removeprefix("node="))) > 0
        if counts[-1] > 0.7 * nodes:
            break
    assert counts == sorted(counts) and 0 < counts[-1] < nodes
    assert store.import_folder(folder, out).kept == counts[-1]
    store.import_folder(folder, tmp_path / "at once")
    assert content(out) == content(tmp_path / "at once")


def test_after_kills_the_import_goes_on_to_the_same_store(tmp_path):
    trace_folder(tmp_path / "in", nodes=60, rows=4000)
    check_kills(tmp_path / "in", 60, 3, tmp_path)


@pytest.mark.slow
def test_after_many_kills_the_import_goes_on_to_the_same_store(tmp_path):
    trace_folder(tmp_path / "in", nodes=200, rows=4000, months=2)
    check_kills(tmp_path / "in", 200, 12, tmp_path)


def test_a_kill_between_writing_and_renaming_leaves_no_partition(folder, whole, tmp_path):
    before = """
import os, pathlib, signal
replace = os.replace
def kill(source, target):
    if pathlib.Path(target).parent.name == 'node=5': os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = kill"""
    process, out = importing(folder, tmp_path / "out", 1, before), tmp_path / "out"
    assert process.wait() == -signal.SIGKILL
    (left,) = (out / "node=5").iterdir()
    assert left.name.startswith(".data.parquet.")
    assert store.import_folder(folder, out).kept == 4
    assert content(out) == content(whole)


def test_workers_end_with_the_process_that_imports(tmp_path):
    """Killed alone, it cannot tell them."""
    trace_folder(tmp_path / "in", nodes=40, rows=4000)
    process = importing(tmp_path / "in", tmp_path / "out", 2)
    while not list((tmp_path / "out").glob("node=*/data.parquet")):
        time.sleep(0.001)
        assert process.poll() is None
    process.kill()
    process.wait()

    def alive():
        return [
            each
            for each in psutil.process_iter(["status"])
            if each.info["status"] != psutil.STATUS_ZOMBIE and group(each.pid) == process.pid
        ]

    try:
        until(lambda: not alive())
    finally:
        for each in alive():
            each.kill()


def group(process):
    """The group of a process; none where it has just ended."""
    try:
        return os.getpgid(process)
    except ProcessLookupError:
        return None


# ------------------------------------------------------------------------------------ names of nodes


def plain(path):
    """Reads a .csv or .csv.gz of two columns."""
    return pd.read_csv(path, parse_dates=["timestamp"])


def some(path, day=1):
    """A file of two columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = pd.date_range(f"2026-01-0{day}", periods=3, freq="min", tz="UTC")
    pd.DataFrame({"timestamp": times, "cpu_usage": [1.0, 2.0, 3.0]}).to_csv(path, index=False)


@pytest.mark.parametrize("pattern", ["vm_*.csv", "*.csv", "vm_?.csv", "vm_1.csv", "*", "*1.csv"])
def test_a_node_is_named_like_its_file_whatever_the_pattern(tmp_path, pattern):
    some(tmp_path / "in" / "vm_1.csv")
    result = store.import_folder(tmp_path / "in", tmp_path / "out", parse=plain, pattern=pattern, jobs=1)
    assert result.failed == {} and store.nodes(tmp_path / "out") == ["vm_1"]


def test_endings_are_no_part_of_a_node_but_dots_are(tmp_path):
    for name in ("web.example.com.csv.gz", "10.0.0.1.csv.gz", "vm_2.csv.gz"):
        some(tmp_path / "in" / name)
    store.import_folder(tmp_path / "in", tmp_path / "out", parse=plain, pattern="*.csv.gz", jobs=1)
    assert store.nodes(tmp_path / "out") == ["vm_2", "10.0.0.1", "web.example.com"]


def test_two_files_of_one_node_in_a_folder_are_refused(tmp_path):
    some(tmp_path / "in" / "vm_1.csv")
    some(tmp_path / "in" / "vm_1.csv.gz", day=2)
    some(tmp_path / "in" / "vm_2.csv")
    result = store.import_folder(tmp_path / "in", tmp_path / "out", parse=plain, pattern="vm_*", jobs=1)
    assert result.nodes == 1 and list(result.failed) == ["vm_1"]
    assert "vm_1.csv and vm_1.csv.gz are of the same node, vm_1. Rename or remove" in result.failed["vm_1"]
