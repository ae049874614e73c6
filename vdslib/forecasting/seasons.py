"""The season of a series: the hour, the day or the week where they show, else what its autocorrelation repeats.

All work is in proportion to the known rows, n log n, however long the gaps between them are.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vdslib.errors import notice
from vdslib.forecasting.past import Past, Series
from vdslib.forecasting.windows import Windows
from vdslib.telemetry import JITTER

CALENDAR = {"hour": 3600, "day": 86_400, "week": 604_800}  # seconds
_CYCLES = 3  # times that a season has to be seen
_BETTER = 0.05  # by which the correlation of a longer season has to be higher
_NEAR = 0.1  # share of a period by which noise may move it
_NOISE = 0.02  # by which its correlation may be higher there


def find_period(windows: Windows, least: float = 0.1) -> int:
    """The season of training windows in rows; 1 where there is none.

    Judged is the correlation of the known values with those one period later, over all nodes: the higher it is, the
    lower the error of the seasonal naive forecast. It has to be above ``least``, and above what chance makes of a
    series like this (``_chance``; of the peaks, the highest). The candidates, each seen at least three times:

    - the hour, the day and the week, where the correlation stands out by ``least`` above that half a period less
      and more (of a week, a day less and more)
    - the earliest of the higher peaks of the autocorrelation (``_peak``); the hour, the day or the week in its place
      where it is one of these moved by noise

    Of two the shorter counts, unless the longer one's correlation is higher by 0.05. Nodes measured at different steps
    have no season in rows: a warning says so, and the answer is 1.
    """
    history = Past(windows)
    steps = [history.spacing[node] for node in history.values]
    if max(steps) - min(steps) > JITTER * min(steps):
        shortest, longest = (step / np.timedelta64(1, "s") for step in (min(steps), max(steps)))
        notice(
            f"nodes are measured at different steps ({shortest:g} to {longest:g} s), so no season is looked for: "
            "forecast nodes of one step at a time"
        )
        return 1
    nodes = [_standardised(each) for each in history.values.values()]
    nodes = [each for each in nodes if len(each.rows) >= 12 and each.values.any()]
    if not nodes:
        return 1
    curve = _autocorrelation(nodes)
    bound = max(least, _chance(curve, sum(len(each.rows) for each in nodes)))
    calendar = _calendar(nodes, steps[0])
    shown = {each: _correlation(nodes, each) for each in calendar}
    seasons = {each for each, beside in calendar.items() if shown[each] > max(bound, beside + least)}
    peak = _peak(curve, least, bound)
    if peak > 1:
        peak = _refined(nodes, peak)
        near = {each for each in calendar if abs(peak - each) <= _NEAR * each}
        as_good = {each for each in near if shown[each] > _correlation(nodes, peak) - _NOISE}
        seasons = seasons - near | (as_good or {peak})
    chosen = 1
    for period in sorted(seasons):
        if chosen == 1 or _correlation(nodes, period) > _correlation(nodes, chosen) + _BETTER:
            chosen = period
    return chosen


def _standardised(series: Series) -> Series:
    centred = series.values - series.values.mean()
    spread = centred.std()
    # a constant, rounding aside, has no season
    return Series(series.rows, centred / spread if spread > 1e-9 else np.zeros(len(centred)))


def _correlation(nodes: Sequence[Series], lag: int) -> float:
    """Mean product of standardised values ``lag`` rows apart; NaN where there are fewer than ``lag`` of them."""
    products = np.concatenate([each.values * each.at(each.rows + lag) for each in nodes])
    known = products[np.isfinite(products)]
    return float(known.mean()) if len(known) >= 12 else float("nan")


def _calendar(nodes: Sequence[Series], step: Any) -> dict[int, float]:
    """The periods of the calendar in rows, and the mean correlation beside each of them."""
    seconds = float(step / np.timedelta64(1, "s")) if isinstance(step, np.timedelta64) else 0.0
    seen = max(each.rows[-1] - each.rows[0] + 1 for each in nodes)
    result = {}
    for name, length in CALENDAR.items():
        period = round(length / seconds) if seconds else 0
        if 4 <= period <= seen / _CYCLES:
            aside = period // 7 if name == "week" else period // 2
            sides = [_correlation(nodes, period + side) for side in (-aside, aside)]
            result[period] = sum(sides) / 2
    return result


def _chance(curve: np.ndarray, rows: int) -> float:
    """Three standard errors of an autocorrelation where there is no season, by Bartlett's formula (1946): a series that
    stays for long on one side of its mean correlates with itself by chance."""
    below = np.flatnonzero(curve < 0)
    memory = curve[1 : below[0]] if len(below) else curve[1:]
    return float(3 * np.sqrt((1 + 2 * (memory**2).sum()) / rows))


def _peak(curve: np.ndarray, least: float, bound: float) -> int:
    """The period that an autocorrelation shows; 1 where it shows none.

    A peak is the highest value within a quarter of its lag, above ``least``, after the autocorrelation's first fall
    below 0. The highest has to be above ``bound``; of those at least half as high the earliest counts, since two
    seasons are not one.
    """
    below = np.flatnonzero(curve < 0)
    lags = np.arange(max(2, int(below[0])), int(len(curve) / 1.25)) if len(below) else np.empty(0, dtype=int)
    if not len(lags):
        return 1
    peaks = lags[(curve[lags] > least) & (curve[lags] == _highest_near(curve, lags))]
    highest = curve[peaks].max(initial=0)
    return int(peaks[curve[peaks] >= highest / 2][0]) if highest > bound else 1


def _pieces(series: Series) -> list[tuple[int, np.ndarray]]:
    """The series on equal steps, 0 (the mean) where unknown, cut at its longest gaps until no more rows are unknown
    than known: the first row of each piece, and its values."""
    gaps = np.diff(series.rows) - 1
    order = np.argsort(gaps, kind="stable")
    cuts = np.sort(order[np.cumsum(gaps[order]) > len(series.rows)]) + 1
    result = []
    for rows, values in zip(np.split(series.rows, cuts), np.split(series.values, cuts), strict=True):
        piece = np.zeros(rows[-1] - rows[0] + 1)
        piece[rows - rows[0]] = values
        result.append((int(rows[0]), piece))
    return result


def _autocorrelation(nodes: Sequence[Series]) -> np.ndarray:
    """[lags + 1]: the autocorrelation over all nodes, within the pieces that long gaps leave, up to a third of the
    rows that the longest series has in its pieces."""
    parts = [[piece for _, piece in _pieces(each)] for each in nodes]
    pieces = [piece for part in parts for piece in part]
    rows = max(sum(len(piece) for piece in part) for part in parts)
    lags = np.arange(min(rows // _CYCLES, max(len(piece) for piece in pieces) - 1) + 1)
    products, pairs = np.zeros(len(lags)), np.zeros(len(lags))
    for piece in pieces:
        power = np.abs(np.fft.rfft(piece, 2 * len(piece))) ** 2
        products[: len(piece)] += np.fft.irfft(power)[: min(len(lags), len(piece))]
        pairs += np.maximum(len(piece) - lags, 0)
    # short pieces have few pairs far apart: no bias against long periods, and none judged by a handful
    curve = (products / pairs)[pairs >= pairs[0] / _CYCLES]
    return curve / curve[0] * (1 - lags[: len(curve)] / rows)


def _highest_near(curve: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """[lags]: the highest value of ``curve`` within a quarter of each lag, by maxima over powers of two."""
    low, high = lags - lags // 4, lags + lags // 4 + 1
    maxima = [curve]
    while 2 ** len(maxima) <= (high - low).max():
        half = 2 ** (len(maxima) - 1)
        maxima.append(np.maximum(maxima[-1][:-half], maxima[-1][half:]))
    result = np.empty(len(lags))
    level = np.log2(high - low).astype(int)
    for number in np.unique(level):
        at = level == number
        result[at] = np.maximum(maxima[number][low[at]], maxima[number][high[at] - 2**number])
    return result


def _refined(nodes: Sequence[Series], peak: int) -> int:
    """Of the periods within 2% of ``peak``, which noise moves, that of the wave that explains most of the variance."""
    from scipy.signal import zoom_fft  # takes a while to import, and few who import this room need it

    reach = max(1, round(0.02 * peak))
    low, high = max(2, peak - reach), peak + reach
    rows = sum(len(each.rows) for each in nodes)
    count = 64 + 8 * (high - low) * rows // peak**2  # several for each wave that the series can tell apart
    frequencies, power = np.linspace(1 / high, 1 / low, count), np.zeros(count)
    for each in nodes:
        wave = np.zeros(count, dtype=complex)
        for start, piece in _pieces(each):
            turn = np.exp(-2j * np.pi * frequencies * start)
            wave += turn * zoom_fft(piece, [1 / high, 1 / low], m=count, fs=1, endpoint=True)
        power += np.abs(wave) ** 2
    return int(np.clip(round(1 / frequencies[power.argmax()]), low, high))
