"""What a builder chose is kept, and a network that does not fit its data is refused, by `fit` as by the engine."""

import numpy as np
import pytest

from vdslib.errors import Notice
from vdslib.forecasting import Windows
from vdslib.networks import Job, Settings, keras, models, training

QUICK = Settings(epochs=2, patience=0, restore_best=False, learning_rate=0.01)
SAID = "Sequential is trained by Keras fit, since it comes compiled"


def windows(samples=24, seed=0, horizon=1):
    random = np.random.default_rng(seed)
    x, y = random.random((samples, 5, 2)), random.random((samples, horizon))
    return Windows(x, y, np.arange(samples), np.full(samples, "system"), y[:, 0])


def dense(seed=0, outputs=1, **compiled):
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((5, 2)), keras.layers.Flatten(), keras.layers.Dense(outputs, name="output")]
    model = keras.Sequential(layers, name="dense")
    if compiled:
        model.compile(**compiled)
    return model


def last_error_three_times(y_true, y_pred):
    return 3 * keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)


COMPILED = {
    "loss": {"loss": last_error_three_times},
    "loss of Keras": {"loss": "mean_absolute_error"},
    "clipped gradients": {"loss": "mse", "optimizer": {"clipnorm": 1e-3}},
    "optimiser": {"loss": "mse", "optimizer": {"learning_rate": 0.3}},
    "weighted loss": {"loss": "mse", "loss_weights": 5.0},
    "metrics": {"loss": "mse", "metrics": ["mae"]},
    "eager": {"loss": "mse", "run_eagerly": True},
}


@pytest.mark.parametrize("kind", COMPILED)
def test_what_a_builder_compiled_is_kept(kind):
    def build(seed):
        chosen = dict(COMPILED[kind])
        optimizer = keras.optimizers.SGD(**chosen.pop("optimizer", {"learning_rate": 0.1}))
        return dense(seed, optimizer=optimizer, **chosen)

    data, watched = windows(), windows(seed=1)
    with pytest.warns(Notice, match=f"^{SAID}"):
        (ours,) = training.train([Job(build, data, watched, QUICK, 3)])
    model = build(3)
    training.seed_everything(3)
    float32 = [np.asarray(part, "float32") for part in (data.x, data.y, watched.x, watched.y)]
    theirs = model.fit(*float32[:2], validation_data=float32[2:], batch_size=16, epochs=2, verbose=0).history
    np.testing.assert_allclose(ours.history.loss, theirs["loss"], rtol=1e-5)
    np.testing.assert_allclose(ours.history.val_loss, theirs["val_loss"], rtol=1e-5)
    for mine, its in zip(ours.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5)
    plain = training.train([Job(dense, data, watched, QUICK, 3)])[0]
    assert not np.allclose(plain.model.get_weights()[0], ours.model.get_weights()[0], rtol=1e-3)


def without_inputs(outputs):
    class Written(keras.Model):
        def __init__(self):
            super().__init__(name="written")
            self.last = keras.layers.Dense(outputs)

        def call(self, x):
            return self.last(x[:, -1])

    return Written()


@pytest.mark.parametrize(("outputs", "horizon"), [(1, 3), (3, 1), (2, 3)])
@pytest.mark.parametrize(
    "build",
    [
        lambda outputs: dense(outputs=outputs),
        lambda outputs: dense(outputs=outputs, loss="mae"),
        lambda outputs: dense(outputs=outputs, loss=keras.losses.Huber()),
        without_inputs,
        lambda outputs: models.build("figure", window=5, features=2, units=(2,), outputs=outputs),
    ],
    ids=["sequential", "mae", "huber", "written", "figure"],
)
def test_outputs_that_the_loss_would_repeat_are_refused(build, outputs, horizon):
    data = windows(horizon=horizon)
    message = rf"has outputs \[{outputs}\] for each window, but targets are \[{horizon}\]"
    with pytest.raises(ValueError, match=message):
        training.train([Job(lambda seed: build(outputs), data, None, QUICK, 1)])
    model = build(outputs)
    with pytest.raises(ValueError, match=message):
        training.fit(model if model.compiled else training.compile(model), data, None, epochs=1)
    with pytest.raises(ValueError, match=message):
        training.losses(build(outputs), data)


def test_windows_to_watch_must_fit_the_outputs_too():
    with pytest.raises(ValueError, match=r"has outputs \[1\] for each window, but targets are \[3\]"):
        training.fit(training.compile(dense()), windows(), windows(horizon=3), epochs=1)


def test_a_sequence_for_a_single_target_is_refused():
    def build(seed):
        return keras.Sequential([keras.Input((5, 2)), keras.layers.LSTM(2, return_sequences=True)])

    with pytest.raises(ValueError, match=r"has outputs \[5, 2\] for each window, but targets are \[1\]"):
        training.train([Job(build, windows(), None, QUICK, 1)])


def test_the_printed_network_shows_what_repeating_does():
    def build(seed):
        return models.build("printed", window=5, features=2, units=(2,), seed=seed)

    data = windows()
    for model in (
        training.train([Job(build, data, data, QUICK, 1)])[0].model,
        training.compile(build(1)),
    ):
        forecast = training.predict(model, data)
        assert forecast.shape == (24, 3)
        assert training.losses(model, data) == [pytest.approx(np.mean((forecast - data.y) ** 2))]
        training.fit(model, data, None, epochs=1)
    with pytest.raises(ValueError, match=r"printed has outputs \[3\] for each window, but targets are \[2\]"):
        training.train([Job(build, windows(horizon=2), None, QUICK, 1)])


def test_a_loss_of_another_kind_may_compare_other_shapes():
    def build(seed):
        return dense(seed, 4, loss=lambda true, outputs: keras.ops.mean((outputs[:, :1] - true) ** 2))

    with pytest.warns(Notice, match=f"^{SAID}"):
        (trained,) = training.train([Job(build, windows(), None, QUICK, 1)])
    assert np.isfinite(trained.history.loss).all()


def recurrent(kind):
    layers = keras.layers
    return {
        "layer": lambda: layers.LSTM(2, stateful=True),
        "inside another": lambda: keras.Sequential([layers.GRU(2, stateful=True)]),
        "both ways": lambda: layers.Bidirectional(layers.LSTM(2, stateful=True)),
    }[kind]()


@pytest.mark.parametrize("kind", ["layer", "inside another", "both ways"])
def test_a_state_that_would_come_from_other_windows_is_refused(kind):
    def build(seed):
        return keras.Sequential([keras.Input(batch_shape=(8, 5, 2)), recurrent(kind), keras.layers.Dense(1)])

    with pytest.raises(ValueError, match=r"is stateful, but windows .* build it with stateful=False"):
        training.train([Job(build, windows(), None, QUICK, 1)])
    with pytest.raises(ValueError, match="is stateful"):
        training.fit(training.compile(build(1)), windows(), None, epochs=1, batch_size=8)
