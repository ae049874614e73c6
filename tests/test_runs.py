"""A run's folder and identity: what is in it, what makes it another run, and that it is whole or absent."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import stub_runs
import yaml

from vdslib import cli, experiments, fingerprints, results, runs, scales
from vdslib.experiments import ParameterError

PICTURE = """\
from vdslib import plots
plots.show(plots.bars({"a": 1.0, "b": 2.0}, title="two bars"))
"""


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VDS_RESULTS", raising=False)
    return stub_runs.write_notebook(tmp_path / "stub.ipynb")


def planned(notebook, **given):
    return runs.subject(notebook).run(given)


def make(run, out="runs"):
    return runs.perform(run, str(out), "stub", executor=stub_runs.without_kernel)


def test_a_run_keeps_notebook_parameters_results_figures_log_and_environment(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = stub_runs.write_notebook(tmp_path / "stub.ipynb", PICTURE)
    assert (
        cli.main(
            ["run", str(source), "-p", "number", "3", "-p", "results_dir", "handed", "--experiment", "e"]
        )
        == 0
    )
    folder = Path(capsys.readouterr().out.removeprefix("run: ").strip())
    assert folder.parent == Path("runs/e")
    assert sorted(path.name for path in folder.iterdir()) == [
        "environment.json",
        "figures",
        "log.txt",
        "notebook.ipynb",
        "parameters.json",
        "results.json",
        "run.json",
    ]
    read = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    assert read["parameters"] == {"number": 3, "fault": "none", "pause": 0.0, "seed": 0}
    assert read["results"]["stub"]["of"] == {"half": 1.5}
    assert read["run"]["id"] == folder.name and 0 < read["run"]["cell_seconds"] < read["run"]["seconds"]
    assert read["environment"]["seeds"] == {"seed": 0} and read["environment"]["packages"]["papermill"]
    assert (folder / "figures" / "01-figure.png").read_bytes()[:4] == b"\x89PNG"
    assert "Executing notebook" in (folder / "log.txt").read_text()
    assert "error" not in str(nbformat.read(folder / "notebook.ipynb", 4).metadata)
    assert experiments.load("handed") == read["results"]
    # found again, and its results handed on again
    shutil.rmtree("handed")
    monkeypatch.setattr(experiments, "run", lambda *_, **__: pytest.fail("a kernel was started"))
    assert (
        cli.main(
            ["run", str(source), "-p", "number", "3", "-p", "results_dir", "handed", "--experiment", "e"]
        )
        == 0
    )
    assert "there already" in capsys.readouterr().out and experiments.load("handed") == read["results"]


def test_force_repeats_a_run(notebook, monkeypatch):
    make(planned(notebook))
    seen = []
    monkeypatch.setattr(
        runs, "perform", lambda run, *_, **__: seen.append(run.id) or runs.Outcome(run.id, 0.0)
    )
    cli.main(["run", str(notebook)])
    assert seen == []
    cli.main(["run", str(notebook), "--force"])
    assert seen == [planned(notebook).id]


def test_the_id_follows_what_determines_the_result_and_nothing_else(notebook, tmp_path, monkeypatch):
    first = planned(notebook).id
    assert planned(notebook, number="1", results_dir="elsewhere").id == first
    assert planned(notebook, number=2).id != first
    shutil.copy(notebook, tmp_path / "renamed.ipynb")
    assert planned(tmp_path / "renamed.ipynb").id == first
    more = stub_runs.write_notebook(tmp_path / "more.ipynb", "1 + 1")
    assert planned(more).id != first
    content = nbformat.read(notebook, 4)
    content.cells.append(nbformat.v4.new_markdown_cell("prose"))
    content.cells[0].source = content.cells[0].source.replace("start of random numbers", "first seed")
    nbformat.write(content, tmp_path / "prose.ipynb")
    assert planned(tmp_path / "prose.ipynb").id == first


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
    assert cli.main(["run", "t.ipynb", "-p", "telemetry", "none.csv"]) == 2 and not Path("runs").exists()


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
    recorded = experiments.root() / "data" / "vds_data.csv"
    sums[recorded.name] = hashlib.sha256(recorded.read_bytes()).hexdigest()
    assert runs.environment(made[0])["data"].items() >= sums.items()
    assert cli.main(["run", "t.ipynb", "-p", "plan", "none.yaml"]) == 2 and not Path("runs").exists()


def test_a_finished_run_is_replaced_whole_even_where_another_sweep_puts_it_there_meanwhile(
    notebook, monkeypatch
):
    run = planned(notebook)
    make(run)
    first = Path("runs/stub", run.id, "run.json").read_text()
    original, interfered = runs.os.rename, []

    def rename(source, target):
        original(source, target)
        # another one publishes the same run just after the old one was moved away
        if Path(source).name == run.id and not interfered:
            interfered.append(shutil.copytree(target, source))

    monkeypatch.setattr(runs.os, "rename", rename)
    make(run)
    assert interfered and Path("runs/stub", run.id, "run.json").read_text() != first
    assert [path.name for path in Path("runs/stub").iterdir()] == [run.id]


def test_a_run_that_was_cut_off_leaves_nothing_that_counts(notebook, monkeypatch):
    place = runs.Place("runs", "stub")
    monkeypatch.setattr(runs.Place, "publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        make(planned(notebook))
    assert place.ids() == set() and list(Path("runs/stub").iterdir()) == []


def test_a_notebook_that_changed_since_the_plan_is_not_run_as_if_it_had_not(notebook):
    run = planned(notebook)
    content = nbformat.read(notebook, 4)
    content.cells.append(nbformat.v4.new_code_cell("2"))
    nbformat.write(content, notebook)
    outcome = runs.perform(run, "runs", "stub")
    assert "are not those that the run was planned with" in outcome.error


def test_runs_go_to_any_address_that_fsspec_knows(notebook):
    run = planned(notebook, number=4)
    out = "memory://bucket/runs"
    assert make(run, out).error == "" and make(planned(notebook, number=5, fault="error"), out).error
    place = runs.Place(out, "stub")
    assert place.ids() == {run.id} and len(place.ids(runs.FAILED)) == 1
    frame = results.table("stub", out)
    assert frame["value"].dropna().tolist() == [8] and set(frame["state"]) == {"done", "failed"}
    assert make(run, out).error == "" and runs.Place(out, "stub").ids() == {run.id}
    with pytest.raises(ParameterError, match="cannot keep runs in nowhere://x"):
        runs.Place("nowhere://x", "stub")


def test_results_are_one_tidy_table_on_screen_and_in_files(notebook, capsys):
    for number in (1, 2):
        make(planned(notebook, number=number))
    assert cli.main(["results", "stub", "--csv", "t.csv", "--parquet", "t.parquet"]) == 0
    for frame in (pd.read_csv("t.csv"), pd.read_parquet("t.parquet")):
        assert frame["value"].tolist() == [2, 4] and frame["number"].tolist() == [1, 2]
    capsys.readouterr()
    assert cli.main(["results", "stub"]) == 0
    assert "value" in capsys.readouterr().out
    assert cli.main(["results", "none"]) == 2 and "there are no runs of 'none'" in capsys.readouterr().err
    assert cli.main(["results", "stub", "--csv", "t.txt"]) == 2


def test_nested_results_become_columns_repetitions_their_mean_and_curves_none():
    assert results.flatten({"a": {"b": 1, "c": {"d": None}}, "e": [{"f": 1}], "loss": [1]}) == {
        "a.b": 1,
        "a.c.d": None,
    }
    assert results.flatten({"mse": [1, None, 3]}) == {"mse.mean": 2, "mse.std": pytest.approx(2**0.5)}


def test_settings_are_ranked_with_their_spread_over_seeds(notebook):
    for number in (2, 1):
        for seed in (0, 1):
            make(planned(notebook, number=number, seed=seed))
    frame = results.table("stub")
    assert results.varied(frame) == ["number"] and results.measures(frame) == ["value"]
    ranked = results.ranked(frame, ["number"], "value")
    assert (
        ranked["mean"].tolist() == [2, 4]
        and ranked["count"].tolist() == [2, 2]
        and ranked["std"].tolist() == [0, 0]
    )


def test_the_report_is_a_page_that_needs_no_network_and_describes_its_figures(notebook):
    make(planned(notebook, number=1))
    make(planned(notebook, number=2))
    make(planned(notebook, number=3, fault="error"))
    assert cli.main(["results", "stub", "--report", "page.html"]) == 0
    page = Path("page.html").read_text()
    assert (
        "3 runs, 2 done, 1 failed" in page
        and "number 3 does not work" in page
        and "median of value. number: 1 2, 2 4." in page
    )
    assert 'src="http' not in page and page.count("<img") == page.count('alt="')


@pytest.mark.parametrize("name", ["../up", "", "a/b", ".hidden"])
def test_an_experiment_stays_in_its_folder(name):
    with pytest.raises(ParameterError, match="cannot name an experiment"):
        runs.Place("runs", name)


@pytest.mark.parametrize("scale", ["smoke", "default", "paper"])
def test_every_chapter_has_parameters_for_every_scale(scale):
    content = yaml.safe_load((scales.FOLDER / f"{scale}.yaml").read_text())
    chapters = {path.stem for path in (experiments.root() / "notebooks").glob("*.ipynb")}
    assert set(content) == chapters
    for chapter, given in content.items():
        declared = {parameter.name: parameter.default for parameter in experiments.parameters(chapter)}
        assert experiments.check(chapter, given) == given
        assert (scale != "default") or given == {}
        assert all(declared[name] != value for name, value in given.items())


def test_a_scale_is_used_and_the_command_line_goes_before_it(notebook, tmp_path, monkeypatch):
    monkeypatch.setattr(scales, "FOLDER", tmp_path)
    (tmp_path / "small.yaml").write_text("stub: {number: 8, seed: 9}")
    seen = []
    monkeypatch.setattr(
        runs, "perform", lambda run, *_, **__: seen.append(run.parameters) or runs.Outcome("", 0.0)
    )
    cli.main(["run", str(notebook), "--scale", "small", "-p", "seed", "2"])
    assert (seen[0]["number"], seen[0]["seed"]) == (8, 2)


def test_an_error_of_a_kernel_is_kept_and_told(notebook, capsys):
    assert cli.main(["run", str(notebook), "-p", "fault", "error", "-p", "number", "7"]) == 2
    said = capsys.readouterr()
    assert "number 7 does not work" in said.err and "\x1b" not in said.err
    folder = Path(said.out.split(": ")[1].strip())
    assert "number 7 does not work" in json.loads((folder / "failed.json").read_text())["error"]
    assert (folder / "notebook.ipynb").is_file() and not (folder / "run.json").exists()


def project(folder, monkeypatch):
    """A copy of what a run depends on of the project, which runs take for the project."""
    root = folder / "project"
    for part in ("vdslib", "data", "book/studies"):
        shutil.copytree(experiments.root() / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(experiments.root() / "requirements.lock", root)
    monkeypatch.setattr(experiments, "root", lambda: root)
    return root


@pytest.mark.parametrize(
    "changed",
    [
        "vdslib/experiments.py",
        "vdslib/classical.py",
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
    first = planned(notebook).id
    assert planned(notebook).id == first
    # as long as before and as old: its name and its times alone do not tell
    path.write_text(text.replace("e", "E", 1))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert planned(notebook).id != first
    path.write_text(text)
    assert planned(notebook).id == first
    path.unlink()
    assert planned(notebook).id != first


def test_modules_that_a_kernel_can_import_are_part_of_the_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "notebooks"
    elsewhere.mkdir()
    path = stub_runs.write_notebook(elsewhere / "stub.ipynb")
    ids = [planned(path).id]
    for name in ("helper.py", "notebooks/helper.py", "package/__init__.py", "package/deep/module.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        for text in ("1", "2"):
            (tmp_path / name).write_text(text)
            ids.append(planned(path).id)
    assert len(set(ids)) == len(ids)
    (tmp_path / "notebooks" / "table.csv").write_text("")
    assert planned(path).id == ids[-1]


@pytest.mark.parametrize("variable", fingerprints.OWN)
def test_a_readers_own_sources_and_forecasters_are_part_of_the_id(notebook, tmp_path, monkeypatch, variable):
    ids = [planned(notebook).id]
    (tmp_path / "more").mkdir()
    for text in ("1", "2"):
        (tmp_path / "more" / "own.py").write_text(text)
        monkeypatch.setenv(variable, f"{tmp_path / 'none.py'}{os.pathsep}{tmp_path / 'more' / 'own.py'}")
        ids.append(planned(notebook).id)
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
def own(tmp_path, monkeypatch):
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
        ids.append(planned("t.ipynb", telemetry=address).id)
    assert ids[0] == ids[2] != ids[1]


@pytest.mark.parametrize(
    "address", ["alibaba:2018", "bitbrains:2013-8/332", "worldcup98", "nab:ec2_cpu_utilization_24ae8d"]
)
def test_a_pinned_trace_is_found_again(own, address):
    assert planned("t.ipynb", telemetry=address).id == planned("t.ipynb", telemetry=address).id


def test_what_is_measured_anew_is_never_there_already(own, monkeypatch, capsys):
    live = ["host:60", "prometheus:http://127.0.0.1:1?minutes=5", "http://127.0.0.1:1", "mine:now", "mine:"]
    (own / "60").write_text("a file that is called like a number of seconds")
    for address in live:
        assert planned("t.ipynb", telemetry=address).id != planned("t.ipynb", telemetry=address).id
    monkeypatch.setattr(runs, "execute", lambda run, folder, *_, **__: stub_result(folder))
    for _ in range(2):
        assert cli.main(["run", "t.ipynb", "-p", "telemetry", "host:60"]) == 0
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
        assert cli.main(["run", "t.ipynb", "-p", "telemetry", address]) == 0
    capsys.readouterr()
    for address, fault in {
        "host:soon": "is not a whole number of seconds",
        "host:3?step=9": "shorter than one step",
        "http://127.0.0.1:1?minuets=5": "option 'minuets' is not known",
        "prometheus:ftp://127.0.0.1": "not an http or https address",
    }.items():
        assert cli.main(["run", "t.ipynb", "-p", "telemetry", address]) == 2
        assert fault in capsys.readouterr().err


def test_a_file_that_changes_after_the_plan_is_not_taken_for_the_one_planned(own):
    Path("mine.csv").write_text("a")
    run = planned("t.ipynb", telemetry="mine.csv")
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
        assert cli.main(command) == 0
        assert capsys.readouterr().out.startswith(told)
        (folder,) = Path("runs/both").iterdir()
        assert json.loads((folder / "results.json").read_text()) == made
        assert experiments.load("handed") == {"before": {"n": 1}} | made
    # again, though it records what is there: its results are its own
    assert cli.main([*command, "--force"]) == 0
    assert json.loads((folder / "results.json").read_text()) == made
    # what it reads is another thing
    experiments.record("before", {"n": 2}, "handed")
    assert cli.main(command) == 0
    assert len(list(Path("runs/both").iterdir())) == 2
    assert experiments.load("handed")[name]["read"] == {"n": 2}
    # and if another notebook records under the same name, that is none of its own any more
    experiments.record("another", {"n": 3}, "handed")
    ids = runs.Place("runs", "both").ids()
    assert planned("both.ipynb", results_dir="handed").id not in ids


def test_a_chapter_depends_on_results_of_those_before_it_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VDS_RESULTS", raising=False)
    for chapter in ("2-2-preparation", "5-conclusions"):
        experiments.record(chapter, {"n": 1}, "handed")
    middle = planned("3-3-experiment", results_dir="handed").id
    experiments.record("5-conclusions", {"n": 2}, "handed")
    experiments.record("3-3-experiment", {"n": 2}, "handed")
    assert planned("3-3-experiment", results_dir="handed").id == middle
    experiments.record("2-2-preparation", {"n": 2}, "handed")
    assert planned("3-3-experiment", results_dir="handed").id != middle
    assert planned("2-2-preparation", results_dir="handed").id == planned("2-2-preparation").id
