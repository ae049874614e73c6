"""The book's own network: it knows the time, forgets the level, and holds on to the last value where it knows no better.

- ``rhythm``: from the phases of the time, one small network for each rhythm; their products are the shape of the day
  in the week. It is asked for the window's rows too, so that what is left of them is how far they are off the rhythm.
- ``change``: an LSTM over what is left, without its level, says how that goes on.
- ``hold``: the share of the last row's distance from the rhythm that stays, for each step. Where the last value lies
  outside all that was seen in training the whole distance stays, and the forecast moves along with it.
- trust: what rhythm and change add to the last value is taken whole, unless validation windows say that a share of it
  serves better (``calibrate``).

With ``spread`` the change is seen and told in units of the window's own spread: a flat window has none, and costs nothing.

Only layers and operations of Keras: a saved model needs nothing of ours to be loaded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import lsq_linear

from vdslib.forecasting import FLOOR, Rhythm, Windows
from vdslib.networks._tensorflow import keras

ops = keras.ops
ADDED = ("rhythm", "change")
CLEAR = 0.05  # by which a share of what is added must lower the validation error to be taken in place of all of it
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
    value, outputs = shape.past(window), shape.outputs
    last, off = value[:, -1:], value
    if shape.rhythms:
        drawn = rhythm(window[:, -1, shape.features - shape.ahead :], shape)
        off = value - drawn[:, : shape.window]
    state = shape.dense(shape.dense_units, "mix", activation="relu")(_state(window, value, off, shape))
    change = shape.dense(outputs, "changes", kernel_initializer="zeros")(state)
    if shape.spread:
        change = change * _spread(value)
    hold = shape.dense(outputs, "hold", activation="sigmoid", bias_initializer="ones")(state)
    outside = ops.maximum(0.0, ops.maximum(-last, last - 1.0)) / _SEEN
    back = (hold - 1.0) * ops.exp(-(outside * outside)) * off[:, -1:]
    if shape.rhythms:
        back = back + drawn[:, shape.window :] - drawn[:, shape.window - 1 : shape.window]
    return last + _trusted("rhythm", outputs)(back) + _trusted("change", outputs)(change)


def _trusted(name: str, outputs: int) -> Any:
    """A factor for each step, 1 until it is calibrated."""
    return keras.layers.Dense(
        outputs, use_bias=False, trainable=False, kernel_initializer="identity", name=f"trust_{name}"
    )


def _spread(rows: Any) -> Any:
    """[samples, 1]: the standard deviation of each row of [samples, values]."""
    apart = rows - ops.mean(rows, axis=1, keepdims=True)
    return ops.sqrt(ops.mean(apart * apart, axis=1, keepdims=True))


def _state(window: Any, value: Any, off: Any, shape: Any) -> Any:
    """[samples, units]: what the LSTM makes of a window without its level, and plans that are known in advance."""
    measured = shape.features - shape.ahead
    parts = [off if not shape.spread else value]
    parts += [window[:, :, n] for n in range(measured) if n != shape.target]
    columns = []
    for number, part in enumerate(parts):
        part = part - part[:, -1:]
        if shape.spread:
            part = part / ops.maximum(_spread(part), FLOOR)
        columns.append(keras.layers.Reshape((shape.window, 1), name=f"column_{number}")(part))
    state = keras.layers.Concatenate(name="columns")(columns) if len(columns) > 1 else columns[0]
    for layer in shape.recurrent("tanh"):
        state = layer(state)
    plans = shape.ahead - 2 * sum(each.harmonics for each in shape.rhythms)
    return keras.layers.Concatenate(name="plans")([state, window[:, -1, -plans:]]) if plans else state


def calibrate(networks: Sequence[keras.Model], windows: Windows) -> dict[str, np.ndarray]:
    """Set for each step the share of rhythm and change that serves validation ``windows`` best, between 0 and 1.

    All networks get the same shares, by least squares on what they add to the last value; all of it stays where the error
    would fall by less than 5%, since seeds alone move it as far. Returns the shares by name, [horizon] each.
    """
    inputs, added = np.asarray(windows.x, "float32"), []
    for model in networks:
        parts = keras.Model(model.inputs, [model.get_layer(f"trust_{name}").input for name in ADDED])
        added.append(np.stack(parts.predict(inputs, batch_size=4096, verbose=0), axis=-1).astype(float))
    both = np.concatenate(added)  # [samples of all, horizon, 2]
    missing = np.tile(windows.y - windows.last[:, None], (len(networks), 1))
    shares = np.ones((len(ADDED), missing.shape[1]))
    for step in range(missing.shape[1]):
        found = lsq_linear(both[:, step], missing[:, step], bounds=(0, 1)).x
        errors = [np.mean((missing[:, step] - both[:, step] @ each) ** 2) for each in (found, np.ones(2))]
        if errors[0] < (1 - CLEAR) * errors[1]:
            shares[:, step] = found
    result = dict(zip(ADDED, shares, strict=True))
    for model in networks:
        trust(model, result)
    return result


def trust(model: keras.Model, shares: Mapping[str, np.ndarray]) -> None:
    """Set the shares [horizon] of what rhythm and change add, by name."""
    for name in ADDED:
        model.get_layer(f"trust_{name}").set_weights([np.diag(shares[name]).astype("float32")])
