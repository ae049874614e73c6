"""Is one forecaster really better than another, or was it luck? Tests and intervals by statsmodels and arch.

All work on a table of losses [times, models] (``losses``): one value for each moment and model, the mean over nodes,
seeds and steps, so that nodes that rise and fall together are not counted as independent evidence.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from vdslib.evaluation.measures import members, skill
from vdslib.forecasting import Forecasts, Windows, forecasts


def losses(
    models: Mapping[str, Forecasts | Sequence[Forecasts]],
    windows: Windows,
    step: int | None = None,
    power: int = 2,
) -> pd.DataFrame:
    """Losses ``|error| ** power`` of fitted forecasters: a row for each moment of ``windows``, a column for each model.

    Mean over nodes and seeds, and over the steps of the horizon unless ``step`` (1 .. H) picks one. A forecast that is
    not finite leaves its moment without a loss (NaN). ValueError for forecasts of another shape than the targets.
    """
    chosen = slice(None) if step is None else slice(step - 1, step)
    powers: dict[str, list[np.ndarray]] = {}
    for name, _, model in members(models):
        error = np.abs(forecasts(model, windows, name) - windows.y)[:, chosen]
        with np.errstate(over="ignore"):  # the loss of a forecaster that diverged may be infinite
            powers.setdefault(name, []).append((error**power).mean(axis=1))
    table = pd.DataFrame({name: np.mean(each, axis=0) for name, each in powers.items()})
    return table.groupby(pd.Index(windows.moments(), name="time")).mean(skipna=False)


class DieboldMariano(NamedTuple):
    """``statistic`` below 0 where the first has the lower losses; ``p_value`` one-sided, for that; the ``lags`` used."""

    statistic: float
    p_value: float
    lags: int


def diebold_mariano(
    first: ArrayLike, second: ArrayLike, horizon: int = 1, lags: int | None = None
) -> DieboldMariano:
    """Has ``first`` lower expected losses than ``second``? Both [samples], in time, losses of any kind.

    Diebold and Mariano's test by statsmodels, with the small-sample correction and Student's t of Harvey, Leybourne
    and Newbold (1997). ``lags`` of the Newey-West variance: ``horizon - 1`` cover the overlap of forecasts
    ``horizon`` steps ahead; the default is at least the cube root of the sample size, rounded down, since a
    forecaster that lacks something leaves longer traces in its errors. Equal losses give p = 1, losses that are not
    finite NaN.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.ndim != 1 or a.shape != b.shape or len(a) < 2 * horizon + 1:
        raise ValueError(
            f"need two series of losses of one length of at least {2 * horizon + 1}, not {a.shape} and {b.shape}"
        )
    used = max(horizon - 1, int(np.cbrt(len(a)))) if lags is None else lags
    if not np.isfinite([a, b]).all():
        return DieboldMariano(np.nan, np.nan, used)
    if np.ptp(a - b) == 0:
        p_value = 1.0 if a[0] >= b[0] else 0.0
        return DieboldMariano(0.0 if a[0] == b[0] else float(np.copysign(np.inf, a[0] - b[0])), p_value, used)
    from statsmodels.tsa.stattools import diebold_mariano_test

    result = diebold_mariano_test(
        np.zeros(len(a)), a, b, lags=used, criterion=lambda _, loss: loss, harvey_adj=True, horizon=horizon
    )
    half = float(result.pvalue) / 2
    return DieboldMariano(float(result.statistic), half if result.statistic < 0 else 1 - half, used)


def holm(p_values: ArrayLike) -> np.ndarray:
    """p-values [tests], adjusted by Holm's method for as many tests as there are (statsmodels)."""
    from statsmodels.stats.multitest import multipletests

    return multipletests(p_values, method="holm")[1]


def block_length(differences: ArrayLike, horizon: int = 1) -> int:
    """Mean block length for a stationary bootstrap (Politis and White, by arch), at least the horizon.

    ``differences`` are [origins]; the horizon where they are all the same, or not finite.
    """
    values = np.asarray(differences, dtype=float)
    if not np.isfinite(values).all() or np.ptp(values) == 0:
        return horizon
    from arch.bootstrap import optimal_block_length

    best = float(optimal_block_length(values)["stationary"].iloc[0])
    return max(horizon, min(round(best), len(values) // 2), 1)


def skill_interval(
    first: ArrayLike,
    reference: ArrayLike,
    horizon: int = 1,
    *,
    level: float = 0.95,
    repetitions: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """The interval of the skill 1 - mean(first) / mean(reference), by a stationary block bootstrap (arch).

    Losses of both are [origins]; NaN where they are not finite.
    """
    from arch.bootstrap import StationaryBootstrap

    a, b = np.asarray(first, dtype=float), np.asarray(reference, dtype=float)
    if not np.isfinite([a, b]).all():
        return np.nan, np.nan
    bootstrap = StationaryBootstrap(block_length(a - b, horizon), a, b, seed=seed)
    ends = bootstrap.conf_int(
        lambda x, y: np.array([skill(x.mean(), y.mean())]), reps=repetitions, method="percentile", size=level
    )
    return float(ends[0, 0]), float(ends[1, 0])


def model_confidence_set(
    table: pd.DataFrame, horizon: int = 1, *, size: float = 0.1, repetitions: int = 1000, seed: int = 0
) -> pd.Series:
    """The p-value of each model in the model confidence set (Hansen, Lunde and Nason 2011, by arch), by model.

    Models with a p-value above ``size`` form the set that holds the best one with probability 1 - ``size``. Of
    models with equal losses one stands for all; where one has no loss at all, the set is those. NaN for a model whose
    losses are not finite, as if it was not there.

    The logarithms of the mean losses are compared (by the delta method: losses as shares of their mean). The
    hypothesis is the same, but a model with a few enormous losses stands out by its factor, while on the plain scale
    its own spread hides it. The statistic is the largest distance from the mean of the set (T max): the range over all
    pairs drops too many models of autocorrelated losses.
    """
    from arch.bootstrap import MCS

    finite = [name for name in table if np.isfinite(table[name]).all()]
    unique = table[finite].T.drop_duplicates().T
    means = unique.mean()
    perfect = means == 0
    if perfect.any():
        p_values = perfect.astype(float)
    elif unique.shape[1] < 2:
        p_values = pd.Series(1.0, unique.columns)
    else:
        logarithms = unique / means + np.log(means) - 1
        block = max(block_length(logarithms[name] - logarithms.mean(axis=1), horizon) for name in unique)
        test = MCS(logarithms, size, reps=repetitions, block_size=block, method="max", seed=seed)
        test.compute()
        p_values = test.pvalues["Pvalue"]
    twin = [next((other for other in unique if (table[name] == unique[other]).all()), None) for name in table]
    return pd.Series(p_values.reindex(pd.Index(twin)).to_numpy(), table.columns)


def versus(
    table: pd.DataFrame,
    reference: str = "persistence",
    horizon: int = 1,
    *,
    size: float = 0.1,
    repetitions: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Every model of a table of ``losses`` against one of them; a row for each model, in the order of the table.

    Columns: loss, skill with its 95% interval (low, high), statistic and one-sided p of ``diebold_mariano``, the same
    p by Holm over all models, p of the model confidence set, and whether the model is in that set at ``size``: a p
    above it, and an interval that does not lie below 0, since what is worse than the reference is not the best (which
    costs the set at most 2.5 points of its confidence). The reference's own test is empty, and so are all columns of
    a model whose losses are not finite; it is not in the set. ``horizon``: the longest step in the losses.
    """
    if reference not in table:
        raise ValueError(
            f"no losses of {reference!r}, only of {', '.join(map(str, table))}: fit it beside the others"
        )
    means = {name: float(table[name].mean(skipna=False)) for name in table}
    rows = {}
    for name in table:
        ends = skill_interval(table[name], table[reference], horizon, repetitions=repetitions, seed=seed)
        row = {"loss": means[name], "skill": skill(means[name], means[reference])}
        row |= {"low": ends[0], "high": ends[1]}
        if name != reference:
            test = diebold_mariano(table[name], table[reference], horizon)
            row |= {"statistic": test.statistic, "p": test.p_value}
        rows[name] = row
    result = pd.DataFrame(rows, index=["loss", "skill", "low", "high", "statistic", "p"], dtype=float).T
    tested = result["p"].dropna()
    result["p holm"] = pd.Series(holm(tested) if len(tested) else [], tested.index, dtype=float)
    result["p of the set"] = model_confidence_set(
        table, horizon, size=size, repetitions=repetitions, seed=seed
    )
    together = (result["p of the set"] > size) & ~(result["high"] < 0)
    return result.assign(**{"in the set": together}).rename_axis("model")
