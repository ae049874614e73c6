"""Sweeps: what a plan means, and that nothing is lost or made twice, whatever is killed meanwhile."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import stub_runs
import yaml
from waiting import HANG, until

from vdslib.cli import main
from vdslib.errors import NotebookError, ParameterError
from vdslib.experiments import results, runs, storage, sweeps

ORIGIN = runs.Origin
KINDS = {"window": "int", "rate": "float", "network": "str"}


def planned(notebook, content, given=None):
    return sweeps.plan(runs.subject(notebook), content, given or {})[0]


# ------------------------------------------------------------------------------------------------ plans


def test_parts_of_a_plan_are_combined():
    content = yaml.safe_load("""
    grid: {window: [5, 10], seed: [1, 2]}
    zip: {units: [[64], [32]], dropout: [0.2, 0.1]}
    list: [{network: figure}, {network: textbook, momentum: 0.5}]
    """)
    chosen = sweeps.combinations(content, KINDS)
    assert len(chosen) == 2 * 2 * 2 * 2 and len({json.dumps(choice) for choice in chosen}) == 16
    assert {(choice["units"][0], choice["dropout"]) for choice in chosen} == {(64, 0.2), (32, 0.1)}
    assert all(("momentum" in choice) == (choice["network"] == "textbook") for choice in chosen)


def test_random_values_are_within_their_space_and_the_same_for_a_seed():
    over = {
        "window": {"low": 2, "high": 9},
        "rate": {"low": 0.001, "high": 0.1, "log": True},
        "network": ["a", "b"],
    }
    part = {"n": 200, "seed": 3, "over": over}
    chosen = sweeps.combinations({"random": part}, KINDS)
    assert chosen == sweeps.combinations({"random": part}, KINDS)
    assert chosen != sweeps.combinations({"random": part | {"seed": 4}}, KINDS)
    assert {choice["window"] for choice in chosen} == set(range(2, 10))
    assert {choice["network"] for choice in chosen} == {"a", "b"}
    rates = [choice["rate"] for choice in chosen]
    assert min(rates) >= 0.001 and max(rates) <= 0.1
    # half of the values lie below the geometric mean, not the arithmetic one
    assert 70 < sum(rate < 0.01 for rate in rates) < 130
    fewer = sweeps.combinations({"random": part | {"over": {"window": over["window"]}}}, KINDS)
    assert [c["window"] for c in fewer] == [c["window"] for c in chosen]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "the plan is empty"),
        ("grid: null", "grid: give lines"),
        ("random: {n: 2, seed: 1, over: {window: {low: 1.5, high: 3}}}", "window is a whole number"),
        ("random: {n: 2, seed: 1, over: {rate: {low: true, high: 3}}}", "rate needs numbers"),
        ("gird: {window: [1]}", "has the parts grid, zip, list, random, not gird"),
        ("grid: {window: 5}", "grid: window must be a list of values, not 5"),
        ("grid: [window]", "grid: give lines"),
        ("zip: {window: [1, 2], rate: [1]}", "window 2, rate 1"),
        ("list: {window: 1}", "list: give a list"),
        ("grid: {window: [1]}\nlist: [{window: 2}]", "sets window in list and in grid"),
        ("random: {n: 2, over: {}}", "random: give n, seed and over"),
        ("random: {n: 0, seed: 1, over: {window: [1]}}", "n at least 1"),
        ("random: {n: 2, seed: 1, over: {rate: 3}}", "rate must be a list of choices"),
        ("random: {n: 2, seed: 1, over: {rate: {low: 1e-4, high: 1}}}", "1e-4 is text"),
        ("random: {n: 2, seed: 1, over: {rate: {low: 0, high: 1, log: true}}}", "above 0 for log"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_by_its_part(text, message):
    with pytest.raises(ParameterError) as refused:
        sweeps.combinations(yaml.safe_load(text), KINDS)
    assert message in str(refused.value)


def test_every_value_of_a_plan_is_checked_and_the_same_run_comes_once(notebook):
    with pytest.raises(ParameterError, match="parameter number: -1 is not valid"):
        planned(notebook, {"grid": {"number": [1, -1]}})
    with pytest.raises(ParameterError, match="no parameter 'nmber'; did you mean number"):
        planned(notebook, {"grid": {"nmber": [1]}})
    with pytest.raises(ParameterError, match="number: set by the plan and beside it"):
        planned(notebook, {"grid": {"number": [1]}}, {"number": 2})
    with pytest.raises(ParameterError, match="results_dir: a sweep keeps the results"):
        planned(notebook, {"grid": {"number": [1], "results_dir": ["a", "b"]}})
    assert len(planned(notebook, {"grid": {"number": [1, "1", 2.0]}})) == 2


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("", [], "the plan is empty"),
        ("- number", [], "plan.yaml must hold lines of the form 'name: value'"),
        ("grid: {number: [1]}\ngrid: {seed: [2]}", [], "plan.yaml is not YAML: 'grid' comes twice"),
        ("grid: {seed: [2026-01-02]}", [], "parameter seed: datetime.date(2026, 1, 2) is not valid"),
        ("grid: {number: [[1]]}", [], "parameter number: [1] is not valid"),
        ("grid: {number: [null]}", [], "parameter number: None is not valid"),
        ("grid: {1: [1]}", [], "stub has no parameter 1"),
        ("grid: {number: [1]}", ["-p", "seed", "1", "-p", "seed", "2"], "-p seed is given more than once"),
        ("grid: {number: [1]}", ["--out", ""], "runs need a folder or an address"),
        ("grid: {number: [1]}", ["--out", "memory://x"], "memory://x would be gone when the command ends"),
        ("grid: {number: [1]}", ["--out", "plan.yaml"], "cannot keep runs in plan.yaml: Not a directory"),
        ("grid: {number: [1]}", ["--experiment", "my study"], "'my study' cannot name an experiment"),
    ],
)
def test_a_sweep_that_cannot_be_ends_in_one_error_before_a_worker_starts(
    notebook, capsys, monkeypatch, text, more, message
):
    monkeypatch.setattr(sweeps, "_cluster", lambda *_: pytest.fail("a cluster was started"))
    Path("plan.yaml").write_text(text)
    assert main(["sweep", str(notebook), "--grid", "plan.yaml", *more]) == 2
    error = capsys.readouterr().err
    assert error.startswith("vds sweep: ") and message in error


def test_a_notebook_with_a_space_in_its_name_has_an_experiment_without(notebook, tmp_path, capsys):
    os.rename(notebook, tmp_path / "my stub.ipynb")
    Path("plan.yaml").write_text("grid: {number: [1]}")
    assert main(["sweep", "my stub.ipynb", "--grid", "plan.yaml"]) == 0
    assert "0 found, 1 done, 0 failed: runs/my-stub/" in capsys.readouterr().out


def test_runs_of_another_state_of_the_notebook_are_told(notebook, capsys):
    Path("plan.yaml").write_text("grid: {number: [1]}")
    runs.perform(
        planned(notebook, {"grid": {"number": [1]}})[0], "runs", "stub", executor=stub_runs.without_kernel
    )
    command = ["sweep", str(notebook), "--grid", "plan.yaml", "--dry-run"]
    main(command)
    said = capsys.readouterr().out
    assert "1 runs, 0 to do" in said and "note" not in said
    stub_runs.write_notebook(notebook, "1 + 1")
    main(command)
    said = capsys.readouterr().out
    assert "note: 1 runs there are of another state of the notebook" in said and "1 runs, 1 to do" in said


def test_a_run_that_is_not_whole_is_made_anew(notebook):
    made, place = planned(notebook, {"grid": {"number": [0, 1]}}), storage.Place("runs", "stub")
    sweeps.sweep(made, place, executor=stub_runs.without_kernel)
    cut = Path(place.folder(made[0].id), "run.json")
    cut.write_text(cut.read_text()[:40])
    assert place.ids() == {made[1].id} and place.has(made[1].id) and not place.has(made[0].id)
    summary = sweeps.sweep(made, place, executor=stub_runs.without_kernel)
    assert (summary.there, summary.done) == (1, 1)
    whole("runs", 2)


def test_two_sweeps_of_one_experiment_at_once_have_every_run_once(notebook):
    command = [sys.executable, stub_runs.__file__, str(notebook), "runs", "40"]
    started = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.wait(HANG) for process in started] == [0, 0]
    whole("runs", 40)


def test_a_full_disc_is_told_as_such(notebook, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs, "_write", full)
    run, place = planned(notebook, {"grid": {"number": [1]}})[0], storage.Place("runs", "stub")
    with pytest.raises(
        NotebookError, match=f"cannot keep the run runs/stub/{run.id}: No space left on device"
    ):
        runs.perform(run, "runs", "stub", executor=stub_runs.without_kernel)
    assert list(Path("runs/stub").iterdir()) == [] and place.ids() == set()


def test_a_dry_run_lists_runs_and_starts_nothing(notebook, tmp_path, capsys):
    (tmp_path / "plan.yaml").write_text("grid: {number: [1, 2], seed: [3]}")
    command = ["sweep", str(notebook), "--grid", "plan.yaml", "--dry-run", "--workers", "2"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "to do  number=2 seed=3" in said and "2 runs, 2 to do; no estimate" in said
    assert not (tmp_path / "runs").exists()
    run = planned(notebook, {"grid": {"number": [1]}}, {"seed": 3})[0]
    runs.perform(run, "runs", "stub", executor=stub_runs.without_kernel)
    main(command)
    assert "2 runs, 1 to do; about" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------ execution


def whole(out, number):
    """The table of a finished sweep; every run is there once, and readable, and nothing is left beside."""
    frame = results.table("stub", out)
    assert sorted(frame["number"]) == list(range(number)) and set(frame["state"]) == {"done"}
    assert (frame["value"] == frame["number"] * 2).all()
    assert sorted(path.name for path in (Path(out) / "stub").iterdir()) == sorted(frame["id"])
    return frame


def killed_sweeps(notebook, tmp_path, kills, number):
    """Kill sweeps at random moments, then let one finish; what was done before is not made anew."""
    moments, command = (
        random.Random(6),
        [sys.executable, stub_runs.__file__, str(notebook), "runs", str(number), "0.05"],
    )
    folder, before = Path("runs/stub"), dict[str, str]()
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # a start takes seconds; the moments are spread over start and runs
        if moments.random() < 0.7:
            until(lambda: len(list(folder.glob("[!.]*/run.json"))) > len(before), step=0.01)  # noqa: B023
        time.sleep(moments.uniform(0, 0.4))
        process.kill()
        process.wait()
        now = {path.parent.name: path.read_text() for path in folder.glob("[!.]*/run.json")}
        assert before.items() <= now.items()
        before = now
    time.sleep(1)  # for the workers to see that they are alone
    assert 0 < len(before) < number
    subprocess.run(command, check=True, capture_output=True)
    whole("runs", number)
    now = {path.parent.name: path.read_text() for path in Path("runs/stub").glob("*/run.json")}
    assert before.items() <= now.items()


def test_a_sweep_killed_at_random_moments_goes_on_where_it_was(notebook, tmp_path):
    killed_sweeps(notebook, tmp_path, kills=2, number=60)


@pytest.mark.slow
def test_a_sweep_killed_twenty_times_has_every_run_once(notebook, tmp_path):
    killed_sweeps(notebook, tmp_path, kills=20, number=600)


def test_failures_are_kept_with_their_traceback_while_others_go_on_and_a_killed_worker_is_replaced(notebook):
    content = {
        "list": [
            {"number": 1},
            {"number": 2, "fault": "error"},
            {"number": 3, "fault": "kill"},
            {"number": 4},
        ]
    }
    made, place = planned(notebook, content), storage.Place("runs", "stub")
    summary = sweeps.sweep(made, place, workers=2, retries=1, executor=stub_runs.without_kernel)
    assert (summary.there, summary.done, list(summary.failed)) == (0, 3, [made[1].id])
    failed = json.loads(Path(place.folder(made[1].id), "failed.json").read_text())
    assert "Traceback" in failed["error"] and "ValueError: number 2 does not work" in failed["error"]
    frame = results.table("stub").set_index("number")
    assert frame["state"].to_dict() == {1: "done", 2: "failed", 3: "done", 4: "done"}
    assert frame.loc[2, "error"] == "ValueError: number 2 does not work"
    # the failure is tried again by the next call, what is done is not
    again = sweeps.sweep(made, place, workers=1, executor=stub_runs.without_kernel)
    assert (again.there, again.done, list(again.failed)) == (3, 0, [made[1].id])


def test_a_run_that_fails_once_is_done_at_its_second_try_and_kernels_run_side_by_side(
    notebook, tmp_path, capsys
):
    (tmp_path / "plan.yaml").write_text(
        "list: [{number: 1, fault: once}, {number: 2, fault: error}, {number: 3}]"
    )
    command = ["sweep", str(notebook), "--grid", "plan.yaml", "--workers", "2", "--retries", "1"]
    assert main(command) == 2
    said = capsys.readouterr()
    assert "0 found, 2 done, 1 failed" in said.out and "ValueError: number 2 does not work" in said.err
    frame = results.table("stub").set_index("number")
    assert frame["state"].to_dict() == {1: "done", 2: "failed", 3: "done"}
    kept = Path("runs/stub", frame.loc[2, "id"])
    assert "number 2 does not work" in (kept / "log.txt").read_text()
    assert json.loads((kept / "environment.json").read_text())["threads"] >= 1


def test_no_scheduler_is_one_clear_error(notebook, monkeypatch):
    monkeypatch.setattr(sweeps, "LOST", 1)
    with pytest.raises(NotebookError, match="no Dask scheduler answers at tcp://127.0.0.1:9"):
        sweeps.sweep(
            planned(notebook, {"grid": {"number": [1]}}),
            storage.Place("runs", "stub"),
            scheduler="tcp://127.0.0.1:9",
        )


def test_workers_started_by_hand_give_the_same_results_bit_for_bit(notebook, scheduler):
    made = planned(notebook, {"grid": {"number": [1, 2], "seed": [0, 1]}})
    assert sweeps.sweep(made, storage.Place("there", "stub"), scheduler=scheduler[0]).done == 4
    assert sweeps.sweep(made, storage.Place("here", "stub"), workers=2).done == 4
    for run in made:
        there, here = (Path(out, "stub", run.id, "results.json").read_bytes() for out in ("there", "here"))
        assert there == here and b"value" in here


def test_workers_started_in_another_folder_keep_runs_where_the_sweep_was_called(
    notebook, scheduler_elsewhere
):
    Path("plan.yaml").write_text("grid: {number: [0, 1, 2]}")
    command = ["sweep", "stub.ipynb", "--grid", "plan.yaml", "--scheduler", scheduler_elsewhere[0]]
    assert main(command) == 0
    frame = results.table("stub")
    assert sorted(frame["number"]) == [0, 1, 2] and set(frame["state"]) == {"done"}
    assert not (Path("elsewhere") / "runs").exists()


def test_a_worker_that_cannot_see_the_folder_of_runs_refuses_them(notebook, scheduler_elsewhere, monkeypatch):
    made, place = planned(notebook, {"grid": {"number": [0, 1]}}), storage.Place("runs", "stub")
    unseen = str(Path("unseen", "runs").resolve())
    monkeypatch.setattr(runs, "Origin", lambda folder, sign, out, name: ORIGIN(folder, unseen, unseen, name))
    summary = sweeps.sweep(made, place, scheduler=scheduler_elsewhere[0], executor=stub_runs.without_kernel)
    assert summary.done == 0 and set(summary.failed) == {run.id for run in made}
    assert all(f"does not see {unseen}: name a folder" in error for error in summary.failed.values())
    assert not Path("unseen").exists() and place.ids(storage.FAILED) == set(summary.failed)


def test_a_worker_in_another_folder_refuses_a_file_that_it_would_not_find(
    tmp_path, monkeypatch, scheduler_elsewhere
):
    monkeypatch.chdir(tmp_path)
    cell = nbformat.v4.new_code_cell('table: str = ""  # a table [file]', metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), "t.ipynb")
    for folder in (".", "elsewhere"):
        Path(folder, "mine.csv").write_text(folder)
    made = planned("t.ipynb", {"list": [{"table": "mine.csv"}, {"table": str(tmp_path / "mine.csv")}, {}]})
    summary = sweeps.sweep(
        made, storage.Place("runs", "t"), scheduler=scheduler_elsewhere[0], executor=stub_runs.keeping_nothing
    )
    assert summary.done == 2 and list(summary.failed) == [made[0].id]
    assert f"found in {tmp_path}: give mine.csv with its whole path" in summary.failed[made[0].id]


def test_a_lost_scheduler_is_a_clear_error_and_what_is_done_stays(notebook, scheduler, monkeypatch):
    made, place = (
        planned(notebook, {"grid": {"number": list(range(40))}}, {"pause": 0.2}),
        storage.Place("runs", "stub"),
    )
    original, landed = sweeps._landed, []

    def kill_then_wait(client, flying):
        landed.append(1)
        if len(landed) == 4:
            monkeypatch.setattr(sweeps, "LOST", 3)  # not before: to connect may take its time
            scheduler[1].kill()
        return original(client, flying)

    monkeypatch.setattr(sweeps, "_landed", kill_then_wait)
    with pytest.raises(NotebookError, match="scheduler is lost"):
        sweeps.sweep(made, place, scheduler=scheduler[0], executor=stub_runs.without_kernel)
    done = place.ids()
    assert 0 < len(done) < 40
    monkeypatch.setattr(sweeps, "_landed", original)
    assert sweeps.sweep(made, place, workers=2, executor=stub_runs.without_kernel).there >= len(done)
    whole("runs", 40)


@pytest.mark.slow
def test_ten_thousand_runs_make_a_complete_table_in_little_memory(notebook):
    command = [sys.executable, stub_runs.__file__, str(notebook), "runs", "10000"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(done.stdout.split()[-1]) < 500
    whole("runs", 10000)
