"""What one chapter alone needs, a module each, imported by its name since some need TensorFlow."""

__all__ = [
    "damaged_files", "drifting", "forecastability", "generalisation", "generalisation_figures",
    "generalisation_study", "global_network", "growing", "hybrids", "hybrids_pictures", "hybrids_study",
    "hyperparameters", "leaks", "load_states", "mirrored", "other_machines", "planted_leaks", "same_rows",
    "sealed", "splits",
]  # fmt: skip
