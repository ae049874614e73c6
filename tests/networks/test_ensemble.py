"""The book's own forecaster: two rounds of learning, and what the first decides."""

import numpy as np
import pytest
from synthetic import planted

from vdslib.evaluation import mse
from vdslib.forecasting import Persistence, prepare
from vdslib.networks import Anchored, Forecaster, Settings, anchored, models

QUICK = Settings(learning_rate=0.01, epochs=12, batch_size=64, patience=4)


def cut(values, **settings):
    return prepare(
        planted(values),
        **{"features": ["cpu_usage"], "target": "cpu_usage", "window": 6, "horizon": 4} | settings,
    )


def fitted(data, **options):
    return Anchored((1, 2), settings=QUICK, units=[6], dense_units=6, **options).fit(data.train_full)


@pytest.fixture(scope="module")
def waves():
    generator = np.random.default_rng(0)
    values = 50 + np.sin(2 * np.pi * np.arange(3000) / 40) + 0.1 * generator.standard_normal(3000)
    data = cut(values, rhythms=[40])
    return data, fitted(data)


def test_it_learns_a_rhythm_and_says_what_it_tried(waves):
    data, model = waves
    error = mse(data.test.y, model.forecast(data.test))
    assert error < 0.2 * mse(data.test.y, Persistence().fit(data.train_full).forecast(data.test))
    assert set(model.errors) == {False, True} and min(model.errors.values()) > 0
    assert all(share.shape == (4,) and ((share >= 0) & (share <= 1)).all() for share in model.shares.values())


def test_the_forecast_is_the_mean_of_its_networks(waves):
    data, model = waves
    members = model.members(data.test)
    assert len(members) == 2 and not np.allclose(*members)
    np.testing.assert_allclose(model.forecast(data.test), np.mean(members, axis=0))


def test_a_random_walk_costs_next_to_nothing():
    data = cut(np.random.default_rng(4).standard_normal(3000).cumsum() + 500)
    model = fitted(data)
    error = mse(data.test.y, model.forecast(data.test))
    assert error < 1.1 * mse(data.test.y, Persistence().fit(data.train_full).forecast(data.test))


def test_it_is_asked_after_it_has_learnt(waves):
    with pytest.raises(RuntimeError, match="fit the forecaster"):
        Anchored().forecast(waves[0].test)


def test_a_peak_of_one_row_is_forecast_by_the_time():
    values = 50 + 0.1 * np.random.default_rng(1).standard_normal(4000)
    values[17::60] += 5
    data = cut(values, rhythms=[60])
    design = {**models.design(data.train), "units": [6], "dense_units": 6, "dropout": 0.0, "table": True}
    made = Forecaster(lambda seed: models.build("anchored", **design, seed=seed), QUICK, 1)
    peaks = data.test.y > 0.5
    forecast = made.fit(data.train, data.validation).forecast(data.test)
    assert peaks.any() and (forecast[peaks] > 0.6).all() and (forecast[~peaks] < 0.3).all()


@pytest.mark.parametrize("peaks", [True, False])
def test_moments_are_learnt_where_a_linear_model_finds_peaks(peaks):
    noise = np.random.default_rng(2).standard_normal(4000)
    values = 50 + np.sin(2 * np.pi * np.arange(4000) / 60) + 0.3 * noise
    if peaks:
        values[17::60] += 5
    data = cut(values, rhythms=[60])
    step = models.design(data.train)["step"]
    assert anchored.has_peaks(data.train, data.validation, step) == peaks
    assert not anchored.has_peaks(
        cut(values).train, cut(values).validation, step
    )  # no rhythm, no moment of it
