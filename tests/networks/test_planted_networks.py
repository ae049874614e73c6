"""Series with known answers: what the best forecast reaches, every model reaches about, and none goes beyond."""

import numpy as np
import pytest
from synthetic import autoregression, planted

from vdslib.evaluation import mse, skill
from vdslib.forecasting import ARIMA, FORECASTERS, Averaged, Persistence, Ridge, TrainingMean, prepare
from vdslib.networks import Forecaster, Settings, models

SETTINGS = Settings(epochs=40, batch_size=64, learning_rate=0.003, patience=6)


def cut(values, **settings):
    frame = planted(values).assign(**settings.pop("columns", {}))
    return prepare(frame, **{"features": ["cpu_usage"], "target": "cpu_usage", "window": 10} | settings)


def network(name, data, seed=1, **options):
    """Trained on the training part, watching the validation part."""
    design = {"units": [8], "dense_units": 8, "dropout": 0.0, **models.design(data.train), **options}
    made = Forecaster(lambda seed: models.build(name, **design, seed=seed), SETTINGS, seed)
    return made.fit(data.train, data.validation)


def trained(data):
    """Linear, trees, classical and networks, by name. None forgets the level, which says here how far to fall back."""
    simple = {
        "ridge": Ridge(),
        "boosting": FORECASTERS.get("boosting")(trees=60),
        "ARIMA": ARIMA(order=(1, 0, 0)),
    }
    simple = {name: model.fit(data.train_full) for name, model in simple.items()}
    seeds = range(1, 4)
    return simple | {
        "anchored": Averaged([network("anchored", data, seed) for seed in seeds]),
        "lstm": Averaged([network("lstm", data, seed) for seed in seeds]),
    }


def error(data, model, step=None):
    forecast, true = model.forecast(data.test), data.test.y
    return mse(true, forecast) if step is None else mse(true[:, step - 1], forecast[:, step - 1])


@pytest.fixture(scope="module")
def damped():
    data = cut(autoregression(16_000, 0.8) + 50, horizon=10, test=0.5)
    return data, trained(data)


@pytest.mark.parametrize(("step", "best"), [(1, 0.100), (5, 0.336), (10, 0.446)])
def test_an_autoregression_is_forecast_as_well_as_can_be_and_no_better(damped, step, best):
    data, fitted = damped
    reference = error(data, Persistence().fit(data.train_full), step)
    # what can be had on these very rows, since chance moves it
    level, scale = data.train_full.y.mean(), 0.8**step
    known = level + scale * (data.test.last - level)
    here = skill(mse(data.test.y[:, step - 1], known), reference)
    assert here == pytest.approx(best, abs=0.02)
    for name, model in fitted.items():
        assert skill(error(data, model, step), reference) == pytest.approx(here, abs=0.03), name


@pytest.mark.slow
def test_nothing_is_learnt_from_white_noise():
    data = cut(np.random.default_rng(5).standard_normal(6000) + 50, horizon=2)
    mean = error(data, TrainingMean().fit(data.train_full))
    for name, model in trained(data).items():
        assert error(data, model) > 0.99 * mean, name


def test_nothing_is_learnt_from_a_random_walk():
    data = cut(np.random.default_rng(2).standard_normal(6000).cumsum() + 500, horizon=2)
    last = error(data, Persistence().fit(data.train_full))
    for name, model in trained(data).items():
        assert error(data, model) > 0.99 * last, name


@pytest.mark.parametrize(("back", "inside"), [(4, True), (14, False)])
def test_what_lies_within_the_window_is_copied_and_what_lies_before_is_not(back, inside):
    drive = np.random.default_rng(3).random(6000)
    # some noise, or what is measured would be a value of the target before its time, which is refused
    values = 50 + np.roll(drive, back) + 0.03 * np.random.default_rng(4).standard_normal(6000)
    data = cut(values, columns={"drive": drive}, features=["drive"], horizon=1)
    explained = {
        name: 1 - error(data, model) / error(data, TrainingMean().fit(data.train_full))
        for name, model in {
            "ridge": Ridge().fit(data.train_full),
            "lstm": network("lstm", data, units=[16]),
        }.items()
    }
    assert all(share > 0.9 if inside else share < 0.02 for share in explained.values()), explained


@pytest.mark.slow
@pytest.mark.parametrize("name", ["anchored", "lstm"])
def test_a_sine_with_noise_is_forecast_to_its_noise_at_every_step(name):
    generator = np.random.default_rng(0)
    noise = 0.1 * generator.standard_normal(8000)
    data = cut(50 + np.sin(2 * np.pi * np.arange(8000) / 60) + noise, horizon=10, rhythms=[60])
    model = Averaged([network(name, data, seed, units=[8]) for seed in (1, 2, 3)])
    errors = ((data.to_units(model.forecast(data.test)) - data.to_units(data.test.y)) ** 2).mean(axis=0)
    here = np.array(
        [(noise[-len(data.test) - 9 + step :][: len(data.test)] ** 2).mean() for step in range(10)]
    )
    assert (errors < 1.1 * here).all(), errors / here


def test_a_network_that_starts_from_the_targets_past_says_so_where_there_is_none():
    frame = planted(autoregression(400, 0.5) + 9).assign(load=1.0 * np.arange(400))
    data = prepare(frame, features=["load"], target="cpu_usage")
    for name, options in {"anchored": {}, "nlinear": {}, "textbook": {"level": "last"}}.items():
        with pytest.raises(ValueError, match="put the target among the features"):
            models.build(name, **models.design(data.train), **options)
