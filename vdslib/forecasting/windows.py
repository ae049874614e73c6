"""Windows, the samples of every forecaster, and what they know of themselves: their nodes, their steps in time.

Nodes are measured each at its own step and at moments of its own, seconds apart from those of others. What asks
for a step in time, for gaps, or whether two samples share rows, asks here, and is answered node by node.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from vdslib.forecasting.rhythms import Rhythm
from vdslib.telemetry import JITTER


@dataclass(frozen=True)
class Windows:
    """Samples for a forecaster. With t the last row of a sample's inputs:

    - ``x`` [samples, time steps, features]: scaled rows t-window+1 .. t; a read-only view of the scaled table
      while the samples follow one another (a gap or a second node in between makes it a copy)
    - ``y`` [samples, horizon]: the scaled target in rows t+1 .. t+horizon
    - ``times`` [samples]: time of row t+1 (UTC, datetime64)
    - ``node`` [samples]: name of the node
    - ``last`` [samples]: the scaled target in row t, the last one known
    - ``part``: training, validation or test; "resampled" after ``resample``; empty where it is not known
    - ``spacing``: the time from row to row of each node, by name; of a node that is not named the median step
      between its samples
    - ``ahead``: how many features, the last ones, are known in advance of the rows to forecast (time, plans); a sample's
      last row has all that is known of its own
    - ``rhythms``: the periods of those that are phases of the time
    """

    x: np.ndarray
    y: np.ndarray
    times: np.ndarray
    node: np.ndarray
    last: np.ndarray
    part: str = ""
    spacing: Mapping[Any, Any] = field(default_factory=dict, repr=False)
    ahead: int = 0
    rhythms: tuple[Rhythm, ...] = ()

    def __len__(self) -> int:
        return len(self.y)

    @property
    def span(self) -> int:
        """Rows that a sample holds: window + horizon."""
        return self.x.shape[1] + self.y.shape[1]

    @property
    def measured(self) -> np.ndarray:
        """[samples, time steps, features]: the inputs that were measured, without those known in advance."""
        return self.x[:, :, : self.x.shape[2] - self.ahead]

    @property
    def known(self) -> np.ndarray:
        """[samples, ahead]: what is known in advance of the rows to forecast."""
        return self.x[:, -1, self.x.shape[2] - self.ahead :]

    @property
    def flat(self) -> np.ndarray:
        """The inputs side by side, [samples, time steps x features]."""
        return np.asarray(self.x).reshape(len(self), -1)

    def take(self, index: np.ndarray | slice) -> Self:
        """The samples at ``index`` [chosen]; a run of consecutive ones stays a view."""
        chosen = as_slice(index) if isinstance(index, np.ndarray) else index
        return replace(
            self,
            x=self.x[chosen],
            y=self.y[chosen],
            times=self.times[chosen],
            node=self.node[chosen],
            last=self.last[chosen],
        )

    def step(self, h: int) -> Self:
        """The same samples with one target only, h steps ahead (1 .. horizon): y is [samples, 1]."""
        if not 1 <= h <= self.y.shape[1]:
            raise ValueError(f"step {h} lies outside the horizon of {self.y.shape[1]}")
        return replace(self, y=self.y[:, h - 1 : h])

    def by_node(self) -> dict[Any, np.ndarray]:
        """The samples of each node, as rising indices [samples]; nodes in the order of their first samples."""
        return groups(self.node)

    def steps(self) -> dict[Any, Any]:
        """The time from row to row of each node, by name."""
        parts = self.by_node()
        missing = {node: median_step(self.times[parts[node]]) for node in parts if node not in self.spacing}
        if any(step is None for step in missing.values()):
            # a node's only sample has nothing beside it; any step would do, that of all is the likeliest
            usual = median_step(self.times)
            unit = np.timedelta64(1, "s") if self.times.dtype.kind == "M" else 1
            missing = {
                node: (unit if usual is None else usual) if step is None else step
                for node, step in missing.items()
            }
        return {node: self.spacing[node] if node in self.spacing else missing[node] for node in parts}

    def moments(self) -> np.ndarray:
        """[samples]: their times, as if all nodes were measured at the same moments (``aligned``)."""
        return aligned(self.times, self.by_node(), self.steps())

    def ends(self) -> np.ndarray:
        """[samples]: from this moment on a sample shares no row with this one."""
        steps, result = self.steps(), self.moments()
        for node, chosen in self.by_node().items():
            result[chosen] += self.span * steps[node]
        return result


def groups(names: np.ndarray) -> dict[Any, np.ndarray]:
    """The places of each of ``names`` [rows], rising; in the order of their first places."""
    number, known = pd.factorize(names, use_na_sentinel=False)
    if len(known) == 1:
        return {known[0]: np.arange(len(names))}
    order = np.argsort(number, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(number, minlength=len(known)))[:-1])
    return dict(zip(known, parts, strict=True)) if len(known) else {}


def median_step(times: np.ndarray) -> Any:
    """The median time between one and the next of the ``times`` [rows] of one node; None if there is one only."""
    steps = np.diff(times)
    if not (steps > steps.dtype.type(0)).all():  # sorting takes longer
        moments = np.unique(times)
        steps = np.diff(moments[~np.isnat(moments)] if moments.dtype.kind == "M" else moments)
    if not len(steps):
        return None
    return steps[0] if (steps == steps[0]).all() else np.median(steps)  # a median takes longer


def aligned(times: np.ndarray, nodes: Mapping[Any, np.ndarray], steps: Mapping[Any, Any]) -> np.ndarray:
    """``times`` [rows], those of each node moved back, by less than a step, onto the moments of the first node measured.

    Nodes that are polled one after the other are measured in the same round: a cut in time comes between two rounds.
    """
    if len(nodes) < 2:
        return times.copy()
    result, start = times.copy(), _first(times)
    for node, rows in nodes.items():
        away = _first(times[rows]) - start
        if steps[node] is not None and not pd.isna(away):  # samples that were made up have no time
            result[rows] -= away - rounds(away, steps[node]) * steps[node]
    return result


def rounds(away: Any, step: Any) -> int:
    """Whole steps in a stretch of time; jitter makes it no shorter."""
    return int(np.floor(away / step + JITTER))


def _first(times: np.ndarray) -> Any:
    return np.fmin.reduce(times)  # without NaT, the time of samples that were made up


def breaks(times: np.ndarray, nodes: Mapping[Any, np.ndarray], steps: Mapping[Any, Any]) -> np.ndarray:
    """[rows]: True for each row that does not follow the row above it: another node begins, or a gap lies between.

    Of each node the rows rise in time. Whoever polls every five minutes is a second early or late at times, and no
    row is missing then.
    """
    result = np.ones(len(times), dtype=bool)
    for node, rows in nodes.items():
        uneven = np.abs(np.diff(times[rows]) - steps[node]) > JITTER * steps[node]
        result[rows[1:]] = uneven | (np.diff(rows) != 1)
    return result


def as_slice(index: np.ndarray) -> np.ndarray | slice:
    """A slice where the index [samples] counts up by one, since numpy copies for an index array and not for a slice."""
    if len(index) and index.dtype != bool and (np.diff(index) == 1).all():
        return slice(int(index[0]), int(index[-1]) + 1)
    return index
