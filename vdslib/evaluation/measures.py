"""How good a forecast is, and what a pair of loss curves says.

Errors are on the scale of their arguments: scaled data give the paper's MSE on the min-max scale (section
3.2), data passed through ``Prepared.to_units`` give the target's unit. ``evaluate`` makes the one tidy table from
which every figure and every number of the book comes; ``vdslib.evaluation.significance`` says what its differences are worth.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from vdslib.forecasting import (
    Forecasts,
    Persistence,
    Windows,
    covered,
    find_period,
    folds,
    forecasts,
    runs,
    seasonal_error,
    winkler,
)

Reading = Literal["overfitting", "underfitting", "good", "unclear"]


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
    with np.errstate(over="ignore"):  # the error of a forecaster that diverged may be infinite
        return float(np.mean(_difference(y_true, y_pred) ** 2))


def mae(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Mean absolute error: mean of ``|y_pred - y_true|``, both [samples, horizon] for instance."""
    return float(np.mean(np.abs(_difference(y_true, y_pred))))


def rmse(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Square root of the MSE, in the unit of the arguments, [samples, horizon] for instance."""
    return mse(y_true, y_pred) ** 0.5


def bias(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Mean of y_pred - y_true, [samples, horizon] for instance: above 0 where the forecast is too high."""
    return float(np.mean(_difference(y_true, y_pred)))


def mase(y_true: ArrayLike, y_pred: ArrayLike, scale: ArrayLike) -> float:
    """Mean absolute scaled error: mean of ``|y_pred - y_true| / scale``, the MAE of the seasonal naive forecast in the
    training part (``vdslib.forecasting.past.seasonal_error``; Hyndman and Koehler 2006).

    One scale, or one for each sample as [samples, 1]. NaN if one is 0 or unknown.
    """
    scales = np.asarray(scale, dtype=float)
    if not (scales > 0).all():
        return float("nan")
    return float(np.mean(np.abs(_difference(y_true, y_pred)) / scales))


def skill(error: float, reference_error: float) -> float:
    """1 - error / reference_error: 1 perfect, 0 like the reference, below 0 worse; NaN if it has no error."""
    return 1 - error / reference_error if reference_error > 0 else float("nan")


class Shift(NamedTuple):
    """``best`` is the k of the least of ``errors``, the MSE of y_pred(t) and y_true(t-k) for k = 0, 1, ..

    None where a forecast is not finite, so that there are no errors to compare.
    """

    best: int | None
    errors: np.ndarray


def shift_test(y_true: ArrayLike, y_pred: ArrayLike, max_shift: int = 10) -> Shift:
    """Against which past values does a forecast fit? Both arguments [samples], consecutive in time.

    A copy of the last known value, h steps ahead, has its best shift at h, with an error of 0 there. The reverse does
    not follow: the best forecast of any AR(1) process has its best shift at h too. Compare ``errors`` with those of a
    linear model, and see the skill. Every shift is judged on the same forecasts, those from sample ``max_shift`` on.
    NaN in ``y_true`` marks a gap, and the forecasts within ``max_shift`` behind it are left out.
    """
    true, predicted = np.asarray(y_true, dtype=float), np.asarray(y_pred, dtype=float)
    if true.ndim != 1 or true.shape != predicted.shape or len(true) <= max_shift:
        raise ValueError(
            f"need two series of one length above {max_shift}, not {true.shape} and {predicted.shape}"
        )
    past = np.array([true[max_shift - k : len(true) - k] for k in range(max_shift + 1)])
    judged = np.isfinite(past).all(axis=0)
    late = predicted[max_shift:][judged]
    errors = np.array([mse(values[judged], late) for values in past])
    return Shift(int(errors.argmin()) if np.isfinite(errors).all() else None, errors)


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

    - ``overfitting``: the validation loss ends above its minimum by more than ``tolerance`` of the minimum,
      and by more than three standard errors of its own jitter, while the training loss fell on
    - ``underfitting``: over the last third of the epochs both losses fall by more than ``steep`` of their
      value, or the validation loss ends no lower than ``reference`` (the loss of a constant, if given)
    - ``good``: both losses end lower than they began; the validation loss is then steady or slowly falling
    - ``unclear``: anything else: fewer than 6 epochs, a loss that is not finite, or curves that do not fall
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


def members(models: Mapping[str, Forecasts | Sequence[Forecasts]]) -> Iterator[tuple[str, Any, Forecasts]]:
    """Name, seed and forecaster of each model; a sequence is one model under several seeds (their ``seed`` if they
    have one, else their position)."""
    for name, by_seed in models.items():
        for position, model in enumerate(by_seed if isinstance(by_seed, Sequence) else [by_seed]):
            yield name, getattr(model, "seed", position), model


# of targets, forecasts and forecasts of persistence, each [samples, steps] on the scale of the windows
Measure = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
MEASURES: dict[str, Measure] = {
    "mse": lambda true, forecast, _: mse(true, forecast),
    "mae": lambda true, forecast, _: mae(true, forecast),
    "rmse": lambda true, forecast, _: rmse(true, forecast),
    "skill": lambda true, forecast, reference: skill(mse(true, forecast), mse(true, reference)),
    "bias": lambda true, forecast, _: bias(true, forecast),
}
_POWERS = {"mse": 2, "mae": 1, "rmse": 1, "bias": 1}  # of the target's unit, of those that have one

COLUMNS = ["origin", "node", "horizon", "model", "seed", "fold", "metric", "value"]


def evaluate(
    models: Mapping[str, Forecasts | Sequence[Forecasts]],
    windows: Windows,
    train: Windows | None = None,
    *,
    to_units: Callable[[np.ndarray], np.ndarray] | None = None,
    period: int = 0,
    coverages: Sequence[float] = (0.8, 0.95),
    fold: int = 0,
    measures: Mapping[str, Measure] = MEASURES,
) -> pd.DataFrame:
    """All measures of fitted forecasters on ``windows``, tidy; a sequence of forecasters is one model by seeds.

    Columns: origin (time of the first target in ``windows``), node, horizon (steps ahead, 1 .. H), model, seed, fold
    (0: not a fold), metric, value. Beside the single ones there are rows for all steps together (horizon 0) where
    there are several, and for all nodes together (node "all"). Metrics, on the scale of ``windows``:

    - ``mse``, ``mae``, ``rmse``, ``bias``, or what ``measures`` has: and with ``to_units`` (``Prepared.to_units``) the same in the
      target's unit: mse_unit, ..
    - ``skill``: of the MSE against persistence
    - ``shift``: best k of ``shift_test``; for single nodes and steps only, NaN where samples are too few
    - ``mase``: with ``train``, the windows of the training part; scaled by each node's error of the seasonal
      naive there, of ``period`` rows; with 0 the season is found in ``train``
    - ``coverage_80`` ..: share of targets inside the intervals of a forecaster that has the method
      ``interval``,
    - ``winkler_80`` ..: and the mean Winkler score, with ``to_units`` in the target's unit too
      (winkler_80_unit, ..)
    """
    reference = Persistence().fit(windows).forecast(windows)
    scale = _scales(windows, train, period)
    unit = float(np.diff(to_units(np.array([0.0, 1.0])))[0]) if to_units else None
    cells = _cells(windows)
    lines = {node: _line(windows, chosen) for node, chosen in cells.items() if node != "all"}
    origin = windows.times.min()
    rows = []
    for name, seed, model in members(models):
        forecast = forecasts(model, windows, name)
        arrays = windows.y, forecast, reference
        bands = _bands(model, windows, coverages)
        for node, chosen in cells.items():
            for step, steps in _steps(windows.y.shape[1]).items():
                part = [values[chosen, steps] for values in arrays]
                values = _errors(part, measures, None if scale is None else scale[chosen], unit)
                if node in lines and step:
                    values["shift"] = _shift(lines[node], windows.y[:, step - 1], forecast[:, step - 1], step)
                values |= _judged(bands, windows.y, chosen, steps, unit)
                rows += [
                    (origin, node, step, name, seed, fold, metric, value) for metric, value in values.items()
                ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _cells(windows: Windows) -> dict[str, np.ndarray]:
    """The samples of each node, and of all where there are several."""
    result = {str(name): chosen for name, chosen in windows.by_node().items()}
    return result | {"all": np.arange(len(windows))} if len(result) > 1 else result


def _steps(horizon: int) -> dict[int, slice]:
    result = {step: slice(step - 1, step) for step in range(1, horizon + 1)}
    return result | {0: slice(None)} if horizon > 1 else result


def _scales(windows: Windows, train: Windows | None, period: int) -> np.ndarray | None:
    """[samples, 1]: the error that MASE divides by; NaN without training windows of the sample's node."""
    if train is None:
        return None
    errors = seasonal_error(train, period or find_period(train))
    return np.array([[errors.get(node, np.nan)] for node in windows.node])


def _errors(
    part: Sequence[np.ndarray], measures: Mapping[str, Measure], scale: np.ndarray | None, unit: float | None
) -> dict[str, float]:
    """Measures of targets, forecasts and forecasts of persistence, by name."""
    values = {name: measure(*part) for name, measure in measures.items()}
    if unit is not None:
        values |= {f"{name}_unit": values[name] * unit ** _POWERS[name] for name in _POWERS if name in values}
    if scale is not None:
        true, forecast, _ = part
        values["mase"] = mase(true, forecast, scale)
    return values


def _line(windows: Windows, chosen: np.ndarray) -> list[np.ndarray]:
    """The runs of consecutive samples of one node, as indices into ``windows``."""
    return [chosen[run] for run in runs(windows.take(chosen))]


def _shift(line: list[np.ndarray], true: np.ndarray, forecast: np.ndarray, step: int) -> float:
    """The best shift over all runs, NaN between them."""
    reach = max(10, step)
    between = np.full(1, np.nan)
    series = [
        np.concatenate([part for run in line for part in (values[run], between)])
        for values in (true, forecast)
    ]
    if max(map(len, line)) <= reach:
        return float("nan")
    best = shift_test(series[0], series[1], reach).best
    return float("nan") if best is None else float(best)


def _bands(
    model: Any, windows: Windows, coverages: Sequence[float]
) -> dict[float, tuple[np.ndarray, np.ndarray]]:
    if not hasattr(model, "interval"):
        return {}
    return {coverage: model.interval(windows, coverage) for coverage in coverages}


def _judged(
    bands: Mapping[float, tuple[np.ndarray, np.ndarray]],
    true: np.ndarray,
    chosen: np.ndarray,
    steps: slice,
    unit: float | None,
) -> dict[str, float]:
    values = {}
    for coverage, (lower, upper) in bands.items():
        y, low, high = (array[chosen, steps] for array in (true, lower, upper))
        values[f"coverage_{100 * coverage:g}"] = float(covered(y, low, high).mean())
        values[f"winkler_{100 * coverage:g}"] = score = float(winkler(y, low, high, coverage).mean())
        if unit is not None:
            values[f"winkler_{100 * coverage:g}_unit"] = score * unit
    return values


def backtest(
    makers: Mapping[str, Callable[[int], Forecasts]],
    windows: Windows,
    k: int = 5,
    seeds: Sequence[int] = (0,),
    **options: Any,
) -> pd.DataFrame:
    """``evaluate`` in k chronological folds: each is forecast by models fitted anew on what came before it.

    ``makers`` make an unfitted forecaster from a seed. ``options`` go to ``evaluate``.
    """
    tables = []
    for number, (before, after) in enumerate(folds(windows, k), start=1):
        train, unseen = windows.take(before), windows.take(after)
        for seed in seeds:
            fitted = {name: make(seed).fit(train) for name, make in makers.items()}
            table = evaluate(fitted, unseen, train, fold=number, **options)
            tables.append(table.assign(seed=seed))
    return pd.concat(tables, ignore_index=True)


def compare(models: Mapping[str, Forecasts | Sequence[Forecasts]], windows: Windows) -> pd.DataFrame:
    """The short form of ``evaluate``, nodes and steps together: model, seed, metric, value.

    Metrics: mse, mae, rmse on the scale of ``windows``, and skill (of the MSE, against persistence).
    """
    table = _together(evaluate(models, windows), [])
    table = table[table["metric"].isin(["mse", "mae", "rmse", "skill"])]
    return table[["model", "seed", "metric", "value"]].reset_index(drop=True)


def summary(table: pd.DataFrame, by: Sequence[str] = ("model",)) -> pd.DataFrame:
    """Mean and spread over seeds and folds of a tidy table: a row per model, each metric, its spread.

    The spread is the sample standard deviation, empty where there is one value only. Nodes and steps are taken
    together, unless ``by`` names "node" or "horizon": then there is a row for each. A row is NaN where one of its
    forecasters has an error that is not finite: the others alone would flatter the model.
    """
    by = list(by)
    table = _together(table, by)
    groups = table.groupby([*by, "metric"], sort=False)["value"]
    mean, spread = groups.mean().unstack(), groups.std().unstack()
    order = list(dict.fromkeys(table["metric"]))
    result = pd.concat([mean[order], spread[order].add_suffix(" spread")], axis=1)
    infinite = table[table["metric"].isin(["mse", "mae"]) & ~np.isfinite(table["value"])]
    result.loc[result.index.isin(_keys(infinite, by))] = np.nan
    return result.loc[_keys(table, by)].rename_axis(index=by, columns=None)


def _keys(table: pd.DataFrame, by: Sequence[str]) -> pd.Index:
    rows = table[list(by)].drop_duplicates()
    return pd.Index(rows[by[0]]) if len(by) == 1 else pd.MultiIndex.from_frame(rows)


def _together(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The rows for all nodes and all steps together, or the single ones of what ``by`` names."""
    for column, label in (("node", "all"), ("horizon", 0)):
        if column in table:
            pooled = table[column] == label
            if column in by:
                table = table[~pooled]
            elif pooled.any():
                table = table[pooled]
    return table
