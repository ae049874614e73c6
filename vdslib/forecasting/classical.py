"""Exponential smoothing and ARIMA, with Fourier terms for the season: the classical forecasters of one series.

Both are statsmodels' state space models. Parameters are estimated once, on the training part; the Kalman filter then
runs through the known values up to each window's last row, and the forecast goes on from its state there. Fourier
terms stand for the season since a seasonal ARIMA with a period of hundreds of rows takes hours
(Hyndman and Athanasopoulos, Forecasting: principles and practice, 12.1).
"""

from __future__ import annotations

import abc
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from vdslib.forecasting.baselines import register
from vdslib.forecasting.past import Past, Series
from vdslib.forecasting.rhythms import Rhythm
from vdslib.forecasting.seasons import find_period
from vdslib.forecasting.windows import Windows

if TYPE_CHECKING:  # statsmodels is imported where it is used: it takes a second
    from statsmodels.tsa.statespace.mlemodel import MLEModel

_HARMONICS = 24  # that Fourier terms are chosen from: a week's reach to the third of a day
_LONGEST_GAP = 200  # unknown rows that the filter runs through: after more it has forgotten what was before


class _Fitted(NamedTuple):
    frequencies: np.ndarray  # of the Fourier pairs, in waves a row
    season: np.ndarray  # level and Fourier coefficients
    parameters: np.ndarray  # of the state space model of what remains


class _StateSpace(abc.ABC):
    """The season by least squares on Fourier terms, what remains by a state space model; a fit for each node.

    The terms are those of the windows' rhythms, else of one period. Columns that are known in advance are not used.
    """

    def __init__(self, period: int | None = None, pairs: int = 3, most: int = 5000) -> None:
        self.fixed, self.period, self.pairs, self.most = period, period or 1, pairs, most
        self.fitted: dict[str, _Fitted] = {}

    @abc.abstractmethod
    def _model(self, values: np.ndarray) -> MLEModel:
        """The state space model of what the season leaves of a series."""

    def fit(self, windows: Windows) -> Self:
        """Estimate season and parameters for each node, on its last ``most`` known rows at most."""
        from statsmodels.tools.sm_exceptions import ConvergenceWarning

        self.history, self.horizon = Past(windows), windows.y.shape[1]
        self.period = self.fixed or (1 if windows.rhythms else find_period(windows))
        for node, series in self.history.values.items():
            late = Series(series.rows[-self.most :], series.values[-self.most :])
            frequencies = self._of(windows.rhythms, node) if windows.rhythms else self._strongest(late)
            terms = self._terms(late.rows, frequencies)
            season = np.linalg.lstsq(terms, late.values, rcond=None)[0]
            remains, _ = Series(late.rows, late.values - terms @ season).condensed(_LONGEST_GAP)
            remains = remains[-self.most :]
            if np.nanstd(remains) < 1e-9:  # a constant needs no model, and none can be estimated
                self.fitted[node] = _Fitted(frequencies, season, np.empty(0))
                continue
            with warnings.catch_warnings():
                # an optimum at the border of the admissible is an answer too
                warnings.simplefilter("ignore", ConvergenceWarning)
                warnings.simplefilter("ignore", UserWarning)
                result = self._model(remains).fit(disp=False, maxiter=100, cov_type="none")
            self.fitted[node] = _Fitted(frequencies, season, np.asarray(result.params))
        return self

    def forecast(self, windows: Windows) -> np.ndarray:
        """Scaled forecasts [samples, horizon]. A node that was not in training gets the parameters of the first."""
        known, rows = self.history.known_to(windows), self.history.rows(windows)
        result = np.empty((len(windows), self.horizon))
        for node, chosen in windows.by_node().items():
            fitted, series = self.fitted.get(node) or next(iter(self.fitted.values())), known[node]
            for step in range(self.horizon):
                result[chosen, step] = (
                    self._terms(rows[chosen] + 1 + step, fitted.frequencies) @ fitted.season
                )
            if len(fitted.parameters):
                season = self._terms(series.rows, fitted.frequencies) @ fitted.season
                remains, places = Series(series.rows, series.values - season).condensed(_LONGEST_GAP)
                last = places[np.searchsorted(series.rows, rows[chosen])]
                result[chosen] += self._ahead(remains, fitted.parameters)[last]
        return result

    def _ahead(self, values: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        """[rows, horizon]: the forecasts from each row, given the values up to it."""
        filtered = self._model(values).filter(parameters, cov_type="none").filter_results
        observe, move = filtered.design[0, :, 0], filtered.transition[:, :, 0]
        state, steps = filtered.predicted_state[:, 1:], []
        for _ in range(self.horizon):
            steps.append(observe @ state)
            state = move @ state
        return np.column_stack(steps)

    def _strongest(self, series: Series) -> np.ndarray:
        """The frequencies of the season that explain most of the series; those of a week are its days above all."""
        harmonics = np.arange(1, min(_HARMONICS, (self.period - 1) // 2) + 1)
        waves = np.exp(-2j * np.pi * np.outer(harmonics, series.rows) / self.period)
        power = np.abs(waves @ (series.values - series.values.mean()))
        return np.sort(harmonics[np.argsort(-power, kind="stable")[: self.pairs]]) / self.period

    def _of(self, rhythms: Sequence[Rhythm], node: Any) -> np.ndarray:
        """The frequencies of the harmonics of known rhythms."""
        step = self.history.spacing[node] / np.timedelta64(1, "s")
        waves = [n * step / rhythm.seconds for rhythm in rhythms for n in range(1, rhythm.harmonics + 1)]
        return np.array(waves)

    def _terms(self, rows: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
        """[rows, 1 + 2 frequencies]: a one, then sine and cosine of each frequency."""
        angles = 2 * np.pi * np.outer(rows, frequencies)
        return np.column_stack([np.ones(len(rows)), np.sin(angles), np.cos(angles)])


@register("ETS")
class ETS(_StateSpace):
    """Exponential smoothing with additive errors: a level, with ``trend`` a damped slope too.

    ``period`` in rows, found in training (``find_period``) unless given; ``pairs`` of Fourier terms stand for it.
    """

    def __init__(self, trend: bool = False, period: int | None = None, **options: Any) -> None:
        super().__init__(period, **options)
        self.trend = trend

    def _model(self, values: np.ndarray) -> MLEModel:
        from statsmodels.tsa.statespace.exponential_smoothing import ExponentialSmoothing

        return ExponentialSmoothing(values, trend=self.trend, damped_trend=self.trend)


@register("ARIMA")
class ARIMA(_StateSpace):
    """ARIMA of ``order`` (p, d, q) on what the Fourier terms leave; ``period`` and ``pairs`` as for ``ETS``."""

    def __init__(
        self, order: tuple[int, int, int] = (2, 0, 1), period: int | None = None, **options: Any
    ) -> None:
        super().__init__(period, **options)
        self.order = order

    def _model(self, values: np.ndarray) -> MLEModel:
        from statsmodels.tsa.statespace.sarimax import SARIMAX

        return SARIMAX(values, order=self.order, trend="n")
