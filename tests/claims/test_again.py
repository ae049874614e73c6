"""Claims judged a second time: which, by which settings, and what is said of two verdicts."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from vdslib import claims, experiments, files
from vdslib.claims import again, wording
from vdslib.claims.findings import CONSTANT_TOO, FAILS, HOLDS, NOT_RUN, UNDECIDED, UNTESTABLE
from vdslib.evaluation import Interval

KEYS = [claim.key for claim in claims.CLAIMS]
RESULTS = json.loads(Path(__file__).with_name("recorded_results.json").read_text(encoding="utf-8"))
FROZEN = "vdslib/claims/frozen.yaml"
# parameters that decide nothing of what is judged again
OTHERS = {"results_dir", "folds", "period"}


def test_each_claim_is_judged_again_or_a_reason_is_given():
    assert sorted([*again.JUDGED, *again.REASONS]) == sorted(KEYS)
    assert " ".join(text for _, text in again.reasons()).count(".") >= len(again.REASONS)
    recorded = [claim.key for claim in claims.CLAIMS if claim.chapter in again.SETTINGS]
    assert set(again.JUDGED) <= set(recorded)


@pytest.mark.parametrize("chapter", again.SETTINGS)
def test_frozen_settings_are_those_of_the_chapters(chapter):
    """A default that is changed later is seen here."""
    if not (files.root() / "notebooks" / f"{chapter}.ipynb").exists():
        assert not again.COMMIT  # nothing is frozen before all chapters are there
        return
    defaults = {each.name: each.default for each in experiments.parameters(chapter)}
    frozen = again.SETTINGS[chapter]
    assert {name: defaults[name] for name in frozen if name in defaults} == frozen
    if chapter != again.OWN["chapter"]:  # which has more networks than the one that is judged
        assert set(defaults) - set(frozen) <= OTHERS


def test_what_was_frozen_is_still_what_the_commit_had():
    """And that commit's chapter had not opened the recording."""
    if not again.COMMIT:
        return
    show = ["git", "-C", str(files.root()), "show"]
    then, chapter = (
        subprocess.run([*show, f"{again.COMMIT}:{name}"], capture_output=True, check=False)
        for name in (FROZEN, "notebooks/5-conclusions.ipynb")
    )
    if then.returncode:
        pytest.skip("without the history of the project this cannot be told")
    now = yaml.safe_load((files.root() / FROZEN).read_text(encoding="utf-8"))
    assert yaml.safe_load(then.stdout) | {"commit": again.COMMIT} == now
    assert b'sealed: str = \\"\\"' in chapter.stdout


@pytest.mark.parametrize(
    ("before", "now", "word"),
    [
        (HOLDS, HOLDS, "confirmed"),
        (FAILS, FAILS, "confirmed"),
        (HOLDS, FAILS, "not confirmed"),
        (FAILS, HOLDS, "not confirmed"),
        (HOLDS, CONSTANT_TOO, "not confirmed"),
        (HOLDS, UNDECIDED, "undecided"),
        (UNDECIDED, UNDECIDED, "undecided"),
        (UNDECIDED, FAILS, "decided only here"),
        (UNTESTABLE, HOLDS, "decided only here"),
        (HOLDS, UNTESTABLE, "cannot be tested"),
        (HOLDS, NOT_RUN, "not run"),
        (NOT_RUN, HOLDS, "not run"),
    ],
)
def test_a_word_for_each_pair_of_verdicts(before, now, word):
    assert again.word(before, now) == word and word in again.WORDS


def test_the_same_results_confirm_and_others_do_not():
    same = again.compared(RESULTS, RESULTS).set_index("key")
    assert same.index.tolist() == KEYS
    judged = same.loc[list(again.JUDGED)]
    decided = judged["before"].isin([HOLDS, FAILS, CONSTANT_TOO])
    assert decided.any() and (judged["word"] == judged["before"].where(~decided, "confirmed")).all()
    assert (same.drop(list(again.JUDGED))["word"] == "not judged").all()
    assert same.loc["mse-below-target", "word"] == "confirmed"

    worse = json.loads(json.dumps(RESULTS))
    found = worse["3-3-experiment"]
    for part in ("test_mse", "test_stretches"):
        found[part]["textbook"] = [10 * value for value in found[part]["textbook"]]
    changed = again.compared(RESULTS, worse).set_index("key")
    assert changed.loc[["mse-below-target", "forecasts-accurately"], "word"].tolist() == ["not confirmed"] * 2
    assert changed.loc["needs-lstm", "before"] == UNDECIDED
    assert changed.loc["needs-lstm", ["now", "word"]].tolist() == [FAILS, "decided only here"]
    assert changed.loc["dropout-helps", "word"] == "not judged"


def test_a_closed_recording_says_nothing():
    closed = again.compared(RESULTS, {}).set_index("key")
    assert (closed.loc[list(again.JUDGED), "word"] == "not run").all()
    assert again.own(None).empty and again.own(None).columns.tolist() == again.OWN_COLUMNS


def test_the_own_promise_needs_its_whole_interval():
    found = [again.promise(Interval(0.2, *ends)).verdict for ends in ((0.11, 0.3), (0.05, 0.3), (-0.1, 0.09))]
    assert found == [HOLDS, UNDECIDED, FAILS] and again.LEAST == 0.1
    errors = dict.fromkeys(("persistence", "ridge", "boosting", "anchored"), 0.1)
    rows = [
        {"recording": recording, "step": step, **errors, "measured": recording, "verdict": verdict}
        for recording, verdicts in (("first", (HOLDS, HOLDS)), ("second", (HOLDS, FAILS)))
        for step, verdict in zip((1, 15), verdicts, strict=True)
    ]
    table = again.own(pd.DataFrame(rows))
    assert table["word"].tolist() == ["confirmed", "not confirmed"]
    assert table["step"].tolist() == [1, 15] and set(table["measured"]) == {"second"}
    assert set(again.OWN["promised"]) <= set(again.SETTINGS[again.OWN["chapter"]]["steps"])


def test_a_sentence_follows_the_verdict():
    scorecard = claims.verdicts(RESULTS)
    said = claims.sentences(scorecard)
    assert list(said) == list(wording.OF_CLAIMS) and set(said) <= set(KEYS)
    assert "stays below the target and a constant" in said["mse-below-target"]
    assert said["mse-below-target"].endswith(f"({scorecard.loc[0, 'measured']})")
    scorecard.loc[0, ["verdict", "measured"]] = [FAILS, ""]
    assert claims.sentences(scorecard)["mse-below-target"] == "the network misses the target"
    closed = claims.sentences(claims.verdicts({}))
    assert set(closed.values()) == {"this has not been run"}


def test_each_claim_that_is_spoken_of_has_a_sentence_for_yes_and_for_no():
    for key, texts in wording.OF_CLAIMS.items():
        assert set(texts) <= set(claims.VERDICTS), key
        assert FAILS in texts and {HOLDS, CONSTANT_TOO} & set(texts), key
        assert len(set(texts.values())) == len(texts) and np.all(
            [text[0].islower() for text in texts.values()]
        )
