"""Claims judged a second time, on a recording that stayed sealed until all settings were fixed (``frozen.yaml``)."""

from importlib import resources
from typing import Any

import pandas as pd
import yaml

from vdslib.claims.findings import (
    NOT_RUN,
    THRESHOLDS,
    UNDECIDED,
    UNTESTABLE,
    Finding,
    Results,
    decided,
    words,
)
from vdslib.claims.statements import CLAIMS
from vdslib.evaluation import Interval

_FROZEN = yaml.safe_load(resources.files("vdslib.claims").joinpath("frozen.yaml").read_text(encoding="utf-8"))
COMMIT: str = _FROZEN["commit"]  # that fixed the settings; empty while they may still change
SETTINGS: dict[str, dict[str, Any]] = _FROZEN["settings"]  # by chapter, its parameters
OWN: dict[str, Any] = _FROZEN["own"]  # how the book's own network is judged
JUDGED: tuple[str, ...] = tuple(_FROZEN["judged"])  # keys of the claims about accuracy
LEAST: float = THRESHOLDS["skill"]  # share by which the book's own network promises to be better
REASONS: dict[str, str] = {key: row["reason"] for row in _FROZEN["not_judged"] for key in row["claims"]}

CONFIRMED, NOT_CONFIRMED, ONLY_HERE, NOT_JUDGED = (
    "confirmed",
    "not confirmed",
    "decided only here",
    "not judged",
)
WORDS: tuple[str, ...] = (
    CONFIRMED, NOT_CONFIRMED, UNDECIDED, ONLY_HERE, UNTESTABLE, NOT_RUN, NOT_JUDGED,
)  # fmt: skip


def word(before: str, now: str) -> str:
    """What the second recording says of a verdict on the first one.

    Both were decided by whole intervals: *confirmed* is the same verdict once more, *not confirmed* any other one. An
    interval that holds the threshold on the second recording leaves the claim *undecided*; where it did so on the
    first one only, there was nothing to confirm, and the claim is *decided only here*.
    """
    if now in (UNDECIDED, UNTESTABLE, NOT_RUN):
        return now
    if before == NOT_RUN:
        return NOT_RUN
    if before in (UNDECIDED, UNTESTABLE):
        return ONLY_HERE
    return CONFIRMED if now == before else NOT_CONFIRMED


def compared(first: Results, second: Results) -> pd.DataFrame:
    """Each claim's verdict on both recordings, from what was recorded of each: all claims, in their order.

    Columns: key, claim, before, measured, now, word. ``measured`` and ``now`` are of the second recording; a claim
    that is not about accuracy has no verdict there (empty), its word is *not judged*.
    """
    rows = []
    for claim in CLAIMS:
        before, now = claim.finding(first), claim.finding(second)
        row = {"key": claim.key, "claim": claim.claim, "before": before.verdict}
        if claim.key in JUDGED:
            row |= {
                "measured": now.measured,
                "now": now.verdict,
                "word": word(before.verdict, now.verdict),
            }
        else:
            row |= {"measured": "", "now": "", "word": NOT_JUDGED}
        rows.append(row)
    return pd.DataFrame(rows)


def promise(gain: Interval) -> Finding:
    """Is the error of the book's own network below that of its rival by the share that is of use, ``LEAST``?"""
    return decided(gain, LEAST, words(gain))


OWN_COLUMNS = ["step", "persistence", "ridge", "boosting", "anchored", "before", "measured", "now", "word"]


def own(rows: pd.DataFrame | None) -> pd.DataFrame:
    """The book's own network on both recordings, by step ahead, from the rows of ``vdslib.chapters.sealed.demand``.

    Columns: step; persistence, ridge, boosting, anchored, the MSE on the second recording; before, measured, now, word as
    ``compared`` has them. No row where nothing was measured.
    """
    if rows is None:
        return pd.DataFrame(columns=OWN_COLUMNS)
    first, second = (rows[rows["recording"] == name].set_index("step") for name in ("first", "second"))
    table = second.rename(columns={"verdict": "now"}).assign(before=first["verdict"])
    table["word"] = [word(*pair) for pair in zip(table["before"], table["now"], strict=True)]
    return table.reset_index()[OWN_COLUMNS]


def reasons() -> list[tuple[str, str]]:
    """Why claims are not judged again, each reason with the claims that it is about."""
    stated = {claim.key: claim.claim for claim in CLAIMS}
    return [(row["reason"], " ".join(stated[key] for key in row["claims"])) for row in _FROZEN["not_judged"]]
