"""Files that people have: what is taken for what is said, and what may be wrong is refused or noted."""

import pandas as pd
import pytest
from synthetic import machine, what_was_found

from vdslib import telemetry
from vdslib.errors import TelemetryError


def written(tmp_path, *rows, header="timestamp,node,cpu_usage,disc_usage", name="a.csv"):
    """A file of rows, in which {time} is a minute after that of the row before."""
    lines = [row.replace("{time}", f"2026-03-02T08:{n:02}:00Z") for n, row in enumerate(rows)]
    path = tmp_path / name
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_rows_in_descending_order_are_sorted_only_when_that_is_chosen():
    frame = machine()[::-1].reset_index(drop=True)
    with pytest.raises(
        TelemetryError, match=r"39 of 40 rows would be left out: state policies=\{'clock_back': 'sort'\}"
    ):
        telemetry.repair(frame)
    repaired, report = telemetry.repair(frame, {"clock_back": "sort"})
    assert report.lost == 0
    pd.testing.assert_frame_equal(repaired, telemetry.check(machine()))


def test_a_percent_sign_is_removed(tmp_path):
    path = written(tmp_path, "{time},a,30.5%,1", "{time},a,31 %,1")
    repaired, report = telemetry.repair(telemetry.load(path))
    assert list(repaired["cpu_usage"]) == [30.5, 31] and what_was_found(report) == {"percent_sign": (2, 0)}


def test_a_value_that_is_left_out_is_shown(tmp_path):
    path = written(tmp_path, "{time},a,30,1", "{time},a,much,1", "{time},a,30,-7")
    report = telemetry.validate(telemetry.load(path))
    assert list(report.table["action"]) == ["the row is left out: much", "the row is left out: -7"]


def test_commas_of_another_column_tell_what_a_comma_means(tmp_path):
    path = written(tmp_path, '{time},a,"30,5","1,234"', '{time},a,"31,5","2,345"')
    repaired, _ = telemetry.repair(telemetry.load(path), {"decimal_comma": "convert"})
    assert list(repaired["disc_usage"]) == [1.234, 2.345]


@pytest.mark.parametrize("other", ["12.5", '"1,234.5"'])
def test_commas_and_points_before_decimals_are_no_numbers_of_one_column(tmp_path, other):
    path = written(tmp_path, '{time},a,30,"1,5"', "{time},a,30," + other)
    with pytest.raises(
        TelemetryError, match="'disc_usage', row 1: .* Correct the column: some of its numbers"
    ):
        telemetry.repair(telemetry.load(path), {"decimal_comma": "convert"})


def test_a_repair_says_how_a_file_with_other_separators_is_read(tmp_path):
    path = written(tmp_path, "{time};a;1;2", header="timestamp;node;cpu_usage;disc_usage")
    with pytest.raises(TelemetryError, match="Read the file with separator=';'"):
        telemetry.repair(telemetry.load(path))


def test_a_repair_says_how_times_in_another_order_are_read(tmp_path):
    path = written(tmp_path, "31.01.2026 05:00,a,30,1", "31.01.2026 05:01,a,31,2")
    with pytest.raises(TelemetryError, match="Read the file with time_format='%d.%m.%Y %H:%M' if"):
        telemetry.repair(telemetry.load(path))
    read = telemetry.read(path, time_format="%d.%m.%Y %H:%M")
    assert f"{read['timestamp'].iloc[1]:%Y-%m-%dT%H:%M:%SZ}" == "2026-01-31T05:01:00Z"


def test_a_file_in_another_encoding_is_read_as_stated(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("timestamp,node,cpu_usage\n2026-03-02T08:00:00Z,Zürich,30\n", encoding="utf-16")
    assert list(telemetry.read(path, encoding="utf-16")["node"]) == ["Zürich"]
    with pytest.raises(
        TelemetryError, match="encoding='klingon' is not possible. Give the name of an encoding"
    ):
        telemetry.read(path, encoding="klingon")


FRACTIONS = {
    "the whole file": [0.30, 0.41, 0.35, 0.45, 0.5, 0.38],
    "from one row on": [30, 41, 35, 0.45, 0.5, 0.38],
}


@pytest.mark.parametrize("values", FRACTIONS.values(), ids=FRACTIONS)
def test_fractions_in_place_of_percentages_are_noted_and_not_repaired(tmp_path, values):
    path = written(tmp_path, *[f"{{time}},a,{value},1" for value in values])
    assert any(
        "column 'cpu_usage', node a: numbers between 0.3" in note
        for note in telemetry.read(path).attrs["notes"]
    )
    with pytest.raises(TelemetryError, match="column 'cpu_usage', node a: numbers between 0.3"):
        telemetry.repair(telemetry.load(path))
    telemetry.repair(telemetry.load(path), units={"cpu_usage": "percent"})


def test_a_machine_that_idles_now_and_then_raises_no_doubt(tmp_path):
    path = written(
        tmp_path, *[f"{{time}},a,{value},1" for value in (0.4, 0.5, 0.3, 40, 45, 50, 0.4, 0.5, 0.3)]
    )
    assert "notes" not in telemetry.read(path).attrs


NOTED = {
    "names alike": (
        ["{time},web,30,1", "{time},Web,30,1"],
        "nodes 'Web' and 'web' are taken as different ones",
    ),
    "numbers alike": (
        ["{time},007,30,1", "{time},7,30,1"],
        "nodes '007' and '7' are taken as different ones",
    ),
    "year 1": (
        ["0001-01-01T00:00:00Z,a,30,1"],
        "times from 1-01-01 to 1-01-01 are not all between 1990 and 2100",
    ),
    "year 9999": (["9999-01-01T00:00:00Z,a,30,1"], "times from 9999-01-01 to 9999-01-01 are not all between"),
}


@pytest.mark.parametrize(("rows", "note"), NOTED.values(), ids=NOTED)
def test_what_may_be_meant_otherwise_is_noted(tmp_path, rows, note):
    assert any(note in each for each in telemetry.read(written(tmp_path, *rows)).attrs["notes"])


def test_points_that_may_stand_between_thousands_are_noted(tmp_path):
    path = written(tmp_path, "{time};a;30.0;1.200", header="timestamp;node;cpu_usage;disc_usage")
    notes = telemetry.read(path, separator=";").attrs["notes"]
    (note,) = notes
    assert note.startswith(
        "column 'disc_usage': 1.200 is taken as 1.2; if the point stands between thousands, state "
    )


def test_a_repair_says_what_lines_lack_and_which_column_is_empty(tmp_path):
    header = "timestamp,node,cpu_usage,system_productivity"
    notes = telemetry.repair(telemetry.load(written(tmp_path, "{time},a,30,", "{time},a,31", header=header)))[
        0
    ].attrs["notes"]
    assert notes[0].startswith("1 line ends before the last column, the first in row 2")
    assert notes[1] == "column 'system_productivity' has no value in any row"


def test_a_percent_sign_says_percent_whatever_was_stated_and_whatever_the_decimals(tmp_path):
    path = written(tmp_path, '{time},a,"30,5%",1', '{time},a,"0,31",1', '{time},a,"0,32",1')
    repaired, _ = telemetry.repair(
        telemetry.load(path), {"decimal_comma": "convert"}, units={"cpu_usage": "fraction"}
    )
    assert list(repaired["cpu_usage"]) == pytest.approx([30.5, 31, 32])


def test_a_stated_format_is_that_of_all_times(tmp_path):
    """2026-13-02 is the 13th of February then, and 2026-02-14 must not be taken for the 14th of it."""
    path = written(tmp_path, "2026-13-02 00:00,a,30,1", "2026-02-14 00:00,a,31,1")
    with pytest.raises(
        TelemetryError, match="row 2 .line 3 of the file.: '2026-02-14 00:00' is not written as time_format="
    ):
        telemetry.read(path, time_format="%Y-%d-%m %H:%M")


def test_one_time_written_otherwise_is_left_out_by_a_repair(tmp_path):
    path = written(tmp_path, "{time},a,30,1", "31.01.2026 05:00,a,31,1", "{time},a,32,1")
    repaired, report = telemetry.repair(telemetry.load(path))
    assert len(repaired) == 2 and what_was_found(report)["invalid"] == (1, 1)


def test_the_way_out_may_have_two_steps(tmp_path):
    path = written(tmp_path, "{time};a;30,5;1.234,5", header="timestamp;node;cpu_usage;disc_usage")
    with pytest.raises(TelemetryError, match="read the file with decimal=','"):
        telemetry.read(path, separator=";")
    with pytest.raises(TelemetryError, match="state thousands='.' too"):
        telemetry.read(path, separator=";", decimal=",")
    assert telemetry.read(path, separator=";", decimal=",", thousands=".")["disc_usage"][0] == 1234.5


def test_many_short_lines_are_told_by_the_first(tmp_path):
    header = "timestamp,node,cpu_usage,memory_usage"
    path = written(tmp_path, "{time},a,30,1", *["{time},a,31"] * 9, header=header)
    loaded = telemetry.load(path)
    assert loaded.attrs["short"] == (1, 3) and loaded.attrs["notes"][0].startswith(
        "9 lines end before the last column"
    )
