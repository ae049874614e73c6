"""What makes a run another run: everything that may determine its result, and nothing else."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import nbformat
import pytest
import stub_runs

from vdslib import experiments, files
from vdslib.cli import main
from vdslib.experiments import identity, runs, storage


def test_the_id_follows_what_determines_the_result_and_nothing_else(notebook, tmp_path, monkeypatch):
    first = stub_runs.planned(notebook).id
    assert stub_runs.planned(notebook, number="1", results_dir="elsewhere").id == first
    assert stub_runs.planned(notebook, number=2).id != first
    shutil.copy(notebook, tmp_path / "renamed.ipynb")
    assert stub_runs.planned(tmp_path / "renamed.ipynb").id == first
    more = stub_runs.write_notebook(tmp_path / "more.ipynb", "1 + 1")
    assert stub_runs.planned(more).id != first
    content = nbformat.read(notebook, 4)
    content.cells.append(nbformat.v4.new_markdown_cell("prose"))
    content.cells[0].source = content.cells[0].source.replace("start of random numbers", "first seed")
    nbformat.write(content, tmp_path / "prose.ipynb")
    assert stub_runs.planned(tmp_path / "prose.ipynb").id == first
    monkeypatch.setenv("VDS_MOVED_WEIGHTS", "1")
    moved = stub_runs.planned(notebook).id
    monkeypatch.setenv("VDS_MOVED_WEIGHTS", "2")
    assert len({first, moved, stub_runs.planned(notebook).id}) == 3


def test_the_content_of_a_telemetry_file_is_part_of_the_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cell = nbformat.v4.new_code_cell(
        'telemetry: str = "recorded"  # telemetry', metadata={"tags": ["parameters"]}
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), "t.ipynb")
    ids = []
    for text in ("a", "b", "a"):
        Path("mine.csv").write_text(text)
        ids.append(runs.subject("t.ipynb").run({"telemetry": "mine.csv"}).id)
    assert ids[0] == ids[2] != ids[1]
    assert main(["run", "t.ipynb", "-p", "telemetry", "none.csv"]) == 2 and not Path("runs").exists()


def test_the_content_of_a_file_that_a_parameter_names_is_part_of_the_id_and_of_the_environment(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    cell = nbformat.v4.new_code_cell('plan: str = ""  # a plan [file]', metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), "t.ipynb")
    made = []
    for text in ("a", "b", "a"):
        Path("plan.yaml").write_text(text)
        made.append(runs.subject("t.ipynb").run({"plan": "plan.yaml"}))
    assert made[0].id == made[2].id != made[1].id != runs.subject("t.ipynb").run({}).id
    # what sha256sum prints
    sums = {"plan.yaml": hashlib.sha256(b"a").hexdigest()}
    recorded = files.root() / "data" / "vds_data.csv"
    sums[recorded.name] = hashlib.sha256(recorded.read_bytes()).hexdigest()
    assert runs.environment(made[0])["data"].items() >= sums.items()
    assert main(["run", "t.ipynb", "-p", "plan", "none.yaml"]) == 2 and not Path("runs").exists()


def test_a_notebook_that_changed_since_the_plan_is_not_run_as_if_it_had_not(notebook):
    run = stub_runs.planned(notebook)
    content = nbformat.read(notebook, 4)
    content.cells.append(nbformat.v4.new_code_cell("2"))
    nbformat.write(content, notebook)
    outcome = runs.perform(run, "runs", "stub")
    assert "are not those that the run was planned with" in outcome.error


def project(folder, monkeypatch):
    """A copy of what a run depends on of the project, which runs take for the project."""
    root = folder / "project"
    for part in ("vdslib", "data", "book/studies"):
        shutil.copytree(files.root() / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(files.root() / "requirements.lock", root)
    monkeypatch.setattr(files, "root", lambda: root)
    return root


@pytest.mark.parametrize(
    "changed",
    [
        "vdslib/experiments/notebooks.py",
        "vdslib/forecasting/classical.py",
        "vdslib/sources/bitbrains.py",
        "data/dirty_outcomes.csv",
        "book/studies/random.yaml",
        "requirements.lock",
    ],
)
def test_a_change_of_the_project_is_seen_by_a_process_that_knew_the_notebook(
    notebook, tmp_path, monkeypatch, changed
):
    path = project(tmp_path, monkeypatch) / changed
    text, status = path.read_text(), path.stat()
    first = stub_runs.planned(notebook).id
    assert stub_runs.planned(notebook).id == first
    # as long as before and as old: its name and its times alone do not tell
    path.write_text(text.replace("e", "E", 1))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert stub_runs.planned(notebook).id != first
    path.write_text(text)
    assert stub_runs.planned(notebook).id == first
    path.unlink()
    assert stub_runs.planned(notebook).id != first


def test_modules_that_a_kernel_can_import_are_part_of_the_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "notebooks"
    elsewhere.mkdir()
    path = stub_runs.write_notebook(elsewhere / "stub.ipynb")
    ids = [stub_runs.planned(path).id]
    for name in ("helper.py", "notebooks/helper.py", "package/__init__.py", "package/deep/module.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        for text in ("1", "2"):
            (tmp_path / name).write_text(text)
            ids.append(stub_runs.planned(path).id)
    assert len(set(ids)) == len(ids)
    (tmp_path / "notebooks" / "table.csv").write_text("")
    assert stub_runs.planned(path).id == ids[-1]


@pytest.mark.parametrize("variable", identity.OWN)
def test_a_readers_own_sources_and_forecasters_are_part_of_the_id(notebook, tmp_path, monkeypatch, variable):
    ids = [stub_runs.planned(notebook).id]
    (tmp_path / "more").mkdir()
    for text in ("1", "2"):
        (tmp_path / "more" / "own.py").write_text(text)
        monkeypatch.setenv(variable, f"{tmp_path / 'none.py'}{os.pathsep}{tmp_path / 'more' / 'own.py'}")
        ids.append(stub_runs.planned(notebook).id)
    assert len(set(ids)) == 3


OWN_SOURCE = """
from pathlib import Path
import pandas as pd
from vdslib.sources import register

@register("mine", title="a source of a reader's own")
def read(rest):
    times = pd.date_range("2026-01-01", periods=3, freq="min", tz="UTC")
    return pd.DataFrame({"timestamp": times, "node": "n", "cpu_usage": 1.0, "memory_usage": 2.0})
"""
TELEMETRY = nbformat.v4.new_code_cell(
    'telemetry: str = "recorded"  # telemetry\nresults_dir: str = ""  # folder',
    metadata={"tags": ["parameters"]},
)


@pytest.fixture
def own(tmp_path, monkeypatch, registries):
    """A notebook with the parameter telemetry, and a source of a reader's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VDS_RESULTS", raising=False)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.py").write_text(OWN_SOURCE)
    monkeypatch.setenv("VDS_SOURCES", str(tmp_path / "own" / "mine.py"))
    nbformat.write(nbformat.v4.new_notebook(cells=[TELEMETRY]), "t.ipynb")
    return tmp_path


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("events:log.jsonl?interval=60", "log.jsonl"),
        ("events:log.jsonl.gz?interval=60&deadline=1", "log.jsonl.gz"),
        ("sar:sa24", "sa24"),
        ("bitbrains:machine.csv", "machine.csv"),
        ("machine.csv.gz", "machine.csv.gz"),
        ("mine:table.txt", "table.txt"),
        ("mine:tables", "tables/node=1/data.parquet"),
        ("mine:tables/*/data.parquet", "tables/node=1/data.parquet"),
        ("mine:table.txt?map=map.yaml", "map.yaml"),
        ("mine:table.txt,other.txt", "other.txt"),
    ],
)
def test_the_files_behind_any_address_are_part_of_the_id(own, address, file):
    (own / "table.txt").write_text("")
    path = own / file
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = []
    for text in ("ab", "ba", "ab"):
        status = path.stat() if path.exists() else None
        path.write_text(text)
        if status:
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        ids.append(stub_runs.planned("t.ipynb", telemetry=address).id)
    assert ids[0] == ids[2] != ids[1]


@pytest.mark.parametrize(
    "address", ["alibaba:2018", "bitbrains:2013-8/332", "worldcup98", "nab:ec2_cpu_utilization_24ae8d"]
)
def test_a_pinned_trace_is_found_again(own, address):
    assert (
        stub_runs.planned("t.ipynb", telemetry=address).id
        == stub_runs.planned("t.ipynb", telemetry=address).id
    )


def test_what_is_measured_anew_is_never_there_already(own, monkeypatch, capsys):
    live = ["host:60", "prometheus:http://127.0.0.1:1?minutes=5", "http://127.0.0.1:1", "mine:now", "mine:"]
    (own / "60").write_text("a file that is called like a number of seconds")
    for address in live:
        assert (
            stub_runs.planned("t.ipynb", telemetry=address).id
            != stub_runs.planned("t.ipynb", telemetry=address).id
        )
    monkeypatch.setattr(runs, "execute", lambda run, folder, *_, **__: stub_result(folder))
    for _ in range(2):
        assert main(["run", "t.ipynb", "-p", "telemetry", "host:60"]) == 0
        said = capsys.readouterr().out
        assert "host:60 is measured anew by each run" in said and "there already" not in said
    assert len(list(Path("runs/t").iterdir())) == 2


def stub_result(folder):
    """What the notebook of a run would have left, were it executed."""
    (folder / "results.json").write_text("{}")


def test_what_is_measured_is_measured_by_the_run_alone(own, monkeypatch, capsys):
    def measured(*_, **__):
        pytest.fail("measured before the kernel started")

    from vdslib.sources import host, prometheus

    monkeypatch.setattr(host, "measure", measured)
    monkeypatch.setattr(prometheus, "collect", measured)
    monkeypatch.setattr(runs, "execute", lambda run, folder, *_, **__: stub_result(folder))
    for address in ("host:3", "host:", "http://127.0.0.1:1", "prometheus:http://127.0.0.1:1?minutes=5"):
        assert main(["run", "t.ipynb", "-p", "telemetry", address]) == 0
    capsys.readouterr()
    for address, fault in {
        "host:soon": "is not a whole number of seconds",
        "host:3?step=9": "shorter than one step",
        "http://127.0.0.1:1?minuets=5": "option 'minuets' is not known",
        "prometheus:ftp://127.0.0.1": "not an http or https address",
    }.items():
        assert main(["run", "t.ipynb", "-p", "telemetry", address]) == 2
        assert fault in capsys.readouterr().err


def test_a_file_that_changes_after_the_plan_is_not_taken_for_the_one_planned(own):
    Path("mine.csv").write_text("a")
    run = stub_runs.planned("t.ipynb", telemetry="mine.csv")
    Path("mine.csv").write_text("b")
    assert "is not what it was when the run was planned" in runs.perform(run, "runs", "t").error


BOTH = """\
from vdslib import experiments
found = experiments.load(results_dir)
_ = experiments.record("NAME", {"value": 1, "read": dict(found).get("before", {})}, results_dir)
"""


@pytest.mark.parametrize("name", ["both", "another"])
def test_a_notebook_that_reads_and_records_does_not_depend_on_what_it_recorded_itself(own, capsys, name):
    nbformat.write(
        nbformat.v4.new_notebook(cells=[TELEMETRY, nbformat.v4.new_code_cell(BOTH.replace("NAME", name))]),
        "both.ipynb",
    )
    command = ["run", "both.ipynb", "-p", "results_dir", "handed"]
    experiments.record("before", {"n": 1}, "handed")
    made = {name: {"value": 1, "read": {"n": 1}}}
    for told in ("run: ", "this run is there already"):
        assert main(command) == 0
        assert capsys.readouterr().out.startswith(told)
        (folder,) = Path("runs/both").iterdir()
        assert json.loads((folder / "results.json").read_text()) == made
        assert experiments.load("handed") == {"before": {"n": 1}} | made
    # again, though it records what is there: its results are its own
    assert main([*command, "--force"]) == 0
    assert json.loads((folder / "results.json").read_text()) == made
    # what it reads is another thing
    experiments.record("before", {"n": 2}, "handed")
    assert main(command) == 0
    assert len(list(Path("runs/both").iterdir())) == 2
    assert experiments.load("handed")[name]["read"] == {"n": 2}
    # and if another notebook records under the same name, that is none of its own any more
    experiments.record("another", {"n": 3}, "handed")
    ids = storage.Place("runs", "both").ids()
    assert stub_runs.planned("both.ipynb", results_dir="handed").id not in ids


def test_a_chapter_depends_on_results_of_those_before_it_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VDS_RESULTS", raising=False)
    for chapter in ("2-2-preparation", "5-conclusions"):
        experiments.record(chapter, {"n": 1}, "handed")
    middle = stub_runs.planned("3-3-experiment", results_dir="handed").id
    experiments.record("5-conclusions", {"n": 2}, "handed")
    experiments.record("3-3-experiment", {"n": 2}, "handed")
    assert stub_runs.planned("3-3-experiment", results_dir="handed").id == middle
    experiments.record("2-2-preparation", {"n": 2}, "handed")
    assert stub_runs.planned("3-3-experiment", results_dir="handed").id != middle
    assert (
        stub_runs.planned("2-2-preparation", results_dir="handed").id
        == stub_runs.planned("2-2-preparation").id
    )
