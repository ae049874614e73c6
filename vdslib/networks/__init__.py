"""All that needs TensorFlow: networks by name, the engine that trains many at once, training."""

from vdslib.networks._tensorflow import keras, seed_everything
from vdslib.networks.engine import History, Job, Settings, Stack, Trained
from vdslib.networks.ensemble import Anchored
from vdslib.networks.models import NETWORKS, Shape, register
from vdslib.networks.quantiles import QuantileForecaster, pinball_network
from vdslib.networks.stacked import by_layers
from vdslib.networks.training import Forecaster, inner_tail, predict

__all__ = [
    "NETWORKS", "Anchored", "Forecaster", "History", "Job", "QuantileForecaster", "Settings", "Shape", "Stack", "Trained",
    "by_layers", "engine", "ensemble", "inner_tail", "keras", "models", "pinball_network", "predict", "register",
    "seed_everything", "training",
]  # fmt: skip
