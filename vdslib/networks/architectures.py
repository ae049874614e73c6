"""Other architectures under the same conditions: what the paper names for later, and cheap opponents (section 4).

All see the measured rows of a window and what is known in advance of the rows to forecast. ``units`` are the sizes of
recurrent layers; other widths follow from the first of them. Weights depend on the seed that ``build`` sets.
"""

from typing import Any

import numpy as np

from vdslib.networks._tensorflow import keras
from vdslib.networks.anchored import turns
from vdslib.networks.models import Shape, register

layers, ops = keras.layers, keras.ops
KERNEL, DILATIONS = 3, (1, 2, 4)  # of the temporal convolution
HEADS = 2


def receptive_field(kernel: int = KERNEL, dilations: tuple[int, ...] = DILATIONS) -> int:
    """Rows that an output of stacked dilated convolutions sees: 1 + (kernel - 1) x the sum of dilations."""
    return 1 + (kernel - 1) * sum(dilations)


def _measured(window: Any, shape: Shape) -> Any:
    return window[:, :, : shape.features - shape.ahead]


def _ended(state: Any, window: Any, shape: Shape) -> Any:
    """The forecasts from a state [samples, width] and what is known in advance."""
    if shape.dropout:
        state = layers.Dropout(shape.dropout)(state)
    if shape.ahead:
        state = layers.Concatenate(name="known")([state, window[:, -1, shape.features - shape.ahead :]])
    state = layers.Dense(shape.dense_units, activation="relu", name="mix")(state)
    return layers.Dense(shape.outputs, name="output")(state)


def _stacked(kind: Any, window: Any, shape: Shape) -> Any:
    state = _measured(window, shape)
    for number, size in enumerate(shape.units, start=1):
        state = kind(size, return_sequences=number < len(shape.units))(state)
    return _ended(state, window, shape)


@register("lstm")
def _lstm(shape: Shape) -> Any:
    """LSTM layers, and the time beside their state."""
    return lambda window: _stacked(layers.LSTM, window, shape)


@register("gru")
def _gru(shape: Shape) -> Any:
    """Gated recurrent units, a gate less than the LSTM (Cho et al. 2014)."""
    return lambda window: _stacked(layers.GRU, window, shape)


@register("bidirectional")
def _bidirectional(shape: Shape) -> Any:
    """LSTM layers that read each window forwards and backwards."""

    def kind(size: int, **options: Any) -> Any:
        return layers.Bidirectional(layers.LSTM(size, **options))

    return lambda window: _stacked(kind, window, shape)


@register("cnn-lstm")
def _cnn_lstm(shape: Shape) -> Any:
    """A convolution over three rows before the LSTM layers."""

    def network(window: Any) -> Any:
        state = layers.Conv1D(shape.units[0], KERNEL, padding="causal", activation="relu")(
            _measured(window, shape)
        )
        for number, size in enumerate(shape.units, start=1):
            state = layers.LSTM(size, return_sequences=number < len(shape.units))(state)
        return _ended(state, window, shape)

    return network


@register("cnn-nodes")
def _cnn_nodes(shape: Shape) -> Any:
    """A convolution across nodes and time, then LSTM layers: what the paper calls spatial (section 4).

    The columns other than the target are the same quantity on each node. They are a picture of time by nodes, in which each
    filter sees three rows of neighbouring nodes; the target's own past joins before the LSTM layers.
    """

    def network(window: Any) -> Any:
        rows = _measured(window, shape)
        # a system of one node has no column beside the target's own
        places = [n for n in range(shape.features - shape.ahead) if n != shape.target] or [shape.target]
        parts = [rows[:, :, n : n + 1] for n in places]
        picture = layers.Concatenate(name="nodes")(parts) if len(parts) > 1 else parts[0]
        picture = layers.Reshape((shape.window, len(places), 1), name="picture")(picture)
        seen = layers.Conv2D(shape.units[0] // 4 or 1, KERNEL, padding="same", activation="relu")(picture)
        state = layers.Reshape((shape.window, len(places) * seen.shape[-1]), name="by_time")(seen)
        state = layers.Concatenate(name="beside")([state, rows])
        for number, size in enumerate(shape.units, start=1):
            state = layers.LSTM(size, return_sequences=number < len(shape.units))(state)
        return _ended(state, window, shape)

    return network


def temporal(rows: Any, width: int) -> Any:
    """[samples, time steps, width]: dilated causal convolutions, each output from its row and earlier ones
    (Bai et al. 2018)."""
    for dilation in DILATIONS:
        rows = layers.Conv1D(width, KERNEL, padding="causal", dilation_rate=dilation, activation="relu")(rows)
    return rows


@register("temporal-convolution")
def _temporal(shape: Shape) -> Any:
    """``temporal``, and the time beside its last output."""
    return lambda window: _ended(temporal(_measured(window, shape), shape.units[0])[:, -1], window, shape)


def _later(window: Any, shape: Shape) -> Any:
    """[samples, outputs, known]: what is known of each row to forecast; of one row where nothing is, a one."""
    size = 2 * sum(each.harmonics for each in shape.rhythms)
    if not size:
        return ops.ones_like(layers.RepeatVector(shape.outputs)(window[:, -1, :1]))
    turn = layers.Dense(shape.outputs * size, use_bias=False, trainable=False, name="turn")
    start = shape.features - shape.ahead
    phases = turn(window[:, -1, start : start + size])
    turn.set_weights([turns(shape.rhythms, shape.step, np.arange(shape.outputs))])
    return layers.Reshape((shape.outputs, size), name="later")(phases)


@register("attention")
def _attention(shape: Shape) -> Any:
    """An LSTM encoder and decoder with additive attention (Bahdanau et al. 2015; for load: Zhu et al. 2019, [2]).

    The decoder is asked for each row to forecast by what is known of it; the layer ``attention`` says from which rows
    of the window the answer comes.
    """

    def network(window: Any) -> Any:
        size = shape.units[0]
        rows, h, c = layers.LSTM(size, return_sequences=True, return_state=True, name="encoder")(
            _measured(window, shape)
        )
        asked = layers.LSTM(size, return_sequences=True, name="decoder")(
            _later(window, shape), initial_state=[h, c]
        )
        found = layers.AdditiveAttention(name="attention")([asked, rows])
        state = layers.Concatenate(name="both")([asked, found])
        state = layers.Dense(shape.dense_units, activation="relu", name="mix")(state)
        return layers.Reshape((shape.outputs,))(layers.Dense(1, name="output")(state))

    return network


@register("lstm-transformer")
def _transformer(shape: Shape) -> Any:
    """An LSTM, then a block of self-attention over its states (Vaswani et al. 2017)."""

    def network(window: Any) -> Any:
        size = shape.units[0]
        rows = layers.LSTM(size, return_sequences=True, name="encoder")(_measured(window, shape))
        among = layers.MultiHeadAttention(HEADS, max(1, size // HEADS), name="attention")(rows, rows)
        rows = layers.LayerNormalization()(rows + among)
        rows = layers.LayerNormalization()(
            rows + layers.Dense(size)(layers.Dense(2 * size, activation="relu")(rows))
        )
        return _ended(rows[:, -1], window, shape)

    return network


# ------------------------------------------------------------------------------------- cheap opponents


def _line(values: Any, window: Any, shape: Shape, name: str = "output") -> Any:
    """A linear map of [samples, values], with what is known in advance beside them."""
    if shape.ahead:
        values = layers.Concatenate(name=f"{name}_known")(
            [values, window[:, -1, shape.features - shape.ahead :]]
        )
    return layers.Dense(shape.outputs, name=name)(values)


@register("nlinear")
def _nlinear(shape: Shape) -> Any:
    """A linear map of the target's past without its last value (Zeng et al. 2023)."""

    def network(window: Any) -> Any:
        value = shape.past(window)
        last = value[:, -1:]
        return _line(value - last, window, shape) + last

    return network


@register("dlinear")
def _dlinear(shape: Shape) -> Any:
    """A linear map each of the moving average of the target's past and of what is left (Zeng et al. 2023)."""

    def network(window: Any) -> Any:
        value, reach = shape.past(window), min(5, shape.window)
        near = np.clip(np.arange(shape.window)[:, None] + np.arange(reach) - reach // 2, 0, shape.window - 1)
        mean = np.zeros((shape.window, shape.window), dtype=np.float32)
        for row, places in enumerate(near):
            np.add.at(mean[:, row], places, 1 / reach)
        average = layers.Dense(shape.window, use_bias=False, trainable=False, name="average")
        trend = average(value)
        average.set_weights([mean])
        return layers.Dense(shape.outputs, name="trend")(trend) + _line(value - trend, window, shape)

    return network


@register("rlinear")
def _rlinear(shape: Shape) -> Any:
    """A linear map of the target's past without its mean and spread (Li et al. 2023)."""

    def network(window: Any) -> Any:
        value = shape.past(window)
        mean = ops.mean(value, axis=1, keepdims=True)
        apart = value - mean
        spread = ops.sqrt(ops.mean(apart * apart, axis=1, keepdims=True))
        return _line(apart / ops.maximum(spread, 1e-6), window, shape) * spread + mean

    return network


@register("tsmixer")
def _tsmixer(shape: Shape) -> Any:
    """Two blocks that mix along time, then along features (Chen et al. 2023)."""

    def network(window: Any) -> Any:
        rows, width = window, shape.units[0]
        for _ in range(2):
            along = layers.Permute((2, 1))(rows)
            along = layers.Permute((2, 1))(layers.Dense(shape.window, activation="relu")(along))
            rows = rows + along
            rows = rows + layers.Dense(shape.features)(layers.Dense(width, activation="relu")(rows))
        return layers.Dense(shape.outputs, name="output")(layers.Flatten()(rows))

    return network
