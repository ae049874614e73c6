"""The pictures of chapter 4.2, drawn from its table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from vdslib.chapters.generalisation import LIMIT, MACHINES, line, pick
from vdslib.figures import plots

_GREY = "#555555"
_TICKS = (0.001, 0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 100, 1000, 10_000, 100_000)
_NAMES = {"anchored": "the book's network", "textbook": "the paper's network"}


def _ratios(axis: Any, low: float, high: float) -> None:
    """A logarithmic axis of ratios with plain numbers at its ticks."""
    shown = [tick for tick in _TICKS if low <= tick <= high]
    if len(shown) > 7:
        shown = [tick for tick in shown if np.log10(tick) % 1 == 0]
    axis.set_major_locator(FixedLocator(shown))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def months(table: pd.DataFrame, machines: Sequence[str]) -> Figure:
    """A small chart for each machine: median usage of each day, and the band that holds the middle 80% of it."""
    count = -(-len(machines) // 2)
    fig, axes = plots.figure(count, 2, height=0.6 + 1.25 * count, sharex=True, squeeze=False)
    days = {name: pick(table, "days", name) for name in ("low", "median", "high")}
    for ax, name in zip(axes.T.ravel(), machines, strict=False):
        own = {kind: each[each["machine"] == name] for kind, each in days.items()}
        at = pd.to_datetime(own["median"]["at"]).to_numpy()
        ax.fill_between(at, own["low"]["value"], own["high"]["value"], alpha=0.3, linewidth=0)
        ax.plot(at, own["median"]["value"], label="median of the day")
        ax.set_title(f"{name}: {MACHINES.get(name, 'picked by you')}", size=9, loc="left")
        ax.set_ylim(bottom=0)
        locator = AutoDateLocator(maxticks=6)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        ax.tick_params(labelsize=9)
    for ax in axes.T.ravel()[len(machines) :]:
        ax.set_axis_off()
    fig.supylabel("usage of the processor, %", size=10)
    return fig


def against_persistence(steps: Mapping[int, Mapping[str, pd.DataFrame]]) -> Figure:
    """For each step ahead a panel: error over persistence of each model on each machine, as dots, with the interval of the
    first model. ``steps``: step to model to a table of ``generalisation.compared``."""
    machines = list(next(iter(next(iter(steps.values())).values())).index)
    fig, axes = plots.figure(1, len(steps), height=1.5 + 0.36 * len(machines), sharey=True, squeeze=False)
    for ax, (step, tables) in zip(axes[0], steps.items(), strict=True):
        for place, (model, found) in enumerate(tables.items()):
            _dots(ax, found, _NAMES.get(model, model), place)
        ax.axvline(1, color=_GREY, linestyle=":")
        ax.axvline(LIMIT, color=plots.COLOURS[1], linestyle=":")
        ax.set(
            xscale="log", title=f"{step} step{'s' * (step > 1)} ahead", xlabel="error / that of persistence"
        )
        _ratios(ax.xaxis, *ax.get_xlim())
    axes[0][0].set_yticks(range(len(machines)), machines)
    axes[0][0].set_ylabel("machine")
    axes[0][0].invert_yaxis()
    handles, labels = axes[0][0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return fig


def _dots(ax: Axes, found: pd.DataFrame, name: str, place: int) -> None:
    """One model's ratios as dots, those of the first with their intervals."""
    at = np.arange(len(found)) + 0.16 * (place - 1)
    colour = plots.COLOURS[place]
    if place == 0:
        ax.hlines(at, found["low"], found["high"], color=colour, linewidth=2)
    ax.scatter(found["ratio"], at, s=34, marker="os^Dv"[place], color=colour, label=name, zorder=3)


def heat(ratios: pd.DataFrame) -> Figure:
    """A matrix of errors over persistence: blue where better, orange where worse, the ratio written in."""
    values = np.log10(ratios.to_numpy(float))
    reach = min(2.0, float(np.nanmax(np.abs(values))) or 1.0)
    fig, ax = plots.figure(height=min(7.0, 1.6 + 0.42 * len(ratios)))
    image = ax.imshow(np.clip(values, -reach, reach), cmap="PuOr_r", vmin=-reach, vmax=reach, aspect="auto")
    bar = fig.colorbar(image, ax=ax, label="error / that of persistence")
    marks = [tick for tick in _TICKS if abs(np.log10(tick)) <= reach]
    bar.set_ticks([float(np.log10(tick)) for tick in marks], labels=[f"{tick:g}" for tick in marks])
    for (row, column), value in np.ndenumerate(ratios.to_numpy(float)):
        dark = abs(np.log10(value)) > 0.7 * reach
        text = f"{value:.2f}" if value < 10 else f"{value:,.0f}"
        ax.text(column, row, text, ha="center", va="center", size=8, color="white" if dark else "black")
    ax.set_xticks(range(ratios.shape[1]), ratios.columns)
    ax.set_yticks(range(len(ratios)), ratios.index)
    ax.set(xlabel="machine that is forecast", ylabel="machine learnt from")
    ax.grid(visible=False)
    return fig


def shares(ratios: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """Error over persistence of several models on each machine, as dots. ``names``: column to its label."""
    fig, ax = plots.figure(height=1.5 + 0.36 * len(ratios))
    for place, (model, name) in enumerate(names.items()):
        at = np.arange(len(ratios)) + 0.16 * (place - 1)
        ax.scatter(
            ratios[model], at, s=34, marker="os^Dv"[place], color=plots.COLOURS[place], label=name, zorder=3
        )
    ax.axvline(1, color=_GREY, linestyle=":")
    ax.set(xscale="log", xlabel="error / that of persistence", ylabel="machine")
    ax.set_yticks(range(len(ratios)), list(ratios.index))
    ax.invert_yaxis()
    _ratios(ax.xaxis, *ax.get_xlim())
    fig.legend(loc="outside lower center", ncols=len(names))
    return fig


def over_number(found: pd.DataFrame, names: Mapping[str, str], level: float) -> Figure:
    """Median error over persistence on machines never seen, over the number of machines learnt from (``by_number``)."""
    fig, ax = plots.figure()
    for place, (model, name) in enumerate(names.items()):
        each = found.loc[model]
        at = each.index.astype(int).to_numpy() * (1 + 0.03 * place)
        ax.errorbar(
            at, each["mean"], [each["mean"] - each["min"], each["max"] - each["mean"]],
            color=plots.COLOURS[place], marker="os"[place], capsize=4, label=name, linestyle=("-", "--")[place],
        )  # fmt: skip
    ax.axhline(1, color=_GREY, linestyle=":", label="persistence")
    ax.axhline(level, color=plots.COLOURS[2], linestyle=":", label="a line, from the machine's own past")
    ax.set(xscale="log", yscale="log", xlabel="machines learnt from", ylabel="error / that of persistence")
    numbers = sorted({int(each) for each in found.index.get_level_values("at")})
    ax.xaxis.set_major_locator(FixedLocator(numbers))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _ratios(ax.yaxis, *ax.get_ylim())
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def drift(table: pd.DataFrame, machine: str, strategies: Sequence[str]) -> Figure:
    """Error of each day under each strategy on one machine, a panel for each network; triangles: trained again."""
    networks = {"textbook": "the paper's network", "anchored": "the book's network"}
    fig, axes = plots.figure(2, 1, height=5.0, sharex=True, sharey=True)
    for ax, (model, title) in zip(axes, networks.items(), strict=True):
        for place, strategy in enumerate(strategies):
            daily = pick(table, "drift", f"mse {strategy}", machine=machine, model=model)
            ax.plot(pd.to_datetime(daily["at"]).to_numpy(), daily["value"].to_numpy(), label=strategy)
            again = pick(table, "drift", f"again {strategy}", machine=machine, model=model)
            if len(again):
                low = pick(table, "drift", f"mse {strategy}", machine=machine)["value"].min() / 2
                at = pd.to_datetime(again["at"]).to_numpy()
                ax.scatter(at, [low * (1 + place)] * len(at), marker="^", s=40, color=plots.COLOURS[place])
        ax.set(yscale="log", title=title, ylabel="error of the day (MSE)")
    locator = AutoDateLocator(maxticks=7)
    axes[1].xaxis.set_major_locator(locator)
    axes[1].xaxis.set_major_formatter(ConciseDateFormatter(locator))
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return fig


def growth(table: pd.DataFrame, quantities: Mapping[str, str], up_to: float) -> Figure:
    """What was measured over the number of nodes, and the straight line through the smaller sizes: a panel for each quantity."""
    fig, axes = plots.figure(2, 2, height=5.2, sharex=True)
    for ax, (quantity, title) in zip(axes.ravel(), quantities.items(), strict=True):
        found = pick(table, "growth", quantity)
        sizes, values = found["at"].astype(float).to_numpy(), found["value"].to_numpy()
        start, slope = line(sizes, values, up_to)
        ax.plot(
            [0, sizes.max()],
            [start, start + slope * sizes.max()],
            color=_GREY,
            linestyle="--",
            label="straight line",
        )
        fitted = sizes <= up_to
        ax.scatter(
            sizes[fitted], values[fitted], s=40, color=plots.COLOURS[0], label="measured, fitted to", zorder=3
        )
        ax.scatter(
            sizes[~fitted],
            values[~fitted],
            s=45,
            marker="D",
            color=plots.COLOURS[1],
            label="measured, to check",
            zorder=3,
        )
        ax.set_title(title, size=10)
        ax.set_ylim(bottom=0)
    for ax in axes[1]:
        ax.set_xlabel("nodes")
    handles, labels = axes[0][0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3)
    return fig
