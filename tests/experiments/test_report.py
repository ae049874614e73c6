"""The report about an experiment: honest whatever the runs are, and effects that follow the plan."""

import json
import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import stub_runs

from vdslib.cli import main
from vdslib.experiments import effects, overview, results, runs, sweeps
from vdslib.figures import words

CELL = """\
rate: float = 0.01  # a number
units: list[int] = [8, 4]  # a list
network: str = "textbook"  # a word
seed: int = 0  # start of random numbers
results_dir: str = ""  # folder of results
"""


def error_of(run):
    """A result that follows the parameters: 100 for rate .1, 10 for .01, 1 for .001; and one for each unit."""
    return run.parameters["rate"] * 1000 + sum(run.parameters["units"]) / 100 + run.parameters["seed"] / 1000


def recording(run, folder, variables):
    if run.parameters["network"] == "figure":
        raise ValueError(f"no gradient in epoch {run.parameters['seed']}")
    loss = [error_of(run) + 1 / epoch for epoch in (1, 2, 3)]
    found = {"count": 3, "mse": error_of(run), "loss": [loss, loss[:2]], "of": {"mae": [1, 3]}}
    (folder / "results.json").write_text(json.dumps({"tune": found}))


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cell = nbformat.v4.new_code_cell(CELL, metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), "tune.ipynb")

    def make(plan, executor=recording):
        for run in sweeps.plan(runs.subject("tune.ipynb"), plan, {})[0]:
            runs.perform(run, "runs", "tune", executor=executor)
        return results.table("tune")

    return make


def page(capsys, *more):
    assert main(["results", "tune", "--report", "page.html", *more]) == 0, capsys.readouterr().err
    text = Path("page.html").read_text()
    pictures = re.findall("<img[^>]*>", text)
    assert all(re.search('alt="[^"]{20,}"', picture) for picture in pictures)
    return re.sub(r"\s+", " ", re.sub("<(?!img)[^>]*>", "", text.partition("<body")[2]))


def test_a_whole_study_is_described(make, capsys):
    make({"grid": {"rate": [0.1, 0.01, 0.001], "network": ["textbook", "figure"], "seed": [0, 1]}})
    text = page(capsys)
    assert "12 runs, 6 done, 6 failed; ranked by mse, the smallest as the best" in text
    # of the failures one example, though their numbers differ, and what they have in common
    assert text.count("no gradient in epoch") == 1 and "network figure (6)" in text
    assert "best setting: 4 lines" in text and "0 lines of other runs in grey" in text
    assert "rate: 0.001 1.12" in text and "scikit-learn" in text
    assert "All finished runs (6) together" in text and "no notebook was executed" in text


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (
            {"grid": {"seed": [0]}},
            ["1 run, 1 done, 0 failed", "one setting, of 1 run.", "No parameter but seeds"],
        ),
        ({"grid": {"seed": [0, 1]}}, ["one setting, of 2 runs."]),
        (
            {"grid": {"network": ["figure"], "seed": [0, 1]}},
            ["2 runs, 0 done, 2 failed.", "No run is finished"],
        ),
        ({"grid": {"units": [[8], [16]]}}, ["each run once", "[16]"]),
        (
            {"random": {"n": 60, "seed": 1, "over": {"rate": {"low": 0.001, "high": 1.0, "log": True}}}},
            ["60 settings, each run once"],
        ),
    ],
)
def test_the_page_is_honest_about_odd_experiments(make, plan, words, capsys):
    make(plan)
    text = page(capsys)
    assert [word for word in words if word not in text] == []


def test_runs_without_a_value_are_counted_and_left_out(make, capsys):
    def partly(run, folder, variables):
        value = None if run.parameters["seed"] else 1.5
        (folder / "results.json").write_text(json.dumps({"t": {"gain": value, "words": "x", "s": 2}}))

    make({"grid": {"seed": [0, 1, 2]}}, partly)
    assert "left out of what follows: 2 of the finished runs" in page(capsys, "--metric", "gain")
    assert main(["results", "tune", "--report", "p.html", "--metric", "words"]) == 2
    assert "no finished run has a number 'words'; there are: gain, s" in capsys.readouterr().err


def test_runs_that_diverged_are_counted_and_not_ranked(make, capsys):
    def partly(run, folder, variables):
        value = None if run.parameters["seed"] else 1.5
        (folder / "results.json").write_text(json.dumps({"t": {"mse": value, "s": 2}}))

    make({"grid": {"seed": [0, 1, 2]}}, partly)
    text = page(capsys, "--metric", "mse")
    assert (
        "3 runs, 1 done, 0 failed, 2 diverged, whose errors are no numbers and which are not ranked" in text
    )


def test_effects_take_values_in_their_natural_order_and_find_what_matters(make):
    frame = make({"grid": {"rate": [0.1, 0.01, 0.001], "units": [[64], [8, 4], [8]], "seed": [0, 1]}})
    assert results.first_metric(frame) == "mse"
    assert effects.groups(frame, "rate", "mse")["label"].tolist() == ["0.001", "0.01", "0.1"]
    assert effects.groups(frame, "units", "mse")["label"].tolist() == ["[8]", "[8, 4]", "[64]"]
    moved = effects.effects(frame, ["units", "rate"], "mse")
    assert moved["parameter"].tolist() == ["rate", "units"] and moved["best"].tolist() == ["0.001", "[8]"]
    assert moved["move"][0] == pytest.approx(99) and moved["move"][1] == pytest.approx(0.56)
    assert effects.effects(frame, ["rate"], "mse", largest=True)["best"].tolist() == ["0.1"]
    figure = effects.plot_effects(frame, ["rate", "units"], "mse")
    assert [axes.get_xscale() for axes in figure.axes] == ["log", "linear"]
    assert "units: [8] 10.08" in figure.get_label()


def test_a_value_that_is_missing_is_a_value_in_every_table_sentence_and_grouping(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    cell = (
        "momentum: float | None = None  # of the optimiser\nwindow: int = 5  # rows\n"
        'activation: str | None = "tanh"  # or the default of Keras\nseed: int = 0  # start\n'
    )
    first = nbformat.v4.new_code_cell(cell, metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[first]), "tune.ipynb")

    def recorded(run, folder, variables):
        given = run.parameters
        if given["activation"] is None and given["momentum"] is None:
            raise ValueError("no gradient")
        error = given["momentum"] or (1.0 if given["activation"] else 2.0)
        (folder / "results.json").write_text(json.dumps({"t": {"mse": error}}))

    plan = {"grid": {"momentum": [None, 0.9], "activation": [None, "tanh"], "seed": [0, 1]}}
    for run in sweeps.plan(runs.subject("tune.ipynb"), plan, {})[0]:
        runs.perform(run, "runs", "tune", executor=recorded)
    frame = results.table("tune")
    assert results.varied(frame) == ["momentum", "activation"]
    done = frame[frame["state"] == "done"]
    ranked = results.ranked(done, ["momentum", "activation"], "mse")
    assert ranked["count"].tolist() == [2, 2, 2]
    assert set(zip(ranked["momentum"], ranked["activation"], strict=True)) == {
        ("none", "tanh"), ("0.9", "none"), ("0.9", "tanh"),
    }  # fmt: skip
    assert effects.groups(done, "momentum", "mse")[["label", "runs"]].values.tolist() == [
        ["0.9", 4],
        ["none", 2],
    ]
    assert effects.effects(done, ["momentum"], "mse")["values"].tolist() == [2]
    assert effects.one_at_a_time(done, ["momentum", "activation"]) == {
        "momentum": "0.9",
        "activation": "tanh",
    }
    assert len(effects.examples(done, ["momentum", "activation"], "mse")) == 3
    text = page(capsys)
    assert "Varied: momentum, activation." in text and "momentum: 0.9 0.9, none 1" in text
    always = sweeps.plan(runs.subject("tune.ipynb"), {"list": [{"momentum": 0.5, "activation": None}]}, {})[
        0
    ][0]
    runs.perform(always, "runs", "tune", executor=lambda *_: 1 / 0)
    assert "Values with which all runs failed: " not in overview.failed_in_words(results.table("tune"))
    frame = frame[(frame["activation"].notna()) | frame["momentum"].isna()]
    frame.attrs["parameters"] = ["momentum", "activation"]
    assert overview.failed_in_words(frame).endswith(
        "Values with which all runs failed: `activation` none (2)."
    )


def test_numbers_with_a_missing_one_are_shown_side_by_side_and_none_is_left_out():
    frame = pd.DataFrame({"rate": [*range(200), None], "few": [1, 2, None] * 67, "mse": range(201)})
    found = effects.groups(frame, "rate", "mse")
    assert found["runs"].tolist() == [20] * 10 + [1] and found["label"].iloc[-1] == "none"
    assert found["value"].tolist() == list(range(11))
    figure = effects.plot_effects(frame, ["rate", "few"], "mse")
    for axes, places in zip(figure.axes, (range(11), range(3)), strict=True):
        drawn = axes.collections[0].get_offsets()
        assert len(drawn) == 201 and set(drawn[:, 0]) == set(places)
    assert "none 200" in figure.get_label()


def test_a_result_that_one_run_alone_has_is_shown_and_empty_for_the_other(make, capsys):
    make({"list": [{"rate": 0.1}, {"rate": 0.1, "network": "figure"}]})
    capsys.readouterr()
    assert main(["results", "tune"]) == 0
    header, done, failed = capsys.readouterr().out.splitlines()
    assert {"state", "network", "mse", "of.mae.mean", "error"} <= set(header.split())
    assert "100.1" in done and "None" not in done + failed and "nan" not in (done + failed).lower()
    assert failed.rstrip().endswith("no gradient in epoch 0") and "100.1" not in failed


def test_many_numbers_are_put_into_groups_of_equal_size(make):
    frame = pd.DataFrame({"rate": range(200), "mse": range(200)})
    found = effects.groups(frame, "rate", "mse")
    assert found["runs"].tolist() == [20] * 10 and found["median"].iloc[0] == 9.5
    assert found["label"].iloc[-1] == "180 to 199"


def test_a_plan_of_one_change_at_a_time_is_compared_with_its_base_alone(make):
    frame = make({"list": [{}, {"rate": 0.1}, {"rate": 1.0}, {"units": [800]}], "grid": {"seed": [0, 1]}})
    settings = ["rate", "units"]
    assert effects.one_at_a_time(frame, settings) == {"rate": "0.01", "units": "[8, 4]"}
    part = effects.compared(frame, settings, "rate")
    assert set(part["units"]) == {"[8, 4]"} and sorted(set(part["rate"])) == [0.01, 0.1, 1.0]
    grid = pd.DataFrame({"a": [1, 1, 2, 2], "b": [1, 2, 1, 2]})
    assert effects.one_at_a_time(grid, ["a", "b"]) == {} and len(effects.compared(grid, ["a", "b"], "a")) == 4


def test_where_runs_came_from_is_told_where_it_differs(make):
    frame = make({"grid": {"rate": [0.1, 0.01], "units": [[16]]}})
    file = Path("runs/tune", frame["id"][0], "environment.json")
    other = json.loads(file.read_text())
    other |= {"commit": "abcdef012", "uncommitted_changes": False, "data": {"x.csv": "1"}}
    other["packages"]["numpy"] = "0.1"
    file.write_text(json.dumps(other))
    scale, facts = overview.origin("tune", "runs", frame)
    of = facts.groupby("what")
    assert scale and list(of.get_group("numpy")["runs"]) == [1, 1] and "0.1" in set(facts["value"])
    assert "abcdef0" in set(of.get_group("code")["value"]) and len(of.get_group("data")) == 2
    assert list(of.get_group("python")["runs"]) == [2] and "pandas" not in set(facts["what"])


def test_curves_of_best_median_and_worst_settings_are_told_apart(make):
    frame = make({"grid": {"rate": [0.1, 0.01, 0.001, 1.0], "seed": [0, 1]}})
    chosen = effects.examples(frame, ["rate"], "mse")
    rates = {name: set(frame.loc[frame["id"].isin(ids), "rate"]) for name, ids in chosen.items()}
    assert rates == {"best setting": {0.001}, "median setting": {0.1}, "worst setting": {1.0}}
    curves = effects.curves("tune", "runs")
    assert set(curves) == {"loss"} and all(
        list(map(len, lines)) == [3, 2] for lines in curves["loss"].values()
    )
    figure = effects.plot_curves(curves["loss"], chosen, "loss")
    assert len(figure.axes[0].lines) == 16 and figure.axes[0].get_yscale() == "log"
    assert "best setting: 4 lines" in words.alternative_text(figure) + str(figure.get_label())


def test_runs_that_are_not_whole_or_of_another_state_can_be_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook = stub_runs.write_notebook(tmp_path / "stub.ipynb")
    made = [runs.subject(notebook).run({"number": number}) for number in (1, 2, 3)]
    for run in made:
        runs.perform(run, "runs", "stub", executor=stub_runs.without_kernel)
    Path("runs/stub", made[0].id, "run.json").write_text('{"id": ')
    Path("runs/stub", made[1].id, "parameters.json").unlink()
    changed = runs.subject(stub_runs.write_notebook(tmp_path / "stub.ipynb", "1 + 1")).run({"number": 3})
    runs.perform(changed, "runs", "stub", executor=stub_runs.without_kernel)
    table = results.table("stub").set_index("id")
    assert sorted(table.index) == sorted([made[1].id, made[2].id, changed.id])
    assert table.loc[made[2].id, "inputs"] != table.loc[changed.id, "inputs"]
