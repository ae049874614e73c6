"""The three networks that go by the paper's name, as plain Keras models (sections 2, 3.1 and 3.2).

``printed``
    the program of section 3.2: LSTM layers with relu, dropout after each, and always three outputs.
``figure``
    Fig. 1 and the text around it: LSTM layers with dropout that all return sequences, flattening,
    a hidden dense layer, an output layer. (Flattening a vector would do nothing, so the last LSTM
    layer returns its whole sequence here.)
``textbook``
    what most readers would write: LSTM layers with tanh, dropout after each, a dense output layer.
"""

import os
from collections.abc import Sequence

import numpy as np

from vdslib.networks._tensorflow import keras, seed_everything

__all__ = ["ACTIVATIONS", "NETWORKS", "PRINTED_OUTPUTS", "build"]

ACTIVATIONS = {"printed": "relu", "figure": "tanh", "textbook": "tanh"}
"""The default activation of each network's LSTM layers."""

NETWORKS = tuple(ACTIVATIONS)

PRINTED_OUTPUTS = 3
"""The printed program ends in three outputs, whatever it is to forecast."""


_LONGEST_UNROLLED = 20  # time steps; written out, the loop over them costs a third less, but more memory


def build(
    network: str,
    *,
    window: int,
    features: int,
    outputs: int = 1,
    units: Sequence[int] = (64, 32),
    activation: str | None = None,
    dropout: float = 0.2,
    recurrent_dropout: float = 0.0,
    dense_units: int = 32,
    seed: int = 0,
) -> keras.Model:
    """Build one of the three networks, not compiled, with weights that depend on ``seed`` and sizes alone.

    Networks that differ in dropout or activation only start from the same weights, so they can be compared.

    Input ``[samples, window, features]``, output ``[samples, outputs]`` (``printed``: ``[samples, 3]``).

    ``units`` holds the size of each LSTM layer; ``activation`` is that of the LSTM layers (None or "":
    the network's own, see ``ACTIVATIONS``). ``dropout`` is the share of values switched off after each
    LSTM layer while training, as in the printed program; ``recurrent_dropout`` acts within the LSTM
    layers, on the state that passes from one time step to the next, as the text says. ``dense_units``
    is the size of the hidden dense layer, which only ``figure`` has.

    Side effect: seeds Python, NumPy and TensorFlow with ``seed``. ValueError for an unknown network,
    no LSTM layer, or a share outside [0, 1).
    """
    _check(network, units, dropout=dropout, recurrent_dropout=recurrent_dropout)
    seed_everything(seed)
    draws = _seeds(seed, len(units) + 2)  # for each LSTM layer, the hidden dense layer and the output
    layers = [keras.Input((window, features), name="window")]
    for number, size in enumerate(units, start=1):
        kernel, recurrent, noise, loop_noise = draws[number - 1]
        last = number == len(units)
        layers += [
            keras.layers.LSTM(
                size,
                activation=activation or ACTIVATIONS[network],
                recurrent_dropout=recurrent_dropout,
                kernel_initializer=keras.initializers.GlorotUniform(kernel),
                recurrent_initializer=keras.initializers.Orthogonal(seed=recurrent),
                seed=loop_noise,
                return_sequences=network == "figure" or not last,
                unroll=window <= _LONGEST_UNROLLED,
                name=f"lstm_{number}",
            ),
            keras.layers.Dropout(dropout, seed=noise, name=f"dropout_{number}"),
        ]
    if network == "figure":
        kernel = keras.initializers.GlorotUniform(draws[-2][0])
        layers += [
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(dense_units, activation="relu", kernel_initializer=kernel, name="dense"),
        ]
    outputs = PRINTED_OUTPUTS if network == "printed" else outputs
    kernel = keras.initializers.GlorotUniform(draws[-1][0])
    layers.append(keras.layers.Dense(outputs, kernel_initializer=kernel, name="output"))
    return _moved(keras.Sequential(layers, name=network), seed)


def _moved(model: keras.Model, seed: int) -> keras.Model:
    """The network with its starting weights a little elsewhere, if VDS_MOVED_WEIGHTS says so.

    "3" multiplies every weight by 1 + 1e-6 x normal, from seed 3; "3:0.01" by a factor of that size. Training then
    goes astray as by the rounding of another processor: what changes is decided by noise (``make numerics``).
    """
    if switch := os.environ.get("VDS_MOVED_WEIGHTS"):
        draw, _, size = switch.partition(":")
        normal = np.random.default_rng([int(draw), seed]).standard_normal
        model.set_weights([w * (1 + float(size or 1e-6) * normal(w.shape)) for w in model.get_weights()])
    return model


def _seeds(seed: int, layers: int) -> list[list[int]]:
    """Four seeds for each of ``layers`` layers: kernel, recurrent kernel, dropout, recurrent dropout."""
    return np.random.SeedSequence(seed).generate_state(4 * layers).reshape(layers, 4).tolist()


def _check(network: str, units: Sequence[int], **shares: float) -> None:
    """ValueError where no such network can be built."""
    if network not in NETWORKS:
        raise ValueError(f"unknown network {network!r}; valid are {', '.join(NETWORKS)}")
    if not units or min(units) < 1:
        raise ValueError(f"units must name at least one LSTM layer of at least one unit, not {list(units)}")
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise ValueError(f"{name} must lie in [0, 1), not {share}")
