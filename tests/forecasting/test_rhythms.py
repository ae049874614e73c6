"""The time as an input: phases, periods, columns known in advance, and that none of them leaks."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from vdslib.errors import LeakError, TelemetryError
from vdslib.evaluation import mse
from vdslib.forecasting import ARIMA, FORECASTERS, Ridge, prepare, rhythms
from vdslib.sources import read
from vdslib.testbed import workload

START = pd.Timestamp("2026-03-02", tz="UTC")


def table(values, step="60s", node="a", **more):
    times = START + np.arange(len(values)) * pd.Timedelta(step)
    return pd.DataFrame({"timestamp": times, "node": node, "cpu_usage": values, **more})


def wave(rows=3000, period=50, noise=0.1, seed=0):
    generator = np.random.default_rng(seed)
    return 5 + np.sin(2 * np.pi * np.arange(rows) / period) + noise * generator.standard_normal(rows)


def cut(frame, **settings):
    return prepare(
        frame, **{"features": ["cpu_usage"], "target": "cpu_usage", "window": 5, "horizon": 3} | settings
    )


def test_phases_are_those_of_the_row_that_is_forecast():
    data = cut(table(wave()), rhythms=["1h"])
    test = data.test
    assert test.ahead == 8 and test.x.shape[2] == 9 and test.known.shape == (len(test), 8)
    minutes = (test.times - test.times.astype("datetime64[h]")) / np.timedelta64(1, "m")
    for harmonic in range(1, 5):
        turn = 2 * np.pi * harmonic * minutes / 60
        np.testing.assert_allclose(test.known[:, 2 * harmonic - 2], np.sin(turn), atol=1e-9)
        np.testing.assert_allclose(test.known[:, 2 * harmonic - 1], np.cos(turn), atol=1e-9)
    assert (test.measured == cut(table(wave())).test.x).all()


def test_the_shortest_rhythm_has_more_harmonics_and_none_beyond_what_rows_can_show():
    chosen = rhythms.stated(["7d", "1d", 5], step=3600)
    assert [(each.name, each.harmonics) for each in chosen] == [("18000s", 2), ("1d", 3), ("7d", 3)]
    assert rhythms.names(chosen)[:2] == ["sine 1 of 18000s", "cosine 1 of 18000s"]
    assert rhythms.phases(np.array(["2026-01-01"], "datetime64[ns]"), chosen).shape == (1, 16)


@pytest.mark.parametrize("period", ["soon", "3s", 3, -1, True, None, float("nan")])
def test_what_is_no_period_is_named(period):
    with pytest.raises(ValueError, match="no period of at least four rows"):
        cut(table(wave()), rhythms=[period])


def test_nodes_of_different_steps_need_spans():
    frame = pd.concat([table(wave(900)), table(wave(900), step="30s", node="b")], ignore_index=True)
    with pytest.raises(ValueError, match="different steps"):
        cut(frame, rhythms=[50])
    data = cut(frame, rhythms=["1h"])
    assert set(data.test.node) <= {"a", "b"} and data.test.ahead == 8


@pytest.mark.parametrize("name", ["ridge", "boosting", "ARIMA"])
def test_a_sine_with_noise_is_forecast_to_its_noise_at_every_step(name):
    frame = table(wave(6000, period=60))
    data = cut(frame, rhythms=["1h"], horizon=10)
    model = ARIMA(order=(0, 0, 0)) if name == "ARIMA" else FORECASTERS.get(name)()
    forecast = data.to_units(model.fit(data.train_full).forecast(data.test))
    errors = ((forecast - data.to_units(data.test.y)) ** 2).mean(axis=0)
    noise = 0.1**2
    assert (errors < 1.1 * noise).all(), errors / noise


def test_arima_takes_all_rhythms_of_the_windows():
    frame = table(wave(4000, period=60) + np.sin(2 * np.pi * np.arange(4000) / 17))
    data = cut(frame, rhythms=[60, 17], horizon=5)
    forecast = ARIMA(order=(0, 0, 0)).fit(data.train_full).forecast(data.test)
    assert mse(data.to_units(data.test.y), data.to_units(forecast)) < 1.1 * 0.1**2


def test_phases_that_are_a_row_late_hurt_and_a_wrong_period_does_not_help():
    frame = table(wave(6000, period=8, noise=0.05))
    data = cut(frame, rhythms=[8], window=1, horizon=1)
    model = Ridge(1, alpha=1e-3).fit(data.train_full)
    good = mse(data.test.y, model.forecast(data.test))
    late = data.test.x.copy()
    late[1:, :, 1:] = late[:-1, :, 1:]
    assert mse(data.test.y, model.forecast(replace(data.test, x=late))) > 3 * good
    wrong = cut(frame, rhythms=[11], window=1, horizon=1)
    without = cut(frame, window=1, horizon=1)
    errors = [
        mse(each.test.y, Ridge(1).fit(each.train_full).forecast(each.test)) for each in (wrong, without)
    ]
    assert errors[0] > 0.99 * errors[1]


def test_auto_takes_the_rhythms_of_the_source_that_were_seen_or_finds_one():
    frame = table(wave(3000, period=60))
    assert [each.seconds for each in cut(frame, rhythms="auto").test.rhythms] == [3600]
    frame.attrs["rhythms"] = (7200.0, 604_800.0)
    assert [each.seconds for each in cut(frame, rhythms=["auto"]).test.rhythms] == [7200]
    noise = table(np.random.default_rng(1).standard_normal(3000) + 9)
    assert cut(noise, rhythms="auto").test.ahead == 0
    assert read("recorded").attrs["rhythms"] == pytest.approx((workload.DAY, workload.WEEK))


def test_a_plan_that_is_known_is_used_and_its_values_are_those_of_the_rows_to_forecast():
    generator = np.random.default_rng(3)
    planned = (generator.random(3000) < 0.1).astype(float)
    load = 5 + 3 * planned + 0.1 * generator.standard_normal(3000)
    data = cut(table(load, planned_job=planned), ahead=["planned_job"])
    assert data.test.ahead == 3
    moments = pd.date_range(START, periods=3000, freq="60s").tz_localize(None).to_numpy()
    rows = np.searchsorted(moments, data.test.times)
    for step in range(3):
        np.testing.assert_allclose(data.test.known[:, step], planned[rows + step])
    told, blind = (
        mse(each.test.y, Ridge().fit(each.train_full).forecast(each.test))
        for each in (data, cut(table(load)))
    )
    assert told < 0.05 * blind


def test_what_is_measured_is_not_known_in_advance():
    load = wave(1500)
    frame = table(
        load,
        memory_usage=wave(1500, seed=2),
        copied=load,
        mean=pd.Series(load).rolling(3, center=True).mean(),
    )
    for name in ("cpu_usage", "memory_usage", "copied", "mean"):
        with pytest.raises(LeakError, match=f"'{name}' is not known in advance"):
            cut(frame, ahead=[name])
    assert cut(frame, ahead=["copied"], leak="target among the features").test.ahead == 3
    with pytest.raises(TelemetryError, match="'plan' is missing"):
        cut(frame, ahead=["plan"])


def test_windows_that_are_resampled_or_divided_keep_what_is_known():
    data = cut(table(wave()), rhythms=["1h"])
    part = data.train.take(slice(10)).step(2)
    assert (part.ahead, part.rhythms) == (data.train.ahead, data.train.rhythms)
