"""Windows into parts: training and test by index arrays, chronological folds, more samples of rare states."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from vdslib.forecasting import leak_checks
from vdslib.forecasting.windows import Windows


def divide(
    windows: Windows, train: np.ndarray, test: np.ndarray, *, leak: str | None = None
) -> tuple[Windows, Windows]:
    """Training and test part of ``windows`` by index arrays [samples], as scikit-learn's splitters give them.

    Raises LeakError if the test samples do not come after the training samples, if the two share rows, or if the
    samples were resampled before; ``leak`` names the one leak of ``LEAKS`` that is wanted.
    """
    leak_checks.check_name(leak, "divide")
    known, unseen = (replace(windows.take(np.asarray(each)), part="") for each in (train, test))
    if not (len(known) and len(unseen)):
        raise ValueError(f"both parts need samples, not {len(known)} and {len(unseen)}")
    moments, ends = windows.moments(), windows.ends()
    first, last = moments[test].min(), moments[train].max()
    begins, until = (str(time).split(".")[0] for time in (unseen.times.min(), known.times.max()))
    if windows.part == "resampled":
        leak_checks.refuse(
            "SMOTE before the split", "the samples were resampled before they are divided", leak
        )
    elif last >= first:
        leak_checks.refuse(
            "random split", f"training windows reach to {until}, test windows begin {begins}", leak
        )
    elif ends[train].max() > first:
        leak_checks.refuse(
            "windows across the split",
            f"training windows to {until} share rows with test windows from {begins}",
            leak,
        )
    return replace(known, part="training"), replace(unseen, part="test")


def resample(
    windows: Windows, states: np.ndarray, sampler: Any, *, leak: str | None = None
) -> tuple[Windows, np.ndarray]:
    """Training windows with more samples of the rare states, and their states [samples].

    ``sampler`` is an over-sampler of imbalanced-learn, such as SMOTE. It works on the flattened inputs, with the
    targets and the last known value beside them (section 3.1, symbol 3); what it adds has no time (NaT) and no node.
    Raises LeakError for windows of the test part, ValueError if the sampler does not keep the windows it is given.
    """
    leak_checks.check_name(leak, "resample")
    if windows.part == "test":
        leak_checks.refuse("SMOTE before the split", "windows of the test part are to be resampled", leak)
    count, inputs = len(windows), windows.flat
    flat = np.column_stack([inputs, windows.y, windows.last])
    rows, states = sampler.fit_resample(flat, states)
    if len(rows) < count or not np.array_equal(rows[:count], flat):
        raise ValueError(f"{type(sampler).__name__} does not keep all windows: use an over-sampler")
    added = len(rows) - count
    x, y, last = np.split(rows, [inputs.shape[1], flat.shape[1] - 1], axis=1)
    times = np.concatenate([windows.times, np.full(added, np.datetime64("NaT"), windows.times.dtype)])
    node = np.concatenate([windows.node, np.full(added, "", dtype=object)])
    x = x.reshape(len(rows), *windows.x.shape[1:])
    more = replace(windows, x=x, y=y, times=times, node=node, last=last[:, 0], part="resampled")
    return more, states


def folds(windows: Windows, k: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """k chronological folds as (training, validation), index arrays [samples] into ``windows``.

    The time covered is cut into k+1 blocks, between two rounds of measuring the nodes; fold i trains on the first i blocks and validates on the next.
    Training samples that share a row with a validation sample are purged: among consecutive samples these are
    the last window + horizon - 1 before the validation block.
    """
    moments, ends, span = windows.moments(), windows.ends(), windows.span
    unique = np.unique(moments)
    if k < 1 or len(unique) < (k + 1) * span:
        raise ValueError(
            f"{k} folds need at least {(k + 1) * span} samples at different times, there are {len(unique)}: "
            "use fewer folds or more rows"
        )
    edges = [block[0] for block in np.array_split(unique, k + 1)] + [unique[-1] + 1]
    result: list[tuple[np.ndarray, np.ndarray]] = []
    for start, stop in pairwise(edges[1:]):
        validation = np.flatnonzero((moments >= start) & (moments < stop))
        known = np.flatnonzero(ends <= start)
        if not (len(known) and len(validation)):  # only gaps can cause it
            raise ValueError(f"fold {len(result) + 1} of {k} has no samples: use fewer folds or more rows")
        result.append((known, validation))
    return result


def blocks(windows: Windows, k: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The time covered, cut into k blocks: for each (the samples of the others, its own), index arrays [samples].

    Each block is held out once, to tell when to stop training, whatever comes after it. That judges no forecast: a test
    part has to come later than all of them. Samples that share a row with the block are left out on both sides.
    """
    moments, ends = windows.moments(), windows.ends()
    unique = np.unique(moments)
    if k < 2 or len(unique) < k * windows.span * 2:
        raise ValueError(
            f"{k} blocks need at least {2 * max(k, 2) * windows.span} samples at different times, there are {len(unique)}: "
            "use fewer blocks, at least 2, or more rows"
        )
    edges = [block[0] for block in np.array_split(unique, k)] + [unique[-1] + 1]
    result: list[tuple[np.ndarray, np.ndarray]] = []
    for start, stop in pairwise(edges):
        own = np.flatnonzero((moments >= start) & (moments < stop))
        after = np.flatnonzero(moments >= max(ends[own].max(), stop)) if len(own) else own
        others = np.concatenate([np.flatnonzero(ends <= start), after])
        if not (len(own) and len(others)):  # only gaps can cause it
            raise ValueError(f"block {len(result) + 1} of {k} has no samples: use fewer blocks or more rows")
        result.append((np.sort(others), own))
    return result
