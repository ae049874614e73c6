"""A run's folder and identity: what is in it, what makes it another run, and that it is whole or absent."""

import json
import shutil
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import stub_runs
import yaml

from vdslib import cli, experiments, results, runs, scales
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
