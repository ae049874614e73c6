"""A machine that changes while it is forecast: never train again, train again every few days, or when errors have drifted."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from vdslib.chapters.generalisation import rows
from vdslib.chapters.global_network import pooled
from vdslib.chapters.other_machines import Plan, Textbook
from vdslib.forecasting import Forecasts, Persistence, Windows
from vdslib.networks import Anchored

MACHINES = ("270", "386", "407")
SHARE = 0.5  # of the month that is gone through, after the first training
DAY = 288  # rows of five minutes
EVERY = 3 * DAY  # rows between two trainings, where it is done by the calendar
RECENT = 10 * DAY  # windows that are learnt from when training again
HOUR = (
    12  # rows: the detector is told the share of large errors in an hour, since neighbouring rows err alike
)
CONFIDENCE = 0.05  # of the detector: about how often it may see a change where there is none
TAIL = 0.2  # share of the windows learnt from, the last ones, whose errors count as usual


@dataclass
class Passed:
    """A stream that was gone through: ``forecast`` [samples, horizon], the samples ``at`` which training was done again, and
    the processor time that this took."""

    forecast: np.ndarray
    at: list[int] = field(default_factory=list)
    seconds: float = 0.0


def known_at(windows: Windows, place: int) -> np.ndarray:
    """The samples of a stream all of whose rows have passed when the sample ``place`` is forecast."""
    step = next(iter(windows.steps().values()))
    return np.flatnonzero(windows.times[:place] + windows.y.shape[1] * step <= windows.times[place])


def hours(large: np.ndarray) -> np.ndarray:
    """[hours]: the share of large errors in each full hour of ``large`` [rows]."""
    return large[: len(large) // HOUR * HOUR].reshape(-1, HOUR).mean(axis=1)


def drifted(before: np.ndarray, after: np.ndarray) -> int | None:
    """The first hour of ``after`` at which river's detector (ADWIN, Bifet and Gavalda 2007) says that errors have risen.

    Both are shares of large errors by hour; those of ``before``, from a time when all was well, are told to it first. None where
    it never does. A fall is a change too, but no reason to train again.
    """
    from river.drift import ADWIN

    detector, total = ADWIN(delta=CONFIDENCE, clock=1), 0.0
    for place, share in enumerate(np.concatenate([before, after])):
        total += share
        detector.update(float(share))
        risen = detector.drift_detected and detector.estimation > total / (place + 1)
        if risen and place >= len(before):
            return place - len(before)
    return None


def missed(forecast: np.ndarray, windows: Windows) -> np.ndarray:
    """[samples]: the absolute error at the last step."""
    return np.abs(forecast[:, -1] - windows.y[:, -1])


def noticed(stream: Windows, forecast: np.ndarray, start: int, usual: np.ndarray) -> int | None:
    """The sample at which the errors of forecasts from ``start`` on are seen to have risen; None if they never are.

    An error is large above what 90% of the ``usual`` ones were, and it is known ``horizon`` rows after the forecast was made.
    """
    limit = np.quantile(usual, 0.9)
    hour = drifted(hours(usual > limit), hours(missed(forecast, stream)[start:] > limit))
    place = None if hour is None else start + (hour + 1) * HOUR + stream.y.shape[1]
    return place if place is not None and place < len(stream) else None


def go_through(
    first: Forecasts, train: Callable[[Windows], Forecasts], known: Windows, stream: Windows, strategy: str
) -> Passed:
    """Forecast a stream with one forecaster at a time, at the beginning ``first``, which learnt from ``known``.

    ``train`` makes another. ``strategy``: "never", "every three days" or "on drift". Training again takes the ``RECENT`` latest windows that have
    passed.
    """
    learnt, start = known, 0
    model = first
    result = Passed(model.forecast(stream))
    while strategy != "never":
        due: int | None = start + EVERY
        if strategy == "on drift":
            last = learnt.take(slice(-round(TAIL * len(learnt)), None))
            due = noticed(stream, result.forecast, start, missed(model.forecast(last), last))
        if due is None or due >= len(stream):
            break
        began = time.process_time()
        learnt = pooled([known, stream.take(known_at(stream, due))]).take(slice(-RECENT, None))
        model = train(learnt)
        result.seconds += time.process_time() - began
        result.forecast[due:] = model.forecast(stream.take(slice(due, None)))
        result.at.append(due)
        start = due
    return result


def makers(plan: Plan, seeds: tuple[int, ...] = (1, 2)) -> dict[str, Callable[[], Any]]:
    """The paper's network and the book's, with as many seeds."""
    return {
        "textbook": lambda: Textbook(seeds, plan.settings),
        "anchored": lambda: Anchored(seeds, spread=True, settings=plan.settings),
    }


def streamed(plan: Plan, name: str, model: str) -> pd.DataFrame:
    """Rows of the table for one machine and network: error over persistence of each strategy at the last step, of the whole
    stream and of each day; how often training was done again, when, and the processor seconds that it took."""
    data = plan.prepared(name, test=SHARE, validation=0.0)
    stream, last = data.test, Persistence().fit(data.train_full).forecast(data.test)

    def train(windows: Windows) -> Forecasts:
        return makers(plan)[model]().fit(windows.take(slice(None, None, plan.every)))

    first, found = train(data.train_full), []
    for strategy in ("never", "every three days", "on drift"):
        passed = go_through(first, train, data.train_full, stream, strategy)
        loss, simple = (missed(each, stream) ** 2 for each in (passed.forecast, last))
        daily = pd.Series(loss).groupby(stream.times.astype("datetime64[D]").astype(str)).mean()
        found += [
            rows("drift", {(name, model, 0, strategy): loss.mean() / simple.mean()}, "relative"),
            rows("drift", {(name, model, 0, strategy): len(passed.at)}, "trainings"),
            rows("drift", {(name, model, 0, strategy): passed.seconds}, "seconds"),
            rows(
                "drift", {(name, model, 0, str(at)): value for at, value in daily.items()}, f"mse {strategy}"
            ),
            rows(
                "drift",
                {(name, model, 0, str(stream.times[at])[:16]): 1.0 for at in passed.at},
                f"again {strategy}",
            ),
        ]
    return pd.concat(found)
