"""Error measures by hand and by scikit-learn; the reading of loss curves on planted curves."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from synthetic import autoregression, planted, recording

from vdslib import evaluation, telemetry
from vdslib.evaluation import measures, reading_of_curves, shift_test
from vdslib.forecasting import USAGES, Oracle, Persistence, Ridge, TrainingMean, intervals, prepare

EPOCHS = np.arange(50)


@pytest.fixture(scope="module")
def series():
    return telemetry.system_series(recording(1000))


@pytest.fixture(scope="module")
def prepared(series):
    return prepare(series, features=USAGES, target="cpu_usage", horizon=2)


def test_errors_by_hand():
    true, predicted = [[1.0], [2.0], [4.0]], [[1.0], [4.0], [3.0]]
    assert evaluation.mse(true, predicted) == pytest.approx(5 / 3)
    assert evaluation.mae(true, predicted) == pytest.approx(1)
    assert evaluation.rmse(true, predicted) == pytest.approx((5 / 3) ** 0.5)
    assert evaluation.skill(1.0, 4.0) == 0.75
    assert evaluation.skill(4.0, 4.0) == 0 and evaluation.skill(8.0, 4.0) == -1
    assert np.isnan(evaluation.skill(1.0, 0.0))


def test_errors_equal_scikit_learn():
    true, predicted = np.random.default_rng(0).random((2, 50, 3))
    assert evaluation.mse(true, predicted) == pytest.approx(metrics.mean_squared_error(true, predicted))
    assert evaluation.mae(true, predicted) == pytest.approx(metrics.mean_absolute_error(true, predicted))
    assert evaluation.rmse(true.ravel(), predicted.ravel()) == pytest.approx(
        metrics.root_mean_squared_error(true.ravel(), predicted.ravel())
    )


@pytest.mark.parametrize("shapes", [((5, 1), (5,)), ((5, 1), (5, 3)), ((5,), (4,)), ((0, 1), (0, 1))])
def test_shapes_are_never_broadcast(shapes):
    true, predicted = np.zeros(shapes[0]), np.zeros(shapes[1])
    for error in (evaluation.mse, evaluation.mae, evaluation.rmse):
        with pytest.raises(ValueError, match="shapes must be equal"):
            error(true, predicted)


@pytest.mark.parametrize("h", [1, 2, 5])
def test_the_shift_test_unmasks_a_forecast_that_repeats_the_past(h):
    true = np.sin(np.arange(300) / 9) + 0.1 * np.random.default_rng(0).standard_normal(300)
    shift = shift_test(true[h:], true[:-h])
    assert shift.best == h and shift.errors[h] == 0
    assert len(shift.errors) == 11


@pytest.mark.parametrize(("phi", "skill"), [(0.5, 0.25), (0.8, 0.1), (0.95, 0.025)])
def test_the_best_forecast_of_an_autoregression_has_the_shift_of_a_copy(phi, skill):
    """So that shift alone is no proof of a copy: the whole curve has to be compared."""
    random = np.random.default_rng(0)
    true = np.zeros(200_000)
    for i, shock in enumerate(random.normal(size=len(true) - 1), start=1):
        true[i] = phi * true[i - 1] + shock
    best, copy = phi * true[:-1], true[:-1]
    shift = shift_test(true[1:], best, 3)
    assert shift.best == shift_test(true[1:], copy, 3).best == 1
    assert evaluation.skill(evaluation.mse(true[1:], best), evaluation.mse(true[1:], copy)) == pytest.approx(
        skill, abs=0.006
    )
    assert shift.errors[1] > 0 == shift_test(true[1:], copy, 3).errors[1]  # which tells them apart


def test_the_shift_test_clears_an_oracle():
    true = np.random.default_rng(0).standard_normal(100)
    assert shift_test(true, true, 3).best == 0
    by_hand = np.mean((true[3:] - true[1:-2]) ** 2)
    assert shift_test(true, true, 3).errors[2] == pytest.approx(by_hand)


def test_the_shift_test_wants_two_series():
    for true, predicted in (
        ([1.0, 2.0], [1.0]),
        (np.zeros((20, 1)), np.zeros((20, 1))),
        (np.zeros(5), np.zeros(5)),
    ):
        with pytest.raises(ValueError, match="two series"):
            shift_test(true, predicted)


def test_overfitting_gap_and_its_reduction():
    assert evaluation.overfitting_gap(0.010, 0.014) == pytest.approx(0.004)
    assert evaluation.gap_reduction(0.004, 0.003) == pytest.approx(0.25)
    assert evaluation.gap_reduction(0.004, 0.006) == pytest.approx(-0.5)
    assert evaluation.gap_reduction(0.004, -0.001) == pytest.approx(1.25)
    assert np.isnan(evaluation.gap_reduction(0.0, 0.001)) and np.isnan(
        evaluation.gap_reduction(-0.001, -0.002)
    )


def falling(floor=0.01, rate=5.0):
    return floor + 0.09 * np.exp(-EPOCHS / rate)


def u_shaped(turn=15, slope=0.0005):
    return falling(0.012) + slope * np.clip(EPOCHS - turn, 0, None)


PLANTED = {
    "overfitting": [
        (falling(0.001, 12), u_shaped()),
        (falling(0.001, 12), u_shaped(25, 0.0002)),
        (falling(0.001, 12), 0.02 + 0.001 * EPOCHS),  # validation loss rises from the first epoch
    ],
    "underfitting": [
        (1 - 0.015 * EPOCHS, 1.1 - 0.015 * EPOCHS),
        (falling(0.001, 40), falling(0.001, 45)),
    ],
    "good": [
        (falling(), falling(0.012)),
        (falling(0.02), falling(0.012)),  # dropout makes the training loss the higher one
        (falling(0.001, 12), falling(0.012)),  # a gap, but a steady one
        (falling(), falling(0.011) - 2e-5 * EPOCHS),  # very slowly falling
    ],
    "unclear": [
        (falling()[::-1], falling()[::-1]),  # both rise: diverging
        (np.full(50, 0.1), np.full(50, 0.1)),
        (falling(), np.where(EPOCHS == 20, np.nan, 0.1)),
        (falling()[:5], falling()[:5]),
    ],
}
CASES = [(reading, *curves) for reading, pairs in PLANTED.items() for curves in pairs]


@pytest.mark.parametrize(("reading", "train", "val"), CASES)
def test_planted_curves_are_read_right(reading, train, val):
    assert reading_of_curves(train, val) == reading


@pytest.mark.parametrize(("reading", "train", "val"), [case for case in CASES if case[0] != "unclear"])
def test_the_scale_of_the_loss_does_not_matter(reading, train, val):
    assert reading_of_curves(1000 * train, 1000 * val) == reading


@pytest.mark.parametrize("reading", ["overfitting", "underfitting", "good"])
def test_jitter_does_not_change_the_reading(reading):
    train, val = PLANTED[reading][0]
    random = np.random.default_rng(0)
    seen = [
        reading_of_curves(*(curve * (1 + size * random.standard_normal(50)) for curve, size in pair))
        for pair in [((train, 0.02), (val, 0.05))] * 40
    ]
    assert seen.count(reading) >= 38


def test_a_network_no_better_than_a_constant_underfits():
    train, val = PLANTED["good"][0]
    assert reading_of_curves(train, val, reference=0.02) == "good"
    assert reading_of_curves(train, val, reference=0.011) == "underfitting"


def test_comparison_is_tidy_and_right(prepared):
    models = {
        "persistence": Persistence(),
        "mean": TrainingMean(),
        "ridge": [Ridge(lags).fit(prepared.train) for lags in (1, 10)],
        "oracle": Oracle(),
    }
    for name in ("persistence", "mean"):
        models[name].fit(prepared.train)
    table = evaluation.compare(models, prepared.test)
    assert list(table) == ["model", "seed", "metric", "value"]
    assert len(table) == 5 * 4
    values = table.set_index(["model", "seed", "metric"])["value"]
    assert values["persistence", 0, "skill"] == 0 and values["oracle", 0, "skill"] == 1
    assert values["oracle", 0, "mse"] == 0
    forecast = models["ridge"][1].forecast(prepared.test)
    assert values["ridge", 1, "mae"] == evaluation.mae(prepared.test.y, forecast)
    assert values["ridge", 1, "rmse"] ** 2 == pytest.approx(values["ridge", 1, "mse"])
    naive = np.mean((prepared.test.y - prepared.test.last[:, None]) ** 2)
    assert values["mean", 0, "skill"] == pytest.approx(1 - values["mean", 0, "mse"] / naive)


def test_seeds_are_those_of_the_models(prepared):
    models = [Persistence().fit(prepared.train) for _ in range(2)]
    models[0].seed, models[1].seed = 7, 8
    assert set(evaluation.compare({"a": models}, prepared.test)["seed"]) == {7, 8}


def test_summary_by_hand():
    rows = [("a", 0, "mse", 1.0), ("a", 1, "mse", 3.0), ("b", 0, "mse", 5.0)]
    table = evaluation.summary(pd.DataFrame(rows, columns=["model", "seed", "metric", "value"]))
    assert list(table.index) == ["a", "b"] and list(table) == ["mse", "mse spread"]
    assert table.loc["a", "mse"] == 2 and table.loc["a", "mse spread"] == pytest.approx(2**0.5)
    assert np.isnan(table.loc["b", "mse spread"])


def table_of(models, data, **options):
    """Values by model, metric, horizon and node of a table on the test part."""
    tidy = evaluation.evaluate(models, data.test, data.train, to_units=data.to_units, **options)
    assert list(tidy) == ["origin", "node", "horizon", "model", "seed", "fold", "metric", "value"]
    assert not tidy.duplicated(["node", "horizon", "model", "seed", "metric"]).any()
    return tidy.set_index(["model", "metric", "horizon", "node"])["value"].sort_index()


@pytest.fixture(scope="module")
def two_nodes():
    frame = pd.concat([planted((1 + n) * autoregression(500, seed=n), f"node-{n}") for n in range(2)])
    return prepare(frame, features=["cpu_usage"], target="cpu_usage", window=6, horizon=3)


def test_every_measure_equals_scikit_learn_or_its_definition(two_nodes):
    data = two_nodes
    ridge = Ridge().fit(data.train)
    values = table_of({"ridge": ridge}, data, period=1)
    forecast, unit = ridge.forecast(data.test), data.to_units
    for node, rows in (("node-1", data.test.node == "node-1"), ("all", slice(None))):
        for step, steps in ((2, [1]), (0, [0, 1, 2])):
            true, guess = data.test.y[rows][:, steps], forecast[rows][:, steps]
            found = values.loc["ridge", :, step, node]
            assert found["mse"] == pytest.approx(metrics.mean_squared_error(true, guess))
            assert found["mae"] == pytest.approx(metrics.mean_absolute_error(true, guess))
            assert found["rmse_unit"] == pytest.approx(
                metrics.root_mean_squared_error(unit(true).ravel(), unit(guess).ravel())
            )
            assert found["mse_unit"] == pytest.approx(metrics.mean_squared_error(unit(true), unit(guess)))
            assert found["mae_unit"] == pytest.approx(metrics.mean_absolute_error(unit(true), unit(guess)))
            assert found["bias_unit"] == pytest.approx(np.mean(unit(guess) - unit(true)))
            naive = np.repeat(data.test.last[rows][:, None], len(steps), axis=1)
            assert found["skill"] == pytest.approx(1 - found["mse"] / metrics.mean_squared_error(true, naive))


def test_mase_by_hand(two_nodes):
    # training part 1 3 2 6: one row apart |2|, |1|, |4|; two rows apart |1|, |3|
    assert evaluation.mase([5.0, 8.0], [6.0, 5.0], 2.0) == pytest.approx(1)
    assert evaluation.mase([5.0, 8.0], [6.0, 5.0], 7 / 3) == pytest.approx(6 / 7)
    assert evaluation.mase([[5.0], [8.0]], [[6.0], [5.0]], [[1.0], [2.0]]) == pytest.approx((1 + 1.5) / 2)
    assert np.isnan(evaluation.mase([1.0], [2.0], 0.0))
    values = [1.0, 3, 2, 6, 0, 0, 0, 0, 5, 8]  # the last two are forecast by what lies before them
    data = prepare(
        planted(np.array(values)),
        features=["cpu_usage"],
        target="cpu_usage",
        window=1,
        test=0.2,
        validation=0,
    )
    scaled = np.diff(values[:8])
    found = table_of({"persistence": Persistence().fit(data.train)}, data, period=1)
    assert found["persistence", "mase", 1, "system"] == pytest.approx(3 / np.abs(scaled).mean())


def test_a_scaled_naive_forecast_has_mase_1_on_training_windows():
    data = prepare(planted(autoregression(400)), features=["cpu_usage"], target="cpu_usage", window=1)
    model = {"persistence": Persistence().fit(data.train)}
    table = evaluation.evaluate(model, data.train, data.train, period=1).set_index("metric")["value"]
    assert table["mase"] == pytest.approx(1)


def test_the_shift_test_and_skill_unmask_the_last_value(two_nodes):
    class Late(Persistence):
        pass

    found = table_of({"late": Late().fit(two_nodes.train), "oracle": Oracle()}, two_nodes)
    for step in (1, 2, 3):
        for node in ("node-0", "node-1"):
            assert found["late", "shift", step, node] == step and found["oracle", "shift", step, node] == 0
        assert found["late", "skill", step, "all"] == 0
    assert found["oracle", "mse", 0, "all"] == 0 and found["oracle", "skill", 0, "all"] == 1
    assert found["oracle", "mase", 0, "all"] == 0 and found["oracle", "bias_unit", 0, "all"] == 0


def test_shifts_are_not_taken_across_gaps():
    true = np.sin(np.arange(200) / 7)
    series = np.concatenate([true[3:100], [np.nan], true[103:]])
    late = np.concatenate([true[:97], [np.nan], true[100:-3]])
    shift = shift_test(series, late)
    assert shift.best == 3 and shift.errors[3] == pytest.approx(0)


def test_intervals_are_judged(two_nodes):
    data = two_nodes
    model = intervals.Conformal(Ridge()).fit(data.train)
    found = table_of({"ridge": model, "bare": Ridge().fit(data.train)}, data)
    lower, upper = model.interval(data.test, 0.8)
    rows = data.test.node == "node-0"
    inside = intervals.covered(data.test.y, lower, upper)
    score = intervals.winkler(*(data.to_units(each) for each in (data.test.y, lower, upper)), 0.8)
    assert found["ridge", "coverage_80", 2, "node-0"] == pytest.approx(inside[rows, 1].mean())
    assert found["ridge", "winkler_80_unit", 0, "all"] == pytest.approx(score.mean())
    assert found["ridge", "coverage_95", 0, "all"] > found["ridge", "coverage_80", 0, "all"]
    assert "coverage_80" not in found.loc["bare"].index.get_level_values("metric")


def test_the_spread_of_a_backtest_is_over_seeds_and_folds(two_nodes):
    class Noisy(Persistence):
        def __init__(self, seed):
            self.seed = seed

        def forecast(self, windows):
            noise = np.random.default_rng(self.seed).standard_normal(windows.y.shape)
            return super().forecast(windows) + 0.1 * noise

    makers = {"noisy": Noisy, "persistence": lambda seed: Persistence()}
    tidy = evaluation.backtest(makers, two_nodes.train_full, 3, seeds=(4, 5), period=1)
    assert set(tidy["fold"]) == {1, 2, 3} and set(tidy["seed"]) == {4, 5}
    assert tidy.groupby("fold")["origin"].nunique().eq(1).all() and tidy["origin"].is_monotonic_increasing
    one = tidy[(tidy["model"] == "noisy") & (tidy["metric"] == "mse")]
    one = one[(one["node"] == "all") & (one["horizon"] == 0)]["value"]
    table = evaluation.summary(tidy)
    assert len(one) == 6
    assert table.loc["noisy", "mse"] == pytest.approx(one.mean())
    assert table.loc["noisy", "mse spread"] == pytest.approx(one.std())
    by_step = evaluation.summary(tidy, ["model", "horizon"])
    assert [*by_step.loc["persistence"].index] == [1, 2, 3]
    assert by_step.loc[("persistence", 3), "mse"] > by_step.loc[("persistence", 1), "mse"]
    assert set(evaluation.summary(tidy, ["node"]).index) == {"node-0", "node-1"}


def test_the_short_form_agrees_with_the_long_one(two_nodes):
    model = {"ridge": Ridge().fit(two_nodes.train)}
    short = evaluation.compare(model, two_nodes.test).set_index("metric")["value"]
    found = table_of(model, two_nodes)
    assert list(short.index) == ["mse", "mae", "rmse", "skill"]
    for metric, value in short.items():
        assert value == found["ridge", metric, 0, "all"]


def test_a_measure_of_one_s_own_touches_nothing_else(two_nodes):
    def late(true, forecast, reference):
        return float(np.mean(np.abs(true - forecast) > np.abs(true - reference)))

    models, test = {"ridge": Ridge().fit(two_nodes.train)}, two_nodes.test
    usual = evaluation.evaluate(models, test)
    more = evaluation.evaluate(models, test, measures={**measures.MEASURES, "worse": late})
    pd.testing.assert_frame_equal(more[more["metric"] != "worse"].reset_index(drop=True), usual)
    share = more[(more["metric"] == "worse") & (more["node"] == "all") & (more["horizon"] == 0)][
        "value"
    ].item()
    assert 0 < share < 1
