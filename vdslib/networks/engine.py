"""Many small networks at once: K models of one architecture, trained in one compiled graph.

A training step of the paper's network is little arithmetic and much ceremony: Keras ``fit`` starts hundreds of
small operations for every batch. The engine does the same arithmetic with less of it: the data stay in memory,
one call trains on many batches, K models share each operation (``vdslib.networks.stacked``), and XLA compiles the whole,
loops included, to machine code. What comes out are plain Keras models, and early stopping is Keras' own.

``training.train`` decides which jobs form a stack; a stack trains them. The shapes: K models, C batches in a call,
B windows in a batch.
"""

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from vdslib.forecasting import Windows
from vdslib.networks._tensorflow import keras, tf
from vdslib.networks.graph import dropout_draws, levels_of, names_of, unknown_part, written_out
from vdslib.networks.recurrent import Tensor
from vdslib.networks.stacked import UPDATES, by_layers

_CALL = (
    2048  # windows in a call: enough to hide what a call costs, few enough to fit in memory at any batch size
)
_CHUNK = 1024  # windows in a pass that only measures


@dataclass(frozen=True)
class Settings:
    """How a network is trained; the defaults are the paper's (section 2), with ``patience`` our own.

    ``patience``: epochs without a better validation loss before training stops; 0 never stops early.
    ``restore_best``: end with the weights of the epoch of the lowest validation loss, not the last ones.
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
    """Losses over epochs (the training loss as Keras runs it up, with dropout on).

    They are mean squared errors, or what a model that has a loss of its own minimises.

    ``best_epoch``: the epoch (from 1) whose weights were restored, None where the last ones are used.
    ``stopped_epoch``: the last epoch that was trained.
    """

    loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    stopped_epoch: int = 0


@dataclass(frozen=True)
class Job:
    """One network to train: what builds it (a function of the seed), on what, how, from which seed.

    ``validation`` is watched for early stopping and never trained on. ``name`` tells jobs apart in tables. ``leak`` names
    the leak of ``forecasting.LEAKS`` that is wanted, if any.
    """

    build: Callable[[int], keras.Model]
    train: Windows
    validation: Windows | None
    settings: Settings = field(default_factory=Settings)
    seed: int = 0
    name: str = ""
    leak: str | None = None


@dataclass
class Trained:
    """A trained network and how its training went."""

    model: keras.Model
    history: History


def batch_order(samples: int, seed: int, epoch: int, shuffle: bool = True) -> np.ndarray:
    """The order ``[samples]`` in which epoch ``epoch`` (from 0) visits the training windows."""
    if not shuffle:
        return np.arange(samples)
    return np.random.default_rng([seed, epoch]).permutation(samples)


class State(NamedTuple):
    """Where K models stand; every array has K in front.

    ``first`` and ``second`` are what the optimiser remembers for each weight, such as the mean gradient and its square;
    ``steps`` those taken so far; ``others`` variables that are not trained, such as the seeds of Keras' dropout.
    """

    weights: list[Any]
    first: list[Any]
    second: list[Any]
    steps: Any
    others: list[Any]


class _Program:
    """What is compiled for one kind of network: training on some batches, and measuring."""

    def __init__(self, model: keras.Model, settings: Settings) -> None:
        self.written = not unknown_part(model)
        self.forward = written_out(model) if self.written else by_layers(model)
        self.draws = dropout_draws(model) if self.written else 0
        self.levels = levels_of(model)
        self.update, self.momentum = UPDATES[settings.optimizer], settings.momentum
        # XLA compiles the loops written out in `stacked` within seconds, and they run three times faster; Keras'
        # layers take it longer to compile and run no faster.
        options = {"jit_compile": self.written, "reduce_retracing": not self.written, "autograph": False}
        self.train, self.measure = tf.function(self._train, **options), tf.function(self._measure, **options)

    def _train(
        self, state: State, rate: Tensor, count: Tensor, batches: tuple[Any, ...]
    ) -> tuple[State, Tensor]:
        """Train on ``count`` batches; the new state, and for each model ``[K]`` the sum of its windows' losses."""
        x, y, share, bits = batches

        def one(s: Tensor, total: Tensor, now: State) -> tuple[Tensor, Tensor, State]:
            with tf.GradientTape() as tape:
                tape.watch(now.weights)
                outputs, others, penalty = self.forward(now.weights, now.others, x[s], bits[s])
                error = tf.reduce_sum(self._errors(outputs, y[s]) * share[s], axis=-1)
                size = tf.reduce_sum(share[s], axis=-1)
                loss = error / tf.maximum(size, 1) + penalty
            gradients = tape.gradient(loss, now.weights, unconnected_gradients="zero")
            steps = now.steps + 1
            moved = []
            for weight, gradient, first, second in zip(
                now.weights, gradients, now.first, now.second, strict=True
            ):
                shape = [-1] + [1] * (len(weight.shape) - 1)
                each = tf.reshape(rate, shape), tf.reshape(steps, shape)
                moved.append(self.update(weight, gradient, first, second, *each, self.momentum))
            weights, firsts, seconds = (list(column) for column in zip(*moved, strict=True))
            return s + 1, total + loss * size, State(weights, firsts, seconds, steps, others)

        start = [0, tf.zeros_like(rate), state]
        _, total, state = tf.while_loop(lambda s, *_: s < count, one, start, parallel_iterations=1)
        return state, total

    def _errors(self, outputs: Tensor, y: Tensor) -> Tensor:
        """``[K, B]``: the mean squared error of each window, or the mean pinball loss of a network of quantiles."""
        if not self.levels:
            return tf.reduce_mean(tf.square(outputs - y), axis=-1)
        quantiles = tf.reshape(outputs, tf.concat([tf.shape(y), [len(self.levels)]], axis=0))
        missed, levels = y[..., None] - quantiles, tf.constant(self.levels, outputs.dtype)
        return tf.reduce_mean(tf.maximum(levels * missed, (levels - 1) * missed), axis=[-2, -1])

    def _measure(
        self, weights: list[Tensor], others: list[Tensor], x: Tensor, y: Tensor, share: Tensor
    ) -> Tensor:
        """The sum of the windows' losses ``[K]`` with dropout off."""
        outputs, _, penalty = self.forward(weights, others, x, None)
        errors = self._errors(outputs, y) * share
        return tf.reduce_sum(errors, axis=-1) + penalty * tf.reduce_sum(share, axis=-1)


_PROGRAMS: dict[str, _Program] = {}
_KEPT_PROGRAMS = 16


def kind_of(job: Job, model: keras.Model) -> str:
    """What jobs have in common that a stack may train together; empty for a network that must train alone.

    They may differ in weights, data, learning rate, seed, epochs and patience. A network that is not written out
    has no kind: its configuration cannot tell functions or classes of the same name apart.
    """
    if unknown_part(model):
        return ""

    # Keras numbers operations as they are made: where a graph refers to one, its place stands for its name
    place, referring = names_of(model), {"keras_history", "input_layers", "output_layers"}

    def bare(config: Any, refers: bool = False) -> Any:
        if isinstance(config, dict):
            own = config.keys() - {"seed", "name"}
            return {name: bare(config[name], refers or name in referring) for name in own}
        if isinstance(config, (list, tuple)):
            return [bare(value, refers) for value in config]
        return place.get(config, config) if refers and isinstance(config, str) else config

    config = json.dumps(bare(model.get_config()), default=repr, sort_keys=True)
    settings, shapes = job.settings, (job.train.x.shape[1:], job.train.y.shape[1:])
    precision = [str(variable.dtype) for variable in model.trainable_variables]
    return f"{config} {precision} {settings.optimizer} {settings.momentum} {settings.batch_size} {shapes}"


def _program(job: Job, model: keras.Model) -> _Program:
    """The program for such a model; what is compiled for a kind is kept for later calls."""
    kind = kind_of(job, model)
    if not kind:
        return _Program(model, job.settings)
    if kind not in _PROGRAMS:
        if len(_PROGRAMS) >= _KEPT_PROGRAMS:
            del _PROGRAMS[next(iter(_PROGRAMS))]
        _PROGRAMS[kind] = _Program(model, job.settings)
    return _PROGRAMS[kind]


class _Run:
    """One job on its way through the epochs. For Keras' own early stopping it stands in for the model."""

    stop_training = False

    def __init__(self, job: Job, trained: Trained) -> None:
        self.job, self.history, settings = job, trained.history, job.settings
        self.variables = trained.model.trainable_variables + trained.model.non_trainable_variables
        self.values = [variable.numpy() for variable in self.variables]
        self.bits = np.random.SFC64([job.seed, 1])
        self.watcher = None
        if (
            job.validation is not None
            and len(job.validation)
            and (settings.patience or settings.restore_best)
        ):
            self.watcher = keras.callbacks.EarlyStopping(
                "val_loss",
                patience=settings.patience or settings.epochs,
                mode="min",
                restore_best_weights=settings.restore_best,
            )
            self.watcher.set_model(self)
            self.watcher.on_train_begin()
        self._begin_epoch()

    def get_weights(self) -> list[np.ndarray]:
        return self.values

    def set_weights(self, values: list[np.ndarray]) -> None:
        self.values = values

    def _begin_epoch(self) -> None:
        epoch, settings = len(self.history.loss), self.job.settings
        self.order = batch_order(len(self.job.train), self.job.seed, epoch, settings.shuffle)
        self.total, self.seen = 0.0, 0

    @property
    def left(self) -> int:
        """Windows that this epoch has not seen yet."""
        return len(self.order) - self.seen

    def fill(self, parts: tuple[np.ndarray, ...]) -> None:
        """Write the next batches ``[C, B, ...]``: inputs, targets, weights of the windows, random bits."""
        x, y, share, bits = parts
        count, size, width = bits.shape
        rows = self.order[self.seen : self.seen + count * size]
        self.seen += len(rows)
        whole = np.pad(rows, (0, count * size - len(rows))).reshape(count, size)
        x[:], y[:] = self.job.train.x[whole], self.job.train.y[whole]
        share[:] = (np.arange(count * size) < len(rows)).reshape(count, size)
        # Drawn batch by batch, so that calls may be cut anywhere, and no more than this job's own batch needs.
        own = min(size, self.job.settings.batch_size, len(self.order))
        words = math.ceil(own * width / 4)  # of 64 bits
        drawn = self.bits.random_raw(count * words).view(np.uint16).reshape(count, words * 4)
        bits[:, :own] = drawn[:, : own * width].reshape(count, own, width)

    def end_epoch(self, values: list[np.ndarray], val_loss: float | None) -> None:
        """Note the losses and decide whether to go on; if not, put the weights (``values``, one array for each variable,
        in its shape) into the model."""
        self.values = values
        self.history.loss.append(self.total / len(self.job.train))
        epoch = len(self.history.loss)
        if val_loss is not None:
            self.history.val_loss.append(val_loss)
        if self.watcher:
            self.watcher.on_epoch_end(epoch - 1, {"val_loss": val_loss})
        if self.stop_training or epoch >= self.job.settings.epochs:
            self._finish()
        else:
            self._begin_epoch()

    def _finish(self) -> None:
        self.stop_training = True
        self.history.stopped_epoch = len(self.history.loss)
        if self.watcher:
            self.watcher.on_train_end()  # puts back the best values, if asked to
            if self.job.settings.restore_best:
                self.history.best_epoch = self.watcher.best_epoch + 1
        for variable, value in zip(self.variables, self.values, strict=True):
            variable.assign(value)


class Stack:
    """Jobs of one kind (``kind_of``) in training, ``width`` of them at once; who is done leaves its place to the next.

    jobs: each with what it trains, a compiled model and an empty history. ``stop`` ends the training between two calls.
    """

    def __init__(self, jobs: Sequence[tuple[Job, Trained]], width: int = 5) -> None:
        (first, trained), data = jobs[0], jobs[0][0].train
        self.program, self.stop = _program(first, trained.model), False
        self.runs = [_Run(job, its) for job, its in jobs]
        self.width = min(width, len(jobs)) if self.program.written else 1
        self.batch = min(first.settings.batch_size, max(len(job.train) for job, _ in jobs))
        self.per_call = max(1, _CALL // self.batch)
        self.trainable = len(trained.model.trainable_variables)
        self.dtype = trained.model.trainable_variables[0].dtype
        self.shapes = data.x.shape[1:], data.y.shape[1:]

    @property
    def work(self) -> int:
        """Windows to train on at most, over all jobs and epochs."""
        return sum(len(run.job.train) * run.job.settings.epochs for run in self.runs)

    def train(self) -> None:
        """Train all jobs to their end."""
        waiting = iter(self.runs)
        places = list(itertools.islice(waiting, self.width))
        state = tf.nest.map_structure(lambda *each: np.stack(each), *map(self._start, places))
        while not (self.stop or all(run.stop_training for run in places)):
            state, sums = self._call(places, state)
            for k, run in enumerate(places):
                if run.stop_training:
                    continue
                run.total += float(sums[k])
                if not run.left:
                    self._end_epoch(run, state, k)
                following = next(waiting, None) if run.stop_training else None
                if following:
                    places[k] = following
                    for leaf, value in zip(
                        *map(tf.nest.flatten, (state, self._start(following))), strict=True
                    ):
                        leaf[k] = value

    def _start(self, run: _Run) -> State:
        """Where one model starts."""
        weights, others = run.values[: self.trainable], run.values[self.trainable :]
        zeros = [np.zeros_like(weight) for weight in weights]
        return State(weights, zeros, zeros, np.zeros((), self.dtype), others)

    def _call(self, places: list[_Run], state: State) -> tuple[State, np.ndarray]:
        """Let all places take the batches that each has left in its epoch, as many as a call may have."""
        busy = [run for run in places if not run.stop_training]
        least, size = min(run.left for run in busy), self.batch
        if not self.program.written:
            # Keras' layers may look at a batch as a whole (batch normalisation), so nothing must fill up the last one.
            size = min(size, least)
            least -= least % size
        count = min(self.per_call, math.ceil(least / size))
        lead = (self.per_call, self.width, size)
        x, y = (np.zeros(lead + shape, self.dtype) for shape in self.shapes)
        # Windows of no weight: in a place that has no job, and where the last batch of an epoch is filled up.
        share, bits = np.zeros(lead, self.dtype), np.zeros((*lead, max(1, self.program.draws)), np.uint16)
        batches = (x, y, share, bits)
        for k, run in enumerate(places):
            if not run.stop_training:
                run.fill(tuple(part[:count, k] for part in batches))
        rates = np.array([run.job.settings.learning_rate for run in places], self.dtype)
        arguments = tf.nest.map_structure(tf.convert_to_tensor, (state, rates, np.int32(count), batches))
        after, sums = self.program.train(*arguments)
        return tf.nest.map_structure(np.array, after), sums.numpy()

    def _end_epoch(self, run: _Run, state: State, k: int) -> None:
        weights, others = ([leaf[k].copy() for leaf in part] for part in (state.weights, state.others))
        watched = run.job.validation
        loss = self._loss(weights, others, watched) if watched is not None and len(watched) else None
        run.end_epoch([*weights, *others], loss)

    def _loss(self, weights: list[np.ndarray], others: list[np.ndarray], windows: Windows) -> float:
        """The mean squared error of one model on ``windows``, dropout off."""
        chunk = min(_CHUNK, 1 << max(6, (len(windows) - 1).bit_length()))  # few sizes, as each is compiled
        one = tf.nest.map_structure(lambda value: tf.convert_to_tensor(value[None]), (weights, others))
        total = 0.0
        for start in range(0, len(windows), chunk):
            rows = np.arange(start, start + chunk)
            share = rows < len(windows)
            rows = np.minimum(rows, len(windows) - 1)  # the last window fills up, without weight
            parts = (part[None].astype(self.dtype) for part in (windows.x[rows], windows.y[rows], share))
            total += float(self.program.measure(*one, *map(tf.convert_to_tensor, parts))[0])
        return total / len(windows)
