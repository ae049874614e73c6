"""Functional networks written out: the same losses and weights as by Keras, many at once, and saved as plain Keras."""

from dataclasses import replace

import numpy as np
import pytest

from vdslib.errors import Notice
from vdslib.forecasting import Rhythm, Windows
from vdslib.networks import Job, Settings, anchored, engine, graph, keras, models, training

QUICK = Settings(epochs=2, batch_size=8, patience=0, restore_best=False)
RHYTHMS = (Rhythm(600.0, 2), Rhythm(3600.0, 1))
DESIGN = {"window": 5, "features": 8, "outputs": 3, "ahead": 6, "rhythms": RHYTHMS, "step": 60.0, "target": 1}
SMALL = {"units": [4], "dense_units": 6, "dropout": 0.0}


def windows(samples=43, seed=0, **changes):
    generator = np.random.default_rng(seed)
    x, y = generator.random((samples, 5, 8)), generator.random((samples, 3))
    times = np.datetime64("2026-01-01", "ns") + np.arange(samples) * np.timedelta64(60, "s")
    node = np.full(samples, "a", dtype=object)
    return Windows(x, y, times, node, x[:, -1, 1], ahead=6, rhythms=RHYTHMS, **changes)


def by_keras(model, job):
    """The engine's arithmetic by Keras' own ``fit``, one epoch after the other in the engine's order."""
    losses, parts = [], []
    for epoch in range(job.settings.epochs):
        order = engine.batch_order(len(job.train), job.seed, epoch)
        record = model.fit(
            job.train.x[order].astype("float32"),
            job.train.y[order].astype("float32"),
            batch_size=job.settings.batch_size,
            shuffle=False,
            verbose=0,
        )
        losses.append(record.history["loss"][0])
        parts.append(training.losses(model, job.validation)[0])
    return losses, parts


def builder(network="anchored", **options):
    return lambda seed: models.build(network, **{**DESIGN, **SMALL, **options}, seed=seed)


KINDS = {
    "anchored": builder(),
    "anchored, two layers": builder(units=[4, 3]),
    "anchored by spread": builder(spread=True),
    "level": builder("textbook", level="last"),
    "mean and spread": builder("textbook", level="mean", spread=True),
    "figure without level": builder("figure", level="last", spread=True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_trains_as_by_keras(kind, recwarn):
    job = Job(KINDS[kind], windows(), windows(20, 1), QUICK, 3)
    (ours,) = training.train([job])
    assert not [each for each in recwarn if issubclass(each.category, Notice)]
    model = training.compile(job.build(3))
    losses, watched = by_keras(model, job)
    np.testing.assert_allclose(ours.history.loss, losses, rtol=1e-4)
    np.testing.assert_allclose(ours.history.val_loss, watched, rtol=1e-4)
    for mine, other in zip(ours.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-2, atol=1e-4)


def test_graphs_of_one_kind_share_a_stack_though_keras_counts_their_operations():
    first, second = (training.compile(builder()(seed)) for seed in (1, 2))
    kinds = [
        engine.kind_of(Job(builder(), windows(), None, QUICK, seed), m)
        for seed, m in ((1, first), (2, second))
    ]
    assert kinds[0] and kinds[0] == kinds[1]
    other = builder(units=[5])
    assert engine.kind_of(Job(other, windows(), None, QUICK, 1), training.compile(other(1))) != kinds[0]


def test_a_graph_does_not_depend_on_those_beside_it():
    settings = Settings(epochs=3, batch_size=8, patience=2, learning_rate=0.02)
    jobs = [Job(builder(dropout=0.3), windows(), windows(20, 1), settings, seed) for seed in range(4)]
    together = training.train(jobs)
    alone = [training.train([job])[0] for job in jobs]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.history.val_loss, other.history.val_loss, rtol=1e-4)


def test_dropout_in_a_graph_leaves_out_its_share():
    model = builder(dropout=0.5)(1)
    assert graph.dropout_draws(model) == 4
    assert graph.dropout_draws(builder("textbook", dropout=0.5, level="last")(1)) == 4


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (keras.layers.SimpleRNN(3), "SimpleRNN layer"),
        (keras.layers.Lambda(lambda x: x[:, 0]), "Lambda layer"),
    ],
)
def test_what_is_not_written_out_is_named_and_trained_by_its_layers(layer, name):
    def build(seed):
        keras.utils.set_random_seed(seed)
        entry = keras.Input((5, 8))
        return keras.Model(entry, keras.layers.Dense(3)(layer(entry)))

    with pytest.warns(Notice, match=f"its {name} is not written out"):
        (trained,) = training.train([Job(build, windows(), windows(20, 1), QUICK, 1)])
    assert np.isfinite(trained.history.loss).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_network_needs_nothing_of_ours(kind, tmp_path):
    (trained,) = training.train([Job(KINDS[kind], windows(), None, QUICK, 1)])
    path = tmp_path / "network.keras"
    trained.model.save(path)
    loaded = keras.models.load_model(path)
    asked = windows(30, 5)
    np.testing.assert_array_equal(training.predict(loaded, asked), training.predict(trained.model, asked))
    custom = [each for each in loaded.operations if type(each).__module__.startswith("vdslib")]
    assert not custom


@pytest.mark.parametrize(
    ("level", "spread"), [("last", False), ("mean", False), ("last", True), ("mean", True)]
)
def test_another_level_gives_the_same_forecast_at_that_level(level, spread, tmp_path):
    build = builder("textbook", level=level, spread=spread)
    (trained,) = training.train([Job(build, windows(), None, QUICK, 1)])
    trained.model.save(tmp_path / "network.keras")
    for model in (trained.model, keras.models.load_model(tmp_path / "network.keras")):
        asked = windows(30, 5)
        expected = training.predict(model, asked)
        for scale, shift in [(1, 0.5), *([(2.0, -1.0)] if spread else [])]:
            moved = windows(30, 5)
            moved.x[:, :, :2] = scale * moved.x[:, :, :2] + shift
            np.testing.assert_allclose(training.predict(model, moved), scale * expected + shift, atol=1e-5)
        if spread:
            asked.x[:, :, :2] = 0.3
            np.testing.assert_allclose(training.predict(model, asked), 0.3, atol=1e-6)


def test_the_turned_phases_are_those_of_the_other_rows():
    from vdslib import forecasting

    times = np.datetime64("2026-03-01T05:00", "ns") + np.arange(50) * np.timedelta64(60, "s")
    phases = forecasting.rhythms.phases(times, RHYTHMS)
    offsets = np.arange(-4, 3)
    turned = (phases @ anchored.turns(RHYTHMS, 60.0, offsets)).reshape(50, 7, -1)
    for place, offset in enumerate(offsets):
        inside = slice(5, 45)
        np.testing.assert_allclose(turned[inside, place], np.roll(phases, -offset, axis=0)[inside], atol=1e-5)


def test_far_outside_what_was_seen_the_anchored_forecast_moves_along():
    (trained,) = training.train([Job(builder(), windows(), None, QUICK, 1)])
    forecasts = []
    for shift in (3.0, 5.0):
        asked = windows(30, 5)
        asked.x[:, :, :2] += shift
        forecasts.append(training.predict(trained.model, asked) - shift)
    np.testing.assert_allclose(forecasts[0], forecasts[1], atol=1e-5)


def test_calibration_takes_a_share_only_where_it_clearly_serves():
    (trained,) = training.train([Job(builder(), windows(200), None, Settings(epochs=10, patience=0), 1)])
    asked = windows(200, 9)
    wrong = replace(asked, y=np.repeat(asked.last[:, None], 3, axis=1))  # nothing ever changes
    shares = anchored.calibrate([trained.model], wrong)
    anchored.trust(trained.model, shares)
    assert all((share < 0.2).all() for share in shares.values())
    np.testing.assert_allclose(training.predict(trained.model, wrong), wrong.y, atol=0.05)
    again = anchored.calibrate([trained.model], replace(asked, y=training.predict(builder()(1), asked)))
    assert set(again) == {"rhythm", "change"}


def test_a_flat_window_has_no_change_by_spread():
    (trained,) = training.train([Job(builder(spread=True, ahead=0, rhythms=()), windows(), None, QUICK, 1)])
    flat = np.full((5, 5, 8), 0.4, dtype="float32")
    change = keras.Model(trained.model.inputs, trained.model.get_layer("trust_change").output)
    np.testing.assert_allclose(np.asarray(change(flat)), 0, atol=1e-9)


def test_a_mask_that_an_lstm_is_given_is_not_forgotten():
    def build(seed):
        keras.utils.set_random_seed(seed)
        entry = keras.Input((5, 8))
        state = keras.layers.LSTM(3)(entry, mask=entry[:, :, 0] > 0.5)
        return keras.Model(entry, keras.layers.Dense(3)(state))

    job = Job(build, windows(), windows(20, 1), QUICK, 1)
    with pytest.warns(Notice, match="its Greater operation is not written out"):
        (ours,) = training.train([job])
    losses, _ = by_keras(training.compile(build(1)), job)
    np.testing.assert_allclose(ours.history.loss, losses, rtol=1e-4)


def test_a_level_is_taken_out_of_every_network_or_refused():
    asked = windows(10, 5)
    moved = windows(10, 5)
    moved.x[:, :, :2] += 0.5
    model = builder("lstm", level="last")(1)
    shifted = training.predict(model, moved) - training.predict(model, asked)
    np.testing.assert_allclose(shifted, 0.5, atol=1e-5)
    with pytest.raises(ValueError, match="takes the level out itself"):
        builder(level="last")(1)
    with pytest.raises(ValueError, match="level must be 'last' or 'mean', not ''"):
        builder("gru", spread=True)(1)


def test_an_attribute_of_ones_own_makes_no_network_of_quantiles():
    model = builder("lstm")(1)
    model.levels = (0.1, 0.9)
    assert graph.levels_of(model) == ()
