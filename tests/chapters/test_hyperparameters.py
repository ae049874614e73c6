"""The study of hyperparameters: what its table means, and that its trials still come out."""

import json

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml

from vdslib import experiments, files
from vdslib.chapters import hyperparameters
from vdslib.chapters.hyperparameters import NAMES
from vdslib.errors import TelemetryError
from vdslib.experiments import runs, sweeps

FOLDER = files.root() / "data"
TABLE = hyperparameters.read_table(FOLDER / "hyperparameters.csv")
PROVENANCE = json.loads((FOLDER / "hyperparameters.json").read_text())


def test_the_table_has_the_trials_of_both_plans_and_nothing_else():
    subject = runs.subject("3-6-trial")
    for name in ("one-at-a-time", "random"):
        planned, _ = sweeps.plan(subject, hyperparameters.plan(name), {})
        asked = pd.DataFrame([run.parameters for run in planned])[[*NAMES, "seed"]]
        asked["units"] = asked["units"].str[0]
        there = TABLE.loc[TABLE["plan"] == name, [*NAMES, "seed"]].reset_index(drop=True)
        pd.testing.assert_frame_equal(there, asked, check_dtype=False, rtol=1e-5)
    assert len(TABLE) >= 100 and set(TABLE["plan"]) == {"one-at-a-time", "random", "optuna"}


def test_provenance_names_what_determines_the_results():
    assert (
        PROVENANCE["data"]["vds_data.csv"] and PROVENANCE["commit"] and PROVENANCE["packages"]["tensorflow"]
    )
    # the same trainings in one process gave the same errors
    assert PROVENANCE["largest_relative_difference"] < 0.02


@pytest.mark.parametrize("plan", ["one-at-a-time", "random"])
def test_a_trial_of_the_table_still_has_its_error(plan):
    rows = TABLE[(TABLE["plan"] == plan) & TABLE["validation_mse"].notna()]
    row = rows.loc[rows["epochs"].idxmin()].to_dict()
    data = hyperparameters.prepared("recorded", [int(row["window"])])[int(row["window"])]
    values = {name: int(row[name]) if name in ("units", "epochs", "window") else row[name] for name in NAMES}
    again = hyperparameters.errors([hyperparameters.job(data, values, int(row["seed"]))])
    assert again == pytest.approx([row["validation_mse"]], rel=0.02)


def test_job_has_the_settings_of_the_notebook():
    declared = {parameter.name: parameter.default for parameter in experiments.parameters("3-6-trial")}
    data = hyperparameters.prepared("recorded", [declared["window"]])[declared["window"]]
    job = hyperparameters.job(data, declared | {"units": declared["units"][0]}, declared["seed"])
    how = job.settings
    assert (how.optimizer, how.batch_size, how.epochs) == tuple(
        declared[name] for name in ("optimizer", "batch_size", "epochs")
    )
    assert (how.learning_rate, how.momentum) == (declared["learning_rate"], declared["momentum"])
    network = job.build(job.seed)
    assert [network.layers[0].units] == declared["units"] and network.layers[1].rate == declared["dropout"]


def made_up(effect: float, noise: float) -> pd.DataFrame:
    """Trials one at a time in which only units matter."""
    base, changes = (
        {"units": 8, "epochs": 5, "learning_rate": 0.1, "momentum": 0.0, "dropout": 0.0, "window": 3},
        [{}, *({name: 2} for name in NAMES)],
    )
    generator, rows = np.random.default_rng(0), []
    for change in changes:
        for seed in range(4):
            error = 1 + effect * ("units" in change) + noise * generator.uniform()
            rows.append(base | change | {"plan": "one-at-a-time", "seed": seed, "validation_mse": error})
    return pd.DataFrame(rows)


def test_an_effect_is_found_and_luck_is_none():
    trials = hyperparameters.one_at_a_time(made_up(effect=0.5, noise=0.05))
    assert len(trials) == 6 * 2 * 4 and set(trials["name"]) == set(NAMES)
    effects, spread = hyperparameters.effects(trials)
    assert list(effects[effects["effect"] > spread].index) == ["units"] and 0 < spread < 0.05
    assert effects.loc["units", ["best value", "worst value"]].tolist() == [8, 2]
    assert effects.loc["units", "effect"] == pytest.approx(0.5, abs=0.05)


def test_effects_and_ranges_by_seed_are_what_the_effects_are_made_of():
    trials = hyperparameters.one_at_a_time(made_up(0.01, 0.002))
    effects, spread = hyperparameters.effects(trials)
    differences, ranges = hyperparameters.by_seed(trials, effects)
    for name in NAMES:
        assert np.mean(differences[name]) == pytest.approx(effects.loc[name, "effect"])
        assert len(differences[name]) == trials["seed"].nunique()
    assert np.median(ranges) == pytest.approx(spread)


def test_a_diverged_setting_is_neither_best_nor_worst():
    table = made_up(effect=0.5, noise=0.1)
    table.loc[table["units"] == 2, "validation_mse"] = np.nan
    effects, _ = hyperparameters.effects(hyperparameters.one_at_a_time(table))
    assert effects.loc["units", "effect"] == 0


def test_best_so_far_and_its_random_orders():
    errors = [3.0, np.nan, 1.0, 2.0]
    assert hyperparameters.best_so_far(errors).tolist() == [3, 3, 1, 1]
    orders = hyperparameters.orders_at_random(errors, orders=500)
    assert orders.shape == (500, 4) and set(orders[:, -1]) == {1.0}
    assert np.nanmean(orders[:, 0]) == pytest.approx(2.0, abs=0.15)


def test_optuna_draws_from_the_space_of_the_plan():
    space = hyperparameters.space()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [hyperparameters.suggest(study.ask(), space) for _ in range(30)]
    for name, part in space.items():
        values = [each[name] for each in drawn]
        if isinstance(part, list):
            assert set(values) <= set(part)
        else:
            assert part["low"] <= min(values) < max(values) <= part["high"]
            assert {type(value) for value in values} == {type(part["low"])}


def test_a_table_of_other_telemetry_or_another_form_is_refused(tmp_path):
    with pytest.raises(TelemetryError, match="made with recorded, not with mine.csv"):
        hyperparameters.read_table(FOLDER / "hyperparameters.csv", "mine.csv")
    with pytest.raises(TelemetryError, match="there is no .*hyperparameters.csv"):
        hyperparameters.read_table(tmp_path / "hyperparameters.csv")
    (tmp_path / "hyperparameters.csv").write_text("a,b\n1,2\n")
    with pytest.raises(TelemetryError, match="it has no cell_seconds, dropout"):
        hyperparameters.read_table(tmp_path / "hyperparameters.csv")


def test_the_command_makes_runs_and_table(tmp_path, monkeypatch):
    small = {
        "one-at-a-time": {"list": [{"units": [4], "epochs": 1}]},
        "random": yaml.safe_load(
            "random: {n: 1, seed: 0, over: {units: [[4]], epochs: [1], window: [3], dropout: [0.0], momentum: [0.0],"
            " learning_rate: {low: 0.01, high: 0.1}}}"
        ),
    }
    monkeypatch.setattr(hyperparameters, "plan", small.__getitem__)
    monkeypatch.setattr(hyperparameters, "OPTUNA", {"trials": 2, "at_once": 2, "seed": 0})
    monkeypatch.chdir(tmp_path)
    hyperparameters.main(tmp_path / "made")
    table = hyperparameters.read_table(tmp_path / "made" / "hyperparameters.csv")
    assert (
        table["plan"].tolist() == ["one-at-a-time", "random", "optuna", "optuna"]
        and table["validation_mse"].notna().all()
    )
    assert (
        json.loads((tmp_path / "made" / "hyperparameters.json").read_text())["seconds_per_trial_in_process"]
        > 0
    )
    assert len(list((tmp_path / "runs" / "hyperparameters").iterdir())) == 2


def test_a_pair_that_tells_more_is_seen_and_one_that_tells_nothing_is_not():
    random = np.random.default_rng(0)
    trials = pd.DataFrame(random.standard_normal((64, 2)), columns=["a", "b"])
    trials = trials.assign(sum=trials["a"] + trials["b"], copy=trials["a"])
    trials["validation_mse"] = trials["sum"] + 0.1 * random.standard_normal(64)
    trials.loc[3, "validation_mse"] = np.nan  # diverged
    assert np.quantile(hyperparameters.leads(trials, ["a", "b"], "sum"), 0.025) > 0
    assert (hyperparameters.leads(trials, ["a", "b"], "copy") <= 0).all()
    whole = hyperparameters.leads(trials, ["a"], "sum", repetitions=2000).mean()
    ranks = trials[["a", "sum"]].corrwith(trials["validation_mse"], method="spearman").abs()
    assert whole == pytest.approx(ranks["sum"] - ranks["a"], abs=0.02)
