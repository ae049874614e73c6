"""Whether a recording is worth forecasting, by hand and on planted series."""

import numpy as np
import pandas as pd
import pytest
from synthetic import recording

from vdslib import telemetry
from vdslib.chapters import forecastability


@pytest.fixture(scope="module")
def series():
    return telemetry.system_series(recording(1000))


def test_predictability_by_hand(series):
    table = forecastability.predictability(series, targets=["cpu_usage"], horizons=[1, 10]).set_index(
        "horizon"
    )
    values, count = series["cpu_usage"].to_numpy(), len(series)
    known = count - round(0.2 * count)
    scaled = (values - values[:known].min()) / np.ptp(values[:known])
    for h in (1, 10):
        ahead = scaled[known + 9 + h :]  # the first window of the test part starts with its first row
        assert table.loc[h, "windows"] == len(ahead)
        assert table.loc[h, "persistence"] == pytest.approx(np.mean((ahead - scaled[known + 9 : -h]) ** 2))
        assert table.loc[h, "mean"] == pytest.approx(np.mean((ahead - scaled[9 + h : known].mean()) ** 2))
        assert table.loc[h, "gain over mean"] == pytest.approx(
            1 - table.loc[h, "ridge"] / table.loc[h, "mean"]
        )
        assert table.loc[h, "gain over persistence"] == pytest.approx(
            1 - table.loc[h, "ridge"] / table.loc[h, "persistence"]
        )


def test_predictability_tells_a_pattern_from_a_random_walk():
    count = 3000
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "timestamp": pd.Timestamp("2026-01-05T08:00:00Z") + pd.to_timedelta(np.arange(count), unit="s"),
            "node": "node-1",
            "cpu_usage": 50 + 40 * np.sin(np.arange(count) / 20) + random.standard_normal(count),
            "memory_usage": 500 + np.cumsum(random.standard_normal(count)),
        }
    )
    table = forecastability.predictability(frame, ["cpu_usage", "memory_usage"], [10]).set_index("target")
    assert table.loc["cpu_usage", "gain over persistence"] > 0.9
    assert table.loc["memory_usage", "gain over persistence"] < 0.1


def test_bounds_by_hand():
    count = 100
    productivity = np.full(count, 100.0)
    productivity[80:85] = 50  # overloaded, two nodes of two
    productivity[85:89] = 70  # overloaded, one node
    productivity[89] = 90
    productivity[90:95] = np.nan
    productivity[:80] = 0  # before the test part: not looked at
    active = np.where((np.arange(count) >= 85) & (np.arange(count) < 95), 1, 2)
    frame = pd.DataFrame({"system_productivity": productivity, "active_nodes": active})
    table = forecastability.bounds(frame).set_index("figure")
    values = [*table["value"]]
    judged = np.concatenate([productivity[80:90], productivity[95:]])
    assert values[0] == pytest.approx(np.percentile(judged, 95) - np.percentile(judged, 5))
    assert values[1:] == pytest.approx([9 / 15, 5 / 15, 5 / 15, 4 / 15])
    assert table["met"].tolist() == [True, True, True, True, True]
    calm = forecastability.bounds(frame.assign(system_productivity=96.0))
    assert calm["met"].tolist() == [False, False, True, False, False]
