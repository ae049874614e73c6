"""Reading, checking, aggregating and writing telemetry. What is refused, and how, is in test_bad_inputs.py."""

import hashlib
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import planted, recording

from vdslib import telemetry
from vdslib.errors import TelemetryError
from vdslib.forecasting import prepare
from vdslib.telemetry import COLUMNS, MEASURED, SCHEMA

ROW = 4  # the data row that is changed


@pytest.fixture(scope="module")
def frame():
    return recording(120)


@pytest.fixture
def lines(frame, tmp_path):
    """The lines of a good file with two nodes, header first."""
    telemetry.write(frame[frame["node"].isin(["node-1", "node-2"])], tmp_path / "good.csv")
    return (tmp_path / "good.csv").read_text().splitlines()


def damaged(lines, column, value):
    """The file's text with ``value`` in ``column`` of data row ROW."""
    fields = lines[ROW].split(",")
    fields[lines[0].split(",").index(column)] = value
    return "\n".join([*lines[:ROW], ",".join(fields), *lines[ROW + 1 :]]) + "\n"


def test_a_file_is_read_as_it_was_written(frame, tmp_path):
    for name in ("a.csv", "a.csv.gz"):
        telemetry.write(frame, tmp_path / name)
        back = telemetry.read(tmp_path / name)
        pd.testing.assert_frame_equal(back, telemetry.check(frame), check_exact=True)
    assert (tmp_path / "a.csv").read_text().splitlines()[1].startswith("2026-01-05T08:00:00Z,node-1,")


def test_types_follow_the_declaration(frame, tmp_path):
    telemetry.write(frame, tmp_path / "a.csv")
    types = telemetry.read(tmp_path / "a.csv").dtypes.astype(str)
    expected = {
        "time": "datetime64[us, UTC]",
        "number": "float64",
        "count": "int64",
        "flag": "int64",
        "text": "str",
    }
    assert dict(types) == {name: expected[COLUMNS[name].kind] for name in frame}


def test_rows_come_sorted_by_node_and_time(frame):
    by_time = frame.sort_values(["timestamp", "node"], ascending=[True, False])
    result = telemetry.check(by_time)
    assert result["node"].is_monotonic_increasing
    assert len(result) == len(frame)
    assert all(group["timestamp"].is_monotonic_increasing for _, group in result.groupby("node"))


def test_the_misspelt_column_is_accepted_and_written_right(frame, tmp_path):
    misspelt = frame.rename(columns={"system_productivity": "system_prodactivity"})
    misspelt.to_csv(tmp_path / "a.csv", index=False)
    assert "system_productivity" in telemetry.read(tmp_path / "a.csv")
    telemetry.write(misspelt, tmp_path / "b.csv")
    header = (tmp_path / "b.csv").read_text().splitlines()[0]
    assert "system_productivity" in header and "prodactivity" not in header


def test_optional_columns_stay_absent(frame, tmp_path):
    telemetry.write(frame[["timestamp", "node", "cpu_usage"]], tmp_path / "a.csv")
    assert list(telemetry.read(tmp_path / "a.csv")) == ["timestamp", "node", "cpu_usage"]


def test_undeclared_columns_are_kept(frame):
    result = telemetry.check(frame.assign(power="12.5", note="calm"))
    assert result["power"].dtype == float and result["power"].eq(12.5).all()
    assert result["note"].eq("calm").all()


def test_semicolons_and_decimal_commas_are_read_where_stated(lines, tmp_path):
    (tmp_path / "a.csv").write_text("\n".join(lines))
    (tmp_path / "b.csv").write_text("\n".join(lines).replace(",", ";").replace(".", ","))
    frame = telemetry.read(tmp_path / "b.csv", separator=";", decimal=",")
    pd.testing.assert_frame_equal(frame, telemetry.read(tmp_path / "a.csv"))


def test_empty_values_are_allowed_where_declared(lines, tmp_path):
    path = tmp_path / "a.csv"
    for column in [name for name, column in COLUMNS.items() if column.may_be_empty]:
        path.write_text(damaged(lines, column, ""))
        assert np.isnan(telemetry.read(path)[column].iloc[ROW - 1])


def test_a_byte_order_mark_is_no_part_of_the_header(lines, tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + "\n".join(lines).encode())
    assert "timestamp" in telemetry.read(tmp_path / "a.csv")


def test_nodes_may_alternate(lines, tmp_path):
    half = (len(lines) - 1) // 2
    rows = [line for pair in zip(lines[1 : half + 1], lines[half + 1 :], strict=True) for line in pair]
    (tmp_path / "a.csv").write_text("\n".join([lines[0], *rows]))
    assert len(telemetry.read(tmp_path / "a.csv")) == 2 * half


@pytest.mark.parametrize("column", MEASURED)
def test_one_measurement_is_enough_whichever_it_is(frame, column):
    result = telemetry.check(frame[["timestamp", "node", column]])
    assert list(result) == ["timestamp", "node", column]
    assert telemetry.default_target(result) == column


def test_settings_alone_are_no_telemetry(frame):
    only = [name for name in COLUMNS if name not in MEASURED]
    assert only[2:] == [
        "active", "active_nodes", "strategy", "slots", "cpu_cores", "cpu_mhz", "memory_mb", "temperature_c",
        "hypervisor",
    ]  # fmt: skip
    with pytest.raises(
        TelemetryError, match=r"no column of row 0 .* is a measurement; it has timestamp, node, active"
    ):
        telemetry.check(frame[only])


def test_the_schema_accepts_and_refuses_by_itself(frame):
    SCHEMA.validate(telemetry.check(frame))
    with pytest.raises(Exception, match="negative"):
        SCHEMA.validate(telemetry.check(frame).assign(demand=-1.0))


def test_the_system_series_by_hand():
    rows = [
        # node, cpu, disc, completed, latency, due, productivity, active nodes, strategy
        ("node-1", 10.0, 100.0, 1, 50.0, 3.0, 100.0, 2, "random"),
        ("node-2", 30.0, 300.0, 3, 90.0, 1.0, 20.0, 2, "random"),
    ]
    names = (
        "node cpu_usage disc_usage jobs_completed latency_mean work_due productivity active_nodes strategy"
    )
    names = names.replace("productivity", "system_productivity").split()
    frame = pd.DataFrame(rows, columns=names).assign(timestamp=pd.Timestamp("2026-01-05T08:00:00Z"))
    system = telemetry.system_series(telemetry.check(frame)).iloc[0]
    assert system["node"] == "system"
    assert system["cpu_usage"] == 20 and system["disc_usage"] == 400 and system["jobs_completed"] == 4
    assert system["latency_mean"] == pytest.approx((1 * 50 + 3 * 90) / 4)
    assert system["system_productivity"] == pytest.approx((3 * 100 + 1 * 20) / 4)
    assert system["active_nodes"] == 2 and system["strategy"] == "random"


def test_empty_values_carry_no_weight(frame):
    one = frame[frame["timestamp"] == frame["timestamp"].min()].copy()
    one["work_due"] = [1.0, 1.0, 0.0, 0.0]
    one["system_productivity"] = [40.0, 60.0, np.nan, np.nan]
    assert telemetry.system_series(one)["system_productivity"].item() == pytest.approx(50)
    one["system_productivity"] = np.nan
    assert np.isnan(telemetry.system_series(one)["system_productivity"].item())


def test_seconds_without_every_node_are_left_out_of_the_system(frame):
    with pytest.warns(UserWarning, match=r"1 of 120 times are left out .* without node-1 \(1%\)\. To choose"):
        system = telemetry.system_series(frame.drop(index=5))  # node-1, second 5
    assert len(system) == 119 and frame["timestamp"].iloc[5] not in set(system["timestamp"])
    apart = frame[(frame["node"] == "node-1") == (frame["timestamp"] < frame["timestamp"].iloc[60])]
    with pytest.raises(TelemetryError, match="no timestamp has a row of every node"):
        telemetry.system_series(apart, "all")
    half_a_second = pd.to_timedelta(np.where(frame["node"] == "node-1", 0, 0.5), unit="s")
    late = frame.assign(timestamp=frame["timestamp"] + half_a_second)
    two = late[late["node"].isin(["node-1", "node-2"])]
    for together in ("alive", "all", "present"):
        with pytest.raises(TelemetryError, match="align their times"):
            telemetry.system_series(two, together)


@pytest.fixture
def autoscaled(frame):
    """A node that is there from second 40 to 59 only, and a hole in another's recording in second 100."""
    second = (frame["timestamp"] - frame["timestamp"].min()).dt.total_seconds()
    lives = (frame["node"] != "node-4") | second.between(40, 59)
    return frame[lives & ((frame["node"] != "node-2") | (second != 100))].assign(
        cpu_usage=10.0, disc_usage=1.0
    )


@pytest.mark.parametrize(
    ("together", "rows", "told"),
    [
        (
            "alive",
            119,
            r"1 of 120 times are left out .* without node-2 \(1%\); at 99 of 119 times the system is",
        ),
        ("all", 20, r"100 of 120 times are left out .* without node-4 \(83%\), node-2 \(1%\)\. To choose"),
        ("present", 120, r": at 100 of 120 times the system is fewer nodes, without node-4 \(83%\), node-2"),
    ],
)
def test_a_system_is_the_nodes_that_it_has_at_each_time(autoscaled, together, rows, told):
    with pytest.warns(UserWarning, match=told) as caught:
        system = telemetry.select(autoscaled, "system", together)
    assert len(caught) == 1 and len(system) == rows
    assert (system["cpu_usage"] == 10).all()
    nodes = autoscaled.groupby("timestamp")["node"].nunique().loc[system["timestamp"]]
    np.testing.assert_array_equal(system["disc_usage"], nodes)
    pd.testing.assert_frame_equal(telemetry.check(system), system, check_dtype=False)
    with pytest.raises(ValueError, match="together must be 'alive', 'all' or 'present'"):
        telemetry.system_series(autoscaled, "some")


def test_a_whole_system_needs_no_warning(frame):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        series = [telemetry.system_series(frame, together) for together in ("alive", "all", "present")]
    for other in series[1:]:
        pd.testing.assert_frame_equal(other, series[0])


def test_no_window_of_the_system_crosses_a_resize():
    """Two nodes of 60 rows that are resized at row 30, and one at row 45 in a second that is left out."""
    random = np.random.default_rng(0)
    frame = pd.concat(planted(50 + random.random(60), node) for node in "ab").assign(cpu_cores=2.0)
    second = (frame["timestamp"] - frame["timestamp"].min()).dt.total_seconds()
    frame.loc[second >= 30, "cpu_cores"] = 4.0
    options = {"features": ["cpu_usage"], "target": "cpu_usage", "window": 5, "test": 0, "validation": 0}
    repaired, _ = telemetry.repair(frame.reset_index(drop=True))
    system = telemetry.select(repaired, "system")
    assert system["segment"].tolist() == [0] * 30 + [1] * 30
    assert len(prepare(system, **options).train) == 50
    larger = frame["cpu_cores"].mask((second >= 45) & (frame["node"] == "a"), 8.0)
    hole = frame.assign(cpu_cores=larger)[(second != 45) | (frame["node"] == "b")]
    repaired, _ = telemetry.repair(hole.reset_index(drop=True))
    with pytest.warns(UserWarning, match="left out"):
        system = telemetry.select(repaired, "system")
    assert system["segment"].tolist() == [0] * 30 + [1] * 15 + [2] * 14
    joined = frame[(frame["node"] == "a") | (second >= 10)].assign(segment=0.0, cpu_cores=2.0)
    with pytest.warns(UserWarning, match="fewer nodes"):
        assert (telemetry.select(joined, "system")["segment"] == 0).all()  # a node more is no resize


def test_the_system_series_is_telemetry_too(frame, tmp_path):
    system = telemetry.system_series(frame)
    telemetry.write(system, tmp_path / "system.csv")
    again = telemetry.system_series(telemetry.read(tmp_path / "system.csv"))
    pd.testing.assert_frame_equal(again, system, check_exact=True, check_dtype=False)


def test_selection_of_nodes(frame):
    assert set(telemetry.select(frame, "all")["node"]) == set(frame["node"])
    assert set(telemetry.select(frame, "node-2")["node"]) == {"node-2"}
    assert set(telemetry.select(frame, ["node-1", "node-3"])["node"]) == {"node-1", "node-3"}
    assert set(telemetry.select(frame, ["node-1", "system"])["node"]) == {"node-1", "system"}
    pd.testing.assert_frame_equal(telemetry.select(frame, "system"), telemetry.system_series(frame))
    for wrong in ("node-9", ["node-1", "node-9"], []):
        with pytest.raises(
            TelemetryError, match=r"column 'node'.*Choose 'system', 'all', or among node-1, node-2"
        ):
            telemetry.select(frame, wrong)


def test_the_default_target_is_what_the_source_measures(frame):
    assert telemetry.default_target(frame) == "system_productivity"
    assert telemetry.default_target(frame.assign(system_productivity=np.nan)) == "cpu_usage"
    assert telemetry.default_target(frame[["timestamp", "node", "cpu_usage"]]) == "cpu_usage"
    assert telemetry.default_target(frame[["timestamp", "node", "jobs_offered", "demand"]]) == "demand"


def test_writing_is_whole_or_not_at_all(frame, tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("before")
    with pytest.raises(TelemetryError):
        telemetry.write(frame.assign(cpu_usage=-1.0), path)

    def fail(target, content):
        target.write_text("half")
        raise OSError("disc full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disc full"):
        telemetry.write(frame, path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"] and path.read_text() == "before"


def test_the_same_telemetry_gives_the_same_bytes(frame, tmp_path):
    for name in ("a.csv.gz", "b.csv.gz"):
        telemetry.write(frame, tmp_path / name)
    assert telemetry.checksum(tmp_path / "a.csv.gz") == telemetry.checksum(tmp_path / "b.csv.gz")


def test_the_checksum_is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert telemetry.checksum(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_the_data_dictionary_has_every_column():
    table = telemetry.data_dictionary()
    assert list(table["column"]) == list(COLUMNS)
    assert table["meaning"].str.len().min() > 10
    assert dict(zip(table["column"], table["may be empty"], strict=True))["latency_mean"] == "yes"
