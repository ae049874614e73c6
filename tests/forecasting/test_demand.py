"""The demand smoothed over a span, and how far ahead a boot delay makes one look."""

import numpy as np
import pandas as pd
import pytest

from vdslib.errors import TelemetryError
from vdslib.forecasting import horizon_for, prepare_demand, smoothed
from vdslib.sources import read

START = pd.Timestamp("2026-03-02", tz="UTC")


def table(values, node="a", step="1s"):
    times = START + pd.to_timedelta(np.arange(len(values)) * pd.Timedelta(step))
    return pd.DataFrame({"timestamp": times, "node": node, "demand": values})


def test_a_row_is_the_mean_of_its_span_and_of_no_later_row():
    frame = pd.concat([table([1.0, 2, 3, 4]), table([10.0, 0, 20, 0], "b")], ignore_index=True)
    found = smoothed(frame, span="2s")["demand"]
    np.testing.assert_allclose(found, [np.nan, 1.5, 2.5, 3.5, np.nan, 5, 10, 10])
    later = frame.copy()
    later.loc[2:3, "demand"] = 99
    np.testing.assert_array_equal(smoothed(later, span="2s")["demand"][:2], found[:2])
    assert frame["demand"][0] == 1  # the table that was given is as it was


def test_no_mean_reaches_over_a_gap():
    frame = table(np.arange(8.0)).drop(index=[3]).reset_index(drop=True)
    np.testing.assert_allclose(
        smoothed(frame, span="3s")["demand"], [np.nan, np.nan, 1, np.nan, np.nan, 5, 6]
    )


def test_what_cannot_be_smoothed_is_named():
    with pytest.raises(TelemetryError, match="no column 'load' of numbers"):
        smoothed(table([1.0, 2]), "load")
    with pytest.raises(ValueError, match="shorter than a row of node a"):
        smoothed(table([1.0, 2], step="60s"), span="5s")


@pytest.mark.parametrize(
    ("delay", "step", "horizon"),
    [(0, 1, 1), (3.6, 1, 5), (5, 1, 6), ("90s", "60s", 3), ("5min", "5min", 2), (0.3, 0.1, 4)],
)
def test_the_horizon_is_the_first_row_that_a_new_node_serves_whole(delay, step, horizon):
    assert horizon_for(delay, step) == horizon


@pytest.mark.parametrize(("delay", "step"), [(-1, 1), (1, 0), (float("nan"), 1), (float("inf"), 1)])
def test_no_horizon_without_a_delay_and_a_step(delay, step):
    with pytest.raises(ValueError, match="give no horizon"):
        horizon_for(delay, step)


def test_a_controllers_question_knows_the_rhythms_of_the_source_with_the_nodes_or_without():
    frame = read("recorded")
    alone, beside = (prepare_demand(frame, by_node=by_node, rhythms="auto") for by_node in (False, True))
    assert alone.test.rhythms and beside.test.rhythms == alone.test.rhythms
    assert beside.features == ["demand", *(f"demand of {node}" for node in sorted(frame["node"].unique()))]
    np.testing.assert_array_equal(beside.test.y, alone.test.y)
    # the demand of all nodes together is the sum of theirs, each on its own scale
    shares = beside.test.measured[:, -1, 1:] * beside.x_scaler.data_range_[1:] + beside.x_scaler.data_min_[1:]
    together = beside.to_units(beside.test.measured[:, -1, 0])
    np.testing.assert_allclose(shares.sum(axis=1), together)
