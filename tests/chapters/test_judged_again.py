"""Networks of one recording tested on another: what they learn from, and that nothing of the second gets in."""

import json

import numpy as np
import pandas as pd
import pytest

from vdslib import claims, files
from vdslib.chapters import sealed
from vdslib.claims import again
from vdslib.errors import TelemetryError
from vdslib.evaluation import skill
from vdslib.forecasting import prepare
from vdslib.sources import read
from vdslib.telemetry import system_series

SMALL = {"n_seeds": 2, "epochs": 2, "units": [4], "window": 5, "batch_size": 128}
CHOSEN = {chapter: values | SMALL for chapter, values in again.SETTINGS.items()}
CHOSEN["4-1-hybrids"] |= {"horizon": 4, "steps": [1, 4]}
OWN = again.OWN | {"n_seeds": 2, "network": {"spread": False, "units": [4]}}


def of_seconds(frame, start, end):
    """The rows of some seconds, from the start of the recording on."""
    moments = frame["timestamp"].drop_duplicates().sort_values().to_numpy()[start:end]
    part = frame[frame["timestamp"].isin(moments)].reset_index(drop=True)
    part.attrs = {"origin": f"{start} to {end}", "rhythms": frame.attrs["rhythms"]}
    return part


@pytest.fixture(scope="module")
def recordings():
    """A first recording of 1,000 seconds, its own test part, and another one, harder and of another length."""
    frame = read("recorded")
    first = of_seconds(frame, 0, 1000)
    other = of_seconds(frame, 2000, 2150)
    other["demand"] *= 1.5
    other["system_productivity"] = other["system_productivity"] / 2
    return first, of_seconds(first, 800, 1000), other


def test_the_own_test_part_in_place_of_a_second_recording_gives_the_first(recordings):
    """So that what is judged on a second recording is what the chapters judge on the first."""
    first, part, _ = (system_series(each) for each in recordings)
    first.attrs["rhythms"] = (10.0, 40.0)  # the test part begins after 20 of them
    frame, share = sealed.joined(first, part)
    pd.testing.assert_frame_equal(frame, first)
    assert round(share * len(frame)) == 200 and frame.attrs["rhythms"] == (10.0, 40.0)


def test_a_second_recording_begins_a_period_and_changes_nothing_before_it(recordings):
    first, _, other = (system_series(each) for each in recordings)
    first.attrs["rhythms"] = (10.0, 300.0)
    frame, share = sealed.joined(first, other)
    begin = frame["timestamp"].iloc[800] - first["timestamp"].iloc[0]
    assert begin == pd.Timedelta("900s") and len(frame) == 800 + 150
    pd.testing.assert_frame_equal(frame.iloc[:800], first.iloc[:800])
    assert (frame["demand"].iloc[800:].to_numpy() == other["demand"].to_numpy()).all()
    settings = {"features": ["demand", "cpu_usage"], "target": "demand", "rhythms": "auto"}
    alone, together = prepare(first, **settings), prepare(frame, **settings, test=share)
    for name in ("train", "validation", "train_full"):
        for values in ("x", "y", "times"):
            np.testing.assert_array_equal(*(getattr(getattr(d, name), values) for d in (alone, together)))
    assert len(together.test) == 150 - 10  # whole, but for the windows that would reach over its ends


def test_a_recording_of_another_kind_is_refused(recordings):
    first, _, other = (system_series(each) for each in recordings)
    with pytest.raises(TelemetryError, match="no column 'demand'"):
        sealed.joined(first, other.drop(columns="demand"))
    with pytest.raises(TelemetryError, match="every 0 days 00:00:02"):
        sealed.joined(first, other.iloc[::2])


def test_networks_learn_nothing_from_the_second_recording(recordings):
    first, part, other = recordings
    chosen = CHOSEN["3-3-experiment"]
    own, else_ = (sealed.experiment(first, second, chosen) for second in (part, other))
    for name in ("arm_train_mse", "arm_validation_mse", "validation_stretches"):
        assert own[name] == else_[name]
    assert own["test_mse"] != else_["test_mse"] and else_["test_mse"]["mean"] > own["test_mse"]["mean"]
    assert {name: len(errors) for name, errors in own["arm_test_mse"].items()} == {"all guards": 2}
    series = system_series(first)
    data = prepare(
        series,
        features=["cpu_usage", "memory_usage", "disc_usage", "network_usage", "system_productivity"],
        target="system_productivity",
        window=5,
    )
    assert own["test_mse"]["mean"] > 0 and len(data.test) == 195
    # windows that would begin before the second recording are no part of it
    assert own["test_mse"]["persistence"] == pytest.approx(
        float(((data.test.last[:, None] - data.test.y) ** 2).mean())
    )
    table = again.compared({}, {"3-3-experiment": own}).set_index("key")
    keys = [claim.key for claim in claims.CLAIMS if claim.chapter == "3-3-experiment"]
    judged = [key for key in keys if key in again.JUDGED]
    assert len(judged) == 4 and "not run" not in set(table.loc[judged, "now"])


def test_what_lies_outside_of_what_was_learnt_from_is_told_and_stops_nothing(recordings):
    first, _, other = recordings
    strange = other.assign(memory_usage=20 * other["memory_usage"])
    strange.attrs = other.attrs
    chosen = {"3-3-experiment": CHOSEN["3-3-experiment"] | {"n_seeds": 1, "epochs": 1}}
    found = sealed.evidence(first, strange, chosen)
    assert set(found) == {"3-3-experiment", "notices"}
    assert len(found["notices"]) == 1 and "memory_usage" in found["notices"][0]


def test_the_own_network_is_the_same_on_both_recordings(recordings, monkeypatch):
    first, part, other = recordings
    monkeypatch.setattr(again, "OWN", OWN)
    chosen = CHOSEN["4-1-hybrids"] | {"rhythms": ["20s"]}
    own, else_ = (sealed.demand(first, second, chosen) for second in (part, other))
    assert own[["recording", "step"]].to_numpy().tolist() == [
        [r, s] for r in ("first", "second") for s in (1, 4)
    ]
    pd.testing.assert_frame_equal(own.iloc[:2], else_.iloc[:2])  # on the first, whatever the second is
    errors = ["persistence", "ridge", "boosting", "anchored"]
    assert (else_.iloc[2:][errors].to_numpy() > own.iloc[2:][errors].to_numpy()).mean() > 0.5
    assert (own["low"] <= own["gain"]).all() and (own["gain"] <= own["high"]).all()
    assert np.allclose(own["gain"], 1 - own["anchored"] / own["boosting"])
    assert again.own(own)["word"].isin(again.WORDS).all()


def test_an_interval_over_members_is_that_of_the_averaged_forecast():
    random = np.random.default_rng(0)
    common = random.normal(size=2000)
    alike = np.tile(common, (5, 1))
    found = sealed.over_members(skill, alike / 2, alike)
    assert found.value == found.low == found.high == pytest.approx(0.75)

    def wrong(spread):
        return common + spread * random.normal(size=(5, 2000))

    few, many = (sealed.over_members(skill, wrong(spread), alike) for spread in (0.1, 1.0))
    assert few.low < few.value < few.high and few.high - few.low < many.high - many.low
    assert few.value == pytest.approx(-0.01 / 5, abs=0.01)
    one = sealed.over_members(skill, alike[:1] / 2, alike[:1])
    assert one.value == 0.75 and not np.isfinite([one.low, one.high]).any()


@pytest.mark.slow
def test_on_its_own_test_part_the_first_recording_is_judged_as_in_its_chapters():
    """The chapters' recorded results, to their four digits where nothing is trained."""
    frame = read("recorded")
    part = of_seconds(frame, 4320, 5400)
    recorded = json.loads((files.root() / "tests/claims/recorded_results.json").read_text(encoding="utf-8"))
    then, now = recorded["3-3-experiment"], sealed.experiment(frame, part, again.SETTINGS["3-3-experiment"])
    for name in ("persistence", "mean", "ridge"):
        assert now["test_mse"][name] == pytest.approx(then["test_mse"][name], rel=1e-3)
    for name in ("textbook",):
        assert np.mean(now["test_mse"][name]) == pytest.approx(np.mean(then["test_mse"][name]), rel=0.08)
    for name, errors in now["arm_test_mse"].items():
        assert np.mean(errors) == pytest.approx(np.mean(then["arm_test_mse"][name]), rel=0.16)
