"""The matrix of bad inputs: for each, what is wrong with it and the message that its user reads.

Files are read by ``telemetry.read`` and given to ``vds run``; tables and arguments go to the function that takes
them. After every refusal the folder holds what it held before.
"""

import gzip
import re
from urllib.parse import quote

import nbformat
import numpy as np
import pandas as pd
import pytest
from synthetic import recording

from vdslib import telemetry
from vdslib.cli import main
from vdslib.errors import TelemetryError
from vdslib.experiments import notebooks
from vdslib.telemetry import COLUMNS

ROW = 4  # the data row that is damaged; its line in the file is one more
HERE = f"row {ROW} (line {ROW + 1} of the file): "
LEAVE_OUT = "Or leave out the row."
CORRECT = "Correct the value, or leave out the row."
FILL_IN = "the value is empty or NaN. Fill it in, or leave out the row."
COMPLETE = "Check that the file is complete and is CSV in UTF-8."
HEADER = "timestamp,node,cpu_usage\n"
FIRST = "2026-01-05T08:00:00Z,node-1,12.5\n"


@pytest.fixture(scope="module")
def frame():
    return recording(60)


@pytest.fixture(scope="module")
def lines(tmp_path_factory, frame):
    """The lines of a good file with two nodes, header first."""
    path = tmp_path_factory.mktemp("good") / "good.csv"
    telemetry.write(frame[frame["node"].isin(["node-1", "node-2"])], path)
    return path.read_text().splitlines()


def value(column, text):
    """Damage to one value of row ROW."""

    def damage(lines):
        fields = lines[ROW].split(",")
        fields[lines[0].split(",").index(column)] = text
        return "\n".join([*lines[:ROW], ",".join(fields), *lines[ROW + 1 :]]) + "\n"

    return damage


def without(column):
    """Damage to the header: a column goes by another name."""
    return lambda lines: "\n".join([lines[0].replace(column, "else"), *lines[1:]])


def missing(column):
    """What is said about a required column that is not there."""
    return f"column '{column}' is missing from row 0 (the header), which has "


def cut_archive(lines):
    """Half of a compressed file."""
    whole = gzip.compress("\n".join(lines).encode())
    return whole[: len(whole) // 2]


# what is wrong: (name of the file, its content made from the lines of a good one, what the message says)
FILES = {
    "empty file": (
        "a.csv",
        lambda _: "",
        "the file is empty, without even a header. Record or copy it again.",
    ),
    "one blank line": ("a.csv", lambda _: "\n", COMPLETE),
    "blank lines only": ("a.csv", lambda _: "\n\n\n", COMPLETE),
    "header alone": (
        "a.csv",
        lambda lines: lines[0] + "\n",
        "there is no row 1, only the header. Record the telemetry again.",
    ),
    "no timestamp": ("a.csv", without("timestamp"), missing("timestamp")),
    "no node": ("a.csv", without("node"), missing("node")),
    "no measurement": (
        "a.csv",
        lambda lines: "\n".join(",".join(line.split(",")[:2]) for line in lines),
        "no column of row 0 (the header) is a measurement; it has timestamp, node. Add or rename at least one",
    ),
    "column twice": (
        "a.csv",
        lambda lines: "\n".join([lines[0].replace("memory_usage", "cpu_usage"), *lines[1:]]),
        "column 'cpu_usage' occurs twice in row 0 (the header). Remove or rename one.",
    ),
    "column under both spellings": (
        "a.csv",
        lambda lines: "\n".join([lines[0].replace("memory_usage", "system_prodactivity"), *lines[1:]]),
        "column 'system_productivity' occurs twice in the header. Remove or rename one.",
    ),
    "no header": ("a.csv", lambda lines: "\n".join(lines[1:]), missing("timestamp")),
    "separated by semicolons": (
        "a.csv",
        lambda lines: "\n".join(lines).replace(",", ";"),
        "separated by ';' and not by ','. Read the file with separator=';'.",
    ),
    "separated by tabs": (
        "a.csv",
        lambda lines: "\n".join(lines).replace(",", "\t"),
        "separated by '\\t' and not by ','. Read the file with separator='\\t'.",
    ),
    "decimal comma in quotes": (
        "a.csv",
        lambda _: HEADER + FIRST.replace("12.5", '"12,5"'),
        (
            "column 'cpu_usage', row 1 (line 2 of the file): '12,5' is not a number. Write it with digits and a "
            "decimal point. If the comma is a decimal comma, read the file with decimal=','."
        ),
    ),
    "decimal comma without quotes": (
        "a.csv",
        lambda _: HEADER + FIRST.replace("12.5", "12,5"),
        "row 1 (line 2 of the file): 4 fields, where the header has 3. If the comma stands before decimals too, write",
    ),
    "a field too many": (
        "a.csv",
        lambda lines: "\n".join([*lines[:ROW], lines[ROW] + ",1", *lines[ROW + 1 :]]),
        f"line {ROW + 1}",
    ),
    "last line cut off": (
        "a.csv",
        lambda lines: "\n".join([*lines[:ROW], lines[ROW][:60]]),
        HERE + "the last line ends before this column. Delete the line if the file was cut off there, or "
        "complete it.",
    ),
    "archive cut off": ("a.csv.gz", cut_archive, COMPLETE),
    "no gzip": ("a.csv.gz", lambda _: "not compressed", COMPLETE),
    "no bzip2": ("a.csv.bz2", lambda _: "not compressed", COMPLETE),
    "no xz": ("a.csv.xz", lambda _: "not compressed", COMPLETE),
    "no zip": ("a.csv.zip", lambda _: "not compressed", COMPLETE),
    "no text": (
        "a.csv",
        lambda _: bytes(range(128, 256)) * 20,
        "not written in UTF-8. Save the file in UTF-8, or state its encoding.",
    ),
    "UTF-16": (
        "a.csv",
        lambda lines: "\n".join(lines).encode("utf-16"),
        "not written in UTF-8. Read the file with encoding='utf-16' if that is its encoding, or save it in UTF-8.",
    ),
    "Latin-1": (
        "a.csv",
        lambda _: (HEADER + FIRST.replace("node-1", "Zürich")).encode("latin-1"),
        "not written in UTF-8. Read the file with encoding='cp1252' if that is its encoding, or save it in UTF-8.",
    ),
    "a separator at the end of lines": (
        "a.csv",
        lambda _: HEADER + FIRST.replace("\n", ",\n"),
        "row 1 (line 2 of the file): 4 fields, where the header has 3. Remove ',' from the end of lines, or add it to the header's.",
    ),
    "a line too short": (
        "a.csv",
        lambda lines: "\n".join([*lines[:ROW], "2026-01-05T08:00:03Z,node-1,12.5", *lines[ROW + 1 :]]),
        "the line ends before this column. Delete the line if the file was cut off there, or complete it.",
    ),
    "only a header": ("a.csv", lambda _: HEADER + "\n", "there is no row 1, only the header."),
    "a count of 17 digits": (
        "a.csv",
        value("jobs_completed", "9007199254740993"),
        HERE + "'9007199254740993' is above 1000000000000000. Correct the value.",
    ),
    "a count of 22 digits": (
        "a.csv",
        value("jobs_completed", "9" * 22),
        HERE + f"'{'9' * 22}' is above 1000000000000000.",
    ),
    "a number whose sums overflow": (
        "a.csv",
        value("network_usage", "1e308"),
        HERE + f"1e+308 is above 1e+15. {CORRECT}",
    ),
    "a time cut off": (
        "a.csv",
        value("timestamp", "2026-01-05T08:0"),
        HERE + "'2026-01-05T08:0' is not a time.",
    ),
    "all days before months": (
        "a.csv",
        lambda _: HEADER + "31.01.2026 05:00,a,12.5\n01.02.2026 05:00,a,12.5\n",
        "Read the file with time_format='%d.%m.%Y %H:%M' if '31.01.2026 05:00' is 2026-01-31T05:00:00.",
    ),
    "days or months first": (
        "a.csv",
        lambda _: HEADER + "01/02/2026 05:00 PM,a,12.5\n",
        "time_format='%d/%m/%Y %I:%M %p' if '01/02/2026 05:00 PM' is 2026-02-01T17:00:00. Read the file with time_format='%m/%d/%Y %I:%M %p' if",
    ),
    "a quote that never ends": (
        "a.csv",
        lambda lines: "\n".join([*lines[:ROW], '"' + lines[ROW]]),
        f"row {ROW} (line {ROW + 1} of the file): a quotation mark that opens there is not closed",
    ),
    "words for a number": (
        "a.csv",
        value("cpu_usage", "much"),
        HERE + f"'much' is not a number. Write it with digits and a decimal point. {LEAVE_OUT}",
    ),
    "unit in the number": (
        "a.csv",
        value("memory_usage", "12%"),
        HERE
        + "'12%' is not a number. Write it with digits and a decimal point. Remove the sign %, as vds import --repair does.",
    ),
    "two points": ("a.csv", value("disc_usage", "1.2.3"), HERE + "'1.2.3' is not a number."),
    "empty value": ("a.csv", value("cpu_usage", ""), HERE + FILL_IN),
    "nan": ("a.csv", value("disc_usage", "nan"), HERE + FILL_IN),
    "NaN": ("a.csv", value("demand", "NaN"), HERE + FILL_IN),
    "spaces only": ("a.csv", value("cpu_usage", "  "), HERE + FILL_IN),
    "empty count": ("a.csv", value("slots", ""), HERE + FILL_IN),
    "empty node": ("a.csv", value("node", ""), HERE + FILL_IN),
    "empty time": ("a.csv", value("timestamp", ""), HERE + FILL_IN),
    "infinite": ("a.csv", value("network_usage", "inf"), HERE + f"inf is infinite. {CORRECT}"),
    "negative and infinite": ("a.csv", value("latency_mean", "-inf"), HERE + f"-inf is negative. {CORRECT}"),
    "negative": ("a.csv", value("cpu_usage", "-3"), HERE + f"-3.0 is negative. {CORRECT}"),
    "productivity above 100": (
        "a.csv",
        value("system_productivity", "120"),
        HERE + f"120.0 is above 100. {CORRECT}",
    ),
    "flag of 2": ("a.csv", value("active", "2"), HERE + f"2 is neither 0 nor 1. {CORRECT}"),
    "half a job": (
        "a.csv",
        value("jobs_completed", "2.5"),
        HERE + f"'2.5' is not a whole number. Write it with digits only. {LEAVE_OUT}",
    ),
    "infinite count": ("a.csv", value("queue_length", "inf"), HERE + "'inf' is not a whole number."),
    "a word for a time": (
        "a.csv",
        value("timestamp", "yesterday"),
        HERE + f"'yesterday' is not a time. Write it like 2026-01-31T05:00:00Z. {LEAVE_OUT}",
    ),
    "seconds for a time": ("a.csv", value("timestamp", "1375308176"), HERE + "'1375308176' is not a time."),
    "day before month": (
        "a.csv",
        value("timestamp", "31.01.2026 05:00"),
        HERE + "'31.01.2026 05:00' is not a",
    ),
    "13th month": (
        "a.csv",
        value("timestamp", "2026-13-01T00:00:00Z"),
        HERE + "'2026-13-01T00:00:00Z' is not",
    ),
    "time twice": (
        "a.csv",
        lambda lines: "\n".join([*lines[: ROW + 1], lines[ROW]]),
        (
            f"column 'timestamp', row {ROW + 1} (line {ROW + 2} of the file): 2026-01-05T08:00:03Z is a duplicate: "
            "node node-1 has a row for this time already. Keep one of the rows."
        ),
    ),
    "clock going back": (
        "a.csv",
        lambda lines: "\n".join([*lines[:ROW], lines[ROW + 1], lines[ROW], *lines[ROW + 2 :]]),
        (
            "2026-01-05T08:00:03Z goes backwards: it is before the previous row of node node-1. "
            "Sort the rows by time, if the clock was right."
        ),
    ),
    "blank line inside": (
        "a.csv",
        lambda lines: "\n".join([*lines[:ROW], "", *lines[ROW:]]),
        f"column 'timestamp', {HERE}{FILL_IN}",
    ),
}


@pytest.fixture(params=FILES, ids=lambda name: name.replace(" ", "-"))
def bad_file(request, lines, tmp_path):
    """A bad file, and what the message about it says."""
    name, damage, expected = FILES[request.param]
    content = damage(lines)
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path, expected


def behind_the_name(expected):
    """A message about a file that a notebook reads: options are stated behind the file's name."""

    def address(option):
        sign = {"\\t": "\t"}.get(option[2], option[2])
        return f"?{option[1]}={quote(sign, safe=';,/. ')} after the name of the file"

    return re.sub(r"\b(separator|decimal|encoding|time_format)='(.+?)'", address, expected)


def only(path):
    """Nothing but this file lies in its folder."""
    return [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_bad_file_is_refused_with_its_message(bad_file):
    path, expected = bad_file
    with pytest.raises(TelemetryError) as caught:
        telemetry.read(path)
    assert str(caught.value).startswith(f"{path}: ") and expected in str(caught.value)
    assert caught.value.__cause__ is None  # no other exception shows beside it
    assert only(path)


def test_vds_says_the_same_before_a_kernel_starts(bad_file, tmp_path_factory, capsys, monkeypatch):
    path, expected = bad_file
    monkeypatch.setattr(notebooks, "run", lambda *_, **__: pytest.fail("a kernel was started"))
    monkeypatch.chdir(path.parent)
    cell = nbformat.v4.new_code_cell(
        'telemetry: str = "recorded"  # telemetry to read', metadata={"tags": ["parameters"]}
    )
    notebook = tmp_path_factory.mktemp("notebook") / "sample.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), notebook)
    assert main(["run", str(notebook), "-p", "telemetry", path.name]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith(f"vds run: {path.name}: ")
    assert behind_the_name(expected) in said.err
    assert only(path)


@pytest.mark.parametrize("name", ["nowhere.csv", ""], ids=["no-such-file", "a-folder"])
def test_no_file_is_refused(tmp_path, name):
    with pytest.raises(TelemetryError, match=r"there is no such file\. Give the path of a telemetry file"):
        telemetry.read(tmp_path / name)


def test_a_required_column_is_explained_where_it_is_missing(frame):
    for name in ("timestamp", "node"):
        with pytest.raises(TelemetryError) as caught:
            telemetry.check(frame.drop(columns=name))
        assert f"Add or rename it ({COLUMNS[name].meaning}" in str(caught.value)


def test_the_first_of_several_bad_values_is_named(lines, tmp_path):
    late = lines[ROW + 9].split(",")
    late[2] = "-1"
    text = value("memory_usage", "-2")([*lines[: ROW + 9], ",".join(late), *lines[ROW + 10 :]])
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(TelemetryError, match=f"column 'memory_usage', row {ROW} "):
        telemetry.read(tmp_path / "a.csv")


def test_points_are_refused_where_a_decimal_comma_is_stated(tmp_path):
    (tmp_path / "a.csv").write_text(HEADER.replace(",", ";") + FIRST.replace(",", ";"))
    with pytest.raises(
        TelemetryError, match=r"row 1 \(line 2 of the file\): '12\.5' has a point, though decimal"
    ):
        telemetry.read(tmp_path / "a.csv", separator=";", decimal=",")


def put(column, given):
    """A table with another value in row 8 of a column."""

    def damage(frame):
        result = frame.copy()
        result[column] = result[column].astype(object)
        result.loc[7, column] = given
        return result

    return damage


# what is wrong with a table: (the damage, arguments of repair, the message)
TABLES = {
    "fractions for percent": (
        lambda f: f.assign(cpu_usage=f["cpu_usage"] / 100),
        {},
        (
            "column 'cpu_usage', node node-1: numbers between .* do not look like percent. "
            r"State units=\{'cpu_usage': 'fraction'\}, or units=\{'cpu_usage': 'percent'\} if it is percent all"
        ),
    ),
    "bytes for percent": (
        lambda f: f.assign(memory_usage=f["memory_usage"] * 2**20),
        {},
        "column 'memory_usage', node node-1: numbers between .* do not look like percent. Convert it to percent",
    ),
    "bytes for KB/s": (
        lambda f: f.assign(network_usage=f["network_usage"] * 1e6),
        {},
        (
            "column 'network_usage', node node-1: .* do not look like KB/s. "
            r"State units=\{'network_usage': 'bytes/s'\}"
        ),
    ),
    "KB for MB": (
        lambda f: f.assign(memory_mb=8 * 2**20),
        {},
        r"column 'memory_mb', node node-1: .* do not look like MB. State units=\{'memory_mb': 'KB'\}",
    ),
    "GB for MB": (lambda f: f.assign(memory_mb=8.0), {}, r"State units=\{'memory_mb': 'GB'\}"),
    "GHz for MHz": (lambda f: f.assign(cpu_mhz=2.4), {}, r"State units=\{'cpu_mhz': 'GHz'\}"),
    "two units in one column": (
        lambda f: f.assign(memory_mb=np.where(f.index % 60 < 30, 256, 256 * 1024)),
        {},
        "column 'memory_mb', node node-1: numbers between 256 and 262144 look like two units mixed. Convert it",
    ),
    "two units, one of them stated": (
        lambda f: f.assign(memory_mb=np.where(f.index % 60 < 30, 2**15, 2**25)),
        {"units": {"memory_mb": "KB"}},
        "numbers between 32 and 32768 look like two units mixed",
    ),
    "epoch seconds": (
        lambda f: f.assign(timestamp=f["timestamp"].astype("int64") // 10**6),
        {},
        (
            r"column 'timestamp', rows: numbers such as 17676000.. are counted in a unit that is not stated. "
            r"State units=\{'timestamp': 's'\}\."
        ),
    ),
    "seconds under a header that says ms": (
        lambda f: f.assign(timestamp=f["timestamp"].astype("int64") // 10**6),
        {"units": {"timestamp": "ms"}},
        r"numbers such as 17676000.. are not counted in 'ms'. State units=\{'timestamp': 's'\}\.",
    ),
    "seconds since the start": (
        lambda f: f.assign(timestamp=np.arange(len(f))),
        {},
        "in a unit that is not stated. Convert it to UTC, ISO 8601.",
    ),
    "decimal comma": (
        put("cpu_usage", "12,5"),
        {},
        (
            "column 'cpu_usage', row 8: numbers with a comma, decimal or between thousands. "
            "Choose a policy for 'decimal_comma': policies={'decimal_comma': 'convert'}."
        ),
    ),
    "a fault to be refused": (
        put("cpu_usage", np.nan),
        {"policies": {"empty": "refuse"}},
        "column 'cpu_usage', row 8: no value where one is needed. Choose a policy for 'empty': policies={'empty': 'drop'}.",
    ),
    "no column of times": (
        lambda f: f.drop(columns="timestamp"),
        {},
        "column 'timestamp' is missing from row 0",
    ),
    "no rows": (lambda f: f.head(0), {}, "there is no row 1, only the header"),
    "no usable row": (
        lambda f: f.assign(cpu_usage=-1.0),
        {},
        r"no row is left of 240: invalid 240 \(column 'cpu_usage', rows 1, 2, 3, ... from 2026-01-05T08:00:00Z\)\. Correct",
    ),
    "no node ever on": (lambda f: f.assign(cpu_cores=0), {}, "no row is left of 240: shutdown 240"),
    "text in the column of segments": (
        lambda f: f.assign(segment="a"),
        {},
        "column 'segment' must hold whole",
    ),
    "unknown fault": (
        lambda f: f,
        {"policies": {"outages": "keep"}},
        "no fault is called 'outages'. Choose byte_order_mark, decimal_comma, units,",
    ),
    "unknown policy": (
        lambda f: f,
        {"policies": {"outage": "interpolate"}},
        "'interpolate' is no policy for 'outage'. Choose keep, refuse.",
    ),
    "grid without interval": (
        lambda f: f,
        {"policies": {"irregular": "grid"}},
        "the policy 'grid' needs an interval. State interval=300 for five minutes.",
    ),
    "interval of nothing": (lambda f: f, {"interval": 0}, "interval=0 must be a number above 0."),
    "limit below nothing": (lambda f: f, {"limit": -1}, "limit=-1 must be a number above 0."),
    "unknown unit": (
        lambda f: f,
        {"units": {"cpu_usage": "per mille"}},
        "column 'cpu_usage' cannot be in 'per mille'. Choose among percent, fraction.",
    ),
    "unit of a column without": (
        lambda f: f,
        {"units": {"node": "s"}},
        "column 'node' cannot be in 's'. Columns with units: cpu_usage, memory_usage,",
    ),
    "unknown zone": (
        lambda f: f.assign(timestamp=f["timestamp"].dt.tz_localize(None)),
        {"zone": "Mars/Olympus"},
        "zone='Mars/Olympus' is no time zone. Write it like zone='Europe/Kyiv'.",
    ),
}


@pytest.mark.parametrize("case", TABLES, ids=lambda name: name.replace(" ", "-"))
def test_a_table_that_cannot_be_repaired_is_refused_with_its_message(frame, case):
    damage, arguments, expected = TABLES[case]
    damaged = damage(frame)
    damaged.attrs["origin"] = "mine.csv"
    before = damaged.copy()
    with pytest.raises(TelemetryError, match=f"^mine.csv: .*{expected}"):
        telemetry.repair(damaged, **arguments)
    pd.testing.assert_frame_equal(damaged, before)


def test_tables_are_checked_as_files_are(frame):
    with pytest.raises(TelemetryError, match=r"^measured: column 'cpu_usage', row 8: inf is infinite\."):
        telemetry.check(
            frame.assign(cpu_usage=frame["cpu_usage"].where(frame.index != 7, np.inf)), "measured"
        )


@pytest.mark.parametrize("damage", [lambda f: f.assign(cpu_usage=-1.0), lambda f: f.drop(columns="node")])
def test_bad_telemetry_is_not_written(frame, tmp_path, damage):
    (tmp_path / "a.csv").write_text("before")
    with pytest.raises(TelemetryError, match=r"^a\.csv: "):
        telemetry.write(damage(frame), tmp_path / "a.csv")
    assert only(tmp_path / "a.csv") and (tmp_path / "a.csv").read_text() == "before"
