"""Functional networks of Keras, computed for K models at once: each operation of the graph with K in front.

``stacked`` and ``parts`` write out the layers; here stand the operations between them (sums, products, slices, ..), which
a network needs that looks at its input in more ways than one. Shapes: ``[K, B, ...]``, sequences ``[K, B, T, features]``.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vdslib.networks import parts, stacked
from vdslib.networks._tensorflow import keras, tf
from vdslib.networks.recurrent import Tensor
from vdslib.networks.stacked import Bits, Forward

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
    "OnesLike": tf.ones_like,
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
_JOINING = (keras.layers.Concatenate, keras.layers.Add, keras.layers.Multiply, keras.layers.Subtract)
_PLAIN = (keras.layers.Dense, keras.layers.Dropout, keras.layers.Flatten)  # of one input


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


def names_of(model: keras.Model) -> dict[str, str]:
    """The place of each operation by its name, which Keras numbers as operations are made."""
    graph = _graph_of(model)
    result: dict[str, str] = {}
    for number, operation in enumerate(graph.operations if graph is not None else []):
        if isinstance(operation, keras.Model):
            result |= {name: f"#{number}{place}" for name, place in names_of(operation).items()}
        result[operation.name] = f"#{number}"
    return result


def _is_stacked(operation: Any) -> bool:
    """Is it a sequence of layers that ``stacked`` writes out as a whole?"""
    return type(operation) is keras.Sequential and not stacked.unknown_part(operation)


def _graph_of(model: Any) -> Any:
    """The graph to go through, of a functional network or of a sequence of layers; None for anything else."""
    inner = getattr(model, "_functional", None) if type(model) is keras.Sequential else model
    return inner if isinstance(inner, keras.Model) and is_graph(inner) else None


def unknown_part(model: keras.Model) -> str:
    """What keeps a built network from being written out; empty if nothing does."""
    graph = _graph_of(model)
    if graph is None or _is_stacked(model):
        return stacked.unknown_part(model)
    if None in graph.input_shape[1:]:
        return "an input of open length"
    return next((unknown for unknown in map(_unknown, _nodes(graph)) if unknown), "")


def _unknown(node: Any) -> str:
    """What of a node is not written out; empty if all of it is."""
    operation, kind = node.operation, type(node.operation)
    name = f"its {kind.__name__} {'layer' if isinstance(operation, keras.Layer) else 'operation'}"
    if isinstance(operation, keras.Model):
        return unknown_part(operation) if operation.trainable and len(node.input_tensors) == 1 else name
    plain = kind in (*_PLAIN, *parts.RULES)
    if not kind.__module__.startswith("keras.") or (plain and not parts.is_known(operation)):
        return name
    extra = {key for key, value in node.arguments.kwargs.items() if value is not None}
    if extra - {"training", "initial_state"} or (plain and not parts.is_given(node)):
        return f"what {name} is given beside its input"
    return "" if plain or _is_between(node) else name


def _axes(operation: Any, rank: int) -> list[int]:
    """The axes that an operation goes over, counted with K in front; none where it mixes windows, or all values."""
    axes = operation.axis if isinstance(operation.axis, (list, tuple)) else [operation.axis]
    if None in axes:
        return []
    counted = [axis + rank if axis < 0 else axis for axis in axes]
    return [] if 0 in counted else [axis + 1 for axis in counted]


def _is_between(node: Any) -> bool:
    """Is it an operation without weights that is written out in ``_between``?"""
    operation, kind, tensors = node.operation, type(node.operation), node.input_tensors
    name, ranks = kind.__name__, [len(each.shape) for each in tensors]
    if kind is keras.layers.Reshape:
        return -1 not in operation.target_shape
    if name == "Concatenate":
        return len(set(ranks)) == 1 and bool(_axes(operation, ranks[0]))
    if name in _OVER_AN_AXIS and not isinstance(operation, keras.Layer):
        told = (getattr(operation, option, None) for option in ("dtype", "initial"))
        return bool(_axes(operation, ranks[0])) and all(option is None for option in told)
    if name == "GetItem":  # of all windows
        key = node.arguments.args[1]
        fixed = isinstance(key, tuple) and all(
            isinstance(each, (int, slice, type(...), type(None))) for each in key
        )
        return fixed and key[0] in (slice(None), ...)
    if isinstance(operation, keras.Layer):
        return kind in _JOINING and len(set(ranks)) == 1
    others = [
        np.ndim(each)
        for each in keras.tree.flatten(node.arguments.args)
        if not isinstance(each, keras.KerasTensor)
    ]
    return name in BY_VALUE and len(set(ranks)) == 1 and max(others, default=0) <= ranks[0]


def dropout_draws(model: keras.Model) -> int:
    """Random numbers that dropout needs for one window of a network that is written out."""
    if _is_stacked(model):
        return stacked.dropout_draws(model)
    draws = 0
    for node in _nodes(_graph_of(model)):
        if isinstance(node.operation, keras.Model):
            draws += dropout_draws(node.operation)
        elif type(node.operation) is keras.layers.Dropout and node.operation.rate:
            draws += math.prod(node.outputs[0].shape[1:])
    return draws


def _joined(name: str, axis: int) -> Callable[[Sequence[Tensor]], Tensor]:
    if name == "Concatenate":
        return lambda each: tf.concat(list(each), axis=axis)
    step = BY_VALUE[name]
    return lambda each: functools.reduce(step, each)


def _between(node: Any) -> Callable[..., Tensor]:
    """An operation without weights, for ``[K, B, ...]``."""
    operation, name, rank = node.operation, type(node.operation).__name__, len(node.input_tensors[0].shape)
    if name == "GetItem":
        return lambda x, key: x[(slice(None), *key)]
    if name == "Reshape":
        shape = operation.target_shape
        return lambda x: tf.reshape(x, [*x.shape[:2], *shape])
    if name in _OVER_AN_AXIS:
        axes = _axes(operation, rank)
        reduce, kept = _OVER_AN_AXIS[name], operation.keepdims
        return lambda x: reduce(x, axis=axes, keepdims=kept)
    if isinstance(operation, keras.Layer) or name == "Concatenate":
        return _joined(name, _axes(operation, rank)[0] if name == "Concatenate" else 0)
    return BY_VALUE[name]


# A step on the way through a graph: from what it is given, the variables (those that are trained, and others) and the
# random bits that are left, to its result, or the list of its results.
Step = Callable[[list[Any], tuple[list[Tensor], list[Tensor]], Bits | None], Any]


def _step(node: Any, places: dict[int, tuple[int, int]]) -> Step:
    """What ``node`` does, for ``[K, B, ...]``; ``places``: where its variables are found, by their identity."""
    operation, kind = node.operation, type(node.operation)
    if isinstance(operation, keras.Model) and not _is_stacked(operation):
        inner = _way(_graph_of(operation), places)
        return lambda given, variables, bits: inner(given[0], variables, bits)
    if not isinstance(operation, keras.Layer) or kind in (*_JOINING, keras.layers.Reshape):
        run = _between(node)
        return lambda given, variables, bits: run(*given)
    used = [places[id(variable)] for variable in operation.weights]
    part = _sequence(operation) if kind is keras.Sequential else parts.PARTS[kind](operation)
    return lambda given, variables, bits: part(given, [variables[a][b] for a, b in used], bits)


def _sequence(model: keras.Sequential) -> Any:
    """Layers one after the other, as ``stacked`` writes them out, for sequences with B before T."""
    inner = [stacked.PARTS[type(layer)](layer) for layer in model.layers]

    def part(given: list[Tensor], weights: list[Tensor], bits: Bits | None) -> Tensor:
        x, left = given[0], iter(weights)
        x = parts.turned(x) if len(x.shape) == 4 else x
        for each in inner:
            x = each(x, left, bits)
        return parts.turned(x) if len(x.shape) == 4 else x

    return part


class _Slot:
    """The result of an earlier operation, by its number."""

    def __init__(self, number: int) -> None:
        self.number = number


def _way(graph: keras.Model, places: dict[int, tuple[int, int]]) -> Callable[..., Tensor]:
    """All steps from the input of a graph to its output."""
    numbers, plan = {id(graph.inputs[0]): 0}, []
    for node in _nodes(graph):
        given = parts.given(node) if type(node.operation) in parts.RULES else list(node.arguments.args)
        given = keras.tree.map_structure(
            lambda each: _Slot(numbers[id(each)]) if isinstance(each, keras.KerasTensor) else each, given
        )
        plan.append((_step(node, places), given))
        for output in node.outputs:
            numbers[id(output)] = len(numbers)
    last = numbers[id(graph.outputs[0])]

    def way(x: Tensor, variables: tuple[list[Tensor], list[Tensor]], bits: Bits | None) -> Tensor:
        values = [x]

        def known(each: Any) -> Any:
            return values[each.number] if isinstance(each, _Slot) else each

        for step, given in plan:
            result = step(keras.tree.map_structure(known, given), variables, bits)
            values.extend(result if isinstance(result, list) else [result])
        return values[last]

    return way


def written_out(model: keras.Model) -> Forward:
    """The network, without ``unknown_part``, as ``stacked.written_out`` describes it; ``states`` are the variables that
    are not trained."""
    if _is_stacked(model):
        return stacked.written_out(model)
    places = {id(v): (0, n) for n, v in enumerate(model.trainable_variables)}
    places |= {id(v): (1, n) for n, v in enumerate(model.non_trainable_variables)}
    way = _way(_graph_of(model), places)

    def forward(
        weights: list[Tensor], states: list[Tensor], x: Tensor, noise: Tensor | None
    ) -> tuple[Any, ...]:
        out = way(x, (weights, states), None if noise is None else Bits(noise))
        return out, states, tf.zeros([x.shape[0]], x.dtype)

    return forward
