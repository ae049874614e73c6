"""Chapter 4.2 and its committed table: reproduced where the traces are at hand, enough where they are not."""

import comparison
import execution
import nbformat
import numpy as np
import pandas as pd
import pytest
from traces_at_hand import need_traces

from vdslib import experiments
from vdslib.chapters import (
    drifting,
    generalisation,
    generalisation_study,
    global_network,
    mirrored,
    other_machines,
)
from vdslib.chapters.generalisation import MACHINES, MODELS, OTHERS, rows
from vdslib.errors import TelemetryError
from vdslib.forecasting import Persistence, Ridge, prepare
from vdslib.sources import traces

CHAPTER = execution.ROOT / "notebooks" / "4-2-generalisation.ipynb"
TABLE = generalisation.read_table()
AS_MADE = {"month": "2013-8", "window": 24, "horizon": 12}


def nodes(*names, rows=400, **options):
    """Windows of a day's rhythm with noise for each node, prepared one by one."""
    made = {}
    for seed, name in enumerate(names):
        random, at = np.random.default_rng(seed), np.arange(rows)
        usage = 50 + 30 * np.sin(2 * np.pi * at / 48) + random.normal(0, 2, rows)
        times = pd.date_range("2026-01-01", periods=rows, freq="5min", tz="UTC")
        frame = pd.DataFrame({"timestamp": times, "node": name, "cpu_usage": usage})
        made[name] = prepare(
            frame, features=["cpu_usage"], target="cpu_usage", window=12, horizon=3, **options
        )
    return made


# ------------------------------------------------------------------------------------------------ the table


def test_the_table_has_every_part_for_every_machine():
    for step in (1, 12):
        errors = generalisation.wide(TABLE, "own", at=step, seed=0)
        assert list(errors.index) == list(MACHINES) and list(errors) == list(MODELS)
        assert (errors > 0).all(axis=None) and (errors["persistence"] < 1).all()
    for model in ("textbook", "anchored"):
        assert generalisation.matrix(TABLE, model).shape == (10, 10)
        assert set(generalisation.pick(TABLE, "own", model=model)["seed"]) == {0, 1, 2, 3, 4, 5}
    assert (
        len(generalisation.wide(TABLE, "paper"))
        == len(generalisation.wide(TABLE, "global", quantity="relative"))
        == 10
    )
    assert set(generalisation.pick(TABLE, "left out", "relative")["machine"]) == set(OTHERS)
    assert not set(OTHERS) & set(MACHINES)
    assert len(generalisation.wide(TABLE, "drift", "at", "relative", model="textbook")) == len(
        drifting.MACHINES
    )
    assert TABLE["value"].notna().all()


def test_home_in_the_matrix_is_the_error_on_the_machine_itself():
    errors = generalisation.wide(TABLE, "own", at=12, seed=0)
    for model in ("textbook", "anchored"):
        home = np.diag(generalisation.matrix(TABLE, model))
        assert home == pytest.approx((errors[model] / errors["persistence"]).to_numpy(), rel=1e-4)


def test_a_mean_of_forecasts_is_no_worse_than_the_mean_error_of_the_single_ones():
    """Squares are convex, so this holds whatever the networks are."""
    for step in (1, 12):
        every = generalisation.pick(TABLE, "own", at=step)
        for model in ("textbook", "anchored"):
            own = every[every["model"] == model]
            single = own[own["seed"] > 0].groupby("machine", sort=False)["value"].mean()
            mean = own[own["seed"] == 0].set_index("machine")["value"]
            assert (mean <= single.loc[mean.index] * (1 + 1e-6)).all()


def test_the_table_survives_writing(tmp_path):
    generalisation.save_table(TABLE, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_bytes() == (
        execution.ROOT / "data" / "generalisation.csv"
    ).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_the_committed_table_gives_the_machines_asked_for_and_refuses_what_it_lacks():
    table = generalisation.committed(TABLE, ["332", "407"], **AS_MADE)
    assert list(generalisation.wide(table, "own", at=1, seed=0).index) == ["332", "407"]
    assert generalisation.matrix(table, "anchored").shape == (2, 2)
    with pytest.raises(TelemetryError, match=r"machines: 99 .*generalisation\.csv.*VDS_TRACES"):
        generalisation.committed(TABLE, ["99"], **AS_MADE)
    for name, value in {"month": "2013-9", "window": 14, "horizon": 3}.items():
        with pytest.raises(TelemetryError, match=rf"{name}: .*generalisation\.csv.*recompute"):
            generalisation.committed(TABLE, ["332"], **AS_MADE | {name: value})


def planted(ratio, low, high, own, rival, span):
    """A table with one machine on which a model has these errors against its rival."""
    parts = [rows("own", {("1", "", 0, ""): span}, "span")]
    parts += [rows("own", {("1", name, 0, 1): error}) for name, error in (("model", own), ("rival", rival))]
    ends = {"ratio": ratio, "low": low, "high": high}
    parts += [
        rows("own", {("1", "model", 0, 1): value}, f"{end} against rival") for end, value in ends.items()
    ]
    return pd.concat(parts)


@pytest.mark.parametrize(
    "table, verdict, within",
    [
        (planted(0.5, 0.3, 0.8, 0.005, 0.01, 100), "better", True),
        (planted(1.05, 0.9, 1.2, 0.0105, 0.01, 100), "level", True),
        (planted(1.5, 1.2, 1.9, 0.015, 0.01, 100), "worse", False),
        # the rival errs by 0.01 points: a hundred times the square of that is still nothing
        (planted(100.0, 50.0, 200.0, 1e-6, 1e-8, 100 * 0.9), "level", True),
        (planted(1e4, 5e3, 2e4, 1e-4, 1e-8, 100), "worse", False),
    ],
)
def test_a_verdict_needs_its_interval_on_one_side_and_is_in_points_where_the_rival_hardly_errs(
    table, verdict, within
):
    found = generalisation.compared(table, "model", "rival", 1)
    assert found["verdict"].tolist() == [verdict]
    assert generalisation.within_limit(found).tolist() == [within]


def test_what_a_matrix_says():
    ratios = pd.DataFrame(
        [[0.5, 2.0, 0.8], [0.9, 0.4, 0.7], [3.0, 4.0, 0.6]], index=list("abc"), columns=list("abc")
    )
    said = generalisation.borrowed(ratios)
    assert said["home"] == 0.5 and said["below"] == 0.5 and (said["teacher"], said["worst"]) == ("b", "c")
    assert generalisation.borrowed(ratios.iloc[:1, :1])["teacher"] == "none"


def test_a_matrix_has_home_on_its_diagonal_whatever_the_order_of_its_rows():
    cells = {(tested, "m", 0, learnt): 1.0 + (tested != learnt) for learnt in "ba" for tested in "ab"}
    assert np.diag(generalisation.matrix(rows("matrix", cells, "relative"), "m")).tolist() == [1, 1]


def test_a_straight_line_is_found_again_beyond_what_it_was_fitted_to():
    sizes = np.array([10, 30, 100, 1000])
    assert generalisation.line(sizes, np.where(sizes > 100, 0, 5 + 0.2 * sizes), 100) == pytest.approx(
        (5, 0.2)
    )


# ------------------------------------------------------------------------------------------------ what computes it


def test_pooled_windows_keep_their_machines_and_facts_are_known_in_advance():
    parts = nodes("a", "b")
    facts = {"a": np.array([0.1, 0.2, 0.3]), "b": np.array([0.4, 0.5, 0.6])}
    told = [global_network.with_facts(each.train_full, facts[name]) for name, each in parts.items()]
    both = global_network.pooled(told)
    assert len(both) == sum(len(each) for each in told) and both.ahead == 3
    for name, chosen in both.by_node().items():
        assert (both.known[chosen] == facts[name]).all()
        assert np.array_equal(both.measured[chosen], parts[name].train_full.x)
    assert both.steps().keys() == {"a", "b"}


def test_a_configuration_is_that_of_the_past_of_a_machine_that_is_on():
    frame = pd.DataFrame(
        {
            "cpu_cores": [0.0, 4, 4, 4, 8],
            "cpu_mhz": [np.nan, 2500.0, 2500, 2500, 9000],
            "memory_mb": [0.0, 4096, 4096, 4096, 8192],
        }
    )
    cores, mhz, memory = global_network.configuration(frame)
    assert (cores, mhz) == (pytest.approx(2 / 6), pytest.approx(np.log2(10_000) / np.log2(200_000)))
    assert memory == pytest.approx(12 / np.log2(500_000))


def test_draws_are_nested_so_that_more_machines_hold_the_fewer():
    first, second = global_network.orders(tuple(MACHINES), 2)
    assert sorted(first) == sorted(second) == sorted(MACHINES) and first != second
    assert global_network.orders(tuple(MACHINES), 2) == [first, second]


def test_a_forecaster_of_single_steps_is_the_one_of_all_at_these_steps():
    data = nodes("a")["a"]
    some = other_machines.Stepwise(Ridge(lags=12), [1, 3]).fit(data.train_full).forecast(data.test)
    every = Ridge(lags=12).fit(data.train_full).forecast(data.test)
    assert some[:, [0, 2]] == pytest.approx(every[:, [0, 2]]) and np.isnan(some[:, 1]).all()


def test_the_detector_sees_errors_that_rise_and_neither_noise_nor_errors_that_fall():
    random = np.random.default_rng(0)
    calm, bad = random.binomial(12, 0.1, (40, 200)) / 12, random.binomial(12, 0.6, 100) / 12
    assert 1 <= drifting.drifted(calm[0], np.concatenate([calm[1], bad])) - 200 < 30
    assert (
        sum(
            drifting.drifted(one, other) is not None for one, other in zip(calm[::2], calm[1::2], strict=True)
        )
        <= 2
    )
    assert drifting.drifted(bad, calm[0]) is None


def test_training_again_sees_only_what_has_passed_and_only_where_it_is_asked_for():
    data = nodes("a", rows=3000, test=0.7, validation=0.0)["a"]
    learnt = []

    def train(windows):
        learnt.append(windows)
        return Ridge(lags=12).fit(windows)

    first = Ridge(lags=12).fit(data.train_full)
    passed = drifting.go_through(first, train, data.train_full, data.test, "every three days")
    assert passed.at == [drifting.EVERY, 2 * drifting.EVERY] == [864, 1728]
    step = np.timedelta64(300, "s")
    for place, windows in zip(passed.at, learnt, strict=True):
        assert (
            windows.times.max() + 3 * step == data.test.times[place]
        )  # its last target is the last row known
        assert len(windows) <= drifting.RECENT
    never = drifting.go_through(first, train, data.train_full, data.test, "never")
    assert never.at == [] and np.array_equal(never.forecast[:864], passed.forecast[:864])


def test_errors_are_noticed_when_they_are_known_and_not_before():
    data = nodes("a", rows=3000, test=0.7, validation=0.0)["a"]
    stream, usual = data.test, np.linspace(0, 0.01, 600)
    forecast = stream.y + 0.001
    assert drifting.noticed(stream, forecast, 0, usual) is None
    forecast[1000:] += 1.0
    assert 1000 + drifting.HOUR + 3 <= drifting.noticed(stream, forecast, 0, usual) < 1400


def test_a_relative_error_of_persistence_is_one():
    data = nodes("a")["a"]
    forecast = Persistence().fit(data.train_full).forecast(data.test)
    assert (
        other_machines.relative(forecast, data.test) == other_machines.relative(forecast, data.test, 1) == 1
    )


def test_finished_pieces_of_the_study_are_found_again(tmp_path, monkeypatch):
    computed = []

    def piece(name):
        computed.append(name)
        return rows("own", {(name, "x", 0, 1): 0.5})

    monkeypatch.setattr(
        generalisation_study, "pieces", lambda: {n: (lambda n=n: piece(n)) for n in ("a", "b", "ab")}
    )
    assert list(generalisation_study.make(tmp_path, "a")["machine"]) == ["a", "ab"]
    assert list(generalisation_study.make(tmp_path)["machine"]) == ["a", "b", "ab"]
    assert computed == ["a", "ab", "b"]


def test_pieces_depend_on_the_code_that_computes_them(tmp_path):
    for room in generalisation_study.MADE_BY:
        (tmp_path / "vdslib" / room).mkdir(parents=True)
    before = generalisation_study.fingerprint(tmp_path)
    assert before == generalisation_study.fingerprint(tmp_path)
    (tmp_path / "vdslib" / "networks" / "new.py").write_text("x = 1")
    assert generalisation_study.fingerprint(tmp_path) != before


@pytest.mark.slow
def test_two_devices_come_to_the_loss_of_one():
    found = mirrored.measured()
    loss = found[found["quantity"] == "loss"].pivot_table("value", "at", "model")
    assert len(loss) == mirrored.EPOCHS and loss["two devices"].to_numpy() == pytest.approx(
        loss["one device"].to_numpy(), rel=1e-5
    )
    assert (loss.diff().dropna() < 0).all(axis=None)


def test_what_needs_no_training_comes_out_as_in_the_committed_table():
    need_traces()
    plan = generalisation_study.PLAN
    data = plan.prepared("306")
    made = generalisation.wide(TABLE, "own", at=12, seed=0).loc["306"]
    for name in ("persistence", "mean", "ridge"):
        forecast = other_machines.forecasters(plan)[name].fit(plan.learnt(data)).forecast(data.test)
        assert np.mean((forecast - data.test.y)[:, -1] ** 2) == pytest.approx(made[name], rel=1e-4)
    days = other_machines.days(plan.frame("306"), "306").reset_index(drop=True)
    kept = TABLE[(TABLE["part"] == "days") & (TABLE["machine"] == "306")]
    assert days["value"].to_numpy() == pytest.approx(kept["value"].to_numpy(), rel=1e-4)


def test_a_mirror_without_the_traces_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("VDS_TRACES", str(tmp_path))
    with pytest.raises(TelemetryError, match=r"332\.csv"):
        traces.available("bitbrains-rnd/2013-8/332.csv")


def test_without_traces_the_chapter_shows_the_committed_table(tmp_path, monkeypatch):
    monkeypatch.delenv("VDS_TRACES", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody answers there
    copy = execution.execute(CHAPTER, "4.2", tmp_path)
    recorded = experiments.load(tmp_path)["4-2-generalisation"]
    assert recorded["computed"] is False and len(recorded["machine_mse"]) == 10
    committed, tolerances = nbformat.read(CHAPTER, as_version=4), comparison.read_tolerances(execution.ROOT)
    for one, other in zip(committed.cells, copy.cells, strict=True):
        if one.cell_type == "code":
            allowed = tolerances.get((CHAPTER.stem, one.id), {})
            assert not comparison.differences(one.outputs, other.outputs, allowed), one.source
