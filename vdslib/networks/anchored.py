"""The book's own network: it knows the time, forgets the level, and holds on to the last value where it knows no better.

- ``rhythm``: from the phases of the time, one small network for each rhythm; their products are the shape of the day
  in the week. It is asked for the window's rows too, so that what is left of them is how far they are off the rhythm.
- ``table``, an option: a job that starts at the same minute each day is a peak of one row, which no smooth shape draws. For
  each half row of the shortest rhythm there is a weight for each step. Where there is no such job, it learns noise
  (``has_peaks``).
- ``change``: an LSTM over what is left, without its level, says how that goes on.
- ``hold``: the share of the last row's distance from the rhythm that stays, for each step. Where the last value lies
  outside all that was seen in training the whole distance stays, and the forecast moves along with it.
- trust: what rhythm and change add to the last value is taken whole, unless forecasts of windows that were not learnt
  from say that a share of it, or nothing, serves better (``calibrate``).

With ``spread`` the change is seen and told in units of the window's own spread: a flat window has none, and costs nothing.

Only layers and operations of Keras: a saved model needs nothing of ours to be loaded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import lsq_linear

from vdslib.forecasting import FLOOR, Rhythm, Windows, baselines
from vdslib.networks._tensorflow import keras

ops = keras.ops
ADDED = ("rhythm", "change")
CLEAR = 0.05  # by which the error has to fall: from all of what is added to a share of it, and from nothing to either
# of the table: for each row of the rhythm, since a peak may lie between two; and at most
_BUMPS, _MOST = 2, 600
_STRETCHES = 5  # into which the time to calibrate on is cut
_CALM = 0.1  # the least error of a stretch, as a share of the mean one: else a flat stretch would rule alone
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


def bumps(rhythm: Rhythm, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Kernel [2, count] and bias [count] by which sine and cosine of a moment become the logarithms of bumps around ``count``
    places of the rhythm.

    They are exp(k (cos d - 1)), the density of von Mises, where d is the distance from a place; cos d is a sum of the
    moment's sine and cosine. ``step``: seconds of a row.
    """
    count = int(min(_BUMPS * rhythm.seconds / step, _MOST))
    places, sharpness = 2 * np.pi * np.arange(count) / count, 2 * (count / (2 * np.pi)) ** 2
    return sharpness * np.stack([np.sin(places), np.cos(places)]), np.full(count, -sharpness)


def table(known: Any, shape: Any) -> Any:
    """[samples, outputs]: what is added at one moment of the shortest rhythm, and not around it."""
    kernel, bias = bumps(shape.rhythms[0], shape.step)
    exponents = keras.layers.Dense(len(bias), trainable=False, name="moment")
    near = ops.exp(exponents(known[:, :2]))
    exponents.set_weights([kernel, bias])
    return keras.layers.Dense(shape.outputs, use_bias=False, kernel_initializer="zeros", name="table")(near)


def has_peaks(known: Windows, later: Windows, step: float) -> bool:
    """Are there peaks of single moments, which come back with the shortest rhythm?

    A linear model says so, which learns from ``known``: told of these moments too, its error one step ahead on
    ``later`` windows has to fall by ``CLEAR``. ``step``: seconds of a row.
    """
    if not known.rhythms:
        return False
    kernel, bias = bumps(known.rhythms[0], step)

    from sklearn.linear_model import Ridge

    lags = known.x.shape[1]
    plain = [baselines.lagged(windows, lags) for windows in (known, later)]
    moments = [np.exp(windows.known[:, :2] @ kernel + bias) for windows in (known, later)]
    errors = []
    for x in (plain, [np.hstack(pair) for pair in zip(plain, moments, strict=True)]):
        forecast = Ridge().fit(x[0], known.y[:, 0]).predict(x[1])
        errors.append(np.mean((forecast - later.y[:, 0]) ** 2))
    return bool(errors[1] < (1 - CLEAR) * errors[0])


def anchored(window: Any, shape: Any) -> Any:
    """The forecasts [samples, outputs] for windows [samples, time steps, features]."""
    value, outputs = shape.past(window), shape.outputs
    last, off = value[:, -1:], value
    known = window[:, -1, shape.features - shape.ahead :]
    if shape.rhythms:
        drawn = rhythm(known, shape)
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
        if shape.table:
            back = back + table(known, shape)
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


def calibrate(networks: Sequence[keras.Model], *parts: Windows, apart: bool = False) -> dict[str, np.ndarray]:
    """For each step the share of rhythm and change, between 0 and 1, that serves windows which were not learnt from best.

    The mean of ``networks`` is judged on one part, or ``apart``: each network on a part of its own. By least squares on
    what is added to the last value; in each stretch of time errors count by their ratio to those of persistence, so that
    gains in a wild one do not pay for losses in calm ones. All of it stays where the error would fall by less than
    5%, since seeds alone move it as far; nothing of it where it is less than 5% better than the last value. Returns the
    shares by name, [horizon] each.
    """
    groups = [[network] for network in networks] if apart else [list(networks)]
    added, missed = [], []
    for group, windows in zip(groups, parts, strict=True):
        both = np.mean([_added(model, windows) for model in group], axis=0)
        missing = np.asarray(windows.y - windows.last[:, None], dtype=float)
        for rows in np.array_split(np.argsort(windows.moments(), kind="stable"), min(_STRETCHES, len(both))):
            added.append(both[rows])
            missed.append(missing[rows])
    persistence = np.array([np.mean(stretch**2, axis=0) for stretch in missed])  # [stretches, horizon]
    scale = np.sqrt(np.maximum(persistence, _CALM * persistence.mean(axis=0)) + FLOOR**2)
    both = np.concatenate([stretch / own[:, None] for stretch, own in zip(added, scale, strict=True)])
    missing = np.concatenate([stretch / own for stretch, own in zip(missed, scale, strict=True)])
    return dict(zip(ADDED, _shares(both, missing), strict=True))


def _shares(both: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """[2, horizon]: how much of ``both`` [samples, horizon, 2] to add where ``missing`` [samples, horizon] is to be met."""
    shares = np.zeros((len(ADDED), missing.shape[1]))
    for step in range(missing.shape[1]):
        found = lsq_linear(both[:, step], missing[:, step], bounds=(0, 1)).x
        best = np.mean(missing[:, step] ** 2)
        for each in (np.ones(2), found):
            error = np.mean((missing[:, step] - both[:, step] @ each) ** 2)
            if error < (1 - CLEAR) * best:
                best, shares[:, step] = error, each
    return shares


def _added(model: keras.Model, windows: Windows) -> np.ndarray:
    """[samples, horizon, 2]: what rhythm and change would add to the last value."""
    parts = keras.Model(model.inputs, [model.get_layer(f"trust_{name}").input for name in ADDED])
    added = parts.predict(np.asarray(windows.x, "float32"), batch_size=4096, verbose=0)
    return np.stack(added, axis=-1).astype(float)


def trust(model: keras.Model, shares: Mapping[str, np.ndarray]) -> None:
    """Set the shares [horizon] of what rhythm and change add, by name."""
    for name in ADDED:
        model.get_layer(f"trust_{name}").set_weights([np.diag(shares[name]).astype("float32")])
