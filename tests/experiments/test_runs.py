"""A run's folder and identity: what is in it, what makes it another run, and that it is whole or absent."""

import json
import logging
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import stub_runs
import yaml

from vdslib import experiments, files
from vdslib.cli import main
from vdslib.errors import ParameterError
from vdslib.experiments import lost, notebooks, results, runs, scales, storage

PICTURE = """\
from vdslib.figures import plots
plots.show(plots.bars({"a": 1.0, "b": 2.0}, title="two bars"))
"""


def make(run, out="runs"):
    return runs.perform(run, str(out), "stub", executor=stub_runs.without_kernel)


def test_a_run_keeps_notebook_parameters_results_figures_log_and_environment(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = stub_runs.write_notebook(tmp_path / "stub.ipynb", PICTURE)
    assert (
        main(["run", str(source), "-p", "number", "3", "-p", "results_dir", "handed", "--experiment", "e"])
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
    monkeypatch.setattr(notebooks, "run", lambda *_, **__: pytest.fail("a kernel was started"))
    assert (
        main(["run", str(source), "-p", "number", "3", "-p", "results_dir", "handed", "--experiment", "e"])
        == 0
    )
    assert "there already" in capsys.readouterr().out and experiments.load("handed") == read["results"]


def test_force_repeats_a_run(notebook, monkeypatch):
    make(stub_runs.planned(notebook))
    seen = []
    monkeypatch.setattr(
        runs, "perform", lambda run, *_, **__: seen.append(run.id) or runs.Outcome(run.id, 0.0)
    )
    main(["run", str(notebook)])
    assert seen == []
    main(["run", str(notebook), "--force"])
    assert seen == [stub_runs.planned(notebook).id]


def test_a_finished_run_is_replaced_whole_even_where_another_sweep_puts_it_there_meanwhile(
    notebook, monkeypatch
):
    run = stub_runs.planned(notebook)
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
    place = storage.Place("runs", "stub")
    monkeypatch.setattr(storage.Place, "publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        make(stub_runs.planned(notebook))
    assert place.ids() == set() and list(Path("runs/stub").iterdir()) == []


def test_runs_go_to_any_address_that_fsspec_knows(notebook):
    run = stub_runs.planned(notebook, number=4)
    out = "memory://bucket/runs"
    assert (
        make(run, out).error == "" and make(stub_runs.planned(notebook, number=5, fault="error"), out).error
    )
    place = storage.Place(out, "stub")
    assert place.ids() == {run.id} and len(place.ids(storage.FAILED)) == 1
    frame = results.table("stub", out)
    assert frame["value"].dropna().tolist() == [8] and set(frame["state"]) == {"done", "failed"}
    assert make(run, out).error == "" and storage.Place(out, "stub").ids() == {run.id}
    with pytest.raises(ParameterError, match="cannot keep runs in nowhere://x"):
        storage.Place("nowhere://x", "stub")


def test_results_are_one_tidy_table_on_screen_and_in_files(notebook, capsys):
    for number in (1, 2):
        make(stub_runs.planned(notebook, number=number))
    assert main(["results", "stub", "--csv", "t.csv", "--parquet", "t.parquet"]) == 0
    for frame in (pd.read_csv("t.csv"), pd.read_parquet("t.parquet")):
        assert frame["value"].tolist() == [2, 4] and frame["number"].tolist() == [1, 2]
    capsys.readouterr()
    assert main(["results", "stub"]) == 0
    assert "value" in capsys.readouterr().out
    assert main(["results", "none"]) == 2 and "there are no runs of 'none'" in capsys.readouterr().err
    assert main(["results", "stub", "--csv", "t.txt"]) == 2


CLASHING = """\
id: str = "mine"  # a name
state: str = "on"  # a state
seconds: float = 3.0  # a time
inputs: int = 4  # a number of inputs
mean: float = 1.0  # a mean
value: int = 5  # what is recorded, too
"""


def test_parameters_and_results_that_are_called_as_the_table_s_own_columns_are_kept_beside_them(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    cell = nbformat.v4.new_code_cell(CLASHING, metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), "own.ipynb")

    def record(run, folder, variables):
        found = {
            "seconds": run.parameters["seconds"] * 2,
            "error": 0.5,
            "value": 7,
            "result": {"value": 8},
            "mse": 1,
        }
        (folder / "results.json").write_text(json.dumps({"own": found}))

    for given in ({}, {"seconds": 4.0, "mean": 2.0}):
        runs.perform(runs.subject("own.ipynb").run(given), "runs", "own", executor=record)
    frame = results.table("own")
    ids = {path.name for path in Path("runs/own").iterdir()}
    assert set(frame["id"]) == ids and set(frame["state"]) == {"done"} and set(frame["error"]) == {""}
    assert (frame["seconds"] < 3).all() and (frame["inputs"].str.len() == 16).all()
    expected = {
        "parameter.id": ["mine"] * 2,
        "parameter.state": ["on"] * 2,
        "parameter.seconds": [3.0, 4.0],
        "parameter.inputs": [4, 4],
        "parameter.mean": [1.0, 2.0],
        "value": [5, 5],
        "result.seconds": [6.0, 8.0],
        "result.error": [0.5, 0.5],
        "result.value": [7, 7],
        "result.result.value": [8, 8],
    }
    assert {name: frame[name].tolist() for name in expected} == expected
    assert results.varied(frame) == ["parameter.seconds", "parameter.mean"]
    assert results.measures(frame) == [
        *("result.seconds", "result.error", "result.value", "result.result.value", "mse")
    ]
    command = ["results", "own", "--csv", "t.csv", "--parquet", "t.parquet", "--report", "page.html"]
    assert main([*command, "--metric", "result.seconds"]) == 0, capsys.readouterr().err
    for read in (pd.read_csv("t.csv"), pd.read_parquet("t.parquet")):
        assert set(read) == set(frame) and read["parameter.seconds"].tolist() == [3.0, 4.0]
    page = Path("page.html").read_text()
    assert "ranked by <code>result.seconds</code>" in page and "parameter.mean" in page


def test_a_column_is_of_one_thing_whatever_parameters_a_run_has(notebook):
    """Runs of a state of the notebook that had no such parameter yet recorded a result of its name."""
    make(stub_runs.planned(notebook, number=1))
    place = storage.Place("runs", "stub")
    (run,) = place.ids()
    file = Path(place.folder(run), "parameters.json")
    file.write_text(
        json.dumps({name: value for name, value in json.loads(file.read_text()).items() if name != "number"})
    )
    recorded = Path(place.folder(run), "results.json")
    recorded.write_text(json.dumps({"stub": {"number": 9}}))
    make(stub_runs.planned(notebook, number=2))
    frame = results.table("stub").set_index("id")
    assert frame.loc[run, "result.number"] == 9 and pd.isna(frame.loc[run, "number"])
    assert frame["number"].dropna().tolist() == [2]


def test_nested_results_become_columns_repetitions_their_mean_and_curves_none():
    assert results.flatten({"a": {"b": 1, "c": {"d": None}}, "e": [{"f": 1}], "loss": [1]}) == {
        "a.b": 1,
        "a.c.d": None,
    }
    assert results.flatten({"gain": [1, None, 3]}) == {"gain.mean": 2, "gain.std": pytest.approx(2**0.5)}
    assert results.flatten({"mse": [1, None, 3]}) == {"mse.mean": None}  # the others alone would flatter it


def diverging(run, folder, variables):
    """What a chapter records where one of its networks ends in NaN under its second seed, for an even number."""
    number = run.parameters["number"]
    lost = None if number % 2 == 0 else 2.5
    found = {"test_mse": {"net": [number, lost], "mean": 3.0}, "mse spread": None, "gap": None, "fit": [lost]}
    found |= {"loss": [1.0, None], "standings": [{"mse": lost}], "val_loss": [[2.0, None]]}
    (folder / "results.json").write_text(json.dumps({"stub": found}))


def test_a_run_whose_errors_are_no_numbers_is_not_done(notebook, capsys):
    for number in (1, 2):
        run = stub_runs.planned(notebook, number=number)
        assert not runs.perform(run, "runs", "stub", executor=diverging).error
    frame = results.table("stub").set_index("number")
    assert frame["state"].to_dict() == {1: "done", 2: "diverged"}
    assert frame["error"].to_dict() == {1: "", 2: "no numbers: stub.test_mse.net.1"}
    assert frame["test_mse.mean"].tolist() == [3, 3] and frame.loc[1, "test_mse.net.mean"] == 1.75
    assert pd.isna(frame.loc[2, "test_mse.net.mean"])
    told = ["run", str(notebook), "--experiment", "stub", "-p", "number"]
    assert main([*told, "2"]) == 2
    assert "the run diverged, no numbers: stub.test_mse.net.1" in capsys.readouterr().err
    assert main([*told, "1"]) == 0


def test_of_many_errors_the_first_are_named():
    found = lost.errors_lost(
        {
            "a": {"mse": [None] * 6, "mae": 1.0},
            "mse spread": None,
            "val_loss": [None],
            "intervals": {"mse-low": [None, None]},
        }
    )
    assert found == [f"a.mse.{n}" for n in range(6)]
    assert lost.in_words(found) == "no numbers: a.mse.0, a.mse.1, a.mse.2, a.mse.3 and 2 more"


def test_settings_are_ranked_with_their_spread_over_seeds(notebook):
    for number in (2, 1):
        for seed in (0, 1):
            make(stub_runs.planned(notebook, number=number, seed=seed))
    frame = results.table("stub")
    assert results.varied(frame) == ["number"] and results.measures(frame) == ["value"]
    ranked = results.ranked(frame, ["number"], "value")
    assert (
        ranked["mean"].tolist() == [2, 4]
        and ranked["count"].tolist() == [2, 2]
        and ranked["std"].tolist() == [0, 0]
    )


def test_the_report_is_a_page_that_needs_no_network_and_describes_its_figures(notebook):
    make(stub_runs.planned(notebook, number=1))
    make(stub_runs.planned(notebook, number=2))
    make(stub_runs.planned(notebook, number=3, fault="error"))
    assert main(["results", "stub", "--report", "page.html"]) == 0
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
        storage.Place("runs", name)


@pytest.mark.parametrize("scale", ["smoke", "default", "paper"])
def test_every_chapter_has_parameters_for_every_scale(scale):
    content = yaml.safe_load((scales.FOLDER / f"{scale}.yaml").read_text())
    chapters = {path.stem for path in (files.root() / "notebooks").glob("*.ipynb")}
    assert set(content) == chapters
    for chapter, given in content.items():
        declared = {parameter.name: parameter.default for parameter in notebooks.parameters(chapter)}
        assert notebooks.check(chapter, given) == given
        assert (scale != "default") or given == {}
        assert all(declared[name] != value for name, value in given.items())


def test_a_scale_is_used_and_the_command_line_goes_before_it(notebook, tmp_path, monkeypatch):
    monkeypatch.setattr(scales, "FOLDER", tmp_path)
    (tmp_path / "small.yaml").write_text("stub: {number: 8, seed: 9}")
    seen = []
    monkeypatch.setattr(
        runs, "perform", lambda run, *_, **__: seen.append(run.parameters) or runs.Outcome("", 0.0)
    )
    main(["run", str(notebook), "--scale", "small", "-p", "seed", "2"])
    assert (seen[0]["number"], seen[0]["seed"]) == (8, 2)


def test_an_error_of_a_kernel_is_kept_and_told(notebook, capsys):
    assert main(["run", str(notebook), "-p", "fault", "error", "-p", "number", "7"]) == 2
    said = capsys.readouterr()
    assert "number 7 does not work" in said.err and "\x1b" not in said.err
    folder = Path(said.out.split(": ")[1].strip())
    assert "number 7 does not work" in json.loads((folder / "failed.json").read_text())["error"]
    assert (folder / "notebook.ipynb").is_file() and not (folder / "run.json").exists()


def test_each_of_three_threads_keeps_the_log_of_its_own_run(notebook, monkeypatch):
    made = [stub_runs.planned(notebook, number=number, fault="error") for number in (71, 72, 73)]
    original, together = notebooks.run, threading.Barrier(3)

    def run(*arguments, **options):
        together.wait(120)  # each has its log open before any of them begins
        try:
            return original(*arguments, **options)
        finally:
            together.wait(120)

    monkeypatch.setattr(notebooks, "run", run)
    logger = logging.getLogger("papermill")
    before = logger.level, logger.propagate, list(logger.handlers)
    with ThreadPoolExecutor(3) as pool:
        outcomes = list(pool.map(lambda run: runs.perform(run, "runs", "stub"), made))
    assert (logger.level, logger.propagate, logger.handlers) == before
    for run, outcome in zip(made, outcomes, strict=True):
        log, number = Path("runs/stub", run.id, "log.txt").read_text(), run.parameters["number"]
        assert f"number {number} does not work" in outcome.error
        assert log.count("Executing notebook with kernel") == log.count("Output Notebook") == 1
        assert set(re.findall(r"number (\d+) does not work", log)) == {str(number)}
        assert {other.id for other in made if other.id in log} == {run.id}


def test_a_change_of_vdslib_is_seen_by_a_process_that_knew_the_notebook(notebook, tmp_path, monkeypatch):
    root = tmp_path / "project"
    for part in ("vdslib", "data"):
        shutil.copytree(files.root() / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(files.root() / "requirements.lock", root)
    monkeypatch.setattr(files, "root", lambda: root)
    before = runs.subject(notebook).inputs
    assert runs.subject(notebook).inputs == before
    with (root / "vdslib" / "errors.py").open("a") as file:
        file.write("# changed\n")
    assert runs.subject(notebook).inputs != before
