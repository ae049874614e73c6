"""The quantiles of a network: its loss is the pinball loss, its intervals hold their share, and it can be kept."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss
from synthetic import autoregression, planted

from vdslib.forecasting import intervals, prepare
from vdslib.networks import (
    Forecaster,
    History,
    Job,
    QuantileForecaster,
    Settings,
    Trained,
    engine,
    keras,
    pinball_network,
    seed_everything,
    training,
)


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


def test_coverage_is_within_two_points_on_an_autoregression(data):
    settings = Settings(epochs=60, batch_size=64, patience=10, learning_rate=0.001)
    model = QuantileForecaster(network, 2, settings=settings)
    with pytest.raises(RuntimeError, match="fit the forecaster"):
        model.interval(data.test, 0.8)
    model.fit(data.train, data.validation)
    for coverage in (0.8, 0.95):
        inside = intervals.covered(data.test.y, *model.interval(data.test, coverage))
        assert inside.mean(axis=0) == pytest.approx([coverage] * 2, abs=0.02)
    unit = data.y_scaler.data_range_[0]
    error = np.mean((model.forecast(data.test) - data.test.y) ** 2, axis=0) * unit**2
    assert error == pytest.approx([1, 1 + 0.8**2], rel=0.08)
    with pytest.raises(ValueError, match=r"no quantile at 0.25, only at 0.025"):
        model.interval(data.test, 0.5)


def test_the_engine_minimises_what_keras_minimises(data):
    settings = Settings(epochs=2, batch_size=64, patience=0, restore_best=False)
    part, watched = data.train.take(slice(0, 500)), data.train.take(slice(600, 700))

    def build(seed):
        return pinball_network(network(seed, 6), (0.1, 0.5, 0.9))

    (ours,) = training.train([Job(build, part, watched, settings, 1)])
    model = training.compile(build(1))
    losses = []
    for epoch in range(2):
        order = engine.batch_order(len(part), 1, epoch)
        x, y = (values[order].astype("float32") for values in (part.x, part.y))
        record = model.fit(x, y, batch_size=64, shuffle=False, verbose=0)
        losses.append(record.history["loss"][0])
    np.testing.assert_allclose(ours.history.loss, losses, rtol=1e-4)
    seen = model.evaluate(watched.x.astype("float32"), watched.y.astype("float32"), batch_size=200, verbose=0)
    assert ours.history.val_loss[-1] == pytest.approx(seen, rel=1e-4)


LOAD = """
import sys
import numpy as np
from vdslib.networks import keras, quantiles
model = keras.models.load_model(sys.argv[1])
np.save(sys.argv[2], np.asarray(model(np.load(sys.argv[2]))))
print(*model.levels)
"""


def test_a_saved_network_forecasts_the_same_in_another_process(data, tmp_path):
    model = QuantileForecaster(network, 2, coverages=(0.5,), settings=Settings(epochs=1, batch_size=512))
    model.fit(data.train, data.validation)
    saved, values = tmp_path / "quantiles.keras", tmp_path / "x.npy"
    model.trained.model.save(saved)
    loaded = QuantileForecaster.of(Trained(keras.models.load_model(saved), History()))
    assert loaded.levels == model.levels == (0.25, 0.5, 0.75) and loaded.horizon == 2
    np.testing.assert_array_equal(loaded.forecast(data.test), model.forecast(data.test))
    np.testing.assert_array_equal(loaded.interval(data.test, 0.5), model.interval(data.test, 0.5))
    some = np.asarray(data.test.x[:100], "float32")
    np.save(values, some)
    command = [sys.executable, "-c", LOAD, saved, values]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["0.25", "0.5", "0.75"]
    np.testing.assert_array_equal(np.load(values), np.asarray(model.trained.model(some)))


def test_a_loaded_network_can_learn_on(data, tmp_path, capsys):
    model = QuantileForecaster(network, 2, settings=Settings(epochs=1, batch_size=512))
    model.fit(data.train, data.validation)
    model.trained.model.save(tmp_path / "quantiles.keras")
    loaded = keras.models.load_model(tmp_path / "quantiles.keras")
    again = QuantileForecaster(lambda seed, outputs: loaded, 2, settings=Settings(epochs=1, batch_size=512))
    before = model.trained.history.val_loss[-1]
    assert again.fit(data.train, data.validation).trained.history.val_loss[-1] < before


def test_a_network_without_levels_is_no_quantile_forecaster():
    plain = Forecaster.of(Trained(network(0, 2), History()))
    with pytest.raises(TypeError, match="has no levels: make it by pinball_network"):
        QuantileForecaster.of(plain.trained)
