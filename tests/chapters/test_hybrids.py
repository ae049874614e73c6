"""Chapter 4.1: what its table means, and that its trials still come out."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from vdslib import files
from vdslib.chapters import hybrids, hybrids_study, hyperparameters
from vdslib.chapters.hybrids_study import BUDGET, SEEDS, SETTING
from vdslib.errors import TelemetryError
from vdslib.evaluation import equal_budget, mse
from vdslib.experiments import runs, sweeps
from vdslib.forecasting import Persistence
from vdslib.networks import Settings

TABLE = hybrids_study.read_table(files.root() / "data" / "hybrids.csv")
TRIALS = TABLE[TABLE["validation"].notna()]
KNOWN = hybrids.data()


def test_the_table_has_the_trials_of_the_plans_and_nothing_else():
    subject = runs.subject("4-1-trial")
    names = ["telemetry", "network", "time", "level", "nodes"]
    asked = [
        (
            *(run.parameters[name] for name in [*names[:-1], "by_node"]),
            "-".join(map(str, run.parameters["units"])),
            step,
        )
        for plan in hybrids_study.PLANS
        for run in sweeps.plan(subject, hyperparameters.plan(plan), {})[0]
        for step in run.parameters["steps"]
    ]
    there = TRIALS[[*names, "units", "step"]].itertuples(index=False, name=None)
    assert sorted(there) == sorted(asked)


def test_every_architecture_was_tried_at_equal_budget():
    for _, rows in TRIALS.groupby("telemetry"):
        equal_budget(rows.set_index("network"), BUDGET)


@pytest.mark.parametrize(("network", "time"), [("ridge", True), ("ridge", False)])
def test_a_trial_of_the_table_still_has_its_errors(network, time):
    rows = TRIALS[(TRIALS["network"] == network) & (TRIALS["time"] == time) & (TRIALS["level"] == "last")]
    rows = rows[rows["telemetry"] == "recorded"]
    model = hybrids.forecaster(network, lags=10, level="last")
    again = hybrids.judged(
        model, hybrids.data(rhythms=["auto"] if time else []), rows["step"].tolist(), False
    )
    for name in ("mse", "persistence", "mean"):
        assert again[name] == pytest.approx(rows[name].tolist(), rel=0.01)


def test_a_mean_forecast_is_no_worse_than_its_members_on_average():
    rows = TRIALS.dropna(subset=SEEDS)
    assert (rows["mse"] <= rows[SEEDS].mean(axis=1) * 1.001).all()


def test_a_level_that_moves_leaves_persistence_as_it_was_and_every_window_higher():
    later = hybrids.moved(KNOWN.test, 0.5)
    persistence = Persistence().fit(KNOWN.train_full)
    for windows in (KNOWN.test, later):
        assert mse(windows.y, persistence.forecast(windows)) == pytest.approx(
            mse(KNOWN.test.y, persistence.forecast(KNOWN.test))
        )
    np.testing.assert_allclose(later.measured, KNOWN.test.measured + 0.5)
    np.testing.assert_array_equal(later.known, KNOWN.test.known)


def test_ensemble_takes_the_better_of_two_ways_and_holds_another_block_out_for_each_seed():
    few = KNOWN.train_full.take(slice(0, 1500))
    ways = [Settings(learning_rate=rate, epochs=3, batch_size=256, patience=3) for rate in (1e-9, 0.01)]
    model = hybrids.Ensemble("nlinear", ways, seeds=(1, 2)).fit(few)
    assert model.errors[1] < model.errors[0]  # who hardly moves learns nothing
    rates = [float(each.model.optimizer.learning_rate) for each in model.trained]
    assert rates == pytest.approx([0.01, 0.01])
    assert not np.allclose(*model.members(few))
    np.testing.assert_allclose(model.forecast(few), np.mean(model.members(few), axis=0))


def test_gains_are_shares_of_the_error_of_the_same_seed_over_all_steps():
    rows = pd.DataFrame(
        {"network": ["a", "a", "b", "b"], "units": "32", "step": [1, 5, 5, 1]}
        | {seed: [1.0, 2.0, 1.0, 1.0] for seed in SEEDS}
    ).set_index(["network", "units"])
    np.testing.assert_allclose(hybrids_study.gains(rows, ("a", "32"), ("b", "32")), 0.25)


def test_a_model_that_is_clearly_worse_leaves_the_set_of_its_own_telemetry_only():
    random = np.random.default_rng(1)
    good = random.standard_normal(400) ** 2
    rows = pd.DataFrame({"telemetry": ["a", "a", "b"], "network": ["boosting", "lstm", "lstm"]})
    rows = rows.assign(target="demand", step=1, time=True, nodes=False, level="")
    table = hybrids_study.compared(rows, [good, good + 1, good + 1])
    assert table["p"].gt(hybrids_study.SIZE).tolist() == [True, False, True]
    assert table["skill"].isna().tolist() == [
        True,
        False,
        True,
    ]  # against nobody, against boosting, against nobody
    assert table["skill"][1] == pytest.approx(1 - (good.mean() + 1) / good.mean())
    assert table["low"][1] < table["skill"][1] < table["high"][1] < 0


def test_a_missing_table_or_one_of_other_columns_is_named(tmp_path):
    with pytest.raises(TelemetryError, match="make tables ONLY=hybrids"):
        hybrids_study.read_table(tmp_path / "hybrids.csv")
    TABLE[SETTING].to_csv(tmp_path / "hybrids.csv", index=False)
    with pytest.raises(TelemetryError, match="persistence"):
        hybrids_study.read_table(tmp_path / "hybrids.csv")


def test_nodes_are_columns_of_their_own_and_change_no_target():
    beside = hybrids.data(nodes=True)
    assert beside.features[0] == "demand" and len(beside.features) == 5
    np.testing.assert_array_equal(beside.test.y, KNOWN.test.y)
    parts = replace(beside.test).measured[:, -1, 1:]
    assert parts.std() > 0
