"""LSTM and GRU layers of K models at once, with derivatives of their own.

The inputs meet their weights before the loop over time, for all time steps in one product. The way back is written out
too, so that the gradient of the recurrent weights is one product over all time steps in place of a sum of small ones.

The shapes: K models, T time steps, B windows in a batch. Sequences are ``[K, T, B, features]``, states ``[K, B, units]``.
"""

from collections.abc import Callable
from typing import Any

from vdslib.networks._tensorflow import keras, tf

Tensor = Any  # TensorFlow publishes no types
Function = Callable[..., Any]

DERIVATIVES: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": lambda out: 1 - out * out,
    "sigmoid": lambda out: out * (1 - out),
    "relu": lambda out: tf.cast(out > 0, out.dtype),
    "linear": tf.ones_like,
}
"""The activations known within a recurrent layer: the derivative of each, from its own output."""


def _by_time(sequence: Tensor) -> Tensor:
    return tf.transpose(sequence, [1, 0, 2, 3])  # [K, T, ...] to [T, K, ...] and back


def _fed(x: Tensor, kernel: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The inputs as rows ``[K, T x B, inputs]``, and what their weights make of them, ``[T, K, B, ...]``."""
    models, steps, batch, inputs = x.shape
    rows = tf.reshape(x, [models, steps * batch, inputs])
    return rows, _by_time(tf.reshape(rows @ kernel + bias[:, None], [models, steps, batch, -1]))


def _as_rows(by_time: Tensor) -> Tensor:
    """``[T, K, B, features]`` as ``[K, T x B, features]``."""
    steps, models, batch, size = by_time.shape
    return tf.reshape(_by_time(by_time), [models, steps * batch, size])


def _before(start: Tensor, states: Tensor) -> Tensor:
    """The states ``[K, T, B, units]`` before each time step, as rows."""
    earlier = tf.concat([start[:, None], states[:, :-1]], axis=1)
    return tf.reshape(earlier, [states.shape[0], -1, states.shape[3]])


def _lstm_cell(z: Tensor, c: Tensor, squash: Function, gate: Function) -> tuple[Tensor, Tensor, Tensor]:
    """One time step: the new states h and c, and what the way back needs. Gates in Keras' order i, f, g, o."""
    i, f, g, o = tf.split(z, 4, axis=-1)
    i, f, g, o = gate(i), gate(f), squash(g), gate(o)
    after = f * c + i * g
    out = squash(after)
    return o * out, after, tf.concat([i, f, g, o, c, out], axis=-1)


def _lstm_back(
    kept: Tensor, dh: Tensor, dc: Tensor, slope: Function, gate_slope: Function
) -> tuple[Tensor, Tensor]:
    """One time step backwards: the gradients of z and of the c before it."""
    i, f, g, o, c, out = tf.split(kept, 6, axis=-1)
    dc = dc + dh * o * slope(out)
    gates = [dc * g * gate_slope(i), dc * c * gate_slope(f), dc * i * slope(g), dh * out * gate_slope(o)]
    return tf.concat(gates, axis=-1), dc * f


def lstm(
    names: tuple[str, str], x: Tensor, weights: tuple[Tensor, ...], start: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """The states h ``[K, T, B, units]`` of K LSTM layers over x, and the last c (paper, section 3.1).

    ``names`` are those of the two activations; ``weights``: kernel, recurrent kernel, bias; ``start``: h and c before the
    first time step, zeros as a rule.
    """
    (squash, gate), (slope, gate_slope) = _activations(names)
    (models, steps, batch, _), units = x.shape, weights[1].shape[1]
    array = _arrays(x)

    @tf.custom_gradient
    def run(x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor, h0: Tensor, c0: Tensor) -> Any:
        rows, fed = _fed(x, kernel, bias)

        def forth(t: Tensor, h: Tensor, c: Tensor, states: Tensor, kept: Tensor) -> tuple[Any, ...]:
            h, c, now = _lstm_cell(fed[t] + h @ recurrent, c, squash, gate)
            return t + 1, h, c, states.write(t, h), kept.write(t, now)

        begin = (0, h0, c0, array(units), array(6 * units))
        _, _, c, states, kept = tf.while_loop(lambda t, *_: t < steps, forth, begin, maximum_iterations=steps)
        states, kept = _by_time(states.stack()), kept.stack()

        def gradient(upstream: Tensor, last: Tensor) -> tuple[Tensor, ...]:
            arriving = _by_time(upstream)

            def back(t: Tensor, dh: Tensor, dc: Tensor, dzs: Tensor) -> tuple[Any, ...]:
                dz, dc = _lstm_back(kept[t], dh + arriving[t], dc, slope, gate_slope)
                return t - 1, tf.matmul(dz, recurrent, transpose_b=True), dc, dzs.write(t, dz)

            end = (steps - 1, tf.zeros_like(h0), last, array(4 * units))
            _, dh, dc, dzs = tf.while_loop(lambda t, *_: t >= 0, back, end, maximum_iterations=steps)
            dz = _as_rows(dzs.stack())
            return (
                tf.reshape(tf.matmul(dz, kernel, transpose_b=True), x.shape),
                tf.matmul(rows, dz, transpose_a=True),
                tf.matmul(_before(h0, states), dz, transpose_a=True),
                tf.reduce_sum(dz, axis=1),
                dh,
                dc,
            )

        return (states, c), gradient

    zero = tf.zeros([models, batch, units], x.dtype)
    return run(x, *weights, *(start or (zero, zero)))


def _gru_cell(
    fed: Tensor, held: Tensor, h: Tensor, squash: Function, gate: Function
) -> tuple[Tensor, Tensor]:
    """One time step: the new state, and what the way back needs. Gates in Keras' order z, r, candidate; the reset acts on
    what the recurrent weights made of the state."""
    (fed_z, fed_r, fed_g), (held_z, held_r, held_g) = (tf.split(each, 3, axis=-1) for each in (fed, held))
    z, r = gate(fed_z + held_z), gate(fed_r + held_r)
    g = squash(fed_g + r * held_g)
    return z * h + (1 - z) * g, tf.concat([z, r, g, held_g, h], axis=-1)


def _gru_back(kept: Tensor, dh: Tensor, slope: Function, gate_slope: Function) -> tuple[Tensor, ...]:
    """One time step backwards: the gradients of what was fed, of what was held, and of the state but for the latter."""
    z, r, g, held_g, h = tf.split(kept, 5, axis=-1)
    dz, dg = dh * (h - g) * gate_slope(z), dh * (1 - z) * slope(g)
    dr = dg * held_g * gate_slope(r)
    return tf.concat([dz, dr, dg], axis=-1), tf.concat([dz, dr, dg * r], axis=-1), dh * z


def gru(
    names: tuple[str, str], x: Tensor, weights: tuple[Tensor, ...], start: Tensor | None = None
) -> Tensor:
    """The states ``[K, T, B, units]`` of K GRU layers over x (Cho et al. 2014, with the reset after the product).

    ``names`` are those of the two activations; ``weights``: kernel, recurrent kernel, both biases ``[K, 2, 3 x units]``;
    ``start``: the state before the first time step, zeros as a rule.
    """
    (squash, gate), (slope, gate_slope) = _activations(names)
    (models, steps, batch, _), units = x.shape, weights[1].shape[1]
    array = _arrays(x)

    @tf.custom_gradient
    def run(x: Tensor, kernel: Tensor, recurrent: Tensor, biases: Tensor, h0: Tensor) -> Any:
        rows, fed = _fed(x, kernel, biases[:, 0])

        def forth(t: Tensor, h: Tensor, states: Tensor, kept: Tensor) -> tuple[Any, ...]:
            h, now = _gru_cell(fed[t], h @ recurrent + biases[:, 1:], h, squash, gate)
            return t + 1, h, states.write(t, h), kept.write(t, now)

        begin = (0, h0, array(units), array(5 * units))
        *_, states, kept = tf.while_loop(lambda t, *_: t < steps, forth, begin, maximum_iterations=steps)
        states, kept = _by_time(states.stack()), kept.stack()

        def gradient(upstream: Tensor) -> tuple[Tensor, ...]:
            arriving = _by_time(upstream)

            def back(t: Tensor, dh: Tensor, feds: Tensor, helds: Tensor) -> tuple[Any, ...]:
                dfed, dheld, dh = _gru_back(kept[t], dh + arriving[t], slope, gate_slope)
                dh = dh + tf.matmul(dheld, recurrent, transpose_b=True)
                return t - 1, dh, feds.write(t, dfed), helds.write(t, dheld)

            end = (steps - 1, tf.zeros_like(h0), array(3 * units), array(3 * units))
            _, dh, feds, helds = tf.while_loop(lambda t, *_: t >= 0, back, end, maximum_iterations=steps)
            dfed, dheld = _as_rows(feds.stack()), _as_rows(helds.stack())
            return (
                tf.reshape(tf.matmul(dfed, kernel, transpose_b=True), x.shape),
                tf.matmul(rows, dfed, transpose_a=True),
                tf.matmul(_before(h0, states), dheld, transpose_a=True),
                tf.stack([tf.reduce_sum(dfed, axis=1), tf.reduce_sum(dheld, axis=1)], axis=1),
                dh,
            )

        return states, gradient

    return run(x, *weights, tf.zeros([models, batch, units], x.dtype) if start is None else start)


def _activations(names: tuple[str, str]) -> tuple[tuple[Function, ...], tuple[Function, ...]]:
    """The two functions of a recurrent layer, and the derivative of each."""
    return tuple(map(keras.activations.get, names)), tuple(DERIVATIVES[name] for name in names)


def _arrays(x: Tensor) -> Callable[[int], Any]:
    """Makes arrays of T states ``[K, B, size]``."""
    models, steps, batch, _ = x.shape
    return lambda size: tf.TensorArray(x.dtype, steps, element_shape=[models, batch, size])
