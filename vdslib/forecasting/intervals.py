"""How sure a forecast is: prediction intervals around any forecaster, and what they are worth.

A forecaster gives intervals by a method ``interval(windows, coverage)``, which returns the lower and the upper ends,
each [samples, horizon], scaled. Like a forecast it must not look at ``windows.y``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from vdslib.forecasting.baselines import Forecasts, boosted, forecasts, lagged
from vdslib.forecasting.parts import folds
from vdslib.forecasting.past import Past
from vdslib.forecasting.windows import Windows

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingRegressor

Ends = tuple[np.ndarray, np.ndarray]


def covered(y_true: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> np.ndarray:
    """1 where a target lies in its interval, ends included, 0 where it does not, NaN where an end is NaN.

    All of one shape, [samples, horizon] for instance; ValueError otherwise.
    """
    true, low, high = _of_one_shape(y_true, lower, upper)
    return np.where(np.isnan(low) | np.isnan(high), np.nan, (true >= low) & (true <= high))


def winkler(y_true: ArrayLike, lower: ArrayLike, upper: ArrayLike, coverage: float) -> np.ndarray:
    """The Winkler score of each interval: its width, plus 2 / (1 - coverage) times what the target lies outside.

    Shapes as for ``covered``. Lower is better: a wide interval and a missed target both cost (Winkler 1972; Gneiting and Raftery 2007).
    """
    true, low, high = _of_one_shape(y_true, lower, upper)
    outside = np.maximum(low - true, 0) + np.maximum(true - high, 0)
    return high - low + 2 / (1 - coverage) * outside


def _of_one_shape(*arrays: ArrayLike) -> list[np.ndarray]:
    values = [np.asarray(each, dtype=float) for each in arrays]
    if len({each.shape for each in values}) > 1:
        raise ValueError(f"shapes must be equal: {', '.join(str(each.shape) for each in values)}")
    return values


def quantile_levels(coverage: float) -> tuple[float, float]:
    """The levels of the quantiles that are the ends of a central interval: 0.8 to 0.1 and 0.9."""
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must lie between 0 and 1, not {coverage}")
    return round((1 - coverage) / 2, 10), round((1 + coverage) / 2, 10)


class Conformal:
    """Split conformal intervals around any forecaster: the error that it rarely exceeded is added on both sides.

    ``fit`` trains the forecaster on the first ``1 - 1/parts`` of the windows and takes its absolute errors, for each
    step ahead, on the last ones; ``calibrate`` does the latter alone, for a forecaster that is fitted already. On
    exchangeable data the coverage is at least the nominal one (Vovk et al. 2005; Lei et al. 2018); over time it may
    drift away from it.
    """

    def __init__(self, model: Forecasts, parts: int = 5) -> None:
        self.model, self.parts = model, parts
        self.scores = np.empty((0, 0))

    def fit(self, windows: Windows) -> Self:
        known, held_out = folds(windows, self.parts - 1)[-1]
        self.model.fit(windows.take(known))
        return self.calibrate(windows.take(held_out))

    def calibrate(self, windows: Windows) -> Self:
        """Take the errors of the fitted forecaster on windows that it was not fitted on."""
        self.scores = np.abs(windows.y - forecasts(self.model, windows))
        return self

    def forecast(self, windows: Windows) -> np.ndarray:
        return self.model.forecast(windows)

    def interval(self, windows: Windows, coverage: float) -> Ends:
        """Lower and upper ends [samples, horizon], scaled. RuntimeError before ``fit`` or ``calibrate``."""
        quantile_levels(coverage)
        if not len(self.scores):
            raise RuntimeError("fit or calibrate the intervals before asking for them")
        forecast = self.forecast(windows)
        reach = self._reach(windows, forecast, coverage)
        return forecast - reach, forecast + reach

    def _reach(self, windows: Windows, forecast: np.ndarray, coverage: float) -> np.ndarray:
        """Half the width: the score of rank ceil((n + 1) coverage) of n; the largest where n is too small."""
        count = len(self.scores)
        rank = min(int(np.ceil((count + 1) * coverage)), count)
        return np.sort(self.scores, axis=0)[rank - 1]


class AdaptiveConformal(Conformal):
    """Conformal intervals that widen after a miss and narrow after a hit (Gibbs and Candes 2021).

    With alpha = 1 - coverage, each outcome moves the level in force: alpha(t+1) = alpha(t) + gamma (alpha - miss), so
    that the share of misses tends to alpha even where the data drift. The scores are the latest ones, as many as
    there were to calibrate. An outcome counts once it is known: the target h steps ahead, h steps later, from the
    windows' own last rows. Each node has a level of its own. Where the level asks for more than any score seen, the
    largest is taken, so that the interval stays finite.
    """

    def __init__(self, model: Forecasts, parts: int = 5, gamma: float = 0.01) -> None:
        super().__init__(model, parts)
        self.gamma = gamma

    def calibrate(self, windows: Windows) -> Self:
        self.history = Past(windows)
        # in time over all nodes, so that the earliest scores are the first to go
        return super().calibrate(windows.take(np.argsort(windows.moments(), kind="stable")))

    def _reach(self, windows: Windows, forecast: np.ndarray, coverage: float) -> np.ndarray:
        rows, known = self.history.rows(windows), self.history.known_to(windows)
        result = np.empty_like(forecast)
        for node, chosen in windows.by_node().items():
            chosen = chosen[np.argsort(rows[chosen], kind="stable")]
            for step in range(forecast.shape[1]):
                target = rows[chosen] + step + 1
                # where a row is not known, beyond the last one for good, an outcome teaches nothing
                errors = np.abs(known[node].at(target) - forecast[chosen, step])
                result[chosen, step] = self._walk(rows[chosen], target, errors, step, 1 - coverage)
        return result

    def _walk(
        self, now: np.ndarray, target: np.ndarray, errors: np.ndarray, step: int, alpha: float
    ) -> np.ndarray:
        """Through the samples of one node in time: half widths for one step ahead."""
        scores, reach = list(self.scores[:, step]), np.empty(len(now))
        count, level, learnt = len(scores), alpha, 0
        ordered = np.sort(scores)
        for sample, row in enumerate(now):
            while target[learnt] <= row:
                if np.isfinite(errors[learnt]):
                    level += self.gamma * (alpha - float(errors[learnt] > reach[learnt]))
                    scores.append(errors[learnt])
                    ordered = _exchanged(ordered, scores[-count - 1], scores[-1])
                learnt += 1
            rank = int(np.ceil((count + 1) * (1 - level)))
            reach[sample] = ordered[min(rank, count) - 1] if rank > 0 else 0.0
        return reach


def _exchanged(ordered: np.ndarray, old: float, new: float) -> np.ndarray:
    """Sorted values with one of them replaced."""
    shorter = np.delete(ordered, np.searchsorted(ordered, old))
    return np.insert(shorter, np.searchsorted(shorter, new), new)


class BoostedQuantiles:
    """Quantile forecasts by gradient boosted trees with the pinball loss, on the last ``lags`` rows of all features.

    One model for each step and each level: the median, which is its point forecast, and the ends of the intervals of
    ``coverages``.
    """

    def __init__(self, coverages: tuple[float, ...] = (0.8, 0.95), lags: int = 10, trees: int = 100) -> None:
        self.lags, self.trees = lags, trees
        self.levels = sorted({0.5, *(level for each in coverages for level in quantile_levels(each))})
        self.models: dict[float, list[HistGradientBoostingRegressor]] = {}

    def fit(self, windows: Windows) -> Self:
        x = lagged(windows, self.lags)
        for level in self.levels:
            self.models[level] = boosted(x, windows.y, max_iter=self.trees, loss="quantile", quantile=level)
        return self

    def forecast(self, windows: Windows) -> np.ndarray:
        return self._quantile(windows, 0.5)

    def interval(self, windows: Windows, coverage: float) -> Ends:
        """Lower and upper ends [samples, horizon]; ValueError for a coverage that was not asked for at first."""
        ends = [self._quantile(windows, level) for level in quantile_levels(coverage)]
        # quantiles that are fitted apart may cross
        return np.minimum(*ends), np.maximum(*ends)

    def _quantile(self, windows: Windows, level: float) -> np.ndarray:
        if level not in self.models:
            known = ", ".join(f"{each:g}" for each in self.levels)
            raise ValueError(f"no quantile at {level:g}, only at {known}: fit with other coverages")
        x = lagged(windows, self.lags)
        return np.column_stack([model.predict(x) for model in self.models[level]])


def coverage_interval(
    inside: ArrayLike, *, level: float = 0.95, repetitions: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """The interval of a coverage: ``inside`` [samples], in time, says of each target whether it was in its own.

    By a stationary block bootstrap (arch), since misses come in clusters; the block length is that of Politis and
    White, at least 1. NaN where one of ``inside`` is.
    """
    hits = np.asarray(inside, dtype=float)
    if hits.ndim != 1 or len(hits) < 10:
        raise ValueError(f"need one dimension of at least 10 samples, not {hits.shape}")
    if np.isnan(hits).any():
        return float("nan"), float("nan")
    if hits.min() == hits.max():
        return float(hits.min()), float(hits.max())
    from arch.bootstrap import StationaryBootstrap, optimal_block_length

    block = max(1, round(float(optimal_block_length(hits)["stationary"].iloc[0])))
    bootstrap = StationaryBootstrap(block, hits, seed=seed)
    ends = bootstrap.conf_int(np.mean, reps=repetitions, method="percentile", size=level)
    return float(ends[0, 0]), float(ends[1, 0])


def coverage_by_time(windows: Windows, ends: Ends, blocks: int = 10) -> pd.DataFrame:
    """Does coverage drift? One row for each of ``blocks`` stretches of time: start, coverage, mean width, samples."""
    inside, width = covered(windows.y, *ends), ends[1] - ends[0]
    moments, rows = windows.moments(), []
    for part in np.array_split(np.unique(moments), blocks):
        chosen = (moments >= part[0]) & (moments <= part[-1])
        rows.append((part[0], float(inside[chosen].mean()), float(width[chosen].mean()), int(chosen.sum())))
    return pd.DataFrame(rows, columns=["start", "coverage", "width", "samples"])
