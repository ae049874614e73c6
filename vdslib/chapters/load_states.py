"""Classifying the coming load state (normal, high, overload), and five ways to treat rare states (section 3.1).

This is the reading of the paper under which its SMOTE (symbol 3), its three outputs and its accuracy plot make
sense together. Thresholds between the states, samplers and weights are made from training windows alone; a
sampler works on flattened windows ``[samples, time steps x features]``, and never on those that judge.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import Pipeline
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, precision_recall_curve, precision_recall_fscore_support
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from vdslib.errors import TelemetryError
from vdslib.forecasting import Windows, folds
from vdslib.networks import History, Settings, inner_tail, keras, models, predict, seed_everything

STATES = ("normal", "high", "overload")
"""The states in order of load; in arrays they are 0, 1 and 2."""

TREATMENTS = ("none", "SMOTE", "class weights", "random oversampling", "moved threshold")
"""What may be done about rare states. The last one changes decisions of the model of the first."""

# tried by `moved` for each of the two rarer states
_FACTORS = (1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0)
_LARGE_BATCH = 4096


@dataclass(frozen=True)
class Thresholds:
    """Borders between the states, on the scale of the targets; a state begins strictly beyond its border."""

    high: float
    overload: float
    low_is_overload: bool

    @classmethod
    def of(cls, targets: np.ndarray, high: float, overload: float, *, low_is_overload: bool = True) -> Self:
        """Borders beyond which the shares ``high`` (overload included) and ``overload`` of training ``targets`` [samples] lie.

        TelemetryError unless 0 < overload < high < 1.
        """
        if not 0 < overload < high < 1:
            raise TelemetryError(
                f"high_share {high}, overload_share {overload}: choose 0 < overload_share < high_share < 1."
            )
        shares = np.asarray([high, overload] if low_is_overload else [1 - high, 1 - overload])
        beyond, worst = np.quantile(targets, shares)
        return cls(float(beyond), float(worst), low_is_overload)

    @classmethod
    def at(cls, borders: Sequence[float], scaler: MinMaxScaler, *, low_is_overload: bool = True) -> Self:
        """Borders given in the unit of the target: where high begins, and where overload does.

        ``scaler`` is the target's. TelemetryError unless there are two and overload lies beyond high.
        """
        beyond = "below" if low_is_overload else "above"
        if len(borders) != 2 or borders[0] == borders[1] or (borders[0] > borders[1]) != low_is_overload:
            raise TelemetryError(
                f"borders: {list(borders)}: give two values, where high begins and where overload does, the second "
                f"{beyond} the first. Swap them, or choose the other end by overload_end."
            )
        high, overload = scaler.transform(np.reshape(borders, (-1, 1)))[:, 0]
        return cls(float(high), float(overload), low_is_overload)

    def states(self, values: np.ndarray) -> np.ndarray:
        """The state (0, 1, 2) of each of ``values`` ``[samples]``."""
        sign = -1 if self.low_is_overload else 1
        load = sign * np.asarray(values, float)
        return (load > sign * self.high).astype(int) + (load > sign * self.overload)

    def coming(self, windows: Windows, where: str) -> np.ndarray:
        """The state ``[samples]`` in the last forecast step; TelemetryError, naming ``where``, if a state is missing."""
        states = self.states(windows.y[:, -1])
        counts = np.bincount(states, minlength=3)
        if counts.min() < 2:
            rare = STATES[int(counts.argmin())]
            raise TelemetryError(
                f"{where}: state '{rare}' has {counts.min()} windows, at least 2 are needed. "
                "Choose other thresholds (borders, or high_share and overload_share), another target, fewer folds, or "
                "longer telemetry."
            )
        return states


def _sampler(treatment: str, states: np.ndarray, seed: int) -> SMOTE | RandomOverSampler | None:
    """The sampler of a treatment; None where it needs none. ValueError for an unknown treatment."""
    if treatment not in TREATMENTS:
        raise ValueError(f"unknown treatment {treatment!r}; valid are {', '.join(TREATMENTS)}")
    if treatment == "SMOTE":
        neighbours = min(5, int(np.unique(states, return_counts=True)[1].min()) - 1)
        return SMOTE(k_neighbors=neighbours, random_state=seed)
    return RandomOverSampler(random_state=seed) if treatment == "random oversampling" else None


def linear(treatment: str, states: np.ndarray, seed: int = 0) -> Pipeline:
    """Logistic regression on flattened windows behind the treatment's sampler, to be fitted on ``states`` [samples].

    A pipeline of imbalanced-learn samples in ``fit`` only. The scaler in it sees the rows of ``fit`` alone, so a
    fold does not depend on how the windows were scaled before.
    """
    sampler = _sampler(treatment, states, seed)
    weight = "balanced" if treatment == "class weights" else None
    steps = [("scale", StandardScaler()), ("sample", sampler)] if sampler else [("scale", StandardScaler())]
    return Pipeline([*steps, ("classify", LogisticRegression(max_iter=2000, class_weight=weight))])


def resampled(
    windows: Windows, states: np.ndarray, treatment: str, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs ``[more samples, time steps, features]`` and their states after the treatment's sampler."""
    sampler, inputs = _sampler(treatment, states, seed), windows.flat
    if sampler is not None:
        inputs, states = sampler.fit_resample(inputs, states)
    return inputs.reshape(-1, *windows.x.shape[1:]), states


class Network:
    """An LSTM with a softmax over the three states, trained by Keras on the cross-entropy."""

    def __init__(
        self, treatment: str, units: Sequence[int], dropout: float, settings: Settings, seed: int
    ) -> None:
        self.treatment, self.units, self.dropout = treatment, list(units), dropout
        self.settings, self.seed = settings, seed
        self.losses, self.accuracies = History(), History()

    def fit(self, windows: Windows, states: np.ndarray, watched: Windows, seen: np.ndarray) -> Self:
        """Train on ``windows`` and their ``states``; stop early by the loss on ``watched``, whose states are ``seen``; [samples].

        A treatment that balances the training balances the watched loss too: else early stopping would undo it.
        """
        inputs, goals = resampled(windows, states, self.treatment, self.seed)
        balance = None if self.treatment in ("none", "moved threshold") else "balanced"
        weights = compute_sample_weight("balanced" if self.treatment == "class weights" else None, goals)
        self.model = self._build(inputs.shape[1], inputs.shape[2])
        seed_everything(self.seed)
        stopping = keras.callbacks.EarlyStopping(
            patience=self.settings.patience or self.settings.epochs,
            restore_best_weights=self.settings.restore_best,
        )
        record = self.model.fit(
            inputs.astype("float32"),
            goals,
            sample_weight=weights,
            validation_data=(np.asarray(watched.x, "float32"), seen, compute_sample_weight(balance, seen)),
            validation_batch_size=_LARGE_BATCH,
            epochs=self.settings.epochs,
            batch_size=self.settings.batch_size,
            callbacks=[stopping],
            verbose=0,
        ).history
        best = stopping.best_epoch + 1 if self.settings.restore_best else None
        epochs = len(record["loss"])
        self.losses = History(record["loss"], record["val_loss"], best, epochs)
        self.accuracies = History(record["accuracy"], record["val_accuracy"], best, epochs)
        return self

    def _build(self, window: int, features: int) -> keras.Model:
        trunk = models.build(
            "textbook",
            window=window,
            features=features,
            outputs=len(STATES),
            units=self.units,
            dropout=self.dropout,
            seed=self.seed,
        )
        model = keras.Sequential([*trunk.layers, keras.layers.Softmax(name="states")], name="classifier")
        model.compile(
            optimizer=keras.optimizers.Adam(self.settings.learning_rate),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
            steps_per_execution=32,
            jit_compile=False,
        )
        return model

    def predict_proba(self, windows: Windows) -> np.ndarray:
        """Probabilities ``[samples, 3]``, dropout off. ValueError where the network diverged, so that they are none."""
        probabilities = predict(self.model, windows)
        if not np.isfinite(probabilities).all():
            raise ValueError(
                f"the network of treatment {self.treatment!r}, seed {self.seed}, learning rate "
                f"{self.settings.learning_rate:.6g} diverged: it has no probabilities of states. Lower the learning rate"
            )
        return probabilities


def majority(states: np.ndarray, count: int) -> np.ndarray:
    """[count]: the most frequent of training ``states`` [samples]."""
    return np.full(count, np.bincount(states).argmax())


def decide(probabilities: np.ndarray, factors: np.ndarray | None = None) -> np.ndarray:
    """The most probable state, each probability ``[samples, 3]`` first multiplied by its factor ``[3]``."""
    weighed = probabilities if factors is None else probabilities * factors
    return weighed.argmax(axis=1)


def moved(probabilities: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Factors ``[3]`` for ``decide`` with the highest balanced accuracy on validation ``states``; normal keeps 1."""
    tried = [np.array([1.0, high, overload]) for high in _FACTORS for overload in _FACTORS]
    scores = [measures(states, decide(probabilities, each))["balanced_accuracy"] for each in tried]
    return tried[int(np.argmax(scores))]


def measures(states: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Accuracy, balanced accuracy (mean recall of the states that occur), precision and recall of each state.

    ``states`` and ``predicted`` are [samples]. What is not defined is NaN: the precision of a state never predicted, the recall of one that never occurs.
    """
    precision, recall, _, _ = precision_recall_fscore_support(
        states, predicted, labels=range(len(STATES)), zero_division=np.nan
    )
    result = {"accuracy": float(np.mean(states == predicted)), "balanced_accuracy": float(np.nanmean(recall))}
    for number, name in enumerate(STATES):
        result |= {f"{name}_precision": float(precision[number]), f"{name}_recall": float(recall[number])}
    return result


def by_stretch(
    times: np.ndarray, states: np.ndarray, predicted: np.ndarray, count: int = 50
) -> tuple[np.ndarray, np.ndarray]:
    """How often each state came, and how often it was foreseen, in consecutive stretches of time.

    ``times``, ``states`` and ``predicted`` are ``[samples]``; both answers ``[stretches, 3]``, at most ``count`` stretches.
    """
    parts = np.array_split(np.argsort(times, kind="stable"), min(count, len(times)))
    came, right = np.ones(len(states)), np.asarray(states == predicted, dtype=float)
    seen, foreseen = (
        np.array([np.bincount(states[part], weight[part], len(STATES)) for part in parts])
        for weight in (came, right)
    )
    return seen, foreseen


def precision_at(
    states: np.ndarray, probability: np.ndarray, recalls: np.ndarray
) -> tuple[np.ndarray, float]:
    """Best precision for overload at each of ``recalls`` or above, and the average precision.

    ``probability`` ``[samples]`` is that of overload.
    """
    is_overload = states == STATES.index("overload")
    precision, recall, _ = precision_recall_curve(is_overload, probability)
    best = np.array([precision[recall >= each].max() for each in recalls])
    return best, float(average_precision_score(is_overload, probability))


def cross_validate(
    windows: Windows, k: int, borders_of: Callable[[np.ndarray], Thresholds], where: str, seed: int = 0
) -> pd.DataFrame:
    """Logistic regression under each treatment on chronological, purged folds: one row a fold and treatment.

    ``borders_of`` makes the thresholds from each fold's training targets ``[samples]``; the inner tail of the fold's
    training windows is kept to choose moved thresholds and on which no treatment is fitted. Columns ``fold``, ``treatment`` and those of
    ``measures``. Persistence of the state and the majority are treatments of that name. ``seed`` is the samplers'.
    """
    rows = []
    for number, (before, after) in enumerate(folds(windows, k), start=1):
        train, watched = inner_tail(windows.take(before))
        borders = borders_of(train.y[:, -1])
        goals = borders.coming(train, f"{where}, training windows of fold {number}")
        seen, fold = borders.states(watched.y[:, -1]), windows.take(after)
        truth = borders.states(fold.y[:, -1])
        said = {"persistence": borders.states(fold.last), "majority": majority(goals, len(fold))}
        for treatment in TREATMENTS[:-1]:
            model = linear(treatment, goals, seed).fit(train.flat, goals)
            said[treatment] = decide(model.predict_proba(fold.flat))
            if treatment == "none":
                factors = moved(model.predict_proba(watched.flat), seen)
                said["moved threshold"] = decide(model.predict_proba(fold.flat), factors)
        rows += [
            {"fold": number, "treatment": treatment} | measures(truth, predicted)
            for treatment, predicted in said.items()
        ]
    return pd.DataFrame(rows)


def smote_verdict(table: pd.DataFrame, least_gain: float = 0.05) -> dict[str, object]:
    """Is SMOTE worth it? From rows with ``treatment``, ``seed`` and ``balanced_accuracy`` of one model on the test part.

    It is if its mean over the seeds beats that of the best cheaper treatment by more than the spread over seeds
    (the larger standard deviation of the two), and that of no treatment by the share ``least_gain`` at least.
    Returns ``worth`` (None with one seed, which has no spread), ``cheaper`` (a name), ``lead``, ``spread``, ``gain``.
    """
    groups = table.groupby("treatment")["balanced_accuracy"]
    mean, deviation = groups.mean(), groups.std()
    cheaper = str(mean[["class weights", "random oversampling", "moved threshold"]].idxmax())
    lead = float(mean["SMOTE"] - mean[cheaper])
    spread = float(deviation[["SMOTE", cheaper]].max())
    gain = float(mean["SMOTE"] / mean["none"] - 1)
    worth = None if np.isnan(spread) else bool(lead > spread and gain >= least_gain)
    return {"worth": worth, "cheaper": cheaper, "lead": lead, "spread": spread, "gain": gain}
