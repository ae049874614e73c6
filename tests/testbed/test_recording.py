"""The recording that comes with the book: whole, worth learning from, and as its datasheet says."""

import re

import numpy as np
import pandas as pd
import pytest

from vdslib import files, telemetry
from vdslib.chapters import forecastability
from vdslib.testbed import recorder, workload

DATA = files.root() / "data"
FIGURE = r"([\d.,]+)"


@pytest.fixture(scope="module")
def frame():
    return telemetry.read("recorded")


@pytest.fixture(scope="module")
def system(frame):
    return telemetry.system_series(frame)


@pytest.fixture(scope="module")
def sheet():
    return (DATA / "README.md").read_text(encoding="utf-8")


def figures(sheet, row):
    """The numbers that the datasheet gives in the table row that begins with ``row``."""
    line = next(line for line in sheet.splitlines() if line.startswith(f"| {row} |"))
    return [float(number.replace(",", "")) for number in re.findall(r"\d[\d.,]*", line[len(row) + 3 :])]


def test_it_is_one_piece_of_at_least_90_minutes(frame, system):
    assert list(frame) == list(telemetry.COLUMNS)
    assert sorted(set(frame["node"])) == [f"node-{number}" for number in range(1, recorder.NODES + 1)]
    assert len(system) >= 90 * 60 and len(frame) == recorder.NODES * len(system)
    assert (system["timestamp"].diff().dropna() == pd.Timedelta("1s")).all()
    assert len(system) >= 4 * workload.WEEK and workload.WEEK <= 20 * 60
    assert (DATA / "vds_data.csv").stat().st_size < 5e6


def test_it_has_the_plan_and_the_load_of_the_seed_in_its_command(system, sheet):
    seed = int(re.search(r"`vds record .*--seed (\d+)`", sheet)[1])
    plan = workload.exploration_plan(len(system), seed, recorder.NODES)
    in_force = np.searchsorted([step.start for step in plan], np.arange(len(system)), side="right") - 1
    for name in ("active_nodes", "strategy", "slots"):
        assert list(system[name]) == [getattr(plan[step], name) for step in in_force]
    load = workload.jobs(len(system), seed)
    offered = np.bincount(load.arrival.astype(int), minlength=len(system))
    np.testing.assert_array_equal(system["jobs_offered"], offered)


def test_its_target_moves_enough_to_be_worth_a_forecast(system):
    table = forecastability.bounds(system)
    assert table["met"].all(), table.to_string()


def test_there_is_something_to_learn(system):
    table = forecastability.predictability(system)
    assert len(table) == 4
    gains = table[["gain over persistence", "gain over mean"]].min(axis=1)
    assert gains.max() >= 0.1, table.to_string()


def test_the_datasheet_has_the_figures_of_the_file(system, sheet):
    part = system["system_productivity"].iloc[len(system) - round(0.2 * len(system)) :].dropna()
    assert figures(sheet, "`system_productivity`, 5th and 95th percentile")[-2:] == pytest.approx(
        list(np.percentile(part, [5, 95])), abs=0.6
    )
    assert figures(sheet, "seconds below 80 percent")[0] == pytest.approx(100 * (part < 80).mean(), abs=0.6)
    assert figures(sheet, "seconds at 95 percent or more")[0] == pytest.approx(
        100 * (part >= 95).mean(), abs=0.6
    )
    for row in forecastability.predictability(system).to_dict("records"):
        shares = [row["mean"] / row["persistence"], row["ridge"] / row["persistence"]]
        found = figures(sheet, f"`{row['target']}` | {row['horizon']}")
        assert found == pytest.approx([1, *shares], abs=0.006), row


def test_capacity_grows_with_the_nodes(sheet):
    table = pd.read_csv(DATA / "capacity.csv")
    assert list(table["nodes"]) == list(range(1, recorder.NODES + 1))
    single = table["jobs_per_second"].iloc[0]
    np.testing.assert_allclose(table["jobs_per_second"] / (table["nodes"] * single), 1, atol=0.1)
    line = re.search(rf"with 1 to 4 active nodes: {', '.join([FIGURE] * 4)}\.$", sheet, re.MULTILINE)
    assert [float(number) for number in line.groups()] == pytest.approx(table["jobs_per_second"], abs=0.06)


def test_strategy_and_slots_move_latency_by_more_than_seeds_do():
    table = pd.read_csv(DATA / "latency_by_configuration.csv")
    assert set(table["strategy"]) == set(workload.STRATEGIES) and table["seed"].nunique() >= 3
    runs = table.groupby(["strategy", "slots"])["latency_p95"]
    spread = (runs.max() - runs.min()).mean()
    for name in ("strategy", "slots"):
        means = table.groupby(name)["latency_p95"].mean()
        assert means.max() - means.min() > spread, name
