"""Forget the level: each window without its own level and, if asked, its own spread; undone in the forecast.

A machine whose load moves to another level shows a model values that it never met. Seen from its last value, or its
mean, a window looks the same at every level (Kim et al. 2022 call it reversible instance normalisation).
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np

from vdslib.forecasting.baselines import Forecasts
from vdslib.forecasting.past import target_column
from vdslib.forecasting.windows import Windows

FLOOR = 1e-6  # the least spread that is divided by, on the scale 0 .. 1: less is rounding


@dataclass(frozen=True)
class Level:
    """What was taken out of windows: ``level`` and ``spread`` of the target in each, [samples, 1]."""

    level: np.ndarray
    spread: np.ndarray

    def back(self, forecast: np.ndarray) -> np.ndarray:
        """Forecasts [samples, horizon] with the level of their windows; of a flat window its own value."""
        return self.level + self.spread * forecast


def without_level(
    windows: Windows, level: Literal["last", "mean"] = "last", spread: bool = False
) -> tuple[Windows, Level]:
    """The windows without their level, and what was taken out; what is known in advance stays as it is.

    From each measured feature its last value in the window, or its mean there, is subtracted; with ``spread`` it is
    divided by its standard deviation in the window too. The targets are treated like the target's own past. ValueError
    for a mean or a spread where the target is not among the features, so that its past is not known.
    """
    if level not in ("last", "mean"):
        raise ValueError(f"level must be 'last' or 'mean', not {level!r}")
    column = target_column(windows)
    if column is None and (spread or level == "mean"):
        raise ValueError(
            "the target must be among the features: its mean and its spread are those of its past"
        )
    x = np.array(windows.x, dtype=float)
    rows = x[:, :, : x.shape[2] - windows.ahead]
    scale = rows.std(axis=1, keepdims=True) if spread else np.ones_like(rows[:, :1])
    centre = rows[:, -1:].copy() if level == "last" else rows.mean(axis=1, keepdims=True)
    rows -= centre
    rows /= np.maximum(scale, FLOOR)
    if column is None:
        own = Level(np.asarray(windows.last, dtype=float)[:, None], np.ones((len(windows), 1)))
    else:
        own = Level(centre[:, :, column], scale[:, :, column])
    divided = np.maximum(own.spread, FLOOR)
    y, last = (windows.y - own.level) / divided, (windows.last - own.level[:, 0]) / divided[:, 0]
    return replace(windows, x=x, y=y, last=last), own


class Levelled:
    """A forecaster that sees windows ``without_level``: ridge, boosting, or any other with ``fit`` and ``forecast``.

    With ``spread`` the forecaster's ``fit`` takes ``weights`` [samples], the squared spreads: the error that it makes
    small is then that in the target's unit, and flat windows do not count.
    """

    def __init__(self, model: Any, level: Literal["last", "mean"] = "last", spread: bool = False) -> None:
        self.model: Any = model
        self.level: Literal["last", "mean"] = level
        self.spread = spread

    def fit(self, windows: Windows) -> Self:
        relative, own = without_level(windows, self.level, self.spread)
        if self.spread:
            some = np.flatnonzero(own.spread[:, 0] > FLOOR)
            if not len(some):
                raise ValueError("all training windows are flat: there is no spread to divide by")
            self.model.fit(relative.take(some), weights=own.spread[some, 0] ** 2)
        else:
            self.model.fit(relative)
        return self

    def forecast(self, windows: Windows) -> np.ndarray:
        relative, own = without_level(windows, self.level, self.spread)
        return own.back(self.model.forecast(relative))


class Averaged:
    """The mean forecast of several forecasters: of one kind from different seeds, or of different kinds."""

    def __init__(self, models: list[Forecasts]) -> None:
        self.models = models

    def fit(self, windows: Windows) -> Self:
        for model in self.models:
            model.fit(windows)
        return self

    def forecast(self, windows: Windows) -> np.ndarray:
        return np.mean([model.forecast(windows) for model in self.models], axis=0)
