"""Chapter 4.1: what a network has to know, and which architecture then does best, all at equal budget.

One trial is the notebook ``4-1-trial``: one forecaster on one telemetry, with or without the time, with or without the
level. ``make tables ONLY=hybrids`` sweeps over it by the plans in ``book/studies`` and writes ``data/hybrids.csv``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from vdslib import evaluation, sources
from vdslib.forecasting import (
    FORECASTERS,
    Averaged,
    Forecasts,
    Levelled,
    Persistence,
    Prepared,
    TrainingMean,
    Windows,
    blocks,
    prepare,
    smoothed,
)
from vdslib.networks import Anchored, Job, Settings, inner_tail, models, predict, training
from vdslib.telemetry import system_series

SPAN = (
    "5s"  # over which the recording's demand is averaged: what a node has to serve, not one second's chance
)
SIMPLE = ("persistence", "mean")
ADVANCED = ("ridge", "boosting")  # they learn, but are no networks


def data(
    telemetry: str = "recorded",
    *,
    window: int = 10,
    horizon: int = 30,
    time: bool = True,
    nodes: bool = False,
    frame: pd.DataFrame | None = None,
) -> Prepared:
    """The question of this chapter, ready for any forecaster: the target's own past, and the time if asked.

    Of the recording the demand of all nodes, averaged over ``SPAN``; of other telemetry its default target. With
    ``nodes`` the share of the demand that each node had is a further column for each. ``frame`` is telemetry that was read already.
    """
    frame = sources.read(telemetry) if frame is None else frame
    features = []
    if "demand" in frame:
        target, system = "demand", smoothed(system_series(frame), span=SPAN)
        if nodes:
            beside = by_node(frame, target)
            features, system = list(beside.columns[1:]), system.merge(beside, on="timestamp")
    else:
        target, system = sources.default_target(frame), system_series(frame)
    return prepare(
        system,
        features=[target, *features],
        target=target,
        window=window,
        horizon=horizon,
        rhythms="auto" if time else (),
    )


def by_node(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """The times, and a column for each node: its own values of ``column``, averaged over ``SPAN``."""
    own = smoothed(frame, column, SPAN)
    wide = own.pivot(index="timestamp", columns="node", values=column)
    return wide.add_prefix(f"{column} of ").rename_axis(columns=None).reset_index()


@dataclass
class Chosen:
    """The mean forecast of networks from several ``seeds``, in the best of a few ways of training (``choices``).

    As the book's own forecaster does it, so that all have an equal budget: first networks from two seeds learn from the
    earlier training windows in each of the ways, and the last windows choose; then each seed's network learns from all
    windows but a block of its own, which says when to stop.
    """

    network: str
    choices: Sequence[Settings]
    seeds: Sequence[int] = (1, 2, 3, 4, 5)
    level: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    trained: list[Any] = field(default_factory=list)
    chosen: int = 0

    def fit(self, windows: Windows) -> Chosen:
        known, last = inner_tail(windows)
        jobs = [self._job(known, last, how, seed) for how in self.choices for seed in self.seeds[:2]]
        errors = [training.losses(each.model, last)[0] for each in training.train(jobs)]
        means = np.reshape(errors, (len(self.choices), -1)).mean(axis=1)
        self.chosen = int(np.nanargmin(means))
        how, parts = self.choices[self.chosen], blocks(windows, len(self.seeds))
        self.trained = training.train(
            [
                self._job(windows.take(others), windows.take(own), how, seed)
                for seed, (others, own) in zip(self.seeds, parts, strict=True)
            ]
        )
        return self

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


class _Boosting:
    """Boosted trees averaged over ``seeds``, with as many trees as the last training windows choose."""

    def __init__(
        self, seeds: Sequence[int], level: bool, lags: int, trees: Sequence[int] = (100, 200)
    ) -> None:
        self.seeds, self.level, self.lags, self.trees = seeds, level, lags, trees
        self.kept: list[Any] = []

    def _made(self, trees: int) -> list[Any]:
        kind: Any = FORECASTERS.get("boosting")
        made = [kind(self.lags, trees, share=0.5, seed=seed) for seed in self.seeds]
        return [Levelled(each) for each in made] if self.level else made

    def fit(self, windows: Windows) -> _Boosting:
        known, last = inner_tail(windows)
        errors = [
            evaluation.mse(last.y, self._made(trees)[0].fit(known).forecast(last)) for trees in self.trees
        ]
        self.kept = [each.fit(windows) for each in self._made(self.trees[int(np.argmin(errors))])]
        return self

    def members(self, windows: Windows) -> list[np.ndarray]:
        return [each.forecast(windows) for each in self.kept]

    def forecast(self, windows: Windows) -> np.ndarray:
        return np.mean(self.members(windows), axis=0)
