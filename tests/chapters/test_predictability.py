"""Our baselines on 23 virtual machines agree with figures that independent code worked out on the same files.

Their protocol: min-max scaling fitted on the first 80% of the rows, targets of the other rows are the test, whose
inputs may reach back into the training part; gaps are ignored; ridge with alpha 1 on 10 lags of CPU, memory, disc and
network. Memory there is in KB, not in percent of a capacity that may change.
"""

import os
from pathlib import Path

import pandas as pd
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from traces_at_hand import need_traces

from vdslib import sources
from vdslib.evaluation import mse
from vdslib.forecasting import Persistence, Ridge, TrainingMean, Windows, prepare
from vdslib.telemetry import checksum

TABLE = "bitbrains-rnd/predictability.csv"
SHA256 = "28296efb9747ba970bbdbc5162440b03b080f99d7b78787c56672b603428958d"
MACHINES = [
    9,
    13,
    16,
    18,
    19,
    21,
    25,
    41,
    44,
    85,
    100,
    114,
    116,
    123,
    187,
    270,
    306,
    332,
    338,
    386,
    407,
    411,
    427,
]
DEAD = 427  # has no figures in the table
FEATURES = ["cpu_usage", "memory", "disc_usage", "network_usage"]
LAGS = 10
TOLERANCE = {"persist": 0.01, "mean": 0.01, "ridge": 0.03}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """The figures of others; part of the mirror only."""
    need_traces()
    if not os.environ.get("VDS_TRACES"):
        pytest.skip("the table of predictability is in the mirror only: set VDS_TRACES")
    path = Path(os.environ["VDS_TRACES"]) / TABLE
    assert checksum(path) == SHA256
    return pd.read_csv(path, index_col="vm")


def errors(frame: pd.DataFrame, n_test: int) -> dict[str, float]:
    """Mean squared errors of our baselines on the last ``n_test`` targets, on the scale of the training rows."""
    rows = frame.assign(
        memory=(frame["memory_usage"] * frame["memory_mb"]).fillna(
            0
        ),  # nothing held where there is no memory
        timestamp=pd.date_range("2013-08-01", periods=len(frame), freq="300s", tz="UTC"),  # gaps are ignored
    )
    prepared = prepare(
        rows, features=FEATURES, target="cpu_usage", window=LAGS, test=n_test / len(rows), validation=0
    )
    x = prepared.x_scaler.transform(rows[FEATURES].to_numpy())
    y = prepared.y_scaler.transform(rows[["cpu_usage"]].to_numpy())
    known = len(rows) - n_test
    assert len(prepared.train) == known - LAGS
    test = Windows(
        sliding_window_view(x, LAGS, axis=0).transpose(0, 2, 1)[known - LAGS : -1],
        y[known:],
        rows["timestamp"].dt.tz_localize(None).to_numpy()[known:],
        rows["node"].to_numpy(dtype=object)[known:],
        y[known - 1 : -1, 0],
    )
    baselines = {"persist": Persistence(), "mean": TrainingMean(), "ridge": Ridge(lags=LAGS, alpha=1)}
    return {
        name: float(mse(test.y, baseline.fit(prepared.train).forecast(test)))
        for name, baseline in baselines.items()
    }


def test_the_table_has_these_machines(table: pd.DataFrame) -> None:
    assert sorted(table.index) == MACHINES


@pytest.mark.parametrize("machine", [machine for machine in MACHINES if machine != DEAD])
def test_baselines_agree(table: pd.DataFrame, machine: int) -> None:
    frame, expected = sources.read(f"bitbrains:2013-8/{machine}"), table.loc[machine]
    assert len(frame) == expected["n"]
    ours = errors(frame, int(expected["ntest"]))
    for name, tolerance in TOLERANCE.items():
        assert ours[name] == pytest.approx(expected[name], rel=tolerance), name


def test_a_dead_machine_is_forecast_without_error(table: pd.DataFrame) -> None:
    assert (
        table.loc[DEAD].isna().all()
    )  # its CPU usage is 0 all month, so others had nothing to relate errors to
    frame = sources.read(f"bitbrains:2013-8/{DEAD}")
    assert errors(frame, round(0.2 * len(frame))) == {
        "persist": 0,
        "mean": 0,
        "ridge": pytest.approx(0, abs=1e-12),
    }
