"""A figure in words and numbers: the digest that is compared, and the alternative text that is read.

Both come from the artists of the finished figure, so they describe what was drawn and not what was
meant to be drawn. The digest states count, first, last, lowest, highest and mean of everything
plotted with four significant digits; nbval compares it, where it cannot compare pictures.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.dates import DateLocator, num2date
from matplotlib.figure import Figure

OVER_X = ("line", "points", "bars", "upright")  # kinds of which x is a place on the x axis
LEAST = 0.02  # a line rises or falls where its range is a larger share of its largest value
STEADY = 0.075  # a line stays near a value where its range is no larger a share of it


@dataclass(frozen=True)
class Drawn:
    """One set of values in a chart: its kind, its label (or ""), and its points."""

    kind: str
    label: str
    x: np.ndarray
    y: np.ndarray


def number(value: float, scale: float = 0.0) -> str:
    """``value`` with four significant digits; what is nothing beside ``scale`` is 0."""
    if not np.isfinite(value):
        return str(float(value))
    if abs(value) <= 1e-9 * scale:
        return "0"
    text = (
        f"{float(f'{value:.4g}'):.10f}".rstrip("0").rstrip(".")
        if 1e-4 <= abs(value) < 1e6
        else f"{value:.4g}"
    )
    return text or "0"


def _label(artist: object) -> str:
    """The label of an artist; matplotlib's own placeholders begin with an underscore."""
    label = str(artist.get_label())  # type: ignore[attr-defined]
    return "" if label.startswith("_") else label


def _drawn(axes: Axes) -> list[Drawn]:
    """What ``axes`` shows, in the order in which it was drawn within each kind."""
    things = []
    caps = {cap for bars in axes.containers if isinstance(bars, ErrorbarContainer) for cap in bars.lines[1]}
    for line in axes.lines:
        if line in caps:
            continue
        x, y = np.asarray(line.get_xdata(orig=False), float), np.asarray(line.get_ydata(orig=False), float)
        # A line across the whole chart is drawn by matplotlib in axes coordinates of one direction.
        spans = line.get_transform() in (axes.get_yaxis_transform("grid"), axes.get_xaxis_transform("grid"))
        if spans and len(x) == 2:
            kind = "upright" if x[0] == x[1] else "level"
            things.append(Drawn(kind, _label(line), x[:1], y[:1]))
        elif len(x):
            things.append(Drawn("line", _label(line), x, y))
    for bars in axes.containers:
        if isinstance(bars, BarContainer):
            upright = bars.orientation != "horizontal"
            size = [bar.get_height() if upright else bar.get_width() for bar in bars]
            place = [bar.get_center()[0 if upright else 1] for bar in bars]
            things.append(Drawn("bars", _label(bars), np.asarray(place, float), np.asarray(size, float)))
            if bars.errorbar is not None:
                ends = np.asarray(
                    [
                        np.asarray(path.vertices)[:, 1 if upright else 0]
                        for path in bars.errorbar.lines[2][0].get_paths()
                    ]
                )
                things.append(
                    Drawn("spread", _label(bars), np.asarray(place, float), np.ptp(ends, axis=1) / 2)
                )
    for points in axes.collections:
        if isinstance(points, PathCollection):
            x, y = np.ma.filled(np.ma.asarray(points.get_offsets(), float), np.nan).T
            sideways = axes.get_label() == "dots"  # named rows, with their values along x
            things.append(
                Drawn("dots", _label(points), y, x) if sideways else Drawn("points", _label(points), x, y)
            )
    for image in axes.images:
        values: np.ndarray = np.ma.filled(np.ma.asarray(image.get_array(), float), np.nan)
        things.append(Drawn("image", _label(image), np.asarray(values.shape, float), values.ravel()))
    return things


def _dated(axes: Axes) -> bool:
    return isinstance(axes.xaxis.get_major_locator(), DateLocator)


def _span(axes: Axes) -> tuple[float, float] | None:
    """First and last time of everything drawn over a time axis; None where the axis shows no times."""
    if not _dated(axes):
        return None
    x = np.concatenate([np.empty(0), *(drawn.x for drawn in _drawn(axes) if drawn.kind in OVER_X)])
    x = x[np.isfinite(x)]
    return (float(x.min()), float(x.max())) if len(x) else None


def _period(axes: Axes) -> str:
    """From when to when a time axis goes, with the date; empty where the axis shows no times."""
    span = _span(axes)
    if span is None:
        return ""
    first, last = (num2date(x) for x in span)
    days = [f"{when:%Y-%m-%d}" for when in (first, last)]
    times = [_clock(when, span) for when in (first, last)]
    return f"from {days[0]} {times[0]} to {days[1] + ' ' if days[1] != days[0] else ''}{times[1]}"


def _clock(when: datetime, span: tuple[float, float]) -> str:
    """The time of day; to the second where the axis is shorter than a day."""
    return when.strftime("%H:%M:%S" if span[1] - span[0] < 1 else "%H:%M")


def _places(axes: Axes) -> Callable[[float], str]:
    """What to call a place on the x axis: a number, or a time, with its date where the axis has several."""
    span = _span(axes)
    if span is None:
        return number
    several = num2date(span[0]).date() != num2date(span[1]).date()

    def at(x: float) -> str:
        when = num2date(x)
        return (f"{when:%Y-%m-%d} " if several else "") + _clock(when, span)

    return at


def _charts(figure: Figure) -> list[Axes]:
    """The axes of ``figure`` that are no colour bar."""
    bars = [image.colorbar.ax for axes in figure.axes for image in axes.images if image.colorbar]
    return [axes for axes in figure.axes if axes not in bars]


def _titles(figure: Figure) -> str:
    """The title of the whole figure, or of its only chart."""
    whole = figure.get_suptitle()
    charts = [axes.get_title() for axes in _charts(figure)]
    return whole or (charts[0] if len(charts) == 1 else "")


def _statistics(drawn: Drawn) -> str:
    """Count, first, last, lowest, highest and mean of the finite values."""
    values = drawn.y[np.isfinite(drawn.y)]
    if not len(values):
        return "n 0"
    scale = float(np.abs(values).max())
    named = {
        "first": values[0],
        "last": values[-1],
        "min": values.min(),
        "max": values.max(),
        "mean": values.mean(),
    }
    count = f"{int(drawn.x[0])} x {int(drawn.x[1])}" if drawn.kind == "image" else f"n {len(values)}"
    return ", ".join([count, *(f"{name} {number(value, scale)}" for name, value in named.items())])


def digest(figure: Figure) -> str:
    """The plotted data of ``figure`` as a few stable lines: one for each axes, one for each set of values."""
    lines = [f"Figure: {_titles(figure)}".rstrip(": ")]
    for place, axes in enumerate(_charts(figure), start=1):
        if not axes.axison:
            lines.append("  diagram: " + "; ".join(" ".join(text.get_text().split()) for text in axes.texts))
            continue
        at, across = _places(axes), " ".join(filter(None, ("x", axes.get_xlabel(), _period(axes))))
        names = [axes.get_title(), across, f"y {axes.get_ylabel()}".strip()]
        lines.append(f"axes {place}: " + ", ".join(name for name in names if name))
        for drawn in _drawn(axes):
            if drawn.kind == "level":
                statistics = f"y {number(float(drawn.y[0]))}"
            elif drawn.kind == "upright":
                statistics = f"x {at(float(drawn.x[0]))}"
            else:
                statistics = _statistics(drawn)
            lines.append(
                "  " + " ".join(part for part in (drawn.kind, drawn.label) if part) + f": {statistics}"
            )
    return "\n".join(lines)


def _shape(y: np.ndarray) -> str:
    """How a line goes as a whole: it "rises", "falls", "stays near" a value, or just "ranges".

    The word has to be true of all values, and must not hang on the last digits of a training. So a line rises or
    falls where its last part is apart from its begin by half of its range or more, its last value clearly, too,
    and no way back in between is as long.
    """
    reach, level = y.max() - y.min(), np.abs(y).max()
    count = min(len(y) // 3, 10) if len(y) > 5 else len(y)  # the median of three passes over one that is off
    parts = np.array([np.median(part) for part in np.array_split(y, count)])
    begin = np.median(y[: max(1, len(y) // 100)])
    moves = np.array([parts[-1] - begin, 2 * (y[-1] - y[0])])
    for word, way in (("rises", 1), ("falls", -1)):
        course = way * np.concatenate([[begin], parts])
        back = (np.maximum.accumulate(course) - course).max()
        if reach > LEAST * level and (way * moves >= reach / 2).all() and back < reach / 2:
            return word
    return "stays near" if reach <= STEADY * level else "ranges"


def _line_in_words(drawn: Drawn, at: Callable[[float], str]) -> str:
    """How a line goes: its shape, its ends and its extremes; of the words only the shape hangs on the values."""
    finite = np.isfinite(drawn.y)
    x, y = drawn.x[finite], drawn.y[finite]
    name = drawn.label or "The line"
    if not len(y):
        return f"{name} has no values."
    first, last, low, high, middle = (
        number(float(value), float(np.abs(y).max()))
        for value in (y[0], y[-1], y.min(), y.max(), np.median(y))
    )
    ends = f"{first} at {at(x[0])}", f"{last} at {at(x[-1])}"
    extremes = f"{low} at {at(x[y.argmin()])}", f"{high} at {at(x[y.argmax()])}"
    shape = _shape(y)
    if shape == "ranges":
        return f"{name} ranges from {extremes[0]} to {extremes[1]} (first {ends[0]}, last {ends[1]})."
    course = (
        f"{middle} from {at(x[0])} to {at(x[-1])}"
        if shape == "stays near"
        else f"from {ends[0]} to {ends[1]}"
    )
    return f"{name} {shape} {course} (lowest {extremes[0]}, highest {extremes[1]})."


def _bars_in_words(axes: Axes, drawn: Drawn, at: Callable[[float], str]) -> str:
    """The bars by name if there are few, else their range."""
    names = (
        {}
        if drawn.kind == "dots"
        else dict(zip(axes.get_xticks(), (tick.get_text() for tick in axes.get_xticklabels()), strict=False))
    )
    sideways = dict(
        zip(axes.get_yticks(), (tick.get_text() for tick in axes.get_yticklabels()), strict=False)
    )
    prefix = f"{drawn.label}: " if drawn.label else ""
    if len(drawn.y) <= 12:
        each = []
        for place, value in zip(drawn.x, drawn.y, strict=True):
            near = min(names or sideways, key=lambda tick: abs(tick - place), default=place)
            name = names.get(near) or sideways.get(near) or at(place)
            each.append(f"{name} {number(value)}")
        return prefix + ", ".join(each) + "."
    return f"{prefix}{len(drawn.y)} {drawn.kind} between {number(drawn.y.min())} and {number(drawn.y.max())}."


def _named(axes: Axes) -> tuple[str, str]:
    """The labels of both axes; where charts share one, only the outermost carries its label."""
    beside_x, beside_y = axes.get_shared_x_axes(), axes.get_shared_y_axes()
    x = axes.get_xlabel() or next(
        (name for other in beside_x.get_siblings(axes) if (name := other.get_xlabel())), ""
    )
    y = axes.get_ylabel() or next(
        (name for other in beside_y.get_siblings(axes) if (name := other.get_ylabel())), ""
    )
    return x, y


def _axes_in_words(axes: Axes) -> str:
    """One chart: its kind and axes, then everything in it."""
    sets = _drawn(axes)
    kinds = {drawn.kind for drawn in sets}
    order = {
        "bars": "Bar chart",
        "dots": "Dot chart",
        "image": "Heat map",
        "points": "Scatter chart",
        "line": "Line chart",
    }
    kind = next((name for kind, name in order.items() if kind in kinds), "Chart")
    x, y = _named(axes)
    over = f" over {x}" if x else ""
    if kind == "Dot chart":
        x, y, over = "", x, ""
    title = f" '{axes.get_title()}'" if axes.get_title() else ""
    period = f", {period}" if (period := _period(axes)) else ""
    words = [f"{kind}{title} of {y or 'values'}{over}{period}."]
    at = _places(axes)
    for drawn in sets:
        if drawn.kind == "line":
            words.append(_line_in_words(drawn, at))
        elif drawn.kind in ("bars", "dots"):
            words.append(_bars_in_words(axes, drawn, at))
        elif drawn.kind == "level":
            words.append(
                f"A level line at {number(float(drawn.y[0]))}{f' ({drawn.label})' if drawn.label else ''}."
            )
        elif drawn.kind == "upright":
            words.append(f"A mark at {at(float(drawn.x[0]))}{f' ({drawn.label})' if drawn.label else ''}.")
        elif drawn.kind == "spread":
            words.append(f"Error bars of up to {number(np.nanmax(drawn.y))} either side.")
        elif np.isfinite(drawn.y).any():
            low, high = number(np.nanmin(drawn.y)), number(np.nanmax(drawn.y))
            count = "cells" if drawn.kind == "image" else "points"
            words.append(f"{drawn.label or 'Values'}: {len(drawn.y)} {count} between {low} and {high}.")
    return " ".join(words)


def alternative_text(figure: Figure) -> str:
    """``figure`` in a few sentences computed from the plotted data, for readers who do not see it."""
    charts = [_axes_in_words(axes) for axes in _charts(figure) if _drawn(axes)]
    title = _titles(figure)
    lead = f"{title}. " if title and len(charts) != 1 else ""
    return lead + " ".join(charts) if charts else title or "Figure."
