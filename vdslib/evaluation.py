"""How good a forecast is, and what a pair of loss curves says.

Errors are on the scale of their arguments: scaled data give the paper's MSE on the min-max scale (section
3.2), data passed through ``Prepared.to_units`` give the target's unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from vdslib.baselines import Forecasts, Persistence, Ridge, TrainingMean
from vdslib.preparation import USAGES, Windows, prepare

__all__ = [
    "Reading",
    "Shift",
    "bounds",
    "compare",
    "gap_reduction",
    "mae",
    "mse",
    "overfitting_gap",
    "predictability",
    "reading_of_curves",
    "rmse",
    "shift_test",
    "skill",
    "summary",
]

Reading = Literal["overfitting", "underfitting", "good", "unclear"]
OVERLOAD = 80.0  # percent of the due work done in time, below which the system counts as overloaded
SERVED = 95.0  # percent from which it counts as well served


def _difference(y_true: ArrayLike, y_pred: ArrayLike) -> np.ndarray:
    true, predicted = np.asarray(y_true, dtype=float), np.asarray(y_pred, dtype=float)
    if true.shape != predicted.shape or not true.size:
        # Broadcasting [n, 1] against [n] or [n, 3] would give a number, and a wrong one.
        raise ValueError(f"shapes must be equal and not empty: {true.shape} and {predicted.shape}")
    return predicted - true


def mse(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Mean squared error over all samples and steps: mean of (y_pred - y_true)^2 (section 3.2).

    Both arguments have one shape, [samples, horizon] for instance; ValueError otherwise.
    """
    return float(np.mean(_difference(y_true, y_pred) ** 2))


def mae(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Mean absolute error: mean of |y_pred - y_true|, shapes as for ``mse``."""
    return float(np.mean(np.abs(_difference(y_true, y_pred))))


def rmse(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Square root of the MSE, in the unit of the arguments."""
    return mse(y_true, y_pred) ** 0.5


def skill(error: float, reference_error: float) -> float:
    """1 - error / reference_error: 1 perfect, 0 like the reference, below 0 worse; NaN if it has no error."""
    return 1 - error / reference_error if reference_error > 0 else float("nan")


class Shift(NamedTuple):
    """``best`` is the k of the least of ``errors``, the MSE of y_pred(t) and y_true(t-k) for k = 0, 1, .."""

    best: int
    errors: np.ndarray


def shift_test(y_true: ArrayLike, y_pred: ArrayLike, max_shift: int = 10) -> Shift:
    """Does a forecast merely repeat the past? Both arguments [samples], consecutive in time.

    A forecaster h steps ahead whose best shift is h returns the last known value. Every shift is judged on
    the same forecasts, those from sample ``max_shift`` on. (On a random walk that shift is right: read it
    together with skill.)
    """
    true, predicted = np.asarray(y_true, dtype=float), np.asarray(y_pred, dtype=float)
    if true.ndim != 1 or true.shape != predicted.shape or len(true) <= max_shift:
        raise ValueError(
            f"need two series of one length above {max_shift}, not {true.shape} and {predicted.shape}"
        )
    late = predicted[max_shift:]
    errors = np.array([mse(true[max_shift - k : len(true) - k], late) for k in range(max_shift + 1)])
    return Shift(int(errors.argmin()), errors)


def overfitting_gap(train_loss: float, val_loss: float) -> float:
    """Validation minus training loss, both with dropout off, at the weights that would be used."""
    return float(val_loss) - float(train_loss)


def gap_reduction(unguarded: float, guarded: float) -> float:
    """Share by which guards reduce the overfitting gap; NaN where the unguarded gap is not positive.

    The paper (section 1.3) aims at 0.15 or more; where there is nothing to reduce, that cannot be tested.
    """
    return 1 - guarded / unguarded if unguarded > 0 else float("nan")


def reading_of_curves(
    train: Sequence[float],
    val: Sequence[float],
    *,
    reference: float | None = None,
    tolerance: float = 0.05,
    steep: float = 0.10,
) -> Reading:
    """Read a pair of loss curves, one value per epoch, by the paper's rule (section 3.2), made precise.

    Both curves are smoothed by a centred moving mean over 5 epochs, shorter at the ends. Then, in this order:

    overfitting   the validation loss ends above its minimum by more than ``tolerance`` of the minimum, and by
                  more than three standard errors of its own jitter, while the training loss fell on
    underfitting  over the last third of the epochs both losses fall by more than ``steep`` of their value,
                  or the validation loss ends no lower than ``reference`` (the loss of a constant, if given)
    good          both losses end lower than they began; the validation loss is then steady or slowly falling
    unclear       anything else: fewer than 6 epochs, a loss that is not finite, or curves that do not fall
    """
    curves = np.array([train, val], dtype=float)
    if curves.shape[1] < 6 or not np.isfinite(curves).all():
        return "unclear"
    smooth = np.array([_smoothed(curve) for curve in curves])
    tiny = np.finfo(float).tiny

    lowest = int(smooth[1].argmin())
    rise = smooth[1, -1] - smooth[1, lowest]
    jitter = 3 * np.std(curves[1] - smooth[1]) / np.sqrt(5)
    if rise > max(tolerance * smooth[1, lowest], jitter) and smooth[0, -1] < smooth[0, lowest]:
        return "overfitting"

    tail = curves.shape[1] - max(3, curves.shape[1] // 3)
    falls = 1 - smooth[:, -1] / np.maximum(smooth[:, tail], tiny)
    if (falls > steep).all() or (reference is not None and smooth[1, -1] >= reference):
        return "underfitting"
    return "good" if (smooth[:, -1] < smooth[:, 0]).all() else "unclear"


def _smoothed(curve: np.ndarray, width: int = 5) -> np.ndarray:
    weight = np.ones(width)
    return np.convolve(curve, weight, mode="same") / np.convolve(np.ones_like(curve), weight, mode="same")


def compare(models: Mapping[str, Forecasts | Sequence[Forecasts]], windows: Windows) -> pd.DataFrame:
    """Errors of fitted models on the same windows, tidy: model, seed, metric, value.

    A sequence of models is one model under several seeds (their ``seed`` if they have one, else their
    position). Metrics: mse, mae, rmse on the scale of ``windows``, and skill (of the MSE, against
    persistence).
    """
    reference = mse(windows.y, Persistence().fit(windows).forecast(windows))
    rows = []
    for name, given in models.items():
        for position, model in enumerate(given if isinstance(given, Sequence) else [given]):
            forecast = model.forecast(windows)
            error = mse(windows.y, forecast)
            values = {
                "mse": error,
                "mae": mae(windows.y, forecast),
                "rmse": error**0.5,
                "skill": skill(error, reference),
            }
            seed = getattr(model, "seed", position)
            rows += [(name, seed, metric, value) for metric, value in values.items()]
    return pd.DataFrame(rows, columns=["model", "seed", "metric", "value"])


def summary(comparison: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread over seeds of a table by ``compare``: a row per model, each metric, its spread.

    The spread is the sample standard deviation, empty where there is one seed only.
    """
    groups = comparison.groupby(["model", "metric"], sort=False)["value"]
    mean, spread = groups.mean().unstack(), groups.std().unstack()
    order = list(dict.fromkeys(comparison["metric"]))
    table = pd.concat([mean[order], spread[order].add_suffix(" spread")], axis=1)
    return table.loc[list(dict.fromkeys(comparison["model"]))].rename_axis(columns=None)


def predictability(
    series: pd.DataFrame,
    targets: Sequence[str] = ("system_productivity", "cpu_usage"),
    horizons: Sequence[int] = (1, 10),
    *,
    lags: int = 10,
    test: float = 0.2,
) -> pd.DataFrame:
    """Is there anything to learn? MSE of persistence, mean and ridge on the last share ``test`` of a series.

    Ridge (alpha 1) sees ``lags`` rows of the four usages and the productivity, as far as the series has them
    (of the target, where it has none), and forecasts exactly h steps ahead. Data are scaled to 0 .. 1 on the rows before the test part. One row
    per target and horizon: the three MSEs, ridge's gains (1 - MSE ratio) over persistence and over the mean,
    number of windows.
    """
    features = [name for name in (*USAGES, "system_productivity") if name in series]
    rows = []
    for target in targets:
        for horizon in horizons:
            parts = prepare(
                series,
                features=features or [target],
                target=target,
                window=lags,
                horizon=horizon,
                test=test,
                validation=0,
            )
            known, unseen = parts.train_full.step(horizon), parts.test.step(horizon)
            models: tuple[Forecasts, ...] = (Persistence(), TrainingMean(), Ridge(lags))
            errors = [mse(unseen.y, model.fit(known).forecast(unseen)) for model in models]
            gains = [skill(errors[2], other) for other in errors[:2]]
            rows.append((target, horizon, *errors, *gains, len(unseen)))
    names = [
        "target",
        "horizon",
        "persistence",
        "mean",
        "ridge",
        "gain over persistence",
        "gain over mean",
        "windows",
    ]
    return pd.DataFrame(rows, columns=names)


def bounds(series: pd.DataFrame, test: float = 0.2) -> pd.DataFrame:
    """Does a system's productivity move enough to be worth forecasting? Judged on its last share ``test``.

    One row per figure: value, the least that is asked for, whether it is met. Shares are of the seconds in
    which work was due. Overloaded seconds (productivity below 80%) are told apart by the configuration: with
    all nodes active only a peak in demand can be the cause, with fewer the configuration is too small.
    """
    part = series.iloc[len(series) - round(test * len(series)) :]
    part = part[part["system_productivity"].notna()]
    productivity = part["system_productivity"]
    low, high = np.percentile(productivity, [5, 95])
    overload = productivity < OVERLOAD
    full = part["active_nodes"] == series["active_nodes"].max()
    figures = [
        ("points between 5th and 95th percentile", high - low, 30.0),
        ("share of seconds below 80%", overload.mean(), 0.15),
        ("share of seconds at 95% or more", (productivity >= SERVED).mean(), 0.30),
        ("share of seconds overloaded with all nodes active", (overload & full).mean(), 0.01),
        ("share of seconds overloaded with fewer nodes active", (overload & ~full).mean(), 0.01),
    ]
    table = pd.DataFrame(figures, columns=["figure", "value", "at least"])
    return table.assign(met=table["value"] >= table["at least"])
