"""The quantiles of a network: its loss is the pinball loss, and its intervals hold their share."""

import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss
from synthetic import autoregression, planted

from vdslib import intervals
from vdslib._tensorflow import keras
from vdslib.preparation import prepare
from vdslib.quantiles import QuantileForecaster, pinball_network
from vdslib.training import Settings, seed_everything


def network(seed, outputs):
    """Linear, so that it is right for an autoregression; inputs around 0, so that it converges soon."""
    seed_everything(seed)
    return keras.Sequential(
        [
            keras.Input((10, 1)),
            keras.layers.Rescaling(6, -3),
            keras.layers.Flatten(),
            keras.layers.Dense(outputs),
        ]
    )


def test_the_loss_is_scikit_learns_pinball_loss():
    random = np.random.default_rng(0)
    true, quantiles = random.random((30, 2)).astype("float32"), random.random((30, 2, 3)).astype("float32")
    levels = (0.1, 0.5, 0.9)
    model = pinball_network(network(0, 6), levels)
    found = float(
        model.compute_loss(y=keras.ops.array(true), y_pred=keras.ops.array(quantiles.reshape(30, 6)))
    )
    expected = [mean_pinball_loss(true, quantiles[:, :, n], alpha=level) for n, level in enumerate(levels)]
    assert found == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.fixture(scope="module")
def data():
    return prepare(
        planted(autoregression(16_000, 0.8)), features=["cpu_usage"], target="cpu_usage", horizon=2, test=0.4
    )


def test_coverage_is_within_two_points_on_an_autoregression(data, capsys):
    settings = Settings(epochs=40, batch_size=64, patience=8, learning_rate=0.002)
    model = QuantileForecaster(network, 2, settings=settings)
    with pytest.raises(RuntimeError, match="fit the forecaster"):
        model.interval(data.test, 0.8)
    model.fit(data.train, data.validation)
    assert "has a compute_loss of its own" in capsys.readouterr().out
    for coverage in (0.8, 0.95):
        inside = intervals.covered(data.test.y, *model.interval(data.test, coverage))
        assert inside.mean(axis=0) == pytest.approx([coverage] * 2, abs=0.02)
    unit = data.y_scaler.data_range_[0]
    error = np.mean((model.forecast(data.test) - data.test.y) ** 2, axis=0) * unit**2
    assert error == pytest.approx([1, 1 + 0.8**2], rel=0.08)
    with pytest.raises(ValueError, match=r"no quantile at 0.25, only at 0.025"):
        model.interval(data.test, 0.5)
