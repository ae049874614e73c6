"""The networks of the paper and their optimisers, computed for K models of one architecture at once.

The weights of K models lie in one array ``[K, ...]`` each, so that one product serves them all. Keras gives the
architecture and the formulas; here they are only written so that a compiler makes few and large operations of them
(``recurrent``: the loops over time).

The shapes: K models, T time steps, B windows in a batch. Sequences are ``[K, T, B, features]``.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vdslib.networks._tensorflow import keras, tf
from vdslib.networks.recurrent import DERIVATIVES, Tensor, gru, lstm

Forward = Callable[..., tuple[Tensor, list[Tensor], Tensor]]

_DRAWS = 2**16  # dropout compares 16 random bits with its rate


def _name_of(activation: Any) -> str:
    """The name of an activation that an LSTM layer may have here, empty for any other."""
    return next((name for name in DERIVATIVES if keras.activations.get(name) is activation), "")


def is_kerass_own(activation: Any) -> bool:
    """A function of the same name that somebody else wrote is not, and neither is a layer."""
    try:
        return keras.activations.get(getattr(activation, "__name__", "")) is activation
    except ValueError:
        return False


def is_plain(layer: Any, *options: str) -> bool:
    """Has ``layer`` no options but the named ones, and those that only matter before training or for speed?"""
    free = {"name", "dtype", "seed", "unroll", "unit_forget_bias", "trainable", *options}
    usual = inspect.signature(type(layer)).parameters
    return all(
        name in free
        or name.endswith("_initializer")
        or value == (usual[name].default if name in usual else False)
        for name, value in layer.get_config().items()
    )


def activations_of(layer: Any) -> tuple[str, str]:
    """The names of the two activations of a recurrent layer, empty for those that are not known."""
    return _name_of(layer.activation), _name_of(layer.recurrent_activation)


def is_known(layer: Any, frozen: bool = False, options: tuple[str, ...] = ()) -> bool:
    """Is the layer one of those that are written out here, without unusual options but for those named; may it be
    ``frozen``?"""
    if not (layer.trainable or frozen) or layer.compute_dtype != layer.variable_dtype:
        return False
    if type(layer) in (keras.layers.LSTM, keras.layers.GRU):
        usual = ("units", "activation", "recurrent_activation", "return_sequences")
        return all(activations_of(layer)) and is_plain(layer, *usual, *options)
    if type(layer) is keras.layers.Dense:
        return is_kerass_own(layer.activation) and is_plain(layer, "units", "activation", "use_bias")
    if type(layer) is keras.layers.Dropout:
        return layer.rate < 1 and is_plain(layer, "rate")
    return type(layer) is keras.layers.Flatten and layer.data_format == "channels_last"


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
        drawn = self.next([models, batch, *steps, features])
        return tf.transpose(drawn, [0, 2, 1, 3]) if steps else drawn

    def next(self, shape: Sequence[int]) -> Tensor:
        """Whole numbers below ``_DRAWS`` of a shape ``[K, B, ...]``."""
        size = math.prod(shape[2:])
        drawn = tf.cast(self.bits[:, :, self.used : self.used + size], tf.int32)
        self.used += size
        return tf.reshape(drawn, shape)


def dropped(x: Tensor, rate: float, drawn: Tensor) -> Tensor:
    """``x`` with the share ``rate`` of it left out, as numbers ``drawn`` for its values say, and the rest scaled up."""
    return tf.where(drawn < round(rate * _DRAWS), tf.zeros_like(x), x / (1 - rate))


def _recurrent_part(layer: Any) -> Part:
    names = activations_of(layer)
    whole, of_lstm = layer.return_sequences, type(layer) is keras.layers.LSTM

    def part(x: Tensor, weights: Iterator[Tensor], bits: Bits | None) -> Tensor:
        own = next(weights), next(weights), next(weights)
        states = lstm(names, x, own)[0] if of_lstm else gru(names, x, own)
        return states if whole else states[:, -1]

    return part


def _dropout_part(layer: Any) -> Part:
    rate = layer.rate

    def part(x: Tensor, weights: Iterator[Tensor], bits: Bits | None) -> Tensor:
        return x if bits is None or not rate else dropped(x, rate, bits.like(x))

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
    keras.layers.LSTM: _recurrent_part,
    keras.layers.GRU: _recurrent_part,
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
