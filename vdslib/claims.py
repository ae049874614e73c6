"""What the paper claims, each claim with a test that was fixed before its result was known.

A claim is judged from what chapters recorded (`experiments.record`), by its own `judge`; nothing is
typed in. `evidence` turns fitted forecasters into what `3-3-experiment` records, whatever the forecasters are:
put a constant or an oracle in the network's place, and the verdicts follow.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vdslib import experiments
from vdslib.baselines import Forecasts
from vdslib.evaluation import mse
from vdslib.judging import MSE_TARGET, VERDICTS, Claim, Finding, Results
from vdslib.preparation import Prepared, Windows
from vdslib.statements import CLAIMS

__all__ = [
    "CLAIMS",
    "MSE_TARGET",
    "VERDICTS",
    "Claim",
    "Finding",
    "evidence",
    "shuffled_history",
    "table",
    "verdicts",
    "where_decided",
]


def shuffled_history(windows: Windows, seed: int = 0) -> Windows:
    """`windows` with the time steps of each window in random order, but for the last, the present.

    A forecaster that uses the order of the past must lose by it; what it knows of the present stays.
    """
    x = np.array(windows.x)
    if x.shape[1] > 2:
        order = np.argsort(np.random.default_rng(seed).random((len(x), x.shape[1] - 1)), axis=1)
        x[:, :-1] = np.take_along_axis(x[:, :-1], order[:, :, None], axis=1)
    return Windows(x, windows.y, windows.times, windows.node, windows.last)


def evidence(
    models: Mapping[str, Forecasts | Sequence[Forecasts]],
    arms: Mapping[str, Forecasts | Sequence[Forecasts]],
    data: Prepared,
    network: str,
    seed: int = 0,
) -> dict[str, Any]:
    """What the experiment's chapter records of fitted forecasters; each list holds one value for each seed.

    `models` by name, among them `network`, "mean", "persistence"; `arms` of the study of the guards by
    name, among them "no guards" and "all guards". All MSEs on the scale of `data`, dropout off.
    """
    return {
        "network": network,
        "test_mse": {name: _errors(given, data.test) for name, given in models.items()},
        "shuffled_mse": _errors(models[network], shuffled_history(data.test, seed)),
        "arm_train_mse": {name: _errors(given, data.train) for name, given in arms.items()},
        "arm_validation_mse": {name: _errors(given, data.validation) for name, given in arms.items()},
        "arm_test_mse": {name: _errors(given, data.test) for name, given in arms.items()},
    }


def _errors(given: Forecasts | Sequence[Forecasts], windows: Windows) -> list[float]:
    """The MSE of one forecaster, or of each of several."""
    several = given if isinstance(given, Sequence) else [given]
    return [mse(windows.y, forecaster.forecast(windows)) for forecaster in several]


def table() -> pd.DataFrame:
    """The claims and their tests, without verdicts: key, section, claim, test, threshold, why, chapter."""
    names = ["key", "section", "claim", "test", "threshold", "why", "chapter"]
    return pd.DataFrame([{name: getattr(claim, name) for name in names} for claim in CLAIMS])


def verdicts(results: Results) -> pd.DataFrame:
    """Each claim with what was measured and its verdict, from what the chapters recorded.

    Columns: key, section, claim, test, threshold, measured, verdict, chapter, cell, why.
    """
    rows = []
    for claim in CLAIMS:
        finding = claim.finding(results)
        rows.append(
            {
                **{name: getattr(claim, name) for name in ("key", "section", "claim", "test", "threshold")},
                "measured": finding.measured,
                "verdict": finding.verdict,
                **{name: getattr(claim, name) for name in ("chapter", "cell", "why")},
            }
        )
    return pd.DataFrame(rows)


def where_decided(scorecard: pd.DataFrame) -> list[str]:
    """For each row of `verdicts` the chapter and section that decide it, as a link where the chapter is there."""
    places, chapters = [], experiments.chapters()
    for chapter, cell in zip(scorecard["chapter"], scorecard["cell"], strict=True):
        text = f"{'.'.join(part for part in chapter.split('-')[:2] if part.isdigit())}, {cell}"
        anchor = "-".join("".join(c if c.isalnum() else " " for c in cell.lower()).split())
        there = chapter in chapters
        places.append(f"[{text}]({chapter}.ipynb#{anchor})" if there else f"{text} (not written yet)")
    return places
