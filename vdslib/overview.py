"""An experiment at a glance, for the report about its runs: effects of parameters, best settings, curves, failures."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdslib import experiments, plots, results, runs, scales
from vdslib.describe import number

__all__ = [
    "as_html",
    "caution",
    "compared",
    "curves",
    "effects",
    "examples",
    "failed_in_words",
    "failures",
    "groups",
    "meaning",
    "one_at_a_time",
    "origin",
    "plot_best",
    "plot_curves",
    "plot_effects",
    "summary",
    "time_in_words",
]

FEW = 12  # values that get a mark each; more are put into groups of equal size
LINES = 200  # curves in one figure
PACKAGES = ("tensorflow", "numpy", "scikit-learn")  # their versions are told even where all runs agree


def as_html(frame: pd.DataFrame) -> str:
    """A table for a page, numbers with four digits."""
    return frame.to_html(index=False, float_format=number, na_rep="", border=0)


# ------------------------------------------------------------------------------------------------ parameters


def ordered(values: Iterable[Any]) -> list[Any]:
    """Different values in their natural order: numbers by size, lists by their items, else as text."""

    def key(value: Any) -> tuple[Any, ...]:
        content = json.loads(value) if isinstance(value, str) and value.startswith("[") else [value]
        return tuple((0, item, "") if results.is_number(item) else (1, 0, str(item)) for item in content)

    return sorted(set(values), key=key)


def one_at_a_time(frame: pd.DataFrame, settings: Sequence[str]) -> dict[str, Any]:
    """The base setting of a plan that changes one parameter at a time; empty for another plan."""
    if len(settings) < 2:
        return {}
    base = {name: frame[name].mode(dropna=False).iloc[0] for name in settings}
    differing = sum((frame[name].astype(str) != str(base[name])).astype(int) for name in settings)
    return base if differing.max() <= 1 else {}


def compared(frame: pd.DataFrame, settings: Sequence[str], name: str) -> pd.DataFrame:
    """Runs that show the effect of a parameter: all, or those with the others at their base (`one_at_a_time`)."""
    base = one_at_a_time(frame, settings)
    same = np.ones(len(frame), bool)
    for other in base.keys() - {name}:
        same &= (frame[other].astype(str) == str(base[other])).to_numpy()
    return frame[same]


def groups(frame: pd.DataFrame, name: str, metric: str) -> pd.DataFrame:
    """Runs, median and quartiles of a result for each value of a parameter, or each of ten groups of many numbers.

    Columns: ``value`` (the middle one of a group), ``label``, ``runs``, ``low``, ``median``, ``high``.
    """
    values = frame[name]
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if numeric and values.nunique() > FEW:
        parts = [part for _, part in frame.groupby(pd.qcut(values, 10, duplicates="drop"), observed=True)]
        labels = [f"{number(part[name].min())} to {number(part[name].max())}" for part in parts]
    else:
        texts = values.astype(object).where(values.notna(), "none")
        parts = [frame[(texts == value).to_numpy()] for value in ordered(texts)]
        labels = [_label(texts[part.index[0]]) for part in parts]
    rows = [
        {
            "value": part[name].median() if numeric else place,
            "label": label,
            "runs": len(part),
            **dict(zip(("low", "median", "high"), part[metric].quantile([0.25, 0.5, 0.75]), strict=True)),
        }
        for place, (part, label) in enumerate(zip(parts, labels, strict=True))
    ]
    return pd.DataFrame(rows)


def _label(value: Any) -> str:
    text = number(value) if results.is_number(value) else str(value)
    return text if len(text) <= 18 else f"{text[:17]}…"


def effects(frame: pd.DataFrame, settings: Sequence[str], metric: str, largest: bool = False) -> pd.DataFrame:
    """Parameters, the one that moves the median of a result most first: its best and worst value, and the move."""
    rows = []
    for name in settings:
        found = groups(compared(frame, settings, name), name, metric).sort_values("median")
        first, last = found.iloc[0], found.iloc[-1]
        best, worst = (last, first) if largest else (first, last)
        rows.append(
            {
                "parameter": name,
                "values": frame[name].astype(str).nunique(),
                "best": best["label"],
                "median there": best["median"],
                "worst": worst["label"],
                "median at worst": worst["median"],
                "move": last["median"] - first["median"],
            }
        )
    return pd.DataFrame(rows).sort_values("move", ascending=False, ignore_index=True)


def _spans(values: Any) -> bool:
    """Whether numbers are all positive and span two decades, so that a logarithm shows them better."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    return bool(len(values)) and values.min() > 0 and values.max() / values.min() >= 100


def plot_effects(frame: pd.DataFrame, settings: Sequence[str], metric: str) -> Figure:
    """A panel for each parameter, on one scale: every run as a point, median and quartiles for each value."""
    height = -(-len(settings) // 2)
    fig, axes = plots.figure(height, min(2, len(settings)), height=2.9 * height, sharey=True, squeeze=False)
    told = []
    for ax, name in zip(axes.flat, settings, strict=False):
        part = compared(frame, settings, name)
        found = groups(part, name, metric)
        named = len(found) <= FEW and part[name].nunique() <= FEW
        numeric = pd.api.types.is_numeric_dtype(part[name]) and not pd.api.types.is_bool_dtype(part[name])
        _panel(ax, part, found, name, metric, numeric)
        told.append(
            f"{name}: "
            + ", ".join(f"{row.label} {number(row.median)}" for row in found.itertuples())
            + ("" if named else " (medians of groups)")
        )
    for ax in axes.flat[len(settings) :]:
        ax.set_axis_off()
    for ax in axes[:, 0]:
        ax.set_ylabel(_label(metric) if len(metric) > 30 else metric)
    if _spans(frame[metric]):
        axes[0][0].set_yscale("log")
    fig.set_label(f"Effect of each parameter on the median of {metric}. " + ". ".join(told) + ".")
    return fig


def _panel(ax: Axes, part: pd.DataFrame, found: pd.DataFrame, name: str, metric: str, numeric: bool) -> None:
    """One parameter: numbers at their place on the axis, other values side by side."""
    if numeric:
        x, place = part[name].to_numpy(float), found["value"].to_numpy(float)
        if _spans(x):
            ax.set_xscale("log")
        elif len(found) <= 6 and part[name].nunique() <= FEW:
            ax.set_xticks(place, found["label"])
    else:
        texts = part[name].astype(object).where(part[name].notna(), "none")
        x = texts.map({value: spot for spot, value in enumerate(ordered(texts))}).to_numpy(float)
        place = found["value"].to_numpy(float)
        step = -(-len(found) // 12)
        ax.set_xticks(place[::step], found["label"][::step])
        ax.set_xlim(-0.6, len(found) - 0.4)
        if sum(map(len, found["label"][::step])) > 32:
            ax.tick_params(axis="x", rotation=30)
    ax.scatter(x, part[metric], s=12, alpha=0.35, linewidths=0, color="#555555")
    spread = np.abs(found[["low", "high"]].to_numpy().T - found["median"].to_numpy())
    line = "-" if numeric else "none"
    ax.errorbar(
        place,
        found["median"],
        spread,
        marker="o",
        capsize=4,
        linestyle=line,
        linewidth=1.2,
        color=plots.COLOURS[0],
    )
    ax.set_xlabel(name)


# ------------------------------------------------------------------------------------------------ best settings


def setting_of(frame: pd.DataFrame, settings: Sequence[str]) -> pd.Series:
    """The setting of each run as text, which runs that differ in their seed alone share."""
    texts = frame[list(settings)].astype(str)
    return texts.agg(" | ".join, axis=1) if len(settings) else pd.Series("all", frame.index)


def plot_best(
    frame: pd.DataFrame, settings: Sequence[str], ranked: pd.DataFrame, metric: str, number_shown: int
) -> Figure:
    """The best settings by rank: every run as a point, their mean as a bar across."""
    fig, ax = plots.figure(height=3.2)
    keys, told = setting_of(frame, settings), []
    for rank, (_, row) in enumerate(ranked.head(number_shown).iterrows(), start=1):
        name = " | ".join(str(row[setting]) for setting in settings) if len(settings) else "all"
        values = frame.loc[keys == name, metric].dropna()
        ax.scatter([rank] * len(values), values, s=30, alpha=0.6, linewidths=0, color=plots.COLOURS[0])
        ax.plot(
            [rank - 0.25, rank + 0.25],
            [row["mean"]] * 2,
            color=plots.COLOURS[1],
            linestyle="-",
            label="mean" if rank == 1 else None,
        )
        told.append(
            f"rank {rank}: mean {number(row['mean'])} of {len(values)}, "
            f"from {number(values.min())} to {number(values.max())}"
        )
    ax.set_xticks(range(1, len(told) + 1))
    ax.set_xlim(0.4, max(len(told), 4) + 0.6)
    ax.set(xlabel="rank in the table below", ylabel=metric, title="best settings, a point for each run")
    ax.legend(loc="best")
    fig.set_label(f"The best settings by {metric}: " + "; ".join(told) + ".")
    return fig


# ------------------------------------------------------------------------------------------------ curves


def curves(experiment: str, out: str) -> dict[str, dict[str, list[list[float]]]]:
    """Curves of the finished runs: name of the result to run to its lines, one or one for each repetition."""
    place = runs.Place(out, experiment)
    done, found = results.read_all(place, runs.DONE), {}
    for run, recorded in results.read_all(place, "results.json").items():
        for name, value in results.leaves(results.recorded(recorded)) if run in done else ():
            if isinstance(value, list) and len(value) > 1 and results.is_curve(name):
                kept = [np.nan if item is None else float(item) for item in value]
                # numbered repetitions of one curve belong together
                found.setdefault(re.sub(r"\.\d+$", "", name), {}).setdefault(run, []).append(kept)
    return found


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
    told = [f"{len(drawn)} lines of other runs in grey"]
    for place, (label, members) in enumerate(groups.items()):
        several = [line for run in sorted(members) for line in lines.get(run, [])]
        for index, line in enumerate(several):
            style = {"color": plots.COLOURS[place], "linestyle": ("-", "--", "-.")[place % 3]}
            ax.plot(range(1, len(line) + 1), line, label=None if index else label, **style)
        if several:
            ends = [line[-1] for line in several if np.isfinite(line[-1])]
            told.append(
                f"{label}: {len(several)} lines"
                + (f" ending between {number(min(ends))} and {number(max(ends))}" if ends else "")
            )
    ax.set(title=name, xlabel="epoch", ylabel=name)
    ax.xaxis.get_major_locator().set_params(integer=True)
    if _spans([value for several in lines.values() for line in several for value in line]):
        ax.set_yscale("log")
    ax.legend(loc="best")
    fig.set_label(f"Line chart of {name} over epochs. " + "; ".join(told) + ".")
    return fig


# ------------------------------------------------------------------------------------------------ failures, origin


def failures(failed: pd.DataFrame) -> pd.DataFrame:
    """Failures by their error, the most frequent first; errors that differ in numbers alone are one."""
    kinds = failed["error"].str.replace(r"\d+(\.\d+)?", "…", regex=True)
    rows = [
        {"runs": len(part), "error of the first": part["error"].iloc[0], "its id": part["id"].iloc[0]}
        for _, part in failed.groupby(kinds, sort=False)
    ]
    columns = ["runs", "error of the first", "its id"]
    return pd.DataFrame(rows, columns=columns).sort_values("runs", ascending=False, ignore_index=True)


def origin(experiment: str, out: str, frame: pd.DataFrame) -> list[str]:
    """Sentences on what the runs came from: scale, code, versions, computer, and whether they differ in it."""
    place = runs.Place(out, experiment)
    environments = results.read_all(place, "environment.json")
    sentences = [_scale(place, frame)]
    known = list(environments.values())
    if not known:
        return [*sentences, "No run kept what it ran on."]
    commits = [
        (each.get("commit", "")[:7] or "no commit")
        + (" with uncommitted changes" if each.get("uncommitted_changes") else "")
        for each in known
    ]
    sentences.append(_counted("Code", commits))
    sentences.append(_counted("Python", [each.get("python", "unknown") for each in known]))
    packages = [each.get("packages", {}) for each in known]
    differing = sorted(
        name
        for name in set().union(*packages)
        if len({found.get(name) for found in packages}) > 1 and name != "vdslib"
    )
    same = [
        f"{name} {packages[0][name]}" for name in PACKAGES if name in packages[0] and name not in differing
    ]
    sentences.append(f"Packages: {', '.join(same)}." if same else "")
    for name in differing[:5]:
        sentences.append(_counted(name, [str(found.get(name, "none")) for found in packages]))
    sentences.append(
        f"**{len(differing)} packages differ between runs.**"
        if differing
        else "No package differs between runs."
    )
    sentences.append(_counted("Processor", [each.get("processor", "unknown") for each in known]))
    sentences.append(_counted("Threads", [str(each.get("threads", "unknown")) for each in known]))
    data = [json.dumps(each.get("data", {}), sort_keys=True) for each in known]
    sentences.append(
        "**The data differ between runs.**" if len(set(data)) > 1 else "All runs had the same data."
    )
    missing = len(frame) - len(known)
    sentences.append(f"{missing} runs kept nothing of this." if missing > 0 else "")
    return [sentence for sentence in sentences if sentence]


def _counted(name: str, values: Sequence[str]) -> str:
    counts = Counter(values).most_common()
    if len(counts) == 1:
        return f"{name}: {counts[0][0]}."
    return f"**{name} differs**: " + ", ".join(f"{value} ({count} runs)" for value, count in counts) + "."


def _scale(place: runs.Place, frame: pd.DataFrame) -> str:
    """The scale of an experiment, by the parameters that none of its runs varies."""
    abouts = {**results.read_all(place, runs.FAILED), **results.read_all(place, runs.DONE)}
    chapters = sorted({about["notebook"] for about in abouts.values()})
    if len(chapters) > 1:
        return f"**Runs of several notebooks**: {', '.join(chapters)}."
    (chapter,) = chapters
    usual = _defaults(place, list(abouts))
    if not usual:
        return f"Notebook: {chapter}; its default parameters are not known here."
    given = next(iter(results.read_all(place, "parameters.json").values()))
    fixed = {name: value for name, value in given.items() if frame[name].astype(str).nunique() == 1}
    other = scales.changed(usual, fixed)
    scale = scales.name(chapter, other)
    text = ", ".join(f"{name} {value}" for name, value in other.items())
    if scale:
        return f"Notebook: {chapter}, at the scale *{scale}*{f' ({text})' if text else ''} but for what was varied."
    return f"Notebook: {chapter}; other than its defaults, for all runs: {text}."


def _defaults(place: runs.Place, ids: Sequence[str]) -> dict[str, Any]:
    """Defaults of the notebook, from the executed copy of any run."""
    for run in ids[:5]:
        address = f"{place.folder(run)}/notebook.ipynb"
        if place.files.exists(address):
            try:
                return scales.defaults(json.loads(place.files.cat_file(address)))
            except (ValueError, experiments.NotebookError):
                continue
    return {}


# ------------------------------------------------------------------------------------------------ words


def summary(
    experiment: str, table: pd.DataFrame, settings: Sequence[str], metric: str, largest: bool
) -> list[str]:
    """What the experiment is: numbers of runs, the result that ranks, what was varied."""
    finished = table[table["state"] == "done"]
    end = "largest" if largest else "smallest"
    counts = f"{len(table)} runs, {len(finished)} done, {len(table) - len(finished)} failed"
    lines = [f"**{experiment}**: {counts}; ranked by `{metric}`, the {end} as the best."]
    if len(finished) and metric == "seconds":
        lines.append("The time that a run took stands in the place of a result.")
    if missing := int(finished[metric].isna().sum()):
        lines.append(f"**{missing} finished runs have no value of it** and are left out of what follows.")
    if settings:
        lines.append(f"Varied: {', '.join(f'`{name}`' for name in settings)}.")
    return lines


def meaning(done: pd.DataFrame, settings: Sequence[str]) -> str:
    """What points, dots and bars of the effects are, or why there are none."""
    if not len(done):
        return "No run with a result, so there is nothing to compare."
    if not settings:
        return "No parameter but seeds differs between runs with a result, so there is no effect to show."
    text = (
        "Each grey point is a run. A dot is the median of the runs with that value (of a tenth of the runs, where "
        f"there are more than {FEW} values), and its bar reaches from their lower to their upper quartile. "
    )
    if base := one_at_a_time(done, settings):
        values = ", ".join(f"`{name}` {value}" for name, value in base.items())
        return f"{text}One parameter changed at a time: each panel has the runs with all others at {values}."
    if len(settings) == 1:
        return f"{text}Within one value only the seed differs."
    return f"{text}Within one value the other parameters differ too, so a bar shows their effect and that of the seed."


def caution(ranked: pd.DataFrame) -> str:
    """How far the ranking can be trusted."""
    if not len(ranked):
        return "None, as no run has a result."
    if len(ranked) == 1:
        return f"There is one setting, run {ranked['count'].iloc[0]} times."
    if (ranked["count"] == 1).all():
        text = f"{len(ranked)} settings, **each run once**: nothing here tells merit from the luck of a seed."
    else:
        text = (
            f"{len(ranked)} settings; runs that differ in their seed alone are one setting, so spread is that over "
            "seeds. Settings that differ by less than their spread cannot be told apart."
        )
    return f"{text} The first of many owes its place in part to luck: judge it by other seeds and other data."


def failed_in_words(table: pd.DataFrame) -> str:
    """How many runs failed, and values with which every run did."""
    failed = table[table["state"] == "failed"]
    if not len(failed):
        return "None."
    text = (
        f"{len(failed)} of {len(table)} runs, by the last line of their error; errors that differ in numbers alone "
        "are one. `failed.json` of each run has its whole traceback."
    )
    always = []
    for name in results.varied(table):
        for value, part in table.groupby(table[name].astype(str))["state"]:
            if len(part) > 1 and (part == "failed").all() and len(part) < len(table):
                always.append(f"`{name}` {value} ({len(part)})")
    return f"{text} Values with which all runs failed: {', '.join(always[:8])}." if always else text


def time_in_words(finished: pd.DataFrame) -> str:
    """Wall time of the finished runs, and what of it lies beyond their cells."""
    if not len(finished):
        return "No run is finished."
    seconds, cells = finished["seconds"], finished["cell_seconds"].astype(float)
    total = seconds.sum()
    spent = f"{number(round(total / 3600, 2))} hours" if total >= 3600 else f"{total:.3g} s"
    text = (
        f"{spent} for {len(finished)} finished runs, all added up; the median is {seconds.median():.3g} s. "
    )
    if cells.isna().all():
        return f"{text}What part of it the cells took is not known, as no notebook was executed."
    return (
        f"{text}Cells take {cells.median():.3g} s of a run; {(seconds - cells).median():.3g} s lie beyond them: "
        "the start of a kernel, and files."
    )
