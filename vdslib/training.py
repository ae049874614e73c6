"""Training networks: compiling, fitting with early stopping, chronological cross-validation (section 2).

`fit` trains one network. Everything that trains more than one (folds, seeds, arms) describes each as a
`Job` and hands all to `train`, so that there is one place where many networks are trained.
"""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from vdslib._tensorflow import keras, seed_everything
from vdslib.preparation import Windows, folds

__all__ = [
    "OPTIMIZERS",
    "Forecaster",
    "History",
    "Job",
    "Settings",
    "Trained",
    "compile",
    "cross_validate",
    "fit",
    "inner_tail",
    "losses",
    "predict",
    "seed_everything",
    "train",
]

OPTIMIZERS = {"adam": False, "rmsprop": True, "sgd": True}
"""The optimisers by name, and whether each knows a momentum of its own."""

_STEPS_A_CALL = 256  # training steps that TensorFlow runs before it returns to Python
_LARGE_BATCH = 4096  # for passes without training, where the batch size changes nothing but the speed


@dataclass(frozen=True)
class Settings:
    """How a network is trained; the defaults are the paper's (section 2), with `patience` our own.

    `patience`: epochs without a better validation loss before training stops; 0 never stops early.
    `restore_best`: end with the weights of the epoch of the lowest validation loss, not the last ones.
    """

    optimizer: str = "adam"
    learning_rate: float = 0.01
    momentum: float = 0.0
    epochs: int = 50
    batch_size: int = 16
    patience: int = 5
    restore_best: bool = True
    shuffle: bool = True


@dataclass
class History:
    """Losses over epochs (MSE; the training loss as Keras runs it up, with dropout on).

    `best_epoch`: the epoch (from 1) whose weights were restored, None where the last ones are used.
    `stopped_epoch`: the last epoch that was trained.
    """

    loss: list[float]
    val_loss: list[float]
    best_epoch: int | None
    stopped_epoch: int


@dataclass(frozen=True)
class Job:
    """One network to train: what builds it (a function of the seed), on what, how, from which seed.

    `validation` is watched for early stopping and never trained on. `name` tells jobs apart in tables.
    """

    build: Callable[[int], keras.Model]
    train: Windows
    validation: Windows | None
    settings: Settings = field(default_factory=Settings)
    seed: int = 0
    name: str = ""


@dataclass(frozen=True)
class Trained:
    """A trained network and how its training went."""

    model: keras.Model
    history: History


def compile(
    model: keras.Model, optimizer: str = "adam", learning_rate: float = 0.01, momentum: float = 0.0
) -> keras.Model:
    """Compile `model` for the mean squared error and return it.

    `momentum` belongs to `sgd` and `rmsprop`; Adam keeps its own running mean of gradients, so a
    momentum beside it raises ValueError, as does an unknown optimiser.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {optimizer!r}; valid are {', '.join(OPTIMIZERS)}")
    if momentum and not OPTIMIZERS[optimizer]:
        raise ValueError(f"{optimizer} has no momentum of its own; set momentum to 0, or take sgd or rmsprop")
    chosen = {
        "adam": keras.optimizers.Adam,
        "rmsprop": keras.optimizers.RMSprop,
        "sgd": keras.optimizers.SGD,
    }[optimizer]
    extra = {"momentum": momentum} if momentum else {}
    # XLA makes these small networks slower here; several steps a call save most of the overhead.
    model.compile(
        optimizer=chosen(learning_rate=learning_rate, **extra),
        loss="mean_squared_error",
        steps_per_execution=_STEPS_A_CALL,
        jit_compile=False,
    )
    return model


class _Progress(keras.callbacks.Callback):
    """One line that is written over after each epoch; only on a terminal, never into a notebook."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = ", ".join(f"{name} {value:.4g}" for name, value in (logs or {}).items())
        sys.stdout.write(f"\r\033[Kepoch {epoch + 1}: {values}")
        sys.stdout.flush()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        sys.stdout.write("\r\033[K")


def fit(
    model: keras.Model,
    train: Windows,
    validation: Windows | None,
    *,
    epochs: int = 50,
    batch_size: int = 16,
    patience: int = 5,
    seed: int = 0,
    shuffle: bool = True,
    restore_best: bool = True,
) -> History:
    """Train a compiled `model` on `train` (x `[samples, time steps, features]`, y `[samples, horizon]`).

    After each epoch the loss on `validation` is taken. With `patience` above 0 training stops once it has
    not improved for that many epochs; `restore_best` then puts back the weights of the best epoch
    (without `validation` neither happens). The order of the batches comes from `seed` alone. ValueError when
    there is nothing to train on.
    """
    if not len(train):
        raise ValueError("there are no training windows")
    seed_everything(seed)
    watched = validation is not None and len(validation) > 0
    callbacks: list[keras.callbacks.Callback] = [_Progress()] if sys.stdout.isatty() else []
    stopping = None
    if watched and (patience or restore_best):
        stopping = keras.callbacks.EarlyStopping(
            monitor="val_loss", patience=patience or epochs, restore_best_weights=restore_best
        )
        callbacks.append(stopping)
    record = model.fit(
        np.ascontiguousarray(train.x, dtype="float32"),
        np.asarray(train.y, dtype="float32"),
        validation_data=(np.asarray(validation.x, "float32"), np.asarray(validation.y, "float32"))
        if watched and validation is not None
        else None,
        validation_batch_size=_LARGE_BATCH,
        epochs=epochs,
        batch_size=batch_size,
        shuffle=shuffle,
        callbacks=callbacks,
        verbose=0,
    )
    loss = [float(value) for value in record.history["loss"]]
    val_loss = [float(value) for value in record.history.get("val_loss", [])]
    restored = stopping is not None and restore_best and np.isfinite(val_loss).any()
    best = int(np.nanargmin(val_loss)) + 1 if restored else None
    return History(loss=loss, val_loss=val_loss, best_epoch=best, stopped_epoch=len(loss))


class _Bench:
    """A compiled network on which jobs of one kind train, one after another.

    TensorFlow traces a graph when a model first trains, which takes as long as hundreds of steps. Jobs that
    differ in data and seed only can share it.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        model.optimizer.build(model.trainable_variables)
        self.start = [variable.numpy() for variable in model.optimizer.variables]

    def run(self, job: Job, model: keras.Model) -> History:
        """Train as `model` would have trained from its present weights, and leave the outcome in it."""
        for mine, its in zip(self.model.variables, model.variables, strict=True):
            mine.assign(its)  # weights, and the states from which dropout draws
        for variable, value in zip(self.model.optimizer.variables, self.start, strict=True):
            variable.assign(value)
        how = job.settings
        history = fit(
            self.model,
            job.train,
            job.validation,
            epochs=how.epochs,
            batch_size=how.batch_size,
            patience=how.patience,
            seed=job.seed,
            shuffle=how.shuffle,
            restore_best=how.restore_best,
        )
        for mine, its in zip(self.model.variables, model.variables, strict=True):
            its.assign(mine)
        return history


def train(jobs: Sequence[Job]) -> list[Trained]:
    """Train the network of each job; the answers come in the order of `jobs`.

    The one function through which more than one network is trained. Each job depends on its own seed
    and data alone, never on the jobs beside it.
    """
    benches: dict[str, _Bench] = {}
    trained = []
    for job in jobs:
        how = (job.settings.optimizer, job.settings.learning_rate, job.settings.momentum)
        model = compile(job.build(job.seed), *how)
        kind = re.sub(r"'seed': \w+", "", repr((model.get_config(), how)))
        if kind not in benches:
            benches[kind] = _Bench(compile(job.build(job.seed), *how))
        trained.append(Trained(model, benches[kind].run(job, model)))
    return trained


def predict(model: keras.Model, windows: Windows) -> np.ndarray:
    """Forecasts `[samples, outputs]` of `model`, dropout off, in the scale of the targets."""
    parts = [
        keras.ops.convert_to_numpy(
            model(np.asarray(windows.x[start : start + _LARGE_BATCH], "float32"), training=False)
        )
        for start in range(0, len(windows), _LARGE_BATCH)
    ]
    return np.concatenate(parts).astype("float64")


def losses(model: keras.Model, *windows: Windows) -> list[float]:
    """The mean squared error of `model` on each of `windows` with dropout off, at its present weights.

    This is the fair comparison between parts of the data: the training loss in a history is measured with
    dropout on and while the weights still move.
    """
    return [float(np.mean((predict(model, part) - part.y) ** 2)) for part in windows]


def inner_tail(windows: Windows, share: float = 0.2) -> tuple[Windows, Windows]:
    """Cut `windows` in time: the first part to train on, the last `share` to watch.

    Windows that reach over the cut (time steps of one side, targets of the other) are left out.
    """
    moments = np.unique(windows.times)
    if len(moments) < 2:
        raise ValueError("windows of one moment cannot be cut in time")
    cut = moments[min(max(1, round(len(moments) * (1 - share))), len(moments) - 1)]
    reach = (windows.x.shape[1] + windows.y.shape[1]) * np.median(np.diff(moments))
    before = np.flatnonzero(windows.times <= cut - reach)
    if not len(before):
        raise ValueError(
            f"{len(windows)} windows are too few to train on their first part and watch their last"
        )
    return windows.take(before), windows.take(np.flatnonzero(windows.times >= cut))


def cross_validate(
    build: Callable[[int], keras.Model],
    windows: Windows,
    k: int = 5,
    seeds: Sequence[int] = (0,),
    settings: Settings | None = None,
) -> pd.DataFrame:
    """Chronological cross-validation: each fold is forecast by networks trained on what came before it.

    Early stopping watches the inner tail of a fold's own training rows; the fold itself is used once, to
    measure. One row for each fold and seed: `fold`, `seed`, `train_mse`, `fold_mse` (dropout off, at the
    weights in use), `constant_mse` (the training mean on the same fold), `epochs`, `best_epoch`.
    """
    parts = folds(windows, k)
    jobs, places = [], []
    for number, (before, after) in enumerate(parts, start=1):
        training, watched = inner_tail(windows.take(before))
        for seed in seeds:
            jobs.append(Job(build, training, watched, settings or Settings(), seed, f"fold {number}"))
            places.append((number, seed, windows.take(after)))
    rows = []
    for job, (number, seed, fold), trained in zip(jobs, places, train(jobs), strict=True):
        train_mse, fold_mse = losses(trained.model, job.train, fold)
        rows.append(
            {
                "fold": number,
                "seed": seed,
                "train_mse": train_mse,
                "fold_mse": fold_mse,
                "constant_mse": float(np.mean((fold.y - job.train.y.mean(axis=0)) ** 2)),
                "epochs": trained.history.stopped_epoch,
                "best_epoch": trained.history.best_epoch,
            }
        )
    return pd.DataFrame(rows)


class Forecaster:
    """A network behind the protocol of the baselines: `fit(windows)`, then `forecast(windows)`."""

    def __init__(
        self,
        build: Callable[[int], keras.Model],
        settings: Settings | None = None,
        seed: int = 0,
        name: str = "",
    ) -> None:
        self.build, self.settings, self.seed = build, settings or Settings(), seed
        self.name = name
        self.trained: Trained | None = None

    def fit(self, windows: Windows, validation: Windows | None = None) -> "Forecaster":
        """Train on `windows`, watching `validation` (the inner tail of `windows` when there is none)."""
        if validation is None:
            windows, validation = inner_tail(windows)
        self.trained = train([Job(self.build, windows, validation, self.settings, self.seed, self.name)])[0]
        return self

    @classmethod
    def of(cls, trained: Trained, name: str = "", seed: int = 0) -> "Forecaster":
        """A forecaster around a network that is trained already."""
        forecaster = cls(lambda _: trained.model, seed=seed, name=name)
        forecaster.trained = trained
        return forecaster

    def forecast(self, windows: Windows) -> np.ndarray:
        """Forecasts `[samples, horizon]`, scaled. RuntimeError before `fit`."""
        if self.trained is None:
            raise RuntimeError("fit the forecaster before asking it for forecasts")
        return predict(self.trained.model, windows)
