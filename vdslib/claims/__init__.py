"""The paper's claims as data, their judges, and what was read by hand."""

from vdslib.claims.findings import VERDICTS, words
from vdslib.claims.judging import MSE_TARGET
from vdslib.claims.scorecard import evidence, shuffled_history, table, tested, verdicts, where_decided
from vdslib.claims.statements import CLAIMS
from vdslib.claims.wording import sentences

__all__ = [
    "CLAIMS", "MSE_TARGET", "VERDICTS", "again", "evidence", "judging", "readings", "sentences", "shuffled_history",
    "table", "tested", "verdicts", "where_decided", "words",
]  # fmt: skip
