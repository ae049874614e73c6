"""Networks of the first recording, tested on a second one that had no part in any choice.

They learn from the rows before the first recording's test part, with its scalers and the settings of their chapters,
and forecast the whole of the second: whatever differs between two recordings of one system is part of the test.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from vdslib import claims
from vdslib.claims import again
from vdslib.errors import Notice, TelemetryError
from vdslib.evaluation import Interval, both, in_stretches, over_seeds, over_time, skill
from vdslib.forecasting import (
    FORECASTERS,
    Forecasts,
    Persistence,
    Prepared,
    Ridge,
    TrainingMean,
    Windows,
    default_features,
    prepare,
    smoothed,
)
from vdslib.networks import Anchored, Forecaster, Job, Settings, ensemble, models, training
from vdslib.telemetry import default_target, origin_of, system_series

Parameters = Mapping[str, Any]


def evidence(
    first: pd.DataFrame, second: pd.DataFrame, settings: Mapping[str, Parameters] = again.SETTINGS
) -> dict[str, Any]:
    """What chapters 3.3 and 4.1 would record, by chapter, with networks of ``first`` tested on ``second``.

    Both are telemetry as it was read, with the columns of the testbed. ``settings`` are the parameters of those chapters that
    are to be repeated. "notices" has what was remarked on the data meanwhile, such as values far outside the range that was
    learnt from: nothing stops for them, since they are part of the test.
    """
    makers = {"3-3-experiment": experiment, "4-1-hybrids": demand}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", Notice)
        found = {chapter: makers[chapter](first, second, chosen) for chapter, chosen in settings.items()}
    told = [str(each.message) for each in caught if issubclass(each.category, Notice)]
    for each in caught:
        if not issubclass(each.category, Notice):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    return {**found, "notices": list(dict.fromkeys(told))}


def joined(first: pd.DataFrame, second: pd.DataFrame, test: float = 0.2) -> tuple[pd.DataFrame, float]:
    """One series, the rows of ``first`` before its test part and then all of ``second``, and the share of the latter.

    Both are series of one node. ``prepare`` with this share makes of ``first`` what it makes of it alone, and the test
    part of ``second``. Each recording begins a week of the system anew, so the clock of ``second`` is set to the
    beginning of a later period of the longest rhythm that ``first`` is known to have. TelemetryError unless it has the
    columns of ``first`` and its step in time.
    """
    missing = [name for name in first if name not in second]
    if missing:
        raise TelemetryError(f"{origin_of(second)}: there is no column '{missing[0]}', which the first has.")
    steps = [pd.Timedelta(each["timestamp"].diff().median()) for each in (first, second)]
    if steps[0] != steps[1]:
        raise TelemetryError(
            f"{origin_of(second)}: a row every {steps[1]}, but every {steps[0]} in the first."
        )
    known = first.iloc[: len(first) - round(test * len(first))]
    begin, end = known["timestamp"].iloc[0], known["timestamp"].iloc[-1] + steps[0]
    week = pd.Timedelta(seconds=max(first.attrs.get("rhythms", ()), default=steps[0].total_seconds()))
    start = begin + math.ceil((end - begin) / week) * week
    moved = second.assign(timestamp=second["timestamp"] - second["timestamp"].iloc[0] + start)
    result = pd.concat([known, moved[list(first)]], ignore_index=True)
    result.attrs = {"origin": origin_of(second)} | {k: v for k, v in first.attrs.items() if k == "rhythms"}
    return result, len(second) / len(result)


def _prepared(first: pd.DataFrame, second: pd.DataFrame, chosen: Parameters) -> Prepared:
    """Windows for a chapter's forecasts, the test part of them those of the second recording."""
    frame, share = joined(system_series(first), system_series(second))
    target = chosen["target"] or default_target(frame)
    return prepare(
        frame,
        features=chosen["features"] or default_features(frame, target, past=True),
        target=target,
        window=chosen["window"],
        horizon=chosen["horizon"],
        test=share,
    )


def experiment(first: pd.DataFrame, second: pd.DataFrame, chosen: Parameters) -> dict[str, Any]:
    """What chapter 3.3 records of its network, with all guards against overfitting, tested on ``second``.

    ``chosen`` are parameters of that chapter. Its ``figure``, its folds and the other arms of its study are left out.
    """
    data, name = _prepared(first, second, chosen), chosen["network"]
    design = models.design(data.train) | {
        key: chosen[key] for key in ("units", "activation", "dense_units", "dropout")
    }
    how = _settings(chosen, "optimizer", "momentum")

    def build(seed: int) -> Any:
        return models.build(name, **design, seed=seed)

    jobs = [Job(build, data.train, data.validation, how, seed) for seed in _seeds(chosen)]
    networks = [
        Forecaster.of(trained, name, job.seed)
        for job, trained in zip(jobs, training.train(jobs), strict=True)
    ]
    simple: dict[str, Forecasts] = {
        "persistence": Persistence(),
        "mean": TrainingMean(),
        "ridge": Ridge(lags=chosen["window"]),
    }
    fitted: dict[str, Any] = {key: each.fit(data.train_full) for key, each in simple.items()}
    fitted[name] = networks
    return claims.evidence(fitted, {"all guards": networks}, data, name, chosen["seed"])


def _seeds(chosen: Parameters) -> range:
    return range(chosen["seed"], chosen["seed"] + chosen["n_seeds"])


def _settings(chosen: Parameters, *others: str) -> Settings:
    names = ("learning_rate", "batch_size", "epochs", "patience", *others)
    return Settings(**{name: chosen[name] for name in names})


def demand(first: pd.DataFrame, second: pd.DataFrame, chosen: Parameters) -> pd.DataFrame:
    """The book's own network against simple forecasters of the demand, on the test part of ``first`` and on ``second``.

    The mean forecast of ``Anchored`` networks and that of as many boosted forecasters with the same inputs; ``chosen`` are
    parameters of chapter 4.1. One row for each recording ("first", "second") and step ahead: MSE of
    persistence, ridge, boosting and anchored (squared unit of demand), ``gain`` of anchored over boosting with the ends
    ``low`` and ``high`` of its interval over seeds and time, ``measured`` in words and the ``verdict``.
    """
    parts = _of_demand(first, second, chosen)
    known, steps = parts["first"].train_full, chosen["steps"]
    seeds = _seeds({**chosen, "n_seeds": again.OWN["n_seeds"]})
    few = _steps(known, steps)
    boosting: Any = FORECASTERS.get("boosting")
    models: dict[str, list[Any]] = {
        "persistence": [Persistence()],
        "ridge": [Ridge(chosen["window"])],
        "boosting": [boosting(chosen["window"], share=again.OWN["share"], seed=seed) for seed in seeds],
    }
    fitted = {name: [each.fit(few) for each in several] for name, several in models.items()}
    how = replace(ensemble.SETTINGS, epochs=chosen["epochs"], patience=chosen["patience"])
    network = Anchored(seeds, settings=how, **again.OWN["network"]).fit(known)
    rows = []
    for recording, data in parts.items():
        test = _steps(data.test, steps)
        forecasts = {name: [each.forecast(test) for each in several] for name, several in fitted.items()}
        forecasts["anchored"] = [each[:, np.subtract(steps, 1)] for each in network.members(data.test)]
        wrong = {
            name: data.to_units(np.stack(each)) - data.to_units(test.y) for name, each in forecasts.items()
        }
        for place, step in enumerate(steps):
            errors = {name: each[:, :, place] for name, each in wrong.items()}  # [members, samples]
            rows.append({"recording": recording, "step": step} | _row(errors, test.times))
    return pd.DataFrame(rows)


def _of_demand(first: pd.DataFrame, second: pd.DataFrame, chosen: Parameters) -> dict[str, Prepared]:
    """By recording the windows of the smoothed demand; the training windows of both are the same."""
    one, two = (smoothed(system_series(each)) for each in (first, second))
    asked = {name: chosen[name] for name in ("window", "horizon", "rhythms")}
    frame, share = joined(one, two)
    return {
        name: prepare(table, features=["demand"], target="demand", test=test, **asked)
        for name, table, test in (("first", one, 0.2), ("second", frame, share))
    }


def _steps(windows: Windows, steps: Sequence[int]) -> Windows:
    """The same samples with the targets of some steps ahead only, so that boosting need not learn the others."""
    return replace(windows, y=windows.y[:, np.subtract(steps, 1)])


def _row(wrong: Mapping[str, np.ndarray], times: np.ndarray) -> dict[str, Any]:
    """Of one step: the MSE of each mean forecast, and how anchored networks compare with boosting."""
    mean = {name: float(np.mean(each.mean(axis=0) ** 2)) for name, each in wrong.items()}
    pair = [wrong[name] for name in ("anchored", "boosting")]
    stretches = [in_stretches(each.mean(axis=0) ** 2, times) for each in pair]
    gain = both(over_members(skill, *pair), over_time(skill, *stretches))
    finding = again.promise(gain)
    return mean | {
        "gain": gain.value,
        "low": gain.low,
        "high": gain.high,
        "measured": finding.measured,
        "verdict": finding.verdict,
    }


def over_members(statistic: Any, *wrong: np.ndarray) -> Interval:
    """The interval of a statistic of the MSEs of averaged forecasts, over the seeds that are averaged (jackknife).

    ``wrong`` [members, samples]: forecasts minus targets of each member. The members of all are left out one by one, in
    their order; the value is that of the whole averages.
    """

    def value(parts: Sequence[np.ndarray]) -> float:
        return float(statistic(*(float(np.mean(part.mean(axis=0) ** 2)) for part in parts)))

    n, whole = len(wrong[0]), value(wrong)
    if n < 2:
        return Interval(whole, -math.inf, math.inf)
    without = np.array([value([np.delete(part, i, axis=0) for part in wrong]) for i in range(n)])
    around = over_seeds(float, n * whole - (n - 1) * without)
    half = (around.high - around.low) / 2
    return Interval(whole, whole - half, whole + half)
