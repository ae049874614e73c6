"""Figures: the digest follows the plotted data, the alternative text tells it, show displays once."""

import base64
import re
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot

from vdslib.figures import alternative_text, diagrams, digest, number, plots, words

HISTORY = SimpleNamespace(loss=[0.04, 0.02, 0.01], val_loss=[0.05, 0.02, 0.03], best_epoch=2)
TIMES = np.datetime64("2026-01-05T08:00:00") + np.arange(5).astype("timedelta64[s]")
MATRIX = np.arange(6.0).reshape(2, 3)

FIGURES = {
    "loss_curves": lambda k: plots.loss_curves(
        SimpleNamespace(loss=[k * 0.04, 0.02], val_loss=[0.05, 0.02], best_epoch=None)
    ),
    "series": lambda k: plots.series(TIMES, {"cpu": [1, 2, k * 3, 2, 1]}, title="CPU", level={"limit": 2}),
    "panels": lambda k: plots.panels(TIMES, {"cpu": [1, 2, k * 3, 2, 1], "rest": {"a": TIMES - TIMES[0]}}),
    "forecast": lambda k: plots.forecast(TIMES, [1, 2, 3, 2, 1], {"ridge": [1, 2, k * 2, 2, 2]}),
    "bars": lambda k: plots.bars({"ridge": k * 0.2, "mean": 0.4}),
    "spread": lambda k: plots.bars({"ridge": 0.2, "mean": 0.4}, errors={"ridge": k * 0.1}),
    "groups": lambda k: plots.bars({"fold 1": {"a": k * 1.0, "b": 2.0}, "fold 2": {"a": 3.0, "b": 4.0}}),
    "histogram": lambda k: plots.histogram({"cpu": [1, 2, 2, 3, 1.9 * k]}, bins=[0, 1, 2, 3, 4]),
    "scatter": lambda k: plots.scatter({"cpu": ([1, 2, 3], [1, 2, k * 3])}, diagonal=True),
    "heatmap": lambda k: plots.heatmap(k * MATRIX, rows=["a", "b"], columns=["x", "y", "z"], unit="ms"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_the_digest_follows_the_data(name):
    figure = FIGURES[name](1)
    assert digest(figure) == digest(FIGURES[name](1))
    assert digest(figure) != digest(FIGURES[name](1.2))
    assert alternative_text(figure) != alternative_text(FIGURES[name](1.2))
    assert 30 < len(alternative_text(figure)) < 1000


def test_digest_of_loss_curves():
    lines = digest(plots.loss_curves({"plain": HISTORY, "guarded": HISTORY}, title="Fig. 2")).splitlines()
    assert lines[0] == "Figure: Fig. 2" and len(lines) == 9
    assert lines[1] == "axes 1: plain, x epoch, y loss (MSE)"
    assert lines[2] == "  line training: n 3, first 0.04, last 0.01, min 0.01, max 0.04, mean 0.02333"
    assert lines[4] == "  upright weights used: x 2"


def test_alternative_text_is_read_from_the_data():
    text = alternative_text(plots.loss_curves(HISTORY))
    assert "training falls from 0.04 at 1 to 0.01 at 3 (lowest 0.01 at 3, highest 0.04 at 1)." in text
    assert "validation falls from 0.05 at 1 to 0.03 at 3 (lowest 0.02 at 2, highest 0.05 at 1)." in text
    bars = alternative_text(
        plots.bars({"ridge": 0.2, "mean": 0.4}, title="Errors", ylabel="MSE", level={"goal": 0.05})
    )
    assert bars == "Bar chart 'Errors' of MSE. A level line at 0.05 (goal). ridge 0.2, mean 0.4."
    grouped = alternative_text(FIGURES["groups"](1))
    assert "a: fold 1 1, fold 2 3." in grouped and "b: fold 1 2, fold 2 4." in grouped


def test_a_time_axis_has_its_dates():
    figure = plots.series(TIMES, {"cpu": [1, 2, 3, 4, 5]}, xlabel="time", ylabel="percent")
    assert alternative_text(figure) == (
        "Line chart of percent over time, from 2026-01-05 08:00:00 to 08:00:04. "
        "cpu rises from 1 at 08:00:00 to 5 at 08:00:04 (lowest 1 at 08:00:00, highest 5 at 08:00:04)."
    )
    assert digest(figure).splitlines()[1] == (
        "axes 1: x time from 2026-01-05 08:00:00 to 08:00:04, y percent"
    )
    days = TIMES[0] + np.arange(30 * 24).astype("timedelta64[h]")
    month = plots.series(days, {"cpu": np.arange(30 * 24)}, xlabel="time", ylabel="percent")
    month.axes[0].axvline(days[24], label="change")
    text = alternative_text(month)
    assert "over time, from 2026-01-05 08:00 to 2026-02-04 07:00." in text
    assert "from 0 at 2026-01-05 08:00 to 719 at 2026-02-04 07:00" in text
    assert "A mark at 2026-01-06 08:00 (change)." in text
    assert "upright change: x 2026-01-06 08:00" in digest(month)
    assert digest(month) != digest(plots.series(days + np.timedelta64(1, "D"), {"cpu": np.arange(30 * 24)}))
    empty = plots.series(days, {"cpu": np.full(30 * 24, np.nan)}, xlabel="time")
    assert "cpu has no values." in alternative_text(empty)


DAYS = np.arange(30 * 288)  # in steps of five minutes
RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (50 + 30 * np.sin(2 * np.pi * DAYS / 288), "ranges from"),  # ends where it began
        (RANDOM.exponential(0.4, 1080), "ranges from"),
        (np.where(DAYS % 1000 < 500, 100.0, 9.0), "ranges from"),
        (np.cos(3 * np.pi * DAYS / DAYS[-1]), "ranges from"),  # ends low, but has come back on the way
        ([*range(10), *range(10, -1, -1)], "ranges from"),
        (np.where(DAYS == 5000, 20.0, 5.0), "ranges from"),
        (20 + RANDOM.uniform(-0.2, 0.2, 500), "stays near 20"),
        (np.full(9, 3.0), "stays near 3"),
        (np.zeros(9), "stays near 0"),
        ([5.0], "stays near 5"),
        (DAYS / 100 + np.sin(2 * np.pi * DAYS / 288), "rises from"),
        (0.012 + 0.04 * np.exp(-np.arange(20)), "falls from"),  # most of a training is its floor
        (0.012 + 0.04 * np.exp(-np.arange(20)) + 0.0005 * np.maximum(0, np.arange(20) - 9), "falls from"),
        (-np.arange(5.0), "falls from"),
    ],
)
def test_the_word_for_a_line_is_true_of_all_of_it(values, word):
    assert f"cpu {word}" in alternative_text(plots.series(range(len(values)), {"cpu": values}))


@pytest.mark.parametrize("epochs", [8, 20, 50])
@pytest.mark.parametrize(("begin", "floor"), [(0.05, 0.012), (0.019, 0.017), (0.7, 0.85), (3.0, 3.0)])
@pytest.mark.parametrize("rate", [0.5, 0.2])
def test_the_words_of_a_training_do_not_hang_on_its_last_digits(epochs, begin, floor, rate):
    random = np.random.default_rng(0)
    curve = floor + (begin - floor) * np.exp(-rate * np.arange(epochs))
    changed = 0
    for _ in range(100):
        again = curve * (1 + 0.01 * random.uniform(-1, 1, epochs))
        off = np.append(again[:-1], again[-1] * random.choice([0.95, 1.05]))
        changed += sum(words._shape(values) != words._shape(curve) for values in (again, again[:-1], off))
    assert changed <= 15, f"{changed} of 300 read otherwise"


def test_only_the_shape_of_a_line_chooses_its_words():
    texts = {
        re.sub(r"[\d.]+", "", alternative_text(plots.series(range(len(values)), {"loss": values})))
        for values in ([5, 3, 1], [9, 8, 4, 5, 3, 2, 2, 1.5, 2, 2], [7, 7, 6, 4, 3])
    }
    assert len(texts) == 1


def test_shared_axes_are_named():
    beside = alternative_text(plots.loss_curves({"plain": HISTORY, "guarded": HISTORY}))
    assert beside.count("of loss (MSE) over epoch.") == 2
    above = alternative_text(plots.panels(range(3), {"cpu": [1, 2, 3], "memory": [3, 2, 1]}, xlabel="second"))
    assert "of cpu over second." in above and "of memory over second." in above


def test_spread_where_there_is_one():
    some = digest(plots.bars({"lstm": 0.2, "mean": 0.4}, errors={"lstm": 0.1, "mean": np.nan}))
    assert "spread: n 1, first 0.1" in some
    assert "spread" not in digest(plots.bars({"mean": 0.4}, errors={"mean": np.nan}))


def test_missing_values_are_left_out():
    text = digest(plots.series(range(4), {"cpu": [1, np.nan, 3, np.nan], "none": [np.nan] * 4}))
    assert "line cpu: n 2, first 1, last 3" in text and "line none: n 0" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456, "0.1235"),
        (1234.56, "1235"),
        (123456.0, "123500"),
        (1e-17, "0"),
        (-0.5, "-0.5"),
        (2.5e-6, "2.5e-06"),
    ],
)
def test_numbers_have_four_digits(value, text):
    assert number(value, scale=1.0) == text


def displayed(draw):
    """What ``draw`` hands to IPython's display: a list of (data, metadata)."""
    outputs = []

    def display(data, raw, metadata):
        assert raw
        outputs.append(SimpleNamespace(data=data, metadata=metadata))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("IPython.display.display", display)
        draw()
    return outputs


def shown(figure, **options):
    """What show hands to IPython's display."""
    return displayed(lambda: plots.show(figure, **options))


def test_show_displays_one_picture_with_its_text():
    (output,) = shown(plots.bars({"ridge": 0.2, "mean": 0.4}, title="Errors"))
    picture = base64.b64decode(output.data["image/png"])
    assert picture.startswith(b"\x89PNG") and int.from_bytes(picture[16:20], "big") == 1080
    assert output.data["text/plain"].startswith("Figure: Errors\naxes 1")
    assert output.metadata["image/png"]["alt"].startswith("Bar chart 'Errors'")
    (again,) = shown(plots.bars({"ridge": 0.2, "mean": 0.4}, title="Errors"))
    assert again.data == output.data


def test_show_without_digest_and_with_own_text():
    (output,) = shown(
        plots.series(range(3), {"cpu": [1, 2, 4]}, title="Live"), digest=False, alt="A live series."
    )
    assert output.data["text/plain"] == "Figure: Live"
    assert output.metadata["image/png"]["alt"] == "A live series."


def test_badge_differs_for_the_eye_and_compares_equal():
    (computed,), (committed,) = (displayed(lambda had=had: plots.badge(had)) for had in (True, False))
    assert computed.data["image/png"] != committed.data["image/png"]
    assert computed.data["text/plain"] == committed.data["text/plain"] == "Figure: The numbers below"
    assert "computed from the traces" in computed.metadata["image/png"]["alt"]
    assert "taken from a committed table" in committed.metadata["image/png"]["alt"]


def test_show_closes_figures_of_pyplot_under_any_backend():
    before = matplotlib.get_backend()
    for backend in ("agg", "svg"):
        matplotlib.use(backend)
        figure, axes = pyplot.subplots()
        axes.plot([1, 2])
        assert len(shown(figure)) == 1
        assert not pyplot.get_fignums()
    matplotlib.use(before)


def test_architecture_has_all_symbols_in_order():
    figure = diagrams.architecture()
    texts = [" ".join(text.get_text().split()) for text in figure.axes[0].texts]
    numbers = sorted(int(text.split()[0]) for text in texts if text)
    assert numbers == list(range(1, 16))
    (output,) = shown(figure)
    alt = output.metadata["image/png"]["alt"]
    places = [alt.index(f"{place} {name}") for place, name in enumerate(diagrams.SYMBOLS, start=1)]
    assert places == sorted(places)
    assert "7 forget gate f" in output.data["text/plain"]


def test_cell_shows_gates_and_states():
    texts = [text.get_text() for text in diagrams.cell().axes[0].texts]
    assert {"f\nsigmoid", "i\nsigmoid", "g\ntanh", "o\nsigmoid", "$c_t$", "$h_t$", "$x_t$"} <= set(texts)
