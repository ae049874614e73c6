"""Quantile forecasts by a network: any builder of networks, with the pinball loss at its head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vdslib.forecasting import Ends, Windows, quantile_levels
from vdslib.networks._tensorflow import keras
from vdslib.networks.engine import Settings, Trained
from vdslib.networks.training import Forecaster


@keras.saving.register_keras_serializable("vdslib")
class PinballNetwork(keras.Model):
    """A network whose outputs are quantiles, [samples, horizon x levels], trained by their mean pinball loss.

    Keras saves and loads it with its levels (``keras.models.load_model``, once this module is imported).
    """

    levels: tuple[float, ...] = ()

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "levels": list(self.levels)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> PinballNetwork:
        network = {name: value for name, value in config.items() if name != "levels"}
        result = super().from_config(network, custom_objects)
        result.levels = tuple(config["levels"])
        return result

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        quantiles = keras.ops.reshape(y_pred, (-1, y.shape[1], len(self.levels)))
        missed = y[:, :, None] - quantiles
        levels = keras.ops.convert_to_tensor(self.levels, missed.dtype)
        return keras.ops.mean(keras.ops.maximum(levels * missed, (levels - 1) * missed))


def pinball_network(network: keras.Model, levels: tuple[float, ...]) -> PinballNetwork:
    """``network`` with ``horizon x levels`` outputs (step by step), to be trained by the pinball loss."""
    result = PinballNetwork(network.inputs[0], network.outputs[0], name=network.name)
    result.levels = tuple(levels)
    return result


class QuantileForecaster(Forecaster):
    """A network that forecasts the median and the ends of the intervals of ``coverages``.

    ``build(seed, outputs)`` makes the network with that many outputs. ``fit`` as of ``Forecaster``: early stopping
    watches the pinball loss on ``validation``, or on the inner tail of the training windows.
    """

    def __init__(
        self,
        build: Callable[[int, int], keras.Model],
        horizon: int = 1,
        coverages: tuple[float, ...] = (0.8, 0.95),
        settings: Settings | None = None,
        seed: int = 0,
    ) -> None:
        ends = (level for each in coverages for level in quantile_levels(each))
        self.levels, self.horizon = tuple(sorted({0.5, *ends})), horizon
        super().__init__(
            lambda seed: pinball_network(build(seed, horizon * len(self.levels)), self.levels),
            settings,
            seed,
            "quantiles",
        )

    @classmethod
    def of(cls, trained: Trained, name: str = "quantiles", seed: int = 0) -> QuantileForecaster:
        """A forecaster around a ``PinballNetwork`` that is trained, or loaded, already; TypeError for another network."""
        network = trained.model
        if not isinstance(network, PinballNetwork):
            raise TypeError(f"the network {network.name} has no levels: make it by pinball_network")
        forecaster = cls(
            lambda seed, outputs: network, network.output_shape[1] // len(network.levels), seed=seed
        )
        forecaster.levels, forecaster.name, forecaster.trained = network.levels, name, trained
        return forecaster

    def forecast(self, windows: Windows) -> np.ndarray:
        """The medians [samples, horizon], scaled. RuntimeError before ``fit``."""
        return self._quantiles(windows)[:, :, self.levels.index(0.5)]

    def interval(self, windows: Windows, coverage: float) -> Ends:
        """Lower and upper ends [samples, horizon]; ValueError for a coverage that was not asked for at first."""
        low, high = quantile_levels(coverage)
        if low not in self.levels:
            known = ", ".join(f"{each:g}" for each in self.levels)
            raise ValueError(f"no quantile at {low:g}, only at {known}: build it with other coverages")
        quantiles = self._quantiles(windows)
        return quantiles[:, :, self.levels.index(low)], quantiles[:, :, self.levels.index(high)]

    def _quantiles(self, windows: Windows) -> np.ndarray:
        """[samples, horizon, levels]; sorted, since quantiles of one network may cross."""
        outputs = super().forecast(windows)
        return np.sort(outputs.reshape(len(windows), self.horizon, len(self.levels)), axis=2)
