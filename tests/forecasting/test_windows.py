"""Windows know the steps of each of their nodes, whenever it is polled."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from staggered import START, staggered
from synthetic import planted

from vdslib import evaluation
from vdslib.errors import LeakError
from vdslib.evaluation import losses
from vdslib.forecasting import (
    ETS,
    AdaptiveConformal,
    Past,
    Ridge,
    SeasonalNaive,
    Windows,
    coverage_by_time,
    divide,
    find_period,
    folds,
    prepare,
    runs,
    seasonal_error,
)
from vdslib.networks import inner_tail

MINUTE = np.timedelta64(60, "s")


def cut(frame, **options):
    settings = {"features": ["cpu_usage"], "target": "cpu_usage", "window": 10, "horizon": 2}
    return prepare(frame, **settings | options)


@pytest.fixture(scope="module", params=[7, 29, 45])
def pair(request):
    """The same load, polled together and one node some seconds later."""
    return cut(staggered(0)), cut(staggered(request.param))


def test_each_node_has_its_step():
    frame = pd.concat([planted(np.arange(60.0), "a"), planted(np.arange(90.0), "b")])
    late = frame["node"] == "b"
    minutes = START + pd.to_timedelta(60.0 * np.arange(90), unit="s")
    frame.loc[late, "timestamp"] = minutes.to_numpy()
    windows = cut(frame, test=0, validation=0).train
    second = np.timedelta64(1, "s")
    assert windows.steps() == {"a": second, "b": MINUTE}
    few = windows.take(np.array([0, 30, -40, -1]))  # samples far apart do not change it
    assert few.steps() == {"a": second, "b": MINUTE}
    by_hand = dataclasses.replace(windows, spacing={})
    assert by_hand.steps() == {"a": second, "b": MINUTE}
    by_node = {node: chosen.tolist() for node, chosen in windows.by_node().items()}
    assert by_node == {"a": [*range(49)], "b": [*range(49, 128)]}
    assert windows.span == 12
    np.testing.assert_array_equal((windows.ends() - windows.moments())[[0, -1]], [12 * second, 12 * MINUTE])


def test_a_round_of_polling_is_one_moment(pair):
    together, apart = (each.train_full for each in pair)
    np.testing.assert_array_equal(apart.moments(), together.times)
    assert len(together) == len(apart)


def test_parts_and_folds_do_not_depend_on_when_a_node_is_polled(pair):
    for name in ("train", "validation", "train_full", "test"):
        together, apart = (getattr(each, name) for each in pair)
        np.testing.assert_array_equal(apart.y, together.y, err_msg=name)
    together, apart = (each.train_full for each in pair)
    for one, other in zip(folds(together, 5), folds(apart, 5), strict=True):
        for expected, indices in zip(one, other, strict=True):
            np.testing.assert_array_equal(indices, expected)
    for expected, part in zip(inner_tail(together), inner_tail(apart), strict=True):
        np.testing.assert_array_equal(part.y, expected.y)


def test_no_window_lies_on_both_sides_of_a_cut(pair):
    windows = pair[1].train_full
    sides = [*folds(windows, 5), *_numbers(windows, inner_tail(windows))]
    for known, later in sides:
        for node in "ab":
            before, after = (windows.times[part[windows.node[part] == node]] for part in (known, later))
            assert before.max() + windows.y.shape[1] * MINUTE <= after.min() - windows.x.shape[1] * MINUTE


def _numbers(windows, parts):
    """Two parts as indices into the windows that they were taken from."""
    place = {key: number for number, key in enumerate(zip(windows.node, windows.times, strict=True))}
    return [[np.array([place[key] for key in zip(part.node, part.times, strict=True)]) for part in parts]]


def test_the_guard_sees_windows_that_share_rows(pair):
    windows = pair[1].train_full
    first = np.sort(np.unique(windows.moments()))[200]
    later = np.flatnonzero(windows.moments() >= first)
    for overlap in range(1, windows.span):
        known = np.flatnonzero(windows.moments() <= first - overlap * MINUTE)
        with pytest.raises(LeakError, match="windows across the split"):
            divide(windows, known, later)
    divide(windows, np.flatnonzero(windows.moments() <= first - windows.span * MINUTE), later)


def test_figures_do_not_depend_on_when_a_node_is_polled(pair):
    tables = []
    for data in pair:
        period = find_period(data.train_full)
        assert period == 60
        models = {"seasonal naive": SeasonalNaive(), "ETS": ETS(), "ridge": Ridge()}
        models = {name: model.fit(data.train_full) for name, model in models.items()}
        models["adaptive"] = AdaptiveConformal(Ridge().fit(data.train)).calibrate(data.validation)
        table = evaluation.evaluate(models, data.test, data.train_full)
        ends = models["adaptive"].interval(data.test, 0.8)
        drift = coverage_by_time(data.test, ends, 4)["coverage"].tolist()
        scales = seasonal_error(data.train_full, period)
        tables.append((table, drift, scales, losses(models, data.test).reset_index(drop=True)))
    (one, *others), (table, *rest) = tables
    pd.testing.assert_frame_equal(table.drop(columns="origin"), one.drop(columns="origin"))
    assert rest[:2] == others[:2]
    pd.testing.assert_frame_equal(rest[2], others[2])
    assert [len(run) for run in runs(pair[1].test)] == [len(run) for run in runs(pair[0].test)]


def test_rows_of_the_past_are_whole_steps_of_the_node(pair):
    past = Past(pair[1].train_full)
    for series in past.values.values():
        np.testing.assert_array_equal(np.diff(series.rows), 1)


def test_runs_bear_the_jitter_that_windows_bear():
    frame = planted(np.arange(100.0))
    early = pd.to_timedelta(300.0 * np.arange(100) - np.arange(100) % 2, unit="s")
    windows = cut(frame.assign(timestamp=START + early), test=0, validation=0).train
    assert len(windows) == 89 and [len(run) for run in runs(windows)] == [89]


def test_samples_without_a_time_do_not_disturb_the_others():
    times = np.append(np.datetime64("2026-01-05T08:00:00") + np.arange(5) * MINUTE, np.datetime64("NaT"))
    node = np.array([*"aaaaa", ""], dtype=object)
    windows = Windows(np.zeros((6, 1, 1)), np.zeros((6, 1)), times, node, np.zeros(6))
    np.testing.assert_array_equal(windows.moments(), times)
    assert windows.steps()["a"] == MINUTE
