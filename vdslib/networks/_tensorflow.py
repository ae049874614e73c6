"""TensorFlow and Keras, imported once and quietly.

TensorFlow writes start-up lines to file descriptor 2 before Python can catch them. They would end up
in the outputs of a notebook and differ from machine to machine, so the descriptor points to the null
device while TensorFlow is imported and wakes up. Errors are Python exceptions and pass unharmed.
Compiler and kernels keep to instructions that any processor of the last ten years has (AVX2), so that results differ
less between machines; variables that are set already win.
Everything in vdslib that needs TensorFlow takes it from here.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["keras", "seed_everything", "tf"]


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Send what is written to file descriptor 2 to the null device."""
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(null)
        os.close(saved)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_max_isa=AVX2")
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
with _quiet_start():
    import keras
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # its warnings about retracing name addresses in memory
    tf.zeros(1)  # the first operation starts the runtime, which has lines of its own


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow, and make TensorFlow's operations deterministic.

    Two runs with the same seed on the same machine then agree to the last digit.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
