"""Chapter 4.1: what a network has to know, and which architecture then does best, all at equal budget.

One trial is the notebook ``4-1-trial``: one forecaster on one telemetry, with or without the time, with or without the
level. ``make tables ONLY=hybrids`` sweeps over it by the plans in ``book/studies`` and writes ``data/hybrids.csv``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import monotonic
from typing import Any

import numpy as np

from vdslib import evaluation, sources
from vdslib.forecasting import (
    FORECASTERS,
    USAGES,
    Levelled,
    Persistence,
    Prepared,
    Ridge,
    TrainingMean,
    Windows,
    blocks,
    prepare,
    prepare_demand,
    smoothed,
    target_column,
)
from vdslib.networks import Anchored, Job, Settings, inner_tail, models, predict, training
from vdslib.telemetry import system_series


def data(
    telemetry: str = "recorded",
    *,
    window: int = 10,
    horizon: int = 30,
    rhythms: Sequence[int | float | str] = ("auto",),
    nodes: bool = False,
) -> Prepared:
    """The question of this chapter, ready for any forecaster: the target's own past, and the time by its
    ``rhythms``, as ``prepare`` takes them.

    Of telemetry with a demand that demand (``prepare_demand``), with ``nodes`` that of each node beside it; of other
    telemetry its default target.
    """
    frame = sources.read(telemetry)
    size: dict[str, Any] = {"window": window, "horizon": horizon, "rhythms": rhythms}
    if "demand" in frame:
        return prepare_demand(frame, by_node=nodes, **size)
    target = sources.default_target(frame)
    return prepare(system_series(frame), features=[target], target=target, **size)


def moved(windows: Windows, by: float) -> Windows:
    """The windows as they were if the target stood higher by ``by``, on its scale: another tenant came and stayed."""
    x = np.array(windows.x)
    x[:, :, target_column(windows)] += by
    return replace(windows, x=x, y=windows.y + by, last=windows.last + by)


def mean_error(model: Any, windows: Windows, places: Sequence[int]) -> float:
    """The MSE of a fitted forecaster over the steps at ``places``; one that forecasts these alone is taken as it is."""
    forecast = model.forecast(windows)
    if forecast.shape[1] == windows.y.shape[1]:
        forecast = forecast[:, list(places)]
    return evaluation.mse(windows.y[:, list(places)], forecast)


@dataclass
class Ensemble:
    """The mean forecast of networks from several ``seeds``, in the best of a few ways of training (``choices``).

    As the book's own forecaster does it, so that all have an equal budget: first the networks learn from the earlier
    training windows in each of the ways, and the last windows choose; then each learns from all windows but a block of
    its own, which says when to stop.
    """

    network: str
    choices: Sequence[Settings]
    seeds: Sequence[int] = (1, 2, 3, 4, 5)
    level: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    trained: list[Any] = field(default_factory=list)
    errors: dict[int, float] = field(default_factory=dict)  # of each choice on the last training windows

    def fit(self, windows: Windows) -> Ensemble:
        how = self.choices[0] if len(self.choices) == 1 else self._best(*inner_tail(windows))
        parts = zip(self.seeds, blocks(windows, len(self.seeds)), strict=True)
        self.trained = training.train(
            [self._job(windows.take(rest), windows.take(own), how, seed) for seed, (rest, own) in parts]
        )
        return self

    def _best(self, known: Windows, last: Windows) -> Settings:
        jobs = [self._job(known, last, how, seed) for how in self.choices for seed in self.seeds]
        forecasts = [predict(each.model, last) for each in training.train(jobs)]
        for number in range(len(self.choices)):
            own = forecasts[number * len(self.seeds) : (number + 1) * len(self.seeds)]
            self.errors[number] = evaluation.mse(last.y, np.mean(own, axis=0))
        return self.choices[min(self.errors, key=lambda number: self.errors[number])]

    def _job(self, part: Windows, watched: Windows, how: Settings, seed: int) -> Job:
        design = {**models.design(part), "dropout": 0.0, **self.options}

        def build(seed: int) -> Any:
            return models.build(self.network, **design, level=self.level, seed=seed)

        return Job(build, part, watched, how, seed)

    def members(self, windows: Windows) -> list[np.ndarray]:
        """The forecasts [samples, horizon] of each network."""
        return [predict(each.model, windows) for each in self.trained]

    def forecast(self, windows: Windows) -> np.ndarray:
        return np.mean(self.members(windows), axis=0)


@dataclass
class Tuned:
    """The mean forecast over ``seeds`` of what the best of a few ``choices`` makes; the last training windows choose."""

    choices: Sequence[Callable[[int], Any]]
    seeds: Sequence[int] = (1,)
    fitted: list[Any] = field(default_factory=list)
    errors: dict[int, float] = field(default_factory=dict)  # of each choice on the last training windows

    def fit(self, windows: Windows) -> Tuned:
        known, last = inner_tail(windows)
        for number, make in enumerate(self.choices if len(self.choices) > 1 else ()):
            self.errors[number] = evaluation.mse(last.y, make(self.seeds[0]).fit(known).forecast(last))
        best = self.choices[min(self.errors, key=lambda number: self.errors[number], default=0)]
        self.fitted = [best(seed).fit(windows) for seed in self.seeds]
        return self

    def members(self, windows: Windows) -> list[np.ndarray]:
        """The forecasts [samples, horizon] of each."""
        return [each.forecast(windows) for each in self.fitted]

    def forecast(self, windows: Windows) -> np.ndarray:
        return np.mean(self.members(windows), axis=0)


def forecaster(
    name: str,
    *,
    lags: int,
    level: str = "",
    units: Sequence[int] = (32,),
    choices: Sequence[Settings] = (Settings(),),
    seeds: Sequence[int] = (1, 2, 3, 4, 5),
) -> Any:
    """A forecaster of the study by name: ridge, boosting, or a registered network. Ridge and boosting try as many settings
    as a network has ``choices``, at most two."""

    tries = len(choices)
    if name == "ridge":
        return Tuned([partial(_ridge, lags, level, alpha) for alpha in (1.0, 100.0)[:tries]])
    if name == "boosting":
        return Tuned([partial(_boosting, lags, level, trees) for trees in (100, 200)[:tries]], seeds)
    if name == "anchored":
        return Anchored(seeds, settings=choices[-1])
    return Ensemble(name, choices, seeds, level, {"units": list(units)})


def _ridge(lags: int, level: str, alpha: float, _: int) -> Any:
    return _levelled(Ridge(lags, alpha), level)


def _boosting(lags: int, level: str, trees: int, seed: int) -> Any:
    kind: Any = FORECASTERS.get("boosting")
    return _levelled(kind(lags, trees, 0.5, seed), level)


def _levelled(model: Any, level: str) -> Any:
    return Levelled(model, level) if level else model  # type: ignore[arg-type]


def judged(model: Any, prepared: Prepared, steps: Sequence[int], network: bool) -> dict[str, Any]:
    """What a trial records, lists by step: the MSE of the mean forecast and of each seed's, of persistence and of the
    training mean, the losses of each test window; the MSE on the last training windows, by which the settings were chosen; and what was spent: parameters, seconds, windows.

    Networks forecast the whole horizon at once, others only ``steps``.
    """
    chosen = [step - 1 for step in steps]
    parts = {name: getattr(prepared, name) for name in ("train_full", "test")}
    few = {name: replace(part, y=part.y[:, chosen]) for name, part in parts.items()}
    start = monotonic()
    model.fit((parts if network else few)["train_full"])
    seconds = monotonic() - start
    goal = few["test"].y
    members = np.array(model.members(parts["test"] if network else few["test"]))
    members = members[:, :, chosen] if network else members
    losses = (members.mean(axis=0) - goal) ** 2

    def errors(simple: Any) -> list[float]:
        return ((simple.fit(few["train_full"]).forecast(few["test"]) - goal) ** 2).mean(axis=0).tolist()

    return {
        "mse": losses.mean(axis=0).tolist(),
        "seeds": ((members - goal) ** 2).mean(axis=1).tolist(),
        "persistence": errors(Persistence()),
        "mean": errors(TrainingMean()),
        "validation": min(model.errors.values(), default=float("nan")),
        "losses": np.round(losses, 7).T.tolist(),
        "parameters": int(model.trained[0].model.count_params()) if network else 0,
        "windows": len(parts["train_full"]),
        "seconds": seconds,
    }


def five_targets(how: Settings, seeds: Sequence[int] = (1, 2, 3, 4, 5)) -> list[dict[str, Any]]:
    """One network for demand and the four usages of the recording against one for each; a row for each target and step.

    All see the same windows of all five. As rows of the study's table (``hybrids_study.read_table``).
    """
    columns = ["demand", *USAGES]
    system = system_series(sources.read("recorded"))
    for column in columns:
        system = smoothed(system, column)
    parts = {
        target: prepare(system, features=columns, target=target, window=10, horizon=30, rhythms="auto")
        for target in columns
    }
    first = parts["demand"]
    goals = np.hstack([part.train_full.y for part in parts.values()])
    joint = _trained_on(replace(first.train_full, y=goals), first.test, how, seeds)
    rows = []
    for place, (target, part) in enumerate(parts.items()):
        alone = _trained_on(part.train_full, part.test, how, seeds)
        own = slice(place * 30, (place + 1) * 30)
        rows += _task_rows(target, part, 1, alone) + _task_rows(
            target, part, 5, {**joint, "members": joint["members"][:, :, own]}
        )
    return [{**row, "trials": 1, "epochs": how.epochs} for row in rows]


def _trained_on(train: Windows, test: Windows, how: Settings, seeds: Sequence[int]) -> dict[str, Any]:
    """The forecasts of LSTMs [seeds, samples, outputs] for ``test``, their size, and the seconds of training."""
    start = monotonic()
    model = Ensemble("lstm", [how], seeds, options={"units": [32]}).fit(train)
    seconds = monotonic() - start
    size = model.trained[0].model.count_params()
    return {"members": np.array(model.members(test)), "parameters": size, "seconds": seconds}


def _task_rows(target: str, part: Prepared, tasks: int, done: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of one target, forecast by a network of so many ``tasks``."""
    setting = {
        "telemetry": "recorded",
        "target": target,
        "network": "lstm",
        "units": "32",
        "time": True,
        "level": "",
    }
    spent = {"windows": len(part.train_full), "parameters": done["parameters"], "seconds": done["seconds"]}
    rivals: dict[str, Any] = {"persistence": Persistence(), "mean": TrainingMean()}
    simple = {name: rival.fit(part.train_full).forecast(part.test) for name, rival in rivals.items()}
    rows = []
    for step in (1, 5, 15, 30):
        goal = part.test.y[:, step - 1]
        errors = np.mean((done["members"][:, :, step - 1] - goal) ** 2, axis=1)
        rows.append(
            {
                **setting,
                "nodes": False,
                "tasks": tasks,
                "step": step,
                "mse": float(np.mean((done["members"][:, :, step - 1].mean(axis=0) - goal) ** 2)),
                **{f"seed_{n}": error for n, error in enumerate(errors, start=1)},
                **{name: float(np.mean((each[:, step - 1] - goal) ** 2)) for name, each in simple.items()},
                **spent,
            }
        )
    return rows
