"""The same forecasters on many machines: each learns from a machine's own past, and is judged on it and on the others.

All see the same: the last rows of the processor's usage, and the day and week of the time that is forecast.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from vdslib.chapters.generalisation import HORIZON, MODELS, MONTH, WINDOW, rows
from vdslib.evaluation import in_stretches, mse, over_time
from vdslib.forecasting import (
    FORECASTERS,
    USAGES,
    Averaged,
    Forecasts,
    Levelled,
    Persistence,
    Prepared,
    Ridge,
    TrainingMean,
    Windows,
    prepare,
)
from vdslib.networks import Anchored, Job, Settings, models, predict, training
from vdslib.sources import read

SETTINGS = Settings(learning_rate=0.003, epochs=40, batch_size=64, patience=5)
PAPER = Settings(epochs=20, patience=3)  # of the network that is trained as the paper says, one step ahead


@dataclass(frozen=True)
class Plan:
    """What is asked of all forecasters, and how networks are trained."""

    month: str = MONTH
    window: int = WINDOW
    horizon: int = HORIZON
    seeds: Sequence[int] = (1, 2, 3, 4, 5)
    settings: Settings = field(default_factory=lambda: SETTINGS)
    every: int = 3  # only each so many-th window is learnt from: neighbours differ by one row

    def learnt(self, data: Prepared) -> Windows:
        """The windows that all forecasters of a machine learn from."""
        return data.train_full.take(slice(None, None, self.every))

    @property
    def steps(self) -> list[int]:
        """The steps ahead at which forecasters are judged."""
        return sorted({1, self.horizon})

    def frame(self, name: str) -> pd.DataFrame:
        """The telemetry of one machine."""
        return read(f"bitbrains:{self.month}/{name}")

    def prepared(self, name: str, **options: Any) -> Prepared:
        """The windows of one machine, on its own scale."""
        asked = {"window": self.window, "horizon": self.horizon, "rhythms": "auto", **options}
        return prepare(self.frame(name), features=["cpu_usage"], target="cpu_usage", **asked)


class Textbook:
    """The mean forecast of the paper's networks from several seeds; the last fifth of their windows tells when to stop."""

    def __init__(self, seeds: Sequence[int], settings: Settings = SETTINGS) -> None:
        self.seeds, self.settings = list(seeds), settings
        self.networks: list[Any] = []

    def fit(self, windows: Windows) -> Self:
        design = models.design(windows)
        known, watched = training.inner_tail(windows)

        def build(seed: int) -> Any:
            return models.build("textbook", **design, seed=seed)

        jobs = [Job(build, known, watched, self.settings, seed) for seed in self.seeds]
        self.networks = [each.model for each in training.train(jobs)]
        return self

    def members(self, windows: Windows) -> list[np.ndarray]:
        """The forecasts [samples, horizon] of each network."""
        return [predict(network, windows) for network in self.networks]

    def forecast(self, windows: Windows) -> np.ndarray:
        return np.mean(self.members(windows), axis=0)


class Stepwise:
    """A forecaster of a few steps of the horizon alone; the others are NaN. For models that learn each step by itself."""

    def __init__(self, model: Forecasts, steps: Sequence[int]) -> None:
        self.model, self.places = model, np.asarray(steps) - 1

    def fit(self, windows: Windows) -> Self:
        self.model.fit(replace(windows, y=windows.y[:, self.places]))
        return self

    def forecast(self, windows: Windows) -> np.ndarray:
        result = np.full(windows.y.shape, np.nan)
        result[:, self.places] = self.model.forecast(replace(windows, y=windows.y[:, self.places]))
        return result


def forecasters(plan: Plan) -> dict[str, Any]:
    """Those that are compared, by name: the simple ones, boosting averaged over seeds, both networks."""
    boosting: Any = FORECASTERS.get("boosting")

    def boosted(seed: int) -> Any:
        return boosting(lags=plan.window, share=0.5, seed=seed)

    made = [
        Persistence(),
        TrainingMean(),
        Ridge(lags=plan.window),
        Stepwise(Averaged([boosted(seed) for seed in plan.seeds]), plan.steps),
        Stepwise(Averaged([Levelled(boosted(seed)) for seed in plan.seeds]), plan.steps),
        Textbook(plan.seeds, plan.settings),
        Anchored(plan.seeds, settings=plan.settings),
    ]
    return dict(zip(MODELS, made, strict=True))


def days(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Rows of the table: quantiles of the usage on each day of the month (UTC)."""
    usage = frame.groupby(frame["timestamp"].dt.date)["cpu_usage"]
    levels = {"low": 0.1, "median": 0.5, "high": 0.9}
    return pd.concat(
        rows("days", {(name, "", 0, day): value for day, value in usage.quantile(level).items()}, quantity)
        for quantity, level in levels.items()
    )


def own(plan: Plan, name: str, data: Prepared, fitted: Mapping[str, Any]) -> pd.DataFrame:
    """Rows of the table: errors of fitted forecasters on the test part, of their mean forecast and of each seed; ratios
    to the rivals with their intervals over time; the span of the past in points of usage."""
    test = data.test
    forecasts = {model: each.forecast(test) for model, each in fitted.items()}
    errors: dict[tuple[str, str, int, int], float] = {}
    ratios: list[pd.DataFrame] = []
    for step in plan.steps:
        losses = {model: (each - test.y)[:, step - 1] ** 2 for model, each in forecasts.items()}
        errors |= {(name, model, 0, step): loss.mean() for model, loss in losses.items()}
        for model in ("textbook", "anchored"):
            for seed, each in zip(plan.seeds, fitted[model].members(test), strict=True):
                errors[name, model, seed, step] = float(np.mean((each - test.y)[:, step - 1] ** 2))
            for rival in MODELS if model == "anchored" else ("persistence",):
                if rival != model:
                    ratios.append(_against(rival, (name, model, 0, step), losses[model], losses[rival]))
    span = float(np.diff(data.to_units(np.array([0.0, 1.0])))[0])
    moved = (test.y[:, 0].mean() - data.train_full.y[:, 0].mean()) / data.train_full.y[:, 0].std()
    facts = [
        rows("own", {(name, "", 0, ""): value}, quantity)
        for quantity, value in (("span", span), ("moved", moved))
    ]
    return pd.concat([rows("own", errors), *ratios, *facts])


def _against(rival: str, key: tuple[object, ...], own: np.ndarray, others: np.ndarray) -> pd.DataFrame:
    """Rows of the table: the ratio of mean losses [samples, in time] to a rival's, with its interval over time."""
    ratio = over_time(lambda a, b: a / b, in_stretches(own), in_stretches(others))
    ends = dict(zip(("ratio", "low", "high"), ratio, strict=True))
    return pd.concat(rows("own", {key: value}, f"{end} against {rival}") for end, value in ends.items())


def elsewhere(
    plan: Plan, learnt: str, fitted: Mapping[str, Any], tests: Mapping[str, Windows]
) -> pd.DataFrame:
    """Rows of the table: error over persistence of networks that learnt from one machine, on the test parts of all."""
    ratios = {
        (name, model, 0, learnt): relative(fitted[model].forecast(test), test)
        for name, test in tests.items()
        for model in ("textbook", "anchored")
    }
    return rows("matrix", ratios, "relative")


def relative(forecast: np.ndarray, test: Windows, step: int = 0) -> float:
    """The mean squared error of a forecast over that of persistence, at one step ahead (0: the last one)."""
    return mse(test.y[:, step - 1], forecast[:, step - 1]) / mse(test.y[:, step - 1], test.last)


def as_the_paper(plan: Plan, names: Sequence[str], seeds: Sequence[int] = (1, 2, 3)) -> pd.DataFrame:
    """Rows of the table: one step ahead from the last ten rows of all four usages, without the time, as in chapter 3.3:
    the network ``textbook`` by seed, persistence, mean and ridge."""
    parts = {
        name: prepare(plan.frame(name), features=USAGES, target="cpu_usage", window=10, horizon=1)
        for name in names
    }

    def build(seed: int) -> Any:
        return models.build("textbook", window=10, features=len(USAGES), outputs=1, seed=seed)

    jobs = [
        Job(build, data.train, data.validation, PAPER, seed, name)
        for name, data in parts.items()
        for seed in seeds
    ]
    errors: dict[tuple[object, ...], float] = {}
    for job, trained in zip(jobs, training.train(jobs), strict=True):
        errors[job.name, "lstm", job.seed, 1] = training.losses(trained.model, parts[job.name].test)[0]
    for name, data in parts.items():
        simple: dict[str, Forecasts] = {
            "persistence": Persistence(),
            "mean": TrainingMean(),
            "ridge": Ridge(lags=10),
        }
        for model, each in simple.items():
            errors[name, model, 0, 1] = mse(data.test.y, each.fit(data.train_full).forecast(data.test))
    return rows("paper", errors)
