"""Statements of chapters and pages about the book itself: counted, looked up or computed anew, and compared."""

import ast
import inspect
import re

import imblearn.over_sampling
import nbformat
import numpy as np
import pandas as pd
import pytest

from vdslib import experiments, files
from vdslib.chapters import forecastability, hyperparameters, leaks, planted_leaks, splits
from vdslib.testbed import workload

ROOT = files.root()
NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}

# by which call or words a chapter judges forecasts on the last part of the recording
JUDGED = {
    "2-1-data-collection": "forecastability.predictability(",
    "2-2-preparation": "splits.flattery(",
    "3-2-listing": '"chronological": (everything[:border], everything[border:])',
    "3-3-experiment": "evaluation.compare(fitted, data.test)",
    "3-4-load-states": 'measures(states["test"],',
    "3-5-leaks": "leaks.run(",
    "3-6-hyperparameters": "evaluation.compare(",
    "4-1-hybrids": "hybrids.judged(model, data, steps",
}
ELSEWHERE = {"4-2-generalisation"}  # other recordings, which have test parts of their own
TRIALS = {"4-1-trial"}  # a trial of a chapter's study, which is counted with it
COUNTED = {
    "3-1-architecture"
}  # counts windows of the test part and the values out of range, and forecasts none
NUMBERS = {"five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}


def cells(name, kind):
    return [c.source for c in nbformat.read(NOTEBOOKS[name], as_version=4).cells if c.cell_type == kind]


def prose(name):
    return " ".join("\n".join(cells(name, "markdown")).split())


def touches_a_test_part(name):
    """Whether the code of a notebook reads an attribute `test` of something."""
    code = "\n".join(cells(name, "code")).replace("await ", "")
    return any(isinstance(node, ast.Attribute) and node.attr == "test" for node in ast.walk(ast.parse(code)))


def test_the_chapters_that_judge_on_the_test_part_are_known():
    for name, call in JUDGED.items():
        assert call in "\n".join(cells(name, "code")), name
    assert {name for name in NOTEBOOKS if touches_a_test_part(name)} <= {
        *JUDGED,
        *ELSEWHERE,
        *TRIALS,
        *COUNTED,
    }
    for judge in (forecastability.predictability, splits.flattery, leaks.run):
        assert re.search(r"\.test\b", inspect.getsource(inspect.getmodule(judge))), judge
    counting = "\n".join(source for source in cells("3-1-architecture", "code") if ".test" in source)
    assert not re.search(r"forecast|predict|losses|mse", counting)


@pytest.mark.parametrize("page", ["book/front.md", "book/glossary.md", "notebooks/3-3-experiment.ipynb"])
def test_pages_say_how_many_chapters_judge_on_the_test_part(page):
    path = ROOT / page
    text = prose(path.stem) if path.suffix == ".ipynb" else " ".join(path.read_text(encoding="utf-8").split())
    said = re.findall(
        r"\b(\w+) chapters (?:judge on|look at)|judges forecasts on .{0,40}? in (\w+) chapters", text
    )
    assert [NUMBERS[word] for pair in said for word in pair if word] == [len(JUDGED)]
    sentence = re.search(r"(?:eight chapters).*?(?:\)\)|; this one|$)", text)[0]
    if page != "book/glossary.md":
        listed = set(re.findall(r"\(?(?:\.\./notebooks/)?([\w-]+)\.ipynb\)", sentence))
        assert listed | {path.stem if path.stem in JUDGED else "3-3-experiment"} == set(JUDGED)


@pytest.mark.parametrize(
    "path", [*NOTEBOOKS.values(), *sorted((ROOT / "book").glob("*.md"))], ids=lambda path: path.name
)
def test_nothing_claims_a_test_part_that_was_used_once(path):
    text = prose(path.stem) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
    assert not re.search(r"test part(?: is|,) (?:used )?once|used once, after|first and only time", text)


def test_the_scale_of_a_delay_is_that_of_the_testbed():
    declared = {each.name: each.default for each in experiments.parameters("1-introduction")}
    assert declared["day"] == int(workload.DAY)
    assert round(declared["delay"] * 1440 / declared["day"]) == 140


def test_a_target_spread_evenly_misses_the_goal_and_three_quarters_of_it_reach_it():
    even = np.linspace(0, 1, 10_001)
    assert even.var() == pytest.approx(1 / 12, abs=1e-4) and even.var() > 0.05
    assert (0.75 * even).var() < 0.05 < (0.8 * even).var()
    assert 0.05 / even.var() == pytest.approx(3 / 5, abs=1e-3)
    solution = next(cell for cell in cells("3-2-listing", "markdown") if "Popoviciu" in cell)
    assert "more than 0.05" in solution and "three fifths" in solution


def test_no_word_calls_adam_a_method_without_momentum():
    for path in [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "vdslib").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?i)adam has no(?:ne| momentum)|no momentum of its own", text), path.name


def test_the_datasheet_counts_the_trials_of_the_study():
    table = pd.read_csv(ROOT / "data" / hyperparameters.TABLE)
    sheet = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    assert f"a row for each of {len(table)} trainings" in sheet


def test_the_chosen_setting_is_trained_from_seeds_that_did_not_choose_it():
    assert "hyperparameters.fresh_seeds(table, chosen, seed, n_seeds)" in "\n".join(
        cells("3-6-hyperparameters", "code")
    )
    table = hyperparameters.read_table(ROOT / "data" / hyperparameters.TABLE)
    row = table.loc[table["validation_mse"].idxmin()]
    seeds = hyperparameters.fresh_seeds(table, row, 1, 5)
    same = (table[list(hyperparameters.NAMES)] == row[list(hyperparameters.NAMES)]).all(axis=1)
    assert len(set(seeds)) == 5 and min(seeds) >= 1
    assert row["seed"] in set(table.loc[same, "seed"]) and not set(seeds) & set(table.loc[same, "seed"])
    assert hyperparameters.fresh_seeds(table, row.to_dict() | {"units": 7}, 3, 2) == [3, 4]


def test_the_balancing_library_has_no_smote_for_a_number():
    names = {name.lower() for name in dir(imblearn.over_sampling)}
    assert "smote" in names and not names & {"smoter", "smogn"}
    text = prose("3-4-load-states")
    assert "torgo2013" in text and "branco2017" in text


def test_a_scaler_on_all_rows_moves_a_bad_skill_and_no_ratio_of_errors_far():
    runs = leaks.run(["scaler on all rows"], planted_leaks.case, range(1, 4), networks=False)
    errors = runs.pivot_table(index="model", columns="arm", values="error")
    factors = errors["leaky"] / errors["clean"]
    assert factors.max() < 0.2 and factors.max() / factors.min() - 1 < 0.25
    assert leaks.summary(runs).loc["scaler on all rows", "skill_gain"] < -1
