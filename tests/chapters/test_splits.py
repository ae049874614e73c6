"""A random split pays where a neighbour in time holds the answer, and not where the past is as good."""

import numpy as np
import pytest
from synthetic import planted

from vdslib.chapters import splits
from vdslib.forecasting import prepare

DRAWS = 12


def changes(values, ahead=10):
    data = prepare(planted(values), features=["cpu_usage"], target="cpu_usage", horizon=ahead)
    return splits.flattery(data, ahead, DRAWS, seed=0)


def slow_walk(seed, rows=1500):
    steps = np.random.default_rng(seed).standard_normal(rows + 29)
    return np.convolve(np.cumsum(steps), np.full(30, 1 / 30), mode="valid")


@pytest.mark.parametrize("seed", range(3))
def test_a_slow_walk_flatters_the_look_up_in_every_draw(seed):
    low, _ = splits.middle(changes(slow_walk(seed))["nearest neighbour"])
    assert low > 0.3


def test_noise_has_nothing_to_look_up():
    table = changes(np.random.default_rng(0).standard_normal(1500))
    for model in ("ridge", "nearest neighbour", "five nearest"):
        low, high = splits.middle(table[model])
        assert low < 0 < high, model
    assert table["overlap"].mean() < 0.1 < changes(slow_walk(0))["overlap"].mean()


def test_draws_differ_and_come_again():
    values = slow_walk(0, 600)
    once, again = changes(values), changes(values)
    assert len(once) == DRAWS and once.equals(again)
    assert once["nearest neighbour"].nunique() == DRAWS


def test_a_series_without_error_has_no_share_to_lose():
    level = np.full(600, 5.0)
    level[:100] = 7.0
    assert changes(level)["nearest neighbour"].isna().all()
