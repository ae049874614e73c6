"""What a network has to beat. All forecasters, the LSTM too, have one protocol: ``fit`` and ``forecast``."""

from __future__ import annotations

from typing import Protocol, Self

import numpy as np
from sklearn.linear_model import Ridge as _Ridge

from vdslib.preparation import Windows

__all__ = ["Forecasts", "Oracle", "Persistence", "Ridge", "TrainingMean"]


class Forecasts(Protocol):
    """What tables and figures expect of a forecaster."""

    def fit(self, windows: Windows) -> Self:
        """Learn from training windows and return itself."""
        ...

    def forecast(self, windows: Windows) -> np.ndarray:
        """Scaled forecasts [samples, horizon]; must not look at ``windows.y``."""
        ...


class Persistence:
    """The last known value, for every step of the horizon."""

    horizon = 0

    def fit(self, windows: Windows) -> Self:
        self.horizon = windows.y.shape[1]
        return self

    def forecast(self, windows: Windows) -> np.ndarray:
        return np.repeat(np.asarray(windows.last, dtype=float)[:, None], self.horizon, axis=1)


class TrainingMean:
    """The mean of each step's target over the training windows: a constant, blind to its input."""

    mean = np.empty(0)

    def fit(self, windows: Windows) -> Self:
        self.mean = windows.y.mean(axis=0)
        return self

    def forecast(self, windows: Windows) -> np.ndarray:
        return np.tile(self.mean, (len(windows), 1))


class Ridge:
    """Linear regression with an L2 penalty on the last ``lags`` rows of all features, one output per step.

    A window shorter than ``lags`` is used whole.
    """

    def __init__(self, lags: int = 10, alpha: float = 1.0) -> None:
        self.lags = lags
        self.model = _Ridge(alpha=alpha)

    def fit(self, windows: Windows) -> Self:
        self.model.fit(self._table(windows), windows.y)
        return self

    def forecast(self, windows: Windows) -> np.ndarray:
        return self.model.predict(self._table(windows)).reshape(len(windows), -1)

    def _table(self, windows: Windows) -> np.ndarray:
        return windows.x[:, -self.lags :, :].reshape(len(windows), -1)


class Oracle:
    """Knows the answers. No forecaster: it shows what a table says of a perfect one, to check the table."""

    def fit(self, windows: Windows) -> Self:
        return self

    def forecast(self, windows: Windows) -> np.ndarray:
        return np.array(windows.y, dtype=float)
