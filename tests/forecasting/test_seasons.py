"""Seasons: planted ones are found, the calendar's first, and none is found in noise."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter
from staggered import START
from statsmodels.tsa.statespace.exponential_smoothing import ExponentialSmoothing
from synthetic import planted
from traces_at_hand import need_traces

from vdslib import sources
from vdslib.evaluation import mae
from vdslib.forecasting import ARIMA, ETS, SeasonalNaive, find_period, prepare, seasonal_error

DAY, WEEK = 288, 2016  # rows of five minutes


def cut(values, seconds=300.0, **options):
    frame = planted(values)
    times = START + pd.to_timedelta(seconds * np.arange(len(values)), unit="s")
    return windows_of(frame.assign(timestamp=times), **options)


def windows_of(frame, **options):
    settings = {"features": ["cpu_usage"], "target": "cpu_usage", "window": 5, "test": 0, "validation": 0}
    return prepare(frame, **settings | options)


def level(rows, random):
    """A level that wanders, as that of machines does."""
    return 0.05 * lfilter([1], [1, -0.99], random.standard_normal(rows))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("days", [7, 9, 17])
def test_the_day_is_found_to_the_row(days, seed):
    random, row = np.random.default_rng(seed), np.arange(days * DAY)
    wave = np.sin(2 * np.pi * row / DAY) + 0.5 * np.sin(4 * np.pi * row / DAY)
    values = wave + level(len(row), random) + 0.5 * random.standard_normal(len(row))
    assert find_period(cut(values).train) == DAY


@pytest.mark.parametrize("seed", range(6))
def test_the_week_is_found_where_its_days_differ(seed):
    random, row = np.random.default_rng(seed), np.arange(28 * DAY)
    weekend = 1.5 * np.isin(row // DAY % 7, (5, 6))
    noise = level(len(row), random) + 0.5 * random.standard_normal(len(row))
    wave = np.sin(2 * np.pi * row / DAY)
    assert find_period(cut(wave + weekend + noise).train) == WEEK
    assert find_period(cut(wave + noise).train) == DAY


def test_the_hour_is_found():
    random, row = np.random.default_rng(0), np.arange(5 * DAY)
    values = (row % 12 == 3) * 5.0 + level(len(row), random) + 0.3 * random.standard_normal(len(row))
    assert find_period(cut(values).train) == 12


def test_a_season_that_is_none_of_the_calendar_is_found():
    row = np.arange(3000)
    noise = 0.2 * np.random.default_rng(0).standard_normal(len(row))
    assert abs(find_period(cut(np.sin(2 * np.pi * row / 330) + noise).train) - 330) <= 2
    # each hour repeats it too, after 23 waves: the shorter one counts
    short = np.sin(2 * np.pi * np.arange(15_000) / (3600 / 23))
    assert abs(find_period(cut(short, seconds=1.0).train) - 157) <= 1


@pytest.mark.parametrize("weight", [0, 0.9, 0.99, 1.0])
def test_noise_and_wandering_levels_have_no_season(weight):
    periods = []
    for seed in range(20):
        shocks = np.random.default_rng(seed).standard_normal(2500)
        periods.append(find_period(cut(lfilter([1], [1, -weight], shocks)).train))
    assert periods.count(1) >= 18


def test_a_short_lived_node_does_not_hide_the_season_of_the_others():
    random, row = np.random.default_rng(0), np.arange(1200)
    long = np.sin(2 * np.pi * row / 100) + 0.1 * random.standard_normal(len(row))
    frame = pd.concat([planted(long, "a"), planted(random.standard_normal(40), "b")])
    assert abs(find_period(windows_of(frame).train) - 100) <= 1


def test_nodes_of_different_steps_have_no_season_in_rows():
    wave = np.sin(2 * np.pi * np.arange(600) / 50)
    slow = planted(wave, "b")
    slow["timestamp"] = START + pd.to_timedelta(60.0 * np.arange(600), unit="s")
    with pytest.warns(UserWarning, match="different steps .1 to 60 s."):
        assert find_period(windows_of(pd.concat([planted(wave, "a"), slow])).train) == 1


@pytest.fixture(scope="module")
def months():
    """1,200 seconds in twelve pieces, a month between them; every 20 seconds the load repeats itself."""
    row = np.arange(1200)
    frame = planted(50 + 20 * np.sin(2 * np.pi * row / 20) + np.random.default_rng(0).standard_normal(1200))
    return windows_of(
        frame.assign(timestamp=frame["timestamp"] + row // 100 * pd.Timedelta(days=30)), test=0.2
    )


@pytest.mark.parametrize("model", [SeasonalNaive, ETS, ARIMA])
def test_long_gaps_cost_nothing(months, model):
    tracemalloc.start()
    period = find_period(months.train)
    fitted = model(period).fit(months.train) if model is SeasonalNaive else model(period=period)
    forecast = fitted.fit(months.train).forecast(months.test)
    errors = seasonal_error(months.train, period)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert period == 20 and errors["system"] < 0.05
    assert mae(months.test.y, forecast) < 0.05
    assert peak < 20e6  # the rows between the pieces alone would take 250 MB


def test_the_state_before_a_short_gap_is_kept():
    """As statsmodels' filter does with unknown values."""
    values = np.cumsum(np.random.default_rng(1).standard_normal(300))
    frame = planted(values).drop(index=range(200, 220))
    data = windows_of(frame, test=0.4)
    model = ETS(period=1).fit(data.train)
    known = data.y_scaler.transform(values[:, None])[:, 0]
    known[200:220] = np.nan
    fitted = model.fitted["system"]
    after = int(np.flatnonzero(data.test.times >= frame["timestamp"].iloc[200].to_datetime64())[0])
    row = (data.test.times[after] - START.to_datetime64().astype(data.test.times.dtype)) / np.timedelta64(
        1, "s"
    )
    expected = (
        ExponentialSmoothing(known[: int(row)] - fitted.season[0]).smooth(fitted.parameters).forecast(1)
    )
    np.testing.assert_allclose(model.forecast(data.test)[after], expected + fitted.season[0], atol=1e-6)


def test_the_waves_of_a_week_are_those_of_its_days():
    row = np.arange(28 * DAY)
    values = np.sin(2 * np.pi * row / DAY) + 0.4 * np.isin(row // DAY % 7, (5, 6))
    values += 0.3 * np.random.default_rng(0).standard_normal(len(row))
    data = cut(values, test=0.2, horizon=12)
    week, day = (ETS(period=each).fit(data.train) for each in (WEEK, DAY))
    assert np.isclose(week.fitted["system"].frequencies, 1 / DAY).any()
    errors = [mae(data.test.y, model.forecast(data.test)) for model in (week, day)]
    assert errors[0] < 1.05 * errors[1]


TRACES = {
    "alibaba:2018": DAY,
    "google:2019": DAY,
    "azure:v2": WEEK,
    "worldcup98": 1440,
    "bitbrains:2013-8/85": DAY,
    "bitbrains:2013-8/332": WEEK,
    "bitbrains:2013-8/338": DAY,
    "bitbrains:2013-8/411": DAY,
}


@pytest.mark.parametrize("trace", TRACES)
def test_public_traces_repeat_their_days_or_weeks(trace):
    need_traces()
    frame = sources.read(trace)
    target = sources.default_target(frame)
    data = windows_of(frame, features=[target], target=target, test=0.2)
    assert find_period(data.train) == TRACES[trace]
