"""How fast a folder of trace files is imported, beside a bare loop of pyarrow, all in one run.

Both read the same made-up files in the format of the Bitbrains trace and write one Parquet file for each; the bare
loop neither checks, nor converts, nor can go on after a kill. Both use the same number of processes and one thread in
each; every measurement is a new Python process whose imports are not counted, though starting workers is. The two
take turns for some rounds, and ratios are taken within a round. Needs about 1.5 GB of disc below `_build`.

    python book/tools/bench_import.py [nodes [rows [rounds]]]
"""

from __future__ import annotations

import functools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

# Only what the bare loop needs is imported here, since its workers import this file: it must not wait for more.
from vdslib import files

ROOT = files.root()


def convert(path: Path, out: Path) -> None:
    """The bare loop's body, with pyarrow's own settings for everything but threads and the separator."""
    import pyarrow.csv
    import pyarrow.parquet

    table = pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(delimiter=";"),
    )
    pyarrow.parquet.write_table(table, out / f"{path.stem}.parquet")


def bare(folder: Path, out: Path, jobs: int) -> float:
    """Seconds of the bare loop."""
    import pyarrow.csv
    import pyarrow.parquet  # noqa: F401

    files = sorted(folder.rglob("*.csv"))
    start = time.perf_counter()
    out.mkdir()
    work = functools.partial(convert, out=out)
    if jobs == 1:
        for path in files:
            work(path)
    else:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            list(pool.map(work, files, chunksize=4))
    return time.perf_counter() - start


def imported(folder: Path, out: Path, jobs: int) -> float:
    """Seconds of the import."""
    from vdslib.sources import store

    start = time.perf_counter()
    result = store.import_folder(folder, out, jobs=jobs)
    assert not result.failed
    return time.perf_counter() - start


def reading(out: Path) -> list[float]:
    """Milliseconds to read each node of a store, in a random order."""
    import random

    from vdslib.sources import store

    names, spent = store.nodes(out), []
    random.Random(0).shuffle(names)
    for name in names:
        start = time.perf_counter()
        store.read_node(out, name)
        spent.append((time.perf_counter() - start) * 1e3)
    return spent


def measured(way: str, folder: Path, out: Path, jobs: int) -> tuple[float, float]:
    """Seconds, and MB at the peak: the sum over all processes of the most that each ever had."""
    import psutil

    command = [sys.executable, __file__, way, str(folder), str(out), str(jobs)]
    process = psutil.Popen(command, stdout=subprocess.PIPE, text=True)
    peaks: dict[int, float] = {}
    while process.poll() is None:
        for each in [process, *_children(process)]:
            peaks[each.pid] = max(peaks.get(each.pid, 0.0), _peak(each.pid))
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{way} failed")
    return float(json.loads(process.stdout.read())), sum(peaks.values())


def _children(process) -> list:  # psutil is imported late
    import psutil

    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _peak(pid: int) -> float:
    """The most memory that a process has had, in MB; 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return 0.0
    return next(
        (int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0.0
    )


def spread(values: list[float], form: str) -> str:
    """Median and range."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def compare(folder: Path, scratch: Path, rounds: int, jobs: int) -> None:
    """Let both take turns; print speeds, ratios and memory."""
    import shutil

    size = sum(path.stat().st_size for path in folder.rglob("*.csv")) / 1e6
    seconds: dict[str, list[float]] = {"bare": [], "imported": []}
    memory: dict[str, list[float]] = {"bare": [], "imported": []}
    for number in range(rounds + 1):  # the first round fills the page cache and is not counted
        for way in list(seconds)[:: 1 if number % 2 else -1]:
            shutil.rmtree(scratch / way, ignore_errors=True)
            spent, peak = measured(way, folder, scratch / way, jobs)
            if number:
                seconds[way].append(spent)
                memory[way].append(peak)
    ratios = [a / b for a, b in zip(seconds["bare"], seconds["imported"], strict=True)]
    print(f"processes: {jobs}, rounds: {rounds}, text: {size:.0f} MB", flush=True)
    for way, name in (("bare", "bare loop of pyarrow"), ("imported", "import")):
        speed = [size / each for each in seconds[way]]
        print(
            f"  {name:21} {spread(seconds[way], '.2f')} s, {spread(speed, '.0f')} MB/s, {spread(memory[way], '.0f')} MB of memory"
        )
    print(f"  speed of the import as a share of the bare loop's: {spread(ratios, '.1%')}", flush=True)


def main(nodes: int = 500, rows: int = 8600, rounds: int = 7) -> None:
    """Measure everything."""
    import joblib

    sys.path.append(str(ROOT / "tests"))
    from synthetic import trace_folder

    (ROOT / "_build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "_build") as name:
        scratch = Path(name)
        trace_folder(scratch / "trace", nodes, rows)
        print(f"{nodes} files of {rows} rows")
        for jobs in dict.fromkeys((1, joblib.cpu_count())):
            compare(scratch / "trace", scratch, rounds, jobs)
        spent = reading(scratch / "imported")
        print(
            f"reading one node of {nodes}: {statistics.median(spent):.1f} ms, slowest {max(spent):.1f} ms, first {spent[0]:.1f} ms"
        )
        trace_folder(scratch / "fewer", max(1, nodes // 5), rows)
        _, peak = measured("imported", scratch / "fewer", scratch / "small store", joblib.cpu_count())
        print(f"memory of the import with a fifth of the files: {peak:.0f} MB")


if __name__ == "__main__":
    if sys.argv[1:2] in (["bare"], ["imported"]):
        way, folder, out, jobs = sys.argv[1:]
        print(json.dumps({"bare": bare, "imported": imported}[way](Path(folder), Path(out), int(jobs))))
    else:
        main(*map(int, sys.argv[1:]))
