"""Judges of the paper's claims: from what a chapter recorded to a verdict with its uncertainty.

Each judge takes the mapping that a chapter recorded and returns a ``Finding`` (``vdslib.claims.findings``). A list holds one value
for each seed, a bare number has no chance in it, and errors on a test part come in stretches of time too
(``vdslib.evaluation.uncertainty``). A judge raises KeyError where the chapter did not record what it needs; values that are not
finite (recorded as None) make a claim "cannot be tested". The thresholds stand in ``claims.yaml``.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from vdslib.claims.findings import (
    CONSTANT_TOO,
    FAILS,
    HOLDS,
    THRESHOLDS,
    UNDECIDED,
    UNTESTABLE,
    Finding,
    decided,
    decided_below,
    weakest,
    words,
)
from vdslib.evaluation import (
    Interval,
    both,
    gap_reduction,
    of_count,
    of_median,
    over_seeds,
    over_time,
    overfitting_gap,
    skill,
)

Errors = tuple[Any, Any]  # mean errors over seeds (list or number), and errors in stretches of time


def _numbers(value: Any) -> Any:
    """A recorded number, or nested lists of them, as an array; what was not finite was recorded as None."""
    return np.array(value, dtype=float)  # None becomes NaN


def _count(number: int, name: str) -> str:
    """A number of things in words: 1 epoch, 2 epochs."""
    return f"{number} {name}{'' if number == 1 else 's'}"


MSE_TARGET, LEAST_SKILL, LEAST_EFFECT, GAP_TARGET, LEAST_AGREEMENT = (
    THRESHOLDS[name] for name in ("mse", "skill", "effect", "gap", "agreement")
)


def _errors(results: Mapping[str, Any], kind: str, name: str = "") -> Errors:
    """Recorded errors on a test part: ``kind`` is "test", "arm_test", "shuffled", ..., ``name`` a model or an arm."""
    parts = (results[f"{kind}_mse"], results[f"{kind}_stretches"])
    seeds, time = (part[name] for part in parts) if name else parts
    return _numbers(seeds), _numbers(time)


def _of(statistic: Callable[..., float], *errors: Errors) -> Interval:
    """A statistic of test errors, with its interval over seeds and time together."""
    seeds, time = zip(*errors, strict=True)
    return both(over_seeds(statistic, *seeds), over_time(statistic, *time))


def gain(results: Mapping[str, Any], name: str, rival: str) -> Interval:
    """By which share one model's test error lies below another's, with its interval over seeds and time together."""
    return _of(skill, _errors(results, "test", name), _errors(results, "test", rival))


def _same(value: float) -> float:
    return float(value)


def _rise(worse: float, better: float) -> float:
    """By which share an error rises from ``better`` to ``worse``; NaN from nothing."""
    return worse / better - 1 if better > 0 else math.nan


def _below_target(error: Interval, constant: Interval) -> Finding:
    measured = f"MSE {words(error, '.4g')}, of the training mean {words(constant, '.4g')}"
    if not math.isfinite(constant.value):
        return Finding(UNTESTABLE, measured, threshold=MSE_TARGET)
    finding = decided_below(error, MSE_TARGET, measured)
    if finding.verdict == HOLDS and constant.value < MSE_TARGET:
        # what a constant has on these rows is a fact about the test, whatever networks do
        return replace(finding, verdict=CONSTANT_TOO)
    return finding


def trained_mse(results: Mapping[str, Any]) -> Finding:
    """Is the test error of the network below the paper's goal, and is that of a constant (1.3)?"""
    network, constant = (_of(_same, _errors(results, "test", name)) for name in (results["network"], "mean"))
    return _below_target(network, constant)


def printed_mse(results: Mapping[str, Any]) -> Finding:
    """The same for the printed program, on its own test set and scale (3.2)."""
    constant = over_seeds(_same, _numbers(results["printed_constant_mse"]))
    return _below_target(_of(_same, _errors(results, "printed")), constant)


def useful(results: Mapping[str, Any]) -> Finding:
    """Has the network enough skill over persistence and over the training mean (4, 5)?"""
    findings = []
    for name in ("persistence", "mean"):
        over = gain(results, results["network"], name)
        findings.append(decided(over, LEAST_SKILL, f"skill {words(over, '.2f')} over {name}"))
    return weakest(findings)


def beats_linear(results: Mapping[str, Any]) -> Finding:
    """Is the test error of the network clearly below that of ridge regression (1.1)?"""
    more = gain(results, results["network"], "ridge")
    errors = [_numbers(results["test_mse"][name]).mean() for name in (results["network"], "ridge")]
    measured = f"MSE {errors[0]:.4g} against {errors[1]:.4g} of ridge, a gain of {words(more)}"
    return decided(more, LEAST_EFFECT, measured)


def uses_order(results: Mapping[str, Any]) -> Finding:
    """Does the test error rise clearly when the past is shuffled (2, 4)?"""
    rise = _of(_rise, _errors(results, "shuffled"), _errors(results, "test", results["network"]))
    return decided(rise, LEAST_EFFECT, f"error changes by {words(rise)}")


def smaller_gap(results: Mapping[str, Any]) -> Finding:
    """Do all guards together reduce a positive overfitting gap by as much as promised (1.3)?"""
    arms = ("no guards", "all guards")
    losses = [_numbers(results[f"arm_{part}_mse"][arm]) for arm in arms for part in ("train", "validation")]

    def reduction(*means: float) -> float:
        return gap_reduction(overfitting_gap(*means[:2]), overfitting_gap(*means[2:]))

    gaps = over_seeds(overfitting_gap, *losses[:2]), over_seeds(overfitting_gap, *losses[2:])
    reduced = over_seeds(reduction, *losses)
    shown = [words(gap, ".3g") for gap in gaps]
    measured = f"gap {shown[0]} without guards, {shown[1]} with"
    if not math.isfinite(gaps[0].value) or gaps[0].high <= 0:
        return Finding(UNTESTABLE, measured, threshold=GAP_TARGET)
    if gaps[0].low <= 0:  # is there a gap at all?
        return Finding(UNDECIDED, measured, threshold=GAP_TARGET)
    return decided(reduced, GAP_TARGET, f"{measured}: reduced by {words(reduced, '.1%')}")


def arm_helps(without: str, with_it: str) -> Callable[[Mapping[str, Any]], Finding]:
    """Is the test error of one arm of the guards' study clearly below that of another?"""

    def judge(results: Mapping[str, Any]) -> Finding:
        before, after = _errors(results, "arm_test", without), _errors(results, "arm_test", with_it)
        lower = _of(skill, after, before)
        means = f"test MSE {before[0].mean():.4g} without, {after[0].mean():.4g} with"
        return decided(lower, LEAST_EFFECT, f"{means}: a gain of {words(lower)}")

    return judge


def curves_fall(results: Mapping[str, Any]) -> Finding:
    """Do both losses fall over all epochs, without guards (3.2, Fig. 2)? Early stopping would end a curve where it
    rises, or three epochs later, and so decide the question by itself."""
    findings = []
    for name, curves in (
        ("training", results["unguarded_loss"]),
        ("validation", results["unguarded_val_loss"]),
    ):
        values = _numbers(curves)
        if values.shape[1] < 4:
            return Finding(UNTESTABLE, f"too few epochs for a curve: {values.shape[1]}", threshold=0.0)
        fall = over_seeds(_same, 1 - values[:, -3:].mean(axis=1) / values[:, 0])
        findings.append(decided(fall, 0.0, f"{name} falls by {words(fall, '.1%')}"))
    return weakest(findings)


def validation_judges(results: Mapping[str, Any]) -> Finding:
    """Is the mean error over the folds nearer to the test error than that of one validation part (4, 5)?

    By a share of the test error, over seeds, and over time: blocks of both parts, and the folds themselves.
    """

    def lead(test: float, part: float, folds: float) -> float:
        return (abs(part - test) - abs(folds - test)) / test if test > 0 else math.nan

    test, test_time = _errors(results, "test", results["network"])
    part, part_time = (
        _numbers(value)
        for value in (results["arm_validation_mse"]["all guards"], results["validation_stretches"])
    )
    folds = _numbers(results["cv_mse"])  # [seeds, folds]
    means = test.mean(), part.mean(), folds.mean()
    parts = [
        over_seeds(lead, test, part, folds.mean(axis=1)),
        over_time(lambda mean: lead(mean, means[1], means[2]), test_time),
        over_time(lambda mean: lead(means[0], mean, means[2]), part_time),
        over_seeds(lambda mean: lead(means[0], means[1], mean), folds.mean(axis=0)),
    ]
    nearer = both(*parts)
    measured = "test {:.4g}, one validation part {:.4g}, folds {:.4g}".format(*means)
    return decided(nearer, LEAST_EFFECT, f"{measured}: nearer by {words(nearer)} of the test error")


def normalisation(results: Mapping[str, Any]) -> Finding:
    """Is the error on scaled inputs clearly below that on raw ones (2, 4)?"""
    scaled, raw = _numbers(results["scaled_mse"]), _numbers(results["raw_mse"])
    lower = over_seeds(skill, scaled, raw)
    means = f"MSE {scaled.mean():.4g} on scaled inputs, {raw.mean():.4g} on raw ones"
    return decided(lower, LEAST_EFFECT, f"{means}: a gain of {words(lower)}")


def independent_test(results: Mapping[str, Any]) -> Finding:
    """Is the error hardly higher on the same rows when training ends before them (3.2)?"""
    rise = _of(_rise, _errors(results, "same_rows", "chronological"), _errors(results, "same_rows", "random"))
    return decided_below(rise, LEAST_EFFECT, f"on the same rows, from earlier ones alone: {words(rise)}")


def unbiased(results: Mapping[str, Any]) -> Finding:
    """Is the error hardly lower on the same rows when the split is random (3.1)?"""
    lower = _of(skill, _errors(results, "same_rows", "leaky"), _errors(results, "same_rows", "clean"))
    return decided_below(lower, LEAST_EFFECT, f"on the same rows lower by {words(lower, '.1%')}")


def sees_windows(results: Mapping[str, Any]) -> Finding:
    """Is the network fed as many time steps as were declared (3.2)?"""
    fed, declared = int(results["window_fed"]), int(results["window_declared"])
    measured = f"{_count(fed, 'time step')} fed, {declared} declared"
    return Finding(HOLDS if fed == declared else FAILS, measured, fed, fed, declared)


def one_update(results: Mapping[str, Any]) -> Finding:
    """Are the weights updated once an epoch (3.2)?"""
    updates = int(results["updates_per_epoch"])
    measured = f"{_count(updates, 'update')} of the weights in one epoch"
    return Finding(HOLDS if updates == 1 else FAILS, measured, updates, updates, 1)


def state_lasts(results: Mapping[str, Any]) -> Finding:
    """Does the cell state of one batch reach the next (3.1, symbol 10)?"""
    lasts = bool(results["state_carries_over"])
    return Finding(
        HOLDS if lasts else FAILS, f"the state {'survives' if lasts else 'starts anew'} with each batch"
    )


def at_least(name: str, threshold: float) -> Callable[[Mapping[str, Any]], Finding]:
    """Is a recorded share at least ``threshold``? One run alone, a bare number, has no interval and decides nothing."""

    def judge(results: Mapping[str, Any]) -> Finding:
        share = over_seeds(_same, np.atleast_1d(_numbers(results[name])))
        return decided(share, threshold, words(share))

    return judge


def at_most(name: str, threshold: float) -> Callable[[Mapping[str, Any]], Finding]:
    """Is a recorded share at most ``threshold``? One run alone, a bare number, has no interval and decides nothing."""

    def judge(results: Mapping[str, Any]) -> Finding:
        share = over_seeds(_same, np.atleast_1d(_numbers(results[name])))
        return decided_below(share, threshold, words(share))

    return judge


def missing(measurement: str) -> Callable[[Mapping[str, Any]], Finding]:
    """Never judged: says which measurement would be needed."""

    def judge(_: Mapping[str, Any]) -> Finding:
        return Finding(UNTESTABLE, f"missing: {measurement}")

    return judge


def curves_tell(results: Mapping[str, Any]) -> Finding:
    """Do curves without guards look like overfitting just where early stopping would have helped (3.2, 5)?"""
    read = [reading == "overfitting" for reading in results["readings"]["no guards"]]
    errors = (_numbers(results["arm_test_mse"][arm]) for arm in ("no guards", "early stopping"))
    rises = [_rise(*pair) for pair in zip(*errors, strict=True)]
    agreed = sum(a == (rise > LEAST_EFFECT) for a, rise in zip(read, rises, strict=True))
    measured = f"curves and test error agree for {agreed} of {_count(len(read), 'seed')}"
    if not np.isfinite(rises).all():
        return Finding(UNTESTABLE, measured, threshold=LEAST_AGREEMENT)
    return _of_count(agreed, len(read), LEAST_AGREEMENT, measured)


def _of_count(count: int, among: int, threshold: float, measured: str) -> Finding:
    share = of_count(count, among)
    return decided(share, threshold, f"{measured}, {words(share, '.0%')}")


def _states(results: Mapping[str, Any], measure: str, statistic: Callable[..., float]) -> Interval:
    """What SMOTE does to a measure of the LSTM, over seeds, and over time by the states seen and foreseen there."""
    arms = ("none", "SMOTE")
    rows = [row for row in results["results"] if row["model"] == "LSTM"]
    seeds = [_numbers([row[measure] for row in rows if row["treatment"] == arm]) for arm in arms]
    seen = _numbers(results["states_seen"])  # [stretches, states]
    foreseen = [_numbers(results["states_foreseen"][arm]) for arm in arms]  # the same, means over the seeds

    def change(seen: np.ndarray, *foreseen: np.ndarray) -> float:
        with np.errstate(divide="ignore", invalid="ignore"):  # a drawn sample may lack a state
            recalls = [each / seen for each in foreseen]
        values = [each[-1] if measure == "overload_recall" else each.mean() for each in recalls]
        return statistic(*values)

    return both(over_seeds(statistic, *seeds), over_time(change, seen, *foreseen))


def smote_recall(results: Mapping[str, Any]) -> Finding:
    """Does SMOTE raise the recall of overload by enough points (3.1)? A constant "overload" has recall 1."""
    more = _states(results, "overload_recall", lambda before, after: after - before)
    finding = decided(more, LEAST_EFFECT, f"recall rises by {words(more, '.2f')}")
    return replace(finding, verdict=CONSTANT_TOO) if finding.verdict == HOLDS else finding


def smote_balance(results: Mapping[str, Any]) -> Finding:
    """Does SMOTE raise balanced accuracy clearly (3.1)?"""
    rise = _states(results, "balanced_accuracy", lambda before, after: _rise(after, before))
    return decided(rise, LEAST_EFFECT, f"balanced accuracy changes by {words(rise)}")


def share_won(rival: str, share: float) -> Callable[[Mapping[str, Any]], Finding]:
    """Is the network's error clearly below that of a rival on enough of the machines (4)?"""

    def judge(results: Mapping[str, Any]) -> Finding:
        errors = [
            [_numbers(machine[model]).mean() for model in ("lstm", rival)]
            for machine in results["machine_mse"].values()
        ]
        won = sum(skill(*pair) >= LEAST_EFFECT for pair in errors)
        measured = f"better than {rival} on {won} of {_count(len(errors), 'machine')}"
        if not np.isfinite(errors).all():
            return Finding(UNTESTABLE, measured, threshold=share)
        return _of_count(won, len(errors), share, measured)

    return judge


def all_above_seeds(results: Mapping[str, Any]) -> Finding:
    """Does each hyperparameter move the error more than seeds do (1.2)?"""
    seeds = of_median(_numbers(results["seed_ranges"]))
    findings = []
    for name, differences in results["hyperparameter_differences"].items():
        effect = over_seeds(_same, _numbers(differences))
        more = both(effect, -seeds)  # both the effect and what it is compared with are measured
        findings.append(decided(more, seeds.value, f"{name} {words(effect, '.2g')}"))
    finding = weakest(findings)
    return replace(finding, measured=f"seeds {words(seeds, '.2g')}; {finding.measured}")
