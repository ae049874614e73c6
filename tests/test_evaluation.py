"""Error measures by hand and by scikit-learn; the reading of loss curves on planted curves."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from synthetic import recording

from vdslib import evaluation, telemetry
from vdslib.baselines import Oracle, Persistence, Ridge, TrainingMean
from vdslib.evaluation import reading_of_curves, shift_test
from vdslib.preparation import USAGES, prepare

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
