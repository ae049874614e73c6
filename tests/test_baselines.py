"""The baselines do what they say, and no more: none of them looks at the answers."""

import numpy as np
import pytest
from synthetic import recording

from vdslib import telemetry
from vdslib.baselines import Oracle, Persistence, Ridge, TrainingMean
from vdslib.evaluation import mse
from vdslib.preparation import USAGES, Windows, prepare

BASELINES = [Persistence, TrainingMean, Ridge]


@pytest.fixture(scope="module", params=[1, 4])
def prepared(request):
    series = telemetry.system_series(recording(600))
    return prepare(series, features=USAGES, target="cpu_usage", window=12, horizon=request.param)


def autoregression(n=4000, noise=0.1, seed=0):
    """Windows of a series whose next value is 0.9 of the last plus noise, so that the best MSE is noise^2."""
    random = np.random.default_rng(seed)
    values = np.zeros(n)
    for t in range(1, n):
        values[t] = 0.9 * values[t - 1] + noise * random.standard_normal()
    x = np.lib.stride_tricks.sliding_window_view(values[:-1], 10)[:, :, None]
    times = np.datetime64("2026-01-05T08:00:00") + np.arange(len(x)) * np.timedelta64(1, "s")
    return Windows(x, values[10:, None], times, np.full(len(x), "node-1"), x[:, -1, 0])


@pytest.mark.parametrize("baseline", BASELINES)
def test_shapes(prepared, baseline):
    forecast = baseline().fit(prepared.train).forecast(prepared.test)
    assert forecast.shape == prepared.test.y.shape
    assert np.isfinite(forecast).all()


@pytest.mark.parametrize("baseline", BASELINES)
def test_no_baseline_looks_at_the_answers(prepared, baseline):
    test = prepared.test
    blind = Windows(test.x, np.full_like(test.y, np.nan), test.times, test.node, test.last)
    model = baseline().fit(prepared.train)
    np.testing.assert_array_equal(model.forecast(test), model.forecast(blind))


def test_persistence_repeats_the_last_known_value(prepared):
    forecast = Persistence().fit(prepared.train).forecast(prepared.test)
    last = prepared.test.x[:, -1, USAGES.index("cpu_usage")]
    np.testing.assert_allclose(forecast, np.repeat(last[:, None], forecast.shape[1], axis=1))


def test_the_training_mean_is_constant(prepared):
    forecast = TrainingMean().fit(prepared.train).forecast(prepared.test)
    np.testing.assert_array_equal(forecast[0], prepared.train.y.mean(axis=0))
    assert (forecast == forecast[0]).all()


def test_ridge_solves_its_equation(prepared):
    model = Ridge(lags=3, alpha=2.0).fit(prepared.train)
    x = prepared.train.x[:, -3:, :].reshape(len(prepared.train), -1)
    y = prepared.train.y
    centred = x - x.mean(axis=0)
    weights = np.linalg.solve(
        centred.T @ centred + 2.0 * np.eye(x.shape[1]), centred.T @ (y - y.mean(axis=0))
    )
    unseen = prepared.test.x[:, -3:, :].reshape(len(prepared.test), -1) - x.mean(axis=0)
    np.testing.assert_allclose(model.forecast(prepared.test), unseen @ weights + y.mean(axis=0), atol=1e-8)


def test_ridge_uses_its_lags_and_no_more(prepared):
    model = Ridge(lags=3).fit(prepared.train)
    test = prepared.test
    older, recent = test.x.copy(), test.x.copy()
    older[:, :-3], recent[:, -3:] = 9.0, 9.0
    forecast = model.forecast(test)
    np.testing.assert_array_equal(
        model.forecast(Windows(older, test.y, test.times, test.node, test.last)), forecast
    )
    assert not np.allclose(
        model.forecast(Windows(recent, test.y, test.times, test.node, test.last)), forecast
    )


def test_ridge_comes_near_the_noise_floor():
    windows = autoregression()
    train, test = windows.take(slice(0, 3000)), windows.take(slice(3010, None))
    assert mse(test.y, Ridge().fit(train).forecast(test)) == pytest.approx(0.1**2, rel=0.05)
    assert mse(test.y, TrainingMean().fit(train).forecast(test)) > 3 * 0.1**2


def test_the_oracle_makes_no_error(prepared):
    assert mse(prepared.test.y, Oracle().fit(prepared.train).forecast(prepared.test)) == 0
