"""How sure a measured value is: 99% intervals over seeds, over blocks of time, and of a count.

A *statistic* is a function of mean errors, such as the skill 1 - a / b. It is taken at the means; how far it
would move with other seeds or at another time gives its interval.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from vdslib.evaluation.significance import block_length

LEVEL = 0.99
"""Of the intervals. Dozens of claims are judged: at 0.95 luck would decide one in twenty, and rounding move several."""

Statistic = Callable[..., float]


class Interval(NamedTuple):
    """A value with the ends of its interval; both are infinite where one run is all there is."""

    value: float
    low: float
    high: float

    def __neg__(self) -> Self:
        return type(self)(-self.value, -self.high, -self.low)


def over_seeds(statistic: Statistic, *values: ArrayLike) -> Interval:
    """The interval of a statistic of means over seeds: Student's t on the values left out one by one (jackknife).

    Each of ``values`` is a list with one value for each seed, the seeds in one order, so that what a seed does to all
    of them cancels; or a bare number, in which there is no chance. Of plain means it is the usual t interval, of
    differences the paired one. ValueError where lists differ in length.
    """
    arrays = [np.asarray(value, dtype=float) for value in values]
    value = float(statistic(*(array.mean() for array in arrays)))
    lists = [array for array in arrays if array.ndim]
    if not lists:
        return Interval(value, value, value)
    n = len(lists[0])
    if any(len(array) != n for array in lists):
        raise ValueError(f"need one value for each seed: {', '.join(str(len(array)) for array in lists)}")
    if n < 2:
        return Interval(value, -math.inf, math.inf)
    without = [
        statistic(*(np.delete(array, i).mean() if array.ndim else array for array in arrays))
        for i in range(n)
    ]
    from statsmodels.stats.weightstats import DescrStatsW

    low, high = DescrStatsW(np.multiply(n - 1, without)).tconfint_mean(1 - LEVEL)
    half = float(high - low) / 2
    return Interval(value, value - half, value + half)


def over_time(statistic: Statistic, *series: ArrayLike, repetitions: int = 1000, least: int = 10) -> Interval:
    """The interval of a statistic of means over time, by a stationary block bootstrap (arch), from seed 0.

    ``series`` [stretches] or [stretches, values], consecutive in time and drawn together, since what makes one stretch
    hard makes it hard for all. Fewer than ``least`` stretches give no finite interval.
    """
    arrays = [np.asarray(each, dtype=float) for each in series]
    value = float(statistic(*(array.mean(axis=0) for array in arrays)))
    if not math.isfinite(value) or len(arrays[0]) < least:
        return Interval(value, -math.inf, math.inf)
    block = max(block_length(array.reshape(len(array), -1).mean(axis=1)) for array in arrays)
    from arch.bootstrap import StationaryBootstrap

    bootstrap = StationaryBootstrap(block, *arrays, seed=0)
    drawn = bootstrap.apply(
        lambda *parts: np.array(statistic(*(part.mean(axis=0) for part in parts))), repetitions
    )
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, min(float(low), value), max(float(high), value))


def both(first: Interval, *others: Interval) -> Interval:
    """The interval of a value that has several independent reasons to be off: their half lengths add up as squares.

    Each side by itself (the method of variance estimates recovery, Zou and Donner 2008). The value is the first one's.
    """
    intervals = (first, *others)
    below = math.hypot(*(each.value - each.low for each in intervals))
    above = math.hypot(*(each.high - each.value for each in intervals))
    return Interval(first.value, first.value - below, first.value + above)


def of_count(count: int, among: int) -> Interval:
    """The exact binomial interval (Clopper and Pearson) of the share ``count`` / ``among``."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(count, among, 1 - LEVEL, method="beta")
    return Interval(count / among, float(low), float(high))


def of_median(values: ArrayLike) -> Interval:
    """The interval of the median of ``values`` [n]: those at the ranks that the exact binomial interval of one half reaches to."""
    array = np.asarray(values, dtype=float)
    from statsmodels.stats.proportion import proportion_confint

    ranks = proportion_confint(len(array) / 2, len(array), 1 - LEVEL, method="beta")
    low, high = np.quantile(array, ranks[0], method="lower"), np.quantile(array, ranks[1], method="higher")
    return Interval(float(np.median(array)), float(low), float(high))


def in_stretches(values: ArrayLike, times: ArrayLike | None = None, count: int = 50) -> list[float]:
    """The means of ``values`` [samples] in at most ``count`` consecutive stretches, as equal in length as can be.

    With ``times`` [samples] they are put into the order of time first, and those of one moment count as one.
    """
    array = np.asarray(values, dtype=float)
    if times is not None:
        array = pd.Series(array).groupby(np.asarray(times)).mean().to_numpy()
    return [float(part.mean()) for part in np.array_split(array, min(count, len(array)))]
