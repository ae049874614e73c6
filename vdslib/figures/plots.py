"""Every figure of the book: one style, a digest of the plotted data, alternative text.

Functions that draw return a matplotlib ``Figure``; ``show`` displays it once and closes it. Figures are
made without pyplot's windows, so they look the same under any backend and none is shown twice.
The style is readable at a width of 700 pixels; colours are those of Okabe and Ito, which remain distinct
for colour-blind readers, and lines differ in their dashes too.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.dates import SECONDLY, AutoDateLocator
from matplotlib.figure import Figure

from vdslib.figures.diagrams import architecture, cell  # noqa: F401  # offered beside the plots
from vdslib.figures.words import alternative_text, digest

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, the ones with enough contrast on white first."""

_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)), (0, (1, 1)))
_WIDTH = 7.2  # inches; shown 700 pixels wide, 11 points are then about 15 pixels
_DPI = 150  # twice the pixels of the page, nearly, for sharp displays

matplotlib.rcParams.update(
    {
        "axes.prop_cycle": cycler(color=COLOURS) + cycler(linestyle=_DASHES),
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 12,
        "figure.constrained_layout.use": True,
        "figure.dpi": _DPI,
        "figure.figsize": (_WIDTH, 3.6),
        "font.size": 11,
        "grid.color": "#DDDDDD",
        "legend.edgecolor": "none",
        "legend.framealpha": 0.8,  # names stay legible where lines pass below
        "legend.fontsize": 10,
        "lines.linewidth": 1.6,
        "savefig.dpi": _DPI,
        "date.autoformatter.minute": "%H:%M",
        "date.autoformatter.second": "%H:%M:%S",
    }
)

Values = Any  # anything numpy turns into one dimension: array, list, Series


class Curves(Protocol):
    """A history of training, as ``training.fit`` returns it."""

    loss: list[float]
    val_loss: list[float]
    best_epoch: int | None


def figure(rows: int = 1, columns: int = 1, *, height: float = 3.6, **options: Any) -> tuple[Figure, Any]:
    """An empty figure in the book's style and its axes, as ``pyplot.subplots`` gives them.

    ``height`` in inches for the whole figure; ``options`` go to ``Figure.subplots`` (``sharex``, ...).
    """
    fig = Figure(figsize=(_WIDTH, height), layout="constrained")
    return fig, fig.subplots(rows, columns, **options)


def show(fig: Figure, alt: str | None = None, digest: bool = True) -> None:
    """Display ``fig`` as one picture with its alternative text, then close it.

    The text beside the picture is the digest of the plotted data, which nbval compares. ``alt`` replaces
    the alternative text made from the plotted data. ``digest=False``: for figures of live measurements,
    where nothing but the title can be compared.
    """
    from IPython.display import display
    from matplotlib import pyplot

    picture = io.BytesIO()
    fig.savefig(picture, format="png", dpi=_DPI, metadata={"Software": None})
    text = alt or str(fig.get_label()) or alternative_text(fig)
    display(
        {
            "image/png": base64.b64encode(picture.getvalue()).decode("ascii"),
            "text/plain": _digest(fig) if digest else _digest(fig).partition("\n")[0],
        },
        raw=True,
        metadata={"image/png": {"alt": text}},
    )
    pyplot.close(fig)


_digest = digest  # `show` has a parameter of that name


def badge(computed: bool) -> None:
    """Show, before results that need public traces, whether they were computed or come from a committed table.

    It is a picture, so that a run without traces compares with one that had them: the results themselves must agree.
    """
    text = (
        "computed from the traces in this run"
        if computed
        else "taken from a committed table: this run had no traces"
    )
    fig = Figure(figsize=(_WIDTH, 0.45))
    fig.suptitle("The numbers below:", x=0.02, y=0.5, ha="left", va="center", size=11)
    box = {"boxstyle": "round,pad=0.4", "facecolor": COLOURS[0 if computed else 1], "edgecolor": "none"}
    fig.text(0.29, 0.5, text, ha="left", va="center", color="white", weight="bold", bbox=box)
    show(fig, alt=f"Badge: the numbers below are {text}.", digest=False)


def _finish(axes: Axes, title: str, xlabel: str, ylabel: str, named: int) -> None:
    """Titles, labels, and a legend where there is more than one thing to tell apart."""
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    locator = axes.xaxis.get_major_locator()
    if isinstance(locator, AutoDateLocator):  # times with seconds are long: fewer of them
        locator.intervald[SECONDLY] = [1, 5, 10, 15, 30, 60]
        locator.maxticks[SECONDLY] = 7
    if named > 1:
        axes.legend(loc="best")


def loss_curves(
    histories: Mapping[str, Curves] | Curves,
    *,
    title: str = "",
    ylabel: str = "loss (MSE)",
    log: bool = False,
) -> Figure:
    """Training and validation loss over epochs (Fig. 2), one panel for each history, on one scale.

    A dotted upright line marks the epoch whose weights are used, where they were restored.
    """
    panels = histories if isinstance(histories, Mapping) else {"": histories}
    fig, axes = figure(1, len(panels), height=3.8, sharey=True, squeeze=False)
    for ax, (name, history) in zip(axes[0], panels.items(), strict=True):
        epochs = range(1, len(history.loss) + 1)
        ax.plot(epochs, history.loss, label="training")
        ax.plot(epochs[: len(history.val_loss)], history.val_loss, label="validation")
        if history.best_epoch is not None:
            ax.axvline(history.best_epoch, color="#555555", linestyle=":", label="weights used")
        if log:
            ax.set_yscale("log")
        ax.xaxis.get_major_locator().set_params(integer=True)
        _finish(ax, name, "epoch", ylabel if ax is axes[0][0] else "", 2)
    if title:
        fig.suptitle(title)
    return fig


def series(
    x: Values,
    lines: Mapping[str, Values],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    level: Mapping[str, float] | None = None,
    log: bool = False,
) -> Figure:
    """Lines over one x (times, epochs, lags): label to values. ``level``: label to height of level lines."""
    fig, ax = figure()
    _lines(ax, x, lines)
    for name, height in (level or {}).items():
        ax.axhline(height, color="#555555", linestyle=":", label=name)
    if log:
        ax.set_yscale("log")
    _finish(ax, title, xlabel, ylabel, len(lines) + len(level or {}))
    return fig


def _lines(ax: Axes, x: Values, lines: Mapping[str, Values]) -> None:
    """Plot each of ``lines`` over ``x``; dense lines thin and solid, since dashes blur."""
    dense = len(x) > 200
    for name, values in lines.items():
        style: dict[str, Any] = {"linewidth": 0.9, "linestyle": "-"} if dense else {}
        ax.plot(np.asarray(x), np.asarray(values, float), label=name, **style)


def panels(
    x: Values, rows: Mapping[str, Values | Mapping[str, Values]], *, title: str = "", xlabel: str = "time"
) -> Figure:
    """Panels above one another over one x: the y label of each to its values (or label to values)."""
    fig, axes = figure(len(rows), 1, height=1.0 + 1.5 * len(rows), sharex=True, squeeze=False)
    for number, (ax, (ylabel, content)) in enumerate(zip(axes[:, 0], rows.items(), strict=True)):
        lines = content if isinstance(content, Mapping) else {ylabel: content}
        _lines(ax, x, lines)
        _finish(ax, "", xlabel if number == len(rows) - 1 else "", ylabel, len(lines))
    fig.suptitle(title)
    return fig


def forecast(
    times: Values,
    actual: Values,
    forecasts: Mapping[str, Values],
    *,
    title: str = "",
    xlabel: str = "time",
    ylabel: str = "",
) -> Figure:
    """What happened, in black, and what each forecaster said; all of the length of ``times``."""
    fig, ax = figure()
    ax.plot(np.asarray(times), np.asarray(actual, float), color="black", linestyle="-", label="measured")
    for name, values in forecasts.items():
        ax.plot(np.asarray(times), np.asarray(values, float), label=name, linewidth=1.3)
    _finish(ax, title, xlabel, ylabel, 1 + len(forecasts))
    return fig


def bars(
    values: Mapping[str, float] | Mapping[str, Mapping[str, float]],
    *,
    errors: Mapping[str, float] | None = None,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    level: Mapping[str, float] | None = None,
) -> Figure:
    """Bars by name; with a mapping of mappings (group to name to value), bars side by side in groups.

    ``errors``: half length of the error bar by name (single bars only). ``level``: label to height of level lines.
    """
    fig, ax = figure()
    groups = [value for value in values.values() if isinstance(value, Mapping)]
    if groups:
        names = list(dict.fromkeys(name for group in groups for name in group))
        width = 0.8 / len(names)
        for place, name in enumerate(names):
            heights = [group.get(name, np.nan) for group in groups]
            offset = (place - (len(names) - 1) / 2) * width
            ax.bar(np.arange(len(groups)) + offset, heights, width, label=name)
        ax.set_xticks(range(len(groups)), list(values))
    else:
        names = list(values)
        spread = [errors.get(name, np.nan) for name in names] if errors else None
        if spread is not None and not np.isfinite(spread).any():
            spread = None
        ax.bar(range(len(names)), [float(values[name]) for name in names], 0.7, yerr=spread, capsize=4)  # type: ignore[arg-type]
        ax.set_xticks(range(len(names)), names)
    for name, height in (level or {}).items():
        ax.axhline(height, color="#555555", linestyle=":", label=name)
    _tilt(ax)
    _finish(ax, title, xlabel, ylabel, (len(names) if groups else 1) + len(level or {}))
    ax.grid(visible=False, axis="x")
    return fig


def _tilt(ax: Axes) -> None:
    """Turn the names under the bars when they would run into each other."""
    texts = [tick.get_text() for tick in ax.get_xticklabels()]
    if sum(len(text) + 2 for text in texts) > 75:
        for label in ax.get_xticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")


def dots(
    rows: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    title: str = "",
    xlabel: str = "",
    level: Mapping[str, float] | None = None,
    log: bool = False,
) -> Figure:
    """Values with their ranges, a line of the chart for each of ``rows`` (name to label to value, low, high).

    For what differs by little, where bars would look alike. ``level``: label to place of upright level lines.
    """
    fig, ax = figure(height=1.4 + 0.3 * len(rows))
    ax.set_label("dots")
    labels = list(dict.fromkeys(label for row in rows.values() for label in row))
    apart = 0.5 / max(1, len(labels))
    for number, label in enumerate(labels):
        place, parts = zip(
            *((n, row[label]) for n, row in enumerate(rows.values()) if label in row), strict=True
        )
        y = np.array(place) + (number - (len(labels) - 1) / 2) * apart
        value, low, high = np.array(parts, float).T
        ax.hlines(y, low, high, color=COLOURS[number], linewidth=1.4)
        ax.scatter(value, y, s=36, color=COLOURS[number], marker="os^D"[number % 4], label=label, zorder=3)
    for name, at in (level or {}).items():
        ax.axvline(at, color="#555555", linestyle=":", label=name)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.invert_yaxis()
    if log:
        ax.set_xscale("log")
    _finish(ax, title, xlabel, "", 0)
    fig.legend(loc="outside lower center", ncols=4)
    return fig


def histogram(
    groups: Mapping[str, Values],
    *,
    bins: int | Sequence[float] = 30,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "count",
) -> Figure:
    """How often values occur: label to values, drawn as outlines on common bins (NaN left out)."""
    fig, ax = figure()
    clean = {
        name: np.asarray(values, float)[np.isfinite(np.asarray(values, float))]
        for name, values in groups.items()
    }
    edges = np.histogram_bin_edges(np.concatenate(list(clean.values())), bins)
    for name, values in clean.items():
        counts = np.histogram(values, edges)[0]
        ax.plot(np.repeat(edges, 2), np.concatenate([[0], np.repeat(counts, 2), [0]]), label=name)
    ax.set_ylim(bottom=0)
    _finish(ax, title, xlabel, ylabel, len(clean))
    return fig


def scatter(
    points: Mapping[str, tuple[Values, Values]],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    diagonal: bool = False,
) -> Figure:
    """Points by label: ``(x, y)``; ``diagonal`` adds the line where both are equal."""
    fig, ax = figure(height=4.2)
    markers = "os^Dv"
    for place, (name, (x, y)) in enumerate(points.items()):
        size, alpha = (14, 0.6) if np.size(x) > 50 else (45, 1.0)
        marker = markers[place % len(markers)]
        ax.scatter(x, y, s=size, alpha=alpha, linewidths=0, marker=marker, label=name)
    if diagonal:
        ends = [max(ax.get_xlim()[0], ax.get_ylim()[0]), min(ax.get_xlim()[1], ax.get_ylim()[1])]
        ax.plot(ends, ends, color="#555555", linestyle=":", label="equal")
    _finish(ax, title, xlabel, ylabel, len(points) + diagonal)
    return fig


def heatmap(
    values: Values,
    *,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    unit: str = "",
    centred: bool = False,
) -> Figure:
    """A matrix ``[rows, columns]`` as colours, the values written in where there are few.

    ``centred``: a two-sided scale around 0, for what may be positive or negative.
    """
    matrix = np.asarray(values, float)
    fig, ax = figure(height=min(7.0, 1.6 + 0.45 * len(matrix)))
    reach = float(np.nanmax(np.abs(matrix))) if centred else None
    image = ax.imshow(
        matrix,
        aspect="auto",
        cmap="PuOr" if centred else "cividis",
        vmin=-reach if reach is not None else None,
        vmax=reach,
    )
    fig.colorbar(image, ax=ax, label=unit)
    if rows is not None:
        ax.set_yticks(range(len(rows)), rows)
    if columns is not None:
        step = -(-len(columns) // 20)  # with many columns not every one is named
        ax.set_xticks(range(0, len(columns), step), columns[::step])
        _tilt(ax)
    if matrix.size <= 100 and matrix.shape[1] <= 12:
        for (row, column), value in np.ndenumerate(matrix):
            shade = image.cmap(image.norm(value))
            dark = 0.299 * shade[0] + 0.587 * shade[1] + 0.114 * shade[2] < 0.5
            size = 11 if matrix.shape[1] <= 6 else 9
            ax.text(
                column,
                row,
                f"{value:.2g}",
                ha="center",
                va="center",
                size=size,
                color="white" if dark else "black",
            )
    ax.grid(visible=False)
    _finish(ax, title, xlabel, ylabel, 1)
    return fig
