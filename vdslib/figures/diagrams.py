"""Two drawn diagrams: the paper's architecture (Fig. 1) and the LSTM cell, in our own drawing."""

from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

SYMBOLS = (
    "telemetry",
    "scaling to [0, 1]",
    "SMOTE (classes only)",
    "windows [samples, time steps, features]",
    "training set",
    "LSTM layers",
    "forget gate f",
    "input modulation gate g",
    "input gate i",
    "cell state c",
    "output gate o",
    "dropout",
    "flattening",
    "dense layer",
    "output: forecast",
)
"""What the 15 symbols of Fig. 1 stand for, in order (section 3.1)."""

_DATA, _NETWORK, _GATE = "#D6EAF8", "#FDEBD0", "#D5F5E3"
_ARROW = {"arrowstyle": "-|>", "color": "#333333", "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0}


def _canvas(width: float, height: float, alt: str) -> tuple[Figure, Axes]:
    """An empty drawing area of ``width`` x ``height`` units, its alternative text as the figure's label."""
    fig = Figure(figsize=(7.2, 7.2 * height / width), layout="constrained", label=alt)
    axes = fig.subplots()
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.axis("off")
    return fig, axes


def _box(
    axes: Axes, x: float, y: float, width: float, height: float, text: str, colour: str, rounded: float = 0.12
) -> None:
    """A rounded box with its centre at (x, y)."""
    corner, style = (x - width / 2, y - height / 2), f"round,pad=0,rounding_size={rounded}"
    box = FancyBboxPatch(corner, width, height, boxstyle=style, facecolor=colour, edgecolor="#333333")
    axes.add_patch(box)
    if text:
        axes.text(x, y, text, ha="center", va="center", fontsize=10.5)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """A straight arrow."""
    axes.annotate("", xy=end, xytext=start, arrowprops=_ARROW)


def architecture() -> Figure:
    """The 15 symbols of Fig. 1: the data's way on the left, the network's on the right (section 3.1)."""
    alt = "Architecture for forecasting server load, 15 symbols in order: " + "; ".join(
        f"{number} {name}" for number, name in enumerate(SYMBOLS, start=1)
    )
    fig, axes = _canvas(12, 11, alt + ". Symbols 7 to 11 are the parts of each LSTM cell inside symbol 6.")
    label = [f"{number}  {name}" for number, name in enumerate(SYMBOLS, start=1)]
    label[3] = "4  windows [samples,\ntime steps, features]"
    data_x, network_x = 2.1, 8.2
    heights = [10.2, 8.2, 6.2, 4.2, 2.2]
    for text, y in zip(label[:5], heights, strict=True):
        _box(axes, data_x, y, 3.8, 1.1, text, _DATA)
    for above, below in pairwise(heights):
        _arrow(axes, (data_x, above - 0.55), (data_x, below + 0.55))
    _box(axes, 8.3, 8.45, 6.8, 4.7, "", _NETWORK, rounded=0.2)
    axes.text(network_x, 10.4, label[5], ha="center", va="center", fontsize=11.5, fontweight="bold")
    gates = [(6.55, 9.5), (9.85, 9.5), (6.55, 8.2), (9.85, 8.2), (network_x, 6.9)]
    for text, (x, y) in zip(label[6:11], gates, strict=True):
        _box(
            axes, x, y, 3.1, 0.85, text.replace("input modulation gate g", "input modulation\ngate g"), _GATE
        )
    steps = [5.0, 3.7, 2.4, 1.1]
    for text, y in zip(label[11:], steps, strict=True):
        _box(axes, network_x, y, 3.8, 0.85, text, _NETWORK)
    for above, below in zip([6.1, *[y - 0.425 for y in steps[:-1]]], [y + 0.425 for y in steps], strict=True):
        _arrow(axes, (network_x, above), (network_x, below))
    axes.plot([data_x + 1.9, 4.45, 4.45], [2.2, 2.2, 8.45], color="#333333", linewidth=1.3, linestyle="-")
    _arrow(axes, (4.45, 8.45), (4.9, 8.45))
    return fig


def cell() -> Figure:
    """One LSTM cell: how f, i, g and o make the new cell state c and the new output h at one time step."""
    fig, axes = _canvas(
        12,
        7.2,
        "An LSTM cell at one time step. The input x and the previous output h feed four gates: f, i and o with a "
        "sigmoid, g with tanh. The cell state c is multiplied by f, then i times g is added; the new output h is o "
        "times tanh of the new cell state.",
    )
    axes.plot([0.9, 10.6], [6.0, 6.0], color="#0072B2", linewidth=3, linestyle="-")
    _arrow(axes, (10.5, 6.0), (11.0, 6.0))
    for x, y, sign in ((3.0, 6.0, "x"), (6.0, 6.0, "+"), (6.0, 4.3, "x"), (9.4, 3.6, "x")):
        axes.add_patch(Circle((x, y), 0.33, facecolor="white", edgecolor="#333333", zorder=3))
        axes.text(x, y, {"x": "\u00d7", "+": "+"}[sign], ha="center", va="center", fontsize=14, zorder=4)
    gates = {3.0: "f\nsigmoid", 5.1: "i\nsigmoid", 6.9: "g\ntanh", 8.6: "o\nsigmoid"}
    for x, text in gates.items():
        _box(axes, x, 2.5, 1.4, 1.0, text, _GATE)
        _arrow(axes, (x, 1.1), (x, 2.0))
    axes.plot([0.9, 8.6], [1.1, 1.1], color="#333333", linewidth=1.6, linestyle="-")
    _arrow(axes, (3.0, 3.0), (3.0, 5.67))
    _arrow(axes, (5.1, 3.0), (5.75, 4.07))
    _arrow(axes, (6.9, 3.0), (6.25, 4.07))
    _arrow(axes, (6.0, 4.63), (6.0, 5.67))
    _arrow(axes, (8.6, 3.0), (9.16, 3.37))
    _box(axes, 9.4, 4.9, 1.2, 0.7, "tanh", _GATE)
    _arrow(axes, (9.4, 6.0), (9.4, 5.25))
    _arrow(axes, (9.4, 4.55), (9.4, 3.93))
    _arrow(axes, (9.73, 3.6), (11.0, 3.6))
    _arrow(axes, (2.0, 0.35), (2.0, 1.1))
    names = {"c_{t-1}": (0.45, 6.0), "c_t": (11.4, 6.0), "h_{t-1}": (0.45, 1.1), "h_t": (11.4, 3.6)}
    for name, (x, y) in {**names, "x_t": (2.0, 0.15)}.items():
        axes.text(x, y, f"${name}$", ha="center", va="center", fontsize=13)
    axes.text(6.0, 6.7, "cell state", ha="center", va="center", color="#0072B2")
    return fig
