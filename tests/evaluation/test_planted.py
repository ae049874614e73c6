"""On series whose truth is known, no table of models claims more than there is."""

import numpy as np
import pandas as pd
import pytest
from synthetic import autoregression, planted

from vdslib.errors import Notice
from vdslib.evaluation import coverages, fitted, mse, significance, standings
from vdslib.forecasting import Persistence, Ridge, TrainingMean, prepare, seasonal_error

SEEDS = range(20)
LEVEL = 0.05


def cut(values, horizon=1):
    return prepare(planted(values), features=["cpu_usage"], target="cpu_usage", horizon=horizon)


def false_alarms(series, reference):
    """Seeds on which some model beats the reference significantly, by one-sided tests, Holm over the models."""
    alarms = []
    for seed in SEEDS:
        data = cut(series(np.random.default_rng(seed)))
        table = significance.losses(fitted(data)[0], data.test)
        assert {reference, "ridge", "ETS", "ARIMA", "boosting", "seasonal naive", "drift"} < set(table)
        others = [name for name in table if name != reference]
        p_values = [significance.diebold_mariano(table[name], table[reference]).p_value for name in others]
        if (significance.holm(p_values) < LEVEL).any():
            alarms.append(seed)
    return alarms


@pytest.mark.slow
def test_nothing_beats_persistence_on_a_random_walk():
    alarms = false_alarms(lambda random: np.cumsum(random.standard_normal(1000)), "persistence")
    assert len(alarms) <= 1, alarms


@pytest.mark.slow
def test_nothing_beats_the_mean_on_white_noise():
    alarms = false_alarms(lambda random: random.standard_normal(1000), "mean")
    assert len(alarms) <= 1, alarms


def test_what_there_is_to_find_is_found():
    data = cut(autoregression(3000, 0.3))  # persistence errs by 1.54, the mean by 1.10, the best by 1
    table = significance.losses(fitted(data)[0], data.test)
    found = significance.versus(table, repetitions=200)["p holm"]
    assert (found[["ridge", "ETS", "ARIMA", "boosting", "mean"]] < LEVEL).all()


@pytest.mark.parametrize("weight", [0.5, 0.9])
def test_ridge_comes_within_a_twentieth_of_the_noise_floor(weight):
    data = cut(autoregression(10_000, weight))
    ridge = fitted(data)[0]["ridge"]
    noise = np.var(np.random.default_rng(0).standard_normal(10_000)[-len(data.test) :])
    error = mse(data.test.y, ridge.forecast(data.test)) * data.y_scaler.data_range_[0] ** 2
    assert error == pytest.approx(1, rel=0.05) and error == pytest.approx(noise, rel=0.01)


def test_standings_and_coverages_have_a_row_for_everything():
    data = cut(autoregression(1500, 0.5), horizon=2)
    models, seconds = fitted(data)
    table = standings(models, data, repetitions=100)
    assert set(table.index) == set(models) == set(seconds)
    assert table["mse"].is_monotonic_increasing and table.loc["ridge", "in the set"]
    assert table.loc["persistence", "skill"] == 0
    few = {name: models[name] for name in ("ridge", "persistence")}
    held = coverages(few, data, repetitions=100).set_index(["model", "kind", "nominal"])
    assert len(held) == 2 * 2 * 2 and (held["low"] <= held["high"]).all()
    assert held.loc[("ridge", "adaptive", 0.8), "coverage"] == pytest.approx(0.8, abs=0.05)
    assert (held.xs("ridge")["winkler_unit"] < held.xs("persistence")["winkler_unit"]).all()


class Broken(Persistence):
    """A network that diverged under one of its seeds, as far as tables can see."""

    def __init__(self, seed, value):
        super().__init__()
        self.seed, self.value, self.learning_rate = seed, value, 30.0

    def forecast(self, windows):
        values = super().forecast(windows)
        values[len(values) // 2 :] = self.value
        return values


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])
def test_a_model_that_diverged_is_named_and_the_others_keep_their_rows(value):
    data = cut(autoregression(600, 0.5), horizon=2)
    simple = {"persistence": Persistence(), "ridge": Ridge(5), "mean": TrainingMean()}
    models = {name: model.fit(data.train) for name, model in simple.items()}
    expected = standings(models, data, repetitions=100)
    seeds = [Broken(3, value).fit(data.train), Persistence().fit(data.train)]
    with pytest.warns(Notice) as caught:
        table = standings({"broken": seeds} | models, data, repetitions=100)
    said = "broken has no error: forecasts of seed 3, learning rate 30 are not finite, or too large"
    assert [str(each.message) for each in caught] == [said]
    pd.testing.assert_frame_equal(table.drop("broken"), expected)
    assert table.index[-1] == "broken" and not table.loc["broken", "in the set"]
    assert table.loc["broken"].drop(["in the set", "skill"]).isna().all()
    if np.isnan(value):
        held = coverages({"broken": seeds, "ridge": models["ridge"]}, data, repetitions=100)
        values = held.set_index("model")[["coverage", "at the last step", "low", "high", "winkler_unit"]]
        assert values.loc["broken"].isna().all(axis=None) and values.loc["ridge"].notna().all(axis=None)


def test_two_nodes_that_miss_together_are_no_more_evidence_than_one():
    frame = planted(autoregression(1500, 0.5))
    width = []
    for nodes in (["a"], ["a", "b"]):
        table = pd.concat([frame.assign(node=name) for name in nodes], ignore_index=True)
        data = prepare(table, features=["cpu_usage"], target="cpu_usage")
        held = coverages({"persistence": Persistence().fit(data.train)}, data, [0.8], repetitions=300)
        width.append(held["high"] - held["low"])
    assert width[1].to_numpy() == pytest.approx(width[0].to_numpy(), rel=0.1)


def test_a_stated_season_is_that_of_all_rivals_and_of_mase():
    wave = np.sin(2 * np.pi * np.arange(400) / 40) + 0.1 * np.random.default_rng(0).standard_normal(400)
    data = cut(wave)
    stated, free = (fitted(data, period)[0] for period in (7, 0))
    for name in ("seasonal naive", "ETS", "ARIMA"):
        assert stated[name].period == 7 and abs(free[name].period - 40) <= 1
    error = np.abs(data.test.y - stated["persistence"].forecast(data.test)).mean()
    table = standings({"persistence": stated["persistence"]}, data, period=7, repetitions=50)
    assert table.loc["persistence", "mase"] == pytest.approx(
        error / seasonal_error(data.train_full, 7)["system"]
    )
