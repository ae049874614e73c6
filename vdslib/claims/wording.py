"""What is said of a claim in a sentence, by its verdict: the texts stand in ``sentences.yaml`` beside this file."""

from importlib import resources

import pandas as pd
import yaml

_TEXTS = yaml.safe_load(
    resources.files("vdslib.claims").joinpath("sentences.yaml").read_text(encoding="utf-8")
)
USUAL: dict[str, str] = _TEXTS["usual"]  # by verdict
OF_CLAIMS: dict[str, dict[str, str]] = _TEXTS["claims"]  # by key of the claim, then by verdict


def sentences(scorecard: pd.DataFrame) -> dict[str, str]:
    """For each claim that has sentences the one for its verdict, with what was measured in brackets.

    ``scorecard`` is that of ``verdicts``. KeyError for a verdict that neither the claim nor the usual texts foresee.
    """
    rows = scorecard.set_index("key")
    result = {}
    for key, texts in OF_CLAIMS.items():
        verdict, measured = (str(rows.loc[key, name]) for name in ("verdict", "measured"))
        text = (USUAL | texts)[verdict]
        result[key] = f"{text} ({measured})" if measured else text
    return result
