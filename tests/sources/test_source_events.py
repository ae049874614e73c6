"""Logs of jobs and web requests, counted by hand."""

import gzip
import json
import re

import numpy as np
import pandas as pd
import pytest

from vdslib import files, sources, telemetry
from vdslib.errors import TelemetryError
from vdslib.sources import events

T = 1769835600  # 2026-01-31T05:00:00Z, in seconds since 1970


def job(start, end, node="web-1", status="completed", **more):
    """A line of a log; times in seconds after T."""
    return json.dumps(
        {"start": T + start, "end": None if end is None else T + end, "node": node, "status": status} | more
    )


@pytest.fixture
def log(tmp_path):
    """Writes lines into a log and gives its path."""

    def write(*lines, name="log.jsonl"):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def failure(rest):
    with pytest.raises(TelemetryError) as caught:
        events.read(str(rest))
    assert str(rest).partition("?")[0] in str(caught.value) and caught.value.__cause__ is None
    return str(caught.value)


def test_three_intervals_by_hand(log):
    path = log(
        job(0.0, 2.0, cpu=1.0),  # due at 4: in time
        job(3.0, 12.0, cpu=2.0),  # due at 7, done at 12: late
        job(8.0, 13.0, cpu=0.5, status="dropped"),  # due at 12: never
        job(9.0, 12.0, cpu=1.5),  # due at 13: in time
        job(10.0, 11.0, cpu=4.0),  # due at 14: in time
        job(21.0, None, status=None, cpu=1.0),  # due at 25, still runs
        job(28.0, 29.0, cpu=3.0),  # due at 32, after the last interval
    )
    frame = telemetry.check(events.read(f"{path}?interval=10&deadline=4"))
    assert [f"{time:%H:%M:%S}" for time in frame["timestamp"]] == ["05:00:00", "05:00:10", "05:00:20"]
    expected = {
        "demand": [0.5, 0.4, 0.4],  # (1 + 2 + 0.5 + 1.5) / 10, 4 / 10, (1 + 3) / 10
        "jobs_offered": [4, 1, 2],
        "jobs_completed": [1, 3, 1],
        "jobs_dropped": [0, 1, 0],
        "latency_mean": [2000, (9000 + 3000 + 1000) / 3, 1000],
        "latency_p95": [2000, 3000 + 0.9 * 6000, 1000],  # place 0.95 * 2 among 1000, 3000, 9000
        "queue_length": [3, 0, 1],
        "work_due": [3, 6, 1],
        "system_productivity": [100 / 3, 100 * 5.5 / 6, 0],
    }
    assert list(frame) == ["timestamp", "node", *expected]
    for name, values in expected.items():
        assert list(frame[name]) == pytest.approx(values), name


def test_an_end_belongs_to_the_interval_that_it_begins(log):
    frame = events.read(f"{log(job(0, 10), job(10, 20))}?interval=10&deadline=10")
    assert list(frame["jobs_offered"]) == [1, 1, 0] and list(frame["jobs_completed"]) == [0, 1, 1]
    assert list(frame["queue_length"]) == [1, 1, 0]
    # due at 10 and 20, exactly met; nothing was due before 10
    assert np.isnan(frame["system_productivity"].iloc[0])
    assert list(frame["system_productivity"].iloc[1:]) == [100, 100]


def test_a_deadline_is_met_to_the_microsecond(log):
    path = log(job(0.1, 0.6), job(0.2, 0.700001))
    assert events.read(f"{path}?interval=1&deadline=0.5")["system_productivity"].item() == 50


def test_nodes_are_counted_apart_and_over_the_same_time(log):
    path = log(job(0, 1, "b"), job(25, 26, "a"), job(1, 26, "b"))
    frame = events.read(f"{path}?interval=10")
    assert list(frame["node"]) == ["a"] * 3 + ["b"] * 3
    assert list(frame["jobs_offered"]) == [0, 0, 1, 2, 0, 0]
    assert list(frame["queue_length"]) == [0, 0, 0, 1, 1, 0]
    assert frame["latency_mean"].isna().tolist() == [True, True, False, False, True, False]
    system = telemetry.system_series(telemetry.check(frame))
    assert list(system["jobs_completed"]) == [1, 0, 2] and system["latency_mean"].iloc[2] == 13_000


def test_what_the_log_does_not_tell_is_absent(log):
    frame = events.read(f"{log(job(0, 1))}")
    counted = {"jobs_offered", "jobs_completed", "jobs_dropped"}
    assert {*frame} == {"timestamp", "node", "latency_mean", "latency_p95", "queue_length"} | counted
    assert telemetry.default_target(telemetry.check(frame)) == "jobs_offered"


def test_work_may_be_given_for_all_jobs(log):
    frame = events.read(f"{log(job(0, 1), job(0, 9), job(2, 4))}?interval=10&cpu=0.02&deadline=3")
    assert frame["demand"].item() == pytest.approx(0.006) and frame["work_due"].item() == pytest.approx(0.06)
    assert frame["system_productivity"].item() == pytest.approx(200 / 3)


def test_without_work_every_job_weighs_the_same(log):
    frame = events.read(f"{log(job(0, 1), job(0, 9), job(2, 4))}?interval=10&deadline=3")
    assert frame["system_productivity"].item() == pytest.approx(200 / 3) and "work_due" not in frame


def test_times_are_iso_with_any_offset_or_seconds(log):
    path = log(
        '{"start": "2026-01-31T05:00:00.5Z", "end": "2026-01-31T06:00:01+01:00", "status": "ok"}',
        '{"start": 1769835600.5, "end": "2026-01-31 05:00:01.5", "status": "OK"}',
        "",
        '{"start": "1769835601", "end": 1769835602, "status": "error"}',
    )
    jobs = events.read_log(path)
    assert list(jobs["start"] - T * 10**6) == [500_000, 500_000, 1_000_000]
    assert list(jobs["end"] - T * 10**6) == [1_000_000, 1_500_000, 2_000_000]
    assert list(jobs["completed"]) == [True, True, False]
    assert list(jobs.index) == [1, 2, 4] and set(jobs["node"]) == {"system"}


def test_the_line_in_the_book_is_valid(log):
    page = (files.root() / "book" / "sources-live.md").read_text(encoding="utf-8")
    frame = events.read(f"{log(re.search(r'```json.(.*?)```', page, re.DOTALL)[1])}?interval=60&deadline=0.5")
    assert frame["latency_mean"].item() == 650 and frame["system_productivity"].item() == 0


def test_a_status_may_be_of_http_or_a_word_of_one_s_own(log):
    statuses = [101, 200, "404", 410, 500, "503", 504]
    jobs = events.read_log(log(*(job(0, 1, status=status) for status in statuses)))
    assert list(jobs["completed"]) == [True, True, True, True, False, False, False]
    path = log(*(job(0, 1, status=status) for status in ("Fertig", "done", "cancelled")))
    assert events.read(f"{path}?completed=fertig,done")["jobs_completed"].item() == 2
    assert events.read(f"{path}?completed=fertig,done")["jobs_dropped"].item() == 1


@pytest.mark.parametrize("status", ["000", "408", "429", "444", "460", "499", "504"])
def test_a_request_that_was_given_up_is_not_completed(log, status):
    frame = events.read(f"{log(job(0, 1, status=status), job(0, 2))}?deadline=5")
    assert frame[["jobs_completed", "jobs_dropped", "latency_mean"]].values.tolist() == [[1, 1, 2000]]
    assert frame["system_productivity"].item() == 50
    web = events.read(str(log(COMMON.format(0, status, 0), COMMON.format(1, 200, 5), name="access.log")))
    assert web[["jobs_offered", "jobs_completed", "jobs_dropped"]].values.tolist() == [[2, 1, 1]]


def test_a_compressed_log_is_read(tmp_path, log):
    path = log(job(0, 1), job(0, 2))
    (tmp_path / "log.gz").write_bytes(gzip.compress(path.read_bytes()))
    pd.testing.assert_frame_equal(events.read(str(tmp_path / "log.gz")), events.read(str(path)))


def test_counting_agrees_with_counting_one_by_one(log):
    random = np.random.default_rng(0)
    starts = np.round(random.uniform(0, 300, 500), 3)
    spans = np.round(random.exponential(4, 500), 3)
    nodes, statuses = random.choice(["a", "b", "c"], 500), random.choice(["ok", "failed"], 500, p=[0.8, 0.2])
    rows = list(zip(starts, starts + spans, nodes, statuses, strict=True))
    frame = events.read(f"{log(*(job(s, e, n, status) for s, e, n, status in rows))}?interval=7&deadline=5")
    for row in frame.sample(30, random_state=0).to_dict("records"):
        a = row["timestamp"].timestamp() - T
        mine = [(s, e, status == "ok") for s, e, n, status in rows if n == row["node"]]
        done = [1000 * (e - s) for s, e, ok in mine if ok and a <= e < a + 7]
        due = [ok and e <= s + 5 for s, e, ok in mine if a <= s + 5 < a + 7]
        assert row["jobs_offered"] == sum(a <= s < a + 7 for s, _, _ in mine)
        assert row["jobs_completed"] == len(done)
        assert row["jobs_dropped"] == sum(not ok and a <= e < a + 7 for _, e, ok in mine)
        assert row["queue_length"] == sum(s < a + 7 <= e for s, e, _ in mine)
        if done:
            assert row["latency_mean"] == pytest.approx(np.mean(done), abs=0.01)
            assert row["latency_p95"] == pytest.approx(np.percentile(done, 95), abs=0.01)
        assert row["system_productivity"] == pytest.approx(100 * np.mean(due) if due else np.nan, nan_ok=True)


# ------------------------------------------------------------------------------------------------ web logs

COMMON = '203.0.113.7 - - [31/Jan/2026:06:00:{:02} +0100] "GET /a?b=1 HTTP/1.1" {} {}'
COMBINED = COMMON + ' "http://example.org/" "Mozilla/5.0 (X11; \\"odd\\")"'


def test_a_web_log_is_counted(log):
    path = log(
        COMMON.format(0, 200, 512),
        COMBINED.format(9, 304, "-"),
        COMBINED.format(12, 404, 10),
        COMMON.format(19, 503, 0),
        'example.org:80 203.0.113.7 - Jo Doe [31/Jan/2026:05:00:11 +0000] "-" 408 -',
    )
    frame = telemetry.check(events.read(f"{path}?interval=10"))
    assert list(frame) == ["timestamp", "node", "jobs_offered", "jobs_completed", "jobs_dropped"]
    assert [f"{time:%H:%M:%S}" for time in frame["timestamp"]] == ["05:00:00", "05:00:10"]
    assert frame[["jobs_offered", "jobs_completed", "jobs_dropped"]].values.tolist() == [[2, 2, 0], [3, 1, 2]]
    assert set(frame["node"]) == {"system"}


@pytest.mark.parametrize(
    ("unit", "values"), [("s", ("0", "9")), ("ms", ("250", "9500")), ("us", ("250000", "9500000"))]
)
def test_durations_of_a_web_log_have_the_unit_that_is_given(log, unit, values):
    path = log(COMMON.format(1, 200, 5) + f" {values[0]}", COMBINED.format(2, 200, 5) + f" {values[1]}")
    frame = events.read(f"{path}?interval=10&duration={unit}&deadline=0.5")
    assert list(frame["latency_mean"]) == ([0, 9000] if unit == "s" else [250, 9500])
    assert list(frame["jobs_offered"]) == [2, 0] and list(frame["queue_length"]) == [1, 0]
    assert frame["system_productivity"].iloc[0] == 50
    assert "a request begins at the time of its line" in frame.attrs["notes"][0]


def test_lines_that_are_written_at_the_end_of_a_request_count_where_it_began(log):
    """As nginx writes them: two requests a second from 05:00:00 on, each of 15 seconds."""
    line = COMBINED.replace("06:00", "06:{:02}") + " 15.000"
    path = log(*(line.format(*divmod(15 + second // 2, 60), 200, 5) for second in range(120)))
    frame = sources.read(f"events:{path}?interval=30&duration=s&deadline=20")
    assert [f"{time:%H:%M:%S}" for time in frame["timestamp"]] == ["05:00:00", "05:00:30", "05:01:00"]
    assert list(frame["jobs_offered"]) == [60, 60, 0]
    assert list(frame["jobs_completed"]) == [30, 60, 30]
    assert list(frame["queue_length"]) == [30, 30, 0]
    assert list(frame["latency_mean"]) == [15_000] * 3 and list(frame["system_productivity"]) == [100] * 3
    assert "begins its duration before the time of its line" in frame.attrs["notes"][0]
    late = sources.read(f"events:{path}?interval=30&duration=s&stamp=start")
    assert list(late["jobs_offered"]) == [30, 60, 30] and late.attrs["notes"] == []


def test_requests_longer_than_an_interval_are_told_to_be_cut_off(log):
    path = log(COMMON.format(30, 200, 5) + " 25.000", COMMON.format(31, 200, 5) + " 0.010")
    notes = events.read(f"{path}?interval=10&duration=s&stamp=end").attrs["notes"]
    assert len(notes) == 1 and "the longest took 25 s" in notes[0]
    assert events.read(f"{path}?interval=30&duration=s&stamp=end").attrs["notes"] == []
    assert events.read(str(log(job(0, 25), job(1, None, status=None))) + "?interval=10").attrs["notes"] == []


def test_the_stamp_may_be_said_and_nothing_is_supposed_then(log):
    path = log(COMMON.format(12, 200, 5) + " 9000", COMMON.format(15, 200, 5) + " 2000")
    frame = events.read(f"{path}?interval=10&duration=ms&stamp=end")
    assert list(frame["jobs_offered"]) == [1, 1] and list(frame["jobs_completed"]) == [0, 2]
    assert frame.attrs["notes"] == []
    (note,) = events.read(str(path)).attrs["notes"]
    assert "time of their line" in note and "duration=s" not in note
    assert (
        "duration=s would use it"
        in events.read(str(log(COMMON.format(1, 200, 5) + " 1.500"))).attrs["notes"][0]
    )


# ------------------------------------------------------------------------------------------------- bad logs

GOOD = job(0, 1)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"start": 1, "end"', "is not one JSON object"),
        ("[1, 2]", "is not one JSON object ([1, 2])"),
        (GOOD + "," + GOOD, "is not one JSON object"),
        (COMMON.format(0, 200, 1), "is not one JSON object"),
        (GOOD.replace(f'"start": {T}', '"start": "noon"'), "'start': 'noon' is not a time. Write it like"),
        (GOOD.replace(f'"start": {T}', '"start": null'), "'start': an empty value is not a time"),
        (GOOD.replace(f'"start": {T}', f'"start": {T}000'), "too large for seconds since 1970. Divide by 1000"),
        (GOOD.replace(f'"start": {T}', '"start": [1]'), "'start': [1] is not a time"),
        (GOOD.replace(f'"start": {T}', '"start": {"at": 1}'), "'start': {'at': 1} is not a time"),
        (GOOD.replace(f'"start": {T}', '"start": ""'), "'start': '' is not a time"),
        (job(0, 1, status=["ok"]), "'status': ['ok'] is neither completed"),
        (job(5, 4), "is before the start. Correct one of them"),
        (job(0, 1, status="lost"), "'status': 'lost' is neither completed, ok"),
        (job(0, 1, status=None), "'status': an empty value is neither completed"),
        (job(0, 1, status=99), "'status': 99 is neither completed"),
        (job(0, None), "'status': 'completed' belongs to a job without an end. Add its end"),
        (job(0, 1, node=None), "'node': an empty value is no name, though other lines have one"),
        (job(0, 1, node=""), "'node': '' is no name"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named(log, line, problem):
    text = failure(log(GOOD, "", line, GOOD))
    assert "line 3" in text and problem in text and "leave out the line" in text


@pytest.mark.parametrize("cpu", [None, -1, "much"])
def test_work_is_a_number_in_every_line(log, cpu):
    text = failure(log(job(0, 1, cpu=1), job(0, 1, cpu=cpu)))
    assert "line 2, 'cpu'" in text and "is not a number of CPU seconds from 0" in text


@pytest.mark.parametrize("name", ["start", "end", "status"])
def test_a_field_that_no_line_has_is_named(log, name):
    line = json.dumps({key: value for key, value in json.loads(GOOD).items() if key != name})
    assert f"line 1, '{name}': no line has it. Add it to every job." in failure(log(line))


def test_a_bad_web_log_is_explained(log):
    good = COMMON.format(0, 200, 5)
    assert "line 2: is neither JSON nor of the common or combined format" in failure(log(good, "hello"))
    assert "line 1: is neither JSON" in failure(log("start,end"))
    assert "line 2, 'time': '31/Foo/2026" in failure(log(good, good.replace("Jan", "Foo")))
    path = log(good + " 0.5", good)
    assert "line 2, 'last field': an empty value is no duration" in failure(f"{path}?duration=s")
    assert "option 'deadline' needs durations" in failure(f"{path}?deadline=1")


def test_a_bad_line_is_found_far_down_a_log(log, monkeypatch):
    monkeypatch.setattr(events, "PARSED", 3)
    path = log(*[GOOD] * 7)
    assert events.read(str(path))["jobs_offered"].item() == 7
    assert "line 8: is not one JSON object (oh)" in failure(log(*[GOOD] * 7, "oh", GOOD))


def test_a_wrong_time_does_not_fill_the_memory(log):
    path = log(GOOD, job(-T, 1 - T), GOOD)
    text = failure(f"{path}?interval=1")
    assert "intervals lie between the earliest time (line 2) and the latest (line 1)" in text


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("interval=0", "option 'interval' is '0'. Give a number of at least 0.001"),
        ("deadline=-1", "option 'deadline' is '-1'"),
        ("cpu=x", "option 'cpu' is 'x'"),
        ("duration=h", "option 'duration' is 'h'. Give s, ms or us"),
        ("duration=s&stamp=middle", "option 'stamp' is 'middle'. Give start or end"),
        ("stamp=end", "option 'stamp' needs durations"),
        ("dead=1", "option 'dead' is not known"),
    ],
)
def test_a_wrong_option_is_told(log, options, problem):
    assert problem in failure(f"{log(GOOD)}?{options}")


def test_a_file_that_is_missing_empty_or_broken_is_told(tmp_path, log):
    assert "there is no such file" in failure(tmp_path / "none.jsonl")
    assert "the log is empty" in failure(log("", ""))
    (tmp_path / "half.gz").write_bytes(gzip.compress(("\n".join([GOOD] * 500)).encode())[:40])
    assert "Check that it is complete" in failure(tmp_path / "half.gz")
    (tmp_path / "no.gz").write_bytes(b"plain")
    assert "Check that it is complete" in failure(tmp_path / "no.gz")
