"""What one chapter alone needs, a module each, imported by its name since some need TensorFlow."""

__all__ = [
    "damaged_files", "forecastability", "generalisation", "hyperparameters", "leaks", "load_states",
    "planted_leaks", "same_rows", "sealed", "splits",
]  # fmt: skip
