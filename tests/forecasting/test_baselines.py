"""The baselines do what they say, and no more: none of them looks at the answers, nor at later windows."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from statsmodels.tsa.statespace.exponential_smoothing import ExponentialSmoothing
from statsmodels.tsa.statespace.sarimax import SARIMAX
from synthetic import autoregression, planted, recording

from vdslib import telemetry
from vdslib.errors import RegistryError
from vdslib.evaluation import mse
from vdslib.forecasting import (
    ARIMA,
    ETS,
    FORECASTERS,
    USAGES,
    Drift,
    Oracle,
    Past,
    Persistence,
    Ridge,
    SeasonalNaive,
    TrainingMean,
    Windows,
    find_period,
    prepare,
    register,
    runs,
    seasonal_error,
)

BASELINES = [FORECASTERS.get(name) for name in FORECASTERS.names()]


@pytest.fixture(scope="module", params=[1, 4])
def prepared(request):
    series = telemetry.system_series(recording(600))
    return prepare(series, features=USAGES, target="cpu_usage", window=12, horizon=request.param)


def cut(values, window=5, horizon=3, **options):
    return prepare(
        planted(values), features=["cpu_usage"], target="cpu_usage", window=window, horizon=horizon, **options
    )


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


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("features", [USAGES, ["memory_usage"]])
def test_no_baseline_looks_at_later_windows(features, baseline):
    frame = recording(500, nodes=2)
    data = prepare(frame, features=features, target="cpu_usage", window=6, horizon=3)
    model, test = baseline().fit(data.train), data.test
    early = test.times <= np.sort(test.times)[len(test) // 2]
    assert 0 < early.sum() < len(test)
    altered = dataclasses.replace(
        test,
        x=np.where(early[:, None, None], test.x, 9.0),
        last=np.where(early, test.last, 9.0),
        y=np.full_like(test.y, np.nan),
    )
    # the filter's steady state may come by other operations, so the last digits may differ
    np.testing.assert_allclose(model.forecast(test)[early], model.forecast(altered)[early], atol=1e-9)
    assert not np.allclose(model.forecast(test)[~early], model.forecast(altered)[~early]) or isinstance(
        model, TrainingMean
    )


def test_ridge_comes_near_the_noise_floor():
    data = cut(autoregression(6000), window=10, horizon=1)
    unit = data.y_scaler.data_range_[0]
    assert mse(data.test.y, Ridge().fit(data.train_full).forecast(data.test)) * unit**2 == pytest.approx(
        1, rel=0.05
    )
    assert mse(data.test.y, TrainingMean().fit(data.train_full).forecast(data.test)) * unit**2 > 3


def test_the_past_is_rebuilt_from_windows():
    values = np.random.default_rng(0).random(100)
    data = cut(values, test=0.3, validation=0)
    scaled = data.y_scaler.transform(values[:, None])[:, 0]
    past = Past(data.train)
    np.testing.assert_array_equal(past.values["system"].rows, np.arange(70))
    np.testing.assert_allclose(past.values["system"].values, scaled[:70])
    np.testing.assert_array_equal(past.rows(data.test), np.arange(74, 97))
    known = past.known_to(data.test)["system"].at(np.arange(-1, 100))
    np.testing.assert_allclose(known[1:98], scaled[:97])  # the last three are targets only
    assert np.isnan(known[[0, 98, 99, 100]]).all()
    blind = dataclasses.replace(data.test, x=data.test.x + 1)  # the target is no feature
    known = past.known_to(blind)["system"].at(np.arange(97))
    np.testing.assert_allclose(known[74:], scaled[74:97])
    assert np.isnan(known[70:74]).all()
    with pytest.raises(ValueError, match="before the training"):
        Past(data.test).rows(data.train)


def test_runs_end_at_gaps_and_nodes():
    frame = pd.concat(
        [planted(np.arange(60.0), "a").drop(index=range(20, 25)), planted(np.arange(30.0), "b")]
    )
    data = prepare(frame, features=["cpu_usage"], target="cpu_usage", window=3, validation=0, test=0)
    assert [len(run) for run in runs(data.train)] == [17, 32, 27]


@pytest.mark.parametrize("period", [24, 50])
def test_a_season_is_found(period):
    random = np.random.default_rng(0)
    wave = np.sin(2 * np.pi * np.arange(600) / period)
    data = cut(wave + 0.3 * random.standard_normal(600))
    assert abs(find_period(data.train_full) - period) <= 1
    assert find_period(cut(np.arange(300.0)).train_full) == 1
    assert find_period(cut(np.ones(300)).train_full) == 1
    assert find_period(cut(random.standard_normal(3000)).train_full) == 1


def test_seasonal_naive_by_hand():
    data = cut(np.arange(100.0), window=2, horizon=3, test=0.2, validation=0)
    model = SeasonalNaive(period=2).fit(data.train)
    forecast = data.to_units(model.forecast(data.test))
    np.testing.assert_allclose(forecast[0], [80, 81, 80])  # after row 81: rows 82, 83 and 84
    np.testing.assert_allclose(forecast[5], [85, 86, 85])
    wave = cut(np.sin(2 * np.pi * np.arange(300) / 30), horizon=7)
    model = SeasonalNaive().fit(wave.train_full)
    assert model.period == 30 and mse(wave.test.y, model.forecast(wave.test)) < 1e-9


def test_seasonal_naive_goes_back_where_a_season_is_unknown():
    values = np.arange(100.0) % 10
    data = cut(values, window=8, horizon=1, test=0.2, validation=0)
    unknown = dataclasses.replace(
        data.test, x=data.test.x + 1
    )  # the first rows of the test part stay unknown
    forecast = SeasonalNaive(period=10).fit(data.train).forecast(unknown)
    np.testing.assert_allclose(forecast, data.test.y, atol=1e-12)


def test_drift_by_hand():
    line = cut(3 + 0.5 * np.arange(100.0))
    assert mse(line.test.y, Drift().fit(line.train).forecast(line.test)) < 1e-20
    values = np.zeros(100)
    values[84:] = 84.0
    data = cut(values, test=0.2, validation=0, window=5)
    forecast = data.to_units(Drift().fit(data.train).forecast(data.test))
    np.testing.assert_allclose(forecast[0], [85, 86, 87])  # a rise by 84 in 84 rows


@pytest.mark.parametrize(
    "model", [ETS(period=1), ETS(trend=True, period=1), ARIMA(period=1), ARIMA((1, 1, 1), period=1)]
)
def test_classical_forecasts_are_those_of_statsmodels(model):
    values = autoregression(300, seed=1)
    data = cut(values, test=0.2, validation=0)
    model.fit(data.train)
    scaled = data.y_scaler.transform(values[:, None])[:, 0]
    fitted = model.fitted["system"]
    remains = scaled - fitted.season[0]
    forecast = model.forecast(data.test)
    for sample in (0, 20):
        known = remains[: 240 + 5 + sample]
        if isinstance(model, ARIMA):
            library = SARIMAX(known, order=model.order, trend="n")
        else:
            library = ExponentialSmoothing(known, trend=model.trend, damped_trend=model.trend)
        expected = library.smooth(fitted.parameters).forecast(3) + fitted.season[0]
        np.testing.assert_allclose(forecast[sample], expected, atol=1e-6)


def test_arima_finds_an_autoregression():
    data = cut(autoregression(3000), window=10, horizon=1)
    unit = data.y_scaler.data_range_[0]
    model = ARIMA((1, 0, 0), period=1).fit(data.train_full)
    assert model.fitted["system"].parameters[0] == pytest.approx(0.9, abs=0.03)
    assert mse(data.test.y, model.forecast(data.test)) * unit**2 == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("baseline", [ETS, ARIMA])
def test_fourier_terms_carry_a_long_season(baseline):
    random = np.random.default_rng(0)
    wave = 5 * np.sin(2 * np.pi * np.arange(1500) / 150) + random.standard_normal(1500)
    data = cut(wave, horizon=30)
    unit = data.y_scaler.data_range_[0]
    model = baseline().fit(data.train_full)
    assert abs(model.period - 150) <= 2
    with_season = mse(data.test.y, model.forecast(data.test)) * unit**2
    without = mse(data.test.y, baseline(period=1).fit(data.train_full).forecast(data.test)) * unit**2
    assert with_season < 1.5 < without


@pytest.mark.parametrize("baseline", BASELINES)
def test_a_constant_is_forecast_as_such(baseline):
    data = cut(np.full(200, 7.0))
    np.testing.assert_allclose(data.to_units(baseline().fit(data.train).forecast(data.test)), 7, atol=1e-9)


@pytest.mark.parametrize("baseline", BASELINES)
def test_several_nodes_and_gaps(baseline):
    frames = [planted(autoregression(300, seed=seed), node) for seed, node in enumerate("ab")]
    frame = pd.concat([frames[0].drop(index=range(100, 140)), frames[1].iloc[50:]])
    data = prepare(frame, features=["cpu_usage"], target="cpu_usage", window=5, horizon=2)
    forecast = baseline().fit(data.train_full).forecast(data.test)
    assert forecast.shape == data.test.y.shape and np.isfinite(forecast).all()
    alone = prepare(
        frame[frame["node"] == "a"], features=["cpu_usage"], target="cpu_usage", window=5, horizon=2
    )
    assert np.isfinite(baseline().fit(alone.train_full).forecast(data.test)).all()  # node b was never seen


def test_the_scale_of_mase_by_hand():
    data = prepare(
        planted(np.array([0.0, 3, 1, 10])),
        features=["cpu_usage"],
        target="cpu_usage",
        window=1,
        test=0,
        validation=0,
    )
    assert seasonal_error(data.train) == {"system": pytest.approx((3 + 2 + 9) / 3 / 10)}
    assert seasonal_error(data.train, 2) == {"system": pytest.approx((1 + 7) / 2 / 10)}
    assert np.isnan(seasonal_error(data.train, 4)["system"])


def test_registered_forecasters_are_listed_after_ours(monkeypatch, tmp_path, registries):
    ours = FORECASTERS.names()
    assert ours[:2] == ["persistence", "mean"] and {"seasonal naive", "drift", "ridge", "ETS", "ARIMA"} < set(
        ours
    )
    (tmp_path / "own.py").write_text(
        "from vdslib.forecasting import Persistence, register\n@register('own')\nclass Own(Persistence): ...\n"
    )
    monkeypatch.setenv("VDS_FORECASTERS", str(tmp_path / "own.py"))
    assert FORECASTERS.names() == [*ours, "own"]
    with pytest.raises(ValueError, match="'ridge' is registered by vdslib.forecasting.baselines already"):
        register("ridge")(type("Mine", (Persistence,), {}))
    with pytest.raises(ValueError, match="has no method forecast"):
        register("half")(type("Half", (), {"fit": None}))
    monkeypatch.setenv("VDS_FORECASTERS", "nowhere.py")
    with pytest.raises(RegistryError, match="VDS_FORECASTERS names it"):
        FORECASTERS.names()


def test_the_oracle_makes_no_error(prepared):
    assert mse(prepared.test.y, Oracle().fit(prepared.train).forecast(prepared.test)) == 0
