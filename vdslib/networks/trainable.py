"""Before a network is trained: who can train it, and does its output fit the targets?"""

import numpy as np

from vdslib.forecasting import Windows
from vdslib.networks._tensorflow import keras
from vdslib.networks.graph import levels_of, unknown_part
from vdslib.networks.models import PRINTED_OUTPUTS

# Losses that compare output and target value by value, and repeat the smaller one where their shapes differ.
_BY_VALUE = (
    "MeanSquaredError",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredLogarithmicError",
    "Huber",
    "LogCosh",
)


def left_to_fit(model: keras.Model) -> tuple[bool, str]:
    """Must Keras ``fit`` train the network? And a line to say so, or that Keras' layers compute it; empty if ours do."""
    variables, outputs = model.trainable_variables, getattr(model, "outputs", None) or []
    reasons = {
        f"it has a {', '.join(_own(model))} of its own": bool(_own(model)),
        "it comes compiled, with an optimiser and a loss of its own in place of the settings": model.compiled,
        "it has nothing to train": not variables,
        "its weights are constrained": any(variable.constraint is not None for variable in variables),
        "its precision is mixed": any(layer.compute_dtype != layer.variable_dtype for layer in model.layers),
        "its output is not known before it runs": not outputs,
        "its output is a sequence, or there are several": [len(each.shape) for each in outputs] != [2],
    }
    reason = next((text for text, holds in reasons.items() if holds), "")
    if reason:
        return True, f"{type(model).__name__} is trained by Keras fit, since {reason}"
    unknown = unknown_part(model)
    remark = f"Keras' layers train in a compiled epoch, since {unknown} is not written out" if unknown else ""
    return False, remark


def _own(model: keras.Model) -> list[str]:
    """Methods of training that the class of a network has of its own; the loss of quantiles the engine knows."""
    names = ("fit", "train_step", "test_step", "compute_loss")[: 3 if levels_of(model) else 4]
    return [name for name in names if getattr(type(model), name) is not getattr(keras.Model, name)]


def refuse_state(model: keras.Model) -> None:
    """ValueError where a layer keeps its state from one batch to the next: windows of a batch follow on none of the
    batch before."""
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False):
            raise ValueError(
                f"the layer {layer.name} is stateful, but windows are trained on in random order, so that its state would "
                "come from other windows: build it with stateful=False, or train it by model.fit on batches in order"
            )


def refuse_outputs(model: keras.Model, *parts: Windows) -> None:
    """ValueError where the loss would repeat outputs or targets to make their shapes equal.

    The network ``printed`` is let through with a single target: it shows what that does. A loss of another kind is let
    through too, since it may compare other things.
    """
    outputs = getattr(model, "outputs", None)
    if _own(model) or levels_of(model) or not _by_value(model) or (outputs and len(outputs) != 1):
        return
    for part in parts:
        shape = outputs[0].shape[1:] if outputs else np.shape(model(np.asarray(part.x[:1], "float32")))[1:]
        refuse_shape(model, shape, part)


def refuse_shape(model: keras.Model, shape: tuple[int | None, ...], windows: Windows) -> None:
    """ValueError where outputs of this shape, without that of samples, are not of the shape of the targets."""
    targets = windows.y.shape[1:]
    meant = model.name == "printed" and (tuple(shape), targets) == ((PRINTED_OUTPUTS,), (1,))
    if meant or (
        len(shape) == len(targets) and all(a in (b, None) for a, b in zip(shape, targets, strict=True))
    ):
        return
    raise ValueError(
        f"the network {model.name} has outputs {_written(shape)} for each window, but targets are {_written(targets)}: "
        "the loss would repeat one of them. Give the last layer one output for each step ahead"
    )


def _written(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def _by_value(model: keras.Model) -> bool:
    """Is the loss, that of ``training.compile`` unless the model is compiled, one that compares value by value?"""
    if not model.compiled:
        return True
    kinds = tuple(getattr(keras.losses, name) for name in _BY_VALUE)
    functions = [keras.losses.get(name) for name in ("mse", "mae", "mape", "msle", "huber", "log_cosh")]
    losses = [keras.losses.get(loss) for loss in keras.tree.flatten(model.loss)]
    return any(isinstance(loss, kinds) or loss in functions for loss in losses)
