"""What one chapter alone needs, a module each, imported by its name since some need TensorFlow."""

__all__ = [
    "damaged_files", "drifting", "forecastability", "generalisation", "generalisation_figures", "generalisation_study",
    "global_network", "growing", "hyperparameters", "leaks", "load_states", "mirrored", "other_machines", "planted_leaks",
    "same_rows", "splits",
]  # fmt: skip
