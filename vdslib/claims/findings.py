"""Verdicts: what a claim of the paper is, and when a measured interval decides it.

A claim holds, or does not, where the whole 99% interval of what was measured lies on one side of the threshold;
otherwise it is undecided. Deterministic facts have no interval.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any, Literal

import yaml

from vdslib.evaluation import LEVEL, Interval

STATED = resources.files("vdslib.claims").joinpath("claims.yaml").read_text(encoding="utf-8")
THRESHOLDS: dict[str, float] = yaml.safe_load(STATED)["thresholds"]

Verdict = Literal[
    "holds", "holds but a constant passes too", "undecided", "does not hold", "cannot be tested", "not run"
]
HOLDS: Verdict = "holds"
CONSTANT_TOO: Verdict = "holds but a constant passes too"
UNDECIDED: Verdict = "undecided"
FAILS: Verdict = "does not hold"
UNTESTABLE: Verdict = "cannot be tested"
NOT_RUN: Verdict = "not run"
VERDICTS: tuple[Verdict, ...] = (HOLDS, CONSTANT_TOO, UNDECIDED, FAILS, UNTESTABLE, NOT_RUN)

Results = Mapping[str, Mapping[str, Any]]  # chapter to what it recorded


@dataclass(frozen=True)
class Finding:
    """A verdict, the measured values behind it in words, and the interval that was held against ``threshold``."""

    verdict: Verdict
    measured: str = ""
    low: float = math.nan
    high: float = math.nan
    threshold: float = math.nan


@dataclass(frozen=True)
class Claim:
    """One checkable statement of the paper.

    ``section`` of the paper, ``claim`` in our words, the ``test`` with its ``threshold``, ``why`` that is a fair
    reading; ``chapter`` decides it in its section or cell ``cell``. ``judge`` sees what that chapter recorded, and
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


def words(interval: Interval, form: str = "+.1%") -> str:
    """A value with its interval."""
    if not math.isfinite(interval.low):
        return f"{interval.value:{form}} (one run, no interval)"
    if interval.low == interval.high:
        return f"{interval.value:{form}}"
    return f"{interval.value:{form}} ({LEVEL:.0%}: {interval.low:{form}} to {interval.high:{form}})"


def decided(interval: Interval, threshold: float, measured: str) -> Finding:
    """Holds where the whole interval reaches the threshold, fails where none of it does."""
    if not math.isfinite(interval.value):
        return Finding(UNTESTABLE, measured, threshold=threshold)
    verdict = UNDECIDED
    if interval.low >= threshold:
        verdict = HOLDS
    elif interval.high < threshold:
        verdict = FAILS
    return Finding(verdict, measured, interval.low, interval.high, threshold)


def decided_below(interval: Interval, threshold: float, measured: str) -> Finding:
    """Holds where the whole interval stays within the threshold, fails where all of it lies above."""
    finding = decided(-interval, -threshold, measured)
    return replace(finding, low=-finding.high, high=-finding.low, threshold=threshold)


def weakest(findings: Sequence[Finding]) -> Finding:
    """The finding on a claim with several conditions: that of the weakest one, the measured values of all."""
    order = (FAILS, UNTESTABLE, UNDECIDED, HOLDS)
    worst = min(findings, key=lambda finding: (order.index(finding.verdict), finding.low - finding.threshold))
    measured = ", ".join(finding.measured for finding in findings)
    return replace(worst, measured=measured)
