"""Other architectures: by hand, their sizes, what they may see, and that all train and load again."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from synthetic import autoregression, planted

from vdslib.errors import Notice
from vdslib.forecasting import prepare
from vdslib.networks import NETWORKS, Job, Settings, architectures, keras, models, training

GENERATOR = np.random.default_rng(7)
QUERY, KEYS, VALUES = (GENERATOR.standard_normal(shape) for shape in ((2, 3, 4), (2, 5, 4), (2, 5, 6)))
PLAIN = {"window": 6, "features": 2, "outputs": 3, "units": [4], "dense_units": 5, "dropout": 0.0}


def softmax(values):
    shifted = np.exp(values - values.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def attended(layer, query, keys, values, mask=None):
    masks = None if mask is None else [None, np.asarray(mask)]
    out, weights = layer(
        [query.astype("float32"), values.astype("float32"), keys.astype("float32")],
        mask=masks,
        return_attention_scores=True,
    )
    return np.asarray(out), np.asarray(weights)


@pytest.mark.parametrize("kind", ["dot", "additive"])
def test_attention_by_hand(kind):
    if kind == "dot":
        layer, scores = keras.layers.Attention(), QUERY @ KEYS.transpose(0, 2, 1)
    else:
        layer = keras.layers.AdditiveAttention(use_scale=False)
        scores = np.tanh(QUERY[:, :, None] + KEYS[:, None]).sum(axis=-1)
    out, weights = attended(layer, QUERY, KEYS, VALUES)
    np.testing.assert_allclose(weights, softmax(scores), atol=1e-5)
    np.testing.assert_allclose(out, softmax(scores) @ VALUES, atol=1e-5)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-6)
    mask = np.array([[True, True, False, True, False]] * 2)
    out, weights = attended(layer, QUERY, KEYS, VALUES, mask)
    expected = softmax(np.where(mask[:, None], scores, -1e9))
    np.testing.assert_allclose(out, expected @ VALUES, atol=1e-5)
    assert (weights[:, :, [2, 4]] < 1e-6).all()
    order = np.array([3, 1, 0, 4, 2])
    moved, _ = attended(layer, QUERY, KEYS[:, order], VALUES[:, order])
    np.testing.assert_allclose(moved, attended(layer, QUERY, KEYS, VALUES)[0], atol=1e-5)


def test_several_heads_by_hand():
    layer = keras.layers.MultiHeadAttention(2, 3, use_bias=False)
    out, weights = layer(QUERY.astype("float32"), KEYS.astype("float32"), return_attention_scores=True)
    to_query, to_key, to_value, back = (np.asarray(each, float) for each in layer.get_weights())
    query, key, value = (np.einsum("btf,fhd->bhtd", part, w) for part, w in
                         ((QUERY, to_query), (KEYS, to_key), (KEYS, to_value)))  # fmt: skip
    expected = softmax(query @ key.transpose(0, 1, 3, 2) / np.sqrt(3))
    np.testing.assert_allclose(weights, expected, atol=1e-5)
    np.testing.assert_allclose(out, np.einsum("bhtd,hdf->btf", expected @ value, back), atol=1e-5)


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def test_gru_by_hand():
    layer, x = keras.layers.GRU(3), GENERATOR.standard_normal((2, 5, 4))
    out = np.asarray(layer(x.astype("float32")))
    kernel, recurrent, bias = (np.asarray(each, float) for each in layer.get_weights())
    state = np.zeros((2, 3))
    for t in range(5):
        fed, held = x[:, t] @ kernel + bias[0], state @ recurrent + bias[1]
        update, reset = sigmoid(fed[:, :3] + held[:, :3]), sigmoid(fed[:, 3:6] + held[:, 3:6])
        candidate = np.tanh(fed[:, 6:] + reset * held[:, 6:])
        state = update * state + (1 - update) * candidate
    np.testing.assert_allclose(out, state, atol=1e-5)


def test_the_backward_half_is_the_forward_one_on_the_reversed_window():
    layer, x = (
        keras.layers.Bidirectional(keras.layers.LSTM(3)),
        GENERATOR.standard_normal((2, 5, 4)).astype("float32"),
    )
    out = np.asarray(layer(x))
    forward = keras.layers.LSTM(3)
    forward(x)
    forward.set_weights(layer.backward_layer.get_weights())
    np.testing.assert_allclose(out[:, 3:], forward(x[:, ::-1].copy()), atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "features", "count"),
    [
        (keras.layers.LSTM(64), 4, 17_664),
        (keras.layers.LSTM(32), 64, 12_416),
        (keras.layers.GRU(64), 4, 13_440),
        (keras.layers.Bidirectional(keras.layers.LSTM(64)), 4, 35_328),
    ],
)
def test_parameters_of_layers(layer, features, count):
    layer.build((None, 10, features))
    assert layer.count_params() == count


def test_parameters_of_textbook():
    assert models.build("textbook", window=10, features=4).count_params() == 30_113


def test_a_temporal_convolution_sees_its_receptive_field_and_nothing_later():
    entry = keras.Input((40, 1))
    keras.utils.set_random_seed(3)
    network = keras.Model(entry, architectures.temporal(entry, 3))
    field = architectures.receptive_field()
    assert field == 1 + (architectures.KERNEL - 1) * sum(architectures.DILATIONS) == 15
    base = GENERATOR.random((1, 40, 1)).astype("float32") + 1
    out, changed = np.asarray(network(base)), base.copy()
    changed[0, 20] += 5
    other = np.asarray(network(changed))
    differ = np.flatnonzero((out != other).any(axis=(0, 2)))
    assert differ.min() == 20 and differ.max() <= 20 + field - 1
    np.testing.assert_array_equal(out[:, :20], other[:, :20])
    weights = [np.abs(each) for each in network.get_weights()]  # so that no relu hides what a row reaches
    network.set_weights(weights)
    differ = (np.asarray(network(base)) != np.asarray(network(changed))).any(axis=(0, 2))
    assert np.flatnonzero(differ).tolist() == list(range(20, 20 + field))


@pytest.fixture(scope="module")
def data():
    return prepare(
        planted(autoregression(4000, 0.8) + 20),
        features=["cpu_usage"],
        target="cpu_usage",
        window=8,
        horizon=2,
    )


@pytest.mark.parametrize("name", ["nlinear", "dlinear", "rlinear"])
def test_linear_networks_are_least_squares(data, name):
    """What each may express is a linear map of something; least squares on that is what it should find."""
    value, last = data.train.x[:, :, 0], data.train.last[:, None]
    test, after = data.test.x[:, :, 0], data.test.last[:, None]
    if name == "nlinear":
        fitted = LinearRegression().fit(value - last, data.train.y - last).predict(test - after) + after
    elif name == "dlinear":
        fitted = LinearRegression().fit(value, data.train.y).predict(test)
    else:
        (mean, spread), (mean_, spread_) = (
            (part.mean(axis=1, keepdims=True), part.std(axis=1, keepdims=True)) for part in (value, test)
        )
        from scipy.optimize import lsq_linear

        inputs = np.hstack([(value - mean), spread])  # weighted by the spread, as the loss is
        answers = [lsq_linear(inputs, data.train.y[:, h] - mean[:, 0]).x for h in range(2)]
        fitted = np.hstack([(test - mean_), spread_]) @ np.column_stack(answers) + mean_
    expected = np.mean((fitted - data.test.y) ** 2)
    settings = Settings(epochs=60, batch_size=64, learning_rate=0.003, patience=0, restore_best=False)
    (trained,) = training.train(
        [
            Job(
                lambda seed: models.build(name, **models.design(data.train), seed=seed),
                data.train,
                None,
                settings,
                1,
            )
        ]
    )
    assert training.losses(trained.model, data.test)[0] == pytest.approx(expected, rel=0.01)


@pytest.fixture(scope="module")
def timed():
    frame = planted(autoregression(600, 0.8) + 20)
    return prepare(frame, features=["cpu_usage"], target="cpu_usage", window=6, horizon=3, rhythms=[60])


@pytest.mark.filterwarnings("ignore::vdslib.errors.Notice")
@pytest.mark.parametrize("name", NETWORKS.names())
def test_every_network_trains_and_loads_and_forecasts_the_same(timed, name, tmp_path):
    if name == "printed":
        pytest.skip("has three outputs whatever it is to forecast")
    design = {**models.design(timed.train), "units": [4], "dense_units": 5}
    job = Job(
        lambda seed: models.build(name, **design, seed=seed),
        timed.train,
        timed.validation,
        Settings(epochs=1),
        2,
    )
    (trained,) = training.train([job])
    trained.model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    forecast = training.predict(trained.model, timed.test)
    assert forecast.shape == timed.test.y.shape and np.isfinite(forecast).all()
    np.testing.assert_array_equal(training.predict(loaded, timed.test), forecast)
    training.fit(training.compile(models.build(name, **design)), timed.train, None, epochs=1, patience=0)
    again = models.build(name, **design, seed=2)
    for one, other in zip(
        again.get_weights(), models.build(name, **design, seed=2).get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_attention_weights_can_be_drawn(timed):
    model = models.build("attention", **models.design(timed.train), units=[4], seed=1)
    layer = model.get_layer("attention")
    inner = keras.Model(model.inputs, layer.input)
    asked, rows = inner(timed.test.x[:5].astype("float32"))
    _, weights = layer([asked, rows], return_attention_scores=True)
    assert weights.shape == (5, 3, 6)
    np.testing.assert_allclose(np.asarray(weights).sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("level", ["", "last"])
@pytest.mark.parametrize("name", NETWORKS.names())
def test_every_network_is_written_out(timed, name, level):
    if name == "anchored" and level:
        pytest.skip("has no level")
    made = models.build(name, **models.design(timed.train), units=[3, 2], level=level, seed=1)
    assert training.left_to_fit(made) == (False, "")


def test_what_keras_computes_is_said_once(timed):
    def build(seed):
        keras.utils.set_random_seed(seed)
        entry = keras.Input(timed.train.x.shape[1:])
        return keras.Model(entry, keras.layers.Dense(3)(keras.layers.SimpleRNN(3)(entry)))

    jobs = [Job(build, timed.train, None, Settings(epochs=1, patience=0), seed) for seed in (1, 2)]
    with pytest.warns(Notice) as caught:
        training.train(jobs)
    assert [str(each.message) for each in caught if each.category is Notice] == [
        "Keras' layers train in a compiled epoch, since its SimpleRNN layer is not written out"
    ]
