"""Chapter 4.2 and its committed table: reproduced where the traces are at hand, enough where they are not."""

import comparison
import execution
import nbformat
import pandas as pd
import pytest
from traces_at_hand import need_traces

from vdslib import experiments
from vdslib.chapters import generalisation
from vdslib.errors import TelemetryError
from vdslib.forecasting import USAGES, prepare
from vdslib.networks import models, training
from vdslib.sources import read, traces

CHAPTER = execution.ROOT / "notebooks" / "4-2-generalisation.ipynb"
TABLE = generalisation.read_table(execution.ROOT / "data" / "generalisation.csv")


def test_one_machine_comes_out_as_in_the_committed_table():
    need_traces()
    defaults = {p.name: p.default for p in experiments.parameters(CHAPTER)}
    data = prepare(
        read("bitbrains:2013-8/306"),
        features=USAGES,
        target="cpu_usage",
        window=defaults["window"],
        horizon=1,
    )
    how = training.Settings(
        epochs=defaults["epochs"], batch_size=defaults["batch_size"], patience=defaults["patience"]
    )

    def build(seed):
        return models.build(
            "textbook", window=defaults["window"], features=4, outputs=1, units=[64, 32], seed=seed
        )

    parts = {"306": data}
    again = pd.concat([generalisation.describe(parts), generalisation.measure(parts, build, how, [1])])
    keys = ["machine", "window", "model", "seed", "quantity"]
    both = again.merge(TABLE, on=keys, suffixes=("", " committed"))
    assert len(both) == len(again) == 10
    simple = both[both["model"] != "lstm"]
    assert simple["value"].to_numpy() == pytest.approx(simple["value committed"].to_numpy(), rel=1e-4)
    assert both["value"].to_numpy() == pytest.approx(both["value committed"].to_numpy(), rel=0.1)


def test_the_table_has_every_machine_and_only_numbers_of_a_sane_size():
    errors = generalisation.by_model(TABLE, 10)
    assert len(errors) == 10 and (errors > 0).all(axis=None) and (errors < 1).all(axis=None)
    assert list(generalisation.by_model(TABLE, 14).index) == ["407"]


def test_a_seed_that_diverged_is_not_left_out_of_the_mean():
    lost = (TABLE["machine"] == "306") & (TABLE["seed"] == 2) & (TABLE["quantity"] == "mse")
    errors = generalisation.by_model(TABLE.assign(value=TABLE["value"].mask(lost)), 10)
    assert errors.loc["306", ["lstm", "lstm spread"]].isna().all() and errors.loc["306", "ridge"] > 0
    pd.testing.assert_frame_equal(errors.drop("306"), generalisation.by_model(TABLE, 10).drop("306"))


def test_the_committed_table_gives_the_machines_asked_for_and_refuses_what_it_lacks():
    path = execution.ROOT / "data" / "generalisation.csv"
    has = {"machines": ["332", "407"], "month": "2013-8", "window": 10, "horizon": 1}
    table = generalisation.committed(path, **has)
    assert generalisation.by_model(table, 10).index.tolist() == ["332", "407"]
    for name, value in {"machines": ["99"], "month": "2013-9", "window": 14, "horizon": 3}.items():
        with pytest.raises(TelemetryError, match=rf"{name}: .*generalisation\.csv.*VDS_TRACES"):
            generalisation.committed(path, **has | {name: value})


def test_the_table_survives_writing(tmp_path):
    generalisation.save_table(TABLE, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_bytes() == (
        execution.ROOT / "data" / "generalisation.csv"
    ).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


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
