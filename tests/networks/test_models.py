"""The three networks: their shapes, layers and weights."""

import numpy as np
import pytest

from vdslib.networks import models

SHAPE = {"window": 10, "features": 4}


def names(network):
    return [type(layer).__name__ for layer in models.build(network, **SHAPE).layers]


@pytest.mark.parametrize(
    ("network", "outputs", "width"), [("textbook", 2, 2), ("figure", 2, 2), ("printed", 2, 3)]
)
def test_shapes(network, outputs, width):
    model = models.build(network, **SHAPE, outputs=outputs)
    assert model.input_shape == (None, 10, 4) and model.output_shape == (None, width)
    assert model(np.zeros((7, 10, 4), "float32")).shape == (7, width)
    assert model.name == network and not model.compiled


def test_a_loop_written_out_computes_the_same(monkeypatch):
    window = np.random.default_rng(0).random((5, 10, 4)).astype("float32")
    written_out = models.build("textbook", **SHAPE, seed=1)
    monkeypatch.setattr(models, "_LONGEST_UNROLLED", 0)
    looped = models.build("textbook", **SHAPE, seed=1)
    assert [model.get_layer("lstm_1").unroll for model in (written_out, looped)] == [True, False]
    assert np.allclose(written_out(window), looped(window), atol=1e-6)


def test_the_printed_network_takes_one_step_without_a_word():
    model = models.build("printed", **SHAPE)
    assert model(np.zeros((5, 1, 4), "float32")).shape == (5, 3)
    assert model.predict(np.zeros((5, 1, 4), "float32"), verbose=0).shape == (5, 3)


def test_layers_follow_their_sources():
    plain = ["LSTM", "Dropout", "LSTM", "Dropout"]
    assert names("printed") == names("textbook") == [*plain, "Dense"]
    assert names("figure") == [*plain, "Flatten", "Dense", "Dense"]
    figure = models.build("figure", **SHAPE, units=(6, 5), dense_units=7)
    assert figure.get_layer("lstm_2").output.shape == (None, 10, 5)
    assert figure.get_layer("flatten").output.shape == (None, 50)
    assert figure.get_layer("dense").output.shape == (None, 7)


def test_number_of_weights():
    def lstm(inputs, units):  # four gates, each with weights on input, on output, and a bias
        return 4 * (inputs * units + units * units + units)

    textbook = models.build("textbook", **SHAPE, outputs=1)
    assert textbook.count_params() == lstm(4, 64) + lstm(64, 32) + 33
    figure = models.build("figure", **SHAPE, outputs=1, dense_units=16)
    assert figure.count_params() == lstm(4, 64) + lstm(64, 32) + (320 * 16 + 16) + 17


def test_settings_reach_the_layers():
    for network, activation in {"printed": "relu", "figure": "tanh", "textbook": "tanh"}.items():
        assert models.build(network, **SHAPE).get_layer("lstm_1").activation.__name__ == activation
        given = models.build(network, **SHAPE, activation="sigmoid", dropout=0.4, recurrent_dropout=0.1)
        assert given.get_layer("lstm_2").activation.__name__ == "sigmoid"
        assert given.get_layer("dropout_1").rate == 0.4
        assert given.get_layer("lstm_1").recurrent_dropout == 0.1
    three = models.build("textbook", **SHAPE, units=[4, 3, 2])
    assert [three.get_layer(f"lstm_{n}").units for n in (1, 2, 3)] == [4, 3, 2]


def test_dropout_and_activation_leave_the_first_weights_as_they_are():
    usual = models.build("figure", **SHAPE, seed=3).get_weights()
    for changed in ({"dropout": 0.0}, {"dropout": 0.0, "recurrent_dropout": 0.2}, {"activation": "relu"}):
        for one, two in zip(
            usual, models.build("figure", **SHAPE, seed=3, **changed).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(one, two)


def test_weights_come_from_the_seed_alone():
    first, again, other = (models.build("textbook", **SHAPE, seed=seed).get_weights() for seed in (3, 3, 4))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not all((a == b).all() for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    ("network", "settings", "message"),
    [
        (
            "textbok",
            {},
            "there is no network 'textbok'. Did you mean 'textbook'.*Known are printed, figure, anchored, textbook",
        ),
        ("textbook", {"units": ()}, "at least one LSTM layer"),
        ("textbook", {"units": (8, 0)}, "at least one unit"),
        ("figure", {"dropout": 1.0}, r"dropout must lie in \[0, 1\)"),
        ("figure", {"recurrent_dropout": -0.1}, "recurrent_dropout must lie"),
    ],
)
def test_impossible_networks_are_refused(network, settings, message):
    with pytest.raises(ValueError, match=message):
        models.build(network, **SHAPE, **settings)


OWN = """
from vdslib.networks import keras, register


@register("my own")
def gru(shape):
    return [keras.layers.GRU(shape.units[0], name="gru"), shape.output(shape.outputs)]
"""


def test_a_network_of_a_reader_s_own_is_built_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(models.NETWORKS, "_kept", dict(models.NETWORKS._kept))
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.setenv("VDS_NETWORKS", str(tmp_path / "own.py"))
    first, again = (models.build("my own", **SHAPE, outputs=2, units=(5,), seed=1) for _ in range(2))
    assert first.name == "my-own" and first.output_shape == (None, 2)
    for one, two in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert models.NETWORKS.names()[-1] == "my own" and models.NETWORKS.names()[0] == "printed"


def test_starting_weights_move_by_a_millionth_where_another_processor_is_asked_for(monkeypatch):
    def weights(seed=3):
        return np.concatenate([w.ravel() for w in models.build("textbook", **SHAPE, seed=seed).get_weights()])

    usual = weights()
    drawn = {}
    for switch, size in {"1": 1e-6, "2": 1e-6, "3:0.01": 0.01}.items():
        monkeypatch.setenv("VDS_MOVED_WEIGHTS", switch)
        drawn[switch] = weights()
        moved = drawn[switch][usual != 0] / usual[usual != 0] - 1
        assert 0.8 * size < np.std(moved) < 1.2 * size
        np.testing.assert_array_equal(drawn[switch], weights())
    assert not np.array_equal(drawn["1"], drawn["2"])
    monkeypatch.delenv("VDS_MOVED_WEIGHTS")
    np.testing.assert_array_equal(usual, weights())
