"""What the paper claims, each claim with a test that was fixed before its result was known.

A claim is judged from what chapters recorded (`experiments.record`), by its own `judge`; nothing is
typed in. `evidence` turns fitted forecasters into what `3-3-experiment` records, whatever the forecasters are:
put a constant or an oracle in the network's place, and the verdicts follow.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vdslib import judging
from vdslib.baselines import Forecasts
from vdslib.evaluation import mse
from vdslib.judging import MSE_TARGET, NOT_RUN, VERDICTS, Finding
from vdslib.preparation import Prepared, Windows

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
]

Results = Mapping[str, Mapping[str, Any]]  # chapter to what it recorded


@dataclass(frozen=True)
class Claim:
    """One checkable statement of the paper.

    `section` of the paper, `claim` in our words, the `test` with its `threshold`, `why` that is a fair
    reading; `chapter` decides it in its section or cell `cell`. `judge` sees what that chapter recorded, and
    raises KeyError where it did not record what the test needs.
    """

    key: str
    section: str
    claim: str
    test: str
    threshold: str
    why: str
    chapter: str
    cell: str
    judge: Callable[[Mapping[str, Any]], Finding]

    def finding(self, results: Results) -> Finding:
        """The verdict on what has been recorded: "not run" while its chapter did not record what it needs."""
        try:
            return self.judge(results[self.chapter])
        except KeyError:
            return Finding(NOT_RUN)


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


_FIVE = "error at least 5% lower"
_SEEDS = "seeds alone move such errors by about 4%, so less is no effect"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "mse-below-target",
        "abstract, 1.3, 4, 5",
        "The trained model reaches a mean squared error below 0.05.",
        "test MSE on the min-max scale fitted on the rows before the test part, mean over seeds",
        "below 0.05",
        "the paper names the threshold and the scale; a claim that a constant meets too says nothing of a model",
        "3-3-experiment",
        "The test part, once",
        judging.trained_mse,
    ),
    Claim(
        "forecasts-accurately",
        "4, 5",
        "The model gives accurate forecasts that are useful for allocating resources.",
        "skill of the test MSE over persistence and over the training mean",
        "at least 10% over both",
        "a forecast is only of use where it knows more than the last value and the average do",
        "3-3-experiment",
        "The test part, once",
        judging.useful,
    ),
    Claim(
        "needs-lstm",
        "1.1, 1.3",
        "Long short-term memory suits this task particularly well.",
        "test MSE against ridge regression on the same windows",
        _FIVE,
        f"a network is worth its cost where a linear model falls short; {_SEEDS}",
        "3-3-experiment",
        "The test part, once",
        judging.beats_linear,
    ),
    Claim(
        "temporal-dependencies",
        "2, 4",
        "The model captures dependencies over time.",
        "test MSE when the earlier time steps of each window are shuffled, the last one kept",
        "error rises by at least 5%",
        f"who uses the order of the past must lose when it is destroyed; {_SEEDS}",
        "3-3-experiment",
        "Does the network use the order of the past?",
        judging.uses_order,
    ),
    Claim(
        "overfitting-reduced",
        "1.3",
        "Overfitting is reduced by at least 15%.",
        "gap between validation and training MSE, dropout off, with all guards against none",
        "at least 15% smaller",
        "the gap is what the guards are there for; where there is none without guards, nothing can be reduced",
        "3-3-experiment",
        "The gap",
        judging.smaller_gap,
    ),
    Claim(
        "both-curves-fall",
        "3.2, Fig. 2",
        "Training and validation loss both decrease over the epochs.",
        "each curve of each seed, mean of the last three epochs against the first",
        "below 0% for all",
        "the weakest reading of a falling curve: it ends lower than it began",
        "3-3-experiment",
        "Fig. 2, redrawn",
        judging.curves_fall,
    ),
    Claim(
        "early-stopping-helps",
        "abstract, 4, 5",
        "Early stopping makes the model generalise better.",
        "test MSE with early stopping and restored weights against all epochs, both without dropout",
        _FIVE,
        f"generalising means a lower error on unseen data; {_SEEDS}",
        "3-3-experiment",
        "What we found",
        judging.arm_helps("no guards", "early stopping"),
    ),
    Claim(
        "dropout-helps",
        "3.1, 4",
        "Dropout makes the model generalise better.",
        "test MSE with dropout against none, both with early stopping",
        _FIVE,
        f"generalising means a lower error on unseen data; {_SEEDS}",
        "3-3-experiment",
        "What we found",
        judging.arm_helps("early stopping", "all guards"),
    ),
    Claim(
        "cross-validation-helps",
        "abstract, 4, 5",
        "Cross-validation helps to judge how well the model generalises.",
        "distance to the test MSE: mean over the folds against the one validation part",
        "folds are closer",
        "cross-validation changes no weight of a model; what it can give is a better judgement of it",
        "3-3-experiment",
        "Cross-validation in time",
        judging.validation_judges,
    ),
    Claim(
        "normalisation-helps",
        "2, 4",
        "Normalised inputs make training converge better.",
        "validation MSE after the same epochs from the same seed, inputs scaled against raw",
        _FIVE,
        f"better convergence in equal time means a lower error; {_SEEDS}",
        "2-2-preparation",
        "Normalisation",
        judging.normalisation,
    ),
    Claim(
        "printed-mse",
        "3.2",
        "The printed program reaches an error below the target.",
        "test MSE of the settings as printed, on their own scale",
        "below 0.05",
        "the program is given as the way to the paper's result",
        "3-2-listing",
        "Is a small error a good error?",
        judging.printed_mse,
    ),
    Claim(
        "printed-windows",
        "3.2",
        "The program feeds its network sequences of ten steps.",
        "time steps in the array that reaches the network",
        "as many as declared",
        "a network cannot learn from steps it never sees",
        "3-2-listing",
        "Several steps declared, one step fed",
        judging.sees_windows,
    ),
    Claim(
        "printed-test-objective",
        "3.2",
        "The printed test set judges the model objectively.",
        "the same network on a chronological split against the random one, errors as shares of the training mean's",
        "error at most 5% higher",
        "an objective test gives the same error when the future is really unknown; one test part may be harder",
        "3-2-listing",
        "A random split of a time series",
        judging.independent_test,
    ),
    Claim(
        "one-update-an-epoch",
        "3.2",
        "Weights are updated after each epoch.",
        "updates of the optimiser during one epoch",
        "exactly 1",
        "the statement is about how the training works, and can be counted",
        "3-2-listing",
        "Two statements of the text",
        judging.one_update,
    ),
    Claim(
        "state-lasts",
        "3.1, symbol 10",
        "The cell state keeps information throughout the training period.",
        "does the state at the end of one batch reach the next?",
        "it does",
        "the statement is about how the cell works, and can be watched",
        "3-2-listing",
        "Two statements of the text",
        judging.state_lasts,
    ),
    Claim(
        "better-performance",
        "1.3",
        "Following the recommendations improves system performance by 10%.",
        "productivity of the controlled system against a reactive policy, on one workload",
        "at least 10% better",
        "the paper names the share; the rival is what operators run today",
        "4-3-control",
        "Policies compared",
        judging.at_least("productivity_gain", 0.10),
    ),
    Claim(
        "better-management",
        "1.3",
        "Resource management improves by another 5 to 10%.",
        "node seconds used at equal productivity against a reactive policy",
        "at least 5% less",
        "resources are managed better when fewer of them do the same work",
        "4-3-control",
        "Policies compared",
        judging.at_least("node_seconds_saved", 0.05),
    ),
    Claim(
        "hybrids-help",
        "4",
        "Convolution and attention improve the forecasts.",
        "test MSE of the best hybrid, chosen on validation, against the plain network at equal budget",
        _FIVE,
        _SEEDS,
        "4-1-hybrids",
        "At equal budget",
        judging.at_least("best_hybrid_gain", judging.LEAST_EFFECT),
    ),
    Claim(
        "reinforcement-learning-helps",
        "1.2, 4",
        "LSTM with deep Q-learning beats LSTM alone.",
        "cost of control with the learnt policy against the forecast-driven one",
        "at least 5% lower",
        _SEEDS,
        "4-4-reinforcement-learning",
        "The learnt policy",
        judging.at_least("cost_saved", judging.LEAST_EFFECT),
    ),
)
"""The claims that this book tests, thresholds fixed before their results."""


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
