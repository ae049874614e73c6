"""Diebold-Mariano by hand, Holm by hand, intervals and sets on losses whose truth is known."""

import numpy as np
import pandas as pd
import pytest
from synthetic import autoregression, planted

from vdslib.evaluation import evaluate, significance
from vdslib.forecasting import Conformal, Oracle, Persistence, Ridge, TrainingMean, prepare


@pytest.fixture(scope="module")
def data():
    frame = pd.concat([planted(autoregression(400, seed=seed), node) for seed, node in enumerate("ab")])
    return prepare(frame, features=["cpu_usage"], target="cpu_usage", window=5, horizon=2)


def test_diebold_mariano_by_hand():
    # differences 1, -1, 2, 0, 3: mean 1, variance 2, covariance with the next -1
    first, second = np.array([2.0, 0, 3, 1, 4]), np.ones(5)
    test = significance.diebold_mariano(first, second, horizon=1, lags=0)
    # 1 / sqrt(2 / 5), times sqrt(4 / 5)
    assert test.statistic == pytest.approx(2**0.5) and test.lags == 0
    # Student's t with 4 degrees of freedom at sqrt(2), in closed form
    ratio = 2**0.5 / 1.5**0.5
    assert test.p_value == pytest.approx(0.5 + 3 / 8 * ratio * (1 - 2 / 1.5 / 12))
    # one lag has weight 1/2: the variance is 2 - 1; two steps ahead the correction is sqrt(2.4 / 5)
    test = significance.diebold_mariano(first, second, horizon=2, lags=1)
    assert test.statistic == pytest.approx(5**0.5 * 0.48**0.5)
    swapped = significance.diebold_mariano(second, first, horizon=2, lags=1)
    assert swapped.statistic == pytest.approx(-test.statistic)
    assert swapped.p_value == pytest.approx(1 - test.p_value)


def test_lags_are_explicit():
    random = np.random.default_rng(0)
    first, second = random.random((2, 1000))
    assert significance.diebold_mariano(first, second).lags == 10
    assert significance.diebold_mariano(first, second, horizon=30).lags == 29


def test_equal_and_constant_differences():
    same = np.ones(20)
    assert significance.diebold_mariano(same, same).p_value == 1
    assert significance.diebold_mariano(same, same + 1).p_value == 0
    assert significance.diebold_mariano(same + 1, same).p_value == 1
    for wrong in (np.ones(19), np.ones((20, 1))):
        with pytest.raises(ValueError, match="two series of losses"):
            significance.diebold_mariano(same, wrong)


def test_diebold_mariano_keeps_its_level_under_autocorrelation():
    rejected = 0
    for seed in range(200):
        noise = autoregression(300, 0.5, seed=seed)
        rejected += significance.diebold_mariano(noise, np.zeros(300)).p_value < 0.05
    assert 2 <= rejected <= 22  # 10 expected, some more with a weighted variance


def test_holm_by_hand():
    # sorted: 0.01 x 3, 0.02 x 2, 0.04 x 1, none below the one before
    np.testing.assert_allclose(significance.holm([0.04, 0.01, 0.02]), [0.04, 0.03, 0.04])


def test_losses_by_hand(data):
    fitted = {
        "persistence": Persistence().fit(data.train),
        "ridge": [Ridge(1).fit(data.train), Ridge(5).fit(data.train)],
    }
    table = significance.losses(fitted, data.test)
    moment = data.test.times[7]
    at_once = data.test.times == moment
    assert at_once.sum() == 2 and len(table) == len(data.test) / 2
    errors = data.test.y[at_once] - data.test.last[at_once][:, None]
    assert table.loc[moment, "persistence"] == pytest.approx(np.mean(errors**2))
    errors = [(model.forecast(data.test) - data.test.y)[at_once][:, 1] for model in fitted["ridge"]]
    second = significance.losses(fitted, data.test, step=2, power=1)
    assert second.loc[moment, "ridge"] == pytest.approx(np.mean(np.abs(errors)))


def test_skill_interval_holds_the_truth():
    hits = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        first, second = random.chisquare(1, 300), 2 * random.chisquare(1, 300)
        low, high = significance.skill_interval(first, second, repetitions=300)
        hits += low < 0.5 < high
    assert 34 <= hits <= 40
    assert significance.skill_interval(first, second, seed=1) == significance.skill_interval(
        first, second, seed=1
    )


def test_the_set_keeps_the_best_and_drops_the_worst():
    random = np.random.default_rng(0)
    shared = random.chisquare(1, 400)
    table = pd.DataFrame(
        {"good": shared, "twin": shared, "close": shared + 0.02 * random.standard_normal(400)}
    )
    table["bad"] = shared + 1 + 0.1 * random.standard_normal(400)
    found = significance.model_confidence_set(table, repetitions=300)
    assert found["good"] == found["twin"] > 0.1 and found["close"] > 0.1 > found["bad"]
    assert (significance.model_confidence_set(table[["good", "twin"]]) == 1).all()


def with_rare_enormous_losses(seed):
    """Six models that lose about the same, and one that follows them but for five stretches of 15 moments."""
    random = np.random.default_rng(seed)
    shared = random.chisquare(1, 400)
    table = pd.DataFrame(
        {
            f"model {n}": shared * (1 + 0.05 * random.standard_normal(400)) + 0.05 * random.chisquare(1, 400)
            for n in range(6)
        }
    )
    hopeless = shared.copy()
    for start in random.integers(0, 380, 5):
        hopeless[start : start + 15] += 3000 * random.chisquare(1) * np.exp(-np.arange(15) / 5)
    return table.assign(hopeless=hopeless)


@pytest.mark.parametrize("seed", range(5))
def test_enormous_losses_do_not_hide_behind_their_own_spread(seed):
    table = with_rare_enormous_losses(seed)
    result = significance.versus(table, "model 0", repetitions=300)
    assert result.loc["hopeless", "skill"] < -10 and result.loc["hopeless", "high"] < 0
    assert result.loc["hopeless", "p of the set"] < 0.05 and not result.loc["hopeless", "in the set"]
    assert result.loc[table.mean().idxmin(), "in the set"]


def test_no_row_contradicts_itself():
    """Many rivals make the set generous; who is worse than one of them by the interval is not in it."""
    outside = 0
    for seed in range(6):
        random = np.random.default_rng(seed)
        shared = random.chisquare(1, 300)
        table = pd.DataFrame(
            {f"rival {n}": shared + 0.3 * random.standard_normal(300) ** 2 for n in range(12)}
        )
        table["worse"] = table["rival 0"] + 0.03 + 0.25 * random.standard_normal(300)
        result = significance.versus(table, "rival 0", repetitions=200, seed=seed)
        assert not (result["in the set"] & (result["high"] < 0)).any()
        outside += (result["p of the set"] > 0.1).to_numpy() @ (result["high"] < 0).to_numpy()
    assert outside


def test_the_set_holds_equals_with_the_promised_probability():
    kept = 0
    for seed in range(60):
        table = pd.DataFrame({n: autoregression(300, 0.5, seed=100 * seed + n) ** 2 for n in range(4)})
        kept += (significance.model_confidence_set(table, repetitions=200) > 0.1).all()
    assert kept >= 46  # 54 expected, some fewer with blocks of 300 moments


def test_equals_stay_and_one_that_is_worse_by_a_standard_deviation_leaves():
    stay = leave = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        table = pd.DataFrame({n: random.chisquare(3, 300) for n in range(4)})
        stay += (significance.model_confidence_set(table, repetitions=200, seed=seed) > 0.1).all()
        table["worse"] = random.chisquare(3, 300) + np.sqrt(6)
        leave += significance.model_confidence_set(table, repetitions=200, seed=seed)["worse"] <= 0.1
    assert stay >= 85 and leave >= 95, (stay, leave)


def test_losses_that_are_not_finite_leave_the_others_their_rows():
    random = np.random.default_rng(0)
    sound = pd.DataFrame({"persistence": random.chisquare(1, 300), "good": 0.5 * random.chisquare(1, 300)})
    alone = significance.versus(sound, repetitions=200)
    for bad in (np.nan, np.inf):
        broken = sound["good"].mask(sound.index == 7, bad)
        result = significance.versus(sound.assign(broken=broken), repetitions=200)
        pd.testing.assert_frame_equal(result.loc[["persistence", "good"]], alone)
        row = result.loc["broken"]
        assert not row["in the set"] and row.drop(["loss", "in the set", "skill"]).isna().all()
        assert not np.isfinite(row["loss"]) and not np.isfinite(row["skill"])
    nothing = significance.versus(sound.assign(persistence=np.nan), repetitions=200)
    assert nothing[["skill", "low", "high", "p", "p holm"]].isna().all(axis=None)
    assert list(nothing.index[nothing["in the set"]]) == ["good"]


def test_forecasts_of_another_shape_are_refused(data):
    class Flat(Persistence):
        def forecast(self, windows):
            return super().forecast(windows)[:, :1]

    with pytest.raises(ValueError, match=r"flat has forecasts of shape \(\d+, 1\) where the targets are"):
        significance.losses({"flat": Flat().fit(data.train)}, data.test)
    with pytest.raises(ValueError, match=r"flat has forecasts of shape"):
        evaluate({"flat": Flat().fit(data.train)}, data.test)
    with pytest.raises(ValueError, match=r"Flat has forecasts of shape"):
        Conformal(Flat().fit(data.train)).calibrate(data.test)


def test_versus_is_consistent(data):
    models = {"persistence": Persistence(), "mean": TrainingMean(), "ridge": Ridge(), "oracle": Oracle()}
    fitted = {name: model.fit(data.train) for name, model in models.items()}
    table = significance.losses(fitted, data.test)
    result = significance.versus(table, horizon=2, repetitions=300)
    assert list(result.index) == list(models)
    assert result.loc["oracle", "loss"] == 0 and result.loc["oracle", "skill"] == 1
    assert result.loc["oracle", "p holm"] < 0.001 and result.loc["mean", "p holm"] > 0.5
    assert list(result.index[result["in the set"]]) == ["oracle"]
    assert (result["low"] <= result["skill"]).all() and (result["skill"] <= result["high"]).all()
    assert np.isnan(result.loc["persistence", "p"]) and result.loc["persistence", "skill"] == 0
    test = significance.diebold_mariano(table["ridge"], table["persistence"], 2)
    assert result.loc["ridge", "p"] == test.p_value
    with pytest.raises(ValueError, match="no losses of 'mine'"):
        significance.versus(table, "mine")
