"""Intervals of measured values: they are the textbook's where there is one, and hold what they should."""

import math

import numpy as np
import pytest
from scipy import stats

from vdslib.evaluation import Interval, both, in_stretches, of_count, of_median, over_seeds, over_time, skill


def mean(value):
    return value


def test_over_seeds_is_student_s_interval_of_a_mean_and_of_paired_differences():
    values = [0.0126, 0.0122, 0.0138, 0.0126, 0.0125]
    ends = stats.ttest_1samp(values, 0).confidence_interval(0.99)
    assert over_seeds(mean, values)[1:] == pytest.approx(tuple(ends))
    other = [0.0130, 0.0124, 0.0144, 0.0127, 0.0126]
    ends = stats.ttest_rel(other, values).confidence_interval(0.99)
    paired = over_seeds(lambda a, b: b - a, values, other)
    assert paired[1:] == pytest.approx(tuple(ends))
    alone = over_seeds(mean, other)
    assert paired.high - paired.low < alone.high - alone.low  # what a seed does to both cancels


def test_a_bare_number_has_no_chance_in_it_and_one_seed_tells_nothing():
    assert over_seeds(skill, 0.01, 0.02) == (0.5, 0.5, 0.5)
    assert over_seeds(skill, [0.01], 0.02) == (0.5, -math.inf, math.inf)
    low, high = over_seeds(skill, [0.01, 0.011, 0.009], 0.02)[1:]
    assert 0 < low < 0.5 < high < 1
    with pytest.raises(ValueError, match="one value for each seed: 2, 3"):
        over_seeds(skill, [1, 2], [1, 2, 3])


def test_intervals_over_seeds_hold_the_truth_as_often_as_they_say():
    random = np.random.default_rng(0)
    held = 0
    for _ in range(500):
        seeds = random.normal(1, 0.1, 5)
        low, high = over_seeds(skill, seeds, 2 * seeds + random.normal(0, 0.1, 5))[1:]
        held += low <= 0.5 <= high
    assert 0.97 < held / 500 < 1


def test_time_that_is_alike_tells_less():
    random = np.random.default_rng(0)
    alone = random.exponential(1, 200)
    alike = np.repeat(random.exponential(1, 20), 10)
    widths = [high - low for _, low, high in (over_time(mean, alone), over_time(mean, alike))]
    assert widths[1] > 1.5 * widths[0]
    shared = over_time(skill, alike, 2 * alike)  # hard stretches are hard for both
    assert shared == pytest.approx((0.5, 0.5, 0.5))
    assert over_time(mean, alone) == over_time(mean, alone)
    assert over_time(mean, [1.0] * 9)[1:] == (-math.inf, math.inf)
    assert math.isnan(over_time(mean, [math.nan] * 20).value)


def test_several_reasons_add_up_as_squares_on_each_side():
    joined = both(Interval(1, 0.7, 1.3), Interval(5, 4.6, 6.2))
    assert joined == pytest.approx((1, 1 - math.hypot(0.3, 0.4), 1 + math.hypot(0.3, 1.2)))
    assert both(Interval(1, -math.inf, math.inf), joined).low == -math.inf
    assert -Interval(1, 0, 3) == (-1, -3, 0)


def test_counts_have_the_exact_interval():
    for count in (2, 5):
        exact = stats.binomtest(count, 5).proportion_ci(0.99, method="exact")
        assert of_count(count, 5) == pytest.approx((count / 5, exact.low, exact.high))
    assert of_count(0, 10).low == 0


def test_a_median_has_an_interval_between_values():
    median = of_median(np.arange(25))
    assert median.value == 12 and 4 < median.low < 12 < median.high < 20
    assert of_median([1.0, 2.0])[1:] == (1, 2)


def test_stretches_are_means_of_neighbours_in_time():
    assert in_stretches([1, 2, 3, 4], count=2) == [1.5, 3.5]
    assert in_stretches([1, 2, 3]) == [1, 2, 3]
    assert in_stretches([5, 1, 3, 3, 9], times=[2, 0, 1, 1, 2], count=3) == [1, 3, 7]
