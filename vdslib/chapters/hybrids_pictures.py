"""The pictures of chapter 4.1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vdslib.chapters import hybrids, hybrids_study
from vdslib.figures import plots
from vdslib.forecasting import Ridge, Windows
from vdslib.networks import keras

NAMES = {
    "lstm": "LSTM",
    "gru": "GRU",
    "dlinear": "DLinear",
    "nlinear": "NLinear",
    "rlinear": "RLinear",
    "tsmixer": "TSMixer",
}


def late(telemetry: str, ahead: int = 15, rows: int = 310) -> Figure:
    """The first ``rows`` targets of the test part, and what was forecast ``ahead`` steps before by the last value and by a
    linear model that knows the time."""
    data = hybrids.data(telemetry, horizon=ahead)
    some = data.test.take(slice(0, rows))
    linear = Ridge().fit(data.train_full).forecast(some)
    step = some.steps()[some.node[0]]
    return plots.forecast(
        some.times + (ahead - 1) * step,
        data.to_units(some.y)[:, -1],
        {
            "last value": data.to_units(some.last),
            "linear, knows the time": data.to_units(linear)[:, -1],
        },
        ylabel=data.target,
    )


def over_steps(table: pd.DataFrame, title: str, level: Mapping[str, float] | None = None) -> Figure:
    """A line for each column of errors over the index of the table, on a logarithmic scale; ``level`` as ``plots.series``."""
    lines = {str(name): table[name].to_numpy() for name in table}
    axis = str(table.index.name)
    result = plots.series(table.index, lines, title=title, xlabel=axis, ylabel="MSE", level=level, log=True)
    if inside := result.axes[0].get_legend():
        inside.remove()  # it would hide lines
    result.legend(loc="outside lower center", ncols=4)
    return result


def called(network: str, units: str) -> str:
    """A row's name: its network, and its layers where there are several."""
    layers = units.count("-") + 1
    depth = f", {layers} layers" if layers > 1 and network == "lstm" else ""
    return NAMES.get(network, network) + depth


def architectures(rows: pd.DataFrame, step: int) -> Figure:
    """Each architecture of the study's rows with the time and the level, at one step, sorted by its error."""
    some = _at(rows, step)
    boosting = some.loc[some["network"] == "boosting", "mse"].iloc[0]
    networks = some[some["parameters"] > 0].sort_values("mse")
    table = {name: {"mean of five": each} for name, each in _ranges(networks)}
    return plots.dots(table, title=f"{step} steps ahead", xlabel="MSE", level={"boosting": float(boosting)})


def with_and_without(rows: pd.DataFrame, step: int) -> Figure:
    """The error of each architecture with the time and without, level kept, sorted by the former."""
    some = _at(rows, step).sort_values(["time", "mse"], ascending=[False, True])
    table: dict[str, dict[str, Any]] = {}
    for label, part in (("with the time", some[some["time"]]), ("without", some[~some["time"]])):
        for name, each in _ranges(part):
            table.setdefault(name, {})[label] = each
    return plots.dots(table, title=f"{step} steps ahead", xlabel="MSE", log=True)


def _at(rows: pd.DataFrame, step: int) -> pd.DataFrame:
    return rows[(rows["step"] == step) & (rows["level"] == "") & ~rows["nodes"]]


def _ranges(rows: pd.DataFrame) -> list[tuple[str, tuple[float, float, float]]]:
    """For each row its name, and the error of its mean forecast with the range of single seeds."""
    seeds = rows[hybrids_study.SEEDS]
    names = [called(*each) for each in rows[["network", "units"]].itertuples(index=False, name=None)]
    values = zip(rows["mse"], seeds.min(axis=1), seeds.max(axis=1), strict=True)
    return list(zip(names, values, strict=True))


def attention_weights(model: keras.Model, windows: Windows) -> np.ndarray:
    """[horizon, time steps]: how much each row of a window counts for each step, mean over ``windows``."""
    layer = model.get_layer("attention")
    inside = keras.Model(model.inputs, layer._inbound_nodes[0].input_tensors)
    asked, rows = inside([np.asarray(windows.x, "float32")])
    _, weights = layer([asked, rows], return_attention_scores=True)
    return keras.ops.convert_to_numpy(weights).mean(axis=0)


def ranges(measured: Mapping[str, Mapping[str, Any]], place: int) -> dict[str, dict[str, Sequence[float]]]:
    """For ``plots.dots``: the error of each mean forecast at the step of this place, with the range of single seeds."""
    return {
        name: {
            "mean forecast": (
                each["mse"][place],
                min(seed[place] for seed in each["seeds"]),
                max(seed[place] for seed in each["seeds"]),
            )
        }
        for name, each in measured.items()
    }
