"""What the report about an experiment draws: effects of parameters, best settings, curves."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdslib.experiments import results, storage
from vdslib.experiments.lost import is_curve
from vdslib.figures import number, plots

FEW = 12  # values that get a mark each; more are put into groups of equal size
LINES = 200  # curves in one figure


# ------------------------------------------------------------------------------------------------ parameters


def ordered(values: Iterable[Any]) -> list[Any]:
    """Different values in their natural order: numbers by size, lists by their items, else as text."""

    def key(value: Any) -> tuple[Any, ...]:
        content = json.loads(value) if isinstance(value, str) and value.startswith("[") else [value]
        return tuple((0, item, "") if results.is_number(item) else (1, 0, str(item)) for item in content)

    return sorted(set(values), key=key)


def one_at_a_time(frame: pd.DataFrame, settings: Sequence[str]) -> dict[str, str]:
    """The base setting, as text, of a plan that changes one parameter at a time; empty for another plan."""
    if len(settings) < 2:
        return {}
    texts = {name: results.texts(frame[name]) for name in settings}
    base = {name: values.mode().iloc[0] for name, values in texts.items()}
    differing = pd.DataFrame({name: values != base[name] for name, values in texts.items()}).sum(axis=1)
    return base if differing.max() <= 1 else {}


def compared(frame: pd.DataFrame, settings: Sequence[str], name: str) -> pd.DataFrame:
    """Runs that show the effect of a parameter: all, or those with the others at their base (``one_at_a_time``)."""
    base = one_at_a_time(frame, settings)
    same = np.ones(len(frame), bool)
    for other in base.keys() - {name}:
        same &= (results.texts(frame[other]) == base[other]).to_numpy()
    return frame[same]


def groups(frame: pd.DataFrame, name: str, metric: str) -> pd.DataFrame:
    """Runs, median and quartiles of a result for each value of a parameter, or each of ten groups of many numbers.

    Columns: ``value`` (the middle one of a group), ``label``, ``runs``, ``low``, ``median``, ``high``.
    """
    numeric = _on_an_axis(frame[name])
    rows = [
        {
            "value": part[name].median() if numeric else place,
            "label": label,
            "runs": len(part),
            **dict(zip(("low", "median", "high"), part[metric].quantile([0.25, 0.5, 0.75]), strict=True)),
        }
        for place, (label, part) in enumerate(_parts(frame, name))
    ]
    return pd.DataFrame(rows)


def _parts(frame: pd.DataFrame, name: str) -> list[tuple[str, pd.DataFrame]]:
    """Runs with each value of a parameter, or of each of ten groups of many numbers, by label; those without come last."""
    values = frame[name]
    if _numbers(values) and values.nunique() > FEW:
        groups = frame.groupby(pd.qcut(values, 10, duplicates="drop"), observed=True)
        parts = [(f"{number(part[name].min())} to {number(part[name].max())}", part) for _, part in groups]
    else:
        there = values[values.notna()].astype(object)
        parts = [(_label(value), frame.loc[there.index[there == value]]) for value in ordered(there)]
    without = frame[values.isna()]
    return parts + ([(results.texts(values)[without.index[0]], without)] if len(without) else [])


def _numbers(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _on_an_axis(values: pd.Series) -> bool:
    """Whether every value is a number, and so has its place on an axis."""
    return _numbers(values) and bool(values.notna().all())


def _label(value: Any) -> str:
    text = number(value) if results.is_number(value) else str(value)
    return text if len(text) <= 18 else f"{text[:17]}…"


def effects(frame: pd.DataFrame, settings: Sequence[str], metric: str, largest: bool = False) -> pd.DataFrame:
    """Parameters, the one that moves the median of a result most first: its best and worst value, and the move."""
    rows = []
    for name in settings:
        by_value = groups(compared(frame, settings, name), name, metric).sort_values("median")
        first, last = by_value.iloc[0], by_value.iloc[-1]
        best, worst = (last, first) if largest else (first, last)
        rows.append(
            {
                "parameter": name,
                "values": results.texts(frame[name]).nunique(),
                "best": best["label"],
                "median there": best["median"],
                "worst": worst["label"],
                "median at worst": worst["median"],
                "move": last["median"] - first["median"],
            }
        )
    return pd.DataFrame(rows).sort_values("move", ascending=False, ignore_index=True)


def _spans(values: Any) -> bool:
    """Whether numbers are all positive and span much more than one decade, so that a logarithm shows them better."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    return bool(len(values)) and values.min() > 0 and values.max() / values.min() >= 50


def plot_effects(
    frame: pd.DataFrame, settings: Sequence[str], metric: str, level: Mapping[str, float] | None = None
) -> Figure:
    """A panel for each parameter, on one scale: every run as a point, median and quartiles for each value.

    ``level``: label to height of level lines, in every panel.
    """
    height = -(-len(settings) // 2)
    fig, axes = plots.figure(height, min(2, len(settings)), height=2.9 * height, sharey=True, squeeze=False)
    parts = []
    for ax, name in zip(axes.flat, settings, strict=False):
        part = compared(frame, settings, name)
        by_value = groups(part, name, metric)
        named = part[name].nunique() <= FEW
        _panel(ax, part, by_value, name, metric)
        for label, reached in (level or {}).items():
            ax.axhline(reached, color="#555555", linestyle=":", label=label)
        medians = zip(by_value["label"], by_value["median"].map(number), strict=True)
        parts.append(f"{name}: {', '.join(map(' '.join, medians))}" + " (medians of groups)" * (not named))
    for ax in axes.flat[len(settings) :]:
        ax.set_axis_off()
    for ax in axes[:, 0]:
        ax.set_ylabel(_label(metric) if len(metric) > 30 else metric)
    if _spans(frame[metric]):
        axes[0][0].set_yscale("log")
    if level:
        axes[0][0].legend(handles=axes[0][0].lines[-len(level) :], loc="best")
        parts += [f"Level {label} at {number(reached)}" for label, reached in level.items()]
    fig.set_label(f"Effect of each parameter on the median of {metric}. " + ". ".join(parts) + ".")
    return fig


def _panel(ax: Axes, part: pd.DataFrame, by_value: pd.DataFrame, name: str, metric: str) -> None:
    """One parameter: numbers at their place on the axis, other values side by side."""
    numeric = _on_an_axis(part[name])
    if numeric:
        x, place = part[name].to_numpy(float), by_value["value"].to_numpy(float)
        if _spans(x):
            ax.set_xscale("log")
        elif len(by_value) <= 6 and part[name].nunique() <= FEW and _have_room(place, by_value["label"]):
            ax.set_xticks(place, by_value["label"])
    else:
        spots = {index: spot for spot, (_, rows) in enumerate(_parts(part, name)) for index in rows.index}
        x = part.index.map(spots).to_numpy(float)
        place = by_value["value"].to_numpy(float)
        step = -(-len(by_value) // 12)
        ax.set_xticks(place[::step], by_value["label"][::step])
        ax.set_xlim(-0.6, len(by_value) - 0.4)
        if sum(map(len, by_value["label"][::step])) > 32:
            ax.tick_params(axis="x", rotation=30)
    ax.scatter(x, part[metric], s=12, alpha=0.35, linewidths=0, color="#555555")
    spread = np.abs(by_value[["low", "high"]].to_numpy().T - by_value["median"].to_numpy())
    style: dict[str, Any] = {"marker": "o", "capsize": 4, "linestyle": "-" if numeric else "none"}
    ax.errorbar(place, by_value["median"], spread, color=plots.COLOURS[0], linewidth=1.2, **style)
    ax.set_xlabel(name)


def _have_room(places: np.ndarray, labels: Iterable[str]) -> bool:
    """Whether neighbouring labels at these places, in rising order, stay apart; a panel is some 38 letters wide."""
    lengths = np.array([len(label) for label in labels])
    gaps = np.diff(places) / max(np.ptp(places), 1e-300) * 38
    return bool((gaps > (lengths[1:] + lengths[:-1]) / 2 + 0.5).all())


# ------------------------------------------------------------------------------------------------ best settings


def setting_of(frame: pd.DataFrame, settings: Sequence[str]) -> pd.Series:
    """The setting of each run as text, which runs that differ in their seed alone share."""
    texts = frame[list(settings)].apply(results.texts)
    return texts.agg(" | ".join, axis=1) if len(settings) else pd.Series("all", frame.index)


def plot_best(
    frame: pd.DataFrame, settings: Sequence[str], ranked: pd.DataFrame, metric: str, number_shown: int
) -> Figure:
    """The best settings by rank: every run as a point, their mean as a bar across."""
    fig, ax = plots.figure(height=3.2)
    keys, parts = setting_of(frame, settings), []
    for rank, (_, row) in enumerate(ranked.head(number_shown).iterrows(), start=1):
        name = " | ".join(str(row[setting]) for setting in settings) if len(settings) else "all"
        values = frame.loc[keys == name, metric].dropna()
        ax.scatter([rank] * len(values), values, s=30, alpha=0.6, linewidths=0, color=plots.COLOURS[0])
        label = "mean" if rank == 1 else None
        ax.hlines(row["mean"], rank - 0.25, rank + 0.25, color=plots.COLOURS[1], label=label)
        parts.append(
            f"rank {rank}: mean {number(row['mean'])} of {len(values)}, "
            f"from {number(values.min())} to {number(values.max())}"
        )
    ax.set_xticks(range(1, len(parts) + 1))
    ax.set_xlim(0.4, max(len(parts), 4) + 0.6)
    ax.set(xlabel="rank in the table below", ylabel=metric, title="best settings, a point for each run")
    ax.legend(loc="best")
    fig.set_label(f"The best settings by {metric}: " + "; ".join(parts) + ".")
    return fig


# ------------------------------------------------------------------------------------------------ curves


def curves(experiment: str, out: str) -> dict[str, dict[str, list[list[float]]]]:
    """Curves of the finished runs: name of the result to run to its lines, one or one for each repetition."""
    place = storage.Place(out, experiment)
    done = place.read(storage.DONE)
    by_name: dict[str, dict[str, list[list[float]]]] = {}
    for run, recorded in place.read("results.json").items():
        for name, value in results.leaves(results.recorded(recorded)) if run in done else ():
            if isinstance(value, list) and len(value) > 1 and is_curve(name):
                kept = [np.nan if item is None else float(item) for item in value]
                # numbered repetitions of one curve belong together
                by_name.setdefault(re.sub(r"\.\d+$", "", name), {}).setdefault(run, []).append(kept)
    return by_name


def examples(
    done: pd.DataFrame, settings: Sequence[str], metric: str, largest: bool = False
) -> dict[str, set[str]]:
    """Ids of the runs of the best setting and, where there are at least three, of the median and the worst one."""
    keys = setting_of(done, settings)
    order = list(done.groupby(keys)[metric].mean().sort_values(ascending=not largest).index)
    places = {"best setting": 0, "median setting": len(order) // 2, "worst setting": len(order) - 1}
    names = list(places)[: 3 if len(order) >= 3 else min(1, len(order))]
    return {name: set(done.loc[keys == order[places[name]], "id"]) for name in names}


def plot_curves(
    lines: Mapping[str, list[list[float]]], chosen: Mapping[str, Iterable[str]], name: str
) -> Figure:
    """A curve of all runs in grey, with those of chosen groups (label to runs) in colour.

    With very many runs every n-th is drawn.
    """
    fig, ax = plots.figure(height=3.4)
    groups = {label: set(members) for label, members in chosen.items()}
    others = [
        line
        for run, several in lines.items()
        if not any(run in members for members in groups.values())
        for line in several
    ]
    drawn = others[:: -(-len(others) // LINES)] if others else []
    for line in drawn:
        ax.plot(range(1, len(line) + 1), line, color="#BBBBBB", linestyle="-", linewidth=0.7)
    parts = [f"{len(drawn)} lines of other runs in grey"]
    for place, (label, members) in enumerate(groups.items()):
        several = [line for run in sorted(members) for line in lines.get(run, [])]
        for index, line in enumerate(several):
            style = {"color": plots.COLOURS[place], "linestyle": ("-", "--", "-.")[place % 3]}
            ax.plot(range(1, len(line) + 1), line, label=None if index else label, **style)
        if several:
            ends = [line[-1] for line in several if np.isfinite(line[-1])]
            parts.append(
                f"{label}: {len(several)} lines"
                + (f" ending between {number(min(ends))} and {number(max(ends))}" if ends else "")
            )
    ax.set(title=name, xlabel="epoch", ylabel=name)
    ax.xaxis.get_major_locator().set_params(integer=True)
    if _spans([value for several in lines.values() for line in several for value in line]):
        ax.set_yscale("log")
    ax.legend(loc="best")
    fig.set_label(f"Line chart of {name} over epochs. " + "; ".join(parts) + ".")
    return fig
