"""Damage in telemetry: each kind by itself, generated mixtures of all kinds, and four files of real machines."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import START, machine, recording, what_was_found

from vdslib import telemetry
from vdslib.cli import main
from vdslib.errors import TelemetryError
from vdslib.forecasting import prepare
from vdslib.telemetry import FAULTS, SCHEMA

GENERATED = settings(max_examples=30, deadline=None, derandomize=True, database=None)


def same(one, other):
    pd.testing.assert_frame_equal(one, other)
    assert one.attrs == other.attrs


# ------------------------------------------------------------------------------------ each by itself


def test_clean_telemetry_is_left_as_it_is():
    frame = recording(120)
    repaired, report = telemetry.repair(frame)
    assert (
        report.table.empty
        and report.lost == 0
        and str(report) == "telemetry: 480 rows, 0 lost; no damage found"
    )
    pd.testing.assert_frame_equal(repaired, telemetry.check(frame))


def test_every_fault_has_a_default_and_a_line_in_the_table():
    table = telemetry.faults()
    assert list(table["fault"]) == list(FAULTS)
    assert all(row["default"].startswith(FAULTS[row["fault"]].default + ": ") for _, row in table.iterrows())


def test_validate_reports_what_repair_does_and_changes_nothing():
    frame = pd.concat([machine(), machine().tail(3)]).assign(timestamp=lambda f: f["timestamp"].astype(str))
    frame.iloc[5, 2] = -1
    before = frame.copy()
    report = telemetry.validate(frame)
    _, done = telemetry.repair(frame)
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(report.table, done.table)
    assert (report.rows, report.lost) == (done.rows, done.lost) == (43, 4)
    assert report.table.to_dict("records")[0] == {
        "fault": "invalid",
        "column": "cpu_usage",
        "node": "a",
        "where": "row 6 from 2026-03-02T08:05:00Z",
        "rows": 1,
        "lost": 1,
        "action": "the row is left out: -1.0",
    }


def test_an_outage_stays_a_gap_that_no_window_crosses():
    frame = machine(120).drop(index=range(50, 60))
    repaired, report = telemetry.repair(frame, {"irregular": "grid"}, interval=60)
    assert len(repaired) == 110 and what_was_found(report) == {"outage": (1, 0)}
    assert "0 days 00:11:00" in report.table["action"].item()
    windows = prepare(repaired, features=["number"], target="number", window=5, test=0, validation=0).train
    numbers = np.column_stack([windows.x[:, :, 0], windows.y[:, 0]]) * 119
    assert len(windows) == (50 - 5) + (60 - 5) and np.allclose(np.diff(numbers), 1)


def test_a_shutdown_and_a_late_start_are_left_out_or_kept():
    frame = machine()
    frame.loc[:4, ["cpu_cores", "cpu_usage"]] = 0
    frame.loc[20:29, ["cpu_cores", "cpu_usage"]] = 0
    repaired, report = telemetry.repair(frame)
    assert what_was_found(report) == {"late_start": (5, 5), "shutdown": (10, 10), "outage": (1, 0)}
    assert list(repaired["number"]) == [*range(5, 20), *range(30, 40)]
    repaired, report = telemetry.repair(frame, {"late_start": "keep", "shutdown": "keep"})
    assert len(repaired) == 40 and report.lost == 0


def test_repeated_times_of_a_machine_switched_off_are_told_apart():
    off = machine(10).assign(cpu_cores=0.0, cpu_usage=0.0, number=0.0)
    differing = off.tail(2).assign(disc_usage=7.0)
    frame = pd.concat([machine(30), off.assign(timestamp=off["timestamp"] + pd.Timedelta("30min"))])
    later = frame.tail(10)
    frame = pd.concat([frame, later, differing.assign(timestamp=later["timestamp"].tail(2))])
    frame = frame.sort_values("timestamp", kind="stable")
    repaired, report = telemetry.repair(frame)
    assert what_was_found(report) == {"duplicate": (10, 10), "repeated_time": (2, 2), "shutdown": (10, 10)}
    assert len(repaired) == 30


def test_a_resize_is_marked_and_windows_stay_on_one_side():
    frame = machine(80)
    frame.loc[40:, "cpu_cores"] = 4.0
    repaired, report = telemetry.repair(frame)
    assert (
        what_was_found(report) == {"resize": (1, 0)}
        and "(first from 2 to 4)" in report.table["action"].item()
    )
    assert list(repaired["segment"]) == [0] * 40 + [1] * 40
    pd.testing.assert_series_equal(repaired["cpu_usage"], frame["cpu_usage"])
    windows = prepare(repaired, features=["number"], target="number", window=5, test=0, validation=0).train
    assert len(windows) == 2 * (40 - 5)


def test_a_resize_is_recomputed_for_the_largest_capacity():
    frame = machine(80)
    frame.loc[40:, "cpu_cores"] = 4.0
    frame.loc[:39, "memory_mb"] = 1024.0
    repaired, _ = telemetry.repair(frame, {"resize": "recompute"})
    factor = np.where(frame.index < 40, 0.5, 1.0)
    np.testing.assert_allclose(repaired["cpu_usage"], frame["cpu_usage"] * factor)
    np.testing.assert_allclose(
        repaired["memory_usage"], frame["memory_usage"] * factor / 2 * (1 + (factor == 1))
    )
    assert set(repaired["cpu_cores"]) == {4} and set(repaired["memory_mb"]) == {4096}
    assert "segment" not in repaired


def test_a_capacity_that_wavers_is_no_resize():
    frame = machine()
    frame["memory_mb"] = 4096 + np.arange(len(frame)) % 3
    assert telemetry.validate(frame).table.empty


def test_usages_above_the_capacity_are_kept_or_clipped():
    frame = machine()
    frame.loc[3, "cpu_usage"] = 106.0
    frame.loc[[4, 5], "memory_usage"] = 150.0
    repaired, report = telemetry.repair(frame)
    assert what_was_found(report) == {"above_100": (1, 0), "memory_over_capacity": (2, 0)}
    assert repaired["cpu_usage"][3] == 106 and repaired["memory_usage"][4] == 150
    repaired, _ = telemetry.repair(frame, {"above_100": "clip", "memory_over_capacity": "clip"})
    assert repaired["cpu_usage"].max() == repaired["memory_usage"].max() == 100


def test_uneven_steps_are_kept_unless_a_grid_is_wanted():
    frame = machine(10)
    frame["timestamp"] += pd.to_timedelta([0, 3, 0, 0, 15, 0, 0, 0, 0, 0], unit="s")
    repaired, report = telemetry.repair(frame)
    assert what_was_found(report) == {"irregular": (4, 0)}
    pd.testing.assert_series_equal(repaired["timestamp"], frame["timestamp"].astype("datetime64[us, UTC]"))
    repaired, report = telemetry.repair(frame, {"irregular": "grid"}, interval=60)
    assert list(repaired["timestamp"]) == list(machine(10)["timestamp"])
    assert (report.lost, report.replaced, report.interpolated) == (0, 2, 2)
    number = repaired["number"]  # between 0 s and 63 s, and between 180 s and 255 s
    assert number[1] == pytest.approx(60 / 63) and number[4] == pytest.approx(3 + 60 / 75)
    assert repaired["jobs_completed"][4] == frame["jobs_completed"][4]  # a count comes from the nearer row


def test_a_grid_reaches_no_further_than_the_limit():
    frame = machine(20).drop(index=[5, 10, 11])
    for limit, missing in ((1.5, [5, 10, 11]), (2, [10, 11]), (3, [])):
        repaired, report = telemetry.repair(frame, {"irregular": "grid"}, interval=60, limit=limit)
        assert len(repaired) == 20 - len(missing)
        assert report.interpolated == 3 - len(missing) and report.replaced == report.lost == 0
    assert repaired["number"].tolist() == pytest.approx(range(20))


def test_a_grid_joins_nodes_that_are_measured_at_different_moments():
    frame = pd.concat(
        [machine(30), machine(30, "b").assign(timestamp=lambda f: f["timestamp"] + pd.Timedelta("7s"))]
    )
    with pytest.raises(TelemetryError, match="no timestamp has a row of every node"):
        telemetry.system_series(telemetry.repair(frame)[0])
    repaired, _ = telemetry.repair(frame, {"irregular": "grid"}, interval=60)
    assert len(telemetry.system_series(repaired, together="all")) == 29


def test_of_a_clock_that_went_back_the_fewer_rows_are_left_out():
    frame = machine()
    frame.loc[30:, "timestamp"] -= pd.Timedelta(
        "3min30s"
    )  # rows 30 to 32 are earlier than row 29, 27 to 29 later
    repaired, report = telemetry.repair(frame)
    assert report.lost == 3 and what_was_found(report)["clock_back"] == (3, 3)
    assert set(range(40)) - set(repaired["number"]) == {30, 31, 32}  # of two equal sets the second
    ahead = machine()
    ahead.loc[7, "timestamp"] += pd.Timedelta("30min")
    repaired, report = telemetry.repair(ahead)
    assert report.lost == 1 and 7 not in set(repaired["number"])


def test_rows_out_of_order_can_be_sorted():
    frame = machine().sample(frac=1, random_state=0)
    repaired, report = telemetry.repair(frame, {"clock_back": "sort"})
    assert report.lost == 0 and list(repaired["number"]) == list(range(40))


@pytest.mark.parametrize(("policy", "left"), [("first", [1.0]), ("last", [2.0]), ("drop", [])])
def test_rows_of_one_time_that_differ(policy, left):
    frame = machine()
    frame["disc_usage"] = 5.0
    twice = frame.loc[[6, 6]].assign(disc_usage=[1.0, 2.0])
    frame = pd.concat([frame[:6], twice, frame[7:]])
    repaired, report = telemetry.repair(frame, {"repeated_time": policy})
    assert repaired.loc[repaired["number"] == 6, "disc_usage"].tolist() == left
    assert report.lost == 2 - len(left)


def test_units_are_converted_where_they_are_stated():
    frame = machine()
    other = frame.assign(
        cpu_usage=frame["cpu_usage"] / 100,
        disc_usage=frame["disc_usage"] * 1024,
        memory_mb=frame["memory_mb"] * 1024,
        latency_mean=frame["latency_mean"] / 1000,
        timestamp=frame["timestamp"].astype("int64") // 10**6,
    )
    units = {
        "cpu_usage": "fraction",
        "disc_usage": "bytes/s",
        "memory_mb": "KB",
        "latency_mean": "s",
        "timestamp": "s",
    }
    repaired, report = telemetry.repair(other, units=units)
    pd.testing.assert_frame_equal(repaired, telemetry.check(frame))
    assert report.table.empty
    same(repaired, telemetry.repair(repaired, units=units)[0])  # not converted again


def test_an_idle_machine_is_believed_when_percent_is_stated():
    frame = machine().assign(cpu_usage=0.5)
    assert (
        telemetry.validate(frame)
        .table["action"]
        .item()
        .startswith("refused. State units={'cpu_usage': 'frac")
    )
    repaired, _ = telemetry.repair(frame, units={"cpu_usage": "percent"})
    assert set(repaired["cpu_usage"]) == {0.5}
    same(repaired, telemetry.repair(repaired)[0])


def test_offsets_are_kept_apart_and_times_without_one_belong_to_the_zone():
    frame = machine(4)
    texts = [
        "2026-03-02T10:00:00+02:00",
        "2026-03-02T08:01:00Z",
        "2026-03-02T03:02:00-0500",
        "2026-03-02 08:03",
    ]
    repaired, report = telemetry.repair(frame.assign(timestamp=texts))
    assert list(repaired["timestamp"]) == list(frame["timestamp"])
    assert report.table.to_dict("records")[0]["action"] == "taken as UTC" and what_was_found(report) == {
        "time_zone": (1, 0)
    }
    local = frame["timestamp"].dt.tz_convert("Europe/Kyiv").dt.tz_localize(None)
    for wall in (local, local.astype(str), local.dt.strftime("%Y-%m-%dT%H:%M:%S")):
        repaired, report = telemetry.repair(frame.assign(timestamp=wall), zone="Europe/Kyiv")
        assert list(repaired["timestamp"]) == list(frame["timestamp"])
        assert what_was_found(report) == {"time_zone": (4, 0)}


@pytest.mark.parametrize("date", ["2026-03-29", "2026-10-25"], ids=["spring", "autumn"])
def test_a_change_to_or_from_summer_time(date):
    frame = machine(60, step=300).assign(
        timestamp=lambda f: f["timestamp"] - START + pd.Timestamp(f"{date}T00:00Z") - pd.Timedelta("2h")
    )
    wall = frame["timestamp"].dt.tz_convert("Europe/Kyiv").dt.tz_localize(None)
    repaired, report = telemetry.repair(frame.assign(timestamp=wall.astype(str)), zone="Europe/Kyiv")
    assert list(repaired["timestamp"]) == list(frame["timestamp"]) and report.lost == 0


def test_an_hour_that_comes_twice_or_never_is_not_guessed():
    frame = machine(60, step=300).assign(
        timestamp=lambda f: f["timestamp"] - START + pd.Timestamp("2026-10-25")
    )
    frame["timestamp"] = frame["timestamp"].dt.tz_localize(None)
    repaired, report = telemetry.repair(frame, zone="Europe/Kyiv")  # 03:00 to 03:55, which came twice
    assert report.lost == 12 and set(range(60)) - set(repaired["number"]) == set(range(36, 48))
    frame["timestamp"] += pd.Timestamp("2026-03-29") - pd.Timestamp("2026-10-25")
    _, report = telemetry.repair(frame, zone="Europe/Kyiv")  # 03:00 to 03:55, which never came
    assert report.lost == 12 and "the zone has this time twice or never" in str(report)


def test_marks_commas_and_empty_columns():
    frame = machine().rename(columns={"timestamp": "\ufefftimestamp"})
    frame["cpu_usage"] = frame["cpu_usage"].map("{:.3f}".format).str.replace(".", ",")
    frame["disc_usage"] = ""
    frame["latency_mean"] = np.nan  # may be empty, so it stays
    repaired, report = telemetry.repair(frame, {"decimal_comma": "convert"})
    assert what_was_found(report) == {"byte_order_mark": (40, 0), "decimal_comma": (40, 0), "absent": (40, 0)}
    np.testing.assert_allclose(repaired["cpu_usage"], machine()["cpu_usage"], atol=5e-4)
    assert "disc_usage" not in repaired and repaired["latency_mean"].isna().all()


def test_a_bad_value_that_may_be_empty_costs_no_row():
    frame = machine()
    frame.loc[3, "latency_mean"] = -1.0
    repaired, report = telemetry.repair(frame)
    assert len(repaired) == 40 and np.isnan(repaired["latency_mean"][3]) and report.lost == 0


def test_a_dirty_file_is_repaired_from_its_text(tmp_path):
    path = tmp_path / "a.csv"
    telemetry.write(machine(), path)
    lines = path.read_text().splitlines()
    path.write_bytes(
        b"\xef\xbb\xbf" + "\n".join([*lines[:9], lines[8], *lines[9:30], "", lines[30][:25]]).encode()
    )
    with pytest.raises(TelemetryError):
        telemetry.read(path)
    repaired, report = telemetry.repair(telemetry.load(path))
    lost = {fault: lost for fault, (_, lost) in what_was_found(report).items() if lost}
    assert lost == {"empty": 2, "duplicate": 1}  # the blank line, the line cut off; the line written twice
    assert report.rows == 32 and report.lost == 3 and list(repaired["number"]) == list(range(29))


def test_parquet_and_files_with_other_names_are_loaded_for_repair_too(tmp_path):
    damaged = machine().assign(memory_mb=4096.0 * 1024)
    damaged.to_parquet(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(telemetry.load(tmp_path / "a.parquet"), damaged, check_freq=False)
    (tmp_path / "w.csv").write_text("when,busy\n2026-03-02T08:00:00Z,1\n")
    loaded = telemetry.load(tmp_path / "w.csv", {"timestamp": "when", "cpu_usage": "busy"})
    assert loaded.iloc[0].to_dict() == {"timestamp": "2026-03-02T08:00:00Z", "cpu_usage": "1", "node": "w"}


# ------------------------------------------------------------------------------------ by the command


BITBRAINS = """Timestamp [ms];\tCPU cores;\tCPU capacity provisioned [MHZ];\tCPU usage [MHZ];\tCPU usage [%];\t\
Memory capacity provisioned [KB];\tMemory usage [KB];\tDisk read throughput [KB/s];\t\
Disk write throughput [KB/s];\tNetwork received throughput [KB/s];\tNetwork transmitted throughput [KB/s]
"""


def bitbrains_file(path):
    """A machine in the format of Bitbrains: uneven steps, off for three rows, one row twice, then larger."""
    seconds = [1375308000 + 300 * row + (row % 3 == 1) for row in range(40)]
    cores = [2] * 20 + [0] * 3 + [4] * 17
    rows = [
        f"{t};\t{c};\t{2000.0 * c};\t100.0;\t{50.0 / c if c else 0};\t{2.0**20 * c};\t{2.0**19 * c};"
        "\t1.0;\t2.0;\t3.0;\t4.0\n"
        for t, c in zip(seconds, cores, strict=True)
    ]
    path.write_text(BITBRAINS + "".join([*rows[:5], rows[4], *rows[5:]]))


def imported(*given):
    return main(["import", *map(str, given)])


@pytest.mark.parametrize("name", ["{}", "bitbrains:{}"])
def test_import_repairs_and_reports(tmp_path, capsys, name):
    path, out = tmp_path / "7.csv", tmp_path / "out.parquet"
    bitbrains_file(path)
    given = name.format(path)
    assert imported(given, "--repair", "--out", out) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index(f"{given}: 41 rows, 4 lost")
    table = {line.split()[0]: line for line in lines[start + 2 : -1]}
    assert set(table) == {"duplicate", "shutdown", "resize", "irregular", "outage"}
    assert re.search(r"rows 22, 23, 24 from 2013-07-31T\S+ +3 +3 +the rows are left out", table["shutdown"])
    assert re.search(r"row 6 from \S+ +1 +1 +the first is kept", table["duplicate"])
    assert lines[-1] == f"imported {out}: 37 rows of 1 node; target cpu_usage"
    assert len(telemetry.read(out)) == 37


def test_import_takes_policies_and_an_interval(tmp_path, capsys):
    path, out = tmp_path / "7.csv", tmp_path / "out.parquet"
    bitbrains_file(path)
    policies = ["--policy", "irregular", "grid", "--policy", "resize", "recompute", "--interval", "300"]
    assert imported(path, *policies, "--out", out) == 0
    printed = capsys.readouterr().out
    count = re.search(r"41 rows, (\d+) lost, (\d+) replaced by (\d+) interpolated", printed)
    back = telemetry.read(out)
    lost, replaced, new = map(int, count.groups())
    assert len(back) == 41 - lost - replaced + new and replaced > 0
    assert (back["timestamp"].astype("int64") % 300_000_000 == 0).all()
    assert "segment" not in back and (back["cpu_cores"] == 4).all()
    assert back["cpu_usage"].to_numpy() == pytest.approx(12.5)  # 25% of 2 cores are 12.5% of 4


def test_import_takes_units(tmp_path, capsys):
    path, out = tmp_path / "a.csv", tmp_path / "out.csv"
    machine().assign(memory_mb=4096 * 1024).to_csv(path, index=False)
    assert imported(path, "--repair", "--out", out) == 2
    assert "State --unit memory_mb KB" in capsys.readouterr().err and not out.exists()
    assert imported(path, "--unit", "memory_mb", "KB", "--out", out) == 0
    assert (telemetry.read(out)["memory_mb"] == 4096).all()


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["--policy", "outge", "keep"], "no fault is called 'outge'. Choose byte_order_mark"),
        (["--policy", "outage", "fill"], "'fill' is no policy for 'outage'. Choose keep, refuse"),
        (["--policy", "irregular", "grid"], "the policy 'grid' needs an interval"),
        (["--policy", "outage", "refuse"], "a gap in the rows of a node"),
        (["--repair", "--interval", "0"], "--interval 0.0 must be a number above 0"),
        (["--unit", "memory_mb", "pages"], "pages"),
    ],
)
def test_import_refuses_wrong_repairs_and_leaves_nothing(tmp_path, capsys, given, problem):
    path, out = tmp_path / "a.csv", tmp_path / "out.csv"
    machine().drop(index=7).to_csv(path, index=False)
    assert imported(path, *given, "--out", out) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(f"vds import: {path}: ") and problem in captured.err
    assert not out.exists()


def test_import_of_a_folder_does_not_repair(tmp_path, capsys):
    assert imported(tmp_path, "--repair", "--out", tmp_path / "store") == 2
    assert "repair are for single sources" in capsys.readouterr().err


# ------------------------------------------------------------------------------- generated damage

DAMAGE = {
    "outage": lambda f, i: f.drop(index=f.index[i : i + 7]),
    "off": lambda f, i: changed(f, i, 6, cpu_cores=0, cpu_usage=0),
    "late": lambda f, i: changed(f, 0, i, cpu_cores=0),
    "resize": lambda f, i: changed(f, i, len(f), cpu_cores=8),
    "resize for a moment": lambda f, i: changed(f, i, 2, memory_mb=1000),
    "above 100": lambda f, i: changed(f, i, 3, cpu_usage=130.5, memory_usage="140"),
    "jitter": lambda f, i: shifted(f, i, 9, lambda n: (n * 7919) % 23 - 11),
    "clock back": lambda f, i: shifted(f, i, len(f), lambda n: -200),
    "clock ahead": lambda f, i: shifted(f, i, 1, lambda n: 3600),
    "shuffle": lambda f, i: pd.concat([f[:i], f[i : i + 6][::-1], f[i + 6 :]]),
    "duplicate": lambda f, i: pd.concat([f[: i + 2], f[i : i + 2], f[i + 2 :]]),
    "repeated": lambda f, i: pd.concat([f[: i + 1], f[i : i + 1].assign(disc_usage=7), f[i + 1 :]]),
    "empty": lambda f, i: changed(f, i, 1, cpu_usage=""),
    "nothing": lambda f, i: changed(f, i, 2, jobs_completed=None, latency_mean=None),
    "text": lambda f, i: changed(f, i, 1, memory_usage="much"),
    "negative": lambda f, i: changed(f, i, 1, disc_usage=-1.5, latency_mean=-1),
    "infinite": lambda f, i: changed(f, i, 1, disc_usage=np.inf),
    "half": lambda f, i: changed(f, i, 1, jobs_completed=2.5),
    "comma": lambda f, i: changed(f, i, 2, disc_usage="12,5"),
    "no time": lambda f, i: changed(f, i, 1, timestamp="yesterday"),
    "no node": lambda f, i: changed(f, i, 1, node=""),
    "naive": lambda f, i: changed(f, i, 3, timestamp="2026-03-02T08:01:30"),
    "1970": lambda f, i: changed(f, i, 1, timestamp="1970-01-01T00:00:00Z"),
    "lost column": lambda f, i: f.assign(disc_usage=None),
}
POLICIES = {"decimal_comma": "convert", "clock_back": "drop"}
CHOICES = st.fixed_dictionaries(
    {
        name: st.sampled_from(sorted(set(fault.policies) - {"refuse", "grid"}))
        for name, fault in FAULTS.items()
        if name != "units"
    }
    | {"decimal_comma": st.just("convert")}
)


def changed(frame, start, count, **values):
    """A table with other values in some rows."""
    frame = frame.astype({name: object for name in values})
    for name, value in values.items():
        frame.iloc[start : start + count, frame.columns.get_loc(name)] = value
    return frame


def shifted(frame, start, count, seconds):
    """A table with other times in some rows."""
    part = frame["timestamp"].iloc[start : start + count]
    times = pd.to_datetime(part, format="ISO8601", errors="coerce", utc=True)
    moved = times + pd.to_timedelta([seconds(n) for n in range(len(part))], unit="s")
    new = moved.dt.strftime("%Y-%m-%dT%H:%M:%SZ").where(times.notna(), part)
    frame = frame.copy()
    frame.iloc[start : start + count, frame.columns.get_loc("timestamp")] = new.to_numpy()
    return frame


@st.composite
def damaged(draw):
    """Telemetry of two machines with up to six kinds of damage anywhere, as a loosely typed table."""
    frames = []
    for node in "ab":
        frame = machine(draw(st.integers(12, 40)), node, seed=draw(st.integers(0, 9)))
        frame = frame.assign(timestamp=frame["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")).astype(object)
        for kind in draw(st.lists(st.sampled_from(sorted(DAMAGE)), max_size=6)):
            frame = DAMAGE[kind](frame, draw(st.integers(0, len(frame) - 1))).reset_index(drop=True)
        frames.append(frame)
    both = pd.concat(frames, ignore_index=True)
    if draw(st.booleans()):  # rows of both nodes alternate, in order within each
        both = both.iloc[np.argsort([n for frame in frames for n in range(len(frame))], kind="stable")]
    return both.reset_index(drop=True)


def or_nothing_left(frame, *arguments, **named):
    """The repaired table and the report; None where damage left no row, which must be said as such."""
    try:
        return telemetry.repair(frame, *arguments, **named)
    except TelemetryError as error:
        assert f"no row is left of {len(frame)}" in str(error)
        return None


def moments(frame):
    """What identifies a row."""
    return set(zip(frame["node"], frame["timestamp"], strict=True))


@GENERATED
@given(damaged(), CHOICES)
def test_generated_damage_is_repaired(frame, policies):
    done = or_nothing_left(frame, policies)
    report = telemetry.validate(frame, policies)
    if done is None:
        assert report.lost == len(frame)
        return
    repaired, made = done
    pd.testing.assert_frame_equal(report.table, made.table)
    SCHEMA.validate(repaired)
    assert telemetry.check(repaired).equals(repaired)
    # exact count
    assert made.lost == len(frame) - len(repaired) == made.table["lost"].sum()
    assert made.replaced == made.interpolated == 0
    # no row is invented, and none gets the values of another
    given_times = pd.to_datetime(frame["timestamp"], format="ISO8601", errors="coerce", utc=True)
    given_rows = set(zip(frame["node"], given_times, frame["number"].astype(float), strict=True))
    assert set(zip(repaired["node"], repaired["timestamp"], repaired["number"], strict=True)) <= given_rows
    again, second = telemetry.repair(repaired, policies)
    same(again, repaired)
    assert second.lost == 0


@GENERATED
@given(damaged(), st.sampled_from([1.0, 1.5, 3.0]), st.sampled_from([30, 60, 90]), st.booleans())
def test_a_grid_invents_nothing_beyond_its_limit(frame, limit, interval, recompute):
    policies = {**POLICIES, "resize": "recompute" if recompute else "mark"}
    before = or_nothing_left(frame, policies)
    grid = {**policies, "irregular": "grid"}
    after = before and or_nothing_left(frame, grid, interval=interval, limit=limit)
    if not after:
        return
    recorded, made = before
    repaired, report = after
    SCHEMA.validate(repaired)
    assert report.rows - report.lost - report.replaced + report.interpolated == len(repaired)
    assert report.lost == report.table["lost"].sum()
    kept = moments(repaired) & moments(recorded)
    assert report.interpolated == len(repaired) - len(kept)
    assert report.lost + report.replaced == made.lost + len(recorded) - len(kept)
    assert (repaired["timestamp"].astype("int64") % (interval * 10**6) == 0).all()
    for node, rows in repaired.groupby("node"):
        source = recorded[recorded["node"] == node].reset_index(drop=True)
        right = source["timestamp"].searchsorted(rows["timestamp"])
        left = source["timestamp"].searchsorted(rows["timestamp"], side="right") - 1
        first, second = source.iloc[left].reset_index(drop=True), source.iloc[right].reset_index(drop=True)
        assert ((second["timestamp"] - first["timestamp"]).dt.total_seconds() <= limit * interval).all()
        for name in ("cpu_usage", "jobs_completed", "number"):
            value = rows[name].reset_index(drop=True)
            low, high = np.minimum(first[name], second[name]), np.maximum(first[name], second[name])
            assert ((value >= low) & (value <= high)).all()
        if "segment" in source:
            assert (first["segment"] == second["segment"]).all()
    again, second_report = telemetry.repair(repaired, grid, interval=interval, limit=limit)
    same(again, repaired)
    assert second_report.lost == second_report.replaced == second_report.interpolated == 0


@GENERATED
@given(st.permutations(range(2, 38, 2)), st.data())
def test_the_rows_lost_to_each_fault_are_counted_exactly(places, data):
    frame = machine().astype({"cpu_usage": object})
    kinds = ["empty", "invalid", "duplicate", "repeated_time", "shutdown"]
    expected = {}
    frame["order"] = frame["number"]
    extra = []
    for kind in kinds:
        count = data.draw(st.integers(0, 3))
        rows, places = places[:count], places[count:]
        if count:
            expected[kind] = (count, count)
        if kind == "empty":
            frame.loc[rows, "cpu_usage"] = None
        if kind == "invalid":
            frame.loc[rows, "cpu_usage"] = -5.0
        if kind == "shutdown":
            frame.loc[rows, "cpu_cores"] = 0.0
        if kind == "duplicate":
            extra.append(frame.loc[rows])
        if kind == "repeated_time":
            extra.append(frame.loc[rows].assign(disc_usage=0.5))
    dirty = pd.concat([frame, *extra]).sort_values("order", kind="stable")
    repaired, report = telemetry.repair(dirty)
    counted = {fault: numbers for fault, numbers in what_was_found(report).items() if fault != "outage"}
    assert counted == expected
    assert len(repaired) == len(dirty) - sum(count for count, _ in expected.values())


# ------------------------------------------------------------------------------------ real machines

NAMES = [
    "cpu_cores",
    "cpu_mhz",
    "used",
    "cpu_usage",
    "memory_mb",
    "memory",
    "read",
    "written",
    "received",
    "sent",
]


@pytest.fixture
def dirty():
    """Reads one of the four files with real faults; needs the public traces on this machine."""
    traces = os.environ.get("VDS_TRACES")
    if not traces:
        pytest.skip("VDS_TRACES names no folder with bitbrains-rnd-dirty")

    def read(month, machine):
        path = Path(traces) / "bitbrains-rnd-dirty" / month / f"{machine}.csv"
        raw = pd.read_csv(path, sep=";\t", engine="python", header=0, names=["timestamp", *NAMES])
        raw["memory_usage"] = (100 * raw["memory"] / raw["memory_mb"]).where(raw["memory_mb"] > 0, 0)
        raw["disc_usage"], raw["network_usage"] = raw["read"] + raw["written"], raw["received"] + raw["sent"]
        kept = [
            "timestamp",
            "cpu_usage",
            "memory_usage",
            "disc_usage",
            "network_usage",
            "cpu_cores",
            "memory_mb",
        ]
        return raw[kept].assign(node=machine)

    return read


UNITS = {"timestamp": "s", "memory_mb": "KB"}
FILES = {
    ("2013-7", "400"): (1937, 0, {"outage": (1, 0), "irregular": (69, 0)}),
    ("2013-9", "41"): (
        1951,
        1199,
        {
            "duplicate": (408, 408),
            "repeated_time": (2, 2),
            "shutdown": (789, 789),
            "above_100": (282, 0),
            "irregular": (26, 0),
        },
    ),
    ("2013-8", "54"): (1438, 671, {"late_start": (671, 671), "above_100": (14, 0), "irregular": (27, 0)}),
    ("2013-8", "204"): (
        1724,
        0,
        {
            "above_100": (1, 0),
            "memory_over_capacity": (1, 0),
            "resize": (13, 0),
            "outage": (3, 0),
            "irregular": (61, 0),
        },
    ),
}


@pytest.mark.parametrize("file", FILES, ids="/".join)
def test_the_faults_of_real_machines_are_found_and_repaired(dirty, file):
    frame, (rows, lost, faults) = dirty(*file), FILES[file]
    repaired, report = telemetry.repair(frame, units=UNITS)
    assert (report.rows, report.lost, what_was_found(report)) == (rows, lost, faults)
    same(telemetry.repair(repaired)[0], repaired)


def test_a_real_outage_is_crossed_by_no_window(dirty):
    repaired, report = telemetry.repair(
        dirty("2013-7", "400"), {"irregular": "grid"}, units=UNITS, interval=300
    )
    outage = report.table[report.table["fault"] == "outage"].iloc[0]
    assert outage["where"].endswith("2013-07-17T19:50:00Z") and "1 days 06:45:00" in outage["action"]
    windows = prepare(repaired, features=["cpu_usage"], target="cpu_usage", test=0, validation=0).train
    begun = windows.times - np.timedelta64(10 * 300, "s")
    gap = [np.datetime64("2013-07-16T13:05:00"), np.datetime64("2013-07-17T19:50:00")]
    assert not ((begun <= gap[0]) & (windows.times >= gap[1])).any()
    assert len(windows) == len(repaired) - 2 * 10


def test_a_real_resize_is_marked_where_it_happened(dirty):
    repaired, _ = telemetry.repair(dirty("2013-8", "204"), units=UNITS)
    first = repaired.loc[repaired["segment"] > 0, "timestamp"].iloc[0]
    assert first == pd.Timestamp("2013-08-26T07:02:49Z")


def test_a_header_that_says_ms_over_seconds_is_refused(dirty):
    with pytest.raises(TelemetryError, match=r"are not counted in 'ms'\. State units=\{'timestamp': 's'\}"):
        telemetry.repair(dirty("2013-8", "54"), units={**UNITS, "timestamp": "ms"})
