"""What the paper claims, each claim with a test that was fixed before its result was known.

A claim is judged from what chapters recorded (``experiments.record``), by its own ``judge``; nothing is
typed in. ``evidence`` turns fitted forecasters into what ``3-3-experiment`` records, whatever the forecasters are:
put a constant or an oracle in the network's place, and the verdicts follow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from vdslib import experiments
from vdslib.claims.findings import Results
from vdslib.claims.statements import CLAIMS
from vdslib.evaluation import in_stretches
from vdslib.forecasting import Forecasts, Prepared, Windows


def shuffled_history(windows: Windows, seed: int = 0) -> Windows:
    """``windows`` with the time steps of each window in random order, but for the last, the present.

    A forecaster that uses the order of the past must lose by it; what it knows of the present stays.
    """
    x = np.array(windows.x)
    if x.shape[1] > 2:
        order = np.argsort(np.random.default_rng(seed).random((len(x), x.shape[1] - 1)), axis=1)
        x[:, :-1] = np.take_along_axis(x[:, :-1], order[:, :, None], axis=1)
    return replace(windows, x=x)


def evidence(
    models: Mapping[str, Forecasts | Sequence[Forecasts]],
    arms: Mapping[str, Forecasts | Sequence[Forecasts]],
    data: Prepared,
    network: str,
    seed: int = 0,
) -> dict[str, Any]:
    """What the experiment's chapter records of fitted forecasters.

    ``models`` by name, among them ``network``, "mean", "persistence"; ``arms`` of the study of the guards by
    name, among them "no guards" and "all guards". All MSEs on the scale of ``data``, dropout off: a list with one value
    for each seed where a sequence was given, else a number; and of the test part (validation: all guards) in stretches
    of time, mean over seeds.
    """
    shuffled = _measured({network: models[network]}, shuffled_history(data.test, seed))
    validation, arm_test = _measured(arms, data.validation), _measured(arms, data.test)
    return {
        "network": network,
        **tested(models, data.test),
        "shuffled_mse": shuffled[0][network],
        "shuffled_stretches": shuffled[1][network],
        "arm_train_mse": _measured(arms, data.train)[0],
        "arm_validation_mse": validation[0],
        "validation_stretches": validation[1]["all guards"],
        "arm_test_mse": arm_test[0],
        "arm_test_stretches": arm_test[1],
    }


def tested(models: Mapping[str, Forecasts | Sequence[Forecasts]], test: Windows) -> dict[str, Any]:
    """Test errors as ``evidence`` records them, for ``vdslib.claims.judging.gain`` of any two of ``models``."""
    errors, stretches = _measured(models, test)
    return {"test_mse": errors, "test_stretches": stretches}


def _measured(
    models: Mapping[str, Forecasts | Sequence[Forecasts]], windows: Windows
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """By model: the MSE, of one forecaster or of each of several, and the MSE in stretches of time, mean over them."""
    errors, stretches = {}, {}
    for name, by_seed in models.items():
        several = by_seed if isinstance(by_seed, Sequence) else [by_seed]
        squared = [((each.forecast(windows) - windows.y) ** 2).mean(axis=1) for each in several]
        means = [float(each.mean()) for each in squared]
        errors[name] = means if isinstance(by_seed, Sequence) else means[0]
        stretches[name] = in_stretches(np.mean(squared, axis=0), windows.times)
    return errors, stretches


def table() -> pd.DataFrame:
    """The claims and their tests, without verdicts: key, section, claim, test, threshold, why, chapter."""
    names = ["key", "section", "claim", "test", "threshold", "why", "chapter"]
    return pd.DataFrame([{name: getattr(claim, name) for name in names} for claim in CLAIMS])


def verdicts(results: Results) -> pd.DataFrame:
    """Each claim with what was measured and its verdict, from what the chapters recorded.

    Columns: key, section, claim, test, threshold, measured, low, high, verdict, chapter, cell, why. ``low`` and ``high``
    are the 99% interval of the value that the threshold is about, where there is one.
    """
    rows = []
    for claim in CLAIMS:
        finding = claim.finding(results)
        rows.append(
            {
                **{name: getattr(claim, name) for name in ("key", "section", "claim", "test", "threshold")},
                "measured": finding.measured,
                "low": finding.low,
                "high": finding.high,
                "verdict": finding.verdict,
                **{name: getattr(claim, name) for name in ("chapter", "cell", "why")},
            }
        )
    return pd.DataFrame(rows)


def where_decided(scorecard: pd.DataFrame) -> list[str]:
    """For each row of ``verdicts`` the chapter and section that decide it, as a link where the chapter is there."""
    places, chapters = [], experiments.chapters()
    for chapter, cell in zip(scorecard["chapter"], scorecard["cell"], strict=True):
        text = f"{'.'.join(part for part in chapter.split('-')[:2] if part.isdigit())}, {cell}"
        anchor = "-".join("".join(c if c.isalnum() else " " for c in cell.lower()).split())
        there = chapter in chapters
        places.append(f"[{text}]({chapter}.ipynb#{anchor})" if there else f"{text} (not written yet)")
    return places
