"""The networks of the paper and their optimisers, computed for K models of one architecture at once.

The weights of K models lie in one array ``[K, ...]`` each, so that one product serves them all. Keras gives the
architecture and the formulas; here they are only written so that a compiler makes few and large operations of them:
the inputs of an LSTM layer meet their weights before the loop over time, for all time steps in one product, and its
derivative is written out, which gathers the gradient of the recurrent weights in one product too.

The shapes: K models, T time steps, B windows in a batch. Sequences are ``[K, T, B, features]``.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

from vdslib.networks._tensorflow import keras, tf

Tensor = Any  # TensorFlow publishes no types
Forward = Callable[..., tuple[Tensor, list[Tensor], Tensor]]

_DRAWS = 2**16  # dropout compares 16 random bits with its rate

DERIVATIVES: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": lambda out: 1 - out * out,
    "sigmoid": lambda out: out * (1 - out),
    "relu": lambda out: tf.cast(out > 0, out.dtype),
    "linear": tf.ones_like,
}
"""The activations known within an LSTM layer: the derivative of each, from its own output."""


def _cell(
    z: Tensor, c: Tensor, squash: Callable[..., Any], gate: Callable[..., Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """One time step: the new states h and c, and what the way back needs. Gates in Keras' order i, f, g, o."""
    i, f, g, o = tf.split(z, 4, axis=-1)
    i, f, g, o = gate(i), gate(f), squash(g), gate(o)
    after = f * c + i * g
    out = squash(after)
    return o * out, after, tf.concat([i, f, g, o, c, out], axis=-1)


def _cell_back(
    kept: Tensor, dh: Tensor, dc: Tensor, slope: Callable[..., Any], gate_slope: Callable[..., Any]
) -> tuple[Tensor, Tensor]:
    """One time step backwards: the gradients of z and of the c before it."""
    i, f, g, o, c, out = tf.split(kept, 6, axis=-1)
    dc = dc + dh * o * slope(out)
    gates = [dc * g * gate_slope(i), dc * c * gate_slope(f), dc * i * slope(g), dh * out * gate_slope(o)]
    return tf.concat(gates, axis=-1), dc * f


def lstm(activation: str, gate: str, x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
    """The states ``[K, T, B, units]`` of K LSTM layers over x ``[K, T, B, inputs]`` (paper, section 3.1)."""
    squash, slope = keras.activations.get(activation), DERIVATIVES[activation]
    open_, open_slope = keras.activations.get(gate), DERIVATIVES[gate]
    models, steps, batch, inputs = x.shape
    units = recurrent.shape[1]

    def by_time(sequence: Tensor) -> Tensor:
        return tf.transpose(sequence, [1, 0, 2, 3])  # [K, T, ...] to [T, K, ...] and back

    def array(size: int) -> Tensor:
        return tf.TensorArray(x.dtype, steps, element_shape=[models, batch, size])

    @tf.custom_gradient
    def run(x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor) -> tuple[Tensor, Callable[..., Any]]:
        rows = tf.reshape(x, [models, steps * batch, inputs])
        fed = by_time(tf.reshape(rows @ kernel + bias[:, None], [models, steps, batch, 4 * units]))
        zero = tf.zeros([models, batch, units], x.dtype)

        def forth(t: Tensor, h: Tensor, c: Tensor, states: Tensor, kept: Tensor) -> tuple[Any, ...]:
            h, c, now = _cell(fed[t] + h @ recurrent, c, squash, open_)
            return t + 1, h, c, states.write(t, h), kept.write(t, now)

        start = [0, zero, zero, array(units), array(6 * units)]
        *_, states, kept = tf.while_loop(lambda t, *_: t < steps, forth, start, maximum_iterations=steps)
        states, kept = by_time(states.stack()), kept.stack()

        def gradient(upstream: Tensor) -> tuple[Tensor, ...]:
            arriving = by_time(upstream)

            def back(t: Tensor, dh: Tensor, dc: Tensor, dzs: Tensor) -> tuple[Any, ...]:
                dz, dc = _cell_back(kept[t], dh + arriving[t], dc, slope, open_slope)
                return t - 1, tf.matmul(dz, recurrent, transpose_b=True), dc, dzs.write(t, dz)

            last = [steps - 1, zero, zero, array(4 * units)]
            *_, dzs = tf.while_loop(lambda t, *_: t >= 0, back, last, maximum_iterations=steps)
            dz = tf.reshape(by_time(dzs.stack()), [models, steps * batch, 4 * units])
            before = tf.reshape(tf.concat([zero[:, None], states[:, :-1]], axis=1), [models, -1, units])
            return (
                tf.reshape(tf.matmul(dz, kernel, transpose_b=True), x.shape),
                tf.matmul(rows, dz, transpose_a=True),
                tf.matmul(before, dz, transpose_a=True),
                tf.reduce_sum(dz, axis=1),
            )

        return states, gradient

    return run(x, kernel, recurrent, bias)


def _name_of(activation: Any) -> str:
    """The name of an activation that an LSTM layer may have here, empty for any other."""
    return next((name for name in DERIVATIVES if keras.activations.get(name) is activation), "")


def _is_kerass_own(activation: Any) -> bool:
    """A function of the same name that somebody else wrote is not, and neither is a layer."""
    try:
        return keras.activations.get(getattr(activation, "__name__", "")) is activation
    except ValueError:
        return False


def _is_plain(layer: Any, *options: str) -> bool:
    """Has ``layer`` no options but the named ones, and those that only matter before training or for speed?"""
    free = {"name", "dtype", "seed", "unroll", "unit_forget_bias", "trainable", *options}
    free |= {"kernel_initializer", "recurrent_initializer", "bias_initializer"}
    usual = inspect.signature(type(layer)).parameters
    return all(
        name in free or value == (usual[name].default if name in usual else False)
        for name, value in layer.get_config().items()
    )


def is_known(layer: Any, frozen: bool = False) -> bool:
    """Is the layer one of those that are written out here, without unusual options; may it be ``frozen``?"""
    if not (layer.trainable or frozen) or layer.compute_dtype != layer.variable_dtype:
        return False
    if type(layer) is keras.layers.LSTM:
        inner = _name_of(layer.activation) and _name_of(layer.recurrent_activation)
        return bool(inner) and _is_plain(
            layer, "units", "activation", "recurrent_activation", "return_sequences"
        )
    if type(layer) is keras.layers.Dense:
        return _is_kerass_own(layer.activation) and _is_plain(layer, "units", "activation", "use_bias")
    if type(layer) is keras.layers.Dropout:
        return layer.rate < 1 and _is_plain(layer, "rate")
    return type(layer) is keras.layers.Flatten


def unknown_part(model: keras.Model) -> str:
    """What keeps a built network from being written out here; empty if nothing does."""
    if type(model) is not keras.Sequential:
        return "a network other than keras.Sequential"
    if None in model.input_shape[1:]:
        return "an input of open length"
    return next((f"its {type(layer).__name__} layer" for layer in model.layers if not is_known(layer)), "")


# A part of a network: from x, the weights and the random bits that are left (None to leave dropout out) to the new x.
Part = Callable[[Tensor, Iterator[Tensor], "Bits | None"], Tensor]


class Bits:
    """The random bits ``[K, B, draws]`` of one batch, drawn by ``engine``, handed out to the dropout layers in their order.

    Each window has its own row, so what it draws does not depend on how many others are in the batch.
    """

    def __init__(self, bits: Tensor) -> None:
        self.bits, self.used = bits, 0

    def like(self, x: Tensor) -> Tensor:
        """Whole numbers below ``_DRAWS``, one for each value of ``x`` ``[K, B, features]`` or ``[K, T, B, features]``."""
        models, *steps, batch, features = x.shape
        size = math.prod(steps) * features
        drawn = tf.cast(self.bits[:, :, self.used : self.used + size], tf.int32)
        self.used += size
        if not steps:
            return drawn
        return tf.transpose(tf.reshape(drawn, [models, batch, *steps, features]), [0, 2, 1, 3])


def _lstm_part(layer: Any) -> Part:
    names = _name_of(layer.activation), _name_of(layer.recurrent_activation)
    whole = layer.return_sequences

    def part(x: Tensor, weights: Iterator[Tensor], bits: Bits | None) -> Tensor:
        states = lstm(*names, x, next(weights), next(weights), next(weights))
        return states if whole else states[:, -1]

    return part


def _dropout_part(layer: Any) -> Part:
    rate = layer.rate

    def part(x: Tensor, weights: Iterator[Tensor], bits: Bits | None) -> Tensor:
        if bits is None or not rate:
            return x
        return tf.where(bits.like(x) < round(rate * _DRAWS), tf.zeros_like(x), x / (1 - rate))

    return part


def _dense_part(layer: Any) -> Part:
    activation, use_bias = layer.activation, layer.use_bias

    def part(x: Tensor, weights: Iterator[Tensor], bits: Bits | None) -> Tensor:
        kernel = next(weights)
        lead = [x.shape[0], *[1] * (len(x.shape) - 3)]  # the weights of a model serve all its time steps
        x = x @ tf.reshape(kernel, [*lead, *kernel.shape[1:]])
        return activation(x + tf.reshape(next(weights), [*lead, 1, -1]) if use_bias else x)

    return part


def _flatten_part(layer: Any) -> Part:
    def part(x: Tensor, weights: Iterator[Tensor], bits: Bits | None) -> Tensor:
        if len(x.shape) == 3:
            return x
        return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [x.shape[0], x.shape[2], -1])

    return part


PARTS = {
    keras.layers.LSTM: _lstm_part,
    keras.layers.Dropout: _dropout_part,
    keras.layers.Dense: _dense_part,
    keras.layers.Flatten: _flatten_part,
}
"""How each known layer is computed for K models."""


def written_out(model: keras.Model) -> Forward:
    """The network, without ``unknown_part``, as a function of the weights of K models.

    The function takes weights, states (none here), x ``[K, B, T, F]`` and the random bits of dropout (None to
    leave it out); it returns the outputs ``[K, B, outputs]``, the states and a penalty on the weights (none).
    Nothing of ``model`` is kept.
    """
    parts = [PARTS[type(layer)](layer) for layer in model.layers]

    def forward(
        weights: list[Tensor], states: list[Tensor], x: Tensor, noise: Tensor | None
    ) -> tuple[Any, ...]:
        left, bits = iter(weights), None if noise is None else Bits(noise)
        x = tf.transpose(x, [0, 2, 1, 3])  # sequences are [K, T, B, features] from here on
        for part in parts:
            x = part(x, left, bits)
        return x, states, tf.zeros([x.shape[0]], x.dtype)

    return forward


def by_layers(model: keras.Model) -> Forward:
    """The same function for any other network, of one model only (K = 1): Keras' own layers."""

    def forward(
        weights: list[Tensor], states: list[Tensor], x: Tensor, noise: Tensor | None
    ) -> tuple[Any, ...]:
        outputs, after, penalties = model.stateless_call(
            [weight[0] for weight in weights],
            [state[0] for state in states],
            x[0],
            training=noise is not None,
            return_losses=True,
        )
        penalty = sum(penalties, tf.zeros([], outputs.dtype))
        return outputs[None], [state[None] for state in after], penalty[None]

    return forward


def dropout_draws(model: keras.Model) -> int:
    """Random numbers that dropout needs for one window of a network that is written out."""
    noisy = [layer for layer in model.layers if type(layer) is keras.layers.Dropout and layer.rate]
    return sum(math.prod(layer.output.shape[1:]) for layer in noisy)


def _adam(
    w: Tensor, g: Tensor, a: Tensor, b: Tensor, rate: Tensor, step: Tensor, momentum: float
) -> tuple[Any, ...]:
    a = a + (g - a) * (1 - 0.9)
    b = b + (g * g - b) * (1 - 0.999)
    rate = (
        rate * tf.sqrt(1 - tf.pow(tf.cast(0.999, w.dtype), step)) / (1 - tf.pow(tf.cast(0.9, w.dtype), step))
    )
    return w - a * rate / (tf.sqrt(b) + 1e-7), a, b


def _rmsprop(
    w: Tensor, g: Tensor, a: Tensor, b: Tensor, rate: Tensor, step: Tensor, momentum: float
) -> tuple[Any, ...]:
    b = 0.9 * b + (1 - 0.9) * g * g
    a = momentum * a + rate * g / tf.sqrt(b + 1e-7)
    return w - a, a, b


def _sgd(
    w: Tensor, g: Tensor, a: Tensor, b: Tensor, rate: Tensor, step: Tensor, momentum: float
) -> tuple[Any, ...]:
    a = momentum * a - rate * g
    return w + a, a, b


UPDATES = {"adam": _adam, "rmsprop": _rmsprop, "sgd": _sgd}
"""The optimisers, with Keras' formulas and constants: new weights and two memories, which mean what each needs."""
