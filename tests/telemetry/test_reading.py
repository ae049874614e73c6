"""Files that people bring: how they are written, how their columns and times are called, and what is said of it."""

import gzip

import numpy as np
import pandas as pd
import pytest

from vdslib import sources, telemetry
from vdslib.cli import main, parser
from vdslib.errors import TelemetryError
from vdslib.telemetry import forms, stem

MAPPED = ["--column", "timestamp", "Time", "--column", "cpu_usage", "web-1"]
MAPPING = {"timestamp": "Time", "cpu_usage": "web-1"}


def table(rows=30, node="web-1", **columns):
    """Telemetry of one node, a row a minute."""
    times = pd.date_range("2026-03-02T08:00:00Z", periods=rows, freq="min")
    usage = 50 + 10 * np.sin(np.arange(rows))
    return pd.DataFrame({"timestamp": times, "node": node, "cpu_usage": usage, **columns})


def file(tmp_path, frame, name="a.csv", **form):
    """A file in which pandas wrote a table."""
    path = tmp_path / name
    frame.assign(timestamp=frame["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")).to_csv(
        path, index=False, **form
    )
    return path


def text(tmp_path, content, name="a.csv"):
    (tmp_path / name).write_text(content)
    return tmp_path / name


def imported(capsys, *given):
    """What the command ends with, prints, and says on stderr."""
    code = main(["import", *map(str, given)])
    said = capsys.readouterr()
    return code, said.out, said.err


def refusal(read, *given, **named):
    with pytest.raises(TelemetryError) as caught:
        read(*given, **named)
    return str(caught.value)


# ------------------------------------------------------------------------------------------ numbers kept


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet"])
def test_every_number_survives_being_written(tmp_path, name):
    rng = np.random.default_rng(0)
    frame = table(
        2000,
        cpu_usage=rng.uniform(0, 100, 2000),
        requests_total=123456000 + 7 * np.arange(2000),
        nanoseconds=1772438400000000001 + 10**9 * np.arange(2000),
        wide=rng.uniform(1, 10, 2000) * 10.0 ** rng.integers(-12, 15, 2000),
    )
    telemetry.write(frame, tmp_path / name)
    back = telemetry.read(tmp_path / name)
    pd.testing.assert_frame_equal(back, telemetry.check(frame), check_exact=True)
    assert (back["nanoseconds"] == frame["nanoseconds"]).all()  # more digits than a float has


def test_counters_and_clocks_survive_an_import(tmp_path, capsys):
    path = file(tmp_path, table(60, total=123456000 + 7 * np.arange(60), at=1772438400 + 60 * np.arange(60)))
    for out in (tmp_path / "b.csv", tmp_path / "b.parquet"):
        assert imported(capsys, path, "--out", out)[0] == 0
        back = telemetry.read(out)
        assert back["total"].nunique() == back["at"].nunique() == 60 and back["at"].iloc[-1] == 1772441940


# ----------------------------------------------------------------------------------------- names of columns


def test_row_numbers_without_a_name_are_no_measurement(tmp_path, capsys):
    frame = table(40).rename(columns={"cpu_usage": "load1"})
    path = tmp_path / "a.csv"
    frame.to_csv(path)
    read = sources.read(path)
    assert list(read) == ["timestamp", "node", "load1"] and sources.default_target(read) == "load1"
    assert "the column without a name is left out" in read.attrs["notes"][0]
    pd.read_csv(path).to_csv(path)  # twice, as happens: a column is then called Unnamed: 0
    assert list(sources.read(path)) == ["timestamp", "node", "load1"]
    assert "target load1" in imported(capsys, path, "--out", tmp_path / "b.csv")[1]
    assert list(telemetry.repair(telemetry.load(path))[0]) == ["timestamp", "node", "load1"]


@pytest.mark.parametrize("name", ["index", "level_0", "Unnamed: 0"])
@pytest.mark.parametrize(
    "numbers", [range(40), range(1, 41), [*range(20), *range(20)]], ids=["0", "1", "joined"]
)
def test_labels_of_rows_that_became_columns_are_left_out(name, numbers):
    frame = table(40).rename(columns={"cpu_usage": "load1"})
    frame.insert(0, name, list(numbers))
    checked = telemetry.check(frame)
    assert name not in checked and len(checked.attrs["notes"]) == 1


def test_a_measured_column_called_index_stays():
    frame = table(40)
    assert "index" in telemetry.check(frame.assign(index=frame["cpu_usage"]))


def test_what_only_counts_on_is_no_target():
    rows = np.arange(30)
    frame = table(30).rename(columns={"cpu_usage": "load1"})
    for name, values in (("row", rows), ("clock", 1772438400 + 60 * rows), ("itemid", 7)):
        frame.insert(2, name, values)
    assert telemetry.default_target(telemetry.check(frame)) == "load1"
    assert telemetry.default_target(telemetry.check(frame.drop(columns="load1"))) == "itemid"  # nothing else


def test_a_comma_at_the_end_of_each_line_makes_no_column(tmp_path):
    path = file(tmp_path, table(3))
    path.write_text(path.read_text().replace("\n", ",\n"))
    read = telemetry.read(path)
    assert list(read) == ["timestamp", "node", "cpu_usage"] and not read.attrs.get("notes")


def test_spaces_and_capitals_make_no_other_column(tmp_path, capsys):
    frame = table(20, **{" memory_usage": 40.0, "Disc_usage": 5.0, "NETWORK USAGE ": 6.0})
    path = file(tmp_path, frame)
    read = sources.read(path)
    assert list(read) == ["timestamp", "node", "cpu_usage", "memory_usage", "disc_usage", "network_usage"]
    assert any("'Disc_usage' is taken as disc_usage" in note for note in read.attrs["notes"])
    repaired, _ = telemetry.repair(telemetry.load(path))
    assert {"memory_usage", "disc_usage", "network_usage"} <= set(repaired)
    assert "note: column 'Disc_usage' is taken as" in imported(capsys, path, "--out", tmp_path / "b.csv")[1]


def test_two_columns_that_become_one_are_refused(tmp_path):
    path = file(tmp_path, table(5, CPU_usage=1.0))
    assert "column 'cpu_usage' occurs twice in the header" in refusal(telemetry.read, path)
    path = text(tmp_path, "timestamp,node,cpu_usage, cpu_usage\n2026-03-02T08:00:00Z,a,1,2\n")
    assert "column 'cpu_usage' occurs twice in row 0 (the header)" in refusal(telemetry.read, path)


def test_a_name_that_is_nearly_ours_is_told_with_what_to_state(tmp_path, capsys):
    path = file(tmp_path, table(5, disk_usage=3.0))
    note = "column 'disk_usage' is not taken as disc_usage in KB/s; if it is that, state "
    assert sources.read(path).attrs["notes"] == [note + "vds import with --column disc_usage disk_usage"]
    assert telemetry.read(path).attrs["notes"] == [note + "columns={'disc_usage': 'disk_usage'}"]
    out = tmp_path / "b.csv"
    assert f"note: {note}--column disc_usage disk_usage\n" in imported(capsys, path, "--out", out)[1]
    assert telemetry.read(path, {"disc_usage": "disk_usage"})["disc_usage"].eq(3).all()


def test_a_column_that_is_mapped_must_occur_once(tmp_path):
    path = text(tmp_path, "when,busy,busy\n2026-03-02T08:00:00Z,1,2\n")
    said = refusal(telemetry.read, path, {"timestamp": "when", "cpu_usage": "busy"})
    assert "column 'busy', which the mapping takes as cpu_usage, occurs twice in row 0" in said


def test_names_of_nodes_have_no_space_around(tmp_path):
    path = text(tmp_path, "timestamp,node,cpu_usage\n2026-03-02T08:00:00Z,a,1\n2026-03-02T08:01:00Z, a,2\n")
    assert set(telemetry.read(path)["node"]) == {"a"}
    assert set(telemetry.repair(telemetry.load(path))[0]["node"]) == {"a"}


def test_a_column_that_is_nearly_all_numbers_is_told(tmp_path):
    path = file(tmp_path, table(5, load1=["1", "2", "n/a", "4", "5"], note="calm"))
    (note,) = telemetry.read(path).attrs["notes"]
    assert note == "column 'load1' stays text, since the value of row 3, 'n/a', is no number"


def test_a_date_in_a_column_of_its_own_is_no_number(tmp_path):
    frame = table(5, booted=pd.Timestamp("2026-03-01"))
    frame.to_parquet(tmp_path / "a.parquet")
    assert telemetry.read(tmp_path / "a.parquet")["booted"].dtype.kind == "M"


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("vm_1.csv", "vm_1"),
        ("vm_1.csv.gz", "vm_1"),
        ("vm_1.parquet", "vm_1"),
        ("web.example.com.csv", "web.example.com"),
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1.csv", "10.0.0.1"),
        ("plain", "plain"),
        (".csv", ".csv"),
    ],
)
def test_a_node_is_named_by_its_file_without_the_ending(name, node):
    assert stem(name) == node


# ------------------------------------------------------------------------------------------------ times


def clock_change(tmp_path, step=5, name="a.csv"):
    """Local times of Berlin over the night in which clocks were put back, and the moments that they are."""
    moments = pd.date_range("2025-10-25T22:00Z", "2025-10-26T03:55Z", freq=f"{step}min")
    wall = moments.tz_convert("Europe/Berlin").tz_localize(None)
    frame = pd.DataFrame({"Time": wall.astype(str), "web-1": 50 + 10 * np.sin(np.arange(len(wall)))})
    frame.to_csv(tmp_path / name, index=False)
    return tmp_path / name, moments


@pytest.mark.parametrize("step", [1, 5, 30, 60])
@pytest.mark.parametrize("repair", [[], ["--repair"]], ids=["import", "repair"])
def test_an_hour_that_comes_twice_is_kept_where_the_zone_is_stated(tmp_path, capsys, step, repair):
    path, moments = clock_change(tmp_path, step)
    out = tmp_path / "b.parquet"
    code, _, said = imported(capsys, path, *MAPPED, "--zone", "Europe/Berlin", *repair, "--out", out)
    assert code == 0, said
    back = telemetry.read(out)
    assert list(back["timestamp"]) == list(moments)
    assert list(back["cpu_usage"]) == list(telemetry.load(path, MAPPING)["cpu_usage"].astype(float))


def test_a_clock_change_is_refused_with_a_zone_that_helps(tmp_path, capsys):
    path, moments = clock_change(tmp_path)
    code, _, said = imported(capsys, path, *MAPPED, "--out", tmp_path / "b.csv")
    assert code == 2 and "column 'timestamp', row 37 (line 38 of the file): 2025-10-26T02:00:00Z " in said
    assert "state the zone of these times, such as --zone Europe/Berlin. Else: " in said
    assert "zone='Europe/Berlin'" in refusal(telemetry.read, path, MAPPING)
    said = refusal(sources.read, path, MAPPING)
    assert "such as ?zone=Europe/Berlin after the name of the file" in said
    assert len(sources.read(f"{path}?zone=Europe/Berlin", MAPPING)) == len(moments)


def test_a_repair_of_a_clock_change_says_which_zone_keeps_the_rows(tmp_path, capsys):
    path, _ = clock_change(tmp_path)
    said = imported(capsys, path, *MAPPED, "--repair", "--out", tmp_path / "b.csv")[1]
    assert "if clocks were put back from summer time then, state --zone Europe/Berlin" in said


def test_rows_in_no_order_are_not_called_a_change_of_clocks(tmp_path):
    path, _ = clock_change(tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[40:50], *lines[1:12]]))
    assert "zone" not in refusal(telemetry.read, path, MAPPING)


def test_times_that_a_zone_has_never_or_twice_are_refused(tmp_path):
    path = text(tmp_path, "timestamp,node,cpu_usage\n2026-03-29 01:55:00,a,1\n2026-03-29 02:30:00,a,2\n")
    said = refusal(telemetry.read, path, zone="Europe/Berlin")
    assert "row 2 (line 3 of the file): '2026-03-29 02:30:00' does not exist in Europe/Berlin" in said
    path = text(tmp_path, "timestamp,node,cpu_usage\n2026-10-25 02:30:00,a,1\n2026-10-25 02:40:00,a,2\n")
    said = refusal(telemetry.read, path, zone="Europe/Berlin")
    assert "row 1 (line 2 of the file): '2026-10-25 02:30:00' comes twice in Europe/Berlin" in said


def test_times_without_an_offset_are_told(tmp_path):
    path = text(tmp_path, "timestamp,node,cpu_usage\n2026-03-02 08:00:00,a,1\n2026-03-02T08:01:00Z,a,2\n")
    read = telemetry.read(path)
    assert "1 of 2 times have no offset and are taken as UTC; zone='" in read.attrs["notes"][0]
    read = telemetry.read(f"{path}?zone=Africa/Abidjan")
    assert not read.attrs.get("notes") and "zone" not in read.attrs


def test_offsets_of_several_kinds_are_one_time(tmp_path):
    times = ["2026-03-02T08:00:00Z", "2026-03-02T09:01:00+01:00", "2026-03-02T13:32:00+0530"]
    path = text(tmp_path, "timestamp,node,cpu_usage\n" + "".join(f"{time},a,1\n" for time in times))
    expected = pd.date_range("2026-03-02T08:00:00Z", periods=3, freq="min")
    assert list(telemetry.read(path)["timestamp"]) == list(expected)


@pytest.mark.parametrize("word", ["now", "today", "1000", "2026", "2026-03", "1000.5", "08:00:00"])
def test_what_is_no_moment_is_no_time(tmp_path, word):
    path = text(tmp_path, f"timestamp,node,cpu_usage\n2026-03-02T08:00:00Z,a,10\n{word},a,20\n")
    assert f"column 'timestamp', row 2 (line 3 of the file): '{word}' is not a time" in refusal(
        telemetry.read, path
    )
    repaired, report = telemetry.repair(telemetry.load(path))
    assert len(repaired) == 1 and report.lost == 1


STARTED = {
    "seconds": np.arange(1, 400),
    "four digits": 1000 + 1000 * np.arange(8),
    "fractions": np.arange(60) * 0.5,
    "microseconds of a month": 600_000_000 + 300_000_000 * np.arange(8900),
    "microseconds of its last days": 864_000_000_000 + 300_000_000 * np.arange(2000),
    "negative": np.arange(-30, 30),
}


@pytest.mark.parametrize("numbers", STARTED.values(), ids=lambda _: "")
@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_times_counted_from_a_start_are_refused_with_column_and_reason(tmp_path, capsys, numbers, name):
    frame = table(len(numbers)).assign(timestamp=numbers)
    path = tmp_path / name
    frame.to_csv(path, index=False) if name == "a.csv" else frame.to_parquet(path)
    for given in ([], ["--repair"]):
        code, _, said = imported(capsys, path, *given, "--out", tmp_path / "b.csv")
        assert code == 2 and f"{path}: column 'timestamp', row" in said and "--unit" not in said
        assert "counted from a start that is not stated, or in a unit that is not stated" in said
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_numbers_since_1970_are_taken_where_nothing_else_is_possible(tmp_path, unit, name):
    frame = table(60)
    micro = frame["timestamp"].astype("datetime64[us, UTC]").astype("int64")
    numbers = micro * 1000 if unit == "ns" else micro // {"s": 10**6, "ms": 1000, "us": 1}[unit]
    path = tmp_path / name
    numbered = frame.assign(timestamp=numbers)
    numbered.to_csv(path, index=False) if name == "a.csv" else numbered.to_parquet(path)
    read = sources.read(path)
    assert list(read["timestamp"]) == list(frame["timestamp"])
    assert read.attrs["notes"] == [
        (
            f"column 'timestamp' has numbers, which are taken as {unit} since 1970 (UTC): from 2026-03-02T08:00:00Z to "
            "2026-03-02T08:59:00Z"
        )
    ]


def test_hours_since_1970_are_refused_with_a_unit_that_helps(tmp_path, capsys):
    """Steps of thousands of seconds may be microseconds of a trace: then the unit is to be stated."""
    path = tmp_path / "a.csv"
    frame = table(48).assign(timestamp=1772438400 + 3600 * np.arange(48))
    frame.to_csv(path, index=False)
    said = imported(capsys, path, "--out", tmp_path / "b.csv")[2]
    assert (
        "State --unit timestamp s. That makes the times 2026-03-02T08:00:00Z to 2026-03-04T07:00:00Z." in said
    )
    assert imported(capsys, path, "--unit", "timestamp", "s", "--out", tmp_path / "b.csv")[0] == 0
    assert telemetry.read(tmp_path / "b.csv")["timestamp"].iloc[-1] == pd.Timestamp("2026-03-04T07:00:00Z")


def test_a_unit_that_loses_rows_is_refused_though_it_is_stated(tmp_path, capsys):
    path = tmp_path / "a.csv"
    numbers = STARTED["microseconds of a month"]
    table(len(numbers)).assign(timestamp=numbers).to_csv(path, index=False)
    code, _, said = imported(capsys, path, "--unit", "timestamp", "ms", "--out", tmp_path / "b.csv")
    assert code == 2 and "numbers from 600000000 to 2670300000000 are not counted in 'ms'" in said


@pytest.mark.parametrize("index", [["timestamp"], ["node", "timestamp"]])
def test_an_index_of_parquet_is_taken(tmp_path, index):
    frame = table(20)
    frame.set_index(index).to_parquet(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(
        telemetry.read(tmp_path / "a.parquet")[list(frame)], telemetry.check(frame), check_freq=False
    )


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_an_index_of_times_without_a_name_is_the_time(tmp_path, name):
    frame = table(20).set_index("timestamp").rename_axis(None)
    frame.to_csv(tmp_path / name) if name == "a.csv" else frame.to_parquet(tmp_path / name)
    read = telemetry.read(tmp_path / name)
    assert list(read["timestamp"]) == list(table(20)["timestamp"])
    assert "the column without a name has times and is taken as timestamp" in read.attrs["notes"]


def test_an_index_with_another_name_is_told(tmp_path):
    table(20).rename(columns={"timestamp": "Time"}).set_index("Time").to_parquet(tmp_path / "a.parquet")
    said = refusal(telemetry.read, tmp_path / "a.parquet")
    assert "Column 'Time' has times: state columns={'timestamp': 'Time'}." in said
    assert len(telemetry.read(tmp_path / "a.parquet", {"timestamp": "Time"})) == 20


# ---------------------------------------------------------------------------------------------- options


ZABBIX = "itemid;clock;value\n" + "".join(f"7;{1772438400 + 60 * row};{row},5\n" for row in range(20))
ZABBIX_MAPPING = {"timestamp": "clock", "cpu_usage": "value"}
ZABBIX_COLUMNS = ["--column", "timestamp", "clock", "--column", "cpu_usage", "value"]


def test_one_parser_serves_command_address_and_python(tmp_path, capsys):
    path = text(tmp_path, ZABBIX, "zabbix.csv")
    out = tmp_path / "b.csv"
    code, _, said = imported(
        capsys, path, "--separator", ";", "--decimal", ",", *ZABBIX_COLUMNS, "--out", out
    )
    assert code == 0, said
    expected = telemetry.read(out)
    assert expected["cpu_usage"].tolist() == [row + 0.5 for row in range(20)]
    for read in (telemetry.read, sources.read):
        for result in (
            read(path, ZABBIX_MAPPING, separator=";", decimal=","),
            read(f"{path}?separator=;&decimal=,", ZABBIX_MAPPING),
            read(f"{path}?separator=%3B&decimal=%2C", ZABBIX_MAPPING),
            read(f"{path}?separator=;", ZABBIX_MAPPING, decimal=","),
        ):
            pd.testing.assert_frame_equal(result[list(expected)], expected)
    address = f"{path}?separator=;&decimal=,"
    assert imported(capsys, address, *ZABBIX_COLUMNS, "--out", out)[0] == 0


def test_remedies_are_named_as_their_reader_states_them(tmp_path, capsys):
    path = text(tmp_path, ZABBIX)
    said = imported(capsys, path, "--out", tmp_path / "b.csv")[2]
    assert said.endswith("separated by ';' and not by ','. Read the file with --separator ';'.\n")
    assert "Read the file with separator=';'." in refusal(telemetry.read, path)
    assert "Read the file with ?separator=; after the name of the file." in refusal(sources.read, str(path))
    tabs = text(tmp_path, ZABBIX.replace(";", "\t"))
    assert "--separator tab" in imported(capsys, tabs, "--out", tmp_path / "b.csv")[2]
    given = ["--separator", "tab", "--decimal", ",", *ZABBIX_COLUMNS]
    assert imported(capsys, tabs, *given, "--out", tmp_path / "b.csv")[0] == 0


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"seperator": ";"},
            "option 'seperator' is not known. Did you mean separator? Files have separator,",
        ),
        ({"separator": ";;"}, "separator=';;' is not possible. Give one sign"),
        ({"decimal": "x"}, "decimal='x' is not possible. Give one sign"),
        ({"zone": "Mars/Olympus"}, "zone='Mars/Olympus' is not possible. Give the name of a time zone"),
        ({"thousands": "."}, "the sign '.' cannot stand before decimals and between thousands"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path, options, problem):
    path = file(tmp_path, table(3))
    assert refusal(telemetry.read, path, **options).startswith(f"{path}: {problem}")


def test_options_behind_a_name_are_checked_too(tmp_path):
    path = file(tmp_path, table(3))
    assert "option 'sep' is not known. Write ?name=value" in refusal(sources.read, f"{path}?sep=;")
    assert "option 'zone' is stated twice" in refusal(telemetry.read, f"{path}?zone=UTC", zone="UTC")
    assert "options of reading are for files" in refusal(sources.read, "recorded?separator=;")
    assert "the option 'zone' is for files" in refusal(sources.read, "bitbrains:2013-8/332", zone="UTC")
    odd = file(tmp_path, table(3), "a?b=c.csv")
    assert len(sources.read(str(odd))) == 3  # a file of that very name is that file


def test_every_option_is_one_of_the_command():
    options = parser().parse_args(["import", "a.csv", "--out", "b.csv", "--zone", "UTC"])
    assert options.form == {"zone": "UTC"}
    assert set(forms.OPTIONS) == set(forms.Form.__dataclass_fields__)


def test_options_are_for_files_and_not_for_folders(tmp_path, capsys):
    code, _, said = imported(capsys, tmp_path, "--zone", "UTC", "--out", tmp_path / "store")
    assert code == 2 and "--zone, --column and repair are for single sources" in said


def test_a_run_knows_a_file_that_has_options_behind_its_name(tmp_path):
    path = file(tmp_path, table(3))
    assert sources.files(f"{path}?zone=UTC") == sources.files(str(path)) == [path]


# ---------------------------------------------------------------------------------------------- numbers


THOUSANDS = "timestamp,node,cpu_usage,disc_usage\n" + "".join(
    f'2026-03-02T08:0{row}:00Z,a,{value},"{row + 1},234"\n' for row, value in enumerate((50, 51, 52))
)


def test_a_comma_between_thousands_is_never_taken_as_decimal(tmp_path, capsys):
    path, out = text(tmp_path, THOUSANDS), tmp_path / "b.csv"
    for given in ([], ["--repair"], ["--policy", "decimal_comma", "convert"]):
        code, _, said = imported(capsys, path, *given, "--out", out)
        assert code == 2 and "column 'disc_usage', row 1" in said and "--thousands ," in said
        assert "--policy" not in said
    assert imported(capsys, path, "--thousands", ",", "--out", out)[0] == 0
    assert telemetry.read(out)["disc_usage"].tolist() == [1234, 2234, 3234]
    assert imported(capsys, path, "--thousands", ",", "--repair", "--out", out)[0] == 0
    assert telemetry.read(out)["disc_usage"].tolist() == [1234, 2234, 3234]
    # whoever says that it is the decimal sign is believed
    assert telemetry.read(path, decimal=",")["disc_usage"].tolist() == [1.234, 2.234, 3.234]


def test_the_decimal_comma_is_offered_only_where_it_can_be_read(tmp_path):
    path = text(tmp_path, THOUSANDS.replace(",50,", ",50.5,"))  # another column has points
    said = refusal(telemetry.read, path)
    assert "If the comma stands between thousands, read the file with thousands=','." in said
    assert "decimal" not in said.partition("Write it with")[2].replace("a decimal point", "")
    with pytest.raises(TelemetryError, match=r"Read the file with thousands=','\.$"):
        telemetry.repair(telemetry.load(path))


def test_a_decimal_comma_that_is_one_is_converted(tmp_path):
    path = text(tmp_path, THOUSANDS.replace('"2,234"', '"2,5"'))  # so the comma is decimal in all rows
    said = refusal(telemetry.repair, telemetry.load(path))
    assert "Choose a policy for 'decimal_comma': policies={'decimal_comma': 'convert'}." in said
    repaired, _ = telemetry.repair(telemetry.load(path), {"decimal_comma": "convert"})
    assert repaired["disc_usage"].tolist() == [1.234, 2.5, 3.234]


def test_signs_between_thousands_must_stand_where_they_belong(tmp_path):
    path = text(tmp_path, THOUSANDS.replace('"2,234"', '"2,5"'))
    said = refusal(telemetry.read, path, thousands=",")
    assert "column 'disc_usage', row 2 (line 3 of the file): '2,5' has ',' elsewhere than between" in said
    german = THOUSANDS.replace(",", ";").replace('"', "").replace("1;234", "1.234,5")
    path = text(tmp_path, german.replace("2;234", "2.234").replace("3;234", "3.234.000"))
    said = refusal(telemetry.read, path, separator=";", decimal=",")
    assert "was stated. If the point stands between thousands, state thousands='.' too. Else read" in said
    read = telemetry.read(path, separator=";", decimal=",", thousands=".")
    assert read["disc_usage"].tolist() == [1234.5, 2234, 3234000]


def test_other_columns_have_the_stated_signs_too(tmp_path):
    path = text(tmp_path, "timestamp;node;cpu_usage;load1;address\n2026-03-02T08:00:00Z;a;1,5;2,5;10.0.0.1\n")
    read = telemetry.read(path, separator=";", decimal=",")
    assert read["load1"].item() == 2.5 and read["address"].item() == "10.0.0.1"


def test_a_column_without_any_value_is_told_as_a_whole(tmp_path, capsys):
    path = file(tmp_path, table(4, disc_usage=""))
    said = refusal(telemetry.read, path)
    assert "the column has no value in any row. Remove the column." in said
    assert imported(capsys, path, "--repair", "--out", tmp_path / "b.csv")[0] == 0


def test_a_unit_is_advised_only_if_it_is_right_for_every_node(tmp_path):
    busy, other = table(20), table(20, node="web-2")
    both = pd.concat([busy, other.assign(cpu_usage=other["cpu_usage"] / 100)])
    said = refusal(telemetry.repair, both)
    assert "node web-2" in said and "fraction" not in said and "Convert it to percent" in said


def test_what_is_left_of_nothing_is_said_with_columns_and_rows(tmp_path, capsys):
    path = file(tmp_path, table(3, cpu_usage=-1.0))
    said = imported(capsys, path, "--repair", "--out", tmp_path / "b.csv")[2]
    assert (
        "no row is left of 3: invalid 3 (column 'cpu_usage', rows 1, 2, 3 from 2026-03-02T08:00:00Z)" in said
    )


def test_a_compressed_file_with_a_mark_and_quotes_is_read(tmp_path):
    content = '"timestamp","node","cpu_usage"\n"2026-03-02T08:00:00Z","a","-0.0"\n'
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(content.encode("utf-8-sig")))
    assert telemetry.read(tmp_path / "a.csv.gz")["cpu_usage"].item() == 0
