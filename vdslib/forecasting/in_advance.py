"""What is known in advance of the rows to forecast: the phases of the time, and columns such as a planned job."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from vdslib.forecasting import leak_checks
from vdslib.forecasting.cutting import Rows, columns, numbers
from vdslib.forecasting.rhythms import Rhythm, phases, seen, stated
from vdslib.forecasting.scaling import feature_scaler
from vdslib.forecasting.seasons import find_period
from vdslib.forecasting.windows import Windows
from vdslib.telemetry import JITTER, MEASURED, origin_of


def periods_of(
    frame: pd.DataFrame,
    rows: Rows,
    asked: str | Sequence[int | float | str],
    known: Callable[[], Windows],
) -> tuple[Rhythm, ...]:
    """The rhythms that are stated; for "auto" those of the source, or found in the windows before the test part."""
    asked = [asked] if isinstance(asked, str) else list(asked)
    steps = [step / np.timedelta64(1, "s") for step in rows.steps.values() if step is not None]
    if not asked or not steps:
        return ()
    if "auto" in asked:
        of_source = frame.attrs.get("rhythms", ())
        asked.remove("auto")
        if of_source:
            asked += [f"{each}s" for each in seen(of_source, rows.times[rows.known])]
        elif (period := find_period(known())) > 1:
            asked.append(period)
    if max(steps) - min(steps) > JITTER * min(steps) and not all(isinstance(each, str) for each in asked):
        raise ValueError(
            f'rhythms: nodes are measured at different steps: give spans such as "1d", not {asked}'
        )
    return stated(asked, float(np.median(steps)))


def in_advance(
    frame: pd.DataFrame,
    rows: Rows,
    periods: tuple[Rhythm, ...],
    ahead: list[str],
    target: str,
    horizon: int,
    leak: str | None,
) -> np.ndarray:
    """[rows, known]: the phases of the next row, and of each column its values in the next ``horizon`` rows, 0 to 1 by
    the rows before the test part. LeakError for a column that is measured, and so not known in advance."""
    moments = rows.times.copy()
    for node, chosen in rows.places.items():
        moments[chosen] += np.timedelta64(0, "ns") if rows.steps[node] is None else rows.steps[node]
    parts = [phases(moments, periods)]
    for name in columns(frame, ahead, ahead[0]) if ahead else ():
        _refuse_measured(frame, name, target, leak)
        values = numbers(frame, [name]).to_numpy()
        scaled = feature_scaler(values[rows.known]).transform(values)[:, 0]
        beyond = np.concatenate([scaled, np.full(horizon, np.nan)])
        parts.append(sliding_window_view(beyond[1:], horizon))
    return np.hstack(parts)


def _refuse_measured(frame: pd.DataFrame, name: str, target: str, leak: str | None) -> None:
    """LeakError for a column to be known in advance that is measured, or follows from what is."""
    measured = name == target or name in MEASURED
    following = {name: (target, True)} if measured else {}
    if not measured:
        probe = frame.assign(**{name: frame.groupby("node")[name].shift(-1)})
        following = leak_checks.future_of(probe, [name], target)
    for origin, _ in following.values():
        what = f"{origin_of(frame)}: column '{name}' is not known in advance: it follows '{origin}', which is measured"
        leak_checks.refuse("target among the features", what, leak)
