"""Training networks: compiling, fitting with early stopping, chronological cross-validation (section 2).

``fit`` trains one network. Everything that trains more than one (folds, seeds, arms) describes each as a
``Job`` and hands all to ``train``, so that there is one place where many networks are trained.
"""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

import joblib
import numpy as np
import pandas as pd
from tqdm import tqdm

from vdslib.errors import notice
from vdslib.forecasting import Windows, folds, leak_checks
from vdslib.networks import engine
from vdslib.networks._tensorflow import keras, seed_everything
from vdslib.networks.engine import History, Job, Settings, Trained
from vdslib.networks.trainable import left_to_fit, refuse_outputs, refuse_shape, refuse_state

# optimisers by name, and whether each takes an argument ``momentum``
OPTIMIZERS = {
    "adam": (keras.optimizers.Adam, False),
    "rmsprop": (keras.optimizers.RMSprop, True),
    "sgd": (keras.optimizers.SGD, True),
}

_STEPS_A_CALL = 256  # training steps that TensorFlow runs before it returns to Python
# Weights from which on a network fills a core; a stack of smaller ones is faster than one after the other.
_FILLS_A_CORE = 16_384
_FITTED = ("epochs", "batch_size", "patience", "shuffle", "restore_best")  # settings that ``fit`` takes
_LARGE_BATCH = 4096  # for passes without training, where the batch size changes nothing but the speed


def compile(
    model: keras.Model, optimizer: str = "adam", learning_rate: float = 0.01, momentum: float = 0.0
) -> keras.Model:
    """Compile ``model`` for the mean squared error and return it.

    ``momentum`` belongs to ``sgd`` and ``rmsprop``. In Adam, whose running mean of gradients is a momentum, Keras'
    ``beta_1`` has its place, so a ``momentum`` beside it raises ValueError, as does an unknown optimiser.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {optimizer!r}; valid are {', '.join(OPTIMIZERS)}")
    chosen, has_momentum = OPTIMIZERS[optimizer]
    if momentum and not has_momentum:
        raise ValueError(
            f"{optimizer} takes no momentum, beta_1 has its place: set momentum to 0, or take sgd or rmsprop"
        )
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
    leak: str | None = None,
) -> History:
    """Train a compiled ``model`` on ``train`` (x ``[samples, time steps, features]``, y ``[samples, horizon]``).

    After each epoch the loss on ``validation`` is taken. With ``patience`` above 0 training stops once it has
    not improved for that many epochs; ``restore_best`` then puts back the weights of the best epoch
    (without ``validation`` neither happens). The order of the batches comes from ``seed`` alone. ValueError when
    there is nothing to train on, outputs and targets differ in shape, or a layer is stateful; LeakError when the test part would be watched and ``leak`` does not name that.
    """
    _refuse_empty(train)
    _refuse_watching(validation, patience > 0 or restore_best, leak)
    watched = validation is not None and len(validation) > 0
    refuse_state(model)
    refuse_outputs(model, *[part for part in (train, validation) if part is not None])
    seed_everything(seed)
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
    best = stopping.best_epoch + 1 if stopping is not None and restore_best else None
    return History(loss=loss, val_loss=val_loss, best_epoch=best, stopped_epoch=len(loss))


def train(jobs: Sequence[Job]) -> list[Trained]:
    """Train the network of each job; the answers come in the order of ``jobs``, each a compiled Keras model.

    The one function through which more than one network is trained. Jobs of one kind form stacks, which the
    processor's cores train side by side (``vdslib.networks.engine``). A job's outcome depends on its own seed and data;
    the jobs beside it touch the last digits at most. A model's optimiser starts anew if ``fit`` goes on with it.
    A model that its builder compiled is trained by Keras ``fit`` as compiled, and a printed line says so, as for any
    other that only ``fit`` can train.
    ValueError where a job has nothing to train on, no epoch, validation windows of another shape, outputs of another
    shape than its targets, a stateful layer, or the model of another job; LeakError where it would watch the test part
    and its ``leak`` does not name that.
    """
    trained = [Trained(_built(job), History()) for job in jobs]
    if len({id(each.model) for each in trained}) < len(jobs):
        raise ValueError("two jobs have one model: let the builder make a new one each time")
    ways = [left_to_fit(each.model) for each in trained]
    for job, done in zip(jobs, trained, strict=True):
        if not done.model.compiled:  # else somebody chose the loss, the optimiser or the metrics
            compile(done.model, job.settings.optimizer, job.settings.learning_rate, job.settings.momentum)
    kinds: dict[str, list[tuple[Job, Trained]]] = {}
    said = {""}
    for number, (job, done, (by_fit, remark)) in enumerate(zip(jobs, trained, ways, strict=True)):
        if remark not in said:
            said.add(remark)
            notice(remark)
        if by_fit:
            fitting = {name: getattr(job.settings, name) for name in _FITTED}
            done.history = fit(done.model, job.train, job.validation, seed=job.seed, leak=job.leak, **fitting)
        else:
            kinds.setdefault(engine.kind_of(job, done.model) or f"alone {number}", []).append((job, done))
    _train_stacks([engine.Stack(part) for members in kinds.values() for part in _dealt(members)])
    return trained


def _train_stacks(stacks: list[engine.Stack]) -> None:
    """Let each core train one stack after the other."""
    stacks.sort(key=lambda stack: stack.work, reverse=True)  # so that no core waits for a long one at the end
    with ThreadPoolExecutor(joblib.cpu_count()) as threads:
        waiting = [threads.submit(stack.train) for stack in stacks]
        try:
            for done in tqdm(
                as_completed(waiting), "training", len(stacks), leave=False, ascii=True, disable=None
            ):
                done.result()
        except BaseException:  # an error in one, or an interrupt: the others end at their next call
            for stack in stacks:
                stack.stop = True
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _refuse_empty(windows: Windows) -> None:
    if not len(windows):
        raise ValueError("there are no training windows")


def _refuse_watching(watched: Windows | None, decides: bool, leak: str | None) -> None:
    """LeakError if test windows are watched; ``decides``: the losses on them would stop training or choose weights."""
    leak_checks.check_name(leak, "fit")
    part = watched.part if watched is not None else ""
    if part == "resampled":
        leak_checks.refuse("SMOTE before the split", "the windows to watch were resampled", leak)
    elif part == "test":
        name = "early stopping on the test set" if decides else "best test epoch reported"
        leak_checks.refuse(name, "the windows to watch are those of the test part", leak)


def _built(job: Job) -> keras.Model:
    """The model of a job whose data and settings fit together, as its builder made it."""
    _refuse_empty(job.train)
    settings, watched = job.settings, job.validation
    _refuse_watching(watched, settings.patience > 0 or settings.restore_best, job.leak)
    if settings.epochs < 1:
        raise ValueError(f"epochs must be 1 or more, not {settings.epochs}")
    for name in ("x", "y"):
        shapes = [getattr(part, name).shape[1:] for part in (job.train, watched) if part is not None]
        if len(set(shapes)) > 1:
            raise ValueError(f"windows to train on and to watch differ in the shape of {name}: {shapes}")
    model = job.build(job.seed)
    if not (model.built and model.variables):
        model(np.asarray(job.train.x[:1], "float32"))  # Keras makes the weights when it sees the first input
    refuse_state(model)
    refuse_outputs(model, job.train)
    return model


def _dealt(jobs: list[tuple[Job, Trained]]) -> list[list[tuple[Job, Trained]]]:
    """Jobs of one kind dealt to stacks: each its own where a network is large enough to keep a core busy."""
    if jobs[0][1].model.count_params() >= _FILLS_A_CORE:
        return [[job] for job in jobs]
    cores = min(joblib.cpu_count(), len(jobs))
    return [jobs[start::cores] for start in range(cores)]


def predict(model: keras.Model, windows: Windows) -> np.ndarray:
    """Forecasts ``[samples, outputs]`` of ``model``, dropout off, in the scale of the targets."""
    parts = [
        keras.ops.convert_to_numpy(
            model(np.asarray(windows.x[start : start + _LARGE_BATCH], "float32"), training=False)
        )
        for start in range(0, len(windows), _LARGE_BATCH)
    ]
    return np.concatenate(parts).astype("float64")


def losses(model: keras.Model, *windows: Windows) -> list[float]:
    """The mean squared error of ``model`` on each of ``windows`` with dropout off, at its present weights.

    This is the fair comparison between parts of the data: the training loss in a history is measured with
    dropout on and while the weights still move. ValueError where outputs and targets differ in shape.
    """
    values = []
    for part in windows:
        forecast = predict(model, part)
        refuse_shape(model, forecast.shape[1:], part)
        values.append(float(np.mean((forecast - part.y) ** 2)))
    return values


def inner_tail(windows: Windows, share: float = 0.2) -> tuple[Windows, Windows]:
    """Cut ``windows`` in time: the first part to train on, the last ``share`` to watch.

    Windows that reach over the cut (time steps of one side, targets of the other) are left out.
    """
    moments = windows.moments()
    unique = np.unique(moments)
    if len(unique) < 2:
        raise ValueError("windows of one moment cannot be cut in time")
    cut = unique[min(max(1, round(len(unique) * (1 - share))), len(unique) - 1)]
    before = np.flatnonzero(windows.ends() <= cut)
    if not len(before):
        raise ValueError(
            f"{len(windows)} windows are too few to train on their first part and watch their last"
        )
    return windows.take(before), windows.take(np.flatnonzero(moments >= cut))


def cross_validate(
    build: Callable[[int], keras.Model],
    windows: Windows,
    k: int = 5,
    seeds: Sequence[int] = (0,),
    settings: Settings | None = None,
) -> pd.DataFrame:
    """Chronological cross-validation: each fold is forecast by networks trained on what came before it.

    Early stopping watches the inner tail of a fold's own training rows; the fold itself is used once, to
    measure. One row for each fold and seed: ``fold``, ``seed``, ``train_mse``, ``fold_mse`` (dropout off, at the
    weights in use), ``constant_mse`` (the training mean on the same fold), ``epochs``, ``best_epoch``. A printed line names
    the fold and the seed of a network whose error is no number.
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
        if not np.isfinite(fold_mse):
            place = f"fold {number}, seed {seed}, learning rate {job.settings.learning_rate:.6g}"
            notice(f"{place}: the network diverged and has no error")
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
    """A network behind the protocol of the baselines: ``fit(windows)``, then ``forecast(windows)``."""

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
        """Train on ``windows``, watching ``validation`` (the inner tail of ``windows`` when there is none)."""
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

    @property
    def learning_rate(self) -> float | None:
        """That of the optimiser which trained the network; None where there is none."""
        optimizer = getattr(self.trained.model, "optimizer", None) if self.trained else None
        return None if optimizer is None else float(optimizer.learning_rate)

    def forecast(self, windows: Windows) -> np.ndarray:
        """Forecasts ``[samples, horizon]``, scaled. RuntimeError before ``fit``."""
        if self.trained is None:
            raise RuntimeError("fit the forecaster before asking it for forecasts")
        return predict(self.trained.model, windows)
