"""The leak ledger: each leak of ``guards.LEAKS`` run beside the clean pipeline, on the same seeds.

The clean and the leaky run of a leak are two *arms*: windows to learn from, to watch and to be tested on. All models
go through both, and the ledger says by how much the leaky arm's test error is lower, in the reader's own series and in
one that is planted for that leak.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTE
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import MinMaxScaler

from vdslib.errors import TelemetryError
from vdslib.evaluation import mse, skill
from vdslib.forecasting import (
    Forecasts,
    Persistence,
    Prepared,
    Ridge,
    Scalers,
    TrainingMean,
    Windows,
    aligned,
    divide,
    groups,
    median_step,
    prepare,
    resample,
)
from vdslib.networks import Job, Settings, models, training
from vdslib.telemetry import origin_of

SPREADS = 2.0
"""A leak flatters beyond the spread if its mean over the seeds is more than so many standard deviations, ..."""

LEAST = 0.01
"""... and at least such a share of the error, since a model without chance has no spread."""

JUDGES = {
    "random split": "neighbours",
    "windows across the split": "neighbours",
    "SMOTE before the split": "neighbours",
    "scaler on all rows": "ridge",
    "scaler per split": "ridge",
    "target among the features": "ridge",
    "future rolling features": "ridge",
    "early stopping on the test set": "LSTM",
    "best test epoch reported": "LSTM",
}
"""The model whose flattery the ledger shows: leaks of the data need no network, those of the training do."""


@dataclass(frozen=True)
class Case:
    """A series and how it is forecast; ``rare_end`` says which tenth of the target is the rare state."""

    frame: pd.DataFrame
    features: Sequence[str]
    target: str
    window: int = 10
    horizon: int = 10
    test: float = 0.2
    validation: float = 0.2
    rare_end: str = "high"
    units: Sequence[int] = (16,)
    settings: Settings = Settings(epochs=20, batch_size=32, patience=3)  # noqa: RUF009

    def prepare(self, **changes: Any) -> Prepared:
        """``preparation.prepare`` with the settings of this case, or those in ``changes``."""
        names = ("frame", "features", "target", "window", "horizon", "test", "validation")
        options = {name: getattr(self, name) for name in names} | changes
        return prepare(options.pop("frame"), **options)

    def build(self, features: int, horizon: int) -> Callable[[int], Any]:
        """What builds the network for so many features and steps, from a seed."""
        return lambda seed: models.build(
            "textbook",
            window=self.window,
            features=features,
            outputs=horizon,
            units=self.units,
            dropout=0.0,
            seed=seed,
        )


@dataclass(frozen=True)
class Arm:
    """One way of preparing and training. ``leak`` is thrown in training; ``known`` is what baselines fit."""

    known: Windows
    train: Windows
    watched: Windows
    test: Windows
    settings: Settings
    leak: str | None = None
    states: bool = False


class Neighbours:
    """The mean target of the three training windows that resemble the asked one most."""

    def __init__(self, neighbours: int = 3) -> None:
        self.model = KNeighborsRegressor(neighbours)

    def fit(self, windows: Windows) -> Self:
        self.model.fit(windows.flat, windows.y)
        return self

    def forecast(self, windows: Windows) -> np.ndarray:
        return self.model.predict(windows.flat).reshape(len(windows), -1)


# ------------------------------------------------------------------------------------------- the two arms


def arms(leak: str, case: Case, seed: int, clean: Arm | None = None) -> tuple[Arm, Arm]:
    """The clean and the leaky arm of ``leak``. ``clean``: the arm of ``case`` without leak, if it was made before."""
    return _ARMS[leak](case, seed, clean or _clean(case))


def _clean(case: Case) -> Arm:
    return _arm(case, case.prepare())


def _arm(case: Case, parts: Prepared) -> Arm:
    return Arm(parts.train_full, parts.train, parts.validation, parts.test, case.settings)


def _whole(case: Case) -> tuple[Prepared, Windows]:
    """The clean parts, and the windows of the whole series on the same scale, not divided."""
    parts = case.prepare()
    return parts, case.prepare(test=0, validation=0, scalers=(parts.x_scaler, parts.y_scaler)).train_full


def _random_split(case: Case, seed: int, clean: Arm) -> tuple[Arm, Arm]:
    parts, whole = _whole(case)
    order = np.random.default_rng(seed).permutation(len(whole))
    asked, watched = len(parts.test), len(parts.validation)
    known, test = divide(whole, order[asked:], order[:asked], leak="random split")
    train, watch = known.take(np.arange(watched, len(known))), known.take(np.arange(watched))
    return clean, Arm(known, train, watch, test, case.settings)


def _across(case: Case, seed: int, clean: Arm) -> tuple[Arm, Arm]:
    """Windows that begin before the test part are trained on, wherever they end; the test windows are the same."""
    parts, whole = _whole(case)
    first = parts.test.times.min()
    before, after = (np.flatnonzero(chosen) for chosen in (whole.times < first, whole.times >= first))
    known, test = divide(whole, before, after, leak="windows across the split")
    late = whole.times >= parts.validation.times.min()
    train = whole.take(before[whole.times[before] <= parts.train.times.max()])
    return clean, Arm(known, train, whole.take(before[late[before]]), test, case.settings)


def _scaler_on_all(case: Case, seed: int, clean: Arm) -> tuple[Arm, Arm]:
    parts = case.prepare(scalers=_scalers(case, case.frame), leak="scaler on all rows")
    return clean, _arm(case, parts)


def _scaler_per_split(case: Case, seed: int, clean: Arm) -> tuple[Arm, Arm]:
    later = case.frame[~_known(case)]
    parts = case.prepare(test_scalers=_scalers(case, later), leak="scaler per split")
    return clean, _arm(case, parts)


def _scalers(case: Case, rows: pd.DataFrame) -> Scalers:
    table = rows[list(case.features)].astype(float).to_numpy()
    return MinMaxScaler().fit(table), MinMaxScaler().fit(rows[[case.target]].astype(float).to_numpy())


def _known(case: Case) -> np.ndarray:
    """[rows]: True for rows before the test part, counted in times as ``prepare`` does."""
    times = case.frame["timestamp"].dt.tz_localize(None).to_numpy()
    places = groups(case.frame["node"].to_numpy())
    moments = aligned(times, places, {node: median_step(times[rows]) for node, rows in places.items()})
    unique = np.unique(moments)
    return moments < unique[len(unique) - max(1, round(case.test * len(unique)))]


def _smote(case: Case, seed: int, clean: Arm) -> tuple[Arm, Arm]:
    """Will the next row be in the rare state? SMOTE on the training windows only, and on all windows."""
    stated = replace(case, frame=_with_state(case), target="rare_state", horizon=1)
    parts, whole = _whole(stated)
    balanced = _balanced(parts.train_full, stated, seed)
    pick = np.random.default_rng(seed)
    resampled = _balanced(whole, stated, seed)
    order = pick.permutation(len(resampled))
    asked = round(case.test * len(order))
    known, test = divide(resampled, order[asked:], order[:asked], leak="SMOTE before the split")
    cut = round(case.validation * len(known))
    train, watched = known.take(np.arange(cut, len(known))), known.take(np.arange(cut))
    ours = _balanced(parts.train, stated, seed)
    return (
        Arm(balanced, ours, parts.validation, parts.test, case.settings, states=True),
        Arm(known, train, watched, test, case.settings, states=True),
    )


def _balanced(windows: Windows, case: Case, seed: int) -> Windows:
    states = (windows.y[:, 0] > 0.5).astype(int)
    rare = int(states.sum())
    if rare < 2 or rare == len(states):
        raise TelemetryError(
            f"{origin_of(case.frame)}: {rare} windows are in the rare state: use longer telemetry"
        )
    return resample(windows, states, SMOTE(k_neighbors=min(5, rare - 1), random_state=seed))[0]


def _with_state(case: Case) -> pd.DataFrame:
    """The series with the column ``rare_state``: 1 in the extreme tenth of the target, as training rows have it."""
    values = case.frame[case.target].astype(float)
    low = case.rare_end == "low"
    edge = values[_known(case)].quantile(0.1 if low else 0.9)
    state = (values <= edge if low else values >= edge).astype(float).where(values.notna())
    return case.frame.assign(rare_state=state)


def _target_ahead(case: Case, seed: int, clean: Arm) -> tuple[Arm, Arm]:
    ahead = case.frame.groupby("node", sort=False)[case.target].shift(-case.horizon)
    return clean, _with_column(case, ahead, "target among the features")


def _centred_mean(case: Case, seed: int, clean: Arm) -> tuple[Arm, Arm]:
    """A rolling mean of the target: up to the row itself, and as far ahead as back."""
    width = 2 * max(1, case.horizon // 2) + 1
    values = case.frame.groupby("node", sort=False)[case.target]
    trailing = values.transform(lambda each: each.rolling(width).mean())
    centred = values.transform(lambda each: each.rolling(width, center=True).mean())
    return _with_column(case, trailing), _with_column(case, centred, "future rolling features")


def _with_column(case: Case, values: pd.Series, leak: str | None = None) -> Arm:
    features = [*case.features, "derived"]
    return _arm(case, case.prepare(frame=case.frame.assign(derived=values), features=features, leak=leak))


def _stopping(case: Case, seed: int, clean: Arm) -> tuple[Arm, Arm]:
    return clean, replace(clean, watched=clean.test, leak="early stopping on the test set")


def _best_epoch(case: Case, seed: int, clean: Arm) -> tuple[Arm, Arm]:
    free = replace(case.settings, patience=0, restore_best=False)
    return clean, replace(clean, watched=clean.test, settings=free, leak="best test epoch reported")


_ARMS: dict[str, Callable[[Case, int, Arm], tuple[Arm, Arm]]] = {
    "random split": _random_split,
    "windows across the split": _across,
    "SMOTE before the split": _smote,
    "scaler on all rows": _scaler_on_all,
    "scaler per split": _scaler_per_split,
    "target among the features": _target_ahead,
    "future rolling features": _centred_mean,
    "early stopping on the test set": _stopping,
    "best test epoch reported": _best_epoch,
}

# ------------------------------------------------------------------------------------------------ running


def balanced_error(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """1 - the mean recall of the states 0 and 1, both [samples], as far as they occur; a forecast above 0.5 says 1."""
    true, said = np.asarray(y_true) > 0.5, np.asarray(y_pred) > 0.5
    return float(np.mean([(said[true == state] != state).mean() for state in np.unique(true)]))


def run(
    leaks: Sequence[str], case_of: Callable[[str, int], Case], seeds: Sequence[int], networks: bool = True
) -> pd.DataFrame:
    """Both arms of each leak under each seed: leak, seed, arm (clean, leaky), model, error, skill.

    ``case_of(leak, seed)`` gives the series; one that it gives again is prepared once. ``error`` is the test MSE on the
    scale of the arm, for SMOTE the balanced error; ``skill`` compares it with persistence on the same windows. All
    networks are trained together; ``networks=False`` leaves out those that no judge needs.
    """
    clean: dict[int, tuple[Case, Arm]] = {}
    entries: list[tuple[str, int, str, Case, Arm]] = []
    for leak in leaks:
        for seed in seeds:
            case = case_of(leak, seed)
            if id(case) not in clean:
                clean[id(case)] = case, _clean(case)
            pair = arms(leak, case, seed, clean[id(case)][1])
            entries += [
                (leak, seed, name, case, arm) for name, arm in zip(("clean", "leaky"), pair, strict=True)
            ]
    wanted = [entry for entry in entries if networks or JUDGES[entry[0]] == "LSTM"]
    nets = _networks(wanted)
    plain: dict[int, dict[str, float]] = {}
    rows = []
    for leak, seed, name, _, arm in entries:
        if id(arm) not in plain:
            plain[id(arm)] = _baselines(arm)
        errors = plain[id(arm)] | ({"LSTM": nets[id(arm), seed]} if (id(arm), seed) in nets else {})
        reference = errors["persistence"]
        rows += [(leak, seed, name, model, error, skill(error, reference)) for model, error in errors.items()]
    return pd.DataFrame(rows, columns=["leak", "seed", "arm", "model", "error", "skill"])


def _error(arm: Arm, forecast: np.ndarray) -> float:
    return (balanced_error if arm.states else mse)(arm.test.y, forecast)


def _baselines(arm: Arm) -> dict[str, float]:
    lags = arm.test.x.shape[1]
    fitted: Mapping[str, Forecasts] = {
        "ridge": Ridge(lags),
        "neighbours": Neighbours(min(3, len(arm.known))),
        "persistence": Persistence(),
        "mean": TrainingMean(),
    }
    return {name: _error(arm, model.fit(arm.known).forecast(arm.test)) for name, model in fitted.items()}


def _networks(entries: Sequence[tuple[str, int, str, Case, Arm]]) -> dict[tuple[int, int], float]:
    """The test error that each arm reports of its network, by arm and seed; every network is trained once."""
    jobs: dict[tuple[int, int], tuple[Arm, Job]] = {}
    for leak, seed, name, case, arm in entries:
        build = case.build(arm.train.x.shape[2], arm.train.y.shape[1])
        job = Job(build, arm.train, arm.watched, arm.settings, seed, f"{leak}, {name}", arm.leak)
        jobs.setdefault((id(arm), seed), (arm, job))
    done = training.train([job for _, job in jobs.values()])
    errors = {}
    for (key, (arm, _)), trained in zip(jobs.items(), done, strict=True):
        best = arm.leak == "best test epoch reported"
        errors[key] = (
            float(np.min(trained.history.val_loss))
            if best
            else _error(arm, training.predict(trained.model, arm.test))
        )
    return errors


# ---------------------------------------------------------------------------------------------- reckoning


def flattery(table: pd.DataFrame) -> pd.DataFrame:
    """Share by which the judge's error is lower in the leaky arm, one row for each leak and seed of a table by ``run``.

    Columns: leak, seed, judge, flattery (1 - leaky / clean error), skill_gain (leaky - clean).
    """
    judged = table[table["model"] == table["leak"].map(JUDGES)]
    wide = judged.pivot(index=["leak", "seed"], columns="arm", values=["error", "skill"])
    leak = wide.index.get_level_values("leak")
    result = pd.DataFrame(
        {
            "judge": leak.map(JUDGES),
            "flattery": 1 - wide["error", "leaky"] / wide["error", "clean"],
            "skill_gain": wide["skill", "leaky"] - wide["skill", "clean"],
        },
        index=wide.index,
    )
    return result.loc[list(dict.fromkeys(table["leak"]))].reset_index()


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row a leak of a table by ``run``: what it gives the judge, and who wins.

    - ``flattery``, ``skill_gain``: means over the seeds; spread: standard deviation of the flattery
    - ``beyond``, ``verdict``: whether the flattery is beyond the spread, and that in words; with one seed
      there is no spread, and where a network diverged under any seed there is nothing
    - ``clean_winner`` ..: the models of the lowest mean error, within the share ``LEAST``
    - ``winner_changes``: no winner of the clean arm is one of the leaky arm
    """
    shares = flattery(table).groupby("leak", sort=False)
    result = shares[["flattery", "skill_gain"]].mean(skipna=False).assign(judge=shares["judge"].first())
    result["spread"] = shares["flattery"].std(skipna=False)
    least = (SPREADS * result["spread"]).clip(lower=LEAST)
    result["beyond"] = result["flattery"] > least
    diverged = ~np.isfinite(result["flattery"])
    signs = [diverged, result["beyond"], result["flattery"] < -least, result["spread"].isna()]
    words = ["unknown, since an error is no number", "flatters", "looks worse", "unknown with one seed"]
    result["verdict"] = np.select(signs, words, "no clear difference")
    winners = {
        (leak, arm): _winners(rows.groupby("model")["error"].mean(skipna=False))
        for (leak, arm), rows in table.groupby(["leak", "arm"])
    }
    for arm in ("clean", "leaky"):
        result[f"{arm}_winner"] = [", ".join(winners[leak, arm]) for leak in result.index]
    result["winner_changes"] = [
        set(winners[k, "clean"]).isdisjoint(winners[k, "leaky"]) for k in result.index
    ]
    return result


def _winners(errors: pd.Series) -> list[str]:
    return sorted(errors.index[errors <= errors.min() * (1 + LEAST)])
