"""The engine against Keras: same mathematics, independent models, the same early stopping, and its ways out."""

import numpy as np
import pytest

from vdslib.errors import Notice
from vdslib.forecasting import Windows
from vdslib.networks import History, Job, Settings, Trained, engine, keras, models, stacked, training

TIME_STEPS, FEATURES = 7, 3


def windows(samples=83, seed=0, horizon=1):
    """Random windows whose targets depend on them, so that there is something to learn."""
    random = np.random.default_rng(seed)
    x = random.random((samples, TIME_STEPS, FEATURES))
    y = x.mean(axis=(1, 2))[:, None] + 0.1 * random.random((samples, horizon))
    return Windows(x, y, np.arange(samples), np.full(samples, "system"), y[:, 0])


def build(seed, network="textbook", **options):
    options = {"units": (6, 4), "dense_units": 5, "dropout": 0.0} | options
    return models.build(network, window=TIME_STEPS, features=FEATURES, seed=seed, **options)


def stack(jobs, width):
    """Train `jobs` in one stack of `width`, whatever `train` would have chosen."""
    trained = [Trained(training.compile(job.build(job.seed)), History()) for job in jobs]
    engine.Stack(list(zip(jobs, trained, strict=True)), width).train()
    return trained


def by_keras(model, job):
    """Train with Keras `fit`, epoch by epoch, on the windows in the engine's order."""
    history = History()
    for epoch in range(job.settings.epochs):
        order = engine.batch_order(len(job.train), job.seed, epoch, job.settings.shuffle)
        record = model.fit(
            job.train.x[order],
            job.train.y[order],
            batch_size=job.settings.batch_size,
            shuffle=False,
            verbose=0,
            validation_data=(job.validation.x, job.validation.y),
        ).history
        history.loss += record["loss"]
        history.val_loss += record["val_loss"]
    return history


@pytest.fixture
def float64():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


OPTIMISERS = [("adam", 0.0), ("rmsprop", 0.0), ("rmsprop", 0.5), ("sgd", 0.0), ("sgd", 0.9)]


@pytest.mark.parametrize(("optimizer", "momentum"), OPTIMISERS)
def test_an_optimiser_moves_weights_as_keras_does(float64, optimizer, momentum):
    random = np.random.default_rng(0)
    ours, first, second = random.standard_normal((3, 4)), np.zeros((3, 4)), np.zeros((3, 4))
    theirs = keras.Variable(ours)
    chosen = training.compile(build(0), optimizer, 0.01, momentum).optimizer
    for step in range(1, 6):
        gradient = random.standard_normal((3, 4))
        rate, count = np.full((1, 1), 0.01), np.full((1, 1), float(step))
        ours, first, second = stacked.UPDATES[optimizer](ours, gradient, first, second, rate, count, momentum)
        chosen.apply([keras.ops.array(gradient)], [theirs])
        # Keras takes a momentum that float32 has not exactly, such as 0.9, through float32
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-8 if momentum == 0.9 else 1e-12)


@pytest.mark.parametrize(
    ("network", "optimizer", "momentum"),
    [("textbook", "adam", 0.0), ("figure", "rmsprop", 0.5), ("printed", "sgd", 0.9)],
)
def test_a_step_in_float64_is_that_of_keras(float64, network, optimizer, momentum):
    data = windows(16)
    how = Settings(optimizer, 0.01, momentum, epochs=2, patience=0, restore_best=False)
    job = Job(lambda seed: build(seed, network, activation="tanh"), data, data, how, seed=3)
    ours = training.train([job])[0].model
    theirs = training.compile(job.build(3), optimizer, 0.01, momentum)
    start = [weight.copy() for weight in theirs.get_weights()]
    by_keras(theirs, job)
    for mine, its, first in zip(ours.get_weights(), theirs.get_weights(), start, strict=True):
        assert mine.dtype == np.float64
        np.testing.assert_allclose(mine, its, rtol=0, atol=1e-8)
        assert np.abs(its - first).max() > 1e-4


@pytest.mark.parametrize("network", ["textbook", "figure"])
def test_three_epochs_have_the_losses_of_keras(network):
    data, watched = windows(), windows(70, 1)  # neither a whole number of batches
    how = Settings(epochs=3, patience=0, restore_best=False)
    job = Job(lambda seed: build(seed, network), data, watched, how, 4)
    ours = training.train([job])[0].history
    theirs = by_keras(training.compile(job.build(4)), job)
    np.testing.assert_allclose(ours.loss, theirs.loss, rtol=1e-4)
    np.testing.assert_allclose(ours.val_loss, theirs.val_loss, rtol=1e-4)


def different_jobs():
    """Jobs that differ in seed, data, length, rate and patience, with dropout on; one is shorter than a batch."""
    return [
        Job(
            lambda seed: build(seed, "figure", dropout=0.3),
            windows(samples, seed),
            windows(40, seed + 50),
            Settings(learning_rate=rate, epochs=epochs, batch_size=8, patience=2),
            seed,
        )
        for samples, seed, rate, epochs in [
            (90, 1, 0.01, 3),
            (41, 2, 0.03, 4),
            (5, 3, 0.001, 2),
            (64, 4, 0.01, 1),
        ]
    ]


def test_a_model_does_not_depend_on_those_beside_it():
    jobs = different_jobs()
    together = stack(jobs, 2)
    for job, trained in zip(jobs, together, strict=True):
        (alone,) = stack([job], 1)
        assert alone.history.stopped_epoch == trained.history.stopped_epoch == len(trained.history.loss)
        np.testing.assert_allclose(trained.history.loss, alone.history.loss, rtol=1e-5)
        np.testing.assert_allclose(trained.history.val_loss, alone.history.val_loss, rtol=1e-5)


def test_two_runs_agree_bit_for_bit(monkeypatch):
    def run():
        monkeypatch.setattr(engine, "_PROGRAMS", {})  # nothing that was compiled before is used
        return training.train(different_jobs())

    for first, second in zip(run(), run(), strict=True):
        assert first.history == second.history
        for mine, its in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, its)


def test_early_stopping_is_that_of_keras():
    noisy = Windows(*(getattr(windows(60), name) for name in ("x", "y", "times", "node", "last")))
    noisy.y[:] = np.random.default_rng(5).random(noisy.y.shape)
    how = Settings(learning_rate=0.05, epochs=40, patience=3)
    jobs = [Job(build, noisy, windows(40, seed), how, seed) for seed in range(5)]
    stopped = set()
    for job, trained in zip(jobs, stack(jobs, 5), strict=True):
        history = trained.history
        watcher = keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True)
        model = training.compile(job.build(job.seed))
        watcher.set_model(model)
        watcher.on_train_begin()
        for epoch, loss in enumerate(history.val_loss):
            assert not model.stop_training
            watcher.on_epoch_end(epoch, {"val_loss": loss})
        assert model.stop_training == (history.stopped_epoch < 40)
        assert history.best_epoch == watcher.best_epoch + 1
        # the weights put back are those that training has after the best epoch
        short = Settings(learning_rate=0.05, epochs=history.best_epoch, patience=0, restore_best=False)
        again = [Job(build, noisy, job.validation, short, job.seed)] + [
            Job(build, noisy, job.validation, short, seed) for seed in range(4)
        ]
        for mine, its in zip(
            stack(again, 5)[0].model.get_weights(), trained.model.get_weights(), strict=True
        ):
            np.testing.assert_allclose(mine, its, rtol=1e-4, atol=1e-6)
        stopped.add(history.stopped_epoch)
    assert len(stopped) > 1 and min(stopped) < 40


def test_dropout_is_off_where_losses_are_compared_and_on_in_training():
    data = windows()
    how = Settings(epochs=1, patience=0, restore_best=False, learning_rate=0.0)
    plain, dropped, other = training.train(
        [
            Job(lambda seed, rate=rate: build(1, dropout=rate), data, data, how, seed)
            for rate, seed in [(0.0, 1), (0.5, 1), (0.5, 2)]
        ]
    )
    assert plain.history.loss[0] == pytest.approx(plain.history.val_loss[0], rel=1e-5)
    assert dropped.history.val_loss == plain.history.val_loss
    assert len({one.history.loss[0] for one in (plain, dropped, other)}) == 3
    assert training.losses(dropped.model, data)[0] == pytest.approx(dropped.history.val_loss[0], rel=1e-5)


def test_dropout_keeps_the_mean():
    """A network whose output is the mean of what dropout leaves: its mean is that of the input."""
    data = windows(4096)
    linear = Windows(np.ones_like(data.x), np.zeros_like(data.y), data.times, data.node, data.last)

    def averaging(seed):
        layers = [keras.Input((TIME_STEPS, FEATURES)), keras.layers.Flatten(), keras.layers.Dropout(0.2)]
        layers.append(keras.layers.Dense(1, kernel_initializer="ones", use_bias=False))
        return keras.Sequential(layers)

    how = Settings("sgd", 0.0, epochs=1, patience=0, restore_best=False, batch_size=64)
    loss = training.train([Job(averaging, linear, None, how, 1)])[0].history.loss[0]
    size = (
        TIME_STEPS * FEATURES
    )  # a sum of scaled Bernoulli draws: its square has mean size^2 + size * p / (1 - p)
    assert loss == pytest.approx(size**2 + size * 0.2 / 0.8, rel=0.01)


def test_a_window_draws_the_same_beside_any_number_of_others():
    drawn = np.random.default_rng(0).integers(0, 2**16, (2, 5, 4 * 3 + 6)).astype("uint16")
    wider = np.pad(drawn, ((0, 0), (0, 3), (0, 0)))
    for bits in (drawn, wider):
        handed_out = stacked.Bits(bits)
        sequence = handed_out.like(np.zeros((2, 4, bits.shape[1], 3), "float32")).numpy()[:, :, :5]
        vector = handed_out.like(np.zeros((2, bits.shape[1], 6), "float32")).numpy()[:, :5]
        for k, window in np.ndindex(2, 5):
            np.testing.assert_array_equal(sequence[k, :, window].ravel(), drawn[k, window, :12])
            np.testing.assert_array_equal(vector[k, window], drawn[k, window, 12:])


def test_trained_models_are_plain_keras_models(tmp_path):
    data = windows()
    (trained,) = training.train([Job(build, data, data, Settings(epochs=2), 1)])
    trained.model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    expected = training.predict(trained.model, data)
    np.testing.assert_allclose(again.predict(data.x, verbose=0), expected, atol=1e-6)
    assert trained.model.fit(data.x, data.y, epochs=1, verbose=0).history["loss"]


def unusual(kind):
    def build(seed):
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((TIME_STEPS, FEATURES))
        layers = {
            "recurrent dropout": [keras.layers.LSTM(4, recurrent_dropout=1e-9)],
            "regularised": [keras.layers.LSTM(4, kernel_regularizer=keras.regularizers.L2(0.1))],
            "normalised": [keras.layers.LSTM(4), keras.layers.BatchNormalization(momentum=0.5)],
            "frozen": [keras.layers.LSTM(4, return_sequences=True, trainable=False), keras.layers.LSTM(3)],
        }[kind]
        return keras.Sequential([inputs, *layers, keras.layers.Dense(1)], name=kind.replace(" ", "_"))

    return build


@pytest.mark.parametrize("kind", ["recurrent dropout", "regularised", "normalised", "frozen"])
def test_other_networks_train_through_their_own_layers(kind):
    data, how = windows(43), Settings(epochs=2, patience=0, restore_best=False)
    seeds = (1, 2) if kind == "frozen" else (1,)  # each trains alone, and what it is made of is said once
    jobs = [Job(unusual(kind), data, windows(20, 1), how, seed) for seed in seeds]
    with pytest.warns(Notice, match="^Keras' layers train in a compiled epoch, since") as caught:
        ours = training.train(jobs)
    assert sum(issubclass(each.category, Notice) for each in caught) == 1
    for job, trained in zip(jobs, ours, strict=True):
        model = training.compile(job.build(job.seed))
        theirs = by_keras(model, job)
        np.testing.assert_allclose(trained.history.loss, theirs.loss, rtol=1e-4)
        np.testing.assert_allclose(trained.history.val_loss, theirs.val_loss, rtol=1e-4)
        for mine, its in zip(trained.model.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_allclose(mine, its, rtol=1e-2, atol=1e-4)


class OwnStep(keras.Sequential):
    """A network with a training step of its own, which the engine must not replace."""

    def train_step(self, *arguments):
        return super().train_step(*arguments)


def test_a_training_step_of_its_own_is_left_to_fit():
    def build(seed):
        return OwnStep(
            [keras.Input((TIME_STEPS, FEATURES)), keras.layers.LSTM(3), keras.layers.Dense(1)], name="own"
        )

    with pytest.warns(
        Notice, match="^OwnStep is trained by Keras fit, since it has a train_step of its own$"
    ):
        (trained,) = training.train(
            [Job(build, windows(), windows(30, 1), Settings(epochs=3, patience=1), 1)]
        )
    assert 1 <= trained.history.stopped_epoch <= 3 and np.isfinite(trained.history.loss).all()


def test_jobs_of_one_kind_share_a_stack_and_others_do_not():
    data, how = windows(), Settings()

    def kind(job):
        return engine.kind_of(job, training.compile(job.build(job.seed)))

    base = kind(Job(build, data, None, how, 1))
    assert kind(Job(build, windows(20), None, Settings(learning_rate=0.5, epochs=1, patience=9), 2)) == base
    others = [
        Job(lambda seed: build(seed, dropout=0.1), data, None, how),
        Job(lambda seed: build(seed, activation="relu"), data, None, how),
        Job(build, windows(horizon=2), None, how),
        Job(build, data, None, Settings(batch_size=4)),
        Job(build, data, None, Settings("sgd", momentum=0.5)),
    ]
    kinds = [base, *map(kind, others)]
    assert len(set(kinds)) == len(kinds)


def test_jobs_are_dealt_by_size(monkeypatch):
    class Model:
        def __init__(self, size):
            self.count_params = lambda: size

    def dealt(size, jobs, cores):
        monkeypatch.setattr(training.joblib, "cpu_count", lambda: cores)
        parts = training._dealt([(number, Trained(Model(size), History())) for number in range(jobs)])
        return [[number for number, _ in part] for part in parts]

    assert dealt(30_000, 3, 2) == [[0], [1], [2]]
    assert dealt(300, 5, 2) == [[0, 2, 4], [1, 3]]
    assert dealt(300, 1, 2) == [[0]]


QUICK = Settings(epochs=2, patience=0, restore_best=False)


def agrees_with_keras(job, rtol=1e-4):
    (ours,) = training.train([job])
    theirs = by_keras(training.compile(job.build(job.seed), learning_rate=job.settings.learning_rate), job)
    np.testing.assert_allclose(ours.history.loss, theirs.loss, rtol=rtol)
    np.testing.assert_allclose(ours.history.val_loss, theirs.val_loss, rtol=rtol)


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_functions_of_one_name_are_not_mixed_up(scale):
    def act(x):
        return scale * keras.ops.tanh(x)

    def build(seed):
        keras.utils.set_random_seed(seed)
        layers = [keras.layers.LSTM(4), keras.layers.Dense(3, activation=act), keras.layers.Dense(1)]
        return keras.Sequential([keras.Input((TIME_STEPS, FEATURES)), *layers])

    agrees_with_keras(Job(build, windows(43), windows(20, 1), QUICK, 1))


class OwnLoss(keras.Sequential):
    """A network that minimises something else."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return 3 * keras.ops.mean(keras.ops.abs(y - y_pred))


def other(kind):
    def build(seed):
        keras.utils.set_random_seed(seed)
        inputs, lstm, dense = keras.Input((TIME_STEPS, FEATURES)), keras.layers.LSTM(4), keras.layers.Dense(1)
        if kind == "constrained":
            dense = keras.layers.Dense(1, kernel_constraint=keras.constraints.NonNeg())
        if kind == "sequence":
            lstm = keras.layers.LSTM(4, return_sequences=True)
        if kind == "mixed":
            lstm = keras.layers.LSTM(4, dtype="mixed_float16")
        if kind == "untrainable":
            lstm.trainable = dense.trainable = False
        return (OwnLoss if kind == "own loss" else keras.Sequential)([inputs, lstm, dense])

    return build


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("constrained", "its weights are constrained"),
        ("sequence", "its output is a sequence, or there are several"),
        ("mixed", "its precision is mixed"),
        ("own loss", "it has a compute_loss of its own"),
        ("untrainable", "it has nothing to train"),
    ],
)
def test_what_only_fit_can_train_is_left_to_fit(kind, reason):
    data, watched = (windows(40, seed, TIME_STEPS if kind == "sequence" else 1) for seed in (0, 1))
    if kind == "sequence":
        data, watched = (
            Windows(part.x, part.y[:, :, None], part.times, part.node, part.last) for part in (data, watched)
        )
    with pytest.warns(Notice, match=f"is trained by Keras fit, since {reason}$"):
        (trained,) = training.train([Job(other(kind), data, watched, QUICK, 1)])
    assert len(trained.history.val_loss) == 2 and np.isfinite(trained.history.loss).all()


def test_networks_without_a_declared_input_train_too(recwarn):
    def build(seed):
        keras.utils.set_random_seed(seed)
        return keras.Sequential([keras.layers.LSTM(4), keras.layers.Dense(1)])

    (trained,) = training.train([Job(build, windows(40), windows(20, 1), QUICK, 1)])
    assert np.isfinite(trained.history.val_loss).all() and not recwarn.list


def test_validation_is_filled_up_with_windows_that_exist():
    """A layer that divides by the spread of a window finds none in a window of zeros."""

    def build(seed):
        keras.utils.set_random_seed(seed)
        scaled = keras.layers.Lambda(lambda x: (x - keras.ops.mean(x, 1, True)) / keras.ops.std(x, 1, True))
        layers = [scaled, keras.layers.LSTM(4), keras.layers.Dense(1)]
        return keras.Sequential([keras.Input((TIME_STEPS, FEATURES)), *layers])

    agrees_with_keras(Job(build, windows(43), windows(20, 1), QUICK, 1))


def test_a_batch_larger_than_the_data_is_all_of_the_data():
    how = Settings(epochs=3, patience=0, restore_best=False, batch_size=100_000)
    agrees_with_keras(Job(build, windows(43), windows(20, 1), how, 1))


def test_losses_that_are_no_numbers_stop_as_in_keras():
    bad = windows(20, 1)
    bad.y[:] = np.nan
    (trained,) = training.train([Job(build, windows(), bad, Settings(epochs=9, patience=2), 1)])
    model = training.compile(build(1))
    history = training.fit(model, windows(), bad, epochs=9, patience=2, seed=1)
    assert trained.history.best_epoch == history.best_epoch == 1
    assert trained.history.stopped_epoch == history.stopped_epoch == 3


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (Job(build, windows().take(slice(0, 0)), None), "no training windows"),
        (Job(build, windows(), None, Settings(epochs=0)), "epochs must be 1 or more, not 0"),
        (Job(build, windows(), windows(20, 1, horizon=2)), "differ in the shape of y"),
    ],
)
def test_jobs_that_make_no_sense_are_refused(job, message):
    with pytest.raises(ValueError, match=message):
        training.train([job])


def test_one_model_for_two_jobs_is_refused():
    model = build(1)
    with pytest.raises(ValueError, match="two jobs have one model"):
        training.train([Job(lambda seed: model, windows(), None, QUICK, seed) for seed in (1, 2)])


def test_an_error_in_one_stack_stops_the_others(monkeypatch):
    class Loud(Windows):
        def __len__(self):
            raise RuntimeError("unreadable")

    good = windows()
    slow = Job(build, good, None, Settings(epochs=10**6, patience=0), 1)
    loud = Loud(good.x, good.y, good.times, good.node, good.last)
    bad = Job(lambda seed: build(seed, "figure"), good, None, Settings(epochs=1, patience=0), 2)
    original = engine._Run.end_epoch

    def end_epoch(run, *arguments):
        if run.job is bad:
            len(loud)
        return original(run, *arguments)

    monkeypatch.setattr(engine._Run, "end_epoch", end_epoch)
    with pytest.raises(RuntimeError, match="unreadable"):
        training.train([slow, bad])


def test_training_leaves_the_random_numbers_of_others_alone():
    import random

    models = [build(seed) for seed in (1, 2)]
    random.seed(7)
    np.random.seed(7)  # the old generator is what a reader may use
    expected = random.random(), np.random.random()
    random.seed(7)
    np.random.seed(7)
    training.train([Job(lambda seed: models[seed - 1], windows(), None, QUICK, seed) for seed in (1, 2)])
    assert (random.random(), np.random.random()) == expected
