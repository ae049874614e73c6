"""Load states: their borders, the treatments of rare states, the measures and the verdict on SMOTE."""

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import SMOTE
from sklearn.metrics import balanced_accuracy_score, precision_score, recall_score
from sklearn.preprocessing import MinMaxScaler

from vdslib.chapters import load_states
from vdslib.chapters.load_states import STATES, TREATMENTS, Thresholds
from vdslib.errors import TelemetryError
from vdslib.forecasting import Windows
from vdslib.networks import Settings

BORDERS = Thresholds(0.5, 0.2, low_is_overload=True)


def windows(samples: int = 400, seed: int = 0) -> Windows:
    """A walk between 0 and 1 whose next value resembles its last; low values are rare."""
    random = np.random.default_rng(seed)
    values = np.empty(samples + 4)
    values[0] = 0.7
    for row in range(1, len(values)):
        values[row] = np.clip(0.7 + 0.8 * (values[row - 1] - 0.7) + random.normal(0, 0.17), 0, 1)
    x = np.lib.stride_tricks.sliding_window_view(values[:-1], 4)[:samples, :, None]
    times = np.datetime64("2026-01-01") + np.arange(samples).astype("timedelta64[s]")
    return Windows(x, values[4:, None], times, np.full(samples, "a", object), x[:, -1, 0])


def test_states_begin_strictly_beyond_their_borders() -> None:
    assert BORDERS.states([0.6, 0.5, 0.49, 0.2, 0.19]).tolist() == [0, 0, 1, 1, 2]
    above = Thresholds(0.5, 0.8, low_is_overload=False)
    assert above.states([0.4, 0.5, 0.51, 0.8, 0.81]).tolist() == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("low", [True, False])
def test_shares_of_the_training_targets_become_the_states(low: bool) -> None:
    targets = np.random.default_rng(1).permutation(1000) / 1000
    borders = Thresholds.of(targets, 0.25, 0.05, low_is_overload=low)
    assert np.bincount(borders.states(targets)).tolist() == [750, 200, 50]
    worst = targets < 0.05 if low else targets >= 0.95
    assert (borders.states(targets)[worst] == 2).all()


def test_impossible_shares_and_missing_states_are_refused() -> None:
    with pytest.raises(ValueError, match="overload"):
        Thresholds.of(np.arange(9.0), 0.1, 0.2)
    part = windows()
    with pytest.raises(TelemetryError, match=r"my\.csv: state 'overload' has 0 windows.*thresholds"):
        Thresholds(0.5, -1.0, low_is_overload=True).coming(part, "my.csv")


@pytest.mark.parametrize(("borders", "low"), [([50, 20], True), ([50, 80], False)])
def test_borders_in_the_unit_of_the_target_come_to_its_scale(borders: list[float], low: bool) -> None:
    scaler = MinMaxScaler().fit([[0.0], [200.0]])
    given = Thresholds.at(borders, scaler, low_is_overload=low)
    assert (given.high, given.overload) == pytest.approx((borders[0] / 200, borders[1] / 200))
    for wrong in (borders[::-1], borders[:1], [50, 50], [*borders, 1]):
        with pytest.raises(TelemetryError, match=r"borders: .* two values.*overload_end"):
            Thresholds.at(wrong, scaler, low_is_overload=low)


def test_resampling_balances_and_keeps_windows_whole() -> None:
    part = windows()
    states = BORDERS.coming(part, "")
    assert len(np.unique(np.bincount(states))) == 3  # not balanced before
    for treatment in ("SMOTE", "random oversampling"):
        inputs, goals = load_states.resampled(part, states, treatment, seed=3)
        assert len(np.unique(np.bincount(goals))) == 1
        np.testing.assert_allclose(inputs[: len(part)], part.x)
    own = {row.tobytes() for row in part.flat}
    copies = load_states.resampled(part, states, "random oversampling", 3)[0]
    assert {row.tobytes() for row in copies.reshape(len(copies), -1)} == own
    expected = SMOTE(random_state=3).fit_resample(part.flat, states)[0]
    found = load_states.resampled(part, states, "SMOTE", 3)[0]
    np.testing.assert_array_equal(found.reshape(len(found), -1), expected)
    with pytest.raises(ValueError, match="unknown treatment"):
        load_states.resampled(part, states, "prayer", 0)


def test_a_sampler_never_sees_the_rows_that_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = SMOTE.fit_resample
    monkeypatch.setattr(SMOTE, "fit_resample", lambda self, x, y: seen.append(len(x)) or original(self, x, y))
    part = windows()
    states = BORDERS.coming(part, "")
    model = load_states.linear("SMOTE", states[:250]).fit(part.flat[:250], states[:250])
    model.predict_proba(part.flat[250:])
    assert seen == [250]


def test_measures_equal_those_of_scikit_learn() -> None:
    random = np.random.default_rng(2)
    truth, said = random.integers(0, 3, 200), random.integers(0, 3, 200)
    found = load_states.measures(truth, said)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, said))
    assert found["overload_recall"] == pytest.approx(recall_score(truth == 2, said == 2))
    assert found["high_precision"] == pytest.approx(precision_score(truth == 1, said == 1))
    assert found["accuracy"] == pytest.approx(np.mean(truth == said))
    majority = load_states.measures(truth, load_states.majority(np.array([0, 0, 2]), 200))
    assert majority["balanced_accuracy"] == pytest.approx(1 / 3)
    assert np.isnan(majority["overload_precision"])


def test_states_seen_and_foreseen_in_stretches_of_time() -> None:
    times = np.array([3, 0, 2, 1], dtype="datetime64[s]")
    seen, foreseen = load_states.by_stretch(times, np.array([2, 0, 2, 1]), np.array([2, 0, 1, 0]), 2)
    assert seen.tolist() == [[1, 1, 0], [0, 0, 2]] and foreseen.tolist() == [[1, 0, 0], [0, 0, 1]]


def test_moved_thresholds_find_states_that_the_largest_probability_misses() -> None:
    states = np.array([0] * 8 + [1] * 2 + [2] * 2)
    probabilities = np.array([[0.9, 0.06, 0.04]] * 8 + [[0.6, 0.35, 0.05]] * 2 + [[0.7, 0.05, 0.25]] * 2)
    assert load_states.measures(states, load_states.decide(probabilities))["balanced_accuracy"] < 0.4
    factors = load_states.moved(probabilities, states)
    assert (load_states.decide(probabilities, factors) == states).all()


def test_precision_at_a_perfect_and_a_useless_ranking() -> None:
    states, recalls = np.array([0, 1, 0, 2, 2]), np.array([0.5, 1.0])
    best, area = load_states.precision_at(states, np.array([0.1, 0.2, 0.1, 0.8, 0.9]), recalls)
    assert (best.tolist(), area) == ([1.0, 1.0], 1.0)
    _, area = load_states.precision_at(states, np.full(5, 0.5), recalls)
    assert area == pytest.approx(0.4)


def test_folds_have_every_treatment_and_baseline() -> None:
    part = windows(900)
    table = load_states.cross_validate(part, 2, lambda y: Thresholds.of(y, 0.4, 0.15), "planted", seed=1)
    assert set(table["treatment"]) == {*TREATMENTS, "persistence", "majority"}
    assert table.groupby("fold").size().tolist() == [7, 7]
    assert table[table["treatment"] == "majority"]["balanced_accuracy"].tolist() == pytest.approx([1 / 3] * 2)
    assert table[table["treatment"] == "class weights"]["balanced_accuracy"].min() > 0.4  # it learns
    with pytest.raises(TelemetryError, match="planted, training windows of fold 1"):
        load_states.cross_validate(part, 2, lambda y: Thresholds(0.5, -1, True), "planted")


def test_network_gives_probabilities_learns_and_repeats_itself() -> None:
    part = windows(600)
    states = BORDERS.coming(part, "")
    train, watched = part.take(slice(0, 450)), part.take(slice(450, 600))
    how = Settings(epochs=6, batch_size=32, patience=6)
    one, two = (
        load_states.Network("class weights", [8], 0.0, how, seed=4).fit(
            train, states[:450], watched, states[450:]
        )
        for _ in range(2)
    )
    probabilities = one.predict_proba(watched)
    assert probabilities.shape == (150, len(STATES))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities, two.predict_proba(watched))
    assert load_states.measures(states[450:], load_states.decide(probabilities))["balanced_accuracy"] > 0.45
    assert len(one.accuracies.loss) == len(one.losses.val_loss) == one.losses.stopped_epoch
    assert one.losses.best_epoch == int(np.argmin(one.losses.val_loss)) + 1


def test_a_network_that_diverged_says_no_state() -> None:
    part = windows(200)
    states = BORDERS.coming(part, "")
    how = Settings(epochs=2, batch_size=32, patience=2, learning_rate=1e38)
    network = load_states.Network("none", [4], 0.0, how, seed=4).fit(part, states, part, states)
    with pytest.raises(ValueError, match=r"treatment 'none', seed 4, learning rate 1e\+38 diverged"):
        network.predict_proba(part)


def rows(**scores: list[float]) -> pd.DataFrame:
    """A table of balanced accuracies by treatment, `_` for a space."""
    return pd.DataFrame(
        [
            {"treatment": name.replace("_", " "), "seed": seed, "balanced_accuracy": score}
            for name, given in scores.items()
            for seed, score in enumerate(given)
        ]
    )


@pytest.mark.parametrize(
    ("smote", "worth"),
    [
        ([0.80, 0.81], True),
        ([0.70, 0.71], False),  # no better than class weights
        ([0.60, 0.90], False),  # better by less than its spread
        ([0.80], None),
    ],
)
def test_verdict_on_smote(smote: list[float], worth: bool | None) -> None:
    n = len(smote)
    others = {
        "class_weights": [0.7, 0.71],
        "random_oversampling": [0.6, 0.6],
        "moved_threshold": [0.65, 0.66],
    }
    table = rows(SMOTE=smote, none=[0.6] * n, **{name: given[:n] for name, given in others.items()})
    found = load_states.smote_verdict(table)
    assert (found["worth"], found["cheaper"]) == (worth, "class weights")


def test_verdict_needs_a_gain_over_no_treatment() -> None:
    table = rows(
        SMOTE=[0.80, 0.80],
        none=[0.79, 0.79],
        class_weights=[0.7, 0.7],
        random_oversampling=[0.7, 0.7],
        moved_threshold=[0.7, 0.7],
    )
    assert load_states.smote_verdict(table)["worth"] is False
