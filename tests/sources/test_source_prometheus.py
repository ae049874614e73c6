"""Telemetry out of a real Prometheus with a real node exporter, and what goes wrong with servers."""

import contextlib
import functools
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request
import warnings

import pandas as pd
import psutil
import pytest
from waiting import HANG, until

from vdslib import files, sources, telemetry
from vdslib.errors import TelemetryError
from vdslib.sources import prometheus
from vdslib.sources._shared import cards_to_count, left_out

PROGRAMS = ("prometheus", "prometheus-node-exporter")


def free_port():
    """A port of the loopback that nobody listens to."""
    with contextlib.closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(ready):
    """Until ``ready()`` gives something that is true; what it gives."""

    def tried():
        with contextlib.suppress(OSError, TelemetryError):
            return ready()

    return until(tried, step=0.2)


def text_at(address):
    with urllib.request.urlopen(address, timeout=HANG) as answer:
        return answer.read().decode()


@contextlib.contextmanager
def running(folder, *commands):
    """These programs, which end with the block."""
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((folder / "log").open("w"))
        for command in commands:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def scraping(folder, here, jobs, exporter):
    """The command of a Prometheus at ``here`` that scrapes an exporter every second, as each of ``jobs``."""
    scrapes = ", ".join(f"{{job_name: {job}, static_configs: [{{targets: ['{exporter}']}}]}}" for job in jobs)
    (folder / "prometheus.yml").write_text(f"global: {{scrape_interval: 1s}}\nscrape_configs: [{scrapes}]\n")
    return [
        PROGRAMS[0],
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={here}",
    ]


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Addresses of a Prometheus and of the node exporter that it scrapes every second; both end with the tests."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (apt-get install {' '.join(PROGRAMS)})")
    folder = tmp_path_factory.mktemp("prometheus")
    here, exporter = (f"127.0.0.1:{free_port()}" for _ in range(2))
    commands = [PROGRAMS[1], f"--web.listen-address={exporter}"], scraping(folder, here, ["node"], exporter)
    with running(folder, *commands):
        address = f"http://{here}"
        wait_for(lambda: len(quiet(f"{address}?minutes=0.5&step=1&window=3")) >= 5)
        yield address, exporter


def quiet(rest):
    """Read without the warning that the first rows have no rates yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return prometheus.read(rest)


@pytest.fixture
def asking(servers, tmp_path):
    """Reads with other queries in place of all defaults; ``at`` is the end of the rows."""

    def ask(text, options="minutes=1&step=10", at="2026-01-31T05:00:00Z"):
        file = tmp_path / "queries.yaml"
        file.write_text(text + "".join(f"\n{name}:" for name in prometheus.QUERIES if f"{name}:" not in text))
        return prometheus.read(f"{servers[0]}?queries={file}&end={at}&{options}")

    return ask


def series(value, **labels):
    """PromQL of one series with these labels and a value that follows from the time alone."""
    query = f"vector({value})"
    for name, label in labels.items():
        query = f'label_replace({query}, "{name}", "{label}", "", "")'
    return query


def test_a_real_node_is_read(servers):
    address, exporter = servers
    frame = telemetry.check(quiet(f"{address}?minutes=0.5&step=1&window=3"))
    assert set(frame["node"]) == {exporter}
    assert {*telemetry.COLUMNS} >= {*frame} >= {
        "cpu_usage", "memory_usage", "disc_usage", "network_usage", "cpu_cores", "memory_mb",
    }  # fmt: skip
    assert (frame["timestamp"].diff().dropna() == pd.Timedelta("1s")).all()
    assert frame["cpu_usage"].between(0, 100).all() and frame["cpu_usage"].max() > 0
    assert frame["memory_mb"].unique() == pytest.approx(psutil.virtual_memory().total / 2**20)
    assert (frame["cpu_cores"] == psutil.cpu_count()).all()
    memory = psutil.virtual_memory()
    assert frame["memory_usage"].iloc[-1] == pytest.approx(
        100 * (1 - memory.available / memory.total), abs=10
    )
    assert telemetry.default_target(frame) == "cpu_usage"
    virtual = cards_to_count(psutil.net_io_counters(pernic=True))[1]
    assert frame.attrs["notes"] == left_out(virtual)


def test_rates_are_those_of_the_exporter_s_own_counters(servers):
    address, exporter = servers

    def counted():
        text = text_at(f"http://{exporter}/metrics")
        cpu = re.findall(r'^node_cpu_seconds_total\{.*mode="(\w+)"\} (\S+)$', text, re.MULTILINE)
        used = sum(float(value) for mode, value in cpu if mode not in ("idle", "iowait", "steal"))
        disc = re.findall(
            r'^node_disk_(?:read|written)_bytes_total\{device="(\w+)"\} (\S+)$', text, re.MULTILINE
        )
        moved = sum(float(value) for name, value in disc if not re.match("dm|md|loop|ram|zram|sr|fd", name))
        return time.time(), used, sum(float(value) for _, value in cpu), moved

    begin = counted()
    time.sleep(2.5)  # two scrapes, so that the burst lies within the window whenever they happen
    with tempfile.TemporaryFile() as file:  # 20 MB to a disc, and some work for the processor
        file.write(os.urandom(20 * 2**20))
        os.fsync(file.fileno())
    time.sleep(6)
    end = counted()
    seconds = round(end[0] - begin[0])
    row = prometheus.collect(address, prometheus.QUERIES, seconds=1, step=1, window=seconds, end=end[0]).iloc[
        0
    ]
    assert row["cpu_usage"] == pytest.approx(100 * (end[1] - begin[1]) / (end[2] - begin[2]), abs=15)
    assert row["disc_usage"] == pytest.approx((end[3] - begin[3]) / 1024 / seconds, rel=0.4)


def test_an_exporter_that_two_jobs_scrape_is_refused_or_selected(servers, tmp_path):
    here = f"127.0.0.1:{free_port()}"
    with running(tmp_path, scraping(tmp_path, here, ["node", "again"], servers[1])):
        read = f"http://{here}?minutes=0.5&step=1&window=3"
        wait_for(lambda: len(quiet(f'{read}&select=job="node"')) >= 8)
        wait_for(lambda: len(quiet(f'{read}&select=job="again"')) >= 8)
        with pytest.raises(TelemetryError, match=f"more than one series of node {servers[1]}") as caught:
            quiet(read)
        assert "differ by job 'again' and 'node'), choose one by the option select=job=\"again\"" in str(
            caught.value
        )
        frame = quiet(f'{read}&select=job="node"')
    assert (frame["cpu_cores"] == psutil.cpu_count()).all()
    assert frame["memory_mb"].unique() == pytest.approx(psutil.virtual_memory().total / 2**20)


def test_a_timestamp_is_the_start_of_its_step(asking):
    frame = asking(f"requests: '{series('time() % 100', instance='web-1')}'")
    assert [f"{time:%H:%M:%S}" for time in frame["timestamp"]] == [
        "04:59:00", "04:59:10", "04:59:20", "04:59:30", "04:59:40", "04:59:50"
    ]  # fmt: skip
    # 05:00:00 is second 1769835600; each value was asked for ten seconds after its timestamp
    assert list(frame["requests"]) == [50, 60, 70, 80, 90, 0]


def test_nodes_and_columns_come_together(asking):
    both = f"{series('20', instance='b:9100')} or {series('10', instance='a:9100')}"
    text = f"cpu_usage: '{both}'\nmemory_usage: '{both.replace('vector(20)', 'vector(40)')}'"
    frame = asking(text, "minutes=1&step=30")
    assert frame[["node", "cpu_usage", "memory_usage"]].values.tolist() == [
        ["a:9100", 10, 10], ["a:9100", 10, 10], ["b:9100", 20, 40], ["b:9100", 20, 40]
    ]  # fmt: skip
    hidden = asking(text, "minutes=1&step=30&anonymise=yes")
    assert list(hidden["node"]) == ["node-1", "node-1", "node-2", "node-2"]
    pd.testing.assert_frame_equal(hidden.drop(columns="node"), frame.drop(columns="node"))


def test_another_label_may_name_the_node(asking):
    frame = asking(f"cpu_usage: 'max by ($label) ({series('7', pod='x', zone='y')})'", "minutes=1&label=pod")
    assert frame[["node", "cpu_usage"]].values.tolist() == [["x", 7]]


def test_the_window_reaches_the_query(asking):
    text = f"cpu_usage: 'count_over_time({series('1', instance='a')}[$window:5s])'"
    assert asking(text, "minutes=1&step=60&window=90")["cpu_usage"].item() in (18, 19)
    assert asking(text, "minutes=1&step=60")["cpu_usage"].item() in (12, 13)


def test_many_rows_are_asked_for_in_parts(asking, monkeypatch):
    text = f"requests: '{series('time() % 1000', instance='a')}'"
    whole = asking(text, "minutes=10&step=7")
    monkeypatch.setattr(prometheus, "POINTS", 20)
    pd.testing.assert_frame_equal(asking(text, "minutes=10&step=7"), whole)
    assert len(whole) == 85  # 600 // 7


def test_more_rows_than_the_server_gives_at_once(asking):
    assert len(asking(f"requests: '{series('1', instance='a')}'", "minutes=200&step=1")) == 12_000


def test_a_column_that_one_node_lacks_is_left_out_with_a_warning(asking):
    both = f"{series('20', instance='b')} or {series('10', instance='a')}"
    with pytest.warns(UserWarning, match=r"left out: 'cpu_cores' \(not measured at b\)"):
        frame = asking(f"cpu_usage: '{both}'\ncpu_cores: '{series('2', instance='a')}'")
    assert list(frame) == ["timestamp", "node", "cpu_usage"] and len(frame) == 12


@pytest.mark.parametrize("value", ["1 / 0", "-1 / 0", "0 / 0"])
def test_a_value_that_is_infinite_or_no_number_is_a_gap(asking, value):
    """One of six values; in a column of ours and in one that telemetry does not declare."""
    names = ("disc_usage", "requests")
    odd = f"(vector({value}) and on() (vector(time()) == 1769835580)) or vector(7)"
    text = "\n".join(f'{name}: \'label_replace({odd}, "instance", "a", "", "")\'' for name in names)
    text += f"\ncpu_usage: '{series('5', instance='a')}'"
    with pytest.warns(UserWarning, match="1 of 6 rows are left out"):
        frame = telemetry.check(asking(text))
    assert f"{frame['timestamp'].iloc[3]:%H:%M:%S}" == "04:59:40" and set(frame["requests"]) == {7}
    told = [f"column '{name}': 1 infinite values are gaps" for name in names]
    assert frame.attrs["notes"] == (told if "1" in value else [])


def test_rows_without_a_value_are_gaps(asking):
    late = f"{series('1', instance='a')} and on() (vector(time()) > 1769835570)"
    with pytest.warns(UserWarning, match="3 of 6 rows are left out"):
        frame = asking(f"cpu_usage: '{series('5', instance='a')}'\ndisc_usage: '{late}'")
    assert f"{frame['timestamp'].iloc[0]:%H:%M:%S}" == "04:59:30" and len(frame) == 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cpu_usage: vector(1)", r"column 'cpu_usage': a series has no label 'instance' \(it has: none\)"),
        (f"cpu_usage: '{series('1', job='x')}'", r"\(it has: job\)\. Let the query keep it, as in 'sum by"),
        (
            f"cpu_usage: '{series('1', instance='a', d='1')} or {series('1', instance='a', d='2')}'",
            "column 'cpu_usage': more than one series of node a. Let the query add them up",
        ),
        (
            "cpu_usage: 'rate('",
            "column 'cpu_usage': the server refused the query .*parse error.*It was: rate",
        ),
        (
            "cpu_usage: nothing_like_it",
            "columns cpu_usage: no query found data in 6 steps up to 2026-01-31 05:00",
        ),
    ],
)
def test_an_unusable_answer_is_explained(asking, text, problem):
    with pytest.raises(TelemetryError, match=problem):
        asking(text)


# ------------------------------------------------------------------------------------ without a Prometheus


@pytest.mark.parametrize(
    ("rest", "problem"),
    [
        ("", "not an http or https address. Write it like http://127.0.0.1:9090"),
        ("localhost:9090", "not an http or https address"),
        ("file:///etc/passwd", "not an http or https address"),
        ("ftp://127.0.0.1", "not an http or https address"),
        ("http://", "not an http or https address"),
        ("http://127.0.0.1:port", "not an http or https address"),
        ("http://127.0.0.1:9090?minutes=no", "option 'minutes' is 'no'. Give a number of at least 1"),
        ("http://127.0.0.1:9090?step=0", "option 'step' is '0'. Give a number of at least 1"),
        ("http://127.0.0.1:9090?minutes=inf", "option 'minutes' is 'inf'"),
        ("http://127.0.0.1:9090?end=soon", "option 'end' is 'soon'. Write it like 2026-01-31T05:00:00Z"),
        ("http://127.0.0.1:9090?minute=5", "option 'minute' is not known.*there are minutes, step"),
        ("http://127.0.0.1:9090?step=5&step=6", "option 'step' occurs twice"),
        ("http://127.0.0.1:9090?step", "option 'step' has no value"),
        ("http://127.0.0.1:9090?anonymise=maybe", "option 'anonymise' is 'maybe'. Give yes or no"),
        ("http://127.0.0.1:9090?queries=/none.yaml", "/none.yaml: cannot be read"),
    ],
)
def test_a_wrong_address_or_option_is_told_before_anything_is_asked(rest, problem):
    with pytest.raises(TelemetryError, match=problem):
        prometheus.read(rest)


@pytest.mark.parametrize(
    "rest",
    [
        "http://me:secret@127.0.0.1:9090",
        "http://me:secret@127.0.0.1:9090?minutes=no",
        "http://secret@127.0.0.1",
        "htp://me:secret@127.0.0.1",
        "http://me:secret@127.0.0.1:port",
        "http://me:secret@[",
    ],
)
def test_a_password_in_the_address_is_refused_and_not_repeated(rest):
    with pytest.raises(TelemetryError, match=r"Put it into ~/\.netrc|not an http or https address") as caught:
        prometheus.read(rest)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("- cpu_usage", "must hold lines of the form 'column: query'"),
        ("cpu_usage: {mode}: x", "is not YAML"),
        ("cpu_usage: 3", "the query of column 'cpu_usage' is not text"),
        ("node: up", "column 'node' is no number"),
    ],
)
def test_a_wrong_file_of_queries_is_explained(tmp_path, content, problem):
    (tmp_path / "q.yaml").write_text(content)
    with pytest.raises(TelemetryError, match=problem):
        prometheus.queries(tmp_path / "q.yaml")


def test_queries_of_a_file_replace_add_and_take_out(tmp_path):
    (tmp_path / "q.yaml").write_text("cpu_usage: up\nrequests: down\ncpu_mhz:\n")
    expected = {**prometheus.QUERIES, "cpu_usage": "up", "requests": "down"}
    del expected["cpu_mhz"]
    assert prometheus.queries(tmp_path / "q.yaml") == expected


def test_the_queries_in_the_book_are_valid(tmp_path, servers):
    page = (files.root() / "book" / "sources-live.md").read_text(encoding="utf-8")
    (tmp_path / "q.yaml").write_text(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    asked = prometheus.queries(tmp_path / "q.yaml")
    assert "temperature_c" not in asked and {"requests", "network_usage"} <= asked.keys()
    # nobody exports requests here, so that the column is absent, but the server takes every query
    assert "requests" not in quiet(f"{servers[0]}?minutes=0.5&step=1&window=3&queries={tmp_path}/q.yaml")


@pytest.fixture
def pretender():
    """A server that answers everything with a status and a text of the test's choosing, or with that in ``answers``
    for a part of the query; ``signs`` are the authorisations that it was sent."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            time.sleep(server.delay)
            server.signs.append(self.headers.get("Authorization", ""))
            query = urllib.parse.unquote_plus(self.path)
            self.send_response(server.status)
            self.end_headers()
            with contextlib.suppress(OSError):
                text = next((text for part, text in server.answers.items() if part in query), server.text)
                self.wfile.write(text.encode())

        def log_message(self, *arguments):
            """Nothing on stderr."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.status, server.text, server.delay, server.answers, server.signs = 200, "", 0, {}, []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def failure(port):
    with pytest.raises(TelemetryError) as caught:
        prometheus.read(f"http://127.0.0.1:{port}")
    assert f"http://127.0.0.1:{port}" in str(caught.value) and caught.value.__cause__ is None
    return str(caught.value)


@pytest.mark.parametrize(
    ("status", "text", "problem"),
    [
        (200, "<html>hello</html>", "this is no Prometheus server (status 200"),
        (200, "[]", "this is no Prometheus server"),
        (200, '{"status": "success"}', "this is no Prometheus server"),
        (404, "not found", "this is no Prometheus server (status 404"),
        (401, "", "wants a user and password. Put them into ~/.netrc"),
        (403, "", "wants a user and password"),
        (503, '{"status": "error", "error": "query timed out"}', "refused the query (query timed out)"),
    ],
)
def test_another_server_is_told_from_prometheus(pretender, status, text, problem):
    pretender.status, pretender.text = status, text
    assert problem in failure(pretender.server_port)


def range_of(*results, **more):
    """What Prometheus answers to a range query: labels and values by time for each series."""
    result = [{"metric": labels, "values": list(values.items())} for labels, values in results]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}, **more})


NODE = ({"instance": "a"}, {1769835600: "5", 1769835660: "6"})
ALONE = {"end": 1769835660.0, "seconds": 120}


@pytest.mark.parametrize(
    ("answer", "text", "loud"),
    [
        ({"warnings": ["store 2 did not answer"]}, "store 2 did not answer", True),
        ({"isPartial": True}, "the answer is partial", True),
        ({"infos": ["metric might not be a counter"]}, "metric might not be a counter", False),
        ({"warnings": None, "infos": [], "isPartial": False}, "", False),
    ],
)
def test_what_the_server_says_of_its_answer_is_kept(pretender, answer, text, loud):
    pretender.text = range_of(NODE, **answer)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        frame = prometheus.collect(f"http://127.0.0.1:{pretender.server_port}", {"cpu_usage": "x"}, **ALONE)
    assert frame.attrs["notes"] == ([f"column 'cpu_usage': the server says: {text}"] if text else [])
    assert [text in str(one.message) for one in warned] == [True] * loud
    assert list(frame["cpu_usage"]) == [5, 6]


def test_a_node_that_goes_over_to_another_series_has_a_gap_there(pretender):
    begin = 1769835600
    old = {begin + 60 * minute: "1" for minute in range(10)}
    new = {begin + 60 * minute: "2" for minute in range(8, 20)}
    pods = [{"instance": "a", "pod": name} for name in ("x1", "x2")]
    read = functools.partial(
        prometheus.collect,
        f"http://127.0.0.1:{pretender.server_port}",
        {"memory_mb": "x"},
        end=begin + 1140.0,
        seconds=1200,
    )
    pretender.text = range_of((pods[0], old), (pods[1], new))
    frame = read()
    assert list(frame["memory_mb"]) == [1] * 8 + [2] * 10
    assert frame.attrs["notes"] == ["column 'memory_mb': 2 times that two series of a node have are gaps"]
    late = {when: value for when, value in new.items() if when >= begin + 17 * 60}
    for other, end in ((new, 1), (late, 0)):  # both at once for long, or at the end
        pretender.text = range_of(
            (pods[0], {when: "1" for when in [*old, *new][: -end or None]}), (pods[1], other)
        )
        with pytest.raises(TelemetryError, match="more than one series of node a.*by pod 'x1' and 'x2'"):
            read()


def test_cards_whose_bytes_pass_through_others_are_told(pretender):
    cards = [({"device": name}, {1769835600: "1"}) for name in ("veth1", "bond0")]
    pretender.answers = {"count by (device)": range_of(*cards)}
    pretender.text = range_of(NODE)
    asked = {"network_usage": prometheus.QUERIES["network_usage"]}
    frame = prometheus.collect(f"http://127.0.0.1:{pretender.server_port}", asked, **ALONE)
    assert frame.attrs["notes"] == left_out(["bond0", "veth1"]) and "bond0, veth1" in frame.attrs["notes"][0]


def test_a_token_is_sent_and_kept_nowhere(pretender, monkeypatch, tmp_path, capsys):
    pretender.text = range_of(NODE)
    address = f"http://127.0.0.1:{pretender.server_port}?minutes=2&end=2026-01-31T05:01:00Z"
    (tmp_path / "token").write_text("of-a-file\n")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("VDS_PROMETHEUS_TOKEN", "of-the-variable")
    for rest, sent in ((address, "of-the-variable"), (f"{address}&token_file={tmp_path}/token", "of-a-file")):
        pretender.signs.clear()
        frame = sources.read(rest)
        assert set(pretender.signs) == {f"Bearer {sent}"}
        kept = repr(frame.attrs) + frame.to_csv() + "".join(capsys.readouterr())
        assert sent not in kept
    pretender.status = 401
    with pytest.raises(
        TelemetryError, match="token, if it wants one, into the variable VDS_PROMETHEUS_TOKEN"
    ) as caught:
        sources.read(address)
    assert "of-the-variable" not in str(caught.value)
    monkeypatch.delenv("VDS_PROMETHEUS_TOKEN")
    pretender.signs.clear()
    with pytest.raises(TelemetryError):
        sources.read(address)
    assert pretender.signs[0].startswith("Basic ")  # without a token ~/.netrc counts


@pytest.mark.parametrize("content", ["two secret words", "secret\u20ac", "secret\nX-Header: 1", ""])
def test_what_is_no_token_is_told_and_not_repeated(tmp_path, monkeypatch, content):
    (tmp_path / "token").write_text(content, encoding="utf-8")
    with pytest.raises(TelemetryError, match=r"token holds no token\. Write the token into it") as caught:
        prometheus.read(f"http://127.0.0.1:9?token_file={tmp_path}/token")
    assert "secret" not in str(caught.value)
    with pytest.raises(TelemetryError, match="cannot be read"):
        prometheus.read(f"http://127.0.0.1:9?token_file={tmp_path}/none")
    with pytest.raises(TelemetryError, match="option 'token' is not known") as caught:
        prometheus.read("http://127.0.0.1:9?token=secret")
    assert "secret" not in str(caught.value)


def test_no_server_is_told():
    assert "no server answers (ConnectionError). Start Prometheus, or correct the address." in failure(
        free_port()
    )


def test_a_server_that_hangs_is_left(pretender, monkeypatch):
    pretender.delay = 1
    monkeypatch.setattr(prometheus, "TIMEOUT", (0.3, 0.3))
    assert "no answer within 0.3 s" in failure(pretender.server_port)
