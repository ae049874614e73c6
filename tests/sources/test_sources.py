"""Sources of telemetry: the registry, files in other forms, and each adapter on its real files.

Expected values of public traces are worked out by hand from rows of the files, which are quoted beside them.
"""

import re

import numpy as np
import pandas as pd
import pytest
from synthetic import recording
from traces_at_hand import need_traces

from vdslib import telemetry
from vdslib.cli import main
from vdslib.errors import RegistryError, TelemetryError
from vdslib.experiments import runs
from vdslib.sources import bitbrains, catalogue, cloudwatch
from vdslib.sources import traces as traces_module
from vdslib.sources._pins import PINS


@pytest.fixture
def own_sources(monkeypatch, registries):
    """A registry of its own, so that a source of a test does not stay."""
    monkeypatch.setattr(catalogue, "_cited", set())


@pytest.fixture(scope="module")
def frame():
    return recording(60)


@pytest.fixture
def traces():
    need_traces()


# --------------------------------------------------------------------------------------------- registry


def test_a_source_registers_and_reads_by_name(own_sources, frame, capsys):
    @catalogue.register("mine", title="My machines", default_target="demand", citation="Me, 2026")
    def read(rest):
        part = frame[frame["node"] == rest].reset_index(drop=True)
        part.attrs["notes"] = ["a note"]
        return part

    result = catalogue.read("mine:node-2")
    assert set(result["node"]) == {"node-2"} and len(result) == 60
    assert result.attrs == {
        "origin": "mine:node-2",
        "source": "mine",
        "citation": "Me, 2026",
        "notes": ["a note"],
        "rhythms": (),
    }
    assert catalogue.default_target(result) == catalogue.default_target("mine:node-2") == "demand"
    assert capsys.readouterr().out == "My machines. Please cite: Me, 2026\n"  # once, however often it is read
    assert "mine" in [source.name for source in catalogue.sources()]


def test_what_a_source_yields_is_checked(own_sources, frame):
    catalogue.register("mine", title="")(lambda rest: frame.assign(cpu_usage=-1.0))
    with pytest.raises(
        TelemetryError, match=r"^mine:x: column 'cpu_usage', row 1: -1.0 is negative\. Correct"
    ):
        catalogue.read("mine:x")


def test_a_default_target_that_a_table_lacks_gives_way(own_sources, frame):
    catalogue.register("mine", title="", default_target="elsewhere")(lambda rest: frame)
    assert catalogue.default_target("mine:x") == "system_productivity"


def test_a_name_is_taken_once_but_a_cell_may_run_twice(own_sources):
    def other(rest): ...

    other.__module__ = "somewhere"
    catalogue.register("mine", title="first")(lambda rest: None)
    catalogue.register("mine", title="second")(lambda rest: None)
    assert next(source for source in catalogue.sources() if source.name == "mine").title == "second"
    with pytest.raises(ValueError, match="'mine' is registered by test_sources already"):
        catalogue.register("mine", title="")(other)


@pytest.mark.parametrize("name", ["", "a b", "x:y", "recorded", "c"])
def test_a_name_that_could_not_be_found_again_is_refused(name):
    with pytest.raises(ValueError, match="cannot name a source"):
        catalogue.register(name, title="")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "bitbrain:2013-8/332",
            "there is no source 'bitbrain'. Did you mean bitbrains:2013-8/332? Sources are ",
        ),
        ("Bitbrains:2013-8/332", "there is no source 'Bitbrains'. Did you mean bitbrains:"),
        ("worldcup", "Did you mean worldcup98?"),
        ("influx:db", "there is no source 'influx'. Sources are alibaba, azure, bitbrains,"),
        ("nowhere.csv", "there is no such file. Give the path of a telemetry file, or 'recorded'."),
        ("nowhere", "there is no such file"),
        ("bitbrains:2013-8/33", "no virtual machine '2013-8/33' is pinned. Choose among 2013-8/9, "),
        ("bitbrains:332", "no virtual machine '/332' is pinned"),
        ("bitbrains:2014-1/*", "no virtual machine '2014-1/*' is pinned"),
        ("bitbrains:", "no virtual machine '/' is pinned"),
        ("nab:ec2_cpu", "there is no series 'ec2_cpu'. Choose among ec2_cpu_utilization_"),
        ("nab:elsewhere/ec2_cpu_utilization_24ae8d", "there is no series 'elsewhere/ec2_cpu"),
        ("alibaba:2017", "there is no version '2017'. Give alibaba:2018."),
        ("google:", "there is no version ''. Give google:2019."),
        ("azure:2", "Give azure:v2."),
        ("worldcup98:june", "there is one series only"),
    ],
)
def test_an_unknown_name_is_one_clear_error(text, problem):
    with pytest.raises(TelemetryError) as caught:
        catalogue.read(text)
    assert str(caught.value).startswith(f"{text}: ") and problem in str(caught.value)


def test_sources_of_a_file_of_ones_own_are_found(own_sources, tmp_path, monkeypatch):
    file = tmp_path / "own.py"
    file.write_text(
        "import pandas as pd\nfrom vdslib.sources import register\n"
        '@register("own", title="Own", default_target="cpu_usage")\n'
        'def read(rest):\n    return pd.DataFrame({"timestamp": ["2026-01-05"], "node": [rest], "cpu_usage": [7.0]})\n'
    )
    monkeypatch.setenv("VDS_SOURCES", str(file))
    assert catalogue.read("own:a")["cpu_usage"].item() == 7
    monkeypatch.setenv("VDS_SOURCES", str(tmp_path / "none.py"))
    with pytest.raises(RegistryError, match=r"none\.py: no Python file, though VDS_SOURCES names it"):
        catalogue.read("own:a")


# ------------------------------------------------------------------------------------------------ files


def test_the_recording_and_files_are_read_as_before(frame, tmp_path):
    assert catalogue.read("recorded").attrs["source"] == "recorded"
    telemetry.write(frame, tmp_path / "a.csv")
    for path in (tmp_path / "a.csv", str(tmp_path / "a.csv")):
        result = catalogue.read(path)
        pd.testing.assert_frame_equal(result, telemetry.read(path))
        assert result.attrs == {"origin": str(path), "source": "file", "citation": "", "notes": []}


def test_parquet_is_read_as_it_was_written(frame, tmp_path):
    telemetry.write(frame, tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(catalogue.read(tmp_path / "a.parquet"), telemetry.check(frame))


def test_parquet_of_others_is_typed(frame, tmp_path):
    naive = frame.assign(
        timestamp=frame["timestamp"].dt.tz_localize(None), node=frame["node"].astype("category")
    )
    naive.to_parquet(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(catalogue.read(tmp_path / "a.parquet"), telemetry.check(frame))


def test_a_bad_parquet_file_is_one_error(frame, tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 but not really")
    with pytest.raises(
        TelemetryError, match=r"a\.parquet: not readable as Parquet \(.*\)\. Check that the file"
    ):
        catalogue.read(path)
    frame.assign(cpu_usage=-2.0).to_parquet(path)
    with pytest.raises(TelemetryError, match=r"a\.parquet: column 'cpu_usage', row 1: -2.0 is negative"):
        catalogue.read(path)


MAPPING = {"timestamp": "when", "cpu_usage": "CPU %", "memory_usage": "RAM %"}


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_a_mapping_of_columns(tmp_path, ending):
    path = tmp_path / f"web-1.{ending}"
    table = pd.DataFrame(
        {
            "when": ["2026-03-02T08:00:00Z", "2026-03-02T08:01:00Z"],
            "CPU %": [41.5, 47.9],
            "RAM %": [62.0, 62.1],
        }
    ).assign(extra=[1, 2])
    table.to_parquet(path) if ending == "parquet" else table.to_csv(path, index=False)
    result = catalogue.read(path, MAPPING)
    assert list(result) == ["timestamp", "cpu_usage", "memory_usage", "extra", "node"]
    assert result["cpu_usage"].tolist() == [41.5, 47.9] and set(result["node"]) == {"web-1"}


@pytest.mark.parametrize(
    ("mapping", "problem"),
    [
        ({"cpu_usge": "CPU %"}, "column 'cpu_usge' of the mapping is none of ours; did you mean cpu_usage?"),
        ({"zzz": "CPU %"}, "column 'zzz' of the mapping is none of ours. Choose among timestamp, node,"),
        ({"cpu_usage": "CPU"}, "column 'CPU', which the mapping takes as cpu_usage, is missing from row 0"),
        ({"cpu_usage": "RAM %", "memory_usage": "RAM %"}, "is mapped twice"),
        ({"cpu_usage": "CPU %"}, "column 'timestamp' is missing from row 0 (the header)"),
        ({"timestamp": "when", "cpu_usage": "when"}, "is mapped twice"),
    ],
)
def test_a_wrong_mapping_is_one_clear_error(tmp_path, mapping, problem):
    path = tmp_path / "a.csv"
    path.write_text("when,CPU %,RAM %\n2026-03-02T08:00:00Z,1,2\n")
    with pytest.raises(TelemetryError) as caught:
        catalogue.read(path, mapping)
    assert str(path) in str(caught.value) and problem in str(caught.value)


def test_a_mapping_is_for_files(own_sources, frame):
    catalogue.register("mine", title="")(lambda rest: frame)
    with pytest.raises(TelemetryError, match="a mapping of columns is for files"):
        catalogue.read("mine:x", MAPPING)


# --------------------------------------------------------------------------------------------- adapters


def test_bitbrains_units(traces):
    # 1375308176; 2; 5851.998856; 1320.6..; 22.566666666666666; 8355412.0; 1034592.8; 62.0; 5925.466666666667;
    # 672.0666666666667; 217.8
    result = catalogue.read("bitbrains:2013-8/332")
    row = result.iloc[0]
    assert len(result) == 8626 and set(result["node"]) == {"332"}
    assert row["timestamp"] == pd.Timestamp("2013-07-31T22:02:56Z")
    assert row["cpu_usage"] == pytest.approx(22.5666667)
    assert row["memory_usage"] == pytest.approx(12.3823071)  # 1034592.8 / 8355412
    assert row["disc_usage"] == pytest.approx(5987.4666667)  # 62 + 5925.466..
    assert row["network_usage"] == pytest.approx(889.8666667)  # 672.066.. + 217.8
    assert row["cpu_cores"] == 2 and row["cpu_mhz"] == pytest.approx(2925.999428)
    assert row["memory_mb"] == pytest.approx(8159.58203)  # 8355412 / 1024
    assert catalogue.default_target(result) == "cpu_usage" and "CCGrid 2015" in result.attrs["citation"]
    assert "system_productivity" not in result and "demand" not in result
    assert result.attrs["notes"] == []  # a second early or late in five minutes is no damage


def test_several_machines_of_bitbrains(traces):
    two = catalogue.read("bitbrains:2013-8/407,332")
    assert dict(two["node"].value_counts()) == {"407": 8631, "332": 8626}
    every = catalogue.read("bitbrains:2013-8/*")
    assert every["node"].nunique() == 23 and len(every) == sum(
        len(bitbrains.raw(traces_module.fetch(name))) for name in PINS if name.startswith("bitbrains-rnd/")
    )


def test_repeated_times_of_bitbrains_are_told(traces):
    result = catalogue.read("bitbrains:2013-9/41")
    assert len(result) == 1541
    assert result.attrs["notes"][:-1] == [
        "VM 41: 410 of 1951 rows left out, whose timestamps repeat; the first of each was kept"
    ]
    off = result[result["cpu_cores"] == 0]
    assert len(off) == 789 and off["cpu_mhz"].isna().all() and (off["cpu_usage"] == 0).all()
    assert (result["memory_usage"].isna() == (result["memory_mb"] == 0)).all()


def test_windows_with_faults_are_sources_too(traces):
    sizes = {"2013-7/400": 1937, "2013-8/54": 1438, "2013-8/204": 1724}
    assert {name: len(catalogue.read(f"bitbrains:{name}")) for name in sizes} == sizes


HEADER = (
    "Timestamp [ms];\tCPU cores;\tCPU capacity provisioned [MHZ];\tCPU usage [MHZ];\tCPU usage [%];\t"
    "Memory capacity provisioned [KB];\tMemory usage [KB];\tDisk read throughput [KB/s];\t"
    "Disk write throughput [KB/s];\tNetwork received throughput [KB/s];\tNetwork transmitted throughput [KB/s]"
)
LINE = "1375308176;\t2;\t5000.0;\t100.0;\t2.0;\t2048.0;\t512.0;\t1.0;\t2.0;\t3.0;\t4.0"


def test_a_file_of_bitbrains_by_its_path(tmp_path):
    (tmp_path / "7.csv").write_text(f"{HEADER}\n{LINE}\n")
    row = catalogue.read(f"bitbrains:{tmp_path / '7.csv'}").iloc[0]
    assert (row["node"], row["memory_usage"], row["disc_usage"], row["memory_mb"]) == ("7", 25, 3, 2)
    for plain in (str(tmp_path / "7.csv"), tmp_path / "7.csv"):
        assert catalogue.read(plain).attrs["source"] == "bitbrains"
        assert catalogue.read(plain).iloc[0].equals(row)


def test_rows_as_they_are_have_what_reading_leaves_out(traces):
    raw = catalogue.load("bitbrains:2013-9/41")
    assert len(raw) == 1951 and raw.attrs["origin"] == "bitbrains:2013-9/41"
    assert len(catalogue.load("bitbrains:2013-8/407,332")) == 8631 + 8626


def test_uneven_times_are_told_and_gaps_are_not(frame, tmp_path):
    assert catalogue.read("recorded").attrs["notes"] == []
    moved = frame[frame["node"] == frame["node"].iloc[0]].drop(index=frame.index[8]).copy()
    shift = pd.Series(0.0, index=moved.index)
    shift.iloc[20] = 0.2
    moved["timestamp"] += pd.to_timedelta(shift, unit="s")
    telemetry.write(moved, tmp_path / "a.csv")
    (note,) = catalogue.read(tmp_path / "a.csv").attrs["notes"]
    assert note.startswith(f"2 of {len(moved) - 1} steps in time are uneven")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (f"{HEADER}\n", "there is no row 1, only the header"),
        ("", "row 0 (the header) is not that of a Bitbrains GWA-T-12 file: ''"),
        (
            f"{HEADER}\n{LINE}\n".replace(";", ","),
            "row 0 (the header) is not that of a Bitbrains GWA-T-12 file: 'Timestamp [ms],",
        ),
        (
            f"{HEADER}\n{LINE}\n".replace("2.0;", "2,0;", 1),
            "column 'CPU usage [%]', row 1 (line 2 of the file): '2,0'",
        ),
        (f"{HEADER}\n{LINE}\n{LINE[:40]}\n", "row 2 (line 3 of the file)"),
        (
            f"{HEADER}\n{LINE}\n".replace("1375308176", "1375308176000"),
            "column 'Timestamp [ms]', row 1 (line 2 of the file): 1375308176000 is no time from 2000 to 2099",
        ),
        (f"{HEADER}\n{LINE.replace('76;', '77;', 1)}\n{LINE}\n", "goes backwards"),
        (
            f"{HEADER}\n{LINE.replace('2.0;', '-2.0;', 1)}\n",
            "column 'CPU usage [%]', row 1 (line 2 of the file): -2 is negative",
        ),
    ],
)
def test_a_bad_file_of_bitbrains_is_one_clear_error(tmp_path, content, problem):
    path = tmp_path / "7.csv"
    path.write_text(content)
    with pytest.raises(TelemetryError) as caught:
        catalogue.read(f"bitbrains:{path}")
    assert str(path) in str(caught.value) and problem in str(caught.value)


def test_a_file_of_bitbrains_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TelemetryError, match=r"none\.csv: cannot be read \(No such file or directory\)"):
        catalogue.read(f"bitbrains:{tmp_path / 'none.csv'}")


def test_every_series_of_cloudwatch(traces):
    names = [name.rpartition("/")[2] for name in PINS if name.startswith("nab-aws/data/")]
    assert len(names) == 19
    targets = {}
    for name in names:
        result = catalogue.read(f"nab:{name.removesuffix('.csv')}")
        targets[name] = catalogue.default_target(result)
        assert result[targets[name]].notna().all() and set(result["node"]) == {name.removesuffix(".csv")}
    kinds = pd.Series(targets).value_counts().to_dict()
    assert kinds == {
        "cpu_usage": 11,
        "network_in_bytes": 3,
        "disk_write_bytes": 2,
        "value": 2,
        "jobs_offered": 1,
    }


def test_cloudwatch_by_hand(traces):
    # 2014-02-14 14:30:00,0.132 and 2014-04-10 00:04:00,94.0
    result = catalogue.read("nab:realAWSCloudwatch/ec2_cpu_utilization_24ae8d.csv")
    assert len(result) == 4032 and result["timestamp"].iloc[0] == pd.Timestamp("2014-02-14T14:30:00Z")
    assert result["cpu_usage"].iloc[0] == 0.132
    assert catalogue.read("nab:elb_request_count_8c0756")["jobs_offered"].iloc[0] == 94
    summer = catalogue.read("nab:ec2_disk_write_bytes_1ef3de")
    assert len(summer) == 4730 - 11 and "11 of 4730 rows left out" in summer.attrs["notes"][1]
    assert "not documented" in summer.attrs["notes"][0]


def test_anomaly_windows(traces):
    table = cloudwatch.windows("ec2_cpu_utilization_24ae8d")
    assert table.iloc[0].tolist() == [pd.Timestamp("2014-02-26T13:45Z"), pd.Timestamp("2014-02-27T06:25Z")]
    assert len(table) == 2 and (table["start"] < table["end"]).all()
    frame = catalogue.read("nab:ec2_cpu_utilization_24ae8d")
    assert frame["timestamp"].between(*table.iloc[0]).sum() == 16 * 12 + 8 + 1  # 16 h 40 min, both ends
    assert len(cloudwatch.windows("ec2_cpu_utilization_c6585a")) == 0  # a series without anomaly


def test_alibaba_by_hand(traces):
    # 16.126976521322472,87.13895543842837,34.88905126976521,27.657513176808816,4.08672735984667
    result = catalogue.read("alibaba:2018")
    first = result.iloc[0]
    assert len(result) == 2243 and set(result["node"]) == {"system"}
    assert (first["cpu_usage"], first["memory_usage"]) == (16.126976521322472, 87.13895543842837)
    assert (first["net_in"], first["disk_io_percent"]) == (34.88905126976521, 4.08672735984667)
    assert "network_usage" not in result and "disc_usage" not in result  # normalised: no KB/s
    gap = result["timestamp"].diff().dt.total_seconds()
    assert gap.value_counts().to_dict() == {300: 2241, 62 * 300: 1}
    assert result["timestamp"][gap.idxmax()] == pd.Timestamp("1970-01-03T00:00Z")
    assert result["timestamp"].iloc[-1] == pd.Timestamp("1970-01-08T23:55Z")


def test_google_by_hand(traces):
    # 0.4416155843647663,0.332384265123427,0.6240159650328806,148.61760667191493
    result = catalogue.read("google:2019")
    first = result.iloc[0]
    assert len(result) == 8064 and first["cpu_usage"] == pytest.approx(44.16155843647663)
    assert first["memory_usage"] == pytest.approx(33.2384265123427)
    assert first["avg_assigned_mem"] == 0.6240159650328806
    assert result["timestamp"].iloc[-1] == pd.Timestamp("1970-01-28T23:55Z")


def test_azure_by_hand(traces):
    # 0,6135515.87712279,2002296.0
    result = catalogue.read("azure:v2")
    assert len(result) == 8640 and result["cpu_usage_sum"].iloc[0] == 6135515.87712279
    assert result["assigned_mem"].iloc[0] == 2002296
    assert "cpu_usage" not in result and catalogue.default_target(result) == "cpu_usage_sum"


def test_worldcup_by_hand(traces):
    # 1998-06-08 00:00:00,3726
    result = catalogue.read("worldcup98")
    assert len(result) == 20160 and result["jobs_offered"].iloc[0] == 3726
    assert result["timestamp"].iloc[0] == pd.Timestamp("1998-06-08T00:00Z")
    assert (result["timestamp"].diff().dropna() == pd.Timedelta("1min")).all()
    assert list(result) == ["timestamp", "node", "jobs_offered"]
    assert catalogue.default_target(result) == "jobs_offered"


# ----------------------------------------------------------------------------------------- command line


def test_sources_lists_each_with_target_terms_and_citation(capsys):
    assert main(["sources"]) == 0
    text = capsys.readouterr().out
    for source in catalogue.sources():
        assert f"{source.name}: {source.title}\n  for example {source.example}; target: " in text
        assert source.terms in text and source.citation in text
    assert "nab: " in text and "target: depends on the table" in text


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet"])
def test_import_writes_our_form_and_says_what_is_in_it(traces, own_sources, name, tmp_path, capsys):
    out = tmp_path / name
    assert main(["import", "bitbrains:2013-9/41", "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Bitbrains") and "Please cite: S. Shen" in lines[0]
    assert lines[1].startswith("note: VM 41: 410 of 1951 rows")
    assert lines[2].startswith("note: 700 of 1540 steps in time are uneven")
    assert lines[3:] == [f"imported {out}: 1541 rows of 1 node; target cpu_usage"]
    back, expected = telemetry.read(out), catalogue.read("bitbrains:2013-9/41")
    pd.testing.assert_frame_equal(back, expected, rtol=1e-5, check_exact=False)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_import_maps_columns(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.csv").write_text("when,busy\n2026-03-02T08:00:00Z,1\n")
    mapped = ["--column", "timestamp", "when", "--column", "cpu_usage", "busy"]
    assert main(["import", "w.csv", "--out", "b.csv", *mapped]) == 0
    assert capsys.readouterr().out == "imported b.csv: 1 row of 1 node; target cpu_usage\n"
    assert telemetry.read("b.csv")["node"].item() == "w"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            ["recorded", "--out", "a.txt"],
            "a.txt: the ending says the form: name the file .csv, .csv.gz or .parquet",
        ),
        (["recorded", "--out", "nowhere/a.csv"], "there is no folder nowhere. Make it"),
        (["bitbrain:1", "--out", "a.csv"], "there is no source 'bitbrain'"),
        (["none.csv", "--out", "a.csv"], "none.csv: there is no such file"),
        (["recorded", "--out", "there.csv"], "cannot write there.csv: "),
    ],
)
def test_import_refuses_with_one_message_and_leaves_nothing(tmp_path, monkeypatch, capsys, given, problem):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.csv").mkdir()
    assert main(["import", *given]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and re.match("vds import: ", captured.err) and problem in captured.err
    assert [file.name for file in tmp_path.iterdir()] == ["there.csv"]


def test_a_failing_disc_leaves_no_half_parquet(frame, tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_text("before")

    def fail(table, path, **_):
        path.write_text("half")
        raise OSError("disc full")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", fail)
    with pytest.raises(OSError, match="disc full"):
        telemetry.write(frame, tmp_path / "a.parquet")
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]
    assert (tmp_path / "a.parquet").read_text() == "before"


def noted(frame):
    """The table with a note of its source."""
    frame.attrs["notes"] = ["a note"]
    return frame


def test_run_takes_any_source(own_sources, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(
        runs, "perform", lambda run, *_, **__: seen.append(run.parameters) or runs.Outcome(run.id, 0.0)
    )
    monkeypatch.setattr(runs, "hand_on", lambda *_: None)
    assert main(["run", "3-3-experiment", "-p", "telemetry", "bitbrain:2013-8/332"]) == 2
    assert "Did you mean bitbrains:2013-8/332?" in capsys.readouterr().err and seen == []
    catalogue.register("mine", title="")(lambda rest: noted(recording(30)))
    assert main(["run", "3-3-experiment", "-p", "telemetry", "mine:x"]) == 0
    assert seen[0]["telemetry"] == "mine:x"
    assert capsys.readouterr().out.startswith("note: a note\n")


def test_a_table_without_any_measurement_is_refused():
    times = pd.date_range("2026-01-05", periods=3, freq="s", tz="UTC")
    with pytest.raises(
        TelemetryError, match=r"no column of row 0 \(the header\) is a measurement.*cpu_usage"
    ):
        telemetry.check(pd.DataFrame({"timestamp": times, "node": "a", "note": "x"}))


def test_the_only_node_is_the_system_with_all_its_columns():
    times = pd.date_range("2026-01-05", periods=3, freq="s", tz="UTC")
    frame = telemetry.check(pd.DataFrame({"timestamp": times, "node": "a", "power": np.arange(3.0)}))
    system = telemetry.select(frame, "system")
    assert set(system["node"]) == {"system"} and system["power"].tolist() == [0, 1, 2]
    assert set(frame["node"]) == {"a"}
