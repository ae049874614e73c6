"""Layers of functional networks written out: outputs and gradients as by Keras, for two models at once; what is not plain is
left to Keras."""

import numpy as np
import pytest

from vdslib.forecasting import Windows
from vdslib.networks import Job, Settings, engine, graph, keras, models, training
from vdslib.networks._tensorflow import tf

layers, ops = keras.layers, keras.ops
STEPS, FEATURES, OUTPUTS, BATCH = 6, 4, 2, 5


def windows(samples=43, seed=0):
    random = np.random.default_rng(seed)
    x, y = random.random((samples, STEPS, FEATURES)), random.random((samples, OUTPUTS))
    return Windows(x, y, np.arange(samples), np.full(samples, "system"), y[:, 0])


def network(make, seed=0):
    """A functional network of whatever ``make`` does with its input, flattened and mapped to the outputs."""
    keras.utils.set_random_seed(seed)
    entry = keras.Input((STEPS, FEATURES))
    return keras.Model(entry, layers.Dense(OUTPUTS)(layers.Flatten()(make(entry))))


def decoded(kind):
    def make(x):
        rows, *states = kind(3, return_sequences=True, return_state=True)(x)
        later = layers.RepeatVector(2)(layers.Dense(3, activation="tanh")(x[:, -1]))
        answer = kind(3, return_sequences=True)(later, initial_state=states)
        last, *ends = kind(3, return_state=True)(x, initial_state=states)
        return layers.Concatenate()([layers.Flatten()(rows), layers.Flatten()(answer), last, *ends])

    return make


def convolved(x):
    images = layers.Reshape((STEPS, FEATURES, 1))(x)
    seen = layers.Conv2D(3, (3, 2), dilation_rate=(2, 1), padding="same", activation="tanh")(images)
    return layers.Conv2D(2, 2, use_bias=False)(layers.Dropout(0.0)(seen))


def normalised(x):
    rows = layers.LayerNormalization(epsilon=0.1)(x) + layers.LayerNormalization(center=False)(2 * x)
    return rows * layers.LayerNormalization(scale=False)(x) + layers.LayerNormalization(axis=[-1])(x)


def attended(x):
    asked, keys, values = layers.Dense(3)(x[:, -2:]), layers.Dense(3)(x), layers.Dense(5)(x)
    found = layers.AdditiveAttention()([asked, values, keys])
    return layers.Concatenate()([found, layers.AdditiveAttention(use_scale=False)([asked, keys])])


def of_many_heads(x):
    values = layers.Dense(5)(x)
    among = layers.MultiHeadAttention(2, 3)(x, x)
    other = layers.MultiHeadAttention(3, 2, value_dim=4, use_bias=False)(x[:, -2:], values, x)
    return layers.Concatenate(axis=1)([among, other])


def reshaped(x):
    turned = layers.Permute((2, 1))(layers.Dense(3, activation="relu")(layers.Permute((2, 1))(x)))
    over = ops.mean(turned, axis=(1, 2), keepdims=True) + ops.max(turned, axis=-1, keepdims=True)
    return turned + over * ops.ones_like(turned)


def nested(x):
    entry = keras.Input((STEPS, FEATURES))
    inner = keras.Model(entry, layers.GRU(3)(entry) + layers.Dense(3)(entry[:, -1]))
    chain = keras.Sequential([layers.Conv1D(3, 2), layers.GRU(2, return_sequences=True)])
    plain = keras.Sequential([layers.LSTM(2), layers.Dense(2)])
    return layers.Concatenate()([inner(x), inner(-x), layers.Flatten()(chain(x)), plain(x)])


MADE = {
    "lstm with states": decoded(layers.LSTM),
    "gru with states": decoded(layers.GRU),
    "gru": lambda x: layers.GRU(3, activation="relu", recurrent_activation="tanh")(x),
    "both ways": lambda x: layers.Bidirectional(layers.LSTM(3, activation="relu", return_sequences=True))(x),
    "both ways, last": lambda x: layers.Bidirectional(layers.GRU(3))(
        layers.Bidirectional(layers.LSTM(2, return_sequences=True))(x)
    ),
    "causal": lambda x: layers.Conv1D(3, 3, padding="causal", dilation_rate=2, activation="relu")(x),
    "same": lambda x: layers.Conv1D(3, 4, padding="same")(layers.Conv1D(2, 2)(x)),
    "images": convolved,
    "normalised": normalised,
    "additive attention": attended,
    "heads": of_many_heads,
    "reshaped": reshaped,
    "nested": nested,
}


def gradients(loss, variables):
    with tf.GradientTape() as tape:
        tape.watch(variables)
        value, outputs = loss()
    return outputs, tape.gradient(value, variables, unconnected_gradients="zero")


def agree(made):
    """Two models written out at once have Keras' outputs and gradients."""
    assert graph.unknown_part(made[0]) == ""
    random = np.random.default_rng(3)
    for model in made:  # biases and factors start at 0 and 1, which would hide what is done with them
        model.set_weights([w + 0.2 * random.standard_normal(w.shape) for w in model.get_weights()])
    x = random.standard_normal((2, BATCH, STEPS, FEATURES)).astype("float32")
    y = random.standard_normal((2, BATCH, OUTPUTS)).astype("float32")
    weights = [
        tf.stack(each) for each in zip(*([v.value for v in m.trainable_variables] for m in made), strict=True)
    ]
    run = graph.written_out(made[0])

    def ours():
        outputs, *_ = run(weights, [], tf.constant(x), None)
        return tf.reduce_sum(tf.reduce_mean(tf.square(outputs - y), axis=[1, 2])), outputs

    outputs, slopes = gradients(ours, weights)
    for k, model in enumerate(made):

        def theirs(model=model, k=k):
            outputs = model(x[k], training=True)
            return tf.reduce_mean(tf.square(outputs - y[k])), outputs

        expected, its = gradients(theirs, [v.value for v in model.trainable_variables])
        np.testing.assert_allclose(outputs[k], expected, atol=1e-5)
        for mine, other in zip(slopes, its, strict=True):
            np.testing.assert_allclose(mine[k], other, atol=1e-5)
        assert max(np.abs(each).max() for each in its) > 1e-3


@pytest.mark.parametrize("kind", MADE)
def test_a_part_is_that_of_keras(kind):
    agree([network(MADE[kind], seed) for seed in (1, 2)])


def test_a_sequence_of_layers_is_written_out_too():
    def build(seed):
        keras.utils.set_random_seed(seed)
        chain = [
            layers.Conv1D(3, 2, padding="causal"),
            layers.LayerNormalization(),
            layers.GRU(3),
            layers.Dense(OUTPUTS),
        ]
        return keras.Sequential([keras.Input((STEPS, FEATURES)), *chain])

    agree([build(seed) for seed in (1, 2)])


def relu(x):
    """Not the activation of that name."""
    return 2 * ops.relu(x)


class OwnConvolution(layers.Conv1D):
    """A layer of somebody's own."""


def frozen(layer):
    layer.trainable = False
    return layer


OTHER = {
    "reset before": lambda x: layers.GRU(3, reset_after=False)(x),
    "recurrent dropout": lambda x: layers.GRU(3, recurrent_dropout=0.1)(x),
    "softplus": lambda x: layers.GRU(3, activation="softplus")(x),
    "masked": lambda x: layers.LSTM(3)(x, mask=x[:, :, 0] > 0),
    "backwards": lambda x: layers.LSTM(3, go_backwards=True)(x),
    "summed": lambda x: layers.Bidirectional(layers.LSTM(3), merge_mode="sum")(x),
    "unlike": lambda x: layers.Bidirectional(
        layers.LSTM(3), backward_layer=layers.LSTM(3, activation="relu", go_backwards=True)
    )(x),
    "both ways regularised": lambda x: layers.Bidirectional(layers.LSTM(3, kernel_regularizer="l2"))(x),
    "both ways from states": lambda x: layers.Bidirectional(layers.GRU(3))(x, initial_state=[x[:, 0, :3], x[:, 1, :3]]),
    "grouped": lambda x: layers.Conv1D(4, 2, groups=2)(x),
    "strided": lambda x: layers.Conv1D(4, 2, strides=2)(x),
    "regularised": lambda x: layers.Conv1D(4, 2, activity_regularizer="l2")(x),
    "frozen": lambda x: frozen(layers.Conv1D(4, 2))(x),
    "a function of one's own": lambda x: layers.Conv1D(4, 2, activation=relu)(x),
    "a layer of one's own": lambda x: OwnConvolution(4, 2)(x),
    "along time": lambda x: layers.LayerNormalization(axis=1)(x),
    "frozen within": lambda x: layers.Bidirectional(frozen(layers.LSTM(3)))(x),
    "heads with dropout": lambda x: layers.MultiHeadAttention(2, 3, dropout=0.1)(x, x),
    "heads, causal": lambda x: layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True),
    "heads, masked": lambda x: layers.MultiHeadAttention(2, 3)(x, x, attention_mask=ops.ones((1, STEPS, STEPS), "bool")),
    "attention with dropout": lambda x: layers.AdditiveAttention(dropout=0.1)([x, x]),
    "attention with scores": lambda x: layers.AdditiveAttention()([x, x], return_attention_scores=True)[0],
    "dropout by time step": lambda x: layers.Dropout(0.5, noise_shape=(None, 1, FEATURES))(x),
    "over all windows": lambda x: x - ops.mean(x, axis=0, keepdims=True),
    "windows turned round": lambda x: x + x[::-1, :],
    "windows of a batch joined": lambda x: layers.Concatenate(axis=0)([x, x]),
    "a floor": lambda x: ops.max(x, axis=1, initial=0.5),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHER)
def test_what_is_not_plain_is_left_to_keras(kind):
    model = network(OTHER[kind])
    assert graph.unknown_part(model)
    assert engine.kind_of(Job(lambda seed: model, windows(), None), model) == ""


def kind(make, seed=1):
    return engine.kind_of(Job(make, windows(), None), make(seed))


def test_networks_of_one_kind_share_a_stack_also_around_others():
    def build(seed, **options):
        names = {"window": STEPS, "features": FEATURES, "outputs": OUTPUTS, "units": [3], "level": "last"}
        return models.build("gru", **{**names, **options}, seed=seed)

    assert kind(build, 1) and kind(build, 1) == kind(build, 2)
    assert (
        len({kind(build), *(kind(lambda s, o=o: build(s, **o)) for o in ({"units": [4]}, {"level": "mean"}))})
        == 3
    )


def test_a_layer_named_as_its_activation_is_not_taken_for_another():
    def named(activation):
        return lambda seed: network(
            lambda x: layers.Dense(3, activation=activation, name=activation)(x), seed
        )

    assert kind(named("tanh")) != kind(named("sigmoid"))


def test_two_networks_train_as_by_keras():
    def build(seed):
        return network(lambda x: layers.GRU(3)(layers.Conv1D(3, 3, padding="causal")(x)), seed)

    settings = Settings(epochs=2, batch_size=8, patience=0, restore_best=False)
    jobs = [Job(build, windows(seed=seed), None, settings, seed) for seed in (1, 2)]
    for job, ours in zip(jobs, training.train(jobs), strict=True):
        model = training.compile(build(job.seed))
        for epoch in range(2):
            order = engine.batch_order(len(job.train), job.seed, epoch)
            x, y = (part[order].astype("float32") for part in (job.train.x, job.train.y))
            record = model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
            np.testing.assert_allclose(ours.history.loss[epoch], record.history["loss"][0], rtol=1e-4)
        for mine, other in zip(ours.model.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-2, atol=1e-4)
