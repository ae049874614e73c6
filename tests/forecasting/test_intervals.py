"""Intervals hold what they promise on a planted series, and their scores are right by hand and by scikit-learn."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss
from synthetic import autoregression, planted

from vdslib.forecasting import Persistence, Ridge, intervals, prepare

KINDS = {
    "split": lambda: intervals.Conformal(Ridge()),
    "adaptive": lambda: intervals.AdaptiveConformal(Ridge()),
    "boosted": lambda: intervals.BoostedQuantiles(trees=60),
}


def cut(values, horizon=3):
    return prepare(
        planted(values), features=["cpu_usage"], target="cpu_usage", window=10, horizon=horizon, test=0.5
    )


@pytest.fixture(scope="module")
def data():
    return cut(autoregression(40_000, 0.8))


@pytest.fixture(scope="module")
def fitted(data):
    return {kind: make().fit(data.train_full) for kind, make in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_coverage_is_within_two_points_on_an_autoregression(data, fitted, kind):
    model = fitted[kind]
    for coverage in (0.8, 0.95):
        inside = intervals.covered(data.test.y, *model.interval(data.test, coverage))
        assert inside.mean(axis=0) == pytest.approx(np.full(3, coverage), abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_widen_with_the_horizon_as_theory_says(data, fitted, kind):
    low, high = fitted[kind].interval(data.test, 0.8)
    width = (high - low).mean(axis=0)
    deviation = np.sqrt(np.cumsum(0.8 ** (2 * np.arange(3))))
    assert width / width[0] == pytest.approx(deviation, rel=0.08)
    assert width[0] * data.y_scaler.data_range_[0] == pytest.approx(2 * 1.2816, rel=0.08)


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_do_not_look_ahead(kind):
    data = cut(autoregression(1200))
    model, test = KINDS[kind]().fit(data.train_full), data.test
    early = np.arange(len(test)) < 200
    altered = dataclasses.replace(
        test,
        x=np.where(early[:, None, None], test.x, 9.0),
        last=np.where(early, test.last, 9.0),
        y=np.full_like(test.y, np.nan),
    )
    for before, after in zip(model.interval(test, 0.8), model.interval(altered, 0.8), strict=True):
        np.testing.assert_array_equal(before[early], after[early])


def test_split_conformal_by_hand():
    data = cut(np.random.default_rng(0).random(400), horizon=1)
    sample = data.validation.take(slice(0, 9))
    model = intervals.Conformal(Persistence().fit(data.train)).calibrate(sample)
    low, high = model.interval(data.test, 0.8)
    errors = np.sort(np.abs(sample.y[:, 0] - sample.last))
    np.testing.assert_allclose(high - model.forecast(data.test), errors[7])  # the 8th of 9: 0.8 x 10
    np.testing.assert_allclose(model.forecast(data.test) - low, errors[7])
    low, high = model.interval(data.test, 0.95)
    np.testing.assert_allclose(high - low, 2 * errors[-1])


def test_adaptive_conformal_by_hand():
    values = np.tile([0.0, 0.0, 1.0, 0.0], 50)
    data = cut(values, horizon=1)
    model = intervals.AdaptiveConformal(Persistence().fit(data.train), gamma=0.1).calibrate(data.validation)
    low, high = model.interval(data.test, 0.8)
    reach = (high - low)[:, 0] / 2
    level, scores, expected = 0.2, sorted(model.scores[:, 0]), []
    queue = [*model.scores[:, 0]]
    for sample in range(len(data.test)):
        rank = int(np.ceil((len(scores) + 1) * (1 - level)))
        expected.append(scores[min(rank, len(scores)) - 1] if rank > 0 else 0.0)
        error = abs(data.test.y[sample, 0] - data.test.last[sample])
        level += 0.1 * (0.2 - (error > expected[-1]))
        queue = [*queue[1:], error]
        scores = sorted(queue)
    np.testing.assert_allclose(reach, expected)


def test_adaptive_conformal_follows_a_drift():
    random = np.random.default_rng(0)
    noise = random.standard_normal(4000) * np.where(np.arange(4000) < 2000, 1, 3)
    data = cut(noise, horizon=1)
    rates = {}
    for kind in ("split", "adaptive"):
        model = KINDS[kind]().fit(data.train_full)
        rates[kind] = intervals.covered(data.test.y, *model.interval(data.test, 0.8)).mean()
    assert rates["split"] < 0.5 and rates["adaptive"] == pytest.approx(0.8, abs=0.03)


def test_winkler_by_hand_and_by_pinball_losses():
    assert intervals.winkler([5.0, 1.0, 9.0], [2.0] * 3, [6.0] * 3, 0.8) == pytest.approx([4, 14, 34])
    random = np.random.default_rng(0)
    true, low, high = random.random(100), random.random(100) - 0.5, random.random(100) + 0.5
    alpha = 0.05
    pinball = mean_pinball_loss(true, low, alpha=alpha / 2) + mean_pinball_loss(
        true, high, alpha=1 - alpha / 2
    )
    assert intervals.winkler(true, low, high, 0.95).mean() == pytest.approx(2 / alpha * pinball)
    assert intervals.covered([1.0, 2.0, 3.0], [1.0] * 3, [2.0] * 3).tolist() == [1, 1, 0]
    with pytest.raises(ValueError, match="shapes must be equal"):
        intervals.covered(np.ones((3, 1)), np.ones(3), np.ones(3))


def test_boosted_quantiles_know_their_levels(data):
    model = intervals.BoostedQuantiles(trees=1).fit(data.train_full.take(slice(0, 100)))
    assert model.levels == [0.025, 0.1, 0.5, 0.9, 0.975]
    with pytest.raises(ValueError, match=r"no quantile at 0.25, only at 0.025"):
        model.interval(data.test, 0.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        intervals.quantile_levels(95)
    with pytest.raises(RuntimeError, match="fit or calibrate"):
        intervals.Conformal(Ridge()).interval(data.test, 0.8)


def test_the_interval_of_a_coverage_holds_the_truth():
    hits, widths = 0, {}
    for seed in range(40):
        inside = autoregression(400, 0.7, seed) > -0.8416 / (1 - 0.49) ** 0.5  # four of five, in clusters
        low, high = intervals.coverage_interval(inside, repetitions=300)
        hits += low <= 0.8 <= high
        widths[seed] = high - low
    assert 33 <= hits <= 40
    independent = 2 * 1.96 * (0.16 / 400) ** 0.5
    assert np.mean(list(widths.values())) > 1.2 * independent
    assert intervals.coverage_interval(np.ones(20)) == (1, 1)


def test_coverage_by_time_by_hand(data):
    part = data.test.take(slice(0, 100))
    ends = (np.where(np.arange(100)[:, None] < 50, part.y, part.y + 1), part.y + 2)
    table = intervals.coverage_by_time(part, ends, 4)
    assert table["coverage"].tolist() == [1, 1, 0, 0] and table["samples"].tolist() == [25] * 4
    assert table["width"].tolist() == pytest.approx([2, 2, 1, 1])
    assert table["start"].iloc[1] == part.times[25]
