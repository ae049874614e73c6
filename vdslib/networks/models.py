"""Networks by name, as plain Keras models: the three that go by the paper's name, and a reader's own.

``printed``
    the program of section 3.2: LSTM layers with relu, dropout after each, and always three outputs.
``figure``
    Fig. 1 and the text around it: LSTM layers with dropout that all return sequences, flattening,
    a hidden dense layer, an output layer. (Flattening a vector would do nothing, so the last LSTM
    layer returns its whole sequence here.)
``textbook``
    what most readers would write: LSTM layers with tanh, dropout after each, a dense output layer.

Another joins by ``register``, above a function of a ``Shape`` that returns the layers after the input.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vdslib.forecasting import FLOOR, Rhythm, Windows, target_column
from vdslib.networks import anchored
from vdslib.networks._tensorflow import keras, seed_everything
from vdslib.registry import Registry

PRINTED_OUTPUTS = 3
"""The printed program ends in three outputs, whatever it is to forecast."""

_LONGEST_UNROLLED = 20  # time steps; written out, the loop over them costs a third less, but more memory


@dataclass(frozen=True)
class Shape:
    """What a network is to look like, as ``build`` describes it; ``activation`` is None for the network's own.

    ``draws`` has four seeds for each LSTM layer, then for a hidden dense layer, then for the output: of the kernel, the
    recurrent kernel, dropout and recurrent dropout.
    """

    window: int
    outputs: int
    units: Sequence[int]
    activation: str | None
    dropout: float
    recurrent_dropout: float
    dense_units: int
    draws: list[list[int]]
    features: int = 1
    ahead: int = 0
    rhythms: tuple[Rhythm, ...] = ()
    step: float = 1.0
    target: int = 0
    spread: bool = False
    table: bool = False

    def recurrent(self, activation: str, *, sequences: bool = False) -> list[keras.Layer]:
        """LSTM layers, dropout after each; ``sequences``: the last one too returns [samples, time steps, units]."""
        layers = []
        for number, size in enumerate(self.units, start=1):
            kernel, recurrent, noise, loop_noise = self.draws[number - 1]
            layers += [
                keras.layers.LSTM(
                    size,
                    activation=self.activation or activation,
                    recurrent_dropout=self.recurrent_dropout,
                    kernel_initializer=keras.initializers.GlorotUniform(kernel),
                    recurrent_initializer=keras.initializers.Orthogonal(seed=recurrent),
                    seed=loop_noise,
                    return_sequences=sequences or number < len(self.units),
                    unroll=self.window <= _LONGEST_UNROLLED,
                    name=f"lstm_{number}",
                ),
                keras.layers.Dropout(self.dropout, seed=noise, name=f"dropout_{number}"),
            ]
        return layers

    def past(self, window: Any) -> Any:
        """[samples, window]: the target's own past. ValueError where it is not among the features."""
        if self.target < 0:
            raise ValueError(
                "this network starts from the target's own past: put the target among the features"
            )
        return window[:, :, self.target]

    def dense(self, size: int, name: str, **options: Any) -> keras.layers.Dense:
        """A dense layer whose weights depend on the network's seed and on its own name."""
        own = np.random.SeedSequence([self.draws[-1][0], *name.encode()]).generate_state(1)
        options = {"kernel_initializer": keras.initializers.GlorotUniform(int(own[0])), **options}
        return keras.layers.Dense(size, name=name, **options)

    def output(self, outputs: int) -> keras.Layer:
        """The dense layer at the end."""
        kernel = keras.initializers.GlorotUniform(self.draws[-1][0])
        return keras.layers.Dense(outputs, kernel_initializer=kernel, name="output")


# the layers after the input, or a function from the input to the output
Made = list[keras.Layer] | Callable[[Any], Any]
NETWORKS: Registry[Callable[[Shape], Made]] = Registry("network", ["vdslib.networks.architectures"])
register = NETWORKS.register


@register("printed")
def _printed(shape: Shape) -> list[keras.Layer]:
    return [*shape.recurrent("relu"), shape.output(PRINTED_OUTPUTS)]


@register("figure")
def _figure(shape: Shape) -> list[keras.Layer]:
    kernel = keras.initializers.GlorotUniform(shape.draws[-2][0])
    return [
        *shape.recurrent("tanh", sequences=True),
        keras.layers.Flatten(name="flatten"),
        keras.layers.Dense(shape.dense_units, activation="relu", kernel_initializer=kernel, name="dense"),
        shape.output(shape.outputs),
    ]


@register("anchored")
def _anchored(shape: Shape) -> Callable[[Any], Any]:
    return lambda window: anchored.anchored(window, shape)


@register("textbook")
def _textbook(shape: Shape) -> list[keras.Layer]:
    return [*shape.recurrent("tanh"), shape.output(shape.outputs)]


def build(
    network: str,
    *,
    window: int,
    features: int,
    outputs: int = 1,
    units: Sequence[int] = (64, 32),
    activation: str | None = None,
    dropout: float = 0.2,
    recurrent_dropout: float = 0.0,
    dense_units: int = 32,
    ahead: int = 0,
    rhythms: Sequence[Rhythm] = (),
    step: float = 1.0,
    target: int = 0,
    level: str = "",
    spread: bool = False,
    table: bool = False,
    seed: int = 0,
) -> keras.Model:
    """Build a registered network, not compiled, with weights that depend on ``seed`` and sizes alone.

    Networks that differ in dropout or activation only start from the same weights, so they can be compared.

    Input ``[samples, window, features]``, output ``[samples, outputs]`` (``printed``: ``[samples, 3]``).

    ``units`` holds the size of each LSTM layer; ``activation`` is that of the LSTM layers (None or "": the network's
    own). ``dropout`` is the share of values switched off after each LSTM layer while training, as in the printed
    program; ``recurrent_dropout`` acts within the LSTM layers, on the state that passes from one time step to the next,
    as the text says. ``dense_units`` is the size of the hidden dense layer, which only ``figure`` and ``anchored`` have.

    What windows bring with them comes from ``design``: how many of the features are known in ``ahead``, the ``rhythms``
    among these, the seconds of a ``step``, the place of the ``target`` among the features (-1: it is none of them). ``level`` ("last" or "mean")
    and ``spread`` take the level and the spread of each window out of the inputs and put them back into the output,
    within the network (``vdslib.forecasting.without_level``); ``anchored`` has no level, sees the change by ``spread``, and
    with ``table`` learns single moments of the shortest rhythm.

    Side effect: seeds Python, NumPy and TensorFlow with ``seed``. ValueError for an unknown network,
    no LSTM layer, or a share outside [0, 1).
    """
    builder = NETWORKS.get(network)
    _check(units, dropout=dropout, recurrent_dropout=recurrent_dropout)
    seed_everything(seed)
    draws = _seeds(seed, len(units) + 2)
    shape = Shape(
        window, outputs, units, activation, dropout, recurrent_dropout, dense_units, draws,
        features, ahead, tuple(rhythms), step, target, spread, table,
    )  # fmt: skip
    made = builder(shape)
    name = re.sub(r"[^\w.-]", "-", network)  # what Keras' fit can take
    if (level or spread) and network != "anchored":
        return _moved(_levelled(made, shape, level, spread, name), seed)
    if level:
        raise ValueError("the network 'anchored' takes the level out itself: leave level empty")
    entry = keras.Input((window, features), name="window")
    if callable(made):
        return _moved(keras.Model(entry, made(entry), name=name), seed)
    return _moved(keras.Sequential([entry, *made], name=name), seed)


def _levelled(made: Made, shape: Shape, level: str, spread: bool, name: str) -> keras.Model:
    """The network on windows without their level, as ``vdslib.forecasting.Levelled`` makes them, undone at its output."""
    if shape.target < 0:
        raise ValueError("a level is that of the target's own past: put the target among the features")
    if level not in ("last", "mean"):
        raise ValueError(f"level must be 'last' or 'mean', not {level!r}")
    measured, ops = shape.features - shape.ahead, keras.ops
    entry = keras.Input((shape.window, shape.features), name="window")
    rows = entry[:, :, :measured]
    mean = ops.mean(rows, axis=1, keepdims=True)
    centre = rows[:, -1:] if level == "last" else mean
    inputs, own = rows - centre, slice(shape.target, shape.target + 1)
    if spread:
        apart = rows - mean
        deviation = ops.sqrt(ops.mean(apart * apart, axis=1, keepdims=True))
        inputs = inputs / ops.maximum(deviation, FLOOR)
    if shape.ahead:
        inputs = keras.layers.Concatenate(name="relative")([inputs, entry[:, :, measured:]])
    outputs = inputs
    for part in [made] if callable(made) else made:
        outputs = part(outputs)
    if spread:
        outputs = outputs * deviation[:, 0, own]
    return keras.Model(entry, outputs + centre[:, 0, own], name=name)


def design(windows: Windows) -> dict[str, Any]:
    """What ``build`` has to know of windows: their shape, their target's place, what is known in advance."""
    column, steps = target_column(windows), windows.steps().values()
    seconds = [step / np.timedelta64(1, "s") for step in steps if isinstance(step, np.timedelta64)]
    return {
        "window": windows.x.shape[1],
        "features": windows.x.shape[2],
        "outputs": windows.y.shape[1],
        "ahead": windows.ahead,
        "rhythms": windows.rhythms,
        "step": float(np.median(seconds)) if seconds else 1.0,
        "target": -1 if column is None else column,
    }


def _moved(model: keras.Model, seed: int) -> keras.Model:
    """The network with its starting weights a little elsewhere, if VDS_MOVED_WEIGHTS says so.

    "3" multiplies every weight by 1 + 1e-6 x normal, from seed 3; "3:0.01" by a factor of that size. Training then
    goes astray as by the rounding of another processor: what changes is decided by noise (``make numerics``).
    """
    if switch := os.environ.get("VDS_MOVED_WEIGHTS"):
        draw, _, size = switch.partition(":")
        normal = np.random.default_rng([int(draw), seed]).standard_normal
        model.set_weights([w * (1 + float(size or 1e-6) * normal(w.shape)) for w in model.get_weights()])
    return model


def _seeds(seed: int, layers: int) -> list[list[int]]:
    """Four seeds for each of ``layers`` layers: kernel, recurrent kernel, dropout, recurrent dropout."""
    return np.random.SeedSequence(seed).generate_state(4 * layers).reshape(layers, 4).tolist()


def _check(units: Sequence[int], **shares: float) -> None:
    """ValueError where no such network can be built."""
    if not units or min(units) < 1:
        raise ValueError(f"units must name at least one LSTM layer of at least one unit, not {list(units)}")
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise ValueError(f"{name} must lie in [0, 1), not {share}")
