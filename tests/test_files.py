"""Files that are written whole or not at all: by several at once, with the rights that any new file has."""

import os
import stat
import threading

import pandas as pd
import pytest

from vdslib import experiments, files, telemetry
from vdslib.experiments import results


@pytest.fixture
def umask():
    """A umask that lets the group write, as on machines that are shared."""
    before = os.umask(0o002)
    yield
    os.umask(before)


def test_recorded_results_and_written_tables_have_the_rights_of_any_new_file(tmp_path, umask):
    frame = pd.DataFrame(
        {"timestamp": pd.date_range("2026-01-01", periods=2, freq="s", tz="UTC"), "node": "a"}
    )
    telemetry.write(frame.assign(cpu_usage=1.0, memory_usage=1.0), tmp_path / "telemetry.csv")
    results.write(frame, tmp_path / "table.csv")
    results.write(frame, tmp_path / "table.parquet")
    experiments.record("chapter", {"a": 1}, tmp_path)
    files.save(tmp_path / "text", "a")
    rights = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(rights) == 5 and set(rights.values()) == {0o664}


def test_threads_that_write_one_file_at_once_do_not_meet(tmp_path):
    target, together, texts = tmp_path / "a.json", threading.Barrier(4), [str(n) * 1000 for n in range(4)]
    failed = []

    def write(text):
        try:
            with files.atomic(target) as temporary:
                temporary.write_text(text)
                together.wait(60)
                assert temporary.read_text() == text
                together.wait(60)
        except (AssertionError, OSError, threading.BrokenBarrierError) as error:
            failed.append(error)
            together.abort()

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [] and target.read_text() in texts and list(tmp_path.iterdir()) == [target]


def test_what_fails_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path):
    target = tmp_path / "a.txt"
    files.save(target, "before")
    with pytest.raises(KeyboardInterrupt), files.atomic(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "before" and list(tmp_path.iterdir()) == [target]
    with pytest.raises(FileNotFoundError):
        files.save(tmp_path / "none" / "a.txt", "x")


def test_a_long_name_a_link_and_what_is_no_file_can_be_written(tmp_path):
    name = "é" * 127
    files.save(tmp_path / name, "long")
    assert (tmp_path / name).read_text() == "long"
    link = tmp_path / "link"
    link.symlink_to(tmp_path / name)
    files.save(link, "through")
    assert link.is_symlink() and (tmp_path / name).read_text() == "through"
    files.save("/dev/null", "gone")
    assert not os.path.isfile("/dev/null")
