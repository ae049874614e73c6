"""Fetching public traces: what is kept is what is pinned, from a server as from a mirror."""

import functools
import hashlib
import http.server
import threading

import pooch
import pytest
from traces_at_hand import need_traces

from vdslib.errors import TelemetryError
from vdslib.sources import traces
from vdslib.sources._pins import PINS, Pin

NAME = "some/trace.csv"
WHOLE = b"t,v\n0,1\n1,2\n2,3\n3,4\n"


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """An empty cache, and no mirror."""
    monkeypatch.delenv("VDS_TRACES", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def server(tmp_path):
    """The address of a server on this machine, and the requests it got."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "trace.csv").write_bytes(WHOLE)
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    made = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), made) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}/trace.csv", asked
        running.shutdown()
        thread.join()


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_trace_is_fetched_once_and_kept(cached, server, monkeypatch):
    address, asked = server
    monkeypatch.setitem(PINS, NAME, Pin(address, sha(WHOLE)))
    assert traces.fetch(NAME) == traces.fetch(NAME) == cached / NAME
    assert (cached / NAME).read_bytes() == WHOLE
    assert len(asked) == 1 and files(cached) == [NAME]


def test_a_spoilt_file_in_the_cache_is_fetched_again(cached, server, monkeypatch):
    address, asked = server
    monkeypatch.setitem(PINS, NAME, Pin(address, sha(WHOLE)))
    traces.fetch(NAME).write_bytes(b"spoilt")
    assert traces.fetch(NAME).read_bytes() == WHOLE and len(asked) == 2


def test_a_pinned_part_is_cut_out_and_checked(cached, server, monkeypatch):
    part = b"t,v\n1,2\n2,3\n"
    monkeypatch.setitem(PINS, NAME, Pin(server[0], sha(part), first="1,", rows=2))
    assert traces.fetch(NAME).read_bytes() == part and files(cached) == [NAME]


@pytest.mark.parametrize(("first", "rows"), [("", 0), ("1,", 2), ("absent", 2)])
def test_a_wrong_hash_is_refused_and_nothing_is_kept(cached, server, monkeypatch, first, rows):
    monkeypatch.setitem(PINS, NAME, Pin(server[0], sha(b"else"), first=first, rows=rows))
    with pytest.raises(
        TelemetryError, match=r"is not the pinned file \(its SHA-256 differs\)\. It was not kept"
    ):
        traces.fetch(NAME)
    assert files(cached) == []


def test_without_network_and_mirror_there_is_one_clear_error(cached, monkeypatch):
    monkeypatch.setitem(PINS, NAME, Pin("http://127.0.0.1:9/trace.csv", sha(WHOLE)))
    with pytest.raises(TelemetryError) as caught:
        traces.fetch(NAME)
    text = str(caught.value)
    assert text.startswith(f"{NAME}: cannot be fetched from http://127.0.0.1:9/trace.csv (no connection). ")
    assert text.endswith("or set VDS_TRACES to a folder that holds the file under this name.")
    assert caught.value.__cause__ is None and files(cached) == []


def test_a_missing_page_is_a_clear_error_too(cached, server, monkeypatch):
    monkeypatch.setitem(PINS, NAME, Pin(server[0] + ".gone", sha(WHOLE)))
    with pytest.raises(TelemetryError, match=r"cannot be fetched from .*404"):
        traces.fetch(NAME)
    assert files(cached) == []


def test_a_mirror_is_read_in_place_with_the_same_check(cached, server, tmp_path, monkeypatch):
    monkeypatch.setitem(PINS, NAME, Pin(server[0], sha(WHOLE)))
    mirror = tmp_path / "mirror"
    monkeypatch.setenv("VDS_TRACES", str(mirror))
    with pytest.raises(
        TelemetryError, match=r"there is no such file in the mirror that VDS_TRACES names\. Add it"
    ):
        traces.fetch(NAME)
    (mirror / NAME).parent.mkdir(parents=True)
    (mirror / NAME).write_bytes(WHOLE)
    assert traces.fetch(NAME) == mirror / NAME
    (mirror / NAME).write_bytes(WHOLE + b"4,5\n")
    with pytest.raises(TelemetryError, match="the file is refused, since its SHA-256 is not the pinned one"):
        traces.fetch(NAME)
    assert server[1] == [] and not cached.exists()


def test_an_unknown_trace_is_named(cached):
    with pytest.raises(
        TelemetryError, match=r"no such trace is known\. Did you mean bitbrains-rnd/2013-8/332\.csv"
    ):
        traces.fetch("bitbrains-rnd/2013-8/332")


def test_every_pin_is_an_address_at_one_commit():
    for name, pin in PINS.items():
        assert len(pin.sha256) == 64 and int(pin.sha256, 16)
        assert pin.address.startswith("https://raw.githubusercontent.com/")
        assert len(pin.address.split("/")[5]) == 40, name  # owner / repository / commit / path
        assert bool(pin.first) == bool(pin.rows)


def test_every_pinned_file_is_there():
    need_traces()
    assert len(PINS) > 50
    for name in PINS:
        assert traces.fetch(name).is_file()


def test_traces_are_available_where_they_can_be_fetched(cached, server, monkeypatch):
    monkeypatch.setitem(PINS, NAME, Pin(server[0], sha(WHOLE)))
    assert traces.available(NAME) and files(cached) == [NAME]
    monkeypatch.setitem(PINS, "some/other.csv", Pin("http://127.0.0.1:9/trace.csv", sha(WHOLE)))
    assert not traces.available(NAME, "some/other.csv")
    with pytest.raises(TelemetryError, match="no such trace is known"):
        traces.available("some/unknown.csv")
    monkeypatch.setitem(PINS, "some/other.csv", Pin(server[0], sha(b"another")))
    with pytest.raises(TelemetryError, match="is not the pinned file"):
        traces.available("some/other.csv")


def test_a_mirror_that_lacks_a_trace_is_an_error_and_not_a_reason_to_skip(tmp_path, monkeypatch):
    monkeypatch.setenv("VDS_TRACES", str(tmp_path))
    with pytest.raises(TelemetryError, match="there is no such file in the mirror that VDS_TRACES names"):
        traces.available("bitbrains-rnd/2013-8/332.csv")
