"""Leaks: each is refused unless it is named, possible when it is, and flatters where it must."""

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import SMOTE
from imblearn.under_sampling import RandomUnderSampler
from sklearn.model_selection import TimeSeriesSplit, train_test_split
from sklearn.preprocessing import MinMaxScaler
from synthetic import recording

from vdslib import telemetry
from vdslib.chapters import leaks, planted_leaks, same_rows
from vdslib.claims import judging, readings
from vdslib.errors import LeakError, TelemetryError
from vdslib.forecasting import LEAKS, USAGES, Persistence, divide, folds, leak_checks, prepare, resample
from vdslib.networks import models, training

SEEDS = range(1, 6)
OF_TRAINING = [leak for leak, judge in leaks.JUDGES.items() if judge == "LSTM"]


@pytest.fixture(scope="module")
def series():
    return telemetry.system_series(recording(600))


@pytest.fixture(scope="module")
def parts(series):
    return prepare(series, features=USAGES, target="cpu_usage", horizon=2)


@pytest.fixture(scope="module")
def whole(series):
    return prepare(series, features=USAGES, target="cpu_usage", horizon=2, test=0, validation=0).train


def pair(frame):
    """Scalers of features and target fitted on ``frame``."""
    return MinMaxScaler().fit(frame[USAGES].to_numpy()), MinMaxScaler().fit(frame[["cpu_usage"]].to_numpy())


def cut(series, **options):
    return prepare(series, **({"features": USAGES, "target": "cpu_usage", "horizon": 2} | options))


def refused(leak, ask):
    """``ask(None)`` is refused, and so is naming another leak of the place; ``ask(leak)`` is done."""
    with pytest.raises(LeakError, match="To leak on purpose, say leak=") as caught:
        ask(None)
    assert f"leak={leak!r}" in str(caught.value) and LEAKS[leak].remedy in str(caught.value)
    for other, each in LEAKS.items():
        if other != leak and set(each.places) >= set(LEAKS[leak].places):
            with pytest.raises(LeakError):
                ask(other)
    return ask(leak)


def test_every_leak_has_a_guard_a_judge_a_planted_series_and_an_audit():
    assert (
        set(LEAKS)
        == set(leaks.JUDGES)
        == set(readings.LEAKS)
        == set(leaks._ARMS)
        == set(planted_leaks._PLANTED)
    )


# ------------------------------------------------------------------------------------------------ guards


def test_a_random_split_is_refused(whole):
    train, test = train_test_split(np.arange(len(whole)), test_size=0.2, random_state=0)
    known, unseen = refused("random split", lambda leak: divide(whole, train, test, leak=leak))
    assert unseen.times.min() < known.times.max() and (known.part, unseen.part) == ("training", "test")
    np.testing.assert_array_equal(known.y, whole.y[train])


def test_training_on_the_later_part_is_refused(whole):
    with pytest.raises(LeakError, match="random split"):
        divide(whole, np.arange(300, 500), np.arange(200))


def test_windows_across_the_split_are_refused(whole):
    span = whole.x.shape[1] + whole.y.shape[1]
    for gap in (0, span - 1):  # the last one shares a single row
        train, test = np.arange(400 - gap), np.arange(400, 500)
        assert (train[-1] + span - 1 >= test[0]) or gap
        if gap == span - 1:
            known, _ = divide(whole, train, test)
            assert len(known) == 400 - gap
        else:
            refused("windows across the split", lambda leak, t=train, u=test: divide(whole, t, u, leak=leak))
    with pytest.raises(LeakError):
        divide(whole, np.arange(400 - span + 2), np.arange(400, 500))


def test_splits_in_time_with_a_gap_pass(whole):
    span = whole.x.shape[1] + whole.y.shape[1]
    for train, test in TimeSeriesSplit(3, gap=span - 1).split(whole.x):
        divide(whole, train, test)
    for train, test in folds(whole, 3):
        assert divide(whole, train, test)[1].part == "test"


def test_resampling_before_the_split_is_refused(whole):
    states = (whole.y[:, 0] > np.quantile(whole.y, 0.9)).astype(int)
    more, balanced = resample(whole, states, SMOTE(random_state=0))
    assert (balanced == 0).sum() == (balanced == 1).sum() and len(more) == len(balanced) > len(whole)
    np.testing.assert_array_equal(more.x[: len(whole)], whole.x)
    assert np.isnat(more.times[len(whole) :]).all() and more.part == "resampled"
    train, test = train_test_split(np.arange(len(more)), random_state=0)
    known, unseen = refused("SMOTE before the split", lambda leak: divide(more, train, test, leak=leak))
    assert len(known) + len(unseen) == len(more)


def test_resampling_test_windows_is_refused(parts):
    states = (parts.test.y[:, 0] > np.quantile(parts.test.y, 0.8)).astype(int)
    sampler = SMOTE(random_state=0)
    more, _ = refused("SMOTE before the split", lambda leak: resample(parts.test, states, sampler, leak=leak))
    assert len(more) > len(parts.test)


def test_a_sampler_that_drops_windows_is_refused(whole):
    states = (whole.y[:, 0] > np.quantile(whole.y, 0.9)).astype(int)
    with pytest.raises(ValueError, match="RandomUnderSampler does not keep all windows"):
        resample(whole, states, RandomUnderSampler(random_state=0))


def test_a_scaler_that_knows_test_rows_is_refused(series):
    changed = series.copy()
    changed.loc[550:, USAGES] *= 3
    clean = cut(changed)
    for rows in (changed, changed[480:], changed[:580]):
        leaky = refused("scaler on all rows", lambda leak, r=rows: cut(changed, scalers=pair(r), leak=leak))
        assert not np.allclose(leaky.test.y, clean.test.y)


def test_a_scaler_of_all_rows_is_refused_even_where_it_changes_nothing(series):
    calm = series.copy()
    calm.loc[500:, USAGES] = calm[USAGES][:480].mean().to_numpy()
    refused("scaler on all rows", lambda leak: cut(calm, scalers=pair(calm), leak=leak))


def test_scalers_that_know_no_test_row_pass(series):
    clean, border = cut(series), 480
    for scalers in (pair(series[:border]), (clean.x_scaler, clean.y_scaler)):
        np.testing.assert_array_equal(cut(series, scalers=scalers).test.x, clean.test.x)
    other = pair(telemetry.system_series(recording(600, seed=7)))  # of another machine, as many rows
    assert cut(series, scalers=other).x_scaler is other[0]
    with pytest.raises(ValueError, match="fitted on 4 columns"):
        cut(series, scalers=(MinMaxScaler(), clean.y_scaler))


def test_a_scaler_of_the_test_part_is_refused(series):
    own = pair(series[480:])
    leaky = refused("scaler per split", lambda leak: cut(series, test_scalers=own, leak=leak))
    clean = cut(series)
    np.testing.assert_array_equal(leaky.train_full.x, clean.train_full.x)
    np.testing.assert_allclose(
        own[1].inverse_transform(leaky.test.y), clean.to_units(clean.test.y), atol=1e-9
    )
    same = pair(series[:480])
    np.testing.assert_array_equal(cut(series, test_scalers=same).test.y, clean.test.y)


@pytest.mark.parametrize("ahead", [1, 2, 10])
def test_the_target_among_the_features_is_refused(series, ahead):
    frame = series.assign(goal=2 * series["cpu_usage"].shift(-ahead) + 1)
    leaky = refused(
        "target among the features", lambda leak: cut(frame, features=[*USAGES, "goal"], leak=leak)
    )
    assert leaky.features[-1] == "goal"


@pytest.mark.parametrize(
    "formula",
    [
        lambda s: s["cpu_usage"].rolling(5, center=True).mean(),
        lambda s: s["cpu_usage"].diff(-1),
        lambda s: s["memory_usage"].rolling(21, center=True).mean(),
        lambda s: s["disc_usage"].shift(-3),
        lambda s: s["cpu_usage"].shift(-1).round(1),
    ],
    ids=["centred", "difference", "of another column", "shift of another column", "rounded"],
)
def test_features_of_the_future_are_refused(series, formula):
    frame = series.assign(derived=formula(series))
    found = leak_checks.future_of(frame, [*USAGES, "derived"], "cpu_usage")
    assert list(found) == ["derived"]
    leak = "target among the features" if found["derived"][1] else "future rolling features"
    refused(leak, lambda leak: cut(frame, features=[*USAGES, "derived"], leak=leak))


@pytest.mark.parametrize(
    "formula",
    [
        lambda s: s["cpu_usage"].rolling(5).mean(),
        lambda s: s["cpu_usage"].shift(3),
        lambda s: s["disc_usage"].shift(1),
        lambda s: s["cpu_usage"].diff(),
        lambda s: s["cpu_usage"].ewm(alpha=0.3).mean(),
        lambda s: np.arange(len(s)) / 10,
        lambda s: np.sin(np.arange(len(s)) / 9),
        lambda s: 1.0,
        lambda s: np.random.default_rng(0).random(len(s)),
    ],
)
def test_features_of_the_past_pass(series, formula):
    frame = series.assign(derived=formula(series))
    for target in ("cpu_usage", "memory_usage"):
        assert len(cut(frame, features=[*USAGES, "derived"], target=target).test)


def idle(start):
    """A machine that is idle but for the rows from ``start`` on, and its memory, which wanders."""
    random = np.random.default_rng(0)
    busy = np.where(np.arange(300) < start, 0.0, 50 + 10 * random.standard_normal(300))
    memory = 30 + random.standard_normal(300).cumsum()
    times = pd.Timestamp("2026-01-05T08:00:00Z") + pd.to_timedelta(60 * np.arange(300), unit="s")
    return pd.DataFrame({"timestamp": times, "node": "batch", "cpu_usage": busy, "memory_usage": memory})


@pytest.mark.parametrize("target", ["cpu_usage", "memory_usage"])
def test_a_machine_that_was_idle_passes(target):
    for start in range(1, 300):
        frame = idle(start)
        assert leak_checks.future_of(frame, ["cpu_usage", "memory_usage"], target) == {}
    parts = cut(idle(230), features=["cpu_usage", "memory_usage"], target=target)
    assert len(parts.test) == 49


@pytest.mark.parametrize("start", [100, 150, 200, 240])
def test_the_future_of_a_machine_that_was_idle_is_refused(start):
    frame = idle(start)
    frame["derived"] = frame["cpu_usage"].rolling(5, center=True).mean()
    assert leak_checks.future_of(frame, ["memory_usage", "derived"], "cpu_usage") == {
        "derived": ("cpu_usage", False)
    }


def test_measured_columns_pass():
    nodes = telemetry.check(recording(300))
    measured = [name for name in nodes.select_dtypes("number") if nodes[name].notna().mean() > 0.9]
    for frame in (nodes, telemetry.system_series(nodes)):
        there = [name for name in measured if name in frame]
        for target in ("cpu_usage", "system_productivity", "queue_length"):
            assert leak_checks.future_of(frame, there, target) == {}


def build(seed):
    return models.build("textbook", window=10, features=4, outputs=2, units=(2,), seed=seed)


@pytest.mark.parametrize(
    ("leak", "how"),
    [
        ("early stopping on the test set", {"patience": 2, "restore_best": False}),
        ("early stopping on the test set", {"patience": 0, "restore_best": True}),
        ("best test epoch reported", {"patience": 0, "restore_best": False}),
    ],
)
def test_watching_the_test_part_is_refused(parts, leak, how):
    settings = training.Settings(epochs=2, batch_size=128, **how)

    def together(leak):
        return training.train([training.Job(build, parts.train, parts.test, settings, 1, leak=leak)])[
            0
        ].history

    def alone(leak):
        model = training.compile(build(1))
        return training.fit(model, parts.train, parts.test, epochs=2, batch_size=128, leak=leak, **how)

    for ask in (together, alone):
        assert len(refused(leak, ask).val_loss) == 2
    with pytest.raises(LeakError):
        training.Forecaster(build, settings).fit(parts.train, parts.test.take(slice(0, 9)))


def test_watching_resampled_windows_is_refused(parts):
    states = (parts.train.y[:, 0] > np.quantile(parts.train.y, 0.9)).astype(int)
    more, _ = resample(parts.train, states, SMOTE(random_state=0))
    with pytest.raises(LeakError, match="SMOTE before the split"):
        training.fit(training.compile(build(1)), parts.train, more, epochs=1)


def test_windows_know_their_part(parts):
    assert [w.part for w in (parts.train, parts.validation, parts.train_full, parts.test)] == [
        "training",
        "validation",
        "training",
        "test",
    ]
    assert parts.test.take(slice(0, 5)).step(2).part == "test"


def test_unknown_leaks_and_leaks_of_another_place_are_refused(series, whole, parts):
    for leak in ("random", "random split"):
        with pytest.raises(ValueError, match=f"leak='{leak}': prepare knows 'scaler on all rows'"):
            cut(series, leak=leak)
    with pytest.raises(ValueError, match="divide knows"):
        divide(whole, np.arange(9), np.arange(50, 60), leak="scaler per split")
    with pytest.raises(ValueError, match="fit knows"):
        training.fit(training.compile(build(1)), parts.train, None, epochs=1, leak="random split")


def test_parts_without_samples_are_refused(whole):
    with pytest.raises(ValueError, match="both parts need samples, not 5 and 0"):
        divide(whole, np.arange(5), np.arange(0))


# ------------------------------------------------------------------------------------------------ ledger


@pytest.fixture(scope="module")
def planted():
    return leaks.run(list(LEAKS), planted_leaks.case, SEEDS, networks=False)


@pytest.mark.parametrize("leak", list(LEAKS))
def test_on_its_planted_series_each_leak_flatters_beyond_the_spread(planted, leak):
    shares = leaks.flattery(planted).query("leak == @leak")["flattery"]
    assert len(shares) == len(SEEDS)
    assert shares.mean() > 2 * shares.std() and shares.mean() >= leaks.LEAST
    assert leaks.summary(planted).loc[leak, "beyond"]


def test_without_the_leak_nothing_flatters(monkeypatch):
    """The verdict is not built in: two clean arms are not told apart."""
    monkeypatch.setattr(leaks, "_ARMS", dict.fromkeys(LEAKS, lambda case, seed, clean: (clean, clean)))
    some = [leak for leak in LEAKS if leak not in OF_TRAINING]
    result = leaks.summary(leaks.run(some, planted_leaks.case, [1, 2], networks=False))
    assert (
        (result["flattery"] == 0).all() and not result["beyond"].any() and not result["winner_changes"].any()
    )


def test_same_seed_same_ledger(planted):
    some = ["random split", "SMOTE before the split", "early stopping on the test set"]
    again = leaks.run(some, planted_leaks.case, SEEDS[:1], networks=False)
    before = planted[planted["leak"].isin(some) & (planted["seed"] == SEEDS[0])]
    pd.testing.assert_frame_equal(again, before.reset_index(drop=True), rtol=1e-4)


def test_the_arms_differ_in_the_leak_alone():
    case = planted_leaks.case("windows across the split", 1)
    clean, leaky = leaks.arms("windows across the split", case, 1)
    np.testing.assert_array_equal(clean.test.y, leaky.test.y)
    assert len(leaky.known) - len(clean.known) == case.window + case.horizon - 1
    clean, leaky = leaks.arms("early stopping on the test set", case, 1)
    assert leaky.watched is clean.test and leaky.train is clean.train
    clean, leaky = leaks.arms("scaler per split", case, 1)
    np.testing.assert_array_equal(clean.train.x, leaky.train.x)


def test_a_random_split_is_compared_on_rows_that_both_splits_test_on():
    case = planted_leaks.case("random split", 1)
    found = same_rows.random_split(case, [1, 2])
    clean, leaky = (np.array(found["same_rows_mse"][arm]) for arm in ("clean", "leaky"))
    assert (leaky < 0.1 * clean).all()  # on a walk, whoever knows both neighbours in time looks up the answer
    assert judging.unbiased(found).verdict == "does not hold"
    last = same_rows.random_split(case, [1, 2], Persistence)
    assert last["same_rows_mse"]["clean"] == last["same_rows_mse"]["leaky"]  # the rows are the same
    assert last["same_rows_stretches"]["clean"] == last["same_rows_stretches"]["leaky"]
    assert len(last["same_rows_stretches"]["clean"]) >= 10


def test_balanced_error_by_hand():
    assert leaks.balanced_error([0, 0, 0, 1], [0, 0.9, 0.2, 0.7]) == pytest.approx((1 / 3 + 0) / 2)
    assert leaks.balanced_error([0, 0], [1, 0]) == 0.5


def test_one_seed_gives_no_verdict(planted):
    one = leaks.summary(planted[planted["seed"] == 1])
    assert one["spread"].isna().all() and not one["beyond"].any()
    assert set(one["verdict"]) == {"unknown with one seed"}


def test_the_summary_by_hand():
    def rows(arm, errors, seed):
        return [("scaler on all rows", seed, arm, model, error, 0.0) for model, error in errors.items()]

    clean, leaky = {"ridge": 1.0, "mean": 2.0}, {"ridge": 0.5, "mean": 0.4}
    table = pd.DataFrame(
        rows("clean", clean, 1)
        + rows("leaky", leaky, 1)
        + rows("clean", clean, 2)
        + rows("leaky", leaky | {"ridge": 0.6}, 2),
        columns=["leak", "seed", "arm", "model", "error", "skill"],
    )
    row = leaks.summary(table).loc["scaler on all rows"]
    assert row["flattery"] == pytest.approx(0.45) and row["spread"] == pytest.approx(0.1 / 2**0.5)
    assert (row["clean_winner"], row["leaky_winner"]) == ("ridge", "mean") and row["winner_changes"]
    assert row["verdict"] == "flatters"
    swapped = table.assign(arm=table["arm"].map({"clean": "leaky", "leaky": "clean"}))
    assert leaks.summary(swapped).loc["scaler on all rows", "verdict"] == "looks worse"
    # one seed that diverged is not left out of the mean
    lost = table.assign(error=table["error"].mask((table["seed"] == 2) & (table["model"] == "ridge")))
    row = leaks.summary(lost).loc["scaler on all rows"]
    assert np.isnan(row["flattery"]) and row["verdict"] == "unknown, since an error is no number"
    assert (row["clean_winner"], row["leaky_winner"]) == ("mean", "mean")


def test_a_series_without_rare_state_is_refused():
    case = planted_leaks.case("SMOTE before the split", 1)
    constant = case.frame.assign(cpu_usage=np.r_[np.random.default_rng(0).random(300), np.ones(300)])
    flat = leaks.Case(constant.assign(cpu_usage=1.0), ["cpu_usage"], "cpu_usage")
    with pytest.raises(TelemetryError, match="windows are in the rare state"):
        leaks.arms("SMOTE before the split", flat, 1)
