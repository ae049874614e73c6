"""Functional networks of Keras, computed for K models at once: each operation of the graph with K in front.

``stacked`` writes out the layers; here stand the operations between them (sums, products, slices, ..), which a network
needs that looks at its input in more ways than one. Shapes: ``[K, B, ...]``, sequences ``[K, B, T, features]``.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vdslib.networks import stacked
from vdslib.networks._tensorflow import keras, tf
from vdslib.networks.stacked import Bits, Forward, Tensor

Operation = Callable[..., Tensor]

# Operations that work value by value, whatever stands in front, by their class in Keras.
BY_VALUE: dict[str, Callable[..., Tensor]] = {
    "Absolute": tf.abs,
    "Add": tf.add,
    "Divide": tf.divide,
    "Exp": tf.exp,
    "Maximum": tf.maximum,
    "Minimum": tf.minimum,
    "Multiply": tf.multiply,
    "Negative": tf.negative,
    "Sigmoid": tf.sigmoid,
    "Sqrt": tf.sqrt,
    "Square": tf.square,
    "Subtract": tf.subtract,
    "Tanh": tf.tanh,
    "TrueDivide": tf.divide,
}
_OVER_AN_AXIS: dict[str, Callable[..., Tensor]] = {
    "Max": tf.reduce_max,
    "Mean": tf.reduce_mean,
    "Min": tf.reduce_min,
    "Sum": tf.reduce_sum,
}
LAYERS = (keras.layers.LSTM, keras.layers.Dense, keras.layers.Dropout, keras.layers.Flatten)


def levels_of(model: keras.Model) -> tuple[float, ...]:
    """The levels of a network of our quantiles; empty for any other, whatever attributes it has."""
    return tuple(model.levels) if type(model).__module__ == "vdslib.networks.quantiles" else ()


def is_graph(model: keras.Model) -> bool:
    """Is it a functional network of one input and one output: ``keras.Model(inputs, outputs)``, or one of quantiles?"""
    kind = type(model)
    plain = kind.__name__ == "Functional" and kind.__module__.startswith("keras.")
    plain = plain or bool(levels_of(model))
    return plain and len(model.inputs) == len(model.outputs) == 1


def _nodes(model: keras.Model) -> list[Any]:
    """The graph's nodes but for the input, each after those that it takes from."""
    return [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]
            if not node.is_input]  # fmt: skip


def unknown_part(model: keras.Model) -> str:
    """What keeps a built network from being written out; empty if nothing does."""
    if not is_graph(model):
        return stacked.unknown_part(model)
    if None in model.input_shape[1:]:
        return "an input of open length"
    for node in _nodes(model):
        if type(node.operation) in (*LAYERS, keras.Sequential) and len(node.input_tensors) > 1:
            return f"what its {type(node.operation).__name__} layer is given beside its input"
        if not (_is_known(node.operation) and type(node.operation).__module__.startswith("keras.")):
            return f"its {type(node.operation).__name__} {'layer' if isinstance(node.operation, keras.Layer) else 'operation'}"
    return ""


def _axis(operation: Any) -> int | None:
    """The one axis that an operation goes over, counted with K in front; None where there are several."""
    axes = operation.axis if isinstance(operation.axis, (list, tuple)) else [operation.axis]
    if len(axes) != 1 or axes[0] is None:
        return None
    return int(axes[0]) + (axes[0] >= 0)


def _is_known(operation: Any) -> bool:
    kind = type(operation)
    if kind is keras.Sequential:
        return operation.trainable and not stacked.unknown_part(operation)
    if kind in LAYERS:
        return stacked.is_known(operation, frozen=kind is keras.layers.Dense)
    if kind is keras.layers.Reshape:
        return -1 not in operation.target_shape
    if isinstance(operation, keras.Layer):
        return kind in (
            keras.layers.Concatenate,
            keras.layers.Add,
            keras.layers.Multiply,
            keras.layers.Subtract,
        ) and (getattr(operation, "axis", -1) == -1)
    if kind.__name__ in _OVER_AN_AXIS:
        return _axis(operation) is not None and not getattr(operation, "dtype", None)
    if kind.__name__ == "Concatenate":
        return operation.axis == -1
    return kind.__name__ in BY_VALUE or kind.__name__ == "GetItem"


def dropout_draws(model: keras.Model) -> int:
    """Random numbers that dropout needs for one window of a network that is written out."""
    if not is_graph(model):
        return stacked.dropout_draws(model)
    inner = [each for node in _nodes(model) for each in _layers_of(node.operation)]
    noisy = [layer for layer in inner if type(layer) is keras.layers.Dropout and layer.rate]
    return sum(math.prod(layer.output.shape[1:]) for layer in noisy)


def _layers_of(operation: Any) -> list[Any]:
    return operation.layers if type(operation) is keras.Sequential else [operation]


def _layer(layer: Any) -> Callable[[Tensor, Iterator[Tensor], Bits | None], Tensor]:
    """A layer, or a sequence of them, as ``stacked`` writes it out, for sequences with B before T."""
    parts = [stacked.PARTS[type(each)](each) for each in _layers_of(layer)]
    if type(layer) is keras.layers.Dense:
        return parts[0]

    def turned(x: Tensor, weights: Iterator[Tensor], bits: Bits | None) -> Tensor:
        if len(x.shape) == 4:
            x = tf.transpose(x, [0, 2, 1, 3])
        for part in parts:
            x = part(x, weights, bits)
        return tf.transpose(x, [0, 2, 1, 3]) if len(x.shape) == 4 else x

    return turned


def _joined(name: str) -> Callable[[Sequence[Tensor]], Tensor]:
    if name == "Concatenate":
        return lambda parts: tf.concat(list(parts), axis=-1)
    step = BY_VALUE[name]

    def fold(parts: Sequence[Tensor]) -> Tensor:
        result = parts[0]
        for each in parts[1:]:
            result = step(result, each)
        return result

    return fold


def _between(operation: Any) -> Callable[..., Tensor]:
    """An operation without weights, for ``[K, B, ...]``."""
    name = type(operation).__name__
    if name == "GetItem":
        return lambda x, key: x[(slice(None), *(key if isinstance(key, tuple) else (key,)))]
    if name == "Reshape":
        shape = operation.target_shape
        return lambda x: tf.reshape(x, [*x.shape[:2], *shape])
    if name in _OVER_AN_AXIS:
        axis = _axis(operation)
        reduce, kept = _OVER_AN_AXIS[name], operation.keepdims
        return lambda x: reduce(x, axis=axis, keepdims=kept)
    if isinstance(operation, keras.Layer) or name == "Concatenate":
        return _joined(name)
    return BY_VALUE[name]


def written_out(model: keras.Model) -> Forward:
    """The network, without ``unknown_part``, as ``stacked.written_out`` describes it; ``states`` are the variables that
    are not trained."""
    if not is_graph(model):
        return stacked.written_out(model)
    places = {id(v): (0, n) for n, v in enumerate(model.trainable_variables)}
    places |= {id(v): (1, n) for n, v in enumerate(model.non_trainable_variables)}
    numbers: dict[int, int] = {id(model.inputs[0]): 0}
    plan = []
    for node in _nodes(model):
        operation = node.operation
        weights = [places[id(v)] for v in operation.weights] if isinstance(operation, keras.Layer) else None
        has_part = type(operation) in (*LAYERS, keras.Sequential)
        run: Any = _layer(operation) if has_part else _between(operation)
        arguments = keras.tree.map_structure(
            lambda each: _Slot(numbers[id(each)]) if isinstance(each, keras.KerasTensor) else each,
            (node.arguments.args, node.arguments.kwargs),
        )
        numbers[id(node.outputs[0])] = len(numbers)
        plan.append((run, weights if has_part else None, arguments))
    last = numbers[id(model.outputs[0])]

    def forward(
        weights: list[Tensor], states: list[Tensor], x: Tensor, noise: Tensor | None
    ) -> tuple[Any, ...]:
        bits, known, values = None if noise is None else Bits(noise), (weights, states), [x]
        for run, used, arguments in plan:
            args, kwargs = keras.tree.map_structure(
                lambda each: values[each.number] if isinstance(each, _Slot) else each, arguments
            )
            if used is None:
                kwargs.pop("training", None)
                values.append(run(*args, **kwargs))
            else:
                values.append(run(args[0], iter([known[kind][place] for kind, place in used]), bits))
        return values[last], states, tf.zeros([x.shape[0]], x.dtype)

    return forward


class _Slot:
    """The result of an earlier operation, by its number."""

    def __init__(self, number: int) -> None:
        self.number = number
