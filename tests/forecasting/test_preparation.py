"""Splits, scalers and windows: no row on two sides, no window across a border, no needless copy."""

import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
from synthetic import recording

from vdslib import telemetry
from vdslib.errors import TelemetryError
from vdslib.forecasting import USAGES, Ridge, Windows, blocks, columns, default_features, folds, prepare

STEP = np.timedelta64(1, "s")


@pytest.fixture(scope="module")
def series():
    return telemetry.system_series(recording(400))


@pytest.fixture(scope="module")
def nodes():
    return telemetry.check(recording(200))


def counted(rows, node="node-1", step=1):
    """Telemetry in which every value tells its row: cpu_usage is the row number."""
    return pd.DataFrame(
        {
            "timestamp": pd.Timestamp("2026-01-05T08:00:00Z")
            + pd.to_timedelta(np.arange(rows) * step, unit="s"),
            "node": node,
            "cpu_usage": np.arange(rows, dtype=float),
            "memory_usage": 1000 + np.arange(rows, dtype=float),
        }
    )


def rows_of(prepared, part):
    """The row numbers of each sample of ``part``, [samples, window + horizon], from ``counted`` telemetry."""
    windows = getattr(prepared, part)
    inputs = prepared.to_units(windows.x[:, :, 0])
    return np.hstack([inputs, prepared.to_units(windows.y)]).round().astype(int)


def used(windows, window, horizon):
    """All (node, time) pairs that the windows touch, inputs and targets."""
    ahead = np.arange(-window, horizon) * STEP
    return {(n, t) for n, first in zip(windows.node, windows.times, strict=True) for t in first + ahead}


@pytest.mark.parametrize("window", [1, 4, 10])
@pytest.mark.parametrize("horizon", [1, 3])
def test_windows_hold_the_rows_they_say(window, horizon):
    prepared = prepare(
        counted(200),
        features=["cpu_usage", "memory_usage"],
        target="cpu_usage",
        window=window,
        horizon=horizon,
    )
    for part, first, last in (
        ("train", 0, 127),
        ("validation", 128, 159),
        ("train_full", 0, 159),
        ("test", 160, 199),
    ):
        rows = rows_of(prepared, part)
        windows = getattr(prepared, part)
        expected = np.arange(first, last + 2 - window - horizon)[:, None] + np.arange(window + horizon)
        np.testing.assert_array_equal(rows, expected)
        assert windows.x.shape == (len(rows), window, 2) and windows.y.shape == (len(rows), horizon)
        np.testing.assert_allclose(prepared.to_units(windows.last), expected[:, window - 1], atol=1e-9)
        start = np.datetime64("2026-01-05T08:00:00")
        np.testing.assert_array_equal(windows.times, start + expected[:, window] * STEP)
        assert len(windows) == len(rows)


@pytest.mark.parametrize("window", [1, 7])
@pytest.mark.parametrize("horizon", [1, 5])
@pytest.mark.parametrize("selection", ["system", "all", ["node-2", "node-4"]])
def test_no_row_lies_in_two_parts(nodes, selection, window, horizon):
    frame = telemetry.select(nodes, selection)
    parts = prepare(frame, features=USAGES, target="cpu_usage", window=window, horizon=horizon)
    train, validation, full, test = (
        used(part, window, horizon) for part in (parts.train, parts.validation, parts.train_full, parts.test)
    )
    assert train and validation and test
    assert not train & validation and not full & test and not validation & test
    assert train | validation <= full
    latest, earliest = max(time for _, time in full), min(time for _, time in test)
    assert latest < earliest  # over all nodes, not only within each


def test_scalers_see_training_rows_only(series):
    changed = series.copy()
    border = len(series) - round(0.2 * len(series))
    changed.loc[border:, USAGES] *= 50
    options = {"features": USAGES, "target": "cpu_usage"}
    before, after = prepare(series, **options), prepare(changed, **options)
    np.testing.assert_array_equal(before.x_scaler.data_max_, after.x_scaler.data_max_)
    np.testing.assert_array_equal(before.train_full.x, after.train_full.x)
    assert before.x_scaler.data_max_[0] == series["cpu_usage"][:border].max()
    assert after.test.x.max() > 1  # and what comes later may leave 0 .. 1
    assert before.train_full.x.min() == 0 and before.train_full.x.max() == 1


def test_the_target_has_a_scaler_of_its_own(series):
    prepared = prepare(series, features=["memory_usage"], target="disc_usage")
    known = series["disc_usage"][: len(series) - round(0.2 * len(series))]
    assert prepared.y_scaler.data_min_[0] == known.min() and prepared.y_scaler.data_max_[0] == known.max()
    np.testing.assert_allclose(
        prepared.to_units(prepared.train.y)[:, 0], known[10 : 10 + len(prepared.train)]
    )
    assert prepared.to_units(np.float64(1.0)).shape == ()


def test_no_window_spans_a_gap():
    frame = counted(300).drop(index=range(100, 104)).drop(index=[200]).reset_index(drop=True)
    prepared = prepare(frame, features=["cpu_usage"], target="cpu_usage", window=5, horizon=2, validation=0)
    for part in ("train_full", "test"):
        assert (np.diff(rows_of(prepared, part), axis=1) == 1).all()
    first = rows_of(prepared, "train_full")[:, 0]
    # 0..99, 104..199 and 201..240 hold windows of 7 rows; every one that fits is there.
    assert set(first) == {*range(94), *range(104, 194), *range(201, 235)}


def test_windows_with_an_empty_value_are_left_out():
    frame = counted(300)
    frame.loc[50, "memory_usage"] = np.nan  # a feature only
    frame["system_productivity"] = frame["cpu_usage"] % 100
    frame.loc[120, "system_productivity"] = np.nan  # the target only
    prepared = prepare(
        frame,
        features=["cpu_usage", "memory_usage"],
        target="system_productivity",
        window=5,
        horizon=2,
        validation=0,
    )
    windows = prepared.train_full
    first = prepared.x_scaler.inverse_transform(windows.x[:, 0, :])[:, 0].round().astype(int)
    holes = {
        *range(46, 51),
        *range(114, 117),
    }  # inputs t..t+4 hold row 50; last and targets t+4..t+6 hold row 120
    assert set(first) == set(range(234)) - holes
    assert np.isfinite(windows.x).all() and np.isfinite(windows.y).all() and np.isfinite(windows.last).all()


def test_nodes_do_not_mix(nodes):
    prepared = prepare(nodes, features=USAGES, target="cpu_usage", horizon=2)
    assert set(prepared.train.node) == set(nodes["node"])
    alone = prepare(telemetry.select(nodes, "node-3"), features=USAGES, target="cpu_usage", horizon=2)
    chosen = prepared.train.node == "node-3"
    assert chosen.sum() == len(alone.train)
    np.testing.assert_array_equal(prepared.train.times[chosen], alone.train.times)
    np.testing.assert_allclose(
        prepared.x_scaler.inverse_transform(prepared.train.x[chosen][:, 0]),
        alone.x_scaler.inverse_transform(alone.train.x[:, 0]),
    )


def test_any_regular_step_will_do():
    prepared = prepare(counted(100, step=300), features=["cpu_usage"], target="cpu_usage")
    assert len(prepared.test) == 10


def test_windows_are_views_of_one_table(series):
    prepared = prepare(series, features=USAGES, target="cpu_usage")
    assert np.shares_memory(prepared.train.x, prepared.train_full.x)
    assert np.shares_memory(prepared.train.x, prepared.test.x[:1]) is False  # different rows
    assert not prepared.train.x.flags.writeable and not prepared.train.x.flags.owndata
    assert np.shares_memory(prepared.train.x[1:], prepared.train.x[:1])  # neighbours overlap


def test_memory_grows_with_the_rows_and_not_with_the_window():
    frame = counted(50_000)
    peaks = []
    for window in (10, 200):
        tracemalloc.start()
        prepared = prepare(frame, features=["cpu_usage", "memory_usage"], target="cpu_usage", window=window)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert prepared.train.x.shape[1] == window
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 0.25 * prepared.train_full.x.nbytes  # what a copy of the windows would take


@pytest.mark.parametrize(
    ("rows", "window", "share", "part"),
    [(3, 10, 0.2, "training"), (30, 10, 0.2, "validation"), (60, 12, 0.3, "test")],
)
def test_too_few_rows_are_refused(rows, window, share, part):
    frame = telemetry.check(counted(rows), origin="few.csv")
    with pytest.raises(TelemetryError) as caught:
        prepare(frame, features=["memory_usage"], target="cpu_usage", window=window, validation=share)
    text = str(caught.value)
    assert text.startswith(f"few.csv: columns 'memory_usage', 'cpu_usage', rows 1 to {rows}: too few rows")
    assert (
        f"in the {part} part" in text
        and f"{window} + 1 consecutive rows" in text
        and "smaller window" in text
    )


def test_a_column_without_any_value_is_refused(series):
    with pytest.raises(
        TelemetryError, match=r"'temperature_c'.*too few rows for one window in the training part"
    ):
        prepare(series, features=["temperature_c"], target="cpu_usage")


def test_features_unless_told_are_what_the_telemetry_measures(series):
    assert default_features(series, "system_productivity", past=False) == USAGES
    assert default_features(series, "system_productivity", past=True) == [*USAGES, "system_productivity"]
    assert default_features(series, "cpu_usage", past=True) == USAGES
    some = series.drop(columns="disc_usage").assign(memory_usage=np.nan)
    assert default_features(some, "cpu_usage", past=False) == ["cpu_usage", "network_usage"]
    requests = series[["timestamp", "node", "jobs_offered"]]
    assert default_features(requests, "jobs_offered", past=False) == ["jobs_offered"]


@pytest.mark.parametrize(
    ("features", "target", "problem"),
    [
        (["cpu_usage", "gpu_usage"], "cpu_usage", "column 'gpu_usage' is missing"),
        (["cpu_usage"], "happiness", "column 'happiness' is missing"),
        (["strategy"], "cpu_usage", "column 'strategy' holds text"),
        ([], "cpu_usage", r"features must be a list of different columns, not \[\]"),
        (["cpu_usage", "cpu_usage"], "cpu_usage", "features must be a list of different columns"),
    ],
)
def test_wrong_columns_are_refused(series, features, target, problem):
    for use in (prepare, columns):
        with pytest.raises(
            TelemetryError, match=problem + r".*Choose features and target among cpu_usage, memory_usage"
        ):
            use(series, features=features, target=target)


def test_columns_are_named_once(series):
    assert columns(series, ["cpu_usage", "disc_usage"], "cpu_usage") == ["cpu_usage", "disc_usage"]
    assert columns(series, ["cpu_usage"], "disc_usage") == ["cpu_usage", "disc_usage"]


def test_infinite_values_are_refused(series):
    frame = series.copy()
    frame.loc[9, "disc_usage"] = np.inf
    with pytest.raises(TelemetryError, match="column 'disc_usage', row 10: the value is infinite"):
        prepare(frame, features=USAGES, target="cpu_usage")


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 0},
        {"horizon": 0},
        {"test": 1.0},
        {"validation": -0.1},
    ],
)
def test_impossible_settings_are_refused(series, wrong):
    with pytest.raises(ValueError, match="must be"):
        prepare(series, **({"features": USAGES, "target": "cpu_usage"} | wrong))


def test_parts_can_be_switched_off(series):
    prepared = prepare(series, features=USAGES, target="cpu_usage", test=0, validation=0)
    assert len(prepared.train) == len(series) - 10
    assert len(prepared.test) == len(prepared.validation) == 0
    assert prepared.test.x.shape == (0, 10, 4)


def test_samples_can_be_taken(series):
    train = prepare(series, features=USAGES, target="cpu_usage", horizon=3).train
    some = train.take(np.arange(5, 9))
    assert np.shares_memory(some.x, train.x)
    np.testing.assert_array_equal(some.y, train.y[5:9])
    scattered = train.take(np.array([3, 1]))
    np.testing.assert_array_equal(scattered.x[1], train.x[1])
    assert len(train.take(train.times > train.times[9])) == len(train) - 10
    np.testing.assert_array_equal(train.step(3).y, train.y[:, 2:])
    with pytest.raises(ValueError, match="outside the horizon"):
        train.step(4)


@pytest.mark.parametrize("window", [1, 6])
@pytest.mark.parametrize("horizon", [1, 4])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_folds_expand_and_are_purged(series, window, horizon, k):
    windows = prepare(series, features=USAGES, target="cpu_usage", window=window, horizon=horizon).train_full
    result = folds(windows, k)
    assert len(result) == k
    seen = np.concatenate([validation for _, validation in result])
    assert len(np.unique(seen)) == len(seen)
    assert seen.max() == len(windows) - 1
    for number, (train, validation) in enumerate(result):
        np.testing.assert_array_equal(train, np.arange(len(train)))
        # The gap is as small as it may be and no smaller.
        assert validation[0] - train[-1] == window + horizon
        known, unseen = (used(windows.take(index), window, horizon) for index in (train, validation))
        assert not known & unseen
        assert number == 0 or len(train) > len(result[number - 1][0])


def test_folds_are_chronological_over_nodes_and_gaps(nodes):
    frame = nodes.drop(index=range(80, 90)).reset_index(drop=True)
    windows = prepare(frame, features=USAGES, target="cpu_usage", window=4, horizon=2).train_full
    for train, validation in folds(windows, 3):
        assert windows.times[train].max() < windows.times[validation].min()
        assert set(windows.node[validation]) == set(frame["node"])
        assert not used(windows.take(train), 4, 2) & used(windows.take(validation), 4, 2)


def test_too_many_folds_are_refused(series):
    windows = prepare(series, features=USAGES, target="cpu_usage").test
    with pytest.raises(ValueError, match="use fewer folds or more rows"):
        folds(windows, 7)
    with pytest.raises(ValueError, match="folds"):
        folds(windows, 0)


def test_windows_can_be_made_by_hand():
    times = np.datetime64("2026-01-05T08:00:00") + np.arange(30) * STEP
    windows = Windows(np.zeros((30, 2, 1)), np.zeros((30, 1)), times, np.full(30, "node-1"), np.zeros(30))
    assert [(len(train), len(validation)) for train, validation in folds(windows, 2)] == [(8, 10), (18, 10)]


def test_a_feature_that_is_constant_in_training_is_held_there():
    frame = counted(300)
    frame["cpu_usage"] = 50 + 10 * np.sin(np.arange(300) / 5)
    frame["disc_usage"] = np.where(np.arange(300) < 260, 5.0, 5.0 + np.arange(300))
    frame.loc[:200, "disc_usage"] += 1e-15  # as rounding does
    told = (
        "feature 'disc_usage' is constant in the rows before the test part and moves in it: it is held at 0"
    )
    frame.loc[240:, "disc_usage"] += np.arange(60)
    features = ["cpu_usage", "disc_usage"]
    with pytest.warns(UserWarning, match=told) as caught:
        data = prepare(frame, features=features, target="cpu_usage")
    assert len(caught) == 1 and caught[0].filename == __file__
    assert np.abs(data.test.x[:, :, 1]).max() < 1e-90
    back = data.x_scaler.inverse_transform(data.test.x[:, -1])
    np.testing.assert_allclose(back[:, 0], frame["cpu_usage"].iloc[249:-1])
    assert np.isfinite(back).all()
    without = prepare(frame, features=["cpu_usage"], target="cpu_usage")
    errors = [
        np.mean((Ridge().fit(each.train_full).forecast(each.test) - each.test.y) ** 2)
        for each in (data, without)
    ]
    assert errors[0] == pytest.approx(errors[1])


def test_scales_that_do_not_fit_the_test_part_are_told():
    frame = counted(300)
    frame["cpu_usage"] = np.where(np.arange(300) < 240, 0.0, 50.0)
    with pytest.warns(UserWarning, match="target 'cpu_usage' is constant .* errors are in its unit"):
        prepare(frame, features=["memory_usage"], target="cpu_usage")
    frame["cpu_usage"] = np.arange(300) % 7.0
    frame["memory_usage"] = np.where(np.arange(300) < 240, 50 + 1e-3 * (np.arange(300) % 3), 60.0)
    with pytest.warns(UserWarning, match=r"feature 'memory_usage' reaches 5e\+03 in the test part"):
        prepare(frame, features=["memory_usage"], target="cpu_usage")


def test_what_fits_needs_no_warning(series, nodes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepare(series, features=USAGES, target="cpu_usage")
        prepare(nodes, features=USAGES, target="cpu_usage")
        prepare(series.assign(still=3.0), features=["still", *USAGES], target="cpu_usage")


@pytest.fixture
def lives():
    """Eight nodes: six end early, one begins in the test part, one is there all the time."""
    whole, late = counted(300, "whole"), counted(300, "late").iloc[250:]
    return pd.concat([whole, *(counted(150, f"early-{number}") for number in range(6)), late])


def test_nodes_that_are_not_judged_are_told(lives):
    with pytest.warns(UserWarning) as caught:
        data = prepare(lives, features=["cpu_usage"], target="cpu_usage")
    told = [str(each.message) for each in caught]
    assert any(
        "1 of 8 nodes (late) have no window before the test part: they are not learnt" in t for t in told
    )
    few = "6 of 8 nodes (early-0, early-1, early-2, early-3, early-4, ..) have no window in the test part: they are"
    assert any(few in each and "With split='node'" in each for each in told) and len(told) == 2
    assert set(data.test.node) == {"whole", "late"}


def test_a_split_by_node_judges_each_on_its_own_last_rows(lives):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = prepare(lives, features=["cpu_usage"], target="cpu_usage", window=2, split="node")
    for node, rows in lives.groupby("node"):
        count = len(rows)
        test, known = round(0.2 * count), count - round(0.2 * count)
        watched = round(0.2 * known)
        windows = [(data.train, known - watched), (data.validation, watched), (data.test, test)]
        for part, share in windows:
            assert (part.node == node).sum() == share - 2
        assert data.test.times[data.test.node == node].max() == rows["timestamp"].max().to_datetime64()
    with pytest.raises(ValueError, match="split must be 'time' or 'node', not 'name'"):
        prepare(lives, features=["cpu_usage"], target="cpu_usage", split="name")


def test_blocks_hold_out_every_sample_once_and_share_no_row_with_the_others():
    data = prepare(recording(500, nodes=2), features=["cpu_usage"], target="cpu_usage", window=4, horizon=3)
    windows = data.train_full
    parts = blocks(windows, 5)
    assert sorted(np.concatenate([own for _, own in parts])) == list(range(len(windows)))
    span = np.timedelta64(windows.span, "s")
    for others, own in parts:
        assert not np.intersect1d(others, own).size and (np.diff(others) > 0).all()
        for node in np.unique(windows.node):
            mine, theirs = (windows.times[part[windows.node[part] == node]] for part in (own, others))
            assert np.abs(mine[:, None] - theirs[None]).min() >= span
    with pytest.raises(ValueError, match="3 blocks need at least 42 samples"):
        blocks(windows.take(slice(0, 20)), 3)
