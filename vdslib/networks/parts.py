"""Further layers of functional networks, computed for K models at once: convolutions, attention, states handed on.

As in ``graph``, K stands in front: ``[K, B, ...]``, sequences ``[K, B, T, features]``. A layer is written out where its
options are the plain ones; with others Keras' own layers compute the network.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from vdslib.networks import stacked
from vdslib.networks._tensorflow import keras, tf
from vdslib.networks.recurrent import Tensor, gru, lstm

# From the inputs of a layer, its weights and the random bits that are left (None to leave dropout out) to its output, or
# the list of its outputs.
Part = Callable[[list[Tensor], list[Tensor], stacked.Bits | None], Any]
_STATES = {keras.layers.LSTM: 2, keras.layers.GRU: 1}  # states that a recurrent layer takes and returns


def linear(x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """``[K, .., outputs]``: x ``[K, .., inputs]`` times a kernel ``[K, inputs, outputs]``, in one product for each model."""
    rows = tf.reshape(x, [x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1]]) @ kernel
    rows = rows if bias is None else rows + bias[:, None]
    return tf.reshape(rows, [*x.shape[:-1], kernel.shape[-1]])


def turned(sequence: Tensor) -> Tensor:
    """``[K, B, T, features]`` to ``[K, T, B, features]``, and back."""
    return tf.transpose(sequence, [0, 2, 1, 3])


def _dense(layer: Any) -> Part:
    inner = stacked.PARTS[type(layer)](layer)
    return lambda inputs, weights, bits: inner(inputs[0], iter(weights), bits)


def _dropout(layer: Any) -> Part:
    rate = layer.rate

    def part(inputs: list[Tensor], weights: list[Tensor], bits: stacked.Bits | None) -> Tensor:
        return (
            inputs[0]
            if bits is None or not rate
            else stacked.dropped(inputs[0], rate, bits.next(inputs[0].shape))
        )

    return part


def _flattened(layer: Any) -> Part:
    return lambda inputs, weights, bits: tf.reshape(inputs[0], [*inputs[0].shape[:2], -1])


def _recurrent(layer: Any) -> Part:
    names = stacked.activations_of(layer)
    of_lstm, whole, states_too = type(layer) is keras.layers.LSTM, layer.return_sequences, layer.return_state

    def part(inputs: list[Tensor], weights: list[Tensor], bits: stacked.Bits | None) -> Any:
        x, start = turned(inputs[0]), tuple(inputs[1:]) or None
        if of_lstm:
            rows, *cells = lstm(names, x, tuple(weights), start)
        else:
            rows, cells = gru(names, x, tuple(weights), start[0] if start else None), []
        out = turned(rows) if whole else rows[:, -1]
        return [out, rows[:, -1], *cells] if states_too else out

    return part


def _bidirectional(layer: Any) -> Part:
    inner = layer.forward_layer
    names, whole = stacked.activations_of(inner), inner.return_sequences
    of_lstm = type(inner) is keras.layers.LSTM

    def part(inputs: list[Tensor], weights: list[Tensor], bits: stacked.Bits | None) -> Tensor:
        x, half = turned(inputs[0]), len(weights) // 2
        # 2 K models, the second half of which read backwards: one loop over time serves both directions
        both = tuple(tf.concat(pair, axis=0) for pair in zip(weights[:half], weights[half:], strict=True))
        x = tf.concat([x, x[:, ::-1]], axis=0)
        rows = lstm(names, x, both)[0] if of_lstm else gru(names, x, both)
        forth, back = tf.split(rows, 2, axis=0)
        if whole:
            return turned(tf.concat([forth, back[:, ::-1]], axis=-1))
        return tf.concat([forth[:, -1], back[:, -1]], axis=-1)

    return part


def _knows_bidirectional(layer: Any) -> bool:
    forth, back = layer.forward_layer, layer.backward_layer
    free = ("go_backwards", "zero_output_for_mask")  # there are no masks here

    def told(each: Any) -> dict[str, Any]:
        own = ("name", "seed", *free)
        return {
            name: value
            for name, value in each.get_config().items()
            if name not in own and not name.endswith("_initializer")
        }

    return (
        type(forth) is type(back)
        and type(forth) in _STATES
        and stacked.is_known(forth, options=free)
        and told(forth) == told(back)
        and back.trainable
        and back.go_backwards
        and not forth.go_backwards
        and layer.merge_mode == "concat"
    )


def _convolution(layer: Any) -> Part:
    sizes, dilations, padding = layer.kernel_size, layer.dilation_rate, layer.padding
    activation, use_bias = layer.activation, layer.use_bias

    def part(inputs: list[Tensor], weights: list[Tensor], bits: stacked.Bits | None) -> Tensor:
        x, kernel = inputs[0], weights[0]
        reach = [(size - 1) * dilation for size, dilation in zip(sizes, dilations, strict=True)]
        if padding != "valid":
            before = reach if padding == "causal" else [each // 2 for each in reach]
            x = tf.pad(
                x, [[0, 0], [0, 0], *[[a, each - a] for a, each in zip(before, reach, strict=True)], [0, 0]]
            )
        lengths = [size - each for size, each in zip(x.shape[2:-1], reach, strict=True)]
        seen = []  # what each place of the kernel sees, side by side: one product then serves them all
        for place in itertools.product(*map(range, sizes)):
            starts = [n * dilation for n, dilation in zip(place, dilations, strict=True)]
            own = [slice(start, start + length) for start, length in zip(starts, lengths, strict=True)]
            seen.append(x[(slice(None), slice(None), *own)])
        flat = tf.reshape(kernel, [kernel.shape[0], -1, kernel.shape[-1]])
        return activation(linear(tf.concat(seen, axis=-1), flat, weights[1] if use_bias else None))

    return part


def _knows_convolution(layer: Any) -> bool:
    options = (
        "filters",
        "kernel_size",
        "padding",
        "dilation_rate",
        "activation",
        "use_bias",
        "strides",
        "data_format",
    )
    return (
        stacked.is_plain(layer, *options)
        and stacked.is_kerass_own(layer.activation)
        and layer.padding in ("valid", "same", "causal")
        and layer.data_format == "channels_last"
        and set(layer.strides) == {1}
    )


def _normalisation(layer: Any) -> Part:
    scaled, centred, epsilon = layer.scale, layer.center, layer.epsilon

    def part(inputs: list[Tensor], weights: list[Tensor], bits: stacked.Bits | None) -> Tensor:
        (x,), left = inputs, iter(weights)
        mean = tf.reduce_mean(x, axis=-1, keepdims=True)
        spread = tf.reduce_mean(tf.square(x - mean), axis=-1, keepdims=True)
        shape = [x.shape[0], *[1] * (len(x.shape) - 2), -1]
        factor = tf.math.rsqrt(spread + epsilon)
        factor = factor * tf.reshape(next(left), shape) if scaled else factor
        out = (x - mean) * factor
        return out + tf.reshape(next(left), shape) if centred else out

    return part


def _knows_normalisation(layer: Any) -> bool:
    return layer.axis in (-1, [-1]) and stacked.is_plain(layer, "axis", "epsilon", "center", "scale")


def _additive(layer: Any) -> Part:
    def part(inputs: list[Tensor], weights: list[Tensor], bits: stacked.Bits | None) -> Tensor:
        query, value, key = (*inputs, inputs[1])[:3]
        met = tf.tanh(query[:, :, :, None] + key[:, :, None])
        met = met * weights[0][:, None, None, None] if weights else met
        return tf.nn.softmax(tf.reduce_sum(met, axis=-1)) @ value

    return part


def _heads(layer: Any) -> Part:
    heads, size, use_bias = layer.num_heads, layer.key_dim, layer.use_bias

    def part(inputs: list[Tensor], weights: list[Tensor], bits: stacked.Bits | None) -> Tensor:
        query, value, key = (*inputs, inputs[1])[:3]
        left = iter(weights)

        def seen(x: Tensor) -> Tensor:
            """[K, B, heads, T, size]"""
            kernel = next(left)
            flat = tf.reshape(kernel, [*kernel.shape[:2], -1])
            out = linear(x, flat, tf.reshape(next(left), [kernel.shape[0], -1]) if use_bias else None)
            return tf.transpose(tf.reshape(out, [*x.shape[:3], heads, -1]), [0, 1, 3, 2, 4])

        asked, keys, values = seen(query) / math.sqrt(size), seen(key), seen(value)
        met = tf.nn.softmax(tf.matmul(asked, keys, transpose_b=True)) @ values
        met = tf.transpose(met, [0, 1, 3, 2, 4])
        kernel = next(left)
        flat = tf.reshape(kernel, [kernel.shape[0], -1, kernel.shape[-1]])
        return linear(tf.reshape(met, [*met.shape[:3], -1]), flat, next(left) if use_bias else None)

    return part


def _knows_heads(layer: Any) -> bool:
    plain = stacked.is_plain(layer, "num_heads", "key_dim", "value_dim", "use_bias", "attention_axes")
    return plain and layer._attention_axes in (None, (1,))


def _repeated(layer: Any) -> Part:
    times = layer.n
    return lambda inputs, weights, bits: tf.repeat(inputs[0][:, :, None], times, axis=2)


def _permuted(layer: Any) -> Part:
    order = [0, 1, *[axis + 1 for axis in layer.dims]]
    return lambda inputs, weights, bits: tf.transpose(inputs[0], order)


class Rule(NamedTuple):
    """When a layer is written out, and how; ``inputs``: how many tensors it may be given, in ``arguments`` places."""

    known: Callable[[Any], bool]
    part: Callable[[Any], Part]
    inputs: tuple[int, ...] = (1,)
    arguments: int = 1


def _knows_recurrent(layer: Any) -> bool:
    return stacked.is_known(layer, options=("return_state",))


def _plain(*options: str) -> Callable[[Any], bool]:
    return lambda layer: stacked.is_plain(layer, *options)


RULES = {
    keras.layers.LSTM: Rule(_knows_recurrent, _recurrent, (1, 3), 2),
    keras.layers.GRU: Rule(_knows_recurrent, _recurrent, (1, 2), 2),
    keras.layers.Bidirectional: Rule(_knows_bidirectional, _bidirectional),
    keras.layers.Conv1D: Rule(_knows_convolution, _convolution),
    keras.layers.Conv2D: Rule(_knows_convolution, _convolution),
    keras.layers.LayerNormalization: Rule(_knows_normalisation, _normalisation),
    keras.layers.AdditiveAttention: Rule(_plain("use_scale"), _additive, (2, 3)),
    keras.layers.MultiHeadAttention: Rule(_knows_heads, _heads, (2, 3), 3),
    keras.layers.RepeatVector: Rule(_plain("n"), _repeated),
    keras.layers.Permute: Rule(_plain("dims"), _permuted),
}
"""The layers of a functional network that are written out here."""


PARTS: dict[type, Callable[[Any], Part]] = {
    keras.layers.Dense: _dense,
    keras.layers.Dropout: _dropout,
    keras.layers.Flatten: _flattened,
    **{kind: rule.part for kind, rule in RULES.items()},
}
"""How each layer of a functional network is computed for K models."""


def given(node: Any) -> list[Any]:
    """What the layer of a graph's ``node`` is called with, in order."""
    states = node.arguments.kwargs.get("initial_state")
    result: list[Any] = keras.tree.flatten([node.arguments.args, [] if states is None else states])
    return result


def is_given(node: Any) -> bool:
    """Is all that the layer of a graph's ``node`` is called with, tensors as a rule, known here?"""
    rule = RULES.get(type(node.operation))
    arguments, counts = (rule.arguments, rule.inputs) if rule else (1, (1,))
    return len(node.arguments.args) <= arguments and len(given(node)) == len(node.input_tensors) in counts


def is_known(layer: Any) -> bool:
    """Is the layer one of those that are written out here, without unusual options?"""
    rule = RULES.get(type(layer))
    if rule is None:
        return stacked.is_known(layer, frozen=type(layer) is keras.layers.Dense)
    inner = layer._flatten_layers()
    return all(each.trainable and each.compute_dtype == each.variable_dtype for each in inner) and rule.known(
        layer
    )
