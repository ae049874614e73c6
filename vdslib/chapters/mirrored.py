"""One network trained on two devices at once: is it the same, and is it faster where both are cores of one processor?

    python -m vdslib.chapters.mirrored

prints losses and seconds as JSON. It is a process of its own, without the rest of vdslib that needs TensorFlow: devices are
divided before TensorFlow starts to work.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pandas as pd

from vdslib.chapters.generalisation import HORIZON, WINDOW, rows

EPOCHS, BATCH = 4, 64


def divided_processor() -> Any:
    """TensorFlow's strategy for two devices, which are halves of one processor. RuntimeError where TensorFlow works already."""
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    (processor,) = tf.config.list_physical_devices("CPU")
    half = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(processor, [half, half])
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def compiled() -> Any:
    """The paper's network, without dropout, whose draws would differ from device to device."""
    import keras

    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((WINDOW, 1)),
            keras.layers.LSTM(64, return_sequences=True),
            keras.layers.LSTM(32),
            keras.layers.Dense(HORIZON),
        ]
    )
    model.compile("adam", "mean_squared_error")
    return model


def on_two_devices(strategy: Any) -> Any:
    """The same network with its weights on both devices: each takes half of a batch, and their gradients are averaged."""
    with strategy.scope():
        return compiled()


def waves(samples: int = 4096, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Windows of noisy sines with their continuation: x [samples, time steps, 1], y [samples, horizon]."""
    random, at = np.random.default_rng(seed), np.arange(WINDOW + HORIZON)
    turns = 2 * np.pi * (at / 48 + random.random((samples, 1)))
    values = (np.sin(turns) + random.normal(0, 0.1, turns.shape)).astype("float32")
    return values[:, :WINDOW, None], values[:, WINDOW:]


def trained(model: Any) -> dict[str, list[float]]:
    """Loss, wall seconds and processor seconds of each epoch, with Keras' ``fit``."""
    x, y = waves()
    found: dict[str, list[float]] = {"loss": [], "seconds": [], "processor seconds": []}
    for _ in range(EPOCHS):
        began = time.perf_counter(), time.process_time()
        found["loss"] += model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0).history["loss"]
        found["seconds"].append(time.perf_counter() - began[0])
        found["processor seconds"].append(time.process_time() - began[1])
    return found


def measured() -> pd.DataFrame:
    """Rows of the table: loss and both kinds of seconds by epoch (the first holds the making of the graph), from a fresh process."""
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "vdslib.chapters.mirrored"]
    printed = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=quiet
    )
    return pd.concat(
        rows("mirrored", {("", way, 0, epoch): value for epoch, value in enumerate(values, 1)}, quantity)
        for way, found in json.loads(printed.stdout.splitlines()[-1]).items()
        for quantity, values in found.items()
    )


if __name__ == "__main__":
    both = divided_processor()
    print(json.dumps({"one device": trained(compiled()), "two devices": trained(on_two_devices(both))}))
