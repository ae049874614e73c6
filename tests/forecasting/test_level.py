"""Windows without their level: equal at every level and scale, and undone in the forecast."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import autoregression, planted

from vdslib.evaluation import mse
from vdslib.forecasting import FORECASTERS, Averaged, Levelled, Persistence, Ridge, prepare, without_level

KINDS = [("last", False), ("mean", False), ("last", True), ("mean", True)]


def cut(values, **settings):
    frame = planted(values)
    return prepare(
        frame, **{"features": ["cpu_usage"], "target": "cpu_usage", "window": 6, "horizon": 3} | settings
    )


@pytest.fixture(scope="module")
def data():
    return cut(autoregression(1500, 0.8) + 20)


def moved(windows, scale, shift):
    """What the same machine would have measured at another level, and with other swings."""
    return replace(
        windows, x=scale * windows.x + shift, y=scale * windows.y + shift, last=scale * windows.last + shift
    )


@pytest.mark.parametrize(("level", "spread"), KINDS)
@pytest.mark.parametrize("name", ["ridge", "boosting"])
def test_another_level_gives_the_same_forecast_at_that_level(data, level, spread, name):
    model = Levelled(FORECASTERS.get(name)(), level, spread).fit(data.train_full)
    expected = model.forecast(data.test)
    for scale, shift in [(1, 5.0), (1, -3.0), *([(4.0, 2.0), (0.1, 0.0)] if spread else [])]:
        forecast = model.forecast(moved(data.test, scale, shift))
        np.testing.assert_allclose(forecast, scale * expected + shift, atol=1e-5)


@pytest.mark.parametrize("level", ["last", "mean"])
def test_a_flat_window_gives_its_value(data, level):
    model = Levelled(Ridge(), level, spread=True).fit(data.train_full)
    flat = replace(data.test, x=np.full_like(data.test.x, 0.3), last=np.full(len(data.test), 0.3))
    np.testing.assert_allclose(model.forecast(flat), 0.3, atol=1e-12)


def test_what_was_taken_out_is_what_was_there(data):
    relative, level = without_level(data.test, "mean", spread=True)
    np.testing.assert_allclose(level.back(relative.y), data.test.y)
    np.testing.assert_allclose(relative.x.mean(axis=1), 0, atol=1e-9)
    np.testing.assert_allclose(relative.x.std(axis=1), 1)
    np.testing.assert_allclose(level.back(relative.last[:, None])[:, 0], data.test.last)


def test_the_level_of_every_feature_goes_and_what_is_known_in_advance_stays():
    frame = planted(autoregression(800, 0.5) + 9).assign(memory_usage=lambda f: 50 + f["cpu_usage"] ** 2)
    data = prepare(frame, features=["memory_usage", "cpu_usage"], target="cpu_usage", rhythms=[20])
    relative, level = without_level(data.test)
    assert (relative.x[:, -1, :2] == 0).all() and (relative.known == data.test.known).all()
    np.testing.assert_array_equal(level.level[:, 0], data.test.last)


def test_a_level_that_shifts_costs_nothing():
    values = autoregression(3000, 0.5)
    values[2400:] += 40
    data = cut(values)
    plain, levelled, persistence = (
        mse(data.test.y, model.fit(data.train_full).forecast(data.test))
        for model in (FORECASTERS.get("boosting")(), Levelled(FORECASTERS.get("boosting")()), Persistence())
    )
    assert levelled < persistence < 0.1 * plain


def test_settings_that_cannot_be_are_named(data):
    with pytest.raises(ValueError, match="must be 'last' or 'mean', not 'first'"):
        Levelled(Ridge(), "first").fit(data.train)
    blind = prepare(
        planted(autoregression(400, 0.5)).assign(load=1.0 * np.arange(400)),
        features=["load"],
        target="cpu_usage",
    )
    with pytest.raises(ValueError, match="must be among the features"):
        Levelled(Ridge(), "mean").fit(blind.train)
    assert Levelled(Ridge()).fit(blind.train).forecast(blind.test).shape == blind.test.y.shape
    still = replace(data.train, x=np.zeros_like(data.train.x), last=np.zeros(len(data.train)))
    with pytest.raises(ValueError, match="all training windows are flat"):
        Levelled(Ridge(), spread=True).fit(still)


def test_an_average_is_the_mean_of_its_members(data):
    members = [FORECASTERS.get("boosting")(share=0.5, seed=seed) for seed in range(3)]
    both = Averaged(members).fit(data.train).forecast(data.test)
    single = [each.forecast(data.test) for each in members]
    np.testing.assert_allclose(both, np.mean(single, axis=0))
    assert not np.allclose(single[0], single[1])
