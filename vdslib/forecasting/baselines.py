"""What a network has to beat. All forecasters, the LSTM too, have one protocol: ``fit`` and ``forecast``.

A forecaster joins the tables by ``register``; ``FORECASTERS`` has those that did, a reader's own among them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from vdslib.errors import RegistryError
from vdslib.forecasting.past import Past
from vdslib.forecasting.seasons import find_period
from vdslib.forecasting.windows import Windows
from vdslib.registry import Registry

if TYPE_CHECKING:  # scikit-learn takes a second to import: only who fits a model does
    from sklearn.ensemble import HistGradientBoostingRegressor


class Forecasts(Protocol):
    """What tables and figures expect of a forecaster."""

    def fit(self, windows: Windows) -> Self:
        """Learn from training windows and return itself."""
        ...

    def forecast(self, windows: Windows) -> np.ndarray:
        """Scaled forecasts [samples, horizon]; must not look at ``windows.y``."""
        ...


def forecasts(model: Forecasts, windows: Windows, name: str = "") -> np.ndarray:
    """The forecasts of a fitted ``model``, to compare with the targets: of their shape, [samples, horizon].

    ValueError, with the name, for any other, since a comparison would repeat or leave out some of them.
    """
    result = np.asarray(model.forecast(windows), dtype=float)
    if result.shape != windows.y.shape:
        raise ValueError(
            f"{name or type(model).__name__} has forecasts of shape {result.shape} where the targets are "
            f"{windows.y.shape}: one for each sample and step ahead"
        )
    return result


Made = TypeVar("Made", bound=Callable[[], Forecasts])
FORECASTERS: Registry[Callable[[], Forecasts]] = Registry(
    "forecaster", ["vdslib.forecasting.baselines", "vdslib.forecasting.classical"]
)


def register(name: str) -> Callable[[Made], Made]:
    """Decorator: a class with ``fit`` and ``forecast``, made without arguments, joins the tables as ``name``.

    Where a season is stated, a class that can be made with ``period`` (its rows, or None) is given it.
    A name that another module holds already is a RegistryError; the same module may register again, as a notebook's
    cell that runs twice does. A reader's own forecasters are in the files that the variable VDS_FORECASTERS names.
    """

    def keep(made: Made) -> Made:
        missing = [method for method in ("fit", "forecast") if not hasattr(made, method)]
        if missing:
            raise RegistryError(
                f"the forecaster {name!r} has no method {' and no '.join(missing)}: give it both"
            )
        FORECASTERS.add(name, made, made.__module__)
        return made

    return keep


@register("persistence")
class Persistence:
    """The last known value, for every step of the horizon."""

    horizon = 0

    def fit(self, windows: Windows) -> Self:
        self.horizon = windows.y.shape[1]
        return self

    def forecast(self, windows: Windows) -> np.ndarray:
        return np.repeat(np.asarray(windows.last, dtype=float)[:, None], self.horizon, axis=1)


@register("mean")
class TrainingMean:
    """The mean of each step's target over the training windows: a constant, blind to its input."""

    mean = np.empty(0)

    def fit(self, windows: Windows) -> Self:
        self.mean = windows.y.mean(axis=0)
        return self

    def forecast(self, windows: Windows) -> np.ndarray:
        return np.tile(self.mean, (len(windows), 1))


@register("seasonal naive")
class SeasonalNaive:
    """The value one season earlier, of the latest season that is known at that place; the last value if none is.

    The season, in rows, is found in the training windows (``find_period``) unless given. Windows that follow one
    another tell each other the past: asked for a few windows, it knows less than asked for all.
    """

    def __init__(self, period: int | None = None) -> None:
        self.fixed, self.period = period, period or 1

    def fit(self, windows: Windows) -> Self:
        self.history, self.horizon = Past(windows), windows.y.shape[1]
        self.period = self.fixed or find_period(windows)
        return self

    def forecast(self, windows: Windows) -> np.ndarray:
        known, rows = self.history.known_to(windows), self.history.rows(windows)
        result = np.empty((len(windows), self.horizon))
        for node, chosen in windows.by_node().items():
            for step in range(1, self.horizon + 1):
                place = rows[chosen] + step - self.period * -(-step // self.period)
                result[chosen, step - 1] = known[node].latest(place, self.period)
        return np.where(np.isnan(result), np.asarray(windows.last)[:, None], result)


@register("drift")
class Drift:
    """The last value, moved on along the line from the first value known of the node to the last one."""

    def fit(self, windows: Windows) -> Self:
        self.history, self.horizon = Past(windows), windows.y.shape[1]
        return self

    def forecast(self, windows: Windows) -> np.ndarray:
        known, rows = self.history.known_to(windows), self.history.rows(windows)
        slope = np.zeros(len(windows))
        for node, chosen in windows.by_node().items():
            passed = np.maximum(rows[chosen] - known[node].rows[0], 1)
            slope[chosen] = (windows.last[chosen] - known[node].values[0]) / passed
        return windows.last[:, None] + slope[:, None] * np.arange(1, self.horizon + 1)


@register("ridge")
class Ridge:
    """Linear regression with an L2 penalty on the last ``lags`` rows of all features, one output per step.

    A window shorter than ``lags`` is used whole; what is known in advance is used too.
    """

    def __init__(self, lags: int = 10, alpha: float = 1.0) -> None:
        from sklearn.linear_model import Ridge as _Ridge

        self.lags = lags
        self.model = _Ridge(alpha=alpha)

    def fit(self, windows: Windows, weights: np.ndarray | None = None) -> Self:
        """Learn from training windows, which count by ``weights`` [samples]."""
        self.model.fit(lagged(windows, self.lags), windows.y, weights)
        return self

    def forecast(self, windows: Windows) -> np.ndarray:
        return self.model.predict(lagged(windows, self.lags)).reshape(len(windows), -1)


def lagged(windows: Windows, lags: int) -> np.ndarray:
    """[samples, lags x features + ahead]: the last ``lags`` rows of each window side by side, and what is known in advance."""
    rows = windows.measured[:, -lags:, :].reshape(len(windows), -1)
    return np.hstack([rows, windows.known]) if windows.ahead else rows


@register("boosting")
class GradientBoosting:
    """Gradient boosted trees (scikit-learn's histogram kind) on the last ``lags`` rows of all features.

    One model of ``trees`` trees for each step of the horizon. With ``share`` below 1 each split chooses among that share
    of the inputs, drawn from ``seed``: so models of several seeds differ, and their forecasts can be averaged.
    """

    def __init__(self, lags: int = 10, trees: int = 100, share: float = 1.0, seed: int = 0) -> None:
        self.lags, self.settings = (
            lags,
            {"max_iter": trees, "max_features": float(share), "random_state": seed},
        )
        self.models: list[HistGradientBoostingRegressor] = []

    def fit(self, windows: Windows, weights: np.ndarray | None = None) -> Self:
        """Learn from training windows, which count by ``weights`` [samples]."""
        self.models = boosted(lagged(windows, self.lags), windows.y, weights, **self.settings)
        return self

    def forecast(self, windows: Windows) -> np.ndarray:
        x = lagged(windows, self.lags)
        return np.column_stack([model.predict(x) for model in self.models])


def boosted(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None, **settings: Any
) -> list[HistGradientBoostingRegressor]:
    """Boosted trees from ``x`` [samples, values] to each column of ``y``, small and slow to learn.

    No early stopping: its validation rows would be drawn at random, among their neighbours in time.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    # one thread: on a busy machine several wait for each other for minutes, and their sums differ in the last digits
    with threadpool_limits(1, user_api="openmp"):
        return [
            HistGradientBoostingRegressor(
                learning_rate=0.05, max_leaf_nodes=15, early_stopping=False, **{"random_state": 0} | settings
            ).fit(x, goal, weights)
            for goal in y.T
        ]


class Oracle:
    """Knows the answers. No forecaster: it shows what a table says of a perfect one, to check the table."""

    def fit(self, windows: Windows) -> Self:
        return self

    def forecast(self, windows: Windows) -> np.ndarray:
        return np.array(windows.y, dtype=float)
