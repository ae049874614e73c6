"""Training on a series that is easy to learn: early stopping, folds, determinism."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from waiting import HANG

from vdslib.errors import Notice
from vdslib.forecasting import Windows, folds, prepare
from vdslib.networks import Job, Settings, models, training

UNITS = (6, 4)
QUICK = Settings(epochs=4, patience=2)


def wave(rows=400, noise=0.1, seed=0):
    """Telemetry of one node whose CPU usage is a noisy sine."""
    random = np.random.default_rng(seed)
    cpu = 50 + 30 * np.sin(np.arange(rows) / 6) + 30 * noise * random.standard_normal(rows)
    times = pd.Timestamp("2026-01-05T08:00:00Z") + pd.to_timedelta(np.arange(rows), unit="s")
    return pd.DataFrame({"timestamp": times, "node": "system", "cpu_usage": cpu})


def build(seed, dropout=0.2):
    return models.build("textbook", window=6, features=1, units=UNITS, dropout=dropout, seed=seed)


@pytest.fixture(scope="module")
def data():
    return prepare(wave(), features=["cpu_usage"], target="cpu_usage", window=6)


@pytest.fixture(scope="module")
def long_run(data):
    """One job without guards for many epochs, and the same one with early stopping."""
    easy = prepare(wave(160, noise=0.5), features=["cpu_usage"], target="cpu_usage", window=6)
    free = Settings(epochs=40, patience=0, restore_best=False)
    guarded = Settings(epochs=40, patience=3)
    jobs = [
        Job(lambda seed: build(seed, dropout=0.0), easy.train, easy.validation, how, seed=5)
        for how in (free, guarded)
    ]
    return easy, training.train(jobs)


def test_a_network_learns(data):
    forecaster = training.Forecaster(build, Settings(epochs=12, patience=0), seed=1).fit(data.train_full)
    error = np.mean((forecaster.forecast(data.test) - data.test.y) ** 2)
    assert error < 0.25 * data.test.y.var()


def test_no_guards_means_all_epochs_and_the_last_weights(long_run):
    easy, (free, _) = long_run
    assert free.history.stopped_epoch == 40 and free.history.best_epoch is None
    assert training.losses(free.model, easy.validation)[0] == pytest.approx(
        free.history.val_loss[-1], rel=1e-4
    )


def test_early_stopping_ends_in_time_and_restores_the_best_weights(long_run):
    easy, (free, guarded) = long_run
    best = int(np.argmin(guarded.history.val_loss)) + 1
    assert guarded.history.best_epoch == best and guarded.history.stopped_epoch == best + 3 < 40
    # the same training, ended earlier
    assert guarded.history.loss == free.history.loss[: best + 3]
    assert training.losses(guarded.model, easy.validation)[0] == pytest.approx(
        min(guarded.history.val_loss), rel=1e-4
    )


def test_without_validation_nothing_is_watched(data):
    model = training.compile(build(0))
    history = training.fit(model, data.train, None, epochs=2, patience=1)
    assert history.val_loss == [] and history.best_epoch is None and history.stopped_epoch == 2


def test_jobs_are_independent_and_deterministic(data):
    def job(seed):
        return Job(build, data.train, data.validation, QUICK, seed)

    first, other, again = training.train([job(1), job(2), job(1)])
    assert first.history == again.history and first.history != other.history
    (alone,) = training.train([job(1)])
    np.testing.assert_allclose(alone.history.loss, first.history.loss, rtol=1e-5)
    for weights in zip(first.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(*weights)


def test_fit_trains_like_the_engine(data):
    """Batches come in another order, so the losses differ a little."""
    model = training.compile(build(1, dropout=0.0))
    history = training.fit(model, data.train, data.validation, epochs=6, patience=2, seed=1)
    job = Job(
        lambda seed: build(seed, dropout=0.0), data.train, data.validation, Settings(epochs=6, patience=2), 1
    )
    (engines,) = training.train([job])
    assert min(history.val_loss) == pytest.approx(min(engines.history.val_loss), rel=0.5)
    assert training.losses(model, data.validation)[0] == pytest.approx(min(history.val_loss), rel=1e-4)
    first, again = (training.compile(build(1)) for _ in range(2))
    same = [training.fit(one, data.train, data.validation, epochs=2, seed=3) for one in (first, again)]
    assert same[0] == same[1]


def test_losses_are_taken_with_dropout_off(data):
    model = training.compile(build(1, dropout=0.9))
    assert training.losses(model, data.train, data.test) == training.losses(model, data.train, data.test)
    expected = float(np.mean((model.predict(data.test.x, verbose=0) - data.test.y) ** 2))
    assert training.losses(model, data.test)[0] == pytest.approx(expected, rel=1e-6)


def test_the_inner_tail_comes_later_and_shares_no_row(data):
    first, last = training.inner_tail(data.train, 0.25)
    assert len(last) == round(0.25 * len(data.train))
    # 6 inputs and 1 target: the last row of the first part lies before the first row of the last one
    assert (last.times.min() - first.times.max()) / np.timedelta64(1, "s") == 7
    everything = Windows(data.train.x, data.train.y, data.train.times[::-1], data.train.node, data.train.last)
    assert training.inner_tail(everything)[1].times.min() > training.inner_tail(everything)[0].times.max()
    with pytest.raises(ValueError, match="too few to train"):
        training.inner_tail(data.train.take(slice(0, 5)))


def test_cross_validation(data):
    table = training.cross_validate(build, data.train_full, 2, [1, 2], QUICK)
    assert table[["fold", "seed"]].to_numpy().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert (table["fold_mse"] > 0).all() and (table["epochs"] <= 4).all()
    fold = data.train_full.take(folds(data.train_full, 2)[0][1])
    # whatever comes with or after a fold changes nothing about the network that forecasts it
    changed = data.train_full.y.copy()
    later = data.train_full.times >= fold.times.min()
    changed[later] = 1 - changed[later]
    poisoned = Windows(
        data.train_full.x, changed, data.train_full.times, data.train_full.node, data.train_full.last
    )
    again = training.cross_validate(build, poisoned, 2, [1], QUICK)
    assert again["train_mse"].iloc[0] == pytest.approx(table["train_mse"].iloc[0], rel=1e-5)
    assert again["fold_mse"].iloc[0] != pytest.approx(table["fold_mse"].iloc[0], rel=1e-2)


def test_cross_validation_names_the_networks_that_diverged(data):
    settings = Settings("sgd", learning_rate=1e30, epochs=2, patience=0, restore_best=False)
    with pytest.warns(Notice) as caught:
        table = training.cross_validate(build, data.train_full, 2, [4], settings)
    assert not np.isfinite(table["fold_mse"]).any()
    said = [f"fold {n}, seed 4, learning rate 1e+30: the network diverged and has no error" for n in (1, 2)]
    assert [str(each.message) for each in caught] == said


def test_settings_of_the_optimiser():
    model = training.compile(build(0), "sgd", 0.02, 0.9)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.02) and model.optimizer.momentum == 0.9
    assert training.compile(build(0), "rmsprop", 0.1, 0.5).optimizer.momentum == 0.5
    with pytest.raises(ValueError, match="adam takes no momentum, beta_1 has its place"):
        training.compile(build(0), "adam", 0.01, 0.9)
    with pytest.raises(ValueError, match="unknown optimizer 'adamm'; valid are adam, rmsprop, sgd"):
        training.compile(build(0), "adamm")


def test_forecasting_before_fitting_is_refused(data):
    with pytest.raises(RuntimeError, match="fit the forecaster"):
        training.Forecaster(build).forecast(data.test)
    with pytest.raises(ValueError, match="no training windows"):
        training.fit(training.compile(build(0)), data.train.take(slice(0, 0)), None)


QUIET = """
import numpy as np
from vdslib.networks import models, training
from vdslib.forecasting import Windows
rows = np.arange(40) / 40
windows = Windows(np.ones((40, 3, 1)), rows[:, None], rows, rows, rows)
for seed in range(5):  # TensorFlow warns from the fifth graph on
    training.fit(training.compile(models.build("textbook", window=3, features=1, units=(2,), seed=seed)), windows, windows, epochs=1)
"""


def test_training_writes_nothing():
    run = subprocess.run(
        [sys.executable, "-c", QUIET], check=False, capture_output=True, text=True, timeout=HANG
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "" and run.stderr == ""
