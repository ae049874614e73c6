"""Runs for MLflow: what becomes of parameters and results, and, where MLflow is installed, each run once."""

import json
import sys

import pytest
import stub_runs

from vdslib.cli import main
from vdslib.experiments import mlflow_export, results, runs


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Three runs in the current folder: two done, one failed."""
    monkeypatch.chdir(tmp_path)
    for variable in ("MLFLOW_ALLOW_FILE_STORE", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(variable, "")  # so that it is as before afterwards
    subject = runs.subject(stub_runs.write_notebook(tmp_path / "stub.ipynb"))
    made = [subject.run(given) for given in ({"number": 1}, {"number": 2}, {"number": 3, "fault": "error"})]
    for run in made:
        runs.perform(run, "runs", "stub", executor=with_curve)
    return made


def with_curve(run, folder, variables):
    stub_runs.without_kernel(run, folder, variables)
    number = run.parameters["number"]
    curve, of = [1.0, None, number / 7], {"mse": [1, 2], "half": 0.5}
    recorded = {"value": number / 3, "none": None, "fit": True, "loss": curve, "of": of}
    (folder / "results.json").write_text(json.dumps({"stub": recorded}))


def test_numbers_become_metrics_and_lists_of_them_histories_by_place():
    recorded = {
        "a": 1,
        "b": {"c?d": 2.5, "c!d": 3, "none": None, "true": True, "word": "x"},
        "loss": [[1.0, None, 0.5], [2.0]],
        "table": [{"x": 1}],
        "empty": [],
    }
    assert mlflow_export.histories(recorded) == {
        "a": [(0, 1.0)],
        "b.c_d": [(0, 2.5)],
        "b.c_d_2": [(0, 3.0)],
        "loss.0": [(0, 1.0), (2, 0.5)],
        "loss.1": [(0, 2.0)],
    }


def test_parameters_become_texts_within_mlflows_limits():
    given = {"units": [64, 32], "rate": 0.1, "deep": True, "none": None, "name": "x", "n" * 300: "y" * 7000}
    found = mlflow_export.texts(given, mlflow_export.PARAMETER)
    assert [found[name] for name in ("units", "rate", "deep", "none", "name")] == [
        "[64, 32]",
        "0.1",
        "true",
        "null",
        "x",
    ]
    name, text = found.popitem()
    assert len(name) <= 250 and len(text) == 6000 and text.endswith("...")


def test_without_mlflow_one_line_says_what_to_install(made, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert main(["results", "stub", "--mlflow", "store"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "pip install mlflow-skinny" in said


def exported(capsys):
    """What the command says; the runs in MLflow's store by our id, each there once."""
    from mlflow import MlflowClient

    assert main(["results", "stub", "--mlflow", "store"]) == 0
    client = MlflowClient(tracking_uri="store", registry_uri="store")
    found = client.search_runs([client.get_experiment_by_name("stub").experiment_id])
    by_id = {run.data.tags["vds.id"]: run for run in found}
    assert len(by_id) == len(found)
    return capsys.readouterr().out, by_id, client


def test_mlflow_has_every_run_once_with_the_values_of_the_table(made, capsys):
    pytest.importorskip("mlflow")
    said, found, client = exported(capsys)
    assert "wrote 3 runs to store; 0 were there already" in said
    frame = results.table("stub").set_index("id")
    assert set(found) == set(frame.index)
    for name, run in found.items():
        row, about = frame.loc[name], run.info
        assert run.data.params["number"] == str(row["number"])
        assert about.status == {"done": "FINISHED", "failed": "FAILED"}[row["state"]]
        assert about.end_time - about.start_time == pytest.approx(row["seconds"] * 1000, abs=2)
        if row["state"] == "failed":
            assert "number 3 does not work" in run.data.tags["vds.error"]
            assert set(run.data.metrics) == {"vds.seconds"}
            continue
        assert run.data.metrics["value"] == row["value"]
        assert run.data.metrics["of.mse.mean"] == row["of.mse.mean"] == 1.5
        assert set(run.data.metrics) == {
            *("value", "loss", "of.mse", "of.mse.mean", "of.mse.std", "of.half", "vds.seconds")
        }
        assert run.data.tags["result.fit"] == "true" and "none" not in run.data.metrics
        history = client.get_metric_history(about.run_id, "loss")
        assert sorted((point.step, point.value) for point in history) == [(0, 1.0), (2, row["number"] / 7)]
        assert {item.path for item in client.list_artifacts(about.run_id)} >= {"results.json", "run.json"}


def test_a_second_export_writes_what_is_new_or_was_repeated_or_cut_off(made, capsys):
    pytest.importorskip("mlflow")
    _, first, client = exported(capsys)
    assert "wrote 0 runs to store; 3 were there already" in exported(capsys)[0]
    runs.perform(made[0], "runs", "stub", executor=with_curve)
    client.update_run(first[made[1].id].info.run_id, status="RUNNING")
    said, second, _ = exported(capsys)
    assert "wrote 2 runs to store; 1 were there already" in said
    kept = {name for name in first if first[name].info.run_id == second[name].info.run_id}
    assert kept == {made[2].id}
