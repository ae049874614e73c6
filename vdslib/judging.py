"""Judges of the paper's claims: from what a chapter recorded to a verdict.

Each judge takes the mapping that a chapter recorded and returns a `Finding`. It raises KeyError where the
chapter did not record what it needs; values that are not finite (recorded as None) make a claim "cannot be
tested". Lists hold one value for each seed and are judged by their mean. The thresholds stand here, in one place.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vdslib.evaluation import gap_reduction, overfitting_gap, skill

__all__ = [
    "CONSTANT_TOO",
    "FAILS",
    "HOLDS",
    "LEAST_EFFECT",
    "MSE_TARGET",
    "NOT_RUN",
    "UNTESTABLE",
    "VERDICTS",
    "Claim",
    "Finding",
    "Results",
    "Verdict",
    "all_above_seeds",
    "arm_helps",
    "at_least",
    "at_most",
    "beats_linear",
    "curves_fall",
    "curves_tell",
    "independent_test",
    "missing",
    "normalisation",
    "one_update",
    "printed_mse",
    "sees_windows",
    "share_won",
    "smaller_gap",
    "smote_balance",
    "smote_recall",
    "state_lasts",
    "trained_mse",
    "useful",
    "uses_order",
    "validation_judges",
]

Verdict = Literal["holds", "holds but a constant passes too", "does not hold", "cannot be tested", "not run"]
HOLDS: Verdict = "holds"
CONSTANT_TOO: Verdict = "holds but a constant passes too"
FAILS: Verdict = "does not hold"
UNTESTABLE: Verdict = "cannot be tested"
NOT_RUN: Verdict = "not run"
VERDICTS: tuple[Verdict, ...] = (HOLDS, CONSTANT_TOO, FAILS, UNTESTABLE, NOT_RUN)


Results = Mapping[str, Mapping[str, Any]]  # chapter to what it recorded


@dataclass(frozen=True)
class Finding:
    """A verdict and the measured values behind it, in words."""

    verdict: Verdict
    measured: str = ""


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
            return self.judge(results.get(self.chapter, {}))
        except KeyError:
            return Finding(NOT_RUN)


def _mean(value: Any) -> float:
    """The mean over seeds of a recorded number or list; what was not finite was recorded as None."""
    values = value if isinstance(value, list) else [value]
    return float(np.mean([math.nan if item is None else float(item) for item in values]))


def _count(number: int, name: str) -> str:
    """A number of things in words: 1 epoch, 2 epochs."""
    return f"{number} {name}{'' if number == 1 else 's'}"


def _passes(good: bool, *needed: float, measured: str) -> Finding:
    """Holds or not, as far as the needed values are numbers at all."""
    if not all(map(math.isfinite, needed)):
        return Finding(UNTESTABLE, measured)
    return Finding(HOLDS if good else FAILS, measured)


MSE_TARGET = 0.05
LEAST_SKILL = 0.10
LEAST_EFFECT = 0.05
GAP_TARGET = 0.15
LEAST_AGREEMENT = 0.8


def _below_target(error: float, constant: float) -> Finding:
    measured = f"MSE {error:.4g}, of the training mean {constant:.4g}"
    if math.isfinite(error) and error < MSE_TARGET and constant < MSE_TARGET:
        return Finding(CONSTANT_TOO, measured)
    return _passes(error < MSE_TARGET, error, constant, measured=measured)


def trained_mse(found: Mapping[str, Any]) -> Finding:
    """Is the test error of the network below the paper's goal, and is that of a constant (1.3)?"""
    errors = found["test_mse"]
    return _below_target(_mean(errors[found["network"]]), _mean(errors["mean"]))


def printed_mse(found: Mapping[str, Any]) -> Finding:
    """The same for the printed program, on its own test set and scale (3.2)."""
    return _below_target(_mean(found["printed_mse"]), _mean(found["printed_constant_mse"]))


def useful(found: Mapping[str, Any]) -> Finding:
    """Has the network at least 10% skill over persistence and over the training mean (4, 5)?"""
    errors = {name: _mean(value) for name, value in found["test_mse"].items()}
    error = errors[found["network"]]
    over = {name: skill(error, errors[name]) for name in ("persistence", "mean")}
    measured = f"skill {over['persistence']:.2g} over persistence, {over['mean']:.2g} over the mean"
    return _passes(min(over.values()) >= LEAST_SKILL, *over.values(), measured=measured)


def beats_linear(found: Mapping[str, Any]) -> Finding:
    """Is the test error of the network at least 5% below that of ridge regression (1.1)?"""
    errors = found["test_mse"]
    seeds = errors[found["network"]]
    error, ridge = _mean(seeds), _mean(errors["ridge"])
    gain = skill(error, ridge)
    measured = f"MSE {error:.4g} against {ridge:.4g} of ridge, a gain of {gain:.1%}"
    return _passes(gain >= LEAST_EFFECT, gain, measured=measured)


def _rise(worse: Any, better: Any) -> float:
    """By which share an error rises from `better` to `worse`; NaN from nothing."""
    before, after = _mean(better), _mean(worse)
    return after / before - 1 if before > 0 else math.nan


def uses_order(found: Mapping[str, Any]) -> Finding:
    """Does the test error rise by at least 5% when the past is shuffled (2, 4)?"""
    rise = _rise(found["shuffled_mse"], found["test_mse"][found["network"]])
    return _passes(rise >= LEAST_EFFECT, rise, measured=f"error changes by {rise:+.1%}")


def smaller_gap(found: Mapping[str, Any]) -> Finding:
    """Do all guards together reduce a positive overfitting gap by at least 15% (1.3)?"""
    train, watched = found["arm_train_mse"], found["arm_validation_mse"]
    gaps = {
        name: overfitting_gap(_mean(train[name]), _mean(watched[name]))
        for name in ("no guards", "all guards")
    }
    reduction = gap_reduction(gaps["no guards"], gaps["all guards"])
    measured = f"gap {gaps['no guards']:.3g} without guards, {gaps['all guards']:.3g} with"
    return _passes(reduction >= GAP_TARGET, reduction, measured=measured)


def arm_helps(without: str, with_it: str) -> Callable[[Mapping[str, Any]], Finding]:
    """Is the test error of one arm of the guards' study at least 5% below that of another?"""

    def judge(found: Mapping[str, Any]) -> Finding:
        before, after = _mean(found["arm_test_mse"][without]), _mean(found["arm_test_mse"][with_it])
        gain = skill(after, before)
        measured = f"test MSE {before:.4g} without, {after:.4g} with: {-gain:+.1%}"
        return _passes(gain >= LEAST_EFFECT, gain, measured=measured)

    return judge


def curves_fall(found: Mapping[str, Any]) -> Finding:
    """Does every loss curve end lower than it began (3.2, Fig. 2)? A loss that was not finite leaves it open."""
    falls = []
    for loss, val_loss in zip(found["loss"], found["val_loss"], strict=True):
        if len(loss) < 4:
            return Finding(UNTESTABLE, f"too few epochs for a curve: {len(loss)}")
        falls += [_rise(curve[-3:], curve[0]) for curve in (loss, val_loss)]
    worst = float(np.max(falls))
    return _passes(worst < 0, worst, measured=f"from the first epoch to the last three at least {worst:+.1%}")


def validation_judges(found: Mapping[str, Any]) -> Finding:
    """Is the mean error over the folds nearer to the test error than that of one validation part (4, 5)?"""
    test = _mean(found["test_mse"][found["network"]])
    one_part = _mean(found["arm_validation_mse"]["all guards"])
    folds = _mean(found["cv_mse"])
    measured = f"test {test:.4g}, folds {folds:.4g}, one validation part {one_part:.4g}"
    return _passes(abs(folds - test) < abs(one_part - test), test, folds, one_part, measured=measured)


def normalisation(found: Mapping[str, Any]) -> Finding:
    """Is the error on scaled inputs at least 5% below that on raw ones (2, 4)?"""
    gain = skill(_mean(found["scaled_mse"]), _mean(found["raw_mse"]))
    measured = (
        f"MSE {_mean(found['scaled_mse']):.4g} on scaled inputs, {_mean(found['raw_mse']):.4g} on raw ones"
    )
    return _passes(gain >= LEAST_EFFECT, gain, measured=measured)


def independent_test(found: Mapping[str, Any]) -> Finding:
    """Is the error at most 5% higher when the split is chronological and not random (3.2)?

    Each error is taken as a share of the training mean's on the same rows, since one test part may be harder than
    another for everybody.
    """
    shares = {
        split: 1 - skill(_mean(found[f"{split}_mse"]), _mean(found[f"{split}_constant_mse"]))
        for split in ("random_split", "chronological")
    }
    rise = _rise(shares["chronological"], shares["random_split"])
    measured = f"error, as a share of the mean's, {rise:+.1%} once test rows lie after training rows"
    return _passes(rise <= LEAST_EFFECT, rise, measured=measured)


def sees_windows(found: Mapping[str, Any]) -> Finding:
    """Is the network fed as many time steps as were declared (3.2)?"""
    fed, declared = int(found["window_fed"]), int(found["window_declared"])
    return Finding(
        HOLDS if fed == declared else FAILS, f"{_count(fed, 'time step')} fed, {declared} declared"
    )


def one_update(found: Mapping[str, Any]) -> Finding:
    """Are the weights updated once an epoch (3.2)?"""
    updates = int(found["updates_per_epoch"])
    return Finding(
        HOLDS if updates == 1 else FAILS, f"{_count(updates, 'update')} of the weights in one epoch"
    )


def state_lasts(found: Mapping[str, Any]) -> Finding:
    """Does the cell state of one batch reach the next (3.1, symbol 10)?"""
    lasts = bool(found["state_carries_over"])
    return Finding(
        HOLDS if lasts else FAILS, f"the state {'survives' if lasts else 'starts anew'} with each batch"
    )


def at_least(name: str, threshold: float) -> Callable[[Mapping[str, Any]], Finding]:
    """Is a recorded share at least `threshold`?"""

    def judge(found: Mapping[str, Any]) -> Finding:
        share = _mean(found[name])
        return _passes(share >= threshold, share, measured=f"{share:+.1%}")

    return judge


def at_most(name: str, threshold: float) -> Callable[[Mapping[str, Any]], Finding]:
    """Is a recorded share at most `threshold`?"""

    def judge(found: Mapping[str, Any]) -> Finding:
        share = _mean(found[name])
        return _passes(share <= threshold, share, measured=f"{share:+.1%}")

    return judge


def missing(measurement: str) -> Callable[[Mapping[str, Any]], Finding]:
    """Never judged: says which measurement would be needed."""

    def judge(_: Mapping[str, Any]) -> Finding:
        return Finding(UNTESTABLE, f"missing: {measurement}")

    return judge


def curves_tell(found: Mapping[str, Any]) -> Finding:
    """Do curves without guards look like overfitting just where early stopping would have helped (3.2, 5)?"""
    errors = found["arm_test_mse"]
    worse = [
        _rise(bare, stopped) > LEAST_EFFECT
        for bare, stopped in zip(errors["no guards"], errors["early stopping"], strict=True)
    ]
    read = [reading == "overfitting" for reading in found["readings"]["no guards"]]
    agreed = float(np.mean([a == b for a, b in zip(read, worse, strict=True)]))
    return _passes(
        agreed >= LEAST_AGREEMENT,
        agreed,
        measured=f"curves and test error agree in {agreed:.0%} of the seeds",
    )


def _states(found: Mapping[str, Any], measure: str) -> list[float]:
    """Mean of a measure of the LSTM over seeds, without treatment and with SMOTE."""
    rows = [row for row in found["results"] if row["model"] == "LSTM"]
    return [_mean([row[measure] for row in rows if row["treatment"] == name]) for name in ("none", "SMOTE")]


def smote_recall(found: Mapping[str, Any]) -> Finding:
    """Does SMOTE raise the recall of overload by at least 5 points (3.1)? A constant "overload" has recall 1."""
    before, after = _states(found, "overload_recall")
    finding = _passes(
        after - before >= LEAST_EFFECT, before, after, measured=f"recall {before:.2f} to {after:.2f}"
    )
    return Finding(CONSTANT_TOO, finding.measured) if finding.verdict == HOLDS else finding


def smote_balance(found: Mapping[str, Any]) -> Finding:
    """Does SMOTE raise balanced accuracy by at least 5% (3.1)?"""
    before, after = _states(found, "balanced_accuracy")
    rise = _rise(after, before)
    return _passes(rise >= LEAST_EFFECT, rise, measured=f"balanced accuracy {before:.3f} to {after:.3f}")


def share_won(rival: str, share: float) -> Callable[[Mapping[str, Any]], Finding]:
    """Is the network's error at least 5% below that of a rival on enough of the machines (4)?"""

    def judge(found: Mapping[str, Any]) -> Finding:
        gains = [
            skill(_mean(errors["lstm"]), _mean(errors[rival])) for errors in found["machine_mse"].values()
        ]
        won = float(np.mean([gain >= LEAST_EFFECT for gain in gains]))
        measured = f"better than {rival} on {sum(g >= LEAST_EFFECT for g in gains)} of {_count(len(gains), 'machine')}"
        return _passes(won >= share, won, measured=measured)

    return judge


def all_above_seeds(found: Mapping[str, Any]) -> Finding:
    """Does each hyperparameter move the error more than seeds do (1.2)?"""
    seeds = _mean(found["seed_effect"])
    effects = {name: _mean(value) for name, value in found["hyperparameter_effects"].items()}
    weak = [name for name, effect in effects.items() if not effect > seeds]
    measured = f"no more than seeds: {', '.join(weak)}" if weak else "each more than seeds"
    return _passes(not weak, seeds, *effects.values(), measured=measured)
