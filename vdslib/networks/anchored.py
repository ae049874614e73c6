"""The book's own network: it knows the time, forgets the level, and holds on to the last value where it knows no better.

- ``rhythm``: from the phases of the time, one small network for each rhythm; their products are the shape of the day
  in the week. It is asked for the window's rows too, so that what is left of them is how far they are off the rhythm.
- ``change``: an LSTM over what is left, without its level, says how that goes on.
- ``hold``: the share of the last row's distance from the rhythm that stays, for each step. Where the last value lies
  outside all that was seen in training the whole distance stays, and the forecast moves along with it.

Only layers and operations of Keras: a saved model needs nothing of ours to be loaded.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vdslib.forecasting import Rhythm
from vdslib.networks._tensorflow import keras

ops = keras.ops
_WIDTH, _RANK = 16, 2  # of the network of one rhythm: hidden units, and shapes that are multiplied
_SEEN = 0.05  # how far outside 0 .. 1 the last value may lie before the forecast moves along with it


def turns(rhythms: Sequence[Rhythm], step: float, offsets: np.ndarray) -> np.ndarray:
    """[2 x harmonics, offsets x 2 x harmonics]: turns the phases of one row into those of the rows ``offsets`` away.

    Sine and cosine of a later time are sums of those of this one, with factors that do not depend on the time.
    """
    speeds = [2 * np.pi * n * step / each.seconds for each in rhythms for n in range(1, each.harmonics + 1)]
    size = 2 * len(speeds)
    result = np.zeros((size, len(offsets), size), dtype=np.float32)
    for place, speed in enumerate(speeds):
        sine, cosine = 2 * place, 2 * place + 1
        result[sine, :, sine] = result[cosine, :, cosine] = np.cos(speed * offsets)
        result[cosine, :, sine], result[sine, :, cosine] = np.sin(speed * offsets), -np.sin(speed * offsets)
    return result.reshape(size, -1)


def rhythm(known: Any, shape: Any) -> Any:
    """[samples, window + outputs]: what the time alone says of the window's rows and of those to forecast."""
    size = 2 * sum(each.harmonics for each in shape.rhythms)
    rows = shape.window + shape.outputs
    turn = keras.layers.Dense(rows * size, use_bias=False, trainable=False, name="turn")
    phases = turn(known[:, :size])
    turn.set_weights([turns(shape.rhythms, shape.step, np.arange(rows) - shape.window)])
    phases = keras.layers.Reshape((rows, size), name="phases")(phases)
    start, product = 0, None
    for number, each in enumerate(shape.rhythms):
        own = phases[:, :, start : start + 2 * each.harmonics]
        start += 2 * each.harmonics
        own = shape.dense(_WIDTH, f"shape_{number}", activation="relu")(own)
        own = shape.dense(_RANK, f"factor_{number}", bias_initializer="ones")(own)
        product = own if product is None else product * own
    return keras.layers.Reshape((rows,), name="rhythm")(shape.dense(1, "mixed")(product))


def anchored(window: Any, shape: Any) -> Any:
    """The forecasts [samples, outputs] for windows [samples, time steps, features]."""
    measured, value = window[:, :, : shape.features - shape.ahead], shape.past(window)
    last = value[:, -1:]
    off, later = value, 0.0
    if shape.rhythms:
        drawn = rhythm(window[:, -1, shape.features - shape.ahead :], shape)
        off, later = value - drawn[:, : shape.window], drawn[:, shape.window :]
    left = [keras.layers.Reshape((shape.window, 1), name="off")(off - off[:, -1:])]
    others = [n for n in range(shape.features - shape.ahead) if n != shape.target]
    left += [measured[:, :, n : n + 1] - measured[:, -1:, n : n + 1] for n in others]
    state = keras.layers.Concatenate(name="change")(left) if others else left[0]
    for layer in shape.recurrent("tanh"):
        state = layer(state)
    plans = shape.ahead - 2 * sum(each.harmonics for each in shape.rhythms)
    if plans:
        state = keras.layers.Concatenate(name="plans")([state, window[:, -1, -plans:]])
    state = shape.dense(shape.dense_units, "mix", activation="relu")(state)
    change = shape.dense(shape.outputs, "changes", kernel_initializer="zeros")(state)
    hold = shape.dense(shape.outputs, "hold", activation="sigmoid", bias_initializer="ones")(state)
    outside = ops.maximum(0.0, ops.maximum(-last, last - 1.0)) / _SEEN
    hold = 1.0 - (1.0 - hold) * ops.exp(-(outside * outside))
    return later + hold * off[:, -1:] + change
